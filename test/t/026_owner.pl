# Nobody's code runs as somebody else.  Whoever owns a table can make PostgreSQL run code of theirs
# when somebody uses it: in an index, a constraint, a trigger.  The extension's owner is an ordinary
# role, and so is the owner of attached tables.  Here each of them puts such code, a trap, on each of
# their tables, in each way there is.  Then everybody calls every function and writes the attached
# tables in every way.  The trap's code notes as whom it runs, at once and when the transaction is
# committed, and leaves things behind in the session.  Nobody who has not written the table runs it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
# notes go to the server's log, which no rollback undoes; the rest would be much to read through
$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = error\n"
	  . "log_min_error_statement = panic\nlog_error_verbosity = terse\njit = off\n"
	  . 'restart_after_crash = on');
$node->start;

# ---- who

my ($owner, $attacher) = ('regress_fflag_owner', 'regress_fflag_attacher');
my $superuser = ask(session($node), 'SELECT current_user');
my %callers = (
	superuser => $superuser,
	auditor => 'regress_fflag_auditor',
	'flag administrator' => 'flag_admin',
	'owner of attached tables' => $attacher,
	anybody => 'regress_fflag_anybody',
	# of the traps on attached tables
	owner => $owner);

$node->safe_psql('postgres', join ';', map({ "CREATE ROLE $_ LOGIN" } $owner, $attacher, qw(regress_fflag_auditor regress_fflag_anybody regress_fflag_reader)),
	"CREATE DATABASE owned OWNER $owner");
my ($admin) = grep { /CREATE ROLE flag_admin/ } code_blocks('docs/operations.md', 'sql');
$node->safe_psql('owned', "GRANT CREATE ON SCHEMA public TO $owner, $attacher, regress_fflag_anybody");
sub connect_as
{
	my ($role) = @_;
	return session($node, dbname => 'owned', user => $role);
}
my $super = connect_as($superuser);
my $making = connect_as($owner);
my $attaching = connect_as($attacher);
$making->do('CREATE EXTENSION fflag');
$super->do($admin);
$super->do('ALTER ROLE flag_admin LOGIN');
$super->do(q{GRANT SELECT ON ALL TABLES IN SCHEMA public TO regress_fflag_reader});
# the owner of a database chooses what its sessions begin with: here, that the planner reads CHECKs
$making->do($_) for
	'GRANT EXECUTE ON FUNCTION fflag_attach, fflag_detach, fflag_invalidate TO regress_fflag_attacher',
	'GRANT EXECUTE ON FUNCTION fflag_history, fflag_usage, fflag_stale, fflag_explain_at(timestamptz, text, bigint, boolean, boolean),
		fflag_explain_at(timestamptz, text, uuid, boolean, boolean), fflag_explain_at(timestamptz, text, text, boolean, boolean) TO regress_fflag_auditor',
	# so that fflag_stale, if it reads as the caller, gets that far
	'GRANT SELECT ON feature_flag TO regress_fflag_auditor',
	'ALTER DATABASE owned SET constraint_exclusion = on';

# ---- on what

my @own = qw(feature_flag feature_flag_user feature_flag_denied_user feature_flag_variant feature_flag_relation feature_flag_attachment feature_flag_change feature_flag_history);
my @attached = qw(app_flag app_flag_user);
# those that others than their writers have written to
my @unwritten = qw(feature_flag_attachment feature_flag_change feature_flag_history);
my %owner_of = ((map { $_ => $owner } @own), map { $_ => $attacher } @attached);
# a column that an index, a CHECK and so on can be about
my %column = (feature_flag => 'name', feature_flag_user => 'user_id', feature_flag_denied_user => 'user_id', feature_flag_variant => 'name',
	feature_flag_relation => 'kind', feature_flag_attachment => 'flags', feature_flag_change => 'application_name', feature_flag_history => 'kind', app_flag => 'name', app_flag_user => 'user_id');
# one that may get another type, what it has, and its default, which may go with the type
my %spare = (feature_flag => [ 'description', 'text', q{''} ], feature_flag_variant => [ 'payload', 'jsonb' ], feature_flag_relation => [ 'created_at', 'timestamptz', 'now()' ], feature_flag_attachment => [ 'users', 'text' ],
	feature_flag_change => [ 'application_name', 'text' ], feature_flag_history => [ 'new_row', 'jsonb' ],
	app_flag => [ 'note', 'text' ], app_flag_user => [ 'note', 'text' ]);

$attaching->do($_) for
	'CREATE TABLE app_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL, note text)',
	'CREATE TABLE app_flag_user (featureflag_id int NOT NULL REFERENCES app_flag ON DELETE CASCADE, user_id text NOT NULL, note text, PRIMARY KEY (featureflag_id, user_id))',
	"GRANT SELECT ON app_flag, app_flag_user TO $owner, regress_fflag_reader";
my $own_table = connect_as('regress_fflag_anybody');
$own_table->do($_) for 'CREATE TABLE own_table (id int)', map { "CREATE TRIGGER $$_[0] $$_[1] FOR EACH STATEMENT EXECUTE FUNCTION fflag_record()" }
	[ 'i', 'AFTER INSERT ON own_table REFERENCING NEW TABLE AS new' ],
	[ 'u', 'AFTER UPDATE ON own_table REFERENCING OLD TABLE AS old NEW TABLE AS new' ],
	[ 'd', 'AFTER DELETE ON own_table REFERENCING OLD TABLE AS old' ], [ 't', 'BEFORE TRUNCATE ON own_table' ];
$own_table->disconnect;

# ---- the payload: it notes as whom it runs, and leaves behind what runs later, or is found later

