/*
 * Toss Payments' core API: confirm, two queries, cancel.
 *
 * A POST goes: authenticate, validate, take its idempotency key, look at the
 * fault rules and the token, then one ledger transaction that writes both the
 * effect and the answer to replay; only then the answer (or the silence that
 * the token or the rule asks for).
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_toss.h"
#include "pgsim_toss.h"


#define PGSIM_SLOW_MS  3000


static const pgsim_token_t  pgsim_tokens[] = {
    { "tok_ok", NULL, { PGSIM_F_NONE, 0, 0, "" } },
    { "tok_decline", "REJECT_CARD_COMPANY", { PGSIM_F_NONE, 0, 0, "" } },
    { "tok_insufficient_funds", "REJECT_CARD_PAYMENT",
      { PGSIM_F_NONE, 0, 0, "" } },
    { "tok_timeout_charged", NULL, { PGSIM_F_HOLD_AFTER, 0, 0, "" } },
    { "tok_timeout_not_charged", NULL, { PGSIM_F_HOLD_BEFORE, 0, 0, "" } },
    { "tok_error_500_charged", NULL,
      { PGSIM_F_ERROR_AFTER, 0, 500, "FAILED_INTERNAL_SYSTEM_PROCESSING" } },
    { "tok_slow_3s", NULL, { PGSIM_F_DELAY, PGSIM_SLOW_MS, 0, "" } },
    { NULL, NULL, { PGSIM_F_NONE, 0, 0, "" } }
};


static int pgsim_toss_auth(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep);
static int pgsim_toss_parse(const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep);
static int pgsim_toss_confirm_body(json_t *o, pgsim_toss_t *t);
static int pgsim_toss_cancel_body(json_t *o, pgsim_toss_t *t);
static void pgsim_toss_get(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_toss_t *t, pgsim_reply_t *rep);
static void pgsim_toss_post(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_toss_t *t, pgsim_reply_t *rep);
static int pgsim_toss_scope(const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep);
static int pgsim_toss_replay(pgsim_t *sim, pgsim_toss_t *t,
    pgsim_reply_t *rep);
static int pgsim_toss_before(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_toss_t *t, const pgsim_fault_t *fault, pgsim_reply_t *rep);
static int pgsim_toss_commit(pgsim_t *sim, pgsim_toss_t *t,
    const pgsim_fault_t *fault, pgsim_reply_t *rep);
static void pgsim_toss_after(pgsim_t *sim, const pgsim_request_t *req,
    const pgsim_fault_t *fault, pgsim_reply_t *rep);


void
pgsim_toss_serve(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep)
{
    int           status;
    pgsim_toss_t  t;

    if (pgsim_toss_auth(sim, req, rep) != OPAY_OK
        || pgsim_toss_parse(req, &t, rep) != OPAY_OK)
    {
        return;
    }

    if (req->test_code) {
        status = opay_toss_code_status(opay_str_of(req->test_code));

        if (status) {
            pgsim_reply_error(rep, status, req->test_code,
                              "As TossPayments-Test-Code asked.");
            return;
        }
    }

    if (strcmp(t.op, "get") == 0) {
        pgsim_toss_get(sim, req, &t, rep);
        return;
    }

    pgsim_toss_post(sim, req, &t, rep);
}


/* `Basic base64(secretKey + ":")`, compared with what a client would send. */

static int
pgsim_toss_auth(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep)
{
    int                   rc;
    size_t                i, n;
    unsigned              diff;
    const char           *want;
    opay_arena_t         *a;
    opay_toss_attempt_t   at;
    opay_toss_request_t   r;

    if (req->authorization == NULL
        || strncmp(req->authorization, "Basic ", 6) != 0)
    {
        pgsim_toss_error(rep, "INCORRECT_BASIC_AUTH_FORMAT",
                         "Authorization: Basic base64(secretKey + \":\").");
        return OPAY_ERROR;
    }

    a = opay_arena_create(1024);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    memset(&at, 0, sizeof(at));
    at.op = OPAY_TOSS_QUERY;
    at.order_id = opay_str_of("any");
    at.secret = opay_str_of(sim->secret);

    rc = opay_toss_build(a, &at, &r);

    if (rc == OPAY_OK) {
        want = r.headers[0] + sizeof("Authorization: ") - 1;
        n = strlen(want);
        diff = (n != strlen(req->authorization));

        for (i = 0; i < n && req->authorization[i]; i++) {
            diff |= (unsigned char) want[i]
                    ^ (unsigned char) req->authorization[i];
        }

        if (diff) {
            pgsim_toss_error(rep, "UNAUTHORIZED_KEY",
                             "The secret key is not known.");
            rc = OPAY_ERROR;
        }
    }

    opay_arena_destroy(a);

    return rc;
}


