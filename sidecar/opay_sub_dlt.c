
/*
 * opay_sub_dlt: copies of refused messages to <topic><dlt_suffix>.
 *
 * DESIGN
 *
 * Key, value and headers as they came, plus headers that say where from and
 * why.  The producer is made when it is first needed.  A broker that is away
 * is waited for (the batch is tried again); a topic that does not exist or
 * refuses the message is not: a refused event is in parked_events anyway and
 * a malformed one stays where it was, at the offset that is logged.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_sub.h"


#define OPAY_DLT_TIMEOUT  "5000"           /* ms, of one message */
#define OPAY_DLT_FLUSH    7000


static int
opay_dlt_transient(rd_kafka_resp_err_t err)
{
    switch (err) {

    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return 0;

    default:
        return 1;
    }
}


static void
opay_dlt_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *data)
{
    opay_sub_t           *sub;
    opay_sub_item_t      *item;
    opay_kafka_opaque_t  *o;

    (void) rk;
    o = data;
    sub = o->owner;
    item = msg->_private;

    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        item->copied = 1;
        atomic_fetch_add(&sub->state->dlt, 1);
        return;
    }

    if (opay_dlt_transient(msg->err)) {
        opay_log(OPAY_LOG_WARN, "subscriber: dead letter not delivered: %s",
                 rd_kafka_err2str(msg->err));
        sub->dlt_failed = 1;
        return;
    }

    item->copied = 1;
    atomic_fetch_add(&sub->state->dlt_errors, 1);
    opay_log(OPAY_LOG_ERROR, "subscriber: %s[%d]@%lld has no dead letter: %s",
             rd_kafka_topic_name(item->msg->rkt), item->msg->partition,
             (long long) item->msg->offset, rd_kafka_err2str(msg->err));
}


static int
opay_dlt_create(opay_sub_t *sub)
{
    char              err[512];
    rd_kafka_conf_t  *kconf;

    if (sub->dlt) {
        return OPAY_OK;
    }

    sub->dlt_opaque.state = sub->state;
    sub->dlt_opaque.broker = &sub->dlt_broker;
    sub->dlt_opaque.owner = sub;

    kconf = opay_kafka_conf(sub->conf, &sub->dlt_opaque, err, sizeof(err));
    if (kconf == NULL) {
        opay_log(OPAY_LOG_ALERT, "subscriber: %s", err);
        return OPAY_ERROR;
    }

    rd_kafka_conf_set_dr_msg_cb(kconf, opay_dlt_report);
    sub->dlt = opay_kafka_producer(kconf, OPAY_DLT_TIMEOUT);

    return sub->dlt ? OPAY_OK : OPAY_ERROR;
}


void
opay_sub_dlt_destroy(opay_sub_t *sub)
{
    if (sub->dlt) {
        rd_kafka_destroy(sub->dlt);
        sub->dlt = NULL;
    }
}


static rd_kafka_headers_t *
opay_dlt_headers(opay_sub_t *sub, opay_sub_item_t *item)
{
    char                 part[16], offset[32], time[OPAY_TIME_TEXT + 1];
    const char          *topic, *kind;
    rd_kafka_headers_t  *h, *old;

    if (rd_kafka_message_headers(item->msg, &old)
        == RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        h = rd_kafka_headers_copy(old);

    } else {
        h = rd_kafka_headers_new(7);
    }

    if (h == NULL) {
        return NULL;
    }

    topic = rd_kafka_topic_name(item->msg->rkt);
    kind = item->outcome == OPAY_DELIVERY_MALFORMED ? "malformed"
           : item->outcome == OPAY_DELIVERY_GAP ? "gap" : "rejected";

    (void) snprintf(part, sizeof(part), "%d", item->msg->partition);
    (void) snprintf(offset, sizeof(offset), "%lld",
                    (long long) item->msg->offset);
    (void) opay_time_format(opay_now_ms(), time);

    /* a header that does not fit in memory is no reason to lose the copy */
    (void) rd_kafka_header_add(h, "opay_dlt_outcome", -1, kind, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_reason", -1, item->reason, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_topic", -1, topic, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_partition", -1, part, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_offset", -1, offset, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_group", -1, sub->conf->group, -1);
    (void) rd_kafka_header_add(h, "opay_dlt_time", -1, time, -1);

    return h;
}


static int
opay_dlt_send(opay_sub_t *sub, opay_sub_item_t *item)
{
    char                  topic[256];
    rd_kafka_headers_t   *h;
    rd_kafka_resp_err_t   err;

    h = opay_dlt_headers(sub, item);
    if (h == NULL) {
        return OPAY_ERROR;
    }

    (void) snprintf(topic, sizeof(topic), "%s%s",
                    rd_kafka_topic_name(item->msg->rkt),
                    sub->conf->dlt_suffix);

    err = rd_kafka_producev(sub->dlt, RD_KAFKA_V_TOPIC(topic),
              RD_KAFKA_V_KEY(item->msg->key, item->msg->key_len),
              RD_KAFKA_V_VALUE(item->msg->payload, item->msg->len),
              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
              RD_KAFKA_V_HEADERS(h),
              RD_KAFKA_V_OPAQUE(item),
              RD_KAFKA_V_END);

    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return OPAY_OK;
    }

    rd_kafka_headers_destroy(h);

    if (!opay_dlt_transient(err)) {
        item->copied = 1;
        atomic_fetch_add(&sub->state->dlt_errors, 1);
        opay_log(OPAY_LOG_ERROR, "subscriber: no dead letter in %s: %s",
                 topic, rd_kafka_err2str(err));
        return OPAY_OK;
    }

    return OPAY_ERROR;
}


int
opay_sub_dlt(opay_sub_t *sub, opay_sub_item_t *items, size_t n)
{
    int     sent;
    char    err[256];
    size_t  i;

    sent = 0;
    sub->dlt_failed = 0;

    for (i = 0; i < n; i++) {
        if (items[i].copied || (items[i].outcome != OPAY_DELIVERY_GAP
                                && items[i].outcome != OPAY_DELIVERY_REJECTED
                                && items[i].outcome
                                   != OPAY_DELIVERY_MALFORMED))
        {
            continue;
        }

        opay_log(OPAY_LOG_WARN, "subscriber: %s[%d]@%lld to the dead letters:"
                 " %s", rd_kafka_topic_name(items[i].msg->rkt),
                 items[i].msg->partition, (long long) items[i].msg->offset,
                 items[i].reason);

        if (opay_dlt_create(sub) != OPAY_OK
            || opay_dlt_send(sub, &items[i]) != OPAY_OK)
        {
            sub->dlt_failed = 1;
            break;
        }

        sent = 1;
    }

    if (!sent) {
        return sub->dlt_failed ? OPAY_ERROR : OPAY_OK;
    }

    /* no report may come later: it would point to an item that is gone */
    if (rd_kafka_flush(sub->dlt, OPAY_DLT_FLUSH)
        != RD_KAFKA_RESP_ERR_NO_ERROR
        || rd_kafka_fatal_error(sub->dlt, err, sizeof(err)))
    {
        sub->dlt_failed = 1;
        (void) rd_kafka_purge(sub->dlt, RD_KAFKA_PURGE_F_QUEUE
                                        |RD_KAFKA_PURGE_F_INFLIGHT);
        while (rd_kafka_outq_len(sub->dlt) && rd_kafka_poll(sub->dlt, 100)) {
            /* void */
        }

        opay_sub_dlt_destroy(sub);
    }

    return sub->dlt_failed ? OPAY_ERROR : OPAY_OK;
}
