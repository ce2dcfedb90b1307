
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>


static opay_db_conf_t  fixture_conf;


opay_uuid_t            fx_product[P_MAX];
opay_uuid_t            fx_alice, fx_bob, fx_admin;
ngx_opay_order_conf_t  fx_conf;
opay_db_t             *fx_db;
unsigned               fx_kicks;


const ngx_opay_step_t  fx_create = {
    "order.create", NGX_OPAY_WRITE, 64, ngx_opay_order_create, NULL
};

const ngx_opay_step_t  fx_get = {
    "order.get", NGX_OPAY_READ, 32, ngx_opay_order_get, NULL
};

const ngx_opay_step_t  fx_internal = {
    "order.get_internal", NGX_OPAY_READ, 32, ngx_opay_order_get_internal, NULL
};

const ngx_opay_step_t  fx_cancel = {
    "order.cancel", NGX_OPAY_WRITE, 1, ngx_opay_order_cancel, NULL
};

const ngx_opay_step_t  fx_history = {
    "order.history", NGX_OPAY_READ, 1, ngx_opay_order_history, NULL
};

const ngx_opay_step_t  fx_list = {
    "order.list", NGX_OPAY_READ, 1, ngx_opay_order_list, NULL
};

const ngx_opay_step_t  fx_products = {
    "product.list", NGX_OPAY_READ, 1, ngx_opay_order_products, NULL
};

const ngx_opay_step_t  fx_product_get = {
    "product.get", NGX_OPAY_READ, 32, ngx_opay_order_product, NULL
};

const ngx_opay_step_t  fx_events = {
    "order.events", NGX_OPAY_WRITE, 1, ngx_opay_order_inbound, NULL
};

const ngx_opay_step_t  fx_expire = {
    "order.expire", NGX_OPAY_WRITE, 1, ngx_opay_order_expire, NULL
};


/* What core has of nginx. */

static ngx_log_t   fixture_log;
static ngx_cycle_t  fixture_cycle;

volatile ngx_cycle_t  *ngx_cycle = &fixture_cycle;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) log;
    (void) err;

    if (level <= NGX_LOG_ALERT) {
        fail_msg("alert: %s", fmt);
    }
}


void
ngx_opay_job_kick(const void *service_conf, const char *name)
{
    assert_ptr_equal(service_conf, &fx_conf);
    assert_string_equal(name, "order.expire");

    fx_kicks++;
}


void
ngx_opay_metrics_add(ngx_uint_t metric, ngx_uint_t n)
{
    (void) metric;
    (void) n;
}


static void
product_new(unsigned i, const char *name, int64_t price, const char *currency,
    int active)
{
    assert_int_equal(opay_uuid_v7(&fx_product[i]), OPAY_OK);

    sql_do("INSERT INTO products (id, name, price, currency, active,"
           " created_at, updated_at) VALUES (UNHEX(REPLACE('%s', '-', '')),"
           " '%s', %lld, '%s', %d, %u, %u)", uuid(&fx_product[i]), name,
           (long long) price, currency, active, 1000 + i, 1000 + i);
}


int
fixture_setup(void **state)
{
    static const char  key[] = "0123456789abcdef0123456789abcdef";

    (void) state;

    fixture_log.log_level = NGX_LOG_INFO;
    fixture_cycle.log = &fixture_log;

    fixture_conf.socket = getenv("ORDER_SOCKET");
    fixture_conf.user = getenv("ORDER_USER");
    fixture_conf.password = "";
    fixture_conf.database = "opay_order";
    fixture_conf.connect_timeout = 5000;
    fixture_conf.timeout = 10000;
    fixture_conf.lock_timeout = 5;

    fx_conf.ttl = 30 * 60 * 1000;
    fx_conf.grace = 5000;
    fx_conf.cursor_key.data = key;
    fx_conf.cursor_key.len = 32;

    opay_uuid_v7(&fx_alice);
    opay_uuid_v7(&fx_bob);
    opay_uuid_v7(&fx_admin);

    fx_db = fixture_db();

    sql_do("DELETE FROM products");

    product_new(P_BEANS, "Espresso beans", 18900, "KRW", 1);
    product_new(P_CUP, "Cup", 12500, "KRW", 1);
    product_new(P_GONE, "Not on sale", 100, "KRW", 0);
    product_new(P_DOLLAR, "Imported", 1000, "USD", 1);
    product_new(P_HUGE, "Yacht", 9007199254740991, "KRW", 1);

    return 0;
}


int
fixture_teardown(void **state)
{
    (void) state;

    (void) order_read(NULL);
    (void) order_event(NULL, 0);
    opay_db_destroy(fx_db);

    return 0;
}


opay_db_t *
fixture_db(void)
{
    opay_db_t  *db;

    db = opay_db_create(&fixture_conf);
    assert_non_null(db);

    return db;
}


