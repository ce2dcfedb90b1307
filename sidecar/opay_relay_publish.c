
/*
 * opay_relay_publish: the producer, the window, gaps and versions.
 *
 * DESIGN
 *
 * Slots of the window are numbered for ever; the number travels through
 * librdkafka as the message's opaque.  After opay_relay_forget() reports
 * with lower numbers belong to nobody and are ignored, so a producer that is
 * being replaced may report as late as it likes.
 *
 * message.timeout.ms is infinite and the producer gapless: it never skips an
 * event and goes on with the next.  When it cannot go on, it is replaced and
 * the relay starts from the checkpoint.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include "opay_event.h"
#include "opay_relay.h"


#define opay_relay_slot(r, seq)  (&(r)->window[(seq) % OPAY_RELAY_WINDOW])

static const char  opay_relay_infinite[] = "0";


static void
opay_relay_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *data)
{
    uint64_t              seq;
    opay_relay_t         *r;
    opay_relay_slot_t    *slot;
    opay_kafka_opaque_t  *o;

    (void) rk;
    o = data;
    r = o->owner;
    seq = (uint64_t) (uintptr_t) msg->_private;

    if (seq < r->tail || seq >= r->head) {
        return;
    }

    if (msg->err) {
        atomic_fetch_add(&r->state->produce_errors, 1);

        if (!r->broken) {
            opay_log(OPAY_LOG_ERROR, "relay: event not delivered: %s",
                     rd_kafka_err2str(msg->err));
        }

        r->broken = 1;
        return;
    }

    slot = opay_relay_slot(r, seq);
    slot->delivered = 1;
    r->dirty = 1;
    r->failures = 0;

    atomic_fetch_add(&r->state->published, 1);
    opay_hist_add(&r->state->publish_delay,
                  opay_now_ms() - slot->created_at);

    while (r->tail < r->head && opay_relay_slot(r, r->tail)->delivered) {
        r->tail++;
    }

    atomic_store(&r->state->inflight, r->head - r->tail);
}


/* NULL: unknown.  Made ahead: a new topic waits up to a second. */
static rd_kafka_topic_t *
opay_relay_topic(opay_relay_t *r, const char *name)
{
    unsigned  i;

    for (i = 0; i < r->ntopics; i++) {
        if (strcmp(rd_kafka_topic_name(r->topics[i]), name) == 0) {
            return r->topics[i];
        }
    }

    return NULL;
}


static int
opay_relay_topics(opay_relay_t *r)
{
    size_t                    i, n;
    rd_kafka_topic_t         *topic;
    const opay_event_info_t  *table;

    table = opay_event_table(&n);

    for (i = 0; i < n; i++) {
        if (opay_relay_topic(r, table[i].topic)) {
            continue;
        }

        topic = r->ntopics < OPAY_RELAY_TOPICS
                    ? rd_kafka_topic_new(r->rk, table[i].topic, NULL) : NULL;

        if (topic == NULL) {
            opay_log(OPAY_LOG_ALERT, "relay: cannot use the topic %s",
                     table[i].topic);
            return OPAY_ERROR;
        }

        r->topics[r->ntopics++] = topic;
    }

    return OPAY_OK;
}


int
opay_relay_producer_start(opay_relay_t *r)
{
    char               err[512];
    uint64_t           one;
    rd_kafka_conf_t   *kconf;
    rd_kafka_queue_t  *queue;

    r->opaque.state = r->state;
    r->opaque.broker = &r->state->relay_broker;
    r->opaque.owner = r;

    kconf = opay_kafka_conf(r->conf, &r->opaque, err, sizeof(err));
    if (kconf == NULL) {
        opay_log(OPAY_LOG_ALERT, "relay: %s", err);
        return OPAY_ERROR;
    }

    rd_kafka_conf_set_dr_msg_cb(kconf, opay_relay_report);

    r->rk = opay_kafka_producer(kconf, opay_relay_infinite);
    if (r->rk == NULL) {
        return OPAY_ERROR;
    }

    if (opay_relay_topics(r) != OPAY_OK) {
        opay_relay_producer_stop(r);
        return OPAY_ERROR;
    }

    one = 1;
    queue = rd_kafka_queue_get_main(r->rk);
    rd_kafka_queue_io_event_enable(queue, r->kafka_fd, &one, sizeof(one));
    rd_kafka_queue_destroy(queue);
    r->broken = 0;

    return OPAY_OK;
}


void
opay_relay_producer_stop(opay_relay_t *r)
{
    if (r->rk == NULL) {
        return;
    }

    (void) rd_kafka_purge(r->rk, RD_KAFKA_PURGE_F_QUEUE
                                 |RD_KAFKA_PURGE_F_INFLIGHT);
    opay_relay_serve(r);

    while (r->ntopics) {
        rd_kafka_topic_destroy(r->topics[--r->ntopics]);
    }

    rd_kafka_destroy(r->rk);
    r->rk = NULL;
}


