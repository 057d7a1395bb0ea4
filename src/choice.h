/*
 * choice.h
 *		Which of several variants a hash belongs to.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_CHOICE_H
#define FFLAG_CHOICE_H

#include <stdint.h>

#include "fflag_string.h"

/* What the choice needs to know of a variant. */
typedef struct fflag_share
{
	uint64_t	hash;			/* of its name */
	uint64_t	weight;
} fflag_share;

extern fflag_share fflag_share_of(fflag_string utf8_name, uint64_t weight);
extern int	fflag_choose(const fflag_share *shares, int count, uint64_t hash);
extern uint64_t fflag_minus_log2(uint64_t u);

#endif							/* FFLAG_CHOICE_H */
