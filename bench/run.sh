#!/bin/bash
# First figures, side by side with what PostgreSQL does without cdp. Called by "make bench"; README.md says how
# to read the table. Works in a throw-away cluster with a private build, never as root.
#
#   make bench              100,000 people preloaded, about twelve minutes
#   make bench LONG=1       1,000,000 people and longer rounds
#
# Environment: ROUNDS (5) of single rows, BULK_ROUNDS (3) of the rest, SECONDS_EACH (2) for a timed run, PEOPLE.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

long=${LONG:-}
[ "$long" != 0 ] || long=
people=${PEOPLE:-$([ -n "$long" ] && echo 1000000 || echo 100000)}
rounds=${ROUNDS:-$([ -n "$long" ] && echo 7 || echo 5)}
bulk_rounds=${BULK_ROUNDS:-$([ -n "$long" ] && echo 5 || echo 3)}
seconds=${SECONDS_EACH:-$([ -n "$long" ] && echo 10 || echo 2)}
began=$SECONDS
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "fsync = on" "synchronous_commit = on" "full_page_writes = on" \
	"shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" "autovacuum = off" "timezone = 'UTC'"
postmaster=$(head -n 1 "$CDP_TMP/c/data/postmaster.pid")
bench=$CDP_TMP/src/bench
samples=$CDP_TMP/samples
: > "$samples"

bench_psql()
{
	as_pg "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v people="$people" -d bench "$@"
}

# sample KEY VALUE: one measurement, for report.pl
sample()
{
	printf '%s\t%s\n' "$1" "$2" >> "$samples"
}

# server_cpu: CPU seconds of all backends that have ended. What else runs on the machine hardly moves it.
server_cpu()
{
	bench_psql <<-'SQL'
		DO $$
		BEGIN
			WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) LOOP
				PERFORM pg_sleep(0.01);
			END LOOP;
		END $$;
	SQL
	sleep 0.1
	perl -e 'open F, "/proc/$ARGV[0]/stat" or die; $_ = <F>; s/.*\) //; my @f = split; printf "%.2f", ($f[13] + $f[14]) / $ARGV[1]' \
		"$postmaster" "$(getconf CLK_TCK)"
}

# timed KEY SCRIPT CLIENTS SYNC SEED SECONDS: a pgbench run; its rate, and for each transaction the server's CPU time
# and bytes of WAL
timed()
{
	local key=$1 script=$2 clients=$3 sync=$4 seed=$5 run=$6 before after done rate cpu

	before=$(bench_psql -c "SELECT pg_current_wal_insert_lsn()")
	cpu=$(server_cpu)
	as_pg env PGOPTIONS="-c synchronous_commit=$sync" "$PGBIN/pgbench" -n -M prepared -c "$clients" \
		-j "$((clients > 1 ? 2 : 1))" -T "$run" --random-seed="$seed" -D people="$people" \
		-f "$bench/$script.pgbench" bench > "$CDP_TMP/pgbench.log" 2>&1 ||
		{ tail -n 20 "$CDP_TMP/pgbench.log" >&2; die "pgbench failed: $script"; }
	done=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$CDP_TMP/pgbench.log")
	rate=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$CDP_TMP/pgbench.log")
	[ "${done:-0}" -gt 0 ] || die "pgbench did nothing: $script"
	after=$(bench_psql -c "SELECT pg_current_wal_insert_lsn()")
	[ "$key" != warm-up ] || return 0
	sample "$key rate" "$rate"
	sample "$key cpu" "$(perl -e 'printf "%.2f", 1e6 * ($ARGV[0] - $ARGV[1]) / $ARGV[2]' "$(server_cpu)" "$cpu" "$done")"
	sample "$key wal" "$(bench_psql -c "SELECT ('$after'::pg_lsn - '$before'::pg_lsn) / $done")"
}

# bulk KEY SYNC COMMAND: rows a second of one bulk load, and the server's CPU time for each row
bulk()
{
	local seconds cpu

	cpu=$(server_cpu)
	seconds=$(bench_psql <<-SQL
		SET synchronous_commit = $2;
		SELECT clock_timestamp() AS t0 \\gset
		$3;
		SELECT extract(epoch FROM clock_timestamp() - :'t0'::timestamptz);
	SQL
	)
	sample "$1 rate" "$(perl -e 'printf "%.1f", 100000 / $ARGV[0]' "$seconds")"
	sample "$1 cpu" "$(perl -e 'printf "%.2f", 1e6 * ($ARGV[0] - $ARGV[1]) / 100000' "$(server_cpu)" "$cpu")"
}

say "cdp bench: $people people, $rounds rounds of ${seconds} s, $(nproc) cores, $("$PG_CONFIG" --version)"
as_pg "$PGBIN/createdb" bench
bench_psql -f "$bench/setup.sql" > "$CDP_TMP/setup.log"
bench_psql -f "$bench/same.sql" >> "$CDP_TMP/setup.log"
say "Preloading through cdp.ingest(), 1,000 messages a call ..."
bench_psql -f "$bench/preload.sql" > "$CDP_TMP/preload.log"
sample "preload rate" "$(sed -n 's/^preload //p' "$CDP_TMP/preload.log")"

# Unmeasured: fills caches and writes the full page images that follow the checkpoint.
for script in insert track peer_identify_known identify_known peer_identify_new identify_new same_identify_known same_identify_new; do
	timed warm-up $script 8 off 99 "$seconds"
done

say "Single rows ..."
for round in $(seq "$rounds"); do
	for sync in on off; do
		for clients in 1 8; do
			timed "insert $clients $sync" insert $clients $sync "$round" "$seconds"
			timed "track $clients $sync" track $clients $sync "$round" "$seconds"
		done
	done
done

say "Identities ..."
for round in $(seq "$bulk_rounds"); do
	for sync in on off; do
		for kind in known new; do
			# The two runs with new pairs must not draw the same ones: a seed of its own each.
			for clients in 1 2 8; do
				seed=$((round * 20 + clients * 2 + (${#sync} - 2)))
				timed "identify_$kind $clients $sync" identify_$kind $clients $sync $seed "$seconds"
				timed "same_identify_$kind $clients $sync" same_identify_$kind $clients $sync $seed "$seconds"
				timed "rows_identify_$kind $clients $sync" rows_identify_$kind $clients $sync $seed "$seconds"
				timed "insert_beside_$kind $clients $sync" insert $clients $sync $seed "$seconds"
			done
			timed "peer_identify_$kind 8 $sync" peer_identify_$kind 8 $sync $seed "$seconds"
		done
	done
done

say "Batches ..."
copy="$CDP_TMP/c/events.copy"
bench_psql -v rounds="$bulk_rounds" -v file="$copy" -f "$bench/batches.sql" > "$CDP_TMP/batches.log"
for round in $(seq "$bulk_rounds"); do
	for sync in on off; do
		bulk "ingest_new $sync" $sync "CALL bench.ingest('$sync-$round-new')"
		bulk "ingest_known $sync" $sync "CALL bench.ingest('$sync-$round-known')"
		bulk "copy $sync" $sync "COPY cdp_data.event FROM '$copy'"
	done
done
# What was measured must have happened.
bench_psql -v rounds="$bulk_rounds" -f "$bench/check.sql" > "$CDP_TMP/check.log"
[ ! -s "$CDP_TMP/check.log" ] || { cat "$CDP_TMP/check.log" >&2; die "the figures are void: see above"; }

say
perl "$bench/report.pl" "$samples"
say
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores."
say "The whole run took $((SECONDS - began)) seconds."
