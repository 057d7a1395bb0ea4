--
-- Flags that require others: what fflag_require does and refuses, how flags that are
-- required can go, and long chains
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

SELECT fflag_register('payment', true), fflag_register('checkout', true), fflag_register('gift', true);
SELECT fflag_require('checkout', 'payment'), fflag_require('gift', 'checkout');
SELECT f.name, r.name AS requires FROM feature_flag f LEFT JOIN feature_flag r ON r.id = f.requires ORDER BY f.id;
SELECT enabled, rule, reason FROM fflag_explain('gift', 1);
SELECT fflag_disable('payment');
SELECT fflag_enabled('gift', 1), enabled, rule, reason FROM fflag_explain('gift', 1);
-- nobody is refused as well, and is_staff is passed on
SELECT fflag_enabled('gift'), rule FROM fflag_explain('gift');
UPDATE feature_flag SET staff_only = true WHERE name = 'payment';
SELECT fflag_enabled('gift', 1, true) AS staff, fflag_enabled('gift', 1) AS others, fflag_enabled('gift', NULL, true) AS nobody;
-- the same again; and none
SELECT fflag_require('gift', 'checkout');
SELECT fflag_require('gift', NULL), fflag_require('gift', NULL);
SELECT fflag_enabled('gift', 1);
SELECT fflag_require('gift', 'checkout');

-- mistakes
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_require('gift', 'nope')$$),
	($$SELECT fflag_require('nope', 'gift')$$),
	($$SELECT fflag_require('nope', NULL)$$),
	($$SELECT fflag_require(NULL, 'gift')$$),
	($$SELECT fflag_require(NULL, NULL)$$),
	($$SELECT fflag_require('gift', '')$$),
	($$SELECT fflag_require('gift', 'gift')$$),
	($$SELECT fflag_require('payment', 'gift')$$),
	($$UPDATE feature_flag SET requires = id$$),
	($$UPDATE feature_flag SET requires = 3 WHERE name = 'payment'$$),
	($$UPDATE feature_flag SET requires = -1 WHERE name = 'payment'$$),
	($$INSERT INTO feature_flag (name, requires) VALUES ('new', 1000)$$),
	($$INSERT INTO feature_flag (name, requires) VALUES ('new', -1)$$),
	-- flags that are required
	($$DELETE FROM feature_flag WHERE name = 'payment'$$),
	($$DELETE FROM feature_flag WHERE name <> 'gift'$$),
	($$UPDATE feature_flag SET id = -1 WHERE name = 'checkout'$$),
	($$UPDATE feature_flag SET id = id + 100$$),
	($$TRUNCATE feature_flag$$),
	-- one whose requirement would not be smaller any more
	($$UPDATE feature_flag SET id = 0 WHERE name = 'gift'$$),
	($$CREATE TEMP TABLE t (n int); CREATE TRIGGER t AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION fflag_check_required(); INSERT INTO t VALUES (1); DELETE FROM t$$),
	-- these are no mistakes
	($$UPDATE feature_flag SET name = 'pay' WHERE name = 'payment'$$),
	($$UPDATE feature_flag SET id = id + 100, requires = requires + 100$$),
	($$UPDATE feature_flag SET id = 1000 WHERE name = 'gift'$$),
	($$WITH gone AS (DELETE FROM feature_flag WHERE name = 'checkout' RETURNING *)
		INSERT INTO feature_flag (id, name, enabled, requires) SELECT id, name, enabled, requires FROM gone$$),
	($$DELETE FROM feature_flag WHERE name = 'pay'$$)) AS c (command);
\pset format aligned
\pset tuples_only off
SELECT id, name, enabled, requires FROM feature_flag ORDER BY id;
SELECT fflag_enabled('gift', 1, true);

-- the id of a flag goes to another, which is required from then on
INSERT INTO feature_flag (id, name, enabled) VALUES (103, 'other', true);
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_pkey CASCADE, ADD PRIMARY KEY (id) DEFERRABLE;
UPDATE feature_flag SET id = CASE id WHEN 103 THEN 102 ELSE 103 END WHERE id IN (102, 103);
SELECT f.name, r.name AS requires FROM feature_flag f JOIN feature_flag r ON r.id = f.requires ORDER BY f.id;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- A cascade that nobody asked for: lists and variants go with their flags, the flags
-- themselves with none.  All can go at once, in whichever order.
INSERT INTO feature_flag (name, enabled) SELECT 'f' || n, true FROM generate_series(1, 50) AS n;
UPDATE feature_flag SET requires = id - 1 - (id % 3) WHERE id > 4;
DELETE FROM feature_flag WHERE id > 25;
DELETE FROM feature_flag;

