
/* The chain of steps: see ngx_opay_work.h. */

#include "ngx_opay_work.h"
#include "ngx_opay_exec.h"


#define NGX_OPAY_ARENA_BLOCK  4096


static unsigned ngx_opay_work_idem(ngx_opay_work_t *w);


ngx_opay_work_t *
ngx_opay_work_create(ngx_opay_run_t *run, const ngx_opay_step_t *steps,
    ngx_uint_t flags)
{
    opay_arena_t     *a;
    ngx_opay_work_t  *w;

    a = opay_arena_create(NGX_OPAY_ARENA_BLOCK);
    if (a == NULL) {
        return NULL;
    }

    w = opay_arena_zalloc(a, sizeof(ngx_opay_work_t));
    if (w == NULL) {
        opay_arena_destroy(a);
        return NULL;
    }

    w->run = run;
    w->steps = steps;
    w->flags = flags;

    w->call.arena = a;
    w->call.conf = run->conf->service_conf;
    w->call.now = opay_now_ms();

    return w;
}


void
ngx_opay_work_start(ngx_opay_work_t *w)
{
    w->step = (ngx_uint_t) -1;

    ngx_opay_work_next(w);
}


void
ngx_opay_work_next(ngx_opay_work_t *w)
{
    opay_call_t            *call;
    ngx_opay_lane_t        *lane;
    const ngx_opay_step_t  *step;

    call = &w->call;

    while (call->status == 0) {

        if (w->step != (ngx_uint_t) -1) {
            step = &w->steps[w->step];

            if (step->lane == NGX_OPAY_WRITE || step->lane == NGX_OPAY_ASYNC) {
                w->begun = 1;
            }
        }

        w->step++;
        step = &w->steps[w->step];

        if (w->step == NGX_OPAY_STEPS || step->lane == NGX_OPAY_END) {
            w->step--;

            if (w->r == NULL) {
                break;
            }

            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "opay: \"%s\" ended without an outcome",
                          w->steps[w->step].name);
            opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
            break;
        }

        if (step->lane == NGX_OPAY_INLINE) {
            step->start(call);
            continue;
        }

        if (step->lane == NGX_OPAY_ASYNC) {
            step->start(call);
            return;
        }

        w->idem = ngx_opay_work_idem(w);

        lane = w->run->lanes[step->lane - NGX_OPAY_READ];

        if (ngx_opay_lane_push(lane, w) == NGX_OK) {
            return;
        }

        ngx_opay_metrics_add(NGX_OPAY_M_QUEUE_REFUSED, 1);
        opay_call_fail(call, OPAY_E_OVERLOADED,
                       "Too many requests are waiting; try again shortly.");
        call->retry_after = 1;
    }

    w->done(w);
}


/* The first WRITE step of a phased route opens the record, the last ends it. */

static unsigned
ngx_opay_work_idem(ngx_opay_work_t *w)
{
    ngx_uint_t  i, first, last;

    if (!w->call.idem.present
        || w->steps[w->step].lane != NGX_OPAY_WRITE)
    {
        return 0;
    }

    if (!(w->flags & NGX_OPAY_IDEM_PHASED)) {
        return NGX_OPAY_EXEC_IDEM_OPEN|NGX_OPAY_EXEC_IDEM_FINISH;
    }

    first = NGX_OPAY_STEPS;
    last = 0;

    for (i = 0; i < NGX_OPAY_STEPS && w->steps[i].lane != NGX_OPAY_END; i++) {
        if (w->steps[i].lane == NGX_OPAY_WRITE) {
            first = ngx_min(first, i);
            last = i;
        }
    }

    return (w->step == first ? NGX_OPAY_EXEC_IDEM_OPEN : 0)
           |(w->step == last ? NGX_OPAY_EXEC_IDEM_FINISH : 0);
}


void
ngx_opay_call_resume(opay_call_t *call)
{
    ngx_opay_work_next((ngx_opay_work_t *) call);
}
