
/* What moves an order: cancels, payment events, time, and races of them. */

#include "fixture.h"

#include <pthread.h>
#include <stdio.h>


#define TOTAL  50300


static opay_call_t *
cancel_make(const opay_uuid_t *user, const opay_uuid_t *id)
{
    opay_call_t  *call;

    call = call_new(user);
    call->param[0] = opay_arena_str(call->arena, opay_str_of(uuid(id)));
    ngx_opay_order_id_decode(call);

    return call;
}


/* The status of the answer. */

static int
cancel(const opay_uuid_t *user, const opay_uuid_t *id)
{
    int           status;
    opay_call_t  *call;

    call = cancel_make(user, id);
    call_run(&fx_cancel, call);
    status = call->status;
    call_free(call);

    return status;
}


static void
paid_order(opay_uuid_t *id, opay_uuid_t *pay)
{
    *id = order_new();
    opay_uuid_v7(pay);

    assert_string_equal(payment_event(id, pay, 1, "payment.created", TOTAL),
                        "applied");
    assert_string_equal(payment_event(id, pay, 2, "payment.processing",
                                      TOTAL), "applied");
    assert_string_equal(payment_event(id, pay, 3, "payment.succeeded",
                                      TOTAL), "applied");
}


/* Marks the order as past its time. */

static void
age(const opay_uuid_t *id)
{
    sql_do("UPDATE orders SET expires_at = 1000 WHERE id ="
           " UNHEX(REPLACE('%s', '-', ''))", uuid(id));
}


static void
test_cancel(void **state)
{
    json_t       *o;
    opay_uuid_t   id;
    opay_call_t  *call;

    (void) state;

    id = order_new();
    assert_int_equal(cancel(&fx_bob, &id), 404);
    assert_string_equal(order_trail(&id), "created");

    call = cancel_make(&fx_alice, &id);
    call->if_match = opay_str_of("\"7\"");
    call_run(&fx_cancel, call);
    assert_int_equal(call->status, 412);
    call_free(call);

    call = cancel_make(&fx_alice, &id);
    call->if_match = opay_str_of("\"0\", \"1\"");
    call_run(&fx_cancel, call);
    assert_int_equal(call->status, 200);
    assert_int_equal(call->wrote, 1);
    assert_true(opay_str_is(call->etag, "\"2\""));
    o = call_json(call);
    assert_string_equal(jstr(o, "status"), "CANCELLED");
    assert_int_equal(jint(o, "version"), 2);
    assert_int_equal(json_array_size(json_object_get(o, "items")), 2);
    call_free(call);

    assert_int_equal(cancel(&fx_alice, &id), 200);
    assert_string_equal(order_trail(&id), "created cancelled");
    assert_string_equal(jstr(order_event(&id, 2), "previousStatus"),
                        "CREATED");

    id = order_new();
    assert_int_equal(cancel(&fx_admin, &id), 200);
}


static void
test_paid(void **state)
{
    json_t       *o;
    opay_uuid_t   id, pay;

    (void) state;

    id = order_new();
    opay_uuid_v7(&pay);

    payment_event(&id, &pay, 1, "payment.created", TOTAL);
    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "PENDING");
    assert_string_equal(jstr(o, "pendingOperation"), "PAY");
    assert_string_equal(jstr(o, "financialStatus"), "PROCESSING");
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));

    payment_event(&id, &pay, 2, "payment.processing", TOTAL);
    payment_event(&id, &pay, 3, "payment.outcome_unknown", TOTAL);
    payment_event(&id, &pay, 4, "payment.succeeded", TOTAL);

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "PAID");
    assert_true(json_is_null(json_object_get(o, "pendingOperation")));
    assert_string_equal(jstr(o, "financialStatus"), "PAID");
    assert_string_equal(order_trail(&id), "created payment_pending paid");

    o = order_event(&id, 3);
    assert_string_equal(jstr(o, "previousStatus"), "PENDING");
    assert_string_equal(jstr(o, "status"), "PAID");
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));
    assert_int_equal(jint(o, "totalAmount"), TOTAL);
    assert_int_equal(jint(o, "version"), 3);

    /* delivered again, and out of order */

    assert_string_equal(payment_event(&id, &pay, 4, "payment.succeeded",
                                      TOTAL), "duplicate");
    assert_string_equal(payment_event(&id, &pay, 6, "refund.created", TOTAL),
                        "gap");
    assert_string_equal(order_trail(&id), "created payment_pending paid");
}


