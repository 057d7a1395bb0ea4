/*
 * attach.c
 *		fflag_attach() and fflag_detach(): reading flags from somebody else's
 *		tables.
 *
 * To attach is to put the triggers that announce changes on both tables, and to
 * write one row that says where they are; that row is announced, dumped and
 * restored as flags are.  All of it is plain SQL, run as the caller, who has to
 * own the tables, and needs privileges on the extension's.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "compat.h"
#include "id.h"
#include "layout.h"
#include "spi.h"

#define TRIGGER "fflag_invalidate"	/* and the function that it calls */

/* The arguments: two tables, and what the columns are called in them. */
#define FIRST_COLUMN 2
#define ATTACH_ARGS (FIRST_COLUMN + FFLAG_COLUMNS)

static const char *
argument_name(int n)
{
	return n == 0 ? "flags" : n == 1 ? "users" :
		fflag_column_name(n - FIRST_COLUMN);
}

/* Whoever puts triggers on a table makes code run for all who write to it. */
static void
check_table(Oid relid, Oid schema)
{
	char	   *name = fflag_relation_name(relid);

	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table with OID %u does not exist", relid),
				errhint("Give the name of a table."));
	if (!pg_class_ownercheck(relid, GetUserId()))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("must be owner of table %s", name),
				errhint("Let its owner, or a superuser, call this function."));
	if (relid == get_relname_relid(FFLAG_FLAGS_TABLE, schema) ||
		relid == get_relname_relid(FFLAG_USERS_TABLE, schema))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("table %s is extension \"fflag\"'s own", name),
				errhint("It is read while nothing is attached."));
}

/* Ids of both types may have the same text. */
static bool
are_comparable(Oid a, Oid b)
{
	return fflag_is_text(a) == fflag_is_text(b) &&
		(a == UUIDOID) == (b == UUIDOID);
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
 * Refuses tables that evaluation could not read, or where it could not tell one
 * flag from another.
 */
static void
check_source(fflag_source *source)
{
	Relation	flags = fflag_open_table(source, FFLAG_FLAGS);
	Relation	users = fflag_open_table(source, FFLAG_USERS);
	const char *name = NameStr(source->columns[FFLAG_COLUMN_NAME]);
	const char *id = NameStr(source->columns[FFLAG_COLUMN_ID]);
	const char *flag_id = NameStr(source->columns[FFLAG_COLUMN_FLAG_ID]);

	if (!OidIsValid(fflag_find_index(flags, 1, &source->attnums[FFLAG_COLUMN_NAME],
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

static void
add_trigger(Oid schema, Oid relid)
{
	char	   *table = fflag_relation_name(relid);

	fflag_run(psprintf("CREATE OR REPLACE TRIGGER " TRIGGER
					   " BEFORE INSERT OR UPDATE OR DELETE ON %s"
					   " FOR EACH ROW EXECUTE FUNCTION %s()",
					   table,
					   quote_qualified_identifier(get_namespace_name(schema), TRIGGER)),
			  0, NULL, NULL);
	/* replicated changes count too */
	fflag_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " TRIGGER, table),
			  0, NULL, NULL);
}

/*
 * fflag_attach(flags regclass, users regclass, id name, name name,
 * enabled name, staff_only name, rollout_percentage name,
 * flag_id name, user_id name) returns void
 */
PG_FUNCTION_INFO_V1(fflag_attach);

Datum
fflag_attach(PG_FUNCTION_ARGS)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	char	   *attachment = fflag_table_in_sql(schema, FFLAG_ATTACHMENT_TABLE);
	Oid			types[ATTACH_ARGS + 2] = {REGCLASSOID, REGCLASSOID};
	Datum		values[ATTACH_ARGS + 2];
	StringInfoData insert;
	StringInfoData params;
	fflag_source source;

	initStringInfo(&insert);
	initStringInfo(&params);
	appendStringInfo(&insert, "INSERT INTO %s (", attachment);
	for (int i = 0; i < ATTACH_ARGS; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("argument \"%s\" of fflag_attach() must not be null",
						   argument_name(i)),
					errhint("Give the name of a %s.",
							i < FIRST_COLUMN ? "table" : "column"));
		if (i >= FIRST_COLUMN)
			types[i] = NAMEOID;
		values[i] = PG_GETARG_DATUM(i);
		appendStringInfo(&insert, "%s, ", argument_name(i));
		appendStringInfo(&params, "$%d, ", i + 1);
	}

	for (int i = 0; i < FIRST_COLUMN; i++)
	{
		Oid			relid = DatumGetObjectId(values[i]);

		check_table(relid, schema);
		types[ATTACH_ARGS + i] = TEXTOID;
		values[ATTACH_ARGS + i] = CStringGetTextDatum(fflag_relation_name(relid));
	}
	appendStringInfo(&insert, "flags_name, users_name) VALUES (%s$%d, $%d)"
					 " ON CONFLICT DO NOTHING",
					 params.data, ATTACH_ARGS + 1, ATTACH_ARGS + 2);

	SPI_connect();
	if (fflag_run(insert.data, ATTACH_ARGS + 2, types, values) == 0)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("flags are already read from attached tables"),
				errhint("Table %s says which; go back to the extension's own ones with fflag_detach() first.",
						FFLAG_ATTACHMENT_TABLE));
	add_trigger(schema, DatumGetObjectId(values[0]));
	add_trigger(schema, DatumGetObjectId(values[1]));

	/* now evaluation has to get along with it */
	PushActiveSnapshot(GetTransactionSnapshot());
	source = fflag_locate(schema, GetActiveSnapshot());
	check_source(&source);
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_VOID();
}

/* fflag_detach() returns void */
PG_FUNCTION_INFO_V1(fflag_detach);

Datum
fflag_detach(PG_FUNCTION_ARGS)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	char	   *attachment = fflag_table_in_sql(schema, FFLAG_ATTACHMENT_TABLE);
	Oid			relids[FIRST_COLUMN];

	SPI_connect();
	if (fflag_run(psprintf("DELETE FROM %s RETURNING flags, users", attachment),
				  0, NULL, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("no tables are attached"),
				errhint("Flags are read from the extension's own tables."));
	for (int i = 0; i < FIRST_COLUMN; i++)
	{
		bool		isnull;

		relids[i] = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
												   SPI_tuptable->tupdesc,
												   i + 1, &isnull));
	}
	for (int i = 0; i < FIRST_COLUMN; i++)
	{
		char	   *table = fflag_relation_name(relids[i]);

		if (table != NULL)
			fflag_run(psprintf("DROP TRIGGER IF EXISTS " TRIGGER " ON %s", table),
					  0, NULL, NULL);
	}
	SPI_finish();
	PG_RETURN_VOID();
}
