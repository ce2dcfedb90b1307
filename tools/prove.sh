#!/bin/bash
#
# Runs Test::Nginx suites in parallel, each file on ports of its own.
#
#   tools/prove.sh [--asan] FILE.t ...
#
# A crash can pass a test, and so can a memory error that nobody looks at:
# the run fails when a sanitizer wrote a report, or an error.log has [alert]
# or [emerg] that its test did not ask for (t/lib sees to that per test; the
# reports are looked for here).
# Ends with "prove: N passed, N failed".

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${OPAY_BUILD:-$root/build}
parts=${OPAY_PARTS:-${OPAY_STATE:-$root/.opay}/parts}
variant=plain
files=()

for arg in "$@"; do
    case $arg in
        --asan) variant=asan ;;
        *)      files+=("$arg") ;;
    esac
done

out=$build/prove-$variant
rm -rf "$out"
mkdir -p "$out"
chmod 777 "$out"

export PERL5LIB=$root/t/lib:$root:$parts/test-nginx/usr/share/perl5:${PERL5LIB-}
export TEST_NGINX_BINARY=${NGINX_BIN:-/usr/sbin/nginx}
export TEST_NGINX_RANDOMIZE=1
export OPAY_ROOT=$root
export OPAY_MODULES=$build/modules
export OPAY_BIN=$build/bin
export OPAY_ASAN=

if [ $variant = asan ]; then
    export OPAY_ASAN=1
    export OPAY_MODULES=$build/asan/modules
    export OPAY_BIN=$build/asan/bin
    TEST_NGINX_LD_PRELOAD="$(gcc -print-file-name=libasan.so)"
    TEST_NGINX_LD_PRELOAD+=" $(gcc -print-file-name=libubsan.so)"
    export TEST_NGINX_LD_PRELOAD
    ASAN_OPTIONS="detect_leaks=0:detect_odr_violation=0"
    export ASAN_OPTIONS+=":log_path=$out/asan"
    export UBSAN_OPTIONS="print_stacktrace=1:log_path=$out/ubsan"
fi

export TEST_NGINX_LOAD_MODULES=
rc=0

# One directory for all servroots, away from the sources.
export TEST_NGINX_SERVROOT=$out/servroot

(cd "$root" && prove --merge -v -j "${JOBS:-$(nproc)}" "${files[@]}") \
    > "$out/log" 2>&1 || rc=1

passed=$(grep -c '^ok ' "$out/log" || true)
failed=$(grep -c '^not ok ' "$out/log" || true)
skipped=$(grep -c '^ok .*# *[sS][kK][iI][pP]' "$out/log" || true)
passed=$((passed - skipped))

if [ $failed -gt 0 ] || [ $rc -ne 0 ]; then
    grep -A14 '^not ok ' "$out/log" | head -120 || true
    grep -A3 '^Bailout' "$out/log" || true
    sed -n '/^Test Summary Report/,$p' "$out/log"
    [ $failed -gt 0 ] || failed=1
fi

# a suite that could not run has not passed
whole=$(grep -E '\.\. skipped: ' "$out/log" || true)

if [ -n "$whole" ]; then
    printf '%s\n' "$whole"
    failed=$((failed + $(wc -l <<< "$whole")))
fi

reports=$(find "$out" -maxdepth 1 \( -name 'asan*' -o -name 'ubsan*' \) -size +0)
reports+=$(grep -nE '^==[0-9]+==ERROR|Sanitizer:|runtime error:' "$out/log" \
           | head -5 || true)

if [ -n "$reports" ]; then
    echo "memory checker reports:"
    printf '%s\n' "$reports" | head
    find "$out" -maxdepth 1 \( -name 'asan*' -o -name 'ubsan*' \) -size +0 \
        | head -3 | xargs -r head -40
    failed=$((failed + 1))
fi

echo "prove $variant: $passed passed, $failed failed"
[ $failed -eq 0 ]
