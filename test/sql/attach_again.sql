--
-- Attached tables that people use without thinking of fflag: attached twice,
-- renamed, with nulls, of a wrong kind; and the extension's own tables meanwhile
--
CREATE EXTENSION fflag;
SELECT fflag_register('own', true, 100), fflag_allow('own', 1);
CREATE TABLE flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, percent numeric NOT NULL);
CREATE TABLE flag_user (flag int NOT NULL, user_id int NOT NULL, PRIMARY KEY (flag, user_id));
INSERT INTO flag VALUES (1, 'f', true, false, 100);
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'percent', flag_id => 'flag');

-- the same again changes nothing, and says so
SELECT xmin AS written, ctid AS at FROM feature_flag_attachment \gset
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'percent', flag_id => 'flag');
SELECT xmin = :'written' AND ctid = :'at' AS unchanged FROM feature_flag_attachment;
SELECT fflag_enabled('f'), caching FROM fflag_cache();
-- but repairs the triggers
ALTER TABLE flag DISABLE TRIGGER fflag_invalidate;
DROP TRIGGER fflag_invalidate ON flag_user;
SELECT fflag_enabled('f'), caching FROM fflag_cache();
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'percent', flag_id => 'flag');
SELECT fflag_enabled('f'), caching FROM fflag_cache();
SELECT tgrelid::regclass, tgenabled FROM pg_trigger WHERE tgname = 'fflag_invalidate' AND tgrelid::regclass::text LIKE 'flag%' ORDER BY tgrelid::regclass::text;
-- other tables, or other columns
CREATE TABLE flag_2 (LIKE flag INCLUDING ALL);
SELECT fflag_attach('flag_2', 'flag_user', rollout_percentage => 'percent', flag_id => 'flag');
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'percent', flag_id => 'user_id');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'flag_2'::regclass;

-- a column is renamed: the hint leads back
ALTER TABLE flag RENAME percent TO share;
SELECT fflag_enabled('f');
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'share', flag_id => 'flag');
SELECT fflag_detach();
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'share', flag_id => 'flag');
SELECT fflag_enabled('f');
-- a table is renamed and its schema: both are followed, and the name is brought up to date
CREATE SCHEMA app;
ALTER TABLE flag SET SCHEMA app;
ALTER TABLE app.flag RENAME TO "Flag";
SELECT fflag_enabled('f');
ALTER SCHEMA app RENAME TO application;
SELECT fflag_enabled('f');
\c
SELECT fflag_enabled('f');
SELECT flags, flags_oid::regclass FROM feature_flag_attachment;
SET quote_all_identifiers = on;
SELECT fflag_attach('application."Flag"', 'flag_user', rollout_percentage => 'share', flag_id => 'flag');
RESET quote_all_identifiers;
SELECT fflag_enabled('f'), flags, flags_oid::regclass FROM feature_flag_attachment;
SELECT fflag_attach('application."Flag"', 'flag_user', rollout_percentage => 'share', flag_id => 'flag');
SELECT fflag_enabled('f'), flags, flags_oid::regclass FROM feature_flag_attachment;

-- plain SQL on the extension's own tables means nothing now: one warning a statement, whatever it does
UPDATE feature_flag SET enabled = false;
INSERT INTO feature_flag (name) SELECT 'flag ' || n FROM generate_series(1, 10) AS n;
INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, 'u' FROM feature_flag;
COPY feature_flag_user (flag_id, user_id) FROM stdin;
1	2
1	3
\.
DELETE FROM feature_flag WHERE name LIKE 'flag %';
DO $$ BEGIN FOR n IN 1..10 LOOP UPDATE feature_flag SET enabled = true; END LOOP; END $$;
MERGE INTO feature_flag f USING (VALUES ('own')) AS v (name) ON f.name = v.name WHEN MATCHED THEN DELETE;
TRUNCATE feature_flag, feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation;
-- not those that replication writes, nor where nothing can be read from the attached tables
SET session_replication_role = replica;
INSERT INTO feature_flag (name) VALUES ('own');
RESET session_replication_role;
BEGIN;
DROP TABLE application."Flag";
UPDATE feature_flag SET enabled = true;
ROLLBACK;
SELECT fflag_detach();
UPDATE feature_flag SET enabled = true;

