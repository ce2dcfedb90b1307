
/*
 * opay-bench-load: HTTP/1.1 requests over keep-alive connections, each of
 * which sends its next request when the answer to the last one is there
 * (closed loop).  Every answer is checked; a wrong one fails the run.
 *
 *   -t HOST:PORT    where to                  -c N   connections
 *   -d SECONDS      measured time             -w S   time before it
 *   -u PATH         "%s" becomes an id        -i F   file of "id token-no"
 *   -a F            file of tokens, one a line, taken in turn
 *   -b BODY         POST it; else GET         -k     unique Idempotency-Key
 *   -s STATUS       the answer must have      -x S   text the body must have
 *   -o F            writes "id token-no" of what was created
 *   -S CA,CERT,KEY,NAME   TLS, with our certificate; NAME is verified
 *   -p PID[,PID..]  CPU time by operation of these; may be repeated
 *
 * One thread, epoll.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench.h"
#include "load.h"


#define LOAD_PATIENCE  10000000000ULL  /* ns; a slower answer is an error */


static load_conf_t   conf = { .status = 200, .conns = 1, .seconds = 1 };
static bench_hist_t  hist;
static uint64_t      errors, from, until;
static size_t        turn;
static int           ep;


static void
load_error(load_conn_t *c, const char *what)
{
    if (errors++ < 3) {
        fprintf(stderr, "bench: wrong: %s\n> %.200s\n< %.600s\n", what,
                c->out, c->in);
    }
}


static void
load_watch(load_conn_t *c, uint32_t events)
{
    struct epoll_event  ev;

    if (c->events == events) {
        return;
    }

    ev.events = events;
    ev.data.ptr = c;

    if (epoll_ctl(ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev))
    {
        bench_die("epoll_ctl: %s", strerror(errno));
    }

    c->events = events;
}


static void
load_next(load_conn_t *c)
{
    size_t        i;
    const char   *id;
    load_line_t  *line;

    i = turn++;
    id = "";
    c->token = i;

    if (conf.ids.n) {
        line = &conf.ids.line[i * 7919 % conf.ids.n];
        id = line->text;
        c->token = line->number;
    }

    c->id = id;
    c->outlen = load_request(&conf, id, c->token, i, c->out, sizeof(c->out));
    c->sent = 0;
    c->inlen = 0;
    c->in[0] = '\0';
    c->start = bench_now();
}


static void
load_reconnect(load_conn_t *c)
{
    load_close(&conf, c);
    c->events = 0;

    if (load_connect(&conf, c) != 0) {
        bench_die("cannot connect: %s", strerror(errno));
    }

    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) {
        bench_die("fcntl: %s", strerror(errno));
    }
}


static void
load_check(load_conn_t *c, int status, const char *body)
{
    uint64_t  now;

    now = bench_now();

    if (status != conf.status) {
        load_error(c, "status");

    } else if ((conf.expect && strstr(body, conf.expect) == NULL)
               || (conf.ids.n && strstr(body, c->id) == NULL))
    {
        load_error(c, "body");

    } else if (conf.created) {

        body = strstr(body, "\"id\":\"");

        if (body == NULL) {
            load_error(c, "no id");

        } else {
            fprintf(conf.created, "%.36s %zu\n", body + 6, c->token);
        }
    }

    if (now >= from && now < until) {
        bench_hist_add(&hist, (now - c->start) / 1000);
    }
}


/* 1: the answer is complete; 0: more to read; -1: gone. */

static int
load_answer(load_conn_t *c)
{
    int      close, status;
    long     n;
    char    *end, *p;

    for ( ;; ) {

        n = load_read(c, c->in + c->inlen, sizeof(c->in) - 1 - c->inlen);

        if (n <= 0) {
            return n == 0 ? -1 : 0;
        }

        c->inlen += (size_t) n;
        c->in[c->inlen] = '\0';

        end = strstr(c->in, "\r\n\r\n");
        p = end ? strcasestr(c->in, "\r\ncontent-length:") : NULL;

        if (end && p == NULL) {
            load_error(c, "no length");
            return -1;
        }

        if (end && c->inlen >= (size_t) (end + 4 - c->in)
                               + strtoul(p + 17, NULL, 10))
        {
            p = strcasestr(c->in, "\r\nconnection: close");
            close = p && p < end;
            status = atoi(c->in + 9);

            load_check(c, status, end + 4);

            if (close) {
                load_reconnect(c);
            }

            return 1;
        }
    }
}


static int
load_send(load_conn_t *c)
{
    long  n;

    while (c->sent < c->outlen) {

        n = load_write(c, c->out + c->sent, c->outlen - c->sent);

        if (n <= 0) {
            load_watch(c, EPOLLIN|EPOLLOUT);
            return n == 0 ? -1 : 0;
        }

        c->sent += (size_t) n;
    }

    load_watch(c, EPOLLIN);

    return 0;
}


/* The answer, and requests until one has to wait.  1: all is done. */

static int
load_event(load_conn_t *c)
{
    int  rc;

    if (c->sent < c->outlen && load_send(c) != 0) {
        goto gone;
    }

    rc = load_answer(c);

    if (rc == 0) {
        return 0;
    }

    if (rc < 0) {
        goto gone;
    }

    if (bench_now() >= until) {
        return 1;
    }

    load_next(c);

    if (load_send(c) == 0) {
        return 0;
    }

gone:

    /* an idle connection may be closed at any time; this one was not idle */

    load_error(c, "the connection is gone");

    if (errors > 1000) {
        bench_die("too many errors");
    }

    load_reconnect(c);
    load_next(c);

    return load_send(c);
}


static void
load_run(load_conn_t *conns, bench_cpu_t *cpu, int ncpu)
{
    int                  i, n, left;
    uint64_t             now;
    load_conn_t         *c;
    struct epoll_event   ev[256];

    left = conf.conns;
    now = bench_now();
    from = now + (uint64_t) (conf.warm * 1e9);
    until = from + (uint64_t) (conf.seconds * 1e9);

    for (i = 0; i < conf.conns; i++) {
        load_next(&conns[i]);

        if (load_send(&conns[i]) != 0) {
            bench_die("cannot send");
        }
    }

    for (i = ncpu; left; /* void */ ) {

        now = bench_now();

        if (i && now >= from) {
            for ( /* void */ ; i; i--) {
                cpu[i - 1].start = bench_cpu(cpu[i - 1].pids);
            }
        }

        if (now > until + LOAD_PATIENCE) {
            fprintf(stderr, "bench: %d requests without an answer\n", left);
            errors += (uint64_t) left;
            return;
        }

        n = epoll_wait(ep, ev, 256, 100);

        while (n-- > 0) {
            c = ev[n].data.ptr;

            if (load_event(c)) {
                left--;
                load_close(&conf, c);
            }
        }
    }
}


int
main(int argc, char **argv)
{
    int           i, n;
    load_conn_t  *conns;
    bench_cpu_t   cpu[BENCH_GROUPS];

    n = load_options(&conf, argc, argv, cpu);

    conns = calloc((size_t) conf.conns, sizeof(load_conn_t));
    ep = epoll_create1(0);

    if (conns == NULL || ep < 0) {
        bench_die("cannot start: %s", strerror(errno));
    }

    for (i = 0; i < conf.conns; i++) {
        conns[i].fd = -1;
        load_reconnect(&conns[i]);
    }

    load_run(conns, cpu, n);

    bench_print(&hist, conf.seconds, errors, cpu, n);

    if (conf.created && fclose(conf.created) != 0) {
        bench_die("cannot write what was created");
    }

    return errors || hist.n == 0;
}
