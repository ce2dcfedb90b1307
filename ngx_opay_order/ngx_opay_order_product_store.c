
/* SQL of the catalogue. */

#include "ngx_opay_order.h"


#define NGX_OPAY_PRODUCT_COLUMNS                                             \
    "id, name, price, currency, active, version, created_at, updated_at"


static opay_db_rc_t ngx_opay_order_store_product_rows(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_product_t **products);


opay_db_rc_t
ngx_opay_order_store_products(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, ngx_opay_product_t **products,
    size_t *found)
{
    opay_db_rc_t      rc;
    opay_db_value_t  *values;
    opay_db_result_t  res;

    rc = ngx_opay_order_store_ids(a, ids, n, &values, &n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = opay_db_query_in(db, a, "SELECT " NGX_OPAY_PRODUCT_COLUMNS
                          " FROM products WHERE id IN ", "", values, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_order_store_product_rows(a, &res, products);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *found = res.rows;

    qsort(*products, *found, sizeof(ngx_opay_product_t),
          ngx_opay_order_store_cmp_id);

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_order_store_product_list(opay_db_t *db, opay_arena_t *a,
    const opay_page_t *page, ngx_opay_product_t **products, size_t *n)
{
    size_t            np;
    const char       *sql;
    opay_db_rc_t      rc;
    opay_db_value_t   params[5];
    opay_db_result_t  res;

    sql = "SELECT " NGX_OPAY_PRODUCT_COLUMNS " FROM products WHERE active = 1"
          NGX_OPAY_ORDER_NEWEST;
    np = 0;

    if (page->has_after) {
        sql = "SELECT " NGX_OPAY_PRODUCT_COLUMNS
              " FROM products WHERE active = 1" NGX_OPAY_ORDER_AFTER
              NGX_OPAY_ORDER_NEWEST;

        params[np++] = opay_db_i64(page->after_time);
        params[np++] = opay_db_i64(page->after_time);
        params[np++] = opay_db_uuid(&page->after_id);
    }

    params[np++] = opay_db_i64(page->limit + 1);
    params[np++] = opay_db_i64(page->offset);

    rc = opay_db_query(db, a, sql, params, np, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *n = res.rows;

    return ngx_opay_order_store_product_rows(a, &res, products);
}


static opay_db_rc_t
ngx_opay_order_store_product_rows(opay_arena_t *a,
    const opay_db_result_t *res, ngx_opay_product_t **products)
{
    size_t               i;
    ngx_opay_product_t  *p;

    p = opay_arena_alloc(a, (res->rows + 1) * sizeof(ngx_opay_product_t));
    if (p == NULL) {
        return OPAY_DB_ERROR;
    }

    *products = p;

    for (i = 0; i < res->rows; i++, p++) {
        if (opay_db_get_uuid(res, i, 0, &p->id) != OPAY_OK) {
            return OPAY_DB_ERROR;
        }

        p->name = opay_db_get_str(res, i, 1);
        p->price = opay_db_get_i64(res, i, 2);
        p->currency = opay_db_get_str(res, i, 3);
        p->active = opay_db_get_i64(res, i, 4);
        p->version = opay_db_get_i64(res, i, 5);
        p->created = opay_db_get_i64(res, i, 6);
        p->updated = opay_db_get_i64(res, i, 7);
    }

    return OPAY_DB_OK;
}
