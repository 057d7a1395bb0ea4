--
-- Seeds: what buckets and variants are computed from, in place of the name
--
CREATE EXTENSION fflag;
SELECT fflag_register('checkout', true, 50), fflag_variants('checkout', '{"red": 1, "green": 2, "blue": 1}');
SELECT name, seed FROM feature_flag;

-- what each function says of each user
CREATE FUNCTION answers(name text) RETURNS TABLE (n bigint, enabled boolean, bucket int, variant text) LANGUAGE sql AS $$
	SELECT n, e.enabled, e.bucket, e.variant FROM generate_series(1, 2000) AS n, fflag_explain(answers.name, n) AS e $$;
-- all functions against plain SQL, for a flag at 50 percent
CREATE FUNCTION plain_bucket(hashed text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
	SELECT h % 100 * 1000 + h / 100
	FROM (SELECT (sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) % 100000)::int AS h
		FROM decode(md5(convert_to(hashed, 'UTF8')), 'hex') AS digest, generate_series(0, 15) AS i) AS hash $$;
CREATE FUNCTION wrong(name text, seed text) RETURNS TABLE (answers bigint, enabled bigint, wrong bigint, of_text bigint, of_uuid bigint, in_array bigint, in_texts bigint, selected bigint, all_flags bigint, with_staff bigint) LANGUAGE sql AS $$
	WITH u AS (SELECT n, plain_bucket($2 || ':' || n) AS bucket, md5(n::text)::uuid AS u FROM generate_series(1, 2000) AS n),
		a AS (SELECT fflag_enabled($1, array_agg(n ORDER BY n)) AS numbers, fflag_enabled($1, array_agg(n::text ORDER BY n)) AS texts,
			fflag_enabled_all($1, array_agg(n ORDER BY n), array_agg(n % 2 = 0 ORDER BY n)) AS staff FROM u)
	SELECT count(*), count(*) FILTER (WHERE fflag_enabled($1, n)),
		count(*) FILTER (WHERE (e.enabled, e.bucket) IS DISTINCT FROM (u.bucket < 50000, u.bucket) OR fflag_enabled($1, n) <> (u.bucket < 50000)),
		count(*) FILTER (WHERE fflag_enabled($1, n::text) <> (u.bucket < 50000)),
		count(*) FILTER (WHERE fflag_enabled($1, u.u) <> (plain_bucket($2 || ':' || u.u) < 50000)),
		count(*) FILTER (WHERE a.numbers[n] <> (u.bucket < 50000)), count(*) FILTER (WHERE a.texts[n] <> (u.bucket < 50000)),
		count(*) FILTER (WHERE (n IN (SELECT fflag_select($1, array_agg(n)) FROM u)) <> (u.bucket < 50000)),
		count(*) FILTER (WHERE (f.enabled, f.variant) IS DISTINCT FROM (u.bucket < 50000, e.variant) OR fflag_variant($1, n) IS DISTINCT FROM e.variant),
		count(*) FILTER (WHERE a.staff[n] <> (u.bucket < 50000))
	FROM a, u, fflag_explain($1, n) AS e, fflag_flags(n) AS f WHERE f.name = $1 $$;
SELECT * FROM wrong('checkout', 'checkout');
CREATE TABLE before AS SELECT * FROM answers('checkout');

-- another name: half of the users of a half are others
UPDATE feature_flag SET name = 'new_checkout';
SELECT count(*) FILTER (WHERE a.enabled <> b.enabled) BETWEEN 900 AND 1100 AS moved FROM before AS b JOIN answers('new_checkout') AS a USING (n);
SELECT * FROM wrong('new_checkout', 'new_checkout');
-- with the first name as seed they are those of then, and have the variants of then, whatever the name is
UPDATE feature_flag SET seed = 'checkout';
SELECT * FROM wrong('new_checkout', 'checkout');
SELECT count(*) AS moved FROM before AS b JOIN answers('new_checkout') AS a USING (n) WHERE a IS DISTINCT FROM b;
UPDATE feature_flag SET name = 'third';
SELECT count(*) AS moved FROM before AS b JOIN answers('third') AS a USING (n) WHERE a IS DISTINCT FROM b;
-- a name without a flag has no seed
SELECT bucket = fflag_bucket('new_checkout', 1) AS of_name FROM fflag_explain('new_checkout', 1);
UPDATE feature_flag SET name = 'checkout', seed = NULL;

