
/*
 * A service whose only purpose is to be tested through: each route makes one
 * promise of core visible.  Steps on the HASH lane need no database.
 */

#include "ngx_opay_probe.h"
#include "opay_jsonw.h"


static char *ngx_opay_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static opay_db_rc_t ngx_opay_probe_sleep(opay_db_t *db, opay_call_t **calls,
    size_t n);
static opay_db_rc_t ngx_opay_probe_db_sleep(opay_db_t *db,
    opay_call_t **calls, size_t n);
static opay_db_rc_t ngx_opay_probe_count(opay_db_t *db, opay_call_t **calls,
    size_t n);
static opay_db_rc_t ngx_opay_probe_poison(opay_db_t *db, opay_call_t **calls,
    size_t n);
static opay_db_rc_t ngx_opay_probe_use_after_free(opay_db_t *db,
    opay_call_t **calls, size_t n);
static void ngx_opay_probe_echo(opay_call_t *call);
static void ngx_opay_probe_etag(opay_call_t *call);
static void ngx_opay_probe_nothing(opay_call_t *call);
static void ngx_opay_probe_who(opay_call_t *call);
static void ngx_opay_probe_peer(opay_call_t *call);
static void ngx_opay_probe_reply_n(opay_call_t *call, const char *name,
    int64_t n);
static int64_t ngx_opay_probe_ms(opay_call_t *call);


static ngx_opay_route_t  ngx_opay_probe_routes[] = {

    { "GET", "/t/sleep", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.sleep", NGX_OPAY_HASH, 1, ngx_opay_probe_sleep, NULL } } },

    { "POST", "/t/sleep", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 0, NULL,
      { { "probe.sleep", NGX_OPAY_HASH, 1, ngx_opay_probe_sleep, NULL } } },

    /* reads_only holds watch the client */
    { "GET", "/t/read-sleep", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.read_sleep", NGX_OPAY_READ, 1, ngx_opay_probe_db_sleep,
          NULL } } },

    { "GET", "/t/batch", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.batch", NGX_OPAY_HASH, 8, ngx_opay_probe_sleep, NULL } } },

    { "POST", "/t/echo", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 1024, NULL,
      { { "probe.echo", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_echo } } },

    { "GET", "/t/echo/{a}/and/{b}", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.params", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_echo } } },

    { "GET", "/t/echo/{a}/and/literal", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.literal", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_probe_peer } } },

    { "GET", "/t/etag", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.etag", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_etag } } },

    { "POST", "/t/etag", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.post_etag", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_probe_etag } } },

    { "GET", "/t/nothing", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.nothing", NGX_OPAY_INLINE, 1, NULL,
          ngx_opay_probe_nothing } } },

    { "GET", "/t/who", NGX_OPAY_USER, 0, 0, NULL,
      { { "probe.who", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_who } } },

    { "GET", "/t/admin", NGX_OPAY_ADMIN, 0, 0, NULL,
      { { "probe.admin", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_who } } },

    { "GET", "/internal/peer", NGX_OPAY_INTERNAL, 0, 0, NULL,
      { { "probe.peer", NGX_OPAY_INLINE, 1, NULL, ngx_opay_probe_peer } } },

    /* one row per call; the reply is the number of rows of this key so far */
    { "POST", "/t/count", NGX_OPAY_USER, NGX_OPAY_BODY|NGX_OPAY_IDEM, 0, NULL,
      { { "probe.count", NGX_OPAY_WRITE, 16, ngx_opay_probe_count, NULL } } },

    { "POST", "/t/poison", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 0, NULL,
      { { "probe.poison", NGX_OPAY_WRITE, 16, ngx_opay_probe_poison,
          NULL } } },

    /* what core's HTTP client makes of an answer */
    { "POST", "/t/http", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 0, NULL,
      { { "probe.http", NGX_OPAY_ASYNC, 1, NULL, ngx_opay_probe_http } } },

    /* proves that the sanitizer leg sees what it must see */
    { "GET", "/t/use-after-free", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "probe.uaf", NGX_OPAY_HASH, 1, ngx_opay_probe_use_after_free,
          NULL } } },

    { NULL, NULL, 0, 0, 0, NULL, { { NULL, 0, 0, NULL, NULL } } }
};


static ngx_opay_service_t  ngx_opay_probe_service = {
    "probe", ngx_opay_probe_routes, NULL
};


