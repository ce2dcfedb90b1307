
/* See ops.h. */

#include "ops.h"


static opay_db_rc_t op_create(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_claim(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_charge(opay_db_t *db, opay_call_t **calls, size_t n);
static opay_db_rc_t op_script(opay_db_t *db, opay_call_t **calls, size_t n);


const ngx_opay_step_t  create =
    { "thing.create", NGX_OPAY_WRITE, 64, op_create, NULL };
const ngx_opay_step_t  claim =
    { "thing.claim", NGX_OPAY_WRITE, 1, op_claim, NULL };
const ngx_opay_step_t  charge =
    { "thing.charge", NGX_OPAY_WRITE, 64, op_charge, NULL };
const ngx_opay_step_t  script =
    { "thing.script", NGX_OPAY_WRITE, 64, op_script, NULL };
const ngx_opay_step_t  reading =
    { "thing.read", NGX_OPAY_READ, 64, op_script, NULL };

opay_db_rc_t         answers[16];
size_t               nanswers;
size_t               runs;
size_t               largest;
pthread_barrier_t   *meet;
__thread unsigned    met;


void
ops_reset(void)
{
    nanswers = runs = largest = 0;
    meet = NULL;
    met = 0;
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


int64_t
things(void)
{
    return fx_number("SELECT COUNT(*) FROM things");
}


int64_t
records(void)
{
    return fx_number("SELECT COUNT(*) FROM idempotency");
}


void
same_answer(opay_call_t *a, opay_call_t *b)
{
    assert_int_equal(a->status, b->status);
    assert_true(opay_str_eq(a->reply, b->reply));
    assert_true(opay_str_eq(a->location, b->location));
    assert_true(opay_str_eq(a->etag, b->etag));
    assert_true(opay_str_eq(a->content_type, b->content_type));
}


void
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


void
drop(opay_call_t **calls, size_t n)
{
    while (n--) {
        fx_free(calls[n]);
    }
}
