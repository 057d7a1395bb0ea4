--
-- Relations that would lead round in a circle are refused; those that are there all the same
-- are an error.  Many flags on many ways, long ways, and flags that are not there.
--
CREATE EXTENSION fflag;
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
	n bigint;
BEGIN
	EXECUTE command;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN format('accepted, %s rows', n);
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n   ', format(E'%s: %s', sqlstate, sqlerrm), nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE FUNCTION relate(names text[], kind text, others text[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO feature_flag_relation (flag_id, other_id, kind)
	SELECT f.id, o.id, relate.kind FROM unnest(names, others) AS u (name, other)
		JOIN feature_flag f ON f.name = u.name JOIN feature_flag o ON o.name = other ORDER BY f.id
$$;

-- any order of creation, and each way round, through relations of each kind
SELECT fflag_register(ARRAY['old', 'young', 'third'], true, 50);
SELECT fflag_require('old', 'young'), fflag_include('young', 'third');
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_require('young', 'old')$$),
	($$SELECT fflag_exclude('third', 'old')$$),
	($$SELECT fflag_include('third', 'young')$$),
	($$SELECT relate('{third,young,old}', 'excludes', '{old,old,third}')$$),
	($$UPDATE feature_flag_relation SET other_id = (SELECT flag_id FROM feature_flag_relation WHERE kind = 'requires') WHERE kind = 'includes'$$),
	-- where there are only exclusions, what is wanted is something else
	($$SELECT fflag_register('x', true, 50), fflag_register('y', true, 50), fflag_exclude('x', 'y'), fflag_exclude('y', 'x')$$),
	($$SELECT fflag_register(n, true, 50) FROM unnest('{x,y,z}'::text[]) AS n; SELECT relate('{x,y,z}', 'excludes', '{y,z,x}')$$),
	-- a long one is not told to its end
	($$SELECT fflag_register('r' || n, true, 50) FROM generate_series(1, 100) AS n;
		SELECT relate(ARRAY(SELECT 'r' || n FROM generate_series(1, 100) AS n), 'requires', ARRAY(SELECT 'r' || 1 + n % 100 FROM generate_series(1, 100) AS n))$$),
	-- these are no circles
	($$SELECT fflag_unrelate('young', 'third'), fflag_exclude('third', 'old'), fflag_require('third', 'young')$$),
	($$UPDATE feature_flag_relation SET flag_id = other_id, other_id = flag_id$$)) AS c (command);
\pset format aligned
\pset tuples_only off
-- one statement reverses a chain
SELECT fflag_register('c' || n, true, 50) FROM generate_series(1, 5) AS n;
SELECT relate('{c1,c2,c3,c4}', 'requires', '{c2,c3,c4,c5}');
UPDATE feature_flag_relation AS r SET flag_id = other_id, other_id = flag_id FROM feature_flag AS f WHERE f.id = flag_id AND name ~ '^c[1-4]';
SELECT f.name, kind, o.name AS other FROM feature_flag_relation r JOIN feature_flag f ON f.id = flag_id JOIN feature_flag o ON o.id = other_id WHERE f.name ~ '^c' ORDER BY 1;
SELECT try($$SELECT fflag_require('c1', 'c5')$$);
-- a statement that is rolled back has related nothing
BEGIN;
SAVEPOINT s;
SELECT fflag_unrelate('c2', 'c1');
ROLLBACK TO s;
SELECT try($$SELECT fflag_require('c1', 'c2')$$);
SELECT fflag_unrelate('c2', 'c1'), fflag_require('c1', 'c2');
COMMIT;
DELETE FROM feature_flag;

-- 59 flags, each related to all older ones: each is decided once, and looked at once
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT format('d%s', lpad(n::text, 2, '0')), true, 100 FROM generate_series(1, 59) AS n;
SET statement_timeout = '1min';
INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT f.id, o.id, 'requires' FROM feature_flag f, feature_flag o WHERE o.id < f.id;
SELECT fflag_enabled('d59', 1), fflag_enabled('d59', ARRAY[1, 2, NULL]), fflag_enabled('d59');
SELECT rule, because FROM fflag_explain('d59', 1);
SELECT rule, because FROM fflag_explain_at(now(), 'd59', 1);
SELECT count(*) FROM fflag_flags(1) WHERE enabled;
SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('d59', n);
SELECT fflag_disable('d01');
SELECT fflag_enabled('d59', 1), rule, because FROM fflag_explain('d59', 1);
SELECT count(*) FROM fflag_flags(1) WHERE enabled;
UPDATE feature_flag_relation SET kind = 'includes';
UPDATE feature_flag SET rollout_percentage = 0, enabled = true;
SELECT fflag_allow('d01', 1);
SELECT rule, because FROM fflag_explain('d59', 1);
SELECT rule, because FROM fflag_explain_at(now(), 'd59', 1);
SELECT count(*) <= 59 AS ends FROM fflag_stale('0 seconds');
UPDATE feature_flag_relation SET kind = 'excludes';
UPDATE feature_flag SET rollout_percentage = 100;
-- each excludes who gets the first
SELECT count(*) FROM fflag_flags(1) WHERE enabled;
SELECT try($$SELECT fflag_require('d01', 'd59')$$) ~ '^23514: flag "d01" would depend on itself';
RESET statement_timeout;
DELETE FROM feature_flag;

