--
-- fflag_export and fflag_import: the same text for the same flags, whatever the session's
-- settings; each key becomes what the document says; a dry run says what the real one does
--
CREATE EXTENSION fflag;
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'SQL, DMY';

SELECT fflag_register('checkout', true, 12.50, description => 'the new one'), fflag_register('payments', true),
	fflag_register('it''s "quoted"', true), fflag_group('testers', 1, 2), fflag_group('aged', 7);
UPDATE feature_flag SET metadata = '{"owner": "shop", "n": [1, null, 2.50]}' WHERE name = 'checkout';
SELECT fflag_variants('payments', '{"card": 1, "bank": 2.500000}'), fflag_variants('checkout', '{"one": 1, "two": 3}');
UPDATE feature_flag_variant SET payload = CASE name WHEN 'one' THEN 'null'::jsonb ELSE '{"steps": 2}' END WHERE name IN ('one', 'two');
SELECT fflag_require('checkout', 'payments', 'card', 'bank'), fflag_include('checkout', 'testers', 'two'),
	fflag_exclude('payments', 'aged'), fflag_deny('checkout', 'x', 'Y', 'é');
UPDATE feature_flag SET starts_at = '2026-01-01 09:00:00.123456+09', ends_at = 'infinity',
	ramp_to = 100.000, ramp_starts_at = '0044-03-15 12:00+00 BC', ramp_ends_at = '294276-12-31 00:00+00' WHERE name = 'checkout';

\pset format unaligned
\pset tuples_only on
SELECT jsonb_pretty(fflag_export('{checkout}', true));
SELECT fflag_export('{testers, payments, testers}');
SELECT fflag_export('{}'), fflag_export('{}', lists => true);

-- the same flags, the same text, in whatever order their rows have been written
SELECT fflag_export(lists => true) AS exported, fflag_export() AS without_lists \gset
DROP EXTENSION fflag;
CREATE EXTENSION fflag;
RESET TimeZone;
RESET DateStyle;
SELECT * FROM fflag_import(:'exported', dry_run => true) \g /dev/null
SELECT count(*) FROM feature_flag;
SELECT name, action FROM fflag_import(:'exported');
SELECT fflag_export(lists => true)::text = :'exported'::text AS same, fflag_export()::text = :'without_lists'::text AS same_without_lists;
-- nothing is written where nothing changes
SELECT * FROM fflag_import(:'exported');
SELECT what, count(*) FROM fflag_history() GROUP BY what ORDER BY what;

-- a dry run says what the real one does, and does nothing: no lock, no sequence, no message
CREATE FUNCTION import_both(document jsonb) RETURNS TABLE (name text, action text, changes jsonb) LANGUAGE plpgsql AS $$
DECLARE
	dry text;
	wet text;
	before text := fflag_export(lists => true);
	last bigint := last_value FROM feature_flag_id_seq;
BEGIN
	SELECT string_agg(i::text, E'\n') INTO dry FROM fflag_import(document, true) AS i;
	IF before <> fflag_export(lists => true)::text OR last <> (SELECT last_value FROM feature_flag_id_seq)
		OR EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND (transactionid IS NOT NULL OR mode IN ('RowShareLock', 'RowExclusiveLock', 'ExclusiveLock') AND locktype <> 'virtualxid'))
	THEN RAISE EXCEPTION 'the dry run has done something'; END IF;
	CREATE TEMP TABLE result ON COMMIT DROP AS SELECT * FROM fflag_import(document);
	SELECT string_agg(i::text, E'\n') INTO wet FROM result AS i;
	IF dry IS DISTINCT FROM wet THEN RAISE EXCEPTION E'dry:\n%\nwet:\n%', dry, wet; END IF;
	IF EXISTS (SELECT FROM fflag_import(document, true) AS i WHERE i.action NOT IN ('unchanged', 'not named'))
	THEN RAISE EXCEPTION 'a second import would change something'; END IF;
	RETURN QUERY TABLE result;
END $$;

