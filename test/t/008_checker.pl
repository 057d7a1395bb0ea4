# The randomized checker.  Writers change flags in every way there is, readers
# in all isolation levels, on the primary, a standby and a subscriber, compare
# in each statement what the function answers with what the tables say, by a
# plain SQL rendering of the rules.  Writers compare too, after each change of
# their own.  Flags are now in the extension's own tables, now in attached ones.
# Readers override some of them at times.
#
#   FFLAG_CHECK_SECONDS   how long (30)
#   FFLAG_CHECK_SEED      seed of the random choices (by the clock); interleavings
#                         are the scheduler's and do not repeat
#
# TRUNCATE is not MVCC-safe, so it gets a turn of its own, in which readers lock
# the tables before they take a snapshot.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{FFLAG_CHECK_SECONDS} // 30;
my $seed = $ENV{FFLAG_CHECK_SEED} // time() % 1_000_000;
note "seed $seed, $seconds seconds";

# ---- servers

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', q{
max_prepared_transactions = 20
max_connections = 60
hot_standby_feedback = on
max_standby_streaming_delay = -1
deadlock_timeout = 20ms
log_statement = none
log_min_messages = log
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
});
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION fflag; CREATE TABLE other (n int)});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$standby->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = log");
$subscriber->start;
$subscriber->safe_psql('postgres', 'CREATE EXTENSION fflag');

