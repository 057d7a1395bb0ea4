/*
 * check.c
 *		What a flag may be called, how far and when it may be rolled out, who may be on its lists, and which variants it may have.
 *
 * Code that changes flags calls these checks first, to report a mistake with
 * the flag's name.  Code that reads flags calls them again, because the
 * tables' owners may drop constraints.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "bucket.h"
#include "check.h"
#include "id.h"

/* Characters of Unicode, from one to another. */
typedef struct char_range
{
	pg_wchar	first;
	pg_wchar	last;
} char_range;

/*
 * Control characters and others that leave no trace on the screen.  Not among
 * them are U+200C and U+200D, which some scripts and emoji need.
 */
static const char_range unseen[] = {
	{0x0001, 0x001f}, {0x007f, 0x009f}, {0x00ad, 0x00ad}, {0x061c, 0x061c},
	{0x180e, 0x180e}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},
	{0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}
};

/* What is as invisible at the end of a name: those two, and white space. */
static const char_range unseen_at_ends[] = {{0x200c, 0x200d}};
static const char_range white_space[] = {
	{0x0009, 0x000d}, {0x0020, 0x0020}, {0x0085, 0x0085}, {0x00a0, 0x00a0},
	{0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
	{0x205f, 0x205f}, {0x3000, 0x3000}
};

static bool
is_in(pg_wchar c, const char_range *ranges, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

/* A text that check_text() looks at: what it is, of what, and of which flag. */
typedef struct checked_text
{
	const char *of;				/* "flag" or "variant" */
	const char *what;			/* "name" or "seed" */
	const char *text;
	const char *flag;			/* NULL: it says so itself */
} checked_text;

/* What errors call it. */
static char *
describe(const checked_text *t)
{
	return t->flag != NULL ?
		psprintf("%s \"%s\" of flag \"%s\"", t->what, t->text, t->flag) :
		psprintf("%s %s \"%s\"", t->of, t->what, t->text);
}

/* Refuses a text, in UTF-8 too, that looks like another one. */
static void
check_visible(const checked_text *t, fflag_string utf8)
{
	int			position = 0;
	int			len;

	for (size_t i = 0; i < utf8.len; i += len)
	{
		const char *at = utf8.data + i;
		pg_wchar	c = (unsigned char) *at;
		const char *fault = NULL;

		len = 1;
		if (IS_HIGHBIT_SET(*at) && GetDatabaseEncoding() == PG_SQL_ASCII)
			c = 0;				/* nobody knows */
		else if (IS_HIGHBIT_SET(*at))
		{
			len = pg_encoding_mblen(PG_UTF8, at);
			c = utf8_to_unicode((const unsigned char *) at);
		}
		position++;
		if (is_in(c, unseen, lengthof(unseen)))
			fault = "an invisible character";
		if (i == 0 || i + len == utf8.len)
		{
			if (is_in(c, white_space, lengthof(white_space)))
				fault = i == 0 ? "white space at its beginning" : "white space at its end";
			else if (is_in(c, unseen_at_ends, lengthof(unseen_at_ends)))
				fault = "an invisible character";
		}
		if (fault != NULL)
			ereport(ERROR,
					errcode(ERRCODE_CHECK_VIOLATION),
					errmsg("%s has %s", describe(t), fault),
					errdetail("Character %d is U+%04X.", position, c),
					errhint("Give the %s a %s without white space at its ends, and without control characters.",
							t->of, t->what));
	}
}

/* Refuses what cannot be the name of a flag or variant, or a seed. */
static void
check_text(const checked_text *t)
{
	if (t->text == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s %s must not be null", t->of, t->what),
				errhint("Give the %s a %s of 1 to %d characters.",
						t->of, t->what, FFLAG_NAME_LENGTH));
	if (t->text[0] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("%s is empty", describe(t)),
				errhint("Give the %s a %s of 1 to %d characters.",
						t->of, t->what, FFLAG_NAME_LENGTH));
	if (pg_mbstrlen(t->text) > FFLAG_NAME_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("%s is too long", describe(t)),
				errdetail("It has %d characters.", pg_mbstrlen(t->text)),
				errhint("Give the %s a %s of 1 to %d characters.",
						t->of, t->what, FFLAG_NAME_LENGTH));

	/* this also refuses a text that cannot be converted to UTF-8 and hashed */
	check_visible(t, fflag_to_utf8(fflag_string_make(t->text, strlen(t->text))));
}

/*
 * Refuses what cannot be a flag's name; NULL too.  In the database's encoding.
 */
void
fflag_check_name(const char *name)
{
	checked_text t = {"flag", "name", name, NULL};

	check_text(&t);
}

/* Refuses what cannot be a flag's seed, as fflag_check_name(). */
void
fflag_check_seed(const char *seed, const char *flag)
{
	checked_text t = {"flag", "seed", seed, flag};

	check_text(&t);
}

/* Refuses what cannot be a variant's name, as fflag_check_name(). */
void
fflag_check_variant_name(const char *name)
{
	checked_text t = {"variant", "name", name, NULL};

	check_text(&t);
}

/*
 * Refuses to put a user id of so many bytes on a list if it might not fit into the
 * index.  For the error: list is "allowlist" or "denylist", and name that of the
 * flag; NULL if the caller knows only its id.
 */
void
fflag_check_user_id(size_t len, const char *list, const char *name, const char *id)
{
	if (len > FFLAG_USER_ID_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				name != NULL ?
				errmsg("user id is too long for the %s of flag \"%s\"", list, name) :
				errmsg("user id is too long for the %s of the flag with id %s", list, id),
				errdetail("It has %zu bytes.", len),
				errhint("Put user ids of at most %d bytes on %ss.",
						FFLAG_USER_ID_LENGTH, list));
}

/*
 * A number from low to high in so many parts of one, if it has no more decimals
 * than that; -1 if it is not such a number.
 */
static int64
to_parts(Datum number, int64 low, int64 high, int64 parts)
{
	Datum		scaled;

	/*
	 * first, because what is very large cannot be scaled; NaN sorts above all
	 * numbers
	 */
	if (!DatumGetBool(DirectFunctionCall2(numeric_ge, number,
										  NumericGetDatum(int64_to_numeric(low)))) ||
		!DatumGetBool(DirectFunctionCall2(numeric_le, number,
										  NumericGetDatum(int64_to_numeric(high)))))
		return -1;
	scaled = DirectFunctionCall2(numeric_mul, number,
								 NumericGetDatum(int64_to_numeric(parts)));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, scaled,
										  DirectFunctionCall2(numeric_trunc, scaled,
															  Int32GetDatum(0)))))
		return -1;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, scaled));
}

