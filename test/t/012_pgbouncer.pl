# Behind pgbouncer in transaction mode a client's statements run in any of a few
# server sessions, each with a cache of its own: nothing changes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'pgbouncer is not installed' unless $pgbouncer;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION fflag; SELECT fflag_register('f')});

# ---- pgbouncer, on a Unix socket only

my $dir = PostgreSQL::Test::Utils::tempdir_short;
my $user = ask(session($node), 'SELECT current_user');
append_to_file("$dir/users.txt", qq{"$user" ""\n});
append_to_file("$dir/pgbouncer.ini", sprintf <<'END', $node->host, $node->port, $user, $node->port, $dir, $dir);
[databases]
postgres = host=%s port=%d user=%s pool_size=3
[pgbouncer]
listen_addr =
listen_port = %d
unix_socket_dir = %s
auth_type = any
auth_file = %s/users.txt
pool_mode = transaction
server_round_robin = 1
ignore_startup_parameters = options
END
my $pid = fork // die "fork: $!";
if ($pid == 0)
{
	open STDOUT, '>', "$dir/log";
	open STDERR, '>&', \*STDOUT;
	exec $pgbouncer, "$dir/pgbouncer.ini" or POSIX::_exit(1);
}
END
{
	my $status = $?;
	if ($pid)
	{
		kill TERM => $pid;
		waitpid $pid, 0;
	}
	$? = $status;
}

{
	package Pool;
	sub new { my ($class, %self) = @_; return bless {%self}, $class; }
	sub host { return $_[0]{host}; }
	sub port { return $_[0]{port}; }
}
my $pool = Pool->new(host => $dir, port => $node->port);
my @clients;
for my $try (1 .. 100)
{
	last if eval { push @clients, session($pool); 1 };
	die "pgbouncer does not start: $@" . slurp_file("$dir/log") if $try == 100;
	select undef, undef, undef, 0.05;
}
push @clients, map { session($pool) } (2 .. 10);

# three at a time make it open three server sessions, which it uses by turns
# from then on
$_->do('BEGIN') for @clients[ 0 .. 2 ];
is_off($_, 'off at first') for @clients[ 0 .. 2 ];
$_->do('COMMIT') for @clients[ 0 .. 2 ];

# ---- statements of their own

my $writer = session($node);
my ($asked, $wrong) = (0, 0);
my %backend;
for my $round (1 .. 100)
{
	my $wanted = $round % 2;
	# by turns around pgbouncer and through it
	($round % 4 < 2 ? $writer : $clients[ $round % 10 ])->do('UPDATE feature_flag SET enabled = ' . ($wanted ? 'true' : 'false'));
	for my $client (@clients)
	{
		my ($answer, $backend) = $client->selectrow_array(q{SELECT fflag_enabled('f', 1), pg_backend_pid()});
		$asked++;
		$wrong += $answer ne $wanted;
		$backend{$backend}++;
	}
}
is($wrong, 0, "100 changes, $asked answers: none wrong");
is(keys %backend, 3, 'given by three server sessions');

# ---- transactions: each holds a server session while it is open

$writer->do('UPDATE feature_flag SET enabled = true');
my ($first, $second, $third) = @clients;
$first->do('BEGIN');
$second->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is_on($_, 'in a transaction: on') for ($first, $second);
$writer->do('UPDATE feature_flag SET enabled = false');
is_off($first, 'READ COMMITTED: off in the next statement');
is_on($second, 'REPEATABLE READ: keeps its snapshot');
is_off($third, 'a third client: off');
$_->do('COMMIT') for ($first, $second);
is_off($_, 'afterwards: off') for @clients;

# a change that is rolled back leaves nothing in the server session, which
# another client gets
$first->do('BEGIN');
$first->do('UPDATE feature_flag SET enabled = true');
is_on($first, 'its own change');
is_off($_, 'not seen by others') for @clients[ 1 .. 9 ];
$first->do('ROLLBACK');
is_off($_, 'rolled back') for (@clients, @clients);

# a client that leaves in the middle
$first->do('BEGIN');
$first->do('UPDATE feature_flag SET enabled = true');
$first->disconnect;
is_off($_, 'its client has left') for (@clients[ 1 .. 9 ], @clients[ 1 .. 9 ]);

# ---- PREPARE and DEALLOCATE within a transaction, SET LOCAL

$second->do('BEGIN');
$second->do(q{PREPARE evaluate AS SELECT fflag_enabled('f', 1)});
is(ask($second, 'EXECUTE evaluate'), 0, 'prepared: off');
$writer->do('UPDATE feature_flag SET enabled = true');
is(ask($second, 'EXECUTE evaluate'), 1, 'prepared: on');
$second->do('DEALLOCATE evaluate');
$second->do('SET LOCAL fflag.cache = off');
is_on($second, 'not cached: on');
$second->do('COMMIT');
is(ask($_, 'SHOW fflag.cache'), 'on', 'SET LOCAL ends with the transaction') for @clients[ 1 .. 6 ];

$_->disconnect for ($writer, @clients);
no_crash($node);
$node->stop;
done_testing();
