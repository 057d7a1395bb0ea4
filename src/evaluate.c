/*
 * evaluate.c
 *		The SQL functions that evaluate flags.
 *
 * All of them come through evaluate_entry(), so that what fflag_explain() and
 * fflag_flags() say is what fflag_enabled() does.  What the rules look up is looked
 * up in the cache here.  Those that take arrays are in batch.c.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/tuplestore.h"

#include "allowlist.h"
#include "bucket.h"
#include "cache.h"
#include "compat.h"
#include "evaluate.h"
#include "id.h"
#include "related.h"
#include "rules.h"

/* ----------
 * The look-ups of the rules, in the cache
 * ----------
 */

/* A user; of nobody, the id is not read. */
typedef struct cache_user
{
	fflag_subject subject;
	user_type	type;
	Datum		id;
	const fflag_flag *drawn_under;	/* whose draw this is, NULL if there is
									 * none yet */
	uint64		question;		/* see fflag_standing; 0 until one is asked */
	fflag_draw	draw;
} cache_user;

/* all that have been asked of this user, or of others */
static uint64 questions = 0;

static inline const fflag_entry *
entry_of(const fflag_flag *flag)
{
	StaticAssertDecl(offsetof(fflag_entry, flag) == 0, "a flag begins its entry");
	return (const fflag_entry *) flag;
}

static bool gets_other(fflag_subject *subject, const fflag_flag *flag,
					   const fflag_relation *relation);
static bool is_denied(fflag_subject *subject, const fflag_flag *flag);
static bool is_listed(fflag_subject *subject, const fflag_flag *flag);
static int	get_bucket(fflag_subject *subject, const fflag_flag *flag);

static const fflag_lookups look = {gets_other, is_denied, is_listed, get_bucket};

/* Begins to answer what has not been answered: an error if that needs the answer. */
static void
begin_standing(const fflag_entry *other, const cache_user *user)
{
	fflag_standing *s = other->standing;

	check_stack_depth();
	if (s->question == user->question && s->under_way)
		ereport(ERROR,
				errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("flag \"%s\" depends on itself",
					   pnstrdup(other->name.data, other->name.len)),
				errdetail("Relations between flags lead round in a circle."),
				errhint("Take one of them away with fflag_unrelate(), or delete it from table \"feature_flag_relation\"."));
	s->question = user->question;
	s->under_way = true;
}

/* Sets "enabled" of the standing of a flag to which a relation leads. */
static void
decide_other(const fflag_entry *other, cache_user *user)
{
	fflag_standing *s = other->standing;

	if (user->question == 0)
	{
		user->question = ++questions;
		/* once, not for each flag along the way: it may be large */
		if (user->type == USER_TEXT && user->subject.somebody)
			user->id = PointerGetDatum(DatumGetTextPP(user->id));
	}
	if (s->question == user->question && !s->under_way)
		return;
	begin_standing(other, user);
	s->enabled = fflag_decide(&other->flag, &user->subject, &look, false).enabled;
	s->variant = -2;
	s->under_way = false;
}

static int	choose_variant(const fflag_entry *entry, cache_user *user);

static bool
gets_other(fflag_subject *subject, const fflag_flag *flag, const fflag_relation *relation)
{
	cache_user *user = (cache_user *) subject;
	const fflag_entry *other = fflag_other_flag(entry_of(flag), relation);
	fflag_standing *s = other->standing;
	int			variant;

	CHECK_FOR_INTERRUPTS();		/* there may be many relations */
	if (s == NULL)
		return relation->kind == FFLAG_EXCLUDES;
	decide_other(other, user);
	if (!s->enabled || relation->other_variant.len == 0)
		return s->enabled;
	variant = fflag_find_variant(fflag_variants_of(other), relation->other_variant);
	if (variant < 0)
		return relation->kind == FFLAG_EXCLUDES;
	if (s->variant == -2)
	{
		begin_standing(other, user);
		s->variant = choose_variant(other, user);
		s->under_way = false;
	}
	return s->variant == variant;
}

static bool
is_denied(fflag_subject *subject, const fflag_flag *flag)
{
	const cache_user *user = (cache_user *) subject;
	fflag_allowlist *list = fflag_cache_list(entry_of(flag), FFLAG_DENIED);
	char		room[FFLAG_ID_ROOM];
	fflag_string id_text;

	if (list == NULL)
		return false;
	if (user->type == USER_BIGINT && list->integers != NULL)
		return fflag_integer_list_has(list->integers, DatumGetInt64(user->id));
	id_text = user_to_text(user->id, user->type, room);
	return fflag_allowlist_has(list, id_text, fflag_allowlist_hash(list, id_text));
}

