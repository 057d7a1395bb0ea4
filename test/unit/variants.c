/*
 * variants.c
 *		Unit tests of fflag_set_variant_limits() and fflag_choose_variant() in
 *		src/rules.c, in plain C.
 *
 * Prints TAP.  Variants are compared with what numbers of 128 bits say, by the words
 * of the rule: the first whose running sum exceeds bucket * sum / 100000.
 */
#include <stdint.h>
#include <stdio.h>

#include "bucket.h"
#include "rules.h"
#include "tap.h"

#define MOST 10000

static int64_t weights[MOST];
static int	limits[MOST];

static int
plain_variant(int count, int bucket)
{
	__int128	sum = 0;
	__int128	running = 0;

	for (int i = 0; i < count; i++)
		sum += weights[i];
	for (int i = 0; i < count; i++)
	{
		running += weights[i];
		if (running * FFLAG_BUCKETS > bucket * sum)
			return i;
	}
	return -1;
}

/* How many of some buckets, or of all, get another variant than they should? */
static int
count_wrong(int count, int all)
{
	int			wrong = 0;

	fflag_set_variant_limits(count, weights, limits);
	for (int i = 0; i < (all ? FFLAG_BUCKETS : 20); i++)
	{
		int			bucket = all ? i : (int) (random_bits() % FFLAG_BUCKETS);

		wrong += fflag_choose_variant(count, limits, bucket) != plain_variant(count, bucket);
	}
	/* where one ends and the next begins */
	for (int i = 0; i < count && i < 20; i++)
	{
		int			limit = limits[random_bits() % count];

		for (int bucket = limit - 1; bucket <= limit; bucket++)
			if (bucket >= 0 && bucket < FFLAG_BUCKETS)
				wrong += fflag_choose_variant(count, limits, bucket) != plain_variant(count, bucket);
	}
	return wrong;
}

static void
set_weights(int count, int64_t weight)
{
	for (int i = 0; i < count; i++)
		weights[i] = weight;
}

static void
test_shapes(void)
{
	set_weights(1, 1);
	ok(count_wrong(1, 1) == 0 && limits[0] == FFLAG_BUCKETS, "one variant has all buckets");
	set_weights(1, INT64_MAX);
	ok(count_wrong(1, 1) == 0, "one with the largest weight");
	set_weights(2, 1);
	ok(count_wrong(2, 1) == 0 && limits[0] == FFLAG_BUCKETS / 2, "halves");
	set_weights(3, 1);
	ok(count_wrong(3, 1) == 0 && limits[0] == 33334 && limits[1] == 66667, "thirds");
	set_weights(7, 1000000);
	ok(count_wrong(7, 1) == 0, "sevenths");
	weights[0] = 1;
	weights[1] = INT64_MAX - 1;
	ok(count_wrong(2, 1) == 0 && limits[0] == 1, "the smallest before the largest");
	weights[0] = INT64_MAX - 1;
	weights[1] = 1;
	ok(count_wrong(2, 1) == 0 && limits[0] == FFLAG_BUCKETS, "and behind it, where no bucket is left");
	set_weights(MOST, 1);
	ok(count_wrong(MOST, 0) == 0, "ten thousand");
	set_weights(MOST, INT64_MAX / MOST);
	ok(count_wrong(MOST, 0) == 0, "ten thousand large ones");
}

static void
test_random(void)
{
	int			wrong = 0;
	int			backwards = 0;

	for (int n = 0; n < 20000; n++)
	{
		int			count = 1 + (int) (random_bits() % (n % 100 == 0 ? 1000 : 12));
		int			shift = (int) (random_bits() % 63);
		int64_t		room = INT64_MAX;

		for (int i = 0; i < count; i++)
		{
			int64_t		most = room - (count - i - 1);

			weights[i] = 1 + (int64_t) ((random_bits() >> 1) >> (n % 2 ? shift : (int) (random_bits() % 63)));
			if (weights[i] > most)
				weights[i] = 1 + (int64_t) (random_bits() % (uint64_t) most);
			room -= weights[i];
		}
		wrong += count_wrong(count, 0);
		for (int i = 1; i < count; i++)
			backwards += limits[i] < limits[i - 1];
		backwards += limits[count - 1] != FFLAG_BUCKETS;
	}
	ok(wrong == 0, "random weights");
	ok(backwards == 0, "limits never go back, and end with the last bucket");
}

int
main(void)
{
	test_shapes();
	test_random();
	printf("1..%d\n", test_number);
	return failures != 0;
}
