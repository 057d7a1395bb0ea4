--
-- Functions that change flags: register, enable, disable, rollout, allow,
-- disallow; and what they refuse
--
CREATE EXTENSION fflag;

-- registering creates a flag, or leaves it alone and says so
SELECT fflag_register('checkout');
SELECT fflag_register('checkout', enabled => true, rollout_percentage => 5, staff_only => true, description => 'no');
SELECT fflag_register('beta', true, 12.5, true, 'the beta');
SELECT * FROM fflag_register(ARRAY['checkout', 'search', 'cart', 'search'], enabled => true);
SELECT * FROM fflag_register('{}'::text[]);
SELECT name, enabled, staff_only, rollout_percentage, description FROM feature_flag ORDER BY name;

-- of many names, one at a time takes memory: looked at while the 101st and the last are registered
BEGIN;
CREATE TABLE memory (name text, used bigint);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO memory SELECT NEW.name, sum(used_bytes) FROM pg_backend_memory_contexts;
	RETURN NEW; END $$;
CREATE TRIGGER look BEFORE INSERT ON feature_flag FOR EACH ROW WHEN (NEW.name IN ('f101', 'f400')) EXECUTE FUNCTION look();
SELECT count(*) FILTER (WHERE created) FROM fflag_register(ARRAY(SELECT 'f' || to_char(n, 'FM000') FROM generate_series(1, 400) AS n));
SELECT count(*), max(used) - min(used) < 300 * 300 AS bounded FROM memory;
ROLLBACK;

-- single changes
SELECT fflag_enable('checkout'), fflag_rollout('checkout', 2.5);
SELECT enabled, rollout_percentage FROM feature_flag WHERE name = 'checkout';
SELECT fflag_disable('checkout'), fflag_rollout('checkout', 0);
SELECT enabled, rollout_percentage FROM feature_flag WHERE name = 'checkout';

-- the allowlist: idempotent, and the count is of rows changed
SELECT fflag_allow('checkout', 1, 2, 2, 3), fflag_allow('checkout', 3, 4), fflag_allow('checkout', '4', 'alice');
SELECT fflag_allow('checkout', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid);
SELECT user_id FROM feature_flag_user ORDER BY user_id;
SELECT fflag_disallow('checkout', 1, 1, 99), fflag_disallow('checkout', 'alice'),
	fflag_disallow('checkout', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
SELECT fflag_allow('checkout', VARIADIC '{}'::bigint[]), fflag_disallow('checkout', VARIADIC '{}'::text[]);
SELECT user_id FROM feature_flag_user ORDER BY user_id;

-- an array without VARIADIC, and blank lines of a file: listed, and hardly meant
SELECT fflag_allow('beta', '{a,b}');
SELECT fflag_allow('beta', '{}', '{a}', 'a', '{', '}', '{a', 'a}', '', ' ', E'\t\r\n', ' a ');
SELECT fflag_deny('beta', '{1}');
SELECT fflag_deny('beta', '', 'a');
SELECT fflag_allow('beta', VARIADIC '{a,b,\ }'::text[]), fflag_allow('beta', VARIADIC '{1,2}'::bigint[]);
SELECT fflag_disallow('beta', '{a,b}', ''), fflag_undeny('beta', '{1}', '');
SELECT count(fflag_disallow('beta', user_id)) FROM feature_flag_user AS u JOIN feature_flag ON id = flag_id WHERE name = 'beta';
SELECT fflag_undeny('beta', 'a');

-- mistakes: SQLSTATE, the flag's name and a hint
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
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_enable('chekout')$$),
	($$SELECT fflag_disable('chekout')$$),
	($$SELECT fflag_rollout('chekout', 10)$$),
	($$SELECT fflag_allow('chekout', 10)$$),
	($$SELECT fflag_disallow('chekout', 10)$$),
	($$SELECT fflag_enable(NULL)$$),
	($$SELECT fflag_enable('')$$),
	($$SELECT fflag_register('')$$),
	($$SELECT fflag_register(NULL::text)$$),
	($$SELECT fflag_register(repeat('ü', 151))$$),
	($$SELECT fflag_register(repeat('ü', 150))$$),
	($$SELECT fflag_register(' checkout')$$),
	($$SELECT fflag_register('checkout ')$$),
	($$SELECT fflag_register(E'\tcheckout')$$),
	($$SELECT fflag_register(E'check\tout')$$),
	($$SELECT fflag_register(E'checkout\u3000')$$),
	($$SELECT fflag_register(E'\uFEFFcheckout')$$),
	($$SELECT fflag_register(E'check\u00ADout')$$),
	($$SELECT fflag_register(E'checkout\u200D')$$),
	($$SELECT fflag_register(' ')$$),
	($$SELECT * FROM fflag_register(ARRAY['one', E'two\r'])$$),
	($$SELECT fflag_allow('checkout', repeat('x', 2049))$$),
	($$SELECT fflag_allow('checkout', 'a', repeat('ü', 1025))$$),
	($$SELECT fflag_allow('checkout', VARIADIC ARRAY[repeat('x', 2048)])$$),
	($$SELECT fflag_disallow('checkout', repeat('x', 2048), repeat('x', 100000))$$),
	($$SELECT * FROM fflag_register(ARRAY['one', NULL])$$),
	($$SELECT * FROM fflag_register(ARRAY['one', ''])$$),
	($$SELECT * FROM fflag_register(NULL::text[])$$),
	($$SELECT fflag_register('new', NULL)$$),
	($$SELECT fflag_register('new', rollout_percentage => 101)$$),
	($$SELECT fflag_rollout('checkout', 100.001)$$),
	($$SELECT fflag_rollout('checkout', -1)$$),
	($$SELECT fflag_rollout('checkout', 'NaN')$$),
	($$SELECT fflag_rollout('checkout', 'Infinity')$$),
	($$SELECT fflag_rollout('checkout', '-Infinity')$$),
	($$SELECT fflag_rollout('checkout', 1e100)$$),
	($$SELECT fflag_rollout('checkout', 10.0001)$$),
	($$SELECT fflag_rollout('checkout', 10.0010000)$$),
	($$SELECT fflag_rollout('checkout', NULL)$$),
	($$SELECT fflag_allow('checkout', VARIADIC ARRAY[1, NULL])$$),
	($$SELECT fflag_disallow('checkout', VARIADIC NULL::text[])$$)) AS c (command);
\pset format aligned
\pset tuples_only off

-- nothing has come of them
SELECT left(name, 10) AS name, length(name), enabled, rollout_percentage FROM feature_flag ORDER BY name;
DROP FUNCTION try;

-- an id that is no bigint any more is not taken for one
ALTER EXTENSION fflag DROP SEQUENCE feature_flag_id_seq;
ALTER TABLE feature_flag_user DROP CONSTRAINT feature_flag_user_flag_id_fkey;
ALTER TABLE feature_flag_denied_user DROP CONSTRAINT feature_flag_denied_user_flag_id_fkey;
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_flag_id_fkey;
ALTER TABLE feature_flag_relation DROP CONSTRAINT feature_flag_relation_flag_id_fkey, DROP CONSTRAINT feature_flag_relation_other_id_fkey;
ALTER TABLE feature_flag ALTER id DROP IDENTITY;
ALTER TABLE feature_flag ALTER id TYPE text;
SELECT fflag_allow('checkout', 1);
SELECT fflag_require('checkout', 'new');
DROP EXTENSION fflag;
