--
-- fflag.override: answers that one session forces, before any other rule.
-- 022_override has what needs a second session or another server.
--
CREATE EXTENSION fflag;
SELECT fflag_register('new_checkout', true, 10), fflag_register('dark_mode', false), fflag_register('beta_search', true, 0),
	fflag_register('staff_tools', true, 0, true), fflag_register('full', true), fflag_register('A "b", c=d', true);
SELECT fflag_allow('beta_search', VARIADIC array_agg(n)) FROM generate_series(1, 20) AS n;

-- every function that evaluates, before and after
CREATE VIEW answers AS
	SELECT name, fflag_enabled(name, 7) AS number, fflag_enabled(name, 'x') AS text, fflag_enabled(name, md5('x')::uuid) AS uuid,
		fflag_enabled(name) AS nobody, fflag_enabled(name, 7, true) AS staff, fflag_enabled(name, 7, default_value => true) AS by_default,
		fflag_enabled(name, ARRAY[7, 1, NULL]) AS array, fflag_enabled_all(name, '{7,8}'::bigint[], '{t,f}') AS all,
		ARRAY(SELECT fflag_select(name, ARRAY[7, 30])) AS selected,
		(SELECT concat_ws(' ', enabled, rule, reason, bucket, rollout_percentage) FROM fflag_explain(name, 7)) AS explained,
		(SELECT enabled FROM fflag_flags(7) AS f WHERE f.name = v.name) AS among_all
	FROM (VALUES ('new_checkout'), ('dark_mode'), ('beta_search'), ('staff_tools'), ('full'), ('A "b", c=d'), ('no flag'), (NULL)) AS v (name);
SELECT * FROM answers;
SET fflag.override = E'new_checkout=on, beta_search = off\n,dark_mode=true,staff_tools=no ,full=0,"A ""b"", c=d"=off, "no flag"=1';
SHOW fflag.override;
SELECT * FROM answers;
-- names are compared byte by byte, and an override makes no flag
SET fflag.override = 'New_Checkout=on, no_flag=on';
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('New_Checkout', 7), count(*), count(*) FILTER (WHERE name ~ 'no_flag') AS made FROM fflag_flags(7);
RESET fflag.override;
SELECT count(*) AS as_before FROM answers WHERE explained ~ 'override';

-- nor does the cache matter, or the length of a name
SET fflag.override = 'new_checkout=on';
SET fflag.cache = off;
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('full', 7);
SELECT set_config('fflag.override', format('%s=on, %s=off', repeat('long', 500), repeat('l', 2000)), false) IS NOT NULL AS set;
SELECT fflag_enabled(repeat('long', 500)), fflag_enabled(repeat('l', 2000), default_value => true), fflag_enabled(repeat('x', 2000), default_value => true);
RESET fflag.cache;
SELECT fflag_enabled(repeat('long', 500)), fflag_enabled(repeat('l', 2000), default_value => true), fflag_enabled(repeat('x', 2000), default_value => true);
-- a name that is looked up in a column
SELECT n, fflag_enabled(repeat(n, 2000), default_value => true) FROM unnest('{l,x,l}'::text[]) AS n;
RESET fflag.override;

-- what is no list is refused, and leaves the setting as it was
SET fflag.override = 'new_checkout=on';
SET fflag.override = 'new_checkout';
SET fflag.override = 'new_checkout=';
SET fflag.override = 'new_checkout=maybe';
SET fflag.override = 'new_checkout=on dark_mode=on';
SET fflag.override = 'new_checkout=on,';
SET fflag.override = ',';
SET fflag.override = '=on';
SET fflag.override = '""=on';
SET fflag.override = '"new_checkout=on';
SET fflag.override = '"new_checkout"x=on';
SET fflag.override = 'new_"checkout"=on';
SET fflag.override = 'dark mode=on';
SET fflag.override = '"a"=on, "a""a"=on, "a"=on';
SET fflag.override = '==';
SET fflag.override = 'button=on:';
SET fflag.override = 'button=on: ,full=on';
SET fflag.override = 'button=on:""';
SET fflag.override = 'button=on:"blue';
SET fflag.override = 'button=on:blue:green=1';
SET fflag.override = 'button=on:light blue';
SET fflag.override = 'button=on:blue"';
SET fflag.override = 'button=off:blue';
SET fflag.override = 'button=blue';
SET fflag.override = 'button=:blue';
SET fflag.override = 'button=blue:on';
SET fflag.override = 'button=on:blue, button=on:green';
SELECT set_config('fflag.override', 'button=off:' || repeat('ß', 1000), false);
SELECT set_config('fflag.override', repeat('ü', 1000) || '=' || repeat('ß', 1000), false);
SELECT set_config('fflag.override', repeat('x', 1024 * 1024) || '=on', false);
SHOW fflag.override;
-- an empty list is none
SET fflag.override = '';
SELECT fflag_enabled('new_checkout', 7);
SET fflag.override = ' ';
SELECT fflag_enabled('new_checkout', 7);

