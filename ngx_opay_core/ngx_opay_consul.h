
/*
 * Worker 0's talk with the Consul agent; private to ngx_opay_core.  See
 * ngx_opay_consul.c.
 */

#ifndef _NGX_OPAY_CONSUL_H_INCLUDED_
#define _NGX_OPAY_CONSUL_H_INCLUDED_


#include "ngx_opay_discovery.h"

#include "opay_consul.h"


#define NGX_OPAY_CONSUL_TIMEOUT  5000         /* ms */
#define NGX_OPAY_TOKEN_MAX       256


typedef struct ngx_opay_consul_s  ngx_opay_consul_t;


typedef struct {
    ngx_opay_http_t         h;
    const char             *headers[3];
    char                    url[512];
    char                    token[NGX_OPAY_TOKEN_MAX];
} ngx_opay_ask_t;


typedef struct {
    ngx_opay_ask_t          ask;
    ngx_opay_consul_t      *consul;
    ngx_opay_peers_conf_t  *service;

    ngx_event_t             timer;       /* the next query */
    ngx_event_t             expiry;      /* suspects are dropped */

    uint64_t                index;
    uint64_t                next;        /* of the answer, by its header */
    ngx_uint_t              failures;    /* in a row */
    ngx_msec_t              full;        /* last query with index 0 */
    ngx_msec_t              refilled;
    ngx_uint_t              tokens;

    opay_peers_t            use;
    ngx_uint_t              source;

    unsigned                indexed:1;   /* X-Consul-Index was there */
    unsigned                leader:1;
    unsigned                filtered:1;
} ngx_opay_watch_t;


typedef struct {
    ngx_opay_ask_t          ask;
    ngx_opay_consul_t      *consul;
    ngx_opay_register_t    *reg;
    ngx_uint_t              n;           /* its place in shared memory */

    ngx_event_t             timer;
    ngx_uint_t              failures;
    char                   *body;        /* malloc()ed */

    unsigned                present:1;   /* last known */
    unsigned                left:1;      /* deregistration was sent */
} ngx_opay_registration_t;


struct ngx_opay_consul_s {
    ngx_opay_discovery_conf_t  *dcf;
    ngx_connection_t           *idle;
    ngx_connection_t            dummy;   /* what timers show as data */
    ngx_log_t                  *log;

    ngx_opay_watch_t           *watches;
    ngx_opay_registration_t    *registrations;

    unsigned                    down:1;
};


#define ngx_opay_container(p, type, member)                                  \
    ((type *) ((u_char *) (p) - offsetof(type, member)))


/* ngx_opay_consul.c */

void ngx_opay_consul_timer(ngx_opay_consul_t *oc, ngx_event_t *ev,
    ngx_event_handler_pt handler);

/* This worker goes, or a newer one has taken over. */
ngx_uint_t ngx_opay_consul_is_over(ngx_opay_consul_t *oc);

/* Full jitter. */
ngx_msec_t ngx_opay_consul_backoff(ngx_uint_t failures, ngx_msec_t max);

/* Keeps the books of whether Consul is well; one log line per outage. */
void ngx_opay_consul_heard(ngx_opay_consul_t *oc, ngx_opay_http_t *h,
    ngx_uint_t ok);

/*
 * Fills ask->h; ask->url, h.done and h.header are the caller's, and are kept.
 * Whoever was answered calls ngx_opay_consul_answered() in the end.
 */
ngx_int_t ngx_opay_consul_prepare(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask,
    const char *method, const char *body, ngx_msec_t timeout);
ngx_int_t ngx_opay_consul_ask(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask,
    const char *method, const char *body, ngx_msec_t timeout);
void ngx_opay_consul_answered(ngx_opay_ask_t *ask);


/* ngx_opay_watch.c */

void ngx_opay_watch_start(ngx_opay_consul_t *oc, ngx_opay_watch_t *w,
    ngx_opay_peers_conf_t *s);


/* ngx_opay_registration.c */

ngx_int_t ngx_opay_registration_start(ngx_opay_consul_t *oc,
    ngx_opay_registration_t *rg, ngx_uint_t n);

/* Nobody goes on with this registration once this worker is gone. */
ngx_uint_t ngx_opay_registration_is_over(ngx_opay_registration_t *rg);

/* now: the event loop runs no more, so block for a second at most. */
ngx_int_t ngx_opay_registration_leave(ngx_opay_registration_t *rg,
    ngx_uint_t now);


#endif /* _NGX_OPAY_CONSUL_H_INCLUDED_ */
