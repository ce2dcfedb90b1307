/*
 * The classification of answers is data: the table below.  A code that is not
 * in it leaves the outcome UNKNOWN, whatever its HTTP status.
 */

#include <stdlib.h>

#include <jansson.h>

#include "opay_toss.h"


#define OPAY_TOSS_BODY_MAX    (64 * 1024)
#define OPAY_TOSS_REASON_MAX  160      /* bytes; Toss takes 200 characters */
#define OPAY_TOSS_MAX_AMOUNT  9007199254740991LL
#define OPAY_TOSS_TEXT_MAX    200


typedef enum {
    OPAY_TOSS_C_UNKNOWN = 0,
    OPAY_TOSS_C_DECLINED,          /* definitive for a confirmation */
    OPAY_TOSS_C_REFUND_FAILED,     /* definitive for a cancellation */
    OPAY_TOSS_C_ABSENT,            /* a query found nothing */
    OPAY_TOSS_C_ALARM              /* our key or header is wrong */
} opay_toss_class_e;


typedef struct {
    const char         *code;
    int                 status;
    opay_toss_class_e   class;
    const char         *failure;
    const char         *reason;
    unsigned            retryable;
} opay_toss_code_t;


static const opay_toss_code_t  opay_toss_codes[] = {

    { "REJECT_CARD_PAYMENT", 403, OPAY_TOSS_C_DECLINED,
      "insufficient_funds", "The limit or the balance does not suffice.", 1 },
    { "REJECT_CARD_COMPANY", 403, OPAY_TOSS_C_DECLINED,
      "card_declined", "The card company refused the payment.", 1 },
    { "REJECT_ACCOUNT_PAYMENT", 403, OPAY_TOSS_C_DECLINED,
      "insufficient_funds", "The account's balance does not suffice.", 1 },
    { "INVALID_STOPPED_CARD", 400, OPAY_TOSS_C_DECLINED,
      "card_stopped", "The card is suspended.", 0 },
    { "INVALID_REJECT_CARD", 400, OPAY_TOSS_C_DECLINED,
      "card_declined", "The card was refused.", 0 },
    { "INVALID_CARD_LOST_OR_STOLEN", 400, OPAY_TOSS_C_DECLINED,
      "card_declined", "The card was refused.", 0 },
    { "INVALID_CARD_EXPIRATION", 400, OPAY_TOSS_C_DECLINED,
      "card_expired", "The card's expiry date is not valid.", 0 },
    { "INVALID_CARD_NUMBER", 400, OPAY_TOSS_C_DECLINED,
      "card_invalid", "The card number is not valid.", 0 },
    { "EXCEED_MAX_AUTH_COUNT", 403, OPAY_TOSS_C_DECLINED,
      "too_many_attempts", "Authentication failed too often.", 0 },
    { "BELOW_MINIMUM_AMOUNT", 400, OPAY_TOSS_C_DECLINED,
      "amount_too_small", "The amount is below the provider's minimum.", 0 },
    { "NOT_FOUND_PAYMENT_SESSION", 404, OPAY_TOSS_C_DECLINED,
      "session_expired", "The payment session has expired.", 1 },
    { "INVALID_BILL_KEY_REQUEST", 400, OPAY_TOSS_C_DECLINED,
      "card_invalid", "The stored card cannot be charged.", 0 },

    { "ALREADY_PROCESSED_PAYMENT", 400, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "PROVIDER_ERROR", 400, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "IDEMPOTENT_REQUEST_PROCESSING", 409, OPAY_TOSS_C_UNKNOWN,
      NULL, NULL, 0 },
    { "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", 500, OPAY_TOSS_C_UNKNOWN,
      NULL, NULL, 0 },
    { "FAILED_INTERNAL_SYSTEM_PROCESSING", 500, OPAY_TOSS_C_UNKNOWN,
      NULL, NULL, 0 },
    { "UNKNOWN_PAYMENT_ERROR", 500, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "COMMON_ERROR", 500, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },

    { "UNAUTHORIZED_KEY", 401, OPAY_TOSS_C_ALARM, NULL, NULL, 0 },
    { "INVALID_API_KEY", 400, OPAY_TOSS_C_ALARM, NULL, NULL, 0 },
    { "INCORRECT_BASIC_AUTH_FORMAT", 403, OPAY_TOSS_C_ALARM, NULL, NULL, 0 },
    { "INVALID_IDEMPOTENCY_KEY", 400, OPAY_TOSS_C_ALARM, NULL, NULL, 0 },

    { "NOT_FOUND_PAYMENT", 404, OPAY_TOSS_C_ABSENT, NULL, NULL, 0 },

    { "ALREADY_CANCELED_PAYMENT", 400, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "NOT_CANCELABLE_AMOUNT", 403, OPAY_TOSS_C_REFUND_FAILED,
      "refund_amount", "The provider cannot refund this amount.", 0 },
    { "NOT_CANCELABLE_PAYMENT", 403, OPAY_TOSS_C_REFUND_FAILED,
      "refund_refused", "The provider cannot refund this payment.", 0 },
    { "NOT_ALLOWED_PARTIAL_REFUND", 403, OPAY_TOSS_C_REFUND_FAILED,
      "refund_partial", "This payment can only be refunded whole.", 0 },
    { "EXCEED_MAX_REFUND_DUE", 403, OPAY_TOSS_C_REFUND_FAILED,
      "refund_too_late", "The time for a refund has passed.", 0 },
    { "FAILED_REFUND_PROCESS", 500, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "FAILED_PARTIAL_REFUND", 500, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 },
    { "FAILED_METHOD_HANDLING_CANCEL", 500, OPAY_TOSS_C_UNKNOWN,
      NULL, NULL, 0 },

    { NULL, 0, OPAY_TOSS_C_UNKNOWN, NULL, NULL, 0 }
};


