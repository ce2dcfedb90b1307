
/*
 * The one way a payment changes.
 *
 * DESIGN
 *
 * Every move is: the row locked, lib/opay_fsm_payment asked, row and events
 * written, in the caller's transaction.  The request path, the jobs and the
 * order events meet here; whoever comes second finds the state already moved
 * and gets a NOOP.  Contradictions (declined after success) are logged and
 * change nothing: the first definite word stands.
 */

#include "ngx_opay_payment.h"

#include "opay_event.h"


#define NGX_OPAY_PAYMENT_DAY   (24 * 3600 * 1000LL)


static void ngx_opay_payment_log(ngx_uint_t level, const char *what,
    const opay_uuid_t *id, const char *detail);
static void ngx_opay_payment_note(ngx_opay_payment_t *p,
    const opay_toss_result_t *res, opay_payment_trigger_e trigger,
    const opay_payment_verdict_t *v);
static opay_db_rc_t ngx_opay_payment_apply(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const opay_payment_verdict_t *v,
    ngx_opay_payment_cause_t *cause, int64_t refund);
static opay_str_t ngx_opay_payment_reason(opay_arena_t *a, const char *s);


opay_db_rc_t
ngx_opay_payment_move(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const opay_payment_verdict_t *verdict,
    const ngx_opay_payment_cause_t *cause)
{
    int64_t                 was, now;
    unsigned                i;
    const char             *trace;
    opay_db_rc_t            rc;
    ngx_opay_event_t       *ev;
    opay_payment_status_e   before;

    ev = opay_arena_zalloc(call->arena,
                           verdict->nevents * sizeof(ngx_opay_event_t));
    if (ev == NULL) {
        return OPAY_DB_ERROR;
    }

    was = p->version;
    now = opay_now_ms();
    p->updated = now > p->updated ? now : p->updated;

    trace = (cause->traceparent && cause->traceparent[0])
            ? cause->traceparent
            : p->traceparent.data ? opay_arena_str(call->arena,
                                                   p->traceparent).data
                                  : NULL;

    for (i = 0; i < verdict->nevents; i++) {

        before = p->state.status;

        /* between two events of one move it is what a reader folds */

        if (i + 1 == verdict->nevents
            || opay_payment_apply_event(&p->state,
                                        opay_str_of(verdict->events[i]))
               != OPAY_OK)
        {
            p->state = verdict->next;
        }

        p->version++;

        ev[i].agg_type = OPAY_AGG_PAYMENT;
        ev[i].agg_id = p->id;
        ev[i].key = p->order;
        ev[i].version = p->version;
        ev[i].type = verdict->events[i];
        ev[i].actor = cause->actor;
        ev[i].traceparent = trace;
        ev[i].data = ngx_opay_payment_event_data(call->arena, p, before,
                                                 verdict->events[i], cause);
        if (ev[i].data.data == NULL) {
            return OPAY_DB_ERROR;
        }
    }

    if (was) {
        rc = ngx_opay_payment_store_update(db, p, was);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    call->wrote = 1;

    return ngx_opay_events_append(db, call->arena, ev, verdict->nevents);
}


opay_db_rc_t
ngx_opay_payment_settle(opay_db_t *db, opay_call_t *call,
    const ngx_opay_attempt_t *t, const opay_toss_result_t *res,
    const char *actor, ngx_opay_payment_t *p)
{
    int64_t                   next_try, now;
    unsigned                  facts;
    opay_step_e               step;
    opay_db_rc_t              rc;
    opay_attempt_status_e     state, next;
    opay_attempt_trigger_e    at;
    opay_payment_trigger_e    trigger;
    opay_payment_verdict_t    v;
    ngx_opay_payment_cause_t  cause;

    rc = ngx_opay_payment_store_lock(db, call->arena, &t->payment, p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_payment_store_attempt_state(db, call->arena, &t->id,
                                              &state);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (res->alarm) {
        ngx_opay_payment_log(NGX_LOG_ALERT, "provider's answer", &t->id,
                             res->failure ? res->failure
                                          : "our key is refused");
    }

    at = OPAY_ATTEMPT_T_UNKNOWN;
    trigger = OPAY_PAYMENT_T_UNKNOWN;

    if (res->outcome == OPAY_TOSS_APPROVED) {
        at = OPAY_ATTEMPT_T_YES;
        trigger = OPAY_PAYMENT_T_APPROVED;

    } else if (res->outcome == OPAY_TOSS_DECLINED) {
        at = OPAY_ATTEMPT_T_NO;
        trigger = OPAY_PAYMENT_T_DECLINED;
    }

    step = opay_attempt_step(state, at, &next);

    if (step == OPAY_STEP_NOOP) {
        return OPAY_DB_OK;
    }

    facts = OPAY_PAYMENT_F_AMOUNT_OK
            | (p->wish ? OPAY_PAYMENT_F_CANCEL_WISH : 0);

    v = opay_payment_step(&p->state, trigger, facts);

    if (step == OPAY_STEP_REFUSE || v.kind == OPAY_STEP_REFUSE) {
        ngx_opay_payment_log(NGX_LOG_ALERT, "contradiction", &t->id,
                             v.reason ? v.reason : "attempt is settled");
        return OPAY_DB_OK;
    }

    now = opay_now_ms();
    next_try = next == OPAY_ATTEMPT_UNKNOWN
               ? now + ngx_opay_payment_delay(0, 0) : 0;

    rc = ngx_opay_payment_store_attempt_set(db, &t->id, next, res, next_try,
                                            now);
    if (rc != OPAY_DB_OK || v.kind != OPAY_STEP_APPLY) {
        return rc;
    }

    memset(&cause, 0, sizeof(ngx_opay_payment_cause_t));

    cause.actor = actor;
    cause.traceparent = call->traceparent;
    cause.retryable = res->retryable;

    ngx_opay_payment_note(p, res, trigger, &v);

    if (v.refund) {
        cause.reason = "order_cancelled";
    }

    return ngx_opay_payment_apply(db, call, p, &v, &cause, p->amount);
}


/* What the provider's answer leaves on the payment's row. */

static void
ngx_opay_payment_note(ngx_opay_payment_t *p, const opay_toss_result_t *res,
    opay_payment_trigger_e trigger, const opay_payment_verdict_t *v)
{
    if (trigger == OPAY_PAYMENT_T_APPROVED) {
        p->transaction = res->provider_id;
        return;
    }

    if (trigger != OPAY_PAYMENT_T_DECLINED) {
        return;
    }

    p->failure_code = opay_str_of(res->failure ? res->failure : "declined");
    p->failure_reason = opay_str_of(res->reason ? res->reason
                                    : "The provider refused the payment.");

    if (v->next.status == OPAY_PAYMENT_CANCELLED) {
        p->cancelled = opay_now_ms();
    }
}


/* Moves the payment; where the verdict asks for a refund, opens it too. */

static opay_db_rc_t
ngx_opay_payment_apply(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const opay_payment_verdict_t *v,
    ngx_opay_payment_cause_t *cause, int64_t refund)
{
    opay_db_rc_t        rc;
    ngx_opay_attempt_t  r;

    if (!v->refund) {
        return ngx_opay_payment_move(db, call, p, v, cause);
    }

    memset(&r, 0, sizeof(ngx_opay_attempt_t));

    if (opay_uuid_v7(&r.id) != OPAY_OK) {
        return OPAY_DB_ERROR;
    }

    r.payment = p->id;
    r.amount = refund;
    r.reason = ngx_opay_payment_reason(call->arena, cause->reason);

    p->refund_pending += refund;
    p->refund_reason = r.reason;
    p->refund_requested = opay_now_ms();

    cause->refund = &r;

    rc = ngx_opay_payment_move(db, call, p, v, cause);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_store_refund_insert(db, &r, p->updated);
}


/* At most what the column takes, cut between characters. */

static opay_str_t
ngx_opay_payment_reason(opay_arena_t *a, const char *s)
{
    opay_str_t  r;

    r = opay_arena_str(a, opay_str_of(s ? s : "refund"));

    if (r.data == NULL) {
        return opay_str_of("refund");
    }

    if (r.len > 255) {
        r.len = 255;

        while (r.len && ((u_char) r.data[r.len] & 0xc0) == 0x80) {
            r.len--;
        }
    }

    return r;
}


opay_db_rc_t
ngx_opay_payment_cancel(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const ngx_opay_payment_cause_t *why)
{
    int64_t                   left;
    opay_payment_verdict_t    v;
    ngx_opay_payment_cause_t  cause;

    cause = *why;
    left = p->amount - p->refunded - p->refund_pending;

    v = opay_payment_step(&p->state, OPAY_PAYMENT_T_CANCEL, 0);

    if (v.wish) {
        if (p->wish) {
            return OPAY_DB_OK;
        }

        /* not an event of its own: nothing has happened yet */

        p->wish = 1;
        p->cancel_reason = ngx_opay_payment_reason(call->arena,
                                                   cause.reason);

        return ngx_opay_payment_store_update(db, p, p->version);
    }

    /* FAILED is as good as cancelled: no money, nothing under way */

    if (v.kind != OPAY_STEP_APPLY || (v.refund && left == 0)) {
        return OPAY_DB_OK;
    }

    if (!v.refund) {
        p->cancelled = opay_now_ms();
    }

    p->cancel_reason = ngx_opay_payment_reason(call->arena, cause.reason);

    return ngx_opay_payment_apply(db, call, p, &v, &cause, left);
}


opay_db_rc_t
ngx_opay_payment_refund(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, int64_t amount,
    const ngx_opay_payment_cause_t *why)
{
    int64_t                   left;
    opay_payment_verdict_t    v;
    ngx_opay_payment_cause_t  cause;

    left = p->amount - p->refunded - p->refund_pending;
    amount = amount < left ? amount : left;

    v = opay_payment_step(&p->state, OPAY_PAYMENT_T_REFUND_CREATE, 0);

    /* nothing left: an earlier event or a cancel wish was there first */

    if (v.kind != OPAY_STEP_APPLY || amount <= 0) {
        return OPAY_DB_OK;
    }

    cause = *why;
    v.refund = 1;

    return ngx_opay_payment_apply(db, call, p, &v, &cause, amount);
}


opay_db_rc_t
ngx_opay_payment_settle_refund(opay_db_t *db, opay_call_t *call,
    ngx_opay_attempt_t *r, const opay_toss_result_t *res)
{
    unsigned                  facts, yes;
    opay_step_e               step;
    opay_db_rc_t              rc;
    ngx_opay_payment_t        p;
    opay_attempt_status_e     state, next;
    opay_payment_verdict_t    v;
    ngx_opay_payment_cause_t  cause;

    if (res->alarm) {
        ngx_opay_payment_log(NGX_LOG_ALERT, "provider's answer", &r->id,
                             res->failure ? res->failure
                                          : "our key is refused");
    }

    yes = (res->outcome == OPAY_TOSS_REFUNDED);

    if (!yes && res->outcome != OPAY_TOSS_REFUND_FAILED) {
        return OPAY_DB_OK;             /* the next try is set already */
    }

    rc = ngx_opay_payment_store_lock(db, call->arena, &r->payment, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_payment_store_refund_state(db, call->arena, &r->id, &state);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    step = opay_attempt_step(state, yes ? OPAY_ATTEMPT_T_YES
                                        : OPAY_ATTEMPT_T_NO, &next);

    if (step == OPAY_STEP_NOOP) {
        return OPAY_DB_OK;
    }

    facts = (yes && p.refunded + r->amount == p.amount)
            ? OPAY_PAYMENT_F_FULL_REFUND : 0;

    v = opay_payment_step(&p.state, yes ? OPAY_PAYMENT_T_REFUND_SUCCEEDED
                                        : OPAY_PAYMENT_T_REFUND_FAILED,
                          facts);

    if (step == OPAY_STEP_REFUSE || v.kind != OPAY_STEP_APPLY) {
        ngx_opay_payment_log(NGX_LOG_ALERT, "contradiction", &r->id,
                             v.reason ? v.reason : "refund is settled");
        return OPAY_DB_OK;
    }

    rc = ngx_opay_payment_store_refund_set(db, &r->id, next, res, 0,
                                           opay_now_ms());
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    p.refund_pending -= r->amount;

    if (yes) {
        p.refunded += r->amount;
        p.refunded_at = opay_now_ms();

    } else {
        p.failure_code = opay_str_of(res->failure);
        p.failure_reason = opay_str_of(res->reason);
    }

    memset(&cause, 0, sizeof(ngx_opay_payment_cause_t));

    cause.actor = "system";
    cause.refund = r;
    cause.reason = yes ? NULL : res->failure;

    return ngx_opay_payment_move(db, call, &p, &v, &cause);
}


int64_t
ngx_opay_payment_delay(int64_t tries, int64_t age)
{
    static const int64_t  seconds[] = { 1, 2, 4, 8, 15, 30, 60 };

    uint16_t  jitter;

    if (tries < (int64_t) (sizeof(seconds) / sizeof(seconds[0]))) {
        return seconds[tries < 0 ? 0 : tries] * 1000;
    }

    if (opay_random(&jitter, sizeof(jitter)) != OPAY_OK) {
        jitter = 0;
    }

    /* after a day a person has to look; asking goes on, rarely */

    return (age < NGX_OPAY_PAYMENT_DAY ? 300000 : 3600000) + jitter % 60000;
}


/* Pool threads may log to the cycle's log only. */

static void
ngx_opay_payment_log(ngx_uint_t level, const char *what,
    const opay_uuid_t *id, const char *detail)
{
    char  text[OPAY_UUID_TEXT + 1];

    ngx_log_error(level, ngx_cycle->log, 0, "opay: payment: %s, %s: %s",
                  what, opay_uuid_format(id, text), detail);
}
