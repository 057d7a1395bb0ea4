/*
 * history.c
 *		Recording changes of flags: what they were before.
 *
 * Statement triggers with transition tables write one row for each flag, listed
 * user or attachment that a statement changes, with its image from before.
 * That is all that as_of.c needs: what a row was at some moment is the old
 * image of the first change after it, or today's row if there is none.
 *
 * Flags go by name, as they are asked for.  A rename is recorded twice: the old name
 * loses its row, the new one gains it.
 *
 * Whoever writes flags needs no privilege on the history: it is written as its
 * owner, and only if it has no code of its owner's, see foreign_code.c.  What is written
 * of a table is read from transition tables or by a scan; record.c sees to it that no
 * code of a column's type is run, such as a cast to json.
 *
 * Traps: a trigger of the user's may run statements in the middle of
 * another, which end first; their order is that in which they began.  A
 * referential action runs as somebody else than who deletes the flag.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "change.h"
#include "extension.h"
#include "history.h"
#include "spi.h"

const char *const fflag_kind_names[] = {
	"", FFLAG_KIND_FLAG, FFLAG_KIND_USER, FFLAG_KIND_DENIED, FFLAG_KIND_VARIANT,
	FFLAG_KIND_RELATION, FFLAG_KIND_TABLES, FFLAG_KIND_GAP
};

/* Do triggers record whatever is changed in a table? */
bool
fflag_is_recorded(Oid relid, Oid function)
{
	Relation	rel = fflag_open_relation(relid);
	int16		missing;

	missing = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE |
		TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (fflag_fires(trigger, function, false))
			missing &= ~trigger->tgtype;
	}
	table_close(rel, AccessShareLock);
	return missing == 0;
}

/* A column of the row before or after, in canonical text. */
static char *
text_of(const char *alias, const char *column)
{
	return column == NULL ? "NULL::text" :
		psprintf("%s.%s::text COLLATE \"C\"", alias, column);
}

/*
 * Rows that count: those without a name are no flags, and those without ids list nobody.
 * Referential actions may change a relation twice in one statement; what it was in
 * between is in both transition tables, and does not count.
 */
static char *
rows_in_sql(const fflag_recording *r, const char *from, const char *alias, const char *other)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "(SELECT * FROM %s AS a WHERE %s IS NOT NULL", from, r->key);
	if (r->flag_id != NULL && r->kind != FFLAG_RECORD_FLAG)
		appendStringInfo(&sql, " AND %s IS NOT NULL", r->flag_id);
	if (r->kind == FFLAG_RECORD_RELATION && other != NULL)
		appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s AS b WHERE %s = %s AND record_image_eq(b.*, a.*))",
						 other, text_of("b", r->key), text_of("a", r->key));
	appendStringInfo(&sql, ") AS %s", alias);
	return sql.data;
}

/* How the rows before and after are put together; at least one of them is there. */
static char *
pairs_in_sql(const fflag_recording *r)
{
	StringInfoData sql;
	const char *only = r->old ? r->old : r->new;

	if (r->old == NULL || r->new == NULL)
		return psprintf("%s LEFT JOIN (SELECT * FROM %s WHERE false) AS %s ON false",
						rows_in_sql(r, only, r->old ? "o" : "n", NULL), only, r->old ? "n" : "o");
	initStringInfo(&sql);
	appendStringInfo(&sql, "%s FULL JOIN %s ON %s = %s",
					 rows_in_sql(r, r->old, "o", r->new), rows_in_sql(r, r->new, "n", r->old),
					 text_of("n", r->key), text_of("o", r->key));
	if (r->flag_id != NULL && r->kind != FFLAG_RECORD_FLAG)
		appendStringInfo(&sql, " AND %s = %s",
						 text_of("n", r->flag_id), text_of("o", r->flag_id));
	return sql.data;
}

/*
 * A query for what is to be recorded, see the table's last six columns.  Who is on a
 * list now is in the list.
 */
static char *
changed_rows(const fflag_recording *r)
{
	return psprintf("SELECT name, flag_id, user_id, since, old_row, %s FROM"
					" (SELECT coalesce(%s, %s) AS name, coalesce(%s, %s) AS flag_id, coalesce(%s, %s) AS user_id,"
					" (%s)::timestamptz AS since,"
					" CASE WHEN o.%s IS NOT NULL THEN %s END AS old_row,"
					" CASE WHEN n.%s IS NOT NULL THEN %s END AS new_row"
					" FROM %s OFFSET 0) AS changed WHERE old_row IS DISTINCT FROM new_row",
					r->user_id ? "CASE WHEN old_row IS NOT NULL THEN new_row END" : "new_row",
					text_of("o", r->name), text_of("n", r->name),
					text_of("o", r->flag_id), text_of("n", r->flag_id),
					text_of("o", r->user_id), text_of("n", r->user_id),
					r->old == NULL && r->since != NULL ? r->since : "NULL",
					r->key, r->old_image, r->key, r->new_image, pairs_in_sql(r));
}

/*
 * The order of the statement among those of the transaction that change the same
 * rows.  The active snapshot is the statement's, whose command id is from when
 * it began.
 */
static int64
sequence(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot()->curcid : 0;
}

/* Inserts what a query returns, the table's last columns, into the history. */
static void
add_rows(const fflag_recording *r, const char *columns, const char *rows, Oid transition)
{
	fflag_command command = fflag_history_command(&r->h);
	char	   *who;
	Datum		change = fflag_find_change(&r->h, &who);

	command.relid = transition;
	fflag_add_parameter(&command, UUIDOID, change);
	fflag_add_parameter(&command, INT8OID, Int64GetDatum(sequence()));
	fflag_add_text(&command, fflag_kind_names[r->kind]);
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(r->attached));
	fflag_add_text(&command, r->operation);
	command.sql = psprintf("INSERT INTO %s (change, sequence, kind, attached, operation%s)"
						   " SELECT $1, $2, $3, $4, $5%s",
						   r->h.history, columns, rows);
	if (fflag_run_kept(&command) > 0)
		fflag_note_change(&r->h, change, who);
}

/* Records what the recording says: of a statement that has fired a trigger, or of a table. */
void
fflag_record_changes(const fflag_recording *r)
{
	char	   *rows = psprintf(", r.* FROM (%s) AS r", changed_rows(r));
	Tuplestorestate *store = NULL;

	SPI_connect();
	if (r->trigger == NULL)
	{
		/* rows may have been committed after this transaction's snapshot */
		Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

		store = fflag_scan_as(r->old, r->relid, latest);
		UnregisterSnapshot(latest);
	}
	else if (SPI_register_trigger_data(r->trigger) != SPI_OK_TD_REGISTER)
		elog(ERROR, "SPI_register_trigger_data failed");
	add_rows(r, ", name, flag_id, user_id, since, old_row, new_row", rows, r->relid);
	if (store != NULL)
		tuplestore_end(store);
	SPI_finish();
}

/* Records that there may have been changes before of which nothing is known. */
void
fflag_record_gap(Oid schema, bool attached)
{
	fflag_recording r = {
		.h = fflag_locate_history(schema),
		.kind = FFLAG_RECORD_GAP,.attached = attached,.operation = "gap"
	};

	SPI_connect();
	add_rows(&r, "", "", InvalidOid);
	SPI_finish();
}
