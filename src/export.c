/*
 * export.c
 *		fflag_export(): flags as a JSON document; and the query that reads them so, for
 *		import.c too.
 *
 * The query runs on rows that have been scanned, not on the tables: code that the tables'
 * owner has put into indexes, policies or statistics would run as the caller, who may be
 * a superuser.
 *
 * What may hold long lists is put together as json, in a time that grows as they do, and
 * cast to jsonb: the server's aggregates of jsonb look, for each string, for the end of
 * all that follows.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "catalog.h"
#include "check.h"
#include "control.h"
#include "document.h"
#include "export.h"
#include "extension.h"
#include "snapshot.h"
#include "unknown.h"

/* Refuses a null argument of a function. */
void
fflag_check_argument(FunctionCallInfo fcinfo, int arg, const char *name, const char *function)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" of %s() must not be null", name, function),
				errhint("Give a value."));
}

/*
 * Runs a command that only reads, with names and operators of pg_catalog and in the time
 * zone UTC, so that no setting of the session's can be seen in the text.  Its plan is for
 * what the document and the tables hold now.
 */
void
fflag_run_in_utc(fflag_command *command)
{
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("TimeZone", "UTC", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	command->once = true;
	fflag_run_kept(command);
	AtEOXact_GUC(false, nest_level);
}

/* Refuses a column whose type somebody has made: to turn it into JSON may run their code. */
static void
check_column(Relation rel, const char *name)
{
	Oid			type = InvalidOid;

	(void) fflag_find_column(rel, name, &type);
	if (type >= FirstNormalObjectId)
		ereport(ERROR,
				errcode(ERRCODE_DATATYPE_MISMATCH),
				errmsg("column \"%s\" of table \"%s\" has type %s", name,
					   RelationGetRelationName(rel), format_type_be(type)),
				errhint("Change it back with ALTER TABLE."));
}

/*
 * Reads our own tables, those of lists only if they are wanted, and lets SQL know the
 * rows by the tables' names, until SPI is finished.  The caller has to be allowed to read
 * all of them.
 */
void
fflag_scan_tables(fflag_scanned_tables *scanned, Oid schema, bool lists, Snapshot snapshot)
{
	static const struct
	{
		fflag_table_id which;
		const char *name;
	}			tables[] = {
		{FFLAG_FLAGS, FFLAG_FLAGS_TABLE},
		{FFLAG_VARIANTS, FFLAG_VARIANTS_TABLE},
		{FFLAG_RELATIONS, FFLAG_RELATIONS_TABLE},
		{FFLAG_USERS, FFLAG_USERS_TABLE},
		{FFLAG_DENIED, FFLAG_DENIED_TABLE}
	};
	fflag_source source = fflag_locate_own(schema);

	for (int i = 0; i < (lists ? lengthof(tables) : 3); i++)
	{
		Relation	rel = fflag_open_table(&source, tables[i].which);
		Oid			relid = RelationGetRelid(rel);

		if (!fflag_may_read(relid, GetUserId()))
			ereport(ERROR,
					errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied for table %s", RelationGetRelationName(rel)),
					errhint("Grant SELECT on it, and let no row-level security hide rows from the role."));
		for (int k = 0; tables[i].which == FFLAG_FLAGS && k < fflag_document_key_count; k++)
		{
			if (fflag_document_keys[k].part == FFLAG_PART_FLAG)
				check_column(rel, fflag_document_keys[k].name);
		}
		table_close(rel, NoLock);
		scanned->stores[i] = fflag_scan_as(tables[i].name, relid, snapshot);
	}
}

/* Called when SQL needs the rows no more. */
void
fflag_end_scanned(fflag_scanned_tables *scanned)
{
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		if (scanned->stores[i] != NULL)
			tuplestore_end(scanned->stores[i]);
	}
}

/* An expression: the flag f as an element of a document.  It needs fflag_rows_in_sql(). */
char *
fflag_flag_in_sql(const fflag_selection *selection)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "jsonb_build_object('name', f.name");
	for (int i = 0; i < fflag_document_key_count; i++)
	{
		const fflag_document_key *key = &fflag_document_keys[i];

		if (key->part == FFLAG_PART_FLAG)
			appendStringInfo(&sql, key->type == FFLAG_JSON_NUMBER ? ", '%s', trim_scale(f.%s)" : ", '%s', f.%s",
							 key->name, key->name);
	}
	appendStringInfoString(&sql, ", 'variants', coalesce(v.elements, '[]'), 'relations', coalesce(r.elements, '[]'))");
	if (selection->allowlists != NULL)
		appendStringInfo(&sql, " || CASE WHEN %s THEN jsonb_build_object('allowlist', coalesce(u.elements, '[]')) ELSE '{}' END",
						 selection->allowlists);
	if (selection->denylists != NULL)
		appendStringInfo(&sql, " || CASE WHEN %s THEN jsonb_build_object('denylist', coalesce(d.elements, '[]')) ELSE '{}' END",
						 selection->denylists);
	return sql.data;
}

/*
 * A join of the flag f with what another table has of it, an array.  The table is read
 * once: a subquery, joined or not, might be run for each flag, as the planner cannot know
 * how many a document has.
 */
static void
append_rows(fflag_rows_sql *sql, const fflag_selection *selection, const char *alias,
			const char *elements, const char *table, const char *join, const char *condition)
{
	appendStringInfo(&sql->with, "%s %s AS MATERIALIZED (SELECT %s.flag_id, jsonb_agg(%s) AS elements FROM %s AS %s%s",
					 sql->with.len == 0 ? "WITH" : ",", alias, alias, elements, table, alias, join);
	if (selection->ids != NULL)
		appendStringInfo(&sql->with, " WHERE %s.flag_id IN (%s AND %s)", alias, selection->ids, condition);
	appendStringInfo(&sql->with, " GROUP BY %s.flag_id)", alias);
	appendStringInfo(&sql->joins, " LEFT JOIN %s ON %s.flag_id = f.id", alias, alias);
}