static const opay_toss_code_t *opay_toss_find(opay_str_t code);
static opay_str_t opay_toss_basic(opay_arena_t *a, opay_str_t secret);
static int opay_toss_build_body(opay_arena_t *a,
    const opay_toss_attempt_t *at, opay_toss_request_t *req);
static opay_str_t opay_toss_cancel_reason(opay_arena_t *a,
    const opay_toss_attempt_t *at);
static void opay_toss_parse_error(opay_arena_t *a,
    const opay_toss_attempt_t *at, int status, json_t *root,
    opay_toss_result_t *res);
static void opay_toss_parse_payment(opay_arena_t *a,
    const opay_toss_attempt_t *at, json_t *root, opay_toss_result_t *res);
static void opay_toss_parse_ended(opay_arena_t *a, json_t *root,
    const char *status, opay_toss_result_t *res);
static void opay_toss_parse_cancels(opay_arena_t *a,
    const opay_toss_attempt_t *at, json_t *root, opay_toss_result_t *res);
static opay_str_t opay_toss_text(opay_arena_t *a, json_t *o,
    const char *name);
static int64_t opay_toss_amount(json_t *o, const char *name);
static int opay_toss_is_query(opay_toss_op_e op);


int
opay_toss_takes(opay_str_t currency, int64_t amount)
{
    return opay_str_is(currency, "KRW") && amount > 0
           && amount <= OPAY_TOSS_MAX_AMOUNT;
}


int
opay_toss_key_valid(opay_str_t key)
{
    char    c;
    size_t  i;

    if (key.data == NULL || key.len == 0 || key.len > OPAY_TOSS_TEXT_MAX) {
        return 0;
    }

    for (i = 0; i < key.len; i++) {
        c = key.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9')
              || c == '_' || c == '-' || c == '.' || c == '='))
        {
            return 0;
        }
    }

    /* "." and ".." would be path segments with a meaning of their own */

    return key.data[0] != '.';
}


