/*
 * usage_sql.h
 *		What has been counted of each flag, for the SQL functions that tell.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_USAGE_SQL_H
#define FFLAG_USAGE_SQL_H

#include "postgres_ext.h"

#include "entry.h"
#include "usage.h"

/* Flags and counted names, walked through together. */
typedef struct fflag_usage_walk
{
	fflag_usage_rows rows;
	const fflag_entry *const *flags;
	int			count;
	int			next_row;
	int			next_flag;
}			fflag_usage_walk;

extern fflag_usage_walk fflag_begin_usage_walk(Oid function);
extern bool fflag_next_usage(fflag_usage_walk * walk, const fflag_entry **flag,
							 fflag_usage_row **row);
extern const fflag_usage_row *fflag_counts_of(const fflag_usage_walk * walk,
											  const fflag_usage_row *row);

#endif							/* FFLAG_USAGE_SQL_H */
