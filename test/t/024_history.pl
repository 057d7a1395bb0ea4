# What a user got at some moment.  Writers change flags in every way there is, and after each step
# the answers of fflag_explain are written down with their moment; afterwards fflag_explain_at is
# asked, on the primary, on a standby, after dumps and restores of each kind, and after a restored
# database has been dumped and restored again.
#
#   FFLAG_HISTORY_QUESTIONS   how many answers to write down (1500)
#   FFLAG_HISTORY_SEED        seed of the random choices (by the clock); repeats them
#
# All of it is done by one process, one step after the other, so that an answer belongs to its
# moment.  Sessions overlap all the same: each may have a transaction open while the other commits.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $wanted = $ENV{FFLAG_HISTORY_QUESTIONS} // 1500;
my $seed = $ENV{FFLAG_HISTORY_SEED} // time() % 1_000_000;
note "seed $seed";
srand $seed;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', "max_prepared_transactions = 10\nlog_min_messages = log");
$primary->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
$primary->safe_psql('postgres', 'CREATE DATABASE original');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $db = 'original';
my $asker = session($primary, dbname => $db);
# deferred triggers of the user's, and one that changes the flag that is being changed
$asker->do(q{
	CREATE EXTENSION fflag;
	CREATE TABLE their_flag (number int PRIMARY KEY, label varchar(100) NOT NULL UNIQUE, active boolean, staff boolean NOT NULL, percent smallint NOT NULL);
	CREATE TABLE their_user (who bigint, number int REFERENCES their_flag ON UPDATE CASCADE ON DELETE CASCADE, PRIMARY KEY (who, number));
	CREATE TABLE uuid_flag (id uuid PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage numeric NOT NULL);
	CREATE TABLE uuid_user (featureflag_id uuid REFERENCES uuid_flag ON DELETE CASCADE, user_id text, UNIQUE (featureflag_id, user_id));
	CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF pg_trigger_depth() = 1 THEN UPDATE feature_flag SET staff_only = false WHERE id = NEW.id; END IF; RETURN NULL; END $$;
	CREATE TRIGGER again AFTER UPDATE OF description ON feature_flag FOR EACH ROW EXECUTE FUNCTION again();
	CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		UPDATE feature_flag SET rollout_percentage = 100 - rollout_percentage WHERE id = NEW.id; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER late AFTER UPDATE OF metadata ON feature_flag DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
	CREATE TABLE subject AS SELECT name, user_id, is_staff, is_staff AS default_value
		FROM (SELECT 'flag ' || n AS name FROM generate_series(1, 7) AS n UNION ALL SELECT NULL) AS names
			CROSS JOIN (SELECT n::text AS user_id FROM generate_series(1, 5) AS n UNION ALL SELECT NULL) AS ids
			CROSS JOIN (VALUES (false), (true)) AS args (is_staff);
	CREATE TABLE question (at timestamptz, name text, user_id text, is_staff boolean, default_value boolean, answer text);
	-- which flag had which name at these moments: by what a flag keeps with another name or id, and which attachment it was
	ALTER TABLE feature_flag ADD born uuid NOT NULL DEFAULT gen_random_uuid();
	ALTER TABLE their_flag ADD born uuid NOT NULL DEFAULT gen_random_uuid();
	ALTER TABLE uuid_flag ADD born uuid NOT NULL DEFAULT gen_random_uuid();
	CREATE TABLE called (at timestamptz, kind text, name text, born uuid, attachment xid)});

# ---- random changes

