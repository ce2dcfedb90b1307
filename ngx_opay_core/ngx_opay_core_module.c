
/*
 * The core module: what happens when, and the variables.
 *
 * DESIGN
 *
 *   nginx -t, master   directives are read, keys and secrets loaded, routes
 *                      and pools checked; no side effects
 *   worker start       per server with a service: lanes, jobs, the notify
 *                      socket; per worker: the token cache
 *   worker exit        sockets closed; thread pools are gone by then, and
 *                      with them the database connections
 */

#include <sys/prctl.h>

#include "ngx_opay_work.h"


static ngx_int_t ngx_opay_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_opay_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_opay_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_opay_init_run(ngx_cycle_t *cycle,
    ngx_opay_srv_conf_t *oscf);
static void ngx_opay_follow_master(ngx_cycle_t *cycle);
static void ngx_opay_exit_process(ngx_cycle_t *cycle);
static void ngx_opay_jwks_cleanup(void *data);
static ngx_int_t ngx_opay_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_module_t  ngx_opay_core_module_ctx = {
    ngx_opay_preconfiguration,             /* preconfiguration */
    ngx_opay_postconfiguration,            /* postconfiguration */

    ngx_opay_create_main_conf,             /* create main configuration */
    ngx_opay_init_main_conf,               /* init main configuration */

    ngx_opay_create_srv_conf,              /* create server configuration */
    ngx_opay_merge_srv_conf,               /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_core_module = {
    NGX_MODULE_V1,
    &ngx_opay_core_module_ctx,             /* module context */
    ngx_opay_core_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_opay_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_opay_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_opay_variables[] = {

    { ngx_string("opay_request_id"), NULL, ngx_opay_variable, 0, 0, 0 },

    { ngx_string("opay_trace_id"), NULL, ngx_opay_variable, 1, 0, 0 },

    { ngx_string("opay_traceparent"), NULL, ngx_opay_variable, 2, 0, 0 },

      ngx_http_null_variable
};


ngx_opay_main_conf_t *
ngx_opay_main_conf(ngx_cycle_t *cycle)
{
    if (cycle->conf_ctx == NULL
        || ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL)
    {
        return NULL;                       /* no http{} */
    }

    return ngx_http_cycle_get_module_main_conf(cycle, ngx_opay_core_module);
}


static ngx_int_t
ngx_opay_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_opay_variables; v->name.len; v++) {
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
ngx_opay_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_pool_cleanup_t         *cln;
    ngx_opay_main_conf_t       *omcf;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_opay_metrics_log_handler;

    /* not a location's handler: the whole server belongs to its service */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_CONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_opay_service_handler;

    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_core_module);

    if (omcf->jwks) {
        cln = ngx_pool_cleanup_add(cf->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_opay_jwks_cleanup;
        cln->data = omcf->jwks;
    }

    return ngx_opay_problem_filter_init(cf);
}


static void
ngx_opay_jwks_cleanup(void *data)
{
    opay_jwks_destroy(data);
}


char *
ngx_opay_service_attach(ngx_conf_t *cf, ngx_uint_t abi,
    ngx_opay_service_t *service, void *conf)
{
    ngx_uint_t             i, n;
    ngx_opay_route_t      *route;
    ngx_opay_srv_conf_t   *oscf, **slot;
    ngx_opay_main_conf_t  *omcf;

    if (abi != NGX_OPAY_ABI) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "ngx_opay_%s_module was built for core ABI %ui, "
                           "the loaded ngx_opay_core_module has %ui: install "
                           "modules of one build",
                           service->name, abi, (ngx_uint_t) NGX_OPAY_ABI);
        return NGX_CONF_ERROR;
    }

    oscf = ngx_http_conf_get_module_srv_conf(cf, ngx_opay_core_module);
    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_core_module);

    if (oscf->service) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_%s\": this server has \"opay_%s\" already",
                           service->name, oscf->service->name);
        return NGX_CONF_ERROR;
    }

    for (n = 0; service->routes[n].method; n++) { /* void */ }

    oscf->series = ngx_palloc(cf->pool, n * sizeof(ngx_int_t));
    slot = ngx_array_push(&omcf->services);

    if (oscf->series == NULL || slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = oscf;
    oscf->service = service;
    oscf->service_conf = conf;

    for (i = 0; i < n; i++) {
        route = &service->routes[i];

        oscf->series[i] = ngx_opay_metrics_series(cf, service->name,
                                                  route->method, route->path);
        if (oscf->series[i] == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_opay_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ngx_opay_srv_conf_t  **oscf;
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_opay_main_conf(cycle);

    if (omcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    ngx_opay_follow_master(cycle);
    ngx_opay_metrics_attach(omcf);

    if (omcf->jwks && omcf->cache_size) {
        omcf->cache = opay_jwt_cache_create(omcf->cache_size);
        if (omcf->cache == NULL) {
            return NGX_ERROR;
        }
    }

    oscf = omcf->services.elts;

    for (i = 0; i < omcf->services.nelts; i++) {
        if (ngx_opay_init_run(cycle, oscf[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A master that was killed leaves workers that nobody can reload or stop, and
 * that keep its listeners from the next master.  They quit, gracefully.
 */

static void
ngx_opay_follow_master(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER) {
        return;
    }

    if (prctl(PR_SET_PDEATHSIG, SIGQUIT, 0, 0, 0) == -1) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "opay: prctl(PR_SET_PDEATHSIG) failed");
        return;
    }

    if (getppid() != ngx_parent) {
        (void) raise(SIGQUIT);
    }
}


static ngx_int_t
ngx_opay_init_run(ngx_cycle_t *cycle, ngx_opay_srv_conf_t *oscf)
{
    ngx_uint_t       i;
    ngx_opay_run_t  *run;

    run = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_run_t));
    if (run == NULL) {
        return NGX_ERROR;
    }

    run->conf = oscf;
    run->notify_fd = -1;

    for (i = 0; i < NGX_OPAY_LANES; i++) {

        if (oscf->pools[i].pool == NULL) {
            continue;
        }

        run->lanes[i] = ngx_opay_lane_create(cycle, run, &oscf->pools[i],
                                             NGX_OPAY_READ + i);
        if (run->lanes[i] == NULL) {
            return NGX_ERROR;
        }
    }

    if (oscf->notify.len) {
        run->notify_fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0);

        if (run->notify_fd == -1) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, ngx_errno,
                          "opay: socket() for \"opay_event_notify\" failed, "
                          "the sidecar will poll");
        }
    }

    oscf->run = run;

    return ngx_opay_jobs_init(cycle, run);
}


static void
ngx_opay_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ngx_opay_srv_conf_t  **oscf;
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_opay_main_conf(cycle);
    if (omcf == NULL) {
        return;
    }

    oscf = omcf->services.elts;

    for (i = 0; i < omcf->services.nelts; i++) {
        if (oscf[i]->run && oscf[i]->run->notify_fd != -1) {
            (void) close(oscf[i]->run->notify_fd);
            oscf[i]->run->notify_fd = -1;
        }
    }

    if (omcf->cache) {
        opay_jwt_cache_destroy(omcf->cache);
        omcf->cache = NULL;
    }
}


static ngx_int_t
ngx_opay_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_opay_ctx_get(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    switch (data) {

    case 0:
        v->data = (u_char *) ctx->request_id;
        v->len = 32;
        break;

    case 1:
        /* version "-" trace-id "-" ... */
        v->data = (u_char *) ctx->traceparent + 3;
        v->len = 32;
        break;

    default:
        v->data = (u_char *) ctx->traceparent;
        v->len = 55;
        break;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
