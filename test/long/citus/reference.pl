# Reference tables: what docs/citus.md says of them, in its order.  Every statement after a
# change is right in open sessions on all nodes; a worker is added; the dump is restored into
# another cluster; flags are detached.
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
my $session = session($nodes[0], dbname => 'shop');
$session->do('SET citus.shard_count = 8');	# moving each takes a second
set_up_reference($session);
is(check_nodes($session), '1|public.flag, 1 flags|3', 'the three nodes agree');
run_block($session, 'docs/citus.md', page('limits', $session));

# ---- open sessions

my @open = map { session($_, dbname => 'shop') } @nodes[ 0 .. 2 ];
my ($asked, $right) = (0, 0);
for my $n (1 .. 200)
{
	my $on = $n % 2;
	my $writer = $open[ $n % 3 ];
	$writer->do($n % 4 < 2 ? "UPDATE flag SET rollout_percentage = 100 * $on, enabled = true" : qq{UPDATE flag SET rollout_percentage = 100, enabled = ($on = 1)});
	for my $reader (@open)
	{
		$asked++;
		$right += ask($reader, q{SELECT fflag_enabled('new_checkout', 42)}) == $on;
	}
}
is($right, $asked, "$asked next statements after a commit are right, on three nodes");
$session->do(q{UPDATE flag SET enabled = true, rollout_percentage = 0});
$asked = $right = 0;
for my $n (1 .. 100)
{
	my $on = $n % 2;
	$open[ $n % 3 ]->do($on ? q{INSERT INTO flag_user SELECT id, 'x' FROM flag} : q{DELETE FROM flag_user WHERE user_id = 'x'});
	for my $reader (@open)
	{
		$asked++;
		$right += ask($reader, q{SELECT fflag_enabled('new_checkout', 'x'::text)}) == $on;
	}
}
is($right, $asked, "$asked next statements after a change of an allowlist are right");
is(ask($_, q{SELECT caching FROM fflag_cache()}), 1, 'the answers come from the cache') for @open;
$session->do(q{UPDATE flag SET rollout_percentage = 10});
is(join(' ', map { ask($_, q{SELECT count(*) FROM fflag_history('new_checkout') WHERE what LIKE 'user%'}) } @open), '101 101 101', 'each node has the history');

$session->do(q{SET fflag.actor = 'anna'});
$session->do(q{UPDATE flag SET staff_only = true});
$session->do(q{UPDATE flag SET staff_only = false});
is(join(' ', map { ask($_, q{SELECT count(*) FROM fflag_history('new_checkout') WHERE actor = 'anna'}) } @open), '2 0 0', '... and only the one where flags are changed the actor');

# ---- changes at the same moment

for my $lock (0, 1)
{
	my @lock = $lock ? 'LOCK flag IN SHARE ROW EXCLUSIVE MODE' : ();
	$session->do($_) for ('BEGIN', @lock, q{INSERT INTO flag (name) VALUES ('x')});
	$open[1]->do('BEGIN');
	my $waits = ($lock ? $lock[0] : q{UPDATE flag SET name = 'y' WHERE name = 'x'});
	$open[1]->do($waits, { pg_async => DBD::Pg::PG_ASYNC() });
	sleep 1;
	is($open[1]->pg_ready, 0, 'another change waits');
	$session->do('COMMIT');
	$open[1]->pg_result;
	$open[1]->do(q{UPDATE flag SET name = 'y' WHERE name = 'x'}) if $lock;
	$open[1]->do('COMMIT');
	my @checked = split /\n/, check_nodes($session);
	is(scalar @checked, $lock ? 1 : 2, $lock ? 'with a lock the copies are the same' : 'changes at the same moment leave the copies different, which the check finds');
	my ($answers) = $session->selectrow_array(q{SELECT count(*) FROM run_command_on_all_nodes('SELECT count(*) FROM fflag_flags(1) AS a FULL JOIN flag AS f USING (name) WHERE a.name IS NULL OR f.name IS NULL') WHERE result <> '0'});
	is($answers, 0, '... and each node answers what its own has');
	$session->do(q{DELETE FROM flag WHERE name IN ('x', 'y')});
}

# ---- messages name the table that users know

for my $node (@open)
{
	$node->do(q{SET fflag.unknown_flag = error});
	like(error_of($node, q{SELECT fflag_enabled('typo', 1)}), qr/in table public\.flag\.$/m, 'the hint names the table');
	like(error_of($node, q{SELECT fflag_enable('new_checkout')}), qr/kept in table public\.flag,/, 'the error names the table');
	like(error_of($node, q{SELECT fflag_attach(('flag_' || shardid)::regclass, 'flag_user') FROM pg_dist_shard WHERE logicalrelid = 'flag'::regclass}),
		qr/is a shard of Citus\nHINT:  Attach table public\.flag,/, 'a shard is refused');
}
$session->do('ALTER TABLE flag RENAME TO renamed');
$session->do('UPDATE renamed SET enabled = false');
is(join(' ', map { ask($_, q{SELECT fflag_enabled('new_checkout', 4711)}) } @open), '0 0 0', 'renamed: still read');
like(error_of($open[1], q{SELECT fflag_enabled('typo', 1)}), qr/in table public\.renamed\.$/m, 'the hint names the table');
$session->do('ALTER TABLE renamed RENAME TO flag');
$session->do('UPDATE flag SET enabled = true');

# ---- a worker more

