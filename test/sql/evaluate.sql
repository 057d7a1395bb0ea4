--
-- fflag_evaluate: all that a client may want to know in one row, and exactly what the
-- functions for one question each say; what counts as an evaluation
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled, rollout_percentage, staff_only, seed, starts_at, internal) VALUES
	('full', true, 100, false, NULL, NULL, false),
	('half', true, 50, false, NULL, NULL, false),
	('seeded', true, 50, false, 'half', NULL, false),
	('off', false, 100, false, NULL, NULL, false),
	('staff', true, 100, true, NULL, NULL, false),
	('zero', true, 0, false, NULL, NULL, false),
	('to come', true, 100, false, NULL, 'infinity', false),
	('button', true, 70, false, NULL, NULL, false),
	('value', true, 100, false, NULL, NULL, false),
	('behind', true, 100, false, NULL, NULL, false),
	('against', true, 100, false, NULL, NULL, false),
	('hidden', true, 100, false, NULL, NULL, true);
SELECT fflag_variants('button', '{"a": 1, "b": 2, "c": 1}'), fflag_variants('value', '{"only": 1}'), fflag_variants('hidden', '{"x": 1}');
UPDATE feature_flag_variant SET payload = CASE name WHEN 'a' THEN '{"color": "red"}' WHEN 'b' THEN 'null' WHEN 'only' THEN to_jsonb(repeat('x', 100000)) END::jsonb;
SELECT fflag_allow('half', VARIADIC ARRAY(SELECT 5 * n FROM generate_series(1, 20) AS n)::bigint[]), fflag_allow('zero', 7), fflag_deny('full', 8), fflag_require('behind', 'half'), fflag_exclude('against', 'staff'), fflag_include('zero', 'seeded');

SELECT * FROM fflag_evaluate('half', 5);
SELECT * FROM fflag_evaluate('button', 4);
SELECT name, enabled, variant, length(payload::text), variants, rule, reason, bucket, because FROM fflag_evaluate('value');
SELECT * FROM fflag_evaluate('behind', 3);
SELECT * FROM fflag_evaluate('nope', 'x', is_staff => true);
-- nobody, and a NULL name, which no flag has
SELECT * FROM fflag_evaluate('half');
SELECT * FROM fflag_evaluate('half', NULL::bigint, NULL);
SELECT * FROM fflag_evaluate(NULL::text, 5);

-- one row for each name, in their order, under one snapshot
SELECT * FROM fflag_evaluate('{zero,nope,NULL,staff,zero}'::text[], 7, true);
SELECT e.name, e.rule, n FROM fflag_evaluate(ARRAY[['off', 'to come'], ['full', 'hidden']], 'x') WITH ORDINALITY AS e (name, enabled, variant, payload, variants, rule, reason, bucket, because, n);
SELECT count(*) FROM fflag_evaluate('{}'::text[], 1);
-- NULL names: all flags but internal ones
SELECT name, enabled, rule FROM fflag_evaluate(names => NULL, user_id => 8);
SELECT count(*) FILTER (WHERE e.rule = 'unknown_flag' OR f.enabled <> e.enabled OR f.variant IS DISTINCT FROM e.variant) AS different, count(*) FROM generate_series(1, 50) AS n, LATERAL (SELECT * FROM fflag_flags(n) AS f FULL JOIN fflag_evaluate(names => NULL, user_id => n) AS e USING (name)) AS j, fflag_evaluate(j.name, n) AS e, fflag_flags(n) AS f WHERE f.name = j.name;

