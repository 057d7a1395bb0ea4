/*
 * override.h
 *		What the setting fflag.override says of a name.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_OVERRIDE_H
#define FFLAG_OVERRIDE_H

#include "utils/guc.h"

#include "fflag_string.h"

typedef struct fflag_override
{
	fflag_string name;
	bool		enabled;
	fflag_string variant;		/* empty: none is forced */
} fflag_override;

extern char *fflag_override_setting;

extern bool fflag_check_override(char **newval, void **extra, GucSource source);
extern void fflag_use_overrides(void *extra);
extern const fflag_override *fflag_find_override(fflag_string name);

#endif							/* FFLAG_OVERRIDE_H */
