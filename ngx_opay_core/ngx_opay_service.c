
/*
 * DESIGN
 *
 * The content handler of every opay service: finds the route, checks who is
 * calling, reads the body, makes a call of the request and starts its steps.
 * What can be refused is refused in the order of its cost: path, method,
 * token, role, media type, then the body.
 *
 * Every request passes ngx_http_read_client_request_body(), with a body or
 * without: so its handler always owns one count of r->main->count, and every
 * way out of it ends in ngx_http_finalize_request() or in a hold.
 *
 * Event loop only.
 */

#include "ngx_opay_work.h"
#include "opay_idem.h"
#include "opay_json.h"
#include "opay_path.h"


static const ngx_opay_route_t *ngx_opay_service_route(ngx_http_request_t *r,
    ngx_opay_srv_conf_t *oscf, opay_str_t *params, ngx_int_t *rc);
static ngx_int_t ngx_opay_service_allow(ngx_http_request_t *r,
    ngx_opay_srv_conf_t *oscf, opay_str_t path);
static ngx_int_t ngx_opay_service_admit(ngx_http_request_t *r,
    ngx_opay_srv_conf_t *oscf, const ngx_opay_route_t *route,
    opay_identity_t *id, ngx_str_t *peer);
static ngx_int_t ngx_opay_service_internal(ngx_http_request_t *r,
    ngx_opay_srv_conf_t *oscf, ngx_str_t *peer);
static ngx_int_t ngx_opay_service_media(ngx_http_request_t *r,
    const ngx_opay_route_t *route);
static ngx_opay_work_t *ngx_opay_service_call(ngx_http_request_t *r,
    ngx_opay_srv_conf_t *oscf, const ngx_opay_route_t *route,
    opay_str_t *params);
static void ngx_opay_service_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_opay_service_body(ngx_http_request_t *r,
    ngx_opay_work_t *w, const ngx_opay_route_t *route);
static ngx_int_t ngx_opay_service_bytes(ngx_http_request_t *r, size_t max,
    opay_str_t *body);
static void ngx_opay_service_idem(ngx_http_request_t *r, ngx_opay_work_t *w,
    const ngx_opay_route_t *route);
static void ngx_opay_service_done(ngx_opay_work_t *w);
static void ngx_opay_service_destroy(void *data);


