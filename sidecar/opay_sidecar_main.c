
/*
 * opay_sidecar_main: start, wait for a signal, stop.
 *
 * DESIGN
 *
 * Signals are blocked in every thread and fetched by main with sigwait(), so
 * no handler exists.  Stopping is bounded: librdkafka's destroy and a
 * database that hangs can block for ever, so a watchdog thread ends the
 * process with status 3 when the orderly way takes too long.  That is safe:
 * the checkpoint and the committed offsets only ever lag behind the truth.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <curl/curl.h>
#include <mysql.h>

#include "opay_sidecar.h"


#define OPAY_EXIT_CONF      2
#define OPAY_EXIT_WATCHDOG  3


static int
opay_main_usage(FILE *out)
{
    fprintf(out,
            "opay-sidecar " OPAY_SIDECAR_VERSION
            ": events of one service to and from Kafka\n\n"
            "  opay-sidecar -c FILE       run\n"
            "  opay-sidecar -t -c FILE    check the configuration\n"
            "  opay-sidecar -v            version\n");

    return out == stdout ? 0 : OPAY_EXIT_CONF;
}


static void *
opay_main_watchdog(void *data)
{
    int64_t               until;
    opay_sidecar_conf_t  *conf;

    conf = data;
    until = opay_mono_ms() + conf->shutdown_timeout;

    while (opay_mono_ms() < until) {
        (void) poll(NULL, 0, 100);
    }

    opay_log(OPAY_LOG_ERROR, "shutdown takes longer than %lld ms: exiting "
             "as is; what is not acknowledged will be sent again",
             (long long) conf->shutdown_timeout);

    _exit(OPAY_EXIT_WATCHDOG);
}


static void
opay_main_signals(sigset_t *set)
{
    (void) sigemptyset(set);
    (void) sigaddset(set, SIGTERM);
    (void) sigaddset(set, SIGINT);
    (void) sigaddset(set, SIGQUIT);
    (void) sigaddset(set, SIGHUP);
    (void) sigaddset(set, SIGPIPE);
    (void) pthread_sigmask(SIG_BLOCK, set, NULL);
}


static void
opay_main_wait(sigset_t *set)
{
    int  sig;

    for ( ;; ) {
        if (sigwait(set, &sig) != 0) {
            continue;
        }

        if (sig == SIGPIPE) {
            continue;
        }

        if (sig == SIGHUP) {
            opay_log(OPAY_LOG_NOTICE, "signal 1: the configuration is read "
                     "at start only");
            continue;
        }

        opay_log(OPAY_LOG_NOTICE, "signal %d: stopping", sig);
        return;
    }
}


static int
opay_main_thread(pthread_t *t, void *(*fn)(void *), void *data)
{
    int  rc;

    rc = pthread_create(t, NULL, fn, data);
    if (rc != 0) {
        opay_log(OPAY_LOG_ALERT, "pthread_create(): %s", strerror(rc));
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


static int
opay_main_run(opay_sidecar_t *sc, sigset_t *set)
{
    int        subscribe;
    void      *status;
    pthread_t  relay, sub, target, watchdog;

    subscribe = sc->conf->ntopics > 0;

    status = opay_sidecar_status_start(sc->conf, sc->state);
    if (status == NULL) {
        return 1;
    }

    if (opay_main_thread(&relay, opay_relay_run, sc) != OPAY_OK
        || (subscribe
            && (opay_main_thread(&target, opay_target_run, sc->target)
                    != OPAY_OK
                || opay_main_thread(&sub, opay_sub_run, sc) != OPAY_OK)))
    {
        return 1;
    }

    opay_log(OPAY_LOG_NOTICE, "opay-sidecar " OPAY_SIDECAR_VERSION
             " started, pid %ld, status on %s", (long) getpid(),
             sc->conf->status_listen);

    opay_main_wait(set);

    if (opay_main_thread(&watchdog, opay_main_watchdog, sc->conf)
        == OPAY_OK)
    {
        (void) pthread_detach(watchdog);
    }

    opay_sidecar_stop_raise(sc->state);

    if (subscribe) {
        (void) pthread_join(sub, NULL);
        (void) pthread_join(target, NULL);
    }

    (void) pthread_join(relay, NULL);
    opay_sidecar_status_stop(status);

    return 0;
}


static int
opay_main_start(opay_sidecar_conf_t *conf)
{
    int                           rc;
    sigset_t                      set;
    opay_sidecar_t                sc;
    static opay_sidecar_state_t   state;

    opay_log_init(conf->level, conf->json, conf->service);
    opay_sidecar_state_init(&state);
    opay_main_signals(&set);

    if (opay_sidecar_stop_init() != OPAY_OK
        || curl_global_init(CURL_GLOBAL_DEFAULT) != 0
        || mysql_library_init(0, NULL, NULL) != 0)
    {
        opay_log(OPAY_LOG_ALERT, "initialization failed: %s",
                 strerror(errno));
        return 1;
    }

    sc.conf = conf;
    sc.state = &state;
    sc.target = opay_target_create(conf, &state);

    if (sc.target == NULL) {
        opay_log(OPAY_LOG_ALERT, "out of memory");
        return 1;
    }

    rc = opay_main_run(&sc, &set);

    if (rc != 0) {
        /* threads may run: their memory cannot be taken away in order */
        _exit(rc);
    }

    opay_target_destroy(sc.target);
    mysql_library_end();
    curl_global_cleanup();
    opay_log(OPAY_LOG_NOTICE, "stopped");

    return atomic_load(&state.failed);
}


int
main(int argc, char **argv)
{
    int                   opt, test, rc;
    char                  err[1024];
    const char           *file;
    opay_sidecar_conf_t  *conf;

    test = 0;
    file = NULL;

    while ((opt = getopt(argc, argv, "c:tvh")) != -1) {
        switch (opt) {

        case 'c':
            file = optarg;
            break;

        case 't':
            test = 1;
            break;

        case 'v':
            printf("opay-sidecar " OPAY_SIDECAR_VERSION "\n");
            return 0;

        case 'h':
            return opay_main_usage(stdout);

        default:
            return opay_main_usage(stderr);
        }
    }

    if (file == NULL || optind != argc) {
        return opay_main_usage(stderr);
    }

    conf = opay_sidecar_conf_read(file, err, sizeof(err));
    if (conf == NULL) {
        fprintf(stderr, "opay-sidecar: %s\n", err);
        return OPAY_EXIT_CONF;
    }

    if (test) {
        printf("opay-sidecar: %s is fine\n", file);
        rc = 0;

    } else {
        rc = opay_main_start(conf);
    }

    opay_sidecar_conf_free(conf);

    return rc;
}
