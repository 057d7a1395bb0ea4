/*
 * document.c
 *		Flags as a JSON document: which keys there are, and what their values may be.
 *
 * A document says {"fflag": 1, "flags": [{"name": ..., key: value, ...}, ...]}.  Flags,
 * variants and relations are elements of arrays rather than keys of objects: jsonb would
 * drop one of two that have the same name, and sort them as the database's encoding has
 * it.
 *
 * A mistake is reported with the flag's name, before anything is read or written.  What
 * depends on what the tables hold is for import.c to check.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "check.h"
#include "document.h"
#include "rules.h"
#include "strtab.h"

const fflag_document_key fflag_document_keys[] = {
	{"seed", FFLAG_JSON_STRING, true, FFLAG_PART_FLAG, "null"},
	{"enabled", FFLAG_JSON_BOOLEAN, false, FFLAG_PART_FLAG, "false"},
	{"staff_only", FFLAG_JSON_BOOLEAN, false, FFLAG_PART_FLAG, "false"},
	{"rollout_percentage", FFLAG_JSON_NUMBER, false, FFLAG_PART_FLAG, "0"},
	{"ramp_to", FFLAG_JSON_NUMBER, true, FFLAG_PART_FLAG, "null"},
	{"ramp_starts_at", FFLAG_JSON_MOMENT, true, FFLAG_PART_FLAG, "null"},
	{"ramp_ends_at", FFLAG_JSON_MOMENT, true, FFLAG_PART_FLAG, "null"},
	{"starts_at", FFLAG_JSON_MOMENT, true, FFLAG_PART_FLAG, "null"},
	{"ends_at", FFLAG_JSON_MOMENT, true, FFLAG_PART_FLAG, "null"},
	{"description", FFLAG_JSON_STRING, false, FFLAG_PART_FLAG, "\"\""},
	{"metadata", FFLAG_JSON_OBJECT, false, FFLAG_PART_FLAG, "{}"},
	{"internal", FFLAG_JSON_BOOLEAN, false, FFLAG_PART_FLAG, "false"},
	{"variants", FFLAG_JSON_ARRAY, false, FFLAG_PART_VARIANTS, "[]"},
	{"relations", FFLAG_JSON_ARRAY, false, FFLAG_PART_RELATIONS, "[]"},
	{"allowlist", FFLAG_JSON_ARRAY, false, FFLAG_PART_ALLOWLIST, "[]"},
	{"denylist", FFLAG_JSON_ARRAY, false, FFLAG_PART_DENYLIST, "[]"}
};
const int	fflag_document_key_count = lengthof(fflag_document_keys);

static const struct
{
	const char *sql;
	const char *described;		/* in an error */
	const char *hint;
}			json_types[] = {
	[FFLAG_JSON_BOOLEAN] = {"pg_catalog.bool", "true or false", "Write it without quotes."},
	[FFLAG_JSON_NUMBER] = {"pg_catalog.numeric", "a number", "Write it without quotes, as in 12.5."},
	[FFLAG_JSON_STRING] = {"pg_catalog.text", "a string", "Write it in double quotes."},
	[FFLAG_JSON_MOMENT] = {"pg_catalog.timestamptz", "a moment with its time zone",
	"Write it as in \"2026-11-30T09:00:00+01:00\"."},
	[FFLAG_JSON_OBJECT] = {"pg_catalog.jsonb", "an object", "Write it as in {\"key\": \"value\"}."},
	[FFLAG_JSON_ARRAY] = {"pg_catalog.jsonb", "an array", "Write it as in [], as fflag_export() does."}
};

/* Of what a value is, and of which flag, for errors. */
typedef struct json_place
{
	const char *flag;			/* its name */
	const char *part;			/* "variant" or "relation", or NULL */
	const char *name;			/* of the variant, or of the other flag */
} json_place;

const char *
fflag_json_sql_type(fflag_json_type type)
{
	return json_types[type].sql;
}

static char *
describe_place(const json_place *at)
{
	if (at->part == NULL)
		return psprintf("flag \"%s\"", at->flag);
	if (at->name == NULL)
		return psprintf("a %s of flag \"%s\"", at->part, at->flag);
	return psprintf("%s %s\"%s\" of flag \"%s\"", at->part,
					strcmp(at->part, "relation") == 0 ? "to flag " : "", at->name, at->flag);
}

