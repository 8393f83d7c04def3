#!/bin/bash
# What segments cost an event: 0, 10, 100 and 1,000 of them, of which the event concerns none (few) or all, by kind of
# rule. CPU of one backend and WAL, so that neighbours disturb little. README.md says how to read it. Works in a
# throw-away cluster with a private build, never as root; two minutes.
#
# Environment: ROUNDS (3) of all, EVENTS (1000) tracked one by one in each.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

rounds=${ROUNDS:-3}
events=${EVENTS:-1000}
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"autovacuum = off" "synchronous_commit = off" "timezone = 'UTC'"
as_pg "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE bench"
as_pg "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench -f "$CDP_TMP/src/bench/segment_rules.sql" > "$CDP_TMP/setup.log"

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
say "CPU and WAL of an event, by segments and kind of their rules"
for _ in $(seq "$rounds"); do
	for kind in few events metric json within lately; do
		for n in 0 10 100 1000; do
			[ "$n" != 0 ] || [ "$kind" = few ] || continue
			ask "CALL bench.segments('$kind', $n)" > "$CDP_TMP/out"
			ask "CALL bench.track(300)" > "$CDP_TMP/out"
			printf '%-7s %5d segments: %s\n' "$kind" "$n" "$(cost "CALL bench.track($events)" "$events")"
		done
	done
done
say "load before $load_before, after $(cut -d ' ' -f 1-3 /proc/loadavg)"
