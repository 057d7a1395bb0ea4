/*
 * support.c
 *		What the planner may know: how many rows fflag_enabled() lets pass, what a
 *		call of it costs, and how many rows fflag_select() and fflag_flags() return.
 *
 * An estimate looks flags up as an evaluation does, under the snapshot of
 * planning, so it can be out of date by the time the plan runs.  That makes a
 * plan slower, never an answer wrong: the function is evaluated all the same.
 * So that it is not out of date for long, a plan that rests on
 * a flag depends on the flag tables, and is made anew when they change.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"
#include "compat.h"
#include "related.h"

/*
 * Costs of a call in units of cpu_operator_cost, the cost of a comparison of two
 * numbers.  From make bench: a call that needs no hash takes about as long as
 * that, one that does some ten times longer.
 */
#define COST_WITHOUT_HASH 1
#define COST_WITH_HASH 10

/* ----------
 * About how many users are on a list
 *
 * When a list changes the cache forgets others as well, and counting a list takes
 * longer than planning does.  But an estimate may be out of date.  So it is
 * kept here, however often the cache forgets the list, until the table's size has
 * changed much or the estimate is old.  Nothing here says who is listed.
 * ----------
 */

/* A table that has changed by a larger share is counted again. */
#define LARGE_CHANGE (1 / 8.0)

/* The size does not tell everything; in milliseconds. */
#define MOST_AGE 60000

typedef struct list_estimate
{
	uint64		hash;			/* of the flag's id and the table */
	TimestampTz counted_at;		/* 0 if there is none */
	BlockNumber blocks;			/* of the table, at that time */
	int64		listed;
} list_estimate;

/*
 * Indexed by hash; flags with the same index replace each other.  Two flags
 * with the same hash share an estimate.
 */
static list_estimate estimates[1024];

static bool
is_current(const list_estimate *e, uint64 hash, BlockNumber blocks)
{
	return e->counted_at != 0 && e->hash == hash &&
		fabs((double) blocks - e->blocks) <= e->blocks * LARGE_CHANGE &&
		!TimestampDifferenceExceeds(e->counted_at,
									GetCurrentStatementStartTimestamp(), MOST_AGE);
}

/*
 * How many entries a list has, which the cache has just returned.  Throws what
 * fflag_open_relation() does, and fflag_allowlist_count(), which reads the table.
 */
static int64
estimate_listed(fflag_allowlist *list)
{
	Oid			relid = list->source->tables[list->table].relid;
	uint64		hash = hash_bytes_extended((const unsigned char *) list->flag_id.data,
										   list->flag_id.len, relid);
	list_estimate *e = &estimates[hash % lengthof(estimates)];
	BlockNumber blocks;

	if (list->counted >= 0)		/* the cache knows */
		return list->counted;

	blocks = fflag_count_blocks(relid);
	if (!is_current(e, hash, blocks))
	{
		int64		listed = fflag_allowlist_count(list);

		e->hash = hash;
		e->counted_at = GetCurrentStatementStartTimestamp();
		e->blocks = blocks;
		e->listed = listed;
	}
	return e->listed;
}

/* ----------
 * Flags, users, calls
 * ----------
 */

/* The flag named by the first argument, NULL if that is no constant. */
static const fflag_entry *
get_flag(FunctionCallInfo fcinfo, List *args)
{
	Node	   *name = args == NIL ? NULL : linitial(args);

	if (name == NULL || !IsA(name, Const) ||
		((Const *) name)->consttype != TEXTOID ||
		((Const *) name)->constisnull || !ActiveSnapshotSet())
		return NULL;
	return fflag_cache_find(fcinfo->flinfo->fn_oid, ((Const *) name)->constvalue);
}

/*
 * Do the rules say the same of everybody who is not staff?  *best is what they say
 * of those who fare best.
 */
static bool
decide_for_anybody(const fflag_entry *entry, fflag_decision *best)
{
	fflag_subject anybody = {.somebody = true};

	return fflag_decide_for_all(&entry->flag, anybody, true, best);
}

/* The share of rows for which an argument, NULL if there is none, is true. */
static Selectivity
share_true(SupportRequestSelectivity *req, int n)
{
	Node	   *arg = list_length(req->args) > n ? list_nth(req->args, n) : NULL;

	if (arg == NULL || exprType(arg) != BOOLOID)
		return 0.5;
	return clause_selectivity(req->root, arg, req->varRelid, req->jointype,
							  req->sjinfo);
}

