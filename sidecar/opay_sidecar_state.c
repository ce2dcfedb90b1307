
/*
 * opay_sidecar_state: the stop event, back-off, and the text forms of the
 * state: Prometheus text and application/health+json.
 *
 * DESIGN
 *
 * The state is written by the worker threads with plain atomic stores and
 * adds and read here at any moment; figures of one scrape may be a few
 * microseconds apart.  Only the list of consumer lags is under the mutex.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include "opay_sidecar.h"


static int         opay_stop_fd = -1;
static _Atomic int opay_stop;

/* upper bounds in ms; the last bucket is +Inf */
static const int64_t  opay_hist_bounds[OPAY_HIST_BUCKETS - 1] = {
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};

static const char *const  opay_outcomes[OPAY_DELIVERY_MAX] = {
    "applied", "duplicate", "gap", "rejected", "behind", "malformed"
};

static const char *const  opay_posts[OPAY_POST_MAX] = {
    "ok", "transport", "status", "nonsense", "refused"
};

/* how long a loop may be silent before /livez doubts it, ms */
#define OPAY_BEAT_MAX  60000


int
opay_sidecar_stop_init(void)
{
    opay_stop_fd = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

    return opay_stop_fd == -1 ? OPAY_ERROR : OPAY_OK;
}


void
opay_sidecar_stop_raise(opay_sidecar_state_t *st)
{
    uint64_t  one;

    one = 1;
    atomic_store(&opay_stop, 1);
    atomic_store(&st->stopping, 1);

    /* never read, so it stays readable for every poll() to come */
    if (write(opay_stop_fd, &one, sizeof(one)) == -1) {
        opay_log(OPAY_LOG_ALERT, "write() to the stop event failed");
    }
}


void
opay_sidecar_fail(opay_sidecar_state_t *st)
{
    atomic_store(&st->failed, 1);

    /* to main's sigwait() */
    (void) kill(getpid(), SIGTERM);
}


int
opay_sidecar_stop_fd(void)
{
    return opay_stop_fd;
}


int
opay_sidecar_stopping(void)
{
    return atomic_load(&opay_stop);
}


int64_t
opay_sidecar_backoff(int64_t base, int64_t max, unsigned n)
{
    int64_t   ms;
    uint32_t  r;

    ms = base;

    while (n-- && ms < max) {
        ms *= 2;
    }

    if (ms > max) {
        ms = max;
    }

    if (opay_random(&r, sizeof(r)) != OPAY_OK) {
        r = 0;
    }

    return ms - ms / 2 + (int64_t) (r % (uint64_t) (ms / 2 + 1));
}


void
opay_sidecar_state_init(opay_sidecar_state_t *st)
{
    memset(st, 0, sizeof(*st));
    st->started = opay_now_ms();
    (void) pthread_mutex_init(&st->mutex, NULL);

    atomic_store(&st->relay_beat, opay_mono_ms());
    atomic_store(&st->sub_beat, opay_mono_ms());
}


void
opay_hist_add(opay_hist_t *h, int64_t ms)
{
    int  i;

    if (ms < 0) {
        ms = 0;
    }

    for (i = 0; i < OPAY_HIST_BUCKETS - 1; i++) {
        if (ms <= opay_hist_bounds[i]) {
            break;
        }
    }

    atomic_fetch_add(&h->bucket[i], 1);
    atomic_fetch_add(&h->sum, (uint64_t) ms);
}


static void
opay_metric(FILE *f, const char *name, const char *type, const char *help,
    int64_t value)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name,
            type, name, (long long) value);
}


static void
opay_metric_seconds(FILE *f, const char *name, const char *help, int64_t ms)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s gauge\n%s %.3f\n", name, help, name,
            name, (double) ms / 1000);
}


static void
opay_metric_hist(FILE *f, const char *name, const char *help, opay_hist_t *h)
{
    int       i;
    uint64_t  n;

    fprintf(f, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);

    n = 0;

    for (i = 0; i < OPAY_HIST_BUCKETS; i++) {
        n += atomic_load(&h->bucket[i]);

        if (i < OPAY_HIST_BUCKETS - 1) {
            fprintf(f, "%s_bucket{le=\"%g\"} %llu\n", name,
                    (double) opay_hist_bounds[i] / 1000,
                    (unsigned long long) n);

        } else {
            fprintf(f, "%s_bucket{le=\"+Inf\"} %llu\n", name,
                    (unsigned long long) n);
        }
    }

    fprintf(f, "%s_sum %.3f\n%s_count %llu\n", name,
            (double) atomic_load(&h->sum) / 1000, name,
            (unsigned long long) n);
}


static void
opay_metric_labels(FILE *f, const char *name, const char *help,
    const char *label, const char *const *values, _Atomic uint64_t *v, int n)
{
    int  i;

    fprintf(f, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);

    for (i = 0; i < n; i++) {
        fprintf(f, "%s{%s=\"%s\"} %llu\n", name, label, values[i],
                (unsigned long long) atomic_load(&v[i]));
    }
}


