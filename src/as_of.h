/*
 * as_of.h
 *		What flags, lists, variants and relations were at some moment, or will be.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_AS_OF_H
#define FFLAG_AS_OF_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "change.h"
#include "read.h"
#include "variants.h"

/*
 * What is asked: the state at a moment, as far as it has been found out.  Who asks
 * sets the first two, the rest is as_of.c's.
 */
typedef struct fflag_as_of
{
	fflag_history_tables h;		/* the schema is set */
	TimestampTz at;

	Snapshot	snapshot;
	bool		to_come;		/* is the moment? */
	bool		restored;		/* has another database's history come here? */

	bool		attached;		/* then */
	bool		still_read;		/* is what was read then read now, or at least
								 * recorded? */
	TimestampTz closed_at;		/* if not, the last change that counts */
	int64		closed_sequence;
	NameData	columns[FFLAG_COLUMNS]; /* as they were called then */
	fflag_source source;		/* today's tables, if still_read */
} fflag_as_of;

extern void fflag_begin_as_of(fflag_as_of *q);
extern void fflag_flag_at(fflag_as_of *q, bool by_id, fflag_string key, fflag_row *row);
extern bool fflag_listed_at(fflag_as_of *q, fflag_table_id which, fflag_string flag_id,
							fflag_string user);
extern fflag_variant_set *fflag_variants_at(fflag_as_of *q, const fflag_row *flag);

#endif							/* FFLAG_AS_OF_H */
