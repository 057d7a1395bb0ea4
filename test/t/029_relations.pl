# Relations between flags, against a second opinion in plain SQL: random lattices of 30 flags with
# relations of all kinds, variants, pins, terms, lists, staff and groups.  After each round of changes
# every function that evaluates is asked, with each type of id, and for nobody, in sessions that stay
# open: on the primary, on a hot standby, and on a logical subscriber; and fflag_explain_at() of the
# rounds before.
#
#   FFLAG_RELATION_ANSWERS   how many answers to compare at least (50000)
#   FFLAG_RELATION_SEED      seed of the random choices (by the clock); repeats them
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes qw(time);

my $wanted = $ENV{FFLAG_RELATION_ANSWERS} // 50_000;
my $seed = $ENV{FFLAG_RELATION_SEED} // time() % 1_000_000;
note "seed $seed, $wanted answers";
srand $seed;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = log");
$primary->start;
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = log");
$subscriber->start;

my $set_up = 'CREATE EXTENSION fflag;' . second_opinion() . q{
	-- what was said at some moment
	CREATE TABLE said (at timestamptz, round int, name text, id text, staff boolean, answer text);
};
$_->safe_psql('postgres', $set_up) for ($primary, $subscriber);
$primary->safe_psql('postgres', 'CREATE PUBLICATION flags FOR TABLE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation');
$subscriber->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION flags CONNECTION '%s dbname=postgres' PUBLICATION flags}, $primary->connstr);
$subscriber->wait_for_subscription_sync($primary, 'flags');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# ---- random lattices

