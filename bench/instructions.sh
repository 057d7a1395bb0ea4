#!/usr/bin/env bash
#
# Instructions a call, which do not wobble as times do: callgrind counts those of
# the function and what it calls, in a single-user server on the benchmark's
# data, for a scan of 10,000 and one of 20,000 rows; the difference leaves out
# what happens once.  A variant is to cost at most 1.35 times what "10%, bigint" does if
# there are two, and 1.9 times if there are ten.
#
# Then the same for prepared statements, each in a transaction of its own: all that
# the server does for one that evaluates, less what it does for SELECT $1::bool; and
# how many locks the function looks at or takes.
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
variant of 99%, one of two|fflag_variant_bigint|fflag_variant('in two', id, is_staff) = 'blue'
variant of 99%, one of three|fflag_variant_bigint|fflag_variant('divided', id, is_staff) = 'blue'
variant of 99%, one of ten|fflag_variant_bigint|fflag_variant('in ten', id, is_staff) = 'blue'
CASES

# A hundred statements, or more, after whatever others do in between.
statements() {
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
}

collect() {
	statements "$1" "$2" "$3" |
		valgrind --tool=callgrind --callgrind-out-file="$out" "${@:4}" \
			"$bin/postgres" --single -D "$data" postgres 2>&1 |
		sed -n 's/.*Collected : //p'
}

# instructions, or locks, for each of a hundred statements more
per_statement() {
	local less more
	less=$($1 "$2" "$3" 100)
	more=$($1 "$2" "$3" 200)
	echo $(((more - less) / 100))
}

locks() {
	collect "$1" "$2" "$3" --toggle-collect=fflag_enabled_bigint >/dev/null
	awk '/^cfn=/ { id = $0; sub(/^cfn=/, "", id); sub(/ .*/, "", id) }
		/^c?fn=\([0-9]+\) (LockAcquire|LockWaiterCount)$/ { name = $0; sub(/^c?fn=/, "", name); sub(/ .*/, "", name); wanted[name] }
		/^calls=/ { n = $0; sub(/^calls=/, "", n); calls[id] += n + 0 }
		END { for (name in wanted) total += calls[name]; print total + 0 }' "$out"
}

echo
# shellcheck disable=SC2016 # no command
echo '| a prepared call | instructions, more than `SELECT $1::bool` | locks looked at |'
echo '|---|---|---|'
while IFS='|' read -r name between; do
	floor=$(per_statement collect floor "$between")
	evaluate=$(per_statement collect evaluate "$between")
	echo "| $name | $((evaluate - floor)), of $evaluate | $(per_statement locks evaluate "$between") |"
done <<'CASES'
no other transaction has run since the last|
others have|SELECT pg_current_xact_id()
CASES
