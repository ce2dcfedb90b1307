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

# stop LABEL NAME...: all at once, each given its own time by supervisor
stop() {
    local label=$1 name known
    local running=()
    shift

    known=$(states)

    for name in "$@"; do
        case $(state_in "$known" "$name") in
            RUNNING | STARTING | BACKOFF | STOPPING) running+=("$name") ;;
        esac
    done

    [ ${#running[@]} -gt 0 ] || return 0
    step "stop $label" "$LOG/supervisord.log"

    for name in "${running[@]}"; do
        ctl stop "$name" > /dev/null 2>&1 &
    done
    wait

    known=$(states)

    for name in "${running[@]}"; do
        [ "$(state_in "$known" "$name")" != RUNNING ] \
            || step_fail "$name does not stop"
        rm -f "$RUN/$name.group" "$RUN/$name.started"
    done

    step_ok
}

stop gateway gateway
stop services opay $services
stop sidecars $(printf 'sidecar-%s\n' $services)
stop engines pgsim kafka consul mariadb

ctl shutdown > /dev/null
until_ok 30 gone || die "supervisord ($pid) does not end"
say "opay is down; data stays in $STATE"
