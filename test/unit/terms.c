/*
 * terms.c
 *		Unit tests of fflag_set_time() in src/rules.c, in plain C.
 *
 * Prints TAP.  The ramp is compared with one in numbers of 128 bits.
 */
#include <stdint.h>
#include <stdio.h>

#include "rules.h"
#include "tap.h"

static int
rollout_at(const fflag_terms *terms, int64_t now)
{
	fflag_flag	flag = {.known = true,.phase = FFLAG_PHASE_ON,.rollout = terms->ramp_from};

	fflag_set_time(&flag, terms, now);
	return flag.rollout;
}

static int
plain_rollout_at(const fflag_terms *terms, int64_t now)
{
	__int128	whole = (__int128) terms->ramp_ends_at - terms->ramp_starts_at;
	__int128	moved;

	if (now < terms->ramp_starts_at)
		return terms->ramp_from;
	if (now >= terms->ramp_ends_at)
		return terms->ramp_to;
	/* from the lower end, so that the division rounds down */
	if (terms->ramp_to >= terms->ramp_from)
		moved = ((__int128) now - terms->ramp_starts_at) * (terms->ramp_to - terms->ramp_from);
	else
		moved = ((__int128) terms->ramp_ends_at - now) * (terms->ramp_from - terms->ramp_to);
	return (terms->ramp_to >= terms->ramp_from ? terms->ramp_from : terms->ramp_to) +
		(int) (moved / whole);
}

static void
test_ramps(void)
{
	fflag_terms week = {INT64_MIN, INT64_MAX, 10000, 20000, 0, INT64_C(604800000000)};
	fflag_terms longest = {
		INT64_MIN, INT64_MAX, 0, 100000,
		-INT64_C(211813488000000000), INT64_C(9223371331199999999)
	};
	int			wrong = 0;
	int			backwards = 0;

	ok(rollout_at(&week, -1) == 10000 && rollout_at(&week, 0) == 10000, "where it begins");
	ok(rollout_at(&week, INT64_C(302400000000)) == 15000, "in the middle");
	ok(rollout_at(&week, INT64_C(302399999999)) == 14999, "just before");
	ok(rollout_at(&week, INT64_C(604799999999)) == 19999, "just before the end");
	ok(rollout_at(&week, INT64_C(604800000000)) == 20000, "the end");

	/* from 4713 BC to the end of 294276, more than 2^63 microseconds */
	ok(rollout_at(&longest, INT64_C(4505778921600000000)) == 50000, "in the middle of the longest ramp");
	ok(rollout_at(&longest, INT64_C(9223371331199999998)) == 99999, "just before its end");

	for (int i = 0; i < 2000000; i++)
	{
		uint64_t	shift = random_bits() % 64;
		int64_t		a = (int64_t) random_bits() >> shift;
		int64_t		b = (int64_t) random_bits() >> shift;
		int64_t		now = (int64_t) random_bits() >> (random_bits() % 2 ? shift : random_bits() % 64);
		fflag_terms terms = {
			INT64_MIN, INT64_MAX, random_bits() % 100001, random_bits() % 100001,
			a < b ? a : b, a < b ? b : a
		};
		int			rollout;

		if (a == b)
			continue;
		rollout = rollout_at(&terms, now);
		wrong += rollout != plain_rollout_at(&terms, now);
		if (now < INT64_MAX && terms.ramp_to >= terms.ramp_from)
			backwards += rollout_at(&terms, now + 1) < rollout;
	}
	ok(wrong == 0, "ramps of all lengths, upwards and downwards");
	ok(backwards == 0, "a ramp upwards never goes back");
}

/* The rule that decides at a moment; the answer is yes if it is FULL_ROLLOUT. */
static fflag_rule
rule_at(fflag_flag *flag, const fflag_terms *terms, int64_t now)
{
	fflag_facts somebody = {.user = {.somebody = true}};

	fflag_set_time(flag, terms, now);
	return fflag_decide_by_facts(flag, &somebody).rule;
}

static void
test_schedules(void)
{
	fflag_terms terms = {1000, 2000, 100000, 0, INT64_MAX, INT64_MIN};
	fflag_flag	flag = {.known = true,.phase = FFLAG_PHASE_ON,.rollout = 100000};
	fflag_flag	disabled = {.known = true,.rollout = 100000};

	ok(rule_at(&flag, &terms, 999) == FFLAG_RULE_NOT_STARTED, "before it starts");
	ok(rule_at(&flag, &terms, 1000) == FFLAG_RULE_FULL_ROLLOUT, "the moment when it starts");
	ok(rule_at(&flag, &terms, 1999) == FFLAG_RULE_FULL_ROLLOUT, "the last one");
	ok(rule_at(&flag, &terms, 2000) == FFLAG_RULE_ENDED, "the moment when it ends");
	ok(rule_at(&flag, &terms, 1500) == FFLAG_RULE_FULL_ROLLOUT, "an earlier one again");
	for (int64_t now = 0; now < 3000; now += 500)
		ok(rule_at(&disabled, &terms, now) == FFLAG_RULE_DISABLED, "what is disabled is just that");
	flag.staff_only = true;
	ok(rule_at(&flag, &terms, 999) == FFLAG_RULE_STAFF_ONLY, "staff comes first");
}

int
main(void)
{
	test_ramps();
	test_schedules();
	printf("1..%d\n", test_number);
	return failures != 0;
}
