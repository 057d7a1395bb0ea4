--
-- What the history knows of relations, denylists and variants.  What else it
-- knows is in history.sql, answers at many random moments in test/t/024_history.pl.
--
CREATE EXTENSION fflag;
-- answers of then, to be asked for again
CREATE TABLE answer (at timestamptz, name text, user_id text, is_staff boolean, e text);
CREATE VIEW asked AS SELECT statement_timestamp() AS at, name, user_id, is_staff, fflag_explain(name, user_id, is_staff)::text AS e
	FROM (SELECT name FROM feature_flag UNION SELECT unnest('{base,basis,middle,top,side}'::text[])) AS f,
		unnest('{1,2,3,4,5,NULL}'::text[]) AS user_id, unnest('{false,true}'::boolean[]) AS is_staff;
\set note 'INSERT INTO answer TABLE asked;'
CREATE VIEW wrong AS SELECT answer.*, a::text FROM answer, fflag_explain_at(at, name, user_id, is_staff) AS a WHERE a::text IS DISTINCT FROM e;
CREATE VIEW line AS SELECT what, flag, user_id, users, old_values - '{id,flag_id,other_id,created_at,metadata,description,staff_only,internal,rollout_percentage}'::text[] AS old,
	new_values - '{id,flag_id,other_id,created_at,metadata,description,staff_only,internal,rollout_percentage}'::text[] AS new FROM fflag_history();

SELECT fflag_register('base', true, 100), fflag_register('middle', true, 100), fflag_register('top', true, 100), fflag_register('side', true, 50);
:note
SELECT fflag_require('middle', 'base'), fflag_require('top', 'middle');
SELECT fflag_variants('top', '{"red": 1, "blue": 2.5}');
:note
SELECT fflag_deny('base', 1, 2), fflag_deny('top', 3);
:note

-- one chain, each way in which a required flag says no
SELECT fflag_disable('base');
:note
SELECT fflag_enable('base'), fflag_undeny('base', 1);
:note
SELECT fflag_schedule('middle', NULL, clock_timestamp() - interval '1 second');
:note
SELECT fflag_schedule('middle', NULL), fflag_ramp('base', 0, '1 day', clock_timestamp() - interval '12 hours');
:note
UPDATE feature_flag SET ramp_to = NULL, ramp_starts_at = NULL, ramp_ends_at = NULL, rollout_percentage = 0 WHERE name = 'base';
SELECT fflag_allow('base', 4);
:note
-- whoever is staff gets it, whatever it requires in its turn
UPDATE feature_flag SET staff_only = true WHERE name = 'middle';
:note
-- renamed, another flag has its name: it is the same id that is required
UPDATE feature_flag SET staff_only = false WHERE name = 'middle';
UPDATE feature_flag SET name = 'basis' WHERE name = 'base';
UPDATE feature_flag SET name = 'base' WHERE name = 'side';
:note
-- names that change places
BEGIN;
UPDATE feature_flag SET name = 'side' WHERE name = 'base';
UPDATE feature_flag SET name = 'base' WHERE name = 'basis';
UPDATE feature_flag SET name = 'basis' WHERE name = 'side';
COMMIT;
SELECT fflag_rollout('base', 100);
:note
-- required no longer, deleted; its id is used again
SELECT fflag_unrelate('middle', 'base');
DELETE FROM feature_flag WHERE name = 'base';
:note
INSERT INTO feature_flag (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'another');
SELECT fflag_require('middle', 'another');
:note
-- its id changes
SELECT fflag_unrelate('middle', 'another');
UPDATE feature_flag SET id = 0, enabled = true, rollout_percentage = 100 WHERE name = 'another';
SELECT fflag_require('middle', 'another');
:note
-- another flag gets its id at once
WITH d AS (DELETE FROM feature_flag WHERE name = 'another' RETURNING id)
INSERT INTO feature_flag (id, name, enabled) OVERRIDING SYSTEM VALUE SELECT id, 'other', false FROM d;
:note
UPDATE feature_flag SET name = 'another', enabled = true, rollout_percentage = 100 WHERE name = 'other';
:note

-- variants: replaced, renamed, moved to another flag, put in one by one
SELECT fflag_variants('top', '{"red": 1, "green": 1000000000, "blue": 0.000001}');
:note
BEGIN;
UPDATE feature_flag_variant SET name = 'pink' WHERE name = 'red';
UPDATE feature_flag_variant SET name = 'red' WHERE name = 'blue';
UPDATE feature_flag_variant SET name = 'blue' WHERE name = 'pink';
COMMIT;
:note
UPDATE feature_flag_variant SET weight = 7, payload = '{"css": "#00f"}' WHERE name = 'blue';
:note
UPDATE feature_flag_variant SET flag_id = 0 WHERE name = 'blue';
INSERT INTO feature_flag_variant (flag_id, name) VALUES (0, 'white'), (0, 'base');
:note
DELETE FROM feature_flag_variant WHERE name = 'white';
UPDATE feature_flag_denied_user SET user_id = '5' WHERE user_id = '3';
:note

