/*
 * md5.c
 *		MD5 (RFC 1321), shaped for what fflag hashes: "name:user".
 *
 * Why not the server's pg_md5_binary(): with OpenSSL it costs ten times as
 * much, most of it in setting up a context, and FIPS builds refuse it.  Here
 * MD5 is a mixing function and no secret.
 *
 * Nearly every message fits into one block (55 bytes), which is hashed without any
 * state to carry.
 *
 * Plain C without PostgreSQL headers: test/unit runs this file alone.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "md5.h"
#include "md5_steps.h"

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
	 fflag_string s)
{
	while (s.len > 0)
	{
		size_t		n = FFLAG_MD5_BLOCK - fill;

		if (n > s.len)
			n = s.len;
		memcpy(block + fill, s.data, n);
		fill += n;
		s.data += n;
		s.len -= n;
		if (fill == FFLAG_MD5_BLOCK)
		{
			hash_block(state, block);
			fill = 0;
		}
	}
	return fill;
}

/* The last of a message of len bytes: fill bytes of a block, which are followed by zeros. */
static inline void
finish(uint32_t state[4], unsigned char *block, size_t fill, size_t len)
{
	block[fill] = 0x80;
	if (fill >= FFLAG_MD5_ROOM)
	{
		hash_block(state, block);
		memset(block, 0, FFLAG_MD5_BLOCK);
	}
	store_bit_length(block, len);
	hash_block(state, block);
}

/*
 * MD5 of a string, any length.  The digest is returned as the four state words: the
 * digest's bytes are theirs, each in little-endian order.
 */
void
fflag_md5(fflag_string s, uint32_t digest[4])
{
	unsigned char block[FFLAG_MD5_BLOCK];
	size_t		fill;

	memcpy(digest, initial_state, sizeof(initial_state));
	fill = feed(digest, block, 0, s);
	memset(block + fill, 0, FFLAG_MD5_BLOCK - fill);
	finish(digest, block, fill, s.len);
}

/*
 * MD5 of name || ':' || user if that fits into one block: it is laid out where the
 * steps read its words, and begins with a state that is known.
 */
static inline void
hash_short(fflag_string name, fflag_string user, size_t len, uint32_t digest[4])
{
	uint32_t	m[FFLAG_MD5_BLOCK / sizeof(uint32_t)] = {0};
	unsigned char *block = (unsigned char *) m;
	uint32_t	a = initial_state[0];
	uint32_t	b = initial_state[1];
	uint32_t	c = initial_state[2];
	uint32_t	d = initial_state[3];

	memcpy(block, name.data, name.len);
	block[name.len] = ':';
	memcpy(block + name.len + 1, user.data, user.len);
	block[len] = 0x80;
	for (int i = 0; i < FFLAG_MD5_ROOM / 4; i++)
		m[i] = load_le32(block + 4 * i);
	m[FFLAG_MD5_ROOM / 4] = (uint32_t) len << 3;

	FFLAG_MD5_STEPS(a, b, c, d);

	digest[0] = initial_state[0] + a;
	digest[1] = initial_state[1] + b;
	digest[2] = initial_state[2] + c;
	digest[3] = initial_state[3] + d;
}

/* The same of name || ':' || user. */
void
fflag_md5_pair(fflag_string name, fflag_string user, uint32_t digest[4])
{
	unsigned char block[FFLAG_MD5_BLOCK];
	size_t		len = name.len + 1 + user.len;
	size_t		fill;

	if (len < FFLAG_MD5_ROOM)
	{
		hash_short(name, user, len, digest);
		return;
	}
	memcpy(digest, initial_state, sizeof(initial_state));
	fill = feed(digest, block, 0, name);
	fill = feed(digest, block, fill, fflag_string_make(":", 1));
	fill = feed(digest, block, fill, user);
	memset(block + fill, 0, FFLAG_MD5_BLOCK - fill);
	finish(digest, block, fill, len);
}
