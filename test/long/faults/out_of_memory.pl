# Memory that runs out in the middle of a load, at each place where the server
# asks the system for some: the statement fails, and the next one is right.
#
# The server runs with a malloc() that fails on demand.  A statement is run again
# and again, after a change of flags: the first time its first allocation fails,
# then the second, and so on; where there are many, a sample of them.
#
#   FFLAG_FAULT_SECONDS   the more, the larger is the sample (60)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $sample = $ENV{FFLAG_FAULT_SECONDS} // 60;
my $module = "$FindBin::RealBin/../../module";
my $preload = "$module/fault_malloc.so";
system_or_bail('make', '-s', '-C', $module, 'with_llvm=no');
system_or_bail($ENV{CC} || 'cc', '-shared', '-fPIC', '-O1', '-o', $preload, "$module/fault_malloc.c");

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = log\njit = off\nautovacuum = off");
{
	local $ENV{LD_PRELOAD} = $preload;
	$node->start;
}
# a column that makes the server ask for memory whenever it reads what the table
# looks like
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fflag;
	CREATE FUNCTION test_fail_allocation(bigint) RETURNS bigint LANGUAGE c AS '$module/fflag_test', 'test_fail_allocation';
	SELECT fflag_register('flag ' || n, true, 0) FROM generate_series(1, 60) AS n;
	INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(2, 40) AS n WHERE name <> 'flag 1';
	INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(2, 20000) AS n WHERE name = 'flag 1';
	INSERT INTO feature_flag_user SELECT id, 'user ' || n FROM feature_flag, generate_series(2, 20000) AS n WHERE name = 'flag 3';
	CREATE TABLE names AS SELECT name, n FROM feature_flag, generate_series(1, 3) AS n;
	DO 'BEGIN EXECUTE format(''ALTER TABLE feature_flag ADD note text DEFAULT %L'', repeat(''note'', 5000)); END';
	VACUUM ANALYZE;
});
my $writer = session($node);

my $check = q{SELECT count(*), count(*) FILTER (WHERE answered <> said) FROM (
	SELECT fflag_enabled(n.name, n.n) AS answered, f.name IS NOT NULL AND f.enabled AND EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = n.n::text) AS said
	FROM names n LEFT JOIN feature_flag f ON f.name = n.name) AS c};

my %statement = (
	'flags and short lists' => 'SELECT count(*) FILTER (WHERE fflag_enabled(name, n)) FROM names',
	'all flags' => 'SELECT count(*) FILTER (WHERE enabled) FROM fflag_flags(1)',
	'all about all flags' => 'SELECT count(*) FILTER (WHERE enabled) FROM fflag_evaluate(names => NULL, user_id => 1)',
	'a long list' => q{SELECT count(*) FILTER (WHERE fflag_enabled('flag 1', 20000 + n)) FROM generate_series(1, 12000) AS n},
	'a long list of texts' => q{SELECT count(*) FILTER (WHERE fflag_enabled('flag 3', 'user ' || 20000 + n)) FROM generate_series(1, 12000) AS n},
	'unknown names' => q{SELECT count(*) FILTER (WHERE fflag_enabled('unknown ' || n, 1)) FROM generate_series(1, 2000) AS n},
	'a write' => q{UPDATE feature_flag SET description = description || fflag_enabled(name, 1)},
);

# In what the statement runs: on its own in the session of the last one or in
# a new one; in a transaction, after a savepoint; in a transaction that has the
# table open, which makes the server read what the table looks like as soon as
# it hears of a change, and stop hearing if memory runs out there.
my @modes = ('on its own', 'in a new session', 'after a savepoint', 'under a cursor');

my ($all_compared, $all_failed, $turn) = (0, 0, 0);
for my $what (sort keys %statement)
{
	for my $mode (@modes)
	{
		my ($failed, $wrong, $compared, $places) = (0, 0, 0, 1_000_000_000);
		my $session = session($node);
		$session->do('SELECT test_fail_allocation(0)');
		# the first time none fails, which tells how many there are
		for (my $n = $places; $n <= $places; $n += 1 + ($n > 30 ? int(rand($places / $sample)) : 0))
		{
			$session = session($node) if $mode eq 'in a new session';
			# warm, so that there is something that can be stale
			ask($session, $check) unless $mode eq 'in a new session';
			$session->do('BEGIN') if $mode =~ /savepoint|cursor/;
			$session->do('SAVEPOINT s') if $mode =~ /savepoint/;
			$session->do('DECLARE c CURSOR FOR TABLE feature_flag') if $mode =~ /cursor/;
			$session->do('FETCH 1 FROM c') if $mode =~ /cursor/;
			$writer->do(q{UPDATE feature_flag SET enabled = NOT enabled WHERE id % 2 = 0});
			$writer->do($turn++ % 2 == 0 ? q{INSERT INTO feature_flag_user SELECT id, '1' FROM feature_flag} : q{DELETE FROM feature_flag_user WHERE user_id = '1'});
			$session->do("SELECT test_fail_allocation($n)");
			my $error = error_of($session, $statement{$what});
			die $error unless $error =~ /^no error|out of memory|could not load library/;
			$failed++ if $error ne 'no error';
			my $left;
			until (defined $left)
			{
				# what is left over may fail here
				$left = eval {
					$session->do('ROLLBACK TO s') if $mode =~ /savepoint/;
					$session->do('ROLLBACK') if $mode =~ /cursor/;
					ask($session, 'SELECT test_fail_allocation(0)');
				};
			}
			if ($n == 1_000_000_000)
			{
				$places = $n - $left;
				$n = 0;
			}
			for (1 .. 2)
			{
				my ($answers, $bad) = $session->selectrow_array($check);
				$compared += $answers;
				$wrong += $bad;
				last unless $_ == 1 && $mode =~ /savepoint/;
				$session->do('COMMIT');
			}
		}
		cmp_ok($failed, '>', 0, "$what, $mode: memory ran out in $failed of $places places");
		is($wrong, 0, "$what, $mode: $compared answers compared afterwards, none wrong");
		$all_compared += $compared;
		$all_failed += $failed;
	}
}
diag "memory ran out $all_failed times; $all_compared answers compared afterwards";

$writer->disconnect;
no_crash($node);
$node->stop;
done_testing();
