# fflag.override: no other session sees it; who may set it, granted before the
# library is loaded and after a dump of the server; from wherever a setting can come;
# in parallel workers.  fflag.unknown_flag in the same places.
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

# ---- granted on a server where no session has ever loaded the library

$node->safe_psql('postgres', q{
	CREATE ROLE regress_fflag_on_call LOGIN; CREATE ROLE regress_fflag_shop LOGIN;
	GRANT SET ON PARAMETER fflag.override, fflag.unknown_flag TO regress_fflag_on_call;
	CREATE EXTENSION fflag;
	INSERT INTO feature_flag (name) VALUES ('f'), ('g');
});
my ($on_call, $shop) = map { session($node, user => "regress_fflag_$_") } qw(on_call shop);
$on_call->do(q{SET fflag.override = 'f=on'});
is_on($on_call, 'granted before: set and then loaded');
$on_call->do(q{SET fflag.override = 'f=off'});
is_off($on_call, 'granted before: loaded and then set');
like(error_of($shop, q{SELECT fflag_enabled('f'); SET fflag.override = 'f=on'}), qr/permission denied to set parameter "fflag.override"/,
	'not granted');

# ---- nobody else sees it, and it hides no change of other flags

is_off($shop, 'another session: off');
$on_call->do(q{SET fflag.override = 'f=on'});
for my $enabled ('true', 'false')
{
	$node->safe_psql('postgres', "UPDATE feature_flag SET enabled = $enabled, rollout_percentage = 100");
	is_on($on_call, "with an override, enabled = $enabled: on");
	is(ask($on_call, q{SELECT fflag_enabled('g')}), $enabled eq 'true' ? 1 : 0, "another flag in this session, enabled = $enabled");
	$enabled eq 'true' ? is_on($shop, 'another session: on') : is_off($shop, 'another session: off');
}
$on_call->do('RESET fflag.override');
is_off($on_call, 'reset: off');

# ---- from wherever a setting can come

# What a new session of a role says, and the warnings that it gets.
sub fresh
{
	my ($role, $query, $database) = @_;
	my ($out, $err);
	$node->psql($database // 'postgres', $query // q{SELECT fflag_enabled('f')}, stdout => \$out, stderr => \$err,
		extra_params => [ '-U', "regress_fflag_$role" ]);
	return "$out$err";
}
my $denied = qr/^f.*WARNING:  permission denied to set parameter "fflag.override"/s;

is(fresh('on_call'), 'f', 'a new session: off');
{
	local $ENV{PGOPTIONS} = '-c fflag.override=f=on';
	is(fresh('on_call'), 't', 'PGOPTIONS');
	like(fresh('shop'), $denied, 'PGOPTIONS, not granted');
	# nobody checks the encoding there
	$ENV{PGOPTIONS} = "-c fflag.override=a\xf0=on,a\xf0=on,behind=on";
	like(fresh('on_call'), qr/DETAIL:  Flag "a\xf0" is named more than once/, 'a name that ends in an incomplete character: no byte behind it is shown');
}
$node->safe_psql('postgres', q{ALTER ROLE regress_fflag_shop SET fflag.override = 'f=on'});
is(fresh('shop'), 't', 'ALTER ROLE by a superuser, for a role that may not set it');
$node->safe_psql('postgres', 'ALTER ROLE regress_fflag_shop RESET fflag.override');
is(fresh('on_call', q{ALTER ROLE regress_fflag_on_call SET fflag.override = 'f=on'}), '', 'ALTER ROLE by the role itself');
is(fresh('on_call'), 't', 'which may set it');
$node->safe_psql('postgres', 'ALTER ROLE regress_fflag_on_call RESET fflag.override');
like(fresh('shop', q{ALTER ROLE regress_fflag_shop SET fflag.override = 'f=on'}),
	qr/ERROR:  permission denied to set parameter "fflag.override"/, 'ALTER ROLE by one which may not');
