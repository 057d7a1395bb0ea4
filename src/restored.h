/*
 * restored.h
 *		Histories that a dump has brought.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RESTORED_H
#define FFLAG_RESTORED_H

/* In SQL: after a change, a row h of the history, what it is of is not there. */
#define FFLAG_IS_GONE "h.old_row IS NOT NULL AND h.new_row IS NULL"

extern char *fflag_is_restored(const char *change, const char *alias);

#endif							/* FFLAG_RESTORED_H */
