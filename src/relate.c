/*
 * relate.c
 *		The SQL functions that let one flag depend on another: fflag_require(),
 *		fflag_exclude(), fflag_include(), fflag_unrelate().
 *
 * They run plain SQL as the caller does, see control.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "bucket.h"
#include "catalog.h"
#include "check.h"
#include "compat.h"
#include "control.h"
#include "extension.h"
#include "id.h"
#include "read.h"
#include "relation.h"

/* What relates two flags: the arguments of a call. */
typedef struct related_pair
{
	char	   *name;
	char	   *other;
	Datum		ids[2];			/* of both, bigint */
} related_pair;

/*
 * The flags of arguments 0 and 1, which have to be there.  Nobody else changes
 * relations, or deletes one of the two, until the transaction ends: as far as the
 * caller may lock them.
 */
static related_pair
get_pair(FunctionCallInfo fcinfo)
{
	Oid			schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	related_pair pair = {.name = fflag_name_argument(fcinfo)};
	int			first;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("other flag of flag \"%s\" must not be null", pair.name),
				errhint("Name a flag.  fflag_unrelate() takes a relation to a flag away."));
	pair.other = text_to_cstring(PG_GETARG_TEXT_PP(1));
	fflag_check_name(pair.other);
	if (strcmp(pair.name, pair.other) == 0)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" cannot depend on itself", pair.name),
				errhint("Name another flag."));
	/* before the lock, of which the server says something else there */
	PreventCommandDuringRecovery(psprintf("%s()", get_func_name(fcinfo->flinfo->fn_oid)));
	if (pg_class_aclcheck(get_relname_relid(FFLAG_RELATIONS_TABLE, schema), GetUserId(),
						  ACL_INSERT | ACL_DELETE) == ACLCHECK_OK)
		fflag_lock_relations();
	first = strcmp(pair.name, pair.other) > 0;
	for (int i = 0; i < 2; i++)
		pair.ids[i ^ first] = fflag_lock_id(fcinfo, PG_GETARG_DATUM(i ^ first));
	return pair;
}

/* A flag and its variants, as the caller's next statement sees them. */
typedef struct described_flag
{
	fflag_row	row;
	bool		known;
	List	   *variants;		/* of fflag_string */
} described_flag;

/* A fflag_variant_sink */
static bool
add_variant(const fflag_variant_row *row, void *arg)
{
	described_flag *flag = arg;
	fflag_string *name = palloc_object(fflag_string);

	*name = row->name;
	flag->variants = lappend(flag->variants, name);
	return true;
}

static described_flag
describe_flag(fflag_source *source, Datum id, Snapshot snapshot)
{
	described_flag flag = {.known = false};
	fflag_string text = fflag_id_to_text(INT8OID, id, palloc(FFLAG_ID_ROOM));

	flag.known = fflag_read_flag_by_id(source, text, snapshot, &flag.row);
	fflag_read_variants(source, text, snapshot, add_variant, &flag);
	return flag;
}

/* Refuses a variant that a flag has not: the foreign key's error knows only ids. */
static void
check_variant(const described_flag *flag, const char *name, const char *variant)
{
	fflag_string wanted = fflag_string_make(variant, strlen(variant));
	ListCell   *lc;

	foreach(lc, flag->variants)
	{
		if (fflag_string_equal(*(fflag_string *) lfirst(lc), wanted))
			return;
	}
	ereport(ERROR,
			errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			errmsg("flag \"%s\" has no variant \"%s\"", name, variant),
			errhint("Give it this variant first, with fflag_variants()."));
}

/* Tells of a relation that does nothing, or everything, as flags are now. */
static void
warn_of_effect(const related_pair *pair, const described_flag flags[2],
			   fflag_relation_kind kind, bool any_variant, bool pins)
{
	const fflag_flag *flag = &flags[0].row.flag;
	const fflag_flag *other = &flags[1].row.flag;
	bool		everybody = other->phase == FFLAG_PHASE_ON && !other->staff_only &&
	!other->restricted && other->rollout >= FFLAG_BUCKETS && any_variant;
	const char *effect = NULL;

	if (!flags[0].known || !flags[1].known)
		return;
	if (flag->staff_only)
		ereport(NOTICE,
				errmsg("flag \"%s\" is for staff only: its relations are not looked at", pair->name));
	else if (other->phase == FFLAG_PHASE_DISABLED && !other->staff_only)
		ereport(NOTICE,
				errmsg("flag \"%s\" is disabled: nobody gets it, so that %s", pair->other,
					   kind == FFLAG_REQUIRES ?
					   psprintf("nobody gets flag \"%s\"", pair->name) :
					   psprintf("flag \"%s\" %s nobody", pair->name,
								kind == FFLAG_EXCLUDES ? "excludes" : "includes")),
				errhint("fflag_enable(%s) enables it.", quote_literal_cstr(pair->other)));
	else if (kind == FFLAG_INCLUDES && flag->rollout >= FFLAG_BUCKETS && !pins)
		effect = psprintf("flag \"%s\" is at 100 percent: everybody gets it, whomever it includes", pair->name);
	else if (kind == FFLAG_INCLUDES && everybody)
		effect = psprintf("flag \"%s\" is at 100 percent: flag \"%s\" includes everybody", pair->other, pair->name);
	else if (kind == FFLAG_EXCLUDES && everybody)
		effect = psprintf("flag \"%s\" is at 100 percent: nobody gets flag \"%s\"", pair->other, pair->name);
	if (effect != NULL)
		ereport(NOTICE,
				errmsg("%s", effect),
				errhint("fflag_rollout() sets another percentage."));
}

