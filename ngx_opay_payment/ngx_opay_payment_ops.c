
/* Paying, and reading one payment: see ngx_opay_payment.h. */

#include "ngx_opay_payment.h"

#include "opay_json.h"


/* A SENT attempt this long after the provider's time-out is UNKNOWN. */
#define NGX_OPAY_PAYMENT_GRACE  5000


typedef struct {
    opay_uuid_t  id;
} ngx_opay_payment_id_t;


static const char * const  ngx_opay_payment_methods[] = {
    "CREDIT_CARD", "DEBIT_CARD", "BANK_TRANSFER", "PAYPAL", NULL
};


static const opay_json_field_t  ngx_opay_payment_create_fields[] = {
    { .name = "orderId", .type = OPAY_JSON_UUID,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_payment_cmd_t, order_id) },
    { .name = "paymentMethod", .type = OPAY_JSON_ENUM,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_payment_cmd_t, method),
      .names = ngx_opay_payment_methods },
    { .name = "paymentToken", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS, .min = 1, .max = 200,
      .offset = offsetof(ngx_opay_payment_cmd_t, token) },
    { .name = "provider", .type = OPAY_JSON_STRING, .min = 1, .max = 16,
      .offset = offsetof(ngx_opay_payment_cmd_t, provider) },
    { .name = "amount", .type = OPAY_JSON_INT,
      .offset = offsetof(ngx_opay_payment_cmd_t, amount),
      .present = OPAY_JSON_PRESENT(ngx_opay_payment_cmd_t, has_amount) },
    { .name = NULL }
};


static int ngx_opay_payment_card_like(opay_str_t token);
static opay_db_rc_t ngx_opay_payment_resume(opay_db_t *db, opay_call_t *call,
    unsigned *found);
static opay_db_rc_t ngx_opay_payment_order(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd);
static opay_db_rc_t ngx_opay_payment_busy(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd);
static void ngx_opay_payment_check(opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd);
static opay_db_rc_t ngx_opay_payment_open(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd);
static const char *ngx_opay_payment_actor(opay_call_t *call);
static opay_db_rc_t ngx_opay_payment_ids(opay_call_t **calls, size_t n,
    opay_db_value_t **ids);
static void ngx_opay_payment_answer(opay_call_t *call,
    ngx_opay_payment_t *list, size_t n, int by_order);


void
ngx_opay_payment_create_decode(opay_call_t *call)
{
    ngx_opay_payment_cmd_t         *cmd;
    const ngx_opay_payment_conf_t  *conf;

    conf = call->conf;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_payment_cmd_t));
    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    call->cmd = cmd;

    (void) opay_json_unpack(call, call->body, "",
                            ngx_opay_payment_create_fields, cmd);

    if (cmd->token.data && ngx_opay_payment_card_like(cmd->token)) {
        opay_call_invalid(call, "/paymentToken", "card_number",
                          "Card numbers are not taken; send the token of "
                          "the provider's SDK.");

    } else if (cmd->token.data && !opay_toss_key_valid(cmd->token)) {
        opay_call_invalid(call, "/paymentToken", "format",
                          "Letters, digits and \"_-.=\".");
    }

    if (cmd->provider.data
        && (cmd->provider.len != conf->provider.len
            || ngx_memcmp(cmd->provider.data, conf->provider.data,
                          conf->provider.len) != 0))
    {
        opay_call_invalid(call, "/provider", "enum",
                          "This provider is not configured.");
    }
}


/*
 * Toss's keys carry a time, tviva20240929012227abc: 14 digits that one key in
 * ten passes Luhn with.  No card of 14 digits begins with 20.
 */

static int
ngx_opay_payment_card_like(opay_str_t token)
{
    char    copy[201];
    size_t  i, n;

    if (token.len > 200) {
        return 0;
    }

    ngx_memcpy(copy, token.data, token.len);

    for (i = 0; i < token.len; i += n + 1) {

        n = 0;

        while (i + n < token.len && copy[i + n] >= '0'
               && copy[i + n] <= '9')
        {
            n++;
        }

        if (n == 14 && i > 0 && copy[i] == '2' && copy[i + 1] == '0'
            && ((copy[i - 1] | 0x20) >= 'a' && (copy[i - 1] | 0x20) <= 'z'))
        {
            ngx_memset(copy + i, 'x', n);
        }
    }

    return opay_pan_like((opay_str_t) { token.len, copy });
}