static char *
copy_string(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/*
 * A moment as fflag_export() writes it, so that nothing depends on settings: date, time
 * with at most six decimals, time zone.
 */
static bool
is_moment(const char *s)
{
	int			digits = strspn(s, "0123456789");

	if (strcmp(s, "infinity") == 0 || strcmp(s, "-infinity") == 0)
		return true;
	if (digits < 4 || digits > 6)
		return false;
	/* in what follows, 0 stands for a digit */
	s += digits;
	for (const char *form = "-00-00T00:00:00"; *form; form++, s++)
	{
		if (*form == '0' ? !isdigit((unsigned char) *s) :
			*s != *form && !(*form == 'T' && *s == ' '))
			return false;
	}
	if (*s == '.')
	{
		digits = strspn(++s, "0123456789");
		if (digits < 1 || digits > 6)
			return false;
		s += digits;
	}
	if (*s == 'Z')
		s++;
	else
	{
		if ((*s != '+' && *s != '-') || strspn(s + 1, "0123456789") != 2)
			return false;
		s += 3;
		if (*s == ':' && strspn(s + 1, "0123456789") == 2)
			s += 3;
	}
	return *s == '\0' || strcmp(s, " BC") == 0;
}

/* Refuses a moment that there is not, such as one in month 13. */
static void
check_moment(const char *text, const char *key, const char *flag)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		(void) DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("invalid %s \"%s\" for flag \"%s\"", key, text, flag),
				errhint("%s", json_types[FFLAG_JSON_MOMENT].hint));
	}
	PG_END_TRY();
}

static bool
has_type(const JsonbValue *v, fflag_json_type type)
{
	switch (type)
	{
		case FFLAG_JSON_BOOLEAN:
			return v->type == jbvBool;
		case FFLAG_JSON_NUMBER:
			return v->type == jbvNumeric;
		case FFLAG_JSON_STRING:
			return v->type == jbvString;
		case FFLAG_JSON_MOMENT:
			return v->type == jbvString && is_moment(copy_string(v));
		case FFLAG_JSON_OBJECT:
			return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
		case FFLAG_JSON_ARRAY:
			return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
	}
	return false;
}

static void
check_type(const JsonbValue *v, fflag_json_type type, bool nullable, const char *key,
		   const json_place *at)
{
	if (has_type(v, type) || (nullable && v->type == jbvNull))
		return;
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s of %s must be %s%s", key, describe_place(at),
				   json_types[type].described, nullable ? ", or null" : ""),
			errhint("%s", json_types[type].hint));
}

/* The value of a key that has to be there. */
static JsonbValue *
get_required(JsonbContainer * object, const char *key, fflag_json_type type,
			 const json_place *at)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object, key, strlen(key), NULL);

	if (v == NULL)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s has no key \"%s\"", describe_place(at), key),
				errhint("Write it as fflag_export() does."));
	check_type(v, type, false, key, at);
	return v;
}

/* The string of a key that may be absent, or null; then NULL. */
static char *
get_optional_string(JsonbContainer * object, const char *key, const json_place *at)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object, key, strlen(key), NULL);

	if (v == NULL)
		return NULL;
	check_type(v, FFLAG_JSON_STRING, true, key, at);
	return v->type == jbvNull ? NULL : copy_string(v);
}

/* Refuses a key that is not one of these, which might be a slip of the pen. */
static void
check_keys(JsonbContainer * object, const char *const *keys, int count, const json_place *at)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	v;

	(void) JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		StringInfoData list;
		bool		known = false;

		for (int i = 0; i < count && !known; i++)
			known = strlen(keys[i]) == v.val.string.len &&
				memcmp(keys[i], v.val.string.val, v.val.string.len) == 0;
		if (!known)
		{
			initStringInfo(&list);
			for (int i = 0; i < count; i++)
				appendStringInfo(&list, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " and ", keys[i]);
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown key \"%s\" of %s", copy_string(&v),
						   at == NULL ? "the document" : describe_place(at)),
					errhint("Keys are %s.", list.data));
		}
		(void) JsonbIteratorNext(&it, &v, true);
	}
}

/* Is this the first time that it is in an array? */
static bool
is_new(struct strtab_hash *seen, fflag_string what)
{
	bool		found;

	strtab_insert(seen, what, &found);
	return !found;
}

static void
complain_twice(const char *what)
{
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s occurs twice", what),
			errhint("Write it once."));
}

/* Begins to read an array, whose elements get_element() returns. */
static JsonbIterator *
begin_array(JsonbContainer * array)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	v;

	(void) JsonbIteratorNext(&it, &v, true);
	return it;
}

static bool
get_element(JsonbIterator **it, JsonbValue *v)
{
	CHECK_FOR_INTERRUPTS();
	return JsonbIteratorNext(it, v, true) == WJB_ELEM;
}

