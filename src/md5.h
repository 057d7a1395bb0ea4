/*
 * md5.h
 *		MD5 (RFC 1321) of a name and a user id, as a mixing function.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_MD5_H
#define FFLAG_MD5_H

#include <stddef.h>
#include <stdint.h>

#define FFLAG_MD5_BLOCK 64

/* bytes of the last block that the 64-bit message length leaves free */
#define FFLAG_MD5_ROOM (FFLAG_MD5_BLOCK - 8)

/* As many messages as one call of fflag_md5_pairs() takes. */
#define FFLAG_MD5_LANES 16

/* A string that is not terminated. */
typedef struct fflag_bytes
{
	const char *data;
	size_t		len;
} fflag_bytes;

extern void fflag_md5_pair(const char *name, size_t name_len,
						   const char *user, size_t user_len,
						   uint32_t digest[4]);
extern void fflag_md5_pairs(const char *name, size_t name_len,
							const fflag_bytes *users, int n,
							uint32_t digests[4][FFLAG_MD5_LANES]);
extern const char *fflag_md5_use(const char *width);

#endif							/* FFLAG_MD5_H */
