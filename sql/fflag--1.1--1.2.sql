/* sql/fflag--1.1--1.2.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION fflag UPDATE TO '1.2'" to load this file. \quit

--
-- Reading flags from somebody else's tables
--

CREATE TABLE @extschema@.feature_flag_attachment (
	attached boolean NOT NULL DEFAULT true,
	flags pg_catalog.regclass NOT NULL,
	users pg_catalog.regclass NOT NULL,
	flags_name pg_catalog.text NOT NULL,
	users_name pg_catalog.text NOT NULL,
	id pg_catalog.name NOT NULL,
	name pg_catalog.name NOT NULL,
	enabled pg_catalog.name NOT NULL,
	staff_only pg_catalog.name NOT NULL,
	rollout_percentage pg_catalog.name NOT NULL,
	flag_id pg_catalog.name NOT NULL,
	user_id pg_catalog.name NOT NULL,
	CONSTRAINT feature_flag_attachment_pkey PRIMARY KEY (attached),
	CONSTRAINT feature_flag_attachment_attached_check CHECK (attached)
);

COMMENT ON TABLE @extschema@.feature_flag_attachment IS
'which tables flags are read from, if not the extension''s own; at most one row, kept by fflag_attach and fflag_detach';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.attached IS 'true, so that there is one row at most';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.flags IS 'the table that stands for feature_flag';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.users IS 'the table that stands for feature_flag_user';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.flags_name IS 'what the former was called when it was attached';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.users_name IS 'what the latter was called when it was attached';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.id IS 'what column id is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.name IS 'what column name is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.enabled IS 'what column enabled is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.staff_only IS 'what column staff_only is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.rollout_percentage IS 'what column rollout_percentage is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.flag_id IS 'what column flag_id is called there';
COMMENT ON COLUMN @extschema@.feature_flag_attachment.user_id IS 'what column user_id is called there';

SELECT pg_catalog.pg_extension_config_dump('feature_flag_attachment', '');

CREATE TRIGGER fflag_invalidate BEFORE INSERT OR UPDATE OR DELETE
	ON @extschema@.feature_flag_attachment
	FOR EACH ROW EXECUTE FUNCTION @extschema@.fflag_invalidate();
ALTER TABLE @extschema@.feature_flag_attachment
	ENABLE ALWAYS TRIGGER fflag_invalidate;

CREATE FUNCTION @extschema@.fflag_attach(flags pg_catalog.regclass, users pg_catalog.regclass,
	id pg_catalog.name DEFAULT 'id', name pg_catalog.name DEFAULT 'name',
	enabled pg_catalog.name DEFAULT 'enabled', staff_only pg_catalog.name DEFAULT 'staff_only',
	rollout_percentage pg_catalog.name DEFAULT 'rollout_percentage',
	flag_id pg_catalog.name DEFAULT 'featureflag_id', user_id pg_catalog.name DEFAULT 'user_id')
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_attach';
COMMENT ON FUNCTION @extschema@.fflag_attach(pg_catalog.regclass, pg_catalog.regclass, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name) IS
'from now on reads flags from these tables, in place; the other arguments say what the columns are called there';

CREATE FUNCTION @extschema@.fflag_detach() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_detach';
COMMENT ON FUNCTION @extschema@.fflag_detach() IS
'reads flags from the extension''s own tables again';

REVOKE ALL ON FUNCTION
	@extschema@.fflag_attach(pg_catalog.regclass, pg_catalog.regclass, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name, pg_catalog.name),
	@extschema@.fflag_detach()
FROM PUBLIC;

-- All of it is for the owner of the flags, who need not be the one who runs this:
-- pg_upgrade leaves extensions to superusers.  Who attaches tables puts triggers
-- on them.
DO LANGUAGE plpgsql $$
DECLARE
	owner pg_catalog.text := (SELECT relowner::pg_catalog.regrole FROM pg_catalog.pg_class
		WHERE oid OPERATOR(pg_catalog.=) 'feature_flag'::pg_catalog.regclass);
BEGIN
	EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION fflag_attach, fflag_detach, fflag_invalidate TO %s WITH GRANT OPTION', owner);
	EXECUTE pg_catalog.format('ALTER TABLE feature_flag_attachment OWNER TO %s', owner);
END
$$;

-- Sessions that have cached flags do not know of this table, and will hear
-- nothing of it, until they look again where flags are.  This, which changes
-- nothing, makes them.
ALTER TABLE @extschema@.feature_flag ALTER COLUMN id SET STATISTICS -1;
