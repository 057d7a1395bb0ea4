# A fresh installation and an update from each older version are the same: functions, privileges,
# comments, triggers, tables, and what is dumped, whether the owner updates or a superuser.  The
# update keeps flags, and sessions that are open go on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my ($current, @versions) = versions();

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;

$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner LOGIN');
my $superuser = ask(session($node), 'SELECT current_user');
for ([ $superuser, $superuser ], [ 'regress_fflag_owner', 'regress_fflag_owner' ], [ 'regress_fflag_owner', $superuser ])
{
	my ($owner, $updater) = @$_;
	$node->safe_psql('postgres', "CREATE DATABASE fresh OWNER $owner");
	my $fresh = session($node, dbname => 'fresh', user => $owner);
	$fresh->do('CREATE EXTENSION fflag');
	my $expected = catalog($fresh);
	like($expected, qr/^function fflag_enabled\(text,bigint,boolean,boolean\).*fflag_support/m, "$owner: the catalogs are read");
	$fresh->disconnect;

	for my $version (grep { $_ ne $current } @versions)
	{
		my $what = "$owner, $version, $updater";
		$node->safe_psql('postgres', "CREATE DATABASE updated OWNER $owner");
		my $session = session($node, dbname => 'updated', user => $owner);
		my $open = session($node, dbname => 'updated', user => $owner);
		$session->do("CREATE EXTENSION fflag VERSION '$version'");
		$session->do(q{SELECT fflag_register('f', true, 0), fflag_allow('f', 1)});
		$open->do(q{PREPARE p AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('f', n)});
		is(ask($open, 'EXECUTE p'), 1, "$what: a session has evaluated");
		$node->safe_psql('updated', 'ALTER EXTENSION fflag UPDATE', extra_params => [ '-U', $updater ]);
		is(ask($open, 'EXECUTE p'), 1, "$what: and does so after the update");
		is(catalog($session), $expected, "$what: updated is the same as fresh");
		$session->do(q{SELECT fflag_disable('f')});
		is(ask($open, 'EXECUTE p'), 0, "$what: a change is seen");
		$_->disconnect for ($session, $open);
		$node->safe_psql('postgres', 'DROP DATABASE updated');
	}
	$node->safe_psql('postgres', 'DROP DATABASE fresh');
}
$node->stop;
done_testing();