/* READ: what the feed has brought of the orders. */

opay_db_rc_t
ngx_opay_payment_lookup(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                   i, k, found;
    opay_db_rc_t             rc;
    opay_db_value_t         *ids;
    ngx_opay_payable_t      *orders;
    ngx_opay_payment_cmd_t  *cmd;

    ids = opay_arena_alloc(calls[0]->arena, n * sizeof(opay_db_value_t));
    if (ids == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;
        ids[i] = opay_db_uuid(&cmd->order_id);
    }

    rc = ngx_opay_payment_store_orders(db, calls[0]->arena, ids, n, &orders,
                                       &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;

        for (k = 0; k < found; k++) {
            if (opay_uuid_eq(&orders[k].id, &cmd->order_id)) {

                /* that it is known is all the next step asks for */
                cmd->order.version = orders[k].version;
                break;
            }
        }
    }

    return OPAY_DB_OK;
}


/* WRITE: the payment and its attempt, SENT, before any byte leaves. */

opay_db_rc_t
ngx_opay_payment_begin(opay_db_t *db, opay_call_t **calls, size_t n)
{
    unsigned                 found;
    opay_call_t             *call;
    opay_db_rc_t             rc;
    ngx_opay_payment_cmd_t  *cmd;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    if (call->idem.resuming) {
        rc = ngx_opay_payment_resume(db, call, &found);

        if (rc != OPAY_DB_OK || found) {
            return rc;
        }
    }

    rc = ngx_opay_payment_order(db, call, cmd);

    if (rc != OPAY_DB_OK || call->status) {
        return rc;
    }

    rc = ngx_opay_payment_busy(db, call, cmd);

    if (rc != OPAY_DB_OK || call->status) {
        return rc;
    }

    ngx_opay_payment_check(call, cmd);

    if (call->status) {
        return OPAY_DB_OK;
    }

    rc = ngx_opay_payment_open(db, call, cmd);

    /* another instance was faster: look again, and find its payment */

    return rc == OPAY_DB_DUP ? OPAY_DB_RETRY : rc;
}


/* An earlier run with this key got as far as a payment: that is the answer. */

static opay_db_rc_t
ngx_opay_payment_resume(opay_db_t *db, opay_call_t *call, unsigned *found)
{
    opay_db_rc_t        rc;
    ngx_opay_payment_t  p;

    *found = 0;

    rc = ngx_opay_payment_store_lock(db, call->arena, &call->idem.resource,
                                     &p);

    if (rc == OPAY_DB_OK && p.version
        && opay_uuid_eq(&p.user, &call->who.user))
    {
        *found = 1;
        ngx_opay_payment_reply_paid(call, &p, 0);
    }

    return rc;
}


/* Locks the order: from here payments of one order go one after the other. */

static opay_db_rc_t
ngx_opay_payment_order(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd)
{
    opay_db_rc_t        rc;
    ngx_opay_payable_t  order;

    if (cmd->asked && cmd->order.version) {
        rc = ngx_opay_payment_store_order_put(db, &cmd->order,
                                              opay_now_ms());
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    rc = ngx_opay_payment_store_order_lock(db, call->arena, &cmd->order_id,
                                           &order);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (order.version == 0 && !cmd->absent) {
        opay_call_fail(call, OPAY_E_ORDER_NOT_YET_KNOWN,
                       "The order is not known here yet; try again.");
        call->retry_after = 1;
        return OPAY_DB_OK;
    }

    if (order.version == 0 || !opay_uuid_eq(&order.user, &call->who.user)) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, "There is no such order.");
        return OPAY_DB_OK;
    }

    cmd->order = order;

    return OPAY_DB_OK;
}


/* I4: one live attempt per order. */

