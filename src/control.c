/*
 * control.c
 *		The SQL functions that change flags.
 *
 * They run plain SQL on the tables as the caller: a caller without a privilege
 * on the tables gets the server's error.  They are written in C, because SQL
 * in the body of a function would lose the tables when their schema is
 * renamed.  Operators and types are qualified, so that the caller's
 * search_path does not matter.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "check.h"
#include "compat.h"
#include "history.h"
#include "snapshot.h"
#include "spi.h"
#include "unknown.h"

#define MAX_ARGS 5

/* Flags that are kept in attached tables are not ours to change. */
static void
check_not_attached(Oid schema)
{
	fflag_source source = fflag_locate(schema, fflag_active_snapshot());
	Oid			flags = source.tables[FFLAG_FLAGS].known;

	if (source.attached)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("flags are kept in table %s, which extension \"fflag\" only reads",
					   fflag_relation_name(flags)),
				errhint("Change them there, in SQL or with the application that the table belongs to; fflag_detach() goes back to the extension's own tables."));
}

/*
 * Runs one command, in which %s stands for the table's qualified name.  Returns
 * how many rows it processed; *result, if wanted, gets the first column of the
 * first one, a type passed by value.
 */
static uint64
run_on_table(FunctionCallInfo fcinfo, const char *command, const char *table,
			 int nargs, Oid *types, Datum *values, Datum *result)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	char	   *sql = psprintf(command, fflag_table_in_sql(schema, table));
	uint64		processed;

	check_not_attached(schema);
	SPI_connect();
	processed = fflag_run(sql, nargs, types, values);
	if (result != NULL && processed > 0)
	{
		bool		isnull;

		/* a bigint, unless the owner has changed its table */
		if (SPI_gettypeid(SPI_tuptable->tupdesc, 1) != INT8OID)
			ereport(ERROR,
					errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column \"%s\" of table \"%s\" is no bigint",
						   SPI_fname(SPI_tuptable->tupdesc, 1), table),
					errhint("Extension \"fflag\" needs this type; change it back with ALTER TABLE."));
		*result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								1, &isnull);
	}
	SPI_finish();
	return processed;
}

static void
complain_unknown(const char *name)
{
	fflag_report_unknown(ERROR, fflag_string_make(name, strlen(name)), NULL);
}

static char *
get_name(FunctionCallInfo fcinfo)
{
	char	   *name = NULL;

	if (!PG_ARGISNULL(0))
		name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	fflag_check_name(name);
	return name;
}

/* Refuses a null argument.  "what" names it in the error. */
static void
check_not_null(bool isnull, const char *what, const char *name)
{
	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s of flag \"%s\" must not be null", what, name),
				errhint("Give a value."));
}

/*
 * Updates the flag of argument 0.  $1 of the command, the first of nargs values,
 * is its name, which this function fills in.
 */
static void
update_flag(FunctionCallInfo fcinfo, const char *command, int nargs, Oid *types,
			Datum *values)
{
	char	   *name = get_name(fcinfo);

	types[0] = TEXTOID;
	values[0] = PG_GETARG_DATUM(0);
	if (run_on_table(fcinfo, command, FFLAG_FLAGS_TABLE, nargs, types, values,
					 NULL) == 0)
		complain_unknown(name);
}

static void
set_enabled(FunctionCallInfo fcinfo, bool enabled)
{
	Oid			types[] = {InvalidOid, BOOLOID};
	Datum		values[] = {0, BoolGetDatum(enabled)};

	update_flag(fcinfo,
				"UPDATE %s SET enabled = $2 WHERE name OPERATOR(pg_catalog.=) $1",
				2, types, values);
}

/* fflag_enable(name) returns void */
PG_FUNCTION_INFO_V1(fflag_enable);

Datum
fflag_enable(PG_FUNCTION_ARGS)
{
	set_enabled(fcinfo, true);
	PG_RETURN_VOID();
}

/* fflag_disable(name) returns void */
PG_FUNCTION_INFO_V1(fflag_disable);

Datum
fflag_disable(PG_FUNCTION_ARGS)
{
	set_enabled(fcinfo, false);
	PG_RETURN_VOID();
}

#define NO_RAMP "ramp_to = NULL, ramp_starts_at = NULL, ramp_ends_at = NULL"

/* Does our table have ramps, that is, has the extension been updated to 1.1? */
static bool
has_ramps(FunctionCallInfo fcinfo)
{
	return OidIsValid(fflag_history_function(fflag_extension_schema(fcinfo->flinfo->fn_oid)));
}

/* fflag_rollout(name, percentage) returns void */
PG_FUNCTION_INFO_V1(fflag_rollout);

