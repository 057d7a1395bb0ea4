/*
 * md5_simd.c
 *		MD5 of one name with many user ids, several at once.
 *
 * The steps of one MD5 wait for each other; those of another user's do not.  So
 * the words of FFLAG_MD5_LANES messages are laid side by side, and vector
 * instructions do a step of 4, 8 or 16 of them at a time, as wide as the
 * processor has them (found out at the first call).  The template is
 * md5_lanes.h; a message of more than one block goes through md5.c.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include <string.h>

#include "md5.h"
#include "md5_steps.h"

typedef void (*hash_lanes) (uint32_t words[16][FFLAG_MD5_LANES],
							uint32_t digests[4][FFLAG_MD5_LANES], int lane);

/* what every processor has, or the compiler makes of it: SSE2 on x86-64 */
#define TARGET
#define LANES 4
#define HASH_LANES hash_4
#include "md5_lanes.h"
#undef TARGET
#undef LANES
#undef HASH_LANES

#ifdef __x86_64__
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define HASH_LANES hash_8
#include "md5_lanes.h"
#undef TARGET
#undef LANES
#undef HASH_LANES

#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define HASH_LANES hash_16
#include "md5_lanes.h"
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
fflag_md5_use(const char *width)
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

static inline uint32_t
load_le32(const unsigned char *p)
{
	return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 |
		(uint32_t) p[3] << 24;
}

/*
 * MD5 of name || ':' || user for up to FFLAG_MD5_LANES users; digests[k][i] gets
 * word k of the digest of users[i].
 */
void
fflag_md5_pairs(const char *name, size_t name_len, const fflag_bytes *users,
				int n, uint32_t digests[4][FFLAG_MD5_LANES])
{
	/* lanes without a short message hash zeros, to be ignored */
	uint32_t	words[16][FFLAG_MD5_LANES] = {0};
	unsigned char block[FFLAG_MD5_BLOCK] = {0};
	size_t		prefix = name_len + 1;
	size_t		first = prefix / 4; /* the words before are the same for all */
	int			is_long[FFLAG_MD5_LANES];
	int			any_long = 0;

	if (chosen == NULL)
		fflag_md5_use(NULL);

	if (prefix < FFLAG_MD5_ROOM)
	{
		memcpy(block, name, name_len);
		block[name_len] = ':';
		for (size_t k = 0; k < first; k++)
			for (int i = 0; i < n; i++)
				words[k][i] = load_le32(block + 4 * k);
	}

	for (int i = 0; i < n; i++)
	{
		size_t		len = prefix + users[i].len;

		/* so compared that no sum overflows */
		is_long[i] = prefix >= FFLAG_MD5_ROOM ||
			users[i].len >= FFLAG_MD5_ROOM - prefix;
		if (is_long[i])
		{
			any_long = 1;
			continue;
		}
		memcpy(block + prefix, users[i].data, users[i].len);
		block[len] = 0x80;
		for (size_t k = first; k <= len / 4; k++)
			words[k][i] = load_le32(block + 4 * k);
		words[14][i] = (uint32_t) len * 8;
		memset(block + prefix, 0, users[i].len + 1);
	}

	for (int lane = 0; lane < n; lane += chosen->lanes)
		chosen->hash(words, digests, lane);

	for (int i = 0; any_long && i < n; i++)
	{
		uint32_t	digest[4];

		if (!is_long[i])
			continue;
		fflag_md5_pair(name, name_len, users[i].data, users[i].len, digest);
		for (int k = 0; k < 4; k++)
			digests[k][i] = digest[k];
	}
}
