/*
 * catalog.c
 *		Where the flag tables are.
 *
 * The extension's own tables live in the schema of the function that is called,
 * wherever the user has put the extension.  One of them says whether flags are
 * read from the other two or from tables that fflag_attach() has named, and
 * what the columns are called there.  An fflag_source holds all this; its owner
 * counts the relcache messages of the tables in it, and what had been found out
 * about a table before the last one is found out again.
 *
 * Neither privileges nor row-level security on the tables apply to the caller.
 * That is the point: evaluation needs EXECUTE only.  Of attached tables it shows
 * what the owner of the extension's tables may see, as a view would.
 *
 * Owners may alter their tables, so columns are looked up by name and their
 * types checked.
 *
 * All of this needs an active transaction and takes AccessShareLock on the
 * tables while it looks.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "compat.h"
#include "id.h"

#define TRIGGER_FUNCTION "fflag_invalidate"

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
}			columns[FFLAG_COLUMNS] = {
	[FFLAG_COLUMN_ID] = {"id", FFLAG_FLAGS, INT8OID, id_types},
	[FFLAG_COLUMN_NAME] = {"name", FFLAG_FLAGS, TEXTOID, name_types},
	[FFLAG_COLUMN_ENABLED] = {"enabled", FFLAG_FLAGS, BOOLOID, boolean_types},
	[FFLAG_COLUMN_STAFF_ONLY] = {"staff_only", FFLAG_FLAGS, BOOLOID, boolean_types},
	[FFLAG_COLUMN_ROLLOUT] = {"rollout_percentage", FFLAG_FLAGS, NUMERICOID, rollout_types},
	[FFLAG_COLUMN_FLAG_ID] = {"flag_id", FFLAG_USERS, INT8OID, id_types},
	[FFLAG_COLUMN_USER_ID] = {"user_id", FFLAG_USERS, TEXTOID, id_types}
};

/* The schema in which the extension lives, given one of its functions. */
Oid
fflag_extension_schema(Oid function)
{
	Oid			schema = get_func_namespace(function);

	/* a statement can outlive the DROP EXTENSION of another session */
	if (!OidIsValid(schema))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("extension \"fflag\" has been dropped"),
				errhint("Create it again with CREATE EXTENSION fflag."));
	return schema;
}

static Oid
locate_table(Oid schema, const char *name)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table \"%s\" of extension \"fflag\" does not exist", name),
				errhint("If it was renamed or moved, put it back; otherwise create the extension anew."));
	return relid;
}

/* A table's qualified name, quoted for use in SQL; NULL if there is none. */
char *
fflag_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	return name == NULL ? NULL :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
								   name);
}

/* The same of one of our own tables. */
char *
fflag_table_in_sql(Oid schema, const char *table)
{
	return fflag_relation_name(locate_table(schema, table));
}

static Relation
open_table(Oid relid)
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
 * The trigger that announces every changed row of a table, replicated ones too,
 * or InvalidOid.  ALTER TABLE ... ENABLE TRIGGER, which a restore with
 * --disable-triggers runs, leaves triggers that do not fire for replicas.
 */
static Oid
find_marker(Oid relid, Oid schema)
{
	Relation	rel = open_table(relid);
	Oid			found = InvalidOid;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		const int16 events = TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_ROW |
			TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
		Oid			tgoid = trigger->tgoid;
		Oid			tgfoid = trigger->tgfoid;
		char	   *function;

		if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
			(trigger->tgtype & events) != events ||
			trigger->tgqual != NULL || trigger->tgnattr > 0)
			continue;

		/* a message that comes while looking these up may free *trigger */
		if (get_func_namespace(tgfoid) != schema)
			continue;
		function = get_func_name(tgfoid);
		if (function != NULL && strcmp(function, TRIGGER_FUNCTION) == 0)
			found = tgoid;
	}

	/*
	 * What the transaction itself has created or truncated, TRUNCATE empties in
	 * place.  That sends a message only for the sake of an index.
	 */
	if ((rel->rd_createSubid != InvalidSubTransactionId ||
		 rel->rd_newRelfilelocatorSubid != InvalidSubTransactionId) &&
		RelationGetIndexList(rel) == NIL)
		found = InvalidOid;
	table_close(rel, AccessShareLock);
	return found;
}