int
opay_toss_build(opay_arena_t *a, const opay_toss_attempt_t *at,
    opay_toss_request_t *req)
{
    size_t      n;
    opay_str_t  h;

    memset(req, 0, sizeof(opay_toss_request_t));

    if ((at->op != OPAY_TOSS_QUERY && !opay_toss_key_valid(at->payment_key))
        || (at->op <= OPAY_TOSS_QUERY && !opay_toss_key_valid(at->order_id)))
    {
        return OPAY_ERROR;
    }

    switch (at->op) {

    case OPAY_TOSS_CONFIRM:
        req->path = opay_arena_printf(a, "/v1/payments/confirm");
        break;

    case OPAY_TOSS_QUERY:
        req->path = opay_arena_printf(a, "/v1/payments/orders/%.*s",
                                      (int) at->order_id.len,
                                      at->order_id.data);
        break;

    case OPAY_TOSS_CANCEL:
    case OPAY_TOSS_QUERY_CANCEL:
        req->path = opay_arena_printf(a, "/v1/payments/%.*s%s",
                                      (int) at->payment_key.len,
                                      at->payment_key.data,
                                      at->op == OPAY_TOSS_CANCEL ? "/cancel"
                                                                 : "");
        break;
    }

    n = 0;

    h = opay_toss_basic(a, at->secret);
    req->headers[n++] = h.data;
    req->headers[n++] = "Accept-Language: en-US";

    if (req->path.data == NULL || h.data == NULL) {
        return OPAY_ERROR;
    }

    if (opay_toss_is_query(at->op)) {
        req->method = "GET";
        return OPAY_OK;
    }

    if (!opay_toss_key_valid(at->idem_key)
        || !opay_toss_takes(at->currency, at->amount))
    {
        return OPAY_ERROR;
    }

    h = opay_arena_printf(a, "Idempotency-Key: %.*s", (int) at->idem_key.len,
                          at->idem_key.data);
    req->method = "POST";
    req->headers[n++] = "Content-Type: application/json";
    req->headers[n] = h.data;

    return h.data ? opay_toss_build_body(a, at, req) : OPAY_ERROR;
}


static int
opay_toss_build_body(opay_arena_t *a, const opay_toss_attempt_t *at,
    opay_toss_request_t *req)
{
    char        *text;
    json_t      *o;
    opay_str_t   reason;

    if (at->op == OPAY_TOSS_CONFIRM) {
        o = json_pack("{s:s%, s:s%, s:I}",
                      "paymentKey", at->payment_key.data, at->payment_key.len,
                      "orderId", at->order_id.data, at->order_id.len,
                      "amount", (json_int_t) at->amount);
    } else {
        reason = opay_toss_cancel_reason(a, at);
        if (reason.data == NULL) {
            return OPAY_ERROR;
        }

        o = json_pack("{s:s%, s:I}",
                      "cancelReason", reason.data, reason.len,
                      "cancelAmount", (json_int_t) at->amount);
    }

    text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);

    if (text == NULL) {
        return OPAY_ERROR;
    }

    req->body = opay_arena_str(a, opay_str_of(text));
    free(text);

    return req->body.data ? OPAY_OK : OPAY_ERROR;
}


/*
 * The refund's key leads the reason, so that a later query can tell which of
 * the payment's cancellations is ours.
 */

static opay_str_t
opay_toss_cancel_reason(opay_arena_t *a, const opay_toss_attempt_t *at)
{
    size_t  n, max;

    n = at->reason.len;
    max = OPAY_TOSS_REASON_MAX > at->idem_key.len
          ? OPAY_TOSS_REASON_MAX - at->idem_key.len : 0;

    if (n > max) {
        n = max;

        /* not in the middle of a character */

        while (n > 0 && ((unsigned char) at->reason.data[n] & 0xc0) == 0x80) {
            n--;
        }
    }

    return opay_arena_printf(a, "%.*s %.*s", (int) at->idem_key.len,
                             at->idem_key.data, (int) n,
                             n ? at->reason.data : "");
}


static opay_str_t
opay_toss_basic(opay_arena_t *a, opay_str_t secret)
{
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char  prefix[] = "Authorization: Basic ";

    char        *p, *buf;
    size_t       i, k, n;
    uint32_t     v;
    opay_str_t   r = opay_str_null;

    n = secret.len + 1;            /* the colon; the password is empty */

    buf = opay_arena_alloc(a, sizeof(prefix) + (n + 2) / 3 * 4);
    if (buf == NULL) {
        return r;
    }

    memcpy(buf, prefix, sizeof(prefix) - 1);
    p = buf + sizeof(prefix) - 1;

    for (i = 0; i < n; i += 3) {
        v = 0;

        for (k = 0; k < 3; k++) {
            v <<= 8;

            if (i + k < secret.len) {
                v |= (unsigned char) secret.data[i + k];

            } else if (i + k == secret.len) {
                v |= ':';
            }
        }

        *p++ = digits[v >> 18];
        *p++ = digits[(v >> 12) & 63];
        *p++ = i + 1 < n ? digits[(v >> 6) & 63] : '=';
        *p++ = i + 2 < n ? digits[v & 63] : '=';
    }

    *p = '\0';
    r.data = buf;
    r.len = p - buf;

    return r;
}


