
/*
 * What moves an order: the payment service's events, and time.
 *
 * DESIGN
 *
 * Every move is: the row locked, facts gathered, opay_order_step() asked,
 * row and events written; all in the caller's transaction.  The state machine
 * alone knows what is legal; here is what the facts are and where the money
 * fields come from.
 *
 * A payment event is about the payment that is its aggregate, and about the
 * order that is its key.  refunds_open follows the refunds of the order's
 * payment without an event of its own: nothing of the order has moved.
 */

#include "ngx_opay_order.h"

#include "opay_event.h"
#include "opay_json.h"
#include "opay_money.h"


/* The part of a payment event's data that an order cares about. */
typedef struct {
    int64_t      amount;               /* -1: absent */
    int64_t      refunded;             /* sum of refunds so far, -1: absent */
    const char  *currency;
    const char  *reason;
} ngx_opay_order_news_t;


static opay_db_rc_t ngx_opay_order_apply(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent);
static opay_db_rc_t ngx_opay_order_apply_locked(opay_db_t *db,
    opay_call_t *call, const ngx_opay_inbound_t *ev, ngx_opay_order_t *order,
    opay_order_trigger_e trigger, const char **permanent);
static const char *ngx_opay_order_news(const ngx_opay_inbound_t *ev,
    opay_order_trigger_e trigger, ngx_opay_order_news_t *news);
static int64_t ngx_opay_order_news_int(json_t *data, const char *name);
static const char *ngx_opay_order_news_text(json_t *data);
static unsigned ngx_opay_order_facts(const ngx_opay_order_t *order,
    const ngx_opay_inbound_t *ev, opay_order_trigger_e trigger,
    const ngx_opay_order_news_t *news);
static int ngx_opay_order_is_refund(opay_order_trigger_e trigger);
static int64_t ngx_opay_order_refunded(const ngx_opay_order_t *order,
    const ngx_opay_order_news_t *news);
static void ngx_opay_order_account(ngx_opay_order_t *order,
    const ngx_opay_inbound_t *ev, opay_order_trigger_e trigger,
    const opay_order_verdict_t *v, const ngx_opay_order_news_t *news);
static opay_str_t ngx_opay_order_failure(const ngx_opay_order_news_t *news);
static opay_db_rc_t ngx_opay_order_refunds_open(opay_db_t *db,
    ngx_opay_order_t *order, opay_order_trigger_e trigger, unsigned facts);
static const char *ngx_opay_order_refund_reason(const ngx_opay_order_t *order,
    const opay_order_verdict_t *v);
static opay_db_rc_t ngx_opay_order_expire_status(opay_db_t *db,
    opay_call_t *call, opay_order_status_e status, unsigned *full);


opay_db_rc_t
ngx_opay_order_move(opay_db_t *db, opay_call_t *call,
    ngx_opay_order_t *order, const opay_order_verdict_t *verdict,
    const ngx_opay_order_cause_t *cause)
{
    int                   full, refund;
    int64_t               was;
    unsigned              i;
    opay_str_t            type;
    opay_db_rc_t          rc;
    ngx_opay_event_t     *ev;
    opay_order_status_e   before;

    ev = opay_arena_zalloc(call->arena,
                           verdict->nevents * sizeof(ngx_opay_event_t));
    if (ev == NULL) {
        return OPAY_DB_ERROR;
    }

    was = order->version;
    full = (verdict->next.financial == OPAY_ORDER_REFUNDED);
    order->updated = call->now > order->updated ? call->now : order->updated;

    for (i = 0; i < verdict->nevents; i++) {

        type = opay_str_of(verdict->events[i]);
        before = order->state.status;
        refund = opay_str_is(type, OPAY_EVENT_ORDER_REFUND_REQUESTED);

        /* between two events of one move the order is what a reader folds */

        if (i + 1 == verdict->nevents
            || opay_order_apply_event(&order->state, type, full) != OPAY_OK)
        {
            order->state = verdict->next;
        }

        order->version++;

        ev[i].agg_type = OPAY_AGG_ORDER;
        ev[i].agg_id = order->id;
        ev[i].key = order->id;
        ev[i].version = order->version;
        ev[i].type = verdict->events[i];
        ev[i].actor = cause->actor;
        ev[i].traceparent = cause->traceparent;
        ev[i].data = ngx_opay_order_event_changed(call->arena, order, before,
                                                  refund, cause);
        if (ev[i].data.data == NULL) {
            return OPAY_DB_ERROR;
        }
    }

    rc = ngx_opay_order_store_update(db, order, was);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    call->wrote = 1;

    return ngx_opay_events_append(db, call->arena, ev, verdict->nevents);
}


