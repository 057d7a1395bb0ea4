# Every SQL block of README.md, CONTRIBUTING.md, docs/reference.md, docs/cookbook.md,
# docs/hosted.md, docs/relations.md, docs/clients.md, docs/openfeature.md and docs/operations.md
# works when it is pasted, in the page's order, into an empty database, and returns what the "=>" comments say.  What needs more than one server is
# marked otherwise, and run by 002_subscriber, 003_dump and 011_shared; the pages
# on Django are for the tests of Django.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;

$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner');
my %fewest = ('CONTRIBUTING.md' => 3, 'README.md' => 6, 'docs/reference.md' => 35, 'docs/cookbook.md' => 25, 'docs/hosted.md' => 3, 'docs/relations.md' => 20, 'docs/clients.md' => 2, 'docs/openfeature.md' => 2, 'docs/operations.md' => 3);
for my $page (sort keys %fewest)
{
	my ($database) = $page =~ /(\w+)\.md/;
	$node->safe_psql('postgres', "CREATE DATABASE \"$database\"");
	my $session = session($node, dbname => $database);
	if ($page eq 'README.md')	# whose reader need be no superuser
	{
		$session->do(qq{ALTER DATABASE "$database" OWNER TO regress_fflag_owner});
		$session->do('SET SESSION AUTHORIZATION regress_fflag_owner');
	}
	my $compared = run_block($session, $page, join '', code_blocks($page, 'sql'));
	cmp_ok($compared, '>=', $fewest{$page}, "$page: $compared results compared");
	$session->disconnect;
}

# ---- the recipes of docs/operations.md that are no blocks of SQL

my $session = session($node, dbname => 'operations');
my ($yaml) = code_blocks('docs/operations.md', 'yaml');
my ($query) = $yaml =~ /^  query: \|\n((?:    .*\n)+)/m;
my $statement = $session->prepare($query);
$session->do(q{SET ROLE exporter});
cmp_ok($statement->execute, '>', 0, 'the query for an exporter returns rows');
$session->do(q{RESET ROLE});
is(join(' ', @{ $statement->{NAME} }), join(' ', $yaml =~ /^    - (\w+):$/mg), '... and what is said of its columns is said of all');
$session->do(q{INSERT INTO feature_flag (name, enabled, rollout_percentage, updated_at) VALUES ('old', true, 100, now() - interval '45 days')});
my ($command) = (code_blocks('docs/operations.md', 'crontab'))[0] =~ /^(?:\S+ ){5}(.*)$/m;
$command =~ s/-d shop/-d operations/ or die;
{
	local @ENV{ 'PGHOST', 'PGPORT' } = ($node->host, $node->port);
	local $ENV{PGOPTIONS} = '-c role=reporter';
	is(scalar(`$command`), "old: everybody gets it, unchanged for 45 days\n", 'the nightly report');
}
$session->disconnect;

# ---- docs/clients.md: psql, with variables

my ($psql) = code_blocks('docs/clients.md', 'sh');
{
	local @ENV{ 'PGHOST', 'PGPORT', 'PGDATABASE' } = ($node->host, $node->port, 'clients');
	like(scalar(`$psql`), qr/^ t$/m, 'psql, with variables');
}

# ---- docs/hosted.md: the plain functions are right, and the data move to the extension

my $hosted = session($node, dbname => 'hosted');
my ($vectors, $wrong) = $hosted->selectrow_array(q{SELECT count(*), count(*) FILTER (WHERE fflag_bucket(f[1], f[2]) IS DISTINCT FROM f[4]::int)
	FROM string_to_table($1, E'\n') WITH ORDINALITY AS l (line, n), string_to_array(line, E'\t') AS f WHERE n > 1 AND line <> ''}, undef,
	slurp_file("$top/test/data/buckets.tsv"));
cmp_ok($vectors, '>', 2000, "hosted.md: $vectors buckets compared");
is($wrong, 0, 'hosted.md: none is wrong');
$hosted->do($_) for
	q{INSERT INTO feature_flag (name, seed, enabled, staff_only, rollout_percentage, starts_at, ends_at) VALUES ('seed', 'another', true, false, 50, NULL, NULL),
		('staff', NULL, false, true, 0, NULL, NULL), ('off', NULL, false, false, 100, NULL, NULL), ('full', NULL, true, false, 100, NULL, NULL), ('listed', NULL, true, false, 0, NULL, NULL),
		('thousandths', NULL, true, false, 33.333, NULL, NULL), ('to come', NULL, true, false, 100, now() + interval '1 day', NULL), ('over', NULL, true, false, 100, NULL, now() - interval '1 day')},
	q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, n FROM feature_flag, generate_series(1, 300, 7) AS n WHERE name <> 'full'},
	q{INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT id, n FROM feature_flag, generate_series(1, 300, 5) AS n};
$node->safe_psql('postgres', 'CREATE DATABASE moved');
$node->safe_psql('moved', 'CREATE EXTENSION fflag');
my $data = PostgreSQL::Test::Utils::tempdir . '/data.sql';
$node->command_ok([ 'pg_dump', '--data-only', '-t', 'feature_flag*', '-f', $data, 'hosted' ], 'hosted.md: pg_dump');
$node->command_ok([ 'psql', '-X', '-q', '-d', 'moved', '-v', 'ON_ERROR_STOP=1', '-f', $data ], 'hosted.md: restored where the extension is');
my $moved = session($node, dbname => 'moved');
my $answers = q{SELECT count(*), md5(string_agg(fflag_enabled(name, id, staff)::text, '' ORDER BY name, id, staff)), count(*) FILTER (WHERE fflag_enabled(name, id, staff))
	FROM (SELECT name FROM feature_flag UNION SELECT 'none') AS f, (SELECT n::text AS id FROM generate_series(1, 1000) AS n UNION SELECT NULL) AS u, unnest('{t,f,NULL}'::bool[]) AS staff};
my @before = $hosted->selectrow_array($answers);
cmp_ok($before[0], '>', 20000, "hosted.md: $before[0] answers, $before[2] of them true");
is(join(' ', $moved->selectrow_array($answers)), "@before", 'hosted.md: they are the same when the data have moved');
is(error_of($moved, q{SELECT fflag_register('next', true)}), 'no error', 'hosted.md: and flags can be added');
$_->disconnect for $hosted, $moved;

# sessions with an old library, by a file in its place; times of files are whole seconds
my $library = PostgreSQL::Test::Utils::tempdir . '/fflag.so';
my ($sessions) = code_blocks('docs/operations.md', 'sql library');
my $old = session($node);
sleep 1;
append_to_file($library, '');
sleep 2;
my $new = session($node);
my $path = q{setting || '/fflag.so'};
is(ask($new, "SELECT $path FROM pg_config WHERE name = 'PKGLIBDIR'"), $node->config_data('--pkglibdir') . '/fflag.so', 'where the library is');
$sessions =~ s/\Q$path\E/'$library'/ or die;
is(join(' ', map { $_->[0] } @{ $new->selectall_arrayref($sessions) }), $old->{pg_pid}, 'sessions older than the library');
$new->do('CREATE ROLE regress_fflag_else');
$new->do('SET ROLE regress_fflag_else');
like(error_of($new, $sessions), qr/permission denied/, '... for superusers');
$_->disconnect for $old, $new;
$node->stop;

done_testing();