static void
test_failed_and_again(void **state)
{
    json_t       *o;
    opay_uuid_t   id, one, two;

    (void) state;

    id = order_new();
    opay_uuid_v7(&one);
    opay_uuid_v7(&two);

    payment_event(&id, &one, 1, "payment.created", TOTAL);
    payment_event(&id, &one, 2, "payment.failed", TOTAL);

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "FAILED");
    assert_string_equal(jstr(o, "failureReason"), "card declined");
    assert_string_equal(jstr(order_event(&id, 3), "failureReason"),
                        "card declined");

    payment_event(&id, &two, 1, "payment.created", TOTAL);
    payment_event(&id, &two, 2, "payment.succeeded", TOTAL);

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "PAID");
    assert_string_equal(jstr(o, "paymentId"), uuid(&two));
    assert_true(json_is_null(json_object_get(o, "failureReason")));
    assert_string_equal(order_trail(&id), "created payment_pending"
                        " payment_failed payment_pending paid");
}


static void
test_cancel_in_flight(void **state)
{
    char          where[64];
    json_t       *o;
    opay_uuid_t   id, pay;
    opay_call_t  *call;

    (void) state;

    id = order_new();
    opay_uuid_v7(&pay);
    payment_event(&id, &pay, 1, "payment.created", TOTAL);

    call = cancel_make(&fx_alice, &id);
    call_run(&fx_cancel, call);
    assert_int_equal(call->status, 202);
    snprintf(where, sizeof(where), "/api/orders/%s", uuid(&id));
    assert_true(opay_str_is(call->location, where));
    o = call_json(call);
    assert_string_equal(jstr(o, "status"), "PENDING");
    assert_string_equal(jstr(o, "pendingOperation"), "CANCEL");
    call_free(call);

    assert_int_equal(cancel(&fx_alice, &id), 202);

    payment_event(&id, &pay, 2, "payment.failed", TOTAL);
    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "CANCELLED");
    assert_true(json_is_null(json_object_get(o, "failureReason")));
    assert_string_equal(order_trail(&id), "created payment_pending"
                        " cancel_requested cancelled");
}


/* Charged although cancelled: paid, and the refund asked for, in one go. */

static void
test_cancel_then_charged(void **state)
{
    json_t       *o;
    opay_uuid_t   id, pay;

    (void) state;

    id = order_new();
    opay_uuid_v7(&pay);
    payment_event(&id, &pay, 1, "payment.created", TOTAL);
    assert_int_equal(cancel(&fx_alice, &id), 202);
    payment_event(&id, &pay, 2, "payment.succeeded", TOTAL);

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "PAID");
    assert_string_equal(jstr(o, "pendingOperation"), "CANCEL");
    assert_string_equal(order_trail(&id), "created payment_pending"
                        " cancel_requested paid refund_requested");

    o = order_event(&id, 5);
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));
    assert_int_equal(jint(o, "amount"), TOTAL);
    assert_string_equal(jstr(o, "reason"), "order_cancelled");

    payment_event(&id, &pay, 3, "refund.created", TOTAL);
    payment_event(&id, &pay, 4, "refund.succeeded", TOTAL);
    payment_event(&id, &pay, 5, "payment.refunded", TOTAL);

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "CANCELLED");
    assert_string_equal(jstr(o, "financialStatus"), "REFUNDED");
    assert_true(json_is_null(json_object_get(o, "pendingOperation")));
    assert_string_equal(order_trail(&id), "created payment_pending"
                        " cancel_requested paid refund_requested refunded"
                        " cancelled");

    /* between the two events of one move stands what a reader folds */
    assert_string_equal(jstr(order_event(&id, 6), "status"), "PAID");
    assert_string_equal(jstr(order_event(&id, 7), "previousStatus"), "PAID");
    assert_string_equal(jstr(order_event(&id, 7), "status"), "CANCELLED");
}


