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
#include "change.h"
#include "citus.h"
#include "extension.h"
#include "history.h"
#include "id.h"
#include "layout.h"

/* What SQL calls all rows of a table; transition tables are called as their triggers say. */
#define OLD_ROWS "fflag_old"

/*
 * An expression for a value of the row that the alias stands for, which jsonb can hold.
 * A type of somebody's may have a cast to json, code of theirs; and json may have what
 * jsonb has not.  Such values are texts, made by the types' output functions.
 */
static char *
value_in_sql(const char *alias, Form_pg_attribute att)
{
	const char *name = quote_identifier(NameStr(att->attname));
	Oid			type = getBaseType(att->atttypid);
	Oid			element = get_element_type(type);

	if (OidIsValid(element))
		type = getBaseType(element);
	if (type < FirstNormalObjectId && type != JSONOID)
		return psprintf("%s.%s", alias, name);
	return psprintf("CASE WHEN num_nulls(%s.%s) = 0 THEN concat(%s.%s) END",
					alias, name, alias, name);
}

/* The columns of a table that are recorded with each change, as it calls them. */
typedef struct recorded_columns
{
	const char *names[FFLAG_OWN_COLUMNS];
	int			count;
} recorded_columns;

static bool
is_recorded(const recorded_columns *columns, const char *name)
{
	for (int i = 0; i < columns->count; i++)
	{
		if (strcmp(columns->names[i], name) == 0)
			return true;
	}
	return false;
}

/*
 * Makes the expressions for images of the rows of an open table: these columns, and of our
 * own tables also the others, but only where they differ.  That it has been updated says
 * nothing.
 */
static void
describe_images(fflag_recording *r, Relation rel, const recorded_columns *columns)
{
	static const char *const aliases[] = {"o", "n"};
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData images[2];
	StringInfoData others[2];

	for (int side = 0; side < 2; side++)
	{
		initStringInfo(&images[side]);
		initStringInfo(&others[side]);
	}
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *column = NameStr(att->attname);
		const char *name = quote_identifier(column);
		bool		always = is_recorded(columns, column);

		if (att->attisdropped ||
			(!always && (r->attached || strcmp(column, "updated_at") == 0)))
			continue;
		for (int side = 0; side < 2; side++)
		{
			char	   *pair = psprintf("%s, %s", quote_literal_cstr(column),
										value_in_sql(aliases[side], att));

			if (always)
				appendStringInfo(&images[side], "%s%s",
								 images[side].len > 0 ? ", " : "", pair);
			else
				appendStringInfo(&others[side], " || CASE WHEN record_image_ne(ROW(o.%s), ROW(n.%s))"
								 " THEN jsonb_build_object(%s) ELSE '{}' END",
								 name, name, pair);
		}
	}
	r->old_image = psprintf("jsonb_build_object(%s)%s", images[0].data, others[0].data);
	r->new_image = psprintf("jsonb_build_object(%s)%s", images[1].data, others[1].data);
}

/* Fills in what is recorded of the open table that says what is attached. */
static void
describe_attachment(fflag_recording *r, Relation rel)
{
	static const char *const tables[] = {"flags", "users", "flags_oid", "users_oid"};
	recorded_columns columns = {.count = 0};

	for (int i = 0; i < lengthof(tables); i++)
		columns.names[columns.count++] = tables[i];
	for (fflag_column c = 0; c < FFLAG_COLUMNS; c++)
		columns.names[columns.count++] = fflag_column_name(c);
	r->key = "attached";
	describe_images(r, rel, &columns);
}

/*
 * Fills in what is recorded of an open table.  Of an attached one, whose columns have
 * other names, that is what evaluation reads, if it may; false if it may not, or if a
 * column is missing or of a type that it does not read.
 */
