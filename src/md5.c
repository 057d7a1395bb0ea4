/*
 * md5.c
 *		MD5 (RFC 1321), shaped for what fflag hashes: "name:user".
 *
 * Why not the server's pg_md5_binary(): with OpenSSL it costs ten times as
 * much, most of it in setting up a context, and FIPS builds refuse it.  Here
 * MD5 is a mixing function and no secret.
 *
 * Nearly every message fits into one block (55 bytes), which is laid out on
 * the stack and hashed without any state to carry.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include <string.h>

#include "md5.h"
#include "md5_steps.h"

static inline uint32_t
load_le32(const unsigned char *p)
{
	uint32_t	word;

	memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap32(word);
#endif
	return word;
}

static void
hash_block(uint32_t state[4], const unsigned char *block)
{
	uint32_t	m[16];
	uint32_t	a = state[0];
	uint32_t	b = state[1];
	uint32_t	c = state[2];
	uint32_t	d = state[3];

	for (int i = 0; i < 16; i++)
		m[i] = load_le32(block + 4 * i);

	FFLAG_MD5_STEPS(a, b, c, d);

	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

static inline void
store_bit_length(unsigned char *block, size_t bytes)
{
	uint64_t	bits = (uint64_t) bytes << 3;

	for (int i = 0; i < 8; i++)
		block[FFLAG_MD5_ROOM + i] = (unsigned char) (bits >> (8 * i));
}

/* Appends to the block being filled, hashing it whenever it is full. */
static size_t
feed(uint32_t state[4], unsigned char *block, size_t fill,
	 const char *data, size_t len)
{
	while (len > 0)
	{
		size_t		n = FFLAG_MD5_BLOCK - fill;

		if (n > len)
			n = len;
		memcpy(block + fill, data, n);
		fill += n;
		data += n;
		len -= n;
		if (fill == FFLAG_MD5_BLOCK)
		{
			hash_block(state, block);
			fill = 0;
		}
	}
	return fill;
}

/*
 * MD5 of name || ':' || user, any lengths.  The digest is returned as the
 * four state words: the digest's bytes are theirs, each in little-endian order.
 */
void
fflag_md5_pair(const char *name, size_t name_len,
			   const char *user, size_t user_len, uint32_t digest[4])
{
	unsigned char block[FFLAG_MD5_BLOCK] = {0};
	size_t		len = name_len + 1 + user_len;
	size_t		fill;

	memcpy(digest, initial_state, sizeof(initial_state));

	if (len < FFLAG_MD5_ROOM)
	{
		memcpy(block, name, name_len);
		block[name_len] = ':';
		memcpy(block + name_len + 1, user, user_len);
		fill = len;
	}
	else
	{
		fill = feed(digest, block, 0, name, name_len);
		fill = feed(digest, block, fill, ":", 1);
		fill = feed(digest, block, fill, user, user_len);
		memset(block + fill, 0, FFLAG_MD5_BLOCK - fill);
	}

	block[fill] = 0x80;
	if (fill >= FFLAG_MD5_ROOM)
	{
		hash_block(digest, block);
		memset(block, 0, FFLAG_MD5_BLOCK);
	}
	store_bit_length(block, len);
	hash_block(digest, block);
}
