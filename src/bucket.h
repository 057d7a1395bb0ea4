/*
 * bucket.h
 *		The bucket of a user under a flag.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_BUCKET_H
#define FFLAG_BUCKET_H

#include <stddef.h>

/* Buckets are thousandths of a percent. */
#define FFLAG_BUCKETS 100000

/* A string that is not terminated. */
typedef struct fflag_bytes
{
	const char *data;
	size_t		len;
} fflag_bytes;

extern int	fflag_bucket_of(const char *name, size_t name_len,
							const char *user, size_t user_len);
extern void fflag_buckets_of(const char *name, size_t name_len,
							 const fflag_bytes *users, size_t n, int *buckets);
extern const char *fflag_bucket_use(const char *width);

#endif							/* FFLAG_BUCKET_H */
