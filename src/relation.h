/*
 * relation.h
 *		What relations between flags may be.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RELATION_H
#define FFLAG_RELATION_H

extern void fflag_lock_relations(void);

#endif							/* FFLAG_RELATION_H */
