/*
 * snapshot.c
 *		Which snapshot is this, and which of two is later?
 *
 * The snapshots of one backend are totally ordered by the time when they were
 * taken, and the order can be read off them.  None of this holds between a
 * parallel worker's own snapshots and the leader's.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "snapshot.h"

/* The statement's snapshot; an error if there is none, or one of another kind. */
Snapshot
fflag_active_snapshot(void)
{
	Snapshot	snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;

	/* a logical decoding plugin sees the catalogs only */
	if (snapshot == NULL || snapshot->snapshot_type != SNAPSHOT_MVCC)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("flags cannot be evaluated without a snapshot of the tables"),
				errhint("Evaluate them in an SQL statement."));
	return snapshot;
}

/* The identity of a snapshot of the current transaction. */
fflag_snapshot_id
fflag_identify(Snapshot snapshot)
{
	TransactionId own = GetTopTransactionIdIfAny();
	fflag_snapshot_id id;

	/* during recovery all running transactions are listed as subtransactions */
	if (snapshot->takenDuringRecovery)
		id.running = snapshot->subxcnt;
	else
		id.running = (int64) snapshot->xcnt +
			(TransactionIdIsValid(own) &&
			 TransactionIdPrecedes(own, snapshot->xmax));

	id.xmax = snapshot->xmax;
	id.xcnt = snapshot->xcnt;
	id.subxcnt = snapshot->subxcnt;
	id.curcid = snapshot->curcid;
	id.lxid = MyLocalTransactionId;
	id.recovery = snapshot->takenDuringRecovery;
	return id;
}

/* Do the two see the same transactions of others? */
bool
fflag_sees_same(const fflag_snapshot_id *a, const fflag_snapshot_id *b)
{
	return a->recovery == b->recovery && a->xmax == b->xmax &&
		a->running == b->running;
}

/*
 * Was b taken when a was, or later?  Snapshots of one backend are ordered: a
 * larger xmax is later; with equal xmax, fewer running transactions means later;
 * inside a transaction, a larger curcid is later.  False if in doubt.
 */
bool
fflag_is_same_or_later(const fflag_snapshot_id *b, const fflag_snapshot_id *a)
{
	if (a->recovery != b->recovery)
		return false;
	if (a->lxid == b->lxid && b->curcid < a->curcid)
		return false;
	if (a->xmax != b->xmax)
		return TransactionIdFollows(b->xmax, a->xmax);
	return b->running <= a->running;
}