static bool
describe(fflag_recording *r, Relation rel, const NameData *attached)
{
	static const struct
	{
		fflag_table_id table;
		fflag_column flag_id;
		fflag_column key;
	}			of[] = {
		[FFLAG_RECORD_FLAG] = {FFLAG_FLAGS, FFLAG_COLUMN_ID, FFLAG_COLUMN_NAME},
		[FFLAG_RECORD_USER] = {FFLAG_USERS, FFLAG_COLUMN_FLAG_ID, FFLAG_COLUMN_USER_ID},
		[FFLAG_RECORD_DENIED] = {FFLAG_DENIED, FFLAG_COLUMN_DENIED_FLAG_ID, FFLAG_COLUMN_DENIED_USER_ID},
		[FFLAG_RECORD_VARIANT] = {FFLAG_VARIANTS, FFLAG_COLUMN_VARIANT_FLAG_ID, FFLAG_COLUMN_VARIANT_NAME},
		[FFLAG_RECORD_RELATION] = {FFLAG_RELATIONS, FFLAG_COLUMN_RELATION_FLAG_ID, FFLAG_COLUMN_RELATION_ID}
	};
	recorded_columns columns = {.count = 0};
	Oid			type;

	r->relid = RelationGetRelid(rel);
	if (r->attached && !fflag_may_read(r->relid, r->h.owner))
		return false;
	if (r->kind == FFLAG_RECORD_TABLES)
	{
		describe_attachment(r, rel);
		return true;
	}
	for (fflag_column c = 0; c < (attached ? FFLAG_COLUMNS : FFLAG_OWN_COLUMNS); c++)
	{
		const char *name = attached ? NameStr(attached[c]) : fflag_column_name(c);

		if (fflag_column_table(c) != of[r->kind].table)
			continue;
		if (!fflag_can_read_column(rel, name, c, r->attached))
			return false;
		if (c == of[r->kind].flag_id)
			r->flag_id = pstrdup(quote_identifier(name));
		if (c == of[r->kind].key)
			r->key = pstrdup(quote_identifier(name));
		/* payloads may be large, and decide nothing */
		if (c != FFLAG_COLUMN_VARIANT_PAYLOAD)
			columns.names[columns.count++] = name;
	}
	if (r->kind == FFLAG_RECORD_USER || r->kind == FFLAG_RECORD_DENIED)
		r->user_id = r->key;
	else
		r->name = r->key;
	describe_images(r, rel, &columns);

	/* not for everybody: of what was restored, as-of tells no change */
	if (!r->attached && has_privs_of_role(GetOuterUserId(), rel->rd_rel->relowner) &&
		fflag_find_column(rel, "created_at", &type) != InvalidAttrNumber &&
		type == TIMESTAMPTZOID)
		r->since = "CASE WHEN n.created_at < transaction_timestamp() THEN n.created_at END";
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
 * Keeps those who write away from a table that is being detached, so that all that they
 * have written is seen: as fflag_detach() has done for the table's owner, or for
 * somebody who might LOCK it.  False for others, who may not make writers wait.
 */
static bool
lock_detached(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);

	if (CheckRelationLockedByMe(rel, ShareRowExclusiveLock, true))
		return true;
	if (pg_class_aclcheck(relid, GetUserId(), ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE) != ACLCHECK_OK)
		return false;
	LockRelationOid(relid, ShareRowExclusiveLock);
	return true;
}

/*
 * Called when tables are detached.  From now on nobody records what happens to
 * them, so that all their rows are recorded here, as if they were deleted.
 */
static void
record_detached(const fflag_recording *tables, const fflag_attachment *attachment)
{
	Oid			function = fflag_trigger_function(tables->h.schema);

	for (int i = 0; i < FFLAG_ATTACHED; i++)
	{
		fflag_recording r = {
			.h = tables->h,.attached = true,.operation = "detach"
		};
		Oid			relid = fflag_find_rows(fflag_find_attached(attachment, i, function));
		Relation	rel = NULL;

		r.kind = i == 0 ? FFLAG_RECORD_FLAG : FFLAG_RECORD_USER;
		if (OidIsValid(relid))
			rel = fflag_open_relation(relid);
		if (rel != NULL && lock_detached(rel) && describe(&r, rel, attachment->columns) &&
			fflag_is_recorded(relid, fflag_history_function(r.h.schema)))
		{
			r.old = OLD_ROWS;
			fflag_record_changes(&r);
		}
		else
			fflag_record_gap(r.h.schema, true);
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
		if (read_latest(r->h.schema, &old))
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
				fflag_record_gap(r->h.schema, true);
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
 * Whether the table of a trigger is one whose changes are recorded, and if so whether it
 * has all that is recorded of it.  This finds nothing for a trigger that somebody has put
 * on a table of their own.
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
		if (r->kind == FFLAG_RECORD_NONE)
			return false;
		r->h = fflag_locate_history(r->h.schema);
		*complete = describe(r, rel, NULL);
		return true;
	}
	if (!read_latest(r->h.schema, &attachment))
		return false;
	for (int i = 0; i < FFLAG_ATTACHED && r->kind == FFLAG_RECORD_NONE; i++)
	{
		if (relid == fflag_find_rows(fflag_find_attached(&attachment, i,
														 fflag_trigger_function(r->h.schema))))
			r->kind = i == 0 ? FFLAG_RECORD_FLAG : FFLAG_RECORD_USER;
	}
	if (r->kind == FFLAG_RECORD_NONE)
		return false;
	r->attached = true;
	r->h = fflag_locate_history(r->h.schema);
	*complete = describe(r, rel, attachment.columns);
	return true;
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
		fflag_refuse_call(FFLAG_RECORD_FUNCTION,
						  "not called by an AFTER STATEMENT trigger with transition tables, or by a BEFORE TRUNCATE trigger");

	truncates = TRIGGER_FIRED_BY_TRUNCATE(data->tg_event);
	if (!truncates && is_empty(data))
		PG_RETURN_POINTER(NULL);

	r.h.schema = fflag_extension_schema(fcinfo->flinfo->fn_oid);
	if (!find_table(&r, data, &complete))
		PG_RETURN_POINTER(NULL);
	r.operation = TRIGGER_FIRED_BY_INSERT(data->tg_event) ? "insert" :
		TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? "update" :
		TRIGGER_FIRED_BY_DELETE(data->tg_event) ? "delete" : "truncate";
	if (truncates)
		r.old = OLD_ROWS;
	else
	{
		r.trigger = data;
		if (!TRIGGER_FIRED_BY_INSERT(data->tg_event))
			r.old = transition_table(data->tg_trigger->tgoldtable);
		if (!TRIGGER_FIRED_BY_DELETE(data->tg_event))
			r.new = transition_table(data->tg_trigger->tgnewtable);
	}

	if (r.kind == FFLAG_RECORD_TABLES)
		record_tables(&r, data);
	if (complete)
		fflag_record_changes(&r);
	else
		fflag_record_gap(r.h.schema, r.attached);
	PG_RETURN_POINTER(NULL);
}
