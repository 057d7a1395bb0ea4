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

#include "bucket.h"
#include "rules.h"
#include "tap.h"

#define RULES (FFLAG_RULE_ROLLOUT + 1)
#define HALF 50000

/* A user and all that can be looked up of them, with what has been. */
typedef struct situation
{
	fflag_subject user;
	const fflag_flag *requires; /* NULL: no flag */
	bool		denied;
	bool		listed;
	int			bucket;
	bool		asked_required;
	bool		asked_denied;
	bool		asked_listed;
	bool		asked_bucket;
	int			of_others;		/* questions about flags but the first */
} situation;

static const fflag_flag *first;

static const fflag_flag *
get_required(fflag_subject *user, const fflag_flag *flag)
{
	situation  *s = (situation *) user;

	s->asked_required = true;
	return flag == first ? s->requires : NULL;
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

static const fflag_lookups look = {get_required, is_denied, is_listed, get_bucket};

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

static void
try_situation(unsigned n)
{
	/* the second is full, the third off, and so for everybody */
	static const fflag_flag others[] = {
		{0},
		{.known = true,.phase = FFLAG_PHASE_ON,.rollout = FFLAG_BUCKETS},
		{.known = true,.rollout = FFLAG_BUCKETS},
	};
	fflag_flag	flag = {
		.overridden = take(&n, 2),
		.forced = take(&n, 2),
		.known = take(&n, 2),
		.staff_only = take(&n, 2),
		.phase = (fflag_phase) take(&n, 4),
		.rollout = take(&n, 3) * HALF,
	};
	situation	s = {
		.user = {take(&n, 2), take(&n, 2)},
		.denied = take(&n, 2),
		.listed = take(&n, 2),
		.bucket = take(&n, 2) ? HALF : HALF - 1,
	};
	int			other = take(&n, 5);
	bool		default_value = take(&n, 2);
	bool		applies[RULES] = {0};
	bool		answers[RULES] = {0};
	int			want = 0;
	fflag_decision got;

	/*
	 * a flag that nothing restricts, one that may have a denylist,
	 * requirements
	 */
	flag.restricted = other > 0;
	s.requires = other > 1 ? &others[other - 2] : NULL;

	applies[FFLAG_RULE_OVERRIDE] = flag.overridden;
	applies[FFLAG_RULE_UNKNOWN_FLAG] = !flag.known;
	applies[FFLAG_RULE_STAFF_ONLY] = flag.staff_only;
	applies[FFLAG_RULE_DISABLED] = flag.phase == FFLAG_PHASE_DISABLED;
	applies[FFLAG_RULE_NOT_STARTED] = flag.phase == FFLAG_PHASE_NOT_STARTED;
	applies[FFLAG_RULE_ENDED] = flag.phase == FFLAG_PHASE_ENDED;
	applies[FFLAG_RULE_PREREQUISITE] = other == 2 || other == 4;
	applies[FFLAG_RULE_DENIED] = flag.restricted && s.denied && s.user.somebody;
	applies[FFLAG_RULE_FULL_ROLLOUT] = flag.rollout == FFLAG_BUCKETS;
	applies[FFLAG_RULE_ALLOWLIST] = s.listed && s.user.somebody;
	applies[FFLAG_RULE_NO_ROLLOUT] = flag.rollout == 0;
	applies[FFLAG_RULE_NO_USER] = !s.user.somebody;
	applies[FFLAG_RULE_ROLLOUT] = true;
	answers[FFLAG_RULE_OVERRIDE] = flag.forced;
	answers[FFLAG_RULE_UNKNOWN_FLAG] = default_value;
	answers[FFLAG_RULE_STAFF_ONLY] = s.user.somebody && s.user.is_staff;
	answers[FFLAG_RULE_FULL_ROLLOUT] = true;
	answers[FFLAG_RULE_ALLOWLIST] = true;
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
		s.asked_required != (flag.restricted && want >= FFLAG_RULE_PREREQUISITE) ||
		s.asked_denied != (flag.restricted && s.user.somebody && want >= FFLAG_RULE_DENIED) ||
		s.asked_listed != (s.user.somebody && want >= FFLAG_RULE_ALLOWLIST) ||
		s.asked_bucket != (want == FFLAG_RULE_ROLLOUT);
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

	for (unsigned n = 0; n < 2 * 2 * 2 * 2 * 4 * 3 * 2 * 2 * 2 * 2 * 2 * 5 * 2; n++)
		try_situation(n);
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
}

/* ---- chains of requirements ---- */

typedef struct chain
{
	fflag_subject user;
	int			length;
	int			at;				/* which link was asked for last */
	int			special;		/* this link is different */
	fflag_flag	special_flag;
	int			denied_at;
	fflag_flag	link;			/* one at a time, as in the past */
} chain;

static const fflag_flag *
get_link(fflag_subject *user, const fflag_flag *flag)
{
	chain	   *c = (chain *) user;
	fflag_flag	full = {.known = true,.phase = FFLAG_PHASE_ON,.restricted = true,.rollout = FFLAG_BUCKETS};

	if ((c->at > 0 && flag != &c->link) || c->at == c->length)
		return NULL;
	c->link = ++c->at == c->special ? c->special_flag : full;
	return &c->link;
}

static bool
is_denied_at(fflag_subject *user, const fflag_flag *flag)
{
	chain	   *c = (chain *) user;

	return flag == &c->link && c->at == c->denied_at;
}

static fflag_rule
decide_chain(chain *c)
{
	static const fflag_lookups links = {get_link, is_denied_at, is_listed, get_bucket};
	fflag_flag	top = {.known = true,.phase = FFLAG_PHASE_ON,.restricted = true,.rollout = FFLAG_BUCKETS};

	return fflag_decide(&top, &c->user, &links, true).rule;
}

static void
test_chains(void)
{
	chain		full = {.user = {true, true},.length = 1000000};
	chain		denied = {.user = {true, true},.length = 100,.denied_at = 70};
	chain		nobody = {.length = 100,.denied_at = 70};
	chain		off = {.user = {true, true},.length = 100,.special = 70,.special_flag = {.known = true}};
	chain		missing = {.user = {true, true},.length = 100,.special = 70};
	chain		staff = {.user = {true, true},.length = 100,.special = 70,.special_flag = {.known = true,.staff_only = true},.denied_at = 71};
	chain		others = staff;
	chain		forced = {.length = 100,.special = 70,.special_flag = {.overridden = true,.forced = true}};

	others.user.is_staff = false;
	ok(decide_chain(&full) == FFLAG_RULE_FULL_ROLLOUT && full.at == 1000000, "a million flags, each requires the next");
	ok(decide_chain(&denied) == FFLAG_RULE_PREREQUISITE && denied.at == 70, "denied on the way");
	ok(decide_chain(&nobody) == FFLAG_RULE_FULL_ROLLOUT && nobody.at == 100, "nobody is denied");
	ok(decide_chain(&off) == FFLAG_RULE_PREREQUISITE && off.at == 70, "one is off");
	ok(decide_chain(&missing) == FFLAG_RULE_PREREQUISITE && missing.at == 70, "one is missing, whatever the default");
	ok(decide_chain(&staff) == FFLAG_RULE_FULL_ROLLOUT && staff.at == 70, "for staff, what a flag for staff requires does not matter");
	ok(decide_chain(&others) == FFLAG_RULE_PREREQUISITE && others.at == 70, "others do not get it");
	ok(decide_chain(&forced) == FFLAG_RULE_FULL_ROLLOUT && forced.at == 70, "nor what an overridden one requires");
}

/* ---- all users of a kind ---- */

static void
test_kinds(void)
{
	int			wrong_kinds = 0;
	int			alike = 0;
	int			unlike = 0;

	for (unsigned n = 0; n < 2 * 2 * 2 * 2 * 4 * 4 * 2 * 2 * 2 * 2; n++)
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
		bool		anybody_listed = take(&rest, 2);
		int			enabled = 0;
		int			users = 0;
		fflag_decision best;
		bool		all;

		/* refused or not, listed or not, in the first and the last bucket */
		for (int i = 0; i < 8; i++)
		{
			fflag_facts facts = {
				.user = kind,
				.refused = i & 1,
				.listed = i & 2,
				.bucket = i & 4 ? FFLAG_BUCKETS - 1 : 0
			};

			if (facts.listed && !anybody_listed)
				continue;
			users++;
			enabled += fflag_decide_by_facts(&flag, &facts).enabled;
		}
		all = fflag_decide_for_all(&flag, kind, anybody_listed, &best);
		wrong_kinds += all != (enabled == 0 || enabled == users) || best.enabled != (enabled > 0);
		alike += all;
		unlike += !all;
	}
	ok(wrong_kinds == 0 && alike > 0 && unlike > 0, "whether all of a kind are answered alike");
}

int
main(void)
{
	test_order();
	test_chains();
	test_kinds();
	printf("1..%d\n", test_number);
	return failures != 0;
}