/* A column of the table, by name; *type is its type less domains. */
static AttrNumber
find_column(Relation rel, const char *name, Oid *type)
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

/* Where a value is in the row of FFLAG_ATTACHMENT. */
static Datum
get_attachment(Relation rel, HeapTuple tuple, const char *column, Oid type)
{
	Oid			found;
	AttrNumber	attnum = find_column(rel, column, &found);
	bool		isnull = true;
	Datum		value = 0;

	if (attnum != InvalidAttrNumber && found == type)
		value = heap_getattr(tuple, attnum, RelationGetDescr(rel), &isnull);
	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" has no column \"%s\" of type %s, or it is null",
					   RelationGetRelationName(rel), column, format_type_be(type)),
				errhint("Leave this table to fflag_attach() and fflag_detach()."));
	return value;
}

/*
 * Refuses an attached table that is no more, or that the owner of our own
 * tables may not read; so that nobody sees a table through us who could not see
 * it through a view.
 */
static void
check_attached(Oid relid, const char *name, Oid owner)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table %s, from which fflag_attach() made extension \"fflag\" read flags, does not exist",
					   name),
				errhint("Attach another, after fflag_detach(), which goes back to the extension's own tables."));
	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("role \"%s\", to whom the tables of extension \"fflag\" belong, may not read table %s",
					   GetUserNameFromId(owner, false), name),
				errhint("GRANT SELECT on it, or go back to the extension's own tables with fflag_detach()."));
	if (check_enable_rls(relid, owner, true) == RLS_ENABLED)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("row-level security restricts what role \"%s\", to whom the tables of extension \"fflag\" belong, may read of table %s",
					   GetUserNameFromId(owner, false), name),
				errhint("Let the role bypass it, or go back to the extension's own tables with fflag_detach()."));
}

static void
read_attachment(fflag_source *source, Snapshot snapshot)
{
	Relation	rel = open_table(source->tables[FFLAG_ATTACHMENT].relid);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		Oid			owner = rel->rd_rel->relowner;

		source->attached = true;
		source->tables[FFLAG_FLAGS].relid =
			DatumGetObjectId(get_attachment(rel, tuple, "flags", REGCLASSOID));
		source->tables[FFLAG_USERS].relid =
			DatumGetObjectId(get_attachment(rel, tuple, "users", REGCLASSOID));
		for (int i = 0; i < FFLAG_COLUMNS; i++)
			source->columns[i] =
				*DatumGetName(get_attachment(rel, tuple, columns[i].name, NAMEOID));

		check_attached(source->tables[FFLAG_FLAGS].relid,
					   TextDatumGetCString(get_attachment(rel, tuple, "flags_name", TEXTOID)),
					   owner);
		check_attached(source->tables[FFLAG_USERS].relid,
					   TextDatumGetCString(get_attachment(rel, tuple, "users_name", TEXTOID)),
					   owner);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Where the flags are, as the snapshot sees it, and whether a cache of their
 * content can be kept up to date.  All of this may change; whoever keeps the
 * answer has to ask again after each relcache message of one of the tables.
 */
fflag_source
fflag_locate(Oid schema, Snapshot snapshot)
{
	fflag_source source = {
		.tables[FFLAG_FLAGS] = {.key = FFLAG_COLUMN_NAME,.nkeys = 1},
		.tables[FFLAG_USERS] = {.key = FFLAG_COLUMN_FLAG_ID,.nkeys = 2}
	};

	source.tables[FFLAG_ATTACHMENT].relid =
		locate_table(schema, FFLAG_ATTACHMENT_TABLE);
	read_attachment(&source, snapshot);
	if (!source.attached)
	{
		source.tables[FFLAG_FLAGS].relid = locate_table(schema, FFLAG_FLAGS_TABLE);
		source.tables[FFLAG_USERS].relid = locate_table(schema, FFLAG_USERS_TABLE);
		for (int i = 0; i < FFLAG_COLUMNS; i++)
			namestrcpy(&source.columns[i], columns[i].name);
	}

	source.announced = true;
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		fflag_table *table = &source.tables[i];

		table->changes = 1;
		table->marker = find_marker(table->relid, schema);
		if (!OidIsValid(table->marker))
			source.announced = false;
	}
	return source;
}