-- many: found one by one, and refused if one of them comes again
SELECT set_config('fflag.override', string_agg(format('"flag %s"=%s', n, n % 2), ', ' ORDER BY md5(n::text)), false) IS NOT NULL AS set
FROM generate_series(1, 10000) AS n;
SELECT count(*) AS wrong FROM generate_series(0, 10001) AS n
WHERE fflag_enabled('flag ' || n, default_value => n IN (0, 10001)) <> (n % 2 = 1 OR n = 0);
SELECT set_config('fflag.override', string_agg(format('"flag %s"=%s', n, n % 2), ', '), false)
FROM (SELECT generate_series(1, 30000) UNION ALL SELECT 12345) AS numbers (n);
RESET fflag.override;

-- a change of the setting holds from the next evaluation on
BEGIN;
SET LOCAL fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('full', 7);
SAVEPOINT s;
SET LOCAL fflag.override = 'new_checkout=off, full=off';
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('full', 7);
ROLLBACK TO s;
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('full', 7);
SAVEPOINT s;
SET LOCAL fflag.override = 'new_checkout=off';
RELEASE s;
SELECT fflag_enabled('new_checkout', 7);
COMMIT;
SELECT fflag_enabled('new_checkout', 7);
BEGIN;
SET fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7);
ROLLBACK;
SELECT fflag_enabled('new_checkout', 7);

-- REPEATABLE READ: the snapshot is the same, the answer is not
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT fflag_enabled('new_checkout', 7);
SET LOCAL fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7);
RESET fflag.override;
SELECT fflag_enabled('new_checkout', 7);
COMMIT;

-- in a cursor that is open, with the name as a constant and in a column
BEGIN;
DECLARE c CURSOR FOR SELECT fflag_enabled('new_checkout', 7) AS constant, fflag_enabled(name, 7) AS column
	FROM unnest('{new_checkout,new_checkout,full}'::text[]) AS name;
FETCH c;
SET LOCAL fflag.override = 'new_checkout=on, full=off';
FETCH c;
RESET fflag.override;
FETCH c;
COMMIT;
-- and in the middle of a statement
SELECT n, fflag_enabled('new_checkout', 7) AS before, set_config('fflag.override', 'new_checkout=' || n % 2, true) AS set,
	fflag_enabled('new_checkout', 7) AS after
FROM generate_series(1, 4) AS n;
SELECT fflag_enabled('new_checkout', 7);

-- prepared statements, generic plans, PL/pgSQL
SET plan_cache_mode = force_generic_plan;
PREPARE constant AS SELECT fflag_enabled('new_checkout', 7);
PREPARE param (text) AS SELECT fflag_enabled($1, 7);
PREPARE scan AS SELECT count(*) FROM generate_series(1, 1000) AS n WHERE fflag_enabled('new_checkout', 7) AND n > 0;
CREATE FUNCTION in_plpgsql(OUT before boolean, OUT during boolean, OUT after boolean) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..2 LOOP
		before := fflag_enabled('new_checkout', 7);
		PERFORM set_config('fflag.override', 'new_checkout=on', true);
		during := fflag_enabled('new_checkout', 7);
		BEGIN
			PERFORM set_config('fflag.override', 'new_checkout=off', true);
			during := during AND NOT fflag_enabled('new_checkout', 7);
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			during := during AND fflag_enabled('new_checkout', 7);
		END;
		PERFORM set_config('fflag.override', '', true);
		after := fflag_enabled('new_checkout', 7);
	END LOOP;
END $$;
EXECUTE constant; EXECUTE param('new_checkout'); EXECUTE scan; SELECT * FROM in_plpgsql();
SET fflag.override = 'new_checkout=on';
EXECUTE constant; EXECUTE param('new_checkout'); EXECUTE scan;
RESET fflag.override;
EXECUTE constant; EXECUTE param('new_checkout'); EXECUTE scan; SELECT * FROM in_plpgsql();
DEALLOCATE ALL;

