
/* POST /api/orders: rules, what is stored, batches. */

#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>


#define BATCH  64


static opay_call_t *
create(const char *fmt, ...)
{
    char         *items;
    va_list       ap;
    opay_call_t  *call;

    va_start(ap, fmt);
    assert_true(vasprintf(&items, fmt, ap) >= 0);
    va_end(ap);

    call = call_new(&fx_alice);
    call_body(call, "{\"shippingAddress\":\"1 Main St\",\"items\":[%s]}",
              items);
    free(items);

    ngx_opay_order_create_decode(call);

    return call;
}


/* Runs it; the answer must be 400 with one error at pointer. */

static void
refused(opay_call_t *call, const char *pointer, const char *code)
{
    json_t  *e;

    call_run(&fx_create, call);
    assert_int_equal(call->status, 400);
    assert_int_equal(call->code, OPAY_E_VALIDATION_FAILED);

    e = json_object_get(call_json(call), "errors");
    assert_int_equal(json_array_size(e), 1);
    e = json_array_get(e, 0);
    assert_string_equal(jstr(e, "pointer"), pointer);
    assert_string_equal(jstr(e, "code"), code);

    call_free(call);
}


static void
test_create_answer(void **state)
{
    json_t       *o, *item;
    opay_str_t    id;
    opay_call_t  *call;

    (void) state;

    call = create("{\"productId\":\"%s\",\"quantity\":2},"
                  "{\"productId\":\"%s\",\"quantity\":1}",
                  uuid(&fx_product[P_BEANS]), uuid(&fx_product[P_CUP]));
    call_run(&fx_create, call);

    assert_int_equal(call->status, 201);
    assert_int_equal(call->wrote, 1);
    o = call_json(call);

    assert_int_equal(json_object_size(o), 16);
    assert_string_equal(jstr(o, "status"), "CREATED");
    assert_string_equal(jstr(o, "financialStatus"), "UNPAID");
    assert_true(json_is_null(json_object_get(o, "pendingOperation")));
    assert_true(json_is_null(json_object_get(o, "paymentId")));
    assert_true(json_is_null(json_object_get(o, "failureReason")));
    assert_string_equal(jstr(o, "userId"), uuid(&fx_alice));
    assert_string_equal(jstr(o, "currency"), "KRW");
    assert_string_equal(jstr(o, "shippingAddress"), "1 Main St");
    assert_int_equal(jint(o, "totalAmount"), 2 * 18900 + 12500);
    assert_int_equal(jint(o, "version"), 1);
    assert_int_equal(strlen(jstr(o, "orderNumber")), 19);

    item = json_array_get(json_object_get(o, "items"), 0);
    assert_string_equal(jstr(item, "productName"), "Espresso beans");
    assert_int_equal(jint(item, "subtotal"), 37800);

    id = opay_str_of(jstr(o, "id"));
    assert_true(opay_str_is(call->etag, "\"1\""));
    assert_int_equal(call->location.len, 12 + id.len);
    assert_memory_equal(call->location.data, "/api/orders/", 12);
    assert_memory_equal(call->location.data + 12, id.data, id.len);

    call_free(call);
}


/* What GET answers is what POST answered. */

static void
test_create_stored(void **state)
{
    json_t       *made, *data;
    opay_uuid_t   id;
    opay_call_t  *call;

    (void) state;

    call = create("{\"productId\":\"%s\",\"quantity\":3}",
                  uuid(&fx_product[P_CUP]));
    call_run(&fx_create, call);
    made = call_json(call);
    opay_uuid_parse(opay_str_of(jstr(made, "id")), &id);

    assert_true(json_equal(order_read(&id), made));
    assert_string_equal(order_trail(&id), "created");

    data = order_event(&id, 1);
    assert_string_equal(jstr(data, "orderId"), uuid(&id));
    assert_string_equal(jstr(data, "userId"), uuid(&fx_alice));
    assert_string_equal(jstr(data, "status"), "CREATED");
    assert_int_equal(jint(data, "totalAmount"), 37500);
    assert_int_equal(jint(data, "itemCount"), 1);
    assert_int_equal(jint(data, "version"), 1);
    assert_string_equal(jstr(data, "expiresAt"), jstr(made, "expiresAt"));

    /* personal data stays out of the event store */
    assert_null(json_object_get(data, "shippingAddress"));
    assert_int_equal(strlen(jstr(data, "shippingAddressHash")), 64);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM events WHERE data LIKE"
                             " '%%Main St%%'"), 0);

    call_free(call);
}


