/*
 * record.c
 *		The triggers that record changes: which table it is, and what of it.
 *
 * The triggers of our own tables say by their argument what the table has; one of
 * somebody else's counts if it is attached.  When it is detached, everything that
 * it holds is recorded, for nobody will know later.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "attachment.h"
#include "catalog.h"
#include "citus.h"
#include "history.h"
#include "id.h"
#include "layout.h"

/* May a value of this type be turned into json by somebody's own cast? */
static bool
may_have_cast(Oid type)
{
	Oid			element = get_element_type(getBaseType(type));

	return getBaseType(OidIsValid(element) ? element : type) >= FirstNormalObjectId;
}

/*
 * An expression for a row of an open table, in which such values are texts, made
 * by the types' output functions.
 */
static const char *
row_in_sql(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		plain = true;
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = quote_identifier(NameStr(att->attname));

		if (att->attisdropped)
			continue;
		if (columns.len > 0)
			appendStringInfoString(&columns, ", ");
		if (may_have_cast(att->atttypid))
		{
			plain = false;
			appendStringInfo(&columns, "CASE WHEN pg_catalog.num_nulls(fflag_row.%s) OPERATOR(pg_catalog.=) 0"
							 " THEN pg_catalog.concat(fflag_row.%s) END AS %s", name, name, name);
		}
		else
			appendStringInfo(&columns, "fflag_row.%s", name);
	}
	return plain ? "fflag_row.*" :
		psprintf("(SELECT fflag_texts FROM (SELECT %s) AS fflag_texts)", columns.data);
}

/*
 * Fills in the columns of a table, which has to be open; false if it lacks one.
 */
static bool
describe(fflag_recording *r, Relation rel, const NameData *columns)
{
	static const fflag_column of[][2] = {
		[FFLAG_RECORD_FLAG] = {FFLAG_COLUMN_ID, FFLAG_COLUMN_NAME},
		[FFLAG_RECORD_USER] = {FFLAG_COLUMN_FLAG_ID, FFLAG_COLUMN_USER_ID},
		[FFLAG_RECORD_DENIED] = {FFLAG_COLUMN_DENIED_FLAG_ID, FFLAG_COLUMN_DENIED_USER_ID},
		[FFLAG_RECORD_VARIANT] = {FFLAG_COLUMN_VARIANT_FLAG_ID, FFLAG_COLUMN_VARIANT_NAME}
	};
	const char *found[2] = {NULL, NULL};
	Oid			type;

	r->relid = RelationGetRelid(rel);
	r->relowner = rel->rd_rel->relowner;
	r->row = row_in_sql(rel);
	if (r->kind == FFLAG_RECORD_TABLES)
		return true;
	for (int i = 0; i < 2; i++)
	{
		fflag_column c = of[r->kind][i];
		const char *name = columns ? NameStr(columns[c]) : fflag_column_name(c);

		if (fflag_find_column(rel, name, &type) == InvalidAttrNumber ||
			!fflag_is_id(type))
			return false;
		found[i] = pstrdup(quote_identifier(name));
	}
	r->flag_id = found[0];
	if (r->kind == FFLAG_RECORD_FLAG || r->kind == FFLAG_RECORD_VARIANT)
		r->name = found[1];
	else
		r->user_id = found[1];

	/* not for everybody: of what was restored, as-of tells no change */
	if (!r->attached && has_privs_of_role(GetOuterUserId(), r->relowner) &&
		fflag_find_column(rel, "created_at", &type) != InvalidAttrNumber &&
		type == TIMESTAMPTZOID)
		r->since = "CASE WHEN fflag_row.created_at OPERATOR(pg_catalog.<) pg_catalog.transaction_timestamp()"
			" THEN fflag_row.created_at END";
	return true;
}

/* What is attached now, whatever the transaction's snapshot; false if nothing. */
static bool
read_latest(Oid schema, fflag_attachment *attachment)
{
	Oid			relid = get_relname_relid(FFLAG_ATTACHMENT_TABLE, schema);
	Relation	rel;
	Snapshot	latest;
	bool		found;

	if (!OidIsValid(relid))
		return false;
	rel = fflag_open_relation(relid);
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = fflag_read_attachment(rel, latest, attachment);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return found;
}

/* The row in a transition table of feature_flag_attachment. */
static fflag_attachment
parse_transition(Relation rel, Tuplestorestate *store)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													&TTSOpsMinimalTuple);
	fflag_attachment result = {0};

	tuplestore_rescan(store);
	if (tuplestore_gettupleslot(store, true, false, slot))
	{
		bool		should_free;

		result = fflag_parse_attachment(rel, ExecFetchSlotHeapTuple(slot, true,
																	&should_free));
	}
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/*
 * Called when tables are detached.  From now on nobody records what happens to
 * them, so that all their rows are recorded here, as if they were deleted.
 */
static void
record_detached(const fflag_recording *tables, const fflag_attachment *attachment)
{
	Oid			function = fflag_trigger_function(tables->schema);

	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		fflag_recording r = *tables;
		Oid			relid = fflag_find_rows(fflag_find_attached(attachment, i, function));
		Relation	rel = NULL;

		if (OidIsValid(relid))
		{
			/* those who are writing have to be seen */
			LockRelationOid(relid, ShareRowExclusiveLock);
			rel = fflag_open_relation(relid);
		}
		r.kind = i == 0 ? FFLAG_RECORD_FLAG : FFLAG_RECORD_USER;
		r.attached = true;
		r.operation = "detach";
		r.transition = InvalidOid;
		r.latest = true;
		if (rel != NULL && describe(&r, rel, attachment->columns) &&
			fflag_is_recorded(relid, fflag_history_function(r.schema)))
		{
			r.old = psprintf("ONLY %s", fflag_relation_name(relid));
			r.new = NULL;
			fflag_record_changes(&r);
		}
		else
			fflag_record_gap(r.schema, true);
		if (rel != NULL)
			table_close(rel, AccessShareLock);
	}
}

