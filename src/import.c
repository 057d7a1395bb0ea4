/*
 * import.c
 *		fflag_import(): makes flags what a JSON document says.
 *
 * Flags are read as export.c reads them, and compared with the document, key by key, in
 * the database.  The changes that this finds are the function's result, and what it
 * writes: so a dry run cannot say anything else than the real one.
 *
 * What it writes it writes by plain SQL as the caller, see control.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "check.h"
#include "control.h"
#include "document.h"
#include "export.h"
#include "extension.h"
#include "relation.h"
#include "snapshot.h"
#include "spi.h"
#include "strtab.h"

/* ----------
 * What an import changes
 * ----------
 */

/* Flags and their changes, as they are written. */
typedef struct changed_flags
{
	int			count;
	ArrayBuildState *building_ids;
	ArrayBuildState *building_changes;
	Datum		ids;			/* bigint[] */
	Datum		changes;		/* jsonb[] */
} changed_flags;

/* An import under way. */
typedef struct flag_import
{
	Oid			schema;
	Datum		json;
	fflag_document document;
	Datum		unset;			/* jsonb: what a new flag has in its columns */
	Datum		created;		/* text[]: flags that this import has created */

	changed_flags all;			/* that differ */
	changed_flags updated;		/* of these, those whose own row differs */
	bool		writes[FFLAG_DOCUMENT_PARTS];
} flag_import;

/* Elements of one array that are not in another, in their order. */
#define MINUS(a, b) \
	"(SELECT coalesce(jsonb_agg(x.e ORDER BY x.i), '[]') FROM jsonb_array_elements(" a ") WITH ORDINALITY AS x (e, i)" \
	" WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(" b ") AS y (e) WHERE y.e = x.e))"

/*
 * What there is, and what is to be, of each flag that the document names: "old" is NULL
 * for a new one.
 */
static const char *const found_flags =
"WITH wanted AS MATERIALIZED (SELECT (d.flag ->> 'name') COLLATE \"C\" AS name,"
"  (SELECT coalesce(json_object_agg(e.key, CASE"
"    WHEN e.key = ANY ($3) THEN coalesce(to_jsonb((e.value #>> '{}')::timestamptz), 'null')"
"    WHEN e.key = 'relations' THEN jsonb_strip_nulls(e.value) ELSE e.value END)::jsonb, '{}')"
"   FROM jsonb_each(d.flag) AS e WHERE e.key <> 'name') AS flag,"
"  d.flag ? 'allowlist' AS allowlist, d.flag ? 'denylist' AS denylist"
"  FROM jsonb_array_elements($1 -> 'flags') AS d (flag)),"
" known AS MATERIALIZED (SELECT f.id, w.allowlist, w.denylist FROM wanted AS w JOIN " FFLAG_FLAGS_TABLE " AS f ON f.name = w.name),"
" found AS MATERIALIZED (%s SELECT w.name, w.flag, f.id, CASE WHEN f.id IS NOT NULL AND w.name <> ALL ($2) THEN %s END AS old"
"  FROM wanted AS w LEFT JOIN " FFLAG_FLAGS_TABLE " AS f ON f.name = w.name%s)";