-- a key that is absent is left as it is; of an array, changes are the elements that differ
SELECT * FROM import_both('{"fflag": 1, "flags": []}');
SELECT * FROM import_both('{"fflag": 1.0, "flags": [{"name": "checkout"}]}');
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "checkout", "enabled": false, "rollout_percentage": 12.500}, {"name": "fresh"}]}') WHERE action <> 'not named';
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "checkout", "variants": [{"name": "two", "weight": 3.0, "payload": {"steps": 3}}, {"name": "three", "weight": 0.5, "payload": null}]}]}') WHERE action <> 'not named';
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "checkout", "denylist": ["Y", "42"], "allowlist": []}, {"name": "aged", "allowlist": ["8"]}]}') WHERE action <> 'not named';
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "checkout", "starts_at": null, "ends_at": "2030-01-01 00:00:00+02", "ramp_to": null, "ramp_starts_at": null, "ramp_ends_at": null, "metadata": {}, "description": ""}]}') WHERE action <> 'not named';
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "fresh", "enabled": true, "internal": true, "ends_at": "2030-01-01T00:00:00Z", "variants": [{"name": "v", "weight": 1}], "relations": [{"kind": "includes", "other": "younger", "other_variant": null, "pin": "v"}], "allowlist": []}, {"name": "younger"}]}') WHERE action <> 'not named';
SELECT jsonb_pretty(fflag_export('{fresh}', true));
-- variants of an own row that the document does not name are left, and the row is not written
SELECT fflag_export('{checkout}', true);

-- relations go before others come: a reversal, a change of kind, and a circle turned round
SELECT fflag_export('{checkout, payments}') AS before \gset
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "checkout", "relations": []}, {"name": "payments", "relations": [{"other": "checkout", "kind": "requires", "other_variant": "three"}]}]}') WHERE action <> 'not named';
SELECT * FROM import_both('{"fflag": 1, "flags": [{"name": "payments", "relations": [{"other": "checkout", "kind": "excludes"}, {"other": "checkout", "kind": "excludes", "other_variant": "two"}]}]}') WHERE action <> 'not named';
SELECT name, action FROM import_both(:'before') WHERE action <> 'not named';
SELECT name, action, changes FROM import_both('{"fflag": 1, "flags": [
	{"name": "c1", "relations": [{"other": "c2", "kind": "requires"}]}, {"name": "c2", "relations": [{"other": "c3", "kind": "requires"}]}, {"name": "c3"}]}') WHERE name LIKE 'c_';
SELECT name, action, changes FROM import_both('{"fflag": 1, "flags": [
	{"name": "c1", "relations": []}, {"name": "c2", "relations": [{"other": "c1", "kind": "requires"}]}, {"name": "c3", "relations": [{"other": "c2", "kind": "requires"}]}]}') WHERE name LIKE 'c_';
-- a variant that comes in the same import, and one that goes with the relation that names it
SELECT name, action, changes FROM import_both('{"fflag": 1, "flags": [{"name": "c1", "variants": [{"name": "s1", "weight": 1}]}, {"name": "c2", "relations": [{"other": "c1", "kind": "requires", "other_variant": "s1"}]}]}') WHERE name LIKE 'c_';
SELECT name, action, changes FROM import_both('{"fflag": 1, "flags": [{"name": "c1", "variants": [{"name": "s2", "weight": 1}]}, {"name": "c2", "relations": [{"other": "c1", "kind": "requires", "other_variant": "s2"}]}]}') WHERE name LIKE 'c_';

-- a group comes with its list, or there is a warning; not where its list is here, or nobody is meant
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "group", "enabled": true, "internal": true}, {"name": "testers", "internal": true}]}', dry_run => true) WHERE action <> 'not named';
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "empty", "internal": true, "allowlist": []}, {"name": "share", "internal": true, "rollout_percentage": 10},
	{"name": "either", "internal": true, "relations": [{"other": "testers", "kind": "includes"}]}, {"name": "staff", "internal": true, "staff_only": true}]}', dry_run => true) WHERE action <> 'not named';

