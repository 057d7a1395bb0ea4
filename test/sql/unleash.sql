--
-- What Unleash says of parent features, in relations: whether a parent is to be enabled, or to be
-- disabled; which of its variants it is to resolve to, any of a list; several parents, all of
-- them; a parent that is not there
--
CREATE EXTENSION fflag;
-- parents: each that a child can meet
SELECT fflag_register(ARRAY['enabled', 'with variants', 'grandchild', 'child of it'], true, 100), fflag_register('disabled'), fflag_register('for some', true, 0), fflag_register('gone', true);
SELECT fflag_allow('for some', 1);
-- (by its weight, everybody has the second)
SELECT fflag_variants('with variants', '{"blue": 0.000001, "green": 1000000000, "red": 0.000001}'), fflag_variants('disabled', '{"blue": 1}');

-- children as Unleash describes them: parents with "enabled" (true unless it says otherwise) and "variants"
CREATE TABLE child (name text, parents jsonb, first boolean, second boolean);
INSERT INTO child VALUES
	('no parent', '[]', 't', 't'),
	('enabled parent', '[{"feature": "enabled"}]', 't', 't'),
	('enabled, said so', '[{"feature": "enabled", "enabled": true}]', 't', 't'),
	('disabled parent', '[{"feature": "disabled"}]', 'f', 'f'),
	('parent enabled for some', '[{"feature": "for some"}]', 't', 'f'),
	('enabled parent is to be disabled', '[{"feature": "enabled", "enabled": false}]', 'f', 'f'),
	('disabled parent is to be disabled', '[{"feature": "disabled", "enabled": false}]', 't', 't'),
	('is to be disabled, for some', '[{"feature": "for some", "enabled": false}]', 'f', 't'),
	('no variants asked for', '[{"feature": "with variants", "variants": []}]', 't', 't'),
	('its variant', '[{"feature": "with variants", "variants": ["green"]}]', 't', 't'),
	('another variant', '[{"feature": "with variants", "variants": ["blue"]}]', 'f', 'f'),
	('one of several variants', '[{"feature": "with variants", "variants": ["blue", "green"]}]', 't', 't'),
	('none of several variants', '[{"feature": "with variants", "variants": ["blue", "red"]}]', 'f', 'f'),
	('variant of a disabled parent', '[{"feature": "disabled", "variants": ["blue"]}]', 'f', 'f'),
	('two parents', '[{"feature": "enabled"}, {"feature": "with variants", "variants": ["green"]}]', 't', 't'),
	('one of two parents', '[{"feature": "enabled"}, {"feature": "disabled"}]', 'f', 'f'),
	('an enabled and a disabled one', '[{"feature": "enabled"}, {"feature": "disabled", "enabled": false}]', 't', 't'),
	('all three', '[{"feature": "for some"}, {"feature": "disabled", "enabled": false}, {"feature": "with variants", "variants": ["red", "green"]}]', 't', 'f'),
	('missing parent', '[{"feature": "gone"}]', 'f', 'f'),
	('missing parent is to be disabled', '[{"feature": "gone", "enabled": false}]', 'f', 'f');
SELECT count(*) AS children FROM child, fflag_register(name, true);
-- a parent that is to be disabled is excluded, whatever its variants are; others are required
SET client_min_messages = warning;
SELECT count(CASE WHEN (parent ->> 'enabled')::boolean IS FALSE THEN fflag_exclude(name, parent ->> 'feature')::text
	ELSE fflag_require(name, parent ->> 'feature', VARIADIC ARRAY(SELECT jsonb_array_elements_text(parent -> 'variants')))::text END) AS parents
FROM child, jsonb_array_elements(parents) AS parent;
RESET client_min_messages;

-- as a replica may have it, which has got some of the rows
SET session_replication_role = replica;
DELETE FROM feature_flag WHERE name = 'gone';
RESET session_replication_role;
-- of the first user, and the second
SELECT name, first, fflag_enabled(name, 1) = first AS right, second, fflag_enabled(name, 2) = second AS right FROM child ORDER BY child;
SELECT count(*) AS answers, count(*) FILTER (WHERE a.enabled <> CASE u WHEN 1 THEN first ELSE second END) AS wrong
FROM child, generate_series(1, 2) AS u, LATERAL (SELECT enabled FROM fflag_explain(child.name, u) UNION ALL SELECT enabled FROM fflag_explain_at(now(), child.name, u)
	UNION ALL SELECT f.enabled FROM fflag_flags(u) AS f WHERE f.name = child.name UNION ALL SELECT unnest(fflag_enabled(child.name, ARRAY[u]))) AS a;

-- A parent may have parents, which Unleash does not allow.
SELECT fflag_require('child of it', 'one of several variants'), fflag_require('grandchild', 'child of it');
SELECT fflag_enabled('grandchild', 1);
SELECT fflag_variants('with variants', '{"blue": 0.000001, "green": 0.000001, "red": 1000000000}');
SELECT enabled, rule, because FROM fflag_explain('grandchild', 1);
DROP TABLE child;
DROP EXTENSION fflag;
