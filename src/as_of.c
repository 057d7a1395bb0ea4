/*
 * as_of.c
 *		What flags, lists, variants and relations were at some moment, or will be.
 *
 * What a flag, an entry of a list, a variant or a relation was at that moment is the old
 * image of the first change after it, or today's row if there is none; both are
 * read under the snapshot of the statement that asks.
 *
 * Tables that were attached and are not any more have no rows of today; all
 * that they held was recorded when they were detached.
 *
 * In a database that has been restored from a dump, the history of the old one
 * goes on.  The rows that the restore has inserted are no new flags; see
 * fflag_is_restored().
 *
 * Where the history does not tell, this is an error, never a guess.
 *
 * At a moment that is to come, everything is what it is today, but for the time,
 * by which flags start, end and ramp.  The history is not asked then: a change of
 * one's own that is not committed counts, as it does for evaluation.
 *
 * SPI is connected in all of this, and results are in the current memory context.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "as_of.h"
#include "attachment.h"
#include "catalog.h"
#include "change.h"
#include "extension.h"
#include "history.h"
#include "id.h"
#include "read.h"
#include "restored.h"
#include "snapshot.h"
#include "spi.h"

#define EQUAL "OPERATOR(pg_catalog.=)"

static char *
time_to_text(TimestampTz t)
{
	return DatumGetCString(DirectFunctionCall1(timestamptz_out,
											   TimestampTzGetDatum(t)));
}

/* A column of the first row that SQL has returned. */
static Datum
result(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column,
						 isnull);
}

/*
 * Refuses a moment of which nothing is known.  If a history has come from
 * another database, that one counts: it knew of the flags before.
 */
static void
check_moment(fflag_as_of *q)
{
	fflag_command command = fflag_history_command(&q->h);
	bool		isnull;
	TimestampTz begin;

	fflag_add_parameter(&command, UUIDOID, fflag_own_origin(q->h.schema));
	command.sql = psprintf("SELECT coalesce(pg_catalog.min(at) FILTER (WHERE origin OPERATOR(pg_catalog.<>) $1 OR restored_in IS NOT NULL), pg_catalog.min(at))::pg_catalog.timestamptz,"
						   " EXISTS (SELECT FROM ONLY %s WHERE restored_in IS NOT NULL),"
						   " EXISTS (SELECT FROM ONLY %s WHERE at IS NULL AND NOT begins AND transaction OPERATOR(pg_catalog.<>)"
						   " coalesce(pg_catalog.pg_current_xact_id_if_assigned(), '0'::pg_catalog.xid8))"
						   " FROM ONLY %s WHERE begins", q->h.change, q->h.change, q->h.change);
	fflag_run_kept(&command);
	begin = DatumGetTimestampTz(result(1, &isnull));
	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" does not say when the history begins",
					   FFLAG_CHANGE_TABLE),
				errhint("Somebody has emptied it; begin anew with INSERT INTO %s (begins, at, session_role, role, application_name, actor) VALUES (true, now(), current_user, current_user, '', '').",
						FFLAG_CHANGE_TABLE));
	if (q->at < begin)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the history of flags begins at %s", time_to_text(begin)),
				errdetail("What flags were at %s is not known.", time_to_text(q->at)),
				errhint("Ask for a later moment."));
	q->restored = DatumGetBool(result(2, &isnull));
	if (DatumGetBool(result(3, &isnull)))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" has changes without a time", FFLAG_CHANGE_TABLE),
				errdetail("When they were committed is not known."),
				errhint("Set column \"at\" of these rows."));
}

