# pg_dump and restore, as superuser and as an ordinary owner of the database:
# flags, lists, variants, relations and the identity sequences survive; pg_dump has nothing to say.
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
my $dir = PostgreSQL::Test::Utils::tempdir;
my $superuser = ask(session($node), 'SELECT current_user');

my $content = q{
	SELECT (SELECT string_agg(f::text, E'\n' ORDER BY f.id) FROM %1$sfeature_flag f)
		|| (SELECT string_agg(u::text, E'\n' ORDER BY u.user_id) FROM %1$sfeature_flag_user u)
		|| (SELECT string_agg(d::text, E'\n' ORDER BY d.user_id) FROM %1$sfeature_flag_denied_user d)
		|| (SELECT string_agg(v::text, E'\n' ORDER BY v.flag_id, v.name) FROM %1$sfeature_flag_variant v)
		|| (SELECT string_agg(r::text, E'\n' ORDER BY r.id) FROM %1$sfeature_flag_relation r)
};

sub fill
{
	my ($db, $user, $schema) = @_;
	my $session = session($node, dbname => $db, user => $user);
	$session->do("CREATE SCHEMA $schema") if $schema;
	$session->do('CREATE EXTENSION fflag' . ($schema ? " SCHEMA $schema" : ''));
	$session->do("SET search_path = $schema") if $schema;
	$session->do(q{SELECT fflag_register('f', true, 10.5, false, E'it''s\n\ttext'), fflag_register('über', true, 0)});
	$session->do(q{SELECT fflag_allow('f', 1, 2), fflag_allow('über', 'ä', 'ü'), fflag_deny('über', 'ü')});
	$session->do(q{INSERT INTO feature_flag_variant (flag_id, name, weight, payload) SELECT id, v, length(v) / 8.0, '{"ä": "\t\\n"}' FROM feature_flag, unnest('{rot,blau}'::text[]) AS v});
	$session->do(q{UPDATE feature_flag SET seed = E'ü: "\\\\' WHERE name = 'f'});
	# relations of each kind, to flags that lie before and behind; with variants and pins, of which there
	# are two alternatives
	$session->do($_) for q{SELECT fflag_require('über', 'f'), fflag_group('Gäste', 'a', 'ü'), fflag_register('Probe', true, 0)},
		q{SELECT fflag_exclude('Probe', 'über', 'rot', 'blau'), fflag_include('f', 'Gäste', 'rot')}, q{SELECT fflag_rollout('f', 99.999)};
	is(ask($session, q{SELECT string_agg(DISTINCT sign(flag_id - other_id)::text, ' ') FROM feature_flag_relation}), '-1 1', 'relations to older and to younger flags');
	my $before = ask($session, sprintf $content, '');
	$session->disconnect;
	return $before;
}

sub check
{
	my ($db, $user, $schema, $before, $what) = @_;
	my $session = session($node, dbname => $db, user => $user);
	$session->do("SET search_path = $schema") if $schema;
	is(ask($session, sprintf $content, ''), $before, "$what: same rows");
	is(ask($session, q{SELECT fflag_enabled('f', 1) AND fflag_enabled('über', 'ä') AND NOT fflag_enabled('über', 'ö') AND NOT fflag_enabled('über', 'ü')}),
		1, "$what: same answers");
	is(ask($session, q{SELECT fflag_variant_payload('über', 'ä') ->> 'ä'}), "\t\n", "$what: and variants");
	$session->do(q{SELECT fflag_disable('f')});
	is(ask($session, q{SELECT fflag_enabled('über', 'ä')}), 0, "$what: what a flag requires");
	is(ask($session, q{SELECT string_agg(concat_ws(' ', r.id, r.kind, other_variant, pin), ', ' ORDER BY r.id) FROM feature_flag_relation AS r}),
		'1 requires, 2 excludes blau, 3 excludes rot, 4 includes rot', "$what: relations");
	$session->do(q{SELECT fflag_enable('f')});
	is(ask($session, q{SELECT fflag_register('new', true)}), 1, "$what: the identity goes on");
	is(ask($session, q{SELECT fflag_enabled('new')}), 1, "$what: a change is seen");
	$session->do(q{SELECT fflag_exclude('new', 'f')});
	is(ask($session, q{SELECT id FROM feature_flag_relation WHERE flag_id = (SELECT id FROM feature_flag WHERE name = 'new')}), 5, "$what: that of relations, too");
	is(ask($session, q{SELECT because FROM fflag_explain('new', 1)}), 'f', "$what: a relation is seen");
	is(ask($session, q{SELECT caching FROM fflag_cache()}), 1, "$what: and cached");
	is(ask($session, q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'fflag_inv%' AND tgenabled = 'A'}),
		6, "$what: triggers fire always");
	$session->disconnect;
	return;
}

