/*
 * stale.c
 *		fflag_stale(): which flags can go.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "allowlist.h"
#include "cache.h"
#include "catalog.h"
#include "change.h"
#include "compat.h"
#include "extension.h"
#include "history.h"
#include "id.h"
#include "related.h"
#include "snapshot.h"
#include "spi.h"
#include "usage_sql.h"

/* What a flag's row says of its age. */
typedef struct flag_age
{
	fflag_string name;
	TimestampTz updated_at;		/* DT_NOEND: not known */
	bool		permanent;		/* it is to stay, whatever its age */
} flag_age;

typedef struct flag_ages
{
	flag_age   *of;				/* bytewise in order */
	int			count;
} flag_ages;

static int
compare_ages(const void *a, const void *b)
{
	return fflag_string_compare(((const flag_age *) a)->name,
								((const flag_age *) b)->name);
}

/* Is metadata ->> 'permanent' = 'true'? */
static bool
says_permanent(Datum metadata)
{
	Jsonb	   *jb = DatumGetJsonbP(metadata);
	JsonbValue	room;
	JsonbValue *value = NULL;
	bool		permanent;

	if (JB_ROOT_IS_OBJECT(jb))
		value = getKeyJsonValueFromContainer(&jb->root, "permanent", strlen("permanent"), &room);
	permanent = value != NULL &&
		((value->type == jbvBool && value->val.boolean) ||
		 (value->type == jbvString &&
		  fflag_string_equal(fflag_string_make(value->val.string.val, value->val.string.len),
							 fflag_string_make("true", strlen("true")))));
	if ((Pointer) jb != DatumGetPointer(metadata))
		pfree(jb);
	return permanent;
}

/* A column's value if it has this type; NULL if not, as its owner may have had it. */
static NullableDatum
get_column(Relation rel, HeapTuple tuple, AttrNumber attnum, Oid type, Oid expected)
{
	NullableDatum column = {.isnull = true};

	if (attnum != InvalidAttrNumber && type == expected)
		column.value = heap_getattr(tuple, attnum, RelationGetDescr(rel), &column.isnull);
	return column;
}

/*
 * Reads the extension's own flags under the active snapshot, by a scan: no code of the
 * table's owner runs, in an index or a policy.  So the caller has to be allowed to read
 * all of it.  Attached tables do not say when they were changed: there it finds none.
 */
static flag_ages
read_ages(Oid schema)
{
	Snapshot	snapshot = fflag_active_snapshot();
	flag_ages	ages = {0};
	Size		room = 0;
	fflag_source source;
	Relation	rel;
	AttrNumber	updated_at;
	AttrNumber	metadata;
	Oid			types[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (fflag_attached_name(schema, snapshot) != NULL)
		return ages;
	source = fflag_locate_own(schema);
	rel = fflag_open_table(&source, FFLAG_FLAGS);
	if (!fflag_may_read(RelationGetRelid(rel), GetUserId()))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied for table %s", RelationGetRelationName(rel)),
				errhint("Grant SELECT on it, and let no row-level security hide rows from the role."));
	updated_at = fflag_find_column(rel, "updated_at", &types[0]);
	metadata = fflag_find_column(rel, "metadata", &types[1]);
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		flag_age	age;
		bool		isnull;
		Datum		name = heap_getattr(tuple, source.attnums[FFLAG_COLUMN_NAME],
										RelationGetDescr(rel), &isnull);
		NullableDatum updated = get_column(rel, tuple, updated_at, types[0], TIMESTAMPTZOID);
		NullableDatum data = get_column(rel, tuple, metadata, types[1], JSONBOID);

		CHECK_FOR_INTERRUPTS();
		if (isnull)
			continue;
		age.name = fflag_string_of_text(DatumGetTextPCopy(name));
		age.updated_at = updated.isnull ? DT_NOEND : DatumGetTimestampTz(updated.value);
		age.permanent = !data.isnull && says_permanent(data.value);
		if (ages.count == room)
		{
			room = Max(64, 2 * room);
			ages.of = ages.of == NULL ? palloc(room * sizeof(flag_age)) :
				repalloc_huge(ages.of, room * sizeof(flag_age));
		}
		ages.of[ages.count++] = age;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (ages.count > 0)
		qsort(ages.of, ages.count, sizeof(flag_age), compare_ages);
	return ages;
}

static const flag_age *
find_age(const flag_ages *ages, fflag_string name)
{
	flag_age	key = {.name = name};

	if (ages->count == 0)
		return NULL;
	return bsearch(&key, ages->of, ages->count, sizeof(flag_age), compare_ages);
}

