
/* Answers: see ngx_opay_http.h.  Event loop only. */

#include "ngx_opay_conf.h"
#include "opay_trace.h"


static ngx_opay_ctx_t *ngx_opay_ctx_find(ngx_http_request_t *r);
static void ngx_opay_ctx_cleanup(void *data);
static void ngx_opay_ctx_request_id(ngx_http_request_t *r,
    ngx_opay_ctx_t *ctx);
static ngx_int_t ngx_opay_reply_headers(ngx_http_request_t *r,
    opay_call_t *call);


ngx_opay_ctx_t *
ngx_opay_ctx_get(ngx_http_request_t *r)
{
    opay_str_t           in;
    ngx_opay_ctx_t      *ctx;
    ngx_table_elt_t     *h;
    ngx_pool_cleanup_t  *cln;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);
    if (ctx) {
        return ctx;
    }

    if ((r->internal || r->filter_finalize)
        && (ctx = ngx_opay_ctx_find(r)) != NULL)
    {
        ngx_http_set_ctx(r, ctx, ngx_opay_core_module);
        return ctx;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_opay_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_opay_ctx_cleanup;

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_opay_ctx_t));
    ctx->series = -1;

    ngx_opay_ctx_request_id(r, ctx);

    in.len = 0;
    in.data = NULL;

    h = ngx_opay_header_in(r, "traceparent", 11);
    if (h) {
        in.len = h->value.len;
        in.data = (char *) h->value.data;
    }

    opay_trace_continue(in, ctx->traceparent);

    ngx_http_set_ctx(r, ctx, ngx_opay_core_module);

    return ctx;
}


/*
 * nginx forgets all contexts on an internal redirect and when a filter turns
 * an answer into an error page.  It is still the same request: its id, trace,
 * identity and metrics row stay.  What was about to be sent does not.
 */

static ngx_opay_ctx_t *
ngx_opay_ctx_find(ngx_http_request_t *r)
{
    ngx_opay_ctx_t      *ctx;
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_opay_ctx_cleanup) {
            ctx = cln->data;
            ctx->own_reply = 0;
            ctx->replace = 0;
            ctx->replaced = 0;

            return ctx;
        }
    }

    return NULL;
}


/* A mark to be found by; the pool frees the rest. */

static void
ngx_opay_ctx_cleanup(void *data)
{
    (void) data;
}


/* A caller's id is kept when it is 32 hex digits, as ours are. */

static void
ngx_opay_ctx_request_id(ngx_http_request_t *r, ngx_opay_ctx_t *ctx)
{
    u_char            bytes[16], *p;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    h = ngx_opay_header_in(r, "x-request-id", 12);

    if (h && h->value.len == 32) {

        for (i = 0; i < 32; i++) {
            if (!((h->value.data[i] >= '0' && h->value.data[i] <= '9')
                  || (h->value.data[i] >= 'a' && h->value.data[i] <= 'f')))
            {
                break;
            }
        }

        if (i == 32) {
            ngx_memcpy(ctx->request_id, h->value.data, 32);
            return;
        }
    }

    if (opay_random(bytes, 16) != OPAY_OK) {
        ngx_memzero(bytes, 16);
    }

    p = ngx_hex_dump((u_char *) ctx->request_id, bytes, 16);
    *p = '\0';
}


ngx_table_elt_t *
ngx_opay_header_in(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {

            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


ngx_uint_t
ngx_opay_header_again(ngx_http_request_t *r, ngx_table_elt_t *first)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (&h[i] != first && h[i].key.len == first->key.len
                && ngx_strncasecmp(h[i].key.data, first->key.data,
                                   first->key.len)
                   == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_opay_header_out(ngx_http_request_t *r, const char *key, size_t klen,
    const char *value, size_t vlen)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.len = klen;
    h->key.data = (u_char *) key;
    h->value.len = vlen;
    h->value.data = (u_char *) value;
    ngx_opay_table_elt_last(h);

    return NGX_OK;
}


ngx_int_t
ngx_opay_problem_send(ngx_http_request_t *r, opay_code_e code,
    const char *detail)
{
    return ngx_opay_problem_retry(r, code, detail, 0);
}


ngx_int_t
ngx_opay_problem_retry(ngx_http_request_t *r, opay_code_e code,
    const char *detail, ngx_uint_t seconds)
{
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_opay_ctx_get(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->code = code;
    ctx->detail = detail;
    ctx->retry_after = seconds;

    return opay_code_info(code)->status;
}


ngx_int_t
ngx_opay_reply_send(ngx_http_request_t *r, opay_call_t *call)
{
    ngx_buf_t       *b;
    ngx_int_t        rc;
    ngx_chain_t      out;
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_opay_ctx_get(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->own_reply = 1;
    ctx->code = call->code;

    if (call->code != OPAY_E_NONE
        && opay_call_render_problem(call) != OPAY_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = call->status;
    r->headers_out.content_length_n = call->reply.len;

    /* nginx has no words for these two */

    if (call->status == 422) {
        ngx_str_set(&r->headers_out.status_line, "422 Unprocessable Content");

    } else if (call->status == 428) {
        ngx_str_set(&r->headers_out.status_line, "428 Precondition Required");
    }

    if (r->method != NGX_HTTP_GET && r->method != NGX_HTTP_HEAD) {
        /* our ETag names the new version: If-Match was checked already */
        r->disable_not_modified = 1;
    }

    if (ngx_opay_reply_headers(r, call) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (call->reply.len == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) call->reply.data;
    b->last = b->pos + call->reply.len;
    b->memory = 1;
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_opay_reply_headers(ngx_http_request_t *r, opay_call_t *call)
{
    u_char           *p;
    ngx_opay_ctx_t   *ctx;
    ngx_table_elt_t  *h;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);

    if (call->code != OPAY_E_NONE) {
        ngx_str_set(&r->headers_out.content_type,
                    "application/problem+json");

    } else if (call->content_type.len) {
        r->headers_out.content_type.data = (u_char *) call->content_type.data;
        r->headers_out.content_type.len = call->content_type.len;

    } else if (call->reply.len) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (call->etag.len) {
        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->hash = 1;
        ngx_str_set(&h->key, "ETag");
        h->value.data = (u_char *) call->etag.data;
        h->value.len = call->etag.len;
        ngx_opay_table_elt_last(h);

        r->headers_out.etag = h;
    }

    if (call->location.len
        && ngx_opay_header_out(r, "Location", 8, call->location.data,
                               call->location.len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (call->retry_after) {
        p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (p == NULL
            || ngx_opay_header_out(r, "Retry-After", 11, (char *) p,
                      ngx_sprintf(p, "%ui", (ngx_uint_t) call->retry_after)
                      - p)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (call->replayed
        && ngx_opay_header_out(r, "Idempotent-Replayed", 19, "true", 4)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (call->no_store
        && ngx_opay_header_out(r, "Cache-Control", 13, "no-store", 8)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->retry_after = 0;

    return NGX_OK;
}
