/*
 * rules.c
 *		The evaluation rules, in the order in which they are tried.
 *
 * This file alone says who gets a feature; it is the contract with the Python
 * package feature-flag-infra 0.2.0, whose answers it must give.  It is a pure
 * function.  Looking at a list or at another flag may be costly, so the rules do
 * not take it for granted: asked without it, they answer FFLAG_RULE_UNDECIDED
 * where it matters, and the caller asks again.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "bucket.h"
#include "rules.h"

#define NOINLINE __attribute__((noinline))

static inline fflag_decision
decision(bool enabled, fflag_rule rule)
{
	fflag_decision d = {enabled, rule};

	return d;
}

/* Apart, so that a decision that needs no hash calls nothing and saves no register. */
static NOINLINE fflag_decision
decide_by_hash(const fflag_flag *flag, fflag_string utf8_id)
{
	return decision(fflag_bucket_of(flag->utf8_name, utf8_id) < flag->rollout,
					FFLAG_RULE_ROLLOUT);
}

/*
 * floor(n * part / whole), exactly; n >= 0 and 0 <= part < whole.  *rest is
 * whether something was cut off.  The product may need more than 64 bits, so this
 * multiplies bit by bit of n, and divides as it goes.
 */
static int
share_of(int n, uint64_t part, uint64_t whole, bool *rest)
{
	int			quotient = 0;
	uint64_t	remainder = 0;

	for (int bit = 30; bit >= 0; bit--)
	{
		uint64_t	terms[] = {remainder, n >> bit & 1 ? part : 0};

		quotient *= 2;
		for (int i = 0; i < 2; i++)
		{
			/* the sum modulo whole, of two numbers less than whole */
			if (remainder >= whole - terms[i])
			{
				remainder -= whole - terms[i];
				quotient++;
			}
			else
				remainder += terms[i];
		}
	}
	*rest = remainder > 0;
	return quotient;
}

/*
 * The percentage of a ramp at a moment: a straight line, in whole thousandths
 * rounded down.
 */
static int
ramp_at(const fflag_terms *terms, int64_t now)
{
	uint64_t	passed;
	uint64_t	whole;
	int			change;
	bool		rest;

	if (now < terms->ramp_starts_at)
		return terms->ramp_from;
	if (now >= terms->ramp_ends_at)
		return terms->ramp_to;
	passed = (uint64_t) now - (uint64_t) terms->ramp_starts_at;
	whole = (uint64_t) terms->ramp_ends_at - (uint64_t) terms->ramp_starts_at;
	if (terms->ramp_to >= terms->ramp_from)
		return terms->ramp_from +
			share_of(terms->ramp_to - terms->ramp_from, passed, whole, &rest);
	change = share_of(terms->ramp_from - terms->ramp_to, passed, whole, &rest);
	return terms->ramp_from - change - rest;
}

/*
 * Makes the flag what it is by its terms at a moment, in microseconds: its phase,
 * and its percentage.  flag->enabled is whether it is switched on, if its phase is
 * FFLAG_PHASE_ON; this function may be called again for another moment.
 */
void
fflag_set_time(fflag_flag *flag, const fflag_terms *terms, int64_t now)
{
	bool		switched_on = flag->enabled || flag->phase != FFLAG_PHASE_ON;

	flag->phase = FFLAG_PHASE_ON;
	if (switched_on && now < terms->starts_at)
		flag->phase = FFLAG_PHASE_NOT_STARTED;
	else if (switched_on && now >= terms->ends_at)
		flag->phase = FFLAG_PHASE_ENDED;
	flag->enabled = switched_on && flag->phase == FFLAG_PHASE_ON;
	flag->rollout = ramp_at(terms, now);
}

/*
 * Decides whether the user gets the feature.  A NULL user is never staff, listed
 * or in a partial rollout.  default_value is the answer for an unknown flag.
 */
