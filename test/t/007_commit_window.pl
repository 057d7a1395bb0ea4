# A transaction is visible to others a moment before its invalidation messages
# are sent.  A test module makes that moment long; in it the function must
# already say what the table says.  All of that with the server's counts of locks
# and, as where they are not known, without.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes 'sleep';

use constant LOADS => q{SELECT loads FROM fflag_cache()};

my $module = "$FindBin::RealBin/../module";
system_or_bail('make', '-s', '-C', $module, 'with_llvm=no');

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f'), fflag_register('g', true, 0);
	CREATE TABLE other (n int);
	CREATE FUNCTION test_delay_commit(float8) RETURNS void LANGUAGE c AS '$module/fflag_test', 'test_delay_commit';
	CREATE FUNCTION test_hold_init_lock(float8) RETURNS void LANGUAGE c AS '$module/fflag_test', 'test_hold_init_lock';
	CREATE FUNCTION test_use_lock_counts(boolean) RETURNS void LANGUAGE c AS '$module/fflag_test', 'test_use_lock_counts';
});
my $both = q{SELECT enabled, fflag_enabled('f', 1) FROM feature_flag WHERE name = 'f'};
my ($way, $writer, $reader);

sub delayed_commit
{
	my ($change, $column, $name, $what) = @_;
	my $both = qq{SELECT $column AS said, fflag_enabled('$name', 1) AS answered};
	my ($seen, $wrong, $window) = (0, 0, 0);
	my ($said, $answered) = $reader->selectrow_array($both);
	is($answered, $said, "$way, $what: before");

	$writer->do('BEGIN');
	$writer->do('SELECT test_delay_commit(0.6)');
	$writer->do($change);
	$writer->do('COMMIT', { pg_async => DBD::Pg::PG_ASYNC() });
	until ($writer->pg_ready)
	{
		my ($now_said, $now_answered) = $reader->selectrow_array($both);
		$window++ if $now_said != $said;
		$wrong++ if $now_said != $now_answered;
		sleep 0.01;
	}
	$writer->pg_result;
	cmp_ok($window, '>', 10, "$way, $what: statements that saw the commit in its last moment");
	is($wrong, 0, "$way, $what: and got the table's answer");
	($said, $answered) = $reader->selectrow_array($both);
	is($answered, $said, "$way, $what: after");
	return;
}

# What a session says that has used fflag before, and uses the counts or not.
sub use_counts
{
	my ($use) = @_;
	$way = $use ? 'with counts' : 'without counts';
	$writer = session($node);
	$reader = session($node);
	is(ask($reader, q{SELECT lock_counts FROM fflag_cache()}), 1, "$way: the proof succeeds") if $use;
	$reader->do("SELECT test_use_lock_counts('$use')");
	is(ask($reader, q{SELECT lock_counts FROM fflag_cache()}), $use, "$way: used or not");
	return;
}

