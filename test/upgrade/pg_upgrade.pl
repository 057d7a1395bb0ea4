# pg_upgrade, copying and linking, from the server of OLD_PG_CONFIG to that of
# PG_CONFIG: with each version of the extension in a database of its own, in
# another schema than public, created by an ordinary role, and in use by an index,
# a generated column, a view, a materialized view and a policy.  Everything
# answers as before, and flags can be changed from there.
use strict;
use warnings;
use File::Basename;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

chomp(my $old_bin = `$ENV{OLD_PG_CONFIG} --bindir`);
chomp(my $new_bin = `$ENV{PG_CONFIG} --bindir`);
my $old = PostgreSQL::Test::Cluster->new('old', install_path => dirname($old_bin));
# 18 has checksums unless told otherwise, and pg_upgrade wants both to agree
$old->init(extra => ['--data-checksums']);
$old->start;
note 'from ' . ask(session($old), 'SELECT version()');

# ---- what is in use --------------------------------------------------------

sub fill
{
	my ($db, $version) = @_;
	$old->safe_psql('postgres', "CREATE DATABASE $db OWNER regress_fflag_owner");
	my $session = session($old, dbname => $db, user => 'regress_fflag_owner');
	$session->do($_) for ('CREATE SCHEMA flags', "CREATE EXTENSION fflag SCHEMA flags VERSION '$version'",
		q{SELECT flags.fflag_register('off', false, 50), flags.fflag_register('full', true, 100),
			flags.fflag_register('tenth', true, 10), flags.fflag_register('fine', true, 0.125, false, E'it''s\n'),
			flags.fflag_register('listed', true, 0), flags.fflag_register('staff', false, 0, true),
			flags.fflag_register('über', true, 33.333)},
		q{SELECT flags.fflag_allow('tenth', 1, 2, 3, 5, 8), flags.fflag_allow('listed', 'u1', 'ä'),
			flags.fflag_allow('listed', md5('1')::uuid), flags.fflag_allow('off', 1)},
		# so many that they are held behind a filter
		q{SELECT flags.fflag_allow('über', VARIADIC (SELECT array_agg(n) FROM generate_series(1, 100000, 3) AS n))},
		q{CREATE TABLE users (id bigint, is_staff boolean NOT NULL,
			bucket int GENERATED ALWAYS AS (flags.fflag_bucket('fine', id)) STORED)},
		q{INSERT INTO users SELECT n, n % 100 = 0 FROM generate_series(1, 10000) AS n UNION ALL SELECT NULL, false},
		q{CREATE INDEX users_tenth ON users (flags.fflag_bucket('tenth', id))},
		q{ANALYZE users},
		q{CREATE VIEW who AS SELECT id FROM users WHERE flags.fflag_enabled('tenth', id, is_staff)},
		q{CREATE MATERIALIZED VIEW who_was AS SELECT * FROM who},
		q{ALTER TABLE users ENABLE ROW LEVEL SECURITY},
		q{CREATE POLICY rollout ON users USING (flags.fflag_enabled('tenth', id, is_staff))},
		q{GRANT USAGE ON SCHEMA flags TO regress_fflag_reader},
		q{GRANT SELECT ON users TO regress_fflag_reader},
		q{GRANT EXECUTE ON FUNCTION flags.fflag_flags(bigint, boolean) TO regress_fflag_reader});
	$session->disconnect;
	return;
}

# ---- what is asked -----------------------------------------------------------

