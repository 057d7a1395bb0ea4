--
-- What the planner knows: how many rows pass, and that plans are made anew when
-- flags change
--
CREATE EXTENSION fflag;
-- statistics are what ANALYZE below says
ALTER TABLE feature_flag_user SET (autovacuum_enabled = off);
ALTER TABLE feature_flag_denied_user SET (autovacuum_enabled = off);
INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage) VALUES
	('off', false, false, 50), ('full', true, false, 100), ('staff', true, true, 0), ('list', true, false, 0),
	('ten', true, false, 10), ('one', true, false, 1), ('long', true, false, 0);
SELECT fflag_allow('list', VARIADIC ARRAY(SELECT generate_series(1, 500)));
SELECT fflag_allow('long', VARIADIC ARRAY(SELECT generate_series(1, 20000)));
ANALYZE feature_flag_user;
CREATE TABLE account AS SELECT n::bigint AS id, n % 100 = 0 AS is_staff FROM generate_series(1, 100000) AS n;
CREATE TABLE purchase AS SELECT n AS id, (n % 100000) + 1 AS account FROM generate_series(1, 200000) AS n;
CREATE INDEX ON purchase (account);
VACUUM ANALYZE account;
VACUUM ANALYZE purchase;
SET max_parallel_workers_per_gather = 0;

-- estimated and actual rows, in hundreds
CREATE FUNCTION rows(condition text, OUT estimated numeric, OUT actual numeric) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) SELECT FROM account WHERE ' || condition INTO plan;
	estimated := round((plan->0->'Plan'->>'Plan Rows')::numeric, -2);
	actual := round((plan->0->'Plan'->>'Actual Rows')::numeric, -2);
END $$;
SELECT condition, r.* FROM (VALUES
	($$fflag_enabled('ten', id)$$), ($$NOT fflag_enabled('ten', id)$$), ($$fflag_enabled('one', id)$$),
	($$fflag_enabled('off', id)$$), ($$fflag_enabled('full', id)$$),
	($$fflag_enabled('staff', id, true)$$), ($$fflag_enabled('staff', id, false)$$), ($$fflag_enabled('staff', id)$$),
	($$fflag_enabled('list', id)$$), ($$fflag_enabled('long', id)$$),
	($$fflag_enabled('nope', id)$$), ($$fflag_enabled('nope', id, false, true)$$),
	($$fflag_enabled('ten', id::text)$$)) AS c (condition), rows(condition) AS r;
-- staff by the statistics of the column; names that are no constant by default
SELECT estimated BETWEEN 800 AND 1200 AS staff FROM rows($$fflag_enabled('staff', id, is_staff)$$);
SELECT estimated AS default FROM rows($$fflag_enabled(substr('ten', id::int % 2), id)$$);
SELECT estimated AS default FROM rows($$fflag_enabled(NULL, id)$$);
SELECT estimated AS default FROM rows($$fflag_enabled('ten', NULL) AND fflag_enabled(default_value => id = 1, name => 'nope')$$);

-- what fflag_select and fflag_flags return, without rounding
CREATE FUNCTION returned(call text, command text DEFAULT 'SELECT FROM', OUT estimated numeric, OUT actual numeric) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || command || ' ' || call INTO plan;
	estimated := plan->0->'Plan'->>'Plan Rows';
	actual := round((plan->0->'Plan'->>'Actual Rows')::numeric);
END $$;
SELECT call, r.* FROM (VALUES
	($$fflag_select('full', ARRAY[7, 8, 9]::bigint[])$$), ($$fflag_select('full', '{7,8}'::text[])$$),
	($$fflag_select('off', ARRAY(SELECT id FROM account))$$), ($$fflag_select('staff', ARRAY(SELECT id FROM account))$$),
	($$fflag_select('nope', ARRAY(SELECT id FROM account))$$), ($$fflag_select('list', ARRAY(SELECT id FROM account))$$),
	($$fflag_flags(1)$$), ($$fflag_flags()$$)) AS c (call), returned(call) AS r;
