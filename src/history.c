/*
 * history.c
 *		Recording who changed flags, and what they were before.
 *
 * Statement triggers with transition tables write one row for each flag, listed
 * user or attachment that a statement changes, with its image from before.
 * That is all that as_of.c needs: what a row was at some moment is the old
 * image of the first change after it, or today's row if there is none.
 *
 * Flags go by name, as they are asked for.  So to rename a flag is to change two
 * names: one has a row no longer, the other did not have one.
 *
 * Whoever writes flags needs no privilege on the history: it is written as its
 * owner, and only if it has no code of its owner's, see foreign_code.c.  What is written
 * of a table is read from transition tables or by a scan; record.c sees to it that no
 * code of a column's type is run, such as a cast to json.
 *
 * Traps: the number of a transaction alone means nothing in a database that a dump
 * has come to.  A trigger of the user's may run statements in the middle of
 * another, which end first; their order is that in which they began.  A
 * referential action runs as somebody else than who deletes the flag.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "port/pg_bswap.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "compat.h"
#include "extension.h"
#include "foreign_code.h"
#include "history.h"
#include "spi.h"
#include "writer.h"

#define LONGEST_SETTING 200		/* characters */

const char *const fflag_kind_names[] = {
	"", FFLAG_KIND_FLAG, FFLAG_KIND_USER, FFLAG_KIND_DENIED, FFLAG_KIND_VARIANT,
	FFLAG_KIND_TABLES, FFLAG_KIND_GAP
};

char	   *fflag_actor = NULL;

/* The owner of a table of the history, which has no code but ours and the server's. */
static Oid
check_table(Oid relid, LOCKMODE lock)
{
	Relation	rel;
	Oid			owner;

	LockRelationOid(relid, lock);
	rel = fflag_open_relation(relid);
	fflag_refuse_code(rel);
	owner = rel->rd_rel->relowner;
	table_close(rel, AccessShareLock);
	return owner;
}

/*
 * The names of the history's tables, in SQL, for who reads them (AccessShareLock) or
 * writes them (RowExclusiveLock), which locks them until the transaction ends.  Returns
 * as whom.  Throws if there is code in one of them, or if one belongs to somebody else
 * than the other, who would get at the rights of both.
 */
Oid
fflag_locate_history(Oid schema, LOCKMODE lock, const char **history, const char **change)
{
	Oid			owner;

	*history = fflag_table_in_sql(schema, FFLAG_HISTORY_TABLE);
	*change = fflag_table_in_sql(schema, FFLAG_CHANGE_TABLE);
	owner = check_table(get_relname_relid(FFLAG_CHANGE_TABLE, schema), lock);
	if (owner != check_table(get_relname_relid(FFLAG_HISTORY_TABLE, schema), lock))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("tables \"%s\" and \"%s\" belong to different roles",
					   FFLAG_CHANGE_TABLE, FFLAG_HISTORY_TABLE),
				errhint("Give both to the role that owns the extension's other tables."));
	return owner;
}

/*
 * Which database this is.  The default of the column tells apart what CREATE
 * EXTENSION has made: it is neither dumped nor replicated, and pg_upgrade keeps it.
 * Its last four bytes are the database's OID, for copies of one template have the
 * same default; pg_upgrade keeps that, too.
 */
Datum
fflag_own_origin(Oid schema)
{
	Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_CHANGE_TABLE, schema));
	Oid			type = InvalidOid;
	AttrNumber	attnum = fflag_find_column(rel, "origin", &type);
	Node	   *value = NULL;
	uint32		database = pg_hton32(MyDatabaseId);
	pg_uuid_t  *origin = palloc(sizeof(pg_uuid_t));

	if (attnum != InvalidAttrNumber && type == UUIDOID)
		value = build_column_default(rel, attnum);
	if (value == NULL || !IsA(value, Const) || ((Const *) value)->constisnull)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("column \"origin\" of table \"%s\" does not say which database this is",
					   FFLAG_CHANGE_TABLE),
				errhint("Set its default to a constant, gen_random_uuid() of now."));
	*origin = *DatumGetUUIDP(((Const *) value)->constvalue);
	memcpy(&origin->data[UUID_LEN - sizeof(database)], &database, sizeof(database));
	table_close(rel, AccessShareLock);
	return UUIDPGetDatum(origin);
}

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

		if (trigger->tgfoid == function && trigger->tgqual == NULL &&
			trigger->tgnattr == 0 &&
			(trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN ||
			 trigger->tgenabled == TRIGGER_FIRES_ALWAYS))
			missing &= ~trigger->tgtype;
	}
	table_close(rel, AccessShareLock);
	return missing == 0;
}

