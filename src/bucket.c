/*
 * bucket.c
 *		From a flag's name and a user id to the user's bucket and hash.
 *
 * The bucket decides who is in a partial rollout.  It must be the one that
 * the Python package feature-flag-infra computes, bit for bit, refined to
 * three decimals in a way that never moves a user when a whole percentage
 * becomes a fractional one.  The hash divides users among variants.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "bucket.h"
#include "md5.h"

/* 2^32, 2^64 and 2^96 modulo FFLAG_BUCKETS */
#define TWO_TO_32 UINT64_C(67296)
#define TWO_TO_64 UINT64_C(51616)
#define TWO_TO_96 UINT64_C(50336)

/*
 * With h the digest read as a big-endian integer, the package's bucket is
 * h mod 100, and ours is (h mod 100) * 1000 + (h div 100) mod 1000.  Both parts
 * are digits of h mod 100000, which the words of h give one by one: the sum
 * has less than 52 bits.
 */
static inline int
bucket_of_digest(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t	r = (uint32_t) ((__builtin_bswap32(a) * TWO_TO_96 +
								 __builtin_bswap32(b) * TWO_TO_64 +
								 __builtin_bswap32(c) * TWO_TO_32 +
								 __builtin_bswap32(d)) % FFLAG_BUCKETS);

	return (int) (r % 100 * 1000 + r / 100);
}

/*
 * What a user draws under a flag: both strings are UTF-8, any length, the user id
 * in its canonical text form.
 */
fflag_draw
fflag_draw_of(fflag_string utf8_name, fflag_string utf8_user)
{
	uint32_t	digest[4];
	fflag_draw	draw;

	fflag_md5_pair(utf8_name, utf8_user, digest);
	draw.bucket = bucket_of_digest(digest[0], digest[1], digest[2], digest[3]);
	draw.hash = fflag_first_half(digest);
	return draw;
}
