/*
 * order.c
 *		Unit tests of the order of the rules in src/rules.c, in plain C.
 *
 * Prints TAP.  Goes through all situations, in which many rules apply; the first of
 * them in the order of fflag_rule has to decide, and what is behind it must not be
 * looked up.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bucket.h"
#include "rules.h"
#include "tap.h"

#define RULES (FFLAG_RULE_ROLLOUT + 1)
#define HALF 50000

/* ---- relations of a flag ---- */

/* A relation to another flag, or to one of its variants: does the user get that? */
typedef struct shape_row
{
	const char *other;
	const char *variant;
	bool		gets;
} shape_row;

/* Relations of one kind, in order, and what follows from them. */
typedef struct shape
{
	shape_row	rows[4];
	int			count;
	bool		unmet;			/* for whom requires them */
	bool		met;			/* for whom excludes or includes them */
	int			asks[2];		/* how many to find out the former, the latter */
	const char *because[2];		/* which others decide then */
} shape;

static const shape shapes[] = {
	{.count = 0},
	{{{"1", "", true}}, 1, false, true, {1, 1}, {"", "1"}},
	{{{"1", "", false}}, 1, true, false, {1, 1}, {"1", ""}},
	{{{"1", "", false}, {"2", "", true}, {"3", "", false}, {"4", "", true}}, 4, true, true, {1, 2}, {"13", "24"}},
	/* variants of one other are alternatives */
	{{{"1", "a", false}, {"1", "b", true}, {"2", "", false}}, 3, true, true, {3, 2}, {"2", "1"}},
	{{{"1", "a", true}, {"1", "b", false}, {"2", "", true}}, 3, false, true, {2, 1}, {"", "12"}},
	{{{"1", "a", false}, {"1", "b", false}, {"10", "", true}}, 3, true, true, {2, 3}, {"1", "10"}},
};

#define SHAPES (int) (sizeof(shapes) / sizeof(shapes[0]))
#define MOST_ROWS (4 * FFLAG_RELATION_KINDS)

static fflag_string
string_of(const char *text)
{
	return fflag_string_make(text, strlen(text));
}

/* Gives a flag these relations of each kind, in an order that is not theirs. */
static void
relate(fflag_flag *flag, const shape *const of_kind[], fflag_relation *relations)
{
	int			count = 0;

	for (int kind = 0; kind < FFLAG_RELATION_KINDS; kind++)
	{
		for (int n = of_kind[kind]->count - 1; n >= 0; n--)
		{
			const shape_row *r = &of_kind[kind]->rows[n];
			fflag_relation relation = {
				.kind = (fflag_relation_kind) kind,
				.other_id = string_of(r->other),
				.other_variant = string_of(r->variant)
			};

			relations[count++] = relation;
		}
	}
	fflag_set_relations(flag, relations, count);
}

/* A user and all that can be looked up of them, with what has been. */
typedef struct situation
{
	fflag_subject user;
	const shape *of_kind[FFLAG_RELATION_KINDS];
	bool		denied;
	bool		listed;
	int			bucket;
	int			asked_others[FFLAG_RELATION_KINDS];
	bool		asked_denied;
	bool		asked_listed;
	bool		asked_bucket;
	int			of_others;		/* questions about flags but the first */
} situation;

static const fflag_flag *first;

static bool
gets_other(fflag_subject *user, const fflag_flag *flag, const fflag_relation *relation)
{
	situation  *s = (situation *) user;
	const shape *of_kind = s->of_kind[relation->kind];
	int			n = 0;

	s->of_others += flag != first;
	s->asked_others[relation->kind]++;
	while (!fflag_string_equal(relation->other_id, string_of(of_kind->rows[n].other)) ||
		   !fflag_string_equal(relation->other_variant, string_of(of_kind->rows[n].variant)))
		n++;
	return of_kind->rows[n].gets;
}

static bool
is_denied(fflag_subject *user, const fflag_flag *flag)
{
	situation  *s = (situation *) user;

	s->of_others += flag != first;
	s->asked_denied = true;
	return s->denied;
}

static bool
is_listed(fflag_subject *user, const fflag_flag *flag)
{
	situation  *s = (situation *) user;

	s->of_others += flag != first;
	s->asked_listed = true;
	return s->listed;
}

static int
get_bucket(fflag_subject *user, const fflag_flag *flag)
{
	situation  *s = (situation *) user;

	s->of_others += flag != first;
	s->asked_bucket = true;
	return s->bucket;
}

static const fflag_lookups look = {gets_other, is_denied, is_listed, get_bucket};

/* Do as many cases as there are of something remain in *n?  Takes one of them. */
static int
take(unsigned *n, int cases)
{
	int			taken = *n % cases;

	*n /= cases;
	return taken;
}

static int	situations[RULES][RULES];	/* in which both apply */
static int	wrong[RULES][RULES];
static int	wrong_answers;
static int	looked_too_far;
static int	wrong_because;

