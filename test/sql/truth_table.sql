--
-- Every combination of flag and user, against the rules in plain SQL
--
CREATE EXTENSION fflag;

-- the rules: "forced" is what the session overrides the name to, "listed" is
-- membership in the allowlist, "bucket" 0 to 99999
CREATE FUNCTION plain_rules(flag feature_flag, user_id text, is_staff boolean, default_value boolean, forced boolean,
	OUT enabled boolean, OUT rule text)
LANGUAGE sql STABLE AS $$
	SELECT CASE rules.rule
			WHEN 'override' THEN forced
			WHEN 'unknown_flag' THEN coalesce(default_value, false)
			WHEN 'staff_only' THEN user_id IS NOT NULL AND coalesce(is_staff, false)
			WHEN 'full_rollout' THEN true
			WHEN 'allowlist' THEN true
			WHEN 'rollout' THEN (
				SELECT (h % 100) * 1000 + div(h, 100) % 1000 < flag.rollout_percentage * 1000
				FROM (SELECT sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) AS h
					FROM decode(md5(convert_to(coalesce(flag.seed, flag.name) || ':' || user_id, 'UTF8')), 'hex') AS digest,
						generate_series(0, 15) AS i) AS hash)
			ELSE false
		END, rules.rule
	FROM (SELECT CASE
			WHEN forced IS NOT NULL THEN 'override'
			WHEN flag.id IS NULL THEN 'unknown_flag'
			WHEN flag.staff_only THEN 'staff_only'
			WHEN NOT flag.enabled THEN 'disabled'
			WHEN flag.rollout_percentage >= 100 THEN 'full_rollout'
			WHEN EXISTS (SELECT FROM feature_flag_user u
				WHERE u.flag_id = flag.id AND u.user_id = plain_rules.user_id) THEN 'allowlist'
			WHEN flag.rollout_percentage <= 0 THEN 'no_rollout'
			WHEN user_id IS NULL THEN 'no_user'
			ELSE 'rollout'
		END AS rule) AS rules
$$;

INSERT INTO feature_flag (name, seed, enabled, staff_only, rollout_percentage)
	SELECT concat_ws(', ', e, s, p, seed), seed, e, s, p
	FROM (VALUES (false), (true)) AS enabled (e), (VALUES (false), (true)) AS staff_only (s),
		(VALUES (0), (0.001), (10), (50.5), (99.999), (100)) AS percentage (p), (VALUES (NULL), ('a seed: ü')) AS seeds (seed);

-- listed and other users of each type; buckets are spread by the flag's name
CREATE TEMP TABLE subject AS
	SELECT n, n::text AS id, 'bigint' AS type FROM generate_series(1, 100) AS n
	UNION ALL SELECT n, md5(n::text)::uuid::text, 'uuid' FROM generate_series(1, 100) AS n
	UNION ALL SELECT n, 'user ' || n, 'text' FROM generate_series(1, 100) AS n
	UNION ALL SELECT 0, NULL, type FROM (VALUES ('bigint'), ('uuid'), ('text')) AS t (type);
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, s.id FROM feature_flag f, subject s WHERE s.n BETWEEN 1 AND 40;

CREATE TEMP TABLE result AS
SELECT f.name, s.n, s.type, staff, d, plain.*,
	CASE type
		WHEN 'bigint' THEN fflag_enabled(q.name, s.id::bigint, staff, d)
		WHEN 'uuid' THEN fflag_enabled(q.name, s.id::uuid, staff, d)
		ELSE fflag_enabled(q.name, s.id, staff, d)
	END AS fflag,
	explained.enabled AS explained, explained.rule AS explained_rule
FROM (SELECT name FROM feature_flag UNION ALL VALUES ('unknown'), (NULL)) AS q
	LEFT JOIN feature_flag f ON f.name = q.name
	CROSS JOIN subject s
	CROSS JOIN (VALUES (false), (true), (NULL)) AS staff (staff)
	CROSS JOIN (VALUES (false), (true), (NULL)) AS dflt (d)
	CROSS JOIN LATERAL plain_rules(f, s.id, staff, d, NULL) AS plain
	CROSS JOIN LATERAL fflag_explain(q.name, s.id, staff, d) AS explained;

