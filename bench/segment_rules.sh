#!/bin/bash
# What segments cost an event: 0, 10, 100 and 1,000 of them, of which the event concerns none (few) or all, by kind of
# rule. CPU of one backend and WAL, so that neighbours disturb little. README.md says how to read it. Works in a
# throw-away cluster with a private build, never as root; two minutes.
#
# Environment: ROUNDS (3) of all, EVENTS (1000) tracked one by one in each.
set -euo pipefail

rounds=${ROUNDS:-3}
events=${EVENTS:-1000}
. "$(dirname "${BASH_SOURCE[0]}")/cost.sh" segment_rules.sql

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
