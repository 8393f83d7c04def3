#!/bin/bash
# Everybody's five best values in three dimensions from raw events, with decay: cdp.affinity_agg, hand-written SQL, and the
# limit: reading the table plus a C program with the same events in memory. README.md says how to read it. Works in a
# throw-away cluster with a private build, never as root; needs cc and Linux.
#
#   bench/affinity.sh                      1,000,000 events of 100,000 people, two minutes
#   SIZES="1000000 10000000" bench/affinity.sh
#
# Environment: ROUNDS (3).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

sizes=${SIZES:-1000000}
rounds=${ROUNDS:-3}
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 2GB" "work_mem = 256MB" "max_wal_size = 16GB" \
	"checkpoint_timeout = 1h" "autovacuum = off" "jit = off" "max_parallel_workers_per_gather = 0" "timezone = 'UTC'"
bench=$CDP_TMP/src/bench
as_pg cc -O2 -o "$CDP_TMP/affinity" "$bench/affinity.c" -lm
[ -r /proc/self/schedstat ] || die "this system does not tell the CPU time of a process"

run_psql()
{
	as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

# measured KEY SETTINGS STATEMENT: milliseconds of CPU of the statement in a session of its own
measured()
{
	local used

	used=$(run_psql <<-SQL
		$2
		SELECT bench.cpu() AS before \\gset
		\\o $CDP_TMP/out
		$3;
		\\o
		SELECT bench.cpu() - :before;
	SQL
	)
	printf '%s\t%s\n' "$1" "$used" >> "$CDP_TMP/samples"
}

# a row for the first of each dimension, another for the second, and so on; null where a dimension has no more
top="SELECT count(category), count(brand), count(colour) FROM (SELECT profile_id, cdp.affinity_top(category, 5, '2025-04-01') AS category,
	cdp.affinity_top(brand, 5, '2025-04-01') AS brand, cdp.affinity_top(colour, 5, '2025-04-01') AS colour FROM bench.affinity"

for size in $sizes; do
	people=$((size / 10))
	say "$size events of $people people ..."
	: > "$CDP_TMP/samples"
	as_pg "$PGBIN/dropdb" --if-exists bench 2> /dev/null
	as_pg "$PGBIN/createdb" bench
	run_psql -f "$bench/affinity.sql"
	as_pg "$CDP_TMP/affinity" generate "$size" "$people" |
		run_psql -c "CREATE TEMP TABLE raw (p int, c text, b text, f text, w float8, at bigint)" -c "COPY raw FROM STDIN CSV" \
			-c "INSERT INTO bench.event SELECT p, c, b, f, w, to_timestamp(at) FROM raw" -c "VACUUM ANALYZE bench.event"
	for round in $(seq "$rounds"); do
		measured scan "" "SELECT count(*), count(category), count(ts) FROM bench.event"
		c=$(as_pg "$CDP_TMP/affinity" limit "$size" "$people")
		printf 'c\t%s\n' "${c##* }" >> "$CDP_TMP/samples"
		measured sorted "SET enable_hashagg = off;" "$top) s"
		measured sorted32 "SET enable_hashagg = off;" "${top}_32) s"
		measured hashed "SET enable_sort = off;" "$top) s"
		measured aggregate "SET enable_hashagg = off;" "SELECT count(category), count(brand), count(colour) FROM bench.affinity"
		measured sort "SET enable_hashagg = off;" "SELECT count(*) FROM (SELECT profile_id, max(category), max(brand), max(colour), max(ts) FROM bench.event GROUP BY 1) s"
		measured sql "" "SELECT count(value), sum(score) FROM bench.by_hand"
	done
	truth=${c% *}
	got=$(run_psql -c "SELECT count(*) || ' ' || round(sum(score)::numeric) FROM bench.checked")
	[ "$got" = "$truth" ] || die "cdp is wrong: $got instead of $truth"
	got=$(run_psql -c "SELECT count(*) || ' ' || round(sum(score)::numeric) FROM bench.by_hand")
	[ "$got" = "$truth" ] || die "SQL is wrong: $got instead of $truth"
	perl - "$CDP_TMP/samples" "$size" <<-'PERL'
		my (%of, @order);
		my $events = pop @ARGV;
		while (<>) { chomp; my ($k, $v) = split /\t/; push @order, $k unless $of{$k}; push @{ $of{$k} }, $v; }
		sub median { my @v = sort { $a <=> $b } @_; $v[$#v / 2] }
		my %name = (scan => 'read the table', c => 'C program, events in memory', sorted => 'cdp, groups sorted, 96 slots',
			sorted32 => 'cdp, groups sorted, 32 slots', hashed => 'cdp, groups hashed, 96 slots', aggregate => 'cdp, sorted, without the top 5',
			sort => 'sorting the groups, max() four times', sql => 'SQL by hand');
		my $limit = median(@{ $of{scan} }) + median(@{ $of{c} });
		my $sql = median(@{ $of{sql} });
		printf "\n%-40s %9s %21s %12s %8s %8s\n%s\n", 'CPU of one process', 'ms', 'range', 'ns an event', 'x limit', 'SQL / it', '-' x 103;
		for my $k (@order)
		{
			my @v = sort { $a <=> $b } @{ $of{$k} };
			my $m = median(@v);
			printf "%-40s %9.0f %10.0f..%9.0f %12.0f %8.2f %8.2f\n", $name{$k}, $m, $v[0], $v[-1], 1e6 * $m / $events, $m / $limit, $sql / $m;
		}
		printf "%-40s %9.0f\n\n", 'limit: reading and C program', $limit;
	PERL
	run_psql -F ' ' -c "SELECT 'Bytes of an affinity, average and largest: category ' || round(avg(pg_column_size(category))) || ' ' || max(pg_column_size(category)) ||
		', brand ' || round(avg(pg_column_size(brand))) || ' ' || max(pg_column_size(brand)) || ', colour ' || round(avg(pg_column_size(colour))) || ' ' ||
		max(pg_column_size(colour)) FROM bench.affinity_32"
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
