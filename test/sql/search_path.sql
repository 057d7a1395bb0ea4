--
-- Nothing depends on the search_path: a schema in front of everything, full of
-- objects with the names that the extension uses, changes nothing
--
CREATE SCHEMA "Flags, mine";
CREATE EXTENSION fflag SCHEMA "Flags, mine";
SELECT "Flags, mine".fflag_register('f', true, 50);

CREATE SCHEMA hostile;
CREATE FUNCTION hostile.alarm() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE TABLE hostile.feature_flag (LIKE "Flags, mine".feature_flag INCLUDING DEFAULTS);
INSERT INTO hostile.feature_flag (id, name, enabled, rollout_percentage) VALUES (1, 'f', true, 100);
CREATE TABLE hostile.feature_flag_user (flag_id bigint, user_id text, created_at timestamptz, PRIMARY KEY (flag_id, user_id));
INSERT INTO hostile.feature_flag_user VALUES (1, '1');
CREATE TABLE hostile.feature_flag_relation (LIKE "Flags, mine".feature_flag_relation INCLUDING DEFAULTS);
CREATE FUNCTION hostile.eq(a varchar, b text) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.alarm(); SELECT true';
CREATE FUNCTION hostile.eq(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.alarm(); SELECT true';
CREATE FUNCTION hostile.eq(a bigint, b bigint) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.alarm(); SELECT true';
CREATE FUNCTION hostile.eq(a numeric, b numeric) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.alarm(); SELECT true';
CREATE OPERATOR hostile.= (FUNCTION = hostile.eq, LEFTARG = varchar, RIGHTARG = text);
CREATE OPERATOR hostile.= (FUNCTION = hostile.eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.= (FUNCTION = hostile.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR hostile.<> (FUNCTION = hostile.eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.<> (FUNCTION = hostile.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR hostile.<= (FUNCTION = hostile.eq, LEFTARG = numeric, RIGHTARG = numeric);
CREATE OPERATOR hostile.>= (FUNCTION = hostile.eq, LEFTARG = numeric, RIGHTARG = numeric);
CREATE FUNCTION hostile.unnest(a text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT hostile.alarm()::text $$;
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT hostile.alarm(); SELECT NULL::timestamptz $$;
CREATE FUNCTION hostile.min_scale(n numeric) RETURNS int LANGUAGE sql AS $$ SELECT hostile.alarm(); SELECT 0 $$;
CREATE DOMAIN hostile.text AS int;
CREATE DOMAIN hostile.uuid AS int;
CREATE DOMAIN hostile.varchar AS int;

SET search_path = hostile, pg_catalog, pg_temp;
SELECT "Flags, mine".fflag_rollout('f', 0), "Flags, mine".fflag_disable('f'), "Flags, mine".fflag_enable('f');
SELECT "Flags, mine".fflag_enabled('f', 1), "Flags, mine".fflag_enabled('f', '1'), "Flags, mine".fflag_bucket('f', 1);
SELECT "Flags, mine".fflag_allow('f', 2, 3), "Flags, mine".fflag_allow('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid);
SELECT "Flags, mine".fflag_disallow('f', '3');
SELECT * FROM "Flags, mine".fflag_explain('f', 2);
SELECT * FROM "Flags, mine".fflag_register('{f,g}'::pg_catalog.text[]);
SELECT * FROM "Flags, mine".fflag_flags(1);
SELECT "Flags, mine".fflag_variants('f', '{"v": 1, "w": 1}'), "Flags, mine".fflag_group('group', 4, 5), "Flags, mine".fflag_require('g', 'f', 'v', 'w');
SELECT "Flags, mine".fflag_require('f', 'g');
SELECT "Flags, mine".fflag_include('f', 'group', 'w'), "Flags, mine".fflag_enabled('f', 5), "Flags, mine".fflag_variant('f', 4), "Flags, mine".fflag_unrelate('g', 'f');
DELETE FROM "Flags, mine".feature_flag WHERE name OPERATOR(pg_catalog.=) 'group';
DELETE FROM "Flags, mine".feature_flag_variant WHERE name OPERATOR(pg_catalog.=) 'w';
SELECT "Flags, mine".fflag_explain_at(pg_catalog.now(), 'f', 4);
UPDATE "Flags, mine".feature_flag SET rollout_percentage = 101;
INSERT INTO "Flags, mine".feature_flag (name) VALUES ('h');
DELETE FROM "Flags, mine".feature_flag WHERE name OPERATOR(pg_catalog.=) 'h';
SET search_path = '';
SELECT "Flags, mine".fflag_enabled('f', 1), "Flags, mine".fflag_enabled('f', 2), "Flags, mine".fflag_enabled('f', 3);
SET fflag.cache = off;
SELECT "Flags, mine".fflag_enabled('f', 1), "Flags, mine".fflag_enabled('f', 2), "Flags, mine".fflag_enabled('f', 3);
RESET fflag.cache;
RESET search_path;

-- renaming the schema takes everything along, in live sessions as well
ALTER SCHEMA "Flags, mine" RENAME TO flags;
SELECT flags.fflag_enabled('f', 1), flags.fflag_enabled('f', 2), flags.fflag_allow('f', 1), flags.fflag_enable('g');
SELECT flags.fflag_enabled('f', 1);
ALTER EXTENSION fflag SET SCHEMA public;
DROP EXTENSION fflag;

-- creating the extension where somebody has planted objects
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE EXTENSION fflag SCHEMA hostile;
DROP TABLE hostile.feature_flag, hostile.feature_flag_user, hostile.feature_flag_relation;
CREATE EXTENSION fflag SCHEMA hostile;
SELECT hostile.fflag_register('f', true, 10), hostile.fflag_allow('f', 2);
SELECT hostile.fflag_enabled('f', 1), hostile.fflag_enabled('f', 2);
INSERT INTO hostile.feature_flag (name, rollout_percentage) VALUES ('g', 101);
INSERT INTO hostile.feature_flag (name, rollout_percentage) VALUES ('g', 11);
DROP EXTENSION fflag;
DROP SCHEMA flags, hostile CASCADE;