static void
check_variants(JsonbContainer * array, const char *flag)
{
	static const char *const keys[] = {"name", "weight", "payload"};
	struct strtab_hash *seen = strtab_create(CurrentMemoryContext, 16, NULL);
	JsonbIterator *it = begin_array(array);
	json_place	of_flag = {.flag = flag};
	JsonbValue	v;

	while (get_element(&it, &v))
	{
		json_place	at = {.flag = flag,.part = "variant"};
		JsonbContainer *variant = v.val.binary.data;

		check_type(&v, FFLAG_JSON_OBJECT, false, "variant", &of_flag);
		at.name = copy_string(get_required(variant, "name", FFLAG_JSON_STRING, &at));
		fflag_check_variant_name(at.name);
		check_keys(variant, keys, lengthof(keys), &at);
		v = *get_required(variant, "weight", FFLAG_JSON_NUMBER, &at);
		fflag_check_weight(NumericGetDatum(v.val.numeric), at.name, flag, NULL);
		if (!is_new(seen, fflag_string_make(at.name, strlen(at.name))))
			complain_twice(describe_place(&at));
	}
}

/* Flags and their relations to others, by name. */
typedef struct flag_names
{
	struct strtab_hash *seen;
	ArrayBuildState *array;
} flag_names;

static void
add_name(flag_names *names, const char *name)
{
	if (is_new(names->seen, fflag_string_make(name, strlen(name))))
		names->array = accumArrayResult(names->array, CStringGetTextDatum(name), false,
										TEXTOID, CurrentMemoryContext);
}

static bool
is_kind(const char *kind)
{
	for (int i = 0; i < FFLAG_RELATION_KINDS; i++)
	{
		if (strcmp(kind, fflag_kind_name(i)) == 0)
			return true;
	}
	return false;
}

static void
check_relations(JsonbContainer * array, const char *flag, flag_names *mentioned)
{
	static const char *const keys[] = {"kind", "other", "other_variant", "pin"};
	struct strtab_hash *seen = strtab_create(CurrentMemoryContext, 16, NULL);
	JsonbIterator *it = begin_array(array);
	json_place	of_flag = {.flag = flag};
	JsonbValue	v;

	while (get_element(&it, &v))
	{
		json_place	at = {.flag = flag,.part = "relation"};
		JsonbContainer *relation = v.val.binary.data;
		char	   *kind;
		char	   *other_variant;
		char	   *pin;
		char	   *pair;

		check_type(&v, FFLAG_JSON_OBJECT, false, "relation", &of_flag);
		at.name = copy_string(get_required(relation, "other", FFLAG_JSON_STRING, &at));
		fflag_check_name(at.name);
		check_keys(relation, keys, lengthof(keys), &at);
		kind = copy_string(get_required(relation, "kind", FFLAG_JSON_STRING, &at));
		other_variant = get_optional_string(relation, "other_variant", &at);
		pin = get_optional_string(relation, "pin", &at);

		if (!is_kind(kind))
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid kind \"%s\" of %s", kind, describe_place(&at)),
					errhint("Kinds are requires, excludes and includes."));
		if (strcmp(at.name, flag) == 0)
			ereport(ERROR,
					errcode(ERRCODE_CHECK_VIOLATION),
					errmsg("flag \"%s\" cannot depend on itself", flag),
					errhint("Name another flag."));
		if (pin != NULL && strcmp(kind, "includes") != 0)
			ereport(ERROR,
					errcode(ERRCODE_CHECK_VIOLATION),
					errmsg("%s has a pin", describe_place(&at)),
					errhint("Only relations of kind includes may have one."));
		if (other_variant != NULL)
			fflag_check_variant_name(other_variant);
		if (pin != NULL)
			fflag_check_variant_name(pin);
		/* no name has a line feed */
		pair = psprintf("%s\n%s", at.name, other_variant ? other_variant : "");
		if (!is_new(seen, fflag_string_make(pair, strlen(pair))))
			complain_twice(describe_place(&at));
		add_name(mentioned, at.name);
	}
}

static void
check_list(JsonbContainer * array, const char *list, const char *flag)
{
	struct strtab_hash *seen = strtab_create(CurrentMemoryContext,
											 JsonContainerSize(array), NULL);
	JsonbIterator *it = begin_array(array);
	char	   *what = psprintf("user id on the %s", list);
	json_place	at = {.flag = flag};
	JsonbValue	v;

	while (get_element(&it, &v))
	{
		check_type(&v, FFLAG_JSON_STRING, false, what, &at);
		fflag_check_user_id(v.val.string.len, list, flag, NULL);
		if (!is_new(seen, fflag_string_make(v.val.string.val, v.val.string.len)))
			complain_twice(psprintf("user id \"%s\" on the %s of flag \"%s\"",
									copy_string(&v), list, flag));
	}
}

