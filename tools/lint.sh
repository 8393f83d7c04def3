#!/bin/bash
# The rules of the house, one line a check: ok, or not ok with the places. Exit status 1 when one is broken.
# Environment: CDP_SO, a library built from this tree (made in a temporary directory when not given).

top=$(cd "$(dirname "$0")/.." && pwd)
status=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# report NAME: passes when stdin is empty, else shows it
report()
{
	local lines

	lines=$(cat)
	if [ -z "$lines" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		printf '%s\n' "$lines" | head -n 30 | sed 's/^/#   /'
		status=1
	fi
}

# Exported symbols: our prefix, and what the server looks for.
so=${CDP_SO:-$tmp/cdp.so}
if [ -n "$CDP_SO" ] || make -s -C "$tmp" -f "$top/Makefile" MAKEFLAGS= all > "$tmp/log" 2>&1; then
	symbols=$(nm -D --defined-only "$so" | awk '{ print $3 }')
	if printf '%s\n' "$symbols" | grep -q '^Pg_magic_func$'; then
		printf '%s\n' "$symbols" | grep -vE '^(cdp_[a-z0-9_]+|Cdp[A-Za-z0-9]+|pg_finfo_cdp_[a-z0-9_]+|Pg_magic_func|_PG_init)$' |
			report "exported symbols start with cdp_"
	else
		echo "no symbols in $so" | report "exported symbols start with cdp_"
	fi
else
	tail -n 20 "$tmp/log" | report "exported symbols start with cdp_ (build failed)"
fi

"$top/tools/format.sh" --check > "$tmp/format" 2>&1
case $? in
	0) echo "ok - C is formatted" ;;
	3) echo "ok - C is formatted # SKIP no clang-format-14" ;;
	*) grep -E 'error|warning' "$tmp/format" | sed "s,^$top/,," | { cat; echo 'run: make format'; } | report "C is formatted" ;;
esac

perl "$top/tools/lint_rules.pl" "$top" || status=1

exit $status