static opay_db_rc_t
ngx_opay_payment_busy(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd)
{
    char                 id[OPAY_UUID_TEXT + 1];
    unsigned             found;
    opay_uuid_t          live;
    opay_db_rc_t         rc;
    ngx_opay_payment_t   p;

    rc = ngx_opay_payment_store_live(db, call->arena, &cmd->order_id, &live,
                                     &found);
    if (rc != OPAY_DB_OK || !found) {
        return rc;
    }

    rc = ngx_opay_payment_store_lock(db, call->arena, &live, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (p.state.status == OPAY_PAYMENT_PROCESSING
        || p.state.status == OPAY_PAYMENT_PENDING)
    {
        opay_call_fail(call, OPAY_E_PAYMENT_IN_PROGRESS,
                       "A payment of this order is under way.");

    } else {
        opay_call_fail(call, OPAY_E_ORDER_NOT_PAYABLE,
                       "The order has been paid.");
    }

    call->problem_extra = opay_arena_printf(call->arena,
                              "\"paymentId\":\"%s\","
                              "\"payment\":\"/api/payments/%s\"",
                              opay_uuid_format(&live, id), id);

    return call->problem_extra.data ? OPAY_DB_OK : OPAY_DB_ERROR;
}


/*
 * PENDING is payable here: it is what the feed says between a declined
 * payment and the order service's word on it; that nothing is under way has
 * just been seen.
 */

static void
ngx_opay_payment_check(opay_call_t *call, ngx_opay_payment_cmd_t *cmd)
{
    ngx_opay_payable_t  *o;

    o = &cmd->order;

    if ((!opay_str_is(o->status, "CREATED")
         && !opay_str_is(o->status, "PENDING")
         && !opay_str_is(o->status, "FAILED"))
        || opay_str_is(o->pending, "CANCEL"))
    {
        opay_call_fail(call, OPAY_E_ORDER_NOT_PAYABLE,
                       "The order's status does not allow a payment.");

    } else if (o->expires && o->expires <= opay_now_ms()) {
        opay_call_fail(call, OPAY_E_ORDER_NOT_PAYABLE,
                       "The order has expired.");

    } else if (!opay_toss_takes(o->currency, o->total)) {
        opay_call_fail(call, OPAY_E_ORDER_NOT_PAYABLE,
                       "The provider cannot charge this amount in this "
                       "currency.");

    } else if (cmd->has_amount && cmd->amount != o->total) {
        opay_call_invalid(call, "/amount", "mismatch",
                          "The amount is not the order's total.");
    }
}


static opay_db_rc_t
ngx_opay_payment_open(opay_db_t *db, opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd)
{
    opay_db_rc_t                    rc;
    ngx_opay_payment_t             *p;
    ngx_opay_attempt_t             *t;
    opay_payment_verdict_t          created, v;
    ngx_opay_payment_cause_t        cause;
    const ngx_opay_payment_conf_t  *conf;

    conf = call->conf;
    p = &cmd->payment;
    t = &cmd->attempt;

    ngx_memzero(p, sizeof(ngx_opay_payment_t));
    ngx_memzero(t, sizeof(ngx_opay_attempt_t));
    ngx_memzero(&cause, sizeof(ngx_opay_payment_cause_t));

    if (opay_uuid_v7(&p->id) != OPAY_OK || opay_uuid_v7(&t->id) != OPAY_OK) {
        return OPAY_DB_ERROR;
    }

    p->order = cmd->order_id;
    p->user = call->who.user;
    p->amount = cmd->order.total;
    p->currency = cmd->order.currency;
    p->method = opay_str_of(ngx_opay_payment_methods[cmd->method]);
    p->provider = (opay_str_t) { conf->provider.len,
                                 (char *) conf->provider.data };
    p->created = opay_now_ms();
    p->traceparent = call->traceparent[0] ? opay_str_of(call->traceparent)
                                          : (opay_str_t) opay_str_null;

    /* both steps in one move: created, and processing from SENT on */

    v = opay_payment_step(&p->state, OPAY_PAYMENT_T_CREATE, 0);
    created = v;
    v = opay_payment_step(&created.next, OPAY_PAYMENT_T_SEND, 0);
    v.nevents = 2;
    v.events[1] = v.events[0];
    v.events[0] = created.events[0];

    cause.actor = ngx_opay_payment_actor(call);
    cause.traceparent = call->traceparent;

    if (cause.actor == NULL) {
        return OPAY_DB_ERROR;
    }

    rc = ngx_opay_payment_move(db, call, p, &v, &cause);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_payment_store_insert(db, p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    t->payment = p->id;
    t->order = p->order;
    t->state = OPAY_ATTEMPT_SENT;
    t->amount = p->amount;
    t->currency = p->currency;
    t->key = cmd->token;
    t->created = p->created;
    t->next_try = p->created + (int64_t) conf->timeout
                  + NGX_OPAY_PAYMENT_GRACE;

    call->idem.resource = p->id;

    return ngx_opay_payment_store_attempt_insert(db, t, p->created);
}


/* WRITE: what the provider said. */

opay_db_rc_t
ngx_opay_payment_finish(opay_db_t *db, opay_call_t **calls, size_t n)
{
    const char              *actor;
    opay_call_t             *call;
    opay_db_rc_t             rc;
    ngx_opay_payment_t       p;
    ngx_opay_payment_cmd_t  *cmd;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    actor = ngx_opay_payment_actor(call);
    if (actor == NULL) {
        return OPAY_DB_ERROR;
    }

    rc = ngx_opay_payment_settle(db, call, &cmd->attempt, &cmd->call.res,
                                 actor, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    ngx_opay_payment_reply_paid(call, &p, cmd->call.res.retryable);

    return OPAY_DB_OK;
}


static const char *
ngx_opay_payment_actor(opay_call_t *call)
{
    char  id[OPAY_UUID_TEXT + 1];

    return opay_arena_printf(call->arena, "user:%s",
                             opay_uuid_format(&call->who.user, id)).data;
}


/* GET /api/payments/{id}, /api/payments/order/{orderId} */

void
ngx_opay_payment_id_decode(opay_call_t *call)
{
    ngx_opay_payment_id_t  *cmd;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_payment_id_t));
    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    call->cmd = cmd;

    if (opay_uuid_parse(call->param[0], &cmd->id) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_PAYMENT_NOT_FOUND);
    }
}


