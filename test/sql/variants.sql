--
-- Variants: how users are divided among them, by what Python computed and by the SQL of
-- docs/reference.md; who moves when weights change; payloads; what fflag_variants does
-- and refuses
--
CREATE EXTENSION fflag;
\set plain_variant `sed -n '/^CREATE FUNCTION plain_/,/;$/p' "$PG_ABS_SRCDIR"/../docs/reference.md`
:plain_variant
SELECT fflag_register('button', true, 10), fflag_register('plain', true);
SELECT fflag_variants('button', '{"red": 1, "green": 2, "blue": 1}');
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;

-- in plain SQL
SELECT count(*) AS users, count(variant) AS with_variant,
	count(*) FILTER (WHERE variant IS DISTINCT FROM CASE WHEN fflag_enabled('button', n) THEN plain_variant('button', n::text, '{"red": 1, "green": 2, "blue": 1}') END) AS wrong,
	count(*) FILTER (WHERE variant IS DISTINCT FROM fflag_variant('button', n::text)) AS wrong_of_text,
	count(*) FILTER (WHERE fflag_variant('button', md5(n::text)::uuid) IS DISTINCT FROM fflag_variant('button', md5(n::text)::uuid::text)) AS wrong_of_uuid,
	count(*) FILTER (WHERE variant IS DISTINCT FROM (fflag_explain('button', n)).variant) AS wrongly_explained
FROM generate_series(1, 20000) AS n, fflag_variant('button', n) AS variant;
-- each gets its share of the first tenth, not all of them the same
SELECT variant, round(count(*), -2) AS about FROM generate_series(1, 20000) AS n, fflag_variant('button', n) AS variant GROUP BY variant ORDER BY variant;

-- raising the percentage moves nobody
CREATE TEMP TABLE before AS SELECT n, fflag_variant('button', n) AS variant FROM generate_series(1, 20000) AS n;
SELECT fflag_rollout('button', 55.5);
SELECT count(*) AS stay, count(*) FILTER (WHERE variant <> fflag_variant('button', n)) AS moved FROM before WHERE variant IS NOT NULL;
SELECT fflag_rollout('button', 100);
SELECT count(*) AS stay, count(*) FILTER (WHERE variant <> fflag_variant('button', n)) AS moved FROM before WHERE variant IS NOT NULL;
-- nor does another order in which they came, or other weights of the same proportion
DELETE FROM feature_flag_variant;
INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'red', 0.000001), (1, 'blue', 0.000001), (1, 'green', 0.000002);
SELECT count(*) AS stay, count(*) FILTER (WHERE variant <> fflag_variant('button', n)) AS moved FROM before WHERE variant IS NOT NULL;
UPDATE feature_flag_variant SET weight = weight * 500000000 * 1000000;
SELECT count(*) AS stay, count(*) FILTER (WHERE variant <> fflag_variant('button', n)) AS moved FROM before WHERE variant IS NOT NULL;

