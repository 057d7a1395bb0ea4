/*
 * catalog.c
 *		Where the flag tables are, and reading them.
 *
 * The tables live in the schema of the function that is called, wherever the
 * user has put the extension; neither their OIDs nor those of their indexes
 * are kept here between two calls, for they may change at any time.
 *
 * Rows are read with the server's own scan routines and under the snapshot
 * that the caller names.  No SQL is run: nothing depends on a search_path, and
 * neither privileges nor row-level security on the tables apply.  That is the
 * point: evaluation needs EXECUTE only.  Owners may alter their tables, so each
 * reading looks the columns up by name and checks their types.
 *
 * All of this needs an active transaction and takes AccessShareLock on the
 * tables while it reads.  Results are in the current memory context.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bucket.h"
#include "catalog.h"
#include "compat.h"

#define TRIGGER_FUNCTION "fflag_invalidate"

/* The columns of feature_flag that evaluation reads. */
typedef struct flag_columns
{
	AttrNumber	id;
	AttrNumber	name;
	AttrNumber	enabled;
	AttrNumber	staff_only;
	AttrNumber	rollout;
} flag_columns;

/* And of feature_flag_user, in the order of its primary key. */
typedef struct user_columns
{
	AttrNumber	flag_id;
	AttrNumber	user_id;
} user_columns;

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

/* The schema-qualified, quoted name of one of our tables, for use in SQL. */
char *
fflag_table_in_sql(Oid schema, const char *table)
{
	(void) locate_table(schema, table);
	return quote_qualified_identifier(get_namespace_name(schema), table);
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
				errhint("Extension \"fflag\" needs the table that it created under this name."));
	return rel;
}

/*
 * Does an enabled trigger announce every changed row, replicated ones too?
 * ALTER TABLE ... ENABLE TRIGGER, which a restore with --disable-triggers
 * runs, leaves triggers that do not fire for replicas.
 */
static bool
is_announced(Oid relid, Oid schema)
{
	Relation	rel = open_table(relid);
	bool		found = false;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		const int16 events = TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_ROW |
			TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
		char	   *function;

		if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
			(trigger->tgtype & events) != events ||
			trigger->tgqual != NULL || trigger->tgnattr > 0 ||
			get_func_namespace(trigger->tgfoid) != schema)
			continue;
		function = get_func_name(trigger->tgfoid);
		if (function != NULL && strcmp(function, TRIGGER_FUNCTION) == 0)
			found = true;
	}
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Finds the tables, and whether a cache of their content can be kept up to
 * date.  Both may change; whoever keeps the answer has to ask again after each
 * relcache invalidation of either table.
 */
fflag_tables
fflag_locate_tables(Oid schema)
{
	fflag_tables tables;

	tables.flags = locate_table(schema, FFLAG_FLAGS_TABLE);
	tables.users = locate_table(schema, FFLAG_USERS_TABLE);
	tables.announced = is_announced(tables.flags, schema) &&
		is_announced(tables.users, schema);
	return tables;
}

static AttrNumber
find_column(Relation rel, const char *name, Oid type, Oid or_type)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		if (att->atttypid != type && att->atttypid != or_type)
			ereport(ERROR,
					errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column \"%s\" of table \"%s\" has type %s",
						   name, RelationGetRelationName(rel),
						   format_type_be(att->atttypid)),
					errhint("Extension \"fflag\" needs type %s; change it back with ALTER TABLE.",
							format_type_be(type)));
		return att->attnum;
	}
	ereport(ERROR,
			errcode(ERRCODE_UNDEFINED_COLUMN),
			errmsg("column \"%s\" of table \"%s\" does not exist",
				   name, RelationGetRelationName(rel)),
			errhint("Extension \"fflag\" needs it, with type %s; put it back with ALTER TABLE.",
					format_type_be(type)));
	return InvalidAttrNumber;	/* not reached */
}