ngx_int_t
ngx_opay_service_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_str_t                peer;
    opay_str_t               params[OPAY_CALL_PARAMS];
    ngx_opay_ctx_t          *ctx;
    opay_identity_t          id;
    ngx_opay_work_t         *w;
    ngx_opay_srv_conf_t     *oscf;
    const ngx_opay_route_t  *route;

    oscf = ngx_http_get_module_srv_conf(r, ngx_opay_core_module);

    if (oscf->service == NULL) {
        return NGX_DECLINED;
    }

    /* in the content phase it would run the phases again */
    r->write_event_handler = ngx_http_request_empty_handler;

    ctx = ngx_opay_ctx_get(r);

    if (ctx == NULL || oscf->run == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(params, sizeof(params));

    route = ngx_opay_service_route(r, oscf, params, &rc);
    if (route == NULL) {
        return rc;
    }

    ngx_opay_metrics_use(r, oscf->series[route - oscf->service->routes]);

    ngx_str_null(&peer);
    ngx_memzero(&id, sizeof(opay_identity_t));

    rc = ngx_opay_service_admit(r, oscf, route, &id, &peer);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_opay_service_media(r, route);
    if (rc != NGX_OK) {
        return rc;
    }

    w = ngx_opay_service_call(r, oscf, route, params);
    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    w->call.who = id;
    w->call.peer = opay_arena_str(w->call.arena,
                           (opay_str_t) { peer.len, (char *) peer.data });
    w->data = (void *) route;
    ctx->work = w;

    rc = ngx_http_read_client_request_body(r, ngx_opay_service_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* The row of a request.  A literal segment wins over a parameter. */

static const ngx_opay_route_t *
ngx_opay_service_route(ngx_http_request_t *r, ngx_opay_srv_conf_t *oscf,
    opay_str_t *params, ngx_int_t *rc)
{
    opay_str_t               path, method, m, values[OPAY_CALL_PARAMS];
    ngx_uint_t               known;
    const ngx_opay_route_t  *route, *best;

    path.len = r->uri.len;
    path.data = (char *) r->uri.data;
    method.len = r->method_name.len;
    method.data = (char *) r->method_name.data;

    if (r->method == NGX_HTTP_HEAD) {
        method = opay_str_of("GET");
    }

    best = NULL;
    known = 0;

    for (route = oscf->service->routes; route->method; route++) {

        ngx_memzero(values, sizeof(values));

        if (opay_path_match(opay_str_of(route->path), path, values,
                            OPAY_CALL_PARAMS)
            != OPAY_OK)
        {
            continue;
        }

        known = 1;
        m = opay_str_of(route->method);

        if (!opay_str_eq(m, method)) {
            continue;
        }

        if (best == NULL
            || opay_path_more_specific(opay_str_of(route->path),
                                       opay_str_of(best->path)))
        {
            best = route;
            ngx_memcpy(params, values, sizeof(values));
        }
    }

    if (best) {
        return best;
    }

    if (!known) {
        *rc = ngx_opay_problem_send(r, OPAY_E_NOT_FOUND,
                                    "There is nothing at this path.");
        return NULL;
    }

    *rc = ngx_opay_service_allow(r, oscf, path);

    return NULL;
}


static ngx_int_t
ngx_opay_service_allow(ngx_http_request_t *r, ngx_opay_srv_conf_t *oscf,
    opay_str_t path)
{
    u_char                   buf[128], *p, *last;
    u_char                  *allow;
    opay_str_t               values[OPAY_CALL_PARAMS];
    const ngx_opay_route_t  *route;

    p = buf;
    last = buf + sizeof(buf);

    for (route = oscf->service->routes; route->method; route++) {

        if (opay_path_match(opay_str_of(route->path), path, values,
                            OPAY_CALL_PARAMS)
            != OPAY_OK)
        {
            continue;
        }

        p = ngx_slprintf(p, last, "%s%s", p == buf ? "" : ", ",
                         route->method);

        if (ngx_strcmp(route->method, "GET") == 0) {
            p = ngx_slprintf(p, last, ", HEAD");
        }
    }

    allow = ngx_pnalloc(r->pool, p - buf);
    if (allow == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(allow, buf, p - buf);

    if (ngx_opay_header_out(r, "Allow", 5, (char *) allow, p - buf)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_opay_problem_send(r, OPAY_E_METHOD_NOT_ALLOWED,
                                 "See the Allow header for what this path "
                                 "takes.");
}


static ngx_int_t
ngx_opay_service_admit(ngx_http_request_t *r, ngx_opay_srv_conf_t *oscf,
    const ngx_opay_route_t *route, opay_identity_t *id, ngx_str_t *peer)
{
    ngx_opay_id_rc_e  rc;

    if (route->access == NGX_OPAY_INTERNAL) {
        return ngx_opay_service_internal(r, oscf, peer);
    }

    if (route->access == NGX_OPAY_PUBLIC) {
        /* refresh and login must work beside an expired access token */
        return NGX_OK;
    }

    rc = ngx_opay_identity_get(r, id, NULL);

    switch (rc) {

    case NGX_OPAY_ID_OK:
        break;

    case NGX_OPAY_ID_NONE:
        return ngx_opay_problem_send(r, OPAY_E_UNAUTHENTICATED,
                   "Send an access token: Authorization: Bearer <token>.");

    case NGX_OPAY_ID_BAD:
        return ngx_opay_problem_send(r, OPAY_E_INVALID_TOKEN,
                   "The access token is expired or not valid; "
                   "log in or refresh.");

    default:
        return ngx_opay_problem_send(r, OPAY_E_UNAVAILABLE,
                                     "No token keys are loaded.");
    }

    if (route->access == NGX_OPAY_ADMIN
        && !(id->roles & OPAY_ROLE_BIT_ADMIN))
    {
        return ngx_opay_problem_send(r, OPAY_E_FORBIDDEN,
                                     "This needs the role ADMIN.");
    }

    return NGX_OK;
}


/* To strangers, internal routes are not there. */

static ngx_int_t
ngx_opay_service_internal(ngx_http_request_t *r, ngx_opay_srv_conf_t *oscf,
    ngx_str_t *peer)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (ngx_opay_identity_peer(r, peer) == NGX_OK && oscf->peers) {

        name = oscf->peers->elts;

        for (i = 0; i < oscf->peers->nelts; i++) {
            if (name[i].len == peer->len
                && ngx_memcmp(name[i].data, peer->data, peer->len) == 0)
            {
                return NGX_OK;
            }
        }

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "opay: peer \"%V\" is not in opay_internal_peers",
                      peer);
    }

    return ngx_opay_problem_send(r, OPAY_E_NOT_FOUND,
                                 "There is nothing at this path.");
}


static ngx_int_t
ngx_opay_service_media(ngx_http_request_t *r, const ngx_opay_route_t *route)
{
    u_char     *p, *last;
    ngx_str_t   type;
    size_t      max;

    if (!(route->flags & NGX_OPAY_BODY)) {
        return NGX_OK;
    }

    max = route->body_max ? route->body_max : 64 * 1024;

    if (r->headers_in.content_length_n > (off_t) max) {
        return ngx_opay_problem_send(r, OPAY_E_PAYLOAD_TOO_LARGE, NULL);
    }

    if (r->headers_in.content_type == NULL
        || ngx_opay_header_in(r, "content-encoding", 16))
    {
        goto unsupported;
    }

    type = r->headers_in.content_type->value;
    p = type.data;
    last = p + type.len;

    if (type.len < 16
        || ngx_strncasecmp(p, (u_char *) "application/json", 16) != 0)
    {
        goto unsupported;
    }

    for (p += 16; p < last && *p == ' '; p++) { /* void */ }

    if (p == last) {
        return NGX_OK;
    }

    if (*p++ != ';') {
        goto unsupported;
    }

    while (p < last && *p == ' ') { p++; }

    if ((last - p == 13
         && ngx_strncasecmp(p, (u_char *) "charset=utf-8", 13) == 0)
        || (last - p == 15
            && ngx_strncasecmp(p, (u_char *) "charset=\"utf-8\"", 15) == 0))
    {
        return NGX_OK;
    }

unsupported:

    return ngx_opay_problem_send(r, OPAY_E_UNSUPPORTED_MEDIA_TYPE,
                                 "Send Content-Type: application/json, "
                                 "UTF-8, without Content-Encoding.");
}


static ngx_opay_work_t *
ngx_opay_service_call(ngx_http_request_t *r, ngx_opay_srv_conf_t *oscf,
    const ngx_opay_route_t *route, opay_str_t *params)
{
    ngx_uint_t           i;
    opay_str_t           s;
    opay_call_t         *call;
    opay_arena_t        *a;
    ngx_opay_ctx_t      *ctx;
    ngx_opay_work_t     *w;
    ngx_table_elt_t     *h;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    w = ngx_opay_work_create(oscf->run, route->steps, route->flags);
    if (w == NULL) {
        return NULL;
    }

    /* the pool outlives any thread's use of the arena: see the hold */

    cln->handler = ngx_opay_service_destroy;
    cln->data = w->call.arena;

    w->r = r;
    w->done = ngx_opay_service_done;

    call = &w->call;
    a = call->arena;
    ctx = ngx_opay_ctx_get(r);

#define ngx_opay_copy(dst, src)                                              \
    s.len = (src).len;                                                       \
    s.data = (char *) (src).data;                                            \
    (dst) = opay_arena_str(a, s)

    ngx_opay_copy(call->path, r->uri);
    ngx_opay_copy(call->query, r->args);
    ngx_opay_copy(call->client_ip, r->connection->addr_text);

    if (r->headers_in.user_agent) {
        ngx_opay_copy(call->user_agent, r->headers_in.user_agent->value);
    }

    h = ngx_opay_header_in(r, "if-match", 8);
    if (h) {
        ngx_opay_copy(call->if_match, h->value);
    }

#undef ngx_opay_copy

    for (i = 0; i < OPAY_CALL_PARAMS; i++) {
        call->param[i] = opay_arena_str(a, params[i]);
    }

    call->method = opay_str_of(route->method);
    call->route = opay_str_of(route->path);

    ngx_memcpy(call->traceparent, ctx->traceparent, 56);
    ngx_memcpy(call->request_id, ctx->request_id, 33);

    return w;
}


static void
ngx_opay_service_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_opay_ctx_t          *ctx;
    ngx_opay_work_t         *w;
    const ngx_opay_route_t  *route;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);
    w = ctx->work;
    route = w->data;

    rc = ngx_opay_service_body(r, w, route);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (w->call.status == 0) {
        ngx_opay_service_idem(r, w, route);
    }

    if (w->call.status == 0 && route->decode) {
        route->decode(&w->call);
    }

    if (w->call.status) {
        ngx_http_finalize_request(r, ngx_opay_reply_send(r, &w->call));
        return;
    }

    ngx_opay_task_run(w, route->steps[0].lane == NGX_OPAY_READ);
}


