--
-- Relations and denylists in the order of the rules, and variants: every kind of flag,
-- relation and user, against the rules in plain SQL
--
CREATE EXTENSION fflag;
\set plain_variant `sed -n '/^CREATE FUNCTION plain_/,/;$/p' "$PG_ABS_SRCDIR"/../docs/reference.md`
:plain_variant

-- 0 to 99999; NULL for nobody
CREATE FUNCTION plain_bucket(name text, user_id text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
	SELECT (h % 100) * 1000 + div(h, 100) % 1000
	FROM (SELECT sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) AS h
		FROM decode(md5(convert_to(name || ':' || user_id, 'UTF8')), 'hex') AS digest, generate_series(0, 15) AS i) AS hash
$$;
CREATE FUNCTION plain_percentage(flag feature_flag) RETURNS numeric LANGUAGE sql STABLE AS
	$$SELECT CASE WHEN now() >= flag.ramp_ends_at THEN flag.ramp_to ELSE flag.rollout_percentage END$$;
CREATE FUNCTION plain_rule(flag feature_flag, id text, is_staff boolean, OUT enabled boolean, OUT rule text) LANGUAGE plpgsql STABLE AS $$
BEGIN
	rule := CASE
		WHEN current_setting('fflag.override', true) ~ ('"' || flag.name || '"=') THEN 'override'
		WHEN flag.staff_only THEN 'staff_only'
		WHEN NOT flag.enabled THEN 'disabled'
		WHEN now() < flag.starts_at THEN 'not_started'
		WHEN now() >= flag.ends_at THEN 'ended'
		WHEN EXISTS (SELECT FROM feature_flag_relation r WHERE r.flag_id = flag.id AND r.kind = 'requires'
			GROUP BY r.other_id HAVING NOT bool_or(plain_gets(r, plain_rule.id, plain_rule.is_staff))) THEN 'prerequisite'
		WHEN EXISTS (SELECT FROM feature_flag_relation r WHERE r.flag_id = flag.id AND r.kind = 'excludes' AND plain_gets(r, plain_rule.id, plain_rule.is_staff)) THEN 'excluded'
		WHEN EXISTS (SELECT FROM feature_flag_denied_user d WHERE d.flag_id = flag.id AND d.user_id = plain_rule.id) THEN 'denied'
		WHEN plain_percentage(flag) >= 100 THEN 'full_rollout'
		WHEN EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = flag.id AND u.user_id = plain_rule.id) THEN 'allowlist'
		WHEN EXISTS (SELECT FROM feature_flag_relation r WHERE r.flag_id = flag.id AND r.kind = 'includes' AND plain_gets(r, plain_rule.id, plain_rule.is_staff)) THEN 'included'
		WHEN plain_percentage(flag) <= 0 THEN 'no_rollout'
		WHEN plain_rule.id IS NULL THEN 'no_user'
		ELSE 'rollout' END;
	enabled := CASE rule
		WHEN 'override' THEN current_setting('fflag.override') ~ ('"' || flag.name || '"=on')
		WHEN 'staff_only' THEN id IS NOT NULL AND coalesce(is_staff, false)
		WHEN 'rollout' THEN plain_bucket(flag.name, id) < plain_percentage(flag) * 1000
		ELSE rule IN ('full_rollout', 'allowlist', 'included') END;
END $$;
-- does the user get the other flag of a relation, and its variant?
CREATE FUNCTION plain_gets(r feature_flag_relation, id text, is_staff boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT (plain_rule(o, plain_gets.id, plain_gets.is_staff)).enabled
			AND (r.other_variant IS NULL OR coalesce(plain_variant(o, plain_gets.id, plain_gets.is_staff) = r.other_variant, false))
		FROM feature_flag o WHERE o.id = r.other_id);
