/*
 * control.c
 *		The SQL functions that change flags; those for lists and variants are in
 *		targeting.c, those for relations in relate.c.
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
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "check.h"
#include "compat.h"
#include "control.h"
#include "extension.h"
#include "relation.h"
#include "snapshot.h"
#include "spi.h"
#include "unknown.h"

#define MAX_ARGS 5

/* Flags that are kept in attached tables are not ours to change. */
void
fflag_check_not_attached(Oid schema)
{
	fflag_source source = fflag_locate(schema, fflag_active_snapshot());
	Oid			flags = source.tables[FFLAG_FLAGS].named_relid;

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
 * first one, a bigint.  Throws if flags are read from attached tables.
 */
uint64
fflag_run_on_table(FunctionCallInfo fcinfo, const char *command, const char *table,
				   int nargs, Oid *types, Datum *values, Datum *result)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	char	   *sql = psprintf(command, fflag_table_in_sql(schema, table));
	uint64		processed;

	fflag_check_not_attached(schema);
	SPI_connect();
	processed = fflag_run(sql, nargs, types, values);
	if (result != NULL && processed > 0)
	{
		bool		isnull;

		/* a bigint, unless the owner has changed its table */
		if (SPI_gettypeid(SPI_tuptable->tupdesc, 1) != INT8OID)
			ereport(ERROR,
					errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column \"%s\" of table \"%s\" must be of type bigint",
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

/* The flag's name, argument 0, which has to be one that a flag may have. */
char *
fflag_name_argument(FunctionCallInfo fcinfo)
{
	char	   *name = NULL;

	if (!PG_ARGISNULL(0))
		name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	fflag_check_name(name);
	return name;
}

/* Refuses a null argument.  "what" names it in the error. */
void
fflag_check_not_null(bool isnull, const char *what, const char *name)
{
	if (isnull)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s of flag \"%s\" must not be null", what, name),
				errhint("Give a value."));
}

#define SELECT_ID "SELECT id FROM %s WHERE name OPERATOR(pg_catalog.=) $1"

/* The id of a flag, by a command; an error if there is none of this name. */
static Datum
get_id(FunctionCallInfo fcinfo, Datum name, const char *command)
{
	Oid			types[] = {TEXTOID};
	Datum		id;

	if (fflag_run_on_table(fcinfo, command, FFLAG_FLAGS_TABLE, 1, types, &name, &id) == 0)
		complain_unknown(TextDatumGetCString(name));
	return id;
}

/* The id of the flag of this name; an error if there is none. */
Datum
fflag_get_id(FunctionCallInfo fcinfo, Datum name)
{
	return get_id(fcinfo, name, SELECT_ID);
}

/*
 * The same; nobody else deletes the flag until the transaction ends, or gives it
 * another id.  Where the caller has no privilege to lock it, a foreign key may find it
 * gone.
 */
Datum
fflag_lock_id(FunctionCallInfo fcinfo, Datum name)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	bool		may_lock = pg_class_aclcheck(get_relname_relid(FFLAG_FLAGS_TABLE, schema),
											 GetUserId(), ACL_UPDATE) == ACLCHECK_OK;

	return get_id(fcinfo, name, may_lock ? SELECT_ID " FOR KEY SHARE" : SELECT_ID);
}

/*
 * Updates the flag of argument 0, if it is there and the command's other conditions
 * hold.  $1 of the command, the first of nargs values, is its name, which this
 * function fills in.
 */
static bool
update_flag_if(FunctionCallInfo fcinfo, const char *command, int nargs, Oid *types,
			   Datum *values)
{
	(void) fflag_name_argument(fcinfo);
	types[0] = TEXTOID;
	values[0] = PG_GETARG_DATUM(0);
	return fflag_run_on_table(fcinfo, command, FFLAG_FLAGS_TABLE, nargs, types, values,
							  NULL) > 0;
}

/* The same, where the flag's name is the only condition. */
static void
update_flag(FunctionCallInfo fcinfo, const char *command, int nargs, Oid *types,
			Datum *values)
{
	if (!update_flag_if(fcinfo, command, nargs, types, values))
		complain_unknown(fflag_name_argument(fcinfo));
}

/*
 * Gives the flag of argument 0 another name, and a seed so that no user moves.  Of a
 * name that is taken, the index knows first: another session may be creating it.
 */