static void
test_cancel_paid(void **state)
{
    json_t       *o;
    opay_uuid_t   id, pay;

    (void) state;

    paid_order(&id, &pay);
    assert_int_equal(cancel(&fx_alice, &id), 202);
    assert_string_equal(order_trail(&id), "created payment_pending paid"
                        " cancel_requested refund_requested");

    o = order_event(&id, 5);
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));
    assert_int_equal(jint(o, "amount"), TOTAL);

    payment_event(&id, &pay, 4, "refund.created", TOTAL);
    payment_event(&id, &pay, 5, "refund.succeeded", TOTAL);
    assert_string_equal(order_trail(&id), "created payment_pending paid"
                        " cancel_requested refund_requested refunded"
                        " cancelled");
}


/* Also when the refund did not work: then it can be asked for again. */

static void
test_cancel_paid_again(void **state)
{
    opay_uuid_t  id, pay;

    (void) state;

    paid_order(&id, &pay);
    assert_int_equal(cancel(&fx_alice, &id), 202);
    payment_event(&id, &pay, 4, "refund.created", TOTAL);
    payment_event(&id, &pay, 5, "refund.failed", TOTAL);
    assert_true(json_is_null(json_object_get(order_read(&id),
                                             "pendingOperation")));
    assert_int_equal(cancel(&fx_alice, &id), 202);
    assert_string_equal(order_trail(&id), "created payment_pending paid"
                        " cancel_requested refund_requested updated"
                        " cancel_requested refund_requested");
}


static void
test_partial_refunds(void **state)
{
    opay_uuid_t  id, pay;

    (void) state;

    paid_order(&id, &pay);

    payment_event(&id, &pay, 4, "refund.created", 300);
    assert_int_equal(sql_int("SELECT refunds_open FROM orders WHERE id ="
                             " UNHEX(REPLACE('%s', '-', ''))", uuid(&id)), 1);
    payment_event(&id, &pay, 5, "refund.succeeded", 300);
    assert_string_equal(jstr(order_read(&id), "financialStatus"),
                        "PARTIALLY_REFUNDED");

    payment_event(&id, &pay, 6, "refund.created", 1000);
    payment_event(&id, &pay, 7, "refund.failed", 1000);
    assert_string_equal(jstr(order_read(&id), "financialStatus"),
                        "PARTIALLY_REFUNDED");

    payment_event(&id, &pay, 8, "refund.created", TOTAL - 300);
    payment_event(&id, &pay, 9, "refund.succeeded", TOTAL - 300);
    assert_string_equal(jstr(order_read(&id), "financialStatus"), "REFUNDED");
    assert_string_equal(jstr(order_read(&id), "status"), "PAID");

    assert_int_equal(sql_int("SELECT refunds_open FROM orders WHERE id ="
                             " UNHEX(REPLACE('%s', '-', ''))", uuid(&id)), 0);
    assert_int_equal(sql_int("SELECT refunded_amount FROM orders WHERE id ="
                             " UNHEX(REPLACE('%s', '-', ''))", uuid(&id)),
                     TOTAL);
    assert_string_equal(order_trail(&id), "created payment_pending paid"
                        " refunded refunded");
}


/* Money that comes for a dead order is never refused: it goes back. */