END $$;
CREATE FUNCTION plain_choice(flag feature_flag, id text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT plain_variant(flag.name, id, jsonb_object_agg(name, weight)) FROM feature_flag_variant WHERE flag_id = flag.id
$$;
CREATE FUNCTION plain_variant(flag feature_flag, id text, is_staff boolean) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN coalesce((SELECT min(r.pin COLLATE "C") FROM feature_flag_relation r
		WHERE r.flag_id = flag.id AND r.pin IS NOT NULL AND plain_gets(r, plain_variant.id, plain_variant.is_staff)), plain_choice(flag, id));
END $$;
-- the first by name of the others that have decided
CREATE FUNCTION plain_because(flag feature_flag, id text, is_staff boolean, rule text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT min(name COLLATE "C") FROM (SELECT o.name FROM feature_flag_relation r JOIN feature_flag o ON o.id = r.other_id
		WHERE r.flag_id = flag.id AND r.kind = CASE rule WHEN 'prerequisite' THEN 'requires' WHEN 'excluded' THEN 'excludes' WHEN 'included' THEN 'includes' END
		GROUP BY o.name HAVING bool_or(plain_gets(r, plain_because.id, plain_because.is_staff)) = (rule <> 'prerequisite')) AS o
$$;

-- flags for others to refer to: each kind that the rules tell apart, and chains
INSERT INTO feature_flag (id, name, enabled, staff_only, rollout_percentage, starts_at) VALUES
	(1, 'on', true, false, 100, NULL), (2, 'off', false, false, 100, NULL), (3, 'half', true, false, 50, NULL), (4, 'staff', false, true, 0, NULL),
	(5, 'denies', true, false, 100, NULL), (6, 'later', true, false, 100, now() + interval '1 day'), (7, 'lists', true, false, 0, NULL),
	(8, 'two of them', true, false, 50, NULL), (9, 'staff, but off', true, true, 0, NULL), (10, 'chain', true, false, 100, NULL), (11, 'ramp', true, false, 100, NULL),
	(12, 'named', true, false, 100, NULL), (13, 'either', true, false, 0, NULL), (14, 'layer', true, false, 100, NULL), (15, 'holdout', true, false, 100, NULL),
	(16, 'pinned', true, false, 50, NULL);
UPDATE feature_flag SET ramp_to = 30, ramp_starts_at = now() - interval '2 days', ramp_ends_at = now() - interval '1 day' WHERE name = 'ramp';
INSERT INTO feature_flag_variant (flag_id, name, weight)
	SELECT f.id, v.name, v.weight FROM feature_flag f, (VALUES ('b', 1), ('a', 2.5), ('B', 0.000001)) AS v (name, weight) WHERE f.id % 3 > 0;
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant, pin) VALUES
	(8, 5, 'requires', NULL, NULL), (9, 2, 'requires', NULL, NULL), (10, 8, 'requires', NULL, NULL), (11, 1, 'requires', NULL, NULL), (12, 2, 'requires', NULL, NULL),
	(13, 7, 'includes', NULL, NULL), (13, 4, 'includes', NULL, NULL), (15, 3, 'excludes', NULL, NULL), (16, 7, 'includes', NULL, 'B'), (16, 14, 'includes', 'b', 'a');

-- relations of the flags that are asked for: each kind to each of these; some together
CREATE TABLE shape AS
	SELECT 'none' AS shape, NULL AS kind, NULL AS other, NULL AS other_variant, NULL AS pin
	UNION ALL SELECT kind || ' ' || name, kind, name, NULL, NULL FROM feature_flag, unnest('{requires,excludes,includes}'::text[]) AS kind
	UNION ALL SELECT kind || ' a variant', kind, 'layer', 'a', NULL FROM unnest('{requires,excludes,includes}'::text[]) AS kind
	UNION ALL SELECT kind || ' two variants', kind, other, v, NULL FROM unnest('{requires,excludes,includes}'::text[]) AS kind, (VALUES ('pinned', 'a'), ('pinned', 'B')) AS t (other, v)
	UNION ALL SELECT * FROM (VALUES ('pins', 'includes', 'lists', NULL, 'a'), ('pins', 'includes', 'half', NULL, 'b'), ('pins', 'includes', 'off', NULL, 'B'),
		('pins by variants', 'includes', 'layer', 'a', 'b'), ('pins by variants', 'includes', 'layer', 'b', 'B'), ('pins by variants', 'requires', 'half', NULL, NULL),
		('each kind', 'requires', 'half', NULL, NULL), ('each kind', 'excludes', 'lists', NULL, NULL), ('each kind', 'includes', 'ramp', NULL, 'a'),
		('two of each', 'requires', 'half', NULL, NULL), ('two of each', 'requires', 'denies', NULL, NULL), ('two of each', 'excludes', 'staff', NULL, NULL),
		('two of each', 'excludes', 'pinned', 'B', NULL), ('two of each', 'includes', 'layer', 'a', 'b'), ('two of each', 'includes', 'ramp', NULL, 'a')) AS t;
INSERT INTO feature_flag (id, name, enabled, staff_only, rollout_percentage, starts_at, ends_at)
SELECT 100 + row_number() OVER (), format('%s, %s, %s, %s', kind, percentage, denies, shape), kind <> 'disabled', kind = 'staff', percentage,
	CASE WHEN kind = 'not started' THEN now() + interval '1 day' END, CASE WHEN kind = 'ended' THEN now() END
FROM (SELECT DISTINCT shape FROM shape) AS s, unnest('{plain,staff,disabled,not started,ended}'::text[]) AS kind, unnest('{0,50.5,100}'::numeric[]) AS percentage,
	unnest('{nobody,somebody}'::text[]) AS denies
WHERE (kind = 'plain' AND (percentage = 50.5 OR denies = 'somebody')) OR (percentage = 100 AND denies = 'somebody' AND shape ~ 'none|half|each|pins');
INSERT INTO feature_flag_variant (flag_id, name, weight)
	SELECT f.id, v.name, v.weight FROM feature_flag f, (VALUES ('b', 1), ('a', 2.5), ('B', 0.000001)) AS v (name, weight) WHERE f.id > 100 AND (f.id % 3 > 0 OR f.name ~ 'pins|each');
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant, pin)
	SELECT f.id, o.id, s.kind, s.other_variant, s.pin FROM shape s JOIN feature_flag f ON f.name LIKE '%body, ' || shape JOIN feature_flag o ON o.name = s.other;

