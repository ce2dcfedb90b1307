
/*
 * The jobs that make every outcome definite.
 *
 * DESIGN
 *
 * Each job is a chain: pick what is due (and claim it by moving its next
 * time, so that no other instance takes it too), ask the provider about all
 * of it at once, settle.  A crash in between loses nothing: what was claimed
 * becomes due again.
 *
 *   resolve   a SENT attempt past its deadline becomes UNKNOWN; of an UNKNOWN
 *             one the provider is asked.  Not there, or not decided: the
 *             attempt is marked for
 *   repeat    the same request with the same key, which charges at most once.
 *             A chain of its own: a provider that does not answer a repeat
 *             must not hold up the queries
 *   refund    new refunds are sent; unknown ones are looked up, then repeated
 *
 * The three run side by side; each at most once at a time per instance.
 */

#include "ngx_opay_payment.h"


#define NGX_OPAY_PAYMENT_ASK_TIMEOUT  3000

/*
 * A provider's session is dead by then (Toss: 10 minutes): a payment that
 * somebody wants cancelled is not charged by a repeat before.
 */
#define NGX_OPAY_PAYMENT_SESSION      (15 * 60 * 1000)


typedef struct {
    const char           *job;
    ngx_opay_attempt_t   *items;
    ngx_opay_provider_t  *calls;
    size_t                n;
    size_t                open;        /* calls under way, and one */
    unsigned              full;        /* there may be more */
} ngx_opay_payment_job_t;


typedef opay_db_rc_t (*ngx_opay_payment_pick_pt)(opay_db_t *db,
    opay_arena_t *a, int64_t now, ngx_opay_attempt_t **list, size_t *n);
typedef opay_db_rc_t (*ngx_opay_payment_claim_pt)(opay_db_t *db,
    opay_call_t *call, ngx_opay_attempt_t *t, unsigned *won);


static opay_db_rc_t ngx_opay_payment_pick(opay_db_t *db, opay_call_t *call,
    const char *name, ngx_opay_payment_pick_pt pick,
    ngx_opay_payment_claim_pt claim);
static opay_db_rc_t ngx_opay_payment_claim_query(opay_db_t *db,
    opay_call_t *call, ngx_opay_attempt_t *t, unsigned *won);
static opay_db_rc_t ngx_opay_payment_claim_repeat(opay_db_t *db,
    opay_call_t *call, ngx_opay_attempt_t *t, unsigned *won);
static opay_db_rc_t ngx_opay_payment_claim_refund(opay_db_t *db,
    opay_call_t *call, ngx_opay_attempt_t *t, unsigned *won);
static void ngx_opay_payment_ask_all(opay_call_t *call,
    void (*send)(ngx_opay_provider_t *p));
static void ngx_opay_payment_send_query(ngx_opay_provider_t *p);
static void ngx_opay_payment_send_repeat(ngx_opay_provider_t *p);
static void ngx_opay_payment_send_refund(ngx_opay_provider_t *p);
static void ngx_opay_payment_refund_looked(ngx_opay_provider_t *p);
static void ngx_opay_payment_answered(ngx_opay_provider_t *p);
static void ngx_opay_payment_ask_end(opay_call_t *call);


void
ngx_opay_payment_job_make(opay_call_t *call)
{
    call->cmd = opay_arena_zalloc(call->arena,
                                  sizeof(ngx_opay_payment_job_t));
    if (call->cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }
}


/* INLINE, last: a full batch is followed by the next at once. */

void
ngx_opay_payment_job_again(opay_call_t *call)
{
    ngx_opay_payment_job_t  *job;

    job = call->cmd;

    if (job->full) {
        ngx_opay_job_kick(call->conf, job->job);
    }
}


/* WRITE: pick and claim. */

opay_db_rc_t
ngx_opay_payment_resolve_pick(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_payment_pick(db, calls[0], NGX_OPAY_PAYMENT_RESOLVE_JOB,
                                 ngx_opay_payment_store_due,
                                 ngx_opay_payment_claim_query);
}