-- another seed: another draw, as for a repeated experiment; the variants too
UPDATE feature_flag SET seed = 'checkout, second try: ü';
SELECT * FROM wrong('checkout', 'checkout, second try: ü');
SELECT count(*) FILTER (WHERE a.enabled <> b.enabled) BETWEEN 900 AND 1100 AS moved,
	count(*) FILTER (WHERE a.variant <> b.variant) > 100 AS other_variants FROM before AS b JOIN answers('checkout') AS a USING (n);
-- a shared draw: whoever gets the smaller one gets the larger one
SELECT fflag_register('page', true, 20), fflag_register('apart', true, 20);
UPDATE feature_flag SET seed = 'checkout, second try: ü' WHERE name = 'page';
SELECT count(*) FILTER (WHERE fflag_enabled('page', n)) AS page, count(*) FILTER (WHERE fflag_enabled('page', n) AND NOT fflag_enabled('checkout', n)) AS without,
	count(*) FILTER (WHERE fflag_enabled('apart', n) AND NOT fflag_enabled('checkout', n)) > 100 AS apart FROM generate_series(1, 2000) AS n;
-- in a transaction, in a prepared statement, without the cache
PREPARE asked AS SELECT count(*) FROM generate_series(1, 2000) AS n WHERE fflag_enabled('page', n) AND NOT fflag_enabled('checkout', n);
EXECUTE asked;
BEGIN;
UPDATE feature_flag SET seed = NULL WHERE name = 'page';
EXECUTE asked \gset
SELECT :count > 100 AS apart;
ROLLBACK;
EXECUTE asked;
SET fflag.cache = off;
EXECUTE asked;
SELECT * FROM wrong('checkout', 'checkout, second try: ü');
RESET fflag.cache;
DROP TABLE before;

-- what is refused
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT command || E'\n  ' || try(command) FROM (VALUES
	($$UPDATE feature_flag SET seed = '' WHERE name = 'page'$$),
	($$UPDATE feature_flag SET seed = 'x ' WHERE name = 'page'$$),
	($$UPDATE feature_flag SET seed = E'x\u200By' WHERE name = 'page'$$),
	($$UPDATE feature_flag SET seed = repeat('ü', 151) WHERE name = 'page'$$),
	($$UPDATE feature_flag SET seed = repeat('ü', 150) WHERE name = 'page'$$),
	($$INSERT INTO feature_flag (name, seed) VALUES ('new', ' ')$$)) AS c (command);
-- rows that come by replication meet the constraint
SET session_replication_role = replica;
SELECT split_part(try($$UPDATE feature_flag SET seed = ' '$$), ' | ', 2);
RESET session_replication_role;
\pset format aligned
\pset tuples_only off
-- without the column there is an error, no other draw
BEGIN;
ALTER TABLE feature_flag RENAME seed TO draw;
SELECT fflag_enabled('checkout', 1);
ROLLBACK;
-- attached tables have none
CREATE TABLE their_flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL, seed text);
CREATE TABLE their_user (flag_id int NOT NULL, user_id text NOT NULL, PRIMARY KEY (flag_id, user_id));
INSERT INTO their_flag VALUES (1, 'checkout', true, false, 50, 'theirs');
SELECT fflag_attach('their_flag', 'their_user', flag_id => 'flag_id');
SELECT * FROM wrong('checkout', 'checkout');
SELECT fflag_detach();
DROP TABLE their_flag, their_user;
DROP EXTENSION fflag;
DROP FUNCTION answers, plain_bucket, wrong, try;
