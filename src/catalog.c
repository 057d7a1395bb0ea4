/*
 * catalog.c
 *		Where the flag tables are, and reading them.
 *
 * The extension's own tables live in the schema of the function that is called,
 * wherever the user has put the extension.  One of them says whether flags are
 * read from the other two or from tables that fflag_attach() has named, and
 * what the columns are called there.  An fflag_source holds all this; its owner
 * counts the relcache messages of the tables in it, and what had been found out
 * about a table before the last one is found out again.
 *
 * Rows are read with the server's own scan routines and under the snapshot
 * that the caller names.  No SQL is run: nothing depends on a search_path, and
 * neither privileges nor row-level security on the tables apply to the caller.
 * That is the point: evaluation needs EXECUTE only.  Of attached tables it shows
 * what the owner of the extension's tables may see, as a view would.
 *
 * Owners may alter their tables, so columns are looked up by name and their
 * types checked.  Ids and names are compared by their canonical text.
 *
 * All of this needs an active transaction and takes AccessShareLock on the
 * tables while it reads.  Results are in the current memory context.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "bucket.h"
#include "catalog.h"
#include "compat.h"

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

/* The key by which rows of a table are looked up: so many columns from here. */
static const struct
{
	fflag_column first;
	int			count;
}			table_keys[FFLAG_TABLES] = {
	[FFLAG_FLAGS] = {FFLAG_COLUMN_NAME, 1},
	[FFLAG_USERS] = {FFLAG_COLUMN_FLAG_ID, 2}
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
			found = true;
	}

	/*
	 * What the transaction itself has created or truncated, TRUNCATE empties in
	 * place.  That sends a message only for the sake of an index.
	 */
	if ((rel->rd_createSubid != InvalidSubTransactionId ||
		 rel->rd_newRelfilelocatorSubid != InvalidSubTransactionId) &&
		RelationGetIndexList(rel) == NIL)
		found = false;
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
 * The table came with version 1.2, as did fflag_detach().  Where an older version
 * is installed, whoever may create tables in its schema could create one of this
 * name, and say what the flags are; but not a function in C.
 */
static Oid
locate_attachment(Oid schema)
{
	HeapTuple	detach = SearchSysCache3(PROCNAMEARGSNSP,
										 CStringGetDatum("fflag_detach"),
										 PointerGetDatum(buildoidvector(NULL, 0)),
										 ObjectIdGetDatum(schema));
	bool		ours = HeapTupleIsValid(detach) &&
		((Form_pg_proc) GETSTRUCT(detach))->prolang == ClanguageId;

	if (HeapTupleIsValid(detach))
		ReleaseSysCache(detach);
	return ours ? locate_table(schema, FFLAG_ATTACHMENT_TABLE) : InvalidOid;
}

/*
 * Where the flags are, as the snapshot sees it, and whether a cache of their
 * content can be kept up to date.  All of this may change; whoever keeps the
 * answer has to ask again after each relcache message of one of the tables.
 */
fflag_source
fflag_locate(Oid schema, Snapshot snapshot)
{
	fflag_source source = {0};

	source.tables[FFLAG_ATTACHMENT].relid = locate_attachment(schema);
	if (OidIsValid(source.tables[FFLAG_ATTACHMENT].relid))
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
		if (OidIsValid(table->relid) && !is_announced(table->relid, schema))
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
static Oid
find_index(Relation rel, int nkeys, const AttrNumber *attnums, const Oid *types,
		   bool unique)
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
 * Opens a table of the source and makes sure that what the source says of it is
 * true.  It remains so while the table is open: who holds the lock has seen the
 * messages of those who held a conflicting one, and those who change indexes
 * CONCURRENTLY wait for the lock before an index goes.
 */
static Relation
open_described(fflag_source *source, fflag_table_id which)
{
	fflag_table *table = &source->tables[which];
	fflag_column first = table_keys[which].first;
	Relation	rel = open_table(table->relid);
	uint64		changes = table->changes;

	if (table->described == changes)
		return rel;

	for (int i = 0; i < FFLAG_COLUMNS; i++)
	{
		if (columns[i].table == which)
			describe_column(source, rel, i);
	}
	for (int n = 1; n <= table_keys[which].count; n++)
		table->indexes[n - 1] = find_index(rel, n, &source->attnums[first],
										   &source->types[first], false);
	table->described = changes;
	return rel;
}

/* Ids of both types may have the same text. */
static bool
are_comparable(Oid a, Oid b)
{
	if (is_one_of(a, name_types))
		return is_one_of(b, name_types);
	return (a == UUIDOID) == (b == UUIDOID) && !is_one_of(b, name_types);
}

static void
check_attachable(Relation rel)
{
	if (!RelationIsPermanent(rel))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("table \"%s\" is unlogged", RelationGetRelationName(rel)),
				errhint("A crash empties it, and standbys cannot read it; use a permanent table."));
	if (find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("other tables inherit from table \"%s\"",
					   RelationGetRelationName(rel)),
				errhint("Their rows would not be read; attach a table without children."));
}

