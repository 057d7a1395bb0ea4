# Many sessions that change flags in many commands.  None of this may hurt the
# server or another session: no crash, no lost connection, no deadlock, and a
# handful of messages however many commands there are.
#
# A function below is one such thing.  It works on the extension's own tables or
# on attached ones, with figures that the test chooses, and ends with assertions.
# An error in any session, the loss of its connection included, fails the test.
package FflagWriters;

use strict;
use warnings;

use DBD::Pg;
use Exporter 'import';
use FflagCrowd;
use FflagTest;
use Test::More;

our @EXPORT = qw(writers_node own_tables attached_tables register write_in_loops change_while_others_sleep
  count_announcements write_in_opposite_order replace_variants);

my %own = (what => 'own tables', flags => 'feature_flag', users => 'feature_flag_user', wrong => 'wrong_own()');
my %attached = (what => 'attached tables', flags => 'their_flag', users => 'their_user', wrong => 'wrong_attached()');

# A server with the extension and two tables to attach.  All have a flag for each
# session, which nobody gets who is not listed.  The server starts again after a
# crash, so that what comes then is tested as well.
sub writers_node
{
	my $node = PostgreSQL::Test::Cluster->new('node');
	$node->init;
	$node->append_conf('postgresql.conf', q{
restart_after_crash = on
deadlock_timeout = 20ms
autovacuum = off
log_statement = none
log_min_messages = log
});
	# An eighth of the usual stack: messages that were acted upon within each other
	# would overflow it after some hundreds of them, and not after some thousands.
	system('prlimit', "--pid=$$", '--stack=' . 2**20 . ':') == 0 or diag 'the stack is as large as ever';
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE EXTENSION fflag;
		CREATE TABLE their_flag (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL DEFAULT false,
			staff_only boolean NOT NULL DEFAULT false, rollout_percentage int NOT NULL DEFAULT 0, description text);
		CREATE TABLE their_user (flag_id bigint NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
		CREATE TABLE other AS SELECT n FROM generate_series(1, 10) AS n;
	});
	for my $tables (\%own, \%attached)
	{
		# compares under a new snapshot, in the middle of a statement too
		$node->safe_psql('postgres', qq{
			INSERT INTO $tables->{flags} (name, enabled) SELECT 'writer ' || n, true FROM generate_series(1, 20) AS n;
			INSERT INTO $tables->{users} SELECT id, '1' FROM $tables->{flags} WHERE id % 2 = 0;
			CREATE FUNCTION $tables->{wrong} RETURNS bigint VOLATILE LANGUAGE plpgsql AS 'BEGIN
				RETURN (SELECT count(*) FROM $tables->{flags} AS f WHERE fflag_enabled(f.name, 1) <> (f.enabled AND
					EXISTS (SELECT FROM $tables->{users} AS u WHERE u.flag_id = f.id AND u.user_id = ''1''))); END';
		});
	}
	return $node;
}

sub own_tables
{
	return \%own;
}

sub attached_tables
{
	my ($node) = @_;
	open_session($node)->do(q{SELECT fflag_attach('their_flag', 'their_user', flag_id => 'flag_id')});
	return \%attached;
}

# A session, also if the server is starting again after a crash.
sub open_session
{
	my ($node) = @_;
	return reconnect(sub { session($node) });
}

# Runs code->(sessions); whatever it throws fails the test.
sub lives_in
{
	my ($what, $node, $count, $code) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @sessions = map { open_session($node) } (1 .. $count);
	my $lived = eval { $code->(@sessions); 1 };
	my $error = $@;
	ok($lived, "$what: no lost connection, no deadlock") or diag $error;
	eval { $_->disconnect } for @sessions;
	return;
}

