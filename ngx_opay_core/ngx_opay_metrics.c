
/* Metrics: see ngx_opay_metrics.h. */

#include "ngx_opay_conf.h"


#define NGX_OPAY_METRICS_MAGIC   0x6f706179
#define NGX_OPAY_METRICS_CLASSES 5
#define NGX_OPAY_METRICS_BUCKETS 13
#define NGX_OPAY_METRICS_LINE    256


typedef struct {
    ngx_atomic_t  status[NGX_OPAY_METRICS_CLASSES];   /* 1xx .. 5xx */
    ngx_atomic_t  bucket[NGX_OPAY_METRICS_BUCKETS + 1];
    ngx_atomic_t  sum;                                /* microseconds */
} ngx_opay_row_t;


typedef struct {
    ngx_uint_t    magic;
    uint32_t      layout;          /* CRC of the series' names */
    ngx_atomic_t  counters[NGX_OPAY_M_MAX];
    ngx_opay_row_t  rows[1];
} ngx_opay_block_t;


typedef struct {
    const char   *name;
    const char   *help;
    const char   *labels;          /* "" or `{lane="read"}` */
} ngx_opay_metric_info_t;


static uint32_t ngx_opay_metrics_layout(ngx_opay_main_conf_t *omcf);
static u_char *ngx_opay_metrics_requests(ngx_opay_main_conf_t *omcf,
    u_char *p, u_char *last);
static u_char *ngx_opay_metrics_durations(ngx_opay_main_conf_t *omcf,
    u_char *p, u_char *last);


/* seconds, and the same in microseconds */

static const char  *ngx_opay_bounds[NGX_OPAY_METRICS_BUCKETS] = {
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
    "0.5", "1", "2.5", "5", "10"
};

static const ngx_uint_t  ngx_opay_bounds_us[NGX_OPAY_METRICS_BUCKETS] = {
    1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
    500000, 1000000, 2500000, 5000000, 10000000
};


/* rows of one name stand together: HELP and TYPE are printed once */

static const ngx_opay_metric_info_t  ngx_opay_metric_info[] = {
    { "opay_jwt_total", "Access tokens seen.", "{result=\"verified\"}" },
    { "opay_jwt_total", NULL, "{result=\"cached\"}" },
    { "opay_jwt_total", NULL, "{result=\"rejected\"}" },
    { "opay_queue_refused_total", "Calls refused: the queue was full.", "" },
    { "opay_queue_expired_total", "Calls refused: they waited too long.", "" },
    { "opay_batches_total", "Batches given to pool threads.",
      "{lane=\"read\"}" },
    { "opay_batches_total", NULL, "{lane=\"write\"}" },
    { "opay_batches_total", NULL, "{lane=\"hash\"}" },
    { "opay_calls_total", "Calls in those batches.", "{lane=\"read\"}" },
    { "opay_calls_total", NULL, "{lane=\"write\"}" },
    { "opay_calls_total", NULL, "{lane=\"hash\"}" },
    { "opay_idempotency_total", "Requests decided by their key.",
      "{result=\"replay\"}" },
    { "opay_idempotency_total", NULL, "{result=\"conflict\"}" },
    { "opay_idempotency_total", NULL, "{result=\"mismatch\"}" },
    { "opay_hold_expired_total", "Requests held beyond opay_shutdown_hold.",
      "" }
};


/* this worker's view of the block; set when the zone is attached */
static ngx_opay_block_t  *ngx_opay_block;


ngx_int_t
ngx_opay_metrics_series(ngx_conf_t *cf, const char *service,
    const char *method, const char *route)
{
    ngx_opay_series_t     *s;
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_core_module);

    s = ngx_array_push(&omcf->series);
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->service = service;
    s->method = method;
    s->route = route;

    return omcf->series.nelts - 1;
}


void
ngx_opay_metrics_use(ngx_http_request_t *r, ngx_int_t series)
{
    ngx_opay_ctx_t  *ctx;

    ctx = ngx_opay_ctx_get(r);

    if (ctx) {
        ctx->series = series;
    }
}