static inline void
draw(cache_user *user, const fflag_flag *flag, fflag_string id_text)
{
	user->draw = fflag_draw_of(flag->utf8_seed,
							   user->type == USER_TEXT ? fflag_to_utf8(id_text) : id_text);
	user->drawn_under = flag;
}

/* What the user draws under this flag; the last draw may be that of another one. */
static inline fflag_draw
get_draw(cache_user *user, const fflag_flag *flag)
{
	char		room[FFLAG_ID_ROOM];

	if (user->drawn_under != flag)
		draw(user, flag, user_to_text(user->id, user->type, room));
	return user->draw;
}

/* For a list that is asked by the id's text. */
static pg_noinline bool
is_text_listed(cache_user *user, const fflag_flag *flag, fflag_allowlist *list)
{
	char		room[FFLAG_ID_ROOM];
	fflag_string id_text = user_to_text(user->id, user->type, room);
	uint64		hash = fflag_allowlist_hash(list, id_text);

	/* first, because the list is still being fetched from memory */
	if (flag->rollout > 0)
		draw(user, flag, id_text);
	return fflag_allowlist_has(list, id_text, hash);
}

static bool
is_listed(fflag_subject *subject, const fflag_flag *flag)
{
	cache_user *user = (cache_user *) subject;
	fflag_allowlist *list = fflag_cache_list(entry_of(flag), FFLAG_USERS);

	if (list == NULL)
		return false;
	if (user->type == USER_BIGINT && list->integers != NULL)
		return fflag_integer_list_has(list->integers, DatumGetInt64(user->id));
	return is_text_listed(user, flag, list);
}

static int
get_bucket(fflag_subject *subject, const fflag_flag *flag)
{
	return get_draw((cache_user *) subject, flag).bucket;
}

/* Sets what has to be set: the draw need not be. */
static pg_attribute_always_inline void
set_user(cache_user *user, NullableDatum id, user_type type, bool is_staff)
{
	user->subject.somebody = !id.isnull;
	user->subject.is_staff = is_staff;
	user->type = type;
	user->id = id.value;
	user->drawn_under = NULL;
	user->question = 0;
}

/*
 * Decides for a flag that the cache has just returned, under the same
 * snapshot.  The user id is looked at only if it matters.
 */
static inline fflag_decision
evaluate_entry(const fflag_entry *entry, cache_user *user, bool default_value)
{
	return fflag_decide(&entry->flag, &user->subject, &look, default_value);
}

/* Does the user get the feature?  For batch.c, which knows the entry. */
bool
fflag_is_enabled(const fflag_entry *entry, NullableDatum id, user_type type,
				 bool is_staff)
{
	cache_user	user;

	set_user(&user, id, type, is_staff);
	return evaluate_entry(entry, &user, false).enabled;
}

/* A NULL name is one that no flag has; what is counted here is never looked at. */
static fflag_entry no_entry;

/* The flag named by argument 0. */
static pg_attribute_always_inline const fflag_entry *
get_entry(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? &no_entry :
		fflag_cache_get(fcinfo->flinfo, PG_GETARG_DATUM(0));
}

/* The user of argument 1; argument 2 is is_staff, and NULL is false. */
static pg_attribute_always_inline void
get_user(FunctionCallInfo fcinfo, user_type type, cache_user *user)
{
	set_user(user, fcinfo->args[1], type, !PG_ARGISNULL(2) && PG_GETARG_BOOL(2));
}

static inline int
bucket_of_seed(fflag_string utf8_seed, Datum id, user_type type)
{
	char		room[FFLAG_ID_ROOM];
	fflag_string user = user_to_text(id, type, room);

	return fflag_bucket_of(utf8_seed, type == USER_TEXT ? fflag_to_utf8(user) : user);
}

/* fflag_enabled(name, user_id, is_staff, default_value) returns boolean */
static inline Datum
fflag_enabled(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = get_entry(fcinfo);
	bool		enabled;

	/* what most rows are about, which the rules have settled beforehand */
	if (entry->flag.by_bucket && !PG_ARGISNULL(1) &&
		fflag_cache_list(entry, FFLAG_USERS) == NULL)
		enabled = bucket_of_seed(entry->flag.utf8_seed, PG_GETARG_DATUM(1), type) <
			entry->flag.rollout;
	else
	{
		cache_user	user;

		get_user(fcinfo, type, &user);
		enabled = evaluate_entry(entry, &user, !PG_ARGISNULL(3) && PG_GETARG_BOOL(3)).enabled;
	}
	fflag_entry_count(entry, 1, enabled);
	PG_RETURN_BOOL(enabled);
}

