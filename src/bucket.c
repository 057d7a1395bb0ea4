/*
 * bucket.c
 *		From a flag's name and a user id to the user's bucket.
 *
 * The bucket decides who is in a partial rollout.  It must be the one that
 * the Python package feature-flag-infra computes, bit for bit, refined to
 * three decimals in a way that never moves a user when a whole percentage
 * becomes a fractional one.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "bucket.h"
#include "md5.h"

/* 2^64 mod FFLAG_BUCKETS */
#define TWO_TO_64 UINT64_C(51616)

/*
 * The bucket, 0 to 99999, of a user: both strings are UTF-8, any length, the
 * user id in its canonical text form.
 *
 * With h the MD5 of "name:user" read as a big-endian integer, the package's
 * bucket is h mod 100, and ours is (h mod 100) * 1000 + (h div 100) mod 1000.
 * Both parts are digits of h mod 100000, which the two halves of h give
 * without 128-bit arithmetic.
 */
int
fflag_bucket_of(const char *name, size_t name_len,
				const char *user, size_t user_len)
{
	uint32_t	digest[4];
	uint64_t	high;
	uint64_t	low;
	uint32_t	r;

	fflag_md5_pair(name, name_len, user, user_len, digest);

	high = (uint64_t) __builtin_bswap32(digest[0]) << 32 |
		__builtin_bswap32(digest[1]);
	low = (uint64_t) __builtin_bswap32(digest[2]) << 32 |
		__builtin_bswap32(digest[3]);
	r = (uint32_t) ((high % FFLAG_BUCKETS * TWO_TO_64 + low % FFLAG_BUCKETS) %
					FFLAG_BUCKETS);

	return (int) (r % 100 * 1000 + r / 100);
}
