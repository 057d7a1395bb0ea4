/*
 * strong_lock.c
 *		Does anybody hold a strong lock of a table?
 *
 * Strong is what is stronger than ShareUpdateExclusiveLock.  The server counts who
 * holds or wants such a lock, so that sessions can keep their weak locks to
 * themselves.  It counts up before the lock is taken and down when it is released;
 * a prepared transaction is counted until it ends, after a crash too.  Where a count
 * is zero, nobody holds the lock, and to know it takes no lock.  To look into the
 * server's lock table takes the lock of one of its partitions, exclusively, which
 * many sessions would queue up for.
 *
 * The counts are private to the server (compat.h).  So they are not trusted before
 * one session has taken a strong lock and seen its count go up, and down again when
 * it released it; this is done once for a server.  Where they cannot be found, or
 * the proof fails, everything may be locked, and the lock table is looked into.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "compat.h"
#include "strong_lock.h"

/* NULL: not there, or not looked for yet */
static volatile fflag_lock_counts *counts = NULL;
static volatile fflag_lock_counts_proof *proof = NULL;

/*
 * Looks for both.  ShmemInitStruct() throws if the server's structure has another
 * size, or if there is no memory for ours.
 */
static void
find_counts(void)
{
#ifdef FFLAG_LOCK_COUNTS
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		fflag_lock_counts_proof *ours;
		void	   *theirs;
		bool		found;

		LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
		ours = ShmemInitStruct(FFLAG_LOCK_COUNTS_PROOF, sizeof(*ours), &found);
		if (!found)
			memset(ours, 0, sizeof(*ours));
		theirs = ShmemInitStruct(FFLAG_LOCK_COUNTS, sizeof(fflag_lock_counts), &found);
		LWLockRelease(AddinShmemInitLock);

		proof = ours;
		if (found)
			counts = theirs;
	}
	PG_CATCH();
	{
		/*
		 * whoever evaluates a flag holds none that could be released by
		 * mistake
		 */
		LWLockReleaseAll();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
#endif
}

/* The count that a lock is in, see below; its hash is computed once. */
static inline uint32
count_of(Oid relid)
{
	static struct
	{
		Oid			relid;
		uint32		number;
		bool		valid;
	}			known[32];

	int			i = relid % lengthof(known);

	if (!known[i].valid || known[i].relid != relid)
	{
		LOCKTAG		lock = fflag_write_lock();

		if (OidIsValid(relid))
			SET_LOCKTAG_RELATION(lock, MyDatabaseId, relid);
		known[i].relid = relid;
		known[i].number = LockTagHashCode(&lock) % lengthof(counts->count);
		known[i].valid = true;
	}
	return counts->count[known[i].number];
}

/*
 * Takes the writers' lock, and looks whether the server counts it.  One session at a
 * time does so; whoever meets it, or another lock in the same count, does without the
 * counts this time.
 */
static pg_noinline bool
prove_counts(void)
{
	LOCKTAG		lock = fflag_write_lock();
	uint32		before;
	uint32		meanwhile;

	if (proof->attempts >= FFLAG_PROOF_ATTEMPTS ||
		!LWLockConditionalAcquire(AddinShmemInitLock, LW_EXCLUSIVE))
		return false;
	before = count_of(InvalidOid);

	/*
	 * not if the lock table is full, nor if our own transaction has it
	 * already
	 */
	switch (fflag_try_lock(&lock, ShareLock))
	{
		case LOCKACQUIRE_OK:
			meanwhile = count_of(InvalidOid);
			LockRelease(&lock, ShareLock, false);
			proof->attempts++;
			if (meanwhile == before + 1 && count_of(InvalidOid) == before)
				proof->proved = true;
			break;
		case LOCKACQUIRE_ALREADY_HELD:
			LockRelease(&lock, ShareLock, false);
			break;
		default:
			break;
	}
	LWLockRelease(AddinShmemInitLock);
	return proof->proved;
}

/*
 * Are the counts known?  Not to be called in recovery, where nobody may take a
 * strong lock.  Throws only where memory runs out.
 */
bool
fflag_has_lock_counts(void)
{
	static bool sought = false;

	if (unlikely(!sought))
		find_counts();
	sought = true;
	return counts != NULL && (likely(proof->proved) || prove_counts());
}

/*
 * Might anybody hold a strong lock of this relation of our database, or be about to
 * take one?  InvalidOid asks for the writers' lock.  False only if surely not.  Takes
 * no lock; the same as above holds.
 *
 * Of the two reads that the caller orders with this one, the earlier is that of its
 * snapshot, under ProcArrayLock: who has taken a strong lock and has become visible
 * under that lock was counted before.  The later has to be kept behind
 * pg_read_barrier(): whoever is not counted any more had done before what it does
 * before it releases its locks, and has counted down under a spinlock.
 */
bool
fflag_may_be_locked(Oid relid)
{
	return !fflag_has_lock_counts() || count_of(relid) != 0;
}