$node->safe_psql('postgres', 'ALTER DATABASE postgres OWNER TO regress_fflag_shop');
like(fresh('shop', q{ALTER DATABASE postgres SET fflag.override = 'f=on'}),
	qr/ERROR:  permission denied to set parameter "fflag.override"/, 'nor by the owner of a database');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET fflag.override = 'f=on'});
is(fresh($_), 't', "ALTER DATABASE by a superuser, $_") for ('on_call', 'shop');
$node->safe_psql('postgres', q{ALTER DATABASE postgres RESET fflag.override});

# open sessions take up postgresql.conf; a mistake there changes nothing
is_off($_, 'before a reload') for ($on_call, $shop);
$node->append_conf('postgresql.conf', q{fflag.override = 'f=on'});
$node->reload;
ok(eventually($_, 1), 'postgresql.conf, in an open session') for ($on_call, $shop);
$on_call->do(q{SET fflag.override = 'f=off'});
is_off($on_call, 'the session\'s own setting comes first');
$on_call->do(q{RESET fflag.override});
$node->append_conf('postgresql.conf', q{fflag.override = 'f'});
$node->reload;
for (1 .. 500) { last if fresh('shop') =~ /^f/; }
is_on($_, 'a mistake in postgresql.conf: as before in an open session') for ($on_call, $shop);
like(fresh('shop'), qr/^f.*WARNING:  invalid value for parameter "fflag.override".*Flag "f" is not followed/s,
	'a warning and no override in a new one');
$node->append_conf('postgresql.conf', q{fflag.override = ''});
$node->reload;
ok(eventually($_, 0), 'taken out again') for ($on_call, $shop);

# Does an open session get this answer?  It reads the file before its next statement,
# once the signal has come.
sub eventually
{
	my ($session, $wanted) = @_;
	for (1 .. 500)
	{
		return 1 if ask($session, q{SELECT fflag_enabled('f')}) == $wanted;
		select undef, undef, undef, 0.01;
	}
	return 0;
}

# ---- parallel workers

$node->safe_psql('postgres', q{
	CREATE TABLE people AS SELECT id FROM generate_series(1, 20000) AS id;
	ALTER TABLE people SET (parallel_workers = 3);
	ANALYZE people;
	SELECT fflag_variants('f', '{"a": 1000, "b c": {"weight": 0, "payload": 2}}');
	GRANT SELECT ON people TO PUBLIC;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_fflag_on_call;
});
my $parallel = q{SET max_parallel_workers_per_gather = 3; SET min_parallel_table_scan_size = 0;
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET parallel_leader_participation = off;};
for my $first ('', q{SELECT fflag_enabled('g');})
{
	my $loaded = $first ? 'loaded' : 'not loaded';
	like(fresh('on_call', qq{$parallel $first SET fflag.override = 'f=on';
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM people WHERE fflag_enabled('f', id)}),
		qr/Workers Launched: [1-3]/, "workers are launched, $loaded");
	like(fresh('on_call', qq{$parallel $first SET fflag.override = 'f=on'; SELECT count(*) FROM people WHERE fflag_enabled('f', id)}),
		qr/^20000$/m, "they have the override, $loaded");
	like(fresh('on_call', qq{$parallel $first SET fflag.override = 'f=on';
		SELECT count(*) FROM people, fflag_explain('f', id) AS e WHERE e.rule = 'override'}),
		qr/^20000$/m, "and so has a function without planner support, $loaded");
	like(fresh('on_call', qq{$parallel $first SET fflag.override = 'f=on:"b c"';
		SELECT count(*), max(v), max(p::text) FROM (SELECT fflag_variant('f', id) AS v, fflag_variant_payload('f', id) AS p FROM people OFFSET 0) AS u WHERE v = 'b c'}),
		qr/^20000\|b c\|2$/m, "and the variant, $loaded");
	like(fresh('on_call', qq{$parallel $first SET fflag.unknown_flag = error; SELECT count(*) FROM people WHERE fflag_enabled('nope', id)}),
		qr/ERROR:  flag "nope" does not exist\nHINT:  .*\n(?:CONTEXT:  parallel worker)?/, "they raise, $loaded");
	my $warnings = () = fresh('on_call', qq{$parallel $first SET fflag.unknown_flag = warning; SELECT count(*) FROM people WHERE fflag_enabled('nope', id)})
		=~ /WARNING:  flag "nope" does not exist/g;
	ok($warnings >= 1 && $warnings <= 3, "and warn once each, $loaded") or diag $warnings;
}

