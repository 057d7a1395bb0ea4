/*
 * read.h
 *		Reading flags and allowlists.
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
	fflag_string id;			/* in canonical text */
	fflag_string name;
	fflag_flag	flag;			/* whatever the time is */
	bool		has_terms;		/* it has these */
	fflag_terms terms;
} fflag_row;

/* What to do with a row or an allowlist's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (fflag_string user, void *arg);

extern void fflag_parse_row(const fflag_source *source, TupleDesc desc,
							HeapTuple tuple, fflag_row *row);
extern bool fflag_read_flag(fflag_source *source, fflag_string name,
							Snapshot snapshot, fflag_row *row);
extern void fflag_read_flags(fflag_source *source, Snapshot snapshot,
							 fflag_row_sink sink, void *arg);
extern bool fflag_read_listed(fflag_source *source, fflag_string flag_id,
							  fflag_string user, Snapshot snapshot);
extern void fflag_read_allowlist(fflag_source *source, fflag_string flag_id,
								 Snapshot snapshot,
								 fflag_user_sink sink, void *arg);

#endif							/* FFLAG_READ_H */
