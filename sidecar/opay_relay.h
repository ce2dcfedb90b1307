
/*
 * opay_relay: the publisher, event store -> Kafka.
 *
 * DESIGN
 *
 * One thread owns all of opay_relay_t.  Per schema one process leads: it
 * holds GET_LOCK on a connection of its own and has raised the epoch of the
 * checkpoint row; every checkpoint names the epoch, so a leader that was
 * thought dead can publish duplicates at worst.
 *
 * Ids are handed out before commit, so they become visible out of order.
 * Each read is one consistent snapshot of "everything above high, and all
 * ids below it that were missing" (opay_relay_read.c); missing ids are gaps
 * until seen.  What was read goes to the producer in id order, which within
 * an aggregate is commit order, and into the window; the checkpoint says: all
 * ids up to `position` are acknowledged, but the gaps.  It never covers an id
 * in the window.  Whatever fails, the relay goes back to the checkpoint and
 * sends again: consumers drop duplicates by version.
 *
 * Belt and braces: versions of an aggregate are contiguous, so a jump proves
 * that an event was missed, and it is fetched by version before the next.
 */

#ifndef OPAY_RELAY_H_INCLUDED
#define OPAY_RELAY_H_INCLUDED

#include "opay_sidecar.h"
#include "opay_relay_gaps.h"
#include "opay_relay_seen.h"


#define OPAY_RELAY_BATCH    500            /* rows per read, in the SQL too */
#define OPAY_RELAY_WINDOW   4096           /* events not acknowledged */
#define OPAY_RELAY_TEXTS    6              /* sizes of the read statement */
#define OPAY_RELAY_TOPICS   8
#define OPAY_RELAY_RANGES   256            /* ranges in the largest of them */


typedef struct {
    uint64_t              id;
    opay_str_t            agg_type;
    opay_uuid_t           agg_id;
    uint32_t              version;
    opay_str_t            type;
    opay_uuid_t           key;
    opay_str_t            data;
    opay_str_t            traceparent;     /* data NULL: none */
    int64_t               created_at;
} opay_relay_event_t;


typedef struct {
    uint64_t              id;
    int64_t               created_at;
    int                   delivered;
} opay_relay_slot_t;


typedef struct {
    opay_sidecar_conf_t  *conf;
    opay_sidecar_state_t *state;

    opay_db_t            *lock_db;         /* holds GET_LOCK, nothing else */
    opay_db_t            *db;
    char                  lock_name[65];
    uint64_t              epoch;

    char                 *texts[OPAY_RELAY_TEXTS];
    char                 *text_gaps;
    const char           *probe;           /* as this server has it */

    rd_kafka_t           *rk;
    rd_kafka_topic_t     *topics[OPAY_RELAY_TOPICS];
    unsigned              ntopics;
    opay_kafka_opaque_t   opaque;
    int                   kafka_fd;        /* the producer has something */
    int                   notify_fd;
    int                   broken;          /* the producer must be replaced */
    unsigned              failures;        /* of producers in a row */

    uint64_t              high;            /* largest id read */
    opay_gaps_t           gaps;
    opay_gaps_t           abandoned;       /* gaps given up, the latest */
    opay_seen_t          *seen;
    opay_relay_slot_t     window[OPAY_RELAY_WINDOW];
    uint64_t              tail;            /* first slot not delivered */
    uint64_t              head;            /* next slot */

    uint64_t              saved;           /* position of the checkpoint */
    int                   dirty;           /* there may be more to save */
    int64_t               saved_at;        /* monotonic, as all below */
    int64_t               poll_at;
    int64_t               check_at;
} opay_relay_t;


/* opay_relay_leader.c; OPAY_ERROR: logged */

/* 1: this process leads now; 0: another one does; OPAY_ERROR */
int opay_relay_acquire(opay_relay_t *r);

/* Does our connection still hold the lock?  1, 0 */
int opay_relay_holds(opay_relay_t *r);
void opay_relay_release(opay_relay_t *r);

/* Reads high and gaps from the checkpoint; raise: begin a new epoch. */
int opay_relay_load(opay_relay_t *r, int raise);

/* 0: fenced, another epoch has begun; 1: written; OPAY_ERROR */
int opay_relay_save(opay_relay_t *r);

/* Counts and logs a failed statement. */
void opay_relay_db_failed(opay_relay_t *r, opay_db_t *db, opay_db_rc_t rc,
    const char *what);


/* opay_relay_read.c */

int opay_relay_texts(opay_relay_t *r);
void opay_relay_texts_free(opay_relay_t *r);

/*
 * The next events in the order to publish, in the arena.  *more: there may
 * be more at once.
 */
int opay_relay_read(opay_relay_t *r, opay_arena_t *a,
    opay_relay_event_t **events, size_t *n, int *more);

/* Events of ev's aggregate with versions between last and ev's. */
int opay_relay_read_between(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev, uint32_t last, opay_relay_event_t **events,
    size_t *n);

/* id of one version of ev's aggregate; 0: there is none */
int opay_relay_read_id(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev, uint32_t version, uint64_t *id);

/* Gives up gaps that are old and that no transaction can fill any more. */
int opay_relay_expire(opay_relay_t *r);

/* How far behind the store is; into the state. */
int opay_relay_measure(opay_relay_t *r);


/* opay_relay_publish.c */

int opay_relay_producer_start(opay_relay_t *r);
void opay_relay_producer_stop(opay_relay_t *r);

/* Runs the producer's callbacks. */
void opay_relay_serve(opay_relay_t *r);

/* Takes events in order: gaps, versions, producer, window. */
int opay_relay_take(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *events, size_t n);

/* Up to which id everything is acknowledged, but the gaps. */
uint64_t opay_relay_position(const opay_relay_t *r);

/* Forgets what is in the window; reports about it will be ignored. */
void opay_relay_forget(opay_relay_t *r);


#endif /* OPAY_RELAY_H_INCLUDED */
