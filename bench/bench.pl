#!/usr/bin/perl
#
# Benchmarks, as ratios: every case runs by turns with its reference, on one
# server in one run, and the table shows the median and the spread of the
# ratios of neighbours.  Absolute times of a shared machine mean little.
#
#   perl bench.pl BINDIR MODULE   PGHOST, PGPORT and PGUSER say where; MODULE is
#                                 test/module's
#   BENCH_ROWS=1000000 BENCH_ROUNDS=7 BENCH_LIST=10000000 BENCH_CLIENT_ROUNDS=31
#   BENCH=regex                   only the cases whose names match
#
use strict;
use warnings;
use DBI;
use Text::Wrap qw(wrap);
use Time::HiRes qw(time sleep);

$Text::Wrap::columns = 100;
my ($bindir, $module) = @ARGV;
die "usage: bench.pl BINDIR MODULE\n" unless $module;
my $rows = $ENV{BENCH_ROWS} // 1_000_000;
my $scan_rounds = $ENV{BENCH_ROUNDS} // 7;
my $rounds = $scan_rounds;
my $longest_list = $ENV{BENCH_LIST} // 10_000_000;
my $client_rounds = $ENV{BENCH_CLIENT_ROUNDS} // 31;
my $only = $ENV{BENCH} // '';
my $few = int($rows / 50);    # for references that take minutes otherwise

my $db = connection();

sub connection
{
	my $new = DBI->connect("dbi:Pg:host=$ENV{PGHOST};port=$ENV{PGPORT};dbname=postgres", $ENV{PGUSER}, '',
		{ RaiseError => 1, PrintError => 0 });
	$new->{pg_server_prepare} = 0;
	$new->do("SET $_") for ('client_min_messages = warning', 'max_parallel_workers_per_gather = 0', 'jit = off');
	return $new;
}

sub progress
{
	my $text = join '', @_;
	printf STDERR -t STDERR ? "\r\e[K%s" : "%s\n", $text;
	return;
}

# ---- what is measured against: the rules in PL/pgSQL, in an SQL function, as a join

progress('creating users');
# the 128 bits in three parts; 50336 and 10656 are 2^96 and 2^48 mod 100000
my $hash = sub {
	my ($name, $id) = @_;
	return qq{(SELECT r % 100 * 1000 + r / 100 FROM (SELECT (('x' || left(d, 8))::bit(32)::bigint % 100000 * 50336
		+ ('x' || substr(d, 9, 12))::bit(48)::bigint % 100000 * 10656
		+ ('x' || right(d, 12))::bit(48)::bigint) % 100000 AS r FROM md5($name || ':' || $id) AS d) AS h)};
};

$db->do($_) for (
	'CREATE EXTENSION fflag',
	(map { "CREATE FUNCTION test_hash(text, $_, boolean, int) RETURNS boolean LANGUAGE c STABLE AS '$module', 'test_hash_$_'" } 'bigint', 'uuid', 'text'),
	"CREATE FUNCTION test_constant(text, bigint, boolean, boolean) RETURNS boolean LANGUAGE c STABLE AS '$module'",
	q{SELECT fflag_register('new_checkout', true, 10), fflag_register('off'), fflag_register('full', true), fflag_register('staff', true, 100, true)},
	"CREATE TABLE users AS SELECT n::bigint AS id, md5(n::text)::uuid AS uid, 'user ' || n AS tid, n % 100 = 0 AS is_staff FROM generate_series(1, $rows) AS n",
	'VACUUM ANALYZE users',
	"CREATE VIEW few AS SELECT * FROM users LIMIT $few",
	qq{CREATE FUNCTION sql_enabled(flag_name text, uid bigint, staff boolean) RETURNS boolean LANGUAGE sql STABLE AS \$\$
		SELECT CASE WHEN f.staff_only THEN staff WHEN NOT f.enabled THEN false WHEN f.rollout_percentage >= 100 THEN true
			WHEN EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = uid::text) THEN true
			WHEN f.rollout_percentage <= 0 THEN false
			ELSE @{[ $hash->('flag_name', 'uid') ]} < f.rollout_percentage * 1000 END
		FROM feature_flag f WHERE f.name = flag_name \$\$},
	qq{CREATE FUNCTION plpgsql_enabled(flag_name text, uid bigint, staff boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS \$\$
		DECLARE
			f feature_flag;
		BEGIN
			SELECT * INTO f FROM feature_flag WHERE name = flag_name;
			IF NOT FOUND THEN RETURN false; END IF;
			IF f.staff_only THEN RETURN staff; END IF;
			IF NOT f.enabled THEN RETURN false; END IF;
			IF f.rollout_percentage >= 100 THEN RETURN true; END IF;
			IF EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = uid::text) THEN RETURN true; END IF;
			IF f.rollout_percentage <= 0 THEN RETURN false; END IF;
			RETURN @{[ $hash->('flag_name', 'uid') ]} < f.rollout_percentage * 1000;
		END \$\$});

