/*
 * layout.c
 *		What the flag tables look like: their columns and indexes.
 *
 * Owners may alter their tables, so columns are looked up by name and their
 * types checked.  The fflag_source keeps the results.  catalog.c makes it;
 * from then on only this file changes it.  Descriptions older than the last
 * message are rebuilt on next use.
 *
 * All of this needs an active transaction, but for fflag_outdate_layout().
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "compat.h"
#include "layout.h"

/* The types that columns may have; the end is InvalidOid. */
static const Oid id_types[] = {
	INT2OID, INT4OID, INT8OID, UUIDOID, TEXTOID, VARCHAROID, InvalidOid
};
static const Oid name_types[] = {TEXTOID, VARCHAROID, InvalidOid};
static const Oid boolean_types[] = {BOOLOID, InvalidOid};
static const Oid rollout_types[] = {
	INT2OID, INT4OID, INT8OID, NUMERICOID, InvalidOid
};

/* The columns, as they are in our own tables. */
static const struct
{
	const char *name;
	fflag_table_id table;
	Oid			type;
	const Oid  *attached_types; /* what it may be in an attached table */
}			columns[FFLAG_OWN_COLUMNS] = {
	[FFLAG_COLUMN_ID] = {"id", FFLAG_FLAGS, INT8OID, id_types},
	[FFLAG_COLUMN_NAME] = {"name", FFLAG_FLAGS, TEXTOID, name_types},
	[FFLAG_COLUMN_ENABLED] = {"enabled", FFLAG_FLAGS, BOOLOID, boolean_types},
	[FFLAG_COLUMN_STAFF_ONLY] = {"staff_only", FFLAG_FLAGS, BOOLOID, boolean_types},
	[FFLAG_COLUMN_ROLLOUT] = {"rollout_percentage", FFLAG_FLAGS, NUMERICOID, rollout_types},
	[FFLAG_COLUMN_FLAG_ID] = {"flag_id", FFLAG_USERS, INT8OID, id_types},
	[FFLAG_COLUMN_USER_ID] = {"user_id", FFLAG_USERS, TEXTOID, id_types},
	[FFLAG_COLUMN_SEED] = {"seed", FFLAG_FLAGS, TEXTOID, NULL},
	[FFLAG_COLUMN_STARTS_AT] = {"starts_at", FFLAG_FLAGS, TIMESTAMPTZOID, NULL},
	[FFLAG_COLUMN_ENDS_AT] = {"ends_at", FFLAG_FLAGS, TIMESTAMPTZOID, NULL},
	[FFLAG_COLUMN_RAMP_TO] = {"ramp_to", FFLAG_FLAGS, NUMERICOID, NULL},
	[FFLAG_COLUMN_RAMP_STARTS_AT] = {"ramp_starts_at", FFLAG_FLAGS, TIMESTAMPTZOID, NULL},
	[FFLAG_COLUMN_RAMP_ENDS_AT] = {"ramp_ends_at", FFLAG_FLAGS, TIMESTAMPTZOID, NULL},
	[FFLAG_COLUMN_INTERNAL] = {"internal", FFLAG_FLAGS, BOOLOID, NULL},
	[FFLAG_COLUMN_DENIED_FLAG_ID] = {"flag_id", FFLAG_DENIED, INT8OID, NULL},
	[FFLAG_COLUMN_DENIED_USER_ID] = {"user_id", FFLAG_DENIED, TEXTOID, NULL},
	[FFLAG_COLUMN_VARIANT_FLAG_ID] = {"flag_id", FFLAG_VARIANTS, INT8OID, NULL},
	[FFLAG_COLUMN_VARIANT_NAME] = {"name", FFLAG_VARIANTS, TEXTOID, NULL},
	[FFLAG_COLUMN_VARIANT_WEIGHT] = {"weight", FFLAG_VARIANTS, NUMERICOID, NULL},
	[FFLAG_COLUMN_VARIANT_PAYLOAD] = {"payload", FFLAG_VARIANTS, JSONBOID, NULL},
	[FFLAG_COLUMN_RELATION_FLAG_ID] = {"flag_id", FFLAG_RELATIONS, INT8OID, NULL},
	[FFLAG_COLUMN_RELATION_OTHER_ID] = {"other_id", FFLAG_RELATIONS, INT8OID, NULL},
	[FFLAG_COLUMN_RELATION_ID] = {"id", FFLAG_RELATIONS, INT8OID, NULL},
	[FFLAG_COLUMN_RELATION_KIND] = {"kind", FFLAG_RELATIONS, TEXTOID, NULL},
	[FFLAG_COLUMN_RELATION_OTHER_VARIANT] = {"other_variant", FFLAG_RELATIONS, TEXTOID, NULL},
	[FFLAG_COLUMN_RELATION_PIN] = {"pin", FFLAG_RELATIONS, TEXTOID, NULL}
};

/* What a column of our own tables is called; and an argument of fflag_attach(). */
const char *
fflag_column_name(fflag_column column)
{
	return columns[column].name;
}

/* Which table it is in, and its type in our own. */
fflag_table_id
fflag_column_table(fflag_column column)
{
	return columns[column].table;
}

