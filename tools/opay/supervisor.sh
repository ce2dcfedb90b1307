#!/bin/bash
#
# Writes $OPAY_STATE/conf/supervisord.conf: one program per process.

. "$(dirname "$0")/lib.sh"

umask 077

quote() { printf '%s' "${1//%/%%}"; }

# program NAME PRIORITY STOPSIGNAL STOPWAIT COMMAND
program() {
    cat <<END

[program:$1]
command = "$(quote "$OPAY_ROOT")/tools/opay/run.sh" $1 "$(quote "$RUN")" $5
directory = $(quote "$STATE")
priority = $2
autostart = false
autorestart = true
startsecs = 1
startretries = 20
stopsignal = $3
stopwaitsecs = $4
killasgroup = true
redirect_stderr = true
stdout_logfile = $(quote "$LOG")/$1.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
END
}

consul_bin=$PARTS/consul/usr/bin/consul
command -v consul > /dev/null && consul_bin=$(command -v consul)

kafka_command() {
    if [ "$(cat "$DATA/kafka.kind" 2> /dev/null)" = kafka-dev ]; then
        echo "\"$(quote "$OUT")/bin/kafka-dev\" $(kafka_dev_args)"
        return
    fi

    # One broker for one machine's worth of development: a small heap.
    echo "java -Xms128m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20" \
         "-Djava.awt.headless=true" \
         "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn" \
         "-Dorg.slf4j.simpleLogger.showDateTime=true" \
         "\"-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS\"" \
         "-cp \"$(quote "$PARTS")/kafka/*\" kafka.Kafka" \
         "\"$(quote "$CONF")/kafka.properties\""
}

kafka_dev_args() {
    local t list=

    for t in $topics; do
        list+=" $t:12 $t.dlt:12"
    done

    echo "-p ${ports[kafka]} -f \"$(quote "$RUN")/kafka.bootstrap\"$list"
}

one() {
    case $1 in
        mariadb)
            program mariadb 10 TERM 60 \
                "mariadbd --defaults-file=\"$(quote "$CONF")/mariadb.cnf\"" ;;
        consul)
            program consul 10 TERM 20 "\"$(quote "$consul_bin")\" agent \
-config-file=\"$(quote "$CONF")/consul.json\"" ;;
        kafka)
            program kafka 10 TERM 60 "$(kafka_command)" ;;
        pgsim)
            program pgsim 20 TERM 15 "\"$(quote "$OUT")/bin/pgsim\" \
--listen 127.0.0.1:${ports[pgsim]} --db \"$(quote "$DATA")/pgsim/ledger.db\" \
--secret-file \"$(quote "$SECRETS")/pgsim.key\"" ;;
        opay | auth | user | order | payment)
            program "$1" 30 QUIT 75 "nginx -p \"$(quote "$STATE")\" \
-e stderr -c \"$(quote "$CONF")/$1.conf\" -g \"daemon off;\"" ;;
        sidecar-*)
            program "$1" 40 TERM 20 "\"$(quote "$OUT")/bin/opay-sidecar\" \
-c \"$(quote "$CONF")/$1.conf\"" ;;
        gateway)
            program "$1" 50 QUIT 75 "nginx -p \"$(quote "$STATE")\" \
-e stderr -c \"$(quote "$CONF")/$1.conf\" -g \"daemon off;\"" ;;
    esac
}

mkdir -p "$DATA/pgsim" "$DATA/consul"

{
    cat <<END
; Written by tools/opay/supervisor.sh.
[unix_http_server]
file = $(quote "$RUN")/supervisor.sock
chmod = 0600

[supervisord]
logfile = $(quote "$LOG")/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 1
pidfile = $(quote "$RUN")/supervisord.pid
childlogdir = $(quote "$LOG")
directory = $(quote "$STATE")
identifier = opay
umask = 077
minfds = 4096
$([ "$(id -u)" -ne 0 ] || echo "user = root")

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://$(quote "$RUN")/supervisor.sock
END

    for name in $(programs); do
        one "$name"
    done
} > "$CONF/supervisord.conf.new"

mv "$CONF/supervisord.conf.new" "$CONF/supervisord.conf"
