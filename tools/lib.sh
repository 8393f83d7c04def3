# Shell functions for every script that runs PostgreSQL: source this file from bash.
#
#   . "$(dirname "$0")/lib.sh"
#   cdp_tmp                       # $CDP_TMP: a short fresh directory, removed at exit
#   private_cdp                   # private copy of PostgreSQL with this tree's cdp installed in it
#   start_cluster "$CDP_TMP/c" 5432 "shared_preload_libraries = 'pg_cron'"
#   as_pg psql -d postgres -c 'CREATE EXTENSION cdp'
#
# PostgreSQL refuses to run as root, so as_pg runs its command as user postgres when we are root, and as
# ourselves otherwise. Give it absolute paths: it starts in $CDP_TMP, for the checkout may be unreadable there.
# Nothing is written to the checkout or to the system's PostgreSQL.

CDP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CDP_OS_USER=${CDP_OS_USER:-postgres}
CDP_EXIT_HOOKS=()
CDP_OWN_DIRS=()

# The caller's own PostgreSQL connection and make settings must not leak into ours.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGDATA PGCLIENTENCODING
unset PSQLRC PGAPPNAME MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS
export LANG=C.UTF-8 LC_ALL=C.UTF-8

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

is_root()
{
	[ "$(id -u)" = 0 ]
}

# as_pg COMMAND…: runs it as the user that owns the clusters.
as_pg()
{
	if is_root; then
		(cd "${CDP_TMP:-/}" && exec runuser -u "$CDP_OS_USER" -- env HOME="${CDP_TMP:-/}" "$@")
	else
		(cd "${CDP_TMP:-/}" && exec "$@")
	fi
}

# at_exit 'COMMAND': evaluated at exit, last one first, before directories are removed.
at_exit()
{
	CDP_EXIT_HOOKS=("$1" "${CDP_EXIT_HOOKS[@]}")
}

