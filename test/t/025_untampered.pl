# What others cannot do to the history: a role with the grants of docs/operations.md makes no change
# look as if a restore had made it, nor puts into the history what no database takes back.  And the
# history is in nobody's way: SERIALIZABLE transactions that change different flags do not fail.
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
$node->start;
my $file = PostgreSQL::Test::Utils::tempdir . '/dump';
my ($admin) = grep { /CREATE ROLE flag_admin/ } code_blocks('docs/operations.md', 'sql');

# ---- a setting that comes with the start of the session is never checked for its encoding

my $owner = session($node);
$owner->do($_) for 'CREATE EXTENSION fflag', $admin, 'ALTER ROLE flag_admin LOGIN';
{
	local $ENV{PGOPTIONS} = "-c fflag.actor=\xff\xfebob";
	my $session = session($node, user => 'flag_admin');
	$session->do(q{SELECT fflag_register('f', false, 100)});
	$session->disconnect;
}
is(ask($owner, 'SELECT actor FROM fflag_history()'), '??bob', 'bytes that are no text');
$node->command_ok([ 'pg_dump', '-f', $file, 'postgres' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, 'restored' ], 'restored');
$owner->disconnect;

# ---- in a restored database, a row that says it is old may be one that was restored

$owner = session($node, dbname => 'restored');
$owner->do(q{SELECT fflag_register('h', true, 100)});
my $at = ask($owner, 'SELECT clock_timestamp()');
my $flag_admin = session($node, dbname => 'restored', user => 'flag_admin');
my $columns = '(id, name, enabled, rollout_percentage, created_at)';
$flag_admin->begin_work;
$flag_admin->do(q{DELETE FROM feature_flag WHERE name <> 'h'});
$flag_admin->do(qq{INSERT INTO feature_flag $columns VALUES (1001, 'f', true, 100, '2000-01-01'), (1002, 'g', true, 100, '2000-01-01')});
$flag_admin->do(q{INSERT INTO feature_flag_user VALUES (1001, 'me', '2000-01-01')});
$flag_admin->do(q{INSERT INTO feature_flag_denied_user SELECT id, '1', '2000-01-01' FROM feature_flag WHERE name = 'h'});
$flag_admin->do(q{INSERT INTO feature_flag_variant SELECT id, 'red', 1, NULL, '2000-01-01' FROM feature_flag WHERE name = 'h'});
$flag_admin->commit;
is(ask($owner, "SELECT rule FROM fflag_explain_at('$at', 'f', 1)"), 'disabled', 'a flag in place of another: as it was');
is(ask($owner, "SELECT rule FROM fflag_explain_at('$at', 'g', 1)"), 'unknown_flag', 'a new flag: there was none');
is(ask($owner, "SELECT rule FROM fflag_explain_at('$at', 'h', 1)"), 'full_rollout', 'a denied user: was not');
is(ask($owner, "SELECT coalesce(variant, 'none') FROM fflag_explain_at('$at', 'h', 2)"), 'none', 'a variant: there was none');
is(ask($owner, q{SELECT string_agg(what, ', ' ORDER BY what) FROM fflag_history() WHERE session_role = 'flag_admin' AND at > '}
	  . "$at'"), 'flag created, flag created, flag deleted, user denied, user listed, variant created', 'and it is all told');

# ---- two transactions that have nothing to do with each other

$owner->do(q{SELECT fflag_register('flag ' || n) FROM generate_series(1, 500) AS n});
my @sessions = ($owner, session($node, dbname => 'restored'));
for my $round ('new', 'analyzed')
{
	for my $n (0, 1)
	{
		$sessions[$n]->do('SET enable_seqscan = off');
		$sessions[$n]->do($_) for 'BEGIN ISOLATION LEVEL SERIALIZABLE',
		  sprintf(q{SELECT fflag_enable('flag %d'), fflag_disable('flag %d')}, ($n * 400 + 10) x 2);
	}
	$sessions[0]->do('COMMIT');
	is(error_of($sessions[1], 'COMMIT'), 'no error', "SERIALIZABLE transactions: $round");
	$owner->do('VACUUM ANALYZE feature_flag_change, feature_flag_history');
}
$_->disconnect for @sessions, $flag_admin;

no_crash($node);
$node->stop;
done_testing();
