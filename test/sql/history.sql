--
-- History: who changed a flag, what it was, what a user got at some moment.
-- Answers at many random moments are for test/t/024_history.pl.
--
CREATE EXTENSION fflag;
CREATE TABLE moment (n int, at timestamptz);
CREATE FUNCTION at(wanted int) RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM moment WHERE n = wanted';
CREATE VIEW line AS SELECT what, flag, user_id, users, old_values - '{id,created_at,updated_at,metadata,description,internal}'::text[] AS old,
	new_values - '{id,created_at,updated_at,metadata,description,internal}'::text[] AS new FROM fflag_history();

-- an error without the times in it
CREATE FUNCTION refusal(at timestamptz, flag text DEFAULT 'beta') RETURNS text LANGUAGE plpgsql AS $$ BEGIN
	RETURN fflag_explain_at(at, flag, 1); EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '\w{3} \w{3} \d+ [\d:.]+ \d{4} [A-Z]+', '...', 'g'); END $$;

INSERT INTO moment VALUES (1, clock_timestamp());
SELECT fflag_register('beta', true, 0);
SELECT fflag_allow('beta', 1, 2, 3);
INSERT INTO moment VALUES (2, clock_timestamp());
UPDATE feature_flag SET name = 'search', rollout_percentage = 50 WHERE name = 'beta';
SELECT fflag_disallow('search', 1);
INSERT INTO moment VALUES (3, clock_timestamp());
UPDATE feature_flag_user SET user_id = '4' WHERE user_id = '2';
DELETE FROM feature_flag;
INSERT INTO moment VALUES (4, clock_timestamp());
SELECT n, b.enabled, b.rule, b.reason, b.bucket, b.rollout_percentage, s.enabled, s.rule, s.bucket, s.rollout_percentage FROM moment,
	fflag_explain_at(at, 'beta', 1) AS b, fflag_explain_at(at, 'search', 1, default_value => true) AS s ORDER BY n;
TABLE line;
SELECT what, flag, user_id, users FROM fflag_history('beta', true);
SELECT what, user_id, users FROM fflag_history('search');
SELECT count(*) FROM fflag_history('no such flag');

-- statements that change nothing leave nothing, nor does what is rolled back
SELECT fflag_register('quiet', true);
CREATE VIEW counts AS SELECT (SELECT count(*) FROM feature_flag_change WHERE NOT begins) AS changes, (SELECT count(*) FROM feature_flag_history) AS rows;
TABLE counts;
UPDATE feature_flag SET enabled = enabled;
UPDATE feature_flag SET enabled = false WHERE name = 'typo';
SELECT fflag_register('quiet'), fflag_disallow('quiet', 1);
TRUNCATE feature_flag_user;
BEGIN;
SELECT fflag_disable('quiet');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT fflag_disable('quiet');
ROLLBACK TO s;
COMMIT;
TABLE counts;
-- one transaction, one row, also with SET CONSTRAINTS
BEGIN;
SELECT fflag_disable('quiet'), fflag_allow('quiet', 7);
SAVEPOINT s;
SELECT fflag_allow('quiet', 8);
ROLLBACK TO s;
SELECT fflag_enable('quiet');
SELECT at IS NULL AS not_yet FROM feature_flag_change ORDER BY transaction DESC LIMIT 1;
-- what is not committed has not happened
SELECT enabled, rule FROM fflag_explain_at(now(), 'quiet', 7);
COMMIT;
TABLE counts;
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT fflag_allow('quiet', 9);
SELECT fflag_allow('quiet', 10);
COMMIT;
TABLE counts;
-- a change counts from its commit, however long the transaction was open
BEGIN;
SELECT fflag_disable('quiet');
INSERT INTO moment VALUES (5, clock_timestamp());
COMMIT;
INSERT INTO moment VALUES (6, clock_timestamp());
SELECT n, enabled, rule FROM moment, fflag_explain_at(at, 'quiet', 7) WHERE n >= 5 ORDER BY n;
-- a trigger that changes the same flag in the middle of the statement: it is the first image that counts
SELECT fflag_register('nested', true, 10);
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE feature_flag SET rollout_percentage = 30 WHERE id = NEW.id AND rollout_percentage = 20; RETURN NULL; END $$;
CREATE TRIGGER again AFTER UPDATE ON feature_flag FOR EACH ROW EXECUTE FUNCTION again();
INSERT INTO moment VALUES (7, clock_timestamp());
SELECT fflag_rollout('nested', 20);
SELECT e.rollout_percentage AS then, f.rollout_percentage AS now FROM fflag_explain_at(at(7), 'nested') AS e, feature_flag AS f WHERE name = 'nested';
INSERT INTO moment VALUES (9, clock_timestamp());
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT fflag_rollout('nested', 20);
COMMIT;
SELECT rollout_percentage FROM fflag_explain_at(at(9), 'nested');
DROP TRIGGER again ON feature_flag;
-- deleted and inserted by one command
INSERT INTO moment VALUES (10, clock_timestamp());
WITH d AS (DELETE FROM feature_flag WHERE name = 'nested' RETURNING id)
INSERT INTO feature_flag (id, name, rollout_percentage) SELECT id, 'nested', 70 FROM d;
SELECT rollout_percentage FROM fflag_explain_at(at(10), 'nested');

