# One backend evaluates ten million times, for a million names that no flag has
# and for a million users, while flags and allowlists change: its resident size
# stays flat.
#
#   FFLAG_EVALUATIONS   how often (10000000)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes qw(time);

my $evaluations = $ENV{FFLAG_EVALUATIONS} // 10_000_000;
my $rounds = 5;
# a round: so many names, and as many users
my $each = int($evaluations / $rounds / 2);

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
# pages of shared memory count as resident once they are touched
$node->append_conf('postgresql.conf', "shared_buffers = 16MB\njit = off\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f', true, 50), fflag_register('g', true, 0);
	INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(1, 50000) AS n WHERE name = 'g';
});
my $writer = session($node);
my $session = session($node);
my $pid = ask($session, 'SELECT pg_backend_pid()');

# in kB
sub resident
{
	my ($size) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
	return $size;
}

my @resident;
my $begun = time;
my ($unknown, $in, $listed);
for my $round (1 .. $rounds)
{
	$writer->do(q{UPDATE feature_flag SET description = 'changed'});
	$writer->do(q{UPDATE feature_flag_user SET created_at = now() WHERE user_id = '1'});
	# the same names and users in each round, so that only a leak makes it grow
	$unknown += ask($session, qq{SELECT count(*) FROM generate_series(1, $each) AS n WHERE fflag_enabled('name ' || n, n, false, true)});
	my ($f, $g) = $session->selectrow_array(qq{
		SELECT count(*) FILTER (WHERE n % 2 = 0), count(*) FILTER (WHERE n % 2 = 1)
		FROM generate_series(1, $each) AS n WHERE fflag_enabled(CASE n % 2 WHEN 0 THEN 'f' ELSE 'g' END, n)});
	$in += $f;
	$listed += $g;
	push @resident, resident();
	diag sprintf 'after %9d evaluations: %d kB resident', $round * 2 * $each, $resident[-1];
}
diag sprintf '%d evaluations, %d unknown names, %d users, %.0f s', $rounds * 2 * $each, $each, $each, time - $begun;
is($unknown, $rounds * $each, 'every name was unknown');
cmp_ok(abs($in - $rounds * $each / 4), '<', $rounds * $each / 100, 'half of the users of one flag are in its rollout');
is($listed, $rounds * ($each < 50000 ? $each : 50000) / 2, 'and who is listed under the other');
my ($held, $bytes) = $session->selectrow_array('SELECT unknown_names, bytes FROM fflag_cache()');
cmp_ok($held, '<=', 1024, "$held unknown names are held");
cmp_ok($bytes, '<', 2_000_000, "in $bytes bytes, together with the flags and lists");
# by the second round everything has been in use once
cmp_ok($resident[-1] - $resident[1], '<', 256, 'resident size is flat, in kB');

$_->disconnect for ($writer, $session);
no_crash($node);
$node->stop;
done_testing();
