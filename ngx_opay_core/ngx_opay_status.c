
/*
 * The private listener of an instance: /livez, /readyz, /healthz, /metrics.
 * Answers come from what the event loop knows already; nothing is probed by
 * a request.  Event loop only.
 */

#include "ngx_opay_work.h"
#include "ngx_opay_discovery.h"


#define NGX_OPAY_READY_STALE  5000     /* ms since the last probe's end */
#define NGX_OPAY_STATUS_MAX   4096


static ngx_int_t ngx_opay_status_send(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, u_char *p, size_t len);
static ngx_int_t ngx_opay_status_ready(ngx_http_request_t *r);
static ngx_int_t ngx_opay_status_metrics(ngx_http_request_t *r);
static u_char *ngx_opay_status_lanes(ngx_opay_main_conf_t *omcf, u_char *p,
    u_char *last);


ngx_int_t
ngx_opay_status_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    static u_char  live[] = "{\"status\":\"pass\"}\n";

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        if (ngx_opay_header_out(r, "Allow", 5, "GET, HEAD", 9) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_opay_problem_send(r, OPAY_E_METHOD_NOT_ALLOWED, NULL);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

#define ngx_opay_status_is(s)                                                \
    (r->uri.len == sizeof(s) - 1                                             \
     && ngx_strncmp(r->uri.data, s, sizeof(s) - 1) == 0)

    if (ngx_opay_status_is("/livez")) {
        return ngx_opay_status_send(r, NGX_HTTP_OK, "application/health+json",
                                    live, sizeof(live) - 1);
    }

    if (ngx_opay_status_is("/readyz") || ngx_opay_status_is("/healthz")) {
        return ngx_opay_status_ready(r);
    }

    if (ngx_opay_status_is("/metrics")) {
        return ngx_opay_status_metrics(r);
    }

    return ngx_opay_problem_send(r, OPAY_E_NOT_FOUND,
                                 "Here are /livez, /readyz, /healthz and "
                                 "/metrics.");
}


/* draft-inadarei-api-health-check-05 */

static ngx_int_t
ngx_opay_status_ready(ngx_http_request_t *r)
{
    u_char                *p, *start, *last;
    ngx_uint_t             i, ok, all;
    ngx_opay_run_t        *run;
    ngx_opay_srv_conf_t  **oscf;
    ngx_opay_main_conf_t  *omcf;

    start = ngx_pnalloc(r->pool, NGX_OPAY_STATUS_MAX);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = start + NGX_OPAY_STATUS_MAX;

    omcf = ngx_http_get_module_main_conf(r, ngx_opay_core_module);
    oscf = omcf->services.elts;
    all = !ngx_exiting;

    p = ngx_slprintf(start, last, "{\"version\":\"" NGX_OPAY_VERSION "\","
                     "\"checks\":{");

    for (i = 0; i < omcf->services.nelts; i++) {

        run = oscf[i]->run;

        ok = run && run->ready
             && ngx_current_msec - run->ready_at < NGX_OPAY_READY_STALE;
        all = all && ok;

        p = ngx_slprintf(p, last, "%s\"%s:database\":[{\"componentType\":"
                         "\"datastore\",\"status\":\"%s\"}]",
                         i ? "," : "", oscf[i]->service->name,
                         ok ? "pass" : "fail");
    }

    p = ngx_slprintf(p, last, "},\"status\":\"%s\"%s}\n",
                     all ? "pass" : "fail",
                     ngx_exiting ? ",\"output\":\"draining\"" : "");

    return ngx_opay_status_send(r, all ? NGX_HTTP_OK
                                       : NGX_HTTP_SERVICE_UNAVAILABLE,
                                "application/health+json", start, p - start);
}


static ngx_int_t
ngx_opay_status_metrics(ngx_http_request_t *r)
{
    size_t                 size;
    u_char                *p, *start, *last;
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_http_get_module_main_conf(r, ngx_opay_core_module);

    size = ngx_opay_metrics_size(omcf) + NGX_OPAY_DISCOVERY_METRICS_MAX
           + (omcf->services.nelts + 1) * NGX_OPAY_STATUS_MAX;

    start = ngx_pnalloc(r->pool, size);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = start + size;

    p = ngx_opay_metrics_print(omcf, start, last);
    p = ngx_opay_status_lanes(omcf, p, last);
    p = ngx_opay_discovery_metrics(p, last);

    return ngx_opay_status_send(r, NGX_HTTP_OK,
                               "text/plain; version=0.0.4; charset=utf-8",
                               start, p - start);
}


/* Gauges of the worker that happens to answer. */

static u_char *
ngx_opay_status_lanes(ngx_opay_main_conf_t *omcf, u_char *p, u_char *last)
{
    ngx_uint_t             i, k, g;
    ngx_opay_run_t        *run;
    ngx_opay_srv_conf_t  **oscf;

    static const char  *lanes[] = { "read", "write", "hash" };
    static const char  *help[] = {
        "# HELP opay_queue_depth Calls that wait for a pool thread "
        "(this worker).\n# TYPE opay_queue_depth gauge\n",
        "# HELP opay_batches_running Batches on pool threads "
        "(this worker).\n# TYPE opay_batches_running gauge\n"
    };
    static const char  *names[] = { "opay_queue_depth",
                                    "opay_batches_running" };

    oscf = omcf->services.elts;

    if (omcf->services.nelts == 0) {
        return p;
    }

    for (g = 0; g < 2; g++) {

        p = ngx_slprintf(p, last, "%s", help[g]);

        for (i = 0; i < omcf->services.nelts; i++) {

            run = oscf[i]->run;

            for (k = 0; run && k < NGX_OPAY_LANES; k++) {

                if (run->lanes[k] == NULL) {
                    continue;
                }

                p = ngx_slprintf(p, last,
                                 "%s{service=\"%s\",lane=\"%s\"} %ui\n",
                                 names[g], oscf[i]->service->name, lanes[k],
                                 g == 0 ? ngx_opay_lane_backlog(run->lanes[k])
                                        : ngx_opay_lane_busy(run->lanes[k]));
            }
        }
    }

    return p;
}


static ngx_int_t
ngx_opay_status_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, u_char *p, size_t len)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = p;
    b->last = p + len;
    b->memory = 1;
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
