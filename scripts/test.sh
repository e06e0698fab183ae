#!/usr/bin/env bash
# Runs all Go tests: with the race detector where it is affordable, without it
# where most of the time is spent in compiled WASM or in other processes. Goes on
# after a failure, and ends with a summary. With CI=true no result is taken from
# go's test cache.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=(-p 2 -timeout 20m)
if [ "${CI:-}" = true ]; then
    flags+=(-count=1)
fi

# By the path below the module. Everything else is tested plainly.
race='^(sdk|sdk/(guest|manifest)(/.*)?|cdc(/.*)?|state(/.*)?|runtime/(admin|config|format|natsd|pipeline|sink|telemetry)(/.*)?|internal/(budget|fault|kindsgen|testserver|tidy|unit))$'
module=$(go list -m)
all=$(go list ./...)
racing=$(sed "s#^$module/##" <<<"$all" | grep -E "$race" | sed 's#^#./#')
plain=$(sed "s#^$module/##" <<<"$all" | grep -vE "$race" | sed 's#^#./#')

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
# run TITLE FLAGS... PACKAGES...
run() {
    printf '\n== %s\n' "$1"
    shift
    # pipefail makes this go's own outcome.
    if ! go test "${flags[@]}" "$@" 2>&1 | tee -a "$log" | { grep -v 'no test files' || true; }; then
        failed=1
    fi
}

begun=$SECONDS
# Unquoted on purpose: these are lists of packages, none of which has a space.
if command -v "$(go env CC)" >/dev/null; then
    run "with the race detector" -race $racing
    run "with the race detector, short: the WASM host" -race -short ./runtime/wasm
else
    echo "*** no C compiler: testing WITHOUT the race detector" >&2
    run "without the race detector" $racing
fi
run "plainly" $plain

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