/* The share of so many users who are on a list, if all who are on it are among them. */
static Selectivity
share_listed(const fflag_entry *entry, fflag_table_id which, double users)
{
	fflag_allowlist unread;
	fflag_allowlist *list = fflag_cache_peek_list(entry, which, &unread);
	double		listed = list == NULL ? 0 : estimate_listed(list);

	if (listed <= 0)
		return 0;
	return listed < users ? listed / users : 0.5;
}

static Selectivity share_enabled(const fflag_entry *entry, double users, uint64 visit);

/*
 * The share of users who get the other flag of some relations of a flag, which name
 * the same one, and one of the variants that they name.
 */
static Selectivity
share_of_other(const fflag_entry *entry, const fflag_relation *relations, int count,
			   double users, uint64 visit)
{
	const fflag_entry *other = fflag_other_flag(entry, relations);
	const fflag_variant_set *variants;
	Selectivity variant = 0;

	if (!other->flag.known)
		return relations->kind == FFLAG_EXCLUDES ? 1 : 0;
	variants = fflag_variants_of(other);
	for (int i = 0; i < count; i++)
		variant += relations[i].other_variant.len == 0 ? 1 :
			fflag_variant_share(variants, fflag_find_variant(variants, relations[i].other_variant));
	return share_enabled(other, users, visit) * Min(variant, 1);
}

/* The share of users whom the rules give the feature by their list, hash and relations. */
static Selectivity
share_admitted(const fflag_entry *entry, double users, uint64 visit)
{
	const fflag_flag *flag = &entry->flag;
	Selectivity rollout = (double) flag->rollout / FFLAG_BUCKETS;
	Selectivity share = rollout;
	Selectivity allowed = 1;	/* by others, and by the denylist */

	if (rollout < 1)
		share += (1 - rollout) * share_listed(entry, FFLAG_USERS, users);
	for (int i = 0; i < flag->n_relations;)
	{
		const fflag_relation *r = &flag->relations[i];
		int			count = 1;
		Selectivity other;

		while (i + count < flag->n_relations && r[count].kind == r->kind &&
			   fflag_string_equal(r[count].other_id, r->other_id))
			count++;
		i += count;
		other = share_of_other(entry, r, count, users, visit);
		if (r->kind == FFLAG_INCLUDES)
			share += (1 - share) * other;
		else
			allowed *= r->kind == FFLAG_REQUIRES ? other : 1 - other;
	}
	if (flag->restricted)
		allowed *= 1 - share_listed(entry, FFLAG_DENIED, users);
	return share * allowed;
}

/*
 * The share of so many users to whom the rules give the feature, if none of them
 * is staff.  Who gets a flag and who gets those that it is related to are taken to be
 * independent of each other.
 */
static Selectivity
share_enabled(const fflag_entry *entry, double users, uint64 visit)
{
	fflag_standing *s = entry->standing;
	fflag_decision decision;
	Selectivity share;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (s != NULL && s->visit == visit)
		return s->share;
	if (s != NULL)
	{
		s->visit = visit;
		s->share = 0;			/* of a flag that depends on itself */
	}
	if (decide_for_anybody(entry, &decision))
		share = decision.enabled ? 1 : 0;
	else
		share = share_admitted(entry, users, visit);
	if (s != NULL)
		s->share = share;
	return share;
}

/*
 * How many users there are in the table that an id comes from, the largest if
 * there are several.  (A partitioned table's partitions count those listed once
 * each.)
 */
static double
count_users(SupportRequestSelectivity *req)
{
	double		rows = 0;
	Relids		rels;
	int			i = -1;

	if (list_length(req->args) < 2)
		return 0;
	rels = pull_varnos(req->root, lsecond(req->args));
	while ((i = bms_next_member(rels, i)) >= 0)
	{
		RelOptInfo *rel = i < req->root->simple_rel_array_size ?
		req->root->simple_rel_array[i] : NULL;

		if (rel != NULL)
			rows = Max(rows, rel->tuples);
	}
	return rows;
}

/* The share of rows that pass. */
static Selectivity
estimate_selectivity(SupportRequestSelectivity *req, const fflag_entry *entry)
{
	fflag_decision decision;

	decide_for_anybody(entry, &decision);
	switch (decision.rule)
	{
		case FFLAG_RULE_UNKNOWN_FLAG:
			return share_true(req, 3);
		case FFLAG_RULE_STAFF_ONLY:
			return share_true(req, 2);
		default:
			return share_enabled(entry, count_users(req), fflag_begin_visit());
	}
}

