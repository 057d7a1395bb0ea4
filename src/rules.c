/*
 * rules.c
 *		The evaluation rules, in the order in which they are tried.
 *
 * This file alone says who gets a feature; it is the contract with the Python
 * package feature-flag-infra 0.2.0, whose answers it must give.  Looking at a list
 * or at another flag may be costly, and differs between now and then.  So the rules
 * are given look-ups, and call one where its answer matters and not before.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include <stdlib.h>

#include "bucket.h"
#include "rules.h"

#define NOINLINE __attribute__((noinline))

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
 * and its percentage.  May be called again for another moment.
 */
void
fflag_set_time(fflag_flag *flag, const fflag_terms *terms, int64_t now)
{
	if (flag->phase != FFLAG_PHASE_DISABLED)
		flag->phase = now < terms->starts_at ? FFLAG_PHASE_NOT_STARTED :
			now >= terms->ends_at ? FFLAG_PHASE_ENDED : FFLAG_PHASE_ON;
	flag->rollout = ramp_at(terms, now);
}

static inline fflag_decision
decision(bool enabled, fflag_rule rule)
{
	fflag_decision d = {enabled, rule};

	return d;
}

/*
 * The first rules, which look nothing up.  Does one of them decide?  Here and below,
 * a NULL user is never staff, listed or in a partial rollout.
 */
static inline bool
decide_at_once(const fflag_flag *flag, const fflag_subject *user,
			   bool default_value, fflag_decision *d)
{
	static const fflag_rule not_on[] = {
		[FFLAG_PHASE_DISABLED] = FFLAG_RULE_DISABLED,
		[FFLAG_PHASE_NOT_STARTED] = FFLAG_RULE_NOT_STARTED,
		[FFLAG_PHASE_ENDED] = FFLAG_RULE_ENDED,
	};

	/* whatever the tables say, also of a name that no flag has */
	if (flag->overridden)
		*d = decision(flag->forced, FFLAG_RULE_OVERRIDE);

	else if (!flag->known)
		*d = decision(default_value, FFLAG_RULE_UNKNOWN_FLAG);

	/* before "enabled": staff try a feature out before it is switched on */
	else if (flag->staff_only)
		*d = decision(user->somebody && user->is_staff, FFLAG_RULE_STAFF_ONLY);

	else if (flag->phase != FFLAG_PHASE_ON)
		*d = decision(false, not_on[flag->phase]);

	else
		return false;
	return true;
}

/* In an order in which relations of a kind, and to one flag, are together. */
static int
compare_relations(const void *a, const void *b)
{
	const fflag_relation *x = a;
	const fflag_relation *y = b;
	int			order = (int) x->kind - (int) y->kind;

	if (order == 0)
		order = fflag_string_compare(x->other_id, y->other_id);
	return order != 0 ? order : fflag_string_compare(x->other_variant, y->other_variant);
}

/* Gives the flag these relations, which are put in order here and not copied. */
void
fflag_set_relations(fflag_flag *flag, fflag_relation *relations, int count)
{
	if (count > 1)
		qsort(relations, count, sizeof(*relations), compare_relations);
	flag->relations = relations;
	flag->n_relations = count;
	for (int i = 0; i < count; i++)
	{
		if (relations[i].kind == FFLAG_INCLUDES)
			flag->includes = true;
		else
			flag->restricted = true;
	}
}

/*
 * The first relation of a kind, from number "from" on, to a flag that the user gets,
 * or does not get; the number behind the last if there is none.  Of several
 * relations to one flag, which name its variants, any will do.
 */
static NOINLINE int
find_other(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look,
		   fflag_relation_kind kind, bool gets, int from)
{
	const fflag_relation *r = flag->relations;

	for (int i = from; i < flag->n_relations && r[i].kind <= kind;)
	{
		int			first = i;
		bool		got = false;

		do
			got = got || (r[i].kind == kind && look->gets_other(user, flag, &r[i]));
		while (++i < flag->n_relations && r[i].kind == r[first].kind &&
			   fflag_string_equal(r[i].other_id, r[first].other_id));
		if (r[first].kind == kind && got == gets)
			return first;
	}
	return flag->n_relations;
}

