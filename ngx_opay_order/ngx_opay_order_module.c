
/* The order service: directives, and the route table. */

#include "ngx_opay_order.h"


static void *ngx_opay_order_create_conf(ngx_conf_t *cf);
static char *ngx_opay_order_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_opay_order_enable(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_opay_order_check_ttl(ngx_conf_t *cf, void *post, void *data);


static ngx_opay_route_t  ngx_opay_order_routes[] = {

    { "POST", "/api/orders", NGX_OPAY_USER, NGX_OPAY_BODY|NGX_OPAY_IDEM, 0,
      ngx_opay_order_create_decode,
      { { "order.create", NGX_OPAY_WRITE, 64, ngx_opay_order_create,
          NULL } } },

    { "GET", "/api/orders", NGX_OPAY_USER, 0, 0,
      ngx_opay_order_list_decode,
      { { "order.list", NGX_OPAY_READ, 1, ngx_opay_order_list, NULL } } },

    { "GET", "/api/orders/status/{status}", NGX_OPAY_USER, 0, 0,
      ngx_opay_order_list_decode,
      { { "order.list_status", NGX_OPAY_READ, 1, ngx_opay_order_list,
          NULL } } },

    { "GET", "/api/orders/{id}", NGX_OPAY_USER, 0, 0,
      ngx_opay_order_id_decode,
      { { "order.get", NGX_OPAY_READ, 32, ngx_opay_order_get, NULL } } },

    { "DELETE", "/api/orders/{id}", NGX_OPAY_USER, 0, 0,
      ngx_opay_order_id_decode,
      { { "order.cancel", NGX_OPAY_WRITE, 1, ngx_opay_order_cancel,
          NULL } } },

    { "GET", "/api/orders/{id}/history", NGX_OPAY_USER, 0, 0,
      ngx_opay_order_history_decode,
      { { "order.history", NGX_OPAY_READ, 1, ngx_opay_order_history,
          NULL } } },

    { "GET", "/api/products", NGX_OPAY_PUBLIC, 0, 0,
      ngx_opay_order_products_decode,
      { { "product.list", NGX_OPAY_READ, 1, ngx_opay_order_products,
          NULL } } },

    { "GET", "/api/products/{id}", NGX_OPAY_PUBLIC, 0, 0,
      ngx_opay_order_product_decode,
      { { "product.get", NGX_OPAY_READ, 32, ngx_opay_order_product,
          NULL } } },

    { "GET", "/internal/orders/{id}", NGX_OPAY_INTERNAL, 0, 0,
      ngx_opay_order_id_decode,
      { { "order.get_internal", NGX_OPAY_READ, 32,
          ngx_opay_order_get_internal, NULL } } },

    { "POST", "/internal/events", NGX_OPAY_INTERNAL, NGX_OPAY_BODY,
      1024 * 1024, ngx_opay_inbound_decode,
      { { "order.events", NGX_OPAY_WRITE, 1, ngx_opay_order_inbound,
          NULL } } },

    { .method = NULL }
};


static ngx_opay_job_t  ngx_opay_order_jobs[] = {

    { NGX_OPAY_ORDER_EXPIRE_JOB, 1000, ngx_opay_order_expire_make,
      { { "order.expire", NGX_OPAY_WRITE, 1, ngx_opay_order_expire, NULL },
        { "order.expire_again", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_order_expire_again } } },

    { .name = NULL }
};


static ngx_opay_service_t  ngx_opay_order_service = {
    "order",
    ngx_opay_order_routes,
    ngx_opay_order_jobs
};


static ngx_conf_post_t  ngx_opay_order_ttl_post = {
    ngx_opay_order_check_ttl
};


static ngx_command_t  ngx_opay_order_commands[] = {

    { ngx_string("opay_order"),
      NGX_HTTP_SRV_CONF|NGX_CONF_NOARGS,
      ngx_opay_order_enable,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_order_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_opay_order_conf_t, ttl),
      &ngx_opay_order_ttl_post },

    { ngx_string("opay_order_expiry_grace"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_opay_order_conf_t, grace),
      NULL },

    { ngx_string("opay_order_cursor_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_opay_order_conf_t, cursor_key_file),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_order_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_opay_order_create_conf,            /* create server configuration */
    ngx_opay_order_merge_conf,             /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_order_module = {
    NGX_MODULE_V1,
    &ngx_opay_order_module_ctx,            /* module context */
    ngx_opay_order_commands,               /* module directives */
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


static void *
ngx_opay_order_create_conf(ngx_conf_t *cf)
{
    ngx_opay_order_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_order_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->enable = 0;
     *     conf->cursor_key_file = { 0, NULL };
     *     conf->cursor_key = { 0, NULL };
     */

    conf->ttl = NGX_CONF_UNSET_MSEC;
    conf->grace = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_opay_order_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_opay_order_conf_t *prev = parent;
    ngx_opay_order_conf_t *conf = child;

    ngx_conf_merge_msec_value(conf->ttl, prev->ttl, 30 * 60 * 1000);
    ngx_conf_merge_msec_value(conf->grace, prev->grace, 5000);
    ngx_conf_merge_str_value(conf->cursor_key_file, prev->cursor_key_file,
                             "");

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (conf->cursor_key_file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_order\" needs \"opay_order_cursor_key\"");
        return NGX_CONF_ERROR;
    }

    /* it signs the cursors of lists: the same in every instance */

    return ngx_opay_conf_key(cf, "opay_order_cursor_key",
                             &conf->cursor_key_file, &conf->cursor_key);
}


static char *
ngx_opay_order_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_order_conf_t  *ocf = conf;

    if (ocf->enable) {
        return "is duplicate";
    }

    ocf->enable = 1;

    return ngx_opay_service_attach(cf, NGX_OPAY_ABI, &ngx_opay_order_service,
                                   ocf);
}


static char *
ngx_opay_order_check_ttl(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *ttl = data;

    if (*ttl < 1000 || *ttl > 30 * 24 * 3600 * (ngx_msec_t) 1000) {
        return "must be between 1s and 30d";
    }

    return NGX_CONF_OK;
}
