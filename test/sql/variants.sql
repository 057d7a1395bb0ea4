--
-- Variants: how users are divided among them, by arithmetic in SQL; payloads; what
-- fflag_variants does and refuses
--
CREATE EXTENSION fflag;
SELECT fflag_register('button', true, 10), fflag_register('plain', true);
SELECT fflag_variants('button', '{"red": 1, "green": 2, "blue": 1}');
SELECT name, weight, payload FROM feature_flag_variant ORDER BY name;

-- by hand: in the order of their names, each up to where its weights end
SELECT count(*) AS users, count(variant) AS with_variant,
	count(*) FILTER (WHERE variant IS DISTINCT FROM CASE WHEN NOT fflag_enabled('button', n) THEN NULL WHEN bucket < 25000 THEN 'blue' WHEN bucket < 75000 THEN 'green' ELSE 'red' END) AS wrong,
	count(*) FILTER (WHERE variant IS DISTINCT FROM fflag_variant('button', n::text)) AS wrong_of_text,
	count(*) FILTER (WHERE fflag_variant('button', md5(n::text)::uuid) IS DISTINCT FROM fflag_variant('button', md5(n::text)::uuid::text)) AS wrong_of_uuid,
	count(*) FILTER (WHERE variant IS DISTINCT FROM (fflag_explain('button', n)).variant) AS wrongly_explained
FROM generate_series(1, 20000) AS n, fflag_variant('button', n) AS variant, fflag_bucket('button#variant', n) AS bucket;
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
-- somebody gets it, nobody too, but only somebody has a variant
SELECT fflag_rollout('button', 100);
SELECT fflag_enabled('button'), fflag_variant('button'), variant FROM fflag_explain('button');
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
DROP TRIGGER tell ON feature_flag_variant;
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
	($$SELECT fflag_variants('button', '{"red": {"blue": 1}}')$$),
	($$SELECT fflag_variants('button', '{"red": [1], "blue": 1}')$$),
	($$SELECT fflag_variants('button', '{"": 1}')$$),
	($$SELECT fflag_variants('button', '{" red": 1}')$$),
	($$SELECT fflag_variants('button', '{"r\u00aded": 1}')$$),
	($$SELECT fflag_variants('button', jsonb_build_object(repeat('ü', 151), 1))$$),
	($$SELECT fflag_variants('button', jsonb_build_object(repeat('ü', 150), 1))$$),
	($$SELECT fflag_variants('button', '{"red": 0}')$$),
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
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 0)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 0.0000001)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 'NaN')$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, 'r', 1000000001)$$),
	($$SET session_replication_role = replica; INSERT INTO feature_flag_variant (flag_id, name, weight) VALUES (1, ' r', 1)$$)) AS c (command);
RESET session_replication_role;
\pset format aligned
\pset tuples_only off
SELECT left(name, 10) AS name, weight FROM feature_flag_variant ORDER BY name;
DELETE FROM feature_flag_variant;

-- Random weights of all sizes, for many users: the first whose running sum exceeds
-- bucket * sum / 100000, in numeric.  "many": 10,000 of them.
SELECT setseed(0.5);
INSERT INTO feature_flag (name, enabled, rollout_percentage) SELECT 'r' || n, true, 100 FROM generate_series(1, 60) AS n UNION ALL VALUES ('many', true, 100);
INSERT INTO feature_flag_variant (flag_id, name, weight)
	SELECT f.id, substr(md5(random()::text), 1, 2) || E'\u00e9' || v, CASE f.id % 4 WHEN 0 THEN 1 + (random() * 3)::int WHEN 1 THEN 0.000001 + round(random()::numeric, 6)
			WHEN 2 THEN 1000000000 - round(random()::numeric, 6) ELSE round((10 ^ (random() * 15 - 6))::numeric + 0.000001, 6) END
	FROM feature_flag AS f, generate_series(1, CASE name WHEN 'many' THEN 10000 ELSE id % 11 END) AS v WHERE name ~ '^(r\d+|many)$';
