# An update to a next version, which test/data/next.sql makes up; and, once there are some, from
# each older version to the current one.
# - A fresh installation and an update are the same: functions, privileges, comments, triggers,
#   tables, and what is dumped, whether the owner updates or a superuser.  The update keeps flags,
#   and sessions that are open go on.
# - The owner of the extension is an ordinary role, and an update runs as a superuser.  None of the
#   owner's code that lies in wait in the extension's tables runs as that superuser.  Bad scripts
#   show that it would be noticed.
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

my $folder = script_folder($node);
plan skip_all => 'this server looks for scripts only where it is installed' unless $folder;
write_script($folder, 'next', next_script());

# each a way from one version to another
my @updates = ((map { [ $_, $current ] } grep { $_ ne $current } @versions), [ $current, 'next' ]);

# ---- the same as a fresh one -------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE regress_fflag_owner LOGIN; CREATE ROLE regress_fflag_other');
my $superuser = ask(session($node), 'SELECT current_user');
for ([ $superuser, $superuser ], [ 'regress_fflag_owner', 'regress_fflag_owner' ], [ 'regress_fflag_owner', $superuser ])
{
	my ($owner, $updater) = @$_;
	for (@updates)
	{
		my ($from, $to) = @$_;
		my $what = "$owner, $from to $to, $updater";
		$node->safe_psql('postgres', "CREATE DATABASE $_ OWNER $owner") for ('fresh', 'updated');
		my $fresh = session($node, dbname => 'fresh', user => $owner);
		$fresh->do("CREATE EXTENSION fflag VERSION '$to'");
		my $expected = catalog($fresh);
		like($expected, qr/^function fflag_enabled\(text,bigint,boolean,boolean\).*fflag_support/m, "$what: the catalogs are read");
		$fresh->disconnect;

		my $session = session($node, dbname => 'updated', user => $owner);
		my $open = session($node, dbname => 'updated', user => $owner);
		$session->do("CREATE EXTENSION fflag VERSION '$from'");
		isnt(catalog($session), $expected, "$what: it differs before the update");
		$session->do(q{SELECT fflag_register('f', true, 0), fflag_allow('f', 1)});
		$open->do(q{PREPARE p AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('f', n)});
		is(ask($open, 'EXECUTE p'), 1, "$what: a session has evaluated");
		for my $role ($superuser, 'regress_fflag_owner')
		{
			$node->safe_psql('updated', "ALTER DEFAULT PRIVILEGES FOR ROLE $role GRANT ALL ON $_ TO regress_fflag_other; ALTER DEFAULT PRIVILEGES FOR ROLE $role REVOKE ALL ON $_ FROM $role")
			  for ('TABLES', 'FUNCTIONS');
		}
		$node->safe_psql('updated', "ALTER EXTENSION fflag UPDATE TO '$to'", extra_params => [ '-U', $updater ]);
		is(ask($open, 'EXECUTE p'), 1, "$what: and does so after the update");
		is(catalog($session), $expected, "$what: updated is the same as fresh");
		$session->do(q{SELECT fflag_disable('f')});
		is(ask($open, 'EXECUTE p'), 0, "$what: a change is seen");
		$_->disconnect for ($session, $open);
		$node->safe_psql('postgres', "DROP DATABASE $_") for ('fresh', 'updated');
	}
}

# ---- traps ---------------------------------------------------------------------

# What the owner leaves in a table %1$s, whose first two columns are %2$s and %3$s.  Each notes who
# runs it.  (Policies are no trap: superusers never run them.)
my %trap = (
	index => 'CREATE INDEX ON %1$s ((octet_length(%3$s::text) + public.note(\'index\')))',
	partial => 'CREATE INDEX ON %1$s (%3$s) WHERE public.note(\'partial\') > 0',
	statistics => 'CREATE STATISTICS public.%1$s_trap ON (octet_length(%3$s::text) + public.note(\'statistics\')), %3$s FROM %1$s',
	check => 'ALTER TABLE %1$s ADD CHECK (octet_length(%3$s::text) + public.note(\'check\') > 0)',
	generated => 'ALTER TABLE %1$s ADD COLUMN trap_generated int GENERATED ALWAYS AS (octet_length(%2$s::text) + public.note(\'generated\')) STORED',
	default => 'ALTER TABLE %1$s ADD COLUMN trap_default int, ALTER COLUMN trap_default SET DEFAULT public.note(\'default\')',
	trigger => 'CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON %1$s FOR EACH ROW EXECUTE FUNCTION public.note_row(\'trigger\')',
	deferred => 'CREATE CONSTRAINT TRIGGER trap_deferred AFTER INSERT OR UPDATE OR DELETE ON %1$s DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION public.note_row(\'deferred\')',
	rule => 'CREATE RULE trap AS ON INSERT TO %1$s DO ALSO SELECT public.note(\'rule\')',
	child => 'CREATE TABLE public.%1$s_child () INHERITS (%1$s); CREATE INDEX ON public.%1$s_child ((octet_length(%3$s::text) + public.note(\'child\')))');
# and in one column of feature_flag, which has another type from then on, with a cast
my @cast = (q{CREATE TYPE public.disguise AS (content text)},
	q{CREATE FUNCTION public.undisguise(public.disguise) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN public.note('cast') > 0 THEN $1.content END $$},
	'CREATE CAST (public.disguise AS text) WITH FUNCTION public.undisguise AS IMPLICIT',
	'ALTER TABLE feature_flag ALTER COLUMN description DROP DEFAULT, ALTER COLUMN description TYPE public.disguise USING ROW(description)');