/*
 * For fflag_attach(): refuses tables that evaluation could not read, or where it
 * could not tell one flag from another.
 */
void
fflag_check_source(fflag_source *source)
{
	Relation	flags = open_described(source, FFLAG_FLAGS);
	Relation	users = open_described(source, FFLAG_USERS);
	const char *name = NameStr(source->columns[FFLAG_COLUMN_NAME]);
	const char *id = NameStr(source->columns[FFLAG_COLUMN_ID]);
	const char *flag_id = NameStr(source->columns[FFLAG_COLUMN_FLAG_ID]);

	if (!OidIsValid(find_index(flags, 1, &source->attnums[FFLAG_COLUMN_NAME],
							   &source->types[FFLAG_COLUMN_NAME], true)))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("column \"%s\" of table \"%s\" is not unique",
					   name, RelationGetRelationName(flags)),
				errhint("Create a unique index on the column."));
	if (!are_comparable(source->types[FFLAG_COLUMN_ID],
						source->types[FFLAG_COLUMN_FLAG_ID]))
		ereport(ERROR,
				errcode(ERRCODE_DATATYPE_MISMATCH),
				errmsg("column \"%s\" of table \"%s\" has type %s, and \"%s\" of \"%s\" type %s",
					   flag_id, RelationGetRelationName(users),
					   format_type_be(source->types[FFLAG_COLUMN_FLAG_ID]),
					   id, RelationGetRelationName(flags),
					   format_type_be(source->types[FFLAG_COLUMN_ID])),
				errhint("The former has to refer to the latter."));
	check_attachable(flags);
	check_attachable(users);
	if (!OidIsValid(source->tables[FFLAG_USERS].indexes[1]))
		ereport(WARNING,
				errmsg("table \"%s\" has no index on (\"%s\", \"%s\")",
					   RelationGetRelationName(users), flag_id,
					   NameStr(source->columns[FFLAG_COLUMN_USER_ID])),
				errhint("Without one, looking up who is on a long allowlist reads the whole table."));
	table_close(users, AccessShareLock);
	table_close(flags, AccessShareLock);
}

/*
 * The id of this canonical text as a value of a column's type; false if none of
 * the type's values has this text.
 */
static bool
key_from_text(Oid type, const char *text, int len, Datum *key)
{
	char		room[FFLAG_ID_ROOM + 1];
	char		again[FFLAG_ID_ROOM];

	if (is_one_of(type, name_types))
	{
		*key = PointerGetDatum(cstring_to_text_with_len(text, len));
		return true;
	}

	if (len > FFLAG_ID_ROOM)
		return false;
	memcpy(room, text, len);
	room[len] = '\0';
	if (type == UUIDOID)
	{
		/* what uuid_in() would complain of is no uuid */
		for (int i = 0; i < FFLAG_ID_ROOM; i++)
		{
			if (i == 8 || i == 13 || i == 18 || i == 23 ?
				room[i] != '-' : !isxdigit((unsigned char) room[i]))
				return false;
		}
		*key = DirectFunctionCall1(uuid_in, CStringGetDatum(room));
	}
	else
	{
		char	   *end;
		long long	n;

		errno = 0;
		n = strtoll(room, &end, 10);
		if (errno != 0 || *end != '\0' ||
			(type == INT4OID && n != (int32) n) ||
			(type == INT2OID && n != (int16) n))
			return false;
		*key = type == INT8OID ? Int64GetDatum(n) :
			type == INT4OID ? Int32GetDatum((int32) n) : Int16GetDatum((int16) n);
	}

	/* 042 is not what a cast gives for any of them */
	return fflag_string_equal(fflag_id_to_text(type, *key, again),
							  (fflag_string) {text, len});
}

