/*
 * variants.c
 *		A flag's variants, and which of them a user has.
 *
 * The hash that divides users among variants is half of the digest that the bucket is
 * the remainder of, mixed with each variant's: who gets the flag says nothing of the
 * variant.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "id.h"
#include "variants.h"

/* A fflag_variant_sink: adds the row to an fflag_variant_rows, at first all zero. */
bool
fflag_collect_variant(const fflag_variant_row *row, void *arg)
{
	fflag_variant_rows *rows = arg;

	if (rows->count == rows->allocated)
	{
		rows->allocated = Max(8, rows->allocated * 2);
		rows->rows = rows->rows == NULL ?
			palloc_array(fflag_variant_row, rows->allocated) :
			repalloc_array(rows->rows, fflag_variant_row, rows->allocated);
	}
	rows->rows[rows->count++] = *row;
	return true;
}

/* In UTF-8, so that it is the same whatever the database's encoding. */
static int
compare_names(const void *a, const void *b)
{
	return fflag_string_compare(fflag_to_utf8(((const fflag_variant_row *) a)->name),
								fflag_to_utf8(((const fflag_variant_row *) b)->name));
}

static fflag_string
copy_string(fflag_string s, MemoryContext cxt)
{
	char	   *copy = MemoryContextAlloc(cxt, s.len + 1);

	memcpy(copy, s.data, s.len);
	return fflag_string_make(copy, s.len);
}

/*
 * The variants of a flag, whose rows have been collected and are put in order here.
 * The result is in cxt, without payloads.
 */
fflag_variant_set *
fflag_make_variants(const fflag_variant_rows *rows, MemoryContext cxt)
{
	static fflag_variant_set none = {0};
	fflag_variant_set *variants;

	if (rows->count == 0)
		return &none;
	qsort(rows->rows, rows->count, sizeof(fflag_variant_row), compare_names);
	variants = MemoryContextAllocZero(cxt, sizeof(*variants));
	variants->shares = MemoryContextAlloc(cxt, rows->count * sizeof(fflag_share));
	variants->names = MemoryContextAlloc(cxt, rows->count * sizeof(fflag_string));
	variants->payloads = MemoryContextAllocZero(cxt, rows->count * sizeof(fflag_payload));
	variants->count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		const fflag_variant_row *row = &rows->rows[i];

		variants->names[i] = copy_string(row->name, cxt);
		variants->shares[i] = fflag_share_of(fflag_to_utf8(row->name), row->weight);
		if (row->weight > 0 && variants->weighty++ == 0)
			variants->first_weighty = i;
	}
	return variants;
}

/* The number of the variant of this name, -1 if there is none. */
int
fflag_find_variant(const fflag_variant_set *variants, fflag_string name)
{
	for (int i = 0; i < variants->count; i++)
	{
		if (fflag_string_equal(variants->names[i], name))
			return i;
	}
	return -1;
}

/* The share of users whom a variant of this number gets; 0 for -1, which none has. */
double
fflag_variant_share(const fflag_variant_set *variants, int variant)
{
	double		sum = 0;

	for (int i = 0; i < variants->count; i++)
		sum += variants->shares[i].weight;
	return variant < 0 || sum == 0 ? 0 : variants->shares[variant].weight / sum;
}

/*
 * The number of the variant that flags which the user gets give to a user of this
 * one; of several, the first in the order of names.  -1 if there is none.
 */
int
fflag_pinned_variant(const fflag_variant_set *variants, const fflag_flag *flag,
					 fflag_subject *user, const fflag_lookups *look)
{
	int			pinned = -1;

	for (int i = 0; i < flag->n_relations; i++)
	{
		const fflag_relation *r = &flag->relations[i];
		int			variant = r->pin.len == 0 ? -1 : fflag_find_variant(variants, r->pin);

		if (variant >= 0 && (pinned < 0 || variant < pinned) && look->gets_other(user, flag, r))
			pinned = variant;
	}
	return pinned;
}