-- relations of each kind, to variants, with pins: set, changed by hand, taken away
SELECT fflag_group('testers', 1, 2), fflag_register('layer', true), fflag_variants('layer', '{"a": 1, "b": 1, "c": 1}');
SELECT fflag_register('test', true, 0), fflag_variants('test', '{"x": 1, "y": 1}'), fflag_include('test', 'testers', 'y');
:note
UPDATE feature_flag_relation SET pin = 'x' WHERE pin = 'y';
:note
UPDATE feature_flag_variant SET name = 'z' WHERE name = 'x' AND flag_id = (SELECT id FROM feature_flag WHERE name = 'test');
:note
DELETE FROM feature_flag_variant WHERE name = 'z';
:note
SELECT fflag_rollout('test', 100), fflag_require('test', 'layer', 'a', 'b');
:note
UPDATE feature_flag_variant SET name = 'd' WHERE name = 'a' AND flag_id = (SELECT id FROM feature_flag WHERE name = 'layer');
:note
UPDATE feature_flag_relation SET other_variant = 'c' WHERE other_variant = 'd';
:note
UPDATE feature_flag_relation SET kind = 'excludes' WHERE kind = 'requires' AND other_variant IS NOT NULL;
:note
UPDATE feature_flag_relation SET id = id + 1000;
:note
DELETE FROM feature_flag_relation WHERE other_variant = 'c';
:note
UPDATE feature_flag_relation AS r SET flag_id = other_id, other_id = flag_id, other_variant = NULL FROM feature_flag AS f WHERE f.id = flag_id AND f.name = 'test' AND kind = 'excludes';
:note
SELECT fflag_allow('testers', 3), fflag_disallow('testers', 1), fflag_rollout('test', 50);
:note
UPDATE feature_flag_relation AS r SET other_id = f.id FROM feature_flag AS f WHERE f.name = 'middle' AND r.kind = 'includes';
:note
SELECT fflag_unrelate('layer', 'test');
DELETE FROM feature_flag WHERE name IN ('layer', 'testers');
:note

-- savepoints, a failed statement, what is rolled back
BEGIN;
SELECT fflag_variants('top', '{"never": 1}'), fflag_deny('top', 1);
SAVEPOINT s;
SELECT fflag_variants('top', NULL), fflag_deny('top', 2), fflag_unrelate('top', 'middle');
ROLLBACK TO s;
SELECT fflag_variants('top', '{"black": 1, "white": 1}');
COMMIT;
:note
BEGIN;
SELECT fflag_variants('top', NULL), fflag_undeny('top', 1), fflag_require('top', 'another');
ROLLBACK;
:note
-- a transaction that was open for long
BEGIN;
SELECT fflag_variants('top', NULL), fflag_undeny('top', 1);
INSERT INTO answer SELECT clock_timestamp(), name, user_id, is_staff, e FROM answer WHERE at = (SELECT max(at) FROM answer);
COMMIT;
:note

-- the flag itself is renamed: variants are divided by another hash
UPDATE feature_flag SET name = 'roof' WHERE name = 'top';
SELECT fflag_variants('roof', '{"a": 1, "b": 1, "c": 1}'), fflag_deny('roof', 4);
:note
UPDATE feature_flag SET name = 'top' WHERE name = 'roof';
SELECT fflag_undeny('top', 4);
:note

-- all tables, in each way
SELECT fflag_require('test', 'top');
:note
TRUNCATE feature_flag_relation;
:note
SELECT fflag_variants('top', '{"on": 1, "off": 9}'), fflag_variants('middle', '{"x": 1}'), fflag_deny('middle', 1), fflag_deny('top', 2);
:note
TRUNCATE feature_flag_variant, feature_flag_relation;
:note
TRUNCATE feature_flag_denied_user;
:note
SELECT fflag_variants('top', '{"on": 1, "off": 9}'), fflag_deny('middle', 1), fflag_deny('top', 2);
-- a cascade, of flags that require one another, all at once
DELETE FROM feature_flag;
:note
SELECT fflag_register('base', true), fflag_register('top', true), fflag_require('top', 'base'), fflag_deny('base', 2), fflag_variants('top', '{"last": 1}');
:note
TRUNCATE feature_flag CASCADE;
:note

