/*
 * entry.c
 *		What the cache holds: flags, names without a flag, allowlists.
 *
 * This file does not know what is valid when.  Only cache.c calls it, and
 * cache.c says when to forget.  cache.c has to do so after an error too,
 * because that may leave an entry half added.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "allowlist.h"
#include "entry.h"
#include "override.h"
#include "strtab.h"
#include "writer.h"

/*
 * Names that no flag has are remembered too, but anybody can make them up, so
 * that their number and length are bounded: together to some 700 kB.
 */
#define MAX_UNKNOWN_NAMES 1024
#define MAX_UNKNOWN_LENGTH 600	/* bytes; varchar(150) in UTF-8 is no longer */

static MemoryContext flags_cxt;
static struct strtab_hash *flags;	/* by name */
static const fflag_entry **all_flags;	/* sorted; NULL: not all are here */
static int	n_all_flags;

static MemoryContext unknown_cxt;	/* in flags_cxt */
static struct strtab_hash *unknown_names;

static MemoryContext allowlists_cxt;
static struct
{
	MemoryContext cxt;			/* in allowlists_cxt; at first NULL */
	struct strtab_hash *lists;	/* by the flag's id */
}			allowlists[FFLAG_LIST_PARTS];

/* Called at first, and again if it has failed for want of memory. */
void
fflag_entries_init(void)
{
	if (flags_cxt == NULL)
		flags_cxt = AllocSetContextCreate(TopMemoryContext, "fflag flags",
										  ALLOCSET_SMALL_SIZES);
	if (allowlists_cxt == NULL)
		allowlists_cxt = AllocSetContextCreate(TopMemoryContext,
											   "fflag allowlists",
											   ALLOCSET_SMALL_SIZES);
}

/* All entries go, and pointers to them die; allowlists stay. */
void
fflag_entries_forget_flags(void)
{
	fflag_usage_flush();		/* what they have counted */
	MemoryContextReset(flags_cxt);
	flags = NULL;
	all_flags = NULL;
	n_all_flags = 0;
	unknown_cxt = NULL;
	unknown_names = NULL;
}

/* All allowlists of this part go, and pointers to them die. */
void
fflag_entries_forget_allowlists(int part)
{
	if (allowlists[part].cxt != NULL)
		MemoryContextReset(allowlists[part].cxt);
	allowlists[part].lists = NULL;
}

/* The entry of a name, NULL if there is none. */
const fflag_entry *
fflag_entries_find(fflag_string name)
{
	fflag_string_slot *slot = NULL;

	if (flags != NULL)
		slot = strtab_lookup(flags, name);
	if (slot == NULL && unknown_names != NULL)
		slot = strtab_lookup(unknown_names, name);
	return slot == NULL ? NULL : slot->value;
}

/* A copy in *place, which moves on behind it. */
static fflag_string
copy_string(fflag_string s, char **place)
{
	char	   *copy = *place;

	memcpy(copy, s.data, s.len);
	*place += s.len;
	return fflag_string_make(copy, s.len);
}

/* Adds an entry with its strings; row is NULL if no flag has the name. */
static const fflag_entry *
add(struct strtab_hash *tab, MemoryContext cxt, fflag_string name,
	const fflag_row *row)
{
	size_t		len = name.len;
	fflag_entry *entry;
	char	   *place;
	bool		found;

	if (row != NULL)
		len += row->id.len + row->flag.utf8_name.len;
	entry = MemoryContextAllocZero(cxt, offsetof(fflag_entry, bytes) + len);
	place = entry->bytes;
	entry->name = copy_string(name, &place);
	if (row != NULL)
	{
		entry->id = copy_string(row->id, &place);
		entry->list_part = fflag_list_part(entry->id);
		entry->flag = row->flag;
		entry->flag.utf8_name = copy_string(row->flag.utf8_name, &place);
		if (row->has_terms)
		{
			entry->terms = MemoryContextAlloc(cxt, sizeof(fflag_terms));
			*entry->terms = row->terms;
		}
	}
	entry->flag.overridden = fflag_find_override(name, &entry->flag.forced);
	strtab_insert(tab, entry->name, &found)->value = entry;
	return entry;
}

/* The entry of a flag that has been read; of the row, everything is copied. */
const fflag_entry *
fflag_entries_add_flag(const fflag_row *row)
{
	fflag_string_slot *slot;

	if (flags == NULL)
		flags = strtab_create(flags_cxt, 16, NULL);
	slot = strtab_lookup(flags, row->name);
	return slot != NULL ? slot->value : add(flags, flags_cxt, row->name, row);
}

