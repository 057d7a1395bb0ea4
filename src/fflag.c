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
#include "override.h"
#include "unknown.h"

FFLAG_MODULE_MAGIC;

extern void _PG_init(void);

void
_PG_init(void)
{
	static int	defined = 0;

	/*
	 * If memory runs out here, the server calls this function again the next
	 * time it wants the library; what has been done by then stays.
	 *
	 * For diagnosis and tests: an answer that differs with the cache off is a
	 * bug.  Anybody may set it, for it can only make the own session slower.
	 */
	if (defined == 0)
	{
		DefineCustomBoolVariable("fflag.cache",
								 "Caches flags in the backend.",
								 "When off, every evaluation reads the tables.",
								 &fflag_cache_setting,
								 true,
								 PGC_USERSET,
								 0,
								 NULL, NULL, NULL);
		defined++;
	}

	/*
	 * Whoever sets it decides what this session may do, wherever a flag
	 * stands guard (in a policy, say), so it takes a superuser or GRANT SET
	 * ON PARAMETER.
	 *
	 * The default is NULL, not "", of which the server would make a copy and
	 * end the session if there is no memory for that.
	 */
	if (defined == 1)
	{
		DefineCustomStringVariable("fflag.override",
								   "Forces the answers of flags in this session.",
								   "A list such as \"new_checkout=on, beta_search=off\".",
								   &fflag_override_setting,
								   NULL,
								   PGC_SUSET,
								   0,
								   fflag_check_override,
								   fflag_cache_assign_override,
								   NULL);
		defined++;
	}

	/*
	 * A report repeats the name, which may come from a row that a view or a
	 * policy keeps from the user.  And who demands errors may not want users
	 * to go without.  So it takes the same as above.
	 */
	if (defined == 2)
	{
		DefineCustomEnumVariable("fflag.unknown_flag",
								 "What happens when a name that no flag has is evaluated.",
								 "The answer is the default value, with a warning or without, or an error.",
								 &fflag_unknown_setting,
								 FFLAG_UNKNOWN_DEFAULT,
								 fflag_unknown_options,
								 PGC_SUSET,
								 0,
								 NULL,
								 fflag_cache_assign_unknown,
								 NULL);
		defined++;
	}

	/*
	 * For superusers only, because whoever could stop counting could make a
	 * flag look as if nobody used it.
	 */
	if (defined == 3)
	{
		DefineCustomBoolVariable("fflag.track_usage",
								 "Counts evaluations of flags.",
								 "fflag_usage() shows them.",
								 &fflag_track_usage,
								 true,
								 PGC_SUSET,
								 0,
								 NULL, NULL, NULL);
		defined++;
	}

	/*
	 * Anybody may, for it is recorded beside session_user, never instead.
	 * NULL as above.
	 */
	if (defined == 4)
	{
		DefineCustomStringVariable("fflag.actor",
								   "Who the application says it is, for the history.",
								   "Recorded beside session_user, never instead.",
								   &fflag_actor,
								   NULL,
								   PGC_USERSET,
								   0,
								   NULL, NULL, NULL);
		defined++;
	}
	MarkGUCPrefixReserved("fflag");

	fflag_cache_init();
}
