--
-- fflag_explain_at of moments that are to come: what users will get if nobody changes
-- anything, by schedules and ramps
--
CREATE EXTENSION fflag;
CREATE TABLE moment (n int, at timestamptz);
INSERT INTO moment SELECT n, now() + n * interval '1 day' FROM generate_series(1, 10, 3) AS n;
CREATE VIEW said AS SELECT n, name, e.* FROM moment, feature_flag AS f, fflag_explain_at(at, f.name, 42) AS e;

-- a schedule, a ramp, and both
SELECT fflag_register('starts', true), fflag_register('ends', true), fflag_register('off'), fflag_register('ramps', true, 0), fflag_register('both', true, 0);
SELECT fflag_schedule('starts', now() + '3 days'), fflag_schedule('ends', NULL, now() + '5 days'), fflag_schedule('off', now() + '1 day', NULL),
	fflag_ramp('ramps', 100, '10 days'), fflag_schedule('both', now() + '2 days', now() + '8 days'), fflag_ramp('both', 50, '2 days', now() + '1 day');
SELECT n, name, enabled, rule, reason, round(rollout_percentage, 1) AS percentage FROM said ORDER BY name, n;
-- at the very microsecond
SELECT e.rule AS start, before.rule AS before FROM feature_flag AS f, fflag_explain_at(starts_at, 'both') AS e, fflag_explain_at(starts_at - interval '1 us', 'both') AS before WHERE name = 'both';
-- each type of id, staff, a name that no flag has
SELECT rule, bucket FROM fflag_explain_at('3000-01-01', 'ramps', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
SELECT rule, bucket FROM fflag_explain_at('3000-01-01', 'ramps', 'alice');
SELECT enabled, rule FROM fflag_explain_at('3000-01-01', 'nobody', 1, default_value => true);
SELECT enabled, rule FROM fflag_explain_at('3000-01-01', NULL, 1);
-- there is no answer at the end of time; there is one just before
SELECT fflag_explain_at('infinity', 'starts', 1);
\set VERBOSITY sqlstate
SELECT fflag_explain_at('infinity', 'starts', 1);
\set VERBOSITY default
SELECT rule FROM fflag_explain_at('294276-12-31 23:59:59.999999+00', 'starts', 1);

-- what is required counts as it will be then; lists and variants as they are today
SELECT fflag_register('needs it', true), fflag_require('needs it', 'starts'), fflag_deny('needs it', 7), fflag_variants('needs it', '{"a": 1, "b": 1}');
SELECT fflag_register('listed', true, 0), fflag_allow('listed', 42), fflag_schedule('listed', NULL, now() + '6 days');
SELECT n, enabled, rule, variant FROM said WHERE name = 'needs it' ORDER BY n;
SELECT n, enabled, rule FROM said WHERE name = 'listed' ORDER BY n;
SELECT rule FROM fflag_explain_at(now() + '4 days', 'needs it', 7);

-- what is not committed counts in the session that has changed it, and is rolled back
BEGIN;
SELECT fflag_schedule('starts', now() + '9 days'), fflag_undeny('needs it', 7), fflag_variants('needs it', '{"mine": 1}'), fflag_disallow('listed', 42), fflag_register('new', true);
SELECT n, name, enabled, rule, variant FROM said WHERE name IN ('starts', 'needs it', 'listed', 'new') AND n IN (4, 10) ORDER BY name, n;
SELECT rule FROM fflag_explain_at(now() + '10 days', 'needs it', 7);
SAVEPOINT s;
SELECT fflag_disable('starts');
SELECT rule FROM fflag_explain_at(now() + '10 days', 'needs it', 42);
ROLLBACK TO s;
SELECT rule FROM fflag_explain_at(now() + '10 days', 'needs it', 42);
ROLLBACK;
SELECT n, name, enabled, rule, variant FROM said WHERE name IN ('starts', 'needs it', 'listed', 'new') AND n IN (4, 10) ORDER BY name, n;

-- nothing but the time is other than now: what does not move is as it is
INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage)
	SELECT 'flag ' || n, n % 7 > 0, n % 5 = 0, (n * 37 % 101) FROM generate_series(1, 300) AS n;
INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, id % 4 FROM feature_flag;
INSERT INTO feature_flag_denied_user (flag_id, user_id) SELECT id, id % 3 FROM feature_flag WHERE id % 2 = 0;
INSERT INTO feature_flag_variant (flag_id, name) SELECT id, v FROM feature_flag, unnest('{x,y}'::text[]) AS v WHERE name ~ 'flag';
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant, pin)
	SELECT f.id, o.id, k, CASE WHEN f.id % 5 = 0 THEN 'x' END, CASE WHEN k = 'includes' AND f.id % 7 < 4 THEN 'y' END
	FROM feature_flag f JOIN LATERAL (SELECT max(id) AS id FROM feature_flag r WHERE r.id < f.id AND r.name ~ 'flag') AS o ON o.id IS NOT NULL,
		LATERAL (SELECT ('{requires,includes,excludes}'::text[])[f.id / 3 % 3 + 1] AS k) AS kind
	WHERE f.id % 3 = 0 AND name ~ 'flag';
SELECT count(*), count(DISTINCT a.rule) AS rules, count(a.variant) > 50 AS variants, count(*) FILTER (WHERE a::text <> b::text) AS wrong
FROM feature_flag AS f, unnest('{1,2,3,NULL}'::text[]) AS u, unnest('{true,false}'::boolean[]) AS s,
	fflag_explain(f.name, u, s) AS a, fflag_explain_at('3000-01-01', f.name, u, s) AS b WHERE name ~ 'flag';

-- the history is not asked, and need not be there
BEGIN;
DELETE FROM feature_flag_history;
DELETE FROM feature_flag_change;
SELECT rule FROM fflag_explain_at(now() + '4 days', 'starts', 1);
SELECT rule FROM fflag_explain_at(now(), 'starts', 1);
ROLLBACK;
ALTER TABLE feature_flag DISABLE TRIGGER fflag_record_update;
SELECT rule FROM fflag_explain_at(now() + '4 days', 'starts', 1);
SELECT rule FROM fflag_explain_at(clock_timestamp(), 'starts', 1);
ALTER TABLE feature_flag ENABLE TRIGGER fflag_record_update;

-- attached tables, which have no schedules
CREATE TABLE their_flag (id int PRIMARY KEY, name text UNIQUE NOT NULL, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE their_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
INSERT INTO their_flag VALUES (1, 'theirs', true, false, 0), (2, 'starts', true, false, 120);
INSERT INTO their_user VALUES (1, 42);
SELECT fflag_attach('their_flag', 'their_user');
SELECT u, f, e FROM unnest('{1,42}'::int[]) AS u, unnest('{theirs,starts,ends}'::text[]) AS f, fflag_explain_at('3000-01-01', f, u) AS e;
BEGIN;
DELETE FROM their_user;
SELECT rule FROM fflag_explain_at('3000-01-01', 'theirs', 42);
SELECT fflag_detach();
SELECT a.rule AS theirs, b.rule AS own FROM fflag_explain_at('3000-01-01', 'theirs', 42) AS a, fflag_explain_at(now() + '2 days', 'starts', 42) AS b;
ROLLBACK;
SELECT fflag_detach();

-- for those whom the owner lets, without a privilege on the tables
CREATE ROLE regress_fflag_ops;
GRANT EXECUTE ON FUNCTION fflag_explain_at(timestamptz, text, bigint, boolean, boolean) TO regress_fflag_ops;
SET ROLE regress_fflag_ops;
SELECT rule FROM fflag_explain_at(now() + '2 days', 'starts', 42);
SELECT rule FROM fflag_explain_at(now() + '2 days', 'starts', 'x');
RESET ROLE;
DROP OWNED BY regress_fflag_ops;
DROP ROLE regress_fflag_ops;

DROP VIEW said;
DROP EXTENSION fflag;
DROP TABLE moment, their_flag, their_user;
