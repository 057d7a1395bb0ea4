/*
 * allowlist.h
 *		Membership in a flag's allowlist, small or large.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ALLOWLIST_H
#define FFLAG_ALLOWLIST_H

#include "read.h"

/*
 * What a backend holds of one list.  All zero but for the id is a list that
 * has not been looked at, with counted = -1.
 */
typedef struct fflag_allowlist
{
	fflag_string flag_id;
	bool		whole;			/* members is the whole list */
	struct strtab_hash *members;	/* NULL if there are none */
	struct bloom_filter *filter;	/* excludes most of those not listed */
	int64		probes;			/* index probes so far */
	int64		next_reading;	/* read the list after so many probes */
	int64		counted;		/* entries, as counted for the planner, or -1 */
} fflag_allowlist;

extern bool fflag_allowlist_has(fflag_allowlist *list, fflag_source *source,
								const char *user, int len,
								Snapshot snapshot, MemoryContext cxt);
extern int64 fflag_allowlist_count(fflag_allowlist *list, fflag_source *source,
								   Snapshot snapshot);

/* Is the list known to have no entries? */
static inline bool
fflag_allowlist_is_empty(const fflag_allowlist *list)
{
	return list->whole && list->members == NULL;
}

#endif							/* FFLAG_ALLOWLIST_H */
