
/* Reads: batches of ids, lists and their cursors, history, catalogue. */

#include "fixture.h"

#include <stdio.h>


static opay_call_t *
by_id(const opay_uuid_t *user, const opay_uuid_t *id)
{
    opay_call_t  *call;

    call = call_new(user);
    call->param[0] = opay_arena_str(call->arena, opay_str_of(uuid(id)));

    ngx_opay_order_id_decode(call);
    assert_int_equal(call->status, 0);

    return call;
}


static opay_call_t *
list(const opay_uuid_t *user, const char *query, const char *status)
{
    opay_call_t  *call;

    call = call_new(user);
    call->query = opay_arena_str(call->arena, opay_str_of(query));
    call->param[0] = opay_str_of(status);

    ngx_opay_order_list_decode(call);
    call_run(&fx_list, call);

    return call;
}


static void
test_get_batch(void **state)
{
    size_t        i;
    opay_uuid_t   id, other;
    opay_call_t  *calls[32];

    (void) state;

    id = order_new();
    opay_uuid_v7(&other);

    for (i = 0; i < 32; i++) {
        calls[i] = by_id(i % 4 == 1 ? &fx_bob
                         : i % 4 == 2 ? &fx_admin : &fx_alice,
                         i % 4 == 3 ? &other : &id);
    }

    call_run_n(&fx_get, calls, 32);

    for (i = 0; i < 32; i++) {

        if (i % 4 == 1 || i % 4 == 3) {
            assert_int_equal(calls[i]->status, 404);
            assert_int_equal(calls[i]->code, OPAY_E_NOT_FOUND);

        } else {
            assert_int_equal(calls[i]->status, 200);
            assert_string_equal(jstr(call_json(calls[i]), "id"), uuid(&id));
            assert_true(opay_str_is(calls[i]->etag, "\"1\""));
        }
    }

    for (i = 0; i < 32; i++) {
        call_free(calls[i]);
    }
}


static void
test_get_no_uuid(void **state)
{
    opay_call_t  *call;

    (void) state;

    call = call_new(&fx_alice);
    call->param[0] = opay_str_of("events");
    ngx_opay_order_id_decode(call);
    assert_int_equal(call->status, 404);
    call_free(call);
}


static void
test_internal(void **state)
{
    json_t       *o;
    opay_uuid_t   id;
    opay_call_t  *call;

    (void) state;

    id = order_new();
    call = by_id(NULL, &id);
    call_run(&fx_internal, call);
    assert_int_equal(call->status, 200);

    o = call_json(call);
    assert_int_equal(json_object_size(o), 7);
    assert_string_equal(jstr(o, "orderId"), uuid(&id));
    assert_string_equal(jstr(o, "userId"), uuid(&fx_alice));
    assert_int_equal(jint(o, "total"), 50300);
    assert_string_equal(jstr(o, "currency"), "KRW");
    assert_string_equal(jstr(o, "status"), "CREATED");
    assert_int_equal(jint(o, "version"), 1);
    assert_string_equal(jstr(o, "expiresAt"),
                        jstr(order_read(&id), "expiresAt"));

    call_free(call);
}


/* Pages of 10 over 45 orders: each once, newest first, the end is an end. */