void
ngx_opay_metrics_add(ngx_opay_metric_e m, ngx_uint_t n)
{
    if (ngx_opay_block) {
        (void) ngx_atomic_fetch_add(&ngx_opay_block->counters[m], n);
    }
}


ngx_int_t
ngx_opay_metrics_log_handler(ngx_http_request_t *r)
{
    ngx_uint_t       i, class;
    struct timeval   tv;
    ngx_opay_row_t  *row;
    ngx_opay_ctx_t  *ctx;
    ngx_int_t        us;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);

    if (ctx == NULL || ctx->series < 0 || ngx_opay_block == NULL) {
        return NGX_OK;
    }

    row = &ngx_opay_block->rows[ctx->series];

    class = r->headers_out.status / 100;

    if (class < 1 || class > NGX_OPAY_METRICS_CLASSES) {
        class = NGX_OPAY_METRICS_CLASSES;
    }

    (void) ngx_atomic_fetch_add(&row->status[class - 1], 1);

    /* the request's start is known in milliseconds */

    ngx_gettimeofday(&tv);

    us = (tv.tv_sec - r->start_sec) * 1000000
         + tv.tv_usec - (ngx_int_t) r->start_msec * 1000;
    us = ngx_max(us, 0);

    for (i = 0; i < NGX_OPAY_METRICS_BUCKETS; i++) {
        if ((ngx_uint_t) us <= ngx_opay_bounds_us[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&row->bucket[i], 1);
    (void) ngx_atomic_fetch_add(&row->sum, us);

    return NGX_OK;
}


/* On a reload this runs in the master while the old workers still count. */

ngx_int_t
ngx_opay_metrics_zone_init(ngx_shm_zone_t *zone, void *data)
{
    size_t                 size;
    ngx_slab_pool_t       *shpool;
    ngx_opay_block_t      *block;
    ngx_opay_main_conf_t  *omcf;

    omcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    block = shpool->data;

    if ((data || zone->shm.exists) && block
        && block->magic == NGX_OPAY_METRICS_MAGIC
        && block->layout == ngx_opay_metrics_layout(omcf))
    {
        return NGX_OK;
    }

    size = sizeof(ngx_opay_block_t)
           + omcf->series.nelts * sizeof(ngx_opay_row_t);

    /* old workers keep the old block until they are gone: it is not freed */

    block = ngx_slab_calloc(shpool, size);

    if (block == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "opay_zone is too small: %uz bytes are needed for "
                      "%ui routes", size, omcf->series.nelts);
        return NGX_ERROR;
    }

    block->magic = NGX_OPAY_METRICS_MAGIC;
    block->layout = ngx_opay_metrics_layout(omcf);

    shpool->data = block;

    return NGX_OK;
}


void
ngx_opay_metrics_attach(ngx_opay_main_conf_t *omcf)
{
    ngx_opay_block = omcf->zone
                     ? ((ngx_slab_pool_t *) omcf->zone->shm.addr)->data
                     : NULL;
}


static uint32_t
ngx_opay_metrics_layout(ngx_opay_main_conf_t *omcf)
{
    uint32_t            crc;
    ngx_uint_t          i;
    ngx_opay_series_t  *s;

    ngx_crc32_init(crc);

    s = omcf->series.elts;

    for (i = 0; i < omcf->series.nelts; i++) {
        ngx_crc32_update(&crc, (u_char *) s[i].service,
                         ngx_strlen(s[i].service) + 1);
        ngx_crc32_update(&crc, (u_char *) s[i].method,
                         ngx_strlen(s[i].method) + 1);
        ngx_crc32_update(&crc, (u_char *) s[i].route,
                         ngx_strlen(s[i].route) + 1);
    }

    ngx_crc32_final(crc);

    return crc;
}


size_t
ngx_opay_metrics_size(ngx_opay_main_conf_t *omcf)
{
    return (omcf->series.nelts + 1)
           * (NGX_OPAY_METRICS_CLASSES + NGX_OPAY_METRICS_BUCKETS + 3)
           * NGX_OPAY_METRICS_LINE
           + (NGX_OPAY_M_MAX + 8) * NGX_OPAY_METRICS_LINE;
}