sub all_windows
{
	delayed_commit(q{UPDATE feature_flag SET enabled = true WHERE name = 'f'},
		q{(SELECT enabled FROM feature_flag WHERE name = 'f')}, 'f', 'flag');
	delayed_commit(q{INSERT INTO feature_flag_user SELECT id, '1' FROM feature_flag WHERE name = 'g'},
		q{EXISTS (SELECT FROM feature_flag_user WHERE user_id = '1')}, 'g', 'allowlist');
	delayed_commit(q{DELETE FROM feature_flag WHERE name = 'f'},
		q{EXISTS (SELECT FROM feature_flag WHERE name = 'f')}, 'f', 'deleted flag');

	# a change that a transaction makes past the triggers
	$writer->do(q{SELECT fflag_register('f')});
	delayed_commit(q{ALTER TABLE feature_flag DISABLE TRIGGER fflag_invalidate;
		UPDATE feature_flag SET enabled = true WHERE name = 'f';
		ALTER TABLE feature_flag ENABLE ALWAYS TRIGGER fflag_invalidate},
		q{(SELECT enabled FROM feature_flag WHERE name = 'f')}, 'f', 'triggers disabled');

	# one who has not committed hides nobody who does
	my $idle = session($node);
	$idle->do('BEGIN');
	$idle->do(q{UPDATE feature_flag SET description = 'idle' WHERE name = 'g'});
	delayed_commit(q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'f'},
		q{(SELECT enabled FROM feature_flag WHERE name = 'f')}, 'f', 'beside an idle writer');
	$idle->do('ROLLBACK');
	$idle->disconnect;

	# nor does a savepoint that is rolled back, before or after
	delayed_commit(q{SAVEPOINT a; UPDATE feature_flag SET enabled = NOT enabled; ROLLBACK TO a;
		UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'f'},
		q{(SELECT enabled FROM feature_flag WHERE name = 'f')}, 'f', 'rolled back before');
	delayed_commit(q{SAVEPOINT a; UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'f'; RELEASE a;
		SAVEPOINT b; UPDATE feature_flag SET description = 'b'; ROLLBACK TO b},
		q{(SELECT enabled FROM feature_flag WHERE name = 'f')}, 'f', 'rolled back after');

	# PREPARE TRANSACTION makes the own transaction, which a snapshot leaves out,
	# one of the others: as many are running as before, but not the same
	$writer->do(q{UPDATE feature_flag SET enabled = false WHERE name = 'f'});
	my $other = session($node);
	$reader->do('BEGIN');
	$reader->do('INSERT INTO other VALUES (1)');
	$writer->do('BEGIN');
	$writer->do('SELECT test_delay_commit(0.6)');
	$writer->do(q{UPDATE feature_flag SET enabled = true WHERE name = 'f'});
	$other->do('INSERT INTO other VALUES (2)');
	is(join(' ', $reader->selectrow_array($both)), '0 0', "$way, PREPARE TRANSACTION: before");
	$reader->do(q{PREPARE TRANSACTION 'p'});
	$writer->do('COMMIT', { pg_async => DBD::Pg::PG_ASYNC() });
	$node->poll_query_until('postgres', q{SELECT enabled FROM feature_flag WHERE name = 'f'});
	is(join(' ', $reader->selectrow_array($both)), '1 1', "$way, PREPARE TRANSACTION: in the last moment of a commit");
	$writer->pg_result;
	$reader->do(q{ROLLBACK PREPARED 'p'});
	is(join(' ', $reader->selectrow_array($both)), '1 1', "$way, PREPARE TRANSACTION: after");
	$other->disconnect;

	# while somebody has written and not committed, readers are right as well, and
	# nobody waits or loads anew
	ask($reader, q{SELECT fflag_enabled('g', 1)});
	$writer->do('BEGIN');
	$writer->do(q{UPDATE feature_flag SET enabled = false});
	my $loads = ask($reader, LOADS);
	for (1 .. 3)
	{
		$node->safe_psql('postgres', 'INSERT INTO other VALUES (1)');
		is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 1, "$way, a writer has not committed");
	}
	is(ask($reader, LOADS), $loads, "$way, and makes nobody load");
	$writer->do('COMMIT');
	is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 0, "$way, and now has");
	$_->disconnect for ($writer, $reader);
	return;
}

# COMMIT PREPARED, in another session than PREPARE TRANSACTION, and after a crash.
# A change of pg_class makes it wait for a lock of the server's in that moment.
sub prepared_window
{
	my ($crash) = @_;
	my $what = $way . ', COMMIT PREPARED' . ($crash ? ' after a crash' : '');
	$node->safe_psql('postgres', qq{
		SELECT fflag_disable('f'), fflag_rollout('f', 100);
		BEGIN;
		GRANT SELECT ON pg_class TO PUBLIC;
		SELECT fflag_enable('f');
		PREPARE TRANSACTION 'p'});
	if ($crash)
	{
		$_->disconnect for ($writer, $reader);
		$node->stop('immediate');
		$node->start;
		use_counts($way eq 'with counts' ? 1 : 0);
	}
	my $holder = session($node);
	is(join(' ', $reader->selectrow_array($both)), '0 0', "$what: before");
	$holder->do('SELECT test_hold_init_lock(1)', { pg_async => DBD::Pg::PG_ASYNC() });
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%init_lock(1)' AND state = 'active')});
	$writer->do(q{COMMIT PREPARED 'p'}, { pg_async => DBD::Pg::PG_ASYNC() });
	my ($window, $wrong) = (0, 0);
	until ($writer->pg_ready)
	{
		my ($said, $answered) = $reader->selectrow_array($both);
		$window++ if $said;
		$wrong++ if $said != $answered;
		sleep 0.01;
	}
	$_->pg_result for ($writer, $holder);
	cmp_ok($window, '>', 10, "$what: statements that saw the commit in its last moment");
	is($wrong, 0, "$what: and got the table's answer");
	is(join(' ', $reader->selectrow_array($both)), '1 1', "$what: after");
	$holder->disconnect;
	return;
}

for my $use (1, 0)
{
	use_counts($use);
	all_windows();
	use_counts($use);
	prepared_window($_) for (0, 1);
	$_->disconnect for ($writer, $reader);
	$node->safe_psql('postgres', q{SELECT fflag_disable('f'), fflag_rollout('f', 100), fflag_enable('g'), fflag_disallow('g', 1)}) if $use;
}
no_crash($node);
$node->stop;
done_testing();
