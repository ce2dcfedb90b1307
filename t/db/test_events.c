
/* The event store's chain, watermarks, and the walk over a delivery. */

#include <pthread.h>
#include <unistd.h>

#include "ngx_opay_exec.h"
#include "opay_json.h"
#include "fixture.h"


static opay_db_rc_t exec_inbound(opay_db_t *conn, opay_call_t **calls,
    size_t n);


static const ngx_opay_step_t  inbound =
    { "inbound", NGX_OPAY_WRITE, 1, exec_inbound, NULL };

static ngx_log_t      cycle_log = { .log_level = NGX_LOG_DEBUG };
static opay_db_t     *db;
static opay_arena_t  *a;
static size_t         applied;
static opay_db_rc_t   trouble;


static int
setup(void **state)
{
    fx_clean(state);
    db = opay_db_create(&fx_conf);
    a = opay_arena_create(4096);
    applied = 0;
    trouble = OPAY_DB_OK;

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    opay_db_destroy(db);
    opay_arena_destroy(a);

    return 0;
}


static ngx_opay_event_t
event(unsigned char id, int64_t version, const char *data)
{
    ngx_opay_event_t  ev;

    memset(&ev, 0, sizeof(ev));
    ev.agg_type = "order";
    ev.agg_id.b[0] = id;
    ev.key.b[0] = id;
    ev.version = version;
    ev.type = version == 1 ? "order.created" : "order.updated";
    ev.data = opay_str_of(data);
    ev.actor = "user:test";
    ev.traceparent = version == 2 ? "" : "00-abc-def-01";

    return ev;
}


static opay_db_rc_t
append(const ngx_opay_event_t *ev, size_t n)
{
    opay_db_rc_t  rc;

    opay_db_begin(db);
    rc = ngx_opay_events_append(db, a, ev, n);

    if (rc != OPAY_DB_OK) {
        opay_db_rollback(db);
        return rc;
    }

    return opay_db_commit(db);
}


/* The chain as the design says it, computed by the server. */

#define CHAIN                                                                \
    "SELECT COUNT(*) FROM events e LEFT JOIN events p "                      \
    "ON p.agg_type=e.agg_type AND p.agg_id=e.agg_id "                        \
    "AND p.version=e.version-1 WHERE NOT (e.prev_hash <=> p.hash) "          \
    "OR (e.version > 1 AND p.id IS NULL) "                                   \
    "OR e.hash <> UNHEX(SHA2(CONCAT(IFNULL(e.prev_hash, REPEAT('\\0',32)),"  \
    "e.agg_type,'\\0',e.agg_id,UNHEX(LPAD(HEX(e.version),16,'0')),"          \
    "e.type,'\\0',e.data),256))"


static void
test_append(void **state)
{
    size_t             i;
    ngx_opay_event_t   ev[80];

    (void) state;

    ev[0] = event(1, 1, "{\"a\":1}");
    assert_rc(append(ev, 1), OPAY_DB_OK);

    /* several aggregates, one of them twice, some with a past */

    ev[0] = event(1, 2, "{\"a\":2}");
    ev[1] = event(2, 1, "{\"b\":1}");
    ev[2] = event(1, 3, "{\"s\":\"\xed\x95\x9c\"}");
    ev[3] = event(2, 2, "{\"b\":2}");
    assert_rc(append(ev, 4), OPAY_DB_OK);

    for (i = 0; i < 80; i++) {
        ev[i] = event((unsigned char) (10 + i), 1, "{}");
    }

    assert_rc(append(ev, 80), OPAY_DB_OK);

    for (i = 0; i < 80; i++) {
        ev[i] = event((unsigned char) (10 + i), 2, "{}");
    }

    assert_rc(append(ev, 80), OPAY_DB_OK);
    assert_rc(append(ev, 0), OPAY_DB_OK);

    assert_int_equal(fx_number("SELECT COUNT(*) FROM events"), 165);
    assert_int_equal(fx_number(CHAIN), 0);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM events "
                               "WHERE traceparent IS NULL"), 82);

    /* the check sees a change */

    fx_admin("UPDATE events SET data='{\"a\":3}' "
             "WHERE agg_id=CONCAT(UNHEX('01'),REPEAT('\\0',15)) "
             "AND version=2");
    assert_int_equal(fx_number(CHAIN), 1);
}


/* Predecessors and records are found by key, however many there are. */

