#!/bin/bash
# Installs what the project needs and this machine lacks (Debian 12 and later). Does nothing when all is there.
#
#   tools/setup.sh            to build and to run
#   tools/setup.sh test       what the tests use in addition

group=${1:-build}
top=$(cd "$(dirname "$0")/.." && pwd)

say()
{
	printf '%s\n' "$*"
}

if ! command -v dpkg-query > /dev/null; then
	"${PG_CONFIG:-pg_config}" --pgxs > /dev/null 2>&1 && command -v make cc > /dev/null && exit 0
	say "setup: not a Debian system; install PostgreSQL 15 to 18 with its server headers, make, a C compiler and xxhash.h" >&2
	exit 1
fi

# The major: the one that is there, or Debian's own.
pgxs=$("${PG_CONFIG:-pg_config}" --pgxs 2>/dev/null)
if [ -e "$pgxs" ]; then
	major=$("${PG_CONFIG:-pg_config}" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
else
	case $(. /etc/os-release && echo "$VERSION_CODENAME") in
		bookworm) major=15 ;;
		trixie) major=17 ;;
		*) major=18 ;;
	esac
fi

packages="gcc make libc6-dev libxxhash-dev postgresql-$major postgresql-server-dev-$major"
if [ "$group" = test ]; then
	packages="$packages libipc-run-perl postgresql-$major-cron libroaring-dev"
	# Debian 12's clang: a second opinion on warnings, the formatter, the fuzzer's run-time.
	[ "$major" != 15 ] || packages="$packages clang-14 clang-format-14 libclang-rt-14-dev"
	# Tests with other clients name the packages they need.
	if [ -r "$top/test/drivers/packages" ]; then
		packages="$packages $(sed 's/#.*//' "$top/test/drivers/packages" | tr '\n' ' ')"
	fi
fi

have=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
missing=
for p in $packages; do
	# What was installed by other means (a server unpacked by hand, say) is not asked for again.
	case $p in
		# a Node.js that is there with its npm need not be Debian's, and may not go together with it
		nodejs | node-pg) ! command -v npm > /dev/null || continue ;;
		postgresql-server-dev-*) [ ! -e "$pgxs" ] || [ ! -e "$(pg_config --includedir-server 2>/dev/null)/postgres.h" ] || continue ;;
	esac
	printf '%s\n' "$have" | grep -qx "$p" || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if sudo -n true 2> /dev/null; then
		as_root="sudo -n"
	else
		say "setup: missing packages; as root, run:" >&2
		say "  $top/tools/setup.sh $group" >&2
		say "or: apt-get install --no-install-recommends$missing" >&2
		exit 1
	fi
fi

say "setup: installing$missing"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# Without this Debian creates and starts a cluster of its own, which nobody here asked for.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
	$as_root mkdir -p /etc/postgresql-common &&
		echo 'create_main_cluster = false' | $as_root tee /etc/postgresql-common/createcluster.conf > /dev/null
fi

apt()
{
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o Dpkg::Options::=--force-confold "$@" > "$log" 2>&1 < /dev/null
}

# Package lists may be absent or old, so they are refreshed first.
if ! { apt update && apt install -y --no-install-recommends $missing; }; then
	tail -n 20 "$log" >&2
	say "setup: apt-get failed" >&2
	exit 1
fi
