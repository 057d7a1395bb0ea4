# Logical replication: open sessions on a subscriber see a change as soon as
# the apply worker has committed it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;

$_->safe_psql('postgres', 'CREATE EXTENSION fflag') for ($publisher, $subscriber);
$publisher->safe_psql('postgres', q{
	SELECT fflag_register('f', true), fflag_register('g', true, 0), fflag_allow('g', 1);
});

# the commands of the page, with the server in place of its dots
my $page = 'docs/operations.md';
$publisher->safe_psql('postgres', code_blocks($page, 'sql publisher'));
my ($subscribe) = code_blocks($page, 'sql subscriber');
$subscribe =~ s/'host=.*?'/sprintf q('%s dbname=postgres'), $publisher->connstr/e or die "no connection in $page";

my $reader = session($subscriber);
is_off($reader, 'the subscriber has no flags yet');
$subscriber->safe_psql('postgres', $subscribe);
$subscriber->wait_for_subscription_sync($publisher, 'flags');
is_on($reader, 'initial synchronization');
is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 1, 'of the allowlist too');

my $writer = session($publisher);
sub apply { $publisher->wait_for_catchup('flags'); return; }

$reader->do('BEGIN');
is_on($reader, 'in a transaction: on');
$writer->do(q{UPDATE feature_flag SET enabled = false WHERE name = 'f'});
apply();
is_off($reader, 'in a transaction: the next statement sees the change');
$reader->do('COMMIT');

$writer->do(q{SELECT fflag_disallow('g', 1)});
apply();
is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 0, 'allowlist edit');
$writer->do(q{SELECT fflag_allow('g', 1)});
apply();
is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 1, 'and back');
$writer->do(q{TRUNCATE feature_flag_user});
apply();
is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 0, 'TRUNCATE');
$writer->do(q{DELETE FROM feature_flag WHERE name = 'f'});
apply();
is(ask($reader, q{SELECT fflag_enabled('f', 1, default_value => true)}), 1, 'DELETE: unknown now');

is(ask($writer, q{SELECT updated_at FROM feature_flag WHERE name = 'g'}),
	ask($reader, q{SELECT updated_at FROM feature_flag WHERE name = 'g'}), 'updated_at is the publisher\'s');

# one transaction on the publisher is one change on the subscriber
$writer->do(q{SELECT fflag_register('f', false)});
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = true WHERE name = 'f'});
$writer->do(q{UPDATE feature_flag SET enabled = false WHERE name = 'f'});
$writer->do(q{UPDATE feature_flag SET rollout_percentage = 100, enabled = true WHERE name = 'g'});
$writer->do('COMMIT');
apply();
is_off($reader, 'the last of several changes counts');
is(ask($reader, q{SELECT fflag_enabled('g', 1)}), 1, 'together with the other flag');

sees_restrictions($reader, $writer, \&apply);

$_->disconnect for ($writer, $reader);
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION flags');
$subscriber->stop;
$publisher->stop;
done_testing();
