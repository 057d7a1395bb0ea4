/*
 * estimate.c
 *		About how many users are on a list, for the planner.
 *
 * When a list changes the cache forgets others as well, and counting a list takes
 * longer than planning does.  But an estimate may be out of date.  So it is
 * kept here, however often the cache forgets the list, until the table's size has
 * changed much or the estimate is old.
 *
 * Nothing here says who is listed, and answers do not depend on it.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "utils/timestamp.h"

#include "estimate.h"

/* A table that has changed by a larger share is counted again. */
#define LARGE_CHANGE (1 / 8.0)

/* The size does not tell everything; in milliseconds. */
#define MOST_AGE 60000

typedef struct list_estimate
{
	uint64		hash;			/* of the flag's id and the table */
	TimestampTz counted_at;		/* 0 if there is none */
	BlockNumber blocks;			/* of the table, at that time */
	int64		listed;
} list_estimate;

/*
 * Indexed by hash; flags with the same index replace each other.  Two flags
 * with the same hash share an estimate.
 */
static list_estimate estimates[1024];

static bool
is_current(const list_estimate *e, uint64 hash, BlockNumber blocks)
{
	return e->counted_at != 0 && e->hash == hash &&
		fabs((double) blocks - e->blocks) <= e->blocks * LARGE_CHANGE &&
		!TimestampDifferenceExceeds(e->counted_at,
									GetCurrentStatementStartTimestamp(), MOST_AGE);
}

/*
 * How many entries a list has, which the cache has just returned.  Throws what
 * fflag_open_relation() does, and fflag_allowlist_count(), which reads the table.
 */
int64
fflag_estimate_listed(fflag_allowlist *list)
{
	Oid			relid = list->source->tables[list->table].relid;
	uint64		hash = hash_bytes_extended((const unsigned char *) list->flag_id.data,
										   list->flag_id.len, relid);
	list_estimate *e = &estimates[hash % lengthof(estimates)];
	BlockNumber blocks;

	if (list->counted >= 0)		/* the cache knows */
		return list->counted;

	blocks = fflag_count_blocks(relid);
	if (!is_current(e, hash, blocks))
	{
		int64		listed = fflag_allowlist_count(list);

		e->hash = hash;
		e->counted_at = GetCurrentStatementStartTimestamp();
		e->blocks = blocks;
		e->listed = listed;
	}
	return e->listed;
}
