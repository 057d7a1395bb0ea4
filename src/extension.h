/*
 * extension.h
 *		What is the extension's own.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_EXTENSION_H
#define FFLAG_EXTENSION_H

#include "utils/reltrigger.h"

#define FFLAG_RECORD_FUNCTION "fflag_record"

extern Oid	fflag_extension_schema(Oid function);
extern bool fflag_is_own(Oid class, Oid object);
extern Oid	fflag_own_function(Oid schema, const char *name);
extern Oid	fflag_trigger_function(Oid schema);
extern Oid	fflag_history_function(Oid schema);
extern bool fflag_fires(const Trigger *trigger, Oid function, bool replicated);
extern void fflag_refuse_call(const char *function, const char *how);
extern char *fflag_relation_name(Oid relid);

#endif							/* FFLAG_EXTENSION_H */
