
/* Identity: see ngx_opay_identity.h.  Event loop only. */

#include "ngx_opay_conf.h"

#if (NGX_HTTP_SSL)
#include "opay_spiffe.h"
#endif


static ngx_opay_id_rc_e ngx_opay_identity_verify(ngx_http_request_t *r,
    ngx_opay_ctx_t *ctx);
static ngx_int_t ngx_opay_identity_token(ngx_http_request_t *r,
    opay_str_t *token);


ngx_opay_id_rc_e
ngx_opay_identity_get(ngx_http_request_t *r, opay_identity_t *id,
    const char **reason)
{
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_opay_ctx_get(r);
    if (ctx == NULL) {
        return NGX_OPAY_ID_BAD;
    }

    if (!ctx->id_done) {
        ctx->id_done = 1;
        ctx->id_rc = ngx_opay_identity_verify(r->main, ctx);

        if (ctx->id_rc == NGX_OPAY_ID_BAD) {
            ngx_opay_metrics_add(NGX_OPAY_M_JWT_REJECTED, 1);
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "opay: access token refused: %s", ctx->id_reason);
        }
    }

    *id = ctx->id;

    if (reason) {
        *reason = ctx->id_reason;
    }

    return ctx->id_rc;
}


static ngx_opay_id_rc_e
ngx_opay_identity_verify(ngx_http_request_t *r, ngx_opay_ctx_t *ctx)
{
    int                    hit;
    ngx_int_t              rc;
    opay_str_t             token;
    opay_jwt_claims_t      claims;
    opay_jwt_reason_e      why;
    ngx_opay_main_conf_t  *omcf;

    ctx->id_reason = "none";

    rc = ngx_opay_identity_token(r, &token);

    if (rc == NGX_DECLINED) {
        return NGX_OPAY_ID_NONE;
    }

    if (rc != NGX_OK) {
        ctx->id_reason = "not a bearer token";
        return NGX_OPAY_ID_BAD;
    }

    omcf = ngx_http_get_module_main_conf(r, ngx_opay_core_module);

    if (omcf->jwks == NULL) {
        ctx->id_reason = "no keys";
        return NGX_OPAY_ID_NOKEYS;
    }

    why = opay_jwt_cache_verify(omcf->cache, omcf->jwks, &omcf->policy,
                                token, ngx_time(), &claims, &hit);

    if (why != OPAY_JWT_OK) {
        ctx->id_reason = opay_jwt_reason_name(why);
        return NGX_OPAY_ID_BAD;
    }

    ngx_opay_metrics_add(hit ? NGX_OPAY_M_JWT_CACHED : NGX_OPAY_M_JWT_OK, 1);

    ctx->id = claims.id;

    return NGX_OPAY_ID_OK;
}


/* RFC 6750, section 2.1: one space; the scheme in any case. */

static ngx_int_t
ngx_opay_identity_token(ngx_http_request_t *r, opay_str_t *token)
{
    ngx_str_t  *value;

    if (r->headers_in.authorization == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < 8
        || ngx_strncasecmp(value->data, (u_char *) "bearer ", 7) != 0)
    {
        return NGX_ERROR;
    }

    token->data = (char *) value->data + 7;
    token->len = value->len - 7;

    return NGX_OK;
}


ngx_int_t
ngx_opay_identity_peer(ngx_http_request_t *r, ngx_str_t *name)
{
#if (NGX_HTTP_SSL)

    int              rc;
    char             buf[OPAY_SPIFFE_NAME_MAX + 1];
    X509            *cert;
    ngx_ssl_conn_t  *ssl;

    if (r->connection->ssl == NULL) {
        return NGX_DECLINED;
    }

    ssl = r->connection->ssl->connection;

    if (SSL_get_verify_result(ssl) != X509_V_OK) {
        return NGX_DECLINED;
    }

    cert = SSL_get_peer_certificate(ssl);
    if (cert == NULL) {
        return NGX_DECLINED;
    }

    rc = opay_spiffe_name(cert, buf);

    X509_free(cert);

    if (rc != OPAY_OK) {
        return NGX_DECLINED;
    }

    name->len = ngx_strlen(buf);
    name->data = ngx_pnalloc(r->pool, name->len);

    if (name->data == NULL) {
        return NGX_DECLINED;
    }

    ngx_memcpy(name->data, buf, name->len);

    return NGX_OK;

#else

    return NGX_DECLINED;

#endif
}
