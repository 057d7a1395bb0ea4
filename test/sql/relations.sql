--
-- Relations between flags: what the functions do and refuse, rows by plain SQL, keys, pins,
-- variants of other flags, groups
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
	-- keys that are checked at the commit are checked here
	SET CONSTRAINTS ALL IMMEDIATE;
	SET CONSTRAINTS ALL DEFERRED;
	RETURN format('accepted, %s rows', n);
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n   ', format(E'%s: %s', sqlstate, sqlerrm), regexp_replace(nullif(detail, ''), ', \S+ \S+ \d+ [0-9:.]+ \d+ \S+\)', ', ...)'), nullif(hint, ''));
END $$;
CREATE VIEW related AS
	SELECT f.name, kind, o.name AS other, other_variant, pin
	FROM feature_flag_relation r JOIN feature_flag f ON f.id = flag_id JOIN feature_flag o ON o.id = other_id
	ORDER BY 1, 2, 3, 4;

-- requires: all of several others are needed
SELECT fflag_register('checkout', true), fflag_register('payment', true, 0), fflag_register('region', true, 0);
SELECT fflag_allow('payment', 1, 2), fflag_allow('region', 2, 3);
SELECT fflag_require('checkout', 'payment'), fflag_require('checkout', 'region');
TABLE related;
SELECT u, enabled, rule, reason, because FROM unnest('{1,2,3,4,NULL}'::int[]) AS u, fflag_explain('checkout', u) ORDER BY u;
-- a second time changes nothing, not even a row's id
SELECT array_agg(id ORDER BY id) AS ids FROM feature_flag_relation \gset
SELECT fflag_require('checkout', 'payment');
SELECT array_agg(id ORDER BY id) = :'ids' AS same FROM feature_flag_relation;
SELECT fflag_unrelate('checkout', 'payment') AS unrelated, fflag_unrelate('checkout', 'payment') AS again, fflag_unrelate('payment', 'checkout') AS other_way;
SELECT u, enabled, rule FROM unnest('{1,2,3}'::int[]) AS u, fflag_explain('checkout', u);
-- excludes, behind requires and before the denylist
SELECT fflag_exclude('checkout', 'payment'), fflag_deny('checkout', 2, 3);
SELECT u, enabled, rule, because FROM unnest('{1,2,3}'::int[]) AS u, fflag_explain('checkout', u);
-- includes, behind the allowlist and before the percentage
SELECT fflag_rollout('checkout', 0), fflag_undeny('checkout', 2, 3), fflag_unrelate('checkout', 'payment'), fflag_unrelate('checkout', 'region');
SELECT fflag_include('checkout', 'payment'), fflag_include('checkout', 'region'), fflag_allow('checkout', 3);
SELECT u, enabled, rule, reason, because FROM unnest('{1,2,3,4,NULL}'::int[]) AS u, fflag_explain('checkout', u) ORDER BY u;
SELECT fflag_rollout('checkout', 100);
SELECT enabled, rule, because FROM fflag_explain('checkout', 1);
-- nobody is included where the other flag needs no user
SELECT fflag_rollout('checkout', 0), fflag_rollout('region', 100);
SELECT fflag_enabled('checkout'), rule, because FROM fflag_explain('checkout');
DELETE FROM feature_flag;

-- because: the first by name of all that decide, and one level only
SELECT fflag_register(ARRAY['b', 'a', 'B', 'c', 'deep'], true, 100), fflag_register('off', false), fflag_register('top', true);
SELECT fflag_require('top', name) FROM unnest('{b,a,c,B}'::text[]) AS name;
SELECT fflag_require(name, 'deep') FROM unnest('{b,a,c,B}'::text[]) AS name;
SELECT enabled, rule, because FROM fflag_explain('top', 1);
UPDATE feature_flag SET enabled = false WHERE name IN ('c', 'b');
SELECT enabled, rule, because FROM fflag_explain('top', 1);
SELECT fflag_disable('deep');
SELECT enabled, rule, because FROM fflag_explain('top', 1);
SELECT enabled, rule, because FROM fflag_explain_at(now(), 'top', 1);
SELECT enabled, rule, because FROM fflag_explain('a', 1);
SELECT fflag_enable('deep'), fflag_enable('c');
SELECT fflag_unrelate('top', name) FROM unnest('{b,a,c,B}'::text[]) AS name;
SELECT fflag_exclude('top', name) FROM unnest('{b,c,a}'::text[]) AS name;
SELECT enabled, rule, because FROM fflag_explain('top', 1);
SELECT fflag_unrelate('top', name) FROM unnest('{b,a,c}'::text[]) AS name;
SELECT fflag_rollout('top', 0);
SELECT fflag_include('top', name) FROM unnest('{b,c,a}'::text[]) AS name;
SELECT enabled, rule, because FROM fflag_explain('top', 1);
SELECT enabled, rule, because FROM fflag_explain_at(now(), 'top', 1);
DELETE FROM feature_flag;

