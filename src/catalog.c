/*
 * catalog.c
 *		Where the flag tables are.
 *
 * The extension's own tables live in the schema of the function that is called,
 * wherever the user has put the extension.  One of them says whether flags are
 * read from the other two or from tables that fflag_attach() has named, and
 * what the columns are called there.  An fflag_source holds all this; what the
 * tables look like is for layout.c.
 *
 * Neither privileges nor row-level security on the tables apply to the caller.
 * That is the point: evaluation needs EXECUTE only.  Of attached tables it shows
 * what the owner of the extension's tables may see, as a view would.
 *
 * All of this needs an active transaction and takes AccessShareLock on the
 * tables while it looks.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "attachment.h"
#include "catalog.h"
#include "citus.h"
#include "compat.h"
#include "extension.h"

static Oid
locate_table(Oid schema, const char *name)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table \"%s\" of extension \"fflag\" does not exist", name),
				errhint("If it was renamed or moved, put it back; otherwise create the extension anew."));
	/* otherwise it might seem to be empty, or to be another */
	fflag_refuse_shell(relid);
	/* whoever may create tables in the schema could put another in its place */
	if (!fflag_is_own(RelationRelationId, relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table \"%s\" of extension \"fflag\" does not exist", name),
				errdetail("The one of this name does not belong to the extension."),
				errhint("Move it out of the way and put the extension's own back."));
	return relid;
}

/* The qualified name of one of our own tables, for use in SQL; throws if it is gone. */
char *
fflag_table_in_sql(Oid schema, const char *table)
{
	return fflag_relation_name(locate_table(schema, table));
}

/*
 * The trigger that announces every changed row of a table, replicated ones too,
 * or InvalidOid.  ALTER TABLE ... ENABLE TRIGGER, which a restore with
 * --disable-triggers runs, leaves triggers that do not fire for replicas.  The
 * trigger may have this argument; NULL: it may have none.
 */
Oid
fflag_find_marker(Oid relid, Oid function, const char *argument)
{
	Relation	rel = fflag_open_relation(relid);
	Oid			found = InvalidOid;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		int16		events;

		events = TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_ROW |
			TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
		if (!fflag_fires(trigger, function, true) ||
			(trigger->tgtype & events) != events)
			continue;
		/* it would announce the lists of some other column */
		if (trigger->tgnargs > 0 &&
			(argument == NULL || strcmp(trigger->tgargs[0], argument) != 0))
			continue;
		found = trigger->tgoid;
	}

	/*
	 * If this transaction has created or truncated the table, TRUNCATE
	 * empties it in place.  That sends a message only if the table has an
	 * index.
	 */
	if ((rel->rd_createSubid != InvalidSubTransactionId ||
		 rel->rd_newRelfilelocatorSubid != InvalidSubTransactionId) &&
		RelationGetIndexList(rel) == NIL)
		found = InvalidOid;
	table_close(rel, AccessShareLock);
	return found;
}

/* May a role read all rows of a table, as a view of theirs would show them? */
bool
fflag_may_read(Oid relid, Oid role)
{
	return pg_class_aclcheck(relid, role, ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, role, true) != RLS_ENABLED;
}

/*
 * Refuses a table that does not count as attached, or that the owner of our
 * own tables may not read.  So evaluation shows no more of a table than a view
 * of that owner would.
 */
static void
check_attached(Oid relid, const char *name, Oid named, Oid owner)
{
	/* the trigger may be missing because the rows are */
	if (!OidIsValid(relid) && OidIsValid(named))
		fflag_require_rows(named);
	if (!OidIsValid(relid) && OidIsValid(named))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table %s, from which flags are to be read, lacks the trigger of extension \"fflag\"",
					   name),
				errdetail("The trigger says that the table's owner agrees, and announces changes."),
				errhint("Let the owner of the attached tables call fflag_attach() here, or go back to the extension's own tables with fflag_detach()."));
	if (!OidIsValid(relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table %s, from which fflag_attach() made extension \"fflag\" read flags, does not exist",
					   name),
				errhint("Attach another, after fflag_detach(), which goes back to the extension's own tables."));
	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("role \"%s\", to whom the tables of extension \"fflag\" belong, may not read table %s",
					   GetUserNameFromId(owner, false), name),
				errhint("GRANT SELECT on it, or go back to the extension's own tables with fflag_detach()."));
	if (!fflag_may_read(relid, owner))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("row-level security restricts what role \"%s\", to whom the tables of extension \"fflag\" belong, may read of table %s",
					   GetUserNameFromId(owner, false), name),
				errhint("Let the role bypass it, or go back to the extension's own tables with fflag_detach()."));
}