static void
test_late_payment(void **state)
{
    json_t       *o;
    opay_uuid_t   id, pay;

    (void) state;

    id = order_new();
    opay_uuid_v7(&pay);
    assert_int_equal(cancel(&fx_alice, &id), 200);

    assert_string_equal(payment_event(&id, &pay, 1, "payment.created",
                                      TOTAL), "applied");
    assert_string_equal(payment_event(&id, &pay, 2, "payment.succeeded",
                                      TOTAL), "applied");

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "CANCELLED");
    assert_string_equal(jstr(o, "financialStatus"), "PAID");
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));
    assert_string_equal(order_trail(&id), "created cancelled"
                        " refund_requested");

    o = order_event(&id, 3);
    assert_int_equal(jint(o, "amount"), TOTAL);
    assert_string_equal(jstr(o, "reason"), "late_payment");

    payment_event(&id, &pay, 3, "refund.created", TOTAL);
    payment_event(&id, &pay, 4, "refund.succeeded", TOTAL);
    assert_string_equal(jstr(order_read(&id), "financialStatus"), "REFUNDED");
    assert_string_equal(order_trail(&id), "created cancelled"
                        " refund_requested refunded");

    /* not swept yet, but past its time */

    id = order_new();
    opay_uuid_v7(&pay);
    age(&id);
    payment_event(&id, &pay, 1, "payment.created", TOTAL);
    payment_event(&id, &pay, 2, "payment.succeeded", TOTAL);
    assert_string_equal(jstr(order_read(&id), "status"), "CANCELLED");
    assert_string_equal(order_trail(&id), "created cancelled"
                        " refund_requested");
}


static void
test_second_payment(void **state)
{
    json_t       *o;
    opay_uuid_t   id, pay, other;

    (void) state;

    paid_order(&id, &pay);
    opay_uuid_v7(&other);

    payment_event(&id, &other, 1, "payment.created", TOTAL);
    assert_string_equal(payment_event(&id, &other, 2, "payment.succeeded",
                                      TOTAL), "applied");
    o = order_event(&id, 4);
    assert_string_equal(jstr(o, "paymentId"), uuid(&other));
    assert_string_equal(jstr(o, "reason"), "duplicate_payment");

    assert_string_equal(payment_event(&id, &other, 3, "refund.created",
                                      TOTAL), "applied");
    assert_string_equal(payment_event(&id, &other, 4, "refund.succeeded",
                                      TOTAL), "applied");

    o = order_read(&id);
    assert_string_equal(jstr(o, "status"), "PAID");
    assert_string_equal(jstr(o, "financialStatus"), "PAID");
    assert_string_equal(jstr(o, "paymentId"), uuid(&pay));
    assert_string_equal(order_trail(&id), "created payment_pending paid"
                        " refund_requested");
}


static void
test_rejected(void **state)
{
    opay_uuid_t  id, pay, none;

    (void) state;

    opay_uuid_v7(&none);
    opay_uuid_v7(&pay);
    assert_string_equal(payment_event(&none, &pay, 1, "payment.created",
                                      TOTAL), "rejected:unknown_order");

    id = order_new();
    opay_uuid_v7(&pay);
    payment_event(&id, &pay, 1, "payment.created", TOTAL);
    assert_string_equal(payment_event(&id, &pay, 2, "payment.succeeded",
                                      TOTAL - 1), "rejected:amount_mismatch");
    assert_string_equal(jstr(order_read(&id), "status"), "PENDING");

    opay_uuid_v7(&pay);
    assert_string_equal(payment_event(&id, &pay, 1, "payment.succeeded", -1),
                        "rejected:bad_data");

    /* a type that is not about orders moves the watermark only */

    opay_uuid_v7(&pay);
    assert_string_equal(payment_event(&id, &pay, 1, "payment.imagined", 1),
                        "applied");
    assert_string_equal(order_trail(&id), "created payment_pending");
}


static void
sweep(void)
{
    opay_call_t  *call;

    do {
        fx_kicks = 0;
        call = call_new(NULL);
        ngx_opay_order_expire_make(call);
        call_run(&fx_expire, call);
        assert_int_equal(call->status, 0);
        ngx_opay_order_expire_again(call);
        call_free(call);
    } while (fx_kicks);
}


