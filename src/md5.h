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

extern void fflag_md5_pair(const char *name, size_t name_len,
						   const char *user, size_t user_len,
						   uint32_t digest[4]);

#endif							/* FFLAG_MD5_H */
