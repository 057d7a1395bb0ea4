/*
 * read.c
 *		Reading flags, their lists, variants and relations.
 *
 * Rows are read with the server's own scan routines and under the snapshot
 * that the caller names.  No SQL is run: nothing depends on a search_path.  Ids
 * and names are compared by their canonical text.
 *
 * All of this needs an active transaction, takes AccessShareLock on the tables
 * while it reads, and throws what fflag_open_table() does or, with the flag's
 * name, for a value that no flag can have.  Results are in the current memory
 * context.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "bucket.h"
#include "check.h"
#include "compat.h"
#include "id.h"
#include "read.h"

/* A search by key, see begin_search(). */
typedef struct search
{
	fflag_source *source;
	Relation	rel;
	int			nkeys;
	fflag_column first;
	fflag_string keys[FFLAG_KEYS];
	SysScanDesc scan;			/* NULL: no row can have such a key */
} search;

/*
 * Starts a search for rows of an open table in which so many columns, from the
 * first on, have the canonical texts keys[0] and so on.
 */
static search
search_by(fflag_source *source, Relation rel, Oid index, fflag_column first,
		  int nkeys, const fflag_string *keys, Snapshot snapshot)
{
	search		s = {.source = source,.rel = rel,.nkeys = nkeys,.first = first};
	ScanKeyData scankeys[FFLAG_KEYS];

	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	attnum = source->attnums[s.first + i];
		Oid			type = source->types[s.first + i];
		Datum		key;

		if (!fflag_id_from_text(type, keys[i], &key))
			return s;
		s.keys[i] = keys[i];
		ScanKeyEntryInitializeWithInfo(&scankeys[i], 0, attnum,
									   BTEqualStrategyNumber, InvalidOid,
									   TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attcollation,
									   &lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo,
									   key);
	}
	s.scan = systable_beginscan(rel, index, OidIsValid(index), snapshot,
								nkeys, scankeys);
	return s;
}

/* Starts a search as search_by() does, by the first columns of the table's key. */
static search
begin_search(fflag_source *source, fflag_table_id which, Relation rel, int nkeys,
			 const fflag_string *keys, Snapshot snapshot)
{
	const fflag_table *table = &source->tables[which];

	return search_by(source, rel, table->indexes[nkeys - 1], table->key, nkeys,
					 keys, snapshot);
}

/* The next row found, or NULL. */
static HeapTuple
get_next(search *s)
{
	HeapTuple	tuple;

	while (s->scan != NULL &&
		   HeapTupleIsValid(tuple = systable_getnext(s->scan)))
	{
		int			i = 0;

		/* texts that are equal may differ under a nondeterministic collation */
		for (; i < s->nkeys; i++)
		{
			bool		isnull;
			Datum		value;
			text	   *t;
			bool		equal;

			if (!fflag_is_text(s->source->types[s->first + i]))
				continue;
			value = heap_getattr(tuple, s->source->attnums[s->first + i],
								 RelationGetDescr(s->rel), &isnull);
			t = DatumGetTextPP(value);
			equal = fflag_string_equal(fflag_string_of_text(t), s->keys[i]);
			/* a list may have millions of rows */
			if ((Pointer) t != DatumGetPointer(value))
				pfree(t);
			if (!equal)
				break;
		}
		if (i == s->nkeys)
			return tuple;
	}
	return NULL;
}

static void
end_search(search *s)
{
	if (s->scan != NULL)
		systable_endscan(s->scan);
}

static bool
is_null(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
		fflag_column column)
{
	return heap_attisnull(tuple, source->attnums[column], desc);
}

static Datum
get_column(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
		   fflag_column column, const char *flag)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, source->attnums[column],
									 desc, &isnull);

	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("column \"%s\" of flag \"%s\" is null",
					   NameStr(source->columns[column]), flag),
				source->attached ? errhint("Set it to a value that is not null.") :
				errhint("Set it to a value that is not null, and put the column's NOT NULL constraint back."));
	return value;
}

/* A null counts as false, as in WHERE; but our own tables have none. */
static bool
get_boolean(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
			fflag_column column, const char *flag)
{
	if (source->attached && is_null(source, desc, tuple, column))
		return false;
	return DatumGetBool(get_column(source, desc, tuple, column, flag));
}

