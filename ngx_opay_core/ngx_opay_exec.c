
/*
 * The runner of batch steps; see ngx_opay_exec.h.
 *
 * DESIGN
 *
 * A run has a set of calls that are not through yet ("left").  A try runs
 * them all in one transaction; then
 *
 *   committed         done
 *   deadlock, lost    the same again, a few times
 *   any other error,  n > 1: each call alone, so that one that cannot work
 *   or no luck        costs its neighbours time and nothing else;
 *                     n == 1: 503 or 500
 *   answer to COMMIT  never again blindly: the idempotency records tell what
 *   lost              has happened.  What was committed is answered, what
 *                     was not is run again; a call that has no record to
 *                     tell is answered 503, which says to check.
 *
 * Tries, pauses and settling end when the run's time is over: a thread that
 * is stuck helps nobody.
 *
 * Nothing here outlives ngx_opay_exec_run(), but for the time of the last line
 * about a database that is away: every batch of an outage would say it.
 */

#include "ngx_opay_exec.h"
#include "ngx_opay_metrics.h"


#define NGX_OPAY_EXEC_TRIES   3
#define NGX_OPAY_EXEC_BUDGET  10000    /* ms; no new try after it */
#define NGX_OPAY_EXEC_SETTLE  3000     /* ms; to find out about a commit */
#define NGX_OPAY_EXEC_QUIET   10000    /* ms; between lines about an outage */


typedef struct {
    opay_db_t              *db;
    const ngx_opay_step_t  *step;
    unsigned                idem;
    ngx_log_t              *log;
    int64_t                 start;     /* monotonic */

    /* not through yet, with what they were like before this step */
    size_t                  n;
    opay_call_t            *left[NGX_OPAY_EXEC_MAX];
    opay_idem_t             saved[NGX_OPAY_EXEC_MAX];

    /* those of left that the step itself was given in the last try */
    size_t                  nran;
    opay_call_t            *ran[NGX_OPAY_EXEC_MAX];
} ngx_opay_exec_t;


static void ngx_opay_exec_singly(ngx_opay_exec_t *x, opay_call_t **calls,
    const opay_idem_t *saved, size_t n);
static opay_db_rc_t ngx_opay_exec_tries(ngx_opay_exec_t *x);
static void ngx_opay_exec_restore(ngx_opay_exec_t *x);
static opay_db_rc_t ngx_opay_exec_read(ngx_opay_exec_t *x);
static opay_db_rc_t ngx_opay_exec_write(ngx_opay_exec_t *x);
static opay_db_rc_t ngx_opay_exec_work(ngx_opay_exec_t *x);
static opay_db_rc_t ngx_opay_exec_rollback(ngx_opay_exec_t *x);
static opay_db_rc_t ngx_opay_exec_twins(ngx_opay_exec_t *x);
static size_t ngx_opay_exec_keyed(opay_call_t **calls, size_t n,
    opay_call_t **keyed);
static ngx_uint_t ngx_opay_exec_refused(const opay_call_t *call);
static opay_db_rc_t ngx_opay_exec_settle(ngx_opay_exec_t *x);
static void ngx_opay_exec_keep(ngx_opay_exec_t *x, opay_call_t **calls,
    size_t n);
static void ngx_opay_exec_unknown(ngx_opay_exec_t *x, opay_call_t *call);
static void ngx_opay_exec_fail(ngx_opay_exec_t *x, opay_db_rc_t rc);
static ngx_uint_t ngx_opay_exec_time(ngx_opay_exec_t *x);
static void ngx_opay_exec_pause(void);
static ngx_uint_t ngx_opay_exec_distinct(opay_call_t **calls, size_t n);
static ngx_uint_t ngx_opay_exec_level(opay_db_rc_t rc);


/* monotonic, ms; of all threads */
static ngx_atomic_t  ngx_opay_exec_said;


