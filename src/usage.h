/*
 * usage.h
 *		How often each flag is evaluated.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_USAGE_H
#define FFLAG_USAGE_H

#include "datatype/timestamp.h"

#include "fflag_string.h"

/*
 * What this session has counted of a name, and not yet added to the server's
 * counts.  The counters mean something only while the name is listed.
 */
typedef struct fflag_usage_count
{
	uint64		evaluations;
	uint64		enabled;		/* of these, the answers that were true */
	uint64		bulk;			/* answers of fflag_flags(), no evaluations */
	struct fflag_usage_count *next; /* in the list */
	TimestampTz asked;			/* when the statement began that listed it */
	uint32		generation;		/* of the slot, when it was ours */
	uint16		slot;			/* where the server counts it; 0: nowhere */
	bool		listed;
	bool		bulk_in_rest;	/* has no slot of its own, but an evaluation
								 * might get one */
} fflag_usage_count;

/* What the server has counted of a name in this database. */
typedef struct fflag_usage_row
{
	fflag_string name;
	int64		evaluations;
	int64		enabled;
	TimestampTz last;			/* 0: never */
	int64		bulk;
	TimestampTz last_bulk;		/* 0: never */
	int			slot;
	uint32		generation;
	bool		forget;			/* for fflag_usage_restart() */
} fflag_usage_row;

typedef struct fflag_usage_rows
{
	TimestampTz since;			/* 0: nothing is counted */
	fflag_usage_row rest[2];	/* names without a slot, by whether flags have
								 * them */
	fflag_usage_row *names;		/* bytewise in order */
	int			count;
} fflag_usage_rows;

extern bool fflag_track_usage;

extern void fflag_usage_list(fflag_usage_count *usage, fflag_string name, bool known,
							 bool bulk);
extern bool fflag_usage_is_due(void);
extern void fflag_usage_flush(void);
extern fflag_usage_rows fflag_usage_read(void);
extern void fflag_usage_restart(const fflag_usage_rows *rows);

#endif							/* FFLAG_USAGE_H */
