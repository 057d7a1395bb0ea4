/*
 * writer.c
 *		Transactions that write flags, as their readers have to know of them.
 *
 * A transaction announces its changes with one message for each table, however
 * many rows and commands there are.  It is a relcache message, but for the OID
 * of the table's trigger, the marker; no relation has that OID.  A message
 * about the table itself would do as well, but each session that has the table
 * open would read its description anew.  While a session does so it accepts
 * the next message, and many messages overflow the stack, which takes the
 * server down.  (After four billion objects there may be a relation with that
 * OID; then only its description is read anew.)
 *
 * Most transactions that change lists change one, and the other lists of a
 * session are costly to read again.  So lists have markers of their own, one for
 * each of FFLAG_LIST_PARTS parts.  A transaction that changes lists of more than
 * MOST_PARTS parts announces the whole table.
 *
 * Two moments matter to a cache: when a statement has written some of its rows
 * and not yet the others, and when a transaction has become visible and has not
 * yet sent its message.  This file tells of both.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "strong_lock.h"
#include "writer.h"

/* what this backend's transaction has written, see fflag_begin_write() */
static struct
{
	LocalTransactionId lxid;
	int			statements;		/* that have written and are not over */
	CommandId	curcid;			/* of the first of them */
	CommandId	last;			/* of the last row written */
}			writing;

/* A statement that has written, in its own memory. */
typedef struct writing_statement
{
	MemoryContextCallback callback;
	LocalTransactionId lxid;
} writing_statement;

/*
 * Which markers this transaction has announced, in a subtransaction that is
 * still open or has become part of its parent.  There are six triggers, and
 * two more when tables are attached; three of the eight have MOST_PARTS markers
 * besides.  A marker that finds no room here is announced again.
 */
#define MOST_PARTS 8
#define MARKERS 32

static struct
{
	Oid			marker;
	LocalTransactionId lxid;
	SubTransactionId subid;
}			announced[MARKERS];
static int	next_announced = 0;

/* the last transaction that has announced something, or begun to commit */
static LocalTransactionId announcing = InvalidLocalTransactionId;
static LocalTransactionId committing = InvalidLocalTransactionId;

/*
 * fflag_write_lock() is what a writer holds from before it becomes visible until
 * after its messages are out.  Only we can take it.  Writers do not conflict with
 * each other, and readers only look whether it is held; so nobody waits for it.  It
 * is a strong lock, because the server counts these, see strong_lock.c.
 */
#define WRITE_LOCK_MODE ShareLock

/* Until the transaction ends; one that is prepared keeps the lock. */
static void
take_write_lock(void)
{
	LOCKTAG		lock = fflag_write_lock();
	ResourceOwner caller = CurrentResourceOwner;

	CurrentResourceOwner = TopTransactionResourceOwner;
	(void) LockAcquire(&lock, WRITE_LOCK_MODE, false, false);
	CurrentResourceOwner = caller;
}

/* How many of count markers, from this one on, has the transaction announced? */
static int
count_announced(Oid first, Oid count)
{
	int			n = 0;

	for (int i = 0; i < MARKERS; i++)
		n += announced[i].marker - first < count &&
			announced[i].lxid == MyLocalTransactionId;
	return n;
}

/*
 * Queues the message of a marker, unless the transaction has done so before.  It
 * goes out with the commit.
 */
void
fflag_announce(Oid marker)
{
	HeapTupleData tuple = {0};

	if (count_announced(marker, 1) > 0)
		return;

	/* what writes while the transaction commits, another one's callback, say */
	announcing = MyLocalTransactionId;
	if (committing == MyLocalTransactionId)
		take_write_lock();

	/* the function that takes a relid insists that there is such a relation */
	tuple.t_data = palloc0(MAXALIGN(SizeofHeapTupleHeader) +
						   sizeof(FormData_pg_class));
	tuple.t_data->t_hoff = MAXALIGN(SizeofHeapTupleHeader);
	((Form_pg_class) GETSTRUCT(&tuple))->oid = marker;
	CacheInvalidateRelcacheByTuple(&tuple);
	pfree(tuple.t_data);

	announced[next_announced].marker = marker;
	announced[next_announced].lxid = MyLocalTransactionId;
	announced[next_announced].subid = GetCurrentSubTransactionId();
	next_announced = (next_announced + 1) % MARKERS;
}

/*
 * Announces that the list of one flag changes, given its id in canonical text, in
 * the table whose trigger is the marker.
 */
void
fflag_announce_list(Oid marker, fflag_string flag_id)
{
	Oid			list = fflag_list_marker(marker, fflag_list_part(flag_id));

	if (count_announced(marker, 1) > 0 || count_announced(list, 1) > 0)
		return;
	if (count_announced(fflag_list_marker(marker, 0), FFLAG_LIST_PARTS) < MOST_PARTS)
		fflag_announce(list);
	else
		fflag_announce(marker);
}

/* Which part the lists of a flag belong to, from 0 to FFLAG_LIST_PARTS - 1. */
int
fflag_list_part(fflag_string flag_id)
{
	return hash_bytes((const unsigned char *) flag_id.data, flag_id.len) %
		FFLAG_LIST_PARTS;
}

/*
 * The marker of a part, given that of the table.  Those of all parts follow one
 * another.  They are far from the OIDs that relations have, and if two tables
 * share them, each is read again after changes of the other.
 */
