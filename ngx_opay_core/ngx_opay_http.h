
/*
 * What core keeps with a request, and how it answers.
 */

#ifndef _NGX_OPAY_HTTP_H_INCLUDED_
#define _NGX_OPAY_HTTP_H_INCLUDED_


#include "ngx_opay_core.h"
#include "ngx_opay_compat.h"
#include "ngx_opay_identity.h"


typedef struct ngx_opay_work_s  ngx_opay_work_t;


/* Per-request state of core; ngx_opay_ctx_get() makes it at first use. */
typedef struct {
    char               request_id[33];  /* hex, NUL-terminated */
    char               traceparent[56]; /* NUL-terminated */

    ngx_opay_id_rc_e   id_rc;
    opay_identity_t    id;
    const char        *id_reason;

    opay_code_e        code;            /* problem to render */
    const char        *detail;          /* static, or in r->pool */
    ngx_str_t         *body;            /* rendered problem, r->pool */
    ngx_uint_t         retry_after;     /* s, 0: none */

    ngx_opay_work_t   *work;
    ngx_int_t          series;          /* metrics row, -1: none */

    unsigned           id_done:1;
    unsigned           own_reply:1;     /* body is ours: filters keep off */
    unsigned           replace:1;       /* body filter swaps the body */
    unsigned           replaced:1;
} ngx_opay_ctx_t;


/* Event loop.  NULL: out of memory. */
ngx_opay_ctx_t *ngx_opay_ctx_get(ngx_http_request_t *r);

/*
 * Refuses a request from any phase or content handler: remembers code and
 * detail (static text or NULL) and returns the HTTP status, which the caller
 * returns to nginx; core's filter turns nginx's error page into problem+json
 * and sets WWW-Authenticate on a 401.
 */
ngx_int_t ngx_opay_problem_send(ngx_http_request_t *r, opay_code_e code,
    const char *detail);

/* The same, with Retry-After. */
ngx_int_t ngx_opay_problem_retry(ngx_http_request_t *r, opay_code_e code,
    const char *detail, ngx_uint_t seconds);

/* A header of the request by name (any case); NULL when absent. */
ngx_table_elt_t *ngx_opay_header_in(ngx_http_request_t *r, const char *name,
    size_t len);

/* Is there another one of the same name? */
ngx_uint_t ngx_opay_header_again(ngx_http_request_t *r,
    ngx_table_elt_t *first);

/* Adds a response header; key and value must live as long as r->pool. */
ngx_int_t ngx_opay_header_out(ngx_http_request_t *r, const char *key,
    size_t klen, const char *value, size_t vlen);

/* Sends the outcome of a call; the value goes to ngx_http_finalize_request. */
ngx_int_t ngx_opay_reply_send(ngx_http_request_t *r, opay_call_t *call);


#endif /* _NGX_OPAY_HTTP_H_INCLUDED_ */
