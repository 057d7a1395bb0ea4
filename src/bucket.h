/*
 * bucket.h
 *		The bucket of a user under a flag, and the hash.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_BUCKET_H
#define FFLAG_BUCKET_H

#include <stdint.h>

#include "fflag_string.h"

/* Buckets are thousandths of a percent. */
#define FFLAG_BUCKETS 100000

/* Both come from one digest. */
typedef struct fflag_draw
{
	int			bucket;			/* 0 to FFLAG_BUCKETS - 1 */
	uint64_t	hash;
} fflag_draw;

extern fflag_draw fflag_draw_of(fflag_string utf8_name, fflag_string utf8_user);

static inline int
fflag_bucket_of(fflag_string utf8_name, fflag_string utf8_user)
{
	return fflag_draw_of(utf8_name, utf8_user).bucket;
}

extern void fflag_buckets_of(fflag_string utf8_name,
							 const fflag_string *utf8_users, size_t n,
							 int *buckets);
extern const char *fflag_bucket_use(const char *width);

#endif							/* FFLAG_BUCKET_H */