opay_db_rc_t
ngx_opay_payment_get(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t               i, found;
    opay_db_rc_t         rc;
    opay_db_value_t     *ids;
    ngx_opay_payment_t  *list;

    rc = ngx_opay_payment_ids(calls, n, &ids);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_payment_store_get(db, calls[0]->arena, ids, n, &list,
                                        &found);
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        ngx_opay_payment_answer(calls[i], list, found, 0);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_payment_get_by_order(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t               i, found;
    opay_db_rc_t         rc;
    opay_db_value_t     *ids;
    ngx_opay_payment_t  *list;

    rc = ngx_opay_payment_ids(calls, n, &ids);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_payment_store_by_orders(db, calls[0]->arena, ids, n,
                                              &list, &found);
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        ngx_opay_payment_answer(calls[i], list, found, 1);
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_payment_ids(opay_call_t **calls, size_t n, opay_db_value_t **ids)
{
    size_t                  i;
    ngx_opay_payment_id_t  *cmd;

    *ids = opay_arena_alloc(calls[0]->arena, n * sizeof(opay_db_value_t));
    if (*ids == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;
        (*ids)[i] = opay_db_uuid(&cmd->id);
    }

    return OPAY_DB_OK;
}


/* The first that fits is the newest of an order. */

static void
ngx_opay_payment_answer(opay_call_t *call, ngx_opay_payment_t *list,
    size_t n, int by_order)
{
    size_t                  i;
    ngx_opay_payment_id_t  *cmd;

    cmd = call->cmd;

    for (i = 0; i < n; i++) {
        if (opay_uuid_eq(by_order ? &list[i].order : &list[i].id, &cmd->id)) {
            break;
        }
    }

    if (i == n || !ngx_opay_payment_visible(call, &list[i].user)) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_PAYMENT_NOT_FOUND);
        return;
    }

    ngx_opay_payment_reply(call, 200, &list[i]);
}


int
ngx_opay_payment_visible(const opay_call_t *call, const opay_uuid_t *user)
{
    return (call->who.roles & OPAY_ROLE_BIT_ADMIN)
           || opay_uuid_eq(&call->who.user, user);
}
