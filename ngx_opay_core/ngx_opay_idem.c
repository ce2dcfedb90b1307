
/*
 * The idempotency table.
 *
 * DESIGN
 *
 * A record is written by the transaction that does the work it stands for:
 * so either both are there or none.  The primary key decides between twins
 * (two requests with one key at the same time): the second one's insert
 * waits for the first one's commit and then fails, and its whole transaction
 * is run again, to find the record.
 *
 * A route that calls out between two transactions is in flight from the
 * first to the last.  lease_until says until when its worker is thought to
 * be alive, and is at the same time the worker's proof that the record is
 * still its own: who takes an expired record over sets another value, and
 * the former owner's updates then find no row.
 *
 * Pool thread; nothing is kept between calls.
 */

#include "ngx_opay_exec.h"
#include "ngx_opay_metrics.h"


#define NGX_OPAY_IDEM_COLUMNS                                                \
    "SELECT scope,fingerprint,state,lease_until,resource,status,location,"   \
    "etag,content_type,body FROM idempotency WHERE scope IN "

#define NGX_OPAY_IDEM_FIELDS  11


/* opay_idem_t.wrote */
typedef enum {
    NGX_OPAY_IDEM_NOTHING = 0,
    NGX_OPAY_IDEM_DONE,            /* inserted, with the outcome */
    NGX_OPAY_IDEM_OPENED,          /* inserted, in flight */
    NGX_OPAY_IDEM_TAKEN,           /* lease taken over */
    NGX_OPAY_IDEM_FINISHED,        /* was in flight, has the outcome now */
    NGX_OPAY_IDEM_RELEASED         /* lease given up after a 5xx */
} ngx_opay_idem_e;


typedef struct {
    opay_str_t    scope;
    opay_str_t    fingerprint;
    int64_t       done;
    int64_t       lease;
    opay_uuid_t   resource;
    int           status;
    opay_str_t    location;
    opay_str_t    etag;
    opay_str_t    content_type;
    opay_str_t    body;
} ngx_opay_idem_row_t;


static opay_db_rc_t ngx_opay_idem_select(opay_db_t *db, const char *tail,
    opay_call_t **calls, size_t n, opay_db_result_t *res);
static void ngx_opay_idem_row(const opay_db_result_t *res, size_t i,
    ngx_opay_idem_row_t *row);
static opay_call_t *ngx_opay_idem_owner(opay_call_t **calls, size_t n,
    const ngx_opay_idem_row_t *row, size_t *at);
static opay_db_rc_t ngx_opay_idem_decide(opay_db_t *db, opay_call_t *call,
    const ngx_opay_idem_row_t *row);
static opay_db_rc_t ngx_opay_idem_take(opay_db_t *db, opay_call_t *call,
    const ngx_opay_idem_row_t *row);
static opay_db_rc_t ngx_opay_idem_answer(opay_call_t *call,
    const ngx_opay_idem_row_t *row);
static void ngx_opay_idem_busy(opay_call_t *call);
static opay_db_rc_t ngx_opay_idem_fields(opay_call_t *call, int64_t now,
    opay_db_value_t *v);
static opay_db_value_t ngx_opay_idem_body(const opay_call_t *call);
static opay_db_rc_t ngx_opay_idem_close(opay_db_t *db, opay_call_t *call);
static ngx_uint_t ngx_opay_idem_committed(opay_call_t *call,
    const ngx_opay_idem_row_t *row);


opay_db_rc_t
ngx_opay_idem_lookup(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                i, at;
    opay_call_t          *call;
    opay_db_rc_t          rc;
    opay_db_result_t      res;
    ngx_opay_idem_row_t   row;

    rc = ngx_opay_idem_select(db, "", calls, n, &res);

    for (i = 0; rc == OPAY_DB_OK && i < res.rows; i++) {

        ngx_opay_idem_row(&res, i, &row);

        call = ngx_opay_idem_owner(calls, n, &row, &at);

        if (call) {
            rc = ngx_opay_idem_decide(db, call, &row);
        }
    }

    return rc;
}


