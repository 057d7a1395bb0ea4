--
-- CREATE EXTENSION where a name is taken: says so, and where to go
--
\set SHOW_CONTEXT never
CREATE TABLE feature_flag (id int);
CREATE EXTENSION fflag;
SELECT count(*) FROM pg_extension WHERE extname = 'fflag';
DROP TABLE feature_flag;

-- any name of its tables and sequences
CREATE EXTENSION fflag;
CREATE TEMP TABLE relation AS SELECT relname FROM pg_depend JOIN pg_class c ON classid = c.tableoid AND objid = c.oid
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND c.relname ~ '^feature_flag';
DROP EXTENSION fflag;
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM relation ORDER BY relname
	LOOP
		EXECUTE format('CREATE TABLE %I (id int)', r.relname);
		BEGIN
			CREATE EXTENSION fflag;
			RAISE 'created in spite of %', r.relname;
		EXCEPTION WHEN duplicate_table THEN
			RAISE NOTICE '%', SQLERRM;
		END;
		EXECUTE format('DROP TABLE %I', r.relname);
	END LOOP;
END $$;
CREATE TABLE feature_flag (id int);

-- the way that the hint shows: tables in other schemas do not matter
CREATE SCHEMA flags;
CREATE EXTENSION fflag SCHEMA flags;
SELECT flags.fflag_register('f', true), flags.fflag_enabled('f');
DROP EXTENSION fflag;
DROP SCHEMA flags;
DROP TABLE feature_flag;

-- a temporary table is in nobody's way
CREATE TEMP TABLE feature_flag (id int);
CREATE EXTENSION fflag;
SELECT fflag_register('f', true), fflag_enabled('f');
DROP TABLE pg_temp.feature_flag;
DROP EXTENSION fflag;