/* Are these the others because of which the rule has decided? */
static bool
is_because(const fflag_flag *flag, situation *s, fflag_rule rule)
{
	int			kind = rule == FFLAG_RULE_PREREQUISITE ? FFLAG_REQUIRES :
	rule == FFLAG_RULE_EXCLUDED ? FFLAG_EXCLUDES :
	rule == FFLAG_RULE_INCLUDED ? FFLAG_INCLUDES : -1;
	char		others[20] = "";
	const fflag_relation *r = NULL;

	while ((r = fflag_find_because(flag, &s->user, &look, rule, r)) != NULL)
	{
		if ((int) r->kind != kind)
			return false;
		strncat(others, r->other_id.data, r->other_id.len);
	}
	return strcmp(others, kind < 0 ? "" : s->of_kind[kind]->because[kind != FFLAG_REQUIRES]) == 0;
}

static void
try_situation(const fflag_flag *related, const shape *const of_kind[], unsigned n)
{
	fflag_flag	flag = *related;
	situation	s = {
		.user = {take(&n, 2), take(&n, 2)},
		.of_kind = {of_kind[0], of_kind[1], of_kind[2]},
		.denied = take(&n, 2),
		.listed = take(&n, 2),
		.bucket = take(&n, 2) ? HALF : HALF - 1,
	};
	bool		default_value = take(&n, 2);
	bool		applies[RULES] = {0};
	bool		answers[RULES] = {0};
	int			want = 0;
	fflag_decision got;

	flag.overridden = take(&n, 2);
	flag.forced = take(&n, 2);
	flag.known = take(&n, 2);
	flag.staff_only = take(&n, 2);
	flag.phase = (fflag_phase) take(&n, 4);
	flag.rollout = take(&n, 3) * HALF;
	/* it may have a denylist */
	flag.restricted = flag.restricted || take(&n, 2);

	applies[FFLAG_RULE_OVERRIDE] = flag.overridden;
	applies[FFLAG_RULE_UNKNOWN_FLAG] = !flag.known;
	applies[FFLAG_RULE_STAFF_ONLY] = flag.staff_only;
	applies[FFLAG_RULE_DISABLED] = flag.phase == FFLAG_PHASE_DISABLED;
	applies[FFLAG_RULE_NOT_STARTED] = flag.phase == FFLAG_PHASE_NOT_STARTED;
	applies[FFLAG_RULE_ENDED] = flag.phase == FFLAG_PHASE_ENDED;
	applies[FFLAG_RULE_PREREQUISITE] = of_kind[FFLAG_REQUIRES]->unmet;
	applies[FFLAG_RULE_EXCLUDED] = of_kind[FFLAG_EXCLUDES]->met;
	applies[FFLAG_RULE_DENIED] = flag.restricted && s.denied && s.user.somebody;
	applies[FFLAG_RULE_FULL_ROLLOUT] = flag.rollout == FFLAG_BUCKETS;
	applies[FFLAG_RULE_ALLOWLIST] = s.listed && s.user.somebody;
	applies[FFLAG_RULE_INCLUDED] = of_kind[FFLAG_INCLUDES]->met;
	applies[FFLAG_RULE_NO_ROLLOUT] = flag.rollout == 0;
	applies[FFLAG_RULE_NO_USER] = !s.user.somebody;
	applies[FFLAG_RULE_ROLLOUT] = true;
	answers[FFLAG_RULE_OVERRIDE] = flag.forced;
	answers[FFLAG_RULE_UNKNOWN_FLAG] = default_value;
	answers[FFLAG_RULE_STAFF_ONLY] = s.user.somebody && s.user.is_staff;
	answers[FFLAG_RULE_FULL_ROLLOUT] = true;
	answers[FFLAG_RULE_ALLOWLIST] = true;
	answers[FFLAG_RULE_INCLUDED] = true;
	answers[FFLAG_RULE_ROLLOUT] = s.bucket < flag.rollout;
	while (!applies[want])
		want++;

	first = &flag;
	got = fflag_decide(&flag, &s.user, &look, default_value);
	wrong_answers += got.enabled != answers[want];
	for (int later = want + 1; later < RULES; later++)
	{
		situations[want][later] += applies[later];
		wrong[want][later] += applies[later] && (int) got.rule != want;
	}

	/* a list that does not decide has been looked at all the same */
	looked_too_far += s.of_others > 0 ||
		s.asked_others[FFLAG_REQUIRES] != (want >= FFLAG_RULE_PREREQUISITE ? of_kind[FFLAG_REQUIRES]->asks[0] : 0) ||
		s.asked_others[FFLAG_EXCLUDES] != (want >= FFLAG_RULE_EXCLUDED ? of_kind[FFLAG_EXCLUDES]->asks[1] : 0) ||
		s.asked_denied != (flag.restricted && s.user.somebody && want >= FFLAG_RULE_DENIED) ||
		s.asked_listed != (s.user.somebody && want >= FFLAG_RULE_ALLOWLIST) ||
		s.asked_others[FFLAG_INCLUDES] != (want >= FFLAG_RULE_INCLUDED ? of_kind[FFLAG_INCLUDES]->asks[1] : 0) ||
		s.asked_bucket != (want == FFLAG_RULE_ROLLOUT);
	wrong_because += !is_because(&flag, &s, got.rule);
}

