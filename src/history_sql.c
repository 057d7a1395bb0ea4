/*
 * history_sql.c
 *		fflag_history() and fflag_prune_history(): reading and forgetting what
 *		history.c has recorded.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "change.h"
#include "extension.h"
#include "history.h"
#include "id.h"
#include "read.h"
#include "restored.h"
#include "snapshot.h"
#include "spi.h"

/* A relation's values for people, whose other flag has a name. */
#define RELATION(row, other) \
	"jsonb_strip_nulls(" row " || jsonb_build_object('id', NULL, 'flag_id', NULL, 'other_id', NULL, 'created_at', NULL, 'other', " other "))"

/*
 * Which lines of the history are looked at: those that are told, and those that these
 * depend on.
 *
 * - Whose lists, variants and relations they are, and what a flag was called then, or
 *   last, tell all lines of flags with this id.
 * - What the other flag of a relation is called, if it has no name today, tell those of
 *   flags with the other's id.
 * - In a history that a restore has brought, whether a line is the restore's, the line
 *   before of the same thing tells: of a flag by its name, which others may have had.
 *
 * What is looked for by name or id is found by the indexes, each change by its key,
 * whatever the planner thinks of the tables (by_index).  Lists are long, and counted
 * before anything else is done with them.
 */
#define OF_ID(id) "left(h.flag_id, 100) = left(" id ", 100) AND h.flag_id = " id
#define OF_NAME(name) "h.kind = 'flag' AND h.name IS NOT NULL" \
	" AND left(h.name, 100) = left(" name ", 100) AND h.name = " name
#define OF_USER(user) "left(h.user_id, 100) = left(" user ", 100) AND h.user_id = " user
#define NO_USER "left(h.user_id, 100) IS NULL"
#define IN_LIST "kind IN ('user', 'denied')"
#define EACH(ids, key) ids ", LATERAL (SELECT * FROM ONLY %1$s AS h WHERE " key " OFFSET 0) AS h"

#define USERS(lists) \
	" users AS (SELECT change, sequence, attached, flag_id, CASE kind WHEN 'user'" \
	"   THEN CASE WHEN old_row IS NULL THEN 'user listed' WHEN new_row IS NULL THEN 'user unlisted' ELSE 'user updated' END" \
	"   ELSE CASE WHEN old_row IS NULL THEN 'user denied' WHEN new_row IS NULL THEN 'user undenied' ELSE 'denied user updated' END END AS what," \
	"  CASE WHEN count(*) = 1 THEN min(user_id) END AS user_id, count(*) AS users" \
	"  FROM " lists " WHERE " IN_LIST " AND operation <> 'detach' GROUP BY change, sequence, attached, flag_id, what, CASE WHEN $2 THEN user_id END)"
#define CHANGES(from) " c AS (SELECT c.*, coalesce(c.at, 'infinity') AS moment FROM " from " AS c WHERE NOT c.begins),"
#define ALL_CHANGES CHANGES("ONLY %2$s")
#define CHANGES_OF(lines) CHANGES("(" lines ") AS l, LATERAL (SELECT * FROM ONLY %2$s AS c WHERE c.id = l.change OFFSET 0)")

/*
 * What the listing begins with: its lines "h", the counted "users", the changes of both
 * "c".  Where something has been restored, what a restore has inserted is left out, and
 * what has come twice.
 */
#define AS_RECORDED(before, lines, lists, changes) \
	before " lines AS (" lines ")," USERS("(" lists ") AS l") "," changes \
	" h AS (SELECT h.*, coalesce(c.moment, '-infinity') AS moment FROM lines AS h LEFT JOIN c ON c.id = h.change WHERE h.operation <> 'detach')"
#define AS_RESTORED(before, lines, lists, others, changes) \
	before " near AS (" lines "), lines AS (TABLE near UNION ALL " lists others ")," changes \
	" h AS (SELECT * FROM (SELECT h.*, lag(" FFLAG_IS_GONE ") OVER (PARTITION BY h.kind, h.attached, h.name," \
	"   CASE WHEN h.kind <> 'flag' THEN h.flag_id END, h.user_id ORDER BY h.at, h.sequence, h.old_row IS NULL) AS gone" \
	"   FROM (SELECT DISTINCT ON (h.change, h.sequence, h.kind, h.attached, h.operation, h.name, h.flag_id, h.user_id)" \
	"    h.*, coalesce(c.moment, '-infinity') AS moment, c.moment AS at, c.origin FROM lines AS h LEFT JOIN c ON c.id = h.change" \
	"    WHERE h.operation <> 'detach') AS h) AS h WHERE (%3$s) IS NOT TRUE)," USERS("h")
