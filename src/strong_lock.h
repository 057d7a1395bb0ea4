/*
 * strong_lock.h
 *		Does anybody hold a strong lock of a table?
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_STRONG_LOCK_H
#define FFLAG_STRONG_LOCK_H

#include "miscadmin.h"
#include "storage/lock.h"

/* In the main shared memory: is it proved that the counts are what we take them for? */
#define FFLAG_LOCK_COUNTS_PROOF "fflag lock counts"

typedef struct fflag_lock_counts_proof
{
	bool		proved;
	uint32		attempts;		/* to prove it; no more than
								 * FFLAG_PROOF_ATTEMPTS */
} fflag_lock_counts_proof;

#define FFLAG_PROOF_ATTEMPTS 100

/*
 * The lock of those who commit changes of flags, see writer.c; among relations, OID 0
 * stands for it.  It is a relation's, so that it is counted, and of a database that
 * nobody can be connected to: the server gives OIDs below 16384 to no other than 1, 4
 * and 5.  In the own database anybody can lock any OID, and keep the lock until the
 * end of the transaction: nextval(0) takes it before it fails.
 */
static inline LOCKTAG
fflag_write_lock(void)
{
	LOCKTAG		lock;

	SET_LOCKTAG_RELATION(lock, (Oid) 2, MyDatabaseId);
	return lock;
}

extern bool fflag_has_lock_counts(void);
extern bool fflag_may_be_locked(Oid relid);

#endif							/* FFLAG_STRONG_LOCK_H */
