/*
 * variants.c
 *		Unit tests of src/choice.c and of the hash in src/bucket.c, in plain C.
 *
 * Prints TAP.  argv[1] has logarithms and argv[2] variants that Python computed, an
 * array of JSON a line: flag, user, {variant: weight, ...}, variant or null.  Variants
 * are also compared with what comes of exact logarithms alone.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bucket.h"
#include "choice.h"
#include "tap.h"

#define MOST 10000
#define MOST_WEIGHT UINT64_C(1000000000000000)

static fflag_share shares[MOST];

/* ---- what Python computed ---- */

static void
test_logarithms(const char *path)
{
	FILE	   *file = fopen(path, "r");
	unsigned long long u;
	unsigned long long logarithm;
	int			lines = 0;
	int			wrong = 0;

	fflag_share_of(fflag_string_make("", 0), 1);
	while (file != NULL && fscanf(file, "%llu\t%llu\n", &u, &logarithm) == 2)
	{
		lines++;
		wrong += fflag_minus_log2(u) != logarithm;
	}
	ok(lines == 1778 && feof(file), "1,778 logarithms");
	ok(wrong == 0, "all of them, to the last bit");
	if (file != NULL)
		fclose(file);
}

/* The string that begins at *p, which moves on behind it; NULL for null. */
static char *
parse_string(char **p)
{
	char	   *start = *p + 1;
	char	   *to = start;

	if (**p != '"')
	{
		*p += strlen("null");
		return NULL;
	}
	for (*p = start; **p != '"'; (*p)++)
	{
		int			escaped = **p == '\\';

		*p += escaped;
		*to++ = escaped && **p == 'n' ? '\n' : **p; /* there are no other
													 * escapes */
	}
	(*p)++;
	*to = '\0';
	return start;
}

static fflag_string
to_string(const char *s)
{
	return fflag_string_make(s, strlen(s));
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The variant of a line, as the SQL functions find it; NULL if nobody gets one. */
static int
is_right(char *line)
{
	char	   *names[20];
	double		weights[20];
	char	   *sorted[20];
	int			count = 0;
	int			weighty = 0;
	int			only = 0;
	char	   *p = line + strlen("[");
	char	   *flag;
	char	   *user;
	char	   *variant;

	flag = parse_string(&p);
	p += strlen(", ");
	user = parse_string(&p);
	p += strlen(", {");
	do
	{
		names[count] = parse_string(&p);
		p += strlen(": ");
		weights[count] = strtod(p, &p);
		sorted[count] = names[count];
		count++;
		p += strspn(p, ", ");
	} while (*p == '"');
	p += strlen("}, ");
	variant = parse_string(&p);

	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < count; j++)
		{
			if (names[j] == sorted[i])
				shares[i] = fflag_share_of(to_string(sorted[i]),
										   (uint64_t) llround(weights[j] * 1000000));
		}
		if (shares[i].weight > 0)
		{
			weighty++;
			only = i;
		}
	}
	if (weighty == 0)
		return variant == NULL;
	if (weighty > 1)
		only = fflag_choose(shares, count,
							fflag_draw_of(to_string(flag), to_string(user)).hash);
	return variant != NULL && strcmp(sorted[only], variant) == 0;
}

static void
test_vectors(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[4096];
	int			lines = 0;
	int			wrong = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		lines++;
		wrong += !is_right(line);
	}
	ok(lines == 1500, "1,500 users under flags with variants");
	ok(wrong == 0, "each has the variant that Python says");
	if (file != NULL)
		fclose(file);
}

/* ---- by exact logarithms ---- */

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(13787848793156543929);
	x = (x ^ (x >> 27)) * UINT64_C(10723151780598845931);
	return x ^ (x >> 31);
}

static int
plain_choice(int count, uint64_t hash)
{
	int			best = -1;
	__int128	lowest = 0;

	for (int i = 0; i < count; i++)
	{
		__int128 score = fflag_minus_log2(mix(hash ^ shares[i].hash));

		if (shares[i].weight > 0 &&
			(best < 0 || score *shares[best].weight < lowest * shares[i].weight))
		{
			best = i;
			lowest = score;
		}
	}
	return best;
}

static void
test_random(void)
{
	int			wrong = 0;

	for (int n = 0; n < 20000; n++)
	{
		int			count = 1 + (int) (random_bits() % (n % 1000 == 0 ? MOST : 12));
		int			shift = 14 + (int) (random_bits() % 50);

		for (int i = 0; i < count; i++)
		{
			shares[i].hash = random_bits();
			shares[i].weight = n % 3 == 0 ? 1 + random_bits() % 3 :
				(random_bits() >> (n % 3 == 1 ? shift : 14 + (int) (random_bits() % 50))) % (MOST_WEIGHT + 1);
		}
		shares[random_bits() % count].weight = 1 + random_bits() % MOST_WEIGHT;
		for (int i = 0; i < 10; i++)
		{
			uint64_t	hash = random_bits();

			wrong += fflag_choose(shares, count, hash) != plain_choice(count, hash);
		}
	}
	ok(wrong == 0, "random weights");
}

