
/* Directives of discovery and the life of its parts: see the header. */

#include "ngx_opay_discovery.h"


#define NGX_OPAY_PEERS_MAGIC  0x6f706472
#define NGX_OPAY_PEERS_ZONE   (64 * 1024 + sizeof(ngx_opay_peers_sh_t))


static void *ngx_opay_discovery_create_main_conf(ngx_conf_t *cf);
static char *ngx_opay_discovery_init_main_conf(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_opay_discovery_zone_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_opay_discovery_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_opay_discovery_init_process(ngx_cycle_t *cycle);
static void ngx_opay_discovery_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_opay_discovery_commands[] = {

    { ngx_string("opay_consul"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_opay_consul_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_state_dir"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_opay_state_dir,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_register"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_opay_register,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_watch"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_opay_watch,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("opay_discover"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_opay_discover,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_discovery_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_opay_discovery_create_main_conf,   /* create main configuration */
    ngx_opay_discovery_init_main_conf,     /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_discovery_module = {
    NGX_MODULE_V1,
    &ngx_opay_discovery_module_ctx,        /* module context */
    ngx_opay_discovery_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_opay_discovery_init_module,        /* init module */
    ngx_opay_discovery_init_process,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_opay_discovery_exit_process,       /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_opay_discovery_conf_t *
ngx_opay_discovery_conf(ngx_cycle_t *cycle)
{
    return ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_opay_discovery_module);
}


static void *
ngx_opay_discovery_create_main_conf(ngx_conf_t *cf)
{
    ngx_opay_discovery_conf_t  *dcf;

    dcf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_discovery_conf_t));
    if (dcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     dcf->consul = { 0, NULL };
     *     dcf->token_file = { 0, NULL };
     *     dcf->state_dir = { 0, NULL };
     *     dcf->zone = NULL;
     *     dcf->sh = NULL;
     */

    if (ngx_array_init(&dcf->registers, cf->pool, 2,
                       sizeof(ngx_opay_register_t))
        != NGX_OK
        || ngx_array_init(&dcf->services, cf->pool, 4,
                          sizeof(ngx_opay_peers_conf_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return dcf;
}


static char *
ngx_opay_discovery_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_opay_discovery_conf_t  *dcf = conf;

    ngx_uint_t               i;
    ngx_opay_peers_conf_t  **s;

    if (dcf->consul.len) {
        return NGX_CONF_OK;
    }

    if (dcf->registers.nelts) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"opay_register\" needs \"opay_consul\"");
        return NGX_CONF_ERROR;
    }

    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {
        if (s[i]->fallback.n == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "service \"%V\" needs \"opay_consul\" or a "
                          "fallback", &s[i]->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_opay_discovery_need_zone(ngx_conf_t *cf, ngx_opay_discovery_conf_t *dcf)
{
    ngx_str_t  name = ngx_string("opay_peers_zone");

    if (dcf->zone) {
        return NGX_OK;
    }

    dcf->zone = ngx_shared_memory_add(cf, &name,
                                      ngx_align(NGX_OPAY_PEERS_ZONE, 4096),
                                      &ngx_opay_discovery_module);
    if (dcf->zone == NULL) {
        return NGX_ERROR;
    }

    dcf->zone->init = ngx_opay_discovery_zone_init;
    dcf->zone->data = dcf;

    return NGX_OK;
}


/*
 * In the master, and on reload while old workers read: rows are only taken,
 * never changed.  What was last in use is there before any worker starts.
 */

static ngx_int_t
ngx_opay_discovery_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_opay_discovery_conf_t  *odcf = data;

    ngx_uint_t                   i, source;
    opay_peers_t                 list;
    ngx_slab_pool_t             *pool;
    ngx_opay_peers_sh_t         *sh;
    ngx_opay_peers_conf_t      **s;
    ngx_opay_discovery_conf_t   *dcf;

    dcf = zone->data;
    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (odcf) {
        sh = odcf->sh;

    } else if (zone->shm.exists) {
        sh = pool->data;

    } else {
        sh = ngx_slab_calloc(pool, sizeof(ngx_opay_peers_sh_t));
        if (sh == NULL) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "opay: \"opay_peers_zone\" is too small");
            return NGX_ERROR;
        }

        sh->magic = NGX_OPAY_PEERS_MAGIC;
        pool->data = sh;
    }

    if (sh->magic != NGX_OPAY_PEERS_MAGIC) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "opay: \"opay_peers_zone\" is not ours");
        return NGX_ERROR;
    }

    dcf->sh = sh;
    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {

        s[i]->pool = pool;

        ngx_shmtx_lock(&pool->mutex);
        s[i]->sh = ngx_opay_peers_row(sh, &s[i]->name);
        ngx_shmtx_unlock(&pool->mutex);

        if (s[i]->sh == NULL) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "opay: no room to watch \"%V\", "
                          "nginx must be restarted", &s[i]->name);
            return NGX_ERROR;
        }

        source = s[i]->sh->source;

        if (source == NGX_OPAY_PEERS_NONE
            && ngx_opay_peers_restore(&dcf->state_dir, s[i], &list,
                                      zone->shm.log)
               == NGX_OK)
        {
            ngx_opay_peers_publish(s[i], &list, NGX_OPAY_PEERS_DISK);

        } else if (source <= NGX_OPAY_PEERS_FALLBACK && s[i]->fallback.n) {
            ngx_opay_peers_publish(s[i], &s[i]->fallback,
                                   NGX_OPAY_PEERS_FALLBACK);
        }
    }

    return NGX_OK;
}


