/*
 * fflag_string.h
 *		A counted string: what names and ids are passed around as.
 *
 * Plain C without PostgreSQL headers, for the hash and the rules use it too.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_STRING_H
#define FFLAG_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * Bytes, not terminated, which belong to somebody else.  In the database's
 * encoding, unless the name says utf8.
 */
typedef struct fflag_string
{
	const char *data;
	size_t		len;
} fflag_string;

static inline fflag_string
fflag_string_make(const char *data, size_t len)
{
	fflag_string s = {data, len};

	return s;
}

static inline bool
fflag_string_equal(fflag_string a, fflag_string b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Bytewise, which is how the name column is collated. */
static inline int
fflag_string_compare(fflag_string a, fflag_string b)
{
	size_t		both = a.len < b.len ? a.len : b.len;
	int			order = both == 0 ? 0 : memcmp(a.data, b.data, both);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

#endif							/* FFLAG_STRING_H */
