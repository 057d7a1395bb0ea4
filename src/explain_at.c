/*
 * explain_at.c
 *		fflag_explain_at(): what a user got at some moment, or will get, and why.
 *
 * The rules are those of rules.c, which know nothing of all this; what they look up
 * is what as_of.c says that flags, lists and variants are then.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "as_of.h"
#include "bucket.h"
#include "compat.h"
#include "evaluate.h"
#include "extension.h"
#include "id.h"
#include "rules.h"

/* ----------
 * The look-ups of the rules, at another moment
 * ----------
 */

/* A flag to which a relation led, and how the user fared. */
typedef struct past_flag
{
	fflag_row	row;			/* row.id is set even if it was not there */
	bool		under_way;		/* this is being found out */
	bool		enabled;
	int			variant;		/* by number, -1 if none, -2 if not known yet */
} past_flag;

/* A user who was asked about. */
typedef struct past_user
{
	fflag_subject subject;
	fflag_as_of *q;
	fflag_string id;			/* of somebody, a canonical text */
	List	   *others;			/* of past_flag, each decided once */
	MemoryContext cxt;			/* what that list is in */
} past_user;

static bool gets_other(fflag_subject *subject, const fflag_flag *flag,
					   const fflag_relation *relation);
static bool is_denied(fflag_subject *subject, const fflag_flag *flag);
static bool is_listed(fflag_subject *subject, const fflag_flag *flag);
static int	get_bucket(fflag_subject *subject, const fflag_flag *flag);

static const fflag_lookups look = {gets_other, is_denied, is_listed, get_bucket};

static inline const fflag_row *
row_of(const fflag_flag *flag)
{
	StaticAssertDecl(offsetof(fflag_row, flag) == 0, "a flag begins its row");
	return (const fflag_row *) flag;
}

static fflag_string
copy_string(fflag_string s)
{
	return fflag_string_make(pnstrdup(s.data, s.len), s.len);
}

/* A copy of a flag as it was, found by its id, in the current context. */
static past_flag *
copy_flag(const fflag_row *row, fflag_string id)
{
	past_flag  *copy = palloc0_object(past_flag);
	int			count = row->flag.n_relations;
	fflag_relation *relations = palloc_array(fflag_relation, count);

	copy->row = *row;
	copy->row.id = copy_string(id);
	copy->row.name = copy_string(row->name);
	copy->row.flag.utf8_seed = copy_string(row->flag.utf8_seed);
	for (int i = 0; i < count; i++)
	{
		relations[i].kind = row->flag.relations[i].kind;
		relations[i].other_id = copy_string(row->flag.relations[i].other_id);
		relations[i].other_variant = copy_string(row->flag.relations[i].other_variant);
		relations[i].pin = copy_string(row->flag.relations[i].pin);
	}
	copy->row.flag.relations = relations;
	return copy;
}

/* The flag of an id.  What reading it leaves is freed. */
static past_flag *
find_other(past_user *user, fflag_string id)
{
	fflag_row	row;
	past_flag  *other;
	MemoryContext caller;
	ListCell   *lc;

	foreach(lc, user->others)
	{
		other = lfirst(lc);
		if (fflag_string_equal(other->row.id, id))
			return other;
	}
	SPI_connect();
	fflag_flag_at(user->q, true, id, &row);
	caller = MemoryContextSwitchTo(user->cxt);
	other = copy_flag(&row, id);
	other->variant = -2;
	user->others = lappend(user->others, other);
	other->under_way = true;
	MemoryContextSwitchTo(caller);
	SPI_finish();
	other->enabled = fflag_decide(&other->row.flag, &user->subject, &look, false).enabled;
	other->under_way = false;
	return other;
}

/* The variant of a user who got the flag, by number; -1 if none. */
static int
choose_variant(past_user *user, const fflag_flag *flag, const fflag_variant_set *variants)
{
	int			pinned = fflag_pinned_variant(variants, flag, &user->subject, &look);
	uint64		hash = 0;

	if (pinned >= 0)
		return pinned;
	if (user->subject.somebody)
		hash = fflag_draw_of(flag->utf8_seed, fflag_to_utf8(user->id)).hash;
	return fflag_variant_of(variants, user->subject.somebody, hash);
}

static bool
gets_other(fflag_subject *subject, const fflag_flag *flag, const fflag_relation *relation)
{
	past_user  *user = (past_user *) subject;
	past_flag  *other;
	fflag_variant_set *variants;
	int			variant;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	other = find_other(user, relation->other_id);
	if (other->under_way)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" depended on itself", other->row.name.data),
				errdetail("Relations between flags led round in a circle."));
	if (!other->row.flag.known)
		return relation->kind == FFLAG_EXCLUDES;
	if (!other->enabled || relation->other_variant.len == 0)
		return other->enabled;

	SPI_connect();
	variants = fflag_variants_at(user->q, &other->row);
	variant = fflag_find_variant(variants, relation->other_variant);
	if (variant >= 0 && other->variant == -2)
	{
		other->under_way = true;
		other->variant = choose_variant(user, &other->row.flag, variants);
		other->under_way = false;
	}
	SPI_finish();
	return variant < 0 ? relation->kind == FFLAG_EXCLUDES : variant == other->variant;
}

