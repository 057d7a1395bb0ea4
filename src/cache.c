/*
 * cache.c
 *		The per-backend cache, and the promise that nobody can see it: every
 *		answer is what the tables say under the statement's own snapshot.
 *
 * The content carries the identity of the snapshot that it is valid for, its
 * tag.  A call under that very snapshot uses it: a handful of comparisons, no
 * locks.  Any other snapshot goes through revalidate(), which carries the
 * content over only if nothing that the tables say can have changed between
 * the two, and otherwise drops it.  Loading is lazy, by name, and always under
 * the active snapshot.  A change that is committed in mid-statement therefore
 * means nothing for that statement, which cannot see it.
 *
 * "Nothing can have changed" rests on relcache invalidation messages, of which
 * the triggers in trigger.c queue one for each part that a transaction changes.
 * The messages alone are not enough; these are the traps, each with a patch in
 * test/long/naive that opens it and a test that then fails:
 *
 * - A message tells that something has changed, not that our snapshot sees it.
 *   Content loaded under an old snapshot after the message was consumed would
 *   be stale for ever.  So we remember a fence, a fresh snapshot taken after
 *   the last message: content older than the fence is not carried over.
 *
 * - Messages are read only when something accepts them; within a transaction
 *   that is us.
 *
 * - A committing backend becomes visible to snapshots first and sends its
 *   messages a moment later.  In between it holds a lock (a standby is still
 *   replaying the commit record).  A reader that sees either loads anew.
 *
 * - A transaction queues one message for each part, which tells its own
 *   session of its first command only.  So nothing that this session loaded
 *   before its last write is carried over to another command.
 *
 * - When a subtransaction rolls back, the next snapshot may look exactly like
 *   the last one.
 *
 * - A message that the server fails to act upon, before it tells us, is lost.
 *
 * - While a statement is writing, code that it calls (another trigger, say)
 *   sees some of its rows, and more of them later under a snapshot that looks
 *   the same.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "storage/lock.h"
#include "storage/sinval.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "allowlist.h"
#include "cache.h"
#include "catalog.h"
#include "compat.h"
#include "extension.h"
#include "change.h"
#include "id.h"
#include "override.h"
#include "read.h"
#include "unknown.h"
#include "writer.h"

/*
 * The content has parts, which are dropped apart from each other.  The part
 * FFLAG_ATTACHMENT is "source"; dropping it drops the others, which entry.c keeps.
 * The part FFLAG_FLAGS is the flags with their variants and relations.  Then come
 * FFLAG_LIST_PARTS for the allowlists, and as many for the denylists.  Dropping
 * one of the latter drops the flags, for a flag knows whether anybody is denied.
 */
#define PARTS (FFLAG_USERS + FFLAG_LISTS * FFLAG_LIST_PARTS)

/* The part that has the lists of this number in a table. */
static inline int
list_part(fflag_table_id which, int number)
{
	return FFLAG_USERS + (which - FFLAG_USERS) * FFLAG_LIST_PARTS + number;
}

/* Which table a part has lists of. */
static inline fflag_table_id
table_of_lists(int part)
{
	return FFLAG_USERS + (part - FFLAG_USERS) / FFLAG_LIST_PARTS;
}

/* The number of a part's lists in their table. */
static inline int
number_of_lists(int part)
{
	return (part - FFLAG_USERS) % FFLAG_LIST_PARTS;
}

typedef struct part_state
{
	bool		dirty;			/* a message about the part came */
	fflag_snapshot_id fence;	/* taken after the last one */
	uint64		generation;		/* changes when pointers to content die; not 0 */
} part_state;

/* Which entry a call site used last, in its fn_extra. */
typedef struct call_site
{
	bool		constant;		/* the name is the same at every call */
	uint64		generation;		/* of FFLAG_FLAGS */
	const fflag_entry *entry;
} call_site;

bool		fflag_cache_setting = true;

static bool tagged = false;		/* is the content valid for tag? */
static fflag_snapshot_id tag;
static part_state parts[PARTS];
static bool any_dirty;			/* is one of them? */
static fflag_snapshot_id newest_fence;	/* of all parts */

