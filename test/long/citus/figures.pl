# The figures of docs/citus.md: each of fflag beside what it is compared with, in turn, on three
# nodes of one machine, with fsync off.  Only that the answers are the same is tested.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCitus;
use FflagTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $rounds = 21;
my @nodes = citus_nodes();
create_database($_, @nodes[ 0 .. 2 ]) for ('shop', 'replicated');
my $session = session($nodes[0], dbname => 'shop');
set_up_reference($session);
my $replicated = session($nodes[0], dbname => 'replicated');
run_block($replicated, 'docs/citus.md', page($_, $replicated)) for ('coordinator', 'publisher');
my @workers = map { session($_, dbname => 'replicated') } @nodes[ 1, 2 ];
for my $n (0, 1)
{
	$workers[$n]->do(page('subscriber', $workers[$n]) =~ s/SUBSCRIPTION flags_1/'SUBSCRIPTION flags_' . ($n + 1)/er);
}
$replicated->do(q{SELECT fflag_register('new_checkout', true, 10)});

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ]; }

# Milliseconds, the median, of each of some pieces of code, which are run in turn.
sub take
{
	my @code = @_;
	my @ms;
	for my $round (-3 .. $rounds - 1)
	{
		for my $n (0 .. $#code)
		{
			my $begun = time;
			$code[$n]->($round % 2);
			push @{ $ms[$n] }, 1000 * (time - $begun) if $round >= 0;
		}
	}
	return map { median(@$_) } @ms;
}

my @rows;

sub row
{
	my ($what, $mine, $reference, $theirs) = @_;
	push @rows, sprintf '| %s | %.1f ms | %s | %s | %s |', $what, $mine, $reference // '', defined $theirs ? sprintf('%.1f ms', $theirs) : '',
		!defined $theirs ? '' : $mine < $theirs ? sprintf('1 / %.1f', $theirs / $mine) : sprintf('%.2f', $mine / $theirs);
	return;
}

# the 128 bits in three parts, as in bench
my $bucket = q{(SELECT r % 100 * 1000 + r / 100 FROM (SELECT (('x' || left(d, 8))::bit(32)::bigint % 100000 * 50336
	+ ('x' || substr(d, 9, 12))::bit(48)::bigint % 100000 * 10656
	+ ('x' || right(d, 12))::bit(48)::bigint) % 100000 AS r FROM (SELECT md5(f.name || ':' || u.id::text) AS d) AS digest) AS h)};
my $mine = q{SELECT count(*) FROM users WHERE fflag_enabled('new_checkout', id, is_staff)};
my $theirs = qq{SELECT count(*) FROM users AS u JOIN flag AS f ON f.name = 'new_checkout'
	LEFT JOIN flag_user AS l ON l.flag_id = f.id AND l.user_id = u.id::text
	WHERE CASE WHEN f.staff_only THEN u.is_staff WHEN NOT f.enabled THEN false WHEN f.rollout_percentage >= 100 THEN true
		WHEN l.user_id IS NOT NULL THEN true ELSE $bucket < f.rollout_percentage * 1000 END};
is(ask($session, $mine), ask($session, $theirs), 'the join counts the same');
my ($count, $join) = take(sub { ask($session, $mine) }, sub { ask($session, $theirs) });
row('distributed count, 200,000 users in 32 shards', $count, 'join by hand', $join);

# a change, and its commit; the other table is one that fflag does not know
$session->do(q{CREATE TABLE other (LIKE flag INCLUDING ALL)});
$session->do(q{INSERT INTO other TABLE flag});
$session->do(q{SELECT create_reference_table('other')});
my ($reference, $unattached, $own) = take(
	sub { $session->do("UPDATE flag SET rollout_percentage = 10 + $_[0] WHERE name = 'new_checkout'") },
	sub { $session->do("UPDATE other SET rollout_percentage = 10 + $_[0] WHERE name = 'new_checkout'") },
	sub { $replicated->do("UPDATE feature_flag SET rollout_percentage = 10 + $_[0] WHERE name = 'new_checkout'") });
row('a change of a reference table, and its commit', $reference, 'of one that is not attached', $unattached);
row('a change on the publisher, and its commit', $own, 'of a reference table', $reference);

# how late the workers are, one change at a time
$nodes[0]->wait_for_catchup("flags_$_") for (1, 2);
my @late;
for my $n (1 .. 2 * $rounds)
{
	my $on = $n % 2;
	$replicated->do('UPDATE feature_flag SET rollout_percentage = 100 * ' . $on);
	my $begun = time;
	for my $worker (@workers)
	{
		1 while ask($worker, q{SELECT fflag_enabled('new_checkout', 42)}) != $on;
	}
	push @late, 1000 * (time - $begun);
	sleep 0.01;
}
row('until the last worker has a change of the publisher', median(@late));
push @rows, sprintf '| ... the slowest of %d | %.1f ms | | | |', scalar @late, (sort { $a <=> $b } @late)[-1];

diag join "\n", '| | fflag | compared with | takes | ratio |', '|---|---|---|---|---|', @rows;
$workers[$_]->do('DROP SUBSCRIPTION flags_' . ($_ + 1)) for (0, 1);
$_->disconnect for ($session, $replicated, @workers);
stop_nodes();
done_testing();