/* A search by key, see begin_search(). */
typedef struct search
{
	fflag_source *source;
	Relation	rel;
	int			nkeys;
	fflag_column first;
	fflag_string keys[FFLAG_KEYS];
	SysScanDesc scan;			/* NULL: no row can have such a key */
} search;

/*
 * Starts a search for rows of an open table in which the first columns of the
 * key have the canonical texts keys[0] and so on.
 */
static search
begin_search(fflag_source *source, fflag_table_id which, Relation rel, int nkeys,
			 const fflag_string *keys, Snapshot snapshot)
{
	search		s = {
		.source = source,.rel = rel,.nkeys = nkeys,.first = table_keys[which].first
	};
	Oid			index = source->tables[which].indexes[nkeys - 1];
	ScanKeyData scankeys[FFLAG_KEYS];

	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	attnum = source->attnums[s.first + i];
		Oid			type = source->types[s.first + i];
		Datum		key;

		if (!key_from_text(type, keys[i].data, keys[i].len, &key))
			return s;
		s.keys[i] = keys[i];
		ScanKeyEntryInitializeWithInfo(&scankeys[i], 0, attnum,
									   BTEqualStrategyNumber, InvalidOid,
									   TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attcollation,
									   &lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo,
									   key);
	}
	s.scan = systable_beginscan(rel, index, OidIsValid(index), snapshot,
								nkeys, scankeys);
	return s;
}

/* The next row found, or NULL. */
static HeapTuple
get_next(search *s)
{
	HeapTuple	tuple;

	while (s->scan != NULL &&
		   HeapTupleIsValid(tuple = systable_getnext(s->scan)))
	{
		int			i = 0;

		/* texts that are equal may differ under a nondeterministic collation */
		for (; i < s->nkeys; i++)
		{
			bool		isnull;
			Datum		value;
			text	   *t;
			bool		equal;

			if (!is_one_of(s->source->types[s->first + i], name_types))
				continue;
			value = heap_getattr(tuple, s->source->attnums[s->first + i],
								 RelationGetDescr(s->rel), &isnull);
			t = DatumGetTextPP(value);
			equal = fflag_string_equal(fflag_id_to_text(TEXTOID, PointerGetDatum(t), NULL),
									   s->keys[i]);
			/* an allowlist may have millions of rows */
			if ((Pointer) t != DatumGetPointer(value))
				pfree(t);
			if (!equal)
				break;
		}
		if (i == s->nkeys)
			return tuple;
	}
	return NULL;
}

static void
end_search(search *s)
{
	if (s->scan != NULL)
		systable_endscan(s->scan);
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
get_column(const fflag_source *source, Relation rel, HeapTuple tuple,
		   fflag_column column, const char *flag)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, source->attnums[column],
									 RelationGetDescr(rel), &isnull);

	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("column \"%s\" of flag \"%s\" is null",
					   NameStr(source->columns[column]), flag),
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

/*
 * A flag's percentage in thousandths.  Integers have no check that keeps them
 * between 0 and 100, and count as the rules say: from 100 on as 100.
 */
static int
read_rollout(const fflag_source *source, Datum value, const char *flag)
{
	int64		percentage;

	switch (source->types[FFLAG_COLUMN_ROLLOUT])
	{
		case INT2OID:
			percentage = DatumGetInt16(value);
			break;
		case INT4OID:
			percentage = DatumGetInt32(value);
			break;
		case INT8OID:
			percentage = DatumGetInt64(value);
			break;
		default:
			return fflag_check_percentage(value, flag);
	}
	return Max(0, Min(100, percentage)) * (FFLAG_BUCKETS / 100);
}

