
/*
 * DESIGN
 *
 * The sole owner of r->main->count (as far as opay is concerned),
 * r->main->blocked, r->aio and the hold timer.  Rules and the crashes that
 * they avoid:
 *
 *   - blocked keeps the request's memory when the client leaves: nginx then
 *     sets its own finalizer as write_event_handler, and release() calls
 *     whatever is there;
 *   - the hold timer is not cancelable: a worker that quits waits for it,
 *     that is, for the work.  When it fires the work still runs: nothing may
 *     be freed, so it says so and waits on;
 *   - write events may call write_event_handler early: it returns while
 *     r->aio is set;
 *   - one hold per request: blocked is 8 bits wide and there is one timer;
 *   - work that ends before ngx_opay_task_run() returns ends inside of the
 *     content handler, whose caller still needs the request: posted requests,
 *     among them the one that terminates it, are left to that caller.
 *
 * Event loop only.
 */

#include "ngx_opay_work.h"


static void ngx_opay_task_hold(ngx_opay_work_t *w, ngx_uint_t reads_only);
static void ngx_opay_task_write_handler(ngx_http_request_t *r);
static void ngx_opay_task_timeout(ngx_event_t *ev);


/* the event loop is inside of ngx_opay_task_run() */
static ngx_uint_t  ngx_opay_task_inside;


void
ngx_opay_task_run(ngx_opay_work_t *w, ngx_uint_t reads_only)
{
    ngx_opay_task_hold(w, reads_only);

    ngx_opay_task_inside++;
    ngx_opay_work_start(w);
    ngx_opay_task_inside--;
}


static void
ngx_opay_task_hold(ngx_opay_work_t *w, ngx_uint_t reads_only)
{
    ngx_http_request_t  *r;

    r = w->r;

    if (r->aio || r != r->main) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "opay: request is held already, or a subrequest");
        ngx_debug_point();
    }

    r->main->blocked++;
    r->aio = 1;

    r->write_event_handler = ngx_opay_task_write_handler;

    /* a write commits whether its client waits or not */
    r->read_event_handler = reads_only ? ngx_http_test_reading
                                       : ngx_http_block_reading;

    /* the data of a timer is logged as a connection */
    w->hold.data = r->connection;
    w->hold.log = r->connection->log;
    w->hold.handler = ngx_opay_task_timeout;
    ngx_add_timer(&w->hold, w->run->conf->hold);
}


void
ngx_opay_task_release(ngx_opay_work_t *w)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = w->r;
    c = r->connection;

    if (w->hold.timer_set) {
        ngx_del_timer(&w->hold);
    }

    r->main->blocked--;
    r->aio = 0;

    ngx_http_set_log_request(c->log, r);

    r->write_event_handler(r);

    /* r may be gone */

    if (!ngx_opay_task_inside) {
        ngx_http_run_posted_requests(c);
    }
}


static void
ngx_opay_task_write_handler(ngx_http_request_t *r)
{
    ngx_opay_ctx_t  *ctx;

    if (r->aio) {
        return;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ctx = ngx_http_get_module_ctx(r, ngx_opay_core_module);

    ngx_http_finalize_request(r, ngx_opay_reply_send(r, &ctx->work->call));
}


static void
ngx_opay_task_timeout(ngx_event_t *ev)
{
    ngx_opay_work_t  *w;

    w = (ngx_opay_work_t *) ((u_char *) ev - offsetof(ngx_opay_work_t, hold));

    ev->timedout = 0;

    ngx_opay_metrics_add(NGX_OPAY_M_HOLD_EXPIRED, 1);

    ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                  "opay: \"%s\" is under way for longer than "
                  "opay_shutdown_hold %M ms, still waiting",
                  w->steps[w->step].name, w->run->conf->hold);

    ngx_add_timer(ev, w->run->conf->hold);
}
