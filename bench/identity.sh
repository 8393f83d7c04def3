#!/bin/bash
# Identity under stress: unmerging, a hub that eight sessions write, transactions of several calls. README.md says how
# to read it. Works in a throw-away cluster with a private build, never as root; about five minutes.
#
# Environment: STORM (10000) identifiers of the hub, a fifth of them with newest_wins; SECONDS_EACH (10) of the
# transactions.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

storm=${STORM:-10000}
seconds=${SECONDS_EACH:-10}
began=$SECONDS
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"autovacuum = off" "synchronous_commit = off" "timezone = 'UTC'"
bench=$CDP_TMP/src/bench

run_psql()
{
	as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

fresh()
{
	as_pg "$PGBIN/psql" -X -q -d postgres -c "SET client_min_messages = warning" -c "DROP DATABASE IF EXISTS bench" -c "CREATE DATABASE bench"
	run_psql -f "$bench/identity.sql" > "$CDP_TMP/setup.log"
}

# broken: rows that the invariants find wrong
broken()
{
	run_psql -f "$bench/../docs/invariants.sql" | grep -c . || true
}

say "Unmerging ..."
fresh
run_psql -c "UPDATE cdp_data.identity_setting SET max_identifiers = 100000" -o "$CDP_TMP/out" \
	-c "SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0)"
for events in 1 3; do
	run_psql <<-SQL
		TRUNCATE bench.took;
		DO \$\$ BEGIN
			FOR i IN 1..60 LOOP CALL bench.people('a$events-' || i, 50, $events); END LOOP;
			FOR i IN 1..20 LOOP CALL bench.people('b$events-' || i, 1000, $events); END LOOP;
		END \$\$;
		VACUUM ANALYZE;
		CALL bench.unmerge(50);
		CALL bench.unmerge(1000);
		SELECT format('unmerge of %s identifiers with %s events each: median %s ms, fastest %s, slowest %s, of %s', n, $events,
			round((percentile_cont(0.5) WITHIN GROUP (ORDER BY us))::numeric / 1000, 2), round(min(us)::numeric / 1000, 2), round(max(us)::numeric / 1000, 2), count(*))
		FROM bench.took GROUP BY n ORDER BY n;
	SQL
done

for scenario in "defaults, in order|hub||false" "defaults, out of order|hub||true" "no limits|hub|*=0|false" "newest_wins of user_id|newest|newest|false"; do
	IFS='|' read -r what who rules shuffled <<< "$scenario"
	fresh
	case $rules in
		'*=0') run_psql -o "$CDP_TMP/out" -c "SELECT cdp.define_namespace('*', max_per_profile => 0)" ;;
		newest) run_psql -o "$CDP_TMP/out" -c "SELECT cdp.define_namespace('user_id', max_per_profile => 1, on_conflict => 'newest_wins')" ;;
	esac
	n=$storm
	[ "$rules" != newest ] || n=$((storm / 5))
	started=$(date +%s.%N)
	for session in 0 1 2 3 4 5 6 7; do
		run_psql -c "CALL bench.storm('$who', $session, 8, $n, $shuffled)" &
	done
	wait
	took=$(perl -e 'printf "%.1f", $ARGV[0] - $ARGV[1]' "$(date +%s.%N)" "$started")
	say "Hub of $n, 8 sessions, $what: $took s; $(run_psql -c "
		SELECT format('calls %s, p50 %s ms, p99 %s ms, slowest %s ms', count(*), round((percentile_cont(0.5) WITHIN GROUP (ORDER BY us))::numeric / 1000, 2),
			round((percentile_cont(0.99) WITHIN GROUP (ORDER BY us))::numeric / 1000, 1), round(max(us)::numeric / 1000, 1)) FROM bench.took"); $(run_psql -c "
		SELECT format('largest person %s identifiers, %s people, %s refused links', max(c), count(*), (SELECT count(*) FROM cdp_data.identity_edge WHERE refused IS NOT NULL))
		FROM (SELECT count(*) AS c FROM cdp_data.node GROUP BY profile_id) x"); broken invariants: $(broken)"
done

say "Transactions of several calls, 8 clients ..."
fresh
for people in 200 2000; do
	run_psql -o "$CDP_TMP/out" -c "SELECT count(cdp.track('user_id:d' || i, 'E')) FROM generate_series(1, $people) i"
	for script in multi_random multi_ordered multi_batch; do
		as_pg "$PGBIN/pgbench" -n -M prepared -c 8 -j 2 -T "$seconds" --max-tries=10 --failures-detailed -D people=$people -f "$bench/$script.pgbench" bench \
			> "$CDP_TMP/pgbench.log" 2>&1 || { tail -n 20 "$CDP_TMP/pgbench.log" >&2; die "pgbench failed: $script"; }
		say "$script, $people people: $(grep -E 'actually processed|^tps|retried' "$CDP_TMP/pgbench.log" | sed 's/number of transactions//; s/(without.*//' | tr -s ' \n' ' ')"
	done
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
say "The whole run took $((SECONDS - began)) seconds."
