/*
 * spi.c
 *		Running SQL.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "foreign_code.h"
#include "layout.h"
#include "spi.h"

/*
 * Plans that are kept, by the text of the command.  A session that has kept so
 * many, because the extension has been created again and again, say, plans
 * further ones each time: none may be freed, for it may be running.
 */
#define KEPT_PLANS 64

static struct
{
	uint32		hash;
	char	   *sql;
	Oid			relid;
	SPIPlanPtr	plan;
}			kept[KEPT_PLANS];
static int	n_kept = 0;

/* Until fflag_return_to(). */
static void
switch_off(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * From here to fflag_return_to(), code runs as the user (InvalidOid: still as the
 * caller) and as fflag_run_kept() promises.  After an error the abort does what
 * fflag_return_to() does.
 */
fflag_identity
fflag_become(Oid user)
{
	fflag_identity caller;

	GetUserIdAndSecContext(&caller.user, &caller.context);
	if (OidIsValid(user))
		SetUserIdAndSecContext(user, caller.context | SECURITY_RESTRICTED_OPERATION |
							   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	caller.nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* to compile a command takes longer than to run it */
	switch_off("jit");
	return caller;
}

void
fflag_return_to(const fflag_identity *caller)
{
	/* not as at a commit: all settings are put back, whatever has been set */
	AtEOXact_GUC(false, caller->nest_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/*
 * Runs one command, which may write, as the caller.  SPI must be connected.
 * Returns how many rows it processed; those returned are in SPI_tuptable.
 * Throws what the command does.
 */
uint64
fflag_run(const char *command, int nargs, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(command, nargs, types, values, NULL,
										   false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/* Gives a command its next parameter, which is not null. */
void
fflag_add_parameter(fflag_command *command, Oid type, Datum value)
{
	Assert(command->nargs < FFLAG_PARAMETERS);
	command->types[command->nargs] = type;
	command->values[command->nargs] = value;
	command->nulls[command->nargs] = ' ';
	command->nargs++;
}

/* Gives a command its next parameter, a text. */
void
fflag_add_text(fflag_command *command, const char *text)
{
	fflag_add_parameter(command, TEXTOID, CStringGetTextDatum(text));
}

static SPIPlanPtr
get_plan(fflag_command *command)
{
	uint32		hash = hash_bytes((const unsigned char *) command->sql,
								  strlen(command->sql));
	SPIPlanPtr	plan;

	for (int i = 0; i < n_kept && !command->once; i++)
	{
		if (kept[i].hash == hash && kept[i].relid == command->relid &&
			strcmp(kept[i].sql, command->sql) == 0)
			return kept[i].plan;
	}
	/* planning costs more than running: one plan for all parameters */
	plan = SPI_prepare_cursor(command->sql, command->nargs, command->types,
							  command->once ? CURSOR_OPT_CUSTOM_PLAN : CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (n_kept < KEPT_PLANS && !command->once)
	{
		char	   *sql = MemoryContextStrdup(TopMemoryContext, command->sql);

		SPI_keepplan(plan);
		kept[n_kept].hash = hash;
		kept[n_kept].relid = command->relid;
		kept[n_kept].sql = sql;
		kept[n_kept].plan = plan;
		n_kept++;
	}
	return plan;
}

/* Refuses tables with code.  Nothing that waits may come between this and the command. */
static void
look_through(const fflag_command *command)
{
	for (int i = 0; i < lengthof(command->tables); i++)
	{
		if (OidIsValid(command->tables[i]))
			LockRelationOid(command->tables[i], command->lock);
	}
	for (int i = 0; i < lengthof(command->tables); i++)
	{
		Relation	rel;

		if (!OidIsValid(command->tables[i]))
			continue;
		rel = fflag_open_relation(command->tables[i]);
		fflag_refuse_code(rel);
		table_close(rel, NoLock);
	}
}

/*
 * Runs one command as fflag_run() does, but as the command's user, with names and
 * operators of pg_catalog, and keeps its plan.
 *
 * If it is not the caller, the command's tables are locked and looked through for code of
 * that user's, see foreign_code.c.  What still were to run could not SET ROLE, and would
 * leave behind neither settings nor triggers that fire later, as the caller.  Nor does
 * anything find what the caller has put into the search_path.
 */
uint64
fflag_run_kept(fflag_command *command)
{
	fflag_identity caller;
	int			rc;

	look_through(command);
	caller = fflag_become(command->user);
	if (command->by_index)
	{
		switch_off("enable_seqscan");
		switch_off("enable_nestloop");
	}
	rc = SPI_execute_plan(get_plan(command), command->values, command->nulls,
						  command->read_only, 0);
	fflag_return_to(&caller);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * Lets SQL know all rows of a table by a name, as it knows transition tables: until SPI is
 * finished, and the result ended by tuplestore_end().  They are read by a scan, which runs
 * no code of the table's owner; nor does SQL look at the table any more.
 */
Tuplestorestate *
fflag_scan_as(const char *name, Oid relid, Snapshot snapshot)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));
	Relation	rel = fflag_open_relation(relid);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(store, tuple);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = relid;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(store);
	enr->reldata = store;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed");
	return store;
}