/* the tables' relids are set from the first revalidation on */
static fflag_source source;

/* is it what the tag's snapshot sees, and has no message been about a table? */
static bool located = false;

/* do entries of flags hold what fflag.override was before? */
static bool override_changed = false;

/* all relcache messages so far; those for other relations count as well */
static uint64 messages;

/* messages of all kinds of which we know that none has been lost */
static uint64 accepted;

static int64 hits;
static int64 loads;
static int64 invalidations;

static inline bool
has_lists(fflag_table_id which)
{
	return which == FFLAG_USERS || which == FFLAG_DENIED;
}

/* All parts that come from a table are dirty. */
static void
mark_table(fflag_table_id which)
{
	if (has_lists(which))
	{
		for (int i = 0; i < FFLAG_LIST_PARTS; i++)
			parts[list_part(which, i)].dirty = true;
	}
	else
		parts[which == FFLAG_ATTACHMENT ? which : FFLAG_FLAGS].dirty = true;
	any_dirty = true;
}

/* A message about some of the lists of a table: their part is dirty. */
static void
mark_list(fflag_table_id which, Oid relid)
{
	uint32		number = relid - fflag_list_marker(source.tables[which].marker, 0);

	if (number < FFLAG_LIST_PARTS)
	{
		parts[list_part(which, number)].dirty = true;
		any_dirty = true;
		invalidations++;
	}
}

/*
 * Relcache callback.  It may come at any time, in the middle of anything, and
 * only takes note.  InvalidOid stands for every relation.
 *
 * A marker says that rows have changed.  The tables are still in the same
 * place and look the same, unless the rows are those of FFLAG_ATTACHMENT;
 * drop_content() deals with that.
 */
static void
mark_dirty(Datum arg, Oid relid)
{
	messages++;
	mark_list(FFLAG_USERS, relid);
	mark_list(FFLAG_DENIED, relid);
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		bool		about_table;

		about_table = relid == InvalidOid || relid == source.tables[i].relid ||
			relid == source.tables[i].named_relid || relid == source.tables[i].recorded;
		if (!about_table && relid != source.tables[i].marker)
			continue;
		mark_table(i);
		invalidations++;
		if (about_table)
		{
			located = false;
			fflag_outdate_layout(&source, i);
		}
	}
}

/*
 * Syscache callback: a role, a membership or the name of a schema has changed.
 * This may change which tables are attached, or whether they may still be
 * shown.  Our own tables depend on none of this.  So their content stays valid
 * when somebody changes a password, as anybody may.
 */
static void
mark_attached_dirty(Datum arg, int cacheid, uint32 hashvalue)
{
	if (source.attached)
		mark_dirty(arg, source.tables[FFLAG_ATTACHMENT].relid);
	else
		messages++;				/* locate() may be about to find them attached */
}

/*
 * The server acts upon a message before it tells us: it reads the description
 * of an open relation anew.  That may fail, because memory runs out or
 * somebody has locked a catalog for longer than lock_timeout.  Then the
 * message is lost.  Such an error ends a transaction or a subtransaction.  So
 * if one is rolled back, any message that came in it may have been about our
 * tables.
 */
static void
mistrust_messages(void)
{
	if (accepted != SharedInvalidMessageCounter)
		mark_dirty((Datum) 0, InvalidOid);
	accepted = SharedInvalidMessageCounter;
}

/*
 * When a subtransaction with changes of ours rolls back and the transactions
 * that were running have ended since, the next snapshot has the same identity
 * as the last one: the tag must go.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId subid,
				   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		fflag_forget_announced(subid);
		fflag_forget_changes(subid);
		tagged = false;
		mistrust_messages();
	}
}

/*
 * Adds the counts of this session to the server's.  After that no name is listed
 * any more; the new generation sends each call site to get_by_name(), which lists
 * its name again.
 */
void
fflag_cache_flush_usage(void)
{
	fflag_usage_flush();
	parts[FFLAG_FLAGS].generation++;
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
	{
		fflag_stamp_changes();
		fflag_begin_commit();
	}
	if (event == XACT_EVENT_ABORT)
		mistrust_messages();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_PARALLEL_COMMIT ||
		event == XACT_EVENT_PARALLEL_ABORT)
		fflag_cache_flush_usage();
}

