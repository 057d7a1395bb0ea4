/*
 * targeting.c
 *		The SQL functions that say which users a flag is for, and divide them: its
 *		allowlist, its denylist, its variants.
 *
 * They run plain SQL as the caller does, see control.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "check.h"
#include "compat.h"
#include "control.h"
#include "extension.h"
#include "id.h"

#define VARIANTS_HINT \
	"Give names and weights, as in '{\"red\": 1, \"blue\": {\"weight\": 2, \"payload\": \"#00f\"}}'."

/* for fflag_variants() */
#define JSON_NULL "'null'::pg_catalog.jsonb"
#define ARRAYS \
	"ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS w (name, weight, payload)"

static bool
is_blank(fflag_string id)
{
	for (size_t i = 0; i < id.len; i++)
	{
		if (strchr(" \t\n\v\f\r", id.data[i]) == NULL)
			return false;
	}
	return true;
}

/*
 * Refuses users who cannot be on a list of the flag; other ids are short.  Tells of
 * ids that are hardly meant: an array in quotes without VARIADIC is one id, and
 * an empty line of a file is one, too.
 */
static void
check_user_ids(ArrayType *users, const char *list, const char *name)
{
	Datum	   *ids;
	int			count;
	int			blank = 0;
	int			braces = 0;

	if (ARR_ELEMTYPE(users) != TEXTOID)
		return;
	deconstruct_array(users, TEXTOID, -1, false, TYPALIGN_INT, &ids, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		fflag_string id = fflag_string_of_text(DatumGetTextPP(ids[i]));

		fflag_check_user_id(id.len, list, name, NULL);
		blank += is_blank(id);
		braces += id.len >= 2 && id.data[0] == '{' && id.data[id.len - 1] == '}';
	}
	if (braces > 0)
		ereport(NOTICE,
				errmsg_plural("%d user id for the %s of flag \"%s\" looks like an array",
							  "%d user ids for the %s of flag \"%s\" look like arrays",
							  braces, braces, list, name),
				errdetail("Each is the id of one user, braces included."),
				errhint("To list the users in an array, write VARIADIC before it, and cast it to text[]."));
	if (blank > 0)
		ereport(NOTICE,
				errmsg_plural("%d user id for the %s of flag \"%s\" is empty or white space",
							  "%d user ids for the %s of flag \"%s\" are empty or white space",
							  blank, blank, list, name),
				errdetail("An id is whatever is given, also an empty text."),
				errhint("Leave blank lines of a file out."));
}

/*
 * Runs a command on a list of the flag of argument 0: $1 is the flag's id, $2 the
 * array of user ids of argument 1, of whichever overload.
 *
 * Two sessions with the same users could deadlock, unless both touch rows in
 * the same order.  INSERT sorts them.  DELETE finds rows in the order of the
 * index or of the table, as the plan has it.  So the rows are locked in order
 * first, which takes the UPDATE privilege.  A caller without it may see a
 * deadlock now and then.
 */
static Datum
edit_list(FunctionCallInfo fcinfo, const char *table, bool adding)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	bool		allows = strcmp(table, FFLAG_USERS_TABLE) == 0;
	char	   *name = fflag_name_argument(fcinfo);
	ArrayType  *users;
	Oid			types[2] = {INT8OID};
	Datum		values[2];

	fflag_check_not_null(PG_ARGISNULL(1), "list of user ids", name);
	users = PG_GETARG_ARRAYTYPE_P(1);
	fflag_check_not_null(array_contains_nulls(users),
						 allows ? "listed user id" : "denied user id", name);
	if (adding)
		check_user_ids(users, allows ? "allowlist" : "denylist", name);

	values[0] = fflag_get_id(fcinfo, PG_GETARG_DATUM(0));
	types[1] = get_array_type(ARR_ELEMTYPE(users));
	values[1] = PointerGetDatum(users);
	if (adding)
		PG_RETURN_INT64(fflag_run_on_table(fcinfo,
										   "INSERT INTO %s (flag_id, user_id)"
										   " SELECT $1, u.id"
										   " FROM pg_catalog.unnest($2::pg_catalog.text[]) AS u (id)"
										   " ORDER BY u.id COLLATE pg_catalog.\"C\""
										   " ON CONFLICT DO NOTHING",
										   table, 2, types, values, NULL));
	if (pg_class_aclcheck(get_relname_relid(table, schema), GetUserId(),
						  ACL_UPDATE) == ACLCHECK_OK)
		fflag_run_on_table(fcinfo,
						   "SELECT FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
						   " AND user_id OPERATOR(pg_catalog.=)"
						   " ANY ($2::pg_catalog.text[])"
						   " ORDER BY user_id COLLATE pg_catalog.\"C\" FOR UPDATE",
						   table, 2, types, values, NULL);
	PG_RETURN_INT64(fflag_run_on_table(fcinfo,
									   "DELETE FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
									   " AND user_id OPERATOR(pg_catalog.=)"
									   " ANY ($2::pg_catalog.text[])",
									   table, 2, types, values, NULL));
}

