/*
 * fuzz.c
 *		libFuzzer harness for src/md5.c, src/bucket_simd.c, src/bucket.c, src/choice.c,
 *		src/rules.c, src/integer_list.c.
 *
 * The first bytes of an input are the flag and how to divide the rest into name
 * and user id.  What is compared with is written differently on purpose: an MD5
 * of one message in memory, straight from RFC 1321, a division of the 128-bit
 * number digit by digit, the rules as a sentence of conditions, scores of variants
 * to their last digit, and a list of integers as a sorted array.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bucket.h"
#include "choice.h"
#include "integer_list.h"
#include "md5.h"
#include "rules.h"

static uint32_t sines[64];

static const int shifts[4][4] = {
	{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}
};

/* RFC 1321, section 3, of a whole message. */
static void
plain_md5(const uint8_t *message, size_t len, uint8_t digest[16])
{
	size_t		padded_len = (len + 8) / 64 * 64 + 64;
	uint8_t    *padded = calloc(padded_len, 1);
	uint32_t	state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

	memcpy(padded, message, len);
	padded[len] = 0x80;
	for (int i = 0; i < 8; i++)
		padded[padded_len - 8 + i] = (uint8_t) ((uint64_t) len * 8 >> (8 * i));

	for (size_t block = 0; block < padded_len; block += 64)
	{
		uint32_t	a = state[0];
		uint32_t	b = state[1];
		uint32_t	c = state[2];
		uint32_t	d = state[3];

		for (int i = 0; i < 64; i++)
		{
			uint32_t	f;
			int			word;
			int			shift = shifts[i / 16][i % 4];
			uint32_t	x = 0;
			uint32_t	next;

			switch (i / 16)
			{
				case 0:
					f = (b & c) | (~b & d);
					word = i;
					break;
				case 1:
					f = (d & b) | (~d & c);
					word = (5 * i + 1) % 16;
					break;
				case 2:
					f = b ^ c ^ d;
					word = (3 * i + 5) % 16;
					break;
				default:
					f = c ^ (b | ~d);
					word = 7 * i % 16;
					break;
			}
			for (int j = 3; j >= 0; j--)
				x = x << 8 | padded[block + 4 * word + j];
			x += a + f + sines[i];
			next = b + (x << shift | x >> (32 - shift));
			a = d;
			d = c;
			c = b;
			b = next;
		}
		state[0] += a;
		state[1] += b;
		state[2] += c;
		state[3] += d;
	}
	for (int i = 0; i < 16; i++)
		digest[i] = (uint8_t) (state[i / 4] >> (8 * (i % 4)));
	free(padded);
}

/* Divides the big-endian number in place, and returns the remainder. */
static unsigned
divide(uint8_t number[16], unsigned by)
{
	unsigned	rest = 0;

	for (int i = 0; i < 16; i++)
	{
		rest = rest << 8 | number[i];
		number[i] = (uint8_t) (rest / by);
		rest %= by;
	}
	return rest;
}

static void
must(int holds, const char *what)
{
	if (!holds)
	{
		fprintf(stderr, "differs: %s\n", what);
		abort();
	}
}