sub one_of { return $_[ rand @_ ]; }
my @users = (1 .. 30, (map { sprintf 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a%02d', $_ } 1 .. 10), qw(ada bob eve zoë), '');
sub user { return one_of(@users); }
sub flag { return 'flag ' . (1 + int rand 30); }
sub variant { return one_of(qw(a B b c)); }

# Users who are not listed are asked for, too.
sub users
{
	my ($count) = @_;
	return join ', ', 'NULL', map { "'$_'" } map { user() } 1 .. $count;
}

my $moment = q{now() + interval '1 day' * %d};

# The columns of a flag: most are open to some and closed to others.
sub columns
{
	return sprintf q{enabled = %s, staff_only = %s, rollout_percentage = %s, internal = %s, starts_at = %s, ends_at = %s, (ramp_to, ramp_starts_at, ramp_ends_at) = %s},
		rand() < 0.95 ? 'true' : 'false', rand() < 0.04 ? 'true' : 'false', one_of(0, 0, 0.001, 12.5, 50, 77.777, 100, 100, 100), rand() < 0.1 ? 'true' : 'false',
		one_of(('NULL') x 10, map { sprintf $moment, $_ } -1, -1, 1), one_of(('NULL') x 12, map { sprintf $moment, $_ } 0, 2, 3),
		one_of(('ROW (NULL::numeric, NULL::timestamptz, NULL::timestamptz)') x 6, map { sprintf "ROW (${_}::numeric, $moment, $moment)", -1 - rand 3, 1 + rand 3 } 0, 33.333, 100);
}

sub relate
{
	my ($flag, $other) = @_;
	my $variants = one_of('', '', '', '', "'a'", "'a', 'b'", "'B'");
	my $list = $variants ? ", $variants" : '';
	my $way = rand;
	return "SELECT fflag_require('$flag', '$other'$list)" if $way < 0.08;
	return "SELECT fflag_exclude('$flag', '$other'$list)" if $way < 0.18;
	return sprintf "SELECT fflag_include('$flag', '$other', %s$list)", one_of('NULL', (q{'a'}, q{'b'}, q{'B'}) x 2) if $way < 0.92;
	return sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT f.id, o.id, '%s', %s FROM feature_flag AS f, feature_flag AS o
		WHERE f.name = '%s' AND o.name = '%s' ON CONFLICT DO NOTHING}, one_of(qw(requires excludes includes)), one_of('NULL', 'NULL', q{'b'}), $flag, $other;
}

my @changes = (
	(sub { relate(flag(), flag()) }) x 6,
	(sub { sprintf q{SELECT fflag_unrelate('%s', '%s')}, flag(), flag() }) x 2,
	sub { sprintf q{DELETE FROM feature_flag_relation WHERE id %% %d = 0}, 5 + rand 30 },
	(sub { sprintf q{UPDATE feature_flag_relation SET pin = %s WHERE kind = 'includes' AND id %% %d = 0 AND flag_id IN (SELECT flag_id FROM feature_flag_variant WHERE name = 'b')}, one_of('NULL', q{'b'}), 2 + rand 5 }) x 2,
	(sub { sprintf q{UPDATE feature_flag_relation SET kind = '%s', pin = NULL WHERE (flag_id, other_id) IN (SELECT flag_id, other_id FROM feature_flag_relation WHERE id %% %d = 0)}, one_of(qw(requires excludes includes)), 5 + rand 30 }) x 2,
	(sub { sprintf q{UPDATE feature_flag_relation SET flag_id = other_id, other_id = flag_id WHERE id %% %d = 0 AND pin IS NULL AND other_variant IS NULL}, 2 + rand 30 }) x 2,
	(sub { sprintf q{UPDATE feature_flag SET %s WHERE name = '%s'}, columns(), flag() }) x 4,
	(sub { sprintf q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s'}, flag() }),
	(sub { sprintf q{UPDATE feature_flag SET name = CASE name WHEN '%1$s' THEN 'flag 0' ELSE '%1$s' END WHERE name IN ('%1$s', '%2$s')}, flag(), flag() }),
	(sub { sprintf q{UPDATE feature_flag SET name = '%s' WHERE name = 'flag 0'}, flag() }) x 2,
	sub { sprintf q{SELECT fflag_rename('%s', 'flag 0')}, flag() },
	sub { sprintf q{UPDATE feature_flag SET seed = %s WHERE name = '%s'}, one_of('NULL', q{'flag 1'}, q{'flag 2'}), flag() },
	sub { sprintf q{UPDATE feature_flag_variant SET weight = %s WHERE name = '%s' AND flag_id %% 2 = %d}, one_of(0, 0, 1, 5), variant(), rand 2 },
	(sub { sprintf q{DELETE FROM feature_flag WHERE name = '%s'}, flag() }),
	(sub { sprintf q{DELETE FROM feature_flag WHERE name = '%1$s' OR id IN (SELECT flag_id FROM feature_flag_relation WHERE other_id = (SELECT id FROM feature_flag WHERE name = '%1$s'))}, flag() }),
	(sub { sprintf q{SELECT fflag_register('%s', true, %s)}, flag(), one_of(0, 50, 100) }) x 3,
	(sub { sprintf q{SELECT fflag_group('%s', '%s', '%s')}, flag(), user(), user() }) x 2,
	(sub { sprintf q{SELECT fflag_allow('%s', '%s')}, flag(), user() }) x 2,
	(sub { sprintf q{SELECT fflag_deny('%s', '%s')}, flag(), user() }),
	(sub { sprintf q{DELETE FROM %s WHERE user_id = '%s'}, one_of('feature_flag_user', 'feature_flag_denied_user'), user() }) x 2,
	(sub { sprintf q{SELECT fflag_variants('%s', '{"a": 1, "b": %s, "B": 0.5}')}, flag(), 1 + int rand 5 }) x 2,
	(sub { sprintf q{INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, '%s', %d FROM feature_flag WHERE name = '%s' ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight}, variant(), 1 + rand 5, flag() }),
	(sub { sprintf q{UPDATE feature_flag_variant SET name = '%s' WHERE name = '%s' AND flag_id %% 3 = %d}, variant(), variant(), rand 3 }) x 2,
	(sub { sprintf q{DELETE FROM feature_flag_variant WHERE name = '%s' AND flag_id = (SELECT id FROM feature_flag WHERE name = '%s')}, variant(), flag() }));

my $writer = session($primary);

# Changes may be refused: circles, what is needed, variants and names that are or are not there.
sub try
{
	my ($change) = @_;
	return 1 if eval { $writer->do($change); 1 };
	die "$change: $@" unless $writer->state =~ /^(23514|23503|23505|22023|42704|42710)$/;
	return 0;
}

# The names are dealt anew, so that relations lead to older and to younger flags.
sub new_lattice
{
	my @names = shuffle map { "flag $_" } 1 .. 30;
	$writer->do('DELETE FROM feature_flag');
	$writer->do(sprintf q{INSERT INTO feature_flag (name) SELECT unnest('{%s}'::text[])}, join ',', shuffle @names);
	try(sprintf q{UPDATE feature_flag SET %s WHERE name = '%s'}, columns(), $_) for @names;
	$writer->do(sprintf q{INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, v, 1 + length(f.name || v) %% 3 FROM feature_flag AS f, unnest('{%s}'::text[]) AS v
		WHERE name IN ('%s')}, $_->[0], join q{','}, (shuffle @names)[ 0 .. 21 ]) for [ 'a,b' ], [ 'B' ];
	for my $table ('feature_flag_user', 'feature_flag_denied_user')
	{
		$writer->do(sprintf q{INSERT INTO %s (flag_id, user_id) SELECT id, u FROM feature_flag, unnest(ARRAY['%s']) AS u WHERE hashint8extended(id, %d) %% %d = 0 ON CONFLICT DO NOTHING},
			$table, join(q{','}, map { user() } 1 .. 8), rand 1000, $table =~ /denied/ ? 6 : 2);
	}
	for my $i (1 .. $#names)
	{
		try(relate($names[$i], $names[ rand $i ])) for 1 .. 2 + rand 4;
	}
	return;
}

sub change
{
	new_lattice() if rand() < 0.5 || ask($writer, 'SELECT count(*) FROM feature_flag') < 20;
	try(one_of(@changes)->()) for 1 .. 5 + rand 20;
	$writer->do('UPDATE feature_flag_variant SET payload = to_jsonb(name || flag_id) WHERE payload IS NULL');
	return;
}

# ---- answers

my %session = (primary => session($primary), standby => session($standby), subscriber => session($subscriber));
my (%total, %rules, @examples);

sub count
{
	my ($where, $what, $answers, $wrong, $example) = @_;
	$total{$where}[0] += $answers;
	$total{$where}[1] += $wrong;
	push @examples, "$where, $what: $wrong of $answers: $example" if $wrong;
	return;
}

sub compare
{
	my ($where, $ids, $override) = @_;
	my $session = $session{$where};
	$session->do(sprintf q{SET fflag.override = '%s'}, $override);
	count($where, @$_) for @{ $session->selectall_arrayref("SELECT * FROM result(ARRAY[$ids])") };
	return;
}

sub compare_past
{
	my ($where) = @_;
	count($where, @$_) for @{ $session{$where}->selectall_arrayref(q{
		SELECT 'fflag_explain_at', count(*), count(*) FILTER (WHERE answer <> answered), min(concat_ws(' ', at, name, coalesce(id, 'nobody'), staff) || ': ' || answered || ', not ' || answer) FILTER (WHERE answer <> answered)
		FROM (SELECT s.*, (SELECT (e.enabled, e.rule, e.variant, e.because)::text FROM fflag_explain_at(s.at, s.name, s.id, s.staff) AS e) AS answered
			FROM (SELECT * FROM said WHERE round > (SELECT max(round) - 40 FROM said) ORDER BY random() LIMIT 400) AS s) AS a}) };
	return;
}

sub sum { my ($i) = @_; my $sum = 0; $sum += $_->[$i] for values %total; return $sum; }

my $begun = time;
my $round = 0;
new_lattice();
while (sum(0) < $wanted && @examples < 10)
{
	change();
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	$primary->wait_for_catchup('flags');
	my $ids = users($wanted > 500_000 ? 9 : 2);
	my $override = rand() < 0.3 ? sprintf '"%s"=on' . one_of('', ':"a"', ':"B"') . ', "%s"=off', 'flag ' . (1 + int rand 15), 'flag ' . (16 + int rand 15) : '';
	compare($_, $ids, $override) for sort keys %session;
	# what is said is said of the moment before the next change
	$session{primary}->do(sprintf q{INSERT INTO said SELECT statement_timestamp(), %d, o.name, u.id, s.staff, (o.enabled, o.rule, o.variant, o.because)::text
		FROM unnest(ARRAY[%s]) AS u (id), (VALUES (false), (true)) AS s (staff), opinions(u.id, s.staff, statement_timestamp(), '') AS o}, $round++, $ids);
	$rules{ $_->[0] } += $_->[1] for @{ $session{primary}->selectall_arrayref(sprintf q{SELECT substring(answer, '^\([tf],([a-z_]+)'), count(*) FROM said WHERE round = %d GROUP BY 1}, $round - 1) };
	$rules{'variants of nobody'} += ask($session{primary}, sprintf q{SELECT count(*) FROM said WHERE round = %d AND id IS NULL AND answer ~ '^\(t,[a-z_]+,[^,]'}, $round - 1);
	compare_past('primary');
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	compare_past('standby');
}
my $seconds = time - $begun;

is($total{$_}[1], 0, "$_: no wrong answer of $total{$_}[0]") for sort keys %total;
diag $_ for @examples;
diag sprintf '%d answers in %d rounds, %d wrong, in %.0f s (seed %d)', sum(0), $round, sum(1), $seconds, $seed;
diag join ', ', map { "$_ $rules{$_}" } sort { $rules{$b} <=> $rules{$a} } keys %rules;
cmp_ok($rules{$_} // 0, '>', 0, "rule $_ has decided") for qw(prerequisite excluded included), 'variants of nobody';

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION flags');
$_->disconnect for $writer, values %session;
no_crash($_) for ($subscriber, $standby, $primary);
$_->stop for ($subscriber, $standby, $primary);
done_testing();
