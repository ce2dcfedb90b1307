
/*
 * Core's configuration and per-worker runtime; private to ngx_opay_core.
 *
 * DESIGN
 *
 * Conf structs are written while the configuration is read and by nobody
 * later, but for the two pointers marked "worker": init_process() sets them
 * before the first request.  What a worker changes at run time (lanes, jobs,
 * readiness) hangs off ngx_opay_run_t, made from the cycle's pool in
 * init_process(); it belongs to that worker's event loop.
 */

#ifndef _NGX_OPAY_CONF_H_INCLUDED_
#define _NGX_OPAY_CONF_H_INCLUDED_


#include "ngx_opay_core.h"
#include "ngx_opay_http.h"
#include "ngx_opay_metrics.h"

#include "opay_jwks.h"
#include "opay_jwt.h"
#include "opay_jwt_cache.h"


#define NGX_OPAY_LANES      3      /* read, write, hash */
#define NGX_OPAY_BATCH_MAX  64

/* longest exp - iat of an access token that is accepted, seconds */
#define NGX_OPAY_JWT_LIFETIME  3600


typedef struct ngx_opay_run_s   ngx_opay_run_t;
typedef struct ngx_opay_lane_s  ngx_opay_lane_t;


typedef struct {
    ngx_thread_pool_t     *pool;       /* NULL: not configured */
    ngx_str_t              name;
    ngx_uint_t             slots;      /* batches under way at once */
    ngx_uint_t             queue;      /* calls waiting at most */
    ngx_msec_t             wait;       /* longest wait in the queue */
} ngx_opay_pool_conf_t;


typedef struct {
    ngx_opay_service_t    *service;    /* NULL: not an opay server */
    void                  *service_conf;
    ngx_int_t             *series;     /* per route */

    ngx_opay_pool_conf_t   pools[NGX_OPAY_LANES];

    ngx_str_t              db;         /* unix:/path or host:port */
    ngx_str_t              db_name;
    ngx_str_t              db_user;
    ngx_str_t              db_password_file;
    ngx_msec_t             db_timeout;
    ngx_msec_t             db_connect_timeout;
    time_t                 db_lock_timeout;
    opay_db_conf_t         db_conf;

    ngx_str_t              notify;     /* unix:/path */
    ngx_array_t           *peers;      /* ngx_str_t: internal callers */
    ngx_msec_t             hold;
    ngx_flag_t             problem;

    ngx_opay_run_t        *run;        /* worker */
} ngx_opay_srv_conf_t;


typedef struct {
    ngx_array_t            services;   /* ngx_opay_srv_conf_t * */
    ngx_array_t            series;     /* ngx_opay_series_t */
    ngx_shm_zone_t        *zone;
    size_t                 zone_size;

    ngx_str_t              jwks_file;
    ngx_str_t              issuer;
    ngx_str_t              audience;
    time_t                 leeway;
    ngx_int_t              cache_size;
    opay_jwks_t           *jwks;
    opay_jwt_policy_t      policy;

    opay_jwt_cache_t      *cache;      /* worker */
} ngx_opay_main_conf_t;


typedef struct {
    const char            *service;
    const char            *method;
    const char            *route;
} ngx_opay_series_t;


struct ngx_opay_run_s {
    ngx_opay_srv_conf_t   *conf;
    ngx_opay_lane_t       *lanes[NGX_OPAY_LANES];
    struct ngx_opay_jobs_s  *jobs;
    int                    notify_fd;
    ngx_uint_t             ready;      /* last database probe: 1 passed */
    ngx_msec_t             ready_at;
};


extern ngx_module_t  ngx_opay_core_module;


/* ngx_opay_core_module.c: the main conf of a running cycle; may be NULL */
ngx_opay_main_conf_t *ngx_opay_main_conf(ngx_cycle_t *cycle);

/* ngx_opay_metrics.c */
ngx_int_t ngx_opay_metrics_zone_init(ngx_shm_zone_t *zone, void *data);
void ngx_opay_metrics_attach(ngx_opay_main_conf_t *omcf);
ngx_int_t ngx_opay_metrics_log_handler(ngx_http_request_t *r);
size_t ngx_opay_metrics_size(ngx_opay_main_conf_t *omcf);
u_char *ngx_opay_metrics_print(ngx_opay_main_conf_t *omcf, u_char *p,
    u_char *last);

/* ngx_opay_problem.c */
ngx_int_t ngx_opay_problem_filter_init(ngx_conf_t *cf);

/* ngx_opay_service.c */
ngx_int_t ngx_opay_service_handler(ngx_http_request_t *r);

/* ngx_opay_status.c */
ngx_int_t ngx_opay_status_handler(ngx_http_request_t *r);

/* ngx_opay_core_conf.c */
extern ngx_command_t  ngx_opay_core_commands[];
void *ngx_opay_create_main_conf(ngx_conf_t *cf);
char *ngx_opay_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_opay_create_srv_conf(ngx_conf_t *cf);
char *ngx_opay_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child);

/* ngx_opay_db_conf.c */
char *ngx_opay_db_conf(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf);


#endif /* _NGX_OPAY_CONF_H_INCLUDED_ */
