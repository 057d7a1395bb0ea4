/*
 * trigger.c
 *		The triggers of the flag tables.
 *
 * fflag_invalidate() announces to all caches that rows change.  It fires BEFORE
 * ROW, so that a message is queued before any code can see the change (an
 * AFTER trigger would let a user's trigger cache a row that is rolled back a
 * moment later), and ENABLE ALWAYS, because replication changes rows as well.
 * TRUNCATE and ALTER TABLE send messages by themselves.
 *
 * fflag_check_attachment() lets nobody but its owner write the row that says which
 * tables are attached.  fflag_warn_attached() fires once a statement and tells who
 * writes to our own tables while flags are read from others.
 *
 * fflag_check() keeps updated_at and refuses bad rows with an error that names
 * the flag; fflag_check_user() does the latter for lists, fflag_check_variant() for
 * variants.  relation.c checks how flags depend on each other.  The tables' constraints say the same, but know only ASCII's invisible
 * characters; rows that come by replication meet only those and keep their
 * updated_at.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attachment.h"
#include "cache.h"
#include "catalog.h"
#include "check.h"
#include "extension.h"
#include "id.h"
#include "layout.h"
#include "spi.h"
#include "writer.h"

static TriggerData *
get_trigger_data(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(((TriggerData *) fcinfo->context)->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(((TriggerData *) fcinfo->context)->tg_event))
		fflag_refuse_call(function, "not called by a BEFORE ROW trigger");
	return (TriggerData *) fcinfo->context;
}

static HeapTuple
new_tuple(const TriggerData *data)
{
	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) ?
		data->tg_newtuple : data->tg_trigtuple;
}

/* Might a trigger that fires after this one change the row? */
static bool
is_last(const TriggerData *data)
{
	TriggerDesc *triggers = data->tg_relation->trigdesc;

	/* in the order in which they fire */
	for (int i = triggers->numtriggers - 1; i >= 0; i--)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgoid == data->tg_trigger->tgoid)
			return true;
		if ((trigger->tgtype & (TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_ROW)) ==
			(TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_ROW))
			break;
	}
	return false;
}

static bool
announce_list(const TriggerData *data, HeapTuple tuple, AttrNumber attnum, Oid type)
{
	char		room[FFLAG_ID_ROOM];
	bool		isnull;
	Datum		flag_id = heap_getattr(tuple, attnum,
									   RelationGetDescr(data->tg_relation), &isnull);

	if (isnull)
		return false;
	fflag_announce_list(data->tg_trigger->tgoid,
						fflag_id_to_text(type, flag_id, room));
	return true;
}

/*
 * Announces the lists that a row belongs to before and after the change.
 * The trigger's argument names the column of the flag's id.  False if it has
 * none, or if it takes more to say which lists these are.
 */
static bool
announce_lists(const TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	AttrNumber	attnum;
	Oid			type;

	if (data->tg_trigger->tgnargs == 0 || !is_last(data))
		return false;
	attnum = fflag_find_column(data->tg_relation, data->tg_trigger->tgargs[0], &type);
	if (attnum == InvalidAttrNumber || !fflag_is_id(type) ||
		TupleDescAttr(desc, attnum - 1)->attgenerated != '\0')
		return false;
	return announce_list(data, data->tg_trigtuple, attnum, type) &&
		(!TRIGGER_FIRED_BY_UPDATE(data->tg_event) ||
		 announce_list(data, data->tg_newtuple, attnum, type));
}

PG_FUNCTION_INFO_V1(fflag_invalidate);

Datum
fflag_invalidate(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger_data(fcinfo, "fflag_invalidate");

	if (!announce_lists(data))
		fflag_announce(data->tg_trigger->tgoid);
	fflag_cache_begin_write(fcinfo->flinfo);
	return PointerGetDatum(new_tuple(data));
}

/* A column's value; NULL if it is null or somebody has dropped it. */
static char *
get_value(const TriggerData *data, HeapTuple tuple, const char *column)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	int			attnum = SPI_fnumber(desc, column);

	return attnum > 0 ? SPI_getvalue(tuple, desc, attnum) : NULL;
}

static void
check_percentage(const TriggerData *data, HeapTuple tuple, const char *column,
				 const char *flag)
{
	char	   *percentage = get_value(data, tuple, column);

	if (percentage != NULL)
		fflag_check_percentage(DirectFunctionCall3(numeric_in,
												   CStringGetDatum(percentage),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)),
							   column, flag);
}

/* A moment; false, and 0, if it is null or somebody has dropped or retyped the column. */
static bool
get_time(const TriggerData *data, HeapTuple tuple, const char *column,
		 TimestampTz *moment)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	int			attnum = SPI_fnumber(desc, column);
	bool		isnull = true;
	Datum		value = 0;

	if (attnum > 0 && SPI_gettypeid(desc, attnum) == TIMESTAMPTZOID)
		value = SPI_getbinval(tuple, desc, attnum, &isnull);
	*moment = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

/* Refuses a schedule or a ramp that makes no sense. */
static void
check_terms(const TriggerData *data, HeapTuple tuple, const char *flag)
{
	TimestampTz starts_at;
	TimestampTz ends_at;
	int			set;

	if (get_time(data, tuple, "starts_at", &starts_at) &&
		get_time(data, tuple, "ends_at", &ends_at))
		fflag_check_schedule(starts_at, ends_at, flag);

	check_percentage(data, tuple, "ramp_to", flag);
	set = (get_value(data, tuple, "ramp_to") != NULL) +
		get_time(data, tuple, "ramp_starts_at", &starts_at) +
		get_time(data, tuple, "ramp_ends_at", &ends_at);
	fflag_check_ramp_complete(set, flag);
	if (set == 3)
		fflag_check_ramp(starts_at, ends_at, flag);
}

