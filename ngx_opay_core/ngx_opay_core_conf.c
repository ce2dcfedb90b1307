
/* Core's directives: docs/directives.md.  Configuration time only. */

#include "ngx_opay_conf.h"


static char *ngx_opay_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_pool_args(ngx_conf_t *cf, ngx_opay_pool_conf_t *pool);
static char *ngx_opay_notify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_peers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_check_steps(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf,
    const ngx_opay_step_t *steps);
static char *ngx_opay_no_pool(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf,
    ngx_opay_lane_e lane);


static const char  *ngx_opay_lane_names[NGX_OPAY_LANES] = {
    "read", "write", "hash"
};


#define ngx_opay_srv(name, args, set, field)                                 \
    { ngx_string(name),                                                      \
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|args,                             \
      set,                                                                   \
      NGX_HTTP_SRV_CONF_OFFSET,                                              \
      offsetof(ngx_opay_srv_conf_t, field),                                  \
      NULL }

#define ngx_opay_main(name, args, set, field)                                \
    { ngx_string(name),                                                      \
      NGX_HTTP_MAIN_CONF|args,                                               \
      set,                                                                   \
      NGX_HTTP_MAIN_CONF_OFFSET,                                             \
      offsetof(ngx_opay_main_conf_t, field),                                 \
      NULL }


ngx_command_t  ngx_opay_core_commands[] = {

    ngx_opay_main("opay_zone", NGX_CONF_TAKE1, ngx_opay_zone, zone_size),

    ngx_opay_main("opay_jwt_jwks", NGX_CONF_TAKE1, ngx_conf_set_str_slot,
                  jwks_file),

    ngx_opay_main("opay_jwt_issuer", NGX_CONF_TAKE1, ngx_conf_set_str_slot,
                  issuer),

    ngx_opay_main("opay_jwt_audience", NGX_CONF_TAKE1, ngx_conf_set_str_slot,
                  audience),

    ngx_opay_main("opay_jwt_leeway", NGX_CONF_TAKE1, ngx_conf_set_sec_slot,
                  leeway),

    ngx_opay_main("opay_jwt_cache", NGX_CONF_TAKE1, ngx_conf_set_num_slot,
                  cache_size),

    ngx_opay_srv("opay_db", NGX_CONF_TAKE1, ngx_conf_set_str_slot, db),

    ngx_opay_srv("opay_db_name", NGX_CONF_TAKE1, ngx_conf_set_str_slot,
                 db_name),

    ngx_opay_srv("opay_db_user", NGX_CONF_TAKE1, ngx_conf_set_str_slot,
                 db_user),

    ngx_opay_srv("opay_db_password_file", NGX_CONF_TAKE1,
                 ngx_conf_set_str_slot, db_password_file),

    ngx_opay_srv("opay_db_timeout", NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
                 db_timeout),

    ngx_opay_srv("opay_db_connect_timeout", NGX_CONF_TAKE1,
                 ngx_conf_set_msec_slot, db_connect_timeout),

    ngx_opay_srv("opay_db_lock_timeout", NGX_CONF_TAKE1,
                 ngx_conf_set_sec_slot, db_lock_timeout),

    ngx_opay_srv("opay_pool", NGX_CONF_2MORE, ngx_opay_pool, pools),

    ngx_opay_srv("opay_event_notify", NGX_CONF_TAKE1, ngx_opay_notify,
                 notify),

    ngx_opay_srv("opay_internal_peers", NGX_CONF_1MORE, ngx_opay_peers,
                 peers),

    ngx_opay_srv("opay_shutdown_hold", NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
                 hold),

    ngx_opay_srv("opay_problem", NGX_CONF_FLAG, ngx_conf_set_flag_slot,
                 problem),

    { ngx_string("opay_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_opay_status,
      0,
      0,
      NULL },

      ngx_null_command
};


void *
ngx_opay_create_main_conf(ngx_conf_t *cf)
{
    ngx_opay_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->zone = NULL;
     *     conf->zone_size = 0;
     *     conf->jwks_file = { 0, NULL };
     *     conf->issuer = { 0, NULL };
     *     conf->audience = { 0, NULL };
     *     conf->jwks = NULL;
     *     conf->cache = NULL;
     */

    conf->leeway = NGX_CONF_UNSET;
    conf->cache_size = NGX_CONF_UNSET;

    if (ngx_array_init(&conf->services, cf->pool, 4,
                       sizeof(ngx_opay_srv_conf_t *))
        != NGX_OK
        || ngx_array_init(&conf->series, cf->pool, 16,
                          sizeof(ngx_opay_series_t))
           != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


char *
ngx_opay_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_opay_main_conf_t *omcf = conf;

    char  err[256];

    ngx_conf_init_value(omcf->leeway, 5);
    ngx_conf_init_value(omcf->cache_size, 4096);

    if (omcf->leeway > 60) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_jwt_leeway\" must be 60 seconds or less");
        return NGX_CONF_ERROR;
    }

    if (omcf->cache_size < 0 || omcf->cache_size > 1048576) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_jwt_cache\" must be between 0 and 1048576");
        return NGX_CONF_ERROR;
    }

    omcf->policy.issuer.data = (char *) omcf->issuer.data;
    omcf->policy.issuer.len = omcf->issuer.len;
    omcf->policy.audience.data = (char *) omcf->audience.data;
    omcf->policy.audience.len = omcf->audience.len;
    omcf->policy.leeway = omcf->leeway;
    omcf->policy.max_lifetime = NGX_OPAY_JWT_LIFETIME;

    if (omcf->jwks_file.len == 0) {
        return NGX_CONF_OK;
    }

    if (omcf->issuer.len == 0 || omcf->audience.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_jwt_jwks\" needs \"opay_jwt_issuer\" and "
                           "\"opay_jwt_audience\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, &omcf->jwks_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    omcf->jwks = opay_jwks_load((char *) omcf->jwks_file.data, err,
                                sizeof(err));
    if (omcf->jwks == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_jwt_jwks\" cannot use \"%V\": %s",
                           &omcf->jwks_file, err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


const opay_jwt_policy_t *
ngx_opay_jwt_policy(ngx_conf_t *cf)
{
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_core_module);

    return &omcf->policy;
}


