
/*
 * SQL of the order service.  READ COMMITTED: what a write depends on is
 * locked first (FOR UPDATE), and the update says which version it was.
 */

#include "ngx_opay_order.h"


#define NGX_OPAY_ORDER_COLUMNS                                               \
    "id, order_number, user_id, status, financial_status,"                   \
    " pending_operation, currency, total_amount, captured_amount,"           \
    " refunded_amount, refunds_open, payment_id, failure_reason, version,"   \
    " created_at, updated_at, expires_at"


static opay_db_rc_t ngx_opay_order_store_rows(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_order_t **orders);
static opay_db_rc_t ngx_opay_order_store_row(const opay_db_result_t *res,
    size_t row, ngx_opay_order_t *order);
static opay_db_rc_t ngx_opay_order_store_insert_orders(opay_db_t *db,
    opay_arena_t *a, ngx_opay_order_t **orders, size_t n);
static opay_db_rc_t ngx_opay_order_store_insert_items(opay_db_t *db,
    opay_arena_t *a, ngx_opay_order_t **orders, size_t n);
static opay_db_rc_t ngx_opay_order_store_addresses(opay_db_t *db,
    opay_arena_t *a, const opay_db_value_t *ids, size_t n,
    ngx_opay_order_t **orders);
static opay_db_rc_t ngx_opay_order_store_items(opay_db_t *db,
    opay_arena_t *a, const opay_db_value_t *ids, size_t n,
    ngx_opay_order_t **orders);
static ngx_opay_order_t *ngx_opay_order_store_of(ngx_opay_order_t **orders,
    size_t n, opay_str_t id);
static int ngx_opay_order_store_cmp_order(const void *one, const void *two);


void *
ngx_opay_order_find(const void *base, size_t n, size_t size,
    const opay_uuid_t *id)
{
    return n ? bsearch(id, base, n, size, ngx_opay_order_store_cmp_id) : NULL;
}


opay_db_rc_t
ngx_opay_order_store_ids(opay_arena_t *a, const opay_uuid_t *ids, size_t n,
    opay_db_value_t **values, size_t *count)
{
    size_t        i, k;
    opay_uuid_t  *sorted;

    sorted = opay_arena_dup(a, ids, n * sizeof(opay_uuid_t));
    *values = opay_arena_alloc(a, n * sizeof(opay_db_value_t));
    if (sorted == NULL || *values == NULL) {
        return OPAY_DB_ERROR;
    }

    qsort(sorted, n, sizeof(opay_uuid_t), ngx_opay_order_store_cmp_id);

    for (i = 0, k = 0; i < n; i++) {
        if (i == 0 || !opay_uuid_eq(&sorted[i], &sorted[i - 1])) {
            (*values)[k++] = opay_db_uuid(&sorted[i]);
        }
    }

    *count = k;

    return OPAY_DB_OK;
}


int
ngx_opay_order_store_cmp_id(const void *one, const void *two)
{
    return memcmp(one, two, sizeof(opay_uuid_t));
}


opay_db_rc_t
ngx_opay_order_store_insert(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t **orders, size_t n)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_db_value_t  *v;

    rc = ngx_opay_order_store_insert_orders(db, a, orders, n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    v = opay_arena_alloc(a, n * 3 * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        v[i * 3] = opay_db_uuid(&orders[i]->id);
        v[i * 3 + 1] = opay_db_bytes(orders[i]->salt, 16);
        v[i * 3 + 2] = opay_db_text(orders[i]->address);
    }

    rc = opay_db_exec_rows(db, "INSERT INTO order_addresses"
                           " (order_id, salt, address) VALUES ",
                           "(?, ?, ?)", "", v, 3, n, NULL);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_order_store_insert_items(db, a, orders, n);
}


