/*
 * choice.c
 *		Which of several variants a hash belongs to: weighted rendezvous hashing.
 *
 * Under each variant a user has another number u, evenly spread below 2^64, and the
 * score -log2(u / 2^64) / weight.  The lowest score wins, and that is each variant's
 * as often as its weight says.  Scores know nothing of other variants.  So where one
 * weight changes, users move to this variant or from it, and nobody moves between
 * others.  Nothing has to be remembered for that.
 *
 * Logarithms are integers, cut off at FRACTION bits behind the point: everybody who
 * computes them so has the same variants.  Bit by bit that takes long.  Mostly the
 * first bits of u tell enough: a table has the limits between which a logarithm is,
 * and the rest is computed only where those of two variants leave it open.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include <stdbool.h>

#include "choice.h"
#include "md5.h"

#define FRACTION 40
#define ONE (UINT64_C(1) << FRACTION)

#define TABLE_BITS 8
#define TABLE_SIZE (1 << TABLE_BITS)

/* log2(1 + i / TABLE_SIZE); made with the first share */
static uint64_t logarithms[TABLE_SIZE + 1];

/* log2(m / 2^63), below ONE, of m with its highest bit set; grows with m. */
static uint64_t
log2_of_mantissa(uint64_t m)
{
	uint64_t	result = 0;

	/*
	 * the square of a number from 1 to 2 is 2 or more if the logarithm's next
	 * bit is set
	 */
	for (int i = 0; i < FRACTION; i++)
	{
		unsigned	__int128 square = (unsigned __int128) m * m >> 63;
		int			bit = (int) (square >> 64);

		result = result << 1 | bit;
		m = (uint64_t) (square >> bit);
	}
	return result;
}

/* A score times the weight: its limits, and what it is computed of. */
typedef struct score
{
	uint64_t	least;
	uint64_t	most;
	uint64_t	mantissa;
	uint64_t	whole;			/* the logarithm of 2^64 / u, were the
								 * mantissa 1 */
} score;

/* u = 0 counts as 1 */
static inline score
estimate(uint64_t u)
{
	score		s;
	int			zeros = __builtin_clzll(u | 1);
	int			i;

	s.mantissa = (u | (u == 0)) << zeros;
	s.whole = (uint64_t) (zeros + 1) << FRACTION;
	i = s.mantissa >> (63 - TABLE_BITS) & (TABLE_SIZE - 1);
	s.least = s.whole - logarithms[i + 1];
	s.most = s.whole - logarithms[i];
	return s;
}

static void
refine(score *s)
{
	s->least = s->most = s->whole - log2_of_mantissa(s->mantissa);
}

/* -log2(u / 2^64), in units of 2^-FRACTION; for tests. */
uint64_t
fflag_minus_log2(uint64_t u)
{
	score		s = estimate(u);

	refine(&s);
	return s.least;
}

/* a / b < c / d; of 0 as a divisor, the quotient is infinite */
static inline bool
is_less(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return (unsigned __int128) a * d < (unsigned __int128) c * b;
}

/* The finalizer of splitmix64, a permutation. */
static inline uint64_t
mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The share of a variant of this name, in UTF-8, and weight, 0 or more. */
fflag_share
fflag_share_of(fflag_string utf8_name, uint64_t weight)
{
	uint32_t	digest[4];
	fflag_share share;

	if (logarithms[TABLE_SIZE] == 0)
	{
		for (uint64_t i = 0; i < TABLE_SIZE; i++)
			logarithms[i] = log2_of_mantissa((TABLE_SIZE + i) << (63 - TABLE_BITS));
		logarithms[TABLE_SIZE] = ONE;
	}
	fflag_md5(utf8_name, digest);
	share.hash = fflag_first_half(digest);
	share.weight = weight;
	return share;
}

/*
 * The number of the share to which a hash belongs, the first among equals.  Some
 * weight is above 0; a share without one gets nothing.
 */
int
fflag_choose(const fflag_share *shares, int count, uint64_t hash)
{
	int			best = 0;
	score		lowest = estimate(mix(hash ^ shares[0].hash));

	for (int i = 1; i < count; i++)
	{
		uint64_t	weight = shares[i].weight;
		uint64_t	best_weight = shares[best].weight;
		score		s = estimate(mix(hash ^ shares[i].hash));

		if (!is_less(s.least, weight, lowest.most, best_weight))
			continue;
		if (!is_less(s.most, weight, lowest.least, best_weight))
		{
			refine(&s);
			refine(&lowest);
			if (!is_less(s.least, weight, lowest.least, best_weight))
				continue;
		}
		best = i;
		lowest = s;
	}
	return best;
}
