/*
 * snapshot.h
 *		Which snapshot is this, and which of two is later?
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_SNAPSHOT_H
#define FFLAG_SNAPSHOT_H

#include "utils/snapshot.h"

/*
 * What tells one snapshot from another.  Pointers do not: snapshots are copied
 * and freed.  With the same xmax the set of running transactions can only have
 * shrunk, so that their number stands for the set.  A snapshot leaves out the
 * transaction that takes it; "running" counts that as well, or else the set
 * could grow when the transaction goes on without us (PREPARE TRANSACTION).
 */
typedef struct fflag_snapshot_id
{
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	int64		running;
	CommandId	curcid;
	LocalTransactionId lxid;
	bool		recovery;
} fflag_snapshot_id;

extern Snapshot fflag_active_snapshot(void);
extern fflag_snapshot_id fflag_identify(Snapshot snapshot);
extern bool fflag_sees_same(const fflag_snapshot_id *a,
							const fflag_snapshot_id *b);
extern bool fflag_is_same_or_later(const fflag_snapshot_id *b,
								   const fflag_snapshot_id *a);

#endif							/* FFLAG_SNAPSHOT_H */
