/*
 * read.c
 *		Reading flags and allowlists, and what may be in them.
 *
 * Rows are read with the server's own scan routines and under the snapshot
 * that the caller names.  No SQL is run: nothing depends on a search_path.  Ids
 * and names are compared by their canonical text.
 *
 * All of this needs an active transaction and takes AccessShareLock on the
 * tables while it reads.  Results are in the current memory context.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "bucket.h"
#include "compat.h"
#include "read.h"

/*
 * The id of this canonical text as a value of a column's type; false if none of
 * the type's values has this text.
 */
static bool
key_from_text(Oid type, const char *text, int len, Datum *key)
{
	char		room[FFLAG_ID_ROOM + 1];
	char		again[FFLAG_ID_ROOM];

	if (fflag_is_text(type))
	{
		*key = PointerGetDatum(cstring_to_text_with_len(text, len));
		return true;
	}

	if (len > FFLAG_ID_ROOM)
		return false;
	memcpy(room, text, len);
	room[len] = '\0';
	if (type == UUIDOID)
	{
		/* what uuid_in() would complain of is no uuid */
		for (int i = 0; i < FFLAG_ID_ROOM; i++)
		{
			if (i == 8 || i == 13 || i == 18 || i == 23 ?
				room[i] != '-' : !isxdigit((unsigned char) room[i]))
				return false;
		}
		*key = DirectFunctionCall1(uuid_in, CStringGetDatum(room));
	}
	else
	{
		char	   *end;
		long long	n;

		errno = 0;
		n = strtoll(room, &end, 10);
		if (errno != 0 || *end != '\0' ||
			(type == INT4OID && n != (int32) n) ||
			(type == INT2OID && n != (int16) n))
			return false;
		*key = type == INT8OID ? Int64GetDatum(n) :
			type == INT4OID ? Int32GetDatum((int32) n) : Int16GetDatum((int16) n);
	}

	/* 042 is not what a cast gives for any of them */
	return fflag_string_equal(fflag_id_to_text(type, *key, again),
							  (fflag_string) {text, len});
}

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
 * Starts a search for rows of an open table in which the first columns of the
 * key have the canonical texts keys[0] and so on.
 */
static search
begin_search(fflag_source *source, fflag_table_id which, Relation rel, int nkeys,
			 const fflag_string *keys, Snapshot snapshot)
{
	search		s = {
		.source = source,.rel = rel,.nkeys = nkeys,.first = source->tables[which].key
	};
	Oid			index = source->tables[which].indexes[nkeys - 1];
	ScanKeyData scankeys[FFLAG_KEYS];

	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	attnum = source->attnums[s.first + i];
		Oid			type = source->types[s.first + i];
		Datum		key;

		if (!key_from_text(type, keys[i].data, keys[i].len, &key))
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
			equal = fflag_string_equal(fflag_id_to_text(TEXTOID, PointerGetDatum(t), NULL),
									   s->keys[i]);
			/* an allowlist may have millions of rows */
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

/*
 * Text in UTF-8, which is what gets hashed; *len is updated.  In a database
 * that knows of no encoding, the bytes as they are.
 */
const char *
fflag_to_utf8(const char *text, size_t *len)
{
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return text;
	utf8 = pg_server_to_any(text, (int) *len, PG_UTF8);
	if (utf8 != text)
		*len = strlen(utf8);
	return utf8;
}

static Datum
get_column(const fflag_source *source, Relation rel, HeapTuple tuple,
		   fflag_column column, const char *flag)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, source->attnums[column],
									 RelationGetDescr(rel), &isnull);

	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("column \"%s\" of flag \"%s\" is null",
					   NameStr(source->columns[column]), flag),
				errhint("Set it, and put the column's NOT NULL constraint back."));
	return value;
}

/*
 * A percentage in thousandths, exactly: what cannot be represented is refused,
 * whether somebody is about to write it or it has slipped into the table.
 */
int
fflag_check_percentage(Datum percentage, const char *flag)
{
	Numeric		value = DatumGetNumeric(percentage);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	Datum		full = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS));
	Datum		scale = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS / 100));
	Datum		scaled;

	/* NaN sorts above all numbers */
	scaled = numeric_is_inf(value) ? percentage :
		DirectFunctionCall2(numeric_mul, percentage, scale);
	if (!DatumGetBool(DirectFunctionCall2(numeric_ge, scaled, zero)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_le, scaled, full)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_eq, scaled,
										  DirectFunctionCall2(numeric_trunc, scaled,
															  Int32GetDatum(0)))))
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("invalid rollout_percentage %s for flag \"%s\"",
					   DatumGetCString(DirectFunctionCall1(numeric_out, percentage)),
					   flag),
				errhint("A rollout_percentage is a number from 0 to 100 with at most three decimals."));
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, scaled));
}

