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
 * the triggers in trigger.c queue one for each table that a transaction changes.
 * The messages alone are not enough; these are the traps, each with a patch in
 * test/naive that opens it and a test that then fails:
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
 *   messages a moment later.  Meanwhile it holds a lock (a standby: is still
 *   replaying the commit record), and who sees either loads anew.
 *
 * - The one message tells the writer's own session of its first command only.
 *   So nothing that this session has loaded before its last write is carried
 *   to another command.
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
#include "compat.h"
#include "read.h"
#include "strtab.h"
#include "writer.h"

/*
 * Names that no flag has are remembered too, but anybody can make them up, so
 * that their number and length are bounded: together to some 700 kB.
 */
#define MAX_UNKNOWN_NAMES 1024
#define MAX_UNKNOWN_LENGTH 600	/* bytes; varchar(150) in UTF-8 is no longer */

/*
 * The cache has a part for each table, which are invalidated separately.  That
 * of the attachment is where the tables are, "source", so that the other two
 * rest upon it.
 */
#define WHERE FFLAG_ATTACHMENT
#define FLAGS FFLAG_FLAGS
#define LISTS FFLAG_USERS
#define PARTS FFLAG_TABLES

typedef struct cache_part
{
	bool		dirty;			/* a message about its table came */
	fflag_snapshot_id fence;			/* taken after the last one */
	MemoryContext cxt;			/* holds the content */
	uint64		generation;		/* changes when pointers into it die; not 0 */
} cache_part;

/* Which entry a call site used last, in its fn_extra. */
typedef struct call_site
{
	bool		constant;		/* the name is the same at every call */
	uint64		generation;		/* of FLAGS */
	const fflag_entry *entry;
} call_site;

bool		fflag_cache_setting = true;

static bool tagged = false;		/* is the content valid for tag? */
static fflag_snapshot_id tag;
static cache_part parts[PARTS];

/* the tables' relids are set from the first revalidation on */
static fflag_source source;
static bool located = false;	/* is it what the tag's snapshot sees? */

/* in parts[FLAGS].cxt */
static struct strtab_hash *flags;
static struct strtab_hash *unknown_names;
static MemoryContext unknown_cxt;
static const fflag_entry **all_flags;	/* by name; NULL: not all are loaded */
static int	n_all_flags;

/* in parts[LISTS].cxt, by the flag's id */
static struct strtab_hash *lists;

/* all relcache messages so far; those for other relations count as well */
static uint64 messages;

/* messages of all kinds of which we know that none has been lost */
static uint64 accepted;

static int64 hits;
static int64 loads;
static int64 invalidations;

/*
 * Relcache callback.  It may come at any time, in the middle of anything, and
 * only takes note.  InvalidOid stands for every relation.
 */
static void
mark_dirty(Datum arg, Oid relid)
{
	messages++;
	for (int i = 0; i < PARTS; i++)
	{
		if (relid == InvalidOid || relid == source.tables[i].relid ||
			relid == source.tables[i].marker)
		{
			parts[i].dirty = true;
			source.tables[i].changes++;
			invalidations++;
		}
	}
}

/*
 * Syscache callback: roles or memberships have changed, and so perhaps whether
 * the tables that are attached may still be shown.
 */
static void
mark_roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	mark_dirty(arg, source.tables[WHERE].relid);
}

/*
 * The server acts upon a message before it tells us: the description of a
 * relation that is in use is read anew, which may fail, because memory runs
 * out or somebody has locked a catalog for longer than lock_timeout.  Then the
 * message is gone.  Such an error ends a transaction or a subtransaction; so
 * whatever came in one that ends like this may have been about our tables.
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
		tagged = false;
		mistrust_messages();
	}
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		fflag_begin_commit();
	if (event == XACT_EVENT_ABORT)
		mistrust_messages();
}

/*
 * Called by _PG_init, again if it has failed for want of memory: nothing may be
 * registered twice, for there are only ten slots for callbacks.
 */
void
fflag_cache_init(void)
{
	static const char *const names[PARTS] = {
		"fflag attachment", "fflag flags", "fflag lists"
	};
	static int	registered = 0;

	for (int i = 0; i < PARTS; i++)
	{
		if (parts[i].cxt == NULL)
			parts[i].cxt = AllocSetContextCreateInternal(TopMemoryContext, names[i],
														 ALLOCSET_SMALL_SIZES);
		parts[i].dirty = true;
		parts[i].generation = 1;
	}
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
		CacheRegisterSyscacheCallback(AUTHOID, mark_roles_changed, (Datum) 0);
		registered++;
	}
	if (registered == 3)
	{
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, mark_roles_changed, (Datum) 0);
		registered++;
	}
	RegisterXactCallback(end_transaction, NULL);
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

