/*
 * variants.h
 *		A flag's variants, and which of them a user has.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_VARIANTS_H
#define FFLAG_VARIANTS_H

#include "utils/palloc.h"

#include "choice.h"
#include "fflag_string.h"
#include "read.h"
#include "rules.h"

/* What the table says, while it is being read. */
typedef struct fflag_variant_rows
{
	fflag_variant_row *rows;	/* in the context of the first of them */
	int			count;
	int			allocated;
} fflag_variant_rows;

typedef struct fflag_payload
{
	bool		known;			/* has it been read and kept? */
	struct varlena *value;		/* a jsonb, or NULL */
} fflag_payload;

/* The variants of a flag, in the order of their names. */
typedef struct fflag_variant_set
{
	int			count;
	int			weighty;		/* how many have a weight above 0 */
	int			first_weighty;	/* the first of these */
	fflag_share *shares;
	fflag_string *names;
	fflag_payload *payloads;	/* related.c reads them on demand */
} fflag_variant_set;

extern bool fflag_collect_variant(const fflag_variant_row *row, void *rows);
extern fflag_variant_set *fflag_make_variants(const fflag_variant_rows *rows,
											  MemoryContext cxt);
extern int	fflag_find_variant(const fflag_variant_set *variants, fflag_string name);
extern double fflag_variant_share(const fflag_variant_set *variants, int variant);
extern int	fflag_pinned_variant(const fflag_variant_set *variants, const fflag_flag *flag,
								 fflag_subject *user, const fflag_lookups *look);

/*
 * The number of a user's variant, -1 if there is none: the only one with a weight is
 * everybody's.  Among several the hash decides, which nobody has; it is not looked
 * at otherwise.
 */
static inline int
fflag_variant_of(const fflag_variant_set *variants, bool somebody, uint64_t hash)
{
	if (variants->weighty < 2)
		return variants->weighty == 1 ? variants->first_weighty : -1;
	return somebody ? fflag_choose(variants->shares, variants->count, hash) : -1;
}

#endif							/* FFLAG_VARIANTS_H */
