/*
 * integer_list.c
 *		Unit tests of src/integer_list.c, in plain C.
 *
 * Prints TAP.  Each list is compared with a sorted array.  The memory that it
 * asks for is of exactly that size, so that the address sanitizer sees what is
 * touched beyond it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integer_list.h"
#include "tap.h"

#define MOST 400000				/* of a test's integers */
#define BLOCK 65536

static int64_t integers[MOST];
static size_t n_integers;

/* ---- a test's integers */

static void
add(int64_t integer)
{
	integers[n_integers++] = integer;
}

static void
add_run(int64_t from, uint64_t step, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add((int64_t) ((uint64_t) from + i * step));
}

static void
add_random(int64_t from, int bits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add((int64_t) ((uint64_t) from + (random_bits() >> (64 - bits))));
}

static void
shuffle(void)
{
	for (size_t i = n_integers; i > 1; i--)
	{
		size_t		other = random_bits() % i;
		int64_t		swapped = integers[i - 1];

		integers[i - 1] = integers[other];
		integers[other] = swapped;
	}
}

/* ---- the list, and what it is compared with */

typedef struct test_memory
{
	void	   *pieces[2];
	int			n;
	size_t		size;
} test_memory;

static void *
allocate(size_t size, void *arg)
{
	test_memory *m = arg;

	m->size += size;
	m->pieces[m->n] = malloc(size);
	if (m->pieces[m->n] == NULL)
		exit(1);
	memset(m->pieces[m->n], 0xa5, size);
	return m->pieces[m->n++];
}

static void
check_nothing(void)
{
}