CREATE TEMP TABLE part AS
	SELECT flag_id, name, sum(weight) OVER w - weight AS lower, sum(weight) OVER w AS upper, sum(weight) OVER (PARTITION BY flag_id) AS total
	FROM feature_flag_variant WINDOW w AS (PARTITION BY flag_id ORDER BY name COLLATE "C");
SELECT f.name = 'many' AS many, count(*) AS answers, count(DISTINCT part.name) AS variants, count(*) FILTER (WHERE fflag_variant(f.name, u) IS DISTINCT FROM part.name) AS wrong
FROM feature_flag AS f CROSS JOIN generate_series(1, 400) AS u JOIN part ON part.flag_id = f.id
	AND lower * 100000 <= total * fflag_bucket(f.name || '#variant', u) AND upper * 100000 > total * fflag_bucket(f.name || '#variant', u)
GROUP BY f.name = 'many' ORDER BY 1;
-- without any, as many have
SELECT count(*) AS answers, count(fflag_variant(f.name, u)) AS with_variant
FROM feature_flag AS f CROSS JOIN generate_series(1, 20) AS u WHERE NOT EXISTS (SELECT FROM feature_flag_variant WHERE flag_id = f.id);

-- Weights whose sum is too large are an error with the flag's name, for who asks for
-- variants; the feature itself is there all the same.  The next statement is right.
UPDATE feature_flag_variant SET weight = 1000000000 WHERE flag_id = (SELECT id FROM feature_flag WHERE name = 'many');
SELECT fflag_enabled('many', 1), try('SELECT fflag_variant(''many'', 1)');
SELECT try('SELECT * FROM fflag_explain(''many'', 1)');
SELECT try('SELECT * FROM fflag_flags(1)');
SELECT fflag_variant('r1', 1) IS NOT NULL AS others;
DELETE FROM feature_flag_variant WHERE ctid NOT IN (SELECT ctid FROM feature_flag_variant AS v WHERE flag_id = (SELECT id FROM feature_flag WHERE name = 'many') ORDER BY name LIMIT 9223);
SELECT count(*) AS variants, (SELECT count(*) FROM generate_series(1, 1000) AS n WHERE fflag_variant('many', n) =
	(SELECT name FROM feature_flag_variant ORDER BY name OFFSET fflag_bucket('many#variant', n) * 9223::bigint / 100000 LIMIT 1)) AS right FROM feature_flag_variant;

-- their order is not that in which the table has them, whatever index it has
DELETE FROM feature_flag_variant;
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_pkey;
INSERT INTO feature_flag_variant (flag_id, name) SELECT id, v FROM feature_flag, unnest('{b,é,B,a}'::text[]) AS v WHERE feature_flag.name = 'r1';
SELECT count(*) AS answers, count(*) FILTER (WHERE variant IS DISTINCT FROM ('{B,a,b,é}'::text[])[1 + fflag_bucket('r1#variant', n) / 25000]) AS wrong
FROM generate_series(1, 1000) AS n, fflag_variant('r1', n) AS variant;

-- rows that no constraint has kept out are named when they are read, and the next statement works
DELETE FROM feature_flag_variant;
ALTER TABLE feature_flag_variant DROP CONSTRAINT feature_flag_variant_weight_check, DROP CONSTRAINT feature_flag_variant_name_check, DISABLE TRIGGER fflag_check, ALTER weight DROP NOT NULL;
SELECT w AS weight, fflag_variant('r1', 1), try(format('INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, %L, %L FROM feature_flag WHERE name = ''r1''', 'v', w)) AS inserted,
	try('SELECT fflag_variant(''r1'', 1)'), try('DELETE FROM feature_flag_variant'), fflag_variant('r1', 1)
FROM unnest('{0,-1,NaN,Infinity,0.0000001,1e30,NULL,1}'::text[]) AS w;

DROP FUNCTION try, tell;
DROP EXTENSION fflag;