/* Can two rules both apply? */
static bool
go_together(int a, int b)
{
	if (a >= FFLAG_RULE_DISABLED && b <= FFLAG_RULE_ENDED)
		return false;			/* a flag has one phase */
	if (a == FFLAG_RULE_FULL_ROLLOUT && b == FFLAG_RULE_NO_ROLLOUT)
		return false;			/* and one percentage */
	return b != FFLAG_RULE_NO_USER ||
		(a != FFLAG_RULE_DENIED && a != FFLAG_RULE_ALLOWLIST);
}

static void
test_order(void)
{
	char		what[100];

	for (int shape_of_each = 0; shape_of_each < SHAPES * SHAPES * SHAPES; shape_of_each++)
	{
		const shape *of_kind[] = {
			&shapes[shape_of_each % SHAPES],
			&shapes[shape_of_each / SHAPES % SHAPES],
			&shapes[shape_of_each / SHAPES / SHAPES]
		};
		fflag_relation relations[MOST_ROWS];
		fflag_flag	flag = {0};

		relate(&flag, of_kind, relations);
		for (unsigned n = 0; n < 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 4 * 3 * 2; n++)
			try_situation(&flag, of_kind, n);
	}
	for (int a = 0; a < RULES; a++)
	{
		for (int b = a + 1; b < RULES; b++)
		{
			snprintf(what, sizeof(what), "%s before %s", fflag_rule_name((fflag_rule) a),
					 fflag_rule_name((fflag_rule) b));
			if (go_together(a, b))
				ok(situations[a][b] > 0 && wrong[a][b] == 0, what);
			else if (situations[a][b] > 0)
				ok(0, what);
		}
	}
	ok(wrong_answers == 0, "answers");
	ok(looked_too_far == 0, "nothing is looked up behind the rule that decides");
	ok(wrong_because == 0, "because of which others");
}

/* ---- all users of a kind ---- */

static void
test_kinds(void)
{
	int			wrong_kinds = 0;
	int			alike = 0;
	int			unlike = 0;
	int			wrongly_settled = 0;
	int			settled = 0;

	for (unsigned n = 0; n < 2 * 2 * 2 * 2 * 4 * 4 * 2 * 2 * 2 * 2 * 2 * 2 * 2; n++)
	{
		static const int rollouts[] = {0, 1, FFLAG_BUCKETS - 1, FFLAG_BUCKETS};
		unsigned	rest = n;
		fflag_flag	flag = {
			.overridden = take(&rest, 2),
			.forced = take(&rest, 2),
			.known = take(&rest, 2),
			.staff_only = take(&rest, 2),
			.phase = (fflag_phase) take(&rest, 4),
			.rollout = rollouts[take(&rest, 4)],
			.restricted = take(&rest, 2),
		};
		fflag_subject kind = {take(&rest, 2), take(&rest, 2)};
		const shape *of_kind[] = {&shapes[take(&rest, 2)], &shapes[take(&rest, 2)], &shapes[take(&rest, 2)]};
		fflag_relation relations[MOST_ROWS];
		bool		anybody_listed = take(&rest, 2);
		int			enabled = 0;
		int			users = 0;
		bool		by_bucket = kind.somebody;
		fflag_decision best;
		bool		all;

		relate(&flag, of_kind, relations);
		fflag_settle(&flag);
		/* refused or not, included, listed, in the first and the last bucket */
		for (int i = 0; i < 16; i++)
		{
			fflag_facts facts = {
				.user = kind,
				.refused = i & 1,
				.included = i & 2,
				.listed = i & 4,
				.bucket = i & 8 ? FFLAG_BUCKETS - 1 : 0
			};

			if (facts.listed && !anybody_listed)
				continue;
			users++;
			enabled += fflag_decide_by_facts(&flag, &facts).enabled;
			if (!facts.listed && fflag_decide_by_facts(&flag, &facts).rule != FFLAG_RULE_ROLLOUT)
				by_bucket = false;
		}
		all = fflag_decide_for_all(&flag, kind, anybody_listed, &best);
		wrong_kinds += all != (enabled == 0 || enabled == users) || best.enabled != (enabled > 0);
		alike += all;
		unlike += !all;
		wrongly_settled += kind.somebody && flag.by_bucket != by_bucket;
		settled += by_bucket;
	}
	ok(wrong_kinds == 0 && alike > 0 && unlike > 0, "whether all of a kind are answered alike");
	ok(wrongly_settled == 0 && settled > 0, "whether the bucket alone decides");
}

int
main(void)
{
	test_order();
	test_kinds();
	printf("1..%d\n", test_number);
	return failures != 0;
}
