# Common ground of the ./opay commands; sourced, not run.
# Sets the paths, ports and lists; prints steps; waits with deadlines.

set -euo pipefail

OPAY_ROOT=${OPAY_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
export OPAY_ROOT
export PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

services="auth user order payment"
topics="order-events payment-events user-events auth-events"


say() { printf '%s\n' "$*"; }
warn() { printf 'opay: %s\n' "$*" >&2; }
die() { warn "$@"; exit 1; }


# Settings: environment, then ./opay.env, then what the last `up` used.

settings="OPAY_PORT_OFFSET OPAY_KAFKA OPAY_KAFKA_DEV OPAY_CONSUL OPAY_MYSQL
          OPAY_MYSQL_ADMIN OPAY_LISTEN OPAY_WORKERS OPAY_PARTS OPAY_IP_RATE
          OPAY_IP_BURST OPAY_USER_RATE OPAY_USER_BURST OPAY_LOG_LEVEL OPAY_PROVIDER_URL OPAY_ISSUER
          OPAY_AUDIENCE OPAY_LAYOUT"

load_settings() {
    local file name value

    for file in "$@"; do
        [ -f "$file" ] || continue

        while IFS='=' read -r name value; do
            case $name in
                OPAY_[A-Z]*) ;;
                '' | '#'*)   continue ;;
                *) die "$file: \"$name\" is not a setting of opay" ;;
            esac

            if [ -z "${!name+set}" ]; then
                export "$name=$value"
            fi
        done < "$file"
    done
}

load_settings "$OPAY_ROOT/opay.env"