opay_db_rc_t
ngx_opay_idem_twins(opay_db_t *db, opay_call_t **calls, size_t n,
    ngx_uint_t *found)
{
    opay_db_rc_t      rc;
    opay_db_result_t  res;

    rc = ngx_opay_idem_select(db, "", calls, n, &res);

    *found = rc == OPAY_DB_OK && res.rows;

    return rc;
}


static opay_db_rc_t
ngx_opay_idem_select(opay_db_t *db, const char *tail, opay_call_t **calls,
    size_t n, opay_db_result_t *res)
{
    size_t           i;
    opay_db_value_t  ids[NGX_OPAY_EXEC_MAX];

    for (i = 0; i < n; i++) {
        ids[i] = opay_db_bytes(calls[i]->idem.scope, 32);
    }

    res->rows = 0;

    return n ? opay_db_query_in(db, calls[0]->arena, NGX_OPAY_IDEM_COLUMNS,
                                tail, ids, n, res)
             : OPAY_DB_OK;
}


static void
ngx_opay_idem_row(const opay_db_result_t *res, size_t i,
    ngx_opay_idem_row_t *row)
{
    ngx_memzero(row, sizeof(ngx_opay_idem_row_t));

    row->scope = opay_db_get_str(res, i, 0);
    row->fingerprint = opay_db_get_str(res, i, 1);
    row->done = opay_db_get_i64(res, i, 2);
    row->lease = opay_db_get_i64(res, i, 3);
    (void) opay_db_get_uuid(res, i, 4, &row->resource);
    row->status = (int) opay_db_get_i64(res, i, 5);
    row->location = opay_db_get_str(res, i, 6);
    row->etag = opay_db_get_str(res, i, 7);
    row->content_type = opay_db_get_str(res, i, 8);
    row->body = opay_db_get_str(res, i, 9);
}


static opay_call_t *
ngx_opay_idem_owner(opay_call_t **calls, size_t n,
    const ngx_opay_idem_row_t *row, size_t *at)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (row->scope.len == 32
            && ngx_memcmp(calls[i]->idem.scope, row->scope.data, 32) == 0)
        {
            *at = i;
            return calls[i];
        }
    }

    return NULL;
}


static opay_db_rc_t
ngx_opay_idem_decide(opay_db_t *db, opay_call_t *call,
    const ngx_opay_idem_row_t *row)
{
    if (row->fingerprint.len != 32
        || ngx_memcmp(call->idem.fingerprint, row->fingerprint.data, 32) != 0)
    {
        ngx_opay_metrics_add(NGX_OPAY_M_IDEM_MISMATCH, 1);
        opay_call_fail(call, OPAY_E_IDEMPOTENCY_KEY_REUSED,
                       "This Idempotency-Key was used for another request; "
                       "use a new one for each intent.");
        return OPAY_DB_OK;
    }

    if (row->done) {
        ngx_opay_metrics_add(NGX_OPAY_M_IDEM_REPLAY, 1);
        call->replayed = 1;
        return ngx_opay_idem_answer(call, row);
    }

    if (row->lease > opay_now_ms()) {
        ngx_opay_idem_busy(call);
        return OPAY_DB_OK;
    }

    return ngx_opay_idem_take(db, call, row);
}


/* Its worker has gone silent: the work goes on from where it stands. */