CREATE TABLE subject AS
	SELECT n, n::text AS id, 'bigint' AS type FROM generate_series(1, 4) AS n
	UNION ALL SELECT n, md5(n::text)::uuid::text, 'uuid' FROM generate_series(1, 4) AS n
	UNION ALL SELECT n, 'user ' || n, 'text' FROM generate_series(1, 4) AS n
	UNION ALL SELECT 0, NULL, type FROM (VALUES ('bigint'), ('uuid'), ('text')) AS t (type);
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, s.id FROM feature_flag f, subject s WHERE s.n BETWEEN 1 AND 2;
INSERT INTO feature_flag_denied_user (flag_id, user_id)
	SELECT f.id, s.id FROM feature_flag f, subject s WHERE s.n IN (2, 3) AND f.name ~ 'denies|somebody';
CREATE VIEW comparison AS
SELECT f.name, s.n, s.type, s.id, staff, plain.*, CASE WHEN plain.enabled THEN plain_variant(f, s.id, staff) END AS plain_variant,
	plain_because(f, s.id, staff, plain.rule) AS plain_because,
	CASE type
		WHEN 'bigint' THEN fflag_enabled(f.name, s.id::bigint, staff)
		WHEN 'uuid' THEN fflag_enabled(f.name, s.id::uuid, staff)
		ELSE fflag_enabled(f.name, s.id, staff)
	END AS answer,
	CASE type
		WHEN 'bigint' THEN fflag_variant(f.name, s.id::bigint, staff)
		WHEN 'uuid' THEN fflag_variant(f.name, s.id::uuid, staff)
		ELSE fflag_variant(f.name, s.id, staff)
	END AS variant,
	explained.enabled AS explained, explained.rule AS explained_rule, explained.variant AS explained_variant, explained.because
FROM feature_flag f
	CROSS JOIN subject s
	CROSS JOIN (VALUES (false), (true), (NULL)) AS staff (staff)
	CROSS JOIN LATERAL plain_rule(f, s.id, staff) AS plain
	CROSS JOIN LATERAL (SELECT * FROM fflag_explain(f.name, s.id::bigint, staff) WHERE type = 'bigint'
		UNION ALL SELECT * FROM fflag_explain(f.name, s.id::uuid, staff) WHERE type = 'uuid'
		UNION ALL SELECT * FROM fflag_explain(f.name, s.id, staff) WHERE type = 'text') AS explained
-- NULL is false
WHERE staff IS NOT NULL OR n = 1;
CREATE TEMP TABLE result AS TABLE comparison;
SELECT rule, count(*) AS answers, count(*) FILTER (WHERE enabled) AS enabled, count(plain_variant) AS with_variant,
	count(*) FILTER (WHERE answer IS DISTINCT FROM enabled) AS wrong,
	count(*) FILTER (WHERE variant IS DISTINCT FROM plain_variant) AS wrong_variant,
	count(*) FILTER (WHERE (explained, explained_rule, explained_variant, because) IS DISTINCT FROM (enabled, rule, plain_variant, plain_because)) AS wrongly_explained
