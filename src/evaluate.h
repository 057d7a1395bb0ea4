/*
 * evaluate.h
 *		What the SQL functions that evaluate flags have in common.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_EVALUATE_H
#define FFLAG_EVALUATE_H

#include "fmgr.h"

#include "id.h"

/* The overloads differ by the type of user_id only. */
typedef enum user_type
{
	USER_BIGINT,
	USER_UUID,
	USER_TEXT
} user_type;

#define OVERLOADS(function) \
	PG_FUNCTION_INFO_V1(function##_bigint); \
	PG_FUNCTION_INFO_V1(function##_uuid); \
	PG_FUNCTION_INFO_V1(function##_text); \
	Datum function##_bigint(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_BIGINT); } \
	Datum function##_uuid(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_UUID); } \
	Datum function##_text(PG_FUNCTION_ARGS) \
	{ return function(fcinfo, USER_TEXT); } \
	extern Datum function##_text(PG_FUNCTION_ARGS)	/* takes the semicolon */

/* A user id's canonical text, and room for that of a bigint or uuid. */
typedef struct user_text
{
	const char *data;
	size_t		len;
	char		room[FFLAG_ID_ROOM];
} user_text;

/* Fills in what gets hashed and what is looked up in allowlists. */
static inline void
format_user(Datum id, user_type type, user_text *user)
{
	static const Oid oids[] = {INT8OID, UUIDOID, TEXTOID};
	fflag_string text = fflag_id_to_text(oids[type], id, user->room);

	user->data = text.data;
	user->len = text.len;
}

#endif							/* FFLAG_EVALUATE_H */