/* Refuses if what happens to a table now is not recorded. */
static void
check_recorded(fflag_as_of *q, Oid relid)
{
	/* a statement on the parent fires the parent's triggers */
	if (has_superclass(relid))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("changes of table %s through its parent are not recorded",
					   fflag_relation_name(relid)),
				errhint("Attach a table that is neither a partition nor inherits from another."));
	if (!fflag_is_recorded(relid, fflag_history_function(q->h.schema)))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("changes of table %s are not recorded",
					   fflag_relation_name(relid)),
				errdetail("Triggers that call fflag_record() are missing or disabled."),
				q->attached ?
				errhint("Let the table's owner call fflag_attach() again.") :
				errhint("Enable the triggers."));
}

/* The parameters of changes(): $1 to $3. */
static void
add_period(fflag_as_of *q, fflag_command *command)
{
	fflag_add_parameter(command, TIMESTAMPTZOID, TimestampTzGetDatum(q->at));
	fflag_add_parameter(command, TIMESTAMPTZOID, TimestampTzGetDatum(q->closed_at));
	fflag_add_parameter(command, INT8OID, Int64GetDatum(q->closed_sequence));
}

/*
 * A query for what is known of the changes of one thing after the moment, in
 * order.  The key says of which, in terms of a row h of the history.  If it is
 * of several things, which differ by their names, the query is for the first
 * change of each.
 *
 * Rows that a restore has inserted are no changes.
 */
static char *
changes(fflag_as_of *q, const char *columns, const char *key, bool by_name)
{
	char	   *events;
	char	   *with = "";
	char	   *unless = "";

	/* each row's change by its key, whatever the planner thinks of its tables */
	events = psprintf("FROM ONLY %s AS h LEFT JOIN LATERAL"
					  " (SELECT c.id, coalesce(c.at, 'infinity'::pg_catalog.timestamptz) AS at, c.origin FROM ONLY %s AS c"
					  " WHERE c.id " EQUAL " h.change OFFSET 0) AS hc ON true WHERE %s",
					  q->h.history, q->h.change, key);
	if (q->restored)
	{
		with = psprintf("WITH restored AS MATERIALIZED (SELECT e.ctid FROM"
						" (SELECT h.ctid, h.operation, h.since, hc.at, hc.origin,"
						" pg_catalog.lag(" FFLAG_IS_GONE ") OVER (%s ORDER BY hc.at, h.sequence, h.old_row IS NULL) AS gone"
						" %s) AS e WHERE %s) ",
						by_name ? "PARTITION BY h.name" : "", events,
						fflag_is_restored(q->h.change, "e"));
		unless = " AND NOT EXISTS (SELECT FROM restored AS r WHERE r.ctid " EQUAL " h.ctid)";
	}
	return psprintf("%sSELECT %s%s, hc.id IS NULL %s AND (hc.id IS NULL OR hc.at OPERATOR(pg_catalog.>) $1"
					" AND ROW(hc.at, h.sequence) OPERATOR(pg_catalog.<=) ROW($2, $3)%s)"
					" ORDER BY %s hc.id IS NULL DESC, hc.at, h.sequence, h.old_row IS NULL",
					with, by_name ? "DISTINCT ON (h.name) " : "", columns, events,
					unless, by_name ? "h.name," : "");
}

/*
 * Runs what begins with changes().  Refuses if it is not known when one of them was
 * made, which the last column tells.
 */
static uint64
run_changes(fflag_command *command)
{
	uint64		count;

	command->read_only = true;
	count = fflag_run_kept(command);

	for (uint64 i = 0; i < count; i++)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], desc, desc->natts, &isnull)))
			ereport(ERROR,
					errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("table \"%s\" has rows without their change in table \"%s\"",
						   FFLAG_HISTORY_TABLE, FFLAG_CHANGE_TABLE),
					errdetail("When and by whom these changes were made is not known."),
					errhint("TRUNCATE both tables before data are restored into them; or delete these rows."));
	}
	return count;
}

/* Refuses if changes after the moment may be missing; tells of the last such. */
static void
complain_of_gap(fflag_as_of *q, TimestampTz until)
{
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("changes of %s before %s may be missing in the history",
				   q->attached ? "attached tables" : "flags",
				   time_to_text(until)),
			errdetail("What flags were at %s is not known.", time_to_text(q->at)),
			errhint("Ask for a later moment."));
}

