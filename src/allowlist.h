/*
 * allowlist.h
 *		Membership in a flag's allowlist or denylist, small or large.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ALLOWLIST_H
#define FFLAG_ALLOWLIST_H

#include "common/hashfn.h"

#include "fflag_string.h"
#include "integer_list.h"
#include "layout.h"

/* A cache line's worth of a Bloom filter; a user has all its bits in one. */
typedef struct fflag_filter_line
{
	uint64		words[8];
} fflag_filter_line;

/*
 * What a backend holds of one list; a denylist is one as well.  Before
 * fflag_allowlist_begin(), flag_id, source, table and cxt are set, counted is -1 and
 * the rest zero.
 */
typedef struct fflag_allowlist
{
	fflag_string flag_id;
	fflag_source *source;		/* where it is read */
	fflag_table_id table;		/* FFLAG_USERS or FFLAG_DENIED, of that */
	MemoryContext cxt;			/* what is read of the list goes into children */
	int64		counted;		/* entries, if many an estimate, or -1 */
	bool		whole;			/* it is in integers, members, or empty */
	fflag_integer_list *integers;	/* if all of it are integers */
	struct strtab_hash *members;	/* if it is short */
	fflag_filter_line *filter;	/* excludes most of those not listed */
	uint64		filter_mask;	/* its number of lines, less one */
	int64		probes;			/* index probes so far */
	int64		next_reading;	/* read the list after so many probes */
} fflag_allowlist;

extern void fflag_allowlist_begin(fflag_allowlist *list);
extern bool fflag_allowlist_has(fflag_allowlist *list, fflag_string user,
								uint64 hash);
extern int64 fflag_allowlist_count(fflag_allowlist *list);

static inline fflag_filter_line *
fflag_filter_line_of(fflag_filter_line *filter, uint64 mask, uint64 hash)
{
	return &filter[(hash >> 36) & mask];
}

/*
 * The hash of a user for fflag_allowlist_has().  This also prefetches the
 * user's line of the filter, so a caller should do its other work between the
 * two calls.
 */
static inline uint64
fflag_allowlist_hash(const fflag_allowlist *list, fflag_string user)
{
	uint64		hash;

	if (list->integers != NULL)
		return 0;				/* nobody will look at it */
	hash = hash_bytes_extended((const unsigned char *) user.data, user.len, 0);
	if (list->filter != NULL)
		__builtin_prefetch(fflag_filter_line_of(list->filter, list->filter_mask,
												hash));
	return hash;
}

#endif							/* FFLAG_ALLOWLIST_H */
