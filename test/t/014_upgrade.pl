# A fresh installation and an upgraded one are the same: functions, privileges,
# comments, triggers, tables, and what is dumped.  The upgrade keeps flags, and
# sessions that are open go on.
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

my $catalog = q{
	SELECT pg_describe_object(classid, objid, objsubid) || ': ' || concat_ws('; ', obj_description(objid, classid::regclass::name),
		CASE classid WHEN 'pg_proc'::regclass THEN (SELECT (to_jsonb(p) - '{oid,prosupport,proargtypes,proallargtypes,proacl}'::text[])::text
				|| p.prosupport::text || pg_get_function_arguments(p.oid) || (SELECT coalesce(string_agg(a::text, ',' ORDER BY a::text), '') FROM unnest(p.proacl) AS a)
				FROM pg_proc p WHERE p.oid = objid)
			WHEN 'pg_class'::regclass THEN (SELECT concat_ws('; ', c.relkind, c.relowner::regrole, c.relacl::text,
				(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attcollation::regcollation,
					col_description(attrelid, attnum), pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
					FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = objid AND attnum > 0),
				(SELECT string_agg(pg_get_triggerdef(t.oid) || t.tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger t WHERE tgrelid = objid AND NOT tgisinternal),
				(SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY conname) FROM pg_constraint k WHERE conrelid = objid),
				(SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = objid))
				FROM pg_class c WHERE c.oid = objid) END)
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fflag') AND deptype = 'e'
	UNION ALL SELECT extname || extversion || extrelocatable || (SELECT string_agg(c::regclass::text || d, ',' ORDER BY c::regclass::text)
		FROM unnest(extconfig, extcondition) AS config (c, d)) FROM pg_extension WHERE extname = 'fflag'
	ORDER BY 1};

my $top = "$FindBin::RealBin/../..";
my ($current) = slurp_file("$top/fflag.control") =~ /default_version = '(.*)'/;
my %version = map { $_ => 1 } map { m{/fflag--(.*)\.sql$} ? split /--/, $1 : () } glob "$top/sql/*.sql";
my @versions = sort keys %version;
cmp_ok(scalar @versions, '>', 1, "versions: @versions");

$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner LOGIN');
for my $owner (ask(session($node), 'SELECT current_user'), 'regress_fflag_owner')
{
	$node->safe_psql('postgres', "CREATE DATABASE fresh OWNER $owner");
	my $fresh = session($node, dbname => 'fresh', user => $owner);
	$fresh->do('CREATE EXTENSION fflag');
	my $expected = join "\n", map { $_->[0] } @{ $fresh->selectall_arrayref($catalog) };
	like($expected, qr/^function fflag_enabled\(text,bigint,boolean,boolean\).*fflag_support/m, "$owner: the catalogs are read");
	$fresh->disconnect;

	for my $version (grep { $_ ne $current } @versions)
	{
		$node->safe_psql('postgres', "CREATE DATABASE upgraded OWNER $owner");
		my $session = session($node, dbname => 'upgraded', user => $owner);
		my $open = session($node, dbname => 'upgraded', user => $owner);
		$session->do("CREATE EXTENSION fflag VERSION '$version'");
		$session->do(q{SELECT fflag_register('f', true, 0), fflag_allow('f', 1)});
		$open->do(q{PREPARE p AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('f', n)});
		is(ask($open, 'EXECUTE p'), 1, "$owner, $version: a session has evaluated");
		$session->do('ALTER EXTENSION fflag UPDATE');
		is(ask($open, 'EXECUTE p'), 1, "$owner, $version: and does so after the upgrade");
		is(join("\n", map { $_->[0] } @{ $session->selectall_arrayref($catalog) }), $expected, "$owner, $version: upgraded is the same as fresh");
		is(ask($session, q{SELECT fflag_enabled('f', ARRAY[1, 2])}), '{t,f}', "$owner, $version: with what is new");
		$session->do(q{CREATE TABLE flag (id int PRIMARY KEY, name text UNIQUE, enabled boolean, staff_only boolean, rollout_percentage int);
			CREATE TABLE flag_user (featureflag_id int, user_id int, PRIMARY KEY (featureflag_id, user_id))});
		$session->do(q{SELECT fflag_attach('flag', 'flag_user')});
		is(ask($open, 'EXECUTE p'), 0, "$owner, $version: a session that was open before the upgrade sees other tables attached");
		$_->disconnect for ($session, $open);
		$node->safe_psql('postgres', 'DROP DATABASE upgraded');
	}
	$node->safe_psql('postgres', 'DROP DATABASE fresh');
}
$node->stop;
done_testing();
