/*
 * usage_sql.c
 *		fflag_usage(), fflag_usage_reset(), fflag_cache(): what has been counted, and
 *		what this session's cache holds.
 *
 * Names that have been counted and flags that there are, both in bytewise order, are
 * walked through together; stale.c does so, too.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "cache.h"
#include "compat.h"
#include "id.h"
#include "strong_lock.h"
#include "usage_sql.h"

/* The function is any of the extension's.  Throws as evaluation does. */
fflag_usage_walk
fflag_begin_usage_walk(Oid function)
{
	fflag_usage_walk walk = {0};

	fflag_cache_flush_usage();	/* what this session has counted so far */
	walk.rows = fflag_usage_read();
	walk.flags = fflag_cache_get_all(function, &walk.count);
	return walk;
}

/*
 * The next name; *flag is set to NULL if no flag has it, *row if nobody has
 * evaluated it.  False if there is none.
 */
bool
fflag_next_usage(fflag_usage_walk * walk, const fflag_entry **flag, fflag_usage_row **row)
{
	int			order = 0;

	CHECK_FOR_INTERRUPTS();
	*flag = walk->next_flag < walk->count ?
		walk->flags[walk->next_flag] : NULL;
	*row = walk->next_row < walk->rows.count ?
		&walk->rows.names[walk->next_row] : NULL;
	if (*flag == NULL && *row == NULL)
		return false;

	if (*flag != NULL && *row != NULL)
		order = fflag_string_compare((*flag)->name, (*row)->name);
	if (order > 0)
		*flag = NULL;
	if (order < 0)
		*row = NULL;
	walk->next_flag += *flag != NULL;
	walk->next_row += *row != NULL;
	return true;
}

static bool
is_counted(const fflag_usage_row *row)
{
	return row->evaluations > 0 || row->bulk > 0;
}

/*
 * What has been counted of a flag whose row is this one.  A flag without one has
 * not been asked for, nor answered in bulk, unless some flags were without a slot:
 * then nobody knows, and the result is NULL.
 */
const fflag_usage_row *
fflag_counts_of(const fflag_usage_walk * walk, const fflag_usage_row *row)
{
	static const fflag_usage_row none;

	if (row != NULL)
		return row;
	return walk->rows.since == 0 || is_counted(&walk->rows.rest[true]) ? NULL : &none;
}

/*
 * fflag_usage() returns setof (name, known, evaluations, enabled, last_evaluated_at,
 * bulk_answers, last_bulk_answer_at, since)
 */
PG_FUNCTION_INFO_V1(fflag_usage);

/* A row of it; without a name or counts where these are not known. */
static void
put_usage(ReturnSetInfo *rsinfo, const fflag_string *name, bool known,
		  const fflag_usage_row *row, TimestampTz since)
{
	Datum		values[8] = {0};
	bool		nulls[8] = {false};

	nulls[0] = name == NULL;
	if (name != NULL)
		values[0] = fflag_string_to_text(*name);
	values[1] = BoolGetDatum(known);
	nulls[2] = nulls[3] = nulls[5] = row == NULL;
	nulls[4] = row == NULL || row->last == 0;
	nulls[6] = row == NULL || row->last_bulk == 0;
	if (row != NULL)
	{
		values[2] = Int64GetDatum(row->evaluations);
		values[3] = Int64GetDatum(row->enabled);
		values[4] = TimestampTzGetDatum(row->last);
		values[5] = Int64GetDatum(row->bulk);
		values[6] = TimestampTzGetDatum(row->last_bulk);
	}
	nulls[7] = since == 0;
	values[7] = TimestampTzGetDatum(since);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
fflag_usage(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	fflag_usage_walk walk;
	const fflag_entry *flag;
	fflag_usage_row *row;

	InitMaterializedSRF(fcinfo, 0);
	walk = fflag_begin_usage_walk(fcinfo->flinfo->fn_oid);
	while (fflag_next_usage(&walk, &flag, &row))
	{
		/* a name may have been explained only */
		if (flag != NULL)
			put_usage(rsinfo, &flag->name, true, fflag_counts_of(&walk, row),
					  walk.rows.since);
		else if (row->evaluations > 0)
			put_usage(rsinfo, &row->name, false, row, walk.rows.since);
	}
	for (int known = 1; known >= 0; known--)
	{
		if (is_counted(&walk.rows.rest[known]))
			put_usage(rsinfo, NULL, known, &walk.rows.rest[known],
					  walk.rows.since);
	}
	return (Datum) 0;
}

/* fflag_usage_reset() returns void */
PG_FUNCTION_INFO_V1(fflag_usage_reset);

Datum
fflag_usage_reset(PG_FUNCTION_ARGS)
{
	fflag_usage_walk walk = fflag_begin_usage_walk(fcinfo->flinfo->fn_oid);
	const fflag_entry *flag;
	fflag_usage_row *row;

	while (fflag_next_usage(&walk, &flag, &row))
	{
		if (row != NULL)
			row->forget = flag == NULL;
	}
	fflag_usage_restart(&walk.rows);
	PG_RETURN_VOID();
}

/* ----------
 * The cache of this session
 * ----------
 */

/* fflag_cache() returns one row, see fflag_cache_stats */
PG_FUNCTION_INFO_V1(fflag_cache);

Datum
fflag_cache(PG_FUNCTION_ARGS)
{
	fflag_cache_stats stats = fflag_cache_get_stats(fcinfo->flinfo->fn_oid);
	TupleDesc	desc;
	Datum		values[9];
	bool		nulls[9] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = BoolGetDatum(stats.caching);
	values[1] = Int64GetDatum(stats.held.flags);
	values[2] = Int64GetDatum(stats.held.unknown_names);
	values[3] = Int64GetDatum(stats.held.allowlists);
	values[4] = Int64GetDatum(stats.held.bytes);
	values[5] = Int64GetDatum(stats.hits);
	values[6] = Int64GetDatum(stats.loads);
	values[7] = Int64GetDatum(stats.invalidations);
	nulls[8] = RecoveryInProgress();	/* where no lock is looked for */
	values[8] = BoolGetDatum(!nulls[8] && fflag_has_lock_counts());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
