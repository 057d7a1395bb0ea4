/*
 * export.h
 *		Reading flags as elements of a document.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_EXPORT_H
#define FFLAG_EXPORT_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#include "layout.h"
#include "spi.h"

/* How flags are selected as elements of a document. */
typedef struct fflag_selection
{
	const char *allowlists;		/* a condition: of which flags f; NULL: of
								 * none */
	const char *denylists;
	const char *ids;			/* a query to which AND can be added, if not
								 * all flags are wanted */
} fflag_selection;

/* Where flags are selected: CTEs, and joins with them. */
typedef struct fflag_rows_sql
{
	StringInfoData with;
	StringInfoData joins;
} fflag_rows_sql;

/* Rows that SQL knows by the names of our own tables; see fflag_scan_tables(). */
typedef struct fflag_scanned_tables
{
	Tuplestorestate *stores[FFLAG_TABLES];
} fflag_scanned_tables;

extern void fflag_check_argument(FunctionCallInfo fcinfo, int arg, const char *name,
								 const char *function);
extern void fflag_run_in_utc(fflag_command *command);
extern char *fflag_flag_in_sql(const fflag_selection *selection);
extern fflag_rows_sql fflag_rows_in_sql(const fflag_selection *selection);
extern void fflag_scan_tables(fflag_scanned_tables *scanned, Oid schema, bool lists,
							  Snapshot snapshot);
extern void fflag_end_scanned(fflag_scanned_tables *scanned);

#endif							/* FFLAG_EXPORT_H */
