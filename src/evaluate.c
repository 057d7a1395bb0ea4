/*
 * evaluate.c
 *		The SQL functions that evaluate flags.
 *
 * All of them come through evaluate(), so that what fflag_explain() and
 * fflag_flags() say is what fflag_enabled() does.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/arrayaccess.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/tuplestore.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"
#include "compat.h"
#include "read.h"
#include "rules.h"

/* The overloads differ by the type of user_id only. */
typedef enum user_type
{
	USER_BIGINT,
	USER_UUID,
	USER_TEXT
} user_type;

#define OVERLOADS(function) \
	PG_FUNCTION_INFO_V1(function##_bigint); \
	PG_FUNCTION_INFO_V1(function##_uuid); \
	PG_FUNCTION_INFO_V1(function##_text); \
	Datum function##_bigint(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_BIGINT); } \
	Datum function##_uuid(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_UUID); } \
	Datum function##_text(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_TEXT); } \
	extern Datum function##_text(PG_FUNCTION_ARGS)	/* takes the semicolon */

/* A user id's canonical text, and room for that of a bigint or uuid. */
typedef struct user_text
{
	const char *data;
	size_t		len;
	char		room[FFLAG_ID_ROOM];
} user_text;

/* Fills in what gets hashed and what is looked up in allowlists. */
static inline void
format_user(Datum id, user_type type, user_text *user)
{
	static const Oid oids[] = {INT8OID, UUIDOID, TEXTOID};
	fflag_string text = fflag_id_to_text(oids[type], id, user->room);

	user->data = text.data;
	user->len = text.len;
}

/* The rest of evaluate_entry(), out of line to keep its beginning short. */
static pg_noinline fflag_decision
evaluate_with_id(const fflag_entry *entry, Datum id, user_type type,
				 fflag_subject *subject)
{
	const fflag_allowlist *list = fflag_cache_list(entry);
	user_text	user;
	uint64		hash = 0;
	bool		listed = false;

	format_user(id, type, &user);
	if (list != NULL)
		hash = fflag_allowlist_hash(list, user.data, user.len);

	subject->utf8_id = user.data;
	subject->utf8_id_len = user.len;
	if (type == USER_TEXT)
		subject->utf8_id = fflag_to_utf8(user.data, &subject->utf8_id_len);

	/* before the list is asked, which is still coming from memory */
	if (list != NULL && entry->flag.rollout > 0)
		subject->bucket = fflag_bucket_of(entry->flag.utf8_name,
										  entry->flag.utf8_name_len,
										  subject->utf8_id, subject->utf8_id_len);
	if (list != NULL)
		listed = fflag_cache_listed(entry, user.data, user.len, hash);
	return fflag_decide(&entry->flag, subject,
						listed ? FFLAG_LISTED_YES : FFLAG_LISTED_NO, false);
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

/*
 * Evaluates the flag named by argument 0 for the user of argument 1; the other
 * two are is_staff and default_value.  For each of them NULL is false, and a
 * NULL name is one that no flag has.  *flag is set to what was evaluated.
 */
static pg_attribute_always_inline fflag_decision
evaluate(FunctionCallInfo fcinfo, user_type type, const fflag_flag **flag)
{
	static const fflag_entry no_entry;
	const fflag_entry *entry = &no_entry;

	if (!PG_ARGISNULL(0))
		entry = fflag_cache_get(fcinfo->flinfo, PG_GETARG_DATUM(0));
	*flag = &entry->flag;
	return evaluate_entry(entry, fcinfo->args[1], type,
						  !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
						  !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
}

/* fflag_enabled(name, user_id, is_staff, default_value) returns boolean */
static inline Datum
fflag_enabled(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_flag *flag;

	PG_RETURN_BOOL(evaluate(fcinfo, type, &flag).enabled);
}

OVERLOADS(fflag_enabled);

static int
get_bucket(FunctionCallInfo fcinfo, user_type type)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	size_t		name_len = VARSIZE_ANY_EXHDR(name);
	const char *utf8_name = fflag_to_utf8(VARDATA_ANY(name), &name_len);
	user_text	user;
	const char *utf8_user;

	format_user(PG_GETARG_DATUM(1), type, &user);
	utf8_user = fflag_to_utf8(user.data, &user.len);
	return fflag_bucket_of(utf8_name, name_len, utf8_user, user.len);
}

/* fflag_bucket(name, user_id) returns integer; strict */
static inline Datum
fflag_bucket(FunctionCallInfo fcinfo, user_type type)
{
	PG_RETURN_INT32(get_bucket(fcinfo, type));
}

OVERLOADS(fflag_bucket);

/*
 * fflag_explain(name, user_id, is_staff, default_value)
 * returns (enabled, rule, reason, bucket, rollout_percentage)
 */
static inline Datum
fflag_explain(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_flag *flag;
	fflag_decision decision = evaluate(fcinfo, type, &flag);
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = BoolGetDatum(decision.enabled);
	values[1] = CStringGetTextDatum(fflag_rule_name(decision.rule));
	values[2] = CStringGetTextDatum(fflag_rule_reason(decision.rule));

	nulls[3] = PG_ARGISNULL(0) || PG_ARGISNULL(1);
	values[3] = nulls[3] ? 0 : Int32GetDatum(get_bucket(fcinfo, type));

	/* exactly what the table says, less trailing zeros */
	nulls[4] = !flag->known;
	values[4] = nulls[4] ? 0 :
		DirectFunctionCall1(numeric_trim_scale,
							NumericGetDatum(int64_div_fast_to_numeric(flag->rollout, 3)));

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

OVERLOADS(fflag_explain);

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
	entries = fflag_cache_get_all(fcinfo->flinfo, &count);
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
		values[0] = PointerGetDatum(cstring_to_text_with_len(entries[i]->name,
															 entries[i]->name_len));
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

OVERLOADS(fflag_flags);

/* As many users as are evaluated together. */
#define CHUNK 64

/* How the elements of an array are stored. */
typedef struct element_type
{
	int			len;
	bool		byval;
	char		align;
} element_type;

static const element_type user_elements[] = {
	[USER_BIGINT] = {sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE},
	[USER_UUID] = {UUID_LEN, false, TYPALIGN_CHAR},
	[USER_TEXT] = {-1, false, TYPALIGN_INT},
};

static const element_type bool_elements = {sizeof(bool), true, TYPALIGN_CHAR};

/* An array argument, read from its first element to its last. */
typedef struct elements
{
	AnyArrayType *array;
	int			count;
	array_iter	iter;
	int			next;
} elements;

static inline elements
get_elements(Datum array, element_type type)
{
	elements	e = {.array = DatumGetAnyArrayP(array)};

	e.count = ArrayGetNItems(AARR_NDIM(e.array), AARR_DIMS(e.array));
	fflag_iter_setup(&e.iter, e.array, type);
	return e;
}

static pg_attribute_always_inline Datum
next_element(elements *e, element_type type, bool *isnull)
{
	return fflag_iter_next(&e->iter, isnull, e->next++, type);
}

/* What the rules say before they know the id: by somebody and is_staff. */
typedef struct first_decisions
{
	fflag_decision of[2][2];
} first_decisions;

static first_decisions
decide_without_id(const fflag_flag *flag)
{
	first_decisions first;

	for (int i = 0; i < 4; i++)
	{
		fflag_subject subject = {.somebody = i / 2,.is_staff = i % 2};

		first.of[i / 2][i % 2] =
			fflag_decide(flag, &subject, FFLAG_LISTED_UNKNOWN, false);
	}
	return first;
}

/*
 * Evaluates an entry for the next users, count of them and up to CHUNK.
 * Leaves garbage in the current context.
 */
static pg_attribute_always_inline void
evaluate_chunk(const fflag_entry *entry, const first_decisions *first,
			   user_type type, elements *users, elements *staff, int count,
			   bool *answers)
{
	bool		is_staff[CHUNK];
	user_text	texts[CHUNK];
	fflag_bytes utf8[CHUNK];
	int			buckets[CHUNK];
	int			which[CHUNK];
	uint64		hashes[CHUNK];
	int			undecided = 0;
	const fflag_allowlist *list;

	for (int i = 0; i < count; i++)
	{
		user_text  *text = &texts[undecided];
		bool		nobody;
		bool		unsaid = true;
		Datum		id = next_element(users, user_elements[type], &nobody);
		Datum		said = staff == NULL ? (Datum) 0 :
			next_element(staff, bool_elements, &unsaid);
		fflag_decision decision;

		is_staff[undecided] = !unsaid && DatumGetBool(said);
		decision = first->of[!nobody][is_staff[undecided]];
		answers[i] = decision.enabled;
		if (decision.rule != FFLAG_RULE_UNDECIDED)
			continue;

		format_user(id, type, text);
		utf8[undecided] = (fflag_bytes) {text->data, text->len};
		if (type == USER_TEXT)
			utf8[undecided].data = fflag_to_utf8(text->data, &utf8[undecided].len);
		which[undecided++] = i;
	}

	if (undecided == 0)
		return;
	list = fflag_cache_list(entry);
	for (int k = 0; list != NULL && k < undecided; k++)
		hashes[k] = fflag_allowlist_hash(list, texts[k].data, texts[k].len);

	/* without a rollout nobody asks for them */
	if (entry->flag.rollout > 0)
		fflag_buckets_of(entry->flag.utf8_name, entry->flag.utf8_name_len,
						 utf8, undecided, buckets);

	for (int k = 0; k < undecided; k++)
	{
		fflag_subject subject = {.somebody = true,.is_staff = is_staff[k]};
		bool		listed = list != NULL &&
			fflag_cache_listed(entry, texts[k].data, texts[k].len, hashes[k]);

		subject.bucket = entry->flag.rollout > 0 ? buckets[k] : -1;
		answers[which[k]] =
			fflag_decide(&entry->flag, &subject,
						 listed ? FFLAG_LISTED_YES : FFLAG_LISTED_NO,
						 false).enabled;
	}
}

/* The answers for all users, in an array of users->count; reads both to the end. */
static pg_attribute_always_inline bool *
evaluate_all(FunctionCallInfo fcinfo, user_type type, elements *users,
			 elements *staff, bool *answers)
{
	static const fflag_entry no_entry;
	const fflag_entry *entry = &no_entry;
	first_decisions first;
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext,
												"fflag chunk",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(chunk);

	if (!PG_ARGISNULL(0))
		entry = fflag_cache_get(fcinfo->flinfo, PG_GETARG_DATUM(0));
	first = decide_without_id(&entry->flag);
	for (int i = 0; i < users->count; i += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		evaluate_chunk(entry, &first, type, users, staff,
					   Min(CHUNK, users->count - i), answers + i);
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
	return answers;
}

/*
 * fflag_enabled(name, user_ids[]) and
 * fflag_enabled_all(name, user_ids[], is_staff boolean[])
 * return boolean[], of the shape of user_ids
 */
static pg_attribute_always_inline Datum
fflag_enabled_array(FunctionCallInfo fcinfo, user_type type)
{
	bool		has_staff = PG_NARGS() > 2 && !PG_ARGISNULL(2);
	elements	users;
	elements	staff;
	ArrayType  *result;
	Size		size;
	int			ndim;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	users = get_elements(PG_GETARG_DATUM(1), user_elements[type]);
	if (has_staff)
	{
		staff = get_elements(PG_GETARG_DATUM(2), bool_elements);
		if (staff.count != users.count)
			ereport(ERROR,
					errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					errmsg("is_staff has %d elements, and user_ids %d",
						   staff.count, users.count),
					errhint("Give one element of is_staff for each user, or null if nobody is staff."));
	}

	/* built in place: elements of one byte, none of them null */
	ndim = AARR_NDIM(users.array);
	size = ARR_OVERHEAD_NONULLS(ndim) + users.count;
	result = palloc0(size);
	SET_VARSIZE(result, size);
	result->ndim = ndim;
	result->dataoffset = 0;
	result->elemtype = BOOLOID;
	memcpy(ARR_DIMS(result), AARR_DIMS(users.array), ndim * sizeof(int));
	memcpy(ARR_LBOUND(result), AARR_LBOUND(users.array), ndim * sizeof(int));
	evaluate_all(fcinfo, type, &users, has_staff ? &staff : NULL,
				 (bool *) ARR_DATA_PTR(result));
	PG_RETURN_ARRAYTYPE_P(result);
}

OVERLOADS(fflag_enabled_array);

/* fflag_select(name, user_ids[]) returns setof user_id */
static inline Datum
fflag_select(FunctionCallInfo fcinfo, user_type type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	elements	users;
	elements	again;
	bool	   *answers;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(1))
		return (Datum) 0;
	users = again = get_elements(PG_GETARG_DATUM(1), user_elements[type]);
	answers = evaluate_all(fcinfo, type, &users, NULL,
						   palloc(Max(users.count, 1)));
	for (int i = 0; i < again.count; i++)
	{
		bool		isnull;
		Datum		user = next_element(&again, user_elements[type], &isnull);

		if (answers[i])
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc,
								 &user, &isnull);
	}
	return (Datum) 0;
}

OVERLOADS(fflag_select);

/* fflag_cache() returns one row, see fflag_cache_stats */
PG_FUNCTION_INFO_V1(fflag_cache);

Datum
fflag_cache(PG_FUNCTION_ARGS)
{
	fflag_cache_stats stats = fflag_cache_get_stats();
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = BoolGetDatum(stats.caching);
	values[1] = Int64GetDatum(stats.flags);
	values[2] = Int64GetDatum(stats.unknown_names);
	values[3] = Int64GetDatum(stats.allowlists);
	values[4] = Int64GetDatum(stats.bytes);
	values[5] = Int64GetDatum(stats.hits);
	values[6] = Int64GetDatum(stats.loads);
	values[7] = Int64GetDatum(stats.invalidations);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