-- who has none gets the default: no feature, nobody, no variants, no flag
SELECT fflag_rollout('button', 0), fflag_allow('button', 7);
SELECT fflag_variant('button', 7) IS NOT NULL AS got, fflag_variant('button', 8) AS others, fflag_variant('button', 8, false, 'green') AS default, fflag_variant('button', NULL, false, 'x') AS nobody;
SELECT fflag_variant('plain', 7), fflag_variant('plain', 7, default_variant => 'x') AS default, fflag_variant('nope', 7) AS no_flag, fflag_variant('nope', 7, default_variant => 'x') AS default, fflag_variant(NULL, 7) AS no_name, fflag_variant(NULL, 7, NULL, 'x') AS default;
SELECT fflag_variant('button') AS nobody, fflag_variant('button', default_variant => 'x') AS default;
UPDATE feature_flag SET staff_only = true WHERE name = 'button';
SELECT fflag_variant('button', 7), fflag_variant('button', 7, true) IS NOT NULL AS staff, fflag_variant('button', 7, NULL) AS neither;
UPDATE feature_flag SET staff_only = false WHERE name = 'button';
-- somebody gets it, nobody too, but of several only somebody has a variant
SELECT fflag_rollout('button', 100);
SELECT fflag_enabled('button'), fflag_variant('button'), variant FROM fflag_explain('button');
-- the only one is everybody's, nobody's too, if they get the flag
SELECT fflag_variants('plain', '{"it": 0.5}');
SELECT f.name, fflag_variant(f.name), fflag_variant(f.name, 7), fflag_variant_payload(f.name), e.variant, at.variant AS of_now
FROM fflag_flags(NULL::text) AS f, fflag_explain(f.name) AS e, fflag_explain_at(clock_timestamp(), f.name) AS at ORDER BY f.name;
SELECT name, variant FROM fflag_flags(NULL::text);
-- a weight of 0 gives it to nobody, and it is there all the same
SELECT fflag_variants('plain', '{"it": 0.5, "a": 0, "z": 0}');
UPDATE feature_flag_variant SET payload = to_jsonb(name || '!') WHERE name IN ('a', 'it', 'z');
SELECT DISTINCT fflag_variant('plain'), fflag_variant('plain', n), fflag_variant_payload('plain', n) FROM generate_series(1, 1000) AS n;
SELECT fflag_variants('plain', '{"it": 0, "a": 0}');
SELECT fflag_enabled('plain', 7), fflag_variant('plain'), fflag_variant('plain', 7), fflag_variant('plain', 7, default_variant => 'a'), fflag_variant_payload('plain', 7, default_variant => 'a'), variant FROM fflag_explain('plain', 7);
SELECT fflag_variants('plain', '{"it": 0.5}');
SELECT fflag_disable('plain');
SELECT fflag_variant('plain'), fflag_variant('plain', 7, default_variant => 'x');
SELECT fflag_enable('plain'), fflag_variants('plain', NULL);
-- an override counts; of a name without a flag there is nothing to have
SET fflag.override = 'button=off, nope=on';
SELECT fflag_variant('button', 7, default_variant => 'x'), fflag_variant('nope', 7, default_variant => 'x');
SET fflag.override = 'button=on';
SELECT fflag_variant('button', 8) IS NOT NULL AS got;
RESET fflag.override;
-- all flags
SELECT name, enabled, variant IS NOT NULL AS has_variant FROM fflag_flags(7);

-- payloads: of the variant that fflag_variant returns
UPDATE feature_flag_variant SET payload = CASE name WHEN 'red' THEN '{"colour": "#f00"}'::jsonb WHEN 'blue' THEN 'null' END;
SELECT name, count(*), count(got) AS payloads, count(*) FILTER (WHERE got IS DISTINCT FROM payload) AS wrong,
	count(*) FILTER (WHERE fflag_variant_payload('button', n::text) IS DISTINCT FROM payload OR fflag_variant_payload('button', md5(n::text)::uuid) IS DISTINCT FROM
		(SELECT payload FROM feature_flag_variant WHERE name = fflag_variant('button', md5(n::text)::uuid))) AS wrong_overloads
FROM generate_series(1, 1000) AS n, fflag_variant_payload('button', n) AS got JOIN feature_flag_variant ON true
WHERE fflag_variant('button', n) = name GROUP BY name ORDER BY name;
SELECT fflag_variant_payload('button') AS nobody, fflag_variant_payload('button', default_variant => 'red') AS of_default, fflag_variant_payload('button', default_variant => 'x') AS no_such,
	fflag_variant_payload('plain', 7, default_variant => 'red') AS no_variants, fflag_variant_payload('nope', 7, default_variant => 'red') AS no_flag, fflag_variant_payload(NULL, 7) AS no_name;
