
/*
 * A call on its way through the steps of a route or a job; private to
 * ngx_opay_core.
 *
 * DESIGN
 *
 * ngx_opay_work_t lives in its call's arena.  It is owned by the event loop,
 * but for the time between ngx_thread_task_post() of its batch and that
 * batch's completion, when one pool thread owns it.
 *
 *   ngx_opay_work.c   the chain: which step next, what when it ends
 *   ngx_opay_lane.c   queues and batches in front of a thread pool
 *   ngx_opay_task.c   holds a request while its work is under way
 *   ngx_opay_job.c    background work on a timer
 */

#ifndef _NGX_OPAY_WORK_H_INCLUDED_
#define _NGX_OPAY_WORK_H_INCLUDED_


#include "ngx_opay_conf.h"


typedef struct ngx_opay_kind_s  ngx_opay_kind_t;


struct ngx_opay_work_s {
    opay_call_t             call;      /* first: a call is cast to its work */

    ngx_opay_run_t         *run;
    const ngx_opay_step_t  *steps;
    ngx_uint_t              step;      /* index of the current one */
    unsigned                idem;      /* NGX_OPAY_EXEC_* of this step */
    ngx_uint_t              flags;     /* of the route */
    ngx_uint_t              begun;     /* a WRITE or ASYNC step has run */

    ngx_queue_t             queue;     /* in its kind, while waiting */
    ngx_msec_t              queued;    /* ngx_current_msec at the push */

    ngx_http_request_t     *r;         /* NULL: a job */
    ngx_event_t             hold;      /* keeps a worker that quits alive */

    void                  (*done)(ngx_opay_work_t *w);
    void                   *data;
};


/* ngx_opay_work.c */

/* A call in a fresh arena; NULL: out of memory.  The caller fills it. */
ngx_opay_work_t *ngx_opay_work_create(ngx_opay_run_t *run,
    const ngx_opay_step_t *steps, ngx_uint_t flags);

/* Runs the first step (or ends at once when the call has an outcome). */
void ngx_opay_work_start(ngx_opay_work_t *w);

/* A step has ended. */
void ngx_opay_work_next(ngx_opay_work_t *w);


/* ngx_opay_lane.c */

ngx_opay_lane_t *ngx_opay_lane_create(ngx_cycle_t *cycle, ngx_opay_run_t *run,
    ngx_opay_pool_conf_t *conf, ngx_opay_lane_e lane);

/* NGX_ERROR: the queue is full, and w is one that may be refused. */
ngx_int_t ngx_opay_lane_push(ngx_opay_lane_t *lane, ngx_opay_work_t *w);

ngx_uint_t ngx_opay_lane_backlog(ngx_opay_lane_t *lane);
ngx_uint_t ngx_opay_lane_busy(ngx_opay_lane_t *lane);


/* ngx_opay_task.c */

/*
 * Starts the work.  From here until ngx_opay_task_release() nginx neither
 * frees the request nor lets a worker that was told to quit go.  The caller
 * is the handler of ngx_http_read_client_request_body(): it owns one count of
 * r->main->count, and nginx runs posted requests when it has returned.
 */
void ngx_opay_task_run(ngx_opay_work_t *w, ngx_uint_t reads_only);

/* Ends the hold and sends the call's reply, when somebody is there for it. */
void ngx_opay_task_release(ngx_opay_work_t *w);


/* ngx_opay_job.c */

ngx_int_t ngx_opay_jobs_init(ngx_cycle_t *cycle, ngx_opay_run_t *run);


#endif /* _NGX_OPAY_WORK_H_INCLUDED_ */
