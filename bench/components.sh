#!/bin/bash
# Connected components, side by side: cdp.connected_components, pgRouting, hand-written SQL and plpgsql, and the limit:
# reading the table plus a C program that finds components of the same edges in memory. README.md says how to read it.
# Works in a throw-away cluster with a private build, never as root.
#
#   bench/components.sh                    1,000,000 and 10,000,000 edges, about 15 minutes
#   SIZES=1000000 bench/components.sh      only these
#
# Environment: ROUNDS (5) of cdp and the limit, PEER_ROUNDS (3, and 1 above 1,000,000 edges) of the others,
# PROPAGATION=1 measures label propagation too, once, at up to 1,000,000 edges (several minutes).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

sizes=${SIZES:-1000000 10000000}
rounds=${ROUNDS:-5}
began=$SECONDS
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

cdp_tmp
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "shared_buffers = 2GB" "work_mem = 256MB" "maintenance_work_mem = 1GB" \
	"max_wal_size = 16GB" "checkpoint_timeout = 1h" "autovacuum = off" "jit = off" "max_parallel_workers_per_gather = 0" \
	"random_page_cost = 1.1" "synchronous_commit = off"
bench=$CDP_TMP/src/bench
as_pg cc -O2 -o "$CDP_TMP/components" "$bench/components.c" -lm
[ -r /proc/self/schedstat ] || die "this system does not tell the CPU time of a process"

