
/*
 * POST /api/orders.
 *
 * DESIGN
 *
 * decode (event loop) makes an order of the request: id and number included,
 * so that a run that is repeated makes the same order.  create (pool thread)
 * takes up to 64 of them: one query for all their products, one multi-row
 * insert per table, one for the events.  A call whose products are not
 * there gets its own 400 and is left out of the inserts; what the database
 * refuses fails the batch, and the runner finds the one by running them
 * singly.
 *
 * Strings of the products live in the first call's arena: nothing of them is
 * looked at once the batch has ended.
 */

#include "ngx_opay_order.h"

#include "opay_event.h"
#include "opay_json.h"
#include "opay_money.h"


typedef struct {
    opay_str_t   address;
    json_t      *items;
} ngx_opay_order_body_t;


typedef struct {
    opay_uuid_t  product;
    int64_t      quantity;
} ngx_opay_order_line_t;


static int ngx_opay_order_create_items(opay_call_t *call, json_t *items,
    ngx_opay_order_t *order);
static void ngx_opay_order_create_line(opay_call_t *call,
    const ngx_opay_order_line_t *line, size_t index,
    ngx_opay_order_t *order);
static int ngx_opay_order_create_name(opay_call_t *call,
    ngx_opay_order_t *order);
static opay_db_rc_t ngx_opay_order_create_products(opay_db_t *db,
    opay_call_t **calls, size_t n, ngx_opay_product_t **products,
    size_t *found);
static int ngx_opay_order_create_price(opay_call_t *call,
    ngx_opay_product_t *products, size_t n);
static void ngx_opay_order_create_fault(opay_call_t *call, size_t index,
    const char *member, const char *code, const char *detail);
static opay_db_rc_t ngx_opay_order_create_write(opay_db_t *db,
    opay_call_t **calls, ngx_opay_order_t **orders, size_t n);
static void ngx_opay_order_create_reply(opay_call_t *call,
    const ngx_opay_order_t *order);


static const opay_json_field_t  ngx_opay_order_body_fields[] = {
    { .name = "shippingAddress", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_MULTILINE,
      .min = 1, .max = NGX_OPAY_ORDER_ADDRESS,
      .offset = offsetof(ngx_opay_order_body_t, address) },
    { .name = "items", .type = OPAY_JSON_ARRAY,
      .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = NGX_OPAY_ORDER_ITEMS,
      .offset = offsetof(ngx_opay_order_body_t, items) },
    { .name = NULL }
};


static const opay_json_field_t  ngx_opay_order_line_fields[] = {
    { .name = "productId", .type = OPAY_JSON_UUID,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_order_line_t, product) },
    { .name = "quantity", .type = OPAY_JSON_INT,
      .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = NGX_OPAY_ORDER_QUANTITY,
      .offset = offsetof(ngx_opay_order_line_t, quantity) },
    { .name = NULL }
};