-- staff for both flags or for neither; an override of the other flag counts
SELECT fflag_register('staff', false, 0, true), fflag_register('all', true, 100), fflag_register('none', true, 0);
SELECT fflag_require('all', 'staff'), fflag_include('none', 'staff');
SELECT fflag_enabled('all', 1, true) AS staff, fflag_enabled('all', 1) AS others, fflag_enabled('all', NULL, true) AS nobody,
	fflag_enabled('none', 1, true) AS staff, fflag_enabled('none', 1) AS others, fflag_enabled('none', NULL, true) AS nobody;
SELECT fflag_enabled_all('all', ARRAY[1, 1, NULL], ARRAY[true, false, true]), fflag_enabled_all('none', ARRAY[1, 1, NULL], ARRAY[true, false, true]);
SET fflag.override = 'staff=on';
SELECT fflag_enabled('all', 1), fflag_enabled('none', 1), fflag_enabled('all', NULL), fflag_enabled('none', ARRAY[1, NULL]);
SET fflag.override = 'staff=off';
SELECT fflag_enabled('all', 1, true), fflag_enabled('none', 1, true);
SET fflag.override = 'all=on';
SELECT enabled, rule, because FROM fflag_explain('all', 1);
RESET fflag.override;
-- relations of a flag for staff only are not looked at
UPDATE feature_flag SET staff_only = true WHERE name = 'all';
SELECT fflag_register('off', false), fflag_exclude('all', 'off'), fflag_enabled('all', 1, true);
DELETE FROM feature_flag;

-- variants of another flag: any of those that are named
SELECT fflag_register('layer', true), fflag_register('test', true);
SELECT fflag_variants('layer', '{"a": 1, "b": 1, "c": 1, "d": 1}');
CREATE VIEW tested AS SELECT count(*) AS users, count(*) FILTER (WHERE fflag_enabled('test', n)) AS enabled,
		string_agg(DISTINCT fflag_variant('layer', n), '' ORDER BY fflag_variant('layer', n)) FILTER (WHERE fflag_enabled('test', n)) AS variants,
		count(*) FILTER (WHERE fflag_variant('layer', n) ~ '[bd]') AS in_b_or_d,
		array_agg(fflag_enabled('test', n) ORDER BY n) = fflag_enabled('test', array_agg(n ORDER BY n)) AS arrays
	FROM generate_series(1, 400) AS n;
SELECT fflag_require('test', 'layer', 'b', 'd');
TABLE related;
SELECT users, enabled = in_b_or_d AS exactly, variants, arrays FROM tested;
-- another call says all of them anew; rows that stay are the same
SELECT id AS kept FROM feature_flag_relation WHERE other_variant = 'd' \gset
SELECT fflag_require('test', 'layer', 'd', 'a', 'd');
TABLE related;
SELECT id = :kept AS same FROM feature_flag_relation WHERE other_variant = 'd';
SELECT variants, arrays FROM tested;
SELECT fflag_require('test', 'layer', VARIADIC '{}');
TABLE related;
SELECT variants, arrays FROM tested;
SELECT fflag_require('test', 'layer', VARIADIC ARRAY['b', 'd']);
-- who gets the layer at 100 percent as nobody has no variant of it
SELECT fflag_enabled('layer'), fflag_enabled('test'), rule, because FROM fflag_explain('test');
SELECT fflag_unrelate('test', 'layer'), fflag_exclude('test', 'layer', 'b', 'd');
SELECT users, users - enabled = in_b_or_d AS exactly, variants, arrays FROM tested;
SELECT fflag_enabled('test');
SELECT fflag_unrelate('test', 'layer'), fflag_rollout('test', 0), fflag_include('test', 'layer', NULL, 'b', 'd');
SELECT users, enabled = in_b_or_d AS exactly, variants, arrays FROM tested;
SELECT fflag_enabled('test');
-- all and one of them by plain SQL: any will do
INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT flag_id, other_id, kind FROM feature_flag_relation LIMIT 1;
SELECT variants, arrays FROM tested;
SELECT fflag_unrelate('test', 'layer');
-- a variant that nobody gets, because the flag is not on
SELECT fflag_include('test', 'layer', NULL, 'a'), fflag_disable('layer');
SELECT enabled FROM tested;
SELECT fflag_enable('layer');

