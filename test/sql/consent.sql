--
-- Evaluation shows everybody what it reads.  Nobody can make it read a table
-- whose owner did not agree, by attaching it.
--
CREATE ROLE regress_fflag_owner;
CREATE ROLE regress_fflag_delegate;
CREATE ROLE regress_fflag_victim;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_fflag_owner;
GRANT CREATE ON SCHEMA public TO regress_fflag_owner, regress_fflag_delegate, regress_fflag_victim;
SET ROLE regress_fflag_owner;
CREATE EXTENSION fflag;
SELECT fflag_register('own', true, 100);
-- what a delegate gets, and more
GRANT EXECUTE ON FUNCTION fflag_attach, fflag_detach, fflag_invalidate TO regress_fflag_delegate;
GRANT EXECUTE ON FUNCTION fflag_attach, fflag_detach TO regress_fflag_victim;
GRANT SELECT, INSERT, UPDATE, DELETE ON feature_flag_attachment TO regress_fflag_delegate;

-- secrets that the owner of the extension may read and the delegate may not
SET ROLE regress_fflag_victim;
CREATE TABLE secret (featureflag_id int NOT NULL, user_id text NOT NULL, UNIQUE (featureflag_id, user_id));
INSERT INTO secret VALUES (1, 'hunter2');
GRANT SELECT ON secret TO regress_fflag_owner;

-- a delegate attaches tables with the grants, without privileges on the row
SET ROLE regress_fflag_delegate;
CREATE TABLE flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE flag_user (featureflag_id int NOT NULL, user_id text NOT NULL, UNIQUE (featureflag_id, user_id));
INSERT INTO flag VALUES (1, 'f', true, false, 0);
GRANT SELECT ON flag, flag_user TO regress_fflag_owner;
SELECT fflag_attach('flag', 'flag_user');
SELECT fflag_enabled('f', 'hunter2');

-- no row by hand
UPDATE feature_flag_attachment SET users = 'public.secret';
UPDATE feature_flag_attachment SET users = 'public.secret', users_oid = 'secret'::regclass;
DELETE FROM feature_flag_attachment;
RESET ROLE;
GRANT TRUNCATE ON feature_flag_attachment TO regress_fflag_delegate;
SET ROLE regress_fflag_delegate;
TRUNCATE feature_flag_attachment;
SELECT fflag_detach();
INSERT INTO feature_flag_attachment SELECT true, 'public.flag', 'public.secret', 'flag'::regclass, 'secret'::regclass,
	'id', 'name', 'enabled', 'staff_only', 'rollout_percentage', 'featureflag_id', 'user_id';
SELECT fflag_attach('flag', 'secret');
SELECT fflag_enabled('f', 'hunter2');
RESET ROLE;
-- not as a replica either
SET session_replication_role = replica;
SET ROLE regress_fflag_delegate;
INSERT INTO feature_flag_attachment SELECT true, 'public.flag', 'public.secret', 'flag'::regclass, 'secret'::regclass,
	'id', 'name', 'enabled', 'staff_only', 'rollout_percentage', 'featureflag_id', 'user_id';
RESET ROLE;
RESET session_replication_role;

