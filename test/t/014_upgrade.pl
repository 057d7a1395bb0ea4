# A fresh installation and an upgraded one are the same: functions, privileges,
# comments, triggers, tables, and what is dumped, whether the owner upgrades or a
# superuser.  The upgrade keeps flags, and sessions that are open go on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my ($current, @versions) = versions();
plan skip_all => "$current is the first version" if @versions == 1;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;


$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner LOGIN');
my $superuser = ask(session($node), 'SELECT current_user');
for ([ $superuser, $superuser ], [ 'regress_fflag_owner', 'regress_fflag_owner' ], [ 'regress_fflag_owner', $superuser ])
{
	my ($owner, $upgrader) = @$_;
	$node->safe_psql('postgres', "CREATE DATABASE fresh OWNER $owner");
	my $fresh = session($node, dbname => 'fresh', user => $owner);
	$fresh->do('CREATE EXTENSION fflag');
	my $expected = catalog($fresh);
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
		is(ask($open, 'EXECUTE p'), 1, "$owner, $version, $upgrader: a session has evaluated");
		$node->safe_psql('upgraded', 'ALTER EXTENSION fflag UPDATE', extra_params => [ '-U', $upgrader ]);
		is(ask($open, 'EXECUTE p'), 1, "$owner, $version, $upgrader: and does so after the upgrade");
		is(catalog($session), $expected, "$owner, $version, $upgrader: upgraded is the same as fresh");
		is(ask($session, q{SELECT fflag_enabled('f', ARRAY[1, 2])}), '{t,f}', "$owner, $version, $upgrader: with what is new");
		$session->do(q{CREATE TABLE flag (id int PRIMARY KEY, name text UNIQUE, enabled boolean, staff_only boolean, rollout_percentage int);
			CREATE TABLE flag_user (featureflag_id int, user_id int, PRIMARY KEY (featureflag_id, user_id))});
		$session->do(q{SELECT fflag_attach('flag', 'flag_user')});
		is(ask($open, 'EXECUTE p'), 0, "$owner, $version, $upgrader: a session that was open before the upgrade sees other tables attached");
		$_->disconnect for ($session, $open);
		$node->safe_psql('postgres', 'DROP DATABASE upgraded');
	}
	$node->safe_psql('postgres', 'DROP DATABASE fresh');
}
$node->stop;
done_testing();
