# Flags travel: from one database to another, whatever their encodings, and from a standby; and many
# sessions that import, relate, list and delete at once wait for each other and do not deadlock.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use DBD::Pg;
use Encode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "deadlock_timeout = 20ms\nmax_connections = 60");
$node->start;

# ---- databases in other encodings: the same text, wherever it has been

my $flags = encode('UTF-8', q{
	SELECT fflag_register('voilà', true, 12.5, description => 'é "quoted" \ one'), fflag_register('z', true), fflag_register('à', true);
	SELECT fflag_variants('voilà', '{"ü": 1, "zz": 2}'), fflag_group('testeurs', 'é', 'z'), fflag_deny('z', 'ö');
	SELECT fflag_include('voilà', 'testeurs', 'ü'), fflag_require('voilà', 'z'), fflag_schedule('z', '2026-01-01 00:00:00.000001+00');
	UPDATE feature_flag SET metadata = '{"ö": [1.50, null, "à"]}' WHERE name = 'voilà';
});
my $exported;
for my $encoding ('UTF8', 'LATIN1', 'SQL_ASCII')
{
	$node->safe_psql('postgres', "CREATE DATABASE \"db_$encoding\" ENCODING $encoding TEMPLATE template0 LOCALE 'C'");
	my $session = session($node, dbname => "db_$encoding");
	$session->do('SET client_encoding = ' . ($encoding eq 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8'));
	$session->do('CREATE EXTENSION fflag');
	if (!defined $exported)
	{
		$session->do($flags);
		$exported = ask($session, 'SELECT fflag_export(lists => true)');
		$session->disconnect;
		next;
	}
	my $literal = $session->quote($exported);
	is(ask($session, "SELECT string_agg(DISTINCT action, ',') FROM fflag_import($literal)"), 'created', "$encoding: all flags are created");
	is(ask($session, 'SELECT fflag_export(lists => true)'), $exported, "$encoding: and exported as the same text");
	$session->disconnect;
}
my $latin1 = session($node, dbname => 'db_LATIN1');
$latin1->do('SET client_encoding = UTF8');
like(error_of($latin1, sprintf q{SELECT fflag_import('{"fflag": 1, "flags": [{"name": "%s"}]}')}, encode('UTF-8', "\x{20ac}")),
	qr/no equivalent in encoding "LATIN1"/, 'LATIN1: a name that there is not is refused');
$latin1->disconnect;

# ---- a standby exports, and checks a document

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $reader = session($standby, dbname => 'db_UTF8');
my $literal = $reader->quote($exported);
is(ask($reader, 'SELECT fflag_export(lists => true)'), $exported, 'a standby exports');
is(ask($reader, "SELECT string_agg(DISTINCT action, ',') FROM fflag_import($literal, dry_run => true)"), 'unchanged', 'and checks');
like(error_of($reader, "SELECT fflag_import($literal)"), qr/cannot execute fflag_import\(\)/, 'but does not import');
$reader->disconnect;
$standby->stop;

# ---- many sessions at once

my $db = 'postgres';
$node->safe_psql($db, q{
	CREATE EXTENSION fflag;
	SELECT fflag_register(ARRAY(SELECT 'f' || n FROM generate_series(1, 12) AS n), true, 50);
	-- a document of some flags, with relations from later names to earlier ones or the other way round, in any order
	CREATE FUNCTION document() RETURNS jsonb VOLATILE LANGUAGE sql AS $$
		SELECT jsonb_build_object('fflag', 1, 'flags', jsonb_agg(jsonb_build_object('name', 'f' || n, 'rollout_percentage', (random() * 100)::int,
			'variants', (SELECT jsonb_agg(jsonb_build_object('name', v, 'weight', 1 + (random() * 5)::int) ORDER BY random()) FROM unnest('{a,b,c}'::text[]) AS v WHERE v = 'a' OR random() < 0.5),
			'relations', (SELECT coalesce(jsonb_agg(jsonb_build_object('other', 'f' || o, 'kind', 'requires', 'other_variant', CASE WHEN random() < 0.3 THEN 'a' END) ORDER BY random()), '[]')
				FROM generate_series(1, 12) AS o WHERE o * d.direction < n * d.direction AND random() < 0.3),
			'allowlist', (SELECT coalesce(jsonb_agg(u::text ORDER BY random()), '[]') FROM generate_series(1, 30) AS u WHERE random() < 0.5),
			'denylist', (SELECT coalesce(jsonb_agg(u::text ORDER BY random()), '[]') FROM generate_series(1, 30) AS u WHERE random() < 0.2))
			ORDER BY random()))
		FROM (SELECT CASE WHEN random() < 0.5 THEN 1 ELSE -1 END AS direction) AS d, generate_series(1, 12) AS n WHERE random() < 0.8 $$;
});

my $end = time + ($ENV{FFLAG_TRAVEL_SECONDS} // 5);
my @children;
my $commands = [
	(q{SELECT count(*) FROM fflag_import(document())}) x 4,
	q{SELECT fflag_import(document(), dry_run => true)},
	q{SELECT fflag_require('f' || (1 + random() * 11)::int, 'f' || (1 + random() * 11)::int)},
	q{SELECT fflag_unrelate('f' || (1 + random() * 11)::int, 'f' || (1 + random() * 11)::int)},
	q{SELECT fflag_allow('f' || (1 + random() * 11)::int, VARIADIC ARRAY(SELECT (random() * 30)::int::text FROM generate_series(1, 10)))},
	q{SELECT fflag_disallow('f' || (1 + random() * 11)::int, VARIADIC ARRAY(SELECT (random() * 30)::int::text FROM generate_series(1, 10)))},
	q{SELECT fflag_deny('f' || (1 + random() * 11)::int, VARIADIC ARRAY(SELECT (random() * 30)::int::text FROM generate_series(1, 10)))},
	q{SELECT fflag_variants('f' || (1 + random() * 11)::int, '{"a": 1, "c": 2}')},
	q{SELECT fflag_register(ARRAY(SELECT 'f' || n FROM generate_series(1, 12) AS n ORDER BY random()), true, 50)},
	q{DELETE FROM feature_flag WHERE name = (SELECT 'f' || (1 + random() * 11)::int)},
];
# what is refused, and so changes nothing: circles, flags and variants that are needed or that there are not; foreign
# keys know only ids, and an import knows names
my $refused = qr/would depend on itself|cannot depend on itself|is needed|does not exist|has no variant|relation of another kind/;
for my $child (1 .. 8)
{
	pipe my $read, my $write or die;
	my $pid = fork // die;
	if ($pid == 0)
	{
		srand $child;
		my $session = session($node, PrintError => 0);
		my ($count, @errors) = 0;
		# on a slow machine until it has been seen to import, too
		while (time < $end || ($count < 3 && time < $end + 60))
		{
			my $command = $commands->[ rand @$commands ];
			$session->do('BEGIN ISOLATION LEVEL ' . (rand() < 0.8 ? 'READ COMMITTED' : 'REPEATABLE READ'));
			my $error = error_of($session, $command);
			$error = error_of($session, 'COMMIT') if $error eq 'no error';
			$count++ if $error eq 'no error' && $command =~ /count/;
			push @errors, $error
			  if $error ne 'no error' && $error !~ $refused && $error !~ /could not serialize/
			  && !($command !~ /import/ && $error =~ /violates foreign key constraint/);
			$session->do('ROLLBACK') if $error ne 'no error';
		}
		print $write "$count\n", map { s/\n/ /gr . "\n" } @errors;
		close $write;
		$session->disconnect;
		require POSIX;
		POSIX::_exit(0);
	}
	close $write;
	push @children, [ $pid, $read ];
}
my ($imports, @errors) = 0;
for (@children)
{
	my ($pid, $read) = @$_;
	my ($count, @lines) = <$read>;
	$imports += $count;
	push @errors, @lines;
	waitpid $pid, 0;
}
is(join('', @errors[ 0 .. ($#errors < 9 ? $#errors : 9) ]), '', 'no deadlock, and no error but those that refuse');
cmp_ok($imports, '>', 20, 'sessions have imported');
note "$imports imports";
my $session = session($node);
is( ask($session, q{
	WITH RECURSIVE way AS (SELECT flag_id AS first, other_id AS last FROM feature_flag_relation
		UNION SELECT way.first, r.other_id FROM way JOIN feature_flag_relation AS r ON r.flag_id = way.last)
	SELECT count(*) FROM way WHERE first = last}), 0, 'there is no circle');
$exported = $session->quote(ask($session, 'SELECT fflag_export(lists => true)'));
is(ask($session, "SELECT string_agg(DISTINCT action, ',') FROM fflag_import($exported)"), 'unchanged', 'what is exported is what there is');

# ---- many flags, and a long list: the time grows as they do, whatever the planner knew of the tables when they were small

my %large = (
	'2,000 flags' => q{SELECT jsonb_agg(jsonb_build_object('name', 'many ' || n, 'allowlist', jsonb_build_array(n::text, 'x'), 'denylist', '["y"]'::jsonb, 'variants', '[{"name": "a", "weight": 1}]'::jsonb,
		'relations', CASE WHEN n > 1 THEN jsonb_build_array(jsonb_build_object('kind', 'requires', 'other', 'many ' || n - 1)) ELSE '[]' END)) FROM generate_series(1, 2000) AS n},
	'60,000 users' => q{SELECT jsonb_build_array(jsonb_build_object('name', 'long', 'allowlist', jsonb_agg(md5(n::text) || repeat('x', 60)))) FROM generate_series(1, 60000) AS n});
for my $what (sort keys %large)
{
	my $importing = session($node);
	$importing->do($_) for 'DELETE FROM feature_flag', 'ANALYZE', "SET statement_timeout = '20s'", "CREATE TEMP TABLE document AS SELECT jsonb_build_object('fflag', 1, 'flags', ($large{$what})) AS flags",
		# plans are made, and kept
		q{SELECT fflag_import('{"fflag": 1, "flags": [{"name": "small", "allowlist": ["a"], "denylist": []}]}')}, 'SELECT fflag_export(lists => true)', q{DELETE FROM feature_flag};
	is(eval { ask($importing, q{SELECT string_agg(DISTINCT action, ',') FROM document, fflag_import(flags)}) }, $_, "$what: $_") for 'created', 'unchanged';
	is(eval { ask($importing, q{SELECT count(*) FROM jsonb_array_elements(fflag_export(lists => true) -> 'flags') AS f, jsonb_array_elements(f -> 'allowlist')}) },
		$what =~ /users/ ? 60000 : 4000, "$what: exported");
	$importing->disconnect;
}

# ---- names that another session is creating: an import waits, and finds them

$session->do('DELETE FROM feature_flag');
my $other = session($node);
$other->do('BEGIN');
$other->do(q{SELECT fflag_register('m', true, 7)});
$session->do(q{SELECT count(*) FROM fflag_import('{"fflag": 1, "flags": [{"name": "n"}, {"name": "m", "enabled": false}, {"name": "a"}]}')}, { pg_async => PG_ASYNC });
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%fflag_import%' AND pid <> pg_backend_pid()}), 'an import waits for whoever creates one of its flags');
$other->do('COMMIT');
$session->pg_result;
is(ask($session, q{SELECT string_agg(name || ' ' || enabled || ' ' || rollout_percentage, ', ' ORDER BY name) FROM feature_flag}),
	'a false 0, m false 7, n false 0', 'and changes only what the document says of it');

$_->disconnect for ($session, $other);
no_crash($node);
$node->stop;
done_testing();
