#!/bin/bash
# All tests: builds, runs every suite, and ends with the line "N passed, N failed[, N skipped]".
#
#   tools/test.sh                         everything
#   SUITES="unit regress" tools/test.sh   only these: build unit fuzz lint regress isolation tap drivers
#   KEEP=1 tools/test.sh                  leaves the working directory for a look
#   TESTS="setup who" SUITES=regress …    only these regression tests (or isolation specs, or t/ files)
#
# Works on a copy of the tree and of PostgreSQL in a fresh directory: the checkout and the system stay as they are.

. "$(dirname "$0")/lib.sh"

if [ -z "$CDP_INNER" ]; then
	# Outer half, perhaps root: a place to work in, and somebody to do it.
	cdp_tmp
	copy_tree "$CDP_TMP/src"
	if [ -n "$KEEP" ]; then
		say "working in $CDP_TMP"
		keep_tmp
	fi
	# In a process group of its own, so that an interrupt can end all of it.
	set -m
	as_pg env CDP_INNER=1 CDP_TMP="$CDP_TMP" SUITES="$SUITES" TESTS="$TESTS" PG_CONFIG="${PG_CONFIG:-pg_config}" \
		"$CDP_TMP/src/tools/test.sh" < /dev/null &
	inner=$!
	set +m
	at_exit "kill -TERM -- -$inner 2> /dev/null"
	wait $inner
	exit
fi

src=$CDP_TMP/src
passed=0 failed=0 skipped=0
suites=${SUITES:-build unit fuzz lint regress isolation tap drivers}
mkdir -p "$CDP_TMP/t"
export TMPDIR=$CDP_TMP/t
cd "$src" || exit 1

add()
{
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	[ "$2" = 0 ] || failing="$failing $suite"
}

wants()
{
	case " $suites " in *" $1 "*) suite=$1; return 0 ;; esac
	return 1
}

# ok STATUS NAME: one point
ok()
{
	if [ "$1" = 0 ]; then
		say "ok - $2"
		add 1 0 0
	else
		say "not ok - $2"
		add 0 1 0
	fi
}

# tap_count FILE STATUS: counts the ok and not ok lines in column one; a bad status without a failure is one.
tap_count()
{
	local p f s

	p=$(grep -aE '^ok .' "$1" | grep -avci '# *skip')
	s=$(grep -aEci '^(ok\b.*# *skip|not ok\b.*# *todo|1\.\.0 *# *skip)' "$1")
	f=$(grep -aE '^not ok .' "$1" | grep -avci '# *todo')
	if [ "$2" != 0 ] && [ "$f" = 0 ]; then
		say "not ok - $suite: ended with status $2"
		f=1
	elif [ "$p$f$s" = 000 ]; then
		say "not ok - $suite: ran no test"
		f=1
	fi
	add "$p" "$f" "$s"
}

# regress_count FILE STATUS EXPECTED: pg_regress speaks TAP since 16, prose before.
regress_count()
{
	local p f

	p=$(grep -aEc '^ok [0-9]|\.\.\. +ok\b' "$1")
	f=$(grep -aEc '^not ok [0-9]|\.\.\. +FAILED\b' "$1")
	if [ $((p + f)) -lt "$3" ]; then
		say "not ok - $suite: $((p + f)) of $3 tests ran"
		f=$((f + $3 - p - f))
	elif [ "$2" != 0 ] && [ "$f" = 0 ]; then
		say "not ok - $suite: ended with status $2"
		f=1
	fi
	add "$p" "$f" 0
}

# listed NAME: the words of a list in the Makefile
listed()
{
	make -s -C "$src" --no-print-directory PG_CONFIG="$PG_CONFIG" print-"$1"
}

mk()
{
	make -s -C "$src" --no-print-directory PG_CONFIG="$PG_CONFIG" "$@"
}

# quiet NAME COMMAND…: a point; its output only when it fails
quiet()
{
	local name=$1

	shift
	if "$@" > "$CDP_TMP/quiet.log" 2>&1 < /dev/null; then
		ok 0 "$name"
	else
		tail -n 60 "$CDP_TMP/quiet.log"
		ok 1 "$name"
		return 1
	fi
}

compile_with()
{
	local dir=$CDP_TMP/build-$1

	mkdir -p "$dir" && make -s -C "$dir" -f "$src/Makefile" PG_CONFIG="$PG_CONFIG" CC="$1" COPT=-Werror all
}

private_pg "$CDP_TMP/pg"

suite=build
if wants build; then
	quiet "builds out of tree with gcc, without a warning" compile_with gcc
	clang=$(command -v clang || command -v clang-14)
	if [ -n "$clang" ]; then
		quiet "builds out of tree with clang, without a warning" compile_with "$clang"
	else
		say "ok - builds with clang # SKIP no clang"
		add 0 0 1
	fi
fi
installed=no
if wants build || wants lint || wants regress || wants isolation || wants tap || wants drivers; then
	suite=build
	quiet "builds and installs" mk install && installed=yes