static const char *const found_changes =
" SELECT w.name, CASE WHEN w.old IS NULL THEN 'created' WHEN c.changes IS NULL THEN 'unchanged' ELSE 'changed' END,"
"  c.changes, w.id::bigint, m.starts_at, m.ends_at, m.ramp_to, m.ramp_starts_at, m.ramp_ends_at, %s"
" FROM found AS w"
"  CROSS JOIN LATERAL (SELECT json_object_agg(n.key, d.difference)::jsonb AS changes FROM jsonb_each(w.flag) AS n"
"   CROSS JOIN LATERAL (SELECT CASE WHEN w.old IS NULL THEN jsonb_build_object('new', n.value)"
"    WHEN n.value = w.old -> n.key THEN NULL"
"    WHEN jsonb_typeof(n.value) = 'array'"
"    THEN (SELECT jsonb_build_object('old', a.old, 'new', a.new)"
"     FROM (SELECT " MINUS("w.old -> n.key", "n.value") " AS old, " MINUS("n.value", "w.old -> n.key") " AS new) AS a"
"     WHERE a.old <> '[]' OR a.new <> '[]')"
"    ELSE jsonb_build_object('old', w.old -> n.key, 'new', n.value) END) AS d (difference)"
"   WHERE d.difference IS NOT NULL) AS c"
"  CROSS JOIN LATERAL (SELECT coalesce(w.old, $4) || w.flag) AS a (flag)"
"  CROSS JOIN LATERAL jsonb_to_record(a.flag) AS m (starts_at timestamptz, ends_at timestamptz,"
"   ramp_to numeric, ramp_starts_at timestamptz, ramp_ends_at timestamptz,"
"   internal boolean, staff_only boolean, rollout_percentage numeric)"
" UNION ALL SELECT f.name, 'not named', NULL, NULL, NULL, NULL, NULL, NULL, NULL, false FROM " FFLAG_FLAGS_TABLE " AS f"
"  WHERE NOT EXISTS (SELECT FROM wanted AS w WHERE w.name = f.name)"
" ORDER BY 1";

/* Is it a group, and its list not in the document and not here? */
#define LISTS_NOBODY \
	"m.internal AND NOT m.staff_only AND m.rollout_percentage = 0 AND m.ramp_to IS NULL" \
	" AND NOT w.flag ? 'allowlist' AND NOT a.flag -> 'relations' @> '[{\"kind\": \"includes\"}]'" \
	" AND NOT EXISTS (SELECT FROM " FFLAG_USERS_TABLE " AS u WHERE u.flag_id = w.id)"

#define PLAN_COLUMNS 10

/*
 * All relations as they are to be, and whether what they name is to be there: the other
 * flag, its variant, the pinned variant.
 */
static const char *const found_relations =
"WITH wanted AS MATERIALIZED (SELECT (d.flag ->> 'name') COLLATE \"C\" AS name,"
"   d.flag -> 'variants' AS variants, d.flag -> 'relations' AS relations"
"  FROM jsonb_array_elements($1 -> 'flags') AS d (flag)),"
" variant AS MATERIALIZED (SELECT w.name AS flag, (v.variant ->> 'name') COLLATE \"C\" AS name"
"   FROM wanted AS w, jsonb_array_elements(w.variants) AS v (variant)"
"  UNION ALL SELECT f.name, v.name FROM " FFLAG_VARIANTS_TABLE " AS v JOIN " FFLAG_FLAGS_TABLE " AS f ON f.id = v.flag_id"
"   WHERE NOT EXISTS (SELECT FROM wanted AS w WHERE w.name = f.name AND w.variants IS NOT NULL)),"
" relation AS MATERIALIZED (SELECT w.name, r.other COLLATE \"C\" AS other, r.kind, r.other_variant, r.pin"
"   FROM wanted AS w, jsonb_to_recordset(w.relations) AS r (other text, kind text, other_variant text, pin text)"
"  UNION ALL SELECT f.name, o.name, r.kind, r.other_variant, r.pin"
"   FROM " FFLAG_RELATIONS_TABLE " AS r JOIN " FFLAG_FLAGS_TABLE " AS f ON f.id = r.flag_id JOIN " FFLAG_FLAGS_TABLE " AS o ON o.id = r.other_id"
"   WHERE NOT EXISTS (SELECT FROM wanted AS w WHERE w.name = f.name AND w.relations IS NOT NULL))"
" SELECT r.name::text, r.other::text, r.kind::text, r.other_variant::text, r.pin::text,"
"  EXISTS (SELECT FROM wanted AS w WHERE w.name = r.other) OR EXISTS (SELECT FROM " FFLAG_FLAGS_TABLE " AS f WHERE f.name = r.other),"
"  r.other_variant IS NULL OR EXISTS (SELECT FROM variant AS v WHERE v.flag = r.other AND v.name = r.other_variant),"
"  r.pin IS NULL OR EXISTS (SELECT FROM variant AS v WHERE v.flag = r.name AND v.name = r.pin)"
" FROM relation AS r ORDER BY 1, 2, 4";

