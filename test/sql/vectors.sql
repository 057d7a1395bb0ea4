--
-- Buckets that Python's hashlib computed, bit for bit
--
CREATE EXTENSION fflag;
\set lines `cat "$PG_ABS_SRCDIR"/data/buckets.tsv`

CREATE TEMP TABLE vector AS
	SELECT f[1] AS name, f[2] AS user_id, f[3]::int AS bucket, f[4]::int AS fine
	FROM string_to_table(:'lines', E'\n') WITH ORDINALITY AS l (line, n), string_to_array(line, E'\t') AS f
	WHERE n > 1;

SELECT count(*) AS vectors, max(length(name)) AS longest_name, max(length(user_id)) AS longest_id,
	count(*) FILTER (WHERE fflag_bucket(name, user_id) IS DISTINCT FROM fine) AS wrong,
	count(*) FILTER (WHERE fflag_bucket(name, user_id) / 1000 IS DISTINCT FROM bucket) AS wrong_in_package
FROM vector;

-- through the other overloads
SELECT count(*) AS vectors,
	count(*) FILTER (WHERE fflag_bucket(name, user_id::bigint) IS DISTINCT FROM fine) AS wrong
FROM vector WHERE user_id ~ '^(0|-?[1-9][0-9]{0,17})$';
SELECT count(*) AS vectors,
	count(*) FILTER (WHERE fflag_bucket(name, user_id::uuid) IS DISTINCT FROM fine) AS wrong
FROM vector WHERE user_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

-- every length around the block sizes of MD5, against the server's own
SELECT count(*) AS lengths,
	count(*) FILTER (WHERE fflag_bucket(repeat('n', n), repeat('u', u)) IS DISTINCT FROM (r % 100) * 1000 + r / 100) AS wrong
FROM generate_series(0, 130) AS n, generate_series(0, 130, 3) AS u,
	LATERAL (SELECT ((sum(get_byte(digest, i) * 256::numeric ^ (15 - i))) % 100000)::int AS r
		FROM decode(md5(repeat('n', n) || ':' || repeat('u', u)), 'hex') AS digest, generate_series(0, 15) AS i) AS hash;

-- a bucket can be indexed
CREATE TEMP TABLE people AS SELECT id FROM generate_series(1, 5000) AS id;
CREATE INDEX ON people (fflag_bucket('f', id));
ANALYZE people;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM people WHERE fflag_bucket('f', id) < 1000;
SELECT count(*) FROM people WHERE fflag_bucket('f', id) < 1000;

DROP EXTENSION fflag CASCADE;