static void
opay_metrics_relay(FILE *f, opay_sidecar_state_t *st)
{
    opay_metric(f, "opay_relay_leader", "gauge",
                "1: this process publishes; 0: it stands by",
                atomic_load(&st->role) == OPAY_ROLE_LEADER);
    opay_metric(f, "opay_relay_epoch", "gauge",
                "Epoch of the leadership last held",
                (int64_t) atomic_load(&st->epoch));
    opay_metric(f, "opay_relay_takeovers_total", "counter",
                "Times this process became the leader",
                (int64_t) atomic_load(&st->takeovers));
    opay_metric(f, "opay_relay_fenced_total", "counter",
                "Times a checkpoint was refused: another epoch had begun",
                (int64_t) atomic_load(&st->fenced));
    opay_metric(f, "opay_relay_published_total", "counter",
                "Events acknowledged by Kafka",
                (int64_t) atomic_load(&st->published));
    opay_metric(f, "opay_relay_backfilled_total", "counter",
                "Events found missing by their version and published late",
                (int64_t) atomic_load(&st->backfilled));
    opay_metric(f, "opay_relay_produce_errors_total", "counter",
                "Events Kafka or the producer refused; sent again later",
                (int64_t) atomic_load(&st->produce_errors));
    opay_metric(f, "opay_relay_producer_restarts_total", "counter",
                "Producers replaced after a failure",
                (int64_t) atomic_load(&st->producer_restarts));
    opay_metric(f, "opay_relay_checkpoints_total", "counter",
                "Checkpoints written",
                (int64_t) atomic_load(&st->checkpoints));
    opay_metric(f, "opay_relay_wakeups_total", "counter",
                "Datagrams received from the service",
                (int64_t) atomic_load(&st->wakeups));
    opay_metric(f, "opay_relay_position", "gauge",
                "Id of the event store up to which all is published, "
                "but the gaps",
                (int64_t) atomic_load(&st->position));
    opay_metric(f, "opay_relay_gaps", "gauge",
                "Ids below the position not seen yet",
                (int64_t) atomic_load(&st->gaps));
    opay_metric(f, "opay_relay_gaps_abandoned_total", "counter",
                "Ids given up: no row and no transaction holds them",
                (int64_t) atomic_load(&st->gaps_abandoned));
    opay_metric(f, "opay_relay_inflight", "gauge",
                "Events handed to the producer, not acknowledged yet",
                (int64_t) atomic_load(&st->inflight));
    opay_metric(f, "opay_relay_lag_events", "gauge",
                "Ids of the event store beyond the position",
                atomic_load(&st->lag_events));
    opay_metric_seconds(f, "opay_relay_oldest_age_seconds",
                "Age of the oldest event not published, 0: none",
                atomic_load(&st->oldest_age));
    opay_metric_hist(f, "opay_relay_publish_delay_seconds",
                "From the event's creation to Kafka's acknowledgement",
                &st->publish_delay);
    opay_metric(f, "opay_sidecar_db_errors_total", "counter",
                "Failed database statements",
                (int64_t) atomic_load(&st->db_errors));
}


static void
opay_metrics_lags(FILE *f, opay_sidecar_state_t *st)
{
    unsigned  i;

    fprintf(f, "# HELP opay_consumer_lag Messages behind the end of the "
            "partition\n# TYPE opay_consumer_lag gauge\n");

    (void) pthread_mutex_lock(&st->mutex);

    for (i = 0; i < st->nlags; i++) {
        fprintf(f, "opay_consumer_lag{topic=\"%s\",partition=\"%d\"} %lld\n",
                st->lags[i].topic, st->lags[i].part,
                (long long) st->lags[i].lag);
    }

    (void) pthread_mutex_unlock(&st->mutex);
}


