/*
 * support.c
 *		What the planner may know of fflag_enabled(): how many rows pass, and
 *		what a call costs.
 *
 * The estimate looks the flag up as an evaluation does, under the snapshot of
 * planning, so it can be out of date by the time the plan runs.  That makes a
 * plan slower, never an answer wrong: the function is evaluated for each row
 * all the same.  So that it is not out of date for long, a plan that rests on
 * a flag depends on the flag tables, and is made anew when they change.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"

/*
 * Costs of a call in units of cpu_operator_cost, the cost of a comparison of two
 * numbers.  From make bench: a call that needs no hash takes about as long as
 * that, one that does some ten times longer.
 */
#define COST_WITHOUT_HASH 1
#define COST_WITH_HASH 10

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

/*
 * The share of the rows whose user is on the flag's allowlist: all who are listed
 * are taken to be in the table that the id comes from, the largest if there are
 * several.  (A partitioned table's partitions count them once each.)
 */
static Selectivity
share_listed(SupportRequestSelectivity *req, const fflag_entry *entry)
{
	fflag_allowlist *list = fflag_cache_list(entry);
	double		listed;
	double		rows = 0;
	Relids		rels;
	int			i = -1;

	if (list == NULL || list_length(req->args) < 2)
		return 0;
	listed = fflag_allowlist_count(list);
	if (listed == 0)
		return 0;
	rels = pull_varnos(req->root, lsecond(req->args));
	while ((i = bms_next_member(rels, i)) >= 0)
	{
		RelOptInfo *rel = i < req->root->simple_rel_array_size ?
			req->root->simple_rel_array[i] : NULL;

		if (rel != NULL)
			rows = Max(rows, rel->tuples);
	}
	return listed >= rows ? 0.5 : listed / rows;
}

static Selectivity
estimate_selectivity(SupportRequestSelectivity *req, const fflag_entry *entry)
{
	const fflag_flag *flag = &entry->flag;
	fflag_subject anybody = {.somebody = true,.bucket = 0};
	Selectivity rollout = (double) flag->rollout / FFLAG_BUCKETS;
	fflag_decision decision;

	/* the rules say which of them decides; the numbers follow from that */
	decision = fflag_decide(flag, &anybody, FFLAG_LISTED_UNKNOWN, false);
	switch (decision.rule)
	{
		case FFLAG_RULE_UNKNOWN_FLAG:
			return share_true(req, 3);
		case FFLAG_RULE_STAFF_ONLY:
			return share_true(req, 2);
		case FFLAG_RULE_UNDECIDED:
			return rollout + (1 - rollout) * share_listed(req, entry);
		default:
			return decision.enabled ? 1 : 0;
	}
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
		req->selectivity = estimate_selectivity(req, entry);
		CLAMP_PROBABILITY(req->selectivity);
		fflag_cache_add_dependency(req->root->glob);
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
			fflag_subject anybody = {.somebody = true,.bucket = 0};

			hashes = fflag_decide(&entry->flag, &anybody, FFLAG_LISTED_NO,
								  false).rule == FFLAG_RULE_ROLLOUT;
			if (req->root != NULL)
				fflag_cache_add_dependency(req->root->glob);
		}
		req->startup = 0;
		req->per_tuple = cpu_operator_cost *
			(hashes ? COST_WITH_HASH : COST_WITHOUT_HASH);
		PG_RETURN_POINTER(req);
	}

	PG_RETURN_POINTER(NULL);
}
