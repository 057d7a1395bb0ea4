/*
 * attachment.c
 *		Which tables are attached: the one row that says so, and what it means.
 *
 * The row has the name and the OID of each table.  In the database where it was
 * written the OID follows a table that is renamed.  Rows travel, though, in dumps
 * and by replication, and then only the name means something.
 *
 * Nobody may be shown a table whose owner did not agree to that.  The owner agrees
 * by calling fflag_attach(), which alone writes the row, or by a trigger that fires
 * always, which nobody else can make.  So a table counts as attached if
 *
 * - it has the OID and the name, even if its triggers are gone: a snapshot from
 *   before fflag_detach() sees the row and not what the catalogs said then; or
 * - it has the OID and our trigger: it was renamed; or
 * - it has the name and our trigger, which fires always.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "attachment.h"
#include "citus.h"
#include "compat.h"
#include "extension.h"

/* Where a value is in the row. */
static Datum
get_value(Relation rel, HeapTuple tuple, const char *column, Oid type)
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
 * What a row of the open table says, in the current memory context.  Throws if the
 * table lacks a column, or the row a value.
 */
fflag_attachment
fflag_parse_attachment(Relation rel, HeapTuple tuple)
{
	static const char *const names[FFLAG_ATTACHED] = {"flags", "users"};
	static const char *const oids[FFLAG_ATTACHED] = {"flags_oid", "users_oid"};
	fflag_attachment result;

	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		result.names[i] =
			TextDatumGetCString(get_value(rel, tuple, names[i], TEXTOID));
		result.oids[i] =
			DatumGetObjectId(get_value(rel, tuple, oids[i], OIDOID));
	}
	for (int i = 0; i < FFLAG_COLUMNS; i++)
		result.columns[i] =
			*DatumGetName(get_value(rel, tuple, fflag_column_name(i), NAMEOID));
	return result;
}

/* What the row says that the snapshot sees; false if it sees none. */
bool
fflag_read_attachment(Relation rel, Snapshot snapshot, fflag_attachment *result)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		*result = fflag_parse_attachment(rel, tuple);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/* Do both name the same tables and columns?  The OIDs may be of two databases. */
bool
fflag_same_attachment(const fflag_attachment *a, const fflag_attachment *b)
{
	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	}
	for (int i = 0; i < FFLAG_COLUMNS; i++)
	{
		if (strcmp(NameStr(a->columns[i]), NameStr(b->columns[i])) != 0)
			return false;
	}
	return true;
}

/* The relation that has the name of one of the tables, or InvalidOid. */
Oid
fflag_find_named(const fflag_attachment *attachment, int which)
{
	List	   *name = textToQualifiedNameList(cstring_to_text(attachment->names[which]));
	Oid			schema = InvalidOid;

	/* the caller's privileges and search_path have no say */
	if (list_length(name) == 2)
		schema = get_namespace_oid(strVal(linitial(name)), true);
	return OidIsValid(schema) ?
		get_relname_relid(strVal(lsecond(name)), schema) : InvalidOid;
}

/*
 * Does the relation have a trigger that calls the function?  If always is
 * true, only an ENABLE ALWAYS trigger counts.  Looks into the catalog only and
 * takes no lock on the relation, because it may be anything.
 */
static bool
has_trigger(Oid table, Oid function, bool always)
{
	Oid			relid = fflag_find_rows(table);
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	bool		found = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);

		found = form->tgfoid == function &&
			(!always || form->tgenabled == TRIGGER_FIRES_ALWAYS);
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return found;
}

/*
 * One of the attached tables, or InvalidOid if none counts; see the top of
 * this file.  The function is fflag_invalidate().  What has the rows and the
 * triggers may be another table, which fflag_find_rows() finds.
 *
 * If the row comes from another database, its OID may belong to anything here:
 * to one of our own tables, or to the other attached one.
 */
Oid
fflag_find_attached(const fflag_attachment *attachment, int which, Oid function)
{
	Oid			oid = attachment->oids[which];
	Oid			named = fflag_find_named(attachment, which);
	Oid			other = fflag_find_named(attachment, 1 - which);

	if (!OidIsValid(function))
		return InvalidOid;
	if (OidIsValid(named) && named == oid)
		return oid;
	if (oid != other && !fflag_is_own(RelationRelationId, oid) &&
		has_trigger(oid, function, false))
		return oid;
	if (OidIsValid(named) && has_trigger(named, function, true))
		return named;
	return InvalidOid;
}

/* The table of a trigger that the snapshot sees, and the trigger's name. */
static Oid
find_table_of_trigger(Oid trigger, Snapshot snapshot, NameData *name)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	Oid			relid = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(triggers, TriggerOidIndexId, true, snapshot, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		relid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		*name = ((Form_pg_trigger) GETSTRUCT(tuple))->tgname;
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return relid;
}

/*
 * Called if flags are read from our own tables.  Warns, once a session, of
 * another table that has our trigger: a schema-only dump restores the trigger
 * without the row, and then all flags seem to be gone.
 *
 * Trigger and row come and go together, but the statement's snapshot may be
 * older than such a change and the catalog snapshot newer.  So both are looked
 * up here under one snapshot.
 */
void
fflag_warn_of_strays(const fflag_source *source, Oid function)
{
	static bool warned = false;
	Oid			relid = InvalidOid;
	NameData	trigger;
	Relation	depend;
	Relation	rel;
	Snapshot	now;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	fflag_attachment attachment;
	char	   *name;

	/* a worker ends with its query, so workers would warn at each query */
	if (warned || IsParallelWorker() || !OidIsValid(function))
		return;

	rel = fflag_open_relation(source->tables[FFLAG_ATTACHMENT].relid);
	now = RegisterSnapshot(GetNonHistoricCatalogSnapshot(RelationGetRelid(rel)));
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, now, 2, keys);
	while (!OidIsValid(relid) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == TriggerRelationId)
			relid = find_table_of_trigger(form->objid, now, &trigger);
		if (OidIsValid(relid) && fflag_is_own(RelationRelationId, relid))
			relid = InvalidOid;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);

	name = OidIsValid(relid) ? fflag_relation_name(relid) : NULL;
	if (name != NULL && !fflag_read_attachment(rel, now, &attachment))
	{
		Oid			named = fflag_find_named_relid(relid);

		warned = true;
		ereport(WARNING,
				errmsg("table %s has a trigger of extension \"fflag\", but no tables are attached",
					   fflag_relation_name(named)),
				errdetail("Flags are read from the extension's own tables."),
				named != relid ?
				errhint("Attach the table again with fflag_attach().") :
				errhint("Attach the table again with fflag_attach(), or DROP TRIGGER %s ON %s.",
						quote_identifier(NameStr(trigger)), name));
	}
	UnregisterSnapshot(now);
	table_close(rel, AccessShareLock);
}