static int64_t
scanned(void)
{
    size_t             i;
    int64_t            n;
    opay_db_result_t   res;

    assert_rc(opay_db_query(db, a, "SHOW SESSION STATUS LIKE "
                                   "'Handler_read_%next'", NULL, 0, &res),
              OPAY_DB_OK);

    for (i = 0, n = 0; i < res.rows; i++) {
        n += atoll(opay_db_get_str(&res, i, 1).data);
    }

    return n;
}


static void
test_plans(void **state)
{
    size_t             i;
    int64_t            before, self;
    opay_call_t       *c[64];
    ngx_opay_event_t   ev[64];

    (void) state;

    for (i = 0; i < 64; i++) {
        ev[i] = event((unsigned char) i, 1, "{}");
        c[i] = fx_call("c", "k");
        c[i]->idem.scope[0] = (uint8_t) i;
    }

    for (i = 1; i < 6; i++) {
        ev[0].version = (int64_t) i;
        assert_rc(append(ev, i == 1 ? 64 : 1), OPAY_DB_OK);
    }

    fx_admin("INSERT INTO idempotency (scope,fingerprint,state,lease_until,"
             "created_at) SELECT UNHEX(SHA2(id,256)),'f',0,0,0 FROM events");
    fx_admin("ANALYZE TABLE events, idempotency");

    for (i = 1; i < 8; i++) {
        ev[i].version = 2;
    }

    before = scanned();
    self = scanned() - before;
    before += self;

    assert_rc(append(&ev[1], 7), OPAY_DB_OK);
    assert_rc(ngx_opay_idem_lookup(db, c, 8), OPAY_DB_OK);
    assert_true(scanned() - before - self < 12);

    for (i = 0; i < 64; i++) {
        fx_free(c[i]);
    }
}


static void
test_append_refused(void **state)
{
    ngx_opay_event_t  ev[2];

    (void) state;

    ev[0] = event(1, 1, "{}");
    assert_rc(append(ev, 1), OPAY_DB_OK);
    assert_rc(append(ev, 1), OPAY_DB_DUP);

    /* a version without the one before is a broken invariant */

    ev[0] = event(1, 3, "{}");
    assert_rc(append(ev, 1), OPAY_DB_ERROR);
    assert_non_null(strstr(stub_log(), "no predecessor"));
    assert_int_equal(fx_number("SELECT COUNT(*) FROM events"), 1);
}


/* Two writers at once: one has the version, the other learns it. */

typedef struct {
    opay_db_t          *db;
    pthread_barrier_t  *meet;
    opay_db_rc_t        rc;
    ngx_opay_inbox_e    verdict;
} racer_t;


static void *
race_append(void *data)
{
    racer_t           *r = data;

    opay_arena_t      *arena;
    ngx_opay_event_t   ev;

    arena = opay_arena_create(1024);
    ev = event(1, 2, "{}");

    opay_db_begin(r->db);
    pthread_barrier_wait(r->meet);
    r->rc = ngx_opay_events_append(r->db, arena, &ev, 1);

    if (r->rc == OPAY_DB_OK) {
        r->rc = opay_db_commit(r->db);
    }

    opay_db_rollback(r->db);
    opay_arena_destroy(arena);

    return NULL;
}


static void *
race_inbox(void *data)
{
    racer_t       *r = data;

    opay_uuid_t    id = { "an aggregate id" };
    opay_arena_t  *arena;

    arena = opay_arena_create(1024);

    do {
        opay_db_begin(r->db);

        if (r->meet) {
            pthread_barrier_wait(r->meet);
            r->meet = NULL;
        }

        r->rc = ngx_opay_inbox(r->db, arena, "order", &id, 1, &r->verdict);

        if (r->rc == OPAY_DB_OK) {
            r->rc = opay_db_commit(r->db);
        }

        opay_db_rollback(r->db);

    } while (r->rc == OPAY_DB_RETRY);

    opay_arena_destroy(arena);

    return NULL;
}


static void
race(void *(*fn)(void *), racer_t *r)
{
    size_t              i;
    pthread_t           t[2];
    pthread_barrier_t   meet;

    pthread_barrier_init(&meet, NULL, 2);

    for (i = 0; i < 2; i++) {
        r[i].db = opay_db_create(&fx_conf);
        r[i].meet = &meet;
        pthread_create(&t[i], NULL, fn, &r[i]);
    }

    for (i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
        opay_db_destroy(r[i].db);
    }

    pthread_barrier_destroy(&meet);
}


