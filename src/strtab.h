/*
 * strtab.h
 *		A hash table keyed by counted strings.
 *
 * The server's simplehash rather than dynahash: it is probed once a row where
 * the flag's name comes from a column, and needs no key of a fixed size.  It
 * keeps pointers to keys and values, not the bytes.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_STRTAB_H
#define FFLAG_STRTAB_H

#include "common/hashfn.h"

#include "fflag_string.h"

typedef struct fflag_string_slot
{
	fflag_string key;
	void	   *value;
	uint32		hash;
	char		status;
} fflag_string_slot;

#define SH_PREFIX strtab
#define SH_ELEMENT_TYPE fflag_string_slot
#define SH_KEY_TYPE fflag_string
#define SH_KEY key
#define SH_HASH_KEY(tb, k) \
	hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) fflag_string_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, slot) ((slot)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#endif							/* FFLAG_STRTAB_H */
