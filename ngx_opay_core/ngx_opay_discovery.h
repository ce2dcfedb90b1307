
/*
 * Discovery: registration with Consul, and the instances of other services.
 *
 * DESIGN
 *
 * One watcher per nginx instance: worker 0 asks Consul (libcurl on the event
 * loop) and publishes lists into shared memory; every worker picks from
 * there.  Nothing asks Consul while a request waits.
 *
 *   ngx_opay_discovery_module.c   life of the parts below
 *   ngx_opay_discovery_conf.c     directives
 *   ngx_opay_peers.c              the shared table; the copy on disk
 *   ngx_opay_consul.c             worker 0 and the agent: what is common
 *   ngx_opay_watch.c              the watch of one service
 *   ngx_opay_registration.c       one registration of this instance
 *   ngx_opay_balancer.c           upstream{ opay_discover ...; }
 *   ngx_opay_curl.c, _http_send.c libcurl multi on nginx's event loop
 *   ngx_opay_discovery_metrics.c  Prometheus text
 */

#ifndef _NGX_OPAY_DISCOVERY_H_INCLUDED_
#define _NGX_OPAY_DISCOVERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_opay_core.h"
#include "ngx_opay_peers.h"


#define NGX_OPAY_DISCOVERY_METRICS_MAX  65536


/* One opay_register. */
typedef struct {
    ngx_str_t             id;      /* strings end in NUL here */
    ngx_str_t             name;
    ngx_str_t             address;
    ngx_uint_t            port;
    ngx_str_t             check;
    ngx_msec_t            interval;
} ngx_opay_register_t;


typedef struct {
    ngx_str_t             consul;      /* "http://127.0.0.1:8500", NUL */
    ngx_str_t             token_file;
    ngx_str_t             state_dir;

    ngx_array_t           registers;   /* ngx_opay_register_t */
    ngx_array_t           services;    /* ngx_opay_peers_conf_t * */

    ngx_shm_zone_t       *zone;        /* NULL: nothing to share */
    ngx_opay_peers_sh_t  *sh;
    ngx_uint_t            generation;  /* of this cycle: see init_module */
} ngx_opay_discovery_conf_t;


extern ngx_module_t  ngx_opay_discovery_module;


/* Main conf of a running cycle; NULL when there is no http{}. */
ngx_opay_discovery_conf_t *ngx_opay_discovery_conf(ngx_cycle_t *cycle);

/*
 * Configuration time.  The service to be watched under this name, created at
 * first use.  NULL: refused, and said why.
 */
ngx_opay_peers_conf_t *ngx_opay_discovery_add(ngx_conf_t *cf,
    ngx_str_t *name);

/* Adds "ip:port" to the list used while nothing else is known. */
char *ngx_opay_discovery_fallback(ngx_conf_t *cf, ngx_opay_peers_conf_t *s,
    ngx_str_t *value);

/* Prometheus text; at most NGX_OPAY_DISCOVERY_METRICS_MAX bytes. */
u_char *ngx_opay_discovery_metrics(u_char *p, u_char *last);


/* ngx_opay_discovery_module.c */
ngx_int_t ngx_opay_discovery_need_zone(ngx_conf_t *cf,
    ngx_opay_discovery_conf_t *dcf);

/* ngx_opay_discovery_conf.c */
char *ngx_opay_consul_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_opay_state_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_opay_register(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_opay_watch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_opay_balancer.c */
char *ngx_opay_discover(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_opay_consul.c: worker 0 only */
ngx_int_t ngx_opay_consul_start(ngx_cycle_t *cycle,
    ngx_opay_discovery_conf_t *dcf);
void ngx_opay_consul_stop(ngx_cycle_t *cycle);

/* ngx_opay_curl.c: every worker */
ngx_int_t ngx_opay_curl_init(ngx_cycle_t *cycle);
void ngx_opay_curl_done(void);

/* Blocks until h->timeout; for exit_process() only.  done() is not called. */
ngx_int_t ngx_opay_http_perform(ngx_opay_http_t *h);


#endif /* _NGX_OPAY_DISCOVERY_H_INCLUDED_ */
