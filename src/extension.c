/*
 * extension.c
 *		What is the extension's own: its schema, its objects, its trigger functions.
 *
 * All of this needs an active transaction.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "extension.h"

#define INVALIDATE_FUNCTION "fflag_invalidate"

/*
 * The schema in which the extension lives, given one of its functions.  Throws
 * if the function is gone.
 */
Oid
fflag_extension_schema(Oid function)
{
	Oid			schema = get_func_namespace(function);

	/* a statement can outlive the DROP EXTENSION of another session */
	if (!OidIsValid(schema))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("extension \"fflag\" has been dropped"),
				errhint("Create it again with CREATE EXTENSION fflag."));
	return schema;
}

/* Does an object belong to the extension? */
bool
fflag_is_own(Oid class, Oid object)
{
	Oid			extension = getExtensionOfObject(class, object);

	return OidIsValid(extension) && extension == get_extension_oid("fflag", true);
}

/* A trigger function of the extension; InvalidOid if there is none. */
Oid
fflag_own_function(Oid schema, const char *name)
{
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										   CStringGetDatum(name),
										   PointerGetDatum(buildoidvector(NULL, 0)),
										   ObjectIdGetDatum(schema));

	return fflag_is_own(ProcedureRelationId, function) ? function : InvalidOid;
}

/* The function of the triggers that announce changes; InvalidOid if it is gone. */
Oid
fflag_trigger_function(Oid schema)
{
	return fflag_own_function(schema, INVALIDATE_FUNCTION);
}

/* The function of the triggers that record; InvalidOid if it is gone. */
Oid
fflag_history_function(Oid schema)
{
	return fflag_own_function(schema, FFLAG_RECORD_FUNCTION);
}

/*
 * Does a trigger that calls this function fire, whichever rows and columns change;
 * and if so asked, for changes that are replicated, too?
 */
bool
fflag_fires(const Trigger *trigger, Oid function, bool replicated)
{
	return trigger->tgfoid == function && trigger->tgqual == NULL && trigger->tgnattr == 0 &&
		(trigger->tgenabled == TRIGGER_FIRES_ALWAYS ||
		 (!replicated && trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN));
}

/*
 * The error of a trigger function that is called otherwise than by the extension's
 * triggers; how is what follows after "function ... was".
 */
void
fflag_refuse_call(const char *function, const char *how)
{
	ereport(ERROR,
			errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			errmsg("function \"%s\" was %s", function, how),
			errhint("It belongs to the tables of extension \"fflag\"."));
}

/*
 * A table's qualified name, quoted for use in SQL, in the current memory context;
 * NULL if there is no such table.
 */
char *
fflag_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	return name == NULL ? NULL :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
								   name);
}