my $join = qq{SELECT count(*) FROM users u CROSS JOIN (SELECT * FROM feature_flag WHERE name = 'new_checkout') f
	LEFT JOIN feature_flag_user l ON l.flag_id = f.id AND l.user_id = u.id::text
	WHERE CASE WHEN f.staff_only THEN u.is_staff WHEN NOT f.enabled THEN false WHEN f.rollout_percentage >= 100 THEN true
		WHEN l.user_id IS NOT NULL THEN true WHEN f.rollout_percentage <= 0 THEN false
		ELSE @{[ $hash->('f.name', 'u.id') ]} < f.rollout_percentage * 1000 END};

# ---- measuring

sub seconds
{
	my ($query) = @_;
	return $query->() if ref $query;
	my $begun = time;
	$db->selectall_arrayref($query);
	return time - $begun;
}

sub median { my @s = sort { $a <=> $b } @_; return $s[ $#s / 2 ]; }

sub show
{
	my ($ratio) = @_;
	return $ratio < 0.4 ? sprintf('1 / %.1f', 1 / $ratio) : sprintf('%.2f', $ratio);
}

my (@table, @missed);

# What a user would ask first; the page begins with it.
my @asked = (
	'10%: PL/pgSQL', '10%: join by hand', '10%, bigint: hash and compare in C', 'flag off: false in C',
	'list of 1000000: empty list', 'all of 100 flags: query by hand', 'prepared statement, 1 clients: SELECT $1::bool',
	'the same, ten changes a second: without changes', 'first call on a new connection: PL/pgSQL, first call',
	'history of one flag, among 500,000 lines: that of all flags, filtered');

# A row of the table.
sub row
{
	my ($name, $reference, $ratio, $spread, $reach, $reached, $note) = @_;
	my $line = "| $name | $reference | $ratio | $spread | $reach | $reached | $note |\n";
	push @missed, $name if $reached eq 'no';
	push @table, ["$name: $reference", $line];
	progress('') if -t STDERR;
	print STDERR $line;
	return;
}

# case(name, ours, reference's name, reference, reach, how many times as much
# work ours does, note): both are queries, or subs that return seconds.  The
# ratio is ours to the reference's, and to reach means not to exceed.  Who goes
# first alternates.
sub case
{
	my ($name, $ours, $reference_name, $reference, $reach, $factor, $note) = @_;
	return unless $name =~ /$only/;
	$factor //= 1;
	my (@ratios, @ours, @theirs);
	seconds($_) for ($ours, $reference);
	for my $round (1 .. $rounds)
	{
		progress("$name: round $round of $rounds");
		push @ours, seconds($ours) if $round % 2;
		push @theirs, seconds($reference) * $factor;
		push @ours, seconds($ours) unless $round % 2;
		push @ratios, $ours[-1] / $theirs[-1];
	}
	my @sorted = sort { $a <=> $b } @ratios;
	my $median = median(@ratios);
	row($name, $reference_name, show($median), show($sorted[0]) . ' to ' . show($sorted[-1]), defined $reach ? show($reach) : '',
		!defined $reach ? '' : $median <= $reach ? 'yes' : 'no', ref $note ? $note->(median(@ours)) : $note // '');
	return;
}

# Without cases there is nothing to prepare for them.
sub wanted { return scalar grep { /$only/ } @_; }

my $per_row = sub { return sprintf '%.0f ns a row', $_[0] / $rows * 1e9 };

sub scan { my ($condition, $from) = @_; $from //= 'users'; return "SELECT count(*) FROM $from WHERE $condition"; }

my ($wrong) = $db->selectrow_array(scan(
		q{(fflag_enabled('new_checkout', id, is_staff), fflag_enabled('new_checkout', id, is_staff))
	<> (plpgsql_enabled('new_checkout', id, is_staff), sql_enabled('new_checkout', id, is_staff))}, 'few'));
my ($mine) = $db->selectrow_array(scan(q{fflag_enabled('new_checkout', id, is_staff)}));
my ($joined) = $db->selectrow_array($join);
die "the rules differ: $wrong users, $mine and $joined\n" if $wrong || $mine != $joined;

# ---- one flag, a scan

my $ten = scan(q{fflag_enabled('new_checkout', id, is_staff)});
my $bare = scan(q{test_hash('new_checkout', id, is_staff, 10000)});
case('10%, bigint', $ten, 'hash and compare in C', $bare, 1.05, 1, $per_row);
case('10%, uuid', scan(q{fflag_enabled('new_checkout', uid, is_staff)}), 'hash and compare in C', scan(q{test_hash('new_checkout', uid, is_staff, 10000)}), 1.05, 1, $per_row);
case('10%, text', scan(q{fflag_enabled('new_checkout', tid, is_staff)}), 'hash and compare in C', scan(q{test_hash('new_checkout', tid, is_staff, 10000)}), 1.05, 1, $per_row);
for (['off', 'false'], ['full', 'true'], ['staff', 'is_staff'], ['unknown', 'false'])
{
	my ($flag, $answer) = @$_;
	case("flag $flag", scan("fflag_enabled('$flag', id, is_staff)"), "$answer in C", scan("test_constant('$flag', id, is_staff, $answer)"), 1.25, 1, $per_row);
}
case('10%', $ten, 'PL/pgSQL', scan(q{plpgsql_enabled('new_checkout', id, is_staff)}, 'few'), 1 / 50, $rows / $few);
case('10%', $ten, 'SQL function', scan(q{sql_enabled('new_checkout', id, is_staff)}, 'few'), 1 / 20, $rows / $few);
case('10%', $ten, 'join by hand', $join, 1 / 5);

# ---- allowlists

$db->do(q{SELECT fflag_register('list 0', true, 10), fflag_register('list 0 at 0%', true, 0)});

sub bytes_held { return ($db->selectrow_array('SELECT bytes FROM fflag_cache()'))[0]; }

# A list of so many entries, given the SQL expression of the one that n, from 0
# on, stands for; against an empty list at the same percentage.
sub list_case
{
	my ($n, $what, $entry, $id, $percentage, $reach, $table) = @_;
	my $flag = "list of $n$what";
	$table //= 'feature_flag_user';
	return if $n > $longest_list || $flag !~ /$only/;
	progress("listing $n users");
	$db->do("SELECT fflag_register('$flag', true, $percentage)");
	$db->do('SET session_replication_role = replica');    # not a check of the foreign key for each
	$db->do("INSERT INTO $table (flag_id, user_id) SELECT f.id, $entry FROM feature_flag f, generate_series(0, $n - 1) AS n WHERE f.name = '$flag'");
	$db->do('RESET session_replication_role');
	$db->do("VACUUM ANALYZE $table");
	my $empty = $percentage == 0 ? 'list 0 at 0%' : 'list 0';
	my $query = scan("fflag_enabled('$flag', $id)");
	my $reference = scan("fflag_enabled('$empty', $id)");
	seconds($reference);
	my $before = bytes_held();
	seconds($query) for (1 .. 2 + 5 * $n / $rows / 4);    # until the probes have paid for reading it
	my $held = bytes_held() - $before;
	case($flag, $query, $percentage == 0 ? 'empty list at 0%' : 'empty list', $reference, $reach, 1,
		sub { sprintf '%.0f ns a row; %.1f kB, %.2f bytes an entry', $_[0] / $rows * 1e9, $held / 1e3, $held / $n });
	return;
}

# of these, the users with the highest ids are in the scan
my $listed_from = $rows - $rows / 100 + 1;
list_case($_, '', "$listed_from + n", 'id', 10, 1.30) for (10, 1000, 100_000, 1_000_000);
list_case($_, ' texts', "'user ' || $listed_from + n", 'tid', 10, 1.30) for (100_000, 1_000_000);
list_case(1_000_000, ', all scanned users on it', 'n + 1', 'id', 0, 2.0);
list_case(3_000_000, ', every third id', '3 * n + 1', 'id', 0, 2.5);
list_case(10_000_000, ', every third id', '3 * n + 1', 'id', 10, 1.30);
list_case(1_000_000, ' denied', "$listed_from + n", 'id', 10, 1.30, 'feature_flag_denied_user');
list_case(1_000_000, ' denied texts', "'user ' || $listed_from + n", 'tid', 10, 2.0, 'feature_flag_denied_user');
$db->do('TRUNCATE feature_flag_user, feature_flag_denied_user');

# ---- requirements, variants

$db->do($_) for (
	q{SELECT fflag_register('third', true, 30), fflag_register('second', true, 60), fflag_register('first', true, 90)},
	q{SELECT fflag_register('requires second', true, 60), fflag_register('requires first', true, 90)},
	q{SELECT fflag_require('requires second', 'third'), fflag_require('requires first', 'requires second')},
	q{SELECT fflag_register('divided', true, 99), fflag_variants('divided', '{"blue": 2, "green": 0.5, "red": 1}')},
	q{SELECT fflag_register('in two', true, 99), fflag_variants('in two', '{"blue": 2, "green": 1}')},
	q{SELECT fflag_register('in ten', true, 99), fflag_variants('in ten', (SELECT jsonb_object_agg('variant ' || n, n) FROM generate_series(1, 10) AS n))});
case('chain of three requirements', scan(q{fflag_enabled('requires first', id)}), 'three calls, AND',
	scan(q{fflag_enabled('first', id) AND fflag_enabled('second', id) AND fflag_enabled('third', id)}), 1.10, 1, $per_row);

# by hand, buckets are divided at limits: the same shares, other users
my $variant = q{SELECT count(fflag_variant('divided', id)) FROM users};
my $by_hand = q{CASE WHEN fflag_enabled('divided', id) THEN CASE WHEN fflag_bucket('divided#variant', id) < 57143 THEN 'blue'
	WHEN fflag_bucket('divided#variant', id) < 71429 THEN 'green' ELSE 'red' END END};
case('variant of 99%', $variant, '10%, bigint', $ten, 1.5, 1, $per_row);
case('variant of 99%', $variant, 'CASE over fflag_bucket by hand', "SELECT count($by_hand) FROM users", 0.75, 1, $per_row);

# ---- names from a column, all flags of a user, batches

$db->do(q{INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'column ' || n, true, 10 FROM generate_series(1, 50) AS n});
$db->do("CREATE TABLE pairs AS SELECT 'column ' || n % 50 + 1 AS name, n::bigint AS id FROM generate_series(1, $rows) AS n");
$db->do('VACUUM ANALYZE pairs');
case('50 names from a column', scan(q{fflag_enabled(name, id)}, 'pairs'), 'constant name', scan(q{fflag_enabled('column 1', id)}, 'pairs'), 1.30, 1, $per_row);

$db->do('CREATE TABLE ids (ids bigint[])');
$db->do('ALTER TABLE ids ALTER COLUMN ids SET STORAGE EXTERNAL');
$db->do('INSERT INTO ids SELECT array_agg(id) FROM users');
case('array of all ids', q{SELECT cardinality(fflag_enabled('new_checkout', ids)) FROM ids}, '10% scan', $ten, 1 / 5, 1,
	sub { sprintf '%.0f ns an id', $_[0] / $rows * 1e9 });

for my $n (100, 1000)
{
	$db->do(q{DELETE FROM feature_flag WHERE name LIKE 'all %'});
	$db->do(qq{INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'all ' || g, true, 10 FROM generate_series(1, $n - (SELECT count(*) FROM feature_flag)) AS g});
	$db->do('VACUUM ANALYZE feature_flag');
	my ($count) = $db->selectrow_array('SELECT count(*) FROM feature_flag');
	my $by_hand = qq{SELECT f.name, CASE WHEN f.staff_only THEN false WHEN NOT f.enabled THEN false WHEN f.rollout_percentage >= 100 THEN true
		WHEN l.user_id IS NOT NULL THEN true WHEN f.rollout_percentage <= 0 THEN false
		ELSE @{[ $hash->('f.name', 'g::text') ]} < f.rollout_percentage * 1000 END
		FROM feature_flag f LEFT JOIN feature_flag_user l ON l.flag_id = f.id AND l.user_id = g::text ORDER BY f.name};
	# a hundred users in one statement, so that it is the flags that take the time
	case("all of $count flags", q{SELECT count(f.enabled) FROM generate_series(1, 100) AS g, LATERAL (SELECT * FROM fflag_flags(g) OFFSET 0) AS f},
		'query by hand', "SELECT count(f.case) FROM generate_series(1, 100) AS g, LATERAL ($by_hand OFFSET 0) AS f", 1 / 10, 1,
		sub { sprintf '%.2f us a flag (reach 0.5)', $_[0] / 100 / $count * 1e6 });
}

# ---- all that a client wants to know, in statements that are not prepared

# Returns a sub that runs a thousand statements of one client, made by $sql for a user.
sub statements
{
	my ($sql) = @_;
	return sub {
		my $start = time;
		$db->selectall_arrayref($_, { pg_server_prepare => 0 }) for map { $sql->($_) } 1 .. 1000;
		return time - $start;
	};
}
my $names = join ',', map { "column $_" } 1 .. 30;
my $per_statement = sub { return sprintf '%.0f us a statement', $_[0] / 1000 * 1e6 };
case('fflag_evaluate', statements(sub { "SELECT * FROM fflag_evaluate('divided', '$_[0]')" }), 'the functions that it stands for',
	statements(sub { "SELECT e.*, fflag_variant_payload('divided', '$_[0]'), (SELECT count(*) FROM feature_flag AS f JOIN feature_flag_variant AS v ON v.flag_id = f.id WHERE f.name = 'divided') FROM fflag_explain('divided', '$_[0]') AS e" }), 0.5, 1, $per_statement);
case('fflag_evaluate, 30 names', statements(sub { "SELECT * FROM fflag_evaluate('{$names}'::text[], '$_[0]')" }), 'fflag_evaluate, one name',
	statements(sub { "SELECT * FROM fflag_evaluate('column 1', '$_[0]')" }), 0.1, 30, $per_statement);

# ---- clients

my $dir = $ENV{TMPDIR} // '/tmp';
sub script { my ($name, $text) = @_; open my $f, '>', "$dir/$name.sql" or die; print $f $text; close $f; return "$dir/$name.sql"; }
sub slurp { my ($file) = @_; open my $f, '<', $file or die; local $/ = undef; return <$f>; }
my $evaluate = script('evaluate', "\\set id random(1, $rows)\n\\set staff random(0, 1)\nSELECT fflag_enabled('new_checkout', :id\::bigint, :staff\::int\::bool);\n");
my $floor = script('floor', "\\set id random(1, $rows)\n\\set staff random(0, 1)\nSELECT :staff\::int\::bool;\n");
my $constant = script('constant', "\\set id random(1, $rows)\n\\set staff random(0, 1)\nSELECT test_constant('new_checkout', :id\::bigint, :staff\::int\::bool, true);\n");

# Seconds a thousand transactions
sub pgbench
{
	my ($script, $clients, $mode) = @_;
	$mode //= 'prepared';
	my $output = `"$bindir/pgbench" -n -M $mode -f "$script" -c $clients -j 2 -T 1 postgres 2>/dev/null`;
	my ($tps) = $output =~ /tps = ([0-9.]+)/ or die "pgbench failed: $output";
	return 1000 / $tps;
}

# what others do meanwhile, each in a session of its own
my $advance = sub { my ($w) = @_; while (1) { $w->do('SELECT pg_current_xact_id()'); sleep 0.001; } };
my $change = sub { my ($w) = @_; while (1) { $w->do(q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'off'}); sleep 0.1; } };
my $stay_open = sub { my ($w) = @_; $w->begin_work; $w->do(q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'off'}); sleep 3600; };
my $list_others = sub {
	my ($w) = @_;
	while (1) { $w->do(q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, gen_random_uuid() FROM feature_flag WHERE name = 'other list'}); sleep 0.1; }
};

sub beside
{
	my ($measure, @others) = @_;
	return sub {
		my @pids;
		for my $other (@others)
		{
			push @pids, fork // die;
			$other->(connection()) unless $pids[-1];
		}
		sleep 0.1;    # until they are at work
		my $taken = seconds($measure);
		kill KILL => @pids;
		waitpid $_, 0 for @pids;
		return $taken;
	};
}

# rates wander more than scans do, so there are many short rounds of neighbours
$rounds = $client_rounds;
for my $clients (1, 32)
{
	case("prepared statement, $clients clients", sub { pgbench($evaluate, $clients) }, 'SELECT $1::bool', sub { pgbench($floor, $clients) }, 1 / 0.95, 1,
		sub { sprintf '%.0f a second', 1000 / $_[0] });
	case("prepared statement, $clients clients", sub { pgbench($evaluate, $clients) }, 'true in C, the same arguments', sub { pgbench($constant, $clients) }, undef, 1,
		"$rounds rounds of a second");
}
case('the same, ten changes a second', beside(sub { pgbench($evaluate, 8) }, $change), 'without changes', sub { pgbench($evaluate, 8) }, 1 / 0.95);

sub first_call
{
	my ($query) = @_;
	my $total = 0;
	for (1 .. 20)
	{
		my $new = connection();
		my $begun = time;
		$new->selectrow_array($query);
		$total += time - $begun;
		$new->disconnect;
	}
	return $total / 20;
}
case('first call on a new connection', sub { first_call(q{SELECT fflag_enabled('new_checkout', 1, false)}) }, 'PL/pgSQL, first call',
	sub { first_call(q{SELECT plpgsql_enabled('new_checkout', 1, false)}) }, 1, 1, sub { sprintf '%.2f ms', $_[0] * 1e3 });
$rounds = $scan_rounds;

# ---- readers beside writers

$db->do(q{SELECT fflag_register('texts', true, 10), fflag_register('other list', true, 10)});
$db->do(q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT f.id, 'user ' || n FROM feature_flag f, generate_series(149001, 299000) AS n WHERE f.name = 'texts'});
$db->do($_) for ('CREATE TABLE scanned AS SELECT * FROM users WHERE id <= 150000', 'CREATE TABLE one AS SELECT * FROM users WHERE id = 1');
$db->do("VACUUM ANALYZE $_") for ('feature_flag_user', 'scanned', 'one');
my $plan = script('plan', "SELECT FROM one WHERE fflag_enabled('texts', tid);\n");
my $texts = scan(q{fflag_enabled('texts', tid)}, 'scanned');
my $twenty_scans = sub { my $total = 0; $total += seconds($texts) for (1 .. 20); return $total; };
seconds($twenty_scans);

