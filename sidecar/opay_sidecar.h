
/*
 * opay_sidecar: what the files of the sidecar share.
 *
 * DESIGN
 *
 * One process serves one service schema.  Threads, and what each owns:
 *
 *   main        reads the configuration, starts the others, waits for a
 *               signal, stops them in order, under a watchdog
 *   relay       event store -> Kafka: two database connections, a producer,
 *               the notify socket (opay_relay.h)
 *   subscriber  Kafka -> service: a consumer, a database connection, an
 *               HTTP client, the dead-letter producer (opay_sub.h)
 *   target      where the service is: an HTTP client towards Consul
 *   status      libmicrohttpd's own thread: /livez, /readyz, /metrics
 *
 * Nothing is shared between threads but the configuration (immutable once
 * read), opay_sidecar_state_t (atomics, and one mutex around its lists) and
 * the list of instances (a mutex of its own).  Threads stop when the stop event
 * is raised; it stays readable for ever, so every poll() may include it.
 */

#ifndef OPAY_SIDECAR_H_INCLUDED
#define OPAY_SIDECAR_H_INCLUDED

#include <stdatomic.h>
#include <pthread.h>
#include <netinet/in.h>

#include <librdkafka/rdkafka.h>

#include "opay_base.h"
#include "opay_db.h"

#define OPAY_SIDECAR_VERSION  "0.1.0"


/* log */

typedef enum {
    OPAY_LOG_ALERT = 0,            /* a broken invariant */
    OPAY_LOG_ERROR,
    OPAY_LOG_WARN,
    OPAY_LOG_NOTICE,               /* lifecycle */
    OPAY_LOG_INFO,
    OPAY_LOG_DEBUG
} opay_log_level_e;

/* Until this is called: text, notice and worse. */
void opay_log_init(opay_log_level_e level, int json, const char *service);

