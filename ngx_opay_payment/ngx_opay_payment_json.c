
/* Payments and event data as JSON, and the answers made of them. */

#include "ngx_opay_payment.h"


static void ngx_opay_payment_json_core(opay_jw_t *w,
    const ngx_opay_payment_t *p);


void
ngx_opay_payment_json(opay_jw_t *w, const ngx_opay_payment_t *p)
{
    opay_jw_obj(w);

    opay_jw_kuuid(w, "id", &p->id);
    ngx_opay_payment_json_core(w, p);
    opay_jw_ki64(w, "amount", p->amount);
    opay_jw_kcstr(w, "outcome", p->state.unknown ? "unknown" : NULL);
    opay_jw_kstr(w, "transactionId", p->transaction);
    opay_jw_kstr(w, "failureCode", p->failure_code);
    opay_jw_kstr(w, "failureReason", p->failure_reason);
    opay_jw_ki64(w, "refundedAmount", p->refunded);
    opay_jw_ki64(w, "version", p->version);
    opay_jw_ktime(w, "createdAt", p->created);
    opay_jw_ktime(w, "updatedAt", p->updated);
    opay_jw_ktime_or_null(w, "cancelledAt", p->cancelled);
    opay_jw_kstr(w, "cancellationReason", p->cancel_reason);
    opay_jw_ktime_or_null(w, "refundRequestedAt", p->refund_requested);
    opay_jw_ktime_or_null(w, "refundedAt", p->refunded_at);
    opay_jw_kstr(w, "refundReason", p->refund_reason);

    opay_jw_obj_end(w);
}


static void
ngx_opay_payment_json_core(opay_jw_t *w, const ngx_opay_payment_t *p)
{
    opay_jw_kuuid(w, "orderId", &p->order);
    opay_jw_kuuid(w, "userId", &p->user);
    opay_jw_kstr(w, "currency", p->currency);
    opay_jw_kcstr(w, "status", opay_payment_status_name(p->state.status));
    opay_jw_kstr(w, "paymentMethod", p->method);
    opay_jw_kstr(w, "provider", p->provider);
}


opay_str_t
ngx_opay_payment_event_data(opay_arena_t *a, const ngx_opay_payment_t *p,
    opay_payment_status_e was, const char *type,
    const ngx_opay_payment_cause_t *cause)
{
    int        refund;
    opay_jw_t  w;

    refund = (strncmp(type, "refund.", 7) == 0 && cause->refund);

    opay_jw_init(&w, a, 512);
    opay_jw_obj(&w);

    opay_jw_kuuid(&w, "paymentId", &p->id);
    ngx_opay_payment_json_core(&w, p);
    opay_jw_ki64(&w, "amount", refund ? cause->refund->amount : p->amount);
    opay_jw_kcstr(&w, "previousStatus", opay_payment_status_name(was));
    opay_jw_ki64(&w, "refundedAmount", p->refunded);
    opay_jw_ki64(&w, "version", p->version);

    if (p->state.unknown) {
        opay_jw_kcstr(&w, "outcome", "unknown");
    }

    if (p->transaction.data) {
        opay_jw_kstr(&w, "transactionId", p->transaction);
    }

    if (refund) {
        opay_jw_kuuid(&w, "refundId", &cause->refund->id);
    }

    if (strcmp(type, "payment.failed") == 0) {
        opay_jw_kstr(&w, "failureCode", p->failure_code);
        opay_jw_kstr(&w, "failureReason", p->failure_reason);
        opay_jw_kbool(&w, "retryable", cause->retryable);
    }

    if (cause->reason) {
        opay_jw_kcstr(&w, "reason", cause->reason);
    }

    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


void
ngx_opay_payment_reply(opay_call_t *call, int status,
    const ngx_opay_payment_t *p)
{
    opay_jw_t   w;
    opay_str_t  body;

    opay_jw_init(&w, call->arena, 896);
    ngx_opay_payment_json(&w, p);
    body = opay_jw_result(&w);

    if (body.data == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    opay_call_etag(call, p->version);
    opay_call_reply(call, status, body);
}


/* The answer of POST /api/payments, from the state alone: first or resumed. */

void
ngx_opay_payment_reply_paid(opay_call_t *call, const ngx_opay_payment_t *p,
    unsigned retryable)
{
    char        id[OPAY_UUID_TEXT + 1];
    opay_jw_t   w;
    opay_str_t  extra;

    opay_uuid_format(&p->id, id);

    call->location = opay_arena_printf(call->arena, "/api/payments/%s", id);

    if (p->state.status != OPAY_PAYMENT_FAILED
        && p->state.status != OPAY_PAYMENT_CANCELLED)
    {
        ngx_opay_payment_reply(call,
            p->state.status == OPAY_PAYMENT_PROCESSING
            || p->state.status == OPAY_PAYMENT_PENDING ? 202 : 201, p);
        return;
    }

    /* members without the braces of an object */

    opay_jw_init(&w, call->arena, 256);
    opay_jw_kcstr(&w, "paymentId", id);
    opay_jw_kcstr(&w, "paymentStatus",
                  opay_payment_status_name(p->state.status));
    opay_jw_kstr(&w, "failureCode", p->failure_code);
    opay_jw_kbool(&w, "retryable", retryable);
    extra = opay_jw_result(&w);

    opay_call_fail(call, OPAY_E_PAYMENT_DECLINED,
                   p->failure_reason.data ? p->failure_reason.data
                                          : "The payment was declined.");

    if (extra.data) {
        call->problem_extra = extra;
    }
}
