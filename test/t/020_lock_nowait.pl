# Readers look whether somebody holds a lock on the flag tables.  That must not
# be in the way of LOCK TABLE ... NOWAIT of others.  Nor must what anybody can lock
# be in the way of those who change flags.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes 'sleep';

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'synchronous_commit = off');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f', true);
	CREATE TABLE answers (n bigint);
});

# readers whose snapshots differ from one statement to the next
my @readers = map { session($node) } 1, 2;
for my $reader (@readers)
{
	$reader->do(q{DO $$ BEGIN
		FOR n IN 1 .. 1000000000 LOOP
			INSERT INTO answers SELECT n WHERE fflag_enabled('f', n);
			COMMIT;
		END LOOP;
	END $$}, { pg_async => DBD::Pg::PG_ASYNC() });
}
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM answers');

# EXCLUSIVE is the strongest mode that a query does not conflict with
my $locker = session($node);
my $failed = 0;
for my $mode (('SHARE', 'EXCLUSIVE') x 1000)
{
	$locker->begin_work;
	$failed++ unless eval { $locker->do("LOCK TABLE feature_flag IN $mode MODE NOWAIT"); 1 };
	$locker->rollback;
	sleep 0.001;				# so that who has seen this lock is through
}

# one who sees it and is then interrupted by others may be in the way of the next
cmp_ok($failed, '<=', 3, "LOCK TABLE ... NOWAIT: $failed of 2000 fail");
cmp_ok(ask($locker, 'SELECT count(*) FROM answers'), '>', 1000, 'the readers had answers meanwhile');
ok(!$_->pg_ready, 'and have not stopped') for @readers;
$_->pg_cancel for @readers;

# nextval() locks whatever it is given, and a subtransaction that fails gives no such lock back
$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_anybody LOGIN');
my $anybody = session($node, user => 'regress_fflag_anybody');
for my $oid ('0', '1', $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'postgres'}))
{
	$anybody->do($_) for 'BEGIN', 'SAVEPOINT s';
	like(error_of($anybody, "SELECT nextval(${oid}::regclass)"), qr/could not open relation/, "anybody locks relation $oid");
	$anybody->do('ROLLBACK TO s');
	is(ask($locker, "SELECT count(*) FROM pg_locks WHERE relation = $oid AND pid = $anybody->{pg_pid}"), 1, '... and keeps the lock');
	$locker->do(q{SET lock_timeout = '5s'});
	is(error_of($locker, q{SELECT fflag_disable('f')}), 'no error', '... and others change flags');
	$anybody->do('ROLLBACK');
}
$_->disconnect for @readers, $locker, $anybody;
no_crash($node);
$node->stop;
done_testing();