-- mistakes: SQLSTATE, the flag's name and a hint; the same from a dry run and from a real one
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'accepted';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN format(E'%s: %s\n   %s', sqlstate, sqlerrm, hint);
END $$;
CREATE FUNCTION try_import(document text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	dry text := try(format('SELECT * FROM fflag_import(%L, true)', document));
	wet text := try(format('SELECT * FROM fflag_import(%L)', document));
BEGIN
	RETURN E'=> ' || left(document, 200) || E'\n   ' || CASE WHEN dry = wet THEN dry ELSE E'DRY: ' || dry || E'\n   WET: ' || wet END;
END $$;
SELECT fflag_export(lists => true) AS before \gset
SELECT try_import(document) FROM (VALUES ('1'), ('null'), ('[]'), ('{}'), ('{"fflag": 1}'), ('{"flags": []}'), ('{"fflag": "1", "flags": []}'),
	('{"fflag": 2, "flags": []}'), ('{"fflag": 1.5, "flags": []}'), ('{"fflag": 1, "flags": {}}'), ('{"fflag": 1, "flags": null}'), ('{"fflag": 1, "flags": [], "flag": []}'),
	('{"fflag": 1, "flags": ["f"]}'), ('{"fflag": 1, "flags": [{"name": "f"}, []]}'), ('{"fflag": 1, "flags": [{}]}'), ('{"fflag": 1, "flags": [{"name": 1}]}')) AS d (document);
SELECT try_import('{"fflag": 1, "flags": [{"name": ' || flag || '}]}') FROM (VALUES ('""'), ('" f"'), ('"f\n"'), ('"' || repeat('f', 151) || '"'),
	('"f"}, {"name": "f"'), ('"f", "id": 1'), ('"f", "Enabled": true'), ('"f", "enabled": null'), ('"f", "enabled": "true"'), ('"f", "enabled": 1'), ('"f", "enabled": [true]'),
	('"f", "rollout_percentage": "10"'), ('"f", "rollout_percentage": null'), ('"f", "rollout_percentage": -1'), ('"f", "rollout_percentage": 100.0001'), ('"f", "rollout_percentage": 1e400'), ('"f", "rollout_percentage": {}'),
	('"f", "seed": 1'), ('"f", "seed": ""'), ('"f", "seed": " s"'), ('"f", "seed": "' || repeat('s', 151) || '"'), ('"f", "description": null'), ('"f", "description": {"a": 1}'), ('"f", "metadata": []'), ('"f", "metadata": null'), ('"f", "metadata": 1'), ('"f", "internal": {}'),
	('"f", "starts_at": 1'), ('"f", "starts_at": "tomorrow"'), ('"f", "starts_at": "2026-01-01"'), ('"f", "starts_at": "2026-01-01T00:00:00"'), ('"f", "starts_at": "01/02/2026 00:00:00Z"'), ('"f", "starts_at": ""'),
	('"f", "starts_at": "2026-13-01T00:00:00Z"'), ('"f", "starts_at": "2026-01-01T00:00:00.1234567Z"'), ('"f", "starts_at": "2026-01-01T00:00:00+99"'), ('"f", "starts_at": "999999-01-01T00:00:00Z"'), ('"f", "starts_at": "2026-01-01T00:00:00Z "'),
	('"f", "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"'), ('"f", "ramp_to": 5'), ('"f", "ramp_to": 101'), ('"f", "ramp_starts_at": "infinity"'),
	('"f", "ramp_to": 5, "ramp_starts_at": "2026-01-01T00:00:00Z", "ramp_ends_at": "infinity"'), ('"f", "ramp_to": 5, "ramp_starts_at": "2026-01-01T00:00:00Z", "ramp_ends_at": "2026-01-01T00:00:00Z"')) AS f (flag);
SELECT try_import('{"fflag": 1, "flags": [{"name": "f", "variants": ' || variants || '}]}') FROM (VALUES ('null'), ('{"a": 1}'), ('[1]'), ('[[]]'), ('[{}]'), ('[{"name": "a"}]'), ('[{"name": "", "weight": 1}]'), ('[{"name": "a", "weight": null}]'),
	('[{"name": "a", "weight": "1"}]'), ('[{"name": "a", "weight": -1}]'), ('[{"name": "a", "weight": 0.0000001}]'), ('[{"name": "a", "weight": 1, "payloads": 1}]'), ('[{"name": "a", "weight": 1}, {"name": "a", "weight": 2}]')) AS v (variants);
SELECT try_import('{"fflag": 1, "flags": [{"name": "f", "variants": [{"name": "a", "weight": 1}], "relations": ' || relations || '}]}') FROM (VALUES ('null'), ('["g"]'), ('[{}]'), ('[{"other": "testers"}]'), ('[{"other": "testers", "kind": "is"}]'), ('[{"other": "f", "kind": "requires"}]'), ('[{"other": 1, "kind": "requires"}]'),
	('[{"other": "testers", "kind": "requires", "variant": "a"}]'), ('[{"other": "testers", "kind": "requires", "other_variant": 1}]'), ('[{"other": "testers", "kind": "requires", "pin": "a"}]'),
	('[{"other": "testers", "kind": "requires"}, {"other": "testers", "kind": "requires", "other_variant": null}]'), ('[{"other": "nowhere", "kind": "requires"}]'), ('[{"other": "testers", "kind": "requires", "other_variant": "none"}]'), ('[{"other": "testers", "kind": "includes", "pin": "none"}]'),
	('[{"other": "checkout", "kind": "requires"}, {"other": "checkout", "kind": "excludes", "other_variant": "two"}]')) AS r (relations);
SELECT try_import('{"fflag": 1, "flags": [{"name": "f", "' || list || '": ' || users || '}]}') FROM (VALUES ('allowlist'), ('denylist')) AS l (list), (VALUES ('null'), ('"a"'), ('[1]'), ('[null]'), ('["a", "b", "a"]'), ('["' || repeat('a', 2049) || '"]')) AS u (users);
-- as large as numbers get
SELECT left(try_import(format('{"fflag": 1, "flags": [{"name": "f", %s}]}', flag)), 200)
FROM unnest('{"\"rollout_percentage\": 1e131071", "\"variants\": [{\"name\": \"a\", \"weight\": -1e131071}]"}'::text[]) AS flag;
-- what only the tables tell
SELECT try_import('{"fflag": 1, "flags": [' || flags || ']}') FROM (VALUES
	('{"name": "checkout", "starts_at": "2031-01-01T00:00:00Z"}'), ('{"name": "checkout", "ramp_to": 5}'),
	('{"name": "payments", "relations": [{"other": "checkout", "kind": "excludes"}]}'),
	('{"name": "c1", "relations": [{"other": "c3", "kind": "excludes"}]}'),
	('{"name": "c1", "variants": []}'), ('{"name": "checkout", "variants": [{"name": "one", "weight": 1}]}'), ('{"name": "payments", "variants": []}'),
	('{"name": "f", "relations": [{"other": "g", "kind": "requires"}]}, {"name": "g", "relations": [{"other": "f", "kind": "includes"}]}')) AS f (flags);
SELECT try(command) FROM (VALUES ('SELECT fflag_import(NULL)'), ($$SELECT fflag_import('{"fflag": 1, "flags": []}', NULL)$$), ('SELECT fflag_export(lists => NULL)'),
	($$SELECT fflag_export('{checkout, nope, neither}')$$), ($$SELECT fflag_export('{checkout, NULL}')$$), ($$SELECT fflag_export('{""}')$$),
	($$SELECT fflag_import('{"fflag": 1, "flags": [{"name": "a\u0000"}]}')$$), ($$SELECT fflag_import(('{"fflag": 1, "flags": [{"name": "f", "metadata": ' || repeat('[', 100000) || '}]}')::jsonb)$$)) AS c (command);
SELECT fflag_export(lists => true)::text = :'before'::text AS nothing_has_changed;

-- all or nothing, in a subtransaction too, and one announcement
BEGIN;
SELECT fflag_enabled('c1', 1), fflag_enabled('c2', 1);
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true, "rollout_percentage": 100}, {"name": "c2", "allowlist": ["1"], "enabled": true, "relations": []}]}') WHERE action <> 'not named';
SELECT fflag_enabled('c1', 1), fflag_enabled('c2', 1), fflag_enabled('c2', 2);
ROLLBACK;
SELECT fflag_enabled('c1', 1), fflag_enabled('c2', 1), fflag_enabled('c2', 2);
START TRANSACTION READ ONLY;
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true}]}', dry_run => true) WHERE action <> 'not named';
SELECT try($$SELECT fflag_import('{"fflag": 1, "flags": []}')$$);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true, "relations": []}, {"name": "rr", "relations": [{"other": "c1", "kind": "requires"}]}]}') WHERE action <> 'not named';
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "rr", "relations": []}, {"name": "c1", "relations": [{"other": "rr", "kind": "requires"}]}]}') WHERE action <> 'not named';
ROLLBACK;

