
/*
 * DESIGN
 *
 * A lane is a bounded queue in front of one thread pool, with `slots` batches
 * under way at most.  Calls wait by kind (the step they are at); a free slot
 * takes the kind that has waited longest, and up to
 *
 *     min(batch_max, ceil(waiting of this kind / free slots))
 *
 * of its calls: alone, a call is a batch of one and waits for nothing; under
 * load batches grow by themselves.  Dispatch is a posted event, so all that
 * one epoll pass has read can join one batch.
 *
 * Two calls with one idempotency scope never share a batch: the second stays
 * queued, and meets the first one's record.
 *
 * The queue is bounded by count (push fails: 503 at once) and by time (a call
 * that waited longer than opay_pool's wait= is answered 503 unexecuted, by a
 * timer when every slot is stuck).  Neither bound applies to jobs, of which
 * there are few, nor to calls that have written or asked somebody already:
 * what they have begun must not be lost.
 *
 * Event loop only, but for ngx_opay_lane_thread(), which runs in the pool and
 * touches the batch, its calls, and that thread's database connection.
 */

#include "ngx_opay_work.h"
#include "ngx_opay_exec.h"
#include "ngx_opay_thread.h"


typedef struct {
    ngx_thread_task_t       task;
    ngx_queue_t             queue;      /* in lane->spare */
    ngx_opay_lane_t        *lane;
    ngx_opay_kind_t        *kind;
    const ngx_opay_step_t  *step;
    unsigned                idem;
    size_t                  n;
    opay_call_t            *calls[NGX_OPAY_BATCH_MAX];
} ngx_opay_batch_t;


struct ngx_opay_kind_s {
    ngx_queue_t             queue;      /* in lane->waiting when n > 0 */
    const ngx_opay_step_t  *step;
    unsigned                idem;
    ngx_queue_t             works;
    ngx_uint_t              n;
    ngx_opay_kind_t        *next;       /* all kinds ever seen */
};


struct ngx_opay_lane_s {
    ngx_opay_run_t         *run;
    ngx_opay_pool_conf_t   *conf;
    ngx_opay_lane_e         lane;
    ngx_cycle_t            *cycle;
    ngx_uint_t              backlog;
    ngx_uint_t              busy;
    ngx_opay_kind_t        *kinds;
    ngx_queue_t             waiting;    /* kinds, longest wait first */
    ngx_queue_t             spare;      /* batches */
    ngx_event_t             dispatch;
    ngx_event_t             expiry;
    ngx_connection_t        dummy;      /* what a timer's data is logged as */
};


#define ngx_opay_lane_bounds(w)  ((w)->r != NULL && !(w)->begun)


static ngx_opay_kind_t *ngx_opay_lane_kind(ngx_opay_lane_t *lane,
    ngx_opay_work_t *w);
static void ngx_opay_lane_dispatch(ngx_event_t *ev);
static void ngx_opay_lane_timer(ngx_event_t *ev);
static void ngx_opay_lane_expire(ngx_opay_lane_t *lane, ngx_opay_kind_t *kind);
static void ngx_opay_lane_fill(ngx_opay_lane_t *lane, ngx_opay_kind_t *kind,
    ngx_opay_batch_t *b);
static void ngx_opay_lane_post(ngx_opay_lane_t *lane, ngx_opay_batch_t *b);
static void ngx_opay_lane_thread(void *data, ngx_log_t *log);
static void ngx_opay_lane_complete(ngx_event_t *ev);


ngx_opay_lane_t *
ngx_opay_lane_create(ngx_cycle_t *cycle, ngx_opay_run_t *run,
    ngx_opay_pool_conf_t *conf, ngx_opay_lane_e which)
{
    ngx_uint_t         i;
    ngx_opay_lane_t   *lane;
    ngx_opay_batch_t  *b;

    lane = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_lane_t));
    if (lane == NULL) {
        return NULL;
    }

    lane->run = run;
    lane->conf = conf;
    lane->lane = which;
    lane->cycle = cycle;
    lane->dispatch.data = lane;
    lane->dispatch.log = cycle->log;
    lane->dispatch.handler = ngx_opay_lane_dispatch;

    /* who waits holds the worker by himself: see ngx_opay_task.c */

    lane->dummy.fd = (ngx_socket_t) -1;
    lane->dummy.data = lane;
    lane->expiry.data = &lane->dummy;
    lane->expiry.log = cycle->log;
    lane->expiry.handler = ngx_opay_lane_timer;
    lane->expiry.cancelable = 1;

    ngx_queue_init(&lane->waiting);
    ngx_queue_init(&lane->spare);

    for (i = 0; i < conf->slots; i++) {
        b = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_batch_t));
        if (b == NULL) {
            return NULL;
        }

        b->lane = lane;
        b->task.ctx = b;
        b->task.handler = ngx_opay_lane_thread;
        b->task.event.data = b;
        b->task.event.log = cycle->log;
        b->task.event.handler = ngx_opay_lane_complete;

        ngx_queue_insert_tail(&lane->spare, &b->queue);
    }

    return lane;
}


