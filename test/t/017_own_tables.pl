# What docs/operations.md says that a dump saves, and what not: metadata, and
# tables of one's own that refer to flags; not what is added to the extension's
# tables.
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
my $page = 'docs/operations.md';
my ($own_table) = grep { /CREATE TABLE flag_owner/ } code_blocks($page, 'sql');
my ($parallel) = code_blocks($page, 'sh');

# ---- a table of one's own, in each way that orders things differently

my $owners = q{SELECT string_agg(concat_ws(' ', id, name, team, metadata), ', ' ORDER BY id)
	FROM feature_flag LEFT JOIN flag_owner ON flag_id = id};
$node->safe_psql('postgres', 'CREATE DATABASE own');
$node->safe_psql('own', "CREATE EXTENSION fflag; SELECT fflag_register(ARRAY['new_checkout', 'f', 'g']); $own_table");
$node->safe_psql('own', q{UPDATE feature_flag SET metadata = '{"ticket": "OPS-1"}' WHERE name = 'f';
	INSERT INTO flag_owner SELECT id, 'search' FROM feature_flag WHERE name <> 'new_checkout' ON CONFLICT DO NOTHING});
my $before = ask(session($node, dbname => 'own'), $owners);
like($before, qr/ f search \{"ticket": "OPS-1"\}, \d+ g search \{\}/, 'filled');

for my $how ([ '-Fp' ], [ '-Fc' ], [ '-Fd', '--jobs=4' ], [ '-Fc', '--clean', '--if-exists' ], [ '-Fc', '--data-only' ])
{
	my ($format, @options) = @$how;
	my $what = "@$how";
	my $file = "$dir/" . join '', @$how;
	my $data_only = $what =~ /data-only/;
	$node->command_ok([ 'pg_dump', $format, $data_only ? '--data-only' : (), '-f', $file, 'own' ], "$what: pg_dump");
	$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	$node->safe_psql('restored', "CREATE EXTENSION fflag; INSERT INTO feature_flag (name) VALUES ('new_checkout'); $own_table DELETE FROM feature_flag")
		if $data_only;
	if ($what =~ /jobs/)
	{
		(my $commands = $parallel) =~ s/\bdirectory\b/'$file'/g;
		$commands =~ s/\bparallel\b/restored/g;
		system_or_bail('sh', '-ec', "cd $dir; export PGHOST=" . $node->host . ' PGPORT=' . $node->port . "; $commands");
	}
	else
	{
		$node->command_ok($format eq '-Fp' ? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $file ] :
				[ 'pg_restore', '-e', @options, '-d', 'restored', $file ], "$what: restore");
	}
	my $session = session($node, dbname => 'restored');
	is(ask($session, $owners), $before, "$what: same rows");
	$session->do('DELETE FROM feature_flag');
	is(ask($session, 'SELECT count(*) FROM flag_owner'), 0, "$what: the foreign key is there");
	$session->disconnect;
	$node->safe_psql('postgres', 'DROP DATABASE restored');
}

# ---- what is added to the extension's own tables

my $added = q{SELECT concat_ws(', ', (SELECT relname FROM pg_class WHERE relname = 'my_index'), (SELECT polname FROM pg_policy),
	(SELECT tgname FROM pg_trigger WHERE tgname = 'my_trigger'), (SELECT conname FROM pg_constraint WHERE conname = 'my_check'),
	(SELECT 'row security' FROM pg_class WHERE relname = 'feature_flag' AND relrowsecurity))};
$node->safe_psql('postgres', 'CREATE DATABASE altered');
$node->safe_psql('altered', q{CREATE EXTENSION fflag;
	SELECT fflag_register(ARRAY['f', 'g'], true);
	CREATE INDEX my_index ON feature_flag (description);
	CREATE POLICY my_policy ON feature_flag;
	ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
	ALTER TABLE feature_flag ADD CONSTRAINT my_check CHECK (name <> 'h');
	CREATE FUNCTION my_function() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER my_trigger BEFORE UPDATE ON feature_flag FOR EACH ROW EXECUTE FUNCTION my_function()});
is(ask(session($node, dbname => 'altered'), $added), 'my_index, my_policy, my_trigger, my_check, row security', 'added');

for my $column ('', 'team')
{
	my $what = $column ? 'with a column' : 'without a column';
	$node->safe_psql('altered', "ALTER TABLE feature_flag ADD COLUMN $column text") if $column;
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/altered$column", 'altered' ], "$what: pg_dump");
	$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	my @restore = ('pg_restore', '-d', 'restored', "$dir/altered$column");
	$column ? $node->command_fails_like(\@restore, qr/column "team" of relation "feature_flag" does not exist/, "$what: the restore says so")
		: $node->command_ok(\@restore, "$what: restore");
	my $session = session($node, dbname => 'restored');
	is(ask($session, 'SELECT count(*) FROM feature_flag'), $column ? 0 : 2, "$what: flags");
	is(ask($session, $added), '', "$what: nothing that was added");
	$session->disconnect;
	$node->safe_psql('postgres', 'DROP DATABASE restored');
}

$node->stop;
done_testing();
