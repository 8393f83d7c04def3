#!/bin/bash
# Builds and tests cdp on the other supported PostgreSQL majors, each in a slim Debian root of its own.
#
#   tools/matrix.sh [MAJOR…]        default: 17 18
#
# The roots are kept in $CDP_MATRIX_CACHE (default /var/cache/cdp-matrix) and made anew when the recipe below
# changes. A root that cannot be made (no root rights, no mirror, a suite in transition) is reported and counted
# as skipped; a failing test fails. Last line: N passed, N failed.

. "$(dirname "$0")/lib.sh"

cache=${CDP_MATRIX_CACHE:-/var/cache/cdp-matrix}
passed=0 failed=0 skipped=0
[ $# -gt 0 ] || set -- 17 18

suite_of()
{
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo sid ;;
		*) return 1 ;;
	esac
}

# make_root SUITE MAJOR ROOT: without LLVM, hence server-dev unpacked by hand (its dependencies are 1 GB of compiler).
make_root()
{
	mmdebstrap --mode=root --variant=minbase --skip=check/empty \
		--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
		--essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"' \
		--include="make,gcc,libc6-dev,postgresql-$2,postgresql-$2-cron,libxxhash-dev,libpq-dev,libipc-run-perl" \
		--customize-hook='chroot "$1" sh -c "cd /tmp && apt-get update -qq; apt-get download -qq postgresql-server-dev-'"$2"' && dpkg -x postgresql-server-dev-'"$2"'_*.deb / && rm -f /tmp/*.deb"' \
		"$1" "$3" "$mirror"
}

# ready_root MAJOR: true when $cache/pgMAJOR is there and made by this recipe.
ready_root()
{
	local v=$1 suite root=$cache/pg$1 stamp

	suite=$(suite_of "$v") || { why="no Debian suite has PostgreSQL $v"; return 1; }
	is_root || { why="making and entering a root needs root rights"; return 1; }
	stamp=$( { echo "$suite"; declare -f make_root; } | sha256sum | cut -d ' ' -f 1)
	[ "$(cat "$root/.cdp-stamp" 2>/dev/null)" != "$stamp" ] || return 0

	if ! command -v mmdebstrap > /dev/null; then
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap \
			> "$cache/log" 2>&1 < /dev/null || { why="mmdebstrap cannot be installed"; return 1; }
	fi
	mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null)
	[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" && $2 ~ /^http/ { print $2; exit }' /etc/apt/sources.list 2>/dev/null)
	[ -n "$mirror" ] || { why="no Debian mirror configured"; return 1; }
	drop_root "$root.new"
	if ! make_root "$suite" "$v" "$root.new" > "$root.log" 2>&1 < /dev/null ||
		! [ -x "$root.new/usr/lib/postgresql/$v/bin/pg_config" ]; then
		tail -n 5 "$root.log"
		drop_root "$root.new"
		why="the root could not be made (log: $root.log)"
		return 1
	fi
	echo "$stamp" > "$root.new/.cdp-stamp"
	drop_root "$root"
	mv "$root.new" "$root"
}

# Never remove a root while the kernel's /proc is mounted in it.
drop_root()
{
	! mountpoint -q "$1/proc" || umount "$1/proc" || exit 1
	rm -rf "$1"
}

add()
{
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# test_root MAJOR: the suites that need a server, in a copy of the tree.
test_root()
{
	local v=$1 root=$cache/pg$1 line

	mountpoint -q "$root/proc" || mount -t proc proc "$root/proc" || return 1
	at_exit "! mountpoint -q '$root/proc' || umount '$root/proc'"
	rm -rf "$root/tmp/cdp."* "$root/build"
	mkdir "$root/build"
	CDP_TMP=/ CDP_OS_USER=root copy_tree "$root/build"
	rm -f "$root/tmp/cdp-result"
	chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
		SUITES="${MATRIX_SUITES:-build regress isolation tap}" CC=gcc PG_CONFIG="/usr/lib/postgresql/$v/bin/pg_config" \
		/build/tools/test.sh < /dev/null 2>&1 | tee "$root.out" | sed "s/^/pg$v: /"
	umount "$root/proc"
	rm -rf "$root/build"
	line=$(tail -n 1 "$root.out")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		add "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[4]:-0}"
	else
		say "pg$v: the run ended without a count"
		add 0 1 0
	fi
}

trap cdp_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if is_root; then
	mkdir -p "$cache" || exit 1
	exec 9> "$cache/lock"
	flock -w 3000 9 || die "another run holds $cache/lock"
fi

for v in "$@"; do
	why=
	if ready_root "$v"; then
		test_root "$v"
	else
		say "pg$v: skipped: $why"
		add 0 0 1
	fi
done

line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
say "$line"
[ "$failed" = 0 ]
