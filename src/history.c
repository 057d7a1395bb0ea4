/*
 * history.c
 *		Recording who changed flags, and what they were before.
 *
 * Statement triggers with transition tables write one row for each flag, listed
 * user or attachment that a statement changes, with its image from before.
 * That is all that as_of.c needs: what a row was at some moment is the old
 * image of the first change after it, or today's row if there is none.
 *
 * Flags go by name, as they are asked for.  So to rename a flag is to change two
 * names: one has a row no longer, the other did not have one.
 *
 * Whoever writes flags needs no privilege on the history: it is written as its
 * owner.  The images are made as the owner of the table that is written.  A
 * column's type may have a cast to json, code of the type's owner, who would get
 * the rights of the table's owner: so record.c lets no such cast run.
 *
 * Traps: the number of a transaction alone means nothing in a database that a dump
 * has come to.  A trigger of the user's may run statements in the middle of
 * another, which end first; their order is that in which they began.  A
 * referential action runs as somebody else than who deletes the flag.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "compat.h"
#include "history.h"
#include "spi.h"

#define ROWS "fflag_rows"		/* images that are still to be recorded */
#define EQUAL "OPERATOR(pg_catalog.=)"

const char *const fflag_kind_names[] = {
	"", FFLAG_KIND_FLAG, FFLAG_KIND_USER, FFLAG_KIND_DENIED, FFLAG_KIND_VARIANT,
	FFLAG_KIND_TABLES
};

char	   *fflag_actor = NULL;

/* The function of the triggers that record; InvalidOid if it is gone. */
Oid
fflag_history_function(Oid schema)
{
	return fflag_own_function(schema, FFLAG_RECORD_FUNCTION);
}

/*
 * The names of the history's tables, in SQL.  Returns as whom they are read and
 * written.
 */
Oid
fflag_locate_history(Oid schema, const char **history, const char **change)
{
	Relation	rel;
	Oid			owner;

	*history = fflag_table_in_sql(schema, FFLAG_HISTORY_TABLE);
	*change = fflag_table_in_sql(schema, FFLAG_CHANGE_TABLE);
	rel = fflag_open_relation(get_relname_relid(FFLAG_CHANGE_TABLE, schema));
	owner = rel->rd_rel->relowner;
	table_close(rel, AccessShareLock);
	return owner;
}

/* Do triggers record whatever is changed in a table? */
bool
fflag_is_recorded(Oid relid, Oid function)
{
	Relation	rel = fflag_open_relation(relid);
	int16		missing;

	missing = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE |
		TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == function && trigger->tgqual == NULL &&
			trigger->tgnattr == 0 &&
			(trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN ||
			 trigger->tgenabled == TRIGGER_FIRES_ALWAYS))
			missing &= ~trigger->tgtype;
	}
	table_close(rel, AccessShareLock);
	return missing == 0;
}

/* Refuses if transactions are not told when they are committed. */
void
fflag_check_stamped(Oid schema)
{
	Oid			function = fflag_own_function(schema, "fflag_stamp");
	Relation	rel = fflag_open_relation(get_relname_relid(FFLAG_CHANGE_TABLE, schema));
	bool		found = false;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		found |= OidIsValid(function) && trigger->tgfoid == function &&
			(trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN ||
			 trigger->tgenabled == TRIGGER_FIRES_ALWAYS);
	}
	table_close(rel, AccessShareLock);
	if (!found)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" lacks its trigger \"fflag_stamp\"",
					   FFLAG_CHANGE_TABLE),
				errdetail("Without it, nobody knows when a change was committed."),
				errhint("Enable the trigger, or put it back as in the script of the extension."));
}

/* ---- who ---- */

/*
 * The row that this session has last added to feature_flag_change.  It is that of
 * the current transaction if it has this local id, unless a savepoint has been
 * rolled back; the table tells.
 *
 * It is looked up where it is, and not in an index or in the whole table: a
 * SERIALIZABLE transaction would then count as having read what others write.
 */
