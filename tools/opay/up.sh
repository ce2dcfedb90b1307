#!/bin/bash
#
# ./opay up: from a bare checkout to a running stack.  Every step can be run
# again; what is there already is left as it is.

. "$(dirname "$0")/lib.sh"

here=$OPAY_ROOT/tools/opay
t_start=$(now_ms)

umask 077
mkdir -p "$STATE" "$LOG" "$CONF" "$DATA" "$PARTS"
make_run_dir() {
    mkdir -p -m 700 "$RUN"
    [ -O "$RUN" ] && [ ! -L "$RUN" ] || die "$RUN belongs to somebody else"
    chmod 700 "$RUN"
}
make_run_dir

exec 8> "$STATE/.lock"
flock -n 8 || die "another ./opay command works on $STATE"

save_settings() {
    local name

    for name in $settings; do
        [ -z "${!name:-}" ] || echo "$name=${!name}"
    done > "$STATE/settings"
}

# quiet LOG COMMAND...: its output goes to the log, warnings also to us
quiet() {
    local log=$1
    shift
    "$@" 8>&- > "$log" 2>&1
}

prepare() {
    step "Debian packages" "$LOG/packages.log" \
        "run tools/opay/packages.sh run build, and read what apt says"
    quiet "$LOG/packages.log" "$here/packages.sh" run build || step_fail
    step_ok

    if [ -z "${OPAY_CONSUL:-}" ] && ! command -v consul > /dev/null; then
        step "Consul" "$LOG/consul-part.log" \
            "put a consul on PATH, or name an agent with OPAY_CONSUL=host:port"
        quiet "$LOG/consul-part.log" "$here/parts.sh" consul || step_fail
        step_ok "$("$PARTS/consul/usr/bin/consul" version | sed -n \
                   '1s/Consul //p')"
        show_notes "$LOG/consul-part.log"
    fi

    step "Test::Nginx" "$LOG/test-nginx-part.log"
    if quiet "$LOG/test-nginx-part.log" "$here/parts.sh" test-nginx; then
        step_ok
        show_notes "$LOG/test-nginx-part.log"
    else
        step_ok "not fetched; only ./opay test needs it"
    fi

    step "build" "$LOG/build.log" "fix what the compiler says; tools/build.sh"
    quiet "$LOG/build.log" "$OPAY_ROOT/tools/build.sh" ${OPAY_BUILD_ARGS:-} \
        || step_fail
    step_ok

    step "secrets and certificates" "$LOG/secrets.log"
    quiet "$LOG/secrets.log" "$here/secrets.sh" || step_fail
    step_ok

    step "configuration" "$LOG/render.log"
    quiet "$LOG/render.log" "$here/render.sh" || step_fail
    step_ok

    if [ -z "${OPAY_KAFKA:-}" ]; then
        step "Kafka's jars and log directory" "$LOG/kafka-part.log" \
            "see $LOG/maven.log; OPAY_KAFKA=host:port takes another broker"
        quiet "$LOG/kafka-part.log" "$here/kafka.sh" || step_fail
        step_ok "$(cat "$DATA/kafka.kind")"
        show_notes "$LOG/kafka-part.log"
    fi

    if [ -z "${OPAY_MYSQL:-}" ]; then
        step "MariaDB's data directory" "$LOG/mariadb-install.log"
        "$here/mariadb.sh" init 8>&- 2> /dev/null || step_fail
        step_ok
    fi
}

show_notes() { sed -n 's/^opay: /  note: /p' "$1"; }


# Ports, before anything is started.

owner_of() {
    local pid

    pid=$(ss -ltnpH "sport = :$1" | grep -o 'pid=[0-9]*' | head -1)
    pid=${pid#pid=}

    if [ -n "$pid" ]; then
        echo "pid $pid ($(tr '\0' ' ' < "/proc/$pid/cmdline" | cut -c1-70))"
    else
        echo "a process of another user (sudo ss -ltnp shows it)"
    fi
}

check_ports() {
    local name port bad=0 running

    running=" $(states | awk '
        $2 == "RUNNING" || $2 == "STARTING" { print $1 }' | tr '\n' ' ') "

    for name in $(programs); do
        case $running in *" $name "*) continue ;; esac

        for port in $(program_ports "$name"); do
            if [ -n "$(ss -ltnH "sport = :$port")" ]; then
                [ $bad -ne 0 ] || printf 'FAILED\n'
                warn "port $port, of $name, is taken by $(owner_of "$port")"
                bad=1
            fi
        done
    done

    [ $bad -eq 0 ] || die "remedy: stop it, or move all our ports:" \
        "OPAY_PORT_OFFSET=1000 ./opay up"
}

