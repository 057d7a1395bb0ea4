/*
 * usage.c
 *		How often each flag is evaluated, counted for the whole server without
 *		writing anything.
 *
 * Evaluation adds to counters in the cache's own entry of the flag (entry.h).
 * They are added to the server's when the transaction ends, whichever way, and
 * before entries are forgotten.
 *
 * The server's counters are in one segment of dynamic shared memory, which the
 * first backend that counts creates and pins.  Its handle is in eight bytes that
 * the server has to spare in its main shared memory, so that nothing has to be
 * preloaded.  A segment that cannot be had stops counting and nothing else.
 *
 * In the segment there is a slot for each name and database.  The slot has room
 * for the longest name, because slots are taken back one by one: those of
 * databases that have been dropped, and at a reset those of names that no flag
 * has.  Then the slot's generation changes, so that a session that still knows
 * it sees that it is not the name's any more.  Each database has two slots more,
 * its "rests": one for flags that find no slot or whose names are too long, one
 * for such names that no flag has.
 *
 * Bulk answers, those of fflag_flags(), come for all flags of a database at once,
 * and are counted apart.  A flag that has nothing else gets a slot only while
 * there are some to spare, so that one call leaves room for what is evaluated.
 *
 * A lock protects which slot is whose: exclusively to change that, shared to add
 * to counters.  Under it nothing throws and nothing loops without a bound.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "usage.h"

#define SLOTS 4096
#define UNKNOWN_SLOTS 512		/* at most, for names that no flag has */
#define BULK_SLOTS 3072			/* taken: no more for bulk answers alone */
#define MAX_LENGTH 600			/* bytes; varchar(150) in UTF-8 is no longer */

/* a transaction older than this adds its counts to the server's at its next statement */
#define FLUSH_AFTER (1 * USECS_PER_SEC)

/* how long a session leaves alone what it could not have */
#define RETRY_AFTER (60 * USECS_PER_SEC)

/* What a slot counts. */
typedef enum usage_kind
{
	USAGE_FLAG,
	USAGE_UNKNOWN,				/* a name that no flag has, in UNKNOWN_SLOTS */
	USAGE_REST,					/* the flags without a slot of their own */
	USAGE_UNKNOWN_REST			/* the names without one that no flag has */
} usage_kind;

typedef struct usage_slot
{
	pg_atomic_uint64 evaluations;
	pg_atomic_uint64 enabled;
	pg_atomic_uint64 last;		/* a TimestampTz */
	pg_atomic_uint64 bulk;		/* bulk answers, which are no evaluations */
	pg_atomic_uint64 last_bulk; /* a TimestampTz */
	TimestampTz since;			/* of USAGE_REST: when counting began in its
								 * database */
	Oid			database;		/* InvalidOid: free */
	uint32		hash;
	uint32		generation;
	uint16		next;			/* in its bucket, or among the free; 0: none */
	uint16		length;
	uint8		kind;			/* a usage_kind; the rests have no name */
	char		name[MAX_LENGTH];
} usage_slot;

/* Slots are numbered from 1. */
typedef struct usage_segment
{
	LWLock		lock;
	uint16		free;
	int			taken;			/* slots that are not */
	int			unknown;		/* slots of names that no flag has */
	uint16		buckets[SLOTS];
	usage_slot	slots[SLOTS];
} usage_segment;

/* In the main shared memory, under AddinShmemInitLock. */
typedef struct usage_anchor
{
	dsm_handle	segment;
	uint32		reported;		/* has the log been told that there is none? */
} usage_anchor;

bool		fflag_track_usage = true;

static usage_segment *segment;
static TimestampTz attach_after;	/* not tried again before this moment */
static TimestampTz reclaim_after;

static fflag_usage_count *listed;
static TimestampTz flush_after;

/* A background worker need not have set it. */
static TimestampTz
statement_start(void)
{
	TimestampTz start = GetCurrentStatementStartTimestamp();

	return start != 0 ? start : GetCurrentTimestamp();
}

/* ----------
 * The segment
 * ----------
 */

