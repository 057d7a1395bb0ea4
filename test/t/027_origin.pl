# Whose history it is.  Databases are made from one template, dumped into each other, cloned and
# refreshed; what fflag_explain says is remembered with its moment, and fflag_explain_at is asked
# about it afterwards.  It says the same, or that it does not know.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "max_sync_workers_per_subscription = 6\nmax_logical_replication_workers = 20\nmax_worker_processes = 30\n"
	. "max_wal_senders = 20\nmax_replication_slots = 20\nwal_retrieve_retry_interval = 200ms");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($emptied) = code_blocks('docs/operations.md', 'sql emptied');
my $empty_flags = 'TRUNCATE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation';

# ---- moments, and what was answered then

my $asked = 0;
my $subjects = q{FROM unnest('{f,g,h,one,two}'::text[]) WITH ORDINALITY AS f (name, n), generate_series(1, 3) AS u};

sub sql { my ($db, @statements) = @_; return $node->safe_psql($db, join '; ', @statements); }

# What fflag_explain says now, of each flag and user.
sub now
{
	my ($db) = @_;
	my ($at, $said) = split /\|/, sql($db, qq{SELECT clock_timestamp() AS at \\gset\n
		SELECT :'at', string_agg(concat_ws(' ', name, u, fflag_enabled(name, u), fflag_explain(name, u)), E';' ORDER BY n, u) $subjects}), 2;
	return { at => $at, said => $said };
}

