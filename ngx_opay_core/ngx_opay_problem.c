
/*
 * DESIGN
 *
 * A header and body filter that makes every error answer problem+json: those
 * that ngx_opay_problem_send() asked for, nginx's own pages (400 of a broken
 * request line included), and whatever an upstream sent that is not JSON.
 * The header filter decides and sets the length; the body filter sends our
 * text once, instead of what comes.
 *
 * It also puts X-Request-Id on every answer.
 *
 * Event loop only.
 */

#include "ngx_opay_conf.h"


#define NGX_OPAY_PROBLEM_MAX  2048


static ngx_int_t ngx_opay_problem_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_opay_problem_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_opay_problem_foreign(ngx_http_request_t *r);
static ngx_int_t ngx_opay_problem_common(ngx_http_request_t *r,
    ngx_opay_ctx_t *ctx);
static ngx_table_elt_t *ngx_opay_problem_header(ngx_http_request_t *r,
    const char *name, size_t len);
static ngx_int_t ngx_opay_problem_challenge(ngx_http_request_t *r,
    opay_code_e code);
static ngx_int_t ngx_opay_problem_later(ngx_http_request_t *r);
static ngx_int_t ngx_opay_problem_render(ngx_http_request_t *r,
    ngx_opay_ctx_t *ctx, ngx_str_t *body);


static ngx_http_output_header_filter_pt  ngx_opay_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_opay_next_body_filter;


ngx_int_t
ngx_opay_problem_filter_init(ngx_conf_t *cf)
{
    (void) cf;

    ngx_opay_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_opay_problem_header_filter;

    ngx_opay_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_opay_problem_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_opay_problem_header_filter(ngx_http_request_t *r)
{
    ngx_str_t             body, *stored;
    ngx_opay_ctx_t       *ctx;
    ngx_opay_srv_conf_t  *oscf;

    oscf = ngx_http_get_module_srv_conf(r, ngx_opay_core_module);

    if (r != r->main || !oscf->problem) {
        return ngx_opay_next_header_filter(r);
    }

    ctx = ngx_opay_ctx_get(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ngx_opay_problem_common(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_opay_problem_foreign(r) || ctx->own_reply) {

        if (ctx->own_reply
            && ngx_opay_problem_challenge(r, ctx->code) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_opay_next_header_filter(r);
    }

    if (ctx->code == OPAY_E_NONE
        || opay_code_info(ctx->code)->status != (int) r->headers_out.status)
    {
        ctx->code = opay_code_of_status(r->headers_out.status);
        ctx->detail = NULL;
    }

    if (ngx_opay_problem_challenge(r, ctx->code) != NGX_OK
        || ngx_opay_problem_later(r) != NGX_OK
        || ngx_opay_problem_render(r, ctx, &body) != NGX_OK)
    {
        return NGX_ERROR;
    }

    stored = ngx_palloc(r->pool, sizeof(ngx_str_t));
    if (stored == NULL) {
        return NGX_ERROR;
    }

    *stored = body;
    ctx->body = stored;
    ctx->replace = 1;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);

    r->headers_out.content_length_n = body.len;
    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    return ngx_opay_next_header_filter(r);
}


static ngx_int_t
ngx_opay_problem_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t       *b;
    ngx_chain_t      out, *cl;
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);

    if (ctx == NULL || !ctx->replace || r != r->main) {
        return ngx_opay_next_body_filter(r, in);
    }

    /* what would have been sent is consumed */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    if (ctx->replaced) {
        return in ? NGX_OK : ngx_opay_next_body_filter(r, NULL);
    }

    ctx->replaced = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ctx->body->data;
    b->last = ctx->body->data + ctx->body->len;
    b->memory = 1;
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_opay_next_body_filter(r, &out);
}


/* An error whose body is nobody's JSON. */

static ngx_uint_t
ngx_opay_problem_foreign(ngx_http_request_t *r)
{
    ngx_str_t   *type;
    ngx_uint_t   i;

    static ngx_str_t  json[] = {
        ngx_string("application/problem+json"),
        ngx_string("application/health+json"),
        ngx_string("application/json"),
        ngx_null_string
    };

    if (r->headers_out.status < NGX_HTTP_BAD_REQUEST) {
        return 0;
    }

    type = &r->headers_out.content_type;

    for (i = 0; json[i].len; i++) {
        if (type->len >= json[i].len
            && ngx_strncasecmp(type->data, json[i].data, json[i].len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_opay_problem_common(ngx_http_request_t *r, ngx_opay_ctx_t *ctx)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    if (ctx->retry_after) {
        p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (p == NULL
            || ngx_opay_header_out(r, "Retry-After", 11, (char *) p,
                              ngx_sprintf(p, "%ui", ctx->retry_after) - p)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ctx->retry_after = 0;
    }

    /* behind a gateway, the service's copy is the same id */

    while ((h = ngx_opay_problem_header(r, "x-request-id", 12)) != NULL) {
        h->hash = 0;
    }

    return ngx_opay_header_out(r, "X-Request-Id", 12, ctx->request_id, 32);
}


/* A response header that will be sent; NULL when there is none. */

static ngx_table_elt_t *
ngx_opay_problem_header(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash && h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


/* RFC 6750, section 3: no error attribute when no token was sent. */

static ngx_int_t
ngx_opay_problem_challenge(ngx_http_request_t *r, opay_code_e code)
{
    const char       *value;
    ngx_table_elt_t  *h;

    if (r->headers_out.status != NGX_HTTP_UNAUTHORIZED) {
        return NGX_OK;
    }

    value = (code == OPAY_E_INVALID_TOKEN)
            ? "Bearer realm=\"opay\", error=\"invalid_token\""
            : "Bearer realm=\"opay\"";

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);
    ngx_opay_table_elt_last(h);

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


/* limit_req, and an upstream that is away, do not say when to come again. */

static ngx_int_t
ngx_opay_problem_later(ngx_http_request_t *r)
{
    if (r->headers_out.status != NGX_HTTP_TOO_MANY_REQUESTS
        && r->headers_out.status != NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        return NGX_OK;
    }

    if (ngx_opay_problem_header(r, "retry-after", 11)) {
        return NGX_OK;
    }

    return ngx_opay_header_out(r, "Retry-After", 11, "1", 1);
}


/* The same text a call's problem gets, by the same function. */

static ngx_int_t
ngx_opay_problem_render(ngx_http_request_t *r, ngx_opay_ctx_t *ctx,
    ngx_str_t *body)
{
    ngx_int_t      rc;
    opay_call_t   *call;
    opay_arena_t  *a;

    a = opay_arena_create(NGX_OPAY_PROBLEM_MAX);
    if (a == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    if (call == NULL) {
        goto done;
    }

    call->arena = a;
    call->path.data = (char *) r->uri.data;
    call->path.len = r->uri.len;
    ngx_memcpy(call->traceparent, ctx->traceparent, 56);

    opay_call_fail(call, ctx->code, ctx->detail);
    call->status = r->headers_out.status;

    if (opay_call_render_problem(call) != OPAY_OK) {
        goto done;
    }

    body->len = call->reply.len;
    body->data = ngx_pnalloc(r->pool, body->len);

    if (body->data) {
        ngx_memcpy(body->data, call->reply.data, body->len);
        rc = NGX_OK;
    }

done:

    opay_arena_destroy(a);

    return rc;
}
