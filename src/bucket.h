/*
 * bucket.h
 *		The bucket of a user under a flag.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_BUCKET_H
#define FFLAG_BUCKET_H

#include "fflag_string.h"

/* Buckets are thousandths of a percent. */
#define FFLAG_BUCKETS 100000

extern int	fflag_bucket_of(fflag_string utf8_name, fflag_string utf8_user);
extern void fflag_buckets_of(fflag_string utf8_name,
							 const fflag_string *utf8_users, size_t n,
							 int *buckets);
extern const char *fflag_bucket_use(const char *width);

#endif							/* FFLAG_BUCKET_H */