-- a variant is renamed: so it is for who names it.  It cannot go while it is named.
UPDATE feature_flag_variant SET name = 'z' WHERE name = 'a';
TABLE related;
SELECT variants FROM tested;
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_variants('layer', '{"a": 1, "b": 1}')$$),
	($$SELECT fflag_variants('layer', NULL)$$),
	($$DELETE FROM feature_flag_variant WHERE name = 'z'$$),
	($$UPDATE feature_flag_variant SET flag_id = (SELECT id FROM feature_flag WHERE name = 'test') WHERE name = 'z'$$),
	($$TRUNCATE feature_flag_variant$$),
	-- these are no mistakes
	($$SELECT fflag_variants('layer', '{"z": 2, "e": 1}')$$),
	($$DELETE FROM feature_flag_variant WHERE name = 'e'$$),
	($$WITH gone AS (DELETE FROM feature_flag_relation) DELETE FROM feature_flag_variant$$)) AS c (command);
\pset format aligned
\pset tuples_only off
TABLE related;
DELETE FROM feature_flag;
DROP VIEW tested;

-- pins: who gets the other flag has that variant, by whichever rule they get this one
-- (by its weight, everybody else has the first)
SELECT fflag_register('button', true, 100), fflag_variants('button', '{"white": 1000000000, "red": 1, "blue": 1, "BLUE": 1}');
SELECT fflag_group('testers', 1, 2, 3), fflag_group('designers', 2, 3, 4), fflag_group('admins', 3);
SELECT fflag_include('button', 'testers', 'red'), fflag_include('button', 'designers', 'blue'), fflag_include('button', 'admins', 'BLUE');
TABLE related;
CREATE VIEW pinned AS SELECT n, enabled, rule, variant, because, variant IS NOT DISTINCT FROM fflag_variant('button', n)
		AND variant IS NOT DISTINCT FROM (SELECT variant FROM fflag_flags(n) WHERE name = 'button')
		AND variant IS NOT DISTINCT FROM (SELECT a.variant FROM fflag_explain_at(now(), 'button', n) AS a) AS everywhere
	FROM generate_series(1, 5) AS n, fflag_explain('button', n) ORDER BY n;
TABLE pinned;
SELECT fflag_rollout('button', 0);
TABLE pinned;
SELECT fflag_allow('button', 1, 5);
TABLE pinned;
-- not who does not get it
SELECT fflag_deny('button', 1), fflag_disable('testers');
TABLE pinned;
SELECT fflag_enable('testers'), fflag_undeny('button', 1);
-- payloads go with pins; nobody has a variant by a pin only
SELECT fflag_variants('button', '{"white": 1000000000, "red": 1, "blue": 1}'), fflag_rollout('testers', 100);
UPDATE feature_flag_variant SET payload = to_jsonb(upper(name));
SELECT fflag_variant('button'), fflag_variant_payload('button'), fflag_variant_payload('button', 2);
SELECT fflag_rollout('testers', 0), fflag_variant('button'), fflag_variant('button', 4);
-- the variant that went takes its pins along, and no relation
TABLE related;
UPDATE feature_flag_variant SET name = 'crimson' WHERE name = 'red';
TABLE related;
SELECT fflag_variant('button', 1);
SELECT fflag_include('button', 'testers');
TABLE related;
-- a pin for some variants of another flag
SELECT fflag_variants('testers', '{"odd": 1, "even": 1}'), fflag_include('button', 'testers', 'crimson', 'odd', 'even'), fflag_include('button', 'designers');
SELECT fflag_rollout('button', 100), fflag_rollout('testers', 100);
CREATE VIEW pinned_by_variant AS SELECT fflag_variant('testers', n) AS tester, fflag_variant('button', n), count(*) > 100 AS many
	FROM generate_series(1, 400) AS n GROUP BY 1, 2 ORDER BY 1, 2;
