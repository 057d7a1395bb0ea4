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

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "allowlist.h"
#include "compat.h"
#include "entry.h"
#include "override.h"
#include "writer.h"

/*
 * Hash tables of what has a name or an id.  Not strtab.h, whose slots are twice as
 * large: these point to the string, which is a field of what the table holds.  All
 * lists of a part have the same hash in its last bits, see fflag_list_part(): so the
 * table goes by others first, or it would be mostly empty.
 */
typedef struct held_slot
{
	const fflag_string *key;
	uint32		hash;
	char		status;
} held_slot;

#define SH_PREFIX held
#define SH_ELEMENT_TYPE held_slot
#define SH_KEY_TYPE const fflag_string *
#define SH_KEY key
#define SH_HASH_KEY(tb, k) \
	pg_rotate_right32(hash_bytes((const unsigned char *) (k)->data, (k)->len), 8)
#define SH_EQUAL(tb, a, b) fflag_string_equal(*(a), *(b))
#define SH_STORE_HASH
#define SH_GET_HASH(tb, slot) ((slot)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/*
 * Names that no flag has are remembered too, but anybody can make them up, so
 * that their number and length are bounded: together to some 700 kB.
 */
#define MAX_UNKNOWN_NAMES 1024
#define MAX_UNKNOWN_LENGTH 600	/* bytes; varchar(150) in UTF-8 is no longer */

static MemoryContext flags_cxt;
static struct held_hash *flags; /* by name */
static const fflag_entry **all_flags;	/* sorted; NULL: not all are here */
static int	n_all_flags;

static MemoryContext unknown_cxt;	/* in flags_cxt */
static struct held_hash *unknown_names;

static MemoryContext lists_cxt;

#define MOST_OLD_LISTS 1024		/* some 100 bytes each, if they are empty */

/* small, as there are many parts, each with a block that is half empty */
#define PART_BLOCK 2048

typedef struct part_lists
{
	MemoryContext cxt;			/* in lists_cxt; at first NULL */
	struct held_hash *lists;	/* of held_list, by the flag's id */
} part_lists;

/* A list by its flag.  Most are empty, and this is all that is held of them. */
typedef struct held_list
{
	fflag_string flag_id;
	fflag_allowlist *list;		/* NULL: it is empty */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];	/* of the id */
} held_list;

static part_lists list_parts[FFLAG_LISTS][FFLAG_LIST_PARTS];

/*
 * Called at first, and again if it has failed for want of memory.  Entries go
 * together; a context of that kind does not round their sizes up to powers of two.
 */
void
fflag_entries_init(void)
{
	if (flags_cxt == NULL)
		flags_cxt = GenerationContextCreate(TopMemoryContext, "fflag flags",
											ALLOCSET_SMALL_SIZES);
	if (lists_cxt == NULL)
		lists_cxt = AllocSetContextCreate(TopMemoryContext, "fflag lists",
										  ALLOCSET_SMALL_SIZES);
}

static int64
count_lists(void)
{
	int64		count = 0;

	for (int kind = 0; kind < FFLAG_LISTS; kind++)
	{
		for (int i = 0; i < FFLAG_LIST_PARTS; i++)
			count += list_parts[kind][i].lists ? list_parts[kind][i].lists->members : 0;
	}
	return count;
}

/*
 * Lists outlive the flags that are held, but those of deleted flags are asked for by
 * nobody.  Are there so many more lists than flags that most may be such?
 */