for (['a writer is open', $stay_open], ['ten entries a second come to another list', $list_others])
{
	my ($what, $writer) = @$_;
	for (['prepared call', sub { pgbench($evaluate, 1) }, 1 / 0.95], ['planned call, list of 150000 texts', sub { pgbench($plan, 1, 'simple') }, 1 / 0.9],
		['scan of 150,000, list of 150000 texts', $twenty_scans, 1 / 0.95])
	{
		my ($name, $measure, $reach) = @$_;
		case("$name, while $what", beside($measure, $advance, $writer), 'while other transactions run', beside($measure, $advance), $reach);
	}
}
$db->do('TRUNCATE feature_flag_user');

# ---- many sessions: each evaluates after other transactions have ended, so each time it looks
# whether a commit is under way, by the server's counts of locks or by its lock table

$db->do("CREATE FUNCTION test_use_lock_counts(boolean) RETURNS void LANGUAGE c AS '$module'");
my ($has_counts) = $db->selectrow_array('SELECT lock_counts FROM fflag_cache()');
my %among = map { $_->[0] => script("among $_->[0]", "SELECT pg_current_xact_id();\n" . slurp($_->[1])) } ['evaluate', $evaluate], ['floor', $floor];

# Seconds a thousand transactions of 24 clients; adds to %$waits how often one waited for what.
sub sampled
{
	my ($script, $waits) = @_;
	open my $pgbench, '-|', "'$bindir/pgbench' -n -M prepared -f '$script' -c 24 -j 2 -T 2 postgres 2>/dev/null" or die;
	for (1 .. 90)
	{
		sleep 0.02;
		my $waiting = $db->selectall_arrayref(q{SELECT coalesce(wait_event_type || ':' || wait_event, 'none'), count(*) FROM pg_stat_activity
			WHERE application_name = 'pgbench' AND state = 'active' GROUP BY 1});
		$waits->{ $_->[0] } += $_->[1] for @$waiting;
	}
	my ($tps) = join('', <$pgbench>) =~ /tps = ([0-9.]+)/ or die 'pgbench failed';
	return 1000 / $tps;
}