-- who
CREATE ROLE regress_fflag_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON feature_flag, feature_flag_user TO regress_fflag_admin;
GRANT USAGE ON SEQUENCE feature_flag_id_seq TO regress_fflag_admin;
GRANT EXECUTE ON FUNCTION fflag_disable(text) TO regress_fflag_admin;
CREATE FUNCTION by_owner() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT fflag_enable('quiet') $$;
SET application_name = 'desk';
SET ROLE regress_fflag_admin;
SET fflag.actor = 'Ann O''Neill';
SELECT by_owner();
DELETE FROM feature_flag WHERE name = 'quiet';
RESET fflag.actor;
INSERT INTO feature_flag (name) VALUES ('hers');
-- and may neither change nor read it
UPDATE feature_flag_change SET actor = 'somebody else';
DELETE FROM feature_flag_history;
SELECT * FROM feature_flag_history;
SELECT fflag_prune_history(now());
SELECT * FROM fflag_history();
SELECT fflag_explain_at(now(), 'hers', 1);
RESET ROLE;
RESET application_name;
SELECT session_role = current_user AS logged_in, CASE role WHEN current_user THEN 'the superuser' ELSE role END AS role, application_name, actor, what, flag, users FROM fflag_history() LIMIT 5;
-- a transaction that acts for several: each change has who it was then, and all have one time
BEGIN;
SELECT fflag_rollout('hers', 1);
SET LOCAL fflag.actor = 'Bob';
SELECT fflag_rollout('hers', 2);
SAVEPOINT s;
SET LOCAL fflag.actor = 'nobody';
SELECT fflag_rollout('hers', 3);
ROLLBACK TO s;
SELECT fflag_rollout('hers', 4), fflag_allow('hers', 1);
SET LOCAL ROLE regress_fflag_admin;
UPDATE feature_flag SET rollout_percentage = 5 WHERE name = 'hers';
RESET ROLE;
SELECT fflag_rollout('hers', 6);
SET LOCAL fflag.actor = '';
SELECT fflag_rollout('hers', 7);
COMMIT;
SELECT role = 'regress_fflag_admin' AS is_admin, actor, new_values ->> 'rollout_percentage' AS to, users FROM fflag_history('hers') LIMIT 7;
SELECT count(*) AS rows, count(DISTINCT at) AS times FROM feature_flag_change
WHERE transaction = (SELECT max(transaction::text::bigint)::text::xid8 FROM feature_flag_change);
-- a text of any length is cut
SET fflag.actor = '0123456789';
SELECT set_config('fflag.actor', repeat('0123456789', 100000), false) IS NULL;
SELECT fflag_enable('hers');
SELECT length(actor) FROM fflag_history() LIMIT 1;
RESET fflag.actor;
-- a function that puts its own objects first
CREATE SCHEMA evil;
CREATE FUNCTION evil.equal(xid8, xid8) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (LEFTARG = xid8, RIGHTARG = xid8, FUNCTION = evil.equal);
CREATE FUNCTION evil.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal, HASHES, MERGES, COMMUTATOR = OPERATOR(evil.=));
CREATE FUNCTION evil.record_image_ne(record, record) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE FUNCTION evil.min(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
SET search_path = evil, pg_catalog, public;
SELECT public.fflag_register('hostile', true), public.fflag_rollout('hostile', 5);
SELECT what, flag FROM public.fflag_history() LIMIT 1;
SELECT enabled FROM public.fflag_explain_at(clock_timestamp(), 'hostile');
RESET search_path;

-- the triggers' functions do nothing for anybody else's table
SET ROLE regress_fflag_admin;
CREATE TEMPORARY TABLE feature_flag_user (flag_id int, user_id text);
CREATE TRIGGER t AFTER INSERT ON pg_temp.feature_flag_user REFERENCING NEW TABLE AS fflag_new FOR EACH STATEMENT EXECUTE FUNCTION fflag_record('user');
INSERT INTO pg_temp.feature_flag_user VALUES (1, 'forged');
CREATE TRIGGER u AFTER INSERT ON pg_temp.feature_flag_user FOR EACH ROW EXECUTE FUNCTION fflag_record('user');
INSERT INTO pg_temp.feature_flag_user VALUES (1, 'forged');
DROP TABLE pg_temp.feature_flag_user;
RESET ROLE;
SELECT count(*) FROM feature_flag_history WHERE user_id = 'forged';

-- a cast of a column's type is code of the type's owner, and is not run with anybody's rights
CREATE ROLE regress_fflag_app;
CREATE SCHEMA app AUTHORIZATION regress_fflag_app;
GRANT EXECUTE ON FUNCTION fflag_attach, fflag_detach, fflag_invalidate TO regress_fflag_app;
CREATE TABLE seen (role text);
GRANT INSERT ON seen TO PUBLIC;
SET ROLE regress_fflag_app;
CREATE TYPE app.secret AS ENUM ('a', 'b');
CREATE FUNCTION app.to_json(app.secret) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN '1'; END $$;
CREATE CAST (app.secret AS json) WITH FUNCTION app.to_json(app.secret);
CREATE TABLE app.flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled bool NOT NULL, staff_only bool NOT NULL, rollout_percentage int NOT NULL, s app.secret);
CREATE TABLE app.list (featureflag_id int, user_id int, PRIMARY KEY (featureflag_id, user_id));
GRANT ALL ON app.flag, app.list TO PUBLIC;
GRANT USAGE ON SCHEMA app TO PUBLIC;
RESET ROLE;
ALTER TABLE feature_flag ADD COLUMN s app.secret DEFAULT 'a', ADD COLUMN j json DEFAULT '"\u0000"';
SELECT fflag_register('secretive');
UPDATE feature_flag SET s = 'b' WHERE name = 'secretive';
UPDATE feature_flag SET j = '1' WHERE name = 'secretive';
SELECT DISTINCT role FROM seen;
SELECT old_values ->> 's' AS old_s, new_values ->> 's' AS new_s, old_values ->> 'j' AS old_j, new_values ->> 'j' AS new_j FROM fflag_history('secretive');
ALTER TABLE feature_flag DROP COLUMN s, DROP COLUMN j;
-- of attached tables nothing is recorded but what evaluation reads
SET ROLE regress_fflag_app;
SELECT fflag_attach('app.flag', 'app.list');
RESET ROLE;
INSERT INTO app.flag VALUES (1, 'theirs', true, false, 200, 'a');
INSERT INTO app.list VALUES (1, 42);
INSERT INTO moment VALUES (13, clock_timestamp());
UPDATE app.flag SET rollout_percentage = 0;
INSERT INTO moment VALUES (14, clock_timestamp());
TRUNCATE app.list;
INSERT INTO moment VALUES (15, clock_timestamp());
SELECT n, enabled, rule, rollout_percentage FROM moment, fflag_explain_at(at, 'theirs', 42) WHERE n >= 10 ORDER BY n;
-- after detaching, too, even when the tables are gone
SET ROLE regress_fflag_app;
SELECT fflag_detach();
DROP TABLE app.flag, app.list;
RESET ROLE;
SELECT DISTINCT role FROM seen;
SELECT kind, array_agg(DISTINCT key) FROM feature_flag_history, jsonb_object_keys(old_row) AS key WHERE attached AND kind IN ('flag', 'user') GROUP BY kind ORDER BY kind;
SELECT n, enabled, rule, rollout_percentage FROM moment, fflag_explain_at(at, 'theirs', 42) WHERE n >= 10 ORDER BY n;
SELECT what, flag, user_id, users, old_values ->> 'flags' AS old, new_values ->> 'flags' AS new FROM fflag_history() LIMIT 6;