static char *
number_to_text(Datum number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, number));
}

/*
 * A percentage, a numeric from 0 to 100, in exact thousandths.  Throws if it
 * cannot be represented, whether it is about to be written or is in the table
 * already.  The names of the column and of the flag are for the error.
 */
int
fflag_check_percentage(Datum percentage, const char *column, const char *flag)
{
	int64		parts = to_parts(percentage, 0, 100, FFLAG_BUCKETS / 100);

	if (parts < 0)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("invalid %s %s for flag \"%s\"", column,
					   number_to_text(percentage), flag),
				errhint("A percentage is a number from 0 to 100 with at most three decimals."));
	return parts;
}

/*
 * A variant's weight, a numeric, in exact millionths.  Throws as above.  For the
 * error, name is that of the flag; NULL if the caller knows only its id.
 */
int64
fflag_check_weight(Datum weight, const char *variant, const char *name, const char *id)
{
	int64		parts = to_parts(weight, 0, FFLAG_MOST_WEIGHT, FFLAG_WEIGHT_PARTS);

	if (parts < 0)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				name != NULL ?
				errmsg("invalid weight %s for variant \"%s\" of flag \"%s\"",
					   number_to_text(weight), variant, name) :
				errmsg("invalid weight %s for variant \"%s\" of the flag with id %s",
					   number_to_text(weight), variant, id),
				errhint("A weight is a number from 0 to %d with at most six decimals.",
						FFLAG_MOST_WEIGHT));
	return parts;
}

/* Refuses a flag that would not start before it ends. */
void
fflag_check_schedule(TimestampTz starts_at, TimestampTz ends_at, const char *flag)
{
	if (starts_at >= ends_at)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" would end before it starts", flag),
				errhint("Let ends_at be later than starts_at."));
}

/* Refuses a ramp of which only some of the three columns are set. */
void
fflag_check_ramp_complete(int set, const char *flag)
{
	if (set != 0 && set != 3)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("ramp of flag \"%s\" is incomplete", flag),
				errhint("Set ramp_to, ramp_starts_at and ramp_ends_at, or none of them; fflag_ramp() does so."));
}

/* Refuses a ramp that takes no time, or has no beginning or no end. */
void
fflag_check_ramp(TimestampTz starts_at, TimestampTz ends_at, const char *flag)
{
	if (starts_at >= ends_at || TIMESTAMP_NOT_FINITE(starts_at) ||
		TIMESTAMP_NOT_FINITE(ends_at))
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("ramp of flag \"%s\" does not end after it starts", flag),
				errhint("Let ramp_ends_at be later than ramp_starts_at, and both finite."));
}
