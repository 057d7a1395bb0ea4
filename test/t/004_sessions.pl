# Sessions that stay open while the extension is dropped, created, renamed or
# moved, while the server crashes, and while invalidation messages overflow.
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
$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\nrestart_after_crash = on");
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION fflag; SELECT fflag_register('f', true)});
my $writer = session($node);
my $reader = session($node);

# ---- two-phase commit

is_on($reader, 'on');
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = false});
is_off($writer, 'the writer sees its change');
$writer->do(q{PREPARE TRANSACTION 'p'});
is_on($writer, 'prepared: the writer does not see it any more');
is_on($reader, 'prepared: nobody else does');
$reader->do(q{COMMIT PREPARED 'p'});
is_off($_, 'COMMIT PREPARED: everybody does') for ($writer, $reader);
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = true});
$writer->do(q{PREPARE TRANSACTION 'p'});
is_off($reader, 'prepared');
$reader->do(q{ROLLBACK PREPARED 'p'});
is_off($_, 'ROLLBACK PREPARED: as if it never was') for ($writer, $reader);

# ---- DROP and CREATE EXTENSION in live sessions, with plans that are cached

my $evaluate = q{SELECT fflag_enabled('f', 1)};
$reader->do("PREPARE evaluate AS $evaluate");
$reader->do(q{CREATE FUNCTION evaluate() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN fflag_enabled(''f'', 1); END'});
for my $round (1 .. 3)
{
	is(ask($reader, 'EXECUTE evaluate'), ask($writer, 'SELECT enabled FROM feature_flag'), 'prepared statement');
	is(ask($reader, 'SELECT evaluate()'), ask($writer, 'SELECT enabled FROM feature_flag'), 'PL/pgSQL');
	$writer->do('DROP EXTENSION fflag');
	for my $statement ($evaluate, 'EXECUTE evaluate', 'SELECT evaluate()')
	{
		like(error_of($reader, $statement), qr/function fflag_enabled.* does not exist/, "dropped: $statement");
	}
	$writer->do('CREATE EXTENSION fflag');
	is_off($reader, 'created: no flag');
	$writer->do(q{SELECT fflag_register('f', true)});
	is_on($reader, 'created: a flag');
	is(ask($reader, 'EXECUTE evaluate'), 1, 'created: prepared statement');
	is(ask($reader, 'SELECT evaluate()'), 1, 'created: PL/pgSQL');
}

# created, used and rolled back: no OID of it is kept
$writer->do('DROP EXTENSION fflag');
for my $end ('ROLLBACK', 'COMMIT')
{
	$writer->do('BEGIN');
	$writer->do('CREATE EXTENSION fflag');
	$writer->do(q{SELECT fflag_register('f', true)});
	is_on($writer, "$end: used where it was created");
	like(error_of($reader, $evaluate), qr/does not exist/, "$end: unknown elsewhere");
	$writer->do($end);
}
is_on($reader, 'committed');

# dropped under a statement that is running: its function is there until the end,
# and so is what is cached for its snapshot, until another statement takes its place
$reader->do('BEGIN');
$reader->do(q{DECLARE c CURSOR FOR SELECT fflag_enabled('f', n) FROM generate_series(1, 10) n});
is(ask($reader, 'FETCH c'), 1, 'cursor');
$writer->do('DROP EXTENSION fflag');
$writer->do('CREATE EXTENSION fflag');
is(ask($reader, 'FETCH c'), 1, 'cursor after DROP EXTENSION: the old answer');
# looking up a function alone does not make the server find the new one
is(ask($reader, 'SELECT count(*) FROM feature_flag'), 0, 'another statement: the new table');
is_off($reader, 'another statement: no flag');
like(error_of($reader, 'FETCH c'), qr/extension "fflag" has been dropped/, 'cursor after that: a clear error');
$reader->do('ROLLBACK');
$writer->do(q{SELECT fflag_register('f', true)});

# nor is what belongs to a flag kept: its denylist, its variants and their payloads
my $belongings = q{SELECT concat_ws(' ', fflag_enabled('f', 1), fflag_enabled('f', 2), fflag_variant('f', 2), fflag_variant_payload('f', 2))};
my $give = q{SELECT fflag_deny('f', 1), fflag_variants('f', '{"a": 1}'); UPDATE feature_flag_variant SET payload = '"p"'};
$writer->do($give);
is(ask($reader, $belongings), 'f t a "p"', 'a denylist, a variant and a payload');
$writer->do($_) for ('DROP EXTENSION fflag', 'CREATE EXTENSION fflag', q{SELECT fflag_register('f', true)});
is(ask($reader, $belongings), 't t', 'created again: none of them');
$writer->do($give);
is(ask($reader, $belongings), 'f t a "p"', 'and given again');
$writer->do($_) for ('CREATE TABLE flag AS SELECT id, name, enabled, staff_only, 100 AS rollout_percentage FROM feature_flag',
	'ALTER TABLE flag ADD PRIMARY KEY (id), ADD UNIQUE (name)', 'CREATE TABLE flag_user (flag_id bigint, user_id text, PRIMARY KEY (flag_id, user_id))', q{SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id')});
is(ask($reader, $belongings), 't t', 'attached tables have none of them');
$writer->do('SELECT fflag_detach()');
is(ask($reader, $belongings), 'f t a "p"', 'detached: they are back');
$writer->do($_) for ('DROP TABLE flag, flag_user', q{SELECT fflag_undeny('f', 1), fflag_variants('f', NULL)});

# ---- schemas

$writer->do('DROP EXTENSION fflag');
$writer->do('CREATE SCHEMA one');
$writer->do('CREATE EXTENSION fflag SCHEMA one');
$writer->do(q{SELECT one.fflag_register('f', true)});
$reader->do('PREPARE moved AS SELECT one.fflag_enabled(\'f\', 1)');
is(ask($reader, 'EXECUTE moved'), 1, 'in a schema');
$writer->do('ALTER SCHEMA one RENAME TO two');
is(ask($reader, q{SELECT two.fflag_enabled('f', 1)}), 1, 'schema renamed');
$writer->do(q{UPDATE two.feature_flag SET enabled = false});
is(ask($reader, q{SELECT two.fflag_enabled('f', 1)}), 0, 'a change after that');
$writer->do('CREATE SCHEMA one');
like(error_of($reader, 'EXECUTE moved'), qr/one\.fflag_enabled.* does not exist/, 'the old name: clear error');
like(error_of($writer, 'ALTER EXTENSION fflag SET SCHEMA public'), qr/does not support SET SCHEMA/, 'SET SCHEMA is refused');
$writer->do('ALTER TABLE two.feature_flag SET SCHEMA public');
like(error_of($reader, q{SELECT two.fflag_enabled('f', 1)}), qr/table "feature_flag" of extension "fflag" does not exist/,
	'a table moved away: clear error');
$writer->do('ALTER TABLE public.feature_flag SET SCHEMA two');
is(ask($reader, q{SELECT two.fflag_enabled('f', 1)}), 0, 'and back');
$writer->do('DROP EXTENSION fflag');
$writer->do('CREATE EXTENSION fflag');
$writer->do(q{SELECT fflag_register('f', true)});

# ---- flags and each list are invalidated separately

$writer->do(q{SELECT fflag_register('g', true, 0), fflag_rollout('f', 0)});
my $held = q{SELECT flags || ' ' || allowlists FROM fflag_cache()};
ask($reader, q{SELECT fflag_enabled('f', 1), fflag_enabled('g', 1)});
is(ask($reader, $held), '2 2', 'two flags and their lists');
$writer->do(q{UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'f'});
is_on($reader, 'a flag has changed');
is(ask($reader, $held), '1 2', 'the lists are still there');
$writer->do(q{UPDATE feature_flag SET rollout_percentage = 0 WHERE name = 'f'});
ask($reader, q{SELECT fflag_enabled('f', 1), fflag_enabled('g', 1)});
$writer->do(q{SELECT fflag_allow('f', 1)});
is_on($reader, 'a list has changed');
is(ask($reader, $held), '2 2', 'the flags and the other list are still there');
$writer->do(q{SELECT fflag_disallow('f', 1), fflag_rollout('f', 100)});

# ---- messages that come while the tables are being looked up: the reader is
# made to look by a message about a table, and to wait for the second one when it has
# seen the first

my $locker = session($node);
my %meanwhile = (
	'a trigger disabled' => ['ALTER TABLE feature_flag DISABLE TRIGGER fflag_invalidate'],
	'another table' => [
		'BEGIN', 'ALTER EXTENSION fflag DROP TABLE feature_flag', 'ALTER TABLE feature_flag RENAME TO old_flag',
		'CREATE TABLE feature_flag AS TABLE old_flag', 'ALTER EXTENSION fflag ADD TABLE feature_flag',
		'CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE ON feature_flag FOR EACH ROW EXECUTE FUNCTION fflag_invalidate()',
		'ALTER TABLE feature_flag ENABLE ALWAYS TRIGGER fflag_invalidate', 'COMMIT'
	]);
for my $what (sort keys %meanwhile)
{
	is_on($reader, "$what: before");
	$writer->do('ALTER TABLE feature_flag ALTER description SET STATISTICS 50');
	$locker->do('BEGIN');
	$locker->do('LOCK TABLE feature_flag_user');
	$reader->do($evaluate, { pg_async => DBD::Pg::PG_ASYNC() });
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted});
	$writer->do($_) for @{ $meanwhile{$what} };
	$locker->do('COMMIT');
	$reader->pg_result;
	is_on($reader, "$what: meanwhile");
	$writer->do(q{UPDATE feature_flag SET enabled = false});
	is_off($reader, "$what: a change after that");
	$writer->do(q{UPDATE feature_flag SET enabled = true});
	is_on($reader, "$what: and another");
	$writer->do('ALTER TABLE feature_flag ENABLE ALWAYS TRIGGER fflag_invalidate');
}
$locker->disconnect;
$writer->do($_) for ('ALTER EXTENSION fflag DROP TABLE feature_flag', 'DROP TABLE feature_flag',
	'ALTER TABLE old_flag RENAME TO feature_flag', 'ALTER EXTENSION fflag ADD TABLE feature_flag');
is(ask($reader, 'SELECT fflag_enabled(\'f\', 1)'), ask($writer, q{SELECT enabled FROM feature_flag WHERE name = 'f'}), 'the table is back');
$writer->do(q{UPDATE feature_flag SET enabled = true});

# ---- invalidation overflow: so many messages while a session cannot read them
# that it is told to forget everything; idle sessions read theirs, stopped
# ones do not

my $pid = ask($reader, 'SELECT pg_backend_pid()');
for my $round (1 .. 2)
{
	is_on($reader, 'before the overflow');
	$reader->do('BEGIN') if $round == 1;
	is_on($reader, 'in a transaction') if $round == 1;
	my $before = ask($reader, 'SELECT invalidations FROM fflag_cache()');
	kill STOP => $pid;
	$writer->do(q{DO $$ BEGIN FOR i IN 1..3000 LOOP
		EXECUTE 'CREATE TEMP TABLE t (a int)'; EXECUTE 'DROP TABLE t'; COMMIT; END LOOP; END $$});
	$writer->do(q{UPDATE feature_flag SET enabled = false});
	kill CONT => $pid;
	is_off($reader, 'after the overflow');
	# two parts of the cache, each told once by the overflow, and one by the
	# UPDATE if that message has not overflowed as well
	cmp_ok(ask($reader, 'SELECT invalidations FROM fflag_cache()') - $before, '>=', 2, 'it has been told');
	$reader->do('COMMIT') if $round == 1;
	$writer->do(q{UPDATE feature_flag SET enabled = true});
}

# ---- crash

$writer->do(q{UPDATE feature_flag SET enabled = true});
is_on($reader, 'committed before the crash');
$writer->do('BEGIN');
$writer->do(q{UPDATE feature_flag SET enabled = false});
$node->stop('immediate');
$node->start;
$reader = session($node);
is_on($reader, 'after the crash: what was committed, not what was not');
$node->safe_psql('postgres', q{UPDATE feature_flag SET enabled = false});
is_off($reader, 'and changes are seen');

# ---- a cancelled load: the reader waits for the table, gives up, and is right
# afterwards

$writer = session($node);
$writer->do('BEGIN');
$writer->do('LOCK TABLE feature_flag_user');
$node->safe_psql('postgres', q{UPDATE feature_flag SET enabled = true, rollout_percentage = 0});
$reader->do(q{SET lock_timeout = '100ms'});
like(error_of($reader, $evaluate), qr/lock timeout/, 'a load that waits can be cancelled');
$writer->do(q{INSERT INTO feature_flag_user SELECT id, '1' FROM feature_flag});
$writer->do('COMMIT');
is_on($reader, 'and the next one is right');

# ---- flags that come and go: what a reader holds of their lists does not stay for good

$writer->do(q{INSERT INTO feature_flag (name) VALUES ('comes and goes')});
for (1 .. 1500)
{
	$writer->do(q{UPDATE feature_flag SET id = DEFAULT, enabled = true, rollout_percentage = 50 WHERE name = 'comes and goes'});
	ask($reader, q{SELECT fflag_enabled('comes and goes', 1)});
}
cmp_ok(ask($reader, 'SELECT allowlists FROM fflag_cache()'), '<', 1100, 'lists of 1,500 flags that are gone');

$_->disconnect for ($writer, $reader);
no_crash($node);
$node->stop;
done_testing();
