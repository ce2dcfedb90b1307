#!/bin/bash
#
# ./opay demo: an order from signup to PAID, against the gateway, with the
# time of each step.  Non-zero exit when a step is not as the contract says.

. "$(dirname "$0")/lib.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
token= status= body=$tmp/body headers=$tmp/headers
t_story=$(now_ms)

fetch "$gateway/livez" > /dev/null \
    || die "the gateway does not answer at $gateway: ./opay up"

# call METHOD PATH [JSON] [HEADER ...]: sets status, writes $body
call() {
    local method=$1 path=$2 json=${3:-} args=() h
    shift 2
    [ $# -eq 0 ] || shift

    [ -z "$token" ] || args+=(-H "Authorization: Bearer $token")
    [ -z "$json" ] || args+=(-H 'Content-Type: application/json' -d "$json")
    for h in "$@"; do args+=(-H "$h"); done

    status=$(curl -sS -m 15 -o "$body" -D "$headers" -w '%{http_code}' \
             -X "$method" "${args[@]}" "$gateway$path" 2> "$tmp/err") \
        || { wrong "$(cat "$tmp/err")"; }
}

at() { jq -r "$1" < "$body"; }

wrong() {
    printf 'WRONG\n'
    warn "$step_name: $1"
    [ ! -s "$body" ] || head -c 2000 "$body" >&2
    echo >&2
    exit 1
}

# expect STATUS [JQ-CONDITION]
expect() {
    [ "$status" = "$1" ] || wrong "answered $status instead of $1"
    [ -z "${2:-}" ] || [ "$(jq "$2" < "$body" 2> /dev/null)" = true ] \
        || wrong "the answer is not as expected: $2"
}

ms_of() { date -d "$1" +%s%3N; }

uuid() { cat /proc/sys/kernel/random/uuid; }

email=demo-$(uuid | cut -c1-8)@example.com
password=$(hex 12)

step "sign up $email"
call POST /api/auth/signup "$(jq -nc --arg e "$email" --arg p "$password" \
    '{email: $e, password: $p, name: "Demo Kim", phoneNumber: "010-1234-5678",
      address: "1 Sejong-daero, Seoul"}')"
expect 201 '.roles == ["USER"]'
user=$(at .id)
step_ok "user $user"

step "log in"
call POST /api/auth/login "$(jq -nc --arg e "$email" --arg p "$password" \
    '{email: $e, password: $p}')"
expect 200 '.tokenType == "Bearer" and .expiresIn == 300'
token=$(at .accessToken)
step_ok "token for $(at .expiresIn) s"

# Made from the user.created event, or from the token when that is earlier.
has_profile() { call GET /api/users/me; [ "$(at .email)" = "$email" ]; }

step "my profile"
until_ok 10 has_profile || wrong "the profile is not there after 10 s"
expect 200 ".id == \"$user\" and .name == \"Demo Kim\""
step_ok "$(at .name)"

step "list products"
call GET /api/products
expect 200 '(.content | length) >= 2'
first=$(at '.content[0].id') second=$(at '.content[1].id')
want=$(at '.content[0].price * 2 + .content[1].price')
step_ok "$(at '.content | length') products"
at '.content[] | "    \(.price) \(.currency)  \(.name)"' | head -6

step "place an order"
call POST /api/orders "$(jq -nc --arg a "$first" --arg b "$second" \
    '{shippingAddress: "1 Sejong-daero, Seoul",
      items: [{productId: $a, quantity: 2}, {productId: $b, quantity: 1}]}')" \
    "Idempotency-Key: $(uuid)"
expect 201 ".status == \"CREATED\" and .totalAmount == $want"
order=$(at .id)
step_ok "$(at .orderNumber): $(at .totalAmount) $(at .currency)"

# The payment service learns of the order through Kafka; a client that is
# quicker is told to try again.
pay() {
    call POST /api/payments "$(jq -nc --arg o "$order" \
        '{orderId: $o, paymentMethod: "CREDIT_CARD",
          paymentToken: "tok_ok"}')" "Idempotency-Key: $key"
    [ "$status" != 409 ] || [ "$(at .code)" != order_not_yet_known ]
}

step "pay with tok_ok"
key=$(uuid)
until_ok 10 pay || wrong "the payment service never learned of the order"
expect 201 ".status == \"SUCCESS\" and .amount == $want"
payment=$(at .id)
charged_at=$(at .updatedAt)
t_paid=$(now_ms)
step_ok "payment $(at .status)"

is_paid() { call GET "/api/orders/$order"; [ "$(at .status)" = PAID ]; }

step "the order turns PAID through Kafka"
until_ok 10 is_paid || wrong "still $(at .status) after 10 s"
expect 200 ".paymentId == \"$payment\""
step_ok "PAID $(($(now_ms) - t_paid)) ms after the payment's answer"

step "the same request again is answered from memory"
pay
expect 201 ".id == \"$payment\""
grep -qi '^idempotent-replayed: true' "$headers" \
    || wrong "Idempotent-Replayed is missing"
step_ok "replayed"

step "the order's history"
call GET "/api/orders/$order/history"
expect 200 '[.content[].version] | sort == [range(1; length + 1)]'
settled_at=$(at '.content[] | select(.type == "order.paid") | .at')
step_ok "$(at '.content | length') events; PAID $(($(ms_of "$settled_at") \
    - $(ms_of "$charged_at"))) ms after the charge, by their own clocks"
at '.content | sort_by(.version)[]
    | "    \(.version)  \(.type)  \(.previousStatus // "-") -> \(.newStatus)"'

# topic, key, wanted types...
topic_has() {
    local topic=$1 key=$2 type
    shift 2

    timeout 10 kcat -b "$kafka" -C -e -q -t "$topic" -f '%k %h\n' \
        2> "$tmp/err" | grep "^$key " | tr ',' '\n' \
        | sed -n 's/^ce_type=\([a-z_.]*\).*/\1/p' > "$tmp/types" || true

    for type in "$@"; do
        grep -qx "$type" "$tmp/types" || return 1
    done
}

step "events on order-events"
until_ok 10 topic_has order-events "$order" order.created \
    order.payment_pending order.paid || wrong "found: $(paste -sd' ' \
                                               "$tmp/types") $(cat "$tmp/err")"
step_ok "$(paste -sd' ' "$tmp/types")"

step "events on payment-events"
until_ok 10 topic_has payment-events "$order" payment.created \
    payment.succeeded || wrong "found: $(paste -sd' ' "$tmp/types")"
step_ok "$(paste -sd' ' "$tmp/types")"

step "events on user-events"
until_ok 10 topic_has user-events "$user" user.created \
    || wrong "found: $(paste -sd' ' "$tmp/types")"
step_ok "$(paste -sd' ' "$tmp/types")"

step "what is not mine is not found"
call GET "/api/orders/$(uuid)"
expect 404 '.code == "not_found" and (.traceId | length) == 32'
step_ok "404 $(at .code)"

step "without a token"
token=
call GET /api/orders
expect 401 '.code == "unauthenticated"'
step_ok "401 $(at .code)"

say
say "From signup to PAID in $((t_paid - t_story)) ms; every step" \
    "was as it should be."