/*
 * Which tables flags were read from then, and until when: by the changes of
 * feature_flag_attachment after the moment, or by its row of today.
 */
static void
find_tables(fflag_as_of *q)
{
	enum
	{
		KIND = 1, NO_OLD_ROW, NO_NEW_ROW, ATTACHED, AT, SEQUENCE, NAMES
	};
	fflag_command command = fflag_history_command(&q->h);
	StringInfoData columns;
	uint64		count;
	bool		isnull;
	bool		found = false;
	Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_ATTACHMENT_TABLE, q->h.schema));

	check_recorded(q, RelationGetRelid(rel));
	q->still_read = true;
	q->closed_at = DT_NOEND;
	q->closed_sequence = PG_INT64_MAX;

	initStringInfo(&columns);
	appendStringInfoString(&columns, "h.kind " EQUAL " '" FFLAG_KIND_GAP "', h.old_row IS NULL, h.new_row IS NULL,"
						   " h.attached::boolean, hc.at, h.sequence::bigint");
	for (int i = 0; i < FFLAG_COLUMNS; i++)
		appendStringInfo(&columns, ", h.old_row OPERATOR(pg_catalog.->>) '%s'",
						 fflag_column_name(i));
	add_period(q, &command);
	command.sql = changes(q, columns.data,
						  "(h.kind " EQUAL " '" FFLAG_KIND_TABLES "' OR h.kind " EQUAL " '" FFLAG_KIND_GAP "')", false);
	count = run_changes(&command);

	for (uint64 i = 0; q->still_read && i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		if (DatumGetBool(SPI_getbinval(tuple, desc, KIND, &isnull)))
			continue;
		if (!found)
		{
			/* the first tells what was, up to a later one that ends it */
			found = true;
			q->attached = !DatumGetBool(SPI_getbinval(tuple, desc, NO_OLD_ROW, &isnull));
			for (int c = 0; q->attached && c < FFLAG_COLUMNS; c++)
			{
				Datum		name = SPI_getbinval(tuple, desc, NAMES + c, &isnull);

				if (!isnull)
					namestrcpy(&q->columns[c], TextDatumGetCString(name));
			}
		}
		if (q->attached && DatumGetBool(SPI_getbinval(tuple, desc, NO_NEW_ROW, &isnull)))
		{
			q->still_read = false;
			q->closed_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, AT, &isnull));
			q->closed_sequence = DatumGetInt64(SPI_getbinval(tuple, desc, SEQUENCE, &isnull));
		}
	}
	if (!found)
	{
		fflag_attachment today;

		q->attached = fflag_read_attachment(rel, q->snapshot, &today);
		if (q->attached)
			memcpy(q->columns, today.columns, sizeof(q->columns));
	}
	for (uint64 i = count; i-- > 0;)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		TimestampTz at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, AT, &isnull));

		if (DatumGetBool(SPI_getbinval(tuple, desc, KIND, &isnull)) && at <= q->closed_at &&
			DatumGetBool(SPI_getbinval(tuple, desc, ATTACHED, &isnull)) == q->attached)
			complain_of_gap(q, at);
	}
	table_close(rel, AccessShareLock);

	if (!q->attached)
	{
		q->source = fflag_locate_own(q->h.schema);
		memcpy(q->columns, q->source.columns, sizeof(q->columns));
	}
	else if (q->still_read)
		q->source = fflag_locate(q->h.schema, q->snapshot);
	for (int i = FFLAG_FLAGS; q->still_read && i <= (q->attached ? FFLAG_USERS : FFLAG_RELATIONS); i++)
		check_recorded(q, q->source.tables[i].relid);
}

