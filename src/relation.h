/*
 * relation.h
 *		What relations between flags may be.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RELATION_H
#define FFLAG_RELATION_H

#include "read.h"

/* Relations among which circles are looked for: of our tables, or as they are to be. */
typedef struct fflag_relation_graph
{
	void		(*read) (struct fflag_relation_graph *graph, fflag_string id,
						 fflag_relation_rows *rows);

	/* what an error calls a flag */
	char	   *(*describe) (struct fflag_relation_graph *graph, fflag_string id);
} fflag_relation_graph;

typedef struct fflag_relation_walk fflag_relation_walk;

extern void fflag_lock_relations(void);
extern fflag_relation_walk *fflag_begin_walk(fflag_relation_graph *graph);
extern void fflag_walk_from(fflag_relation_walk *walk, fflag_string id);

#endif							/* FFLAG_RELATION_H */
