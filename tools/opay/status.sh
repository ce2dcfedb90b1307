#!/bin/bash
#
# ./opay status: each process, its health, its version.  Non-zero exit when
# one is not well.

. "$(dirname "$0")/lib.sh"

version_of() {
    case $1 in
        mariadb) mysql_cmd -N -e 'SELECT VERSION()' 2> /dev/null ;;
        consul)  fetch "http://$consul/v1/agent/self" | jq -r .Config.Version ;;
        kafka)
            if [ "$(cat "$DATA/kafka.kind" 2> /dev/null)" = kafka-dev ]; then
                echo "kafka-dev (in memory)"
            else
                ls "$PARTS"/kafka/kafka-server-[0-9]*.jar 2> /dev/null \
                    | sed 's/.*kafka-server-\(.*\)\.jar/\1/' | head -1
            fi ;;
        pgsim) "$OUT/bin/pgsim" --version 2> /dev/null \
                   | grep -o '[0-9][0-9.]*' | head -1 ;;
        sidecar-*) "$OUT/bin/opay-sidecar" -v 2> /dev/null \
                       | grep -o '[0-9][0-9.]*' | head -1 ;;
        *) { nginx -v 2>&1 | sed 's|.*nginx/\([0-9.]*\).*|nginx \1,|'
             sed -n 's/^#define NGX_OPAY_VERSION *"\(.*\)"/opay \1/p' \
                 "$OPAY_ROOT/ngx_opay_core/ngx_opay_core.h"; } \
               | paste -sd' ' ;;
    esac
}

rss_of() {
    local group

    read -r _ group _ < "$RUN/$1.group" 2> /dev/null || return 0
    pgrep -g "$group" \
        | xargs -r ps -o rss= -p 2> /dev/null | awk '
            { s += $1 } END { printf "%.1f", s / 1024 }'
}

supervised || die "opay is not running (state: $STATE); ./opay up starts it"

rc=0
printf '%-16s %-9s %-8s %-22s %8s  %-7s %s\n' PROCESS STATE PID UPTIME \
    'RSS MB' HEALTH VERSION

for name in $(programs); do
    read -r _ state _ pid _ uptime < <(ctl status "$name" || true) || true
    pid=${pid%,}
    uptime=${uptime#uptime }

    if [ "$state" != RUNNING ]; then
        printf '%-16s %-9s\n' "$name" "$state"
        rc=1
        continue
    fi

    if ready "$name"; then
        health=ok
    else
        health=NOT-OK
        rc=1
    fi

    printf '%-16s %-9s %-8s %-22s %8s  %-7s %s\n' "$name" "$state" "$pid" \
        "$uptime" "$(rss_of "$name")" "$health" "$(version_of "$name")"
done

say
say "gateway $gateway   state $STATE"
exit $rc
