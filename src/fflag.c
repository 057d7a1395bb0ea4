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

PG_MODULE_MAGIC;

extern void _PG_init(void);

void
_PG_init(void)
{
	/*
	 * For diagnosis and tests: an answer that differs with the cache off is a
	 * bug.  Anybody may set it, for it can only make the own session slower.
	 */
	DefineCustomBoolVariable("fflag.cache",
							 "Caches flags in the backend.",
							 "When off, every evaluation reads the tables.",
							 &fflag_cache_setting,
							 true,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	MarkGUCPrefixReserved("fflag");

	fflag_cache_init();
}
