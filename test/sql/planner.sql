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
CREATE TABLE account WITH (autovacuum_enabled = off) AS SELECT n::bigint AS id, n % 100 = 0 AS is_staff FROM generate_series(1, 100000) AS n;
CREATE TABLE purchase WITH (autovacuum_enabled = off) AS SELECT n AS id, (n % 100000) + 1 AS account FROM generate_series(1, 200000) AS n;
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

-- Relations and whom a flag denies count, and so does the time.  Who gets one flag and
-- who gets another are taken to be independent of each other.
RESET plan_cache_mode;
SELECT fflag_rollout('ten', 10), fflag_enable('one'), fflag_rollout('one', 1);
INSERT INTO feature_flag (name, enabled, rollout_percentage) VALUES
	('half of ten', true, 50), ('all of ten', true, 100), ('all of that', true, 100), ('all of nobody', true, 100), ('all of staff', true, 100), ('all of list', true, 100),
	('ramp', true, 0), ('later', true, 100), ('ended', true, 100), ('without many', true, 100), ('half of many', true, 50), ('staff only', true, 0),
	('all but ten', true, 100), ('all but two', true, 100), ('ten, one, list', true, 0), ('half and list', true, 50), ('all and ten', true, 100), ('each kind', true, 50),
	('layer', true, 100), ('of a', true, 100), ('of a and b', true, 100), ('but a', true, 100), ('with a', true, 0), ('of c', true, 50);
SELECT fflag_variants('layer', '{"a": 3, "b": 1, "c": 6}');
INSERT INTO feature_flag_relation (flag_id, kind, other_id, other_variant) SELECT f.id, kind, o.id, v
	FROM (VALUES ('half of ten', 'requires', 'ten', NULL), ('all of ten', 'requires', 'ten', NULL), ('all of that', 'requires', 'all of ten', NULL), ('all of nobody', 'requires', 'off', NULL),
		('all of staff', 'requires', 'staff', NULL), ('all of list', 'requires', 'long', NULL), ('staff only', 'requires', 'off', NULL),
		('all but ten', 'excludes', 'ten', NULL), ('all but two', 'excludes', 'ten', NULL), ('all but two', 'excludes', 'long', NULL),
		('ten, one, list', 'includes', 'ten', NULL), ('ten, one, list', 'includes', 'one', NULL), ('ten, one, list', 'includes', 'long', NULL),
		('half and list', 'includes', 'long', NULL), ('all and ten', 'includes', 'ten', NULL),
		('each kind', 'requires', 'all of list', NULL), ('each kind', 'excludes', 'ten', NULL), ('each kind', 'includes', 'one', NULL),
		('of a', 'requires', 'layer', 'a'), ('of a and b', 'requires', 'layer', 'a'), ('of a and b', 'requires', 'layer', 'b'), ('but a', 'excludes', 'layer', 'a'),
		('with a', 'includes', 'layer', 'a'), ('of c', 'requires', 'layer', 'c')) AS c (name, kind, other, v)
		JOIN feature_flag f USING (name) JOIN feature_flag o ON o.name = other;
UPDATE feature_flag SET staff_only = true WHERE name = 'staff only';
SELECT fflag_ramp('ramp', 100, '200 days', now() - interval '50 days'), fflag_schedule('later', now() + interval '1 day'), fflag_schedule('ended', NULL, now());
SELECT fflag_deny('without many', VARIADIC ARRAY(SELECT generate_series(1, 9500))), fflag_deny('half of many', VARIADIC ARRAY(SELECT generate_series(1, 9000)));
ANALYZE feature_flag_denied_user;
SELECT condition, r.estimated, r.estimated BETWEEN 0.95 * r.actual AND 1.05 * r.actual AS right FROM (VALUES
	($$fflag_enabled('half of ten', id)$$), ($$fflag_enabled('all of ten', id)$$), ($$fflag_enabled('all of that', id)$$), ($$fflag_enabled('all of nobody', id)$$),
	($$fflag_enabled('all of staff', id)$$), ($$fflag_enabled('all of list', id)$$), ($$fflag_enabled('ramp', id)$$), ($$fflag_enabled('later', id)$$), ($$fflag_enabled('ended', id)$$),
	($$fflag_enabled('without many', id)$$), ($$fflag_enabled('half of many', id)$$), ($$NOT fflag_enabled('half of many', id)$$), ($$fflag_enabled('staff only', id, true)$$),
	($$fflag_enabled('all but ten', id)$$), ($$fflag_enabled('all but two', id)$$), ($$fflag_enabled('ten, one, list', id)$$), ($$fflag_enabled('half and list', id)$$),
	($$fflag_enabled('all and ten', id)$$), ($$fflag_enabled('each kind', id)$$), ($$fflag_enabled('of a', id)$$), ($$fflag_enabled('of a and b', id)$$), ($$fflag_enabled('but a', id)$$),
	($$fflag_enabled('with a', id)$$), ($$fflag_enabled('of c', id)$$)) AS c (condition), rows(condition) AS r;