opay_db_rc_t
ngx_opay_order_store_get(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, ngx_opay_order_t **orders,
    size_t *found)
{
    opay_db_rc_t      rc;
    opay_db_value_t  *values;
    opay_db_result_t  res;

    rc = ngx_opay_order_store_ids(a, ids, n, &values, &n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = opay_db_query_in(db, a, "SELECT " NGX_OPAY_ORDER_COLUMNS
                          " FROM orders WHERE id IN ", "", values, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_order_store_rows(a, &res, orders);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *found = res.rows;

    qsort(*orders, *found, sizeof(ngx_opay_order_t),
          ngx_opay_order_store_cmp_id);

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_order_store_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_order_t *order)
{
    opay_db_rc_t      rc;
    opay_db_value_t   param;
    opay_db_result_t  res;

    memset(order, 0, sizeof(ngx_opay_order_t));

    param = opay_db_uuid(id);

    rc = opay_db_query(db, a, "SELECT " NGX_OPAY_ORDER_COLUMNS
                       " FROM orders WHERE id = ? FOR UPDATE", &param, 1,
                       &res);

    if (rc != OPAY_DB_OK || res.rows == 0) {
        return rc;
    }

    return ngx_opay_order_store_row(&res, 0, order);
}


opay_db_rc_t
ngx_opay_order_store_expired(opay_db_t *db, opay_arena_t *a,
    opay_order_status_e status, int64_t now, size_t limit,
    ngx_opay_order_t **orders, size_t *n)
{
    opay_db_rc_t      rc;
    opay_db_value_t   params[3];
    opay_db_result_t  res;

    params[0] = opay_db_text(opay_str_of(opay_order_status_name(status)));
    params[1] = opay_db_i64(now);
    params[2] = opay_db_i64(limit);

    /* a locked order is being moved by somebody: it has its turn later */

    rc = opay_db_query(db, a, "SELECT " NGX_OPAY_ORDER_COLUMNS
                       " FROM orders WHERE status = ? AND expires_at < ?"
                       " AND pending_operation IS NULL"
                       " ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED",
                       params, 3, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *n = res.rows;

    return ngx_opay_order_store_rows(a, &res, orders);
}


/* The text depends on which filters are there: 48 texts at most. */

opay_db_rc_t
ngx_opay_order_store_list(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_order_filter_t *f, ngx_opay_order_t **orders, size_t *n)
{
    size_t            np;
    opay_str_t        sql;
    opay_db_rc_t      rc;
    opay_db_value_t   p[9];
    opay_db_result_t  res;

    sql = opay_arena_printf(a, "SELECT " NGX_OPAY_ORDER_COLUMNS
              " FROM orders WHERE 1 = 1%s%s%s%s%s" NGX_OPAY_ORDER_NEWEST,
              f->has_user ? " AND user_id = ?" : "",
              f->status != OPAY_ORDER_NONE ? " AND status = ?" : "",
              f->has_from ? " AND created_at >= ?" : "",
              f->has_to ? " AND created_at < ?" : "",
              f->page.has_after ? NGX_OPAY_ORDER_AFTER : "");

    if (sql.data == NULL) {
        return OPAY_DB_ERROR;
    }

    np = 0;

    if (f->has_user) {
        p[np++] = opay_db_uuid(&f->user);
    }

    if (f->status != OPAY_ORDER_NONE) {
        p[np++] = opay_db_text(opay_str_of(
                                   opay_order_status_name(f->status)));
    }

    if (f->has_from) {
        p[np++] = opay_db_i64(f->from);
    }

    if (f->has_to) {
        p[np++] = opay_db_i64(f->to);
    }

    if (f->page.has_after) {
        p[np++] = opay_db_i64(f->page.after_time);
        p[np++] = opay_db_i64(f->page.after_time);
        p[np++] = opay_db_uuid(&f->page.after_id);
    }

    p[np++] = opay_db_i64(f->page.limit + 1);
    p[np++] = opay_db_i64(f->page.offset);

    rc = opay_db_query(db, a, sql.data, p, np, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *n = res.rows;

    return ngx_opay_order_store_rows(a, &res, orders);
}


opay_db_rc_t
ngx_opay_order_store_details(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t *orders, size_t n)
{
    size_t             i;
    opay_db_rc_t       rc;
    opay_db_value_t   *ids;
    ngx_opay_order_t **sorted;

    if (n == 0) {
        return OPAY_DB_OK;
    }

    ids = opay_arena_alloc(a, n * sizeof(opay_db_value_t));
    sorted = opay_arena_alloc(a, n * sizeof(ngx_opay_order_t *));
    if (ids == NULL || sorted == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        sorted[i] = &orders[i];
        ids[i] = opay_db_uuid(&orders[i].id);
    }

    qsort(sorted, n, sizeof(ngx_opay_order_t *),
          ngx_opay_order_store_cmp_order);

    rc = ngx_opay_order_store_addresses(db, a, ids, n, sorted);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_order_store_items(db, a, ids, n, sorted);
}


opay_db_rc_t
ngx_opay_order_store_update(opay_db_t *db, const ngx_opay_order_t *order,
    int64_t was)
{
    uint64_t         affected;
    const char      *op;
    opay_db_rc_t     rc;
    opay_db_value_t  p[12];

    op = opay_order_op_name(order->state.pending);

    p[0] = opay_db_text(opay_str_of(
                            opay_order_status_name(order->state.status)));
    p[1] = opay_db_text(opay_str_of(
                       opay_order_financial_name(order->state.financial)));
    p[2] = op ? opay_db_text(opay_str_of(op)) : opay_db_null();
    p[3] = opay_db_i64(order->captured);
    p[4] = opay_db_i64(order->refunded);
    p[5] = opay_db_i64(order->refunds_open);
    p[6] = order->has_payment ? opay_db_uuid(&order->payment)
                              : opay_db_null();
    p[7] = opay_db_text_or_null(order->failure);
    p[8] = opay_db_i64(order->version);
    p[9] = opay_db_i64(order->updated);
    p[10] = opay_db_uuid(&order->id);
    p[11] = opay_db_i64(was);

    rc = opay_db_exec(db, "UPDATE orders SET status = ?,"
                      " financial_status = ?, pending_operation = ?,"
                      " captured_amount = ?, refunded_amount = ?,"
                      " refunds_open = ?, payment_id = ?,"
                      " failure_reason = ?, version = ?, updated_at = ?"
                      " WHERE id = ? AND version = ?", p, 12, &affected);

    if (rc == OPAY_DB_OK && affected != 1) {
        /* the row is not as it was read: read it again */
        return OPAY_DB_RETRY;
    }

    return rc;
}


opay_db_rc_t
ngx_opay_order_store_history(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, int64_t after, int64_t limit,
    ngx_opay_order_event_t **events, size_t *n)
{
    size_t                   i;
    opay_db_rc_t             rc;
    opay_db_value_t          params[3];
    opay_db_result_t         res;
    ngx_opay_order_event_t  *ev;

    params[0] = opay_db_uuid(id);
    params[1] = opay_db_i64(after);
    params[2] = opay_db_i64(limit);

    rc = opay_db_query(db, a, "SELECT version, type, data, actor, created_at"
                       " FROM events WHERE agg_type = 'order' AND agg_id = ?"
                       " AND version > ? ORDER BY version LIMIT ?",
                       params, 3, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    ev = opay_arena_alloc(a, (res.rows + 1)
                             * sizeof(ngx_opay_order_event_t));
    if (ev == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < res.rows; i++) {
        ev[i].version = opay_db_get_i64(&res, i, 0);
        ev[i].type = opay_db_get_str(&res, i, 1);
        ev[i].data = opay_db_get_str(&res, i, 2);
        ev[i].actor = opay_db_get_str(&res, i, 3);
        ev[i].at = opay_db_get_i64(&res, i, 4);
    }

    *events = ev;
    *n = res.rows;

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_order_store_rows(opay_arena_t *a, const opay_db_result_t *res,
    ngx_opay_order_t **orders)
{
    size_t        i;
    opay_db_rc_t  rc;

    *orders = opay_arena_zalloc(a, (res->rows + 1)
                                   * sizeof(ngx_opay_order_t));
    if (*orders == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < res->rows; i++) {
        rc = ngx_opay_order_store_row(res, i, &(*orders)[i]);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_order_store_row(const opay_db_result_t *res, size_t row,
    ngx_opay_order_t *order)
{
    opay_str_t           op;
    opay_order_state_t  *st;

    st = &order->state;
    op = opay_db_get_str(res, row, 5);

    st->status = opay_order_status_parse(opay_db_get_str(res, row, 3));
    st->financial = opay_order_financial_parse(opay_db_get_str(res, row, 4));
    st->pending = op.data ? opay_order_op_parse(op) : OPAY_ORDER_OP_NONE;

    if (st->status == OPAY_ORDER_NONE
        || st->financial == OPAY_ORDER_FINANCIAL_MAX
        || st->pending == OPAY_ORDER_OP_MAX
        || opay_db_get_uuid(res, row, 0, &order->id) != OPAY_OK
        || opay_db_get_uuid(res, row, 2, &order->user) != OPAY_OK)
    {
        return OPAY_DB_ERROR;
    }

    order->has_payment = (opay_db_get_uuid(res, row, 11, &order->payment)
                          == OPAY_OK);

    order->number = opay_db_get_str(res, row, 1);
    order->currency = opay_db_get_str(res, row, 6);
    order->total = opay_db_get_i64(res, row, 7);
    order->captured = opay_db_get_i64(res, row, 8);
    order->refunded = opay_db_get_i64(res, row, 9);
    order->refunds_open = opay_db_get_i64(res, row, 10);
    order->failure = opay_db_get_str(res, row, 12);
    order->version = opay_db_get_i64(res, row, 13);
    order->created = opay_db_get_i64(res, row, 14);
    order->updated = opay_db_get_i64(res, row, 15);
    order->expires = opay_db_get_i64(res, row, 16);

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_order_store_insert_orders(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t **orders, size_t n)
{
    size_t             i;
    opay_db_value_t   *v, *p;
    ngx_opay_order_t  *o;

    v = opay_arena_alloc(a, n * 11 * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, p = v; i < n; i++, p += 11) {
        o = orders[i];

        p[0] = opay_db_uuid(&o->id);
        p[1] = opay_db_text(o->number);
        p[2] = opay_db_uuid(&o->user);
        p[3] = opay_db_text(opay_str_of(
                                opay_order_status_name(o->state.status)));
        p[4] = opay_db_text(opay_str_of(
                           opay_order_financial_name(o->state.financial)));
        p[5] = opay_db_text(o->currency);
        p[6] = opay_db_i64(o->total);
        p[7] = opay_db_i64(o->version);
        p[8] = opay_db_i64(o->created);
        p[9] = opay_db_i64(o->updated);
        p[10] = opay_db_i64(o->expires);
    }

    return opay_db_exec_rows(db, "INSERT INTO orders (id, order_number,"
                             " user_id, status, financial_status, currency,"
                             " total_amount, version, created_at,"
                             " updated_at, expires_at) VALUES ",
                             "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "",
                             v, 11, n, NULL);
}


static opay_db_rc_t
ngx_opay_order_store_insert_items(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t **orders, size_t n)
{
    size_t                  i, k, rows;
    opay_db_value_t        *v, *p;
    ngx_opay_order_item_t  *item;

    for (i = 0, rows = 0; i < n; i++) {
        rows += orders[i]->nitems;
    }

    v = opay_arena_alloc(a, rows * 7 * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, p = v; i < n; i++) {
        for (k = 0; k < orders[i]->nitems; k++, p += 7) {
            item = &orders[i]->items[k];

            p[0] = opay_db_uuid(&orders[i]->id);
            p[1] = opay_db_i64(k);
            p[2] = opay_db_uuid(&item->product);
            p[3] = opay_db_text(item->name);
            p[4] = opay_db_i64(item->quantity);
            p[5] = opay_db_i64(item->price);
            p[6] = opay_db_i64(item->subtotal);
        }
    }

    return opay_db_exec_rows(db, "INSERT INTO order_items (order_id, item_no,"
                             " product_id, product_name, quantity, price,"
                             " subtotal) VALUES ", "(?, ?, ?, ?, ?, ?, ?)",
                             "", v, 7, rows, NULL);
}


static opay_db_rc_t
ngx_opay_order_store_addresses(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_order_t **orders)
{
    size_t             i;
    opay_str_t         salt;
    opay_db_rc_t       rc;
    opay_db_result_t   res;
    ngx_opay_order_t  *o;

    rc = opay_db_query_in(db, a, "SELECT order_id, salt, address"
                          " FROM order_addresses WHERE order_id IN ", "",
                          ids, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < res.rows; i++) {

        o = ngx_opay_order_store_of(orders, n, opay_db_get_str(&res, i, 0));
        salt = opay_db_get_str(&res, i, 1);

        if (o == NULL || salt.len != 16) {
            return OPAY_DB_ERROR;
        }

        memcpy(o->salt, salt.data, 16);
        o->address = opay_db_get_str(&res, i, 2);
    }

    return OPAY_DB_OK;
}


/*
 * Rows of one order come together, except where a padded or chunked IN list
 * splits them apart; those of one id are always in one chunk.
 */

static opay_db_rc_t
ngx_opay_order_store_items(opay_db_t *db, opay_arena_t *a,
    const opay_db_value_t *ids, size_t n, ngx_opay_order_t **orders)
{
    size_t                  i;
    opay_db_rc_t            rc;
    opay_db_result_t        res;
    ngx_opay_order_t       *o, *last;
    ngx_opay_order_item_t  *item;

    rc = opay_db_query_in(db, a, "SELECT order_id, product_id, product_name,"
                          " quantity, price, subtotal FROM order_items"
                          " WHERE order_id IN ", " ORDER BY order_id,"
                          " item_no", ids, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    item = opay_arena_zalloc(a, (res.rows + 1)
                                * sizeof(ngx_opay_order_item_t));
    if (item == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, last = NULL; i < res.rows; i++, item++) {

        o = ngx_opay_order_store_of(orders, n, opay_db_get_str(&res, i, 0));

        if (o == NULL
            || opay_db_get_uuid(&res, i, 1, &item->product) != OPAY_OK)
        {
            return OPAY_DB_ERROR;
        }

        item->name = opay_db_get_str(&res, i, 2);
        item->quantity = opay_db_get_i64(&res, i, 3);
        item->price = opay_db_get_i64(&res, i, 4);
        item->subtotal = opay_db_get_i64(&res, i, 5);

        if (o != last) {
            o->items = item;
            o->nitems = 0;
            last = o;
        }

        o->nitems++;
    }

    return OPAY_DB_OK;
}


static ngx_opay_order_t *
ngx_opay_order_store_of(ngx_opay_order_t **orders, size_t n, opay_str_t id)
{
    ngx_opay_order_t   key, *pkey, **o;

    if (id.len != 16) {
        return NULL;
    }

    memcpy(key.id.b, id.data, 16);
    pkey = &key;

    o = bsearch(&pkey, orders, n, sizeof(ngx_opay_order_t *),
                ngx_opay_order_store_cmp_order);

    return o ? *o : NULL;
}


static int
ngx_opay_order_store_cmp_order(const void *one, const void *two)
{
    return memcmp((*(ngx_opay_order_t * const *) one)->id.b,
                  (*(ngx_opay_order_t * const *) two)->id.b, 16);
}
