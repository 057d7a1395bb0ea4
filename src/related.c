/*
 * related.c
 *		What belongs to a cached flag and is looked up on demand: the flags that it is
 *		related to, its variants, their payloads.
 *
 * All of it is part of the flags' content, and goes with the flags when cache.c
 * drops them.  So the flag is one that fflag_cache_get() or one of its like has just
 * returned, or fflag_other_flag(), under the same snapshot.  These functions throw
 * what fflag_cache_get() does.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "miscadmin.h"

#include "cache.h"
#include "compat.h"
#include "read.h"
#include "related.h"
#include "snapshot.h"

static fflag_entry missing;		/* a flag that is not there */

static pg_noinline void
load_other(fflag_entry *entry, int n)
{
	fflag_string id = entry->flag.relations[n].other_id;
	fflag_entry *other = &missing;	/* a subscriber may lack it */
	bool		was_tagged;
	fflag_source *source = fflag_cache_begin_load(&was_tagged);
	fflag_row	row;

	if (fflag_read_flag_by_id(source, id, fflag_active_snapshot(), &row))
		other = unconstify(fflag_entry *, fflag_entries_add_flag(&row));
	/* names may not be unique, if the owner has dropped a constraint */
	if (!fflag_string_equal(other->id, id))
		other = &missing;
	if (other != &missing && other->standing == NULL)
		other->standing = fflag_entries_standing();
	entry->others[n] = other;
	fflag_cache_end_load(was_tagged);
}

/*
 * The other flag of one of a flag's relations, with a standing; one that is not known
 * if it is not there, which has none.
 */
const fflag_entry *
fflag_other_flag(const fflag_entry *entry, const fflag_relation *relation)
{
	int			n = relation - entry->flag.relations;

	if (entry->others[n] == NULL)
		load_other(unconstify(fflag_entry *, entry), n);
	fflag_entry_set_time(entry->others[n]);
	return entry->others[n];
}

/* A number for each time that relations are followed, see fflag_standing. */
uint64
fflag_begin_visit(void)
{
	static uint64 last = 0;

	return ++last;
}

/*
 * A flag, and all to which relations lead from it that have not been reached in this
 * visit.
 */
List *
fflag_reach(const fflag_entry *entry, uint64 visit)
{
	List	   *reached = list_make1(unconstify(fflag_entry *, entry));

	for (int i = 0; i < list_length(reached); i++)
	{
		entry = list_nth(reached, i);
		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < entry->flag.n_relations; k++)
		{
			const fflag_entry *other = fflag_other_flag(entry, &entry->flag.relations[k]);

			if (other->standing == NULL || other->standing->visit == visit)
				continue;
			other->standing->visit = visit;
			reached = lappend(reached, unconstify(fflag_entry *, other));
		}
	}
	return reached;
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
	entry->variants = fflag_entries_variants(&rows);
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
