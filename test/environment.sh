# Virtual environments for tests in Python, one for each requirements file, and folders with what
# Node needs.
# Sourced by test/run after test/common.sh.
# shellcheck shell=bash disable=SC2154,SC2034 # variables of the caller, and for it

# Prints a Python that a requirements file says it is for, if there is one.
#
#   PYTHON=...    this one, or none
find_python() {
	local file=$1 python range

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

# The requirements of a Django.
django_file() {
	echo "$source_dir/test/django/requirements-$1.txt"
}

# Prints the oldest supported Django, and the newest that a Python here runs.
find_djangos() {
	local django

	echo 4.2
	for django in 6.1 5.2; do
		if [ -n "$(find_python "$(django_file "$django")")" ]; then
			echo "$django"
			return
		fi
	done
}

# Where nothing can be kept, it is thrown away with the rest.
find_cache() {
	mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$work
}

# Makes the virtual environment NAME of a requirements file if it is not there or not as required,
# and leaves its Python in $python; or says why it cannot, in $reason, and returns 1 if there is
# nothing to run it with, or fails.
make_environment() {
	local name=$1 file=$2 base dir log

	reason=
	base=$(find_python "$file")
	if [ -z "$base" ]; then
		reason="no $(sed -n 's/^# //p' "$file")"
		return 1
	fi
	find_cache
	dir=$cache/$name-$("$base" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
	log=$dir.log
	python=$dir/bin/python
	(
		flock 9
		cmp -s "$file" "$dir/requirements.txt" && exit 0
		say "--- $name: making a virtual environment with $("$base" --version)"
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

# Installs what package-lock.json of a folder says into NAME, and leaves the path in $node_modules;
# or says why it cannot, in $reason, and returns 1, or fails.
make_node_modules() {
	local name=$1 here=$2 dir

	reason=
	if ! command -v npm >/dev/null; then
		reason='no npm'
		return 1
	fi
	find_cache
	dir=$cache/$name
	node_modules=$dir/node_modules
	mkdir -p "$dir"
	(
		flock 9
		cmp -s "$here/package-lock.json" "$dir/installed.json" && exit 0
		say "--- $name: installing what it needs of npm"
		cp "$here"/package*.json "$dir" &&
			npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --fetch-retries 1 >"$dir.log" 2>&1 &&
			cp "$here/package-lock.json" "$dir/installed.json"
	) 9>"$dir.lock" && return
	if grep -Eq 'E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|HOSTUNREACH|NETUNREACH)' "$dir.log"; then
		reason='the npm registry cannot be reached'
	else
		tail -n 20 "$dir.log" >&2
	fi
	return 1
}
