
/*
 * The payment service; private to ngx_opay_payment.
 *
 * DESIGN
 *
 *   ngx_opay_payment_module.c    directives, route table, jobs
 *   ngx_opay_payment_ops.c       paying: decode, begin, settle; reads
 *   ngx_opay_payment_list.c      keyset lists
 *   ngx_opay_payment_provider.c  event loop: the order service, the provider
 *   ngx_opay_payment_move.c      the one way a payment changes
 *   ngx_opay_payment_resolve.c   jobs: unknown outcomes, refunds
 *   ngx_opay_payment_events.c    order events
 *   ngx_opay_payment_json.c      payments and event data as JSON
 *   ngx_opay_payment_store.c, ngx_opay_payment_attempt_store.c
 *                                SQL: neither nginx nor JSON
 *
 * Paying is three phases.  One transaction commits the payment and an attempt
 * in state SENT.  Then the provider is asked, with no transaction, no row
 * lock and no pool thread held.  Then one transaction settles what it said.
 * A crash or silence in between leaves an attempt that is SENT, or UNKNOWN;
 * the jobs ask the provider until it is definite.  Whoever brings an answer,
 * it goes through ngx_opay_payment_settle(), and the second one is a no-op.
 *
 * Lock order: payable_order, payments, payment_attempts or refunds.
 *
 * Structs and strings here live in the arena of the call they were read or
 * decoded for, and have its one owner.
 */

#ifndef _NGX_OPAY_PAYMENT_H_INCLUDED_
#define _NGX_OPAY_PAYMENT_H_INCLUDED_


#include "ngx_opay_core.h"

#include "opay_cursor.h"
#include "opay_fsm_payment.h"
#include "opay_jsonw.h"
#include "opay_toss.h"


#define NGX_OPAY_PAYMENT_RESOLVE_JOB  "payment.resolve"
#define NGX_OPAY_PAYMENT_REPEAT_JOB   "payment.repeat"
#define NGX_OPAY_PAYMENT_REFUND_JOB   "payment.refund"

#define NGX_OPAY_PAYMENT_JOB_ITEMS    32

#define NGX_OPAY_PAYMENT_NOT_FOUND    "There is no such payment."


/* Written while the configuration is read; immutable after. */
typedef struct {
    ngx_flag_t             enabled;

    /* strings end in NUL */
    ngx_str_t              provider;       /* name: "toss", "pgsim" */
    ngx_str_t              url;            /* without a slash at the end */
    ngx_str_t              secret_file;
    ngx_str_t              ca;             /* len 0: the system's */
    opay_str_t             secret;
    ngx_msec_t             timeout;

    ngx_str_t              tls_ca;         /* outgoing mTLS; len 0: none */
    ngx_str_t              tls_cert;
    ngx_str_t              tls_key;

    ngx_str_t              cursor_key_file;
    opay_str_t             cursor_key;
} ngx_opay_payment_conf_t;


/* What is known of an order that may be paid. */
typedef struct {
    opay_uuid_t            id;
    opay_uuid_t            user;
    int64_t                total;
    opay_str_t             currency;
    opay_str_t             status;
    opay_str_t             pending;        /* data NULL: none */
    int64_t                version;        /* 0: not known */
    int64_t                expires;        /* 0: never */
} ngx_opay_payable_t;


typedef struct {
    opay_uuid_t            id;
    opay_uuid_t            order;
    opay_uuid_t            user;
    int64_t                amount;
    opay_str_t             currency;
    opay_str_t             method;
    opay_str_t             provider;
    opay_payment_state_t   state;
    int64_t                wish;           /* a cancel waits for the outcome */
    int64_t                refunded;
    int64_t                refund_pending;

    /* data NULL, or 0: not set */
    opay_str_t             transaction;    /* the provider's paymentKey */
    opay_str_t             failure_code;
    opay_str_t             failure_reason;
    opay_str_t             cancel_reason;
    opay_str_t             refund_reason;
    int64_t                cancelled;
    int64_t                refund_requested;
    int64_t                refunded_at;
    opay_str_t             traceparent;

    int64_t                version;
    int64_t                created;
    int64_t                updated;
} ngx_opay_payment_t;