# How often one waited for locks, of all that were at work.
sub share_of
{
	my ($what, $waits) = @_;
	my ($all, $these) = (0, 0);
	for my $wait (keys %$waits)
	{
		$all += $waits->{$wait};
		$these += $waits->{$wait} if $wait =~ $what;
	}
	return sprintf '%.1f%%', 100 * $these / ($all || 1);
}

for (['no writer'], ['ten changes a second', $change], ['a writer is open', $stay_open])
{
	my ($what, @writer) = @$_;
	for my $counts (1, 0)
	{
		my (%ours, %theirs);
		next if $counts && !$has_counts;
		my $name = "24 sessions, $what" . ($counts ? '' : ', without the counts of locks');
		next unless wanted($name);
		$db->selectrow_array('SELECT test_use_lock_counts(?)', undef, $counts);
		case($name, beside(sub { sampled($among{evaluate}, \%ours) }, @writer), 'SELECT $1::bool', beside(sub { sampled($among{floor}, \%theirs) }, @writer),
			$counts && !@writer ? 1.1 : undef, 1, sub { sprintf 'waiting for LockManager: %s, for any LWLock: %s (%s without fflag)',
				share_of(qr/^LWLock:LockManager$/, \%ours), share_of(qr/^LWLock/, \%ours), share_of(qr/^LWLock/, \%theirs) });
	}
}
$db->selectrow_array('SELECT test_use_lock_counts(?)', undef, $has_counts);