# What a database says of moments, in the order of the list: as it was said then, or an error.
sub as_of_like
{
	my ($db, $what, $error, @moments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $i (0 .. $#moments)
	{
		$node->psql($db, qq{SELECT string_agg(concat_ws(' ', name, u, (fflag_explain_at('$moments[$i]{at}', name, u)).enabled,
			fflag_explain_at('$moments[$i]{at}', name, u)), E';' ORDER BY n, u) $subjects}, stdout => \my $out, stderr => \my $err);
		$asked++;
		defined $error ? like($err, $error, "$what: moment $i is not known") : is($out . $err, $moments[$i]{said}, "$what: moment $i");
	}
	return;
}
sub as_then { my ($db, $what, @moments) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return as_of_like($db, $what, undef, @moments); }
my $interrupted = qr/changes of flags before .* may be missing in the history/;

# Two changes of each kind, which differ from one caller to the next, and what is said after each.
my $calls = 0;
sub changed
{
	my ($db) = @_;
	my $user = 1 + $calls % 3;
	my $other = 1 + ($calls + 1) % 3;
	my $rollout = $calls * 13 % 100;
	$calls++;
	my @moments;
	for ([ qq{UPDATE feature_flag SET enabled = NOT enabled, rollout_percentage = $rollout WHERE name = 'f'},
			qq{INSERT INTO feature_flag_user SELECT id, $user FROM feature_flag WHERE name = 'g' ON CONFLICT DO NOTHING},
			qq{INSERT INTO feature_flag_denied_user SELECT id, $user FROM feature_flag WHERE name = 'f' ON CONFLICT DO NOTHING},
			qq{INSERT INTO feature_flag (name, enabled) VALUES ('} . ($calls % 2 ? 'one' : 'two') . q{', true) ON CONFLICT DO NOTHING} ],
		[ q{UPDATE feature_flag SET enabled = NOT enabled WHERE name IN ('f', 'h')},
			qq{DELETE FROM feature_flag_user USING feature_flag AS f WHERE f.id = flag_id AND name = 'g' AND user_id = '$other'},
			qq{DELETE FROM feature_flag_denied_user WHERE user_id = '$other'},
			q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, h.id, '} . ($calls % 2 ? 'excludes' : 'requires') . q{' FROM feature_flag AS f, feature_flag AS h
				WHERE f.name = 'f' AND h.name = 'h' ON CONFLICT (flag_id, other_id, other_variant) DO UPDATE SET kind = EXCLUDED.kind},
			qq{SELECT fflag_variants('f', '{"v$calls": 1, "w": $calls}')} ])
	{
		sql($db, @$_);
		push @moments, now($db);
	}
	return @moments;
}

# ---- databases, dumps

sub new_database { my ($db, $template) = @_; sql('postgres', "CREATE DATABASE $db TEMPLATE " . ($template // 'template0')); return $db; }
sub new_sister { my ($db) = @_; return new_database($db, 'flags'); }
sub dump_of { my ($db, @how) = @_; my $file = "$dir/" . ++$calls; system_or_bail('pg_dump', '-Fc', @how, '-d', $node->connstr($db), '-f', $file); return $file; }

sub restore
{
	my ($db, $file, @how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $node->command_ok([ 'pg_restore', '-e', '-d', $db, @how, $file ], "$db: pg_restore @how");
}

# the template
new_database('flags');
sql('flags', 'CREATE EXTENSION fflag');
my @template = now('flags');
sql('flags', q{SELECT fflag_register('f', true, 0), fflag_register('g', true, 0), fflag_register('h', true, 100)},
	q{SELECT fflag_allow('f', 1), fflag_allow('g', 2)});
push @template, now('flags'), changed('flags');

# ---- sisters: databases that are made from one template

my $origin = 'SELECT DISTINCT origin FROM feature_flag_change WHERE NOT begins AND at > (SELECT max(at) FROM feature_flag_change) - interval \'1 microsecond\'';
new_sister($_) for 'a', 'b', 'c';
my @a = (@template, changed('a'));
my @b = (@template, changed('b'));
push @a, changed('a');
isnt(sql('a', $origin), sql('b', $origin), 'sisters: what they record is told apart by its origin');
as_then('a', 'sisters: one', @a);
as_then('b', 'sisters: the other', @b);

my $a = dump_of('a', '--data-only');
my $a_in_full = dump_of('a');
new_database('a_then', 'a');
my @a_later = changed('a');

# whatever history a database has of its own: another one that comes to it is not put together with it
sql('b', $empty_flags);
restore('b', $a, '--data-only');
as_of_like('b', 'sisters: data only', $interrupted, @a, @b);
my @since = (now('b'), changed('b'));
is($since[0]{said}, $a[-1]{said}, 'sisters: data only: restored');
as_then('b', 'sisters: data only, and changed', @since);
is(sql('b', q{SELECT count(*) FROM fflag_history() WHERE what = 'history interrupted'}), 2, 'sisters: data only: the history says so');

changed('c');
sql('c', $emptied);
restore('c', $a, '--data-only');
@since = (now('c'), changed('c'));
as_then('c', 'sisters: data only, emptied as the page says', @a, @since);

new_sister('cleaned');
my @cleaned = changed('cleaned');
my $open = session($node, dbname => 'cleaned');
my $answer = q{SELECT fflag_enabled('f', 1) || ' ' || fflag_enabled('two', 1)};
is(ask($open, $answer), sql('cleaned', $answer), 'sisters: an open session has flags and an origin');
$open->do(q{SELECT fflag_allow('f', 3)});
$open->do(q{SELECT * FROM fflag_explain_at(clock_timestamp(), 'f', 3)});
restore('cleaned', $a_in_full, '--clean', '--if-exists');
is(ask($open, $answer), sql('a_then', $answer), 'restored under it: it has the new ones');
$open->do(q{SELECT fflag_rollout('f', 77)});
@since = (now('cleaned'), changed('cleaned'));
$open->do(q{SELECT fflag_rollout('f', 7)});
push @since, now('cleaned');
$open->disconnect;
as_then('cleaned', 'sisters: --clean under an open session', @a, @since);

# no change of its own: the template's flag is gone before the sisters are made
new_database('empty_flags');
sql('empty_flags', 'CREATE EXTENSION fflag', q{SELECT fflag_register('h', true)});
my @e = now('empty_flags');
sql('empty_flags', q{DELETE FROM feature_flag});
push @e, now('empty_flags');
new_database($_, 'empty_flags') for 'e', 'unchanged';
sql('e', q{SELECT fflag_register('f', true, 0), fflag_register('g', true, 0), fflag_register('h', false), fflag_allow('f', 1)});
push @e, now('e'), changed('e');
restore('unchanged', dump_of('e', '--data-only'), '--data-only');
as_then('unchanged', 'a sister without changes of its own', @e, now('unchanged'), changed('unchanged'));

# ---- the same dump twice, and a later one over it

new_database('twice');
sql('twice', 'CREATE EXTENSION fflag');
restore('twice', $a, '--data-only');
@since = (now('twice'), changed('twice'));
as_then('twice', 'once', @a, @since);
sql('twice', $empty_flags);
push @since, now('twice');
restore('twice', $a, '--data-only');
push @since, now('twice'), changed('twice');
as_then('twice', 'the same dump twice', @a, @since);
my $own = dump_of('twice', '--data-only');
push @since, changed('twice');
sql('twice', q{DELETE FROM feature_flag WHERE name = 'f'});
push @since, now('twice');
sql('twice', $empty_flags);
push @since, now('twice');
restore('twice', $own, '--data-only');
push @since, now('twice'), changed('twice');
as_then('twice', 'its own dump', @a, @since);
is(sql('twice', q{SELECT string_agg(what, ', ' ORDER BY at) FROM fflag_history('f') WHERE what ~ 'flag (created|deleted)' AND at > '} . $since[0]{at} . q{'}),
	'flag deleted, flag created, flag deleted, flag created', 'what is restored over deleted flags is a change');

sql('twice', $empty_flags);
my $later = dump_of('a', '--data-only');
restore('twice', $later, '--data-only');
as_of_like('twice', 'a later dump over an earlier one', $interrupted, @a, @since);
as_then('twice', 'a later dump over an earlier one: from then on', now('twice'), changed('twice'));
sql('twice', $emptied);
restore('twice', $later, '--data-only');
as_then('twice', 'a later dump, emptied as the page says', @a, @a_later, now('twice'), changed('twice'));

# its own dump
new_sister('own');
my @own = (@template, changed('own'));
$own = dump_of('own', '--data-only');
@since = changed('own');
sql('own', $empty_flags);
push @since, now('own');
restore('own', $own, '--data-only');
as_then('own', 'its own dump over what it has recorded', @own, @since, now('own'), changed('own'));
for (1 .. 2)
{
	sql('own', $emptied);
	restore('own', $own, '--data-only');
	push @own, now('own'), changed('own');
	as_then('own', "its own dump, emptied as the page says: $_", @own);
	$own = dump_of('own', '--data-only');
	changed('own');
}

# of a database that no template has given anything
new_database('alone');
sql('alone', 'CREATE EXTENSION fflag', q{SELECT fflag_register('f', true), fflag_register('h', true), fflag_allow('f', 1)}, 'SELECT fflag_prune_history(clock_timestamp())');
my @alone = (now('alone'), changed('alone'));
$own = dump_of('alone', '--data-only');
sql('alone', $emptied);
restore('alone', $own, '--data-only');
as_then('alone', 'alone: its own dump, emptied as the page says', @alone, now('alone'), changed('alone'));

# ---- generations

new_database('second');
sql('second', 'CREATE EXTENSION fflag');
restore('second', $a, '--data-only');
my @second = (@a, now('second'), changed('second'));
my $second = dump_of('second', '--data-only');
my $second_in_full = dump_of('second');
for my $third (new_database('third'), new_sister('third_sister'))
{
	my $full = $third eq 'third';
	sql($third, $emptied) unless $full;
	restore($third, $full ? $second_in_full : $second, $full ? () : '--data-only');
	my @third = (@second, now($third), changed($third));
	as_then($third, $full ? 'third generation' : 'third generation, a sister of the first', @third);
	new_database("fourth_$third");
	sql("fourth_$third", 'CREATE EXTENSION fflag');
	restore("fourth_$third", dump_of($third, '--data-only'), '--data-only', '--single-transaction');
	as_then("fourth_$third", 'fourth generation', @third, now("fourth_$third"), changed("fourth_$third"));
}

# back to where it came from
new_sister('there');
my @there = (@template, changed('there'));
new_database('away');
sql('away', 'CREATE EXTENSION fflag');
restore('away', dump_of('there', '--data-only'), '--data-only');
my @away = (@there, now('away'), changed('away'));
my $away = dump_of('away', '--data-only');
push @there, changed('there');
sql('there', $empty_flags);
restore('there', $away, '--data-only');
as_of_like('there', 'there and back', $interrupted, @there, @away);
sql('there', $emptied);
restore('there', $away, '--data-only');
push @away, now('there'), changed('there');
as_then('there', 'there and back, emptied as the page says', @away);
new_database('from_there');
sql('from_there', 'CREATE EXTENSION fflag');
restore('from_there', dump_of('there', '--data-only'), '--data-only');
as_then('from_there', 'there and back, and elsewhere', @away, now('from_there'), changed('from_there'));

# ---- clones

new_sister('prod');
my @prod = (@template, changed('prod'));
new_database('staging', 'prod');
my @staging = (@prod, changed('staging'));
as_then('staging', 'a clone', @staging);
push @prod, changed('prod');
as_then('prod', 'where it is cloned from', @prod);
sql('staging', $emptied);
restore('staging', dump_of('prod', '--data-only'), '--data-only');
@staging = (@prod, now('staging'), changed('staging'));
as_then('staging', 'a clone that is refreshed', @staging);
sql('prod', $empty_flags);
restore('prod', dump_of('staging', '--data-only'), '--data-only');
as_of_like('prod', 'a clone goes back', $interrupted, @staging);
as_then('prod', 'a clone goes back: from then on', now('prod'), changed('prod'));
sql('prod', $emptied);
restore('prod', dump_of('staging', '--data-only'), '--data-only');
as_then('prod', 'a clone goes back, emptied as the page says', @staging, now('prod'), changed('prod'));

# ---- a dump without triggers

new_sister('disabled');
changed('disabled');
sql('disabled', $empty_flags);
$node->command_fails_like([ 'pg_restore', '-d', 'disabled', '--data-only', '--disable-triggers', $a ], qr/feature_flag_change_pkey/,
	'disabled: feature_flag_change fails on its key');
is(now('disabled')->{said}, $a[-1]{said}, 'disabled: the flags are there');
as_of_like('disabled', 'disabled', qr/table "feature_flag_history" has rows without their change/, @a);
sql('disabled', $emptied);
restore('disabled', $a, '--data-only', '--disable-triggers');
as_then('disabled', 'disabled, emptied as the page says', @a, now('disabled'), changed('disabled'));

# ---- publications

sub publish
{
	my ($from, $to, $copy) = @_;
	sql($from, qq{CREATE PUBLICATION $to FOR TABLE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation,
		feature_flag_change, feature_flag_history WITH (publish = 'insert, update, delete')});
	sql($from, "SELECT pg_create_logical_replication_slot('$to', 'pgoutput')");
	sql($to, sprintf q{CREATE SUBSCRIPTION %s CONNECTION '%s dbname=%s' PUBLICATION %s WITH (create_slot = false, copy_data = %s)},
		$to, $node->connstr, $from, $to, $copy);
	return;
}
new_sister($_) for 'publisher', 'sister', 'unlike';
my @published = (@template, changed('publisher'));
changed('unlike');
my $log = -s $node->logfile;
publish('publisher', 'unlike', 'true');
$node->wait_for_log(qr/duplicate key value violates unique constraint "feature_flag_change_pkey"/, $log);
pass('a subscriber that has the same history: copying fails');
# by then the other tables may have been copied
sql('unlike', 'DROP SUBSCRIPTION unlike');
sql('publisher', 'DROP PUBLICATION unlike');
for my $subscriber ('unlike', 'sister')
{
	sql($subscriber, $emptied);
	publish('publisher', $subscriber, 'true');
	$node->poll_query_until($subscriber, q{SELECT NOT EXISTS (SELECT FROM pg_subscription_rel AS r JOIN pg_subscription AS s ON s.oid = srsubid
		WHERE subname = current_database()::name AND srsubstate NOT IN ('r', 's'))});
}
push @published, changed('publisher');
$node->wait_for_catchup($_) for 'unlike', 'sister';
as_then($_, "subscriber, emptied as the page says: $_", @published) for 'unlike', 'sister';
# what it has is what the publisher has
new_sister($_) for 'original', 'alike';
publish('original', 'alike', 'false');
@published = (@template, changed('original'));
$node->wait_for_catchup('alike');
as_then('alike', 'subscriber, nothing copied', @published);
sql($_, "DROP SUBSCRIPTION $_") for 'unlike', 'sister', 'alike';

# ---- what changes, and what does not

my $who = q{SELECT origin FROM feature_flag_change ORDER BY at DESC LIMIT 1};
my @renamed = (@a, @a_later, changed('a'));
my $was = sql('a', $who);
sql('postgres', 'ALTER DATABASE a RENAME TO renamed');
push @renamed, changed('renamed');
is(sql('renamed', $who), $was, 'a database that is renamed is the same');
as_then('renamed', 'renamed', @renamed);

$node->backup('backup');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'backup');
$copy->start;
my $node_itself = $node;
$node = $copy;
push @renamed, changed('renamed');
is(sql('renamed', $who), $was, 'so is a copy of the server');
as_then('renamed', 'copy of the server', @renamed);
$node = $node_itself;

note "$asked moments";
no_crash($_) for $copy, $node;
$_->stop for $copy, $node;
done_testing();
