#!/usr/bin/env bash
#
# A walk through a small shop, in a throwaway server that test/run has started:
# PGHOST, PGPORT and PGUSER say where.  Called by "make demo".
#
#   demo.sh BINDIR
#
set -euo pipefail

psql=$1/psql
bold='' dim='' green='' reset=''
if [ -t 1 ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m') green=$(printf '\033[32m') reset=$(printf '\033[0m')
fi

gap=''							# between a result and the next command

title() {
	printf '\n%s%s%s\n' "$bold" "$1" "$reset"
	gap=''
}

# Shows a command and what comes of it.
run() {
	local result

	printf '%s%s    %s%s\n' "$gap" "$dim" "${1//$'\n'/$'\n'    }" "$reset"
	result=$("$psql" -Xq -v ON_ERROR_STOP=1 -P footer=off -d shop -c "$1")
	gap=''
	# not the empty table of functions that return nothing
	if [[ ${result#*$'\n'*$'\n'} =~ [^[:space:]|] ]]; then
		printf '    %s\n' "${result//$'\n'/$'\n'    }"
		gap=$'\n'
	fi
}

# The same without showing it; for a single value.
value() { "$psql" -XAtq -v ON_ERROR_STOP=1 -d shop -c "$1"; }

# A bar for a share of 100,000, to an eighth of a character.
bar() {
	local width=50 parts=▏▎▍▌▋▊▉ eighths bar

	eighths=$(($1 * width * 8 / 100000))
	printf -v bar '%*s' $((eighths / 8)) ''
	bar=${bar// /█}
	if [ $((eighths % 8)) != 0 ]; then
		bar+=${parts:eighths % 8 - 1:1}
	fi
	printf '%s%s%s%*s' "$green" "$bar" "$reset" $((width - ${#bar})) '' | sed 's/ /·/g'
}

title 'A shop with 100,000 users'
"$psql" -Xq -d postgres -c 'CREATE DATABASE shop'
run 'CREATE EXTENSION fflag;'
run "CREATE TABLE users AS
  SELECT id::bigint, 'user ' || id AS name, id % 1000 = 0 AS is_staff
  FROM generate_series(1, 100000) AS id;"

title 'A flag goes from 0% to 100% in two minutes, by itself; here in fast motion'
run "SELECT fflag_register('new_checkout', enabled => true,
  rollout_percentage => 0);"
run "SELECT fflag_ramp('new_checkout', 100, '2 minutes');"
later="UPDATE feature_flag SET ramp_starts_at = now() - interval 'N s',
      ramp_ends_at = now() - interval 'N s' + interval '2 minutes'
    WHERE name = 'new_checkout';"
count="SELECT count(*) FROM users WHERE fflag_enabled('new_checkout', id);"
printf '\n%s    -- as if the ramp had begun N seconds ago\n    %s\n    %s%s\n\n' "$dim" "$later" "$count" "$reset"
for second in 0 15 30 45 60 75 90 105 120; do
	in=$(value "${later//N s/$second s} $count")
	printf '    after %3d s  %s %6d users\n' "$second" "$(bar "$in")" "$in"
done

title 'Those who get it get one of its variants, by weight'
run "SELECT fflag_variants('new_checkout',
  '{\"one page\": 3, \"two pages\": 2, \"three pages\": 1}');"
printf '\n%s    SELECT fflag_variant(%snew_checkout%s, id), count(*) FROM users GROUP BY 1;%s\n\n' "$dim" "'" "'" "$reset"
value "SELECT fflag_variant('new_checkout', id), count(*) FROM users GROUP BY 1 ORDER BY 2 DESC" |
	while IFS='|' read -r variant in; do
		printf '    %-11s  %s %6d users\n' "$variant" "$(bar "$in")" "$in"
	done

title 'A flag for staff only'
run "INSERT INTO feature_flag (name, staff_only) VALUES ('cost_prices', true);"
run "SELECT is_staff, count(*) AS users, count(*) FILTER (
    WHERE fflag_enabled('cost_prices', id, is_staff)) AS see_cost_prices
  FROM users GROUP BY is_staff ORDER BY is_staff;"

title 'An allowlist: these users, and so far nobody else'
run "SELECT fflag_register('beta_search', true, 0),
  fflag_allow('beta_search', 42, 4711);"
run "SELECT id, name FROM users WHERE fflag_enabled('beta_search', id);"

title 'Flags made of flags: a group of testers, and a flag that requires another'
run "SELECT fflag_rollout('new_checkout', 50);"
run "SELECT fflag_group('testers', 42, 43, 44),
  fflag_include('beta_search', 'testers');"
run "SELECT id, name FROM users WHERE fflag_enabled('beta_search', id);"
run "SELECT fflag_register('express', enabled => true),
  fflag_require('express', 'new_checkout'),
  fflag_deny('express', 43, 44);"
run "SELECT count(*) FROM users WHERE fflag_enabled('express', id);"

title 'Why?'
run "SELECT u.id, flag, e.enabled, e.rule, e.bucket,
    e.rollout_percentage AS percent, e.variant, e.because
  FROM (VALUES (42), (43)) AS u (id),
    unnest('{new_checkout,express,beta_search,cost_prices,typo}'::text[]) AS flag,
    fflag_explain(flag, u.id) AS e;"

title 'Flags in a view and in a row-level security policy'
run "CREATE VIEW search_testers AS
  SELECT * FROM users WHERE fflag_enabled('beta_search', id);
CREATE ROLE shopper;
GRANT SELECT ON users, search_testers TO shopper;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY gradually ON users TO shopper
  USING (fflag_enabled('new_checkout', id));"
run "SET ROLE shopper;
SELECT (SELECT count(*) FROM users) AS users_seen,
  (SELECT count(*) FROM search_testers) AS testers;"

title 'A session that was open all along sees a change at once'
coproc SESSION { exec "$psql" -XAtq -d shop 2>&1; }
# shellcheck disable=SC2153 # coproc sets it
session_in=${SESSION[1]} session_out=${SESSION[0]} session_pid=$SESSION_PID
other() {
	local line
	printf '%s\n' "$1" >&"$session_in"
	read -r -t 10 line <&"$session_out"
	printf '    %sother session:%s %-54s %s\n' "$dim" "$reset" "$1" "$line"
}
# a command that returns nothing
other_runs() {
	printf '%s\n' "$1" >&"$session_in"
	printf '    %sother session:%s %s\n' "$dim" "$reset" "$1"
}
here() {
	value "$1" >/dev/null
	printf '    %sthis session: %s %s\n' "$dim" "$reset" "$1"
}
question="SELECT fflag_enabled('beta_search', 7);"
other "$question"
here "SET fflag.actor = 'Ann';"
export PGOPTIONS='-c fflag.actor=Ann'	# each psql is a session of its own
here "SELECT fflag_allow('beta_search', 7);"
other "$question"
here "SELECT fflag_disable('beta_search');"
other "$question"
here "SELECT fflag_enable('beta_search');"
other "$question"
here "DELETE FROM feature_flag_user WHERE user_id = '7';"
other "$question"
other "SELECT fflag_enabled('beta_serach', 7);"

title 'An override, which no other session sees'
other_runs "SET fflag.override = 'beta_search=on';"
other "$question"
other "SELECT rule FROM fflag_explain('beta_search', 7);"
printf '    %sthis session:%s  %-54s %s\n' "$dim" "$reset" "$question" "$(value "$question")"
other_runs 'RESET fflag.override;'
other "$question"
printf '\\q\n' >&"$session_in"
wait "$session_pid" 2>/dev/null || true

title 'Who did that?'
run "SELECT at::time(0), actor, session_role AS role, what, user_id,
    old_values -> 'enabled' AS old, new_values -> 'enabled' AS new
  FROM fflag_history('beta_search') WHERE actor IS NOT NULL;"

title 'What did user 7 get after each of these changes, and why?'
run "SELECT h.at, e.enabled, e.rule FROM fflag_history('beta_search') AS h,
    fflag_explain_at(h.at, 'beta_search', 7) AS e
  WHERE h.actor IS NOT NULL;"

title 'Who asks for what?'
run "SELECT name, known, evaluations, enabled FROM fflag_usage();"

make="make with_llvm=no PG_CONFIG=$1/pg_config"
major=$("$psql" --version | grep -Eo '[0-9]+' | head -n 1)
printf '\nThat was fflag.  The server and its folder go away now.  To go on with a server of your own:\n
    %s && sudo %s install
    sudo pg_createcluster %s main --start    # if pg_lsclusters shows none
    sudo -u postgres psql    # and the first session of README.md\n' "$make" "$make" "$major"
