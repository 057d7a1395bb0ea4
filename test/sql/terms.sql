--
-- Schedules and ramps: what a flag is by the time at which a statement starts
--
CREATE EXTENSION fflag;
SELECT fflag_register('f', true);
CREATE FUNCTION shown(OUT enabled boolean, OUT rule text, OUT reason text, OUT rollout_percentage numeric) LANGUAGE sql STABLE AS
	$$SELECT enabled, rule, reason, rollout_percentage FROM fflag_explain('f', 1)$$;

SELECT fflag_schedule('f', now() + '1 hour', NULL);
SELECT * FROM shown();
SELECT fflag_schedule('f', now() - interval '1 hour', now() + '1 hour');
SELECT * FROM shown();
SELECT fflag_schedule('f', NULL, now());
SELECT * FROM shown();
SELECT fflag_schedule('f', 'infinity', NULL);
SELECT * FROM shown();
SELECT fflag_schedule('f', '-infinity', 'infinity');
SELECT * FROM shown();
-- staff try it out before it starts, and what is disabled is just that
SELECT fflag_schedule('f', '3000-01-01 09:00+00', NULL), fflag_disable('f');
SELECT * FROM shown();
UPDATE feature_flag SET enabled = true, staff_only = true;
SELECT * FROM shown();
SELECT fflag_enabled('f', 1, true) AS staff;
UPDATE feature_flag SET staff_only = false;
SELECT fflag_allow('f', 1);
SELECT * FROM shown();
SELECT fflag_schedule('f', NULL, NULL);
SELECT * FROM shown();

-- arrays, all flags, an override
SELECT fflag_schedule('f', '3000-01-01 09:00+00', NULL);
SELECT fflag_enabled('f', ARRAY[1, 2]), ARRAY(SELECT fflag_select('f', ARRAY[1, 2])) AS selected, (SELECT enabled FROM fflag_flags(1)) AS of_all;
SET fflag.override = 'f=on';
SELECT * FROM shown();
RESET fflag.override;
SELECT fflag_schedule('f', NULL, NULL), fflag_disallow('f', 1);

-- a start that is to come is not dropped in silence, whatever was to be changed
SELECT fflag_schedule('f', '3000-01-01 09:00+00', '3000-02-01 09:00+00');
SELECT fflag_schedule('f', NULL, '3000-03-01 09:00+00');
SELECT * FROM shown();
SELECT fflag_schedule('f', NULL, '3000-04-01 09:00+00');
SELECT fflag_schedule('f', '3000-01-01 09:00+00', NULL);
SELECT fflag_schedule('f', NULL);
SELECT fflag_schedule('f', '3000-01-01 09:00+00', NULL);
SELECT fflag_schedule('f', NULL, now());
SELECT * FROM shown();
SELECT fflag_schedule('f', 'infinity', NULL), fflag_disable('f');
SELECT fflag_schedule('f', NULL, NULL);
SELECT fflag_schedule('f', '3000-01-01 09:00+00', NULL), fflag_enable('f');
UPDATE feature_flag SET staff_only = true;
SELECT fflag_schedule('f', NULL, NULL);
UPDATE feature_flag SET staff_only = false;
-- as when the end alone is changed
SELECT fflag_schedule('f', '3000-01-01 09:00+00', '3000-02-01 09:00+00');
SELECT fflag_schedule(name, starts_at, '3000-03-01 09:00+00') FROM feature_flag WHERE name = 'f';
SELECT * FROM shown();
-- who has started already may drop that
SELECT fflag_schedule('f', '2000-01-01', NULL);
SELECT fflag_schedule('f', NULL, NULL);