FROM result GROUP BY rule ORDER BY rule;
SELECT plain_variant, count(*) FROM result GROUP BY plain_variant ORDER BY plain_variant;

-- how many each relation lets pass, and keeps out
SELECT shape, count(*) FILTER (WHERE rule = 'prerequisite') AS prerequisite, count(*) FILTER (WHERE rule = 'excluded') AS excluded,
	count(*) FILTER (WHERE rule = 'included') AS included, count(DISTINCT plain_because) AS because, count(*) AS answers
FROM result JOIN (SELECT DISTINCT shape FROM shape) AS s ON name LIKE 'plain, %body, ' || shape GROUP BY shape ORDER BY shape COLLATE "C";

-- the answer to all flags at once is the same
SELECT count(*) AS answers, count(*) FILTER (WHERE (flags.enabled, flags.variant) IS DISTINCT FROM (r.enabled, r.plain_variant)) AS wrong
FROM result r, (SELECT s.n, s.type, staff, f.* FROM subject s, (VALUES (false), (true)) AS staff (staff),
		LATERAL (SELECT * FROM fflag_flags(s.id::bigint, staff) WHERE type = 'bigint' UNION ALL SELECT * FROM fflag_flags(s.id::uuid, staff) WHERE type = 'uuid'
			UNION ALL SELECT * FROM fflag_flags(s.id, staff) WHERE type = 'text') AS f) AS flags
WHERE (r.name, r.n, r.type, r.staff) = (flags.name, flags.n, flags.type, flags.staff);

-- and in arrays
SELECT type, count(*) AS answers, count(*) FILTER (WHERE got IS DISTINCT FROM said) AS wrong
FROM (SELECT name, type, array_agg(enabled ORDER BY n, staff) AS enabled, array_agg(staff ORDER BY n, staff) AS staff,
		array_agg(CASE type WHEN 'bigint' THEN id::bigint END ORDER BY n, staff) AS bigints,
		array_agg(CASE type WHEN 'uuid' THEN id::uuid END ORDER BY n, staff) AS uuids, array_agg(id ORDER BY n, staff) AS texts
	FROM result GROUP BY name, type) AS arrays,
	unnest(enabled, CASE type WHEN 'bigint' THEN fflag_enabled_all(name, bigints, staff) WHEN 'uuid' THEN fflag_enabled_all(name, uuids, staff)
		ELSE fflag_enabled_all(name, texts, staff) END) AS u (said, got)
GROUP BY type ORDER BY type;
SELECT count(*) AS arrays, count(*) FILTER (WHERE enabled IS DISTINCT FROM fflag_enabled(name, ids)) AS wrong,
	count(*) FILTER (WHERE got IS DISTINCT FROM ARRAY(SELECT fflag_select(name, ids))) AS wrongly_selected
FROM (SELECT name, array_agg(id ORDER BY type, n) AS ids, array_agg(enabled ORDER BY type, n) AS enabled,
		coalesce(array_agg(id ORDER BY type, n) FILTER (WHERE enabled), '{}') AS got
	FROM result WHERE NOT staff GROUP BY name) AS arrays;

-- and without the cache
SET fflag.cache = off;
SELECT count(*) AS answers, count(*) FILTER (WHERE (answer, variant, explained_rule) IS DISTINCT FROM (enabled, plain_variant, rule)) AS wrong
FROM comparison WHERE n = 2;
RESET fflag.cache;

-- an override counts for flags that refer to this one too
SET fflag.override = '"off"=on, "on"=off, "half"=on, "chain"=off, "denies"=on, "nowhere"=on';
SELECT count(*) AS answers, count(*) FILTER (WHERE (answer, variant, explained_rule, because) IS DISTINCT FROM (enabled, plain_variant, rule, plain_because)) AS wrong,
	count(*) FILTER (WHERE enabled) AS enabled
FROM comparison WHERE n IN (0, 4);
RESET fflag.override;

DROP VIEW comparison;
DROP TABLE subject, shape;
DROP FUNCTION plain_bucket, plain_percentage, plain_rule, plain_gets, plain_choice, plain_because, plain_variant(feature_flag, text, boolean), plain_variant(text, text, jsonb),
	plain_score, plain_mix, plain_times, plain_number, plain_hash;
DROP EXTENSION fflag;
