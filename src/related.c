/*
 * related.c
 *		What belongs to a cached flag and is looked up on demand: the flag that it
 *		requires, its variants, their payloads.
 *
 * All of it is part of the flags' content, and goes with the flags when cache.c
 * drops them.  So the flag is one that fflag_cache_get() or one of its like has just
 * returned, or fflag_required_flag(), under the same snapshot.  These functions throw
 * what fflag_cache_get() does.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "cache.h"
#include "compat.h"
#include "read.h"
#include "related.h"
#include "snapshot.h"

static pg_noinline void
load_required(fflag_entry *entry)
{
	static const fflag_entry missing = {0};
	const fflag_entry *required = &missing; /* a subscriber may lack it */
	bool		was_tagged;
	fflag_source *source = fflag_cache_begin_load(&was_tagged);
	fflag_row	row;

	if (fflag_read_flag_by_id(source, entry->requires, fflag_active_snapshot(), &row))
		required = fflag_entries_add_flag(&row);
	/* another one of the same name might lead round in circles */
	entry->required = fflag_string_equal(required->id, entry->requires) ?
		required : &missing;
	fflag_cache_end_load(was_tagged);
}

/*
 * The flag that a flag requires; NULL if it requires none.  Its id is smaller.  One
 * that is not there is not known.
 */
const fflag_entry *
fflag_required_flag(const fflag_entry *entry)
{
	if (entry->requires.len == 0)
		return NULL;
	if (entry->required == NULL)
		load_required(unconstify(fflag_entry *, entry));
	fflag_entry_set_time(entry->required);
	return entry->required;
}

static pg_noinline void
load_variants(fflag_entry *entry)
{
	bool		was_tagged;
	fflag_source *source = fflag_cache_begin_load(&was_tagged);
	fflag_variant_rows rows = {0};

	if (entry->flag.known)
		fflag_read_variants(source, entry->id, fflag_active_snapshot(),
							fflag_collect_variant, &rows);
	entry->variants = fflag_entries_variants(entry, &rows);
	fflag_cache_end_load(was_tagged);
}

/* The variants of a flag, valid as long as the flag. */
const fflag_variant_set *
fflag_variants_of(const fflag_entry *entry)
{
	if (entry->variants == NULL)
		load_variants(unconstify(fflag_entry *, entry));
	return entry->variants;
}

/* Larger payloads are read each time, so that no session fills up with them. */
#define MOST_KEPT_PAYLOAD 65536

/*
 * The payload of a variant, given its number; NULL if it has none.  A copy in the
 * current memory context.  fflag_variants_of() has been called.
 */
struct varlena *
fflag_payload_of(const fflag_entry *entry, int variant)
{
	fflag_payload *payload = &entry->variants->payloads[variant];

	if (!payload->known)
	{
		bool		was_tagged;
		fflag_source *source = fflag_cache_begin_load(&was_tagged);
		bool		isnull;
		Datum		value;

		value = fflag_read_payload(source, entry->id, entry->variants->names[variant],
								   fflag_active_snapshot(), &isnull);
		payload->known = isnull || VARSIZE(DatumGetPointer(value)) <= MOST_KEPT_PAYLOAD;
		if (payload->known && !isnull)
			payload->value = fflag_entries_payload(value);
		fflag_cache_end_load(was_tagged);
		return isnull ? NULL : (struct varlena *) DatumGetPointer(value);
	}
	return payload->value == NULL ? NULL :
		PG_DETOAST_DATUM_COPY(PointerGetDatum(payload->value));
}
