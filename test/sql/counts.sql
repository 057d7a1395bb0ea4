--
-- fflag_usage, fflag_usage_reset, fflag.track_usage and fflag_stale: what is
-- counted, and which flags can go.  023_usage has what takes several sessions.
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled, rollout_percentage)
VALUES ('full', true, 100), ('half', true, 50), ('off', false, 0);
CREATE VIEW usage AS SELECT name, known, evaluations, enabled FROM fflag_usage();
SELECT fflag_usage_reset();

-- flags that nobody has asked for are there, too
SELECT name, known, evaluations, enabled, last_evaluated_at, since BETWEEN now() - interval '1 minute' AND clock_timestamp() AS since FROM fflag_usage();

-- each evaluation counts, in each of its forms, for each type of id
SELECT fflag_enabled('full', 1), fflag_enabled('full', 'x'), fflag_enabled('full', gen_random_uuid()), fflag_enabled('off');
SELECT count(*) FILTER (WHERE fflag_enabled('half', n)) AS half FROM generate_series(1, 1000) AS n \gset
SELECT enabled = :half AS right FROM usage WHERE name = 'half';
SELECT * FROM usage WHERE name <> 'half';
SELECT fflag_usage_reset();
-- one for each element of an array
SELECT fflag_enabled('full', ARRAY[1, 2, NULL]), fflag_enabled_all('off', ARRAY['a', 'b'], ARRAY[true, NULL]);
SELECT count(*) FROM fflag_select('full', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT fflag_enabled('full', '{}'::bigint[]), fflag_enabled('full', NULL::bigint[]);
TABLE usage;
-- the name from a column, and from a variable
SELECT fflag_usage_reset();
SELECT count(*) FROM generate_series(1, 30) AS n WHERE fflag_enabled((ARRAY['full', 'half', 'off'])[1 + n % 3]);
DO $$ DECLARE flag text; BEGIN FOREACH flag IN ARRAY ARRAY['full', 'half', 'full'] LOOP PERFORM fflag_enabled(flag); END LOOP; END $$;
TABLE usage;

-- a variant and a payload are one evaluation each, whatever other flags are asked
SELECT fflag_usage_reset();
BEGIN;
SELECT fflag_register('needed', true), fflag_register('needs it', true), fflag_group('needed group', 7);
SELECT fflag_require('needs it', 'needed'), fflag_exclude('needs it', 'needed group'), fflag_variants('needs it', '{"a": 1, "b": 1}'), fflag_deny('needs it', 3);
SELECT count(fflag_variant('needs it', n)) FROM generate_series(1, 10) AS n;
SELECT count(fflag_variant_payload('needs it', n)), count(fflag_variant('nobody knows', n)), count(fflag_enabled('needs it', ARRAY[1, 2, 3])) FROM generate_series(1, 5) AS n;
SELECT count(*) FROM fflag_select('needs it', ARRAY[1, 2, 3]);
SELECT count(variant) FROM fflag_explain('needs it', 1);
SELECT * FROM usage WHERE name ~ 'need|nobody knows';
ROLLBACK;

-- what does not count: a name that is NULL, explanations, bulk answers, buckets, plans
SELECT fflag_usage_reset();
SELECT fflag_enabled(NULL, 1), fflag_enabled(NULL, ARRAY[1, 2]);
SELECT rule FROM fflag_explain('full', 1);
SELECT count(*) FROM fflag_flags(1);
SELECT fflag_bucket('full', 1);
EXPLAIN (COSTS OFF) SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('full', n);
TABLE usage;
-- a constant call in WHERE is evaluated once a scan
SELECT count(*) FROM generate_series(1, 1000) AS n WHERE fflag_enabled('full', 1);
SELECT * FROM usage WHERE name = 'full';

-- answers in bulk are counted apart, one for each flag and call, for each type of id
SELECT fflag_usage_reset();
SELECT count(*) FROM fflag_flags(1);
SELECT count(*) FROM fflag_flags('x');
SELECT fflag_enabled('full', 1);
SELECT count(*) FROM fflag_flags(gen_random_uuid());
CREATE VIEW bulk AS SELECT name, known, evaluations, bulk_answers, last_evaluated_at IS NOT NULL AS evaluated, last_bulk_answer_at IS NOT NULL AS in_bulk FROM fflag_usage();
TABLE bulk;
-- in a transaction: seen there, rolled back, not lost when flags change
BEGIN;
SELECT count(*) FROM fflag_flags(1);
SELECT sum(bulk_answers) FROM bulk;
SAVEPOINT s;
SELECT fflag_register('new');
SELECT count(*) FROM fflag_flags(1), generate_series(1, 3) AS n;
SELECT fflag_enabled('half', n) IS NOT NULL AS half FROM generate_series(1, 2) AS n;
ROLLBACK TO s;
SELECT fflag_enabled('half') AS half;
SELECT count(*) FROM fflag_flags(1);
ROLLBACK;
TABLE bulk;
SELECT last_bulk_answer_at > last_evaluated_at AS later, last_bulk_answer_at BETWEEN since AND now() AS at FROM fflag_usage() WHERE name = 'full';
SET fflag.track_usage = off;
SELECT count(*) FROM fflag_flags(1);
RESET fflag.track_usage;
SELECT count(bulk_answers), sum(bulk_answers) FROM bulk;
SELECT fflag_usage_reset();
SELECT count(bulk_answers), sum(bulk_answers), count(*) FILTER (WHERE in_bulk) AS in_bulk FROM bulk;
-- of a flag that is not there any more, only evaluations are told
SELECT fflag_register('new');
SELECT count(*) FROM fflag_flags(1);
DELETE FROM feature_flag WHERE name = 'new';
SELECT name, bulk_answers FROM bulk;
DROP VIEW bulk;

-- names that no flag has, and names too long for any flag, all together
SELECT fflag_usage_reset();
SELECT fflag_enabled('typo', 1, default_value => true), fflag_enabled('', 1);
SELECT count(fflag_enabled(repeat('x', 601) || n)) FROM generate_series(1, 10) AS n;
TABLE usage;
-- a name that becomes a flag, one that is one no longer
SELECT fflag_register('typo', true);
DELETE FROM feature_flag WHERE name = 'off';
SELECT fflag_enabled('off', 1), fflag_enabled('typo', 1);
TABLE usage;
-- forgotten by a reset if no flag has it
SELECT fflag_usage_reset();
TABLE usage;
INSERT INTO feature_flag (name) VALUES ('off');

-- rolled back, failed, prepared: evaluated all the same
SELECT fflag_usage_reset();
BEGIN;
SELECT fflag_enabled('full');
SAVEPOINT s;
SELECT fflag_enabled('full');
ROLLBACK TO s;
SELECT fflag_enabled('full');
ROLLBACK;
SELECT sum(CASE WHEN fflag_enabled('full', n) AND n = 7 THEN 1 / (n - 7) END) FROM generate_series(1, 10) AS n;
BEGIN;
SELECT fflag_enabled('off');
COMMIT;
TABLE usage;

-- nothing is lost when the session forgets the flags: by a change of its own, and
-- one that it is about to roll back
SELECT fflag_usage_reset();
BEGIN;
SELECT fflag_enabled('full');
UPDATE feature_flag SET description = 'x';
SELECT fflag_enabled('full');
SAVEPOINT s;
UPDATE feature_flag SET description = 'y';
SELECT fflag_enabled('full');
ROLLBACK TO s;
SELECT fflag_enabled('full');
COMMIT;
SELECT * FROM usage WHERE name = 'full';
-- and when it forgets names that no flag has
SELECT count(fflag_enabled('no such flag ' || n)) FROM generate_series(1, 5000) AS n;
SELECT sum(evaluations) FROM usage WHERE NOT known;
SELECT count(name) BETWEEN 1 AND 512 AS bounded FROM usage WHERE NOT known;
-- or does not remember them
SET fflag.cache = off;
SELECT count(fflag_enabled('full', n)) FROM generate_series(1, 10) AS n;
RESET fflag.cache;
SELECT evaluations FROM usage WHERE name = 'full';

-- call sites that have counted before the counts are looked at, and go on
SELECT fflag_usage_reset();
BEGIN;
DECLARE c CURSOR FOR SELECT fflag_enabled('half', n) FROM generate_series(1, 3) AS n;
FETCH c;
SELECT evaluations FROM usage WHERE name = 'half';
FETCH c;
COMMIT;
DO $$
DECLARE
	answer boolean;
BEGIN
	FOR i IN 1 .. 5 LOOP
		answer := fflag_enabled('full');
		PERFORM fflag_usage();
	END LOOP;
END $$;
TABLE usage;

-- or outlive their transactions
SELECT fflag_usage_reset();
CREATE PROCEDURE evaluate() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		PERFORM fflag_enabled('half');
		COMMIT;
		PERFORM fflag_enabled('full'), fflag_enabled('full');
		ROLLBACK;
	END LOOP;
END $$;
CALL evaluate();
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT fflag_enabled('off', n) FROM generate_series(1, 3) AS n;
FETCH c;
COMMIT;
FETCH c;
CLOSE c;
TABLE usage;

-- off: not counted, from the next statement on, also in the middle of a transaction
SELECT fflag_usage_reset();
BEGIN;
SELECT fflag_enabled('full');
SET LOCAL fflag.track_usage = off;
SELECT fflag_enabled('full');
SET LOCAL fflag.track_usage = on;
SELECT fflag_enabled('full');
SET LOCAL fflag.track_usage = off;
SELECT fflag_enabled('full'), fflag_enabled('half');
COMMIT;
TABLE usage;
SET fflag.track_usage = sometimes;

-- an answer that the session forces is an evaluation like any other; an error is none
SELECT fflag_usage_reset();
SET fflag.override = 'full=off, forced=on';
SELECT fflag_enabled('full'), fflag_enabled('forced'), fflag_enabled(repeat('x', 601));
RESET fflag.override;
SET fflag.unknown_flag = error;
SELECT fflag_enabled('refused');
SET fflag.unknown_flag = warning;
SELECT fflag_enabled('warned of') FROM generate_series(1, 2);
RESET fflag.unknown_flag;
TABLE usage;

-- for those whom the owner lets
CREATE ROLE regress_fflag_ops;
SET ROLE regress_fflag_ops;
SELECT fflag_enabled('full');
TABLE usage;
SELECT * FROM fflag_usage();
SELECT fflag_usage_reset();
SELECT * FROM fflag_stale();
SET fflag.track_usage = off;
RESET ROLE;
GRANT EXECUTE ON FUNCTION fflag_usage(), fflag_stale(interval) TO regress_fflag_ops;
SET ROLE regress_fflag_ops;
SELECT evaluations FROM fflag_usage() WHERE name = 'full';
SELECT * FROM fflag_stale();
RESET ROLE;
-- nor does it help to be early, in a session that has not loaded the library
\c
SET ROLE regress_fflag_ops;
SET fflag.track_usage = off;
SELECT fflag_enabled('full');
SHOW fflag.track_usage;
RESET ROLE;
GRANT SET ON PARAMETER fflag.track_usage TO regress_fflag_ops;
SET ROLE regress_fflag_ops;
SET fflag.track_usage = off;
SELECT fflag_enabled('full');
RESET ROLE;
RESET fflag.track_usage;
SELECT evaluations FROM usage WHERE name = 'full';
DROP OWNED BY regress_fflag_ops;
DROP ROLE regress_fflag_ops;

--
-- Flags that can go
--
TRUNCATE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation;
INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage, updated_at)
SELECT name, enabled, staff_only, percentage, now() - interval '45 days 1 hour'
FROM (VALUES
	('all', true, false, 100),
	('all to come', false, false, 100),
	('half', true, false, 50),
	('listed', true, false, 0),
	('none', true, false, 0),
	('nobody', false, false, 0),
	('staff', true, true, 0),
	('staff, off', false, true, 100)) AS f (name, enabled, staff_only, percentage);
