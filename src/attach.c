/*
 * attach.c
 *		fflag_attach() and fflag_detach(): reading flags from somebody else's
 *		tables.
 *
 * fflag_attach() puts the triggers that announce changes on both tables, and
 * writes one row that says where the tables are.  That row is announced,
 * dumped and restored as flags are.  All of it is plain SQL.  The caller, who
 * has to own the tables, creates the triggers.  The row is written as the
 * owner of its table.  Nobody else may write it, because it decides what
 * evaluation shows to everybody.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "attachment.h"
#include "catalog.h"
#include "citus.h"
#include "compat.h"
#include "extension.h"
#include "history.h"
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

/* Refuses a table that is not the caller's, or that cannot be attached. */
static void
check_table(Oid relid)
{
	char	   *name = fflag_relation_name(relid);
	Oid			named;
	Relation	rel;

	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table with OID %u does not exist", relid),
				errhint("Give the name of a table."));
	/* whoever puts triggers on a table makes code run for all who write to it */
	if (!pg_class_ownercheck(relid, GetUserId()))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("must be owner of table %s", name),
				errhint("Let its owner, or a superuser, call this function."));
	if (fflag_is_own(RelationRelationId, relid))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("table %s is extension \"fflag\"'s own", name),
				errhint("It is read while nothing is attached."));

	named = fflag_find_named_relid(relid);
	if (named != relid)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("table %s is a shard of Citus", name),
				errhint("Attach table %s, whose shard is found on each node.",
						fflag_relation_name(named)));
	fflag_require_rows(relid);

	rel = relation_open(relid, AccessShareLock);
	if (IsSystemRelation(rel) || rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				IsSystemRelation(rel) ?
				errmsg("\"%s\" is a system catalog", RelationGetRelationName(rel)) :
				errmsg("\"%s\" is not an ordinary table", RelationGetRelationName(rel)),
				errhint("Attach an ordinary table; triggers on it have to announce every change."));
	if (RelationUsesLocalBuffers(rel))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("table \"%s\" is temporary", RelationGetRelationName(rel)),
				errhint("Other sessions cannot read it; use a permanent table."));
	if (!RelationIsPermanent(rel))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("table \"%s\" is unlogged", RelationGetRelationName(rel)),
				errhint("A crash empties it, and standbys cannot read it; use a permanent table."));
	if (find_inheritance_children(relid, NoLock) != NIL)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("other tables inherit from table \"%s\"",
					   RelationGetRelationName(rel)),
				errhint("Their rows would not be read; attach a table without children."));
	relation_close(rel, AccessShareLock);
}

/* Ids of both types may have the same text. */
static bool
are_comparable(Oid a, Oid b)
{
	return fflag_is_text(a) == fflag_is_text(b) &&
		(a == UUIDOID) == (b == UUIDOID);
}

/* Tells which of the columns that are read may be null, and what that means. */
static void
warn_of_nulls(const fflag_source *source, Relation rel, fflag_column first,
			  fflag_column last, const char *meaning)
{
	StringInfoData names;

	initStringInfo(&names);
	for (fflag_column c = first; c <= last; c++)
	{
		if (!TupleDescAttr(RelationGetDescr(rel), source->attnums[c] - 1)->attnotnull)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
							 NameStr(source->columns[c]));
	}
	if (names.len > 0)
		ereport(WARNING,
				errmsg("columns of table \"%s\" may be null: %s",
					   RelationGetRelationName(rel), names.data),
				errdetail("%s", meaning),
				errhint("Declare them NOT NULL, unless the application needs nulls."));
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
									 &source->types[FFLAG_COLUMN_NAME], true, NULL)))
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
	warn_of_nulls(source, flags, FFLAG_COLUMN_ID, FFLAG_COLUMN_ROLLOUT,
				  "A null counts as false or 0; a flag without a name is none, one without an id is an error.");
	warn_of_nulls(source, users, FFLAG_COLUMN_FLAG_ID, FFLAG_COLUMN_USER_ID,
				  "Rows with a null count as if they were not there.");
	if (!OidIsValid(source->tables[FFLAG_USERS].indexes[1]))
		ereport(WARNING,
				errmsg("table \"%s\" has no index on (\"%s\", \"%s\")",
					   RelationGetRelationName(users), flag_id,
					   NameStr(source->columns[FFLAG_COLUMN_USER_ID])),
				errhint("Without one, looking up who is on a long allowlist reads the whole table."));
	table_close(users, AccessShareLock);
	table_close(flags, AccessShareLock);
}

