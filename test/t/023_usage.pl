# What fflag_usage() says is exact: over many sessions at once, parallel workers,
# transactions that are rolled back or prepared, statements that are cancelled
# and sessions that are terminated, on a standby, and for each database alone.
# Names that are made up, and answers in bulk, leave room for flags, dropped
# databases give theirs back, and where there is no memory answers go on.
use strict;
use warnings;
use DBD::Pg;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes qw(sleep);

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', join "\n", 'max_prepared_transactions = 5', 'restart_after_crash = on',
	'max_connections = 50', 'max_worker_processes = 16', 'max_parallel_workers = 8', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('full', true), fflag_register('half', true, 50), fflag_register('other');
	CREATE TABLE people AS SELECT id FROM generate_series(1, 50000) AS id;
	ALTER TABLE people SET (parallel_workers = 3);
	ANALYZE people;
});
my $ops = session($node);

# What has been counted of a flag: how often it was evaluated, and how often it was on.
sub counted
{
	my ($name, $session) = @_;
	return join '/', map { $_ // 'NULL' } ($session // $ops)->selectrow_array(
		'SELECT evaluations, enabled FROM fflag_usage() WHERE name = ?', undef, $name);
}

# How often all flags were answered in bulk, in their order.
sub in_bulk { return ask($_[0], q{SELECT string_agg(bulk_answers::text, ', ' ORDER BY name) FROM fflag_usage() WHERE known}) }

sub reset_counts { return $ops->do('SELECT fflag_usage_reset()'); }

# ---- ten sessions at once, while flags change and transactions are rolled back

my $script = $node->basedir . '/usage.sql';
append_to_file($script, q{
	\set n random(1, 1000)
	SELECT fflag_enabled('half', :n);
	SELECT fflag_enabled('full', 1), fflag_enabled('full', ARRAY[:n, 2, 3]);
	BEGIN;
	SELECT count(fflag_enabled('half', id)) FROM generate_series(1, 7) AS id;
	UPDATE feature_flag SET description = ':n' WHERE name = 'other';
	SELECT fflag_enabled('full', 1);
	ROLLBACK;
	SELECT fflag_rollout('other', :n / 10.0);
	SELECT fflag_enabled('typo', :n);
	SELECT count(*) FROM fflag_flags(:n);
});
$node->command_ok([ 'pgbench', '-n', '-c', 10, '-j', 2, '-t', 200, '-f', $script, 'postgres' ], 'ten sessions');
is(counted('full'), '10000/10000', 'ten sessions: every evaluation, and no other');
like(counted('half'), qr{^16000/}, 'ten sessions: those that were rolled back as well');
is(counted('typo'), '2000/0', 'ten sessions: a name that no flag has');
is(counted('other'), '0/0', 'ten sessions: a flag that is only changed');
is(in_bulk($ops), '2000, 2000, 2000', 'ten sessions: every answer in bulk');

# ---- parallel workers, whose counts are there when the statement ends

reset_counts();
my $reader = session($node);
$reader->do("SET $_") for ('max_parallel_workers_per_gather = 3', 'min_parallel_table_scan_size = 0',
	'parallel_setup_cost = 0', 'parallel_tuple_cost = 0');
my $query = q{SELECT count(*) FROM people WHERE fflag_enabled('half', id)};
my $plan = join "\n", map { $_->[0] } @{ $reader->selectall_arrayref("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $query") };
like($plan, qr/Workers Launched: [1-3]/, 'workers are launched');
is(counted('half'), '50000/' . ask($reader, q{SELECT count(*) FROM people WHERE fflag_bucket('half', id) < 50000}),
	'parallel workers: exact');
$reader->do('BEGIN');
ask($reader, $query);
$reader->do('ROLLBACK');
like(counted('half'), qr{^100000/}, 'parallel workers in a transaction that is rolled back');
like(error_of($reader, q{SELECT count(fflag_enabled('full', id)), min(1 / (id - id)) FROM people}), qr/division by zero/,
	'workers that fail');
