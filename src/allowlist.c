/*
 * allowlist.c
 *		Membership in a flag's allowlist or denylist, small or large.
 *
 * At first, up to FIRST_READING entries are read.  Most lists end there and are
 * held in memory whole; of an empty one, nothing is held here.  For a longer list,
 * each question is an index probe.  The list is read once the probes have cost more
 * than reading it would have.
 *
 * The form in memory depends on the entries.  If all are integers, as most ids
 * are, integer_list.c holds them, unless they are too far apart.  Any other
 * list is held whole up to LONGEST_WHOLE entries.  A longer one becomes a
 * Bloom filter, which excludes nearly all users who are not listed; a user who
 * passes it is looked up in the index.  Membership is exact in every case.
 *
 * Why not the server's lib/bloomfilter.h: it looks at up to ten places all over
 * its memory, and where that is larger than a core's cache each evaluation
 * waits for one or two of them.  Here a user's bits share a cache line, which
 * is on its way while MD5 is computed.
 *
 * The length of a list is unknown until its end has been read.  So reading is
 * tried with a limit that grows with the probes made: after p probes, up to
 * READ_PER_PROBE * p entries, and again when p has doubled.  Reading an entry
 * is eight times (uuids, in no order) to twenty times (integers) cheaper than a
 * probe.  So all attempts together, the
 * failed ones included, cost no more than the probes before them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "allowlist.h"
#include "id.h"
#include "read.h"
#include "snapshot.h"
#include "strtab.h"

/* FIRST_READING and READ_PER_PROBE are powers of two, and so every limit. */
#define FIRST_READING 128
#define READ_PER_PROBE 4
#define LONGEST_WHOLE 8192

/*
 * Bytes of filter for each entry that a list may have; that is two to four
 * bytes for each entry that it has.  Entries are spread over the lines at
 * random (the Poisson distribution).  With two bytes, about one in 370 users
 * who are not listed passes the filter; with four, one in 3,900.  Less memory
 * costs more probes.
 */
#define BYTES_FILTERED 2

/* A filter for more would not fit into one palloc(). */
#define LONGEST_FILTERED (INT64CONST(1) << 28)

/*
 * Integers are collected, in 8 bytes each, before they are put in order.  That
 * may take up to 512 MB, for a moment.
 */
#define MOST_INTEGERS (INT64CONST(1) << 26)

typedef struct reading
{
	MemoryContext cxt;			/* of what is kept */
	int64		limit;
	int64		entries;
	int64	   *integers;		/* fill this, in the caller's context */
	struct strtab_hash *members;	/* or else this */
	fflag_filter_line *filter;	/* or that */
	uint64		filter_mask;
} reading;

/* Four bits of a line, of nine bits of the hash each. */
#define FILTER_BITS 4

static void
add_to_filter(fflag_filter_line *line, uint64 hash)
{
	for (int i = 0; i < FILTER_BITS; i++, hash >>= 9)
		line->words[hash & 7] |= UINT64CONST(1) << (hash >> 3 & 63);
}

static inline bool
passes_filter(const fflag_filter_line *line, uint64 hash)
{
	uint64		all = 1;

	for (int i = 0; i < FILTER_BITS; i++, hash >>= 9)
		all &= line->words[hash & 7] >> (hash >> 3 & 63);
	return all;
}

static void
add_text(reading *r, fflag_string user)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) user.data,
										   user.len, 0);

	if (r->filter != NULL)
		add_to_filter(fflag_filter_line_of(r->filter, r->filter_mask, hash), hash);
	else
	{
		char	   *copy = MemoryContextAlloc(r->cxt, Max(user.len, 1));
		bool		found;

		memcpy(copy, user.data, user.len);
		strtab_insert_hash(r->members, fflag_string_make(copy, user.len),
						   (uint32) hash, &found);
	}
}

/* Makes texts of the integers that have been collected, and goes on with texts. */
static void
change_to_texts(reading *r, int64 collected)
{
	int64	   *integers = r->integers;
	MemoryContext caller = MemoryContextSwitchTo(r->cxt);

	r->integers = NULL;
	if (r->limit <= LONGEST_WHOLE)
		r->members = strtab_create(r->cxt, 8, NULL);
	else
	{
		/*
		 * The list has more than limit / 2 entries, or it would have been
		 * read by now.
		 */
		Size		lines = r->limit * BYTES_FILTERED / sizeof(fflag_filter_line);

		/* begins where a cache line does */
		r->filter = (fflag_filter_line *)
			TYPEALIGN(sizeof(fflag_filter_line),
					  palloc0((lines + 1) * sizeof(fflag_filter_line)));
		r->filter_mask = lines - 1;
	}
	MemoryContextSwitchTo(caller);

	for (int64 i = 0; i < collected; i++)
	{
		char		room[FFLAG_ID_ROOM];

		CHECK_FOR_INTERRUPTS();
		add_text(r, fflag_id_to_text(INT8OID, Int64GetDatum(integers[i]), room));
	}
	if (integers != NULL)
		pfree(integers);
}

