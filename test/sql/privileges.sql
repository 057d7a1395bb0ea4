--
-- Who may do what: everybody evaluates, nobody but the owner sees or changes
-- flags until granted, and the grants of docs/operations.md do what it says
--
CREATE EXTENSION fflag;
SELECT fflag_register('f', true, 50), fflag_allow('f', 7);
CREATE ROLE regress_fflag_nobody;
CREATE ROLE regress_fflag_app;
CREATE ROLE regress_fflag_admin;

-- an application role that shows all flags of a user and why
GRANT EXECUTE ON FUNCTION fflag_flags(bigint, boolean), fflag_explain(text, bigint, boolean, boolean)
	TO regress_fflag_app;

-- a flag administrator
GRANT SELECT, INSERT, UPDATE, DELETE ON feature_flag, feature_flag_user TO regress_fflag_admin;
GRANT USAGE, SELECT ON SEQUENCE feature_flag_id_seq TO regress_fflag_admin;
GRANT EXECUTE ON FUNCTION
	fflag_register(text, boolean, numeric, boolean, text),
	fflag_register(text[], boolean, numeric, boolean, text),
	fflag_enable(text), fflag_disable(text), fflag_rollout(text, numeric),
	fflag_ramp(text, numeric, interval, timestamptz), fflag_schedule(text, timestamptz, timestamptz),
	fflag_allow(text, bigint[]), fflag_allow(text, uuid[]), fflag_allow(text, text[]),
	fflag_disallow(text, bigint[]), fflag_disallow(text, uuid[]), fflag_disallow(text, text[]),
	fflag_cache()
	TO regress_fflag_admin;

-- who may execute what
SELECT p.oid::regprocedure AS function,
	has_function_privilege('regress_fflag_nobody', p.oid, 'EXECUTE') AS nobody,
	has_function_privilege('regress_fflag_app', p.oid, 'EXECUTE') AS app,
	has_function_privilege('regress_fflag_admin', p.oid, 'EXECUTE') AS admin
FROM pg_proc AS p WHERE proname LIKE 'fflag%' ORDER BY p.oid::regprocedure::text COLLATE "C";

SET ROLE regress_fflag_nobody;
SELECT fflag_enabled('f', 7), fflag_bucket('f', 7);
SELECT fflag_explain('f', 7);
SELECT fflag_flags(7);
SELECT fflag_cache();
SELECT fflag_enable('f');
SELECT fflag_allow('f', 8);
SELECT fflag_register('g');
TABLE feature_flag_user;
UPDATE feature_flag SET enabled = false;
-- nor by way of the triggers' functions
CREATE TEMP TABLE mine (name text);
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION fflag_invalidate();
DROP TABLE mine;
RESET ROLE;

SET ROLE regress_fflag_app;
SELECT * FROM fflag_flags(7);
SELECT rule FROM fflag_explain('f', 7);
SELECT fflag_enable('f');
RESET ROLE;

-- privileges on the functions are not enough
GRANT EXECUTE ON FUNCTION fflag_enable(text), fflag_allow(text, bigint[]), fflag_register(text, boolean, numeric, boolean, text)
	TO regress_fflag_app;
SET ROLE regress_fflag_app;
SELECT fflag_enable('f');
SELECT fflag_allow('f', 8);
SELECT fflag_register('g');
RESET ROLE;

SET ROLE regress_fflag_admin;
SELECT fflag_register('g'), fflag_enable('g'), fflag_ramp('g', 10, '1 day'), fflag_rollout('g', 10), fflag_schedule('g', NULL, NULL), fflag_allow('g', 1), fflag_disallow('g', 1), fflag_disable('g');
DELETE FROM feature_flag WHERE name = 'g';
RESET ROLE;

-- row-level security on the tables does not change the answers
ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
ALTER TABLE feature_flag FORCE ROW LEVEL SECURITY;
SET ROLE regress_fflag_admin;
SELECT count(*) FROM feature_flag;
SELECT fflag_enabled('f', 7);
RESET ROLE;

DROP EXTENSION fflag;
DROP ROLE regress_fflag_nobody, regress_fflag_app, regress_fflag_admin;

-- an ordinary owner of a database may create the extension (it is trusted),
-- gets the tables, and may grant
CREATE ROLE regress_fflag_owner;
CREATE ROLE regress_fflag_friend;
CREATE SCHEMA owned AUTHORIZATION regress_fflag_owner;
SELECT current_database() AS db \gset
GRANT CREATE ON DATABASE :"db" TO regress_fflag_owner;
SET ROLE regress_fflag_owner;
CREATE EXTENSION fflag SCHEMA owned;
SET search_path = owned;
SELECT fflag_register('f', true), fflag_enabled('f');
GRANT EXECUTE ON FUNCTION fflag_enable(text) TO regress_fflag_friend;
GRANT UPDATE, SELECT ON feature_flag TO regress_fflag_friend;
GRANT USAGE ON SCHEMA owned TO regress_fflag_friend;
SET ROLE regress_fflag_friend;
SELECT fflag_enable('f');
RESET ROLE;
SELECT c.relname, c.relowner::regrole FROM pg_class c WHERE c.relnamespace = 'owned'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1;
SET ROLE regress_fflag_owner;
DROP EXTENSION fflag;
RESET ROLE;
DROP SCHEMA owned;
REVOKE ALL ON DATABASE :"db" FROM regress_fflag_owner;
DROP ROLE regress_fflag_owner, regress_fflag_friend;
