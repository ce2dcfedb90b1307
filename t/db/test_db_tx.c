
/* lib/opay_db: transactions, and connections that fail them. */

#include <pthread.h>
#include <unistd.h>

#include "fixture.h"


typedef struct {
    opay_db_t     *db;
    opay_arena_t  *a;
} fx_t;


static fx_t  fx;


static int
setup(void **state)
{
    fx_clean(state);
    fx.db = opay_db_create(&fx_conf);
    fx.a = opay_arena_create(4096);
    *state = &fx;

    return 0;
}


static int
teardown(void **state)
{
    fx_t  *f = *state;

    opay_db_destroy(f->db);
    opay_arena_destroy(f->a);

    return 0;
}


static opay_db_rc_t
run(opay_db_t *db, const char *sql)
{
    return opay_db_exec(db, sql, NULL, 0, NULL);
}


static int64_t
number(fx_t *f, const char *sql)
{
    opay_db_result_t  res;

    assert_rc(opay_db_query(f->db, f->a, sql, NULL, 0, &res), OPAY_DB_OK);
    assert_int_equal(res.rows, 1);

    return opay_db_get_i64(&res, 0, 0);
}


static int64_t
status(fx_t *f, const char *name)
{
    char              sql[100];
    opay_db_result_t  res;

    snprintf(sql, sizeof(sql), "SHOW SESSION STATUS LIKE '%s'", name);
    assert_rc(opay_db_query(f->db, f->a, sql, NULL, 0, &res), OPAY_DB_OK);
    assert_int_equal(res.rows, 1);

    return atoll(opay_db_get_str(&res, 0, 1).data);
}


/* A transaction of one insert is two round trips: no BEGIN. */

static void
test_transaction(void **state)
{
    fx_t     *f = *state;

    int64_t   before;

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (1)"), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 0);
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (2)"), OPAY_DB_OK);
    opay_db_rollback(f->db);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    opay_db_begin(f->db);
    before = status(f, "Questions");
    run(f->db, "UPDATE vals SET t=1 WHERE id=1");
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    opay_db_begin(f->db);
    run(f->db, "UPDATE vals SET t=1 WHERE id=1");
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    opay_db_begin(f->db);

    /* two updates, two commits, one prepare, and the SHOW itself */

    assert_in_range(status(f, "Questions") - before, 5, 6);
    opay_db_rollback(f->db);

    /* empty ones need no server at all */

    opay_db_begin(f->db);
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    assert_rc(opay_db_commit(f->db), OPAY_DB_ERROR);
}


static int64_t
open_transactions(void)
{
    /* the view is made anew when nobody has asked for 0.1 s */

    usleep(150000);

    return fx_number("SELECT COUNT(*) FROM information_schema.innodb_trx");
}


/* Outside a transaction nothing stays open, before and after having had one. */

static void
test_autocommit(void **state)
{
    fx_t  *f = *state;

    assert_int_equal(number(f, "SELECT COUNT(*) FROM vals"), 0);
    assert_int_equal(open_transactions(), 0);

    opay_db_begin(f->db);
    run(f->db, "INSERT INTO vals (id) VALUES (1)");
    opay_db_commit(f->db);

    assert_int_equal(number(f, "SELECT COUNT(*) FROM vals"), 1);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (2)"), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 2);
    assert_int_equal(open_transactions(), 0);

    opay_db_begin(f->db);
    run(f->db, "INSERT INTO vals (id) VALUES (3)");
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 2);
    opay_db_begin(f->db);              /* gives the former up */
    opay_db_commit(f->db);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 2);
}


static void
test_savepoint(void **state)
{
    fx_t  *f = *state;

    opay_db_begin(f->db);
    run(f->db, "INSERT INTO vals (id) VALUES (1)");
    assert_rc(opay_db_savepoint(f->db), OPAY_DB_OK);
    run(f->db, "INSERT INTO vals (id) VALUES (2)");
    assert_rc(opay_db_rollback_to(f->db), OPAY_DB_OK);
    assert_rc(opay_db_savepoint(f->db), OPAY_DB_OK);
    run(f->db, "INSERT INTO vals (id) VALUES (3)");
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT SUM(id) FROM vals"), 4);
}


typedef struct {
    opay_db_t     *db;
    const char    *sql;
    opay_db_rc_t   rc;
} job_t;


static void *
job(void *data)
{
    job_t  *j = data;

    j->rc = run(j->db, j->sql);

    return NULL;
}