sub one_of { return $_[ rand @_ ]; }
sub flag { return 'flag ' . (1 + int rand 7); }
sub user { return 1 + int rand 5; }
sub variant { return one_of('red', 'green', 'blue'); }
sub kind { return one_of('requires', 'excludes', 'includes', 'includes'); }
sub uuid { return sprintf 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a%02d', rand 6; }

my @changes = (
	sub { sprintf q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s'}, flag() },
	sub { sprintf q{UPDATE feature_flag SET staff_only = %s WHERE name = '%s'}, one_of('true', 'false', 'false'), flag() },
	(sub { sprintf q{UPDATE feature_flag SET rollout_percentage = %s WHERE name = '%s'}, one_of(0, 0.001, 12.5, 50, 77.777, 100), flag() }) x 2,
	(sub { sprintf q{INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('%s', true, 50) ON CONFLICT DO NOTHING}, flag() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag (name) VALUES ('%s') ON CONFLICT (name) DO UPDATE SET enabled = true}, flag() },
	sub { sprintf q{DELETE FROM feature_flag WHERE name = '%s'}, flag() },
	(sub { sprintf q{UPDATE feature_flag SET name = '%s' WHERE name = '%s'}, flag(), flag() }) x 2,
	(sub { sprintf q{SELECT fflag_rename(name, '%s') FROM feature_flag WHERE name = '%s' AND NOT EXISTS (TABLE feature_flag_attachment)}, flag(), flag() }) x 2,
	sub { sprintf q{UPDATE feature_flag SET seed = %s WHERE name = '%s'}, one_of('NULL', q{'a seed'}), flag() },
	# two names change places; an id is used again
	sub { sprintf q{WITH d AS (DELETE FROM feature_flag WHERE name = '%s' RETURNING *)
		INSERT INTO feature_flag (id, name, enabled, rollout_percentage) SELECT id, '%s', true, 33 FROM d ON CONFLICT DO NOTHING}, flag(), flag() },
	sub { sprintf q{UPDATE feature_flag f SET id = f.id + 1000 WHERE name = '%s' AND NOT EXISTS (SELECT FROM feature_flag_user WHERE flag_id = f.id)
		AND NOT EXISTS (SELECT FROM feature_flag_denied_user WHERE flag_id = f.id) AND NOT EXISTS (SELECT FROM feature_flag_variant WHERE flag_id = f.id)
		AND NOT EXISTS (SELECT FROM feature_flag_relation WHERE f.id IN (flag_id, other_id))}, flag() },
	# one takes the id of another, which others may depend on
	sub { my $f = flag(); sprintf q{UPDATE feature_flag SET id = CASE name WHEN '%s' THEN id + 1000 ELSE coalesce((SELECT id FROM feature_flag WHERE name = '%s'), id) END WHERE name IN ('%s', '%s')},
		$f, $f, $f, flag() },
	sub { sprintf q{UPDATE feature_flag SET starts_at = %s, ends_at = %s WHERE name = '%s'}, one_of('NULL', q{clock_timestamp() + interval '1 s' * (random() - 0.5)}),
		one_of('NULL', q{clock_timestamp() + interval '1 s' * (random() + 0.5)}), flag() },
	sub { sprintf q{UPDATE feature_flag SET ramp_to = %s, ramp_starts_at = clock_timestamp() + interval '1 s' * (random() - 0.5),
		ramp_ends_at = clock_timestamp() + interval '1 s' * (random() + 0.5) WHERE name = '%s'}, one_of(0, 33.333, 100), flag() },
	sub { sprintf q{UPDATE feature_flag SET enabled = true, description = description || 'x' WHERE name = '%s'}, flag() },
	sub { sprintf q{UPDATE feature_flag SET metadata = metadata || '{"a": 1}' WHERE name = '%s'}, flag() },
	(sub { sprintf q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, '%s' FROM feature_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 3,
	(sub { sprintf q{DELETE FROM feature_flag_user WHERE user_id = '%s'}, user() }) x 2,
	sub { sprintf q{UPDATE feature_flag_user SET user_id = '%s' WHERE user_id = '%s'}, user(), user() },
	sub { sprintf q{MERGE INTO feature_flag f USING (VALUES ('%s'), ('%s')) AS v (name) ON f.name = v.name
		WHEN MATCHED AND f.enabled THEN DELETE WHEN MATCHED THEN UPDATE SET enabled = true
		WHEN NOT MATCHED THEN INSERT (name, enabled) VALUES (v.name, true)}, flag(), flag() },
	# so that there is something to ask for
	(sub { q{INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'flag ' || n, true, 100 FROM generate_series(1, 7) AS n
		ON CONFLICT (name) DO UPDATE SET enabled = true} }) x 2,
	(sub { sprintf q{INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT id, '%s' FROM feature_flag ON CONFLICT DO NOTHING}, user() }) x 2,
	(sub { sprintf q{INSERT INTO feature_flag_variant (flag_id, name) SELECT id, '%s' FROM feature_flag ON CONFLICT DO NOTHING}, variant() }) x 3,
	# relations of each kind: one, to a variant, with a pin; many, or another kind; by functions
	(sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, '%s' FROM feature_flag f, feature_flag o WHERE f.name = '%s' AND o.name = '%s'}, kind(), flag(), flag() }) x 4,
	(sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT f.id, o.id, '%s', v.name FROM feature_flag f, feature_flag o JOIN feature_flag_variant v ON v.flag_id = o.id
		WHERE f.name = '%s' AND o.name = '%s' ON CONFLICT DO NOTHING}, kind(), flag(), flag() }) x 2,
	(sub { sprintf q{UPDATE feature_flag_relation r SET pin = v.name FROM feature_flag_variant v WHERE v.flag_id = r.flag_id AND kind = 'includes' AND v.name = '%s'}, variant() }) x 2,
	(sub { sprintf q{SELECT fflag_include(f.name, o.name, (SELECT max(v.name) FROM feature_flag_variant v WHERE v.flag_id = f.id)) FROM feature_flag f, feature_flag o WHERE f.name = '%s' AND o.name = '%s'}, flag(), flag() }) x 3,
	(sub { sprintf q{SELECT %s(f.name, o.name) FROM feature_flag f, feature_flag o WHERE f.name = '%s' AND o.name = '%s'}, one_of(qw(fflag_require fflag_exclude)), flag(), flag() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, (SELECT max(o.id) FROM feature_flag o WHERE o.id < f.id), '%s' FROM feature_flag f
		WHERE name <> '%s' AND id > (SELECT min(id) FROM feature_flag) ON CONFLICT DO NOTHING}, kind(), flag() },
	sub { sprintf q{UPDATE feature_flag_relation SET kind = '%s', pin = NULL WHERE flag_id = (SELECT id FROM feature_flag WHERE name = '%s')}, kind(), flag() },
	sub { sprintf q{UPDATE feature_flag_relation r SET other_id = o.id, other_variant = NULL FROM feature_flag o WHERE o.name = '%s' AND r.id %% 3 = %d}, flag(), rand 3 },
	sub { sprintf q{UPDATE feature_flag_relation SET flag_id = other_id, other_id = flag_id, pin = NULL, other_variant = NULL WHERE id %% 2 = %d}, rand 2 },
	(sub { sprintf q{DELETE FROM feature_flag_relation WHERE flag_id = (SELECT id FROM feature_flag WHERE name = '%s')}, flag() }) x 2,
	sub { sprintf q{SELECT fflag_unrelate(f.name, o.name) FROM feature_flag f, feature_flag o WHERE f.name = '%s' AND o.name = '%s'}, flag(), flag() },
	# the other flag is the same, whatever it is called
	sub { sprintf q{UPDATE feature_flag f SET name = '%s' FROM feature_flag_relation r WHERE r.flag_id = (SELECT id FROM feature_flag WHERE name = '%s') AND f.id = r.other_id}, flag(), flag() },
	(sub { sprintf q{WITH RECURSIVE t AS (SELECT id FROM feature_flag WHERE name = '%s' UNION SELECT r.flag_id FROM feature_flag_relation r JOIN t ON r.other_id = t.id)
		DELETE FROM feature_flag WHERE id IN (TABLE t)}, flag() }) x 2,
	(sub { sprintf q{INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT id, '%s' FROM feature_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	(sub { sprintf q{DELETE FROM feature_flag_denied_user WHERE user_id = '%s'}, user() }) x 2,
	sub { sprintf q{UPDATE feature_flag_denied_user SET user_id = '%s' WHERE user_id = '%s'}, user(), user() },
	(sub { sprintf q{SELECT fflag_variants(name, %s) FROM feature_flag WHERE name = '%s'}, one_of('NULL', map { sprintf q{'{"%s": %s, "%s": 0.5}'}, variant(), 1 + int rand 9, variant() } 1 .. 3), flag() }) x 3,
	(sub { sprintf q{INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, '%s', %s FROM feature_flag WHERE name = '%s'
		ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight, payload = '[]'}, variant(), int rand 9, flag() }) x 2,
	sub { sprintf q{UPDATE feature_flag_variant SET name = '%s' WHERE name = '%s'}, variant(), variant() },
	sub { sprintf q{UPDATE feature_flag_variant v SET flag_id = f.id FROM feature_flag f WHERE f.name = '%s' AND v.name = '%s'}, flag(), variant() },
	sub { sprintf q{DELETE FROM feature_flag_variant WHERE name = '%s'}, variant() },
	sub { one_of('TRUNCATE feature_flag_denied_user', 'TRUNCATE feature_flag_variant CASCADE', 'TRUNCATE feature_flag_denied_user, feature_flag_variant, feature_flag_relation', 'TRUNCATE feature_flag_relation') },
	sub { one_of('TRUNCATE feature_flag_user', 'TRUNCATE feature_flag_user', 'TRUNCATE feature_flag CASCADE', 'TRUNCATE their_flag CASCADE', 'TRUNCATE uuid_user') },
	(sub { sprintf q{SELECT CASE WHEN EXISTS (TABLE feature_flag_attachment) THEN fflag_detach()
		WHEN %s THEN fflag_attach('their_flag', 'their_user', id => 'number', name => 'label', enabled => 'active', staff_only => 'staff',
			rollout_percentage => 'percent', flag_id => 'number', user_id => 'who')
		ELSE fflag_attach('uuid_flag', 'uuid_user') END}, one_of('true', 'false') }) x 2,
	(sub { sprintf q{INSERT INTO their_flag VALUES (%d, '%s', %s, false, %d) ON CONFLICT DO NOTHING}, rand 8, flag(), one_of('true', 'true', 'NULL'), one_of(0, 50, 100, 200) }) x 3,
	sub { sprintf q{UPDATE their_flag SET active = NOT active WHERE label = '%s'}, flag() },
	sub { sprintf q{UPDATE their_flag SET label = '%s', percent = %d WHERE label = '%s'}, flag(), one_of(0, 1, 50), flag() },
	sub { sprintf q{UPDATE their_flag SET number = %d WHERE label = '%s'}, rand 8, flag() },
	sub { sprintf q{DELETE FROM their_flag WHERE label = '%s'}, flag() },
	(sub { sprintf q{INSERT INTO their_user SELECT %s, number FROM their_flag WHERE label = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	sub { sprintf q{DELETE FROM their_user WHERE who = %s}, user() },
	(sub { sprintf q{INSERT INTO uuid_flag VALUES ('%s', '%s', true, false, %s) ON CONFLICT DO NOTHING}, uuid(), flag(), one_of(0, 0.5, 50, 100) }) x 3,
	sub { sprintf q{UPDATE uuid_flag SET name = '%s' WHERE name = '%s'}, flag(), flag() },
	(sub { sprintf q{INSERT INTO uuid_user SELECT id, '%s' FROM uuid_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	sub { sprintf q{DELETE FROM uuid_user WHERE user_id = '%s'}, user() },
);

# Runs statements in a session.  Anything that fails there, because of constraints, locks that the other
# one holds, or attachments, is rolled back to where the caller can go on.
sub try
{
	my ($session, @statements) = @_;
	return 1 if eval { $session->do($_) for @statements; 1 };
	die $@ unless $session->state =~ /^(40001|23505|23503|23514|55P03|55000|55006|40P01|21000|0A000|22012)$/;
	return 0;
}

# All flags of now.
my $flags = q{SELECT statement_timestamp(), kind, f.name::text, born, a.xmin
	FROM (SELECT 'own' AS kind, name, born FROM feature_flag UNION ALL SELECT 'their', label, born FROM their_flag UNION ALL SELECT 'uuid', name, born FROM uuid_flag) AS f
		LEFT JOIN feature_flag_attachment AS a ON strpos(a.flags, kind || '_flag') > 0};

# Do they say when they were born?  A dump would not take that along.
sub has_births
{
	my ($session) = @_;
	return ask($session, q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'feature_flag'::regclass AND attname = 'born'});
}

sub write_down
{
	my $called = has_births($asker) ? "WITH called AS (INSERT INTO called $flags WHERE (kind = 'own') = NOT EXISTS (TABLE feature_flag_attachment) AND (kind = 'own' OR a.flags IS NOT NULL)) " : '';
	$asker->do($called . q{INSERT INTO question SELECT t, s.*, e::text
		FROM (SELECT statement_timestamp() AS t) AS now, (SELECT * FROM subject ORDER BY random() LIMIT 12) AS s,
			LATERAL fflag_explain(s.name, s.user_id, s.is_staff, s.default_value) AS e});
	return;
}

my @sessions;

# Some steps of one session or the other.
sub step
{
	my $s = one_of(@sessions);
	my $session = $s->{session};
	if (!$s->{open})
	{
		return try($session, one_of(@changes)->()) if rand() < 0.5;
		$session->do('BEGIN' . one_of('', ' ISOLATION LEVEL REPEATABLE READ'));
		$session->do('SET CONSTRAINTS ALL IMMEDIATE') if rand() < 0.1;
		$s->{open} = 1;
	}
	for (1 .. 1 + rand 4)
	{
		$session->do('SAVEPOINT s');
		my $fine = try($session, map { one_of(@changes)->() } 1 .. 1 + rand 2);
		$session->do($fine && rand() < 0.7 ? 'RELEASE s' : 'ROLLBACK TO s');
	}
	return if rand() < 0.4;
	$s->{open} = 0;
	my $end = rand;
	if ($end < 0.15)
	{
		# what is prepared counts from then on, but is not seen yet
		try($session, q{PREPARE TRANSACTION 'p'}) ? $session->do(one_of('COMMIT', 'ROLLBACK') . q{ PREPARED 'p'}) : $session->do('ROLLBACK');
	}
	elsif ($end < 0.3 || !try($session, 'COMMIT'))
	{
		$session->do('ROLLBACK');
	}
	return;
}

sub work
{
	my ($database, $questions) = @_;
	$asker->disconnect if $asker;
	$asker = session($primary, dbname => $database);
	@sessions = map { { session => session($primary, dbname => $database), open => 0 } } 1 .. 2;
	$_->{session}->do(q{SET lock_timeout = '20ms'}) for @sessions;
	$asker->do(q{SET lock_timeout = '20ms'});
	my $until = ask($asker, 'SELECT count(*) FROM question') + $questions;
	my $steps = 0;
	while (ask($asker, 'SELECT count(*) FROM question') < $until)
	{
		step();
		# the tables may be locked by TRUNCATE or fflag_detach() in an open transaction
		eval { write_down(); 1 } or $asker->state eq '55P03' or die $@;
		die "no questions\n" if $steps++ > 100 + $questions;
	}
	$_->{session}->disconnect for @sessions;
	return;
}

# Flags and users in the extension's own tables, and what they get: the last changes of these.
sub settle
{
	my ($database) = @_;
	my $session = session($primary, dbname => $database);
	$session->do($_) for 'SELECT fflag_detach() FROM feature_flag_attachment',
		q{INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT name, true, 10 FROM subject WHERE name IS NOT NULL GROUP BY name ON CONFLICT DO NOTHING},
		'INSERT INTO feature_flag_user SELECT id, n FROM feature_flag, generate_series(1, 3) AS n ON CONFLICT DO NOTHING',
		'INSERT INTO feature_flag_denied_user SELECT id, 3 FROM feature_flag WHERE id % 2 = 0 ON CONFLICT DO NOTHING',
		'INSERT INTO feature_flag_variant (flag_id, name) SELECT id, v FROM feature_flag, unnest(ARRAY[name, \'red\']) AS v WHERE id % 3 <> 0 ON CONFLICT DO NOTHING',
		'DELETE FROM feature_flag_relation',
		# relations of each kind lead to the flag before, variants to which others lead are red
		q{INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT id, other, (ARRAY['requires', 'excludes', 'includes'])[1 + n % 3],
				CASE WHEN EXISTS (SELECT FROM feature_flag_variant WHERE flag_id = other AND name = 'red') THEN 'red' END
			FROM (SELECT id, lag(id) OVER (ORDER BY id) AS other, row_number() OVER (ORDER BY id) AS n FROM feature_flag) AS f WHERE other IS NOT NULL},
		q{UPDATE feature_flag_relation AS r SET pin = v.name FROM feature_flag_variant AS v WHERE v.flag_id = r.flag_id AND kind = 'includes' AND v.name <> 'red'};
	write_down() for 1 .. 8;
	$session->disconnect;
	return;
}

# The lines of one flag, and those of a stretch of time, are some of all lines.  These do not say
# whose they are: here each change is split into one for each flag's id and statement, and tells them
# as its application_name.  "life" tells a flag from others that had its id before.
sub check_lines
{
	my ($session, $what) = @_;
	my $lines = 'row_number() OVER () AS n, h.*, h::text AS line';
	my ($wrong, $stretches) = ('', 0);
	$session->do($_) for 'BEGIN', q{SET LOCAL session_replication_role = replica}, q{ALTER TABLE feature_flag_change DISABLE TRIGGER fflag_skip_known},
		q{CREATE TEMP TABLE split ON COMMIT DROP AS SELECT DISTINCT ON (id) md5(concat_ws(' ', change, sequence, attached, flag_id))::uuid AS id, change,
			jsonb_build_array(sequence, attached, flag_id)::text AS said FROM feature_flag_history},
		q{INSERT INTO feature_flag_change (id, origin, restored_in, begins, at, transaction, session_role, role, application_name, actor)
			SELECT s.id, origin, restored_in, begins, at, transaction, session_role, role, said, actor FROM split AS s JOIN feature_flag_change AS c ON c.id = s.change},
		q{UPDATE feature_flag_history SET change = md5(concat_ws(' ', change, sequence, attached, flag_id))::uuid},
		'ANALYZE feature_flag_change, feature_flag_history';
	for my $detail ('false', 'true')
	{
		$session->do(qq{CREATE TEMP TABLE lived ON COMMIT DROP AS SELECT *, count(*) FILTER (WHERE what = 'flag created')
				OVER (PARTITION BY attached, id ORDER BY at, sequence, what !~ '^flag', what = 'flag created') AS life
			FROM (SELECT *, j ->> 1 AS attached, j ->> 2 AS id, (j ->> 0)::bigint AS sequence FROM (SELECT $lines, application_name::jsonb AS j FROM fflag_history(NULL, $detail) AS h) AS h) AS h});
		my $names = $session->selectcol_arrayref(q{SELECT name FROM feature_flag_history WHERE kind = 'flag' UNION SELECT name FROM feature_flag UNION SELECT 'none'});
		for my $name (@$names)
		{
			my $of_name = qq{SELECT line FROM lived WHERE '$name' IN (flag, CASE what WHEN 'flag renamed' THEN coalesce(old_values ->> 'name', old_values ->> 'label') END)
				OR (attached, id, life) IN (SELECT attached, id, life FROM (SELECT DISTINCT ON (attached, id, life) * FROM lived WHERE what ~ '^flag'
					ORDER BY attached, id, life, at DESC, sequence DESC, what = 'flag created' DESC) AS last WHERE flag = '$name')};
			$wrong ||= differences($session, $of_name, "SELECT h::text FROM fflag_history('$name', $detail) AS h", "$name, $detail");
		}
		for my $i (1 .. 8)
		{
			my ($since, $until) = map { ask($session, 'SELECT at FROM feature_flag_change WHERE NOT begins ORDER BY random() LIMIT 1') } 1 .. 2;
			($since, $until) = ($until, $since) if $since gt $until;
			my $between = join ' AND ', 'true', $i % 4 ? "at >= '$since'" : (), $i % 4 > 1 ? () : "at < '$until'";
			my $arguments = join ', ', $i % 4 ? "since => '$since'" : (), $i % 4 > 1 ? () : "until => '$until'";
			my $name = one_of(@$names);
			$wrong ||= differences($session, "SELECT line FROM lived WHERE $between", "SELECT h::text FROM fflag_history(detail => $detail, $arguments) AS h", "$arguments, $detail")
				|| differences($session, "SELECT h::text FROM fflag_history('$name', $detail) AS h WHERE $between", "SELECT h::text FROM fflag_history('$name', $detail, $arguments) AS h", "$name, $arguments, $detail");
			$stretches += ask($session, "SELECT count(*) FROM lived WHERE $between");
		}
		$session->do('DROP TABLE lived');
	}
	$session->do('ROLLBACK');
	cmp_ok($stretches, '>', 0, "$what: lines of stretches of time: $stretches");
	is($wrong, '', "$what: lines of one flag, of a stretch of time");
	return;
}

# What one query returns and the other does not.
sub differences
{
	my ($session, $wanted, $got, $where) = @_;
	my ($count, $example) = $session->selectrow_array("WITH wanted AS ($wanted), got AS ($got)
		SELECT count(*), min(side || line) FROM (SELECT '- ', line FROM (TABLE wanted EXCEPT ALL TABLE got) AS w (line) UNION ALL SELECT '+ ', line FROM (TABLE got EXCEPT ALL TABLE wanted) AS g (line)) AS d (side, line)");
	return $count ? "$where: $count, as $example" : '';
}

sub check
{
	my ($node, $database, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $session = session($node, dbname => $database);
	# A name that no flag had then is that of the flag that has it now, by what this one was called.  Where
	# births are not known, it may be any.
	my $former = has_births($session) ? "SELECT c.name FROM called AS c JOIN ($flags) AS now (at, kind, name, born, attachment) USING (kind, born)
			WHERE now.name = q.name AND c.at = q.at AND c.attachment IS NOT DISTINCT FROM now.attachment"
		: 'SELECT DISTINCT f.name FROM subject AS f WHERE e::text <> q.answer AND fflag_explain_at(q.at, f.name, q.user_id, q.is_staff, q.default_value)::text = e::text';
	my $said = "LATERAL (SELECT coalesce((SELECT fflag_explain_at(q.at, f.name, q.user_id, q.is_staff, q.default_value)::text
		FROM ($former) AS f (name) WHERE q.answer ~ 'unknown_flag' LIMIT 1), q.answer) AS answer OFFSET 0) AS said";
	my ($count, $new, $wrong, $example) = $session->selectrow_array(qq{
		SELECT count(*), count(*) FILTER (WHERE q.answer ~ '[a-z],[^,]*\$') || ' variants, ' || count(*) FILTER (WHERE q.answer ~ 'prerequisite') || ' prerequisites, '
				|| count(*) FILTER (WHERE q.answer ~ 'excluded') || ' excluded, ' || count(*) FILTER (WHERE q.answer ~ 'included') || ' included, '
				|| count(*) FILTER (WHERE q.answer ~ 'denied') || ' denied, ' || count(*) FILTER (WHERE said.answer <> q.answer) || ' by a later name',
			count(*) FILTER (WHERE e::text IS DISTINCT FROM said.answer),
			(array_agg(concat_ws(' ', q, 'but', e, 'not', said) ORDER BY at) FILTER (WHERE e::text IS DISTINCT FROM said.answer))[1]
		FROM question AS q, LATERAL fflag_explain_at(q.at, q.name, q.user_id, q.is_staff, q.default_value) AS e, $said});
	cmp_ok($count, '>', 100, "$what: $count questions asked: $new");
	is($wrong, 0, "$what: none wrong") or diag $example;
	check_lines($session, $what) unless ask($session, 'SELECT pg_is_in_recovery()');
	# no matter which type asks
	is(ask($session, qq{SELECT count(*) FROM (SELECT * FROM question WHERE user_id ~ '^\\d+\$' ORDER BY random() LIMIT 100) AS q,
		LATERAL fflag_explain_at(q.at, q.name, q.user_id::bigint, q.is_staff, q.default_value) AS e, $said WHERE e::text <> said.answer}), 0, "$what: bigint");
	$session->disconnect;
	return;
}

work('original', $wanted);
check($primary, 'original', 'primary');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
check($standby, 'original', 'standby');

# ---- what random steps seldom meet

sub listed_at
{
	my ($at) = @_;
	return ask($asker, "SELECT rule FROM fflag_explain_at('$at', 'one', 1)");
}
$primary->safe_psql('postgres', 'CREATE DATABASE alone');
$asker->disconnect;
$asker = session($primary, dbname => 'alone');
$asker->do(q{CREATE EXTENSION fflag});
$asker->do(q{SELECT fflag_register('one', true, 0)});
my $other = session($primary, dbname => 'alone');
$other->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
ask($other, 'SELECT count(*) FROM feature_flag');
$asker->do(q{SELECT fflag_allow('one', 1)});
my $at = ask($asker, 'SELECT clock_timestamp()');
$other->do($_) for 'TRUNCATE feature_flag_user', 'COMMIT';
is(listed_at($at), 'allowlist', 'TRUNCATE of what its snapshot does not see');
is(listed_at(ask($asker, 'SELECT clock_timestamp()')), 'no_rollout', 'TRUNCATE: and after');

$other->do($_) for 'BEGIN', q{SELECT fflag_allow('one', 1)}, q{PREPARE TRANSACTION 'p'};
$at = ask($asker, 'SELECT clock_timestamp()');
is(listed_at($at), 'no_rollout', 'prepared: nobody sees it yet');
$other->do(q{COMMIT PREPARED 'p'});
is(listed_at($at), 'allowlist', 'prepared: it counts from PREPARE, as the page says');

# many statements in one transaction, many sessions at once
$other->do(q{DO $$ BEGIN FOR i IN 1 .. 10000 LOOP UPDATE feature_flag SET rollout_percentage = i % 100; END LOOP; END $$});
is(ask($asker, 'SELECT count(*) FROM feature_flag_history WHERE change = (SELECT id FROM feature_flag_change ORDER BY at DESC LIMIT 1)'), 10000,
	'10,000 statements in one transaction');
is(ask($asker, "SELECT rollout_percentage FROM fflag_explain_at('$at', 'one', 1)"), 0, '10,000 statements: before them');
$_->disconnect for $other;

# a subscriber gets the history with the flags
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;
$subscriber->safe_psql('postgres', 'CREATE EXTENSION fflag');
my ($publication) = code_blocks('docs/operations.md', 'sql history');
$asker->do("CREATE PUBLICATION flags FOR TABLE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation; $publication");
$subscriber->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION flags CONNECTION '%s dbname=alone' PUBLICATION flags, history}, $primary->connstr);
$subscriber->wait_for_subscription_sync($primary, 'flags');
my $before = ask($asker, 'SELECT clock_timestamp()');
$asker->do(q{SELECT fflag_rollout('one', 100), fflag_register('two', true), fflag_require('two', 'one'), fflag_variants('two', '{"a": 1, "b": 2}'), fflag_deny('one', 2)});
$asker->do(q{SELECT fflag_register('three', true, 0), fflag_variants('three', '{"a": 1, "b": 1}'), fflag_include('three', 'two', 'b', 'a')});
my $between = ask($asker, 'SELECT clock_timestamp()');
$asker->do(q{SELECT fflag_undeny('one', 2), fflag_include('three', 'two'), fflag_variants('two', '{"c": 1}')});
my $late = ask($asker, 'SELECT clock_timestamp()');
$asker->do(q{SELECT fflag_disable('one'), fflag_allow('one', 2), fflag_variants('two', NULL), fflag_unrelate('three', 'two'), fflag_rollout('three', 100), fflag_exclude('three', 'two')});
my $after = ask($asker, 'SELECT clock_timestamp()');
$primary->wait_for_catchup('flags');
for my $moment ($at, $before, $between, $late, $after)
{
	my $question = "SELECT string_agg(e::text, ' ') FROM unnest('{one,two,three}'::text[]) AS f, unnest('{1,2}'::int[]) AS u, fflag_explain_at('$moment', f, u) AS e";
	is($subscriber->safe_psql('postgres', $question), ask($asker, $question), 'subscriber: same answer');
}
like(ask($asker, "SELECT string_agg(e::text, ' ') FROM unnest('{$between,$late,$after}'::timestamptz[]) AS at, fflag_explain_at(at, 'two', 2) AS e"),
	qr/prerequisite.*full_rollout.*,c,\) \(f,prerequisite/, 'subscriber: answers of each kind');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM fflag_history()'), ask($asker, 'SELECT count(*) FROM fflag_history()'), 'subscriber: same history');
$asker->do('SELECT fflag_prune_history(clock_timestamp())');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION flags');
$subscriber->stop;

# ---- dump and restore

sub new_database
{
	my ($database) = @_;
	$primary->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	return;
}

sub dump_to
{
	my ($file, $from, @how) = @_;
	return $primary->command_ok([ 'pg_dump', @how, '-f', "$dir/$file", $from ], "$file: pg_dump @how");
}

sub restore
{
	my ($to, $file, @how) = @_;
	return $primary->command_ok([ 'pg_restore', '-e', '-d', $to, @how, "$dir/$file" ], "$to: pg_restore @how");
}

# for the data alone, later: databases that begin their own history while the old one goes on
$primary->safe_psql('original', 'ALTER TABLE feature_flag DROP born');
dump_to('schema', 'original', '-Fc', '--schema-only');
for my $database ('data_only', 'disabled')
{
	new_database($database);
	restore($database, 'schema');
}
work('original', $wanted / 8);
settle('original');
dump_to('data', 'original', '-Fc', '--data-only');
restore('data_only', 'data');
restore('disabled', 'data', '--disable-triggers');
$primary->safe_psql('original', q{SELECT fflag_attach('uuid_flag', 'uuid_user')});
check($primary, $_, $_) for 'data_only', 'disabled';
work('data_only', 100);
check($primary, 'data_only', 'data only, and changed');
is($primary->safe_psql('data_only', q{SELECT count(*) FROM fflag_history() WHERE what = 'flag created' AND at >
	(SELECT max(at) FROM feature_flag_change WHERE begins) AND application_name = 'pg_restore'}), 0, 'data only: no flag seems to be created by the restore');

# all of it, with tables attached
dump_to('custom', 'original', '-Fc');
new_database('restored');
restore('restored', 'custom');
check($primary, 'restored', 'restored');
dump_to('plain', 'original');
new_database('plain');
$primary->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", 'plain' ], 'plain: psql');
check($primary, 'plain', 'plain');
dump_to('directory', 'original', '-Fd');
new_database('parallel');
my ($commands) = code_blocks('docs/operations.md', 'sh');
system_or_bail('sh', '-ec', "cd $dir; export PGHOST=" . $primary->host . ' PGPORT=' . $primary->port . "; $commands");
check($primary, 'parallel', 'parallel');

# and again: the history of two databases
work('restored', $wanted / 8);
check($primary, 'restored', 'restored, and changed');
settle('restored');
dump_to('again', 'restored', '-Fc');
new_database('again');
restore('again', 'again', '--single-transaction');
check($primary, 'again', 'restored again');
work('again', 100);
check($primary, 'again', 'restored again, and changed');

no_crash($_) for $standby, $primary;
$_->stop for $standby, $primary;
done_testing();