TABLE pinned_by_variant;
UPDATE feature_flag_relation SET pin = NULL WHERE other_variant = 'even';
TABLE related;
TABLE pinned_by_variant;
DROP VIEW pinned_by_variant;
DELETE FROM feature_flag;
DROP VIEW pinned;

-- mistakes
SELECT fflag_register('a', true, 0), fflag_register('b', true, 0), fflag_register('c', true, 0);
SELECT fflag_variants('a', '{"v": 1}'), fflag_variants('b', '{"w": 1, "x": 1}');
SELECT fflag_require('a', 'b'), fflag_exclude('b', 'c');
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_require('a', 'nope')$$),
	($$SELECT fflag_require('nope', 'a')$$),
	($$SELECT fflag_require('nope', NULL)$$),
	($$SELECT fflag_require('a', NULL)$$),
	($$SELECT fflag_exclude('a', NULL)$$),
	($$SELECT fflag_include('a', NULL)$$),
	($$SELECT fflag_unrelate('a', NULL)$$),
	($$SELECT fflag_require(NULL, 'a')$$),
	($$SELECT fflag_exclude(NULL, NULL)$$),
	($$SELECT fflag_unrelate(NULL, 'a')$$),
	($$SELECT fflag_unrelate('a', 'nope')$$),
	($$SELECT fflag_require('a', '')$$),
	($$SELECT fflag_require('a', 'a')$$),
	($$SELECT fflag_include('a', 'a')$$),
	($$SELECT fflag_require('a', 'b', 'nope')$$),
	($$SELECT fflag_require('a', 'b', 'w', NULL)$$),
	($$SELECT fflag_require('a', 'b', VARIADIC NULL)$$),
	($$SELECT fflag_require('a', 'b', '')$$),
	($$SELECT fflag_exclude('c', 'b', 'v')$$),
	($$SELECT fflag_include('a', 'c', 'nope')$$),
	($$SELECT fflag_include('a', 'c', '')$$),
	($$SELECT fflag_include('a', 'c', 'v', 'nope')$$),
	-- one kind between two flags
	($$SELECT fflag_exclude('a', 'b')$$),
	($$SELECT fflag_include('a', 'b', 'v', 'w')$$),
	($$SELECT fflag_require('b', 'c')$$),
	($$INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT a.id, b.id, 'excludes', 'w' FROM feature_flag a, feature_flag b WHERE a.name = 'a' AND b.name = 'b'$$),
	($$UPDATE feature_flag_relation SET other_id = (SELECT id FROM feature_flag WHERE name = 'a'), flag_id = (SELECT id FROM feature_flag WHERE name = 'c')$$),
	-- by plain SQL
	($$INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT flag_id, other_id, kind FROM feature_flag_relation$$),
	($$INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT id, id, 'requires' FROM feature_flag$$),
	($$INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT id, 1000000, 'requires' FROM feature_flag WHERE name = 'a'$$),
	($$INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT 1000000, id, 'requires' FROM feature_flag WHERE name = 'a'$$),
	($$UPDATE feature_flag_relation SET kind = 'implies'$$),
	($$UPDATE feature_flag_relation SET kind = NULL$$),
	($$UPDATE feature_flag_relation SET pin = 'v'$$),
	($$UPDATE feature_flag_relation SET kind = 'includes', pin = 'nope'$$),
	($$UPDATE feature_flag_relation SET other_variant = 'nope'$$),
	($$UPDATE feature_flag_relation SET other_variant = repeat('x', 151)$$),
	-- flags that are needed
	($$DELETE FROM feature_flag WHERE name = 'b'$$),
	($$DELETE FROM feature_flag WHERE name = 'c'$$),
	($$DELETE FROM feature_flag WHERE name <> 'a'$$),
	($$UPDATE feature_flag SET id = -1 WHERE name = 'c'$$),
	($$TRUNCATE feature_flag$$),
	-- functions that are none to be called
	($$CREATE TEMP TABLE t (n int); CREATE TRIGGER t AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION fflag_check_relation(); DELETE FROM t$$),
	($$CREATE TEMP TABLE t (n int); CREATE TRIGGER t AFTER DELETE ON t REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION fflag_check_related(); DELETE FROM t$$),
	($$CREATE TRIGGER t BEFORE DELETE ON feature_flag FOR EACH STATEMENT EXECUTE FUNCTION fflag_check_related(); DELETE FROM feature_flag$$),
	($$CREATE TRIGGER t AFTER INSERT ON feature_flag FOR EACH ROW EXECUTE FUNCTION fflag_check_relation(); INSERT INTO feature_flag (name) VALUES ('new')$$),
	($$CREATE TRIGGER t AFTER DELETE ON feature_flag_relation REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION fflag_check_relation(); DELETE FROM feature_flag_relation$$),
	($$CREATE TRIGGER t AFTER INSERT ON feature_flag REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION fflag_check_related(); INSERT INTO feature_flag (name) VALUES ('new')$$),
	-- these are no mistakes
	($$UPDATE feature_flag SET name = 'bb' WHERE name = 'b'$$),
	($$UPDATE feature_flag_relation SET kind = 'requires'$$),
	($$WITH gone AS (DELETE FROM feature_flag WHERE name = 'bb' RETURNING *)
		INSERT INTO feature_flag (id, name, enabled) SELECT id, name, enabled FROM gone$$),
	($$DELETE FROM feature_flag WHERE name <> 'c'$$),
	($$DELETE FROM feature_flag$$)) AS c (command);
