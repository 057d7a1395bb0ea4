--
-- Tables that their owner has altered: the right answer or a clear error,
-- never a crash, and right again once it is mended
--
CREATE EXTENSION fflag;
SELECT fflag_register('f', true, 0), fflag_allow('f', 7);
SELECT fflag_enabled('f', 7);

-- harmless changes
ALTER TABLE feature_flag ADD COLUMN team text DEFAULT 'web';
ALTER TABLE feature_flag_user ADD COLUMN note text;
ALTER TABLE feature_flag DROP COLUMN created_at, DROP COLUMN description;
SELECT fflag_enabled('f', 7);
ALTER TABLE feature_flag ALTER COLUMN name TYPE text;
SELECT fflag_enabled('f', 7);
VACUUM FULL feature_flag;
VACUUM FULL feature_flag_user;
CLUSTER feature_flag USING feature_flag_pkey;
REINDEX TABLE feature_flag;
SELECT fflag_enabled('f', 7);

-- renamed and dropped columns
ALTER TABLE feature_flag RENAME COLUMN enabled TO active;
SELECT fflag_enabled('f', 7);
SELECT fflag_enabled('f', 7);
ALTER TABLE feature_flag RENAME COLUMN active TO enabled;
SELECT fflag_enabled('f', 7);
-- a flag that has ended is not on again because a column is missing
SELECT fflag_schedule('f', NULL, now());
SELECT rule FROM fflag_explain('f', 1);
ALTER TABLE feature_flag RENAME COLUMN ends_at TO until;
SELECT fflag_enabled('f', 1);
ALTER TABLE feature_flag RENAME COLUMN until TO ends_at;
SELECT fflag_schedule('f', NULL);
ALTER TABLE feature_flag_user RENAME COLUMN user_id TO uid;
SELECT fflag_enabled('f', 7);
ALTER TABLE feature_flag_user RENAME COLUMN uid TO user_id;
BEGIN;
ALTER TABLE feature_flag DROP COLUMN rollout_percentage;
SAVEPOINT s;
SELECT fflag_enabled('f', 7);
ROLLBACK TO s;
ROLLBACK;
SELECT fflag_enabled('f', 7);

-- other types
BEGIN;
ALTER TABLE feature_flag ALTER COLUMN enabled DROP DEFAULT, ALTER COLUMN enabled TYPE int USING enabled::int;
SAVEPOINT s;
SELECT fflag_enabled('f', 7);
ROLLBACK;
ALTER TABLE feature_flag_user DROP CONSTRAINT feature_flag_user_user_id_check;
ALTER TABLE feature_flag_user ALTER COLUMN user_id TYPE bigint USING user_id::bigint;
SELECT fflag_enabled('f', 7);
ALTER TABLE feature_flag_user ALTER COLUMN user_id TYPE text;
SELECT fflag_enabled('f', 7);

-- updated_at is kept only while it is one
ALTER TABLE feature_flag ALTER COLUMN updated_at DROP DEFAULT, ALTER COLUMN updated_at TYPE text USING 'then';
UPDATE feature_flag SET enabled = true;
SELECT name, updated_at FROM feature_flag;
ALTER TABLE feature_flag DROP COLUMN updated_at;
UPDATE feature_flag SET enabled = true;