run_psql()
{
	as_pg env PGOPTIONS="-c client_min_messages=warning" "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

# cpu SETTINGS STATEMENT: milliseconds of CPU of the statement in a session of its own; the answer's table is dropped
cpu()
{
	run_psql -o "$CDP_TMP/out" <<-SQL
		$1
		DROP TABLE IF EXISTS bench.answer;
		SELECT bench.cpu() AS before \\gset
		$2;
		SELECT bench.cpu() - :before AS used \\gset
		\\o
		\\echo :used
	SQL
}

# measured KEY MILLISECONDS
measured()
{
	printf '%s\t%s\n' "$1" "$2" >> "$CDP_TMP/samples"
}

# checked: the table of the last statement has the components of the generator
checked()
{
	local got

	got=$(run_psql -F ' ' -c "SELECT count(*), count(DISTINCT component) FROM bench.answer")
	[ "$got" = "$truth" ] || die "$1 is wrong: $got instead of $truth"
}

cc="cdp.connected_components('SELECT source, target FROM bench.edge')"
as_text="cdp.connected_components('SELECT source::text, target::text FROM bench.edge', NULL::text)"
pgr="pgr_connectedComponents('SELECT id, source, target, 1::float8 AS cost FROM bench.edge')"

for size in $sizes; do
	say "$size edges ..."
	: > "$CDP_TMP/samples"
	peer_rounds=${PEER_ROUNDS:-$([ "$size" -gt 1000000 ] && echo 1 || echo 3)}
	as_pg mkdir -p "$CDP_TMP/data"
	truth=$(as_pg "$CDP_TMP/components" generate "$size" 1 "$CDP_TMP/data")
	as_pg "$PGBIN/dropdb" --if-exists bench 2> /dev/null
	as_pg "$PGBIN/createdb" bench
	run_psql -f "$bench/components.sql"
	peers="contraction plpgsql"
	[ -z "${PROPAGATION:-}" ] || [ "$size" -gt 1000000 ] || peers="$peers propagation"
	if run_psql -c "CREATE EXTENSION pgrouting CASCADE" > "$CDP_TMP/pgrouting.log" 2>&1; then
		peers="pgrouting $peers"
	else
		say "pgRouting is not installed (Debian: postgresql-NN-pgrouting), its line is left out"
	fi
	run_psql -c "COPY bench.edge FROM '$CDP_TMP/data/edges.csv' CSV" -c "VACUUM ANALYZE bench.edge"
	run_psql -c "SELECT count(*) FROM bench.edge" > /dev/null

	# One after the other in turns, so that what disturbs one disturbs the others.
	for round in $(seq "$rounds"); do
		measured scan "$(cpu "" "SELECT count(source), count(target) FROM bench.edge")"
		c=$(as_pg "$CDP_TMP/components" limit "$CDP_TMP/data/edges.bin")
		[ "${c% *}" = "$truth" ] || die "the limit is wrong: $c instead of $truth"
		measured c "${c##* }"
		measured cdp "$(cpu "" "SELECT count(*) FROM $cc")"
		measured table "$(cpu "" "CREATE UNLOGGED TABLE bench.answer AS SELECT * FROM $cc")"
		[ "$round" != 1 ] || checked cdp
		measured disk "$(cpu "SET maintenance_work_mem = '$((size / 125000 + 8))MB';" "SELECT count(*) FROM $cc")"
		if [ "$round" -le "$peer_rounds" ]; then
			measured ordered "$(cpu "" "SELECT count(*) FROM ${cc%)}, true)")"
			measured text "$(cpu "" "SELECT count(*) FROM $as_text")"
			for peer in $peers; do
				case $peer in
					pgrouting) measured pgrouting "$(cpu "" "SELECT count(*) FROM $pgr")" ;;
					propagation) [ "$round" != 1 ] || measured propagation "$(cpu "" "CALL bench.propagation()")" ;;
					*) measured "$peer" "$(cpu "" "CALL bench.$peer()")" ;;
				esac
				[ "$round" != 1 ] || [ "$peer" = pgrouting ] || checked "$peer"
			done
		fi
	done
	if [ "$peers" != "${peers#pgrouting}" ] && [ "$size" -le 1000000 ]; then
		run_psql -c "DROP TABLE IF EXISTS bench.answer" -c "CREATE TABLE bench.answer AS SELECT node, component FROM $pgr"
		checked pgrouting
	fi

	perl - "$CDP_TMP/samples" <<-'PERL'
		my (%of, @order);
		while (<>) { chomp; my ($k, $v) = split /\t/; push @order, $k unless $of{$k}; push @{ $of{$k} }, $v; }
		sub median { my @v = sort { $a <=> $b } @_; @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2 }
		my %name = (scan => 'read the table: count(source), count(target)', c => 'C program, edges in memory',
			cdp => 'cdp.connected_components, count(*)', table => 'the same, CREATE UNLOGGED TABLE AS', disk => 'the same, count(*), small maintenance_work_mem',
			ordered => 'the same, count(*), ordered', text => 'the same edges as text, count(*)', pgrouting => 'pgr_connectedComponents, count(*)',
			contraction => 'SQL, contraction', plpgsql => 'plpgsql, union-find', propagation => 'SQL, label propagation');
		my $limit = median(@{ $of{scan} }) + median(@{ $of{c} });
		my $cdp = median(@{ $of{cdp} });
		printf "\n%-48s %10s %21s %8s %8s\n%s\n", 'CPU of one process', 'ms', 'range', 'x limit', 'x cdp', '-' x 99;
		for my $k (@order)
		{
			my @v = sort { $a <=> $b } @{ $of{$k} };
			my $m = median(@v);
			printf "%-48s %10.0f %10.0f..%9.0f %8.2f %8.2f\n", $name{$k}, $m, $v[0], $v[-1], $m / $limit, $m / $cdp;
		}
		printf "%-48s %10.0f\n", 'limit: reading and C program', $limit;
		my @c = sort { $a <=> $b } @{ $of{cdp} };
		printf "Noise of cdp: (max - min) / median of %d runs is %.0f %%.\n\n", scalar @c, 100 * ($c[-1] - $c[0]) / $cdp;
	PERL
done
say "Load average (1, 5, 15 min) before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg); $(nproc) cores, $("$PG_CONFIG" --version)."
say "The whole run took $((SECONDS - began)) seconds."