/* Called by the trigger before a row of either table changes. */
void
fflag_cache_begin_write(void)
{
	fflag_begin_write();
	tagged = false;
}

/* ----------
 * Content
 * ----------
 */

static void
drop_content(fflag_table_id which)
{
	MemoryContextReset(parts[which].cxt);
	parts[which].generation++;
	switch (which)
	{
		case WHERE:
			located = false;
			drop_content(FLAGS);
			drop_content(LISTS);
			break;
		case FLAGS:
			flags = NULL;
			unknown_names = NULL;
			unknown_cxt = NULL;
			all_flags = NULL;
			n_all_flags = 0;
			break;
		case LISTS:
			lists = NULL;
			break;
	}
}

/*
 * Makes the cache hold nothing that is not valid for the snapshot, and tags it
 * with that snapshot's identity.  An error leaves it untagged: the next call
 * comes here again.
 */
static void
revalidate(FmgrInfo *flinfo, Snapshot snapshot)
{
	fflag_snapshot_id now = fflag_identify(snapshot);
	Oid			known[PARTS];
	Oid			markers[PARTS];
	bool		locate = false;
	bool		carry;

	for (int i = 0; i < PARTS; i++)
	{
		known[i] = source.tables[i].relid;
		markers[i] = source.tables[i].marker;
	}

	/*
	 * A parallel worker's snapshot is the leader's, which its own ones cannot
	 * be compared with.  Look for commits under way before accepting messages.
	 */
	carry = tagged && fflag_cache_setting && !IsParallelWorker() &&
		fflag_is_not_before(&now, &tag) && !fflag_is_moving(&now) &&
		!fflag_has_written_between(&tag, &now) &&
		(fflag_sees_same(&now, &tag) ||
		 !fflag_is_commit_under_way(snapshot, known, PARTS));
	tagged = false;

	AcceptInvalidationMessages();
	accepted = SharedInvalidMessageCounter;

	for (int i = 0; i < PARTS; i++)
	{
		if (!carry || parts[i].dirty || !fflag_is_not_before(&tag, &parts[i].fence))
			drop_content(i);
		locate |= parts[i].dirty;
	}

	if (locate || !located)
	{
		uint64		before = messages;

		located = false;		/* an error leaves it so */
		source = fflag_locate(fflag_extension_schema(flinfo->fn_oid), snapshot);
		for (int i = 0; i < PARTS; i++)
		{
			Oid			relid = source.tables[i].relid;

			if (!parts[i].dirty && relid == known[i] &&
				source.tables[i].marker == markers[i])
				continue;
			drop_content(i);

			/*
			 * What came while we were looking may be about what we had looked
			 * at already, or about a table that was not ours yet: look again
			 * next time.
			 */
			parts[i].dirty = messages != before;

			/*
			 * The fence comes after relid and marker are set, so that no message is
			 * missed between, and must be fresh: for a relation that has no syscache,
			 * as ours, this function takes a new snapshot at each call.
			 */
			parts[i].fence = fflag_identify(GetNonHistoricCatalogSnapshot(relid));
		}
		located = true;
	}

	tag = now;
	tagged = fflag_cache_setting && source.announced && !fflag_is_moving(&now);
}

/* Room for an entry, its two names and its id, in the context given. */
static fflag_entry *
make_entry(MemoryContext cxt, const char *name, int len, const fflag_row *row)
{
	size_t		utf8_len = row ? row->flag.utf8_name_len : 0;
	size_t		id_len = row ? row->id.len : 0;
	fflag_entry *entry =
		MemoryContextAllocZero(cxt, offsetof(fflag_entry, name) +
							   len + utf8_len + id_len);

	memcpy(entry->name, name, len);
	entry->name_len = len;
	if (row != NULL)
	{
		memcpy(entry->name + len, row->flag.utf8_name, utf8_len);
		entry->flag = row->flag;
		entry->flag.utf8_name = entry->name + len;
		entry->id = (fflag_string) {entry->name + len + utf8_len, id_len};
		memcpy(entry->name + len + utf8_len, row->id.data, id_len);
	}
	return entry;
}

static void
remember(struct strtab_hash *tab, fflag_entry *entry)
{
	fflag_string key = {entry->name, entry->name_len};
	bool		found;

	strtab_insert(tab, key, &found)->value = entry;
}

static const fflag_entry *
remember_flag(const char *name, int len, const fflag_row *row)
{
	fflag_entry *entry;

	if (flags == NULL)
		flags = strtab_create(parts[FLAGS].cxt, 16, NULL);
	entry = make_entry(parts[FLAGS].cxt, name, len, row);
	remember(flags, entry);
	return entry;
}