/* One call to the provider: an attempt to charge, or a refund. */
typedef struct {
    opay_uuid_t            id;
    opay_uuid_t            payment;
    opay_uuid_t            order;          /* attempts */
    opay_attempt_status_e  state;
    int64_t                amount;
    opay_str_t             currency;
    opay_str_t             key;            /* token; refunds: paymentKey */
    opay_str_t             reason;         /* refunds */
    int64_t                wish;           /* of the payment */
    int64_t                tries;
    int64_t                next_try;
    int64_t                created;
} ngx_opay_attempt_t;


/* What a transition's events say beside the payment itself. */
typedef struct {
    const char            *actor;
    const char            *traceparent;    /* "" or NULL: the payment's */
    const char            *reason;         /* static or arena; NULL: none */
    unsigned               retryable;
    ngx_opay_attempt_t    *refund;         /* refund.* events */
} ngx_opay_payment_cause_t;


typedef struct {
    unsigned               has_user;
    opay_uuid_t            user;
    opay_payment_status_e  status;         /* OPAY_PAYMENT_NONE: any */
    opay_page_t            page;
    opay_str_t             scope;          /* of the cursor */
} ngx_opay_payment_filter_t;


/*
 * One exchange with the provider, on the event loop.  `at` and `h` live here,
 * so the struct stays where it is until done() has run, once.
 */
typedef struct ngx_opay_provider_s  ngx_opay_provider_t;

struct ngx_opay_provider_s {
    opay_call_t           *call;           /* conf, arena */
    ngx_opay_attempt_t    *attempt;
    opay_toss_attempt_t    at;
    opay_toss_request_t    req;
    opay_toss_result_t     res;
    ngx_opay_http_t        http;
    ngx_uint_t             resends;
    ngx_uint_t             background;     /* a quitting worker does not wait */
    void                 (*done)(ngx_opay_provider_t *p);
    void                  *data;
};


/*
 * ngx_opay_payment_*store.c: pool thread; what opay_db_* return is handed up.
 * "version 0" or "*n 0" mean: there is none.
 */

/* BIGINT columns where 0 stands for NULL */
static ngx_inline opay_db_value_t
ngx_opay_payment_ms(int64_t ms)
{
    return ms ? opay_db_i64(ms) : opay_db_null();
}

/* Sorted as the server sends them; ids may repeat. */
opay_db_rc_t ngx_opay_payment_store_orders(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_payable_t **orders,
    size_t *found);
opay_db_rc_t ngx_opay_payment_store_order_lock(opay_db_t *db,
    opay_arena_t *a, const opay_uuid_t *id, ngx_opay_payable_t *order);

/* Inserts, or updates what has a lower version. */
opay_db_rc_t ngx_opay_payment_store_order_put(opay_db_t *db,
    const ngx_opay_payable_t *order, int64_t now);

opay_db_rc_t ngx_opay_payment_store_get(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_payment_t **payments,
    size_t *found);

/* The payments of n orders, newest first within an order. */
opay_db_rc_t ngx_opay_payment_store_by_orders(opay_db_t *db,
    opay_arena_t *a, const opay_db_value_t *ids, size_t n,
    ngx_opay_payment_t **payments, size_t *found);
opay_db_rc_t ngx_opay_payment_store_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_payment_t *p);
opay_db_rc_t ngx_opay_payment_store_list(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_payment_filter_t *f, ngx_opay_payment_t **payments,
    size_t *n);

/* The payment whose attempt is live (I4); found 0: none. */
opay_db_rc_t ngx_opay_payment_store_live(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *order, opay_uuid_t *payment, unsigned *found);

