
/* The payment service: directives, the route table, the jobs. */

#include "ngx_opay_payment.h"




static void *ngx_opay_payment_create_conf(ngx_conf_t *cf);
static char *ngx_opay_payment_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_opay_payment_enable(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_opay_payment_provider(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_opay_payment_provider_check(ngx_conf_t *cf,
    ngx_opay_payment_conf_t *pcf);
static char *ngx_opay_payment_tls(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_opay_payment_param(ngx_str_t *arg, const char *name,
    ngx_str_t *value);


static ngx_opay_route_t  ngx_opay_payment_routes[] = {

    { "POST", "/api/payments", NGX_OPAY_USER,
      NGX_OPAY_BODY|NGX_OPAY_IDEM|NGX_OPAY_IDEM_REQUIRED
      |NGX_OPAY_IDEM_PHASED, 0,
      ngx_opay_payment_create_decode,
      { { "payment.lookup", NGX_OPAY_READ, 32, ngx_opay_payment_lookup,
          NULL },
        { "payment.ask", NGX_OPAY_ASYNC, 1, NULL, ngx_opay_payment_ask },
        { "payment.begin", NGX_OPAY_WRITE, 1, ngx_opay_payment_begin, NULL },
        { "payment.confirm", NGX_OPAY_ASYNC, 1, NULL,
          ngx_opay_payment_confirm },
        { "payment.finish", NGX_OPAY_WRITE, 1, ngx_opay_payment_finish,
          NULL } } },

    { "GET", "/api/payments", NGX_OPAY_USER, 0, 0,
      ngx_opay_payment_list_decode,
      { { "payment.list", NGX_OPAY_READ, 1, ngx_opay_payment_list,
          NULL } } },

    { "GET", "/api/payments/{id}", NGX_OPAY_USER, 0, 0,
      ngx_opay_payment_id_decode,
      { { "payment.get", NGX_OPAY_READ, 32, ngx_opay_payment_get, NULL } } },

    { "GET", "/api/payments/order/{orderId}", NGX_OPAY_USER, 0, 0,
      ngx_opay_payment_id_decode,
      { { "payment.by_order", NGX_OPAY_READ, 32,
          ngx_opay_payment_get_by_order, NULL } } },

    { "GET", "/api/payments/status/{status}", NGX_OPAY_USER, 0, 0,
      ngx_opay_payment_list_decode,
      { { "payment.list", NGX_OPAY_READ, 1, ngx_opay_payment_list,
          NULL } } },

    { "POST", "/internal/events", NGX_OPAY_INTERNAL, NGX_OPAY_BODY,
      1024 * 1024,
      ngx_opay_inbound_decode,
      { { "payment.events", NGX_OPAY_WRITE, 1, ngx_opay_payment_inbound,
          NULL } } },

    { .method = NULL }
};


static ngx_opay_job_t  ngx_opay_payment_jobs[] = {

    { NGX_OPAY_PAYMENT_RESOLVE_JOB, 1000, ngx_opay_payment_job_make,
      { { "payment.due", NGX_OPAY_WRITE, 1, ngx_opay_payment_resolve_pick,
          NULL },
        { "payment.query", NGX_OPAY_ASYNC, 1, NULL,
          ngx_opay_payment_resolve_ask },
        { "payment.settle", NGX_OPAY_WRITE, 1,
          ngx_opay_payment_resolve_settle, NULL },
        { "payment.again", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_payment_job_again } } },

    { NGX_OPAY_PAYMENT_REPEAT_JOB, 1000, ngx_opay_payment_job_make,
      { { "payment.repeats", NGX_OPAY_WRITE, 1,
          ngx_opay_payment_repeat_pick, NULL },
        { "payment.repeat", NGX_OPAY_ASYNC, 1, NULL,
          ngx_opay_payment_repeat_ask },
        { "payment.settle", NGX_OPAY_WRITE, 1,
          ngx_opay_payment_resolve_settle, NULL },
        { "payment.again", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_payment_job_again } } },

    { NGX_OPAY_PAYMENT_REFUND_JOB, 500, ngx_opay_payment_job_make,
      { { "refund.due", NGX_OPAY_WRITE, 1, ngx_opay_payment_refund_pick,
          NULL },
        { "refund.send", NGX_OPAY_ASYNC, 1, NULL,
          ngx_opay_payment_refund_ask },
        { "refund.settle", NGX_OPAY_WRITE, 1,
          ngx_opay_payment_refund_settle, NULL },
        { "refund.again", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_payment_job_again } } },

    { .name = NULL }
};


static ngx_opay_service_t  ngx_opay_payment_service = {
    "payment", ngx_opay_payment_routes, ngx_opay_payment_jobs
};


static ngx_command_t  ngx_opay_payment_commands[] = {

    { ngx_string("opay_payment"),
      NGX_HTTP_SRV_CONF|NGX_CONF_NOARGS,
      ngx_opay_payment_enable,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_payment_provider"),
      NGX_HTTP_SRV_CONF|NGX_CONF_2MORE,
      ngx_opay_payment_provider,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_payment_cursor_key"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_opay_payment_conf_t, cursor_key_file),
      NULL },

    { ngx_string("opay_tls_client"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE3,
      ngx_opay_payment_tls,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_payment_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_opay_payment_create_conf,          /* create server configuration */
    ngx_opay_payment_merge_conf,           /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_payment_module = {
    NGX_MODULE_V1,
    &ngx_opay_payment_module_ctx,          /* module context */
    ngx_opay_payment_commands,             /* module directives */
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
ngx_opay_payment_create_conf(ngx_conf_t *cf)
{
    ngx_opay_payment_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_payment_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /* set by ngx_pcalloc(): all strings, enabled */

    conf->timeout = 10000;

    return conf;
}


static char *
ngx_opay_payment_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_opay_payment_conf_t *conf = child;

    (void) parent;

    if (!conf->enabled) {
        return NGX_CONF_OK;
    }

    if (conf->provider.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_payment\" needs "
                           "\"opay_payment_provider\"");
        return NGX_CONF_ERROR;
    }

    if (conf->cursor_key_file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_payment\" needs "
                           "\"opay_payment_cursor_key\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_opay_conf_secret(cf, "opay_payment_provider",
                             &conf->secret_file, &conf->secret)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* it signs the cursors of lists: the same in every instance */

    return ngx_opay_conf_key(cf, "opay_payment_cursor_key",
                             &conf->cursor_key_file, &conf->cursor_key);
}


static char *
ngx_opay_payment_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_payment_conf_t  *pcf = conf;

    (void) cmd;

    if (pcf->enabled) {
        return "is duplicate";
    }

    pcf->enabled = 1;

    return ngx_opay_service_attach(cf, NGX_OPAY_ABI,
                                   &ngx_opay_payment_service, pcf);
}


/* opay_payment_provider <name> url=.. secret_file=.. [timeout=..] [ca=..] */

static char *
ngx_opay_payment_provider(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_payment_conf_t  *pcf = conf;

    ngx_str_t   *args, value;
    ngx_uint_t   i;

    args = cf->args->elts;

    if (pcf->provider.len) {
        return "is duplicate";
    }

    pcf->provider = args[1];

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_opay_payment_param(&args[i], "url=", &value) == NGX_OK) {
            pcf->url = value;
            continue;
        }

        if (ngx_opay_payment_param(&args[i], "secret_file=", &value)
            == NGX_OK)
        {
            pcf->secret_file = value;
            continue;
        }

        if (ngx_opay_payment_param(&args[i], "ca=", &value) == NGX_OK) {
            pcf->ca = value;
            continue;
        }

        if (ngx_opay_payment_param(&args[i], "timeout=", &value) == NGX_OK) {
            pcf->timeout = ngx_parse_time(&value, 0);

            if (pcf->timeout != (ngx_msec_t) NGX_ERROR
                && pcf->timeout >= 100 && pcf->timeout <= 60000)
            {
                continue;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\": timeout of \"%V\" must be between "
                               "100ms and 60s", &cmd->name, &value);
            return NGX_CONF_ERROR;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": invalid parameter \"%V\"", &cmd->name,
                           &args[i]);
        return NGX_CONF_ERROR;
    }

    return ngx_opay_payment_provider_check(cf, pcf);
}


static char *
ngx_opay_payment_provider_check(ngx_conf_t *cf, ngx_opay_payment_conf_t *pcf)
{
    if (ngx_strcmp(pcf->provider.data, "toss") != 0
        && ngx_strcmp(pcf->provider.data, "pgsim") != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_payment_provider\": \"%V\" is neither "
                           "\"toss\" nor \"pgsim\"", &pcf->provider);
        return NGX_CONF_ERROR;
    }

    if (pcf->url.len && pcf->url.data[pcf->url.len - 1] == '/') {
        pcf->url.data[--pcf->url.len] = '\0';
    }

    if (pcf->url.len == 0
        || (ngx_strncmp(pcf->url.data, "http://", 7) != 0
            && ngx_strncmp(pcf->url.data, "https://", 8) != 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_payment_provider\" needs "
                           "\"url=http[s]://...\"");
        return NGX_CONF_ERROR;
    }

    if (pcf->secret_file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_payment_provider\" needs "
                           "\"secret_file=\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, &pcf->secret_file, 1) != NGX_OK
        || (pcf->ca.len
            && ngx_conf_full_name(cf->cycle, &pcf->ca, 1) != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* opay_tls_client ca=.. cert=.. key=.. */

static char *
ngx_opay_payment_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_payment_conf_t  *pcf = conf;

    ngx_str_t   *args, *path;
    ngx_uint_t   i;

    args = cf->args->elts;

    if (pcf->tls_ca.len) {
        return "is duplicate";
    }

    for (i = 1; i < cf->args->nelts; i++) {

        path = ngx_strncmp(args[i].data, "ca=", 3) == 0 ? &pcf->tls_ca
               : ngx_strncmp(args[i].data, "cert=", 5) == 0 ? &pcf->tls_cert
               : ngx_strncmp(args[i].data, "key=", 4) == 0 ? &pcf->tls_key
               : NULL;

        if (path == NULL || path->len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\": invalid parameter \"%V\"",
                               &cmd->name, &args[i]);
            return NGX_CONF_ERROR;
        }

        path->data = (u_char *) ngx_strchr(args[i].data, '=') + 1;
        path->len = args[i].data + args[i].len - path->data;

        if (path->len == 0
            || ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK)
        {
            return "has an empty parameter";
        }

        if (access((char *) path->data, R_OK) == -1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "\"%V\": cannot read \"%V\"", &cmd->name,
                               path);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_opay_payment_param(ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  n;

    n = ngx_strlen(name);

    if (arg->len <= n || ngx_strncmp(arg->data, name, n) != 0) {
        return NGX_DECLINED;
    }

    value->data = arg->data + n;
    value->len = arg->len - n;

    return NGX_OK;
}