/* ---- when ---- */

/*
 * The rows that the current transaction has added to feature_flag_change, in order:
 * one for each time that who changes flags is somebody else than just before.  They
 * are the current transaction's if they have its local id; memory is then in
 * TopTransactionContext.  Who creates the extension anew, perhaps only to a savepoint,
 * has rows in two tables.
 */
typedef struct recorded_change
{
	Oid			table;
	pg_uuid_t	id;
	SubTransactionId subid;
	char	   *who;
} recorded_change;

static struct
{
	LocalTransactionId lxid;
	recorded_change *rows;
	int			count;
	int			room;
}			changes;

/* The index of the primary key, unless the table's owner has made it one without this column. */
static Oid
find_index(Relation rel, AttrNumber column)
{
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	bool		found = bms_is_member(column - FirstLowInvalidHeapAttributeNumber, key);

	bms_free(key);
	return found ? fflag_primary_key_index(rel) : InvalidOid;
}

/*
 * Looks for a row of feature_flag_change by its key; unless NULL, the slot gets it.
 * The snapshot is such that a SERIALIZABLE transaction does not count as having read
 * what others write.
 */
static bool
find_row(Relation rel, const pg_uuid_t *key, TupleTableSlot *slot)
{
	Oid			type;
	AttrNumber	id = fflag_find_column(rel, "id", &type);
	Oid			index;
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (id == InvalidAttrNumber || type != UUIDOID)
		return false;
	index = find_index(rel, id);
	ScanKeyInit(&scankey, id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(key));
	scan = systable_beginscan(rel, index, OidIsValid(index), SnapshotSelf, 1, &scankey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && slot != NULL)
		ExecForceStoreHeapTuple(heap_copytuple(tuple), slot, true);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/*
 * Called when a subtransaction is rolled back, as fflag_forget_announced() is.  What was
 * added in it was added last.
 */
void
fflag_forget_changes(SubTransactionId aborted)
{
	if (changes.lxid != MyLocalTransactionId)
		return;
	while (changes.count > 0 && changes.rows[changes.count - 1].subid >= aborted)
		pfree(changes.rows[--changes.count].who);
}

/* Gives the row in the slot this time.  No trigger fires and no rule applies. */
static void
set_time(ResultRelInfo *result, EState *estate, AttrNumber at, TupleTableSlot *slot,
		 TimestampTz time)
{
	TupleDesc	desc = RelationGetDescr(result->ri_RelationDesc);
	TupleTableSlot *stamped = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	Datum		value = TimestampTzGetDatum(time);
	bool		isnull = false;
	int			column = at;

	ExecForceStoreHeapTuple(heap_modify_tuple_by_cols(ExecFetchSlotHeapTuple(slot, false, NULL),
													  desc, 1, &column, &value, &isnull),
							stamped, true);
	ExecSimpleRelationUpdate(result, estate, NULL, slot, stamped);
	ExecDropSingleTupleTableSlot(stamped);
	ResetPerTupleExprContext(estate);
}

/* Gives those of the transaction's rows that are in an open table this time. */
static void
set_times(Relation rel, AttrNumber at, TimestampTz time)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													&TTSOpsHeapTuple);

	InitResultRelInfo(result, rel, 0, NULL, 0);
	result->ri_TrigDesc = NULL;
	ExecOpenIndices(result, false);
	for (int i = 0; i < changes.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (changes.rows[i].table == RelationGetRelid(rel) &&
			find_row(rel, &changes.rows[i].id, slot))
			set_time(result, estate, at, slot, time);
	}
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