OVERLOADS(fflag_enabled,
		  fflag_enabled_bigint, fflag_enabled_uuid, fflag_enabled_text);

static fflag_string
utf8_name(Datum name)
{
	return fflag_to_utf8(fflag_string_of_text(DatumGetTextPP(name)));
}

/* fflag_bucket(name, user_id) returns integer; strict */
static inline Datum
fflag_bucket(FunctionCallInfo fcinfo, user_type type)
{
	PG_RETURN_INT32(bucket_of_seed(utf8_name(PG_GETARG_DATUM(0)), PG_GETARG_DATUM(1), type));
}

OVERLOADS(fflag_bucket,
		  fflag_bucket_bigint, fflag_bucket_uuid, fflag_bucket_text);

/*
 * The variant of a user who gets a flag that the cache has returned: its number, -1
 * if none.
 */
static int
choose_variant(const fflag_entry *entry, cache_user *user)
{
	const fflag_variant_set *variants = fflag_variants_of(entry);
	uint64		hash = 0;
	int			variant;

	if (unlikely(entry->forced_variant.len > 0))
	{
		/* if the flag has it: a slip in a setting must not end a query */
		variant = fflag_find_variant(variants, entry->forced_variant);
		if (variant >= 0)
			return variant;
	}
	variant = fflag_pinned_variant(variants, &entry->flag, &user->subject, &look);
	if (variant >= 0)
		return variant;
	if (variants->weighty > 1 && user->subject.somebody)
		hash = get_draw(user, &entry->flag).hash;
	return fflag_variant_of(variants, user->subject.somebody, hash);
}

/* The name of the variant that goes with a decision, a text, or null. */
static NullableDatum
variant_name(const fflag_entry *entry, fflag_decision decision, cache_user *user)
{
	NullableDatum result = {.isnull = true};
	int			variant = decision.enabled ? choose_variant(entry, user) : -1;

	if (variant >= 0)
	{
		result.value = fflag_string_to_text(entry->variants->names[variant]);
		result.isnull = false;
	}
	return result;
}

/*
 * The variant of the flag named by argument 0 for the user of argument 1: its
 * number, -1 if none.  Argument 2 is is_staff.
 */
static pg_attribute_always_inline int
evaluate_variant(FunctionCallInfo fcinfo, user_type type, const fflag_entry *entry)
{
	cache_user	user;
	bool		enabled;

	get_user(fcinfo, type, &user);
	enabled = evaluate_entry(entry, &user, false).enabled;
	fflag_entry_count(entry, 1, enabled);
	return enabled ? choose_variant(entry, &user) : -1;
}

/* fflag_variant(name, user_id, is_staff, default_variant) returns text */
static inline Datum
fflag_variant(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = get_entry(fcinfo);
	int			variant = evaluate_variant(fcinfo, type, entry);

	if (variant < 0 && PG_ARGISNULL(3))
		PG_RETURN_NULL();
	if (variant < 0)
		PG_RETURN_DATUM(PG_GETARG_DATUM(3));
	PG_RETURN_DATUM(fflag_string_to_text(entry->variants->names[variant]));
}

OVERLOADS(fflag_variant,
		  fflag_variant_bigint, fflag_variant_uuid, fflag_variant_text);

