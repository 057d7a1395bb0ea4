# Tables that Citus distributes while sessions are open, or otherwise than docs/citus.md says:
# what is in the shells is never an answer.  Either the rows are read, or there is an error that
# names the table and says what to do.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagCitus;
use FflagTest;
use Test::More;

my @nodes = citus_nodes();
create_database('shop', @nodes);
my $session = session($nodes[0], dbname => 'shop');
run_block($session, 'docs/citus.md', page('coordinator', $session) =~ s/CREATE EXTENSION fflag;.*//sr);
$session->do('CREATE EXTENSION fflag');
my $other = session($nodes[0], dbname => 'shop');
my $worker = session($nodes[1], dbname => 'shop');

# Two tables with flag "f", which everybody gets, and a list with user 1 for flag "l".
sub tables
{
	my ($flags, $users) = @_;
	$session->do(qq{
		CREATE TABLE $flags (id bigint PRIMARY KEY, name text NOT NULL, enabled boolean NOT NULL DEFAULT true,
			staff_only boolean NOT NULL DEFAULT false, rollout_percentage numeric NOT NULL DEFAULT 100, UNIQUE (name));
		CREATE TABLE $users (flag_id bigint NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
		INSERT INTO $flags VALUES (1, 'f', true, false, 100), (2, 'l', true, false, 0);
		INSERT INTO $users VALUES (2, '1')});
	return;
}

sub attach
{
	my ($in, $flags, $users) = @_;
	return error_of($in, "SELECT fflag_attach('$flags', '$users', flag_id => 'flag_id')");
}

my $both = q{SELECT fflag_enabled('f', 1)::int || ' ' || fflag_enabled('l', 1)::int};
my $detach = q{SELECT fflag_detach()};

# ---- distributed by a key

tables('h', 'hu');
$session->do(q{SELECT create_distributed_table('hu', 'flag_id')});
like(attach($session, 'h', 'hu'), qr/table public\.hu, .* is distributed by Citus, and no reference table\n.*\nHINT:  .*create_reference_table\(\)/,
	'a list that is distributed by a key is refused');
$session->do(q{SELECT undistribute_table('hu')});
is(attach($session, 'h', 'hu'), 'no error', 'undistributed: it may be attached');
is(ask($other, $both), '1 1', '... and is read');
like(error_of($session, q{SELECT create_distributed_table('hu', 'flag_id')}), qr/because it has triggers/, 'Citus refuses to distribute what is attached');
$session->do(q{SET citus.enable_unsafe_triggers = on});
$session->do(q{SELECT create_distributed_table('hu', 'flag_id')});
like(error_of($other, $both), qr/public\.hu, .* no reference table/, 'unless it is told to: an open session has an error');
is($other->state, '0A000', '... with this SQLSTATE');
is(error_of($session, $detach), 'no error', 'detached');
is(ask($other, $both), '0 0', '... the own tables are read again');
$session->do('DROP TABLE h, hu');

# ---- one shard, on one node

tables('s', 'su');
$session->do(q{SELECT create_distributed_table('s', NULL, colocate_with => 'none')});
like(attach($session, 's', 'su'), qr/public\.s, .* no reference table/, 'a table of one shard is refused');
$session->do('DROP TABLE s, su');

# ---- made a reference table while it is attached

tables('r', 'ru');
is(attach($session, 'r', 'ru'), 'no error', 'attached');
is(ask($other, $both), '1 1', '... and cached');
$session->do(qq{SELECT create_reference_table('$_')}) for ('r', 'ru');
is(ask($other, $both), '1 1', 'a reference table: its rows are read, in an open session');
$session->do(q{UPDATE r SET enabled = false WHERE name = 'f'});
is(ask($other, $both), '0 1', '... not those that are left in the shell');
$session->do(q{DELETE FROM ru});
is(ask($other, $both), '0 0', '... of either table');
is(attach($session, 'r', 'ru'), 'no error', 'attached again');
is(attach($worker, 'r', 'ru'), 'no error', '... and on a worker');
$session->do(q{INSERT INTO ru VALUES (2, '1')});
is(ask($_, $both), '0 1', 'its rows are read') for ($other, $worker);
is(ask($_, 'SELECT caching FROM fflag_cache()'), 1, '... and cached') for ($other, $worker);

# ---- and undistributed again

$session->do(q{SELECT undistribute_table(t) FROM unnest('{r,ru}'::regclass[]) AS t});
is(ask($other, $both), '0 1', 'undistributed: Citus has put the triggers of the shell on the new table');
like(error_of($worker, $both), qr/public\.r, .* does not exist\nHINT:/, '... and there is none on a worker');
is(attach($session, 'r', 'ru'), 'no error', 'attached');
is(ask($other, $both), '0 1', '... and read');
is(error_of($_, $detach), 'no error', 'detached') for ($session, $worker);
$session->do('DROP TABLE r, ru');

tables('t', 'tu');
$session->do(qq{SELECT create_reference_table('$_')}) for ('t', 'tu');
is(attach($session, 't', 'tu'), 'no error', 'attached as reference tables');
is(ask($other, $both), '1 1', '... and read');
$session->do(q{SELECT undistribute_table(t) FROM unnest('{t,tu}'::regclass[]) AS t});
like(error_of($other, $both), qr/public\.t, .* lacks the trigger of extension "fflag"/, 'undistributed: what takes their place has to be attached');
is(attach($session, 't', 'tu'), 'no error', '... which can be done');
is(ask($other, $both), '1 1', '... and is read');
is(error_of($session, $detach), 'no error', 'detached');
$session->do('DROP TABLE t, tu');

# ---- a table that Citus takes into its metadata for the sake of a foreign key

tables('k', 'ku');
is(attach($session, 'k', 'ku'), 'no error', 'attached');
$session->do(q{CREATE TABLE owner (flag_id bigint REFERENCES k)});
$session->do(q{SELECT create_reference_table('owner')});
is(ask($other, $both), '1 1', 'referred to by a reference table: still read');
$session->do(q{UPDATE k SET enabled = false WHERE name = 'f'});
is(ask($other, $both), '0 1', '... and a change is seen');
like(error_of($other, q{SELECT fflag_enable('f')}), qr/kept in table public\.k,/, '... and named as users know it');
is(error_of($session, $detach), 'no error', 'detached');
$session->do('DROP TABLE owner, k, ku');

# ---- names that Citus cuts, and others that need quotes

for my $names ([ 'a' x 63, 'b' x 63 ], [ '"A flag"', '"Ä.user_7"' ])
{
	tables(@$names);
	$session->do("SELECT create_reference_table('$_')") for @$names;
	is(attach($_, @$names), 'no error', substr($names->[0], 0, 8) . ': attached') for ($session, $worker);
	is(ask($_, $both), '1 1', '... and read') for ($other, $worker);
	$session->do("UPDATE $names->[0] SET enabled = false");
	is(ask($_, $both), '0 0', '... and changed') for ($other, $worker);
	is(error_of($_, $detach), 'no error', '... and detached') for ($session, $worker);
}

# ---- the extension's own tables

my $alone = session($nodes[3], dbname => 'shop');
$alone->do('CREATE EXTENSION fflag');
$alone->do(sprintf q{SELECT citus_set_coordinator_host('127.0.0.1', %d)}, $nodes[3]->port);
$alone->do(q{SELECT fflag_register('own', true, 100)});
my $open = session($nodes[3], dbname => 'shop');
is(ask($open, q{SELECT fflag_enabled('own', 1)}), 1, 'own tables are read');
like(error_of($alone, q{SELECT create_reference_table('feature_flag')}), qr/because it has triggers/, 'Citus refuses to distribute them');
$alone->do(q{SET citus.enable_unsafe_triggers = on});
$alone->do(q{SELECT create_reference_table('feature_flag')});
for my $statement (q{SELECT fflag_enabled('own', 1)}, q{SELECT fflag_enable('own')}, q{SELECT * FROM fflag_flags(1)})
{
	like(error_of($open, $statement), qr/table public\.feature_flag of extension "fflag" is distributed by Citus\nHINT:  .*fflag_attach\(\)/, 'unless it is told to: an error');
}
# the way out
$alone->do(q{CREATE TABLE flag (LIKE feature_flag INCLUDING INDEXES); CREATE TABLE flag_user (LIKE feature_flag_user INCLUDING INDEXES); INSERT INTO flag SELECT * FROM feature_flag});
$alone->do("SELECT create_reference_table('$_')") for ('flag', 'flag_user');
is(attach($alone, 'flag', 'flag_user'), 'no error', 'what the hint says can be done');
is(ask($open, q{SELECT fflag_enabled('own', 1)}), 1, '... and helps');

$_->disconnect for ($session, $other, $worker, $alone, $open);
stop_nodes();
done_testing();