/*
 * The table may have been dropped by this transaction, or made something else, and the
 * rows be deleted.  The lock is one that the transaction has since it inserted them.
 */
static void
stamp_table(Oid table, TimestampTz time)
{
	Relation	rel = try_table_open(table, RowExclusiveLock);
	AttrNumber	at;
	Oid			type;
	fflag_identity caller;

	if (rel == NULL)
		return;
	at = fflag_find_column(rel, "at", &type);
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		at != InvalidAttrNumber && type == TIMESTAMPTZOID)
	{
		/* the owner may have put some into the table since */
		fflag_refuse_code(rel);
		caller = fflag_become(rel->rd_rel->relowner);
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		set_times(rel, at, time);
		PopActiveSnapshot();
		CommandCounterIncrement();
		fflag_return_to(&caller);
	}
	table_close(rel, NoLock);
}

/*
 * Called when the transaction is about to commit or to be prepared, and when it has
 * changed flags after that, in another one's callback: notes when, in all of its rows.
 * Then all deferred triggers have fired.
 */
void
fflag_stamp_changes(void)
{
	MemoryContext context;
	MemoryContext caller;
	TimestampTz now;

	if (changes.lxid != MyLocalTransactionId || changes.count == 0)
		return;
	/* a procedure may commit again and again in the caller's */
	context = AllocSetContextCreate(CurrentMemoryContext, "fflag commit", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	now = GetCurrentTimestamp();
	for (int i = 0; i < changes.count; i++)
	{
		if (i == 0 || changes.rows[i].table != changes.rows[i - 1].table)
			stamp_table(changes.rows[i].table, now);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---- who ---- */

/*
 * A setting's value, at most 200 characters of it.  One that came with the start of the
 * session has never been checked; a text that is wrong in the database's encoding could
 * not be restored.
 */
static char *
setting(const char *value)
{
	char	   *valid = pstrdup(value ? value : "");

	if (!pg_verifymbstr(valid, strlen(valid), true))
	{
		for (char *p = valid; *p != '\0'; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	}
	valid[pg_mbcharcliplen(valid, strlen(valid), LONGEST_SETTING)] = '\0';
	return valid;
}

static void
add_text(fflag_command *command, const char *text)
{
	fflag_add_parameter(command, TEXTOID, CStringGetTextDatum(text));
}

/*
 * Adds a row for who changes flags now: not the current user, for that is the definer
 * of a function, or the table's owner where the change is a referential action.
 */
static void
add_change(const fflag_recording *r, Datum id, const char *who)
{
	fflag_command command = {.user = r->owner};
	recorded_change *row;

	fflag_add_parameter(&command, UUIDOID, id);
	add_text(&command, GetUserNameFromId(GetSessionUserId(), false));
	add_text(&command, GetUserNameFromId(GetOuterUserId(), false));
	add_text(&command, setting(application_name));
	add_text(&command, setting(fflag_actor));
	fflag_add_parameter(&command, UUIDOID, fflag_own_origin(r->schema));
	command.sql = psprintf("INSERT INTO %s (id, session_role, role, application_name, actor, origin)"
						   " VALUES ($1, $2, $3, $4, $5, $6)",
						   r->change);
	fflag_run_kept(&command);

	if (changes.count == changes.room)
	{
		Size		room = changes.room == 0 ? 4 : 2 * (Size) changes.room;

		changes.rows = changes.room == 0 ?
			MemoryContextAlloc(TopTransactionContext, room * sizeof(recorded_change)) :
			repalloc_huge(changes.rows, room * sizeof(recorded_change));
		changes.room = room;
	}
	row = &changes.rows[changes.count];
	row->table = get_relname_relid(FFLAG_CHANGE_TABLE, r->schema);
	row->id = *DatumGetUUIDP(id);
	row->subid = GetCurrentSubTransactionId();
	row->who = MemoryContextStrdup(TopTransactionContext, who);
	changes.count++;
}

/*
 * The id of the transaction's row in feature_flag_change for who changes flags now, or
 * of one that is to be added: then *who says who it is, otherwise it becomes NULL.
 */
static Datum
find_change(const fflag_recording *r, char **who)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	bool		found = false;

	*who = psprintf("%u %u %s\n%s", GetSessionUserId(), GetOuterUserId(),
					setting(application_name), setting(fflag_actor));
	if (changes.lxid != MyLocalTransactionId)
	{
		memset(&changes, 0, sizeof(changes));
		changes.lxid = MyLocalTransactionId;
	}
	if (changes.count > 0)
	{
		const recorded_change *last = &changes.rows[changes.count - 1];

		/* a copy, for the array may be moved */
		*id = last->id;
		if (strcmp(last->who, *who) == 0)
		{
			Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_CHANGE_TABLE, r->schema));

			/* its owner may have emptied the table, or it may be another one */
			found = find_row(rel, id, NULL);
			table_close(rel, AccessShareLock);
		}
	}
	if (!found)
		return OidFunctionCall0(F_GEN_RANDOM_UUID);
	*who = NULL;
	return UUIDPGetDatum(id);
}

/* Called when something has been recorded for a change that find_change() gave. */
static void
note_change(const fflag_recording *r, Datum id, const char *who)
{
	if (who != NULL)
		add_change(r, id, who);
	if (fflag_is_committing())
		fflag_stamp_changes();
}

/* ---- what ---- */

/* A column of the row before or after, in canonical text. */
static char *
text_of(const char *alias, const char *column)
{
	return column == NULL ? "NULL::text" :
		psprintf("%s.%s::text COLLATE \"C\"", alias, column);
}

/* Rows that count: those without a name are no flags, and those without ids list nobody. */
static char *
rows_in_sql(const fflag_recording *r, const char *from, const char *alias)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "(SELECT * FROM %s WHERE %s IS NOT NULL", from, r->key);
	if (r->flag_id != NULL && r->kind != FFLAG_RECORD_FLAG)
		appendStringInfo(&sql, " AND %s IS NOT NULL", r->flag_id);
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
						rows_in_sql(r, only, r->old ? "o" : "n"), only, r->old ? "n" : "o");
	initStringInfo(&sql);
	appendStringInfo(&sql, "%s FULL JOIN %s ON %s = %s",
					 rows_in_sql(r, r->old, "o"), rows_in_sql(r, r->new, "n"),
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

/*
 * All rows of a table, under the latest snapshot: they may have been committed after this
 * transaction's.  They are read by a scan, which runs no code of the table's owner.
 */
static Tuplestorestate *
read_table(Oid relid)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	Relation	rel = fflag_open_relation(relid);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(store, tuple);
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return store;
}