void
ngx_opay_order_create_decode(opay_call_t *call)
{
    ngx_opay_order_t       *order;
    ngx_opay_order_body_t   body;

    if (opay_json_unpack(call, call->body, "", ngx_opay_order_body_fields,
                         &body)
        != OPAY_OK)
    {
        return;
    }

    order = opay_arena_zalloc(call->arena, sizeof(ngx_opay_order_t));

    if (order == NULL
        || ngx_opay_order_create_items(call, body.items, order) != OPAY_OK
        || ngx_opay_order_create_name(call, order) != OPAY_OK
        || opay_random(order->salt, 16) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    order->address = body.address;
    call->cmd = order;
}


opay_db_rc_t
ngx_opay_order_create(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t               i, k, found;
    opay_call_t        **good;
    opay_db_rc_t         rc;
    ngx_opay_order_t   **orders;
    ngx_opay_product_t  *products;

    rc = ngx_opay_order_create_products(db, calls, n, &products, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    orders = opay_arena_alloc(calls[0]->arena,
                              n * sizeof(ngx_opay_order_t *));
    good = opay_arena_alloc(calls[0]->arena, n * sizeof(opay_call_t *));
    if (orders == NULL || good == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, k = 0; i < n; i++) {
        if (ngx_opay_order_create_price(calls[i], products, found)
            == OPAY_OK)
        {
            good[k] = calls[i];
            orders[k++] = calls[i]->cmd;
        }
    }

    if (k == 0) {
        return OPAY_DB_OK;
    }

    rc = ngx_opay_order_create_write(db, good, orders, k);

    if (rc == OPAY_DB_DUP && n == 1) {
        /* as good as never: somebody has this number; take another */
        return ngx_opay_order_create_name(calls[0], orders[0]) == OPAY_OK
               ? OPAY_DB_RETRY : OPAY_DB_ERROR;
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < k; i++) {
        ngx_opay_order_create_reply(good[i], orders[i]);
    }

    return OPAY_DB_OK;
}


/* OPAY_ERROR: out of memory; what the client did wrong is on the call. */

static int
ngx_opay_order_create_items(opay_call_t *call, json_t *items,
    ngx_opay_order_t *order)
{
    size_t                  i;
    json_t                 *item;
    const char             *prefix;
    ngx_opay_order_line_t   line;

    order->items = opay_arena_zalloc(call->arena, json_array_size(items)
                                     * sizeof(ngx_opay_order_item_t));
    if (order->items == NULL) {
        return OPAY_ERROR;
    }

    json_array_foreach(items, i, item) {

        prefix = opay_json_pointer(call->arena, "/items", i);

        if (opay_json_unpack(call, item, prefix, ngx_opay_order_line_fields,
                             &line)
            == OPAY_OK)
        {
            ngx_opay_order_create_line(call, &line, i, order);
        }
    }

    return OPAY_OK;
}


/* A product that comes again adds to its first line. */

static void
ngx_opay_order_create_line(opay_call_t *call,
    const ngx_opay_order_line_t *line, size_t index, ngx_opay_order_t *order)
{
    size_t                  i;
    ngx_opay_order_item_t  *item;

    for (i = 0; i < order->nitems; i++) {

        item = &order->items[i];

        if (!opay_uuid_eq(&item->product, &line->product)) {
            continue;
        }

        if (item->quantity + line->quantity > NGX_OPAY_ORDER_QUANTITY) {
            ngx_opay_order_create_fault(call, index, "quantity", "range",
                "all lines of one product together may have 9999 at most");
            return;
        }

        item->quantity += line->quantity;
        return;
    }

    item = &order->items[order->nitems++];

    item->product = line->product;
    item->quantity = line->quantity;
    item->index = index;
}


/*
 * id and number, "20261123-7K3M9QX2AB": the day in UTC, and 50 of the id's
 * random bits.
 */

static int
ngx_opay_order_create_name(opay_call_t *call, ngx_opay_order_t *order)
{
    int       i;
    char      day[OPAY_TIME_TEXT + 1], tail[11];
    uint64_t  bits;

    if (opay_uuid_v7(&order->id) != OPAY_OK) {
        return OPAY_ERROR;
    }

    for (i = 8, bits = 0; i < 16; i++) {
        bits = bits << 8 | order->id.b[i];
    }

    for (i = 9; i >= 0; i--) {
        tail[i] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[bits & 0x1f];
        bits >>= 5;
    }

    tail[10] = '\0';

    opay_time_format(call->now, day);

    order->number = opay_arena_printf(call->arena, "%.4s%.2s%.2s-%s",
                                      day, day + 5, day + 8, tail);

    return order->number.data ? OPAY_OK : OPAY_ERROR;
}


/* All products that the calls name, in one query. */

static opay_db_rc_t
ngx_opay_order_create_products(opay_db_t *db, opay_call_t **calls, size_t n,
    ngx_opay_product_t **products, size_t *found)
{
    size_t             i, k, nids;
    opay_uuid_t       *ids, *id;
    ngx_opay_order_t  *order;

    for (i = 0, nids = 0; i < n; i++) {
        order = calls[i]->cmd;
        nids += order->nitems;
    }

    ids = opay_arena_alloc(calls[0]->arena, nids * sizeof(opay_uuid_t));
    if (ids == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, id = ids; i < n; i++) {
        order = calls[i]->cmd;

        for (k = 0; k < order->nitems; k++) {
            *id++ = order->items[k].product;
        }
    }

    return ngx_opay_order_store_products(db, calls[0]->arena, ids, nids,
                                         products, found);
}


/* Fills in what the catalogue says.  OPAY_ERROR: the call has its answer. */

static int
ngx_opay_order_create_price(opay_call_t *call, ngx_opay_product_t *products,
    size_t n)
{
    size_t                  i;
    ngx_opay_order_t       *order;
    ngx_opay_product_t     *p;
    ngx_opay_order_item_t  *item;

    order = call->cmd;
    order->total = 0;
    order->currency.len = 0;

    for (i = 0; i < order->nitems; i++) {

        item = &order->items[i];
        p = ngx_opay_order_find(products, n, sizeof(ngx_opay_product_t),
                                &item->product);

        if (p == NULL || !p->active) {
            ngx_opay_order_create_fault(call, item->index, "productId",
                                        "unknown_product",
                                        "there is no such product on sale");
            continue;
        }

        if (order->currency.len == 0) {
            order->currency = p->currency;

        } else if (!opay_str_eq(order->currency, p->currency)) {
            ngx_opay_order_create_fault(call, item->index, "productId",
                                        "currency_mixed", "all products of "
                                        "an order have one currency");
            continue;
        }

        item->name = p->name;
        item->price = p->price;

        if (opay_money_mul(p->price, item->quantity, &item->subtotal)
            != OPAY_OK
            || opay_money_add(order->total, item->subtotal, &order->total)
               != OPAY_OK)
        {
            ngx_opay_order_create_fault(call, item->index, "quantity",
                                        "range", "the order's total is "
                                        "more than an amount can be");
        }
    }

    return call->status ? OPAY_ERROR : OPAY_OK;
}


static void
ngx_opay_order_create_fault(opay_call_t *call, size_t index,
    const char *member, const char *code, const char *detail)
{
    opay_str_t  pointer;

    pointer = opay_arena_printf(call->arena, "/items/%zu/%s", index, member);

    opay_call_invalid(call, pointer.data ? pointer.data : "", code, detail);
}


static opay_db_rc_t
ngx_opay_order_create_write(opay_db_t *db, opay_call_t **calls,
    ngx_opay_order_t **orders, size_t n)
{
    size_t                        i;
    opay_db_rc_t                  rc;
    opay_arena_t                 *a;
    ngx_opay_order_t             *o;
    ngx_opay_event_t             *ev;
    opay_order_state_t            none;
    opay_order_verdict_t          v;
    const ngx_opay_order_conf_t  *conf;

    a = calls[0]->arena;

    ev = opay_arena_zalloc(a, n * sizeof(ngx_opay_event_t));
    if (ev == NULL) {
        return OPAY_DB_ERROR;
    }

    memset(&none, 0, sizeof(opay_order_state_t));
    v = opay_order_step(&none, OPAY_ORDER_T_CREATE, 0);

    for (i = 0; i < n; i++) {
        conf = calls[i]->conf;
        o = orders[i];

        o->user = calls[i]->who.user;
        o->state = v.next;
        o->version = 1;
        o->created = calls[i]->now;
        o->updated = calls[i]->now;
        o->expires = calls[i]->now + (int64_t) conf->ttl;

        ev[i].agg_type = OPAY_AGG_ORDER;
        ev[i].agg_id = o->id;
        ev[i].key = o->id;
        ev[i].version = o->version;
        ev[i].type = v.events[0];
        ev[i].actor = ngx_opay_order_actor(calls[i], &o->user);
        ev[i].traceparent = calls[i]->traceparent;
        ev[i].data = ngx_opay_order_event_created(a, o);

        if (ev[i].data.data == NULL) {
            return OPAY_DB_ERROR;
        }

        calls[i]->wrote = 1;
    }

    rc = ngx_opay_order_store_insert(db, a, orders, n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    return ngx_opay_events_append(db, a, ev, n);
}


static void
ngx_opay_order_create_reply(opay_call_t *call, const ngx_opay_order_t *order)
{
    char  id[OPAY_UUID_TEXT + 1];

    ngx_opay_order_reply(call, 201, order);

    call->location = opay_arena_printf(call->arena, "/api/orders/%s",
                                       opay_uuid_format(&order->id, id));
}
