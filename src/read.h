/*
 * read.h
 *		Reading flags, their lists and their variants.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_READ_H
#define FFLAG_READ_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/snapshot.h"

#include "fflag_string.h"
#include "layout.h"
#include "rules.h"

/* A flag: the rules' part of it, and its key. */
typedef struct fflag_row
{
	fflag_flag	flag;			/* whatever the time is; restricted is left
								 * false by fflag_parse_row() */
	fflag_string id;			/* in canonical text */
	fflag_string name;
	fflag_string requires;		/* the id of another, or empty */
	bool		has_terms;		/* it has these */
	fflag_terms terms;
} fflag_row;

/* A variant of a flag. */
typedef struct fflag_variant_row
{
	fflag_string name;
	int64		weight;			/* in millionths, above 0 */
} fflag_variant_row;

/* What to do with a row or a list's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (fflag_string user, void *arg);
typedef bool (*fflag_variant_sink) (const fflag_variant_row *row, void *arg);

extern void fflag_parse_row(const fflag_source *source, TupleDesc desc,
							HeapTuple tuple, fflag_row *row);
extern bool fflag_read_flag(fflag_source *source, fflag_string name,
							Snapshot snapshot, fflag_row *row);
extern void fflag_read_flags(fflag_source *source, Snapshot snapshot,
							 fflag_row_sink sink, void *arg);
extern bool fflag_read_flag_by_id(fflag_source *source, fflag_string id,
								  Snapshot snapshot, fflag_row *row);
extern bool fflag_read_listed(fflag_source *source, fflag_table_id which,
							  fflag_string flag_id, fflag_string user,
							  Snapshot snapshot);
extern void fflag_read_list(fflag_source *source, fflag_table_id which,
							fflag_string flag_id, Snapshot snapshot,
							fflag_user_sink sink, void *arg);
extern void fflag_parse_variant(const fflag_source *source, TupleDesc desc,
								HeapTuple tuple, fflag_string flag_id,
								fflag_variant_row *row);
extern void fflag_read_variants(fflag_source *source, fflag_string flag_id,
								Snapshot snapshot, fflag_variant_sink sink,
								void *arg);
extern Datum fflag_read_payload(fflag_source *source, fflag_string flag_id,
								fflag_string name, Snapshot snapshot,
								bool *isnull);

#endif							/* FFLAG_READ_H */