static struct
{
	LocalTransactionId lxid;
	pg_uuid_t	id;
	ItemPointerData place;
}			last_change;

typedef enum change_state
{
	CHANGE_NEW,					/* there is no row yet */
	CHANGE_OPEN,				/* there is, without a time */
	CHANGE_STAMPED				/* SET CONSTRAINTS IMMEDIATE, or the commit */
} change_state;

/* Is the row of last_change there? */
static change_state
look_at_last_change(Oid table)
{
	Relation	rel = fflag_open_relation(table);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	change_state state = CHANGE_NEW;
	Oid			id_type;
	Oid			at_type;
	AttrNumber	id = fflag_find_column(rel, "id", &id_type);
	AttrNumber	at = fflag_find_column(rel, "at", &at_type);

	if (id != InvalidAttrNumber && id_type == UUIDOID && at != InvalidAttrNumber &&
		ItemPointerIsValid(&last_change.place) &&
		table_tuple_fetch_row_version(rel, &last_change.place, SnapshotSelf, slot))
	{
		bool		isnull;
		Datum		found = slot_getattr(slot, id, &isnull);

		/* another session may have put a row of its own there since */
		if (!isnull && memcmp(DatumGetUUIDP(found), &last_change.id, UUID_LEN) == 0)
			state = slot_attisnull(slot, at) ? CHANGE_OPEN : CHANGE_STAMPED;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return state;
}

/* The transaction's row in feature_flag_change, or an id for a new one. */
static change_state
find_change(const fflag_recording *r, Datum *change)
{
	change_state state = CHANGE_NEW;

	if (last_change.lxid == MyLocalTransactionId)
		state = look_at_last_change(get_relname_relid(FFLAG_CHANGE_TABLE, r->schema));
	*change = state == CHANGE_NEW ? OidFunctionCall0(F_GEN_RANDOM_UUID) :
		UUIDPGetDatum(&last_change.id);
	return state;
}

/* The place of the row that SQL has just returned. */
static ItemPointerData
returned_place(void)
{
	bool		isnull;

	return *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0],
														SPI_tuptable->tupdesc, 1, &isnull));
}

