--
-- fflag_cache and the setting fflag.cache: what is cached, and when
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'f' || n, true, 10 FROM generate_series(1, 50) AS n;
CREATE VIEW cache AS SELECT caching, flags, unknown_names, allowlists FROM fflag_cache();

-- counted from here: each flag is read once, however often it is asked for
\c
SELECT caching, flags, unknown_names, allowlists, hits, loads FROM fflag_cache();
SELECT count(fflag_enabled('f' || n % 5 + 1, n)) FROM generate_series(1, 1000) AS n;
SELECT caching, flags, unknown_names, allowlists, hits, loads FROM fflag_cache();

-- whether a commit is under way is found out without a lock
SELECT lock_counts FROM fflag_cache();

-- a change of one's own or by others drops what is cached
SELECT fflag_enable('f1');
SELECT fflag_enabled('f1', 1);
TABLE cache;

-- all flags at once: then unknown names need no reading either
SELECT count(*) FROM fflag_flags(42);
SELECT fflag_enabled('nope', 42), fflag_enabled('f50', 42);
TABLE cache;

-- names that do not exist stay within a bound, in number and in length
SELECT count(*) FROM generate_series(1, 100000) AS n WHERE fflag_enabled('no such flag ' || n, 1);
SELECT unknown_names <= 1024 AS number, bytes < 1000000 AS size FROM fflag_cache();
SELECT count(*) FROM generate_series(1, 200) AS n WHERE fflag_enabled(repeat('x', 100000) || n, 1);
SELECT unknown_names <= 1024 AS number, bytes < 1000000 AS size FROM fflag_cache();
SELECT count(*) FROM generate_series(1, 2000) AS n WHERE fflag_enabled(repeat('x', 580) || n, 1);
SELECT unknown_names <= 1024 AS number, bytes < 2000000 AS size FROM fflag_cache();

-- off: the tables are read at every call, with the same answers
SET fflag.cache = off;
SELECT loads AS before FROM fflag_cache() \gset
SELECT count(fflag_enabled('f' || n % 5 + 1, n)) FROM generate_series(1, 1000) AS n;
SELECT caching, loads - :before AS loads FROM fflag_cache();
BEGIN ISOLATION LEVEL REPEATABLE READ;
RESET fflag.cache;
SELECT fflag_enabled('f1', 1);
SET fflag.cache = off;
SELECT loads AS before FROM fflag_cache() \gset
SELECT fflag_enabled('f1', 1);
SELECT loads > :before AS loaded FROM fflag_cache();
COMMIT;
RESET fflag.cache;

-- a session that disables the triggers is not lied to either: without them
-- nothing is cached
SELECT fflag_enabled('f1', 4);
ALTER TABLE feature_flag DISABLE TRIGGER ALL;
SELECT fflag_enabled('f1', 4);
SELECT caching FROM fflag_cache();
UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'f1';
SELECT fflag_enabled('f1', 4);
ALTER TABLE feature_flag ENABLE TRIGGER ALL;
SELECT fflag_enabled('f1', 4);
SELECT caching FROM fflag_cache();
-- nor is one that has not evaluated yet, or not since
\c
SELECT caching FROM fflag_cache();
ALTER TABLE feature_flag ENABLE ALWAYS TRIGGER fflag_invalidate;
SELECT caching FROM fflag_cache();
ALTER TABLE feature_flag_attachment ENABLE TRIGGER fflag_invalidate;
SELECT caching FROM fflag_cache();
ALTER TABLE feature_flag_attachment ENABLE ALWAYS TRIGGER fflag_invalidate;
SELECT fflag_enabled('f1', 4);
TABLE cache;

-- a load that fails leaves the cache whole: of one flag, and of all of them, when
-- the others have been read already
ALTER TABLE feature_flag ALTER rollout_percentage DROP NOT NULL;
UPDATE feature_flag SET rollout_percentage = NULL WHERE name = 'f3';
SELECT fflag_enabled('f2', 1);
SELECT loads AS before FROM fflag_cache() \gset
SELECT fflag_enabled('f3', 1);
SELECT loads - :before AS loads FROM fflag_cache();
SELECT count(*) FROM fflag_flags(1);
SELECT loads - :before AS loads FROM fflag_cache();
SELECT count(*) FILTER (WHERE fflag_enabled(name, 1) <> (fflag_bucket(name, 1) < rollout_percentage * 1000)) AS wrong, count(*)
FROM feature_flag WHERE name <> 'f3';
SELECT count(*) FROM fflag_flags(1);
UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'f3';
ALTER TABLE feature_flag ALTER rollout_percentage SET NOT NULL;
SELECT fflag_enabled('f3', 1);
SELECT count(*) FROM fflag_flags(1);
TABLE cache;

-- fflag.override drops flags, which hold what it forces, and no allowlists; the other
-- settings drop nothing
SELECT fflag_enabled('f2', 1);
TABLE cache;
BEGIN;
SET LOCAL fflag.override = 'f2=on';
TABLE cache;
SELECT fflag_enabled('f2', 1);
TABLE cache;
COMMIT;
TABLE cache;
SELECT fflag_enabled('f2', 1);
SET fflag.unknown_flag = warning;
TABLE cache;
RESET fflag.unknown_flag;

-- a role that is changed, as anybody may change their password, costs others nothing
CREATE ROLE regress_fflag_somebody;
SELECT fflag_enabled('f2', 1), loads AS before FROM fflag_cache() \gset
ALTER ROLE regress_fflag_somebody PASSWORD 'x';
SELECT fflag_enabled('f2', 1), loads - :before AS loads FROM fflag_cache();
DROP ROLE regress_fflag_somebody;

-- tables that are found by name, as after a restore, go when their schema is renamed
CREATE SCHEMA shop;
CREATE TABLE shop.flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE shop.flag_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
INSERT INTO shop.flag VALUES (1, 'shop', true, false, 100);
SELECT fflag_attach('shop.flag', 'shop.flag_user');
UPDATE feature_flag_attachment SET flags_oid = 1, users_oid = 2;
SELECT fflag_enabled('shop');
ALTER SCHEMA shop RENAME TO store;
SELECT fflag_enabled('shop');
ALTER SCHEMA store RENAME TO shop;
SELECT fflag_enabled('shop');
SELECT fflag_detach();
DROP SCHEMA shop CASCADE;

-- many flags fit into a session: one without lists, variants and relations takes at
-- most 400 bytes, its name and the knowledge that nobody is listed included
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'flag number ' || n, true, 10 FROM generate_series(1, 10000) AS n;
\c
SELECT count(fflag_enabled('flag number ' || n, 42)) FROM generate_series(1, 10000) AS n;
SELECT flags, allowlists, bytes / flags <= 400 AS small FROM fflag_cache();

SET fflag.no_such_setting = 1;
DROP VIEW cache;
DROP EXTENSION fflag;
