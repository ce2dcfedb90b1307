#!/bin/bash
#
# End to end: a stack of its own, on ports and state of its own; up, demo,
# verify, what must be quick and harmless, down and up again, and every
# program of t/e2e and t/faults, which prints "ok ..." and "not ok ..." lines and finds
# OPAY_STATE and OPAY_PORT_OFFSET in its environment.
# Ends with "e2e: N passed, N failed".

set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${OPAY_BUILD:-$root/build}
parts=${OPAY_PARTS:-${OPAY_STATE:-$root/.opay}/parts}
logs=$out/test/e2e-logs

unset OPAY_KAFKA OPAY_CONSUL OPAY_MYSQL
export OPAY_PARTS=$parts
export OPAY_STATE=$out/test/e2e
export OPAY_PORT_OFFSET=${OPAY_E2E_PORT_OFFSET:-13000}
export OPAY_IP_RATE=5000 OPAY_IP_BURST=5000

passed=0 failed=0
cd "$root" || exit 1
mkdir -p "$logs"

# is NAME COMMAND...
is() {
    local name=$1 log
    log=$logs/$((passed + failed + 1)).log
    shift

    if "$@" > "$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "not ok $name"
        tail -30 "$log" | sed 's/^/# /'
    fi
}

not() { ! "$@"; }

within() {
    local end=$((SECONDS + $1))
    shift
    "$@" && [ $SECONDS -le $end ]
}

each() {
    local t=$1 log=$logs/${1##*/}.log rc ok no

    timeout 600 "$t" > "$log" 2>&1
    rc=$?
    ok=$(grep -cE '^ok\b' "$log")
    no=$(grep -cE '^not ok\b' "$log")

    if [ $rc -ne 0 ] && [ "$no" -eq 0 ] || [ $((ok + no)) -eq 0 ]; then
        no=$((no + 1))
    fi

    passed=$((passed + ok))
    failed=$((failed + no))
    echo "$t: $ok ok, $no not ok"
    [ "$no" -eq 0 ] || { grep -A5 '^not ok' "$log" | head -40
                         tail -5 "$log"; }
}

finish() { ./opay reset --yes > /dev/null 2>&1; }
trap finish EXIT

./opay reset --yes > /dev/null 2>&1

is "up from nothing" ./opay up
is "status is well" ./opay status
is "the demo's story" ./opay demo
is "verify is clean" ./opay verify
is "a second up is quick" within 30 ./opay up

for t in t/e2e/* t/faults/*; do
    [ -f "$t" ] && [ -x "$t" ] && each "$t"
done

is "down" ./opay down
is "status says that nothing runs" not ./opay status
is "up again" ./opay up
is "the data is still there" ./opay verify
is "the story again" ./opay demo

# whatever dies
kill_all() {
    local pids

    pids=$(cat "$OPAY_STATE/run/supervisord.pid"
           awk '{ print $2 }' "$OPAY_STATE"/run/*.group)
    kill -9 $pids
}
is "everything is killed with -9" kill_all
is "up after that" ./opay up
is "verify after that" ./opay verify
is "the story after that" ./opay demo

# nothing broken may be in the logs of a clean story
alerts() {
    ! grep -hE '\[(alert|emerg)\]' "$OPAY_STATE"/log/*.log | head
}
is "no [alert] and no [emerg] in the logs" alerts
is "reset" ./opay reset --yes

echo "e2e: $passed passed, $failed failed"
[ $failed -eq 0 ]