/* Joins of the flag f with all that belongs to it. */
fflag_rows_sql
fflag_rows_in_sql(const fflag_selection *selection)
{
	fflag_rows_sql sql;

	initStringInfo(&sql.with);
	initStringInfo(&sql.joins);
	append_rows(&sql, selection, "v",
				"jsonb_build_object('name', v.name, 'weight', trim_scale(v.weight)) ||"
				" CASE WHEN v.payload IS NULL THEN '{}' ELSE jsonb_build_object('payload', v.payload) END ORDER BY v.name",
				FFLAG_VARIANTS_TABLE, "", "true");
	append_rows(&sql, selection, "r",
				"jsonb_strip_nulls(jsonb_build_object('kind', r.kind, 'other', o.name,"
				" 'other_variant', r.other_variant, 'pin', r.pin)) ORDER BY o.name, r.other_variant NULLS FIRST",
				FFLAG_RELATIONS_TABLE,
				" JOIN " FFLAG_FLAGS_TABLE " AS o ON o.id = r.other_id", "true");
	if (selection->allowlists != NULL)
		append_rows(&sql, selection, "u", "u.user_id ORDER BY u.user_id", FFLAG_USERS_TABLE, "", selection->allowlists);
	if (selection->denylists != NULL)
		append_rows(&sql, selection, "d", "d.user_id ORDER BY d.user_id", FFLAG_DENIED_TABLE, "", selection->denylists);
	return sql;
}

/* Refuses names of flags that there are not. */
static void
check_exported(ArrayType *names)
{
	fflag_command command = {.read_only = true};
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		fflag_check_name(nulls[i] ? NULL : TextDatumGetCString(elements[i]));
	fflag_add_parameter(&command, TEXTARRAYOID, PointerGetDatum(names));
	command.sql = "SELECT n.name FROM unnest($1) WITH ORDINALITY AS n (name, i)"
		" WHERE NOT EXISTS (SELECT FROM " FFLAG_FLAGS_TABLE " AS f WHERE f.name = n.name) ORDER BY n.i LIMIT 1";
	fflag_run_in_utc(&command);
	if (SPI_processed > 0)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		fflag_report_unknown(ERROR, fflag_string_make(name, strlen(name)), NULL);
	}
}

/*
 * Refuses to export relations to a flag that is not there: without them, more users would
 * get the flag elsewhere.  $1 of the command are names, if not all flags are wanted.
 */
static void
check_others(fflag_command command, bool all)
{
	command.sql = psprintf("SELECT f.name, r.kind, r.other_id"
						   " FROM " FFLAG_RELATIONS_TABLE " AS r JOIN " FFLAG_FLAGS_TABLE " AS f ON f.id = r.flag_id%s"
						   " WHERE NOT EXISTS (SELECT FROM " FFLAG_FLAGS_TABLE " AS o WHERE o.id = r.other_id) ORDER BY 1, 3 LIMIT 1",
						   all ? "" : " AND f.name = ANY ($1)");
	fflag_run_in_utc(&command);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("flag \"%s\" %s the flag with id %s, which is not there",
					   SPI_getvalue(tuple, desc, 1), SPI_getvalue(tuple, desc, 2), SPI_getvalue(tuple, desc, 3)),
				errhint("Export where all flags are, or delete the relation from table \"%s\".",
						FFLAG_RELATIONS_TABLE));
	}
}

/* fflag_export(names, lists) returns jsonb */
PG_FUNCTION_INFO_V1(fflag_export);

Datum
fflag_export(PG_FUNCTION_ARGS)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	fflag_command command = {.read_only = true};
	fflag_selection selection = {.ids = NULL};
	fflag_scanned_tables scanned = {{NULL}};
	fflag_rows_sql rows;
	bool		isnull;
	Datum		result;

	fflag_check_argument(fcinfo, 1, "lists", "fflag_export");
	if (PG_GETARG_BOOL(1))
		selection.allowlists = selection.denylists = "true";
	fflag_check_not_attached(schema);
	SPI_connect();
	fflag_scan_tables(&scanned, schema, PG_GETARG_BOOL(1), fflag_active_snapshot());
	if (!PG_ARGISNULL(0))
	{
		check_exported(PG_GETARG_ARRAYTYPE_P(0));
		fflag_add_parameter(&command, TEXTARRAYOID, PG_GETARG_DATUM(0));
		selection.ids = "SELECT n.id FROM " FFLAG_FLAGS_TABLE " AS n WHERE n.name = ANY ($1)";
	}
	check_others(command, PG_ARGISNULL(0));
	rows = fflag_rows_in_sql(&selection);
	command.sql = psprintf("%s SELECT jsonb_build_object('fflag', %d, 'flags', coalesce(json_agg(%s ORDER BY f.name)::jsonb, '[]'))"
						   " FROM " FFLAG_FLAGS_TABLE " AS f%s%s", rows.with.data, FFLAG_DOCUMENT_VERSION,
						   fflag_flag_in_sql(&selection), rows.joins.data,
						   PG_ARGISNULL(0) ? "" : " WHERE f.name = ANY ($1)");
	fflag_run_in_utc(&command);
	result = SPI_datumTransfer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
							   false, -1);
	fflag_end_scanned(&scanned);
	SPI_finish();
	return result;
}
