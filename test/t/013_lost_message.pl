# When a session hears that a table that it has open has been altered, the server
# first reads what the table looks like, and only then tells the cache.  If that
# fails, for want of memory or because somebody has locked a catalog for longer
# than lock_timeout, the message is gone, and the cache must find out otherwise.
# (Messages about changed rows do not name the table.  So here the trigger is
# disabled while rows change; the server itself announces the ALTER TABLE.)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION fflag;
	SELECT fflag_register('f');
	CREATE TABLE other AS SELECT 1;
});
my ($writer, $reader, $locker) = map { session($node) } (1 .. 3);

# Makes the reader lose a message, in a transaction of its that has the table
# open, and ends it as told.
sub lose_message
{
	my ($table, $begin, $change, @end) = @_;
	$reader->do($begin);
	$reader->do("DECLARE c CURSOR FOR TABLE $table");
	$reader->do('FETCH c');
	$reader->do('SAVEPOINT s') if "@end" =~ /TO s/;
	$writer->do($_) for ('BEGIN', "ALTER TABLE $table DISABLE TRIGGER fflag_invalidate", $change,
		"ALTER TABLE $table ENABLE ALWAYS TRIGGER fflag_invalidate", 'COMMIT');
	$locker->do('BEGIN');
	$locker->do('LOCK TABLE pg_catalog.pg_trigger');
	$reader->do(q{SET LOCAL lock_timeout = '20ms'});
	like(error_of($reader, 'TABLE other'), qr/lock timeout/, "$table: the message cannot be heard");
	$locker->do('ROLLBACK');
	$reader->do($_) for @end;
	return;
}

for my $round (1 .. 2)
{
	is_off($reader, 'off');
	lose_message('feature_flag', 'BEGIN', 'UPDATE feature_flag SET enabled = true', 'ROLLBACK');
	is_on($reader, 'the transaction is rolled back: on');
	lose_message('feature_flag', 'BEGIN', 'UPDATE feature_flag SET enabled = false', 'ROLLBACK TO s');
	is_off($reader, 'the savepoint is: off');
	$reader->do('COMMIT');
	is_off($reader, 'afterwards: off');
	$writer->do('UPDATE feature_flag SET enabled = true');
	is_on($reader, 'on');
	lose_message('feature_flag', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'UPDATE feature_flag SET enabled = false', 'ROLLBACK TO s');
	is_on($reader, 'REPEATABLE READ keeps its snapshot');
	$reader->do('COMMIT');
	is_off($reader, 'and is fresh afterwards');
}

$writer->do(q{UPDATE feature_flag SET enabled = true, rollout_percentage = 0});
$writer->do(q{SELECT fflag_allow('f', 1)});
is_on($reader, 'listed');
lose_message('feature_flag_user', 'BEGIN', 'DELETE FROM feature_flag_user', 'ROLLBACK');
is_off($reader, 'not listed any more');

# an ordinary ROLLBACK makes nobody read again
$writer->do(q{UPDATE feature_flag SET rollout_percentage = 100});
is_on($reader, 'on');
my $loads = ask($reader, 'SELECT loads FROM fflag_cache()');
for (1 .. 10)
{
	$reader->do('BEGIN');
	is_on($reader, 'in a transaction that is rolled back');
	$reader->do('ROLLBACK');
}
is(ask($reader, 'SELECT loads FROM fflag_cache()'), $loads, 'has read nothing again');

$_->disconnect for ($writer, $reader, $locker);
$node->stop;
done_testing();
