--
-- Many users in one call: fflag_enabled with arrays, and fflag_select
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage) VALUES
	('off', false, false, 50), ('full', true, false, 100), ('staff', true, true, 0),
	('list', true, false, 0), ('half', true, false, 50), ('part', true, false, 33.333);
SELECT fflag_allow('list', 3, 4), fflag_allow('half', 1, 2, 3), fflag_allow('part', 'a', 'b');

-- aligned by position; a NULL is nobody
SELECT name, fflag_enabled(name, ARRAY[1, 2, 3, NULL, 5, 3]) FROM feature_flag ORDER BY id;
SELECT name, fflag_enabled_all(name, ARRAY[1, 2, 3, NULL], ARRAY[true, false, NULL, true]) FROM feature_flag ORDER BY id;
SELECT name, fflag_enabled(name, '{a,b,c,"",NULL}'::text[]) FROM feature_flag ORDER BY id;
SELECT name, fflag_enabled(name, ARRAY[md5('1'), md5('2'), NULL]::uuid[]) FROM feature_flag ORDER BY id;
SELECT fflag_enabled('nope', ARRAY[1, 2]), fflag_enabled(NULL, ARRAY[1, 2]);
SELECT fflag_enabled('half', '{}'::bigint[]), fflag_enabled('half', NULL::bigint[]);
-- of the same shape
SELECT fflag_enabled('half', '[2:3][5:6]={{1,2},{10,11}}'::bigint[]);
SELECT fflag_enabled_all('half', ARRAY[1, 2], ARRAY[true]);
SELECT fflag_enabled_all('staff', '{a,b}'::text[], '{f,t}'), fflag_enabled_all('staff', ARRAY[1, 2], NULL);

-- those who are in, in their order, as often as they are named
SELECT * FROM fflag_select('half', ARRAY[11, 3, 1, NULL, 10, 3]);
SELECT * FROM fflag_select('full', '{a,NULL,b}'::text[]);
SELECT fflag_select('off', ARRAY[1, 2]), fflag_select(NULL, ARRAY[1]), fflag_select('half', NULL::uuid[]);

-- batches of any size, ids of any length: as one by one
SELECT name, count(*) AS batches, count(*) FILTER (WHERE one_by_one IS DISTINCT FROM at_once) AS wrong
FROM (SELECT name, n, fflag_enabled(name, array_agg(repeat('x', u % 70) || u ORDER BY u)) AS at_once,
		array_agg(fflag_enabled(name, repeat('x', u % 70) || u) ORDER BY u) AS one_by_one
	FROM feature_flag, generate_series(1, 600, 7) AS n, generate_series(1, n) AS u
	GROUP BY name, n) AS b
GROUP BY name ORDER BY name;
SELECT count(*) AS users, count(*) FILTER (WHERE a IS DISTINCT FROM fflag_enabled('part', id - 5000)) AS wrong
FROM unnest(fflag_enabled('part', ARRAY(SELECT id - 5000 FROM generate_series(1, 10000) AS id))) WITH ORDINALITY AS t (a, id);
SELECT count(*) AS users, count(*) FILTER (WHERE a IS DISTINCT FROM fflag_enabled('part', md5(id::text)::uuid)) AS wrong
FROM unnest(fflag_enabled('part', ARRAY(SELECT md5(id::text)::uuid FROM generate_series(1, 1000) AS id))) WITH ORDINALITY AS t (a, id);

-- an array that PL/pgSQL keeps taken apart, as it grows; and one of a domain
CREATE DOMAIN user_number AS bigint;
CREATE FUNCTION grow() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		users bigint[] := '{}';
		numbers user_number[];
		names text[] := '{}';
		wrong int := 0;
	BEGIN
		FOR n IN 1..200 LOOP
			users[n] := nullif(n, 7);
			names[n] := nullif(n, 7);
			wrong := wrong + (fflag_enabled('part', users) <> fflag_enabled('part', users::text::bigint[]))::int
				+ (fflag_enabled('part', names) <> fflag_enabled('part', names::text::text[]))::int;
		END LOOP;
		numbers := users;
		RETURN format('%s in, %s wrong', (SELECT count(*) FROM fflag_select('part', numbers)), wrong);
	END $$;
SELECT grow();
DROP FUNCTION grow;
DROP DOMAIN user_number;

-- with the cache off as well
SET fflag.cache = off;
SELECT name, fflag_enabled(name, ARRAY[1, 2, 3, NULL, 5, 3]) FROM feature_flag ORDER BY id;
DROP EXTENSION fflag;
