# Every SQL block of README.md, CONTRIBUTING.md, docs/reference.md, docs/cookbook.md,
# docs/relations.md and docs/operations.md works when it is pasted, in the page's order, into an empty
# database, and returns what the "=>" comments say.  What needs more than one server is
# marked otherwise, and run by 002_subscriber, 003_dump and 011_shared; docs/django.md is
# for the tests of Django.
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

my %fewest = ('CONTRIBUTING.md' => 3, 'README.md' => 6, 'docs/reference.md' => 35, 'docs/cookbook.md' => 25, 'docs/relations.md' => 20, 'docs/operations.md' => 3);
for my $page (sort keys %fewest)
{
	my ($database) = $page =~ /(\w+)\.md/;
	$node->safe_psql('postgres', "CREATE DATABASE \"$database\"");
	my $session = session($node, dbname => $database);
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