static void
test_expiry(void **state)
{
    size_t       i;
    opay_uuid_t  id, failed, pending, fresh, pay, many[70];

    (void) state;

    fresh = order_new();
    id = order_new();
    age(&id);

    failed = order_new();
    opay_uuid_v7(&pay);
    payment_event(&failed, &pay, 1, "payment.created", TOTAL);
    payment_event(&failed, &pay, 2, "payment.failed", TOTAL);
    age(&failed);

    pending = order_new();
    opay_uuid_v7(&pay);
    payment_event(&pending, &pay, 1, "payment.created", TOTAL);
    age(&pending);

    for (i = 0; i < 70; i++) {
        many[i] = order_new();
        age(&many[i]);
    }

    sweep();

    assert_string_equal(jstr(order_read(&fresh), "status"), "CREATED");
    assert_string_equal(jstr(order_read(&id), "status"), "CANCELLED");
    assert_string_equal(order_trail(&id), "created cancelled");
    assert_string_equal(jstr(order_event(&id, 2), "reason"), "expired");
    assert_string_equal(order_trail(&failed), "created payment_pending"
                        " payment_failed cancelled");
    assert_string_equal(jstr(order_read(&pending), "status"), "PENDING");

    for (i = 0; i < 70; i++) {
        assert_string_equal(order_trail(&many[i]), "created cancelled");
    }
}


/* Just past its time is left alone: a payment may be on its way. */

static void
test_expiry_grace(void **state)
{
    opay_uuid_t  id;

    (void) state;

    id = order_new();
    sql_do("UPDATE orders SET expires_at = %lld WHERE id ="
           " UNHEX(REPLACE('%s', '-', ''))", (long long) opay_now_ms() - 1,
           uuid(&id));
    sweep();
    assert_string_equal(jstr(order_read(&id), "status"), "CREATED");
}


typedef struct {
    opay_uuid_t  id;
    int          n;
} race_t;


static void *
race_cancel(void *data)
{
    int           i;
    race_t       *race = data;
    opay_db_t    *db;
    opay_call_t  *call;

    db = fixture_db();

    for (i = 0; i < race->n; i++) {
        call = cancel_make(&fx_alice, &race->id);
        ngx_opay_exec_run(db, &fx_cancel, 0, &call, 1, ngx_cycle->log);
        call_free(call);
    }

    opay_db_destroy(db);

    return NULL;
}


/* Cancels from two sides while payment events arrive: one story, no gap. */

static void
test_race(void **state)
{
    int          i, status;
    race_t       race;
    pthread_t    t1, t2;
    opay_uuid_t  pay;
    json_t      *o;

    (void) state;

    for (i = 0; i < 20; i++) {
        race.id = order_new();
        race.n = 5;
        opay_uuid_v7(&pay);

        assert_int_equal(pthread_create(&t1, NULL, race_cancel, &race), 0);
        assert_int_equal(pthread_create(&t2, NULL, race_cancel, &race), 0);

        assert_string_equal(payment_event(&race.id, &pay, 1,
                                          "payment.created", TOTAL),
                            "applied");
        assert_string_equal(payment_event(&race.id, &pay, 2,
                                          "payment.succeeded", TOTAL),
                            "applied");

        pthread_join(t1, NULL);
        pthread_join(t2, NULL);

        (void) order_trail(&race.id);

        /* money came in and the owner wants out: asked back exactly once */

        status = sql_int("SELECT COUNT(*) FROM events WHERE agg_id ="
                         " UNHEX(REPLACE('%s', '-', '')) AND type ="
                         " 'order.refund_requested'", uuid(&race.id));
        assert_int_equal(status, 1);

        o = order_read(&race.id);
        assert_string_equal(jstr(o, "financialStatus"), "PAID");
        assert_true(strcmp(jstr(o, "status"), "CANCELLED") == 0
                    || strcmp(jstr(o, "pendingOperation"), "CANCEL") == 0);
    }
}


const struct CMUnitTest  move_tests[] = {
    cmocka_unit_test(test_cancel),
    cmocka_unit_test(test_paid),
    cmocka_unit_test(test_failed_and_again),
    cmocka_unit_test(test_cancel_in_flight),
    cmocka_unit_test(test_cancel_then_charged),
    cmocka_unit_test(test_cancel_paid),
    cmocka_unit_test(test_cancel_paid_again),
    cmocka_unit_test(test_partial_refunds),
    cmocka_unit_test(test_late_payment),
    cmocka_unit_test(test_second_payment),
    cmocka_unit_test(test_rejected),
    cmocka_unit_test(test_expiry),
    cmocka_unit_test(test_expiry_grace),
    cmocka_unit_test(test_race)
};

const size_t  move_ntests = sizeof(move_tests) / sizeof(move_tests[0]);
