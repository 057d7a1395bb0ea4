/*
 * restored.c
 *		Histories that a dump has brought.
 *
 * In a database that has been restored from a dump, the history of the old one goes on.
 * What the restore inserts are no new flags.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "change.h"
#include "compat.h"
#include "extension.h"
#include "history.h"
#include "restored.h"
#include "spi.h"

#define EQUAL "OPERATOR(pg_catalog.=)"

/*
 * Has a restore inserted this, where a dump has ever been restored?  Of what was there
 * already, certainly: nothing is inserted twice, unless it is gone in between.  What has
 * no change before, if it was created before this database had the extension, or before
 * the last change that a dump had brought by then.
 *
 * The alias has columns operation, since, origin, at, and gone: whether the change
 * before of the same thing is such that FFLAG_IS_GONE; NULL if there is none.
 */
char *
fflag_is_restored(const char *change, const char *alias)
{
	return psprintf("%s.operation " EQUAL " 'insert' AND CASE WHEN %s.gone IS NOT NULL THEN NOT %s.gone"
					" ELSE %s.since OPERATOR(pg_catalog.<)"
					" (SELECT greatest(pg_catalog.max(its.at), (SELECT pg_catalog.max(own.at) FROM ONLY %s AS own"
					" WHERE own.begins AND own.origin " EQUAL " %s.origin))"
					" FROM ONLY %s AS its WHERE its.restored_in " EQUAL " %s.origin AND its.at OPERATOR(pg_catalog.<) %s.at"
					" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0) END",
					alias, alias, alias, alias, change, alias, change, alias, alias);
}

/*
 * Has this database recorded changes of its own, other than what a restore inserts, that
 * no gap follows?
 */
static bool
has_own_changes(Oid schema)
{
	fflag_history_tables h = fflag_locate_history(schema);
	fflag_command command = fflag_history_command(&h);
	bool		found;

	fflag_add_parameter(&command, UUIDOID, fflag_own_origin(schema));
	command.sql = psprintf("WITH own AS (SELECT c.at, h.kind, h.since FROM ONLY %s AS h JOIN ONLY %s AS c ON c.id = h.change"
						   " WHERE c.origin = $1 AND c.restored_in IS NULL AND h.since IS NULL)"
						   " SELECT FROM own WHERE kind <> '" FFLAG_KIND_GAP "' AND"
						   " (at > (SELECT max(at) FROM own WHERE kind = '" FFLAG_KIND_GAP "')) IS NOT FALSE LIMIT 1",
						   h.history, h.change);
	SPI_connect();
	found = fflag_run_kept(&command) > 0;
	SPI_finish();
	return found;
}

/*
 * A row that a dump brings, and that is not in the history: notes where it comes first.
 * What has been noted where the dump is from stays.  If this database has a history of
 * its own, a row of its own is put back there; with another's, it is not known which of
 * the two tells what flags were.
 */
static HeapTuple
note_restored(const TriggerData *data)
{
	static struct
	{
		LocalTransactionId lxid;
		SubTransactionId subid;
		bool		own_changes;
		bool		gap;
	}			noted;
	Relation	rel = data->tg_relation;
	Oid			schema = RelationGetNamespace(rel);
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			type;
	int			origin = fflag_find_column(rel, "origin", &type);
	int			restored_in = fflag_find_column(rel, "restored_in", &type);
	Datum		own = fflag_own_origin(schema);
	bool		isnull;
	Datum		its;

	if (restored_in == InvalidAttrNumber || type != UUIDOID)
		return data->tg_trigtuple;
	if (noted.lxid != MyLocalTransactionId || noted.subid != GetCurrentSubTransactionId())
	{
		noted.own_changes = has_own_changes(schema);
		noted.gap = false;
		noted.lxid = MyLocalTransactionId;
		noted.subid = GetCurrentSubTransactionId();
	}
	if (noted.own_changes)
	{
		its = heap_getattr(data->tg_trigtuple, origin, desc, &isnull);
		if (isnull || memcmp(DatumGetUUIDP(its), DatumGetUUIDP(own), UUID_LEN) == 0)
			return data->tg_trigtuple;
		if (!noted.gap)
		{
			fflag_record_gap(schema, false);
			fflag_record_gap(schema, true);
			noted.gap = true;
		}
	}
	if (!heap_attisnull(data->tg_trigtuple, restored_in, desc))
		return data->tg_trigtuple;
	isnull = false;
	return heap_modify_tuple_by_cols(data->tg_trigtuple, desc, 1, &restored_in, &own, &isnull);
}

/*
 * fflag_skip_known() returns trigger, one of feature_flag_change, for rows that a dump
 * brings: they have a time.  Data may be restored where they have been restored before.
 */
PG_FUNCTION_INFO_V1(fflag_skip_known);

Datum
fflag_skip_known(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel;
	AttrNumber	id;
	Oid			type = InvalidOid;
	bool		isnull = true;
	Datum		value = 0;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event) ||
		!fflag_is_own(RelationRelationId, RelationGetRelid(data->tg_relation)))
		fflag_refuse_call("fflag_skip_known",
						  "not called by the trigger of table \"" FFLAG_CHANGE_TABLE "\"");
	/* the row that begins */
	if (creating_extension)
		return PointerGetDatum(data->tg_trigtuple);
	rel = data->tg_relation;
	id = fflag_find_column(rel, "id", &type);
	if (id != InvalidAttrNumber && type == UUIDOID)
		value = heap_getattr(data->tg_trigtuple, id, RelationGetDescr(rel), &isnull);
	if (!isnull && fflag_has_change(rel, value))
		return PointerGetDatum(NULL);
	return PointerGetDatum(note_restored(data));
}