void
opay_relay_serve(opay_relay_t *r)
{
    char      text[256];
    uint64_t  n;

    if (r->rk == NULL) {
        return;
    }

    /* the event is raised when the queue ceases to be empty: empty it */
    if (read(r->kafka_fd, &n, sizeof(n)) == -1) {
        n = 0;
    }

    while (rd_kafka_poll(r->rk, 0) > 0) { /* void */ }

    if (!r->broken && rd_kafka_fatal_error(r->rk, text, sizeof(text))) {
        opay_log(OPAY_LOG_ERROR, "relay: fatal producer error: %s", text);
        r->broken = 1;
    }
}


void
opay_relay_forget(opay_relay_t *r)
{
    r->tail = r->head;
    atomic_store(&r->state->inflight, 0);
}


uint64_t
opay_relay_position(const opay_relay_t *r)
{
    uint64_t                  seq, position;
    const opay_relay_slot_t  *slot;

    position = r->high;

    for (seq = r->tail; seq < r->head; seq++) {
        slot = opay_relay_slot(r, seq);

        if (!slot->delivered && slot->id <= position) {
            position = slot->id - 1;
        }
    }

    return position;
}


static int
opay_relay_header(rd_kafka_headers_t *h, const char *name, const char *value,
    size_t len)
{
    return rd_kafka_header_add(h, name, -1, value, (ssize_t) len)
           == RD_KAFKA_RESP_ERR_NO_ERROR ? OPAY_OK : OPAY_ERROR;
}


/* CloudEvents 1.0, Kafka binding, binary mode */
static rd_kafka_headers_t *
opay_relay_headers(opay_relay_t *r, const opay_relay_event_t *ev,
    const char *agg_type, const char *key)
{
    char                 id[OPAY_EVENT_ID_SIZE], source[64], version[16];
    char                 subject[OPAY_UUID_TEXT + 1];
    char                 time[OPAY_TIME_TEXT + 1];
    rd_kafka_headers_t  *h;

    (void) opay_event_id(agg_type, &ev->agg_id, ev->version, id);
    (void) snprintf(source, sizeof(source), "/opay/%s", r->conf->service);
    (void) snprintf(version, sizeof(version), "%u", ev->version);
    (void) opay_uuid_format(&ev->agg_id, subject);
    (void) opay_time_format(ev->created_at, time);

    h = rd_kafka_headers_new(10);
    if (h == NULL) {
        return NULL;
    }

    if (opay_relay_header(h, "ce_specversion", "1.0", 3) != OPAY_OK
        || opay_relay_header(h, "ce_id", id, strlen(id)) != OPAY_OK
        || opay_relay_header(h, "ce_source", source, strlen(source))
           != OPAY_OK
        || opay_relay_header(h, "ce_type", ev->type.data, ev->type.len)
           != OPAY_OK
        || opay_relay_header(h, "ce_subject", subject, OPAY_UUID_TEXT)
           != OPAY_OK
        || opay_relay_header(h, "ce_time", time, OPAY_TIME_TEXT) != OPAY_OK
        || opay_relay_header(h, "ce_partitionkey", key, OPAY_UUID_TEXT)
           != OPAY_OK
        || opay_relay_header(h, "ce_sequence", version, strlen(version))
           != OPAY_OK
        || (ev->traceparent.data
            && opay_relay_header(h, "traceparent", ev->traceparent.data,
                                 ev->traceparent.len) != OPAY_OK)
        || opay_relay_header(h, "content-type", "application/json", 16)
           != OPAY_OK)
    {
        rd_kafka_headers_destroy(h);
        return NULL;
    }

    return h;
}


/* Waits for room in the window, running the producer's callbacks. */
static int
opay_relay_room(opay_relay_t *r)
{
    while (r->head - r->tail == OPAY_RELAY_WINDOW) {
        if (r->broken || opay_sidecar_stopping()) {
            return OPAY_ERROR;
        }

        (void) rd_kafka_poll(r->rk, 100);
        opay_relay_serve(r);
    }

    return OPAY_OK;
}


/*
 * The library keeps a copy of what it is given, so the arena of the batch
 * may go before the acknowledgement comes.
 */