-- refused
SELECT fflag_explain_at(NULL, 'beta', 1);
SELECT fflag_explain_at('infinity', 'beta', 1);
SELECT refusal('infinity'), refusal('2020-01-01');
\set VERBOSITY terse
-- no user, no name, other types of users
SELECT enabled, rule FROM fflag_explain_at(at(3), 'search');
SELECT enabled, rule, bucket FROM fflag_explain_at(at(3), NULL, 1, default_value => true);
SELECT enabled, rule FROM fflag_explain_at(at(3), 'search', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);

-- what is large and has not changed is not kept with each change
SELECT fflag_register('large', description => repeat('0123456789', 100000));
UPDATE feature_flag SET metadata = jsonb_build_object('m', repeat('0123456789', 100000)) WHERE name = 'large';
SELECT fflag_enable('large'), fflag_disable('large'), fflag_rollout('large', 9), fflag_ramp('large', 20, '1 day');
UPDATE feature_flag SET description = 'small' WHERE name = 'large';
DELETE FROM feature_flag WHERE name = 'large';
SELECT what, length(old_values::text) > 1000000 AS old, length(new_values::text) > 1000000 AS new FROM fflag_history('large');
SELECT count(*) AS rows, count(*) FILTER (WHERE length(old_row::text) > 1000000) AS old, count(*) FILTER (WHERE length(new_row::text) > 1000000) AS new FROM feature_flag_history WHERE name = 'large';

