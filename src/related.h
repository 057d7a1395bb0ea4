/*
 * related.h
 *		What belongs to a cached flag: the flags that it is related to, its variants.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_RELATED_H
#define FFLAG_RELATED_H

#include "nodes/pg_list.h"

#include "entry.h"

extern const fflag_entry *fflag_other_flag(const fflag_entry *entry,
										   const fflag_relation *relation);
extern uint64 fflag_begin_visit(void);
extern List *fflag_reach(const fflag_entry *entry, uint64 visit);
extern const fflag_variant_set *fflag_variants_of(const fflag_entry *entry);
extern struct varlena *fflag_payload_of(const fflag_entry *entry, int variant);

#endif							/* FFLAG_RELATED_H */