static bool
take_user(fflag_string user, void *arg)
{
	reading    *r = arg;

	if (r->entries == r->limit)
	{
		r->entries++;			/* there are more */
		return false;
	}
	if (r->integers != NULL &&
		!fflag_integer_from_text(user, &r->integers[r->entries]))
		change_to_texts(r, r->entries);
	if (r->integers == NULL)
		add_text(r, user);
	r->entries++;
	return true;
}

static void *
allocate_huge(size_t size, void *cxt)
{
	return MemoryContextAllocHuge(cxt, size);
}

static void
check_for_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

/*
 * Reads the list, if it has at most limit entries, in place of what is held
 * of it.  An error leaves the list as it was: everything is built in a context
 * of the caller's, which moves over to the list's only when it is complete.
 */
static bool
read_list(fflag_allowlist *list, int64 limit)
{
	reading		r = {.limit = limit};
	fflag_integer_list *integers = NULL;
	bool		complete;

	r.cxt = AllocSetContextCreate(CurrentMemoryContext, "fflag allowlist",
								  ALLOCSET_SMALL_SIZES);
	/* where there is not so much memory, there may be enough for the filter */
	if (limit <= MOST_INTEGERS)
		r.integers = palloc_extended(limit * sizeof(int64),
									 MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (r.integers == NULL)
		change_to_texts(&r, 0);

	fflag_read_list(list->source, list->table, list->flag_id,
					fflag_active_snapshot(), take_user, &r);

	complete = r.entries <= limit;
	if (complete && r.entries > 0 && r.integers != NULL)
	{
		fflag_list_maker maker = {allocate_huge, r.cxt, check_for_interrupts};

		integers = fflag_integer_list_make(r.integers, r.entries, &maker);
		if (integers == NULL)
			change_to_texts(&r, r.entries);
	}
	if (r.integers != NULL)
		pfree(r.integers);

	if (complete && r.entries > 0)
	{
		MemoryContextSetParent(r.cxt, list->cxt);
		list->integers = integers;
		list->members = r.members;
		list->filter = r.filter;
		list->filter_mask = r.filter_mask;
	}
	else
		MemoryContextDelete(r.cxt);
	list->whole = complete && r.filter == NULL;
	if (complete)
		list->counted = r.entries;
	return complete;
}

/* Reads the list, or finds out that this is too early. */
static void
try_to_read(fflag_allowlist *list)
{
	int64		limit = Max(list->probes * READ_PER_PROBE, FIRST_READING);

	if (limit <= LONGEST_FILTERED && !read_list(list, limit))
		list->next_reading = Max(list->probes * 2,
								 FIRST_READING / READ_PER_PROBE * 2);
}

/*
 * Reads a list that nobody has looked at; of a long one, the beginning.  If counted is
 * 0 then, it is empty, and list->cxt holds nothing of it.  Content as below.
 */
void
fflag_allowlist_begin(fflag_allowlist *list)
{
	try_to_read(list);
}

/*
 * Is the user on the list?  user is an id in canonical text, and hash is what
 * fflag_allowlist_hash() returned for it.  The list's content must be that of
 * the active snapshot.  What is read of the list stays in children of
 * list->cxt; the caller forgets the list and these contexts together.  May
 * read the table, as fflag_read_listed() does.
 */
bool
fflag_allowlist_has(fflag_allowlist *list, fflag_string user, uint64 hash)
{
	int64		integer;

	if (!list->whole && list->filter == NULL &&
		list->probes >= list->next_reading)
		try_to_read(list);

	if (list->integers != NULL)
		return fflag_integer_from_text(user, &integer) &&
			fflag_integer_list_has(list->integers, integer);

	if (list->whole)
		return list->members != NULL &&
			strtab_lookup_hash(list->members, user, (uint32) hash) != NULL;

	if (list->filter != NULL &&
		!passes_filter(fflag_filter_line_of(list->filter, list->filter_mask, hash),
					   hash))
		return false;

	list->probes++;
	return fflag_read_listed(list->source, list->table, list->flag_id, user,
							 fflag_active_snapshot());
}

/* Counting further would take longer than a better plan saves. */
#define MOST_COUNTED 10000

static bool
count_user(fflag_string user, void *arg)
{
	int64	   *count = arg;

	return ++(*count) < MOST_COUNTED;
}

/*
 * How many entries the list has, for an estimate.  The number is known for a
 * list that has been read.  Any other list is counted; if it has MOST_COUNTED
 * entries or more, it is taken to be the whole table.  Content and locks as
 * above.
 */
int64
fflag_allowlist_count(fflag_allowlist *list)
{
	if (list->counted < 0)
	{
		int64		n = 0;

		fflag_read_list(list->source, list->table, list->flag_id,
						fflag_active_snapshot(), count_user, &n);
		if (n >= MOST_COUNTED)
			n = Max(n, fflag_estimate_rows(list->source->tables[list->table].relid));
		list->counted = n;
	}
	return list->counted;
}
