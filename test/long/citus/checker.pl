# The checker on Citus: two writers, on the coordinator and on a worker, change reference tables
# in every way, while four open sessions compare in each statement what the function answers with
# what a plain SQL rendering of the rules says: one on each of three nodes, in all isolation
# levels, and one on the coordinator whose queries run on all shards.
#
#   FFLAG_CHECK_SECONDS   how long (30)
#   FFLAG_CHECK_SEED      seed of the random choices (by the clock)
#
# Changes at the same moment may leave the copies of a reference table different, whatever is done
# with it: see "Limits" of docs/citus.md.  In a turn of its own the writers lock the table, as the
# page says, and all nodes end up with the same flags.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCitus;
use FflagCrowd;
use FflagTest;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{FFLAG_CHECK_SECONDS} // 30;
my $seed = $ENV{FFLAG_CHECK_SEED} // time() % 1_000_000;
note "seed $seed, $seconds seconds";

my @nodes = citus_nodes();
create_database('shop', @nodes);
my $session = session($nodes[0], dbname => 'shop');
set_up_reference($session);
$session->do('DELETE FROM flag');
# The subjects with their buckets, once on each node and once in shards.
my $subjects = q{
	SELECT name, user_id, is_staff, (h % 100) * 1000 + h / 100 AS bucket
	FROM (SELECT 'flag ' || n AS name FROM generate_series(1, 10) AS n) AS names
		CROSS JOIN (SELECT n::text AS user_id FROM generate_series(1, 8) AS n) AS ids
		CROSS JOIN (VALUES (false), (true)) AS args (is_staff)
		CROSS JOIN LATERAL (SELECT (sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) % 100000)::int AS h
			FROM decode(md5(name || ':' || user_id), 'hex') AS digest, generate_series(0, 15) AS i) AS hash};
$session->do("CREATE TABLE $_ (name text, user_id text, is_staff boolean, bucket int)") for ('subject', 'spread');
$session->do(q{SELECT create_reference_table('subject')});
$session->do(q{SELECT create_distributed_table('spread', 'user_id', shard_count => 8)});
$session->do("INSERT INTO $_ $subjects") for ('subject', 'spread');

sub comparison
{
	my ($subject) = @_;
	return qq{
		SELECT count(*), count(*) FILTER (WHERE answered <> said) FROM (
			SELECT fflag_enabled(s.name, s.user_id, s.is_staff) AS answered,
				CASE WHEN f.id IS NULL THEN false
					WHEN f.staff_only THEN s.is_staff
					WHEN NOT f.enabled THEN false
					WHEN f.rollout_percentage >= 100 THEN true
					WHEN u.user_id IS NOT NULL THEN true
					ELSE s.bucket < f.rollout_percentage * 1000 END AS said
			FROM $subject AS s LEFT JOIN flag AS f ON f.name = s.name
				LEFT JOIN flag_user AS u ON u.flag_id = f.id AND u.user_id = s.user_id) AS compared};
}

sub one_of { return $_[ rand @_ ]; }
sub flag { return 'flag ' . (1 + int rand 10); }
sub user { return 1 + int rand 8; }

