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
	starts_at timestamp with time zone, ends_at timestamp with time zone)
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
-- Privileges, of what is new in this script, as in the script of 1.0.
-- @extowner@ would be the role that updates.
--

DO $$
DECLARE
	new_members CONSTANT pg_catalog.name[] := '{fflag_schedule,fflag_ramp,fflag_usage,fflag_usage_reset,fflag_stale}';
	member record;
	grantee pg_catalog.text;
BEGIN
	FOR member IN
		SELECT i.identity, e.extowner
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
			member.identity, member.extowner::pg_catalog.regrole);
	END LOOP;

	FOR member IN
		SELECT i.type, i.identity, o.owner, o.acl, e.extowner
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
				member.identity, member.extowner::pg_catalog.regrole);
		END IF;
	END LOOP;
END $$;
