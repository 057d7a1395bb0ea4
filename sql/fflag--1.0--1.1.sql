/* sql/fflag--1.0--1.1.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION fflag UPDATE TO '1.1'" to load this file. \quit

--
-- Schedules and ramps.  fflag_check refuses what these constraints refuse with
-- errors that say what to do; replicated rows meet only the constraints.
--

ALTER TABLE @extschema@.feature_flag
	ADD COLUMN starts_at timestamp with time zone,
	ADD COLUMN ends_at timestamp with time zone,
	ADD COLUMN ramp_to numeric,
	ADD COLUMN ramp_starts_at timestamp with time zone,
	ADD COLUMN ramp_ends_at timestamp with time zone,
	ADD CONSTRAINT feature_flag_schedule_check
		CHECK (starts_at OPERATOR(pg_catalog.<) ends_at),
	ADD CONSTRAINT feature_flag_ramp_check
		CHECK (pg_catalog.num_nulls(ramp_to, ramp_starts_at, ramp_ends_at) OPERATOR(pg_catalog.=) 3
			OR pg_catalog.num_nulls(ramp_to, ramp_starts_at, ramp_ends_at) OPERATOR(pg_catalog.=) 0
			AND ramp_to OPERATOR(pg_catalog.>=) 0::numeric
			AND ramp_to OPERATOR(pg_catalog.<=) 100::numeric
			AND pg_catalog.min_scale(ramp_to) OPERATOR(pg_catalog.<=) 3
			AND pg_catalog.isfinite(ramp_starts_at) AND pg_catalog.isfinite(ramp_ends_at)
			AND ramp_starts_at OPERATOR(pg_catalog.<) ramp_ends_at);

COMMENT ON COLUMN @extschema@.feature_flag.starts_at IS 'before this moment nobody gets the feature (but see staff_only); NULL: it has started';
COMMENT ON COLUMN @extschema@.feature_flag.ends_at IS 'from this moment on nobody gets the feature (but see staff_only); NULL: it does not end';
COMMENT ON COLUMN @extschema@.feature_flag.ramp_to IS 'percentage that a ramp leads to, from rollout_percentage in a straight line; NULL: there is no ramp';
COMMENT ON COLUMN @extschema@.feature_flag.ramp_starts_at IS 'when the ramp leaves rollout_percentage';
COMMENT ON COLUMN @extschema@.feature_flag.ramp_ends_at IS 'when the ramp reaches ramp_to';

CREATE FUNCTION @extschema@.fflag_schedule(name pg_catalog.text,
	starts_at timestamp with time zone, ends_at timestamp with time zone DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_schedule';
COMMENT ON FUNCTION @extschema@.fflag_schedule(pg_catalog.text, timestamp with time zone, timestamp with time zone) IS
'sets when a flag starts and ends, NULL for no such moment; an error if there is none of this name';

CREATE FUNCTION @extschema@.fflag_ramp(name pg_catalog.text, percentage numeric,
	duration interval, starting timestamp with time zone DEFAULT pg_catalog.now())
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_ramp';
COMMENT ON FUNCTION @extschema@.fflag_ramp(pg_catalog.text, numeric, interval, timestamp with time zone) IS
'lets the percentage of a flag go in a straight line, from where it is to another; NULL stops it where it is; an error if there is none of this name';

--
-- Prerequisites.  A flag requires one with a smaller id, so that no cycle can be
-- stored, whatever several sessions do at once.
--

ALTER TABLE @extschema@.feature_flag
	ADD COLUMN requires bigint,
	ADD CONSTRAINT feature_flag_requires_check
		CHECK (requires OPERATOR(pg_catalog.<) id),
	-- without an action: all flags may be deleted by one statement
	ADD CONSTRAINT feature_flag_requires_fkey FOREIGN KEY (requires)
		REFERENCES @extschema@.feature_flag (id);

CREATE INDEX feature_flag_requires_idx
	ON @extschema@.feature_flag (requires) WHERE requires IS NOT NULL;

COMMENT ON COLUMN @extschema@.feature_flag.requires IS 'id of another flag, a smaller one: who does not get that feature does not get this one; NULL: no such flag';

-- a dump of INSERTs would otherwise refer to flags that come later
SELECT pg_catalog.pg_extension_config_dump('feature_flag', 'ORDER BY id');

CREATE FUNCTION @extschema@.fflag_check_required() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_check_required';
COMMENT ON FUNCTION @extschema@.fflag_check_required() IS
'refuses to delete a flag that another one requires';

-- Triggers fire in the order of their names.  This name comes before those of
-- the foreign key, whose error knows only ids.  With UPDATE OF id, that column could
-- not be given another type.
CREATE TRIGGER "FFLAG_required" AFTER DELETE OR UPDATE
	ON @extschema@.feature_flag
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_check_required();

CREATE FUNCTION @extschema@.fflag_require(name pg_catalog.text, required pg_catalog.text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_require';
COMMENT ON FUNCTION @extschema@.fflag_require(pg_catalog.text, pg_catalog.text) IS
'gives a flag only to users who get another, older flag; NULL for no such flag; an error if there is none of these names';

--
-- Denylists, of the shape of allowlists
--

CREATE TABLE @extschema@.feature_flag_denied_user (
	flag_id bigint NOT NULL,
	user_id pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
	CONSTRAINT feature_flag_denied_user_pkey PRIMARY KEY (flag_id, user_id),
	CONSTRAINT feature_flag_denied_user_user_id_check
		CHECK (pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.<=) 2048),
	CONSTRAINT feature_flag_denied_user_flag_id_fkey FOREIGN KEY (flag_id)
		REFERENCES @extschema@.feature_flag (id) ON DELETE CASCADE
);

CREATE INDEX feature_flag_denied_user_user_id_idx
	ON @extschema@.feature_flag_denied_user (user_id);

COMMENT ON TABLE @extschema@.feature_flag_denied_user IS
'denylists: users who do not get a feature, whatever its rollout_percentage and allowlist, unless it is for staff only';
COMMENT ON COLUMN @extschema@.feature_flag_denied_user.flag_id IS 'the flag';
COMMENT ON COLUMN @extschema@.feature_flag_denied_user.user_id IS 'the user, an id in its canonical text form: 42, or a lower-case hyphenated uuid';
COMMENT ON COLUMN @extschema@.feature_flag_denied_user.created_at IS 'when the user was denied';

SELECT pg_catalog.pg_extension_config_dump('feature_flag_denied_user', '');

CREATE TRIGGER fflag_check BEFORE INSERT OR UPDATE
	ON @extschema@.feature_flag_denied_user
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_check_user('denylist');
CREATE TRIGGER fflag_warn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON @extschema@.feature_flag_denied_user
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_warn_attached();
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE
	ON @extschema@.feature_flag_denied_user
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_invalidate('flag_id');
ALTER TABLE @extschema@.feature_flag_denied_user
	ENABLE ALWAYS TRIGGER fflag_invalidate;

CREATE FUNCTION @extschema@.fflag_deny(name pg_catalog.text, VARIADIC user_ids bigint[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_deny';
COMMENT ON FUNCTION @extschema@.fflag_deny(pg_catalog.text, bigint[]) IS
'puts users on the denylist of a flag; returns how many were not on it';

CREATE FUNCTION @extschema@.fflag_deny(name pg_catalog.text, VARIADIC user_ids uuid[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_deny';
COMMENT ON FUNCTION @extschema@.fflag_deny(pg_catalog.text, uuid[]) IS
'puts users on the denylist of a flag; returns how many were not on it';

CREATE FUNCTION @extschema@.fflag_deny(name pg_catalog.text, VARIADIC user_ids pg_catalog.text[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_deny';
COMMENT ON FUNCTION @extschema@.fflag_deny(pg_catalog.text, pg_catalog.text[]) IS
'puts users on the denylist of a flag; returns how many were not on it';

CREATE FUNCTION @extschema@.fflag_undeny(name pg_catalog.text, VARIADIC user_ids bigint[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_undeny';
COMMENT ON FUNCTION @extschema@.fflag_undeny(pg_catalog.text, bigint[]) IS
'takes users off the denylist of a flag; returns how many were on it';

CREATE FUNCTION @extschema@.fflag_undeny(name pg_catalog.text, VARIADIC user_ids uuid[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_undeny';
COMMENT ON FUNCTION @extschema@.fflag_undeny(pg_catalog.text, uuid[]) IS
'takes users off the denylist of a flag; returns how many were on it';

CREATE FUNCTION @extschema@.fflag_undeny(name pg_catalog.text, VARIADIC user_ids pg_catalog.text[])
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_undeny';
COMMENT ON FUNCTION @extschema@.fflag_undeny(pg_catalog.text, pg_catalog.text[]) IS
'takes users off the denylist of a flag; returns how many were on it';

--
-- Variants
--

CREATE TABLE @extschema@.feature_flag_variant (
	flag_id bigint NOT NULL,
	name pg_catalog.varchar(150) COLLATE pg_catalog."C" NOT NULL,
	weight numeric NOT NULL DEFAULT 1,
	payload pg_catalog.jsonb,
	created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
	CONSTRAINT feature_flag_variant_pkey PRIMARY KEY (flag_id, name),
	CONSTRAINT feature_flag_variant_name_check
		CHECK (name OPERATOR(pg_catalog.<>) ''::pg_catalog.text
			AND name OPERATOR(pg_catalog.!~) E'^ | $|[\\x01-\\x1f\\x7f]'::pg_catalog.text),
	CONSTRAINT feature_flag_variant_weight_check
		CHECK (weight OPERATOR(pg_catalog.>) 0::numeric
			AND weight OPERATOR(pg_catalog.<=) 1000000000::numeric
			AND pg_catalog.min_scale(weight) OPERATOR(pg_catalog.<=) 6),
	CONSTRAINT feature_flag_variant_flag_id_fkey FOREIGN KEY (flag_id)
		REFERENCES @extschema@.feature_flag (id) ON DELETE CASCADE
);

COMMENT ON TABLE @extschema@.feature_flag_variant IS
'variants: users who get a feature are divided among them by weight';
COMMENT ON COLUMN @extschema@.feature_flag_variant.flag_id IS 'the flag';
COMMENT ON COLUMN @extschema@.feature_flag_variant.name IS 'name of the variant, which fflag_variant returns';
COMMENT ON COLUMN @extschema@.feature_flag_variant.weight IS 'its share, relative to the sum of the weights of the flag; up to 1000000000, with at most six decimals';
COMMENT ON COLUMN @extschema@.feature_flag_variant.payload IS 'what the application needs to know of the variant, which fflag_variant_payload returns';
COMMENT ON COLUMN @extschema@.feature_flag_variant.created_at IS 'when the variant was created';

SELECT pg_catalog.pg_extension_config_dump('feature_flag_variant', '');

CREATE FUNCTION @extschema@.fflag_check_variant() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_check_variant';
COMMENT ON FUNCTION @extschema@.fflag_check_variant() IS
'refuses invalid variants';

CREATE TRIGGER fflag_check BEFORE INSERT OR UPDATE
	ON @extschema@.feature_flag_variant
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_check_variant();
CREATE TRIGGER fflag_warn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON @extschema@.feature_flag_variant
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_warn_attached();
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE
	ON @extschema@.feature_flag_variant
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_invalidate();
ALTER TABLE @extschema@.feature_flag_variant
	ENABLE ALWAYS TRIGGER fflag_invalidate;

CREATE FUNCTION @extschema@.fflag_variants(name pg_catalog.text, weights pg_catalog.jsonb)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_variants';
COMMENT ON FUNCTION @extschema@.fflag_variants(pg_catalog.text, pg_catalog.jsonb) IS
'gives a flag these variants, {"name": weight, ...}, and no others; NULL for none; those that it has already keep their payload';

CREATE FUNCTION @extschema@.fflag_variant(name pg_catalog.text, user_id bigint,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_bigint';
COMMENT ON FUNCTION @extschema@.fflag_variant(pg_catalog.text, bigint, boolean, pg_catalog.text) IS
'the variant that the user gets; default_variant if none';

CREATE FUNCTION @extschema@.fflag_variant(name pg_catalog.text, user_id uuid,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_uuid';
COMMENT ON FUNCTION @extschema@.fflag_variant(pg_catalog.text, uuid, boolean, pg_catalog.text) IS
'the variant that the user gets; default_variant if none';

CREATE FUNCTION @extschema@.fflag_variant(name pg_catalog.text, user_id pg_catalog.text DEFAULT NULL,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_text';
COMMENT ON FUNCTION @extschema@.fflag_variant(pg_catalog.text, pg_catalog.text, boolean, pg_catalog.text) IS
'the variant that the user gets; default_variant if none';

CREATE FUNCTION @extschema@.fflag_variant_payload(name pg_catalog.text, user_id bigint,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_payload_bigint';
COMMENT ON FUNCTION @extschema@.fflag_variant_payload(pg_catalog.text, bigint, boolean, pg_catalog.text) IS
'the payload of the variant that fflag_variant returns; NULL if the flag has no such variant';

CREATE FUNCTION @extschema@.fflag_variant_payload(name pg_catalog.text, user_id uuid,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_payload_uuid';
COMMENT ON FUNCTION @extschema@.fflag_variant_payload(pg_catalog.text, uuid, boolean, pg_catalog.text) IS
'the payload of the variant that fflag_variant returns; NULL if the flag has no such variant';

CREATE FUNCTION @extschema@.fflag_variant_payload(name pg_catalog.text, user_id pg_catalog.text DEFAULT NULL,
	is_staff boolean DEFAULT false, default_variant pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE c STABLE PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'fflag_variant_payload_text';
COMMENT ON FUNCTION @extschema@.fflag_variant_payload(pg_catalog.text, pg_catalog.text, boolean, pg_catalog.text) IS
'the payload of the variant that fflag_variant returns; NULL if the flag has no such variant';

-- These have a new column at the end.  Whoever may execute the old ones may
-- execute the new ones; what depends on the old ones is not dropped unasked.
DO $$
DECLARE
	old pg_catalog.text;
	dependent pg_catalog.text;
BEGIN
	SELECT pg_catalog.pg_describe_object(u.refclassid, u.refobjid, 0), pg_catalog.pg_describe_object(u.classid, u.objid, 0)
		INTO old, dependent
	FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) e.tableoid
			AND d.refobjid OPERATOR(pg_catalog.=) e.oid
			AND d.deptype OPERATOR(pg_catalog.=) 'e'
		JOIN pg_catalog.pg_proc AS p ON p.tableoid OPERATOR(pg_catalog.=) d.classid
			AND p.oid OPERATOR(pg_catalog.=) d.objid
		JOIN pg_catalog.pg_depend AS u ON u.refclassid OPERATOR(pg_catalog.=) d.classid
			AND u.refobjid OPERATOR(pg_catalog.=) d.objid
	WHERE e.extname OPERATOR(pg_catalog.=) 'fflag'
		AND p.proname OPERATOR(pg_catalog.=) ANY ('{fflag_explain, fflag_flags}')
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = pg_catalog.format('%s depends on %s, which has a new column in version 1.1', dependent, old),
			HINT = 'Drop it, update the extension, and create it again.';
	END IF;
END $$;

ALTER FUNCTION @extschema@.fflag_explain(pg_catalog.text, bigint, boolean, boolean) RENAME TO fflag_explain_1_0;
ALTER FUNCTION @extschema@.fflag_explain(pg_catalog.text, uuid, boolean, boolean) RENAME TO fflag_explain_1_0;
ALTER FUNCTION @extschema@.fflag_explain(pg_catalog.text, pg_catalog.text, boolean, boolean) RENAME TO fflag_explain_1_0;
ALTER FUNCTION @extschema@.fflag_flags(bigint, boolean) RENAME TO fflag_flags_1_0;
ALTER FUNCTION @extschema@.fflag_flags(uuid, boolean) RENAME TO fflag_flags_1_0;
ALTER FUNCTION @extschema@.fflag_flags(pg_catalog.text, boolean) RENAME TO fflag_flags_1_0;

CREATE FUNCTION @extschema@.fflag_explain(name pg_catalog.text, user_id bigint,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_explain_bigint';
COMMENT ON FUNCTION @extschema@.fflag_explain(pg_catalog.text, bigint, boolean, boolean) IS
'the answer of fflag_enabled, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_explain(name pg_catalog.text, user_id uuid,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_explain_uuid';
COMMENT ON FUNCTION @extschema@.fflag_explain(pg_catalog.text, uuid, boolean, boolean) IS
'the answer of fflag_enabled, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_explain(name pg_catalog.text, user_id pg_catalog.text DEFAULT NULL,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_explain_text';
COMMENT ON FUNCTION @extschema@.fflag_explain(pg_catalog.text, pg_catalog.text, boolean, boolean) IS
'the answer of fflag_enabled, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_flags(user_id bigint,
	is_staff boolean DEFAULT false)
RETURNS TABLE (name pg_catalog.text, enabled boolean, variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE ROWS 50 SUPPORT @extschema@.fflag_flags_support
AS 'MODULE_PATHNAME', 'fflag_flags_bigint';
COMMENT ON FUNCTION @extschema@.fflag_flags(bigint, boolean) IS
'all flags by name, with the answer of fflag_enabled for the user, and the variant';

CREATE FUNCTION @extschema@.fflag_flags(user_id uuid,
	is_staff boolean DEFAULT false)
RETURNS TABLE (name pg_catalog.text, enabled boolean, variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE ROWS 50 SUPPORT @extschema@.fflag_flags_support
AS 'MODULE_PATHNAME', 'fflag_flags_uuid';
COMMENT ON FUNCTION @extschema@.fflag_flags(uuid, boolean) IS
'all flags by name, with the answer of fflag_enabled for the user, and the variant';

CREATE FUNCTION @extschema@.fflag_flags(user_id pg_catalog.text DEFAULT NULL,
	is_staff boolean DEFAULT false)
RETURNS TABLE (name pg_catalog.text, enabled boolean, variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL SAFE ROWS 50 SUPPORT @extschema@.fflag_flags_support
AS 'MODULE_PATHNAME', 'fflag_flags_text';
COMMENT ON FUNCTION @extschema@.fflag_flags(pg_catalog.text, boolean) IS
'all flags by name, with the answer of fflag_enabled for the user, and the variant';

--
-- Announcements of allowlists: the argument names the column of the flag's id, so
-- that a change of one list leaves others in the caches
--

DROP TRIGGER fflag_invalidate ON @extschema@.feature_flag_user;
CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE
	ON @extschema@.feature_flag_user
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_invalidate('flag_id');
-- replicated changes count too
ALTER TABLE @extschema@.feature_flag_user
	ENABLE ALWAYS TRIGGER fflag_invalidate;

--
-- Usage
--

CREATE FUNCTION @extschema@.fflag_usage()
RETURNS TABLE (name pg_catalog.text, known boolean, evaluations bigint, enabled bigint,
	last_evaluated_at timestamp with time zone, since timestamp with time zone)
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 50
AS 'MODULE_PATHNAME', 'fflag_usage';
COMMENT ON FUNCTION @extschema@.fflag_usage() IS
'how often this server has evaluated each flag, and names that no flag has, in this database';

CREATE FUNCTION @extschema@.fflag_usage_reset() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_usage_reset';
COMMENT ON FUNCTION @extschema@.fflag_usage_reset() IS
'counts evaluations in this database from zero again';

CREATE FUNCTION @extschema@.fflag_stale(unchanged_for interval DEFAULT '30 days')
RETURNS TABLE (name pg_catalog.text, reason pg_catalog.text,
	updated_at timestamp with time zone, last_evaluated_at timestamp with time zone)
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'fflag_stale';
COMMENT ON FUNCTION @extschema@.fflag_stale(interval) IS
'flags that can go: everybody has had the same answer, or nobody has asked, for so long';

--
-- History
--
-- What is recorded is each row as it was before a change: undo, not redo.  So
-- nothing has to be copied when the history begins, and to forget is to delete.
--

CREATE TABLE @extschema@.feature_flag_change (
	id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	origin uuid NOT NULL,
	begins boolean NOT NULL DEFAULT false,
	at timestamp with time zone,
	transaction xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
	session_role pg_catalog.text NOT NULL,
	role pg_catalog.text NOT NULL,
	application_name pg_catalog.text NOT NULL,
	actor pg_catalog.text NOT NULL,
	CONSTRAINT feature_flag_change_pkey PRIMARY KEY (id)
);

-- transactions that are open, or were committed without a time
CREATE INDEX feature_flag_change_transaction_idx
	ON @extschema@.feature_flag_change (transaction) WHERE at IS NULL;
CREATE INDEX feature_flag_change_at_idx
	ON @extschema@.feature_flag_change (at);
CREATE INDEX feature_flag_change_origin_idx
	ON @extschema@.feature_flag_change (origin, at);
CREATE INDEX feature_flag_change_begins_idx
	ON @extschema@.feature_flag_change (origin) WHERE begins;

COMMENT ON TABLE @extschema@.feature_flag_change IS
'who changed flags, and when: one row for each transaction; see fflag_history';
COMMENT ON COLUMN @extschema@.feature_flag_change.id IS 'key, referenced by feature_flag_history';
COMMENT ON COLUMN @extschema@.feature_flag_change.origin IS 'the database where it was recorded; a restored one gets a new origin';
COMMENT ON COLUMN @extschema@.feature_flag_change.begins IS 'true: no change, but the moment at which the history of this origin begins';
COMMENT ON COLUMN @extschema@.feature_flag_change.at IS 'when the transaction began to commit; NULL until then';
COMMENT ON COLUMN @extschema@.feature_flag_change.transaction IS 'its number, of the server where it was recorded';
COMMENT ON COLUMN @extschema@.feature_flag_change.session_role IS 'session_user: who had logged in';
COMMENT ON COLUMN @extschema@.feature_flag_change.role IS 'the role that was set (SET ROLE), otherwise the same';
COMMENT ON COLUMN @extschema@.feature_flag_change.application_name IS 'application_name of the session';
COMMENT ON COLUMN @extschema@.feature_flag_change.actor IS 'fflag.actor: who the application says it was; can be forged';

CREATE TABLE @extschema@.feature_flag_history (
	change uuid NOT NULL,
	sequence bigint NOT NULL,
	kind pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	attached boolean NOT NULL,
	operation pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	name pg_catalog.text COLLATE pg_catalog."C",
	flag_id pg_catalog.text COLLATE pg_catalog."C",
	user_id pg_catalog.text COLLATE pg_catalog."C",
	since timestamp with time zone,
	old_row pg_catalog.jsonb,
	new_row pg_catalog.jsonb
);

-- Names and ids of attached tables may be longer than what an index takes.  None
-- is on change: who lists or forgets changes reads the whole table, and each index
-- makes long allowlists slower to load.
CREATE INDEX feature_flag_history_name_idx
	ON @extschema@.feature_flag_history (pg_catalog."left"(name, 100)) WHERE name IS NOT NULL;
CREATE INDEX feature_flag_history_id_idx
	ON @extschema@.feature_flag_history (pg_catalog."left"(flag_id, 100), pg_catalog."left"(user_id, 100));
CREATE INDEX feature_flag_history_tables_idx
	ON @extschema@.feature_flag_history (kind)
	WHERE kind OPERATOR(pg_catalog.=) 'tables'::pg_catalog.text
		OR kind OPERATOR(pg_catalog.=) 'gap'::pg_catalog.text;

-- a publisher would otherwise refuse to forget
ALTER TABLE @extschema@.feature_flag_history REPLICA IDENTITY FULL;

COMMENT ON TABLE @extschema@.feature_flag_history IS
'what was changed: one row for each flag, user on a list, variant or attachment that a statement changed; see fflag_history';
COMMENT ON COLUMN @extschema@.feature_flag_history.change IS 'the transaction, a row of feature_flag_change';
COMMENT ON COLUMN @extschema@.feature_flag_history.sequence IS 'order of the statements in the transaction';
COMMENT ON COLUMN @extschema@.feature_flag_history.kind IS 'flag, user (listed), denied (user), variant, tables (which are attached), or gap: earlier changes may be missing';
COMMENT ON COLUMN @extschema@.feature_flag_history.attached IS 'in an attached table, or in the extension''s own';
COMMENT ON COLUMN @extschema@.feature_flag_history.operation IS 'insert, update, delete, truncate, or detach';
COMMENT ON COLUMN @extschema@.feature_flag_history.name IS 'name of the flag, or of the variant; to rename is to change two names';
COMMENT ON COLUMN @extschema@.feature_flag_history.flag_id IS 'id of the flag, as text';
COMMENT ON COLUMN @extschema@.feature_flag_history.user_id IS 'the listed or denied user';
COMMENT ON COLUMN @extschema@.feature_flag_history.since IS 'of an inserted row that says it is older than its transaction, when it says it was created; a restored one is such';
COMMENT ON COLUMN @extschema@.feature_flag_history.old_row IS 'the row before the change, NULL if there was none';
COMMENT ON COLUMN @extschema@.feature_flag_history.new_row IS 'the row after the change, for people; not kept of users on lists';

SELECT pg_catalog.pg_extension_config_dump('feature_flag_change', '');
SELECT pg_catalog.pg_extension_config_dump('feature_flag_history', '');

-- Which database this is: a column's default is neither dumped nor replicated,
-- and pg_upgrade keeps it.
DO $$
BEGIN
	EXECUTE (SELECT pg_catalog.format('ALTER TABLE %I.feature_flag_change ALTER COLUMN origin SET DEFAULT %L::uuid',
			n.nspname, pg_catalog.gen_random_uuid())
		FROM pg_catalog.pg_extension AS e
			JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
		WHERE e.extname OPERATOR(pg_catalog.=) 'fflag');
END $$;

CREATE FUNCTION @extschema@.fflag_record() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_record';
COMMENT ON FUNCTION @extschema@.fflag_record() IS
'records what a statement changes in the history';

CREATE FUNCTION @extschema@.fflag_stamp() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_stamp';
COMMENT ON FUNCTION @extschema@.fflag_stamp() IS
'notes when a transaction that has changed flags begins to commit';

CREATE FUNCTION @extschema@.fflag_skip_known() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_skip_known';
COMMENT ON FUNCTION @extschema@.fflag_skip_known() IS
'leaves out changes that are known already when a dump is restored again';

CREATE TRIGGER fflag_skip_known BEFORE INSERT ON @extschema@.feature_flag_change
	FOR EACH ROW WHEN (NEW.at IS NOT NULL) EXECUTE FUNCTION @extschema@.fflag_skip_known();
CREATE CONSTRAINT TRIGGER fflag_stamp AFTER INSERT
	ON @extschema@.feature_flag_change DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.at IS NULL) EXECUTE FUNCTION @extschema@.fflag_stamp();

CREATE TRIGGER fflag_record_insert AFTER INSERT ON @extschema@.feature_flag
	REFERENCING NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('flag');
CREATE TRIGGER fflag_record_update AFTER UPDATE ON @extschema@.feature_flag
	REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('flag');
CREATE TRIGGER fflag_record_delete AFTER DELETE ON @extschema@.feature_flag
	REFERENCING OLD TABLE AS fflag_old
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('flag');
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON @extschema@.feature_flag
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('flag');

CREATE TRIGGER fflag_record_insert AFTER INSERT ON @extschema@.feature_flag_user
	REFERENCING NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('user');
CREATE TRIGGER fflag_record_update AFTER UPDATE ON @extschema@.feature_flag_user
	REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('user');
CREATE TRIGGER fflag_record_delete AFTER DELETE ON @extschema@.feature_flag_user
	REFERENCING OLD TABLE AS fflag_old
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('user');
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON @extschema@.feature_flag_user
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('user');

CREATE TRIGGER fflag_record_insert AFTER INSERT ON @extschema@.feature_flag_denied_user
	REFERENCING NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('denied');
CREATE TRIGGER fflag_record_update AFTER UPDATE ON @extschema@.feature_flag_denied_user
	REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('denied');
CREATE TRIGGER fflag_record_delete AFTER DELETE ON @extschema@.feature_flag_denied_user
	REFERENCING OLD TABLE AS fflag_old
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('denied');
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON @extschema@.feature_flag_denied_user
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('denied');

CREATE TRIGGER fflag_record_insert AFTER INSERT ON @extschema@.feature_flag_variant
	REFERENCING NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('variant');
CREATE TRIGGER fflag_record_update AFTER UPDATE ON @extschema@.feature_flag_variant
	REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('variant');
CREATE TRIGGER fflag_record_delete AFTER DELETE ON @extschema@.feature_flag_variant
	REFERENCING OLD TABLE AS fflag_old
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('variant');
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON @extschema@.feature_flag_variant
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('variant');

CREATE TRIGGER fflag_record_insert AFTER INSERT ON @extschema@.feature_flag_attachment
	REFERENCING NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('tables');
CREATE TRIGGER fflag_record_update AFTER UPDATE ON @extschema@.feature_flag_attachment
	REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('tables');
CREATE TRIGGER fflag_record_delete AFTER DELETE ON @extschema@.feature_flag_attachment
	REFERENCING OLD TABLE AS fflag_old
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('tables');
CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON @extschema@.feature_flag_attachment
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_record('tables');

CREATE FUNCTION @extschema@.fflag_history(name pg_catalog.text DEFAULT NULL, detail boolean DEFAULT false)
RETURNS TABLE (at timestamp with time zone, session_role pg_catalog.text, role pg_catalog.text,
	application_name pg_catalog.text, actor pg_catalog.text, what pg_catalog.text,
	flag pg_catalog.text, user_id pg_catalog.text, users bigint,
	old_values pg_catalog.jsonb, new_values pg_catalog.jsonb)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'fflag_history';
COMMENT ON FUNCTION @extschema@.fflag_history(pg_catalog.text, boolean) IS
'who changed what, and when, newest first: of a flag, or of all; users listed by one statement are one line, unless in detail';

CREATE FUNCTION @extschema@.fflag_explain_at(at timestamp with time zone, name pg_catalog.text, user_id bigint,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'fflag_explain_at_bigint';
COMMENT ON FUNCTION @extschema@.fflag_explain_at(timestamp with time zone, pg_catalog.text, bigint, boolean, boolean) IS
'the answer of fflag_enabled at that moment, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_explain_at(at timestamp with time zone, name pg_catalog.text, user_id uuid,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'fflag_explain_at_uuid';
COMMENT ON FUNCTION @extschema@.fflag_explain_at(timestamp with time zone, pg_catalog.text, uuid, boolean, boolean) IS
'the answer of fflag_enabled at that moment, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_explain_at(at timestamp with time zone, name pg_catalog.text, user_id pg_catalog.text DEFAULT NULL,
	is_staff boolean DEFAULT false, default_value boolean DEFAULT false,
	OUT enabled boolean, OUT rule pg_catalog.text, OUT reason pg_catalog.text,
	OUT bucket integer, OUT rollout_percentage numeric, OUT variant pg_catalog.text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'fflag_explain_at_text';
COMMENT ON FUNCTION @extschema@.fflag_explain_at(timestamp with time zone, pg_catalog.text, pg_catalog.text, boolean, boolean) IS
'the answer of fflag_enabled at that moment, and why; and the variant';

CREATE FUNCTION @extschema@.fflag_prune_history(before timestamp with time zone)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_prune_history';
COMMENT ON FUNCTION @extschema@.fflag_prune_history(timestamp with time zone) IS
'forgets changes up to that moment, at which the history then begins; returns how many transactions';

--
-- Privileges, of what is new in this script, as in the script of 1.0.
-- @extowner@ would be the role that updates, and pg_upgrade makes the extension
-- a superuser's: so it goes by whose the other tables are.
--

DO $$
DECLARE
	new_members CONSTANT pg_catalog.name[] := '{
		fflag_schedule, fflag_ramp, feature_flag_denied_user, feature_flag_variant,
		fflag_check_required, fflag_require, fflag_deny, fflag_undeny,
		fflag_check_variant, fflag_variants, fflag_variant, fflag_variant_payload,
		fflag_explain, fflag_flags, fflag_usage, fflag_usage_reset, fflag_stale, feature_flag_change, feature_flag_history, fflag_record,
		fflag_stamp, fflag_skip_known, fflag_history, fflag_explain_at, fflag_prune_history}';
	table_owner pg_catalog.oid;
	member record;
	grantee pg_catalog.text;
BEGIN
	SELECT c.relowner INTO table_owner
	FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_class AS c ON c.relnamespace OPERATOR(pg_catalog.=) e.extnamespace
	WHERE e.extname OPERATOR(pg_catalog.=) 'fflag'
		AND c.relname OPERATOR(pg_catalog.=) 'feature_flag';

	FOR member IN
		SELECT i.identity
		FROM pg_catalog.pg_extension AS e
			JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) e.tableoid
				AND d.refobjid OPERATOR(pg_catalog.=) e.oid
				AND d.deptype OPERATOR(pg_catalog.=) 'e'
			JOIN pg_catalog.pg_class AS c ON c.tableoid OPERATOR(pg_catalog.=) d.classid
				AND c.oid OPERATOR(pg_catalog.=) d.objid,
			pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
		WHERE e.extname OPERATOR(pg_catalog.=) 'fflag'
			AND c.relkind OPERATOR(pg_catalog.=) 'r'
			AND c.relname OPERATOR(pg_catalog.=) ANY (new_members)
	LOOP
		EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %s',
			member.identity, table_owner::pg_catalog.regrole);
	END LOOP;

	FOR member IN
		SELECT i.type, i.identity, o.owner, o.acl
		FROM pg_catalog.pg_extension AS e
			JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) e.tableoid
				AND d.refobjid OPERATOR(pg_catalog.=) e.oid
				AND d.deptype OPERATOR(pg_catalog.=) 'e'
			JOIN (SELECT tableoid, oid, relname, relowner, relacl
				FROM pg_catalog.pg_class
				UNION ALL SELECT tableoid, oid, proname, proowner,
					coalesce(proacl, pg_catalog.acldefault('f', proowner))
				FROM pg_catalog.pg_proc) AS o (classid, objid, name, owner, acl)
				ON o.classid OPERATOR(pg_catalog.=) d.classid
				AND o.objid OPERATOR(pg_catalog.=) d.objid,
			pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
		WHERE e.extname OPERATOR(pg_catalog.=) 'fflag'
			AND o.name OPERATOR(pg_catalog.=) ANY (new_members) AND o.acl IS NOT NULL
	LOOP
		FOR grantee IN
			SELECT DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
				ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END
			FROM pg_catalog.aclexplode(member.acl) AS a
			WHERE a.grantee OPERATOR(pg_catalog.<>) member.owner
		LOOP
			EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s',
				member.type, member.identity, grantee);
		END LOOP;
		EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %s',
			member.type, member.identity, member.owner::pg_catalog.regrole);
		IF member.type OPERATOR(pg_catalog.=) 'function' THEN
			EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s WITH GRANT OPTION',
				member.identity, table_owner::pg_catalog.regrole);
		END IF;
	END LOOP;
END $$;

-- Whoever might execute the old ones may execute these.  Anybody's function may
-- have such a name, but for those that have just got it.
DO $$
DECLARE
	g record;
BEGIN
	FOR g IN
		SELECT i.identity, CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
				ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END AS grantee,
			CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS option
		FROM pg_catalog.pg_extension AS e
			JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) e.tableoid
				AND d.refobjid OPERATOR(pg_catalog.=) e.oid
				AND d.deptype OPERATOR(pg_catalog.=) 'e'
			JOIN pg_catalog.pg_proc AS p ON p.tableoid OPERATOR(pg_catalog.=) d.classid
				AND p.oid OPERATOR(pg_catalog.=) d.objid
			JOIN pg_catalog.pg_proc AS o ON o.pronamespace OPERATOR(pg_catalog.=) p.pronamespace
				AND o.proname OPERATOR(pg_catalog.=) (p.proname OPERATOR(pg_catalog.||) '_1_0')::pg_catalog.name
				AND o.proargtypes OPERATOR(pg_catalog.=) p.proargtypes,
			pg_catalog.aclexplode(coalesce(o.proacl, pg_catalog.acldefault('f', o.proowner))) AS a,
			pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
		WHERE e.extname OPERATOR(pg_catalog.=) 'fflag' AND a.grantee OPERATOR(pg_catalog.<>) p.proowner
			AND p.proname OPERATOR(pg_catalog.=) ANY ('{fflag_explain, fflag_flags}')
	LOOP
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s%s', g.identity, g.grantee, g.option);
	END LOOP;
END $$;
DROP FUNCTION @extschema@.fflag_explain_1_0(pg_catalog.text, bigint, boolean, boolean);
DROP FUNCTION @extschema@.fflag_explain_1_0(pg_catalog.text, uuid, boolean, boolean);
DROP FUNCTION @extschema@.fflag_explain_1_0(pg_catalog.text, pg_catalog.text, boolean, boolean);
DROP FUNCTION @extschema@.fflag_flags_1_0(bigint, boolean);
DROP FUNCTION @extschema@.fflag_flags_1_0(uuid, boolean);
DROP FUNCTION @extschema@.fflag_flags_1_0(pg_catalog.text, boolean);

GRANT EXECUTE ON FUNCTION
	@extschema@.fflag_variant(pg_catalog.text, bigint, boolean, pg_catalog.text),
	@extschema@.fflag_variant(pg_catalog.text, uuid, boolean, pg_catalog.text),
	@extschema@.fflag_variant(pg_catalog.text, pg_catalog.text, boolean, pg_catalog.text),
	@extschema@.fflag_variant_payload(pg_catalog.text, bigint, boolean, pg_catalog.text),
	@extschema@.fflag_variant_payload(pg_catalog.text, uuid, boolean, pg_catalog.text),
	@extschema@.fflag_variant_payload(pg_catalog.text, pg_catalog.text, boolean, pg_catalog.text)
TO PUBLIC;

-- It records nothing of tables that are not attached, and whoever may attach
-- their own has to put it there.
GRANT EXECUTE ON FUNCTION @extschema@.fflag_record() TO PUBLIC;

-- Tables that have the trigger of 1.0 are attached, to which their owner has
-- agreed: they are recorded from now on.
DO $$
DECLARE
	invalidate pg_catalog.oid;
	record pg_catalog.text;
	attached pg_catalog.text;
BEGIN
	SELECT p.oid, pg_catalog.format('%I.fflag_record()', n.nspname) INTO invalidate, record
	FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
		JOIN pg_catalog.pg_proc AS p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid
	WHERE e.extname OPERATOR(pg_catalog.=) 'fflag'
		AND p.proname OPERATOR(pg_catalog.=) 'fflag_invalidate';
	FOR attached IN
		SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.relname)
		FROM pg_catalog.pg_trigger AS t
			JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
			JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
		WHERE t.tgfoid OPERATOR(pg_catalog.=) invalidate
			AND c.relkind OPERATOR(pg_catalog.=) 'r'
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
				WHERE d.classid OPERATOR(pg_catalog.=) c.tableoid AND d.objid OPERATOR(pg_catalog.=) c.oid
					AND d.deptype OPERATOR(pg_catalog.=) 'e')
	LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER fflag_record_insert AFTER INSERT ON %s'
			' REFERENCING NEW TABLE AS fflag_new FOR EACH STATEMENT EXECUTE FUNCTION %s', attached, record);
		EXECUTE pg_catalog.format('CREATE TRIGGER fflag_record_update AFTER UPDATE ON %s'
			' REFERENCING OLD TABLE AS fflag_old NEW TABLE AS fflag_new FOR EACH STATEMENT EXECUTE FUNCTION %s', attached, record);
		EXECUTE pg_catalog.format('CREATE TRIGGER fflag_record_delete AFTER DELETE ON %s'
			' REFERENCING OLD TABLE AS fflag_old FOR EACH STATEMENT EXECUTE FUNCTION %s', attached, record);
		EXECUTE pg_catalog.format('CREATE TRIGGER fflag_record_truncate BEFORE TRUNCATE ON %s'
			' FOR EACH STATEMENT EXECUTE FUNCTION %s', attached, record);
	END LOOP;
END $$;

-- The triggers are there, and keep writers away until this transaction ends.
INSERT INTO @extschema@.feature_flag_change (begins, at, session_role, role, application_name, actor)
VALUES (true, pg_catalog.clock_timestamp(), SESSION_USER, SESSION_USER,
	pg_catalog.current_setting('application_name'), '');