/* Gives a change that is at this place the time of now. */
static void
stamp(const char *table, Oid owner, Datum change, ItemPointerData place)
{
	static const char *const scans[] = {"enable_seqscan", "enable_indexscan", "enable_bitmapscan"};
	fflag_command command = {.user = owner};
	int			nest_level = NewGUCNestLevel();
	uint64		found;

	/* so that the planner goes to the place, see last_change */
	for (int i = 0; i < lengthof(scans); i++)
		(void) set_config_option(scans[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	fflag_add_parameter(&command, UUIDOID, change);
	fflag_add_parameter(&command, TIDOID, PointerGetDatum(&place));
	command.sql = psprintf("UPDATE %s SET at = pg_catalog.clock_timestamp() WHERE ctid " EQUAL " $2 AND id " EQUAL " $1"
						   " RETURNING ctid", table);
	found = fflag_run_kept(&command);
	AtEOXact_GUC(true, nest_level);

	if (found > 0 && memcmp(DatumGetUUIDP(change), &last_change.id, UUID_LEN) == 0)
		last_change.place = returned_place();
	if (found > 0)
		return;

	/* a trigger of the owner's has updated it */
	command.nargs = 1;
	command.sql = psprintf("UPDATE %s SET at = pg_catalog.clock_timestamp() WHERE id " EQUAL " $1",
						   table);
	fflag_run_kept(&command);
}

static void
add_role(fflag_command *command, Oid role)
{
	fflag_add_parameter(command, TEXTOID,
						CStringGetTextDatum(GetUserNameFromId(role, false)));
}

/*
 * A setting's value.  One that came with the start of the session has never been
 * checked; a text that is wrong in the database's encoding could not be restored.
 */
static void
add_setting(fflag_command *command, const char *value)
{
	char	   *valid = pstrdup(value ? value : "");

	if (!pg_verifymbstr(valid, strlen(valid), true))
	{
		for (char *p = valid; *p != '\0'; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	}
	fflag_add_parameter(command, TEXTOID, CStringGetTextDatum(valid));
}

/*
 * Who it was: not the current user, for that is the definer of a function, or
 * the table's owner where the change is a referential action.
 */
static void
add_change(const fflag_recording *r, Datum change)
{
	fflag_command command = {.user = r->owner};

	fflag_add_parameter(&command, UUIDOID, change);
	add_role(&command, GetSessionUserId());
	add_role(&command, GetOuterUserId());
	add_setting(&command, application_name);
	add_setting(&command, fflag_actor);
	command.sql = psprintf("INSERT INTO %s (id, session_role, role, application_name, actor)"
						   " VALUES ($1, $2, $3, $4, $5) RETURNING ctid",
						   r->change);
	last_change.lxid = MyLocalTransactionId;
	last_change.id = *DatumGetUUIDP(change);
	ItemPointerSetInvalid(&last_change.place);
	/* with SET CONSTRAINTS IMMEDIATE it is stamped by now, and has moved */
	if (fflag_run_kept(&command) > 0 && !ItemPointerIsValid(&last_change.place))
		last_change.place = returned_place();
}

/* Called when something has been recorded for a change that find_change() gave. */
static void
note_change(const fflag_recording *r, Datum change, change_state state)
{
	if (state == CHANGE_NEW)
		add_change(r, change);
	else if (state == CHANGE_STAMPED)
		stamp(r->change, r->owner, change, last_change.place);
}

/* ---- what ---- */

/* A query for the images of some rows. */
static char *
images(const fflag_recording *r, const char *from)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	if (r->name != NULL)
		appendStringInfo(&sql, "fflag_row.%s::pg_catalog.text COLLATE pg_catalog.\"C\"", r->name);
	else
		appendStringInfoString(&sql, "NULL::pg_catalog.text");
	appendStringInfoString(&sql, " AS name, ");
	if (r->flag_id != NULL)
		appendStringInfo(&sql, "fflag_row.%s::pg_catalog.text COLLATE pg_catalog.\"C\"", r->flag_id);
	else
		appendStringInfoString(&sql, "NULL::pg_catalog.text");
	appendStringInfoString(&sql, " AS flag_id, ");
	if (r->user_id != NULL)
		appendStringInfo(&sql, "fflag_row.%s::pg_catalog.text COLLATE pg_catalog.\"C\"", r->user_id);
	else
		appendStringInfoString(&sql, "NULL::pg_catalog.text");
	appendStringInfo(&sql, " AS user_id, %s::pg_catalog.timestamptz AS since,"
					 " pg_catalog.to_jsonb(%s) AS image FROM %s AS fflag_row WHERE true",
					 r->since ? r->since : "NULL", r->row, from);

	/* such rows are no flags, and list nobody */
	if (r->name != NULL)
		appendStringInfo(&sql, " AND fflag_row.%s IS NOT NULL", r->name);
	if (r->user_id != NULL)
		appendStringInfo(&sql, " AND fflag_row.%s IS NOT NULL AND fflag_row.%s IS NOT NULL",
						 r->flag_id, r->user_id);
	return sql.data;
}

/* A query for what is to be recorded, see the table's last six columns. */
static char *
changed_rows(const fflag_recording *r)
{
	bool		updates = r->kind == FFLAG_RECORD_FLAG && !r->attached;
	const char *image = updates ? "(%s OPERATOR(pg_catalog.-) 'updated_at'::pg_catalog.text)" : "%s";
	bool		is_user = r->kind == FFLAG_RECORD_USER || r->kind == FFLAG_RECORD_DENIED;

	if (r->old == NULL)
		return psprintf("SELECT i.name, i.flag_id, i.user_id, i.since, NULL::pg_catalog.jsonb, %s FROM (%s) AS i",
						is_user ? "NULL::pg_catalog.jsonb" : "i.image",
						images(r, r->new));
	if (r->new == NULL)
		return psprintf("SELECT i.name, i.flag_id, i.user_id, NULL::pg_catalog.timestamptz, i.image, NULL::pg_catalog.jsonb FROM (%s) AS i",
						images(r, r->old));
	return psprintf("SELECT coalesce(o.name, n.name), coalesce(o.flag_id, n.flag_id), coalesce(o.user_id, n.user_id),"
					" NULL::pg_catalog.timestamptz, o.image, %s"
					" FROM (%s) AS o FULL JOIN (%s) AS n ON %s"
					" WHERE o.image IS NULL OR n.image IS NULL OR %s OPERATOR(pg_catalog.<>) %s",
					is_user ? "CASE WHEN o.image IS NOT NULL THEN n.image END" : "n.image",
					images(r, r->old), images(r, r->new),
					r->kind == FFLAG_RECORD_FLAG ? "n.name " EQUAL " o.name" :
					is_user ? "n.flag_id " EQUAL " o.flag_id AND n.user_id " EQUAL " o.user_id" :
					r->kind == FFLAG_RECORD_VARIANT ? "n.flag_id " EQUAL " o.flag_id AND n.name " EQUAL " o.name" :
					"coalesce(n.name, '') " EQUAL " coalesce(o.name, '')",
					psprintf(image, "o.image"), psprintf(image, "n.image"));
}

/*
 * The order of the statement among those of the transaction that change the same
 * rows.  The active snapshot is the statement's, whose command id is from when
 * it began.
 */
static int64
sequence(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot()->curcid : 0;
}

/* The images, made as the owner of the table. */
static Tuplestorestate *
make_images(const fflag_recording *r, const char *sql)
{
	fflag_command command = {
		.sql = sql,.relid = r->transition,.user = r->relowner,
		.context = SECURITY_RESTRICTED_OPERATION,.read_only = true
	};
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);

	command.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(command.dest, store, CurrentMemoryContext,
									false, NULL, NULL);
	fflag_run_kept(&command);
	command.dest->rDestroy(command.dest);
	return store;
}

/* What make_images() gives, as a table that SQL can name. */
static void
register_images(Tuplestorestate *store)
{
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, JSONBOID, JSONBOID};
	static const char *const names[] = {"name", "flag_id", "user_id", "since", "old_row", "new_row"};
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));
	TupleDesc	desc = CreateTemplateTupleDesc(lengthof(types));

	for (int i = 0; i < lengthof(types); i++)
		TupleDescInitEntry(desc, i + 1, names[i], types[i], -1, 0);
	fflag_tupledesc_finalize(desc);
	enr->md.name = ROWS;
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(store);
	enr->reldata = store;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed");
}

