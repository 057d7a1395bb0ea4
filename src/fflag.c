/*
 * fflag.c
 *		Module magic, initialization, settings.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "cache.h"
#include "compat.h"
#include "history.h"

FFLAG_MODULE_MAGIC;

extern void _PG_init(void);

void
_PG_init(void)
{
	static bool defined = false;

	/*
	 * If memory runs out here, the server calls this function again the next
	 * time it wants the library; what has been done by then stays.
	 *
	 * For diagnosis and tests: an answer that differs with the cache off is a
	 * bug.  Anybody may set it, for it can only make the own session slower.
	 */
	if (!defined)
		DefineCustomBoolVariable("fflag.cache",
								 "Caches flags in the backend.",
								 "When off, every evaluation reads the tables.",
								 &fflag_cache_setting,
								 true,
								 PGC_USERSET,
								 0,
								 NULL, NULL, NULL);
	if (!defined)
		DefineCustomStringVariable("fflag.actor",
								   "Who the application says it is, for the history.",
								   "Recorded beside session_user, never instead.",
								   &fflag_actor,
								   "",
								   PGC_USERSET,
								   0,
								   NULL, NULL, NULL);
	defined = true;
	MarkGUCPrefixReserved("fflag");

	fflag_cache_init();
}
