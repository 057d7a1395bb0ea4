/*
 * catalog.c
 *		Where the flag tables are.
 *
 * The extension's own tables live in the schema of the function that is called,
 * wherever the user has put the extension.  One of them says whether flags are
 * read from the other two or from tables that fflag_attach() has named, and
 * what the columns are called there.  An fflag_source holds all this; what the
 * tables look like is for layout.c.
 *
 * Neither privileges nor row-level security on the tables apply to the caller.
 * That is the point: evaluation needs EXECUTE only.  Of attached tables it shows
 * what the owner of the extension's tables may see, as a view would.
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
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "compat.h"

#define TRIGGER_FUNCTION "fflag_invalidate"

/*
 * The schema in which the extension lives, given one of its functions.  Throws
 * if the function is gone.
 */
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

/*
 * A table's qualified name, quoted for use in SQL, in the current memory context;
 * NULL if there is no such table.
 */
char *
fflag_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	return name == NULL ? NULL :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
								   name);
}

/* The same of one of our own tables; throws if it is gone. */
char *
fflag_table_in_sql(Oid schema, const char *table)
{
	return fflag_relation_name(locate_table(schema, table));
}

/*
 * The trigger that announces every changed row of a table, replicated ones too,
 * or InvalidOid.  ALTER TABLE ... ENABLE TRIGGER, which a restore with
 * --disable-triggers runs, leaves triggers that do not fire for replicas.
 */
static Oid
find_marker(Oid relid, Oid schema)
{
	Relation	rel = fflag_open_relation(relid);
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

/* Where a value is in the row of FFLAG_ATTACHMENT. */
static Datum
get_attachment(Relation rel, HeapTuple tuple, const char *column, Oid type)
{
	Oid			found;
	AttrNumber	attnum = fflag_find_column(rel, column, &found);
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
	Relation	rel = fflag_open_relation(source->tables[FFLAG_ATTACHMENT].relid);
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
				*DatumGetName(get_attachment(rel, tuple, fflag_column_name(i), NAMEOID));

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
 * Throws if a table is missing, cannot be read, or may not be.
 */
fflag_source
fflag_locate(Oid schema, Snapshot snapshot)
{
	fflag_source source = fflag_new_source();

	source.tables[FFLAG_ATTACHMENT].relid =
		locate_table(schema, FFLAG_ATTACHMENT_TABLE);
	read_attachment(&source, snapshot);
	if (!source.attached)
	{
		source.tables[FFLAG_FLAGS].relid = locate_table(schema, FFLAG_FLAGS_TABLE);
		source.tables[FFLAG_USERS].relid = locate_table(schema, FFLAG_USERS_TABLE);
	}

	source.announced = true;
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		fflag_table *table = &source.tables[i];

		table->marker = find_marker(table->relid, schema);
		if (!OidIsValid(table->marker))
			source.announced = false;
	}
	return source;
}
