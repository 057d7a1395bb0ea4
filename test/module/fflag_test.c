/*
 * fflag_test.c
 *		Functions for tests and benchmarks only.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "bucket.h"
#include "compat.h"
#include "strong_lock.h"

PG_MODULE_MAGIC;

static double commit_delay_seconds = 0;

/*
 * By the time of this event the transaction is visible to others, and its
 * invalidation messages have not been sent.
 */
static void
delay_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && commit_delay_seconds > 0)
	{
		pg_usleep((long) (commit_delay_seconds * 1e6));
		commit_delay_seconds = 0;
	}
}

/* test_delay_commit(seconds): the session's next commit takes so long */
PG_FUNCTION_INFO_V1(test_delay_commit);

Datum
test_delay_commit(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(delay_commit, NULL);
	registered = true;
	commit_delay_seconds = PG_GETARG_FLOAT8(0);
	PG_RETURN_VOID();
}

/*
 * test_hold_init_lock(seconds): meanwhile no commit that changes a system catalog which
 * new sessions read from a file comes further than to where others see it.  COMMIT
 * PREPARED has no callback that could make it wait there.
 */
PG_FUNCTION_INFO_V1(test_hold_init_lock);

Datum
test_hold_init_lock(PG_FUNCTION_ARGS)
{
	LWLockAcquire(RelCacheInitLock, LW_EXCLUSIVE);
	pg_usleep((long) (PG_GETARG_FLOAT8(0) * 1e6));
	LWLockRelease(RelCacheInitLock);
	PG_RETURN_VOID();
}

/*
 * test_use_lock_counts(use): whether the server's counts of locks are used, as after
 * a proof that has succeeded, or has failed
 */
PG_FUNCTION_INFO_V1(test_use_lock_counts);

Datum
test_use_lock_counts(PG_FUNCTION_ARGS)
{
	fflag_lock_counts_proof *proof;
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	proof = ShmemInitStruct(FFLAG_LOCK_COUNTS_PROOF, sizeof(*proof), &found);
	proof->proved = PG_GETARG_BOOL(0);
	proof->attempts = FFLAG_PROOF_ATTEMPTS;
	LWLockRelease(AddinShmemInitLock);
	PG_RETURN_VOID();
}

static char *commit_command = NULL;

/* What another extension might do when the transaction is about to commit. */
static void
run_at_commit(XactEvent event, void *arg)
{
	char	   *command = commit_command;

	if (command == NULL || (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE))
		return;
	commit_command = NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "SPI_execute failed");
	SPI_finish();
	PopActiveSnapshot();
	pfree(command);
}

/*
 * test_run_at_commit(command): the session's next transaction that commits runs it then.
 * Callbacks that are registered later run first: a session that calls this before it
 * loads fflag runs the command after fflag's own callback, otherwise before it.
 */
PG_FUNCTION_INFO_V1(test_run_at_commit);

Datum
test_run_at_commit(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(run_at_commit, NULL);
	registered = true;
	commit_command = MemoryContextStrdup(TopMemoryContext,
										 text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/*
 * test_hash(name, user_id, is_staff, thousandths) returns boolean: what an
 * evaluation cannot do without, a hash and a comparison
 */
static inline bool
hash_and_compare(FunctionCallInfo fcinfo, const char *user, size_t len)
{
	text	   *name = PG_GETARG_TEXT_PP(0);

	return fflag_bucket_of(fflag_string_make(VARDATA_ANY(name),
											 VARSIZE_ANY_EXHDR(name)),
						   fflag_string_make(user, len)) < PG_GETARG_INT32(3);
}

PG_FUNCTION_INFO_V1(test_hash_bigint);

Datum
test_hash_bigint(PG_FUNCTION_ARGS)
{
	char		user[21];
	int			len = pg_lltoa(PG_GETARG_INT64(1), user);

	PG_RETURN_BOOL(hash_and_compare(fcinfo, user, len));
}

PG_FUNCTION_INFO_V1(test_hash_uuid);

Datum
test_hash_uuid(PG_FUNCTION_ARGS)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *byte = PG_GETARG_UUID_P(1)->data;
	char		user[36];
	char	   *p = user;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[byte[i] >> 4];
		*p++ = hex[byte[i] & 0xf];
	}
	PG_RETURN_BOOL(hash_and_compare(fcinfo, user, sizeof(user)));
}

PG_FUNCTION_INFO_V1(test_hash_text);

Datum
test_hash_text(PG_FUNCTION_ARGS)
{
	text	   *user = PG_GETARG_TEXT_PP(1);

	PG_RETURN_BOOL(hash_and_compare(fcinfo, VARDATA_ANY(user),
									VARSIZE_ANY_EXHDR(user)));
}

/* test_constant(name, user_id bigint, is_staff, answer) returns boolean */
PG_FUNCTION_INFO_V1(test_constant);

Datum
test_constant(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_BOOL(3));
}

/* of fault_malloc.c, if the server was started with it */
extern long fault_malloc_countdown __attribute__((weak));

/*
 * test_fail_allocation(n) returns bigint: the n-th allocation from now on
 * fails.  Returns how many were still to come before the one asked for last
 * time, 0 if that has failed.
 */
PG_FUNCTION_INFO_V1(test_fail_allocation);

Datum
test_fail_allocation(PG_FUNCTION_ARGS)
{
	long		left;

	if (&fault_malloc_countdown == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the server was not started with fault_malloc.so"));
	left = fault_malloc_countdown;
	fault_malloc_countdown = PG_GETARG_INT64(0);
	PG_RETURN_INT64(left);
}
