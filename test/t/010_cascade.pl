# A primary, a standby of it, and a standby of the standby: in sessions that
# are open all along, the first statement whose snapshot includes a change has
# it.  The first standby is then promoted and written to; its standby follows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'wal_retrieve_retry_interval = 100ms');
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION fflag; SELECT fflag_register('f')});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $cascaded = PostgreSQL::Test::Cluster->new('cascaded');
$cascaded->init_from_backup($primary, 'backup', has_streaming => 1);
$cascaded->enable_streaming($standby);
$cascaded->start;

my $writer = session($primary);
my %reader = map { $_->name => session($_) } ($primary, $standby, $cascaded);
is(ask($writer, 'SELECT count(*) FROM pg_stat_replication'), 1, 'the primary has one standby');
is(ask($reader{standby}, 'SELECT count(*) FROM pg_stat_replication'), 1, 'and that has the other');

# Flips the flag, and watches all servers until they have it.
sub flip
{
	my ($from, $rounds, $seen, @names) = @_;
	for my $round (1 .. $rounds)
	{
		my $wanted = $round % 2;
		$from->do('UPDATE feature_flag SET enabled = ' . ($wanted ? 'true' : 'false'));
		for my $name (@names)
		{
			my ($asked, $wrong) = watch_for($reader{$name}, $wanted);
			$seen->{$name}[0] += $asked;
			$seen->{$name}[1] += $wrong;
		}
	}
	return;
}

for my $in ('statements of their own', 'a transaction')
{
	my %seen;
	my @names = qw(cascaded standby primary);
	if ($in eq 'a transaction') { $reader{$_}->do('BEGIN') for @names }
	flip($writer, 100, \%seen, @names);
	if ($in eq 'a transaction') { $reader{$_}->do('COMMIT') for @names }
	is($seen{$_}[1], 0, "$_, in $in: the first statement that sees one of 100 changes, of $seen{$_}[0]") for @names;
}

# a long transaction keeps its snapshot, whatever is replayed
$reader{cascaded}->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is_off($reader{cascaded}, 'cascaded, REPEATABLE READ: off');
$writer->do('UPDATE feature_flag SET enabled = true');
watch_for(my $other = session($cascaded), 1);
is_off($reader{cascaded}, 'cascaded, REPEATABLE READ: still');
$reader{cascaded}->do('COMMIT');
is_on($reader{cascaded}, 'cascaded, afterwards: on');

# an allowlist
$writer->do(q{UPDATE feature_flag SET rollout_percentage = 0});
$writer->do(q{SELECT fflag_allow('f', 1)});
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$standby->wait_for_catchup($cascaded, 'replay', $primary->lsn('insert'));
is_on($_, 'listed') for ($reader{standby}, $reader{cascaded}, $other);
$writer->do(q{SELECT fflag_disallow('f', 1), fflag_rollout('f', 100)});
watch_for($reader{cascaded}, 1);

# through other flags
my $because = q{SELECT concat_ws(' ', rule, variant, because) FROM fflag_explain('g', 1)};
$writer->do(q{SELECT fflag_register('g', true, 50), fflag_variants('g', '{"a": 1, "b": 1}')});
for my $change ([ q{SELECT fflag_include('g', 'f', 'b')}, qr/^(included b f)$/ ], [ q{SELECT fflag_include('g', 'f', 'a')}, qr/^(included a f)$/ ],
	[ q{SELECT fflag_unrelate('g', 'f')}, qr/^rollout( [ab])?$/ ], [ q{SELECT fflag_exclude('g', 'f')}, qr/^excluded f$/ ],
	[ q{UPDATE feature_flag_relation SET kind = 'requires'}, qr/^rollout( [ab])?$/ ], [ q{SELECT fflag_deny('f', 1)}, qr/^prerequisite f$/ ],
	[ q{SELECT fflag_undeny('f', 1)}, qr/^rollout( [ab])?$/ ])
{
	my ($command, $answer) = @$change;
	$writer->do($command);
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	$standby->wait_for_catchup($cascaded, 'replay', $primary->lsn('insert'));
	like(ask($_, $because), $answer, "another flag: $command") for ($reader{standby}, $reader{cascaded}, $other);
}
$writer->do(q{DELETE FROM feature_flag WHERE name = 'g'});
watch_for($reader{cascaded}, 1);

# promotion, with all sessions open
$standby->promote;
my %seen;
flip($reader{standby}, 100, \%seen, qw(cascaded standby));
is($seen{$_}[1], 0, "$_, written to the promoted standby: of $seen{$_}[0]") for sort keys %seen;
is_on($reader{primary}, 'the former primary is on its own');
is_off($reader{standby}, 'promoted: off');
is_off($other, 'and so is its standby');
$writer->do('DELETE FROM feature_flag');
is(ask($reader{primary}, q{SELECT fflag_enabled('f', 1, default_value => true)}), 1, 'the former primary: unknown');
is(ask($other, q{SELECT fflag_enabled('f', 1, default_value => true)}), 0, 'and is known elsewhere');

$_->disconnect for ($writer, $other, values %reader);
$_->stop for ($cascaded, $standby, $primary);
done_testing();