my @changes = (
	(sub { sprintf q{UPDATE flag SET enabled = NOT enabled WHERE name = '%s'}, flag() }) x 2,
	sub { sprintf q{UPDATE flag SET staff_only = %s WHERE name = '%s'}, one_of('true', 'false', 'false'), flag() },
	(sub { sprintf q{UPDATE flag SET rollout_percentage = %s WHERE name = '%s'}, one_of(0, 0.001, 12.5, 50, 77.777, 100), flag() }) x 2,
	(sub { sprintf q{INSERT INTO flag (name, enabled, rollout_percentage) VALUES ('%s', true, 50) ON CONFLICT DO NOTHING}, flag() }) x 2,
	sub { sprintf q{DELETE FROM flag WHERE name = '%s'}, flag() },
	sub { sprintf q{UPDATE flag SET name = '%s' WHERE name = '%s'}, flag(), flag() },
	(sub { sprintf q{INSERT INTO flag_user SELECT id, '%s' FROM flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	sub { sprintf q{DELETE FROM flag_user WHERE user_id = '%s'}, user() },
	sub { sprintf q{INSERT INTO flag_user SELECT id, n::text FROM flag, generate_series(100, 300) AS n WHERE name = '%s' ON CONFLICT DO NOTHING}, flag() });

# Errors that one writer's changes cause the other: a flag that is gone, a name that is
# there, rows changed in different order, which Citus may end by cancelling a statement.
my %may_get = map { $_ => 1 } qw(23503 23505 40001 40P01 57014);

sub writer
{
	my ($node, $locking, $until, $counts) = @_;
	my $in = session($node, dbname => 'shop');
	while (time < $until)
	{
		my $done = eval {
			if (!$locking && rand() < 0.5)
			{
				$in->do(one_of(@changes)->());
			}
			else
			{
				$in->do('BEGIN');
				$in->do('LOCK flag IN SHARE ROW EXCLUSIVE MODE') if $locking;
				for (1 .. 1 + rand 3)
				{
					$in->do('SAVEPOINT s');
					$in->do(one_of(@changes)->());
					$in->do(one_of('RELEASE s', 'RELEASE s', 'ROLLBACK TO s'));
				}
				$in->do(rand() < 0.8 ? 'COMMIT' : 'ROLLBACK');
			}
			1;
		};
		if (!$done)
		{
			die $@ unless $may_get{ $in->state };
			$counts->{ 'error_' . $in->state }++;
			$in->do('ROLLBACK');
		}
		$counts->{changes}++;
	}
	$in->disconnect;
	return;
}

sub reader
{
	my ($node, undef, $subject, $until, $counts) = @_;
	my $in = session($node, dbname => 'shop');
	my $query = comparison($subject);
	$in->do("PREPARE prepared AS $query");
	while (time < $until)
	{
		my $n = rand() < 0.4 ? 0 : 1 + int rand 4;
		$in->do('BEGIN ISOLATION LEVEL ' . one_of('READ COMMITTED', 'REPEATABLE READ')) if $n;
		for (0 .. $n)
		{
			my ($answers, $wrong) = $in->selectrow_array(one_of($query, 'EXECUTE prepared'));
			$counts->{answers} += $answers;
			$counts->{wrong} += $wrong;
			$counts->{statements}++;
		}
		$in->do('COMMIT') if $n;
	}
	$in->disconnect;
	return;
}

my %role = (
	'writer on the coordinator' => [ \&writer, $nodes[0] ],
	'writer on a worker' => [ \&writer, $nodes[1] ],
	'reader on the coordinator' => [ \&reader, $nodes[0], 'subject' ],
	'reader on worker 1' => [ \&reader, $nodes[1], 'subject' ],
	'reader on worker 2' => [ \&reader, $nodes[2], 'subject' ],
	'reader of all shards' => [ \&reader, $nodes[0], 'spread' ]);
my ($n, $total) = (0);
for my $locking (0, 1)
{
	my $until = time + (0.8, 0.2)[$locking] * $seconds;
	$session->do('TRUNCATE flag CASCADE');
	for my $name (sort keys %role)
	{
		my ($code, $node, @arguments) = @{ $role{$name} };
		my $number = $n++;
		start($name, sub { srand($seed + $number); $code->($node, $locking, @arguments, $until, $_[0]); });
	}
	$total = gather();
}
my ($answers, $wrong) = (0, 0);
for my $name (sort keys %role)
{
	my %count = %{ $total->{$name} };
	is($count{died}, 0, "$name: ran to the end");
	diag "$name: ", join ', ', map { "$_ $count{$_}" } grep { !/died|processes/ } sort keys %count;
	if ($name =~ /writer/)
	{
		cmp_ok($count{changes}, '>', 10, "$name: changed flags");
		next;
	}
	cmp_ok($count{answers}, '>', 1000, "$name: compared answers");
	is($count{wrong}, 0, "$name: no wrong answer");
	$answers += $count{answers};
	$wrong += $count{wrong};
}
diag "together $answers answers compared, $wrong wrong (seed $seed)";
my ($nodes, $agree) = $session->selectrow_array(q{SELECT count(*), count(DISTINCT result) FROM run_command_on_all_nodes(
	'SELECT md5((SELECT coalesce(string_agg(f::text, '','' ORDER BY id), '''') FROM flag f) || (SELECT coalesce(string_agg(u::text, '','' ORDER BY flag_id, user_id), '''') FROM flag_user u))')});
is("$nodes $agree", '3 1', 'all nodes end up with the same flags');
$session->disconnect;
stop_nodes();
done_testing();