SELECT rule, count(*) AS answers, count(*) FILTER (WHERE enabled) AS enabled,
	count(*) FILTER (WHERE fflag IS DISTINCT FROM enabled) AS wrong,
	count(*) FILTER (WHERE (explained, explained_rule) IS DISTINCT FROM (enabled, rule)) AS wrongly_explained
FROM result GROUP BY rule ORDER BY rule;

-- the answer to all flags at once is the same
SELECT count(*) AS answers,
	count(*) FILTER (WHERE flags.enabled IS DISTINCT FROM fflag_enabled(flags.name, s.id, staff)) AS wrong
FROM subject s, (VALUES (false), (true)) AS staff (staff), fflag_flags(s.id, staff) AS flags;

-- and so it is without the cache
SET fflag.cache = off;
SELECT count(*) FILTER (WHERE fflag IS DISTINCT FROM fflag_enabled(r.name, s.id, staff, d)) AS wrong
FROM result r JOIN subject s USING (n, type) WHERE r.name IS NOT NULL AND n < 45;
RESET fflag.cache;

-- and without lists
CREATE TEMP TABLE kept AS TABLE feature_flag_user;
DELETE FROM feature_flag_user;
SELECT rule, count(*) AS answers, count(*) FILTER (WHERE said IS DISTINCT FROM enabled) AS wrong
FROM (SELECT (plain_rules(f, s.id, staff, d, NULL)).*, CASE type
		WHEN 'bigint' THEN fflag_enabled(f.name, s.id::bigint, staff, d)
		WHEN 'uuid' THEN fflag_enabled(f.name, s.id::uuid, staff, d)
		ELSE fflag_enabled(f.name, s.id, staff, d)
	END AS said
	FROM feature_flag AS f, subject AS s, (VALUES (false), (true), (NULL)) AS staff (staff), (VALUES (false), (true), (NULL)) AS dflt (d)) AS answers
GROUP BY rule ORDER BY rule;
INSERT INTO feature_flag_user TABLE kept;

