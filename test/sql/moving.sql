--
-- Code that runs in the middle of a statement that writes flags: a trigger of
-- the user's on the flag tables, or a function in RETURNING, sees the rows
-- written so far under snapshots that look the same each time.  What the
-- function answers is compared with what the table says, in one statement.
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, rollout_percentage) SELECT 'f' || n, 100 FROM generate_series(1, 3) AS n;

-- 'f1 f2 f3' as the table and as the function has them
CREATE FUNCTION both_say() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(left(enabled::text, 1), ' ' ORDER BY name) || ' / ' ||
		string_agg(left(fflag_enabled(name, 1)::text, 1), ' ' ORDER BY name)
	FROM feature_flag
$$;
CREATE FUNCTION report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % of %: %', TG_NAME, TG_OP, coalesce(NEW.name, OLD.name), both_say();
	RETURN coalesce(NEW, OLD);
END $$;

-- before and after ours in the order of names, and after the row
CREATE TRIGGER aaa BEFORE INSERT OR UPDATE OR DELETE ON feature_flag FOR EACH ROW EXECUTE FUNCTION report();
CREATE TRIGGER zzz BEFORE INSERT OR UPDATE OR DELETE ON feature_flag FOR EACH ROW EXECUTE FUNCTION report();
CREATE TRIGGER after AFTER INSERT OR UPDATE OR DELETE ON feature_flag FOR EACH ROW EXECUTE FUNCTION report();

SELECT both_say();
UPDATE feature_flag SET enabled = true RETURNING name, both_say();
SELECT both_say();
UPDATE feature_flag SET enabled = false WHERE name <> 'f2' RETURNING name, both_say();
BEGIN;
INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES ('f4', true, 100), ('f5', true, 100) RETURNING both_say();
SELECT both_say();
ROLLBACK;
SELECT both_say();
DELETE FROM feature_flag WHERE name = 'f1';
SELECT both_say();

-- the statement fails after its row has been seen
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'before failing: %', both_say();
	RAISE EXCEPTION 'no';
END $$;
CREATE TRIGGER afterwards AFTER UPDATE ON feature_flag FOR EACH ROW EXECUTE FUNCTION fail();
UPDATE feature_flag SET enabled = NOT enabled;
SELECT both_say();
DROP TRIGGER aaa ON feature_flag;
DROP TRIGGER zzz ON feature_flag;
DROP TRIGGER after ON feature_flag;
UPDATE feature_flag SET enabled = NOT enabled;
SELECT both_say();
DROP TRIGGER afterwards ON feature_flag;

-- a row of the statement is written after its trigger's code has looked
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM both_say(); RETURN NEW; END $$;
CREATE TRIGGER zzz BEFORE UPDATE ON feature_flag FOR EACH ROW EXECUTE FUNCTION look();
UPDATE feature_flag SET enabled = NOT enabled RETURNING name, both_say();
SELECT both_say();

-- several commands in one message of the client, and in one DO
UPDATE feature_flag SET enabled = true\; SELECT both_say()\; UPDATE feature_flag SET enabled = false\; SELECT both_say();
DO $$
BEGIN
	RAISE NOTICE '%', both_say();
	UPDATE feature_flag SET enabled = true;
	RAISE NOTICE '%', both_say();
	UPDATE feature_flag SET enabled = false WHERE name = 'f2';
	RAISE NOTICE '%', both_say();
END $$;

-- a snapshot that was taken while the statement was writing, and outlives it
CREATE FUNCTION take_snapshot() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	seen refcursor := 'seen';
BEGIN
	IF NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'seen') THEN
		OPEN seen FOR SELECT name, enabled, fflag_enabled(name, 1) FROM feature_flag ORDER BY name;
	END IF;
	RETURN both_say();
END $$;
BEGIN;
UPDATE feature_flag SET enabled = true RETURNING name, take_snapshot();
UPDATE feature_flag SET enabled = false;
FETCH ALL FROM seen;
SELECT both_say();
COMMIT;

-- once the statement is over, flags are read once, and not at each call
DO $$
DECLARE
	before bigint;
BEGIN
	UPDATE feature_flag SET enabled = true;
	before := loads FROM fflag_cache();
	FOR i IN 1..100 LOOP
		ASSERT both_say() = 't t / t t';
	END LOOP;
	RAISE NOTICE 'loads: %', (SELECT loads - before FROM fflag_cache());
	-- nor after one that failed
	BEGIN
		UPDATE feature_flag SET enabled = (1 / (name <> 'f2')::int = 1);
	EXCEPTION WHEN division_by_zero THEN
		before := loads FROM fflag_cache();
	END;
	FOR i IN 1..100 LOOP
		ASSERT both_say() = 't t / t t';
	END LOOP;
	RAISE NOTICE 'loads: %', (SELECT loads - before FROM fflag_cache());
END $$;

-- a user's trigger on the allowlist
UPDATE feature_flag SET enabled = true, rollout_percentage = 0;
CREATE FUNCTION list_both_say() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(EXISTS (SELECT FROM feature_flag_user u WHERE u.flag_id = f.id AND u.user_id = '1')::text, ' ' ORDER BY name) || ' / ' ||
		string_agg(fflag_enabled(name, 1)::text, ' ' ORDER BY name)
	FROM feature_flag f
$$;
CREATE FUNCTION list_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% %: %', TG_NAME, TG_OP, list_both_say();
	RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER aaa BEFORE INSERT OR DELETE ON feature_flag_user FOR EACH ROW EXECUTE FUNCTION list_report();
CREATE TRIGGER zzz BEFORE INSERT OR DELETE ON feature_flag_user FOR EACH ROW EXECUTE FUNCTION list_report();
CREATE TRIGGER after AFTER INSERT OR DELETE ON feature_flag_user FOR EACH ROW EXECUTE FUNCTION list_report();
INSERT INTO feature_flag_user SELECT id, '1' FROM feature_flag ORDER BY id RETURNING list_both_say();
DELETE FROM feature_flag WHERE name = 'f2';
SELECT list_both_say();

DROP EXTENSION fflag CASCADE;
DROP FUNCTION both_say, report, fail, look, take_snapshot, list_both_say, list_report;