-- large ones, compressed or not, several in a row
UPDATE feature_flag_variant SET payload = jsonb_build_object('name', name, 'much', repeat(name, 100000), 'random', (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 20000) AS n));
SELECT count(*) AS answers, count(*) FILTER (WHERE got IS DISTINCT FROM payload) AS wrong
FROM generate_series(1, 9) AS n, fflag_variant_payload('button', n) AS got JOIN feature_flag_variant ON true WHERE fflag_variant('button', n) = name;
-- the cache does not keep them
SELECT bytes < 100000 AS little FROM fflag_cache();
UPDATE feature_flag_variant SET payload = NULL;
SELECT count(fflag_variant_payload('button', n)) FROM generate_series(1, 9) AS n;

-- fflag_variants keeps the payload of those who stay, and writes no more than it has to
UPDATE feature_flag_variant SET payload = to_jsonb(name);
SELECT fflag_variants('button', '{"red": 1, "green": 2, "white": 1}');
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '% %', tg_op, coalesce(new.name, old.name); RETURN NULL; END$$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON feature_flag_variant FOR EACH ROW EXECUTE FUNCTION tell();
SELECT fflag_variants('button', '{"red": 1.0, "green": 2.5, "blue": 1}');
SELECT fflag_variants('button', '{"green": 2.5, "red": 1, "blue": 1, "green": 2.5}');
-- an object says more: what it does not name stays as it is, or is what a new row has
CREATE TABLE told (what text);
CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO told VALUES (tg_op || ' ' || coalesce(new.name, old.name)); RETURN NULL; END$$;
\set told 'WITH t AS (DELETE FROM told RETURNING what) SELECT string_agg(what, \', \' ORDER BY what) AS told FROM t;'
SELECT fflag_variants('button', '{"red": {"payload": {"css": "#f00"}}, "green": {"weight": 3}, "blue": {"weight": 0.5, "payload": [1, null]}, "new": {}, "white": {"payload": "w"}}');
:told
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;
SELECT fflag_variants('button', '{"red": {"payload": {"css": "#f00"}, "weight": 1.0}, "green": 3, "blue": {}, "new": {"weight": 1}, "white": {"payload": "w"}}');
:told
-- null takes a payload away, whichever null the row has, and of a new one it is none
UPDATE feature_flag_variant SET payload = 'null' WHERE name IN ('green', 'new');
TRUNCATE told;
SELECT fflag_variants('button', '{"red": {"payload": null}, "green": {"payload": null}, "blue": {"weight": 7, "payload": null}, "new": 2, "newest": {"payload": null}}');
:told
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;
SELECT fflag_variants('button', '{"red": {"payload": null}, "green": {"payload": null}, "blue": {"payload": null}, "new": {}}');
:told
SELECT fflag_variants('button', '{"red": {"payload": false}, "green": {"payload": 0}, "blue": {"payload": ""}, "new": {"payload": {"a": [{"weight": null}], "weight": "x"}}}');
:told
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;
DROP TRIGGER tell ON feature_flag_variant;
DROP TABLE told;
SELECT fflag_variants('button', '{}');
SELECT count(*) FROM feature_flag_variant;
SELECT fflag_variants('button', '{"one": 3}');
SELECT DISTINCT fflag_variant('button', n) FROM generate_series(1, 1000) AS n;
SELECT fflag_variants('button', NULL);
SELECT count(*) FROM feature_flag_variant;

