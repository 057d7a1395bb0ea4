/*
 * evaluate.h
 *		What fflag_explain() returns.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_EVALUATE_H
#define FFLAG_EVALUATE_H

#include "fmgr.h"

#include "overloads.h"
#include "rules.h"

extern Datum fflag_explanation(FunctionCallInfo fcinfo, NullableDatum name,
							   NullableDatum id, user_type type,
							   const fflag_flag *flag, fflag_decision decision);

#endif							/* FFLAG_EVALUATE_H */