static opay_db_rc_t
ngx_opay_idem_take(opay_db_t *db, opay_call_t *call,
    const ngx_opay_idem_row_t *row)
{
    int64_t          lease;
    uint64_t         matched;
    opay_db_rc_t     rc;
    opay_db_value_t  v[3];

    lease = opay_now_ms() + NGX_OPAY_IDEM_LEASE;

    v[0] = opay_db_i64(lease);
    v[1] = opay_db_bytes(call->idem.scope, 32);
    v[2] = opay_db_i64(row->lease);

    rc = opay_db_exec(db, "UPDATE idempotency SET lease_until=? "
                          "WHERE scope=? AND state=0 AND lease_until=?",
                      v, 3, &matched);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (matched == 0) {
        ngx_opay_idem_busy(call);
        return OPAY_DB_OK;
    }

    call->idem.resuming = 1;
    call->idem.open = 1;
    call->idem.resource = row->resource;
    call->idem.lease = lease;
    call->idem.wrote = NGX_OPAY_IDEM_TAKEN;

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_idem_answer(opay_call_t *call, const ngx_opay_idem_row_t *row)
{
    opay_arena_t  *a;

    /* the row is in the arena of one call of the batch, perhaps not ours */

    a = call->arena;

    opay_call_reply(call, row->status, opay_arena_str(a, row->body));
    call->location = opay_arena_str(a, row->location);
    call->etag = opay_arena_str(a, row->etag);
    call->content_type = opay_arena_str(a, row->content_type);

    if ((row->body.len && call->reply.data == NULL)
        || (row->location.len && call->location.data == NULL)
        || (row->etag.len && call->etag.data == NULL)
        || (row->content_type.len && call->content_type.data == NULL))
    {
        return OPAY_DB_ERROR;
    }

    return OPAY_DB_OK;
}


static void
ngx_opay_idem_busy(opay_call_t *call)
{
    ngx_opay_metrics_add(NGX_OPAY_M_IDEM_CONFLICT, 1);
    opay_call_fail(call, OPAY_E_IDEMPOTENCY_IN_PROGRESS,
                   "The first request with this Idempotency-Key is still "
                   "under way.");
    call->retry_after = 1;
}


/*
 * Not stored: refusals, which have done nothing and may be answered anew,
 * and what did not work on our side.  Of work in flight all is stored but
 * the latter, whose lease is given up instead: a retry goes on at once.
 */

opay_db_rc_t
ngx_opay_idem_store(opay_db_t *db, unsigned idem, opay_call_t **calls,
    size_t n)
{
    size_t            i, rows;
    int64_t           now;
    opay_call_t      *call;
    opay_db_rc_t      rc;
    opay_db_value_t  *v;
    static const char head[] =
        "INSERT INTO idempotency (scope,fingerprint,state,lease_until,"
        "resource,status,location,etag,content_type,body,created_at) VALUES ";

    if (n == 0) {
        return OPAY_DB_OK;
    }

    v = opay_arena_alloc(calls[0]->arena, n * NGX_OPAY_IDEM_FIELDS
                                          * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    now = opay_now_ms();
    rows = 0;

    for (i = 0; i < n; i++) {

        call = calls[i];

        if (call->idem.open) {
            rc = call->status ? ngx_opay_idem_close(db, call) : OPAY_DB_OK;

        } else if ((idem & NGX_OPAY_EXEC_IDEM_OPEN)
                   && (call->status
                       ? call->status < 300 || call->status == 402
                       : !(idem & NGX_OPAY_EXEC_IDEM_FINISH)))
        {
            rc = ngx_opay_idem_fields(call, now,
                                      &v[rows++ * NGX_OPAY_IDEM_FIELDS]);
        } else {
            rc = OPAY_DB_OK;
        }

        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    return opay_db_exec_rows(db, head, "(?,?,?,?,?,?,?,?,?,?,?)", "", v,
                             NGX_OPAY_IDEM_FIELDS, rows, NULL);
}


/* A new record; status 0: in flight. */

static opay_db_rc_t
ngx_opay_idem_fields(opay_call_t *call, int64_t now, opay_db_value_t *v)
{
    ngx_uint_t         done;
    opay_idem_t       *idem;
    static opay_uuid_t none;

    idem = &call->idem;
    done = call->status != 0;

    if (opay_call_render_problem(call) != OPAY_OK) {
        return OPAY_DB_ERROR;
    }

    if (done) {
        idem->wrote = NGX_OPAY_IDEM_DONE;

    } else {
        idem->wrote = NGX_OPAY_IDEM_OPENED;
        idem->open = 1;
        idem->lease = now + NGX_OPAY_IDEM_LEASE;
    }

    v[0] = opay_db_bytes(idem->scope, 32);
    v[1] = opay_db_bytes(idem->fingerprint, 32);
    v[2] = opay_db_i64(done);
    v[3] = opay_db_i64(done ? 0 : idem->lease);
    v[4] = opay_uuid_eq(&idem->resource, &none)
           ? opay_db_null() : opay_db_uuid(&idem->resource);
    v[5] = done ? opay_db_i64(call->status) : opay_db_null();
    v[6] = opay_db_text_or_null(call->location);
    v[7] = opay_db_text_or_null(call->etag);
    v[8] = opay_db_text_or_null(call->content_type);
    v[9] = ngx_opay_idem_body(call);
    v[10] = opay_db_i64(now);

    return OPAY_DB_OK;
}


static opay_db_value_t
ngx_opay_idem_body(const opay_call_t *call)
{
    return call->reply.data ? opay_db_bytes(call->reply.data,
                                            call->reply.len)
                            : opay_db_null();
}


/*
 * Ends a record in flight.  No row matched: it has been taken over, and is
 * the taker's to finish; what this step did is guarded by the resource's own
 * state and stands.
 */

static opay_db_rc_t
ngx_opay_idem_close(opay_db_t *db, opay_call_t *call)
{
    opay_db_value_t  v[7];

    v[5] = opay_db_bytes(call->idem.scope, 32);
    v[6] = opay_db_i64(call->idem.lease);

    if (call->status >= 500) {
        call->idem.wrote = NGX_OPAY_IDEM_RELEASED;

        return opay_db_exec(db, "UPDATE idempotency SET lease_until=0 "
                                "WHERE scope=? AND state=0 "
                                "AND lease_until=?", &v[5], 2, NULL);
    }

    if (opay_call_render_problem(call) != OPAY_OK) {
        return OPAY_DB_ERROR;
    }

    call->idem.wrote = NGX_OPAY_IDEM_FINISHED;

    v[0] = opay_db_i64(call->status);
    v[1] = opay_db_text_or_null(call->location);
    v[2] = opay_db_text_or_null(call->etag);
    v[3] = opay_db_text_or_null(call->content_type);
    v[4] = ngx_opay_idem_body(call);

    return opay_db_exec(db, "UPDATE idempotency SET state=1,status=?,"
                            "location=?,etag=?,content_type=?,body=? "
                            "WHERE scope=? AND state=0 AND lease_until=?",
                        v, 7, NULL);
}


/*
 * The transaction whose COMMIT went unanswered holds the locks of the rows
 * it wrote until the server is through with it, one way or the other, even
 * over a crash and its recovery.  So a locking read cannot overtake it: what
 * it sees is the outcome.  (READ COMMITTED locks no gap, so a row that is
 * not there keeps nobody waiting.)
 */

opay_db_rc_t
ngx_opay_idem_settle(opay_db_t *db, opay_call_t **calls, size_t n,
    unsigned *again)
{
    size_t                i, at;
    opay_call_t          *call;
    opay_db_rc_t          rc;
    opay_db_result_t      res;
    ngx_opay_idem_row_t   row;

    for (i = 0; i < n; i++) {
        again[i] = calls[i]->idem.wrote != NGX_OPAY_IDEM_RELEASED;
    }

    rc = ngx_opay_idem_select(db, " FOR UPDATE", calls, n, &res);

    for (i = 0; rc == OPAY_DB_OK && i < res.rows; i++) {

        ngx_opay_idem_row(&res, i, &row);

        call = ngx_opay_idem_owner(calls, n, &row, &at);

        if (call == NULL || !ngx_opay_idem_committed(call, &row)) {
            continue;
        }

        again[at] = 0;

        /*
         * From the row, not from memory: should our own transaction have
         * been rolled back and a twin have come in between, the twin's
         * outcome is the one that counts.
         */

        if (call->idem.wrote == NGX_OPAY_IDEM_DONE
            || call->idem.wrote == NGX_OPAY_IDEM_FINISHED)
        {
            rc = ngx_opay_idem_answer(call, &row);
        }
    }

    return rc;
}


/* Anything else than what our transaction has left there: run it again. */

static ngx_uint_t
ngx_opay_idem_committed(opay_call_t *call, const ngx_opay_idem_row_t *row)
{
    if (row->fingerprint.len != 32
        || ngx_memcmp(call->idem.fingerprint, row->fingerprint.data, 32) != 0)
    {
        return 0;
    }

    switch (call->idem.wrote) {

    case NGX_OPAY_IDEM_DONE:
    case NGX_OPAY_IDEM_FINISHED:
        return row->done != 0;

    case NGX_OPAY_IDEM_OPENED:
    case NGX_OPAY_IDEM_TAKEN:
        return !row->done && row->lease == call->idem.lease;

    default:
        return 1;
    }
}
