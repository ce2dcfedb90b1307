
/* The check of a request: see ngx_opay_gateway.h. */

#include "ngx_opay_gateway.h"


static ngx_int_t ngx_opay_gateway_check(ngx_http_request_t *r,
    ngx_opay_gateway_conf_t *gcf);
static ngx_int_t ngx_opay_gateway_identify(ngx_http_request_t *r,
    ngx_opay_access_e access, opay_identity_t *id);
static ngx_int_t ngx_opay_gateway_limit(ngx_http_request_t *r,
    ngx_opay_gateway_rate_t *rate, const opay_identity_t *id);


ngx_int_t
ngx_opay_gateway_access(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_opay_gateway_conf_t  *gcf;

    gcf = ngx_http_get_module_srv_conf(r, ngx_opay_gateway_module);

    if (gcf->routes == NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_opay_gateway_check(r, gcf);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    /* not handed to the phase: "satisfy any" could let the request pass */

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* NGX_OK, or an HTTP status. */

static ngx_int_t
ngx_opay_gateway_check(ngx_http_request_t *r, ngx_opay_gateway_conf_t *gcf)
{
    ngx_int_t                  rc, m;
    ngx_uint_t                 allowed;
    opay_identity_t            id;
    ngx_opay_access_e          access;
    ngx_opay_gateway_route_t  *route;

    route = ngx_opay_gateway_find(gcf->routes, &r->uri, r->method, &allowed);

    if (allowed == 0) {
        return ngx_opay_problem_send(r, OPAY_E_NOT_FOUND, NULL);
    }

    if (route == NULL) {
        if (ngx_opay_gateway_allow(r, allowed) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_opay_problem_send(r, OPAY_E_METHOD_NOT_ALLOWED, NULL);
    }

    m = ngx_opay_gateway_method(r->method);
    access = route->access[m];

    ngx_opay_metrics_use(r, route->series[m]);

    rc = ngx_opay_gateway_identify(r, access, &id);
    if (rc != NGX_OK) {
        return rc;
    }

    if (gcf->rate) {
        rc = ngx_opay_gateway_limit(r, gcf->rate, &id);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (access == NGX_OPAY_ADMIN && !(id.roles & OPAY_ROLE_BIT_ADMIN)) {
        return ngx_opay_problem_send(r, OPAY_E_FORBIDDEN,
                                     "This takes the role ADMIN.");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_opay_gateway_identify(ngx_http_request_t *r, ngx_opay_access_e access,
    opay_identity_t *id)
{
    ngx_memzero(id, sizeof(opay_identity_t));

    switch (ngx_opay_identity_get(r, id, NULL)) {

    case NGX_OPAY_ID_OK:
        return NGX_OK;

    case NGX_OPAY_ID_NONE:

        if (access == NGX_OPAY_PUBLIC) {
            break;
        }

        return ngx_opay_problem_send(r, OPAY_E_UNAUTHENTICATED,
                                     "An access token is needed.");

    case NGX_OPAY_ID_BAD:

        if (access == NGX_OPAY_PUBLIC) {
            break;
        }

        return ngx_opay_problem_send(r, OPAY_E_INVALID_TOKEN,
                                     "The access token is not valid.");

    default:

        /* NGX_OPAY_ID_NOKEYS: not the client's fault, and never a pass */

        if (access == NGX_OPAY_PUBLIC) {
            break;
        }

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "opay: no keys to verify access tokens with, "
                      "\"opay_jwt_jwks\" is missing");

        return ngx_opay_problem_send(r, OPAY_E_UNAVAILABLE, NULL);
    }

    /* anonymous, whatever was sent */

    ngx_memzero(id, sizeof(opay_identity_t));

    return NGX_OK;
}


static ngx_int_t
ngx_opay_gateway_limit(ngx_http_request_t *r, ngx_opay_gateway_rate_t *rate,
    const opay_identity_t *id)
{
    ngx_int_t   rc;
    ngx_uint_t  seconds;

    /* an internal redirect is the same request */

    if (r->internal) {
        return NGX_OK;
    }

    rc = ngx_opay_gateway_rate_check(r, rate, id, &seconds);

    if (rc == NGX_BUSY) {
        return ngx_opay_problem_retry(r, OPAY_E_RATE_LIMITED,
                                      "Too many requests; see Retry-After.",
                                      seconds);
    }

    return rc == NGX_OK ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}