# Runs code->(session, number) in so many processes, each with a session of its
# own, beside one session here that evaluates before and after.
sub crowd
{
	my ($what, $node, $tables, $count, $code) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	lives_in($what, $node, 1, sub {
		my ($reader) = @_;
		is(ask($reader, "SELECT $tables->{wrong}"), 0, "$what: right before");
		for my $n (1 .. $count)
		{
			start($what, sub { my $session = session($node); $code->($session, $n); $session->disconnect; });
		}
		is(gather()->{$what}{died}, 0, "$what: no session of $count died");
		is(ask($reader, "SELECT $tables->{wrong}"), 0, "$what: right afterwards");
	});
	return;
}

# The sessions register the same names, in new sessions each round; every other
# round there are no such flags before, or with "existing" never.
sub register
{
	my ($node, %figures) = @_;
	my $what = sprintf '%d sessions register %d names%s', @figures{qw(sessions names)}, $figures{existing} ? ' that exist' : '';
	my $names = "ARRAY(SELECT 'flag' || i FROM generate_series(1, $figures{names}) AS i)";
	for my $round (1 .. $figures{rounds})
	{
		open_session($node)->do($figures{existing} ? "SELECT count(*) FROM fflag_register($names)" : q{DELETE FROM feature_flag WHERE name LIKE 'flag%'})
			if $round % 2 || $figures{existing};
		crowd("$what, round $round", $node, \%own, $figures{sessions}, sub {
			my ($session) = @_;
			my $count = ask($session, "SELECT count(*) FROM fflag_register($names)");
			die "$count rows\n" if $count != $figures{names};
		});
		is(ask(open_session($node), q{SELECT count(*) FROM feature_flag WHERE name LIKE 'flag%'}), $figures{names}, "$what, round $round: each is there");
	}
	return;
}

# Each session changes its own flag and list, or adds flags, in as many commands
# of one transaction; each command in a savepoint of its own, or none.
sub write_in_loops
{
	my ($node, $tables, %figures) = @_;
	my ($flags, $users) = @$tables{qw(flags users)};
	my %command = (
		INSERT => sub { my ($n, $i) = @_; "INSERT INTO $flags (name) VALUES ('$n.$i')" },
		UPDATE => sub { my ($n) = @_; "UPDATE $flags SET enabled = NOT enabled WHERE name = 'writer $n'" },
		'list INSERT and DELETE' => sub {
			my ($n, $i) = @_;
			return $i % 2 ? "INSERT INTO $users SELECT id, 'user $i' FROM $flags WHERE name = 'writer $n'"
				: "DELETE FROM $users WHERE user_id = 'user " . ($i - 1) . "' AND flag_id = (SELECT id FROM $flags WHERE name = 'writer $n')";
		},
		'allow and disallow' => sub {
			my ($n, $i) = @_;
			return $i % 2 ? "SELECT fflag_allow('writer $n', $i)" : "SELECT fflag_disallow('writer $n', $i - 1)";
		});
	delete $command{'allow and disallow'} unless $tables == \%own;
	for my $savepoint ('', 'SAVEPOINT s')
	{
		for my $kind (sort keys %command)
		{
			my $what = "$tables->{what}: $figures{commands} commands, $kind, in $figures{sessions} sessions" . ($savepoint && ', each in a savepoint');
			crowd($what, $node, $tables, $figures{sessions}, sub {
				my ($session, $n) = @_;
				my @commands = map { $command{$kind}->($n, $_) } (1 .. $figures{commands});
				@commands = map { "$savepoint; $_; RELEASE s" } @commands if $savepoint;
				$session->do('BEGIN');
				# some at a time, which are commands of their own all the same
				$session->do(join '; ', splice @commands, 0, 100) while @commands;
				$session->do('COMMIT');
				die "wrong answers\n" if ask($session, "SELECT $tables->{wrong}");
			});
			open_session($node)->do("DELETE FROM $flags WHERE name NOT LIKE 'writer%'");
		}
	}
	return;
}