/* Refuses what cannot be a flag's name; NULL too. */
void
fflag_check_name(const char *name)
{
	size_t		len;

	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("flag name must not be null"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (name[0] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag name \"\" is empty"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (pg_mbstrlen(name) > FFLAG_NAME_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("flag name \"%s\" is too long", name),
				errdetail("It has %d characters.", pg_mbstrlen(name)),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));

	/* a name that cannot be hashed must not get into the table */
	len = strlen(name);
	(void) fflag_to_utf8(name, &len);
}

/*
 * A flag's percentage in thousandths.  Integers have no check that keeps them
 * between 0 and 100, and count as the rules say: from 100 on as 100.
 */
static int
read_rollout(const fflag_source *source, Datum value, const char *flag)
{
	int64		percentage;

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
			return fflag_check_percentage(value, flag);
	}
	return Max(0, Min(100, percentage)) * (FFLAG_BUCKETS / 100);
}

static void
read_row(const fflag_source *source, Relation rel, HeapTuple tuple,
		 fflag_row *row)
{
	Datum		name_datum = get_column(source, rel, tuple, FFLAG_COLUMN_NAME, "");
	char	   *name = TextDatumGetCString(name_datum);
	size_t		utf8_len = strlen(name);

	row->id = fflag_id_to_text(source->types[FFLAG_COLUMN_ID],
							   get_column(source, rel, tuple, FFLAG_COLUMN_ID, name),
							   palloc(FFLAG_ID_ROOM));
	row->name = (fflag_string) {name, utf8_len};
	row->flag.known = true;
	row->flag.enabled =
		DatumGetBool(get_column(source, rel, tuple, FFLAG_COLUMN_ENABLED, name));
	row->flag.staff_only =
		DatumGetBool(get_column(source, rel, tuple, FFLAG_COLUMN_STAFF_ONLY, name));
	row->flag.rollout =
		read_rollout(source,
					 get_column(source, rel, tuple, FFLAG_COLUMN_ROLLOUT, name), name);
	row->flag.utf8_name = fflag_to_utf8(name, &utf8_len);
	row->flag.utf8_name_len = utf8_len;
}

/* Reads the flag of a name; false if there is none. */
bool
fflag_read_flag(fflag_source *source, fflag_string name, Snapshot snapshot,
				fflag_row *row)
{
	Relation	rel = fflag_open_table(source, FFLAG_FLAGS);
	search		s = begin_search(source, FFLAG_FLAGS, rel, 1, &name, snapshot);
	HeapTuple	tuple = get_next(&s);

	/* of a text id the row has but a pointer into the tuple */
	if (HeapTupleIsValid(tuple))
		read_row(source, rel, heap_copytuple(tuple), row);
	end_search(&s);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
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
		read_row(source, rel, tuple, &row);
		if (!sink(&row, arg))
			break;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Is the user on the flag's allowlist? */
bool
fflag_read_listed(fflag_source *source, fflag_string flag_id,
				  const char *user, int len, Snapshot snapshot)
{
	Relation	rel = fflag_open_table(source, FFLAG_USERS);
	fflag_string keys[] = {flag_id, {user, len}};
	search		s = begin_search(source, FFLAG_USERS, rel, 2, keys, snapshot);
	bool		listed = HeapTupleIsValid(get_next(&s));

	end_search(&s);
	table_close(rel, AccessShareLock);
	return listed;
}

/* Reads a flag's allowlist until its end or until sink has had enough. */
void
fflag_read_allowlist(fflag_source *source, fflag_string flag_id,
					 Snapshot snapshot, fflag_user_sink sink, void *arg)
{
	Relation	rel = fflag_open_table(source, FFLAG_USERS);
	search		s = begin_search(source, FFLAG_USERS, rel, 1, &flag_id, snapshot);
	MemoryContext per_user = AllocSetContextCreate(CurrentMemoryContext,
												   "fflag user",
												   ALLOCSET_SMALL_SIZES);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = get_next(&s)))
	{
		MemoryContext caller;
		bool		isnull;
		Datum		datum = heap_getattr(tuple, source->attnums[FFLAG_COLUMN_USER_ID],
										 RelationGetDescr(rel), &isnull);
		char		room[FFLAG_ID_ROOM];
		fflag_string user;
		bool		more;

		CHECK_FOR_INTERRUPTS();
		if (isnull)				/* nobody is never listed */
			continue;
		caller = MemoryContextSwitchTo(per_user);
		user = fflag_id_to_text(source->types[FFLAG_COLUMN_USER_ID], datum, room);
		MemoryContextSwitchTo(caller);
		more = sink(user.data, user.len, arg);
		MemoryContextReset(per_user);
		if (!more)
			break;
	}
	end_search(&s);
	MemoryContextDelete(per_user);
	table_close(rel, AccessShareLock);
}
