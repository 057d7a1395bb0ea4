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

# before the update, a column that has the name of a later one is the owner's
my ($oldest) = @versions;
$node->safe_psql('postgres', 'CREATE DATABASE old');
my $session = session($node, dbname => 'old');
$session->do($_) for "CREATE EXTENSION fflag VERSION '$oldest'", 'ALTER TABLE feature_flag ADD ends_at date, ADD ramp_to text DEFAULT \'x\'',
  q{SELECT fflag_register('f', true, 0), fflag_rollout('f', 100)};
is_on($session, "$oldest: columns of the owner's");
$session->disconnect;

# what version 1.1 has made anew, with a column more: whoever might execute it still may, and what
# depends on it is named and not dropped
$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_other; CREATE DATABASE granted OWNER regress_fflag_owner');
$session = session($node, dbname => 'granted', user => 'regress_fflag_owner');
$session->do($_) for "CREATE EXTENSION fflag VERSION '1.0'",
  'GRANT EXECUTE ON FUNCTION fflag_explain(text, bigint, boolean, boolean), fflag_flags(uuid, boolean) TO PUBLIC',
  'GRANT EXECUTE ON FUNCTION fflag_explain(text, text, boolean, boolean), fflag_flags(text, boolean) TO regress_fflag_other WITH GRANT OPTION';
my $grants = q{SELECT string_agg(p.oid::regprocedure || ': ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || CASE WHEN is_grantable THEN '*' ELSE '' END, E'\n'
	ORDER BY p.oid::regprocedure::text, grantee) FROM pg_proc AS p, aclexplode(proacl) WHERE proname IN ('fflag_explain', 'fflag_flags') AND grantee <> proowner};
my $before = ask($session, $grants);
like($before, qr/^fflag_explain\(text,bigint.*: PUBLIC\n.*regress_fflag_other\*/ms, 'before the update: grants');
my %dependent = (
	'view theirs' => q{CREATE VIEW theirs AS SELECT name FROM fflag_flags(42) WHERE enabled},
	'view theirs, of text' => q{CREATE VIEW theirs AS SELECT rule FROM fflag_explain('f')},
	'function theirs()' => q{CREATE FUNCTION theirs() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM fflag_flags(NULL::uuid); END});
for my $what (sort keys %dependent)
{
	my ($kind, $name) = $what =~ /^(\w+) (\w+\S*?),?( |$)/;
	$session->do($dependent{$what});
	for my $updater ('regress_fflag_owner', $superuser)
	{
		my $other = session($node, dbname => 'granted', user => $updater);
		like(error_of($other, 'ALTER EXTENSION fflag UPDATE'), qr/\Q$name\E.* depends on function (fflag_flags|fflag_explain)\(.*\), which has a new column in version 1\.1\nHINT: .*Drop it, update the extension, and create it again/,
			"$what, $updater: the update is refused");
		is($other->state, '2BP01', "$what, $updater: SQLSTATE");
		$other->disconnect;
	}
	is(ask($session, 'SELECT count(*) FROM pg_proc WHERE proname ~ \'_1_0$\''), 0, "$what: nothing is left");
	$session->do("DROP $kind $name");
}
$session->disconnect;
$node->safe_psql('postgres', 'CREATE DATABASE also_granted OWNER regress_fflag_owner TEMPLATE granted');
for ([ granted => 'regress_fflag_owner' ], [ also_granted => $superuser ])
{
	my ($database, $updater) = @$_;
	$node->safe_psql($database, 'ALTER EXTENSION fflag UPDATE', extra_params => [ '-U', $updater ]);
	$session = session($node, dbname => $database, user => 'regress_fflag_owner');
	is(ask($session, $grants), $before, "after the update by $updater: the same grants");
	is(error_of($session, q{SELECT variant FROM fflag_explain('f')}), 'no error', "after the update by $updater: the new column");
	$session->disconnect;
}
$node->stop;
done_testing();
