/*
 * read.h
 *		Reading flags and allowlists, and what may be in them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_READ_H
#define FFLAG_READ_H

#include "catalog.h"
#include "id.h"
#include "rules.h"

#define FFLAG_NAME_LENGTH 150	/* characters, as declared for feature_flag.name */

/* A flag: the rules' part of it, and its key. */
typedef struct fflag_row
{
	fflag_string id;			/* in canonical text */
	fflag_string name;
	fflag_flag	flag;			/* utf8_name: terminated by its length only */
} fflag_row;

/* What to do with a row or an allowlist's entry; false stops the reading. */
typedef bool (*fflag_row_sink) (const fflag_row *row, void *arg);
typedef bool (*fflag_user_sink) (const char *user, int len, void *arg);

extern bool fflag_read_flag(fflag_source *source, fflag_string name,
							Snapshot snapshot, fflag_row *row);
extern void fflag_read_flags(fflag_source *source, Snapshot snapshot,
							 fflag_row_sink sink, void *arg);
extern bool fflag_read_listed(fflag_source *source, fflag_string flag_id,
							  const char *user, int len, Snapshot snapshot);
extern void fflag_read_allowlist(fflag_source *source, fflag_string flag_id,
								 Snapshot snapshot,
								 fflag_user_sink sink, void *arg);
extern int	fflag_check_percentage(Datum percentage, const char *flag);
extern void fflag_check_name(const char *name);
extern const char *fflag_to_utf8(const char *text, size_t *len);

#endif							/* FFLAG_READ_H */
