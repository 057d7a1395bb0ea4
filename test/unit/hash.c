/*
 * hash.c
 *		Unit tests of src/md5.c and src/bucket.c, in plain C.
 *
 * Prints TAP.  Every input is copied to a heap block of exactly its length,
 * so that the address sanitizer sees any byte read beyond it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bucket.h"
#include "md5.h"
#include "tap.h"

static int	use_batches = 0;	/* by fflag_buckets_of() */

static char *
exact_copy(const char *data, size_t len)
{
	char	   *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		exit(1);
	memcpy(copy, data, len);
	return len > 0 ? copy : realloc(copy, 1);
}

static int
bucket_of(const char *name, size_t name_len, const char *user, size_t user_len)
{
	char	   *n = exact_copy(name, name_len);
	char	   *u = exact_copy(user, user_len);
	int			bucket;

	if (use_batches)
	{
		fflag_string users[3] = {{"other", 5}, {u, user_len}, {"", 0}};
		int			buckets[3];

		fflag_buckets_of(fflag_string_make(n, name_len), users, 3, buckets);
		bucket = buckets[1];
	}
	else
		bucket = fflag_bucket_of(fflag_string_make(n, name_len),
								 fflag_string_make(u, user_len));

	free(n);
	free(u);
	return bucket;
}

static void
hex_digest(const char *name, size_t name_len, const char *user, size_t user_len,
		   char hex[33])
{
	uint32_t	digest[4];

	fflag_md5_pair(fflag_string_make(name, name_len),
				   fflag_string_make(user, user_len), digest);
	for (int i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned) (digest[i / 4] >> (8 * (i % 4))) & 0xff);
}

/* buckets.tsv: name, user_id, package's bucket, ours; from Python's hashlib */
static void
test_vectors(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[4096];
	int			vectors = 0;
	int			wrong = 0;

	if (file == NULL || fgets(line, sizeof(line), file) == NULL)
	{
		ok(0, "vectors can be read");
		return;
	}
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *user = strchr(line, '\t');
		char	   *bucket = user ? strchr(user + 1, '\t') : NULL;
		char	   *fine = bucket ? strchr(bucket + 1, '\t') : NULL;
		int			got;

		if (fine == NULL)
		{
			wrong++;
			continue;
		}
		got = bucket_of(line, user - line, user + 1, bucket - user - 1);
		vectors++;
		wrong += got != atoi(fine + 1) || got / 1000 != atoi(bucket + 1);
	}
	fclose(file);
	printf("# %d vectors, %d wrong\n", vectors, wrong);
	ok(vectors == 2864, "all vectors are there");
	ok(wrong == 0, "every vector has the bucket that Python computes");
}

/* RFC 1321, A.5 has no message with a colon, so these come from md5sum */
static void
test_digests(void)
{
	char		hex[33];
	char	   *long_text = malloc(1000000);

	if (long_text == NULL)
		exit(1);
	memset(long_text, 'a', 1000000);

	hex_digest("", 0, "", 0, hex);
	ok(strcmp(hex, "853ae90f0351324bd73ea615e6487517") == 0, "MD5 of \":\"");
	hex_digest("new_checkout", 12, "42", 2, hex);
	ok(strcmp(hex, "fa7b5e0df0915ed99ca2af83d4d6204a") == 0, "MD5 of \"new_checkout:42\"");
	hex_digest(long_text, 1000000, long_text, 1000000, hex);
	ok(strcmp(hex, "c15a8288a50cc53d3b1a67bf95ee298c") == 0, "MD5 of two million bytes");
	free(long_text);
}

/* One message has one bucket, however name and user divide it. */
static void
test_lengths(void)
{
	char		letters[300];
	int			wrong = 0;

	for (size_t i = 0; i < sizeof(letters); i++)
		letters[i] = (char) (i * 7 + 1);
	for (size_t len = 1; len < sizeof(letters); len++)
	{
		int			first = -1;

		for (size_t colon = 0; colon < len; colon += 1 + len / 20)
		{
			char		message[sizeof(letters)];
			int			got;

			/* "::::" has a colon wherever it is divided */
			memset(message, ':', sizeof(message));
			got = bucket_of(message, colon, message + colon + 1, len - colon - 1);
			if (first < 0)
				first = got;
			wrong += got != first || got < 0 || got >= FFLAG_BUCKETS;
			got = bucket_of(letters, colon, letters + colon, len - colon);
			wrong += got < 0 || got >= FFLAG_BUCKETS;
		}
	}
	ok(wrong == 0, "lengths up to 300 bytes, divided anywhere");
}

/* All widths against the scalar code: batches of any size, of any lengths. */
static void
test_widths(const char *path)
{
	static const char *const widths[] = {"baseline", "avx2", "avx512"};
	enum
	{
		MAX = 40
	};

	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
	{
		char		what[100];
		int			wrong = 0;
		int			compared = 0;

		if (fflag_bucket_use(widths[w]) == NULL)
		{
			printf("ok %d # SKIP the processor has no %s\n", ++test_number, widths[w]);
			continue;
		}
		srand(1);
		for (int round = 0; round < 20000; round++)
		{
			size_t		name_len = rand() % (round % 4 == 0 ? 70 : 20);
			size_t		n = rand() % MAX;
			char	   *name = malloc(name_len + 1);
			fflag_string users[MAX];
			int			buckets[MAX];

			memset(name, 'a' + round % 26, name_len);
			for (size_t i = 0; i < n; i++)
			{
				char	   *user;

				users[i].len = rand() % (rand() % 8 == 0 ? 200 : 40);
				user = malloc(users[i].len + 1);
				for (size_t k = 0; k < users[i].len; k++)
					user[k] = (char) rand();
				users[i].data = realloc(user, users[i].len > 0 ? users[i].len : 1);
			}
			fflag_buckets_of(fflag_string_make(name, name_len), users, n, buckets);
			for (size_t i = 0; i < n; i++)
			{
				wrong += buckets[i] != fflag_bucket_of(fflag_string_make(name, name_len), users[i]);
				compared++;
				free((char *) users[i].data);
			}
			free(name);
		}
		sprintf(what, "%s: the same as one by one, for %d users", fflag_bucket_use(widths[w]), compared);
		ok(wrong == 0, what);
	}
	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
	{
		if (fflag_bucket_use(widths[w]) == NULL)
			continue;
		use_batches = 1;
		printf("# with %s\n", widths[w]);
		test_vectors(path);
		use_batches = 0;
	}
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	test_vectors(argv[1]);
	test_digests();
	test_lengths();
	test_widths(argv[1]);
	printf("1..%d\n", test_number);
	return failures != 0;
}