# A warning would be of keys that lead round in a circle.
sub dump_quietly
{
	return $node->command_checks_all([ 'pg_dump', @_ ], 0, [], [qr/^$/], "pg_dump $_[0] is content");
}

$node->safe_psql('postgres', 'CREATE DATABASE original');
my $before = fill('original', $superuser);

for my $format ('plain', 'custom', 'directory', 'inserts')
{
	my $file = "$dir/$format";
	dump_quietly($format eq 'inserts' ? '--inserts' : "--format=$format", '-f', $file, 'original');
	$node->safe_psql('postgres', "CREATE DATABASE restored_$format TEMPLATE template0");
	$node->command_ok(
		$format =~ /plain|inserts/
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, "restored_$format" ]
		: [ 'pg_restore', '-e', '-d', "restored_$format", $file ],
		"restore $format");
	check("restored_$format", $superuser, '', $before, "superuser, $format");
}

# parallel restore: pg_dump does not tell it that the allowlists come after the
# flags, so they are restored afterwards, as docs/operations.md says
$node->safe_psql('postgres', 'CREATE DATABASE parallel TEMPLATE template0');
my $page = 'docs/operations.md';
my ($commands) = code_blocks($page, 'sh');
system_or_bail('sh', '-ec', "cd $dir; export PGHOST=" . $node->host . ' PGPORT=' . $node->port . "; $commands");
check('parallel', $superuser, '', $before, 'parallel restore');

# data only, as INSERTs and as COPY, into an extension that is there
for my $how ('--inserts', '--disable-triggers', '--format=plain')
{
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS data');
	$node->safe_psql('postgres', 'CREATE DATABASE data TEMPLATE template0');
	$node->safe_psql('data', 'CREATE EXTENSION fflag');
	dump_quietly($how, '--data-only', '-f', "$dir/data.sql", 'original');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/data.sql", 'data' ], "data only, $how: restore");
	$node->safe_psql('data', $_) for grep { $how eq '--disable-triggers' && /ENABLE ALWAYS TRIGGER/ } code_blocks($page, 'sql');
	check('data', $superuser, '', $before, "data only, $how");
}

# the same by pg_restore; --disable-triggers leaves ours
# enabled for replicas no longer, and fflag stops caching rather than lie
$node->safe_psql('postgres', 'CREATE DATABASE data_only TEMPLATE template0');
$node->safe_psql('data_only', 'CREATE EXTENSION fflag');
my $open = session($node, dbname => 'data_only');
is_off($open, 'data only: open session, no flags yet');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '--disable-triggers', '-d', 'data_only', "$dir/custom" ],
	'pg_restore --data-only --disable-triggers');
is_on($open, 'data only: seen by the open session');
$node->safe_psql('data_only', q{SET session_replication_role = replica; UPDATE feature_flag SET enabled = false});
is_off($open, 'data only: so is a change that fires no trigger any more');
is(ask($open, 'SELECT caching FROM fflag_cache()'), 0, 'data only: nothing is cached');
is(ask(session($node, dbname => 'data_only'), 'SELECT caching FROM fflag_cache()'), 0,
	'data only: fflag_cache says so in a session that has not evaluated, too');
my ($mend) = grep { /ENABLE ALWAYS TRIGGER/ } code_blocks($page, 'sql');
$node->safe_psql('data_only', $mend);
is_off($open, "data only: after the ALTERs of $page");
is(ask($open, 'SELECT caching FROM fflag_cache()'), 1, 'data only: cached again');
my $triggers = q{SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), ', ' ORDER BY tgrelid::regclass::text, tgname)
	FROM pg_trigger WHERE tgname LIKE 'fflag%'};
is(ask($open, $triggers), ask(session($node, dbname => 'parallel'), $triggers), 'data only: the triggers are as before');
$open->disconnect;

