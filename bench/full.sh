#!/bin/bash
# The full event, one by one and in batches, beside a bare INSERT and COPY; and a profile read by its e-mail address
# beside a row read by its key. README.md says how to read it. Works in a throw-away cluster with a private build, never
# as root; about five minutes.
#
# Environment: ROUNDS (3), SECONDS_EACH (3) of a timed run, PEOPLE (20000).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-3}
people=${PEOPLE:-20000}
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "fsync = on" "synchronous_commit = on" "full_page_writes = on" "shared_buffers = 512MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"autovacuum = off" "timezone = 'UTC'"
bench=$CDP_TMP/src/bench
postmaster=$(head -n 1 "$CDP_TMP/c/data/postmaster.pid")

ask()
{
	as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

# CPU seconds of all backends that have ended
server_cpu()
{
	until [ "$(ask -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")" = 0 ]; do
		sleep 0.05
	done
	sleep 0.1
	perl -e 'open F, "/proc/$ARGV[0]/stat" or die; $_ = <F>; s/.*\) //; my @f = split; printf "%.2f", ($f[13] + $f[14]) / $ARGV[1]' \
		"$postmaster" "$(getconf CLK_TCK)"
}

# timed SCRIPT CLIENTS SYNC USER: rate, CPU us and WAL bytes of a transaction
timed()
{
	local script=$1 clients=$2 sync=$3 user=$4 wal cpu log n

	wal=$(ask -c "SELECT pg_current_wal_insert_lsn()")
	cpu=$(server_cpu)
	log=$CDP_TMP/pgbench.log
	as_pg env PGOPTIONS="-c synchronous_commit=$sync" "$PGBIN/pgbench" -n -M prepared -c "$clients" -j "$((clients > 1 ? 2 : 1))" \
		-T "$seconds" -D people="$people" -U "$user" -f "$bench/$script.pgbench" bench > "$log" 2>&1 || { tail -n 20 "$log" >&2; die "pgbench failed: $script"; }
	n=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$log")
	cpu=$(perl -e 'printf "%.1f", 1e6 * ($ARGV[0] - $ARGV[1]) / $ARGV[2]' "$(server_cpu)" "$cpu" "$n")
	printf '%s %s %s\n' "$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$log")" "$cpu" \
		"$(ask -c "SELECT (pg_current_wal_insert_lsn() - '$wal') / $n")"
}

# beside TITLE OURS THEIRS CLIENTS SYNC USER
beside()
{
	local a b

	for _ in $(seq "$rounds"); do
		b=$(timed "$3" "$4" "$5" "$6")
		a=$(timed "$2" "$4" "$5" "$6")
		perl -e '@a = split / /, $ARGV[1]; @b = split / /, $ARGV[2];
			printf "%-66s %6d /s beside %6d: %.2f   CPU %6.1f us beside %5.1f   WAL %5d bytes beside %4d\n", $ARGV[0], $a[0], $b[0], $a[0] / $b[0], $a[1], $b[1], $a[2], $b[2]' \
			"$1, $4 c., sync $5" "$a" "$b"
	done
}

as_pg "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE bench"
say "preloading $people people"
ask -v people="$people" -v rounds="$rounds" -f "$bench/full.sql" > "$CDP_TMP/setup.log" || { tail "$CDP_TMP/setup.log"; die "the preload failed"; }
[ "$(ask -c "SELECT count(*) FROM cdp.rejected")" = 0 ] || die "messages of the preload were refused"
as_pg mkdir "$CDP_TMP/c/out"
ask -c "COPY (SELECT * FROM cdp_data.event WHERE source = 'spread' ORDER BY ts) TO '$CDP_TMP/c/out/events'"

for round in $(seq "$rounds"); do
	ask <<-SQL
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS a, pg_current_wal_insert_lsn() AS wa \gset
		CALL bench.ingest('spread', $round);
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS b, pg_current_wal_insert_lsn() AS wb \gset
		CALL bench.ingest('visits', $round);
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS c, pg_current_wal_insert_lsn() AS wc \gset
		COPY cdp_data.event FROM '$CDP_TMP/c/out/events';
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS d, pg_current_wal_insert_lsn() AS wd \gset
		CALL bench.rows();
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS e, pg_current_wal_insert_lsn() AS we \gset
		SELECT format('batches of 1,000, CPU of a message: %s us, WAL %s bytes (whoever comes next), %s us, %s bytes (visits of five); COPY of such events %s us, %s bytes: %s and %s of COPY; their rows by prepared statements with nothing decided: %s us, %s bytes',
			round((:b - :a) / 5e7, 1), round((:'wb'::pg_lsn - :'wa') / 50000), round((:c - :b) / 5e7, 1), round((:'wc'::pg_lsn - :'wb') / 50000), round((:d - :c) / 5e7, 1), round((:'wd'::pg_lsn - :'wc') / 50000),
			round((:d - :c)::numeric / (:b - :a), 2), round((:d - :c)::numeric / (:c - :b), 2), round((:e - :d) / 5e7, 1), round((:'we'::pg_lsn - :'wd') / 50000));
			DELETE FROM cdp_data.message_seen WHERE source = 'rows';
			UPDATE bench.prepared SET key = gen_random_uuid(), ts = ts + interval '1 day';
			VACUUM bench.prepared, cdp_data.message_seen;
	SQL
done
for sync in on off; do
	for clients in 1 8; do
		beside "full event | INSERT" full_one full_insert "$clients" "$sync" postgres
		beside "its rows by one prepared statement, nothing decided | INSERT" rows_full full_insert "$clients" "$sync" postgres
	done
done
for clients in 1 8; do
	beside "profile by e-mail, 5 columns | row by key, analyst" full_read_plain full_row "$clients" off bench_analyst
	beside "the same with 2 metrics | row by key, analyst" full_read full_row "$clients" off bench_analyst
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
