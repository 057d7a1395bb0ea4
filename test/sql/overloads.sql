--
-- Calls resolve without casts: bigint, uuid or text, literals, parameters,
-- named arguments
--
CREATE EXTENSION fflag;
-- just enough for user 42
SELECT fflag_register('f', true, 63.817);

CREATE TEMP TABLE people (i2 smallint, i4 int, i8 bigint, u uuid, t text, v varchar(20), n name, staff boolean);
INSERT INTO people VALUES (42, 42, 42, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '42', '42', '42', true);

SELECT fflag_enabled('f') AS no_user, fflag_enabled('f', NULL) AS nobody,
	fflag_enabled('f', '42') AS literal, fflag_enabled('f', 42) AS number,
	fflag_enabled(name => 'f', user_id => 42) AS named,
	fflag_enabled('f', is_staff => true) AS staff_only,
	fflag_enabled('f', default_value => true, user_id => '42') AS all_named;
SELECT fflag_enabled('f', i2), fflag_enabled('f', i4), fflag_enabled('f', i8, staff),
	fflag_enabled('f', u, staff, false), fflag_enabled('f', t), fflag_enabled('f', v),
	fflag_enabled(t, n) FROM people;
SELECT fflag_bucket('f', i2), fflag_bucket('f', i4), fflag_bucket('f', i8), fflag_bucket('f', u),
	fflag_bucket('f', t), fflag_bucket('f', v), fflag_bucket('f', '42') FROM people;
SELECT fflag_bucket(NULL, 42), fflag_bucket('f', NULL);

PREPARE untyped AS SELECT fflag_enabled($1, $2), fflag_enabled('f', $3::bigint);
EXECUTE untyped('f', '42', 42);

PREPARE all_untyped AS SELECT fflag_enabled($1, $2, $3), fflag_enabled($1, $2, $3, $4);
EXECUTE all_untyped('f', '42', 't', 'f');
SELECT fflag_enabled('f', '42', 't'), fflag_enabled('f', '42', NULL), fflag_enabled('f', NULL, NULL), fflag_enabled('f', '42', is_staff => 't');

SELECT * FROM fflag_explain('f');
SELECT * FROM fflag_explain('f', 42);
SELECT e.* FROM people, fflag_explain('f', u) AS e;
SELECT * FROM fflag_flags();
SELECT * FROM fflag_flags(42) AS a, fflag_flags('42', true) AS b, fflag_flags(user_id => NULL) AS c;
SELECT fflag_allow('f', 1, 2), fflag_allow('f', '3'), fflag_allow('f', u) FROM people;
SELECT fflag_disallow('f', VARIADIC array_agg(i4)) FROM people;

-- what is no user id is an error, never a silent cast
\set VERBOSITY sqlstate
SELECT fflag_enabled('f', 4.2);
SELECT fflag_enabled('f', true);
SELECT fflag_enabled('f', 'not a uuid'::uuid);
SELECT fflag_allow('f', 1, 'one');

DROP EXTENSION fflag;
