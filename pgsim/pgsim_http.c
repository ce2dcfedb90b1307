/* libmicrohttpd on one side, pgsim_serve() on the other. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <microhttpd.h>

#include "pgsim.h"


#define PGSIM_CONNECTIONS   1000
#define PGSIM_IDLE_SECONDS  120


/* A request whose body is being read. */
typedef struct {
    char    *body;
    size_t   len;
    size_t   size;
    int      too_large;
} pgsim_upload_t;


static enum MHD_Result pgsim_http_handler(void *cls, struct MHD_Connection *c,
    const char *url, const char *method, const char *version,
    const char *data, size_t *size, void **ctx);
static int pgsim_http_append(pgsim_upload_t *up, const char *data,
    size_t size);
static void pgsim_http_completed(void *cls, struct MHD_Connection *c,
    void **ctx, enum MHD_RequestTerminationCode code);
static enum MHD_Result pgsim_http_answer(struct MHD_Connection *c,
    pgsim_reply_t *rep);
static ssize_t pgsim_http_half(void *cls, uint64_t pos, char *buf,
    size_t max);


struct MHD_Daemon *
pgsim_http_start(pgsim_t *sim, char *err, size_t errlen)
{
    char                 host[64], *colon, *end;
    long                 port;
    struct sockaddr_in   sin;
    struct MHD_Daemon   *d;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;

    snprintf(host, sizeof(host), "%s", sim->listen);
    colon = strrchr(host, ':');
    port = 0;

    if (colon) {
        *colon = '\0';
        port = strtol(colon + 1, &end, 10);

        if (*end) {
            port = 0;
        }
    }

    if (port < 1 || port > 65535
        || inet_pton(AF_INET, host, &sin.sin_addr) != 1)
    {
        snprintf(err, errlen, "--listen \"%s\" is not <IPv4 address>:<port>",
                 sim->listen);
        return NULL;
    }

    sin.sin_port = htons((uint16_t) port);

    d = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION
                         | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
                         0, NULL, NULL, pgsim_http_handler, sim,
                         MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &sin,
                         MHD_OPTION_CONNECTION_LIMIT, PGSIM_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, PGSIM_IDLE_SECONDS,
                         MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
                         MHD_OPTION_THREAD_STACK_SIZE, (size_t) 512 * 1024,
                         MHD_OPTION_NOTIFY_COMPLETED, pgsim_http_completed,
                         NULL, MHD_OPTION_END);

    if (d == NULL) {
        snprintf(err, errlen, "cannot listen on %s: %s", sim->listen,
                 strerror(errno));
    }

    return d;
}


void
pgsim_http_stop(struct MHD_Daemon *d)
{
    MHD_stop_daemon(d);
}


static enum MHD_Result
pgsim_http_handler(void *cls, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *size,
    void **ctx)
{
    pgsim_t *sim = cls;

    int64_t          start;
    pgsim_reply_t    rep;
    pgsim_upload_t  *up;
    pgsim_request_t  req;

    (void) version;

    up = *ctx;

    if (up == NULL) {
        *ctx = calloc(1, sizeof(pgsim_upload_t));
        return *ctx ? MHD_YES : MHD_NO;
    }

    if (*size) {
        if (pgsim_http_append(up, data, *size) != OPAY_OK) {
            return MHD_NO;
        }

        *size = 0;
        return MHD_YES;
    }

    start = opay_mono_ms();

    memset(&req, 0, sizeof(req));
    req.fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)
             ->connect_fd;
    req.method = method;
    req.url = url;
    req.body = up->body ? up->body : "";
    req.body_len = up->len;
    req.authorization = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
                                                    "Authorization");
    req.idem_key = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
                                               "Idempotency-Key");
    req.test_code = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
                                                "TossPayments-Test-Code");
    req.order_filter = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND,
                                                   "orderId");

    if (up->too_large) {
        memset(&rep, 0, sizeof(rep));
        pgsim_reply_error(&rep, 413, "INVALID_REQUEST", "At most 64 KiB.");

    } else {
        pgsim_serve(sim, &req, &rep);
    }

    if (sim->verbose) {
        fprintf(stderr, "pgsim: %s %s %d%s %lld ms\n", method, url,
                rep.status, rep.fate == PGSIM_SEND ? "" : " (not sent)",
                (long long) (opay_mono_ms() - start));
    }

    if (rep.fate == PGSIM_DROP) {
        free(rep.body);
        return MHD_NO;
    }

    return pgsim_http_answer(c, &rep);
}


static int
pgsim_http_append(pgsim_upload_t *up, const char *data, size_t size)
{
    char    *p;
    size_t   n;

    if (up->too_large || size > PGSIM_BODY_MAX - up->len) {
        up->too_large = 1;
        return OPAY_OK;
    }

    if (up->len + size > up->size) {
        n = up->len + size + 512;

        p = realloc(up->body, n);
        if (p == NULL) {
            return OPAY_ERROR;
        }

        up->body = p;
        up->size = n;
    }

    memcpy(up->body + up->len, data, size);
    up->len += size;

    return OPAY_OK;
}


static void
pgsim_http_completed(void *cls, struct MHD_Connection *c, void **ctx,
    enum MHD_RequestTerminationCode code)
{
    pgsim_upload_t  *up;

    (void) cls;
    (void) c;
    (void) code;

    up = *ctx;

    if (up) {
        free(up->body);
        free(up);
        *ctx = NULL;
    }
}


static enum MHD_Result
pgsim_http_answer(struct MHD_Connection *c, pgsim_reply_t *rep)
{
    size_t                n;
    enum MHD_Result       rc;
    struct MHD_Response  *r;

    if (rep->body == NULL) {
        pgsim_reply_error(rep, 500, "FAILED_INTERNAL_SYSTEM_PROCESSING",
                          "Out of memory, or the ledger failed.");

        if (rep->body == NULL) {
            return MHD_NO;
        }
    }

    n = strlen(rep->body);

    if (rep->fate == PGSIM_RESET) {
        r = MHD_create_response_from_callback(n, n, pgsim_http_half,
                                              rep->body, free);
    } else {
        r = MHD_create_response_from_buffer(n, rep->body,
                                            MHD_RESPMEM_MUST_FREE);
    }

    if (r == NULL) {
        free(rep->body);
        return MHD_NO;
    }

    MHD_add_response_header(r, "Content-Type",
                            "application/json;charset=UTF-8");

    rc = MHD_queue_response(c, rep->status, r);
    MHD_destroy_response(r);

    return rc;
}


/* The first half of the body, then a broken connection. */

static ssize_t
pgsim_http_half(void *cls, uint64_t pos, char *buf, size_t max)
{
    const char *body = cls;

    size_t  n;

    n = strlen(body) / 2;

    if (pos >= n) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }

    if (max > n - pos) {
        max = n - pos;
    }

    memcpy(buf, body + pos, max);

    return max;
}
