
/* Parts of opay-bench-load: options, requests, connections. */

#ifndef OPAY_BENCH_LOAD_H_INCLUDED
#define OPAY_BENCH_LOAD_H_INCLUDED


#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/ssl.h>

#include "bench.h"


typedef struct {
    char        *text;
    size_t       number;               /* of the token, "id token-no" */
} load_line_t;


typedef struct {
    size_t       n;
    load_line_t *line;
} load_lines_t;


typedef struct {
    struct sockaddr_in  addr;
    const char         *host;
    const char         *path;
    const char         *body;          /* NULL: GET */
    const char         *expect;
    const char         *name;          /* TLS: of the server */
    SSL_CTX            *tls;
    FILE               *created;
    load_lines_t        ids;
    load_lines_t        tokens;
    char                salt[17];      /* of the Idempotency-Keys */
    int                 keys;
    int                 status;
    int                 conns;
    double              seconds;
    double              warm;
} load_conf_t;


typedef struct {
    int          fd;
    SSL         *ssl;
    uint32_t     events;               /* of epoll */
    uint64_t     start;
    const char  *id;
    size_t       token;
    size_t       outlen;
    size_t       sent;
    size_t       inlen;
    char         out[8192];
    char         in[65536];
} load_conn_t;


/* Returns how many groups of processes cpu has. */
int load_options(load_conf_t *conf, int argc, char **argv, bench_cpu_t *cpu);

/* Writes the request to buf and returns its length. */
size_t load_request(const load_conf_t *conf, const char *id, size_t token,
    size_t number, char *buf, size_t size);

/* Blocks until connected, TLS included; 0 when it worked. */
int load_connect(load_conf_t *conf, load_conn_t *c);
void load_close(load_conf_t *conf, load_conn_t *c);

/* Bytes moved; 0: the connection is gone; -1: try again when epoll says. */
long load_read(load_conn_t *c, char *buf, size_t size);
long load_write(load_conn_t *c, const char *buf, size_t size);


#endif /* OPAY_BENCH_LOAD_H_INCLUDED */
