/*
 * writer.h
 *		Transactions that write flags, as their readers have to know of them.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_WRITER_H
#define FFLAG_WRITER_H

#include "fmgr.h"

#include "fflag_string.h"
#include "snapshot.h"

/* Lists are announced in so many parts, by the flag's id; a power of two. */
#define FFLAG_LIST_PARTS 64

extern void fflag_announce(Oid marker);
extern void fflag_announce_list(Oid marker, fflag_string flag_id);
extern int	fflag_list_part(fflag_string flag_id);
extern Oid	fflag_list_marker(Oid marker, int part);
extern void fflag_forget_announced(SubTransactionId aborted);
extern void fflag_begin_commit(void);
extern bool fflag_is_committing(void);
extern void fflag_begin_write(FmgrInfo *flinfo);
extern bool fflag_has_written_between(const fflag_snapshot_id *a,
									  const fflag_snapshot_id *b);
extern bool fflag_is_moving(const fflag_snapshot_id *s);
extern bool fflag_is_commit_under_way(Snapshot snapshot, const Oid *tables,
									  int count);

#endif							/* FFLAG_WRITER_H */