static int
pgsim_toss_parse(const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep)
{
    int          rc;
    char         tail[16];
    size_t       n;
    json_t      *o;
    const char  *p;

    memset(t, 0, sizeof(pgsim_toss_t));

    p = req->url + sizeof("/v1/") - 1;

    if (strncmp(p, "payments/", 9) != 0) {
        goto missing;
    }

    p += 9;
    n = strcspn(p, "/");

    if (strcmp(req->method, "GET") == 0) {
        t->op = "get";

        if (strncmp(p, "orders/", 7) == 0) {
            p += 7;

            if (strlen(p) >= sizeof(t->order_id) || strchr(p, '/')) {
                goto missing;
            }

            strcpy(t->order_id, p);
            return OPAY_OK;
        }

        if (n >= sizeof(t->key) || p[n] != '\0') {
            goto missing;
        }

        strcpy(t->key, p);
        return OPAY_OK;
    }

    if (strcmp(req->method, "POST") != 0) {
        goto missing;
    }

    o = json_loadb(req->body, req->body_len, JSON_REJECT_DUPLICATES, NULL);

    if (strcmp(p, "confirm") == 0) {
        t->op = "confirm";
        rc = pgsim_toss_confirm_body(o, t);

    } else if (n < sizeof(t->key)
               && snprintf(tail, sizeof(tail), "%s", p + n) == 7
               && strcmp(tail, "/cancel") == 0)
    {
        t->op = "cancel";
        memcpy(t->key, p, n);
        rc = pgsim_toss_cancel_body(o, t);

    } else {
        json_decref(o);
        goto missing;
    }

    json_decref(o);

    if (rc != OPAY_OK) {
        pgsim_reply_error(rep, 400, "INVALID_REQUEST",
                          "A member is missing or not valid.");
        return OPAY_ERROR;
    }

    return pgsim_toss_scope(req, t, rep);

missing:

    pgsim_reply_error(rep, 404, "NOT_FOUND", "No such address.");
    return OPAY_ERROR;
}


static int
pgsim_toss_confirm_body(json_t *o, pgsim_toss_t *t)
{
    size_t       i;
    json_t      *amount;
    const char  *key, *order;

    if (json_unpack(o, "{s:s, s:s, s:o}", "paymentKey", &key,
                    "orderId", &order, "amount", &amount)
        != 0)
    {
        return OPAY_ERROR;
    }

    if (!json_is_integer(amount) || json_integer_value(amount) < 1
        || json_integer_value(amount) > 9007199254740991LL
        || strlen(key) > 200 || key[0] == '\0'
        || strlen(order) < 6 || strlen(order) > 64)
    {
        return OPAY_ERROR;
    }

    for (i = 0; order[i]; i++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789-_.=", order[i]) == NULL)
        {
            return OPAY_ERROR;
        }
    }

    snprintf(t->key, sizeof(t->key), "%s", key);
    snprintf(t->order_id, sizeof(t->order_id), "%s", order);
    t->amount = json_integer_value(amount);

    for (t->token = pgsim_tokens; t->token->token; t->token++) {
        if (strcmp(t->token->token, key) == 0) {
            return OPAY_OK;
        }
    }

    t->token = NULL;

    return OPAY_OK;
}


