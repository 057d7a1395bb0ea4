/* sql/fflag--1.0--1.1.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION fflag UPDATE TO '1.1'" to load this file. \quit

--
-- Planner
--

CREATE FUNCTION @extschema@.fflag_support(request internal) RETURNS internal
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_support';
COMMENT ON FUNCTION @extschema@.fflag_support(internal) IS
'tells the planner how many rows fflag_enabled lets pass, and what it costs';

ALTER FUNCTION @extschema@.fflag_enabled(pg_catalog.text, bigint, boolean, boolean)
	SUPPORT @extschema@.fflag_support;
ALTER FUNCTION @extschema@.fflag_enabled(pg_catalog.text, uuid, boolean, boolean)
	SUPPORT @extschema@.fflag_support;
ALTER FUNCTION @extschema@.fflag_enabled(pg_catalog.text, pg_catalog.text, boolean, boolean)
	SUPPORT @extschema@.fflag_support;

REVOKE ALL ON FUNCTION @extschema@.fflag_support(internal) FROM PUBLIC;

--
-- Many users at once.  The form with is_staff has a name of its own: another
-- fflag_enabled of three arguments would make calls with untyped ones ambiguous.
--

CREATE FUNCTION @extschema@.fflag_enabled(name pg_catalog.text, user_ids bigint[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_bigint';
COMMENT ON FUNCTION @extschema@.fflag_enabled(pg_catalog.text, bigint[]) IS
'which of the users get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_enabled_all(name pg_catalog.text, user_ids bigint[],
	is_staff boolean[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_bigint';
COMMENT ON FUNCTION @extschema@.fflag_enabled_all(pg_catalog.text, bigint[], boolean[]) IS
'which of the users, some of them staff, get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_enabled(name pg_catalog.text, user_ids uuid[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_uuid';
COMMENT ON FUNCTION @extschema@.fflag_enabled(pg_catalog.text, uuid[]) IS
'which of the users get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_enabled_all(name pg_catalog.text, user_ids uuid[],
	is_staff boolean[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_uuid';
COMMENT ON FUNCTION @extschema@.fflag_enabled_all(pg_catalog.text, uuid[], boolean[]) IS
'which of the users, some of them staff, get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_enabled(name pg_catalog.text, user_ids pg_catalog.text[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_text';
COMMENT ON FUNCTION @extschema@.fflag_enabled(pg_catalog.text, pg_catalog.text[]) IS
'which of the users get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_enabled_all(name pg_catalog.text, user_ids pg_catalog.text[],
	is_staff boolean[])
RETURNS boolean[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'fflag_enabled_array_text';
COMMENT ON FUNCTION @extschema@.fflag_enabled_all(pg_catalog.text, pg_catalog.text[], boolean[]) IS
'which of the users, some of them staff, get the feature? one answer for each, in their order';

CREATE FUNCTION @extschema@.fflag_select(name pg_catalog.text, user_ids bigint[])
RETURNS SETOF bigint
LANGUAGE c STABLE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'fflag_select_bigint';
COMMENT ON FUNCTION @extschema@.fflag_select(pg_catalog.text, bigint[]) IS
'those of the users who get the feature, in their order';

CREATE FUNCTION @extschema@.fflag_select(name pg_catalog.text, user_ids uuid[])
RETURNS SETOF uuid
LANGUAGE c STABLE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'fflag_select_uuid';
COMMENT ON FUNCTION @extschema@.fflag_select(pg_catalog.text, uuid[]) IS
'those of the users who get the feature, in their order';

CREATE FUNCTION @extschema@.fflag_select(name pg_catalog.text, user_ids pg_catalog.text[])
RETURNS SETOF pg_catalog.text
LANGUAGE c STABLE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'fflag_select_text';
COMMENT ON FUNCTION @extschema@.fflag_select(pg_catalog.text, pg_catalog.text[]) IS
'those of the users who get the feature, in their order';
