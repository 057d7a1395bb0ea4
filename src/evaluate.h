/*
 * evaluate.h
 *		Evaluating a flag of the cache, and what fflag_explain() returns.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_EVALUATE_H
#define FFLAG_EVALUATE_H

#include "fmgr.h"

#include "entry.h"
#include "id.h"
#include "rules.h"

extern Datum fflag_explanation(FunctionCallInfo fcinfo, NullableDatum name,
							   NullableDatum id, user_type type,
							   const fflag_flag *flag, fflag_decision decision,
							   NullableDatum variant, NullableDatum because);
extern bool fflag_is_enabled(const fflag_entry *entry, NullableDatum id,
							 user_type type, bool is_staff);

#endif							/* FFLAG_EVALUATE_H */