static int
pgsim_toss_cancel_body(json_t *o, pgsim_toss_t *t)
{
    size_t       i, chars;
    json_t      *amount;
    const char  *reason;

    amount = NULL;

    if (json_unpack(o, "{s:s, s?o}", "cancelReason", &reason,
                    "cancelAmount", &amount)
        != 0)
    {
        return OPAY_ERROR;
    }

    for (chars = 0, i = 0; reason[i]; i++) {
        chars += ((unsigned char) reason[i] & 0xc0) != 0x80;
    }

    if (chars == 0 || chars > 200) {
        return OPAY_ERROR;
    }

    if (amount && (!json_is_integer(amount)
                   || json_integer_value(amount) < 1))
    {
        return OPAY_ERROR;
    }

    snprintf(t->reason, sizeof(t->reason), "%s", reason);
    t->amount = amount ? json_integer_value(amount) : 0;

    return OPAY_OK;
}


/* Key, API key, address and method make the scope; the body does not. */

static int
pgsim_toss_scope(const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep)
{
    int       n;
    char      text[1024];
    size_t    i;
    uint8_t   hash[32];

    if (req->idem_key == NULL) {
        return OPAY_OK;
    }

    if (req->idem_key[0] == '\0' || strlen(req->idem_key) > PGSIM_KEY_MAX) {
        pgsim_toss_error(rep, "INVALID_IDEMPOTENCY_KEY",
                         "Idempotency-Key has 1 to 300 characters.");
        return OPAY_ERROR;
    }

    n = snprintf(text, sizeof(text), "%s\n%s\n%s\n%s", req->method,
                 req->url, req->authorization, req->idem_key);

    if (n < 0 || (size_t) n >= sizeof(text)
        || opay_sha256(text, n, hash) != OPAY_OK)
    {
        pgsim_reply_error(rep, 400, "INVALID_REQUEST", "Too long.");
        return OPAY_ERROR;
    }

    for (i = 0; i < 32; i++) {
        snprintf(t->scope + 2 * i, 3, "%02x", hash[i]);
    }

    return OPAY_OK;
}


static void
pgsim_toss_get(pgsim_t *sim, const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep)
{
    int               found;
    int64_t           now;
    pgsim_fault_t     fault;
    pgsim_payment_t   p;

    now = opay_now_ms();

    if (pgsim_ledger_begin(sim->ledger) != OPAY_OK) {
        return;
    }

    found = t->order_id[0]
            ? pgsim_ledger_by_order(sim->ledger, t->order_id, now, &p)
            : pgsim_ledger_by_key(sim->ledger, t->key, now, &p);

    if (found == 1) {
        pgsim_reply_json(rep, 200, pgsim_toss_payment(sim, &p, 0));

    } else if (found == 0) {
        pgsim_reply_error(rep, 404, "NOT_FOUND_PAYMENT",
                          "There is no such payment.");
    }

    pgsim_ledger_rollback(sim->ledger);

    pgsim_fault_take(sim->faults, "get", found == 1 ? p.order_id : t->order_id,
                     &fault);

    if (pgsim_toss_before(sim, req, t, &fault, rep)) {
        return;
    }

    if (fault.what == PGSIM_F_ERROR_AFTER) {
        pgsim_reply_error(rep, fault.status, fault.code, "A fault rule.");
    }

    if (fault.what == PGSIM_F_WRONG_AMOUNT && found == 1
        && pgsim_ledger_begin(sim->ledger) == OPAY_OK)
    {
        pgsim_reply_json(rep, 200, pgsim_toss_payment(sim, &p, 1));
        pgsim_ledger_rollback(sim->ledger);
    }

    pgsim_toss_after(sim, req, &fault, rep);
}


static void
pgsim_toss_post(pgsim_t *sim, const pgsim_request_t *req, pgsim_toss_t *t,
    pgsim_reply_t *rep)
{
    int            rc;
    pgsim_fault_t  fault;

    if (t->scope[0]) {
        rc = pgsim_idem_enter(sim->idem, t->scope);

        if (rc == 0) {
            pgsim_toss_error(rep, "IDEMPOTENT_REQUEST_PROCESSING",
                             "The first request with this key is under way.");
        }

        if (rc != 1) {
            return;
        }

        if (pgsim_toss_replay(sim, t, rep)) {
            pgsim_idem_leave(sim->idem, t->scope);
            return;
        }
    }

    pgsim_fault_take(sim->faults, t->op,
                     t->order_id[0] ? t->order_id : t->key, &fault);

    if (fault.what == PGSIM_F_NONE && t->token) {
        fault = t->token->fault;
    }

    rc = pgsim_toss_before(sim, req, t, &fault, rep);

    if (rc == 0) {
        rc = pgsim_toss_commit(sim, t, &fault, rep) != OPAY_OK;
    }

    /* from here a second request with the key replays the answer */

    if (t->scope[0]) {
        pgsim_idem_leave(sim->idem, t->scope);
    }

    if (rc == 0) {
        pgsim_toss_after(sim, req, &fault, rep);
    }
}