/*
 * A flag's percentage in thousandths.  Integers have no check that keeps them
 * between 0 and 100, and count as the rules say: from 100 on as 100.  Null is 0.
 */
static int
get_rollout(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
			const char *flag)
{
	int64		percentage;
	Datum		value;

	if (source->attached && is_null(source, desc, tuple, FFLAG_COLUMN_ROLLOUT))
		return 0;
	value = get_column(source, desc, tuple, FFLAG_COLUMN_ROLLOUT, flag);

	switch (source->types[FFLAG_COLUMN_ROLLOUT])
	{
		case INT2OID:
			percentage = DatumGetInt16(value);
			break;
		case INT4OID:
			percentage = DatumGetInt32(value);
			break;
		case INT8OID:
			percentage = DatumGetInt64(value);
			break;
		default:
			return fflag_check_percentage(value, "rollout_percentage", flag);
	}
	return Max(0, Min(100, percentage)) * (FFLAG_BUCKETS / 100);
}

/* A moment; otherwise if the column is null or not there. */
static int64
get_time(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
		 fflag_column column, int64 otherwise)
{
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (source->attnums[column] != InvalidAttrNumber)
		value = heap_getattr(tuple, source->attnums[column], desc,
							 &isnull);
	return isnull ? otherwise : DatumGetTimestampTz(value);
}

/*
 * Reads schedule and ramp; false if the flag has neither.  A ramp of which a part
 * is missing, or that takes no time, is none.
 */
static bool
read_terms(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
		   const char *flag, int rollout, fflag_terms *terms)
{
	terms->starts_at = get_time(source, desc, tuple, FFLAG_COLUMN_STARTS_AT, PG_INT64_MIN);
	terms->ends_at = get_time(source, desc, tuple, FFLAG_COLUMN_ENDS_AT, PG_INT64_MAX);
	terms->ramp_starts_at = get_time(source, desc, tuple, FFLAG_COLUMN_RAMP_STARTS_AT, PG_INT64_MAX);
	terms->ramp_ends_at = get_time(source, desc, tuple, FFLAG_COLUMN_RAMP_ENDS_AT, PG_INT64_MIN);
	terms->ramp_from = rollout;
	if (source->attnums[FFLAG_COLUMN_RAMP_TO] != InvalidAttrNumber &&
		terms->ramp_starts_at < terms->ramp_ends_at &&
		!is_null(source, desc, tuple, FFLAG_COLUMN_RAMP_TO))
		terms->ramp_to =
			fflag_check_percentage(get_column(source, desc, tuple, FFLAG_COLUMN_RAMP_TO, flag), "ramp_to", flag);
	else
		terms->ramp_starts_at = PG_INT64_MAX;
	return terms->starts_at != PG_INT64_MIN || terms->ends_at != PG_INT64_MAX ||
		terms->ramp_starts_at != PG_INT64_MAX;
}

/* What a flag's buckets are computed from: its seed, or else its name. */
static fflag_string
read_seed(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
		  fflag_string name)
{
	bool		isnull = true;
	Datum		seed = (Datum) 0;

	if (source->attnums[FFLAG_COLUMN_SEED] != InvalidAttrNumber)
		seed = heap_getattr(tuple, source->attnums[FFLAG_COLUMN_SEED], desc,
							&isnull);
	return isnull ? name : fflag_string_of_text(DatumGetTextPP(seed));
}

/*
 * What a row says, of the flags' table or of one with the same columns, whose
 * numbers and types the source has.  A text id in the result points into the tuple,
 * and so may the seed.
 */
