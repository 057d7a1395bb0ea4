# Hot standby: sessions that are open all along see a change as soon as it is
# replayed, keep their snapshots, and go on after the promotion.
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
$primary->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION fflag; SELECT fflag_register('f')});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $writer = session($primary);
my $reader = session($standby);
my $old = session($standby);

sub replay { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); return; }

replay();
is_off($reader, 'off at first');

$writer->do(q{UPDATE feature_flag SET enabled = true});
replay();
is_on($reader, 'a change is seen once it is replayed');

# the same inside of transactions, of both kinds
$reader->do('BEGIN');
is_on($reader, 'READ COMMITTED: on');
$old->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is_on($old, 'REPEATABLE READ: on');
$writer->do(q{UPDATE feature_flag SET enabled = false});
replay();
is_off($reader, 'READ COMMITTED: the next statement sees the change');
is_on($old, 'REPEATABLE READ: keeps its snapshot');
$reader->do('COMMIT');
$old->do('COMMIT');
is_off($old, 'REPEATABLE READ: fresh in the next transaction');

# filled under an old snapshot after the message has been consumed
$old->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$old->do('SELECT 1');
$writer->do(q{UPDATE feature_flag SET enabled = true});
replay();
is_off($old, 'REPEATABLE READ, first read after the replay: old');
$old->do('COMMIT');
is_on($old, 'and not stale afterwards');

# what is not committed, or rolled back, is not seen
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = false});
$primary->safe_psql('postgres', 'CREATE TABLE other ()');
replay();
is_on($reader, 'uncommitted: not seen');
$writer->do('ROLLBACK');
replay();
is_on($reader, 'rolled back: not seen');

# two-phase commit
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = false});
$writer->do(q{PREPARE TRANSACTION 'p'});
replay();
is_on($reader, 'prepared: not seen');
$writer->do(q{COMMIT PREPARED 'p'});
replay();
is_off($reader, 'COMMIT PREPARED: seen');

# allowlist, TRUNCATE, DROP and CREATE EXTENSION
$writer->do(q{UPDATE feature_flag SET enabled = true, rollout_percentage = 0});
$writer->do(q{SELECT fflag_allow('f', 1)});
replay();
is_on($reader, 'listed');
$writer->do(q{TRUNCATE feature_flag_user});
replay();
is_off($reader, 'TRUNCATE of the allowlist');
sees_restrictions($reader, $writer, \&replay);
$writer->do(q{DROP EXTENSION fflag});
replay();
like(error_of($reader, q{SELECT fflag_enabled('f', 1)}), qr/function fflag_enabled.* does not exist/,
	'DROP EXTENSION: clear error');
$writer->do(q{CREATE EXTENSION fflag});
$writer->do(q{SELECT fflag_register('f', true)});
replay();
is_on($reader, 'CREATE EXTENSION: right again');

# functions that change flags say where they are
$writer->do(q{SELECT fflag_register('g')});
replay();
for my $call (q{fflag_require('f', 'g')}, q{fflag_exclude('f', 'g')}, q{fflag_include('f', 'g')}, q{fflag_unrelate('f', 'g')}, q{fflag_rename('f', 'g')})
{
	my ($function) = $call =~ /^(\w+)/;
	like(error_of($reader, "SELECT $call"), qr/cannot execute $function\(\) during recovery/, "$function on a standby");
}

# promotion, with sessions open
$old->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is_on($old, 'old snapshot before the promotion');
$standby->promote;
$reader->do(q{UPDATE feature_flag SET enabled = false});
is_off($reader, 'promoted: sees its own change');
is_on($old, 'a transaction from before the promotion keeps its snapshot');
$old->do('COMMIT');
is_off($old, 'and is fresh afterwards');
is_on($writer, 'the former primary is on its own');

$_->disconnect for ($writer, $reader, $old);
$standby->stop;
$primary->stop;
done_testing();
