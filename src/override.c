/*
 * override.c
 *		The setting fflag.override: answers that this session forces.
 *
 * Its value is a list such as
 *
 *		new_checkout=on, button=on:blue, "a name, with a comma"=off
 *
 * The check hook makes a sorted array of it, in one chunk, which the server
 * keeps and frees with the value.  The assign hook, in cache.c, only takes the
 * array into use, because it must not fail: it runs when a transaction rolls
 * back, too.
 *
 * Names are bytes in the database's encoding, like those in the tables.  Both
 * hooks may run where there is no database yet, so nothing is looked up here.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/builtins.h"

#include "compat.h"
#include "override.h"

/* Enough for 10,000 flags; it bounds what a value costs in memory and time. */
#define MAX_LENGTH (1024 * 1024)

/* As many bytes of the value as a message repeats in one place. */
#define MAX_SHOWN 100

typedef struct override_list
{
	int			count;
	fflag_override items[FLEXIBLE_ARRAY_MEMBER];	/* by name, before their
													 * bytes */
} override_list;

char	   *fflag_override_setting;

static const override_list *overrides;	/* NULL: none */

static int
compare_overrides(const void *a, const void *b)
{
	return fflag_string_compare(((const fflag_override *) a)->name,
								((const fflag_override *) b)->name);
}

/* How many bytes a message shows.  The last character may be incomplete. */
static int
shown(fflag_string s)
{
	return Min(pg_mbcliplen(s.data, s.len, MAX_SHOWN), s.len);
}

static const char *
skip_blanks(const char *p)
{
	while (scanner_isspace(*p))
		p++;
	return p;
}

/*
 * Copies the name that begins at p, of a flag or a variant, which "what" says, to
 * *place, which moves on behind it.  Returns where the name ends, or NULL after a
 * complaint.
 */
static const char *
parse_name(const char *p, const char *what, char **place, fflag_string *name)
{
	char	   *start = *place;

	if (*p == '"')
	{
		bool		closed = false;

		for (p++; !closed; p++)
		{
			if (*p == '\0')
			{
				GUC_check_errdetail("A double quote is not closed.");
				return NULL;
			}
			if (*p == '"' && p[1] != '"')
				closed = true;
			else
			{
				if (*p == '"')	/* two of them stand for one */
					p++;
				*(*place)++ = *p;
			}
		}
	}
	else
	{
		while (*p != '\0' && !scanner_isspace(*p) && strchr(",=\"", *p) == NULL)
			*(*place)++ = *p++;
	}

	*name = fflag_string_make(start, *place - start);
	if (name->len == 0)
	{
		GUC_check_errdetail("A %s name is missing or empty.", what);
		return NULL;
	}
	return p;
}

/* Parses a flag's name and what it is to be; returns as parse_name(). */
static const char *
parse_item(const char *p, char **place, fflag_override *item)
{
	fflag_string value;

	p = parse_name(p, "flag", place, &item->name);
	if (p == NULL)
		return NULL;

	p = skip_blanks(p);
	if (*p != '=')
	{
		GUC_check_errdetail("Flag \"%.*s\" is not followed by \"=\".",
							shown(item->name), item->name.data);
		return NULL;
	}

	p = skip_blanks(p + 1);
	value = fflag_string_make(p, 0);
	while (*p != '\0' && strchr(",:", *p) == NULL && !scanner_isspace(*p))
		p++;
	value.len = p - value.data;
	if (!parse_bool_with_len(value.data, value.len, &item->enabled))
	{
		GUC_check_errdetail("\"%.*s\", for flag \"%.*s\", is not a boolean.",
							shown(value), value.data,
							shown(item->name), item->name.data);
		return NULL;
	}

	p = skip_blanks(p);
	item->variant = fflag_string_make("", 0);
	if (*p == ':')
	{
		if (!item->enabled)
		{
			GUC_check_errdetail("Flag \"%.*s\" is off, and so has no variant.",
								shown(item->name), item->name.data);
			return NULL;
		}
		p = parse_name(skip_blanks(p + 1), "variant", place, &item->variant);
		if (p == NULL)
			return NULL;
		p = skip_blanks(p);
	}
	if (*p != ',' && *p != '\0')
	{
		GUC_check_errdetail("Flag \"%.*s\" and its value are not followed by a comma.",
							shown(item->name), item->name.data);
		return NULL;
	}
	return p;
}

/* Parses a list that is not empty; false after a complaint. */
static bool
parse_list(const char *p, char *place, override_list *list)
{
	list->count = 0;
	for (;;)
	{
		p = parse_item(skip_blanks(p), &place, &list->items[list->count]);
		if (p == NULL)
			return false;
		list->count++;
		if (*p++ == '\0')
			break;
	}

	qsort(list->items, list->count, sizeof(fflag_override), compare_overrides);
	for (int i = 1; i < list->count; i++)
	{
		fflag_string name = list->items[i].name;

		if (fflag_string_equal(name, list->items[i - 1].name))
		{
			GUC_check_errdetail("Flag \"%.*s\" is named more than once.",
								shown(name), name.data);
			return false;
		}
	}
	return true;
}

/*
 * Check hook.  The message is our own, because the server's repeats the value
 * whatever its length.
 */
bool
fflag_check_override(char **newval, void **extra, GucSource source)
{
	size_t		len;
	size_t		items = 0;
	override_list *list;

	*extra = NULL;
	if (*newval == NULL || *skip_blanks(*newval) == '\0')
		return true;

	len = strlen(*newval);
	if (len > MAX_LENGTH)
	{
		GUC_check_errmsg("invalid value for parameter \"%s\"", "fflag.override");
		GUC_check_errdetail("It has %zu bytes.", len);
		GUC_check_errhint("Give at most %d bytes.", MAX_LENGTH);
		return false;
	}

	/* each item has an equals sign, and at least four bytes with its comma */
	for (const char *p = *newval; *p != '\0'; p++)
		items += *p == '=';
	items = Min(items, len / 4 + 1);

	list = guc_malloc(LOG, offsetof(override_list, items) +
					  (items + 1) * sizeof(fflag_override) + len);
	if (list == NULL)
	{
		GUC_check_errcode(ERRCODE_OUT_OF_MEMORY);
		GUC_check_errmsg("out of memory");
		return false;
	}
	if (!parse_list(*newval, (char *) &list->items[items + 1], list))
	{
		guc_free(list);
		GUC_check_errmsg("invalid value for parameter \"%s\"", "fflag.override");
		GUC_check_errhint("Write \"new_checkout=on, beta_search=off, button=on:blue\", with each flag once. Put double quotes around a name that has a blank, a comma, an equals sign or a double quote, and double the last.");
		return false;
	}
	*extra = list;
	return true;
}

/* Takes what the check hook has made into use; the rest of the assign hook. */
void
fflag_use_overrides(void *extra)
{
	overrides = extra;
}

/* To what a name is overridden, NULL if it is not; until the setting changes. */
const fflag_override *
fflag_find_override(fflag_string name)
{
	fflag_override key = {.name = name};

	if (overrides == NULL)
		return NULL;
	return bsearch(&key, overrides->items, overrides->count,
				   sizeof(fflag_override), compare_overrides);
}