void
fflag_parse_row(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
				fflag_row *row)
{
	Datum		name_datum = get_column(source, desc, tuple, FFLAG_COLUMN_NAME, "");
	char	   *name = TextDatumGetCString(name_datum);

	row->id = fflag_id_to_text(source->types[FFLAG_COLUMN_ID],
							   get_column(source, desc, tuple, FFLAG_COLUMN_ID, name),
							   palloc(FFLAG_ID_ROOM));
	row->name = fflag_string_make(name, strlen(name));
	memset(&row->flag, 0, sizeof(row->flag));
	row->flag.known = true;
	row->flag.phase = get_boolean(source, desc, tuple, FFLAG_COLUMN_ENABLED, name) ?
		FFLAG_PHASE_ON : FFLAG_PHASE_DISABLED;
	row->flag.staff_only = get_boolean(source, desc, tuple, FFLAG_COLUMN_STAFF_ONLY, name);
	row->flag.rollout = get_rollout(source, desc, tuple, name);
	row->flag.utf8_seed = fflag_to_utf8(read_seed(source, desc, tuple, row->name));
	row->has_terms = read_terms(source, desc, tuple, name, row->flag.rollout,
								&row->terms);
	row->flag.internal = source->attnums[FFLAG_COLUMN_INTERNAL] != InvalidAttrNumber &&
		get_boolean(source, desc, tuple, FFLAG_COLUMN_INTERNAL, name);
}

/* Opens a table that there may not be, or that mostly is empty; NULL if so. */
static Relation
open_unless_empty(fflag_source *source, fflag_table_id which)
{
	Relation	rel;

	if (!OidIsValid(source->tables[which].relid))
		return NULL;
	rel = fflag_open_table(source, which);
	if (RelationGetNumberOfBlocks(rel) > 0)
		return rel;
	table_close(rel, AccessShareLock);
	return NULL;
}

/* Is anybody on the flag's denylist? */
static bool
is_anybody_denied(fflag_source *source, fflag_string flag_id, Snapshot snapshot)
{
	Relation	rel = open_unless_empty(source, FFLAG_DENIED);
	search		s;
	bool		found;

	if (rel == NULL)
		return false;
	s = begin_search(source, FFLAG_DENIED, rel, 1, &flag_id, snapshot);
	found = HeapTupleIsValid(get_next(&s));
	end_search(&s);
	table_close(rel, AccessShareLock);
	return found;
}

/* Sets what of a flag is not in its row. */
static void
load_restrictions(fflag_source *source, Snapshot snapshot, fflag_row *row)
{
	fflag_relation_rows rows = {0};

	fflag_read_relations(source, false, row->id, snapshot, fflag_collect_relation, &rows);
	fflag_set_relations(&row->flag, rows.relations, rows.count);
	if (!row->flag.restricted)
		row->flag.restricted = is_anybody_denied(source, row->id, snapshot);
}

/* Reads the flag that a search finds, and ends it. */
static bool
read_found(search *s, Snapshot snapshot, fflag_row *row)
{
	HeapTuple	tuple = get_next(s);
	bool		found = HeapTupleIsValid(tuple);

	/* copied, because a text id and the seed in row point into the tuple */
	if (found)
		fflag_parse_row(s->source, RelationGetDescr(s->rel), heap_copytuple(tuple), row);
	end_search(s);
	table_close(s->rel, AccessShareLock);
	if (found)
		load_restrictions(s->source, snapshot, row);
	return found;
}

/* Reads the flag of a name into *row; false if there is none. */
bool
fflag_read_flag(fflag_source *source, fflag_string name, Snapshot snapshot,
				fflag_row *row)
{
	Relation	rel = fflag_open_table(source, FFLAG_FLAGS);
	search		s = begin_search(source, FFLAG_FLAGS, rel, 1, &name, snapshot);

	return read_found(&s, snapshot, row);
}

/* Reads the flag of an id into *row; false if there is none. */
bool
fflag_read_flag_by_id(fflag_source *source, fflag_string id, Snapshot snapshot,
					  fflag_row *row)
{
	Relation	rel = fflag_open_table(source, FFLAG_FLAGS);
	search		s = search_by(source, rel, source->tables[FFLAG_FLAGS].other_index,
							  FFLAG_COLUMN_ID, 1, &id, snapshot);

	return read_found(&s, snapshot, row);
}