opay_db_rc_t
ngx_opay_order_inbound(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_inbound_run(db, calls[0], ngx_opay_order_apply);
}


static opay_db_rc_t
ngx_opay_order_apply(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent)
{
    opay_db_rc_t          rc;
    ngx_opay_order_t      order;
    opay_order_trigger_e  trigger;

    trigger = opay_order_trigger_of(ev->type);

    if (trigger == OPAY_ORDER_T_MAX) {
        return OPAY_DB_OK;
    }

    rc = ngx_opay_order_store_lock(db, call->arena, &ev->key, &order);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (order.version == 0) {
        *permanent = "unknown_order";
        return OPAY_DB_OK;
    }

    return ngx_opay_order_apply_locked(db, call, ev, &order, trigger,
                                       permanent);
}


static opay_db_rc_t
ngx_opay_order_apply_locked(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, ngx_opay_order_t *order,
    opay_order_trigger_e trigger, const char **permanent)
{
    char                    id[OPAY_UUID_TEXT + 1];
    unsigned                facts;
    opay_order_verdict_t    v;
    ngx_opay_order_news_t   news;
    ngx_opay_order_cause_t  cause;

    *permanent = ngx_opay_order_news(ev, trigger, &news);

    if (*permanent) {
        return OPAY_DB_OK;
    }

    facts = ngx_opay_order_facts(order, ev, trigger, &news);
    v = opay_order_step(&order->state, trigger, facts);

    if (v.alert) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "opay: order %s: \"%*s\" in status %s needs a look: "
                      "%s", opay_uuid_format(&order->id, id),
                      ev->type.len, ev->type.data,
                      opay_order_status_name(order->state.status),
                      v.kind == OPAY_STEP_REFUSE ? v.reason
                      : v.kind == OPAY_STEP_NOOP ? "nothing was done"
                      : v.events[v.nevents - 1]);
    }

    if (v.kind == OPAY_STEP_REFUSE) {
        *permanent = v.reason;
        return OPAY_DB_OK;
    }

    if (v.kind == OPAY_STEP_NOOP) {
        return ngx_opay_order_refunds_open(db, order, trigger, facts);
    }

    memset(&cause, 0, sizeof(ngx_opay_order_cause_t));

    cause.actor = "payment";
    cause.traceparent = opay_arena_str(call->arena, ev->traceparent).data;
    cause.payment = &ev->agg_id;
    cause.amount = news.amount;
    cause.reason = (trigger == OPAY_ORDER_T_PAYMENT_SUCCEEDED)
                   ? ngx_opay_order_refund_reason(order, &v) : NULL;

    ngx_opay_order_account(order, ev, trigger, &v, &news);

    return ngx_opay_order_move(db, call, order, &v, &cause);
}


/* NULL, or why the event can never be applied. */

static const char *
ngx_opay_order_news(const ngx_opay_inbound_t *ev,
    opay_order_trigger_e trigger, ngx_opay_order_news_t *news)
{
    news->amount = ngx_opay_order_news_int(ev->data, "amount");
    news->refunded = ngx_opay_order_news_int(ev->data, "refundedAmount");
    news->currency = json_string_value(json_object_get(ev->data, "currency"));
    news->reason = ngx_opay_order_news_text(ev->data);

    switch (trigger) {

    case OPAY_ORDER_T_PAYMENT_CREATED:
    case OPAY_ORDER_T_PAYMENT_SUCCEEDED:
        return (news->amount < 0 || news->currency == NULL) ? "bad_data"
                                                            : NULL;

    case OPAY_ORDER_T_REFUND_SUCCEEDED:
        return (news->amount < 0 && news->refunded < 0) ? "bad_data" : NULL;

    default:
        return NULL;
    }
}


