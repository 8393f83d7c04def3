#!/bin/bash
# Tests cdp on a PostgreSQL that checks itself: built from source with assertions and freed memory overwritten.
# Packages are built without, and there a use of freed memory may pass a thousand times and crash once.
#
#   tools/asserts.sh [MAJOR]        default: 17; SUITES and TESTS as for tools/test.sh
#
# The source is that of the Debian suite that has the major. What is built stays in $CDP_ASSERTS_CACHE (default
# /var/cache/cdp-asserts). Tests that need what is not built there (ICU, pg_cron) fail; everything else must pass.

. "$(dirname "$0")/lib.sh"

major=${1:-17}
cache=${CDP_ASSERTS_CACHE:-/var/cache/cdp-asserts}/$major
case $major in
	15) suite=bookworm ;;
	17) suite=trixie ;;
	18) suite=sid ;;
	*) die "no Debian suite has PostgreSQL $major" ;;
esac

mirror_of_debian()
{
	awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2> /dev/null ||
		awk '$1 == "deb" && $2 ~ /^http/ { print $2; exit }' /etc/apt/sources.list
}

# The newest source of the major in the suite, as a path in the mirror.
source_path()
{
	curl -fsS "$1/dists/$suite/main/source/Sources.xz" | xz -dc | awk -v RS= -v name="postgresql-$major" '
		$0 ~ "^Package: " name "\n" {
			if (match($0, /\nDirectory: [^\n]*/))
				dir = substr($0, RSTART + 12, RLENGTH - 12)
			if (match($0, /[^ \n]*\.orig\.tar\.bz2/))
				file = substr($0, RSTART, RLENGTH)
		}
		END { if (file) print dir "/" file }'
}

build()
{
	local mirror path

	mirror=$(mirror_of_debian)
	[ -n "$mirror" ] || die "no Debian mirror is configured"
	path=$(source_path "$mirror")
	[ -n "$path" ] || die "$suite has no source of postgresql-$major"
	mkdir -p "$cache/src" || die "cannot write to $cache"
	say "building ${path##*/} with assertions, in $cache"
	curl -fsS "$mirror/$path" | tar xj -C "$cache/src" --strip-components=1 || die "the source cannot be had"
	(
		cd "$cache/src" &&
			./configure --prefix="$cache/pg" --enable-cassert --enable-debug --enable-tap-tests --without-readline \
				--without-icu --with-openssl CFLAGS='-O1 -g -fno-omit-frame-pointer' &&
			make -s -j"$(nproc)" && make -s install &&
			for d in contrib/citext src/test/regress src/test/isolation; do make -s -C "$d" install || exit 1; done
	) > "$cache/log" 2>&1 < /dev/null || die "it could not be built: see $cache/log (bison, flex, zlib1g-dev, libssl-dev?)"
	rm -rf "$cache/src"
	touch "$cache/ready"
}

[ -e "$cache/ready" ] || build
ulimit -c unlimited
SUITES=${SUITES:-regress isolation tap} PG_CONFIG="$cache/pg/bin/pg_config" exec "$(dirname "$0")/test.sh"
