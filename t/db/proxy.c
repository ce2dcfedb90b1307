
/*
 * A proxy for one unix socket that knows one thing of the protocol: what the
 * packet of a text COMMIT looks like.  A thread per connection.
 */

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fixture.h"


#define PROXY_DELAY_US  400000


static int           proxy_fd = -1;
static pthread_t     proxy_thread;
static char          proxy_server[200];
static atomic_int    proxy_mode;
static atomic_uint   proxy_skip;
static atomic_uint   proxy_count;
static atomic_int    proxy_open;


static int
proxy_address(const char *path, struct sockaddr_un *sun)
{
    memset(sun, 0, sizeof(struct sockaddr_un));
    sun->sun_family = AF_UNIX;
    snprintf(sun->sun_path, sizeof(sun->sun_path), "%s", path);

    return socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);
}


static int
proxy_is_commit(const char *p, ssize_t n)
{
    if (n < 11 || p[4] != 3) {
        return 0;
    }

    if (p[5] == 0 && p[6] == 1) {      /* libmysqlclient: no attributes */
        p += 2;
        n -= 2;
    }

    return n >= 11 && memcmp(p + 5, "COMMIT", 6) == 0;
}


static void
proxy_write(int fd, const char *p, ssize_t n)
{
    ssize_t  k;

    for ( /* void */ ; n > 0; p += k, n -= k) {
        k = send(fd, p, (size_t) n, MSG_NOSIGNAL);
        if (k <= 0) {
            return;
        }
    }
}


/* 1: the connection is over. */

static int
proxy_commit(int client, int server, const char *p, ssize_t n)
{
    char  answer[256];
    int   mode;

    if (atomic_load(&proxy_mode) == PROXY_PASS) {
        return 0;
    }

    if (atomic_load(&proxy_skip)) {
        atomic_fetch_sub(&proxy_skip, 1);
        return 0;
    }

    mode = atomic_exchange(&proxy_mode, PROXY_PASS);
    atomic_fetch_add(&proxy_count, 1);

    if (mode == PROXY_DELAY) {
        shutdown(client, SHUT_RDWR);
        usleep(PROXY_DELAY_US);
    }

    if (mode != PROXY_CUT_BEFORE) {
        proxy_write(server, p, n);
        (void) !recv(server, answer, sizeof(answer), 0);
    }

    return 1;
}


static void *
proxy_connection(void *data)
{
    int                  client, server, i;
    char                *buf;
    ssize_t              n;
    struct pollfd        fds[2];
    struct sockaddr_un   sun;

    client = (int) (intptr_t) data;
    buf = malloc(65536);

    server = proxy_address(proxy_server, &sun);

    if (connect(server, (struct sockaddr *) &sun, sizeof(sun)) != 0) {
        goto done;
    }

    fds[0].fd = client;
    fds[1].fd = server;
    fds[0].events = fds[1].events = POLLIN;

    for ( ;; ) {

        if (poll(fds, 2, -1) < 0) {
            break;
        }

        for (i = 0; i < 2; i++) {

            if (fds[i].revents == 0) {
                continue;
            }

            n = recv(fds[i].fd, buf, 65536, 0);

            if (n <= 0) {
                goto done;
            }

            if (i == 0 && proxy_is_commit(buf, n)
                && proxy_commit(client, server, buf, n))
            {
                goto done;
            }

            proxy_write(fds[!i].fd, buf, n);
        }
    }

done:

    close(client);
    close(server);
    free(buf);
    atomic_fetch_sub(&proxy_open, 1);

    return NULL;
}


static void *
proxy_accept(void *data)
{
    int        fd;
    pthread_t  t;

    (void) data;

    for ( ;; ) {
        fd = accept(proxy_fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }

        atomic_fetch_add(&proxy_open, 1);
        pthread_create(&t, NULL, proxy_connection, (void *) (intptr_t) fd);
        pthread_detach(t);
    }
}


void
proxy_start(const char *listen_path, const char *server)
{
    struct sockaddr_un  sun;

    snprintf(proxy_server, sizeof(proxy_server), "%s", server);
    unlink(listen_path);

    proxy_fd = proxy_address(listen_path, &sun);
    assert_int_equal(bind(proxy_fd, (struct sockaddr *) &sun, sizeof(sun)),
                     0);
    assert_int_equal(listen(proxy_fd, 64), 0);

    pthread_create(&proxy_thread, NULL, proxy_accept, NULL);
}


void
proxy_stop(void)
{
    shutdown(proxy_fd, SHUT_RDWR);
    pthread_join(proxy_thread, NULL);
    close(proxy_fd);

    while (atomic_load(&proxy_open)) {
        usleep(1000);
    }
}


void
proxy_arm(proxy_mode_e mode, unsigned skip)
{
    atomic_store(&proxy_skip, skip);
    atomic_store(&proxy_count, 0);
    atomic_store(&proxy_mode, (int) mode);
}


unsigned
proxy_hits(void)
{
    return atomic_load(&proxy_count);
}
