
/*
 * opay_sub: the subscriber's loop, its consumer and its batch.  The design
 * is in the header.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_sub.h"


#define OPAY_SUB_POLL     100              /* ms, of an idle loop */
#define OPAY_SUB_REDRIVE  250              /* ms between looks */
#define OPAY_SUB_COUNT    5000


static void
opay_sub_resume(opay_sub_t *sub)
{
    sub->failures = 0;
    sub->retry_at = 0;
    atomic_store(&sub->state->backing_off, 0);

    if (sub->paused && sub->assigned) {
        (void) rd_kafka_resume_partitions(sub->rk, sub->assigned);
    }

    sub->paused = 0;
}


/* Something is away: no new messages, and the next try a little later. */
static void
opay_sub_back_off(opay_sub_t *sub)
{
    int64_t  wait;

    wait = opay_sidecar_backoff(sub->conf->retry_min, sub->conf->retry_max,
                                sub->failures);

    if (sub->failures++ == 0) {
        opay_log(OPAY_LOG_WARN, "subscriber: deliveries wait");
    }

    sub->retry_at = opay_mono_ms() + wait;
    atomic_store(&sub->state->backing_off, 1);

    if (!sub->paused && sub->assigned) {
        (void) rd_kafka_pause_partitions(sub->rk, sub->assigned);
    }

    sub->paused = 1;
}


static void
opay_sub_drop(opay_sub_t *sub, size_t i, size_t n)
{
    size_t  k;

    for (k = i; k < i + n; k++) {
        rd_kafka_message_destroy(sub->items[k].msg);
    }

    memmove(&sub->items[i], &sub->items[i + n],
            (sub->n - i - n) * sizeof(opay_sub_item_t));
    sub->n -= n;

    if (sub->n == 0 && sub->arena) {
        opay_arena_destroy(sub->arena);
        sub->arena = NULL;
    }
}


/* The new owner of a partition starts at the committed offset. */
static void
opay_sub_revoked(opay_sub_t *sub, rd_kafka_topic_partition_list_t *parts)
{
    size_t               i;
    rd_kafka_message_t  *msg;

    for (i = 0; i < sub->n; /* void */ ) {
        msg = sub->items[i].msg;

        if (rd_kafka_topic_partition_list_find(parts,
                rd_kafka_topic_name(msg->rkt), msg->partition))
        {
            opay_sub_drop(sub, i, 1);

        } else {
            i++;
        }
    }
}


static void
opay_sub_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *data)
{
    opay_sub_t           *sub;
    opay_kafka_opaque_t  *o;

    o = data;
    sub = o->owner;

    if (sub->assigned) {
        rd_kafka_topic_partition_list_destroy(sub->assigned);
        sub->assigned = NULL;
    }

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        (void) rd_kafka_assign(rk, parts);
        sub->assigned = rd_kafka_topic_partition_list_copy(parts);
        atomic_fetch_add(&sub->state->rebalances, 1);

        if (sub->paused) {
            (void) rd_kafka_pause_partitions(rk, sub->assigned);
        }

    } else {
        opay_sub_revoked(sub, parts);
        (void) rd_kafka_assign(rk, NULL);
    }

    atomic_store(&sub->state->assigned,
                 sub->assigned ? sub->assigned->cnt : 0);
    opay_log(OPAY_LOG_NOTICE, "subscriber: %d partitions assigned",
             sub->assigned ? sub->assigned->cnt : 0);
}


static void
opay_sub_committed(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *offsets, void *data)
{
    opay_kafka_opaque_t  *o;

    (void) rk;
    (void) offsets;
    o = data;

    if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        atomic_fetch_add(&o->state->commit_errors, 1);
        opay_log(OPAY_LOG_INFO, "subscriber: offsets not committed: %s",
                 rd_kafka_err2str(err));
    }
}