#define NAMESAKES \
	" UNION ALL SELECT h.* FROM " EACH("(SELECT DISTINCT name FROM near WHERE kind = 'flag') AS n", OF_NAME("n.name"))

/* All lines. */
#define ALL "SELECT * FROM ONLY %1$s WHERE NOT " IN_LIST
#define ALL_LISTS "SELECT * FROM ONLY %1$s WHERE " IN_LIST

/*
 * Those of a name, $1: $8 are the ids that flags with it have or had, $9 those of others
 * that have no name today.  A flag of an attached table may have had no id.
 */
#define OF_FLAG \
	"SELECT h.* FROM " EACH("unnest($8) AS id", OF_ID("id") " AND " NO_USER) \
	" UNION ALL SELECT h.* FROM " EACH("unnest($9) AS id", OF_ID("id") " AND " NO_USER " AND h.kind = 'flag'") " WHERE id <> ALL ($8)" \
	" UNION ALL SELECT h.* FROM ONLY %1$s AS h WHERE " OF_NAME("$1") " AND h.flag_id IS NULL"
#define LISTS_OF_FLAG "SELECT h.* FROM " EACH("unnest($8) AS id", OF_ID("id") " AND left(h.user_id, 100) IS NOT NULL")

/* Those from $6 on, before $7.  It takes a scan: changes have no index in the history. */
#define STRETCH \
	"told AS (SELECT h.* FROM ONLY %1$s AS h JOIN ONLY %2$s AS c ON c.id = h.change WHERE NOT c.begins" \
	"   AND (c.at >= coalesce($6, '-infinity') AND c.at <= coalesce($7, 'infinity') AND (c.at < $7) IS NOT FALSE OR c.at IS NULL AND $7 IS NULL)" \
	"  UNION ALL SELECT h.* FROM ONLY %1$s AS h WHERE coalesce($6, '-infinity') = '-infinity'" \
	"   AND NOT EXISTS (SELECT FROM ONLY %2$s AS c WHERE c.id = h.change AND NOT c.begins))," \
	" ids AS (SELECT flag_id AS id FROM told WHERE kind <> 'flag' UNION" \
	"  (SELECT unnest(ARRAY[old_row ->> 'other_id', new_row ->> 'other_id']) FROM told WHERE kind = 'relation'" \
	"   EXCEPT SELECT id FROM today WHERE NOT attached)),"
#define OF_STRETCH \
	"SELECT * FROM told WHERE kind NOT IN ('flag', 'user', 'denied')" \
	" UNION ALL SELECT * FROM told WHERE kind = 'flag' AND NOT EXISTS (SELECT FROM ids WHERE ids.id = told.flag_id)" \
	" UNION ALL SELECT h.* FROM " EACH("ids", OF_ID("ids.id") " AND " NO_USER " AND h.kind = 'flag'")
#define LISTS_OF_STRETCH "SELECT * FROM told WHERE " IN_LIST
/* the lines before of all things but flags */
#define BEFORE_STRETCH \
	" UNION ALL SELECT h.* FROM " EACH("(SELECT DISTINCT flag_id FROM told WHERE kind IN ('variant', 'relation')) AS f", OF_ID("f.flag_id") " AND " NO_USER) \
	" UNION ALL SELECT h.* FROM " EACH("(SELECT DISTINCT flag_id, user_id FROM told WHERE " IN_LIST ") AS u", OF_ID("u.flag_id") " AND " OF_USER("u.user_id")) \
	" UNION ALL SELECT * FROM ONLY %1$s WHERE kind = 'tables' OR kind = 'gap'"

typedef enum which_lines
{
	LINES_ALL, LINES_OF_NAME, LINES_OF_STRETCH
}			which_lines;

/* ... as recorded, and if something has been restored. */
static const char *const beginnings[][2] = {
	[LINES_ALL] = {
		AS_RECORDED("", ALL, ALL_LISTS, ALL_CHANGES),
		AS_RESTORED("", ALL, ALL_LISTS, "", ALL_CHANGES)
	},
	[LINES_OF_NAME] = {
		AS_RECORDED("", OF_FLAG, LISTS_OF_FLAG, CHANGES_OF("SELECT change FROM lines UNION SELECT change FROM users")),
		AS_RESTORED("", OF_FLAG, LISTS_OF_FLAG, NAMESAKES, CHANGES_OF("SELECT DISTINCT change FROM lines"))
	},
	[LINES_OF_STRETCH] = {
		AS_RECORDED(STRETCH, OF_STRETCH, LISTS_OF_STRETCH, CHANGES_OF("SELECT change FROM lines UNION SELECT change FROM users")),
		AS_RESTORED(STRETCH, OF_STRETCH, LISTS_OF_STRETCH, NAMESAKES BEFORE_STRETCH, CHANGES_OF("SELECT DISTINCT change FROM lines"))
	},
};