# What a killed supervisord left behind.
end_leftovers() {
    local file

    for file in "$RUN"/*.group; do
        [ -f "$file" ] || continue
        "$here/run.sh" "$(basename "$file" .group)" "$RUN" 8>&-
    done
}

start_supervisor() {
    supervised && return
    end_leftovers
    rm -f "$RUN/supervisor.sock"
    check_ports
    supervisord -c "$CONF/supervisord.conf" 8>&- > "$LOG/supervisord.err" 2>&1 \
        && until_ok 10 supervised
}


# A program runs what it was started from: when that has changed, it is
# restarted, gracefully.

fingerprint() {
    local files=("$CONF/supervisord.conf.$1")

    case $1 in
        auth | user | order | payment | gateway)
            files+=("$CONF/$1.conf" "$CONF"/include/*.conf "$TLS/$1.pem"
                    "$SECRETS/jwt/jwks.json"
                    "$OUT/modules/ngx_opay_core_module.so"
                    "$OUT/modules/ngx_opay_$1_module.so") ;;
        opay)
            files+=("$CONF/opay.conf" "$CONF"/include/*.conf "$TLS"/*.pem
                    "$SECRETS/jwt/jwks.json" "$OUT"/modules/ngx_opay_*.so) ;;
        sidecar-*) files+=("$CONF/$1.conf" "$TLS/$1.pem"
                           "$OUT/bin/opay-sidecar") ;;
        pgsim)   files+=("$OUT/bin/pgsim" "$SECRETS/pgsim.key") ;;
        mariadb) files+=("$CONF/mariadb.cnf") ;;
        consul)  files+=("$CONF/consul.json") ;;
        kafka)   files+=("$CONF/kafka.properties") ;;
    esac

    awk -v p="[program:$1]" '
        /^\[/ { on = $0 == p } on' "$CONF/supervisord.conf" \
        > "$CONF/supervisord.conf.$1"
    cat "${files[@]}" 2> /dev/null | sha256sum
}

start_one() {
    local name=$1 want

    want=$(fingerprint "$name")

    case $(state_in "$known" "$name") in
        RUNNING | STARTING)
            [ "$want" != "$(cat "$RUN/$name.started" 2> /dev/null)" ] || return 0
            ctl stop "$name" > /dev/null ;;
    esac

    echo "$want" > "$RUN/$name.started"
    ctl start "$name" > "$LOG/start.$name" 2>&1 &
    restarted+=" $name"
}

# start GROUP-LABEL SECONDS NAME...: all at once, then each until ready
start() {
    local label=$1 seconds=$2 name known
    shift 2

    [ $# -gt 0 ] || return 0
    restarted=
    step "$label" "$LOG/$1.log"

    known=$(states)

    for name in "$@"; do
        start_one "$name"
    done
    wait

    for name in "$@"; do
        step_log=$LOG/$name.log
        until_ok "$seconds" ready "$name" \
            || step_fail "$name is not ready after $seconds s ($(state_of \
                          "$name")): $(not_ready "$name")"
    done

    step_ok "${restarted:+started}${restarted:-running}"
}

not_ready() {
    case $1 in
        opay)
            curl -sS -m 2 "http://127.0.0.1:${ports[order-status]}/readyz" \
                2>&1 ;;
        gateway | auth | user | order | payment)
            curl -sS -m 2 "http://127.0.0.1:${ports[$1-status]}/readyz" 2>&1 ;;
        sidecar-*)
            curl -sS -m 2 "http://127.0.0.1:${ports[$1]}/readyz" 2>&1 ;;
        *)  echo "see its log" ;;
    esac | tr '\n' ' ' | cut -c1-300
}

engines() {
    local name

    for name in mariadb consul kafka pgsim; do
        programs | grep -qx $name && echo $name
    done
}

run_stack() {
    quiet "$LOG/supervisor-conf.log" "$here/supervisor.sh" \
        || { cat "$LOG/supervisor-conf.log" >&2; exit 1; }

    step "supervisor" "$LOG/supervisord.err"
    start_supervisor || step_fail
    ctl update 8>&- > "$LOG/supervisor-update.log" 2>&1 || step_fail
    check_ports
    step_ok

    start "engines" 90 $(engines)

    step "databases, users, migrations" "$LOG/schema.log" \
        "read the migration named above"
    quiet "$LOG/schema.log" "$here/mariadb.sh" schema || step_fail
    step_ok

    step "topics" "$LOG/topics.log"
    quiet "$LOG/topics.log" "$OUT/bin/opay-topics" -b "$kafka" -p 12 -t 30 \
        $topics $(printf '%s.dlt\n' $topics) || step_fail
    step_ok

    if [ "$layout" = one ]; then
        start "gateway and services" 60 opay
    else
        start "services" 60 $services
    fi

    start "sidecars" 60 $(printf 'sidecar-%s\n' $services)
    [ "$layout" = one ] || start "gateway" 30 gateway

    step "an answer through the gateway"
    until_ok 30 through_gateway \
        || step_fail "$(curl -sS -m 3 "$gateway/api/products" 2>&1)"
    step_ok
}

# The gateway has learned its peers when each service answers through it.
through_gateway() {
    fetch "$gateway/api/products" > /dev/null \
        && fetch "$gateway/.well-known/jwks.json" > /dev/null \
        && answers /api/users/me && answers /api/payments
}

# any answer of the service, 401 included, but no 502 to 504
answers() {
    local st

    st=$(curl -s -m 2 -o /dev/null -w '%{http_code}' "$gateway$1") || return 1
    [ "$st" -ge 200 ] && [ "$st" -lt 500 ]
}

summary() {
    local s=$((($(now_ms) - t_start) / 100))

    cat <<END

opay is up ($((s / 10)).$((s % 10)) s).

  gateway         $gateway
  API             $gateway/openapi.yaml
  Consul          http://$consul/ui
  Kafka           $kafka
  provider (sim)  http://127.0.0.1:${ports[pgsim]}
  metrics         http://127.0.0.1:${ports[order-status]}/metrics (one of each)
  administrator   admin@opay.internal, password in $SECRETS/admin_password
  logs            $LOG

Try next:  ./opay demo      an order from signup to PAID
           ./opay status    what runs, and how it is
           ./opay down      stop (data stays in $STATE)
END
}

prepare
save_settings
run_stack
summary
