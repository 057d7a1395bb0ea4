# Statements that are cut off while they load allowlists, short and very long,
# of integers and of texts, by statement_timeout, lock_timeout, cancel and
# terminate: the next one is right.  A long list is read in pieces that grow, so
# that a statement cut off at a random moment is cut off in each of them.
#
#   FFLAG_FAULT_SECONDS   how long (60)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes qw(time sleep usleep);

my $seconds = $ENV{FFLAG_FAULT_SECONDS} // 60;
my $listed = 200_000;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = log\njit = off\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fflag;
	SELECT fflag_register('long', true, 0), fflag_register('texts', true, 0), fflag_register('short', true, 0), fflag_register('flag ' || n, true, 50)
		FROM generate_series(1, 500) AS n;
	INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(2, 2 * $listed, 2) AS n WHERE name = 'long';
	INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(2, 200, 2) AS n WHERE name = 'short';
	INSERT INTO feature_flag_user SELECT id, 'user ' || n FROM feature_flag, generate_series(2, 2 * $listed, 2) AS n WHERE name = 'texts';
	VACUUM ANALYZE feature_flag, feature_flag_user;
});
my $writer = session($node);
my $session = session($node);
my $pid = ask($session, 'SELECT pg_backend_pid()');

# What is cut off: all of it takes long enough for every size of list.
my $load = sprintf q{SELECT count(*) FILTER (WHERE fflag_enabled('long', n)) || ' ' || count(*) FILTER (WHERE fflag_enabled('short', n)) || ' ' || count(*) FILTER (WHERE fflag_enabled('texts', 'user ' || n))
	|| ' ' || (SELECT count(*) FROM fflag_flags(1)) FROM generate_series(1, %d) AS n}, 2 * $listed;

# And what has to be right afterwards.  $n is a user that was on neither list,
# or on both, a moment ago.
my ($compared, $wrong) = (0, 0);

sub check
{
	my ($what, $n) = @_;
	my ($answers, $bad) = $session->selectrow_array(qq{
		SELECT count(*), count(*) FILTER (WHERE fflag_enabled(f.name, n) <> EXISTS (
			SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = n::text))
		FROM feature_flag f, (SELECT $n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT (random() * 500000)::int FROM generate_series(1, 50)) AS users (n)
		WHERE f.name IN ('long', 'short')});
	$compared += $answers;
	$wrong += $bad;
	diag "$what: $bad of $answers wrong" if $bad;
	return;
}

# how long it takes when nobody disturbs it
my $begun = time;
is(ask($session, $load), "$listed 100 $listed 503", 'undisturbed');
my $needed = time - $begun;
note sprintf 'undisturbed it takes %.2f s', $needed;

my %cut;
my @ways = qw(statement_timeout cancel lock_timeout terminate);
my $until = time + $seconds;
# goes on until each has been tried with success
for (my $round = 0; time < $until || grep({ !$cut{$_} } @ways); $round++)
{
	my $way = $ways[ $round % 8 ] // $ways[ $round % 2 ];
	# a user that has no bucket to be in: 7, 9, ...
	my $n = 2 * $listed + 7 + 2 * ($round % 1000);
	$writer->do(rand() < 0.5 ? qq{SELECT fflag_allow('long', $n), fflag_allow('short', $n)}
		: qq{SELECT fflag_disallow('long', $n), fflag_disallow('short', $n)});
	my $after = rand() ** 2 * $needed;
	my $cut;
	if ($way eq 'statement_timeout')
	{
		$session->do(sprintf 'SET statement_timeout = %d', 1 + 1000 * $after);
		$cut = error_of($session, $load);
		$session->do('RESET statement_timeout');
	}
	elsif ($way eq 'lock_timeout')
	{
		$writer->do('BEGIN');
		$writer->do('LOCK TABLE ' . ($round % 3 ? 'feature_flag_user' : 'feature_flag'));
		$session->do('SET lock_timeout = 5');
		$cut = error_of($session, $load);
		$session->do('RESET lock_timeout');
		$writer->do('COMMIT');
	}
	else
	{
		$session->do($load, { pg_async => 1 });
		usleep 1e6 * $after;
		kill(($way eq 'cancel' ? 'INT' : 'TERM') => $pid);
		$cut = eval { $session->pg_result; 1 } ? 'no error' : $session->errstr;
		if ($way eq 'terminate')
		{
			$session = session($node);
			$pid = ask($session, 'SELECT pg_backend_pid()');
		}
		elsif ($cut eq 'no error')
		{
			# the signal may come after the statement
			eval { $session->do('SELECT pg_sleep(0.05)') };
		}
	}
	$cut{$way}++ unless $cut eq 'no error';
	$cut =~ /no error|canceling statement|terminating connection/ or die "$way: $cut";
	check("$way, round $round", $n);
	# now and then all of it, after the list has been loaded in part
	if ($round % 20 == 19)
	{
		my $all = ask($session, qq{SELECT count(*) FILTER (WHERE name = 'long') || ' ' || count(*) FILTER (WHERE name = 'short') || ' $listed 503'
			FROM feature_flag_user JOIN feature_flag ON id = flag_id WHERE CASE WHEN name IN ('long', 'short') THEN user_id::int <= 2 * $listed END});
		is(ask($session, $load), $all, "all users, after $way");
	}
}

diag join(', ', map { ($cut{$_} // 0) . " cut off by $_" } @ways) . "; $compared answers compared afterwards";
cmp_ok($cut{$_} // 0, '>', 0, "cut off by $_") for @ways;
is($wrong, 0, 'no wrong answer afterwards');

# what was cut off has left nothing behind
ask($session, $load);
my ($lists, $bytes) = $session->selectrow_array('SELECT allowlists, bytes FROM fflag_cache()');
is($lists, 503, 'the lists are held, empty ones too');
is(ask($session, q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'fflag allowlist'}), 3, 'those that are not empty once');
cmp_ok($bytes, '<', 3_000_000, "in $bytes bytes, together with the flags");

$_->disconnect for ($writer, $session);
no_crash($node);
$node->stop;
done_testing();