void
opay_toss_parse(opay_arena_t *a, const opay_toss_attempt_t *at,
    opay_toss_transport_e transport, int status, opay_str_t body,
    opay_toss_result_t *res)
{
    json_t  *root;

    memset(res, 0, sizeof(opay_toss_result_t));
    res->amount = -1;

    if (transport == OPAY_TOSS_UNSENT) {
        res->outcome = OPAY_TOSS_NOT_SENT;
        return;
    }

    if (transport != OPAY_TOSS_ANSWERED || body.data == NULL
        || body.len > OPAY_TOSS_BODY_MAX)
    {
        return;
    }

    root = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(root)) {

        if (status == 200) {
            opay_toss_parse_payment(a, at, root, res);

        } else {
            opay_toss_parse_error(a, at, status, root, res);
        }
    }

    json_decref(root);
}


static void
opay_toss_parse_error(opay_arena_t *a, const opay_toss_attempt_t *at,
    int status, json_t *root, opay_toss_result_t *res)
{
    const opay_toss_code_t  *c;

    res->code = opay_toss_text(a, root, "code");

    c = opay_toss_find(res->code);

    if (c == NULL) {
        return;
    }

    res->alarm = (c->class == OPAY_TOSS_C_ALARM);

    /* a server error does not decide anything, whatever code it carries */

    if (status < 400 || status > 499) {
        return;
    }

    if (c->class == OPAY_TOSS_C_DECLINED && at->op == OPAY_TOSS_CONFIRM) {
        res->outcome = OPAY_TOSS_DECLINED;

    } else if (c->class == OPAY_TOSS_C_REFUND_FAILED
               && at->op == OPAY_TOSS_CANCEL)
    {
        res->outcome = OPAY_TOSS_REFUND_FAILED;

    } else if (c->class == OPAY_TOSS_C_ABSENT && at->op == OPAY_TOSS_QUERY) {
        res->outcome = OPAY_TOSS_ABSENT;
        return;

    } else {
        return;
    }

    res->failure = c->failure;
    res->reason = c->reason;
    res->retryable = c->retryable;
}


static void
opay_toss_parse_payment(opay_arena_t *a, const opay_toss_attempt_t *at,
    json_t *root, opay_toss_result_t *res)
{
    const char  *status;

    if (at->op == OPAY_TOSS_CANCEL || at->op == OPAY_TOSS_QUERY_CANCEL) {
        opay_toss_parse_cancels(a, at, root, res);
        return;
    }

    /*
     * An answer about another order: Toss's idempotency ignores the body, so
     * a key used twice would return the first one's payment.
     */

    if (!opay_str_eq(opay_toss_text(a, root, "orderId"), at->order_id)) {
        return;
    }

    status = json_string_value(json_object_get(root, "status"));
    if (status == NULL) {
        return;
    }

    res->provider_id = opay_toss_text(a, root, "paymentKey");
    res->currency = opay_toss_text(a, root, "currency");
    res->amount = opay_toss_amount(root, "totalAmount");

    if (strcmp(status, "DONE") == 0) {

        if (!opay_toss_key_valid(res->provider_id)
            || res->amount != at->amount
            || !opay_str_eq(res->currency, at->currency))
        {
            res->failure = "amount_mismatch";
            res->alarm = 1;
            return;
        }

        res->outcome = OPAY_TOSS_APPROVED;
        return;
    }

    if (at->op == OPAY_TOSS_QUERY
        && (strcmp(status, "READY") == 0
            || strcmp(status, "IN_PROGRESS") == 0))
    {
        res->outcome = OPAY_TOSS_OPEN;
        return;
    }

    opay_toss_parse_ended(a, root, status, res);
}


static void
opay_toss_parse_ended(opay_arena_t *a, json_t *root, const char *status,
    opay_toss_result_t *res)
{
    const opay_toss_code_t  *c;

    if (strcmp(status, "EXPIRED") == 0) {
        res->outcome = OPAY_TOSS_DECLINED;
        res->code = opay_str_of("EXPIRED");
        res->failure = "session_expired";
        res->reason = "The payment session has expired.";
        res->retryable = 1;
        return;
    }

    if (strcmp(status, "ABORTED") != 0) {
        return;
    }

    res->outcome = OPAY_TOSS_DECLINED;
    res->code = opay_toss_text(a, json_object_get(root, "failure"), "code");
    res->failure = "declined";
    res->reason = "The provider refused the payment.";

    c = opay_toss_find(res->code);

    if (c && c->class == OPAY_TOSS_C_DECLINED) {
        res->failure = c->failure;
        res->reason = c->reason;
        res->retryable = c->retryable;
    }
}