Datum
fflag_rollout(PG_FUNCTION_ARGS)
{
	char	   *name = get_name(fcinfo);
	Oid			types[] = {InvalidOid, NUMERICOID};
	Datum		values[] = {0, PG_GETARG_DATUM(1)};

	check_not_null(PG_ARGISNULL(1), "rollout_percentage", name);
	fflag_check_percentage(PG_GETARG_DATUM(1), "rollout_percentage", name);
	update_flag(fcinfo,
				has_ramps(fcinfo) ?
				"UPDATE %s SET rollout_percentage = $2, " NO_RAMP
				" WHERE name OPERATOR(pg_catalog.=) $1" :
				"UPDATE %s SET rollout_percentage = $2"
				" WHERE name OPERATOR(pg_catalog.=) $1",
				2, types, values);
	PG_RETURN_VOID();
}

/* fflag_schedule(name, starts_at, ends_at) returns void */
PG_FUNCTION_INFO_V1(fflag_schedule);

Datum
fflag_schedule(PG_FUNCTION_ARGS)
{
	Oid			types[] = {InvalidOid, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {0, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
		fflag_check_schedule(DatumGetTimestampTz(values[1]),
							 DatumGetTimestampTz(values[2]), get_name(fcinfo));
	update_flag(fcinfo,
				psprintf("UPDATE %%s SET starts_at = %s, ends_at = %s"
						 " WHERE name OPERATOR(pg_catalog.=) $1",
						 PG_ARGISNULL(1) ? "NULL" : "$2",
						 PG_ARGISNULL(2) ? "NULL" : "$3"),
				3, types, values);
	PG_RETURN_VOID();
}

/*
 * The percentage at moment $2, as the rules have it (but for the last thousandth,
 * where a quotient of numerics may be rounded up).
 */
#define PERCENTAGE_AT \
	"CASE WHEN ramp_to IS NULL OR $2 OPERATOR(pg_catalog.<) ramp_starts_at" \
	" THEN rollout_percentage" \
	" WHEN $2 OPERATOR(pg_catalog.>=) ramp_ends_at THEN ramp_to" \
	" ELSE pg_catalog.floor(1000::pg_catalog.numeric OPERATOR(pg_catalog.*)" \
	" (rollout_percentage OPERATOR(pg_catalog.+)" \
	" ((ramp_to OPERATOR(pg_catalog.-) rollout_percentage) OPERATOR(pg_catalog.*)" \
	" EXTRACT(epoch FROM $2 OPERATOR(pg_catalog.-) ramp_starts_at) OPERATOR(pg_catalog./)" \
	" EXTRACT(epoch FROM ramp_ends_at OPERATOR(pg_catalog.-) ramp_starts_at))))" \
	" OPERATOR(pg_catalog./) 1000::pg_catalog.numeric END"

/* fflag_ramp(name, percentage, duration, starting) returns void */
PG_FUNCTION_INFO_V1(fflag_ramp);

Datum
fflag_ramp(PG_FUNCTION_ARGS)
{
	char	   *name = get_name(fcinfo);
	Oid			types[] = {InvalidOid, TIMESTAMPTZOID, NUMERICOID, TIMESTAMPTZOID};
	Datum		values[] = {0, PG_GETARG_DATUM(3), PG_GETARG_DATUM(1), 0};

	if (PG_ARGISNULL(1))
	{
		values[1] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
		update_flag(fcinfo,
					"UPDATE %s SET rollout_percentage = " PERCENTAGE_AT ", " NO_RAMP
					" WHERE name OPERATOR(pg_catalog.=) $1",
					2, types, values);
		PG_RETURN_VOID();
	}

	fflag_check_percentage(PG_GETARG_DATUM(1), "ramp_to", name);
	check_not_null(PG_ARGISNULL(2), "duration of the ramp", name);
	check_not_null(PG_ARGISNULL(3), "start of the ramp", name);
	values[3] = DirectFunctionCall2(timestamptz_pl_interval, PG_GETARG_DATUM(3),
									PG_GETARG_DATUM(2));
	fflag_check_ramp(DatumGetTimestampTz(values[1]), DatumGetTimestampTz(values[3]),
					 name);
	update_flag(fcinfo,
				"UPDATE %s SET rollout_percentage = " PERCENTAGE_AT ","
				" ramp_to = $3, ramp_starts_at = $2,"
				" ramp_ends_at = $4"
				" WHERE name OPERATOR(pg_catalog.=) $1",
				4, types, values);
	PG_RETURN_VOID();
}

/*
 * Creates a flag of this name from the arguments 1 to 4 of the function; false
 * if there is one already, which is left alone.
 */
static bool
register_flag(FunctionCallInfo fcinfo, Datum name_datum, const char *name)
{
	static const char *const columns[MAX_ARGS] = {
		"name", "enabled", "rollout_percentage", "staff_only", "description"
	};
	Oid			types[MAX_ARGS] = {
		TEXTOID, BOOLOID, NUMERICOID, BOOLOID, TEXTOID
	};
	Datum		values[MAX_ARGS] = {name_datum};

	for (int i = 1; i < MAX_ARGS; i++)
	{
		check_not_null(PG_ARGISNULL(i), columns[i], name);
		values[i] = PG_GETARG_DATUM(i);
	}
	fflag_check_percentage(values[2], columns[2], name);

	return run_on_table(fcinfo,
						"INSERT INTO %s"
						" (name, enabled, rollout_percentage, staff_only, description)"
						" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
						FFLAG_FLAGS_TABLE, MAX_ARGS, types, values, NULL) > 0;
}

/*
 * fflag_register(name, enabled, rollout_percentage, staff_only, description)
 * returns boolean
 */
PG_FUNCTION_INFO_V1(fflag_register);

Datum
fflag_register(PG_FUNCTION_ARGS)
{
	char	   *name = get_name(fcinfo);

	PG_RETURN_BOOL(register_flag(fcinfo, PG_GETARG_DATUM(0), name));
}

typedef struct name_to_register
{
	char	   *name;
	int			position;		/* in the argument */
} name_to_register;

static int
compare_names(const void *a, const void *b)
{
	const name_to_register *x = a;
	const name_to_register *y = b;
	int			order = strcmp(x->name, y->name);

	return order != 0 ? order : x->position - y->position;
}

/* the same for names text[], returns setof (name, created) */
PG_FUNCTION_INFO_V1(fflag_register_all);

Datum
fflag_register_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum	   *names;
	bool	   *isnull;
	int			count;
	name_to_register *order;
	bool	   *created;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		fflag_check_name(NULL);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &isnull, &count);
	order = palloc(sizeof(*order) * count);
	created = palloc(sizeof(*created) * count);
	for (int i = 0; i < count; i++)
	{
		order[i].name = isnull[i] ? NULL : TextDatumGetCString(names[i]);
		order[i].position = i;
		fflag_check_name(order[i].name);
	}

	/*
	 * Registering a name waits for any transaction that has registered it and
	 * not committed yet.  Sort the names, so that no two sessions wait for
	 * each other.
	 */
	qsort(order, count, sizeof(*order), compare_names);
	for (int i = 0; i < count; i++)
		created[order[i].position] =
			register_flag(fcinfo, names[order[i].position], order[i].name);

	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {names[i], BoolGetDatum(created[i])};
		bool		nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Refuses users who cannot be on a list of the flag; other ids are short. */
static void
check_user_ids(ArrayType *users, const char *list, const char *name)
{
	Datum	   *ids;
	int			count;

	if (ARR_ELEMTYPE(users) != TEXTOID)
		return;
	deconstruct_array(users, TEXTOID, -1, false, TYPALIGN_INT, &ids, NULL, &count);
	for (int i = 0; i < count; i++)
		fflag_check_user_id(VARSIZE_ANY_EXHDR(DatumGetPointer(ids[i])), list, name, NULL);
}

/* The id of a flag; an error if there is none of this name. */
static Datum
get_flag_id(FunctionCallInfo fcinfo, Datum name)
{
	Oid			types[] = {TEXTOID};
	Datum		id;

	if (run_on_table(fcinfo,
					 "SELECT id FROM %s WHERE name OPERATOR(pg_catalog.=) $1",
					 FFLAG_FLAGS_TABLE, 1, types, &name, &id) == 0)
		complain_unknown(TextDatumGetCString(name));
	return id;
}

/* fflag_require(name, required) returns void */
PG_FUNCTION_INFO_V1(fflag_require);

Datum
fflag_require(PG_FUNCTION_ARGS)
{
	char	   *name = get_name(fcinfo);
	Oid			types[] = {InvalidOid, INT8OID};
	Datum		values[2];

	if (PG_ARGISNULL(1))
	{
		update_flag(fcinfo,
					"UPDATE %s SET requires = NULL WHERE name OPERATOR(pg_catalog.=) $1",
					1, types, values);
		PG_RETURN_VOID();
	}
	fflag_check_name(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	values[1] = get_flag_id(fcinfo, PG_GETARG_DATUM(1));
	if (DatumGetInt64(get_flag_id(fcinfo, PG_GETARG_DATUM(0))) <= DatumGetInt64(values[1]))
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" cannot require flag \"%s\", which was not created before it",
					   name, text_to_cstring(PG_GETARG_TEXT_PP(1))),
				errdetail("A flag requires one with a smaller id, so that none can come to require itself."),
				errhint("Create the flag that is to require the other one after it."));
	update_flag(fcinfo,
				"UPDATE %s SET requires = $2 WHERE name OPERATOR(pg_catalog.=) $1",
				2, types, values);
	PG_RETURN_VOID();
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
	char	   *name = get_name(fcinfo);
	ArrayType  *users;
	Oid			types[2] = {INT8OID};
	Datum		values[2];

	check_not_null(PG_ARGISNULL(1), "list of user ids", name);
	users = PG_GETARG_ARRAYTYPE_P(1);
	check_not_null(array_contains_nulls(users),
				   allows ? "listed user id" : "denied user id", name);
	if (adding)
		check_user_ids(users, allows ? "allowlist" : "denylist", name);

	values[0] = get_flag_id(fcinfo, PG_GETARG_DATUM(0));
	types[1] = get_array_type(ARR_ELEMTYPE(users));
	values[1] = PointerGetDatum(users);
	if (adding)
		PG_RETURN_INT64(run_on_table(fcinfo,
									 "INSERT INTO %s (flag_id, user_id)"
									 " SELECT $1, u.id"
									 " FROM pg_catalog.unnest($2::pg_catalog.text[]) AS u (id)"
									 " ORDER BY u.id COLLATE pg_catalog.\"C\""
									 " ON CONFLICT DO NOTHING",
									 table, 2, types, values, NULL));
	if (pg_class_aclcheck(get_relname_relid(table, schema), GetUserId(),
						  ACL_UPDATE) == ACLCHECK_OK)
		run_on_table(fcinfo,
					 "SELECT FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
					 " AND user_id OPERATOR(pg_catalog.=)"
					 " ANY ($2::pg_catalog.text[])"
					 " ORDER BY user_id COLLATE pg_catalog.\"C\" FOR UPDATE",
					 table, 2, types, values, NULL);
	PG_RETURN_INT64(run_on_table(fcinfo,
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
 * Takes weights apart: {"name": weight, ...} into two arrays, of text and of
 * numeric, in the order of the names.
 */
static void
parse_weights(Jsonb *weights, const char *flag, Datum *names, Datum *numbers)
{
	ArrayBuildState *name_array = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	ArrayBuildState *number_array = initArrayResult(NUMERICOID, CurrentMemoryContext, false);
	JsonbIterator *it = JsonbIteratorInit(&weights->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	if (!JB_ROOT_IS_OBJECT(weights))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("variants of flag \"%s\" are no JSON object", flag),
				errhint("Give names and weights, as in '{\"red\": 1, \"blue\": 2}'."));
	token = JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		char	   *name = pnstrdup(v.val.string.val, v.val.string.len);

		fflag_check_variant_name(name);
		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvNumeric)
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("weight of variant \"%s\" of flag \"%s\" is no number",
						   name, flag),
					errhint("Give names and weights, as in '{\"red\": 1, \"blue\": 2}'."));
		fflag_check_weight(NumericGetDatum(v.val.numeric), name, flag, NULL);
		accumArrayResult(name_array, CStringGetTextDatum(name), false, TEXTOID,
						 CurrentMemoryContext);
		accumArrayResult(number_array, NumericGetDatum(v.val.numeric), false, NUMERICOID,
						 CurrentMemoryContext);
	}
	*names = makeArrayResult(name_array, CurrentMemoryContext);
	*numbers = makeArrayResult(number_array, CurrentMemoryContext);
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
		run_on_table(fcinfo,
					 "SELECT FROM %s WHERE id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
					 FFLAG_FLAGS_TABLE, 1, types, &flag_id, NULL);
}

