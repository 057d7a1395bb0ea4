# Parallel workers evaluate under the leader's snapshot.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 8");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f', true, 10);
	CREATE TABLE people AS SELECT id FROM generate_series(1, 50000) AS id;
	ALTER TABLE people SET (parallel_workers = 3);
	ANALYZE people;
});

my $reader = session($node);
$reader->do("SET $_") for ('max_parallel_workers_per_gather = 3', 'min_parallel_table_scan_size = 0',
	'parallel_setup_cost = 0', 'parallel_tuple_cost = 0');
my $writer = session($node);
my $query = q{SELECT count(*) FROM people WHERE fflag_enabled('f', id)};

# what the table says, with one process
sub expected
{
	my ($session) = @_;
	return ask($session, q{SELECT count(*) FROM people, feature_flag AS f
		WHERE f.name = 'f' AND fflag_bucket('f', people.id) < f.rollout_percentage * 1000});
}

my $plan = join "\n", map { $_->[0] } @{ $reader->selectall_arrayref("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $query") };
like($plan, qr/Workers Launched: [1-3]/, 'workers are launched');
like($plan, qr/Parallel Seq Scan.*\n.*Filter: fflag_enabled/, 'and evaluate');
is(ask($reader, $query), expected($reader), 'as many as with one process');

$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = ask($reader, $query);
$writer->do(q{SELECT fflag_rollout('f', 50)});
is(ask($reader, $query), $before, 'REPEATABLE READ: the leader\'s snapshot');
is(ask($writer, $query), expected($writer), 'elsewhere the new one');
$reader->do('COMMIT');
is(ask($reader, $query), expected($writer), 'and afterwards');
isnt(ask($reader, $query), $before, 'which is another');

# the leader's uncommitted change, and its rollback
$reader->do('BEGIN');
$reader->do(q{UPDATE feature_flag SET rollout_percentage = 99.5});
is(ask($reader, $query), expected($reader), 'own uncommitted change');
$reader->do('SAVEPOINT s');
$reader->do(q{UPDATE feature_flag SET rollout_percentage = 1});
is(ask($reader, $query), expected($reader), 'in a subtransaction');
$reader->do('ROLLBACK TO s');
is(ask($reader, $query), expected($reader), 'rolled back');
is(ask($writer, $query), expected($writer), 'not seen elsewhere');
$reader->do('ROLLBACK');
is(ask($reader, $query), expected($writer), 'nor here any more');

# a cursor whose workers run, while flags change
$reader->do('BEGIN');
my $old = ask($reader, $query);
$reader->do("DECLARE c CURSOR FOR $query");
$writer->do(q{SELECT fflag_rollout('f', 25)});
is(ask($reader, 'FETCH c'), $old, 'a cursor from before');
is(ask($reader, $query), expected($writer), 'and a statement after the change');
$reader->do('COMMIT');

# all functions at once, in workers
$reader->do($_) for ('SET max_parallel_workers_per_gather = 2');
is(ask($reader, q{SELECT count(*) FROM people, fflag_explain('f', id) AS e WHERE e.enabled <> fflag_enabled('f', id)}),
	0, 'fflag_explain in workers');

# other flags, of each kind and with a pin, whom a flag denies, and its variants, in workers
$writer->do($_) for (
	plain_variant(), q{SELECT fflag_register('base', true, 50), fflag_register('divided', true, 20), fflag_register('holdout', true, 10), fflag_register('testers', true, 70)},
	q{SELECT fflag_variants('divided', '{"blue": 1, "green": 3}'), fflag_variants('testers', '{"x": 1, "y": 1}')},
	q{SELECT fflag_require('divided', 'base'), fflag_exclude('divided', 'holdout'), fflag_include('divided', 'testers', 'blue', 'x')},
	q{INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT f.id, p.id FROM feature_flag AS f, people AS p WHERE f.name = 'divided' AND p.id % 3 = 0});
my $divided = q{SELECT fflag_variant('divided', id) || ' ' || count(*) FROM people WHERE fflag_enabled('divided', id) GROUP BY fflag_variant('divided', id) ORDER BY 1};

# what the tables say, with one process
sub divided
{
	my ($session) = @_;
	return all($session, q{SELECT CASE WHEN tests THEN 'blue' ELSE variant END || ' ' || count(*)
		FROM people AS p, feature_flag AS base, feature_flag AS f, plain_variant('divided', p.id::text, '{"blue": 1, "green": 3}') AS variant,
			LATERAL (SELECT fflag_bucket('testers', p.id) < 70000 AND plain_variant('testers', p.id::text, '{"x": 1, "y": 1}') = 'x') AS t (tests)
		WHERE base.name = 'base' AND f.name = 'divided' AND fflag_bucket('base', p.id) < base.rollout_percentage * 1000
			AND fflag_bucket('holdout', p.id) >= 10000 AND (tests OR fflag_bucket('divided', p.id) < 20000)
			AND NOT EXISTS (SELECT FROM feature_flag_denied_user AS d WHERE d.flag_id = f.id AND d.user_id = p.id::text)
		GROUP BY CASE WHEN tests THEN 'blue' ELSE variant END ORDER BY 1});
}
sub all { my ($session, $sql) = @_; return join ', ', map { $_->[0] } @{ $session->selectall_arrayref($sql) }; }

$plan = join "\n", map { $_->[0] } @{ $reader->selectall_arrayref("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $divided") };
like($plan, qr/Workers Launched: [1-3]/, 'variants: workers are launched');
is(all($reader, $divided), divided($reader), 'as many of each as with one process');
$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$before = all($reader, $divided);
$writer->do($_) for (q{SELECT fflag_rollout('base', 80)}, q{DELETE FROM feature_flag_denied_user WHERE user_id LIKE '%1'});
is(all($reader, $divided), $before, "REPEATABLE READ: the leader's snapshot, of all tables");
$reader->do('COMMIT');
is(all($reader, $divided), divided($reader), 'and afterwards');
isnt(all($reader, $divided), $before, 'which is another');

$_->disconnect for ($reader, $writer);
$node->stop;
done_testing();