void
ngx_opay_exec_run(opay_db_t *db, const ngx_opay_step_t *step, unsigned idem,
    opay_call_t **calls, size_t n, ngx_log_t *log)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_idem_t       saved[NGX_OPAY_EXEC_MAX];
    opay_call_t      *batch[NGX_OPAY_EXEC_MAX];
    ngx_opay_exec_t   x;

    for ( /* void */ ; n > NGX_OPAY_EXEC_MAX; n -= NGX_OPAY_EXEC_MAX) {
        ngx_opay_exec_run(db, step, idem, calls, NGX_OPAY_EXEC_MAX, log);
        calls += NGX_OPAY_EXEC_MAX;
    }

    x.db = db;
    x.step = step;
    x.idem = idem;
    x.log = log;
    x.start = opay_mono_ms();
    x.n = n;
    x.nran = 0;

    for (i = 0; i < n; i++) {
        calls[i]->idem.wrote = 0;
        x.left[i] = calls[i];
        x.saved[i] = calls[i]->idem;
    }

    rc = OPAY_DB_SPLIT;

    if (idem == 0 || ngx_opay_exec_distinct(calls, n)) {
        rc = ngx_opay_exec_tries(&x);

    } else {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "opay: \"%s\": one idempotency scope twice in a batch",
                      step->name);
    }

    if (rc == OPAY_DB_OK) {
        return;
    }

    if (x.n == 1 || rc == OPAY_DB_DOWN) {
        ngx_opay_exec_fail(&x, rc);
        return;
    }

    n = x.n;
    ngx_memcpy(batch, x.left, n * sizeof(opay_call_t *));
    ngx_memcpy(saved, x.saved, n * sizeof(opay_idem_t));

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "opay: \"%s\": batch of %uz is run one by one: %s, %ui: %s",
                  step->name, n, opay_db_rc_name(rc),
                  (ngx_uint_t) opay_db_errno(db), opay_db_error(db));

    ngx_opay_exec_singly(&x, batch, saved, n);
}


static void
ngx_opay_exec_singly(ngx_opay_exec_t *x, opay_call_t **calls,
    const opay_idem_t *saved, size_t n)
{
    size_t        i;
    opay_db_rc_t  rc;

    for (i = 0; i < n; i++) {

        x->n = 1;
        x->left[0] = calls[i];
        x->saved[0] = saved[i];

        ngx_opay_exec_restore(x);

        rc = ngx_opay_exec_time(x) ? ngx_opay_exec_tries(x) : OPAY_DB_RETRY;

        if (rc != OPAY_DB_OK) {
            ngx_opay_exec_fail(x, rc);
        }
    }
}


/* OPAY_DB_OK: none is left. */

static opay_db_rc_t
ngx_opay_exec_tries(ngx_opay_exec_t *x)
{
    ngx_uint_t    tries;
    opay_db_rc_t  rc;

    for (tries = 1; /* void */ ; tries++) {

        rc = x->step->lane == NGX_OPAY_WRITE ? ngx_opay_exec_write(x)
                                             : ngx_opay_exec_read(x);

        if (rc == OPAY_DB_UNKNOWN) {
            rc = ngx_opay_exec_settle(x);

            if (rc != OPAY_DB_RETRY) {
                return rc;
            }
        }

        /* alone, a duplicate is a race: of a twin, or of a version */

        if (rc != OPAY_DB_RETRY && rc != OPAY_DB_LOST
            && (rc != OPAY_DB_DUP || x->n > 1))
        {
            return rc;
        }

        if (tries == NGX_OPAY_EXEC_TRIES || !ngx_opay_exec_time(x)) {
            return rc;
        }

        ngx_opay_exec_pause();
        ngx_opay_exec_restore(x);
    }
}


static void
ngx_opay_exec_restore(ngx_opay_exec_t *x)
{
    size_t  i;

    for (i = 0; i < x->n; i++) {
        opay_call_reset(x->left[i]);
        x->left[i]->idem = x->saved[i];
    }
}


static opay_db_rc_t
ngx_opay_exec_read(ngx_opay_exec_t *x)
{
    opay_db_rc_t  rc;

    rc = x->step->exec(x->db, x->left, x->n);

    if (rc == OPAY_DB_ROLLBACK) {
        rc = x->n == 1 ? OPAY_DB_OK : OPAY_DB_SPLIT;
    }

    return rc;
}


static opay_db_rc_t
ngx_opay_exec_write(ngx_opay_exec_t *x)
{
    opay_db_rc_t  rc;

    x->nran = 0;

    rc = opay_db_begin(x->db);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_exec_work(x);
    }

    if (rc == OPAY_DB_ROLLBACK) {
        return ngx_opay_exec_rollback(x);
    }

    if (rc != OPAY_DB_OK) {
        opay_db_rollback(x->db);
        return rc;
    }

    return opay_db_commit(x->db);
}


/* All that belongs between BEGIN and COMMIT. */