SELECT fflag_allow('listed', 7), fflag_allow('all', 7), fflag_allow('nobody', 7);
-- the table keeps updated_at at an UPDATE only
INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('young', true, 100);
SELECT name, reason, updated_at < now() AS updated, last_evaluated_at FROM fflag_stale();
-- a schedule or a ramp changes a flag, too; what is to come is not over
BEGIN;
INSERT INTO feature_flag (name, enabled, rollout_percentage, updated_at, starts_at, ends_at, ramp_starts_at, ramp_ends_at, ramp_to)
SELECT name, true, percentage, now() - interval '45 days 1 hour', now() + starts, now() + ends, now() + ramp_starts, now() + ramp_ends, ramp_to
FROM (VALUES
	('begun', 100, interval '-40 days -1 hour', NULL::interval, NULL::interval, NULL::interval, NULL),
	('begun lately', 100, '-1 day', NULL, NULL, NULL, NULL),
	('ended', 100, NULL, '-39 days -1 hour', NULL, NULL, NULL),
	('to begin', 100, '1 day', NULL, NULL, NULL, NULL),
	('to end', 100, '-40 days', '1 day', NULL, NULL, NULL),
	('ramped', 10, NULL, NULL, '-60 days', '-38 days -1 hour', 100),
	('ramping', 100, NULL, NULL, '-60 days', '1 day', 10),
	('to ramp', 100, NULL, NULL, '1 day', '2 days', 10)) AS f (name, percentage, starts, ends, ramp_starts, ramp_ends, ramp_to);