static void
test_create_merges(void **state)
{
    json_t       *o, *items;
    opay_call_t  *call;

    (void) state;

    call = create("{\"productId\":\"%s\",\"quantity\":2},"
                  "{\"productId\":\"%s\",\"quantity\":1},"
                  "{\"productId\":\"%s\",\"quantity\":5}",
                  uuid(&fx_product[P_CUP]), uuid(&fx_product[P_BEANS]),
                  uuid(&fx_product[P_CUP]));
    call_run(&fx_create, call);
    assert_int_equal(call->status, 201);

    o = call_json(call);
    items = json_object_get(o, "items");

    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(jstr(json_array_get(items, 0), "productName"), "Cup");
    assert_int_equal(jint(json_array_get(items, 0), "quantity"), 7);
    assert_int_equal(jint(o, "totalAmount"), 7 * 12500 + 18900);

    call_free(call);

    refused(create("{\"productId\":\"%s\",\"quantity\":9999},"
                   "{\"productId\":\"%s\",\"quantity\":1}",
                   uuid(&fx_product[P_CUP]), uuid(&fx_product[P_CUP])),
            "/items/1/quantity", "range");
}


static void
test_create_refuses_products(void **state)
{
    opay_uuid_t  u;

    (void) state;

    opay_uuid_v7(&u);

    refused(create("{\"productId\":\"%s\",\"quantity\":1},"
                   "{\"productId\":\"%s\",\"quantity\":1}",
                   uuid(&fx_product[P_CUP]), uuid(&u)),
            "/items/1/productId", "unknown_product");

    refused(create("{\"productId\":\"%s\",\"quantity\":1}",
                   uuid(&fx_product[P_GONE])),
            "/items/0/productId", "unknown_product");

    refused(create("{\"productId\":\"%s\",\"quantity\":1},"
                   "{\"productId\":\"%s\",\"quantity\":1}",
                   uuid(&fx_product[P_CUP]), uuid(&fx_product[P_DOLLAR])),
            "/items/1/productId", "currency_mixed");

    refused(create("{\"productId\":\"%s\",\"quantity\":2}",
                   uuid(&fx_product[P_HUGE])),
            "/items/0/quantity", "range");

    refused(create("{\"productId\":\"%s\",\"quantity\":1},"
                   "{\"productId\":\"%s\",\"quantity\":1}",
                   uuid(&fx_product[P_HUGE]), uuid(&fx_product[P_CUP])),
            "/items/1/quantity", "range");
}


/* Prices are ours: a client cannot even name one. */

static void
test_create_refuses_shapes(void **state)
{
    const char  *p;

    (void) state;

    p = uuid(&fx_product[P_CUP]);

    refused(create("{\"productId\":\"%s\",\"quantity\":1,\"price\":1}", p),
            "/items/0/price", "unknown");
    refused(create("{\"productId\":\"%s\",\"quantity\":0}", p),
            "/items/0/quantity", "range");
    refused(create("{\"productId\":\"%s\",\"quantity\":10000}", p),
            "/items/0/quantity", "range");
    refused(create("{\"productId\":\"%s\",\"quantity\":1.0}", p),
            "/items/0/quantity", "type");
    refused(create("{\"productId\":\"42\",\"quantity\":1}"),
            "/items/0/productId", "format");
    refused(create("{\"quantity\":1}"), "/items/0/productId", "required");
    refused(create("%s", ""), "/items", "length");
}


static void
batch_make(opay_call_t **calls)
{
    size_t  i;

    for (i = 0; i < BATCH; i++) {
        calls[i] = create("{\"productId\":\"%s\",\"quantity\":%d},"
                          "{\"productId\":\"%s\",\"quantity\":1}",
                          uuid(&fx_product[P_BEANS]), (int) i + 1,
                          uuid(&fx_product[P_CUP]));
        assert_int_equal(calls[i]->status, 0);
    }
}


/* Each call's answer is about its own order, and that order is stored. */

static void
batch_check(opay_call_t **calls, size_t poison)
{
    size_t       i;
    json_t      *o;
    opay_uuid_t  id;

    for (i = 0; i < BATCH; i++) {

        if (i == poison) {
            continue;
        }

        assert_int_equal(calls[i]->status, 201);
        o = call_json(calls[i]);
        assert_int_equal(jint(o, "totalAmount"),
                         (int64_t) (i + 1) * 18900 + 12500);

        opay_uuid_parse(opay_str_of(jstr(o, "id")), &id);
        assert_true(json_equal(order_read(&id), o));
        assert_string_equal(order_trail(&id), "created");
    }
}


static void
batch_free(opay_call_t **calls)
{
    size_t  i;

    for (i = 0; i < BATCH; i++) {
        call_free(calls[i]);
    }
}


static void
test_batch(void **state)
{
    int64_t       before;
    opay_call_t  *calls[BATCH];

    (void) state;

    before = sql_int("SELECT COUNT(*) FROM orders");
    batch_make(calls);
    call_run_n(&fx_create, calls, BATCH);
    batch_check(calls, BATCH);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM orders"), before + BATCH);
    batch_free(calls);
}