/* Begins to ask what will be; at infinity, nothing has an answer. */
static void
begin_to_come(fflag_as_of *q)
{
	if (TIMESTAMP_IS_NOEND(q->at))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("flags cannot be explained at infinity"),
				errhint("Give a finite moment."));
	q->source = fflag_locate(q->h.schema, q->snapshot);
	q->attached = q->source.attached;
	q->still_read = true;
}

/*
 * Begins to ask what was at q->at, or will be if nobody changes anything, given
 * q->h.schema as well.  All that is asked is read under the active snapshot; the
 * history as its owner.  Throws if the history does not tell.
 */
void
fflag_begin_as_of(fflag_as_of *q)
{
	q->snapshot = fflag_active_snapshot();
	q->to_come = q->at > GetCurrentTimestamp();
	if (q->to_come)
	{
		begin_to_come(q);
		return;
	}
	q->h = fflag_locate_history(q->h.schema);
	check_moment(q);
	find_tables(q);
}

/*
 * Adds to a query the columns of old images that evaluation needs of a table, as
 * columns from the second on.  The result is a source for what the query returns.
 */
static fflag_source
select_image(fflag_as_of *q, fflag_table_id which, StringInfo columns)
{
	fflag_source image = {.attached = q->attached};
	int			n = 1;

	for (fflag_column c = 0; c < (q->attached ? FFLAG_COLUMNS : FFLAG_OWN_COLUMNS); c++)
	{
		const char *column = c < FFLAG_COLUMNS ? NameStr(q->columns[c]) : fflag_column_name(c);
		char	   *value;

		/* payloads may be large, and decide nothing */
		if (fflag_column_table(c) != which || c == FFLAG_COLUMN_VARIANT_PAYLOAD)
			continue;
		namestrcpy(&image.columns[c], column);
		image.attnums[c] = ++n;
		/* the id may be of another type in an attached table */
		image.types[c] = c == FFLAG_COLUMN_ID && q->attached ? TEXTOID : fflag_column_type(c);
		/* it is the one that was asked for, so that a chain of flags ends */
		value = psprintf("(%s)::%s", c == FFLAG_COLUMN_ID ? "h.flag_id" :
						 psprintf("h.old_row OPERATOR(pg_catalog.->>) %s", quote_literal_cstr(column)),
						 format_type_extended(image.types[c], -1, FORMAT_TYPE_FORCE_QUALIFY));
		/* an integer there counts as the rules say, see read.c */
		if (c == FFLAG_COLUMN_ROLLOUT && q->attached)
			value = psprintf("CASE WHEN pg_catalog.scale(%s) " EQUAL " 0 THEN greatest(0, least(100, %s)) ELSE %s END",
							 value, value, value);
		appendStringInfo(columns, ", %s", value);
	}
	return image;
}

static void
add_text(fflag_command *command, fflag_string s)
{
	fflag_add_parameter(command, TEXTOID, fflag_string_to_text(s));
}

/* The key of what is not in a list, in the history's index on ids. */
#define OF_FLAG \
	" AND h.attached " EQUAL " $4" \
	" AND pg_catalog.\"left\"(h.flag_id, 100) " EQUAL " pg_catalog.\"left\"($5, 100)" \
	" AND pg_catalog.\"left\"(h.user_id, 100) IS NULL AND h.flag_id " EQUAL " $5"

/* The key of flags by name. */
#define OF_NAME \
	"h.kind " EQUAL " '" FFLAG_KIND_FLAG "' AND h.attached " EQUAL " $4" \
	" AND pg_catalog.\"left\"(h.name, 100) " EQUAL " pg_catalog.\"left\"($5, 100)" \
	" AND h.name " EQUAL " $5"

/*
 * Of the row h, by which a name came into use: the name that the same flag had
 * before; null if the flag is new.  A rename has a row for each of the two names.
 */
