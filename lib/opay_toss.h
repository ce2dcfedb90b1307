/*
 * opay_toss: Toss Payments' core API (2022-11-16) as pure functions.
 *
 * DESIGN
 *
 * No I/O and no state: build() turns an operation into request bytes, parse()
 * turns whatever came back into an outcome.  Everything lives in the caller's
 * arena.  Safe from any thread.
 *
 * The rule above all others: UNKNOWN is the default.  An outcome is definite
 * only when the provider said so in a form that this file lists.
 */

#ifndef OPAY_TOSS_H_INCLUDED
#define OPAY_TOSS_H_INCLUDED

#include "opay_base.h"


typedef enum {
    OPAY_TOSS_CONFIRM = 0,         /* POST /v1/payments/confirm */
    OPAY_TOSS_QUERY,               /* GET  /v1/payments/orders/{orderId} */
    OPAY_TOSS_CANCEL,              /* POST /v1/payments/{paymentKey}/cancel */
    OPAY_TOSS_QUERY_CANCEL         /* GET  /v1/payments/{paymentKey} */
} opay_toss_op_e;


typedef enum {
    OPAY_TOSS_UNKNOWN = 0,         /* may have happened; ask again */
    OPAY_TOSS_NOT_SENT,            /* no byte left us; the same key may go */
    OPAY_TOSS_ABSENT,              /* query: not there (yet); not final */
    OPAY_TOSS_OPEN,                /* query: there, and not decided */
    OPAY_TOSS_APPROVED,            /* confirm, query: charged */
    OPAY_TOSS_DECLINED,            /* confirm, query: will never be charged */
    OPAY_TOSS_REFUNDED,            /* cancel, query: money went back */
    OPAY_TOSS_REFUND_FAILED        /* cancel: refused for good */
} opay_toss_outcome_e;


/* How the HTTP exchange ended. */
typedef enum {
    OPAY_TOSS_ANSWERED = 0,        /* status and body are there */
    OPAY_TOSS_UNSENT,              /* failed before any byte of the request */
    OPAY_TOSS_NO_ANSWER            /* sent, wholly or in part; no answer */
} opay_toss_transport_e;


/* One attempt to charge, or one refund of it. */
typedef struct {
    opay_toss_op_e  op;
    opay_str_t      secret;        /* API key, without the colon */
    opay_str_t      payment_key;   /* confirm: the client's token */
    opay_str_t      order_id;      /* ours, unique per attempt */
    opay_str_t      idem_key;      /* "pay-<attempt>", "ref-<refund>" */
    int64_t         amount;        /* minor units; cancel: of this refund */
    opay_str_t      currency;
    opay_str_t      reason;        /* cancel */
} opay_toss_attempt_t;


#define OPAY_TOSS_HEADERS  5

typedef struct {
    const char     *method;
    opay_str_t      path;          /* NUL-terminated */
    const char     *headers[OPAY_TOSS_HEADERS];    /* NULL at the end */
    opay_str_t      body;          /* data NULL: none */
} opay_toss_request_t;


typedef struct {
    opay_toss_outcome_e  outcome;
    opay_str_t      provider_id;   /* paymentKey; refunds: transactionKey */
    int64_t         amount;        /* what the provider says, -1: nothing */
    opay_str_t      currency;
    opay_str_t      code;          /* the provider's; empty: none */
    const char     *failure;       /* ours: "card_declined"; NULL: none */
    const char     *reason;        /* a sentence for people; NULL: none */
    unsigned        retryable;     /* the same payer may try again */
    unsigned        alarm;         /* our configuration is wrong */
} opay_toss_result_t;


/* Whether the connector can charge this currency and amount at all. */
int opay_toss_takes(opay_str_t currency, int64_t amount);

/* Letters, digits and "_-.=", 1 to 200: what goes into a path unescaped. */
int opay_toss_key_valid(opay_str_t key);

/* OPAY_ERROR: out of memory, or the attempt cannot be expressed. */
int opay_toss_build(opay_arena_t *a, const opay_toss_attempt_t *at,
    opay_toss_request_t *req);

/*
 * Never fails: what cannot be understood is UNKNOWN.  status and body count
 * only when transport is OPAY_TOSS_ANSWERED.
 */
void opay_toss_parse(opay_arena_t *a, const opay_toss_attempt_t *at,
    opay_toss_transport_e transport, int status, opay_str_t body,
    opay_toss_result_t *res);

/* HTTP status that Toss sends with an error code; 0: not a code we list. */
int opay_toss_code_status(opay_str_t code);

/* "approved", "unknown", ...: for logs and tables. */
const char *opay_toss_outcome_name(opay_toss_outcome_e outcome);


#endif /* OPAY_TOSS_H_INCLUDED */
