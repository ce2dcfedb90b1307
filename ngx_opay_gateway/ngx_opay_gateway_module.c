
/* Directives and variables of the gateway: see ngx_opay_gateway.h. */

#include "ngx_opay_gateway.h"


#define NGX_OPAY_GATEWAY_USER_ID  0
#define NGX_OPAY_GATEWAY_ROLES    1


static ngx_int_t ngx_opay_gateway_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_opay_gateway_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_opay_gateway_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void *ngx_opay_gateway_create_main_conf(ngx_conf_t *cf);
static void *ngx_opay_gateway_create_srv_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_opay_gateway_commands[] = {

    { ngx_string("opay_route"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE3,
      ngx_opay_gateway_route,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_rate_limit"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE123,
      ngx_opay_gateway_rate_limit,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_gateway_module_ctx = {
    ngx_opay_gateway_preconfiguration,     /* preconfiguration */
    ngx_opay_gateway_postconfiguration,    /* postconfiguration */

    ngx_opay_gateway_create_main_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_opay_gateway_create_srv_conf,      /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_gateway_module = {
    NGX_MODULE_V1,
    &ngx_opay_gateway_module_ctx,          /* module context */
    ngx_opay_gateway_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_opay_gateway_variables[] = {

    { ngx_string("opay_user_id"), NULL, ngx_opay_gateway_variable,
      NGX_OPAY_GATEWAY_USER_ID, 0, 0 },

    { ngx_string("opay_roles"), NULL, ngx_opay_gateway_variable,
      NGX_OPAY_GATEWAY_ROLES, 0, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_opay_gateway_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_opay_gateway_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_opay_gateway_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_opay_gateway_access;

    return NGX_OK;
}


/* Of a verified token only; empty for anybody else. */

static ngx_int_t
ngx_opay_gateway_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char           *p;
    opay_identity_t   id;

    if (ngx_opay_identity_get(r, &id, NULL) != NGX_OPAY_ID_OK) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, OPAY_UUID_TEXT + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;

    if (data == NGX_OPAY_GATEWAY_USER_ID) {
        opay_uuid_format(&id.user, (char *) p);
        v->len = OPAY_UUID_TEXT;

    } else {
        v->len = ngx_sprintf(p, "%s%s%s",
                             (id.roles & OPAY_ROLE_BIT_USER) ? "USER" : "",
                             id.roles == (OPAY_ROLE_BIT_USER
                                          |OPAY_ROLE_BIT_ADMIN) ? "," : "",
                             (id.roles & OPAY_ROLE_BIT_ADMIN) ? "ADMIN" : "")
                 - p;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* The number of opay_rate_limit directives read so far. */

static void *
ngx_opay_gateway_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_uint_t));
}


static void *
ngx_opay_gateway_create_srv_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->routes = NULL;
     *     conf->rate = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_opay_gateway_conf_t));
}