/* Refused by a rule: it alone is left out, the batch goes through at once. */

static void
test_batch_invalid(void **state)
{
    int64_t       before, first, last;
    opay_call_t  *calls[BATCH];

    (void) state;

    batch_make(calls);
    call_free(calls[17]);
    calls[17] = create("{\"productId\":\"%s\",\"quantity\":1}",
                       uuid(&fx_product[P_GONE]));

    before = sql_int("SELECT COUNT(*) FROM orders");
    first = sql_int("SELECT COALESCE(MAX(id), 0) FROM events");
    call_run_n(&fx_create, calls, BATCH);
    last = sql_int("SELECT MAX(id) FROM events");

    assert_int_equal(calls[17]->status, 400);
    assert_int_equal(calls[17]->wrote, 0);
    batch_check(calls, 17);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM orders"),
                     before + BATCH - 1);

    /* one run: no event id was spent on a run that was rolled back */
    assert_true(last - first < 2 * BATCH);

    batch_free(calls);
}


/* Refused by the database: nothing of it stays, its neighbours are done. */

static void
test_batch_poison(void **state)
{
    int64_t            before;
    opay_call_t       *calls[BATCH];
    ngx_opay_order_t  *order;

    (void) state;

    batch_make(calls);

    order = calls[40]->cmd;
    order->items[1].quantity = 0;      /* a CHECK knows better */

    before = sql_int("SELECT COUNT(*) FROM orders");
    call_run_n(&fx_create, calls, BATCH);

    assert_true(calls[40]->status >= 500);
    batch_check(calls, 40);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM orders"),
                     before + BATCH - 1);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM order_addresses a"
                             " LEFT JOIN orders o ON o.id = a.order_id"
                             " WHERE o.id IS NULL"), 0);
    assert_int_equal(sql_int("SELECT COUNT(*) FROM events e LEFT JOIN orders"
                             " o ON o.id = e.agg_id WHERE o.id IS NULL"), 0);

    batch_free(calls);
}


/* An order number that is taken already is replaced, not reported. */

static void
test_number_taken(void **state)
{
    opay_call_t       *one, *two;
    ngx_opay_order_t  *a, *b;

    (void) state;

    one = create("{\"productId\":\"%s\",\"quantity\":1}",
                 uuid(&fx_product[P_CUP]));
    two = create("{\"productId\":\"%s\",\"quantity\":1}",
                 uuid(&fx_product[P_CUP]));
    a = one->cmd;
    b = two->cmd;
    b->number = a->number;

    call_run(&fx_create, one);
    call_run(&fx_create, two);

    assert_int_equal(one->status, 201);
    assert_int_equal(two->status, 201);
    assert_string_not_equal(jstr(call_json(one), "orderNumber"),
                            jstr(call_json(two), "orderNumber"));

    call_free(one);
    call_free(two);
}


/* The schema's own guards, under whatever the code does. */

static void
guarded(const char *sql)
{
    opay_db_rc_t  rc;

    rc = opay_db_exec(fx_db, sql, NULL, 0, NULL);

    if (rc != OPAY_DB_CONSTRAINT) {
        fail_msg("%s: %s", sql, opay_db_rc_name(rc));
    }
}


static void
test_guards(void **state)
{
    (void) state;

    (void) order_new();

    guarded("UPDATE orders SET total_amount = -1");
    guarded("UPDATE orders SET status = 'LOST'");
    guarded("UPDATE orders SET status = 'PAID'");
    guarded("UPDATE orders SET status = 'PENDING'");
    guarded("UPDATE orders SET refunded_amount = captured_amount + 1");
    guarded("UPDATE orders SET version = 0");
    guarded("UPDATE order_items SET quantity = 0");
    guarded("UPDATE order_items SET subtotal = subtotal + 1");
    guarded("INSERT INTO order_items (order_id, item_no, product_id,"
            " product_name, quantity, price, subtotal)"
            " VALUES (REPEAT('x', 16), 0, REPEAT('y', 16), 'n', 1, 1, 1)");
}


const struct CMUnitTest  create_tests[] = {
    cmocka_unit_test(test_create_answer),
    cmocka_unit_test(test_create_stored),
    cmocka_unit_test(test_create_merges),
    cmocka_unit_test(test_create_refuses_products),
    cmocka_unit_test(test_create_refuses_shapes),
    cmocka_unit_test(test_batch),
    cmocka_unit_test(test_batch_invalid),
    cmocka_unit_test(test_batch_poison),
    cmocka_unit_test(test_number_taken),
    cmocka_unit_test(test_guards)
};

const size_t  create_ntests = sizeof(create_tests) / sizeof(create_tests[0]);