/* Reads all flags, in no particular order. */
void
fflag_read_flags(fflag_source *source, Snapshot snapshot,
				 fflag_row_sink sink, void *arg)
{
	Relation	rel = fflag_open_table(source, FFLAG_FLAGS);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		fflag_row	row;

		CHECK_FOR_INTERRUPTS();
		/* a row without a name is no flag */
		if (source->attached && is_null(source, RelationGetDescr(rel), tuple, FFLAG_COLUMN_NAME))
			continue;
		fflag_parse_row(source, RelationGetDescr(rel), tuple, &row);
		load_restrictions(source, snapshot, &row);
		if (!sink(&row, arg))
			break;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Is the user on a list of the flag, of the table FFLAG_USERS or FFLAG_DENIED?
 * Both ids are canonical texts.
 */
bool
fflag_read_listed(fflag_source *source, fflag_table_id which,
				  fflag_string flag_id, fflag_string user, Snapshot snapshot)
{
	Relation	rel = fflag_open_table(source, which);
	fflag_string keys[] = {flag_id, user};
	search		s = begin_search(source, which, rel, 2, keys, snapshot);
	bool		listed = HeapTupleIsValid(get_next(&s));

	end_search(&s);
	table_close(rel, AccessShareLock);
	return listed;
}

/*
 * Reads such a list until its end or until sink has had enough.  The user that
 * sink gets is valid during that call only.
 */
void
fflag_read_list(fflag_source *source, fflag_table_id which, fflag_string flag_id,
				Snapshot snapshot, fflag_user_sink sink, void *arg)
{
	Relation	rel = fflag_open_table(source, which);
	search		s = begin_search(source, which, rel, 1, &flag_id, snapshot);
	fflag_column user_id = s.first + 1; /* the key is (flag_id, user_id) */
	MemoryContext per_user = AllocSetContextCreate(CurrentMemoryContext,
												   "fflag user",
												   ALLOCSET_SMALL_SIZES);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = get_next(&s)))
	{
		MemoryContext caller;
		bool		isnull;
		Datum		datum = heap_getattr(tuple, source->attnums[user_id],
										 RelationGetDescr(rel), &isnull);
		char		room[FFLAG_ID_ROOM];
		fflag_string user;
		bool		more;

		CHECK_FOR_INTERRUPTS();
		if (isnull)				/* a NULL user is never listed */
			continue;
		caller = MemoryContextSwitchTo(per_user);
		user = fflag_id_to_text(source->types[user_id], datum, room);
		MemoryContextSwitchTo(caller);
		more = sink(user, arg);
		MemoryContextReset(per_user);
		if (!more)
			break;
	}
	end_search(&s);
	MemoryContextDelete(per_user);
	table_close(rel, AccessShareLock);
}

/*
 * What a row says, of the variants' table or of one with the same columns.  A
 * null payload is not looked at.
 */
void
fflag_parse_variant(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
					fflag_string flag_id, fflag_variant_row *row)
{
	char	   *flag = pnstrdup(flag_id.data, flag_id.len);
	char	   *name = TextDatumGetCString(get_column(source, desc, tuple,
													  FFLAG_COLUMN_VARIANT_NAME, flag));

	row->name = fflag_string_make(name, strlen(name));
	row->weight = fflag_check_weight(get_column(source, desc, tuple,
												FFLAG_COLUMN_VARIANT_WEIGHT, flag),
									 name, NULL, flag);
}

/* Reads a flag's variants, in no particular order. */
void
fflag_read_variants(fflag_source *source, fflag_string flag_id,
					Snapshot snapshot, fflag_variant_sink sink, void *arg)
{
	Relation	rel = open_unless_empty(source, FFLAG_VARIANTS);
	search		s;
	HeapTuple	tuple;

	if (rel == NULL)
		return;
	s = begin_search(source, FFLAG_VARIANTS, rel, 1, &flag_id, snapshot);
	while (HeapTupleIsValid(tuple = get_next(&s)))
	{
		fflag_variant_row row;

		CHECK_FOR_INTERRUPTS();
		fflag_parse_variant(source, RelationGetDescr(rel), tuple, flag_id, &row);
		if (!sink(&row, arg))
			break;
	}
	end_search(&s);
	table_close(rel, AccessShareLock);
}

static fflag_string
get_optional_text(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
				  fflag_column column)
{
	char	   *value;

	if (is_null(source, desc, tuple, column))
		return fflag_string_make("", 0);
	value = TextDatumGetCString(get_column(source, desc, tuple, column, ""));
	return fflag_string_make(value, strlen(value));
}