fi

if wants unit; then
	say "# unit tests of src/core"
	CC=${CC:-gcc} UNIT_BUILD=$CDP_TMP/unit tools/unit/run.sh > "$CDP_TMP/unit.log" 2>&1
	status=$?
	grep -av '^ok' "$CDP_TMP/unit.log"
	tap_count "$CDP_TMP/unit.log" $status
fi

if wants fuzz; then
	say "# fuzzing, ${FUZZ_SECONDS:-5} s a target"
	FUZZ_SECONDS=${FUZZ_SECONDS:-5} UNIT_BUILD=$CDP_TMP/unit tools/unit/run.sh fuzz > "$CDP_TMP/fuzz.log" 2>&1
	status=$?
	cat "$CDP_TMP/fuzz.log"
	tap_count "$CDP_TMP/fuzz.log" $status
fi

if wants lint; then
	say "# lint"
	CDP_SO=$src/cdp.so tools/lint.sh > "$CDP_TMP/lint.log" 2>&1
	status=$?
	cat "$CDP_TMP/lint.log"
	tap_count "$CDP_TMP/lint.log" $status
	quiet "every lint check finds the fault planted for it" tools/lint_selftest.sh
fi

# pg_run SUITE MAKE-VARIABLE OPTS-VARIABLE DIFFS MAKE-ARGUMENTS…
pg_run()
{
	local list=$2 opts=$3 diffs=$4 tests status

	tests=${TESTS:-$(listed "$list")}
	if [ -z "$tests" ]; then
		say "$1: no tests listed"
		ok 1 "$1"
		return
	fi
	shift 4
	mk installcheck "$@" "$list=$tests" \
		"$opts=--temp-instance=$CDP_TMP/i_$list --temp-config=$src/test/temp.conf" > "$CDP_TMP/$list.log" 2>&1 < /dev/null
	status=$?
	grep -aE '^(ok|not ok) |\.\.\. ' "$CDP_TMP/$list.log" | grep -av '^ *ok [0-9]* *- *$'
	regress_count "$CDP_TMP/$list.log" $status "$(set -- $tests; echo $#)"
	if [ $status != 0 ]; then
		if [ -s "$src/$diffs" ]; then
			head -n "${DIFF_LINES:-200}" "$src/$diffs"
		else
			tail -n 30 "$CDP_TMP/$list.log"
		fi
		grep -ahE 'PANIC|was terminated by signal|TRAP:' "$src"/log/postmaster.log "$src"/output_iso/log/postmaster.log \
			2>/dev/null | head -n 5
	fi
}

if [ $installed = yes ]; then
	if wants regress; then
		say "# regression tests"
		pg_run regress REGRESS REGRESS_OPTS regression.diffs ISOLATION= TAP_TESTS=
	fi

	if wants isolation; then
		say "# isolation tests"
		pg_run isolation ISOLATION ISOLATION_OPTS output_iso/regression.diffs REGRESS= TAP_TESTS=
	fi

	if wants tap; then
		say "# TAP tests"
		for t in ${TESTS:-t/*.pl}; do
			t=t/$(basename "$t" .pl).pl
			if [ ! -e "$t" ]; then
				say "not ok - $t: no such file"
				add 0 1 0
				continue
			fi
			mk installcheck REGRESS= ISOLATION= TAP_TESTS=1 PROVE_TESTS="$t" PROVE_FLAGS="-v --nocolor" \
				> "$CDP_TMP/tap.log" 2> "$CDP_TMP/tap.err" < /dev/null
			status=$?
			if [ $status = 0 ]; then
				say "ok - $t ($(grep -ac '^ok .' "$CDP_TMP/tap.log"))"
			else
				say "not ok - $t"
				grep -a '^not ok' "$CDP_TMP/tap.log"
				# the first failure is the cause, the last lines say how it ended
				head -n 20 "$CDP_TMP/tap.err"
				tail -n +21 "$CDP_TMP/tap.err" | tail -n 30
				for log in "$src"/tmp_check/log/*.log; do
					[ -s "$log" ] && say "-- ${log##*/}" && tail -n 15 "$log"
				done
			fi
			tap_count "$CDP_TMP/tap.log" $status
		done
	fi

	if wants drivers && [ -x test/drivers/run.sh ]; then
		say "# drivers"
		test/drivers/run.sh > "$CDP_TMP/drivers.log" 2>&1 < /dev/null
		status=$?
		cat "$CDP_TMP/drivers.log"
		tap_count "$CDP_TMP/drivers.log" $status
	fi
else
	case " $suites " in
		*\ regress\ *|*\ isolation\ *|*\ tap\ *|*\ drivers\ *) say "# not installed: the suites that need a server are left out" ;;
	esac
fi

[ -z "$failing" ] || say "failing: $(printf '%s\n' $failing | sort -u | tr '\n' ' ')"
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
say "$line"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