-- mistakes: SQLSTATE, the names and a hint
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'accepted';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n   ', format(E'%s: %s', sqlstate, sqlerrm), nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT E'=> ' || command || E'\n   ' || try(command) FROM (VALUES
	($$SELECT fflag_variants('nope', '{"red": 1}')$$),
	($$SELECT fflag_variants(NULL, '{"red": 1}')$$),
	($$SELECT fflag_variants('', '{"red": 1}')$$),
	($$SELECT fflag_variants('button', '["red", "blue"]')$$),
	($$SELECT fflag_variants('button', '1')$$),
	($$SELECT fflag_variants('button', 'null')$$),
	($$SELECT fflag_variants('button', '{"red": "1"}')$$),
	($$SELECT fflag_variants('button', '{"red": null}')$$),
	($$SELECT fflag_variants('button', '{"red": true}')$$),
	($$SELECT fflag_variants('button', '{"red": {"blue": 1}}')$$),
	($$SELECT fflag_variants('button', '{"red": {"weight": 1, "Payload": 1}}')$$),
	($$SELECT fflag_variants('button', '{"red": {"weight": "1"}}')$$),
	($$SELECT fflag_variants('button', '{"red": {"weight": null}}')$$),
	($$SELECT fflag_variants('button', '{"red": {"weight": {"weight": 1}}}')$$),
	($$SELECT fflag_variants('button', '{"red": {"weight": -1}}')$$),
	($$SELECT fflag_variants(variants => '{"red": {"weight": 1e100}}', name => 'button')$$),
	($$SELECT fflag_variants('button', '{"red": [1], "blue": 1}')$$),
	($$SELECT fflag_variants('button', '{"": 1}')$$),
	($$SELECT fflag_variants('button', '{" red": 1}')$$),
	($$SELECT fflag_variants('button', '{"r\u00aded": 1}')$$),
	($$SELECT fflag_variants('button', jsonb_build_object(repeat('ü', 151), 1))$$),
	($$SELECT fflag_variants('button', jsonb_build_object(repeat('ü', 150), 1))$$),
	($$SELECT fflag_variants('button', '{"red": 0}')$$),
	($$SELECT fflag_variants('button', '{"red": -0.000001}')$$),
	($$SELECT fflag_variants('button', '{"red": -1}')$$),
	($$SELECT fflag_variants('button', '{"red": 0.0000001}')$$),
	($$SELECT fflag_variants('button', '{"red": 1.0000001}')$$),
	($$SELECT fflag_variants('button', '{"red": 1.0000010000}')$$),
	($$SELECT fflag_variants('button', '{"red": 1000000000}')$$),
	($$SELECT fflag_variants('button', '{"red": 1000000000.000001}')$$),
	($$SELECT fflag_variants('button', '{"red": 1e100}')$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'red', 'NaN')$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'red', 'Infinity')$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'red', '-Infinity')$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, E'red\t', 1)$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, repeat('x', 151), 1)$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (-1, 'red', 1)$$),
	($$INSERT INTO feature_flag_variant (flag_id, name) VALUES (1, 'again'), (1, 'again')$$),
	($$INSERT INTO feature_flag_variant (flag_id, weight) VALUES (1, 1)$$),
	($$INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'null', NULL)$$),
	($$CREATE TEMP TABLE t (name text); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION fflag_check_variant(); INSERT INTO t VALUES ('')$$),
	-- replicated rows meet the constraints alone
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', -0.000001)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 0.0000001)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 'NaN')$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 1000000001)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, ' r', 1)$$)) AS c (command);
RESET session_replication_role;
\pset format aligned
\pset tuples_only off
SELECT left(name, 10) AS name, weight FROM feature_flag_variant ORDER BY name;
DELETE FROM feature_flag_variant;

-- What Python computed, in every function: flag, user, weights, variant.  Of a flag
-- that has several lines, each is the flag as it is for a while.
\set lines `cat "$PG_ABS_SRCDIR"/data/variants.jsonl`
CREATE TABLE vector AS
	SELECT j ->> 0 AS flag, j ->> 1 AS user_id, j -> 2 AS weights, j ->> 3 AS variant, row_number() OVER (PARTITION BY j ->> 0) AS round
	FROM string_to_table(:'lines', E'\n') AS line, CAST(line AS jsonb) AS j;
