/* What Toss's calls do: see pgsim_toss.h. */

#include <stdio.h>
#include <stdlib.h>

#include "opay_toss.h"
#include "pgsim_toss.h"


#define PGSIM_MIN_AMOUNT  100      /* won, cards */


static void pgsim_toss_new(pgsim_t *sim, pgsim_toss_t *t, int64_t now,
    pgsim_payment_t *p);
static void pgsim_toss_id(char *buf, size_t size, const char *prefix);


int
pgsim_toss_confirm(pgsim_t *sim, pgsim_toss_t *t, int64_t now, int64_t lie,
    pgsim_reply_t *rep)
{
    int               found;
    const char       *decline;
    pgsim_payment_t   p;

    found = pgsim_ledger_by_order(sim->ledger, t->order_id, now, &p);
    if (found == OPAY_ERROR) {
        return OPAY_ERROR;
    }

    if (found && p.approved_at) {
        pgsim_toss_error(rep, "ALREADY_PROCESSED_PAYMENT",
                         "The payment has been processed already.");
        return OPAY_OK;
    }

    /* a real paymentKey is never reused: only test tokens are known here */

    if (t->token == NULL
        || (found && (strcmp(p.status, "IN_PROGRESS") != 0
                      || strcmp(p.token, t->key) != 0)))
    {
        pgsim_toss_error(rep, "NOT_FOUND_PAYMENT_SESSION",
                         "The payment session does not exist any more.");
        return OPAY_OK;
    }

    if (!found) {
        pgsim_toss_new(sim, t, now, &p);

    } else if (p.amount != t->amount) {
        pgsim_reply_error(rep, 400, "INVALID_REQUEST",
                          "The amount is not that of the payment.");
        return OPAY_OK;
    }

    decline = t->amount < PGSIM_MIN_AMOUNT ? "BELOW_MINIMUM_AMOUNT"
                                           : t->token->decline;

    if (decline) {
        strcpy(p.status, "ABORTED");
        snprintf(p.failure_code, sizeof(p.failure_code), "%s", decline);
        pgsim_toss_error(rep, decline, "The payment was refused.");

    } else {
        strcpy(p.status, "DONE");
        p.approved_at = now;
        p.balance = p.amount;
        pgsim_toss_id(p.last_tx, sizeof(p.last_tx), "tx");
        pgsim_reply_json(rep, 200, pgsim_toss_payment(sim, &p, lie));
    }

    return pgsim_ledger_put(sim->ledger, &p);
}


int
pgsim_toss_session(pgsim_t *sim, pgsim_toss_t *t)
{
    int               found, rc;
    int64_t           now;
    pgsim_payment_t   p;

    now = opay_now_ms();

    if (pgsim_ledger_begin(sim->ledger) != OPAY_OK) {
        return OPAY_ERROR;
    }

    found = pgsim_ledger_by_order(sim->ledger, t->order_id, now, &p);
    rc = found == OPAY_ERROR ? OPAY_ERROR : OPAY_OK;

    if (found == 1 && strcmp(p.status, "IN_PROGRESS") != 0) {
        pgsim_ledger_rollback(sim->ledger);
        return 0;
    }

    if (found == 0) {
        pgsim_toss_new(sim, t, now, &p);
        rc = pgsim_ledger_put(sim->ledger, &p);
    }

    if (rc != OPAY_OK) {
        pgsim_ledger_rollback(sim->ledger);
        return rc;
    }

    return pgsim_ledger_commit(sim->ledger) == OPAY_OK ? 1 : OPAY_ERROR;
}


