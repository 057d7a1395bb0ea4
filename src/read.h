/*
 * read.h
 *		Reading flags, their lists, variants and relations.
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
	fflag_flag	flag;			/* whatever the time is; fflag_parse_row()
								 * leaves relations and restricted alone */
	fflag_string id;			/* in canonical text */
	fflag_string name;
	bool		has_terms;		/* it has these */
	fflag_terms terms;
} fflag_row;

/* A variant of a flag. */
typedef struct fflag_variant_row
{
	fflag_string name;
	int64		weight;			/* in millionths, above 0 */
} fflag_variant_row;

/* A relation of a flag, with its keys. */
typedef struct fflag_relation_row
{
	fflag_string id;			/* in canonical text, as the next */
	fflag_string flag_id;
	fflag_relation relation;
} fflag_relation_row;

/* Relations of a flag, while they are being read. */
typedef struct fflag_relation_rows
{
	fflag_relation *relations;	/* in the context of the first of them */
	int			count;
	int			allocated;
} fflag_relation_rows;

/* What to do with a row or a list's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (fflag_string user, void *arg);
typedef bool (*fflag_variant_sink) (const fflag_variant_row *row, void *arg);
typedef bool (*fflag_relation_sink) (const fflag_relation_row *row, void *arg);

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
extern void fflag_parse_relation(const fflag_source *source, TupleDesc desc,
								 HeapTuple tuple, fflag_relation_row *row);
extern void fflag_read_relations(fflag_source *source, bool by_other, fflag_string id,
								 Snapshot snapshot, fflag_relation_sink sink, void *arg);
extern bool fflag_collect_relation(const fflag_relation_row *row, void *rows);
extern Datum fflag_read_payload(fflag_source *source, fflag_string flag_id,
								fflag_string name, Snapshot snapshot,
								bool *isnull);

#endif							/* FFLAG_READ_H */