SELECT name, reason FROM fflag_stale() WHERE name ~ 'begin|begun|end|ramp';
ROLLBACK;
-- whom relations or a denylist keep out, or let in, is not answered as all others are
BEGIN;
INSERT INTO feature_flag (name, enabled, rollout_percentage, updated_at)
SELECT name, name <> 'other off', percentage, now() - interval '45 days 1 hour'
FROM (VALUES ('other all', 100), ('other half', 50), ('other off', 100), ('requires all', 100), ('requires half', 100), ('requires off, too', 0), ('excludes', 100), ('excludes none', 0),
	('includes', 0), ('includes all', 100), ('includes, too', 100), ('denies', 100), ('denied by none now', 100)) AS f (name, percentage);
INSERT INTO feature_flag_relation (flag_id, other_id, kind)
SELECT f.id, o.id, kind FROM (VALUES ('requires all', 'requires', 'other all'), ('requires half', 'requires', 'other half'), ('requires off, too', 'requires', 'other off'),
	('excludes', 'excludes', 'other half'), ('excludes none', 'excludes', 'other off'), ('includes', 'includes', 'other half'), ('includes all', 'includes', 'other all'),
	('includes, too', 'includes', 'other half'), ('includes, too', 'requires', 'other all')) AS r (name, kind, other) JOIN feature_flag f USING (name) JOIN feature_flag o ON o.name = other;