$making->do($_) for 'CREATE SCHEMA trap', 'GRANT USAGE, CREATE ON SCHEMA trap TO PUBLIC',
	'CREATE TABLE trap.deferred (label text)', 'GRANT INSERT ON trap.deferred TO PUBLIC',
	q{CREATE FUNCTION trap.later() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE LOG 'TRAP deferred, % as %', NEW.label, current_user; RETURN NULL; END $$},
	'CREATE CONSTRAINT TRIGGER later AFTER INSERT ON trap.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.later()',
	q{CREATE FUNCTION trap.held(label text) RETURNS int LANGUAGE plpgsql AS
		$$ BEGIN RAISE LOG 'TRAP held, % as %', label, current_user; RETURN 1; END $$},
	q{CREATE FUNCTION trap.fire(label text) RETURNS int LANGUAGE plpgsql AS $$
		DECLARE command pg_catalog.text; BEGIN
			RAISE LOG 'TRAP at once, % as %', label, current_user;
			FOREACH command IN ARRAY ARRAY['INSERT INTO trap.deferred VALUES (%2$L)', 'DECLARE %1$I CURSOR WITH HOLD FOR SELECT trap.held(%2$L)',
				'PREPARE %1$I AS SELECT 1', 'CREATE TEMP TABLE %1$I (id int)', 'CREATE DOMAIN pg_temp.%1$I AS int', 'LISTEN %1$I'] LOOP
				BEGIN EXECUTE format(command, concat('leak ', label), label); EXCEPTION WHEN OTHERS THEN NULL; END;
			END LOOP;
			PERFORM set_config(name, concat(current_setting(name, true), ',"leak ', label, '"'), false) FROM pg_catalog.unnest(ARRAY['search_path', 'leak.leak']) AS name;
			RETURN 1;
		END $$},
	# declared to be what an index and so on need, and called with constants by whoever plans
	q{CREATE FUNCTION trap.fold(label text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN trap.fire(label); END $$},
	q{CREATE FUNCTION trap.row(label text, value anyelement, folded int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN trap.fire(label); END $$},
	q{CREATE FUNCTION trap.trigger() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.fire(TG_ARGV[0]); IF TG_OP OPERATOR(pg_catalog.<>) 'DELETE' THEN RETURN NEW; END IF; RETURN OLD; END $$};
# what is left behind in a session
my $left_behind = q{SELECT string_agg(pg_catalog.concat(what, ', ', label), E'\n') FROM (
	SELECT 'prepared statement', name FROM pg_prepared_statements UNION ALL SELECT 'channel', pg_listening_channels()
	UNION ALL SELECT 'temporary table', relname FROM pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_my_temp_schema() AND relkind OPERATOR(pg_catalog.=) 'r'
	UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_my_temp_schema() AND typtype OPERATOR(pg_catalog.=) 'd'
	UNION ALL SELECT name, m[1] FROM pg_catalog.unnest(ARRAY['search_path', 'leak.leak']) AS name, regexp_matches(current_setting(name, true), '"(leak [^"]*)"', 'g') AS m) AS l (what, label)
	WHERE label OPERATOR(pg_catalog.~~) 'leak %'};

# In older minor releases a restricted operation may create a temporary type, which is what the
# session finds first.  The others leave nothing behind but settings, which CREATE INDEX puts back.
$making->do('CREATE TABLE trap.restricted (id int)');
$making->do(q{CREATE INDEX ON trap.restricted (trap.row('index on restricted', id, trap.fold('index on restricted')))});
my $may = ask($making, $left_behind) // '';
like($may, qr/^(?:type, leak index on restricted|)$/, 'what a restricted operation leaves behind');
$left_behind =~ s/UNION ALL SELECT 'type'.*//m if $may;
$making->do('DISCARD ALL');
$making->do('SET client_min_messages = error');

# ---- traps: T is the table, C the column, L the label; S the spare column, B its type

my $row = 'trap.row(L, C, trap.fold(L))';
my $away = 'ALTER TABLE T RENAME TO T_away';
my $view = 'CREATE VIEW T AS SELECT *, trap.fold(L) AS leak FROM T_away;
	CREATE TRIGGER leak INSTEAD OF INSERT OR UPDATE OR DELETE ON T FOR EACH ROW EXECUTE FUNCTION trap.trigger(L)';
my $dml = 'INSERT OR UPDATE OR DELETE';
my @traps = (
	{ name => 'none' },
	{ name => 'expression index', make => "CREATE INDEX T_leak ON T (($row))", drop => 'DROP INDEX T_leak' },
	{ name => 'partial index', make => "CREATE INDEX T_leak ON T (C) WHERE $row = 1", drop => 'DROP INDEX T_leak' },
	{ name => 'statistics', make => "CREATE STATISTICS T_leak ON ($row) FROM T; ANALYZE T", drop => 'DROP STATISTICS T_leak' },
	{ name => 'CHECK', make => "ALTER TABLE T ADD CONSTRAINT leak CHECK ($row = 1)", drop => 'ALTER TABLE T DROP CONSTRAINT leak' },
	{ name => 'generated column', make => "ALTER TABLE T ADD COLUMN leak int GENERATED ALWAYS AS ($row) STORED", drop => 'ALTER TABLE T DROP COLUMN leak' },
	{ name => 'default', make => 'ALTER TABLE T ADD COLUMN leak int; ALTER TABLE T ALTER leak SET DEFAULT trap.fold(L)', drop => 'ALTER TABLE T DROP COLUMN leak' },
	{ name => 'volatile default', make => 'ALTER TABLE T ADD COLUMN leak int; ALTER TABLE T ALTER leak SET DEFAULT trap.fire(L)', drop => 'ALTER TABLE T DROP COLUMN leak' },
	{ name => 'trigger before', make => "CREATE TRIGGER zz_leak BEFORE $dml ON T FOR EACH ROW EXECUTE FUNCTION trap.trigger(L)", drop => 'DROP TRIGGER zz_leak ON T' },
	{ name => 'trigger after', make => "CREATE TRIGGER leak AFTER $dml ON T FOR EACH ROW EXECUTE FUNCTION trap.trigger(L)", drop => 'DROP TRIGGER leak ON T' },
	{ name => 'statement trigger', make => "CREATE TRIGGER leak BEFORE $dml OR TRUNCATE ON T FOR EACH STATEMENT EXECUTE FUNCTION trap.trigger(L)", drop => 'DROP TRIGGER leak ON T' },
	{ name => 'trigger with a condition', make => "CREATE TRIGGER leak BEFORE INSERT OR UPDATE ON T FOR EACH ROW WHEN (trap.row(L, NEW.C, trap.fold(L)) = 1) EXECUTE FUNCTION trap.trigger(L)", drop => 'DROP TRIGGER leak ON T' },
	# if it were on all of them, that on the history would stop who is to fire the others
	{ name => 'deferred trigger', on => \@unwritten, make => "CREATE CONSTRAINT TRIGGER leak AFTER $dml ON T DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.trigger(L)", drop => 'DROP TRIGGER leak ON T', each => 1 },
	{ name => 'rule', make => join(';', map { "CREATE RULE leak_$_ AS ON $_ TO T DO ALSO SELECT trap.fire(L)" } qw(INSERT UPDATE DELETE)),
		drop => join(';', map { "DROP RULE leak_$_ ON T" } qw(INSERT UPDATE DELETE)) },
	# a superuser would not be asked
	{ name => 'policy', make => "CREATE POLICY leak ON T USING ($row = 1); ALTER TABLE T ENABLE ROW LEVEL SECURITY; ALTER TABLE T FORCE ROW LEVEL SECURITY",
		drop => 'DROP POLICY leak ON T; ALTER TABLE T DISABLE ROW LEVEL SECURITY; ALTER TABLE T NO FORCE ROW LEVEL SECURITY', fires_for => 'regress_fflag_reader', on => \@own },
	{ name => 'domain', make => "CREATE DOMAIN trap.T_type AS B CHECK (trap.row(L, VALUE, trap.fold(L)) = 1); ALTER TABLE T ALTER S TYPE trap.T_type",
		drop => 'ALTER TABLE T ALTER S TYPE B; DROP DOMAIN trap.T_type' },
	{ name => 'type with casts', make => q{CREATE TYPE trap.T_type AS (value B);
		CREATE FUNCTION trap.T_in(value B) RETURNS trap.T_type LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.fire(L); RETURN ROW(value); END $$;
		CREATE FUNCTION trap.T_out(value trap.T_type) RETURNS B LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.fire(L); RETURN value.value; END $$;
		CREATE FUNCTION trap.T_json(value trap.T_type) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.fire(L); RETURN to_json(value.value); END $$;
		CREATE CAST (B AS trap.T_type) WITH FUNCTION trap.T_in AS IMPLICIT;
		CREATE CAST (trap.T_type AS B) WITH FUNCTION trap.T_out AS IMPLICIT;
		CREATE CAST (trap.T_type AS json) WITH FUNCTION trap.T_json;
		ALTER TABLE T ALTER S TYPE trap.T_type USING ROW(S)::trap.T_type},
		drop => 'ALTER TABLE T ALTER S TYPE B USING (S).value; DROP TYPE trap.T_type CASCADE', fires_by => 'SELECT CAST(S AS B) FROM T', each => 1 },
	{ name => 'child', make => "CREATE TABLE trap.T_child () INHERITS (T); CREATE INDEX T_leak ON trap.T_child (($row))", drop => 'DROP TABLE trap.T_child' },
	# of a table of the owner's, to which a new column refers; 19 looks into its index, without a query
	(map { { name => $_ ? 'deferred foreign key' : 'foreign key', make => "CREATE TABLE trap.T_child (id int PRIMARY KEY); INSERT INTO trap.T_child VALUES (1);
		CREATE INDEX T_leak ON trap.T_child ((trap.row(L, id, trap.fold(L))));
		ALTER TABLE T ADD COLUMN leak int DEFAULT 1 REFERENCES trap.T_child" . ($_ ? ' DEFERRABLE INITIALLY DEFERRED' : ''), drop => 'ALTER TABLE T DROP COLUMN leak; DROP TABLE trap.T_child',
		fires_by => 'UPDATE T SET leak = NULL; UPDATE T SET leak = 1', as => 'its owner',
		each => 1, on => \@unwritten } } $node->pg_version < '19devel' ? (0, 1) : ()),
	# one that counts as the extension's
	{ name => 'trigger of the extension', make => "CREATE FUNCTION trap.T_own() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM trap.fire(L); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END \$\$;
		ALTER EXTENSION fflag ADD FUNCTION trap.T_own(); CREATE TRIGGER zz_leak BEFORE $dml ON T FOR EACH ROW EXECUTE FUNCTION trap.T_own()",
		drop => 'DROP TRIGGER zz_leak ON T; ALTER EXTENSION fflag DROP FUNCTION trap.T_own(); DROP FUNCTION trap.T_own()', on => \@own },
	# these are in a table's place, one table at a time
	{ name => 'view', make => "$away; $view", drop => 'DROP VIEW T', back => 1, each => 1, on => [ 'feature_flag', 'feature_flag_history' ] },
	{ name => 'view of the extension', make => "$away; $view; ALTER EXTENSION fflag ADD VIEW T", drop => 'ALTER EXTENSION fflag DROP VIEW T; DROP VIEW T', back => 1, each => 1, on => \@own },
	{ name => 'table of the extension', make => "$away; CREATE TABLE T (LIKE T_away INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY INCLUDING INDEXES);
		CREATE INDEX T_leak ON T (($row)); CREATE TRIGGER leak BEFORE $dml ON T FOR EACH ROW EXECUTE FUNCTION trap.trigger(L);
		INSERT INTO T OVERRIDING SYSTEM VALUE SELECT * FROM T_away; ALTER EXTENSION fflag ADD TABLE T", drop => 'ALTER EXTENSION fflag DROP TABLE T; DROP TABLE T', back => 1, each => 1, on => \@own },
	# These are on no table, and nobody runs them as anybody: the owner of the database decides in which
	# order schemas are searched, and whoever calls has a schema of temporary objects, searched first.
	{ name => 'operators', search_path => 'trap, pg_catalog, public',
		fires_by => [ q{SELECT 'a'::text = 'b'}, q{SELECT 1 <> 2}, q{SELECT floor(1.5)}, q{SELECT '{}'::jsonb = '{}'}, 'SELECT now() <= now()' ] },
	{ name => 'types', session => [ map { "CREATE DOMAIN pg_temp.$_ AS pg_catalog.$_ CHECK (trap.row('types on search_path', VALUE, trap.fold('types on search_path')) = 1)" }
			qw(text uuid jsonb timestamptz name xid8 tid) ], fires_by => [ q{SELECT 'a'::text}, q{SELECT '{}'::jsonb} ] });
# what the former are: for all types that are compared somewhere, and functions of the catalog
for my $type (qw(text bigint int uuid jsonb timestamptz boolean numeric xid8 tid name oid))
{
	$making->do("CREATE FUNCTION trap.compare(a $type, b $type) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN PERFORM trap.fire('operators on search_path'); RETURN true; END \$\$");
	$making->do("CREATE OPERATOR trap.$_ (LEFTARG = $type, RIGHTARG = $type, FUNCTION = trap.compare)") for qw(= <> < > <= >=);
}
for ([ 'floor(a numeric)', 'numeric', 'a' ], [ 'isfinite(a timestamptz)', 'boolean', 'true' ], [ 'to_jsonb(a anyelement)', 'jsonb', 'NULL' ], [ 'unnest(a anyarray)', 'SETOF anyelement', '' ],
	[ 'gen_random_uuid()', 'uuid', 'NULL' ], [ '"left"(a text, b int)', 'text', 'a' ], [ 'jsonb_each(a jsonb, OUT key text, OUT value jsonb)', 'SETOF record', '' ])
{
	my ($function, $result, $value) = @$_;
	$making->do("CREATE FUNCTION trap.$function RETURNS $result LANGUAGE plpgsql AS \$\$ BEGIN PERFORM trap.fire('operators on search_path'); RETURN $value; END \$\$");
}

# ---- calls

my %id = (bigint => '1', uuid => q{'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid}, text => q{'x'::pg_catalog.text});
# By the function's name, with [] for an overload that takes an array of ids or names.  ID stands for
# an id of the overload's type.  Functions that are not here, and take part in no SQL, fail the test.
my %calls = (
	fflag_enabled => q{SELECT fflag_enabled('f', ID), fflag_enabled('g', ID)},
	'fflag_enabled[]' => q{SELECT fflag_enabled('f', ARRAY[ID])},
	'fflag_enabled_all[]' => q{SELECT fflag_enabled_all('f', ARRAY[ID], ARRAY[false])},
	'fflag_select[]' => q{SELECT fflag_select('f', ARRAY[ID])},
	fflag_flags => q{SELECT fflag_flags(ID)},
	fflag_explain => q{SELECT fflag_explain('f', ID)},
	fflag_evaluate => q{SELECT fflag_evaluate('f', ID), fflag_evaluate('g', ID)},
	'fflag_evaluate[]' => q{SELECT fflag_evaluate(ARRAY['f', 'g'], ID), fflag_evaluate(NULL::pg_catalog.text[], ID)},
	fflag_variant => q{SELECT fflag_variant('f', ID)},
	fflag_variant_payload => q{SELECT fflag_variant_payload('f', ID)},
	fflag_bucket => q{SELECT fflag_bucket('f', ID)},
	fflag_history => q{SELECT fflag_history(), fflag_history('f', true)},
	fflag_explain_at => q{SELECT fflag_explain_at(now(), 'f', ID), fflag_explain_at(now(), 'g', ID), fflag_explain_at('3000-01-01', 'g', ID)},
	fflag_usage => 'SELECT fflag_usage()',
	fflag_usage_reset => 'SELECT fflag_usage_reset()',
	fflag_stale => q{SELECT fflag_stale('0 days')},
	fflag_cache => 'SELECT fflag_cache()',
	fflag_register => q{SELECT fflag_register(concat('flag ', clock_timestamp()))},
	'fflag_register[]' => q{SELECT fflag_register(ARRAY['f', concat('flag ', clock_timestamp())])},
	fflag_rename => q{SELECT fflag_rename('g', 'g')},
	fflag_enable => q{SELECT fflag_enable('f')},
	fflag_disable => q{SELECT fflag_disable('g')},
	fflag_rollout => q{SELECT fflag_rollout('f', 50)},
	fflag_ramp => q{SELECT fflag_ramp('g', 60, '1 day')},
	fflag_schedule => q{SELECT fflag_schedule('g', NULL, '2100-01-01')},
	'fflag_require[]' => q{SELECT fflag_unrelate('g', 'f'), fflag_require('g', 'f', VARIADIC '{}')},
	'fflag_exclude[]' => q{SELECT fflag_unrelate('g', 'f'), fflag_exclude('g', 'f', VARIADIC '{}')},
	'fflag_include[]' => q{SELECT fflag_unrelate('g', 'f'), fflag_include('g', 'f', NULL, VARIADIC '{}')},
	fflag_unrelate => q{SELECT fflag_unrelate('g', 'f')},
	'fflag_group[]' => q{SELECT fflag_group('group', ID)},
	'fflag_allow[]' => q{SELECT fflag_allow('f', ID)},
	'fflag_disallow[]' => q{SELECT fflag_disallow('f', ID)},
	'fflag_deny[]' => q{SELECT fflag_deny('f', ID)},
	'fflag_undeny[]' => q{SELECT fflag_undeny('f', ID)},
	fflag_variants => q{SELECT fflag_variants('f', '{"a": 1, "b": 2}')},
	'fflag_export[]' => 'SELECT fflag_export(lists => true)',
	fflag_import => q{SELECT count(*) FROM fflag_import('{"fflag": 1, "flags": [{"name": "f", "metadata": {"n": 1}}, {"name": "g"}]}')},
	fflag_prune_history => q{SELECT fflag_prune_history(now() OPERATOR(pg_catalog.-) '1 second'::interval)},
	fflag_attach => q{SELECT fflag_attach('app_flag', 'app_flag_user')},
	fflag_detach => 'SELECT fflag_detach()');

# What lies outside: functions that read and write these tables as a plain statement of their caller
# would.  PostgreSQL runs a table's triggers, defaults, constraints and so on as whoever writes it, so
# that a writer trusts its owner.  It does not follow for other tables: not for those of the history.
my %writes = ((map { $_ => ['feature_flag'] } map { "fflag_$_" } qw(register register[] rename enable disable rollout ramp schedule)),
	(map { $_ => [ 'feature_flag', 'feature_flag_relation' ] } 'fflag_require[]', 'fflag_exclude[]', 'fflag_include[]', 'fflag_unrelate'),
	(map { $_ => [ 'feature_flag', 'feature_flag_user' ] } 'fflag_allow[]', 'fflag_disallow[]', 'fflag_group[]'),
	(map { $_ => [ 'feature_flag', 'feature_flag_denied_user' ] } 'fflag_deny[]', 'fflag_undeny[]'),
	fflag_variants => [ 'feature_flag', 'feature_flag_variant' ],
	fflag_import => ['feature_flag'],
	# it writes nothing; but of attached tables it makes no document
	'fflag_export[]' => []);

# Statements, each with the tables that it writes, foreign keys' included.
my @lists = map { [ 'feature_flag', $_ ] } qw(feature_flag_user feature_flag_denied_user feature_flag_variant feature_flag_relation);
my @plain = (
	[ q{SELECT id FROM generate_series(1, 5) AS id WHERE fflag_enabled('f', id) AND fflag_enabled('g', 1) AND fflag_variant('f', id) IS NULL}, [], 'everybody' ],
	[ q{SELECT f FROM generate_series(1, 5) AS id, fflag_select('f', ARRAY[1, 2]) AS f WHERE f OPERATOR(pg_catalog.=) id}, [], 'everybody' ],
	[ q{INSERT INTO feature_flag (name) VALUES (concat('flag ', clock_timestamp()))}, ['feature_flag'], 'flag administrator' ],
	[ q{UPDATE feature_flag SET enabled = NOT enabled}, ['feature_flag'], 'flag administrator' ],
	[ q{MERGE INTO feature_flag AS f USING (VALUES ('f'), ('m')) AS v (name) ON f.name OPERATOR(pg_catalog.=) v.name
		WHEN MATCHED THEN UPDATE SET enabled = true WHEN NOT MATCHED THEN INSERT (name) VALUES (v.name)}, ['feature_flag'], 'flag administrator' ],
	[ q{COPY feature_flag_user (flag_id, user_id) FROM STDIN}, $lists[0], 'flag administrator', "1\tcopied\n" ],
	[ q{UPDATE feature_flag_user SET user_id = concat(user_id, clock_timestamp())}, $lists[0], 'flag administrator' ],
	[ q{INSERT INTO feature_flag_denied_user (flag_id, user_id) VALUES (1, 'd') ON CONFLICT DO NOTHING}, $lists[1], 'flag administrator' ],
	[ q{DELETE FROM feature_flag_denied_user}, $lists[1], 'flag administrator' ],
	[ q{INSERT INTO feature_flag_variant (flag_id, name) VALUES (1, 'c') ON CONFLICT (flag_id, name) DO UPDATE SET weight = 2}, $lists[2], 'flag administrator' ],
	[ q{DELETE FROM feature_flag_variant WHERE name OPERATOR(pg_catalog.=) 'c'}, $lists[2], 'flag administrator' ],
	[ q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) VALUES (2, 1, 'includes') ON CONFLICT (flag_id, other_id, other_variant) DO UPDATE SET kind = 'includes'}, $lists[3], 'flag administrator' ],
	[ q{UPDATE feature_flag_relation SET kind = 'excludes'}, $lists[3], 'flag administrator' ],
	[ q{DELETE FROM feature_flag_relation}, $lists[3], 'flag administrator' ],
	[ q{DELETE FROM feature_flag WHERE id OPERATOR(pg_catalog.>) 2}, [ 'feature_flag', map { $$_[1] } @lists ], 'flag administrator' ],
	[ q{TRUNCATE feature_flag_denied_user}, $lists[1], 'superuser' ],
	[ q{INSERT INTO own_table VALUES (1)}, [], 'anybody' ],
	[ q{UPDATE own_table SET id = id}, [], 'anybody' ],
	[ q{DELETE FROM own_table}, [], 'anybody' ],
	[ q{TRUNCATE own_table}, [], 'anybody' ]);
my $me = 'owner of attached tables';
my @attached_writes = (
	[ q{INSERT INTO app_flag VALUES (2, 'two', true, false, 50), (3, 'three', true, false, 50)}, \@attached, $me ],
	[ q{INSERT INTO app_flag VALUES (2, 'two', true, false, 50) ON CONFLICT (id) DO UPDATE SET enabled = false}, \@attached, $me ],
	[ q{INSERT INTO app_flag_user VALUES (2, 'x'), (3, 'y')}, \@attached, $me ],
	[ q{COPY app_flag_user FROM STDIN}, \@attached, $me, "2\tcopied\t\\N\n3\tcopied\t\\N\n" ],
	[ q{UPDATE app_flag SET enabled = NOT enabled}, \@attached, $me ],
	[ q{UPDATE app_flag SET name = concat(name, '2') WHERE id OPERATOR(pg_catalog.<>) 1 RETURNING fflag_enabled(name, 1)}, \@attached, $me ],
	[ q{UPDATE app_flag_user SET user_id = concat(user_id, '2')}, \@attached, $me ],
	[ q{BEGIN; SAVEPOINT s; UPDATE app_flag SET enabled = NOT enabled; ROLLBACK TO s; UPDATE app_flag SET staff_only = NOT staff_only; COMMIT}, \@attached, $me ],
	[ q{BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE app_flag SET enabled = NOT enabled; SET CONSTRAINTS ALL IMMEDIATE; COMMIT}, \@attached, $me ],
	[ q{MERGE INTO app_flag AS f USING (VALUES (1), (4)) AS v (id) ON f.id OPERATOR(pg_catalog.=) v.id WHEN MATCHED THEN UPDATE SET enabled = true
		WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged', true, false, 0)}, \@attached, $me ],
	[ q{WITH gone AS (DELETE FROM app_flag_user WHERE user_id OPERATOR(pg_catalog.<>) 'copied2' RETURNING *) SELECT count(*) FROM gone}, \@attached, $me ],
	[ q{DELETE FROM app_flag WHERE id OPERATOR(pg_catalog.<>) 1}, \@attached, $me ],
	[ q{TRUNCATE app_flag_user}, \@attached, $me ],
	[ q{TRUNCATE app_flag CASCADE}, \@attached, $me ],
	[ q{INSERT INTO app_flag VALUES (1, 'f', true, false, 50)}, \@attached, $me ]);
# What changes the attachment goes last.
my $attach = $calls{fflag_attach};
my @attachment_writes = (
	[ 'SELECT fflag_detach()', [], $me ], [ $attach, [], $me ], [ $attach, [], $me ],
	[ 'SELECT fflag_detach()', [], 'superuser' ], [ $attach, [], 'superuser' ],
	[ 'UPDATE feature_flag_attachment SET flags = flags', ['feature_flag_attachment'], 'superuser' ],
	[ 'DELETE FROM feature_flag_attachment', ['feature_flag_attachment'], 'superuser' ], [ $attach, [], 'superuser' ],
	[ 'TRUNCATE feature_flag_attachment', ['feature_flag_attachment'], 'superuser' ], [ $attach, [], $me ]);

# Every function of the extension, as calls.
my @functions;
for (@{ $super->selectall_arrayref(q{SELECT p.oid, proname, oidvectortypes(proargtypes), 'trigger'::regtype = prorettype OR 'internal'::regtype = prorettype
	FROM pg_proc AS p JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fflag') ORDER BY 2, 3}) })
{
	my ($oid, $name, $types, $internal) = @$_;
	next if $internal;
	my ($id) = $types =~ /^(?:timestamp with time zone, )?(?:text, )?(bigint|uuid|text)\b/;
	my $key = $name . ($types =~ /\[\]/ ? '[]' : '');
	my $call = $calls{$key};
	ok($call, "$name($types) is called") or next;
	my $overloaded = $call =~ /\bID\b/;
	$call =~ s/\bID\b/$id{$id}/g if $overloaded;
	push @functions, { oid => $oid, key => $key, call => [ $call, $writes{$key} // [] ], what => "$name($types)",
		# the code is that of the overload for bigint
		overload => $overloaded && $id ne 'bigint' };
}

# ---- what happens

open my $log, '<', $node->logfile or die $!;
# Notes since the last call, or since the log was last read to its end.
sub notes
{
	local $/ = undef;
	seek $log, 0, 1;
	my $text = <$log> // '';
	return $text =~ /LOG:  TRAP (\S.*)$/mg;
}

# Makes every session forget what it knows of the tables that have traps, and of their indexes, so
# that plans and expressions are made anew: they may have run their code already.
my @relids;
sub find_relids
{
	my (@tables) = @_;
	@relids = @{ $super->selectcol_arrayref('SELECT oid FROM pg_class WHERE relname = ANY (?)', {}, [ map { ($_, "${_}_leak", "${_}_child") } @tables ]) };
	return;
}
sub poke
{
	$super->do('UPDATE pg_class SET relname = relname WHERE oid IN (' . join(',', @relids) . ')') if @relids;
	return;
}

# Runs one command, and returns what nobody may see happen: notes and things left behind of traps
# on tables that the command does not write, but for what their owner does.
# The extension refuses these tables if there is code in them: then none runs at all.
my %unused = map { $_ => 1 } qw(feature_flag_attachment feature_flag_change feature_flag_history);
my %outside;
my %failures;
sub try
{
	my ($caller, $session, $call, $what) = @_;
	my ($command, $writes, undef, $data) = @$call;
	my %written = map { $_ => 1 } @$writes;
	my @bad;

	poke();
	eval {
		$session->do($command);
		if (defined $data)
		{
			$session->pg_putcopydata($data);
			$session->pg_putcopyend;
		}
		1;
	} or $failures{$what} = $session->errstr;
	eval { $session->do('ROLLBACK') } if $session->ping > 1;
	my @notes = notes();
	my $left = @notes ? ask($session, $left_behind) // '' : '';
	for (@notes, map { s/, leak /, /r . ' as ' . $callers{$caller} } split /\n/, $left)
	{
		my ($when, $trap, $table, $role) = /^(.*), (.*) on (\S+) as (\S+)$/ or die "what is \"$_\"?";
		$outside{$what}{$table} = 1 if $role ne ($owner_of{$table} // '') && $written{$table};
		push @bad, [ "$table, as $role", $when, $what ] if ($unused{$table} || $role ne ($owner_of{$table} // '')) && !$written{$table};
	}
	if ($left)
	{
		$session->do('DISCARD ALL');
		$session->do('SET client_min_messages = error');
		notes();
	}
	return @bad;
}

# What try() has returned, with the calls of which it is true.
sub describe
{
	my (%when, %calls);
	for (@_)
	{
		my ($where, $when, $what) = @$_;
		$when{$where}{$what}{$when} = 1;
	}
	for my $where (keys %when)
	{
		for my $what (sort keys %{ $when{$where} })
		{
			my $short = substr $what =~ s/\s+/ /gr =~ s/^(fflag_\w+)\(.*/$1/r =~ s/^SELECT (fflag_\w+)\(.*/$1/r, 0, 50;

			$calls{"on $where (" . join(', ', sort keys %{ $when{$where}{$what} }) . ')'}{$short} = 1;
		}
	}
	return join "\n", map { "$_: " . join '; ', sort keys %{ $calls{$_} } } sort keys %calls;
}

# The SQL of a trap on a table.
sub fill_in
{
	my ($trap, $table, $sql) = @_;
	my ($column, $type) = @{ $spare{$table} // [] };
	my %value = (T => $table, C => $column{$table}, L => "'$$trap{name} on $table'", S => $column, B => $type);
	return $sql =~ s/(?<![A-Za-z0-9])([TCLSB])(?=_(?:leak|away|type|in|out|json|child|own)\b|\b)/$value{$1}/gr;
}

sub run_as_owner_of
{
	my ($table, $sql) = @_;
	my $session = $owner_of{$table} eq $owner ? $making : $attaching;
	$session->do($sql);
	return;
}

# Flags and lists as they are before each round.
sub reset_flags
{
	my ($is_attached) = @_;
	$attaching->do($_) for 'DELETE FROM app_flag', q{INSERT INTO app_flag VALUES (1, 'f', true, false, 50)}, q{INSERT INTO app_flag_user VALUES (1, 'x')};
	$attaching->do('SELECT fflag_detach()') if ask($making, 'SELECT count(*) FROM feature_flag_attachment');
	$making->do($_) for 'TRUNCATE feature_flag CASCADE', 'DELETE FROM feature_flag_history', 'DELETE FROM feature_flag_change WHERE NOT begins', 'ALTER SEQUENCE feature_flag_id_seq RESTART',
		q{SELECT fflag_register(ARRAY['f', 'g'], true, 50)}, q{SELECT fflag_allow('f', 'x', 'y'), fflag_deny('f', 'd'), fflag_variants('f', '{"a": 1, "b": 1}'), fflag_require('g', 'f')};
	$attaching->do($attach) if $is_attached;
	return;
}

sub make_traps
{
	my ($trap, @tables) = @_;
	run_as_owner_of($_, fill_in($trap, $_, $trap->{make})) for @tables;
	find_relids(@tables);
	return;
}

sub drop_traps
{
	my ($trap, @tables) = @_;
	for my $table (@tables)
	{
		run_as_owner_of($table, fill_in($trap, $table, $trap->{drop}));
		run_as_owner_of($table, "ALTER TABLE ${table}_away RENAME TO $table") if $trap->{back};
		my ($column, undef, $default) = @{ $spare{$table} // [] };
		run_as_owner_of($table, "ALTER TABLE $table ALTER $column SET DEFAULT $default") if $default;
	}
	return;
}

# Sees that the traps are alive: plain SQL fires them, as whoever runs it.
sub are_alive
{
	my ($trap, @tables) = @_;
	my $role = $trap->{fires_for} // $superuser;
	my $session = connect_as($role);
	my %seen;

	$session->do($_) for @{ $trap->{session} // [] };
	notes();
	for my $table (@tables)
	{
		for my $command ($trap->{fires_by} // (), 'SELECT * FROM T', 'INSERT INTO T DEFAULT VALUES', 'UPDATE T SET C = C', 'DELETE FROM T')
		{
			next if $seen{$table};
			poke();
			$session->begin_work;
			eval { $session->do(fill_in($trap, $table, $command)); $session->do('SET CONSTRAINTS ALL IMMEDIATE') };
			$session->rollback;
			/^at once, .* on (\S+) as (\S+)$/ && $2 eq ($trap->{as} ? $owner_of{$1} : $role) and $seen{$1} = 1 for notes();
		}
	}
	is(join(' ', grep { !$seen{$_} } @tables), '', "$trap->{name}: alive on @tables") if @tables;
	for my $command (@tables ? () : @{ $trap->{fires_by} // [] })
	{
		$session->do($command);
		is(join(' ', grep { /^at once, .* as \Q$role\E$/ } notes()) ne '', 1, "$trap->{name}: alive in $command");
	}
	$session->disconnect;
	return;
}

sub run_round
{
	my ($trap, @tables) = @_;
	my $title = "$trap->{name}" . (@tables == 1 ? " on @tables" : '');
	my %bad;
	my $calls = 0;
	my $failed = 0;

	for my $is_attached (0, 1)
	{
		my %session;
		reset_flags($is_attached);
		make_traps($trap, @tables);
		$making->do("ALTER DATABASE owned SET search_path = $trap->{search_path}") if $trap->{search_path};
		are_alive($trap, @tables) if $is_attached;
		%failures = ();
		for my $caller (sort keys %callers)
		{
			my $role = $callers{$caller};
			my %may = map { $_ => 1 } @{ $super->selectcol_arrayref(q{SELECT oid FROM pg_proc WHERE proname LIKE 'fflag%' AND has_function_privilege(?, oid, 'EXECUTE')}, {}, $role) };
			my @calls = map { [ $_->{call}, $_->{what} ] } grep { $may{ $_->{oid} } && $_->{key} !~ /attach|detach/
				&& !($is_attached && $writes{ $_->{key} }) && !($_->{overload} && ($caller ne 'superuser' || $trap->{each})) } @functions;
			push @calls, map { [ $_, $$_[0] ] } grep { $$_[2] eq $caller || $$_[2] eq 'everybody' } $is_attached ? @attached_writes : @plain;
			$session{$caller} = connect_as($role);
			$session{$caller}->do($_) for @{ $trap->{session} // [] };
			notes();
			for (@calls)
			{
				$calls++;
				push @{ $bad{$caller} }, try($caller, $session{$caller}, @$_);
			}
		}
		for my $call ($is_attached ? @attachment_writes : ([ $attach, [], $me ], [ $attach, [], 'superuser' ]))
		{
			my $caller = $$call[2];
			$calls++;
			push @{ $bad{$caller} }, try($caller, $session{$caller}, $call, $$call[0]);
		}
		if ($trap->{name} eq 'none')
		{
			is(join("\n", map { "$_: $failures{$_}" } sort keys %failures), '', "$title: each call succeeds");
		}
		$failed += keys %failures;
		note("$title: $_: $failures{$_}") for sort keys %failures;
		$_->disconnect for values %session;
		$making->do('ALTER DATABASE owned RESET search_path') if $trap->{search_path};
		drop_traps($trap, @tables);
	}
	for my $caller (sort keys %callers)
	{
		my @bad = @{ $bad{$caller} // [] };
		is(scalar(@bad), 0, "$title: $caller") or diag describe(@bad);
	}
	note("$title: $calls calls, $failed different ones fail");
	return;
}

for my $trap (@traps)
{
	my @tables = grep { $trap->{make} && ($trap->{make} !~ /\bS\b/ || $spare{$_}) } @{ $trap->{on} // [ @own, @attached ] };

	run_round($trap, @$_) for $trap->{each} ? map { [$_] } @tables : [@tables];
}

# nothing is called a writer that is none
is(join(', ', map { my $f = $_; map { $outside{ $f->{what} }{$_} || $f->{overload} ? () : "$f->{what} on $_" } @{ $f->{call}[1] } } @functions), '',
	'what lies outside runs code of the owner, as any writer does');

# ---- of an attached table, the history has the columns that evaluation reads, and nothing else

reset_flags(0);
$attaching->do(q{CREATE TYPE mood AS ENUM ('good')});
my $attach_secret = q{SELECT fflag_attach('secret_flag', 'secret_flag_user')};
# A table of flags and one of users, with further columns.
sub create_secret
{
	my (%columns) = @_;
	my $columns = join '', map { ", $_ $columns{$_}" } sort keys %columns;

	$attaching->do($_) for "CREATE TABLE secret_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL$columns)",
		"CREATE TABLE secret_flag_user (featureflag_id int NOT NULL, user_id int NOT NULL$columns, PRIMARY KEY (featureflag_id, user_id))",
		"GRANT SELECT ON secret_flag, secret_flag_user TO $owner", $attach_secret;
	return;
}
sub drop_secret
{
	$attaching->do('DROP TABLE secret_flag, secret_flag_user');
	$making->do('DELETE FROM feature_flag_attachment');
	return;
}
my %allowed = map { $_ => 1 } qw(id name enabled staff_only rollout_percentage flag_id featureflag_id user_id);
my $images = q{FROM feature_flag_history, unnest(ARRAY[old_row, new_row]) AS image WHERE attached AND kind IN ('flag', 'user') AND image IS NOT NULL};
my $forged = q{'{"id": 77, "name": "forged", "enabled": false, "staff_only": false, "rollout_percentage": 0, "featureflag_id": 77, "user_id": 77}'};
for (
	[ 'a text', 'text', q{'confidential'} ],
	[ 'a type of somebody', 'mood', q{'good'} ],
	[ 'a document with \u0000', 'json', q{'{"a": "\u0000"}'} ],
	[ 'a number that only json takes', 'json', q{'[1e200000]'} ],
	[ '256 MB', 'text', q{repeat('confidential', 22369622)} ],
	[ 'an image of another row', 'jsonb', $forged ],
	[ 'the same, beside a type of somebody', 'jsonb', $forged, mood => 'mood' ])
{
	my ($what, $type, $value, %more) = @$_;
	my $column = $value eq $forged ? 'fflag_texts' : 'secret';
	my $before = ask($super, "SELECT count(*) $images");
	my $at;

	create_secret($column => $type, %more);
	for my $command ("INSERT INTO secret_flag (id, name, enabled, staff_only, rollout_percentage, $column) VALUES (1, 'real', true, false, 100, $value)",
		"INSERT INTO secret_flag_user (featureflag_id, user_id, $column) VALUES (1, 1, $value)",
		'UPDATE secret_flag SET enabled = true', 'UPDATE secret_flag SET staff_only = true', 'UPDATE secret_flag SET staff_only = false', 'UPDATE secret_flag_user SET user_id = 2',
		'SELECT fflag_detach()', $attach_secret, 'DELETE FROM secret_flag_user', 'DELETE FROM secret_flag')
	{
		is((split /\n/, error_of($attaching, $command))[0], 'no error', "$what: " . substr $command, 0, 60);
		$at = ask($making, 'SELECT clock_timestamp()') if $command eq $attach_secret;
	}
	is(eval { ask($making, "SELECT rule FROM fflag_explain_at('$at', 'real', 2)") } // $making->errstr, 'full_rollout', "$what: the flag as it was");
	is(ask($super, "SELECT count(*) $images AND image::text ~ 'confidential|good|forged|77'"), 0, "$what: not in the history");
	is(join(' ', grep { !$allowed{$_} } @{ $super->selectcol_arrayref("SELECT DISTINCT jsonb_object_keys(image) $images AND jsonb_typeof(image) = 'object' ORDER BY 1") }), '',
		"$what: only columns that evaluation reads");
	cmp_ok(ask($super, "SELECT count(*) $images"), '>', $before + 5, "$what: but these");
	$super->do("DELETE FROM feature_flag_history WHERE attached");
	drop_secret();
}

# what the owner may not read is a gap
create_secret();
for ([ 'SELECT revoked', "REVOKE SELECT ON secret_flag, secret_flag_user FROM $owner" ],
	[ 'SELECT on columns that evaluation reads', "GRANT SELECT (id, name, enabled, staff_only, rollout_percentage) ON secret_flag TO $owner;
		GRANT SELECT (featureflag_id, user_id) ON secret_flag_user TO $owner" ],
	[ 'row-level security', "GRANT SELECT ON secret_flag, secret_flag_user TO $owner; ALTER TABLE secret_flag ENABLE ROW LEVEL SECURITY; ALTER TABLE secret_flag_user ENABLE ROW LEVEL SECURITY" ])
{
	my ($what, $command) = @$_;
	$attaching->do($command);
	for my $write (q{INSERT INTO secret_flag VALUES (1, 'hidden', true, false, 100)}, 'INSERT INTO secret_flag_user VALUES (1, 4711)', 'UPDATE secret_flag SET enabled = NOT enabled',
		'UPDATE secret_flag_user SET user_id = 4712', 'DELETE FROM secret_flag_user', 'DELETE FROM secret_flag', q{INSERT INTO secret_flag VALUES (1, 'hidden', true, false, 100)}, 'TRUNCATE secret_flag')
	{
		my $gaps = ask($super, q{SELECT count(*) FROM feature_flag_history WHERE kind = 'gap'});

		is((split /\n/, error_of($attaching, $write))[0], 'no error', "$what: $write");
		cmp_ok(ask($super, q{SELECT count(*) FROM feature_flag_history WHERE kind = 'gap'}), '>', $gaps, "$what: $write: a gap");
	}
	is(ask($super, q{SELECT count(*) FROM feature_flag_history AS h WHERE kind IN ('flag', 'user') AND concat(name, user_id, old_row, new_row) ~ 'hidden|471[12]'}), 0, "$what: the history tells nothing");
	# the owner ends the attachment, and gets nothing by that
	$attaching->do(q{INSERT INTO secret_flag VALUES (1, 'hidden', true, false, 100); INSERT INTO secret_flag_user VALUES (1, 4711)});
	for my $ending ('DELETE FROM feature_flag_attachment', 'TRUNCATE feature_flag_attachment')
	{
		$making->begin_work;
		is(error_of($making, $ending), 'no error', "$what: $ending");
		is(ask($making, q{SELECT count(*) FROM feature_flag_history AS h WHERE kind IN ('flag', 'user') AND change = (SELECT id FROM feature_flag_change WHERE at IS NULL)}),
			0, "$what: $ending copies nothing");
		$making->rollback;
	}
	$attaching->do('DELETE FROM secret_flag; DELETE FROM secret_flag_user');
	$super->do(q{DELETE FROM feature_flag_history WHERE name = 'hidden' OR user_id ~ '^471'});
}
# nor does the owner lock a table that is not theirs, by saying that it was attached
$super->do('CREATE TABLE not_attached (id int, name text); REVOKE ALL ON not_attached FROM PUBLIC');
$making->begin_work;
$making->do(q{UPDATE feature_flag_attachment SET flags = 'public.not_attached', flags_oid = 'not_attached'::regclass});
$making->do('DELETE FROM feature_flag_attachment');
is(ask($super, q{SELECT string_agg(mode, ' ') FROM pg_locks WHERE relation = 'not_attached'::regclass AND mode <> 'AccessShareLock'}) // '', '', 'the owner locks no table of others');
$making->rollback;

# ---- the owner writes into the history what it does not expect; nobody's session ends by that

drop_secret();
reset_flags(0);
$making->do('UPDATE feature_flag SET rollout_percentage = 100');
my $at = ask($making, 'SELECT clock_timestamp()');
$making->do($_) for q{SELECT fflag_variants('f', '{"a": 1, "b": 3}'), fflag_allow('f', 'z'), fflag_undeny('f', 'd')}, q{UPDATE feature_flag SET description = 'changed'},
	"CREATE TYPE trap.word AS ENUM ('flag', 'user', 'variant')", q{CREATE FUNCTION trap.word_out(w trap.word) RETURNS text LANGUAGE sql RETURN 'f'},
	'CREATE CAST (trap.word AS text) WITH FUNCTION trap.word_out AS IMPLICIT';
# two flags that depended on each other: an error, and no endless search
{
	my $session = connect_as($owner);
	$session->do($_) for q{SELECT fflag_enable('g'), fflag_require('g', 'f')}, "SET statement_timeout = '5s'";
	my $then = ask($session, 'SELECT clock_timestamp()');
	$session->do($_) for q{SELECT fflag_unrelate('g', 'f')},
		q{INSERT INTO feature_flag_history SELECT change, sequence, kind, attached, operation, name, '1', user_id, since, old_row || '{"id": "4711", "flag_id": "1", "other_id": "2"}', new_row
			FROM feature_flag_history WHERE kind = 'relation' AND operation = 'delete' ORDER BY sequence DESC LIMIT 1};
	eval { ask($session, "SELECT fflag_explain_at('$then', 'g', 1)") };
	is($session->state, '23514', 'flags that seem to have depended on each other: ' . ($session->errstr // 'no error'));
	$session->disconnect;
}

# columns of other types, and without values
my @columns = map { my $table = $_; map { [ $table, $_ ] } @{ $super->selectcol_arrayref("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 ORDER BY attnum") } }
	'feature_flag_change', 'feature_flag_history';
$_->disconnect for $super, $making, $attaching;
for (@columns)
{
	my ($table, $column) = @$_;
	my @crashed;

	for my $type ('NULL', '"char"', 'name', 'bigint', 'trap.word')
	{
		my $value = $type eq 'bigint' ? 8 : "'flag'";
		my $session;

		# what has crashed may still be starting
		for (1 .. 300)
		{
			last if $session = eval { connect_as($owner) };
			Time::HiRes::sleep(0.1);
		}
		$session->begin_work;
		eval {
			$session->do($_) for 'DROP TRIGGER fflag_skip_known ON feature_flag_change', 'ALTER TABLE feature_flag_change DROP CONSTRAINT feature_flag_change_pkey',
				@{ $session->selectcol_arrayref(q{SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
					WHERE indrelid IN ('feature_flag_change'::regclass, 'feature_flag_history'::regclass) AND NOT indisprimary}) }, "ALTER TABLE $table ALTER $column DROP NOT NULL",
				$type eq 'NULL' ? "UPDATE $table SET $column = NULL" :
				"ALTER TABLE $table ALTER $column DROP DEFAULT, ALTER $column TYPE $type USING ${value}::$type";
			1;
		};
		my $altered = $session->state eq '' or note("$table.$column, $type: " . $session->errstr);
		for my $call ('SELECT fflag_history()', map { "SELECT fflag_explain_at('$at', 'f', $_)" } 1, q{'z'::text})
		{
			last if !$altered || !$session->ping;
			$session->do('SAVEPOINT s');
			next if eval { $session->do($call); 1 };
			eval { $session->do('ROLLBACK TO s'); 1 } or push @crashed, "$type: $call";
		}
		eval { $session->rollback; $session->disconnect };
	}
	is("@crashed", '', "$table.$column may be anything");
}

no_crash($node);
$node->stop;
done_testing();