# ---- names in other encodings are compared as the database has them

$node->safe_psql('postgres', 'CREATE DATABASE latin1 ENCODING LATIN1 TEMPLATE template0 LOCALE \'C\'');
my $latin1 = session($node, dbname => 'latin1');
$latin1->do('SET client_encoding = UTF8');
$latin1->do('CREATE EXTENSION fflag');
$latin1->do(qq{SET fflag.override = 'caf\xc3\xa9=on'});
is(ask($latin1, qq{SELECT fflag_enabled('caf\xc3\xa9') AND NOT fflag_enabled('caf\xc3\xa8')}), 1, 'in LATIN1');
$latin1->do('SET client_encoding = LATIN1');
is(ask($latin1, qq{SELECT fflag_enabled('caf\xe9')}), 1, 'whatever the client speaks');
$latin1->disconnect;

# ---- pg_dumpall keeps who may, and what has been set for roles

$node->safe_psql('postgres', q{ALTER ROLE regress_fflag_shop SET fflag.override = 'f=on, "a, b"=off'});
my $dump = PostgreSQL::Test::Utils::tempdir . '/globals.sql';
$node->command_ok([ 'pg_dumpall', '--globals-only', '-f', $dump ], 'pg_dumpall');
like(slurp_file($dump), qr/^GRANT SET ON PARAMETER "?fflag\.override"? TO regress_fflag_on_call;$/m, 'has the grant');
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init;
$restored->start;
# the superuser is there already
$restored->psql('postgres', slurp_file($dump), on_error_stop => 0);
$restored->safe_psql('postgres', q{CREATE EXTENSION fflag; INSERT INTO feature_flag (name) VALUES ('f')});
my ($new_on_call, $new_shop) = map { session($restored, user => "regress_fflag_$_") } qw(on_call shop);
is_on($new_shop, 'restored: set for the role');
is_off($new_on_call, 'restored: not for another');
$new_on_call->do(q{SET fflag.override = 'f=on'});
is_on($new_on_call, 'restored: who may set it');
like(error_of($new_shop, q{SET fflag.override = ''}), qr/permission denied/, 'restored: who may not');
$_->disconnect for ($new_on_call, $new_shop);
$restored->stop;

# ---- with the library loaded by the server, from where a session has it

my ($library) = slurp_file('/proc/' . ask($on_call, 'SELECT pg_backend_pid()') . '/maps') =~ m{(/\S*/fflag)\.so$}m;
$node->safe_psql('postgres', 'ALTER ROLE regress_fflag_shop RESET fflag.override');
$_->disconnect for ($on_call, $shop);
$node->append_conf('postgresql.conf', "shared_preload_libraries = '$library'\nfflag.override = 'g=on'");
$node->restart;
is(fresh('shop', q{SELECT fflag_enabled('g'), fflag_enabled('f')}), 't|f', 'preloaded: postgresql.conf');
{
	local $ENV{PGOPTIONS} = '-c fflag.override=f=on';
	is(fresh('on_call', q{SELECT fflag_enabled('g'), fflag_enabled('f')}), 'f|t', 'preloaded: PGOPTIONS');
	like(fresh('shop'), qr/FATAL:  permission denied to set parameter "fflag.override"/, 'preloaded: PGOPTIONS, not granted');
}
$node->append_conf('postgresql.conf', q{fflag.override = 'g'});
$node->reload;
$node->wait_for_log(qr/invalid value for parameter "fflag.override"/) if $node->can('wait_for_log');
is(fresh('shop', q{SELECT fflag_enabled('g')}), 't', 'preloaded: a mistake in postgresql.conf changes nothing');

no_crash($node);
$node->stop;
done_testing();