CREATE TABLE got (LIKE vector, enabled boolean, answer text, payload text, explained text, of_all text, at text, plain text);
DO $$
BEGIN
	FOR i IN 1 .. (SELECT max(round) FROM vector) LOOP
		DELETE FROM feature_flag WHERE name <> 'button' OR i > 1;
		PERFORM fflag_register(array_agg(flag), true) FROM vector WHERE round = i;
		PERFORM fflag_variants(flag, weights) FROM vector WHERE round = i;
		UPDATE feature_flag_variant SET payload = to_jsonb(name);
		COMMIT;
		INSERT INTO got SELECT v.*, fflag_enabled(flag, user_id), fflag_variant(flag, user_id), fflag_variant_payload(flag, user_id) #>> '{}', e.variant,
				(SELECT f.variant FROM fflag_flags(user_id) AS f WHERE f.name = flag), at.variant, plain_variant(flag, user_id, weights)
			FROM vector AS v, fflag_explain(flag, user_id) AS e, fflag_explain_at(clock_timestamp(), flag, user_id) AS at WHERE round = i;
		COMMIT;
	END LOOP;
END $$;
SELECT count(*) AS vectors, count(*) FILTER (WHERE enabled) AS enabled, count(variant) AS with_variant, count(*) FILTER (WHERE answer IS DISTINCT FROM variant) AS wrong,
	count(*) FILTER (WHERE payload IS DISTINCT FROM variant) AS wrong_payload, count(*) FILTER (WHERE explained IS DISTINCT FROM variant) AS wrongly_explained,
	count(*) FILTER (WHERE of_all IS DISTINCT FROM variant) AS wrong_of_all, count(*) FILTER (WHERE at IS DISTINCT FROM variant) AS wrong_at,
	count(*) FILTER (WHERE plain IS DISTINCT FROM variant) AS wrong_in_sql
FROM got;
DROP TABLE vector, got;
DELETE FROM feature_flag;

-- Who moves when one weight changes: as few as can be.  One variant in the place of
-- another are two changes.
SELECT fflag_register('f', true);
CREATE FUNCTION moves(before jsonb, after jsonb, OUT fewest numeric, OUT moved numeric, OUT shares text) LANGUAGE plpgsql AS $$
DECLARE
	a text[];
	b text[];
BEGIN
	PERFORM fflag_variants('f', before);
	a := ARRAY(SELECT fflag_variant('f', n) FROM generate_series(1, 50000) AS n);
	PERFORM fflag_variants('f', after);
	b := ARRAY(SELECT fflag_variant('f', n) FROM generate_series(1, 50000) AS n);
	fewest := (SELECT round(100 * sum(greatest(0, coalesce((after ->> k)::numeric, 0) / (SELECT sum(value::numeric) FROM jsonb_each(after))
		- coalesce((before ->> k)::numeric, 0) / (SELECT sum(value::numeric) FROM jsonb_each(before)))), 1) FROM jsonb_object_keys(before || after) AS k);
	moved := (SELECT round(100.0 * count(*) FILTER (WHERE x <> y) / count(*), 1) FROM unnest(a, b) AS u (x, y));
	shares := (SELECT string_agg(y || ' ' || share, ', ' ORDER BY y) FROM (SELECT y, round(100.0 * count(*) / 50000, 1) AS share FROM unnest(b) AS y GROUP BY y) AS u);
END $$;
SELECT before, after, m.* FROM (VALUES
	('{"a": 1, "b": 1}'::jsonb, '{"a": 1, "b": 1, "c": 1}'::jsonb), ('{"a": 1, "b": 1}', '{"Z": 1, "a": 1, "b": 1}'),
	('{"a": 80, "b": 10, "c": 10}', '{"a": 60, "b": 20, "c": 20}'), ('{"a": 1, "b": 1, "c": 1}', '{"b": 1, "c": 1}'),
	('{"a": 1, "b": 1, "c": 1, "d": 1}', '{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}'), ('{"a": 1, "b": 1}', '{"a": 100, "b": 100}'),
	('{"a": 2, "b": 1}', '{"a": 200.5, "b": 100.25}'), ('{"a": 1, "b": 1}', '{"a": 1, "c": 1}')) AS w (before, after), moves(before, after) AS m;
