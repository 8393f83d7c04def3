#!/bin/bash
# Compares src/core/phone.c with Google's libphonenumber over generated numbers (see compare.js).
#
#   tools/phone/compare.sh [NUMBERS [SEED [REGION…]]]     default: 400 numbers a country, seed 1
#   tools/phone/compare.sh table                          no comparison: the plans, for docs/normalise.md
#   SHOW=10 tools/phone/compare.sh 400 1 JP KR            ten examples of each kind of difference, two regions only
#
# An oracle for whoever changes the table, not a part of cdp or of its tests: it needs Node.js and npm, and fetches
# the package google-libphonenumber into a temporary directory (or takes the one in $NODE_PATH).
# Exit status 1 if a number became another one.

. "$(dirname "$0")/../lib.sh"

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

${CC:-cc} -std=gnu99 -O2 -I"$CDP_TOP/src" -o "$tmp/filter" "$CDP_TOP/tools/phone/phone_filter.c" \
	"$CDP_TOP/src/core/phone.c" "$CDP_TOP/src/core/phone_table.c" || die "does not compile"
[ "$1" != table ] || { "$tmp/filter" table; exit; }
command -v node > /dev/null || die "needs Node.js"
if ! node -e 'require("google-libphonenumber")' 2> /dev/null; then
	(cd "$tmp" && npm install --no-save --no-audit --no-fund google-libphonenumber > npm.log 2>&1) ||
		{ tail -n 5 "$tmp/npm.log" >&2; die "npm cannot install google-libphonenumber"; }
	export NODE_PATH=$tmp/node_modules
fi
node "$CDP_TOP/tools/phone/compare.js" "$tmp/filter" "$@"