opay_db_rc_t ngx_opay_payment_store_insert(opay_db_t *db,
    const ngx_opay_payment_t *p);
opay_db_rc_t ngx_opay_payment_store_update(opay_db_t *db,
    const ngx_opay_payment_t *p, int64_t was);

opay_db_rc_t ngx_opay_payment_store_attempt_insert(opay_db_t *db,
    const ngx_opay_attempt_t *t, int64_t now);
opay_db_rc_t ngx_opay_payment_store_attempt_state(opay_db_t *db,
    opay_arena_t *a, const opay_uuid_t *id, opay_attempt_status_e *state);

/* next_try 0: settled; the token is forgotten then. */
opay_db_rc_t ngx_opay_payment_store_attempt_set(opay_db_t *db,
    const opay_uuid_t *id, opay_attempt_status_e state,
    const opay_toss_result_t *res, int64_t next_try, int64_t now);
opay_db_rc_t ngx_opay_payment_store_attempt_repeat(opay_db_t *db,
    const opay_uuid_t *id, int64_t now);

/* Up to NGX_OPAY_PAYMENT_JOB_ITEMS that are due, oldest first, unlocked. */
opay_db_rc_t ngx_opay_payment_store_due(opay_db_t *db, opay_arena_t *a,
    int64_t now, ngx_opay_attempt_t **list, size_t *n);
opay_db_rc_t ngx_opay_payment_store_repeats(opay_db_t *db, opay_arena_t *a,
    int64_t now, ngx_opay_attempt_t **list, size_t *n);
opay_db_rc_t ngx_opay_payment_store_refunds_due(opay_db_t *db,
    opay_arena_t *a, int64_t now, ngx_opay_attempt_t **list, size_t *n);

/* Moves next_try (for repeats: clears it); *won 0: somebody was faster. */
opay_db_rc_t ngx_opay_payment_store_claim(opay_db_t *db,
    const ngx_opay_attempt_t *t, int64_t next_try, unsigned *won);
opay_db_rc_t ngx_opay_payment_store_claim_repeat(opay_db_t *db,
    const ngx_opay_attempt_t *t, unsigned *won);
opay_db_rc_t ngx_opay_payment_store_claim_refund(opay_db_t *db,
    const ngx_opay_attempt_t *t, int64_t next_try, unsigned *won);

opay_db_rc_t ngx_opay_payment_store_refund_insert(opay_db_t *db,
    const ngx_opay_attempt_t *r, int64_t now);
opay_db_rc_t ngx_opay_payment_store_refund_state(opay_db_t *db,
    opay_arena_t *a, const opay_uuid_t *id, opay_attempt_status_e *state);
opay_db_rc_t ngx_opay_payment_store_refund_set(opay_db_t *db,
    const opay_uuid_t *id, opay_attempt_status_e state,
    const opay_toss_result_t *res, int64_t next_try, int64_t now);


/* ngx_opay_payment_json.c */

void ngx_opay_payment_json(opay_jw_t *w, const ngx_opay_payment_t *p);

/* The payment as it is after the event; data NULL: out of memory. */
opay_str_t ngx_opay_payment_event_data(opay_arena_t *a,
    const ngx_opay_payment_t *p, opay_payment_status_e was,
    const char *type, const ngx_opay_payment_cause_t *cause);

/* Answers with the payment: body, ETag; 402 and 202 as its state asks. */
void ngx_opay_payment_reply(opay_call_t *call, int status,
    const ngx_opay_payment_t *p);
void ngx_opay_payment_reply_paid(opay_call_t *call,
    const ngx_opay_payment_t *p, unsigned retryable);


/* ngx_opay_payment_move.c: pool thread, in a transaction, the row locked */

/*
 * Applies the verdict: p becomes its next state, with one event and one
 * version each; the row is written by the caller's insert (p->version 0
 * before) or here.
 */
opay_db_rc_t ngx_opay_payment_move(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const opay_payment_verdict_t *verdict,
    const ngx_opay_payment_cause_t *cause);

