
/*
 * Metrics in shared memory; Prometheus text.
 *
 * DESIGN
 *
 * One block per zone: a row of counters and histogram buckets per series
 * (service, method, route), fixed when the configuration is read, and a small
 * table of named counters.  All cells are atomics, so any thread of any
 * worker may add; readers sum nothing and take no lock.  A reload with the
 * same routes keeps the block; with other routes counters restart at 0.
 */

#ifndef _NGX_OPAY_METRICS_H_INCLUDED_
#define _NGX_OPAY_METRICS_H_INCLUDED_


#include "ngx_opay_core.h"


typedef enum {
    NGX_OPAY_M_JWT_OK = 0,
    NGX_OPAY_M_JWT_CACHED,
    NGX_OPAY_M_JWT_REJECTED,
    NGX_OPAY_M_QUEUE_REFUSED,
    NGX_OPAY_M_QUEUE_EXPIRED,
    NGX_OPAY_M_BATCHES_READ,
    NGX_OPAY_M_BATCHES_WRITE,
    NGX_OPAY_M_BATCHES_HASH,
    NGX_OPAY_M_CALLS_READ,
    NGX_OPAY_M_CALLS_WRITE,
    NGX_OPAY_M_CALLS_HASH,
    NGX_OPAY_M_IDEM_REPLAY,
    NGX_OPAY_M_IDEM_CONFLICT,
    NGX_OPAY_M_IDEM_MISMATCH,
    NGX_OPAY_M_HOLD_EXPIRED,
    NGX_OPAY_M_MAX
} ngx_opay_metric_e;


/* Configuration time.  Registers a series; NGX_ERROR: out of memory. */
ngx_int_t ngx_opay_metrics_series(ngx_conf_t *cf, const char *service,
    const char *method, const char *route);

/* Event loop.  The series that the LOG phase will count this request in. */
void ngx_opay_metrics_use(ngx_http_request_t *r, ngx_int_t series);

/* Any thread. */
void ngx_opay_metrics_add(ngx_opay_metric_e m, ngx_uint_t n);


#endif /* _NGX_OPAY_METRICS_H_INCLUDED_ */
