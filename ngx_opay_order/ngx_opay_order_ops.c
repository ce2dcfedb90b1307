
/* Orders: read, cancel, history.  Creation is ngx_opay_order_create.c. */

#include "ngx_opay_order.h"


typedef struct {
    opay_uuid_t   id;
    opay_page_t   page;                /* history */
    opay_str_t    scope;
} ngx_opay_order_cmd_t;


static opay_db_rc_t ngx_opay_order_load(opay_db_t *db, opay_call_t **calls,
    size_t n, ngx_opay_order_t **orders, size_t *found);
static int ngx_opay_order_if_match(opay_call_t *call, int64_t version);
static void ngx_opay_order_cancel_reply(opay_call_t *call,
    const ngx_opay_order_t *order);


/* A path that names no order is like an order that is not there. */

void
ngx_opay_order_id_decode(opay_call_t *call)
{
    ngx_opay_order_cmd_t  *cmd;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_order_cmd_t));
    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    if (opay_uuid_parse(call->param[0], &cmd->id) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_ORDER_NOT_FOUND);
        return;
    }

    call->cmd = cmd;
}


opay_db_rc_t
ngx_opay_order_get(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                 i, found;
    opay_db_rc_t           rc;
    ngx_opay_order_t      *orders, *order;
    ngx_opay_order_cmd_t  *cmd;

    rc = ngx_opay_order_load(db, calls, n, &orders, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_order_store_details(db, calls[0]->arena, orders, found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;

        order = ngx_opay_order_find(orders, found, sizeof(ngx_opay_order_t),
                                    &cmd->id);

        if (order == NULL
            || !ngx_opay_order_visible(calls[i], &order->user))
        {
            opay_call_fail(calls[i], OPAY_E_NOT_FOUND,
                           NGX_OPAY_ORDER_NOT_FOUND);
            continue;
        }

        ngx_opay_order_reply(calls[i], 200, order);
    }

    return OPAY_DB_OK;
}


/* What the payment service must know of an order that it has not heard of. */

opay_db_rc_t
ngx_opay_order_get_internal(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                 i, found;
    opay_jw_t              w;
    opay_str_t             body;
    opay_db_rc_t           rc;
    ngx_opay_order_t      *orders, *o;
    ngx_opay_order_cmd_t  *cmd;

    rc = ngx_opay_order_load(db, calls, n, &orders, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;

        o = ngx_opay_order_find(orders, found, sizeof(ngx_opay_order_t),
                                &cmd->id);
        if (o == NULL) {
            opay_call_fail(calls[i], OPAY_E_NOT_FOUND,
                           NGX_OPAY_ORDER_NOT_FOUND);
            continue;
        }

        opay_jw_init(&w, calls[i]->arena, 256);
        opay_jw_obj(&w);
        opay_jw_kuuid(&w, "orderId", &o->id);
        opay_jw_kuuid(&w, "userId", &o->user);
        opay_jw_ki64(&w, "total", o->total);
        opay_jw_kstr(&w, "currency", o->currency);
        opay_jw_kcstr(&w, "status", opay_order_status_name(o->state.status));
        opay_jw_ki64(&w, "version", o->version);
        opay_jw_ktime(&w, "expiresAt", o->expires);
        opay_jw_obj_end(&w);

        body = opay_jw_result(&w);

        if (body.data == NULL) {
            opay_call_fail(calls[i], OPAY_E_INTERNAL_ERROR, NULL);
            continue;
        }

        opay_call_reply(calls[i], 200, body);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_order_cancel(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_call_t             *call;
    opay_db_rc_t             rc;
    ngx_opay_order_t         order;
    opay_order_verdict_t     v;
    ngx_opay_order_cmd_t    *cmd;
    ngx_opay_order_cause_t   cause;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    rc = ngx_opay_order_store_lock(db, call->arena, &cmd->id, &order);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (order.version == 0 || !ngx_opay_order_visible(call, &order.user)) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_ORDER_NOT_FOUND);
        return OPAY_DB_OK;
    }

    if (!ngx_opay_order_if_match(call, order.version)) {
        opay_call_fail(call, OPAY_E_VERSION_MISMATCH,
                       "The order has changed since; read it again.");
        return OPAY_DB_OK;
    }

    v = opay_order_step(&order.state, OPAY_ORDER_T_CANCEL,
                        call->now > order.expires ? OPAY_ORDER_F_EXPIRED : 0);

    if (v.kind == OPAY_STEP_REFUSE) {
        opay_call_fail(call, v.code, "An order in this status cannot be "
                       "cancelled any more.");
        return OPAY_DB_OK;
    }

    if (v.kind == OPAY_STEP_APPLY) {
        cause.actor = ngx_opay_order_actor(call, &order.user);
        cause.traceparent = call->traceparent;
        cause.reason = opay_uuid_eq(&call->who.user, &order.user)
                       ? "owner_request" : "admin_request";
        cause.payment = &order.payment;
        cause.amount = order.captured - order.refunded;

        rc = ngx_opay_order_move(db, call, &order, &v, &cause);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    rc = ngx_opay_order_store_details(db, call->arena, &order, 1);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    ngx_opay_order_cancel_reply(call, &order);

    return OPAY_DB_OK;
}


void
ngx_opay_order_history_decode(opay_call_t *call)
{
    char                          id[OPAY_UUID_TEXT + 1];
    ngx_opay_order_cmd_t         *cmd;
    const ngx_opay_order_conf_t  *conf;

    ngx_opay_order_id_decode(call);

    if (call->status) {
        return;
    }

    cmd = call->cmd;
    conf = call->conf;

    cmd->scope = opay_arena_printf(call->arena, "order-history|%s",
                                   opay_uuid_format(&cmd->id, id));

    (void) opay_page_parse(call, conf->cursor_key, cmd->scope, &cmd->page);
}


/* Oldest first; the cursor's time is the version of the last entry seen. */

opay_db_rc_t
ngx_opay_order_history(opay_db_t *db, opay_call_t **calls, size_t n)
{
    int                           more;
    size_t                        i, found, count;
    opay_jw_t                     w;
    opay_str_t                    body;
    opay_call_t                  *call;
    opay_db_rc_t                  rc;
    ngx_opay_order_t             *order;
    ngx_opay_order_cmd_t         *cmd;
    ngx_opay_order_event_t       *ev;
    const ngx_opay_order_conf_t  *conf;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    rc = ngx_opay_order_load(db, calls, n, &order, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (found == 0 || !ngx_opay_order_visible(call, &order->user)) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_ORDER_NOT_FOUND);
        return OPAY_DB_OK;
    }

    /* versions are contiguous, so a page's offset is a version too */

    rc = ngx_opay_order_store_history(db, call->arena, &cmd->id,
             cmd->page.has_after ? cmd->page.after_time : cmd->page.offset,
             cmd->page.limit + 1, &ev, &count);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    more = (count > (size_t) cmd->page.limit);
    count -= more;

    opay_jw_init(&w, call->arena, 128 + count * 224);
    opay_jw_obj(&w);
    opay_jw_key(&w, "content");
    opay_jw_arr(&w);

    for (i = 0; i < count; i++) {
        ngx_opay_order_json_history(&w, &ev[i]);
    }

    opay_jw_arr_end(&w);
    opay_page_end(&w, conf->cursor_key, cmd->scope, more,
                  count ? ev[count - 1].version : 0, &cmd->id);
    opay_jw_obj_end(&w);

    body = opay_jw_result(&w);

    if (body.data == NULL) {
        return OPAY_DB_ERROR;
    }

    opay_call_reply(call, 200, body);

    return OPAY_DB_OK;
}


int
ngx_opay_order_visible(const opay_call_t *call, const opay_uuid_t *user)
{
    return (call->who.roles & OPAY_ROLE_BIT_ADMIN)
           || opay_uuid_eq(&call->who.user, user);
}


const char *
ngx_opay_order_actor(opay_call_t *call, const opay_uuid_t *user)
{
    char        id[OPAY_UUID_TEXT + 1];
    opay_str_t  s;

    s = opay_arena_printf(call->arena, "%s:%s",
                          opay_uuid_eq(&call->who.user, user) ? "user"
                                                              : "admin",
                          opay_uuid_format(&call->who.user, id));

    return s.data ? s.data : "user";
}


/* The orders that the calls are about, in one query. */

static opay_db_rc_t
ngx_opay_order_load(opay_db_t *db, opay_call_t **calls, size_t n,
    ngx_opay_order_t **orders, size_t *found)
{
    size_t        i;
    opay_uuid_t  *ids;

    ids = opay_arena_alloc(calls[0]->arena, n * sizeof(opay_uuid_t));
    if (ids == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        ids[i] = ((ngx_opay_order_cmd_t *) calls[i]->cmd)->id;
    }

    return ngx_opay_order_store_get(db, calls[0]->arena, ids, n, orders,
                                    found);
}


/* "*", or a list with the strong tag of the version in it; absent: fits. */

static int
ngx_opay_order_if_match(opay_call_t *call, int64_t version)
{
    opay_str_t   tag, s;
    const char  *p, *end;

    s = call->if_match;

    if (s.data == NULL || s.len == 0 || opay_str_is(s, "*")) {
        return 1;
    }

    tag = opay_arena_printf(call->arena, "\"%lld\"", (long long) version);

    for (p = s.data, end = p + s.len; p < end; p++) {

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        s.data = p;

        while (p < end && *p != ',') {
            p++;
        }

        for (s.len = p - s.data;
             s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t');
             s.len--)
        {
            /* void */
        }

        if (tag.data && opay_str_eq(s, tag)) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_opay_order_cancel_reply(opay_call_t *call, const ngx_opay_order_t *order)
{
    char  id[OPAY_UUID_TEXT + 1];

    if (order->state.status == OPAY_ORDER_CANCELLED) {
        ngx_opay_order_reply(call, 200, order);
        return;
    }

    ngx_opay_order_reply(call, 202, order);

    call->location = opay_arena_printf(call->arena, "/api/orders/%s",
                                       opay_uuid_format(&order->id, id));
}
