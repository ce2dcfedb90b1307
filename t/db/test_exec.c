
/*
 * ngx_opay_exec_run() and the idempotency records: what a batch promises to
 * each of its calls, whatever happens to the others, to the connection, or to
 * the answer to COMMIT.
 */

#include <pthread.h>
#include <unistd.h>

#include "ngx_opay_exec.h"
#include "fixture.h"


#define OPEN    NGX_OPAY_EXEC_IDEM_OPEN
#define FINISH  NGX_OPAY_EXEC_IDEM_FINISH
#define BOTH    (OPEN|FINISH)


static opay_db_rc_t op_create(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_claim(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_charge(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_script(opay_db_t *db, opay_call_t **calls, size_t n);


static const ngx_opay_step_t  create =
    { "thing.create", NGX_OPAY_WRITE, 64, op_create, NULL };
static const ngx_opay_step_t  claim =
    { "thing.claim", NGX_OPAY_WRITE, 1, op_claim, NULL };
static const ngx_opay_step_t  charge =
    { "thing.charge", NGX_OPAY_WRITE, 64, op_charge, NULL };
static const ngx_opay_step_t  script =
    { "thing.script", NGX_OPAY_WRITE, 64, op_script, NULL };
static const ngx_opay_step_t  reading =
    { "thing.read", NGX_OPAY_READ, 64, op_script, NULL };

static ngx_log_t            cycle_log = { .log_level = NGX_LOG_DEBUG };
static opay_db_t           *db;

/* op_script: what it returns, one after the other; then OPAY_DB_OK */
static opay_db_rc_t         answers[16];
static size_t               nanswers;
static size_t               runs;
static size_t               largest;

/* all operations: as many have to be inside at once */
static pthread_barrier_t   *meet;
static __thread unsigned    met;


static int
setup(void **state)
{
    fx_clean(state);
    db = opay_db_create(&fx_proxied);
    nanswers = runs = largest = 0;
    met = 0;
    meet = NULL;

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
enter(size_t n)
{
    runs++;
    largest = n > largest ? n : largest;

    /* once per thread: a second try goes through */

    if (meet && !met) {
        met = 1;
        pthread_barrier_wait(meet);
    }
}


static void
go(const ngx_opay_step_t *step, unsigned idem, opay_call_t **calls, size_t n)
{
    ngx_opay_exec_run(db, step, idem, calls, n, &cycle_log);
}


static void
reply(opay_call_t *call, int status, const opay_uuid_t *id)
{
    char  text[OPAY_UUID_TEXT + 1];

    opay_uuid_format(id, text);
    opay_call_reply(call, status,
                    opay_arena_printf(call->arena, "{\"id\":\"%s\"}", text));
    call->location = opay_arena_printf(call->arena, "/api/things/%s", text);
    opay_call_etag(call, 1);
}


/* One row per call, in one statement; "decline": 402; "refuse": 409. */

static opay_db_rc_t
op_create(opay_db_t *conn, opay_call_t **calls, size_t n)
{
    size_t            i, k;
    opay_uuid_t      *id;
    opay_db_value_t   v[128];

    enter(n);

    for (i = 0, k = 0; i < n; i++) {

        if (strcmp(calls[i]->cmd, "refuse") == 0) {
            opay_call_fail(calls[i], OPAY_E_ORDER_NOT_PAYABLE, NULL);
            continue;
        }

        id = opay_arena_alloc(calls[i]->arena, sizeof(opay_uuid_t));
        opay_uuid_v7(id);

        v[k++] = opay_db_uuid(id);
        v[k++] = opay_db_text(opay_str_of(calls[i]->cmd));
        calls[i]->wrote = 1;

        if (strcmp(calls[i]->cmd, "decline") == 0) {
            opay_call_fail(calls[i], OPAY_E_PAYMENT_DECLINED, "No.");
            continue;
        }

        reply(calls[i], 201, id);
    }

    return opay_db_exec_rows(conn, "INSERT INTO things (id,name) VALUES ",
                             "(?,?)", "", v, 2, k / 2, NULL);
}


/* Takes the one free thing; refuses when somebody has it. */

static opay_db_rc_t
op_claim(opay_db_t *conn, opay_call_t **calls, size_t n)
{
    uint64_t      matched;
    opay_db_rc_t  rc;
    opay_uuid_t   id = { "the one thing  " };

    enter(n);

    rc = opay_db_exec(conn, "UPDATE things SET n=1 WHERE n=0", NULL, 0,
                      &matched);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (matched) {
        reply(calls[0], 200, &id);

    } else {
        opay_call_fail(calls[0], OPAY_E_ORDER_NOT_CANCELLABLE, NULL);
    }

    return OPAY_DB_OK;
}


/*
 * Both ends of a phased route.  The first makes a thing unless it resumes;
 * the second, told by cmd "<http status>", counts on it.
 */

static opay_db_rc_t
op_charge(opay_db_t *conn, opay_call_t **calls, size_t n)
{
    size_t            i;
    const char       *cmd;
    opay_db_rc_t      rc;
    opay_db_value_t   v[2];

    enter(n);

    for (i = 0; i < n; i++) {

        cmd = calls[i]->cmd;

        if (cmd[0] >= '0' && cmd[0] <= '9') {

            v[0] = opay_db_uuid(&calls[i]->idem.resource);
            rc = opay_db_exec(conn, "UPDATE things SET n=n+1 WHERE id=?", v,
                              1, NULL);
            if (rc != OPAY_DB_OK) {
                return rc;
            }

            if (atoi(cmd) >= 500) {
                opay_call_fail(calls[i], OPAY_E_UPSTREAM_UNAVAILABLE, NULL);

            } else if (atoi(cmd) >= 400) {
                opay_call_fail(calls[i], OPAY_E_PAYMENT_DECLINED, "Broke.");

            } else {
                reply(calls[i], atoi(cmd), &calls[i]->idem.resource);
            }

            continue;
        }

        if (calls[i]->idem.resuming) {
            continue;
        }

        opay_uuid_v7(&calls[i]->idem.resource);
        v[0] = opay_db_uuid(&calls[i]->idem.resource);
        v[1] = opay_db_text(opay_str_of(cmd));

        rc = opay_db_exec(conn, "INSERT INTO things (id,name) VALUES (?,?)",
                          v, 2, NULL);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    return OPAY_DB_OK;
}


/* Writes a row per call, then returns what the test wants it to. */

static opay_db_rc_t
op_script(opay_db_t *conn, opay_call_t **calls, size_t n)
{
    size_t            i;
    opay_uuid_t       id;
    opay_db_rc_t      rc;
    opay_db_value_t   v[2];

    enter(n);

    for (i = 0; i < n; i++) {
        assert_int_equal(calls[i]->status, 0);

        opay_uuid_v7(&id);
        v[0] = opay_db_uuid(&id);
        v[1] = opay_db_text(opay_str_of(calls[i]->cmd));

        rc = opay_db_exec(conn, "INSERT INTO things (id,name) VALUES (?,?)",
                          v, 2, NULL);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        reply(calls[i], 201, &id);
    }

    return runs <= nanswers ? answers[runs - 1] : OPAY_DB_OK;
}


static int64_t
things(void)
{
    return fx_number("SELECT COUNT(*) FROM things");
}


static int64_t
records(void)
{
    return fx_number("SELECT COUNT(*) FROM idempotency");
}


static void
same_answer(opay_call_t *a, opay_call_t *b)
{
    assert_int_equal(a->status, b->status);
    assert_true(opay_str_eq(a->reply, b->reply));
    assert_true(opay_str_eq(a->location, b->location));
    assert_true(opay_str_eq(a->etag, b->etag));
    assert_true(opay_str_eq(a->content_type, b->content_type));
}


static void
make(opay_call_t **calls, size_t n, const char *name, const char *key)
{
    char    k[40], v[40];
    size_t  i;

    for (i = 0; i < n; i++) {
        snprintf(v, sizeof(v), "%s%zu", name, i);
        snprintf(k, sizeof(k), "%s%zu", key ? key : "", i);
        calls[i] = fx_call(v, key ? k : NULL);
    }
}


static void
drop(opay_call_t **calls, size_t n)
{
    while (n--) {
        fx_free(calls[n]);
    }
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
    assert_non_null(strstr(stub_log(), "4025"));
    assert_null(strstr(stub_log(), "poison"));

    drop(c, 8);
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
        test(test_batch),
        test(test_poison),
        test(test_replay),
        test(test_mixed_batch),
        test(test_what_is_stored),
        test(test_duplicate_in_batch),
        test(test_retries),
        test(test_split_and_rollback),
        test(test_read),
        test(test_server_gone),
        test(test_twins),
        test(test_phases),
        test(test_phases_decline),
        test(test_lease),
        test(test_unknown_committed),
        test(test_unknown_rolled_back),
        test(test_unknown_late),
        test(test_unknown_without_key),
        test(test_unknown_phases),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
