/*
 * relation.c
 *		What relations between flags may be: no circles, one kind between two flags,
 *		and none to what is gone.
 *
 * Whether a relation closes a circle depends on all others.  So who adds relations
 * does it one transaction after the other, under a lock that is taken before any row
 * is: a lock on the table, taken for a row, would let two of them wait for each other.
 * The check sees what has been committed until then, whatever the transaction's
 * snapshot is, and all that its own statement has changed.
 *
 * What replication brings is not checked, so that it does not stop: evaluation reports
 * a circle as an error.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "compat.h"
#include "extension.h"
#include "id.h"
#include "read.h"
#include "relation.h"
#include "strtab.h"

/* As many flags of a circle as an error tells. */
#define MOST_TOLD 10

/*
 * Lets one transaction at a time add relations, or give flags other names: until it
 * ends, or the subtransaction is rolled back.  Two that change the same names about
 * would otherwise wait for each other, at rows or in the index.  Take it before any row
 * is locked; nobody else waits for it.  Only we know the lock: there is no extension
 * with OID 0, and writer.c has the one of this with the number 0.
 */
void
fflag_lock_relations(void)
{
	LOCKTAG		lock;

	SET_LOCKTAG_OBJECT(lock, MyDatabaseId, ExtensionRelationId, InvalidOid, 1);
	(void) LockAcquire(&lock, ExclusiveLock, false, false);
}

/* What the checks read: our own tables, as they are now. */
typedef struct present_tables
{
	fflag_relation_graph graph;
	fflag_source source;
	Snapshot	snapshot;
	bool		may_tell;		/* may the caller read flags' names? */
} present_tables;

/* What an error calls a flag. */
static char *
flag_in_words(present_tables *p, fflag_string id)
{
	fflag_row	row;

	if (p->may_tell && fflag_read_flag_by_id(&p->source, id, p->snapshot, &row))
		return psprintf("flag \"%s\"", row.name.data);
	return psprintf("the flag with id %s", pnstrdup(id.data, id.len));
}

static char *
describe_present(fflag_relation_graph *graph, fflag_string id)
{
	return flag_in_words((present_tables *) graph, id);
}

static void
read_present(fflag_relation_graph *graph, fflag_string id, fflag_relation_rows *rows)
{
	present_tables *p = (present_tables *) graph;

	fflag_read_relations(&p->source, false, id, p->snapshot, fflag_collect_relation, rows);
}

static present_tables
begin_reading(Oid schema)
{
	present_tables p = {.graph = {read_present, describe_present}};

	CommandCounterIncrement();	/* see what the statement has done */
	p.source = fflag_locate_own(schema);
	p.snapshot = RegisterSnapshot(GetLatestSnapshot());
	p.may_tell = fflag_may_read(p.source.tables[FFLAG_FLAGS].relid, GetUserId());
	return p;
}

static void
end_reading(present_tables *p)
{
	UnregisterSnapshot(p->snapshot);
}

/* ----------
 * Circles
 * ----------
 */

/* A flag on the way from the first to others. */
typedef struct walk_step
{
	fflag_string id;
	fflag_relation_rows rows;
	int			next;			/* of its relations */
} walk_step;

struct fflag_relation_walk
{
	fflag_relation_graph *graph;
	struct strtab_hash *seen;	/* flags, with a step's number + 1 while on
								 * the way, 0 later */
	walk_step  *steps;
	int			count;
	int			allocated;
};

/* The way is a circle from this step on. */
static void
complain_of_circle(fflag_relation_walk *w, int first)
{
	StringInfoData way;
	bool		only_excludes = true;
	char	   *flag = w->graph->describe(w->graph, w->steps[first].id);

	initStringInfo(&way);
	for (int i = first; i < w->count; i++)
	{
		const walk_step *s = &w->steps[i];
		fflag_relation *r = &s->rows.relations[s->next - 1];

		only_excludes = only_excludes && r->kind == FFLAG_EXCLUDES;
		if (i - first < MOST_TOLD)
			appendStringInfo(&way, "%s%s %s %s", i > first ? ", " : "",
							 w->graph->describe(w->graph, s->id), fflag_kind_name(r->kind),
							 w->graph->describe(w->graph, r->other_id));
		else if (i - first == MOST_TOLD)
			appendStringInfoString(&way, ", and so on");
	}
	ereport(ERROR,
			errcode(ERRCODE_CHECK_VIOLATION),
			errmsg("%s would depend on itself", flag),
			errdetail("Relations would lead round in a circle: %s.", way.data),
			only_excludes ?
			errhint("To give each user one flag of several, let each of them require other variants of one more flag, a layer: fflag_require('a', 'layer', 'slot 1').") :
			errhint("Take one of these relations away first, with fflag_unrelate()."));
}

static int
compare_others(const void *a, const void *b)
{
	const fflag_relation *x = a;
	const fflag_relation *y = b;
	int			order = fflag_string_compare(x->other_id, y->other_id);

	return order != 0 ? order : (int) x->kind - (int) y->kind;
}

