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
 * Of the server's own functions only immutable ones of plain values are harmless: others
 * run SQL (query_to_xml), or leave settings behind (set_config).
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
#include "catalog/pg_type.h"
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

/*
 * Plain values: the server's functions of these do nothing but compute.  Others may build
 * the partition key of whatever table they are told, or read a type's definition.
 */
static const Oid plain_types[] = {
	BOOLOID, INT2OID, INT4OID, INT8OID, FLOAT8OID, NUMERICOID, TEXTOID, VARCHAROID, NAMEOID,
	UUIDOID, TIMESTAMPTZOID, TIMESTAMPOID, INTERVALOID, XID8OID, JSONBOID, OIDOID
};

static bool
is_plain(Oid type)
{
	for (int i = 0; i < lengthof(plain_types); i++)
	{
		if (type == plain_types[i])
			return true;
	}
	return false;
}

static bool
is_foreign_function(Oid function, void *context)
{
	Oid		   *types;
	int			count;
	bool		plain;

	for (int i = 0; i < lengthof(harmless); i++)
	{
		if (function == harmless[i])
			return false;
	}
	if (function >= FirstNormalObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE)
		return true;
	plain = is_plain(get_func_signature(function, &types, &count));
	for (int i = 0; i < count; i++)
		plain &= is_plain(types[i]) && types[i] != OIDOID;
	return !plain;
}

/* Only kinds of nodes count as harmless of which it is known. */
static bool
is_foreign(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			break;
		case T_ScalarArrayOpExpr:
		case T_Const:
		case T_ArrayExpr:
			/* an array of plain values is one */
			if (!is_plain(exprType(node)) && !is_plain(get_element_type(exprType(node))))
				return true;
			break;
		case T_Var:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
			/* operator classes and casts run what belongs to a type */
			if (!is_plain(exprType(node)))
				return true;
			break;
		default:
			return true;
	}
	return check_functions_in_node(node, is_foreign_function, context) ||
		fflag_walk_expression(node, is_foreign, context);
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
	/*
	 * a copy: looking up a function may read the description of the table
	 * anew
	 */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
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
		/* whoever plans next does not wait for it, see below */
		index_close(index, NoLock);
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
 * The caller has locked the table, and uses it at once.  RowExclusiveLock keeps away what
 * comes with indexes, triggers, rules and altered columns; whoever plans a scan says ONLY,
 * because of children.  Statistics alone may come in between, in a moment in which nothing
 * waits; ShareUpdateExclusiveLock keeps them away, too.
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