SELECT count(*), count(DISTINCT substring(e, '\w+,(\w+)')) AS rules, count(DISTINCT substring(e, '(\w+),\w*\)$')) AS variants FROM answer;
TABLE wrong;
-- no matter which type asks
SELECT count(*) FROM answer WHERE fflag_explain_at(at, name, user_id::bigint, is_staff)::text IS DISTINCT FROM e;
SELECT e.rule, e.variant FROM answer, fflag_explain_at(at, name, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid) AS e WHERE answer.e ~ 'blue' LIMIT 1;
SELECT * FROM line WHERE what !~ 'flag (created|updated)';
SELECT what, flag, user_id, users FROM fflag_history('base', true) WHERE what ~ 'denied' LIMIT 6;
-- a flag that has been renamed has its lines under the name of then
SELECT what, flag, user_id, coalesce(old_values, new_values) ->> 'name' AS name FROM fflag_history('roof');
-- users are not copied twice, variants are told whole
SELECT kind, count(*), count(old_row) AS old, count(new_row) AS new, count(name) AS names, count(user_id) AS users
	FROM feature_flag_history WHERE kind IN ('denied', 'variant', 'relation') GROUP BY kind ORDER BY kind;

-- one statement changes a relation twice, by the variant that it leads to and by the one that it pins
SELECT fflag_register('link in', true), fflag_variants('link in', '{"a": 1}'), fflag_register('link out', true, 0), fflag_variants('link out', '{"a": 1, "b": 1}'), fflag_include('link out', 'link in', 'a', 'a');
CREATE TABLE moment AS SELECT clock_timestamp() AS at;
UPDATE feature_flag_variant SET name = 'c' WHERE name = 'a';
SELECT a.variant AS then, b.variant AS now FROM moment, fflag_explain_at(at, 'link out', 1) AS a, fflag_explain_at(clock_timestamp(), 'link out', 1) AS b;
SELECT what, old_values, new_values FROM fflag_history('link out', true) WHERE what ~ 'relation';
DROP TABLE moment;
DELETE FROM feature_flag WHERE name IN ('link in', 'link out');

-- a long chain
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) OVERRIDING SYSTEM VALUE SELECT n, 'link ' || n, true, 100 FROM generate_series(1, 500) AS n;
INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT n, n - 1, 'requires' FROM generate_series(2, 500) AS n;
CREATE TABLE moment AS SELECT clock_timestamp() AS at;
SELECT fflag_disable('link 1');
SELECT a.rule AS then, b.rule AS now FROM moment, fflag_explain_at(at, 'link 500', 1) AS a, fflag_explain_at(clock_timestamp(), 'link 500', 1) AS b;
DELETE FROM feature_flag;

-- as a subscriber may have it: what is required is not there
SELECT fflag_register('base', true), fflag_register('top', true), fflag_require('top', 'base'), fflag_variants('top', '{"last": 1}');
SET session_replication_role = replica;
DELETE FROM feature_flag WHERE name = 'base';
RESET session_replication_role;
SELECT e, a FROM fflag_explain('top', 1) AS e, fflag_explain_at(clock_timestamp(), 'top', 1) AS a;

-- whoever takes it apart gets an error and no guess
SELECT fflag_register('alone', true), fflag_variants('alone', '{"one": 1}');
ALTER TABLE feature_flag_denied_user DISABLE TRIGGER fflag_record_delete;
SELECT fflag_explain_at(clock_timestamp(), 'alone', 1);
ALTER TABLE feature_flag_denied_user ENABLE TRIGGER fflag_record_delete;
ALTER TABLE feature_flag_variant DISABLE TRIGGER fflag_record_insert;
SELECT fflag_explain_at(clock_timestamp(), 'alone', 1);
ALTER TABLE feature_flag_variant ENABLE TRIGGER fflag_record_insert;
ALTER TABLE feature_flag_relation DISABLE TRIGGER fflag_record_update;
SELECT fflag_explain_at(clock_timestamp(), 'alone', 1);
ALTER TABLE feature_flag_relation ENABLE TRIGGER fflag_record_update;
ALTER TABLE feature_flag_denied_user DROP CONSTRAINT feature_flag_denied_user_pkey;
SELECT fflag_explain_at(clock_timestamp(), 'alone', 1);
CREATE UNIQUE INDEX ON feature_flag_denied_user (user_id, flag_id);
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_pkey CASCADE;
SELECT fflag_explain_at(clock_timestamp(), 'alone', 1);
CREATE UNIQUE INDEX ON feature_flag_variant (flag_id, name);
SELECT variant FROM fflag_explain_at(clock_timestamp(), 'alone', 1);
ALTER TABLE feature_flag_variant RENAME COLUMN weight TO share;
UPDATE feature_flag_variant SET share = 2;
ALTER TABLE feature_flag_variant RENAME COLUMN share TO weight;
DO $$ BEGIN PERFORM fflag_explain_at((SELECT max(at) FROM feature_flag_change) - interval '1 microsecond', 'alone', 1);
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, ' before .* may', ' before ... may'); END $$;

-- forget: exact from then on
SELECT fflag_prune_history(max(at)) > 0 FROM answer;
SELECT what, flag FROM fflag_history() WHERE what ~ 'denied|variant|relation' AND flag !~ 'link';
SELECT variant FROM fflag_explain_at(clock_timestamp(), 'alone', 1);

SET client_min_messages = warning;
DROP VIEW line, asked, wrong;
DROP EXTENSION fflag;
DROP TABLE answer, moment;