static int
compare(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

static int
differs(const fflag_integer_list *list, uint64_t integer)
{
	int64_t		asked = (int64_t) integer;
	int			expected = bsearch(&asked, integers, n_integers, sizeof(int64_t), compare) != NULL;

	return fflag_integer_list_has(list, asked) != expected;
}

/*
 * Makes a list of the integers added so far, in random order, and asks it for
 * each of them, for their neighbours and those at the edges of blocks, and for
 * random others.  "bytes" is how much it may take, 0 if there is to be none.
 */
static void
check(const char *what, size_t bytes)
{
	test_memory m = {{NULL, NULL}, 0, 0};
	fflag_list_maker maker = {allocate, &m, check_nothing};
	fflag_integer_list *list;
	char		written[200];
	long		wrong = 0;

	shuffle();
	list = fflag_integer_list_make(integers, n_integers, &maker);
	qsort(integers, n_integers, sizeof(int64_t), compare);
	if (list != NULL)
	{
		for (size_t i = 0; i < n_integers; i++)
		{
			uint64_t	integer = (uint64_t) integers[i];

			for (uint64_t d = 0; d < 5; d++)
				wrong += differs(list, integer + d - 2);
			wrong += differs(list, integer + BLOCK) + differs(list, integer - BLOCK);
			wrong += differs(list, integer | (BLOCK - 1)) + differs(list, integer & ~UINT64_C(65535));
			wrong += differs(list, integer ^ UINT64_C(1) << (random_bits() % 64));
			wrong += differs(list, random_bits() >> random_bits() % 64);
		}
		wrong += differs(list, 0) + differs(list, UINT64_MAX);
		wrong += differs(list, INT64_MAX) + differs(list, (uint64_t) INT64_MIN);
	}
	snprintf(written, sizeof(written), "%s: %zu integers in %zu bytes", what, n_integers, m.size);
	ok(wrong == 0 && (list != NULL) == (bytes > 0) && m.size <= bytes, written);
	for (int i = 0; i < m.n; i++)
		free(m.pieces[i]);
	n_integers = 0;
}

/* a list of so many blocks, so many of which are bitmaps, and other integers */
static size_t
size_of(size_t blocks, size_t bitmaps, size_t others)
{
	return sizeof(fflag_integer_list) + 8 * blocks + 8192 * bitmaps + 2 * others;
}

static void
test_lists(void)
{
	check("none", 0);

	/* dense */
	add_run(1, 1, 300000);
	check("all", size_of(5, 5, 0));
	add_run(0, 3, 300000);
	check("every third", size_of(14, 14, 0));
	add_run(-450000, 3, 300000);
	check("every third, on both sides of zero", size_of(14, 14, 0));
	add_run(-200000, 1, 200000);
	check("negative ones", size_of(4, 4, 0));
	add_run(INT64_MIN, 1, 100000);
	check("from the smallest on", size_of(2, 2, 0));
	add_run(INT64_MAX - 99999, 1, 100000);
	check("to the largest", size_of(2, 2, 0));
	for (int i = 0; i < 3; i++)
		add_run(7, 5, 100000);
	check("three times each", size_of(8, 8, 0));

	/* blocks of ids, as sequences of several servers leave them */
	for (int64_t i = 0; i < 20; i++)
		add_run(i * 10 * BLOCK + 1000, 1, 15000);
	check("runs with gaps", size_of(191, 20, 0));

	/* one in so many is too few for bitmaps */
	add_random(0, 25, 100000);
	check("random, 25 bits", size_of(512, 0, 100000));
	add_random(INT64_C(1) << 60, 27, 100000);
	check("random, 27 bits, far from zero", size_of(2048, 0, 100000));
	add_random(0, 40, 100000);
	check("random, 40 bits", 0);
	add_random(INT64_MIN, 64, 100000);
	check("random, 64 bits", 0);

	/* from where on a block is a bitmap */
	for (size_t n = 4094; n <= 4098; n++)
	{
		char		what[100];
		int			bitmap = n >= 4096;

		snprintf(what, sizeof(what), "a block of %zu", n);
		add_run(10 * BLOCK, 7, n);
		check(what, size_of(1, bitmap, bitmap ? 0 : n));
		snprintf(what, sizeof(what), "blocks of %zu, and one of all", n);
		add_run(-BLOCK, 15, n);
		add_run(0, 1, BLOCK);
		add_run(BLOCK, 15, n);
		check(what, size_of(3, 1 + 2 * bitmap, bitmap ? 0 : 2 * n));
	}

	/* how large the directory may be: a block for four integers */
	for (size_t n = 39; n <= 41; n++)
	{
		add_run(-3 * BLOCK, 1, n - 1);
		add(6 * BLOCK + 5);
		check("ten blocks", n >= 40 ? size_of(10, 0, n) : 0);
	}
	for (int64_t n = 1; n <= 9; n++)
	{
		add_run(-(n / 2), 1, (size_t) n);
		check("a few", n >= (n == 1 ? 4 : 8) ? size_of(2, 0, (size_t) n) : 0);
	}
	for (int64_t n = 1; n <= 5; n++)
	{
		add_run(65535 - n, 1, (size_t) n);
		check("a few in one block", n >= 4 ? size_of(1, 0, (size_t) n) : 0);
	}
	add(INT64_MIN);
	add(INT64_MAX);
	check("the extremes", 0);
	add_run(INT64_MIN, BLOCK, 200000);
	add_run(INT64_MAX - 199999, 1, 200000);
	check("the extremes, and many", 0);

	/* whatever the shape */
	for (int i = 0; i < 40; i++)
	{
		size_t		n = random_bits() % 2000;

		add_run((int64_t) (random_bits() % (40 * BLOCK)) - 20 * BLOCK, 1 + random_bits() % 30, n);
		add_random(-10 * BLOCK, 20, n);
		add_run(5 * BLOCK + 17, 1, 600);
		if (i % 5 == 0)
			add_run(-7 * BLOCK, 2, random_bits() % 30000);
		check("mixed", size_of(500, n_integers / 4096, n_integers));
	}
}

static void
test_texts(void)
{
	static const char *const none[] = {
		"", "-", "+", "+42", "042", "00", "-0", "-042", "--1", " 42", "42 ", "4 2",
		"4e1", "42.0", "0x2a", "a", "4a", "9223372036854775808", "-9223372036854775809",
		"9999999999999999999", "10000000000000000000", "18446744073709551616",
		"-18446744073709551615", "00000000000000000000042", "4611686018427387904000000",
		"c81e728d-9d4c-2f63-6f06-7f89cc14862c", "\xd9\xa4\xd9\xa2"
	};
	static const int64_t some[] = {
		0, 1, 9, 10, 42, -1, -9, -10, INT64_MAX, INT64_MAX - 1, INT64_MIN,
		INT64_MIN + 1, INT64_C(999999999999999999), INT64_C(1000000000000000000)
	};
	int			wrong = 0;
	int64_t		integer;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
	{
		size_t		len = strlen(none[i]);
		char	   *exact = malloc(len > 0 ? len : 1);

		if (exact == NULL)
			exit(1);
		memcpy(exact, none[i], len);
		if (fflag_integer_from_text(fflag_string_make(exact, len), &integer))
		{
			printf("# \"%s\" is taken for %" PRId64 "\n", none[i], integer);
			wrong++;
		}
		free(exact);
	}
	ok(wrong == 0, "texts that are not how an integer is written");
	ok(!fflag_integer_from_text(fflag_string_make("4\0", 2), &integer), "a byte of zero");

	wrong = 0;
	for (size_t i = 0; i < 200000; i++)
	{
		int64_t		expected;
		char		written[30];
		int			len;
		char	   *exact;

		if (i < sizeof(some) / sizeof(some[0]))
			expected = some[i];
		else
			expected = (int64_t) random_bits() >> random_bits() % 64;
		len = snprintf(written, sizeof(written), "%" PRId64, expected);
		exact = malloc((size_t) len);
		if (exact == NULL)
			exit(1);
		memcpy(exact, written, (size_t) len);
		integer = ~expected;
		wrong += !fflag_integer_from_text(fflag_string_make(exact, (size_t) len), &integer) ||
			integer != expected;
		free(exact);
	}
	ok(wrong == 0, "texts of integers");
}

int
main(void)
{
	test_lists();
	test_texts();
	printf("1..%d\n", test_number);
	return failures != 0;
}