-- long ways: as long as the stack allows; then an error, and the session goes on
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) SELECT n, 'c' || n, true, 100 FROM generate_series(1, 10000) AS n;
INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT id, id - 1, 'requires' FROM feature_flag WHERE id > 1;
SELECT fflag_enabled('c500', 1), fflag_enabled('c500', ARRAY[1, 2, NULL]), fflag_variant('c500', 1, false, 'none');
SELECT rule, because FROM fflag_explain('c500', 1);
SELECT rule, because FROM fflag_explain('c500');
SET plan_cache_mode = force_generic_plan;
PREPARE p AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('c500', n);
EXECUTE p;
SELECT fflag_rollout('c1', 50);
SELECT count(*) AS some FROM generate_series(1, 10) AS n WHERE fflag_enabled('c1', n) \gset
EXECUTE p \gset
SELECT :count = :some AS as_many;
SELECT fflag_disable('c250');
EXECUTE p;
SELECT c, rule, because FROM unnest('{c249,c250,c251,c500}'::text[]) AS c, fflag_explain(c, 1);
SELECT fflag_enable('c250'), fflag_rollout('c1', 100);
SET max_stack_depth = '100kB';
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || (regexp_match(try(command), '[^\n]*'))[1] FROM (VALUES
	($$SELECT fflag_enabled('c10000', 1)$$),
	($$SELECT fflag_enabled('c10000', ARRAY[1, 2])$$),
	($$SELECT fflag_select('c10000', ARRAY[1, 2])$$),
	($$SELECT fflag_variant('c10000', 1)$$),
	($$SELECT fflag_explain('c10000', 1)$$),
	($$SELECT FROM generate_series(1, 10) AS n WHERE fflag_enabled('c10000', n)$$),
	($$SELECT fflag_explain_at(now(), 'c10000', 1)$$),
	-- nothing calls itself here
	($$DELETE FROM feature_flag_relation WHERE flag_id = 10000$$),
	($$SELECT fflag_require('c10000', 'c9999')$$),
	($$SELECT count(*) FROM fflag_stale('0 seconds')$$)) AS c (command);
\pset format aligned
\pset tuples_only off
RESET max_stack_depth;
SELECT fflag_enabled('c500', 1), fflag_enabled('c20', ARRAY[1, 2]);
EXECUTE p;
SELECT try('DELETE FROM feature_flag WHERE name = ''c5000''');
DELETE FROM feature_flag WHERE id > 9000;
DELETE FROM feature_flag;
DEALLOCATE p;

-- Replication brings relations without the flags that they lead to, or without their
-- variants: that lets nobody pass.
SELECT fflag_register(ARRAY['other', 'requires', 'excludes', 'includes', 'of them'], true, 100), fflag_rollout('includes', 0);
SELECT fflag_variants('other', '{"v": 1}');
SELECT relate('{requires,excludes,includes,of them}', 'requires', '{other,other,other,excludes}');
UPDATE feature_flag_relation SET kind = name FROM feature_flag f WHERE f.id = flag_id AND name <> 'of them';
CREATE VIEW answers AS SELECT name, e.enabled, rule, because, e.enabled = fflag_enabled(name, 1) AND fflag_enabled(name, ARRAY[1, NULL]) = ARRAY[e.enabled, e.enabled]
		AND (SELECT count(*) FROM fflag_select(name, ARRAY[1])) = e.enabled::int AND e.enabled = (SELECT a.enabled FROM fflag_flags(1) AS a WHERE a.name = f.name)
		AND (e.enabled, rule, because) IS NOT DISTINCT FROM (SELECT (a.enabled, a.rule, a.because) FROM fflag_explain_at(now(), name, 1) AS a) AS everywhere
	FROM feature_flag f, fflag_explain(name, 1) AS e WHERE name <> 'other' ORDER BY name;