# The subjects, with the bucket of each computed in plain SQL, and the rules as
# the tables have them.  The cursor to check, the function to call: all are
# this one query.
my $set_up = plain_variant() . q{
	CREATE FUNCTION plain_bucket(hashed text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
		SELECT h % 100 * 1000 + h / 100
		FROM (SELECT (sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) % 100000)::int AS h FROM decode(md5(hashed), 'hex') AS digest, generate_series(0, 15) AS i) AS hash $$;
	CREATE TABLE subject AS
		SELECT name, user_id, is_staff, default_value, plain_bucket(name || ':' || user_id) AS bucket, plain_hash(name || ':' || user_id) AS hash
		FROM (SELECT 'flag ' || n AS name FROM generate_series(1, 12) AS n) AS names
			CROSS JOIN (SELECT n::text AS user_id FROM generate_series(1, 8) AS n UNION ALL SELECT NULL) AS ids
			CROSS JOIN (VALUES (false, false), (true, true)) AS args (is_staff, default_value);
	CREATE INDEX ON subject (name, user_id);
	CREATE TABLE wide AS SELECT * FROM subject, generate_series(1, 10);
	ALTER TABLE wide SET (parallel_workers = 2);
	ANALYZE subject, wide;
	CREATE TABLE their_flag (id int PRIMARY KEY, name varchar(100) NOT NULL UNIQUE, active boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage smallint NOT NULL);
	CREATE TABLE their_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
	-- A transaction that does not see that others have renamed a flag, and then
	-- takes its name for another, sees both: there is no one answer then.
	CREATE VIEW flag AS SELECT *, count(*) OVER (PARTITION BY name) AS namesakes FROM (
		SELECT true AS own, id, name::text, coalesce(seed, name)::text AS seed, enabled, staff_only, rollout_percentage, starts_at, ends_at, ramp_to, ramp_starts_at, ramp_ends_at FROM feature_flag WHERE NOT EXISTS (TABLE feature_flag_attachment) UNION ALL
		SELECT false, id, name, name, active, staff_only, rollout_percentage, NULL, NULL, NULL, NULL, NULL FROM their_flag WHERE EXISTS (TABLE feature_flag_attachment)) AS f;
	CREATE VIEW listed AS
		SELECT flag_id, user_id FROM feature_flag_user WHERE NOT EXISTS (TABLE feature_flag_attachment) UNION ALL
		SELECT featureflag_id, user_id::text FROM their_user WHERE EXISTS (TABLE feature_flag_attachment);
	CREATE VIEW own_flag AS SELECT true AS own, id, name::text, coalesce(seed, name)::text AS seed, enabled, staff_only, rollout_percentage, starts_at, ends_at, ramp_to, ramp_starts_at, ramp_ends_at,
		(SELECT count(*) FROM feature_flag n WHERE n.name = f.name) AS namesakes FROM feature_flag f;
	-- asked for in each row: one statement may fetch rows of a cursor that another has joined
	CREATE FUNCTION percentage(f flag) RETURNS numeric LANGUAGE sql STABLE AS $$
		SELECT CASE WHEN f.ramp_to IS NULL OR statement_timestamp() < f.ramp_starts_at THEN f.rollout_percentage
			WHEN statement_timestamp() >= f.ramp_ends_at THEN f.ramp_to
			WHEN f.ramp_to >= f.rollout_percentage THEN f.rollout_percentage + div((f.ramp_to - f.rollout_percentage) * 1000 * passed, whole) / 1000
			ELSE f.rollout_percentage - div((f.rollout_percentage - f.ramp_to) * 1000 * passed + whole - 1, whole) / 1000 END
		FROM (SELECT extract(epoch FROM statement_timestamp() - f.ramp_starts_at) * 1000000, extract(epoch FROM f.ramp_ends_at - f.ramp_starts_at) * 1000000) AS ramp (passed, whole) $$;
	-- Does a user get the other flag of a relation, or the variant that it names?  NULL if there are two of this name.
	CREATE FUNCTION gets_other(r feature_flag_relation, id text, is_staff boolean) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE SET max_parallel_workers_per_gather = 0 AS $$
	DECLARE
		o flag;
		got boolean;
	BEGIN
		SELECT * INTO o FROM own_flag WHERE own_flag.id = r.other_id;
		IF o.id IS NULL THEN RETURN r.kind = 'excludes'; END IF;
		IF o.namesakes > 1 THEN RETURN NULL; END IF;
		got := gets(o, gets_other.id, gets_other.is_staff, (SELECT s.bucket FROM subject s WHERE s.name = o.seed AND s.user_id = gets_other.id AND s.is_staff));
		IF NOT got OR r.other_variant IS NULL THEN RETURN got; END IF;
		IF NOT EXISTS (SELECT FROM feature_flag_variant v WHERE v.flag_id = o.id AND v.name = r.other_variant) THEN RETURN r.kind = 'excludes'; END IF;
		RETURN coalesce(variant_of(o, gets_other.id, gets_other.is_staff) = r.other_variant, false);
	END $$;
	-- the variant of a user who gets a flag: forced, a pin, or by hash
	CREATE FUNCTION variant_of(f flag, id text, is_staff boolean) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET max_parallel_workers_per_gather = 0 AS $$
	BEGIN
		RETURN coalesce(
			(SELECT v.name FROM feature_flag_variant v WHERE v.flag_id = f.id AND strpos(current_setting('fflag.override', true), format('"%s"=on:"%s"', f.name, v.name)) > 0),
			(SELECT min(r.pin) FROM feature_flag_relation r WHERE r.flag_id = f.id AND r.pin IS NOT NULL AND gets_other(r, variant_of.id, variant_of.is_staff)),
			(SELECT v.name FROM (SELECT *, count(*) OVER () FROM feature_flag_variant WHERE flag_id = f.id AND weight > 0) AS v WHERE v.count = 1 OR variant_of.id IS NOT NULL
				ORDER BY plain_score((SELECT s.hash FROM subject s WHERE s.name = f.seed AND s.user_id = variant_of.id AND s.is_staff), v.name, v.weight), v.name LIMIT 1));
	END $$;
	-- NULL if another flag is one of two with the same name
	CREATE FUNCTION gets(f flag, id text, is_staff boolean, bucket int) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE SET max_parallel_workers_per_gather = 0 AS $$
	DECLARE
		o record;
		percentage numeric := f.rollout_percentage;
	BEGIN
		IF strpos(current_setting('fflag.override', true), '"' || f.name || '"=') > 0 THEN RETURN strpos(current_setting('fflag.override', true), '"' || f.name || '"=on') > 0; END IF;
		IF f.staff_only THEN RETURN is_staff AND id IS NOT NULL; END IF;
		IF NOT f.enabled OR statement_timestamp() < f.starts_at OR statement_timestamp() >= f.ends_at THEN RETURN false; END IF;
		SELECT bool_or(NOT got) FILTER (WHERE kind = 'requires') AS lacks, bool_or(got) FILTER (WHERE kind = 'excludes') AS has, bool_or(got) FILTER (WHERE kind = 'includes') AS included,
				bool_or(got IS NULL) AS unknown INTO o
			FROM (SELECT r.kind, bool_or(gets_other(r, gets.id, gets.is_staff)) AS got FROM feature_flag_relation r WHERE f.own AND r.flag_id = f.id GROUP BY r.kind, r.other_id) AS others;
		IF o.unknown THEN RETURN NULL; END IF;
		IF o.lacks OR o.has THEN RETURN false; END IF;
		IF f.own AND EXISTS (SELECT FROM feature_flag_denied_user d WHERE d.flag_id = f.id AND d.user_id = gets.id) THEN RETURN false; END IF;
		IF f.ramp_to IS NOT NULL THEN percentage := percentage(f); END IF;
		RETURN percentage >= 100 OR coalesce(o.included, false) OR (percentage > 0 AND coalesce(bucket < percentage * 1000, false)) OR
			EXISTS (SELECT FROM listed u WHERE u.flag_id = f.id AND u.user_id = gets.id);
	END $$;
	CREATE VIEW answer AS SELECT s.*, fflag_enabled(s.name, s.user_id, s.is_staff, s.default_value) AS answered
		FROM subject s LEFT JOIN flag f ON f.name = s.name WHERE f.namesakes IS NULL OR f.namesakes = 1;
	CREATE VIEW comparison AS
		SELECT s.*, fflag_enabled(s.name, s.user_id, s.is_staff, s.default_value) AS answered, said,
			concat_ws(': ', fflag_variant(s.name, s.user_id, s.is_staff), fflag_variant_payload(s.name, s.user_id, s.is_staff)) AS variant,
			CASE WHEN said AND f.own THEN coalesce((SELECT concat_ws(': ', v.name, v.payload) FROM feature_flag_variant v
				WHERE v.flag_id = f.id AND v.name = variant_of(f, s.user_id, s.is_staff)), '') ELSE '' END AS said_variant
		FROM subject s LEFT JOIN flag f ON f.name = s.name
			LEFT JOIN subject seeded ON (seeded.name, seeded.user_id, seeded.is_staff) = (f.seed, s.user_id, s.is_staff)
			CROSS JOIN LATERAL (SELECT CASE WHEN f.id IS NOT NULL THEN gets(f, s.user_id, s.is_staff, seeded.bucket)
				WHEN strpos(current_setting('fflag.override', true), '"' || s.name || '"=on') > 0 THEN true
				WHEN strpos(current_setting('fflag.override', true), '"' || s.name || '"=off') > 0 THEN false
				ELSE s.default_value END OFFSET 0) AS plain (said)
		WHERE f.namesakes IS NULL OR (f.namesakes = 1 AND (NOT EXISTS (SELECT FROM flag WHERE namesakes > 1) OR NOT EXISTS (SELECT FROM feature_flag_relation WHERE flag_id = f.id)));
	CREATE VIEW result AS SELECT count(*) AS answers, count(*) FILTER (WHERE (answered, variant) IS DISTINCT FROM (said, said_variant)) AS wrong,
		min(concat_ws(', ', name, coalesce(user_id, 'nobody'), is_staff) || ': ' || concat_ws(', ', answered, variant, 'not', said, said_variant))
			FILTER (WHERE (answered, variant) IS DISTINCT FROM (said, said_variant)) AS example
		FROM comparison;
	CREATE FUNCTION look() RETURNS SETOF result LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN QUERY SELECT * FROM result; END $$;
	CREATE FUNCTION look_afresh() RETURNS SETOF result LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN QUERY SELECT * FROM result; END $$;
	-- the outer statement's snapshot and newer ones by turns
	CREATE FUNCTION alternate(n int) RETURNS SETOF result LANGUAGE sql VOLATILE AS 'SELECT * FROM look_afresh()';
};
$_->safe_psql('postgres', $set_up) for ($primary, $subscriber);
$primary->safe_psql('postgres', q{
	INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'flag ' || n, true, 50 FROM generate_series(1, 8) AS n;
	INSERT INTO their_flag SELECT n, 'flag ' || n, true, false, 50 FROM generate_series(1, 8) AS n;
	CREATE PUBLICATION flags FOR TABLE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation, their_flag, their_user, feature_flag_attachment;
});
# the row that says what is attached is replicated, its triggers are not
$subscriber->safe_psql('postgres', qq{
	CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE ON $_ FOR EACH ROW EXECUTE FUNCTION fflag_invalidate();
	ALTER TABLE $_ ENABLE ALWAYS TRIGGER fflag_invalidate}) for ('their_flag', 'their_user');