/* Is there such a relation? */
static inline bool
has_other(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look,
		  fflag_relation_kind kind, bool gets)
{
	return flag->n_relations > 0 &&
		find_other(flag, user, look, kind, gets, 0) < flag->n_relations;
}

/*
 * The relations whose other flags have made this rule decide, one for each of these
 * flags: the one behind the last, or the first if last is NULL; NULL if there is
 * none, or the rule is about other things.
 */
const fflag_relation *
fflag_find_because(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look,
				   fflag_rule rule, const fflag_relation *last)
{
	int			from = 0;
	int			found;

	if (rule != FFLAG_RULE_PREREQUISITE && rule != FFLAG_RULE_EXCLUDED &&
		rule != FFLAG_RULE_INCLUDED)
		return NULL;
	if (last != NULL)
	{
		from = last - flag->relations + 1;
		while (from < flag->n_relations && flag->relations[from].kind == last->kind &&
			   fflag_string_equal(flag->relations[from].other_id, last->other_id))
			from++;
	}
	found = find_other(flag, user, look,
					   rule == FFLAG_RULE_PREREQUISITE ? FFLAG_REQUIRES :
					   rule == FFLAG_RULE_EXCLUDED ? FFLAG_EXCLUDES : FFLAG_INCLUDES,
					   rule != FFLAG_RULE_PREREQUISITE, from);
	return found < flag->n_relations ? &flag->relations[found] : NULL;
}

/* The rules for those whom the flag admits. */
static inline fflag_decision
decide_admitted(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look)
{
	if (flag->rollout >= FFLAG_BUCKETS)
		return decision(true, FFLAG_RULE_FULL_ROLLOUT);

	if (user->somebody && look->is_listed(user, flag))
		return decision(true, FFLAG_RULE_ALLOWLIST);

	if (flag->includes && has_other(flag, user, look, FFLAG_INCLUDES, true))
		return decision(true, FFLAG_RULE_INCLUDED);

	if (flag->rollout <= 0)
		return decision(false, FFLAG_RULE_NO_ROLLOUT);

	if (!user->somebody)
		return decision(false, FFLAG_RULE_NO_USER);

	return decision(look->bucket(user, flag) < flag->rollout, FFLAG_RULE_ROLLOUT);
}

/* Look-ups are out of line, so that a decision without them saves no register. */
static NOINLINE fflag_decision
decide_unrestricted(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look)
{
	return decide_admitted(flag, user, look);
}

/* The rules from "prerequisite" on. */
static NOINLINE fflag_decision
decide_restricted(const fflag_flag *flag, fflag_subject *user, const fflag_lookups *look)
{
	if (has_other(flag, user, look, FFLAG_REQUIRES, false))
		return decision(false, FFLAG_RULE_PREREQUISITE);

	if (has_other(flag, user, look, FFLAG_EXCLUDES, true))
		return decision(false, FFLAG_RULE_EXCLUDED);

	if (user->somebody && look->is_denied(user, flag))
		return decision(false, FFLAG_RULE_DENIED);

	return decide_admitted(flag, user, look);
}

/*
 * Decides whether the user gets the feature.  default_value is the answer for an
 * unknown flag.  Throws what the look-ups do.
 */
fflag_decision
fflag_decide(const fflag_flag *flag, fflag_subject *user,
			 const fflag_lookups *look, bool default_value)
{
	fflag_decision d;

	if (decide_at_once(flag, user, default_value, &d))
		return d;
	if (flag->restricted)
		return decide_restricted(flag, user, look);
	return decide_unrestricted(flag, user, look);
}

/* ---- look-ups whose answers are there already ---- */

static bool
gets_other(fflag_subject *user, const fflag_flag *flag, const fflag_relation *relation)
{
	const fflag_facts *facts = (fflag_facts *) user;

	return relation->kind == FFLAG_INCLUDES ? facts->included :
		facts->refused == (relation->kind == FFLAG_EXCLUDES);
}

