/*
 * unknown.c
 *		What is said of a name that no flag has: the message, and the setting
 *		fflag.unknown_flag, which says whether evaluation says it.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"

#include "catalog.h"
#include "check.h"
#include "extension.h"
#include "unknown.h"

/* Each statement of the client is warned of so many names. */
#define MAX_WARNED 20

const struct config_enum_entry fflag_unknown_options[] = {
	{"default", FFLAG_UNKNOWN_DEFAULT, false},
	{"warning", FFLAG_UNKNOWN_WARNING, false},
	{"error", FFLAG_UNKNOWN_ERROR, false},
	{NULL, 0, false}
};

int			fflag_unknown_setting = FFLAG_UNKNOWN_DEFAULT;

/*
 * Does the setting want a report of this name, which no flag has and which is
 * being evaluated?  A warning comes once for each name and statement of the
 * client, which its timestamp tells apart: a scan may have a million rows.
 */
bool
fflag_must_report(fflag_string name)
{
	static TimestampTz statement = 0;
	static uint64 warned[MAX_WARNED];
	static int	count = 0;
	uint64		hash;

	if (fflag_unknown_setting != FFLAG_UNKNOWN_WARNING)
		return fflag_unknown_setting == FFLAG_UNKNOWN_ERROR;

	if (statement != GetCurrentStatementStartTimestamp())
	{
		statement = GetCurrentStatementStartTimestamp();
		count = 0;
	}
	hash = hash_bytes_extended((const unsigned char *) name.data, name.len, 0);
	for (int i = 0; i < count; i++)
	{
		if (warned[i] == hash)
			return false;
	}
	if (count == MAX_WARNED)
		return false;
	warned[count++] = hash;
	return true;
}

/*
 * Complains of a name that no flag has.  attached is the table to look in, as
 * fflag_relation_name() gives it, or NULL for our own.
 */
void
fflag_report_unknown(int elevel, fflag_string name, const char *attached)
{
	int			shown = pg_mbcharcliplen(name.data, name.len, FFLAG_NAME_LENGTH);

	ereport(elevel,
			errcode(ERRCODE_UNDEFINED_OBJECT),
			errmsg("flag \"%.*s%s\" does not exist", shown, name.data,
				   shown < name.len ? "..." : ""),
			attached != NULL ?
			errhint("Create it, or look the name up, in table %s.", attached) :
			errhint("Create it with fflag_register(), or look the name up in table %s.",
					FFLAG_FLAGS_TABLE));
}
