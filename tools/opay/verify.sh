#!/bin/bash
#
# ./opay verify [-w SECONDS]: the invariants, checked on the live system.
# What is settled asynchronously (events on their way, outcomes still asked
# of the provider) is given up to SECONDS (30) to settle.
# Prints each check; non-zero exit when one does not hold.

. "$(dirname "$0")/lib.sh"

wait_s=30

while getopts w: opt; do
    case $opt in
        w) wait_s=$OPTARG ;;
        *) die "usage: opay verify [-w SECONDS]" ;;
    esac
done

ready mariadb || die "the database does not answer: ./opay up"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

verdict() {
    if [ -z "$2" ]; then
        passed=$((passed + 1))
        say "ok     $1"
    else
        failed=$((failed + 1))
        say "NOT OK $1"
        printf '%s\n' "$2" | head -5 | sed 's/^/         /'
    fi
}

sql() { mysql_cmd -N --batch -e "$1" 2>&1; }

# none NAME SQL: the query finds nothing
none() { verdict "$1" "$(sql "$2")"; }

# settles NAME SQL: the query finds nothing, soon
settles() {
    local end=$(($(now_ms) + wait_s * 1000)) found

    while :; do
        found=$(sql "$2")
        [ -n "$found" ] && [ "$(now_ms)" -lt "$end" ] || break
        sleep 0.2
    done

    verdict "$1" "$found"
}

id() { echo "LOWER(HEX($1))"; }

say "-- events on their way"

for s in $services; do
    settles "$s: every event is at or below the relay's checkpoint" "
        SELECT COUNT(*) AS n, MIN(e.id), MAX(e.id) FROM opay_$s.events e
        WHERE e.id > COALESCE((SELECT MAX(position)
                               FROM opay_$s.relay_checkpoint), 0)
        HAVING n > 0"
done

# consumed TARGET SOURCE AGGREGATE: what one publishes, the other has applied
consumed() {
    settles "$1: every $3 event of $2 is applied" "
        SELECT $(id e.agg_id), MAX(e.version), MAX(i.last_version)
        FROM opay_$2.events e LEFT JOIN opay_$1.inbox i
             ON i.agg_type = e.agg_type AND i.agg_id = e.agg_id
        WHERE e.agg_type = '$3' GROUP BY e.agg_id
        HAVING MAX(e.version) <> COALESCE(MAX(i.last_version), 0) LIMIT 5"
}

consumed user auth user
consumed payment order order
consumed order payment payment

for s in $services; do
    settles "$s: nothing is parked" "
        SELECT topic, part, offs, ce_id, reason FROM opay_$s.parked_events
        ORDER BY id LIMIT 5"
done

say "-- the event stores"

mysql_at=$mysql_socket
case ${OPAY_MYSQL:-} in
    '') ;;
    unix:*) mysql_at=${OPAY_MYSQL#unix:} ;;
    *)      mysql_at=$OPAY_MYSQL ;;
esac