/* What a row says, of the relations' table or of one with the same columns. */
void
fflag_parse_relation(const fflag_source *source, TupleDesc desc, HeapTuple tuple,
					 fflag_relation_row *row)
{
	static const fflag_column ids[] = {
		FFLAG_COLUMN_RELATION_ID, FFLAG_COLUMN_RELATION_FLAG_ID, FFLAG_COLUMN_RELATION_OTHER_ID
	};
	fflag_string *places[] = {&row->id, &row->flag_id, &row->relation.other_id};
	char	   *kind;

	for (int i = 0; i < lengthof(ids); i++)
		*places[i] = fflag_id_to_text(source->types[ids[i]],
									  get_column(source, desc, tuple, ids[i], ""),
									  palloc(FFLAG_ID_ROOM));
	row->relation.other_variant =
		get_optional_text(source, desc, tuple, FFLAG_COLUMN_RELATION_OTHER_VARIANT);
	row->relation.pin = get_optional_text(source, desc, tuple, FFLAG_COLUMN_RELATION_PIN);
	kind = TextDatumGetCString(get_column(source, desc, tuple, FFLAG_COLUMN_RELATION_KIND, ""));
	for (int i = 0; i < FFLAG_RELATION_KINDS; i++)
	{
		row->relation.kind = i;
		if (strcmp(kind, fflag_kind_name(i)) == 0)
			return;
	}
	ereport(ERROR,
			errcode(ERRCODE_CHECK_VIOLATION),
			errmsg("invalid kind \"%s\" of a relation of the flag with id %s", kind,
				   pnstrdup(row->flag_id.data, row->flag_id.len)),
			errhint("Set it to requires, excludes or includes, and put the column's constraint back."));
}

/* Reads relations of a flag, or those of others to it, in no particular order. */
void
fflag_read_relations(fflag_source *source, bool by_other, fflag_string id,
					 Snapshot snapshot, fflag_relation_sink sink, void *arg)
{
	Relation	rel = open_unless_empty(source, FFLAG_RELATIONS);
	const fflag_table *table = &source->tables[FFLAG_RELATIONS];
	search		s;
	HeapTuple	tuple;

	if (rel == NULL)
		return;
	s = search_by(source, rel, by_other ? table->other_index : table->indexes[0],
				  by_other ? table->other_key : table->key, 1, &id, snapshot);
	while (HeapTupleIsValid(tuple = get_next(&s)))
	{
		fflag_relation_row row;

		CHECK_FOR_INTERRUPTS();
		fflag_parse_relation(source, RelationGetDescr(rel), tuple, &row);
		if (!sink(&row, arg))
			break;
	}
	end_search(&s);
	table_close(rel, AccessShareLock);
}

/* A fflag_relation_sink: adds the relation to an fflag_relation_rows, at first all zero. */
bool
fflag_collect_relation(const fflag_relation_row *row, void *arg)
{
	fflag_relation_rows *rows = arg;

	if (rows->count == rows->allocated)
	{
		rows->allocated = Max(4, rows->allocated * 2);
		rows->relations = rows->relations == NULL ?
			palloc_array(fflag_relation, rows->allocated) :
			repalloc_array(rows->relations, fflag_relation, rows->allocated);
	}
	rows->relations[rows->count++] = row->relation;
	return true;
}

/* The payload of a flag's variant, a jsonb; null if there is none. */
Datum
fflag_read_payload(fflag_source *source, fflag_string flag_id, fflag_string name,
				   Snapshot snapshot, bool *isnull)
{
	fflag_string keys[] = {flag_id, name};
	Datum		payload = (Datum) 0;
	Relation	rel = open_unless_empty(source, FFLAG_VARIANTS);
	search		s;
	HeapTuple	tuple;

	*isnull = true;
	if (rel == NULL)
		return payload;
	s = begin_search(source, FFLAG_VARIANTS, rel, 2, keys, snapshot);
	if (HeapTupleIsValid(tuple = get_next(&s)))
		payload = heap_getattr(tuple, source->attnums[FFLAG_COLUMN_VARIANT_PAYLOAD],
							   RelationGetDescr(rel), isnull);
	if (!*isnull)
		payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(payload));
	end_search(&s);
	table_close(rel, AccessShareLock);
	return payload;
}