/* The triggers that record changes. */
static const char *const recording_triggers[][2] = {
	{"fflag_record_insert", "AFTER INSERT ON %s REFERENCING NEW TABLE AS fflag_new"},
	{"fflag_record_update", "AFTER UPDATE ON %s REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new"},
	{"fflag_record_delete", "AFTER DELETE ON %s REFERENCING OLD TABLE AS fflag_old"},
	{"fflag_record_truncate", "BEFORE TRUNCATE ON %s"}
};

static void
add_triggers(Oid schema, Oid relid, const char *argument)
{
	char	   *table = fflag_relation_name(relid);

	fflag_run(psprintf("CREATE OR REPLACE TRIGGER " TRIGGER
					   " BEFORE INSERT OR UPDATE OR DELETE ON %s"
					   " FOR EACH ROW EXECUTE FUNCTION %s(%s)",
					   table,
					   quote_qualified_identifier(get_namespace_name(schema), TRIGGER),
					   argument ? quote_literal_cstr(argument) : ""),
			  0, NULL, NULL);
	for (int i = 0; i < lengthof(recording_triggers); i++)
		fflag_run(psprintf("CREATE OR REPLACE TRIGGER %s %s"
						   " FOR EACH STATEMENT EXECUTE FUNCTION %s()",
						   recording_triggers[i][0],
						   psprintf(recording_triggers[i][1], table),
						   quote_qualified_identifier(get_namespace_name(schema),
													  FFLAG_RECORD_FUNCTION)),
				  0, NULL, NULL);
	/* replicated changes count too */
	fflag_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " TRIGGER, table),
			  0, NULL, NULL);
}

/*
 * Runs a command on the table that says what is attached, as that table's owner.
 * %s in sql stands for the table's name; the command has its parameters.  Returns as
 * fflag_run() does.
 */
static uint64
run_as_owner(Oid schema, const char *sql, fflag_command *command)
{
	Relation	rel;

	/* it plans scans; until the transaction ends, nobody is made the owner */
	command->tables[0] = get_relname_relid(FFLAG_ATTACHMENT_TABLE, schema);
	command->lock = ShareUpdateExclusiveLock;
	LockRelationOid(command->tables[0], command->lock);
	rel = fflag_open_relation(command->tables[0]);
	command->sql = psprintf(sql, fflag_table_in_sql(schema, FFLAG_ATTACHMENT_TABLE));
	command->user = rel->rd_rel->relowner;
	table_close(rel, AccessShareLock);
	return fflag_run_kept(command);
}

/* Gives a command the next parameters: the tables' OIDs, then their names. */
static void
add_tables(fflag_command *command, const fflag_attachment *wanted)
{
	for (int i = 0; i < FFLAG_ATTACHED; i++)
		fflag_add_parameter(command, OIDOID, ObjectIdGetDatum(wanted->oids[i]));
	for (int i = 0; i < FFLAG_ATTACHED; i++)
		fflag_add_text(command, wanted->names[i]);
}

/* What is attached, as the transaction sees it now; false if nothing is. */
static bool
read_current(Oid schema, fflag_attachment *current)
{
	Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_ATTACHMENT_TABLE, schema));
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	found = fflag_read_attachment(rel, GetActiveSnapshot(), current);
	PopActiveSnapshot();
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Called where something is attached already: an error, unless it is what is
 * wanted.
 */
