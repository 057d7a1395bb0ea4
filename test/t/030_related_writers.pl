# Relations between flags, many sessions and many flags.  Twelve sessions relate, unrelate, delete,
# rename, import and register 40 flags and change their variants, in each isolation level and in prepared
# transactions: no circle is ever committed, none waits for another for good, and who reads meanwhile
# gets the answers of a second opinion in plain SQL.  And a thousand flags behind one kill switch and
# one holdout decide these two once.
#
#   FFLAG_RELATION_SECONDS   how long the sessions write (10)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCrowd;
use FflagTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{FFLAG_RELATION_SECONDS} // 10;
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', q{
max_prepared_transactions = 20
deadlock_timeout = 20ms
log_statement = none
log_min_messages = log
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION fflag;' . second_opinion() . q{
	CREATE VIEW wrong_relation AS
		WITH RECURSIVE way (first, last) AS (
			SELECT flag_id, other_id FROM feature_flag_relation UNION SELECT way.first, r.other_id FROM way JOIN feature_flag_relation AS r ON r.flag_id = way.last)
		SELECT 'circle' AS what, first AS flag_id FROM way WHERE first = last
		UNION ALL SELECT 'two kinds', flag_id FROM feature_flag_relation GROUP BY flag_id, other_id HAVING count(DISTINCT kind) > 1
		UNION ALL SELECT 'no other flag', flag_id FROM feature_flag_relation AS r WHERE NOT EXISTS (SELECT FROM feature_flag AS f WHERE f.id = r.other_id)
		UNION ALL SELECT 'no such variant', flag_id FROM feature_flag_relation AS r WHERE other_variant IS NOT NULL
			AND NOT EXISTS (SELECT FROM feature_flag_variant AS v WHERE (v.flag_id, v.name) = (r.other_id, r.other_variant))
		UNION ALL SELECT 'no such pin', flag_id FROM feature_flag_relation AS r WHERE pin IS NOT NULL
			AND NOT EXISTS (SELECT FROM feature_flag_variant AS v WHERE (v.flag_id, v.name) = (r.flag_id, r.pin));
});

# ---- writers

# A flag that is renamed is called "old" from then on: two sessions that give each other's names would
# wait for each other, whatever the extension does.
sub one_of { return $_[ rand @_ ]; }
sub flag { return (rand() < 0.1 ? 'old ' : 'flag ') . (1 + int rand 40); }
sub user { return 1 + int rand 5; }
sub variant { return one_of(qw(a b c)); }
sub variants { return one_of('', '', '', '', '', ", 'a'", ", 'a', 'b'", ", 'b'"); }

# These take the lock on relations first, and what they need of flags and variants in one order.  A
# transaction may do many of them.
my @relating = (
	(sub { sprintf q{SELECT fflag_require('%s', '%s'%s)}, flag(), flag(), variants() }) x 3,
	(sub { sprintf q{SELECT fflag_exclude('%s', '%s'%s)}, flag(), flag(), variants() }) x 2,
	(sub { sprintf q{SELECT fflag_include('%s', '%s', %s%s)}, flag(), flag(), one_of('NULL', 'NULL', q{'a'}, q{'b'}), variants() }) x 5,
	sub { sprintf q{SELECT fflag_unrelate('%s', '%s')}, flag(), flag() },
	# both relations of a pair, and one that is there
	sub { my ($f, $o) = (flag(), flag()); sprintf q{SELECT fflag_unrelate('%1$s', '%2$s'), fflag_require('%2$s', '%1$s')}, $f, $o },
	sub { sprintf q{SELECT fflag_unrelate(f.name, o.name) FROM feature_flag_relation AS r JOIN feature_flag AS f ON f.id = r.flag_id JOIN feature_flag AS o ON o.id = r.other_id
		OFFSET %d LIMIT 1}, rand 200 });
