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
DROP FUNCTION answers, try;