/*
 * What the provider said of an attempt, from whatever source.  p is the
 * payment as it stands afterwards.
 */
opay_db_rc_t ngx_opay_payment_settle(opay_db_t *db, opay_call_t *call,
    const ngx_opay_attempt_t *t, const opay_toss_result_t *res,
    const char *actor, ngx_opay_payment_t *p);

/* The same for a refund. */
opay_db_rc_t ngx_opay_payment_settle_refund(opay_db_t *db,
    opay_call_t *call, ngx_opay_attempt_t *r, const opay_toss_result_t *res);

/* A cancel that concerns the payment, as far as its state allows one. */
opay_db_rc_t ngx_opay_payment_cancel(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, const ngx_opay_payment_cause_t *cause);

/* Opens a refund of amount, or of what remains if that is less. */
opay_db_rc_t ngx_opay_payment_refund(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_t *p, int64_t amount,
    const ngx_opay_payment_cause_t *cause);

/* ms until the provider is asked again, after `tries` times, at this age */
int64_t ngx_opay_payment_delay(int64_t tries, int64_t age);


/* ngx_opay_payment_provider.c: event loop */

/*
 * Sends op for p->attempt; p->done(p) runs once, perhaps before this returns.
 * timeout 0: the provider's.
 */
void ngx_opay_provider_send(ngx_opay_provider_t *p, opay_toss_op_e op,
    ngx_msec_t timeout);
void ngx_opay_payment_ask(opay_call_t *call);
void ngx_opay_payment_confirm(opay_call_t *call);


/* ngx_opay_payment_ops.c */

/* POST /api/payments: what its steps hand to each other. */
typedef struct {
    opay_uuid_t            order_id;
    int                    method;
    opay_str_t             token;
    opay_str_t             provider;
    unsigned               has_amount;
    int64_t                amount;

    ngx_opay_payable_t     order;          /* version 0: not known here */
    unsigned               asked;          /* of the order service */
    unsigned               absent;         /* which knows of no such order */
    ngx_opay_http_t        http;

    ngx_opay_payment_t     payment;
    ngx_opay_attempt_t     attempt;
    ngx_opay_provider_t    call;
} ngx_opay_payment_cmd_t;

void ngx_opay_payment_create_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_payment_lookup(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_payment_begin(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_payment_finish(opay_db_t *db, opay_call_t **calls,
    size_t n);

void ngx_opay_payment_id_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_payment_get(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_payment_get_by_order(opay_db_t *db,
    opay_call_t **calls, size_t n);

/* May this caller see it?  Its owner and ADMIN may. */
int ngx_opay_payment_visible(const opay_call_t *call,
    const opay_uuid_t *user);


/* ngx_opay_payment_list.c */
void ngx_opay_payment_list_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_payment_list(opay_db_t *db, opay_call_t **calls,
    size_t n);


/* ngx_opay_payment_events.c */
opay_db_rc_t ngx_opay_payment_inbound(opay_db_t *db, opay_call_t **calls,
    size_t n);


/* ngx_opay_payment_resolve.c */
void ngx_opay_payment_job_make(opay_call_t *call);
void ngx_opay_payment_job_again(opay_call_t *call);
opay_db_rc_t ngx_opay_payment_resolve_pick(opay_db_t *db,
    opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_payment_repeat_pick(opay_db_t *db,
    opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_payment_refund_pick(opay_db_t *db,
    opay_call_t **calls, size_t n);
void ngx_opay_payment_resolve_ask(opay_call_t *call);
void ngx_opay_payment_repeat_ask(opay_call_t *call);
void ngx_opay_payment_refund_ask(opay_call_t *call);
opay_db_rc_t ngx_opay_payment_resolve_settle(opay_db_t *db,
    opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_payment_refund_settle(opay_db_t *db,
    opay_call_t **calls, size_t n);


#endif /* _NGX_OPAY_PAYMENT_H_INCLUDED_ */