my ($failed) = counted('full') =~ m{^(\d+)/};
cmp_ok($failed, '>', 0, 'workers that fail have counted');
cmp_ok($failed, '<=', 5, '... what they have evaluated');

# ---- statements and sessions that end otherwise

reset_counts();
my $endless = q{SELECT fflag_enabled('full', n), pg_sleep(CASE n WHEN 100 THEN 600 ELSE 0 END) FROM generate_series(1, 1000) AS n};

# Runs the statement above up to its long sleep, does this to its session, and waits
# until the session is in this state.  (DBD::Pg does not always throw the error.)
sub interrupt
{
	my ($how, $state) = @_;
	my $session = session($node);
	my $pid = $session->{pg_pid};
	$session->do('BEGIN');
	ask($session, q{SELECT fflag_enabled('half', 1)});
	$session->do($endless, { pg_async => DBD::Pg::PG_ASYNC });
	$node->poll_query_until('postgres', "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid");
	$node->safe_psql('postgres', "SELECT $how($pid)");
	ok($node->poll_query_until('postgres', "SELECT coalesce((SELECT state FROM pg_stat_activity WHERE pid = $pid), 'gone') = '$state'"),
		"$how: $state");
	return $session;
}

my $cancelled = interrupt('pg_cancel_backend', 'idle in transaction (aborted)');
is(counted('full'), '100/100', 'a statement that is cancelled: what it had evaluated');
eval { $cancelled->disconnect };
my $terminated = interrupt('pg_terminate_backend', 'gone');
is(counted('full'), '200/200', 'a session that is terminated: what it had evaluated');
eval { $terminated->disconnect };
like(counted('half'), qr{^2/}, '... with what its transaction had evaluated before');

my $idle = session($node);
$idle->do('SET idle_in_transaction_session_timeout = 10');
$idle->do('BEGIN');
ask($idle, q{SELECT fflag_enabled('full', 1)});
my $gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $idle->{pg_pid})";
$node->poll_query_until('postgres', $gone);
is(counted('full'), '201/201', 'a session that idles for too long in a transaction');
my $leaver = session($node);
$leaver->do('BEGIN');
ask($leaver, q{SELECT fflag_enabled('full', 1)});
$gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $leaver->{pg_pid})";
$leaver->disconnect;
$node->poll_query_until('postgres', $gone);
is(counted('full'), '202/202', 'a client that leaves without an end');

$reader->do('BEGIN');
ask($reader, q{SELECT fflag_enabled('full', 1)});
is(counted('full'), '202/202', 'a transaction that has just begun is not seen');
$reader->do(q{PREPARE TRANSACTION 'p'});
is(counted('full'), '203/203', 'PREPARE TRANSACTION');
$reader->do(q{ROLLBACK PREPARED 'p'});
is(counted('full'), '203/203', 'ROLLBACK PREPARED');

# a long transaction shows up before it ends
$reader->do('BEGIN');
ask($reader, q{SELECT fflag_enabled('full', 1)});
sleep 1.1;
ask($reader, q{SELECT fflag_enabled('half', 1)});
is(counted('full'), '204/204', 'a transaction of more than a second: its counts so far');
$reader->do('COMMIT');
like(counted('half'), qr{^3/}, 'and the rest when it ends');

# the session's own, at once
$reader->do('BEGIN');
ask($reader, q{SELECT fflag_enabled('full', 1)});
is(counted('full', $reader), '205/205', 'own evaluations are seen in the transaction');
ask($reader, q{SELECT fflag_enabled('full', 1)});
$reader->do('COMMIT');
is(counted('full'), '206/206', 'and not counted twice, nor lost');

# a reset while a transaction is open
$reader->do('BEGIN');
ask($reader, "SELECT fflag_enabled('$_', 1)") for ('full', 'typo');
reset_counts();
is(counted('full'), '0/0', 'reset');
$reader->do('COMMIT');
is(counted('full'), '1/1', 'reset: a transaction that was open is added');
ask($reader, q{SELECT fflag_enabled('typo', 1)});
is(counted('typo'), '1/0', 'reset: a session finds a new place for a forgotten name');

