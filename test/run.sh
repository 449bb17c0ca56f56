#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the tests, or a part of them, and sums them up.  Called by ./evum test.
#
# usage: run.sh [c | lint | prop | eunit | ct [SUITE]]
# Of all, what has times to keep goes first, and beside it, with what CPU it leaves,
# what has none: lint, properties and fuzzers. The suites go two ways side by side.
#
# Every runner reports by junit file, so that what is counted is what ran; a
# runner that failed without a failed case, or ran no case, counts as one
# failure.  The last line is "N passed, N failed"; above it each failure is named,
# since of a build server's log often only the end is kept.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
build=_build
reports=$PWD/$build/reports
sanitized=$build/cmake-sanitize
passed=0
failed=0
skipped=0
part=${1:-all}
suite=${2:-}

started=$(date +%s)

title() { printf '\n==> %s (after %s s)\n' "$*" "$(($(date +%s) - started))"; }

# count PASSED FAILED SKIPPED NAME
count() {
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
	[ "$2" = 0 ] || printf 'FAILED: %s: %s\n' "$4" "$2"
}

# keep COMMAND...: runs it, and keeps what it says in $said
said=$reports/$part${suite:+-$suite}.said
keep() {
	echo 0 >"$said.status"
	{ "$@" 2>&1 || echo $? >"$said.status"; } | tee "$said"
	return "$(cat "$said.status")"
}

# blame NAME [WHY]: what failed, to be named at the end, with the last that was said
blame() {
	echo "$1"
	[ ! -s "$said" ] || tail -n 8 "$said" | sed 's/^/    /'
} >>"$said.failed"

# check NAME COMMAND...: one case, a command that succeeds
check() {
	name=$1
	shift
	title "$name"
	if keep "$@"; then
		count 1 0 0 "$name"
	else
		count 0 1 0 "$name"
		blame "$name"
	fi
}

# attributes FILE...: sums of the testsuite elements: tests failures+errors skipped
attributes() {
	cat "$@" 2>/dev/null | tr '\n\t' '  ' | grep -o '<testsuite [^>]*>' | awk '
		function value(name) {
			if (!match($0, " " name "=\"[0-9]+\""))
				return 0
			return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
		}
		{ tests += value("tests"); bad += value("failures") + value("errors")
		  skipped += value("skipped") + value("disabled") }
		END { print tests + 0, bad + 0, skipped + 0 }'
}

# junit NAME STATUS FILE...: counts what a runner has reported
junit() {
	name=$1
	status=$2
	shift 2
	cat "$@" 2>/dev/null | LC_ALL=C awk -v runner="$name" -f test/failed.awk >>"$said.failed"
	# shellcheck disable=SC2046 # three numbers
	set -- $(attributes "$@")
	count $(($1 - $2 - $3)) "$2" "$3" "$name"
	printf '%s: %s cases, %s failed, %s skipped\n' "$name" "$1" "$2" "$3"
	if [ "$1" = 0 ]; then
		count 0 1 0 "$name ran nothing"
		blame "$name ran nothing"
	elif [ "$status" != 0 ] && [ "$2" = 0 ]; then
		count 0 1 0 "$name ended with status $status"
		blame "$name ended with status $status"
	fi
}

# --- the parts -------------------------------------------------------------

c_sources() { find c_src include examples test/c test/fixture -name '*.[ch]' 2>/dev/null | sort; }

sanitize_build() {
	cmake -S . -B "$sanitized" -DEVUM_SANITIZE=ON -DEVUM_TESTS=ON -DCMAKE_BUILD_TYPE=Debug \
		--log-level=WARNING >"$reports/cmake.log" 2>&1 &&
		cmake --build "$sanitized" -j 2 >>"$reports/cmake.log" 2>&1 && return
	cat "$reports/cmake.log"
	return 1
}

fuzz_build() {
	cmake -S . -B "$build/cmake-fuzz" -DCMAKE_C_COMPILER=clang -DEVUM_FUZZ=ON -DEVUM_WERROR=OFF \
		--log-level=WARNING >"$reports/fuzz.log" 2>&1 &&
		cmake --build "$build/cmake-fuzz" -j 2 >>"$reports/fuzz.log" 2>&1 && return
	cat "$reports/fuzz.log"
	return 1
}

format() { c_sources | xargs clang-format --dry-run -Werror; }

tidy() {
	find c_src test/c -name '*.c' | sort | xargs -P 2 -n 4 clang-tidy -p "$sanitized" --quiet \
		>"$reports/tidy.log" 2>/dev/null && return
	cat "$reports/tidy.log"
	return 1
}