static void *
exact_copy(const uint8_t *data, size_t len)
{
	void	   *copy = malloc(len);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

/* The bucket, from the 128-bit number. */
static int
plain_bucket(const uint8_t *message, size_t len)
{
	uint8_t		number[16];
	int			coarse;

	plain_md5(message, len, number);
	coarse = (int) divide(number, 100);
	return coarse * 1000 + (int) divide(number, 1000);
}

/*
 * Many users at once, in each width that this machine has: the ends of the
 * user id given, so that the address sanitizer sees what is read beyond them.
 */
static void
test_batch(const char *name, size_t name_len, const char *user, size_t user_len,
		   int n)
{
	static const char *const widths[] = {"baseline", "avx2", "avx512"};
	fflag_string users[40];
	int			buckets[40];
	uint8_t    *message = malloc(name_len + 1 + user_len);

	for (int i = 0; i < n; i++)
	{
		users[i].len = i == n / 2 ? user_len : user_len * (size_t) i / (size_t) n;
		users[i].data = user + user_len - users[i].len;
	}
	memcpy(message, name, name_len);
	message[name_len] = ':';
	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
	{
		if (fflag_bucket_use(widths[w]) == NULL)
			continue;
		fflag_buckets_of(fflag_string_make(name, name_len), users, (size_t) n, buckets);
		for (int i = 0; i < n; i++)
		{
			memcpy(message + name_len + 1, users[i].data, users[i].len);
			must(buckets[i] == plain_bucket(message, name_len + 1 + users[i].len),
				 "bucket of one of many");
		}
	}
	free(message);
}

static int
compare_integers(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* The text of an integer, as the C library writes and reads it. */
static void
test_text(const char *text, size_t len)
{
	char		copy[32];
	char		again[32];
	char	   *end;
	int64_t		got;
	int64_t		want;
	int			is_one = 0;

	if (len > 0 && len < sizeof(copy))
	{
		memcpy(copy, text, len);
		copy[len] = '\0';
		errno = 0;
		want = strtoll(copy, &end, 10);
		snprintf(again, sizeof(again), "%" PRId64, want);
		is_one = errno == 0 && end == copy + len && strcmp(again, copy) == 0;
	}
	must(fflag_integer_from_text(fflag_string_make(text, len), &got) == is_one,
		 "whether a text is an integer");
	must(!is_one || got == want, "integer of a text");
}

typedef struct pieces
{
	void	   *piece[2];
	int			n;
} pieces;

static void *
allocate(size_t size, void *arg)
{
	pieces	   *p = arg;

	return p->piece[p->n++] = malloc(size);
}

static void
check_nothing(void)
{
}

/* Records of the input are runs of integers, each from near the end of the last. */
static void
test_integers(const uint8_t *data, size_t size)
{
	enum
	{
		RECORD = 12, MOST = 6000
	};
	static int64_t integers[MOST];
	size_t		n = 0;
	uint64_t	next = 0;
	pieces		p = {{NULL, NULL}, 0};
	fflag_list_maker maker = {allocate, &p, check_nothing};
	fflag_integer_list *list;

	for (; size >= RECORD && n < MOST; data += RECORD, size -= RECORD)
	{
		int64_t		distance;
		size_t		run = (data[10] << 8 | data[11]) & 0x1fff;

		memcpy(&distance, data, sizeof(distance));
		next += (uint64_t) (distance >> data[8] % 64);
		for (; run > 0 && n < MOST; run--, next += data[9])
			integers[n++] = (int64_t) next;
	}
	list = fflag_integer_list_make(integers, n, &maker);
	qsort(integers, n, sizeof(int64_t), compare_integers);
	must(list == NULL || n > 0, "list of none");
	for (size_t i = 0; i < n; i++)
	{
		char		digits[32];
		int			len = snprintf(digits, sizeof(digits), "%" PRId64, integers[i]);

		for (int d = -1; list != NULL && d <= 1; d++)
		{
			int64_t		asked = (int64_t) ((uint64_t) integers[i] + (uint64_t) d);

			must(fflag_integer_list_has(list, asked) ==
				 (bsearch(&asked, integers, n, sizeof(int64_t), compare_integers) != NULL),
				 "integer in a list");
		}
		if (i % 64 != 0)
			continue;
		test_text(digits, (size_t) len);
		digits[(i + n) % (size_t) len] = (char) ('*' + i / 64 % 17);	/* up to ':' */
		test_text(digits, (size_t) len);
	}
	for (int i = 0; i < p.n; i++)
		free(p.piece[i]);
}

/* -log2(u / 2^64) in units of 2^-40, cut off: digits behind the point, one after the other. */
static uint64_t
plain_minus_log2(uint64_t u)
{
	unsigned	__int128 m = u == 0 ? 1 : u;
	int			whole = 0;
	uint64_t	digits = 0;

	while (m < (unsigned __int128) 1 << 63)
	{
		m *= 2;
		whole++;
	}
	for (int i = 0; i < 40; i++)
	{
		m = m * m / ((uint64_t) 1 << 63);
		digits *= 2;
		if (m >= (unsigned __int128) 1 << 64)
		{
			m /= 2;
			digits++;
		}
	}
	return ((uint64_t) (whole + 1) << 40) - digits;
}

static uint64_t
plain_mix(uint64_t x)
{
	x = (x ^ x / ((uint64_t) 1 << 30)) * UINT64_C(13787848793156543929);
	x = (x ^ x / ((uint64_t) 1 << 27)) * UINT64_C(10723151780598845931);
	return x ^ x / ((uint64_t) 1 << 31);
}

/*
 * Records of the input are variants: a weight, and a name of as many bytes as there
 * are.  The lowest score wins, the first among equals.
 */
static void
test_variants(const uint8_t *data, size_t size, uint64_t hash)
{
	enum
	{
		RECORD = 8, MOST = 100
	};
	fflag_share shares[MOST];
	int			count = 0;
	int			want = -1;
	unsigned	__int128 lowest = 0;

	for (; size >= RECORD && count < MOST; data += RECORD, size -= RECORD)
	{
		uint64_t	weight;
		uint8_t		digest[16];

		memcpy(&weight, data, sizeof(weight));
		/* of any size, up to the largest there may be */
		weight = (weight >> data[RECORD - 1] % 64) % 1000000000000001;
		shares[count] = fflag_share_of(fflag_string_make((const char *) data, size), weight);
		plain_md5(data, size, digest);
		for (int i = 0; i < 8; i++)
			must(digest[i] == (uint8_t) (shares[count].hash >> (56 - 8 * i)), "hash of a variant");
		must(shares[count].weight == weight, "weight");
		count++;
	}
	for (int i = 0; i < count; i++)
	{
		unsigned	__int128 score = plain_minus_log2(plain_mix(hash ^ shares[i].hash));

		if (shares[i].weight > 0 &&
			(want < 0 || score *shares[want].weight < lowest * shares[i].weight))
		{
			want = i;
			lowest = score;
		}
	}
	if (want >= 0)
		must(fflag_choose(shares, count, hash) == want, "variant of a hash");
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	for (int i = 0; i < 64; i++)
		sines[i] = (uint32_t) (int64_t) floor(fabs(sin(i + 1)) * 4294967296.0);
	return 0;
}

/* A user, and what is to be looked up of them. */
typedef struct fuzz_user
{
	fflag_subject subject;
	const char *id;
	size_t		len;
	int			gets[FFLAG_RELATION_KINDS]; /* the other flag */
	int			denied;
	int			listed;
} fuzz_user;

static bool
gets_other(fflag_subject *user, const fflag_flag *flag, const fflag_relation *relation)
{
	must(relation >= flag->relations && relation < flag->relations + flag->n_relations,
		 "asked for another flag");
	return ((fuzz_user *) user)->gets[relation->kind];
}

static bool
is_denied(fflag_subject *user, const fflag_flag *flag)
{
	must(flag->restricted && user->somebody, "asked for a denylist");
	return ((fuzz_user *) user)->denied;
}

static bool
is_listed(fflag_subject *user, const fflag_flag *flag)
{
	must(flag->rollout < FFLAG_BUCKETS && user->somebody, "asked for an allowlist");
	return ((fuzz_user *) user)->listed;
}

static int
get_bucket(fflag_subject *user, const fflag_flag *flag)
{
	fuzz_user  *u = (fuzz_user *) user;

	must(flag->rollout > 0 && user->somebody && !u->listed, "asked for a bucket");
	return fflag_bucket_of(flag->utf8_seed, fflag_string_make(u->id, u->len));
}

/* The rules, with each answer to what they look up. */
static void
test_rules(const uint8_t *data, const char *name, size_t name_len,
		   const char *user, size_t user_len, int bucket)
{
	static const fflag_lookups look = {gets_other, is_denied, is_listed, get_bucket};
	int			rollout = data[3] << 16 | data[4] << 8 | data[5];
	fflag_flag	flag = {
		.overridden = (data[5] & 6) == 6,
		.forced = (data[5] & 8) != 0,
		.known = data[2] & 1,
		.phase = data[2] & 2 ? FFLAG_PHASE_ON : FFLAG_PHASE_DISABLED,
		.staff_only = (data[2] & 4) != 0,
		.restricted = (data[5] & 16) != 0,	/* by a denylist */
		/* near the user's bucket, where a mistake by one shows */
		.rollout = data[2] & 64 ? bucket + (data[2] >> 7) : rollout % (FFLAG_BUCKETS + 1),
		.utf8_seed = {name, name_len}
	};
	int			default_value = (data[2] & 32) != 0;
	int			has[FFLAG_RELATION_KINDS];
	fflag_relation relations[FFLAG_RELATION_KINDS];
	int			count = 0;

	for (int kind = FFLAG_RELATION_KINDS - 1; kind >= 0; kind--)
	{
		fflag_relation relation = {(fflag_relation_kind) kind, {"1", 1}, {"", 0}, {"", 0}};

		has[kind] = data[4] >> kind & 1;
		if (has[kind])
			relations[count++] = relation;
	}
	fflag_set_relations(&flag, relations, count);

	for (int i = 0; i < 32; i++)
	{
		fuzz_user	u = {
			.subject = {(data[2] & 8) != 0, (data[2] & 16) != 0},
			.id = user,
			.len = user_len,
			.gets = {i & 1, i & 2, i & 4},
			.denied = i & 8,
			.listed = i & 16
		};
		int			asks = !flag.overridden && flag.known && !flag.staff_only &&
		flag.phase == FFLAG_PHASE_ON;
		int			unmet = asks && has[FFLAG_REQUIRES] && !u.gets[FFLAG_REQUIRES];
		int			excluded = asks && !unmet && has[FFLAG_EXCLUDES] && u.gets[FFLAG_EXCLUDES];
		int			denied = asks && !unmet && !excluded && flag.restricted && u.denied &&
		u.subject.somebody;
		int			admitted = asks && !unmet && !excluded && !denied;
		int			listed = admitted && flag.rollout < FFLAG_BUCKETS && u.subject.somebody &&
		u.listed;
		int			included = admitted && flag.rollout < FFLAG_BUCKETS && !listed &&
		has[FFLAG_INCLUDES] && u.gets[FFLAG_INCLUDES];
		int			by_bucket = admitted && !listed && !included && flag.rollout > 0 &&
		flag.rollout < FFLAG_BUCKETS && u.subject.somebody;
		int			want = flag.overridden ? flag.forced :
		!flag.known ? default_value :
		flag.staff_only ? u.subject.somebody && u.subject.is_staff :
		admitted && (flag.rollout == FFLAG_BUCKETS || listed || included ||
					 (by_bucket && bucket < flag.rollout));
		fflag_decision got = fflag_decide(&flag, &u.subject, &look, default_value);

		must(got.enabled == want, "answer");
		must((got.rule == FFLAG_RULE_OVERRIDE) == flag.overridden, "override");
		must((got.rule == FFLAG_RULE_UNKNOWN_FLAG) ==
			 (!flag.overridden && !flag.known), "unknown flag");
		must((got.rule == FFLAG_RULE_PREREQUISITE) == unmet, "prerequisite");
		must((got.rule == FFLAG_RULE_EXCLUDED) == excluded, "excluded");
		must((got.rule == FFLAG_RULE_DENIED) == denied, "denied");
		must((got.rule == FFLAG_RULE_ALLOWLIST) == listed, "allowlist");
		must((got.rule == FFLAG_RULE_INCLUDED) == included, "included");
		must((got.rule == FFLAG_RULE_ROLLOUT) == by_bucket, "rollout");
		must((fflag_find_because(&flag, &u.subject, &look, got.rule, NULL) != NULL) ==
			 (unmet || excluded || included), "because of another flag");
		must(strlen(fflag_rule_name(got.rule)) > 0, "name of the rule");
		must(strlen(fflag_rule_reason(got.rule)) > 0, "reason");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum
	{
		HEAD = 6
	};
	size_t		name_len;
	size_t		user_len;
	char	   *name;
	char	   *user;
	uint8_t    *message;
	uint8_t		expected[16];
	uint32_t	digest[4];
	int			bucket;
	uint64_t	hash = 0;

	if (size < HEAD)
		return 0;
	name_len = (size_t) data[1] << 8 | data[0];
	size -= HEAD;
	name_len = name_len > size ? name_len % (size + 1) : name_len;
	user_len = size - name_len;

	/* blocks of exactly their size, for the address sanitizer */
	name = exact_copy(data + HEAD, name_len);
	user = exact_copy(data + HEAD + name_len, user_len);
	message = malloc(size + 1);
	memcpy(message, name, name_len);
	message[name_len] = ':';
	if (user_len > 0)
		memcpy(message + name_len + 1, user, user_len);

	plain_md5(message, size + 1, expected);
	fflag_md5_pair(fflag_string_make(name, name_len),
				   fflag_string_make(user, user_len), digest);
	for (int i = 0; i < 16; i++)
		must(expected[i] == (uint8_t) (digest[i / 4] >> (8 * (i % 4))), "MD5");

	bucket = fflag_bucket_of(fflag_string_make(name, name_len),
							 fflag_string_make(user, user_len));
	must(bucket == plain_bucket(message, size + 1), "bucket");
	for (int i = 0; i < 8; i++)
		hash = hash << 8 | expected[i];
	must(fflag_draw_of(fflag_string_make(name, name_len),
					   fflag_string_make(user, user_len)).hash == hash, "hash");
	test_text(user, user_len);
	if (size < 300)
		test_integers(data + HEAD, size);
	test_variants(data + HEAD, size, hash);
	if (size < 300)
		test_batch(name, name_len, user, user_len, 1 + data[5] % 40);

	test_rules(data, name, name_len, user, user_len, bucket);

	free(name);
	free(user);
	free(message);
	return 0;
}