/* The entry of a name that is too long to be remembered: its name equals none. */
static const fflag_entry *
get_unremembered(fflag_string name)
{
	static fflag_entry plain = {.name = {"", SIZE_MAX}};
	static fflag_entry off = {
		.name = {"", SIZE_MAX},.flag.overridden = true
	};
	static fflag_entry on = {
		.name = {"", SIZE_MAX},.flag.overridden = true,.flag.forced = true
	};
	bool		forced;

	if (!fflag_find_override(name, &forced))
		return &plain;
	return forced ? &on : &off;
}

/*
 * The entry of a name that no flag has.  *forgotten tells whether others of this
 * kind had to go, and pointers to them have died.
 */
const fflag_entry *
fflag_entries_add_unknown(fflag_string name, bool *forgotten)
{
	*forgotten = false;
	if (name.len > MAX_UNKNOWN_LENGTH)
		return get_unremembered(name);

	if (unknown_names != NULL && unknown_names->members >= MAX_UNKNOWN_NAMES)
	{
		fflag_usage_flush();
		unknown_names = NULL;
		MemoryContextReset(unknown_cxt);
		*forgotten = true;
	}
	if (unknown_cxt == NULL)
		unknown_cxt = AllocSetContextCreate(flags_cxt, "fflag unknown names",
											ALLOCSET_SMALL_SIZES);
	if (unknown_names == NULL)
		unknown_names = strtab_create(unknown_cxt, 16, NULL);
	return add(unknown_names, unknown_cxt, name, NULL);
}

static int
compare_names(const void *a, const void *b)
{
	return fflag_string_compare((*(const fflag_entry *const *) a)->name,
								(*(const fflag_entry *const *) b)->name);
}

/* Takes note that all flags have been added. */
void
fflag_entries_complete(void)
{
	const fflag_entry **sorted;
	strtab_iterator it;
	fflag_string_slot *slot;
	int			n = 0;

	sorted = MemoryContextAllocHuge(flags_cxt, sizeof(*sorted) *
									(flags ? flags->members + 1 : 1));
	if (flags != NULL)
	{
		strtab_start_iterate(flags, &it);
		while ((slot = strtab_iterate(flags, &it)) != NULL)
			sorted[n++] = slot->value;
		qsort(sorted, n, sizeof(*sorted), compare_names);
	}
	all_flags = sorted;
	n_all_flags = n;
}

/* All flags by name, or NULL if not all have been added. */
const fflag_entry *const *
fflag_entries_all(int *count)
{
	*count = n_all_flags;
	return all_flags;
}

/*
 * The allowlist of a flag; if new, one that nobody has looked at, to be read from
 * the source.
 */
fflag_allowlist *
fflag_entries_allowlist(const fflag_entry *entry, fflag_source *source)
{
	int			part = entry->list_part;
	MemoryContext cxt = allowlists[part].cxt;
	fflag_string_slot *slot;
	fflag_allowlist *list;
	char	   *place;
	bool		found;

	if (cxt == NULL)
		allowlists[part].cxt = cxt =
			AllocSetContextCreate(allowlists_cxt, "fflag allowlists of a part",
								  ALLOCSET_SMALL_SIZES);
	if (allowlists[part].lists == NULL)
		allowlists[part].lists = strtab_create(cxt, 8, NULL);
	slot = strtab_lookup(allowlists[part].lists, entry->id);
	if (slot != NULL)
		return slot->value;

	list = MemoryContextAllocZero(cxt, sizeof(*list) + entry->id.len);
	place = (char *) (list + 1);
	list->flag_id = copy_string(entry->id, &place);
	list->source = source;
	list->cxt = cxt;
	list->counted = -1;
	strtab_insert(allowlists[part].lists, list->flag_id, &found)->value = list;
	return list;
}

/* How much there is, valid or not. */
fflag_entry_counts
fflag_entries_count(void)
{
	fflag_entry_counts counts;

	counts.flags = flags ? flags->members : 0;
	counts.unknown_names = unknown_names ? unknown_names->members : 0;
	counts.allowlists = 0;
	for (int i = 0; i < FFLAG_LIST_PARTS; i++)
		counts.allowlists += allowlists[i].lists ? allowlists[i].lists->members : 0;
	counts.bytes = MemoryContextMemAllocated(flags_cxt, true) +
		MemoryContextMemAllocated(allowlists_cxt, true);
	return counts;
}
