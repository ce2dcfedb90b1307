
/*
 * opay_sidecar_status: the private listener, /livez /readyz /healthz and
 * /metrics, plain HTTP on loopback.
 *
 * DESIGN
 *
 * libmicrohttpd runs its own thread and serves one connection after the
 * other from a poll loop; handlers only read the state and never block.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <microhttpd.h>

#include "opay_sidecar.h"


#define OPAY_STATUS_CONNS    32
#define OPAY_STATUS_TIMEOUT  10

typedef struct {
    const opay_sidecar_conf_t  *conf;
    opay_sidecar_state_t       *state;
    struct MHD_Daemon          *daemon;
} opay_status_t;


static const char  opay_status_health[] = "application/health+json";
static const char  opay_status_text[] =
                       "text/plain; version=0.0.4; charset=utf-8";
static const char  opay_status_problem[] = "application/problem+json";


/* body is malloc'ed and taken; NULL answers 500 by closing */
static enum MHD_Result
opay_status_send(struct MHD_Connection *c, unsigned status, const char *type,
    char *body, const char *allow)
{
    enum MHD_Result       rc;
    struct MHD_Response  *resp;

    if (body == NULL) {
        return MHD_NO;
    }

    resp = MHD_create_response_from_buffer(strlen(body), body,
                                           MHD_RESPMEM_MUST_FREE);
    if (resp == NULL) {
        free(body);
        return MHD_NO;
    }

    rc = MHD_add_response_header(resp, "Content-Type", type);

    if (rc == MHD_YES) {
        rc = MHD_add_response_header(resp, "Cache-Control", "no-store");
    }

    if (rc == MHD_YES && allow) {
        rc = MHD_add_response_header(resp, "Allow", allow);
    }

    if (rc == MHD_YES) {
        rc = MHD_queue_response(c, status, resp);
    }

    MHD_destroy_response(resp);

    return rc;
}


static enum MHD_Result
opay_status_fail(struct MHD_Connection *c, unsigned status, const char *code,
    const char *title, const char *allow)
{
    char  *body;

    if (asprintf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\","
                 "\"status\":%u,\"code\":\"%s\"}\n", title, status, code)
        == -1)
    {
        return MHD_NO;
    }

    return opay_status_send(c, status, opay_status_problem, body, allow);
}


static enum MHD_Result
opay_status_handler(void *data, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *upload,
    size_t *upload_size, void **ctx)
{
    int             ok;
    char           *body;
    opay_status_t  *s;

    (void) version;
    (void) upload;

    s = data;

    /* the first call comes before the body, if any; bodies are dropped */
    if (*ctx == NULL) {
        *ctx = s;
        return MHD_YES;
    }

    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return opay_status_fail(c, MHD_HTTP_METHOD_NOT_ALLOWED,
                                "method_not_allowed", "Method not allowed",
                                "GET, HEAD");
    }

    if (strcmp(url, "/metrics") == 0) {
        return opay_status_send(c, MHD_HTTP_OK, opay_status_text,
                                opay_sidecar_metrics(s->conf, s->state),
                                NULL);
    }

    if (strcmp(url, "/livez") == 0 || strcmp(url, "/readyz") == 0
        || strcmp(url, "/healthz") == 0)
    {
        body = opay_sidecar_health(s->conf, s->state, url[1] != 'l', &ok);

        return opay_status_send(c, ok ? MHD_HTTP_OK
                                      : MHD_HTTP_SERVICE_UNAVAILABLE,
                                opay_status_health, body, NULL);
    }

    return opay_status_fail(c, MHD_HTTP_NOT_FOUND, "not_found", "Not found",
                            NULL);
}


void *
opay_sidecar_status_start(const opay_sidecar_conf_t *conf,
    opay_sidecar_state_t *st)
{
    opay_status_t  *s;

    s = calloc(1, sizeof(opay_status_t));
    if (s == NULL) {
        return NULL;
    }

    s->conf = conf;
    s->state = st;

    s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD
                                 |MHD_USE_POLL,
                                 0, NULL, NULL, opay_status_handler, s,
                                 MHD_OPTION_SOCK_ADDR, &conf->status_addr,
                                 MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned) OPAY_STATUS_CONNS,
                                 MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned) OPAY_STATUS_TIMEOUT,
                                 MHD_OPTION_END);
    if (s->daemon == NULL) {
        opay_log(OPAY_LOG_ALERT, "cannot listen on %s (\"status_listen\"): "
                 "%s", conf->status_listen, strerror(errno));
        free(s);
        return NULL;
    }

    return s;
}


void
opay_sidecar_status_stop(void *status)
{
    opay_status_t  *s;

    s = status;
    MHD_stop_daemon(s->daemon);
    free(s);
}