/*
 * The changes of flags as people read them.  $1 is a flag's name or null, $2
 * whether users are told one by one, $3 to $5 are today's flags, $6 and $7 from when
 * on and until when.  It begins with one of the above.
 *
 * What one UPDATE has taken from one name and given to another, with the same
 * id, is a flag renamed.  A flag that has the name asked for, or had it when it was
 * deleted, is listed from its beginning, under the names that it had.  "life" tells
 * it from others that had its id before.
 */
static const char *const listing =
"WITH today AS (SELECT attached, id, name COLLATE \"C\" AS name FROM unnest($3, $4, $5) AS t (attached, id, name)),"
" %s,"
/* changes of flags, those of a renamed one put together */
" paired AS (SELECT *, lead(name) OVER same AS new_name, lead(new_row) OVER same AS renamed_row, lag(name) OVER same AS other_name"
"  FROM (SELECT *, operation = 'update' AND (old_row IS NULL OR new_row IS NULL) AND flag_id IS NOT NULL AS renames"
"   FROM h WHERE kind = 'flag') AS f"
"  WINDOW same AS (PARTITION BY change, sequence, attached, flag_id, renames ORDER BY old_row IS NULL)),"
" flag AS (SELECT change, sequence, moment, attached, flag_id,"
"  CASE WHEN renames AND new_name IS NOT NULL THEN 'flag renamed' WHEN old_row IS NULL THEN 'flag created'"
"   WHEN new_row IS NULL THEN 'flag deleted' ELSE 'flag updated' END AS what,"
"  name AS old_name, CASE WHEN renames THEN coalesce(new_name, name) ELSE name END AS name,"
"  old_row, CASE WHEN renames THEN coalesce(renamed_row, new_row) ELSE new_row END AS new_row"
"  FROM paired WHERE NOT (renames AND other_name IS NOT NULL)),"
/* what flags are called now, or were last */
" called AS (SELECT DISTINCT ON (id) id, name FROM (SELECT id, name, 'infinity'::timestamptz AS moment, 9223372036854775807 AS sequence, false AS goes FROM today WHERE NOT attached"
"   UNION ALL SELECT flag_id, name, moment, sequence, new_row IS NULL FROM flag WHERE NOT attached) AS u ORDER BY id, moment DESC, sequence DESC, goes),"
" lived AS (SELECT *, count(*) FILTER (WHERE what = 'flag created') OVER (PARTITION BY attached, flag_id"
"  ORDER BY moment, sequence, old_row IS NULL) AS life FROM flag),"
/* what knows a flag's id only: users on its lists, its variants, its relations */
" listed AS (SELECT u.change, u.sequence, coalesce(c.moment, '-infinity') AS moment, u.attached, u.flag_id, u.what, u.user_id, u.users,"
"  NULL::jsonb AS old_row, NULL::jsonb AS new_row FROM users AS u LEFT JOIN c ON c.id = u.change"
" UNION ALL SELECT change, sequence, moment, attached, flag_id,"
"  CASE WHEN old_row IS NULL THEN 'variant created' WHEN new_row IS NULL THEN 'variant deleted' ELSE 'variant updated' END,"
"  NULL, NULL, old_row, new_row FROM h WHERE kind = 'variant'"
" UNION ALL SELECT change, sequence, moment, attached, flag_id,"
"  CASE WHEN old_row IS NULL THEN 'relation created' WHEN new_row IS NULL THEN 'relation deleted' ELSE 'relation updated' END,"
"  NULL, NULL, " RELATION("old_row", "o.name") ", " RELATION("new_row", "n.name")
"  FROM h LEFT JOIN called AS o ON o.id = old_row ->> 'other_id' LEFT JOIN called AS n ON n.id = new_row ->> 'other_id' WHERE kind = 'relation'),"
/* what a flag was called before the first change of it, and after each */
" event AS (SELECT sequence, moment, attached, flag_id, life, old_row,"
"  CASE WHEN row_number() OVER same = 1 AND old_row IS NOT NULL THEN old_name END AS first_name,"
"  coalesce(lead(CASE WHEN old_row IS NOT NULL THEN old_name END) OVER same,"
"   CASE WHEN new_row IS NOT NULL THEN name ELSE old_name END) AS name"
"  FROM lived WINDOW same AS (PARTITION BY attached, flag_id ORDER BY moment, sequence, old_row IS NULL)),"
" asked AS (SELECT attached, flag_id, life FROM (SELECT DISTINCT ON (attached, flag_id, life) attached, flag_id, life, name"
"  FROM event ORDER BY attached, flag_id, life, moment DESC, sequence DESC, old_row IS NULL DESC) AS l WHERE name = $1),"
" counted AS (SELECT *, count(*) FILTER (WHERE what IS NULL) OVER same AS n, coalesce(max(its_life) OVER same, 0) AS life"
"  FROM (SELECT *, NULL AS first_name, NULL AS name, NULL AS its_life FROM listed"
"   UNION ALL SELECT NULL, sequence, moment, attached, flag_id, NULL, NULL, NULL, NULL, NULL, first_name, name, life FROM event"
"    WHERE flag_id IS NOT NULL) AS u"
"  WINDOW same AS (PARTITION BY attached, flag_id ORDER BY moment, sequence, what IS NOT NULL)),"
" named AS (SELECT change, sequence, moment, attached, flag_id, life, what, user_id, users, old_row, new_row,"
"  CASE WHEN n = 0 THEN max(first_name) OVER (PARTITION BY attached, flag_id)"
"   ELSE max(name) OVER (PARTITION BY attached, flag_id, n) END AS name FROM counted),"
" line AS (SELECT change, sequence, moment, what, name, NULL::text AS user_id, NULL::bigint AS users, old_row, new_row"
"  FROM lived WHERE $1 IS NULL OR $1 IN (old_name, name) OR (attached, flag_id, life) IN (TABLE asked)"
" UNION ALL SELECT l.change, l.sequence, l.moment, l.what, coalesce(l.name, today.name), l.user_id, l.users, l.old_row, l.new_row"
"  FROM named AS l LEFT JOIN today ON today.id = l.flag_id AND today.attached = l.attached"
"  WHERE l.what IS NOT NULL AND ($1 IS NULL OR coalesce(l.name, today.name) = $1"
"   OR (l.attached, l.flag_id, l.life) IN (TABLE asked))"
" UNION ALL SELECT change, sequence, moment, CASE WHEN kind = 'gap' THEN 'history interrupted'"
"   WHEN old_row IS NULL THEN 'tables attached' WHEN new_row IS NULL THEN 'tables detached' ELSE 'attachment updated' END,"
"  NULL, NULL, NULL, old_row, new_row FROM h WHERE kind IN ('tables', 'gap') AND $1 IS NULL)"
/* the owner may have given columns other types; some values are told if they are as before, too */
" SELECT c.at::timestamptz, c.session_role::text, c.role::text, c.application_name::text, nullif(c.actor::text, ''),"
"  l.what::text, l.name::text, l.user_id::text, l.users::bigint,"
"  (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(l.old_row) AS e"
"   WHERE e.key <> 'updated_at' AND coalesce(l.new_row -> e.key, 'null') <> e.value OR l.what ^@ 'variant' AND e.key = 'name' OR l.what ^@ 'relation' AND e.key IN ('kind', 'other', 'other_variant') AND e.value <> 'null'),"
"  (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(l.new_row) AS e"
"   WHERE e.key <> 'updated_at' AND coalesce(l.old_row -> e.key, 'null') <> e.value OR l.what ^@ 'variant' AND e.key = 'name' OR l.what ^@ 'relation' AND e.key IN ('kind', 'other', 'other_variant') AND e.value <> 'null')"
" FROM line AS l LEFT JOIN c ON c.id = l.change, coalesce(l.new_row, l.old_row) AS r"
" WHERE (l.moment >= $6) IS NOT FALSE AND (l.moment < $7) IS NOT FALSE"
" ORDER BY l.moment DESC, l.sequence DESC, l.name, l.what, l.user_id,"
"  r ->> 'name' COLLATE \"C\", r ->> 'other' COLLATE \"C\", r ->> 'other_variant' COLLATE \"C\"";

