#!/usr/bin/env bash
# Runs all Go tests: with the race detector where it is affordable, without it
# where most of the time is spent in compiled WASM or in other processes. Goes on
# after a failure, and ends with a summary. With CI=true no result is taken from
# go's test cache.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=(-timeout 20m -vet=off -p 1) # make test vets before
if [ "${CI:-}" = true ]; then
    flags+=(-count=1)
fi

# By the path below the module. Everything else is tested plainly: it has no
# goroutines, or the detector finds nothing new there.
race='^(sdk|sdk/(guest|manifest)(/.*)?|cdc|cdc/(binlogfile|cdctest|schema)|cdc/mysql(/(assemble|definition|examine|replica|scan))?|state(/.*)?|runtime/(admin|config|format|natsd|sink|telemetry)(/.*)?|internal/(budget|fault|kindsgen|testserver|tidy|unit))$'
# These are tested in both ways: in full plainly, and their short form, which has
# less of the same, with the race detector, without the tests of one goroutine.
twice='^(cdc/snapshot|runtime/(pipeline|sink/chain|wasm))$'
alone='^Test(BrokenCompiler|CompileBomb|EachCapabilityIsGranted|FuelIsTheSameEachTime|InstantiateRefuses|KV|KVLimits|LargeValuesAreRead|NoGuestRunsLong|WhatHasNoSnapshot)$'
# Of these the tests that move much data, or compare much, are run plainly, and all
# others with the race detector.
split='^cdc/mysql(/scan)?$'
data='^Test(Bounds|Conform|CopyGiantRows|Keys|LargeTransaction|LargeValues|Matrix|Model|OddTables|RandomWorkload|Replayed|RowLarge|Split|Understood|UnderstoodRecorded)$'
# What takes minutes is a job of its own; all others are two jobs, RACING and
# PLAIN. They begin in this order: the longest first, so that no core is left with
# nothing to do at the end.
order=(cdc/mysql RACING internal/oracle cmd/cdcd runtime/sink/jetstream PLAIN cdc/mysql/scan runtime/wasm runtime runtime/pipeline cdc/snapshot runtime/sink/chain)

module=$(go list -m)
paths=$(go list ./... | sed "s#^$module/##")
others=$(grep -vxF "$(printf '%s\n' "${order[@]}")" <<<"$paths")
if command -v "$(go env CC)" >/dev/null; then
    detector=-race
else
    echo "*** no C compiler: testing WITHOUT the race detector" >&2
    detector=
    twice='^$'
    split='^$'
fi
# here puts ./ before each path, all on one line.
here() { sed 's#^#./#' | tr '\n' ' '; }
# jobs prints a line for each job: what go test gets.
jobs() {
    local path
    for path in "${order[@]}"; do
        if [ "$path" = RACING ]; then
            echo "$detector $(grep -E "$race" <<<"$others" | here)"
        elif [ "$path" = PLAIN ]; then
            grep -vE "$race" <<<"$others" | here
            echo
        elif grep -qE "$twice" <<<"$path"; then
            echo "$detector -short -skip '$alone' ./$path"
            echo "./$path"
        elif grep -qE "$split" <<<"$path"; then
            echo "$detector -skip '$data' ./$path"
            echo "-run '$data' ./$path"
        elif grep -qE "$race" <<<"$path"; then
            echo "$detector ./$path"
        else
            echo "./$path"
        fi
    done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
begun=$SECONDS
failed=0
# What several jobs need is built once, before they begin.
go build $detector $(grep -E "$race" <<<"$paths" | here) || failed=1
# Three jobs at a time, also on two cores: most tests wait for servers.
jobs | sed 's/ *$//' | xargs -P 3 -L 1 go test "${flags[@]}" 2>&1 | tee -a "$log" | { grep --line-buffered -v 'no test files' || true; } || failed=1

printf '\n== Summary after %d min %02d s\n' $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60))
awk '/^ok / {ok++; took[$2] += $3} /^FAIL\t/ || /^FAIL: / {bad[$2 " " $3]} /^--- FAIL: / {tests[$3]}
END {
    printf "%d packages passed\n", ok
    for (p in bad) printf "FAILED  %s\n", p
    for (t in tests) printf "        %s\n", t
    for (p in took) printf "%8.1f s  %s\n", took[p], p | "sort -rn | head -8"
}' "$log"
if [ "$failed" = 0 ]; then
    echo "PASS"
else
    echo "FAIL"
fi
exit "$failed"
