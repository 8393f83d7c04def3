#!/bin/bash
# What metrics cost an event: 0, 5 and 20 of them, all on the event that comes, two in five with a period. CPU of one
# backend and WAL, so that neighbours disturb little. README.md says how to read it. Works in a throw-away cluster with a
# private build, never as root; about a minute.
#
# Environment: ROUNDS (3) of all three, EVENTS (3000) tracked one by one in each.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

rounds=${ROUNDS:-3}
events=${EVENTS:-3000}
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"autovacuum = off" "synchronous_commit = off" "timezone = 'UTC'"
as_pg "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE bench"
as_pg "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench -f "$CDP_TMP/src/bench/metric.sql" > "$CDP_TMP/setup.log"

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
call=0
say "CPU and WAL of an event, and CPU of reading a person with all her metrics"
for _ in $(seq "$rounds"); do
	for n in 0 5 20; do
		ask "SELECT bench.metrics($n)" > "$CDP_TMP/out"
		ask "CALL cdp.maintain()" > "$CDP_TMP/out"
		ask "CALL bench.track(500)" > "$CDP_TMP/out"
		single=$(cost "CALL bench.track($events)" "$events")
		call=$((call + 1))
		batch=$(cost "SELECT count(*) FROM bench.payload, cdp.ingest(p, 'r$call')" 10000)
		read=$(cost "SELECT count(m) FROM (SELECT to_jsonb(p) AS m FROM cdp.profiles p) x" 1000)
		say "$(printf '%2d metrics: track %s; message of a batch %s; person read %s; states of an identifier %s bytes' "$n" "$single" "$batch" \
			"${read%%us*}us" "$(ask "SELECT coalesce(round(avg(length(states))), 0) FROM cdp_data.metric_state")")"
	done
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
