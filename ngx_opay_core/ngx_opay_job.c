
/*
 * DESIGN
 *
 * Background work of a service, on the event loop of worker 0 (and the
 * readiness probe, on that of every worker).  One chain of a job runs at a
 * time; the next begins interval after it ended, or at once when it was
 * kicked meanwhile.  The timers are cancelable: a worker that quits does not
 * wait for them, and starts no new chain.
 */

#include "ngx_opay_work.h"


typedef struct {
    ngx_opay_run_t        *run;
    const ngx_opay_job_t  *job;
    ngx_connection_t       dummy;      /* what a timer's data is logged as */
    ngx_event_t            timer;
    unsigned               active:1;
    unsigned               kicked:1;
} ngx_opay_job_run_t;


struct ngx_opay_jobs_s {
    ngx_uint_t             n;
    ngx_opay_job_run_t    *jobs;
};


static void ngx_opay_job_arm(ngx_opay_job_run_t *jr, ngx_msec_t delay);
static void ngx_opay_job_timer(ngx_event_t *ev);
static void ngx_opay_job_start(ngx_opay_job_run_t *jr);
static void ngx_opay_job_done(ngx_opay_work_t *w);
static void ngx_opay_job_ready(ngx_opay_work_t *w);
static opay_db_rc_t ngx_opay_job_probe(opay_db_t *db, opay_call_t **calls,
    size_t n);


#define NGX_OPAY_PROBE_INTERVAL  1000


static const ngx_opay_job_t  ngx_opay_probe_job = {
    "core.ready", NGX_OPAY_PROBE_INTERVAL, NULL,
    { { "core.ready", NGX_OPAY_READ, 1, ngx_opay_job_probe, NULL } }
};


ngx_int_t
ngx_opay_jobs_init(ngx_cycle_t *cycle, ngx_opay_run_t *run)
{
    ngx_uint_t               i, n;
    struct ngx_opay_jobs_s  *jobs;
    const ngx_opay_job_t    *table;

    table = run->conf->service->jobs;

    for (n = 0; ngx_worker == 0 && table && table[n].name; n++) { /* void */ }

    jobs = ngx_palloc(cycle->pool, sizeof(struct ngx_opay_jobs_s));
    if (jobs == NULL) {
        return NGX_ERROR;
    }

    jobs->n = n + 1;
    jobs->jobs = ngx_pcalloc(cycle->pool,
                             jobs->n * sizeof(ngx_opay_job_run_t));
    if (jobs->jobs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < jobs->n; i++) {
        jobs->jobs[i].run = run;
        jobs->jobs[i].job = (i < n) ? &table[i] : &ngx_opay_probe_job;
        jobs->jobs[i].dummy.fd = (ngx_socket_t) -1;
        jobs->jobs[i].dummy.data = &jobs->jobs[i];
        jobs->jobs[i].timer.data = &jobs->jobs[i].dummy;
        jobs->jobs[i].timer.log = cycle->log;
        jobs->jobs[i].timer.handler = ngx_opay_job_timer;
        jobs->jobs[i].timer.cancelable = 1;

        ngx_opay_job_arm(&jobs->jobs[i], 1);
    }

    run->jobs = jobs;

    return NGX_OK;
}


void
ngx_opay_job_kick(const void *service_conf, const char *name)
{
    ngx_uint_t             i, k;
    ngx_opay_run_t        *run;
    ngx_opay_job_run_t    *jr;
    ngx_opay_srv_conf_t  **oscf;
    ngx_opay_main_conf_t  *omcf;

    omcf = ngx_opay_main_conf((ngx_cycle_t *) ngx_cycle);
    if (omcf == NULL) {
        return;
    }

    oscf = omcf->services.elts;

    for (i = 0; i < omcf->services.nelts; i++) {

        run = oscf[i]->run;

        if (run == NULL || run->jobs == NULL
            || oscf[i]->service_conf != service_conf)
        {
            continue;
        }

        for (k = 0; k < run->jobs->n; k++) {
            jr = &run->jobs->jobs[k];

            if (ngx_strcmp(jr->job->name, name) != 0) {
                continue;
            }

            jr->kicked = 1;

            if (!jr->active) {
                ngx_opay_job_arm(jr, 1);
            }
        }
    }
}


static void
ngx_opay_job_arm(ngx_opay_job_run_t *jr, ngx_msec_t delay)
{
    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(&jr->timer, delay);
}


static void
ngx_opay_job_timer(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_opay_job_start(c->data);
}


static void
ngx_opay_job_start(ngx_opay_job_run_t *jr)
{
    ngx_opay_work_t  *w;

    if (ngx_exiting || ngx_quit || ngx_terminate || jr->active) {
        return;
    }

    jr->kicked = 0;

    w = ngx_opay_work_create(jr->run, jr->job->steps, 0);
    if (w == NULL) {
        ngx_opay_job_arm(jr, jr->job->interval);
        return;
    }

    w->done = ngx_opay_job_done;
    w->data = jr;

    if (jr->job->make) {
        jr->job->make(&w->call);
    }

    jr->active = 1;

    ngx_opay_work_start(w);
}


static void
ngx_opay_job_done(ngx_opay_work_t *w)
{
    ngx_opay_job_run_t  *jr;

    jr = w->data;

    if (jr->job == &ngx_opay_probe_job) {
        ngx_opay_job_ready(w);
    }

    jr->active = 0;

    ngx_opay_job_arm(jr, jr->kicked ? 1 : jr->job->interval);

    opay_arena_destroy(w->call.arena);
}


/* Says what has changed, once. */

static void
ngx_opay_job_ready(ngx_opay_work_t *w)
{
    ngx_uint_t       ready;
    ngx_opay_run_t  *run;

    run = w->run;
    ready = (w->call.status == 200);

    if (!ready && (run->ready || run->ready_at == 0)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "opay: the database of \"%s\" is away: %s",
                      run->conf->service->name,
                      w->call.detail ? w->call.detail : "not available");

    } else if (ready && !run->ready) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "opay: the database of \"%s\" answers",
                      run->conf->service->name);
    }

    run->ready = ready;
    run->ready_at = ngx_current_msec;
}


/* An outage is this one's finding, no failure of the step. */

static opay_db_rc_t
ngx_opay_job_probe(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_db_rc_t  rc;

    (void) n;

    rc = opay_db_ping(db);

    if (rc == OPAY_DB_OK) {
        opay_call_reply(calls[0], 200, (opay_str_t) opay_str_null);

    } else if (rc == OPAY_DB_DOWN) {
        opay_call_fail(calls[0], OPAY_E_UNAVAILABLE,
                       opay_arena_strdup(calls[0]->arena, opay_db_error(db)));
        rc = OPAY_DB_OK;
    }

    return rc;
}