# ---- what the history costs those who change flags

$db->do(q{SELECT fflag_register('changed', true, 10)});
$db->do("COPY (SELECT f.id, n FROM feature_flag f, generate_series(1, $few * 10) AS n WHERE f.name = 'changed') TO '$dir/users.copy'");
$db->do($_) for ('ALTER TABLE feature_flag_user DISABLE TRIGGER fflag_record_truncate', 'ALTER SYSTEM SET fsync = on', 'SELECT pg_reload_conf()');

# Runs the command so many times, recorded or not.
sub changing
{
	my ($table, $recorded, $command, $times) = @_;
	return sub {
		$db->do('TRUNCATE feature_flag_user, feature_flag_history, feature_flag_change');
		$db->do(sprintf 'ALTER TABLE %s %s TRIGGER %s', $table, $recorded ? 'ENABLE' : 'DISABLE', $_) for qw(fflag_record_insert fflag_record_update);
		$db->do('CHECKPOINT');
		my $begun = time;
		$db->do($command) for (1 .. $times);
		return time - $begun;
	};
}

for ([ "COPY of @{[ $few * 10 ]} users into a list", 'feature_flag_user', "COPY feature_flag_user (flag_id, user_id) FROM '$dir/users.copy'", 1, 1.4 ],
	[ 'UPDATE of a flag, and its commit', 'feature_flag', q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'changed'}, 300, 2 ])
{
	my ($name, $table, $command, $times, $reach) = @$_;
	case($name, changing($table, 1, $command, $times), 'without the history', changing($table, 0, $command, $times), $reach, 1,
		sub { sprintf '%.2f ms each', $_[0] / $times * 1e3 });
}
$db->do("ALTER TABLE $_") for map { ("feature_flag ENABLE TRIGGER $_", "feature_flag_user ENABLE TRIGGER $_") } map { "fflag_record_$_" } qw(insert update truncate);
$db->do($_) for ('TRUNCATE feature_flag_user', 'ALTER SYSTEM RESET fsync', 'SELECT pg_reload_conf()');

