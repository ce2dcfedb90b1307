
/*
 * opay-topics: waits for a broker and creates topics that are missing.
 *
 *   opay-topics -b HOST:PORT [-p PARTITIONS] [-t SECONDS] [TOPIC ...]
 *
 * Without topics it only asks for the broker's metadata.  Kafka's own tool
 * does the same, at the price of starting a JVM.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>


#define OPAY_TOPICS_MAX  64


static int64_t
opay_topics_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static int
opay_topics_wait(rd_kafka_t *rk, int64_t deadline)
{
    rd_kafka_resp_err_t              err;
    const struct rd_kafka_metadata  *md;

    do {
        err = rd_kafka_metadata(rk, 0, NULL, &md, 1000);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            int  n = md->broker_cnt;

            rd_kafka_metadata_destroy(md);

            if (n > 0) {
                return 0;
            }
        }

        usleep(50000);

    } while (opay_topics_now() < deadline);

    fprintf(stderr, "opay-topics: no broker answers: %s\n",
            rd_kafka_err2str(err));

    return 1;
}


static int
opay_topics_result(rd_kafka_event_t *ev)
{
    int                                    rc;
    size_t                                 i, n;
    rd_kafka_resp_err_t                    err;
    const rd_kafka_topic_result_t        **r;
    const rd_kafka_CreateTopics_result_t  *res;

    if (rd_kafka_event_error(ev)) {
        fprintf(stderr, "opay-topics: %s\n", rd_kafka_event_error_string(ev));
        return 1;
    }

    rc = 0;
    res = rd_kafka_event_CreateTopics_result(ev);
    r = rd_kafka_CreateTopics_result_topics(res, &n);

    for (i = 0; i < n; i++) {
        err = rd_kafka_topic_result_error(r[i]);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR
            || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        {
            printf("%s %s\n", rd_kafka_topic_result_name(r[i]),
                   err ? "exists" : "created");
            continue;
        }

        fprintf(stderr, "opay-topics: %s: %s\n",
                rd_kafka_topic_result_name(r[i]),
                rd_kafka_topic_result_error_string(r[i]));
        rc = 1;
    }

    return rc;
}


static int
opay_topics_create(rd_kafka_t *rk, char **names, int n, int partitions,
    int timeout)
{
    int                   i, rc;
    char                  errstr[256];
    rd_kafka_queue_t     *q;
    rd_kafka_event_t     *ev;
    rd_kafka_NewTopic_t  *t[OPAY_TOPICS_MAX];

    if (n > OPAY_TOPICS_MAX) {
        fprintf(stderr, "opay-topics: %d topics at most\n", OPAY_TOPICS_MAX);
        return 1;
    }

    for (i = 0; i < n; i++) {
        t[i] = rd_kafka_NewTopic_new(names[i], partitions, 1, errstr,
                                     sizeof(errstr));
        if (t[i] == NULL) {
            fprintf(stderr, "opay-topics: %s: %s\n", names[i], errstr);
            return 1;
        }
    }

    q = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, t, n, NULL, q);
    ev = rd_kafka_queue_poll(q, timeout);

    if (ev == NULL) {
        fprintf(stderr, "opay-topics: the broker did not answer\n");
        rc = 1;

    } else {
        rc = opay_topics_result(ev);
        rd_kafka_event_destroy(ev);
    }

    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy_array(t, n);

    return rc;
}


/* Is the topic there already?  Some brokers have no CreateTopics at all. */
static int
opay_topics_exists(rd_kafka_t *rk, const char *name)
{
    int                              i, found;
    const struct rd_kafka_metadata  *md;

    if (rd_kafka_metadata(rk, 1, NULL, &md, 5000)
        != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        return 0;
    }

    found = 0;

    for (i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0
            && md->topics[i].partition_cnt > 0)
        {
            found = 1;
        }
    }

    rd_kafka_metadata_destroy(md);

    return found;
}


static int
opay_topics_run(rd_kafka_t *rk, char **names, int n, int partitions,
    int timeout)
{
    int      i, missing;
    int64_t  deadline;

    deadline = opay_topics_now() + timeout;

    if (opay_topics_wait(rk, deadline) != 0) {
        return 1;
    }

    missing = 0;

    for (i = 0; i < n; i++) {
        if (!opay_topics_exists(rk, names[i])) {
            names[missing++] = names[i];
        }
    }

    if (missing == 0) {
        return 0;
    }

    return opay_topics_create(rk, names, missing, partitions, 30000);
}


int
main(int argc, char **argv)
{
    int               c, rc, partitions, timeout;
    char              errstr[256];
    rd_kafka_t       *rk;
    const char       *brokers;
    rd_kafka_conf_t  *conf;

    brokers = NULL;
    partitions = 12;
    timeout = 60;

    while ((c = getopt(argc, argv, "b:p:t:")) != -1) {
        switch (c) {
        case 'b':
            brokers = optarg;
            break;
        case 'p':
            partitions = atoi(optarg);
            break;
        case 't':
            timeout = atoi(optarg);
            break;
        default:
            brokers = NULL;
            optind = argc;
        }
    }

    if (brokers == NULL || partitions < 1 || timeout < 1) {
        fprintf(stderr, "usage: opay-topics -b HOST:PORT [-p PARTITIONS]"
                " [-t SECONDS] [TOPIC ...]\n");
        return 2;
    }

    conf = rd_kafka_conf_new();

    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, errstr,
                          sizeof(errstr)) != RD_KAFKA_CONF_OK
        || rd_kafka_conf_set(conf, "log_level", "2", errstr, sizeof(errstr))
           != RD_KAFKA_CONF_OK
        || rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "500", errstr,
                             sizeof(errstr)) != RD_KAFKA_CONF_OK)
    {
        fprintf(stderr, "opay-topics: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return 2;
    }

    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));

    if (rk == NULL) {
        fprintf(stderr, "opay-topics: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return 1;
    }

    rc = opay_topics_run(rk, argv + optind, argc - optind, partitions,
                         timeout * 1000);

    rd_kafka_destroy(rk);

    return rc;
}
