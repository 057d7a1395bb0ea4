/*
 * change.h
 *		When flags were changed, by whom, and in which database.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CHANGE_H
#define FFLAG_CHANGE_H

#include "utils/relcache.h"

#include "spi.h"

#define FFLAG_CHANGE_TABLE "feature_flag_change"
#define FFLAG_HISTORY_TABLE "feature_flag_history"

/* Where the history is. */
typedef struct fflag_history_tables
{
	Oid			schema;			/* of the extension */
	Oid			owner;			/* who reads and writes it */
	const char *history;		/* its tables, in SQL */
	const char *change;
	Oid			tables[2];
} fflag_history_tables;

extern char *fflag_actor;

extern fflag_history_tables fflag_locate_history(Oid schema);
extern fflag_command fflag_history_command(const fflag_history_tables *h);
extern Datum fflag_own_origin(Oid schema);
extern bool fflag_has_change(Relation rel, Datum id);
extern void fflag_forget_changes(SubTransactionId aborted);
extern void fflag_stamp_changes(void);
extern Datum fflag_find_change(const fflag_history_tables *h, char **who);
extern void fflag_note_change(const fflag_history_tables *h, Datum id, const char *who);

#endif							/* FFLAG_CHANGE_H */
