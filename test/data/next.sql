/* The update script of a next version that 014_upgrade makes up, and a model for real ones. */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION fflag UPDATE" to load this file. \quit

-- A foreign key inside ADD COLUMN is valid at once, and not validated, unless the
-- column has a default.
ALTER TABLE @extschema@.feature_flag
	ADD COLUMN archived boolean NOT NULL DEFAULT false,
	ADD COLUMN successor bigint
		CONSTRAINT feature_flag_successor_fkey REFERENCES @extschema@.feature_flag (id),
	ADD CONSTRAINT feature_flag_successor_check
		CHECK (successor OPERATOR(pg_catalog.<>) id) NOT VALID;

CREATE INDEX feature_flag_successor_idx
	ON @extschema@.feature_flag (successor) WHERE successor IS NOT NULL;

COMMENT ON COLUMN @extschema@.feature_flag.archived IS 'if true, nobody needs the flag any more';
COMMENT ON COLUMN @extschema@.feature_flag.successor IS 'id of the flag that takes its place';

CREATE TABLE @extschema@.feature_flag_note (
	flag_id bigint NOT NULL,
	note pg_catalog.text NOT NULL,
	CONSTRAINT feature_flag_note_pkey PRIMARY KEY (flag_id),
	CONSTRAINT feature_flag_note_flag_id_fkey FOREIGN KEY (flag_id)
		REFERENCES @extschema@.feature_flag (id) ON DELETE CASCADE
);

COMMENT ON TABLE @extschema@.feature_flag_note IS 'what there is to say of a flag';
COMMENT ON COLUMN @extschema@.feature_flag_note.flag_id IS 'the flag';
COMMENT ON COLUMN @extschema@.feature_flag_note.note IS 'what there is to say';

SELECT pg_catalog.pg_extension_config_dump('feature_flag_note', '');

CREATE TRIGGER fflag_warn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON @extschema@.feature_flag_note
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.fflag_warn_attached();

CREATE FUNCTION @extschema@.fflag_archive(name pg_catalog.text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fflag_disable';
COMMENT ON FUNCTION @extschema@.fflag_archive(pg_catalog.text) IS
'archives a flag; an error if there is none of this name';

CREATE FUNCTION @extschema@.fflag_order(name pg_catalog.text, user_id bigint) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_bucket_bigint';
COMMENT ON FUNCTION @extschema@.fflag_order(pg_catalog.text, bigint) IS
'in which order users get a feature';

-- Privileges, of what is new in this script, as in the script of 1.0.  @extowner@
-- would be the role that updates, and pg_upgrade makes the extension a
-- superuser's: so it goes by whose the other tables are.
DO $$
DECLARE
	new_members CONSTANT pg_catalog.name[] := '{feature_flag_note, fflag_archive, fflag_order}';
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

GRANT EXECUTE ON FUNCTION @extschema@.fflag_order(pg_catalog.text, bigint) TO PUBLIC;
