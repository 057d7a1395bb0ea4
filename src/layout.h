/*
 * layout.h
 *		What the flag tables look like: their columns and indexes.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_LAYOUT_H
#define FFLAG_LAYOUT_H

#include "storage/block.h"
#include "utils/relcache.h"

/* The tables that evaluation reads. */
typedef enum fflag_table_id
{
	FFLAG_ATTACHMENT,			/* says where the next two are */
	FFLAG_FLAGS,
	FFLAG_USERS,				/* allowlists */

	/* only our own */
	FFLAG_DENIED,				/* denylists */
	FFLAG_VARIANTS,
	FFLAG_RELATIONS
} fflag_table_id;

#define FFLAG_TABLES 6

/* The columns that evaluation needs, and those that only our own tables have. */
typedef enum fflag_column
{
	FFLAG_COLUMN_ID,
	FFLAG_COLUMN_NAME,
	FFLAG_COLUMN_ENABLED,
	FFLAG_COLUMN_STAFF_ONLY,
	FFLAG_COLUMN_ROLLOUT,
	FFLAG_COLUMN_FLAG_ID,
	FFLAG_COLUMN_USER_ID,
	FFLAG_COLUMN_SEED,
	FFLAG_COLUMN_STARTS_AT,
	FFLAG_COLUMN_ENDS_AT,
	FFLAG_COLUMN_RAMP_TO,
	FFLAG_COLUMN_RAMP_STARTS_AT,
	FFLAG_COLUMN_RAMP_ENDS_AT,
	FFLAG_COLUMN_INTERNAL,
	FFLAG_COLUMN_DENIED_FLAG_ID,
	FFLAG_COLUMN_DENIED_USER_ID,
	FFLAG_COLUMN_VARIANT_FLAG_ID,
	FFLAG_COLUMN_VARIANT_NAME,
	FFLAG_COLUMN_VARIANT_WEIGHT,
	FFLAG_COLUMN_VARIANT_PAYLOAD,
	FFLAG_COLUMN_RELATION_FLAG_ID,
	FFLAG_COLUMN_RELATION_OTHER_ID,
	FFLAG_COLUMN_RELATION_ID,
	FFLAG_COLUMN_RELATION_KIND,
	FFLAG_COLUMN_RELATION_OTHER_VARIANT,
	FFLAG_COLUMN_RELATION_PIN
} fflag_column;

#define FFLAG_COLUMNS 7			/* of attached tables, which come first */
#define FFLAG_OWN_COLUMNS (FFLAG_COLUMN_RELATION_PIN + 1)

#define FFLAG_KEYS 2			/* columns of the longest key */

typedef struct fflag_table
{
	Oid			relid;			/* InvalidOid if there is none, as where
								 * tables are attached */
	Oid			named_relid;	/* the table that users name; under Citus the
								 * distributed table of which relid is the
								 * shard */
	Oid			recorded;		/* the OID in the row that attaches it,
								 * perhaps not its own; 0 for our own tables */
	Oid			marker;			/* the relid in messages of changed rows, see
								 * writer.c; InvalidOid if there are none */
	fflag_column key;			/* rows are looked up by this column */
	int			nkeys;			/* and those behind it, so many together */
	fflag_column other_key;		/* and by this one alone, where other_index is
								 * used */

	/* layout.c's own, but for indexes, which fflag_open_table() sets */
	uint64		changes;		/* how often it has been outdated */
	uint64		described;		/* changes at the last description */
	Oid			indexes[FFLAG_KEYS];	/* with 1, 2 columns of the key */
	Oid			other_index;	/* of FFLAG_FLAGS and FFLAG_RELATIONS */
} fflag_table;

/*
 * Where the flags are, which catalog.c says; and what the tables look like,
 * which is true while fflag_open_table() holds them open.
 */
typedef struct fflag_source
{
	bool		attached;		/* false: in our own tables */
	bool		announced;		/* do the triggers announce every change? */
	fflag_table tables[FFLAG_TABLES];
	NameData	columns[FFLAG_OWN_COLUMNS];

	/*
	 * fflag_open_table() sets these, of its table; InvalidAttrNumber for a
	 * column that only our own tables have
	 */
	AttrNumber	attnums[FFLAG_OWN_COLUMNS];
	Oid			types[FFLAG_OWN_COLUMNS];	/* less domains */
} fflag_source;

extern fflag_source fflag_new_source(void);
extern void fflag_outdate_layout(fflag_source *source, fflag_table_id which);
extern Relation fflag_open_table(fflag_source *source, fflag_table_id which);
extern Relation fflag_open_relation(Oid relid);
extern AttrNumber fflag_find_column(Relation rel, const char *name, Oid *type);
extern bool fflag_can_read_column(Relation rel, const char *name, fflag_column c,
								  bool attached);
extern Oid	fflag_find_index(Relation rel, int nkeys, const AttrNumber *attnums,
							 const Oid *types, bool unique, bool *too_young);
extern const char *fflag_column_name(fflag_column column);
extern fflag_table_id fflag_column_table(fflag_column column);
extern Oid	fflag_column_type(fflag_column column);
extern bool fflag_has_unique_key(fflag_source *source, fflag_table_id which);
extern int64 fflag_estimate_rows(Oid relid);
extern BlockNumber fflag_count_blocks(Oid relid);

#endif							/* FFLAG_LAYOUT_H */