-- a hostile search_path changes nothing
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.wrong(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION hostile.wrong(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION hostile.wrong(jsonb, text) RETURNS jsonb LANGUAGE sql AS $$SELECT '[]'::jsonb$$;
CREATE OPERATOR hostile.= (FUNCTION = hostile.wrong, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.= (FUNCTION = hostile.wrong, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR hostile.-> (FUNCTION = hostile.wrong, LEFTARG = jsonb, RIGHTARG = text);
CREATE FUNCTION hostile.jsonb_agg(jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT '[]'::jsonb$$;
BEGIN;
SET LOCAL search_path = hostile, public, pg_catalog;
SELECT fflag_export(lists => true)::text OPERATOR(pg_catalog.=) :'before'::text AS same;
SELECT count(*) FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true, "variants": [], "allowlist": ["1"]}, {"name": "c2", "relations": []}, {"name": "c3", "relations": [{"other": "new", "kind": "requires"}]}, {"name": "new"}]}') WHERE action OPERATOR(pg_catalog.=) ANY ('{changed,created}');
SELECT count(*) FROM fflag_import(:'before') WHERE action OPERATOR(pg_catalog.=) ANY ('{changed,created}');
DELETE FROM feature_flag WHERE name OPERATOR(pg_catalog.=) 'new';
SELECT fflag_export(lists => true)::text OPERATOR(pg_catalog.=) :'before'::text AS same;
ROLLBACK;

-- privileges: as the caller's; what is not written needs none
CREATE ROLE regress_fflag_reader;
GRANT EXECUTE ON FUNCTION fflag_export, fflag_import TO regress_fflag_reader;
GRANT SELECT ON feature_flag, feature_flag_variant, feature_flag_relation TO regress_fflag_reader;
SET ROLE regress_fflag_reader;
SELECT length(fflag_export()::text) > 100;
SELECT try('SELECT fflag_export(lists => true)');
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true}]}', dry_run => true) WHERE action <> 'not named';
SELECT try($$SELECT fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true}]}')$$);
SELECT try($$SELECT fflag_import('{"fflag": 1, "flags": [{"name": "c1", "allowlist": []}]}', true)$$);
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1"}]}') WHERE action <> 'not named';
RESET ROLE;
GRANT UPDATE ON feature_flag TO regress_fflag_reader;
SET ROLE regress_fflag_reader;
SELECT name, action FROM fflag_import('{"fflag": 1, "flags": [{"name": "c1", "enabled": true}]}') WHERE action <> 'not named';
SELECT try($$SELECT fflag_import('{"fflag": 1, "flags": [{"name": "c1", "variants": []}, {"name": "c2", "relations": []}]}')$$);
RESET ROLE;
DROP OWNED BY regress_fflag_reader;
DROP ROLE regress_fflag_reader;