TABLE answers;
SET session_replication_role = replica;
DELETE FROM feature_flag_variant;
TABLE answers;
UPDATE feature_flag_relation SET other_variant = 'v' WHERE flag_id <> (SELECT id FROM feature_flag WHERE name = 'of them');
TABLE answers;
DELETE FROM feature_flag WHERE name = 'other';
TABLE answers;
UPDATE feature_flag_relation SET other_variant = NULL;
TABLE answers;
PREPARE q AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('of them', n) OR fflag_enabled('excludes', n);
EXECUTE q;
DEALLOCATE q;
RESET session_replication_role;
DROP VIEW answers;
DELETE FROM feature_flag;

-- and circles
SELECT fflag_register(ARRAY['a', 'b', 'c', 'apart', 'leads there'], true, 50), fflag_variants('a', '{"v": 1, "w": 1}');
SET session_replication_role = replica;
SELECT relate('{a,b,c,leads there}', 'requires', '{b,c,a,b}');
RESET session_replication_role;
\pset format unaligned
\pset tuples_only on
SET plan_cache_mode = force_generic_plan;
PREPARE r AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('leads there', n);
CREATE FUNCTION try_all() RETURNS SETOF text LANGUAGE sql AS $f$ SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_enabled('a', 1)$$),
	($$SELECT fflag_enabled('leads there')$$),
	($$SELECT fflag_enabled('b', ARRAY[1, 2])$$),
	($$SELECT fflag_enabled_all('b', ARRAY[1, 2], ARRAY[true, false])$$),
	($$SELECT fflag_select('c', ARRAY[1, 2])$$),
	($$SELECT fflag_variant('leads there', 1)$$),
	($$SELECT fflag_variant_payload('a', 1)$$),
	($$SELECT fflag_explain('a', 1)$$),
	($$SELECT fflag_explain_at(now(), 'a', 1)$$),
	($$SELECT fflag_flags(1)$$),
	($$SELECT FROM generate_series(1, 10) AS n WHERE fflag_enabled('a', n)$$),
	($$EXECUTE r$$),
	-- the planner and fflag_stale() decide for nobody in particular
	($$EXPLAIN SELECT FROM generate_series(1, 10) AS n WHERE fflag_enabled('a', n)$$),
	($$SELECT count(*) FROM fflag_stale('0 seconds')$$),
	-- whoever does not look at them is not in their way
	($$SELECT fflag_enabled('apart', 1)$$)) AS c (command)
$f$;
SELECT try_all();
-- a variant whose pin asks who gets that variant
DELETE FROM feature_flag_relation;
SET session_replication_role = replica;
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant, pin) SELECT a.id, b.id, 'includes', NULL, 'w' FROM feature_flag a, feature_flag b WHERE a.name = 'a' AND b.name = 'b';
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT b.id, a.id, 'requires', 'w' FROM feature_flag a, feature_flag b WHERE a.name = 'a' AND b.name = 'b';
RESET session_replication_role;
UPDATE feature_flag SET rollout_percentage = 100;
SELECT try($$SELECT fflag_enabled('a', 1)$$);
SELECT try($$SELECT fflag_enabled('b', 1)$$);
SELECT try($$SELECT fflag_variant('a', 1)$$);
SELECT try($$SELECT fflag_explain_at(now(), 'b', 1)$$);
-- a circle is mended by taking relations away, and not made longer
SELECT try($$SELECT fflag_require('leads there', 'a')$$);
SELECT try($$SELECT fflag_require('apart', 'c')$$);
SELECT try($$SELECT fflag_unrelate('b', 'a')$$);
SELECT try($$SELECT fflag_enabled('a', 1)$$);
\pset format aligned
\pset tuples_only off
DEALLOCATE r;
DROP FUNCTION try_all;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- names that are not unique: to which of two flags a relation leads is told by its id
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_name_key;
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) VALUES (1, 'twin', true, 100), (2, 'between', true, 100), (3, 'twin', true, 100);
INSERT INTO feature_flag_relation (flag_id, other_id, kind) VALUES (2, 1, 'requires'), (3, 2, 'requires');
-- the first in the table, which has no index on names, is the last that was created
UPDATE feature_flag SET description = 'moved' WHERE id < 3;
VACUUM FULL feature_flag;
SET statement_timeout = '1min';
SELECT fflag_enabled('twin', 1), fflag_enabled('between', 1);
PREPARE twins AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('twin', n);
EXECUTE twins;
DEALLOCATE twins;
RESET statement_timeout;
DROP FUNCTION relate, try;
DROP EXTENSION fflag;
