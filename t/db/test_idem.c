
/*
 * Idempotency records: replay, twins, leases, and routes in two phases.
 */

#include <pthread.h>

#include "ops.h"


static ngx_log_t   cycle_log = { .log_level = NGX_LOG_DEBUG };
static opay_db_t  *db;


static int
setup(void **state)
{
    fx_clean(state);
    ops_reset();
    db = opay_db_create(&fx_proxied);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    opay_db_destroy(db);

    return 0;
}


static void
go(const ngx_opay_step_t *step, unsigned idem, opay_call_t **calls, size_t n)
{
    ngx_opay_exec_run(db, step, idem, calls, n, &cycle_log);
}


static void
test_replay(void **state)
{
    opay_call_t  *a, *b, *c, *d;

    (void) state;

    a = fx_call("t", "k");
    b = fx_call("t", "k");
    go(&create, BOTH, &a, 1);
    go(&create, BOTH, &b, 1);

    assert_int_equal(a->status, 201);
    assert_int_equal(a->replayed, 0);
    assert_int_equal(b->replayed, 1);
    same_answer(a, b);
    assert_int_equal(things(), 1);

    /* another payload; another key */

    c = fx_call("u", "k");
    go(&create, BOTH, &c, 1);
    assert_int_equal(c->status, 422);
    assert_int_equal(c->code, OPAY_E_IDEMPOTENCY_KEY_REUSED);

    d = fx_call("t", "k2");
    go(&create, BOTH, &d, 1);
    assert_int_equal(d->status, 201);
    assert_int_equal(d->replayed, 0);
    assert_false(opay_str_eq(d->reply, a->reply));
    assert_int_equal(things(), 2);

    fx_free(a);
    fx_free(b);
    fx_free(c);
    fx_free(d);
}


/* 402 is an outcome and is kept; a refusal is not. */

static void
test_what_is_stored(void **state)
{
    opay_call_t  *a, *b;

    (void) state;

    a = fx_call("decline", "k");
    b = fx_call("decline", "k");
    go(&create, BOTH, &a, 1);
    go(&create, BOTH, &b, 1);

    assert_int_equal(a->status, 402);
    assert_str(a->content_type, "application/problem+json");
    assert_non_null(memmem(a->reply.data, a->reply.len,
                           "payment_declined", 16));
    assert_int_equal(b->replayed, 1);
    same_answer(a, b);
    assert_int_equal(runs, 1);
    fx_free(a);
    fx_free(b);

    a = fx_call("refuse", "r");
    b = fx_call("refuse", "r");
    go(&create, BOTH, &a, 1);
    go(&create, BOTH, &b, 1);
    assert_int_equal(a->status, 409);
    assert_int_equal(b->status, 409);
    assert_int_equal(b->replayed, 0);
    assert_int_equal(runs, 3);
    assert_int_equal(records(), 1);
    fx_free(a);
    fx_free(b);
}


/* Two threads, one key, both past the lookup before either writes. */

typedef struct {
    opay_db_t              *db;
    opay_call_t            *call;
    const ngx_opay_step_t  *step;
} twin_t;


static void *
twin(void *data)
{
    twin_t  *t = data;

    met = 0;
    ngx_opay_exec_run(t->db, t->step, BOTH, &t->call, 1, &cycle_log);

    return NULL;
}


static void
two(const ngx_opay_step_t *step, opay_call_t *a, opay_call_t *b)
{
    twin_t              t[2];
    size_t              i;
    pthread_t           thread[2];
    pthread_barrier_t   barrier;

    pthread_barrier_init(&barrier, NULL, 2);
    meet = &barrier;

    t[0].call = a;
    t[1].call = b;

    for (i = 0; i < 2; i++) {
        t[i].db = opay_db_create(&fx_conf);
        t[i].step = step;
        pthread_create(&thread[i], NULL, twin, &t[i]);
    }

    for (i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        opay_db_destroy(t[i].db);
    }

    meet = NULL;
    pthread_barrier_destroy(&barrier);
}


static void
test_twins(void **state)
{
    opay_call_t  *a, *b;

    (void) state;

    a = fx_call("t", "k");
    b = fx_call("t", "k");
    two(&create, a, b);

    assert_int_equal(a->status, 201);
    same_answer(a, b);
    assert_int_equal(a->replayed + b->replayed, 1);
    assert_int_equal(things(), 1);
    assert_int_equal(records(), 1);
    fx_free(a);
    fx_free(b);

    /* the second is refused because of the first: a replay all the same */

    a = fx_call("t", "c");
    b = fx_call("t", "c");
    two(&claim, a, b);

    assert_int_equal(a->status, 200);
    same_answer(a, b);
    assert_int_equal(a->replayed + b->replayed, 1);
    assert_int_equal(records(), 2);
    fx_free(a);
    fx_free(b);

    /* ... but with a key of its own it is a refusal */

    fx_admin("UPDATE things SET n=0");
    a = fx_call("t", "d");
    b = fx_call("t", "e");
    two(&claim, a, b);
    assert_int_equal(a->status + b->status, 200 + 409);
    fx_free(a);
    fx_free(b);
}


