/*
 * overloads.h
 *		The overloads of an SQL function, one for each type of user id.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_OVERLOADS_H
#define FFLAG_OVERLOADS_H

#include "fmgr.h"

#include "id.h"

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

#endif							/* FFLAG_OVERLOADS_H */