SELECT fflag_deny('denies', 1), fflag_deny('denied by none now', 1), fflag_undeny('denied by none now', 1);
SELECT name, reason FROM fflag_stale() WHERE name ~ 'other|require|exclude|include|denie';
ROLLBACK;
-- a flag that is to stay says so in its metadata, as "true" or true, and in nothing else
BEGIN;
UPDATE feature_flag AS f SET metadata = m.metadata, updated_at = now()
FROM (VALUES ('all', '{"permanent": true}'::jsonb), ('none', '{"owner": "ops", "permanent": "true"}'), ('nobody', '{"permanent": "yes"}'), ('staff, off', '{"is": {"permanent": true}}'),
	('young', '{"permanent": false}'), ('all to come', '{"permanent": [true]}'), ('half', '{"permanent": 1}')) AS m (name, metadata) WHERE f.name = m.name;
SELECT name FROM feature_flag WHERE metadata ->> 'permanent' = 'true' ORDER BY name;
SELECT name, reason FROM fflag_stale('0');
-- a long one too, which is not in the row
UPDATE feature_flag SET metadata = jsonb_build_object('permanent', true, 'notes', (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 1000) AS n)) WHERE name = 'half';
SELECT name FROM fflag_stale('0') WHERE name = 'half';
SELECT fflag_usage_reset();
SELECT count(*), string_agg(name, ', ') FILTER (WHERE name IN ('all', 'none', 'half')) AS permanent FROM fflag_stale('-1 day');
-- who has made something else of the column, or dropped it, has none
ALTER TABLE feature_flag ALTER metadata DROP DEFAULT, DROP CONSTRAINT feature_flag_metadata_check, ALTER metadata TYPE text;
SELECT count(*) FROM fflag_stale('-1 day');
ALTER TABLE feature_flag DROP metadata, DROP updated_at CASCADE;
SELECT count(*) AS flags, count(updated_at) FROM fflag_stale('-1 day');
ROLLBACK;
-- whatever this session forces
SET fflag.override = 'half=on, nobody=on';
SELECT name, reason FROM fflag_stale('44 days');
RESET fflag.override;
SELECT name, reason FROM fflag_stale('46 days');
SELECT * FROM fflag_stale(NULL);

-- not asked for: since counting began, and in a while
SELECT fflag_usage_reset();
SELECT fflag_enabled('young', 1);
SELECT s.name, s.reason FROM (SELECT max(since) FROM fflag_usage()) AS u (since), fflag_stale(now() - u.since) AS s;
SELECT s.name, s.reason, s.last_evaluated_at = u.last AS last
FROM (SELECT last_evaluated_at FROM fflag_usage() WHERE name = 'young') AS u (last), fflag_stale(now() - u.last) AS s
WHERE s.name IN ('half', 'young');