# of every flag and of a name that is none, for every user
my $asked = q{FROM (SELECT name FROM flags.feature_flag UNION ALL SELECT 'no such flag') AS f CROSS JOIN users AS u};
sub each_flag
{
	my ($what) = @_;
	return qq{SELECT string_agg(concat_ws(' ', name, count, yes, digest), E'\n' ORDER BY name) FROM
		(SELECT name, count(*), count(*) FILTER (WHERE ($what)::text ~ '^\\(?t') AS yes,
			md5(string_agg(($what)::text, E'\n' ORDER BY u.id)) AS digest $asked GROUP BY name) AS _};
}
my %question = (
	'bigint users' => each_flag('flags.fflag_enabled(name, id, is_staff)'),
	'text users' => each_flag(q{flags.fflag_enabled(name, 'u' || id, is_staff)}),
	'uuid users' => each_flag('flags.fflag_enabled(name, md5(id::text)::uuid, is_staff)'),
	'explanations' => each_flag('flags.fflag_explain(name, id, is_staff)'),
	'rules' => "SELECT string_agg(DISTINCT (flags.fflag_explain(name, id, is_staff)).rule, ' ') $asked",
	'flags of a user' => q{SELECT string_agg(f::text, ' ') FROM flags.fflag_flags(8) AS f},
	'generated column' => 'SELECT md5(string_agg(bucket::text, E\'\n\' ORDER BY id)) FROM users',
	'generated column as computed' => q{SELECT md5(string_agg(flags.fflag_bucket('fine', id)::text, E'\n' ORDER BY id)) FROM users},
	'view' => 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM who',
	'materialized view' => 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM who_was',
	'triggers' => q{SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), E'\n' ORDER BY tgrelid::regclass::text, tgname)
		FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'flags.%'},
	'rows' => q{SELECT (SELECT string_agg(f::text, E'\n' ORDER BY id) FROM flags.feature_flag AS f)
		|| (SELECT count(*) || md5(string_agg(u::text, E'\n' ORDER BY flag_id, user_id)) FROM flags.feature_flag_user AS u)},
);

my $by_index = q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM users WHERE flags.fflag_bucket('tenth', id) < 10000};

# Asks everything, in a new session of the owner and one of a reader.
sub answers
{
	my ($node, $db) = @_;
	my $session = session($node, dbname => $db, user => 'regress_fflag_owner');
	my %answer = map { $_ => ask($session, $question{$_}) } keys %question;
	$session->do('SET enable_seqscan = off');
	$answer{index} = ask($session, $by_index);
	$answer{plan} = join("\n", map { $_->[0] } @{ $session->selectall_arrayref("EXPLAIN $by_index") }) =~ /on (users_tenth)/ ? $1 : '';
	$session->disconnect;
	$session = session($node, dbname => $db, user => 'regress_fflag_reader');
	$answer{'policy'} = ask($session, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM users});
	$answer{'granted'} = ask($session, 'SELECT count(*) FROM flags.fflag_flags(8)');
	$answer{'not granted'} = error_of($session, q{SELECT flags.fflag_explain('full', 1)});
	$session->disconnect;
	return \%answer;
}

sub same
{
	my ($node, $db, $before, $what) = @_;
	my $now = answers($node, $db);
	is($now->{$_}, $before->{$_}, "$what: $_") for sort keys %$before;
	return;
}

# The same in the tables' terms, for one flag.
my $yes = q{SELECT count(*) FILTER (WHERE flags.fflag_enabled('tenth', id)) FROM users};
my $truth = q{SELECT count(*) FROM users AS u, flags.feature_flag AS f WHERE name = 'tenth'
	AND (flags.fflag_bucket('tenth', u.id) < 1000 * rollout_percentage
		OR EXISTS (SELECT FROM flags.feature_flag_user AS l WHERE l.flag_id = f.id AND l.user_id = u.id::text))};

# ---- before ----------------------------------------------------------------------

$old->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner LOGIN; CREATE ROLE regress_fflag_reader LOGIN');
my ($current, @versions) = versions();
my %version = map { ("v$_" =~ tr/./_/r) => $_ } @versions;
cmp_ok(scalar @versions, '>', 1, "versions: @versions");
my %before;
for my $db (sort keys %version)
{
	fill($db, $version{$db});
	my $answers = $before{$db} = answers($old, $db);
	is($answers->{rules}, 'allowlist disabled full_rollout no_rollout no_user rollout staff_only unknown_flag', "$db: every rule is asked for");
	is($answers->{plan}, 'users_tenth', "$db: the index is used");
	is($answers->{'generated column'}, $answers->{'generated column as computed'}, "$db: the generated column is the bucket");
	is($answers->{view}, $answers->{policy}, "$db: the policy lets see what the view shows");
	like($answers->{'not granted'}, qr/permission denied/, "$db: the reader may not explain");
	is(() = $answers->{triggers} =~ /fflag_invalidate A/g, 2, "$db: triggers fire always");
}
$old->stop;

# ---- upgrades ------------------------------------------------------------------