SELECT estimated BETWEEN 9900 AND 10100 AS ten_percent FROM returned($$fflag_select('ten', ARRAY(SELECT id FROM account))$$);
-- an array that nothing is known of, a name that is no constant: the server's defaults
SELECT estimated FROM returned($$(SELECT array_agg(id) AS ids FROM account) AS a, fflag_select('full', a.ids)$$);
SELECT estimated FROM returned($$(SELECT max(name) AS name FROM feature_flag) AS f, fflag_select(f.name, '{1}'::bigint[])$$);
-- How many entries of allowlists planning reads.  A change of one list does not make
-- it count another again, unless the table has come to be of another size.
CREATE FUNCTION entries_read(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := pg_stat_get_xact_tuples_fetched('feature_flag_user_pkey'::regclass);
BEGIN
	EXECUTE 'EXPLAIN SELECT FROM account WHERE ' || condition;
	RETURN pg_stat_get_xact_tuples_fetched('feature_flag_user_pkey'::regclass) - before;
END $$;
SELECT fflag_allow('ten', 1);
SELECT entries_read($$fflag_enabled('long', id)$$), entries_read($$fflag_enabled('list', id)$$);
SELECT fflag_enable('off');
SELECT entries_read($$fflag_enabled('long', id)$$), entries_read($$fflag_enabled('list', id)$$);
SELECT fflag_allow('ten', VARIADIC ARRAY(SELECT generate_series(1, 20000)));
SELECT entries_read($$fflag_enabled('long', id)$$), entries_read($$fflag_enabled('list', id)$$);
SELECT fflag_disallow('ten', 1);
SELECT entries_read($$fflag_enabled('long', id)$$), entries_read($$fflag_enabled('list', id)$$);
SELECT fflag_disable('off'), fflag_disallow('ten', VARIADIC ARRAY(SELECT generate_series(1, 20000)));

-- an old estimate changes no answer: of a list that was empty, or is now
SELECT fflag_register('few', true, 0);
SELECT estimated, actual FROM rows($$fflag_enabled('few', id)$$);
SELECT fflag_allow('few', 1, 2);
SELECT id FROM account WHERE fflag_enabled('few', id) ORDER BY id;
SELECT fflag_disallow('list', VARIADIC ARRAY(SELECT generate_series(1, 500)));
SELECT estimated, actual FROM rows($$fflag_enabled('list', id)$$);
DELETE FROM feature_flag WHERE name = 'few';

-- so that few users are looked up one by one, and many are not
EXPLAIN (COSTS OFF) SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('one', account.id);
EXPLAIN (COSTS OFF) SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('full', account.id);

-- a plan that is kept is made anew when a flag changes
SET plan_cache_mode = force_generic_plan;
PREPARE buyers AS SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('one', account.id);
EXPLAIN (COSTS OFF) EXECUTE buyers;
EXECUTE buyers;
SELECT fflag_rollout('one', 100);
EXPLAIN (COSTS OFF) EXECUTE buyers;
EXECUTE buyers;
SELECT fflag_disable('one');
EXPLAIN (COSTS OFF) EXECUTE buyers;
EXECUTE buyers;

PREPARE flags AS SELECT FROM fflag_flags(1);
PREPARE selected AS SELECT FROM fflag_select('one', ARRAY(SELECT id FROM account));
SELECT * FROM returned('flags', 'EXECUTE');
SELECT * FROM returned('selected', 'EXECUTE');
SELECT fflag_register('another'), fflag_enable('one');
SELECT * FROM returned('flags', 'EXECUTE');
SELECT * FROM returned('selected', 'EXECUTE');
SELECT fflag_disable('one');

-- a wrong estimate changes no answer: planned and opened when nobody is in
BEGIN;
DECLARE c CURSOR FOR SELECT count(*) FROM account WHERE fflag_enabled('one', id);
SELECT fflag_enable('one');
FETCH c;
SELECT count(*) FROM account WHERE fflag_enabled('one', id);
COMMIT;

-- an index on the bucket finds the users of a rollout; buckets do not change
CREATE INDEX first_percent ON account (fflag_bucket('one', id));
ANALYZE account;
EXPLAIN (COSTS OFF) SELECT count(*) FROM account WHERE fflag_bucket('one', id) < 1000;
SELECT count(*), count(*) FILTER (WHERE fflag_bucket('one', id) < 1000) AS first FROM account WHERE fflag_bucket('one', id) < 1000;

-- the genetic optimizer, which plans in contexts that it throws away
SET geqo_threshold = 2;
PREPARE genetic AS SELECT count(*) FROM feature_flag a JOIN feature_flag b ON a.id = b.id JOIN feature_flag c ON c.id = b.id AND fflag_enabled('ten', a.id + c.id);
EXECUTE genetic;
SELECT fflag_rollout('ten', 100);
EXECUTE genetic;
RESET geqo_threshold;

-- What a flag requires and whom it denies count, and so does the time.  Who gets one
-- flag and who gets another are taken to be independent of each other.
RESET plan_cache_mode;
SELECT fflag_rollout('ten', 10), fflag_enable('one'), fflag_rollout('one', 1);
INSERT INTO feature_flag (name, enabled, rollout_percentage, requires) SELECT c.name, true, percentage, r.id
	FROM (VALUES ('half of ten', 50, 'ten'), ('all of ten', 100, 'ten'), ('all of nobody', 100, 'off'), ('all of staff', 100, 'staff'),
		('all of list', 100, 'long'), ('ramp', 0, NULL), ('later', 100, NULL), ('ended', 100, NULL), ('without many', 100, NULL), ('half of many', 50, NULL), ('staff only', 0, 'off')) AS c (name, percentage, required)
		LEFT JOIN feature_flag r ON r.name = c.required;
SELECT fflag_register('all of that', true, 100), fflag_require('all of that', 'all of ten');
UPDATE feature_flag SET staff_only = true WHERE name = 'staff only';
SELECT fflag_ramp('ramp', 100, '200 days', now() - interval '50 days'), fflag_schedule('later', now() + interval '1 day'), fflag_schedule('ended', NULL, now());
SELECT fflag_deny('without many', VARIADIC ARRAY(SELECT generate_series(1, 9500))), fflag_deny('half of many', VARIADIC ARRAY(SELECT generate_series(1, 9000)));
ANALYZE feature_flag_denied_user;
SELECT condition, r.estimated, r.estimated BETWEEN 0.95 * r.actual AND 1.05 * r.actual AS right FROM (VALUES
	($$fflag_enabled('half of ten', id)$$), ($$fflag_enabled('all of ten', id)$$), ($$fflag_enabled('all of that', id)$$), ($$fflag_enabled('all of nobody', id)$$),
	($$fflag_enabled('all of staff', id)$$), ($$fflag_enabled('all of list', id)$$), ($$fflag_enabled('ramp', id)$$), ($$fflag_enabled('later', id)$$), ($$fflag_enabled('ended', id)$$),
	($$fflag_enabled('without many', id)$$), ($$fflag_enabled('half of many', id)$$), ($$NOT fflag_enabled('half of many', id)$$), ($$fflag_enabled('staff only', id, true)$$)) AS c (condition), rows(condition) AS r;
SELECT round(estimated, -2) AS estimated, actual FROM returned($$fflag_select('without many', ARRAY(SELECT id FROM account))$$);
-- it costs a hash if what is required does
CREATE FUNCTION cost(condition text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM account WHERE ' || condition INTO plan;
	RETURN plan->0->'Plan'->>'Total Cost';
END $$;
SELECT name, cost(format('fflag_enabled(%L, id)', name)) > cost($$fflag_enabled('full', id)$$) AS hash FROM unnest('{ten,all of ten,all of that,all of nobody,all of list,without many}'::text[]) AS name;

-- Kept plans are made anew when anything of that changes: flag, list, denylist of any
-- flag of the chain.  Few users are looked up one by one.
CREATE FUNCTION plan_of(query text, OUT plan text, OUT buyers bigint) LANGUAGE plpgsql AS $$
DECLARE
	explained json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) EXECUTE ' || query INTO explained;
	plan := explained->0->'Plan'->'Plans'->0->>'Node Type';
	EXECUTE 'EXECUTE ' || query INTO buyers;
END $$;
TRUNCATE feature_flag_denied_user;
INSERT INTO feature_flag (id, name, enabled, rollout_percentage, requires) VALUES (1001, 'root', true, 0, NULL), (1002, 'trunk', true, 100, 1001), (1003, 'leaf', true, 100, 1002);
SELECT fflag_allow('root', 1, 2);
SET plan_cache_mode = force_generic_plan;
PREPARE chain AS SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('leaf', account.id);
SELECT * FROM plan_of('chain');
SELECT fflag_allow('root', VARIADIC ARRAY(SELECT generate_series(3, 60000)));
SELECT * FROM plan_of('chain');
SELECT fflag_deny('trunk', VARIADIC ARRAY(SELECT generate_series(3, 100000)));
ANALYZE feature_flag_denied_user;
SELECT * FROM plan_of('chain');
TRUNCATE feature_flag_denied_user;
SELECT * FROM plan_of('chain');
SELECT fflag_disable('trunk');
SELECT * FROM plan_of('chain');
SELECT fflag_require('leaf', NULL);
SELECT * FROM plan_of('chain');
SELECT fflag_require('leaf', 'root');
DELETE FROM feature_flag_user WHERE flag_id = 1001;
SELECT buyers FROM plan_of('chain');
-- planned when nobody was in, fetched under the snapshot of then
BEGIN;
DECLARE c CURSOR FOR SELECT count(*) FROM account WHERE fflag_enabled('leaf', id);
SELECT fflag_rollout('root', 100);
FETCH c;
SELECT count(*) FROM account WHERE fflag_enabled('leaf', id);
COMMIT;

DROP TABLE account, purchase;
DROP FUNCTION rows, returned, entries_read, cost, plan_of;
DROP EXTENSION fflag;
