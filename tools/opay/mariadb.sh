#!/bin/bash
#
# The database of the stack.
#
#   mariadb.sh init       private data directory, once
#   mariadb.sh schema     databases, users, migrations, grants, seeds

. "$(dirname "$0")/lib.sh"

init() {
    local tmp=$DATA/mariadb.new

    [ -d "$DATA/mariadb/mysql" ] && return
    rm -rf "$tmp"
    mkdir -p "$DATA" "$RUN/tmp"

    # a server that starts deletes the temporary tables of others in its
    # tmpdir
    TMPDIR=$RUN/tmp mariadb-install-db --no-defaults --force \
        --user="$(id -un)" --datadir="$tmp" \
        --auth-root-authentication-method=socket \
        --auth-root-socket-user="$(id -un)" --skip-test-db \
        --skip-name-resolve > "$LOG/mariadb-install.log" 2>&1 \
        || { tail -15 "$LOG/mariadb-install.log" >&2; return 1; }
    rm -rf "$DATA/mariadb"
    mv "$tmp" "$DATA/mariadb"
}

account() {
    local name=$1 password

    password=$(cat "$SECRETS/db_${name#opay_}")
    cat <<END
CREATE USER IF NOT EXISTS '$name'@'$account_host'
    IDENTIFIED BY '$password';
ALTER USER '$name'@'$account_host' IDENTIFIED BY '$password';
END
}

# Least privilege, table by table: events are append-only for the service;
# the relay reads them and keeps its checkpoint and parked events.
grants() {
    local name=$1 db=opay_$1 table

    echo "REVOKE ALL PRIVILEGES, GRANT OPTION FROM
          '$db'@'$account_host', '${db}_relay'@'$account_host';"

    mysql_cmd -N --batch -e "SELECT table_name FROM information_schema.tables
        WHERE table_schema = '$db' ORDER BY 1" \
    | while read -r table; do
        case $table in
            schema_migrations) ;;
            events)
                echo "GRANT SELECT, INSERT ON \`$db\`.\`$table\`
                      TO '$db'@'$account_host';"
                echo "GRANT SELECT ON \`$db\`.\`$table\`
                      TO '${db}_relay'@'$account_host';" ;;
            relay_checkpoint | parked_events)
                echo "GRANT SELECT, INSERT, UPDATE, DELETE
                      ON \`$db\`.\`$table\`
                      TO '${db}_relay'@'$account_host';" ;;
            *)
                echo "GRANT SELECT, INSERT, UPDATE, DELETE
                      ON \`$db\`.\`$table\` TO '$db'@'$account_host';" ;;
        esac
    done
}

# changed_sql NAME [DATABASE]: runs its input only when it differs from what
# was run last time.
changed_sql() {
    local stamp=$DATA/mysql.$1 text new

    text=$(cat)
    new=$(printf '%s\n%s' "${OPAY_MYSQL:-private}" "$text" | sha256sum)
    [ "$(cat "$stamp" 2> /dev/null)" != "$new" ] || return 0
    (umask 077; printf '%s\n' "$text" | mysql_cmd ${2-} \
        && echo "$new" > "$stamp")
}

schema() {
    local name file

    account_host=localhost
    case ${OPAY_MYSQL:-unix:} in unix:*) ;; *) account_host=% ;; esac

    for name in $services; do
        {
            echo "CREATE DATABASE IF NOT EXISTS opay_$name
                  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
            account "opay_$name"
            account "opay_${name}_relay"
        } | changed_sql "accounts.$name"
    done

    MYSQL_ADMIN=$mysql_admin "$OPAY_ROOT/tools/migrate.sh" up $services

    for name in $services; do
        grants "$name" | changed_sql "grants.$name"
        file=$OPAY_ROOT/db/$name/seed.sql
        [ ! -f "$file" ] || changed_sql "seed.$name" "opay_$name" < "$file"
    done
}

case ${1:-} in
    init | schema) "$1" ;;
    *) die "usage: mariadb.sh init | schema" ;;
esac