# The last statement of a transaction, or its only one.
my @changes = (
	(sub { one_of(@relating)->() }) x 30,
	sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT f.id, o.id, '%s', %s FROM feature_flag AS f, feature_flag AS o
		WHERE f.name = '%s' AND o.name = '%s' ON CONFLICT DO NOTHING}, one_of(qw(requires excludes includes)), one_of('NULL', q{'a'}), flag(), flag() },
	sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, 'requires' FROM feature_flag AS f, feature_flag AS o
		WHERE f.name = '%s' AND o.id %% 5 = %d AND o.id < f.id ON CONFLICT DO NOTHING}, flag(), rand 5 },
	sub { sprintf q{DELETE FROM feature_flag_relation WHERE id IN (SELECT id FROM feature_flag_relation OFFSET %d LIMIT 1)}, rand 200 },
	sub { sprintf q{DELETE FROM feature_flag_relation AS r USING feature_flag AS f WHERE f.id = r.other_id AND f.name = '%s'}, flag() },
	(sub { sprintf q{SELECT fflag_register('%s', true, %s)}, flag(), one_of(0, 50, 100) }) x 4,
	(sub { q{SELECT count(*) FROM fflag_register(ARRAY(SELECT 'flag ' || n FROM generate_series(1, 40) AS n), true, 50)} }) x 4,
	(sub { q{INSERT INTO feature_flag_variant (flag_id, name) SELECT id, unnest('{a,b}'::text[]) FROM feature_flag ORDER BY 1, 2 ON CONFLICT DO NOTHING} }) x 2,
	sub { sprintf q{SELECT fflag_group('%s', %d)}, flag(), user() },
	(sub { sprintf q{DELETE FROM feature_flag WHERE name = '%s'}, flag() }) x 2,
	# with all that need it; in the order in which functions lock flags
	sub { sprintf q{WITH RECURSIVE gone AS (SELECT id FROM feature_flag WHERE name = 'old %d' UNION SELECT r.flag_id FROM gone JOIN feature_flag_relation AS r ON r.other_id = gone.id),
		locked AS MATERIALIZED (SELECT id FROM feature_flag WHERE id IN (TABLE gone) ORDER BY name FOR UPDATE)
		DELETE FROM feature_flag WHERE id IN (SELECT id FROM locked)}, 1 + rand 40 },
	sub { my $n = 1 + int rand 40; sprintf q{UPDATE feature_flag SET name = 'old %1$d' WHERE name = 'flag %1$d'}, $n },
	sub { my $n = 1 + int rand 40; sprintf q{SELECT fflag_rename('flag %1$d', 'old %1$d')}, $n },
	sub { sprintf q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s'}, flag() },
	sub { sprintf q{UPDATE feature_flag SET rollout_percentage = %s WHERE name = '%s'}, one_of(0, 50, 100), flag() },
	(sub { sprintf q{SELECT count(*) FROM fflag_import('{"fflag": 1, "flags": [{"name": "%s", "relations": [{"kind": "%s", "other": "%s"}]}, {"name": "%s", "relations": []},
		{"name": "%s", "variants": [{"name": "a", "weight": 1}], "allowlist": ["1"]}]}')}, flag(), one_of(qw(requires excludes includes)), flag(), flag(), flag() }) x 4,
	(sub { sprintf q{SELECT fflag_variants('%s', '%s')}, flag(), one_of('{"a": 1}', '{"a": 1, "b": 1}', '{"b": 2, "c": 1}', '{"a": 1, "b": 2, "c": 3}') }) x 4,
	sub { sprintf q{UPDATE feature_flag_variant AS v SET name = '%s' FROM feature_flag AS f WHERE f.id = v.flag_id AND f.name = '%s' AND v.name = '%s'}, variant(), flag(), variant() },
	sub { sprintf q{DELETE FROM feature_flag_variant AS v USING feature_flag AS f WHERE f.id = v.flag_id AND f.name = '%s' AND v.name = '%s'}, flag(), variant() },
	sub { sprintf q{SELECT fflag_allow('%s', %d)}, flag(), user() },
	sub { sprintf q{SELECT fflag_deny('%s', %d)}, flag(), user() });

# What may be refused, beside serialization failures: circles and relations of two kinds; what another
# flag needs; variants and flags that are not there, or names that are; what is no group.
my %refused = map { $_ => 1 } qw(23514 23503 23505 22023 42704 42710 40001);

sub try
{
	my ($session, $counts, $statement) = @_;
	my $done = eval { $session->do($statement); 1 };
	my $state = $done ? 'done' : $session->state;
	$counts->{$state}++;
	die "$statement: $@" unless $done || $refused{$state};
	return $done;
}

sub write_something
{
	my ($session, $counts, $id) = @_;
	$session->do('SET default_transaction_isolation = ' . one_of(q{'read committed'}, q{'repeatable read'}, q{'serializable'}));
	return try($session, $counts, one_of(@changes)->()) if rand() < 0.6;
	$session->do('BEGIN');
	my $fine = 1;
	for (1 .. 1 + rand 4)
	{
		$session->do('SAVEPOINT s');
		$fine = try($session, $counts, one_of(@relating)->()) && rand() < 0.8;
		$session->do($fine ? 'RELEASE s' : 'ROLLBACK TO s');
	}
	$fine = rand() < 0.5 || try($session, $counts, one_of(@changes)->());
	if ($fine && rand() < 0.3)
	{
		return $session->do('ROLLBACK') unless try($session, $counts, "PREPARE TRANSACTION '$id'");
		sleep rand 0.005;
		$session->do(one_of('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$id'");
		$counts->{prepared}++;
	}
	elsif (!$fine || rand() < 0.1 || !try($session, $counts, 'COMMIT'))
	{
		$session->do('ROLLBACK');
	}
	return;
}

sub read_something
{
	my ($session, $counts) = @_;
	$session->do('BEGIN ISOLATION LEVEL ' . one_of('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'));
	for (1 .. 1 + rand 3)
	{
		my $done = eval {
			my ($answers, $wrong, $relations, $circles, $example) = $session->selectrow_array(sprintf
				q{SELECT sum(answers), sum(wrong), (SELECT count(*) FROM feature_flag_relation), (SELECT count(*) FROM wrong_relation),
					concat_ws('; ', min(what || ' ' || example), (SELECT min(what || ' ' || flag_id) FROM wrong_relation)) FROM result(ARRAY['%d', '%d', NULL])}, user(), user());
			$counts->{answers} += $answers // 0;
			$counts->{wrong} += $wrong // 0;
			$counts->{circles} += $circles;
			$counts->{looks}++;
			$counts->{relations} += $relations;
			print "# $example\n" if ($wrong // 0) + $circles && $counts->{examples}++ < 5;
			1;
		};
		next if $done;
		die $@ unless $session->state eq '40001';
		return $session->do('ROLLBACK');
	}
	eval { $session->do('COMMIT'); 1 } or $session->state eq '40001' or die $@;
	return;
}

$node->safe_psql('postgres', q{SELECT count(*) FROM fflag_register(ARRAY(SELECT 'flag ' || n FROM generate_series(1, 40) AS n), true, 50);
	INSERT INTO feature_flag_variant (flag_id, name) SELECT id, unnest('{a,b}'::text[]) FROM feature_flag;
	INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, (ARRAY['requires', 'excludes', 'includes', 'includes'])[1 + f.id % 4]
		FROM feature_flag AS f JOIN feature_flag AS o ON o.id < f.id WHERE (f.id * 7 + o.id) % 8 = 0});
my $until = time + $seconds;
for my $n (1 .. 12)
{
	start('writers', sub {
		my ($counts) = @_;
		my $session = session($node);
		write_something($session, $counts, "p$n") while time < $until;
		$session->disconnect;
	});
}
for (1 .. 3)
{
	start('readers', sub {
		my ($counts) = @_;
		my $session = session($node);
		read_something($session, $counts) while time < $until;
		$session->disconnect;
	});
}
my $counts = gather();
my %writers = %{ $counts->{writers} };
my %readers = %{ $counts->{readers} };
is($_->{died}, 0, 'no session died') for \%writers, \%readers;
is($readers{wrong}, 0, "no wrong answer of $readers{answers}");
is($readers{circles}, 0, "no circle, nor half a relation, in $readers{looks} looks");
cmp_ok($readers{relations} / $readers{looks}, '>', 10, 'there were relations to look at');
cmp_ok($writers{$_} // 0, '>', 0, "writers: $_") for qw(done prepared 23514 23503 40001);
is($node->safe_psql('postgres', 'SELECT count(*) FROM wrong_relation'), 0, 'nor afterwards');
my $log = slurp_file($node->logfile);
is(() = $log =~ /deadlock detected/g, 0, 'no deadlock');
my ($deadlock) = $log =~ /(ERROR:  deadlock detected.*?STATEMENT:.*?\n)/s;
diag $deadlock if $deadlock;
diag join ', ', "writers, in $seconds s:", map { "$_ $writers{$_}" } sort keys %writers;
diag sprintf 'readers: %d answers, %d wrong; %d relations at a time', @readers{qw(answers wrong)}, $readers{relations} / $readers{looks};

# ---- many flags

# Buckets of a long id take a while: milliseconds for each flag that is decided by its own.  So it
# shows whether the two that all others ask for are decided once.
$node->safe_psql('postgres', q{
	DELETE FROM feature_flag;
	SELECT fflag_register('kill switch', true, 99.999), fflag_register('holdout', true, 0.001);
	INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'behind ' || n, true, 100 FROM generate_series(1, 1000) AS n;
	INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, CASE o.name WHEN 'holdout' THEN 'excludes' ELSE 'requires' END
		FROM feature_flag AS f, feature_flag AS o WHERE f.name LIKE 'behind%' AND o.name IN ('kill switch', 'holdout')});
my $session = session($node);

# The least time of a few that a query takes.
sub time_of
{
	my ($query) = @_;
	my $least;
	for (1 .. 5)
	{
		my $before = time;
		ask($session, $query);
		my $passed = time - $before;
		$least = $passed if !defined $least || $passed < $least;
	}
	return $least;
}

my $id = q{repeat('a long id ', 200000)};
is(ask($session, "SELECT count(*) FROM fflag_flags($id) WHERE enabled AND name LIKE 'behind%'"), 1000, '1,000 flags behind two');
my $one = time_of("SELECT fflag_enabled('kill switch', $id)");
my $all = time_of("SELECT count(*) FROM fflag_flags($id)");
cmp_ok($all, '<', 100 * $one, sprintf 'fflag_flags decides these two once: %.1f ms, not 2,000 times %.1f ms', 1000 * $all, 1000 * $one);
$all = time_of("SELECT fflag_enabled('behind 1', array_fill($id, '{20}'))");
cmp_ok($all, '>', 5 * $one, 'an array decides them for each user');
$session->do(q{SELECT fflag_disable('kill switch')});
is(ask($session, "SELECT count(*) FROM fflag_flags($id) WHERE enabled"), 0, 'the kill switch is off for all of them at once');

# a tree of relations above two for all
$node->safe_psql('postgres', q{
	SELECT fflag_enable('kill switch');
	INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'behind ' || n, true, 100 FROM generate_series(1001, 10000) AS n;
	INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, CASE o.name WHEN 'holdout' THEN 'excludes' ELSE 'requires' END
		FROM feature_flag AS f, feature_flag AS o WHERE f.name LIKE 'behind%' AND o.name IN ('kill switch', 'holdout') ON CONFLICT DO NOTHING;
	INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, (ARRAY['requires', 'includes'])[1 + o.id % 2]
		FROM (SELECT id, split_part(name, ' ', 2)::int AS n FROM feature_flag WHERE name LIKE 'behind%') AS f
			JOIN feature_flag AS o ON o.name = 'behind ' || f.n / 2});
for my $n (1 .. 10)
{
	start('ten thousand', sub {
		my ($counts) = @_;
		my $session = session($node);
		for (1 .. 5)
		{
			my $before = time;
			$counts->{enabled} += ask($session, sprintf q{SELECT count(*) FROM fflag_flags(%d) WHERE enabled}, 1000 * $n + $_);
			$counts->{seconds} += time - $before;
		}
		$counts->{bytes} += ask($session, q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'fflag%'});
		$session->disconnect;
	});
}
my %flags = %{ gather()->{'ten thousand'} };
is($flags{died}, 0, '10,000 flags with relations in 10 sessions: none died');
is($flags{enabled}, 50 * 10_001, '10,000 flags: right') or diag $flags{enabled};
cmp_ok($flags{bytes} / 10, '<', 30_000_000, '10,000 flags: memory');
diag sprintf '10,000 flags: %.0f ms for each answer of all, %.1f MB a session', 1000 * $flags{seconds} / 50, $flags{bytes} / 1e7;
unlike(substr(slurp_file($node->logfile), length $log), qr/ERROR|FATAL|WARNING/, '10,000 flags: nothing in the log');

no_crash($node);
$node->stop;
done_testing();
