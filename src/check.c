/*
 * check.c
 *		What a flag may be called, and how far it may be rolled out.
 *
 * Who changes flags asks first, to report a mistake with the flag's name; who
 * reads them asks again, for the tables' owners may drop constraints.
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

	/* a name that cannot be hashed must not get into the table */
	(void) fflag_to_utf8(fflag_string_make(name, strlen(name)));
}

/*
 * A percentage, a numeric from 0 to 100, in thousandths, exactly: what cannot be
 * represented is refused, whether somebody is about to write it or it has slipped
 * into the table.  The flag's name is for the error.
 */
int
fflag_check_percentage(Datum percentage, const char *flag)
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
				errmsg("invalid rollout_percentage %s for flag \"%s\"",
					   DatumGetCString(DirectFunctionCall1(numeric_out, percentage)),
					   flag),
				errhint("A rollout_percentage is a number from 0 to 100 with at most three decimals."));
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, scaled));
}
