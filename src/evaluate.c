/*
 * evaluate.c
 *		The SQL functions that evaluate flags.
 *
 * All of them come through evaluate_entry(), so that what fflag_explain() and
 * fflag_flags() say is what fflag_enabled() does.  Those that take arrays are in
 * batch.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/tuplestore.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"
#include "compat.h"
#include "evaluate.h"
#include "overloads.h"
#include "rules.h"

/* The end of evaluate_with_id() for a list that is asked by the id's text. */
static pg_noinline fflag_decision
evaluate_with_list(const fflag_entry *entry, fflag_allowlist *list, Datum id,
				   user_type type, fflag_subject *subject)
{
	char		room[FFLAG_ID_ROOM];
	fflag_string user = user_to_text(id, type, room);
	uint64		hash = fflag_allowlist_hash(list, user);
	bool		listed;

	subject->utf8_id = type == USER_TEXT ? fflag_to_utf8(user) : user;

	/* first, because the list is still being fetched from memory */
	if (entry->flag.rollout > 0)
		subject->bucket = fflag_bucket_of(entry->flag.utf8_name,
										  subject->utf8_id);
	listed = fflag_allowlist_has(list, user, hash);
	return fflag_decide(&entry->flag, subject,
						listed ? FFLAG_LISTED_YES : FFLAG_LISTED_NO, false);
}

/* The rest of evaluate_entry(), out of line to keep its beginning short. */
static pg_noinline fflag_decision
evaluate_with_id(const fflag_entry *entry, Datum id, user_type type,
				 fflag_subject *subject)
{
	fflag_allowlist *list = fflag_cache_list(entry);
	char		room[FFLAG_ID_ROOM];

	if (list != NULL)
	{
		if (type != USER_BIGINT || list->integers == NULL)
			return evaluate_with_list(entry, list, id, type, subject);
		if (fflag_integer_list_has(list->integers, DatumGetInt64(id)))
			return fflag_decide(&entry->flag, subject, FFLAG_LISTED_YES, false);
	}

	/* the text is needed only for the hash */
	if (entry->flag.rollout > 0)
	{
		fflag_string user = user_to_text(id, type, room);

		subject->utf8_id = type == USER_TEXT ? fflag_to_utf8(user) : user;
	}
	return fflag_decide(&entry->flag, subject, FFLAG_LISTED_NO, false);
}

/*
 * Decides for a flag that the cache has just returned, under the same
 * snapshot.  The user id is looked at only if it matters.
 */
static inline fflag_decision
evaluate_entry(const fflag_entry *entry, NullableDatum id, user_type type,
			   bool is_staff, bool default_value)
{
	fflag_subject subject;
	fflag_decision decision;

	subject.somebody = !id.isnull;
	subject.is_staff = is_staff;
	subject.bucket = -1;
	decision = fflag_decide(&entry->flag, &subject, FFLAG_LISTED_UNKNOWN,
							default_value);
	if (decision.rule != FFLAG_RULE_UNDECIDED)
		return decision;
	return evaluate_with_id(entry, id.value, type, &subject);
}

/* A NULL name is one that no flag has; what is counted here is never looked at. */
static fflag_entry no_entry;

/*
 * Evaluates the flag named by argument 0 for the user of argument 1; the other
 * two are is_staff and default_value.  For each of them NULL is false.
 */
