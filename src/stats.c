/*
 * stats.c
 *		fflag_cache(): what the cache of this session holds and has done.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"

#include "cache.h"

/* fflag_cache() returns one row, see fflag_cache_stats */
PG_FUNCTION_INFO_V1(fflag_cache);

Datum
fflag_cache(PG_FUNCTION_ARGS)
{
	fflag_cache_stats stats = fflag_cache_get_stats(fcinfo->flinfo->fn_oid);
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8] = {false};

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
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
