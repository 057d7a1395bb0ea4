/*
 * history.h
 *		What the flag tables were: recording changes.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_HISTORY_H
#define FFLAG_HISTORY_H

#include "utils/relcache.h"

#define FFLAG_CHANGE_TABLE "feature_flag_change"
#define FFLAG_HISTORY_TABLE "feature_flag_history"

/* What feature_flag_history says in its column kind. */
#define FFLAG_KIND_FLAG "flag"
#define FFLAG_KIND_USER "user"
#define FFLAG_KIND_TABLES "tables"
#define FFLAG_KIND_GAP "gap"

extern char *fflag_actor;

extern Oid	fflag_history_function(Oid schema);
extern Oid	fflag_locate_history(Oid schema, const char **history,
								 const char **change);
extern bool fflag_is_recorded(Oid relid, Oid function);
extern void fflag_check_stamped(Oid schema);
extern char *fflag_restored_before(const char *change, const char *alias);
extern void fflag_record_gap(Oid schema, bool attached);

#endif							/* FFLAG_HISTORY_H */
