#!/bin/bash
#
# ./opay down: stops everything, in the reverse order of start; requests under
# way are finished.

. "$(dirname "$0")/lib.sh"

if ! supervised; then
    left=0

    for file in "$RUN"/*.group; do
        [ -f "$file" ] || continue
        left=1
        "$OPAY_ROOT/tools/opay/run.sh" "$(basename "$file" .group)" "$RUN"
    done

    [ $left -eq 1 ] && say "opay: ended what was left" \
                    || say "opay is not running ($STATE)"
    exit 0
fi

pid=$(ctl pid)
gone() { ! kill -0 "$pid" 2> /dev/null; }
stopped() { [ "$(state_of "$1")" != STOPPING ] \
            && [ "$(state_of "$1")" != RUNNING ]; }

for name in $(programs | tac); do
    case $(state_of "$name") in
        RUNNING | STARTING | BACKOFF | STOPPING) ;;
        *) continue ;;
    esac

    step "stop $name" "$LOG/$name.log"
    ctl stop "$name" > /dev/null 2>&1 || true
    until_ok 90 stopped "$name" || step_fail
    rm -f "$RUN/$name.group" "$RUN/$name.started"
    step_ok
done

ctl shutdown > /dev/null
until_ok 30 gone || die "supervisord ($pid) does not end"
say "opay is down; data stays in $STATE"