/*
 * Called by _PG_init, again if it has failed for want of memory: nothing may be
 * registered twice, for there are only ten slots for callbacks.
 */
void
fflag_cache_init(void)
{
	static int	registered = 0;

	fflag_entries_init();
	for (int i = 0; i < PARTS; i++)
	{
		parts[i].dirty = true;
		parts[i].generation = 1;
	}
	any_dirty = true;
	if (registered == 0)
	{
		CacheRegisterRelcacheCallback(mark_dirty, (Datum) 0);
		registered++;
	}
	if (registered == 1)
	{
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered++;
	}
	if (registered == 2)
	{
		CacheRegisterSyscacheCallback(AUTHOID, mark_attached_dirty, (Datum) 0);
		registered++;
	}
	if (registered == 3)
	{
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, mark_attached_dirty, (Datum) 0);
		registered++;
	}
	if (registered == 4)
	{
		CacheRegisterSyscacheCallback(NAMESPACEOID, mark_attached_dirty, (Datum) 0);
		registered++;
	}
	RegisterXactCallback(end_transaction, NULL);
}

/*
 * Assign hook of fflag.override.  Entries of flags hold what it forces, so they
 * are made anew at the next evaluation.  Like a message it may come at any time,
 * in the end of a transaction too, and we only take note.
 */
void
fflag_cache_assign_override(const char *newval, void *extra)
{
	fflag_use_overrides(extra);
	override_changed = true;
	parts[FFLAG_FLAGS].generation++;	/* call sites ask again */
}

/* Assign hook of fflag.unknown_flag: call sites that know of no flag ask again. */
void
fflag_cache_assign_unknown(int newval, void *extra)
{
	parts[FFLAG_FLAGS].generation++;
}

/* Is the content valid for this very snapshot? */
static inline bool
is_tag(Snapshot snapshot)
{
	return tagged && fflag_cache_setting &&
		snapshot->xmax == tag.xmax &&
		snapshot->xcnt == tag.xcnt &&
		snapshot->subxcnt == tag.subxcnt &&
		snapshot->curcid == tag.curcid &&
		MyLocalTransactionId == tag.lxid &&
		snapshot->takenDuringRecovery == tag.recovery;
}

/* Called by the trigger, through flinfo, before a row of one of the tables changes. */
void
fflag_cache_begin_write(FmgrInfo *flinfo)
{
	fflag_begin_write(flinfo);
	tagged = false;
}

/* ----------
 * Content
 * ----------
 */

static void
drop_lists(int part)
{
	parts[part].generation++;
	fflag_entries_forget_lists(table_of_lists(part), number_of_lists(part));
}

static void
drop_content(int part)
{
	parts[part].generation++;
	switch (part)
	{
		case FFLAG_ATTACHMENT:
			located = false;
			for (int i = FFLAG_FLAGS; i < PARTS; i++)
				drop_content(i);
			break;
		case FFLAG_FLAGS:
			if (fflag_entries_have_old_lists())
			{
				for (int i = FFLAG_USERS; i < PARTS; i++)
					drop_lists(i);
			}
			fflag_entries_forget_flags();
			break;
		default:
			drop_lists(part);
			if (table_of_lists(part) == FFLAG_DENIED)
				drop_content(FFLAG_FLAGS);
			break;
	}
}

/*
 * Takes a new fence for the dirty parts, whose content has been dropped.  To take a
 * snapshot accepts no message, so that none is missed between; if it throws, they
 * stay dirty.
 *
 * The fence must be a fresh snapshot.  The server's function takes a new one
 * at each call for a relation that has no syscache; ours have none.
 */
static void
renew_fences(void)
{
	newest_fence =
		fflag_identify(GetNonHistoricCatalogSnapshot(source.tables[FFLAG_FLAGS].relid));
	for (int i = 0; i < PARTS; i++)
	{
		if (parts[i].dirty)
			parts[i].fence = newest_fence;
		parts[i].dirty = false;
	}
	any_dirty = false;
}

