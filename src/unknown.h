/*
 * unknown.h
 *		What is said of a name that no flag has.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_UNKNOWN_H
#define FFLAG_UNKNOWN_H

#include "utils/guc.h"

#include "fflag_string.h"

/* The values of fflag.unknown_flag. */
typedef enum fflag_unknown
{
	FFLAG_UNKNOWN_DEFAULT,
	FFLAG_UNKNOWN_WARNING,
	FFLAG_UNKNOWN_ERROR
} fflag_unknown;

extern int	fflag_unknown_setting;
extern const struct config_enum_entry fflag_unknown_options[];

extern bool fflag_must_report(fflag_string name);
extern void fflag_report_unknown(int elevel, fflag_string name, const char *attached);

#endif							/* FFLAG_UNKNOWN_H */