for my $mode ('--copy', '--link')
{
	my $new = PostgreSQL::Test::Cluster->new("new$mode");
	$new->init(extra => ['--data-checksums']);
	my $dir = PostgreSQL::Test::Utils::tempdir;
	chdir $dir or die;
	command_ok([ 'pg_upgrade', '--no-sync', $mode, '-b', $old_bin, '-B', $new_bin, '-d', $old->data_dir, '-D', $new->data_dir,
			'-s', $new->host, '-p', $old->port, '-P', $new->port ], "pg_upgrade $mode");
	$new->start;
	note 'to ' . ask(session($new), 'SELECT version()');

	for my $db (sort keys %version)
	{
		my $what = "$mode, $version{$db}";
		same($new, $db, $before{$db}, $what);

		# changes, in the owner's session, and as a replica would
		my $open = session($new, dbname => $db, user => 'regress_fflag_owner');
		my $writer = session($new, dbname => $db, user => 'regress_fflag_owner');
		my $replica = session($new, dbname => $db);
		$replica->do('SET session_replication_role = replica');
		my $was = ask($open, $yes);
		is($was, ask($open, $truth), "$what: right");
		is(ask($open, 'SELECT caching FROM flags.fflag_cache()'), 1, "$what: and cached");
		for ([ $writer, q{UPDATE flags.feature_flag SET rollout_percentage = 20 WHERE name = 'tenth'} ],
			[ $replica, q{UPDATE flags.feature_flag SET rollout_percentage = 30 WHERE name = 'tenth'} ],
			[ $writer, q{SELECT flags.fflag_allow('tenth', VARIADIC (SELECT array_agg(id) FROM users WHERE id % 7 = 0))} ],
			[ $replica, q{DELETE FROM flags.feature_flag_user WHERE user_id LIKE '%7'} ])
		{
			my ($session, $change) = @$_;
			$session->do($change);
			my $now = ask($open, $yes);
			isnt($now, $was, "$what: seen: $change");
			is($now, ask($open, $truth), "$what: and right");
			$was = $now;
		}
		$writer->do('REFRESH MATERIALIZED VIEW who_was');
		is(ask($open, $question{'materialized view'}), ask($open, $question{view}), "$what: the materialized view is refreshed");
		is(ask($writer, q{SELECT flags.fflag_register('new', true)}), 1, "$what: the identity goes on");

		# the newest extension, with that session open; a fresh one has come to it
		# in the same way
		my $superuser = session($new, dbname => $db);
		my $version = q{SELECT extversion FROM pg_extension WHERE extname = 'fflag'};
		my $now = answers($new, $db);
		$new->safe_psql('postgres', 'CREATE DATABASE fresh OWNER regress_fflag_owner');
		my $fresh = session($new, dbname => 'fresh', user => 'regress_fflag_owner');
		$fresh->do($_) for ('CREATE SCHEMA flags', "CREATE EXTENSION fflag SCHEMA flags VERSION '$version{$db}'",
			'GRANT EXECUTE ON FUNCTION flags.fflag_flags(bigint, boolean) TO regress_fflag_reader');
		is(ask($writer, $version), $version{$db}, "$what: the version is kept");
		is(catalog($writer), catalog($fresh), "$what: the same as a fresh one");
		if ($version{$db} ne $current)
		{
			$what .= " to $current";
			like(error_of($writer, 'ALTER EXTENSION fflag UPDATE'), qr/must be owner of extension/, "$what: no longer the owner's");
			$superuser->do('ALTER EXTENSION fflag UPDATE');
			session($new, dbname => 'fresh')->do('ALTER EXTENSION fflag UPDATE');
			is(ask($writer, $version), $current, "$what: ALTER EXTENSION UPDATE");
			is(ask($open, $yes), $was, "$what: the session goes on");
			same($new, $db, $now, $what);
			is(catalog($writer), catalog($fresh), "$what: the same as a fresh one");
			$writer->do(q{UPDATE flags.feature_flag SET rollout_percentage = 40 WHERE name = 'tenth'});
			isnt(ask($open, $yes), $was, "$what: a change is seen");
			is(ask($open, $yes), ask($open, $truth), "$what: and right");
		}
		$_->disconnect for ($open, $writer, $replica, $superuser, $fresh);
		$new->safe_psql('postgres', 'DROP DATABASE fresh');
	}
	$new->stop;
}

done_testing();