static void
opay_toss_parse_cancels(opay_arena_t *a, const opay_toss_attempt_t *at,
    json_t *root, opay_toss_result_t *res)
{
    json_t      *cancels, *one;
    size_t       i;
    opay_str_t   reason;
    const char  *status;

    if (!opay_str_eq(opay_toss_text(a, root, "paymentKey"), at->payment_key))
    {
        return;
    }

    cancels = json_object_get(root, "cancels");

    json_array_foreach(cancels, i, one) {

        reason = opay_toss_text(a, one, "cancelReason");

        if (reason.len < at->idem_key.len
            || memcmp(reason.data, at->idem_key.data, at->idem_key.len) != 0
            || (reason.len > at->idem_key.len
                && reason.data[at->idem_key.len] != ' '))
        {
            continue;
        }

        /* cancelStatus is absent in older API versions */

        status = json_string_value(json_object_get(one, "cancelStatus"));

        res->amount = opay_toss_amount(one, "cancelAmount");
        res->currency = opay_toss_text(a, root, "currency");
        res->provider_id = opay_toss_text(a, one, "transactionKey");

        if (res->amount != at->amount
            || !opay_str_eq(res->currency, at->currency))
        {
            res->failure = "amount_mismatch";
            res->alarm = 1;
            return;
        }

        if (res->provider_id.len
            && (status == NULL || strcmp(status, "DONE") == 0))
        {
            res->outcome = OPAY_TOSS_REFUNDED;
        }

        return;
    }

    /* a cancellation that was accepted must be in the list */

    if (at->op == OPAY_TOSS_QUERY_CANCEL) {
        res->outcome = OPAY_TOSS_ABSENT;
    }
}


/* An empty string when absent, too long, or not a string. */

static opay_str_t
opay_toss_text(opay_arena_t *a, json_t *o, const char *name)
{
    json_t      *v;
    opay_str_t   s = opay_str("");

    v = json_object_get(o, name);

    if (!json_is_string(v) || json_string_length(v) == 0
        || json_string_length(v) > 4 * OPAY_TOSS_TEXT_MAX)
    {
        return s;
    }

    s.data = json_string_value(v);
    s.len = json_string_length(v);
    s = opay_arena_str(a, s);

    if (s.data == NULL) {
        s.data = "";
        s.len = 0;
    }

    return s;
}


/* Toss sends JSON numbers; 5000.0 is 5000, 5000.5 is not an amount of ours. */

static int64_t
opay_toss_amount(json_t *o, const char *name)
{
    double   d;
    json_t  *v;

    v = json_object_get(o, name);

    if (json_is_integer(v)) {
        return json_integer_value(v);
    }

    if (!json_is_real(v)) {
        return -1;
    }

    d = json_real_value(v);

    if (d < 0 || d > (double) OPAY_TOSS_MAX_AMOUNT
        || d != (double) (int64_t) d)
    {
        return -1;
    }

    return (int64_t) d;
}


static int
opay_toss_is_query(opay_toss_op_e op)
{
    return op == OPAY_TOSS_QUERY || op == OPAY_TOSS_QUERY_CANCEL;
}


static const opay_toss_code_t *
opay_toss_find(opay_str_t code)
{
    const opay_toss_code_t  *c;

    for (c = opay_toss_codes; c->code; c++) {
        if (opay_str_is(code, c->code)) {
            return c;
        }
    }

    return NULL;
}


int
opay_toss_code_status(opay_str_t code)
{
    const opay_toss_code_t  *c;

    c = opay_toss_find(code);

    return c ? c->status : 0;
}


const char *
opay_toss_outcome_name(opay_toss_outcome_e outcome)
{
    static const char  *names[] = {
        "unknown", "not_sent", "absent", "open",
        "approved", "declined", "refunded", "refund_failed"
    };

    if ((size_t) outcome >= sizeof(names) / sizeof(names[0])) {
        return "unknown";
    }

    return names[outcome];
}