static const fflag_entry *
remember_unknown(const char *name, int len)
{
	static const fflag_entry unknown = {.name_len = -1};	/* equals no name */
	fflag_entry *entry;

	if (len > MAX_UNKNOWN_LENGTH)
		return &unknown;

	if (unknown_names != NULL && unknown_names->members >= MAX_UNKNOWN_NAMES)
	{
		unknown_names = NULL;
		MemoryContextReset(unknown_cxt);
		parts[FLAGS].generation++;
	}
	if (unknown_cxt == NULL)
		unknown_cxt = AllocSetContextCreate(parts[FLAGS].cxt,
											"fflag unknown names",
											ALLOCSET_SMALL_SIZES);
	if (unknown_names == NULL)
		unknown_names = strtab_create(unknown_cxt, 16, NULL);
	entry = make_entry(unknown_cxt, name, len, NULL);
	remember(unknown_names, entry);
	return entry;
}

/* The entry of a name, from the cache or from the table. */
static const fflag_entry *
find_or_load(const char *name, int len, Snapshot snapshot)
{
	fflag_string key = {name, len};
	fflag_string_slot *slot = NULL;
	const fflag_entry *entry;
	fflag_row	row;
	bool		was_tagged;

	if (flags != NULL)
		slot = strtab_lookup(flags, key);
	if (slot == NULL && unknown_names != NULL)
		slot = strtab_lookup(unknown_names, key);
	if (slot != NULL)
	{
		hits++;
		return slot->value;
	}

	loads++;
	was_tagged = tagged;
	tagged = false;				/* an error leaves it so, and all is dropped */
	if (all_flags == NULL &&
		fflag_read_flag(&source, key, snapshot, &row))
		entry = remember_flag(name, len, &row);
	else
		entry = remember_unknown(name, len);
	tagged = was_tagged;
	return entry;
}

/*
 * Is the first argument of this call a constant?  A parameter is not, though
 * it is one for a whole execution: PL/pgSQL keeps the state of an expression
 * from one to the next.
 */
static bool
has_constant_name(const FmgrInfo *flinfo)
{
	List	   *args = NIL;

	if (flinfo->fn_expr != NULL && IsA(flinfo->fn_expr, FuncExpr))
		args = ((FuncExpr *) flinfo->fn_expr)->args;
	return args != NIL && IsA(linitial(args), Const);
}

/* The way of fflag_cache_get() for all but the most frequent case. */
static pg_noinline const fflag_entry *
get_by_name(FmgrInfo *flinfo, Datum name_datum)
{
	call_site  *site = flinfo->fn_extra;
	Snapshot	snapshot = fflag_active_snapshot();
	text	   *name_text = DatumGetTextPP(name_datum);
	const char *name = VARDATA_ANY(name_text);
	int			len = VARSIZE_ANY_EXHDR(name_text);

	if (!is_tag(snapshot))
		revalidate(flinfo, snapshot);

	if (site == NULL)
	{
		flinfo->fn_extra = site =
			MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(call_site));
		site->constant = has_constant_name(flinfo);
	}
	else if (site->generation == parts[FLAGS].generation &&
			 site->entry->name_len == len &&
			 memcmp(site->entry->name, name, len) == 0)
	{
		hits++;
		return site->entry;
	}

	site->entry = find_or_load(name, len, snapshot);
	site->generation = parts[FLAGS].generation;
	return site->entry;
}

/*
 * The flag of this name, a text, as the active snapshot sees it, cached.  The
 * caller is an SQL function whose first argument the name is, called through
 * flinfo, of which fn_extra is ours.  The result is valid until the next call
 * of this file by anybody, but for fflag_cache_list() and fflag_cache_listed().
 */
const fflag_entry *
fflag_cache_get(FmgrInfo *flinfo, Datum name)
{
	const call_site *site = flinfo->fn_extra;

	if (likely(site != NULL && site->constant &&
			   site->generation == parts[FLAGS].generation &&
			   ActiveSnapshotSet() && is_tag(GetActiveSnapshot())))
	{
		hits++;
		return site->entry;
	}
	return get_by_name(flinfo, name);
}

static bool
take_flag(const fflag_row *row, void *arg)
{
	loads++;
	if (flags == NULL || strtab_lookup(flags, row->name) == NULL)
		remember_flag(row->name.data, row->name.len, row);
	return true;
}

/* Bytewise, which is how the name column is collated. */
static int
compare_names(const void *a, const void *b)
{
	const fflag_entry *x = *(const fflag_entry *const *) a;
	const fflag_entry *y = *(const fflag_entry *const *) b;
	int			order = memcmp(x->name, y->name, Min(x->name_len, y->name_len));

	return order != 0 ? order : x->name_len - y->name_len;
}

