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

extern int	fflag_bucket_of(const char *name, size_t name_len,
							const char *user, size_t user_len);

#endif							/* FFLAG_BUCKET_H */