# ---- other databases

$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('full', true);
	SELECT fflag_enabled('full', ARRAY[1, 2, 3]), fflag_enabled('secret');
});
my $second = session($node, dbname => 'second');
is(counted('full', $second), '3/3', 'another database has counts of its own');
is(counted('full'), '1/1', '... and the first one its own');
is(ask($ops, q{SELECT count(*) FROM fflag_usage() WHERE name = 'secret'}), 0, '... and sees no names of the other');
$second->do('SELECT fflag_usage_reset()');
is(counted('full'), '1/1', 'a reset is for one database');

# ---- more flags answered in bulk than there is room for: those that are evaluated find some

$node->safe_psql('postgres', 'CREATE DATABASE bulk');
$node->safe_psql('bulk', q{CREATE EXTENSION fflag; SELECT fflag_register(ARRAY(SELECT 'flag ' || n FROM generate_series(1, 10000) AS n))});
append_to_file("$script.bulk", q{
	SELECT count(*) FROM fflag_flags(1);
	SELECT fflag_disable('flag 1');
});
$node->command_ok([ 'pgbench', '-n', '-c', 10, '-j', 2, '-t', 4, '-f', "$script.bulk", 'bulk' ], 'bulk: ten sessions, 10,000 flags');
my $bulk = session($node, dbname => 'bulk');
is(ask($bulk, 'SELECT sum(bulk_answers) FROM fflag_usage()'), 400000, 'bulk: every answer is counted');
cmp_ok(ask($bulk, 'SELECT count(*) FROM fflag_usage() WHERE name IS NOT NULL AND bulk_answers = 40'), '>', 3000, '... most of what there is room for by name');
is(ask($bulk, 'SELECT sum(bulk_answers) - count(*) FROM fflag_usage() WHERE bulk_answers < 40'), undef, '... and whole');
$bulk->do('BEGIN');
ask($bulk, 'SELECT count(*) FROM fflag_flags(1)');
ask($bulk, q{SELECT count(fflag_enabled('flag ' || n)) FROM generate_series(9501, 10000) AS n});
$bulk->do('COMMIT');
is(ask($bulk, 'SELECT count(*) FROM fflag_usage() WHERE evaluations = 1'), 500, 'bulk: flags that are evaluated get a place of their own');
is(ask($bulk, 'SELECT sum(bulk_answers) FROM fflag_usage()'), 410000, '... and nothing is lost');
is(ask($bulk, q{SELECT count(*) FROM fflag_usage() AS u, fflag_stale(now() - u.since) AS s WHERE u.name = 'flag 1' AND s.reason LIKE '%not asked%'}), 0,
	'... nor is a flag called unasked');
$bulk->disconnect;
$node->safe_psql('postgres', 'DROP DATABASE bulk');

# ---- made-up names beside flags

$second->do(q{SELECT fflag_register(ARRAY(SELECT 'flag ' || n FROM generate_series(1, 3000) AS n), true)});
for my $round (1 .. 2)
{
	my $visitor = session($node, dbname => 'second');
	$visitor->do(q{SELECT count(fflag_enabled('made up ' || n)) FROM generate_series(1, 10000) AS n});
	$visitor->disconnect;
}
my $flags = session($node, dbname => 'second');
$flags->do(q{SELECT count(fflag_enabled('flag ' || n)) FROM generate_series(1, 3000) AS n});
is(ask($second, q{SELECT count(*) FROM fflag_usage() WHERE known AND evaluations = 1}), 3000,
	'10,000 names that are made up leave room for 3,000 flags');
is(ask($second, q{SELECT sum(evaluations) FROM fflag_usage() WHERE NOT known}), 20000, 'and are counted, too');
is(ask($second, q{SELECT count(*) > 0 AND count(*) <= 512 FROM fflag_usage() WHERE NOT known AND name IS NOT NULL}), 1,
	'512 of them by name');
