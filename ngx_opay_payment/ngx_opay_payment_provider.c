
/*
 * DESIGN
 *
 * What the event loop asks of others: the order service about an order that
 * the feed has not brought yet, and the payment provider.  Nothing is held
 * meanwhile but the call itself: no transaction, no row lock, no pool thread.
 *
 * lib/opay_toss builds the bytes and reads the answer; here is only the
 * sending.  A request that failed before its first byte is sent again at
 * once, a few times; all else that is not an answer is UNKNOWN.
 */

#include "ngx_opay_payment.h"

#include "opay_json.h"
#include "opay_money.h"


#define NGX_OPAY_PROVIDER_RESENDS  2
#define NGX_OPAY_PROVIDER_CONNECT  2000
#define NGX_OPAY_PROVIDER_REPLY    (64 * 1024)
#define NGX_OPAY_ASK_TIMEOUT       2000


static ngx_int_t ngx_opay_provider_build(ngx_opay_provider_t *p,
    opay_toss_op_e op, ngx_msec_t timeout);
static void ngx_opay_provider_post(ngx_opay_provider_t *p);
static void ngx_opay_provider_done(ngx_opay_http_t *h);
static void ngx_opay_payment_confirmed(ngx_opay_provider_t *p);
static ngx_int_t ngx_opay_payment_ask_send(opay_call_t *call,
    ngx_opay_payment_cmd_t *cmd);
static void ngx_opay_payment_ask_done(ngx_opay_http_t *h);
static void ngx_opay_payment_ask_parse(opay_call_t *call, json_t *o,
    ngx_opay_payable_t *order);


void
ngx_opay_provider_send(ngx_opay_provider_t *p, opay_toss_op_e op,
    ngx_msec_t timeout)
{
    p->resends = 0;

    if (ngx_opay_provider_build(p, op, timeout) != NGX_OK) {

        /* out of memory, or a row that we should not have written */

        ngx_memzero(&p->res, sizeof(opay_toss_result_t));
        p->res.outcome = OPAY_TOSS_UNKNOWN;
        p->done(p);
        return;
    }

    ngx_opay_provider_post(p);
}


static ngx_int_t
ngx_opay_provider_build(ngx_opay_provider_t *p, opay_toss_op_e op,
    ngx_msec_t timeout)
{
    char                            id[OPAY_UUID_TEXT + 1];
    opay_str_t                      url;
    opay_arena_t                   *a;
    ngx_opay_attempt_t             *t;
    const ngx_opay_payment_conf_t  *conf;

    a = p->call->arena;
    t = p->attempt;
    conf = p->call->conf;

    opay_uuid_format(&t->id, id);

    ngx_memzero(&p->at, sizeof(opay_toss_attempt_t));

    p->at.op = op;
    p->at.secret = conf->secret;
    p->at.payment_key = t->key;
    p->at.amount = t->amount;
    p->at.currency = t->currency;
    p->at.reason = t->reason;
    p->at.order_id = opay_arena_str(a, opay_str_of(id));
    p->at.idem_key = opay_arena_printf(a, "%s-%s",
                                       op == OPAY_TOSS_CONFIRM
                                       || op == OPAY_TOSS_QUERY ? "pay"
                                                                : "ref", id);

    if (p->at.order_id.data == NULL || p->at.idem_key.data == NULL
        || opay_toss_build(a, &p->at, &p->req) != OPAY_OK)
    {
        return NGX_ERROR;
    }

    url = opay_arena_printf(a, "%s%s", (char *) conf->url.data,
                            p->req.path.data);
    if (url.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&p->http, sizeof(ngx_opay_http_t));

    p->http.arena = a;
    p->http.method = p->req.method;
    p->http.url = url.data;
    p->http.headers = p->req.headers;
    p->http.body = p->req.body;
    p->http.timeout = timeout ? timeout : conf->timeout;
    p->http.connect_timeout = ngx_min(NGX_OPAY_PROVIDER_CONNECT,
                                      p->http.timeout);
    p->http.reply_max = NGX_OPAY_PROVIDER_REPLY;
    p->http.ca = conf->ca.len ? (char *) conf->ca.data : NULL;
    p->http.background = p->background;
    p->http.done = ngx_opay_provider_done;
    p->http.data = p;

    return NGX_OK;
}


static void
ngx_opay_provider_post(ngx_opay_provider_t *p)
{
    if (ngx_opay_http_send(&p->http) == NGX_OK) {
        return;
    }

    p->http.outcome = NGX_OPAY_HTTP_NOT_SENT;
    p->resends = NGX_OPAY_PROVIDER_RESENDS;

    ngx_opay_provider_done(&p->http);
}


static void
ngx_opay_provider_done(ngx_opay_http_t *h)
{
    ngx_opay_provider_t    *p;
    opay_toss_transport_e   transport;

    p = h->data;

    transport = h->outcome == NGX_OPAY_HTTP_ANSWERED ? OPAY_TOSS_ANSWERED
                : h->outcome == NGX_OPAY_HTTP_NOT_SENT ? OPAY_TOSS_UNSENT
                : OPAY_TOSS_NO_ANSWER;

    opay_toss_parse(p->call->arena, &p->at, transport, (int) h->status,
                    h->reply, &p->res);

    if (p->res.outcome == OPAY_TOSS_NOT_SENT
        && p->resends < NGX_OPAY_PROVIDER_RESENDS)
    {
        p->resends++;
        ngx_opay_provider_post(p);
        return;
    }

    p->done(p);
}


