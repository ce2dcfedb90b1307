
/*
 * opay_relay: the publisher's loop.  The design is in the header.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "opay_relay.h"


#define OPAY_RELAY_CHECK       1000        /* ms between lock checks */
#define OPAY_RELAY_GAP_POLL    100         /* poll this often with gaps */
#define OPAY_RELAY_RETRY_MIN   100
#define OPAY_RELAY_RETRY_MAX   5000


/* Any service worker may wake us: a datagram carries no authority. */
static void
opay_relay_listen(opay_relay_t *r)
{
    int                 fd;
    struct sockaddr_un  sun;

    if (r->conf->notify_socket == NULL) {
        return;
    }

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    (void) snprintf(sun.sun_path, sizeof(sun.sun_path), "%s",
                    r->conf->notify_socket);

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1 || (unlink(sun.sun_path) == -1 && errno != ENOENT)
        || bind(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || chmod(sun.sun_path, 0666) == -1)
    {
        opay_log(OPAY_LOG_ERROR, "relay: \"notify_socket\" %s: %s: polling "
                 "only", sun.sun_path, strerror(errno));

        if (fd != -1) {
            (void) close(fd);
        }

        return;
    }

    r->notify_fd = fd;
}


/* Unlinked only while the lock is ours: later the path is the next leader's */
static void
opay_relay_unlisten(opay_relay_t *r, int ours)
{
    if (r->notify_fd == -1) {
        return;
    }

    if (ours) {
        (void) unlink(r->conf->notify_socket);
    }

    (void) close(r->notify_fd);
    r->notify_fd = -1;
}


static void
opay_relay_drain(opay_relay_t *r)
{
    char     buf[8];
    ssize_t  n;

    do {
        n = recv(r->notify_fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n >= 0) {
            atomic_fetch_add(&r->state->wakeups, 1);
        }

    } while (n >= 0);

    r->poll_at = 0;
}


static void
opay_relay_sleep(opay_relay_t *r, int64_t ms)
{
    struct pollfd  fds[3];

    fds[0].fd = opay_sidecar_stop_fd();
    fds[0].events = POLLIN;
    fds[1].fd = r->kafka_fd;
    fds[1].events = POLLIN;
    fds[2].fd = r->notify_fd;              /* -1 is left out by poll() */
    fds[2].events = POLLIN;
    fds[2].revents = 0;

    if (poll(fds, 3, ms < 0 ? 0 : (int) ms) > 0 && fds[2].revents) {
        opay_relay_drain(r);
    }
}


/* The producer failed: a new one, from the checkpoint. */
static int
opay_relay_restart(opay_relay_t *r)
{
    int64_t  wait;

    wait = opay_sidecar_backoff(OPAY_RELAY_RETRY_MIN, OPAY_RELAY_RETRY_MAX,
                                r->failures);
    r->failures++;
    atomic_fetch_add(&r->state->producer_restarts, 1);
    opay_log(OPAY_LOG_WARN, "relay: new producer in %lld ms, from position "
             "%llu", (long long) wait, (unsigned long long) r->saved);

    opay_relay_forget(r);
    opay_relay_producer_stop(r);

    for (wait += opay_mono_ms(); opay_mono_ms() < wait; ) {
        if (opay_sidecar_stopping()) {
            break;
        }

        atomic_store(&r->state->relay_beat, opay_mono_ms());
        (void) poll(NULL, 0, 20);
    }

    if (opay_relay_producer_start(r) != OPAY_OK) {
        return OPAY_ERROR;                 /* still broken: see stand_by() */
    }

    r->poll_at = 0;

    return opay_relay_load(r, 0);
}