PG_FUNCTION_INFO_V1(fflag_check);

Datum
fflag_check(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger_data(fcinfo, "fflag_check");
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	HeapTuple	tuple = new_tuple(data);
	char	   *name = get_value(data, tuple, "name");
	char	   *seed = get_value(data, tuple, "seed");
	const char *flag = name ? name : "";
	int			updated_at = SPI_fnumber(desc, "updated_at");

	/* nulls are left to the columns' constraints */
	if (name != NULL)
		fflag_check_name(name);
	if (seed != NULL)
		fflag_check_seed(seed, flag);
	check_percentage(data, tuple, "rollout_percentage", flag);
	check_terms(data, tuple, flag);

	/* the owner may have dropped or retyped it */
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event) && updated_at > 0 &&
		SPI_gettypeid(desc, updated_at) == TIMESTAMPTZOID)
	{
		Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		bool		isnull = false;

		tuple = heap_modify_tuple_by_cols(tuple, desc, 1, &updated_at,
										  &now, &isnull);
	}
	return PointerGetDatum(tuple);
}

PG_FUNCTION_INFO_V1(fflag_check_user);

Datum
fflag_check_user(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger_data(fcinfo, "fflag_check_user");
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	HeapTuple	tuple = new_tuple(data);
	int			user_id = SPI_fnumber(desc, "user_id");

	/* the owner may have dropped or retyped it */
	if (user_id > 0 && fflag_is_text(SPI_gettypeid(desc, user_id)))
	{
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, user_id, &isnull);

		if (!isnull)
			fflag_check_user_id(toast_raw_datum_size(value) - VARHDRSZ,
								data->tg_trigger->tgnargs > 0 ? data->tg_trigger->tgargs[0] : "allowlist",
								NULL, get_value(data, tuple, "flag_id"));
	}
	return PointerGetDatum(tuple);
}

PG_FUNCTION_INFO_V1(fflag_check_variant);

Datum
fflag_check_variant(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger_data(fcinfo, "fflag_check_variant");
	HeapTuple	tuple = new_tuple(data);
	char	   *name = get_value(data, tuple, "name");
	char	   *weight = get_value(data, tuple, "weight");

	/* nulls are left to the columns' constraints */
	if (name != NULL)
		fflag_check_variant_name(name);
	if (name != NULL && weight != NULL)
		fflag_check_weight(DirectFunctionCall3(numeric_in, CStringGetDatum(weight),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)),
						   name, NULL, get_value(data, tuple, "flag_id"));
	return PointerGetDatum(tuple);
}

PG_FUNCTION_INFO_V1(fflag_check_attachment);

Datum
fflag_check_attachment(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel;
	fflag_attachment old;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		data = get_trigger_data(fcinfo, "fflag_check_attachment");
	rel = data->tg_relation;

	/* whoever may execute this can put it on a foreign table */
	if (!fflag_is_own(RelationRelationId, RelationGetRelid(rel)))
		fflag_refuse_call("fflag_check_attachment",
						  psprintf("called by a trigger of table \"%s\"",
								   RelationGetRelationName(rel)));
	if (!has_privs_of_role(GetUserId(), rel->rd_rel->relowner))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("must be owner of table \"%s\" to change its rows",
					   RelationGetRelationName(rel)),
				errhint("Call fflag_attach() or fflag_detach(), which check whose tables they are."));
	if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		return PointerGetDatum(NULL);

	/*
	 * There is room for one row.  A second row may come with a dump, or from
	 * a publisher.  If it names the same tables, it counts as the same row.
	 * If a publisher has attached other tables, its row must not stop
	 * replication.
	 */
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event) &&
		fflag_read_attachment(rel, GetActiveSnapshot(), &old))
	{
		fflag_attachment new = fflag_parse_attachment(rel, data->tg_trigtuple);

		if (fflag_same_attachment(&old, &new))
			return PointerGetDatum(NULL);
		if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		{
			ereport(WARNING,
					errmsg("flags remain to be read from tables %s and %s, not %s and %s as where the change comes from",
						   old.names[0], old.names[1], new.names[0], new.names[1]),
					errhint("Leave table \"%s\" out of the publication, or attach the same tables.",
							RelationGetRelationName(rel)));
			return PointerGetDatum(NULL);
		}
	}
	return PointerGetDatum(new_tuple(data));
}

PG_FUNCTION_INFO_V1(fflag_warn_attached);

Datum
fflag_warn_attached(PG_FUNCTION_ARGS)
{
	/* once for each statement of the client: a cascade runs one for each flag */
	static TimestampTz warned = 0;
	char	   *name;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_FOR_STATEMENT(((TriggerData *) fcinfo->context)->tg_event))
		fflag_refuse_call("fflag_warn_attached", "not called by a STATEMENT trigger");
	if (warned == GetCurrentStatementStartTimestamp())
		PG_RETURN_POINTER(NULL);
	name = fflag_attached_name(get_func_namespace(fcinfo->flinfo->fn_oid),
							   GetActiveSnapshot());
	if (name != NULL)
	{
		warned = GetCurrentStatementStartTimestamp();
		ereport(WARNING,
				errmsg("flags are read from table %s, not from \"%s\"", name,
					   RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation)),
				errhint("Change them there; fflag_detach() goes back to the extension's own tables."));
	}
	PG_RETURN_POINTER(NULL);
}