ngx_int_t
ngx_opay_lane_push(ngx_opay_lane_t *lane, ngx_opay_work_t *w)
{
    ngx_opay_kind_t  *kind;

    if (lane->backlog >= lane->conf->queue && ngx_opay_lane_bounds(w)) {
        return NGX_ERROR;
    }

    kind = ngx_opay_lane_kind(lane, w);
    if (kind == NULL) {
        return NGX_ERROR;
    }

    w->queued = ngx_current_msec;

    if (kind->n++ == 0) {
        ngx_queue_insert_tail(&lane->waiting, &kind->queue);
    }

    ngx_queue_insert_tail(&kind->works, &w->queue);
    lane->backlog++;

    if (ngx_opay_lane_bounds(w) && !lane->expiry.timer_set) {
        ngx_add_timer(&lane->expiry, lane->conf->wait + 1);
    }

    ngx_post_event(&lane->dispatch, &ngx_posted_events);

    return NGX_OK;
}


ngx_uint_t
ngx_opay_lane_backlog(ngx_opay_lane_t *lane)
{
    return lane->backlog;
}


ngx_uint_t
ngx_opay_lane_busy(ngx_opay_lane_t *lane)
{
    return lane->busy;
}


static ngx_opay_kind_t *
ngx_opay_lane_kind(ngx_opay_lane_t *lane, ngx_opay_work_t *w)
{
    ngx_opay_kind_t        *kind;
    const ngx_opay_step_t  *step;

    step = &w->steps[w->step];

    for (kind = lane->kinds; kind; kind = kind->next) {
        if (kind->step == step && kind->idem == w->idem) {
            return kind;
        }
    }

    kind = ngx_pcalloc(lane->cycle->pool, sizeof(ngx_opay_kind_t));
    if (kind == NULL) {
        return NULL;
    }

    kind->step = step;
    kind->idem = w->idem;
    kind->next = lane->kinds;
    lane->kinds = kind;

    ngx_queue_init(&kind->works);

    return kind;
}


static void
ngx_opay_lane_dispatch(ngx_event_t *ev)
{
    ngx_queue_t       *q;
    ngx_opay_lane_t   *lane;
    ngx_opay_kind_t   *kind;
    ngx_opay_batch_t  *b;

    lane = ev->data;

    while (lane->busy < lane->conf->slots && lane->backlog) {

        kind = ngx_queue_data(ngx_queue_head(&lane->waiting),
                              ngx_opay_kind_t, queue);

        ngx_opay_lane_expire(lane, kind);

        if (kind->n == 0) {
            continue;
        }

        q = ngx_queue_head(&lane->spare);
        ngx_queue_remove(q);
        b = ngx_queue_data(q, ngx_opay_batch_t, queue);

        ngx_opay_lane_fill(lane, kind, b);
        ngx_opay_lane_post(lane, b);
    }
}


static void
ngx_opay_lane_timer(ngx_event_t *ev)
{
    ngx_msec_t         left, next;
    ngx_queue_t       *q;
    ngx_connection_t  *c;
    ngx_opay_lane_t   *lane;
    ngx_opay_kind_t   *kind;
    ngx_opay_work_t   *w;

    c = ev->data;
    lane = c->data;
    next = 0;

    for (kind = lane->kinds; kind; kind = kind->next) {

        ngx_opay_lane_expire(lane, kind);

        if (kind->n == 0) {
            continue;
        }

        q = ngx_queue_head(&kind->works);
        w = ngx_queue_data(q, ngx_opay_work_t, queue);

        if (ngx_opay_lane_bounds(w)) {
            left = w->queued + lane->conf->wait + 1 - ngx_current_msec;
            next = (next == 0) ? left : ngx_min(next, left);
        }
    }

    /* an answer may have let the next request of its connection in */

    if (next && !ev->timer_set) {
        ngx_add_timer(ev, next);
    }
}


/* Answers what has waited too long; oldest first, so it stops early. */

