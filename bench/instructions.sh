#!/usr/bin/env bash
#
# Instructions a call, which do not wobble as times do: callgrind counts those of
# the function and what it calls, in a single-user server on the benchmark's
# data, for a scan of 10,000 and one of 20,000 rows; the difference leaves out
# what happens once.
#
#   instructions.sh BINDIR DATADIR
#
set -euo pipefail

bin=$1 data=$2
out=$(mktemp)
trap 'rm -f "$out"' EXIT

count() {
	echo "SELECT count(*) FROM users WHERE id <= $3 AND $2" |
		valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect="$1" \
			"$bin/postgres" --single -D "$data" postgres 2>&1 |
		sed -n 's/.*Collected : //p'
}

echo '| instructions a call | |'
echo '|---|---|'
while IFS='|' read -r name function call; do
	less=$(count "$function" "$call" 10000)
	more=$(count "$function" "$call" 20000)
	echo "| $name | $(((more - less) / 10000)) |"
done <<'CASES'
hash and compare in C|test_hash_bigint|test_hash('new_checkout', id, is_staff, 10000)
10%, bigint|fflag_enabled_bigint|fflag_enabled('new_checkout', id, is_staff)
10%, uuid|fflag_enabled_uuid|fflag_enabled('new_checkout', uid, is_staff)
10%, text|fflag_enabled_text|fflag_enabled('new_checkout', tid, is_staff)
flag off|fflag_enabled_bigint|fflag_enabled('off', id, is_staff)
flag full|fflag_enabled_bigint|fflag_enabled('full', id, is_staff)
flag staff|fflag_enabled_bigint|fflag_enabled('staff', id, is_staff)
flag unknown|fflag_enabled_bigint|fflag_enabled('unknown', id, is_staff)
CASES
