
/* SQL of attempts and refunds: see ngx_opay_payment.h. */

#include "ngx_opay_payment.h"


#define NGX_OPAY_ATTEMPT_COLUMNS                                             \
    "t.id, t.payment_id, t.state, p.amount, p.currency, t.token,"            \
    " p.cancel_wish, t.tries, t.next_try_at, t.created_at, p.order_id"


static opay_db_rc_t ngx_opay_payment_store_attempts(opay_db_t *db,
    opay_arena_t *a, const char *sql, int64_t now, ngx_opay_attempt_t **list,
    size_t *n);
static opay_db_rc_t ngx_opay_payment_store_claimed(opay_db_t *db,
    const char *sql, const opay_db_value_t *v, size_t n, unsigned *won);


opay_db_rc_t
ngx_opay_payment_store_live(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *order, opay_uuid_t *payment, unsigned *found)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    v = opay_db_uuid(order);

    rc = opay_db_query(db, a, "SELECT payment_id FROM payment_attempts"
                       " WHERE active_key = ?", &v, 1, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *found = res.rows && opay_db_get_uuid(&res, 0, 0, payment) == OPAY_OK;

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_payment_store_attempt_insert(opay_db_t *db,
    const ngx_opay_attempt_t *t, int64_t now)
{
    opay_db_value_t  v[8];

    v[0] = opay_db_uuid(&t->id);
    v[1] = opay_db_uuid(&t->payment);
    v[2] = opay_db_uuid(&t->order);
    v[3] = opay_db_text(opay_str_of(opay_attempt_status_name(t->state)));
    v[4] = opay_db_text(t->key);
    v[5] = opay_db_i64(t->next_try);
    v[6] = opay_db_i64(now);
    v[7] = opay_db_i64(now);

    return opay_db_exec(db,
        "INSERT INTO payment_attempts (id, payment_id, order_id, state,"
        " token, next_try_at, created_at, updated_at)"
        " VALUES (?,?,?,?,?,?,?,?)", v, 8, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_attempt_state(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, opay_attempt_status_e *state)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    v = opay_db_uuid(id);

    rc = opay_db_query(db, a, "SELECT state FROM payment_attempts"
                       " WHERE id = ? FOR UPDATE", &v, 1, &res);

    *state = (rc == OPAY_DB_OK && res.rows)
             ? opay_attempt_status_parse(opay_db_get_str(&res, 0, 0))
             : OPAY_ATTEMPT_NONE;

    return rc;
}


opay_db_rc_t
ngx_opay_payment_store_attempt_set(opay_db_t *db, const opay_uuid_t *id,
    opay_attempt_status_e state, const opay_toss_result_t *res,
    int64_t next_try, int64_t now)
{
    opay_db_value_t  v[7];

    v[0] = opay_db_text(opay_str_of(opay_attempt_status_name(state)));
    v[1] = res->provider_id.len ? opay_db_text(res->provider_id)
                                : opay_db_null();
    v[2] = res->code.len ? opay_db_bytes(res->code.data,
                                         ngx_min(res->code.len, 64))
                         : opay_db_null();
    v[3] = ngx_opay_payment_ms(next_try);
    v[4] = opay_db_i64(now);
    v[5] = opay_db_i64(next_try != 0);
    v[6] = opay_db_uuid(id);

    return opay_db_exec(db,
        "UPDATE payment_attempts SET state = ?, provider_id = ?,"
        " provider_code = ?, next_try_at = ?, updated_at = ?,"
        " token = IF(?, token, NULL), repeat_at = NULL WHERE id = ?",
        v, 7, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_attempt_repeat(opay_db_t *db, const opay_uuid_t *id,
    int64_t now)
{
    opay_db_value_t  v[2];

    v[0] = opay_db_i64(now);
    v[1] = opay_db_uuid(id);

    return opay_db_exec(db,
        "UPDATE payment_attempts SET repeat_at = ?"
        " WHERE id = ? AND state = 'UNKNOWN'", v, 2, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_due(opay_db_t *db, opay_arena_t *a, int64_t now,
    ngx_opay_attempt_t **list, size_t *n)
{
    return ngx_opay_payment_store_attempts(db, a,
        "SELECT " NGX_OPAY_ATTEMPT_COLUMNS " FROM payment_attempts t"
        " JOIN payments p ON p.id = t.payment_id WHERE t.next_try_at <= ?"
        " ORDER BY t.next_try_at LIMIT ?", now, list, n);
}


opay_db_rc_t
ngx_opay_payment_store_repeats(opay_db_t *db, opay_arena_t *a, int64_t now,
    ngx_opay_attempt_t **list, size_t *n)
{
    return ngx_opay_payment_store_attempts(db, a,
        "SELECT " NGX_OPAY_ATTEMPT_COLUMNS " FROM payment_attempts t"
        " JOIN payments p ON p.id = t.payment_id WHERE t.repeat_at <= ?"
        " ORDER BY t.repeat_at LIMIT ?", now, list, n);
}


/* Columns in the order of the attempts', with the refund's own amount. */

opay_db_rc_t
ngx_opay_payment_store_refunds_due(opay_db_t *db, opay_arena_t *a,
    int64_t now, ngx_opay_attempt_t **list, size_t *n)
{
    return ngx_opay_payment_store_attempts(db, a,
        "SELECT t.id, t.payment_id, t.state, t.amount, p.currency,"
        " p.transaction_id, p.cancel_wish, t.tries, t.next_try_at,"
        " t.created_at, p.order_id, t.reason FROM refunds t"
        " JOIN payments p ON p.id = t.payment_id WHERE t.next_try_at <= ?"
        " ORDER BY t.next_try_at LIMIT ?", now, list, n);
}


static opay_db_rc_t
ngx_opay_payment_store_attempts(opay_db_t *db, opay_arena_t *a,
    const char *sql, int64_t now, ngx_opay_attempt_t **list, size_t *n)
{
    size_t               i;
    opay_str_t           state;
    opay_db_rc_t         rc;
    opay_db_value_t      v[2];
    opay_db_result_t     res;
    ngx_opay_attempt_t  *t;

    v[0] = opay_db_i64(now);
    v[1] = opay_db_i64(NGX_OPAY_PAYMENT_JOB_ITEMS);

    rc = opay_db_query(db, a, sql, v, 2, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *n = res.rows;
    *list = opay_arena_zalloc(a, (res.rows + 1)
                                 * sizeof(ngx_opay_attempt_t));
    if (*list == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < res.rows; i++) {
        t = &(*list)[i];

        (void) opay_db_get_uuid(&res, i, 0, &t->id);
        (void) opay_db_get_uuid(&res, i, 1, &t->payment);
        state = opay_db_get_str(&res, i, 2);
        t->state = res.cols == 12 ? opay_refund_status_parse(state)
                                  : opay_attempt_status_parse(state);
        t->amount = opay_db_get_i64(&res, i, 3);
        t->currency = opay_db_get_str(&res, i, 4);
        t->key = opay_db_get_str(&res, i, 5);
        t->wish = opay_db_get_i64(&res, i, 6);
        t->tries = opay_db_get_i64(&res, i, 7);
        t->next_try = opay_db_get_i64(&res, i, 8);
        t->created = opay_db_get_i64(&res, i, 9);
        (void) opay_db_get_uuid(&res, i, 10, &t->order);

        if (res.cols == 12) {
            t->reason = opay_db_get_str(&res, i, 11);
        }
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_payment_store_claim(opay_db_t *db, const ngx_opay_attempt_t *t,
    int64_t next_try, unsigned *won)
{
    opay_db_value_t  v[3];

    v[0] = opay_db_i64(next_try);
    v[1] = opay_db_uuid(&t->id);
    v[2] = opay_db_i64(t->next_try);

    return ngx_opay_payment_store_claimed(db,
        "UPDATE payment_attempts SET next_try_at = ?, tries = tries + 1"
        " WHERE id = ? AND next_try_at = ?", v, 3, won);
}


opay_db_rc_t
ngx_opay_payment_store_claim_repeat(opay_db_t *db,
    const ngx_opay_attempt_t *t, unsigned *won)
{
    opay_db_value_t  v;

    v = opay_db_uuid(&t->id);

    return ngx_opay_payment_store_claimed(db,
        "UPDATE payment_attempts SET repeat_at = NULL"
        " WHERE id = ? AND repeat_at IS NOT NULL AND state = 'UNKNOWN'",
        &v, 1, won);
}


opay_db_rc_t
ngx_opay_payment_store_claim_refund(opay_db_t *db,
    const ngx_opay_attempt_t *t, int64_t next_try, unsigned *won)
{
    opay_db_value_t  v[4];

    v[0] = opay_db_i64(next_try);
    v[1] = opay_db_text(opay_str_of(t->state == OPAY_ATTEMPT_INIT
                                    ? "SENT" : "UNKNOWN"));
    v[2] = opay_db_uuid(&t->id);
    v[3] = opay_db_i64(t->next_try);

    return ngx_opay_payment_store_claimed(db,
        "UPDATE refunds SET next_try_at = ?, state = ?, tries = tries + 1"
        " WHERE id = ? AND next_try_at = ?", v, 4, won);
}


static opay_db_rc_t
ngx_opay_payment_store_claimed(opay_db_t *db, const char *sql,
    const opay_db_value_t *v, size_t n, unsigned *won)
{
    uint64_t      matched;
    opay_db_rc_t  rc;

    matched = 0;

    rc = opay_db_exec(db, sql, v, n, &matched);
    *won = (rc == OPAY_DB_OK && matched == 1);

    return rc;
}


opay_db_rc_t
ngx_opay_payment_store_refund_insert(opay_db_t *db,
    const ngx_opay_attempt_t *r, int64_t now)
{
    opay_db_value_t  v[7];

    v[0] = opay_db_uuid(&r->id);
    v[1] = opay_db_uuid(&r->payment);
    v[2] = opay_db_i64(r->amount);
    v[3] = opay_db_text(r->reason);
    v[4] = opay_db_i64(now);
    v[5] = opay_db_i64(now);
    v[6] = opay_db_i64(now);

    return opay_db_exec(db,
        "INSERT INTO refunds (id, payment_id, amount, state, reason,"
        " next_try_at, created_at, updated_at)"
        " VALUES (?,?,?,'INIT',?,?,?,?)", v, 7, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_refund_state(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, opay_attempt_status_e *state)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    v = opay_db_uuid(id);

    rc = opay_db_query(db, a, "SELECT state FROM refunds WHERE id = ?"
                       " FOR UPDATE", &v, 1, &res);

    *state = (rc == OPAY_DB_OK && res.rows)
             ? opay_refund_status_parse(opay_db_get_str(&res, 0, 0))
             : OPAY_ATTEMPT_NONE;

    return rc;
}


opay_db_rc_t
ngx_opay_payment_store_refund_set(opay_db_t *db, const opay_uuid_t *id,
    opay_attempt_status_e state, const opay_toss_result_t *res,
    int64_t next_try, int64_t now)
{
    opay_db_value_t  v[6];

    v[0] = opay_db_text(opay_str_of(opay_refund_status_name(state)));
    v[1] = res->provider_id.len ? opay_db_text(res->provider_id)
                                : opay_db_null();
    v[2] = res->code.len ? opay_db_bytes(res->code.data,
                                         ngx_min(res->code.len, 64))
                         : opay_db_null();
    v[3] = ngx_opay_payment_ms(next_try);
    v[4] = opay_db_i64(now);
    v[5] = opay_db_uuid(id);

    return opay_db_exec(db,
        "UPDATE refunds SET state = ?, provider_id = ?, provider_code = ?,"
        " next_try_at = ?, updated_at = ? WHERE id = ?", v, 6, NULL);
}
