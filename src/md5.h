/*
 * md5.h
 *		MD5 (RFC 1321) of a name and a user id, as a mixing function.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_MD5_H
#define FFLAG_MD5_H

#include <stdint.h>

#include "fflag_string.h"

#define FFLAG_MD5_BLOCK 64

/* bytes of the last block that the 64-bit message length leaves free */
#define FFLAG_MD5_ROOM (FFLAG_MD5_BLOCK - 8)

extern void fflag_md5(fflag_string s, uint32_t digest[4]);
extern void fflag_md5_pair(fflag_string name, fflag_string user,
						   uint32_t digest[4]);

/* The first half of a digest, as a big-endian integer. */
static inline uint64_t
fflag_first_half(const uint32_t digest[4])
{
	return (uint64_t) __builtin_bswap32(digest[0]) << 32 | __builtin_bswap32(digest[1]);
}

#endif							/* FFLAG_MD5_H */
