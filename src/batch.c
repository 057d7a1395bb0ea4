/*
 * batch.c
 *		The SQL functions that evaluate a flag for many users at once.
 *
 * The rules are evaluated once for each kind of user that they can tell apart
 * without an id.  Buckets are computed for many users together, unless the flag
 * is related to another or has a denylist.  Otherwise each answer is found as in
 * evaluate.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/arrayaccess.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"
#include "compat.h"
#include "evaluate.h"
#include "id.h"
#include "rules.h"

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

/* What the rules say without the id, of a kind of user. */
typedef struct kind_answer
{
	bool		decided;
	bool		enabled;
} kind_answer;

typedef struct kinds
{
	kind_answer of[2][2];		/* by somebody and is_staff */
} kinds;

static kinds
decide_for_kinds(const fflag_flag *flag)
{
	kinds		k;

	for (int i = 0; i < 4; i++)
	{
		fflag_subject kind = {i / 2, i % 2};
		fflag_decision d;

		k.of[i / 2][i % 2].decided = fflag_decide_for_all(flag, kind, true, &d);
		k.of[i / 2][i % 2].enabled = d.enabled;
	}
	return k;
}

/* What the rules say of somebody under a flag without relations or a denylist. */
static inline bool
decide_with_id(const fflag_entry *entry, bool is_staff, bool listed, int bucket)
{
	fflag_facts facts = {.user = {true, is_staff},.listed = listed,.bucket = bucket};

	return fflag_decide_by_facts(&entry->flag, &facts).enabled;
}

/*
 * Evaluates an entry for the next users, count of them and up to CHUNK.
 * Leaves garbage in the current context.
 */
static pg_attribute_always_inline void
evaluate_chunk(const fflag_entry *entry, const kinds *k,
			   user_type type, elements *users, elements *staff, int count,
			   bool *answers)
{
	bool		is_staff[CHUNK];
	char		rooms[CHUNK][FFLAG_ID_ROOM];
	fflag_string texts[CHUNK];
	fflag_string utf8[CHUNK];
	int			buckets[CHUNK];
	int			which[CHUNK];
	uint64		hashes[CHUNK];
	int			undecided = 0;
	fflag_allowlist *list = NULL;
	const fflag_integer_list *integers = NULL;

	if (!k->of[true][false].decided)
		list = fflag_cache_list(entry, FFLAG_USERS);
	if (type == USER_BIGINT && list != NULL && list->integers != NULL)
	{
		integers = list->integers;
		list = NULL;			/* nothing else is asked of it */
	}

	for (int i = 0; i < count; i++)
	{
		fflag_string user;
		bool		nobody;
		Datum		id = next_element(users, user_elements[type], &nobody);
		Datum		staff_datum = (Datum) 0;
		bool		staff_isnull = true;
		kind_answer answer;

		if (staff != NULL)
			staff_datum = next_element(staff, bool_elements, &staff_isnull);
		is_staff[undecided] = !staff_isnull && DatumGetBool(staff_datum);
		answer = k->of[!nobody][is_staff[undecided]];
		answers[i] = answer.enabled;
		if (answer.decided)
			continue;

		if (entry->flag.restricted || entry->flag.includes)
		{
			NullableDatum user_id = {id, nobody};

			answers[i] = fflag_is_enabled(entry, user_id, type, is_staff[undecided]);
			continue;
		}
		if (integers != NULL)
		{
			bool		listed = fflag_integer_list_has(integers, DatumGetInt64(id));

			/* the text is needed only for the hash */
			if (listed || entry->flag.rollout <= 0)
			{
				answers[i] = decide_with_id(entry, is_staff[undecided], listed, -1);
				continue;
			}
		}
		user = user_to_text(id, type, rooms[undecided]);
		texts[undecided] = user;
		utf8[undecided] = type == USER_TEXT ? fflag_to_utf8(user) : user;
		which[undecided++] = i;
	}

	if (undecided == 0)
		return;
	for (int k = 0; list != NULL && k < undecided; k++)
		hashes[k] = fflag_allowlist_hash(list, texts[k]);

	/* without a rollout nobody asks for them */
	if (entry->flag.rollout > 0)
		fflag_buckets_of(entry->flag.utf8_seed, utf8, undecided, buckets);

	for (int k = 0; k < undecided; k++)
	{
		bool		listed = false;

		if (list != NULL)
			listed = fflag_allowlist_has(list, texts[k], hashes[k]);
		answers[which[k]] = decide_with_id(entry, is_staff[k], listed,
										   entry->flag.rollout > 0 ? buckets[k] : -1);
	}
}

/* The answers for all users, in an array of users->count; reads both to the end. */
static pg_attribute_always_inline bool *
evaluate_all(FunctionCallInfo fcinfo, user_type type, elements *users,
			 elements *staff, bool *answers)
{
	static fflag_entry no_entry;
	const fflag_entry *entry = &no_entry;
	kinds		k;
	int			enabled = 0;
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext,
												"fflag chunk",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(chunk);

	if (!PG_ARGISNULL(0))
		entry = fflag_cache_get(fcinfo->flinfo, PG_GETARG_DATUM(0));
	k = decide_for_kinds(&entry->flag);
	for (int i = 0; i < users->count; i += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		evaluate_chunk(entry, &k, type, users, staff,
					   Min(CHUNK, users->count - i), answers + i);
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
	for (int i = 0; i < users->count; i++)
		enabled += answers[i];
	fflag_entry_count(entry, users->count, enabled);
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

OVERLOADS(fflag_enabled_array,
		  fflag_enabled_array_bigint, fflag_enabled_array_uuid,
		  fflag_enabled_array_text);

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

OVERLOADS(fflag_select,
		  fflag_select_bigint, fflag_select_uuid, fflag_select_text);