/* The inverse of mix(), so that a variant can be given any number for a user. */
static uint64_t
unmix(uint64_t x)
{
	x ^= (x >> 31) ^ (x >> 62);
	x *= UINT64_C(0x319642b2d24d8ec3);
	x ^= (x >> 27) ^ (x >> 54);
	x *= UINT64_C(0x96de1b173f119089);
	return x ^ (x >> 30) ^ (x >> 60);
}

/* Two or three variants whose scores are equal or nearly so, or at the edges. */
static void
test_near(void)
{
	const uint64_t edges[] = {0, 1, 2, 3, UINT64_MAX, UINT64_MAX - 1,
	UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1, (UINT64_C(1) << 63) + 1};
	const int	n_edges = sizeof(edges) / sizeof(edges[0]);
	int			wrong = 0;
	int			ties = 0;

	for (int n = 0; n < 200000; n++)
	{
		uint64_t	u = n % 2 ? edges[random_bits() % n_edges] : random_bits() >> random_bits() % 64;
		uint64_t	near = u + random_bits() % 5 - 2;
		uint64_t	weight = 1 + (random_bits() % MOST_WEIGHT >> random_bits() % 50);
		uint64_t	hash = random_bits();

		shares[0].hash = unmix(u) ^ hash;
		shares[1].hash = unmix(near) ^ hash;
		shares[2].hash = random_bits();
		shares[0].weight = weight;
		shares[1].weight = weight == MOST_WEIGHT ? weight : weight + random_bits() % 2;
		shares[2].weight = random_bits() % 2;
		ties += weight == shares[1].weight && fflag_minus_log2(u) == fflag_minus_log2(near);
		wrong += fflag_choose(shares, 3, hash) != plain_choice(3, hash);
	}
	ok(ties > 10000, "scores that are equal");
	ok(wrong == 0, "the first among equals, and the lowest of near ones");
}

/* ---- shares, and who moves ---- */

static void
set(int number, const char *name, uint64_t weight)
{
	shares[number] = fflag_share_of(to_string(name), weight);
}

#define USERS 100000

static int	before[USERS];

static uint64_t
hash_of_number(int user)
{
	char		id[16];

	sprintf(id, "%d", user);
	return fflag_draw_of(to_string("f"), to_string(id)).hash;
}

static void
remember(int count)
{
	for (int i = 0; i < USERS; i++)
		before[i] = fflag_choose(shares, count, hash_of_number(i));
}

/* How many move, and that all of them move to variant "to", or from it. */
static int
count_moves(int count, int changed, int *others)
{
	int			moves = 0;

	*others = 0;
	for (int i = 0; i < USERS; i++)
	{
		int			after = fflag_choose(shares, count, hash_of_number(i));

		moves += after != before[i];
		*others += after != before[i] && after != changed && before[i] != changed;
	}
	return moves;
}

static int
about(int n, double share)
{
	return fabs(n - share * USERS) < 0.005 * USERS;
}

static void
test_moves(void)
{
	int			others;
	int			shares_of[3] = {0};

	set(0, "a", 80);
	set(1, "b", 10);
	set(2, "c", 10);
	remember(3);
	for (int i = 0; i < USERS; i++)
		shares_of[before[i]]++;
	ok(about(shares_of[0], 0.8) && about(shares_of[1], 0.1) && about(shares_of[2], 0.1), "each has its share");
	set(0, "a", 30);
	ok(about(count_moves(3, 0, &others), 0.2), "80 of 100 becomes 30 of 50: a fifth moves");
	ok(others == 0, "away from it, and nobody moves between others");
	set(0, "a", 0);
	ok(about(count_moves(3, 0, &others), 0.8) && others == 0, "a weight of 0: those who had it move");
	set(0, "a", 160);
	set(1, "b", 20);
	set(2, "c", 20);
	ok(count_moves(3, 0, &others) == 0, "all weights doubled: nobody moves");
	set(0, "a", 1);
	set(1, "b", 1);
	remember(2);
	set(2, "c", 1);
	ok(about(count_moves(3, 2, &others), 1 / 3.0) && others == 0, "a third variant takes its third, from both");
}

int
main(int argc, char **argv)
{
	if (argc != 3)
	{
		fprintf(stderr, "usage: %s minus_log2.tsv variants.jsonl\n", argv[0]);
		return 2;
	}
	test_logarithms(argv[1]);
	test_vectors(argv[2]);
	test_random();
	test_near();
	test_moves();
	printf("1..%d\n", test_number);
	return failures != 0;
}