#define FORMER_NAME \
	"CASE WHEN h.operation " EQUAL " 'update' THEN" \
	" (SELECT p.name FROM ONLY %s AS p WHERE p.kind " EQUAL " h.kind AND p.attached " EQUAL " h.attached" \
	" AND pg_catalog.\"left\"(p.flag_id, 100) " EQUAL " pg_catalog.\"left\"(h.flag_id, 100)" \
	" AND pg_catalog.\"left\"(p.user_id, 100) IS NULL AND p.flag_id " EQUAL " h.flag_id" \
	" AND p.change " EQUAL " h.change AND p.sequence " EQUAL " h.sequence" \
	" AND p.operation " EQUAL " 'update' AND p.new_row IS NULL LIMIT 1) END::pg_catalog.text"

/*
 * What the flag of this name, which has come into use since, was called at the moment;
 * an empty string if the flag is younger.  Follows renames back, each time to an
 * earlier one.
 */
static fflag_string
former_name(fflag_as_of *q, fflag_string name)
{
	TimestampTz until_at = DT_NOEND;
	int64		until_sequence = PG_INT64_MAX;
	bool		isnull;

	for (;;)
	{
		fflag_command command = fflag_history_command(&q->h);
		Datum		former;

		add_period(q, &command);
		fflag_add_parameter(&command, BOOLOID, BoolGetDatum(q->attached));
		add_text(&command, name);
		fflag_add_parameter(&command, TIMESTAMPTZOID, TimestampTzGetDatum(until_at));
		fflag_add_parameter(&command, INT8OID, Int64GetDatum(until_sequence));
		command.sql = psprintf("SELECT former, at, sequence, undated FROM (%s) AS e (is_new, at, sequence, former, undated)"
							   " WHERE undated OR is_new AND ROW(at, sequence) OPERATOR(pg_catalog.<) ROW($6, $7)"
							   " ORDER BY undated DESC, at DESC, sequence DESC LIMIT 1",
							   changes(q, psprintf("h.old_row IS NULL, hc.at, h.sequence::bigint, "
												   FORMER_NAME, q->h.history), OF_NAME, false));
		if (run_changes(&command) == 0)
			return name;
		former = result(1, &isnull);
		if (isnull)
			return fflag_string_make("", 0);
		name = fflag_string_of_text(DatumGetTextPP(former));
		until_at = DatumGetTimestampTz(result(2, &isnull));
		until_sequence = DatumGetInt64(result(3, &isnull));
	}
}

/* Which variants or relations of a flag have changed since, by their names in the history. */
typedef struct changed_things
{
	fflag_source image;			/* of what the query has returned */
	fflag_string *names;
	int			count;
} changed_things;

/*
 * Asks for the variants or relations of a flag that have changed since.  SPI has a
 * row for each, as it was.
 */
static changed_things
find_changed(fflag_as_of *q, fflag_table_id which, fflag_string flag_id)
{
	fflag_command command = fflag_history_command(&q->h);
	changed_things changed = {.count = 0};
	StringInfoData columns;
	uint64		count;

	if (q->to_come)
		return changed;
	initStringInfo(&columns);
	appendStringInfoString(&columns, "h.old_row IS NULL");
	changed.image = select_image(q, which, &columns);
	appendStringInfoString(&columns, ", h.name::pg_catalog.text");
	add_period(q, &command);
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(q->attached));
	add_text(&command, flag_id);
	fflag_add_text(&command, which == FFLAG_VARIANTS ? FFLAG_KIND_VARIANT : FFLAG_KIND_RELATION);
	command.sql = changes(q, columns.data, "h.kind " EQUAL " $6" OF_FLAG, true);
	count = run_changes(&command);

	changed.names = palloc_array(fflag_string, count);
	for (uint64 i = 0; i < count; i++)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		name = SPI_getbinval(SPI_tuptable->vals[i], desc, desc->natts - 1, &isnull);

		/* the owner may have edited it */
		changed.names[changed.count++] = isnull ? fflag_string_make("", 0) :
			fflag_string_of_text(DatumGetTextPP(name));
	}
	return changed;
}