#define HISTORY_COLUMNS 11

/* Today's flags: three arrays for the listing. */
typedef struct flag_arrays
{
	bool		attached;
	ArrayBuildState *attacheds;
	ArrayBuildState *ids;
	ArrayBuildState *names;
} flag_arrays;

static bool
add_flag(const fflag_row *row, void *arg)
{
	flag_arrays *flags = arg;

	flags->attacheds = accumArrayResult(flags->attacheds, BoolGetDatum(flags->attached),
										false, BOOLOID, CurrentMemoryContext);
	flags->ids = accumArrayResult(flags->ids, fflag_string_to_text(row->id), false, TEXTOID,
								  CurrentMemoryContext);
	flags->names = accumArrayResult(flags->names, fflag_string_to_text(row->name), false, TEXTOID,
									CurrentMemoryContext);
	return true;
}

/*
 * Reads today's flags as evaluation does, of our own table and of an attached one.  A
 * query would run code of its owner's, in an index for one, as the history's.  With a
 * name, only those that have it.
 */
static void
read_todays_flags(flag_arrays *flags, Oid schema, const fflag_string *name)
{
	Snapshot	snapshot = fflag_active_snapshot();
	fflag_source source = fflag_locate_own(schema);
	fflag_row	row;

	flags->attacheds = initArrayResult(BOOLOID, CurrentMemoryContext, false);
	flags->ids = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	flags->names = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	for (;;)
	{
		if (name == NULL)
			fflag_read_flags(&source, snapshot, add_flag, flags);
		else if (fflag_read_flag(&source, *name, snapshot, &row))
			add_flag(&row, flags);
		if (flags->attached || fflag_attached_name(schema, snapshot) == NULL)
			break;
		flags->attached = true;
		source = fflag_locate(schema, snapshot);
	}
}

