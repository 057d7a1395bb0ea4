/*
 * history.h
 *		What the flag tables were: recording changes.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_HISTORY_H
#define FFLAG_HISTORY_H

#include "commands/trigger.h"

#include "change.h"


/* What feature_flag_history says in its column kind. */
#define FFLAG_KIND_FLAG "flag"
#define FFLAG_KIND_USER "user"
#define FFLAG_KIND_DENIED "denied"
#define FFLAG_KIND_VARIANT "variant"
#define FFLAG_KIND_RELATION "relation"
#define FFLAG_KIND_TABLES "tables"
#define FFLAG_KIND_GAP "gap"


/* What a table has, as feature_flag_history says it. */
typedef enum fflag_record_kind
{
	FFLAG_RECORD_NONE,
	FFLAG_RECORD_FLAG,
	FFLAG_RECORD_USER,
	FFLAG_RECORD_DENIED,
	FFLAG_RECORD_VARIANT,
	FFLAG_RECORD_RELATION,
	FFLAG_RECORD_TABLES,
	FFLAG_RECORD_GAP			/* no table: something may be missing */
} fflag_record_kind;

/* A statement that changes a table whose changes are recorded. */
typedef struct fflag_recording
{
	fflag_history_tables h;
	Oid			relid;
	fflag_record_kind kind;
	bool		attached;
	const char *operation;
	const char *old;			/* where the rows were, in SQL, or NULL */
	const char *new;			/* where they are, or NULL */
	TriggerData *trigger;		/* whose transition tables those are; NULL:
								 * old is all that the table holds */

	/* the columns, quoted, NULL where the kind has none */
	const char *name;
	const char *flag_id;
	const char *user_id;
	const char *key;			/* one of them: it is null in no row that
								 * counts */

	/* expressions for two rows, o as it was and n as it is */
	const char *since;
	const char *old_image;
	const char *new_image;
} fflag_recording;

extern const char *const fflag_kind_names[];

extern bool fflag_is_recorded(Oid relid, Oid function);
extern void fflag_record_changes(const fflag_recording *r);
extern void fflag_record_gap(Oid schema, bool attached);

#endif							/* FFLAG_HISTORY_H */