/* Number i of them, or NULL if it was not there. */
static HeapTuple
thing_then(const changed_things *changed, int i)
{
	HeapTuple	tuple = SPI_tuptable->vals[i];
	bool		isnull;

	if (changed->names[i].len == 0 ||
		DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull)))
		return NULL;
	return tuple;
}

static bool
has_changed(const changed_things *changed, fflag_string name)
{
	for (int i = 0; i < changed->count; i++)
	{
		if (fflag_string_equal(changed->names[i], name))
			return true;
	}
	return false;
}

/* What set_relations() collects. */
typedef struct relations_then
{
	fflag_relation_rows rows;
	changed_things changed;
} relations_then;

/* A fflag_relation_sink: of today's relations, those that were there then. */
static bool
collect_unchanged_relation(const fflag_relation_row *row, void *arg)
{
	relations_then *then = arg;

	return has_changed(&then->changed, row->id) || fflag_collect_relation(row, &then->rows);
}

/* Gives a flag of our own its relations of then. */
static void
set_relations(fflag_as_of *q, fflag_row *row)
{
	relations_then then = {.rows = {0}};

	then.changed = find_changed(q, FFLAG_RELATIONS, row->id);
	for (int i = 0; i < then.changed.count; i++)
	{
		HeapTuple	tuple = thing_then(&then.changed, i);
		fflag_relation_row relation;

		if (tuple == NULL)
			continue;
		fflag_parse_relation(&then.changed.image, SPI_tuptable->tupdesc, tuple, &relation);
		fflag_collect_relation(&relation, &then.rows);
	}
	fflag_read_relations(&q->source, false, row->id, q->snapshot,
						 collect_unchanged_relation, &then);
	fflag_set_relations(&row->flag, then.rows.relations, then.rows.count);
	/* whoever is denied today says nothing of then */
	row->flag.restricted = true;
}

/*
 * Looks for a change of a flag after the moment.  If there is one, *row is set to
 * what the flag was before.  Changes are recorded by name, and a flag that is
 * renamed changes two.  Both have its id; the one with the old row comes first.
 */
static bool
find_changed_flag(fflag_as_of *q, bool by_id, fflag_string key, fflag_row *row)
{
	fflag_command command = fflag_history_command(&q->h);
	fflag_source image;
	StringInfoData columns;
	bool		isnull;

	initStringInfo(&columns);
	appendStringInfoString(&columns, "h.old_row IS NULL");
	image = select_image(q, FFLAG_FLAGS, &columns);
	add_period(q, &command);
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(q->attached));
	add_text(&command, key);
	command.sql = psprintf("%s LIMIT 1",
						   changes(q, columns.data, by_id ?
								   "h.kind " EQUAL " '" FFLAG_KIND_FLAG "'" OF_FLAG : OF_NAME,
								   false));
	if (run_changes(&command) == 0)
		return false;
	if (!DatumGetBool(result(1, &isnull)))
		fflag_parse_row(&image, SPI_tuptable->tupdesc, SPI_tuptable->vals[0], row);
	return true;
}

/*
 * The flag of this name, or id, as it was, or will be; one that is not known if there
 * is none.  If no flag had the name then, it is the flag that has it today, by the name
 * that this one had then.
 */
void
fflag_flag_at(fflag_as_of *q, bool by_id, fflag_string key, fflag_row *row)
{
	fflag_row	today;

	memset(row, 0, sizeof(*row));
	if (q->to_come || !find_changed_flag(q, by_id, key, row))
	{
		if (q->still_read && by_id)
			fflag_read_flag_by_id(&q->source, key, q->snapshot, row);
		else if (q->still_read)
			fflag_read_flag(&q->source, key, q->snapshot, row);
	}
	else if (!row->flag.known && !by_id && q->still_read &&
			 fflag_read_flag(&q->source, key, q->snapshot, &today))
	{
		key = former_name(q, key);
		if (key.len > 0)
			fflag_flag_at(q, false, key, row);
		return;
	}

	if (row->has_terms)
		fflag_set_time(&row->flag, &row->terms, q->at);
	if (row->flag.known && !q->attached)
		set_relations(q, row);
}

