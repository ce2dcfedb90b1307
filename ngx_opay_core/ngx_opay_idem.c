
/*
 * The idempotency table: see ngx_opay_exec.h.  Pool threads, inside the
 * transaction of a WRITE step.
 *
 * A record is kept for what took effect: outcomes 2xx, and 402, which is a
 * payment that was tried.  Refusals wrote nothing and may be asked again.
 */

#include "ngx_opay_exec.h"
#include "ngx_opay_metrics.h"


#define NGX_OPAY_IDEM_COLUMNS                                                \
    "scope, fingerprint, state, lease_until, resource, status, location, "   \
    "etag, content_type, body"

#define NGX_OPAY_IDEM_DONE  1


static opay_db_rc_t ngx_opay_idem_decide(opay_db_t *db, opay_call_t *call,
    const opay_db_result_t *res, size_t row);
static opay_db_rc_t ngx_opay_idem_lease(opay_db_t *db, opay_call_t *call,
    const opay_db_result_t *res, size_t row);
static void ngx_opay_idem_answer(opay_call_t *call,
    const opay_db_result_t *res, size_t row);
static opay_db_rc_t ngx_opay_idem_finish(opay_db_t *db, opay_call_t *call);
static unsigned ngx_opay_idem_final(opay_call_t *call);
static void ngx_opay_idem_row(opay_call_t *call, opay_db_value_t *v);
static opay_str_t ngx_opay_idem_type(opay_call_t *call);


opay_db_rc_t
ngx_opay_idem_lookup(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t            i, k;
    opay_str_t        scope;
    opay_db_rc_t      rc;
    opay_db_value_t   v[NGX_OPAY_EXEC_MAX];
    opay_db_result_t  res;

    for (i = 0; i < n; i++) {
        calls[i]->idem.open = 0;
        calls[i]->idem.resuming = 0;
        v[i] = opay_db_bytes(calls[i]->idem.scope, 32);
    }

    rc = opay_db_query_in(db, calls[0]->arena, "SELECT "
                          NGX_OPAY_IDEM_COLUMNS " FROM idempotency "
                          "WHERE scope IN ", "", v, n, &res);

    for (k = 0; rc == OPAY_DB_OK && k < res.rows; k++) {

        scope = opay_db_get_str(&res, k, 0);

        for (i = 0; i < n; i++) {
            if (memcmp(calls[i]->idem.scope, scope.data, 32) == 0) {
                rc = ngx_opay_idem_decide(db, calls[i], &res, k);
                break;
            }
        }
    }

    return rc;
}


static opay_db_rc_t
ngx_opay_idem_decide(opay_db_t *db, opay_call_t *call,
    const opay_db_result_t *res, size_t row)
{
    opay_str_t  fingerprint;

    fingerprint = opay_db_get_str(res, row, 1);

    if (fingerprint.len != 32
        || memcmp(fingerprint.data, call->idem.fingerprint, 32) != 0)
    {
        ngx_opay_metrics_add(NGX_OPAY_M_IDEM_MISMATCH, 1);
        opay_call_fail(call, OPAY_E_IDEMPOTENCY_KEY_REUSED,
                       "This Idempotency-Key was used with another request; "
                       "use a new one.");
        return OPAY_DB_OK;
    }

    if (opay_db_get_i64(res, row, 2) == NGX_OPAY_IDEM_DONE) {
        ngx_opay_metrics_add(NGX_OPAY_M_IDEM_REPLAY, 1);
        ngx_opay_idem_answer(call, res, row);
        call->replayed = 1;
        return OPAY_DB_OK;
    }

    return ngx_opay_idem_lease(db, call, res, row);
}


/* In flight: somebody is at it, or was when it died. */