/* ----------
 * Flags that depend on flags
 * ----------
 */

/* When relations of a flag were changed last. */
typedef struct relation_change
{
	fflag_string flag_id;
	TimestampTz at;
} relation_change;

typedef struct relation_changes
{
	relation_change *of;		/* in the order of ids, bytewise */
	int			count;
} relation_changes;

static int
compare_relation_changes(const void *a, const void *b)
{
	return fflag_string_compare(((const relation_change *) a)->flag_id,
								((const relation_change *) b)->flag_id);
}

/* Reads them in the history: of one that is gone, nothing else tells. */
static relation_changes
read_relation_changes(Oid schema)
{
	MemoryContext caller = CurrentMemoryContext;
	fflag_history_tables h = fflag_locate_history(schema);
	fflag_command command = fflag_history_command(&h);
	relation_changes changes;

	SPI_connect();
	command.read_only = true;
	command.sql = psprintf("SELECT h.flag_id::text, max(c.at)::timestamptz FROM ONLY %s AS h JOIN ONLY %s AS c ON c.id = h.change"
						   " WHERE h.kind = '" FFLAG_KIND_RELATION "' AND h.flag_id IS NOT NULL AND c.at IS NOT NULL GROUP BY h.flag_id",
						   h.history, h.change);
	changes.count = fflag_run_kept(&command);
	changes.of = MemoryContextAlloc(caller, (changes.count + 1) * sizeof(relation_change));
	for (int i = 0; i < changes.count; i++)
	{
		bool		isnull;
		MemoryContext spi = MemoryContextSwitchTo(caller);

		changes.of[i].flag_id =
			fflag_string_of_text(DatumGetTextPCopy(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
		changes.of[i].at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	qsort(changes.of, changes.count, sizeof(relation_change), compare_relation_changes);
	return changes;
}

/* When a flag's relations were changed last; the distant past if they never were. */
static TimestampTz
find_relation_change(const relation_changes *changes, fflag_string flag_id)
{
	relation_change key = {.flag_id = flag_id};
	const relation_change *found = NULL;

	if (changes->count > 0)
		found = bsearch(&key, changes->of, changes->count, sizeof(relation_change),
						compare_relation_changes);

	return found == NULL ? DT_NOBEGIN : found->at;
}

/* When a flag was asked for last, evaluated or in bulk; 0 if never. */
typedef struct asked_flag
{
	const fflag_entry *flag;
	TimestampTz at;
} asked_flag;

static int
compare_asked_flags(const void *a, const void *b)
{
	TimestampTz x = ((const asked_flag *) a)->at;
	TimestampTz y = ((const asked_flag *) b)->at;

	return x > y ? -1 : x < y;
}

/*
 * Whoever asks for a flag asks for those that it depends on: sets "asked" in their
 * standings.  The flags that were asked for last come first, so that each of the others
 * is reached once.  Goes through the walk, which is for another one to begin anew.
 */
static void
ask_for_others(fflag_usage_walk walk)
{
	uint64		visit = fflag_begin_visit();
	asked_flag *asked = palloc((walk.count + 1) * sizeof(asked_flag));
	int			count = 0;
	const fflag_entry *flag;
	fflag_usage_row *row;

	while (fflag_next_usage(&walk, &flag, &row))
	{
		if (flag == NULL)
			continue;
		if (flag->standing != NULL)
			flag->standing->asked = 0;
		if (row == NULL || flag->flag.n_relations == 0)
			continue;
		asked[count].flag = flag;
		asked[count++].at = Max(row->last, row->last_bulk);
	}
	qsort(asked, count, sizeof(asked_flag), compare_asked_flags);
	for (int i = 0; i < count; i++)
	{
		List	   *reached = fflag_reach(asked[i].flag, visit);
		ListCell   *lc;

		for_each_from(lc, reached, 1)
			((fflag_entry *) lfirst(lc))->standing->asked = asked[i].at;
	}
}

/* Counts, and holds nothing: there may be many lists that nobody evaluates. */
static bool
is_anybody_listed(const fflag_entry *entry)
{
	fflag_allowlist unread;
	fflag_allowlist *list = fflag_cache_peek_list(entry, FFLAG_USERS, &unread);

	return list != NULL && fflag_allowlist_count(list) > 0;
}

/*
 * Does everybody get the same answer, whatever this session overrides?  If so,
 * *answer is set to it.
 */
static bool
answers_all_alike(const fflag_entry *entry, bool *answer)
{
	fflag_flag	flag = entry->flag;

	flag.overridden = false;
	for (int i = 0; i < 4; i++)
	{
		fflag_subject kind = {i / 2, i % 2};
		fflag_decision decision;

		if (!fflag_decide_for_all(&flag, kind, true, &decision) &&
			(!fflag_decide_for_all(&flag, kind, false, &decision) ||
			 is_anybody_listed(entry)))
			return false;
		if (i > 0 && decision.enabled != *answer)
			return false;
		*answer = decision.enabled;
	}
	return true;
}

/* Since when a flag is what it is: its row has not changed, nor has it by its terms. */
static TimestampTz
settled_at(const fflag_entry *entry, TimestampTz updated_at)
{
	const fflag_terms *terms = entry->terms;
	TimestampTz settled = updated_at;

	if (terms == NULL)
		return settled;
	settled = Max(settled, terms->starts_at);
	if (terms->ends_at != PG_INT64_MAX)
		settled = Max(settled, terms->ends_at);
	if (terms->ramp_starts_at != PG_INT64_MAX)
		settled = Max(settled, terms->ramp_ends_at);
	return settled;
}

/* Adds a reason, with whole days between two phrases. */
static void
add_reason(StringInfo reason, const char *before, TimestampTz then,
		   TimestampTz now, const char *after)
{
	int64		days = Max(now - then, 0) / USECS_PER_DAY;

	appendStringInfo(reason, "%s%s " INT64_FORMAT " %s%s",
					 reason->len > 0 ? "; " : "", before, days,
					 days == 1 ? "day" : "days", after);
}

/*
 * fflag_stale(unchanged_for interval)
 * returns setof (name, reason, updated_at, last_evaluated_at, last_bulk_answer_at);
 * strict
 */
PG_FUNCTION_INFO_V1(fflag_stale);

Datum
fflag_stale(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			function = fcinfo->flinfo->fn_oid;
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz limit = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																TimestampTzGetDatum(now),
																PG_GETARG_DATUM(0)));
	flag_ages	ages;
	relation_changes changes = {NULL, 0};
	fflag_usage_walk walk;
	const fflag_entry *flag;
	fflag_usage_row *row;
	StringInfoData reason;

	InitMaterializedSRF(fcinfo, 0);
	ages = read_ages(fflag_extension_schema(function));
	if (ages.count > 0)
		changes = read_relation_changes(fflag_extension_schema(function));
	initStringInfo(&reason);
	walk = fflag_begin_usage_walk(function);
	ask_for_others(walk);
	while (fflag_next_usage(&walk, &flag, &row))
	{
		const flag_age *age;
		const fflag_usage_row *counts = fflag_counts_of(&walk, row);
		TimestampTz evaluated = counts == NULL ? 0 : counts->last;
		TimestampTz in_bulk = counts == NULL ? 0 : counts->last_bulk;
		TimestampTz asked = Max(evaluated, in_bulk);
		TimestampTz settled;
		Datum		values[5];
		bool		nulls[5] = {false};
		bool		answer;

		if (flag == NULL)
			continue;
		age = find_age(&ages, flag->name);
		if (age != NULL && age->permanent)
			continue;
		resetStringInfo(&reason);
		settled = age == NULL ? DT_NOEND :
			Max(settled_at(flag, age->updated_at), find_relation_change(&changes, flag->id));
		/* an answer to those who ask for flags that depend on it */
		if (flag->standing != NULL && flag->standing->asked > asked)
			asked = flag->standing->asked;
		if (settled != DT_NOEND && settled <= limit &&
			answers_all_alike(flag, &answer))
			add_reason(&reason, answer ? "everybody gets it, unchanged for" :
					   "nobody gets it, unchanged for", settled, now, "");
		if (counts != NULL && asked != 0 && asked <= limit)
			add_reason(&reason, "not asked for in", asked, now,
					   asked == in_bulk && in_bulk > evaluated ? ", last in bulk" : "");
		if (counts != NULL && asked == 0 && walk.rows.since <= limit)
			add_reason(&reason, "not asked for since counting began",
					   walk.rows.since, now, " ago");
		if (reason.len == 0)
			continue;
		values[0] = fflag_string_to_text(flag->name);
		values[1] = CStringGetTextDatum(reason.data);
		nulls[2] = age == NULL || age->updated_at == DT_NOEND;
		values[2] = nulls[2] ? (Datum) 0 : TimestampTzGetDatum(age->updated_at);
		nulls[3] = evaluated == 0;
		values[3] = TimestampTzGetDatum(evaluated);
		nulls[4] = in_bulk == 0;
		values[4] = TimestampTzGetDatum(in_bulk);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
