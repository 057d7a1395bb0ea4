/*
 * cache.h
 *		The per-backend cache of flags and allowlists.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CACHE_H
#define FFLAG_CACHE_H

#include "fmgr.h"

#include "id.h"
#include "rules.h"

struct PlannerGlobal;

/* A flag, or the knowledge that there is none of this name. */
typedef struct fflag_entry
{
	fflag_flag	flag;
	fflag_string id;			/* of the flag, not of unknown ones */
	uint64		list_generation;	/* of which the next two are valid */
	bool		nobody_listed;
	struct fflag_allowlist *list;	/* looked up on demand */
	int			name_len;
	char		name[FLEXIBLE_ARRAY_MEMBER];	/* database encoding */
} fflag_entry;

/* What fflag_cache() reports. */
typedef struct fflag_cache_stats
{
	bool		caching;
	int64		flags;
	int64		unknown_names;
	int64		allowlists;
	int64		bytes;
	int64		hits;
	int64		loads;
	int64		invalidations;
} fflag_cache_stats;

extern bool fflag_cache_setting;

extern void fflag_cache_init(void);
extern const fflag_entry *fflag_cache_get(FmgrInfo *flinfo, Datum name);
extern const fflag_entry *const *fflag_cache_get_all(FmgrInfo *flinfo,
													 int *count);
extern const struct fflag_allowlist *fflag_cache_list(const fflag_entry *entry);
extern bool fflag_cache_listed(const fflag_entry *entry,
							   const char *user, int len, uint64 hash);
extern int64 fflag_cache_count_listed(const fflag_entry *entry);
extern void fflag_cache_add_dependency(struct PlannerGlobal *glob);
extern void fflag_cache_begin_write(void);
extern fflag_cache_stats fflag_cache_get_stats(void);

#endif							/* FFLAG_CACHE_H */