static opay_db_rc_t
ngx_opay_idem_lease(opay_db_t *db, opay_call_t *call,
    const opay_db_result_t *res, size_t row)
{
    int64_t          now, until;
    uint64_t         n;
    opay_db_rc_t     rc;
    opay_db_value_t  v[3];

    n = 0;
    now = opay_now_ms();
    until = opay_db_get_i64(res, row, 3);

    if (until <= now) {
        v[0] = opay_db_i64(now + NGX_OPAY_IDEM_LEASE);
        v[1] = opay_db_bytes(call->idem.scope, 32);
        v[2] = opay_db_i64(until);

        rc = opay_db_exec(db, "UPDATE idempotency SET lease_until = ? "
                          "WHERE scope = ? AND state = 0 "
                          "AND lease_until = ?", v, 3, &n);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    if (n == 0) {
        ngx_opay_metrics_add(NGX_OPAY_M_IDEM_CONFLICT, 1);
        opay_call_fail(call, OPAY_E_IDEMPOTENCY_IN_PROGRESS,
                       "The first request with this Idempotency-Key is still "
                       "under way; ask again.");
        call->retry_after = 1;
        return OPAY_DB_OK;
    }

    call->idem.open = 1;
    call->idem.resuming = 1;

    (void) opay_db_get_uuid(res, row, 4, &call->idem.resource);

    return OPAY_DB_OK;
}


/* Byte for byte what was answered the first time. */

static void
ngx_opay_idem_answer(opay_call_t *call, const opay_db_result_t *res,
    size_t row)
{
    opay_arena_t  *a;

    a = call->arena;

    opay_call_reply(call, opay_db_get_i64(res, row, 5),
                    opay_arena_str(a, opay_db_get_str(res, row, 9)));

    call->location = opay_arena_str(a, opay_db_get_str(res, row, 6));
    call->etag = opay_arena_str(a, opay_db_get_str(res, row, 7));
    call->content_type = opay_arena_str(a, opay_db_get_str(res, row, 8));
}


opay_db_rc_t
ngx_opay_idem_store(opay_db_t *db, unsigned idem, opay_call_t **calls,
    size_t n)
{
    size_t            i, rows;
    opay_call_t      *call;
    opay_db_rc_t      rc;
    opay_db_value_t  *v;

    v = opay_arena_alloc(calls[0]->arena, n * 11 * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    rows = 0;

    for (i = 0; i < n; i++) {

        call = calls[i];

        if (call->status == 402 && opay_call_render_problem(call) != OPAY_OK)
        {
            return OPAY_DB_ERROR;
        }

        if (call->idem.open) {
            if (ngx_opay_idem_final(call)) {
                rc = ngx_opay_idem_finish(db, call);
                if (rc != OPAY_DB_OK) {
                    return rc;
                }
            }

            continue;
        }

        if (!(idem & NGX_OPAY_EXEC_IDEM_OPEN)) {
            continue;
        }

        if (ngx_opay_idem_final(call)
            || (call->status == 0 && !(idem & NGX_OPAY_EXEC_IDEM_FINISH)))
        {
            ngx_opay_idem_row(call, &v[11 * rows++]);
        }
    }

    if (rows) {
        rc = opay_db_exec_rows(db, "INSERT INTO idempotency ("
                               NGX_OPAY_IDEM_COLUMNS ", created_at) VALUES ",
                               "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "", v, 11,
                               rows, NULL);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    for (i = 0; i < n; i++) {
        if (calls[i]->status == 0) {
            calls[i]->idem.open = 1;
        }
    }

    return OPAY_DB_OK;
}


static unsigned
ngx_opay_idem_final(opay_call_t *call)
{
    return (call->status >= 200 && call->status < 300) || call->status == 402;
}


static void
ngx_opay_idem_row(opay_call_t *call, opay_db_value_t *v)
{
    static const opay_uuid_t  none;

    v[0] = opay_db_bytes(call->idem.scope, 32);
    v[1] = opay_db_bytes(call->idem.fingerprint, 32);
    v[2] = opay_db_i64(call->status ? NGX_OPAY_IDEM_DONE : 0);
    v[3] = opay_db_i64(opay_now_ms() + NGX_OPAY_IDEM_LEASE);
    v[4] = opay_uuid_eq(&call->idem.resource, &none)
           ? opay_db_null() : opay_db_uuid(&call->idem.resource);
    v[10] = opay_db_i64(opay_now_ms());

    if (call->status == 0) {
        v[5] = v[6] = v[7] = v[8] = v[9] = opay_db_null();
        return;
    }

    v[5] = opay_db_i64(call->status);
    v[6] = call->location.len ? opay_db_text(call->location) : opay_db_null();
    v[7] = call->etag.len ? opay_db_text(call->etag) : opay_db_null();
    v[8] = opay_db_text_or_null(ngx_opay_idem_type(call));
    v[9] = opay_db_bytes(call->reply.data, call->reply.len);
}


static opay_str_t
ngx_opay_idem_type(opay_call_t *call)
{
    if (call->code != OPAY_E_NONE) {
        return opay_str_of("application/problem+json");
    }

    return call->content_type.len ? call->content_type
                                  : opay_str_of("application/json");
}


static opay_db_rc_t
ngx_opay_idem_finish(opay_db_t *db, opay_call_t *call)
{
    opay_db_value_t  row[11], v[6];

    ngx_opay_idem_row(call, row);

    v[0] = row[5];
    v[1] = row[6];
    v[2] = row[7];
    v[3] = row[8];
    v[4] = row[9];
    v[5] = row[0];

    return opay_db_exec(db, "UPDATE idempotency SET state = 1, status = ?, "
                        "location = ?, etag = ?, content_type = ?, body = ? "
                        "WHERE scope = ? AND state = 0", v, 6, NULL);
}


/*
 * The record was written in the transaction whose COMMIT got no answer.  A
 * locking read waits for that transaction if the server still has it: its
 * row, there or not, then says what became of it.
 */

opay_db_rc_t
ngx_opay_idem_settle(opay_db_t *db, unsigned idem, opay_call_t **calls,
    size_t n, unsigned *again)
{
    size_t            i;
    unsigned          done;
    opay_call_t      *call;
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    for (i = 0; i < n; i++) {

        call = calls[i];
        again[i] = 0;
        v = opay_db_bytes(call->idem.scope, 32);

        rc = opay_db_query(db, call->arena, "SELECT " NGX_OPAY_IDEM_COLUMNS
                           " FROM idempotency WHERE scope = ? FOR UPDATE",
                           &v, 1, &res);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (res.rows == 0) {
            again[i] = 1;
            continue;
        }

        done = (opay_db_get_i64(&res, 0, 2) == NGX_OPAY_IDEM_DONE);

        if (done) {
            ngx_opay_idem_answer(call, &res, 0);
            continue;
        }

        /* in flight: the opening step committed, the finishing one did not */

        if (idem & NGX_OPAY_EXEC_IDEM_FINISH) {
            again[i] = 1;
            continue;
        }

        opay_call_reset(call);
        call->idem.open = 1;
    }

    return OPAY_DB_OK;
}