# So many transactions change flags and lists while one session is in the middle
# of a statement and others in the middle of cursors: these accept all messages
# at once, with the tables open.  The statement sleeps for so many seconds at least.
sub change_while_others_sleep
{
	my ($node, $tables, %figures) = @_;
	my ($flags, $users, $wrong) = @$tables{qw(flags users wrong)};
	my $what = "$tables->{what}: $figures{changes} transactions";
	lives_in($what, $node, 6, sub {
		my ($writer, $lock, $sleeper, @cursors) = @_;
		is(ask($_, "SELECT $wrong"), 0, "$what: right before") for ($sleeper, @cursors);
		$lock->do('SELECT pg_advisory_lock(1)');
		# sleeps at least until all is written
		my $statement = $sleeper->prepare("SELECT pg_sleep($figures{seconds}), pg_advisory_lock_shared(1), $wrong FROM $flags LIMIT 1",
			{ pg_async => DBD::Pg::PG_ASYNC() });
		$statement->execute;
		for my $session (@cursors)
		{
			$session->do('BEGIN');
			$session->do("DECLARE $_ CURSOR FOR TABLE $_") for ($flags, $users);
			$session->do("FETCH $_") for ($flags, $users);
		}
		$writer->do(qq{DO \$\$ BEGIN FOR i IN 1 .. $figures{changes} / 2 LOOP
			UPDATE $flags SET enabled = NOT enabled WHERE name = 'writer ' || 1 + i % 19; COMMIT;
			UPDATE $users SET user_id = (CASE user_id WHEN '1' THEN '2' ELSE '1' END) WHERE flag_id = 2; COMMIT;
			END LOOP; END \$\$});
		for my $session (@cursors)
		{
			is(ask($session, "SELECT $wrong"), 0, "$what: right beside open cursors");
			$session->do("FETCH $_") for ($flags, $users);
			$session->do('COMMIT');
		}
		$lock->do('SELECT pg_advisory_unlock(1)');
		$sleeper->pg_result;
		is(($statement->fetchrow_array)[2], 0, "$what: right in the statement that slept");
		is(ask($_, "SELECT $wrong"), 0, "$what: right afterwards") for ($sleeper, @cursors);
	});
	return;
}