static void
opay_metrics_sub(FILE *f, opay_sidecar_state_t *st)
{
    opay_metric_labels(f, "opay_delivery_events_total",
                "Events consumed, by what became of them", "outcome",
                opay_outcomes, st->delivered, OPAY_DELIVERY_MAX);
    opay_metric_labels(f, "opay_redrive_events_total",
                "Parked events tried again, by outcome", "outcome",
                opay_outcomes, st->redriven, OPAY_DELIVERY_BEHIND);
    opay_metric_labels(f, "opay_delivery_requests_total",
                "Requests to the service, by result", "result", opay_posts,
                st->posts, OPAY_POST_MAX);
    opay_metric_hist(f, "opay_delivery_request_duration_seconds",
                "Time of one request to the service", &st->post_time);
    opay_metric(f, "opay_delivery_backing_off", "gauge",
                "1: the service fails, deliveries wait",
                atomic_load(&st->backing_off));
    opay_metric(f, "opay_dlt_messages_total", "counter",
                "Messages copied to a dead-letter topic",
                (int64_t) atomic_load(&st->dlt));
    opay_metric(f, "opay_dlt_errors_total", "counter",
                "Messages a dead-letter topic did not take",
                (int64_t) atomic_load(&st->dlt_errors));
    opay_metric(f, "opay_parked_events", "gauge",
                "Events parked in this service's schema",
                atomic_load(&st->parked_events));
    opay_metric(f, "opay_parked_keys", "gauge",
                "Keys with parked events in this service's schema",
                atomic_load(&st->parked_keys));
    opay_metric(f, "opay_consumer_partitions", "gauge",
                "Partitions assigned to this process",
                atomic_load(&st->assigned));
    opay_metric(f, "opay_consumer_rebalances_total", "counter",
                "Assignments received",
                (int64_t) atomic_load(&st->rebalances));
    opay_metric(f, "opay_consumer_commit_errors_total", "counter",
                "Failed offset commits",
                (int64_t) atomic_load(&st->commit_errors));
    opay_metric(f, "opay_target_instances", "gauge",
                "Known instances of the service",
                atomic_load(&st->peers));
    opay_metric(f, "opay_consul_up", "gauge",
                "1: the last query to Consul was answered",
                atomic_load(&st->consul_up));
    opay_metrics_lags(f, st);
}


char *
opay_sidecar_metrics(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st)
{
    FILE    *f;
    char    *text;
    size_t   size;

    f = open_memstream(&text, &size);
    if (f == NULL) {
        return NULL;
    }

    fprintf(f, "# HELP opay_sidecar_info What runs here\n"
            "# TYPE opay_sidecar_info gauge\n"
            "opay_sidecar_info{service=\"%s\",version=\"%s\"} 1\n",
            conf->service, OPAY_SIDECAR_VERSION);
    opay_metric_seconds(f, "opay_sidecar_start_time_seconds",
            "Start of the process since the epoch", st->started);
    opay_metric(f, "opay_sidecar_db_up", "gauge",
            "1: the database answers", atomic_load(&st->db_up));
    opay_metric(f, "opay_sidecar_broker_up", "gauge",
            "1: a Kafka broker is connected",
            atomic_load(&st->relay_broker)
            && (!atomic_load(&st->sub_on) || atomic_load(&st->sub_broker)));

    opay_metrics_relay(f, st);

    if (conf->ntopics) {
        opay_metrics_sub(f, st);
    }

    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }

    return text;
}


static int
opay_health_beats(const opay_sidecar_conf_t *conf, opay_sidecar_state_t *st)
{
    int64_t  now;

    now = opay_mono_ms();

    return now - atomic_load(&st->relay_beat) < OPAY_BEAT_MAX
           && (conf->ntopics == 0
               || now - atomic_load(&st->sub_beat) < OPAY_BEAT_MAX);
}


static void
opay_health_check(FILE *f, const char *name, const char *type, int up,
    const char *value)
{
    fprintf(f, "\"%s\":[{\"componentType\":\"%s\",\"status\":\"%s\","
            "\"observedValue\":\"%s\"}]", name, type, up ? "pass" : "fail",
            value);
}


char *
opay_sidecar_health(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st, int ready, int *ok)
{
    int                       db, broker, role, beats;
    FILE                     *f;
    char                     *text;
    size_t                    size;
    static const char *const  roles[] = { "starting", "standby", "leader",
                                          "stopped" };

    f = open_memstream(&text, &size);
    if (f == NULL) {
        return NULL;
    }

    beats = opay_health_beats(conf, st);
    role = atomic_load(&st->role);
    db = atomic_load(&st->db_up);
    broker = atomic_load(&st->relay_broker)
             && (conf->ntopics == 0 || atomic_load(&st->sub_broker));

    *ok = beats;

    if (ready) {
        *ok = beats && db && broker && !atomic_load(&st->stopping)
              && (role == OPAY_ROLE_STANDBY || role == OPAY_ROLE_LEADER);
    }

    fprintf(f, "{\"status\":\"%s\",\"version\":\"%s\","
            "\"serviceId\":\"%s-sidecar\",\"checks\":{",
            *ok ? "pass" : "fail", OPAY_SIDECAR_VERSION, conf->service);
    opay_health_check(f, "threads:alive", "component", beats,
                      beats ? "yes" : "no");

    if (ready) {
        fprintf(f, ",");
        opay_health_check(f, "mysql:connection", "datastore", db,
                          db ? "up" : "down");
        fprintf(f, ",");
        opay_health_check(f, "kafka:connection", "component", broker,
                          broker ? "up" : "down");
        fprintf(f, ",");
        opay_health_check(f, "relay:role", "component",
                          role == OPAY_ROLE_STANDBY
                          || role == OPAY_ROLE_LEADER, roles[role]);
    }

    fprintf(f, "}}\n");

    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }

    return text;
}
