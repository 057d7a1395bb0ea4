--
-- CREATE EXTENSION where a name is taken: says so, and where to go
--
\set SHOW_CONTEXT never
CREATE TABLE feature_flag (id int);
CREATE EXTENSION fflag;
SELECT count(*) FROM pg_extension WHERE extname = 'fflag';
ALTER TABLE feature_flag RENAME TO feature_flag_attachment;
CREATE EXTENSION fflag;
DROP TABLE feature_flag_attachment;
CREATE SEQUENCE feature_flag_id_seq;
CREATE EXTENSION fflag;
DROP SEQUENCE feature_flag_id_seq;
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