/* One line to stderr, one write(). */
void opay_log(opay_log_level_e level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


/* configuration */

#define OPAY_SIDECAR_TOPICS  16
#define OPAY_SIDECAR_PROPS   32

typedef struct {
    const char             *name;
    const char             *value;
} opay_sidecar_prop_t;


typedef struct {
    opay_arena_t           *arena;         /* owns every string below */
    const char             *file;

    const char             *service;
    opay_db_conf_t          db;
    int64_t                 db_timeout;
    int64_t                 db_connect_timeout;
    int64_t                 db_port;

    const char             *bootstrap;
    opay_sidecar_prop_t     props[OPAY_SIDECAR_PROPS];   /* kafka.* */
    unsigned                nprops;

    const char             *notify_socket;
    int64_t                 poll_interval;
    int64_t                 checkpoint_interval;
    int64_t                 max_gap_age;

    const char             *topics[OPAY_SIDECAR_TOPICS];
    unsigned                ntopics;
    const char             *group;
    const char             *instance_id;
    const char             *dlt_suffix;
    int64_t                 fetch_wait;
    int64_t                 session_timeout;
    int64_t                 deliver_timeout;
    int64_t                 retry_min;
    int64_t                 retry_max;
    int64_t                 park_retry_min;
    int64_t                 park_retry_max;

    const char             *consul_url;
    const char             *consul_token_file;
    const char             *target;
    const char             *tls_ca;
    const char             *tls_cert;
    const char             *tls_key;

    struct sockaddr_in      status_addr;
    const char             *status_listen;
    int64_t                 shutdown_timeout;
    const char             *log_level;
    const char             *log_format;
    opay_log_level_e        level;
    int                     json;
} opay_sidecar_conf_t;

/*
 * NULL: refused; err says why, naming file, line and key.  Secrets are read
 * from their files here.
 */
opay_sidecar_conf_t *opay_sidecar_conf_read(const char *file, char *err,
    size_t size);
void opay_sidecar_conf_free(opay_sidecar_conf_t *conf);


/* state: what /readyz and /metrics show */

typedef enum {
    OPAY_ROLE_STARTING = 0,
    OPAY_ROLE_STANDBY,
    OPAY_ROLE_LEADER,
    OPAY_ROLE_STOPPED
} opay_role_e;

typedef enum {
    OPAY_DELIVERY_APPLIED = 0,
    OPAY_DELIVERY_DUPLICATE,
    OPAY_DELIVERY_GAP,
    OPAY_DELIVERY_REJECTED,
    OPAY_DELIVERY_BEHIND,          /* its key was parked already */
    OPAY_DELIVERY_MALFORMED,
    OPAY_DELIVERY_MAX
} opay_delivery_e;

typedef enum {
    OPAY_POST_OK = 0,
    OPAY_POST_TRANSPORT,           /* no peer, no connection, a timeout */
    OPAY_POST_STATUS,              /* an answer other than 200 */
    OPAY_POST_NONSENSE,            /* 200, but not the answer agreed on */
    OPAY_POST_REFUSED,             /* 4xx because of the body itself */
    OPAY_POST_MAX
} opay_post_e;

#define OPAY_HIST_BUCKETS  14      /* 13 bounds and +Inf */

typedef struct {
    _Atomic uint64_t        bucket[OPAY_HIST_BUCKETS];
    _Atomic uint64_t        sum;           /* ms */
} opay_hist_t;

typedef struct {
    char                    topic[128];
    int32_t                 part;
    int64_t                 lag;
} opay_lag_t;

#define OPAY_SIDECAR_LAGS  256

typedef struct {
    int64_t                 started;       /* wall clock, ms */
    _Atomic int             stopping;
    _Atomic int             failed;        /* exit status 1 at the end */

    _Atomic int             role;          /* opay_role_e */
    _Atomic int             db_up;
    _Atomic int             relay_broker;
    _Atomic int             sub_broker;
    _Atomic int             sub_on;
    _Atomic int64_t         relay_beat;    /* monotonic ms, loop alive */
    _Atomic int64_t         sub_beat;

    _Atomic uint64_t        published;
    _Atomic uint64_t        backfilled;
    _Atomic uint64_t        produce_errors;
    _Atomic uint64_t        producer_restarts;
    _Atomic uint64_t        checkpoints;
    _Atomic uint64_t        takeovers;
    _Atomic uint64_t        fenced;
    _Atomic uint64_t        gaps_abandoned;
    _Atomic uint64_t        wakeups;
    _Atomic uint64_t        db_errors;
    _Atomic uint64_t        epoch;
    _Atomic uint64_t        position;
    _Atomic uint64_t        gaps;          /* ids, not ranges */
    _Atomic uint64_t        inflight;
    _Atomic int64_t         lag_events;
    _Atomic int64_t         oldest_age;    /* ms */
    opay_hist_t             publish_delay;

    _Atomic uint64_t        delivered[OPAY_DELIVERY_MAX];
    _Atomic uint64_t        redriven[OPAY_DELIVERY_MAX];
    _Atomic uint64_t        posts[OPAY_POST_MAX];
    _Atomic uint64_t        dlt;
    _Atomic uint64_t        dlt_errors;
    _Atomic uint64_t        commit_errors;
    _Atomic uint64_t        rebalances;
    _Atomic int64_t         backing_off;
    _Atomic int64_t         assigned;
    _Atomic int64_t         parked_events;
    _Atomic int64_t         parked_keys;
    _Atomic int64_t         peers;
    _Atomic int             consul_up;
    opay_hist_t             post_time;

    pthread_mutex_t         mutex;         /* of what follows */
    opay_lag_t              lags[OPAY_SIDECAR_LAGS];
    unsigned                nlags;
} opay_sidecar_state_t;

void opay_sidecar_state_init(opay_sidecar_state_t *st);
void opay_hist_add(opay_hist_t *h, int64_t ms);

/* malloc'ed, NUL-terminated; NULL when out of memory */
char *opay_sidecar_metrics(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st);

/* the same; *ok is 0 when the probe is to answer 503 */
char *opay_sidecar_health(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st, int ready, int *ok);

/* An opaque MHD_Daemon; NULL: cannot listen, logged. */
void *opay_sidecar_status_start(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st);
void opay_sidecar_status_stop(void *status);


/* stop event */

int opay_sidecar_stop_init(void);
void opay_sidecar_stop_raise(opay_sidecar_state_t *st);

/* A thread cannot go on: the process stops, to be started anew. */
void opay_sidecar_fail(opay_sidecar_state_t *st);

int opay_sidecar_stop_fd(void);
int opay_sidecar_stopping(void);


/* librdkafka */

/* Whose statistics these are; the opaque of every handle of ours. */
typedef struct {
    opay_sidecar_state_t   *state;
    _Atomic int            *broker;        /* set to 1 or 0 */
    int                     lags;          /* keep the consumer lag too */
    void                   *owner;
} opay_kafka_opaque_t;

/*
 * What producers and consumers have in common: bootstrap, logs, statistics,
 * the properties of the file.  NULL: refused, err says why.
 */
rd_kafka_conf_t *opay_kafka_conf(const opay_sidecar_conf_t *conf,
    opay_kafka_opaque_t *opaque, char *err, size_t size);

/* Idempotent, acks=all; takes conf.  NULL: logged. */
rd_kafka_t *opay_kafka_producer(rd_kafka_conf_t *kconf,
    const char *message_timeout);

/* -1: error; the properties that follow "kafka." in the file */
int opay_kafka_prop_check(const char *name, const char *value, char *err,
    size_t size);


/* threads */

typedef struct {
    opay_sidecar_conf_t    *conf;
    opay_sidecar_state_t   *state;
    struct opay_target_s    *target;
} opay_sidecar_t;

void *opay_relay_run(void *data);
void *opay_sub_run(void *data);

struct opay_target_s *opay_target_create(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st);
void opay_target_destroy(struct opay_target_s *target);
void *opay_target_run(void *data);

/*
 * buf holds the "ip:port" used so far, or ""; it is kept while that instance
 * is in use and not `failed`, else replaced.  OPAY_ERROR: none is known.
 */
int opay_target_pick(struct opay_target_s *target, int failed, char *buf,
    size_t size);


/* base * 2^n up to max, of which the upper half is random */
int64_t opay_sidecar_backoff(int64_t base, int64_t max, unsigned n);


#endif /* OPAY_SIDECAR_H_INCLUDED */