/*
 * Finds out where the tables are, as the snapshot sees it, and drops the
 * content of tables that have changed or moved.
 */
static void
locate(Oid function, Snapshot snapshot)
{
	fflag_source old = source;
	uint64		before = messages;
	bool		dropped[PARTS];

	located = false;			/* an error leaves it so */
	source = fflag_locate(fflag_extension_schema(function), snapshot);
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		if (source.tables[i].relid != old.tables[i].relid ||
			source.tables[i].marker != old.tables[i].marker)
			mark_table(i);
	}
	for (int i = 0; i < PARTS; i++)
	{
		dropped[i] = parts[i].dirty;
		if (dropped[i])
			drop_content(i);
	}

	/* after relid and marker are set, so that no message is missed between */
	renew_fences();

	/*
	 * A message that came meanwhile may be about something that we had looked
	 * at already, or about a table that was not ours yet.  Look again next
	 * time.
	 */
	if (messages != before)
	{
		for (int i = 0; i < PARTS; i++)
			parts[i].dirty |= dropped[i];
		any_dirty = true;
	}
	located = messages == before;
}

/*
 * Drops whatever is not valid for the snapshot, and tags the cache with that
 * snapshot's identity.  The function is any of the extension's.  An error
 * leaves the cache untagged, and the next call comes here again.
 */
static void
revalidate(Oid function, Snapshot snapshot)
{
	fflag_snapshot_id now = fflag_identify(snapshot);
	Oid			relids[FFLAG_TABLES];
	bool		carry;

	for (int i = 0; i < FFLAG_TABLES; i++)
		relids[i] = source.tables[i].relid;

	/*
	 * A parallel worker's snapshot is the leader's, which its own ones cannot
	 * be compared with.  Look for commits under way before accepting
	 * messages.
	 */
	carry = tagged && fflag_cache_setting && !IsParallelWorker() &&
		fflag_is_same_or_later(&now, &tag) && !fflag_is_moving(&now) &&
		!fflag_has_written_between(&tag, &now) &&
		(fflag_sees_same(&now, &tag) ||
		 !fflag_is_commit_under_way(snapshot, relids, FFLAG_TABLES));
	tagged = false;

	AcceptInvalidationMessages();
	accepted = SharedInvalidMessageCounter;

	/* mostly there is nothing to drop; fences of other parts are older */
	if (!carry || any_dirty || !fflag_is_same_or_later(&tag, &newest_fence))
	{
		for (int i = 0; i < PARTS; i++)
		{
			if (!carry || parts[i].dirty ||
				!fflag_is_same_or_later(&tag, &parts[i].fence))
				drop_content(i);
		}
	}

	if (!located)
		locate(function, snapshot);
	else if (any_dirty)
		renew_fences();

	tag = now;
	tagged = fflag_cache_setting && source.announced && !fflag_is_moving(&now);
}

/* Makes the content valid for the snapshot and for what is overridden now. */
static inline void
validate(Oid function, Snapshot snapshot)
{
	if (!is_tag(snapshot))
		revalidate(function, snapshot);
	if (override_changed)
		drop_content(FFLAG_FLAGS);
	override_changed = false;
}

/*
 * Begins to read something that the content lacks, from the source that this
 * returns; the content is valid.  An error before fflag_cache_end_load(), which takes
 * what this sets, leaves the cache untagged, so that all is dropped.
 */
fflag_source *
fflag_cache_begin_load(bool *was_tagged)
{
	loads++;
	*was_tagged = tagged;
	tagged = false;
	return &source;
}

void
fflag_cache_end_load(bool was_tagged)
{
	tagged = was_tagged;
}

/* The entry of a name, from the cache, which must be valid, or from the table. */
static const fflag_entry *
find_or_load(fflag_string name, Snapshot snapshot)
{
	const fflag_entry *entry = fflag_entries_find(name);
	fflag_row	row;
	bool		was_tagged;
	bool		forgotten = false;	/* entries that call sites may point to */
	int			count;

	if (entry != NULL)
	{
		hits++;
		fflag_entry_set_time(entry);
		return entry;
	}

	fflag_cache_begin_load(&was_tagged);
	if (fflag_entries_all(&count) == NULL &&
		fflag_read_flag(&source, name, snapshot, &row))
		entry = fflag_entries_add_flag(&row);
	else
		entry = fflag_entries_add_unknown(name, &forgotten);
	if (forgotten)
		parts[FFLAG_FLAGS].generation++;
	fflag_cache_end_load(was_tagged);
	fflag_entry_set_time(entry);
	return entry;
}

