/*
 * change.c
 *		When flags were changed, by whom, and in which database.
 *
 * The rows of feature_flag_change.  Each is added when somebody changes flags, and gets
 * its time when the transaction begins to commit: a transaction that is open for an hour
 * does not date its changes an hour back.  The number of a transaction alone means nothing
 * in a database that a dump has come to; each row has an id.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "port/pg_bswap.h"
#include "rewrite/rewriteHandler.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "change.h"
#include "compat.h"
#include "foreign_code.h"
#include "spi.h"
#include "writer.h"

#define LONGEST_SETTING 200		/* characters */

char	   *fflag_actor = NULL;

static Oid
owner_of(Oid relid)
{
	Relation	rel = fflag_open_relation(relid);
	Oid			owner = rel->rd_rel->relowner;

	table_close(rel, AccessShareLock);
	return owner;
}

/*
 * Where the history is.  Throws if a table is gone, or belongs to somebody else than the
 * other, who would get at the rights of both.
 */
fflag_history_tables
fflag_locate_history(Oid schema)
{
	fflag_history_tables h = {.schema = schema};

	h.history = fflag_table_in_sql(schema, FFLAG_HISTORY_TABLE);
	h.change = fflag_table_in_sql(schema, FFLAG_CHANGE_TABLE);
	h.tables[0] = get_relname_relid(FFLAG_CHANGE_TABLE, schema);
	h.tables[1] = get_relname_relid(FFLAG_HISTORY_TABLE, schema);
	h.owner = owner_of(h.tables[0]);
	if (h.owner != owner_of(h.tables[1]))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("tables \"%s\" and \"%s\" belong to different roles",
					   FFLAG_CHANGE_TABLE, FFLAG_HISTORY_TABLE),
				errhint("Give both to the role that owns the extension's other tables."));
	return h;
}

/* A command that reads the history, or adds to it, as its owner. */
fflag_command
fflag_history_command(const fflag_history_tables *h)
{
	fflag_command command = {
		.user = h->owner,.tables = {h->tables[0], h->tables[1]},.lock = RowExclusiveLock
	};

	return command;
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
	int			allocated;
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

/* Is there a row of feature_flag_change, which is open, with this key? */
bool
fflag_has_change(Relation rel, Datum id)
{
	return find_row(rel, DatumGetUUIDP(id), NULL);
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

/*
 * Adds a row for who changes flags now: not the current user, for that is the definer
 * of a function, or the table's owner where the change is a referential action.
 */
static void
add_change(const fflag_history_tables *h, Datum id, const char *who)
{
	fflag_command command = fflag_history_command(h);
	recorded_change *row;

	fflag_add_parameter(&command, UUIDOID, id);
	fflag_add_text(&command, GetUserNameFromId(GetSessionUserId(), false));
	fflag_add_text(&command, GetUserNameFromId(GetOuterUserId(), false));
	fflag_add_text(&command, setting(application_name));
	fflag_add_text(&command, setting(fflag_actor));
	fflag_add_parameter(&command, UUIDOID, fflag_own_origin(h->schema));
	command.sql = psprintf("INSERT INTO %s (id, session_role, role, application_name, actor, origin)"
						   " VALUES ($1, $2, $3, $4, $5, $6)",
						   h->change);
	fflag_run_kept(&command);

	if (changes.count == changes.allocated)
	{
		Size		allocated = changes.allocated == 0 ? 4 : 2 * (Size) changes.allocated;

		changes.rows = changes.allocated == 0 ?
			MemoryContextAlloc(TopTransactionContext, allocated * sizeof(recorded_change)) :
			repalloc_huge(changes.rows, allocated * sizeof(recorded_change));
		changes.allocated = allocated;
	}
	row = &changes.rows[changes.count];
	row->table = get_relname_relid(FFLAG_CHANGE_TABLE, h->schema);
	row->id = *DatumGetUUIDP(id);
	row->subid = GetCurrentSubTransactionId();
	row->who = MemoryContextStrdup(TopTransactionContext, who);
	changes.count++;
}

/*
 * The id of the transaction's row in feature_flag_change for who changes flags now, or
 * of one that is to be added: then *who says who it is, otherwise it becomes NULL.
 */
Datum
fflag_find_change(const fflag_history_tables *h, char **who)
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
			Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_CHANGE_TABLE, h->schema));

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

/* Called when something has been recorded for a change that fflag_find_change() gave. */
void
fflag_note_change(const fflag_history_tables *h, Datum id, const char *who)
{
	if (who != NULL)
		add_change(h, id, who);
	if (fflag_is_committing())
		fflag_stamp_changes();
}
