--
-- The tables: what they refuse, and what they keep
--
CREATE EXTENSION fflag;
\set SHOW_CONTEXT never

INSERT INTO feature_flag (name) VALUES ('plain');
SELECT id, name, enabled, staff_only, rollout_percentage, description, created_at = updated_at AS new
FROM feature_flag;

-- percentages: three decimals, exactly as written
INSERT INTO feature_flag (name, rollout_percentage) VALUES ('ten', 10), ('fine', 0.001), ('full', 100), ('half', 50.5);
SELECT name, rollout_percentage FROM feature_flag ORDER BY name;
UPDATE feature_flag SET rollout_percentage = 10.0005 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 100.1 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = -0.1 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 'NaN' WHERE name = 'ten';
INSERT INTO feature_flag (name) VALUES ('');
\set VERBOSITY terse
UPDATE feature_flag SET rollout_percentage = NULL WHERE name = 'ten';
INSERT INTO feature_flag (name) VALUES (repeat('x', 151));
INSERT INTO feature_flag (name) VALUES (NULL);
INSERT INTO feature_flag (name) VALUES ('ten');

-- names that people cannot tell apart: white space at the ends, control
-- characters, and characters that nobody can see
\set VERBOSITY default
INSERT INTO feature_flag (name) VALUES (' ten');
INSERT INTO feature_flag (name) VALUES (E'ten\n');
INSERT INTO feature_flag (name) VALUES (E'ten\u00a0');
UPDATE feature_flag SET name = E't\u200Ben' WHERE name = 'ten';
INSERT INTO feature_flag (name) VALUES (E'te\x7fn');
INSERT INTO feature_flag (name) VALUES ('t e n'), (E'caf\u0065\u0301'), (E'\U0001F469\u200D\U0001F680'), (E'a\u3000b'), ('ten.') RETURNING name;
DELETE FROM feature_flag WHERE id > 5 RETURNING fflag_enabled(name || ' ', 1, default_value => true);
\set VERBOSITY terse

-- the constraints stand where the triggers do not fire
SET session_replication_role = replica;
UPDATE feature_flag SET rollout_percentage = 10.0005 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 100.1 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 'NaN' WHERE name = 'ten';
INSERT INTO feature_flag (name) VALUES ('');
INSERT INTO feature_flag (name) VALUES (' ten');
INSERT INTO feature_flag (name) VALUES (E'ten\n');
INSERT INTO feature_flag (name) VALUES (E't\ten');
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (1, repeat('x', 2049));
UPDATE feature_flag SET updated_at = '2001-01-01' WHERE name = 'half';
RESET session_replication_role;
SELECT name, updated_at = '2001-01-01' AS replicated FROM feature_flag WHERE updated_at < '2002-01-01';

-- updated_at is kept by the database, whatever the statement says
UPDATE feature_flag SET updated_at = '2001-01-01' WHERE name = 'half';
UPDATE feature_flag SET description = 'changed' WHERE name = 'ten';
SELECT name, created_at < updated_at AS changed FROM feature_flag ORDER BY name;

-- metadata is an object, for people and their tools
UPDATE feature_flag SET metadata = '{"owner": "team search", "tags": ["q3"]}' WHERE name = 'ten' RETURNING metadata ->> 'owner';
UPDATE feature_flag SET metadata = '[]' WHERE name = 'ten';
UPDATE feature_flag SET metadata = NULL WHERE name = 'ten';

-- allowlists
INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, '42' FROM feature_flag;
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (4711, '42');
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (1, NULL);
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (1, '42');
\set VERBOSITY default
-- a user id that would not fit into the index, compressible or not
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (2, repeat('x', 2049));
INSERT INTO feature_flag_user (flag_id, user_id) SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 100) AS n;
UPDATE feature_flag_user SET user_id = repeat('ü', 1025) WHERE flag_id = 2;
SELECT fflag_enabled('ten', repeat('x', 2049)), fflag_enabled('ten', repeat('x', 1000000)), fflag_bucket('ten', repeat('x', 2049)) < 10000;
\set VERBOSITY terse
-- the longest that there can be, of which nothing can be compressed
INSERT INTO feature_flag_user (flag_id, user_id)
SELECT 1, left(string_agg(translate(encode(sha512(n::text::bytea), 'base64'), E'\n', ''), ''), 2048) FROM generate_series(1, 40) AS n
RETURNING octet_length(user_id), fflag_enabled('plain', user_id);
UPDATE feature_flag SET enabled = true, rollout_percentage = 0.001 WHERE name = 'plain';
SELECT fflag_enabled('plain', user_id), fflag_enabled('plain', user_id || 'x') FROM feature_flag_user WHERE octet_length(user_id) = 2048;
DELETE FROM feature_flag_user WHERE octet_length(user_id) = 2048;
DELETE FROM feature_flag WHERE name = 'half';
SELECT count(*) FROM feature_flag_user;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT flag_id FROM feature_flag_user WHERE user_id = '42';
EXPLAIN (COSTS OFF) SELECT user_id FROM feature_flag_user WHERE flag_id = 1;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- tables that are attached may have other names and longer ids
CREATE TABLE app_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE app_flag_user (featureflag_id int NOT NULL, user_id text NOT NULL);
CREATE INDEX ON app_flag_user (featureflag_id);
SELECT fflag_attach('app_flag', 'app_flag_user');
INSERT INTO app_flag VALUES (1, E' f\t', true, false, 0);
INSERT INTO app_flag_user SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 100) AS n;
SELECT fflag_enabled(E' f\t', user_id), fflag_enabled('f', user_id) FROM app_flag_user;
SELECT fflag_detach();
DROP TABLE app_flag, app_flag_user;

DROP EXTENSION fflag;