# one of those without a place of its own becomes a flag
my $late = ask($second, q{SELECT 'made up ' || n FROM generate_series(1, 10000) AS n
	WHERE 'made up ' || n NOT IN (SELECT name FROM fflag_usage() WHERE name IS NOT NULL) LIMIT 1});
$second->do('SELECT fflag_register(?)', undef, $late);
$second->do('SELECT fflag_enabled(?)', undef, $late);
is(counted($late, $second), '1/0', 'a made-up name that becomes a flag gets a place of its own');

# ---- more flags than there is room for

$second->do(q{SELECT fflag_register(ARRAY(SELECT 'more ' || n FROM generate_series(1, 2000) AS n), true)});
ask($flags, q{SELECT count(fflag_enabled('more ' || n)) FROM generate_series(1, 2000) AS n}) for 1 .. 2;
is(ask($second, q{SELECT sum(evaluations) FROM fflag_usage() WHERE known}), 3000 + 1 + 4000, 'more flags than places: all are counted');
cmp_ok(ask($second, q{SELECT count(*) FROM fflag_usage() WHERE name LIKE 'more %' AND evaluations = 2}), '>', 100, '... many by name');
cmp_ok(ask($second, q{SELECT sum(evaluations) FROM fflag_usage() WHERE known AND name IS NULL}), '>', 100, '... the rest together');
# flag "full" is the only one that has a place and has not been asked for
is(ask($second, q{SELECT string_agg(name, ', ') FROM fflag_usage() WHERE known AND evaluations = 0}), 'full',
	'... of none of these it is said that nobody has asked for it');
is(ask($second, q{SELECT string_agg(s.name, ', ') FROM fflag_usage() AS u, fflag_stale(now() - u.since) AS s
	WHERE u.name = 'flag 1' AND s.reason LIKE '%not asked%'}), 'full', '... nor by fflag_stale');

# no place is left for a third database, until the second is dropped
$node->safe_psql('postgres', 'CREATE DATABASE third');
$node->safe_psql('third', q{CREATE EXTENSION fflag; SELECT fflag_register(ARRAY(SELECT 'f ' || n FROM generate_series(1, 100) AS n), true)});
my $evaluate = q{SELECT count(*) FROM generate_series(1, 100) AS n WHERE fflag_enabled('f ' || n)};
is($node->safe_psql('third', $evaluate), 100, 'no place at all: answers go on');
my $third = session($node, dbname => 'third');
is(counted('f 1', $third), 'NULL/NULL', '... and nothing is said of how often');
$_->disconnect for ($second, $flags, $third);
$node->safe_psql('postgres', 'DROP DATABASE second');
$node->safe_psql('third', $evaluate);
is($node->safe_psql('third', 'SELECT count(*), sum(evaluations) FROM fflag_usage() WHERE name IS NOT NULL'), '100|100',
	'a dropped database gives its places back');
is(counted('full'), '1/1', 'the first database has kept its own');

# ---- a standby, which counts for itself

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$standby->safe_psql('postgres', q{SELECT fflag_enabled('full', ARRAY[1, 2, 3, 4])});
is($standby->safe_psql('postgres', q{SELECT evaluations, enabled, known FROM fflag_usage() WHERE name = 'full'}), '4|4|t',
	'a standby counts');
is(counted('full'), '1/1', '... for itself');
$standby->safe_psql('postgres', 'SELECT fflag_usage_reset()');
is($standby->safe_psql('postgres', q{SELECT evaluations FROM fflag_usage() WHERE name = 'full'}), 0, '... and can be reset');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM fflag_stale('0')}), 3, '... and says which flags can go');
$reader->do('BEGIN READ ONLY');
ask($reader, q{SELECT fflag_enabled('full', 1)});
$reader->do('COMMIT');
is(counted('full'), '2/2', 'a read-only transaction counts');
$standby->stop;

# ---- a crash: counted from zero, and since then