static void
set_name(FunctionCallInfo fcinfo, const char *new_name)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {InvalidOid, TEXTOID};
	Datum		values[] = {0, PG_GETARG_DATUM(1)};

	PG_TRY();
	{
		update_flag(fcinfo,
					"UPDATE %s SET name = $2, seed = CASE"
					" WHEN coalesce(seed, name) OPERATOR(pg_catalog.<>) $2 THEN coalesce(seed, name) END"
					" WHERE name OPERATOR(pg_catalog.=) $1",
					2, types, values);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* the owner may have other constraints */
		if (error->constraint_name == NULL ||
			strcmp(error->constraint_name, "feature_flag_name_key") != 0)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				errcode(ERRCODE_UNIQUE_VIOLATION),
				errmsg("flag \"%s\" already exists", new_name),
				errhint("Give another name, or rename or delete that flag first."));
	}
	PG_END_TRY();
}

/* fflag_rename(name, new_name) returns void */
PG_FUNCTION_INFO_V1(fflag_rename);

Datum
fflag_rename(PG_FUNCTION_ARGS)
{
	char	   *new_name = NULL;

	fflag_name_argument(fcinfo);
	if (!PG_ARGISNULL(1))
		new_name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	fflag_check_name(new_name);
	PreventCommandDuringRecovery("fflag_rename()");
	fflag_lock_relations();
	set_name(fcinfo, new_name);
	PG_RETURN_VOID();
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

/* fflag_rollout(name, percentage) returns void */
PG_FUNCTION_INFO_V1(fflag_rollout);

Datum
fflag_rollout(PG_FUNCTION_ARGS)
{
	char	   *name = fflag_name_argument(fcinfo);
	Oid			types[] = {InvalidOid, NUMERICOID};
	Datum		values[] = {0, PG_GETARG_DATUM(1)};

	fflag_check_not_null(PG_ARGISNULL(1), "rollout_percentage", name);
	fflag_check_percentage(PG_GETARG_DATUM(1), "rollout_percentage", name);
	update_flag(fcinfo,
				"UPDATE %s SET rollout_percentage = $2, " NO_RAMP
				" WHERE name OPERATOR(pg_catalog.=) $1",
				2, types, values);
	PG_RETURN_VOID();
}

/*
 * If the flag of argument 0 has a start that is to come, returns it as a text, and
 * in *held what else holds the flag back, NULL if nothing does; locks the row.
 * Otherwise the result is NULL.
 */
static char *
get_start_to_come(FunctionCallInfo fcinfo, char **held)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {
		PG_GETARG_DATUM(0),
		TimestampTzGetDatum(GetCurrentStatementStartTimestamp())
	};
	MemoryContext caller = CurrentMemoryContext;
	char	   *start = NULL;

	fflag_check_not_attached(schema);
	SPI_connect();
	if (fflag_run(psprintf("SELECT starts_at, CASE WHEN staff_only THEN 'for staff only'"
						   " WHEN NOT enabled THEN 'disabled' END FROM %s"
						   " WHERE name OPERATOR(pg_catalog.=) $1"
						   " AND starts_at OPERATOR(pg_catalog.>) $2 FOR NO KEY UPDATE",
						   fflag_table_in_sql(schema, FFLAG_FLAGS_TABLE)),
				  2, types, values) > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		*held = SPI_getvalue(tuple, desc, 2);
		if (*held != NULL)
			*held = MemoryContextStrdup(caller, *held);
		start = MemoryContextStrdup(caller, SPI_getvalue(tuple, desc, 1));
	}
	SPI_finish();
	return start;
}

/* fflag_schedule(name, starts_at, ends_at) returns void */
PG_FUNCTION_INFO_V1(fflag_schedule);

