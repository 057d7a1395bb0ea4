/*
 * estimate.h
 *		About how many users are on a list, for the planner.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_ESTIMATE_H
#define FFLAG_ESTIMATE_H

#include "allowlist.h"

extern int64 fflag_estimate_listed(fflag_allowlist *list);

#endif							/* FFLAG_ESTIMATE_H */