-- A variant is forced, too: for whomever, whatever its weight, in every function that
-- names one.  One that the flag does not have is not: it is chosen as without.
SELECT fflag_register('button', false), fflag_variants('button', '{"blue": {"payload": "#00f"}, "green": 1000, "old": {"weight": 0, "payload": "old"}, "a, \"b\"=:c": 0, "grün": 0}');
SELECT fflag_register('plain', true), fflag_register('one', true), fflag_variants('one', '{"it": {"payload": 1}, "other": 0}');
CREATE VIEW variants AS
	SELECT name, fflag_variant(name, 7) AS number, fflag_variant(name, 'x') AS text, fflag_variant(name, md5('x')::uuid) AS uuid, fflag_variant(name) AS nobody,
		fflag_variant(name, 7, true, 'default') AS by_default, fflag_variant_payload(name, 7) AS payload, fflag_variant_payload(name, NULL::bigint, false, 'old') AS of_nobody,
		(SELECT concat_ws(' ', enabled, rule, variant) FROM fflag_explain(name, 7)) AS explained, (SELECT variant FROM fflag_flags(7) AS f WHERE f.name = v.name) AS among_all,
		(SELECT concat_ws(' ', enabled, rule, variant) FROM fflag_explain_at(clock_timestamp(), name, 7)) AS without
	FROM (VALUES ('button'), ('plain'), ('one'), ('no flag'), (repeat('long', 500)), (NULL)) AS v (name);
\set show 'SELECT left(name, 10) AS name, number, text, uuid, nobody, by_default, payload, of_nobody, explained, among_all, without FROM variants;'
:show
SET fflag.override = 'button=on:old , plain = yes : "it" ,one=1:other, "no flag"=on:it';
:show
SELECT set_config('fflag.override', format('button=on:"a, ""b""=:c", one=on:nope, %s=on:it', repeat('long', 500)), false) IS NOT NULL AS set;
:show
SET fflag.override = 'button=on:grün';
SELECT fflag_variant('button', 7), fflag_variant_payload('button', 7);
-- names are compared byte by byte
SET fflag.override = 'button=on:Old';
SELECT fflag_variant('button', 7) <> 'old' AS chosen, fflag_variant('button');
SET fflag.override = 'button=on';
SELECT fflag_variant('button', 7) <> 'old' AS chosen, fflag_variant('button');
SET fflag.override = 'button=off';
SELECT fflag_variant('button', 7), fflag_variant('button', 7, default_variant => 'blue');
-- and without the cache
SET fflag.override = 'button=on:old';
SET fflag.cache = off;
SELECT fflag_variant('button', n) FROM generate_series(1, 3) AS n;
RESET fflag.cache;
-- the variants are those that the snapshot has
BEGIN;
SELECT fflag_variant('button', 7);
SAVEPOINT s;
DELETE FROM feature_flag_variant WHERE name = 'old';
SELECT fflag_variant('button', 7) <> 'old' AS chosen;
ROLLBACK TO s;
SELECT fflag_variant('button', 7);
-- in a cursor that is open, and in the middle of a statement
DECLARE c CURSOR FOR SELECT fflag_variant('button', 7) AS constant, fflag_variant(name, 7) AS column, fflag_variant_payload(name, 7) AS payload
	FROM unnest('{button,button,button}'::text[]) AS name;
FETCH c;
SET LOCAL fflag.override = 'button=on:blue';
FETCH c;
ROLLBACK TO s;
SELECT fflag_variant('button', 7);
COMMIT;
SELECT n, fflag_variant('button', 7) AS before, set_config('fflag.override', 'button=on:' || n, true) IS NOT NULL AS set, fflag_variant('button', 7) AS after
FROM unnest('{blue,green,old,blue}'::text[]) AS n;
-- prepared statements, generic plans
RESET fflag.override;
PREPARE constant AS SELECT fflag_variant('button', 7), fflag_variant_payload('button', 7);
PREPARE param (text) AS SELECT fflag_variant($1, 7);
EXECUTE constant; EXECUTE param('button');
SET fflag.override = 'button=on:old';
EXECUTE constant; EXECUTE param('button');
SET fflag.override = 'button=on:blue';
EXECUTE constant; EXECUTE param('button');
RESET fflag.override;
EXECUTE constant; EXECUTE param('button');
DEALLOCATE ALL;
DROP VIEW variants;
DELETE FROM feature_flag WHERE name IN ('button', 'plain', 'one');