static int
opay_sub_append(opay_sub_t *sub, rd_kafka_message_t *msg)
{
    size_t            size;
    opay_sub_item_t  *items;

    if (sub->arena == NULL) {
        sub->arena = opay_arena_create(65536);
        if (sub->arena == NULL) {
            return OPAY_ERROR;
        }
    }

    if (sub->n == sub->size) {
        size = sub->size ? sub->size * 2 : 128;

        items = realloc(sub->items, size * sizeof(opay_sub_item_t));
        if (items == NULL) {
            return OPAY_ERROR;
        }

        sub->items = items;
        sub->size = size;
    }

    memset(&sub->items[sub->n], 0, sizeof(opay_sub_item_t));
    sub->items[sub->n].msg = msg;

    if (opay_sub_parse(sub->arena, &sub->items[sub->n]) != OPAY_OK) {
        return OPAY_ERROR;
    }

    sub->n++;

    return OPAY_OK;
}


/* One call into the consumer; also serves rebalances.  0: nothing came */
static int
opay_sub_poll(opay_sub_t *sub, int ms)
{
    int                  fatal;
    char                 text[256];
    rd_kafka_message_t  *msg;

    msg = rd_kafka_consumer_poll(sub->rk, ms);
    if (msg == NULL) {
        return 0;
    }

    if (msg->err) {
        fatal = rd_kafka_fatal_error(sub->rk, text, sizeof(text)) != 0;
        opay_log(fatal ? OPAY_LOG_ALERT : OPAY_LOG_INFO, "subscriber: %s",
                 rd_kafka_message_errstr(msg));
        rd_kafka_message_destroy(msg);

        /* such as another process with the same instance_id */
        if (fatal) {
            opay_sidecar_fail(sub->state);
        }

        return !fatal;
    }

    if (opay_sub_append(sub, msg) == OPAY_OK) {
        return 1;
    }

    /* out of memory: to be read again, from this very message */
    opay_log(OPAY_LOG_ALERT, "subscriber: out of memory");
    (void) rd_kafka_seek(msg->rkt, msg->partition, msg->offset, 1000);
    rd_kafka_message_destroy(msg);

    return 0;
}


static void
opay_sub_collect(opay_sub_t *sub)
{
    int  ms;

    ms = OPAY_SUB_POLL;

    if (sub->n) {
        /* the batch waits: serve the consumer until it may be tried */
        if (sub->retry_at - opay_mono_ms() < ms) {
            ms = (int) (sub->retry_at - opay_mono_ms());
        }

        if (ms > 0) {
            (void) opay_sub_poll(sub, ms);
        }

        return;
    }

    while (sub->n < OPAY_SUB_BATCH && opay_sub_poll(sub, ms)) {
        ms = 0;
    }
}


/* Is there an event of another aggregate of the same key before item i? */
static int
opay_sub_mixed(const opay_sub_item_t *items, size_t i)
{
    size_t  j;

    for (j = 0; j < i; j++) {
        if (items[i].key.len && opay_str_eq(items[j].key, items[i].key)
            && !opay_str_eq(items[j].aggregate, items[i].aggregate))
        {
            return 1;
        }
    }

    return 0;
}


/* How many events of the batch go into one request. */
static size_t
opay_sub_chunk(opay_sub_t *sub)
{
    size_t  i, size;

    size = 0;

    for (i = 0; i < sub->n && i < sub->chunk; i++) {
        size += sub->items[i].envelope.len + 1;

        if (i && (size > OPAY_SUB_BODY || opay_sub_mixed(sub->items, i))) {
            break;
        }
    }

    return i;
}


static void
opay_sub_commit(opay_sub_t *sub, size_t n)
{
    size_t                            i;
    rd_kafka_message_t               *msg;
    rd_kafka_topic_partition_t       *p;
    rd_kafka_topic_partition_list_t  *offsets;

    offsets = rd_kafka_topic_partition_list_new(16);

    for (i = 0; i < n; i++) {
        msg = sub->items[i].msg;

        p = rd_kafka_topic_partition_list_find(offsets,
                rd_kafka_topic_name(msg->rkt), msg->partition);

        if (p == NULL) {
            p = rd_kafka_topic_partition_list_add(offsets,
                    rd_kafka_topic_name(msg->rkt), msg->partition);
        }

        p->offset = msg->offset + 1;
    }

    /* a commit that fails costs duplicates, nothing else */
    (void) rd_kafka_commit(sub->rk, offsets, 1);
    rd_kafka_topic_partition_list_destroy(offsets);
}


