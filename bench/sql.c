
/*
 * opay-bench-sql: what the order service says to its database, said by a
 * client that does nothing else: one thread and one connection per client,
 * prepared statements, parameters bound once.
 *
 *   -S SOCKET -U USER -D DATABASE      -c N  clients
 *   -d SECONDS, -w SECONDS             measured time, time before it
 *   -M create                          -K N  orders per transaction (1)
 *        SELECT the idempotency record and the products; INSERT the order,
 *        its address, two items, an event and the idempotency record; COMMIT
 *   -M get -i FILE                     the three SELECTs of an order by id
 *   -M ping                            DO 1
 *   -E N, -R N      bytes of an event and of a kept reply
 *   -P HEX -P HEX   ids of two products
 *   -p PID[,PID..]  CPU time by operation of these; may be repeated
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "sql.h"


static sql_conf_t         conf = { .clients = 1, .batch = 1, .seconds = 1,
                                   .event = 700, .reply = 700 };
static pthread_barrier_t  ready;
static uint64_t           from, until;


static void *
sql_client(void *data)
{
    sql_client_t *c = data;

    uint64_t  start, end;

    sql_connect(c);

    pthread_barrier_wait(&ready);       /* all are connected */
    pthread_barrier_wait(&ready);       /* from and until are set */

    for ( ;; ) {

        start = bench_now();

        if (start >= until) {
            break;
        }

        c->run(c);

        end = bench_now();

        if (end >= from && end < until) {
            bench_hist_add(&c->hist, (end - start) / 1000);
        }
    }

    sql_disconnect(c);

    return NULL;
}


static void
sql_sleep(uint64_t to)
{
    uint64_t         now;
    struct timespec  ts;

    now = bench_now();

    if (to > now) {
        ts.tv_sec = (time_t) ((to - now) / 1000000000);
        ts.tv_nsec = (long) ((to - now) % 1000000000);
        nanosleep(&ts, NULL);
    }
}


int
main(int argc, char **argv)
{
    int            i, n;
    pthread_t     *thread;
    bench_cpu_t    cpu[BENCH_GROUPS];
    bench_hist_t   sum;
    sql_client_t  *clients;

    n = sql_options(&conf, argc, argv, cpu);

    memset(&sum, 0, sizeof(sum));
    thread = calloc((size_t) conf.clients, sizeof(pthread_t));
    clients = calloc((size_t) conf.clients, sizeof(sql_client_t));

    if (thread == NULL || clients == NULL || mysql_library_init(0, NULL, NULL)
        || pthread_barrier_init(&ready, NULL, (unsigned) conf.clients + 1))
    {
        bench_die("cannot start");
    }

    for (i = 0; i < conf.clients; i++) {
        clients[i].conf = &conf;
        clients[i].seed = bench_now() + (uint64_t) i * 7919;

        if (pthread_create(&thread[i], NULL, sql_client, &clients[i]) != 0) {
            bench_die("cannot start a thread");
        }
    }

    pthread_barrier_wait(&ready);

    from = bench_now() + (uint64_t) (conf.warm * 1e9);
    until = from + (uint64_t) (conf.seconds * 1e9);

    pthread_barrier_wait(&ready);

    sql_sleep(from);

    for (i = 0; i < n; i++) {
        cpu[i].start = bench_cpu(cpu[i].pids);
    }

    for (i = 0; i < conf.clients; i++) {
        pthread_join(thread[i], NULL);
        bench_hist_merge(&sum, &clients[i].hist);
    }

    /* each transaction made that many; times are those of transactions */

    conf.seconds /= conf.batch;
    bench_print(&sum, conf.seconds, 0, cpu, n);

    return sum.n == 0;
}