void *
ngx_opay_create_srv_conf(ngx_conf_t *cf)
{
    ngx_opay_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->service = NULL;
     *     conf->service_conf = NULL;
     *     conf->series = NULL;
     *     conf->pools = { { NULL, ... } };
     *     conf->db*, conf->notify = { 0, NULL };
     *     conf->run = NULL;
     */

    conf->db_timeout = NGX_CONF_UNSET_MSEC;
    conf->db_connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->db_lock_timeout = NGX_CONF_UNSET;
    conf->peers = NGX_CONF_UNSET_PTR;
    conf->hold = NGX_CONF_UNSET_MSEC;
    conf->problem = NGX_CONF_UNSET;

    return conf;
}


char *
ngx_opay_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_opay_srv_conf_t *prev = parent;
    ngx_opay_srv_conf_t *conf = child;

    ngx_uint_t  i;

    for (i = 0; i < NGX_OPAY_LANES; i++) {
        if (conf->pools[i].pool == NULL) {
            conf->pools[i] = prev->pools[i];
        }
    }

    ngx_conf_merge_str_value(conf->db, prev->db, "");
    ngx_conf_merge_str_value(conf->db_name, prev->db_name, "");
    ngx_conf_merge_str_value(conf->db_user, prev->db_user, "");
    ngx_conf_merge_str_value(conf->db_password_file, prev->db_password_file,
                             "");
    ngx_conf_merge_msec_value(conf->db_timeout, prev->db_timeout, 5000);
    ngx_conf_merge_msec_value(conf->db_connect_timeout,
                              prev->db_connect_timeout, 2000);
    ngx_conf_merge_value(conf->db_lock_timeout, prev->db_lock_timeout, 3);
    ngx_conf_merge_str_value(conf->notify, prev->notify, "");
    ngx_conf_merge_ptr_value(conf->peers, prev->peers, NULL);
    ngx_conf_merge_msec_value(conf->hold, prev->hold, 60000);
    ngx_conf_merge_value(conf->problem, prev->problem, 1);

    if (conf->hold == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_shutdown_hold\" must not be 0");
        return NGX_CONF_ERROR;
    }

    if (conf->service == NULL) {
        return NGX_CONF_OK;
    }

    /* the readiness probe reads */

    if (conf->pools[0].pool == NULL) {
        return ngx_opay_no_pool(cf, conf, NGX_OPAY_READ);
    }

    for (i = 0; conf->service->routes[i].method; i++) {
        if (ngx_opay_check_steps(cf, conf, conf->service->routes[i].steps)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 0; conf->service->jobs && conf->service->jobs[i].name; i++) {
        if (ngx_opay_check_steps(cf, conf, conf->service->jobs[i].steps)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return ngx_opay_db_conf(cf, conf);
}


static char *
ngx_opay_check_steps(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf,
    const ngx_opay_step_t *steps)
{
    ngx_uint_t       i;
    ngx_opay_lane_e  lane;

    for (i = 0; i < NGX_OPAY_STEPS; i++) {

        lane = steps[i].lane;

        if (lane == NGX_OPAY_END) {
            break;
        }

        if (lane <= NGX_OPAY_HASH
            && conf->pools[lane - NGX_OPAY_READ].pool == NULL)
        {
            return ngx_opay_no_pool(cf, conf, lane);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_opay_no_pool(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf,
    ngx_opay_lane_e lane)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"opay_%s\" needs \"opay_pool %s <thread_pool>\"",
                       conf->service->name,
                       ngx_opay_lane_names[lane - NGX_OPAY_READ]);

    return NGX_CONF_ERROR;
}


static char *
ngx_opay_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_main_conf_t *omcf = conf;

    ssize_t     size;
    ngx_str_t  *value, name;

    (void) cmd;

    if (omcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_zone\" must be a size of %uz or more, "
                           "not \"%V\"", (size_t) (8 * ngx_pagesize),
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&name, "opay");

    omcf->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_opay_core_module);
    if (omcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    omcf->zone->init = ngx_opay_metrics_zone_init;
    omcf->zone->data = omcf;

    return NGX_CONF_OK;
}


static char *
ngx_opay_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_srv_conf_t *oscf = conf;

    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_opay_pool_conf_t  *pool;

    (void) cmd;

    value = cf->args->elts;

    for (i = 0; i < NGX_OPAY_LANES; i++) {
        if (ngx_strcmp(value[1].data, ngx_opay_lane_names[i]) == 0) {
            break;
        }
    }

    if (i == NGX_OPAY_LANES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_pool\" must name read, write or hash, "
                           "not \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    pool = &oscf->pools[i];

    if (pool->pool) {
        return "is duplicate";
    }

    pool->name = value[2];
    pool->pool = ngx_thread_pool_add(cf, &value[2]);
    if (pool->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    pool->slots = 2;
    pool->queue = 512;
    pool->wait = 1000;

    return ngx_opay_pool_args(cf, pool);
}


static char *
ngx_opay_pool_args(ngx_conf_t *cf, ngx_opay_pool_conf_t *pool)
{
    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 3; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "slots=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1 || n > 64) {
                goto invalid;
            }

            pool->slots = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "queue=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1 || n > 65536) {
                goto invalid;
            }

            pool->queue = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "wait=", 5) == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;
            n = ngx_parse_time(&s, 0);

            if (n < 1) {
                goto invalid;
            }

            pool->wait = n;
            continue;
        }

        goto invalid;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"opay_pool\": slots= "
                       "(1..64), queue= (1..65536) and wait= (time) are "
                       "known", &value[i]);

    return NGX_CONF_ERROR;
}


