/*
 * writer.c
 *		Transactions that write flags, as their readers have to know of them.
 *
 * Two moments matter to a cache: when a statement has written some of its rows
 * and not yet the others, and when a transaction has become visible and has not
 * yet sent its invalidation messages.  This file tells of both.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "writer.h"

/* this backend's last write to the tables, see fflag_begin_write() */
static struct
{
	LocalTransactionId lxid;
	TimestampTz command;
	CommandId	curcid;
}			writing;

/*
 * The lock that writers hold from before their first change until after their
 * messages are out.  Only we know it: there is no extension with OID 0.
 * Writers do not conflict with each other, and readers only look whether it
 * is held; so nobody waits for longer than such a look takes.
 */
static LOCKTAG
write_lock(void)
{
	LOCKTAG		lock;

	SET_LOCKTAG_OBJECT(lock, MyDatabaseId, ExtensionRelationId, InvalidOid, 0);
	return lock;
}

/*
 * Called in the backend that changes a row, before it does so.
 *
 * From now until the writing statement is over, a snapshot taken by code that
 * the statement calls, one with a later command id than the statement's, sees
 * the rows changed so far, and under the same identity more of them later.
 * There is no telling when the statement is over; but it is once the client
 * has sent the next command.
 */
void
fflag_begin_write(void)
{
	LOCKTAG		lock = write_lock();
	CommandId	curcid = FirstCommandId;

	if (ActiveSnapshotSet())
		curcid = GetActiveSnapshot()->curcid;

	(void) LockAcquire(&lock, RowExclusiveLock, false, false);

	if (writing.lxid != MyLocalTransactionId ||
		writing.command != GetCurrentStatementStartTimestamp() ||
		curcid < writing.curcid)
	{
		writing.lxid = MyLocalTransactionId;
		writing.command = GetCurrentStatementStartTimestamp();
		writing.curcid = curcid;
	}
}

/* Might the statement that writes show more rows to this snapshot later? */
bool
fflag_is_moving(const fflag_snapshot_id *s)
{
	return writing.lxid == s->lxid &&
		writing.command == GetCurrentStatementStartTimestamp() &&
		s->curcid > writing.curcid;
}

/* Does another backend hold a lock that conflicts with this mode? */
static bool
is_held(const LOCKTAG *lock, LOCKMODE mode)
{
	if (LockAcquire(lock, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(lock, mode, false);
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
	LOCKTAG		lock = write_lock();

	if (snapshot->takenDuringRecovery)
	{
		XLogRecPtr	begun = GetCurrentReplayRecPtr(NULL);

		return GetXLogReplayRecPtr(NULL) < begun;
	}

	/* those who change rows, and those who change or truncate the tables */
	if (is_held(&lock, ShareLock))
		return true;
	for (int i = 0; i < count; i++)
	{
		SET_LOCKTAG_RELATION(lock, MyDatabaseId, tables[i]);
		if (is_held(&lock, RowExclusiveLock))
			return true;
	}
	return false;
}
