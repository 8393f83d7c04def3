#!/bin/bash
# The functions as real clients call them, each as an ordinary role: node-pg, psycopg2, psycopg 3, libpq with the
# parameter types that a JDBC driver declares, and JDBC itself where it is installed. Prints TAP.
#
# tools/test.sh runs it; run by hand it builds and starts what it needs.
#
#   DRIVERS="node libpq" test/drivers/run.sh    only these: node psycopg2 psycopg libpq jdbc
#   PGJDBC_JAR=/path/to/postgresql.jar          where the JDBC driver is, if not where Debian puts it

. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

if [ -z "$CDP_TMP" ]; then
	cdp_tmp
	private_cdp
else
	trap 'stop_cluster "$CDP_TMP/drv"' EXIT
	trap 'exit 130' INT TERM HUP
fi
here=$CDP_TMP/src/test/drivers
work=$CDP_TMP/drvwork
as_pg mkdir -p "$work"
n=0 failed=0

# point STATUS NAME
point()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		say "ok $n - $2"
	else
		failed=$((failed + 1))
		say "not ok $n - $2"
	fi
}

skip()
{
	n=$((n + 1))
	say "ok $n - $1 # SKIP $2"
}

# client NAME COMMAND…: its lines "ok - …" and "not ok - …" become ours. It must end well and say "done".
client()
{
	local name=$1 line log=$CDP_TMP/drv-$1.log status

	shift
	# A time zone of the client's own shows whether times survive the journey.
	as_pg env TZ=America/New_York PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER=drivers_app PGDATABASE=drivers \
		timeout 60 "$@" > "$log" 2>&1 < /dev/null
	status=$?
	while IFS= read -r line; do
		case $line in
			"ok - "*) point 0 "$name: ${line#ok - }" ;;
			"not ok - "*) point 1 "$name: ${line#not ok - }" ;;
			done) ;;
			*) say "# $line" ;;
		esac
	done < "$log"
	if [ $status != 0 ] || [ "$(tail -n 1 "$log")" != "done" ]; then
		point 1 "$name: ended early, with status $status"
	fi
}

wants()
{
	case " ${DRIVERS:-node psycopg2 psycopg libpq jdbc} " in *" $1 "*) return 0 ;; esac
	return 1
}

# Debian's own: another python3 may come first in PATH and lack the packages.
python=/usr/bin/python3
has_module()
{
	[ -x $python ] && as_pg $python -c "import $1" 2> /dev/null
}

start_cluster "$CDP_TMP/drv" "$(free_port)" "listen_addresses = '127.0.0.1'" "timezone = 'Asia/Tokyo'"
as_pg "$PGBIN/createdb" drivers
if ! as_pg "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 -d drivers -f "$here/setup.sql" > "$CDP_TMP/drv-setup.log" 2>&1; then
	sed 's/^/# /' "$CDP_TMP/drv-setup.log"
	point 1 "the database is set up"
	say "1..$n"
	exit 1
fi

if wants node; then
	modules=
	if ! command -v node > /dev/null; then
		skip node-pg "no node"
	elif [ -d /usr/share/nodejs/pg ]; then
		modules=/usr/share/nodejs
	elif ! command -v npm > /dev/null; then
		skip node-pg "no module pg (Debian: node-pg) and no npm"
	elif as_pg sh -c 'cd "$1" && exec timeout 30 npm install --no-audit --no-fund --ignore-scripts --cache "$1/npm" pg@8' \
		sh "$work" > "$CDP_TMP/npm.log" 2>&1 < /dev/null; then
		modules=$work/node_modules
	else
		skip node-pg "npm cannot install pg"
	fi
	[ -z "$modules" ] || client node-pg env NODE_PATH="$modules" "$(command -v node)" "$here/node_pg.js"
fi

if wants psycopg2; then
	if has_module psycopg2; then
		client psycopg2 $python "$here/psycopg2_client.py"
	else
		skip psycopg2 "no python3-psycopg2"
	fi
fi

if wants psycopg; then
	if has_module psycopg; then
		client psycopg3 $python "$here/psycopg3_client.py"
	else
		skip psycopg3 "no python3-psycopg"
	fi
fi

if wants libpq; then
	if has_module ctypes; then
		client libpq $python "$here/libpq_typed.py"
	else
		skip libpq "no python3"
	fi
fi

# Only where somebody has them: a JDK is much to ask of a test machine. The libpq test declares the same types.
if wants jdbc; then
	jar=${PGJDBC_JAR:-/usr/share/java/postgresql.jar}
	if [ ! -r "$jar" ]; then
		skip jdbc "no JDBC driver (Debian: libpostgresql-jdbc-java)"
	elif ! java --list-modules 2> /dev/null | grep -q '^jdk.compiler'; then
		skip jdbc "no Java that runs a source file (Debian: default-jdk-headless)"
	else
		client jdbc "$(command -v java)" -cp "$jar" "$here/Jdbc.java"
	fi
fi

say "1..$n"
[ $failed = 0 ] && [ $n -gt 0 ]