/* Records what the recording says.  SPI is connected. */
void
fflag_record_changes(const fflag_recording *r)
{
	fflag_command command = {.user = r->owner};
	char	   *rows = changed_rows(r);
	int64		order = sequence();
	Tuplestorestate *store = NULL;
	Datum		change;
	change_state state;

	/*
	 * what a table held may have been committed after this transaction's
	 * snapshot
	 */
	if (r->latest)
		PushActiveSnapshot(GetLatestSnapshot());
	if (r->relowner != r->owner || r->latest)
	{
		store = make_images(r, rows);
		if (r->latest)
			PopActiveSnapshot();
		if (tuplestore_tuple_count(store) == 0)
		{
			tuplestore_end(store);
			return;
		}
		register_images(store);
		rows = "SELECT name, flag_id, user_id, since, old_row, new_row FROM " ROWS;
	}
	else
		command.relid = r->transition;

	state = find_change(r, &change);
	fflag_add_parameter(&command, UUIDOID, change);
	fflag_add_parameter(&command, INT8OID, Int64GetDatum(order));
	fflag_add_parameter(&command, TEXTOID, CStringGetTextDatum(fflag_kind_names[r->kind]));
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(r->attached));
	fflag_add_parameter(&command, TEXTOID, CStringGetTextDatum(r->operation));
	command.sql = psprintf("INSERT INTO %s (change, sequence, kind, attached, operation,"
						   " name, flag_id, user_id, since, old_row, new_row)"
						   " SELECT $1, $2, $3, $4, $5, r.* FROM (%s) AS r",
						   r->history, rows);
	if (fflag_run_kept(&command) > 0)
		note_change(r, change, state);
	if (store != NULL)
	{
		SPI_unregister_relation(ROWS);
		tuplestore_end(store);
	}
}

