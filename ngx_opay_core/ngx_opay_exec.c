
/* See ngx_opay_exec.h. */

#include "ngx_opay_exec.h"


#define NGX_OPAY_EXEC_TRIES  3


static opay_db_rc_t ngx_opay_exec_read(opay_db_t *db,
    const ngx_opay_step_t *step, opay_call_t **calls, size_t n);
static opay_db_rc_t ngx_opay_exec_write(opay_db_t *db,
    const ngx_opay_step_t *step, unsigned idem, opay_call_t **calls,
    size_t n);
static opay_db_rc_t ngx_opay_exec_inside(opay_db_t *db,
    const ngx_opay_step_t *step, unsigned idem, opay_call_t **calls,
    size_t n);
static size_t ngx_opay_exec_keyed(opay_call_t **in, size_t n,
    opay_call_t **out);
static void ngx_opay_exec_settle(opay_db_t *db, const ngx_opay_step_t *step,
    unsigned idem, opay_call_t **calls, size_t n, ngx_log_t *log);
static void ngx_opay_exec_give_up(opay_db_t *db, const ngx_opay_step_t *step,
    opay_db_rc_t rc, opay_call_t **calls, size_t n, ngx_log_t *log);
static void ngx_opay_exec_pause(void);


void
ngx_opay_exec_run(opay_db_t *db, const ngx_opay_step_t *step, unsigned idem,
    opay_call_t **calls, size_t n, ngx_log_t *log)
{
    size_t        i;
    ngx_uint_t    try;
    opay_db_rc_t  rc;

    for (try = 1; /* void */ ; try++) {

        rc = (step->lane == NGX_OPAY_READ)
             ? ngx_opay_exec_read(db, step, calls, n)
             : ngx_opay_exec_write(db, step, idem, calls, n);

        if (rc == OPAY_DB_OK || (rc == OPAY_DB_ROLLBACK && n == 1)) {
            return;
        }

        if (rc == OPAY_DB_UNKNOWN) {
            ngx_opay_exec_settle(db, step, idem, calls, n, log);
            return;
        }

        for (i = 0; i < n; i++) {
            opay_call_reset(calls[i]);
        }

        if (rc == OPAY_DB_DOWN || try == NGX_OPAY_EXEC_TRIES) {
            break;
        }

        /* DUP: a twin with the same key was first, and is visible now */

        if (rc != OPAY_DB_RETRY && rc != OPAY_DB_LOST && rc != OPAY_DB_DUP) {
            break;
        }

        if (n > 1 && rc == OPAY_DB_DUP) {
            break;
        }

        ngx_opay_exec_pause();
    }

    if (n == 1 || rc == OPAY_DB_DOWN) {
        ngx_opay_exec_give_up(db, step, rc, calls, n, log);
        return;
    }

    /* one bad call must not cost its neighbours their outcome */

    for (i = 0; i < n; i++) {
        ngx_opay_exec_run(db, step, idem, &calls[i], 1, log);
    }
}


static opay_db_rc_t
ngx_opay_exec_read(opay_db_t *db, const ngx_opay_step_t *step,
    opay_call_t **calls, size_t n)
{
    return step->exec(db, calls, n);
}


static opay_db_rc_t
ngx_opay_exec_write(opay_db_t *db, const ngx_opay_step_t *step, unsigned idem,
    opay_call_t **calls, size_t n)
{
    opay_db_rc_t  rc;

    rc = opay_db_begin(db);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_exec_inside(db, step, idem, calls, n);
    }

    if (rc != OPAY_DB_OK) {
        opay_db_rollback(db);
        return rc;
    }

    return opay_db_commit(db);
}