static void
test_phases(void **state)
{
    opay_call_t  *a, *b, *c;

    (void) state;

    a = fx_call("t", "k");
    go(&charge, OPEN, &a, 1);
    assert_int_equal(a->status, 0);
    assert_int_equal(a->idem.open, 1);
    assert_int_equal(a->idem.resuming, 0);
    assert_int_equal(records(), 1);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM idempotency i JOIN "
                               "things t ON t.id=i.resource WHERE state=0"),
                     1);

    b = fx_call("t", "k");
    go(&charge, OPEN, &b, 1);
    assert_int_equal(b->status, 409);
    assert_int_equal(b->code, OPAY_E_IDEMPOTENCY_IN_PROGRESS);
    assert_int_equal(b->retry_after, 1);
    fx_free(b);

    a->cmd = "201";
    go(&charge, FINISH, &a, 1);
    assert_int_equal(a->status, 201);

    c = fx_call("t", "k");
    go(&charge, OPEN, &c, 1);
    assert_int_equal(c->replayed, 1);
    same_answer(a, c);
    assert_int_equal(things(), 1);
    assert_int_equal(fx_number("SELECT n FROM things"), 1);

    fx_free(a);
    fx_free(c);
}


static void
test_phases_decline(void **state)
{
    opay_call_t  *c[3], *d[3];
    size_t        i;

    (void) state;

    make(c, 3, "t", "k");
    go(&charge, OPEN, c, 3);
    c[0]->cmd = "402";
    c[1]->cmd = "502";
    c[2]->cmd = "202";
    go(&charge, FINISH, c, 3);

    assert_int_equal(c[0]->status, 402);
    assert_int_equal(c[1]->status, 502);
    assert_int_equal(c[2]->status, 202);

    make(d, 3, "t", "k");
    go(&charge, OPEN, d, 3);

    same_answer(d[0], c[0]);
    same_answer(d[2], c[2]);

    /* 5xx is not kept: the lease is given up, and the work goes on */

    assert_int_equal(d[1]->status, 0);
    assert_int_equal(d[1]->idem.resuming, 1);
    assert_int_equal(things(), 3);

    for (i = 0; i < 3; i++) {
        assert_int_equal(d[i]->replayed, i != 1);
    }

    drop(c, 3);
    drop(d, 3);
}


static void
test_lease(void **state)
{
    opay_call_t  *a, *b, *c;

    (void) state;

    a = fx_call("t", "k");
    go(&charge, OPEN, &a, 1);
    fx_admin("UPDATE idempotency SET lease_until=lease_until-60000");
    a->idem.lease -= 60000;

    /* taken over, with what there is already */

    b = fx_call("t", "k");
    go(&charge, OPEN, &b, 1);
    assert_int_equal(b->status, 0);
    assert_int_equal(b->idem.resuming, 1);
    assert_int_equal(b->idem.open, 1);
    assert_true(opay_uuid_eq(&a->idem.resource, &b->idem.resource));
    assert_int_equal(things(), 1);

    /* the lease is his now: neither a third nor the first has a say */

    c = fx_call("t", "k");
    go(&charge, OPEN, &c, 1);
    assert_int_equal(c->status, 409);
    fx_free(c);

    a->cmd = "402";
    go(&charge, FINISH, &a, 1);
    assert_int_equal(fx_number("SELECT state FROM idempotency"), 0);

    b->cmd = "201";
    go(&charge, FINISH, &b, 1);
    assert_int_equal(b->status, 201);
    assert_int_equal(fx_number("SELECT status FROM idempotency"), 201);

    fx_free(a);
    fx_free(b);
}


static void
test_unknown_phases(void **state)
{
    size_t        i;
    opay_call_t  *a, *b;

    static const proxy_mode_e  modes[] = { PROXY_CUT_BEFORE, PROXY_CUT_AFTER,
                                           PROXY_DELAY };

    (void) state;

    for (i = 0; i < 3; i++) {

        fx_admin("DELETE FROM idempotency");
        fx_admin("DELETE FROM things");
        a = fx_call("t", "k");

        proxy_arm(modes[i], 0);
        go(&charge, OPEN, &a, 1);
        assert_int_equal(proxy_hits(), 1);
        assert_int_equal(a->status, 0);
        assert_int_equal(a->idem.open, 1);
        assert_int_equal(things(), 1);

        a->cmd = "201";
        proxy_arm(modes[i], 0);
        go(&charge, FINISH, &a, 1);
        assert_int_equal(proxy_hits(), 1);
        assert_int_equal(a->status, 201);
        assert_int_equal(fx_number("SELECT n FROM things"), 1);

        b = fx_call("t", "k");
        go(&charge, OPEN, &b, 1);
        assert_int_equal(b->replayed, 1);
        same_answer(a, b);

        fx_free(a);
        fx_free(b);
    }
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(test_replay),
        test(test_what_is_stored),
        test(test_twins),
        test(test_phases),
        test(test_phases_decline),
        test(test_lease),
        test(test_unknown_phases),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