-- nulls are what they are in WHERE
DROP TABLE flag_user, flag_2, application."Flag";
CREATE TABLE flag (id int PRIMARY KEY, name text UNIQUE, enabled boolean, staff_only boolean, rollout_percentage numeric);
CREATE TABLE flag_user (featureflag_id int, user_id int, UNIQUE (featureflag_id, user_id));
INSERT INTO flag VALUES (1, 'enabled is null', NULL, false, 100), (2, 'staff_only is null', true, NULL, 100), (3, 'percentage is null', true, false, NULL),
	(4, NULL, true, false, 100), (5, 'all are null', NULL, NULL, NULL), (6, 'none is null', true, false, 100);
INSERT INTO flag_user VALUES (1, 7), (3, 7), (3, NULL), (NULL, 8), (4, 7);
SELECT fflag_attach('flag', 'flag_user');
SELECT name, (f).enabled, (f).rule FROM (SELECT name, fflag_explain(name, 7) AS f FROM flag) AS _ ORDER BY name;
SELECT * FROM fflag_flags(7);
SELECT * FROM fflag_flags(8);
ALTER TABLE flag ALTER rollout_percentage TYPE int;
SELECT fflag_enabled('percentage is null', 7), fflag_enabled('percentage is null', 8), fflag_enabled(NULL, 7, default_value => true);
ALTER TABLE flag DROP CONSTRAINT flag_pkey, ALTER id DROP NOT NULL;
UPDATE flag SET id = NULL WHERE id = 6;
SELECT fflag_enabled('none is null', 7);
UPDATE flag SET id = 6 WHERE id IS NULL;
SELECT fflag_detach();
-- not so in the extension's own
ALTER TABLE feature_flag ALTER enabled DROP NOT NULL;
UPDATE feature_flag SET enabled = NULL;
SELECT fflag_enabled('own');

-- what is no ordinary table is refused before anything is done to it
CREATE VIEW view_of_it AS TABLE flag;
CREATE MATERIALIZED VIEW copy_of_it AS TABLE flag;
CREATE TABLE parted (LIKE flag) PARTITION BY LIST (id);
CREATE FOREIGN DATA WRAPPER regress_fflag_nothing;
CREATE SERVER regress_fflag_nowhere FOREIGN DATA WRAPPER regress_fflag_nothing;
CREATE FOREIGN TABLE foreign_flag (id int) SERVER regress_fflag_nowhere;
CREATE SEQUENCE sequence;
SELECT fflag_attach('view_of_it', 'flag_user');
SELECT fflag_attach('copy_of_it', 'flag_user');
SELECT fflag_attach('parted', 'flag_user');
SELECT fflag_attach('foreign_flag', 'flag_user');
SELECT fflag_attach('sequence', 'flag_user');
SELECT fflag_attach('flag_user_featureflag_id_user_id_key', 'flag_user');
SELECT fflag_attach('pg_class', 'flag_user');
SELECT fflag_attach('flag', 'feature_flag_attachment');
SELECT count(*) FROM pg_trigger WHERE tgname = 'fflag_invalidate';

-- a trigger of the owner's that keeps the row from being written
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER skip BEFORE INSERT ON feature_flag_attachment FOR EACH ROW EXECUTE FUNCTION skip();
SELECT fflag_attach('flag', 'flag_user', rollout_percentage => 'percent', flag_id => 'flag');
SET client_min_messages = warning;
DROP EXTENSION fflag;
DROP FUNCTION skip;
DROP FOREIGN DATA WRAPPER regress_fflag_nothing CASCADE;
DROP TABLE flag, flag_user, parted CASCADE;
DROP SEQUENCE sequence;
DROP SCHEMA application;
