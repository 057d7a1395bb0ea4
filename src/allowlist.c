/*
 * allowlist.c
 *		Membership in a flag's allowlist, small or large.
 *
 * The first question reads up to FIRST_READING entries.  A list that ends
 * there, as most do, is held in memory whole, and an empty one costs nothing
 * from then on.  A longer list is asked by index probe, one a question, and
 * only once the probes have cost more than reading it would have, is it read:
 * into memory whole while it is no longer than LONGEST_WHOLE, into a Bloom
 * filter beyond.  The filter answers for nearly all who are not listed; who
 * passes it is looked up in the index.  Membership is exact in every case.
 *
 * How long a list is, nobody knows before its end.  So reading is tried with a
 * limit that grows with the probes made: after p probes, up to
 * READ_PER_PROBE * p entries, and again when p has doubled.  An entry read is
 * some ten times cheaper than a probe, so that all attempts together, the
 * vain ones included, cost no more than the probes before them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "lib/bloomfilter.h"
#include "utils/memutils.h"

#include "allowlist.h"
#include "strtab.h"

/* FIRST_READING and READ_PER_PROBE are powers of two, and so every limit. */
#define FIRST_READING 128
#define READ_PER_PROBE 4
#define LONGEST_WHOLE 8192

/* A filter for more would not fit into one palloc(). */
#define LONGEST_FILTERED (INT64CONST(1) << 29)

typedef struct reading
{
	MemoryContext cxt;
	int64		limit;
	int64		entries;
	struct strtab_hash *members;	/* fill either this */
	bloom_filter *filter;		/* or that */
} reading;

static bool
take_user(const char *user, int len, void *arg)
{
	reading    *r = arg;

	if (++r->entries > r->limit)
		return false;
	if (r->filter != NULL)
		bloom_add_element(r->filter, (unsigned char *) user, len);
	else
	{
		fflag_string key = {MemoryContextAlloc(r->cxt, Max(len, 1)), len};
		bool		found;

		memcpy((char *) key.data, user, len);
		strtab_insert(r->members, key, &found);
	}
	return true;
}

/*
 * Reads the list, if it has at most limit entries, in place of what is held
 * of it.  An error leaves the list as it was: everything is built in a context
 * of the caller's, which moves over to cxt only when it is complete.
 */
static bool
read_list(fflag_allowlist *list, fflag_source *source, int64 limit, Snapshot snapshot,
		  MemoryContext cxt)
{
	reading		r = {.limit = limit};
	MemoryContext caller;
	bool		complete;

	r.cxt = AllocSetContextCreate(CurrentMemoryContext, "fflag allowlist",
								  ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(r.cxt);
	if (limit <= LONGEST_WHOLE)
		r.members = strtab_create(r.cxt, 8, NULL);
	else
	{
		/*
		 * The list has more than limit / 2 entries, or the last attempt would
		 * have reached its end: so that limit bytes are one to two an entry
		 * (but bloom_create() takes a megabyte at least).
		 */
		r.filter = bloom_create(limit / 2, limit / 1024, 0);
	}
	MemoryContextSwitchTo(caller);

	fflag_read_allowlist(source, list->flag_id, snapshot, take_user, &r);

	complete = r.entries <= limit;
	if (complete && r.entries > 0)
	{
		MemoryContextSetParent(r.cxt, cxt);
		list->members = r.members;
		list->filter = r.filter;
	}
	else
		MemoryContextDelete(r.cxt);
	list->whole = complete && r.filter == NULL;
	return complete;
}

/*
 * Is the user, an id in canonical text and the database's encoding, on the
 * list?  The list's content must be that of the given snapshot; what is read
 * of it stays in children of cxt, and the caller forgets both together.
 */
bool
fflag_allowlist_has(fflag_allowlist *list, fflag_source *source, const char *user, int len,
					Snapshot snapshot, MemoryContext cxt)
{
	if (!list->whole && list->filter == NULL &&
		list->probes >= list->next_reading)
	{
		int64		limit = Max(list->probes * READ_PER_PROBE, FIRST_READING);

		if (limit <= LONGEST_FILTERED &&
			!read_list(list, source, limit, snapshot, cxt))
			list->next_reading = Max(list->probes * 2,
									 FIRST_READING / READ_PER_PROBE * 2);
	}

	if (list->whole)
	{
		fflag_string key = {user, len};

		return list->members != NULL &&
			strtab_lookup(list->members, key) != NULL;
	}

	if (list->filter != NULL &&
		bloom_lacks_element(list->filter, (unsigned char *) user, len))
		return false;

	list->probes++;
	return fflag_read_listed(source, list->flag_id, user, len, snapshot);
}

/* Counting further would take longer than a better plan saves. */
#define MOST_COUNTED 10000

static bool
count_user(const char *user, int len, void *arg)
{
	return ++*(int64 *) arg < MOST_COUNTED;
}

/*
 * How many entries the list has, for an estimate: a list of MOST_COUNTED and
 * more is taken to be the whole table.  Content and snapshot as above.
 */
int64
fflag_allowlist_count(fflag_allowlist *list, fflag_source *source, Snapshot snapshot)
{
	if (list->counted < 0)
	{
		int64		n = 0;

		fflag_read_allowlist(source, list->flag_id, snapshot, count_user, &n);
		if (n >= MOST_COUNTED)
			n = Max(n, fflag_estimate_rows(source->tables[FFLAG_USERS].relid));
		list->counted = n;
	}
	return list->counted;
}
