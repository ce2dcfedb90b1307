#!/bin/bash
#
# Fills the placeholders of conf/ and writes the result to $OPAY_STATE/conf.
# A file that would not change is left alone.

. "$(dirname "$0")/lib.sh"

umask 077
mkdir -p "$CONF/include" "$RUN" "$RUN/tmp" "$LOG" "$DATA"

user=$(id -un)
db=unix:$mysql_socket
sidecar_db="db_socket            = $mysql_socket"

case ${OPAY_MYSQL:-} in
    '') ;;
    unix:/*)
        db=$OPAY_MYSQL
        sidecar_db="db_socket            = ${OPAY_MYSQL#unix:}" ;;
    *:*)
        db=$OPAY_MYSQL
        sidecar_db="db_host              = ${OPAY_MYSQL%:*}"
        sidecar_db+=$'\n'"db_port              = ${OPAY_MYSQL##*:}" ;;
    *)
        die "OPAY_MYSQL=\"$OPAY_MYSQL\": give unix:/path or host:port" ;;
esac

declare -A v=(
    [ROOT]=$OPAY_ROOT [STATE]=$STATE [RUN]=$RUN [CONF]=$CONF [LOG]=$LOG
    [DATA]=$DATA [TLS]=$TLS [SECRETS]=$SECRETS [STATE_DIR]=$DATA/peers
    [MODULES]=$OUT/modules [BIN]=$OUT/bin [USER]=$user
    [WORKERS]=${OPAY_WORKERS:-1} [LISTEN]=${OPAY_LISTEN:-127.0.0.1}
    [LISTEN_MESH]=${OPAY_LISTEN_MESH:-127.0.0.1}
    [STATUS_LISTEN]=${OPAY_STATUS_LISTEN:-127.0.0.1}
    [ADVERTISE]=${OPAY_ADVERTISE:-127.0.0.1}
    [LOG_LEVEL]=${OPAY_LOG_LEVEL:-notice}
    [IP_RATE]=${OPAY_IP_RATE:-500} [IP_BURST]=${OPAY_IP_BURST:-1000}
    [USER_RATE]=${OPAY_USER_RATE:-${OPAY_IP_RATE:-200}}
    [USER_BURST]=${OPAY_USER_BURST:-${OPAY_IP_BURST:-400}}
    [ISSUER]=${OPAY_ISSUER:-https://opay.internal}
    [AUDIENCE]=${OPAY_AUDIENCE:-opay}
    [PROVIDER_URL]=${OPAY_PROVIDER_URL:-http://127.0.0.1:${ports[pgsim]}}
    [JWT_KID]=$(cat "$SECRETS/jwt/current")
    [DB]=$db [KAFKA]=$kafka [CONSUL]=$consul
    [SIDECAR_DB]=$sidecar_db
    [PORT_CONSUL]=${ports[consul]}
    [PORT_CONSUL_SERVER]=${ports[consul-server]}
    [PORT_CONSUL_SERF]=${ports[consul-serf]}
    [PORT_KAFKA]=${ports[kafka]}
    [PORT_KAFKA_CONTROLLER]=${ports[kafka-controller]}
    [PORT_PGSIM]=${ports[pgsim]}
    [USER_DIRECTIVE]=
)

# Only root may choose the workers' user: itself.
if [ "$(id -u)" -eq 0 ]; then
    v[USER_DIRECTIVE]="user                     $user $(id -gn);"
fi

for name in gateway $services; do
    upper=${name^^}
    v[PORT_$upper]=${ports[$name]}
    v[STATUS_$upper]=${ports[$name-status]}
done


# render TEMPLATE TARGET
render() {
    local text key line=1

    text=$(cat "$1"; echo x)

    for key in "${!v[@]}"; do
        text=${text//"@$key@"/"${v[$key]}"}
    done

    text=${text%x}

    if [[ $text =~ @[A-Z_]+@ ]]; then
        die "$1: ${BASH_REMATCH[0]} is not known to render.sh"
    fi

    if [ "$text" != "$(cat "$2" 2> /dev/null; echo)" ] || [ ! -f "$2" ]; then
        printf '%s' "$text" > "$2.new"
        mv "$2.new" "$2"
    fi
}

for file in "$OPAY_ROOT"/conf/include/*.in; do
    name=${file##*/}
    render "$file" "$CONF/include/${name%.in}"
done

for name in gateway $services; do
    render "$OPAY_ROOT/conf/$name.conf.in" "$CONF/$name.conf"
    mkdir -p "$DATA/peers/$name"
done

mkdir -p "$DATA/peers/opay"
render "$OPAY_ROOT/conf/opay.conf.in" "$CONF/opay.conf"

# Which topics each service listens to.
declare -A listens=(
    [auth]=""
    [user]="user-events"
    [order]="payment-events"
    [payment]="order-events"
)

for name in $services; do
    v[SERVICE]=$name
    v[STATUS_SIDECAR]=${ports[sidecar-$name]}
    v[SIDECAR_TOPICS]=

    if [ -n "${listens[$name]}" ]; then
        v[SIDECAR_TOPICS]="topics               = ${listens[$name]}"$'\n'
        v[SIDECAR_TOPICS]+="group                = opay-$name"$'\n'
    fi

    render "$OPAY_ROOT/conf/sidecar.conf.in" "$CONF/sidecar-$name.conf"
done

for file in "$OPAY_ROOT"/conf/stack/*.in; do
    name=${file##*/}
    render "$file" "$CONF/${name%.in}"
done

if [ -n "${OPAY_MYSQL:-}" ]; then
    [ -f "${OPAY_MYSQL_ADMIN:-}" ] || die "OPAY_MYSQL needs OPAY_MYSQL_ADMIN:" \
        "a client option file of an account that may create databases"
    cp "$OPAY_MYSQL_ADMIN" "$CONF/mysql-admin.cnf"
fi

mkdir -p "$RUN"/tmp/{body,proxy,fastcgi,uwsgi,scgi}
