--
-- fflag_enabled: the rules, one after the other
--
CREATE EXTENSION fflag;

-- a flag that nobody has created: the default, which is false
SELECT fflag_enabled('checkout', 42);
SELECT fflag_enabled('checkout', 42, default_value => true);

-- a new flag is off; then the default does not count
SELECT fflag_register('checkout', rollout_percentage => 0);
SELECT fflag_enabled('checkout', 42, default_value => true);

-- switched on, but at 0%
SELECT fflag_enable('checkout');
SELECT fflag_enabled('checkout', 42);

-- at 10% the users with the lowest buckets are in
SELECT fflag_rollout('checkout', 10);
SELECT id, fflag_bucket('checkout', id), fflag_enabled('checkout', id)
FROM generate_series(1, 5) AS id;
SELECT count(*) FROM generate_series(1, 10000) AS id
WHERE fflag_enabled('checkout', id);

-- raising the percentage only ever adds users
CREATE TEMP TABLE at10 AS
	SELECT id FROM generate_series(1, 10000) AS id WHERE fflag_enabled('checkout', id);
SELECT fflag_rollout('checkout', 10.5);
SELECT count(*) FILTER (WHERE NOT fflag_enabled('checkout', id)) AS lost FROM at10;
SELECT count(*) FROM generate_series(1, 10000) AS id
WHERE fflag_enabled('checkout', id);

-- nobody (NULL) is in no partial rollout, but gets what everybody gets
SELECT fflag_enabled('checkout', NULL), fflag_enabled('checkout');
SELECT fflag_rollout('checkout', 100);
SELECT fflag_enabled('checkout', NULL), fflag_enabled('checkout');

-- who is listed is in at 0% too, but not if the flag is off
SELECT fflag_rollout('checkout', 0);
SELECT fflag_allow('checkout', 42);
SELECT fflag_enabled('checkout', 42) AS listed, fflag_enabled('checkout', 43) AS not_listed,
	fflag_enabled('checkout', NULL) AS nobody;
SELECT fflag_disable('checkout');
SELECT fflag_enabled('checkout', 42) AS listed;

-- staff only: comes before everything else, "enabled" included
UPDATE feature_flag SET staff_only = true WHERE name = 'checkout';
SELECT fflag_enabled('checkout', 42) AS listed, fflag_enabled('checkout', 1, true) AS staff,
	fflag_enabled('checkout', NULL, true) AS nobody;
SELECT fflag_enable('checkout'), fflag_rollout('checkout', 100);
SELECT fflag_enabled('checkout', 42) AS listed, fflag_enabled('checkout', 1, true) AS staff,
	fflag_enabled('checkout', 1, NULL) AS unknown_staff;

-- never NULL, whatever the arguments
SELECT fflag_enabled(NULL), fflag_enabled(NULL, 1, NULL, true), fflag_enabled('nope', 1, true, NULL);

-- the id is hashed as text: these are the same user
UPDATE feature_flag SET staff_only = false, rollout_percentage = 63 WHERE name = 'checkout';
SELECT count(*) FILTER (WHERE fflag_enabled('checkout', id)) AS users,
	count(*) FILTER (WHERE fflag_enabled('checkout', id) <> fflag_enabled('checkout', id::text)) AS different
FROM generate_series(-1000, 1000) AS id;
SELECT fflag_bucket('f', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11') =
	fflag_bucket('f', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid) AS uuid_text;
SELECT fflag_bucket('f', 9223372036854775807) = fflag_bucket('f', '9223372036854775807'),
	fflag_bucket('f', -9223372036854775808) = fflag_bucket('f', '-9223372036854775808');

-- an empty id is an id
SELECT fflag_bucket('checkout', ''), fflag_enabled('checkout', '');

DROP EXTENSION fflag;
