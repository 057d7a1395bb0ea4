# pg_basebackup and point-in-time recovery: flags are those of the point, in
# tables and answers alike, and go on from there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(has_archiving => 1, allows_streaming => 1);
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f', true, 10), fflag_register('g', true, 0), fflag_allow('g', 1), fflag_register('h');
});
my $writer = session($node);
my $state = q{SELECT string_agg(name || ' ' || (fflag_explain(name, 1)).rule || ' ' || rollout_percentage, ', ' ORDER BY name) FROM feature_flag};

# changes while the backup is being taken: some before its end, all replayed
my $before = ask($writer, $state);
$node->backup('backup');
is(ask($writer, $state), $before, 'a backup changes nothing');

# points in time, by name; each with the state that the server had there
my %point;
my @changes = (
	[ q{SELECT fflag_rollout('f', 50), fflag_allow('f', 1)} ],
	[ q{SELECT fflag_disallow('g', 1)}, q{SELECT fflag_enable('h')} ],
	# prepared, and committed only after the point
	[ 'BEGIN', q{UPDATE feature_flag SET staff_only = true WHERE name = 'h'}, q{PREPARE TRANSACTION 'p'} ],
	[ q{COMMIT PREPARED 'p'} ],
	[ 'TRUNCATE feature_flag_user' ],
	[ q{DELETE FROM feature_flag WHERE name <> 'h'}, q{SELECT fflag_register('i', true, 100)} ],
);
for my $n (0 .. $#changes)
{
	$writer->do($_) for @{ $changes[$n] };
	$writer->do("SELECT pg_create_restore_point('point $n')");
	$point{$n} = ask($writer, $state);
}
is(keys %{ { reverse %point } }, @changes - 1, 'each change changes the answers, but for the one that is only prepared');
# what comes after is not restored
$writer->do('DELETE FROM feature_flag');
$writer->do('SELECT pg_switch_wal()');

for my $n (2, 5)
{
	my $restored = PostgreSQL::Test::Cluster->new("restored$n");
	$restored->init_from_backup($node, 'backup', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', qq{
recovery_target_name = 'point $n'
recovery_target_action = pause
archive_mode = off
});
	$restored->start;
	# stands at the point, read only, until it is told to go on
	$restored->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die;
	my $session = session($restored);
	is(ask($session, $state), $point{$n}, "point $n: paused there");
	$session->do('SELECT pg_wal_replay_resume()');
	$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
	is(ask($session, $state), $point{$n}, "point $n: the same session when recovery is over");
	is(ask(session($restored), $state), $point{$n}, "point $n: and a new one");
	$session->do(q{COMMIT PREPARED 'p'}) if $n == 2;
	is(ask($session, $state), $point{3}, "point $n: what was prepared can be committed") if $n == 2;
	$session->do(q{SELECT fflag_register('new', true)});
	is(ask($session, q{SELECT fflag_enabled('new', 1)}), 1, "point $n: the identity goes on");
	$session->disconnect;
	$restored->stop;
}

$writer->disconnect;
$node->stop;
done_testing();
