
/*
 * ngx_opay_core: the framework that the opay services are written in.
 *
 * DESIGN
 *
 * A service is a table of routes.  A route is a chain of steps.  A step runs
 * in one of the lanes:
 *
 *   READ, WRITE   a pool thread with its own database connection; a step gets
 *                 up to batch_max queued calls of its own kind at once.  WRITE
 *                 runs inside one transaction that core begins and commits,
 *                 together with the idempotency records of the calls.
 *   HASH          a demoted pool thread, no database; password hashing.
 *   ASYNC         the event loop: starts something (a provider call) and says
 *                 ngx_opay_call_resume() when it has ended.
 *   INLINE        the event loop, at once; must not block.
 *
 * After each step: call->status != 0 ends the chain and the reply is sent;
 * otherwise the next step is queued.  A chain that ends without an outcome is
 * a bug: alert, 500.
 *
 *   epoll -> route -> identity -> body -> decode -> [queue -> step]* -> reply
 *            |------------- event loop -----------|   pool    | event loop
 *
 * Ownership: ngx_opay_task.c alone touches r->main->count, r->main->blocked,
 * r->aio and the hold timer.  Pool threads see opay_call_t and opay_db_t only.
 */

#ifndef _NGX_OPAY_CORE_H_INCLUDED_
#define _NGX_OPAY_CORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "opay_base.h"
#include "opay_call.h"
#include "opay_db.h"
#include "opay_jwt.h"


#define NGX_OPAY_ABI      1
#define NGX_OPAY_VERSION  "0.1.0"


typedef enum {
    NGX_OPAY_END = 0,              /* no further step */
    NGX_OPAY_READ,
    NGX_OPAY_WRITE,
    NGX_OPAY_HASH,
    NGX_OPAY_ASYNC,
    NGX_OPAY_INLINE
} ngx_opay_lane_e;


/*
 * Pool thread.  Decides the outcome of each of calls[0..n-1] or leaves it
 * open for the next step.  n > 1 only where the step's batch_max allows it.
 *
 * Return: OPAY_DB_OK commits.  Any failure that opay_db_* returned is handed
 * up as it is: the runner rolls back, resets the outcomes of this step and
 * tries again (OPAY_DB_RETRY, OPAY_DB_LOST), runs the calls one by one
 * (n > 1), or answers 503/500.  OPAY_DB_ROLLBACK (n == 1): outcome stays,
 * writes are undone.  OPAY_DB_SPLIT: run the calls one by one.
 */
typedef opay_db_rc_t (*ngx_opay_exec_pt)(opay_db_t *db, opay_call_t **calls,
    size_t n);

/* Event loop; must not block.  See ngx_opay_call_resume(). */
typedef void (*ngx_opay_async_pt)(opay_call_t *call);

/* Event loop.  Checks and unpacks the request; sets an outcome to refuse. */
typedef void (*ngx_opay_decode_pt)(opay_call_t *call);


typedef struct {
    const char         *name;      /* "order.create": metrics and logs */
    ngx_opay_lane_e     lane;
    ngx_uint_t          batch_max; /* 1..64 */
    ngx_opay_exec_pt    exec;      /* READ, WRITE, HASH */
    ngx_opay_async_pt   start;     /* ASYNC, INLINE */
} ngx_opay_step_t;


#define NGX_OPAY_STEPS  6


typedef enum {
    NGX_OPAY_PUBLIC = 0,           /* no token needed; a good one is used */
    NGX_OPAY_USER,                 /* any valid token */
    NGX_OPAY_ADMIN,                /* ADMIN in roles, else 403 */
    NGX_OPAY_INTERNAL              /* mTLS peer in opay_internal_peers */
} ngx_opay_access_e;


#define NGX_OPAY_BODY            0x01   /* JSON body required */
#define NGX_OPAY_IDEM            0x02   /* Idempotency-Key is honoured */
#define NGX_OPAY_IDEM_REQUIRED   0x04   /* ... and missing is 400 */
/*
 * The first WRITE step opens the record (in flight), the last finishes it;
 * without this flag a record is written only with the final outcome.
 */