/* Adds those of our own that have these ids and another name than this.  Returns the other ids. */
static Datum
add_others(flag_arrays *flags, Oid schema, Datum ids, fflag_string name)
{
	fflag_source source = fflag_locate_own(schema);
	ArrayBuildState *missing = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	Datum	   *elements;
	int			count;
	fflag_row	row;

	flags->attached = false;
	deconstruct_array(DatumGetArrayTypeP(ids), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!fflag_read_flag_by_id(&source, fflag_string_of_text(DatumGetTextPP(elements[i])),
								   fflag_active_snapshot(), &row))
			missing = accumArrayResult(missing, elements[i], false, TEXTOID, CurrentMemoryContext);
		else if (!fflag_string_equal(row.name, name))
			add_flag(&row, flags);
	}
	return makeArrayResult(missing, CurrentMemoryContext);
}

/*
 * The ids that flags of a name have today, $2, or had, and those of the others that
 * their relations lead to, or led to.
 */
static const char *const ids_of_name =
"WITH ids AS (SELECT h.flag_id AS id FROM ONLY %1$s AS h WHERE " OF_NAME("$1") " AND h.flag_id IS NOT NULL UNION SELECT unnest($2)),"
" others AS (SELECT unnest(ARRAY[r.old_row ->> 'other_id', r.new_row ->> 'other_id']) AS id FROM ids,"
"  LATERAL (SELECT h.old_row, h.new_row FROM ONLY %1$s AS h WHERE " OF_ID("ids.id") " AND " NO_USER " AND h.kind = 'relation' OFFSET 0) AS r)"
" SELECT ARRAY(TABLE ids), ARRAY(SELECT DISTINCT id FROM others WHERE id IS NOT NULL)";

/* Finds these. */
static void
find_ids(const fflag_history_tables *h, Datum name, Datum todays, Datum *ids, Datum *others)
{
	fflag_command command = fflag_history_command(h);
	bool		isnull;

	command.read_only = true;
	command.by_index = true;
	fflag_add_parameter(&command, TEXTOID, name);
	fflag_add_parameter(&command, TEXTARRAYOID, todays);
	command.sql = psprintf(ids_of_name, h->history);
	fflag_run_kept(&command);
	*ids = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*others = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
}

/* Has a dump with its history been restored here? */
static bool
is_restored(const fflag_history_tables *h)
{
	fflag_command command = fflag_history_command(h);

	command.read_only = true;
	/* in the order of the index, which is empty otherwise */
	command.sql = psprintf("SELECT FROM ONLY %s WHERE restored_in IS NOT NULL ORDER BY restored_in, at LIMIT 1",
						   h->change);
	return fflag_run_kept(&command) > 0;
}

/* Gives a command its next parameter, an argument of the function. */
static void
add_argument(fflag_command *command, FunctionCallInfo fcinfo, int n, Oid type)
{
	fflag_add_parameter(command, type, PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n));
	if (PG_ARGISNULL(n))
		command->nulls[command->nargs - 1] = 'n';
}

