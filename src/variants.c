/*
 * variants.c
 *		A flag's variants, and which of them a user has.
 *
 * The hash that divides users among variants has another seed than the one that
 * says who gets the flag.  With the same one, all users of a rollout of 10% would
 * have the same variant.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "bucket.h"
#include "check.h"
#include "id.h"
#include "rules.h"
#include "variants.h"

/* The seed: that of a flag with this behind its name. */
#define SEED "#variant"

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
copy_string(fflag_string s, fflag_string end, MemoryContext cxt)
{
	char	   *copy = MemoryContextAlloc(cxt, s.len + end.len + 1);

	memcpy(copy, s.data, s.len);
	memcpy(copy + s.len, end.data, end.len);
	return fflag_string_make(copy, s.len + end.len);
}

/*
 * The variants of the flag of this name, whose rows have been collected and are put
 * in order here.  The result is in cxt, without payloads.  Throws if the sum of the
 * weights is too large.
 */
fflag_variant_set *
fflag_make_variants(const fflag_variant_rows *rows, fflag_string utf8_name,
					MemoryContext cxt)
{
	static fflag_variant_set none = {0};
	const fflag_string nothing = {"", 0};
	const fflag_string seed = {SEED, strlen(SEED)};
	fflag_variant_set *variants;
	int64	   *weights;
	uint64		sum = 0;

	if (rows->count == 0)
		return &none;
	qsort(rows->rows, rows->count, sizeof(fflag_variant_row), compare_names);
	variants = MemoryContextAllocZero(cxt, sizeof(*variants));
	variants->limits = MemoryContextAlloc(cxt, rows->count * sizeof(int));
	variants->names = MemoryContextAlloc(cxt, rows->count * sizeof(fflag_string));
	variants->payloads = MemoryContextAllocZero(cxt, rows->count * sizeof(fflag_payload));
	variants->utf8_seed = copy_string(utf8_name, seed, cxt);
	weights = palloc_array(int64, rows->count);
	for (int i = 0; i < rows->count; i++)
	{
		variants->names[i] = copy_string(rows->rows[i].name, nothing, cxt);
		weights[i] = rows->rows[i].weight;
		sum += weights[i];
		if (sum > PG_INT64_MAX)
			ereport(ERROR,
					errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("weights of the variants of flag \"%s\" are too large together",
						   pg_any_to_server(pnstrdup(utf8_name.data, utf8_name.len),
											utf8_name.len, PG_UTF8)),
					errdetail("Their sum is more than " INT64_FORMAT ".",
							  PG_INT64_MAX / FFLAG_WEIGHT_PARTS),
					errhint("Divide all weights by the same number."));
	}
	fflag_set_variant_limits(rows->count, weights, variants->limits);
	pfree(weights);
	variants->count = rows->count;
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
	int			begin = variant > 0 ? variants->limits[variant - 1] : 0;

	return variant < 0 ? 0 : (double) (variants->limits[variant] - begin) / FFLAG_BUCKETS;
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

/*
 * The number of the variant of a user, given the id in canonical text and UTF-8;
 * -1 if the flag has none.
 */
int
fflag_variant_of(const fflag_variant_set *variants, fflag_string utf8_id)
{
	if (variants->count == 0)
		return -1;
	return fflag_choose_variant(variants->count, variants->limits,
								fflag_bucket_of(variants->utf8_seed, utf8_id));
}
