/*
 * control.h
 *		What the SQL functions that change flags have in common.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CONTROL_H
#define FFLAG_CONTROL_H

#include "fmgr.h"

extern void fflag_check_not_attached(Oid schema);
extern uint64 fflag_run_on_table(FunctionCallInfo fcinfo, const char *command,
								 const char *table, int nargs, Oid *types,
								 Datum *values, Datum *result);
extern char *fflag_name_argument(FunctionCallInfo fcinfo);
extern void fflag_check_not_null(bool isnull, const char *what, const char *name);
extern Datum fflag_get_id(FunctionCallInfo fcinfo, Datum name);
extern Datum fflag_lock_id(FunctionCallInfo fcinfo, Datum name);

#endif							/* FFLAG_CONTROL_H */