/* One read of the store, published; back to the checkpoint on any trouble. */
static int
opay_relay_round(opay_relay_t *r)
{
    int                  rc, more;
    size_t               n;
    int64_t              next;
    opay_arena_t        *a;
    opay_relay_event_t  *events;

    a = opay_arena_create(65536);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    more = 0;
    rc = opay_relay_read(r, a, &events, &n, &more);

    if (rc == OPAY_OK) {
        rc = opay_relay_take(r, a, events, n);

        /* high is past events that did not get out: only a reload is exact */
        if (rc != OPAY_OK && !r->broken && opay_relay_load(r, 0) != OPAY_OK) {
            r->broken = 1;
        }
    }

    opay_arena_destroy(a);

    next = r->conf->poll_interval;

    if (r->gaps.n && next > OPAY_RELAY_GAP_POLL) {
        next = OPAY_RELAY_GAP_POLL;
    }

    r->poll_at = more && rc == OPAY_OK ? 0 : opay_mono_ms() + next;

    return rc;
}


/* Every second: is the lock still ours, which gaps are over, the lag */
static int
opay_relay_chores(opay_relay_t *r)
{
    r->check_at = opay_mono_ms() + OPAY_RELAY_CHECK;

    if (!opay_relay_holds(r)) {
        opay_log(OPAY_LOG_WARN, "relay: leadership lost");
        return OPAY_ERROR;
    }

    /* troubles of r->db show up in the next round as well */
    if (opay_relay_expire(r) == OPAY_OK && opay_relay_measure(r) == OPAY_OK
        && !atomic_exchange(&r->state->db_up, 1))
    {
        opay_log(OPAY_LOG_NOTICE, "relay: database connected");
    }

    atomic_store(&r->state->gaps, opay_gaps_count(&r->gaps));

    return OPAY_OK;
}


/* One turn of the leader's loop; OPAY_ERROR: lead no more */
static int
opay_relay_turn(opay_relay_t *r)
{
    int64_t  now, next;

    atomic_store(&r->state->relay_beat, opay_mono_ms());
    opay_relay_serve(r);

    if (r->broken) {
        return opay_relay_restart(r);
    }

    if (opay_mono_ms() >= r->poll_at
        && r->head - r->tail <= OPAY_RELAY_WINDOW - OPAY_RELAY_BATCH
        && opay_relay_round(r) != OPAY_OK && !r->broken)
    {
        opay_relay_sleep(r, OPAY_RELAY_RETRY_MIN);
    }

    now = opay_mono_ms();

    if (r->dirty && now - r->saved_at >= r->conf->checkpoint_interval) {
        r->saved_at = now;

        if (opay_relay_save(r) == 0) {
            return OPAY_ERROR;
        }
    }

    if (now >= r->check_at && opay_relay_chores(r) != OPAY_OK) {
        return OPAY_ERROR;
    }

    next = r->check_at;

    if (r->head - r->tail <= OPAY_RELAY_WINDOW - OPAY_RELAY_BATCH
        && r->poll_at < next)
    {
        next = r->poll_at;
    }

    if (r->dirty && r->saved_at + r->conf->checkpoint_interval < next) {
        next = r->saved_at + r->conf->checkpoint_interval;
    }

    opay_relay_sleep(r, next - opay_mono_ms());

    return OPAY_OK;
}


/* Stopping in order: what the producer has goes out, then the checkpoint. */
static void
opay_relay_finish(opay_relay_t *r)
{
    int64_t  until;

    until = opay_mono_ms() + r->conf->shutdown_timeout / 3;

    while (r->head != r->tail && !r->broken && opay_mono_ms() < until) {
        (void) rd_kafka_poll(r->rk, 50);
        opay_relay_serve(r);
    }

    if (r->head != r->tail) {
        opay_log(OPAY_LOG_WARN, "relay: %llu events are not acknowledged; "
                 "the next leader sends them again",
                 (unsigned long long) (r->head - r->tail));
    }

    (void) opay_relay_save(r);
    opay_relay_unlisten(r, 1);
    opay_relay_release(r);
}