/* The one that is there, or a new one.  Throws if there is no memory. */
static dsm_segment *
attach_or_create(usage_anchor *anchor)
{
	dsm_segment *dsm;
	usage_segment *new;

	if (anchor->segment != DSM_HANDLE_INVALID)
	{
		dsm = dsm_attach(anchor->segment);
		if (dsm == NULL)
			elog(ERROR, "dynamic shared memory segment %u is gone",
				 anchor->segment);
		return dsm;
	}

	dsm = dsm_create(sizeof(usage_segment), 0);
	new = dsm_segment_address(dsm);
	memset(new, 0, sizeof(*new));
	LWLockInitialize(&new->lock, fflag_new_tranche("fflag_usage"));
	for (int i = 0; i < SLOTS; i++)
	{
		pg_atomic_init_u64(&new->slots[i].evaluations, 0);
		pg_atomic_init_u64(&new->slots[i].enabled, 0);
		pg_atomic_init_u64(&new->slots[i].last, 0);
		pg_atomic_init_u64(&new->slots[i].bulk, 0);
		pg_atomic_init_u64(&new->slots[i].last_bulk, 0);
		new->slots[i].next = i + 2 <= SLOTS ? i + 2 : 0;
	}
	new->free = 1;
	dsm_pin_segment(dsm);
	anchor->segment = dsm_segment_handle(dsm);
	anchor->reported = false;
	return dsm;
}

/* Tells the log, in one line, why nothing is counted. */
static void
report_failure(const ErrorData *error)
{
	ereport(LOG,
			errcode(error->sqlerrcode),
			errmsg("evaluations of flags are not counted: %s", error->message),
			errdetail("Answers are not affected."),
			errhint("Counting takes %zu kB of dynamic shared memory, and begins by itself when they can be had.",
					sizeof(usage_segment) / 1024));
}

/*
 * Attaches the segment, for as long as this backend lives, or creates it.  What
 * fails here must not fail the statement.  So errors are caught, and what
 * they leave behind is cleaned up as at the end of a transaction, but without
 * ending one: the segment belongs to a resource owner of its own, and whoever
 * evaluates a flag holds no LWLock that could be released by mistake.
 */
static void
attach(void)
{
	static bool reported = false;
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner callers = CurrentResourceOwner;
	ResourceOwner own = ResourceOwnerCreate(callers, "fflag usage");
	usage_anchor *volatile anchor = NULL;

	CurrentResourceOwner = own;
	PG_TRY();
	{
		usage_anchor *there;
		dsm_segment *dsm;
		bool		found;

		LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
		/* another layout would need another name: libraries can differ */
		there = ShmemInitStruct("fflag usage 3", sizeof(usage_anchor), &found);
		if (!found)
			memset(there, 0, sizeof(usage_anchor));
		anchor = there;
		dsm = attach_or_create(there);
		fflag_name_tranche(&((usage_segment *) dsm_segment_address(dsm))->lock,
						   "fflag_usage");
		dsm_pin_mapping(dsm);
		segment = dsm_segment_address(dsm);
		LWLockRelease(AddinShmemInitLock);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		LWLockReleaseAll();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		ResourceOwnerRelease(own, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);

		/* once for the server, or where even that is unknown, for a session */
		if (!(anchor != NULL ? anchor->reported : reported))
			report_failure(error);
		reported = true;
		if (anchor != NULL)
			anchor->reported = true;
		FreeErrorData(error);
	}
	PG_END_TRY();
	CurrentResourceOwner = callers;
	ResourceOwnerDelete(own);
}

/* Is the segment there?  Tries to get it, now and then. */
static bool
is_attached(void)
{
	TimestampTz now = statement_start();

	/* a single-user server has nobody to share with */
	if (segment != NULL || !IsUnderPostmaster || now < attach_after)
		return segment != NULL;
	attach_after = now + RETRY_AFTER;
	attach();
	return segment != NULL;
}

/* ----------
 * Slots, with the lock held; exclusively to change any
 * ----------
 */

static inline usage_slot *
slot_at(int slot)
{
	return &segment->slots[slot - 1];
}

static inline bool
is_rest(usage_kind kind)
{
	return kind == USAGE_REST || kind == USAGE_UNKNOWN_REST;
}

/* The rests have no name. */
static uint32
hash_of(fflag_string name, usage_kind kind)
{
	uint32		hash = is_rest(kind) ? (uint32) kind :
	hash_bytes((const unsigned char *) name.data, name.len);

	return hash_combine(hash, murmurhash32(MyDatabaseId));
}