static void
read_row(const fflag_source *source, Relation rel, HeapTuple tuple,
		 fflag_row *row)
{
	Datum		name_datum = get_column(source, rel, tuple, FFLAG_COLUMN_NAME, "");
	char	   *name = TextDatumGetCString(name_datum);
	size_t		utf8_len = strlen(name);

	row->id = fflag_id_to_text(source->types[FFLAG_COLUMN_ID],
							   get_column(source, rel, tuple, FFLAG_COLUMN_ID, name),
							   palloc(FFLAG_ID_ROOM));
	row->name = (fflag_string) {name, utf8_len};
	row->flag.known = true;
	row->flag.enabled =
		DatumGetBool(get_column(source, rel, tuple, FFLAG_COLUMN_ENABLED, name));
	row->flag.staff_only =
		DatumGetBool(get_column(source, rel, tuple, FFLAG_COLUMN_STAFF_ONLY, name));
	row->flag.rollout =
		read_rollout(source,
					 get_column(source, rel, tuple, FFLAG_COLUMN_ROLLOUT, name), name);
	row->flag.utf8_name = fflag_to_utf8(name, &utf8_len);
	row->flag.utf8_name_len = utf8_len;
}

/* Reads the flag of a name; false if there is none. */
bool
fflag_read_flag(fflag_source *source, fflag_string name, Snapshot snapshot,
				fflag_row *row)
{
	Relation	rel = open_described(source, FFLAG_FLAGS);
	search		s = begin_search(source, FFLAG_FLAGS, rel, 1, &name, snapshot);
	HeapTuple	tuple = get_next(&s);

	/* of a text id the row has but a pointer into the tuple */
	if (HeapTupleIsValid(tuple))
		read_row(source, rel, heap_copytuple(tuple), row);
	end_search(&s);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* Reads all flags, in no particular order. */
void
fflag_read_flags(fflag_source *source, Snapshot snapshot,
				 fflag_row_sink sink, void *arg)
{
	Relation	rel = open_described(source, FFLAG_FLAGS);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		fflag_row	row;

		CHECK_FOR_INTERRUPTS();
		read_row(source, rel, tuple, &row);
		if (!sink(&row, arg))
			break;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Is the user on the flag's allowlist? */
bool
fflag_read_listed(fflag_source *source, fflag_string flag_id,
				  const char *user, int len, Snapshot snapshot)
{
	Relation	rel = open_described(source, FFLAG_USERS);
	fflag_string keys[] = {flag_id, {user, len}};
	search		s = begin_search(source, FFLAG_USERS, rel, 2, keys, snapshot);
	bool		listed = HeapTupleIsValid(get_next(&s));

	end_search(&s);
	table_close(rel, AccessShareLock);
	return listed;
}

/* Reads a flag's allowlist until its end or until sink has had enough. */
void
fflag_read_allowlist(fflag_source *source, fflag_string flag_id,
					 Snapshot snapshot, fflag_user_sink sink, void *arg)
{
	Relation	rel = open_described(source, FFLAG_USERS);
	search		s = begin_search(source, FFLAG_USERS, rel, 1, &flag_id, snapshot);
	MemoryContext per_user = AllocSetContextCreate(CurrentMemoryContext,
												   "fflag user",
												   ALLOCSET_SMALL_SIZES);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = get_next(&s)))
	{
		MemoryContext caller;
		bool		isnull;
		Datum		datum = heap_getattr(tuple, source->attnums[FFLAG_COLUMN_USER_ID],
										 RelationGetDescr(rel), &isnull);
		char		room[FFLAG_ID_ROOM];
		fflag_string user;
		bool		more;

		CHECK_FOR_INTERRUPTS();
		if (isnull)				/* nobody is never listed */
			continue;
		caller = MemoryContextSwitchTo(per_user);
		user = fflag_id_to_text(source->types[FFLAG_COLUMN_USER_ID], datum, room);
		MemoryContextSwitchTo(caller);
		more = sink(user.data, user.len, arg);
		MemoryContextReset(per_user);
		if (!more)
			break;
	}
	end_search(&s);
	MemoryContextDelete(per_user);
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