/*
 * In the master, once nothing of the new configuration can fail any more and
 * before its workers start.  From here a worker 0 that must go knows whether
 * a newer one goes on (reload) or not (quit), and for which registrations.
 * Under "nginx -t" the memory is that process's own.
 */

static ngx_int_t
ngx_opay_discovery_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_opay_register_t        *reg;
    ngx_opay_peers_sh_t        *sh;
    ngx_opay_discovery_conf_t  *dcf;

    dcf = ngx_opay_discovery_conf(cycle);

    if (dcf == NULL || dcf->sh == NULL) {
        return NGX_OK;
    }

    sh = dcf->sh;
    reg = dcf->registers.elts;

    ngx_shmtx_lock(&((ngx_slab_pool_t *) dcf->zone->shm.addr)->mutex);

    dcf->generation = ++sh->generation;
    sh->nregisters = dcf->registers.nelts;

    for (i = 0; i < dcf->registers.nelts; i++) {

        if (sh->registers[i].len != reg[i].id.len
            || ngx_memcmp(sh->registers[i].id, reg[i].id.data, reg[i].id.len)
               != 0)
        {
            sh->registers[i].registered = 0;
        }

        ngx_memcpy(sh->registers[i].id, reg[i].id.data, reg[i].id.len);
        sh->registers[i].len = reg[i].id.len;
    }

    ngx_shmtx_unlock(&((ngx_slab_pool_t *) dcf->zone->shm.addr)->mutex);

    return NGX_OK;
}


static ngx_int_t
ngx_opay_discovery_init_process(ngx_cycle_t *cycle)
{
    ngx_opay_discovery_conf_t  *dcf;

    /* cache helpers come here too, as number 0 */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    dcf = ngx_opay_discovery_conf(cycle);

    if (dcf == NULL) {
        return NGX_OK;
    }

    if (ngx_opay_curl_init(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_worker != 0 || dcf->consul.len == 0 || dcf->sh == NULL) {
        return NGX_OK;
    }

    return ngx_opay_consul_start(cycle, dcf);
}


static void
ngx_opay_discovery_exit_process(ngx_cycle_t *cycle)
{
    ngx_opay_consul_stop(cycle);
    ngx_opay_curl_done();
}
