/*
 * document.h
 *		Flags as a JSON document.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_DOCUMENT_H
#define FFLAG_DOCUMENT_H

#include "utils/array.h"
#include "utils/jsonb.h"

#define FFLAG_DOCUMENT_VERSION 1

/* What a key's value is. */
typedef enum fflag_json_type
{
	FFLAG_JSON_BOOLEAN,
	FFLAG_JSON_NUMBER,
	FFLAG_JSON_STRING,
	FFLAG_JSON_MOMENT,
	FFLAG_JSON_OBJECT,
	FFLAG_JSON_ARRAY
} fflag_json_type;

/* Which of a flag's tables a key is kept in. */
typedef enum fflag_document_part
{
	FFLAG_PART_FLAG,			/* in the column of this name */
	FFLAG_PART_VARIANTS,
	FFLAG_PART_RELATIONS,
	FFLAG_PART_ALLOWLIST,
	FFLAG_PART_DENYLIST
} fflag_document_part;

#define FFLAG_DOCUMENT_PARTS 5

/* A key of a flag. */
typedef struct fflag_document_key
{
	const char *name;
	fflag_json_type type;
	bool		nullable;
	fflag_document_part part;
	const char *unset;			/* what a new flag has there, in JSON */
} fflag_document_key;

/* What import needs to know of a document before it reads any table. */
typedef struct fflag_document
{
	ArrayType  *names;			/* text[], of the flags */
	ArrayType  *mentioned;		/* the same, and those that they have
								 * relations to */
	bool		has_lists;		/* an allowlist or a denylist */
	bool		has_internal;	/* an internal flag */
} fflag_document;

extern const fflag_document_key fflag_document_keys[];
extern const int fflag_document_key_count;

extern const char *fflag_json_sql_type(fflag_json_type type);
extern fflag_document fflag_check_document(Jsonb *json);

#endif							/* FFLAG_DOCUMENT_H */
