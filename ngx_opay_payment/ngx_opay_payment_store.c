
/* The payment service's SQL: see ngx_opay_payment.h. */

#include "ngx_opay_payment.h"


#define NGX_OPAY_PAYABLE_COLUMNS                                             \
    "order_id, user_id, total, currency, status, pending_operation,"         \
    " version, expires_at"

#define NGX_OPAY_PAYMENT_COLUMNS                                             \
    "id, order_id, user_id, amount, currency, method, provider, status,"     \
    " outcome_unknown, cancel_wish, refunds_open, refunded, refund_pending," \
    " transaction_id, failure_code, failure_reason, cancellation_reason,"    \
    " refund_reason, cancelled_at, refund_requested_at, refunded_at,"        \
    " traceparent, version, created_at, updated_at"


static opay_db_rc_t ngx_opay_payment_store_payables(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_payable_t **orders, size_t *n);
static opay_db_rc_t ngx_opay_payment_store_rows(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_payment_t **payments, size_t *n);
static void ngx_opay_payment_store_row(const opay_db_result_t *res, size_t i,
    ngx_opay_payment_t *p);


opay_db_rc_t
ngx_opay_payment_store_orders(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_payable_t **orders,
    size_t *found)
{
    opay_db_rc_t      rc;
    opay_db_result_t  res;

    rc = opay_db_query_in(db, a,
                          "SELECT " NGX_OPAY_PAYABLE_COLUMNS
                          " FROM payable_order WHERE order_id IN ", "",
                          ids, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_store_payables(a, &res, orders, found);
}


opay_db_rc_t
ngx_opay_payment_store_order_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_payable_t *order)
{
    size_t               n;
    opay_db_rc_t         rc;
    opay_db_value_t      v;
    opay_db_result_t     res;
    ngx_opay_payable_t  *list;

    v = opay_db_uuid(id);

    rc = opay_db_query(db, a,
                       "SELECT " NGX_OPAY_PAYABLE_COLUMNS
                       " FROM payable_order WHERE order_id = ? FOR UPDATE",
                       &v, 1, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    memset(order, 0, sizeof(ngx_opay_payable_t));

    rc = ngx_opay_payment_store_payables(a, &res, &list, &n);

    if (rc == OPAY_DB_OK && n) {
        *order = list[0];
    }

    return rc;
}


static opay_db_rc_t
ngx_opay_payment_store_payables(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_payable_t **orders, size_t *n)
{
    size_t               i;
    ngx_opay_payable_t  *o;

    *n = res->rows;
    *orders = opay_arena_zalloc(a, (res->rows + 1)
                                   * sizeof(ngx_opay_payable_t));
    if (*orders == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < res->rows; i++) {
        o = &(*orders)[i];

        (void) opay_db_get_uuid(res, i, 0, &o->id);
        (void) opay_db_get_uuid(res, i, 1, &o->user);
        o->total = opay_db_get_i64(res, i, 2);
        o->currency = opay_db_get_str(res, i, 3);
        o->status = opay_db_get_str(res, i, 4);
        o->pending = opay_db_get_str(res, i, 5);
        o->version = opay_db_get_i64(res, i, 6);
        o->expires = opay_db_get_i64(res, i, 7);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_payment_store_order_put(opay_db_t *db,
    const ngx_opay_payable_t *o, int64_t now)
{
    opay_db_value_t  v[9];

    v[0] = opay_db_uuid(&o->id);
    v[1] = opay_db_uuid(&o->user);
    v[2] = opay_db_i64(o->total);
    v[3] = opay_db_text(o->currency);
    v[4] = opay_db_text(o->status);
    v[5] = opay_db_text_or_null(o->pending);
    v[6] = opay_db_i64(o->version);
    v[7] = ngx_opay_payment_ms(o->expires);
    v[8] = opay_db_i64(now);

    /* assignments run from left to right: version decides, and goes last */

    return opay_db_exec(db,
        "INSERT INTO payable_order (" NGX_OPAY_PAYABLE_COLUMNS
        ", updated_at) VALUES (?,?,?,?,?,?,?,?,?) ON DUPLICATE KEY UPDATE"
        " total = IF(VALUES(version) > version, VALUES(total), total),"
        " currency = IF(VALUES(version) > version, VALUES(currency),"
        " currency),"
        " status = IF(VALUES(version) > version, VALUES(status), status),"
        " pending_operation = IF(VALUES(version) > version,"
        " VALUES(pending_operation), pending_operation),"
        " expires_at = IF(VALUES(version) > version, VALUES(expires_at),"
        " expires_at),"
        " updated_at = IF(VALUES(version) > version, VALUES(updated_at),"
        " updated_at),"
        " version = GREATEST(version, VALUES(version))", v, 9, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_get(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_payment_t **payments,
    size_t *found)
{
    opay_db_rc_t      rc;
    opay_db_result_t  res;

    rc = opay_db_query_in(db, a,
                          "SELECT " NGX_OPAY_PAYMENT_COLUMNS
                          " FROM payments WHERE id IN ", "", ids, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_store_rows(a, &res, payments, found);
}


opay_db_rc_t
ngx_opay_payment_store_by_orders(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_payment_t **payments,
    size_t *found)
{
    opay_db_rc_t      rc;
    opay_db_result_t  res;

    rc = opay_db_query_in(db, a,
                          "SELECT " NGX_OPAY_PAYMENT_COLUMNS
                          " FROM payments WHERE order_id IN ",
                          " ORDER BY order_id, created_at DESC, id DESC",
                          ids, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_store_rows(a, &res, payments, found);
}


opay_db_rc_t
ngx_opay_payment_store_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_payment_t *p)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    memset(p, 0, sizeof(ngx_opay_payment_t));

    v = opay_db_uuid(id);

    rc = opay_db_query(db, a,
                       "SELECT " NGX_OPAY_PAYMENT_COLUMNS
                       " FROM payments WHERE id = ? FOR UPDATE", &v, 1, &res);

    if (rc == OPAY_DB_OK && res.rows) {
        ngx_opay_payment_store_row(&res, 0, p);
    }

    return rc;
}


opay_db_rc_t
ngx_opay_payment_store_list(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_payment_filter_t *f, ngx_opay_payment_t **payments,
    size_t *n)
{
    size_t             k;
    opay_str_t         sql;
    opay_db_rc_t       rc;
    opay_db_value_t    v[7];
    opay_db_result_t   res;

    sql = opay_arena_printf(a, "SELECT " NGX_OPAY_PAYMENT_COLUMNS
              " FROM payments WHERE 1 = 1%s%s%s"
              " ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
              f->has_user ? " AND user_id = ?" : "",
              f->status != OPAY_PAYMENT_NONE ? " AND status = ?" : "",
              f->page.has_after ? " AND created_at <= ?"
                                  " AND (created_at < ? OR id < ?)" : "");
    if (sql.data == NULL) {
        return OPAY_DB_ERROR;
    }

    k = 0;

    if (f->has_user) {
        v[k++] = opay_db_uuid(&f->user);
    }

    if (f->status != OPAY_PAYMENT_NONE) {
        v[k++] = opay_db_text(opay_str_of(
                                  opay_payment_status_name(f->status)));
    }

    if (f->page.has_after) {
        v[k++] = opay_db_i64(f->page.after_time);
        v[k++] = opay_db_i64(f->page.after_time);
        v[k++] = opay_db_uuid(&f->page.after_id);
    }

    v[k++] = opay_db_i64(f->page.limit + 1);
    v[k++] = opay_db_i64(f->page.offset);

    rc = opay_db_query(db, a, sql.data, v, k, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_payment_store_rows(a, &res, payments, n);
}


static opay_db_rc_t
ngx_opay_payment_store_rows(opay_arena_t *a, const opay_db_result_t *res,
    ngx_opay_payment_t **payments, size_t *n)
{
    size_t  i;

    *n = res->rows;
    *payments = opay_arena_zalloc(a, (res->rows + 1)
                                     * sizeof(ngx_opay_payment_t));
    if (*payments == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < res->rows; i++) {
        ngx_opay_payment_store_row(res, i, &(*payments)[i]);
    }

    return OPAY_DB_OK;
}


static void
ngx_opay_payment_store_row(const opay_db_result_t *res, size_t i,
    ngx_opay_payment_t *p)
{
    (void) opay_db_get_uuid(res, i, 0, &p->id);
    (void) opay_db_get_uuid(res, i, 1, &p->order);
    (void) opay_db_get_uuid(res, i, 2, &p->user);
    p->amount = opay_db_get_i64(res, i, 3);
    p->currency = opay_db_get_str(res, i, 4);
    p->method = opay_db_get_str(res, i, 5);
    p->provider = opay_db_get_str(res, i, 6);
    p->state.status = opay_payment_status_parse(opay_db_get_str(res, i, 7));
    p->state.unknown = opay_db_get_i64(res, i, 8) != 0;
    p->wish = opay_db_get_i64(res, i, 9);
    p->state.open = (unsigned) opay_db_get_i64(res, i, 10);
    p->refunded = opay_db_get_i64(res, i, 11);
    p->refund_pending = opay_db_get_i64(res, i, 12);
    p->transaction = opay_db_get_str(res, i, 13);
    p->failure_code = opay_db_get_str(res, i, 14);
    p->failure_reason = opay_db_get_str(res, i, 15);
    p->cancel_reason = opay_db_get_str(res, i, 16);
    p->refund_reason = opay_db_get_str(res, i, 17);
    p->cancelled = opay_db_get_i64(res, i, 18);
    p->refund_requested = opay_db_get_i64(res, i, 19);
    p->refunded_at = opay_db_get_i64(res, i, 20);
    p->traceparent = opay_db_get_str(res, i, 21);
    p->version = opay_db_get_i64(res, i, 22);
    p->created = opay_db_get_i64(res, i, 23);
    p->updated = opay_db_get_i64(res, i, 24);
}


opay_db_rc_t
ngx_opay_payment_store_insert(opay_db_t *db, const ngx_opay_payment_t *p)
{
    opay_db_value_t  v[12];

    v[0] = opay_db_uuid(&p->id);
    v[1] = opay_db_uuid(&p->order);
    v[2] = opay_db_uuid(&p->user);
    v[3] = opay_db_i64(p->amount);
    v[4] = opay_db_text(p->currency);
    v[5] = opay_db_text(p->method);
    v[6] = opay_db_text(p->provider);
    v[7] = opay_db_text(opay_str_of(
                            opay_payment_status_name(p->state.status)));
    v[8] = opay_db_text_or_null(p->traceparent);
    v[9] = opay_db_i64(p->version);
    v[10] = opay_db_i64(p->created);
    v[11] = opay_db_i64(p->updated);

    return opay_db_exec(db,
        "INSERT INTO payments (id, order_id, user_id, amount, currency,"
        " method, provider, status, traceparent, version, created_at,"
        " updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", v, 12, NULL);
}


opay_db_rc_t
ngx_opay_payment_store_update(opay_db_t *db, const ngx_opay_payment_t *p,
    int64_t was)
{
    uint64_t         matched;
    opay_db_rc_t     rc;
    opay_db_value_t  v[18];

    v[0] = opay_db_text(opay_str_of(
                            opay_payment_status_name(p->state.status)));
    v[1] = opay_db_i64(p->state.unknown);
    v[2] = opay_db_i64(p->wish);
    v[3] = opay_db_i64(p->state.open);
    v[4] = opay_db_i64(p->refunded);
    v[5] = opay_db_i64(p->refund_pending);
    v[6] = opay_db_text_or_null(p->transaction);
    v[7] = opay_db_text_or_null(p->failure_code);
    v[8] = opay_db_text_or_null(p->failure_reason);
    v[9] = opay_db_text_or_null(p->cancel_reason);
    v[10] = opay_db_text_or_null(p->refund_reason);
    v[11] = ngx_opay_payment_ms(p->cancelled);
    v[12] = ngx_opay_payment_ms(p->refund_requested);
    v[13] = ngx_opay_payment_ms(p->refunded_at);
    v[14] = opay_db_i64(p->version);
    v[15] = opay_db_i64(p->updated);
    v[16] = opay_db_uuid(&p->id);
    v[17] = opay_db_i64(was);

    rc = opay_db_exec(db,
        "UPDATE payments SET status = ?, outcome_unknown = ?,"
        " cancel_wish = ?, refunds_open = ?, refunded = ?,"
        " refund_pending = ?, transaction_id = ?, failure_code = ?,"
        " failure_reason = ?, cancellation_reason = ?, refund_reason = ?,"
        " cancelled_at = ?, refund_requested_at = ?, refunded_at = ?,"
        " version = ?, updated_at = ? WHERE id = ? AND version = ?",
        v, 18, &matched);

    /* the row is locked: anything else is a bug of ours */

    return (rc == OPAY_DB_OK && matched != 1) ? OPAY_DB_ERROR : rc;
}
