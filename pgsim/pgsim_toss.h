/*
 * Toss Payments' core API: what its two halves share.
 *
 *   pgsim_toss.c      requests in: authentication, validation, idempotency,
 *                     tokens and fault rules
 *   pgsim_toss_act.c  what a request does to the ledger, and its answer
 */

#ifndef PGSIM_TOSS_H_INCLUDED
#define PGSIM_TOSS_H_INCLUDED

#include "pgsim.h"


/* What a test token makes the provider do. */
typedef struct {
    const char     *token;
    const char     *decline;       /* error code, NULL: approve */
    pgsim_fault_t   fault;
} pgsim_token_t;


/* A request that has passed validation. */
typedef struct {
    const char           *op;      /* "confirm", "cancel", "get" */
    char                  key[208];        /* of the path, or the token */
    char                  order_id[65];
    int64_t               amount;          /* 0: cancel all */
    char                  reason[801];     /* 200 characters of UTF-8 */
    const pgsim_token_t  *token;
    char                  scope[65];       /* "": no idempotency key */
} pgsim_toss_t;


/* Inside a ledger transaction; lie: won too much in the answer. */
int pgsim_toss_confirm(pgsim_t *sim, pgsim_toss_t *t, int64_t now,
    int64_t lie, pgsim_reply_t *rep);
int pgsim_toss_cancel(pgsim_t *sim, pgsim_toss_t *t, int64_t now,
    int64_t lie, pgsim_reply_t *rep);
json_t *pgsim_toss_payment(pgsim_t *sim, const pgsim_payment_t *p,
    int64_t lie);

/*
 * Makes the authenticated, unconfirmed payment durable: 1; 0: there is one
 * that has ended.
 */
int pgsim_toss_session(pgsim_t *sim, pgsim_toss_t *t);

/* An error with the HTTP status that Toss sends with its code. */
void pgsim_toss_error(pgsim_reply_t *rep, const char *code,
    const char *message);


#endif /* PGSIM_TOSS_H_INCLUDED */