# missingIncludeSystem: cppcheck knows the system's functions by its own tables
# ctuuninitvar: it takes a structure that a function fills for one that it reads
cpp() {
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --language=c --force \
		--enable=warning,performance,portability \
		--suppress=missingIncludeSystem --suppress=ctuuninitvar -D_GNU_SOURCE -D__x86_64__ -I include -I c_src \
		-I c_src/port -I c_src/init -I c_src/attach -I test/c c_src test/c
}

shell_scripts() { shellcheck evum .ci/run cmake/*.sh examples/*.sh test/*.sh examples/*/c_src/*.sh; }

lint_c() {
	check "clang-format" format
	check "shellcheck" shell_scripts
	check "cppcheck" cpp
	check "clang-tidy" tidy
}

lint_erlang() {
	check "xref" rebar3 xref
	check "dialyzer" rebar3 dialyzer
}

lint() {
	check "C compiles, warnings are errors, with ASan and UBSan" sanitize_build
	lint_c
	lint_erlang
}

ctests() {
	title "CTest under ASan and UBSan"
	keep sanitize_build || {
		count 0 1 0 "the sanitized build"
		blame "the sanitized build"
		return 0
	}
	status=0
	keep env UBSAN_OPTIONS=print_stacktrace=1 ctest --test-dir "$sanitized" -j 2 --output-on-failure \
		--output-junit "$reports/ctest.xml" || status=$?
	junit ctest "$status" "$reports/ctest.xml"
	check "the installed library" sh test/install.sh "$build/cmake"
}

fuzz() {
	check "fuzzers build" fuzz_build || return 0
	title "fuzzers, 5 s each"
	status=0
	keep ctest --test-dir "$build/cmake-fuzz" -j 2 --output-on-failure --output-junit "$reports/fuzz.xml" ||
		status=$?
	junit fuzz "$status" "$reports/fuzz.xml"
}

c() {
	ctests
	fuzz
}

# From a build of their own: what else is compiled meanwhile is none of theirs.
prop() {
	title "PropEr"
	status=0
	rm -rf "$build/prop"
	mkdir -p "$build/prop"
	find test -maxdepth 1 -name '*.erl' ! -name '*_SUITE.erl' ! -name '*_tests.erl' \
		-exec erlc -o "$build/prop" {} + &&
		keep escript test/props.escript "$reports/prop.xml" "$build/default/lib/evum/ebin" "$build/prop" ||
		status=$?
	junit prop "$status" "$reports/prop.xml"
}

eunit() {
	title "EUnit"
	status=0
	rm -rf "$build/test/eunit"
	mkdir -p "$build/test/eunit"
	keep rebar3 eunit || status=$?
	junit eunit "$status" "$build"/test/eunit/TEST-*.xml
}

# A way has what goes by names that all of a host's Erlang nodes share (its epmd), what
# calls rebar3, and networks; the other one has the other suites.
first_suites="cluster ctl examples files flow gateway hostnode lifecycle net node owner_dies proc
	readme release relx rules run switch uplink user"

ct() {
	rm -rf "$build/test/logs"
	if [ -n "$suite" ]; then
		title "Common Test"
		status=0
		keep rebar3 ct --verbose --suite "test/${suite%_SUITE}_SUITE" || status=$?
		junit ct "$status" "$build"/test/logs/ct_run*/junit_report.xml
		return
	fi
	title "Common Test, two ways"
	keep rebar3 ct --compile_only || {
		count 0 1 0 "compiling the suites"
		blame "compiling the suites"
		return 0
	}
	start_way suites1 0 suites1
	start_way suites2 0 suites2
	end_way suites1
	end_way suites2
}

# The suites there are, that are (yes) or aren't (no) the first way's.
suites_of() { # suites_of YES_OR_NO
	for each in test/*_SUITE.erl; do
		each=$(basename "$each" .erl)
		first=no
		for name in $first_suites; do [ "$each" != "${name}_SUITE" ] || first=yes; done
		[ "$first" != "$1" ] || echo "$each"
	done
}

suites() { # suites NAME SUITE...
	logs=$build/test/logs/$1
	shift
	status=0
	keep escript test/suites.escript "$logs" "$build/test/lib/evum" "$@" || status=$?
	junit "ct" "$status" "$logs"/ct_run*/junit_report.xml
}

# shellcheck disable=SC2046 # names without blanks
suites1() { suites first $(suites_of yes); }
# shellcheck disable=SC2046
suites2() { suites second $(suites_of no); }

# --- beside the rest --------------------------------------------------------

# A way of its own: parts that run in a session of their own, since the kernel
# shares the CPU out by session first.
start_way() { # start_way NAME NICE PART...
	way=$1 nice=$2
	shift 2
	setsid sh "$PWD/test/run.sh" way "$way" "$nice" "$@" </dev/null >"$reports/$way.log" 2>&1 &
	eval "way_$way=$!"
	ways="${ways:-} $!"
}