Oid
fflag_column_type(fflag_column column)
{
	return columns[column].type;
}

/* A source with our own columns and no tables, for catalog.c to fill in. */
fflag_source
fflag_new_source(void)
{
	fflag_source source = {
		.tables[FFLAG_FLAGS] = {.key = FFLAG_COLUMN_NAME,.nkeys = 1,.other_key = FFLAG_COLUMN_ID},
		.tables[FFLAG_USERS] = {.key = FFLAG_COLUMN_FLAG_ID,.nkeys = 2},
		.tables[FFLAG_DENIED] = {.key = FFLAG_COLUMN_DENIED_FLAG_ID,.nkeys = 2},
		.tables[FFLAG_VARIANTS] = {.key = FFLAG_COLUMN_VARIANT_FLAG_ID,.nkeys = 2},
		.tables[FFLAG_RELATIONS] = {.key = FFLAG_COLUMN_RELATION_FLAG_ID,.nkeys = 1,.other_key = FFLAG_COLUMN_RELATION_OTHER_ID}
	};

	for (int i = 0; i < FFLAG_TABLES; i++)
		source.tables[i].changes = 1;
	for (int i = 0; i < FFLAG_OWN_COLUMNS; i++)
		namestrcpy(&source.columns[i], columns[i].name);
	return source;
}

/*
 * The owner of a source calls this for each relcache message about one of its
 * tables.  As it does so in a callback, this looks nothing up, allocates nothing
 * and throws nothing.
 */
void
fflag_outdate_layout(fflag_source *source, fflag_table_id which)
{
	source->tables[which].changes++;
}

/*
 * Opens a table to read flags from, with AccessShareLock.  Throws if it is gone,
 * or of a kind that cannot be read, or not here.
 */
Relation
fflag_open_relation(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("a table of extension \"fflag\" has just been dropped"),
				errhint("Run the statement again."));
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("\"%s\" is not an ordinary table",
					   RelationGetRelationName(rel)),
				errhint("Extension \"fflag\" needs the table that it created under this name, or attached."));
	if (!RelationIsPermanent(rel) &&
		(RelationUsesLocalBuffers(rel) || RecoveryInProgress()))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("flags cannot be read from table \"%s\", which is %s",
					   RelationGetRelationName(rel),
					   RelationUsesLocalBuffers(rel) ? "temporary" : "unlogged"),
				errhint("Use a permanent table."));
	return rel;
}

/*
 * A column of an open table, by name; *type is its type less domains.
 * InvalidAttrNumber if there is none.
 */
AttrNumber
fflag_find_column(Relation rel, const char *name, Oid *type)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		*type = getBaseType(att->atttypid);
		return att->attnum;
	}
	return InvalidAttrNumber;
}

static bool
is_one_of(Oid type, const Oid *types)
{
	while (OidIsValid(*types) && *types != type)
		types++;
	return *types == type;
}

/* May evaluation read a column of this type as c?  The type is without domains. */
static bool
is_allowed(Oid type, fflag_column c, bool attached)
{
	return attached ? is_one_of(type, columns[c].attached_types) :
		type == columns[c].type || (type == VARCHAROID && columns[c].type == TEXTOID);
}

/* Is the value computed when it is read?  No row stores it: it would be read as null. */
static bool
is_virtual(Relation rel, AttrNumber attnum)
{
	return TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
}

/* Can evaluation read this column of an open table as c? */
bool
fflag_can_read_column(Relation rel, const char *name, fflag_column c, bool attached)
{
	Oid			type;
	AttrNumber	attnum = fflag_find_column(rel, name, &type);

	return attnum != InvalidAttrNumber && !is_virtual(rel, attnum) &&
		is_allowed(type, c, attached);
}

/* Finds a column of the source in its open table, and checks its type. */
static void
describe_column(fflag_source *source, Relation rel, fflag_column c)
{
	const char *name = NameStr(source->columns[c]);
	Oid			type = InvalidOid;
	AttrNumber	attnum = fflag_find_column(rel, name, &type);
	StringInfoData types;

	if (source->attached && c >= FFLAG_COLUMNS)
	{
		source->attnums[c] = InvalidAttrNumber;
		return;
	}

	if (attnum != InvalidAttrNumber && is_virtual(rel, attnum))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("column \"%s\" of table \"%s\" is generated when it is read",
					   name, RelationGetRelationName(rel)),
				errhint("Extension \"fflag\" needs one that is stored."));

	source->attnums[c] = attnum;
	source->types[c] = type;
	if (attnum != InvalidAttrNumber && is_allowed(type, c, source->attached))
		return;

	initStringInfo(&types);
	if (source->attached)
	{
		for (const Oid *t = columns[c].attached_types; OidIsValid(*t); t++)
			appendStringInfo(&types, "%s%s",
							 t == columns[c].attached_types ? "" :
							 OidIsValid(t[1]) ? ", " : " or ", format_type_be(*t));
	}
	else
		appendStringInfoString(&types, format_type_be(columns[c].type));

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("column \"%s\" of table \"%s\" does not exist",
					   name, RelationGetRelationName(rel)),
				source->attached ?
				errhint("Name the column with argument \"%s\" of fflag_attach(), after fflag_detach() if the tables are attached; it has type %s.",
						columns[c].name, types.data) :
				errhint("Extension \"fflag\" needs it, with type %s; put it back with ALTER TABLE.",
						types.data));
	ereport(ERROR,
			errcode(ERRCODE_DATATYPE_MISMATCH),
			errmsg("column \"%s\" of table \"%s\" has type %s",
				   name, RelationGetRelationName(rel), format_type_be(type)),
			errhint("Extension \"fflag\" needs type %s; change it %swith ALTER TABLE.",
					types.data, source->attached ? "" : "back "));
}