static void
test_list_pages(void **state)
{
    char           query[128];
    json_t        *page, *content;
    size_t         i, n, pages;
    opay_uuid_t    alice, ids[45];
    const char    *next;
    opay_call_t   *call, *keep;

    (void) state;

    alice = fx_alice;
    opay_uuid_v7(&fx_alice);           /* somebody with no orders yet */

    for (i = 0; i < 45; i++) {
        ids[i] = order_new();
    }

    /* ties: the id decides */
    sql_do("UPDATE orders SET created_at = 1800000000000 WHERE user_id ="
           " UNHEX(REPLACE('%s', '-', ''))", uuid(&fx_alice));

    strcpy(query, "limit=10");
    keep = NULL;

    for (n = 0, pages = 0; /* void */; pages++) {

        call = list(&fx_alice, query, "");
        assert_int_equal(call->status, 200);

        page = call_json(call);
        content = json_object_get(page, "content");

        for (i = 0; i < json_array_size(content); i++, n++) {
            assert_string_equal(jstr(json_array_get(content, i), "id"),
                                uuid(&ids[44 - n]));
            assert_int_equal(json_array_size(json_object_get(
                             json_array_get(content, i), "items")), 2);
        }

        if (!json_is_true(json_object_get(page, "hasMore"))) {
            assert_true(json_is_null(json_object_get(page, "next")));
            call_free(call);
            break;
        }

        next = jstr(page, "next");
        snprintf(query, sizeof(query), "limit=10&after=%s", next);

        if (keep) {
            call_free(keep);
        }

        keep = call;
    }

    assert_int_equal(n, 45);
    assert_int_equal(pages, 4);

    /* the cursor is of this reader and this list */

    call = list(&fx_bob, query, "");
    assert_int_equal(call->status, 400);
    call_free(call);

    strcat(query, "&status=CREATED");
    call = list(&fx_alice, query, "");
    assert_int_equal(call->status, 400);
    call_free(call);

    /* Spring's way */

    call = list(&fx_alice, "page=4&size=10&sort=createdAt,desc", "");
    assert_int_equal(call->status, 200);
    content = json_object_get(call_json(call), "content");
    assert_int_equal(json_array_size(content), 5);
    assert_string_equal(jstr(json_array_get(content, 4), "id"),
                        uuid(&ids[0]));
    call_free(call);
    call_free(keep);

    fx_alice = alice;
}


static size_t
count(const opay_uuid_t *user, const char *query, const char *status)
{
    size_t        n;
    opay_call_t  *call;

    call = list(user, query, status);

    if (call->status != 200) {
        fail_msg("%s: %d", query, call->status);
    }

    n = json_array_size(json_object_get(call_json(call), "content"));
    call_free(call);

    return n;
}


static void
test_list_filters(void **state)
{
    char         query[160];
    opay_uuid_t  alice, one, two;

    (void) state;

    alice = fx_alice;
    opay_uuid_v7(&fx_alice);

    one = order_new();
    two = order_new();

    sql_do("UPDATE orders SET created_at = 1000 WHERE id ="
           " UNHEX(REPLACE('%s', '-', ''))", uuid(&one));
    sql_do("UPDATE orders SET created_at = 2000, status = 'CANCELLED'"
           " WHERE id = UNHEX(REPLACE('%s', '-', ''))", uuid(&two));

    assert_int_equal(count(&fx_alice, "", ""), 2);
    assert_int_equal(count(&fx_alice, "status=CREATED", ""), 1);
    assert_int_equal(count(&fx_alice, "", "CANCELLED"), 1);
    assert_int_equal(count(&fx_alice, "", "PAID"), 0);
    assert_int_equal(count(&fx_alice, "createdFrom=1970-01-01T00:00:02Z",
                           ""), 1);
    assert_int_equal(count(&fx_alice, "createdTo=1970-01-01T00:00:02Z", ""),
                     1);
    assert_int_equal(count(&fx_alice, "createdFrom=1970-01-01T00:00:01Z"
                           "&createdTo=1970-01-01T00:00:02.001Z", ""), 2);

    /* an ADMIN sees all, or one user's; a user's own id changes nothing */

    snprintf(query, sizeof(query), "userId=%s", uuid(&fx_alice));
    assert_int_equal(count(&fx_admin, query, ""), 2);
    assert_int_equal(count(&fx_alice, query, ""), 2);
    assert_true(count(&fx_admin, "", "") > 2);
    assert_int_equal(count(&fx_bob, "", ""), 0);

    fx_alice = alice;
}


static void
test_list_refuses(void **state)
{
    char          query[64];
    size_t        i;
    opay_call_t  *call;

    static const char  *bad[] = {
        "status=LOST", "status=created", "createdFrom=yesterday",
        "createdTo=2026-01-01", "limit=0", "limit=101", "limit=x",
        "after=x", "page=-1", "sort=total,asc"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        call = list(&fx_alice, bad[i], "");

        if (call->status != 400) {
            fail_msg("%s: %d", bad[i], call->status);
        }

        call_free(call);
    }

    call = list(&fx_alice, "", "LOST");
    assert_int_equal(call->status, 400);
    call_free(call);

    snprintf(query, sizeof(query), "userId=%s", uuid(&fx_bob));
    call = list(&fx_alice, query, "");
    assert_int_equal(call->status, 403);
    call_free(call);
}