bool
fflag_entries_have_old_lists(void)
{
	return count_lists() > MOST_OLD_LISTS + 2 * (flags ? (int64) flags->members : 0);
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

static inline const fflag_entry *
entry_in(const held_slot *slot)
{
	return (const fflag_entry *) ((const char *) slot->key - offsetof(fflag_entry, name));
}

/* The entry of a name, NULL if there is none. */
const fflag_entry *
fflag_entries_find(fflag_string name)
{
	held_slot  *slot = NULL;

	if (flags != NULL)
		slot = held_lookup(flags, &name);
	if (slot == NULL && unknown_names != NULL)
		slot = held_lookup(unknown_names, &name);
	return slot == NULL ? NULL : entry_in(slot);
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
add(struct held_hash *tab, MemoryContext cxt, fflag_string name,
	const fflag_row *row)
{
	const fflag_override *override = fflag_find_override(name);
	size_t		len = name.len;
	fflag_entry *entry;
	char	   *place;
	bool		own_seed = false;
	bool		found;

	if (row != NULL)
	{
		own_seed = !fflag_string_equal(row->flag.utf8_seed, name);
		len += row->id.len + (own_seed ? row->flag.utf8_seed.len : 0);
	}
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
		entry->flag.utf8_seed = own_seed ? copy_string(row->flag.utf8_seed, &place) :
			entry->name;
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
	(void) held_insert(tab, &entry->name, &found);
	return entry;
}

/* The entry of a flag that has been read; of the row, everything is copied. */
const fflag_entry *
fflag_entries_add_flag(const fflag_row *row)
{
	held_slot  *slot;

	if (flags == NULL)
		flags = held_create(flags_cxt, 16, NULL);
	slot = held_lookup(flags, &row->name);
	return slot != NULL ? entry_in(slot) : add(flags, flags_cxt, row->name, row);
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
		unknown_cxt = GenerationContextCreate(flags_cxt, "fflag unknown names",
											  ALLOCSET_SMALL_SIZES);
	if (unknown_names == NULL)
		unknown_names = held_create(unknown_cxt, 16, NULL);
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
	held_iterator it;
	held_slot  *slot;
	int			n = 0;

	sorted = MemoryContextAllocHuge(flags_cxt, sizeof(*sorted) *
									(flags ? flags->members + 1 : 1));
	if (flags != NULL)
	{
		held_start_iterate(flags, &it);
		while ((slot = held_iterate(flags, &it)) != NULL)
			sorted[n++] = entry_in(slot);
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
 * The list of a flag, NULL if it is known to be empty; "unread" if nothing has been
 * read of it, which becomes a list in this table of the source.
 */
fflag_allowlist *
fflag_entries_peek_list(const fflag_entry *entry, fflag_table_id which,
						fflag_source *source, fflag_allowlist *unread)
{
	part_lists *part = &list_parts[which - FFLAG_USERS][entry->list_part];
	fflag_allowlist list = {
		.flag_id = entry->id,.source = source,.table = which,.cxt = part->cxt,.counted = -1
	};
	held_slot  *slot = NULL;

	if (part->lists != NULL)
		slot = held_lookup(part->lists, &entry->id);
	if (slot != NULL)
		return ((const held_list *) slot->key)->list;
	*unread = list;
	return unread;
}

/*
 * The list of a flag, NULL if it is empty.  If it is not here yet, its beginning is
 * read from this table of the source, see fflag_allowlist_begin().
 */
fflag_allowlist *
fflag_entries_list(const fflag_entry *entry, fflag_table_id which,
				   fflag_source *source)
{
	part_lists *part = &list_parts[which - FFLAG_USERS][entry->list_part];
	fflag_allowlist new;
	fflag_allowlist *list;
	held_list  *held;
	char	   *place;
	bool		found;

	if (part->cxt == NULL)
		part->cxt = AllocSetContextCreate(lists_cxt, "fflag lists of a part",
										  0, PART_BLOCK, PART_BLOCK);
	if (part->lists == NULL)
		part->lists = held_create(part->cxt, 8, NULL);
	list = fflag_entries_peek_list(entry, which, source, &new);
	if (list != &new)
		return list;

	fflag_allowlist_begin(&new);
	held = MemoryContextAllocZero(part->cxt, offsetof(held_list, bytes) + entry->id.len);
	place = held->bytes;
	held->flag_id = copy_string(entry->id, &place);
	if (new.counted != 0)
	{
		new.flag_id = held->flag_id;
		held->list = MemoryContextAlloc(part->cxt, sizeof(new));
		*held->list = new;
	}
	(void) held_insert(part->lists, &held->flag_id, &found);
	return held->list;
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
	counts.allowlists = count_lists();
	counts.bytes = MemoryContextMemAllocated(flags_cxt, true) +
		MemoryContextMemAllocated(lists_cxt, true);
	return counts;
}