/*
 * Is the first argument of this call a constant?  A parameter does not count:
 * it is constant during one execution, but PL/pgSQL keeps the state of an
 * expression for the next execution.
 */
static bool
has_constant_name(const FmgrInfo *flinfo)
{
	List	   *args = NIL;

	if (flinfo->fn_expr != NULL && IsA(flinfo->fn_expr, FuncExpr))
		args = ((FuncExpr *) flinfo->fn_expr)->args;
	return args != NIL && IsA(linitial(args), Const);
}

/* Says that no flag has this name, if the setting says so. */
static pg_noinline void
report_unknown(fflag_string name)
{
	if (fflag_must_report(name))
		fflag_report_unknown(fflag_unknown_setting == FFLAG_UNKNOWN_ERROR ? ERROR : WARNING,
							 name, !source.attached ? NULL :
							 fflag_relation_name(source.tables[FFLAG_FLAGS].named_relid));
}

/* The way of fflag_cache_get() for all but the most frequent case. */
static pg_noinline const fflag_entry *
get_by_name(FmgrInfo *flinfo, Datum name_datum)
{
	call_site  *site = flinfo->fn_extra;
	Snapshot	snapshot = fflag_active_snapshot();
	fflag_string name = fflag_string_of_text(DatumGetTextPP(name_datum));

	validate(flinfo->fn_oid, snapshot);

	if (site == NULL)
	{
		flinfo->fn_extra = site =
			MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(call_site));
		site->constant = has_constant_name(flinfo);
		if (fflag_usage_is_due())
			fflag_cache_flush_usage();
	}
	else if (site->generation == parts[FFLAG_FLAGS].generation &&
			 fflag_string_equal(site->entry->name, name))
	{
		hits++;
		return site->entry;
	}

	site->entry = find_or_load(name, snapshot);
	fflag_entry_list_usage(site->entry, false);
	site->generation = parts[FFLAG_FLAGS].generation;
	if (unlikely(site->entry->terms != NULL))
		site->generation = 0;	/* the time may be another at the next call */
	if (unlikely(fflag_unknown_setting != FFLAG_UNKNOWN_DEFAULT &&
				 !site->entry->flag.known &&
				 !site->entry->flag.overridden))
	{
		site->generation = 0;	/* so that the next call comes here again */
		report_unknown(name);
	}
	return site->entry;
}

/*
 * The flag of this name, a text, as the active snapshot sees it, cached.  The
 * caller is an SQL function whose first argument is the name, called through
 * flinfo; fn_extra belongs to this file.  The result is valid until the next call
 * of this or of the two functions below by anybody.
 *
 * Throws if there is no active snapshot.  If the flag has to be read, that takes
 * AccessShareLock on the tables for a moment, leaves garbage in the current memory
 * context, and throws what fflag_locate() and fflag_read_flag() do.  A name that
 * no flag has is reported as fflag.unknown_flag says.
 */
const fflag_entry *
fflag_cache_get(FmgrInfo *flinfo, Datum name)
{
	const call_site *site = flinfo->fn_extra;

	if (likely(site != NULL && site->constant &&
			   site->generation == parts[FFLAG_FLAGS].generation &&
			   ActiveSnapshotSet() && is_tag(GetActiveSnapshot())))
	{
		hits++;
		return site->entry;
	}
	return get_by_name(flinfo, name);
}

/*
 * The flag of this name as fflag_cache_get() finds it, for a caller without a call
 * site, which hears of no unknown name.  The
 * function is any of the extension's.  The name is looked up at each call.
 */
const fflag_entry *
fflag_cache_find(Oid function, Datum name)
{
	Snapshot	snapshot = fflag_active_snapshot();

	validate(function, snapshot);
	return find_or_load(fflag_string_of_text(DatumGetTextPP(name)), snapshot);
}

