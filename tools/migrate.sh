#!/bin/bash
#
# Migrations in dbmate's file form: db/<service>/<version>_<name>.sql with
# "-- migrate:up" and "-- migrate:down" parts, and a schema_migrations table.
#
#   tools/migrate.sh up|down|status SERVICE ...
#
# MYSQL_ADMIN names a client option file (--defaults-file) that may create
# tables.  The database of a service is opay_<service>; MIGRATE_DB overrides
# it, MIGRATE_DIR the directory (one service only).  One run at a time per
# database: GET_LOCK on the server.  `down` takes back the last one applied.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
admin=${MYSQL_ADMIN:?names a client option file}
client=$(command -v mariadb || command -v mysql)

die() { echo "migrate: $*" >&2; exit 1; }

# not the locale's character set: MySQL writes it into the constraints
sql() {
    "$client" --defaults-file="$admin" --default-character-set=utf8mb4 \
        --batch -N "$@"
}

part() {
    awk -v want="$1" '
        /^-- migrate:/ { part = $2; next }
        part == "migrate:" want { print }' "$2"
}

lock() {
    local got

    coproc LOCK { "$client" --defaults-file="$admin" --batch -N --unbuffered; }
    echo "SELECT GET_LOCK('migrate.$db', 60);" >&"${LOCK[1]}"
    read -r -t 70 got <&"${LOCK[0]}" || got=
    [ "$got" = 1 ] || die "$db: another migration is under way"
}

unlock() {
    local fd=${LOCK[1]}

    exec {fd}>&-
    wait "$LOCK_PID" 2> /dev/null || true
}

applied() {
    sql "$db" -e 'SELECT version FROM schema_migrations ORDER BY version'
}

up() {
    local file version text done

    done=" $(applied | tr '\n' ' ') "

    for file in "$dir"/[0-9]*_*.sql; do
        [ -f "$file" ] || continue
        version=${file##*/}
        version=${version%%_*}

        case $done in *" $version "*) continue ;; esac

        text=$(part up "$file")
        [ -n "$text" ] || die "$file has no \"-- migrate:up\" part"

        # DDL commits by itself: the version is written last.
        printf '%s\n%s\n' "$text" \
            "INSERT INTO schema_migrations (version) VALUES ('$version');" \
            | sql "$db" || die "${file#"$root"/} failed; what it had done" \
                               "before stays: see its migrate:down part"
        echo "$db: applied ${file##*/}"
    done
}

down() {
    local file version text

    version=$(applied | tail -1)
    [ -n "$version" ] || die "$db: nothing is applied"
    file=$(ls "$dir/${version}"_*.sql 2> /dev/null) \
        || die "$db: no file for version $version in $dir"
    text=$(part down "$file")
    [ -n "$text" ] || die "$file has no \"-- migrate:down\" part"

    printf '%s\n%s\n' "$text" \
        "DELETE FROM schema_migrations WHERE version = '$version';" \
        | sql "$db" || die "${file#"$root"/}: migrate:down failed"
    echo "$db: took back ${file##*/}"
}

status() {
    local file version done

    done=" $(applied | tr '\n' ' ') "

    for file in "$dir"/[0-9]*_*.sql; do
        [ -f "$file" ] || continue
        version=${file##*/}
        version=${version%%_*}

        case $done in
            *" $version "*) echo "$db: applied ${file##*/}" ;;
            *)              echo "$db: pending ${file##*/}" ;;
        esac
    done
}

verb=${1:-}
case $verb in
    up | down | status) shift ;;
    *) die "usage: migrate.sh up|down|status SERVICE ..." ;;
esac

for name in "$@"; do
    db=${MIGRATE_DB:-opay_$name}
    dir=${MIGRATE_DIR:-$root/db/$name}
    [ -d "$dir" ] || die "no migrations for \"$name\": $dir is missing"

    sql -e "CREATE TABLE IF NOT EXISTS \`$db\`.schema_migrations
            (version VARCHAR(128) NOT NULL PRIMARY KEY)" 2>&1 \
        | sed 's/^/migrate: /' >&2
    lock
    "$verb"
    unlock
done
