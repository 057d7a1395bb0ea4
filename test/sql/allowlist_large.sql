--
-- Allowlists so long that it matters how they are held: membership is exact,
-- whoever asks, and memory is bounded
--
CREATE EXTENSION fflag;
SELECT fflag_register(name, true, 0) FROM unnest('{texts,dense,sparse,scattered,mixed}'::text[]) AS name;
SET session_replication_role = replica;	-- not half a million checks of the foreign key
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, u.id FROM feature_flag AS f,
		LATERAL (SELECT 'user ' || n FROM generate_series(2, 520000, 2) AS n WHERE f.name = 'texts'
			-- every third on both sides of zero; one in a thousand; of 40 bits; and one that is no integer
			UNION ALL SELECT n::text FROM generate_series(-300000, 300000, 3) AS n WHERE f.name = 'dense'
			UNION ALL SELECT (n::bigint * 1009)::text FROM generate_series(-50000, 50000) AS n WHERE f.name = 'sparse'
			UNION ALL SELECT DISTINCT (hashint8extended(n, 0) & 1099511627775)::text FROM generate_series(1, 20000) AS n WHERE f.name = 'scattered'
			UNION ALL SELECT n::text FROM generate_series(1, 20000) AS n WHERE f.name = 'mixed'
			UNION ALL SELECT '007' WHERE f.name = 'mixed') AS u (id);
RESET session_replication_role;
VACUUM ANALYZE feature_flag_user;

-- integers to ask about: those near the listed ones, and the extremes
CREATE TABLE asked AS
	SELECT 'dense' AS name, n::bigint AS id FROM generate_series(-300005, 300005) AS n
	UNION ALL SELECT 'sparse', n::bigint * 1009 + d FROM generate_series(-50000, 50000) AS n, generate_series(-1, 1) AS d
	UNION ALL SELECT 'scattered', (hashint8extended(n, 0) & 1099511627775) + d FROM generate_series(1, 20000) AS n, generate_series(-1, 1) AS d
	UNION ALL SELECT 'mixed', n::bigint FROM generate_series(-1, 20100) AS n
	UNION ALL SELECT f.name, edge FROM feature_flag AS f, unnest('{9223372036854775807,-9223372036854775808,9223372036854710272,0}'::bigint[]) AS edge WHERE f.name <> 'texts';
ANALYZE asked;
\c

-- texts: while the list is probed, read into the filter, and asked through it
SELECT count(*) AS asked, count(*) FILTER (WHERE fflag_enabled('texts', 'user ' || n)) AS listed,
	count(*) FILTER (WHERE fflag_enabled('texts', 'user ' || n) IS DISTINCT FROM (n % 2 = 0)) AS wrong
FROM generate_series(1, 300000) AS n;

-- some two bytes an entry
SELECT bytes BETWEEN 520000 AND 600000 AS bounded FROM fflag_cache();

-- integers: as integers, as texts, in an array, against plain SQL
\c
CREATE FUNCTION compare(flag text) RETURNS TABLE (asked bigint, listed bigint, wrong bigint, wrong_texts bigint, wrong_in_array bigint)
LANGUAGE sql AS $$
	SELECT count(*), count(l.user_id), count(*) FILTER (WHERE fflag_enabled(flag, a.id) IS DISTINCT FROM (l.user_id IS NOT NULL)),
		count(*) FILTER (WHERE fflag_enabled(flag, a.id::text) IS DISTINCT FROM (l.user_id IS NOT NULL)),
		(SELECT count(*) FROM unnest(fflag_enabled(flag, array_agg(a.id ORDER BY a.id)), array_agg(l.user_id IS NOT NULL ORDER BY a.id)) AS u (got, said)
			WHERE got IS DISTINCT FROM said)
	FROM asked AS a LEFT JOIN (feature_flag_user JOIN feature_flag ON flag_id = feature_flag.id) AS l ON l.name = flag AND l.user_id = a.id::text
	WHERE a.name = flag
$$;
-- a bit for each of 600,000; of what is one in a thousand, some two bytes an entry;
-- of what is too far apart or no integer, a filter of two to four
SELECT * FROM compare('dense');
SELECT bytes BETWEEN 75000 AND 120000 AS bounded FROM fflag_cache();
\c
SELECT * FROM compare('sparse');
SELECT bytes BETWEEN 200000 AND 250000 AS bounded FROM fflag_cache();
\c
SELECT * FROM compare('scattered');
SELECT bytes BETWEEN 60000 AND 90000 AS bounded FROM fflag_cache();
\c
SELECT * FROM compare('mixed');
SELECT bytes BETWEEN 60000 AND 90000 AS bounded FROM fflag_cache();
SELECT fflag_enabled('mixed', '007') AS listed, fflag_enabled('mixed', '07') AS other, fflag_enabled('mixed', 7) AS integer;

-- a list of integers stops being one, and is one again
\c
SELECT wrong, wrong_texts, wrong_in_array FROM compare('sparse');
SELECT fflag_allow('sparse', VARIADIC '{0042,+1009,"user 7",9223372036854775808}'::text[]);
SELECT wrong, wrong_texts, wrong_in_array FROM compare('sparse');
SELECT bytes BETWEEN 260000 AND 300000 AS filter FROM fflag_cache();
SELECT id, fflag_enabled('sparse', id) FROM unnest('{0042,+1009,user 7,9223372036854775808,42,1009,7,01009,-0,-9223372036854775808}'::text[]) AS id;
SELECT fflag_disallow('sparse', VARIADIC '{0042,+1009,"user 7",9223372036854775808}'::text[]);
SELECT wrong, wrong_texts, wrong_in_array FROM compare('sparse');
SELECT bytes BETWEEN 200000 AND 250000 AS integers FROM fflag_cache();
SELECT id, fflag_enabled('sparse', id) FROM unnest('{0042,+1009,user 7,9223372036854775808,42,1009,7,01009,-0,-9223372036854775808}'::text[]) AS id;
SELECT fflag_enabled('sparse', md5('1009')::uuid);

DROP FUNCTION compare;
DROP TABLE asked;
DROP EXTENSION fflag;