/* fflag_variant_payload(name, user_id, is_staff, default_variant) returns jsonb */
static inline Datum
fflag_variant_payload(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = get_entry(fcinfo);
	int			variant = evaluate_variant(fcinfo, type, entry);
	struct varlena *payload;

	if (variant < 0 && !PG_ARGISNULL(3))
		variant = fflag_find_variant(fflag_variants_of(entry),
									 fflag_string_of_text(PG_GETARG_TEXT_PP(3)));
	if (variant < 0)
		PG_RETURN_NULL();
	payload = fflag_payload_of(entry, variant);
	if (payload == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(payload);
}

OVERLOADS(fflag_variant_payload,
		  fflag_variant_payload_bigint, fflag_variant_payload_uuid,
		  fflag_variant_payload_text);

/*
 * The result of fflag_explain() and fflag_explain_at(): what has been decided
 * for the flag of this name and for this user, why, the variant's name, and because
 * of which other flag.
 */
Datum
fflag_explanation(FunctionCallInfo fcinfo, NullableDatum name,
				  NullableDatum id, user_type type, const fflag_flag *flag,
				  fflag_decision decision, NullableDatum variant, NullableDatum because)
{
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = BoolGetDatum(decision.enabled);
	values[1] = CStringGetTextDatum(fflag_rule_name(decision.rule));
	values[2] = CStringGetTextDatum(fflag_rule_reason(decision.rule));

	nulls[3] = name.isnull || id.isnull;
	values[3] = nulls[3] ? 0 :
		Int32GetDatum(bucket_of_seed(flag->known ? flag->utf8_seed : utf8_name(name.value),
									 id.value, type));

	/* exactly what the table says, less trailing zeros */
	nulls[4] = !flag->known;
	values[4] = nulls[4] ? 0 :
		DirectFunctionCall1(numeric_trim_scale,
							NumericGetDatum(int64_div_fast_to_numeric(flag->rollout, 3)));

	nulls[5] = variant.isnull;
	values[5] = variant.value;

	nulls[6] = because.isnull;
	values[6] = because.value;

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/* The other flag that has decided, by its name: the first of them; null if none has. */
static NullableDatum
find_because(const fflag_entry *entry, fflag_decision decision, cache_user *user)
{
	NullableDatum result = {.isnull = true};
	const fflag_relation *r = NULL;
	fflag_string first = {NULL, 0};

	while ((r = fflag_find_because(&entry->flag, &user->subject, &look, decision.rule, r)) != NULL)
	{
		const fflag_entry *other = fflag_other_flag(entry, r);

		if (other->flag.known && (result.isnull || fflag_string_compare(other->name, first) < 0))
		{
			first = other->name;
			result.isnull = false;
		}
	}
	if (!result.isnull)
		result.value = fflag_string_to_text(first);
	return result;
}

/*
 * fflag_explain(name, user_id, is_staff, default_value)
 * returns (enabled, rule, reason, bucket, rollout_percentage, variant, because)
 */
static inline Datum
fflag_explain(FunctionCallInfo fcinfo, user_type type)
{
	const fflag_entry *entry = &no_entry;
	cache_user	user;
	fflag_decision decision;

	get_user(fcinfo, type, &user);
	/* looked up without a report: it explains an unknown name */
	if (!PG_ARGISNULL(0))
		entry = fflag_cache_find(fcinfo->flinfo->fn_oid, PG_GETARG_DATUM(0));
	decision = evaluate_entry(entry, &user, !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
	return fflag_explanation(fcinfo, fcinfo->args[0], fcinfo->args[1], type,
							 &entry->flag, decision, variant_name(entry, decision, &user),
							 find_because(entry, decision, &user));
}

OVERLOADS(fflag_explain,
		  fflag_explain_bigint, fflag_explain_uuid, fflag_explain_text);

/* The columns of fflag_evaluate(); fflag_flags() has the first three. */
enum
{
	COLUMN_NAME,
	COLUMN_ENABLED,
	COLUMN_VARIANT,
	FLAGS_COLUMNS,
	COLUMN_PAYLOAD = FLAGS_COLUMNS,
	COLUMN_VARIANTS,
	COLUMN_RULE,
	COLUMN_REASON,
	COLUMN_BUCKET,
	COLUMN_BECAUSE,
	COLUMNS
};

/* Sets so many columns for a flag of this name and a user; nulls are false. */
static void
evaluate_row(const fflag_entry *entry, NullableDatum name, cache_user *user,
			 int columns, Datum *values, bool *nulls)
{
	fflag_decision decision = evaluate_entry(entry, user, false);
	int			variant = decision.enabled ? choose_variant(entry, user) : -1;
	NullableDatum because;
	struct varlena *payload = NULL;

	values[COLUMN_NAME] = name.value;
	nulls[COLUMN_NAME] = name.isnull;
	values[COLUMN_ENABLED] = BoolGetDatum(decision.enabled);
	nulls[COLUMN_VARIANT] = variant < 0;
	if (variant >= 0)
		values[COLUMN_VARIANT] = fflag_string_to_text(entry->variants->names[variant]);
	if (columns == FLAGS_COLUMNS)
		return;

	values[COLUMN_VARIANTS] =
		Int32GetDatum(entry->flag.known ? fflag_variants_of(entry)->count : 0);
	values[COLUMN_RULE] = CStringGetTextDatum(fflag_rule_name(decision.rule));
	values[COLUMN_REASON] = CStringGetTextDatum(fflag_rule_reason(decision.rule));
	nulls[COLUMN_BUCKET] = name.isnull || !user->subject.somebody;
	if (!nulls[COLUMN_BUCKET])
		values[COLUMN_BUCKET] = Int32GetDatum(entry->flag.known ?
											  get_draw(user, &entry->flag).bucket :
											  bucket_of_seed(utf8_name(name.value), user->id, user->type));
	because = find_because(entry, decision, user);
	values[COLUMN_BECAUSE] = because.value;
	nulls[COLUMN_BECAUSE] = because.isnull;
	/* last, because it may read the table */
	if (variant >= 0)
		payload = fflag_payload_of(entry, variant);
	values[COLUMN_PAYLOAD] = PointerGetDatum(payload);
	nulls[COLUMN_PAYLOAD] = payload == NULL;
}

/*
 * The same for the flag that has this name, which counts as an evaluation.  What the
 * rules found out about the user before may have been dropped from the cache.
 */
static void
evaluate_name(Oid function, NullableDatum name, cache_user *user, Datum *values, bool *nulls)
{
	const fflag_entry *entry = &no_entry;

	user->drawn_under = NULL;
	user->question = 0;
	/* looked up without a report: the row says that the name is unknown */
	if (!name.isnull)
	{
		entry = fflag_cache_find(function, name.value);
		fflag_entry_list_usage(entry, false);
	}
	evaluate_row(entry, name, user, COLUMNS, values, nulls);
	fflag_entry_count(entry, 1, DatumGetBool(values[COLUMN_ENABLED]));
}

/*
 * fflag_evaluate(name, user_id, is_staff)
 * returns (name, enabled, variant, payload, variants, rule, reason, bucket, because)
 */
static inline Datum
fflag_evaluate_name(FunctionCallInfo fcinfo, user_type type)
{
	TupleDesc	desc;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};
	cache_user	user;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (fflag_usage_is_due())
		fflag_cache_flush_usage();
	get_user(fcinfo, type, &user);
	evaluate_name(fcinfo->flinfo->fn_oid, fcinfo->args[0], &user, values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

OVERLOADS(fflag_evaluate_name,
		  fflag_evaluate_bigint, fflag_evaluate_uuid, fflag_evaluate_text);

/* Puts a row for each of these names, or for each flag that is not internal. */
static void
put_rows(FunctionCallInfo fcinfo, cache_user *user, ArrayType *names, int columns)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			function = fcinfo->flinfo->fn_oid;
	const fflag_entry *const *entries = NULL;
	Datum	   *elements = NULL;
	bool	   *no_name = NULL;
	int			count;
	MemoryContext caller;
	MemoryContext per_flag;

	InitMaterializedSRF(fcinfo, 0);
	if (fflag_usage_is_due())
		fflag_cache_flush_usage();
	if (names == NULL)
		entries = fflag_cache_get_all(function, &count);
	else
		deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &no_name, &count);
	if (user->type == USER_TEXT && user->subject.somebody)
		user->id = PointerGetDatum(DatumGetTextPP(user->id));

	per_flag = AllocSetContextCreate(CurrentMemoryContext, "fflag flag",
									 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(per_flag);
	for (int i = 0; i < count; i++)
	{
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {false};
		NullableDatum name = {0};

		CHECK_FOR_INTERRUPTS();
		if (names != NULL)
		{
			name.value = elements[i];

			name.isnull = no_name[i];
			evaluate_name(function, name, user, values, nulls);
		}
		else
		{
			if (entries[i]->flag.internal)
				continue;
			fflag_entry_count_bulk(entries[i]);
			name.value = fflag_string_to_text(entries[i]->name);
			/* one question: what many flags refer to is decided once */
			evaluate_row(entries[i], name, user, columns, values, nulls);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(per_flag);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(per_flag);
}

/* fflag_evaluate(names[], user_id, is_staff) returns setof the same; of NULL, all flags */
static inline Datum
fflag_evaluate_names(FunctionCallInfo fcinfo, user_type type)
{
	cache_user	user;

	get_user(fcinfo, type, &user);
	put_rows(fcinfo, &user, PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0), COLUMNS);
	return (Datum) 0;
}

OVERLOADS(fflag_evaluate_names,
		  fflag_evaluate_names_bigint, fflag_evaluate_names_uuid,
		  fflag_evaluate_names_text);

/* fflag_flags(user_id, is_staff) returns setof (name, enabled, variant) */
static inline Datum
fflag_flags(FunctionCallInfo fcinfo, user_type type)
{
	cache_user	user;

	set_user(&user, fcinfo->args[0], type, !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	put_rows(fcinfo, &user, NULL, FLAGS_COLUMNS);
	return (Datum) 0;
}

OVERLOADS(fflag_flags,
		  fflag_flags_bigint, fflag_flags_uuid, fflag_flags_text);
