
/*
 * The gateway: who may call what, and how often.
 *
 * DESIGN
 *
 * A server with `opay_route` answers what its routes name and nothing else.
 * The check runs in the access phase, after nginx's own limit_req (preaccess)
 * has held back floods, and before anything is proxied:
 *
 *   route -> identity -> rate limit -> role
 *
 * A refusal ends the request there and then: `satisfy any` cannot overrule
 * it.  An internal redirect is checked again, under its new URI.
 *
 *   ngx_opay_gateway_module.c  directives, variables, registration
 *   ngx_opay_gateway_route.c   the table of routes
 *   ngx_opay_gateway_access.c  the check
 *   ngx_opay_gateway_rate.c    opay_rate_limit: buckets in shared memory
 */

#ifndef _NGX_OPAY_GATEWAY_H_INCLUDED_
#define _NGX_OPAY_GATEWAY_H_INCLUDED_


#include "ngx_opay_core.h"
#include "ngx_opay_http.h"
#include "ngx_opay_identity.h"
#include "ngx_opay_metrics.h"

#include "opay_rate.h"


#define NGX_OPAY_METHODS  7


/* One template with what each method asks for. */
typedef struct {
    opay_str_t            path;
    ngx_uint_t            methods;     /* NGX_HTTP_GET|..., HEAD with GET */
    ngx_opay_access_e     access[NGX_OPAY_METHODS];
    ngx_int_t             series[NGX_OPAY_METHODS];
} ngx_opay_gateway_route_t;


typedef struct {
    opay_rate_t           rate;
    ngx_shm_zone_t       *zone;
    ngx_str_t             policy[2];   /* RateLimit-Policy: user, ip */
} ngx_opay_gateway_rate_t;


typedef struct {
    ngx_array_t          *routes;      /* ngx_opay_gateway_route_t or NULL */
    ngx_opay_gateway_rate_t  *rate;    /* NULL: no limit */
} ngx_opay_gateway_conf_t;


extern ngx_module_t  ngx_opay_gateway_module;


/* ngx_opay_gateway_route.c */
char *ngx_opay_gateway_route(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * The most specific route for path and method; *allowed gets the methods that
 * the path has, 0 when it is unknown.
 */
ngx_opay_gateway_route_t *ngx_opay_gateway_find(ngx_array_t *routes,
    ngx_str_t *path, ngx_uint_t method, ngx_uint_t *allowed);

/* 0..NGX_OPAY_METHODS - 1; HEAD counts as GET; NGX_ERROR: no such method. */
ngx_int_t ngx_opay_gateway_method(ngx_uint_t method);
ngx_int_t ngx_opay_gateway_allow(ngx_http_request_t *r, ngx_uint_t methods);

/* ngx_opay_gateway_access.c */
ngx_int_t ngx_opay_gateway_access(ngx_http_request_t *r);

/* ngx_opay_gateway_rate.c */
char *ngx_opay_gateway_rate_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Sets the response headers.  NGX_BUSY: refused, *seconds says how long. */
ngx_int_t ngx_opay_gateway_rate_check(ngx_http_request_t *r,
    ngx_opay_gateway_rate_t *rate, const opay_identity_t *id,
    ngx_uint_t *seconds);


#endif /* _NGX_OPAY_GATEWAY_H_INCLUDED_ */
