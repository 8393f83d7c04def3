#!/bin/bash
# Unit tests of src/core/ outside the server.
#
#   tools/unit/run.sh             every tools/unit/*.c, plain and under AddressSanitizer and UBSan
#   tools/unit/run.sh fuzz        every tools/fuzz/*.c and fuzz_*.c under libFuzzer, FUZZ_SECONDS (default 60) each
#
# A test is a program, linked with all of src/core/, that prints TAP (ok/not ok). One that prints none counts as a
# single test by its exit status. A fuzz target defines LLVMFuzzerTestOneInput; corpus/<name>/ beside it,
# when there, is where <name>.c or fuzz_<name>.c starts. Builds go to $UNIT_BUILD (default tools/unit/build).
# Prints TAP lines.

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${UNIT_BUILD:-$top/tools/unit/build}
warn="-std=gnu99 -Wall -Wextra -Wno-unused-parameter -Wmissing-prototypes -Wdeclaration-after-statement -Werror"
status=0
mkdir -p "$build" || exit 1

# The algorithms as the Makefile lists them.
core=$(sed -n 's,^[[:space:]]*\(src/core/[a-z0-9_]*\)\.o.*,\1.c,p' "$top/Makefile" | sed "s,^,$top/,")
[ -n "$core" ] || { echo "not ok - the Makefile lists no core files"; exit 1; }

# run NAME PROGRAM…: passes TAP on, with NAME in front; adds a line when the program dies or says nothing.
run()
{
	local name=$1 out

	shift
	out=$build/$name.out
	"$@" > "$out" 2> "$out.err" < /dev/null
	rc=$?
	sed -n "s/^\(not ok\|ok\) *[0-9]* *-* */\1 - $name: /p" "$out"
	if grep -q '^not ok' "$out"; then
		status=1
		cat "$out.err"
	elif [ $rc != 0 ]; then
		status=1
		echo "not ok - $name: exit status $rc"
		tail -n 40 "$out.err"
	elif ! grep -q '^ok' "$out"; then
		echo "ok - $name"
	fi
}

compile()
{
	local name=$1

	shift
	"$@" > "$build/$name.cc" 2>&1 && return 0
	status=1
	echo "not ok - $name: does not compile"
	head -n 40 "$build/$name.cc"
	return 1
}

if [ "${1:-}" = fuzz ]; then
	clang=$(command -v clang-14 || command -v clang) || { echo "ok - fuzz # SKIP no clang"; exit 0; }
	targets=$(ls "$top"/tools/fuzz/*.c "$top"/tools/unit/fuzz_*.c 2> /dev/null)
	[ -n "$targets" ] || { echo "ok - fuzz # SKIP no targets"; exit 0; }
	for src in $targets; do
		name=$(basename "$src" .c)
		name=fuzz_${name#fuzz_}
		# shellcheck disable=SC2086
		compile "$name" "$clang" $warn -Wno-missing-prototypes -g -O1 -fsanitize=fuzzer,address,undefined \
			-fno-sanitize-recover=all -I"$top/src" -o "$build/$name" "$src" $core -lm || continue
		mkdir -p "$build/corpus/${name#fuzz_}"
		seeds=${src%/*}/corpus/${name#fuzz_}
		[ ! -d "$seeds" ] || cp -n "$seeds"/* "$build/corpus/${name#fuzz_}/"
		run "$name" "$build/$name" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 \
			-artifact_prefix="$build/" -print_final_stats=1 "$build/corpus/${name#fuzz_}"
	done
	exit $status
fi

tests=$(ls "$top"/tools/unit/*.c 2> /dev/null | grep -v "/fuzz_[^/]*$")
[ -n "$tests" ] || { echo "not ok - no unit tests found"; exit 1; }
for src in $tests; do
	name=$(basename "$src" .c)
	# shellcheck disable=SC2086
	compile "$name" ${CC:-gcc} $warn -g -O2 -I"$top/src" -o "$build/$name" "$src" $core -lm &&
		run "$name" "$build/$name"
	# shellcheck disable=SC2086
	compile "$name-sanitized" ${CC:-gcc} $warn -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
		-fno-sanitize-recover=all -I"$top/src" -o "$build/$name-sanitized" "$src" $core -lm &&
		run "$name-sanitized" "$build/$name-sanitized"
done
exit $status