/* 1: done; 0: a body was refused, smaller next time; OPAY_ERROR: later */
static int
opay_sub_deliver(opay_sub_t *sub, opay_arena_t *a, size_t n)
{
    opay_post_e  post;

    post = opay_sub_post(sub, a, sub->items, n);

    if (post == OPAY_POST_OK) {
        return 1;
    }

    if (post != OPAY_POST_REFUSED) {
        return OPAY_ERROR;
    }

    if (n > 1) {
        sub->chunk = n / 2;
        return 0;
    }

    sub->items[0].outcome = OPAY_DELIVERY_REJECTED;
    sub->items[0].reason = "the service cannot read the event";

    return 1;
}


static int
opay_sub_step(opay_sub_t *sub)
{
    int            rc;
    size_t         i, n;
    opay_arena_t  *a;

    a = sub->arena;
    n = opay_sub_chunk(sub);

    if (opay_sub_parked_mark(sub, a, sub->items, n) != OPAY_OK) {
        return OPAY_ERROR;
    }

    rc = opay_sub_deliver(sub, a, n);

    if (rc != 1) {
        return rc;
    }

    if (opay_sub_dlt(sub, sub->items, n) != OPAY_OK
        || opay_sub_parked_store(sub, sub->items, n) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    for (i = 0; i < n; i++) {
        atomic_fetch_add(&sub->state->delivered[sub->items[i].outcome], 1);
    }

    opay_sub_commit(sub, n);
    opay_sub_drop(sub, 0, n);

    if (sub->chunk < OPAY_SUB_BATCH) {
        sub->chunk = sub->chunk * 2 < OPAY_SUB_BATCH ? sub->chunk * 2
                                                     : OPAY_SUB_BATCH;
    }

    return OPAY_OK;
}


static void
opay_sub_chores(opay_sub_t *sub)
{
    int64_t  now;

    if (sub->dlt) {
        (void) rd_kafka_poll(sub->dlt, 0);
    }

    now = opay_mono_ms();

    if (now < sub->retry_at) {
        return;
    }

    if (now >= sub->count_at) {
        sub->count_at = now + OPAY_SUB_COUNT;
        (void) opay_sub_parked_count(sub);
    }

    if (now >= sub->redrive_at) {
        sub->redrive_at = now + OPAY_SUB_REDRIVE;

        if (opay_sub_redrive(sub) != OPAY_OK) {
            opay_sub_back_off(sub);

        } else if (sub->n == 0 && sub->failures) {
            opay_sub_resume(sub);
        }
    }
}


static void
opay_sub_turn(opay_sub_t *sub)
{
    int  rc;

    atomic_store(&sub->state->sub_beat, opay_mono_ms());

    opay_sub_collect(sub);

    while (sub->n && opay_mono_ms() >= sub->retry_at
           && !opay_sidecar_stopping())
    {
        rc = opay_sub_step(sub);

        if (rc == OPAY_ERROR) {
            opay_sub_back_off(sub);
            break;
        }

        if (sub->failures) {
            opay_log(OPAY_LOG_NOTICE, "subscriber: deliveries go on");
            opay_sub_resume(sub);
        }
    }

    opay_sub_chores(sub);
}


static rd_kafka_conf_t *
opay_sub_kafka_conf(opay_sub_t *sub, char *err, size_t size)
{
    size_t            i;
    char              fetch[24], session[24], beat[24];
    rd_kafka_conf_t  *kconf;

    const char *const  props[][2] = {
        { "group.id", sub->conf->group },
        { "enable.auto.commit", "false" },
        { "enable.auto.offset.store", "false" },
        { "auto.offset.reset", "earliest" },
        { "max.poll.interval.ms", "600000" },
        { "session.timeout.ms", session },
        { "heartbeat.interval.ms", beat },
        { "fetch.wait.max.ms", fetch },
        { "topic.metadata.refresh.interval.ms", "10000" },
        { "queued.min.messages", "1000" },
        { "queued.max.messages.kbytes", "16384" },
    };

    (void) snprintf(fetch, sizeof(fetch), "%lld",
                    (long long) sub->conf->fetch_wait);
    (void) snprintf(session, sizeof(session), "%lld",
                    (long long) sub->conf->session_timeout);
    (void) snprintf(beat, sizeof(beat), "%lld",
                    (long long) sub->conf->session_timeout / 4);

    kconf = opay_kafka_conf(sub->conf, &sub->opaque, err, size);
    if (kconf == NULL) {
        return NULL;
    }

    for (i = 0; i < sizeof(props) / sizeof(props[0]); i++) {
        if (rd_kafka_conf_set(kconf, props[i][0], props[i][1], err, size)
            != RD_KAFKA_CONF_OK)
        {
            goto failed;
        }
    }

    if (sub->conf->instance_id
        && rd_kafka_conf_set(kconf, "group.instance.id",
                             sub->conf->instance_id, err, size)
           != RD_KAFKA_CONF_OK)
    {
        goto failed;
    }

    rd_kafka_conf_set_rebalance_cb(kconf, opay_sub_rebalance);
    rd_kafka_conf_set_offset_commit_cb(kconf, opay_sub_committed);

    return kconf;

failed:

    rd_kafka_conf_destroy(kconf);

    return NULL;
}


static int
opay_sub_subscribe(opay_sub_t *sub)
{
    char                              err[512];
    unsigned                          i;
    rd_kafka_conf_t                  *kconf;
    rd_kafka_resp_err_t               rc;
    rd_kafka_topic_partition_list_t  *topics;

    sub->opaque.state = sub->state;
    sub->opaque.broker = &sub->state->sub_broker;
    sub->opaque.lags = 1;
    sub->opaque.owner = sub;

    kconf = opay_sub_kafka_conf(sub, err, sizeof(err));
    if (kconf == NULL) {
        opay_log(OPAY_LOG_ALERT, "subscriber: %s", err);
        return OPAY_ERROR;
    }

    sub->rk = rd_kafka_new(RD_KAFKA_CONSUMER, kconf, err, sizeof(err));
    if (sub->rk == NULL) {
        opay_log(OPAY_LOG_ALERT, "subscriber: %s", err);
        rd_kafka_conf_destroy(kconf);
        return OPAY_ERROR;
    }

    (void) rd_kafka_poll_set_consumer(sub->rk);
    topics = rd_kafka_topic_partition_list_new((int) sub->conf->ntopics);

    for (i = 0; i < sub->conf->ntopics; i++) {
        (void) rd_kafka_topic_partition_list_add(topics,
                   sub->conf->topics[i], RD_KAFKA_PARTITION_UA);
    }

    rc = rd_kafka_subscribe(sub->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);

    if (rc) {
        opay_log(OPAY_LOG_ALERT, "subscriber: cannot subscribe: %s",
                 rd_kafka_err2str(rc));
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


/*
 * Everything of librdkafka's that is still held (messages, lists) goes
 * before the handle: its destroy would wait for them for ever.
 */
static void
opay_sub_destroy(opay_sub_t *sub)
{
    if (sub->n) {
        opay_sub_drop(sub, 0, sub->n);
    }

    if (sub->rk) {
        (void) rd_kafka_consumer_close(sub->rk);

        if (sub->assigned) {
            rd_kafka_topic_partition_list_destroy(sub->assigned);
        }

        rd_kafka_destroy(sub->rk);
    }

    opay_sub_dlt_destroy(sub);
    opay_sub_post_destroy(sub);

    if (sub->db) {
        opay_db_destroy(sub->db);
    }

    free(sub->items);
}


void *
opay_sub_run(void *data)
{
    opay_sub_t       sub;
    opay_sidecar_t  *sc;

    sc = data;

    memset(&sub, 0, sizeof(sub));
    sub.conf = sc->conf;
    sub.state = sc->state;
    sub.target = sc->target;
    sub.chunk = OPAY_SUB_BATCH;
    sub.db = opay_db_create(&sc->conf->db);
    atomic_store(&sc->state->sub_on, 1);

    if (sub.db == NULL || opay_sub_post_create(&sub) != OPAY_OK
        || opay_sub_subscribe(&sub) != OPAY_OK)
    {
        opay_log(OPAY_LOG_ALERT, "subscriber: cannot start");
        opay_sidecar_fail(sub.state);

    } else {
        while (!opay_sidecar_stopping()) {
            opay_sub_turn(&sub);
        }
    }

    opay_sub_destroy(&sub);

    return NULL;
}