static opay_db_rc_t
ngx_opay_exec_work(ngx_opay_exec_t *x)
{
    size_t        i, nkeyed;
    opay_call_t  *keyed[NGX_OPAY_EXEC_MAX];
    opay_db_rc_t  rc;

    if (x->idem & NGX_OPAY_EXEC_IDEM_OPEN) {

        nkeyed = ngx_opay_exec_keyed(x->left, x->n, keyed);

        rc = ngx_opay_idem_lookup(x->db, keyed, nkeyed);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    for (i = 0; i < x->n; i++) {
        if (x->left[i]->status == 0) {
            x->ran[x->nran++] = x->left[i];
        }
    }

    if (x->nran == 0) {
        return OPAY_DB_OK;
    }

    rc = x->step->exec(x->db, x->ran, x->nran);

    if (rc == OPAY_DB_ROLLBACK && x->nran > 1) {
        rc = OPAY_DB_SPLIT;
    }

    if (rc != OPAY_DB_OK || x->idem == 0) {
        return rc;
    }

    rc = ngx_opay_exec_twins(x);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    nkeyed = ngx_opay_exec_keyed(x->ran, x->nran, keyed);

    rc = ngx_opay_idem_store(x->db, x->idem, keyed, nkeyed);

    /* a twin was between our lookup and our insert: its record is there */

    return rc == OPAY_DB_DUP ? OPAY_DB_RETRY : rc;
}


/* One call has been run, and wants its writes undone and its outcome sent. */

static opay_db_rc_t
ngx_opay_exec_rollback(ngx_opay_exec_t *x)
{
    opay_call_t   *call;
    opay_db_rc_t   rc;

    opay_db_rollback(x->db);

    call = x->ran[0];

    if (call->status == 0) {
        ngx_log_error(NGX_LOG_ALERT, x->log, 0,
                      "opay: \"%s\" rolled back without an outcome",
                      x->step->name);
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }

    call->wrote = 0;

    if (!call->idem.open || x->idem == 0) {
        return OPAY_DB_OK;
    }

    /* an earlier step's record is still in flight: this ends it */

    rc = opay_db_begin(x->db);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_idem_store(x->db, x->idem, &call, 1);
    }

    if (rc != OPAY_DB_OK) {
        opay_db_rollback(x->db);
        return rc;
    }

    return opay_db_commit(x->db);
}


static opay_db_rc_t
ngx_opay_exec_twins(ngx_opay_exec_t *x)
{
    size_t         i, n;
    ngx_uint_t     found;
    opay_call_t   *refused[NGX_OPAY_EXEC_MAX];
    opay_db_rc_t   rc;

    if (!(x->idem & NGX_OPAY_EXEC_IDEM_OPEN)) {
        return OPAY_DB_OK;
    }

    for (i = 0, n = 0; i < x->nran; i++) {
        if (x->ran[i]->idem.present && !x->ran[i]->idem.open
            && ngx_opay_exec_refused(x->ran[i]))
        {
            refused[n++] = x->ran[i];
        }
    }

    if (n == 0) {
        return OPAY_DB_OK;
    }

    rc = ngx_opay_idem_twins(x->db, refused, n, &found);

    return rc == OPAY_DB_OK && found ? OPAY_DB_RETRY : rc;
}


static size_t
ngx_opay_exec_keyed(opay_call_t **calls, size_t n, opay_call_t **keyed)
{
    size_t  i, k;

    for (i = 0, k = 0; i < n; i++) {
        if (calls[i]->idem.present) {
            keyed[k++] = calls[i];
        }
    }

    return k;
}


/* A client's mistake or bad luck: nothing was written for it. */

static ngx_uint_t
ngx_opay_exec_refused(const opay_call_t *call)
{
    return call->status >= 400 && call->status < 500 && call->status != 402;
}


/*
 * OPAY_DB_OK: all have their outcome.  OPAY_DB_RETRY: left are those that
 * must run again.
 */

static opay_db_rc_t
ngx_opay_exec_settle(ngx_opay_exec_t *x)
{
    size_t         i, n, m;
    int64_t        until;
    unsigned       again[NGX_OPAY_EXEC_MAX];
    opay_call_t   *calls[NGX_OPAY_EXEC_MAX];
    opay_db_rc_t   rc;

    ngx_log_error(NGX_LOG_WARN, x->log, 0,
                  "opay: \"%s\": no answer to COMMIT, %ui: %s; looking up "
                  "what became of %uz calls", x->step->name,
                  (ngx_uint_t) opay_db_errno(x->db), opay_db_error(x->db),
                  x->nran);

    for (i = 0, n = 0; i < x->nran; i++) {

        if (x->ran[i]->idem.wrote) {
            calls[n++] = x->ran[i];

        } else if (!ngx_opay_exec_refused(x->ran[i]) || x->ran[i]->wrote) {
            ngx_opay_exec_unknown(x, x->ran[i]);
        }
    }

    until = opay_mono_ms() + NGX_OPAY_EXEC_SETTLE;

    for ( ;; ) {

        (void) opay_db_begin(x->db);
        rc = n ? ngx_opay_idem_settle(x->db, calls, n, again) : OPAY_DB_OK;
        opay_db_rollback(x->db);

        if (rc == OPAY_DB_OK) {
            break;
        }

        if (opay_mono_ms() >= until
            || (rc != OPAY_DB_RETRY && rc != OPAY_DB_LOST
                && rc != OPAY_DB_DOWN))
        {
            for (i = 0; i < n; i++) {
                ngx_opay_exec_unknown(x, calls[i]);
            }

            return OPAY_DB_OK;
        }

        ngx_opay_exec_pause();
    }

    for (i = 0, m = 0; i < n; i++) {
        if (again[i]) {
            calls[m++] = calls[i];
        }
    }

    ngx_opay_exec_keep(x, calls, m);

    return m ? OPAY_DB_RETRY : OPAY_DB_OK;
}