static void
read_attachment(fflag_source *source, Oid function, Snapshot snapshot)
{
	Relation	rel = fflag_open_relation(source->tables[FFLAG_ATTACHMENT].relid);
	fflag_attachment attachment;

	source->attached = fflag_read_attachment(rel, snapshot, &attachment);
	if (source->attached)
	{
		for (int i = 0; i < FFLAG_ATTACHED; i++)
		{
			fflag_table *table = &source->tables[FFLAG_FLAGS + i];

			table->named_relid = fflag_find_attached(&attachment, i, function);
			table->recorded = attachment.oids[i];
			check_attached(table->named_relid, attachment.names[i],
						   fflag_find_named(&attachment, i), rel->rd_rel->relowner);
			table->relid = fflag_require_rows(table->named_relid);
			table->named_relid = fflag_find_named_relid(table->relid);
		}
		for (int i = 0; i < FFLAG_COLUMNS; i++)
			source->columns[i] = attachment.columns[i];
	}
	table_close(rel, AccessShareLock);
}

/*
 * The name of the attached table from which flags are read, as
 * fflag_relation_name() gives it, or NULL if flags are read from our own.
 * This is for sessions that write to our own tables, so it does not throw what
 * evaluation would throw.
 */
char *
fflag_attached_name(Oid schema, Snapshot snapshot)
{
	Oid			relid = get_relname_relid(FFLAG_ATTACHMENT_TABLE, schema);
	fflag_attachment attachment;
	char	   *name = NULL;
	Relation	rel;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		return NULL;
	rel = fflag_open_relation(relid);
	if (fflag_read_attachment(rel, snapshot, &attachment))
	{
		Oid			flags = fflag_find_attached(&attachment, 0,
												fflag_trigger_function(schema));

		name = OidIsValid(flags) ? fflag_relation_name(fflag_find_named_relid(flags)) : NULL;
	}
	table_close(rel, AccessShareLock);
	return name;
}

/* Our own tables that flags are read from. */
static void
locate_own_tables(fflag_source *source, Oid schema)
{
	source->tables[FFLAG_FLAGS].relid = locate_table(schema, FFLAG_FLAGS_TABLE);
	source->tables[FFLAG_USERS].relid = locate_table(schema, FFLAG_USERS_TABLE);
	source->tables[FFLAG_DENIED].relid = locate_table(schema, FFLAG_DENIED_TABLE);
	source->tables[FFLAG_VARIANTS].relid = locate_table(schema, FFLAG_VARIANTS_TABLE);
	source->tables[FFLAG_RELATIONS].relid = locate_table(schema, FFLAG_RELATIONS_TABLE);
}

/* Our own tables, whatever is attached, for those who read them uncached. */
fflag_source
fflag_locate_own(Oid schema)
{
	fflag_source source = fflag_new_source();

	source.tables[FFLAG_ATTACHMENT].relid = locate_table(schema, FFLAG_ATTACHMENT_TABLE);
	locate_own_tables(&source, schema);
	return source;
}

/*
 * Where the flags are, as the snapshot sees it, and whether a cache of their
 * content can be kept up to date.  All of this may change.  A caller that
 * keeps the answer has to ask again after each relcache message about one of
 * the tables, those that users name, or an OID that is recorded.  Throws if a
 * table is missing, cannot be read, or must not be read.
 */
fflag_source
fflag_locate(Oid schema, Snapshot snapshot)
{
	fflag_source source = fflag_new_source();
	Oid			function = fflag_trigger_function(schema);

	source.tables[FFLAG_ATTACHMENT].relid =
		locate_table(schema, FFLAG_ATTACHMENT_TABLE);
	read_attachment(&source, function, snapshot);
	if (!source.attached)
	{
		locate_own_tables(&source, schema);
		fflag_warn_of_strays(&source, function);
	}

	source.announced = true;
	for (int i = 0; i < FFLAG_TABLES; i++)
	{
		fflag_table *table = &source.tables[i];

		if (!OidIsValid(table->relid))
			continue;
		if (!OidIsValid(table->named_relid))
			table->named_relid = table->relid;
		table->marker = fflag_find_marker(table->relid, function,
										  i == FFLAG_USERS || i == FFLAG_DENIED ?
										  NameStr(source.columns[table->key]) : NULL);
		if (!OidIsValid(table->marker))
			source.announced = false;
	}
	return source;
}