static void
test_races(void **state)
{
    racer_t            r[2];
    ngx_opay_event_t   ev;

    (void) state;

    ev = event(1, 1, "{}");
    assert_rc(append(&ev, 1), OPAY_DB_OK);

    race(race_append, r);
    assert_true((r[0].rc == OPAY_DB_OK) != (r[1].rc == OPAY_DB_OK));
    assert_rc(r[0].rc == OPAY_DB_OK ? r[1].rc : r[0].rc, OPAY_DB_DUP);

    race(race_inbox, r);
    assert_rc(r[0].rc, OPAY_DB_OK);
    assert_rc(r[1].rc, OPAY_DB_OK);
    assert_int_equal(r[0].verdict + r[1].verdict,
                     NGX_OPAY_INBOX_APPLY + NGX_OPAY_INBOX_DUPLICATE);
}


static ngx_opay_inbox_e
verdict(int64_t version, unsigned commit)
{
    opay_uuid_t       id = { "an aggregate id" };
    ngx_opay_inbox_e  v;

    opay_db_begin(db);
    assert_rc(ngx_opay_inbox(db, a, "order", &id, version, &v), OPAY_DB_OK);

    if (commit) {
        assert_rc(opay_db_commit(db), OPAY_DB_OK);

    } else {
        opay_db_rollback(db);
    }

    return v;
}


static void
test_inbox(void **state)
{
    (void) state;

    assert_int_equal(verdict(2, 1), NGX_OPAY_INBOX_GAP);
    assert_int_equal(verdict(1, 0), NGX_OPAY_INBOX_APPLY);
    assert_int_equal(verdict(1, 1), NGX_OPAY_INBOX_APPLY);
    assert_int_equal(verdict(1, 1), NGX_OPAY_INBOX_DUPLICATE);
    assert_int_equal(verdict(3, 1), NGX_OPAY_INBOX_GAP);
    assert_int_equal(verdict(2, 0), NGX_OPAY_INBOX_APPLY);
    assert_int_equal(verdict(2, 1), NGX_OPAY_INBOX_APPLY);
    assert_int_equal(verdict(3, 1), NGX_OPAY_INBOX_APPLY);
    assert_int_equal(verdict(1, 1), NGX_OPAY_INBOX_DUPLICATE);
    assert_int_equal(verdict(3, 1), NGX_OPAY_INBOX_DUPLICATE);
    assert_int_equal(fx_number("SELECT last_version FROM inbox"), 3);
}


/* data.name becomes a thing; what it says beyond that goes wrong. */

static opay_db_rc_t
apply(opay_db_t *conn, opay_call_t *call, const ngx_opay_inbound_t *ev,
    const char **permanent)
{
    opay_uuid_t       id;
    const char       *name;
    opay_db_value_t   v[2];

    (void) call;

    if (!opay_str_is(ev->type, "order.created")) {
        return OPAY_DB_OK;
    }

    applied++;
    name = json_string_value(json_object_get(ev->data, "name"));

    if (strcmp(name, "permanent") == 0) {
        *permanent = "amount differs";
        return OPAY_DB_OK;
    }

    if (trouble != OPAY_DB_OK && strcmp(name, "trouble") == 0) {
        return trouble;
    }

    opay_uuid_v7(&id);
    v[0] = opay_db_uuid(&id);
    v[1] = opay_db_text(opay_str_of(name));

    return opay_db_exec(conn, "INSERT INTO things (id,name) VALUES (?,?)", v,
                        2, NULL);
}


static opay_db_rc_t
exec_inbound(opay_db_t *conn, opay_call_t **calls, size_t n)
{
    assert_int_equal(n, 1);

    return ngx_opay_inbound_run(conn, calls[0], apply);
}


/* events: NULL-terminated triples of aggregate digit, sequence, name. */

static opay_call_t *
deliver(const char **list)
{
    char          text[20000];
    size_t        n;
    const char   *error;
    opay_str_t    s;
    opay_call_t  *call;

    n = (size_t) snprintf(text, sizeof(text), "{\"events\":[");

    for ( /* void */ ; list[0]; list += 3) {
        n += (size_t) snprintf(text + n, sizeof(text) - n,
            "{\"id\":\"order-%s-%s\",\"source\":\"/opay/order\","
            "\"type\":\"%s\",\"aggregate\":\"order\","
            "\"aggregateId\":\"01890a5d-ac96-774b-bcce-b302099a800%s\","
            "\"key\":\"01890a5d-ac96-774b-bcce-b302099a800%s\","
            "\"sequence\":%s,\"time\":\"2026-11-22T09:30:00.123Z\","
            "\"traceparent\":null,\"data\":{\"name\":\"%s\"}}%s",
            list[0], list[1],
            strcmp(list[2], "other") == 0 ? "order.unheard" : "order.created",
            list[0], list[0], list[1], list[2], list[3] ? "," : "");
    }

    n += (size_t) snprintf(text + n, sizeof(text) - n, "]}");

    call = fx_call("", NULL);
    s.data = text;
    s.len = n;
    call->body = opay_json_decode(call->arena, s, &error);
    assert_non_null(call->body);

    ngx_opay_inbound_decode(call);

    if (call->status == 0) {
        ngx_opay_exec_run(db, &inbound, 0, &call, 1, &cycle_log);
    }

    return call;
}