# an ordinary role that owns its database
$node->safe_psql('postgres', q{CREATE ROLE regress_fflag_owner LOGIN;
	CREATE DATABASE owned OWNER regress_fflag_owner; CREATE DATABASE owned_restored OWNER regress_fflag_owner TEMPLATE template0});
$before = fill('owned', 'regress_fflag_owner', 'flags');
$node->command_ok([ 'pg_dump', '-U', 'regress_fflag_owner', '-Fc', '-f', "$dir/owned", 'owned' ], 'pg_dump as owner');
$node->command_ok([ 'pg_restore', '-e', '-U', 'regress_fflag_owner', '-d', 'owned_restored', "$dir/owned" ],
	'pg_restore as owner');
check('owned_restored', 'regress_fflag_owner', 'flags', $before, 'owner');

# attached tables, of an ordinary role, in each way that orders things differently
$node->safe_psql('postgres', 'CREATE DATABASE attached OWNER regress_fflag_owner');
my $attacher = session($node, dbname => 'attached', user => 'regress_fflag_owner');
$attacher->do(q{CREATE EXTENSION fflag;
	CREATE SCHEMA app;
	CREATE TABLE app."Flag" (id int PRIMARY KEY, name text UNIQUE, "On" boolean, staff_only boolean, rollout_percentage smallint);
	CREATE TABLE app.a_list (featureflag_id int REFERENCES app."Flag", user_id uuid, PRIMARY KEY (featureflag_id, user_id));
	INSERT INTO app."Flag" VALUES (1, 'f', true, false, 0);
	INSERT INTO app.a_list VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')});
$attacher->do(q{SELECT fflag_attach('app."Flag"', 'app.a_list', enabled => 'On')});
$attacher->disconnect;
for my $how ([ '-Fp' ], ['-Fc'], [ '-Fc', '--jobs=4' ], [ '-Fc', '--clean', '--if-exists' ], [ '-Fc', '--single-transaction' ])
{
	my ($format, @options) = @$how;
	my $what = "attached, @$how";
	$node->command_ok([ 'pg_dump', '-U', 'regress_fflag_owner', $format, '-f', "$dir/attached", 'attached' ], "$what: pg_dump");
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS attached_restored');
	$node->safe_psql('postgres', 'CREATE DATABASE attached_restored OWNER regress_fflag_owner TEMPLATE template0');
	my @to = ('-U', 'regress_fflag_owner', '-d', 'attached_restored');
	$node->command_ok($format eq '-Fp' ? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', @to, '-f', "$dir/attached" ] :
			[ 'pg_restore', '-e', @options, @to, "$dir/attached" ], "$what: restore");
	my $session = session($node, dbname => 'attached_restored', user => 'regress_fflag_owner');
	my $on = q{SELECT fflag_enabled('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid) AND NOT fflag_enabled('f', 42)};
	is(ask($session, $on), 1, "$what: same answers");
	is(ask($session, $on), 1, "$what: again");
	is(ask($session, 'SELECT caching FROM fflag_cache()'), 1, "$what: cached");
	$node->safe_psql('attached_restored', q{SET session_replication_role = replica; DELETE FROM app.a_list});
	is(ask($session, $on), 0, "$what: a change is seen");
	$session->do('SELECT fflag_detach()');
	is(ask($session, q{SELECT count(*) FROM pg_trigger WHERE tgname = 'fflag_invalidate'}), 6, "$what: detached");
	$session->disconnect;
}

# the schema alone has the triggers, and not the row that says that they are
# attached: a warning says so, once a session; the data may come afterwards
my @dump_attached = ('pg_dump', '-U', 'regress_fflag_owner', '-Fc', 'attached');
$node->command_ok([ @dump_attached, '--schema-only', '-f', "$dir/schema" ], 'attached: pg_dump --schema-only');
$node->command_ok([ @dump_attached, '--data-only', '-f', "$dir/data" ], 'attached: pg_dump --data-only');
my $uuid = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
sub restore
{
	my ($db, @options) = @_;
	return [ 'pg_restore', '-e', '-U', 'regress_fflag_owner', '-d', $db, @options ];
}
sub new_database
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db OWNER regress_fflag_owner TEMPLATE template0");
	return;
}
new_database('schema_only');
$node->command_ok(restore('schema_only', "$dir/schema"), 'schema only: restore');
my ($out, $warnings);
my $twice = qq{SELECT fflag_enabled('f', '$uuid'); UPDATE feature_flag SET enabled = true; SELECT fflag_enabled('f', '$uuid')};
$node->psql('schema_only', $twice, stdout => \$out, stderr => \$warnings);
is($out, "f\nf", 'schema only: own tables, which are empty');
is(() = $warnings =~ /WARNING/g, 1, 'schema only: one warning');
like($warnings, qr/table app\.("Flag"|a_list) has a trigger of extension "fflag", but no tables are attached.*HINT: .*fflag_attach\(\), or DROP TRIGGER fflag_invalidate ON app\./s,
	'schema only: which says of what, and what to do');
$node->command_ok(restore('schema_only', "$dir/data"), 'schema only: the data afterwards');
$node->psql('schema_only', $twice, stdout => \$out, stderr => \$warnings);
is($out, "t\nt", 'schema only: all is back with the data');
unlike($warnings, qr/no tables are attached/, 'schema only: no warning any more');
$node->psql('original', $twice, stdout => \$out, stderr => \$warnings);
unlike($warnings, qr/WARNING/, 'no warning where nothing was ever attached');

# the data alone, where the same tables are attached, and where others are
$node->safe_psql('schema_only', 'TRUNCATE app."Flag", app.a_list');
$node->command_ok(restore('schema_only', "$dir/data"), 'data only: the same tables are attached');
is($node->safe_psql('schema_only', "SELECT fflag_enabled('f', '$uuid')"), 't', 'data only: same answers');
new_database('others_attached');
$attacher = session($node, dbname => 'others_attached', user => 'regress_fflag_owner');
$attacher->do(q{CREATE EXTENSION fflag;
	CREATE SCHEMA app;
	CREATE TABLE app."Flag" (id int PRIMARY KEY, name text UNIQUE, "On" boolean, staff_only boolean, rollout_percentage smallint);
	CREATE TABLE app.a_list (featureflag_id int REFERENCES app."Flag", user_id uuid, PRIMARY KEY (featureflag_id, user_id));
	CREATE TABLE flag (LIKE app."Flag" INCLUDING ALL);
	CREATE TABLE list (LIKE app.a_list INCLUDING ALL)});
$attacher->do(q{SELECT fflag_attach('flag', 'list', enabled => 'On')});
$node->command_fails_like(restore('others_attached', "$dir/data"), qr/feature_flag_attachment_pkey/, 'data only: others are attached: refused');
$node->safe_psql('others_attached', 'TRUNCATE app."Flag", app.a_list');
$attacher->do('SELECT fflag_detach()');
$node->command_ok(restore('others_attached', "$dir/data"), 'data only: detached first');
like(error_of($attacher, "SELECT fflag_enabled('f', '$uuid')"), qr/lacks the trigger of extension/, 'data only: the triggers are not in the data');
$attacher->do(q{SELECT fflag_attach('app."Flag"', 'app.a_list', enabled => 'On')});
is(ask($attacher, "SELECT fflag_enabled('f', '$uuid')"), 1, 'data only: attached');
$attacher->disconnect;

# a database owner whose extension a superuser has created needs the grants of
# docs/operations.md
$node->safe_psql('postgres', q{CREATE DATABASE granted OWNER regress_fflag_owner;
	CREATE DATABASE granted_restored OWNER regress_fflag_owner TEMPLATE template0});
$before = fill('granted', $superuser, '');
my @dump = ('pg_dump', '-U', 'regress_fflag_owner', '-Fc', '-f', "$dir/granted", 'granted');
$node->command_fails_like(\@dump, qr/permission denied|may lack SELECT privilege/, 'without the grants: permission denied');
$node->safe_psql('granted', (grep { /CREATE ROLE dumper/ } code_blocks($page, 'sql'))[0] . 'GRANT dumper TO regress_fflag_owner;');
$node->command_ok(\@dump, 'pg_dump with the grants');
$node->command_ok([ 'pg_restore', '-U', 'regress_fflag_owner', '--no-acl', '-e', '-d', 'granted_restored', "$dir/granted" ],
	'pg_restore');
check('granted_restored', 'regress_fflag_owner', '', $before, 'owner with grants');

$node->stop;
done_testing();