for s in $services; do
    fold=none
    case $s in order | payment) fold=$s ;; esac

    "$OUT/bin/opay-verify" -s "$mysql_at" -u "opay_$s" -p "$SECRETS/db_$s" \
        -d "opay_$s" -f $fold > "$tmp/out" 2> "$tmp/err" || true

    if [ -s "$tmp/err" ] || [ ! -s "$tmp/out" ]; then
        verdict "$s: the event store can be read" "$(cat "$tmp/err")"
    fi

    while read -r line; do
        case $line in
            'ok '*)     verdict "$s: ${line#ok }" "" ;;
            'not ok '*) line=${line#not ok }
                        verdict "$s: ${line%%:*}" "${line#*: }" ;;
        esac
    done < "$tmp/out"
done

say "-- orders"

none "every order's total is the sum of its items" "
    SELECT $(id o.id), o.total_amount, SUM(i.subtotal)
    FROM opay_order.orders o
         LEFT JOIN opay_order.order_items i ON i.order_id = o.id
    GROUP BY o.id, o.total_amount
    HAVING o.total_amount <> COALESCE(SUM(i.subtotal), -1) LIMIT 5"

none "every item's subtotal is price times quantity" "
    SELECT $(id order_id), item_no FROM opay_order.order_items
    WHERE subtotal <> price * quantity OR quantity < 1 LIMIT 5"

none "every order has the event of its version" "
    SELECT $(id o.id), o.version FROM opay_order.orders o
         LEFT JOIN opay_order.events e ON e.agg_type = 'order'
              AND e.agg_id = o.id AND e.version = o.version
    WHERE e.id IS NULL LIMIT 5"

say "-- payments"

none "every payment has the event of its version" "
    SELECT $(id p.id), p.version FROM opay_payment.payments p
         LEFT JOIN opay_payment.events e ON e.agg_type = 'payment'
              AND e.agg_id = p.id AND e.version = p.version
    WHERE e.id IS NULL LIMIT 5"

none "no order has two live attempts" "
    SELECT $(id order_id), COUNT(*) FROM opay_payment.payment_attempts
    WHERE state IN ('INIT', 'SENT', 'UNKNOWN', 'APPROVED')
    GROUP BY order_id HAVING COUNT(*) > 1 LIMIT 5"

none "refunds stay within what was charged" "
    SELECT $(id id), amount, refunded, refund_pending
    FROM opay_payment.payments
    WHERE refunded < 0 OR refund_pending < 0
          OR refunded + refund_pending > amount LIMIT 5"

none "the refunded amount is the sum of the refunds" "
    SELECT $(id p.id), p.refunded, p.refund_pending
    FROM opay_payment.payments p LEFT JOIN (
        SELECT payment_id,
               SUM(IF(state = 'SUCCEEDED', amount, 0)) AS done,
               SUM(IF(state IN ('INIT', 'SENT', 'UNKNOWN'), amount, 0))
                   AS pending
        FROM opay_payment.refunds GROUP BY payment_id) r
        ON r.payment_id = p.id
    WHERE p.refunded <> COALESCE(r.done, 0)
          OR p.refund_pending <> COALESCE(r.pending, 0) LIMIT 5"

settles "every charged payment has exactly one approved attempt" "
    SELECT $(id p.id), p.status, COUNT(a.id)
    FROM opay_payment.payments p
         LEFT JOIN opay_payment.payment_attempts a
              ON a.payment_id = p.id AND a.state = 'APPROVED'
    GROUP BY p.id, p.status
    HAVING COUNT(a.id) <> (p.status IN ('SUCCESS', 'REFUND_PENDING',
                                        'REFUNDED')) LIMIT 5"

settles "every paid order has one approved attempt, of the same amount" "
    SELECT $(id o.id), o.total_amount, MAX(p.amount), COUNT(a.id)
    FROM opay_order.orders o
         LEFT JOIN opay_payment.payment_attempts a
              ON a.order_id = o.id AND a.state = 'APPROVED'
         LEFT JOIN opay_payment.payments p ON p.id = a.payment_id
    WHERE o.status IN ('PAID', 'COMPLETED')
    GROUP BY o.id, o.total_amount, o.currency
    HAVING COUNT(a.id) <> 1 OR MAX(p.amount) <> o.total_amount
           OR MAX(p.currency) <> o.currency LIMIT 5"

settles "every charged payment has settled its order" "
    SELECT $(id p.order_id), p.status, o.status
    FROM opay_payment.payments p
         LEFT JOIN opay_order.orders o ON o.id = p.order_id
    WHERE p.status = 'SUCCESS'
          AND COALESCE(o.status, '') NOT IN ('PAID', 'COMPLETED')
    LIMIT 5"

settles "no outcome is open" "
    SELECT $(id id), status, outcome_unknown FROM opay_payment.payments
    WHERE status = 'PROCESSING' LIMIT 5"

for s in auth order payment user; do
    settles "$s: no request is in flight past its lease" "
        SELECT LOWER(HEX(scope)), lease_until FROM opay_$s.idempotency
        WHERE state = 0
              AND lease_until < ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) - 60000
        LIMIT 5"
done

# The provider's truth against ours, both ways.
ledger() {
    local end=$(($(now_ms) + wait_s * 1000)) diff=

    while :; do
        fetch "http://127.0.0.1:${ports[pgsim]}/_sim/ledger" > "$tmp/ledger" \
            || { verdict "the provider's ledger can be read" "no answer from \
pgsim"; return; }

        jq -r '.approvals[] | "\(.paymentKey) \(.amount)"' "$tmp/ledger" \
            | sort > "$tmp/theirs"
        sql "SELECT CONCAT(a.provider_id, ' ', p.amount)
             FROM opay_payment.payment_attempts a
                  JOIN opay_payment.payments p ON p.id = a.payment_id
             WHERE a.state = 'APPROVED'" | sort > "$tmp/ours"

        diff=$(diff "$tmp/theirs" "$tmp/ours" \
               | sed -n 's/^</only the provider has/p; s/^>/only we have/p')
        [ -n "$diff" ] && [ "$(now_ms)" -lt "$end" ] || break
        sleep 0.5
    done

    verdict "the provider's approvals are our approved attempts \
($(wc -l < "$tmp/theirs"))" "$diff"
}

programs | grep -qx pgsim && ledger

say
say "verify: $passed passed, $failed failed"
[ $failed -eq 0 ]
