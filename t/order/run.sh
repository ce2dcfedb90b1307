#!/bin/bash
#
# The order service's operations on a MariaDB of its own (no network, no
# nginx): builds t/order/*.c with lib, ngx_opay_exec and ngx_opay_order, and
# runs them.
#
#   t/order/run.sh [--asan]
#
# Needs nginx-dev for the headers.  Ends with "order: N passed, N failed".

set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
out=${OPAY_BUILD:-$root/build}/t-order
nginx_src=${NGINX_SRC:-/usr/share/nginx/src}
client=$(command -v mariadb || command -v mysql)
server=$(PATH=$PATH:/usr/sbin command -v mariadbd || command -v mysqld)
work=$(mktemp -d)
pid=

cleanup() {
    [ -z "$pid" ] || { kill "$pid" 2> /dev/null && wait "$pid"; } || true
    rm -rf "$work"
}
trap cleanup EXIT


# Build.

opt="-g -O1 -Wall -Wextra -Werror -Wno-unused-parameter"

if [ "${1-}" = --asan ]; then
    out=$out-asan
    opt+=" -fno-omit-frame-pointer -fsanitize=address,undefined"
    opt+=" -fno-sanitize-recover=undefined -fno-sanitize=alignment"
fi

mkdir -p "$out"

# nginx's headers want what its configure makes
if [ ! -f "$out/nginx/objs/ngx_auto_config.h" ]; then
    rm -rf "$out/nginx"
    cp -r "$nginx_src" "$out/nginx"
    (cd "$out/nginx"; . ./conf_flags
     ./configure "${NGX_CONF_FLAGS[@]}") > "$out/configure.log" 2>&1 \
        || { tail "$out/configure.log" >&2; exit 1; }
fi

make -s -j"${JOBS:-2}" -C "$root/t/order" OUT="$out" NGX="$out/nginx" \
    OPT="$opt"


# A server of our own.

mariadb-install-db --no-defaults --user="$(id -un)" \
    --datadir="$work/data" --auth-root-authentication-method=normal \
    --skip-test-db > "$work/install.log" 2>&1 \
    || { tail "$work/install.log" >&2; exit 1; }

"$server" --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --socket="$work/sock" --skip-networking --pid-file="$work/pid" \
    --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
    > "$work/server.log" 2>&1 &
pid=$!

sql() { "$client" --no-defaults -S "$work/sock" -u root "$@"; }

deadline=$((SECONDS + 60))
until sql -e 'SELECT 1' > /dev/null 2>&1; do
    kill -0 $pid 2> /dev/null && [ $SECONDS -lt $deadline ] \
        || { tail "$work/server.log" >&2; exit 1; }
    read -r -t 0.1 <> <(:) || true
done

sql -e 'CREATE DATABASE opay_order CHARACTER SET utf8mb4
        COLLATE utf8mb4_bin'

cat > "$work/client.cnf" <<END
[client]
socket=$work/sock
user=root
END

MYSQL_ADMIN=$work/client.cnf "$root/tools/migrate.sh" up order
sql opay_order < "$root/db/order/seed.sql"
sql opay_order < "$root/db/order/seed.sql"

# the service's own rights: events can be appended, never changed
sql -e "CREATE USER opay_order@localhost;
        GRANT SELECT, INSERT ON opay_order.events TO opay_order@localhost"
for table in products orders order_items order_addresses idempotency inbox
do
    sql -e "GRANT SELECT, INSERT, UPDATE, DELETE ON opay_order.$table
            TO opay_order@localhost"
done

export ORDER_SOCKET=$work/sock ORDER_USER=opay_order
export UBSAN_OPTIONS=print_stacktrace=1

rc=0
timeout 300 "$out/test_order" > "$work/log" 2>&1 || rc=$?
grep -v '^\[ RUN ' "$work/log" || true

passed=$(grep -c '^\[       OK \]' "$work/log" || true)
failed=$(sed -nE 's/^\[  FAILED  \] ([A-Za-z_0-9]+)$/\1/p' "$work/log" \
         | sort -u | wc -l)
[ $rc -eq 0 ] || [ "$failed" -gt 0 ] || failed=1

echo "order: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
