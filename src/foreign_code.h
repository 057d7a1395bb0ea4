/*
 * foreign_code.h
 *		Tables whose use would run somebody's code.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_FOREIGN_CODE_H
#define FFLAG_FOREIGN_CODE_H

#include "utils/relcache.h"

extern void fflag_refuse_code(Relation rel);

#endif							/* FFLAG_FOREIGN_CODE_H */