/* The names of keys whose values are moments, text[]. */
static Datum
moments(void)
{
	ArrayBuildState *names = NULL;

	for (int i = 0; i < fflag_document_key_count; i++)
	{
		if (fflag_document_keys[i].type == FFLAG_JSON_MOMENT)
			names = accumArrayResult(names, CStringGetTextDatum(fflag_document_keys[i].name),
									 false, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(names, CurrentMemoryContext);
}

/* What a new flag has where the document says nothing, a jsonb. */
static Datum
unset_values(void)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < fflag_document_key_count; i++)
		appendStringInfo(&json, "%c\"%s\": %s", i == 0 ? '{' : ',',
						 fflag_document_keys[i].name, fflag_document_keys[i].unset);
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Relations as they are to be, by the names of flags. */
typedef struct planned_relations
{
	fflag_relation_graph graph;
	struct strtab_hash *flags;	/* with fflag_relation_rows */
} planned_relations;

static char *
describe_planned(fflag_relation_graph *graph, fflag_string name)
{
	return psprintf("flag \"%s\"", pnstrdup(name.data, name.len));
}

static void
read_planned(fflag_relation_graph *graph, fflag_string name, fflag_relation_rows *rows)
{
	fflag_string_slot *slot = strtab_lookup(((planned_relations *) graph)->flags, name);

	if (slot != NULL)
		*rows = *(fflag_relation_rows *) slot->value;
}

static void
add_planned(planned_relations *planned, const char *name, const char *other, const char *kind)
{
	bool		found;
	fflag_string_slot *slot = strtab_insert(planned->flags, fflag_string_make(name, strlen(name)), &found);
	fflag_relation_row row = {.relation.other_id = fflag_string_make(other, strlen(other))};

	while (strcmp(fflag_kind_name(row.relation.kind), kind) != 0)
		row.relation.kind++;
	if (!found)
		slot->value = palloc0_object(fflag_relation_rows);
	(void) fflag_collect_relation(&row, slot->value);
}

static bool
get_boolean(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;

	return DatumGetBool(SPI_getbinval(tuple, desc, column, &isnull)) && !isnull;
}

/*
 * Refuses relations to what there will not be, and circles; of flags that the document
 * does not name, too, for it may take away what they need.  Writing would find most of
 * this, but not in a dry run.
 */
static void
check_planned_relations(flag_import *import)
{
	planned_relations planned = {.graph = {read_planned, describe_planned}};
	fflag_command command = {.read_only = false};
	fflag_relation_walk *walk;

	fflag_add_parameter(&command, JSONBOID, import->json);
	command.sql = found_relations;
	fflag_run_in_utc(&command);

	planned.flags = strtab_create(CurrentMemoryContext, Max(SPI_processed, 1), NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *name = SPI_getvalue(tuple, desc, 1);
		char	   *other = SPI_getvalue(tuple, desc, 2);
		char	   *kind = SPI_getvalue(tuple, desc, 3);

		if (!get_boolean(tuple, desc, 6))
			ereport(ERROR,
					errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("flag \"%s\" %s flag \"%s\", which does not exist", name, kind, other),
					errhint("Import that flag as well, or create it first."));
		if (!get_boolean(tuple, desc, 7))
			ereport(ERROR,
					errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("flag \"%s\" %s variant \"%s\" of flag \"%s\", which does not exist",
						   name, kind, SPI_getvalue(tuple, desc, 4), other),
					errhint("Leave it among the variants of that flag, or change the relation."));
		if (!get_boolean(tuple, desc, 8))
			ereport(ERROR,
					errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("flag \"%s\" has no variant \"%s\", which its relation to flag \"%s\" pins",
						   name, SPI_getvalue(tuple, desc, 5), other),
					errhint("Leave it among its variants, or change the relation."));
		add_planned(&planned, name, other, kind);
	}

	/*
	 * in the order of names, so that the same circle is told in the same
	 * words
	 */
	walk = fflag_begin_walk(&planned.graph);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		fflag_walk_from(walk, fflag_string_make(name, strlen(name)));
	}
}

