# The edge alone: a static upstream, plain nginx before it, our gateway before
# it; sourced by bench/run.  The plain one has the gateway's own configuration
# but for what opay's modules do.

edge=$BENCH/edge
edge_pids=

declare -A at=(
    [static]=$(port 9280) [static-mtls]=$(port 9281)
    [plain]=$(port 9282) [plain-mtls]=$(port 9283) [plain-order]=$(port 9284)
    [gate]=$(port 9285) [gate-mtls]=$(port 9286)
)

edge_path=/api/orders/01a205b3-d000-70a0-80b0-5eed00000001
edge_reply='{"id":"01a205b3-d000-70a0-80b0-5eed00000001","status":"CREATED",'
edge_reply+='"totalAmount":40000,"currency":"KRW","version":1,"items":[],'
edge_reply+='"createdAt":"2026-11-23T00:00:00.000Z"}'

# head NAME MODULE...
head() {
    local name=$1 m
    shift

    for m in "$@"; do
        echo "load_module $OUT/modules/ngx_opay_${m}_module.so;"
    done

    cat <<END
pid        $edge/$name.pid;
error_log  $edge/$name.log notice;
$(grep '^user' "$CONF/include/main.conf" || true)
worker_processes      1;
worker_rlimit_nofile  8192;
events { worker_connections 2048; }
END
}

edge_static() {
    cat <<END
$(head static)
http {
    access_log off;
    keepalive_requests 10000000;
    default_type application/json;
    server {
        listen 127.0.0.1:${at[static]} backlog=1024;
        listen 127.0.0.1:${at[static-mtls]} ssl backlog=1024;
        server_name order.opay.internal;
        ssl_certificate      $TLS/order.pem;
        ssl_certificate_key  $TLS/order.key;
        include $CONF/include/mesh.conf;
        location / { return 200 '$edge_reply'; }
    }
}
END
}

# upstream NAME PORT: as the gateway's, but for where its servers come from
upstream() {
    sed -n "/upstream opay_order /,/}/p" "$CONF/include/server-gateway.conf" \
        | sed -e "s/opay_order/$1/" -e "s/opay_discover [a-z]*/server 127.0.0.1:$2/"
}

pass_tls() {
    echo "proxy_pass https://$1; proxy_ssl_name order.opay.internal;"
}

edge_plain() {
    sed -e '/opay_jwt/d' -e 's/\$opay_[a-z_]*id/$request_id/' \
        "$CONF/include/http.conf" > "$edge/http.conf"
    sed -e 's/\$opay_traceparent/$http_traceparent/' \
        -e 's/\$opay_request_id/$request_id/' \
        "$CONF/include/proxy.conf" > "$edge/proxy.conf"

    cat <<END
$(head plain)
http {
    include $edge/http.conf;
    access_log $edge/plain.access.log opay buffer=32k flush=1s;
$(upstream static "${at[static]}")
$(upstream static_mtls "${at[static-mtls]}")
$(upstream order "${ports[order]}")
    server {
        listen 127.0.0.1:${at[plain]} backlog=1024;
        include $edge/proxy.conf;
        location / { proxy_pass http://static; }
    }
    server {
        listen 127.0.0.1:${at[plain-mtls]} backlog=1024;
        include $edge/proxy.conf;
        location / { $(pass_tls static_mtls) }
    }
    server {
        listen 127.0.0.1:${at[plain-order]} backlog=1024;
        include $edge/proxy.conf;
        location / { $(pass_tls order) }
    }
}
END
}

edge_gate() {
    local limits

    limits="limit_req zone=ip burst=1000000 nodelay;
        opay_rate_limit 1000000r/s burst=1000000;
        add_header X-Request-Id \$opay_request_id always;
        add_header X-Content-Type-Options nosniff always;"

    cat <<END
$(head gate core gateway)
http {
    include $CONF/include/http.conf;
    access_log $edge/gate.access.log opay buffer=32k flush=1s;
    opay_zone 4m;
    opay_state_dir $edge;
    limit_req_zone \$binary_remote_addr zone=ip:4m rate=1000000r/s;
$(upstream static "${at[static]}")
$(upstream static_mtls "${at[static-mtls]}")
    server {
        listen 127.0.0.1:${at[gate]} backlog=1024;
        include $CONF/include/routes.conf;
        include $CONF/include/proxy.conf;
        $limits
        location /api/ { proxy_pass http://static; }
    }
    server {
        listen 127.0.0.1:${at[gate-mtls]} backlog=1024;
        include $CONF/include/routes.conf;
        include $CONF/include/proxy.conf;
        $limits
        location /api/ { $(pass_tls static_mtls) }
    }
}
END
}

edge_start() {
    local name

    mkdir -p "$edge"
    chmod 700 "$edge"

    for name in static plain gate; do
        "edge_$name" > "$edge/$name.conf"
        nginx -p "$edge" -e "$edge/$name.log" -c "$edge/$name.conf" \
            > "$edge/$name.start" 2>&1 || die "$(cat "$edge/$name.start")"
        until_ok 10 test -s "$edge/$name.pid" \
            || die "$name did not start: see $edge/$name.log"
        edge_pids+=" $(cat "$edge/$name.pid")"
    done

    for name in plain plain-mtls; do
        until_ok 10 fetch "http://127.0.0.1:${at[$name]}$edge_path" > /dev/null \
            || die "$name does not answer: see $edge/plain.log"
    done
}

edge_stop() {
    local pid

    for pid in $edge_pids; do
        kill -TERM "$pid" 2> /dev/null || true
    done

    edge_pids=
}

# all processes of a private nginx: pid,pid,...
edge_group() {
    local master

    master=$(cat "$edge/$1.pid")
    { echo "$master"; pgrep -P "$master"; } | paste -sd,
}