run_way() { # run_way NAME NICE PART...
	way=$1
	renice -n "$2" $$ >/dev/null
	(echo "$2" >/proc/self/autogroup) 2>/dev/null || :
	shift 2
	for each; do "$each"; done
	echo "$passed $failed $skipped" >"$reports/$way.counts"
}

# Its end, what it said, and what it counted
end_way() { # end_way NAME
	eval "pid=\$way_$1"
	wait "$pid" || :
	ways=$(echo " $ways " | sed "s/ $pid / /")
	cat "$reports/$1.log"
	if [ -s "$reports/$1.counts" ]; then
		read -r p f s <"$reports/$1.counts"
		passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	else
		count 0 1 0 "what ran beside as $1 had no end"
		said=$reports/$1.log
		blame "what ran beside as $1 had no end"
	fi
}

stop_ways() {
	for pid in ${ways:-}; do kill -- "-$pid" 2>/dev/null || :; done
}

all() {
	# rebar3 builds for all: one call of it after the other
	start_way erlang 0 lint_erlang eunit
	check "C compiles, warnings are errors, with ASan and UBSan" sanitize_build
	start_way rest 19 lint_c prop fuzz
	ctests
	end_way erlang
	ct
	end_way rest
}

# --- nothing is left -------------------------------------------------------

# Machines that others run meanwhile are no concern of ours: what this run starts
# has the mark in its environment.
: "${EVUM_TEST_RUN:=$$.$(date +%s)}"
export EVUM_TEST_RUN

marked() { # marked PID
	tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -qx "EVUM_TEST_RUN=$EVUM_TEST_RUN"
}

# A kernel has an environment of its own: whose it is tells the port program
# above it.  One with none above is left over, whoever started it.
is_ours() { # is_ours PID
	pid=$1
	while [ "$pid" -gt 1 ] 2>/dev/null; do
		! marked "$pid" || return 0
		case $(cat "/proc/$pid/comm" 2>/dev/null) in
		evum* | beam.smp) return 1 ;;
		esac
		pid=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat" 2>/dev/null)
	done
	[ -e "/proc/$1" ]
}

# What a machine consists of, as seen from outside.  A run directory whose lock
# is held belongs to a process, which is listed itself.
ours() {
	ps -e -o pid=,comm=,args= | awk '$2 ~ /^(evum[_-]|beam.smp)/ || $0 ~ /[ ]con15=fd:/ {print $1, $2}' |
		while read -r pid name; do
			! is_ours "$pid" || echo "process $pid $name"
		done
	awk '$NF ~ /^@evum\// {print $NF}' /proc/net/unix | while read -r address; do
		! marked "${address##*/}" || echo "socket $address"
	done
	find "${TMPDIR:-/tmp}" /tmp /dev/shm -maxdepth 1 -name 'evum-*' -user "$(id -u)" 2>/dev/null |
		while read -r file; do
			[ -e "$file/lock" ] && ! flock -n "$file/lock" true || echo "file $file"
		done
}

nothing_left() {
	# what was killed may take a moment to go
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		ours | sort -u >"$reports/after"
		comm -13 "$reports/before" "$reports/after" >"$reports/left"
		[ -s "$reports/left" ] || return 0
		sleep 0.1
	done
	cat "$reports/left"
	return 1
}

# Each failed case and check; the names alone where there are many
name_failed() {
	cat "$reports"/*.failed >"$reports/failed" 2>/dev/null || :
	[ -s "$reports/failed" ] || return 0
	printf '\nfailed:\n'
	if [ "$(wc -l <"$reports/failed")" -gt 40 ]; then
		grep -v '^ ' "$reports/failed" | head -n 40
		echo "(reasons, and more: $build/reports/failed)"
	else
		cat "$reports/failed"
	fi | sed 's/\x1b\[[0-9;]*m//g' | tr -d '\r' | cut -c 1-200
}

# ---------------------------------------------------------------------------

if [ "$part" = way ]; then
	shift
	run_way "$@"
	exit
fi
trap stop_ways EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$reports"
mkdir -p "$reports"
ours | sort -u >"$reports/before"
case $part in
all | lint | c | prop | eunit | ct) "$part" ;;
*)
	echo "usage: ./evum test [c | lint | prop | eunit | ct [SUITE]]" >&2
	exit 2
	;;
esac
check "no process, socket or directory is left" nothing_left
[ "$skipped" = 0 ] || printf '\n%s skipped\n' "$skipped"
printf '\nin %s s\n' "$(($(date +%s) - started))"
name_failed
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