\pset format aligned
\pset tuples_only off
SELECT name FROM feature_flag ORDER BY name;
TABLE related;
DROP VIEW related;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- A cascade that nobody asked for: lists, variants and relations go with their flags, the
-- flags themselves with none.  All can go at once, in whichever order, or one with what
-- it needs.
INSERT INTO feature_flag (name, enabled) SELECT 'f' || n, true FROM generate_series(1, 51) AS n;
INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, 'v', 1 FROM feature_flag;
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) SELECT id, id - 1 - (id % 3), 'requires', CASE WHEN id % 2 = 0 THEN 'v' END FROM feature_flag WHERE id BETWEEN 5 AND 50;
INSERT INTO feature_flag_relation (flag_id, other_id, kind, pin) SELECT id, 51, 'includes', 'v' FROM feature_flag WHERE id < 4;
SELECT try('DELETE FROM feature_flag WHERE id > 25');
SELECT try('DELETE FROM feature_flag WHERE id BETWEEN 20 AND 49');
DELETE FROM feature_flag WHERE id BETWEEN 26 AND 50;
SELECT count(*) AS flags, (SELECT count(*) FROM feature_flag_relation) AS relations FROM feature_flag;
DELETE FROM feature_flag;
SELECT count(*) AS relations FROM feature_flag_relation;

-- whoever may not read a flag is not told its name
INSERT INTO feature_flag (id, name) VALUES (1, 'mine'), (2, 'secret'), (3, 'open');
INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'v', 1);
INSERT INTO feature_flag_relation (flag_id, other_id, kind, other_variant) VALUES (2, 1, 'requires', 'v'), (1, 3, 'requires', NULL);
CREATE ROLE regress_fflag_tenant;
GRANT DELETE, SELECT (id, name) ON feature_flag TO regress_fflag_tenant;
GRANT DELETE, SELECT ON feature_flag_variant TO regress_fflag_tenant;
GRANT INSERT ON feature_flag_relation TO regress_fflag_tenant;
CREATE FUNCTION try_three() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT try(c) FROM unnest(ARRAY['DELETE FROM feature_flag WHERE name = ''mine''', 'DELETE FROM feature_flag_variant',
		'INSERT INTO feature_flag_relation (flag_id, other_id, kind) VALUES (3, 2, ''requires'')']) AS c
