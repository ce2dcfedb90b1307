
/*
 * Order events.
 *
 * DESIGN
 *
 * Every order event updates payable_order, which says what may be paid and
 * how much.  Three of them also concern a payment of the order:
 *
 *   order.cancel_requested, order.cancelled   cancel what is live: a wish
 *                                             while the outcome is open, a
 *                                             refund once charged
 *   order.refund_requested                    refund the payment it names
 *
 * Several of them may ask for the same money back; a refund never exceeds
 * what remains, so the later ones do nothing.
 */

#include "ngx_opay_payment.h"

#include "opay_event.h"
#include "opay_money.h"


static opay_db_rc_t ngx_opay_payment_event(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent);
static int ngx_opay_payment_event_order(const ngx_opay_inbound_t *ev,
    ngx_opay_payable_t *order);
static opay_db_rc_t ngx_opay_payment_event_cancel(opay_db_t *db,
    opay_call_t *call, const ngx_opay_inbound_t *ev,
    const ngx_opay_payment_cause_t *cause);
static opay_db_rc_t ngx_opay_payment_event_refund(opay_db_t *db,
    opay_call_t *call, const ngx_opay_inbound_t *ev,
    const ngx_opay_payment_cause_t *cause, const char **permanent);
static opay_str_t ngx_opay_payment_event_text(json_t *data,
    const char *name);


opay_db_rc_t
ngx_opay_payment_inbound(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_inbound_run(db, calls[0], ngx_opay_payment_event);
}


static opay_db_rc_t
ngx_opay_payment_event(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent)
{
    opay_str_t                reason;
    opay_db_rc_t              rc;
    ngx_opay_payable_t        order, known;
    ngx_opay_payment_cause_t  cause;

    if (!opay_str_is(ev->agg_type, OPAY_AGG_ORDER)) {
        return OPAY_DB_OK;
    }

    ngx_memzero(&cause, sizeof(ngx_opay_payment_cause_t));

    reason = ngx_opay_payment_event_text(ev->data, "reason");

    cause.actor = "order";
    cause.traceparent = ev->traceparent.data;
    cause.reason = reason.data ? reason.data : "order_cancelled";

    if (ngx_opay_payment_event_order(ev, &order) != OPAY_OK) {
        *permanent = "bad_data";
        return OPAY_DB_OK;
    }

    if (opay_str_is(ev->type, OPAY_EVENT_ORDER_REFUND_REQUESTED)) {

        /* the order's row first, as paying does */

        rc = ngx_opay_payment_store_order_lock(db, call->arena, &ev->agg_id,
                                               &known);

        if (rc == OPAY_DB_OK) {
            rc = ngx_opay_payment_event_refund(db, call, ev, &cause,
                                               permanent);
        }

        if (rc != OPAY_DB_OK || *permanent) {
            return rc;
        }
    }

    rc = ngx_opay_payment_store_order_put(db, &order, opay_now_ms());
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (opay_str_is(ev->type, OPAY_EVENT_ORDER_CANCEL_REQUESTED)
        || opay_str_is(ev->type, OPAY_EVENT_ORDER_CANCELLED))
    {
        return ngx_opay_payment_event_cancel(db, call, ev, &cause);
    }

    return OPAY_DB_OK;
}


static int
ngx_opay_payment_event_order(const ngx_opay_inbound_t *ev,
    ngx_opay_payable_t *order)
{
    json_t  *total;

    ngx_memzero(order, sizeof(ngx_opay_payable_t));

    order->id = ev->agg_id;
    order->version = ev->version;
    order->currency = ngx_opay_payment_event_text(ev->data, "currency");
    order->status = ngx_opay_payment_event_text(ev->data, "status");
    order->pending = ngx_opay_payment_event_text(ev->data,
                                                 "pendingOperation");

    total = json_object_get(ev->data, "totalAmount");
    order->total = json_is_integer(total) ? json_integer_value(total) : -1;

    if (opay_uuid_parse(ngx_opay_payment_event_text(ev->data, "userId"),
                        &order->user)
        != OPAY_OK
        || !opay_money_valid(order->total) || order->currency.len != 3
        || order->status.len == 0 || order->status.len > 16
        || order->pending.len > 8)
    {
        return OPAY_ERROR;
    }

    if (opay_time_parse(ngx_opay_payment_event_text(ev->data, "expiresAt"),
                        &order->expires)
        != OPAY_OK)
    {
        order->expires = 0;
    }

    return OPAY_OK;
}


static opay_db_rc_t
ngx_opay_payment_event_cancel(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const ngx_opay_payment_cause_t *cause)
{
    unsigned             found;
    opay_uuid_t          live;
    opay_db_rc_t         rc;
    ngx_opay_payment_t   p;

    rc = ngx_opay_payment_store_live(db, call->arena, &ev->agg_id, &live,
                                     &found);
    if (rc != OPAY_DB_OK || !found) {
        return rc;
    }

    rc = ngx_opay_payment_store_lock(db, call->arena, &live, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_cancel(db, call, &p, cause);
}


static opay_db_rc_t
ngx_opay_payment_event_refund(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const ngx_opay_payment_cause_t *cause,
    const char **permanent)
{
    json_t              *amount;
    opay_uuid_t          id;
    opay_db_rc_t         rc;
    ngx_opay_payment_t   p;

    if (opay_uuid_parse(ngx_opay_payment_event_text(ev->data, "paymentId"),
                        &id)
        != OPAY_OK)
    {
        *permanent = "bad_data";
        return OPAY_DB_OK;
    }

    rc = ngx_opay_payment_store_lock(db, call->arena, &id, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (p.version == 0 || !opay_uuid_eq(&p.order, &ev->agg_id)) {
        *permanent = "unknown_payment";
        return OPAY_DB_OK;
    }

    amount = json_object_get(ev->data, "amount");

    return ngx_opay_payment_refund(db, call, &p,
                                   json_is_integer(amount)
                                   ? json_integer_value(amount) : p.amount,
                                   cause);
}


static opay_str_t
ngx_opay_payment_event_text(json_t *data, const char *name)
{
    json_t      *v;
    opay_str_t   s = opay_str_null;

    v = json_object_get(data, name);

    if (json_is_string(v)) {
        s.data = json_string_value(v);
        s.len = json_string_length(v);
    }

    return s;
}