/*
 * The slot of a name of this database, 0 if it has none; one that is taken for the
 * other kind of names is found too.
 */
static int
look_up(fflag_string name, usage_kind kind, uint32 hash)
{
	int			i = segment->buckets[hash % SLOTS];

	while (i != 0)
	{
		usage_slot *slot = slot_at(i);

		if (slot->hash == hash && slot->database == MyDatabaseId &&
			(is_rest(kind) || is_rest(slot->kind) ? slot->kind == kind :
			 fflag_string_equal(fflag_string_make(slot->name, slot->length), name)))
			return i;
		i = slot->next;
	}
	return 0;
}

/* A slot for a name that has none, 0 if none is left. */
static int
insert(fflag_string name, usage_kind kind, uint32 hash)
{
	int			i = segment->free;
	uint16	   *bucket = &segment->buckets[hash % SLOTS];
	usage_slot *slot;

	if (i == 0 || (kind == USAGE_UNKNOWN && segment->unknown >= UNKNOWN_SLOTS))
		return 0;
	slot = slot_at(i);
	segment->free = slot->next;
	slot->next = *bucket;
	*bucket = i;
	slot->database = MyDatabaseId;
	slot->hash = hash;
	slot->length = name.len;
	if (name.len > 0)
		memcpy(slot->name, name.data, name.len);
	slot->since = 0;
	slot->kind = kind;
	segment->taken++;
	segment->unknown += kind == USAGE_UNKNOWN;
	return i;
}

static void
clear(usage_slot *slot)
{
	pg_atomic_write_u64(&slot->evaluations, 0);
	pg_atomic_write_u64(&slot->enabled, 0);
	pg_atomic_write_u64(&slot->last, 0);
	pg_atomic_write_u64(&slot->bulk, 0);
	pg_atomic_write_u64(&slot->last_bulk, 0);
}

/* Takes a slot back. */
static void
free_slot(int i)
{
	usage_slot *slot = slot_at(i);
	uint16	   *link = &segment->buckets[slot->hash % SLOTS];

	while (*link != i)
		link = &slot_at(*link)->next;
	*link = slot->next;
	slot->next = segment->free;
	segment->free = i;
	segment->taken--;
	segment->unknown -= slot->kind == USAGE_UNKNOWN;
	slot->database = InvalidOid;
	slot->generation++;
	clear(slot);
}

/*
 * The slot for names without one.  If there is none, the result is 0, or with
 * may_change it is made if there is room.  It is not among the UNKNOWN_SLOTS.
 */
static int
find_rest(bool known, bool may_change)
{
	usage_kind	kind = known ? USAGE_REST : USAGE_UNKNOWN_REST;
	fflag_string none = {0};
	uint32		hash = hash_of(none, kind);
	int			i = look_up(none, kind, hash);

	if (i == 0 && may_change)
	{
		i = insert(none, kind, hash);
		if (i != 0)
			slot_at(i)->since = statement_start();
	}
	return i;
}

/* Is there no slot for a flag that has only bulk answers? */
static bool
is_full_for_bulk(void)
{
	return segment->taken >= BULK_SLOTS;
}

/*
 * The slot of a name.  If it has none, or is taken for one of the other kind, the
 * result is 0, or with may_change it becomes what it should be if it can.
 */
static int
find(fflag_string name, bool known, bool bulk, bool may_change)
{
	usage_kind	kind = known ? USAGE_FLAG : USAGE_UNKNOWN;
	uint32		hash = hash_of(name, kind);
	int			i = look_up(name, kind, hash);

	if (i == 0)
		return may_change && !(bulk && is_full_for_bulk()) ?
			insert(name, kind, hash) : 0;
	if (slot_at(i)->kind != kind)
	{
		/* somebody has created the flag since it was made up, or dropped it */
		if (!may_change)
			return 0;
		segment->unknown += known ? -1 : 1;
		slot_at(i)->kind = kind;
	}
	return i;
}

/*
 * Takes back the slots of databases that have been dropped; nobody else can
 * know them any more.  Called without the lock, which is not held while catalogs
 * are read.  Leaves garbage in the current memory context.
 */
