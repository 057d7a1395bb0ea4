/*
 * catalog.h
 *		Where the flag tables are.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CATALOG_H
#define FFLAG_CATALOG_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

#define FFLAG_FLAGS_TABLE "feature_flag"
#define FFLAG_USERS_TABLE "feature_flag_user"
#define FFLAG_ATTACHMENT_TABLE "feature_flag_attachment"

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
	Oid			relid;
	Oid			marker;			/* the relid in messages of changed rows, see
								 * trigger.c; InvalidOid if there are none */
	fflag_column key;			/* the first column by which rows are looked up */
	int			nkeys;			/* and how many columns that are */
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

extern Oid	fflag_extension_schema(Oid function);
extern fflag_source fflag_locate(Oid schema, Snapshot snapshot);
extern Relation fflag_open_table(fflag_source *source, fflag_table_id which);
extern Oid	fflag_find_index(Relation rel, int nkeys, const AttrNumber *attnums,
							 const Oid *types, bool unique);
extern char *fflag_relation_name(Oid relid);
extern char *fflag_table_in_sql(Oid schema, const char *table);
extern const char *fflag_column_name(fflag_column column);
extern int64 fflag_estimate_rows(Oid relid);

#endif							/* FFLAG_CATALOG_H */