/* Refuses a schedule or a ramp that would make no sense. */
static void
check_terms(HeapTuple tuple, TupleDesc desc, const char *name)
{
	Datum		values[PLAN_COLUMNS];
	bool		nulls[PLAN_COLUMNS];

	heap_deform_tuple(tuple, desc, values, nulls);
	if (!nulls[4] && !nulls[5])
		fflag_check_schedule(DatumGetTimestampTz(values[4]), DatumGetTimestampTz(values[5]), name);
	fflag_check_ramp_complete(!nulls[6] + !nulls[7] + !nulls[8], name);
	if (!nulls[7])
		fflag_check_ramp(DatumGetTimestampTz(values[7]), DatumGetTimestampTz(values[8]), name);
}

static void
add_changed(changed_flags *flags, NullableDatum id, Datum changes)
{
	flags->building_ids = accumArrayResult(flags->building_ids, id.value, id.isnull, INT8OID,
										   CurrentMemoryContext);
	flags->building_changes = accumArrayResult(flags->building_changes, changes, false, JSONBOID,
											   CurrentMemoryContext);
	flags->count++;
}

static void
end_changed(changed_flags *flags)
{
	if (flags->count == 0)
		return;
	flags->ids = makeArrayResult(flags->building_ids, CurrentMemoryContext);
	flags->changes = makeArrayResult(flags->building_changes, CurrentMemoryContext);
}

/* Notes what is to be written of a flag, whose id is null in a dry run if it is new. */
static void
note_changes(flag_import *import, NullableDatum id, Datum changes, bool is_new)
{
	Jsonb	   *json = DatumGetJsonbP(changes);
	bool		own_row = false;

	for (int i = 0; i < fflag_document_key_count; i++)
	{
		const fflag_document_key *key = &fflag_document_keys[i];

		if (getKeyJsonValueFromContainer(&json->root, key->name, strlen(key->name), NULL) == NULL)
			continue;
		import->writes[key->part] = true;
		own_row |= key->part == FFLAG_PART_FLAG && !is_new;
	}
	add_changed(&import->all, id, changes);
	if (own_row)
		add_changed(&import->updated, id, changes);
}

/* Finds out what is to change, and puts it into the function's result. */
static void
plan_changes(flag_import *import, ReturnSetInfo *result)
{
	fflag_command command = {.read_only = false};
	fflag_selection selection = {.ids = NULL};
	fflag_rows_sql rows;
	StringInfoData sql;

	initStringInfo(&sql);
	if (import->document.has_lists)
	{
		selection.allowlists = "w.allowlist";
		selection.denylists = "w.denylist";
	}
	selection.ids = "SELECT w.id FROM known AS w WHERE true";
	rows = fflag_rows_in_sql(&selection);
	appendStringInfo(&sql, found_flags, rows.with.data, fflag_flag_in_sql(&selection), rows.joins.data);
	appendStringInfo(&sql, found_changes, import->document.has_internal ? LISTS_NOBODY : "false");
	command.sql = sql.data;
	fflag_add_parameter(&command, JSONBOID, import->json);
	fflag_add_parameter(&command, TEXTARRAYOID, import->created);
	fflag_add_parameter(&command, TEXTARRAYOID, moments());
	fflag_add_parameter(&command, JSONBOID, import->unset);
	fflag_run_in_utc(&command);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *name = SPI_getvalue(tuple, desc, 1);
		Datum		row[3];
		bool		nulls[3];
		NullableDatum id;

		CHECK_FOR_INTERRUPTS();
		for (int column = 0; column < 3; column++)
			row[column] = SPI_getbinval(tuple, desc, column + 1, &nulls[column]);
		tuplestore_putvalues(result->setResult, result->setDesc, row, nulls);
		id.value = SPI_getbinval(tuple, desc, 4, &id.isnull);
		if (!nulls[2])
		{
			check_terms(tuple, desc, name);
			note_changes(import, id, row[2], strcmp(TextDatumGetCString(row[1]), "created") == 0);
		}
		if (get_boolean(tuple, desc, PLAN_COLUMNS))
			ereport(WARNING,
					errmsg("internal flag \"%s\" is imported without its allowlist: nobody gets it", name),
					errhint("Export it with its lists, or list users here: fflag_allow(%s, ...).",
							quote_literal_cstr(name)));
	}
	end_changed(&import->all);
	end_changed(&import->updated);
}