static void
check_value(const fflag_document_key *key, const JsonbValue *v, const char *flag,
			fflag_document *document, flag_names *mentioned)
{
	json_place	at = {.flag = flag};

	check_type(v, key->type, key->nullable, key->name, &at);
	if (v->type == jbvNull)
		return;
	switch (key->part)
	{
		case FFLAG_PART_FLAG:
			if (key->type == FFLAG_JSON_NUMBER)
				fflag_check_percentage(NumericGetDatum(v->val.numeric), key->name, flag);
			else if (key->type == FFLAG_JSON_MOMENT)
				check_moment(copy_string(v), key->name, flag);
			else if (strcmp(key->name, "seed") == 0)
				fflag_check_seed(copy_string(v), flag);
			else if (strcmp(key->name, "internal") == 0)
				document->has_internal |= v->val.boolean;
			break;
		case FFLAG_PART_VARIANTS:
			check_variants(v->val.binary.data, flag);
			break;
		case FFLAG_PART_RELATIONS:
			check_relations(v->val.binary.data, flag, mentioned);
			break;
		case FFLAG_PART_ALLOWLIST:
		case FFLAG_PART_DENYLIST:
			check_list(v->val.binary.data, key->name, flag);
			document->has_lists = true;
			break;
	}
}

/* Checks one flag, and returns its name. */
static char *
check_flag(const JsonbValue *v, int position, fflag_document *document, flag_names *mentioned)
{
	static const char *names[lengthof(fflag_document_keys) + 1] = {"name"};
	JsonbContainer *object = v->val.binary.data;
	JsonbValue *value;
	json_place	at = {.flag = NULL};

	value = has_type(v, FFLAG_JSON_OBJECT) ?
		getKeyJsonValueFromContainer(object, "name", strlen("name"), NULL) : NULL;
	if (value == NULL || value->type != jbvString)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("element %d of the flags is no object with a name", position),
				errhint("Write it as in {\"name\": \"new_checkout\", \"enabled\": true}."));
	at.flag = copy_string(value);
	fflag_check_name(at.flag);
	for (int i = 0; i < fflag_document_key_count; i++)
		names[i + 1] = fflag_document_keys[i].name;
	check_keys(object, names, lengthof(names), &at);

	for (int i = 0; i < fflag_document_key_count; i++)
	{
		const fflag_document_key *key = &fflag_document_keys[i];

		value = getKeyJsonValueFromContainer(object, key->name, strlen(key->name), NULL);
		if (value != NULL)
			check_value(key, value, at.flag, document, mentioned);
	}
	return unconstify(char *, at.flag);
}

/* Refuses what is no document, or of another version. */
static JsonbContainer *
get_flags(Jsonb *json)
{
	static const char *const keys[] = {"fflag", "flags"};
	JsonbValue *version = NULL;
	JsonbValue *flags = NULL;

	if (JB_ROOT_IS_OBJECT(json))
	{
		version = getKeyJsonValueFromContainer(&json->root, keys[0], strlen(keys[0]), NULL);
		flags = getKeyJsonValueFromContainer(&json->root, keys[1], strlen(keys[1]), NULL);
	}
	if (version == NULL || version->type != jbvNumeric || flags == NULL ||
		!has_type(flags, FFLAG_JSON_ARRAY))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("flags to be imported must be an object with the keys \"fflag\" and \"flags\""),
				errhint("Write it as fflag_export() does: {\"fflag\": %d, \"flags\": [...]}.",
						FFLAG_DOCUMENT_VERSION));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(version->val.numeric),
										  NumericGetDatum(int64_to_numeric(FFLAG_DOCUMENT_VERSION)))))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("flags to be imported are in format %s, which this version of extension \"fflag\" does not know",
					   DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(version->val.numeric)))),
				errhint("It reads format %d.  Import them where they were exported, or update the extension.",
						FFLAG_DOCUMENT_VERSION));
	check_keys(&json->root, keys, lengthof(keys), NULL);
	return flags->val.binary.data;
}

static ArrayType *
to_array(flag_names *names)
{
	if (names->array == NULL)
		return construct_empty_array(TEXTOID);
	return DatumGetArrayTypeP(makeArrayResult(names->array, CurrentMemoryContext));
}

/* Checks all that a document says, and tells what is in it. */
fflag_document
fflag_check_document(Jsonb *json)
{
	fflag_document document = {.has_lists = false};
	JsonbContainer *flags = get_flags(json);
	JsonbIterator *it = begin_array(flags);
	flag_names	names = {.seen = strtab_create(CurrentMemoryContext, 64, NULL)};
	flag_names	mentioned = {.seen = strtab_create(CurrentMemoryContext, 64, NULL)};
	JsonbValue	v;

	for (int position = 1; get_element(&it, &v); position++)
	{
		char	   *name = check_flag(&v, position, &document, &mentioned);

		if (strtab_lookup(names.seen, fflag_string_make(name, strlen(name))) != NULL)
			complain_twice(psprintf("flag \"%s\"", name));
		add_name(&names, name);
		add_name(&mentioned, name);
	}
	document.names = to_array(&names);
	document.mentioned = to_array(&mentioned);
	return document;
}