#define NGX_OPAY_IDEM_PHASED     0x08


typedef struct {
    const char          *method;   /* NULL ends the table */
    const char          *path;     /* template: "/api/orders/{id}" */
    ngx_opay_access_e    access;
    ngx_uint_t           flags;
    size_t               body_max; /* bytes; 0: 64 KiB */
    ngx_opay_decode_pt   decode;   /* may be NULL */
    ngx_opay_step_t      steps[NGX_OPAY_STEPS];
} ngx_opay_route_t;


/*
 * Background work, on the event loop of worker 0 of a service: make() fills
 * a fresh call (cmd, ...) and the chain of steps runs; next tick no earlier
 * than interval after the chain ended.  ngx_opay_job_kick() runs it at once.
 */
typedef struct {
    const char          *name;     /* NULL ends the table */
    ngx_msec_t           interval;
    void               (*make)(opay_call_t *call);   /* may be NULL */
    ngx_opay_step_t      steps[NGX_OPAY_STEPS];
} ngx_opay_job_t;


typedef struct {
    const char          *name;     /* "order" */
    ngx_opay_route_t    *routes;
    ngx_opay_job_t      *jobs;     /* may be NULL */
} ngx_opay_service_t;


/*
 * Configuration time, from a service's enabling directive (`opay_order;`,
 * context: server).  conf becomes opay_call_t.conf.  Returns NGX_CONF_OK or
 * an error text.  abi is NGX_OPAY_ABI as the service was compiled with.
 */
char *ngx_opay_service_attach(ngx_conf_t *cf, ngx_uint_t abi,
    ngx_opay_service_t *service, void *conf);

/*
 * Configuration time.  Secrets come by file path only; `directive` is named
 * in errors.  The bytes live in cf->pool and are wiped with it.
 *
 *   file    the whole of a file of less than 16 KiB; NUL-terminated
 *   secret  its first line, which may not be empty; NUL-terminated
 *   key     the 32 bytes of a file with one line of 64 hex digits
 */
char *ngx_opay_conf_file(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, opay_str_t *text);
char *ngx_opay_conf_secret(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, opay_str_t *secret);
char *ngx_opay_conf_key(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, opay_str_t *key);

/*
 * Configuration time.  The policy of opay_jwt_issuer and opay_jwt_audience;
 * what it points to is complete when all of http{} is read, and immutable.
 */
const opay_jwt_policy_t *ngx_opay_jwt_policy(ngx_conf_t *cf);

/* Event loop.  Ends an ASYNC step: exactly once per start(). */
void ngx_opay_call_resume(opay_call_t *call);

/* Event loop.  Runs a job of this worker's service as soon as possible. */
void ngx_opay_job_kick(const void *service_conf, const char *name);


/*
 * HTTP client: libcurl on the event loop (ngx_opay_curl.c).
 *
 * The caller allocates the struct (in the call's arena) and keeps it until
 * done() has run; done() runs exactly once, from the event loop, never from
 * inside ngx_opay_http_send().  Strings are NUL-terminated.
 */
typedef enum {
    NGX_OPAY_HTTP_ANSWERED = 0,    /* status and body are there */
    NGX_OPAY_HTTP_NOT_SENT,        /* failed before any byte of the request */
    NGX_OPAY_HTTP_UNKNOWN          /* sent, wholly or in part; no answer */
} ngx_opay_http_outcome_e;


typedef struct ngx_opay_http_s  ngx_opay_http_t;

struct ngx_opay_http_s {
    opay_arena_t            *arena;
    const char              *method;
    const char              *url;
    const char              *connect_to;    /* "ip:port" or NULL */
    const char             **headers;       /* "Name: value", NULL at end */
    opay_str_t               body;
    ngx_msec_t               connect_timeout;
    ngx_msec_t               timeout;       /* whole transfer */
    size_t                   reply_max;     /* more: UNKNOWN */
    const char              *ca;            /* paths; NULL: plain or default */
    const char              *cert;
    const char              *key;
    void                   (*done)(ngx_opay_http_t *h);
    void                    *data;

