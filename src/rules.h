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

/* Where a flag is in its schedule; in the order of the rules from FFLAG_RULE_DISABLED on. */
typedef enum fflag_phase
{
	FFLAG_PHASE_ON,
	FFLAG_PHASE_NOT_STARTED,
	FFLAG_PHASE_ENDED
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

/*
 * What the rules need to know of a flag; all zero is an unknown flag.  If it has
 * terms, this is what it is at one moment, see fflag_set_time().
 */
typedef struct fflag_flag
{
	bool		overridden;		/* the session forces the answer */
	bool		forced;			/* to this */
	bool		known;
	bool		enabled;		/* and on by its terms */
	bool		staff_only;
	bool		restricted;		/* it requires another, or users are denied */
	fflag_phase phase;			/* if it is not enabled by its terms alone,
								 * why */
	int			rollout;		/* thousandths of a percent, 0 to 100000 */
	fflag_string utf8_name;
} fflag_flag;

/* And of a user.  Before it is known who is listed, id and bucket are not read. */
typedef struct fflag_subject
{
	bool		somebody;		/* false: user_id was NULL */
	bool		is_staff;
	int			bucket;			/* -1 if it has to be computed */
	fflag_string utf8_id;		/* canonical text; read only if bucket is -1 */
} fflag_subject;

/*
 * What has been looked up so far of a user and a flag.  A flag that is not
 * restricted admits everybody.
 */
typedef enum fflag_standing
{
	FFLAG_STANDING_UNKNOWN,		/* nothing yet */
	FFLAG_STANDING_UNMET,		/* does not get what the flag requires */
	FFLAG_STANDING_DENIED,		/* is on the denylist */
	FFLAG_STANDING_ADMITTED,	/* neither; and the allowlist is not known yet */
	FFLAG_STANDING_UNLISTED,	/* neither, nor on the allowlist */
	FFLAG_STANDING_LISTED
} fflag_standing;

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
	FFLAG_RULE_DENIED,
	FFLAG_RULE_FULL_ROLLOUT,
	FFLAG_RULE_ALLOWLIST,
	FFLAG_RULE_NO_ROLLOUT,
	FFLAG_RULE_NO_USER,
	FFLAG_RULE_ROLLOUT,
	FFLAG_RULE_UNDECIDED		/* ask again, with more looked up */
} fflag_rule;

typedef struct fflag_decision
{
	bool		enabled;
	fflag_rule	rule;
} fflag_decision;

extern void fflag_set_time(fflag_flag *flag, const fflag_terms *terms, int64_t now);
extern fflag_decision fflag_decide(const fflag_flag *flag,
								   const fflag_subject *user,
								   fflag_standing standing, bool default_value);
extern void fflag_set_variant_limits(int count, const int64_t *weights,
									 int *limits);
extern int	fflag_choose_variant(int count, const int *limits, int bucket);
extern const char *fflag_rule_name(fflag_rule rule);
extern const char *fflag_rule_reason(fflag_rule rule);

#endif							/* FFLAG_RULES_H */
