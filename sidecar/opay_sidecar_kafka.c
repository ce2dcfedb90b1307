
/*
 * opay_sidecar_kafka: what the producers and the consumer have in common.
 *
 * DESIGN
 *
 * The opaque of a handle belongs to the thread that polls it; callbacks run
 * in that thread, inside its rd_kafka_poll() or rd_kafka_consumer_poll(),
 * except the log callback, which librdkafka calls from threads of its own.
 * Whether a broker is connected is read from librdkafka's statistics: its
 * error callbacks tell when all are lost, but nothing tells the opposite.
 */

#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>

#include "opay_sidecar.h"


#define OPAY_KAFKA_STATS_MS  "1000"


int
opay_kafka_prop_check(const char *name, const char *value, char *err,
    size_t size)
{
    rd_kafka_conf_t      *conf;
    rd_kafka_conf_res_t   res;

    conf = rd_kafka_conf_new();
    res = rd_kafka_conf_set(conf, name, value, err, size);
    rd_kafka_conf_destroy(conf);

    return res == RD_KAFKA_CONF_OK ? OPAY_OK : OPAY_ERROR;
}


static void
opay_kafka_log(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf)
{
    (void) rk;

    /* "gapless is experimental", each time a producer is made */
    if (strcmp(fac, "CONFWARN") == 0) {
        opay_log(OPAY_LOG_DEBUG, "kafka: %s", buf);
        return;
    }

    /* a broker that is away is not an error of ours and comes in floods */
    opay_log(level <= 2 ? OPAY_LOG_ERROR : OPAY_LOG_INFO, "kafka: %s: %s",
             fac, buf);
}


static void
opay_kafka_error(rd_kafka_t *rk, int err, const char *reason, void *data)
{
    opay_kafka_opaque_t  *o;

    (void) rk;
    o = data;

    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (atomic_exchange(o->broker, 0)) {
            opay_log(OPAY_LOG_WARN, "kafka: no broker is connected: %s",
                     reason);
        }

        return;
    }

    opay_log(OPAY_LOG_INFO, "kafka: %s: %s", rd_kafka_err2name(err), reason);
}


static int
opay_kafka_stats_up(json_t *root)
{
    json_t      *brokers, *b;
    const char  *key, *state;

    brokers = json_object_get(root, "brokers");

    json_object_foreach(brokers, key, b) {
        state = json_string_value(json_object_get(b, "state"));

        if (state && (strcmp(state, "UP") == 0
                      || strcmp(state, "UPDATE") == 0))
        {
            return 1;
        }
    }

    return 0;
}


static void
opay_kafka_stats_lags(opay_sidecar_state_t *st, json_t *root)
{
    int          part;
    json_t      *topics, *t, *parts, *p;
    json_int_t   lag;
    const char  *name, *num;
    opay_lag_t  *l;

    topics = json_object_get(root, "topics");

    (void) pthread_mutex_lock(&st->mutex);
    st->nlags = 0;

    json_object_foreach(topics, name, t) {
        parts = json_object_get(t, "partitions");

        json_object_foreach(parts, num, p) {
            part = atoi(num);
            lag = json_integer_value(json_object_get(p, "consumer_lag"));

            if (part < 0 || lag < 0 || st->nlags == OPAY_SIDECAR_LAGS) {
                continue;
            }

            l = &st->lags[st->nlags++];
            (void) snprintf(l->topic, sizeof(l->topic), "%s", name);
            l->part = part;
            l->lag = lag;
        }
    }

    (void) pthread_mutex_unlock(&st->mutex);
}


static int
opay_kafka_stats(rd_kafka_t *rk, char *json, size_t len, void *data)
{
    int                   up;
    json_t               *root;
    opay_kafka_opaque_t  *o;

    (void) rk;
    o = data;

    root = json_loadb(json, len, 0, NULL);
    if (root == NULL) {
        return 0;
    }

    up = opay_kafka_stats_up(root);

    if (atomic_exchange(o->broker, up) != up) {
        opay_log(OPAY_LOG_NOTICE, "kafka: %s",
                 up ? "connected" : "not connected");
    }

    if (o->lags) {
        opay_kafka_stats_lags(o->state, root);
    }

    json_decref(root);

    /* 0: librdkafka frees json */
    return 0;
}


static int
opay_kafka_set(rd_kafka_conf_t *kconf, const char *name, const char *value,
    char *err, size_t size)
{
    return rd_kafka_conf_set(kconf, name, value, err, size)
           == RD_KAFKA_CONF_OK ? OPAY_OK : OPAY_ERROR;
}


rd_kafka_conf_t *
opay_kafka_conf(const opay_sidecar_conf_t *conf, opay_kafka_opaque_t *opaque,
    char *err, size_t size)
{
    unsigned          i;
    char              id[64];
    rd_kafka_conf_t  *kconf;

    kconf = rd_kafka_conf_new();
    (void) snprintf(id, sizeof(id), "opay-sidecar-%s", conf->service);

    if (opay_kafka_set(kconf, "bootstrap.servers", conf->bootstrap, err,
                       size) != OPAY_OK
        || opay_kafka_set(kconf, "client.id", id, err, size) != OPAY_OK
        || opay_kafka_set(kconf, "socket.nagle.disable", "true", err, size)
           != OPAY_OK
        || opay_kafka_set(kconf, "reconnect.backoff.max.ms", "1000", err,
                          size) != OPAY_OK
        || opay_kafka_set(kconf, "statistics.interval.ms",
                          OPAY_KAFKA_STATS_MS, err, size) != OPAY_OK
        || opay_kafka_set(kconf, "log.connection.close", "false", err, size)
           != OPAY_OK)
    {
        goto failed;
    }

    for (i = 0; i < conf->nprops; i++) {
        if (opay_kafka_set(kconf, conf->props[i].name, conf->props[i].value,
                           err, size) != OPAY_OK)
        {
            goto failed;
        }
    }

    rd_kafka_conf_set_opaque(kconf, opaque);
    rd_kafka_conf_set_log_cb(kconf, opay_kafka_log);
    rd_kafka_conf_set_error_cb(kconf, opay_kafka_error);
    rd_kafka_conf_set_stats_cb(kconf, opay_kafka_stats);

    return kconf;

failed:

    rd_kafka_conf_destroy(kconf);

    return NULL;
}


rd_kafka_t *
opay_kafka_producer(rd_kafka_conf_t *kconf, const char *message_timeout)
{
    size_t                    i;
    char                      err[512];
    rd_kafka_t               *rk;
    static const char *const  props[][2] = {
        { "enable.idempotence", "true" },
        { "enable.gapless.guarantee", "true" },
        { "acks", "all" },
        { "linger.ms", "0" },
        { "partitioner", "murmur2_random" },
        { "queue.buffering.max.messages", "100000" },
        { "topic.metadata.propagation.max.ms", "10000" },
    };

    for (i = 0; i < sizeof(props) / sizeof(props[0]); i++) {
        if (opay_kafka_set(kconf, props[i][0], props[i][1], err, sizeof(err))
            != OPAY_OK)
        {
            goto failed;
        }
    }

    if (opay_kafka_set(kconf, "message.timeout.ms", message_timeout, err,
                       sizeof(err)) != OPAY_OK)
    {
        goto failed;
    }

    rk = rd_kafka_new(RD_KAFKA_PRODUCER, kconf, err, sizeof(err));
    if (rk) {
        return rk;
    }

failed:

    opay_log(OPAY_LOG_ALERT, "kafka: cannot create a producer: %s", err);
    rd_kafka_conf_destroy(kconf);

    return NULL;
}