static void
add_array(fflag_command *command, Oid type, ArrayBuildState *state)
{
	fflag_add_parameter(command, type, makeArrayResult(state, CurrentMemoryContext));
}

/* fflag_history(name, detail, since, until) returns setof (at, ...) */
PG_FUNCTION_INFO_V1(fflag_history);

Datum
fflag_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	fflag_history_tables h = fflag_locate_history(schema);
	fflag_command command = fflag_history_command(&h);
	which_lines which = !PG_ARGISNULL(0) ? LINES_OF_NAME :
	PG_ARGISNULL(2) && PG_ARGISNULL(3) ? LINES_ALL : LINES_OF_STRETCH;
	flag_arrays flags = {0};
	Datum		ids = 0;
	Datum		others = 0;
	bool		restored;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	restored = is_restored(&h);
	if (which == LINES_OF_NAME)
	{
		fflag_string name = fflag_string_of_text(PG_GETARG_TEXT_PP(0));

		read_todays_flags(&flags, schema, &name);
		find_ids(&h, PG_GETARG_DATUM(0), makeArrayResult(flags.ids, CurrentMemoryContext), &ids, &others);
		others = add_others(&flags, schema, others, name);
	}
	else
		read_todays_flags(&flags, schema, NULL);

	command.read_only = true;
	command.by_index = true;
	add_argument(&command, fcinfo, 0, TEXTOID);
	fflag_add_parameter(&command, BOOLOID,
						BoolGetDatum(!PG_ARGISNULL(1) && PG_GETARG_BOOL(1)));
	add_array(&command, BOOLARRAYOID, flags.attacheds);
	add_array(&command, TEXTARRAYOID, flags.ids);
	add_array(&command, TEXTARRAYOID, flags.names);
	add_argument(&command, fcinfo, 2, TIMESTAMPTZOID);
	add_argument(&command, fcinfo, 3, TIMESTAMPTZOID);
	if (which == LINES_OF_NAME)
	{
		fflag_add_parameter(&command, TEXTARRAYOID, ids);
		fflag_add_parameter(&command, TEXTARRAYOID, others);
	}
	command.sql = psprintf(listing, psprintf(beginnings[which][restored], h.history, h.change,
											 restored ? fflag_is_restored(h.change, "h") : ""));
	fflag_run_kept(&command);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[HISTORY_COLUMNS];
		bool		nulls[HISTORY_COLUMNS];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * Refuses if the caller may not delete any row of a table of the history.  It is then done as
 * its owner, so that no code of the owner's runs as the caller.
 */
static void
check_may_delete(Oid schema, const char *table)
{
	Oid			relid = get_relname_relid(table, schema);

	if (pg_class_aclcheck(relid, GetUserId(), ACL_DELETE) != ACLCHECK_OK ||
		check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, table);
}

/* fflag_prune_history(before) returns bigint */
PG_FUNCTION_INFO_V1(fflag_prune_history);

Datum
fflag_prune_history(PG_FUNCTION_ARGS)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	fflag_history_tables h;
	fflag_command command;
	Datum		count;
	bool		isnull;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"before\" of fflag_prune_history() must not be null"),
				errhint("Give a moment; changes up to it are forgotten."));
	SPI_connect();
	h = fflag_locate_history(schema);
	command = fflag_history_command(&h);
	command.lock = ShareUpdateExclusiveLock;	/* it plans scans */
	check_may_delete(schema, FFLAG_CHANGE_TABLE);
	check_may_delete(schema, FFLAG_HISTORY_TABLE);
	fflag_add_parameter(&command, TIMESTAMPTZOID,
						TimestampTzGetDatum(Min(PG_GETARG_TIMESTAMPTZ(0), GetCurrentTimestamp())));
	/* by one snapshot: another transaction may commit in between */
	command.sql = psprintf("WITH c AS (DELETE FROM ONLY %s WHERE at <= $1 AND NOT begins RETURNING id, origin, transaction),"
						   " h AS (DELETE FROM ONLY %s AS h USING c WHERE h.change = c.id)"
						   " SELECT count(DISTINCT (origin, transaction)) FROM c",
						   h.change, h.history);
	fflag_run_kept(&command);
	count = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	command.sql = psprintf("UPDATE ONLY %s SET at = $1 WHERE begins AND at < $1", h.change);
	fflag_run_kept(&command);
	SPI_finish();
	return count;
}
