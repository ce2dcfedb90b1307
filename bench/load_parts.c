
/* See load.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "load.h"


static void
load_lines(load_lines_t *lines, const char *path)
{
    char     buf[8192], *p;
    FILE    *f;
    size_t   cap;

    cap = 0;
    f = fopen(path, "r");

    if (f == NULL) {
        bench_die("cannot read %s", path);
    }

    while (fgets(buf, sizeof(buf), f)) {

        if (lines->n == cap) {
            cap = cap ? cap * 2 : 64;
            lines->line = realloc(lines->line, cap * sizeof(load_line_t));

            if (lines->line == NULL) {
                bench_die("out of memory");
            }
        }

        buf[strcspn(buf, "\n")] = '\0';
        p = strchr(buf, ' ');

        lines->line[lines->n].number = p ? strtoul(p + 1, NULL, 10) : 0;

        if (p) {
            *p = '\0';
        }

        lines->line[lines->n++].text = strdup(buf);
    }

    fclose(f);

    if (lines->n == 0) {
        bench_die("%s is empty", path);
    }
}


static void
load_tls(load_conf_t *conf, char *arg)
{
    char     *part[4];
    int       i;
    SSL_CTX  *ctx;

    for (i = 0; i < 4; i++) {
        part[i] = strsep(&arg, ",");

        if (part[i] == NULL) {
            bench_die("-S takes CA,CERT,KEY,NAME");
        }
    }

    ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL
        || SSL_CTX_load_verify_file(ctx, part[0]) != 1
        || SSL_CTX_use_certificate_file(ctx, part[1], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, part[2], SSL_FILETYPE_PEM) != 1)
    {
        bench_die("cannot load the certificates of -S");
    }

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                          |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    conf->tls = ctx;
    conf->name = part[3];
}


static void
load_target(load_conf_t *conf, char *arg)
{
    char  *port;

    conf->host = strdup(arg);
    port = strchr(arg, ':');

    if (port == NULL) {
        bench_die("-t takes HOST:PORT");
    }

    *port++ = '\0';

    conf->addr.sin_family = AF_INET;
    conf->addr.sin_port = htons((uint16_t) atoi(port));

    if (inet_pton(AF_INET, arg, &conf->addr.sin_addr) != 1) {
        bench_die("\"%s\" is not an IPv4 address", arg);
    }
}


int
load_options(load_conf_t *conf, int argc, char **argv, bench_cpu_t *cpu)
{
    int            opt, n;
    unsigned char  r[8];

    n = 0;

    while ((opt = getopt(argc, argv, "t:c:d:w:u:i:a:b:ks:x:o:S:p:")) != -1) {

        switch (opt) {

        case 't': load_target(conf, optarg); break;
        case 'c': conf->conns = atoi(optarg); break;
        case 'd': conf->seconds = atof(optarg); break;
        case 'w': conf->warm = atof(optarg); break;
        case 'u': conf->path = optarg; break;
        case 'i': load_lines(&conf->ids, optarg); break;
        case 'a': load_lines(&conf->tokens, optarg); break;
        case 'b': conf->body = optarg; break;
        case 'k': conf->keys = 1; break;
        case 's': conf->status = atoi(optarg); break;
        case 'x': conf->expect = optarg; break;
        case 'S': load_tls(conf, optarg); break;

        case 'o':
            conf->created = fopen(optarg, "a");
            if (conf->created == NULL) {
                bench_die("cannot write %s", optarg);
            }
            break;

        case 'p':
            if (n == BENCH_GROUPS) {
                bench_die("too many -p");
            }
            cpu[n++].pids = optarg;
            break;

        default:
            exit(2);
        }
    }

    if (conf->host == NULL || conf->path == NULL || conf->conns < 1) {
        bench_die("-t, -u and -c are needed");
    }

    if (RAND_bytes(r, sizeof(r)) != 1) {
        bench_die("no random numbers");
    }

    for (opt = 0; opt < 8; opt++) {
        snprintf(conf->salt + opt * 2, 3, "%02x", r[opt]);
    }

    return n;
}


size_t
load_request(const load_conf_t *conf, const char *id, size_t token,
    size_t number, char *buf, size_t size)
{
    int          n;
    char         path[512], auth[6144], key[96];
    const char  *hole;

    hole = strstr(conf->path, "%s");
    snprintf(path, sizeof(path), "%.*s%s%s",
             (int) (hole ? hole - conf->path : (long) strlen(conf->path)),
             conf->path, hole ? id : "", hole ? hole + 2 : "");

    auth[0] = '\0';
    key[0] = '\0';

    if (conf->tokens.n) {
        snprintf(auth, sizeof(auth), "Authorization: Bearer %s\r\n",
                 conf->tokens.line[token % conf->tokens.n].text);
    }

    if (conf->keys) {
        snprintf(key, sizeof(key), "Idempotency-Key: %s-%zx\r\n", conf->salt,
                 number);
    }

    n = conf->body
        ? snprintf(buf, size, "POST %s HTTP/1.1\r\nHost: %s\r\n%s%s"
                   "Content-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s", path, conf->host, auth,
                   key, strlen(conf->body), conf->body)
        : snprintf(buf, size, "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n", path,
                   conf->host, auth, key);

    if (n < 0 || (size_t) n >= size) {
        bench_die("the request is too long");
    }

    return (size_t) n;
}


int
load_connect(load_conf_t *conf, load_conn_t *c)
{
    int  on;

    on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (c->fd < 0
        || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0
        || connect(c->fd, (struct sockaddr *) &conf->addr,
                   sizeof(conf->addr))
           != 0)
    {
        return -1;
    }

    if (conf->tls == NULL) {
        return 0;
    }

    c->ssl = SSL_new(conf->tls);

    if (c->ssl == NULL
        || SSL_set1_host(c->ssl, conf->name) != 1
        || SSL_set_tlsext_host_name(c->ssl, conf->name) != 1
        || SSL_set_fd(c->ssl, c->fd) != 1
        || SSL_connect(c->ssl) != 1)
    {
        errno = EPROTO;
        return -1;
    }

    return 0;
}


void
load_close(load_conf_t *conf, load_conn_t *c)
{
    (void) conf;

    if (c->ssl) {
        SSL_free(c->ssl);
        c->ssl = NULL;
    }

    if (c->fd != -1) {
        close(c->fd);
        c->fd = -1;
    }
}


static long
load_tls_result(load_conn_t *c, int n)
{
    if (n > 0) {
        return n;
    }

    switch (SSL_get_error(c->ssl, n)) {

    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -1;

    default:
        return 0;
    }
}


long
load_read(load_conn_t *c, char *buf, size_t size)
{
    long  n;

    if (c->ssl) {
        return load_tls_result(c, SSL_read(c->ssl, buf, (int) size));
    }

    n = recv(c->fd, buf, size, 0);

    return n < 0 && errno != EAGAIN ? 0 : n;
}


long
load_write(load_conn_t *c, const char *buf, size_t size)
{
    long  n;

    if (c->ssl) {
        return load_tls_result(c, SSL_write(c->ssl, buf, (int) size));
    }

    n = send(c->fd, buf, size, MSG_NOSIGNAL);

    return n < 0 && errno != EAGAIN ? 0 : n;
}