static int64_t
ngx_opay_order_news_int(json_t *data, const char *name)
{
    json_t  *v;

    v = json_object_get(data, name);

    if (!json_is_integer(v) || !opay_money_valid(json_integer_value(v))) {
        return -1;
    }

    return json_integer_value(v);
}


static const char *
ngx_opay_order_news_text(json_t *data)
{
    json_t  *v;

    v = json_object_get(data, "failureReason");

    if (!json_is_string(v)) {
        v = json_object_get(data, "reason");
    }

    return json_string_value(v);
}


static unsigned
ngx_opay_order_facts(const ngx_opay_order_t *order,
    const ngx_opay_inbound_t *ev, opay_order_trigger_e trigger,
    const ngx_opay_order_news_t *news)
{
    unsigned  facts;

    facts = 0;

    if (ev->time > order->expires) {
        facts |= OPAY_ORDER_F_EXPIRED;
    }

    if (news->amount == order->total
        && opay_str_eq(opay_str_of(news->currency), order->currency))
    {
        facts |= OPAY_ORDER_F_AMOUNT_OK;
    }

    /* a refund cannot be of an order that has taken no payment as its own */

    if (order->has_payment
        ? opay_uuid_eq(&order->payment, &ev->agg_id)
        : !ngx_opay_order_is_refund(trigger))
    {
        facts |= OPAY_ORDER_F_SAME_PAYMENT;
    }

    if (trigger == OPAY_ORDER_T_REFUND_SUCCEEDED
        && ngx_opay_order_refunded(order, news) >= order->captured)
    {
        facts |= OPAY_ORDER_F_FULL_REFUND;
    }

    if (order->refunds_open > 0) {
        facts |= OPAY_ORDER_F_OPEN_REFUND;
    }

    return facts;
}


static int
ngx_opay_order_is_refund(opay_order_trigger_e trigger)
{
    return trigger == OPAY_ORDER_T_REFUND_CREATED
           || trigger == OPAY_ORDER_T_REFUND_SUCCEEDED
           || trigger == OPAY_ORDER_T_REFUND_FAILED
           || trigger == OPAY_ORDER_T_PAYMENT_REFUNDED;
}


/* What is refunded of the order with this event; never over what came in. */

static int64_t
ngx_opay_order_refunded(const ngx_opay_order_t *order,
    const ngx_opay_order_news_t *news)
{
    int64_t  sum;

    sum = news->refunded >= 0 ? news->refunded
                              : order->refunded + news->amount;

    return sum < order->captured ? sum : order->captured;
}


static void
ngx_opay_order_account(ngx_opay_order_t *order,
    const ngx_opay_inbound_t *ev, opay_order_trigger_e trigger,
    const opay_order_verdict_t *v, const ngx_opay_order_news_t *news)
{
    if (v->attach) {
        order->has_payment = 1;
        order->payment = ev->agg_id;
        order->failure.len = 0;
        order->failure.data = NULL;
    }

    switch (trigger) {

    case OPAY_ORDER_T_PAYMENT_SUCCEEDED:
        if (v->attach) {
            order->captured = news->amount;
            order->refunded = 0;
        }

        break;

    case OPAY_ORDER_T_PAYMENT_FAILED:
    case OPAY_ORDER_T_PAYMENT_CANCELLED:
        if (v->next.status == OPAY_ORDER_FAILED) {
            order->failure = ngx_opay_order_failure(news);
        }

        break;

    case OPAY_ORDER_T_REFUND_SUCCEEDED:
        order->refunded = ngx_opay_order_refunded(order, news);

        /* fall through */

    case OPAY_ORDER_T_REFUND_FAILED:
        order->refunds_open -= (order->refunds_open > 0);
        break;

    default:
        break;
    }
}


/* As much of the payment's reason as the column holds. */

