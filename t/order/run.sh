#!/bin/bash
#
# The order service's operations on a real database, without nginx and
# network: builds t/order/*.c with lib, core's pool-thread side and
# ngx_opay_order, and runs them.
#
#   t/order/run.sh [--asan]
#
# Needs nginx-dev for the headers.  Ends with "order: N passed, N failed".

set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)

# a database of its own even where others share one: it counts rows
if [ -z "${ORDER_OWN_DB:-}" ]; then
    ORDER_OWN_DB=1 exec env -u OPAY_TEST_DB_SOCKET "$root/tools/with-db.sh" \
        "$0" "$@"
fi

out=${OPAY_BUILD:-$root/build}/t-order
nginx_src=${NGINX_SRC:-/usr/share/nginx/src}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT


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


# The service's own rights: events can be appended, never changed.

sql() { mariadb --defaults-file="$OPAY_TEST_DB_ADMIN" opay_order "$@"; }

sql < "$root/db/order/seed.sql"
sql < "$root/db/order/seed.sql"

sql -e "DROP USER IF EXISTS order_test@localhost;
        CREATE USER order_test@localhost;
        GRANT SELECT, INSERT ON opay_order.events TO order_test@localhost"
for table in products orders order_items order_addresses idempotency inbox
do
    sql -e "GRANT SELECT, INSERT, UPDATE, DELETE ON opay_order.$table
            TO order_test@localhost"
done

export ORDER_SOCKET=$OPAY_TEST_DB_SOCKET ORDER_USER=order_test
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