# ---- many flags

progress('creating 100,000 flags');
$db->do(q{INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'many ' || n, true, 10 FROM generate_series(1, 100000) AS n});
$db->do("CREATE TABLE many AS SELECT 'many ' || n % 10000 + 1 AS name, n::bigint AS id FROM generate_series(1, $rows) AS n");
$db->do("CREATE TABLE ten AS SELECT 'many ' || n % 10 + 10000 AS name, n::bigint AS id FROM generate_series(1, $rows) AS n");
$db->do("VACUUM ANALYZE $_") for ('feature_flag', 'many', 'ten');
case('10,000 names of 100,000 flags', scan(q{fflag_enabled(name, id)}, 'many'), '10 names', scan(q{fflag_enabled(name, id)}, 'ten'), 1.10, 1, $per_row);
if (wanted('memory of a flag'))
{
	my $new = connection();
	$new->do('SELECT count(fflag_enabled(name, 1)) FROM feature_flag');
	my ($flags, $bytes) = $new->selectrow_array('SELECT flags, bytes FROM fflag_cache()');
	row('memory of a flag', '', '', '', 400, $bytes / $flags <= 400 ? 'yes' : 'no', sprintf '%.0f bytes a flag, %.1f MB for %d', $bytes / $flags, $bytes / 1e6, $flags);
}

