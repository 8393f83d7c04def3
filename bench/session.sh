#!/bin/bash
# What sessions and sequences cost an event, and what a person's sessions cost a reader, against windows over her events.
# CPU of one backend and WAL, so that neighbours disturb little. README.md says how to read it. Works in a throw-away
# cluster with a private build, never as root; about two minutes.
#
# Environment: ROUNDS (3) of all three, EVENTS (3000) tracked one by one in each.
set -euo pipefail

rounds=${ROUNDS:-3}
events=${EVENTS:-3000}
. "$(dirname "${BASH_SOURCE[0]}")/cost.sh" session.sql

call=0
names=("nothing" "sessions" "sessions and 3 sequences")
say "CPU and WAL of an event"
for _ in $(seq "$rounds"); do
	for n in 0 1 2; do
		ask "SELECT bench.setting($n)" > "$CDP_TMP/out"
		ask "CALL cdp.maintain()" > "$CDP_TMP/out"
		ask "CALL bench.track(500)" > "$CDP_TMP/out"
		single=$(cost "CALL bench.track($events)" "$events")
		call=$((call + 1))
		batch=$(cost "SELECT count(*) FROM bench.payload, cdp.ingest(p, 'r$call')" 10000)
		say "$(printf '%-24s: track %s; message of a batch %s' "${names[n]}" "$single" "$batch")"
	done
done
say "CPU of reading"
ask "SELECT cdp.define_metric('visits', 'session_ended'), cdp.define_metric('visits_week', 'session_ended', 'sum', 'dwell', period => '7 days')" > "$CDP_TMP/out"
much="cdp.resolve('user_id:much')"
for _ in $(seq "$rounds"); do
	say "$(printf 'sessions of a person of 100 events and more %s, from her events %s; of one of 10,000 %s, from events %s' \
		"$(cost "SELECT count(*) FROM cdp.sessions" 1000)" \
		"$(cost "SELECT sum(bench.from_events(profile_id)) FROM cdp.profiles" 1000)" \
		"$(cost "SELECT (SELECT count(*) FROM cdp.person_sessions($much + 0 * i)) FROM generate_series(1, 20) i" 20)" \
		"$(cost "SELECT bench.from_events($much + 0 * i) FROM generate_series(1, 20) i" 20)")"
	say "$(printf 'a metric of session_ended %s, with a period and a property %s, a sequence %s' \
		"$(cost "SELECT sum(visits) FROM cdp.profiles" 1000)" \
		"$(cost "SELECT sum(visits_week) FROM cdp.profiles" 1000)" \
		"$(cost "SELECT count(*) FROM cdp.profiles WHERE s1" 1000)")"
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