static void
outcomes_are(opay_call_t *call, const char *want)
{
    char     got[1024];
    size_t   i, n;
    json_t  *root, *results, *one;

    assert_int_equal(call->status, 200);

    root = json_loadb(call->reply.data, call->reply.len, 0, NULL);
    assert_non_null(root);
    results = json_object_get(root, "results");

    for (i = 0, n = 0; i < json_array_size(results); i++) {
        one = json_array_get(results, i);
        n += (size_t) snprintf(got + n, sizeof(got) - n, "%s%s=%s",
            i ? " " : "",
            json_string_value(json_object_get(one, "id")),
            json_string_value(json_object_get(one, "outcome")));
    }

    assert_string_equal(got, want);
    json_decref(root);
}


static void
test_delivery(void **state)
{
    opay_call_t  *c;

    static const char  *first[] = { "1", "1", "a", "2", "1", "b", "1", "2",
                                    "other", "1", "1", "a", "3", "2", "c",
                                    NULL };
    static const char  *second[] = { "1", "2", "x", "1", "3", "d", NULL };

    (void) state;

    c = deliver(first);
    outcomes_are(c, "order-1-1=applied order-2-1=applied order-1-2=applied "
                    "order-1-1=duplicate order-3-2=gap");
    fx_free(c);

    c = deliver(second);
    outcomes_are(c, "order-1-2=duplicate order-1-3=applied");
    fx_free(c);

    assert_int_equal(applied, 3);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM things"), 3);
    assert_int_equal(fx_number("SELECT SUM(last_version) FROM inbox"), 4);
}


/* Each as if it alone had not been sent; its aggregate stands still. */

static void
test_delivery_rejects(void **state)
{
    json_t       *root;
    opay_call_t  *c;

    static const char  *list[] = { "1", "1", "a", "2", "1", "permanent", "2",
                                   "2", "b", "3", "1", "poison", "4", "1",
                                   "c", "3", "2", "d", NULL };
    static const char  *again[] = { "2", "1", "b", "2", "2", "e", NULL };

    (void) state;

    c = deliver(list);
    outcomes_are(c, "order-1-1=applied order-2-1=rejected order-2-2=gap "
                    "order-3-1=rejected order-4-1=applied order-3-2=gap");

    root = json_loadb(c->reply.data, c->reply.len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json_array_get(
                            json_object_get(root, "results"), 1), "reason")),
                        "amount differs");
    json_decref(root);
    fx_free(c);

    assert_int_equal(fx_number("SELECT COUNT(*) FROM things"), 2);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM inbox"), 2);

    /* what was rejected can be sent again and is not a duplicate */

    c = deliver(again);
    outcomes_are(c, "order-2-1=applied order-2-2=applied");
    fx_free(c);
}


static void
test_delivery_trouble(void **state)
{
    opay_call_t  *c;

    static const char  *list[] = { "1", "1", "a", "2", "1", "trouble", NULL };

    (void) state;

    trouble = OPAY_DB_RETRY;
    c = deliver(list);
    assert_int_equal(c->status, 503);
    fx_free(c);

    trouble = OPAY_DB_ERROR;
    c = deliver(list);
    assert_int_equal(c->status, 500);
    fx_free(c);

    assert_int_equal(fx_number("SELECT COUNT(*) FROM things"), 0);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM inbox"), 0);

    trouble = OPAY_DB_OK;
    c = deliver(list);
    outcomes_are(c, "order-1-1=applied order-2-1=applied");
    fx_free(c);
}


static void
test_delivery_malformed(void **state)
{
    opay_call_t  *c;

    static const char  *zero[] = { "1", "0", "a", NULL };
    static const char  *none[] = { NULL };

    (void) state;

    c = deliver(zero);
    assert_int_equal(c->status, 400);
    assert_string_equal(c->errors[0].pointer, "/events/0/sequence");
    fx_free(c);

    c = deliver(none);
    assert_int_equal(c->status, 400);
    fx_free(c);
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(test_append),
        test(test_plans),
        test(test_append_refused),
        test(test_races),
        test(test_inbox),
        test(test_delivery),
        test(test_delivery_rejects),
        test(test_delivery_trouble),
        test(test_delivery_malformed),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