/* fflag_allow(name, VARIADIC user_ids) returns bigint */
PG_FUNCTION_INFO_V1(fflag_allow);

Datum
fflag_allow(PG_FUNCTION_ARGS)
{
	return edit_list(fcinfo, FFLAG_USERS_TABLE, true);
}

/* fflag_disallow(name, VARIADIC user_ids) returns bigint */
PG_FUNCTION_INFO_V1(fflag_disallow);

Datum
fflag_disallow(PG_FUNCTION_ARGS)
{
	return edit_list(fcinfo, FFLAG_USERS_TABLE, false);
}

/* fflag_deny(name, VARIADIC user_ids) returns bigint */
PG_FUNCTION_INFO_V1(fflag_deny);

Datum
fflag_deny(PG_FUNCTION_ARGS)
{
	return edit_list(fcinfo, FFLAG_DENIED_TABLE, true);
}

/* fflag_undeny(name, VARIADIC user_ids) returns bigint */
PG_FUNCTION_INFO_V1(fflag_undeny);

Datum
fflag_undeny(PG_FUNCTION_ARGS)
{
	return edit_list(fcinfo, FFLAG_DENIED_TABLE, false);
}

/*
 * fflag_group(name, VARIADIC user_ids) returns bigint: a flag that is there for others
 */
PG_FUNCTION_INFO_V1(fflag_group);

Datum
fflag_group(PG_FUNCTION_ARGS)
{
	char	   *name = fflag_name_argument(fcinfo);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0)};

	if (fflag_run_on_table(fcinfo,
						   "INSERT INTO %s (name, enabled, rollout_percentage, internal)"
						   " VALUES ($1, true, 0, true) ON CONFLICT (name) DO NOTHING",
						   FFLAG_FLAGS_TABLE, 1, types, values, NULL) == 0 &&
		fflag_run_on_table(fcinfo,
						   "SELECT id FROM %s WHERE name OPERATOR(pg_catalog.=) $1 AND NOT internal",
						   FFLAG_FLAGS_TABLE, 1, types, values, NULL) > 0)
		ereport(ERROR,
				errcode(ERRCODE_DUPLICATE_OBJECT),
				errmsg("flag \"%s\" is not a group", name),
				errdetail("Its column \"internal\" is false."),
				errhint("fflag_allow() puts users on its allowlist; other flags can refer to any flag."));
	return edit_list(fcinfo, FFLAG_USERS_TABLE, true);
}

/* What fflag_variants() was given, in arrays with an element for each variant. */
typedef struct variant_arrays
{
	ArrayBuildState *names;
	ArrayBuildState *weights;	/* null: not given */
	ArrayBuildState *payloads;	/* the same; the null of JSON takes it away */
} variant_arrays;

static Datum
parse_weight(const JsonbValue *v, const char *variant, const char *flag)
{
	if (v->type != jbvNumeric)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("weight of variant \"%s\" of flag \"%s\" must be a number",
					   variant, flag),
				errhint(VARIANTS_HINT));
	fflag_check_weight(NumericGetDatum(v->val.numeric), variant, flag, NULL);
	return NumericGetDatum(v->val.numeric);
}

/* Takes a variant apart: a weight, or {"weight": weight, "payload": payload}. */
static void
parse_variant(const JsonbValue *value, const char *variant, const char *flag,
			  NullableDatum *weight, NullableDatum *payload)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	*weight = *payload = (NullableDatum)
	{
		.isnull = true
	};
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
	{
		if (value->type != jbvNumeric)
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("variant \"%s\" of flag \"%s\" must be a number or a JSON object",
						   variant, flag),
					errhint(VARIANTS_HINT));
		weight->value = parse_weight(value, variant, flag);
		weight->isnull = false;
		return;
	}

	it = JsonbIteratorInit(value->val.binary.data);
	token = JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		char	   *key = pnstrdup(v.val.string.val, v.val.string.len);

		(void) JsonbIteratorNext(&it, &v, true);
		if (strcmp(key, "weight") == 0)
		{
			weight->value = parse_weight(&v, variant, flag);
			weight->isnull = false;
		}
		else if (strcmp(key, "payload") == 0)
		{
			payload->value = JsonbPGetDatum(JsonbValueToJsonb(&v));
			payload->isnull = false;
		}
		else
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("variant \"%s\" of flag \"%s\" has an unknown key \"%s\"",
						   variant, flag, key),
					errhint(VARIANTS_HINT));
	}
}