/* What else has to be known when the attachment changes. */
static void
record_tables(fflag_recording *r, const TriggerData *data)
{
	fflag_attachment old;
	fflag_attachment new;

	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
	{
		old = parse_transition(data->tg_relation, data->tg_oldtable);
		record_detached(r, &old);
	}
	else if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
	{
		if (read_latest(r->schema, &old))
			record_detached(r, &old);
	}
	else
	{
		new = parse_transition(data->tg_relation, data->tg_newtable);
		if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
			old = parse_transition(data->tg_relation, data->tg_oldtable);
		for (int i = 0; i < FFLAG_ATTACHED; i++)
		{
			/* a row that has come with a dump has another database's OIDs */
			if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
			{
				if (fflag_find_named(&new, i) != new.oids[i])
					r->since = "'-infinity'";
			}
			/* fflag_attach() changes one of them; the owner might both */
			else if (old.oids[i] != new.oids[i] &&
					 strcmp(old.names[i], new.names[i]) != 0)
				fflag_record_gap(r->schema, true);
		}
	}
}

static bool
is_empty(const TriggerData *data)
{
	return (data->tg_oldtable == NULL || tuplestore_tuple_count(data->tg_oldtable) == 0) &&
		(data->tg_newtable == NULL || tuplestore_tuple_count(data->tg_newtable) == 0);
}

static const char *
transition_table(const char *name)
{
	return name == NULL ? NULL : quote_identifier(name);
}

/*
 * Whether the table of a trigger is one whose changes are recorded.  This finds
 * nothing for a trigger that somebody has put on a table of their own.
 */
static bool
find_table(fflag_recording *r, const TriggerData *data, bool *complete)
{
	Relation	rel = data->tg_relation;
	Oid			relid = RelationGetRelid(rel);
	fflag_attachment attachment;

	if (fflag_is_own(RelationRelationId, relid))
	{
		/* by the trigger's argument, for the table may have been renamed */
		for (int i = FFLAG_RECORD_FLAG; i <= FFLAG_RECORD_TABLES; i++)
		{
			if (data->tg_trigger->tgnargs == 1 &&
				strcmp(data->tg_trigger->tgargs[0], fflag_kind_names[i]) == 0)
				r->kind = i;
		}
		*complete = r->kind != FFLAG_RECORD_NONE && describe(r, rel, NULL);
		return r->kind != FFLAG_RECORD_NONE;
	}
	if (!read_latest(r->schema, &attachment))
		return false;
	for (int i = 0; i < FFLAG_ATTACHED && r->kind == FFLAG_RECORD_NONE; i++)
	{
		if (relid == fflag_find_rows(fflag_find_attached(&attachment, i,
														 fflag_trigger_function(r->schema))))
			r->kind = i == 0 ? FFLAG_RECORD_FLAG : FFLAG_RECORD_USER;
	}
	r->attached = true;
	*complete = r->kind != FFLAG_RECORD_NONE && describe(r, rel, attachment.columns);
	return r->kind != FFLAG_RECORD_NONE;
}

/* fflag_record() returns trigger */
PG_FUNCTION_INFO_V1(fflag_record);

Datum
fflag_record(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	fflag_recording r = {0};
	bool		truncates;
	bool		complete;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) ||
		TRIGGER_FIRED_BEFORE(data->tg_event) != TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) ||
		(TRIGGER_FIRED_AFTER(data->tg_event) &&
		 ((data->tg_trigger->tgoldtable == NULL && !TRIGGER_FIRED_BY_INSERT(data->tg_event)) ||
		  (data->tg_trigger->tgnewtable == NULL && !TRIGGER_FIRED_BY_DELETE(data->tg_event)))))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called by an AFTER STATEMENT trigger with transition tables, or by a BEFORE TRUNCATE trigger",
					   FFLAG_RECORD_FUNCTION),
				errhint("It belongs to the tables of extension \"fflag\"."));

	truncates = TRIGGER_FIRED_BY_TRUNCATE(data->tg_event);
	if (!truncates && is_empty(data))
		PG_RETURN_POINTER(NULL);

	r.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	if (!find_table(&r, data, &complete))
		PG_RETURN_POINTER(NULL);
	r.owner = fflag_locate_history(r.schema, &r.history, &r.change);
	r.operation = TRIGGER_FIRED_BY_INSERT(data->tg_event) ? "insert" :
		TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? "update" :
		TRIGGER_FIRED_BY_DELETE(data->tg_event) ? "delete" : "truncate";
	if (truncates)
	{
		r.old = psprintf("ONLY %s", fflag_relation_name(r.relid));
		r.latest = true;
	}
	else
	{
		r.transition = r.relid;
		if (!TRIGGER_FIRED_BY_INSERT(data->tg_event))
			r.old = transition_table(data->tg_trigger->tgoldtable);
		if (!TRIGGER_FIRED_BY_DELETE(data->tg_event))
			r.new = transition_table(data->tg_trigger->tgnewtable);
	}

	SPI_connect();
	if (!truncates && SPI_register_trigger_data(data) != SPI_OK_TD_REGISTER)
		elog(ERROR, "SPI_register_trigger_data failed");
	if (r.kind == FFLAG_RECORD_TABLES)
		record_tables(&r, data);
	if (complete)
		fflag_record_changes(&r);
	else
		fflag_record_gap(r.schema, r.attached);
	SPI_finish();
	PG_RETURN_POINTER(NULL);
}