/* fflag_variants(name, weights) returns void */
PG_FUNCTION_INFO_V1(fflag_variants);

Datum
fflag_variants(PG_FUNCTION_ARGS)
{
	char	   *name = get_name(fcinfo);
	Oid			types[] = {INT8OID, TEXTARRAYOID, NUMERICARRAYOID};
	Datum		values[3];

	parse_weights(PG_ARGISNULL(1) ?
				  DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
				  PG_GETARG_JSONB_P(1), name, &values[1], &values[2]);
	values[0] = get_flag_id(fcinfo, PG_GETARG_DATUM(0));
	lock_flag(fcinfo, values[0]);
	run_on_table(fcinfo,
				 "DELETE FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
				 " AND name OPERATOR(pg_catalog.<>) ALL ($2)",
				 FFLAG_VARIANTS_TABLE, 2, types, values, NULL);
	run_on_table(fcinfo,
				 "INSERT INTO %s AS v (flag_id, name, weight)"
				 " SELECT $1, w.name, w.weight"
				 " FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS w (name, weight)"
				 " ORDER BY w.name COLLATE pg_catalog.\"C\""
				 " ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight"
				 " WHERE v.weight OPERATOR(pg_catalog.<>) EXCLUDED.weight",
				 FFLAG_VARIANTS_TABLE, 3, types, values, NULL);
	PG_RETURN_VOID();
}
