-- A second opinion on who gets which flag and why, relations included, in plain SQL.
--
-- Flags are decided in rounds: in each, those whose other flags have all been.  "decided" has, by
-- id, whether the user gets the flag, and which variant.

-- the variant of who is not pinned, see plain_variant() in docs/reference.md; fflag_bucket() is
-- proved by other tests
CREATE FUNCTION variant_by_hash(flag feature_flag, user_id text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT v.name
	FROM (SELECT name, weight, count(*) OVER () AS candidates FROM feature_flag_variant WHERE flag_id = flag.id AND weight > 0) AS v
	WHERE candidates = 1 OR user_id IS NOT NULL
	ORDER BY plain_score(plain_hash(coalesce(flag.seed, flag.name) || ':' || user_id), v.name, v.weight), v.name LIMIT 1 $$;

CREATE FUNCTION percentage(flag feature_flag, now timestamptz) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN flag.ramp_to IS NULL OR now < flag.ramp_starts_at THEN flag.rollout_percentage
		WHEN now >= flag.ramp_ends_at THEN flag.ramp_to
		WHEN flag.ramp_to >= flag.rollout_percentage THEN flag.rollout_percentage + div((flag.ramp_to - flag.rollout_percentage) * 1000 * passed, whole) / 1000
		ELSE flag.rollout_percentage - div((flag.rollout_percentage - flag.ramp_to) * 1000 * passed + whole - 1, whole) / 1000 END
	FROM (SELECT extract(epoch FROM now - flag.ramp_starts_at) * 1000000, extract(epoch FROM flag.ramp_ends_at - flag.ramp_starts_at) * 1000000) AS ramp (passed, whole) $$;

CREATE FUNCTION opinions(asker text, staff boolean, now timestamptz, override text)
RETURNS TABLE (name text, internal boolean, enabled boolean, rule text, variant text, because text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	decided jsonb := '{}';
	f record;
	decides text;
	gets boolean;
	has text;
	left_to_decide boolean := true;
BEGIN
	WHILE left_to_decide LOOP
		left_to_decide := false;
		FOR f IN
			SELECT flag.*, flag AS whole, percentage(flag, now) AS percent, other.*,
				EXISTS (SELECT FROM feature_flag_user AS u WHERE u.flag_id = flag.id AND u.user_id = asker) AS allowed,
				EXISTS (SELECT FROM feature_flag_denied_user AS d WHERE d.flag_id = flag.id AND d.user_id = asker) AS denied,
				substring(override FROM '"' || flag.name || '"=(on|off)') AS forced,
					(SELECT v.name FROM feature_flag_variant AS v WHERE v.flag_id = flag.id AND v.name = substring(override FROM '"' || flag.name || '"=on:"([^"]*)"')) AS forced_variant
			FROM feature_flag AS flag, LATERAL (
				SELECT min(o.name) FILTER (WHERE o.kind = 'requires' AND NOT o.got) AS lacked, min(o.name) FILTER (WHERE o.kind = 'excludes' AND o.got) AS excluded,
					min(o.name) FILTER (WHERE o.kind = 'includes' AND o.got) AS included, min(o.pin) AS pin
				FROM (SELECT r.kind, n.name, bool_or(g.got) AS got, min(r.pin) FILTER (WHERE g.got) AS pin
					FROM feature_flag_relation AS r JOIN feature_flag AS n ON n.id = r.other_id,
						LATERAL (SELECT (decided -> r.other_id::text ->> 'gets')::boolean AND coalesce(r.other_variant IS NULL OR r.other_variant = decided -> r.other_id::text ->> 'has', false)) AS g (got)
					WHERE r.flag_id = flag.id GROUP BY r.kind, n.name) AS o) AS other
			WHERE NOT decided ? flag.id::text
				AND NOT EXISTS (SELECT FROM feature_flag_relation AS r WHERE r.flag_id = flag.id AND NOT decided ? r.other_id::text)
		LOOP
			decides := CASE WHEN f.forced IS NOT NULL THEN 'override' WHEN f.staff_only THEN 'staff_only' WHEN NOT f.enabled THEN 'disabled'
				WHEN now < f.starts_at THEN 'not_started' WHEN now >= f.ends_at THEN 'ended' WHEN f.lacked IS NOT NULL THEN 'prerequisite'
				WHEN f.excluded IS NOT NULL THEN 'excluded' WHEN f.denied THEN 'denied' WHEN f.percent >= 100 THEN 'full_rollout'
				WHEN f.allowed THEN 'allowlist' WHEN f.included IS NOT NULL THEN 'included' WHEN f.percent <= 0 THEN 'no_rollout'
				WHEN asker IS NULL THEN 'no_user' ELSE 'rollout' END;
			gets := CASE decides WHEN 'override' THEN f.forced = 'on' WHEN 'staff_only' THEN staff AND asker IS NOT NULL
				WHEN 'rollout' THEN fflag_bucket(coalesce(f.seed, f.name), asker) < f.percent * 1000 ELSE decides IN ('full_rollout', 'allowlist', 'included') END;
			has := CASE WHEN gets THEN coalesce(f.forced_variant, f.pin, variant_by_hash(f.whole, asker)) END;
			decided := decided || jsonb_build_object(f.id, jsonb_build_object('gets', gets, 'has', has));
			left_to_decide := true;
			name := f.name; internal := f.internal; enabled := gets; rule := decides; variant := has;
			because := CASE decides WHEN 'prerequisite' THEN f.lacked WHEN 'excluded' THEN f.excluded WHEN 'included' THEN f.included END;
			RETURN NEXT;
		END LOOP;
	END LOOP;
END $$;

-- what each function answers, and what it should
CREATE FUNCTION answers(ids text[]) RETURNS TABLE (what text, name text, id text, staff boolean, said text, answered text) LANGUAGE sql STABLE AS $$
	WITH said AS MATERIALIZED (
			SELECT u.place, u.id, s.staff, o.* FROM unnest(ids) WITH ORDINALITY AS u (id, place), (VALUES (false), (true)) AS s (staff),
				opinions(u.id, s.staff, statement_timestamp(), current_setting('fflag.override', true)) AS o),
		typed AS MATERIALIZED (
			SELECT *, CASE WHEN id ~ '^\d+$' THEN id::bigint END AS number, CASE WHEN id ~ '-.*-' THEN id::uuid END AS uuid,
				coalesce(id ~ '^\d+$', true) AS is_number, coalesce(id ~ '-.*-', true) AS is_uuid FROM said),
		lists AS (SELECT name, array_agg(id ORDER BY place, staff) AS ids, array_agg(staff ORDER BY place, staff) AS staff, array_agg(enabled ORDER BY place, staff) AS said,
			array_agg(number ORDER BY place, staff) FILTER (WHERE is_number) AS numbers, array_agg(staff ORDER BY place, staff) FILTER (WHERE is_number) AS number_staff,
			array_agg(enabled ORDER BY place, staff) FILTER (WHERE is_number) AS number_said,
			array_agg(uuid ORDER BY place, staff) FILTER (WHERE is_uuid) AS uuids, array_agg(staff ORDER BY place, staff) FILTER (WHERE is_uuid) AS uuid_staff,
			array_agg(enabled ORDER BY place, staff) FILTER (WHERE is_uuid) AS uuid_said FROM typed GROUP BY name),
		-- of users who are not staff
		others AS (SELECT name, array_agg(id ORDER BY place) AS ids, array_agg(enabled ORDER BY place) AS said,
			coalesce(array_agg(id ORDER BY place) FILTER (WHERE enabled), '{}') AS selected,
			array_agg(number ORDER BY place) FILTER (WHERE is_number) AS numbers,
			coalesce(array_agg(number ORDER BY place) FILTER (WHERE is_number AND enabled), '{}') AS numbers_selected FROM typed WHERE NOT staff GROUP BY name)
	SELECT 'fflag_enabled(text)', name, id, staff, enabled::text, fflag_enabled(name, id, staff)::text FROM typed
	UNION ALL SELECT 'fflag_enabled(bigint)', name, id, staff, enabled::text, fflag_enabled(name, number, staff)::text FROM typed WHERE is_number
	UNION ALL SELECT 'fflag_enabled(uuid)', name, id, staff, enabled::text, fflag_enabled(name, uuid, staff)::text FROM typed WHERE is_uuid
	UNION ALL SELECT 'fflag_explain(text)', name, id, staff, (enabled, rule, variant, because)::text, (SELECT (e.enabled, e.rule, e.variant, e.because)::text FROM fflag_explain(name, id, staff) AS e) FROM typed
	UNION ALL SELECT 'fflag_explain(bigint)', name, id, staff, (enabled, rule, variant, because)::text, (SELECT (e.enabled, e.rule, e.variant, e.because)::text FROM fflag_explain(name, number, staff) AS e) FROM typed WHERE is_number
	UNION ALL SELECT 'fflag_explain(uuid)', name, id, staff, (enabled, rule, variant, because)::text, (SELECT (e.enabled, e.rule, e.variant, e.because)::text FROM fflag_explain(name, uuid, staff) AS e) FROM typed WHERE is_uuid
	UNION ALL SELECT 'fflag_variant(text)', name, id, staff, variant, fflag_variant(name, id, staff) FROM typed
	UNION ALL SELECT 'fflag_variant(bigint)', name, id, staff, variant, fflag_variant(name, number, staff) FROM typed WHERE is_number
	UNION ALL SELECT 'fflag_variant(uuid)', name, id, staff, variant, fflag_variant(name, uuid, staff) FROM typed WHERE is_uuid
	UNION ALL SELECT 'fflag_variant_payload(text)', name, id, staff, (SELECT payload::text FROM feature_flag_variant AS v JOIN feature_flag AS f ON f.id = v.flag_id WHERE (f.name, v.name) = (t.name, t.variant)), fflag_variant_payload(name, id, staff)::text FROM typed AS t
	UNION ALL SELECT 'fflag_flags(text)', coalesce(s.name, f.name), s.id, s.staff, (s.enabled, s.variant)::text, (f.enabled, f.variant)::text
		FROM (SELECT a.*, f.* FROM (SELECT DISTINCT place, id, staff FROM typed) AS a, fflag_flags(a.id, a.staff) AS f) AS f
			FULL JOIN (SELECT * FROM typed WHERE NOT internal) AS s ON (s.place, s.staff, s.name) = (f.place, f.staff, f.name)
	UNION ALL SELECT 'fflag_flags(bigint)', coalesce(s.name, f.name), s.id, s.staff, (s.enabled, s.variant)::text, (f.enabled, f.variant)::text
		FROM (SELECT a.*, f.* FROM (SELECT DISTINCT place, number, staff FROM typed WHERE is_number) AS a, fflag_flags(a.number, a.staff) AS f) AS f
			FULL JOIN (SELECT * FROM typed WHERE NOT internal AND is_number) AS s ON (s.place, s.staff, s.name) = (f.place, f.staff, f.name)
	UNION ALL SELECT 'fflag_enabled_all(text[])', name, x.id, x.staff, x.said::text, x.answered::text FROM lists AS l, unnest(ids, staff, said, fflag_enabled_all(name, ids, staff)) AS x (id, staff, said, answered)
	UNION ALL SELECT 'fflag_enabled_all(bigint[])', name, x.id::text, x.staff, x.said::text, x.answered::text
		FROM lists AS l, unnest(numbers, number_staff, number_said, fflag_enabled_all(name, numbers, number_staff)) AS x (id, staff, said, answered) WHERE numbers IS NOT NULL
	UNION ALL SELECT 'fflag_enabled_all(uuid[])', name, x.id::text, x.staff, x.said::text, x.answered::text
		FROM lists AS l, unnest(uuids, uuid_staff, uuid_said, fflag_enabled_all(name, uuids, uuid_staff)) AS x (id, staff, said, answered) WHERE uuids IS NOT NULL
	UNION ALL SELECT 'fflag_enabled(text[])', name, x.id, false, x.said::text, x.answered::text FROM others AS o, unnest(ids, said, fflag_enabled(name, ids)) AS x (id, said, answered)
	UNION ALL SELECT 'fflag_select(text[])', name, NULL, false, selected::text, ARRAY(SELECT fflag_select(name, ids))::text FROM others
	UNION ALL SELECT 'fflag_select(bigint[])', name, NULL, false, numbers_selected::text, ARRAY(SELECT fflag_select(name, numbers))::text FROM others WHERE numbers IS NOT NULL $$;
CREATE FUNCTION result(ids text[]) RETURNS TABLE (what text, answers bigint, wrong bigint, example text) LANGUAGE sql STABLE AS $$
	SELECT what, count(*), count(*) FILTER (WHERE answered IS DISTINCT FROM said),
		min(concat_ws(', ', name, coalesce(id, 'nobody'), staff) || ': ' || coalesce(answered, 'NULL') || ', not ' || coalesce(said, 'NULL')) FILTER (WHERE answered IS DISTINCT FROM said)
	FROM answers(ids) GROUP BY what $$;
