# When a change counts from: the moment at which its transaction begins to commit, after everything
# that the transaction still does then.  A table of transactions, of which each must leave one row in
# feature_flag_change for each time that somebody else changes flags, all with the same time, taken
# between the last statement before the COMMIT and the COMMIT's end; and no change in
# feature_flag_history without its row.  fflag_explain_at must answer as fflag_enabled did before and
# does after.  What the tables' owner does to them makes a COMMIT fail with a clear error at worst.
#
#   FFLAG_COMMIT_CASES     only those of the table whose names match
#   FFLAG_COMMIT_SECONDS   how long ten sessions change flags at once (4)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCrowd;
use FflagTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $module = "$FindBin::RealBin/../module";
system_or_bail('make', '-s', '-C', $module, 'with_llvm=no');

my $node = PostgreSQL::Test::Cluster->new('node');
# small segments of WAL: see the disk that is full
$node->init(allows_streaming => 'logical', extra => [ '--wal-segsize', '1' ]);
$node->append_conf('postgresql.conf', q{
max_connections = 30
max_prepared_transactions = 30
log_min_messages = log
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fflag;
	CREATE SCHEMA test;
	CREATE FUNCTION test.run_at_commit(text) RETURNS void LANGUAGE c STRICT AS '$module/fflag_test', 'test_run_at_commit';
	CREATE TABLE test.work (actor text, flag text, seconds float8 NOT NULL DEFAULT 0);
	-- an application's trigger that changes flags
	CREATE FUNCTION test.work() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		PERFORM pg_sleep(NEW.seconds), set_config('fflag.actor', NEW.actor, true);
		UPDATE public.feature_flag SET enabled = NOT enabled WHERE name = NEW.flag;
		RETURN NULL; END \$\$;
	CREATE CONSTRAINT TRIGGER work AFTER INSERT ON test.work DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test.work();
	CREATE FUNCTION test.change(actor text, flag text) RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN
		PERFORM set_config('fflag.actor', actor, true);
		UPDATE public.feature_flag SET enabled = NOT enabled WHERE name = flag;
		RETURN flag; END \$\$;
	CREATE FUNCTION test.code(at timestamptz, actor text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \$\$ BEGIN RETURN 1; END \$\$;
});

# ---- the table

# An actor changes a flag, until the end of the savepoint if it is rolled back.
sub by
{
	my ($actor, $flag) = @_;
	return "SET LOCAL fflag.actor = '$actor'; UPDATE feature_flag SET enabled = NOT enabled WHERE name = '$flag'";
}

# the server's own functions fail, too: when the row of actor b gets its time
my $FAILS = q{CREATE INDEX ON feature_flag_change ((1 / (CASE WHEN actor = 'b' AND at IS NOT NULL THEN 0 ELSE 1 END)))};

my $DROP = 'ALTER EXTENSION fflag DROP TABLE feature_flag_change';

# Name, statements, what is recorded: each actor with the number of changed rows.  A statement in an
# array is another session's, one in a hash must fail.  Besides:
#   before        statements in transactions of their own
#   session       who runs them
#   commit        which of the statements commits, by number: the last of the session's own
#   fails         its error; then nothing has happened, and the session goes on
#   late          the time is so many seconds after its start, at least
#   transactions  how many there are
#   lost          how many changes have no row that says who and when
#   unasked       the error of fflag_explain_at
#   asked         0: it cannot answer about the moment before
#   timed         0: the time is not ours
#   merged        numbers at the end of actors' names are left out
#   also          a query, and what it returns
my @cases = (

	# savepoints
	[ 'one after the other', [ 'BEGIN', by('a', 'f'), by('a', 'g'), by('b', 'h'), by('a', 'f'), 'COMMIT' ], 'a 2, b 1, a 1' ],
	[ 'a savepoint that is released', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'RELEASE s', by('c', 'h'), 'COMMIT' ], 'a 1, b 1, c 1' ],
	[ 'a savepoint that stays open', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'COMMIT' ], 'a 1, b 1' ],
	[ 'a savepoint that is rolled back', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'ROLLBACK TO s', by('c', 'h'), 'COMMIT' ], 'a 1, c 1' ],
	[ 'who was there before the savepoint that is rolled back goes on', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'ROLLBACK TO s', by('a', 'h'), 'COMMIT' ], 'a 2' ],
	[ 'who was rolled back comes again', [ 'BEGIN', 'SAVEPOINT s', by('a', 'f'), 'ROLLBACK TO s', by('a', 'g'), 'COMMIT' ], 'a 1' ],
	[ 'everything rolled back', [ 'BEGIN', 'SAVEPOINT s', by('a', 'f'), 'ROLLBACK TO s', 'COMMIT' ], '' ],
	[ 'inner released, outer rolled back', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT o', by('b', 'g'), 'SAVEPOINT i', by('c', 'h'), 'RELEASE i', 'ROLLBACK TO o', by('d', 'h'), 'COMMIT' ], 'a 1, d 1' ],
	[ 'inner rolled back, outer released', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT o', by('b', 'g'), 'SAVEPOINT i', by('c', 'h'), 'ROLLBACK TO i', 'RELEASE o', by('b', 'h'), 'COMMIT' ], 'a 1, b 2' ],
	[ 'released, and a later one rolled back', [ 'BEGIN', 'SAVEPOINT s', by('a', 'f'), 'RELEASE s', 'SAVEPOINT s', by('b', 'g'), 'ROLLBACK TO s', by('a', 'h'), 'COMMIT' ], 'a 2' ],
	[ 'one name, rolled back again and again', [ 'BEGIN', by('a', 'f'), ('SAVEPOINT s', by('b', 'g'), 'ROLLBACK TO s') x 9, by('b', 'g'), 'SAVEPOINT s', by('c', 'h'), 'COMMIT' ], 'a 1, b 1, c 1' ],
	[ 'a statement that fails in a savepoint', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', { error => q{UPDATE feature_flag SET enabled = NOT enabled WHERE 1 / (id - id) > 0} }, 'ROLLBACK TO s', by('b', 'g'), 'COMMIT' ], 'a 1, b 1' ],
	[ 'ROLLBACK', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'ROLLBACK' ], '' ],
	[ 'ROLLBACK, and another transaction', [ 'BEGIN', by('a', 'f'), by('b', 'f'), 'ROLLBACK', 'BEGIN', by('b', 'g'), 'COMMIT' ], 'b 1' ],
	[ 'exception blocks of PL/pgSQL', [ 'BEGIN', by('a', 'f'), q{DO $$ BEGIN
		BEGIN PERFORM test.change('b', 'g'); END;
		BEGIN PERFORM test.change('c', 'h'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN PERFORM test.change('d', 'h'); END;
		BEGIN BEGIN PERFORM test.change('e', 'f'); EXCEPTION WHEN OTHERS THEN END; RAISE 'x'; EXCEPTION WHEN OTHERS THEN END; END $$}, 'COMMIT' ], 'a 1, b 1, d 1' ],
	[ 'a DO that commits', [ q{DO $$ BEGIN
		PERFORM test.change('a', 'f'); PERFORM test.change('b', 'f'); COMMIT; PERFORM test.change('b', 'f'); ROLLBACK; PERFORM test.change('b', 'f'); COMMIT AND CHAIN; PERFORM test.change('c', 'h'); END $$} ],
		'a 1, b 1, b 1, c 1', transactions => 3 ],
	[ 'a function that sets the actor for itself', [ q{CREATE FUNCTION f() RETURNS void LANGUAGE sql SET fflag.actor = 'function' AS $$ UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'f' $$},
		'BEGIN', by('a', 'f'), 'SELECT f()', by('a', 'g'), 'COMMIT' ], 'a 1, function 1, a 1' ],
	[ 'the role and the application count', [ 'CREATE ROLE regress_fflag_1', 'GRANT ALL ON feature_flag TO regress_fflag_1', 'GRANT USAGE ON SCHEMA public TO regress_fflag_1', 'BEGIN', by('a', 'f'), 'SET LOCAL ROLE regress_fflag_1', by('a', 'f'),
		q{RESET ROLE}, q{SET LOCAL application_name = 'x'}, by('a', 'f'), 'COMMIT', 'DROP OWNED BY regress_fflag_1', 'DROP ROLE regress_fflag_1' ], 'a 1, a 1, a 1', commit => 10 ],

	# two-phase commit
	[ 'PREPARE TRANSACTION', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), q{PREPARE TRANSACTION 'p'}, 'SELECT pg_sleep(0.3)', [ q{COMMIT PREPARED 'p'} ] ], 'a 1, b 1', commit => 4 ],
	[ 'ROLLBACK PREPARED', [ 'BEGIN', by('a', 'f'), q{PREPARE TRANSACTION 'p'}, 'BEGIN', by('b', 'g'), [ q{ROLLBACK PREPARED 'p'} ], 'COMMIT' ], 'b 1' ],
	[ 'PREPARE TRANSACTION, and the session goes on', [ 'BEGIN', by('a', 'f'), q{PREPARE TRANSACTION 'p'}, 'BEGIN', by('a', 'g'), 'COMMIT', [ q{COMMIT PREPARED 'p'} ] ], 'a 1, a 1', transactions => 2, commit => 2 ],

	# isolation
	[ 'REPEATABLE READ', [ 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'TABLE feature_flag_change', [ 'BEGIN; ' . by('x', 'g') . '; COMMIT' ],
		by('a', 'f'), 'SAVEPOINT s', by('b', 'h'), 'COMMIT' ], 'x 1, a 1, b 1', transactions => 2, commit => 2 ],
	[ 'SERIALIZABLE', [ 'BEGIN ISOLATION LEVEL SERIALIZABLE', [ 'BEGIN ISOLATION LEVEL SERIALIZABLE' ], by('a', 'f'), [ by('b', 'g') ], by('c', 'f'), [ by('d', 'g') ], [ 'COMMIT' ], 'COMMIT' ],
		'b 1, d 1, a 1, c 1', transactions => 2, commit => 6 ],

	# what happens at commit, before the time is taken
	[ 'a deferred trigger that changes flags', [ 'BEGIN', by('a', 'f'), q{INSERT INTO test.work VALUES ('b', 'g'), ('c', 'h')}, by('d', 'f'), 'COMMIT' ], 'a 1, d 1, b 1, c 1' ],
	[ 'a deferred trigger alone', [ 'BEGIN', q{INSERT INTO test.work VALUES ('b', 'g')}, 'COMMIT' ], 'b 1' ],
	[ 'a deferred trigger that sleeps', [ 'BEGIN', by('a', 'f'), q{INSERT INTO test.work VALUES ('a', 'g', 0.3)}, 'COMMIT' ], 'a 2', late => 0.3 ],
	[ 'PREPARE, after a deferred trigger that sleeps', [ 'BEGIN', by('a', 'f'), q{INSERT INTO test.work VALUES ('b', 'g', 0.3)}, q{PREPARE TRANSACTION 'p'}, [ q{COMMIT PREPARED 'p'} ] ], 'a 1, b 1', late => 0.3, commit => 3 ],
	[ 'SET CONSTRAINTS ALL IMMEDIATE', [ 'BEGIN', by('a', 'f'), q{INSERT INTO test.work VALUES ('b', 'g')}, 'SET CONSTRAINTS ALL IMMEDIATE', 'SELECT pg_sleep(0.3)', 'COMMIT' ], 'a 1, b 1' ],
	[ 'SET CONSTRAINTS before all', [ 'BEGIN', 'SET CONSTRAINTS ALL IMMEDIATE', by('a', 'f'), 'SELECT pg_sleep(0.3)', 'COMMIT' ], 'a 1' ],
	[ 'a cursor that changes flags when it is held', [ 'BEGIN', by('a', 'f'), q{DECLARE c CURSOR WITH HOLD FOR SELECT test.change('b', 'g'), pg_sleep(0.3)}, 'COMMIT', 'CLOSE c' ], 'a 1, b 1', late => 0.3, commit => 3 ],
	[ 'a cursor that queues a trigger when it is held', [ q{CREATE FUNCTION w() RETURNS void LANGUAGE sql AS $$ INSERT INTO test.work VALUES ('c', 'h') $$},
		'BEGIN', by('a', 'f'), q{DECLARE c CURSOR WITH HOLD FOR SELECT test.change('b', 'g'), w()}, 'COMMIT', 'CLOSE c' ], 'a 1, b 1, c 1', commit => 4 ],
	[ 'READ ONLY before COMMIT', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', by('b', 'g'), 'SET TRANSACTION READ ONLY', 'COMMIT' ], 'a 1, b 1' ],
	[ 'an open cursor', [ 'BEGIN', 'DECLARE c CURSOR FOR TABLE feature_flag_change', 'FETCH c', by('a', 'f'), 'FETCH c', 'COMMIT' ], 'a 1' ],
	[ 'a parallel query in the middle', [ 'BEGIN', by('a', 'f'), 'SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0',
		q{SELECT count(*) FROM pg_class WHERE fflag_enabled(relname::text, 1)}, by('b', 'g'), q{SELECT count(*) FROM pg_class WHERE fflag_enabled(relname::text, 1)}, 'COMMIT' ], 'a 1, b 1' ],

	# what another library does at commit
	(map { (
		[ "$_->[0] ours, another callback changes flags", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($$SELECT test.change('b', 'g'), test.change('c', 'h')$$)}, 'COMMIT' ], 'a 1, b 1, c 1', session => $_->[1] ],
		[ "$_->[0] ours, the same actor", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($$SELECT test.change('a', 'g')$$)}, 'COMMIT' ], 'a 2', session => $_->[1] ],
		[ "$_->[0] ours, nothing else", [ 'BEGIN', q{SELECT test.run_at_commit($$SELECT test.change('b', 'g')$$)}, 'COMMIT' ], 'b 1', session => $_->[1] ],
		[ "$_->[0] ours, rolled back", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($c$DO $$ BEGIN PERFORM test.change('b', 'g'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN END $$$c$)}, 'COMMIT' ], 'a 1', session => $_->[1], unasserted => 1 ],
		[ "$_->[0] ours, rolled back and again", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($c$DO $$ BEGIN
			BEGIN PERFORM test.change('b', 'g'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN END; PERFORM test.change('b', 'h'); END $$$c$)}, 'COMMIT' ], 'a 1, b 1', session => $_->[1], unasserted => 1 ],
		[ "$_->[0] ours, PREPARE", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($$SELECT test.change('b', 'g')$$)}, q{PREPARE TRANSACTION 'p'}, [ q{COMMIT PREPARED 'p'} ] ], 'a 1, b 1', session => $_->[1], commit => 3 ],
		[ "$_->[0] ours, an error", [ 'BEGIN', by('a', 'f'), q{SELECT test.run_at_commit($$SELECT test.change('b', 'g'), 1 / 0$$)}, 'COMMIT' ], '', session => $_->[1], fails => qr/division by zero/ ],
		) } [ before => 'main' ], [ after => 'first' ]),

	# the extension and its tables, in a transaction that has changed flags
	[ 'DROP EXTENSION', [ 'BEGIN', by('a', 'f'), 'DROP EXTENSION fflag', 'COMMIT' ], undef ],
	[ 'fflag_detach, DROP EXTENSION', [ 'BEGIN', 'SELECT fflag_detach()', 'DROP EXTENSION fflag', 'COMMIT' ], undef, before => [
		q{CREATE TABLE their_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage numeric NOT NULL)},
		q{CREATE TABLE their_user (featureflag_id int REFERENCES their_flag, user_id text, UNIQUE (featureflag_id, user_id))},
		q{INSERT INTO their_flag VALUES (1, 'f', true, false, 100)}, q{SELECT fflag_attach('their_flag', 'their_user')} ] ],
	[ 'DROP EXTENSION, CREATE EXTENSION', [ 'BEGIN', by('a', 'f'), 'DROP EXTENSION fflag', 'CREATE EXTENSION fflag', q{SELECT fflag_register(ARRAY['f', 'g', 'h'])}, by('a', 'f'), by('b', 'g'), 'COMMIT' ], 'a 4, b 1', asked => 0 ],
	[ 'DROP and CREATE EXTENSION rolled back', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', 'DROP EXTENSION fflag', 'CREATE EXTENSION fflag', q{SELECT fflag_register('f')}, by('b', 'f'), 'ROLLBACK TO s', 'COMMIT' ], 'a 1' ],
	[ 'DROP and CREATE EXTENSION rolled back, and on', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', 'DROP EXTENSION fflag', 'CREATE EXTENSION fflag', q{SELECT fflag_register('f')}, by('b', 'f'), 'ROLLBACK TO s', by('a', 'g'), by('c', 'h'), 'COMMIT' ],
		'a 2, c 1' ],
	[ 'ALTER SCHEMA RENAME', [ 'BEGIN', by('a', 'f'), 'ALTER SCHEMA public RENAME TO other', 'SET LOCAL search_path = other', by('b', 'g'), 'ALTER SCHEMA other RENAME TO public', 'COMMIT' ], 'a 1, b 1' ],
	[ 'ALTER EXTENSION SET SCHEMA', [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', { error => 'ALTER EXTENSION fflag SET SCHEMA test' }, 'ROLLBACK TO s', by('b', 'g'), 'COMMIT' ], 'a 1, b 1' ],
	[ 'DROP TABLE CASCADE', [ 'BEGIN', by('a', 'f'), $DROP, 'DROP TABLE feature_flag_change CASCADE', 'COMMIT' ], undef ],
	[ 'another table in its place', [ 'BEGIN', by('a', 'f'), $DROP, 'ALTER TABLE feature_flag_change RENAME TO old', 'CREATE TABLE feature_flag_change (LIKE old INCLUDING ALL)', 'INSERT INTO feature_flag_change TABLE old',
		'ALTER EXTENSION fflag ADD TABLE feature_flag_change', by('b', 'g'), 'DELETE FROM feature_flag_change c USING old WHERE c.id = old.id AND c.at IS NULL', 'INSERT INTO feature_flag_change SELECT old.* FROM old WHERE at IS NULL',
		'UPDATE feature_flag_change SET at = clock_timestamp() WHERE at IS NULL', 'COMMIT' ], 'a 1, b 1', asked => 0, transactions => undef, timed => 0 ],
	[ 'TRUNCATE feature_flag_change', [ 'BEGIN', by('a', 'f'), 'TRUNCATE feature_flag_change', 'COMMIT' ], '', lost => 4, unasked => 'does not say when the history begins' ],
	[ 'TRUNCATE both, and on', [ 'BEGIN', by('a', 'f'), 'TRUNCATE feature_flag_change, feature_flag_history', by('a', 'g'), 'COMMIT' ], 'a 1', unasked => 'does not say when the history begins' ],
	[ 'DELETE of the row', [ 'BEGIN', by('a', 'f'), 'DELETE FROM feature_flag_change WHERE at IS NULL', 'COMMIT' ], '', lost => 1, unasked => 'rows without their change' ],
	[ 'DELETE of the row, and on', [ 'BEGIN', by('a', 'f'), by('b', 'f'), 'DELETE FROM feature_flag_change WHERE at IS NULL; DELETE FROM feature_flag_history WHERE old_row IS NOT NULL', by('b', 'g'), 'COMMIT' ], 'b 1', asked => 0 ],
	[ 'UPDATE of the row', [ 'BEGIN', by('a', 'f'), q{UPDATE feature_flag_change SET at = '2001-01-01', actor = 'x' WHERE at IS NULL}, 'COMMIT' ], 'x 1' ],
	[ 'its key changed', [ 'BEGIN', by('a', 'f'), q{UPDATE feature_flag_change SET id = gen_random_uuid() WHERE at IS NULL}, by('a', 'g'), 'COMMIT' ], 'a 1, a 0 untimed', lost => 1, unasked => 'changes without a time' ],
	[ 'prune in the middle', [ 'BEGIN', by('a', 'f'), 'SELECT fflag_prune_history(clock_timestamp())', by('a', 'g'), 'COMMIT' ], 'a 2' ],

	# ALTER TABLE and so on, after a change and before another
	(map { my ($what, $alter, %more) = @$_; [ $what, [ 'BEGIN', by('a', 'f'), $alter, by('b', 'g'), 'COMMIT' ], exists $more{recorded} ? $more{recorded} : 'a 1, b 1', %more ] }
		[ 'a column with a default', q{ALTER TABLE feature_flag_change ADD more text DEFAULT 'x'} ],
		[ 'a stored column', q{ALTER TABLE feature_flag_change ADD more text GENERATED ALWAYS AS (actor || (at IS NULL)::text) STORED}, also => [ q{SELECT DISTINCT more FROM feature_flag_change WHERE actor = 'a'} => 'afalse' ] ],
		[ 'a column dropped', 'ALTER TABLE feature_flag_change ADD more int DEFAULT 1; ALTER TABLE feature_flag_change DROP more' ],
		[ 'a time without a zone', 'DROP TRIGGER fflag_skip_known ON feature_flag_change; ALTER TABLE feature_flag_change ALTER at TYPE timestamp', recorded => 'a 1 untimed, b 1 untimed', unasked => 'changes without a time|does not exist' ],
		[ 'a time as text', 'DROP TRIGGER fflag_skip_known ON feature_flag_change; ALTER TABLE feature_flag_change ALTER at TYPE text', recorded => 'a 1 untimed, b 1 untimed', unasked => 'changes without a time|does not exist|cannot be matched' ],
		[ 'no time', 'ALTER TABLE feature_flag_change DROP at CASCADE', recorded => undef, unasked => 'column .*at.* does not exist' ],
		[ 'a time that is generated', q{ALTER TABLE feature_flag_change DROP at CASCADE; ALTER TABLE feature_flag_change ADD at timestamptz GENERATED ALWAYS AS ('2001-01-01 UTC'::timestamptz) STORED}, timed => 0, asked => 0, transactions => undef ],
		[ 'no primary key', 'ALTER TABLE feature_flag_change DROP CONSTRAINT feature_flag_change_pkey' ],
		[ 'another primary key', 'ALTER TABLE feature_flag_change DROP CONSTRAINT feature_flag_change_pkey, ADD PRIMARY KEY (actor, session_role, id)' ],
		[ 'a primary key without the id', q{ALTER TABLE feature_flag_change DROP CONSTRAINT feature_flag_change_pkey, ADD more bigint GENERATED ALWAYS AS IDENTITY, ADD PRIMARY KEY (more)} ],
		[ 'a deferrable primary key', 'ALTER TABLE feature_flag_change DROP CONSTRAINT feature_flag_change_pkey, ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED' ],
		[ 'a deferrable key with the time', 'ALTER TABLE feature_flag_change ADD UNIQUE (id, at) DEFERRABLE INITIALLY DEFERRED' ],
		[ 'an index', 'CREATE INDEX ON feature_flag_change (at DESC, actor) INCLUDE (role) WHERE at IS NOT NULL' ],
		[ 'an index that is no btree', 'CREATE INDEX ON feature_flag_change USING brin (at)' ],
		[ 'CLUSTER', 'CLUSTER feature_flag_change USING feature_flag_change_at_idx' ],
		[ 'REINDEX', 'REINDEX TABLE feature_flag_change' ],
		[ 'UNLOGGED', 'ALTER TABLE feature_flag_change SET UNLOGGED' ],
		[ 'another fillfactor', 'ALTER TABLE feature_flag_change SET (fillfactor = 10)' ],
		[ 'another name of the time', 'ALTER TABLE feature_flag_change RENAME at TO moment', recorded => undef, unasked => 'does not exist' ],
		[ 'a policy', 'CREATE POLICY p ON feature_flag_change USING (false) WITH CHECK (false); ALTER TABLE feature_flag_change ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY' ],
		[ 'another owner', 'CREATE ROLE regress_fflag_2; ALTER TABLE feature_flag_change OWNER TO regress_fflag_2; ALTER TABLE feature_flag_history OWNER TO regress_fflag_2; GRANT ALL ON SCHEMA public TO regress_fflag_2', clean => 'DROP OWNED BY regress_fflag_2; DROP ROLE regress_fflag_2' ],
		[ 'another storage', q{ALTER TABLE feature_flag_change ADD more text; ALTER TABLE feature_flag_change ALTER more SET DEFAULT repeat('x', 3000), ALTER more SET STORAGE EXTERNAL} ],
		[ 'a CHECK', q{ALTER TABLE feature_flag_change ADD CONSTRAINT untimed CHECK (actor <> 'b' OR at IS NULL)}, fails => qr/violates check constraint "untimed"/, recorded => '' ],
		[ 'a CHECK of a new column', q{ALTER TABLE feature_flag_change ADD more int; ALTER TABLE feature_flag_change ADD CONSTRAINT more CHECK (at IS NULL OR more IS NOT NULL) NOT VALID}, fails => qr/violates check constraint "more"/, recorded => '' ],
		[ 'unique times', q{CREATE UNIQUE INDEX times ON feature_flag_change (at) WHERE actor <> ''}, fails => qr/duplicate key value violates unique constraint "times"/, recorded => '' ],
		[ 'excluded times', q{ALTER TABLE feature_flag_change ADD CONSTRAINT times EXCLUDE (at WITH =) WHERE (actor <> '')}, fails => qr/conflicting key value violates exclusion constraint "times"/, recorded => '' ],
		[ 'a publication that cannot tell the row', q{ALTER TABLE feature_flag_change REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR TABLE feature_flag_change}, fails => qr/cannot update table "feature_flag_change"/, recorded => '' ],
		[ 'a publication', 'CREATE PUBLICATION p FOR TABLE feature_flag_change', clean => 'DROP PUBLICATION p' ],
	),

	# what may run code of somebody's is refused, at a change and at the commit
	(map { my ($what, $alter) = @$_; ([ "$what: a change", [ 'BEGIN', by('a', 'f'), 'SAVEPOINT s', $alter, { error => by('b', 'g') }, 'ROLLBACK TO s', by('c', 'h'), 'COMMIT' ], 'a 1, c 1' ],
			[ "$what: a commit", [ 'BEGIN', by('a', 'f'), $alter, 'COMMIT' ], '', fails => qr/may run code that is not the extension's/ ]) }
		[ 'a foreign key', 'ALTER TABLE feature_flag_change ADD more uuid REFERENCES feature_flag_change DEFERRABLE INITIALLY DEFERRED' ],
		[ 'an index', 'CREATE INDEX ON feature_flag_change (test.code(at, actor))' ],
		[ 'an index that waits for a row', 'CREATE INDEX ON feature_flag_change (actor) WHERE test.code(at, actor) > 0' ],
		[ 'a column with a volatile default', 'ALTER TABLE feature_flag_change ADD more float8 DEFAULT random()' ],
		[ 'a child', 'CREATE TABLE child () INHERITS (feature_flag_change)' ],
		[ 'a rule', 'CREATE RULE r AS ON UPDATE TO feature_flag_change DO INSTEAD NOTHING' ],
		[ 'a rule that keeps rows out', 'CREATE RULE r AS ON INSERT TO feature_flag_change DO INSTEAD NOTHING' ],
		[ 'a trigger', q{CREATE TRIGGER t BEFORE UPDATE ON feature_flag_change FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE feature_flag_change ENABLE ALWAYS TRIGGER t} ],
		[ 'a trigger that fails', q{CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; CREATE TRIGGER t AFTER UPDATE ON feature_flag_change EXECUTE FUNCTION no(); CREATE CONSTRAINT TRIGGER u AFTER UPDATE ON feature_flag_change DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()} ],
	),

	# an error in the stamp
	[ 'an error', [ 'BEGIN', by('a', 'f'), by('b', 'g'), by('c', 'h'), 'COMMIT' ], '', before => [ $FAILS ], fails => qr/^ERROR:  division by zero/ ],
	[ 'an error in PREPARE', [ 'BEGIN', by('a', 'f'), by('b', 'g'), q{PREPARE TRANSACTION 'p'} ], '', before => [ $FAILS ], fails => qr/^ERROR:  division by zero/ ],
	[ 'an error in a DO that commits', [ q{DO $$ BEGIN PERFORM test.change('a', 'f'); PERFORM test.change('b', 'f'); COMMIT; END $$} ], '', before => [ $FAILS ], fails => qr/^ERROR:  division by zero/ ],
	[ 'an error without BEGIN', [ q{SELECT test.change('b', 'f')} ], '', before => [ $FAILS ], fails => qr/^ERROR:  division by zero/ ],

	# many
	[ '10,000 actors', [ 'BEGIN', q{DO $$ BEGIN FOR i IN 1 .. 10000 LOOP PERFORM test.change('many ' || i, 'f'); END LOOP; END $$}, 'COMMIT' ], 'many 10000', merged => 1 ],
	[ '10,000 savepoints, every other one rolled back', [ 'BEGIN', q{DO $$ BEGIN FOR i IN 1 .. 10000 LOOP
		BEGIN PERFORM test.change('many ' || i, 'f'); IF i % 2 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN END; END LOOP; END $$}, 'COMMIT' ], 'many 5000', merged => 1 ],
	[ '1,000 savepoints in one another', [ 'BEGIN', by('a', 'f'), (map { ("SAVEPOINT s$_", $_ % 100 ? () : by("many $_", 'g')) } 1 .. 1000), 'ROLLBACK TO s500', by('b', 'h'), 'COMMIT' ], 'a 1, b 1, many 4', merged => 1 ],
);

# ---- how they are run

my %session = (main => session($node), other => session($node));

# In this one the other library's callback runs after fflag's.
sub first
{
	my $session = session($node);
	$session->do($_) for q{SELECT test.run_at_commit('SELECT 1')}, q{SELECT fflag_enabled('f', 1)};
	return $session;
}
$session{first} = first();

my $WHO = q{
	WITH change AS (SELECT c.id, %s AS actor, c.at, count(h.change) AS rows, min(h.sequence) AS sequence
		FROM feature_flag_change AS c LEFT JOIN feature_flag_history AS h ON h.change = c.id WHERE NOT begins AND c.actor <> '' GROUP BY c.id, c.actor, c.at)
	SELECT coalesce(string_agg(actor || ' ' || rows || CASE WHEN untimed THEN ' untimed' ELSE '' END, ', ' ORDER BY %s), '')
	FROM (SELECT actor, sum(rows) AS rows, at IS NULL AS untimed, min(at) AS at, min(sequence) AS sequence FROM change GROUP BY %s, actor, at IS NULL) AS line};
my $LOST = q{SELECT count(*) FROM feature_flag_history AS h WHERE NOT EXISTS (SELECT FROM feature_flag_change AS c WHERE c.id = h.change)};
my $ANSWERS = q{SELECT string_agg(fflag_enabled(name, 1)::int::text, '' ORDER BY name) FROM unnest('{f,g,h}'::text[]) AS name};

sub answers_at
{
	my ($at) = @_;
	return ask($session{other}, "SELECT string_agg(e.enabled::int::text, '' ORDER BY name) FROM unnest('{f,g,h}'::text[]) AS name, fflag_explain_at($at, name, 1) AS e");
}

sub clock { return ask($session{other}, 'SELECT clock_timestamp()::text'); }

my $altered = 1;

sub reset_all
{
	for my $name ('main', 'other', 'first')
	{
		$session{$name}->do($_) for 'ROLLBACK', 'RESET ALL', q{SET client_min_messages = error}, q{SET lock_timeout = '5s'}, q{SET test.actor = ''};
	}
	if (!$altered)
	{
		$session{main}->do('UPDATE feature_flag SET enabled = false; SELECT fflag_prune_history(clock_timestamp())');
		return;
	}
	$session{main}->do($_) for 'DROP SCHEMA IF EXISTS public CASCADE', 'CREATE SCHEMA public', 'CREATE EXTENSION fflag',
		q{SELECT fflag_register(name, false, 100) FROM unnest('{f,g,h}'::text[]) AS name};
	return;
}

sub who
{
	my ($merged) = @_;
	return ask($session{other}, $merged ? sprintf($WHO, q{regexp_replace(c.actor, '\s+\d+$', '')}, 'actor', 'at') : sprintf($WHO, 'c.actor', 'at, sequence', 'id'));
}

sub run_case
{
	my ($what, $steps, $recorded, %want) = @_;
	my $session = $session{ $want{session} // 'main' };
	my $commit = $want{commit} // (grep { !ref $steps->[$_] } 0 .. $#$steps)[-1];
	my ($before, $end, $error);
	reset_all();
	$altered = $want{before} || $want{lost} || grep { !ref && /\b(CREATE|ALTER|DROP|TRUNCATE|DELETE)\b/ || ref eq 'HASH' } @$steps;
	$session->do($_) for @{ $want{before} // [] };
	for my $n (0 .. $#$steps)
	{
		my $step = $steps->[$n];
		$before = clock() if $n == $commit;
		$error = !ref $step ? error_of($session, $step) : ref $step eq 'ARRAY' ? error_of($session{other}, $step->[0]) : 'no error';
		isnt(error_of($session, $step->{error}), 'no error', "$what: must fail") if ref $step eq 'HASH';
		$end = clock() if $n == $commit;
		last if $n == $commit && $want{fails};
		return is($error, 'no error', "$what: $step") if $error ne 'no error';
	}
	$session->do('ROLLBACK');
	if ($want{fails})
	{
		like($error, $want{fails}, "$what: the error");
		is(ask($session{other}, $ANSWERS), '000', "$what: nothing has happened");
		is(who(), '', "$what: nothing is recorded");
		$before = clock();
		is(error_of($session, "BEGIN; " . by('next', 'f') . '; COMMIT'), 'no error', "$what: the session goes on");
		$end = clock();
		$recorded = 'next 1';
	}
	return pass($what) if !defined $recorded && !$want{unasked};
	if (defined $recorded)
	{
		is(who($want{merged}), $recorded, "$what: who");
		is(ask($session{other}, $LOST), $want{lost} // 0, "$what: no change without who and when");
		my $transactions = exists $want{transactions} ? $want{transactions} : 1;
		if (($want{timed} // 1) && $recorded ne '' && $recorded !~ /untimed/)
		{
			$end = clock() if $transactions > 1;
			is(ask($session{other}, sprintf q{SELECT concat_ws(' ', count(DISTINCT at), count(*) FILTER (WHERE at NOT BETWEEN timestamptz '%s' + %s * interval '1 s' AND '%s')) FROM feature_flag_change WHERE actor <> ''},
				$before, $want{late} // 0, $end), "$transactions 0", "$what: when");
			if (!$want{unasked} && ($want{asked} // 1))
			{
				is(answers_at(q{(SELECT min(at) - interval '1 us' FROM feature_flag_change WHERE actor <> '')}), '000', "$what: answers of before");
				is(answers_at(q{(SELECT max(at) FROM feature_flag_change WHERE actor <> '')}), ask($session{other}, $ANSWERS), "$what: answers of then");
			}
		}
	}
	if ($want{unasked})
	{
		like(error_of($session{other}, q{SELECT fflag_explain_at(clock_timestamp(), name, 1) FROM unnest('{f,g,h}'::text[]) AS name}), qr/$want{unasked}/, "$what: fflag_explain_at");
	}
	else
	{
		is(answers_at('clock_timestamp()'), ask($session{other}, $ANSWERS), "$what: answers of now");
	}
	is(ask($session{other}, $want{also}[0]), $want{also}[1], "$what: also") if $want{also};
	return;
}

my $only = $ENV{FFLAG_COMMIT_CASES} // '';
for my $case (@cases)
{
	my ($what, $steps, $recorded, %want) = @$case;
	next if $what !~ /$only/;
	SKIP:
	{
		# the server asserts that a subtransaction is rolled back in a transaction that goes on
		skip "$what: a server with assertions ends", 1 if $want{unasserted} && ask($session{other}, 'SHOW debug_assertions') eq 'on';
		eval { run_case(@$case); 1 } or fail("$what: $@");
	}
	if ($want{clean})
	{
		$session{main}->do('DROP SCHEMA public CASCADE');
		$session{main}->do($want{clean});
	}
}
# ---- blocks that come and go: one row fills one

my ($main, $other) = @session{qw(main other)};

sub one_row_a_block
{
	my ($count) = @_;
	$altered = 1;
	reset_all();
	$main->do(qq{
		ALTER TABLE feature_flag_change ADD more text, ALTER more SET STORAGE PLAIN, ALTER more SET DEFAULT repeat('x', 5000);
		INSERT INTO feature_flag_change (begins, at, session_role, role, application_name, actor) SELECT false, now(), '', '', '', '' FROM generate_series(1, $count)});
	return;
}
sub size { return ask($other, q{SELECT pg_relation_size('feature_flag_change')}); }

# VACUUM truncates the block of a row that was rolled back
one_row_a_block(3);
my $blocks = size();
$main->do($_) for 'BEGIN', 'SAVEPOINT s', by('a', 'f');
cmp_ok(size(), '>', $blocks, 'a row that is rolled back: has a block of its own');
$main->do($_) for 'ROLLBACK TO s', q{SET LOCAL fflag.actor = 'a'};
$other->do('VACUUM feature_flag_change');
is(size(), $blocks, 'a row that is rolled back: VACUUM has truncated its block');
is(error_of($main, $_), 'no error', "a row that is rolled back: $_") for by('a', 'g'), 'COMMIT';
is(who(), 'a 1', 'a row that is rolled back: the next one is recorded');
is(ask($other, $LOST), 0, 'a row that is rolled back: no change without who and when');

# a disk that is full when the stamp needs a block: to the backend, its files may not grow
SKIP:
{
	one_row_a_block(300);
	$main->disconnect;
	$main = $session{main} = session($node);
	$main->do($_) for 'CHECKPOINT', 'BEGIN', by('a', 'f');
	my $limit = 'prlimit --pid ' . ask($main, 'SELECT pg_backend_pid()') . ' --fsize=%s: >/dev/null 2>&1';
	skip 'no prlimit', 6 if system(sprintf $limit, size()) != 0;
	like(error_of($main, 'COMMIT'), qr/could not extend file/, 'no room: the error');
	is(ask($other, $ANSWERS), '000', 'no room: nothing has happened');
	is(who(), '', 'no room: nothing is recorded');
	system_or_bail(sprintf $limit, 'unlimited');
	is(error_of($main, 'BEGIN; ' . by('b', 'f') . '; COMMIT'), 'no error', 'no room: the session goes on when there is');
	is(who(), 'b 1', 'no room: that is recorded');
	is(ask($other, $LOST), 0, 'no room: no change without who and when');
}
$main->disconnect;
$main = $session{main} = session($node);

# ---- what is forgotten while somebody commits

$altered = 1;
reset_all();
$main->do($_) for 'BEGIN', by('old', 'f'), 'COMMIT', 'BEGIN', by('a', 'g'), by('b', 'h'), q{PREPARE TRANSACTION 'p'}, 'BEGIN; SELECT FROM feature_flag_history FOR UPDATE';
$other->do('SELECT fflag_prune_history(clock_timestamp())', { pg_async => DBD::Pg::PG_ASYNC() });
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}) or die 'nobody waits';
$session{first}->do(q{COMMIT PREPARED 'p'});
$main->do('COMMIT');
$other->pg_result;
is(who(), 'a 1, b 1', 'a change that is committed while others are forgotten stays');
is(ask($other, $LOST), 0, 'and is complete');

my @TABLES = ('feature_flag_change', 'feature_flag_history');
$main->do($_) for 'CREATE ROLE regress_fflag_forgets', 'GRANT USAGE ON SCHEMA public TO regress_fflag_forgets', 'GRANT EXECUTE ON FUNCTION fflag_prune_history TO regress_fflag_forgets';
for my $granted ([ 0, 'permission denied' ], [ 1, 'permission denied' ], [ 'both', 'no error' ])
{
	my ($n, $error) = @$granted;
	$main->do("GRANT DELETE ON $_ TO regress_fflag_forgets") for $n eq 'both' ? @TABLES : $TABLES[$n];
	$main->do('SET ROLE regress_fflag_forgets');
	like(error_of($main, 'SELECT fflag_prune_history(clock_timestamp())'), qr/$error/, "DELETE on $n: $error");
	$main->do('RESET ROLE');
	$main->do("REVOKE DELETE ON $_ FROM regress_fflag_forgets") for $n eq 'both' ? () : $TABLES[$n];
}
is(who(), '', 'DELETE on both: forgotten');
is(ask($other, 'SELECT count(*) FROM feature_flag_history'), 0, 'DELETE on both: nothing is left');
$main->do($_) for 'DROP OWNED BY regress_fflag_forgets', 'DROP ROLE regress_fflag_forgets';

# ---- an apply worker whose triggers change flags, where all triggers fire for replicas

$altered = 1;
reset_all();
$node->safe_psql('postgres', 'CREATE DATABASE publisher');
$node->safe_psql('publisher', 'CREATE SCHEMA test; CREATE TABLE test.work (actor text, flag text, seconds float8); CREATE PUBLICATION p FOR ALL TABLES');
$node->safe_psql('publisher', q{SELECT pg_create_logical_replication_slot('p', 'pgoutput')});
$main->do($_) for 'ALTER TABLE test.work ENABLE ALWAYS TRIGGER work', 'ALTER TABLE feature_flag ENABLE ALWAYS TRIGGER fflag_record_update',
	sprintf q{CREATE SUBSCRIPTION s CONNECTION '%s dbname=publisher' PUBLICATION p WITH (create_slot = false, slot_name = p, copy_data = false)}, $node->connstr;
my $before = clock();
$node->safe_psql('publisher', q{BEGIN; INSERT INTO test.work VALUES ('a', 'f', 0), ('b', 'g', 0.3); COMMIT; INSERT INTO test.work VALUES ('c', 'h', 0)});
$node->wait_for_catchup('s');
is(who(), 'a 1, b 1, c 1', 'apply worker: who');
is(ask($other, "SELECT concat_ws(' ', count(DISTINCT at), count(*) FILTER (WHERE at < timestamptz '$before' + interval '0.3 s')) FROM feature_flag_change WHERE actor <> ''"), '2 0', 'apply worker: when');
is(answers_at('clock_timestamp()'), '111', 'apply worker: answers of now');
is(ask($other, $LOST), 0, 'apply worker: no change without who and when');
$main->do($_) for 'ALTER TABLE feature_flag ENABLE TRIGGER fflag_record_update';
$node->safe_psql('publisher', q{INSERT INTO test.work VALUES ('d', 'f', 0)});
$node->wait_for_catchup('s');
is(who(), 'a 1, b 1, c 1', 'apply worker: triggers that do not fire for replicas record nothing');
$main->do($_) for 'DROP SUBSCRIPTION s', 'ALTER TABLE test.work ENABLE TRIGGER work';

# ---- a procedure that commits again and again keeps no memory of it

$altered = 1;
reset_all();
$main->do('CREATE TABLE test.memory (bytes bigint)');
$main->do(q{DO $$ BEGIN FOR i IN 1 .. 3000 LOOP
	PERFORM test.change('a', 'f'); COMMIT;
	IF i % 1000 = 0 THEN INSERT INTO test.memory SELECT sum(total_bytes) FROM pg_backend_memory_contexts; END IF; END LOOP; END $$});
cmp_ok(ask($main, 'SELECT max(bytes) - min(bytes) FROM test.memory'), '<', 2_000_000, '2,000 commits in a DO: less than 1 kB each');

# ---- ten sessions at once

my $SESSIONS = 10;
my $seconds = $ENV{FFLAG_COMMIT_SECONDS} // 4;

# Each change has a number that says whose it is and is in the history; who changed it and that it was
# committed is in a table besides.
sub change_for_a_while
{
	my ($n, $counts) = @_;
	my $session = session($node);
	my $until = time + $seconds;
	my $change = sub {
		my $number = $n * 1_000_000 + ++$counts->{changes};
		my $actor = 'actor ' . int rand 3;
		$session->do(sprintf q{SET LOCAL fflag.actor = '%s'; UPDATE feature_flag SET description = '%d' WHERE name = 'flag %d'; INSERT INTO test.ledger VALUES (%d, '%s')},
			$actor, $number, $n, $number, $actor);
	};
	while (time < $until)
	{
		$session->do('BEGIN' . ('', ' ISOLATION LEVEL REPEATABLE READ')[ rand 2 ]);
		for (1 .. 1 + rand 5)
		{
			my $depth = 0;
			for (1 .. rand 4)
			{
				$session->do('SAVEPOINT s' . ++$depth) if rand() < 0.5;
				$change->();
				$session->do((rand() < 0.5 ? 'RELEASE s' : 'ROLLBACK TO s') . $depth--) if $depth > 0 && rand() < 0.5;
			}
			$change->() if rand() < 0.5;
			$session->do((rand() < 0.5 ? 'RELEASE s' : 'ROLLBACK TO s') . 1) if $depth > 0 && rand() < 0.7;
		}
		my $end = rand;
		if ($end < 0.2)
		{
			$session->do($_) for "PREPARE TRANSACTION 'p$n'", (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p$n'";
		}
		else
		{
			$session->do($end < 0.8 ? 'COMMIT' : 'ROLLBACK');
		}
		$counts->{transactions}++;
	}
	$session->disconnect;
	return;
}

$altered = 1;
reset_all();
$main->do(qq{CREATE TABLE test.ledger (number int, actor text); INSERT INTO feature_flag (name) SELECT 'flag ' || n FROM generate_series(1, $SESSIONS) AS n});
for my $n (1 .. $SESSIONS)
{
	start('session', sub { change_for_a_while($n, $_[0]) });
}
my $counts = gather()->{session};
is($counts->{died}, 0, "$SESSIONS sessions: none died");
my $committed = ask($main, 'SELECT count(*) FROM test.ledger');
cmp_ok($committed, '>', 50, "$SESSIONS sessions: $counts->{transactions} transactions, $counts->{changes} changes, $committed committed");
is(ask($main, q{SELECT count(*) FROM test.ledger AS l FULL JOIN
	(SELECT h.new_row ->> 'description' AS number, c.actor, c.at FROM feature_flag_history AS h LEFT JOIN feature_flag_change AS c ON c.id = h.change WHERE h.new_row ->> 'description' <> '') AS h
	ON h.number = l.number::text WHERE h.actor IS DISTINCT FROM l.actor OR h.at IS NULL OR l.number IS NULL}), 0, "$SESSIONS sessions: each committed change has its row and its time, no other has");
is(ask($main, $LOST), 0, "$SESSIONS sessions: no change without who and when");
is(ask($main, q{SELECT count(*) FROM feature_flag_change AS c WHERE NOT begins AND NOT EXISTS (SELECT FROM feature_flag_history AS h WHERE h.change = c.id)}), 0, "$SESSIONS sessions: no row without a change");
is(ask($main, q{SELECT count(*) FROM (SELECT FROM feature_flag_change WHERE NOT begins GROUP BY transaction HAVING count(DISTINCT at) <> 1) AS t}), 0, "$SESSIONS sessions: one time for each transaction");

no_crash($node);
$_->disconnect for values %session;
$node->stop;
done_testing();
