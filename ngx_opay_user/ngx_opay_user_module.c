
/* The user service: its directive, and the route table. */

#include "ngx_opay_user.h"


static char *ngx_opay_user(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_opay_route_t  ngx_opay_user_routes[] = {

    { "GET", "/api/users/{id}", NGX_OPAY_USER, 0, 0,
      ngx_opay_user_get_decode,
      { { "user.get", NGX_OPAY_READ, 32, ngx_opay_user_get, NULL },
        { "user.first_sight", NGX_OPAY_WRITE, 1, ngx_opay_user_first_sight,
          NULL } } },

    { "PUT", "/api/users/{id}", NGX_OPAY_USER, NGX_OPAY_BODY, 8192,
      ngx_opay_user_put_decode,
      { { "user.put", NGX_OPAY_WRITE, 1, ngx_opay_user_put, NULL } } },

    { "POST", "/internal/events", NGX_OPAY_INTERNAL, NGX_OPAY_BODY, 1048576,
      ngx_opay_inbound_decode,
      { { "user.events", NGX_OPAY_WRITE, 1, ngx_opay_user_events, NULL } } },

    { .method = NULL }
};


static ngx_opay_service_t  ngx_opay_user_service = {
    "user", ngx_opay_user_routes, NULL
};


static ngx_command_t  ngx_opay_user_commands[] = {

    { ngx_string("opay_user"),
      NGX_HTTP_SRV_CONF|NGX_CONF_NOARGS,
      ngx_opay_user,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_user_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_user_module = {
    NGX_MODULE_V1,
    &ngx_opay_user_module_ctx,             /* module context */
    ngx_opay_user_commands,                /* module directives */
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


static char *
ngx_opay_user(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    (void) cmd;
    (void) conf;

    return ngx_opay_service_attach(cf, NGX_OPAY_ABI, &ngx_opay_user_service,
                                   NULL);
}