/*
 * How many elements an array has.  For ARRAY(SELECT ...) the server assumes
 * ten elements, as for any unknown array, although it has planned the query
 * already.  So that plan's estimate is used.
 */
static double
count_elements(PlannerInfo *root, Node *array)
{
	ListCell   *lc;

	if (IsA(array, Param) && ((Param *) array)->paramkind == PARAM_EXEC)
	{
		foreach(lc, root->init_plans)
		{
			SubPlan    *query = lfirst_node(SubPlan, lc);

			if (query->subLinkType == ARRAY_SUBLINK &&
				list_member_int(query->setParam, ((Param *) array)->paramid))
				return planner_subplan_get_plan(root, query)->plan_rows;
		}
	}
	return fflag_estimate_array_length(root, array);
}

/* Does it take a hash to decide for most users? */
static bool
needs_hash(const fflag_entry *entry, const List *all)
{
	fflag_decision decision;
	ListCell   *lc;

	if (decide_for_anybody(entry, &decision))
		return false;
	foreach(lc, all)
	{
		entry = lfirst(lc);
		if (entry->flag.rollout > 0 && entry->flag.rollout < FFLAG_BUCKETS &&
			!decide_for_anybody(entry, &decision))
			return true;
	}
	return false;
}

/* Messages about any of the flags that an answer rests on invalidate the plan. */
static void
add_dependencies(PlannerGlobal *glob, const List *all)
{
	ListCell   *lc;

	foreach(lc, all)
		fflag_cache_add_dependency(glob, lfirst(lc));
}

/* fflag_support(internal) returns internal, see supportnodes.h */
PG_FUNCTION_INFO_V1(fflag_support);

Datum
fflag_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;
		const fflag_entry *entry = get_flag(fcinfo, req->args);

		if (entry == NULL)
			PG_RETURN_POINTER(NULL);
		/* first, because the arguments may ask for flags, too */
		add_dependencies(req->root->glob, fflag_reach(entry, fflag_begin_visit()));
		req->selectivity = estimate_selectivity(req, entry);
		CLAMP_PROBABILITY(req->selectivity);
		PG_RETURN_POINTER(req);
	}

	if (IsA(request, SupportRequestCost))
	{
		SupportRequestCost *req = (SupportRequestCost *) request;
		const fflag_entry *entry = NULL;
		bool		hashes = true;

		if (req->node != NULL && IsA(req->node, FuncExpr))
			entry = get_flag(fcinfo, ((FuncExpr *) req->node)->args);
		if (entry != NULL)
		{
			List	   *all = fflag_reach(entry, fflag_begin_visit());

			hashes = needs_hash(entry, all);
			if (req->root != NULL)
				add_dependencies(req->root->glob, all);
		}
		req->startup = 0;
		req->per_tuple = cpu_operator_cost *
			(hashes ? COST_WITH_HASH : COST_WITHOUT_HASH);
		PG_RETURN_POINTER(req);
	}

	PG_RETURN_POINTER(NULL);
}

/* fflag_select_support(internal) returns internal: for fflag_select() */
PG_FUNCTION_INFO_V1(fflag_select_support);

Datum
fflag_select_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *req = (SupportRequestRows *) PG_GETARG_POINTER(0);
	List	   *args;
	const fflag_entry *entry;
	double		users;

	if (!IsA(req, SupportRequestRows) || req->root == NULL ||
		!IsA(req->node, FuncExpr))
		PG_RETURN_POINTER(NULL);
	args = ((FuncExpr *) req->node)->args;
	entry = get_flag(fcinfo, args);
	if (entry == NULL)
		PG_RETURN_POINTER(NULL);
	users = count_elements(req->root, lsecond(args));
	req->rows = users * share_enabled(entry, users, fflag_begin_visit());
	add_dependencies(req->root->glob, fflag_reach(entry, fflag_begin_visit()));
	PG_RETURN_POINTER(req);
}

/* fflag_flags_support(internal) returns internal: for fflag_flags() */
PG_FUNCTION_INFO_V1(fflag_flags_support);

Datum
fflag_flags_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *req = (SupportRequestRows *) PG_GETARG_POINTER(0);
	int			count;

	if (!IsA(req, SupportRequestRows) || req->root == NULL ||
		!ActiveSnapshotSet())
		PG_RETURN_POINTER(NULL);
	(void) fflag_cache_get_all(fcinfo->flinfo->fn_oid, &count);
	req->rows = count;
	fflag_cache_add_dependency(req->root->glob, NULL);
	PG_RETURN_POINTER(req);
}