/* ASYNC step of POST /api/payments; the attempt is SENT in the database. */

void
ngx_opay_payment_confirm(opay_call_t *call)
{
    ngx_opay_payment_cmd_t  *cmd;

    cmd = call->cmd;

    cmd->call.call = call;
    cmd->call.attempt = &cmd->attempt;
    cmd->call.done = ngx_opay_payment_confirmed;

    ngx_opay_provider_send(&cmd->call, OPAY_TOSS_CONFIRM, 0);
}


static void
ngx_opay_payment_confirmed(ngx_opay_provider_t *p)
{
    ngx_opay_call_resume(p->call);
}


/*
 * ASYNC step: asks the order service once.  Its silence is no error here: the
 * next step answers order_not_yet_known.
 */

void
ngx_opay_payment_ask(opay_call_t *call)
{
    ngx_opay_payment_cmd_t  *cmd;

    cmd = call->cmd;

    if (cmd->order.version
        || ngx_opay_payment_ask_send(call, cmd) != NGX_OK)
    {
        ngx_opay_call_resume(call);
    }
}


static ngx_int_t
ngx_opay_payment_ask_send(opay_call_t *call, ngx_opay_payment_cmd_t *cmd)
{
    static ngx_str_t  order = ngx_string("order");

    char                            id[OPAY_UUID_TEXT + 1], *peer;
    opay_str_t                      url, trace;
    const char                    **headers;
    ngx_opay_http_t                *h;
    const ngx_opay_payment_conf_t  *conf;

    conf = call->conf;
    h = &cmd->http;

    peer = opay_arena_zalloc(call->arena, NGX_SOCKADDR_STRLEN + 1);
    headers = opay_arena_zalloc(call->arena, 2 * sizeof(char *));

    if (conf->tls_ca.len == 0 || peer == NULL || headers == NULL
        || ngx_opay_peer_pick(&order, peer) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    url = opay_arena_printf(call->arena,
                            "https://order.opay.internal/internal/orders/%s",
                            opay_uuid_format(&cmd->order_id, id));
    trace = opay_arena_printf(call->arena, "traceparent: %s",
                              call->traceparent);

    if (url.data == NULL || trace.data == NULL) {
        return NGX_ERROR;
    }

    headers[0] = call->traceparent[0] ? trace.data : NULL;

    h->arena = call->arena;
    h->method = "GET";
    h->url = url.data;
    h->connect_to = peer;
    h->headers = headers;
    h->connect_timeout = NGX_OPAY_ASK_TIMEOUT;
    h->timeout = NGX_OPAY_ASK_TIMEOUT;
    h->reply_max = NGX_OPAY_PROVIDER_REPLY;
    h->ca = (char *) conf->tls_ca.data;
    h->cert = (char *) conf->tls_cert.data;
    h->key = (char *) conf->tls_key.data;
    h->done = ngx_opay_payment_ask_done;
    h->data = call;

    return ngx_opay_http_send(h);
}


static void
ngx_opay_payment_ask_done(ngx_opay_http_t *h)
{
    json_t                  *o;
    const char              *error;
    opay_call_t             *call;
    ngx_opay_payment_cmd_t  *cmd;

    call = h->data;
    cmd = call->cmd;

    if (h->outcome == NGX_OPAY_HTTP_ANSWERED) {

        if (h->status == 404) {
            cmd->absent = 1;

        } else if (h->status == 200) {
            o = opay_json_decode(call->arena, h->reply, &error);

            if (o) {
                ngx_opay_payment_ask_parse(call, o, &cmd->order);
            }
        }
    }

    cmd->asked = 1;

    ngx_opay_call_resume(call);
}


/* Leaves version 0 unless all of it is there. */

static void
ngx_opay_payment_ask_parse(opay_call_t *call, json_t *o,
    ngx_opay_payable_t *order)
{
    ngx_opay_payment_cmd_t  *cmd;
    ngx_opay_payable_t       r;

    cmd = call->cmd;

    ngx_memzero(&r, sizeof(ngx_opay_payable_t));

    r.total = json_is_integer(json_object_get(o, "total"))
              ? json_integer_value(json_object_get(o, "total")) : -1;
    r.currency = opay_str_of(json_string_value(
                                 json_object_get(o, "currency")));
    r.status = opay_str_of(json_string_value(json_object_get(o, "status")));
    r.version = json_integer_value(json_object_get(o, "version"));

    if (opay_uuid_parse(opay_str_of(json_string_value(
                            json_object_get(o, "orderId"))), &r.id)
        != OPAY_OK
        || !opay_uuid_eq(&r.id, &cmd->order_id)
        || opay_uuid_parse(opay_str_of(json_string_value(
                               json_object_get(o, "userId"))), &r.user)
           != OPAY_OK
        || !opay_money_valid(r.total) || r.currency.len != 3
        || r.status.len == 0 || r.version < 1)
    {
        return;
    }

    if (opay_time_parse(opay_str_of(json_string_value(
                            json_object_get(o, "expiresAt"))), &r.expires)
        != OPAY_OK)
    {
        r.expires = 0;
    }

    *order = r;
}