# ---- reading a history of 500,000 lines: of the flags above, and of a list

my @histories = ('history of one flag, among 500,000 lines', 'history of a flag with a list of 400,000', 'history of all flags, the last ten minutes');
if (wanted(@histories))
{
	progress('recording 500,000 changes');
	$db->do($_) for (
		q{SELECT fflag_register('asked', true, 10), fflag_register('listed', true, 10)},
		q{UPDATE feature_flag_change SET at = at - interval '10 minutes'},
		q{INSERT INTO feature_flag_user SELECT id, n FROM feature_flag, generate_series(1, 400000) AS n WHERE name = 'listed'},
		q{UPDATE feature_flag_change SET at = at - interval '10 minutes'});
	$db->do(qq{UPDATE feature_flag SET rollout_percentage = $_ WHERE name = 'asked'}) for (1 .. 10);
	$db->do("VACUUM ANALYZE $_") for ('feature_flag_history', 'feature_flag_change');
	$rounds = 3;
	my $all = q{SELECT count(*) FROM fflag_history() WHERE flag = '%s'};
	my $milliseconds = sub { sprintf '%.2f ms', $_[0] * 1e3 };
	for ([ 'asked', $histories[0] ], [ 'listed', $histories[1] ])
	{
		my ($flag, $name) = @$_;
		case($name, "SELECT count(*) FROM fflag_history('$flag')", 'that of all flags, filtered', sprintf($all, $flag), $flag eq 'asked' ? 1 / 100 : 1 / 2, 1, $milliseconds);
	}
	case($histories[2], q{SELECT count(*) FROM fflag_history(since => now() - interval '10 minutes')}, 'that of all flags, filtered',
		q{SELECT count(*) FROM fflag_history() WHERE at >= now() - interval '10 minutes'}, 1 / 5, 1, $milliseconds);
	$rounds = $scan_rounds;
	$db->do('TRUNCATE feature_flag_user, feature_flag_history, feature_flag_change');
}

# ---- what docs/operations.md says of costs

