/*
 * catalog.h
 *		Where the flag tables are, and reading them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CATALOG_H
#define FFLAG_CATALOG_H

#include "utils/snapshot.h"

#include "rules.h"

#define FFLAG_FLAGS_TABLE "feature_flag"
#define FFLAG_USERS_TABLE "feature_flag_user"
#define FFLAG_NAME_LENGTH 150	/* characters, as declared for feature_flag.name */

typedef struct fflag_tables
{
	Oid			flags;
	Oid			users;
	bool		announced;		/* do the triggers announce every change? */
} fflag_tables;

/* A row of feature_flag: the rules' part of it, and its key. */
typedef struct fflag_row
{
	int64		id;
	const char *name;			/* database encoding, not terminated */
	int			name_len;
	fflag_flag	flag;			/* utf8_name: terminated by name_len only */
} fflag_row;

/* What to do with a row or an allowlist's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (const char *user, int len, void *arg);

extern Oid	fflag_extension_schema(Oid function);
extern fflag_tables fflag_locate_tables(Oid schema);
extern char *fflag_table_in_sql(Oid schema, const char *table);
extern bool fflag_read_flag(Oid flags, const char *name, int name_len,
							Snapshot snapshot, fflag_row *row);
extern void fflag_read_flags(Oid flags, Snapshot snapshot,
							 fflag_row_sink sink, void *arg);
extern bool fflag_read_listed(Oid users, int64 flag_id, const char *user,
							  int len, Snapshot snapshot);
extern void fflag_read_allowlist(Oid users, int64 flag_id, Snapshot snapshot,
								 fflag_user_sink sink, void *arg);
extern int64 fflag_estimate_rows(Oid relid);
extern int	fflag_check_percentage(Datum percentage, const char *flag);
extern void fflag_check_name(const char *name);
extern const char *fflag_to_utf8(const char *text, size_t *len);

#endif							/* FFLAG_CATALOG_H */