# Stops every cluster whose data lies under DIR, however it was started.
stop_all_under()
{
	local pidfile pid

	[ -d "$1" ] || return 0
	find "$1" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
		pid=$(head -n 1 "$pidfile" 2>/dev/null)
		case $pid in ''|*[!0-9]*) continue ;; esac
		[ "$(cd "/proc/$pid/cwd" 2>/dev/null && pwd -P)" = "$(cd "${pidfile%/*}" && pwd -P)" ] || continue
		kill -QUIT "$pid" 2>/dev/null
		for _ in $(seq 100); do
			[ -d "/proc/$pid" ] || break
			sleep 0.1
		done
	done
}

cdp_cleanup()
{
	local status=$? hook dir

	set +e
	trap - EXIT
	trap '' INT TERM HUP
	for hook in "${CDP_EXIT_HOOKS[@]}"; do
		eval "$hook"
	done
	for dir in "${CDP_OWN_DIRS[@]}"; do
		stop_all_under "$dir"
		rm -rf "$dir"
	done
	exit "$status"
}

# own_dir DIR: DIR is stopped, removed at exit and belongs to the cluster user.
own_dir()
{
	CDP_OWN_DIRS+=("$1")
	if is_root; then
		chown "$CDP_OS_USER" "$1" || die "no user $CDP_OS_USER: run tools/setup.sh first"
	fi
	trap cdp_cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# cdp_tmp: makes $CDP_TMP. Its name is short, for socket paths may have 107 bytes only.
cdp_tmp()
{
	CDP_TMP=$(mktemp -d "${CDP_TMPDIR:-/tmp}/cdp.XXXXXX") || exit 1
	chmod 755 "$CDP_TMP"
	own_dir "$CDP_TMP"
	export CDP_TMP
}

# keep_tmp: leaves $CDP_TMP and its clusters as they are at exit.
keep_tmp()
{
	CDP_OWN_DIRS=()
	CDP_EXIT_HOOKS=()
}

# copy_tree DIR: the sources of this tree, without git data and build products.
copy_tree()
{
	as_pg mkdir -p "$1"
	tar -C "$CDP_TOP" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.d' --exclude='*.bc' \
		--exclude='*.gcno' --exclude='*.gcda' --exclude='./sql/cdp--*.sql' --exclude=./tools/unit/build \
		--exclude=./results --exclude=./output_iso --exclude=./tmp_check --exclude=./tmp_check_iso --exclude=./log \
		--exclude=./regression.diffs --exclude=./regression.out --exclude=node_modules --exclude=__pycache__ . |
		as_pg tar -C "$1" --no-same-owner -xf -
}

# private_pg DIR: copies the PostgreSQL that PG_CONFIG names to DIR and points PG_CONFIG, PGBIN and PATH to the copy.
# PostgreSQL finds its files relative to its own program, so extensions can be installed there by anybody.
private_pg()
{
	local real=${PG_CONFIG:-pg_config} dir=$1 opt path pgxs

	real=$(command -v "$real")	# PATH changes below
	pgxs=$("$real" --pgxs 2>/dev/null) && [ -e "$pgxs" ] || die "PostgreSQL's build files are missing: run tools/setup.sh first"
	for opt in --bindir --pkglibdir --sharedir; do
		path=$("$real" $opt)
		as_pg mkdir -p "$dir${path%/*}"
		[ -e "$dir$path" ] || as_pg cp -a --no-preserve=ownership "$path" "$dir$path" || die "cannot copy $path"
	done
	for opt in --includedir --libdir --localedir --sysconfdir; do
		path=$("$real" $opt)
		[ -e "$dir$path" ] || { as_pg mkdir -p "$dir${path%/*}" && as_pg ln -s "$path" "$dir$path"; }
	done
	PG_CONFIG=$dir$("$real" --bindir)/pg_config
	PGBIN=${PG_CONFIG%/*}
	PATH=$PGBIN:$PATH
	export PG_CONFIG PGBIN PATH
	[ "$("$PG_CONFIG" --pkglibdir)" = "$dir$("$real" --pkglibdir)" ] || die "PostgreSQL in $PGBIN cannot be relocated"
}

# build_install DIR: builds the tree in DIR and installs it where PG_CONFIG points to.
build_install()
{
	as_pg make -s -C "$1" PG_CONFIG="$PG_CONFIG" install
}

# private_cdp: a copy of the tree in $CDP_TMP/src, PostgreSQL in $CDP_TMP/pg, one installed in the other.
private_cdp()
{
	copy_tree "$CDP_TMP/src"
	private_pg "$CDP_TMP/pg"
	build_install "$CDP_TMP/src" > "$CDP_TMP/build.log" 2>&1 || { tail -n 40 "$CDP_TMP/build.log" >&2; die "build failed"; }
}

# free_port: a TCP port that nobody listens to.
free_port()
{
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport, "\n"'
}

# start_cluster DIR PORT [CONFIGURATION LINE…]: a fresh cluster in DIR/data, log in DIR/log, superuser postgres.
# It listens on a socket in DIR/s only, unless a line says otherwise (listen_addresses = '127.0.0.1').
# Exports PGHOST, PGPORT and PGUSER, so that psql finds the cluster started last.
start_cluster()
{
	local dir=$1 port=$2 line

	shift 2
	[ "${#dir}" -le 80 ] || die "directory name too long for a socket: $dir"
	as_pg mkdir -p "$dir/s"
	if [ ! -d "$dir/data" ]; then
		as_pg "$PGBIN/initdb" -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 \
			> "${CDP_TMP:-/tmp}/initdb.log" 2>&1 < /dev/null || { cat "${CDP_TMP:-/tmp}/initdb.log" >&2; die "initdb failed"; }
		for line in "port = $port" "unix_socket_directories = '$dir/s'" "listen_addresses = ''" "fsync = off" "$@"; do
			printf '%s\n' "$line"
		done | as_pg tee -a "$dir/data/postgresql.conf" > /dev/null
	fi
	as_pg "$PGBIN/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 start > /dev/null < /dev/null ||
		{ as_pg tail -n 20 "$dir/log" >&2; die "the cluster did not start"; }
	export PGHOST=$dir/s PGPORT=$port PGUSER=postgres
}

# stop_cluster DIR [fast|immediate|smart]
stop_cluster()
{
	as_pg "$PGBIN/pg_ctl" -D "$1/data" -m "${2:-fast}" -w stop > /dev/null < /dev/null
}
