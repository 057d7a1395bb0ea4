/*
 * check.c
 *		What a flag may be called, how far and when it may be rolled out, and who
 *		may be on its allowlist.
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

/* What is as invisible at the end of a name: white space, and those two. */
static const char_range unseen_at_ends[] = {
	{0x0020, 0x0020}, {0x00a0, 0x00a0}, {0x1680, 0x1680}, {0x2000, 0x200a},
	{0x200c, 0x200d}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}
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

/* Refuses a name, in UTF-8 too, that looks like another one. */
static void
check_visible(const char *name, fflag_string utf8)
{
	int			position = 0;
	int			len;

	for (size_t i = 0; i < utf8.len; i += len)
	{
		const char *at = utf8.data + i;
		pg_wchar	c = (unsigned char) *at;

		len = 1;
		if (IS_HIGHBIT_SET(*at) && GetDatabaseEncoding() == PG_SQL_ASCII)
			c = 0;				/* nobody knows */
		else if (IS_HIGHBIT_SET(*at))
		{
			len = pg_encoding_mblen(PG_UTF8, at);
			c = utf8_to_unicode((const unsigned char *) at);
		}
		position++;
		if (is_in(c, unseen, lengthof(unseen)) ||
			((i == 0 || i + len == utf8.len) &&
			 is_in(c, unseen_at_ends, lengthof(unseen_at_ends))))
			ereport(ERROR,
					errcode(ERRCODE_CHECK_VIOLATION),
					errmsg("flag name \"%s\" has an invisible character", name),
					errdetail("Character %d is U+%04X.", position, c),
					errhint("Give the flag a name without white space at its ends, and without control characters."));
	}
}

/*
 * Refuses what cannot be a flag's name; NULL too.  In the database's encoding.
 */
void
fflag_check_name(const char *name)
{
	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("flag name must not be null"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (name[0] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag name \"\" is empty"),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));
	if (pg_mbstrlen(name) > FFLAG_NAME_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("flag name \"%s\" is too long", name),
				errdetail("It has %d characters.", pg_mbstrlen(name)),
				errhint("Give the flag a name of 1 to %d characters.",
						FFLAG_NAME_LENGTH));

	/* this also refuses a name that cannot be converted to UTF-8 and hashed */
	check_visible(name, fflag_to_utf8(fflag_string_make(name, strlen(name))));
}

/*
 * Refuses to put a user id of so many bytes on an allowlist if it might not fit
 * into the index.  For the error, name is that of the flag; NULL if the caller
 * knows only its id.
 */
void
fflag_check_user_id(size_t len, const char *name, const char *id)
{
	if (len > FFLAG_USER_ID_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				name != NULL ?
				errmsg("user id is too long for the allowlist of flag \"%s\"", name) :
				errmsg("user id is too long for the allowlist of the flag with id %s", id),
				errdetail("It has %zu bytes.", len),
				errhint("Put user ids of at most %d bytes on allowlists.",
						FFLAG_USER_ID_LENGTH));
}

/*
 * A percentage, a numeric from 0 to 100, in exact thousandths.  Throws if it
 * cannot be represented, whether it is about to be written or is in the table
 * already.  The names of the column and of the flag are for the error.
 */
int
fflag_check_percentage(Datum percentage, const char *column, const char *flag)
{
	Numeric		value = DatumGetNumeric(percentage);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	Datum		full = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS));
	Datum		scale = NumericGetDatum(int64_to_numeric(FFLAG_BUCKETS / 100));
	Datum		scaled;

	/* NaN sorts above all numbers */
	scaled = numeric_is_inf(value) ? percentage :
		DirectFunctionCall2(numeric_mul, percentage, scale);
	if (!DatumGetBool(DirectFunctionCall2(numeric_ge, scaled, zero)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_le, scaled, full)) ||
		!DatumGetBool(DirectFunctionCall2(numeric_eq, scaled,
										  DirectFunctionCall2(numeric_trunc, scaled,
															  Int32GetDatum(0)))))
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("invalid %s %s for flag \"%s\"", column,
					   DatumGetCString(DirectFunctionCall1(numeric_out, percentage)),
					   flag),
				errhint("A percentage is a number from 0 to 100 with at most three decimals."));
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, scaled));
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
