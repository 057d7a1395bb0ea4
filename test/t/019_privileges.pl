# Who may do what after CREATE EXTENSION, whatever the database's default
# privileges are; after a dump and restore, after REASSIGN OWNED, after the grants of
# docs/operations.md, and with what docs/reference.md says that a function needs.
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
$node->safe_psql('postgres', q{CREATE ROLE regress_fflag_anon; CREATE ROLE regress_fflag_owner LOGIN; CREATE ROLE regress_fflag_new LOGIN});

# Two texts are the same; otherwise, which lines differ.
sub is_same
{
	my ($got, $expected, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %expected = map { $_ => 1 } split /\n/, $expected;
	my @more = grep { !delete $expected{$_} } split /\n/, $got;
	return is(join("\n", map({ "got $_" } @more), map { "not $_" } sort keys %expected), '', $what);
}

# A database where defaults give away everything, and keep it from who should
# have it: those of the role that creates, and of the one that objects are given to.
sub create_hostile
{
	my ($db, $owner) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db OWNER $owner TEMPLATE template0");
	for my $role ($superuser, 'regress_fflag_owner')
	{
		my $set = "ALTER DEFAULT PRIVILEGES FOR ROLE $role";
		for my $kind ('TABLES', 'SEQUENCES', 'FUNCTIONS')
		{
			$node->safe_psql($db, "$set GRANT ALL ON $kind TO regress_fflag_anon WITH GRANT OPTION;
				$set IN SCHEMA public GRANT ALL ON $kind TO PUBLIC; $set REVOKE ALL ON $kind FROM $role");
		}
		$node->safe_psql($db, "$set REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC");
	}
	return;
}

for my $owner ($superuser, 'regress_fflag_owner')
{
	my %seen;
	$node->safe_psql('postgres', "CREATE DATABASE plain OWNER $owner TEMPLATE template0");
	create_hostile('hostile', $owner);
	for my $db ('plain', 'hostile')
	{
		$node->safe_psql($db, "GRANT CREATE ON SCHEMA public TO $owner");
		my $session = session($node, dbname => $db, user => $owner);
		$session->do('CREATE EXTENSION fflag');
		$session->do(q{SELECT fflag_register('f', true)});
		$seen{$db} = catalog($session);
		$session->disconnect;
		$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/schema.sql", $db ], "$owner, $db: pg_dump");
		my @acls = grep { /public\.(feature_flag|fflag_)/ } slurp_file("$dir/schema.sql") =~ /^((?:GRANT|REVOKE) .*)/mg;
		is("@acls", '', "$owner, $db: pg_dump sees no privileges that CREATE EXTENSION does not give");
	}
	like($seen{plain}, qr/^table feature_flag: .*\{$owner=arwdDxt/m, "$owner: the catalogs are read");
	is_same($seen{hostile}, $seen{plain}, "$owner: default privileges change nothing");

	my $session = session($node, dbname => 'hostile');
	$session->do('SET ROLE regress_fflag_anon');
	is(ask($session, q{SELECT fflag_enabled('f', 1)}), 1, "$owner: everybody evaluates");
	like(error_of($session, $_), qr/permission denied/, "$owner: but not everybody may $_")
		for 'UPDATE feature_flag SET enabled = false', 'TABLE feature_flag_attachment', q{SELECT nextval('feature_flag_id_seq')},
			'TABLE feature_flag_relation', q{SELECT nextval('feature_flag_relation_id_seq')}, q{SELECT fflag_exclude('f', 'g')}, q{SELECT fflag_group('g', 1)},
			q{SELECT fflag_disable('f')}, 'SELECT fflag_flags()';
	$session->disconnect;

	# what is restored is the same, wherever it is restored to
	$node->command_ok([ 'pg_dump', '-U', $owner, '-Fc', '-f', "$dir/plain", 'plain' ], "$owner: pg_dump");
	$node->safe_psql('postgres', "CREATE DATABASE restored OWNER $owner TEMPLATE template0");
	create_hostile('restored_hostile', $owner);
	for my $db ('restored', 'restored_hostile')
	{
		$node->safe_psql($db, "GRANT CREATE ON SCHEMA public TO $owner");
		$node->command_ok([ 'pg_restore', '-e', '-U', $owner, '-d', $db, "$dir/plain" ], "$owner: $db");
		my $restored = session($node, dbname => $db, user => $owner);
		is_same(catalog($restored), $seen{plain}, "$owner: $db is the same");
		$restored->disconnect;
	}
	$node->safe_psql('postgres', "DROP DATABASE $_") for 'plain', 'hostile', 'restored', 'restored_hostile';
}

# a dump with the defaults in it, as a superuser takes it
create_hostile('hostile', $superuser);
$node->safe_psql('hostile', 'CREATE EXTENSION fflag; GRANT SELECT ON feature_flag TO regress_fflag_anon');
my $session = session($node, dbname => 'hostile');
my $before = catalog($session);
$node->command_ok([ 'pg_dump', '-f', "$dir/hostile.sql", 'hostile' ], 'pg_dump with default privileges');
$node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'again', '-f', "$dir/hostile.sql" ], 'restore with default privileges');
is_same(catalog(session($node, dbname => 'again')), $before, 'default privileges and a grant are restored');

# ---- grants of the page

my @blocks = code_blocks('docs/operations.md', 'sql');
$node->safe_psql('postgres', 'CREATE DATABASE page');
$node->safe_psql('page', join '', 'CREATE EXTENSION fflag;', grep { /^CREATE ROLE (shop|flag_admin)/ } @blocks);
my $page = session($node, dbname => 'page');
# the page's table of what everybody may execute; functions with an overload that is not for everybody are marked
my ($everybody) = slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /^\| ([^|]*) \| everybody \|$/m;
is(join(' ', sort $everybody =~ /`(\w+)`/g), ask($page, q{SELECT string_agg(name, ' ' ORDER BY name) FROM (
	SELECT proname || CASE WHEN bool_and(has_function_privilege('public', p.oid, 'EXECUTE')) THEN '' ELSE ' (not all)' END COLLATE "C" AS name
	FROM pg_depend JOIN pg_proc AS p ON p.oid = objid
	WHERE classid = 'pg_proc'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fflag')
	GROUP BY proname HAVING bool_or(has_function_privilege('public', p.oid, 'EXECUTE'))) AS f}), 'what everybody may execute');
my %granted = (shop => 'fflag_evaluate fflag_explain fflag_flags',
	flag_admin => 'fflag_allow fflag_cache fflag_deny fflag_disable fflag_disallow fflag_enable fflag_exclude fflag_export fflag_group fflag_import fflag_include fflag_ramp fflag_register fflag_rename fflag_require fflag_rollout fflag_schedule fflag_undeny fflag_unrelate fflag_variants');
for my $role (sort keys %granted)
{
	# functions that PUBLIC may not execute, by name; those with an overload that the role may not are marked
	is(ask($page, qq{SELECT string_agg(name, ' ' ORDER BY name) FROM (
		SELECT proname || CASE WHEN bool_and(has_function_privilege('$role', oid, 'EXECUTE')) THEN '' ELSE ' (not all)' END AS name
		FROM pg_proc WHERE proname LIKE 'fflag%' AND NOT has_function_privilege('regress_fflag_anon', oid, 'EXECUTE')
		GROUP BY proname HAVING bool_or(has_function_privilege('$role', oid, 'EXECUTE'))) AS f}),
		$granted{$role}, "$role: every overload of these functions");
}
$page->do('SET ROLE flag_admin');
$page->do(q{SELECT fflag_register('f'), fflag_allow('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid), fflag_disallow('f', 'x')});
$page->do($_) for q{SELECT fflag_group('g', 'x'), fflag_variants('f', '{"a": 1}')}, q{SELECT fflag_include('f', 'g', 'a')}, q{SELECT fflag_unrelate('f', 'g')},
	q{SELECT fflag_require('g', 'f', 'a')}, q{UPDATE feature_flag_relation SET kind = 'excludes'}, q{SELECT fflag_variants('f', '{"a": 1, "b": 1}')},
	q{UPDATE feature_flag_variant SET name = 'c' WHERE name = 'a'};
is(ask($page, q{SELECT kind || other_variant FROM feature_flag_relation}), 'excludesc', 'flag_admin: relations');
$page->do('SET ROLE shop');
is(ask($page, q{SELECT count(*) FROM fflag_flags('x') AS t JOIN fflag_flags('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid) AS u USING (name)}), 1, 'shop: all types of ids');
$page->disconnect;

# ---- REASSIGN OWNED

$node->safe_psql('postgres', 'CREATE DATABASE reassigned OWNER regress_fflag_owner');
$node->safe_psql('reassigned', 'CREATE EXTENSION fflag', extra_params => [ '-U', 'regress_fflag_owner' ]);
$node->safe_psql('reassigned', 'REASSIGN OWNED BY regress_fflag_owner TO regress_fflag_new; DROP OWNED BY regress_fflag_owner');
my $new = session($node, dbname => 'reassigned', user => 'regress_fflag_new');
like(error_of($new, q{SELECT fflag_register('f', true)}), qr/permission denied for function/, 'REASSIGN OWNED: functions are not reassigned');
my ($grant) = grep { /REASSIGN OWNED/ } @blocks;
ok($grant, 'the page has a statement for that') or $grant = 'SELECT';
$node->safe_psql('reassigned', $grant);
is(error_of($new, $_), 'no error', "REASSIGN OWNED: $_") for q{SELECT fflag_register('f', true), fflag_allow('f', 1)}, q{SELECT fflag_group('g', 1), fflag_exclude('f', 'g', VARIADIC '{}')},
	q{SELECT fflag_unrelate('f', 'g')}, 'SELECT fflag_cache()',
	'GRANT EXECUTE ON FUNCTION fflag_enable TO regress_fflag_anon',
	'CREATE TABLE flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL)',
	'CREATE TABLE flag_user (featureflag_id int, user_id int, PRIMARY KEY (featureflag_id, user_id))',
	q{SELECT fflag_attach('flag', 'flag_user')}, 'SELECT fflag_detach()';
is_on($new, 'REASSIGN OWNED: and the flags are there');
$node->command_ok([ 'pg_dump', '-U', 'regress_fflag_new', '-Fc', '-f', "$dir/reassigned", 'reassigned' ], 'REASSIGN OWNED: pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE reassigned_restored OWNER regress_fflag_new TEMPLATE template0');
my (undef, $messages) = run_command([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-U', 'regress_fflag_new', '-d', 'reassigned_restored', "$dir/reassigned" ]);
my %error = map { $_ => 1 } $messages =~ /ERROR:  (.*)/g;
# 15 complains of this, 18 does not
delete $error{'grant options cannot be granted back to your own grantor'};
is(join(', ', sort keys %error), '', 'REASSIGN OWNED: pg_restore has nothing else to complain of');
my $restored = session($node, dbname => 'reassigned_restored', user => 'regress_fflag_new');
is(error_of($restored, q{SELECT fflag_disable('f'), fflag_enable('f')}), 'no error', 'REASSIGN OWNED: restored');
is_on($restored, 'REASSIGN OWNED: with the flags');
$_->disconnect for $session, $new, $restored;

# What docs/reference.md says that each function which changes flags needs: with these privileges it
# works, without any one of them it does not.
my ($section) = slurp_file("$FindBin::RealBin/../../docs/reference.md") =~ /^## Change flags\n(.*?)^## /ms;
my %needs;
for ($section =~ /^(\| `fflag_.*? \| `feature_flag`: .*)/mg)
{
	my ($functions, $privileges) = /^\| (.*?) \| (.*) \|$/;
	my @parts;
	for my $table ($privileges =~ /(`\w+`: [^;]*)/g)
	{
		my ($name, $list) = $table =~ /^`(\w+)`: (.*)/;
		while ($list =~ /([A-Z]+)(?: \((.*?)\))?/g)
		{
			my ($privilege, $columns) = ($1, $2);
			push @parts, defined $columns ? map { "$privilege ($_) ON $name" } split /, /, $columns : "$privilege ON $name";
		}
	}
	$needs{$_} = \@parts for $functions =~ /`(\w+)`/g;
}
my %calls = (
	fflag_register => [ q{fflag_register('new', true, 10, true, 'new')}, q{fflag_register('f')}, q{fflag_register('{f,new,newer}'::text[])} ],
	fflag_rename => [q{fflag_rename('f', 'new')}],
	fflag_enable => [q{fflag_enable('f')}],
	fflag_disable => [q{fflag_disable('f')}],
	fflag_rollout => [q{fflag_rollout('f', 20)}],
	fflag_ramp => [ q{fflag_ramp('f', 20, '1 day')}, q{fflag_ramp('f', NULL, '1 day')} ],
	fflag_schedule => [ q{fflag_schedule('f', now(), now() + interval '1 day')}, q{fflag_schedule('f', NULL, NULL)} ],
	fflag_allow => [q{fflag_allow('f', 1, 5)}],
	fflag_disallow => [q{fflag_disallow('f', 5)}],
	fflag_deny => [q{fflag_deny('f', 1, 6)}],
	fflag_undeny => [q{fflag_undeny('f', 6)}],
	fflag_require => [ q{fflag_require('f', 'g')}, q{fflag_require('f', 'g', 'a')} ],
	fflag_exclude => [ q{fflag_exclude('f', 'g')}, q{fflag_exclude('f', 'g', 'a')} ],
	fflag_include => [ q{fflag_include('f', 'g')}, q{fflag_include('f', 'g', 'x', 'a')} ],
	fflag_unrelate => [q{fflag_unrelate('f', 'group')}],
	fflag_group => [ q{fflag_group('new', 1, 2)}, q{fflag_group('group', 2)} ],
	fflag_variants => [ q{fflag_variants('f', '{"x": 2, "z": {"weight": 1, "payload": 3}}')}, q{fflag_variants('g', NULL)} ]);
is(join(' ', sort keys %needs), join(' ', sort $section =~ /^### (\w+)/mg), 'the privileges of each function that changes flags are on the page');

$node->safe_psql('postgres', q{CREATE DATABASE fewest; CREATE ROLE regress_fflag_fewest});
my $fewest = session($node, dbname => 'fewest');
$fewest->do($_) for 'SET client_min_messages = error', 'CREATE EXTENSION fflag', 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_fflag_fewest',
	q{SELECT fflag_register('f', true, 10), fflag_register('g', true), fflag_variants('g', '{"a": 1, "b": 1}'), fflag_variants('f', '{"x": 1, "y": 1}'),
		fflag_group('group', 1), fflag_allow('f', 5), fflag_deny('f', 6), fflag_require('f', 'group')};

# The first error of a function's calls with these privileges.
sub refused
{
	my ($function, @privileges) = @_;
	my $error = 'no error';
	for my $call (@{ $calls{$function} })
	{
		$fewest->do($_) for 'BEGIN', map({ "GRANT $_ TO regress_fflag_fewest" } @privileges), 'SET LOCAL ROLE regress_fflag_fewest';
		$error = error_of($fewest, "SELECT $call") if $error eq 'no error';
		$fewest->do('ROLLBACK');
	}
	return $error;
}

for my $function (sort keys %calls)
{
	my @needed = @{ $needs{$function} };
	is(refused($function, @needed), 'no error', "$function: works with " . @needed . ' privileges');
	my @spare = grep { my $one = $_; refused($function, grep { $_ ne $one } @needed) !~ /permission denied/ } @needed;
	is("@spare", '', "$function: needs each of them");
}
$fewest->disconnect;

# A trigger function of ours on a foreign table, which has nothing to be scanned.
SKIP:
{
	my $crash = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'});
	skip 'postgres_fdw is not installed', 1 if $crash == 0;
	$node->safe_psql('postgres', sprintf q{CREATE EXTENSION fflag; CREATE EXTENSION postgres_fdw;
		CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname 'postgres');
		CREATE USER MAPPING FOR CURRENT_USER SERVER here;
		CREATE TABLE there (a int);
		CREATE FOREIGN TABLE far (a int) SERVER here OPTIONS (table_name 'there');
		CREATE TRIGGER t BEFORE INSERT ON far FOR EACH ROW EXECUTE FUNCTION fflag_check_attachment()}, $node->host, $node->port);
	my $far = session($node);
	like(error_of($far, 'INSERT INTO far VALUES (1)'), qr/fflag_check_attachment.* trigger of table "far"/, 'a foreign table does not take the server down');
	$far->disconnect;
}

$node->stop;
done_testing();