Oid
fflag_list_marker(Oid marker, int part)
{
	uint32		hash = hash_bytes_uint32(marker) & ~(FFLAG_LIST_PARTS - 1);

	return (hash | 0x80000000) + part;
}

/*
 * Called when a subtransaction is rolled back.  Subtransactions that have
 * become part of it, which have higher numbers, are rolled back too, and all
 * messages that they queued are gone.
 */
void
fflag_forget_announced(SubTransactionId aborted)
{
	for (int i = 0; i < MARKERS; i++)
	{
		if (announced[i].subid >= aborted)
			announced[i].marker = InvalidOid;
	}
}

/*
 * Called when a transaction is about to commit or to be prepared.  It takes
 * the lock even if the changes that it announced were rolled back with a
 * subtransaction.  Then readers that look at this very moment load anew;
 * nothing else follows.
 */
void
fflag_begin_commit(void)
{
	committing = MyLocalTransactionId;
	if (announcing == MyLocalTransactionId)
		take_write_lock();
}

/* Is this transaction committing, or being prepared? */
bool
fflag_is_committing(void)
{
	return committing == MyLocalTransactionId;
}

/* Called when the memory of a statement goes. */
static void
end_statement(void *arg)
{
	if (((writing_statement *) arg)->lxid == writing.lxid)
		writing.statements--;
}

/*
 * The trigger that is called through flinfo calls this in the backend that
 * changes a row, before the change.
 *
 * Until the writing statement is over, code that it calls may take a snapshot
 * with a later command id than the statement's.  Such a snapshot sees the rows
 * changed so far; one with the same identity sees more of them later.  The
 * statement counts as over when the executor frees the memory of flinfo: it
 * can call the trigger no more.
 */
void
fflag_begin_write(FmgrInfo *flinfo)
{
	writing_statement *statement = flinfo->fn_extra;
	CommandId	curcid = FirstCommandId;

	if (ActiveSnapshotSet())
		curcid = GetActiveSnapshot()->curcid;

	if (statement == NULL)
	{
		statement = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(*statement));
		statement->callback.func = end_statement;
		statement->callback.arg = statement;
		MemoryContextRegisterResetCallback(flinfo->fn_mcxt, &statement->callback);
		flinfo->fn_extra = statement;
	}
	if (writing.lxid != MyLocalTransactionId)
	{
		writing.lxid = MyLocalTransactionId;
		writing.statements = 0;
	}
	if (writing.statements == 0 || curcid < writing.curcid)
		writing.curcid = curcid;
	if (statement->lxid != MyLocalTransactionId)
	{
		statement->lxid = MyLocalTransactionId;
		writing.statements++;
	}
	writing.last = GetCurrentCommandId(false);
}

/*
 * Has this transaction written rows that one of two snapshots may see and the
 * other not?  It has announced them once, so that no message tells.
 */
bool
fflag_has_written_between(const fflag_snapshot_id *a, const fflag_snapshot_id *b)
{
	return writing.lxid == a->lxid && writing.lxid == b->lxid &&
		a->curcid <= writing.last && a->curcid != b->curcid;
}

/* Might a statement that writes show more rows to this snapshot later? */
bool
fflag_is_moving(const fflag_snapshot_id *s)
{
	return writing.lxid == s->lxid && writing.statements > 0 &&
		s->curcid > writing.curcid;
}

/*
 * Does another backend hold a lock strong enough to change the table without
 * firing the triggers?
 *
 * Trying to take a conflicting lock would answer this, but meanwhile makes
 * somebody else's LOCK TABLE ... NOWAIT fail.  So look first whether the table
 * is in the server's lock table.  All strong locks are there, and seldom
 * others: a backend keeps its weak locks to itself as long as nobody wants a
 * strong one.
 */
static bool
is_locked(const LOCKTAG *table)
{
	if (LockWaiterCount(table) == 0)	/* holders count too */
		return false;
	if (LockAcquire(table, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(table, RowExclusiveLock, false);
	return false;
}

/*
 * Might a transaction that this snapshot sees as committed not have sent its
 * messages yet?  Whoever is not found here has sent them, and accepting
 * messages after this call finds them.
 *
 * On a standby that is the one whose commit record is being replayed.  Any
 * other record being replayed gives a false alarm, which costs a load.
 */
bool
fflag_is_commit_under_way(Snapshot snapshot, const Oid *tables, int count)
{
	LOCKTAG		lock = fflag_write_lock();

	if (snapshot->takenDuringRecovery)
	{
		XLogRecPtr	begun = GetCurrentReplayRecPtr(NULL);

		return GetXLogReplayRecPtr(NULL) < begun;
	}

	/* those who change rows, and those who change or truncate the tables */
	if (fflag_may_be_locked(InvalidOid) && LockWaiterCount(&lock) > 0)
		return true;
	for (int i = 0; i < count; i++)
	{
		if (!OidIsValid(tables[i]) || !fflag_may_be_locked(tables[i]))
			continue;
		SET_LOCKTAG_RELATION(lock, MyDatabaseId, tables[i]);
		if (is_locked(&lock))
			return true;
	}

	/* what was found above is older than the messages that are accepted next */
	pg_read_barrier();
	return false;
}
