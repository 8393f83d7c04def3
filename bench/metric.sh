#!/bin/bash
# What metrics cost an event: 0, 5 and 20 of them, all on the event that comes, two in five with a period. CPU of one
# backend and WAL, so that neighbours disturb little. README.md says how to read it. Works in a throw-away cluster with a
# private build, never as root; about a minute.
#
# Environment: ROUNDS (3) of all three, EVENTS (3000) tracked one by one in each.
set -euo pipefail

rounds=${ROUNDS:-3}
events=${EVENTS:-3000}
. "$(dirname "${BASH_SOURCE[0]}")/cost.sh" metric.sql

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
