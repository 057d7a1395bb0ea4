/*
 * integer_list.h
 *		A set of 64-bit integers in little memory, and whether one is in it.
 *
 * Plain C without PostgreSQL headers, for its tests run without a server.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_INTEGER_LIST_H
#define FFLAG_INTEGER_LIST_H

#include <stdint.h>

#include "fflag_string.h"

/* The integers that differ in their low 16 bits only, in one of two forms. */
#define FFLAG_BLOCK_BITS 16

/* So many, 8 kB, hold a bit for each of them. */
#define FFLAG_BITMAP_WORDS ((1 << FFLAG_BLOCK_BITS) / 16)

typedef struct fflag_integer_block
{
	uint32_t	begin;			/* in words */
	uint32_t	count;			/* from FFLAG_BITMAP_WORDS on it is a bitmap */
} fflag_integer_block;

typedef struct fflag_integer_list
{
	uint16_t   *words;			/* each block's low halves, sorted, or bitmap */
	uint64_t	first;			/* the number of blocks[0] */
	uint64_t	n_blocks;
	fflag_integer_block blocks[];
} fflag_integer_list;

/* What a list is made with; either function may leave by longjmp. */
typedef struct fflag_list_maker
{
	void	   *(*allocate) (size_t size, void *arg);
	void	   *arg;
	void		(*check) (void);	/* called now and then, may stop it */
} fflag_list_maker;

extern fflag_integer_list *fflag_integer_list_make(const int64_t *integers,
												   size_t n,
												   const fflag_list_maker *maker);
extern bool fflag_integer_from_text(fflag_string text, int64_t *integer);

/* The number of an integer's block: in the order of the integers. */
static inline uint64_t
fflag_integer_block_of(int64_t integer)
{
	return ((uint64_t) integer ^ UINT64_C(1) << 63) >> FFLAG_BLOCK_BITS;
}

/* Is the integer in the list? */
static inline bool
fflag_integer_list_has(const fflag_integer_list *list, int64_t integer)
{
	/* less than the first is more than any, without a sign */
	uint64_t	number = fflag_integer_block_of(integer) - list->first;
	uint16_t	low = (uint16_t) integer;
	const uint16_t *words;
	uint32_t	count;

	if (number >= list->n_blocks)
		return false;
	words = list->words + list->blocks[number].begin;
	count = list->blocks[number].count;
	if (count >= FFLAG_BITMAP_WORDS)
		return words[low / 16] >> low % 16 & 1;

	/* the last that is not larger, found without a branch to mispredict */
	while (count > 1)
	{
		uint32_t	half = count / 2;

		words += words[half] <= low ? half : 0;
		count -= half;
	}
	return count == 1 && *words == low;
}

#endif							/* FFLAG_INTEGER_LIST_H */
