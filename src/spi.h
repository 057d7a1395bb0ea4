/*
 * spi.h
 *		Running SQL.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_SPI_H
#define FFLAG_SPI_H

#include "storage/lockdefs.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#define FFLAG_PARAMETERS 12

/* A command, whose plan is mostly kept for the session; see fflag_run_kept(). */
typedef struct fflag_command
{
	const char *sql;
	Oid			relid;			/* of the transition tables in it, or 0 */
	Oid			user;			/* who runs it; 0: the caller */
	Oid			tables[2];		/* which it uses as the user, or 0 */
	LOCKMODE	lock;			/* of these tables */
	bool		read_only;		/* under the active snapshot */
	bool		by_index;		/* and hash or merge joins, where there is a
								 * choice: the plan is kept, however the
								 * tables grow */
	bool		once;			/* plan it for its parameters, and forget the
								 * plan */
	int			nargs;
	Oid			types[FFLAG_PARAMETERS];
	Datum		values[FFLAG_PARAMETERS];
	char		nulls[FFLAG_PARAMETERS];
} fflag_command;

/* Who calls, while code runs as somebody else; see fflag_become(). */
typedef struct fflag_identity
{
	Oid			user;
	int			context;
	int			nest_level;
} fflag_identity;

extern fflag_identity fflag_become(Oid user);
extern void fflag_return_to(const fflag_identity *caller);
extern uint64 fflag_run(const char *command, int nargs, Oid *types,
						Datum *values);
extern void fflag_add_parameter(fflag_command *command, Oid type, Datum value);
extern void fflag_add_text(fflag_command *command, const char *text);
extern uint64 fflag_run_kept(fflag_command *command);
extern Tuplestorestate *fflag_scan_as(const char *name, Oid relid, Snapshot snapshot);

#endif							/* FFLAG_SPI_H */