/* ----------
 * Writing
 * ----------
 */

/* The columns of the flags' table that a document has, each by a format with its name and type. */
static char *
columns_in_sql(const char *format)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < fflag_document_key_count; i++)
	{
		const fflag_document_key *key = &fflag_document_keys[i];

		for (const char *c = format; key->part == FFLAG_PART_FLAG && *c; c++)
		{
			if (*c == '@')
				appendStringInfoString(&sql, key->name);
			else if (*c == '#')
				appendStringInfoString(&sql, fflag_json_sql_type(key->type));
			else
				appendStringInfoChar(&sql, *c);
		}
	}
	return sql.data;
}

/* What the last command has returned in its first column, text[]. */
static Datum
returned_names(void)
{
	ArrayBuildState *names = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		name = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		accumArrayResult(names, name, isnull, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(names, CurrentMemoryContext);
}

/*
 * Locks the flags that the document mentions, in the order of their names, as far as
 * they are there and the caller may lock them.  Returns their names, text[].
 */
static Datum
lock_flags(flag_import *import)
{
	bool		may_lock = pg_class_aclcheck(get_relname_relid(FFLAG_FLAGS_TABLE, import->schema),
											 GetUserId(), ACL_UPDATE) == ACLCHECK_OK;
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[] = {PointerGetDatum(import->document.mentioned)};

	fflag_run(psprintf("SELECT name::pg_catalog.text FROM %s WHERE name OPERATOR(pg_catalog.=) ANY ($1)"
					   " ORDER BY name COLLATE pg_catalog.\"C\"%s",
					   fflag_table_in_sql(import->schema, FFLAG_FLAGS_TABLE),
					   may_lock ? " FOR NO KEY UPDATE" : ""),
			  1, types, values);
	return returned_names();
}

/*
 * Creates flags that are not there, with all that their own row has: the history is to
 * show one change.  Then others that may have been created meanwhile are locked, too.
 */
static void
create_flags(flag_import *import, Datum present)
{
	Oid			types[] = {JSONBOID, JSONBOID, TEXTARRAYOID};
	Datum		values[] = {import->json, import->unset, present};

	fflag_run(psprintf("INSERT INTO %s (name%s) SELECT c.name%s"
					   " FROM pg_catalog.jsonb_array_elements($1 OPERATOR(pg_catalog.->) 'flags') AS d (flag),"
					   " pg_catalog.jsonb_to_record($2 OPERATOR(pg_catalog.||) d.flag) AS c (name pg_catalog.text%s)"
					   " WHERE c.name OPERATOR(pg_catalog.<>) ALL ($3)"
					   " ORDER BY c.name COLLATE pg_catalog.\"C\""
					   " ON CONFLICT (name) DO NOTHING RETURNING name::pg_catalog.text",
					   fflag_table_in_sql(import->schema, FFLAG_FLAGS_TABLE),
					   columns_in_sql(", @"), columns_in_sql(", c.@"), columns_in_sql(", @ #")),
			  3, types, values);
	import->created = returned_names();
	(void) lock_flags(import);
}

/*
 * Changes in SQL, $1 and $2, the ids of flags and what changes of each.  What one side of
 * a key has, as rows of a flag's id and other columns, is a subquery that OFFSET keeps
 * apart: otherwise the server would carry the changes along with each row.
 */
#define CHANGES "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS c (id, changes)"
#define SIDE(key, side) "pg_catalog.jsonb_extract_path(c.changes, '" key "', '" side "')"
#define RECORDS(key, side, columns) \
	"(SELECT c.id AS flag_id, e.* FROM " CHANGES ", pg_catalog.jsonb_to_recordset(" SIDE(key, side) ") AS e (" columns ") OFFSET 0)"
#define USERS(side) \
	"(SELECT c.id AS flag_id, e.user_id FROM " CHANGES ", pg_catalog.jsonb_array_elements_text(" SIDE("%s", side) ") AS e (user_id) OFFSET 0)"

static void
write_changes(changed_flags *flags, const char *sql)
{
	Oid			types[] = {INT8ARRAYOID, JSONBARRAYOID};
	Datum		values[] = {flags->ids, flags->changes};

	fflag_run(sql, 2, types, values);
}

/*
 * Users who come onto lists do so before others go, and both in order: whoever adds some
 * at the same time may wait for us, and we never for them.
 */
static void
write_list(flag_import *import, const char *table, const char *key)
{
	char	   *name = fflag_table_in_sql(import->schema, table);

	write_changes(&import->all,
				  psprintf("INSERT INTO %s (flag_id, user_id) SELECT n.flag_id, n.user_id FROM " USERS("new") " AS n"
						   " ORDER BY n.flag_id, n.user_id COLLATE pg_catalog.\"C\" ON CONFLICT DO NOTHING", name, key));
	if (pg_class_aclcheck(get_relname_relid(table, import->schema), GetUserId(),
						  ACL_UPDATE) == ACLCHECK_OK)
		write_changes(&import->all,
					  psprintf("SELECT FROM %s AS l JOIN " USERS("old") " AS o"
							   " ON l.flag_id OPERATOR(pg_catalog.=) o.flag_id AND l.user_id OPERATOR(pg_catalog.=) o.user_id"
							   " ORDER BY l.flag_id, l.user_id COLLATE pg_catalog.\"C\" FOR UPDATE OF l", name, key));
	write_changes(&import->all,
				  psprintf("DELETE FROM %s AS l USING " USERS("old") " AS o"
						   " WHERE l.flag_id OPERATOR(pg_catalog.=) o.flag_id AND l.user_id OPERATOR(pg_catalog.=) o.user_id", name, key));
}

/*
 * Writes what has been planned: relations go before variants that they may name, and come
 * when all variants are there.
 */
static void
write_all(flag_import *import)
{
	char	   *flags = fflag_table_in_sql(import->schema, FFLAG_FLAGS_TABLE);
	char	   *variants = fflag_table_in_sql(import->schema, FFLAG_VARIANTS_TABLE);
	char	   *relations = fflag_table_in_sql(import->schema, FFLAG_RELATIONS_TABLE);

	if (import->updated.count > 0)
		write_changes(&import->updated,
					  psprintf("UPDATE %s AS f SET %s FROM " CHANGES " WHERE f.id OPERATOR(pg_catalog.=) c.id", flags,
							   columns_in_sql(", @ = CASE WHEN pg_catalog.jsonb_exists(c.changes, '@')"
											  " THEN pg_catalog.jsonb_extract_path_text(c.changes, '@', 'new')::# ELSE f.@ END") + 2));
	if (import->writes[FFLAG_PART_RELATIONS])
		write_changes(&import->all,
					  psprintf("DELETE FROM %s AS r USING "
							   RECORDS("relations", "old", "other pg_catalog.text, other_variant pg_catalog.text") " AS o, %s AS f"
							   " WHERE f.name OPERATOR(pg_catalog.=) o.other AND r.flag_id OPERATOR(pg_catalog.=) o.flag_id"
							   " AND r.other_id OPERATOR(pg_catalog.=) f.id"
							   " AND coalesce(r.other_variant, '') OPERATOR(pg_catalog.=) coalesce(o.other_variant, '')",
							   relations, flags));
	if (import->writes[FFLAG_PART_VARIANTS])
	{
		write_changes(&import->all,
					  psprintf("DELETE FROM %s AS v USING "
							   RECORDS("variants", "old", "name pg_catalog.text") " AS o"
							   " WHERE v.flag_id OPERATOR(pg_catalog.=) o.flag_id AND v.name OPERATOR(pg_catalog.=) o.name"
							   " AND NOT EXISTS (SELECT FROM " RECORDS("variants", "new", "name pg_catalog.text") " AS n"
							   " WHERE n.flag_id OPERATOR(pg_catalog.=) o.flag_id AND n.name OPERATOR(pg_catalog.=) o.name)",
							   variants));
		/* not by RECORDS: it takes the payload null for none */
		write_changes(&import->all,
					  psprintf("INSERT INTO %s (flag_id, name, weight, payload)"
							   " SELECT c.id, n.variant OPERATOR(pg_catalog.->>) 'name',"
							   " (n.variant OPERATOR(pg_catalog.->>) 'weight')::pg_catalog.numeric,"
							   " n.variant OPERATOR(pg_catalog.->) 'payload'"
							   " FROM " CHANGES ", pg_catalog.jsonb_array_elements(" SIDE("variants", "new") ") AS n (variant)"
							   " ORDER BY c.id, (n.variant OPERATOR(pg_catalog.->>) 'name') COLLATE pg_catalog.\"C\""
							   " ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight, payload = EXCLUDED.payload",
							   variants));
	}
	if (import->writes[FFLAG_PART_RELATIONS])
		write_changes(&import->all,
					  psprintf("INSERT INTO %s (flag_id, other_id, kind, other_variant, pin)"
							   " SELECT n.flag_id, f.id, n.kind, n.other_variant, n.pin FROM "
							   RECORDS("relations", "new", "other pg_catalog.text, kind pg_catalog.text,"
									   " other_variant pg_catalog.text, pin pg_catalog.text") " AS n, %s AS f"
							   " WHERE f.name OPERATOR(pg_catalog.=) n.other"
							   " ORDER BY n.flag_id, f.id, n.other_variant COLLATE pg_catalog.\"C\"", relations, flags));
	if (import->writes[FFLAG_PART_ALLOWLIST])
		write_list(import, FFLAG_USERS_TABLE, "allowlist");
	if (import->writes[FFLAG_PART_DENYLIST])
		write_list(import, FFLAG_DENIED_TABLE, "denylist");
}

/* A dry run sees what its statement sees, the real one what it has locked, and created. */
static void
scan_tables(flag_import *import, fflag_scanned_tables *scanned, bool dry_run)
{
	Snapshot	snapshot;

	if (!dry_run)
		CommandCounterIncrement();
	snapshot = RegisterSnapshot(dry_run ? fflag_active_snapshot() : GetTransactionSnapshot());
	fflag_scan_tables(scanned, import->schema, import->document.has_lists || import->document.has_internal, snapshot);
	UnregisterSnapshot(snapshot);
}

/* fflag_import(flags, dry_run) returns setof (name, action, changes) */
PG_FUNCTION_INFO_V1(fflag_import);

Datum
fflag_import(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	flag_import import = {.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid)};
	fflag_scanned_tables scanned = {{NULL}};
	bool		dry_run;
	Datum		present;

	InitMaterializedSRF(fcinfo, 0);
	fflag_check_argument(fcinfo, 0, "flags", "fflag_import");
	fflag_check_argument(fcinfo, 1, "dry_run", "fflag_import");
	dry_run = PG_GETARG_BOOL(1);
	if (!dry_run)
	{
		PreventCommandIfReadOnly("fflag_import()");
		PreventCommandDuringRecovery("fflag_import()");
	}
	fflag_check_not_attached(import.schema);

	SPI_connect();
	import.json = JsonbPGetDatum(PG_GETARG_JSONB_P(0));
	import.document = fflag_check_document(DatumGetJsonbP(import.json));
	import.unset = unset_values();
	import.created = PointerGetDatum(construct_empty_array(TEXTOID));
	if (!dry_run)
	{
		if (pg_class_aclcheck(get_relname_relid(FFLAG_RELATIONS_TABLE, import.schema), GetUserId(),
							  ACL_INSERT | ACL_DELETE) == ACLCHECK_OK)
			fflag_lock_relations();
		present = lock_flags(&import);
		if (ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(present)), ARR_DIMS(DatumGetArrayTypeP(present))) <
			ArrayGetNItems(ARR_NDIM(import.document.mentioned), ARR_DIMS(import.document.mentioned)))
			create_flags(&import, present);
	}
	scan_tables(&import, &scanned, dry_run);
	plan_changes(&import, rsinfo);
	check_planned_relations(&import);
	fflag_end_scanned(&scanned);
	if (!dry_run && import.all.count > 0)
		write_all(&import);
	SPI_finish();
	return (Datum) 0;
}