$$;
\pset format unaligned
\pset tuples_only on
SET ROLE regress_fflag_tenant;
SELECT try_three();
RESET ROLE;
GRANT SELECT ON feature_flag TO regress_fflag_tenant;
SET ROLE regress_fflag_tenant;
SELECT try_three();
RESET ROLE;
ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feature_flag TO regress_fflag_tenant USING (name <> 'secret');
SET ROLE regress_fflag_tenant;
SELECT try_three();
RESET ROLE;
\pset format aligned
\pset tuples_only off
DROP FUNCTION try_three;
DROP EXTENSION fflag;
DROP ROLE regress_fflag_tenant;
CREATE EXTENSION fflag;

-- groups: flags that are there for others
SELECT fflag_group('beta', 1, 2), fflag_group('beta', 2, 3), fflag_group('beta');
SELECT fflag_group('ids', '00000000-0000-0000-0000-000000000001'::uuid), fflag_group('texts', 'a', 'b'), fflag_group('none');
SELECT fflag_group('many', VARIADIC ARRAY[1, 2, 3]::bigint[]), fflag_group('many', VARIADIC '{}'::text[]);
SELECT name, enabled, rollout_percentage, internal, (SELECT array_agg(user_id ORDER BY user_id) FROM feature_flag_user WHERE flag_id = id) AS users
FROM feature_flag ORDER BY name;
SELECT fflag_enabled('beta', ARRAY[1, 3, 4]);
SELECT fflag_register('flag', true, 0), fflag_include('flag', 'beta');
-- in no answer about all flags, also for who asks about users one by one
SELECT * FROM fflag_flags(1);
SELECT * FROM fflag_flags('a');
UPDATE feature_flag SET internal = NOT internal WHERE name IN ('beta', 'flag');
SELECT * FROM fflag_flags(1);
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_group('beta', 5)$$),
	($$SELECT fflag_group(NULL, 5)$$),
	($$SELECT fflag_group('')$$),
	($$SELECT fflag_group('new', 1, NULL)$$),
	($$SELECT fflag_group('new', VARIADIC NULL::text[])$$)) AS c (command);
\pset format aligned
\pset tuples_only off
SELECT name FROM feature_flag WHERE name = 'new';
-- a group that was changed by hand stays as it is
SELECT fflag_disable('texts'), fflag_rollout('texts', 10), fflag_group('texts', 'c');
SELECT enabled, rollout_percentage FROM feature_flag WHERE name = 'texts';
DELETE FROM feature_flag;

-- what does nothing, or everything, is noticed
SELECT fflag_register('f', true, 10), fflag_register('off', false), fflag_register('full', true), fflag_register('staff', true, 100, true), fflag_register('all', true);
SELECT fflag_require('f', 'off');
SELECT fflag_unrelate('f', 'off'), fflag_exclude('f', 'off');
SELECT fflag_unrelate('f', 'off'), fflag_include('f', 'off');
SELECT fflag_require('f', 'full');
SELECT fflag_unrelate('f', 'full'), fflag_exclude('f', 'full');
SELECT fflag_unrelate('f', 'full'), fflag_include('f', 'full');
SELECT fflag_include('all', 'f');
SELECT fflag_require('staff', 'f');
SELECT fflag_require('all', 'staff');
SELECT fflag_variants('full', '{"a": 1, "b": 1}'), fflag_include('f', 'full', NULL, 'a');
DELETE FROM feature_flag;

-- a large user id is uncompressed once, not for each flag on the way
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) SELECT n, 'l' || n, true, 99.999 FROM generate_series(1, 50) AS n;
INSERT INTO feature_flag_relation (flag_id, other_id, kind) SELECT id, id - 1, 'requires' FROM feature_flag WHERE id > 1;
CREATE FUNCTION peak() RETURNS bigint LANGUAGE sql AS $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::bigint $$;
CREATE TEMP TABLE large AS SELECT repeat('x', 10000000) AS id;
SELECT peak() AS kilobytes \gset
SELECT fflag_enabled('l50', id), peak() - :kilobytes < 200000 AS in_little_memory FROM large;
DROP FUNCTION peak;

DROP FUNCTION try;
DROP EXTENSION fflag;