static int
pgsim_toss_replay(pgsim_t *sim, pgsim_toss_t *t, pgsim_reply_t *rep)
{
    int  rc;

    if (pgsim_ledger_begin(sim->ledger) != OPAY_OK) {
        return 1;
    }

    rc = pgsim_ledger_idem_get(sim->ledger, t->scope, opay_now_ms(),
                               &rep->status, &rep->body);

    pgsim_ledger_rollback(sim->ledger);

    return rc != 0;
}


/* Faults that come before anything has happened; 1: the request ends here. */

static int
pgsim_toss_before(pgsim_t *sim, const pgsim_request_t *req, pgsim_toss_t *t,
    const pgsim_fault_t *fault, pgsim_reply_t *rep)
{
    switch (fault->what) {

    case PGSIM_F_DELAY:
        (void) pgsim_wait(sim, req->fd, fault->ms);
        return 0;

    case PGSIM_F_DROP_BEFORE:
        rep->fate = PGSIM_DROP;
        return 1;

    case PGSIM_F_ERROR:
        pgsim_reply_error(rep, fault->status, fault->code, "A fault rule.");
        return 1;

    case PGSIM_F_HOLD_BEFORE:

        if (strcmp(t->op, "confirm") == 0) {

            /* the session is there for a query to find, and to see expire */

            switch (pgsim_toss_session(sim, t)) {
            case 1:
                break;
            case 0:
                return 0;
            default:
                return 1;
            }
        }

        (void) pgsim_wait(sim, req->fd, sim->hold_ms);
        rep->fate = PGSIM_DROP;
        return 1;

    default:
        return 0;
    }
}


static int
pgsim_toss_commit(pgsim_t *sim, pgsim_toss_t *t, const pgsim_fault_t *fault,
    pgsim_reply_t *rep)
{
    int      rc;
    int64_t  now, lie;

    now = opay_now_ms();
    lie = (fault->what == PGSIM_F_WRONG_AMOUNT);

    if (pgsim_ledger_begin(sim->ledger) != OPAY_OK) {
        return OPAY_ERROR;
    }

    rc = strcmp(t->op, "confirm") == 0
         ? pgsim_toss_confirm(sim, t, now, lie, rep)
         : pgsim_toss_cancel(sim, t, now, lie, rep);

    if (rc == OPAY_OK && fault->what == PGSIM_F_ERROR_AFTER) {
        pgsim_reply_error(rep, fault->status, fault->code,
                          "The payment system failed internally.");
    }

    if (rc == OPAY_OK && rep->body && t->scope[0]) {
        rc = pgsim_ledger_idem_put(sim->ledger, t->scope, rep->status,
                                   rep->body, now);
    }

    if (rc != OPAY_OK || rep->body == NULL) {
        pgsim_ledger_rollback(sim->ledger);
        pgsim_reply_error(rep, 500, "FAILED_INTERNAL_SYSTEM_PROCESSING",
                          "The ledger could not be written.");
        return OPAY_ERROR;
    }

    return pgsim_ledger_commit(sim->ledger);
}


static void
pgsim_toss_after(pgsim_t *sim, const pgsim_request_t *req,
    const pgsim_fault_t *fault, pgsim_reply_t *rep)
{
    switch (fault->what) {

    case PGSIM_F_DROP_AFTER:
        rep->fate = PGSIM_DROP;
        break;

    case PGSIM_F_RESET_BODY:
        rep->fate = PGSIM_RESET;
        break;

    case PGSIM_F_HOLD_AFTER:
        (void) pgsim_wait(sim, req->fd, sim->hold_ms);
        rep->fate = PGSIM_DROP;
        break;

    default:
        break;
    }
}
