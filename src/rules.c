/*
 * rules.c
 *		The evaluation rules, in the order in which they are tried.
 *
 * This file alone says who gets a feature; it is the contract with the Python
 * package feature-flag-infra 0.2.0, whose answers it must give.  It is a pure
 * function.  Looking at an allowlist may be costly, so the rules do not take
 * it for granted: asked without it, they answer FFLAG_RULE_UNDECIDED where
 * it matters, and the caller asks again.
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
 * Decides whether the user gets the feature.  A NULL user is never staff, listed
 * or in a partial rollout.  default_value is the answer for an unknown flag.
 */
fflag_decision
fflag_decide(const fflag_flag *flag, const fflag_subject *user,
			 fflag_listed listed, bool default_value)
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
		return decision(false, FFLAG_RULE_DISABLED);

	if (flag->rollout >= FFLAG_BUCKETS)
		return decision(true, FFLAG_RULE_FULL_ROLLOUT);

	if (user->somebody)
	{
		if (listed == FFLAG_LISTED_UNKNOWN)
			return decision(false, FFLAG_RULE_UNDECIDED);
		if (listed == FFLAG_LISTED_YES)
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

/* The name in fflag_explain() of a rule other than FFLAG_RULE_UNDECIDED. */
const char *
fflag_rule_name(fflag_rule rule)
{
	static const char *const names[] = {
		[FFLAG_RULE_OVERRIDE] = "override",
		[FFLAG_RULE_UNKNOWN_FLAG] = "unknown_flag",
		[FFLAG_RULE_STAFF_ONLY] = "staff_only",
		[FFLAG_RULE_DISABLED] = "disabled",
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
		[FFLAG_RULE_FULL_ROLLOUT] = "STATIC",
		[FFLAG_RULE_ALLOWLIST] = "TARGETING_MATCH",
		[FFLAG_RULE_NO_ROLLOUT] = "DEFAULT",
		[FFLAG_RULE_NO_USER] = "DEFAULT",
		[FFLAG_RULE_ROLLOUT] = "SPLIT",
	};

	return reasons[rule];
}