-- a person is forgotten as operations.md says: then they have never been on a list
SELECT fflag_register('with_list', true);
SELECT fflag_allow('with_list', 4711, 4712), fflag_deny('with_list', 4713);
INSERT INTO moment VALUES (16, clock_timestamp());
DELETE FROM feature_flag_user WHERE user_id = '4711';
DELETE FROM feature_flag_denied_user WHERE user_id = '4711';
DELETE FROM feature_flag_history WHERE user_id = '4711';
SELECT u, rule FROM unnest(ARRAY[4711, 4712, 4713]) AS u, fflag_explain_at(at(16), 'with_list', u);
SELECT what, user_id, users FROM fflag_history('with_list', true);
SELECT count(*) FROM feature_flag_history WHERE user_id = '4711' OR old_row ->> 'user_id' = '4711';

-- what fires no trigger is not recorded
SELECT fflag_register('replicated', true);
SET session_replication_role = replica;
UPDATE feature_flag SET enabled = false WHERE name = 'replicated';
RESET session_replication_role;
SELECT what FROM fflag_history('replicated');

-- forget: exact from then on, refused before
SELECT fflag_prune_history(at(2)) > 0;
SELECT enabled, rule FROM fflag_explain_at(at(2), 'beta', 1);
SELECT refusal(at(1));
SELECT fflag_prune_history(at(1));
SELECT fflag_prune_history(NULL);
SELECT fflag_prune_history('infinity') > 0;
SELECT count(*) FROM fflag_history();
SELECT count(*) FROM feature_flag_history;
SELECT refusal(at(15));
SELECT enabled, rule FROM fflag_explain_at(clock_timestamp(), 'hostile', 1);