static void
reclaim(void)
{
	List	   *databases = NIL;
	ListCell   *lc;

	for (int i = 1; i <= SLOTS; i++)
	{
		Oid			database = slot_at(i)->database;

		if (OidIsValid(database) && database != MyDatabaseId)
			databases = list_append_unique_oid(databases, database);
	}
	foreach(lc, databases)
	{
		if (SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(lfirst_oid(lc))))
			continue;
		LWLockAcquire(&segment->lock, LW_EXCLUSIVE);
		for (int i = 1; i <= SLOTS; i++)
		{
			if (slot_at(i)->database == lfirst_oid(lc))
				free_slot(i);
		}
		LWLockRelease(&segment->lock);
	}
}

static void
use_slot(fflag_usage_count *usage, int slot)
{
	usage->slot = slot;
	if (slot != 0)
		usage->generation = slot_at(slot)->generation;
}

/*
 * Finds out where the server counts a name, of which bulk answers alone are to be
 * counted if bulk is true.  Leaves garbage in the current memory context.
 */
static void
find_slot(fflag_usage_count *usage, fflag_string name, bool known, bool bulk)
{
	TimestampTz now = statement_start();
	bool		is_short = name.len <= MAX_LENGTH;
	int			slot = 0;
	bool		again;

	usage->bulk_in_rest = false;

	/*
	 * Mostly it is there: sessions that read flags anew do not queue up.  Nor
	 * do those that read more flags than bulk answers have room for.
	 */
	LWLockAcquire(&segment->lock, LW_SHARED);
	if (is_short)
		slot = find(name, known, bulk, false);
	if (slot == 0 && bulk && is_full_for_bulk() && now < reclaim_after)
	{
		slot = find_rest(known, false);
		usage->bulk_in_rest = is_short;
	}
	use_slot(usage, slot);
	LWLockRelease(&segment->lock);
	if (slot != 0)
		return;

	do
	{
		LWLockAcquire(&segment->lock, LW_EXCLUSIVE);
		(void) find_rest(true, true);	/* it says since when we count */
		if (is_short)
			slot = find(name, known, bulk, true);
		usage->bulk_in_rest = is_short && bulk && slot == 0;
		use_slot(usage, slot != 0 ? slot : find_rest(known, true));
		LWLockRelease(&segment->lock);

		again = is_short && slot == 0 && now >= reclaim_after;
		if (again)
		{
			reclaim_after = now + RETRY_AFTER;
			reclaim();
		}
	} while (again);
}

/* ----------
 * Counting
 * ----------
 */

/*
 * From now on, evaluations and bulk answers of this name count, until the next
 * flush.  Called when a transaction evaluates the name for the first time, or with
 * bulk, answers it in bulk; and not from a transaction callback: it may create the
 * segment.  Leaves garbage in the current memory context.
 */
void
fflag_usage_list(fflag_usage_count *usage, fflag_string name, bool known, bool bulk)
{
	if (!fflag_track_usage || !is_attached())
		return;
	if (usage->slot == 0 || (usage->bulk_in_rest && !bulk) ||
		usage->generation != slot_at(usage->slot)->generation)
		find_slot(usage, name, known, bulk);
	if (usage->listed)
		return;

	usage->evaluations = 0;
	usage->enabled = 0;
	usage->bulk = 0;
	usage->asked = statement_start();
	usage->listed = true;
	if (listed == NULL)
		flush_after = usage->asked + FLUSH_AFTER;
	usage->next = listed;
	listed = usage;
}

/*
 * Should a statement that begins let others see what those before it in its
 * transaction have counted?
 */
bool
fflag_usage_is_due(void)
{
	return listed != NULL &&
		(!fflag_track_usage ||
		 statement_start() >= flush_after);
}

/* Adds to a count, and raises the time of its last one to at least this one. */
static void
add(pg_atomic_uint64 *count, uint64 n, pg_atomic_uint64 *last, TimestampTz asked)
{
	uint64		old = pg_atomic_read_u64(last);

	if (n == 0)
		return;
	pg_atomic_fetch_add_u64(count, n);
	while ((TimestampTz) old < asked &&
		   !pg_atomic_compare_exchange_u64(last, &old, asked))
		;
}

/*
 * Adds to the server's counts what this session has counted, and takes all
 * names off the list.  Throws nothing, allocates nothing: a transaction that has
 * just committed calls it, and one that is being rolled back.
 */