static void
opay_relay_lead(opay_relay_t *r)
{
    atomic_fetch_add(&r->state->takeovers, 1);
    atomic_store(&r->state->role, OPAY_ROLE_LEADER);
    opay_log(OPAY_LOG_NOTICE, "relay: leading, epoch %llu, position %llu, "
             "gaps %llu", (unsigned long long) r->epoch,
             (unsigned long long) r->high,
             (unsigned long long) opay_gaps_count(&r->gaps));

    opay_relay_listen(r);
    r->poll_at = 0;
    r->check_at = opay_mono_ms() + OPAY_RELAY_CHECK;
    r->saved_at = opay_mono_ms();

    while (!opay_sidecar_stopping()) {
        if (opay_relay_turn(r) != OPAY_OK) {
            break;
        }
    }

    if (opay_sidecar_stopping()) {
        opay_relay_finish(r);
        return;
    }

    opay_relay_unlisten(r, 0);
    opay_db_drop(r->lock_db);

    /* what a former leader left in its producer must not go out later */
    if (r->head != r->tail) {
        opay_relay_forget(r);
        r->broken = 1;
    }
}


/* OPAY_OK: leading from now on; OPAY_ERROR: not yet */
static int
opay_relay_stand_by(opay_relay_t *r)
{
    int  rc;

    atomic_store(&r->state->relay_beat, opay_mono_ms());
    opay_relay_serve(r);

    if (r->broken) {
        opay_relay_producer_stop(r);

        if (opay_relay_producer_start(r) != OPAY_OK) {
            opay_relay_sleep(r, OPAY_RELAY_RETRY_MAX);
            return OPAY_ERROR;
        }
    }

    rc = opay_relay_acquire(r);

    if (rc == 1) {
        if (opay_relay_load(r, 1) == OPAY_OK) {
            return OPAY_OK;
        }

        opay_relay_release(r);
    }

    if (rc == 0) {
        if (atomic_exchange(&r->state->role, OPAY_ROLE_STANDBY)
            != OPAY_ROLE_STANDBY)
        {
            opay_log(OPAY_LOG_NOTICE, "relay: standing by: another process "
                     "leads");
        }

        return OPAY_ERROR;
    }

    atomic_store(&r->state->role, OPAY_ROLE_STARTING);
    opay_relay_sleep(r, OPAY_RELAY_RETRY_MIN * 3);

    return OPAY_ERROR;
}


static void
opay_relay_destroy(opay_relay_t *r)
{
    if (r->rk) {
        opay_relay_producer_stop(r);
    }

    if (r->kafka_fd != -1) {
        (void) close(r->kafka_fd);
    }

    if (r->db) {
        opay_db_destroy(r->db);
    }

    if (r->lock_db) {
        opay_db_destroy(r->lock_db);
    }

    opay_seen_destroy(r->seen);
    opay_gaps_free(&r->gaps);
    opay_gaps_free(&r->abandoned);
    opay_relay_texts_free(r);
    free(r);
}


static opay_relay_t *
opay_relay_create(opay_sidecar_t *sc)
{
    opay_relay_t  *r;

    r = calloc(1, sizeof(opay_relay_t));
    if (r == NULL) {
        return NULL;
    }

    r->conf = sc->conf;
    r->state = sc->state;
    r->notify_fd = -1;

    (void) snprintf(r->lock_name, sizeof(r->lock_name), "opay_relay.%s",
                    sc->conf->db.database);

    r->kafka_fd = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);
    r->lock_db = opay_db_create(&sc->conf->db);
    r->db = opay_db_create(&sc->conf->db);
    r->seen = opay_seen_create();

    if (r->kafka_fd == -1 || r->lock_db == NULL || r->db == NULL
        || r->seen == NULL || opay_relay_texts(r) != OPAY_OK
        || opay_relay_producer_start(r) != OPAY_OK)
    {
        opay_relay_destroy(r);
        return NULL;
    }

    return r;
}


void *
opay_relay_run(void *data)
{
    opay_relay_t    *r;
    opay_sidecar_t  *sc;

    sc = data;

    r = opay_relay_create(sc);
    if (r == NULL) {
        opay_log(OPAY_LOG_ALERT, "relay: cannot start");
        atomic_store(&sc->state->role, OPAY_ROLE_STOPPED);
        opay_sidecar_fail(sc->state);
        return NULL;
    }

    while (!opay_sidecar_stopping()) {
        if (opay_relay_stand_by(r) == OPAY_OK) {
            opay_relay_lead(r);
        }
    }

    atomic_store(&sc->state->role, OPAY_ROLE_STOPPED);
    opay_relay_destroy(r);

    return NULL;
}