-- whoever takes it apart gets an error and no guess
ALTER TABLE feature_flag_user DISABLE TRIGGER fflag_record_delete;
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
ALTER TABLE feature_flag_user ENABLE TRIGGER fflag_record_delete;
DROP TRIGGER fflag_record_truncate ON feature_flag;
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON feature_flag FOR EACH STATEMENT EXECUTE FUNCTION fflag_record('flag');
SELECT fflag_disable('hostile');
UPDATE feature_flag_change SET at = NULL WHERE transaction = (SELECT max(transaction::text::bigint)::text::xid8 FROM feature_flag_change);
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
UPDATE feature_flag_change SET at = clock_timestamp() WHERE at IS NULL;
SELECT enabled FROM fflag_explain_at(clock_timestamp(), 'hostile', 1);
-- a restore that has brought rows of the history without their changes
CREATE TABLE kept AS TABLE feature_flag_change;
DELETE FROM feature_flag_change WHERE NOT begins AND at = (SELECT max(at) FROM feature_flag_change);
SELECT enabled FROM fflag_explain_at(clock_timestamp(), 'hostile', 1);
SELECT at, role, what, flag FROM fflag_history('hostile') WHERE at IS NULL;
INSERT INTO feature_flag_change SELECT * FROM kept ON CONFLICT DO NOTHING;
DROP TABLE kept;
SELECT enabled FROM fflag_explain_at(clock_timestamp(), 'hostile', 1);
-- what the owner writes into it crashes nobody, nor makes a chain of flags that does not end
SELECT fflag_register('edited', true, 100), fflag_variants('edited', '{"a": 1}'), fflag_register('later', true, 100), fflag_require('later', 'edited');
INSERT INTO moment VALUES (17, clock_timestamp());
SELECT fflag_variants('edited', '{"a": 2}');
UPDATE feature_flag SET description = 'x' WHERE name IN ('edited', 'later');
UPDATE feature_flag_relation SET kind = 'excludes';
UPDATE feature_flag_history SET name = NULL WHERE kind = 'variant' AND operation = 'update';
SELECT variant FROM fflag_explain_at(at(17), 'edited', 1);
SELECT rule FROM fflag_explain_at(at(17), 'later', 1);
-- a circle, a kind and an id that there are not
UPDATE feature_flag_history SET old_row = old_row || jsonb_build_object('other_id', old_row -> 'flag_id') WHERE kind = 'relation' AND operation = 'update';
SELECT regexp_replace(refusal(at(17), 'later'), '\d{2,}', '...', 'g');
UPDATE feature_flag_history SET old_row = old_row || '{"kind": "implies", "other_id": 0}' WHERE kind = 'relation' AND operation = 'update';
SELECT regexp_replace(refusal(at(17), 'later'), '\d{2,}', '...', 'g');
UPDATE feature_flag_history SET old_row = '{"kind": "requires", "other_id": "none"}' WHERE kind = 'relation' AND operation = 'update';
SELECT regexp_replace(refusal(at(17), 'later'), '\d{2,}', '...', 'g');
UPDATE feature_flag_history SET old_row = NULL, name = NULL WHERE kind = 'relation' AND operation = 'update';
SELECT regexp_replace(refusal(at(17), 'later'), '\d{2,}', '...', 'g');
ALTER TABLE feature_flag_change OWNER TO regress_fflag_admin;
SELECT fflag_disable('edited');
SELECT fflag_explain_at(at(17), 'edited', 1);
ALTER TABLE feature_flag_change OWNER TO CURRENT_USER;
DELETE FROM feature_flag_history WHERE flag_id IN (SELECT id::text FROM feature_flag WHERE name IN ('edited', 'later'));
DELETE FROM feature_flag WHERE name IN ('edited', 'later');
ALTER TABLE feature_flag RENAME COLUMN name TO label;
UPDATE feature_flag SET enabled = true;
ALTER TABLE feature_flag RENAME COLUMN label TO name;
SELECT enabled FROM fflag_explain_at(clock_timestamp(), 'hostile', 1);
SELECT refusal(max(at)) FROM (SELECT max(at) - interval '1 microsecond' AS at FROM feature_flag_change) AS before;
ALTER TABLE feature_flag_change ALTER COLUMN session_role TYPE name, ALTER COLUMN application_name TYPE int USING 7;
SELECT session_role = current_user, application_name FROM fflag_history() LIMIT 1;
ALTER TABLE feature_flag_change ALTER COLUMN session_role TYPE text, ALTER COLUMN application_name TYPE text;
ALTER TABLE feature_flag_history DROP COLUMN old_row;
SELECT fflag_enable('hostile');
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
ALTER TABLE feature_flag_history ADD COLUMN old_row jsonb;
ALTER TABLE feature_flag_change ALTER COLUMN origin DROP DEFAULT;
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
TRUNCATE feature_flag_change, feature_flag_history;
ALTER TABLE feature_flag_change ALTER COLUMN origin SET DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);
ALTER TABLE feature_flag_change RENAME TO feature_flag_changes;
SELECT fflag_enable('hostile');
SELECT fflag_explain_at(clock_timestamp(), 'hostile', 1);

SET client_min_messages = warning;
DROP VIEW line, counts;
DROP EXTENSION fflag;
DROP SCHEMA evil, app CASCADE;
DROP TABLE moment, seen;
DROP FUNCTION at, again, by_owner, refusal;
DROP OWNED BY regress_fflag_admin, regress_fflag_app;
DROP ROLE regress_fflag_admin, regress_fflag_app;
