--
-- fflag_rename: nobody moves; what it refuses; what goes by the name all the same
--
CREATE EXTENSION fflag;
SELECT fflag_register('checkout', true, 50), fflag_variants('checkout', '{"red": 1, "green": 2, "blue": 1}');

CREATE FUNCTION answers(name text) RETURNS TABLE (n bigint, enabled boolean, bucket int, variant text) LANGUAGE sql AS $$
	SELECT n, e.enabled, e.bucket, e.variant FROM generate_series(1, 2000) AS n, fflag_explain(answers.name, n) AS e $$;
CREATE TABLE before AS SELECT * FROM answers('checkout');

SELECT fflag_rename('checkout', 'new_checkout');
SELECT name, seed FROM feature_flag;
SELECT count(*) AS moved FROM before AS b JOIN answers('new_checkout') AS a USING (n) WHERE a IS DISTINCT FROM b;
SELECT fflag_enabled('checkout', 1, default_value => true) AS old_name, fflag_enabled('new_checkout', 1) AS new_name;
-- renamed once more; back to the first name, of which the seed is a repetition
SELECT fflag_rename('new_checkout', 'ätsch');
SELECT name, seed FROM feature_flag;
SELECT fflag_rename('ätsch', 'ätsch');
SELECT name, seed FROM feature_flag;
SELECT fflag_rename('ätsch', 'checkout');
SELECT name, seed FROM feature_flag;
SELECT count(*) AS moved FROM before AS b JOIN answers('checkout') AS a USING (n) WHERE a IS DISTINCT FROM b;


-- a flag that is required keeps its users as well, and so does who requires it
SELECT fflag_register('page', true, 20), fflag_register('apart', true, 20), fflag_require('apart', 'page');
CREATE TABLE required AS SELECT * FROM answers('apart');
SELECT fflag_rename('page', 'side'), fflag_rename('apart', 'far');
SELECT count(*) FILTER (WHERE r.enabled) > 0 AS some, count(*) FILTER (WHERE a IS DISTINCT FROM r) AS moved FROM required AS r JOIN answers('far') AS a USING (n);
DROP TABLE before, required;
DELETE FROM feature_flag WHERE name IN ('far', 'side');

-- what is refused
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT fflag_register('taken');
\pset format unaligned
\pset tuples_only on
SELECT command || E'\n  ' || try(command) FROM (VALUES
	($$SELECT fflag_rename('no such flag', 'x')$$),
	($$SELECT fflag_rename('checkout', 'taken')$$),
	($$SELECT fflag_rename(NULL, 'x')$$),
	($$SELECT fflag_rename('checkout', NULL)$$),
	($$SELECT fflag_rename('checkout', '')$$),
	($$SELECT fflag_rename('checkout', ' x')$$),
	($$SELECT fflag_rename('checkout', repeat('x', 151))$$)) AS c (command);
