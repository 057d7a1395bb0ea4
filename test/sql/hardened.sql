--
-- Row-level security on all tables, as scripts do that harden a database: answers stay what they
-- were; who may still change flags, export and prune is what docs/operations.md says
--
CREATE ROLE regress_fflag_owner;
CREATE ROLE regress_fflag_editor;
CREATE SCHEMA owned AUTHORIZATION regress_fflag_owner;
SELECT current_database() AS db \gset
GRANT CREATE ON DATABASE :"db" TO regress_fflag_owner;
SET ROLE regress_fflag_owner;
CREATE EXTENSION fflag SCHEMA owned;
SET search_path = owned;
SELECT fflag_register('f', true), fflag_register('l', true, 0), fflag_allow('l', 42);
GRANT USAGE ON SCHEMA owned TO regress_fflag_editor;
GRANT ALL ON ALL TABLES IN SCHEMA owned TO regress_fflag_editor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA owned TO regress_fflag_editor;
CREATE PROCEDURE harden(what text) LANGUAGE plpgsql AS $$
DECLARE t regclass;
BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'owned'::regnamespace LOOP
		EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', t, what);
	END LOOP;
END $$;
-- what a role is told, a line a statement
CREATE FUNCTION tell(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(nullif(result, ''), 'done');
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
CREATE VIEW told AS SELECT number, query, tell(query) FROM unnest(ARRAY[
	$$SELECT (fflag_enabled('f', 42), fflag_enabled('l', 42), fflag_enabled('l', 43))$$,
	$$SELECT rule FROM fflag_explain('l', 42)$$,
	$$SELECT count(*) FROM fflag_flags(42)$$,
	$$SELECT caching FROM fflag_cache()$$,
	$$SELECT what FROM fflag_history('l') OFFSET 1$$,
	$$SELECT rule FROM fflag_explain_at(now(), 'l', 42)$$,
	$$SELECT count(*) FROM feature_flag$$,
	$$SELECT fflag_disable('f')$$,
	$$SELECT fflag_enable('f')$$,
	$$SELECT fflag_register('f')$$,
	$$SELECT fflag_register('new')$$,
	$$SELECT fflag_allow('l', 43)$$,
	$$UPDATE feature_flag SET enabled = true RETURNING 'written'$$,
	$$SELECT fflag_export() IS NOT NULL$$,
	$$SELECT count(*) FROM fflag_import('{"fflag": 1, "flags": []}', dry_run => true)$$,
	$$SELECT count(*) FROM fflag_stale()$$,
	$$SELECT fflag_prune_history('-infinity')$$
]) WITH ORDINALITY AS q (query, number);
GRANT SELECT ON told TO regress_fflag_editor;
ALTER VIEW told SET (security_invoker = true);
\a\t

-- enabled: the owner notices nothing, others see no rows
CALL harden('ENABLE');
BEGIN;
SELECT query, tell FROM told ORDER BY number;
ROLLBACK;
SET ROLE regress_fflag_editor;
BEGIN;
SELECT query, tell FROM told ORDER BY number;
ROLLBACK;

-- forced: the owner sees none either
SET ROLE regress_fflag_owner;
CALL harden('FORCE');
BEGIN;
SELECT query, tell FROM told ORDER BY number;
ROLLBACK;
SET ROLE regress_fflag_editor;
SELECT tell('SELECT (fflag_enabled(''f'', 42), fflag_enabled(''l'', 42), fflag_enabled(''l'', 43))');

-- policies on the five tables: flags can be changed, and the change is recorded
SET ROLE regress_fflag_owner;
CREATE POLICY editors ON feature_flag USING (true);
CREATE POLICY editors ON feature_flag_user USING (true);
CREATE POLICY editors ON feature_flag_denied_user USING (true);
CREATE POLICY editors ON feature_flag_variant USING (true);
CREATE POLICY editors ON feature_flag_relation USING (true);
SET ROLE regress_fflag_editor;
BEGIN;
SELECT query, tell FROM told ORDER BY number;
COMMIT;
SELECT what, flag, at IS NOT NULL FROM fflag_history() LIMIT 3;
-- ... a flag and its list are deleted
DELETE FROM feature_flag WHERE name = 'l';
SELECT count(*) FROM feature_flag_user;

-- attached tables are read by the extension's owner, to whom row-level security applies now
SET ROLE regress_fflag_owner;
CREATE TABLE f (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled bool NOT NULL, staff_only bool NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE fu (featureflag_id int NOT NULL, user_id int NOT NULL, UNIQUE (featureflag_id, user_id));
INSERT INTO f VALUES (1, 'f', true, false, 100);
SELECT fflag_attach('f', 'fu');
ALTER TABLE f ENABLE ROW LEVEL SECURITY;
SELECT tell('SELECT fflag_enabled(''f'')');
ALTER TABLE f FORCE ROW LEVEL SECURITY;
SELECT tell('SELECT fflag_enabled(''f'')');
ALTER TABLE f NO FORCE ROW LEVEL SECURITY;
SELECT fflag_detach();

-- a superuser, and a role with BYPASSRLS, are told of nothing
RESET ROLE;
CREATE ROLE regress_fflag_bypass BYPASSRLS IN ROLE regress_fflag_editor;
SET ROLE regress_fflag_bypass;
SELECT tell('SELECT fflag_export() IS NOT NULL'), tell('SELECT count(*) FROM fflag_stale()'), tell('SELECT fflag_prune_history(''-infinity'')');
RESET ROLE;
SELECT tell('SELECT fflag_disable(''f'')'), tell('SELECT fflag_export() IS NOT NULL'), tell('SELECT fflag_prune_history(''-infinity'')');

-- back
SET ROLE regress_fflag_owner;
CALL harden('NO FORCE');
SELECT tell('SELECT fflag_enable(''f'')'), tell('SELECT fflag_export() IS NOT NULL'), tell('SELECT fflag_prune_history(''-infinity'')');
RESET ROLE;
DROP VIEW told;
DROP EXTENSION fflag;
DROP SCHEMA owned CASCADE;
REVOKE ALL ON DATABASE :"db" FROM regress_fflag_owner;
DROP ROLE regress_fflag_owner, regress_fflag_editor, regress_fflag_bypass;