SELECT round(estimated, -2) AS estimated, actual FROM returned($$fflag_select('without many', ARRAY(SELECT id FROM account))$$);
-- it costs a hash if another flag does
CREATE FUNCTION cost(condition text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM account WHERE ' || condition INTO plan;
	RETURN plan->0->'Plan'->>'Total Cost';
END $$;
SELECT name, cost(format('fflag_enabled(%L, id)', name)) > cost($$fflag_enabled('full', id)$$) AS hash FROM unnest('{ten,all of ten,all of that,all of nobody,all of list,without many,all but ten,"ten, one, list",all and ten}'::text[]) AS name;

-- Kept plans are made anew when anything of that changes: flag, list, denylist of any
-- flag on the way, relations, variants.  Few users are looked up one by one.
CREATE FUNCTION plan_of(query text, OUT plan text, OUT buyers bigint) LANGUAGE plpgsql AS $$
DECLARE
	explained json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) EXECUTE ' || query INTO explained;
	plan := explained->0->'Plan'->'Plans'->0->>'Node Type';
	EXECUTE 'EXECUTE ' || query INTO buyers;
END $$;
TRUNCATE feature_flag_denied_user;
INSERT INTO feature_flag (id, name, enabled, rollout_percentage) VALUES (1001, 'root', true, 0), (1002, 'trunk', true, 100), (1003, 'leaf', true, 100), (1004, 'lone', true, 100);
INSERT INTO feature_flag_relation (flag_id, other_id, kind) VALUES (1002, 1001, 'requires'), (1003, 1002, 'requires');
SELECT fflag_allow('root', 1, 2);
SET plan_cache_mode = force_generic_plan;
PREPARE chain AS SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('leaf', account.id);
SELECT * FROM plan_of('chain');
SELECT fflag_allow('root', VARIADIC ARRAY(SELECT generate_series(3, 60000)));
SELECT * FROM plan_of('chain');
-- not quite all: a list that has as many as the table is estimated otherwise, and tables' sizes are estimates
SELECT fflag_deny('trunk', VARIADIC ARRAY(SELECT generate_series(3, 99000)));
ANALYZE feature_flag_denied_user;
SELECT * FROM plan_of('chain');
TRUNCATE feature_flag_denied_user;
SELECT * FROM plan_of('chain');
SELECT fflag_disable('trunk');
SELECT * FROM plan_of('chain');
SELECT fflag_unrelate('leaf', 'trunk');
SELECT * FROM plan_of('chain');
SELECT fflag_require('leaf', 'root');
DELETE FROM feature_flag_user WHERE flag_id = 1001;
SELECT buyers FROM plan_of('chain');
-- a group of a group
SELECT fflag_register('grouped', true, 0), fflag_group('members'), fflag_group('more members', 1, 2), fflag_include('grouped', 'members'), fflag_include('members', 'more members');
PREPARE grouped AS SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('grouped', account.id);
SELECT * FROM plan_of('grouped');
SELECT fflag_allow('more members', VARIADIC ARRAY(SELECT generate_series(3, 60000)));
SELECT * FROM plan_of('grouped');
SELECT fflag_rollout('lone', 99.999), fflag_exclude('grouped', 'lone');
SELECT plan FROM plan_of('grouped');
SELECT fflag_unrelate('grouped', 'lone');
SELECT * FROM plan_of('grouped');
SELECT fflag_unrelate('members', 'more members');
SELECT * FROM plan_of('grouped');
-- weights of another flag's variants
SELECT fflag_rollout('lone', 100), fflag_require('lone', 'layer', 'b');
PREPARE of_variant AS SELECT count(*) FROM account JOIN purchase ON purchase.account = account.id WHERE fflag_enabled('lone', account.id);
SELECT plan FROM plan_of('of_variant');
UPDATE feature_flag_variant SET weight = 0.001 WHERE name = 'b';
SELECT plan FROM plan_of('of_variant');
DEALLOCATE of_variant;
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
