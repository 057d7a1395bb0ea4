/*
 * rules.h
 *		The evaluation rules: a flag and a user in, a decision out.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RULES_H
#define FFLAG_RULES_H

#include <stdint.h>

#include "fflag_string.h"

/* Whether a flag is on; if not, why. */
typedef enum fflag_phase
{
	FFLAG_PHASE_DISABLED,		/* whatever its schedule */
	FFLAG_PHASE_NOT_STARTED,
	FFLAG_PHASE_ENDED,
	FFLAG_PHASE_ON
} fflag_phase;

/* A flag's schedule and ramp, in microseconds; the widest for what is not set. */
typedef struct fflag_terms
{
	int64_t		starts_at;		/* not on before */
	int64_t		ends_at;		/* nor from here on */
	int			ramp_from;		/* thousandths of a percent, before the ramp */
	int			ramp_to;		/* and after it */
	int64_t		ramp_starts_at; /* earlier than the next */
	int64_t		ramp_ends_at;
} fflag_terms;

/* How a flag depends on another one. */
typedef enum fflag_relation_kind
{
	FFLAG_REQUIRES,				/* false for whoever does not get the other */
	FFLAG_EXCLUDES,				/* false for whoever gets it */
	FFLAG_INCLUDES				/* true for whoever gets it */
} fflag_relation_kind;

#define FFLAG_RELATION_KINDS 3

typedef struct fflag_relation
{
	fflag_relation_kind kind;
	fflag_string other_id;		/* in canonical text */
	fflag_string other_variant; /* which counts alone; empty: all of them */
	fflag_string pin;			/* the variant of whoever gets the other, or
								 * empty */
} fflag_relation;

/*
 * What the rules need to know of a flag; all zero is an unknown flag.  If it has
 * terms, this is what it is at one moment, see fflag_set_time().
 */
typedef struct fflag_flag
{
	bool		overridden;		/* the session forces the answer */
	bool		forced;			/* to this */
	bool		known;
	bool		staff_only;
	bool		restricted;		/* it requires or excludes another, or users
								 * are denied */
	bool		includes;		/* it includes another */
	bool		internal;		/* no rule: fflag_flags() leaves it out */
	bool		by_bucket;		/* see fflag_settle() */
	fflag_phase phase;
	int			rollout;		/* thousandths of a percent, 0 to 100000 */
	int			n_relations;
	const struct fflag_relation *relations; /* see fflag_set_relations() */
	fflag_string utf8_seed;		/* what is hashed with the user's id */
} fflag_flag;

/* What the rules need to know of a user before they look anything up. */
typedef struct fflag_subject
{
	bool		somebody;		/* false: user_id was NULL */
	bool		is_staff;
} fflag_subject;

/*
 * What the rules may look up, where it matters, all at the same moment.  The
 * user is the one that fflag_decide() was given, the first member of what these
 * functions know of it.  Only gets_other() is asked for nobody.
 */
typedef struct fflag_lookups
{
	/*
	 * Does the user get the other flag of one of the flag's relations, and
	 * the variant that it names?  This comes back to fflag_decide(), and
	 * throws where that would not end.  What is not there lets nobody pass:
	 * who is excluded gets it.
	 */
	bool		(*gets_other) (fflag_subject *user, const fflag_flag *flag,
							   const fflag_relation *relation);

	/* is the user on the denylist of a restricted flag? */
	bool		(*is_denied) (fflag_subject *user, const fflag_flag *flag);

	/* is the user on the allowlist? */
	bool		(*is_listed) (fflag_subject *user, const fflag_flag *flag);

	/* the user's bucket; is_listed() has been asked for the same flag */
	int			(*bucket) (fflag_subject *user, const fflag_flag *flag);
} fflag_lookups;

/* What look-ups would say, for whoever knows or supposes it. */
typedef struct fflag_facts
{
	fflag_subject user;
	bool		refused;		/* by what restricts the flag */
	bool		included;		/* by another flag */
	bool		listed;
	int			bucket;
} fflag_facts;

/* The rule that decided, in the order in which they are tried. */
typedef enum fflag_rule
{
	FFLAG_RULE_OVERRIDE,
	FFLAG_RULE_UNKNOWN_FLAG,
	FFLAG_RULE_STAFF_ONLY,
	FFLAG_RULE_DISABLED,
	FFLAG_RULE_NOT_STARTED,
	FFLAG_RULE_ENDED,
	FFLAG_RULE_PREREQUISITE,
	FFLAG_RULE_EXCLUDED,
	FFLAG_RULE_DENIED,
	FFLAG_RULE_FULL_ROLLOUT,
	FFLAG_RULE_ALLOWLIST,
	FFLAG_RULE_INCLUDED,
	FFLAG_RULE_NO_ROLLOUT,
	FFLAG_RULE_NO_USER,
	FFLAG_RULE_ROLLOUT
} fflag_rule;

typedef struct fflag_decision
{
	bool		enabled;
	fflag_rule	rule;
} fflag_decision;

extern void fflag_set_time(fflag_flag *flag, const fflag_terms *terms, int64_t now);
extern void fflag_settle(fflag_flag *flag);
extern void fflag_set_relations(fflag_flag *flag, fflag_relation *relations, int count);
extern const fflag_relation *fflag_find_because(const fflag_flag *flag, fflag_subject *user,
												const fflag_lookups *look, fflag_rule rule,
												const fflag_relation *last);
extern fflag_decision fflag_decide(const fflag_flag *flag, fflag_subject *user,
								   const fflag_lookups *look, bool default_value);
extern fflag_decision fflag_decide_by_facts(const fflag_flag *flag,
											fflag_facts *facts);
extern bool fflag_decide_for_all(const fflag_flag *flag, fflag_subject kind,
								 bool anybody_listed, fflag_decision *best);
extern const char *fflag_kind_name(fflag_relation_kind kind);
extern const char *fflag_rule_name(fflag_rule rule);
extern const char *fflag_rule_reason(fflag_rule rule);

#endif							/* FFLAG_RULES_H */
