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

-- the constraints stand where the triggers do not fire
SET session_replication_role = replica;
UPDATE feature_flag SET rollout_percentage = 10.0005 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 100.1 WHERE name = 'ten';
UPDATE feature_flag SET rollout_percentage = 'NaN' WHERE name = 'ten';
INSERT INTO feature_flag (name) VALUES ('');
UPDATE feature_flag SET updated_at = '2001-01-01' WHERE name = 'half';
RESET session_replication_role;
SELECT name, updated_at = '2001-01-01' AS replicated FROM feature_flag WHERE updated_at < '2002-01-01';

-- updated_at is kept by the database, whatever the statement says
UPDATE feature_flag SET updated_at = '2001-01-01' WHERE name = 'half';
UPDATE feature_flag SET description = 'changed' WHERE name = 'ten';
SELECT name, created_at < updated_at AS changed FROM feature_flag ORDER BY name;

-- allowlists
INSERT INTO feature_flag_user (flag_id, user_id) SELECT id, '42' FROM feature_flag;
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (4711, '42');
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (1, NULL);
INSERT INTO feature_flag_user (flag_id, user_id) VALUES (1, '42');
DELETE FROM feature_flag WHERE name = 'half';
SELECT count(*) FROM feature_flag_user;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT flag_id FROM feature_flag_user WHERE user_id = '42';
EXPLAIN (COSTS OFF) SELECT user_id FROM feature_flag_user WHERE flag_id = 1;
RESET enable_seqscan;
RESET enable_bitmapscan;

DROP EXTENSION fflag;