opay_call_t *
call_new(const opay_uuid_t *user)
{
    opay_call_t   *call;
    opay_arena_t  *a;

    a = opay_arena_create(4096);
    assert_non_null(a);

    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    assert_non_null(call);

    call->arena = a;
    call->conf = &fx_conf;
    call->now = opay_now_ms();
    call->path = opay_str_of("/test");
    strcpy(call->traceparent,
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

    if (user) {
        call->who.known = 1;
        call->who.user = *user;
        call->who.roles = OPAY_ROLE_BIT_USER
                          |(user == &fx_admin ? OPAY_ROLE_BIT_ADMIN : 0);
    }

    return call;
}


void
call_free(opay_call_t *call)
{
    opay_arena_destroy(call->arena);
}


void
call_body(opay_call_t *call, const char *fmt, ...)
{
    char        *text;
    va_list      ap;
    opay_str_t   s;
    const char  *error;

    va_start(ap, fmt);
    assert_true(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);

    s = opay_arena_str(call->arena, opay_str_of(text));
    free(text);

    call->body = opay_json_decode(call->arena, s, &error);

    if (call->body == NULL) {
        fail_msg("%s in %s", error, s.data);
    }
}


static void
call_json_free(void *data)
{
    json_decref(data);
}


json_t *
call_json(opay_call_t *call)
{
    json_t  *v;

    assert_int_equal(opay_call_render_problem(call), OPAY_OK);

    v = json_loadb(call->reply.data, call->reply.len, JSON_REJECT_DUPLICATES,
                   NULL);
    if (v == NULL) {
        fail_msg("status %d: no JSON", call->status);
    }

    opay_arena_cleanup(call->arena, call_json_free, v);

    return v;
}


void
call_run(const ngx_opay_step_t *step, opay_call_t *call)
{
    call_run_n(step, &call, 1);
}


void
call_run_n(const ngx_opay_step_t *step, opay_call_t **calls, size_t n)
{
    if (n == 1 && calls[0]->status) {
        return;                        /* decode has refused it */
    }

    ngx_opay_exec_run(fx_db, step, 0, calls, n, &fixture_log);
}


const char *
uuid(const opay_uuid_t *u)
{
    static char      buf[8][OPAY_UUID_TEXT + 1];
    static unsigned  i;

    return opay_uuid_format(u, buf[i++ % 8]);
}


const char *
jstr(json_t *o, const char *name)
{
    const char  *s;

    s = json_string_value(json_object_get(o, name));

    return s ? s : "(none)";
}


int64_t
jint(json_t *o, const char *name)
{
    json_t  *v;

    v = json_object_get(o, name);

    if (!json_is_integer(v)) {
        fail_msg("no integer \"%s\"", name);
    }

    return json_integer_value(v);
}


int64_t
sql_int(const char *fmt, ...)
{
    char              *sql;
    int64_t            v;
    va_list            ap;
    opay_db_rc_t       rc;
    opay_arena_t      *a;
    opay_db_result_t   res;

    va_start(ap, fmt);
    assert_true(vasprintf(&sql, fmt, ap) >= 0);
    va_end(ap);

    a = opay_arena_create(4096);
    rc = opay_db_query(fx_db, a, sql, NULL, 0, &res);

    if (rc != OPAY_DB_OK || res.rows == 0) {
        fail_msg("%s: %s %s", sql, opay_db_rc_name(rc), opay_db_error(fx_db));
    }

    v = opay_db_get_i64(&res, 0, 0);

    opay_arena_destroy(a);
    free(sql);

    return v;
}


void
sql_do(const char *fmt, ...)
{
    char          *sql;
    va_list        ap;
    opay_db_rc_t   rc;

    va_start(ap, fmt);
    assert_true(vasprintf(&sql, fmt, ap) >= 0);
    va_end(ap);

    rc = opay_db_exec(fx_db, sql, NULL, 0, NULL);

    if (rc != OPAY_DB_OK) {
        fail_msg("%s: %s %s", sql, opay_db_rc_name(rc), opay_db_error(fx_db));
    }

    free(sql);
}


opay_uuid_t
order_new(void)
{
    opay_uuid_t   id;
    opay_call_t  *call;

    call = call_new(&fx_alice);
    call_body(call, "{\"shippingAddress\":\"1 Main St\",\"items\":["
              "{\"productId\":\"%s\",\"quantity\":2},"
              "{\"productId\":\"%s\",\"quantity\":1}]}",
              uuid(&fx_product[P_BEANS]), uuid(&fx_product[P_CUP]));

    ngx_opay_order_create_decode(call);
    call_run(&fx_create, call);
    assert_int_equal(call->status, 201);

    assert_int_equal(opay_uuid_parse(opay_str_of(jstr(call_json(call),
                                                      "id")), &id), OPAY_OK);
    call_free(call);

    return id;
}


json_t *
order_read(const opay_uuid_t *id)
{
    static opay_call_t  *call;

    if (call) {
        call_free(call);
        call = NULL;
    }

    if (id == NULL) {
        return NULL;
    }

    call = call_new(&fx_alice);
    call->param[0] = opay_str_of(uuid(id));

    ngx_opay_order_id_decode(call);
    call_run(&fx_get, call);
    assert_int_equal(call->status, 200);

    return call_json(call);
}


const char *
payment_event(const opay_uuid_t *order, const opay_uuid_t *payment,
    int64_t version, const char *type, int64_t amount)
{
    static char   out[128];

    char          when[OPAY_TIME_TEXT + 1], sum[64];
    json_t       *r;
    opay_call_t  *call;

    sum[0] = '\0';

    if (amount >= 0) {
        sprintf(sum, ",\"amount\":%lld", (long long) amount);
    }

    call = call_new(NULL);
    call_body(call, "{\"events\":[{\"id\":\"payment-%s-%lld\","
              "\"source\":\"/opay/payment\",\"type\":\"%s\","
              "\"aggregate\":\"payment\",\"aggregateId\":\"%s\","
              "\"key\":\"%s\",\"sequence\":%lld,\"time\":\"%s\","
              "\"traceparent\":null,\"data\":{\"orderId\":\"%s\","
              "\"currency\":\"KRW\",\"failureReason\":\"card declined\"%s}}]}",
              uuid(payment), (long long) version, type, uuid(payment),
              uuid(order), (long long) version,
              opay_time_format(call->now, when), uuid(order), sum);

    ngx_opay_inbound_decode(call);
    call_run(&fx_events, call);
    assert_int_equal(call->status, 200);

    r = json_array_get(json_object_get(call_json(call), "results"), 0);
    assert_non_null(r);

    snprintf(out, sizeof(out), "%s%s%s", jstr(r, "outcome"),
             json_object_get(r, "reason") ? ":" : "",
             json_object_get(r, "reason") ? jstr(r, "reason") : "");

    call_free(call);

    return out;
}


const char *
order_trail(const opay_uuid_t *id)
{
    static char             out[1024];

    size_t                   i, n;
    opay_arena_t            *a;
    ngx_opay_order_t         row;
    opay_order_state_t       state;
    ngx_opay_order_event_t  *ev;

    a = opay_arena_create(4096);
    assert_int_equal(ngx_opay_order_store_history(fx_db, a, id, 0, 1000, &ev,
                                                  &n),
                     OPAY_DB_OK);
    out[0] = '\0';
    memset(&state, 0, sizeof(state));

    for (i = 0; i < n; i++) {
        assert_int_equal(ev[i].version, i + 1);
        sprintf(out + strlen(out), "%s%.*s", i ? " " : "",
                (int) ev[i].type.len - 6, ev[i].type.data + 6);

        assert_int_equal(opay_order_apply_event(&state, ev[i].type,
                             strstr(ev[i].data.data,
                                    "\"financialStatus\":\"REFUNDED\"")
                             != NULL), OPAY_OK);
    }

    assert_int_equal(ngx_opay_order_store_lock(fx_db, a, id, &row),
                     OPAY_DB_OK);
    assert_int_equal(row.version, n);
    assert_int_equal(row.state.status, state.status);
    assert_int_equal(row.state.financial, state.financial);
    assert_int_equal(row.state.pending, state.pending);

    opay_arena_destroy(a);

    return out;
}


json_t *
order_event(const opay_uuid_t *id, int64_t version)
{
    static json_t           *data;

    size_t                   n;
    opay_arena_t            *a;
    ngx_opay_order_event_t  *ev;

    json_decref(data);
    data = NULL;

    if (id == NULL) {
        return NULL;
    }

    a = opay_arena_create(4096);
    assert_int_equal(ngx_opay_order_store_history(fx_db, a, id, version - 1,
                                                  1, &ev, &n),
                     OPAY_DB_OK);
    assert_int_equal(n, 1);

    data = json_loadb(ev->data.data, ev->data.len, 0, NULL);
    assert_non_null(data);

    opay_arena_destroy(a);

    return data;
}


int
main(void)
{
    int  rc;

    rc = _cmocka_run_group_tests("create", create_tests, create_ntests,
                                 fixture_setup, fixture_teardown);
    rc += _cmocka_run_group_tests("read", read_tests, read_ntests,
                                  fixture_setup, fixture_teardown);
    rc += _cmocka_run_group_tests("move", move_tests, move_ntests,
                                  fixture_setup, fixture_teardown);

    return rc != 0;
}
