# bench/cost.sh: for the scripts that say what one backend spends. Sourced, with the SQL file that sets the database up:
# a throw-away cluster with a private build and a session in it. Needs Linux: CPU time is read from /proc.

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"autovacuum = off" "synchronous_commit = off" "timezone = 'UTC'"
as_pg "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE bench"
as_pg "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench -f "$CDP_TMP/src/bench/$1" > "$CDP_TMP/setup.log"

# the session
coproc db { as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench; }

# ask SQL: its answer
ask()
{
	local line

	printf "%s;\nSELECT 'END';\n" "$1" >&"${db[1]}"
	while read -r line <&"${db[0]}"; do
		[ "$line" != END ] || return 0
		printf '%s\n' "$line"
	done
	die "the session ended"
}

# cost SQL N: microseconds of CPU and bytes of WAL for each of N
cost()
{
	local cpu wal

	wal=$(ask "SELECT pg_current_wal_insert_lsn() - '0/0'")
	cpu=$(cut -d ' ' -f 1 "/proc/$pid/schedstat")
	ask "$1" > "$CDP_TMP/out"
	cpu=$(($(cut -d ' ' -f 1 "/proc/$pid/schedstat") - cpu))
	perl -e 'printf "%6.1f us %5d bytes", $ARGV[0] / 1000 / $ARGV[2], $ARGV[1] / $ARGV[2]' "$cpu" \
		"$(($(ask "SELECT pg_current_wal_insert_lsn() - '0/0'") - wal))" "$2"
}

pid=$(ask "SELECT pg_backend_pid()")
