# Virtual environments for the Django tests, one for each requirements file, and
# what Node needs.
# Sourced by test/run after test/common.sh.
# shellcheck shell=bash disable=SC2154,SC2034 # variables of the caller, and for it

# Prints a Python that the requirements of a Django run on, if there is one.
#
#   PYTHON=...    this one, or none
find_python() {
	local file=$source_dir/test/django/requirements-$1.txt python range

	range=$(sed -n 's/^# Python \(.*\) to \(.*\)$/\1 \2/p' "$file")
	for python in ${PYTHON:-python3 /usr/bin/python3 python3.14 python3.13 python3.12 "${HOME:-}"/.pyenv/versions/*/bin/python3}; do
		# shellcheck disable=SC2086 # two words
		if "$python" -c '
import ensurepip, sys, venv
oldest, newest = ([*map(int, version.split("."))] for version in sys.argv[1:])
sys.exit(not oldest <= [*sys.version_info[:2]] <= newest)' $range 2>/dev/null; then
			"$python" -c 'import sys; print(sys.executable)'
			return
		fi
	done
}

# Prints the oldest supported Django, and the newest that a Python here runs.
find_djangos() {
	local django

	echo 4.2
	for django in 6.1 5.2; do
		if [ -n "$(find_python "$django")" ]; then
			echo "$django"
			return
		fi
	done
}

# Where nothing can be kept, it is thrown away with the rest.
find_cache() {
	mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$work
}

# Makes the virtual environment of a Django if it is not there or not as
# required, and leaves its Python in $python; or says why it cannot, in $reason,
# and returns 1 if there is nothing to run it with, or fails.
make_environment() {
	local file=$source_dir/test/django/requirements-$1.txt base dir log

	reason=
	base=$(find_python "$1")
	if [ -z "$base" ]; then
		reason="no $(sed -n 's/^# //p' "$file")"
		return 1
	fi
	find_cache
	dir=$cache/django-$1-$("$base" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
	log=$dir.log
	python=$dir/bin/python
	(
		flock 9
		cmp -s "$file" "$dir/requirements.txt" && exit 0
		say "--- Django $1: making a virtual environment with $("$base" --version)"
		rm -rf "$dir"
		"$base" -m venv "$dir" >"$log" 2>&1 &&
			"$python" -m pip install --disable-pip-version-check --only-binary :all: \
				--retries 1 --timeout 20 -r "$file" >>"$log" 2>&1 &&
			cp "$file" "$dir/requirements.txt"
	) 9>"$dir.lock" && return
	# what pip says when it could not read the list of a package's versions, or was cut off
	if grep -Eq 'from versions: none|(Connection|Timeout|Protocol)Error' "$log"; then
		reason='PyPI cannot be reached'
	else
		tail -n 20 "$log" >&2
	fi
	return 1
}

# Installs what the recipe for Node needs and exports FFLAG_NODE_MODULES; or says
# why it cannot, in FFLAG_NO_NODE, or fails.
make_node_modules() {
	local here=$source_dir/test/django/node dir

	if ! command -v npm >/dev/null; then
		export FFLAG_NO_NODE='no npm'
		return
	fi
	find_cache
	dir=$cache/node
	mkdir -p "$dir"
	(
		flock 9
		cmp -s "$here/package-lock.json" "$dir/installed.json" && exit 0
		say "--- Node: installing pg"
		cp "$here"/package*.json "$dir" &&
			npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --fetch-retries 1 >"$dir.log" 2>&1 &&
			cp "$here/package-lock.json" "$dir/installed.json"
	) 9>"$dir.lock" && export FFLAG_NODE_MODULES=$dir/node_modules && return
	if grep -Eq 'E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|HOSTUNREACH|NETUNREACH)' "$dir.log"; then
		export FFLAG_NO_NODE='the npm registry cannot be reached'
		return
	fi
	tail -n 20 "$dir.log" >&2
	return 1
}
