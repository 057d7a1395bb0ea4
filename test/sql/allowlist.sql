--
-- Allowlists of all sizes: membership is exact, and large lists are read into
-- memory only once that pays
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled) SELECT 'list' || n, true FROM unnest('{0,1,128,129,5000,8192,8193,100000}'::int[]) AS n;
INSERT INTO feature_flag (name, enabled) SELECT 'text' || n, true FROM unnest('{1,129,8192,8193,40000}'::int[]) AS n;
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, CASE WHEN f.name ~ 'text' THEN 'user ' ELSE '' END || n
	FROM feature_flag AS f, generate_series(1, 100000) AS n WHERE n <= substr(f.name, 5)::int;
ANALYZE feature_flag_user;
\c

-- every list, asked for members and others while it is probed, read and held
SELECT name, count(*) AS asked, count(*) FILTER (WHERE fflag_enabled(name, u.id)) AS listed,
	count(*) FILTER (WHERE fflag_enabled(name, u.id) IS DISTINCT FROM (u.id <= substr(name, 5)::int)) AS wrong
FROM feature_flag, generate_series(1, 200000, 3) AS u (id) WHERE name ~ 'list' GROUP BY name ORDER BY length(name), name;
SELECT name, count(*) AS asked, count(*) FILTER (WHERE fflag_enabled(name, 'user ' || u.id)) AS listed,
	count(*) FILTER (WHERE fflag_enabled(name, 'user ' || u.id) IS DISTINCT FROM (u.id <= substr(name, 5)::int)) AS wrong
FROM feature_flag, generate_series(1, 80000, 3) AS u (id) WHERE name ~ 'text' GROUP BY name ORDER BY length(name), name;
SELECT allowlists, bytes < 5000000 AS bounded FROM fflag_cache();

-- ids that are prefixes, suffixes or spellings of listed ones
SELECT id, fflag_enabled('list129', id) FROM unnest('{1,01,1 ," 1",+1,129,130,"",1.0}'::text[]) AS id;

-- the first call of a session reads no long list
\c
SELECT fflag_enabled('list100000', 100000), fflag_enabled('list100000', 100001);
SELECT bytes < 100000 AS small FROM fflag_cache();

-- a change of a long list shows at once
SELECT count(*) FROM generate_series(1, 100000) AS id WHERE fflag_enabled('list100000', id);
SELECT fflag_disallow('list100000', 100000), fflag_allow('list100000', 100001);
SELECT fflag_enabled('list100000', 99999), fflag_enabled('list100000', 100000), fflag_enabled('list100000', 100001);

-- whatever the indexes are like
ALTER TABLE feature_flag_user DROP CONSTRAINT feature_flag_user_pkey;
DROP INDEX feature_flag_user_user_id_idx;
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_name_key;
SELECT fflag_enabled('list100000', 99999), fflag_enabled('list100000', 100000), fflag_enabled('list1', 1);
CREATE INDEX backwards ON feature_flag_user (flag_id DESC, user_id COLLATE "POSIX" DESC);
CREATE INDEX partial ON feature_flag (name) WHERE NOT enabled;
CREATE INDEX expression ON feature_flag (lower(name));
CREATE INDEX hashed ON feature_flag USING hash (name);
CREATE INDEX pattern ON feature_flag (name varchar_pattern_ops DESC);
SELECT fflag_enabled('list100000', 99999), fflag_enabled('list100000', 100000), fflag_enabled('list1', 1);
REINDEX INDEX pattern;
SELECT fflag_enabled('list100000', 99999), fflag_enabled('list100000', 100000), fflag_enabled('list1', 1);

-- columns of attached tables that are integers, with repeated and null ones
CREATE TABLE flag (id int PRIMARY KEY, name text UNIQUE, enabled boolean, staff_only boolean, rollout_percentage int);
INSERT INTO flag VALUES (1, 'f', true, false, 0);
CREATE TABLE flag_user (flag_id int, small smallint, middle int, large bigint);
INSERT INTO flag_user SELECT 1, n % 20000 - 10000, n % 20000 * 3 - 2147483648, n % 20000 * 10 - 9223372036854775808 FROM generate_series(1, 30000) AS n;
INSERT INTO flag_user SELECT 1 FROM generate_series(1, 100);
CREATE INDEX ON flag_user (flag_id, small);
CREATE INDEX ON flag_user (flag_id, middle);
CREATE INDEX ON flag_user (flag_id, large);
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id', user_id => 'small');
SELECT count(*) FILTER (WHERE fflag_enabled('f', id)), count(*) FILTER (WHERE fflag_enabled('f', id::text) AND NOT fflag_enabled('f', '0' || id))
FROM generate_series(-32768, 32768) AS id;
SELECT fflag_detach();
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id', user_id => 'middle');
SELECT count(*) FILTER (WHERE fflag_enabled('f', id)), count(*) FILTER (WHERE fflag_enabled('f', id::text)), sum(id - -2147483648) FILTER (WHERE fflag_enabled('f', id))
FROM generate_series(-2147483658, -2147400000) AS id;
SELECT fflag_detach();
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id', user_id => 'large');
SELECT count(*) FILTER (WHERE fflag_enabled('f', id)), count(*) FILTER (WHERE fflag_enabled('f', id::text)), sum(id - -9223372036854775808) FILTER (WHERE fflag_enabled('f', id))
FROM generate_series(-9223372036854775808, -9223372036854570000) AS id;
SELECT bytes < 100000 AS bounded FROM fflag_cache();
SELECT fflag_detach();
DROP TABLE flag, flag_user;
DROP EXTENSION fflag;
