/*
 * entry.h
 *		What the cache holds: flags, names without a flag, lists, variants.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ENTRY_H
#define FFLAG_ENTRY_H

#include "access/xact.h"

#include "fflag_string.h"
#include "read.h"
#include "rules.h"
#include "usage.h"
#include "variants.h"

/* The tables of lists: FFLAG_USERS and FFLAG_DENIED. */
#define FFLAG_LISTS 2

/* A flag's list, and in which generation of cache.c's it is valid. */
typedef struct fflag_entry_list
{
	struct fflag_allowlist *list;	/* NULL: it is empty */
	uint64		generation;
} fflag_entry_list;

/*
 * How one user fares under a flag to which relations lead, and what has been found
 * out of it otherwise.  So it is looked at once, however many ways lead there.
 */
typedef struct fflag_standing
{
	uint64		question;		/* of evaluate.c: the others are about this */
	bool		under_way;		/* it is being answered */
	bool		enabled;
	int			variant;		/* by number, -1 if none, -2 if not known yet */

	uint64		visit;			/* see fflag_begin_visit(): the rest is of it */
	double		share;			/* of users who get the flag, for support.c */
	int64		asked;			/* when a flag that leads here was, for
								 * stale.c */
} fflag_standing;

/*
 * A flag, or the knowledge that there is none of this name.  There may be a hundred
 * thousand of them in each session.
 */
typedef struct fflag_entry
{
	fflag_flag	flag;			/* not known if there is none */
	fflag_terms *terms;			/* NULL: none */
	fflag_usage_count usage;	/* see fflag_entry_count() */
	fflag_string name;
	fflag_string id;			/* of the flag, canonical text */

	/* what cache.c and related.c look up on demand */
	fflag_entry_list lists[FFLAG_LISTS];	/* FFLAG_USERS is the first */
	fflag_standing *standing;	/* NULL: no relation has led here yet */
	struct fflag_entry **others;	/* the flags of its relations, or NULL */
	fflag_variant_set *variants;
	fflag_string forced_variant;	/* by fflag.override, or empty */

	uint8		list_part;		/* of its lists, see fflag_list_part() */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];	/* of the strings above */
} fflag_entry;

/* How much there is; allowlists are lists of both kinds. */
typedef struct fflag_entry_counts
{
	int64		flags;
	int64		unknown_names;
	int64		allowlists;
	int64		bytes;
} fflag_entry_counts;

/*
 * From now on, what is counted of an entry that the cache has just returned counts,
 * see fflag_usage_list().
 */
static inline void
fflag_entry_list_usage(const fflag_entry *entry, bool bulk)
{
	fflag_usage_count *usage = &unconstify(fflag_entry *, entry)->usage;

	if (!usage->listed || (usage->bulk_in_rest && !bulk))
		fflag_usage_list(usage, entry->name, entry->flag.known, bulk);
}

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

/* Counts one answer of an entry that fflag_cache_get_all() has just returned. */
static inline void
fflag_entry_count_bulk(const fflag_entry *entry)
{
	fflag_entry_list_usage(entry, true);
	unconstify(fflag_entry *, entry)->usage.bulk++;
}

/*
 * Makes a flag with a schedule or a ramp what it is at the start of the client's
 * statement.  So a statement has one answer, and the next statement a fresh one,
 * in a long transaction too.
 */
static inline void
fflag_entry_set_time(const fflag_entry *entry)
{
	fflag_flag *flag = &unconstify(fflag_entry *, entry)->flag;

	if (unlikely(entry->terms != NULL))
	{
		fflag_set_time(flag, entry->terms, GetCurrentStatementStartTimestamp());
		fflag_settle(flag);
	}
}

extern void fflag_entries_init(void);
extern bool fflag_entries_have_old_lists(void);
extern void fflag_entries_forget_flags(void);
extern void fflag_entries_forget_lists(fflag_table_id which, int part);
extern const fflag_entry *fflag_entries_find(fflag_string name);
extern const fflag_entry *fflag_entries_add_flag(const fflag_row *row);
extern const fflag_entry *fflag_entries_add_unknown(fflag_string name,
													bool *forgotten);
extern void fflag_entries_complete(void);
extern const fflag_entry *const *fflag_entries_all(int *count);
extern struct fflag_allowlist *fflag_entries_peek_list(const fflag_entry *entry,
													   fflag_table_id which,
													   fflag_source *source,
													   struct fflag_allowlist *unread);
extern struct fflag_allowlist *fflag_entries_list(const fflag_entry *entry,
												  fflag_table_id which,
												  fflag_source *source);
extern fflag_variant_set *fflag_entries_variants(const fflag_variant_rows *rows);
extern struct varlena *fflag_entries_payload(Datum payload);
extern fflag_standing *fflag_entries_standing(void);
extern fflag_entry_counts fflag_entries_count(void);

#endif							/* FFLAG_ENTRY_H */