static void
ngx_opay_lane_expire(ngx_opay_lane_t *lane, ngx_opay_kind_t *kind)
{
    ngx_queue_t      *q;
    ngx_opay_work_t  *w;

    while (kind->n) {

        q = ngx_queue_head(&kind->works);
        w = ngx_queue_data(q, ngx_opay_work_t, queue);

        if ((ngx_msec_int_t) (ngx_current_msec - w->queued)
            <= (ngx_msec_int_t) lane->conf->wait
            || !ngx_opay_lane_bounds(w))
        {
            break;
        }

        ngx_queue_remove(q);
        lane->backlog--;

        if (--kind->n == 0) {
            ngx_queue_remove(&kind->queue);
        }

        ngx_opay_metrics_add(NGX_OPAY_M_QUEUE_EXPIRED, 1);
        opay_call_fail(&w->call, OPAY_E_OVERLOADED,
                       "The request waited too long; try again shortly.");
        w->call.retry_after = 1;

        ngx_opay_work_next(w);
    }
}


static void
ngx_opay_lane_fill(ngx_opay_lane_t *lane, ngx_opay_kind_t *kind,
    ngx_opay_batch_t *b)
{
    ngx_uint_t        i, max, slots;
    ngx_queue_t      *q, *next;
    ngx_opay_work_t  *w;

    slots = lane->conf->slots - lane->busy;
    max = (kind->n + slots - 1) / slots;
    max = ngx_min(max, ngx_min(kind->step->batch_max, NGX_OPAY_BATCH_MAX));
    max = ngx_max(max, 1);

    b->kind = kind;
    b->step = kind->step;
    b->idem = kind->idem;
    b->n = 0;

    for (q = ngx_queue_head(&kind->works);
         q != ngx_queue_sentinel(&kind->works) && b->n < max;
         q = next)
    {
        next = ngx_queue_next(q);
        w = ngx_queue_data(q, ngx_opay_work_t, queue);

        if (w->call.idem.present) {
            for (i = 0; i < b->n; i++) {
                if (b->calls[i]->idem.present
                    && ngx_memcmp(b->calls[i]->idem.scope,
                                  w->call.idem.scope, 32) == 0)
                {
                    break;
                }
            }

            if (i < b->n) {
                continue;
            }
        }

        ngx_queue_remove(q);
        kind->n--;
        lane->backlog--;

        b->calls[b->n++] = &w->call;
    }

    /* back of the line, so that no kind starves another */

    ngx_queue_remove(&kind->queue);

    if (kind->n) {
        ngx_queue_insert_tail(&lane->waiting, &kind->queue);
    }
}


static void
ngx_opay_lane_post(ngx_opay_lane_t *lane, ngx_opay_batch_t *b)
{
    ngx_uint_t  i, m;

    m = lane->lane - NGX_OPAY_READ;
    ngx_opay_metrics_add(NGX_OPAY_M_BATCHES_READ + m, 1);
    ngx_opay_metrics_add(NGX_OPAY_M_CALLS_READ + m, b->n);

    lane->busy++;

    if (ngx_thread_task_post(lane->conf->pool, &b->task) == NGX_OK) {
        return;
    }

    /* the pool's own queue is full, or its mutex failed; it has logged */

    for (i = 0; i < b->n; i++) {
        opay_call_fail(b->calls[i], OPAY_E_OVERLOADED, NULL);
        b->calls[i]->retry_after = 1;
    }

    b->task.event.complete = 1;
    ngx_post_event(&b->task.event, &ngx_posted_events);
}


static void
ngx_opay_lane_thread(void *data, ngx_log_t *log)
{
    ngx_opay_batch_t *b = data;

    size_t            i;
    opay_db_t        *db;
    ngx_opay_lane_t  *lane;

    lane = b->lane;

    if (lane->lane == NGX_OPAY_HASH) {
        ngx_opay_thread_demote();
        (void) b->step->exec(NULL, b->calls, b->n);
        return;
    }

    db = ngx_opay_thread_db(&lane->run->conf->db_conf);

    if (db == NULL) {
        for (i = 0; i < b->n; i++) {
            opay_call_fail(b->calls[i], OPAY_E_UNAVAILABLE, NULL);
        }

        return;
    }

    ngx_opay_exec_run(db, b->step, b->idem, b->calls, b->n, log);

    ngx_opay_thread_notify(lane->run->notify_fd, &lane->run->conf->notify,
                           b->calls, b->n);
}


static void
ngx_opay_lane_complete(ngx_event_t *ev)
{
    size_t             i, n;
    opay_call_t       *calls[NGX_OPAY_BATCH_MAX];
    ngx_opay_lane_t   *lane;
    ngx_opay_batch_t  *b;

    b = ev->data;
    lane = b->lane;

    ev->complete = 0;

    n = b->n;
    ngx_memcpy(calls, b->calls, n * sizeof(opay_call_t *));

    lane->busy--;
    ngx_queue_insert_tail(&lane->spare, &b->queue);

    /* the next batch starts before this one is answered */

    if (lane->backlog) {
        ngx_opay_lane_dispatch(&lane->dispatch);
    }

    for (i = 0; i < n; i++) {
        ngx_opay_work_next((ngx_opay_work_t *) calls[i]);
    }
}
