/*
 * check.h
 *		What a flag may be called, and how far it may be rolled out.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CHECK_H
#define FFLAG_CHECK_H

/* characters, as declared for feature_flag.name */
#define FFLAG_NAME_LENGTH 150

extern void fflag_check_name(const char *name);
extern int	fflag_check_percentage(Datum percentage, const char *flag);

#endif							/* FFLAG_CHECK_H */