static flag_columns
find_flag_columns(Relation rel)
{
	return (flag_columns)
	{
		.id = find_column(rel, "id", INT8OID, InvalidOid),
		.name = find_column(rel, "name", VARCHAROID, TEXTOID),
		.enabled = find_column(rel, "enabled", BOOLOID, InvalidOid),
		.staff_only = find_column(rel, "staff_only", BOOLOID, InvalidOid),
		.rollout = find_column(rel, "rollout_percentage", NUMERICOID, InvalidOid)
	};
}

static user_columns
find_user_columns(Relation rel)
{
	return (user_columns)
	{
		.flag_id = find_column(rel, "flag_id", INT8OID, InvalidOid),
		.user_id = find_column(rel, "user_id", TEXTOID, VARCHAROID)
	};
}

/*
 * A btree index that begins with the given columns, ordered as the types are
 * by default, or InvalidOid.  What the planner would not use, we do not: an
 * index that is being built or rebuilt, or is too young for this transaction's
 * snapshots.
 */
static Oid
find_index(Relation rel, int nkeys, const AttrNumber *columns)
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
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
			(!form->indcheckxmin ||
			 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
								   TransactionXmin));

		for (int i = 0; usable && i < nkeys; i++)
		{
			Form_pg_attribute att =
				TupleDescAttr(RelationGetDescr(rel), columns[i] - 1);

			usable = form->indkey.values[i] == columns[i] &&
				index->rd_opfamily[i] == (att->atttypid == INT8OID ?
										  INTEGER_BTREE_FAM_OID :
										  TEXT_BTREE_FAM_OID) &&
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
 * Starts a scan for rows in which columns[i] equals values[i].  The columns
 * are bigint or text, which the operators follow.
 */
static SysScanDesc
begin_search(Relation rel, int nkeys, const AttrNumber *columns,
			 const Datum *values, Snapshot snapshot)
{
	ScanKeyData keys[2];
	Oid			index = find_index(rel, nkeys, columns);

	Assert(nkeys <= (int) lengthof(keys));
	for (int i = 0; i < nkeys; i++)
	{
		Form_pg_attribute att =
			TupleDescAttr(RelationGetDescr(rel), columns[i] - 1);

		ScanKeyEntryInitialize(&keys[i], 0, columns[i],
							   BTEqualStrategyNumber, InvalidOid,
							   att->attcollation,
							   att->atttypid == INT8OID ? F_INT8EQ : F_TEXTEQ,
							   values[i]);
	}
	return systable_beginscan(rel, index, OidIsValid(index), snapshot,
							  nkeys, keys);
}

/*
 * Text in UTF-8, which is what gets hashed; *len is updated.  In a database
 * that knows of no encoding, the bytes as they are.
 */
const char *
fflag_to_utf8(const char *text, size_t *len)
{
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return text;
	utf8 = pg_server_to_any(text, (int) *len, PG_UTF8);
	if (utf8 != text)
		*len = strlen(utf8);
	return utf8;
}

static Datum
get_column(Relation rel, HeapTuple tuple, AttrNumber column, const char *flag)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);

	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("column \"%s\" of flag \"%s\" is null",
					   NameStr(TupleDescAttr(RelationGetDescr(rel), column - 1)->attname),
					   flag),
				errhint("Set it, and put the column's NOT NULL constraint back."));
	return value;
}

/*
 * A percentage in thousandths, exactly: what cannot be represented is refused,
 * whether somebody is about to write it or it has slipped into the table.
 */
int
fflag_check_percentage(Datum percentage, const char *flag)
{
	Numeric		value = DatumGetNumeric(percentage);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	Datum		full = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS));
	Datum		scale = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS / 100));
	Datum		scaled;

	/* NaN sorts above all numbers */
	scaled = numeric_is_inf(value) ? percentage :
		DirectFunctionCall2(numeric_mul, percentage, scale);
	if (!DatumGetBool(DirectFunctionCall2(numeric_ge, scaled, zero)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_le, scaled, full)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_eq, scaled,
										  DirectFunctionCall2(numeric_trunc, scaled,
															  Int32GetDatum(0)))))
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("invalid rollout_percentage %s for flag \"%s\"",
					   DatumGetCString(DirectFunctionCall1(numeric_out, percentage)),
					   flag),
				errhint("A rollout_percentage is a number from 0 to 100 with at most three decimals."));
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, scaled));
}

