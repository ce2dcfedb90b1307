#!/bin/bash
#
# pgsim, the payment service against it, the sidecar on a database and a broker
# of its own, and the fuzzers' seeds.  Ends with "programs: N passed, N failed".

set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${OPAY_BUILD:-$root/build}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0

add() {
    echo "$1: $2 passed, $3 failed"
    passed=$((passed + $2))
    failed=$((failed + $3))
    [ "$3" -eq 0 ] || tail -40 "$log"
}

cd "$root" || exit 1

# pgsim: python's unittest
PGSIM=$out/bin/pgsim PGSIM_PORT=18600 timeout 300 python3 t/pgsim/test_pgsim.py -v > "$log" 2>&1
rc=$?
ok=$(grep -cE '\.\.\. ok$' "$log")
no=$(grep -cE '\.\.\. (FAIL|ERROR)$' "$log")
[ $rc -eq 0 ] || [ "$no" -gt 0 ] || no=1
add pgsim "$ok" "$no"

# the payment service on a database of its own and pgsim
OPAY_TEST_PORT=18700 timeout 400 tools/with-db.sh python3 t/payment/test_payment.py -v > "$log" 2>&1
rc=$?
ok=$(grep -cE '\.\.\. ok$' "$log")
no=$(grep -cE '\.\.\. (FAIL|ERROR)$' "$log")
[ $rc -eq 0 ] || [ "$no" -gt 0 ] || no=1
add payment "$ok" "$no"

# sidecar: ok / not ok
for t in t/sidecar/*.py; do
    [ "$t" != t/sidecar/harness.py ] || continue

    OPAY_TEST_PORT=18500 timeout 400 python3 "$t" > "$log" 2>&1
    rc=$?
    ok=$(grep -cE '^ok ' "$log")
    no=$(grep -cE '^not ok ' "$log")
    [ $rc -eq 0 ] || [ "$no" -gt 0 ] || no=1
    add "$t" "$ok" "$no"
done

# fuzzers: every seed, under the sanitizers
make -s -C t/fuzz replay > "$log" 2>&1
rc=$?
ok=$(grep -cE '^[a-z_]+: ' "$log")
no=0
[ $rc -eq 0 ] || no=1
add fuzz "$((ok - no))" "$no"

echo "programs: $passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