# What a transaction of so many commands announces, as another session counts it;
# and what is left in a session that hears nothing until all messages are there.
# A queue that overflows would make it forget everything, plans of tables that
# have nothing to do with flags included.
sub count_announcements
{
	my ($node, $tables, %figures) = @_;
	my ($flags, $users, $wrong) = @$tables{qw(flags users wrong)};
	my %way = (
		'in a savepoint each' => 'BEGIN %s; EXCEPTION WHEN raise_exception THEN END',
		'every other one rolled back' => 'BEGIN %s; IF i %% 2 = 1 THEN RAISE EXCEPTION $e$ $e$; END IF; EXCEPTION WHEN raise_exception THEN END',
		'without savepoints' => '%s');
	delete @way{ grep { !/without/ } keys %way } unless $figures{savepoints};
	# what changes, which of two cached flags and lists are left when one flag has
	# been asked for afterwards, and how many messages there may be
	my %table = (
		flags => ["INSERT INTO $flags (name) VALUES ('counted ' || i)", '1 2', 2],
		'another list' => ["INSERT INTO $users VALUES (1, 'counted ' || i)", '2 2', 2],
		'all lists' => ["INSERT INTO $users SELECT id, 'counted ' || i FROM $flags WHERE name = 'writer ' || 1 + i % 19", '2 1', 9]);
	# what a flag knows of these goes with the flags
	%table = (%table,
		denylist => [q{INSERT INTO feature_flag_denied_user VALUES (1, 'counted ' || i)}, '1 2', 2],
		'all denylists' => [q{INSERT INTO feature_flag_denied_user SELECT id, 'counted ' || i FROM feature_flag WHERE name = 'writer ' || 1 + i % 19}, '1 3', 9],
		variants => [q{INSERT INTO feature_flag_variant (flag_id, name) VALUES (1, 'counted ' || i)}, '1 2', 2],
		everything => [q{WITH flag AS (SELECT id FROM feature_flag WHERE name = 'writer ' || 1 + i % 19), allowed AS (INSERT INTO feature_flag_user SELECT id, 'counted ' || i FROM flag),
			denied AS (INSERT INTO feature_flag_denied_user SELECT id, 'counted ' || i FROM flag), variant AS (INSERT INTO feature_flag_variant (flag_id, name) SELECT id, 'counted ' || i FROM flag)
			INSERT INTO feature_flag (name) VALUES ('counted ' || i)}, '1 2', 24])
		if $flags eq 'feature_flag';
	my $planned = 'SELECT last_value FROM planned';
	my $execute = 'EXECUTE unrelated';
	my $ask = q{SELECT fflag_enabled('writer 11', 1)};
	# flags that are not written here, so that what was true stays true
	my $ask_both = q{SELECT fflag_enabled('writer 11', 1), fflag_enabled('writer 12', 1)};
	my $held = q{SELECT flags || ' ' || allowlists FROM fflag_cache()};
	my $invalidations = 'SELECT invalidations FROM fflag_cache()';
	open_session($node)->do(qq{
		UPDATE $flags SET enabled = true;
		INSERT INTO $users SELECT id, 'user' FROM $flags;
		CREATE SEQUENCE IF NOT EXISTS planned;
		-- not as immutable as it says: each planning counts
		CREATE OR REPLACE FUNCTION planned() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN nextval(''planned''); END';
	});
	for my $which (sort keys %table)
	{
		my ($command, $left, $most) = @{ $table{$which} };
		for my $way (sort keys %way)
		{
			my $what = "$tables->{what}, $which: $figures{commands} commands $way";
			lives_in($what, $node, 3, sub {
				my ($writer, $counter, $stopped) = @_;
				for my $session ($counter, $stopped)
				{
					$session->do('SET plan_cache_mode = force_generic_plan');
					$session->do('PREPARE unrelated AS SELECT count(*) FROM other WHERE n < planned()');
					ask($session, $execute);
					ask($session, $ask_both);
				}
				is(ask($_, $held), '2 2', "$what: two flags and their lists are held") for ($counter, $stopped);
				my $before = ask($counter, $invalidations);
				my $plans = ask($stopped, $planned);
				my $pid = ask($stopped, 'SELECT pg_backend_pid()');
				kill STOP => $pid;
				my $written = eval {
					$writer->do("DO \$\$ BEGIN FOR i IN 1 .. $figures{commands} LOOP " . sprintf($way{$way}, $command) . '; END LOOP; END $$');
					1;
				};
				my $error = $@;
				kill CONT => $pid;
				die $error unless $written;
				# the first statement accepts, the second counts
				ask($counter, $ask);
				my $announced = ask($counter, $invalidations) - $before;
				cmp_ok($announced, '>', 0, "$what: announced");
				cmp_ok($announced, '<=', $most, "$what: a handful of messages");
				ask($stopped, $ask);
				is(ask($stopped, $held), $left, "$what: the other part of the cache is still there");
				ask($stopped, $execute);
				is(ask($stopped, $planned), $plans, "$what: so are plans of other tables");
				$writer->do($_) for ("DELETE FROM $flags WHERE name LIKE 'counted%'", "DELETE FROM $users WHERE user_id LIKE 'counted%'");
				$writer->do($_) for ('TRUNCATE feature_flag_denied_user, feature_flag_variant, feature_flag_relation');
				is(ask($_, "SELECT $wrong"), 0, "$what: right afterwards") for ($writer, $counter, $stopped);
			});
		}
	}
	return;
}