/* All flags as the active snapshot sees them, by name; else as above. */
const fflag_entry *const *
fflag_cache_get_all(FmgrInfo *flinfo, int *count)
{
	Snapshot	snapshot = fflag_active_snapshot();

	if (!is_tag(snapshot))
		revalidate(flinfo, snapshot);

	if (all_flags == NULL)
	{
		const fflag_entry **sorted;
		strtab_iterator it;
		fflag_string_slot *slot;
		bool		was_tagged = tagged;
		int			n = 0;

		tagged = false;			/* as in find_or_load() */
		fflag_read_flags(&source, snapshot, take_flag, NULL);
		sorted = MemoryContextAllocHuge(parts[FLAGS].cxt,
										sizeof(*sorted) *
										(flags ? flags->members + 1 : 1));
		if (flags != NULL)
		{
			strtab_start_iterate(flags, &it);
			while ((slot = strtab_iterate(flags, &it)) != NULL)
				sorted[n++] = slot->value;
			qsort(sorted, n, sizeof(*sorted), compare_names);
		}
		all_flags = sorted;
		n_all_flags = n;
		tagged = was_tagged;
	}
	*count = n_all_flags;
	return all_flags;
}

/* Makes entry->list the flag's list, if it is not yet or any more. */
static void
use_list(const fflag_entry *entry)
{
	fflag_entry *ours = unconstify(fflag_entry *, entry);
	cache_part *part = &parts[LISTS];
	fflag_string_slot *slot;
	bool		found;

	if (entry->list_generation == part->generation)
		return;

	if (lists == NULL)
		lists = strtab_create(part->cxt, 64, NULL);
	slot = strtab_lookup(lists, entry->id);
	if (slot == NULL)
	{
		fflag_allowlist *list =
			MemoryContextAllocZero(part->cxt, sizeof(*list) + entry->id.len);

		list->flag_id = (fflag_string) {(char *) (list + 1), entry->id.len};
		memcpy(list + 1, entry->id.data, entry->id.len);
		list->counted = -1;
		slot = strtab_insert(lists, list->flag_id, &found);
		slot->value = list;
	}
	ours->list = slot->value;
	ours->nobody_listed = false;
	ours->list_generation = part->generation;
}

/*
 * The allowlist of a flag that one of the functions above has just returned, or
 * NULL if it is known to be empty.
 */
const fflag_allowlist *
fflag_cache_list(const fflag_entry *entry)
{
	if (entry->nobody_listed &&
		entry->list_generation == parts[LISTS].generation)
		return NULL;
	use_list(entry);
	return entry->list;
}

/*
 * Is the user (canonical text, database encoding, fflag_allowlist_hash()) on
 * that list?  Under the same snapshot.
 */
bool
fflag_cache_listed(const fflag_entry *entry, const char *user, int len,
				   uint64 hash)
{
	cache_part *part = &parts[LISTS];
	bool		listed;

	use_list(entry);
	listed = fflag_allowlist_has(entry->list, &source, user, len, hash, part->cxt);
	unconstify(fflag_entry *, entry)->nobody_listed =
		fflag_allowlist_is_empty(entry->list);
	return listed;
}

/*
 * How many users are on the allowlist of a flag, for the planner: exactly, if
 * they are not too many to count.  As for fflag_cache_listed().
 */
int64
fflag_cache_count_listed(const fflag_entry *entry)
{
	if (!entry->flag.known)
		return 0;
	use_list(entry);
	return fflag_allowlist_count(entry->list, &source,
								 fflag_active_snapshot());
}

/*
 * Makes a plan depend on the flag tables: messages about the tables and their
 * rows invalidate it if it is kept.
 */
void
fflag_cache_add_dependency(PlannerGlobal *glob)
{
	/* the current context may be one that GEQO throws away between two tries */
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(glob));

	for (int i = 0; i < PARTS; i++)
	{
		glob->relationOids = list_append_unique_oid(glob->relationOids,
													source.tables[i].relid);
		if (OidIsValid(source.tables[i].marker))
			glob->relationOids = list_append_unique_oid(glob->relationOids,
														source.tables[i].marker);
	}
	MemoryContextSwitchTo(caller);
}

/* What the cache holds, whether or not it is still valid. */
fflag_cache_stats
fflag_cache_get_stats(void)
{
	return (fflag_cache_stats)
	{
		.caching = fflag_cache_setting && (source.announced || !located),
		.flags = flags ? flags->members : 0,
		.unknown_names = unknown_names ? unknown_names->members : 0,
		.allowlists = lists ? lists->members : 0,
		.bytes = MemoryContextMemAllocated(parts[FLAGS].cxt, true) +
			MemoryContextMemAllocated(parts[LISTS].cxt, true),
		.hits = hits,
		.loads = loads,
		.invalidations = invalidations
	};
}
