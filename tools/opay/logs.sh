#!/bin/bash
#
# ./opay logs [NAME] [-n LINES] [--no-follow]

. "$(dirname "$0")/lib.sh"

name= lines=20 follow=-F

while [ $# -gt 0 ]; do
    case $1 in
        -n)          lines=${2:?-n takes a number}; shift ;;
        --no-follow) follow= ;;
        -*)          die "usage: opay logs [NAME] [-n LINES] [--no-follow]" ;;
        *)           name=$1 ;;
    esac
    shift
done

if [ -n "$name" ]; then
    files=()
    for file in "$LOG/$name.log" "$LOG/$name.access.log"; do
        [ -f "$file" ] && files+=("$file")
    done
    [ ${#files[@]} -gt 0 ] || die "no log of \"$name\"; there are:" \
        $(programs)
else
    files=()
    for one in $(programs); do
        [ -f "$LOG/$one.log" ] && files+=("$LOG/$one.log")
    done
    [ ${#files[@]} -gt 0 ] || die "no logs in $LOG"
fi

exec tail -n "$lines" $follow "${files[@]}"