-- attached tables do not say when a flag was changed; of flags that are not told
-- apart it is not known whether they have been asked for
CREATE TABLE their_flag (id int PRIMARY KEY, name text UNIQUE NOT NULL, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE their_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
INSERT INTO their_flag VALUES (1, 'all', true, false, 100), (2, 'theirs', true, false, 100), (3, repeat('y', 700), true, false, 100);
SELECT fflag_attach('their_flag', 'their_user');
SELECT fflag_enabled('theirs');
SELECT left(name, 9) AS name, known, evaluations, enabled FROM usage;
SELECT left(s.name, 9) AS name, s.reason, s.updated_at FROM (SELECT max(since) FROM fflag_usage()) AS u (since), fflag_stale(now() - u.since) AS s;
SELECT fflag_enabled(repeat('y', 700));
SELECT left(name, 9) AS name, known, evaluations, enabled FROM usage;
SELECT left(s.name, 9) AS name, s.reason, s.updated_at FROM (SELECT max(since) FROM fflag_usage()) AS u (since), fflag_stale(now() - u.since) AS s;
SELECT fflag_detach();
DROP TABLE their_flag, their_user;

-- whoever asks for all flags asks for each: "half" in time, and then lately enough
SELECT fflag_usage_reset();
SELECT count(*) FROM fflag_flags(1) WHERE name = 'half';
SELECT fflag_enabled('young', 1);
SELECT s.name, s.reason FROM (SELECT max(since) FROM fflag_usage()) AS u (since), fflag_stale(now() - u.since) AS s WHERE s.name IN ('half', 'young');
SELECT s.name, s.reason, s.last_evaluated_at IS NULL AS unevaluated, s.last_bulk_answer_at = u.last AS last
FROM (SELECT last_bulk_answer_at FROM fflag_usage() WHERE name = 'half') AS u (last), fflag_stale(now() - u.last) AS s
WHERE s.name IN ('half', 'young');

-- a policy on the table would be run as the caller: there is no reading in part
CREATE ROLE regress_fflag_ops;
GRANT EXECUTE ON FUNCTION fflag_stale(interval) TO regress_fflag_ops;
GRANT SELECT ON feature_flag TO regress_fflag_ops;
ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
CREATE POLICY part ON feature_flag USING (fflag_enabled('all', 1) AND name = 'all');
SET ROLE regress_fflag_ops;
SELECT name, reason, updated_at < now() AS updated FROM fflag_stale() ORDER BY name COLLATE "C";
RESET ROLE;
DROP OWNED BY regress_fflag_ops;
DROP ROLE regress_fflag_ops;
DROP VIEW usage;
DROP PROCEDURE evaluate;

-- A change of relations is a change of the flag, also one that takes the last away; and who
-- asks for a flag asks for those that it depends on, however far, in bulk too.
DROP EXTENSION fflag;
CREATE EXTENSION fflag;
SELECT fflag_register(ARRAY['asked', 'between', 'far', 'apart'], true);
SELECT fflag_group('group');
SELECT fflag_require('asked', 'between'), fflag_require('between', 'far'), fflag_include('apart', 'group');
ALTER TABLE feature_flag DISABLE TRIGGER fflag_check;
UPDATE feature_flag SET updated_at = now() - interval '365 days';
ALTER TABLE feature_flag ENABLE TRIGGER fflag_check;
SELECT fflag_usage_reset();
SELECT name, reason FROM fflag_stale('1 day') ORDER BY name;
SELECT fflag_unrelate('asked', 'between'), fflag_unrelate('apart', 'group');
SELECT name, reason FROM fflag_stale('1 day') ORDER BY name;
UPDATE feature_flag_change SET at = at - interval '2 days' WHERE NOT begins;
SELECT name, reason FROM fflag_stale('1 day') ORDER BY name;
-- the lists of groups are counted, and not held
INSERT INTO feature_flag_user SELECT id, 1 FROM feature_flag WHERE name = 'group';
\c
SELECT count(*) > 0 AS some FROM fflag_stale('0 s');
SELECT allowlists FROM fflag_cache();
-- from counting's beginning on, only what is asked now has been
SELECT fflag_require('asked', 'between');
SELECT fflag_enabled('asked', 1);
SELECT name FROM fflag_stale('-1 day') WHERE reason ~ 'counting began' ORDER BY name;
SELECT count(*) FROM fflag_flags(1);
SELECT name FROM fflag_stale('-1 day') WHERE reason ~ 'counting began' ORDER BY name;
SELECT name, last_evaluated_at IS NULL AS never, last_bulk_answer_at IS NULL AS never_in_bulk FROM fflag_stale('-1 day') ORDER BY name;
DROP EXTENSION fflag;
