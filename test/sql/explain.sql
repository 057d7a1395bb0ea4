--
-- fflag_explain: the answer and why, one row for each rule
--
CREATE EXTENSION fflag;
INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage) VALUES
	('staff', false, true, 0), ('off', false, false, 100), ('full', true, false, 100),
	('listed', true, false, 0), ('part', true, false, 33.333);
SELECT fflag_allow('listed', 42);

SELECT name, e.* FROM (VALUES ('missing'), ('staff'), ('off'), ('full'), ('listed'), ('part'), (NULL)) AS flag (name),
	fflag_explain(name, 42) AS e;
SELECT * FROM fflag_explain('listed', 43);
SELECT * FROM fflag_explain('part');
SELECT * FROM fflag_explain('staff', 42, true);
SELECT * FROM fflag_explain('missing', 42, default_value => true);
SELECT * FROM fflag_explain('missing', 42::bigint, NULL, NULL);
DROP EXTENSION fflag;
