#!/bin/bash
#
# Supervisor starts every program through this:
#
#   run.sh NAME RUNDIR COMMAND [ARG ...]
#
# A process that was killed with -9 can leave children that hold its ports
# (nginx workers do).  Supervisor makes each program a process group; the
# group's id is kept in RUNDIR/NAME.group, and what is left of the previous
# one is ended here before the next takes its place.  Without a command it
# only does that.

set -u

name=$1 run=$2
shift 2

file=$run/$name.group
boot=$(cat /proc/sys/kernel/random/boot_id)
comm=${1:-}
comm=${comm##*/}
comm=${comm:0:15}

members() {
    local pid

    for pid in $(pgrep -g "$1"); do
        [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$2" ] && echo "$pid"
    done
}

if [ -f "$file" ] && read -r old_boot old_group old_comm < "$file" \
   && [ "$old_boot" = "$boot" ]
then
    left=$(members "$old_group" "$old_comm")

    if [ -n "$left" ]; then
        echo "run.sh: $name: ending what is left of the last run:" $left >&2
        sig=TERM
        [ "$old_comm" != nginx ] || sig=QUIT
        kill -$sig $left 2> /dev/null

        for _ in $(seq 30); do
            [ -n "$(members "$old_group" "$old_comm")" ] || break
            sleep 0.1
        done

        left=$(members "$old_group" "$old_comm")
        [ -z "$left" ] || kill -KILL $left 2> /dev/null
    fi
fi

echo "$boot $$ $comm" > "$file"

[ $# -gt 0 ] || { rm -f "$file"; exit 0; }
exec "$@"
