/*
 * entry.h
 *		What the cache holds: flags, names without a flag, allowlists.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ENTRY_H
#define FFLAG_ENTRY_H

#include "fflag_string.h"
#include "read.h"
#include "rules.h"
#include "usage.h"

/* A flag, or the knowledge that there is none of this name. */
typedef struct fflag_entry
{
	fflag_flag	flag;			/* not known if there is none */
	fflag_terms *terms;			/* NULL: none */
	fflag_usage_count usage;	/* see fflag_entry_count() */
	fflag_string name;
	fflag_string id;			/* of the flag, canonical text */

	/* its allowlist, which cache.c looks up on demand */
	int			list_part;		/* see fflag_list_part() */
	struct fflag_allowlist *list;
	uint64		list_generation;	/* in which that is valid */

	char		bytes[FLEXIBLE_ARRAY_MEMBER];	/* of the strings above */
} fflag_entry;

/* How much there is. */
typedef struct fflag_entry_counts
{
	int64		flags;
	int64		unknown_names;
	int64		allowlists;
	int64		bytes;
} fflag_entry_counts;

/*
 * Counts evaluations of an entry that fflag_cache_get() has just returned, and how
 * many of the answers were true.
 */
static inline void
fflag_entry_count(const fflag_entry *entry, uint64 evaluations, uint64 enabled)
{
	fflag_usage_count *usage = &unconstify(fflag_entry *, entry)->usage;

	usage->evaluations += evaluations;
	usage->enabled += enabled;
}

extern void fflag_entries_init(void);
extern void fflag_entries_forget_flags(void);
extern void fflag_entries_forget_allowlists(int part);
extern const fflag_entry *fflag_entries_find(fflag_string name);
extern const fflag_entry *fflag_entries_add_flag(const fflag_row *row);
extern const fflag_entry *fflag_entries_add_unknown(fflag_string name,
													bool *forgotten);
extern void fflag_entries_complete(void);
extern const fflag_entry *const *fflag_entries_all(int *count);
extern struct fflag_allowlist *fflag_entries_allowlist(const fflag_entry *entry,
													   fflag_source *source);
extern fflag_entry_counts fflag_entries_count(void);

#endif							/* FFLAG_ENTRY_H */
