#!/usr/bin/perl
#
# Benchmarks, as ratios: every case runs by turns with its reference, on one
# server in one run, and the table shows the median and the spread of the
# ratios of neighbours.  Absolute times of a shared machine mean little.
#
#   perl bench.pl MODULE      PGHOST and PGPORT say where; MODULE is test/module's
#   BENCH_ROWS, BENCH_ROUNDS  rows of a scan (1000000), rounds (7)
#
use strict;
use warnings;
use DBI;
use Time::HiRes 'time';

my $module = shift or die "usage: bench.pl MODULE\n";
my $rows = $ENV{BENCH_ROWS} // 1_000_000;
my $rounds = $ENV{BENCH_ROUNDS} // 7;
my $slow_rows = int($rows / 50);    # for what takes minutes otherwise

my $db = DBI->connect("dbi:Pg:host=$ENV{PGHOST};port=$ENV{PGPORT};dbname=postgres", 'postgres', '',
	{ RaiseError => 1, PrintError => 0 });
$db->{pg_server_prepare} = 0;
$db->do('SET client_min_messages = warning');
$db->do('SET max_parallel_workers_per_gather = 0');
$db->do('SET jit = off');
$db->do($_) for (
	'CREATE EXTENSION fflag',
	"CREATE FUNCTION test_hash(text, bigint, boolean, int) RETURNS boolean LANGUAGE c STABLE AS '$module'",
	"CREATE FUNCTION test_constant(text, bigint, boolean, boolean) RETURNS boolean LANGUAGE c STABLE AS '$module'",
	q{SELECT fflag_register('new_checkout', true, 10), fflag_register('off'), fflag_register('full', true),
		fflag_register('staff', true, 100, true)},
	"CREATE TABLE users AS SELECT n::bigint AS id, n % 100 = 0 AS is_staff FROM generate_series(1, $rows) AS n",
	'VACUUM ANALYZE users',
	q{CREATE FUNCTION plpgsql_enabled(flag_name text, uid bigint, staff boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
		DECLARE
			f feature_flag;
			digest text;
			h numeric;
		BEGIN
			SELECT * INTO f FROM feature_flag WHERE name = flag_name;
			IF NOT FOUND THEN RETURN false; END IF;
			IF f.staff_only THEN RETURN staff; END IF;
			IF NOT f.enabled THEN RETURN false; END IF;
			IF f.rollout_percentage >= 100 THEN RETURN true; END IF;
			IF EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = uid::text) THEN RETURN true; END IF;
			IF f.rollout_percentage <= 0 THEN RETURN false; END IF;
			digest := md5(flag_name || ':' || uid);
			-- the last 60 bits in one piece, the others in two
			h := (('x' || substr(digest, 18, 15))::bit(60)::bigint)
				+ (('x' || substr(digest, 3, 15))::bit(60)::bigint) * 1152921504606846976::numeric
				+ (('x0' || substr(digest, 1, 2))::bit(12)::int) * 1329227995784915872903807060280344576::numeric;
			RETURN h % 100 * 1000 + div(h, 100) % 1000 < f.rollout_percentage * 1000;
		END $$});

# "::bit(60)" of 15 digits, twice, and of 2 make 32 digits; check that it is so
my ($wrong) = $db->selectrow_array(q{SELECT count(*) FROM users WHERE id <= 1000
	AND plpgsql_enabled('new_checkout', id, is_staff) <> fflag_enabled('new_checkout', id, is_staff)});
die "the PL/pgSQL rules differ for $wrong users\n" if $wrong;

sub scan
{
	my ($condition, $limit) = @_;
	my $where = $limit ? "AND id <= $limit" : '';
	return "SELECT count(*) FROM users WHERE $condition $where";
}

my $bare = scan(q{test_hash('new_checkout', id, is_staff, 10000)});
my $false = scan(q{test_constant('off', id, is_staff, false)});
my $true = scan(q{test_constant('full', id, is_staff, true)});
my $staff = scan(q{test_constant('staff', id, is_staff, is_staff)});

# name, query, reference's name, reference, how many times as many rows ours has
my @cases = (
	[ '10% rollout', scan(q{fflag_enabled('new_checkout', id, is_staff)}), 'bare hash and comparison in C', $bare, 1 ],
	[ 'off', scan(q{fflag_enabled('off', id, is_staff)}), 'false in C', $false, 1 ],
	[ '100% rollout', scan(q{fflag_enabled('full', id, is_staff)}), 'true in C', $true, 1 ],
	[ 'staff only', scan(q{fflag_enabled('staff', id, is_staff)}), 'is_staff in C', $staff, 1 ],
	[ 'unknown flag', scan(q{fflag_enabled('unknown', id, is_staff)}), 'false in C', $false, 1 ],
	[ '10% rollout', scan(q{fflag_enabled('new_checkout', id, is_staff)}), 'the same rules in PL/pgSQL',
		scan(q{plpgsql_enabled('new_checkout', id, is_staff)}, $slow_rows), $rows / $slow_rows ],
);

sub seconds
{
	my ($query) = @_;
	my $begun = time;
	$db->selectrow_array($query);
	return time - $begun;
}

sub median { my @s = sort { $a <=> $b } @_; return $s[ $#s / 2 ]; }

printf STDERR "%d rows, %d rounds\n", $rows, $rounds;
print "| scan with | reference | ratio (median) | spread | ns a row | ns a row, reference |\n";
print "|---|---|---|---|---|---|\n";
for my $case (@cases)
{
	my ($name, $query, $reference_name, $reference, $factor) = @$case;
	my (@ratios, @ours, @theirs);
	seconds($_) for ($query, $reference);
	for my $round (1 .. $rounds)
	{
		printf STDERR "\r%-30s round %d of %d ", $name, $round, $rounds if -t STDERR;
		push @ours, seconds($query);
		push @theirs, seconds($reference) * $factor;
		push @ratios, $ours[-1] / $theirs[-1];
	}
	print STDERR "\r\e[K" if -t STDERR;
	my @sorted = sort { $a <=> $b } @ratios;
	my $format = $factor > 1 ? '1 / %.0f' : '%.3f';
	my @shown = $factor > 1 ? map { 1 / $_ } median(@ratios), $sorted[0], $sorted[-1] : (median(@ratios), $sorted[0], $sorted[-1]);
	printf "| %s | %s | $format | $format to $format | %.0f | %.0f |\n", $name, $reference_name, @shown,
	  median(@ours) / $rows * 1e9, median(@theirs) / $rows * 1e9;
}
$db->disconnect;
