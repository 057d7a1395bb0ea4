/*
 * citus.c
 *		Tables that Citus has distributed: which table of this node has their rows.
 *
 * What users know as such a table is on each node a shell, which is empty or has
 * rows from before it was distributed.  Its rows are in shards, which are ordinary
 * tables.  Of a reference table, each node has all rows in one shard.  That shard is
 * read here, and has the triggers.  Any other distributed table is refused.
 *
 * Citus' catalogs are found by their names and columns, so that fflag needs nothing
 * of Citus to be built, nor to run where there is no Citus.  They are read as the
 * server's catalogs are, under a fresh snapshot.  Citus sends a relcache message for
 * the shell with each change of its rows there.
 *
 * All of this needs an active transaction, and takes AccessShareLock on these
 * catalogs while it looks.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "citus.h"
#include "extension.h"
#include "layout.h"

#define REFERENCE_TABLE 't'		/* replicated by two-phase commit */
#define ACTIVE 1

/* A column of a catalog, an integer of some size, and which one is wanted there. */
typedef struct fflag_condition
{
	const char *column;
	int64		value;
} fflag_condition;

/* Opens one of Citus' catalogs; NULL if there is no Citus in this database. */
static Relation
open_catalog(const char *name)
{
	Oid			relid = get_relname_relid(name, PG_CATALOG_NAMESPACE);
	Oid			citus;

	if (!OidIsValid(relid))
		return NULL;
	/* whoever may modify the catalogs can give another table its name */
	citus = get_extension_oid("citus", true);
	if (!OidIsValid(citus) || getExtensionOfObject(RelationRelationId, relid) != citus)
		return NULL;
	return try_table_open(relid, AccessShareLock);
}

static AttrNumber
find_column(Relation catalog, const char *column, Oid *type)
{
	AttrNumber	attnum = fflag_find_column(catalog, column, type);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("column \"%s\" of table \"%s\" of extension \"citus\" does not exist",
					   column, RelationGetRelationName(catalog)),
				errhint("Look for a version of fflag that knows this version of Citus."));
	return attnum;
}

static int64
get_integer(Relation catalog, HeapTuple tuple, const char *column)
{
	Oid			type;
	AttrNumber	attnum = find_column(catalog, column, &type);
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, RelationGetDescr(catalog), &isnull);

	if (isnull)
		return -1;
	switch (type)
	{
		case INT8OID:
			return DatumGetInt64(value);
		case INT4OID:
			return DatumGetInt32(value);
		case CHAROID:
			return DatumGetChar(value);
		default:				/* regclass */
			return DatumGetObjectId(value);
	}
}

/*
 * Is there a row in one of Citus' catalogs that meets the conditions?  If so, *result
 * is what it has in the column that is wanted, if any.  The first condition is
 * looked up in an index if there is one: these tables may be long.
 */
