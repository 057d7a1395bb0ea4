-- Tables that Citus has distributed: a shell is never read as if it were empty.
-- test/long/citus has a real Citus.  Here its catalogs are made up, as far as fflag
-- looks at them, in a transaction that is rolled back: of reference table "flag" the
-- shell has rows from before it was distributed, and shard flag_101 has the others.
CREATE EXTENSION fflag;
CREATE TABLE flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL,
  staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE flag_user (flag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (flag_id, user_id));
CREATE TABLE flag_101 (LIKE flag INCLUDING ALL);
CREATE TABLE flag_user_102 (LIKE flag_user INCLUDING ALL);
INSERT INTO flag VALUES (1, 'f', false, false, 0);
INSERT INTO flag_101 VALUES (1, 'f', true, false, 0);
INSERT INTO flag_user_102 VALUES (1, 7);

-- what somebody makes up elsewhere means nothing
CREATE TABLE pg_dist_partition (logicalrelid regclass, repmodel "char");
INSERT INTO pg_dist_partition VALUES ('feature_flag', 's'), ('flag', 's');
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
SELECT fflag_enabled('f', 7);
SELECT fflag_detach();
DROP TABLE pg_dist_partition;

BEGIN;
SET LOCAL allow_system_table_mods = on;
SET LOCAL client_min_messages = warning;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass PRIMARY KEY, repmodel "char");
CREATE TABLE pg_catalog.pg_dist_shard (logicalrelid regclass, shardid bigint PRIMARY KEY);
CREATE INDEX ON pg_catalog.pg_dist_shard (logicalrelid);
CREATE TABLE pg_catalog.pg_dist_placement (shardid bigint, groupid int, shardstate int);
CREATE TABLE pg_catalog.pg_dist_local_group (groupid int);
CREATE FUNCTION pg_catalog.shard_name(regclass, bigint, boolean) RETURNS text LANGUAGE sql
  RETURN (SELECT format('%I.%I', relnamespace::regnamespace, relname || '_' || $2) FROM pg_class WHERE oid = $1);
-- Citus sends a message for the table with each change of these
CREATE PROCEDURE pg_catalog.touch() LANGUAGE plpgsql AS $$
BEGIN ALTER TABLE flag SET (fillfactor = 100); ALTER TABLE feature_flag SET (fillfactor = 100); END $$;
INSERT INTO pg_dist_partition VALUES ('flag', 't'), ('flag_user', 't');
INSERT INTO pg_dist_local_group VALUES (1);
INSERT INTO pg_dist_shard VALUES ('flag', 101), ('flag_user', 102);
INSERT INTO pg_dist_placement VALUES (101, 0, 1), (102, 0, 1);

-- nor do tables that are not of extension "citus"
SAVEPOINT s;
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
SELECT fflag_enabled('f', 7);
ROLLBACK TO s;

INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  SELECT 'pg_dist_partition'::regclass::oid, 'citus', extowner, extnamespace, false, '13.2' FROM pg_extension WHERE extname = 'plpgsql';
ALTER EXTENSION citus ADD TABLE pg_catalog.pg_dist_partition;
ALTER EXTENSION citus ADD TABLE pg_catalog.pg_dist_shard;
ALTER EXTENSION citus ADD TABLE pg_catalog.pg_dist_placement;
ALTER EXTENSION citus ADD TABLE pg_catalog.pg_dist_local_group;

-- the copy is another node's
SAVEPOINT s;
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
ROLLBACK TO s;
-- a copy that is there and does not count
INSERT INTO pg_dist_placement VALUES (101, 1, 3), (102, 1, 3);
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
ROLLBACK TO s;
-- a shard
SELECT fflag_attach('flag_101', 'flag_user_102', flag_id => 'flag_id');
ROLLBACK TO s;
-- not a reference table
UPDATE pg_dist_partition SET repmodel = 's';
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
ROLLBACK TO s;

INSERT INTO pg_dist_placement VALUES (101, 1, 1), (102, 1, 1);
SELECT fflag_attach('flag', 'flag_user', flag_id => 'flag_id');
SELECT flags, users FROM feature_flag_attachment;
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'flag%' GROUP BY tgrelid ORDER BY 1;
SELECT fflag_enabled('f', 7), fflag_enabled('f', 8), caching FROM fflag_cache();
UPDATE flag_101 SET rollout_percentage = 100;
SELECT fflag_enabled('f', 7), fflag_enabled('f', 8);
SELECT kind, operation, name, old_row ->> 'rollout_percentage' AS old FROM feature_flag_history WHERE kind <> 'tables';
-- what is said names the table that users know
SAVEPOINT s;
SELECT fflag_enable('f');
ROLLBACK TO s;
SET LOCAL fflag.unknown_flag = error;
SELECT fflag_enabled('typo', 7);
ROLLBACK TO s;

-- a session that has cached flags hears of it when there is no copy any more
SELECT fflag_enabled('f', 7);
DELETE FROM pg_dist_placement WHERE groupid = 1;
CALL touch();
SELECT fflag_enabled('f', 7);
ROLLBACK TO s;
-- or the extension's own table is distributed
SELECT fflag_detach();
SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'flag%';
SELECT fflag_enabled('f', 7);
INSERT INTO pg_dist_partition VALUES ('feature_flag', 't');
CALL touch();
SAVEPOINT s;
SELECT fflag_enabled('f', 7);
ROLLBACK TO s;
SELECT fflag_register('g');
ROLLBACK;
SELECT fflag_enabled('f', 7);

DROP TABLE flag, flag_user, flag_101, flag_user_102;
DROP EXTENSION fflag;