/* Lets SQL know these rows by a name, as it knows transition tables. */
static void
register_rows(const char *name, Oid relid, Tuplestorestate *store)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = relid;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(store);
	enr->reldata = store;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed");
}

/* Inserts what a query returns, the table's last columns, into the history. */
static void
add_rows(const fflag_recording *r, const char *columns, const char *rows, Oid transition)
{
	fflag_command command = {.user = r->owner,.relid = transition};
	char	   *who;
	Datum		change = find_change(r, &who);

	fflag_add_parameter(&command, UUIDOID, change);
	fflag_add_parameter(&command, INT8OID, Int64GetDatum(sequence()));
	add_text(&command, fflag_kind_names[r->kind]);
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(r->attached));
	add_text(&command, r->operation);
	command.sql = psprintf("INSERT INTO %s (change, sequence, kind, attached, operation%s)"
						   " SELECT $1, $2, $3, $4, $5%s",
						   r->history, columns, rows);
	if (fflag_run_kept(&command) > 0)
		note_change(r, change, who);
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
		store = read_table(r->relid);
		register_rows(r->old, r->relid, store);
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
		.schema = schema,.kind = FFLAG_RECORD_GAP,.attached = attached,.operation = "gap"
	};

	SPI_connect();
	r.owner = fflag_locate_history(schema, RowExclusiveLock, &r.history, &r.change);
	add_rows(&r, "", "", InvalidOid);
	SPI_finish();
}

/*
 * Has this database recorded changes of its own, other than what a restore inserts, that
 * no gap follows?
 */