static void
test_deadlock(void **state)
{
    fx_t            *f = *state;

    job_t            j;
    pthread_t        t;
    opay_db_t       *other, *victim;
    opay_db_rc_t     rc;
    opay_db_conf_t   conf;

    conf = fx_conf;
    conf.lock_timeout = 20;
    other = opay_db_create(&conf);

    fx_admin("INSERT INTO vals (id,t) VALUES (1,0),(2,0)");

    opay_db_begin(f->db);
    opay_db_begin(other);
    assert_rc(run(f->db, "UPDATE vals SET t=1 WHERE id=1"), OPAY_DB_OK);
    assert_rc(run(other, "UPDATE vals SET t=1 WHERE id=2"), OPAY_DB_OK);

    j.db = other;
    j.sql = "UPDATE vals SET t=2 WHERE id=1";
    pthread_create(&t, NULL, job, &j);

    fx_wait(1, FX_LOCK_WAITS);

    rc = run(f->db, "UPDATE vals SET t=2 WHERE id=2");
    pthread_join(t, NULL);

    assert_true((rc == OPAY_DB_RETRY) != (j.rc == OPAY_DB_RETRY));
    assert_true(rc == OPAY_DB_OK || j.rc == OPAY_DB_OK);

    /* the server has undone it: nothing more can get into it */

    victim = rc == OPAY_DB_RETRY ? f->db : other;
    assert_int_equal(opay_db_errno(victim), 1213);
    assert_rc(run(victim, "INSERT INTO vals (id) VALUES (3)"), OPAY_DB_RETRY);
    assert_int_equal(opay_db_errno(victim), 1213);
    assert_rc(opay_db_commit(victim), OPAY_DB_RETRY);
    assert_rc(opay_db_commit(victim == other ? f->db : other), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 2);
    assert_int_equal(fx_number("SELECT SUM(t) FROM vals"), 3);

    opay_db_begin(victim);
    assert_rc(run(victim, "INSERT INTO vals (id) VALUES (3)"), OPAY_DB_OK);
    assert_rc(opay_db_commit(victim), OPAY_DB_OK);

    opay_db_destroy(other);
}


static void
test_lock_timeout(void **state)
{
    fx_t              *f = *state;

    opay_db_t         *other;
    opay_db_result_t   res;

    other = opay_db_create(&fx_conf);
    fx_admin("INSERT INTO vals (id,t) VALUES (1,0)");

    opay_db_begin(other);
    assert_rc(run(other, "UPDATE vals SET t=1 WHERE id=1"), OPAY_DB_OK);

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (2)"), OPAY_DB_OK);
    assert_rc(run(f->db, "UPDATE vals SET t=2 WHERE id=1"), OPAY_DB_RETRY);
    assert_int_equal(opay_db_errno(f->db), 1205);

    /* the server keeps the first insert; we do not */

    assert_rc(opay_db_commit(f->db), OPAY_DB_RETRY);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    /* a locking read fails among its rows, not when it is executed */

    opay_db_begin(f->db);
    assert_rc(opay_db_query(f->db, f->a, "SELECT t FROM vals FOR UPDATE",
                            NULL, 0, &res), OPAY_DB_RETRY);
    assert_int_equal(opay_db_errno(f->db), 1205);
    assert_rc(opay_db_commit(f->db), OPAY_DB_RETRY);

    opay_db_destroy(other);
}


static void
test_killed(void **state)
{
    fx_t     *f = *state;

    int64_t   id;

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (1)"), OPAY_DB_OK);
    id = fx_thread(f->db);
    fx_admin("KILL %lld", (long long) id);

    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (2)"), OPAY_DB_LOST);

    /* no new connection behind the caller's back */

    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (3)"), OPAY_DB_LOST);
    assert_rc(opay_db_savepoint(f->db), OPAY_DB_LOST);
    assert_rc(opay_db_commit(f->db), OPAY_DB_LOST);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 0);

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (4)"), OPAY_DB_OK);
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);

    /* idle, and at the first statement */

    fx_admin("KILL %lld", (long long) fx_thread(f->db));
    assert_rc(run(f->db, "SELECT 1"), OPAY_DB_LOST);
    assert_rc(run(f->db, "SELECT 1"), OPAY_DB_OK);
    assert_rc(opay_db_ping(f->db), OPAY_DB_OK);

    /* lost before COMMIT was sent, as far as one can know: not at all */

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (5)"), OPAY_DB_OK);
    fx_admin("KILL %lld", (long long) fx_thread(f->db));
    assert_rc(opay_db_commit(f->db), OPAY_DB_UNKNOWN);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    /* dropped by ourselves */

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (6)"), OPAY_DB_OK);
    opay_db_drop(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (7)"), OPAY_DB_LOST);
    opay_db_rollback(f->db);
    assert_rc(run(f->db, "SELECT 1"), OPAY_DB_OK);
}