# A database with all of them, and some flags, of an older version.  Where the tables of the history
# have traps, no flag can be changed, see 026_owner: they can be without.
sub set_traps
{
	my ($version, $without) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE traps OWNER regress_fflag_owner');
	my $session = session($node, dbname => 'traps', user => 'regress_fflag_owner');
	$session->do($_) for ('CREATE SCHEMA flags', "CREATE EXTENSION fflag SCHEMA flags VERSION '$version'", 'SET search_path = flags',
		q{SELECT fflag_register('f', true), fflag_register('g', true), fflag_allow('f', 1), fflag_deny('f', 2), fflag_variants('g', '{"a": 1}')},
		q{SELECT fflag_include('g', 'f', 'a')},
		# a function that is not volatile may not write, but may call one that does
		'CREATE TABLE public.noted (trap text, role text)',
		q{CREATE FUNCTION public.note_down(trap text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.noted VALUES (trap, current_user); RETURN 1; END $$},
		q{CREATE FUNCTION public.note(trap text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.note_down(trap); RETURN 1; END $$},
		q{CREATE FUNCTION public.note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.note_down(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END $$});
	my $tables = $session->selectall_arrayref(q{SELECT relname, f.attname, s.attname FROM pg_class AS c
			JOIN pg_depend AS d ON d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
			JOIN pg_attribute AS f ON f.attrelid = c.oid AND f.attnum = 1 JOIN pg_attribute AS s ON s.attrelid = c.oid AND s.attnum = 2
		WHERE relkind = 'r' ORDER BY relname});
	cmp_ok(scalar @$tables, '>=', 8, "$version: the extension's tables");
	for my $table (@$tables)
	{
		for my $trap (sort { ($a eq 'child') <=> ($b eq 'child') || $a cmp $b } keys %trap)
		{
			next if $without && $table->[0] =~ $without;
			$session->do(sprintf $_, @$table) for split /; /, $trap{$trap};
		}
	}
	$session->do($_) for @cast;
	$session->disconnect;
	return;
}

# The traps that note another role than the owner when somebody updates.
sub noted
{
	my ($updater, $version) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE trapped OWNER regress_fflag_owner TEMPLATE traps');
	my $session = session($node, dbname => 'trapped', user => $updater);
	$session->do('DELETE FROM public.noted');
	is(error_of($session, "ALTER EXTENSION fflag UPDATE TO '$version'"), 'no error', "$version, $updater: updated");
	my $traps = $session->selectcol_arrayref(q{SELECT DISTINCT trap FROM public.noted WHERE role <> 'regress_fflag_owner' ORDER BY 1});
	$session->disconnect;
	$node->safe_psql('postgres', 'DROP DATABASE trapped');
	return @$traps;
}

for (@updates)
{
	my ($from, $to) = @$_;
	set_traps($from);
	is(join(' ', noted($_, $to)), '', "$from to $to, $_: no code of the owner's is run as somebody else") for ($superuser, 'regress_fflag_owner');
	$node->safe_psql('postgres', 'DROP DATABASE traps');
}

# What a script must not do, and traps into which it falls then.
my %bad = (
	foreign_key => [ 'ALTER TABLE @extschema@.feature_flag_user ADD FOREIGN KEY (flag_id) REFERENCES @extschema@.feature_flag', qw(index partial statistics) ],
	default_of_key => [ 'ALTER TABLE @extschema@.feature_flag ADD COLUMN successor bigint DEFAULT 1 REFERENCES @extschema@.feature_flag', qw(index partial statistics) ],
	validate => [ q{ALTER TABLE @extschema@.feature_flag ADD COLUMN successor bigint, ADD CONSTRAINT k FOREIGN KEY (successor) REFERENCES @extschema@.feature_flag NOT VALID;
		ALTER TABLE @extschema@.feature_flag VALIDATE CONSTRAINT k}, qw(index partial statistics) ],
	checked => [ 'ALTER TABLE @extschema@.feature_flag ADD CHECK (pg_catalog.length(description) OPERATOR(pg_catalog.>=) 0)', 'cast' ],
	computed => [ 'ALTER TABLE @extschema@.feature_flag ADD COLUMN size integer GENERATED ALWAYS AS (pg_catalog.length(description)) STORED', 'cast' ],
	retyped => [ 'ALTER TABLE @extschema@.feature_flag ALTER COLUMN name TYPE text', qw(check index) ],
	query => [ q{DO $$ BEGIN PERFORM FROM @extschema@.feature_flag; END $$}, qw(child index partial statistics) ],
	related => [ q{UPDATE @extschema@.feature_flag_relation SET pin = NULL}, qw(check child deferred generated index partial statistics trigger) ],
	insert => [ q{INSERT INTO @extschema@.feature_flag_denied_user (flag_id, user_id) VALUES (2, '3')}, qw(check default deferred generated index partial rule trigger) ],
	update => [ q{UPDATE @extschema@.feature_flag_user SET user_id = '7'}, qw(check child deferred generated index partial statistics trigger) ],
	function => [ q{SELECT @extschema@.fflag_disable('g')}, qw(check child deferred generated index partial statistics trigger) ]);
my %sprung;
set_traps('1.0', qr/_(?:change|history)$/);
for my $bad (sort keys %bad)
{
	my ($script, @expected) = @{ $bad{$bad} };
	write_script($folder, $bad, "$script;\n");
	my @noted = noted($superuser, $bad);
	my %noted = map { $_ => $sprung{$_} = 1 } @noted;
	is(join(' ', grep { $noted{$_} } @expected), "@expected", "$bad: falls into traps");
	note "@noted";
}
is(join(' ', sort keys %sprung), join(' ', sort 'cast', keys %trap), 'every trap catches some bad script');

$node->stop;
done_testing();
