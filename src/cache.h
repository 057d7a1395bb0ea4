/*
 * cache.h
 *		The per-backend cache: which of what it holds is valid.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CACHE_H
#define FFLAG_CACHE_H

#include "fmgr.h"

#include "entry.h"

struct PlannerGlobal;

/* What fflag_cache() reports. */
typedef struct fflag_cache_stats
{
	bool		caching;
	fflag_entry_counts held;
	int64		hits;
	int64		loads;
	int64		invalidations;
} fflag_cache_stats;

extern bool fflag_cache_setting;

extern void fflag_cache_init(void);
extern void fflag_cache_assign_override(const char *newval, void *extra);
extern void fflag_cache_assign_unknown(int newval, void *extra);
extern const fflag_entry *fflag_cache_get(FmgrInfo *flinfo, Datum name);
extern const fflag_entry *fflag_cache_find(Oid function, Datum name);
extern const fflag_entry *const *fflag_cache_get_all(Oid function, int *count);
extern struct fflag_allowlist *fflag_cache_list(const fflag_entry *entry,
												fflag_table_id which);
extern struct fflag_allowlist *fflag_cache_peek_list(const fflag_entry *entry,
													 fflag_table_id which,
													 struct fflag_allowlist *unread);
extern fflag_source *fflag_cache_begin_load(bool *was_tagged);
extern void fflag_cache_end_load(bool was_tagged);
extern void fflag_cache_add_dependency(struct PlannerGlobal *glob,
									   const fflag_entry *entry);
extern void fflag_cache_begin_write(FmgrInfo *flinfo);
extern void fflag_cache_flush_usage(void);
extern fflag_cache_stats fflag_cache_get_stats(Oid function);

#endif							/* FFLAG_CACHE_H */
