/*
 * entry.c
 *		What the cache holds: flags, names without a flag, lists, variants.
 *
 * This file does not know what is valid when.  Only cache.c and related.c call it,
 * and cache.c says when to forget.  cache.c has to do so after an error too, because
 * that may leave an entry half added.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "allowlist.h"
#include "compat.h"
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

static MemoryContext lists_cxt;

typedef struct part_lists
{
	MemoryContext cxt;			/* in lists_cxt; at first NULL */
	struct strtab_hash *lists;	/* by the flag's id */
} part_lists;

static part_lists list_parts[FFLAG_LISTS][FFLAG_LIST_PARTS];

/* Called at first, and again if it has failed for want of memory. */
void
fflag_entries_init(void)
{
	if (flags_cxt == NULL)
		flags_cxt = AllocSetContextCreate(TopMemoryContext, "fflag flags",
										  ALLOCSET_SMALL_SIZES);
	if (lists_cxt == NULL)
		lists_cxt = AllocSetContextCreate(TopMemoryContext, "fflag lists",
										  ALLOCSET_SMALL_SIZES);
}

/* All entries go, with their variants, and pointers to them die; lists stay. */
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

/* All lists of this part of a table go, and pointers to them die. */
void
fflag_entries_forget_lists(fflag_table_id which, int number)
{
	part_lists *part = &list_parts[which - FFLAG_USERS][number];

	if (part->cxt != NULL)
		MemoryContextReset(part->cxt);
	part->lists = NULL;
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

/* Makes the relations of a new entry its own. */
static void
copy_relations(fflag_entry *entry, MemoryContext cxt)
{
	int			count = entry->flag.n_relations;
	const fflag_relation *from = entry->flag.relations;
	fflag_relation *to = MemoryContextAlloc(cxt, count * sizeof(fflag_relation));

	for (int i = 0; i < count; i++)
	{
		char	   *place = MemoryContextAlloc(cxt, from[i].other_id.len +
											   from[i].other_variant.len + from[i].pin.len);

		to[i].kind = from[i].kind;
		to[i].other_id = copy_string(from[i].other_id, &place);
		to[i].other_variant = copy_string(from[i].other_variant, &place);
		to[i].pin = copy_string(from[i].pin, &place);
	}
	entry->flag.relations = to;
	entry->others = MemoryContextAllocZero(cxt, count * sizeof(fflag_entry *));
}

/* Adds an entry with its strings; row is NULL if no flag has the name. */
static const fflag_entry *
add(struct strtab_hash *tab, MemoryContext cxt, fflag_string name,
	const fflag_row *row)
{
	const fflag_override *override = fflag_find_override(name);
	size_t		len = name.len;
	fflag_entry *entry;
	char	   *place;
	bool		found;

	if (row != NULL)
		len += row->id.len + row->flag.utf8_seed.len;
	if (override != NULL)
		len += override->variant.len;
	entry = MemoryContextAllocZero(cxt, offsetof(fflag_entry, bytes) + len);
	place = entry->bytes;
	entry->name = copy_string(name, &place);
	if (row != NULL)
	{
		entry->id = copy_string(row->id, &place);
		entry->list_part = fflag_list_part(entry->id);
		entry->flag = row->flag;
		entry->flag.utf8_seed = copy_string(row->flag.utf8_seed, &place);
		if (row->has_terms)
		{
			entry->terms = MemoryContextAlloc(cxt, sizeof(fflag_terms));
			*entry->terms = row->terms;
		}
	}
	if (row != NULL && row->flag.n_relations > 0)
		copy_relations(entry, cxt);
	if (override != NULL)
	{
		entry->flag.overridden = true;
		entry->flag.forced = override->enabled;
		entry->forced_variant = copy_string(override->variant, &place);
	}
	fflag_settle(&entry->flag);
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
	const fflag_override *override = fflag_find_override(name);

	if (override == NULL)
		return &plain;
	return override->enabled ? &on : &off;
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
 * The list of a flag; if new, one that nobody has looked at, to be read from this
 * table of the source.
 */
fflag_allowlist *
fflag_entries_list(const fflag_entry *entry, fflag_table_id which,
				   fflag_source *source)
{
	part_lists *part = &list_parts[which - FFLAG_USERS][entry->list_part];
	fflag_string_slot *slot;
	fflag_allowlist *list;
	char	   *place;
	bool		found;

	if (part->cxt == NULL)
		part->cxt = AllocSetContextCreate(lists_cxt, "fflag lists of a part",
										  ALLOCSET_SMALL_SIZES);
	if (part->lists == NULL)
		part->lists = strtab_create(part->cxt, 8, NULL);
	slot = strtab_lookup(part->lists, entry->id);
	if (slot != NULL)
		return slot->value;

	list = MemoryContextAllocZero(part->cxt, sizeof(*list) + entry->id.len);
	place = (char *) (list + 1);
	list->flag_id = copy_string(entry->id, &place);
	list->source = source;
	list->table = which;
	list->cxt = part->cxt;
	list->counted = -1;
	strtab_insert(part->lists, list->flag_id, &found)->value = list;
	return list;
}

/* The variants of a flag, whose rows have been read; as long as the entry. */
fflag_variant_set *
fflag_entries_variants(const fflag_variant_rows *rows)
{
	return fflag_make_variants(rows, flags_cxt);
}

/* A copy of a payload, which is kept as long. */
struct varlena *
fflag_entries_payload(Datum payload)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(payload);

	return memcpy(MemoryContextAllocHuge(flags_cxt, VARSIZE(value)), value,
				  VARSIZE(value));
}

/* A new one, which is kept as long. */
fflag_standing *
fflag_entries_standing(void)
{
	return MemoryContextAllocZero(flags_cxt, sizeof(fflag_standing));
}

/* How much there is, valid or not. */
fflag_entry_counts
fflag_entries_count(void)
{
	fflag_entry_counts counts;

	counts.flags = flags ? flags->members : 0;
	counts.unknown_names = unknown_names ? unknown_names->members : 0;
	counts.allowlists = 0;
	for (int kind = 0; kind < FFLAG_LISTS; kind++)
	{
		for (int i = 0; i < FFLAG_LIST_PARTS; i++)
		{
			const part_lists *part = &list_parts[kind][i];

			counts.allowlists += part->lists ? part->lists->members : 0;
		}
	}
	counts.bytes = MemoryContextMemAllocated(flags_cxt, true) +
		MemoryContextMemAllocated(lists_cxt, true);
	return counts;
}
