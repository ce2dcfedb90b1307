
/*
 * opay_sub: the subscriber, Kafka -> service.
 *
 * DESIGN
 *
 * One thread owns all of opay_sub_t.  It takes up to OPAY_SUB_BATCH messages
 * from the consumer, in order per partition, and brings them through these
 * steps before it takes more:
 *
 *   1  malformed messages are told apart (opay_sub_message.c)
 *   2  events whose key is parked are set aside (opay_sub_parked.c)
 *   3  the rest is POSTed to the service in one request (opay_sub_post.c)
 *   4  refused and malformed ones are copied to the dead-letter topic
 *      (opay_sub_dlt.c)
 *   5  refused ones, and those behind a parked one, are parked
 *   6  the offsets are committed
 *
 * A step that fails for now (service, database or broker away) leaves the
 * batch where it is: partitions are paused, the consumer is still polled,
 * and the batch is tried again after a while.  What was done before the
 * failure is done again: the service drops duplicates by version, parked
 * rows by position; only a dead-letter copy can come twice.
 *
 * A parked key holds back all its events, whatever their aggregate.  So one
 * request never has events of two aggregates of a key: had the first been
 * refused, the second would have passed it.  A parked key is tried again with
 * growing pauses, in order, by the owner of the partition.  Nothing is shared
 * with other threads but the state and the list of instances.
 */

#ifndef OPAY_SUB_H_INCLUDED
#define OPAY_SUB_H_INCLUDED

#include <curl/curl.h>

#include "opay_sidecar.h"


#define OPAY_SUB_BATCH  100                /* events per request */
#define OPAY_SUB_BODY   1000000            /* bytes per request */
#define OPAY_SUB_KEY    64                 /* parked_events.pkey */


typedef struct {
    rd_kafka_message_t    *msg;            /* owned; NULL: a parked row */
    uint64_t               row;            /* id of the parked row */
    int64_t                attempts;
    opay_str_t             id;             /* ce_id */
    opay_str_t             aggregate;      /* ce_id without the version */
    uint32_t               version;
    opay_str_t             key;
    opay_str_t             envelope;       /* the JSON that is POSTed */
    int                    outcome;        /* opay_delivery_e, -1: not yet */
    const char            *reason;         /* of an outcome that is refused */
    int                    copied;         /* to the dead-letter topic */
} opay_sub_item_t;


typedef struct {
    opay_sidecar_conf_t   *conf;
    opay_sidecar_state_t  *state;
    struct opay_target_s  *target;
    opay_db_t             *db;

    rd_kafka_t                       *rk;
    opay_kafka_opaque_t               opaque;
    rd_kafka_topic_partition_list_t  *assigned;    /* NULL: nothing */

    rd_kafka_t            *dlt;            /* made when first needed */
    opay_kafka_opaque_t    dlt_opaque;
    _Atomic int            dlt_broker;
    int                    dlt_failed;     /* in this round, for now */

    CURL                  *curl;
    struct curl_slist     *headers;
    char                   peer[64];       /* instance in use */
    int                    peer_failed;

    opay_sub_item_t       *items;          /* the batch, in order */
    size_t                 n;
    size_t                 size;
    opay_arena_t          *arena;          /* what the items point to */
    size_t                 chunk;          /* shrinks when a body is refused */

    unsigned               failures;       /* in a row */
    int64_t                retry_at;       /* monotonic ms */
    int                    paused;
    int64_t                redrive_at;
    int64_t                count_at;
} opay_sub_t;


/* opay_sub_message.c: fills all but msg; OPAY_ERROR: out of memory */
int opay_sub_parse(opay_arena_t *a, opay_sub_item_t *item);

/* Sets aggregate and version from a valid id. */
void opay_sub_identify(opay_sub_item_t *item);


/* opay_sub_post.c */

int opay_sub_post_create(opay_sub_t *sub);
void opay_sub_post_destroy(opay_sub_t *sub);

/*
 * POSTs the n items whose outcome is open and sets their outcomes.  Any
 * result but OPAY_POST_OK leaves them as they are; logged.
 */
opay_post_e opay_sub_post(opay_sub_t *sub, opay_arena_t *a,
    opay_sub_item_t *items, size_t n);


/* opay_sub_dlt.c: OPAY_ERROR: not now, try again */
int opay_sub_dlt(opay_sub_t *sub, opay_sub_item_t *items, size_t n);
void opay_sub_dlt_destroy(opay_sub_t *sub);


/* opay_sub_parked.c: OPAY_ERROR: the database failed, logged */

/* Sets OPAY_DELIVERY_BEHIND on open items whose key is parked. */
int opay_sub_parked_mark(opay_sub_t *sub, opay_arena_t *a,
    opay_sub_item_t *items, size_t n);

/* Parks what is refused or behind. */
int opay_sub_parked_store(opay_sub_t *sub, opay_sub_item_t *items, size_t n);

/* Figures for the metrics. */
int opay_sub_parked_count(opay_sub_t *sub);

/* Tries due keys of the assigned partitions; OPAY_ERROR: back off. */
int opay_sub_redrive(opay_sub_t *sub);


#endif /* OPAY_SUB_H_INCLUDED */
