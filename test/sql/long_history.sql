--
-- A long history: fflag_history reads of it what the answer needs.  That the answers are
-- the same lines is for test/t/024_history.pl.
--
CREATE EXTENSION fflag;
CREATE FUNCTION rows_read(query text) RETURNS TABLE (history bigint, change bigint) LANGUAGE plpgsql AS $$
DECLARE before bigint[] := (SELECT array_agg(seq_tup_read + idx_tup_fetch ORDER BY relname DESC) FROM pg_stat_xact_user_tables WHERE relname IN ('feature_flag_history', 'feature_flag_change'));
BEGIN
	EXECUTE query;
	RETURN QUERY SELECT a[1] - before[1], a[2] - before[2] FROM (SELECT array_agg(seq_tup_read + idx_tup_fetch ORDER BY relname DESC) AS a
		FROM pg_stat_xact_user_tables WHERE relname IN ('feature_flag_history', 'feature_flag_change')) AS after;
END $$;

-- 100,000 lines of lists and 2,000 of a flag, each a change of its own; and a flag with another that it requires
SELECT count(fflag_register('flag ' || n, true)) FROM generate_series(1, 100) AS n;
INSERT INTO feature_flag_user SELECT id, n FROM feature_flag, generate_series(1, 1000) AS n;
DO $$ BEGIN FOR i IN 1 .. 2000 LOOP UPDATE feature_flag SET rollout_percentage = i % 100 WHERE name = 'flag 2'; COMMIT; END LOOP; END $$;
SELECT fflag_register('old', true), fflag_register('gone', true);
SELECT fflag_allow('old', 1, 2), fflag_require('old', 'gone'), fflag_require('old', 'flag 1'), fflag_rename('old', 'new');
SELECT fflag_unrelate('new', 'gone');
DELETE FROM feature_flag WHERE name = 'gone';
CREATE TABLE moment AS SELECT clock_timestamp() AS at;
SELECT fflag_allow('new', 3);
CREATE TABLE renamed AS SELECT clock_timestamp() AS at;
SELECT fflag_rename('new', 'newer');
CREATE TABLE later AS SELECT clock_timestamp() AS at;
SELECT fflag_disallow('newer', 3), fflag_variants('newer', '{"a": 1}');
VACUUM ANALYZE feature_flag_history, feature_flag_change;
SELECT count(*) FROM feature_flag_history;

SELECT what, flag, users, new_values ->> 'other' AS other FROM fflag_history('newer');
SELECT what, flag FROM fflag_history('gone');
SELECT history < 60 AS history, change < 30 AS change FROM rows_read($$SELECT fflag_history('newer')$$);
SELECT history < 60 AS history, change < 30 AS change FROM rows_read($$SELECT fflag_history('newer', true, since => 'yesterday')$$);
SELECT history < 60 AS history, change < 30 AS change FROM rows_read($$SELECT fflag_history('none')$$);
-- its list once, the rest a few times
SELECT history BETWEEN 1000 AND 1200 AS history, change < 60 AS change FROM rows_read($$SELECT fflag_history('flag 7')$$);

-- where a dump has been restored, too
BEGIN;
UPDATE feature_flag_change SET restored_in = origin WHERE at = (SELECT max(at) FROM feature_flag_change);
SELECT history < 100 AS history, change < 60 AS change FROM rows_read($$SELECT fflag_history('newer')$$);
SELECT history < 102700 AS history, change < 60 AS change FROM rows_read('SELECT fflag_history(since => at) FROM moment');
ROLLBACK;

-- of all flags, a stretch of time: named by what was before and is after
SELECT h.what, h.flag, h.users FROM moment AS m, renamed AS r, fflag_history(since => m.at, until => r.at) AS h;
SELECT h.what, h.flag, h.users FROM moment AS m, later AS l, fflag_history(since => m.at, until => l.at) AS h;
SELECT h.what, h.flag, h.users FROM later AS l, fflag_history(since => l.at) AS h;
SELECT count(*) FROM later AS l, fflag_history(until => l.at) AS h;
SELECT h.what, h.flag FROM moment AS m, later AS l, fflag_history('newer', since => m.at, until => l.at) AS h;
SELECT count(*) FROM moment AS m, later AS l, fflag_history(since => l.at, until => m.at);
-- the history once
SELECT history < 102500 AS history, change < 30 AS change FROM rows_read('SELECT fflag_history(since => at) FROM moment');

-- a change that has no time yet is the last, one that is not there any more the first
BEGIN;
SELECT fflag_undeny('newer', 1), fflag_allow('newer', 4);
SELECT h.at, h.what FROM later AS l, fflag_history(since => l.at) AS h WHERE h.at IS NULL;
SELECT count(*) FROM fflag_history(since => 'infinity') AS h, fflag_history('newer', since => 'infinity');
SELECT count(*) FROM fflag_history(until => 'infinity') WHERE at IS NULL;
ROLLBACK;
DELETE FROM feature_flag_change WHERE at = (SELECT max(at) FROM feature_flag_change);
SELECT what FROM fflag_history(until => '2020-01-01');
SELECT what FROM fflag_history('newer', until => '2020-01-01');
SELECT count(*) FROM fflag_history(since => '-infinity') WHERE at IS NULL;
SELECT count(*) FROM fflag_history(since => '2020-01-01') WHERE at IS NULL;

-- one list makes up nearly all of it
DROP EXTENSION fflag;
CREATE EXTENSION fflag;
SELECT fflag_register('long', true), fflag_register('small', true);
INSERT INTO feature_flag_user SELECT id, n FROM feature_flag, generate_series(1, 30000) AS n WHERE name = 'long';
VACUUM ANALYZE feature_flag_history, feature_flag_change;
SELECT history < 60 AS history, change < 30 AS change FROM rows_read($$SELECT fflag_history('small')$$);

-- names and ids that are longer than what the indexes have of them
CREATE TABLE their_flag (id text PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE their_user (featureflag_id text NOT NULL, user_id text NOT NULL, PRIMARY KEY (featureflag_id, user_id));
SELECT fflag_attach('their_flag', 'their_user');
CREATE TABLE start AS SELECT clock_timestamp() AS at;
INSERT INTO their_flag SELECT repeat('i', 200) || n, repeat('n', 200) || n, true, false, 0 FROM generate_series(1, 3) AS n;
INSERT INTO their_user SELECT id, repeat('u', 200) || n FROM their_flag, generate_series(1, 2) AS n;
UPDATE their_flag SET name = repeat('n', 200) || 4 WHERE name ~ '3';
SELECT what, "right"(flag, 2) AS flag, "right"(user_id, 2) AS user_id FROM fflag_history(repeat('n', 200) || 1, true);
SELECT n, count(*), count(DISTINCT flag) FROM generate_series(0, 4) AS n, fflag_history(repeat('n', 200) || n, true) GROUP BY n ORDER BY n;
SELECT h.what, "right"(h.flag, 2) AS flag, h.users FROM start AS s, fflag_history(since => s.at) AS h;
SELECT fflag_detach();

DROP EXTENSION fflag;
DROP TABLE moment, renamed, later, start, their_flag, their_user;
DROP FUNCTION rows_read;
