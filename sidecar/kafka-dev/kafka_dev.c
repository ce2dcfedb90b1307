
/*
 * kafka-dev: a Kafka broker for development and tests, no Java needed.
 *
 * DESIGN
 *
 * librdkafka's mock cluster behind a main().  It speaks the protocol to any
 * client (producers, idempotent ones too, consumer groups, offset commits),
 * keeps about 5 MB per partition in memory and forgets all when it ends.
 *
 * The mock binds to a port of the system's choice and advertises it; there
 * is no call to ask for one.  The bind() below stands before libc's for this
 * process, and gives the first listener the port that was asked for.
 *
 * SIGUSR1 takes the broker down (connections cut, new ones refused), SIGUSR2
 * brings it back with its data; SIGTERM and SIGINT end.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>


#define KAFKA_DEV_PARTITIONS  12

static int  kafka_dev_port;        /* to be given to the next bind(), 0: none */


int
bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    int                 one;
    long                rc;
    struct sockaddr_in  sin;

    if (kafka_dev_port && addr->sa_family == AF_INET
        && len >= sizeof(struct sockaddr_in))
    {
        memcpy(&sin, addr, sizeof(sin));

        if (sin.sin_port == 0) {
            sin.sin_port = htons((uint16_t) kafka_dev_port);
            kafka_dev_port = 0;
            one = 1;

            if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
                == -1)
            {
                return -1;
            }

            rc = syscall(SYS_bind, fd, &sin, sizeof(sin));

            /* the mock cluster would abort() */
            if (rc == -1) {
                fprintf(stderr, "kafka-dev: cannot listen on 127.0.0.1:%d: "
                        "%s\n", ntohs(sin.sin_port), strerror(errno));
                _exit(1);
            }

            return 0;
        }
    }

    return (int) syscall(SYS_bind, fd, addr, len);
}


static int
kafka_dev_usage(FILE *out)
{
    fprintf(out,
            "kafka-dev: a Kafka broker in memory, for development\n\n"
            "  kafka-dev [-p PORT] [-f FILE] [-n PARTITIONS] TOPIC[:N] ...\n\n"
            "  -p PORT        listen on 127.0.0.1:PORT (default: any)\n"
            "  -f FILE        write the bootstrap address into FILE\n"
            "  -n PARTITIONS  of topics without :N (default %d)\n",
            KAFKA_DEV_PARTITIONS);

    return out == stdout ? 0 : 2;
}


static int
kafka_dev_number(const char *s, int max)
{
    long   v;
    char  *end;

    v = strtol(s, &end, 10);

    return *s == '\0' || *end != '\0' || v < 1 || v > max ? -1 : (int) v;
}


static int
kafka_dev_topic(rd_kafka_mock_cluster_t *mc, char *arg, int partitions)
{
    char                 *colon;
    rd_kafka_resp_err_t   err;

    colon = strrchr(arg, ':');

    if (colon) {
        *colon = '\0';
        partitions = kafka_dev_number(colon + 1, 256);
    }

    if (partitions == -1 || *arg == '\0') {
        fprintf(stderr, "kafka-dev: invalid topic \"%s\"\n", arg);
        return -1;
    }

    err = rd_kafka_mock_topic_create(mc, arg, partitions, 1);

    if (err) {
        fprintf(stderr, "kafka-dev: topic %s: %s\n", arg,
                rd_kafka_err2str(err));
        return -1;
    }

    return 0;
}


/* Renamed into place, so that who waits for the file finds it whole. */
static int
kafka_dev_file(const char *path, const char *bootstrap)
{
    int    rc;
    char   tmp[4096];
    FILE  *f;

    (void) snprintf(tmp, sizeof(tmp), "%s.new", path);

    f = fopen(tmp, "w");
    if (f == NULL) {
        fprintf(stderr, "kafka-dev: %s: %s\n", tmp, strerror(errno));
        return -1;
    }

    rc = fprintf(f, "%s\n", bootstrap) < 0;
    rc |= fclose(f) != 0;

    if (rc || rename(tmp, path) == -1) {
        fprintf(stderr, "kafka-dev: %s: %s\n", path, strerror(errno));
        return -1;
    }

    return 0;
}


static void
kafka_dev_serve(rd_kafka_mock_cluster_t *mc, const sigset_t *set)
{
    int  sig;

    for ( ;; ) {
        if (sigwait(set, &sig) != 0) {
            continue;
        }

        if (sig == SIGUSR1) {
            (void) rd_kafka_mock_broker_set_down(mc, -1);
            fprintf(stderr, "kafka-dev: down\n");

        } else if (sig == SIGUSR2) {
            (void) rd_kafka_mock_broker_set_up(mc, -1);
            fprintf(stderr, "kafka-dev: up\n");

        } else {
            return;
        }
    }
}


static int
kafka_dev_run(char **topics, int n, int port, int partitions,
    const char *file)
{
    int                       i, rc;
    char                      err[512];
    sigset_t                  set;
    rd_kafka_t               *rk;
    rd_kafka_conf_t          *conf;
    rd_kafka_mock_cluster_t  *mc;

    /* before librdkafka's threads start: they inherit the mask */
    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGUSR1);
    (void) sigaddset(&set, SIGUSR2);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);
    (void) signal(SIGPIPE, SIG_IGN);

    conf = rd_kafka_conf_new();
    (void) rd_kafka_conf_set(conf, "log_level", "3", err, sizeof(err));

    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
    if (rk == NULL) {
        fprintf(stderr, "kafka-dev: %s\n", err);
        rd_kafka_conf_destroy(conf);
        return 1;
    }

    kafka_dev_port = port;
    mc = rd_kafka_mock_cluster_new(rk, 1);
    kafka_dev_port = 0;

    if (mc == NULL) {
        fprintf(stderr, "kafka-dev: the mock cluster did not start\n");
        return 1;
    }

    rc = 0;

    for (i = 0; i < n && rc == 0; i++) {
        rc = kafka_dev_topic(mc, topics[i], partitions);
    }

    if (rc == 0 && file) {
        rc = kafka_dev_file(file, rd_kafka_mock_cluster_bootstraps(mc));
    }

    if (rc == 0) {
        fprintf(stderr, "kafka-dev: ready on %s, pid %ld; data lives in "
                "memory only\n", rd_kafka_mock_cluster_bootstraps(mc),
                (long) getpid());
        kafka_dev_serve(mc, &set);
    }

    rd_kafka_mock_cluster_destroy(mc);
    rd_kafka_destroy(rk);

    return rc ? 2 : 0;
}


int
main(int argc, char **argv)
{
    int          opt, port, partitions;
    const char  *file;

    port = 0;
    file = NULL;
    partitions = KAFKA_DEV_PARTITIONS;

    while ((opt = getopt(argc, argv, "p:f:n:h")) != -1) {
        switch (opt) {

        case 'p':
            port = kafka_dev_number(optarg, 65535);
            break;

        case 'f':
            file = optarg;
            break;

        case 'n':
            partitions = kafka_dev_number(optarg, 256);
            break;

        case 'h':
            return kafka_dev_usage(stdout);

        default:
            return kafka_dev_usage(stderr);
        }
    }

    if (optind == argc || port == -1 || partitions == -1) {
        return kafka_dev_usage(stderr);
    }

    return kafka_dev_run(argv + optind, argc - optind, port, partitions,
                         file);
}