-- the name of an attached table, once it is free, does not lead to another
SET ROLE regress_fflag_delegate;
SELECT fflag_attach('flag', 'flag_user');
DROP TABLE flag_user;
SELECT fflag_enabled('f', 'hunter2');
SET ROLE regress_fflag_victim;
ALTER TABLE secret RENAME TO flag_user;
SELECT fflag_enabled('f', 'hunter2');
-- nor does the right to put triggers on it, which is less than owning it
GRANT TRIGGER ON flag_user TO regress_fflag_delegate;
SET ROLE regress_fflag_delegate;
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE ON flag_user FOR EACH ROW EXECUTE FUNCTION fflag_invalidate();
SELECT fflag_enabled('f', 'hunter2');
ALTER TABLE flag_user ENABLE ALWAYS TRIGGER fflag_invalidate;
SELECT fflag_attach('flag', 'flag_user');
-- a trigger that calls another function is no consent
SET ROLE regress_fflag_victim;
DROP TRIGGER fflag_invalidate ON flag_user;
CREATE FUNCTION pg_temp.fflag_invalidate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE ON flag_user FOR EACH ROW EXECUTE FUNCTION pg_temp.fflag_invalidate();
ALTER TABLE flag_user ENABLE ALWAYS TRIGGER fflag_invalidate;
SELECT fflag_enabled('f', 'hunter2');
-- the owner's own is
DROP TRIGGER fflag_invalidate ON flag_user;
SET ROLE regress_fflag_owner;
GRANT EXECUTE ON FUNCTION fflag_invalidate TO regress_fflag_victim;
SET ROLE regress_fflag_victim;
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE ON flag_user FOR EACH ROW EXECUTE FUNCTION fflag_invalidate();
ALTER TABLE flag_user ENABLE ALWAYS TRIGGER fflag_invalidate;
SELECT fflag_enabled('f', 'hunter2');
-- and whoever owns one of the tables only may not detach, nor attach them anew
SELECT fflag_detach();
SET ROLE regress_fflag_delegate;
SELECT fflag_detach();
SELECT fflag_attach('flag', 'flag_user', user_id => 'featureflag_id');
RESET ROLE;
SELECT fflag_detach();

-- the extension's own tables are those that it made, not others of the same name
GRANT regress_fflag_owner TO regress_fflag_victim;
SELECT fflag_enabled('own'), fflag_enabled('forged');
ALTER TABLE feature_flag RENAME TO feature_flag_old;
CREATE TABLE feature_flag (LIKE feature_flag_old INCLUDING ALL);
ALTER TABLE feature_flag OWNER TO regress_fflag_delegate;
SET ROLE regress_fflag_delegate;
INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('forged', true, 100);
SELECT fflag_enabled('forged');
RESET ROLE;
SELECT fflag_enabled('own');
SELECT fflag_register('another');
DROP TABLE feature_flag;
SELECT fflag_enabled('own');
ALTER TABLE feature_flag_old RENAME TO feature_flag;
ALTER TABLE feature_flag_attachment RENAME TO hidden;
SET ROLE regress_fflag_delegate;
CREATE TABLE feature_flag_attachment (LIKE hidden INCLUDING ALL);
INSERT INTO feature_flag_attachment SELECT true, 'public.flag', 'public.flag_user', 'flag'::regclass, 'flag_user'::regclass,
	'id', 'name', 'enabled', 'staff_only', 'rollout_percentage', 'featureflag_id', 'user_id';
SELECT fflag_enabled('f', 'hunter2');
SELECT fflag_detach();
SELECT fflag_attach('flag', 'flag');
RESET ROLE;
DROP TABLE feature_flag_attachment;
ALTER TABLE hidden RENAME TO feature_flag_attachment;
SELECT fflag_enabled('own'), fflag_enabled('forged');

-- a trigger of a delegate on the row does not run as the owner
GRANT TRIGGER ON feature_flag_attachment TO regress_fflag_delegate;
SET ROLE regress_fflag_delegate;
CREATE TABLE flag_now (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE flag_user_now (featureflag_id int NOT NULL, user_id text NOT NULL, UNIQUE (featureflag_id, user_id));
INSERT INTO flag_now VALUES (1, 'now', true, false, 0);
GRANT SELECT ON flag_now, flag_user_now TO regress_fflag_owner;
CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	RAISE NOTICE 'run as %', current_user;
	RETURN NEW;
END $$;
CREATE TRIGGER zz BEFORE INSERT ON feature_flag_attachment FOR EACH ROW EXECUTE FUNCTION forge();
SELECT fflag_attach('flag_now', 'flag_user_now');
SELECT fflag_enabled('now', 'hunter2');
RESET ROLE;
DROP TRIGGER zz ON feature_flag_attachment;
SET ROLE regress_fflag_delegate;
SELECT fflag_attach('flag_now', 'flag_user_now');
SELECT fflag_detach();
RESET ROLE;

SET client_min_messages = warning;
DROP OWNED BY regress_fflag_owner, regress_fflag_delegate, regress_fflag_victim CASCADE;
DROP ROLE regress_fflag_owner, regress_fflag_delegate, regress_fflag_victim;