static opay_str_t
ngx_opay_order_failure(const ngx_opay_order_news_t *news)
{
    size_t       n;
    opay_str_t   s;
    const char  *p, *end;

    s = opay_str_of(news->reason ? news->reason : "The payment was cancelled");

    for (n = 0, p = s.data, end = p + s.len;
         n < NGX_OPAY_ORDER_FAILURE && p < end;
         n++)
    {
        p += opay_utf8_next(p, end);
    }

    s.len = p - s.data;

    return s;
}


static opay_db_rc_t
ngx_opay_order_refunds_open(opay_db_t *db, ngx_opay_order_t *order,
    opay_order_trigger_e trigger, unsigned facts)
{
    int  d;

    switch (trigger) {

    case OPAY_ORDER_T_REFUND_CREATED:
        d = 1;
        break;

    case OPAY_ORDER_T_REFUND_SUCCEEDED:
    case OPAY_ORDER_T_REFUND_FAILED:
        d = (order->refunds_open > 0) ? -1 : 0;
        break;

    default:
        d = 0;
    }

    if (d == 0 || !(facts & OPAY_ORDER_F_SAME_PAYMENT)) {
        return OPAY_DB_OK;
    }

    order->refunds_open += d;

    return ngx_opay_order_store_update(db, order, order->version);
}


/* Why what was just paid goes back; NULL: it does not. */

static const char *
ngx_opay_order_refund_reason(const ngx_opay_order_t *order,
    const opay_order_verdict_t *v)
{
    if (strcmp(v->events[v->nevents - 1], OPAY_EVENT_ORDER_REFUND_REQUESTED)
        != 0)
    {
        return NULL;
    }

    if (order->state.pending == OPAY_ORDER_OP_CANCEL && v->attach) {
        return "order_cancelled";
    }

    return v->attach ? "late_payment" : "duplicate_payment";
}


/*
 * Expiry.  Orders with a payment under way are PENDING and are not swept;
 * the grace lets a payment.created that is on its way arrive before.
 */

void
ngx_opay_order_expire_make(opay_call_t *call)
{
    call->cmd = opay_arena_zalloc(call->arena, sizeof(unsigned));
}


opay_db_rc_t
ngx_opay_order_expire(opay_db_t *db, opay_call_t **calls, size_t n)
{
    unsigned      full;
    opay_db_rc_t  rc;

    (void) n;

    full = 0;

    rc = ngx_opay_order_expire_status(db, calls[0], OPAY_ORDER_CREATED,
                                      &full);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_order_expire_status(db, calls[0], OPAY_ORDER_FAILED,
                                      &full);

    if (calls[0]->cmd) {
        *(unsigned *) calls[0]->cmd = full;
    }

    return rc;
}


static opay_db_rc_t
ngx_opay_order_expire_status(opay_db_t *db, opay_call_t *call,
    opay_order_status_e status, unsigned *full)
{
    size_t                       i, n;
    opay_db_rc_t                 rc;
    ngx_opay_order_t            *orders;
    opay_order_verdict_t         v;
    ngx_opay_order_cause_t       cause;
    const ngx_opay_order_conf_t *conf;

    conf = call->conf;

    rc = ngx_opay_order_store_expired(db, call->arena, status,
                                      call->now - (int64_t) conf->grace,
                                      NGX_OPAY_ORDER_SWEEP, &orders, &n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    memset(&cause, 0, sizeof(ngx_opay_order_cause_t));

    cause.actor = "system";
    cause.reason = "expired";

    for (i = 0; i < n; i++) {

        v = opay_order_step(&orders[i].state, OPAY_ORDER_T_EXPIRE,
                            OPAY_ORDER_F_EXPIRED);

        if (v.kind != OPAY_STEP_APPLY) {
            continue;
        }

        rc = ngx_opay_order_move(db, call, &orders[i], &v, &cause);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    *full |= (n == NGX_OPAY_ORDER_SWEEP);

    return OPAY_DB_OK;
}


/* Event loop: a full run is followed by the next at once. */

void
ngx_opay_order_expire_again(opay_call_t *call)
{
    if (call->cmd && *(unsigned *) call->cmd) {
        ngx_opay_job_kick(call->conf, NGX_OPAY_ORDER_EXPIRE_JOB);
    }
}
