--
-- fflag.unknown_flag: what happens when a name that no flag has is evaluated
--
CREATE EXTENSION fflag;
SELECT fflag_register('f');
SHOW fflag.unknown_flag;
SET fflag.unknown_flag = maybe;

-- default: nobody is told
SELECT fflag_enabled('nope', 7), fflag_enabled('nope', 7, default_value => true);

-- warning: the same answers; default_value does not matter
SET fflag.unknown_flag = warning;
SELECT fflag_enabled('nope', 7), fflag_enabled('f', 7);
SELECT fflag_enabled('nope', 7, default_value => true);
SELECT fflag_enabled('nope'), fflag_enabled('nope', md5('x')::uuid);
SELECT fflag_enabled('nope', ARRAY[7, 8]);
SELECT fflag_enabled_all('nope', ARRAY[7, 8], NULL);
SELECT fflag_select('nope', ARRAY[7, 8]);
SELECT fflag_enabled('nope', '{}'::bigint[]);

-- once for each name and statement, whether the name is a constant or in a column
SELECT count(*) FROM generate_series(1, 100000) AS n WHERE fflag_enabled('nope', n, default_value => true);
SELECT count(*) FROM generate_series(1, 3000) AS n WHERE fflag_enabled((ARRAY['nope', 'f', 'neither'])[n % 3 + 1], n);
DO $$ BEGIN FOR i IN 1..100 LOOP PERFORM fflag_enabled('nope', i); END LOOP; END $$;
-- of 20 names at most
\set VERBOSITY terse
SELECT count(fflag_enabled('name ' || n, 7)) FROM generate_series(1, 100000) AS n;
\set VERBOSITY default
-- a long name is cut
SELECT fflag_enabled(repeat('ü', 2000));

-- error
SET fflag.unknown_flag = error;
SELECT fflag_enabled('f', 7);
SELECT fflag_enabled('nope', 7, default_value => true);
SELECT fflag_enabled('nope', ARRAY[7, 8]);
SELECT fflag_enabled_all('nope', ARRAY[7, 8], NULL);
SELECT fflag_select('nope', ARRAY[7, 8]);
SELECT count(*) FROM unnest('{f,nope}'::text[]) AS name WHERE fflag_enabled(name, 7);
SELECT fflag_enabled(repeat('x', 2000));
DO $$ BEGIN PERFORM fflag_enabled('nope', 7); EXCEPTION WHEN undefined_object THEN RAISE NOTICE 'SQLSTATE %', SQLSTATE; END $$;

-- not a name: NULL, and what has no name to evaluate
SELECT fflag_enabled(NULL, 7), fflag_enabled(NULL, 7, default_value => true), fflag_enabled(NULL, ARRAY[7]);
SELECT fflag_enabled('nope', NULL::bigint[]), fflag_bucket('nope', 7);
SELECT * FROM fflag_flags(7);
-- explaining and planning raise nothing
SELECT * FROM fflag_explain('nope', 7, default_value => true);
EXPLAIN (COSTS OFF) SELECT FROM feature_flag WHERE fflag_enabled('nope', 7);
EXPLAIN (COSTS OFF) SELECT fflag_select('nope', ARRAY[7]);
PREPARE statement AS SELECT fflag_enabled('nope', 7);
EXECUTE statement;
-- what is overridden is not unknown
SET fflag.override = 'nope=on';
EXECUTE statement;
SELECT fflag_enabled('nope', 7), fflag_enabled('nope', ARRAY[7]);
RESET fflag.override;
EXECUTE statement;
-- once it is a flag, it is known; and no longer when it is not
SELECT fflag_register('nope');
EXECUTE statement;
BEGIN;
DELETE FROM feature_flag WHERE name = 'nope';
EXECUTE statement;
ROLLBACK;
EXECUTE statement;
DELETE FROM feature_flag WHERE name = 'nope';

-- A call that has answered before notices that the setting has changed: in an open
-- cursor, in PL/pgSQL, in the middle of a statement.
SET fflag.unknown_flag = default;
BEGIN;
DECLARE c CURSOR FOR SELECT fflag_enabled('nope', 7) FROM generate_series(1, 4);
FETCH c;
SET LOCAL fflag.unknown_flag = warning;
FETCH c;
FETCH c;
SET LOCAL fflag.unknown_flag = error;
FETCH c;
ROLLBACK;
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		RAISE NOTICE '%: %', i, fflag_enabled('nope', 7);
		IF i = 2 THEN SET LOCAL fflag.unknown_flag = error; END IF;
	END LOOP;
END $$;
SELECT fflag_enabled('nope', 7);
SELECT CASE WHEN n = 3 THEN set_config('fflag.unknown_flag', 'error', true) END, fflag_enabled('nope', 7) FROM generate_series(1, 3) AS n;

-- without the cache, too
SET fflag.cache = off;
SET fflag.unknown_flag = error;
SELECT fflag_enabled('nope', 7);
RESET fflag.cache;

-- attached tables have another hint
CREATE TABLE app_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE app_flag_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
SELECT fflag_attach('app_flag', 'app_flag_user');
SELECT fflag_enabled('f', 7);
SELECT fflag_detach();

-- Nobody makes others' hidden names show: a warning repeats names of rows that a
-- policy hides, so the setting takes a privilege.
CREATE ROLE regress_fflag_shop;
CREATE TABLE offer (flag text);
INSERT INTO offer VALUES ('f'), ('secret');
GRANT SELECT ON offer TO regress_fflag_shop;
ALTER TABLE offer ENABLE ROW LEVEL SECURITY;
CREATE POLICY offered ON offer USING (fflag_enabled(flag, 7));
RESET fflag.unknown_flag;
SET ROLE regress_fflag_shop;
SET fflag.unknown_flag = warning;
TABLE offer;
RESET ROLE;
GRANT SET ON PARAMETER fflag.unknown_flag TO regress_fflag_shop;
SET ROLE regress_fflag_shop;
SET fflag.unknown_flag = warning;
TABLE offer;
RESET ROLE;
RESET fflag.unknown_flag;

REVOKE SET ON PARAMETER fflag.unknown_flag FROM regress_fflag_shop;
DROP TABLE offer, app_flag, app_flag_user;
DROP ROLE regress_fflag_shop;
DROP EXTENSION fflag;