static pg_attribute_always_inline fflag_decision
evaluate(FunctionCallInfo fcinfo, user_type type, const fflag_entry *entry)
{
	return evaluate_entry(entry, fcinfo->args[1], type,
						  !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
						  !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
}

/* fflag_enabled(name, user_id, is_staff, default_value) returns boolean */
static inline Datum
fflag_enabled(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = &no_entry;
	bool		enabled;

	if (!PG_ARGISNULL(0))
		entry = fflag_cache_get(fcinfo->flinfo, PG_GETARG_DATUM(0));
	enabled = evaluate(fcinfo, type, entry).enabled;
	fflag_entry_count(entry, 1, enabled);
	PG_RETURN_BOOL(enabled);
}

OVERLOADS(fflag_enabled,
		  fflag_enabled_bigint, fflag_enabled_uuid, fflag_enabled_text);

static int
get_bucket(Datum name_datum, Datum id, user_type type)
{
	text	   *name = DatumGetTextPP(name_datum);
	char		room[FFLAG_ID_ROOM];
	fflag_string user = user_to_text(id, type, room);

	return fflag_bucket_of(fflag_to_utf8(fflag_string_of_text(name)),
						   fflag_to_utf8(user));
}

/* fflag_bucket(name, user_id) returns integer; strict */
static inline Datum
fflag_bucket(FunctionCallInfo fcinfo, user_type type)
{
	PG_RETURN_INT32(get_bucket(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), type));
}

OVERLOADS(fflag_bucket,
		  fflag_bucket_bigint, fflag_bucket_uuid, fflag_bucket_text);

/*
 * The result of fflag_explain() and fflag_explain_at(): what has been decided
 * for the flag of this name and for this user, and why.
 */
Datum
fflag_explanation(FunctionCallInfo fcinfo, NullableDatum name,
				  NullableDatum id, user_type type, const fflag_flag *flag,
				  fflag_decision decision)
{
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = BoolGetDatum(decision.enabled);
	values[1] = CStringGetTextDatum(fflag_rule_name(decision.rule));
	values[2] = CStringGetTextDatum(fflag_rule_reason(decision.rule));

	nulls[3] = name.isnull || id.isnull;
	values[3] = nulls[3] ? 0 : Int32GetDatum(get_bucket(name.value, id.value, type));

	/* exactly what the table says, less trailing zeros */
	nulls[4] = !flag->known;
	values[4] = nulls[4] ? 0 :
		DirectFunctionCall1(numeric_trim_scale,
							NumericGetDatum(int64_div_fast_to_numeric(flag->rollout, 3)));

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/*
 * fflag_explain(name, user_id, is_staff, default_value)
 * returns (enabled, rule, reason, bucket, rollout_percentage)
 */
static inline Datum
fflag_explain(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = &no_entry;

	/* looked up without a report: it explains an unknown name */
	if (!PG_ARGISNULL(0))
		entry = fflag_cache_find(fcinfo->flinfo->fn_oid, PG_GETARG_DATUM(0));
	return fflag_explanation(fcinfo, fcinfo->args[0], fcinfo->args[1], type,
							 &entry->flag, evaluate(fcinfo, type, entry));
}

OVERLOADS(fflag_explain,
		  fflag_explain_bigint, fflag_explain_uuid, fflag_explain_text);

/* fflag_flags(user_id, is_staff) returns setof (name, enabled) */
static inline Datum
fflag_flags(FunctionCallInfo fcinfo, user_type type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	NullableDatum user = fcinfo->args[0];
	const fflag_entry *const *entries;
	int			count;
	MemoryContext caller;
	MemoryContext per_flag;

	InitMaterializedSRF(fcinfo, 0);
	entries = fflag_cache_get_all(fcinfo->flinfo->fn_oid, &count);
	if (type == USER_TEXT && !user.isnull)
		user.value = PointerGetDatum(DatumGetTextPP(user.value));

	per_flag = AllocSetContextCreate(CurrentMemoryContext, "fflag_flags",
									 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(per_flag);
	for (int i = 0; i < count; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = PointerGetDatum(cstring_to_text_with_len(entries[i]->name.data,
															 entries[i]->name.len));
		values[1] = BoolGetDatum(evaluate_entry(entries[i], user, type,
												!PG_ARGISNULL(1) && PG_GETARG_BOOL(1),
												false).enabled);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(per_flag);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(per_flag);
	return (Datum) 0;
}

OVERLOADS(fflag_flags,
		  fflag_flags_bigint, fflag_flags_uuid, fflag_flags_text);