-- an index that goes in the middle of a statement
CREATE FUNCTION drop_key(n int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
	IF n = 500 THEN ALTER TABLE feature_flag_user DROP CONSTRAINT feature_flag_user_pkey; END IF; RETURN true; END $$;
SELECT fflag_allow('f', VARIADIC ARRAY(SELECT n FROM generate_series(501, 1000) AS n)) - 500 AS others;
SELECT count(*) FILTER (WHERE drop_key(n) AND fflag_enabled('f', n)), count(*) FILTER (WHERE fflag_enabled('f', n) <> (n > 500 OR n = 7)) AS wrong
FROM generate_series(490, 510) AS n;
DELETE FROM feature_flag_user WHERE user_id <> '7';
ALTER TABLE feature_flag_user ADD CONSTRAINT feature_flag_user_pkey PRIMARY KEY (flag_id, user_id);

-- indexes with another order, and predicates that want to be run
CREATE FUNCTION shout(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN RAISE NOTICE 'called'; RETURN bttextcmp(lower($1), lower($2)); END $$;
CREATE OPERATOR CLASS shouting FOR TYPE text USING btree AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 shout(text, text);
CREATE FUNCTION run() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'called'; RETURN true; END $$;
SET client_min_messages = warning;
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_name_key;
INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('F', true, 100);
CREATE INDEX ON feature_flag (name shouting);
CREATE UNIQUE INDEX feature_flag_name_key ON feature_flag (name);
ALTER TABLE feature_flag_user DROP CONSTRAINT feature_flag_user_pkey;
CREATE INDEX ON feature_flag_user (flag_id, user_id) WHERE run();
RESET client_min_messages;
SELECT fflag_enabled('f', 7), fflag_enabled('f', 8), fflag_enabled('F', 8);
SET client_min_messages = warning;
DELETE FROM feature_flag WHERE name = 'F';
DROP OPERATOR FAMILY shouting USING btree CASCADE;
DROP FUNCTION shout, run CASCADE;
RESET client_min_messages;

-- values that the constraints kept out
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_rollout_percentage_check;
ALTER TABLE feature_flag DISABLE TRIGGER fflag_check;
UPDATE feature_flag SET rollout_percentage = 33.3333;
SELECT fflag_enabled('f', 7);
UPDATE feature_flag SET rollout_percentage = 'NaN';
SELECT fflag_enabled('f', 7);
ALTER TABLE feature_flag ALTER COLUMN enabled DROP NOT NULL;
UPDATE feature_flag SET rollout_percentage = 0, enabled = NULL;
SELECT fflag_enabled('f', 7);
SELECT * FROM fflag_flags(7);
UPDATE feature_flag SET enabled = true;
SELECT fflag_enabled('f', 7);

-- tables that are gone, or something else
ALTER TABLE feature_flag RENAME TO elsewhere;
SELECT fflag_enabled('f', 7);
SELECT fflag_enable('f');
CREATE VIEW feature_flag AS TABLE elsewhere;
SELECT fflag_enabled('f', 7);
DROP VIEW feature_flag;
-- nor is an ordinary table in its place the extension's own, unless it is made so
CREATE TABLE feature_flag AS TABLE elsewhere;
UPDATE feature_flag SET name = 'g', enabled = true, rollout_percentage = 100;
SELECT fflag_enabled('f', 7), fflag_enabled('g', 7);
ALTER EXTENSION fflag ADD TABLE feature_flag;
-- it has no triggers: it is read at each call
SELECT fflag_enabled('f', 7), fflag_enabled('g', 7);
UPDATE feature_flag SET enabled = false;
SELECT fflag_enabled('f', 7), fflag_enabled('g', 7);
ALTER EXTENSION fflag DROP TABLE feature_flag;
DROP TABLE feature_flag;
ALTER TABLE elsewhere RENAME TO feature_flag;
SELECT fflag_enabled('f', 7);

-- created and dropped in one transaction, and rolled back
DROP EXTENSION fflag;
BEGIN;
CREATE EXTENSION fflag;
SELECT fflag_register('f', true), fflag_enabled('f');
ROLLBACK;
CREATE EXTENSION fflag;
SELECT fflag_enabled('f');
SELECT fflag_register('f', true);
SELECT fflag_enabled('f');
BEGIN;
DROP EXTENSION fflag;
\set VERBOSITY terse
SELECT fflag_enabled('f');
\set VERBOSITY default
ROLLBACK;
SELECT fflag_enabled('f');
BEGIN;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;
SELECT fflag_enabled('f');
SELECT fflag_register('f', true), fflag_enabled('f');
SELECT fflag_enabled('f');
ROLLBACK;
SELECT fflag_enabled('f');
DROP EXTENSION fflag;