static opay_call_t *
history(const opay_uuid_t *user, const opay_uuid_t *id, const char *query)
{
    opay_call_t  *call;

    call = call_new(user);
    call->param[0] = opay_arena_str(call->arena, opay_str_of(uuid(id)));
    call->query = opay_arena_str(call->arena, opay_str_of(query));

    ngx_opay_order_history_decode(call);
    call_run(&fx_history, call);

    return call;
}


static void
test_history(void **state)
{
    char          query[128];
    json_t       *h, *e;
    opay_uuid_t   id, pay;
    opay_call_t  *call;

    (void) state;

    id = order_new();
    opay_uuid_v7(&pay);
    payment_event(&id, &pay, 1, "payment.created", 50300);
    payment_event(&id, &pay, 2, "payment.succeeded", 50300);

    call = history(&fx_alice, &id, "limit=2");
    assert_int_equal(call->status, 200);
    h = call_json(call);
    assert_int_equal(json_array_size(json_object_get(h, "content")), 2);

    e = json_array_get(json_object_get(h, "content"), 0);
    assert_int_equal(json_object_size(e), 6);
    assert_int_equal(jint(e, "version"), 1);
    assert_string_equal(jstr(e, "type"), "order.created");
    assert_true(json_is_null(json_object_get(e, "previousStatus")));
    assert_string_equal(jstr(e, "newStatus"), "CREATED");
    assert_memory_equal(jstr(e, "actor"), "user:", 5);
    assert_string_equal(jstr(e, "actor") + 5, uuid(&fx_alice));

    snprintf(query, sizeof(query), "limit=2&after=%s", jstr(h, "next"));
    call_free(call);

    call = history(&fx_alice, &id, query);
    h = call_json(call);
    assert_true(json_is_false(json_object_get(h, "hasMore")));
    assert_int_equal(json_array_size(json_object_get(h, "content")), 1);

    e = json_array_get(json_object_get(h, "content"), 0);
    assert_string_equal(jstr(e, "type"), "order.paid");
    assert_string_equal(jstr(e, "previousStatus"), "PENDING");
    assert_string_equal(jstr(e, "newStatus"), "PAID");
    assert_string_equal(jstr(e, "actor"), "payment");
    call_free(call);

    call = history(&fx_bob, &id, "");
    assert_int_equal(call->status, 404);
    call_free(call);
}


static void
test_products(void **state)
{
    json_t       *page, *p;
    opay_call_t  *call, *calls[3];
    opay_uuid_t   none;
    size_t        i;

    (void) state;

    call = call_new(NULL);
    call->query = opay_str_of("limit=2");
    ngx_opay_order_products_decode(call);
    call_run(&fx_products, call);
    assert_int_equal(call->status, 200);

    page = call_json(call);
    assert_true(json_is_true(json_object_get(page, "hasMore")));
    p = json_array_get(json_object_get(page, "content"), 0);
    assert_string_equal(jstr(p, "name"), "Yacht");
    assert_int_equal(json_object_size(p), 8);
    assert_true(json_is_true(json_object_get(p, "active")));
    call_free(call);

    /* without the one that is not on sale */

    call = call_new(NULL);
    ngx_opay_order_products_decode(call);
    call_run(&fx_products, call);
    assert_int_equal(json_array_size(json_object_get(call_json(call),
                                                     "content")), 4);
    call_free(call);

    opay_uuid_v7(&none);

    for (i = 0; i < 3; i++) {
        calls[i] = call_new(NULL);
        calls[i]->param[0] = opay_str_of(uuid(i == 2 ? &none
                                              : &fx_product[P_BEANS]));
        ngx_opay_order_product_decode(calls[i]);
    }

    call_run_n(&fx_product_get, calls, 3);
    assert_int_equal(calls[0]->status, 200);
    assert_int_equal(calls[1]->status, 200);
    assert_int_equal(calls[2]->status, 404);
    assert_int_equal(jint(call_json(calls[1]), "price"), 18900);

    for (i = 0; i < 3; i++) {
        call_free(calls[i]);
    }
}


const struct CMUnitTest  read_tests[] = {
    cmocka_unit_test(test_get_batch),
    cmocka_unit_test(test_get_no_uuid),
    cmocka_unit_test(test_internal),
    cmocka_unit_test(test_list_pages),
    cmocka_unit_test(test_list_filters),
    cmocka_unit_test(test_list_refuses),
    cmocka_unit_test(test_history),
    cmocka_unit_test(test_products)
};

const size_t  read_ntests = sizeof(read_tests) / sizeof(read_tests[0]);