    /* may be NULL: sees each header of the answer; value has no NUL */
    void                   (*header)(ngx_opay_http_t *h, const char *name,
                                     size_t nlen, const char *value,
                                     size_t vlen);

    /* a worker that quits does not wait for this one */
    ngx_uint_t               background;

    /* result */
    ngx_opay_http_outcome_e  outcome;
    ngx_uint_t               status;
    opay_str_t               reply;
    ngx_uint_t               retry_after;   /* s, 0: header absent */
    const char              *error;         /* static text */

    void                    *priv;
};

/* NGX_ERROR: nothing was started and done() will not run. */
ngx_int_t ngx_opay_http_send(ngx_opay_http_t *h);

/* Gives up a transfer under way; done() will not run.  Not from done(). */
void ngx_opay_http_cancel(ngx_opay_http_t *h);


/*
 * Discovery (ngx_opay_peers.c): "ip:port" of one instance of a service that
 * `opay_discover` or `opay_watch` names.  NGX_DECLINED: none known.  buf
 * takes at least NGX_SOCKADDR_STRLEN + 1 bytes and is NUL-terminated.
 */
ngx_int_t ngx_opay_peer_pick(ngx_str_t *service, char *buf);


/*
 * Pool thread, inside the transaction of a WRITE step.
 */

/* An event to append.  Strings are kept until the call's arena dies. */
typedef struct {
    const char    *agg_type;       /* "order", "payment", "user", ... */
    opay_uuid_t    agg_id;
    int64_t        version;        /* 1 for the first event of an aggregate */
    const char    *type;           /* "order.created": lib/opay_event.h */
    opay_uuid_t    key;            /* partition key: the aggregate root */
    opay_str_t     data;           /* JSON */
    const char    *actor;          /* "user:<uuid>", "system", "payment" */
    const char    *traceparent;    /* "" or NULL: none */
} ngx_opay_event_t;

/*
 * Appends n events in one statement; the caller holds the row lock of each
 * aggregate.  OPAY_DB_DUP: another writer had this version; roll back.
 */
opay_db_rc_t ngx_opay_events_append(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t n);


/* Consumer watermark per aggregate. */
typedef enum {
    NGX_OPAY_INBOX_APPLY = 0,      /* version == last + 1 */
    NGX_OPAY_INBOX_DUPLICATE,      /* version <= last: already applied */
    NGX_OPAY_INBOX_GAP             /* version > last + 1: hold it back */
} ngx_opay_inbox_e;

/*
 * Compares with the watermark of (agg_type, agg_id); no row means 0.  On
 * APPLY the watermark has been moved to version, which is also its lock; on
 * DUPLICATE the row is locked; on GAP there may be none to lock.
 */
opay_db_rc_t ngx_opay_inbox(opay_db_t *db, opay_arena_t *a,
    const char *agg_type, const opay_uuid_t *agg_id, int64_t version,
    ngx_opay_inbox_e *verdict);


/*
 * POST /internal/events: body of the sidecar's delivery.  decode is
 * ngx_opay_inbound_decode; the service's exec calls ngx_opay_inbound_run(),
 * which walks the events in order, keeps the watermark and calls apply for
 * each new one.  apply returns OPAY_DB_OK with *permanent set to a reason
 * when the event can never be applied (nothing may have been written then).
 */
typedef struct {
    opay_str_t    id;              /* ce_id */
    opay_str_t    type;
    opay_str_t    agg_type;
    opay_uuid_t   agg_id;
    opay_uuid_t   key;
    int64_t       version;
    int64_t       time;            /* ms */
    opay_str_t    traceparent;
    json_t       *data;
} ngx_opay_inbound_t;

typedef opay_db_rc_t (*ngx_opay_apply_pt)(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent);

void ngx_opay_inbound_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_inbound_run(opay_db_t *db, opay_call_t *call,
    ngx_opay_apply_pt apply);


#endif /* _NGX_OPAY_CORE_H_INCLUDED_ */
