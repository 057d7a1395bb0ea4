/*
 * compat.h
 *		Differences between PostgreSQL majors; the only place that looks at
 *		PG_VERSION_NUM.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_COMPAT_H
#define FFLAG_COMPAT_H

#include "catalog/pg_class.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "fflag needs PostgreSQL 15 or newer"
#endif

/*
 * Values of type bigint must fit into a Datum: a pointer to one in the memory of SPI
 * would not outlive it.  19 defines this on machines of 32 bits, too.
 */
#ifndef USE_FLOAT8_BYVAL
#error "fflag needs a PostgreSQL of 64 bits"
#endif

/* 16 moved the varlena macros out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16 has memory of its own for settings */
#if PG_VERSION_NUM < 160000
#define guc_malloc(elevel, size) malloc(size)
#define guc_free(ptr) free(ptr)
#endif

/* 16 renamed the number of the subtransaction that gave a table a new file */
#if PG_VERSION_NUM < 160000
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#endif

/* 16 asks about the owner of any object with the same function */
#if PG_VERSION_NUM >= 160000
#define pg_class_ownercheck(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#endif

/* 17 put the local transaction id into a struct of its own */
#if PG_VERSION_NUM >= 170000
#define MyLocalTransactionId (MyProc->vxid.lxid)
#else
#define MyLocalTransactionId (MyProc->lxid)
#endif

/* 17 looks into the statistics to estimate the length of an array */
#if PG_VERSION_NUM >= 170000
#define fflag_estimate_array_length(root, array) estimate_array_length(root, array)
#else
#define fflag_estimate_array_length(root, array) estimate_array_length(array)
#endif

/* 18 lets a module say its name and version, for pg_get_loaded_modules() */
#if PG_VERSION_NUM >= 180000
#define FFLAG_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "fflag", .version = FFLAG_VERSION)
#else
#define FFLAG_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 16 says what a walker's arguments are; 15 declares one without any, which C23 refuses */
#if PG_VERSION_NUM >= 160000
#define fflag_walk_expression expression_tree_walker
#else
#define fflag_walk_expression(node, walker, context) \
	expression_tree_walker(node, (void *) (walker), context)
#endif

/* 18 asks whether the constraint may be deferrable */
#if PG_VERSION_NUM >= 180000
#define fflag_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define fflag_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* 18 has generated columns that are not stored */
#if PG_VERSION_NUM < 180000
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

/* 19 wants to hear when a tuple descriptor has all its columns */
#if PG_VERSION_NUM >= 190000
#define fflag_tupledesc_finalize(desc) TupleDescFinalize(desc)
#else
#define fflag_tupledesc_finalize(desc) ((void) 0)
#endif

/* 19 asks how elements are stored when an iteration begins, others each time */
#if PG_VERSION_NUM >= 190000
#define fflag_iter_setup(it, array, type) \
	array_iter_setup(it, array, (type).len, (type).byval, (type).align)
#define fflag_iter_next(it, isnull, i, type) array_iter_next(it, isnull, i)
#else
#define fflag_iter_setup(it, array, type) array_iter_setup(it, array)
#define fflag_iter_next(it, isnull, i, type) \
	array_iter_next(it, isnull, i, (type).len, (type).byval, (type).align)
#endif

/* 19 keeps the names of locks in shared memory, others in each process */
#if PG_VERSION_NUM >= 190000
#define fflag_new_tranche(name) LWLockNewTrancheId(name)
#define fflag_name_tranche(lock, name) ((void) 0)
#else
#define fflag_new_tranche(name) LWLockNewTrancheId()
#define fflag_name_tranche(lock, name) \
	LWLockRegisterTranche((lock)->tranche, name)
#endif

/* 18 may log that a lock was not to be had */
#if PG_VERSION_NUM >= 180000
#define fflag_try_lock(tag, mode) \
	LockAcquireExtended(tag, mode, false, true, false, NULL, false)
#else
#define fflag_try_lock(tag, mode) \
	LockAcquireExtended(tag, mode, false, true, false, NULL)
#endif

/*
 * How many locks of relations stronger than ShareUpdateExclusiveLock are held or
 * about to be, by the hash of what is locked: a structure private to the server,
 * lock.c's FastPathStrongRelationLockData, which was compared in 15 to 19.  Of
 * others nothing is known: see strong_lock.c, which does without.
 */
typedef struct fflag_lock_counts
{
	slock_t		mutex;
	uint32		count[1024];
} fflag_lock_counts;

#if PG_VERSION_NUM < 200000
#define FFLAG_LOCK_COUNTS "Fast Path Strong Relation Lock Data"
#endif

#endif							/* FFLAG_COMPAT_H */