DROP FUNCTION moves;
DELETE FROM feature_flag;

-- Random weights of all sizes and none, for many users.  "many": 1,000 of them.
SELECT setseed(0.5);
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'r' || n, true, 100 FROM generate_series(1, 60) AS n UNION ALL VALUES ('many', true, 100);
INSERT INTO feature_flag_variant (flag_id, name, weight)
	SELECT f.id, substr(md5(random()::text), 1, 2) || E'\u00e9' || v, CASE f.id % 4 WHEN 0 THEN (random() * 3)::int WHEN 1 THEN 0.000001 + round(random()::numeric, 6)
			WHEN 2 THEN 1000000000 - round(random()::numeric, 6) ELSE round((10 ^ (random() * 15 - 6))::numeric + 0.000001, 6) END
	FROM feature_flag AS f, generate_series(1, CASE name WHEN 'many' THEN 1000 ELSE id % 11 END) AS v;
CREATE VIEW comparison AS
	SELECT f.name = 'many' AS many, fflag_variant(f.name, u) AS variant, (SELECT v.name FROM feature_flag_variant AS v WHERE flag_id = f.id
		AND weight > 0 ORDER BY plain_score(plain_hash(f.name || ':' || u), v.name, weight), name COLLATE "C" LIMIT 1) AS plain
	FROM feature_flag AS f, generate_series(1, CASE f.name WHEN 'many' THEN 10 ELSE 50 END) AS u;
SELECT many, count(*) AS answers, count(variant) AS with_variant, count(DISTINCT variant) AS variants, count(*) FILTER (WHERE variant IS DISTINCT FROM plain) AS wrong
FROM comparison GROUP BY many ORDER BY many;
-- the largest weights together are not too large
UPDATE feature_flag_variant SET weight = 1000000000;
SELECT many, count(*) AS answers, count(*) FILTER (WHERE variant IS DISTINCT FROM plain) AS wrong FROM comparison GROUP BY many ORDER BY many;
DROP VIEW comparison;

-- Weights in proportion to what the logarithms are of user 1: all scores are equal, and
-- the first by the bytes of its name wins, whatever order or index the table has.
DELETE FROM feature_flag_variant;
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_pkey CASCADE;
INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, v.* FROM feature_flag, (VALUES
	('b', 6079461.387046), ('é', 2282517.446045), ('B', 2962770.150066), ('a', 57667.610801)) AS v WHERE feature_flag.name = 'r1';
SELECT fflag_variant('r1', 1), count(DISTINCT fflag_variant('r1', n)) AS of_others FROM generate_series(2, 100) AS n;
DELETE FROM feature_flag_variant WHERE name = 'B';
SELECT fflag_variant('r1', 1);
DELETE FROM feature_flag_variant WHERE name = 'a';
SELECT fflag_variant('r1', 1);

-- rows that no constraint has kept out are named when they are read, and the next statement works
DELETE FROM feature_flag_variant;
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_weight_check, DROP CONSTRAINT feature_flag_variant_name_check, DISABLE TRIGGER fflag_check, ALTER weight DROP NOT NULL;
SELECT w AS weight, fflag_variant('r1', 1), try(format('INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, %L, %L FROM feature_flag WHERE name = ''r1''', 'v', w)) AS inserted,
	try('SELECT fflag_variant(''r1'', 1)'), try('DELETE FROM feature_flag_variant'), fflag_variant('r1', 1)
FROM unnest('{-0.000001,-1,NaN,Infinity,0.0000001,1e30,NULL,1}'::text[]) AS w;

DROP FUNCTION try, tell, plain_variant, plain_score, plain_mix, plain_times, plain_number, plain_hash;
DROP EXTENSION fflag;