int
pgsim_toss_cancel(pgsim_t *sim, pgsim_toss_t *t, int64_t now, int64_t lie,
    pgsim_reply_t *rep)
{
    int               found;
    char              tx[64];
    int64_t           amount;
    pgsim_payment_t   p;

    found = pgsim_ledger_by_key(sim->ledger, t->key, now, &p);
    if (found == OPAY_ERROR) {
        return OPAY_ERROR;
    }

    if (!found) {
        pgsim_toss_error(rep, "NOT_FOUND_PAYMENT",
                         "There is no such payment.");
        return OPAY_OK;
    }

    if (strcmp(p.status, "CANCELED") == 0) {
        pgsim_toss_error(rep, "ALREADY_CANCELED_PAYMENT",
                         "The payment has been canceled already.");
        return OPAY_OK;
    }

    if (p.approved_at == 0) {
        pgsim_toss_error(rep, "NOT_CANCELABLE_PAYMENT",
                         "The payment was never approved.");
        return OPAY_OK;
    }

    amount = t->amount ? t->amount : p.balance;

    if (amount > p.balance) {
        pgsim_toss_error(rep, "NOT_CANCELABLE_AMOUNT",
                         "More than what is left of the payment.");
        return OPAY_OK;
    }

    pgsim_toss_id(tx, sizeof(tx), "cx");

    if (pgsim_ledger_cancel(sim->ledger, t->key, tx, amount,
                            p.balance - amount, t->reason, now)
        != OPAY_OK
        || pgsim_ledger_by_key(sim->ledger, t->key, now, &p) != 1)
    {
        return OPAY_ERROR;
    }

    pgsim_reply_json(rep, 200, pgsim_toss_payment(sim, &p, lie));

    return OPAY_OK;
}


static void
pgsim_toss_new(pgsim_t *sim, pgsim_toss_t *t, int64_t now,
    pgsim_payment_t *p)
{
    memset(p, 0, sizeof(pgsim_payment_t));

    pgsim_toss_id(p->payment_key, sizeof(p->payment_key), "sim");
    strcpy(p->order_id, t->order_id);
    strcpy(p->token, t->key);
    strcpy(p->status, "IN_PROGRESS");
    p->amount = t->amount;
    p->requested_at = now;
    p->expires_at = now + sim->session_ms;
}


static void
pgsim_toss_id(char *buf, size_t size, const char *prefix)
{
    char         text[OPAY_UUID_TEXT + 1];
    opay_uuid_t  u;

    if (opay_uuid_v7(&u) != OPAY_OK) {
        abort();
    }

    snprintf(buf, size, "%s_%s", prefix, opay_uuid_format(&u, text));
}


json_t *
pgsim_toss_payment(pgsim_t *sim, const pgsim_payment_t *p, int64_t lie)
{
    char      requested[32], approved[32];
    json_t   *o, *cancels;
    int64_t   supplied;

    supplied = (p->balance * 10 + 5) / 11;

    cancels = pgsim_ledger_cancels(sim->ledger, p->payment_key);

    if (json_array_size(cancels) == 0) {
        json_decref(cancels);
        cancels = json_null();
    }

    o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s?}",
                  "mId", "pgsim", "version", "2022-11-16",
                  "type", "NORMAL", "country", "KR",
                  "paymentKey", p->payment_key, "orderId", p->order_id,
                  "status", p->status,
                  "requestedAt", pgsim_time(p->requested_at, requested),
                  "approvedAt", p->approved_at
                                ? pgsim_time(p->approved_at, approved) : NULL,
                  "lastTransactionKey", p->last_tx[0] ? p->last_tx : NULL);

    json_object_set_new(o, "orderName", json_string("opay order"));
    json_object_set_new(o, "method", json_string("카드"));
    json_object_set_new(o, "currency", json_string("KRW"));
    json_object_set_new(o, "totalAmount", json_integer(p->amount + lie));
    json_object_set_new(o, "balanceAmount", json_integer(p->balance));
    json_object_set_new(o, "suppliedAmount", json_integer(supplied));
    json_object_set_new(o, "vat", json_integer(p->balance - supplied));
    json_object_set_new(o, "taxFreeAmount", json_integer(0));
    json_object_set_new(o, "useEscrow", json_false());
    json_object_set_new(o, "cultureExpense", json_false());
    json_object_set_new(o, "isPartialCancelable", json_true());
    json_object_set_new(o, "secret", json_null());
    json_object_set_new(o, "receipt", json_null());
    json_object_set_new(o, "cancels", cancels);
    json_object_set_new(o, "failure", p->failure_code[0]
                        ? json_pack("{s:s, s:s}", "code", p->failure_code,
                                    "message", "The payment was refused.")
                        : json_null());

    return o;
}


void
pgsim_toss_error(pgsim_reply_t *rep, const char *code, const char *message)
{
    pgsim_reply_error(rep, opay_toss_code_status(opay_str_of(code)), code,
                      message);
}