no_crash($node);
my $since = ask($ops, 'SELECT max(since) FROM fflag_usage()');
kill KILL => $reader->{pg_pid};
$node->poll_query_until('postgres', 'SELECT true');
eval { $_->disconnect } for ($reader, $ops);
$ops = session($node);
ask($ops, q{SELECT fflag_enabled('full', 1)});
is(counted('full'), '1/1', 'after a crash: from zero');
is($ops->selectrow_array('SELECT max(since) > ?::timestamptz FROM fflag_usage()', undef, $since), 1, '... and it says since when');
no_crash($node, 9);
$ops->disconnect;

# ---- each kind of shared memory, a server for one user

for my $setting ('dynamic_shared_memory_type = mmap', 'dynamic_shared_memory_type = sysv', 'min_dynamic_shared_memory = 16MB')
{
	$node->append_conf('postgresql.conf', $setting);
	$node->restart;
	$node->safe_psql('postgres', q{SELECT fflag_enabled('full', 1)}) for 1 .. 3;
	is($node->safe_psql('postgres', q{SELECT evaluations FROM fflag_usage() WHERE name = 'full'}), 3, $setting);
}
$node->append_conf('postgresql.conf', 'fflag.track_usage = off');
$node->restart;
$node->safe_psql('postgres', q{SELECT fflag_enabled('full', 1)});
is($node->safe_psql('postgres', q{SELECT evaluations IS NULL, since IS NULL FROM fflag_usage() WHERE name = 'full'}), 't|t',
	'fflag.track_usage = off: nothing is counted');
$node->stop;
my ($out, $err) = ('', '');
IPC::Run::run([ $node->installed_command('postgres'), '--single', '-D', $node->data_dir, '-c', 'fflag.track_usage=on', 'postgres' ],
	'<', \qq{SELECT fflag_enabled('full', 1), evaluations FROM fflag_usage() WHERE name = 'full'\n}, '>', \$out, '2>', \$err);
like($out, qr/fflag_enabled = "t".*\n(?!.*evaluations = )/, 'single-user mode: answers, and nothing is counted');
unlike($err, qr/ERROR|FATAL|TRAP/, 'single-user mode: no error');

# ---- no memory: a limit on the size of files stands for a /dev/shm that is full

SKIP:
{
	skip 'there is no prlimit', 7 if system('prlimit --version >/dev/null 2>&1') != 0;
	my $small = PostgreSQL::Test::Cluster->new('small');
	$small->init(extra => ['--wal-segsize=1']);
	$small->append_conf('postgresql.conf', "min_wal_size = 2MB\nmax_wal_size = 10MB");
	system('prlimit', "--pid=$$", '--fsize=2000000:') == 0 or die;
	$small->start;
	system('prlimit', "--pid=$$", '--fsize=unlimited:') == 0 or die;
	$small->safe_psql('postgres', q{CREATE EXTENSION fflag; SELECT fflag_register('f', true)});
	my $session = session($small);
	my $answer = eval { ask($session, q{SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('f', n)}) };
	is($answer // $session->errstr, 10, 'no memory: answers go on');
	is_on($session, '... and on') for 1 .. 2;
	is(($small->psql('postgres', q{SELECT fflag_enabled('f', 1), evaluations FROM fflag_usage() WHERE name = 'f'}))[1], 't|',
		'... in other sessions, too, where nothing is counted');
	my @lines = slurp_file($small->logfile) =~ /^.*evaluations of flags are not counted: .*$/mg;
	is(@lines, 1, '... and the log has one line of it') or diag @lines;
	my ($postmaster) = slurp_file($small->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	system('prlimit', "--pid=$postmaster", '--fsize=unlimited:') == 0 or die;
	$small->safe_psql('postgres', q{SELECT fflag_enabled('f', 1)});
	is($small->safe_psql('postgres', q{SELECT evaluations FROM fflag_usage() WHERE name = 'f'}), 1, 'memory again: a new session counts');
	$session->disconnect;
	no_crash($small);
	$small->stop;
}

done_testing();