/* Takes {"name": variant, ...} apart, in the order of the names. */
static variant_arrays
parse_variants(Jsonb *variants, const char *flag)
{
	variant_arrays arrays = {
		initArrayResult(TEXTOID, CurrentMemoryContext, false),
		initArrayResult(NUMERICOID, CurrentMemoryContext, false),
		initArrayResult(JSONBOID, CurrentMemoryContext, false)
	};
	JsonbIterator *it = JsonbIteratorInit(&variants->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	if (!JB_ROOT_IS_OBJECT(variants))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("variants of flag \"%s\" must be a JSON object", flag),
				errhint(VARIANTS_HINT));
	token = JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		char	   *name = pnstrdup(v.val.string.val, v.val.string.len);
		NullableDatum weight;
		NullableDatum payload;

		fflag_check_variant_name(name);
		(void) JsonbIteratorNext(&it, &v, true);
		parse_variant(&v, name, flag, &weight, &payload);
		accumArrayResult(arrays.names, CStringGetTextDatum(name), false, TEXTOID,
						 CurrentMemoryContext);
		accumArrayResult(arrays.weights, weight.value, weight.isnull, NUMERICOID,
						 CurrentMemoryContext);
		accumArrayResult(arrays.payloads, payload.value, payload.isnull, JSONBOID,
						 CurrentMemoryContext);
	}
	return arrays;
}

/*
 * Lets one session after the other replace the variants of a flag: each is to find
 * what the last one has left, and rows in whichever order are no deadlock then.
 * This locks the flag's row, which takes the UPDATE privilege.  A lock of another
 * kind would not, but the server has room for only so many.
 */
static void
lock_flag(FunctionCallInfo fcinfo, Datum flag_id)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	Oid			types[] = {INT8OID};

	if (pg_class_aclcheck(get_relname_relid(FFLAG_FLAGS_TABLE, schema),
						  GetUserId(), ACL_UPDATE) == ACLCHECK_OK)
		fflag_run_on_table(fcinfo,
						   "SELECT FROM %s WHERE id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
						   FFLAG_FLAGS_TABLE, 1, types, &flag_id, NULL);
}

/*
 * fflag_variants(name, variants) returns void
 *
 * What is not given stays as it is, and somebody may change it at the same time.  So
 * UPDATE says what it is to be, which INSERT ... ON CONFLICT could not: there, what is
 * not given has become a default already.
 */
PG_FUNCTION_INFO_V1(fflag_variants);

Datum
fflag_variants(PG_FUNCTION_ARGS)
{
	char	   *name = fflag_name_argument(fcinfo);
	Oid			types[] = {INT8OID, TEXTARRAYOID, NUMERICARRAYOID, JSONBARRAYOID};
	Datum		values[4];
	variant_arrays arrays;

	arrays = parse_variants(PG_ARGISNULL(1) ?
							DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
							PG_GETARG_JSONB_P(1), name);
	values[0] = fflag_get_id(fcinfo, PG_GETARG_DATUM(0));
	values[1] = makeArrayResult(arrays.names, CurrentMemoryContext);
	values[2] = makeArrayResult(arrays.weights, CurrentMemoryContext);
	values[3] = makeArrayResult(arrays.payloads, CurrentMemoryContext);
	lock_flag(fcinfo, values[0]);
	fflag_run_on_table(fcinfo,
					   "DELETE FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
					   " AND name OPERATOR(pg_catalog.<>) ALL ($2)",
					   FFLAG_VARIANTS_TABLE, 2, types, values, NULL);
	fflag_run_on_table(fcinfo,
					   "INSERT INTO %s (flag_id, name, weight, payload)"
					   " SELECT $1, w.name, coalesce(w.weight, 1),"
					   " CASE WHEN w.payload OPERATOR(pg_catalog.<>) " JSON_NULL " THEN w.payload END"
					   " FROM " ARRAYS
					   " ORDER BY w.name COLLATE pg_catalog.\"C\""
					   " ON CONFLICT DO NOTHING",
					   FFLAG_VARIANTS_TABLE, 4, types, values, NULL);
	fflag_run_on_table(fcinfo,
					   "UPDATE %s AS v SET weight = coalesce(w.weight, v.weight), payload = CASE"
					   " WHEN w.payload IS NULL THEN v.payload"
					   " WHEN w.payload OPERATOR(pg_catalog.<>) " JSON_NULL " THEN w.payload END"
					   " FROM " ARRAYS
					   " WHERE v.flag_id OPERATOR(pg_catalog.=) $1 AND v.name OPERATOR(pg_catalog.=) w.name"
					   " AND (v.weight OPERATOR(pg_catalog.<>) w.weight"
					   " OR v.payload OPERATOR(pg_catalog.<>) w.payload"
					   " OR (v.payload IS NULL) OPERATOR(pg_catalog.<>)"
					   " (w.payload OPERATOR(pg_catalog.=) " JSON_NULL "))",
					   FFLAG_VARIANTS_TABLE, 4, types, values, NULL);
	PG_RETURN_VOID();
}
