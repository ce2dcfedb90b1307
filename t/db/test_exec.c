
/*
 * ngx_opay_exec_run(): what a batch promises to each of its calls, whatever
 * happens to the others, to the connection, or to the answer to COMMIT.
 */

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
test_batch(void **state)
{
    size_t        i;
    opay_call_t  *c[64];

    (void) state;

    make(c, 64, "t", "k");
    go(&create, BOTH, c, 64);

    for (i = 0; i < 64; i++) {
        assert_int_equal(c[i]->status, 201);
        assert_int_equal(c[i]->replayed, 0);
    }

    assert_int_equal(runs, 1);
    assert_int_equal(largest, 64);
    assert_int_equal(things(), 64);
    assert_int_equal(records(), 64);

    drop(c, 64);
}


static void
test_poison(void **state)
{
    size_t        i;
    opay_call_t  *c[8];

    (void) state;

    make(c, 8, "t", "k");
    c[5]->cmd = "poison";
    go(&create, BOTH, c, 8);

    for (i = 0; i < 8; i++) {
        assert_int_equal(c[i]->status, i == 5 ? 500 : 201);
    }

    assert_int_equal(c[5]->code, OPAY_E_INTERNAL_ERROR);
    assert_int_equal(runs, 1 + 8);
    assert_int_equal(things(), 7);
    assert_int_equal(records(), 7);
    assert_non_null(strstr(stub_log(), "thing.create"));
    assert_true(strstr(stub_log(), "4025")         /* MariaDB's, MySQL's */
                || strstr(stub_log(), "3819"));
    assert_null(strstr(stub_log(), "poison"));

    drop(c, 8);
}


static void
test_duplicate_in_batch(void **state)
{
    opay_call_t  *c[3];

    (void) state;

    c[0] = fx_call("t", "k");
    c[1] = fx_call("u", "l");
    c[2] = fx_call("t", "k");
    go(&create, BOTH, c, 3);

    assert_int_equal(c[0]->status, 201);
    assert_int_equal(c[2]->replayed, 1);
    same_answer(c[0], c[2]);
    assert_int_equal(things(), 2);
    assert_int_equal(largest, 1);
    assert_non_null(strstr(stub_log(), "one idempotency scope twice"));

    drop(c, 3);
}


/* Replay, reuse and new work side by side in one batch. */

static void
test_mixed_batch(void **state)
{
    opay_call_t  *a, *c[4];

    (void) state;

    a = fx_call("t0", "k0");
    go(&create, BOTH, &a, 1);

    make(c, 4, "t", "k");
    c[1]->cmd = "decline";
    c[2]->cmd = "refuse";
    c[3]->idem.present = 0;
    go(&create, BOTH, c, 4);

    assert_int_equal(c[0]->replayed, 1);
    same_answer(c[0], a);
    assert_int_equal(c[1]->status, 402);
    assert_int_equal(c[2]->status, 409);
    assert_int_equal(c[3]->status, 201);
    assert_int_equal(runs, 2);
    assert_int_equal(things(), 3);
    assert_int_equal(records(), 2);

    fx_free(a);
    drop(c, 4);
}


static void
script_is(size_t n, const opay_db_rc_t *list)
{
    memcpy(answers, list, n * sizeof(opay_db_rc_t));
    nanswers = n;
    runs = 0;
}


static void
test_retries(void **state)
{
    opay_call_t  *c[4];

    (void) state;

    /* the third try works; each earlier one has left nothing */

    script_is(2, (opay_db_rc_t []) { OPAY_DB_RETRY, OPAY_DB_LOST });
    make(c, 4, "a", NULL);
    go(&script, 0, c, 4);
    assert_int_equal(c[3]->status, 201);
    assert_int_equal(runs, 3);
    assert_int_equal(things(), 4);
    drop(c, 4);

    /* alone and without luck: 503, and nothing written */

    script_is(3, (opay_db_rc_t []) { OPAY_DB_RETRY, OPAY_DB_RETRY,
                                     OPAY_DB_RETRY });
    make(c, 1, "b", NULL);
    go(&script, 0, c, 1);
    assert_int_equal(runs, 3);
    assert_int_equal(c[0]->status, 503);
    assert_int_equal(c[0]->code, OPAY_E_UNAVAILABLE);
    assert_int_equal(c[0]->retry_after, 1);
    assert_int_equal(c[0]->reply.len, 0);
    assert_int_equal(things(), 4);
    drop(c, 1);

    /* a version that another writer had: again */

    script_is(1, (opay_db_rc_t []) { OPAY_DB_DUP });
    make(c, 1, "c", NULL);
    go(&script, 0, c, 1);
    assert_int_equal(c[0]->status, 201);
    assert_int_equal(things(), 5);
    drop(c, 1);

    /* our mistake: once, and 500 */

    script_is(1, (opay_db_rc_t []) { OPAY_DB_ERROR });
    make(c, 1, "d", NULL);
    go(&script, 0, c, 1);
    assert_int_equal(runs, 1);
    assert_int_equal(c[0]->status, 500);
    assert_int_equal(things(), 5);
    drop(c, 1);
}