static int
opay_relay_publish(opay_relay_t *r, const opay_relay_event_t *ev)
{
    char                      key[OPAY_UUID_TEXT + 1], agg_type[17];
    opay_relay_slot_t        *slot;
    rd_kafka_topic_t         *topic;
    rd_kafka_headers_t       *h;
    rd_kafka_resp_err_t       err;
    const opay_event_info_t  *info;

    info = opay_event_find(ev->type);
    topic = info ? opay_relay_topic(r, info->topic) : NULL;

    if (topic == NULL || ev->agg_type.len > 16) {
        opay_log(OPAY_LOG_ALERT, "relay: event %llu has the unknown type "
                 "\"%.*s\": publishing waits for a newer sidecar",
                 (unsigned long long) ev->id, (int) ev->type.len,
                 ev->type.data);
        r->broken = 1;
        return OPAY_ERROR;
    }

    if (opay_relay_room(r) != OPAY_OK) {
        return OPAY_ERROR;
    }

    memcpy(agg_type, ev->agg_type.data, ev->agg_type.len);
    agg_type[ev->agg_type.len] = '\0';
    (void) opay_uuid_format(&ev->key, key);

    h = opay_relay_headers(r, ev, agg_type, key);
    if (h == NULL) {
        return OPAY_ERROR;
    }

    slot = opay_relay_slot(r, r->head);
    slot->id = ev->id;
    slot->created_at = ev->created_at;
    slot->delivered = 0;

    err = rd_kafka_producev(r->rk, RD_KAFKA_V_RKT(topic),
              RD_KAFKA_V_KEY(key, OPAY_UUID_TEXT),
              RD_KAFKA_V_VALUE((void *) ev->data.data, ev->data.len),
              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
              RD_KAFKA_V_HEADERS(h),
              RD_KAFKA_V_OPAQUE((void *) (uintptr_t) r->head),
              RD_KAFKA_V_END);

    if (err) {
        rd_kafka_headers_destroy(h);
        opay_log(OPAY_LOG_ERROR, "relay: event %llu refused by the "
                 "producer: %s", (unsigned long long) ev->id,
                 rd_kafka_err2str(err));
        atomic_fetch_add(&r->state->produce_errors, 1);
        r->broken = 1;
        return OPAY_ERROR;
    }

    r->head++;
    r->dirty = 1;
    atomic_store(&r->state->inflight, r->head - r->tail);

    return OPAY_OK;
}


/* Was the id handed to the producer, as far as is known? */
static int
opay_relay_done(opay_relay_t *r, uint64_t id)
{
    return id <= r->high && !opay_gaps_has(&r->gaps, id)
           && !opay_gaps_has(&r->abandoned, id);
}


/* Publishes the versions between last and ev's, which were not seen. */
static int
opay_relay_backfill(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev, uint32_t last)
{
    char                 id[OPAY_UUID_TEXT + 1];
    size_t               i, n;
    opay_relay_event_t  *events;

    if (opay_relay_read_between(r, a, ev, last, &events, &n) != OPAY_OK) {
        return OPAY_ERROR;
    }

    (void) opay_uuid_format(&ev->agg_id, id);

    if (n == ev->version - last - 1) {
        opay_log(OPAY_LOG_WARN, "relay: versions %u..%u of %s were missed: "
                 "publishing them now", last + 1, ev->version - 1, id);

    } else {
        opay_log(OPAY_LOG_ALERT, "relay: the event store has only %zu of "
                 "versions %u..%u of %s", n, last + 1, ev->version - 1, id);
    }

    for (i = 0; i < n; i++) {
        if (opay_gaps_take(&r->gaps, events[i].id) == OPAY_ERROR
            || opay_gaps_take(&r->abandoned, events[i].id) == OPAY_ERROR
            || opay_relay_publish(r, &events[i]) != OPAY_OK)
        {
            return OPAY_ERROR;
        }

        atomic_fetch_add(&r->state->backfilled, 1);
    }

    return OPAY_OK;
}


/* The aggregate is not in the cache: ask which versions are behind us. */
static int
opay_relay_cold(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev)
{
    uint32_t  last;
    uint64_t  id;

    for (last = ev->version - 1; last > 0; last--) {
        if (opay_relay_read_id(r, a, ev, last, &id) != OPAY_OK) {
            return OPAY_ERROR;
        }

        if (id && opay_relay_done(r, id)) {
            break;
        }
    }

    if (last == ev->version - 1) {
        return OPAY_OK;
    }

    return opay_relay_backfill(r, a, ev, last);
}


/* 1: publish ev; 0: it has been published already; OPAY_ERROR */
static int
opay_relay_check(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev)
{
    int       rc;
    uint32_t  last;

    last = opay_seen_get(r->seen, ev->agg_type, &ev->agg_id);

    if (last && ev->version <= last) {
        return 0;
    }

    if (ev->version <= 1 || (last && ev->version == last + 1)) {
        return 1;
    }

    rc = last ? opay_relay_backfill(r, a, ev, last)
              : opay_relay_cold(r, a, ev);

    return rc == OPAY_OK ? 1 : OPAY_ERROR;
}


/* Moves high over the id, or fills a gap.  0: it was seen before. */
static int
opay_relay_place(opay_relay_t *r, uint64_t id)
{
    r->dirty = 1;

    if (id <= r->high) {
        return opay_gaps_take(&r->gaps, id);
    }

    if (id > r->high + 1
        && opay_gaps_add(&r->gaps, r->high + 1, id - 1, opay_now_ms())
           != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    r->high = id;

    return 1;
}


int
opay_relay_take(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *events, size_t n)
{
    int     rc;
    size_t  i;

    for (i = 0; i < n; i++) {
        rc = opay_relay_place(r, events[i].id);

        if (rc == 1) {
            rc = opay_relay_check(r, a, &events[i]);
        }

        if (rc == 1) {
            rc = opay_relay_publish(r, &events[i]);

            if (rc == OPAY_OK) {
                opay_seen_put(r->seen, events[i].agg_type,
                              &events[i].agg_id, events[i].version);
            }
        }

        if (rc == OPAY_ERROR) {
            return OPAY_ERROR;
        }
    }

    atomic_store(&r->state->gaps, opay_gaps_count(&r->gaps));

    return OPAY_OK;
}
