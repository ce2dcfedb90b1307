#!/bin/bash
#
# Builds and runs the unit tests of t/unit (cmocka), each file one program.
#
#   tools/unit.sh [--asan] [name ...]       name: a file of t/unit, without .c
#
# Ends with "unit: N passed, N failed"; non-zero when any failed or crashed.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${OPAY_BUILD:-$root/build}
flags=() names=()
variant=plain

for arg in "$@"; do
    case $arg in
        --asan) variant=asan ;;
        --*)    flags+=("$arg") ;;
        *)      names+=("$arg") ;;
    esac
done

cflags="-g -O1 -Wall -Wextra -Werror -fPIC"
ldflags=
out=$out/unit-plain

if [ $variant = asan ]; then
    out=${out%-plain}-asan
    cflags="$cflags -fno-omit-frame-pointer -fsanitize=address,undefined"
    cflags="$cflags -fno-sanitize-recover=undefined"
    ldflags=-fsanitize=address,undefined
fi

mysql_config=$(command -v mariadb_config || command -v mysql_config)
make_() {
    make -k -s -j"${JOBS:-$(nproc)}" -C "$root" -f tools/programs.mk \
        OUT="$out" CC="${CC:-gcc}" OPT="$cflags ${CFLAGS-}" \
        LDOPT="$ldflags" MYSQL_INCS="$("$mysql_config" --include)" \
        MYSQL_LIBS="$("$mysql_config" --libs)" "$@"
}

mkdir -p "$out"
exec 9> "$out/.lock"
flock 9
rc=0 passed=0 failed=0

if [ ${#names[@]} -gt 0 ]; then
    make_ "${names[@]/#/$out/unit/}" || rc=1
else
    make_ unit || rc=1

    for src in $(grep -l '^main\>' "$root"/t/unit/*.c || true); do
        names+=("$(basename "$src" .c)")
    done
fi

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1

for name in "${names[@]}"; do
    bin=$out/unit/$name
    log=$out/$name.log

    if [ ! -x "$bin" ]; then
        echo "FAIL $name: not built"
        failed=$((failed + 1))
        continue
    fi

    st=0
    (cd "$root" && timeout 300 "$bin") > "$log" 2>&1 || st=$?

    ok=$(grep -c '^\[       OK \]' "$log" || true)
    no=$(grep -Ec '^\[  FAILED  \] [A-Za-z_0-9]+( \(.*\))?$' "$log" || true)

    # cmocka lists each failed test twice
    bad=$(sed -nE 's/^\[  FAILED  \] ([A-Za-z_0-9]+)$/\1/p' "$log" \
          | sort -u | wc -l)
    [ "$bad" -gt 0 ] && no=$bad

    # a crash, a sanitizer report, or a failed fixture is a failure too
    if [ $st -ne 0 ] && [ "$no" -eq 0 ]; then
        no=1
    fi

    [ $((ok + no)) -gt 0 ] || { no=1; echo "FAIL $name: ran no test"; }

    passed=$((passed + ok))
    failed=$((failed + no))

    if [ "$no" -gt 0 ]; then
        echo "FAIL $name (exit $st)"
        grep -v '^\[ RUN \|^\[       OK' "$log" | tail -40
    else
        echo "ok   $name ($ok)"
    fi
done

echo "unit $variant: $passed passed, $failed failed"
[ $rc -eq 0 ] && [ $failed -eq 0 ]