opay_db_rc_t
ngx_opay_payment_repeat_pick(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_payment_pick(db, calls[0], NGX_OPAY_PAYMENT_REPEAT_JOB,
                                 ngx_opay_payment_store_repeats,
                                 ngx_opay_payment_claim_repeat);
}


opay_db_rc_t
ngx_opay_payment_refund_pick(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_payment_pick(db, calls[0], NGX_OPAY_PAYMENT_REFUND_JOB,
                                 ngx_opay_payment_store_refunds_due,
                                 ngx_opay_payment_claim_refund);
}


static opay_db_rc_t
ngx_opay_payment_pick(opay_db_t *db, opay_call_t *call, const char *name,
    ngx_opay_payment_pick_pt pick, ngx_opay_payment_claim_pt claim)
{
    size_t                   i, n;
    unsigned                 won;
    opay_db_rc_t             rc;
    ngx_opay_attempt_t      *list;
    ngx_opay_payment_job_t  *job;

    job = call->cmd;
    job->job = name;
    job->n = 0;

    rc = pick(db, call->arena, opay_now_ms(), &list, &n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    job->items = list;
    job->full = (n == NGX_OPAY_PAYMENT_JOB_ITEMS);

    for (i = 0; i < n; i++) {

        rc = claim(db, call, &list[i], &won);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (won) {
            list[job->n++] = list[i];
        }
    }

    if (job->n == 0) {
        return OPAY_DB_OK;
    }

    job->calls = opay_arena_zalloc(call->arena,
                                   job->n * sizeof(ngx_opay_provider_t));

    return job->calls ? OPAY_DB_OK : OPAY_DB_ERROR;
}


static opay_db_rc_t
ngx_opay_payment_claim_query(opay_db_t *db, opay_call_t *call,
    ngx_opay_attempt_t *t, unsigned *won)
{
    int64_t             now;
    ngx_opay_payment_t  p;
    opay_toss_result_t  res;

    *won = 0;

    if (t->state == OPAY_ATTEMPT_SENT) {

        /* whoever sent it is gone; it is asked about in the next run */

        ngx_memzero(&res, sizeof(opay_toss_result_t));

        return ngx_opay_payment_settle(db, call, t, &res, "system", &p);
    }

    now = opay_now_ms();

    return ngx_opay_payment_store_claim(db, t,
               now + ngx_opay_payment_delay(t->tries + 1, now - t->created),
               won);
}


static opay_db_rc_t
ngx_opay_payment_claim_repeat(opay_db_t *db, opay_call_t *call,
    ngx_opay_attempt_t *t, unsigned *won)
{
    (void) call;

    return ngx_opay_payment_store_claim_repeat(db, t, won);
}


static opay_db_rc_t
ngx_opay_payment_claim_refund(opay_db_t *db, opay_call_t *call,
    ngx_opay_attempt_t *t, unsigned *won)
{
    int64_t                         now, wait;
    const ngx_opay_payment_conf_t  *conf;

    conf = call->conf;
    now = opay_now_ms();

    /* not due again while this run may still be under way */

    wait = ngx_opay_payment_delay(t->tries, now - t->created);
    wait = ngx_max(wait, (int64_t) conf->timeout
                         + 2 * NGX_OPAY_PAYMENT_ASK_TIMEOUT);

    return ngx_opay_payment_store_claim_refund(db, t, now + wait, won);
}


/* ASYNC: one call per item, all at once. */

void
ngx_opay_payment_resolve_ask(opay_call_t *call)
{
    ngx_opay_payment_ask_all(call, ngx_opay_payment_send_query);
}


void
ngx_opay_payment_repeat_ask(opay_call_t *call)
{
    ngx_opay_payment_ask_all(call, ngx_opay_payment_send_repeat);
}


void
ngx_opay_payment_refund_ask(opay_call_t *call)
{
    ngx_opay_payment_ask_all(call, ngx_opay_payment_send_refund);
}


static void
ngx_opay_payment_ask_all(opay_call_t *call,
    void (*send)(ngx_opay_provider_t *p))
{
    size_t                   i;
    ngx_opay_provider_t     *p;
    ngx_opay_payment_job_t  *job;

    job = call->cmd;

    if (job->n == 0) {

        /* nothing to settle: the chain ends here */

        ngx_opay_payment_job_again(call);
        opay_call_reply(call, 204, (opay_str_t) opay_str_null);
        ngx_opay_call_resume(call);
        return;
    }

    job->open = job->n + 1;

    for (i = 0; i < job->n; i++) {
        p = &job->calls[i];

        p->call = call;
        p->attempt = &job->items[i];
        p->background = 1;
        p->done = ngx_opay_payment_answered;

        send(p);
    }

    ngx_opay_payment_ask_end(call);
}


static void
ngx_opay_payment_send_query(ngx_opay_provider_t *p)
{
    ngx_opay_provider_send(p, OPAY_TOSS_QUERY, NGX_OPAY_PAYMENT_ASK_TIMEOUT);
}


static void
ngx_opay_payment_send_repeat(ngx_opay_provider_t *p)
{
    ngx_opay_provider_send(p, OPAY_TOSS_CONFIRM, 0);
}


static void
ngx_opay_payment_send_refund(ngx_opay_provider_t *p)
{
    if (p->attempt->state == OPAY_ATTEMPT_INIT) {
        ngx_opay_provider_send(p, OPAY_TOSS_CANCEL, 0);
        return;
    }

    p->done = ngx_opay_payment_refund_looked;

    ngx_opay_provider_send(p, OPAY_TOSS_QUERY_CANCEL,
                           NGX_OPAY_PAYMENT_ASK_TIMEOUT);
}


/* Not among the payment's cancellations: the same request again. */

static void
ngx_opay_payment_refund_looked(ngx_opay_provider_t *p)
{
    p->done = ngx_opay_payment_answered;

    if (p->res.outcome == OPAY_TOSS_ABSENT) {
        ngx_opay_provider_send(p, OPAY_TOSS_CANCEL, 0);
        return;
    }

    p->done(p);
}


static void
ngx_opay_payment_answered(ngx_opay_provider_t *p)
{
    ngx_opay_payment_ask_end(p->call);
}


static void
ngx_opay_payment_ask_end(opay_call_t *call)
{
    ngx_opay_payment_job_t  *job;

    job = call->cmd;

    if (--job->open == 0) {
        ngx_opay_call_resume(call);
    }
}


/* WRITE: of resolve and repeat alike. */

opay_db_rc_t
ngx_opay_payment_resolve_settle(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                   i;
    int64_t                  now;
    opay_call_t             *call;
    opay_db_rc_t             rc;
    opay_toss_result_t      *res;
    ngx_opay_payment_t       p;
    ngx_opay_attempt_t      *t;
    ngx_opay_payment_job_t  *job;

    (void) n;

    call = calls[0];
    job = call->cmd;
    now = opay_now_ms();

    for (i = 0; i < job->n; i++) {

        t = &job->items[i];
        res = &job->calls[i].res;

        if (res->outcome == OPAY_TOSS_ABSENT
            || res->outcome == OPAY_TOSS_OPEN)
        {
            rc = (t->wish && now - t->created < NGX_OPAY_PAYMENT_SESSION)
                 ? OPAY_DB_OK
                 : ngx_opay_payment_store_attempt_repeat(db, &t->id, now);

        } else {
            rc = ngx_opay_payment_settle(db, call, t, res, "system", &p);
        }

        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_payment_refund_settle(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                   i;
    opay_db_rc_t             rc;
    ngx_opay_payment_job_t  *job;

    (void) n;

    job = calls[0]->cmd;

    for (i = 0; i < job->n; i++) {

        rc = ngx_opay_payment_settle_refund(db, calls[0], &job->items[i],
                                            &job->calls[i].res);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    return OPAY_DB_OK;
}