static char *
ngx_opay_notify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_srv_conf_t *oscf = conf;

    ngx_str_t           *value;
    struct sockaddr_un   sun;

    (void) cmd;

    if (oscf->notify.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len < 6
        || ngx_strncmp(value[1].data, "unix:", 5) != 0
        || value[1].len - 5 >= sizeof(sun.sun_path))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_event_notify\" must be unix:/path with a "
                           "path of at most %uz bytes, not \"%V\"",
                           sizeof(sun.sun_path) - 1, &value[1]);
        return NGX_CONF_ERROR;
    }

    oscf->notify.data = value[1].data + 5;
    oscf->notify.len = value[1].len - 5;

    return NGX_CONF_OK;
}


static char *
ngx_opay_peers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_srv_conf_t *oscf = conf;

    size_t       n;
    ngx_str_t   *value, *name;
    ngx_uint_t   i;

    (void) cmd;

    if (oscf->peers != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    oscf->peers = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (oscf->peers == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        n = strspn((char *) value[i].data,
                   "abcdefghijklmnopqrstuvwxyz0123456789-");

        if (n == 0 || n != value[i].len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"opay_internal_peers\" takes names as in "
                               "spiffe://opay/<name>: a-z, 0-9 and \"-\", "
                               "not \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(oscf->peers);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_opay_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    (void) cmd;
    (void) conf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_opay_status_handler;

    return NGX_CONF_OK;
}
