#!/bin/bash
# The demo: cdp on real retail data, told in four steps. Called by "make demo"; KEEP=1 leaves the cluster up.
# Works on a private copy of the tree and of PostgreSQL, in a throw-away directory, never as root.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

began=$SECONDS
cdp_tmp
say "Building cdp and starting a throw-away PostgreSQL in $CDP_TMP ..."
private_cdp
start_cluster "$CDP_TMP/c" "$(free_port)" "synchronous_commit = off" "timezone = 'UTC'"

demo=$CDP_TMP/src/demo
run_sql()
{
	as_pg sh -c 'cd "$1" && exec psql -X -q -d shop -f "$2"' sh "$demo" "$1"
}

as_pg createdb shop
as_pg perl "$demo/generate.pl" > "$CDP_TMP/generate.log"
run_sql 0-shop.sql
run_sql 1-collect.sql

# Two routes at once, in two sessions.
start=$(date +%s%N)
run_sql 1a-store.sql > "$CDP_TMP/store.out" &
store=$!
run_sql 1b-messages.sql > "$CDP_TMP/messages.out" &
messages=$!
failed=
wait "$store" || failed="$failed 1a-store.sql"
wait "$messages" || failed="$failed 1b-messages.sql"
[ -z "$failed" ] || die "failed:$failed"
ms=$((($(date +%s%N) - start) / 1000000))
cat "$CDP_TMP/store.out" "$CDP_TMP/messages.out"
say "  both       done after $((ms / 1000)).$((ms % 1000 / 100)) seconds"

run_sql 2-see.sql
run_sql 3-understand.sql
run_sql 4-act.sql

say
say "The whole demo took $((SECONDS - began)) seconds."
if [ -n "${KEEP:-}" ] && [ "$KEEP" != 0 ]; then
	keep_tmp
	trap - EXIT
	say
	say "The cluster is still up:"
	say "    psql -h $PGHOST -p $PGPORT -U postgres shop"
	say "To remove it:"
	if is_root; then
		say "    env -C / runuser -u $CDP_OS_USER -- $PGBIN/pg_ctl -D $CDP_TMP/c/data -m fast stop && rm -rf $CDP_TMP"
	else
		say "    $PGBIN/pg_ctl -D $CDP_TMP/c/data -m fast stop && rm -rf $CDP_TMP"
	fi
fi
