# How the packages are built.  Sourced by clients/build and test/run.
# shellcheck shell=bash

# Builds the wheel and the source archive into a folder, by a Python that has hatchling.
build_wheel() {
	(cd clients/python && "$1" -m hatchling build -d "$2") >"$2/log" 2>&1 || { cat "$2/log" >&2; return 1; }
	rm "$2/log"
}

# Builds the tarball for npm into a folder.
build_npm() {
	npm pack --silent --pack-destination "$1" ./clients/node >/dev/null
}
