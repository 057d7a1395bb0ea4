--
-- Flags in views, policies, triggers, prepared statements and PL/pgSQL: all
-- follow the tables at once
--
CREATE EXTENSION fflag;
SELECT fflag_register('beta', true, 0);
CREATE TABLE account (id bigint PRIMARY KEY, name text, is_staff boolean NOT NULL DEFAULT false);
INSERT INTO account SELECT n, 'account ' || n FROM generate_series(1, 5) AS n;

-- a view
CREATE VIEW beta_account AS SELECT id, name FROM account WHERE fflag_enabled('beta', id, is_staff);
TABLE beta_account;
SELECT fflag_allow('beta', 2, 3);
TABLE beta_account;

-- row-level security, for a role that has no privilege on the flag tables
CREATE ROLE regress_fflag_reader;
GRANT SELECT ON account TO regress_fflag_reader;
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
CREATE POLICY beta ON account FOR SELECT TO regress_fflag_reader USING (fflag_enabled('beta', id));
SET ROLE regress_fflag_reader;
SELECT id FROM account ORDER BY id;
RESET ROLE;
SELECT fflag_disallow('beta', 2);
SET ROLE regress_fflag_reader;
SELECT id FROM account ORDER BY id;
TABLE feature_flag;
RESET ROLE;
REVOKE ALL ON account FROM regress_fflag_reader;

-- a trigger
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF fflag_enabled('audit', NEW.id) THEN
		RAISE NOTICE 'account % changed', NEW.id;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER audit BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION audit();
UPDATE account SET name = 'x' WHERE id = 1;
SELECT fflag_register('audit', true);
UPDATE account SET name = 'x' WHERE id = 1;

-- prepared statements, with custom and generic plans
PREPARE custom(text, bigint) AS SELECT fflag_enabled($1, $2);
PREPARE constant AS SELECT fflag_enabled('beta', 4), fflag_enabled('beta', 4) FROM account WHERE id = 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE custom('beta', 4);
EXECUTE constant;
SELECT fflag_allow('beta', 4);
EXECUTE custom('beta', 4);
EXECUTE constant;
SELECT fflag_disable('beta');
SET plan_cache_mode = force_custom_plan;
EXECUTE custom('beta', 4);
EXECUTE constant;
RESET plan_cache_mode;

-- PL/pgSQL: simple expressions see the function's own changes, a STABLE
-- function keeps the snapshot of the statement that calls it
CREATE FUNCTION own_change() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
BEGIN
	FOR i IN 1..3 LOOP
		result := result || fflag_enabled('beta', 4) || ' ';
		IF fflag_enabled('beta', 4) THEN
			PERFORM fflag_disable('beta');
		ELSE
			UPDATE feature_flag SET enabled = true WHERE name = 'beta';
		END IF;
		result := result || fflag_enabled('beta', 4) || '; ';
	END LOOP;
	RETURN result;
END $$;
CREATE FUNCTION stable_answer() RETURNS boolean LANGUAGE plpgsql STABLE AS
	$$ BEGIN RETURN fflag_enabled('beta', 4); END $$;
SELECT own_change();
SELECT stable_answer() AS before, own_change() IS NOT NULL AS changed, stable_answer() AS after,
	fflag_enabled('beta', 4) AS direct;
SELECT stable_answer();

-- one expression, another flag at each turn
DO $$
DECLARE
	flag text;
BEGIN
	FOREACH flag IN ARRAY '{audit,beta,nope,audit}'::text[] LOOP
		RAISE NOTICE '%: %', flag, fflag_enabled(flag, 4);
	END LOOP;
END $$;
SELECT flag, fflag_enabled(flag, 4) FROM unnest('{audit,beta,nope,audit,NULL,nope}'::text[]) AS flag;

-- exceptions roll back
DO $$
BEGIN
	BEGIN
		PERFORM fflag_rollout('beta', 100);
		RAISE NOTICE 'changed: %', fflag_enabled('beta', 1);
		RAISE EXCEPTION 'roll back';
	EXCEPTION WHEN others THEN
		RAISE NOTICE 'rolled back: %', fflag_enabled('beta', 1);
	END;
END $$;
SELECT fflag_enabled('beta', 1);

-- a procedure that commits
CREATE PROCEDURE ramp() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM fflag_enable('beta');
	FOR percent IN 0..100 BY 25 LOOP
		PERFORM fflag_rollout('beta', percent);
		COMMIT;
		RAISE NOTICE '%: % in', percent, (SELECT count(*) FROM generate_series(1, 1000) AS id WHERE fflag_enabled('beta', id));
	END LOOP;
END $$;
CALL ramp();

DROP TABLE account CASCADE;
DROP FUNCTION audit, own_change, stable_answer;
DROP PROCEDURE ramp;
DROP EXTENSION fflag;
DROP ROLE regress_fflag_reader;
