/*
 * id.h
 *		Ids as text.
 *
 * Users and flags have ids of several types.  What is hashed and compared is
 * the canonical text of an id, what a cast to text gives, so that 42 is the
 * same user whatever the type.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ID_H
#define FFLAG_ID_H

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "compat.h"
#include "fflag_string.h"

/* enough for a uuid, and for any integer with the terminator of pg_lltoa() */
#define FFLAG_ID_ROOM (2 * UUID_LEN + 4)

/* A text's bytes, without its header. */
static inline fflag_string
fflag_string_of_text(const text *t)
{
	return fflag_string_make(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* A string as a text, in the current memory context. */
static inline Datum
fflag_string_to_text(fflag_string s)
{
	return PointerGetDatum(cstring_to_text_with_len(s.data, s.len));
}

/* Is this one of the types below, and stored as text? */
static inline bool
fflag_is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/* Is it one of the types below? */
static inline bool
fflag_is_id(Oid type)
{
	return type == INT8OID || type == INT4OID || type == INT2OID ||
		type == UUIDOID || fflag_is_text(type);
}

/*
 * The canonical text of an id of type smallint, integer, bigint, uuid, text or
 * varchar: in room, which has FFLAG_ID_ROOM bytes, or that of the datum, which
 * is detoasted into the current context if need be.
 */
static inline fflag_string
fflag_id_to_text(Oid type, Datum id, char *room)
{
	if (type == INT8OID)
		return fflag_string_make(room, pg_lltoa(DatumGetInt64(id), room));
	else if (type == INT4OID)
		return fflag_string_make(room, pg_ltoa(DatumGetInt32(id), room));
	else if (type == INT2OID)
		return fflag_string_make(room, pg_ltoa(DatumGetInt16(id), room));
	else if (type == UUIDOID)
	{
		static const char hex[] = "0123456789abcdef";
		const unsigned char *byte = DatumGetUUIDP(id)->data;
		char	   *p = room;

		for (int i = 0; i < UUID_LEN; i++)
		{
			if (i == 4 || i == 6 || i == 8 || i == 10)
				*p++ = '-';
			*p++ = hex[byte[i] >> 4];
			*p++ = hex[byte[i] & 0xf];
		}
		return fflag_string_make(room, p - room);
	}
	else
		return fflag_string_of_text(DatumGetTextPP(id));
}

extern bool fflag_id_from_text(Oid type, fflag_string text, Datum *id);
extern fflag_string fflag_to_utf8(fflag_string s);

/* ---- overloads of an SQL function, one for each type of user id ---- */

typedef enum user_type
{
	USER_BIGINT,
	USER_UUID,
	USER_TEXT
} user_type;

/*
 * Defines what SQL calls, three functions that differ by the type of user_id
 * only, from implementation(fcinfo, type).  They are named in full, so that a
 * search for the name in the SQL script ends here.
 */
#define OVERLOADS(implementation, of_bigint, of_uuid, of_text) \
	PG_FUNCTION_INFO_V1(of_bigint); \
	PG_FUNCTION_INFO_V1(of_uuid); \
	PG_FUNCTION_INFO_V1(of_text); \
	Datum of_bigint(PG_FUNCTION_ARGS) \
	{ return implementation(fcinfo, USER_BIGINT); } \
	Datum of_uuid(PG_FUNCTION_ARGS) \
	{ return implementation(fcinfo, USER_UUID); } \
	Datum of_text(PG_FUNCTION_ARGS) \
	{ return implementation(fcinfo, USER_TEXT); } \
	extern Datum of_text(PG_FUNCTION_ARGS)	/* takes the semicolon */

/* A user id's canonical text, as fflag_id_to_text(). */
static inline fflag_string
user_to_text(Datum id, user_type type, char *room)
{
	static const Oid oids[] = {
		[USER_BIGINT] = INT8OID,
		[USER_UUID] = UUIDOID,
		[USER_TEXT] = TEXTOID
	};

	return fflag_id_to_text(oids[type], id, room);
}

#endif							/* FFLAG_ID_H */
