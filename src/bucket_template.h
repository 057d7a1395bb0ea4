/*
 * bucket_template.h
 *		Buckets of several users at once, of single-block messages: the template.
 *
 * Included by bucket_simd.c for each width, with LANES, the number of messages,
 * and HASH_LANES, the name of the function, defined.  It is the same
 * computation as in md5.c and bucket.c, with GCC's vector types in place of
 * integers: each lane is another user.
 *
 * Copyright (c) 2026, fflag contributors
 */

/*
 * words[k] holds word k of each message's block, of which this takes the lanes
 * from "lane" on, and puts their buckets into the same places of buckets.
 */
static TARGET void
HASH_LANES(uint32_t words[16][MOST_LANES], int lane, int buckets[MOST_LANES])
{
	typedef uint32_t vec __attribute__((vector_size(4 * LANES)));
	vec			m[16];
	vec			a = {0};
	vec			b,
				c,
				d,
				r;

	for (int k = 0; k < 16; k++)
		memcpy(&m[k], &words[k][lane], sizeof(vec));
	d = a + initial_state[3];
	c = a + initial_state[2];
	b = a + initial_state[1];
	a = a + initial_state[0];

	FFLAG_MD5_STEPS(a, b, c, d);

	a += initial_state[0];
	b += initial_state[1];
	c += initial_state[2];
	d += initial_state[3];

	/* the digest modulo FFLAG_BUCKETS; the sum has 28 bits */
	r = (PLACES(a, 44576, 20096, 86016, 50336) +
		 PLACES(b, 81056, 6176, 13696, 51616) +
		 PLACES(c, 27936, 10656, 27776, 67296) +
		 PLACES(d, 77216, 65536, 256, 1)) % FFLAG_BUCKETS;
	r = r % 100 * 1000 + r / 100;
	memcpy(&buckets[lane], &r, sizeof(vec));
}
