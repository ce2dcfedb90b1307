
/* Event names, their topics and aggregates, and ce_id. */

#include "test_arena.h"
#include "../../lib/opay_event.c"


static void
test_event_table(void **state)
{
    size_t                    i, j, n;
    const opay_event_info_t  *e, *f;

    static const struct {
        const char  *type;
        const char  *topic;
        const char  *aggregate;
    } some[] = {
        { "order.created", "order-events", "order" },
        { "order.refunded", "order-events", "order" },
        { "payment.created", "payment-events", "payment" },
        { "refund.failed", "payment-events", "payment" },
        { "payment.refunded", "payment-events", "payment" },
        { "user.created", "user-events", "user" },
        { "user.updated", "user-events", "profile" },
        { "user.deleted", "user-events", "user" },
        { "auth.session_revoked", "auth-events", "session" },
        { "auth.credentials_changed", "auth-events", "credential" }
    };

    (void) state;

    for (i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        e = opay_event_find(test_str(some[i].type));
        assert_non_null(e);
        assert_string_equal(e->type, some[i].type);
        assert_string_equal(e->topic, some[i].topic);
        assert_string_equal(e->aggregate, some[i].aggregate);
    }

    e = opay_event_table(&n);
    assert_int_equal(n, 25);

    for (i = 0; i < n; i++) {

        f = opay_event_find(test_str(e[i].type));
        assert_ptr_equal(f, &e[i]);

        /* the columns they go into */
        assert_true(strlen(e[i].type) <= 64);
        assert_true(strlen(e[i].aggregate) <= 16);

        for (j = 0; j < i; j++) {
            assert_string_not_equal(e[i].type, e[j].type);
        }
    }

    assert_null(opay_event_find(test_str("")));
    assert_null(opay_event_find(test_str("order")));
    assert_null(opay_event_find(test_str("order.create")));
    assert_null(opay_event_find(test_str("order.created ")));
    assert_null(opay_event_find(test_str("Order.created")));
}


static void
test_event_ids(void **state)
{
    char         buf[OPAY_EVENT_ID_SIZE];
    opay_uuid_t  u;

    (void) state;

    memset(u.b, 0x11, 16);

    assert_ptr_equal(opay_event_id("order", &u, 3, buf), buf);
    assert_string_equal(buf, "order-11111111-1111-1111-1111-111111111111-3");

    /* the longest there is fits, and a longer name is cut */

    (void) opay_event_id("abcdefghijklmnopqrst", &u, INT64_MIN, buf);
    assert_string_equal(buf, "abcdefghijklmnop-11111111-1111-1111-1111-"
                             "111111111111--9223372036854775808");
    assert_int_equal(strlen(buf), OPAY_EVENT_ID_SIZE - 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_event_table),
        cmocka_unit_test(test_event_ids)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