static ngx_command_t  ngx_opay_probe_commands[] = {

    { ngx_string("opay_probe"),
      NGX_HTTP_SRV_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_opay_probe,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_probe_module_ctx = {
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
};


ngx_module_t  ngx_opay_probe_module = {
    NGX_MODULE_V1,
    &ngx_opay_probe_module_ctx,            /* module context */
    ngx_opay_probe_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_opay_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_uint_t   abi;

    (void) cmd;

    abi = NGX_OPAY_ABI;

    /* "opay_probe abi=99": as if it had been built for another core */

    if (cf->args->nelts == 2) {
        value = cf->args->elts;

        if (ngx_strncmp(value[1].data, "abi=", 4) != 0) {
            return "takes abi=N";
        }

        abi = ngx_atoi(value[1].data + 4, value[1].len - 4);
    }

    return ngx_opay_service_attach(cf, abi, &ngx_opay_probe_service, conf);
}


static opay_db_rc_t
ngx_opay_probe_sleep(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t   i;
    int64_t  ms;

    (void) db;

    ms = ngx_opay_probe_ms(calls[0]);

    usleep(ms * 1000);

    for (i = 0; i < n; i++) {
        ngx_opay_probe_reply_n(calls[i], "batch", n);
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_probe_db_sleep(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_db_rc_t      rc;
    opay_db_value_t   ms;
    opay_db_result_t  res;

    (void) n;

    ms = opay_db_i64(ngx_opay_probe_ms(calls[0]));

    rc = opay_db_query(db, calls[0]->arena, "SELECT SLEEP(? / 1000)", &ms, 1,
                       &res);

    if (rc == OPAY_DB_OK) {
        ngx_opay_probe_reply_n(calls[0], "slept", ms.i64);
    }

    return rc;
}


static opay_db_rc_t
ngx_opay_probe_count(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_db_value_t   v[1];
    opay_db_result_t  res;

    for (i = 0; i < n; i++) {

        v[0] = opay_db_bytes(calls[i]->idem.scope, 32);

        rc = opay_db_exec(db, "INSERT INTO probe (k) VALUES (?)", v, 1, NULL);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        rc = opay_db_query(db, calls[i]->arena,
                           "SELECT COUNT(*) FROM probe WHERE k = ?", v, 1,
                           &res);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        ngx_opay_probe_reply_n(calls[i], "count",
                               opay_db_get_i64(&res, 0, 0));
        calls[i]->status = 201;
        opay_call_etag(calls[i], 1);
    }

    return OPAY_DB_OK;
}


/* {"v": n}: the column takes 0..99 only, and each value once */

static opay_db_rc_t
ngx_opay_probe_poison(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_db_value_t   v[64];

    memset(v, 0, sizeof(v));

    for (i = 0; i < n; i++) {
        v[i] = opay_db_i64(json_integer_value(json_object_get(calls[i]->body,
                                                              "v")));
    }

    rc = opay_db_exec_rows(db, "INSERT INTO probe_poison (v) VALUES ", "(?)",
                           "", v, 1, n, NULL);

    if (rc == OPAY_DB_DUP && n == 1) {
        opay_call_fail(calls[0], OPAY_E_EMAIL_TAKEN, "The value is taken.");
        return OPAY_DB_ROLLBACK;
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        ngx_opay_probe_reply_n(calls[i], "v", v[i].i64);
        calls[i]->status = 201;
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_probe_use_after_free(opay_db_t *db, opay_call_t **calls, size_t n)
{
    char           *p;
    char *volatile  hidden;              /* from the compiler's warning */

    (void) db;
    (void) n;

    p = malloc(16);

    if (p) {
        p[0] = 'x';
        hidden = p;
        free(p);
        ngx_opay_probe_reply_n(calls[0], "freed", hidden[0]);
    }

    return OPAY_DB_OK;
}


static void
ngx_opay_probe_echo(opay_call_t *call)
{
    char       *s;
    opay_jw_t   w;

    if (call->body) {
        s = json_dumps(call->body, JSON_COMPACT);
        opay_call_reply(call, 200,
                        opay_arena_str(call->arena, opay_str_of(s)));
        free(s);
        return;
    }

    opay_jw_init(&w, call->arena, 128);
    opay_jw_obj(&w);
    opay_jw_kstr(&w, "a", call->param[0]);
    opay_jw_kstr(&w, "b", call->param[1]);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
}


static void
ngx_opay_probe_etag(opay_call_t *call)
{
    ngx_opay_probe_reply_n(call, "version", 7);
    opay_call_etag(call, 7);
}


static void
ngx_opay_probe_nothing(opay_call_t *call)
{
    (void) call;
}


static void
ngx_opay_probe_who(opay_call_t *call)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 128);
    opay_jw_obj(&w);
    opay_jw_kuuid(&w, "user", &call->who.user);
    opay_jw_ki64(&w, "roles", call->who.roles);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
}


static void
ngx_opay_probe_peer(opay_call_t *call)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 128);
    opay_jw_obj(&w);
    opay_jw_kstr(&w, "peer", call->peer);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
}


static void
ngx_opay_probe_reply_n(opay_call_t *call, const char *name, int64_t n)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 128);
    opay_jw_obj(&w);
    opay_jw_ki64(&w, name, n);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
}


static int64_t
ngx_opay_probe_ms(opay_call_t *call)
{
    opay_str_t  s;

    s = opay_call_arg(call, "ms");

    return s.data ? ngx_atoi((u_char *) s.data, s.len) : 0;
}