# Two sessions with the same names or users in opposite order.  A third one holds
# the middle one until both wait: whoever does not go in sorted order would then
# wait for who waits for it.
sub write_in_opposite_order
{
	my ($node) = @_;
	# so that one goes by the index and the other by the table, where "c" is first
	my $without_index = 'SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off';
	my $listed = q{INSERT INTO feature_flag_user SELECT id, u FROM feature_flag, unnest('{c,b,a}'::text[]) AS u WHERE name = 'writer 1'};
	# name, statement, what the third one does, and what was done before
	my @cases = (
		['fflag_register', 'SELECT count(*) FROM fflag_register(%s)', q{INSERT INTO feature_flag (name) VALUES ('b')}, 'SELECT'],
		['fflag_allow', q{SELECT fflag_allow('writer 1', VARIADIC %s)},
			q{INSERT INTO feature_flag_user SELECT id, 'b' FROM feature_flag WHERE name = 'writer 1'}, 'SELECT'],
		['fflag_disallow', q{SELECT fflag_disallow('writer 1', VARIADIC %s)}, q{SELECT FROM feature_flag_user WHERE user_id = 'b' FOR UPDATE}, $listed],
		['fflag_disallow, one of them without an index', q{SELECT fflag_disallow('writer 1', VARIADIC %s)},
			q{SELECT FROM feature_flag_user WHERE user_id = 'b' FOR UPDATE}, $listed, $without_index],
		['fflag_deny', q{SELECT fflag_deny('writer 1', VARIADIC %s)},
			q{INSERT INTO feature_flag_denied_user SELECT id, 'b' FROM feature_flag WHERE name = 'writer 1'}, 'SELECT']);
	for my $case (@cases)
	{
		my ($what, $statement, $hold, $before, $setting) = @$case;
		lives_in("$what in opposite order", $node, 3, sub {
			my ($third, @sessions) = @_;
			$third->do(q{DELETE FROM feature_flag_user WHERE user_id IN ('a', 'b', 'c')});
			$third->do($before);
			$sessions[1]->do($setting) if $setting;
			$third->do('BEGIN');
			$third->do($hold);
			for my $n (0, 1)
			{
				my $list = ($n ? q{'{c,b,a}'} : q{'{a,b,c}'}) . '::text[]';
				$sessions[$n]->do(sprintf($statement, $list), { pg_async => DBD::Pg::PG_ASYNC() });
				$node->poll_query_until('postgres', 'SELECT count(*) = 1 + ' . $n . ' FROM pg_locks WHERE NOT granted') or die 'nobody waits';
			}
			$third->do('ROLLBACK');
			$_->pg_result for @sessions;
			is(ask($third, q{SELECT count(*) FROM feature_flag WHERE name IN ('a', 'b', 'c')}), 3, "$what: done") if $what eq 'fflag_register';
			is(ask($third, q{SELECT count(*) FROM feature_flag_user WHERE user_id IN ('a', 'b', 'c')}), $what eq 'fflag_allow' ? 3 : 0, "$what: done")
				if $what ne 'fflag_register';
		});
	}
	return;
}

# Two sessions give a flag different variants at once, while a third one holds one of
# them: they do not wait for each other, and those of the second are left, no others.
sub replace_variants
{
	my ($node) = @_;
	my @variants = ('{"a": 1, "c": 1}', '{"a": 2, "b": 2, "d": 2}');
	lives_in('fflag_variants at once', $node, 3, sub {
		my ($third, @sessions) = @_;
		$third->do(q{SELECT fflag_variants('writer 1', '{"a": 3, "b": 3, "c": 3}')});
		$third->do('BEGIN');
		$third->do(q{SELECT FROM feature_flag_variant WHERE name = 'b' FOR UPDATE});
		for my $n (0, 1)
		{
			$sessions[$n]->do("SELECT fflag_variants('writer 1', '$variants[$n]')", { pg_async => DBD::Pg::PG_ASYNC() });
			$node->poll_query_until('postgres', 'SELECT count(*) = 1 + ' . $n . ' FROM pg_locks WHERE NOT granted') or die 'nobody waits';
		}
		$third->do('ROLLBACK');
		$_->pg_result for @sessions;
		is(ask($third, q{SELECT string_agg(name || ' ' || weight, ', ' ORDER BY name) FROM feature_flag_variant}), 'a 2, b 2, d 2', 'the variants of the second one are left');
		$third->do(q{SELECT fflag_variants('writer 1', NULL)});
	});
	return;
}

1;
