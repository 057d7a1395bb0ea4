# A coordinator and workers of Citus for the tests in test/long/citus, which run what
# docs/citus.md says.
package FflagCitus;

use strict;
use warnings;

use Exporter 'import';
use FflagTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(citus_node citus_nodes page create_database attach_everywhere check_nodes set_up_reference stop_nodes);

my $page = 'docs/citus.md';
my @nodes;

# A server with Citus.  The nodes reach each other at the loopback address.
sub citus_node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'citus'
listen_addresses = '127.0.0.1'
max_connections = 150
max_prepared_transactions = 300
log_statement = none
citus.enable_statistics_collection = off
citus.node_conninfo = 'sslmode=disable'
});
	$node->start;
	push @nodes, $node;
	return $node;
}

sub citus_nodes
{
	return map { citus_node($_) } qw(coordinator worker_1 worker_2 worker_3);
}

# A database with Citus on each of the nodes, in which they do not know each other.
sub create_database
{
	my ($name, @in) = @_;
	for my $node (@in)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $name") if $name ne 'postgres';
		$node->safe_psql($name, 'CREATE EXTENSION citus');
	}
	return;
}

# The blocks of the page with these words, where its addresses are those of the nodes and its
# database is the session's.
sub page
{
	my ($mark, $session) = @_;
	my $block = join '', code_blocks($page, "sql $mark");
	my $port = sub { $nodes[ $_[0] - 1 ]->port };
	$block =~ s/'10\.0\.0\.(\d)', 5432/sprintf q('127.0.0.1', %d), $port->($1)/eg;
	$block =~ s/host=10\.0\.0\.(\d) dbname=\.\.\./sprintf q(host=127.0.0.1 port=%d dbname=%s), $port->($1), $session->{pg_db}/eg;
	$block =~ s/DATABASE shop/DATABASE $session->{pg_db}/;
	return $block;
}

# "Reference tables" up to where flags are attached and the three nodes agree.
sub set_up_reference
{
	my ($session) = @_;
	run_block($session, $page, page($_, $session)) for ('coordinator', 'reference');
	return;
}

# Attaches on all nodes as the page says.  Returns what each node has said.
sub attach_everywhere
{
	my ($session) = @_;
	my ($statement) = page('worker', $session) =~ /^(SELECT nodeid.*?;)/ms;
	return join "\n", map { join '|', map { $_ // '' } @$_ } @{ $session->selectall_arrayref($statement) };
}

# What the page's statement that checks all nodes returns, but for the digests; of the
# extension's own tables, or of those of the page.
sub check_nodes
{
	my ($session, $own) = @_;
	my $check = page('check', $session);
	$check =~ s/FROM flag/FROM feature_flag/g if $own;
	return join "\n", map { join('|', map { $_ // '' } @$_) =~ s/, [0-9a-f]{32}//gr } @{ $session->selectall_arrayref($check) };
}

sub stop_nodes
{
	for my $node (@nodes)
	{
		no_crash($node);
		$node->stop('immediate');
	}
	return;
}

1;