/* Adds a flag to the way; those between which there are relations of two kinds are refused. */
static void
enter(fflag_relation_walk *w, fflag_string id)
{
	walk_step  *s;
	bool		found;

	if (w->count == w->allocated)
	{
		w->allocated = Max(16, w->allocated * 2);
		w->steps = w->steps == NULL ? palloc_array(walk_step, w->allocated) :
			repalloc_huge(w->steps, w->allocated * sizeof(walk_step));
	}
	s = &w->steps[w->count++];
	memset(s, 0, sizeof(*s));
	s->id = id;
	w->graph->read(w->graph, id, &s->rows);
	if (s->rows.count > 1)
		qsort(s->rows.relations, s->rows.count, sizeof(fflag_relation), compare_others);
	for (int i = 1; i < s->rows.count; i++)
	{
		const fflag_relation *r = &s->rows.relations[i];

		if (fflag_string_equal(r[-1].other_id, r->other_id) && r[-1].kind != r->kind)
			ereport(ERROR,
					errcode(ERRCODE_CHECK_VIOLATION),
					errmsg("%s has relations of two kinds to %s",
						   w->graph->describe(w->graph, id), w->graph->describe(w->graph, r->other_id)),
					errdetail("It %s it, and %s it.", fflag_kind_name(r[-1].kind), fflag_kind_name(r->kind)),
					errhint("Take the old one away first, with fflag_unrelate()."));
	}
	strtab_insert(w->seen, id, &found)->value = (void *) (intptr_t) w->count;
}

/* In the current memory context, which outlives the walk. */
fflag_relation_walk *
fflag_begin_walk(fflag_relation_graph *graph)
{
	fflag_relation_walk *w = palloc0_object(fflag_relation_walk);

	w->graph = graph;
	w->seen = strtab_create(CurrentMemoryContext, 64, NULL);
	return w;
}

/*
 * Refuses if a way from this flag leads round in a circle, or if there are relations of
 * two kinds between two flags.  Each flag is entered once, whichever flags the walk
 * begins with.
 */
void
fflag_walk_from(fflag_relation_walk *w, fflag_string id)
{
	if (strtab_lookup(w->seen, id) != NULL)
		return;
	enter(w, id);
	while (w->count > 0)
	{
		walk_step  *s = &w->steps[w->count - 1];
		fflag_string_slot *slot;
		fflag_string other;

		CHECK_FOR_INTERRUPTS();
		if (s->next == s->rows.count)
		{
			strtab_lookup(w->seen, s->id)->value = NULL;
			w->count--;
			continue;
		}
		other = s->rows.relations[s->next++].other_id;
		slot = strtab_lookup(w->seen, other);
		if (slot == NULL)
			enter(w, other);
		else if (slot->value != NULL)
			complain_of_circle(w, (intptr_t) slot->value - 1);
	}
}

/* The id of a flag in a column of a row, in canonical text; empty if it has none. */
static fflag_string
get_id(TupleTableSlot *slot, Relation rel, const char *column)
{
	Oid			type;
	AttrNumber	attnum = fflag_find_column(rel, column, &type);
	bool		isnull = true;
	Datum		id = (Datum) 0;

	if (attnum != InvalidAttrNumber && fflag_is_id(type))
		id = slot_getattr(slot, attnum, &isnull);
	return isnull ? fflag_string_make("", 0) : fflag_id_to_text(type, id, palloc(FFLAG_ID_ROOM));
}

/*
 * The extension's schema, if a trigger has called a function of ours as it should: with
 * the rows that it reads, new ones or old ones; or before them, where that may be.
 */
static Oid
check_call(FunctionCallInfo fcinfo, const char *function, bool reads_new, bool before)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) ||
		!fflag_is_own(RelationRelationId, RelationGetRelid(data->tg_relation)) ||
		(TRIGGER_FIRED_BEFORE(data->tg_event) ? !before :
		 (reads_new ? data->tg_newtable : data->tg_oldtable) == NULL))
		fflag_refuse_call(function, "not called by a trigger of the extension's");
	return fflag_extension_schema(fcinfo->flinfo->fn_oid);
}

/* fflag_check_relation() returns trigger: of feature_flag_relation */
PG_FUNCTION_INFO_V1(fflag_check_relation);

Datum
fflag_check_relation(PG_FUNCTION_ARGS)
{
	Oid			schema = check_call(fcinfo, "fflag_check_relation", true, true);
	TriggerData *data = (TriggerData *) fcinfo->context;
	MemoryContext caller;
	MemoryContext checking;
	fflag_relation_walk *w;
	TupleTableSlot *slot;
	present_tables p;

	if (TRIGGER_FIRED_BEFORE(data->tg_event))
	{
		/* not for a foreign key's action, which has locked rows already */
		if (!InNoForceRLSOperation())
			fflag_lock_relations();
		PG_RETURN_POINTER(NULL);
	}
	if (tuplestore_tuple_count(data->tg_newtable) == 0)
		PG_RETURN_POINTER(NULL);

	checking = AllocSetContextCreate(CurrentMemoryContext, "fflag relations",
									 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(checking);
	p = begin_reading(schema);
	w = fflag_begin_walk(&p.graph);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(data->tg_relation), &TTSOpsMinimalTuple);
	tuplestore_rescan(data->tg_newtable);
	while (tuplestore_gettupleslot(data->tg_newtable, true, false, slot))
	{
		fflag_string id = get_id(slot, data->tg_relation, "flag_id");

		if (id.len > 0)
			fflag_walk_from(w, id);
	}
	ExecDropSingleTupleTableSlot(slot);
	end_reading(&p);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(checking);
	PG_RETURN_POINTER(NULL);
}

