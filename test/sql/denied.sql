--
-- Denylists: fflag_deny and fflag_undeny, and lists of each kind and size on the same
-- flag as an allowlist
--
CREATE EXTENSION fflag;
SELECT fflag_register('f', true), fflag_register('open', true);

-- idempotent, and the count is of rows changed
SELECT fflag_deny('f', 1, 2, 2, 3), fflag_deny('f', 3, 4), fflag_deny('f', '4', 'alice');
SELECT fflag_deny('f', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid);
SELECT user_id FROM feature_flag_denied_user ORDER BY user_id;
SELECT u, fflag_enabled('f', u), rule, reason FROM unnest('{1,4,5,alice,ALICE,04,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::text[]) AS u, fflag_explain('f', u);
SELECT fflag_enabled('f', 3), fflag_enabled('f', 5), fflag_enabled('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid), fflag_enabled('f') AS nobody;
SELECT fflag_enabled('f', ARRAY[1, 5, NULL]), ARRAY(SELECT fflag_select('f', ARRAY[1, 5, NULL])) AS selected;
-- the list of one flag is not that of another
SELECT fflag_enabled('open', 1);
-- who is on both lists does not get it; staff, if it is for them, do
SELECT fflag_rollout('f', 0), fflag_allow('f', 1, 5);
SELECT u, fflag_enabled('f', u), rule FROM generate_series(1, 5, 4) AS u, fflag_explain('f', u);
UPDATE feature_flag SET staff_only = true WHERE name = 'f';
SELECT fflag_enabled('f', 1, true), fflag_enabled('f', 1, false);
UPDATE feature_flag SET staff_only = false WHERE name = 'f';
SELECT fflag_undeny('f', 1, 1, 99), fflag_undeny('f', 'alice'), fflag_undeny('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
SELECT fflag_deny('f', VARIADIC '{}'::bigint[]), fflag_undeny('f', VARIADIC '{}'::text[]);
SELECT u, fflag_enabled('f', u), rule FROM generate_series(1, 5) AS u, fflag_explain('f', u);
-- a denylist that has become empty
SELECT fflag_undeny('f', 2, 3, 4);
SELECT u, rule FROM generate_series(1, 2) AS u, fflag_explain('f', u);

-- mistakes: SQLSTATE, the flag's name and a hint
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'accepted';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n   ', format(E'%s: %s', sqlstate, sqlerrm), nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_deny('nope', 10)$$),
	($$SELECT fflag_undeny('nope', 10)$$),
	($$SELECT fflag_deny(NULL, 10)$$),
	($$SELECT fflag_deny('', 10)$$),
	($$SELECT fflag_deny('f', VARIADIC ARRAY[1, NULL])$$),
	($$SELECT fflag_undeny('f', VARIADIC ARRAY[NULL::uuid])$$),
	($$SELECT fflag_deny('f', VARIADIC NULL::bigint[])$$),
	($$SELECT fflag_undeny('f', VARIADIC NULL::text[])$$),
	($$SELECT fflag_deny('f', repeat('x', 2049))$$),
	($$SELECT fflag_deny('f', 'a', repeat('ü', 1025))$$),
	($$SELECT fflag_deny('f', repeat('x', 2048))$$),
	($$SELECT fflag_undeny('f', repeat('x', 2048), repeat('x', 100000))$$),
	($$INSERT INTO feature_flag_denied_user VALUES (1, repeat('x', 2049))$$),
	($$INSERT INTO feature_flag_denied_user VALUES (1, NULL)$$),
	($$INSERT INTO feature_flag_denied_user VALUES (NULL, '1')$$),
	($$INSERT INTO feature_flag_denied_user VALUES (-1, '1')$$),
	($$INSERT INTO feature_flag_denied_user VALUES (1, '7'), (1, '7')$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_denied_user VALUES (1, repeat('x', 2049))$$)) AS c (command);
RESET session_replication_role;
\pset format aligned
\pset tuples_only off
TABLE feature_flag_denied_user;

-- a list goes with its flag
SELECT fflag_deny('open', 1, 2);
DELETE FROM feature_flag;
SELECT count(*) FROM feature_flag_denied_user;

-- Both lists of a flag, each of no entry, of one, held whole and too long for that (more
-- than 8,192), of integers and of other ids: who is on which is known by a rule, so that the
-- tables are not asked here.  One id in three is denied, one in two is allowed.
CREATE TEMP TABLE kind AS
	SELECT kind, size FROM unnest('{integers,far,texts,uuids}'::text[]) AS kind, unnest('{0,1,100,8193}'::int[]) AS size;
CREATE FUNCTION id_of(kind text, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE kind WHEN 'integers' THEN n::text WHEN 'far' THEN (n * 10000000::bigint)::text WHEN 'texts' THEN 'user ' || n ELSE md5(n::text)::uuid::text END
$$;
INSERT INTO feature_flag (name, enabled, rollout_percentage)
	SELECT format('%s %s, %s %s', d.kind, d.size, a.kind, a.size), true, CASE a.size WHEN 100 THEN 100 ELSE 0 END
	FROM kind AS d, kind AS a WHERE d.kind = a.kind OR (d.size = 100 AND a.size = 100);
INSERT INTO feature_flag_denied_user (flag_id, user_id)
	SELECT f.id, id_of(k.kind, n * 3) FROM feature_flag f JOIN kind k ON f.name LIKE k.kind || ' ' || k.size || ',%', LATERAL generate_series(1, k.size) AS n;
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, id_of(k.kind, n * 2) FROM feature_flag f JOIN kind k ON f.name LIKE '%, ' || k.kind || ' ' || k.size, LATERAL generate_series(1, k.size) AS n;
ANALYZE feature_flag_user, feature_flag_denied_user;
CREATE TEMP TABLE answer AS
SELECT f.name, u.id, denied AS is_denied, said, fflag_enabled(f.name, u.id) AS of_text,
	CASE WHEN asked IN ('integers', 'far') THEN fflag_enabled(f.name, u.id::bigint) WHEN asked = 'uuids' THEN fflag_enabled(f.name, u.id::uuid) ELSE fflag_enabled(f.name, u.id) END AS of_type
FROM feature_flag f, split_part(f.name, ', ', 1) AS d, split_part(f.name, ', ', 2) AS a, unnest('{integers,far,texts,uuids}'::text[]) AS asked,
	generate_series(1, 25000, 37) AS n, LATERAL (SELECT id_of(asked, n),
		d LIKE asked || ' %' AND n % 3 = 0 AND n / 3 <= split_part(d, ' ', 2)::int,
		a LIKE asked || ' %' AND n % 2 = 0 AND n / 2 <= split_part(a, ' ', 2)::int) AS u (id, denied, allowed),
	LATERAL (SELECT NOT denied AND (f.rollout_percentage = 100 OR allowed)) AS s (said)
WHERE d LIKE asked || ' %' OR a LIKE asked || ' %';
SELECT split_part(name, ' ', 1) AS denied, split_part(name, ' ', 3) AS allowed, count(*) AS answers, count(*) FILTER (WHERE is_denied) AS denied, count(*) FILTER (WHERE said) AS enabled,
	count(*) FILTER (WHERE of_text IS DISTINCT FROM said) AS wrong, count(*) FILTER (WHERE of_type IS DISTINCT FROM said) AS wrong_of_type
FROM answer GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS answers, count(*) FILTER (WHERE got IS DISTINCT FROM s) AS wrong
FROM (SELECT fflag_enabled(name, array_agg(id)) AS answers, array_agg(said) AS said FROM answer GROUP BY name) AS arrays, unnest(said, answers) AS u (s, got);
SELECT allowlists FROM fflag_cache();

-- the next statement knows
SELECT fflag_undeny('integers 100, integers 100', 3);
SELECT fflag_enabled('integers 100, integers 100', 3), fflag_enabled('integers 100, integers 100', 6);

DROP FUNCTION try, id_of;
DROP EXTENSION fflag;
