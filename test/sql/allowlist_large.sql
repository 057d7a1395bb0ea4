--
-- An allowlist so long that its filter lets some pass who are not on it: they
-- are looked up, and membership is exact
--
CREATE EXTENSION fflag;
SELECT fflag_register('f', true, 0);
SET session_replication_role = replica;	-- not 600,000 checks of the foreign key
INSERT INTO feature_flag_user (flag_id, user_id)
	SELECT f.id, n FROM feature_flag AS f, generate_series(2, 1200000, 2) AS n;
RESET session_replication_role;
VACUUM ANALYZE feature_flag_user;
\c

-- while it is probed, read into the filter, and asked through it
SELECT count(*) AS asked, count(*) FILTER (WHERE fflag_enabled('f', n)) AS listed,
	count(*) FILTER (WHERE fflag_enabled('f', n) IS DISTINCT FROM (n % 2 = 0)) AS wrong
FROM generate_series(1, 700000) AS n;

-- two to four bytes an entry
SELECT bytes BETWEEN 2000000 AND 2300000 AS bounded FROM fflag_cache();
DROP EXTENSION fflag;