-- replication brings flags without what they require: who requires what is not there
-- does not get it.  An error tells of an id that is not smaller.
SELECT fflag_register('a', true), fflag_register('b', true), fflag_require('b', 'a');
SET session_replication_role = replica;
DELETE FROM feature_flag WHERE name = 'a';
SELECT fflag_enabled('b', 1), rule, fflag_enabled('b', ARRAY[1, 2]) FROM fflag_explain('b', 1);
\set VERBOSITY terse
UPDATE feature_flag SET requires = id;
\set VERBOSITY default
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_requires_check;
UPDATE feature_flag SET requires = id + 1;
RESET session_replication_role;
SELECT try('SELECT fflag_enabled(''b'', 1)');
UPDATE feature_flag SET requires = NULL;
SELECT fflag_enabled('b', 1);
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- whoever may not read a flag is not told its name: the foreign key refuses
INSERT INTO feature_flag (name) VALUES ('mine'), ('secret');
SELECT fflag_require('secret', 'mine');
CREATE ROLE regress_fflag_tenant;
GRANT DELETE, SELECT (id, name) ON feature_flag TO regress_fflag_tenant;
\pset format unaligned
\pset tuples_only on
SET ROLE regress_fflag_tenant;
SELECT try('DELETE FROM feature_flag WHERE name = ''mine''');
RESET ROLE;
GRANT SELECT ON feature_flag TO regress_fflag_tenant;
SET ROLE regress_fflag_tenant;
SELECT try('DELETE FROM feature_flag WHERE name = ''mine''');
RESET ROLE;
ALTER TABLE feature_flag ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feature_flag TO regress_fflag_tenant USING (name <> 'secret');
SET ROLE regress_fflag_tenant;
SELECT try('DELETE FROM feature_flag WHERE name = ''mine''');
RESET ROLE;
\pset format aligned
\pset tuples_only off
DROP EXTENSION fflag;
DROP ROLE regress_fflag_tenant;
CREATE EXTENSION fflag;

-- names that are not unique: which of two flags one requires is not told, and it ends
ALTER TABLE feature_flag DROP CONSTRAINT feature_flag_name_key;
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) VALUES (1, 'twin', true, 100), (2, 'between', true, 100), (3, 'twin', true, 100);
UPDATE feature_flag SET requires = id - 1 WHERE id > 1;
-- the first in the table, which has no index on names, is the last that was created
UPDATE feature_flag SET description = 'moved' WHERE id < 3;
VACUUM FULL feature_flag;
SET statement_timeout = '1min';
SELECT fflag_enabled('twin', 1), fflag_enabled('between', 1);
PREPARE twins AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('twin', n);
EXECUTE twins;
DEALLOCATE twins;
RESET statement_timeout;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- a large user id is uncompressed once, not for each flag of a chain
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'l' || n, true, 99.999 FROM generate_series(1, 50) AS n;
UPDATE feature_flag SET requires = id - 1 WHERE id > 1;
CREATE FUNCTION peak() RETURNS bigint LANGUAGE sql AS $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::bigint $$;
CREATE TEMP TABLE large AS SELECT repeat('x', 10000000) AS id;
SELECT peak() AS kilobytes \gset
SELECT fflag_enabled('l50', id), peak() - :kilobytes < 200000 AS in_little_memory FROM large;
DROP FUNCTION peak;
DROP EXTENSION fflag;
CREATE EXTENSION fflag;

-- chains of 10,000: nothing calls itself
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'c' || n, true, 100 FROM generate_series(1, 10000) AS n;
UPDATE feature_flag SET requires = id - 1 WHERE id > 1;
SELECT fflag_enabled('c10000', 1), fflag_enabled('c10000', ARRAY[1, 2, NULL]), fflag_variant('c10000', 1, false, 'none');
SELECT rule FROM fflag_explain('c10000', 1);
SELECT rule FROM fflag_explain('c10000');
SET plan_cache_mode = force_generic_plan;
PREPARE p AS SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('c10000', n);
EXECUTE p;
SELECT fflag_rollout('c1', 50);
EXECUTE p;
SELECT count(*) FROM generate_series(1, 10) AS n WHERE fflag_enabled('c1', n);
SELECT fflag_disable('c5000');
EXECUTE p;
SELECT c, rule FROM unnest('{c4999,c5000,c5001,c10000}'::text[]) AS c, fflag_explain(c, 1);
SELECT count(*) AS flags, count(*) FILTER (WHERE enabled) AS enabled FROM fflag_flags(1);
SELECT try('DELETE FROM feature_flag WHERE name = ''c5000''');
DELETE FROM feature_flag WHERE id > 9000;
DELETE FROM feature_flag;

DROP FUNCTION try;
DROP EXTENSION fflag;