STATE=${OPAY_STATE:-$OPAY_ROOT/.opay}
case $STATE in /*) ;; *) STATE=$PWD/$STATE ;; esac
STATE=$(realpath -ms "$STATE")
export OPAY_STATE=$STATE

load_settings "$STATE/settings"

offset=${OPAY_PORT_OFFSET:-0}
case $offset in
    *[!0-9]* | '') die "OPAY_PORT_OFFSET=\"$offset\" is not a number" ;;
esac
[ "$offset" -le 55000 ] || die "OPAY_PORT_OFFSET=$offset: 55000 at most"

layout=${OPAY_LAYOUT:-split}
case $layout in
    split | one) ;;
    *) die "OPAY_LAYOUT=\"$layout\": split or one" ;;
esac

OUT=${OPAY_BUILD:-$OPAY_ROOT/build}
PARTS=${OPAY_PARTS:-$STATE/parts}
LOG=$STATE/log
CONF=$STATE/conf
SECRETS=$STATE/secrets
TLS=$STATE/tls
DATA=$STATE/data

# A unix socket's path holds 107 bytes; supervisor adds a suffix of its own.
RUN=$STATE/run
if [ ${#RUN} -gt 70 ]; then
    RUN=/tmp/opay-$(printf %s "$STATE" | sha256sum | cut -c1-12)
fi

port() { echo $(($1 + offset)); }

declare -A ports=(
    [gateway]=$(port 8080) [auth]=$(port 8081) [user]=$(port 8082)
    [order]=$(port 8083) [payment]=$(port 8084) [pgsim]=$(port 8090)
    [gateway-status]=$(port 9180) [auth-status]=$(port 9181)
    [user-status]=$(port 9182) [order-status]=$(port 9183)
    [payment-status]=$(port 9184)
    [sidecar-auth]=$(port 9191) [sidecar-user]=$(port 9192)
    [sidecar-order]=$(port 9193) [sidecar-payment]=$(port 9194)
    [consul]=$(port 8500) [consul-server]=$(port 8300)
    [consul-serf]=$(port 8301)
    [kafka]=$(port 9092) [kafka-controller]=$(port 9093)
)

kafka=${OPAY_KAFKA:-127.0.0.1:${ports[kafka]}}
consul=${OPAY_CONSUL:-127.0.0.1:${ports[consul]}}
gateway=http://127.0.0.1:${ports[gateway]}

mysql_socket=$RUN/mariadb.sock
mysql_admin=$CONF/mysql-admin.cnf


# What runs, in the order of start.

programs() {
    [ -n "${OPAY_MYSQL:-}" ] || echo mariadb
    [ -n "${OPAY_CONSUL:-}" ] || echo consul
    [ -n "${OPAY_KAFKA:-}" ] || echo kafka
    echo pgsim

    if [ "$layout" = one ]; then
        echo opay
    else
        printf '%s\n' $services
    fi

    printf 'sidecar-%s\n' $services
    [ "$layout" = one ] || echo gateway
}


# Ports a program listens on.

program_ports() {
    case $1 in
        consul) echo "${ports[consul]} ${ports[consul-server]}" \
                     "${ports[consul-serf]}" ;;
        kafka)  echo "${ports[kafka]} ${ports[kafka-controller]}" ;;
        gateway | auth | user | order | payment)
                echo "${ports[$1]} ${ports[$1-status]}" ;;
        opay)   for name in gateway $services; do
                    echo "${ports[$name]} ${ports[$name-status]}"
                done ;;
        mariadb) ;;
        *)      echo "${ports[$1]}" ;;
    esac
}


# Readiness of one program; quiet, exit code only.

ready() {
    case $1 in
        mariadb) mysql_cmd -e 'SELECT 1' > /dev/null 2>&1 ;;
        consul)  [ "$(fetch "http://$consul/v1/status/leader")" != '""' ] \
                 && [ -n "$(fetch "http://$consul/v1/status/leader")" ] ;;
        kafka)   "$OUT/bin/opay-topics" -b "$kafka" -t 2 > /dev/null 2>&1 ;;
        pgsim)   fetch "http://127.0.0.1:${ports[pgsim]}/livez" > /dev/null ;;
        gateway | auth | user | order | payment)
            fetch "http://127.0.0.1:${ports[$1-status]}/readyz" > /dev/null ;;
        opay)
            fetch "http://127.0.0.1:${ports[gateway-status]}/readyz" \
                > /dev/null ;;
        sidecar-*)
            fetch "http://127.0.0.1:${ports[$1]}/readyz" > /dev/null ;;
    esac
}

fetch() { curl -fsS -m 2 "$@" 2> /dev/null; }

mysql_cmd() { mariadb --defaults-file="$mysql_admin" "$@"; }

ctl() {
    supervisorctl -c "$CONF/supervisord.conf" "$@"
}

# Is our supervisord alive?  The pid alone may be somebody else's by now.
supervised() {
    [ -S "$RUN/supervisor.sock" ] && ctl pid > /dev/null 2>&1
}

# "NAME STATE ..." lines of all; supervisorctl exits non-zero when one is not
# running, and takes a while to start: ask once, not once for each.
states() { ctl status 2> /dev/null || true; }

# state_in STATES NAME
state_in() { awk -v n="$2" '$1 == n { print $2 }' <<< "$1"; }

state_of() { state_in "$(states)" "$1"; }


# Steps: "name ... ok (1.2 s)".  A failing step names its log and a remedy.

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo "${t:0:-3}"; }

step_name= step_log= step_remedy= step_t0=0

# A command that fails where nobody looks must not end the script silently.
at_exit() {
    local rc=$?

    if [ -n "$step_name" ] && [ $rc -ne 0 ]; then
        printf 'FAILED\n'
        warn "step \"$step_name\" ended unexpectedly (exit $rc)" \
             "${step_log:+, see $step_log}"
    fi
}
trap at_exit EXIT

step() {
    step_name=$1 step_log=${2:-} step_remedy=${3:-}
    step_t0=$(now_ms)
    printf '%-46s ' "$step_name"
}

step_ok() {
    local ms=$(($(now_ms) - step_t0))

    printf '%s (%d.%d s)\n' "${1:-ok}" $((ms / 1000)) $((ms % 1000 / 100))
    step_name=
}

step_fail() {
    printf 'FAILED\n'
    warn "step \"$step_name\" failed${1:+: $1}"

    if [ -n "$step_log" ] && [ -s "$step_log" ]; then
        warn "the end of $step_log:"
        tail -n 15 "$step_log" | sed 's/^/    /' >&2
    fi

    [ -z "$step_remedy" ] || warn "remedy: $step_remedy"
    step_name=
    exit 1
}

# until_ok SECONDS COMMAND...
until_ok() {
    local end=$(($(now_ms) + $1 * 1000))
    shift

    until "$@"; do
        [ "$(now_ms)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

hex() { openssl rand -hex "$1"; }
