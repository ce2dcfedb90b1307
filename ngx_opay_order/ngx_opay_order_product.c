
/* The catalogue as clients see it: products on sale, newest first. */

#include "ngx_opay_order.h"


#define NGX_OPAY_PRODUCT_NOT_FOUND  "There is no such product."


static opay_str_t  ngx_opay_order_products_scope = opay_str("products");


void
ngx_opay_order_products_decode(opay_call_t *call)
{
    opay_page_t                  *page;
    const ngx_opay_order_conf_t  *conf;

    conf = call->conf;

    page = opay_arena_zalloc(call->arena, sizeof(opay_page_t));
    if (page == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    (void) opay_page_parse(call, conf->cursor_key,
                           ngx_opay_order_products_scope, page);

    call->cmd = page;
}


opay_db_rc_t
ngx_opay_order_products(opay_db_t *db, opay_call_t **calls, size_t n)
{
    int                           more;
    size_t                        i, count;
    opay_jw_t                     w;
    opay_str_t                    body;
    opay_call_t                  *call;
    opay_page_t                  *page;
    opay_db_rc_t                  rc;
    ngx_opay_product_t           *p, *last;
    const ngx_opay_order_conf_t  *conf;

    (void) n;

    call = calls[0];
    page = call->cmd;
    conf = call->conf;

    rc = ngx_opay_order_store_product_list(db, call->arena, page, &p, &count);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    more = (count > (size_t) page->limit);
    count -= more;

    opay_jw_init(&w, call->arena, 256 + count * 320);
    opay_jw_obj(&w);
    opay_jw_key(&w, "content");
    opay_jw_arr(&w);

    for (i = 0; i < count; i++) {
        ngx_opay_order_json_product(&w, &p[i]);
    }

    opay_jw_arr_end(&w);

    last = count ? &p[count - 1] : NULL;

    opay_page_end(&w, conf->cursor_key, ngx_opay_order_products_scope, more,
                  last ? last->created : 0, last ? &last->id : NULL);
    opay_jw_obj_end(&w);

    body = opay_jw_result(&w);

    if (body.data == NULL) {
        return OPAY_DB_ERROR;
    }

    opay_call_reply(call, 200, body);

    return OPAY_DB_OK;
}


void
ngx_opay_order_product_decode(opay_call_t *call)
{
    opay_uuid_t  *id;

    id = opay_arena_zalloc(call->arena, sizeof(opay_uuid_t));
    if (id == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    if (opay_uuid_parse(call->param[0], id) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, NGX_OPAY_PRODUCT_NOT_FOUND);
        return;
    }

    call->cmd = id;
}


/* A product that is no longer on sale is still there for those who know it. */

opay_db_rc_t
ngx_opay_order_product(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t               i, found;
    opay_jw_t            w;
    opay_str_t           body;
    opay_uuid_t         *ids;
    opay_db_rc_t         rc;
    ngx_opay_product_t  *products, *p;

    ids = opay_arena_alloc(calls[0]->arena, n * sizeof(opay_uuid_t));
    if (ids == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        ids[i] = *(opay_uuid_t *) calls[i]->cmd;
    }

    rc = ngx_opay_order_store_products(db, calls[0]->arena, ids, n, &products,
                                       &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {

        p = ngx_opay_order_find(products, found, sizeof(ngx_opay_product_t),
                                calls[i]->cmd);
        if (p == NULL) {
            opay_call_fail(calls[i], OPAY_E_NOT_FOUND,
                           NGX_OPAY_PRODUCT_NOT_FOUND);
            continue;
        }

        opay_jw_init(&w, calls[i]->arena, 320);
        ngx_opay_order_json_product(&w, p);
        body = opay_jw_result(&w);

        if (body.data == NULL) {
            opay_call_fail(calls[i], OPAY_E_INTERNAL_ERROR, NULL);
            continue;
        }

        opay_call_etag(calls[i], p->version);
        opay_call_reply(calls[i], 200, body);
    }

    return OPAY_DB_OK;
}