static ngx_int_t
ngx_opay_service_body(ngx_http_request_t *r, ngx_opay_work_t *w,
    const ngx_opay_route_t *route)
{
    size_t       max;
    ngx_int_t    rc;
    opay_str_t   body;
    const char  *error;

    if (!(route->flags & NGX_OPAY_BODY)) {
        return NGX_OK;
    }

    max = route->body_max ? route->body_max : 64 * 1024;

    rc = ngx_opay_service_bytes(r, max, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    w->call.body = opay_json_decode(w->call.arena, body, &error);

    if (w->call.body == NULL) {
        opay_call_fail(&w->call, OPAY_E_MALFORMED_JSON, error);
    }

    return NGX_OK;
}


/* The body in one piece, wherever nginx has put it. */

static ngx_int_t
ngx_opay_service_bytes(ngx_http_request_t *r, size_t max, opay_str_t *body)
{
    off_t         size;
    u_char       *p;
    size_t        n;
    ssize_t       got;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    body->len = 0;
    body->data = "";

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        body->data = (char *) cl->buf->pos;
        body->len = cl->buf->last - cl->buf->pos;

        return body->len > max
               ? ngx_opay_problem_send(r, OPAY_E_PAYLOAD_TOO_LARGE, NULL)
               : NGX_OK;
    }

    for (size = 0; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > (off_t) max) {
        return ngx_opay_problem_send(r, OPAY_E_PAYLOAD_TOO_LARGE, NULL);
    }

    p = ngx_pnalloc(r->pool, size + 1);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = (char *) p;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        /* the end of a body that is empty or chunked is a buffer of nothing */

        if (!b->in_file) {
            continue;
        }

        n = ngx_buf_size(b);
        got = ngx_read_file(b->file, p, n, b->file_pos);

        if (got != (ssize_t) n) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        p += n;
    }

    body->len = p - (u_char *) body->data;

    return NGX_OK;
}


