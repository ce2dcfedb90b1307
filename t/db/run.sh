#!/bin/bash
#
# Tests of lib/opay_db*.c and of what core does in a transaction, against a
# MariaDB of their own: started here in a temporary directory, reached by its
# unix socket, and gone afterwards.
#
#   t/db/run.sh [--asan] [name ...]         name: a file of t/db, without .c
#
# OPAY_BUILD names the output directory (default build/), whose nginx/ has
# the headers that tools/build.sh has configured.  OPAY_TEST_DB_SOCKET names
# a server to use instead, MySQL or MariaDB, OPAY_TEST_DB_USER an account of
# it that may do everything without a password (root): the tests drop the
# database opay_test and make the whole server read-only for a moment.
# Ends with "db: N passed, N failed"; non-zero when any failed or crashed.

set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${OPAY_BUILD:-$root/build}
ngx=$build/nginx
variant=plain names=()

for arg in "$@"; do
    case $arg in
        --asan) variant=asan ;;
        *)      names+=("$arg") ;;
    esac
done

die() { echo "t/db/run.sh: $*" >&2; exit 1; }

[ -f "$ngx/objs/ngx_auto_config.h" ] || die "run tools/build.sh first"

out=$build/db-$variant
cflags="-std=gnu11 -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE= -fPIC"

if [ $variant = asan ]; then
    cflags="$cflags -fno-omit-frame-pointer -fsanitize=address,undefined"
    cflags="$cflags -fno-sanitize-recover=undefined"
fi

config=$(command -v mariadb_config || command -v mysql_config)
incs="-I$root/lib -I$root/ngx_opay_core -I$root/t/db $("$config" --include)"
for dir in core event event/modules os/unix http http/modules http/v2; do
    incs="$incs -isystem $ngx/src/$dir"
done
incs="$incs -isystem $ngx/objs"
libs="$("$config" --libs) -ljansson -lcmocka -lssl -lcrypto -lpthread"


# Build: one object per source, then each test_*.c with all the others.

mkdir -p "$out"
exec 9> "$out/.lock"
flock 9

srcs=("$root"/lib/opay_{arena,time,uuid,hash,db,db_stmt,db_rows,db_error}.c
      "$root"/lib/opay_{call,problem,json,json_unpack,jsonw,path,trace}.c
      "$root"/lib/opay_event.c
      "$root"/ngx_opay_core/ngx_opay_{exec,idem,events,inbox}.c
      "$root"/t/db/{fixture,ops,proxy,stub}.c)
tests=("$root"/t/db/test_*.c)

{
    printf 'all:'
    for t in "${tests[@]}"; do printf ' %s' "$(basename "$t" .c)"; done
    printf '\n'
    objs=
    for s in "${srcs[@]}"; do objs="$objs $(basename "$s" .c).o"; done
    for s in "${srcs[@]}" "${tests[@]}"; do
        o=$(basename "$s" .c).o
        printf '%s: %s\n\t%s -c %s %s -MMD -MP -o $@ %s\n' \
            "$o" "$s" "${CC:-gcc}" "$cflags" "$incs" "$s"
    done
    for t in "${tests[@]}"; do
        n=$(basename "$t" .c)
        printf '%s: %s.o%s\n\t%s %s -o $@ $^ %s\n' \
            "$n" "$n" "$objs" "${CC:-gcc}" "$cflags" "$libs"
    done
    echo '-include *.d'
} > "$out/Makefile"

make -s -j"${JOBS:-2}" -C "$out" all

if [ ${#names[@]} -eq 0 ]; then
    for t in "${tests[@]}"; do names+=("$(basename "$t" .c)"); done
fi


# The server.  The socket's path has to be short.

dir=$(mktemp -d "${TMPDIR:-/tmp}/opay-db.XXXXXX")
chmod 700 "$dir"
socket=${OPAY_TEST_DB_SOCKET:-${OPAY_TEST_DB_SERVER:-}}
root_user=${OPAY_TEST_DB_USER:-root}
pid=

stop() {
    if [ -n "$pid" ]; then
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    fi
    rm -rf "$dir"
}
trap stop EXIT

start() {
    local user mysqld

    user=$(id -un)
    mysqld=$(PATH=$PATH:/usr/sbin command -v mariadbd || command -v mysqld)

    # a server that starts deletes the temporary tables of others in its
    # tmpdir
    mkdir -p "$dir/tmp"
    export TMPDIR=$dir/tmp

    mariadb-install-db --no-defaults --force \
        --user="$user" --datadir="$dir/data" \
        --auth-root-authentication-method=normal --skip-test-db \
        > "$dir/install.log" 2>&1 || { cat "$dir/install.log"; exit 1; }

    "$mysqld" --no-defaults --user="$user" --datadir="$dir/data" \
        --socket="$socket" --skip-networking --pid-file="$dir/pid" \
        --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
        --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
        --performance-schema=off --character-set-server=utf8mb4 \
        > "$dir/server.log" 2>&1 9>&- &
    pid=$!
}

if [ -z "$socket" ]; then
    socket=$dir/s root_user=root
    start
fi

client=$(command -v mariadb || command -v mysql)
admin=("$client" --no-defaults --socket="$socket" --user="$root_user" --batch)

for (( i = 0; i < 300; i++ )); do
    "${admin[@]}" -e 'SELECT 1' > /dev/null 2>&1 && break
    [ -n "$pid" ] || die "no server at $socket for $root_user"
    kill -0 "$pid" 2> /dev/null || { cat "$dir/server.log"; exit 1; }
    sleep 0.1
done

"${admin[@]}" -e "DROP DATABASE IF EXISTS opay_test;
    CREATE DATABASE opay_test CHARACTER SET utf8mb4;
    DROP USER IF EXISTS opay_test@localhost;
    CREATE USER opay_test@localhost IDENTIFIED BY 'secret';
    GRANT ALL ON opay_test.* TO opay_test@localhost"

awk '/^-- migrate:/ { on = $2 == "migrate:up"; next } on' \
    "$root"/db/order/*_common.sql | "${admin[@]}" opay_test


export OPAY_TEST_SOCKET=$socket OPAY_TEST_USER=$root_user OPAY_TEST_DIR=$dir
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1

passed=0 failed=0

for name in "${names[@]}"; do
    log=$out/$name.log
    st=0
    timeout 300 "$out/$name" > "$log" 2>&1 9>&- || st=$?

    ok=$(grep -c '^\[       OK \]' "$log" || true)
    bad=$(sed -nE 's/^\[  FAILED  \] ([A-Za-z_0-9]+)$/\1/p' "$log" \
          | sort -u | wc -l)

    # a crash, a sanitizer report, or no test at all is a failure too
    if { [ $st -ne 0 ] && [ "$bad" -eq 0 ]; } || [ $((ok + bad)) -eq 0 ]; then
        bad=1
    fi

    passed=$((passed + ok))
    failed=$((failed + bad))

    if [ "$bad" -gt 0 ]; then
        echo "FAIL $name (exit $st)"
        grep -v '^\[ RUN \|^\[       OK' "$log" | tail -60
    else
        echo "ok   $name ($ok)"
    fi
done

echo "db $variant: $passed passed, $failed failed"
[ $failed -eq 0 ]
