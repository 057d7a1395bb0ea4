/*
 * explain_at.c
 *		fflag_explain_at(): what a user got at some moment, and why.
 *
 * The rules are those of rules.c, which know nothing of all this; what they look up
 * is what as_of.c says that flags, lists and variants were then.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"

#include "as_of.h"
#include "bucket.h"
#include "evaluate.h"
#include "extension.h"
#include "id.h"
#include "rules.h"

/* ----------
 * The look-ups of the rules, in the past
 * ----------
 */

/* A user who was asked about. */
typedef struct past_user
{
	fflag_subject subject;
	fflag_as_of *q;
	fflag_string id;			/* of somebody, a canonical text */
	bool		following;		/* SPI is connected once more, for the next */
	fflag_row	required;		/* the last flag asked for */
} past_user;

static inline const fflag_row *
row_of(const fflag_flag *flag)
{
	StaticAssertDecl(offsetof(fflag_row, flag) == 0, "a flag begins its row");
	return (const fflag_row *) flag;
}

/* Ends for ids get smaller along the way; no memory is kept but for the last flag. */
static const fflag_flag *
get_required(fflag_subject *subject, const fflag_flag *flag)
{
	past_user  *user = (past_user *) subject;
	fflag_string requires = row_of(flag)->requires;
	char		room[FFLAG_ID_ROOM];
	fflag_string id = fflag_string_make(room, requires.len);

	CHECK_FOR_INTERRUPTS();
	if (id.len == 0)
		return NULL;
	memcpy(room, requires.data, id.len);
	if (user->following)
		SPI_finish();
	SPI_connect();
	user->following = true;
	fflag_flag_at(user->q, true, id, &user->required);
	return &user->required.flag;
}

static bool
is_denied(fflag_subject *subject, const fflag_flag *flag)
{
	past_user  *user = (past_user *) subject;

	return fflag_listed_at(user->q, FFLAG_DENIED, row_of(flag)->id, user->id);
}

static bool
is_listed(fflag_subject *subject, const fflag_flag *flag)
{
	past_user  *user = (past_user *) subject;

	return fflag_listed_at(user->q, FFLAG_USERS, row_of(flag)->id, user->id);
}

static int
get_bucket(fflag_subject *subject, const fflag_flag *flag)
{
	past_user  *user = (past_user *) subject;

	return fflag_bucket_of(flag->utf8_name, fflag_to_utf8(user->id));
}

/*
 * Decides as the rules would have done then, and tells the variant's name, a
 * text.  Of the flag, only what does not point anywhere is left in *flag.
 */
static fflag_decision
decide_at(fflag_as_of *q, NullableDatum name, NullableDatum id, user_type type,
		  bool is_staff, bool default_value, fflag_flag *flag, NullableDatum *variant)
{
	static const fflag_lookups look = {get_required, is_denied, is_listed, get_bucket};
	past_user	user = {.subject = {!id.isnull, is_staff},.q = q};
	fflag_row	row = {0};
	fflag_decision decision;
	char		room[FFLAG_ID_ROOM];

	fflag_begin_as_of(q);
	if (!name.isnull)
		fflag_flag_at(q, false, fflag_string_of_text(DatumGetTextPP(name.value)), &row);
	if (!id.isnull)
		user.id = user_to_text(id.value, type, room);
	decision = fflag_decide(&row.flag, &user.subject, &look, default_value);
	if (user.following)
		SPI_finish();

	if (row.flag.known && !q->attached && decision.enabled && !id.isnull)
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
	fflag_as_of q = {.h.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid)};
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