static bool
look_up(const char *catalog, int n, const fflag_condition *conditions,
		const char *wanted, int64 *result)
{
	Relation	rel = open_catalog(catalog);
	Oid			index = InvalidOid;
	bool		found = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (rel == NULL)
		return false;
	if (n > 0)
	{
		Oid			type;
		AttrNumber	attnum = find_column(rel, conditions[0].column, &type);

		index = fflag_find_index(rel, 1, &attnum, &type, false, NULL);
		ScanKeyEntryInitializeWithInfo(&key, 0, attnum, BTEqualStrategyNumber,
									   InvalidOid, InvalidOid,
									   &lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo,
									   type == INT8OID ?
									   Int64GetDatum(conditions[0].value) :
									   ObjectIdGetDatum(conditions[0].value));
	}
	scan = systable_beginscan(rel, index, OidIsValid(index), NULL, n > 0, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		found = true;
		for (int i = 1; i < n; i++)
			found &= get_integer(rel, tuple, conditions[i].column) == conditions[i].value;
		if (found && wanted != NULL)
			*result = get_integer(rel, tuple, wanted);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The table here that has the name of a shard of a table, or InvalidOid. */
static Oid
find_by_name(Oid shell, int64 shard)
{
	/* the third argument came with 13.1: whether to leave out a schema */
	static const Oid types[] = {REGCLASSOID, INT8OID, BOOLOID};
	List	   *shard_name = list_make2(makeString("pg_catalog"), makeString("shard_name"));
	Oid			function = LookupFuncName(shard_name, 3, types, true);
	Datum		name;

	/* Citus cuts long names in its own way */
	name = OidIsValid(function) ?
		OidFunctionCall3(function, ObjectIdGetDatum(shell), Int64GetDatum(shard),
						 BoolGetDatum(false)) :
		OidFunctionCall2(LookupFuncName(shard_name, 2, types, false),
						 ObjectIdGetDatum(shell), Int64GetDatum(shard));
	return get_relname_relid(strVal(llast(textToQualifiedNameList(DatumGetTextPP(name)))),
							 get_rel_namespace(shell));
}

/* Has Citus distributed this table?  *is_reference: as a reference table. */
static bool
is_shell(Oid relid, bool *is_reference)
{
	fflag_condition table = {"logicalrelid", relid};
	int64		replication;

	if (!look_up("pg_dist_partition", 1, &table, "repmodel", &replication))
		return false;
	*is_reference = replication == REFERENCE_TABLE;
	return true;
}

/*
 * The table of this node that has all rows of a table that users name: mostly itself;
 * of a reference table its shard; InvalidOid if there is none, or no such table.
 *
 * A shard may be there and count no longer: of a node that was disabled, and has been
 * activated without a copy, the old one is left.
 */
Oid
fflag_find_rows(Oid relid)
{
	bool		is_reference;
	fflag_condition table = {"logicalrelid", relid};
	fflag_condition copy[] = {{"shardid", 0}, {"groupid", 0}, {"shardstate", ACTIVE}};

	if (!OidIsValid(relid) || !is_shell(relid, &is_reference))
		return relid;
	if (is_reference &&
		look_up("pg_dist_shard", 1, &table, "shardid", &copy[0].value) &&
		look_up("pg_dist_local_group", 0, NULL, "groupid", &copy[1].value) &&
		look_up("pg_dist_placement", lengthof(copy), copy, NULL, NULL))
		return find_by_name(relid, copy[0].value);
	return InvalidOid;
}

/*
 * Which table has the rows of one that exists and from which flags are to be read;
 * throws if they are not all here.  An error and not a shell that seems to be empty: that would
 * be wrong answers.
 */
Oid
fflag_require_rows(Oid relid)
{
	Oid			rows = fflag_find_rows(relid);
	bool		is_reference;

	if (OidIsValid(rows) || !is_shell(relid, &is_reference))
		return rows;
	if (!is_reference)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("table %s, from which flags are to be read, is distributed by Citus, and no reference table",
					   fflag_relation_name(relid)),
				errdetail("Not every node has all of its rows."),
				errhint("Call undistribute_table() and create_reference_table() for it, then fflag_attach() on every node."));
	ereport(ERROR,
			errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("reference table %s, from which flags are to be read, has no copy on this node",
				   fflag_relation_name(relid)),
			errhint("Call replicate_reference_tables() on the coordinator, after citus_set_coordinator_host() if the copy is missing there, then fflag_attach() on every node."));
	return InvalidOid;			/* not reached */
}

/* Refuses one of our own tables if Citus has distributed it. */
void
fflag_refuse_shell(Oid relid)
{
	bool		is_reference;

	if (is_shell(relid, &is_reference))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("table %s of extension \"fflag\" is distributed by Citus",
					   fflag_relation_name(relid)),
				errhint("Copy its rows to a table of your own, make that a reference table, and attach it with fflag_attach()."));
}

/*
 * The table that users name: mostly this one; if it is a shard, present or past, the
 * distributed table.
 */
Oid
fflag_find_named_relid(Oid relid)
{
	char	   *name = get_rel_name(relid);
	const char *number = name == NULL ? NULL : strrchr(name, '_');
	fflag_condition shard = {"shardid", 0};
	int64		shell;

	if (number != NULL)
		shard.value = strtoll(number + 1, NULL, 10);
	return shard.value > 0 &&
		look_up("pg_dist_shard", 1, &shard, "logicalrelid", &shell) &&
		find_by_name(shell, shard.value) == relid ? shell : relid;
}