-- the same with each flag, and a name without one, overridden to either
CREATE TEMP TABLE overridden (forced boolean, LIKE result);
CREATE FUNCTION override_all(forced boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('fflag.override', string_agg(format('"%s"=%s', name, forced), ','), false)
	FROM (SELECT name FROM feature_flag UNION ALL VALUES ('unknown')) AS names;
	INSERT INTO overridden
	SELECT override_all.forced, f.name, s.n, s.type, staff, d, plain.*,
		CASE type
			WHEN 'bigint' THEN fflag_enabled(q.name, s.id::bigint, staff, d)
			WHEN 'uuid' THEN fflag_enabled(q.name, s.id::uuid, staff, d)
			ELSE fflag_enabled(q.name, s.id, staff, d)
		END,
		explained.enabled, explained.rule
	FROM (SELECT name FROM feature_flag UNION ALL VALUES ('unknown'), (NULL)) AS q
		LEFT JOIN feature_flag f ON f.name = q.name
		CROSS JOIN (SELECT * FROM subject WHERE n IN (0, 1, 41)) AS s
		CROSS JOIN (VALUES (false), (true), (NULL)) AS staff (staff)
		CROSS JOIN (VALUES (false), (true), (NULL)) AS dflt (d)
		CROSS JOIN LATERAL plain_rules(f, s.id, staff, d, CASE WHEN q.name IS NOT NULL THEN override_all.forced END) AS plain
		CROSS JOIN LATERAL fflag_explain(q.name, s.id, staff, d) AS explained;
END $$;
SELECT override_all(true), override_all(false);
RESET fflag.override;
SELECT forced, rule, count(*) AS answers, count(*) FILTER (WHERE enabled) AS enabled,
	count(*) FILTER (WHERE fflag IS DISTINCT FROM enabled) AS wrong,
	count(*) FILTER (WHERE (explained, explained_rule) IS DISTINCT FROM (enabled, rule)) AS wrongly_explained
FROM overridden GROUP BY forced, rule ORDER BY forced, rule;
DROP FUNCTION override_all;

-- Lists on both sides of each switch in how they are held.  "block": from 4,096 in
-- 65,536 on these are a bitmap.  "directory": more than 25 blocks are too many for
-- a hundred integers.  "mixed" and "far": 8,192 are held whole, more in a filter.
CREATE TEMP TABLE list AS
	SELECT format('block %s', size) AS name, n, n::bigint * 15 AS id FROM generate_series(4095, 4097) AS size, generate_series(1, size) AS n
	UNION ALL SELECT format('directory %s', size), n, n / 100 * (size - 1) * 65536::bigint + n FROM generate_series(25, 26) AS size, generate_series(1, 100) AS n
	UNION ALL SELECT format('%s %s', kind, size), n, CASE kind WHEN 'far' THEN n * 10000000::bigint ELSE n END
		FROM unnest('{integers,mixed,far}'::text[]) AS kind, generate_series(8192, 8193) AS size, generate_series(1, size) AS n;
INSERT INTO feature_flag (name, enabled, rollout_percentage)
	SELECT DISTINCT format('%s, %s', name, p), true, p FROM list, (VALUES (0), (50.5)) AS percentage (p);
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, CASE WHEN l.name ~ 'mixed' AND l.n = 100 THEN '0' ELSE '' END || l.id
	FROM list AS l, feature_flag AS f WHERE f.name IN (l.name || ', 0', l.name || ', 50.5');
ANALYZE feature_flag_user;

-- until all have been read
SELECT count(*) FROM feature_flag AS f, generate_series(1, 5000) AS n WHERE f.name ~ 'block|directory|integers|mixed|far' AND fflag_enabled(f.name, -n);

CREATE TEMP TABLE answer AS
SELECT f.name, a.id, a.integer, rules.*, fflag_enabled(f.name, a.id) AS of_text,
	CASE WHEN a.integer IS NULL THEN rules.enabled ELSE fflag_enabled(f.name, a.integer) END AS of_integer,
	explained.enabled AS explained, explained.rule AS explained_rule
FROM (SELECT name, (l.id + d)::text AS id, l.id + d AS integer FROM list AS l, generate_series(-1, 1) AS d WHERE n % 100 = 0 OR n > 8190 OR name ~ 'directory'
		UNION SELECT name, prefix || l.id, NULL FROM list AS l, unnest('{0,+,-0," "}'::text[]) AS prefix WHERE n % 500 = 0 OR n = 100
		UNION SELECT name, edge, NULL FROM list, unnest('{-0,"",-,9223372036854775808,-9223372036854775809}'::text[]) AS edge
		UNION SELECT name, edge::text, edge FROM list, unnest('{0,-1,9223372036854775807,-9223372036854775808}'::bigint[]) AS edge) AS a
	JOIN feature_flag AS f ON f.name IN (a.name || ', 0', a.name || ', 50.5')
	CROSS JOIN LATERAL plain_rules(f, a.id, false, false, NULL) AS rules
	CROSS JOIN LATERAL fflag_explain(f.name, a.id) AS explained;
SELECT split_part(name, ',', 1) AS list, rule, count(*) AS answers, count(*) FILTER (WHERE enabled) AS enabled,
	count(*) FILTER (WHERE enabled IS DISTINCT FROM of_text) AS wrong, count(*) FILTER (WHERE enabled IS DISTINCT FROM of_integer) AS wrong_integers,
	count(*) FILTER (WHERE (enabled, rule) IS DISTINCT FROM (explained, explained_rule)) AS wrongly_explained
FROM answer GROUP BY list, rule ORDER BY list, rule;

-- and in arrays
SELECT count(*) AS answers, count(*) FILTER (WHERE got IS DISTINCT FROM u.said) AS wrong, count(*) FILTER (WHERE got_of_integer IS DISTINCT FROM said_of_integer) AS wrong_integers
FROM (SELECT fflag_enabled(name, array_agg(id)) AS of_texts, array_agg(enabled) AS said,
		fflag_enabled(name, array_agg(integer) FILTER (WHERE integer IS NOT NULL)) AS of_integers, array_agg(enabled) FILTER (WHERE integer IS NOT NULL) AS said_of_integers
	FROM answer GROUP BY name) AS arrays,
	unnest(of_texts, said, of_integers, said_of_integers) AS u (got, said, got_of_integer, said_of_integer);

DROP FUNCTION plain_rules;
DROP EXTENSION fflag;
