/*
 * md5_lanes.h
 *		MD5 of several single-block messages at once: the template.
 *
 * Included by md5_simd.c for each width, with LANES, the number of messages,
 * and HASH_LANES, the name of the function, defined.  It is the same
 * computation as in md5.c, with GCC's vector types in place of integers: each
 * lane hashes its own message.
 *
 * Copyright (c) 2026, fflag contributors
 */

/*
 * words[k] holds word k of each message's block, digests[k] gets word k of each
 * digest; rows of FFLAG_MD5_LANES, of which this takes the lanes from "lane" on.
 */
static TARGET void
HASH_LANES(uint32_t words[16][FFLAG_MD5_LANES],
		   uint32_t digests[4][FFLAG_MD5_LANES], int lane)
{
	typedef uint32_t vec __attribute__((vector_size(4 * LANES)));
	vec			m[16];
	vec			a = {0};
	vec			b,
				c,
				d;

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
	memcpy(&digests[0][lane], &a, sizeof(vec));
	memcpy(&digests[1][lane], &b, sizeof(vec));
	memcpy(&digests[2][lane], &c, sizeof(vec));
	memcpy(&digests[3][lane], &d, sizeof(vec));
}
