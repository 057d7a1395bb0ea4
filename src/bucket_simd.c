/*
 * bucket_simd.c
 *		From one flag's name and many user ids to their buckets.
 *
 * The steps of one MD5 wait for each other; those of another user's do not.  So
 * the words of MOST_LANES messages are laid side by side, and vector
 * instructions do a step of 4, 8 or 16 of them at a time, as wide as the
 * processor has them (found out at the first call).  The template is
 * bucket_template.h; a message of more than one block goes through bucket.c.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "bucket.h"
#include "md5.h"
#include "md5_steps.h"

/* As many messages as are hashed together at most. */
#define MOST_LANES 16

typedef void (*hash_lanes) (uint32_t words[16][MOST_LANES], int lane,
							int buckets[MOST_LANES]);

/*
 * What the four bytes of a digest's word contribute to the number that it is:
 * each times its place value, a power of 256, modulo FFLAG_BUCKETS.
 */
#define PLACES(word, p0, p1, p2, p3) \
	(((word) & 0xff) * (p0) + ((word) >> 8 & 0xff) * (p1) + \
	 ((word) >> 16 & 0xff) * (p2) + ((word) >> 24) * (p3))

/* what every processor has, or the compiler makes of it: SSE2 on x86-64 */
#define TARGET
#define LANES 4
#define HASH_LANES hash_4
#include "bucket_template.h"
#undef TARGET
#undef LANES
#undef HASH_LANES

#ifdef __x86_64__
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define HASH_LANES hash_8
#include "bucket_template.h"
#undef TARGET
#undef LANES
#undef HASH_LANES

#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define HASH_LANES hash_16
#include "bucket_template.h"
#undef TARGET
#undef LANES
#undef HASH_LANES
#endif

static const struct width
{
	const char *name;
	hash_lanes	hash;
	int			lanes;
}			widths[] = {
#ifdef __x86_64__
	{"avx512", hash_16, 16},
	{"avx2", hash_8, 8},
#endif
	{"baseline", hash_4, 4},
};

static const struct width *chosen = NULL;

static int
is_supported(const struct width *width)
{
#ifdef __x86_64__
	if (width->lanes == 16)
		return __builtin_cpu_supports("avx512f");
	if (width->lanes == 8)
		return __builtin_cpu_supports("avx2");
#endif
	return width->lanes == 4;
}

/*
 * Chooses a width by its name, or the widest with NULL, for tests and
 * benchmarks.  Returns the name of the one in use, NULL if the processor does
 * not have it.
 */
const char *
fflag_bucket_use(const char *width)
{
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
	{
		if (is_supported(&widths[i]) &&
			(width == NULL || strcmp(width, widths[i].name) == 0))
		{
			chosen = &widths[i];
			return chosen->name;
		}
	}
	return NULL;
}

/* Does the message need more than one block?  No sum here overflows. */
static inline int
is_long(size_t prefix, size_t user_len)
{
	return prefix >= FFLAG_MD5_ROOM || user_len >= FFLAG_MD5_ROOM - prefix;
}

/* What fflag_bucket_of() returns, for n users at once. */
void
fflag_buckets_of(fflag_string utf8_name, const fflag_string *utf8_users,
				 size_t n, int *buckets)
{
	uint32_t	words[16][MOST_LANES] = {0};
	unsigned char blocks[MOST_LANES][FFLAG_MD5_BLOCK] = {0};
	unsigned char start[FFLAG_MD5_BLOCK] = {0};
	size_t		prefix = utf8_name.len + 1;
	size_t		first = prefix / 4; /* the words before are the same for all */
	size_t		longest = 0;

	if (chosen == NULL)
		fflag_bucket_use(NULL);

	if (prefix < FFLAG_MD5_ROOM)
	{
		memcpy(start, utf8_name.data, utf8_name.len);
		start[utf8_name.len] = ':';
		for (size_t k = 0; k < first; k++)
			for (int i = 0; i < MOST_LANES; i++)
				words[k][i] = load_le32(start + 4 * k);
	}

	while (n > 0)
	{
		int			lanes = n < MOST_LANES ? (int) n : MOST_LANES;
		int			of_lane[MOST_LANES];

		for (int i = 0; i < lanes; i++)
		{
			fflag_string user = utf8_users[i];
			size_t		len = prefix + user.len;

			if (is_long(prefix, user.len))
				continue;
			memcpy(blocks[i], start, FFLAG_MD5_BLOCK);
			memcpy(blocks[i] + prefix, user.data, user.len);
			blocks[i][len] = 0x80;
			words[14][i] = (uint32_t) len * 8;
			if (len > longest)
				longest = len;
		}

		/*
		 * Only after all messages are laid out: a load that is wider than the
		 * stores just before it has to wait for them.  Words beyond the
		 * longest message are still zero.  Lanes without a message are hashed
		 * too; their results are not used.
		 */
		for (size_t k = first; k <= longest / 4; k++)
			for (int i = 0; i < MOST_LANES; i++)
				words[k][i] = load_le32(blocks[i] + 4 * k);

		for (int lane = 0; lane < lanes; lane += chosen->lanes)
			chosen->hash(words, lane, of_lane);

		for (int i = 0; i < lanes; i++)
			buckets[i] = !is_long(prefix, utf8_users[i].len) ? of_lane[i] :
				fflag_bucket_of(utf8_name, utf8_users[i]);
		utf8_users += lanes;
		buckets += lanes;
		n -= lanes;
	}
}