/* Records that there may have been changes before of which nothing is known. */
void
fflag_record_gap(Oid schema, bool attached)
{
	fflag_recording r = {.schema = schema};
	fflag_command command = {0};
	Datum		change;
	change_state state;

	r.owner = fflag_locate_history(schema, &r.history, &r.change);
	command.user = r.owner;
	state = find_change(&r, &change);
	fflag_add_parameter(&command, UUIDOID, change);
	fflag_add_parameter(&command, INT8OID, Int64GetDatum(sequence()));
	fflag_add_parameter(&command, BOOLOID, BoolGetDatum(attached));
	command.sql = psprintf("INSERT INTO %s (change, sequence, kind, attached, operation)"
						   " VALUES ($1, $2, '" FFLAG_KIND_GAP "', $3, 'gap')",
						   r.history);
	fflag_run_kept(&command);
	note_change(&r, change, state);
}

/* ---- when ---- */

/*
 * The id of the row for which a trigger of feature_flag_change has fired; false
 * if it has none.
 */
static bool
get_change(FunctionCallInfo fcinfo, const char *function, bool before, Datum *id)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	bool		isnull = true;
	int			attnum;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		TRIGGER_FIRED_BEFORE(data->tg_event) != before ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event) ||
		!fflag_is_own(RelationRelationId, RelationGetRelid(data->tg_relation)))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called by the trigger of table \"%s\"",
					   function, FFLAG_CHANGE_TABLE),
				errhint("It belongs to the tables of extension \"fflag\"."));
	desc = RelationGetDescr(data->tg_relation);
	attnum = SPI_fnumber(desc, "id");
	if (attnum > 0 && SPI_gettypeid(desc, attnum) == UUIDOID)
		*id = SPI_getbinval(data->tg_trigtuple, desc, attnum, &isnull);
	return !isnull;
}

/* fflag_stamp() returns trigger, a deferred one of feature_flag_change */
PG_FUNCTION_INFO_V1(fflag_stamp);

Datum
fflag_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel;
	Datum		id;

	if (!get_change(fcinfo, "fflag_stamp", false, &id))
		PG_RETURN_POINTER(NULL);
	rel = data->tg_relation;
	SPI_connect();
	stamp(fflag_relation_name(RelationGetRelid(rel)), rel->rd_rel->relowner, id,
		  data->tg_trigtuple->t_self);
	SPI_finish();
	PG_RETURN_POINTER(NULL);
}

/*
 * fflag_skip_known() returns trigger, one of feature_flag_change.  Data may be
 * restored where they have been restored before.
 */
PG_FUNCTION_INFO_V1(fflag_skip_known);

Datum
fflag_skip_known(PG_FUNCTION_ARGS)
{
	fflag_command command = {0};
	Datum		id;
	uint64		known = 0;

	if (get_change(fcinfo, "fflag_skip_known", true, &id))
	{
		Relation	rel = ((TriggerData *) fcinfo->context)->tg_relation;

		SPI_connect();
		command.user = rel->rd_rel->relowner;
		fflag_add_parameter(&command, UUIDOID, id);
		command.sql = psprintf("SELECT FROM %s WHERE id " EQUAL " $1",
							   fflag_relation_name(RelationGetRelid(rel)));
		known = fflag_run_kept(&command);
		SPI_finish();
	}
	return PointerGetDatum(known > 0 ? NULL : ((TriggerData *) fcinfo->context)->tg_trigtuple);
}
