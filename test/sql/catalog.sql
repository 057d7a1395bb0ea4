--
-- What the catalogs say of the extension's objects
--
CREATE EXTENSION fflag;

SELECT proname, CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
	proisstrict AS strict, CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel,
	count(*) AS overloads
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'fflag'
WHERE d.classid = 'pg_proc'::regclass
GROUP BY 1, 2, 3, 4 ORDER BY 1;

-- every function, table and column is described, every argument named
SELECT p.oid::regprocedure AS undescribed FROM pg_proc p
WHERE proname LIKE 'fflag%' AND (obj_description(oid, 'pg_proc') IS NULL
	OR pronargs > 0 AND (proargnames IS NULL OR '' = ANY (proargnames)));
-- what nobody is to call is described as internal, and nothing else is
SELECT p.oid::regprocedure AS described_wrongly FROM pg_proc p
WHERE proname LIKE 'fflag%' AND prorettype IN ('trigger'::regtype, 'internal'::regtype) <> (obj_description(oid, 'pg_proc') LIKE 'internal: %');
SELECT c.relname, a.attname AS undescribed
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
WHERE c.relname IN ('feature_flag', 'feature_flag_user', 'feature_flag_attachment')
	AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL);

-- the tables and the identity sequence are dumped
SELECT c.oid::regclass, condition FROM pg_extension, unnest(extconfig, extcondition) AS config (oid, condition)
	JOIN pg_class AS c USING (oid) WHERE extname = 'fflag' ORDER BY c.oid::regclass::text COLLATE "C";

-- the triggers that announce changes fire for replicas too
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'fflag%' ORDER BY tgrelid::regclass::text COLLATE "C", 2;

SELECT name, setting, context, short_desc, extra_desc FROM pg_settings WHERE name LIKE 'fflag.%';
DROP EXTENSION fflag;
