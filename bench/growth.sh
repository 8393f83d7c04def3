#!/bin/bash
# Does it stay flat? Events of 200,000 people, loaded by cdp.ingest() in batches of 1,000, and what the last ones cost at
# each size. CPU of one backend, so that neighbours disturb little. Works in a throw-away cluster with a private build,
# never as root.
#
# Environment: SIZES ("1000000 3000000 10000000", about eight minutes and 8 GB), PEOPLE (200000).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

sizes=${SIZES:-1000000 3000000 10000000}
people=${PEOPLE:-200000}
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 1GB" "max_wal_size = 8GB" "wal_level = minimal" "max_wal_senders = 0" \
	"synchronous_commit = off" "timezone = 'UTC'"
as_pg "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE bench"

ask()
{
	as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

ask <<-'SQL' > "$CDP_TMP/setup.log"
	CREATE EXTENSION cdp;
	SELECT count(*) FROM cdp.init();
	SELECT cdp.define_metric('views', 'Product Viewed'), cdp.define_metric('spent_30d', 'Product Viewed', 'sum', 'price', period => '30 days');
	SELECT cdp.define_segment('keen', predicate => 'views >= 20');
	CREATE SCHEMA bench;
	CREATE TABLE bench.cost (events bigint, us numeric, wal numeric);
	-- batches first to last, five events of a person in a row; what the last 50 of them cost is kept
	CREATE PROCEDURE bench.load(first int, last int, people int) LANGUAGE plpgsql AS $$
	DECLARE
		batch jsonb;
		began bigint;
		spent bigint := 0;
		wal pg_lsn;
		written numeric := 0;
	BEGIN
		FOR b IN first..last LOOP
			SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Product Viewed', 'messageId', 'm' || b || '-' || i,
				'userId', 'u' || abs(hashint8(b * 200 + i / 5)) % people, 'timestamp', timestamptz '2026-01-01 00:00Z' + (b * 1000 + i) * interval '2 seconds',
				'properties', jsonb_build_object('product_id', 'p' || i % 977, 'price', i % 5000, 'category', 'c' || i % 31))) INTO batch FROM generate_series(0, 999) i;
			began := split_part(pg_read_file('/proc/self/schedstat'), ' ', 1);
			wal := pg_current_wal_insert_lsn();
			PERFORM count(*) FROM cdp.ingest(batch, 'growth');
			COMMIT;
			IF b > last - 50 THEN
				spent := spent + split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint - began;
				written := written + (pg_current_wal_insert_lsn() - wal);
			END IF;
		END LOOP;
		INSERT INTO bench.cost VALUES (last * 1000::bigint, spent / 5e7, written / 5e4);
	END $$;
SQL
first=1
for size in $sizes; do
	last=$((size / 1000))
	ask -c "SET cdp.clock = '2026-10-01 00:00Z'" -c "CALL bench.load($first, $last, $people)"
	first=$((last + 1))
	read=$(ask <<-'SQL'
		SELECT cdp.segment_count('keen') > 0 AS warm \gset
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS a \gset
		SELECT count(p.views) FROM generate_series(1, 1000) i, cdp.profiles p WHERE p.profile_id = i * 97 \g /dev/null
		SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1) AS b \gset
		SELECT round((:b - :a) / 1e6, 1);
	SQL
	)
	ask -c "SELECT format('%s events: %s us of CPU and %s bytes of WAL a message; a profile with a metric read in %s us; database %s', events, round(us, 1), round(wal), '$read', pg_size_pretty(pg_database_size('bench'))) FROM bench.cost ORDER BY events DESC LIMIT 1"
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
