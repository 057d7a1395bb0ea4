/*
 * attachment.h
 *		Which tables are attached.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ATTACHMENT_H
#define FFLAG_ATTACHMENT_H

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "layout.h"

#define FFLAG_ATTACHED 2		/* flags, then users */

/* The row of FFLAG_ATTACHMENT_TABLE. */
typedef struct fflag_attachment
{
	char	   *names[FFLAG_ATTACHED];	/* qualified and quoted */
	Oid			oids[FFLAG_ATTACHED];	/* where the row was written */
	NameData	columns[FFLAG_COLUMNS];
} fflag_attachment;

extern fflag_attachment fflag_parse_attachment(Relation rel, HeapTuple tuple);
extern bool fflag_read_attachment(Relation rel, Snapshot snapshot,
								  fflag_attachment *result);
extern bool fflag_same_attachment(const fflag_attachment *a,
								  const fflag_attachment *b);
extern Oid	fflag_find_attached(const fflag_attachment *attachment, int which,
								Oid function);
extern Oid	fflag_find_named(const fflag_attachment *attachment, int which);
extern void fflag_warn_of_strays(const fflag_source *source, Oid function);

#endif							/* FFLAG_ATTACHMENT_H */