static bool
is_on_list(past_user *user, const fflag_flag *flag, fflag_table_id which)
{
	bool		listed;

	SPI_connect();
	listed = fflag_listed_at(user->q, which, row_of(flag)->id, user->id);
	SPI_finish();
	return listed;
}

static bool
is_denied(fflag_subject *subject, const fflag_flag *flag)
{
	return is_on_list((past_user *) subject, flag, FFLAG_DENIED);
}

static bool
is_listed(fflag_subject *subject, const fflag_flag *flag)
{
	return is_on_list((past_user *) subject, flag, FFLAG_USERS);
}

static int
get_bucket(fflag_subject *subject, const fflag_flag *flag)
{
	past_user  *user = (past_user *) subject;

	return fflag_bucket_of(flag->utf8_seed, fflag_to_utf8(user->id));
}

/* ---------- */

/* What was decided, for fflag_explanation(). */
typedef struct past_answer
{
	fflag_decision decision;
	fflag_flag	flag;			/* what does not point anywhere */
	NullableDatum variant;		/* names, texts */
	NullableDatum because;
} past_answer;

/* A name, a text that outlives SPI. */
static NullableDatum
name_of(fflag_string name)
{
	NullableDatum result = {.isnull = false};

	result.value = SPI_datumTransfer(fflag_string_to_text(name), false, -1);
	return result;
}

/* The other flag that decided, see evaluate.c. */
static NullableDatum
find_because(past_user *user, const fflag_flag *flag, fflag_decision decision)
{
	NullableDatum result = {.isnull = true};
	const fflag_relation *r = NULL;
	past_flag  *first = NULL;

	while ((r = fflag_find_because(flag, &user->subject, &look, decision.rule, r)) != NULL)
	{
		past_flag  *other = find_other(user, r->other_id);

		if (other->row.flag.known &&
			(first == NULL || fflag_string_compare(other->row.name, first->row.name) < 0))
			first = other;
	}
	return first == NULL ? result : name_of(first->row.name);
}

/* Decides as the rules would have done then. */
static past_answer
decide_at(fflag_as_of *q, NullableDatum name, NullableDatum id, user_type type,
		  bool is_staff, bool default_value)
{
	past_user	user = {.subject = {!id.isnull, is_staff},.q = q,.cxt = CurrentMemoryContext};
	past_answer answer = {.variant = {.isnull = true}};
	fflag_row	row = {0};
	char		room[FFLAG_ID_ROOM];

	fflag_begin_as_of(q);
	if (!name.isnull)
		fflag_flag_at(q, false, fflag_string_of_text(DatumGetTextPP(name.value)), &row);
	if (!id.isnull)
		user.id = user_to_text(id.value, type, room);
	answer.decision = fflag_decide(&row.flag, &user.subject, &look, default_value);

	if (row.flag.known && !q->attached && answer.decision.enabled)
	{
		fflag_variant_set *variants = fflag_variants_at(q, &row);
		int			variant = choose_variant(&user, &row.flag, variants);

		if (variant >= 0)
			answer.variant = name_of(variants->names[variant]);
	}
	answer.because = find_because(&user, &row.flag, answer.decision);
	answer.flag = row.flag;
	if (row.flag.known)
		answer.flag.utf8_seed.data = memcpy(SPI_palloc(row.flag.utf8_seed.len),
											row.flag.utf8_seed.data, row.flag.utf8_seed.len);
	answer.flag.relations = NULL;
	answer.flag.n_relations = 0;
	return answer;
}

/*
 * fflag_explain_at(at, name, user_id, is_staff, default_value)
 * returns (enabled, rule, reason, bucket, rollout_percentage, variant, because)
 */
static Datum
fflag_explain_at(FunctionCallInfo fcinfo, user_type type)
{
	fflag_as_of q = {.h.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid)};
	past_answer answer;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"at\" of fflag_explain_at() must not be null"),
				errhint("Give a moment; fflag_explain() is for now."));
	q.at = PG_GETARG_TIMESTAMPTZ(0);
	SPI_connect();
	answer = decide_at(&q, fcinfo->args[1], fcinfo->args[2], type,
					   !PG_ARGISNULL(3) && PG_GETARG_BOOL(3),
					   !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
	SPI_finish();
	return fflag_explanation(fcinfo, fcinfo->args[1], fcinfo->args[2], type,
							 &answer.flag, answer.decision, answer.variant, answer.because);
}

OVERLOADS(fflag_explain_at, fflag_explain_at_bigint, fflag_explain_at_uuid,
		  fflag_explain_at_text);