-- a ramp
SELECT fflag_rollout('f', 10), fflag_ramp('f', 90, '2 hours', now() + '1 hour');
SELECT rollout_percentage FROM shown();
SELECT fflag_ramp('f', 90, '2 hours', now() - interval '3 hours');
SELECT rollout_percentage FROM shown();
-- the next begins where it has ended
SELECT fflag_ramp('f', 50, '1 day');
SELECT rollout_percentage, ramp_to, ramp_ends_at - ramp_starts_at AS duration FROM feature_flag;
SELECT round(rollout_percentage, 1) AS just_left FROM shown();
-- or where it is
UPDATE feature_flag SET ramp_starts_at = now() - interval '12 hours', ramp_ends_at = now() + '12 hours';
SELECT round(rollout_percentage, 1) AS half_way FROM shown();
SELECT fflag_ramp('f', 100, '1 day');
SELECT round(rollout_percentage, 1) AS from, ramp_to FROM feature_flag;
-- NULL stops it there
UPDATE feature_flag SET rollout_percentage = 20, ramp_to = 40, ramp_starts_at = now() - interval '12 hours', ramp_ends_at = now() + '12 hours';
SELECT fflag_ramp('f', NULL, NULL);
SELECT round(rollout_percentage, 1) AS stopped_at, ramp_to, ramp_starts_at, ramp_ends_at FROM feature_flag;
-- there as the rules have it, with at most three decimals: of ramps upwards and
-- downwards, and of the longest, whose duration is no interval
CREATE FUNCTION left_at(percentages numeric[], moments timestamptz[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	seen numeric;
BEGIN
	UPDATE feature_flag SET rollout_percentage = percentages[1], ramp_to = percentages[2], ramp_starts_at = moments[1], ramp_ends_at = moments[2];
	SELECT rollout_percentage INTO seen FROM shown();
	PERFORM fflag_ramp('f', NULL, NULL);
	RETURN QUERY SELECT CASE rollout_percentage WHEN seen THEN 'as seen' ELSE format('%s, not %s', rollout_percentage, seen) END FROM feature_flag
		UNION ALL SELECT 'with a tail of zeros' FROM feature_flag WHERE scale(rollout_percentage) > min_scale(rollout_percentage);
END $$;
SELECT DISTINCT l.* FROM generate_series(1, 500) AS n,
	left_at(ARRAY[n % 101, n * 37 % 100001 / 1000.0], ARRAY[now() - n * interval '0.7 day', now() + n * interval '0.3 day']) AS l;
SELECT l.* FROM left_at('{0,100}', '{4713-01-01 BC,294276-12-31}') AS l;
SELECT rollout_percentage BETWEEN 2 AND 3 AS early FROM feature_flag;
UPDATE feature_flag SET rollout_percentage = 20, ramp_to = 40, ramp_starts_at = now() - interval '12 hours', ramp_ends_at = now() + '12 hours';
SELECT fflag_ramp('f', 100, '1 day');
SELECT scale(rollout_percentage) <= 3 AS short FROM feature_flag;
DROP FUNCTION left_at;
-- and fflag_rollout() ends it
SELECT fflag_ramp('f', 100, '1 day'), fflag_rollout('f', 7);
SELECT rollout_percentage, ramp_to, ramp_starts_at, ramp_ends_at FROM feature_flag;

-- mistakes
SELECT fflag_schedule('f', now(), now() - interval '1 hour');
SELECT fflag_schedule('nobody', now(), NULL);
SELECT fflag_schedule(NULL, now(), NULL);
SELECT fflag_ramp('f', 100.0001, '1 day');
SELECT fflag_ramp('f', -1, '1 day');
SELECT fflag_ramp('f', 'NaN', '1 day');
SELECT fflag_ramp('f', 100, NULL);
SELECT fflag_ramp('f', 100, '1 day', NULL);
SELECT fflag_ramp('f', 100, '0');
SELECT fflag_ramp('f', 100, '-1 day');
SELECT fflag_ramp('f', 100, '1 day', 'infinity');
SELECT fflag_ramp('f', 100, '1000000 years');
SELECT fflag_ramp('nobody', 100, '1 day');
UPDATE feature_flag SET ramp_to = 50;
UPDATE feature_flag SET ramp_to = 150, ramp_starts_at = now(), ramp_ends_at = now() + '1 hour';
-- replicated rows meet the constraints alone
SET session_replication_role = replica;
\set VERBOSITY terse
UPDATE feature_flag SET starts_at = now(), ends_at = now();
UPDATE feature_flag SET ramp_to = 50;
UPDATE feature_flag SET ramp_to = 50, ramp_starts_at = now(), ramp_ends_at = 'infinity';
UPDATE feature_flag SET ramp_to = 50, ramp_starts_at = now(), ramp_ends_at = now();
UPDATE feature_flag SET ramp_to = 50.0001, ramp_starts_at = now(), ramp_ends_at = now() + '1 hour';
\set VERBOSITY default
RESET session_replication_role;
SELECT fflag_ramp('f', 100, '1 day', 'today'), fflag_rollout('f', 7);

-- a ramp that would begin where it ends changes nothing
SELECT fflag_register('whole', true);
SELECT fflag_ramp('whole', 100, '7 days');
\set VERBOSITY sqlstate
SELECT fflag_ramp('whole', 100, '7 days');
\set VERBOSITY default
SELECT fflag_ramp('whole', 100.000, '7 days', now() + '1 day');
SELECT fflag_ramp('f', 7, '7 days');
SELECT fflag_rollout('f', 0);
SELECT fflag_ramp('f', 0, '7 days');
SELECT name, rollout_percentage, ramp_to, ramp_starts_at, ramp_ends_at FROM feature_flag ORDER BY name;
-- one that runs is at neither end: it may be made longer; it begins where it will be
SELECT fflag_ramp('f', 100, '1 day', now() - interval '12 hours');
SELECT fflag_ramp('f', 100, '1 day', now() + '12 hours');
SELECT fflag_ramp('f', 100, '2 days');
SELECT rollout_percentage BETWEEN 49 AND 51 AS half, ramp_to FROM feature_flag WHERE name = 'f';
-- so does one that has ended, or is to begin later
SELECT fflag_rollout('f', 0), fflag_ramp('f', 100, '1 hour', now() - interval '1 day');
SELECT fflag_ramp('f', 100, '1 day');
SELECT fflag_rollout('f', 0), fflag_ramp('f', 50, '1 hour', now() + '1 day');
SELECT fflag_ramp('f', 0, '1 day');
SELECT fflag_ramp('f', 50, '1 day', now() + '2 days');
SELECT fflag_ramp('f', 50, '1 day');
SELECT rollout_percentage, ramp_to, ramp_ends_at - ramp_starts_at AS duration FROM feature_flag WHERE name = 'f';
DELETE FROM feature_flag WHERE name = 'whole';
SELECT fflag_rollout('f', 7);

-- Random schedules and ramps, around the present and far from it, upwards and
-- downwards, against the rules in plain SQL, in several statements as time goes by.
-- Quotients are those of integers: div() is exact.
SELECT setseed(0.5);
CREATE FUNCTION about_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
	$$SELECT clock_timestamp() + CASE WHEN random() < 0.8 THEN '10 min' ELSE '1000 years'::interval END * (random() - 0.5) * 4$$;
INSERT INTO feature_flag (name, enabled, rollout_percentage, starts_at, ends_at, ramp_to, ramp_starts_at, ramp_ends_at)
SELECT 'random ' || n, random() < 0.9, round(random()::numeric * 100, 3),
	CASE WHEN n % 3 = 0 THEN least(a, b) - '1 us'::interval END, CASE WHEN n % 4 = 0 THEN greatest(a, b) END,
	CASE WHEN n % 2 = 0 THEN round(random()::numeric * 100, 3) END, CASE WHEN n % 2 = 0 THEN least(c, d) - '1 us'::interval END, CASE WHEN n % 2 = 0 THEN greatest(c, d) END
FROM (SELECT n, about_now() AS a, about_now() AS b, about_now() AS c, about_now() AS d FROM generate_series(1, 3000) AS n) AS n;
CREATE VIEW compared AS
WITH moment AS (
	SELECT f.*, statement_timestamp() AS now, rollout_percentage * 1000 AS low, (ramp_to - rollout_percentage) * 1000 AS change,
		extract(epoch FROM statement_timestamp() - ramp_starts_at) * 1000000 AS passed, extract(epoch FROM ramp_ends_at - ramp_starts_at) * 1000000 AS whole
	FROM feature_flag AS f WHERE name LIKE 'random%'), flag AS (
	SELECT *, CASE WHEN ramp_to IS NULL OR now < ramp_starts_at THEN low WHEN now >= ramp_ends_at THEN low + change
		WHEN change >= 0 THEN low + div(change * passed, whole) ELSE low - div(-change * passed + whole - 1, whole) END AS percentage
	FROM moment), said AS (
	SELECT *, CASE WHEN NOT enabled THEN 'disabled' WHEN now < starts_at THEN 'not_started' WHEN now >= ends_at THEN 'ended'
		WHEN percentage >= 100000 THEN 'full_rollout' WHEN percentage <= 0 THEN 'no_rollout' ELSE 'rollout' END AS rule
	FROM flag)
SELECT said.rule, coalesce(now BETWEEN ramp_starts_at AND ramp_ends_at, false) AS ramping, (e.rule, e.rollout_percentage) IS DISTINCT FROM (said.rule, percentage / 1000) OR
	e.enabled IS DISTINCT FROM (said.rule IN ('rollout', 'full_rollout') AND fflag_bucket(name, 1) < percentage) OR
	fflag_enabled(name, 1) IS DISTINCT FROM e.enabled OR (fflag_enabled(name, ARRAY[1]))[1] IS DISTINCT FROM e.enabled AS wrong
FROM said CROSS JOIN LATERAL fflag_explain(name, 1) AS e;
CREATE TABLE result AS TABLE compared;
SELECT rule, ramping, count(*) > 5 AS several FROM result WHERE rule IN ('disabled', 'not_started', 'ended', 'rollout') GROUP BY rule, ramping ORDER BY rule, ramping;
DO $$
BEGIN
	-- one client statement, one moment
	FOR i IN 1 .. 3 LOOP INSERT INTO result TABLE compared; PERFORM pg_sleep(0.01); END LOOP;
END $$;
INSERT INTO result TABLE compared;
SELECT pg_sleep(0.5);
INSERT INTO result TABLE compared;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO result TABLE compared;
SELECT pg_sleep(0.5);
INSERT INTO result TABLE compared;
COMMIT;
SET fflag.cache = off;
INSERT INTO result TABLE compared;
RESET fflag.cache;
SELECT count(*) AS answers, count(*) FILTER (WHERE wrong) AS wrong FROM result;

-- a call that stays prepared, in a transaction that stays open
SELECT fflag_rollout('f', 100), fflag_schedule('f', now() + '0.3 s', NULL);
BEGIN;
PREPARE p AS SELECT fflag_enabled('f', 1) = (statement_timestamp() >= starts_at) AS right FROM feature_flag WHERE name = 'f';
EXECUTE p;
SELECT pg_sleep(0.4);
EXECUTE p;
SELECT fflag_enabled('f', 1) AS started;
COMMIT;

-- who got a flag by the bucket does not get it when it has ended
SELECT fflag_register('ends', true, 50), fflag_schedule('ends', NULL, now() + '0.3 s');
PREPARE right_to_end AS SELECT (count(*) FILTER (WHERE fflag_enabled(name, n)) > 0) = (statement_timestamp() < ends_at) AS right
	FROM feature_flag, generate_series(1, 100) AS n WHERE name = 'ends' GROUP BY ends_at;
EXECUTE right_to_end;
EXECUTE right_to_end;
SELECT pg_sleep(0.4);
EXECUTE right_to_end;

DROP FUNCTION shown, about_now;
DROP VIEW compared;
DROP EXTENSION fflag;