static bool
has_own_changes(Oid schema)
{
	fflag_command command = {0};
	const char *history;
	const char *change;
	bool		found;

	command.user = fflag_locate_history(schema, AccessShareLock, &history, &change);
	fflag_add_parameter(&command, UUIDOID, fflag_own_origin(schema));
	command.sql = psprintf("WITH own AS (SELECT c.at, h.kind, h.since FROM %s AS h JOIN %s AS c ON c.id = h.change"
						   " WHERE c.origin = $1 AND c.restored_in IS NULL AND h.since IS NULL)"
						   " SELECT FROM own WHERE kind <> '" FFLAG_KIND_GAP "' AND"
						   " (at > (SELECT max(at) FROM own WHERE kind = '" FFLAG_KIND_GAP "')) IS NOT FALSE LIMIT 1",
						   history, change);
	SPI_connect();
	found = fflag_run_kept(&command) > 0;
	SPI_finish();
	return found;
}

/*
 * A row that a dump brings, and that is not in the history: notes where it comes first.
 * What has been noted where the dump is from stays.  If this database has a history of
 * its own, a row of its own is put back there; with another's, it is not known which of
 * the two tells what flags were.
 */
static HeapTuple
note_restored(const TriggerData *data)
{
	static struct
	{
		LocalTransactionId lxid;
		SubTransactionId subid;
		bool		own_changes;
		bool		gap;
	}			noted;
	Relation	rel = data->tg_relation;
	Oid			schema = RelationGetNamespace(rel);
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			type;
	int			origin = fflag_find_column(rel, "origin", &type);
	int			restored_in = fflag_find_column(rel, "restored_in", &type);
	Datum		own = fflag_own_origin(schema);
	bool		isnull;
	Datum		its;

	if (restored_in == InvalidAttrNumber || type != UUIDOID)
		return data->tg_trigtuple;
	if (noted.lxid != MyLocalTransactionId || noted.subid != GetCurrentSubTransactionId())
	{
		noted.own_changes = has_own_changes(schema);
		noted.gap = false;
		noted.lxid = MyLocalTransactionId;
		noted.subid = GetCurrentSubTransactionId();
	}
	if (noted.own_changes)
	{
		its = heap_getattr(data->tg_trigtuple, origin, desc, &isnull);
		if (isnull || memcmp(DatumGetUUIDP(its), DatumGetUUIDP(own), UUID_LEN) == 0)
			return data->tg_trigtuple;
		if (!noted.gap)
		{
			fflag_record_gap(schema, false);
			fflag_record_gap(schema, true);
			noted.gap = true;
		}
	}
	if (!heap_attisnull(data->tg_trigtuple, restored_in, desc))
		return data->tg_trigtuple;
	isnull = false;
	return heap_modify_tuple_by_cols(data->tg_trigtuple, desc, 1, &restored_in, &own, &isnull);
}

/*
 * fflag_skip_known() returns trigger, one of feature_flag_change, for rows that a dump
 * brings: they have a time.  Data may be restored where they have been restored before.
 */
PG_FUNCTION_INFO_V1(fflag_skip_known);

Datum
fflag_skip_known(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel;
	AttrNumber	id;
	Oid			type = InvalidOid;
	bool		isnull = true;
	Datum		value = 0;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event) ||
		!fflag_is_own(RelationRelationId, RelationGetRelid(data->tg_relation)))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called by the trigger of table \"%s\"",
					   "fflag_skip_known", FFLAG_CHANGE_TABLE),
				errhint("It belongs to the tables of extension \"fflag\"."));
	/* the row that begins */
	if (creating_extension)
		return PointerGetDatum(data->tg_trigtuple);
	rel = data->tg_relation;
	id = fflag_find_column(rel, "id", &type);
	if (id != InvalidAttrNumber && type == UUIDOID)
		value = heap_getattr(data->tg_trigtuple, id, RelationGetDescr(rel), &isnull);
	if (!isnull && find_row(rel, DatumGetUUIDP(value), NULL))
		return PointerGetDatum(NULL);
	return PointerGetDatum(note_restored(data));
}
