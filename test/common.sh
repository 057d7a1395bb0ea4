# What test/run, test/majors, test/long/matrix and others share.  Sourced, not run.
# shellcheck shell=bash

# what takes long to fetch or to build, and may stay
# shellcheck disable=SC2034 # used by the caller
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/fflag

say() { printf '%s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
	local status=0 server
	local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install)

	if ! command -v apt-get >/dev/null; then
		say "Missing: $*. Please install them, then run this again."
		exit 1
	fi
	say "Installing: $*"
	as_root timeout 300 apt-get -qq update
	# no cluster of Debian's own: ours are thrown away
	as_root mkdir -p /etc/postgresql-common/createcluster.d
	echo 'create_main_cluster = false' |
		as_root tee /etc/postgresql-common/createcluster.d/fflag.conf >/dev/null
	# a mirror that hangs must not hang us; dpkg must not be interrupted
	{
		as_root timeout 900 "${install[@]}" --download-only "$@" && as_root "${install[@]}" "$@"
	} >/dev/null || status=$?
	# also after a failure: others want their clusters
	as_root rm /etc/postgresql-common/createcluster.d/fflag.conf
	# Debian makes one only when it first sets up a server
	for server in "$@"; do
		if [[ $server =~ ^postgresql-([0-9]+)$ ]]; then
			say "Debian has made no cluster of it.  To have one: sudo pg_createcluster ${BASH_REMATCH[1]} main --start"
		fi
	done
	return "$status"
}

# ---- where other PostgreSQL majors come from -------------------------------------

# The majors that fflag supports, said once: part "source" compares the pages with this line.  16 is
# in no suite, but in PyPI, as 16.2.
# shellcheck disable=SC2034 # used by the caller
declare -A suite=([15]=bookworm [16]=trixie [17]=trixie [18]=forky [19]=sid)
read -r -a majors < <(printf '%s\n' "${!suite[@]}" | sort -n | paste -sd' ')
# shellcheck disable=SC2034
oldest=${majors[0]}
# those that get an assert-enabled server, and those that are upgraded to from the oldest
# shellcheck disable=SC2034
assert_majors=(15 18 19) upgrade_majors=(18 19)
# shellcheck disable=SC2034
pypi=16 pypi_package=pgserver==0.1.4

# Prints the address of the Debian archive that apt uses here.
mirror() {
	local targets=(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian')

	"${targets[@]}" | grep -q . || as_root timeout 300 apt-get -qq update
	"${targets[@]}" | head -n 1
}

# Prints where apt finds a major in the archive at $archive, with options of apt's, if any.
# shellcheck disable=SC2154 # of the caller
sources() {
	echo "deb ${2:-} $archive ${suite[$1]} main"
	[ "${suite[$1]}" != sid ] || echo "deb ${2:-} $archive experimental main"
}

# Prints why a command failed, in a line, by its log; what "timeout" ends writes none.
reason() {
	grep -m 1 -E '^E: |ERROR: |rror' "$1" || grep . "$1" | tail -n 1 | grep . || echo "it took too long"
}

# ---- chroots -------------------------------------------------------------------

# Makes the chroot $cache/NAME of a Debian suite, if it is not there, from the sources in $from and
# with the caller's options for mmdebstrap, or leaves the reason in NAME.log: bootstrap NAME SUITE
# OPTION...  It appears under its name only when it is complete.  Where it takes too long, nothing is
# left running or mounted.
# shellcheck disable=SC2154 # $from is the caller's, and so is $hook
bootstrap() {
	local name=$1 distribution=$2 root=$cache/$1

	shift 2
	[ -z "${REBUILD:-}" ] || as_root rm -rf "$root"
	[ ! -d "$root" ] || return 0
	say "--- $name: making a chroot of $distribution"
	as_root rm -rf "$root.new"
	if as_root unshare --mount-proc --pid --fork --kill-child timeout --foreground -k 10 900 \
		env hook="${hook:-}" mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
		"$@" "$distribution" "$root.new" "${from[@]}" >"$cache/$name.log" 2>&1; then
		as_root mv "$root.new" "$root"
	else
		as_root rm -rf "$root.new"
		return 1
	fi
}

# Runs a command in the chroot $cache/NAME, with a folder at /mnt, read-only: enter NAME FOLDER
# COMMAND...  All that it starts ends with it, and so do the mounts.  With FRESH=FOLDER, an empty
# one, the chroot itself stays as it is: what the command writes is in memory, and gone afterwards.
enter() {
	local root=$cache/$1 folder=$2

	shift 2
	# shellcheck disable=SC2016 # expanded by the inner shell
	as_root unshare --mount --pid --fork --kill-child sh -euc '
		root=$1 folder=$2 fresh=$3
		shift 3
		if [ -n "$fresh" ]; then
			mount -t tmpfs tmpfs "$fresh"
			mkdir "$fresh/upper" "$fresh/work" "$fresh/root"
			mount -t overlay -o "lowerdir=$root,upperdir=$fresh/upper,workdir=$fresh/work" overlay "$fresh/root"
			root=$fresh/root
		fi
		mount --bind "$folder" "$root/mnt"
		mount -o remount,bind,ro "$root/mnt"
		mount -t proc proc "$root/proc"
		mount --bind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/dev/shm"
		status=0
		chroot "$root" "$@" || status=$?
		exit $status' sh "$root" "$folder" "${FRESH:-}" \
		env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# ---- results --------------------------------------------------------------------

# Reads the last line of test/run from a log into $ok, $bad and $skip; without
# one, the tests broke off.
# shellcheck disable=SC2034 # used by the caller
read_summary() {
	local summary

	summary=$(grep -E '^[0-9]+ passed, ' "$1" | tail -n 1) || true
	if [[ $summary =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		ok=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]} skip=${BASH_REMATCH[4]:-0}
	else
		say "    the tests broke off, see $1"
		ok=0 bad=1 skip=0
	fi
}