-- a flag that has got another name gives the same users the same answers elsewhere
SELECT fflag_register('before', true, 50), fflag_variants('before', '{"a": 1, "b": 1}'), fflag_rename('before', 'after');
CREATE TABLE answers AS SELECT n, fflag_variant('after', n) FROM generate_series(1, 200) AS n;
SELECT fflag_export('{after}') AS document \gset
DELETE FROM feature_flag WHERE name = 'after';
SELECT name, action, changes -> 'seed' FROM fflag_import(:'document') WHERE action <> 'not named';
SELECT count(*), count(fflag_variant) BETWEEN 80 AND 120 AS half, count(*) FILTER (WHERE fflag_variant IS DISTINCT FROM fflag_variant('after', n)) AS wrong FROM answers;
DROP TABLE answers;

-- a relation to a flag that is not there is not left out: without it everybody would get the flag
SELECT fflag_register('f', true), fflag_register('g', true), fflag_register('h', true), fflag_require('f', 'g');
SET session_replication_role = replica;
DELETE FROM feature_flag WHERE name = 'g';
UPDATE feature_flag_relation SET other_id = -1 WHERE flag_id = (SELECT id FROM feature_flag WHERE name = 'f');
RESET session_replication_role;
SELECT fflag_enabled('f', 1), try('SELECT fflag_export()'), try($$SELECT fflag_export('{f}')$$), try($$SELECT fflag_export('{h}')$$);
DELETE FROM feature_flag WHERE name IN ('f', 'h');
-- nor is there a document of what a policy shows, or of columns whose types somebody has made
CREATE ROLE regress_fflag_reader;
GRANT SELECT ON feature_flag, feature_flag_variant, feature_flag_relation TO regress_fflag_reader;
GRANT EXECUTE ON FUNCTION fflag_export TO regress_fflag_reader;
ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON feature_flag TO regress_fflag_reader USING (id > 0);
SET ROLE regress_fflag_reader;
SELECT try('SELECT fflag_export()');
RESET ROLE;
DROP POLICY seen ON feature_flag;
ALTER TABLE feature_flag DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_fflag_reader;
DROP ROLE regress_fflag_reader;
CREATE TYPE words AS ENUM ('', 'a');
ALTER TABLE feature_flag ALTER description DROP DEFAULT, ALTER description TYPE words USING '';
SELECT try('SELECT fflag_export()');
ALTER TABLE feature_flag ALTER description TYPE text, ALTER description SET DEFAULT '';
DROP TYPE words;

-- other tables are not ours to read or change
CREATE TABLE flags (id bigint PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage numeric NOT NULL);
CREATE TABLE users (flag_id bigint NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
SELECT fflag_attach('flags', 'users', flag_id => 'flag_id');
SELECT try('SELECT fflag_export()'), try($$SELECT fflag_import('{"fflag": 1, "flags": []}', true)$$);
SELECT fflag_detach();
DROP TABLE flags, users;
DROP FUNCTION import_both(jsonb), try(text), try_import(text);
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
RESET client_min_messages;
DROP EXTENSION fflag;