/*
 * A btree index of an open table that begins with the given columns, in the
 * default order of their types, or InvalidOid.  As in the planner, an index
 * does not count while it is being built or rebuilt, or is too young for this
 * transaction's snapshots.  If unique is true, the index must be unique in
 * exactly these columns.
 *
 * *too_young, unless NULL, becomes true if an index was left out for its age
 * alone.  No message says when the index is old enough.
 */
Oid
fflag_find_index(Relation rel, int nkeys, const AttrNumber *attnums,
				 const Oid *types, bool unique, bool *too_young)
{
	Oid			found = InvalidOid;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		bool		usable;

		/* a predicate is not even looked at: that would run its functions */
		usable = form->indisvalid &&
			form->indnkeyatts >= nkeys &&
			(!unique || (form->indisunique && form->indnkeyatts == nkeys)) &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

		for (int i = 0; usable && i < nkeys; i++)
		{
			Form_pg_attribute att;

			att = TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1);
			usable = form->indkey.values[i] == attnums[i] &&
				index->rd_opfamily[i] ==
				lookup_type_cache(types[i], TYPECACHE_BTREE_OPFAMILY)->btree_opf &&
				index->rd_indcollation[i] == att->attcollation;
		}
		if (usable && form->indcheckxmin &&
			!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
								   TransactionXmin))
		{
			usable = false;
			if (too_young != NULL)
				*too_young = true;
		}
		if (usable)
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (usable)
			break;
	}
	list_free(indexes);
	return found;
}

/*
 * Opens a table of the source, with AccessShareLock, and makes sure that what
 * the source says of it is true.  It remains so while the table is open: who
 * holds the lock has seen the messages of those who held a conflicting one, and
 * those who change indexes CONCURRENTLY wait for the lock before an index goes.
 * (Not so on a standby, where any statement may find its index gone, and fail.)
 * Throws what fflag_open_relation() does, and for a column that is missing or of
 * a type that cannot be read.
 */
Relation
fflag_open_table(fflag_source *source, fflag_table_id which)
{
	fflag_table *table = &source->tables[which];
	Relation	rel = fflag_open_relation(table->relid);
	uint64		changes = table->changes;
	bool		too_young = false;

	if (table->described == changes)
		return rel;

	for (int i = 0; i < FFLAG_OWN_COLUMNS; i++)
	{
		if (columns[i].table == which)
			describe_column(source, rel, i);
	}
	for (int n = 1; n <= table->nkeys; n++)
		table->indexes[n - 1] =
			fflag_find_index(rel, n, &source->attnums[table->key],
							 &source->types[table->key], false, &too_young);
	if (which == FFLAG_FLAGS || which == FFLAG_RELATIONS)
		table->other_index = fflag_find_index(rel, 1, &source->attnums[table->other_key],
											  &source->types[table->other_key], false, &too_young);
	/* an index that is too young for this transaction may do for the next */
	table->described = too_young ? 0 : changes;
	return rel;
}

/* Does a unique index keep a table of the source from two rows of the same key? */
bool
fflag_has_unique_key(fflag_source *source, fflag_table_id which)
{
	Relation	rel = fflag_open_table(source, which);
	fflag_column key = source->tables[which].key;
	AttrNumber	attnums[2];
	Oid			types[2];
	bool		unique = false;

	for (int first = 0; first < 2 && !unique; first++)
	{
		for (int i = 0; i < 2; i++)
		{
			fflag_column c = i == first ? key : key + 1;

			attnums[i] = source->attnums[c];
			types[i] = source->types[c];
		}
		unique = OidIsValid(fflag_find_index(rel, 2, attnums, types, true, NULL));
	}
	table_close(rel, AccessShareLock);
	return unique;
}

/*
 * The planner's statistic of how many rows a table has; 0 if there is none.  Takes
 * AccessShareLock while it looks, and throws what fflag_open_relation() does.
 */
int64
fflag_estimate_rows(Oid relid)
{
	Relation	rel = fflag_open_relation(relid);
	float4		rows = rel->rd_rel->reltuples;

	table_close(rel, AccessShareLock);
	return rows > 0 ? (int64) rows : 0;
}

/* How many blocks a table has; locks and errors as above. */
BlockNumber
fflag_count_blocks(Oid relid)
{
	Relation	rel = fflag_open_relation(relid);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return blocks;
}
