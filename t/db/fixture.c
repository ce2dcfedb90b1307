
#include <mysql.h>
#include <unistd.h>

#include "fixture.h"


opay_db_conf_t  fx_conf;
opay_db_conf_t  fx_proxied;

static MYSQL   *fx_root;
static char     fx_proxy_path[200];


int
fx_setup(void **state)
{
    const char  *dir;

    (void) state;

    dir = getenv("OPAY_TEST_DIR");
    fx_conf.socket = getenv("OPAY_TEST_SOCKET");
    assert_non_null(dir);
    assert_non_null(fx_conf.socket);

    fx_conf.user = "opay_test";
    fx_conf.password = "secret";
    fx_conf.database = "opay_test";
    fx_conf.connect_timeout = 2000;
    fx_conf.timeout = 5000;
    fx_conf.lock_timeout = 1;

    snprintf(fx_proxy_path, sizeof(fx_proxy_path), "%s/p", dir);
    fx_proxied = fx_conf;
    fx_proxied.socket = fx_proxy_path;

    fx_root = mysql_init(NULL);
    assert_non_null(mysql_real_connect(fx_root, NULL, getenv("OPAY_TEST_USER"),
                                       NULL, "opay_test", 0, fx_conf.socket,
                                       0));

    fx_admin("SET NAMES utf8mb4, innodb_lock_wait_timeout=3");
    fx_admin("CREATE TABLE IF NOT EXISTS things (id BINARY(16) PRIMARY KEY,"
             "name VARCHAR(32) NOT NULL, n INT NOT NULL DEFAULT 0,"
             "CONSTRAINT things_name CHECK (name <> 'poison')) "
             "ENGINE=InnoDB");
    fx_admin("CREATE TABLE IF NOT EXISTS vals (id INT PRIMARY KEY, t TINYINT,"
             "u BIGINT UNSIGNED, s VARCHAR(40) COLLATE utf8mb4_general_ci,"
             "b LONGBLOB, x LONGTEXT, d DECIMAL(10,2), at DATETIME(3),"
             "ref BINARY(16), UNIQUE KEY vals_s (s),"
             "FOREIGN KEY (ref) REFERENCES things (id)) ENGINE=InnoDB");

    proxy_start(fx_proxied.socket, fx_conf.socket);

    return 0;
}


int
fx_teardown(void **state)
{
    (void) state;

    proxy_stop();
    mysql_close(fx_root);
    mysql_library_end();

    return 0;
}


int
fx_clean(void **state)
{
    (void) state;

    fx_admin("DELETE FROM vals");
    fx_admin("DELETE FROM things");
    fx_admin("DELETE FROM events");
    fx_admin("DELETE FROM idempotency");
    fx_admin("DELETE FROM inbox");

    proxy_arm(PROXY_PASS, 0);
    stub_log_clear();

    return 0;
}


void
fx_admin(const char *fmt, ...)
{
    char        sql[1024];
    va_list     args;
    MYSQL_RES  *res;

    va_start(args, fmt);
    vsnprintf(sql, sizeof(sql), fmt, args);
    va_end(args);

    if (mysql_query(fx_root, sql) != 0) {
        fail_msg("%s: %s", sql, mysql_error(fx_root));
    }

    res = mysql_store_result(fx_root);

    if (res) {
        mysql_free_result(res);
    }
}


int64_t
fx_number(const char *fmt, ...)
{
    char        sql[1024];
    int64_t     n;
    va_list     args;
    unsigned    last;
    MYSQL_ROW   row;
    MYSQL_RES  *res;

    va_start(args, fmt);
    vsnprintf(sql, sizeof(sql), fmt, args);
    va_end(args);

    if (mysql_query(fx_root, sql) != 0) {
        fail_msg("%s: %s", sql, mysql_error(fx_root));
    }

    res = mysql_store_result(fx_root);
    assert_non_null(res);

    row = mysql_fetch_row(res);
    last = mysql_num_fields(res) - 1;
    n = row && row[last] ? atoll(row[last]) : -1;
    mysql_free_result(res);

    return n;
}


void
fx_wait(int64_t want, const char *sql)
{
    int64_t  until;

    until = opay_mono_ms() + 5000;

    while (fx_number("%s", sql) != want) {
        if (opay_mono_ms() > until) {
            fail_msg("%s: never became %lld", sql, (long long) want);
        }

        usleep(2000);
    }
}


int64_t
fx_thread(opay_db_t *db)
{
    int64_t            id;
    opay_arena_t      *a;
    opay_db_result_t   res;

    a = opay_arena_create(1024);
    assert_rc(opay_db_query(db, a, "SELECT CONNECTION_ID()", NULL, 0, &res),
              OPAY_DB_OK);
    id = opay_db_get_i64(&res, 0, 0);
    opay_arena_destroy(a);

    return id;
}


opay_call_t *
fx_call(const char *name, const char *key)
{
    opay_call_t   *call;
    opay_arena_t  *a;

    a = opay_arena_create(4096);
    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->cmd = opay_arena_strdup(a, name);
    call->path = opay_str_of("/api/things");
    call->method = opay_str_of("POST");

    if (key) {
        call->idem.present = 1;
        opay_sha256(key, strlen(key), call->idem.scope);
        opay_sha256(name, strlen(name), call->idem.fingerprint);
    }

    return call;
}


void
fx_free(opay_call_t *call)
{
    opay_arena_destroy(call->arena);
}