run_block($session, 'docs/citus.md', page('loud', $session));
my ($add, $copy, $attach, $move) = map { $_->[0] } statements(page('worker', $session));
$session->do($add);
is(check_nodes($session), "1|public.flag, 1 flags|3\n1|0 flags|1", 'the check finds a new worker');
is(ask($session, q{SELECT count(*) FROM run_command_on_all_nodes('SELECT fflag_attach(''flag'', ''flag_user'', flag_id => ''flag_id'')')
	WHERE result LIKE '%has no copy on this node'}), 1, 'to attach fails there without a copy');
my $new = session($nodes[3], dbname => 'shop');
like(error_of($new, q{SELECT fflag_enabled('new_checkout', 1)}), qr/flag "new_checkout" does not exist/, 'missing flags are loud on a new worker');
$session->do($copy);
is(attach_everywhere($session), join("\n", map { "$_|1|" } 1 .. 3, ask($session, 'SELECT max(nodeid) FROM pg_dist_node')), 'copied and attached');
is(check_nodes($session), '1|public.flag, 1 flags|4', 'the four nodes agree');
$session->do($move);
cmp_ok(ask($session, q{SELECT count(*) FROM pg_dist_placement JOIN pg_dist_node USING (groupid) JOIN pg_dist_shard USING (shardid)
	WHERE logicalrelid = 'users'::regclass AND nodeport = } . $nodes[3]->port), '>', 0, 'shards have moved there');
is(ask($session, q{SELECT count(*) FROM users WHERE fflag_enabled('new_checkout', id, is_staff)}), 19970, 'the distributed count is right');

# a node that is disabled gets its tables anew
my $port = $nodes[3]->port;
$session->do("SELECT citus_drain_node('127.0.0.1', $port)");
$session->do("SELECT citus_disable_node('127.0.0.1', $port, true)");
is(ask($new, q{SELECT fflag_enabled('new_checkout', 4711)}), 1, 'a disabled worker has what it had');
$session->do(q{UPDATE flag SET enabled = false});
$session->do("SELECT citus_activate_node('127.0.0.1', $port)");
like(error_of($new, q{SELECT fflag_enabled('new_checkout', 4711)}), qr/reference table public\.flag, .* has no copy on this node\nHINT:  .*fflag_attach\(\)/,
	'activated: what it had is not read, in an open session');
$session->do($copy);
like(error_of($new, q{SELECT fflag_enabled('new_checkout', 4711)}), qr/lacks the trigger/, 'a new copy has to be attached');
attach_everywhere($session);
is(ask($new, q{SELECT fflag_enabled('new_checkout', 4711)}), 0, 'attached: the new answer');
is(check_nodes($session), '1|public.flag, 1 flags|4', 'the four nodes agree again');
$session->do(q{UPDATE flag SET enabled = true});

# ---- the dump, into another cluster: databases of the same servers

command_ok([ 'pg_dump', '-Fc', '-f', "$PostgreSQL::Test::Utils::tmp_check/dump", $nodes[0]->connstr('shop') ], 'pg_dump');
create_database('copy', @nodes);
my $restored = session($nodes[0], dbname => 'copy');
$restored->do(sprintf q{SELECT citus_set_coordinator_host('127.0.0.1', %d)}, $nodes[0]->port);
$restored->do(sprintf q{SELECT citus_add_node('127.0.0.1', %d)}, $_->port) for @nodes[ 1, 2 ];
$restored->disconnect;
command_ok([ 'pg_restore', '--no-comments', '-d', $nodes[0]->connstr('copy'), "$PostgreSQL::Test::Utils::tmp_check/dump" ], 'pg_restore');
$restored = session($nodes[0], dbname => 'copy');
like(error_of($restored, q{SELECT fflag_enabled('new_checkout', 4711)}), qr/public\.flag, .* lacks the trigger/, 'restored: loud until attached');
run_block($restored, 'docs/citus.md', page('restored', $restored));
is(check_nodes($restored), '1|public.flag, 1 flags|3', 'the nodes of the new cluster agree');
is(ask(session($nodes[1], dbname => 'copy'), q{SELECT fflag_enabled('new_checkout', 4711)}), 1, '... and have the allowlist');

# ---- a worker is down

$new->disconnect;
$nodes[3]->stop;
like(error_of($session, q{UPDATE flag SET enabled = false}), qr/connection to the remote node/, 'while a worker is down, flags cannot be changed');
is(join(' ', map { ask($_, q{SELECT fflag_enabled('new_checkout', 4711)}) } @open), '1 1 1', '... and other nodes go on answering');
$nodes[3]->start;
$session->do(q{UPDATE flag SET enabled = false});
is(check_nodes($session), '1|public.flag, 1 flags|4', '... until it is back');

# ---- back

run_block($session, 'docs/citus.md', page('detach', $session));
is(ask($session, q{SELECT count(*) FROM run_command_on_all_nodes(
	'SELECT count(*) FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE proname LIKE ''fflag%'' AND tgrelid::regclass::text LIKE ''flag%''') WHERE result <> '0'}),
	0, 'detached: no trigger is left');
is(ask($session, q{SELECT count(*) FROM run_command_on_all_nodes('SELECT count(*) FROM feature_flag_attachment') WHERE result <> '0'}), 0, '... and no row that attaches');

$_->disconnect for ($session, $restored, @open);
stop_nodes();
done_testing();