-- somebody else's constraint is somebody else's error
ALTER TABLE feature_flag ADD UNIQUE (seed);
UPDATE feature_flag SET seed = 'checkout' WHERE name = 'taken';
UPDATE feature_flag SET seed = NULL WHERE name = 'checkout';
SELECT try($$SELECT fflag_rename('checkout', 'x')$$);
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_seed_key;
\pset format aligned
\pset tuples_only off
SELECT name, seed FROM feature_flag ORDER BY name;
CREATE TABLE their_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE their_user (flag_id int NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
INSERT INTO their_flag VALUES (1, 'checkout', true, false, 50);
SELECT fflag_attach('their_flag', 'their_user', flag_id => 'flag_id');
SELECT fflag_rename('checkout', 'x');
SELECT fflag_detach();
DROP TABLE their_flag, their_user;
DROP EXTENSION fflag;

-- Whoever renames needs UPDATE on the columns name and seed, and to read them.
CREATE EXTENSION fflag;
SELECT fflag_register('f', true, 50);
CREATE ROLE regress_fflag_renamer;
GRANT EXECUTE ON FUNCTION fflag_rename TO regress_fflag_renamer;
SET ROLE regress_fflag_renamer;
SELECT fflag_rename('f', 'g');
RESET ROLE;
GRANT SELECT (id, name, seed), UPDATE (name, seed) ON feature_flag TO regress_fflag_renamer;
SET ROLE regress_fflag_renamer;
SELECT fflag_rename('f', 'g');
RESET ROLE;
SELECT name, seed FROM feature_flag;
DROP OWNED BY regress_fflag_renamer;
DROP ROLE regress_fflag_renamer;

-- An override goes by name, and so do counts.
SET fflag.override = 'g=off';
SELECT rule FROM fflag_explain('g', 1);
SELECT fflag_rename('g', 'h');
SELECT rule FROM fflag_explain('h', 1);
RESET fflag.override;
SELECT fflag_usage_reset();
SELECT fflag_enabled('h', 1) IS NULL;
SELECT fflag_rename('h', 'f');
SELECT fflag_enabled('f', 1) IS NULL;
SELECT name, known, evaluations FROM fflag_usage();
DROP EXTENSION fflag;

-- The history follows a flag over its names: so do moments.
CREATE EXTENSION fflag;
CREATE TABLE moment (n int PRIMARY KEY, at timestamptz);
CREATE FUNCTION at(n int, name text, user_id bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
	SELECT rule || coalesce(' of ' || rollout_percentage, '') FROM moment, fflag_explain_at(at, at.name, at.user_id) WHERE moment.n = at.n $$;
INSERT INTO moment VALUES (0, clock_timestamp());
SELECT fflag_register('a', true, 10), fflag_register('b', true, 20);
INSERT INTO moment VALUES (1, clock_timestamp());
SELECT fflag_allow('a', 1), fflag_deny('b', 1), fflag_rename('a', 'c');
INSERT INTO moment VALUES (2, clock_timestamp());
-- the name is another flag's
SELECT fflag_register('a', true, 30), fflag_rollout('c', 11);
INSERT INTO moment VALUES (3, clock_timestamp());
-- two change places
BEGIN;
SELECT fflag_rename('b', 'tmp');
SELECT fflag_rename('c', 'b');
SELECT fflag_rename('tmp', 'c');
COMMIT;
INSERT INTO moment VALUES (4, clock_timestamp());
SELECT fflag_rename('b', 'last'), fflag_disallow('last', 1);
INSERT INTO moment VALUES (5, clock_timestamp());
SELECT name, seed, rollout_percentage FROM feature_flag ORDER BY id;
-- A name is that of the flag that had it; one that no flag had is that of the flag that has it today.
SELECT n, at(n, 'a') AS a, at(n, 'b') AS b, at(n, 'c') AS c, at(n, 'tmp') AS tmp, at(n, 'last') AS last FROM moment ORDER BY n;
SELECT what, flag, users, old_values ->> 'name' AS old, new_values ->> 'name' AS new, new_values ->> 'seed' AS seed FROM fflag_history('last');
SELECT what, flag, users, old_values ->> 'name' AS old, new_values ->> 'name' AS new, new_values ->> 'seed' AS seed FROM fflag_history('c');
SELECT what, flag, users, old_values ->> 'name' AS old, new_values ->> 'name' AS new, new_values ->> 'seed' AS seed FROM fflag_history('a');
SELECT what, flag FROM fflag_history('tmp');
-- what is not committed yet
BEGIN;
SELECT fflag_rename('last', 'latest');
SELECT n, at(n, 'last') AS last, at(n, 'latest') AS latest FROM moment ORDER BY n;
SELECT count(*) FROM fflag_history('latest');
ROLLBACK;
-- another flag with the id of a deleted one is another flag; its name may have been the other's
DELETE FROM feature_flag WHERE name = 'last';
SELECT n, at(n, 'last') AS last, at(n, 'b') AS b FROM moment ORDER BY n;
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) VALUES (1, 'last', true, 40);
INSERT INTO moment VALUES (6, clock_timestamp());
SELECT n, at(n, 'last') AS last FROM moment ORDER BY n;
SELECT fflag_rename('last', 'end');
SELECT n, at(n, 'last') AS last, at(n, 'end') AS "end" FROM moment ORDER BY n;
-- what is asked for is listed, and so is a deleted flag, from its beginning
SELECT what, flag FROM fflag_history('end');
SELECT what, flag FROM fflag_history('last');
-- in one statement: deleted and created with the same id, or another name and another id
WITH d AS (DELETE FROM feature_flag WHERE name = 'end' RETURNING id) INSERT INTO feature_flag (id, name) SELECT id, 'e' FROM d;
SELECT n, at(n, 'e') AS e FROM moment ORDER BY n;
UPDATE feature_flag SET name = 'g', id = 100 WHERE name = 'a';
SELECT n, at(n, 'g') AS g FROM moment ORDER BY n;
-- one name after the other, the id in between; the seed is that of then
SELECT fflag_rename('g', 'x');
INSERT INTO moment VALUES (7, clock_timestamp());
UPDATE feature_flag SET seed = 'between' WHERE name = 'x';
SELECT e.bucket = fflag_bucket('g', 1) AS seed_of_then, now.bucket = fflag_bucket('between', 1) AS seed_of_now
FROM moment, fflag_explain_at(at, 'x', 1) AS e, fflag_explain('x', 1) AS now WHERE n = 7;
UPDATE feature_flag SET id = 101 WHERE name = 'x';
SELECT fflag_rename('x', 'y');
UPDATE feature_flag SET seed = 'other' WHERE name = 'y';
SELECT n, at(n, 'x') AS x, at(n, 'y') AS y, e.bucket = fflag_bucket('g', 1) AS seed_of_then
FROM moment, fflag_explain_at(at, 'y', 1) AS e WHERE n = 7;
SELECT bucket = fflag_bucket('other', 1) FROM fflag_explain('y', 1);
-- attached tables are renamed by whom they belong to
CREATE TABLE their_flag (id text PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE their_user (flag_id text NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
INSERT INTO their_flag VALUES ('one', 'theirs', true, false, 50);
SELECT fflag_attach('their_flag', 'their_user', flag_id => 'flag_id');
INSERT INTO moment VALUES (8, clock_timestamp());
UPDATE their_flag SET name = 'still theirs', rollout_percentage = 60;
INSERT INTO their_user VALUES ('one', '1');
SELECT at(8, 'theirs'), at(8, 'still theirs'), at(8, 'y'), at(7, 'still theirs'), at(7, 'y');
SELECT what, flag FROM fflag_history('still theirs');
SELECT fflag_detach();
-- no table that is read has the name today
SELECT at(8, 'theirs'), at(8, 'still theirs');
DROP TABLE their_flag, their_user;
DROP EXTENSION fflag;
DROP FUNCTION answers, try, at;
DROP TABLE moment;
