/*
 * catalog.h
 *		Where the flag tables are.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CATALOG_H
#define FFLAG_CATALOG_H

#include "utils/snapshot.h"

#include "layout.h"

#define FFLAG_FLAGS_TABLE "feature_flag"
#define FFLAG_USERS_TABLE "feature_flag_user"
#define FFLAG_ATTACHMENT_TABLE "feature_flag_attachment"
#define FFLAG_DENIED_TABLE "feature_flag_denied_user"
#define FFLAG_VARIANTS_TABLE "feature_flag_variant"
#define FFLAG_RELATIONS_TABLE "feature_flag_relation"

extern char *fflag_attached_name(Oid schema, Snapshot snapshot);
extern Oid	fflag_find_marker(Oid relid, Oid function, const char *argument);
extern bool fflag_may_read(Oid relid, Oid role);
extern fflag_source fflag_locate_own(Oid schema);
extern fflag_source fflag_locate(Oid schema, Snapshot snapshot);
extern char *fflag_table_in_sql(Oid schema, const char *table);

#endif							/* FFLAG_CATALOG_H */