static void
ngx_opay_service_idem(ngx_http_request_t *r, ngx_opay_work_t *w,
    const ngx_opay_route_t *route)
{
    opay_str_t        key;
    ngx_table_elt_t  *h;

    if (!(route->flags & (NGX_OPAY_IDEM|NGX_OPAY_IDEM_REQUIRED))) {
        return;
    }

    h = ngx_opay_header_in(r, "idempotency-key", 15);

    if (h == NULL) {
        if (route->flags & NGX_OPAY_IDEM_REQUIRED) {
            opay_call_fail(&w->call, OPAY_E_IDEMPOTENCY_KEY_MISSING,
                           "Send an Idempotency-Key header that is unique "
                           "to this intent, and the same in its retries.");
        }

        return;
    }

    key.len = h->value.len;
    key.data = (char *) h->value.data;

    if (ngx_opay_header_again(r, h)
        || opay_idem_prepare(&w->call, key) != OPAY_OK)
    {
        opay_call_fail(&w->call, OPAY_E_VALIDATION_FAILED,
                       "Idempotency-Key must be sent once: 1 to 255 "
                       "printable ASCII characters, bare or quoted.");
    }
}


static void
ngx_opay_service_done(ngx_opay_work_t *w)
{
    ngx_opay_task_release(w);
}


static void
ngx_opay_service_destroy(void *data)
{
    opay_arena_destroy(data);
}