/* The variants named by a call, an array of text without nulls. */
static ArrayType *
get_variants(FunctionCallInfo fcinfo, int arg, const char *other)
{
	Datum		empty = CStringGetTextDatum("");
	ArrayType  *variants;
	Datum	   *names;
	int			count;

	fflag_check_not_null(PG_ARGISNULL(arg), "list of variants", other);
	variants = PG_GETARG_ARRAYTYPE_P(arg);
	fflag_check_not_null(array_contains_nulls(variants), "variant", other);
	deconstruct_array(variants, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &count);
	for (int i = 0; i < count; i++)
		fflag_check_variant_name(TextDatumGetCString(names[i]));
	/* none: all of them, which is one row without a variant */
	return count > 0 ? variants : construct_array(&empty, 1, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Makes relations from the flag of argument 0 to that of argument 1 what a call says. */
static void
set_relation(FunctionCallInfo fcinfo, fflag_relation_kind kind, int variants_arg)
{
	Oid			types[] = {INT8OID, INT8OID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[5];
	related_pair pair = get_pair(fcinfo);
	fflag_source source = fflag_locate_own(fflag_extension_schema(fcinfo->flinfo->fn_oid));
	char	   *pin = NULL;
	ArrayType  *variants = get_variants(fcinfo, variants_arg, pair.other);
	Datum	   *names;
	int			count;
	described_flag flags[2];
	Snapshot	snapshot;

	if (kind == FFLAG_INCLUDES && !PG_ARGISNULL(2))
		pin = text_to_cstring(PG_GETARG_TEXT_PP(2));

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < 2; i++)
		flags[i] = describe_flag(&source, pair.ids[i], snapshot);
	UnregisterSnapshot(snapshot);
	if (pin != NULL)
		check_variant(&flags[0], pair.name, pin);
	deconstruct_array(variants, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		char	   *name = TextDatumGetCString(names[i]);

		if (name[0] != '\0')
			check_variant(&flags[1], pair.other, name);
	}

	values[0] = pair.ids[0];
	values[1] = pair.ids[1];
	values[2] = PointerGetDatum(variants);
	values[3] = CStringGetTextDatum(fflag_kind_name(kind));
	values[4] = CStringGetTextDatum(pin == NULL ? "" : pin);
	if (fflag_run_on_table(fcinfo,
						   "SELECT id FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
						   " AND other_id OPERATOR(pg_catalog.=) $2"
						   " AND kind OPERATOR(pg_catalog.<>) $4 LIMIT 1",
						   FFLAG_RELATIONS_TABLE, 4, types, values, NULL) > 0)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" has a relation of another kind to flag \"%s\"",
					   pair.name, pair.other),
				errhint("Take it away first: fflag_unrelate(%s, %s).",
						quote_literal_cstr(pair.name), quote_literal_cstr(pair.other)));
	fflag_run_on_table(fcinfo,
					   "DELETE FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
					   " AND other_id OPERATOR(pg_catalog.=) $2"
					   " AND coalesce(other_variant, '') OPERATOR(pg_catalog.<>) ALL ($3)",
					   FFLAG_RELATIONS_TABLE, 3, types, values, NULL);
	fflag_run_on_table(fcinfo,
					   "INSERT INTO %s AS r (flag_id, other_id, kind, other_variant, pin)"
					   " SELECT $1, $2, $4, CASE WHEN v.name OPERATOR(pg_catalog.<>) '' THEN v.name END,"
					   " CASE WHEN $5 OPERATOR(pg_catalog.<>) '' THEN $5 END"
					   " FROM (SELECT DISTINCT u.name COLLATE pg_catalog.\"C\" FROM pg_catalog.unnest($3) AS u (name)) AS v (name)"
					   " ORDER BY v.name"
					   " ON CONFLICT (flag_id, other_id, other_variant) DO UPDATE SET pin = EXCLUDED.pin"
					   " WHERE coalesce(r.pin, '') OPERATOR(pg_catalog.<>) coalesce(EXCLUDED.pin, '')",
					   FFLAG_RELATIONS_TABLE, 5, types, values, NULL);
	warn_of_effect(&pair, flags, kind, count == 1 && VARSIZE_ANY_EXHDR(DatumGetPointer(names[0])) == 0, pin != NULL);
}

/* fflag_require(name, other, VARIADIC variants) returns void */
PG_FUNCTION_INFO_V1(fflag_require);

Datum
fflag_require(PG_FUNCTION_ARGS)
{
	set_relation(fcinfo, FFLAG_REQUIRES, 2);
	PG_RETURN_VOID();
}

/* fflag_exclude(name, other, VARIADIC variants) returns void */
PG_FUNCTION_INFO_V1(fflag_exclude);

Datum
fflag_exclude(PG_FUNCTION_ARGS)
{
	set_relation(fcinfo, FFLAG_EXCLUDES, 2);
	PG_RETURN_VOID();
}

/* fflag_include(name, other, pin, VARIADIC variants) returns void */
PG_FUNCTION_INFO_V1(fflag_include);

Datum
fflag_include(PG_FUNCTION_ARGS)
{
	set_relation(fcinfo, FFLAG_INCLUDES, 3);
	PG_RETURN_VOID();
}

/* fflag_unrelate(name, other) returns boolean */
PG_FUNCTION_INFO_V1(fflag_unrelate);

Datum
fflag_unrelate(PG_FUNCTION_ARGS)
{
	related_pair pair = get_pair(fcinfo);
	Oid			types[] = {INT8OID, INT8OID};

	PG_RETURN_BOOL(fflag_run_on_table(fcinfo,
									  "DELETE FROM %s WHERE flag_id OPERATOR(pg_catalog.=) $1"
									  " AND other_id OPERATOR(pg_catalog.=) $2",
									  FFLAG_RELATIONS_TABLE, 2, types, pair.ids, NULL) > 0);
}
