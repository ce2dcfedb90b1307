#!/bin/bash
#
# Runs a command beside a throw-away MariaDB with the schemas of all services.
#
#   tools/with-db.sh [--bare] COMMAND [ARG ...]       --bare: no schemas
#
# The command finds in its environment:
#   OPAY_TEST_DB_SOCKET   the unix socket
#   OPAY_TEST_DB_USER     an account that may do everything, no password
#   OPAY_TEST_DB_ADMIN    a client option file of it
# Nested calls use the database that is there already.
#
# OPAY_TEST_DB_SERVER names the unix socket of a server to use instead, MySQL
# or MariaDB, OPAY_TEST_DB_USER an account of it that may do everything
# without a password (root).  Its databases opay_* are dropped first, so one
# suite at a time.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export PATH=$PATH:/usr/sbin
bare=no

if [ "${1:-}" = --bare ]; then
    bare=yes
    shift
fi

[ $# -gt 0 ] || { echo "usage: with-db.sh [--bare] COMMAND" >&2; exit 2; }
[ -z "${OPAY_TEST_DB_SOCKET:-}" ] || exec "$@"

dir=$(mktemp -d /tmp/opay-db.XXXXXX)
pid=

stop() {
    if [ -n "$pid" ]; then
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    fi
    rm -rf "$dir"
}

trap stop EXIT
trap 'exit 130' INT TERM

start() {
    # a server that starts deletes the temporary tables of others in its
    # tmpdir
    mkdir "$dir/tmp"
    export TMPDIR=$dir/tmp

    mariadb-install-db --no-defaults --force \
        --user="$(id -un)" --datadir="$dir/data" \
        --auth-root-authentication-method=normal --skip-test-db \
        > "$dir/install.log" 2>&1 || { cat "$dir/install.log" >&2; exit 1; }

    mariadbd --no-defaults --user="$(id -un)" --datadir="$dir/data" \
        --socket="$dir/sock" --pid-file="$dir/pid" --skip-networking \
        --skip-log-bin --character-set-server=utf8mb4 \
        --collation-server=utf8mb4_bin --transaction-isolation=READ-COMMITTED \
        --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=64M \
        --innodb-log-file-size=32M --max-connections=200 \
        --performance-schema=OFF > "$dir/log" 2>&1 &
    pid=$!
    unset TMPDIR
}

client=$(command -v mariadb || command -v mysql)
export OPAY_TEST_DB_SOCKET=${OPAY_TEST_DB_SERVER:-$dir/sock}
export OPAY_TEST_DB_ADMIN=$dir/admin.cnf

if [ -n "${OPAY_TEST_DB_SERVER:-}" ]; then
    export OPAY_TEST_DB_USER=${OPAY_TEST_DB_USER:-root}
else
    export OPAY_TEST_DB_USER=root
    start
fi

printf '[client]\nsocket=%s\nuser=%s\n' "$OPAY_TEST_DB_SOCKET" \
    "$OPAY_TEST_DB_USER" > "$dir/admin.cnf"

for _ in $(seq 300); do
    "$client" --defaults-file="$dir/admin.cnf" -e 'SELECT 1' \
        > /dev/null 2>&1 && break
    [ -n "$pid" ] || { echo "with-db.sh: no server at" \
        "$OPAY_TEST_DB_SOCKET" >&2; exit 1; }
    kill -0 $pid 2> /dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done

if [ $bare = no ]; then
    for name in auth user order payment; do
        "$client" --defaults-file="$dir/admin.cnf" \
            -e "DROP DATABASE IF EXISTS opay_$name;
                CREATE DATABASE opay_$name CHARACTER SET utf8mb4
                COLLATE utf8mb4_bin"
    done
    MYSQL_ADMIN=$dir/admin.cnf "$root/tools/migrate.sh" up auth user order \
        payment > "$dir/migrate.log" 2>&1 \
        || { cat "$dir/migrate.log" >&2; exit 1; }
fi

"$@"