static bool
take_flag(const fflag_row *row, void *arg)
{
	loads++;
	fflag_entries_add_flag(row);
	return true;
}

/*
 * All flags as the active snapshot sees them, by name; else as
 * fflag_cache_find().
 */
const fflag_entry *const *
fflag_cache_get_all(Oid function, int *count)
{
	Snapshot	snapshot = fflag_active_snapshot();
	const fflag_entry *const *all;

	validate(function, snapshot);

	if (fflag_entries_all(count) == NULL)
	{
		bool		was_tagged = tagged;

		tagged = false;			/* as in fflag_cache_begin_load() */
		fflag_read_flags(&source, snapshot, take_flag, NULL);
		fflag_entries_complete();
		tagged = was_tagged;
	}
	all = fflag_entries_all(count);
	for (int i = 0; i < *count; i++)
		fflag_entry_set_time(all[i]);
	return all;
}

/*
 * Makes list the flag's list, whose beginning is read if it is not here; out of line
 * as it is seldom needed.
 */
static pg_noinline void
use_list(const fflag_entry *entry, fflag_table_id which, fflag_entry_list *list)
{
	bool		was_tagged = tagged;

	tagged = false;				/* as in fflag_cache_begin_load() */
	list->list = fflag_entries_list(entry, which, &source);
	list->generation = parts[list_part(which, entry->list_part)].generation;
	tagged = was_tagged;
}

/*
 * The list in table FFLAG_USERS or FFLAG_DENIED of a flag that one of the functions
 * above has just returned, or fflag_other_flag(); NULL if it is
 * empty.  What allowlist.c says of it is true under the same snapshot, until the
 * next call of those functions by anybody.
 */
fflag_allowlist *
fflag_cache_list(const fflag_entry *entry, fflag_table_id which)
{
	fflag_entry_list *list = &unconstify(fflag_entry *, entry)->lists[which - FFLAG_USERS];

	if (list->generation != parts[list_part(which, entry->list_part)].generation)
		use_list(entry, which, list);
	return list->list;
}

/*
 * The same, but reads nothing: if nothing has been read of the list, the result is
 * "unread", which can only be counted.
 */
fflag_allowlist *
fflag_cache_peek_list(const fflag_entry *entry, fflag_table_id which,
					  fflag_allowlist *unread)
{
	return fflag_entries_peek_list(entry, which, &source, unread);
}

/*
 * Makes a plan depend on a flag that one of the functions above has just returned,
 * or on all flags if entry is NULL, but then not on their lists: messages about
 * the tables and their rows invalidate the plan if it is kept.
 */
void
fflag_cache_add_dependency(PlannerGlobal *glob, const fflag_entry *entry)
{
	/* the current context may be one that GEQO throws away between two tries */
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(glob));

	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		Oid			marker = source.tables[i].marker;

		if (OidIsValid(source.tables[i].relid))
		{
			glob->relationOids = list_append_unique_oid(glob->relationOids,
														source.tables[i].relid);
			glob->relationOids = list_append_unique_oid(glob->relationOids,
														source.tables[i].named_relid);
		}
		if (OidIsValid(marker))
			glob->relationOids = list_append_unique_oid(glob->relationOids, marker);
		if (entry != NULL && OidIsValid(marker) && has_lists(i))
			glob->relationOids = list_append_unique_oid(glob->relationOids,
														fflag_list_marker(marker, entry->list_part));
	}
	MemoryContextSwitchTo(caller);
}

/*
 * What the cache holds for the active snapshot, and whether it may.  The function
 * is any of the extension's; throws as evaluation does.
 */
fflag_cache_stats
fflag_cache_get_stats(Oid function)
{
	Snapshot	snapshot = fflag_active_snapshot();
	fflag_cache_stats stats;

	validate(function, snapshot);
	stats.caching = fflag_cache_setting && source.announced;
	stats.held = fflag_entries_count();
	stats.hits = hits;
	stats.loads = loads;
	stats.invalidations = invalidations;
	return stats;
}