static void
test_query_killed(void **state)
{
    fx_t       *f = *state;

    job_t       j;
    int64_t     id;
    pthread_t   t;

    id = fx_thread(f->db);
    fx_admin("INSERT INTO vals (id,t) VALUES (1,0)");

    j.db = f->db;
    j.sql = "UPDATE vals SET t=SLEEP(20)+1";
    opay_db_begin(f->db);
    pthread_create(&t, NULL, job, &j);

    fx_wait(1, "SELECT COUNT(*) FROM information_schema.processlist "
               "WHERE state='User sleep'");
    fx_admin("KILL QUERY %lld", (long long) id);
    pthread_join(t, NULL);

    assert_rc(j.rc, OPAY_DB_RETRY);
    opay_db_rollback(f->db);
}


static void
test_timeout(void **state)
{
    int64_t          start;
    opay_db_t       *db;
    opay_db_conf_t   conf;

    (void) state;

    conf = fx_conf;
    conf.timeout = 1000;
    db = opay_db_create(&conf);

    start = opay_mono_ms();
    assert_rc(run(db, "SELECT SLEEP(30)"), OPAY_DB_LOST);
    assert_true(opay_mono_ms() - start < 5000);
    assert_rc(run(db, "SELECT 1"), OPAY_DB_OK);

    opay_db_destroy(db);
}


static void
test_down(void **state)
{
    int64_t          start;
    opay_db_t       *db;
    opay_db_conf_t   conf;

    (void) state;

    conf = fx_conf;
    conf.socket = "/nonexistent/socket";
    db = opay_db_create(&conf);

    opay_db_begin(db);
    assert_rc(run(db, "SELECT 1"), OPAY_DB_DOWN);
    assert_int_equal(opay_db_errno(db), 2002);
    assert_rc(opay_db_commit(db), OPAY_DB_DOWN);
    assert_rc(opay_db_ping(db), OPAY_DB_DOWN);

    /* and it is found again without anybody's help */

    conf.socket = fx_conf.socket;
    start = opay_mono_ms();

    while (opay_db_ping(db) != OPAY_DB_OK) {
        assert_true(opay_mono_ms() - start < 3000);
    }

    opay_db_destroy(db);

    conf.password = "wrong";
    db = opay_db_create(&conf);
    assert_rc(run(db, "SELECT 1"), OPAY_DB_DOWN);
    assert_int_equal(opay_db_errno(db), 1045);
    opay_db_destroy(db);

    conf = fx_conf;
    conf.socket = NULL;
    conf.host = "127.0.0.1";
    conf.port = 1;
    db = opay_db_create(&conf);
    assert_rc(run(db, "SELECT 1"), OPAY_DB_DOWN);
    opay_db_destroy(db);
}


static void
test_read_only(void **state)
{
    fx_t          *f = *state;

    opay_db_rc_t   rc;

    fx_admin("SET GLOBAL read_only=1");
    opay_db_begin(f->db);
    rc = run(f->db, "INSERT INTO vals (id) VALUES (1)");
    fx_admin("SET GLOBAL read_only=0");

    assert_rc(rc, OPAY_DB_DOWN);
    assert_rc(opay_db_commit(f->db), OPAY_DB_DOWN);
}


static void
test_commit_unknown(void **state)
{
    opay_db_t  *db;

    (void) state;

    db = opay_db_create(&fx_proxied);

    opay_db_begin(db);
    assert_rc(run(db, "INSERT INTO vals (id) VALUES (1)"), OPAY_DB_OK);
    proxy_arm(PROXY_CUT_AFTER, 0);
    assert_rc(opay_db_commit(db), OPAY_DB_UNKNOWN);
    assert_int_equal(proxy_hits(), 1);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    opay_db_begin(db);
    assert_rc(run(db, "INSERT INTO vals (id) VALUES (2)"), OPAY_DB_OK);
    proxy_arm(PROXY_CUT_BEFORE, 0);
    assert_rc(opay_db_commit(db), OPAY_DB_UNKNOWN);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 1);

    assert_rc(run(db, "INSERT INTO vals (id) VALUES (3)"), OPAY_DB_OK);
    opay_db_destroy(db);
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(test_transaction),
        test(test_autocommit),
        test(test_savepoint),
        test(test_deadlock),
        test(test_lock_timeout),
        test(test_killed),
        test(test_query_killed),
        test(test_timeout),
        test(test_down),
        test(test_read_only),
        test(test_commit_unknown),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
