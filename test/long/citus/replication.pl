# Logical replication from the coordinator to each worker: what docs/citus.md says of it, in its
# order.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCitus;
use FflagTest;
use Test::More;
use Time::HiRes qw(sleep);

my @nodes = citus_nodes();
create_database('shop', @nodes);
my $page = 'docs/citus.md';
my $session = session($nodes[0], dbname => 'shop');
my @workers = map { session($_, dbname => 'shop') } @nodes[ 1 .. 3 ];

sub subscribe
{
	my ($n) = @_;
	$workers[$n]->do(page('subscriber', $workers[$n]) =~ s/SUBSCRIPTION flags_1/'SUBSCRIPTION flags_' . ($n + 1)/er);
	for (1 .. 600)
	{
		return if !ask($workers[$n], 'SELECT count(*) FROM (' . (page('arrived', $session) =~ s/;\n$//r) . ') AS missing');
		sleep 0.1;
	}
	die 'the rows do not come';
}

sub wait_for_workers
{
	$nodes[0]->wait_for_catchup("flags_$_", 'replay') for @_;
	return;
}

run_block($session, $page, page($_, $session)) for ('coordinator', 'publisher');
subscribe($_) for (0, 1);
my ($register, $allow, $count) = statements(page('replicated', $session));
$session->do($_->[0]) for ($register, $allow);
wait_for_workers(1, 2);
is(ask($session, $count->[0]), $count->[1], 'the distributed count is right');
is(check_nodes($session, 'own'), '1|1 flags|3', 'the three nodes agree');

my ($asked, $right) = (0, 0);
for my $n (1 .. 50)
{
	my $on = $n % 2;
	$session->do(q{SELECT fflag_rollout('new_checkout', ?)}, undef, 100 * $on);
	wait_for_workers(1, 2);
	for my $reader ($session, @workers[ 0, 1 ])
	{
		$asked++;
		$right += ask($reader, q{SELECT fflag_enabled('new_checkout', 42)}) == $on;
	}
}
is($right, $asked, "$asked answers are right once a change has arrived");

# ---- a worker is down

$session->do(q{SELECT fflag_rollout('new_checkout', 10)});
wait_for_workers(1, 2);
$_->disconnect for @workers[ 1, 2 ];
$nodes[2]->stop;
$session->do(q{SELECT fflag_ramp('new_checkout', 100, '1 hour', now() - interval '2 hours')});
wait_for_workers(1);
is(ask($workers[0], q{SELECT fflag_enabled('new_checkout', 42)}), 1, 'while a worker is down, flags are changed');
$nodes[2]->start;
$workers[$_] = session($nodes[ $_ + 1 ], dbname => 'shop') for (1, 2);
wait_for_workers(1, 2);
is(ask($workers[1], q{SELECT fflag_enabled('new_checkout', 42)}), 1, '... and it catches up, ramps included');

# ---- a worker more

run_block($session, $page, page('loud', $session));
$session->do(sprintf q{SELECT citus_add_node('127.0.0.1', %d)}, $nodes[3]->port);
is(check_nodes($session, 'own'), "1|1 flags|3\n1|0 flags|1", 'the check finds a new worker');
$workers[2]->disconnect;
$workers[2] = session($nodes[3], dbname => 'shop');
like(error_of($workers[2], q{SELECT fflag_enabled('new_checkout', 1)}), qr/flag "new_checkout" does not exist/, 'missing flags are loud there');
subscribe(2);
is(check_nodes($session, 'own'), '1|1 flags|4', 'the four nodes agree');

$workers[$_]->do('DROP SUBSCRIPTION flags_' . ($_ + 1)) for (0 .. 2);
$_->disconnect for ($session, @workers);
stop_nodes();
done_testing();