/* ----------
 * What others need
 * ----------
 */

/* A flag, or one of its variants, that is gone, and who needs it. */
typedef struct lost_thing
{
	fflag_string variant;		/* empty: the flag itself */
	fflag_string needed_by;		/* the id of a flag; empty: nobody */
	fflag_relation_kind kind;
} lost_thing;

/* A fflag_relation_sink */
static bool
find_need(const fflag_relation_row *row, void *arg)
{
	lost_thing *l = arg;

	if (l->variant.len > 0 && !fflag_string_equal(row->relation.other_variant, l->variant))
		return true;
	l->needed_by = row->flag_id;
	l->kind = row->relation.kind;
	return false;
}

/* A fflag_variant_sink: is the variant still there? */
static bool
find_variant(const fflag_variant_row *row, void *arg)
{
	lost_thing *l = arg;

	if (!fflag_string_equal(row->name, l->variant))
		return true;
	l->needed_by.len = 0;
	return false;
}

/* Refuses that a flag, or a variant unless it is NULL, goes while another needs it. */
static void
check_lost(present_tables *p, fflag_string id, const char *name, const char *variant)
{
	lost_thing	l = {.needed_by = {"", 0}};
	fflag_row	row;

	if (variant != NULL)
		l.variant = fflag_string_make(variant, strlen(variant));
	fflag_read_relations(&p->source, true, id, p->snapshot, find_need, &l);
	if (l.needed_by.len == 0)
		return;
	if (variant != NULL)
		fflag_read_variants(&p->source, id, p->snapshot, find_variant, &l);
	else if (fflag_read_flag_by_id(&p->source, id, p->snapshot, &row))
		return;
	if (l.needed_by.len == 0)
		return;
	if (variant != NULL)
		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("variant \"%s\" of %s is needed: %s %s it", variant,
					   flag_in_words(p, id), flag_in_words(p, l.needed_by), fflag_kind_name(l.kind)),
				errhint("Let that flag name other variants first, or use fflag_unrelate()."));
	ereport(ERROR,
			errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			p->may_tell && name != NULL ?
			errmsg("flag \"%s\" is needed: %s %s it", name,
				   flag_in_words(p, l.needed_by), fflag_kind_name(l.kind)) :
			errmsg("%s is needed: %s %s it", flag_in_words(p, id),
				   flag_in_words(p, l.needed_by), fflag_kind_name(l.kind)),
			errhint("Delete both with one statement, or use fflag_unrelate() first."));
}

static const char *
get_text(TupleTableSlot *slot, Relation rel, const char *column)
{
	Oid			type;
	AttrNumber	attnum = fflag_find_column(rel, column, &type);
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (attnum != InvalidAttrNumber && fflag_is_text(type))
		value = slot_getattr(slot, attnum, &isnull);
	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * fflag_check_related() returns trigger: of feature_flag and feature_flag_variant, for
 * rows that are deleted or get another key
 */
PG_FUNCTION_INFO_V1(fflag_check_related);

Datum
fflag_check_related(PG_FUNCTION_ARGS)
{
	Oid			schema = check_call(fcinfo, "fflag_check_related", false, false);
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel = data->tg_relation;
	present_tables p;
	MemoryContext of_row;
	TupleTableSlot *slot;
	bool		variants;

	/* mostly there is none, and whoever changes a flag need not wait for more */
	if (tuplestore_tuple_count(data->tg_oldtable) == 0 ||
		fflag_count_blocks(fflag_locate_own(schema).tables[FFLAG_RELATIONS].relid) == 0)
		PG_RETURN_POINTER(NULL);

	p = begin_reading(schema);
	variants = RelationGetRelid(rel) == p.source.tables[FFLAG_VARIANTS].relid;
	of_row = AllocSetContextCreate(CurrentMemoryContext, "fflag related",
								   ALLOCSET_SMALL_SIZES);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	tuplestore_rescan(data->tg_oldtable);
	while (tuplestore_gettupleslot(data->tg_oldtable, true, false, slot))
	{
		MemoryContext caller = MemoryContextSwitchTo(of_row);
		fflag_string id = get_id(slot, rel, variants ? "flag_id" : "id");
		const char *name = get_text(slot, rel, "name");

		CHECK_FOR_INTERRUPTS();
		if (id.len > 0 && (name != NULL || !variants))
			check_lost(&p, id, name, variants ? name : NULL);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(of_row);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(of_row);
	end_reading(&p);
	PG_RETURN_POINTER(NULL);
}
