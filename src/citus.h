/*
 * citus.h
 *		Tables that Citus has distributed.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CITUS_H
#define FFLAG_CITUS_H

extern Oid	fflag_find_rows(Oid relid);
extern Oid	fflag_require_rows(Oid relid);
extern void fflag_refuse_shell(Oid relid);
extern Oid	fflag_find_named_relid(Oid relid);

#endif							/* FFLAG_CITUS_H */
