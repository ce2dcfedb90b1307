/* Command line and life cycle; see pgsim.h. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pgsim.h"


#define PGSIM_VERSION  "0.1.0"


static int pgsim_options(pgsim_t *sim, int argc, char **argv);
static int pgsim_seconds(const char *name, const char *text, int64_t *ms);
static int pgsim_secret(pgsim_t *sim);
static int pgsim_run(pgsim_t *sim);


static const char  pgsim_usage[] =
    "usage: pgsim --listen <address:port> --db <file> --secret-file <file>\n"
    "             [--hold <seconds>] [--session-ttl <seconds>] [--verbose]\n"
    "\n"
    "  --listen       IPv4 address and port, e.g. 127.0.0.1:8090\n"
    "  --db           SQLite file of the ledger; made when missing\n"
    "  --secret-file  file with the secret key that clients must use\n"
    "  --hold         how long an unanswered connection is held (60)\n"
    "  --session-ttl  life of an unconfirmed payment (20; Toss: 600)\n"
    "  --verbose      a line per request on stderr\n"
    "  --version, --help\n";


int
main(int argc, char **argv)
{
    int      rc;
    pgsim_t  sim;

    memset(&sim, 0, sizeof(sim));
    sim.stop_fd = -1;
    sim.hold_ms = 60000;
    sim.session_ms = 20000;

    rc = pgsim_options(&sim, argc, argv);
    if (rc != OPAY_OK) {
        return rc > 0 ? 0 : 2;
    }

    if (pgsim_secret(&sim) != OPAY_OK) {
        return 2;
    }

    return pgsim_run(&sim) == OPAY_OK ? 0 : 1;
}


/* OPAY_OK: go on; 1: help or version was printed; OPAY_ERROR: refused */

static int
pgsim_options(pgsim_t *sim, int argc, char **argv)
{
    static const struct option  options[] = {
        { "listen", required_argument, NULL, 'l' },
        { "db", required_argument, NULL, 'd' },
        { "secret-file", required_argument, NULL, 's' },
        { "hold", required_argument, NULL, 'o' },
        { "session-ttl", required_argument, NULL, 't' },
        { "verbose", no_argument, NULL, 'v' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    int          c, rc;
    const char  *missing;

    rc = OPAY_OK;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            sim->listen = optarg;
            break;
        case 'd':
            sim->db_path = optarg;
            break;
        case 's':
            sim->secret_file = optarg;
            break;
        case 'o':
            rc |= pgsim_seconds("--hold", optarg, &sim->hold_ms);
            break;
        case 't':
            rc |= pgsim_seconds("--session-ttl", optarg, &sim->session_ms);
            break;
        case 'v':
            sim->verbose = 1;
            break;
        case 'V':
            puts("pgsim " PGSIM_VERSION);
            return 1;
        case 'h':
            fputs(pgsim_usage, stdout);
            return 1;
        default:
            fputs(pgsim_usage, stderr);
            return OPAY_ERROR;
        }
    }

    if (rc != OPAY_OK) {
        return OPAY_ERROR;
    }

    if (optind < argc) {
        fprintf(stderr, "pgsim: unexpected argument \"%s\"\n", argv[optind]);
        return OPAY_ERROR;
    }

    missing = sim->listen == NULL ? "--listen"
              : sim->db_path == NULL ? "--db"
              : sim->secret_file == NULL ? "--secret-file" : NULL;

    if (missing) {
        fprintf(stderr, "pgsim: %s is required\n%s", missing, pgsim_usage);
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


static int
pgsim_seconds(const char *name, const char *text, int64_t *ms)
{
    char    *end;
    double   s;

    s = strtod(text, &end);

    if (*text == '\0' || *end || !(s >= 0 && s <= 86400)) {
        fprintf(stderr, "pgsim: %s \"%s\" is not a number of seconds"
                " (0 to 86400)\n", name, text);
        return OPAY_ERROR;
    }

    *ms = (int64_t) (s * 1000);

    return OPAY_OK;
}


static int
pgsim_secret(pgsim_t *sim)
{
    FILE    *f;
    size_t   n;

    f = fopen(sim->secret_file, "r");
    if (f == NULL) {
        fprintf(stderr, "pgsim: --secret-file %s: %s\n", sim->secret_file,
                strerror(errno));
        return OPAY_ERROR;
    }

    n = fread(sim->secret, 1, sizeof(sim->secret) - 1, f);
    fclose(f);

    sim->secret[n] = '\0';
    sim->secret[strcspn(sim->secret, "\r\n")] = '\0';

    if (sim->secret[0] == '\0' || n == sizeof(sim->secret) - 1) {
        fprintf(stderr, "pgsim: --secret-file %s is empty or too long\n",
                sim->secret_file);
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


static int
pgsim_run(pgsim_t *sim)
{
    int                 rc, sig;
    char                err[512];
    sigset_t            set;
    struct MHD_Daemon  *d;

    /* every thread inherits the mask: signals come to sigwait() only */

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);

    sim->stop_fd = eventfd(0, EFD_CLOEXEC);
    sim->idem = pgsim_idem_create();
    sim->faults = pgsim_faults_create();

    if (sim->stop_fd == -1 || sim->idem == NULL || sim->faults == NULL) {
        fprintf(stderr, "pgsim: out of memory or descriptors\n");
        return OPAY_ERROR;
    }

    sim->ledger = pgsim_ledger_open(sim->db_path, err, sizeof(err));

    if (sim->ledger == NULL) {
        fprintf(stderr, "pgsim: --db %s: %s\n", sim->db_path, err);
        return OPAY_ERROR;
    }

    rc = OPAY_ERROR;
    d = pgsim_http_start(sim, err, sizeof(err));

    if (d == NULL) {
        fprintf(stderr, "pgsim: %s\n", err);

    } else {
        fprintf(stderr, "pgsim: " PGSIM_VERSION " listens on %s\n",
                sim->listen);

        sigwait(&set, &sig);

        /* wakes every held connection; it stays readable */

        if (eventfd_write(sim->stop_fd, 1) == 0) {
            rc = OPAY_OK;
        }

        pgsim_http_stop(d);
        fprintf(stderr, "pgsim: stopped\n");
    }

    pgsim_ledger_close(sim->ledger);
    pgsim_faults_destroy(sim->faults);
    pgsim_idem_destroy(sim->idem);
    close(sim->stop_fd);

    return rc;
}