static void
check_same(Oid schema, const fflag_attachment *current, const fflag_attachment *wanted)
{
	Oid			function = fflag_trigger_function(schema);
	bool		same_tables = true;

	for (int i = 0; i < FFLAG_ATTACHED; i++)
		same_tables &= wanted->oids[i] == fflag_find_named(current, i) ||
			wanted->oids[i] == fflag_find_attached(current, i, function);
	if (!same_tables)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("flags are already read from tables %s and %s",
					   current->names[0], current->names[1]),
				errhint("Call fflag_detach() first to attach others."));
	for (int i = 0; i < FFLAG_COLUMNS; i++)
	{
		const char *now = NameStr(current->columns[i]);

		if (strcmp(now, NameStr(wanted->columns[i])) != 0)
			ereport(ERROR,
					errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("flags are already read from tables %s and %s, with \"%s\" as column \"%s\"",
						   current->names[0], current->names[1], now, argument_name(FIRST_COLUMN + i)),
					errhint("Call fflag_detach() first to name other columns."));
	}
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
	Oid			function = fflag_trigger_function(schema);
	Oid			record = fflag_history_function(schema);
	fflag_attachment wanted;
	fflag_attachment current;
	fflag_command insert = {0};
	fflag_command update = {0};
	bool		attached;
	fflag_source source;

	for (int i = 0; i < ATTACH_ARGS; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("argument \"%s\" of fflag_attach() must not be null",
						   argument_name(i)),
					errhint("Give the name of a %s.",
							i < FIRST_COLUMN ? "table" : "column"));
	}
	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		check_table(PG_GETARG_OID(i));
		wanted.oids[i] = PG_GETARG_OID(i);
		wanted.names[i] = fflag_relation_name(wanted.oids[i]);
	}
	add_tables(&insert, &wanted);
	add_tables(&update, &wanted);
	for (int i = 0; i < FFLAG_COLUMNS; i++)
	{
		wanted.columns[i] = *PG_GETARG_NAME(FIRST_COLUMN + i);
		fflag_add_parameter(&insert, NAMEOID, NameGetDatum(&wanted.columns[i]));
	}

	if (wanted.oids[0] == wanted.oids[1])
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("table %s cannot have both flags and users", wanted.names[0]),
				errhint("Name a table of flags, and another one of users."));

	SPI_connect();
	for (;;)
	{
		attached = run_as_owner(schema,
								"INSERT INTO %s (flags_oid, users_oid, flags, users,"
								" id, name, enabled, staff_only, rollout_percentage, flag_id, user_id)"
								" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
								" ON CONFLICT DO NOTHING",
								&insert) > 0;
		if (attached || read_current(schema, &current))
			break;
		/* the row in the way has just gone */
		CHECK_FOR_INTERRUPTS();
	}
	if (!attached)
	{
		check_same(schema, &current, &wanted);

		/*
		 * the tables may have been renamed, or the row come from another
		 * database
		 */
		if (!fflag_same_attachment(&current, &wanted) ||
			memcmp(current.oids, wanted.oids, sizeof(current.oids)) != 0)
			run_as_owner(schema,
						 "UPDATE ONLY %s SET flags_oid = $1, users_oid = $2, flags = $3, users = $4",
						 &update);
		ereport(NOTICE,
				errmsg("flags are read from tables %s and %s already",
					   wanted.names[0], wanted.names[1]));
	}
	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		const char *argument = FFLAG_FLAGS + i == FFLAG_USERS ?
		NameStr(wanted.columns[FFLAG_COLUMN_FLAG_ID]) : NULL;
		Oid			rows = fflag_require_rows(wanted.oids[i]);
		bool		recorded;

		recorded = fflag_is_recorded(rows, record);
		if (!attached && recorded &&
			OidIsValid(fflag_find_marker(rows, function, argument)))
			continue;
		add_triggers(schema, rows, argument);
		/* nobody knows what happened to them so far */
		if (!attached && !recorded)
			fflag_record_gap(schema, true);
	}

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
	Oid			function = fflag_trigger_function(schema);
	fflag_attachment attachment;
	fflag_command lock = {0};
	fflag_command delete = {0};
	Oid			relids[FFLAG_ATTACHED];
	char	   *tables[FFLAG_ATTACHED];

	SPI_connect();
	/* nobody may attach other tables meanwhile, perhaps another owner's */
	if (run_as_owner(schema, "SELECT FROM ONLY %s FOR UPDATE", &lock) == 0 ||
		!read_current(schema, &attachment))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("no tables are attached"),
				errhint("Flags are read from the extension's own tables."));
	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		Oid			named = fflag_find_attached(&attachment, i, function);

		if (OidIsValid(named) && !pg_class_ownercheck(named, GetUserId()))
			ereport(ERROR,
					errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("must be owner of table %s", fflag_relation_name(named)),
					errhint("Let its owner, or a superuser, call this function."));
		relids[i] = fflag_find_rows(named);
		tables[i] = fflag_relation_name(relids[i]);
		/* those who are writing have to be seen */
		if (tables[i] != NULL)
			LockRelationOid(relids[i], ShareRowExclusiveLock);
	}

	/*
	 * the history finds the tables by their triggers, and keeps what they
	 * hold
	 */
	run_as_owner(schema, "DELETE FROM ONLY %s", &delete);
	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		if (tables[i] == NULL)
			continue;
		fflag_run(psprintf("DROP TRIGGER IF EXISTS " TRIGGER " ON %s", tables[i]),
				  0, NULL, NULL);
		for (int t = 0; t < lengthof(recording_triggers); t++)
		{
			/* the owner may have dropped one, and need not hear of it */
			if (OidIsValid(get_trigger_oid(relids[i], recording_triggers[t][0], true)))
				fflag_run(psprintf("DROP TRIGGER %s ON %s",
								   recording_triggers[t][0], tables[i]),
						  0, NULL, NULL);
		}
	}
	SPI_finish();
	PG_RETURN_VOID();
}