my $other = connection();
my $each = sub { my ($n) = @_; return sub { sprintf '%.2f us a call', $_[0] / $n * 1e6 } };
if (wanted('1,000 names after a change of any flag'))
{
	my $names = q{SELECT count(fflag_enabled('many ' || n, 1)) FROM generate_series(1, 1000) AS n};
	case('1,000 names after a change of any flag', sub { $other->do(q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'off'}); return seconds($names); },
		'without a change', $names, undef, 1, sub { sprintf '%.1f ms', $_[0] * 1e3 });
}
my @of_long_list = ('20,000 calls, an entry has come to their list of 1000000 texts', 'parallel scan of 200,000, list of 1000000 texts');
if (wanted(@of_long_list))
{
	progress('listing 1000000 texts');
	$db->do($_) for (
		q{SELECT fflag_register('long', true, 10)},
		'SET session_replication_role = replica',
		q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, 'other ' || n FROM feature_flag, generate_series(1, 1000000) AS n WHERE name = 'long'},
		'RESET session_replication_role',
		'CREATE TABLE fewer AS SELECT * FROM users LIMIT 200000', 'VACUUM ANALYZE feature_flag_user', 'VACUUM ANALYZE fewer');
	my $calls = scan(q{fflag_enabled('long', tid)}, '(SELECT tid FROM fewer LIMIT 20000) AS u');
	my $read = scan(q{fflag_enabled('long', tid)}, 'fewer');
	my $add = q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, gen_random_uuid() FROM feature_flag WHERE name = 'long'};
	case($of_long_list[0], sub { $other->do($add); return seconds($calls); }, 'the list is in memory',
		sub { seconds($read) for (1 .. 4); return seconds($calls); }, undef, 1, $each->(20000));
	$db->do("SET $_ = 0") for qw(min_parallel_table_scan_size parallel_setup_cost parallel_tuple_cost);
	my $with = sub { my ($workers) = @_; return sub { $db->do("SET max_parallel_workers_per_gather = $workers"); return seconds($read); } };
	case($of_long_list[1], $with->(2), 'one process', $with->(0), undef, 1, sub { sprintf '%.0f ms', $_[0] * 1e3 });
	$db->do("RESET $_") for qw(min_parallel_table_scan_size parallel_setup_cost parallel_tuple_cost);
	$db->do('TRUNCATE feature_flag_user, feature_flag_history, feature_flag_change');
}
if (wanted('history of a nightly list of 200,000'))
{
	my $size = sub {
		my (@commands) = @_;
		$db->do('TRUNCATE feature_flag_history, feature_flag_change');
		$db->begin_work;
		$db->do($_) for @commands;
		$db->commit;
		return ($db->selectrow_array(q{SELECT pg_total_relation_size('feature_flag_history')}))[0];
	};
	my $of = q{flag_id = (SELECT id FROM feature_flag WHERE name = 'changed')};
	# one of a hundred is another than last night
	$db->do(q{CREATE TABLE tonight AS SELECT n * 101 / 100 AS id FROM generate_series(1, 200000) AS n});
	my $insert = q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT f.id, t.id FROM feature_flag AS f, tonight AS t WHERE name = 'changed'};
	my $last_night = q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT f.id, n FROM feature_flag AS f, generate_series(1, 200000) AS n WHERE name = 'changed'};
	$db->do($last_night);
	my $whole = $size->("DELETE FROM feature_flag_user WHERE $of", $insert);
	$db->do('TRUNCATE feature_flag_user');
	$db->do($last_night);
	my $difference = $size->("DELETE FROM feature_flag_user WHERE $of AND NOT EXISTS (SELECT FROM tonight WHERE id::text = user_id)", "$insert ON CONFLICT DO NOTHING");
	row('history of a nightly list of 200,000, of which 1% has changed: DELETE and INSERT', 'what differs', show($whole / $difference), '', '', '',
		sprintf '%.1f MB a night, %.1f MB for what differs', $whole / 1e6, $difference / 1e6);
	$db->do('TRUNCATE feature_flag_user, feature_flag_history, feature_flag_change');
}
if (wanted('first call, preloaded'))
{
	my ($data) = $db->selectrow_array('SHOW data_directory');
	my $library = '$libdir/fflag';
	my $restart = sub {
		my ($libraries) = @_;
		my $set = connection();
		$set->do('ALTER SYSTEM ' . ($libraries ? "SET shared_preload_libraries = '$libraries'" : 'RESET shared_preload_libraries'));
		$_->disconnect for ($set, $db, $other);
		system("'$bindir/pg_ctl' -D '$data' -l '$dir/restart.log' -m fast -w restart >/dev/null") == 0 or die 'no restart';
		($db, $other) = (connection(), connection());
	};
	my $first = sub { my ($libraries) = @_; return sub { $restart->($libraries); return first_call(q{SELECT fflag_enabled('new_checkout', 1, false)}); } };
	case('first call, preloaded', $first->($library), 'not preloaded', $first->(''), undef, 1, sub { sprintf '%.2f ms', $_[0] * 1e3 });
	$restart->('');
}

# ---- the page

my %line = map { @$_ } @table;
my @absent = grep { !$line{$_} } @asked;
die "no such case: @absent\n" if @absent && $only eq '';
my $head = "| case | reference | ratio | spread | reach | reached | |\n|---|---|---|---|---|---|---|\n";
print "## What most ask\n\n$head", map { $line{$_} // () } @asked;
my %first = map { $_ => 1 } @asked;
print "\n## The rest\n\n$head", map { $_->[1] } grep { !$first{ $_->[0] } } @table;
print "\n", wrap('', '', 'Not reached: ' . (@missed ? join('; ', @missed) : 'none') . '.'), "\n";
$db->disconnect;
