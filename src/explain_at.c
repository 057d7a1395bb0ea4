/*
 * explain_at.c
 *		fflag_explain_at(): what a user got at some moment, and why.
 *
 * The rules are those of rules.c, which know nothing of all this; as_of.c says what
 * flags, lists and variants were then.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"

#include "as_of.h"
#include "evaluate.h"
#include "extension.h"
#include "id.h"
#include "rules.h"

/*
 * Decides for a flag whatever it required, as evaluate.c does.  The user is read
 * only of somebody, a canonical text.
 */
static fflag_decision
decide_alone(fflag_as_of *q, const fflag_row *row, const fflag_subject *subject,
			 fflag_string user, bool default_value)
{
	fflag_standing standing = FFLAG_STANDING_UNKNOWN;
	fflag_decision decision = fflag_decide(&row->flag, subject, standing, default_value);

	if (decision.rule == FFLAG_RULE_UNDECIDED && row->flag.restricted)
	{
		standing = subject->somebody && fflag_listed_at(q, FFLAG_DENIED, row->id, user) ?
			FFLAG_STANDING_DENIED : FFLAG_STANDING_ADMITTED;
		decision = fflag_decide(&row->flag, subject, standing, default_value);
	}
	if (decision.rule == FFLAG_RULE_UNDECIDED)
	{
		standing = fflag_listed_at(q, FFLAG_USERS, row->id, user) ?
			FFLAG_STANDING_LISTED : FFLAG_STANDING_UNLISTED;
		decision = fflag_decide(&row->flag, subject, standing, default_value);
	}
	return decision;
}

/*
 * Did the user get the flag of this id, what that required, and so on?  It ends,
 * for ids get smaller along the way, and keeps no memory.
 */
static bool
met_requirements(fflag_as_of *q, fflag_string id, const fflag_subject *subject,
				 fflag_string user)
{
	char		room[FFLAG_ID_ROOM];
	fflag_decision decision;

	do
	{
		fflag_row	row;

		CHECK_FOR_INTERRUPTS();
		SPI_connect();
		fflag_flag_at(q, true, id, &row);
		decision = decide_alone(q, &row, subject, user, false);
		id = fflag_string_make(room, row.requires.len);
		if (id.len > 0)
			memcpy(room, row.requires.data, id.len);
		SPI_finish();
	} while (decision.enabled && decision.rule >= FFLAG_RULE_PREREQUISITE && id.len > 0);
	return decision.enabled;
}

/*
 * Decides as the rules would have done then, and tells the variant's name, a
 * text.  Of the flag, only what does not point anywhere is left in *flag.
 */
static fflag_decision
decide_at(fflag_as_of *q, NullableDatum name, NullableDatum id, user_type type,
		  bool is_staff, bool default_value, fflag_flag *flag, NullableDatum *variant)
{
	fflag_row	row = {0};
	fflag_subject subject = {.somebody = !id.isnull,.is_staff = is_staff,.bucket = -1};
	fflag_decision decision;
	fflag_string user = {0};
	char		room[FFLAG_ID_ROOM];

	fflag_begin_as_of(q);
	if (!name.isnull)
		fflag_flag_at(q, false, fflag_string_of_text(DatumGetTextPP(name.value)), &row);
	if (subject.somebody)
	{
		user = user_to_text(id.value, type, room);
		subject.utf8_id = fflag_to_utf8(user);
	}

	decision = fflag_decide(&row.flag, &subject, FFLAG_STANDING_UNKNOWN, default_value);
	if (decision.rule == FFLAG_RULE_UNDECIDED && row.requires.len > 0 &&
		!met_requirements(q, row.requires, &subject, user))
		decision = fflag_decide(&row.flag, &subject, FFLAG_STANDING_UNMET, default_value);
	else
		decision = decide_alone(q, &row, &subject, user, default_value);

	if (row.flag.known && !q->attached && decision.enabled && subject.somebody)
	{
		*variant = fflag_variant_name(fflag_variants_at(q, &row), decision, id, type);
		if (!variant->isnull)
			variant->value = SPI_datumTransfer(variant->value, false, -1);
	}
	*flag = row.flag;
	flag->utf8_name = fflag_string_make(NULL, 0);
	return decision;
}

/*
 * fflag_explain_at(at, name, user_id, is_staff, default_value)
 * returns (enabled, rule, reason, bucket, rollout_percentage, variant)
 */
static Datum
fflag_explain_at(FunctionCallInfo fcinfo, user_type type)
{
	fflag_as_of q = {.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid)};
	fflag_decision decision;
	fflag_flag	flag;
	NullableDatum variant = {.isnull = true};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"at\" of fflag_explain_at() must not be null"),
				errhint("Give a moment; fflag_explain() is for now."));
	q.at = PG_GETARG_TIMESTAMPTZ(0);
	SPI_connect();
	decision = decide_at(&q, fcinfo->args[1], fcinfo->args[2], type,
						 !PG_ARGISNULL(3) && PG_GETARG_BOOL(3),
						 !PG_ARGISNULL(4) && PG_GETARG_BOOL(4), &flag, &variant);
	SPI_finish();
	return fflag_explanation(fcinfo, fcinfo->args[1], fcinfo->args[2], type,
							 &flag, decision, variant);
}

OVERLOADS(fflag_explain_at, fflag_explain_at_bigint, fflag_explain_at_uuid,
		  fflag_explain_at_text);
