/*
 * foreign_code.c
 *		Tables whose use would run somebody's code.
 *
 * The owner of the extension is an ordinary role.  PostgreSQL runs what a table's owner
 * has put into its indexes, statistics, constraints, defaults, triggers, rules and types
 * in the session of whoever uses the table.  Even as its owner, in a restricted operation,
 * such code can fetch from the session's cursors and put others in their place, which then
 * run as the session's user.  So SQL of ours runs only on tables that have no code but
 * ours and the server's.
 *
 * Of the server's own functions only immutable ones are harmless: others run SQL
 * (query_to_xml), or leave settings behind (set_config).
 *
 * Expressions are read as they are stored.  The relcache would hand out simplified ones,
 * and simplifying an expression runs its functions.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "extension.h"
#include "foreign_code.h"

/* What our own tables have as defaults. */
static const Oid harmless[] = {F_NOW, F_GEN_RANDOM_UUID, F_PG_CURRENT_XACT_ID};

static bool
is_foreign_function(Oid function, void *context)
{
	for (int i = 0; i < lengthof(harmless); i++)
	{
		if (function == harmless[i])
			return false;
	}
	return function >= FirstNormalObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static bool
is_foreign(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain has constraints; input functions look them up */
	if (IsA(node, CoerceToDomain) ||
		(IsA(node, CoerceViaIO) && ((CoerceViaIO *) node)->resulttype >= FirstNormalObjectId))
		return true;
	if (check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, is_foreign, context);
}

/* Does an expression, or a list of them, call code of somebody's?  NULL does not. */
static bool
has_code(const char *expression)
{
	return expression != NULL && is_foreign(stringToNode(expression), NULL);
}

static bool
has_code_in(HeapTuple tuple, Relation catalog, AttrNumber attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, RelationGetDescr(catalog), &isnull);

	return !isnull && has_code(TextDatumGetCString(value));
}

static pg_noinline void
refuse(Relation rel, const char *what)
{
	ereport(ERROR,
			errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg("%s of table \"%s\" may run code that is not the extension's",
				   what, RelationGetRelationName(rel)),
			errdetail("Extension \"fflag\" uses the table in everybody's sessions."),
			errhint("Let the owner of the table drop it, or call only immutable functions of the server's."));
}

static void
check_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleConstr *constr = desc->constr;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		/* a type may be a domain, or have casts */
		if (!att->attisdropped && att->atttypid >= FirstNormalObjectId)
			refuse(rel, psprintf("type of column \"%s\"", NameStr(att->attname)));
	}
	/* what is generated is a default, too */
	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		if (has_code(constr->defval[i].adbin))
			refuse(rel, psprintf("default of column \"%s\"",
								 NameStr(TupleDescAttr(desc, constr->defval[i].adnum - 1)->attname)));
	}
	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		if (has_code(constr->check[i].ccbin))
			refuse(rel, psprintf("constraint \"%s\"", constr->check[i].ccname));
	}
}

/* Our triggers are those whose functions are: the owner may add functions to the extension. */
static void
check_triggers(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(trigger->tgfoid));
		bool		ours = false;

		if (HeapTupleIsValid(tuple))
		{
			ours = ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId &&
				fflag_is_own(ProcedureRelationId, trigger->tgfoid);
			ReleaseSysCache(tuple);
		}
		/* the server's, for a deferrable key, looks into the index alone */
		ours |= trigger->tgfoid == F_UNIQUE_KEY_RECHECK;
		if (!ours || has_code(trigger->tgqual))
			refuse(rel, psprintf("trigger \"%s\"", trigger->tgname));
	}
}

static void
check_indexes(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		HeapTuple	tuple = index->rd_indextuple;
		bool		code = false;

		if (!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
		{
			Relation	catalog = table_open(IndexRelationId, AccessShareLock);

			code = has_code_in(tuple, catalog, Anum_pg_index_indexprs) ||
				has_code_in(tuple, catalog, Anum_pg_index_indpred);
			table_close(catalog, AccessShareLock);
		}
		if (code)
			refuse(rel, psprintf("index \"%s\"", RelationGetRelationName(index)));
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

static void
check_statistics(Relation rel)
{
	List	   *statistics = RelationGetStatExtList(rel);
	ListCell   *lc;

	foreach(lc, statistics)
	{
		HeapTuple	tuple = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(lfirst_oid(lc)));
		bool		isnull = true;
		Datum		value = 0;

		if (HeapTupleIsValid(tuple))
			value = SysCacheGetAttr(STATEXTOID, tuple, Anum_pg_statistic_ext_stxexprs, &isnull);
		if (!isnull && has_code(TextDatumGetCString(value)))
			refuse(rel, psprintf("statistics \"%s\"",
								 NameStr(((Form_pg_statistic_ext) GETSTRUCT(tuple))->stxname)));
		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
	}
	list_free(statistics);
}

/*
 * Refuses an open table of the extension's if using it might run somebody's code.  What is
 * not looked at, because it runs only as others than the owner: policies.
 *
 * True until the caller's lock lets somebody change the table.  RowExclusiveLock keeps
 * everything away that matters to a writer; readers hold less, and what is created between
 * this and their plan runs as the owner, see fflag_become().
 */
void
fflag_refuse_code(Relation rel)
{
	check_columns(rel);
	check_triggers(rel);
	check_indexes(rel);
	check_statistics(rel);
	if (rel->rd_rules != NULL)
		refuse(rel, "a rule");
	if (rel->rd_rel->relispartition ||
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		refuse(rel, "a parent or a child");
}