Datum
fflag_schedule(PG_FUNCTION_ARGS)
{
	Oid			types[] = {InvalidOid, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {0, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	char	   *name = fflag_name_argument(fcinfo);
	char	   *start = NULL;
	char	   *held = NULL;

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
		fflag_check_schedule(DatumGetTimestampTz(values[1]),
							 DatumGetTimestampTz(values[2]), name);
	if (PG_ARGISNULL(1))
		start = get_start_to_come(fcinfo, &held);
	update_flag(fcinfo,
				psprintf("UPDATE %%s SET starts_at = %s, ends_at = %s"
						 " WHERE name OPERATOR(pg_catalog.=) $1",
						 PG_ARGISNULL(1) ? "NULL" : "$2",
						 PG_ARGISNULL(2) ? "NULL" : "$3"),
				3, types, values);
	if (start != NULL)
	{
		if (held == NULL && !PG_ARGISNULL(2) &&
			DatumGetTimestampTz(values[2]) <= GetCurrentStatementStartTimestamp())
			held = "over";
		ereport(NOTICE,
				errmsg("flag \"%s\" no longer starts at %s", name, start),
				errdetail("It is %s.", held == NULL ? "on now" : held),
				errhint("To change the end alone, repeat the start."));
	}
	PG_RETURN_VOID();
}

/* From ramp_starts_at to this moment, in seconds.  An interval may overflow. */
#define SECONDS_TO(moment) \
	"(EXTRACT(epoch FROM " moment ") OPERATOR(pg_catalog.-) EXTRACT(epoch FROM ramp_starts_at))"

/*
 * The percentage at moment $2, as the rules have it, with as many decimals as it
 * needs: rounded down by div(), which is exact, and not negative.
 */
#define PERCENTAGE_AT \
	"CASE WHEN ramp_to IS NULL OR $2 OPERATOR(pg_catalog.<) ramp_starts_at" \
	" THEN rollout_percentage" \
	" WHEN $2 OPERATOR(pg_catalog.>=) ramp_ends_at THEN ramp_to" \
	" ELSE pg_catalog.trim_scale(0.001::pg_catalog.numeric OPERATOR(pg_catalog.*)" \
	" pg_catalog.div(1000::pg_catalog.numeric OPERATOR(pg_catalog.*)" \
	" ((rollout_percentage OPERATOR(pg_catalog.*) " SECONDS_TO("ramp_ends_at") ")" \
	" OPERATOR(pg_catalog.+) ((ramp_to OPERATOR(pg_catalog.-) rollout_percentage)" \
	" OPERATOR(pg_catalog.*) " SECONDS_TO("$2") ")), " SECONDS_TO("ramp_ends_at") ")) END"

/* When a ramp ends; an error that names the flag, where there is no such moment. */
static Datum
end_of_ramp(Datum starts_at, Datum duration, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum ends_at = 0;

	PG_TRY();
	{
		ends_at = DirectFunctionCall2(timestamptz_pl_interval, starts_at, duration);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATETIME_VALUE_OUT_OF_RANGE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("end of the ramp of flag \"%s\" is out of range", name),
				errhint("Give a shorter duration."));
	}
	PG_END_TRY();
	return ends_at;
}

/*
 * A ramp to where the flag is already is a mistake: whoever registers a flag, which
 * has 100% by default, and lets it ramp to 100%, would give it to everybody at once.
 */
static void
complain_of_level_ramp(Datum percentage, const char *name)
{
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("ramp of flag \"%s\" would begin at %s%%, where it ends", name,
				   DatumGetCString(DirectFunctionCall1(numeric_out, percentage))),
			errhint("Call fflag_rollout() before, with the percentage at which it is to begin."));
}

/* fflag_ramp(name, percentage, duration, starting) returns void */
PG_FUNCTION_INFO_V1(fflag_ramp);

Datum
fflag_ramp(PG_FUNCTION_ARGS)
{
	char	   *name = fflag_name_argument(fcinfo);
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
	fflag_check_not_null(PG_ARGISNULL(2), "duration of the ramp", name);
	fflag_check_not_null(PG_ARGISNULL(3), "start of the ramp", name);
	values[3] = end_of_ramp(PG_GETARG_DATUM(3), PG_GETARG_DATUM(2), name);
	fflag_check_ramp(DatumGetTimestampTz(values[1]), DatumGetTimestampTz(values[3]),
					 name);
	if (!update_flag_if(fcinfo,
						"UPDATE %s SET rollout_percentage = " PERCENTAGE_AT ","
						" ramp_to = $3, ramp_starts_at = $2,"
						" ramp_ends_at = $4"
						" WHERE name OPERATOR(pg_catalog.=) $1"
						" AND (" PERCENTAGE_AT ") OPERATOR(pg_catalog.<>) $3",
						4, types, values))
	{
		(void) fflag_get_id(fcinfo, PG_GETARG_DATUM(0));	/* or it is unknown */
		complain_of_level_ramp(PG_GETARG_DATUM(1), name);
	}
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
		fflag_check_not_null(PG_ARGISNULL(i), columns[i], name);
		values[i] = PG_GETARG_DATUM(i);
	}
	fflag_check_percentage(values[2], columns[2], name);

	return fflag_run_on_table(fcinfo,
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
	char	   *name = fflag_name_argument(fcinfo);

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

/*
 * fflag_register(names text[], enabled, rollout_percentage, staff_only, description)
 * returns setof (name, created)
 */
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
	MemoryContext context = CurrentMemoryContext;
	MemoryContext of_one;		/* what registering one name leaves */

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
	of_one = AllocSetContextCreate(context, "fflag_register", ALLOCSET_SMALL_SIZES);
	for (int i = 0; i < count; i++)
	{
		MemoryContextSwitchTo(of_one);
		created[order[i].position] =
			register_flag(fcinfo, names[order[i].position], order[i].name);
		MemoryContextSwitchTo(context);
		MemoryContextReset(of_one);
	}
	MemoryContextDelete(of_one);

	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {names[i], BoolGetDatum(created[i])};
		bool		nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
