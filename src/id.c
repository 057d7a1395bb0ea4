/*
 * id.c
 *		Ids as text: the conversions that are not in the hot path.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "id.h"
#include "integer_list.h"

/*
 * The id of this canonical text as a value of a type that fflag_id_to_text()
 * knows; false if none of the type's values has this text.  The value is in the
 * current memory context.
 */
bool
fflag_id_from_text(Oid type, fflag_string text, Datum *id)
{
	int64		n;

	if (fflag_is_text(type))
	{
		*id = fflag_string_to_text(text);
		return true;
	}

	if (type == UUIDOID)
	{
		char		room[FFLAG_ID_ROOM + 1];
		char		again[FFLAG_ID_ROOM];

		if (text.len > FFLAG_ID_ROOM)
			return false;
		memcpy(room, text.data, text.len);
		room[text.len] = '\0';
		/* what uuid_in() would complain of is no uuid */
		for (int i = 0; i < FFLAG_ID_ROOM; i++)
		{
			if (i == 8 || i == 13 || i == 18 || i == 23 ?
				room[i] != '-' : !isxdigit((unsigned char) room[i]))
				return false;
		}
		*id = DirectFunctionCall1(uuid_in, CStringGetDatum(room));

		/* in capitals it is not what a cast gives */
		return fflag_string_equal(fflag_id_to_text(type, *id, again), text);
	}

	if (!fflag_integer_from_text(text, &n) ||
		(type == INT4OID && n != (int32) n) ||
		(type == INT2OID && n != (int16) n))
		return false;
	*id = type == INT8OID ? Int64GetDatum(n) :
		type == INT4OID ? Int32GetDatum((int32) n) : Int16GetDatum((int16) n);
	return true;
}

/*
 * The string in UTF-8, which is what gets hashed; in a database that knows of no
 * encoding, its bytes as they are.  The result is the argument or in the current
 * memory context.  Throws where a character does not exist in UTF-8.  There is no
 * conversion from MULE_INTERNAL, which 19 does not have any more, so it goes by name.
 */
fflag_string
fflag_to_utf8(fflag_string s)
{
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return s;
	if (strcmp(GetDatabaseEncodingName(), "MULE_INTERNAL") == 0)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("extension \"fflag\" does not serve databases whose encoding is MULE_INTERNAL"),
				errdetail("Names and user ids are hashed in UTF-8, to which there is no conversion."),
				errhint("Use a database with encoding UTF8."));
	utf8 = pg_server_to_any(s.data, (int) s.len, PG_UTF8);
	return utf8 == s.data ? s : fflag_string_make(utf8, strlen(utf8));
}