/* From now on only these are left. */

static void
ngx_opay_exec_keep(ngx_opay_exec_t *x, opay_call_t **calls, size_t n)
{
    size_t  i, j, k;

    for (i = 0, k = 0; i < x->n; i++) {
        for (j = 0; j < n; j++) {

            if (x->left[i] == calls[j]) {
                x->left[k] = x->left[i];
                x->saved[k] = x->saved[i];
                k++;
                break;
            }
        }
    }

    x->n = k;
}


static void
ngx_opay_exec_unknown(ngx_opay_exec_t *x, opay_call_t *call)
{
    ngx_log_error(NGX_LOG_ERR, x->log, 0,
                  "opay: \"%s\": outcome of a commit is not known",
                  x->step->name);

    opay_call_reset(call);
    opay_call_fail(call, OPAY_E_UNAVAILABLE,
                   call->idem.present
                   ? "The request may or may not have been carried out; "
                     "send it again with the same Idempotency-Key."
                   : "The request may or may not have been carried out; "
                     "check before sending it again.");
    call->retry_after = 1;

    /* should it have been, its event is there to be sent */

    call->wrote = 1;
}


static void
ngx_opay_exec_fail(ngx_opay_exec_t *x, opay_db_rc_t rc)
{
    size_t      i;
    ngx_uint_t  ours;

    ours = rc != OPAY_DB_RETRY && rc != OPAY_DB_LOST && rc != OPAY_DB_DOWN;

    ngx_log_error(ngx_opay_exec_level(rc), x->log, 0,
                  "opay: \"%s\" failed: %s, %ui: %s",
                  x->step->name, opay_db_rc_name(rc),
                  (ngx_uint_t) opay_db_errno(x->db), opay_db_error(x->db));

    ngx_opay_exec_restore(x);

    for (i = 0; i < x->n; i++) {

        if (ours) {
            opay_call_fail(x->left[i], OPAY_E_INTERNAL_ERROR, NULL);
            continue;
        }

        opay_call_fail(x->left[i], OPAY_E_UNAVAILABLE,
                       "The service cannot reach its data at the moment; "
                       "try again shortly.");
        x->left[i]->retry_after = 1;
    }
}


/* An outage is an error now and then, and information in between. */

static ngx_uint_t
ngx_opay_exec_level(opay_db_rc_t rc)
{
    ngx_atomic_uint_t  now, said;

    if (rc == OPAY_DB_RETRY) {
        return NGX_LOG_WARN;
    }

    if (rc != OPAY_DB_DOWN && rc != OPAY_DB_LOST) {
        return NGX_LOG_ERR;
    }

    now = (ngx_atomic_uint_t) opay_mono_ms();
    said = ngx_opay_exec_said;

    if ((said && now - said < NGX_OPAY_EXEC_QUIET)
        || !ngx_atomic_cmp_set(&ngx_opay_exec_said, said, now))
    {
        return NGX_LOG_INFO;
    }

    return NGX_LOG_ERR;
}


static ngx_uint_t
ngx_opay_exec_time(ngx_opay_exec_t *x)
{
    return opay_mono_ms() - x->start < NGX_OPAY_EXEC_BUDGET;
}


/* 5 to 30 ms: those who have collided do not meet again at once. */

static void
ngx_opay_exec_pause(void)
{
    unsigned char  c;

    if (opay_random(&c, 1) != OPAY_OK) {
        c = 0;
    }

    ngx_msleep(5 + c % 26);
}


static ngx_uint_t
ngx_opay_exec_distinct(opay_call_t **calls, size_t n)
{
    size_t  i, j;

    for (i = 1; i < n; i++) {

        if (!calls[i]->idem.present) {
            continue;
        }

        for (j = 0; j < i; j++) {
            if (calls[j]->idem.present
                && ngx_memcmp(calls[i]->idem.scope, calls[j]->idem.scope, 32)
                   == 0)
            {
                return 0;
            }
        }
    }

    return 1;
}