$subscriber->safe_psql('postgres',
	sprintf q{CREATE SUBSCRIPTION flags CONNECTION '%s dbname=postgres' PUBLICATION flags}, $primary->connstr);
$subscriber->wait_for_subscription_sync($primary, 'flags');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# ---- what processes do

my ($session, $answers, $wrong, $statements, $truncating, @examples);

sub one_of { return $_[ rand @_ ]; }
sub flag { return 'flag ' . (1 + int rand 12); }
sub user { return 1 + int rand 8; }

sub compare
{
	my ($query, $what) = @_;
	for my $row (@{ $session->selectall_arrayref($query) })
	{
		my ($n, $bad, $example) = @$row;
		$answers += $n;
		$statements++;
		next unless $bad;
		$wrong += $bad;
		push @examples, "$bad of $n, $what, $query: $example" if @examples < 20;
	}
	return;
}

# The errors that an action of the writers may cause, by who gets them.  Any other
# fails the test.
my %may_get = (
	writer => {
		'22012' => 'the change that fails by itself',
		'23503' => 'INSERT of a user or a relation for a flag that another writer deletes; DELETE of a flag, or of a variant, that another one needs',
		'23514' => 'relations that would lead round in a circle, or be of two kinds; a look at them under a snapshot that still has those which others have deleted',
		'23505' => 'INSERT or UPDATE to a name or user that is there; fflag_attach() while another attaches',
		'40001' => 'a row that another writer has changed since the snapshot; SERIALIZABLE',
		'42704' => 'fflag_include() of a flag that another writer deletes',
		'54001' => 'plain SQL that goes round in such a circle',
		'40P01' => 'changes of rows in different order; tables that fflag_detach() or TRUNCATE locks',
		'55000' => 'fflag_attach() and fflag_detach() under a snapshot in which it had not been done yet',
		'55006' => 'TRUNCATE of relations that the transaction has changed: their foreign keys are checked at its end',
		'55P03' => 'a look at tables that what is prepared has locked' },
	reader => {
		'40001' => 'SERIALIZABLE, where a reader may be the one that closes a circle of writers',
		'40P01' => 'fflag_detach() and TRUNCATE, which lock one table after the other' },
	standby => {
		'40P01' => 'fflag_detach() as it is replayed' },
	# what is replicated there is rows and TRUNCATE, for which readers wait
	subscriber => {});
