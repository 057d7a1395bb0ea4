/*
 * check.h
 *		What a flag may be called, how far and when it may be rolled out, who may be on its lists, and which variants it may have.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CHECK_H
#define FFLAG_CHECK_H

#include "datatype/timestamp.h"

/* characters, as declared for feature_flag.name and seed */
#define FFLAG_NAME_LENGTH 150

/* bytes, as in the constraint of feature_flag_user.user_id, which says why */
#define FFLAG_USER_ID_LENGTH 2048

/* as in the constraint of feature_flag_variant.weight */
#define FFLAG_MOST_WEIGHT 1000000000
#define FFLAG_WEIGHT_PARTS 1000000

extern void fflag_check_name(const char *name);
extern void fflag_check_seed(const char *seed, const char *flag);
extern void fflag_check_variant_name(const char *name);
extern void fflag_check_user_id(size_t len, const char *list, const char *name,
								const char *id);
extern int64 fflag_check_weight(Datum weight, const char *variant,
								const char *name, const char *id);
extern int	fflag_check_percentage(Datum percentage, const char *column,
								   const char *flag);
extern void fflag_check_schedule(TimestampTz starts_at, TimestampTz ends_at,
								 const char *flag);
extern void fflag_check_ramp_complete(int set, const char *flag);
extern void fflag_check_ramp(TimestampTz starts_at, TimestampTz ends_at,
							 const char *flag);

#endif							/* FFLAG_CHECK_H */