-- What the planner expects follows.  A kept plan may expect something else, but
-- its answers are right.
CREATE TABLE people AS SELECT n AS id FROM generate_series(1, 1000) AS n;
ANALYZE people;
CREATE FUNCTION expected(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$;
PREPARE kept AS SELECT count(*) FROM people WHERE fflag_enabled('new_checkout', id);
CREATE VIEW estimates AS SELECT expected($$SELECT FROM people WHERE fflag_enabled('new_checkout', id)$$) AS flag,
	expected($$SELECT FROM people WHERE fflag_enabled('no flag', id)$$) AS no_flag,
	expected($$SELECT FROM fflag_select('new_checkout', ARRAY[1, 2, 3, 4])$$) AS selected;
SELECT * FROM estimates;
EXECUTE kept;
SET fflag.override = 'new_checkout=on, "no flag"=on';
SELECT * FROM estimates;
EXECUTE kept;
SET fflag.override = 'new_checkout=off, "no flag"=off';
SELECT * FROM estimates;
EXECUTE kept;
RESET fflag.override;
EXECUTE kept;
RESET plan_cache_mode;
DEALLOCATE ALL;

-- attached tables: names are names
CREATE TABLE app_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
CREATE TABLE app_flag_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
INSERT INTO app_flag VALUES (1, 'app', true, false, 0);
SELECT fflag_attach('app_flag', 'app_flag_user');
SET fflag.override = 'app=on';
SELECT fflag_enabled('app', 7), fflag_enabled('app');
RESET fflag.override;
SELECT fflag_enabled('app', 7), fflag_enabled('app');
SELECT fflag_detach();

-- who may: a superuser, and whoever it has been granted to
CREATE ROLE regress_fflag_on_call;
CREATE ROLE regress_fflag_shop;
SET ROLE regress_fflag_on_call;
SET fflag.override = 'new_checkout=on';
SELECT set_config('fflag.override', 'new_checkout=on', true);
ALTER ROLE regress_fflag_on_call SET fflag.override = 'new_checkout=on';
RESET ROLE;
GRANT SET ON PARAMETER fflag.override TO regress_fflag_on_call;
SET ROLE regress_fflag_on_call;
SET fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7);
RESET fflag.override;
RESET ROLE;

-- A function lends one override: its owner may, its callers may only call it.
CREATE FUNCTION try_new_checkout() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM set_config('fflag.override', 'new_checkout=on', true);
END $$;
ALTER FUNCTION try_new_checkout OWNER TO regress_fflag_on_call;
-- or lends it for its own run only
CREATE FUNCTION as_if_on(id bigint) RETURNS boolean LANGUAGE sql SECURITY DEFINER
SET fflag.override = 'new_checkout=on' SET search_path = public, pg_temp
AS 'SELECT fflag_enabled(''new_checkout'', id)';
ALTER FUNCTION as_if_on OWNER TO regress_fflag_on_call;
SET ROLE regress_fflag_shop;
BEGIN;
SELECT try_new_checkout();
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('dark_mode', 7);
SAVEPOINT s;
SET LOCAL fflag.override = 'dark_mode=on';
ROLLBACK TO s;
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('dark_mode', 7);
COMMIT;
SELECT fflag_enabled('new_checkout', 7);
SELECT as_if_on(7), fflag_enabled('new_checkout', 7);
RESET ROLE;

-- The same in sessions that have not loaded the library when the setting is set:
-- who may not set it has no override, and is told so.
\c
SET ROLE regress_fflag_shop;
SET fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7);
\c
SET ROLE regress_fflag_shop;
SELECT as_if_on(7);
\c
SET ROLE regress_fflag_shop;
BEGIN;
SELECT try_new_checkout();
SELECT fflag_enabled('new_checkout', 7), fflag_enabled('dark_mode', 7);
COMMIT;
SELECT fflag_enabled('new_checkout', 7);
\c
SET ROLE regress_fflag_on_call;
SET fflag.override = 'new_checkout=on';
SELECT fflag_enabled('new_checkout', 7);
\c
SET fflag.override = 'new_checkout';
SELECT fflag_enabled('new_checkout', 7);
\c
SET ROLE regress_fflag_shop;
ALTER ROLE regress_fflag_shop SET fflag.override = 'new_checkout=on';
RESET ROLE;

DROP FUNCTION try_new_checkout, as_if_on, in_plpgsql;
DROP VIEW answers, estimates;
DROP FUNCTION expected;
DROP TABLE people, app_flag, app_flag_user;
REVOKE SET ON PARAMETER fflag.override FROM regress_fflag_on_call;
DROP ROLE regress_fflag_on_call, regress_fflag_shop;
DROP EXTENSION fflag;
