/*
 * strong_lock.h
 *		Does anybody hold a strong lock of a table?
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_STRONG_LOCK_H
#define FFLAG_STRONG_LOCK_H

/* In the main shared memory: is it proved that the counts are what we take them for? */
#define FFLAG_LOCK_COUNTS_PROOF "fflag lock counts"

typedef struct fflag_lock_counts_proof
{
	bool		proved;
	uint32		attempts;		/* to prove it; no more than
								 * FFLAG_PROOF_ATTEMPTS */
} fflag_lock_counts_proof;

#define FFLAG_PROOF_ATTEMPTS 100

extern bool fflag_has_lock_counts(void);
extern bool fflag_may_be_locked(Oid relid);

#endif							/* FFLAG_STRONG_LOCK_H */