static bool
is_denied(fflag_subject *user, const fflag_flag *flag)
{
	return ((fflag_facts *) user)->refused;
}

static bool
is_listed(fflag_subject *user, const fflag_flag *flag)
{
	return ((fflag_facts *) user)->listed;
}

static int
get_bucket(fflag_subject *user, const fflag_flag *flag)
{
	return ((fflag_facts *) user)->bucket;
}

/* Decides as fflag_decide() does, for a flag that is false if it is unknown. */
fflag_decision
fflag_decide_by_facts(const fflag_flag *flag, fflag_facts *facts)
{
	static const fflag_lookups look = {gets_other, is_denied, is_listed, get_bucket};

	fflag_decision d;

	if (decide_at_once(flag, &facts->user, false, &d))
		return d;
	if (flag->restricted)
		return decide_restricted(flag, &facts->user, &look);
	return decide_admitted(flag, &facts->user, &look);	/* inline: batch.c is in
														 * a hurry */
}

/*
 * Do all users of a kind get the same answer, whoever they are?  anybody_listed is
 * whether some of them may be on the allowlist.  *best is the decision for those who
 * fare best.
 */
bool
fflag_decide_for_all(const fflag_flag *flag, fflag_subject kind,
					 bool anybody_listed, fflag_decision *best)
{
	fflag_facts lucky = {.user = kind,.included = true,.listed = anybody_listed};
	fflag_facts unlucky = {.user = kind,.refused = true,.bucket = FFLAG_BUCKETS - 1};

	*best = fflag_decide_by_facts(flag, &lucky);
	return fflag_decide_by_facts(flag, &unlucky).enabled == best->enabled;
}

/*
 * Finds out beforehand whether the bucket alone decides, by its rule, for whoever is
 * somebody and not listed.  Called when all else of the flag is set, and again
 * when its time is.
 */
void
fflag_settle(fflag_flag *flag)
{
	fflag_facts lucky = {.user.somebody = true,.included = true};
	fflag_facts unlucky = {.user.somebody = true,.refused = true};

	flag->by_bucket =
		fflag_decide_by_facts(flag, &lucky).rule == FFLAG_RULE_ROLLOUT &&
		fflag_decide_by_facts(flag, &unlucky).rule == FFLAG_RULE_ROLLOUT;
}

/* A kind as column "kind" says it. */
const char *
fflag_kind_name(fflag_relation_kind kind)
{
	static const char *const names[FFLAG_RELATION_KINDS] = {
		[FFLAG_REQUIRES] = "requires",
		[FFLAG_EXCLUDES] = "excludes",
		[FFLAG_INCLUDES] = "includes",
	};

	return names[kind];
}

/* The name of a rule in fflag_explain(). */
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
		[FFLAG_RULE_EXCLUDED] = "excluded",
		[FFLAG_RULE_DENIED] = "denied",
		[FFLAG_RULE_FULL_ROLLOUT] = "full_rollout",
		[FFLAG_RULE_ALLOWLIST] = "allowlist",
		[FFLAG_RULE_INCLUDED] = "included",
		[FFLAG_RULE_NO_ROLLOUT] = "no_rollout",
		[FFLAG_RULE_NO_USER] = "no_user",
		[FFLAG_RULE_ROLLOUT] = "rollout",
	};

	return names[rule];
}

/*
 * The rule that decided in OpenFeature's vocabulary (specification, "Resolution Reason").
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
		[FFLAG_RULE_EXCLUDED] = "TARGETING_MATCH",
		[FFLAG_RULE_DENIED] = "TARGETING_MATCH",
		[FFLAG_RULE_FULL_ROLLOUT] = "STATIC",
		[FFLAG_RULE_ALLOWLIST] = "TARGETING_MATCH",
		[FFLAG_RULE_INCLUDED] = "TARGETING_MATCH",
		[FFLAG_RULE_NO_ROLLOUT] = "DEFAULT",
		[FFLAG_RULE_NO_USER] = "DEFAULT",
		[FFLAG_RULE_ROLLOUT] = "SPLIT",
	};

	return reasons[rule];
}