-- exactly what the functions for one question each say, whatever the type of id and however asked
CREATE FUNCTION differ(users int) RETURNS TABLE (asked bigint, different bigint) LANGUAGE sql AS $$
	WITH name AS (SELECT array_agg(name ORDER BY id DESC) || 'nope'::text AS names FROM feature_flag),
	answer AS (
		SELECT e.*, n, NULL::bigint AS b, md5(n::text)::uuid AS u, NULL::text AS t, n % 3 = 0 AS staff FROM name, generate_series(1, users) AS n, fflag_evaluate(names, md5(n::text)::uuid, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, n, NULL, NULL, n % 3 = 0 FROM name, generate_series(1, users) AS n, fflag_evaluate(names, n, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, NULL, NULL, 'ü' || n, n % 3 = 0 FROM name, generate_series(1, users) AS n, fflag_evaluate(names, 'ü' || n, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, NULL, NULL, NULL, n % 3 = 0 FROM name, generate_series(1, 2) AS n, fflag_evaluate(names, NULL::text, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, n, NULL, NULL, n % 3 = 0 FROM name, unnest(names) AS one, generate_series(1, users) AS n, fflag_evaluate(one, n, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, NULL, md5(n::text)::uuid, NULL, n % 3 = 0 FROM name, unnest(names) AS one, generate_series(1, users) AS n, fflag_evaluate(one, md5(n::text)::uuid, n % 3 = 0) AS e
		UNION ALL SELECT e.*, n, NULL, NULL, n::text, n % 3 = 0 FROM name, unnest(names) AS one, generate_series(1, users) AS n, fflag_evaluate(one, n::text, n % 3 = 0) AS e),
	plain AS (
		SELECT answer.*, x.enabled AS x_enabled, x.rule AS x_rule, x.reason AS x_reason, x.bucket AS x_bucket, x.variant AS x_variant, x.because AS x_because,
			CASE WHEN b IS NOT NULL THEN fflag_enabled(name, b, staff) WHEN u IS NOT NULL THEN fflag_enabled(name, u, staff) ELSE fflag_enabled(name, t, staff) END AS p_enabled,
			CASE WHEN b IS NOT NULL THEN fflag_variant(name, b, staff) WHEN u IS NOT NULL THEN fflag_variant(name, u, staff) ELSE fflag_variant(name, t, staff) END AS p_variant,
			CASE WHEN b IS NOT NULL THEN fflag_variant_payload(name, b, staff) WHEN u IS NOT NULL THEN fflag_variant_payload(name, u, staff) ELSE fflag_variant_payload(name, t, staff) END AS p_payload
		FROM answer, fflag_explain(name, coalesce(b::text, u::text, t), staff) AS x)
	SELECT count(*), count(*) FILTER (WHERE (enabled, rule, reason, bucket, variant, because) IS DISTINCT FROM (x_enabled, x_rule, x_reason, x_bucket, x_variant, x_because)
		OR (enabled, variant, payload) IS DISTINCT FROM (p_enabled, p_variant, p_payload)
		OR variants <> (SELECT count(*) FROM feature_flag AS f JOIN feature_flag_variant AS v ON v.flag_id = f.id WHERE f.name = plain.name))
	FROM plain $$;
SELECT * FROM differ(200);
-- also where nothing is kept from one name to the next
SET fflag.cache = off;
SELECT * FROM differ(10);
RESET fflag.cache;
-- and where the session forces answers
SET fflag.override = 'button=on:b,off=on,nope=on,half=off';
SELECT * FROM differ(20);
SELECT name, enabled, variant, variants, rule FROM fflag_evaluate('{button,off,nope,half}'::text[], 1);
RESET fflag.override;

-- never an error, never a warning
SET fflag.unknown_flag = 'error';
SELECT count(*) FROM fflag_evaluate('nope', 1) AS one, fflag_evaluate(ARRAY['nope', 'nor this'], 1) AS two;
SELECT fflag_enabled('nope', 1);
RESET fflag.unknown_flag;

-- a name that is asked for is an evaluation, as in fflag_enabled; all of them in bulk are not
CREATE VIEW usage AS SELECT name, known, evaluations, enabled, bulk_answers FROM fflag_usage() WHERE name IN ('full', 'off', 'hidden', 'nope') OR known IS NULL;
SELECT fflag_usage_reset();
SELECT count(*) FROM fflag_evaluate('full', 1) AS one, fflag_evaluate('nope', 1) AS two;
SELECT count(*) FROM fflag_evaluate('{full,off,full,NULL,nope,hidden}'::text[], 1);
SELECT count(*) FROM fflag_evaluate(NULL::text, 1);
TABLE usage;
SELECT fflag_usage_reset();
SELECT count(*) FROM fflag_evaluate(names => NULL, user_id => 1);
TABLE usage;

-- ten thousand flags, each by its name, with a payload; no memory stays
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'many ' || n, true, 50 FROM generate_series(1, 10000) AS n;
INSERT INTO feature_flag_variant (flag_id, name, weight, payload) SELECT id, 'v', 1, to_jsonb(name) FROM feature_flag WHERE name LIKE 'many %';
SELECT count(*), count(payload), count(*) FILTER (WHERE payload #>> '{}' <> name OR enabled <> (bucket < 50000) OR bucket <> fflag_bucket(name, 77)) AS wrong
FROM fflag_evaluate(ARRAY(SELECT name FROM feature_flag WHERE name LIKE 'many %'), 77);
SELECT count(*) FROM fflag_evaluate(names => NULL, user_id => 77);

-- whoever may execute it needs nothing else
CREATE ROLE regress_fflag_client;
GRANT EXECUTE ON FUNCTION fflag_evaluate(text, text, boolean), fflag_evaluate(text[], text, boolean) TO regress_fflag_client;
SET ROLE regress_fflag_client;
SELECT enabled, variant FROM fflag_evaluate('button', '4');
SELECT count(*) FROM fflag_evaluate('{half,button}'::text[], '4');
SELECT fflag_evaluate('button', 4);
SELECT fflag_evaluate(ARRAY['button'], 4);
RESET ROLE;
DROP OWNED BY regress_fflag_client;
DROP ROLE regress_fflag_client;
DROP FUNCTION differ;
DROP VIEW usage;
DROP EXTENSION fflag;
