/*
 * rules.h
 *		The evaluation rules: a flag and a user in, a decision out.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RULES_H
#define FFLAG_RULES_H

#include <stdbool.h>
#include <stddef.h>

/* What the rules need to know of a flag; all zero is an unknown flag. */
typedef struct fflag_flag
{
	bool		known;
	bool		enabled;
	bool		staff_only;
	int			rollout;		/* thousandths of a percent, 0 to 100000 */
	const char *utf8_name;
	size_t		utf8_name_len;
} fflag_flag;

/*
 * And of a user.  The id is the canonical text in UTF-8; it is read only once
 * the allowlist has been looked up, and need not be there before.  Nor later, if
 * the bucket is, as it may be where many users are asked for at once.
 */
typedef struct fflag_subject
{
	bool		somebody;		/* false: user_id was NULL */
	bool		is_staff;
	const char *utf8_id;
	size_t		utf8_id_len;
	int			bucket;			/* -1 if it has to be computed */
} fflag_subject;

/* Is the user on the flag's allowlist? */
typedef enum fflag_listed
{
	FFLAG_LISTED_UNKNOWN,		/* not looked up yet */
	FFLAG_LISTED_NO,
	FFLAG_LISTED_YES
} fflag_listed;

/* The rule that decided, in the order in which they are tried. */
typedef enum fflag_rule
{
	FFLAG_RULE_UNKNOWN_FLAG,
	FFLAG_RULE_STAFF_ONLY,
	FFLAG_RULE_DISABLED,
	FFLAG_RULE_FULL_ROLLOUT,
	FFLAG_RULE_ALLOWLIST,
	FFLAG_RULE_NO_ROLLOUT,
	FFLAG_RULE_NO_USER,
	FFLAG_RULE_ROLLOUT,
	FFLAG_RULE_UNDECIDED		/* ask again, with id and allowlist looked up */
} fflag_rule;

typedef struct fflag_decision
{
	bool		enabled;
	fflag_rule	rule;
} fflag_decision;

extern fflag_decision fflag_decide(const fflag_flag *flag,
								   const fflag_subject *user,
								   fflag_listed listed, bool default_value);
extern const char *fflag_rule_name(fflag_rule rule);
extern const char *fflag_rule_reason(fflag_rule rule);

#endif							/* FFLAG_RULES_H */