u_char *
ngx_opay_metrics_print(ngx_opay_main_conf_t *omcf, u_char *p, u_char *last)
{
    ngx_uint_t                     i;
    const ngx_opay_metric_info_t  *m;

    p = ngx_slprintf(p, last,
                     "# HELP opay_build_info Version of opay.\n"
                     "# TYPE opay_build_info gauge\n"
                     "opay_build_info{version=\"" NGX_OPAY_VERSION "\","
                     "nginx=\"" NGINX_VERSION "\"} 1\n");

    if (ngx_opay_block == NULL) {
        return p;
    }

    for (i = 0; i < NGX_OPAY_M_MAX; i++) {
        m = &ngx_opay_metric_info[i];

        if (m->help) {
            p = ngx_slprintf(p, last,
                             "# HELP %s %s\n# TYPE %s counter\n",
                             m->name, m->help, m->name);
        }

        p = ngx_slprintf(p, last, "%s%s %uA\n", m->name, m->labels,
                         ngx_opay_block->counters[i]);
    }

    if (omcf->series.nelts == 0) {
        return p;
    }

    p = ngx_opay_metrics_requests(omcf, p, last);

    return ngx_opay_metrics_durations(omcf, p, last);
}


static u_char *
ngx_opay_metrics_requests(ngx_opay_main_conf_t *omcf, u_char *p, u_char *last)
{
    ngx_uint_t          i, k;
    ngx_opay_row_t     *row;
    ngx_opay_series_t  *s;

    s = omcf->series.elts;

    p = ngx_slprintf(p, last,
                     "# HELP opay_http_requests_total Requests answered.\n"
                     "# TYPE opay_http_requests_total counter\n");

    for (i = 0; i < omcf->series.nelts; i++) {
        row = &ngx_opay_block->rows[i];

        for (k = 0; k < NGX_OPAY_METRICS_CLASSES; k++) {
            p = ngx_slprintf(p, last,
                             "opay_http_requests_total{service=\"%s\","
                             "method=\"%s\",route=\"%s\",status=\"%uixx\"} "
                             "%uA\n",
                             s[i].service, s[i].method, s[i].route, k + 1,
                             row->status[k]);
        }
    }

    return p;
}


static u_char *
ngx_opay_metrics_durations(ngx_opay_main_conf_t *omcf, u_char *p,
    u_char *last)
{
    ngx_uint_t          i, k, n;
    ngx_opay_row_t     *row;
    ngx_opay_series_t  *s;

    s = omcf->series.elts;

    p = ngx_slprintf(p, last,
                     "# HELP opay_http_request_duration_seconds "
                     "Time from the request's first byte to its log line.\n"
                     "# TYPE opay_http_request_duration_seconds "
                     "histogram\n");

#define ngx_opay_labels  "{service=\"%s\",method=\"%s\",route=\"%s\""
#define ngx_opay_name    "opay_http_request_duration_seconds"

    for (i = 0; i < omcf->series.nelts; i++) {
        row = &ngx_opay_block->rows[i];

        for (n = 0, k = 0; k < NGX_OPAY_METRICS_BUCKETS; k++) {
            n += row->bucket[k];
            p = ngx_slprintf(p, last, ngx_opay_name "_bucket"
                             ngx_opay_labels ",le=\"%s\"} %ui\n",
                             s[i].service, s[i].method, s[i].route,
                             ngx_opay_bounds[k], n);
        }

        n += row->bucket[k];

        p = ngx_slprintf(p, last, ngx_opay_name "_bucket" ngx_opay_labels
                         ",le=\"+Inf\"} %ui\n", s[i].service, s[i].method,
                         s[i].route, n);
        p = ngx_slprintf(p, last, ngx_opay_name "_sum" ngx_opay_labels
                         "} %uA.%06uA\n", s[i].service, s[i].method,
                         s[i].route, row->sum / 1000000,
                         row->sum % 1000000);
        p = ngx_slprintf(p, last, ngx_opay_name "_count" ngx_opay_labels
                         "} %ui\n", s[i].service, s[i].method, s[i].route,
                         n);
    }

    return p;
}
