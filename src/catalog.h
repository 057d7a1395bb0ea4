/*
 * catalog.h
 *		Where the flag tables are, and reading them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CATALOG_H
#define FFLAG_CATALOG_H

#include "utils/snapshot.h"

#include "id.h"
#include "rules.h"

#define FFLAG_FLAGS_TABLE "feature_flag"
#define FFLAG_USERS_TABLE "feature_flag_user"
#define FFLAG_ATTACHMENT_TABLE "feature_flag_attachment"
#define FFLAG_NAME_LENGTH 150	/* characters, as declared for feature_flag.name */

/* The tables that evaluation reads. */
typedef enum fflag_table_id
{
	FFLAG_ATTACHMENT,			/* says where the other two are */
	FFLAG_FLAGS,
	FFLAG_USERS
} fflag_table_id;

#define FFLAG_TABLES 3

/* The columns of the latter two that it needs. */
typedef enum fflag_column
{
	FFLAG_COLUMN_ID,
	FFLAG_COLUMN_NAME,
	FFLAG_COLUMN_ENABLED,
	FFLAG_COLUMN_STAFF_ONLY,
	FFLAG_COLUMN_ROLLOUT,
	FFLAG_COLUMN_FLAG_ID,
	FFLAG_COLUMN_USER_ID
} fflag_column;

#define FFLAG_COLUMNS 7

#define FFLAG_KEYS 2			/* columns of the longest key */

typedef struct fflag_table
{
	Oid			relid;			/* FFLAG_ATTACHMENT: may be InvalidOid */
	uint64		changes;		/* for the owner of the fflag_source to increase,
								 * with each relcache message of this table */
	uint64		described;		/* changes when the rest, and the source's
								 * attnums and types, were found out */
	Oid			indexes[FFLAG_KEYS];	/* with 1, 2 columns of the key */
} fflag_table;

/*
 * Where the flags are.  Zero but for what fflag_locate() fills in, "changes"
 * begin with 1.
 */
typedef struct fflag_source
{
	bool		attached;		/* false: in our own tables */
	bool		announced;		/* do the triggers announce every change? */
	fflag_table tables[FFLAG_TABLES];
	NameData	columns[FFLAG_COLUMNS];
	AttrNumber	attnums[FFLAG_COLUMNS];
	Oid			types[FFLAG_COLUMNS];	/* less domains */
} fflag_source;

/* A flag: the rules' part of it, and its key. */
typedef struct fflag_row
{
	fflag_string id;			/* in canonical text */
	fflag_string name;
	fflag_flag	flag;			/* utf8_name: terminated by its length only */
} fflag_row;

/* What to do with a row or an allowlist's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (const char *user, int len, void *arg);

extern Oid	fflag_extension_schema(Oid function);
extern fflag_source fflag_locate(Oid schema, Snapshot snapshot);
extern void fflag_check_source(fflag_source *source);
extern char *fflag_relation_name(Oid relid);
extern char *fflag_table_in_sql(Oid schema, const char *table);
extern const char *fflag_column_name(fflag_column column);
extern bool fflag_read_flag(fflag_source *source, fflag_string name,
							Snapshot snapshot, fflag_row *row);
extern void fflag_read_flags(fflag_source *source, Snapshot snapshot,
							 fflag_row_sink sink, void *arg);
extern bool fflag_read_listed(fflag_source *source, fflag_string flag_id,
							  const char *user, int len, Snapshot snapshot);
extern void fflag_read_allowlist(fflag_source *source, fflag_string flag_id,
								 Snapshot snapshot,
								 fflag_user_sink sink, void *arg);
extern int64 fflag_estimate_rows(Oid relid);
extern int	fflag_check_percentage(Datum percentage, const char *flag);
extern void fflag_check_name(const char *name);
extern const char *fflag_to_utf8(const char *text, size_t *len);

#endif							/* FFLAG_CATALOG_H */