static opay_db_rc_t
ngx_opay_exec_inside(opay_db_t *db, const ngx_opay_step_t *step,
    unsigned idem, opay_call_t **calls, size_t n)
{
    size_t        i, nrun, nkeyed;
    opay_call_t  *run[NGX_OPAY_EXEC_MAX], *keyed[NGX_OPAY_EXEC_MAX];
    opay_db_rc_t  rc;

    if (idem & NGX_OPAY_EXEC_IDEM_OPEN) {

        nkeyed = ngx_opay_exec_keyed(calls, n, keyed);

        if (nkeyed) {
            rc = ngx_opay_idem_lookup(db, keyed, nkeyed);
            if (rc != OPAY_DB_OK) {
                return rc;
            }
        }
    }

    for (nrun = 0, i = 0; i < n; i++) {
        if (calls[i]->status == 0) {
            run[nrun++] = calls[i];
        }
    }

    if (nrun == 0) {
        return OPAY_DB_OK;
    }

    rc = step->exec(db, run, nrun);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (idem) {
        nkeyed = ngx_opay_exec_keyed(run, nrun, keyed);

        if (nkeyed) {
            return ngx_opay_idem_store(db, idem, keyed, nkeyed);
        }
    }

    return OPAY_DB_OK;
}


static size_t
ngx_opay_exec_keyed(opay_call_t **in, size_t n, opay_call_t **out)
{
    size_t  i, k;

    for (k = 0, i = 0; i < n; i++) {
        if (in[i]->idem.present) {
            out[k++] = in[i];
        }
    }

    return k;
}


/*
 * COMMIT was sent and its answer lost: never run again unseen.  The records
 * tell for calls with a key; the others are told that nobody knows.
 */

static void
ngx_opay_exec_settle(opay_db_t *db, const ngx_opay_step_t *step,
    unsigned idem, opay_call_t **calls, size_t n, ngx_log_t *log)
{
    size_t        i, nkeyed;
    unsigned      again[NGX_OPAY_EXEC_MAX];
    ngx_uint_t    try;
    opay_call_t  *keyed[NGX_OPAY_EXEC_MAX];
    opay_db_rc_t  rc;

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "opay: \"%s\" lost the answer to a COMMIT", step->name);

    for (i = 0; i < n; i++) {
        if (!calls[i]->idem.present || idem == 0) {
            opay_call_reset(calls[i]);
            opay_call_fail(calls[i], OPAY_E_UNAVAILABLE,
                           "The outcome is not known: look before you "
                           "try again.");
            calls[i]->retry_after = 1;
        }
    }

    nkeyed = idem ? ngx_opay_exec_keyed(calls, n, keyed) : 0;

    if (nkeyed == 0) {
        return;
    }

    for (try = 0; try < NGX_OPAY_EXEC_TRIES; try++) {

        rc = opay_db_begin(db);

        if (rc == OPAY_DB_OK) {
            rc = ngx_opay_idem_settle(db, idem, keyed, nkeyed, again);
        }

        opay_db_rollback(db);

        if (rc == OPAY_DB_OK) {
            break;
        }

        ngx_opay_exec_pause();
    }

    if (rc != OPAY_DB_OK) {
        for (i = 0; i < nkeyed; i++) {
            opay_call_reset(keyed[i]);
            opay_call_fail(keyed[i], OPAY_E_UNAVAILABLE,
                           "The outcome is not known: ask again with the "
                           "same Idempotency-Key.");
            keyed[i]->retry_after = 1;
        }

        return;
    }

    for (i = 0; i < nkeyed; i++) {
        if (again[i]) {
            opay_call_reset(keyed[i]);
            ngx_opay_exec_run(db, step, idem, &keyed[i], 1, log);
        }
    }
}


static void
ngx_opay_exec_give_up(opay_db_t *db, const ngx_opay_step_t *step,
    opay_db_rc_t rc, opay_call_t **calls, size_t n, ngx_log_t *log)
{
    size_t  i;

    ngx_log_error(NGX_LOG_ERR, log, 0, "opay: \"%s\" failed: %s, %s",
                  step->name, opay_db_rc_name(rc), opay_db_error(db));

    for (i = 0; i < n; i++) {

        if (rc == OPAY_DB_DOWN || rc == OPAY_DB_LOST || rc == OPAY_DB_RETRY) {
            opay_call_fail(calls[i], OPAY_E_UNAVAILABLE,
                           "The database cannot be used right now; "
                           "try again shortly.");
            calls[i]->retry_after = 1;
            continue;
        }

        opay_call_fail(calls[i], OPAY_E_INTERNAL_ERROR, NULL);
    }
}


static void
ngx_opay_exec_pause(void)
{
    uint8_t  r;

    r = 0;
    (void) opay_random(&r, 1);

    usleep(5000 + r * 100);                /* 5 to 30 ms */
}