void
fflag_usage_flush(void)
{
	usage_slot *rest = NULL;
	uint64		rest_bulk = 0;
	TimestampTz rest_asked = 0;

	if (listed == NULL)
		return;
	LWLockAcquire(&segment->lock, LW_SHARED);
	for (fflag_usage_count *usage = listed; usage != NULL; usage = usage->next)
	{
		usage_slot *slot = usage->slot == 0 ? NULL : slot_at(usage->slot);

		usage->listed = false;
		if (slot == NULL || usage->generation != slot->generation)
			continue;
		add(&slot->evaluations, usage->evaluations, &slot->last, usage->asked);
		if (usage->enabled > 0)
			pg_atomic_fetch_add_u64(&slot->enabled, usage->enabled);
		if (slot->kind != USAGE_REST)
			add(&slot->bulk, usage->bulk, &slot->last_bulk, usage->asked);
		else
		{
			/* of thousands of flags: once for all, or sessions meet there */
			rest = slot;
			rest_bulk += usage->bulk;
			rest_asked = Max(rest_asked, usage->asked);
		}
	}
	if (rest != NULL)
		add(&rest->bulk, rest_bulk, &rest->last_bulk, rest_asked);
	LWLockRelease(&segment->lock);
	listed = NULL;
}

/* ----------
 * Reading
 * ----------
 */

static int
compare_rows(const void *a, const void *b)
{
	return fflag_string_compare(((const fflag_usage_row *) a)->name,
								((const fflag_usage_row *) b)->name);
}

/*
 * What the server has counted in this database; begins to count if that has
 * not happened yet.  In the current memory context.
 */
fflag_usage_rows
fflag_usage_read(void)
{
	fflag_usage_rows rows = {0};
	char	   *bytes;

	if (segment == NULL && !fflag_track_usage)
		return rows;
	if (!is_attached())
		return rows;
	rows.names = palloc0(SLOTS * sizeof(fflag_usage_row));
	bytes = palloc(SLOTS * MAX_LENGTH);

	LWLockAcquire(&segment->lock, LW_EXCLUSIVE);
	(void) find_rest(true, true);
	LWLockRelease(&segment->lock);

	LWLockAcquire(&segment->lock, LW_SHARED);
	for (int i = 1; i <= SLOTS; i++)
	{
		usage_slot *slot = slot_at(i);
		fflag_usage_row *row = &rows.names[rows.count];

		if (slot->database != MyDatabaseId)
			continue;
		if (is_rest(slot->kind))
			row = &rows.rest[slot->kind == USAGE_REST];
		row->evaluations = pg_atomic_read_u64(&slot->evaluations);
		row->enabled = pg_atomic_read_u64(&slot->enabled);
		row->last = pg_atomic_read_u64(&slot->last);
		row->bulk = pg_atomic_read_u64(&slot->bulk);
		row->last_bulk = pg_atomic_read_u64(&slot->last_bulk);
		row->slot = i;
		row->generation = slot->generation;
		if (slot->kind == USAGE_REST)
			rows.since = slot->since;
		if (!is_rest(slot->kind))
		{
			row->name = fflag_string_make(memcpy(bytes, slot->name, slot->length),
										  slot->length);
			bytes += slot->length;
			rows.count++;
		}
	}
	LWLockRelease(&segment->lock);
	qsort(rows.names, rows.count, sizeof(fflag_usage_row), compare_rows);
	return rows;
}

/* Counts a row from zero again, or takes its slot back. */
static void
restart(const fflag_usage_row *row)
{
	if (row->slot == 0 || row->generation != slot_at(row->slot)->generation)
		return;
	if (row->forget)
		free_slot(row->slot);
	else
		clear(slot_at(row->slot));
}

/*
 * Counts from zero again what has been read.  What other sessions have counted
 * in transactions that are open is added later.
 */
void
fflag_usage_restart(const fflag_usage_rows *rows)
{
	TimestampTz now = GetCurrentTimestamp();

	if (rows->since == 0)
		return;
	LWLockAcquire(&segment->lock, LW_EXCLUSIVE);
	for (int i = 0; i < rows->count; i++)
		restart(&rows->names[i]);
	restart(&rows->rest[false]);
	restart(&rows->rest[true]);
	slot_at(rows->rest[true].slot)->since = now;
	LWLockRelease(&segment->lock);
}