my ($role, %errors);

# Runs what may fail so.  Leaves it to the caller to roll back.
sub try
{
	my ($code) = @_;
	return 1 if eval { $code->(); 1 };
	my $state = $session->state;
	die $@ unless $may_get{$role}{$state};
	$errors{$state}++;
	return 0;
}

my @changes = (
	sub { sprintf q{UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s'}, flag() },
	sub { sprintf q{UPDATE feature_flag SET staff_only = %s WHERE name = '%s'}, one_of('true', 'false', 'false'), flag() },
	(sub { sprintf q{UPDATE feature_flag SET rollout_percentage = %s WHERE name = '%s'}, one_of(0, 0.001, 12.5, 50, 77.777, 100), flag() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('%s', true, 50) ON CONFLICT DO NOTHING}, flag() },
	sub { sprintf q{INSERT INTO feature_flag (name) VALUES ('%s') ON CONFLICT (name) DO UPDATE SET enabled = true}, flag() },
	# moments that come while this runs, and are passed
	sub { sprintf q{UPDATE feature_flag SET starts_at = %s, ends_at = %s WHERE name = '%s'}, one_of('NULL', q{clock_timestamp() + interval '1 s' * (random() - 0.5)}),
		one_of('NULL', q{clock_timestamp() + interval '1 s' * (random() + 0.5)}), flag() },
	sub { sprintf q{UPDATE feature_flag SET ramp_to = %s, ramp_starts_at = clock_timestamp() + interval '1 s' * (random() - 0.5),
		ramp_ends_at = clock_timestamp() + interval '1 s' * (random() + 0.5) WHERE name = '%s'}, one_of(0, 33.333, 100), flag() },
	sub { sprintf q{UPDATE feature_flag SET ramp_to = NULL, ramp_starts_at = NULL, ramp_ends_at = NULL WHERE name = '%s'}, flag() },
	sub { sprintf q{DELETE FROM feature_flag WHERE name = '%s'}, flag() },
	(sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, '%s' FROM feature_flag f, feature_flag o WHERE f.name = '%s' AND o.name = '%s' ON CONFLICT DO NOTHING},
		one_of(qw(requires excludes includes includes)), flag(), flag() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT f.id, o.id, '%s', v.name FROM feature_flag f, feature_flag o JOIN feature_flag_variant v ON v.flag_id = o.id
		WHERE f.name = '%s' AND o.name = '%s' ON CONFLICT DO NOTHING}, one_of(qw(requires excludes includes)), flag(), flag() },
	sub { sprintf q{SELECT fflag_include(f.name, o.name, (SELECT max(v.name) FROM feature_flag_variant v WHERE v.flag_id = f.id)) FROM feature_flag f, feature_flag o
		WHERE f.name = '%s' AND o.name = '%s' AND NOT EXISTS (TABLE feature_flag_attachment)}, flag(), flag() },
	sub { sprintf q{UPDATE feature_flag_relation r SET pin = v.name FROM feature_flag_variant v WHERE v.flag_id = r.flag_id AND kind = 'includes' AND v.name = '%s' AND r.id %% 3 = %d}, one_of('a', 'b', 'B'), rand 3 },
	sub { sprintf q{UPDATE feature_flag_relation r SET kind = '%s', pin = NULL FROM feature_flag f WHERE f.id = r.flag_id AND f.name = '%s'}, one_of(qw(requires excludes includes)), flag() },
	sub { sprintf q{DELETE FROM feature_flag_relation r USING feature_flag f WHERE f.id = r.flag_id AND f.name = '%s'}, flag() },
	(sub { sprintf q{DELETE FROM feature_flag_relation r USING feature_flag o WHERE o.id = r.other_id AND o.name = '%s'}, flag() }) x 2,
	sub { sprintf q{UPDATE feature_flag_variant v SET name = '%s' FROM feature_flag f WHERE f.id = v.flag_id AND f.name = '%s' AND v.name = '%s'}, one_of('a', 'b', 'B'), flag(), one_of('a', 'b', 'B') },
	sub { sprintf q{WITH RECURSIVE gone AS (SELECT id FROM feature_flag WHERE name = '%s' UNION SELECT r.flag_id FROM gone JOIN feature_flag_relation r ON r.other_id = gone.id)
		DELETE FROM feature_flag WHERE id IN (TABLE gone) AND (SELECT count(*) FROM gone) < 4}, flag() },
	(sub { sprintf q{INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT id, '%s' FROM feature_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	(sub { sprintf q{DELETE FROM feature_flag_denied_user WHERE user_id = '%s'}, user() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag_denied_user SELECT id, n::text FROM feature_flag, generate_series(100, 300) AS n WHERE name = '%s' ON CONFLICT DO NOTHING}, flag() },
	sub { sprintf q{UPDATE feature_flag_denied_user SET user_id = '%s' WHERE user_id = '%s'}, user(), user() },
	(sub { sprintf q{INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, '%s', %s FROM feature_flag WHERE name = '%s'
		ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight}, one_of('a', 'b', 'B'), one_of(1, 2, 0.5, 0), flag() }) x 2,
	sub { sprintf q{UPDATE feature_flag_variant SET payload = to_jsonb(%s) WHERE name = '%s'}, int rand 1000, one_of('a', 'b', 'B') },
	sub { sprintf q{DELETE FROM feature_flag_variant v USING feature_flag f WHERE f.id = v.flag_id AND f.name = '%s'}, flag() },
	sub { sprintf q{SELECT fflag_variants(name, '{"%s": 1, "%s": 3}') FROM feature_flag WHERE name = '%s' AND NOT EXISTS (TABLE feature_flag_attachment)}, one_of('a', 'b'), one_of('B', 'c'), flag() },
	sub { sprintf q{UPDATE feature_flag SET name = '%s' WHERE name = '%s'}, flag(), flag() },
	sub { sprintf q{SELECT fflag_rename(name, '%s') FROM feature_flag WHERE name = '%s' AND NOT EXISTS (TABLE feature_flag_attachment)}, flag(), flag() },
	sub { sprintf q{UPDATE feature_flag SET seed = %s WHERE name = '%s'}, one_of('NULL', map { "'$_'" } flag(), flag()), flag() },
	(sub { sprintf q{INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, '%s' FROM feature_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() }) x 2,
	(sub { sprintf q{DELETE FROM feature_flag_user WHERE user_id = '%s'}, user() }) x 2,
	sub { sprintf q{INSERT INTO feature_flag_user SELECT id, n::text FROM feature_flag, generate_series(100, 300) AS n WHERE name = '%s' ON CONFLICT DO NOTHING}, flag() },
	sub { sprintf q{UPDATE feature_flag_user SET user_id = '%s' WHERE user_id = '%s'}, user(), user() },
	sub { sprintf q{MERGE INTO feature_flag f USING (VALUES ('%s')) AS v (name) ON f.name = v.name
		WHEN MATCHED THEN UPDATE SET enabled = true WHEN NOT MATCHED THEN INSERT (name, enabled) VALUES (v.name, true)}, flag() },
	sub { sprintf q{WITH w AS (UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s' RETURNING id) SELECT id / (id - id) FROM w}, flag() },
	sub { sprintf q{DO $$ BEGIN UPDATE feature_flag SET enabled = NOT enabled WHERE name = '%s'; PERFORM count(*) FROM look_afresh(); RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN NULL; END $$}, flag() },
	sub { 'INSERT INTO other VALUES (1)' },
	sub { q{SELECT CASE WHEN EXISTS (TABLE feature_flag_attachment) THEN fflag_detach()
		ELSE fflag_attach('their_flag', 'their_user', enabled => 'active') END} },
	(sub { sprintf q{UPDATE their_flag SET active = NOT active WHERE name = '%s'}, flag() }) x 2,
	(sub { sprintf q{UPDATE their_flag SET rollout_percentage = %s WHERE name = '%s'}, one_of(0, 1, 50, 100, 200), flag() }) x 2,
	sub { sprintf q{UPDATE their_flag SET name = '%s' WHERE name = '%s'}, flag(), flag() },
	sub { sprintf q{INSERT INTO their_user SELECT id, %s FROM their_flag WHERE name = '%s' ON CONFLICT DO NOTHING}, user(), flag() },
	sub { sprintf q{DELETE FROM their_user WHERE user_id = %s}, user() },
);

sub change
{
	$session->do($truncating && rand() < 0.05 ? 'TRUNCATE ' . one_of('feature_flag_user', 'feature_flag_denied_user', 'feature_flag_relation', 'feature_flag_variant, feature_flag_relation') : one_of(@changes)->());
	return;
}

# Many commands in one transaction, some in a savepoint each.  What a savepoint has
# announced that is rolled back has to be announced again; one that has been
# released is rolled back with the outer one.
sub write_much
{
	$session->do('SAVEPOINT outer_one');
	for (1 .. 10 + rand 30)
	{
		if (rand() < 0.5)
		{
			change();
		}
		else
		{
			$session->do('SAVEPOINT s');
			my $ok = try(\&change);
			$session->do($ok ? one_of('RELEASE s', 'RELEASE s', 'ROLLBACK TO s') : 'ROLLBACK TO s');
		}
		$session->do('ROLLBACK TO outer_one') if rand() < 0.05;
		compare('TABLE result', 'writer, many commands') if rand() < 0.1;
	}
	return;
}

# Locks tables, of which TRUNCATE takes one after the other, in another order where it is applied or
# replayed.  Leaves it to the caller to roll back, and to try again, if we are the victim of a deadlock.
sub try_to_lock
{
	my ($command) = @_;
	local $may_get{$role} = { %{ $may_get{$role} }, '40P01' => 'a TRUNCATE that is applied or replayed' };
	return try(sub { $session->do($command) });
}

# Before a snapshot is taken in the turn with TRUNCATE.
sub lock_tables
{
	return !$truncating || try_to_lock('LOCK TABLE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation IN ACCESS SHARE MODE');
}

sub write_something
{
	my $kind = rand;
	return try(sub { change() }) if $kind < 0.4;
	$session->do('BEGIN' . one_of('', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE'));
	return $session->do('ROLLBACK') unless lock_tables();
	my $fine = try($kind > 0.95 ? \&write_much : sub {
		for (1 .. 1 + rand 3)
		{
			if (rand() < 0.4)
			{
				$session->do('SAVEPOINT s');
				my $ok = try(sub { change(); compare(one_of('TABLE result', 'SELECT * FROM look_afresh()'), 'writer') });
				$session->do(!$ok || rand() < 0.5 ? 'ROLLBACK TO s' : 'RELEASE s');
			}
			else
			{
				change();
			}
			compare(one_of('TABLE result', 'SELECT * FROM look()', 'SELECT * FROM look_afresh()'), 'writer') if rand() < 0.7;
		}
	});
	if ($fine && rand() < 0.2)
	{
		my $id = "p$$";
		return $session->do('ROLLBACK') unless try(sub { $session->do("PREPARE TRANSACTION '$id'") });
		# the tables may be locked by what is prepared, or by who waits for it
		$session->do(q{SET lock_timeout = '100ms'});
		try(sub { compare('TABLE result', 'writer, prepared') }) if !$truncating;
		$session->do('RESET lock_timeout');
		$session->do(one_of('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$id'");
	}
	else
	{
		try(sub { $session->do($fine && rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') }) or $session->do('ROLLBACK');
	}
	compare('TABLE result', 'writer, afterwards') if !$truncating && rand() < 0.3;
	return;
}

# Overrides some flags until the transaction, or the savepoint, ends.
sub override
{
	my @list = map { sprintf '"%s"=%s', flag(), one_of('on', 'off', 'on:"a"', 'on:"B"', 'on:"c"') } 1, 2;
	pop @list if rand() < 0.5 || (split /=/, $list[0])[0] eq (split /=/, $list[1])[0];
	$session->do("SET LOCAL fflag.override = '@{[ join ', ', @list ]}'");
	return;
}

sub read_something
{
	my ($what, $recovery) = @_;
	my $level = one_of('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', $recovery ? 'REPEATABLE READ' : 'SERIALIZABLE');
	return try(sub { compare(one_of('TABLE result', 'EXECUTE prepared'), $what) }) if rand() < 0.4 && !$truncating;
	$session->do("BEGIN ISOLATION LEVEL $level");
	return $session->do('ROLLBACK') unless lock_tables();
	try(sub {
		my $cursor = rand() < 0.3;
		# a cursor compares row by row, with other statements between
		$session->do('DECLARE c CURSOR FOR SELECT 1, (answered IS DISTINCT FROM said)::int, name FROM comparison') if $cursor;
		for (1 .. 1 + rand 4)
		{
			override() if rand() < 0.1;
			compare(one_of('TABLE result', 'TABLE result', 'SELECT * FROM look()', 'SELECT * FROM look_afresh()', 'EXECUTE prepared',
					'SELECT r.* FROM generate_series(1, 2) AS n, LATERAL alternate(n) AS r, LATERAL (SELECT fflag_enabled(\'flag 1\', n)) AS o',
					'SELECT count(*), count(*) FILTER (WHERE a <> b), NULL FROM (SELECT fflag_enabled(w.name, w.user_id, w.is_staff) AS a, c.answered AS b
						FROM wide w JOIN answer c USING (name, user_id, is_staff, default_value) WHERE NOT default_value) AS x'),
				"$what, $level");
			compare('FETCH 10 FROM c', "$what, $level, cursor") if $cursor;
			sleep rand 0.01;
		}
		if (rand() < 0.2)
		{
			$session->do('SAVEPOINT s');
			override() if rand() < 0.5;
			compare('TABLE result', "$what, $level, savepoint");
			$session->do('ROLLBACK TO s');
			compare('TABLE result', "$what, $level, after savepoint");
		}
	});
	try(sub { $session->do('COMMIT') }) or $session->do('ROLLBACK');
	return;
}

# ---- processes

my $dir = PostgreSQL::Test::Utils::tempdir;
my @children;

sub start
{
	my ($name, $node, $code, $until) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid)
	{
		push @children, [ $pid, $name ];
		return;
	}
	srand($seed + @children);
	($role) = split / /, $name;
	($answers, $wrong, $statements) = (0, 0, 0);
	my $done = eval {
		$session = session($node);
		1 until try_to_lock('PREPARE prepared AS TABLE result');
		$code->() while time() < $until;
		1;
	};
	my $error = $done ? '' : 'died: ' . $@ =~ tr/\n/ /r;
	open my $out, '>', "$dir/$$" or die;
	my $errors = join ' ', map { "$_=$errors{$_}" } sort keys %errors;
	print $out join "\n", "$answers $wrong $statements $errors", (map { "wrong: $_" } @examples), $error || ();
	close $out;
	# leave without PostgreSQL::Test::Cluster's END, which would stop servers
	$session->disconnect if $session;
	STDOUT->flush;
	POSIX::_exit($done ? 0 : 1);
}
use POSIX ();

my (%total, %theirs);
my $begun = time;
for my $turn (0, 1)
{
	$truncating = $turn;
	my $until = $begun + ($turn ? $seconds : 0.8 * $seconds);
	@children = ();
	start("writer $_", $primary, \&write_something, $until) for (1 .. 3);
	start("reader $_", $primary, sub { read_something('primary', 0) }, $until) for (1 .. 3);
	start("standby $_", $standby, sub { read_something('standby', 1) }, $until) for (1 .. $turn ? 1 : 2);
	start("subscriber $_", $subscriber, sub { read_something('subscriber', 0) }, $until) for (1 .. $turn ? 1 : 2);
	for my $child (@children)
	{
		my ($pid, $name) = @$child;
		waitpid $pid, 0;
		my $status = $?;
		$name =~ s/ \d+$//;
		open my $in, '<', "$dir/$pid" or next;
		my @counts = split ' ', <$in>;
		diag "$name: $_" for <$in>;
		close $in;
		$total{$name}[$_] += $counts[$_] for 0 .. 2;
		/(.*)=(.*)/ and $theirs{$name}{$1} += $2 for @counts[ 3 .. $#counts ];
		$total{$name}[3] ||= $status;
	}
	$primary->safe_psql('postgres', q{SELECT 'ROLLBACK PREPARED ''' || gid || '''' FROM pg_prepared_xacts \gexec});
}

my ($all, $bad) = (0, 0);
for my $name (sort keys %total)
{
	my ($n, $w, $s, $status) = @{ $total{$name} };
	is($status, 0, "$name: ran to the end");
	cmp_ok($n, '>', 1000, "$name: compared answers");
	is($w, 0, "$name: no wrong answer");
	diag sprintf '%-10s %9d answers compared in %6d statements, %d wrong', $name, $n, $s, $w;
	diag join '', ' ' x 11, 'errors that others cause: ', join ', ', map { "$_ $theirs{$name}{$_} times" } sort keys %{ $theirs{$name} } if $theirs{$name};
	$all += $n;
	$bad += $w;
}
diag sprintf '%-10s %9d answers compared, %d wrong, in %.0f s (seed %d)', 'together', $all, $bad, time - $begun, $seed;

# all end up with the same flags
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$primary->wait_for_catchup('flags');
my $flags = q{SELECT md5((SELECT string_agg(f::text, ',' ORDER BY id) FROM feature_flag f)
	|| (SELECT coalesce(string_agg(u::text, ',' ORDER BY flag_id, user_id), '') FROM feature_flag_user u)
	|| (SELECT coalesce(string_agg(d::text, ',' ORDER BY flag_id, user_id), '') FROM feature_flag_denied_user d)
	|| (SELECT coalesce(string_agg(v::text, ',' ORDER BY flag_id, name), '') FROM feature_flag_variant v)
	|| (SELECT coalesce(string_agg(r::text, ',' ORDER BY id), '') FROM feature_flag_relation r)
	|| (SELECT string_agg(f::text, ',' ORDER BY id) FROM their_flag f) || (SELECT count(*) FROM feature_flag_attachment))};
is(ask(session($_), $flags), ask(session($primary), $flags), $_->name . ' has the same flags') for ($standby, $subscriber);

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION flags');
no_crash($_) for ($subscriber, $standby, $primary);
$_->stop for ($subscriber, $standby, $primary);
done_testing();
