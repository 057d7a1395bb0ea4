# A connection storm: waves of 200 clients that connect at the same moment,
# evaluate once and leave, beside 200 sessions that stay, while flags flip.
#
#   FFLAG_FAULT_SECONDS   how long (60)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use FflagCrowd;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{FFLAG_FAULT_SECONDS} // 60;
my $clients = 200;
my $processes = 4;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 450\nlog_statement = none\nlog_connections = off\nlog_disconnections = off");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('flag ' || n, true, 0) FROM generate_series(1, 10) AS n;
});

# user 1 has each flag by percentage, allowlist or not at all
my $compare = q{
	SELECT count(*), count(*) FILTER (WHERE fflag_enabled(name, 1) <> (enabled AND (rollout_percentage = 100
		OR EXISTS (SELECT FROM feature_flag_user WHERE flag_id = id AND user_id = '1'))))
	FROM feature_flag};

sub compare
{
	my ($session, $counts) = @_;
	my ($answers, $wrong) = $session->selectrow_array($compare);
	$counts->{answers} += $answers;
	$counts->{wrong} += $wrong;
	return;
}

my $until = time + $seconds;

# those who stay: 200 sessions in a few processes, each asked in turn
for (1 .. $processes)
{
	start('stay', sub {
		my ($counts) = @_;
		my @sessions = map { session($node) } (1 .. $clients / $processes);
		$counts->{sessions} = @sessions;
		while (time < $until)
		{
			compare($_, $counts) for @sessions;
			sleep 0.05;
		}
	});
}

start('writer', sub {
	my ($counts) = @_;
	my $session = session($node);
	while (time < $until)
	{
		my $name = 'flag ' . (1 + int rand 10);
		my $kind = rand;
		$session->do($kind < 0.3 ? "UPDATE feature_flag SET enabled = NOT enabled WHERE name = '$name'"
			: $kind < 0.6 ? "UPDATE feature_flag SET rollout_percentage = 100 - rollout_percentage WHERE name = '$name'"
			: $kind < 0.8 ? "SELECT fflag_allow('$name', 1)" : "SELECT fflag_disallow('$name', 1)");
		$counts->{changes}++;
		sleep 0.002;
	}
});

my $waves = 0;
my $dir = PostgreSQL::Test::Utils::tempdir;
while (time < $until)
{
	my $gun = "$dir/gun$waves";
	my @storm;
	for (1 .. $clients)
	{
		push @storm, start('storm', sub {
			my ($counts) = @_;
			sleep 0.005 until -e $gun;
			my $session = session($node);
			$session->do('SELECT 1');
			compare($session, $counts);
			$session->disconnect;
		});
	}
	append_to_file($gun, '');
	FflagCrowd::wait_for(@storm);
	$waves++;
}

my $total = gather();
my ($storm, $stay, $writer) = @$total{qw(storm stay writer)};
diag sprintf '%d changes; %d clients that came and left in %d waves, %d answers; %d sessions that stayed, %d answers',
	$writer->{changes}, $storm->{processes}, $waves, $storm->{answers}, $stay->{sessions}, $stay->{answers};
cmp_ok($writer->{changes}, '>', 100, 'flags have changed');
is($_->{died}, 0, 'everybody got in') for ($storm, $stay, $writer);
is($stay->{sessions}, $clients, "$clients sessions stayed");
cmp_ok($storm->{processes}, '>=', $clients, "at least $clients came and left");
is($storm->{answers}, 10 * $storm->{processes}, 'and got their answers');
is($_->{wrong}, 0, 'no wrong answer') for ($storm, $stay);

no_crash($node);
$node->stop;
done_testing();
