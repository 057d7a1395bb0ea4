#!/usr/bin/env bash
#
# Instructions a call, which do not wobble as times do: callgrind counts those of
# the function and what it calls, in a single-user server on the benchmark's
# data, for a scan of 10,000 and one of 20,000 rows; the difference leaves out
# what happens once.  A variant is to cost at most 1.35 times what "10%, bigint" does if
# there are two, and 1.9 times if there are ten.
#
# Then the same for prepared statements, each in a transaction of its own: all that
# the server does for one that evaluates, less what it does for SELECT $1::bool.
#
#   instructions.sh BINDIR DATADIR
#
set -euo pipefail

bin=$1 data=$2
out=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -INT "$server"; wait; rm -rf "$out"' EXIT

count() {
	echo "SELECT count(*) FROM users WHERE id <= $3 AND $2" |
		valgrind --tool=callgrind --callgrind-out-file="$out/scan" --toggle-collect="$1" \
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
variant of 99%, one of two|fflag_variant_bigint|fflag_variant('in two', id, is_staff) = 'blue'
variant of 99%, one of three|fflag_variant_bigint|fflag_variant('divided', id, is_staff) = 'blue'
variant of 99%, one of ten|fflag_variant_bigint|fflag_variant('in ten', id, is_staff) = 'blue'
CASES

# From here on in sessions of a server: in a single-user one nothing is counted.
valgrind --tool=callgrind --callgrind-out-file="$out/%p" \
	"$bin/postgres" -D "$data" -c autovacuum=off >"$out/server.log" 2>&1 &
server=$!
for _ in $(seq 600); do
	"$bin/pg_isready" -q && break
	sleep 0.1
done

# So many statements, after whatever others do in between; prints the session's pid.
session() {
	{
		echo 'SELECT pg_backend_pid();'
		# shellcheck disable=SC2016 # for the server
		echo 'PREPARE floor (bigint, boolean) AS SELECT $2;'
		echo "PREPARE evaluate (bigint, boolean) AS SELECT fflag_enabled('new_checkout', \$1, \$2);"
		for ((i = 0; i < 10; i++)); do		# generic plans from the sixth on
			echo 'EXECUTE floor(1, false);'
			echo 'EXECUTE evaluate(1, false);'
		done
		for ((i = 0; i < $3; i++)); do
			[ -z "$2" ] || echo "$2;"
			echo "EXECUTE $1(1, false);"
		done
	} | "$bin/psql" -XAtq postgres | sed -n 1p
}

# instructions of a session that has ended, and how often it acquired a lightweight lock
read_counts() {
	while ! grep -q '^totals:' "$out/$1" 2>/dev/null; do sleep 0.1; done
	awk '/^totals:/ { instructions = $2 }
		/^cfn=/ { id = $0; sub(/^cfn=/, "", id); sub(/ .*/, "", id) }
		/^c?fn=\([0-9]+\) LWLock(Conditional)?Acquire$/ { name = $0; sub(/^c?fn=/, "", name); sub(/ .*/, "", name); wanted[name] }
		/^calls=/ { n = $0; sub(/^calls=/, "", n); calls[id] += n + 0 }
		END { for (name in wanted) locks += calls[name]; print instructions, locks + 0 }' "$out/$1"
}

# Sets instructions and locks, for each of a thousand statements more.
per_statement() {
	local less more i j k l

	less=$(session "$1" "$2" 200)
	more=$(session "$1" "$2" 1200)
	read -r i j <<<"$(read_counts "$less")"
	read -r k l <<<"$(read_counts "$more")"
	instructions=$(((k - i) / 1000)) locks=$((l - j))
}

echo
# shellcheck disable=SC2016 # no command
echo '| a prepared call | instructions, more than `SELECT $1::bool` | lightweight locks, more than that |'
echo '|---|---|---|'
while IFS='|' read -r name between counts; do
	"$bin/psql" -Xq postgres -o /dev/null -c "SELECT test_use_lock_counts($counts), fflag_enabled('new_checkout', 1)"
	per_statement floor "$between"
	floor=$instructions floor_locks=$locks
	per_statement evaluate "$between"
	echo "| $name | $((instructions - floor)), of $instructions | $(awk "BEGIN { printf \"%.2f\", ($locks - $floor_locks) / 1000 }") |"
done <<'CASES'
no other transaction has run since the last||true
others have|SELECT pg_current_xact_id()|true
others have, without the counts of locks|SELECT pg_current_xact_id()|false
CASES
