#!/bin/bash
#
# ./opay test [LEG ...]: lint, unit, unit-asan, db, programs, nginx, db-asan,
# nginx-asan, e2e; all of them without arguments.  The last line counts single
# tests.
#
# The end-to-end leg starts a stack of its own (state and ports apart from a
# running one) and removes it.

. "$(dirname "$0")/lib.sh"

legs=${*:-lint unit unit-asan db programs nginx db-asan nginx-asan e2e}
work=$OUT/test
passed=0 failed=0

export OPAY_PARTS=$PARTS
mkdir -p "$work"

say "== packages and parts"
"$OPAY_ROOT/tools/opay/packages.sh" run build test > "$work/packages.log" 2>&1 \
    || { tail -20 "$work/packages.log"; die "packages are missing"; }
"$OPAY_ROOT/tools/opay/parts.sh" test-nginx
command -v consul > /dev/null || "$OPAY_ROOT/tools/opay/parts.sh" consul

# leg NAME COMMAND...: adds up its last "...: N passed, N failed" line
leg() {
    local name=$1 log=$work/$1.log t0 p f line rc=0
    shift

    case " $legs " in *" $name "*) ;; *) return 0 ;; esac

    say "== $name"
    t0=$(now_ms)
    "$@" 2>&1 | tee "$log" | grep -vE '^(ok|1\.\.)' || true
    rc=${PIPESTATUS[0]}

    line=$(grep -E '[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1 || true)
    p=$(sed -nE 's/.*[^0-9]([0-9]+) passed, .*/\1/p' <<< " $line")
    f=$(sed -nE 's/.* ([0-9]+) failed$/\1/p' <<< "$line")
    p=${p:-0} f=${f:-0}

    # a leg that ended badly without saying so has failed once
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
    fi

    passed=$((passed + p))
    failed=$((failed + f))
    say "   $name: $p passed, $f failed ($((($(now_ms) - t0) / 1000)) s)"
}

build() {
    "$OPAY_ROOT/tools/build.sh" > "$work/build.log" 2>&1 \
        || { tail -30 "$work/build.log"; die "the build failed"; }
}

build_asan() {
    "$OPAY_ROOT/tools/build.sh" --asan > "$work/build-asan.log" 2>&1 \
        || { tail -30 "$work/build-asan.log"; die "the ASan build failed"; }
}

say "== build"
build

leg lint "$OPAY_ROOT/tools/lint.sh"
leg unit "$OPAY_ROOT/tools/unit.sh"
leg unit-asan "$OPAY_ROOT/tools/unit.sh" --asan
leg db "$OPAY_ROOT/t/db/run.sh"
leg programs "$OPAY_ROOT/tools/test-programs.sh"
leg nginx "$OPAY_ROOT/tools/test-nginx.sh"

case " $legs " in
    *" nginx-asan "* | *" db-asan "*)
        say "== build with sanitizers"
        build_asan ;;
esac

leg db-asan "$OPAY_ROOT/t/db/run.sh" --asan
leg nginx-asan "$OPAY_ROOT/tools/test-nginx.sh" --asan
leg e2e "$OPAY_ROOT/tools/test-e2e.sh"

say
say "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