fflag_decision
fflag_decide(const fflag_flag *flag, const fflag_subject *user,
			 fflag_standing standing, bool default_value)
{
	/* whatever the tables say, also of a name that no flag has */
	if (flag->overridden)
		return decision(flag->forced, FFLAG_RULE_OVERRIDE);

	if (!flag->known)
		return decision(default_value, FFLAG_RULE_UNKNOWN_FLAG);

	/* before "enabled": staff try a feature out before it is switched on */
	if (flag->staff_only)
		return decision(user->somebody && user->is_staff,
						FFLAG_RULE_STAFF_ONLY);

	if (!flag->enabled)
		return decision(false, FFLAG_RULE_DISABLED + flag->phase);

	if (flag->restricted && standing < FFLAG_STANDING_ADMITTED)
	{
		if (standing == FFLAG_STANDING_UNKNOWN)
			return decision(false, FFLAG_RULE_UNDECIDED);
		return decision(false, standing == FFLAG_STANDING_UNMET ?
						FFLAG_RULE_PREREQUISITE : FFLAG_RULE_DENIED);
	}

	if (flag->rollout >= FFLAG_BUCKETS)
		return decision(true, FFLAG_RULE_FULL_ROLLOUT);

	if (user->somebody)
	{
		if (standing < FFLAG_STANDING_UNLISTED)
			return decision(false, FFLAG_RULE_UNDECIDED);
		if (standing == FFLAG_STANDING_LISTED)
			return decision(true, FFLAG_RULE_ALLOWLIST);
	}

	if (flag->rollout <= 0)
		return decision(false, FFLAG_RULE_NO_ROLLOUT);

	if (!user->somebody)
		return decision(false, FFLAG_RULE_NO_USER);

	if (user->bucket < 0)
		return decide_by_hash(flag, user->utf8_id);
	return decision(user->bucket < flag->rollout, FFLAG_RULE_ROLLOUT);
}

/*
 * Divides the buckets among variants, which are in the order of their names: that
 * of number i ends before limits[i], where the next one begins.  It is the first
 * whose running sum of weights exceeds bucket * sum / FFLAG_BUCKETS.  Weights are
 * above 0, and their sum is less than 2^63.
 */
void
fflag_set_variant_limits(int count, const int64_t *weights, int *limits)
{
	uint64_t	sum = 0;
	uint64_t	running = 0;
	bool		rest;

	for (int i = 0; i < count; i++)
		sum += weights[i];
	for (int i = 0; i < count - 1; i++)
	{
		running += weights[i];
		limits[i] = share_of(FFLAG_BUCKETS, running, sum, &rest);
		limits[i] += rest;
	}
	if (count > 0)
		limits[count - 1] = FFLAG_BUCKETS;
}

/* The number of the variant to which a bucket belongs; count is above 0. */
int
fflag_choose_variant(int count, const int *limits, int bucket)
{
	int			first = 0;
	int			last = count - 1;

	while (first < last)
	{
		int			middle = first + (last - first) / 2;

		if (bucket < limits[middle])
			last = middle;
		else
			first = middle + 1;
	}
	return first;
}

/* The name in fflag_explain() of a rule other than FFLAG_RULE_UNDECIDED. */
const char *
fflag_rule_name(fflag_rule rule)
{
	static const char *const names[] = {
		[FFLAG_RULE_OVERRIDE] = "override",
		[FFLAG_RULE_UNKNOWN_FLAG] = "unknown_flag",
		[FFLAG_RULE_STAFF_ONLY] = "staff_only",
		[FFLAG_RULE_DISABLED] = "disabled",
		[FFLAG_RULE_NOT_STARTED] = "not_started",
		[FFLAG_RULE_ENDED] = "ended",
		[FFLAG_RULE_PREREQUISITE] = "prerequisite",
		[FFLAG_RULE_DENIED] = "denied",
		[FFLAG_RULE_FULL_ROLLOUT] = "full_rollout",
		[FFLAG_RULE_ALLOWLIST] = "allowlist",
		[FFLAG_RULE_NO_ROLLOUT] = "no_rollout",
		[FFLAG_RULE_NO_USER] = "no_user",
		[FFLAG_RULE_ROLLOUT] = "rollout",
	};

	return names[rule];
}

/*
 * The same in OpenFeature's vocabulary (specification, "Resolution Reason").
 * A flag that is not found is an error there, answered with the default; and
 * DEFAULT is for an evaluation that found no rule to match the user.
 */
const char *
fflag_rule_reason(fflag_rule rule)
{
	static const char *const reasons[] = {
		[FFLAG_RULE_OVERRIDE] = "STATIC",
		[FFLAG_RULE_UNKNOWN_FLAG] = "ERROR",
		[FFLAG_RULE_STAFF_ONLY] = "TARGETING_MATCH",
		[FFLAG_RULE_DISABLED] = "DISABLED",
		[FFLAG_RULE_NOT_STARTED] = "DISABLED",
		[FFLAG_RULE_ENDED] = "DISABLED",
		[FFLAG_RULE_PREREQUISITE] = "TARGETING_MATCH",
		[FFLAG_RULE_DENIED] = "TARGETING_MATCH",
		[FFLAG_RULE_FULL_ROLLOUT] = "STATIC",
		[FFLAG_RULE_ALLOWLIST] = "TARGETING_MATCH",
		[FFLAG_RULE_NO_ROLLOUT] = "DEFAULT",
		[FFLAG_RULE_NO_USER] = "DEFAULT",
		[FFLAG_RULE_ROLLOUT] = "SPLIT",
	};

	return reasons[rule];
}