/* What a column of our own tables is called; and an argument of fflag_attach(). */
const char *
fflag_column_name(fflag_column column)
{
	return columns[column].name;
}

static bool
is_one_of(Oid type, const Oid *types)
{
	while (OidIsValid(*types) && *types != type)
		types++;
	return *types == type;
}

/* Finds a column of the source and checks its type. */
static void
describe_column(fflag_source *source, Relation rel, fflag_column c)
{
	const char *name = NameStr(source->columns[c]);
	Oid			type = InvalidOid;
	AttrNumber	attnum = find_column(rel, name, &type);
	StringInfoData types;

	/* no row stores it: it would be read as null */
	if (attnum != InvalidAttrNumber &&
		TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("column \"%s\" of table \"%s\" is generated when it is read",
					   name, RelationGetRelationName(rel)),
				errhint("Extension \"fflag\" needs one that is stored."));

	source->attnums[c] = attnum;
	source->types[c] = type;
	if (attnum != InvalidAttrNumber &&
		(source->attached ? is_one_of(type, columns[c].attached_types) :
		 type == columns[c].type || (type == VARCHAROID && columns[c].type == TEXTOID)))
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
				errhint("Name the column with argument \"%s\" of fflag_attach(); it has type %s.",
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
 * A btree index that begins with the given columns, ordered as their types are
 * by default, or InvalidOid.  What the planner would not use, we do not: an
 * index that is being built or rebuilt, or is too young for this transaction's
 * snapshots.  If unique, then it must be, in these columns.
 */
Oid
fflag_find_index(Relation rel, int nkeys, const AttrNumber *attnums,
				 const Oid *types, bool unique)
{
	Oid			found = InvalidOid;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		/* a predicate is not even looked at: that would run its functions */
		bool		usable = form->indisvalid &&
			form->indnkeyatts >= nkeys &&
			(!unique || (form->indisunique && form->indnkeyatts == nkeys)) &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
			(!form->indcheckxmin ||
			 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
								   TransactionXmin));

		for (int i = 0; usable && i < nkeys; i++)
		{
			Form_pg_attribute att =
				TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1);

			usable = form->indkey.values[i] == attnums[i] &&
				index->rd_opfamily[i] ==
				lookup_type_cache(types[i], TYPECACHE_BTREE_OPFAMILY)->btree_opf &&
				index->rd_indcollation[i] == att->attcollation;
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
 */
Relation
fflag_open_table(fflag_source *source, fflag_table_id which)
{
	fflag_table *table = &source->tables[which];
	Relation	rel = open_table(table->relid);
	uint64		changes = table->changes;

	if (table->described == changes)
		return rel;

	for (int i = 0; i < FFLAG_COLUMNS; i++)
	{
		if (columns[i].table == which)
			describe_column(source, rel, i);
	}
	for (int n = 1; n <= table->nkeys; n++)
		table->indexes[n - 1] =
			fflag_find_index(rel, n, &source->attnums[table->key],
							 &source->types[table->key], false);
	table->described = changes;
	return rel;
}

/* The planner's statistic of how many rows a table has; 0 if there is none. */
int64
fflag_estimate_rows(Oid relid)
{
	Relation	rel = open_table(relid);
	float4		rows = rel->rd_rel->reltuples;

	table_close(rel, AccessShareLock);
	return rows > 0 ? (int64) rows : 0;
}
