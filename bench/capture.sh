#!/bin/bash
# What an attached table costs its writers: the same rows into a table without, with an attachment, and with a deferred
# one; a row in a statement, and many. CPU of one backend and WAL, so that neighbours disturb little. Works in a
# throw-away cluster with a private build, never as root; about a minute.
#
# Environment: ROUNDS (5), ROWS (3000) of single statements, BULK (20000) rows of one statement.
set -euo pipefail

rounds=${ROUNDS:-5}
rows=${ROWS:-3000}
bulk=${BULK:-20000}
. "$(dirname "${BASH_SOURCE[0]}")/cost.sh" capture.sql

first=1000000
say "CPU and WAL of a row: alone in its statement, and among $bulk"
for _ in $(seq "$rounds"); do
	for t in plain attached deferred; do
		single=$(cost "CALL bench.single('$t', $rows, $first)" "$rows")
		many=$(cost "CALL bench.bulk('$t', $bulk, $((first + rows)))" "$bulk")
		printf '%-10s %s   %s\n' "$t" "$single" "$many"
	done
	taken=$(cost "CALL cdp.maintain()" "$((rows + bulk))")
	printf '%-10s %28s %s\n' "maintain" "" "$taken"
	first=$((first + rows + bulk))
done
say "load before: $load_before, after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