/* Refuses what cannot be a flag's name; NULL too. */
void
fflag_check_name(const char *name)
{
	size_t		len;

	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("flag name must not be null"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (name[0] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag name \"\" is empty"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (pg_mbstrlen(name) > FFLAG_NAME_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("flag name \"%s\" is too long", name),
				errdetail("It has %d characters.", pg_mbstrlen(name)),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));

	/* a name that cannot be hashed must not get into the table */
	len = strlen(name);
	(void) fflag_to_utf8(name, &len);
}

static void
read_row(Relation rel, HeapTuple tuple, const flag_columns *columns,
		 fflag_row *row)
{
	Datum		name_datum;
	text	   *name_text;
	char	   *name;
	size_t		utf8_len;

	name_datum = get_column(rel, tuple, columns->name, "");
	name_text = DatumGetTextPP(name_datum);
	name = text_to_cstring(name_text);

	row->id = DatumGetInt64(get_column(rel, tuple, columns->id, name));
	row->name = name;
	row->name_len = strlen(name);
	row->flag.known = true;
	row->flag.enabled =
		DatumGetBool(get_column(rel, tuple, columns->enabled, name));
	row->flag.staff_only =
		DatumGetBool(get_column(rel, tuple, columns->staff_only, name));
	row->flag.rollout =
		fflag_check_percentage(get_column(rel, tuple, columns->rollout, name), name);
	utf8_len = row->name_len;
	row->flag.utf8_name = fflag_to_utf8(name, &utf8_len);
	row->flag.utf8_name_len = utf8_len;
}

/* Reads the flag of a name; false if there is none. */
bool
fflag_read_flag(Oid flags, const char *name, int name_len,
				Snapshot snapshot, fflag_row *row)
{
	Relation	rel = open_table(flags);
	flag_columns columns = find_flag_columns(rel);
	Datum		key = PointerGetDatum(cstring_to_text_with_len(name, name_len));
	SysScanDesc scan = begin_search(rel, 1, &columns.name, &key, snapshot);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		read_row(rel, tuple, &columns, row);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* Reads all flags, in no particular order. */
void
fflag_read_flags(Oid flags, Snapshot snapshot, fflag_row_sink sink, void *arg)
{
	Relation	rel = open_table(flags);
	flag_columns columns = find_flag_columns(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		fflag_row	row;

		CHECK_FOR_INTERRUPTS();
		read_row(rel, tuple, &columns, &row);
		if (!sink(&row, arg))
			break;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Is the user on the flag's allowlist? */
bool
fflag_read_listed(Oid users, int64 flag_id, const char *user, int len,
				  Snapshot snapshot)
{
	Relation	rel = open_table(users);
	user_columns columns = find_user_columns(rel);
	AttrNumber	attnums[2] = {columns.flag_id, columns.user_id};
	Datum		values[2] = {
		Int64GetDatum(flag_id),
		PointerGetDatum(cstring_to_text_with_len(user, len))
	};
	SysScanDesc scan = begin_search(rel, 2, attnums, values, snapshot);
	bool		listed = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return listed;
}

/* Reads a flag's allowlist until its end or until sink has had enough. */
void
fflag_read_allowlist(Oid users, int64 flag_id, Snapshot snapshot,
					 fflag_user_sink sink, void *arg)
{
	Relation	rel = open_table(users);
	user_columns columns = find_user_columns(rel);
	Datum		key = Int64GetDatum(flag_id);
	SysScanDesc scan = begin_search(rel, 1, &columns.flag_id, &key, snapshot);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, columns.user_id,
										 RelationGetDescr(rel), &isnull);
		text	   *user;
		bool		more;

		CHECK_FOR_INTERRUPTS();
		if (isnull)				/* nobody is never listed */
			continue;
		user = DatumGetTextPP(datum);
		more = sink(VARDATA_ANY(user), VARSIZE_ANY_EXHDR(user), arg);
		if ((Pointer) user != DatumGetPointer(datum))
			pfree(user);
		if (!more)
			break;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
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