static void
test_split_and_rollback(void **state)
{
    opay_call_t  *c[3];

    (void) state;

    script_is(1, (opay_db_rc_t []) { OPAY_DB_SPLIT });
    make(c, 3, "a", NULL);
    go(&script, 0, c, 3);
    assert_int_equal(runs, 1 + 3);
    assert_int_equal(things(), 3);
    drop(c, 3);

    /* in a batch ROLLBACK is a split; alone the outcome stays */

    script_is(3, (opay_db_rc_t []) { OPAY_DB_ROLLBACK, OPAY_DB_OK,
                                     OPAY_DB_ROLLBACK });
    make(c, 3, "b", "k");
    go(&script, BOTH, c, 3);
    assert_int_equal(runs, 1 + 3);
    assert_int_equal(c[0]->status, 201);
    assert_int_equal(c[1]->status, 201);
    assert_int_equal(c[1]->wrote, 0);
    assert_int_equal(things(), 3 + 2);
    assert_int_equal(records(), 2);
    drop(c, 3);
}


static void
test_read(void **state)
{
    opay_call_t  *c[2];

    (void) state;

    script_is(1, (opay_db_rc_t []) { OPAY_DB_LOST });
    make(c, 2, "a", NULL);
    go(&reading, 0, c, 2);
    assert_int_equal(runs, 2);
    assert_int_equal(c[0]->status, 201);

    /* autocommit: the lane itself begins nothing */

    assert_int_equal(things(), 4);
    drop(c, 2);
}


static void
test_server_gone(void **state)
{
    opay_call_t     *c[3];
    opay_db_conf_t   conf;

    (void) state;

    /* between two batches: nobody notices */

    make(c, 3, "a", "a");
    go(&create, BOTH, c, 3);
    fx_admin("KILL %lld", (long long) fx_thread(db));
    drop(c, 3);
    make(c, 3, "b", "b");
    go(&create, BOTH, c, 3);
    assert_int_equal(c[2]->status, 201);
    assert_int_equal(things(), 6);
    drop(c, 3);

    opay_db_destroy(db);
    conf = fx_conf;
    conf.socket = "/nonexistent/socket";
    db = opay_db_create(&conf);

    make(c, 3, "c", "c");
    go(&create, BOTH, c, 3);
    assert_int_equal(c[0]->status, 503);
    assert_int_equal(c[2]->code, OPAY_E_UNAVAILABLE);
    assert_int_equal(c[2]->retry_after, 1);
    assert_int_equal(runs, 2);         /* none of it for this batch */
    drop(c, 3);
}


/* Answers to COMMIT that are lost. */

static void
test_unknown_committed(void **state)
{
    size_t        i;
    opay_call_t  *c[4], *d[4];

    (void) state;

    make(c, 4, "t", "k");
    proxy_arm(PROXY_CUT_AFTER, 0);
    go(&create, BOTH, c, 4);

    assert_int_equal(proxy_hits(), 1);
    assert_int_equal(runs, 1);
    assert_int_equal(things(), 4);

    make(d, 4, "t", "k");
    go(&create, BOTH, d, 4);

    for (i = 0; i < 4; i++) {
        assert_int_equal(c[i]->status, 201);
        assert_int_equal(c[i]->replayed, 0);
        assert_int_equal(d[i]->replayed, 1);
        same_answer(c[i], d[i]);
    }

    drop(c, 4);
    drop(d, 4);
}


static void
test_unknown_rolled_back(void **state)
{
    size_t        i;
    opay_call_t  *c[4];

    (void) state;

    make(c, 4, "t", "k");
    proxy_arm(PROXY_CUT_BEFORE, 0);
    go(&create, BOTH, c, 4);

    assert_int_equal(proxy_hits(), 1);
    assert_int_equal(runs, 2);

    for (i = 0; i < 4; i++) {
        assert_int_equal(c[i]->status, 201);
    }

    assert_int_equal(things(), 4);
    assert_int_equal(records(), 4);

    drop(c, 4);
}


/* COMMIT arrives while we are already asking what has become of it. */

static void
test_unknown_late(void **state)
{
    opay_call_t  *c[2];

    (void) state;

    make(c, 2, "t", "k");
    proxy_arm(PROXY_DELAY, 0);
    go(&create, BOTH, c, 2);

    assert_int_equal(proxy_hits(), 1);
    assert_int_equal(runs, 1);
    assert_int_equal(c[0]->status, 201);
    assert_int_equal(c[1]->status, 201);
    assert_int_equal(things(), 2);

    drop(c, 2);
}


static void
test_unknown_without_key(void **state)
{
    opay_call_t  *c[2];

    (void) state;

    make(c, 2, "t", NULL);
    c[1]->cmd = "refuse";
    proxy_arm(PROXY_CUT_AFTER, 0);
    go(&create, 0, c, 2);

    assert_int_equal(runs, 1);
    assert_int_equal(c[0]->status, 503);
    assert_non_null(strstr(c[0]->detail, "check before"));
    assert_int_equal(c[0]->retry_after, 1);
    assert_int_equal(c[1]->status, 409);
    assert_int_equal(things(), 1);

    drop(c, 2);
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(test_batch),
        test(test_poison),
        test(test_duplicate_in_batch),
        test(test_mixed_batch),
        test(test_retries),
        test(test_split_and_rollback),
        test(test_read),
        test(test_server_gone),
        test(test_unknown_committed),
        test(test_unknown_rolled_back),
        test(test_unknown_late),
        test(test_unknown_without_key),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