/* Refuses if a table may have two rows of the same key. */
static void
check_unique(fflag_as_of *q, fflag_table_id which)
{
	fflag_column key = q->source.tables[which].key;

	if (!q->still_read || fflag_has_unique_key(&q->source, which))
		return;
	ereport(ERROR,
			errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("table %s may %s twice",
				   fflag_relation_name(q->source.tables[which].relid),
				   which == FFLAG_VARIANTS ? "have a variant" : "list a user"),
			errdetail("Then the history does not tell what was there."),
			errhint("Create a unique index on columns \"%s\" and \"%s\".",
					NameStr(q->source.columns[key]),
					NameStr(q->source.columns[key + 1])));
}

/*
 * Was the user on the flag's list of the table FFLAG_USERS or FFLAG_DENIED?  Both
 * ids are canonical texts.
 */
bool
fflag_listed_at(fflag_as_of *q, fflag_table_id which, fflag_string flag_id, fflag_string user)
{
	fflag_command command = fflag_history_command(&q->h);
	bool		isnull;

	if (q->to_come)
		return fflag_read_listed(&q->source, which, flag_id, user, q->snapshot);
	check_unique(q, which);
	add_period(q, &command);
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(q->attached));
	add_text(&command, flag_id);
	add_text(&command, user);
	fflag_add_parameter(&command, TEXTOID,
						CStringGetTextDatum(which == FFLAG_DENIED ? FFLAG_KIND_DENIED : FFLAG_KIND_USER));
	command.sql = psprintf("%s LIMIT 1",
						   changes(q, "h.old_row IS NOT NULL",
								   "h.kind " EQUAL " $7 AND h.attached " EQUAL " $4"
								   " AND pg_catalog.\"left\"(h.flag_id, 100) " EQUAL " pg_catalog.\"left\"($5, 100)"
								   " AND pg_catalog.\"left\"(h.user_id, 100) " EQUAL " pg_catalog.\"left\"($6, 100)"
								   " AND h.flag_id " EQUAL " $5 AND h.user_id " EQUAL " $6", false));
	if (run_changes(&command) == 0)
		return q->still_read &&
			fflag_read_listed(&q->source, which, flag_id, user, q->snapshot);
	return DatumGetBool(result(1, &isnull));
}

/* What fflag_variants_at() collects. */
typedef struct variants_then
{
	fflag_variant_rows rows;
	changed_things changed;
} variants_then;

/* A fflag_variant_sink: of today's variants, those that were there then. */
static bool
collect_unchanged_variant(const fflag_variant_row *row, void *arg)
{
	variants_then *then = arg;

	return has_changed(&then->changed, row->name) || fflag_collect_variant(row, &then->rows);
}

/* The variants that a flag of our own had, or will have. */
fflag_variant_set *
fflag_variants_at(fflag_as_of *q, const fflag_row *flag)
{
	variants_then then = {.rows = {0}};

	if (!q->to_come)
		check_unique(q, FFLAG_VARIANTS);
	then.changed = find_changed(q, FFLAG_VARIANTS, flag->id);
	for (int i = 0; i < then.changed.count; i++)
	{
		HeapTuple	tuple = thing_then(&then.changed, i);
		fflag_variant_row row;

		if (tuple == NULL)
			continue;
		fflag_parse_variant(&then.changed.image, SPI_tuptable->tupdesc, tuple, flag->id, &row);
		fflag_collect_variant(&row, &then.rows);
	}
	fflag_read_variants(&q->source, flag->id, q->snapshot, collect_unchanged_variant, &then);
	return fflag_make_variants(&then.rows, CurrentMemoryContext);
}
