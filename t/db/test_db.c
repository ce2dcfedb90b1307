
/* lib/opay_db: values, statements, and what errors mean. */

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


static void
test_values(void **state)
{
    fx_t              *f = *state;

    opay_db_value_t    v[6];
    opay_db_result_t   res;

    v[0] = opay_db_i64(1);
    v[1] = opay_db_i64(-128);
    v[2] = opay_db_bytes("18446744073709551615", 20);
    v[3] = opay_db_text(opay_str_of("h\xc3\xa9 \xed\x95\x9c \xf0\x9f\x92\xb8"));
    v[4] = opay_db_bytes("a\0b\xff", 4);
    v[5] = opay_db_bytes("", 0);

    assert_rc(opay_db_exec(f->db, "INSERT INTO vals (id,t,u,s,b,x,d,at) "
                                  "VALUES (?,?,?,?,?,?,12.34,"
                                  "'2026-11-22 09:30:00.123')", v, 6, NULL),
              OPAY_DB_OK);

    assert_rc(opay_db_query(f->db, f->a,
                            "SELECT id,t,u,s,b,x,d,at,ref,"
                            "(SELECT SUM(t) FROM vals),"
                            "CHAR_LENGTH(s) FROM vals", NULL, 0, &res),
              OPAY_DB_OK);

    assert_int_equal(res.rows, 1);
    assert_int_equal(res.cols, 11);
    assert_int_equal(opay_db_get_i64(&res, 0, 0), 1);
    assert_int_equal(opay_db_get_i64(&res, 0, 1), -128);
    assert_int_equal(opay_db_at(&res, 0, 2)->type, OPAY_DB_I64);
    assert_true((uint64_t) opay_db_get_i64(&res, 0, 2) == UINT64_MAX);
    assert_true(opay_str_eq(opay_db_get_str(&res, 0, 3), v[3].bytes));
    assert_true(opay_str_eq(opay_db_get_str(&res, 0, 4), v[4].bytes));
    assert_int_equal(opay_db_at(&res, 0, 5)->type, OPAY_DB_BYTES);
    assert_int_equal(opay_db_get_str(&res, 0, 5).len, 0);
    assert_non_null(opay_db_get_str(&res, 0, 5).data);
    assert_str(opay_db_get_str(&res, 0, 6), "12.34");
    assert_str(opay_db_get_str(&res, 0, 7), "2026-11-22 09:30:00.123");
    assert_int_equal(opay_db_at(&res, 0, 8)->type, OPAY_DB_NULL);
    assert_null(opay_db_get_str(&res, 0, 8).data);
    assert_int_equal(opay_db_at(&res, 0, 9)->type, OPAY_DB_I64);
    assert_int_equal(opay_db_get_i64(&res, 0, 9), -128);
    assert_int_equal(opay_db_get_i64(&res, 0, 10), 6);
}


static void
test_nulls(void **state)
{
    fx_t              *f = *state;

    opay_str_t         none = opay_str_null;
    opay_db_value_t    v[4];
    opay_db_result_t   res;

    v[0] = opay_db_i64(1);
    v[1] = opay_db_null();
    v[2] = opay_db_text_or_null(none);
    v[3] = opay_db_text_or_null(opay_str_of("x"));

    assert_rc(opay_db_exec(f->db, "INSERT INTO vals (id,t,s,b) "
                                  "VALUES (?,?,?,?)", v, 4, NULL),
              OPAY_DB_OK);
    assert_rc(opay_db_query(f->db, f->a, "SELECT t,s,b FROM vals", NULL, 0,
                            &res), OPAY_DB_OK);

    assert_int_equal(opay_db_at(&res, 0, 0)->type, OPAY_DB_NULL);
    assert_int_equal(opay_db_at(&res, 0, 1)->type, OPAY_DB_NULL);
    assert_str(opay_db_get_str(&res, 0, 2), "x");

    assert_rc(opay_db_query(f->db, f->a, "SELECT t FROM vals WHERE id=9",
                            NULL, 0, &res), OPAY_DB_OK);
    assert_int_equal(res.rows, 0);
}


/* Around the size of the first fetch's buffer, and far beyond. */

static void
test_long_columns(void **state)
{
    fx_t              *f = *state;

    char              *p;
    size_t             i, j;
    opay_str_t         s;
    opay_db_value_t    v[3];
    opay_db_result_t   res;
    static size_t      sizes[] = { 511, 512, 513, 70000, 5000000 };

    for (i = 0; i < 5; i++) {

        p = opay_arena_alloc(f->a, sizes[i]);

        for (j = 0; j < sizes[i]; j++) {
            p[j] = (char) (j * 31 + i);
        }

        v[0] = opay_db_i64((int64_t) i);
        v[1] = opay_db_bytes(p, sizes[i]);

        memset(p = opay_arena_alloc(f->a, sizes[i]), 'x', sizes[i]);
        v[2] = opay_db_bytes(p, sizes[i]);

        assert_rc(opay_db_exec(f->db, "INSERT INTO vals (id,b,x) "
                                      "VALUES (?,?,?)", v, 3, NULL),
                  OPAY_DB_OK);
    }

    assert_rc(opay_db_query(f->db, f->a, "SELECT id,b,x,t FROM vals "
                                         "ORDER BY id", NULL, 0, &res),
              OPAY_DB_OK);
    assert_int_equal(res.rows, 5);

    for (i = 0; i < 5; i++) {

        s = opay_db_get_str(&res, i, 1);
        assert_int_equal(s.len, sizes[i]);

        for (j = 0; j < s.len && s.data[j] == (char) (j * 31 + i); j++) { }
        assert_int_equal(j, sizes[i]);

        s = opay_db_get_str(&res, i, 2);
        assert_int_equal(s.len, sizes[i]);
        assert_int_equal(s.data[0], 'x');
        assert_int_equal(s.data[s.len - 1], 'x');
        assert_int_equal(opay_db_at(&res, i, 3)->type, OPAY_DB_NULL);
    }
}


/* A BINARY column takes bytes that are text by chance as well as others. */

static void
test_ids_and_collations(void **state)
{
    fx_t              *f = *state;

    uint64_t           n;
    opay_db_value_t    v[2];
    opay_db_result_t   res;

    v[0] = opay_db_bytes("0123456789abcdef", 16);
    v[1] = opay_db_bytes("\xff\xfe\x80 \xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"
                         "\x00\x01\x02", 16);

    assert_rc(opay_db_exec(f->db, "INSERT INTO things (id,name) VALUES "
                                  "(?,'a'), (?,'b')", v, 2, &n), OPAY_DB_OK);
    assert_int_equal(n, 2);

    assert_rc(opay_db_query(f->db, f->a,
                            "SELECT name,id FROM things WHERE id=?", &v[0], 1,
                            &res), OPAY_DB_OK);
    assert_str(opay_db_get_str(&res, 0, 0), "a");

    assert_rc(opay_db_query(f->db, f->a,
                            "SELECT name,id FROM things WHERE id=?", &v[1], 1,
                            &res), OPAY_DB_OK);
    assert_str(opay_db_get_str(&res, 0, 0), "b");
    assert_memory_equal(opay_db_get_str(&res, 0, 1).data, v[1].bytes.data,
                        16);

    /* text compares by the column's collation, not as bytes */

    assert_rc(run(f->db, "INSERT INTO vals (id,s) VALUES (7,'Stra\xc3\xa9')"),
              OPAY_DB_OK);
    v[0] = opay_db_text(opay_str_of("sTRA\xc3\x89"));
    assert_rc(opay_db_query(f->db, f->a, "SELECT id FROM vals WHERE s=?", v,
                            1, &res), OPAY_DB_OK);
    assert_int_equal(res.rows, 1);
}


static void
test_session(void **state)
{
    fx_t              *f = *state;

    opay_db_result_t   res;

    assert_rc(opay_db_query(f->db, f->a,
                            "SHOW VARIABLES WHERE Variable_name IN "
                            "('tx_isolation','transaction_isolation')",
                            NULL, 0, &res), OPAY_DB_OK);
    assert_true(res.rows > 0);
    assert_str(opay_db_get_str(&res, 0, 1), "READ-COMMITTED");

    assert_rc(opay_db_query(f->db, f->a,
                            "SELECT @@time_zone, "
                            "@@innodb_lock_wait_timeout, "
                            "@@character_set_client, "
                            "@@sql_mode LIKE '%STRICT_ALL_TABLES%' "
                            "AND @@sql_mode LIKE '%NO_ENGINE_SUBSTITUTION%'",
                            NULL, 0, &res), OPAY_DB_OK);
    assert_str(opay_db_get_str(&res, 0, 0), "+00:00");
    assert_int_equal(opay_db_get_i64(&res, 0, 1), 1);
    assert_str(opay_db_get_str(&res, 0, 2), "utf8mb4");
    assert_int_equal(opay_db_get_i64(&res, 0, 3), 1);
}


static void
test_constraints(void **state)
{
    fx_t  *f = *state;

    size_t              i;
    static const char  *sql[] = {
        "INSERT INTO things (id,name) VALUES ('k','poison')",
        "INSERT INTO things (id,name) VALUES ('k',NULL)",
        "INSERT INTO things (id) VALUES ('k')",
        "INSERT INTO things (id,name) VALUES ('k',REPEAT('x',33))",
        "INSERT INTO vals (id,t) VALUES (1,300)",
        "INSERT INTO vals (id,ref) VALUES (1,'nobody')",
        "INSERT INTO vals (id,t) VALUES (1,'Xsecret')",
        "INSERT INTO vals (id,at) VALUES (1,'2026-02-30')",
    };

    for (i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
        assert_rc(run(f->db, sql[i]), OPAY_DB_CONSTRAINT);
        assert_int_not_equal(opay_db_errno(f->db), 0);
        assert_null(strstr(opay_db_error(f->db), "Xsecret"));
        assert_null(strstr(opay_db_error(f->db), "2026-02"));
    }

    assert_rc(run(f->db, "INSERT INTO vals (id,t) VALUE S"), OPAY_DB_ERROR);
    assert_null(strstr(opay_db_error(f->db), "VALUE S"));
    assert_rc(run(f->db, "SELECT no_such FROM vals"), OPAY_DB_ERROR);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (?)"), OPAY_DB_ERROR);
    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (1)"), OPAY_DB_OK);
    assert_int_equal(opay_db_errno(f->db), 0);
}


static void
test_dup(void **state)
{
    fx_t  *f = *state;

    opay_db_begin(f->db);
    assert_rc(run(f->db, "INSERT INTO vals (id,s) "
                         "VALUES (1,'me for key you@x.y')"), OPAY_DB_OK);
    assert_rc(run(f->db, "INSERT INTO vals (id,s) "
                         "VALUES (2,'me for key you@x.y')"), OPAY_DB_DUP);

    /* which key, but not which value; and the transaction goes on */

    assert_non_null(strstr(opay_db_error(f->db), "vals_s"));
    assert_null(strstr(opay_db_error(f->db), "you@x.y"));

    assert_rc(run(f->db, "INSERT INTO vals (id) VALUES (3)"), OPAY_DB_OK);
    assert_rc(opay_db_commit(f->db), OPAY_DB_OK);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), 2);
}


static void
test_affected(void **state)
{
    fx_t      *f = *state;

    uint64_t   n;

    run(f->db, "INSERT INTO vals (id,t) VALUES (1,5)");
    opay_db_exec(f->db, "UPDATE vals SET t=5 WHERE id=1", NULL, 0, &n);
    assert_int_equal(n, 1);            /* matched, though not changed */
    opay_db_exec(f->db, "UPDATE vals SET t=5 WHERE id=2", NULL, 0, &n);
    assert_int_equal(n, 0);

    run(f->db, "INSERT INTO events (agg_type,agg_id,version,type,pkey,data,"
               "actor,hash,created_at) VALUES ('x','x',1,'t','k','{}','a',"
               "'h',1)");
    assert_int_equal(opay_db_insert_id(f->db),
                     fx_number("SELECT MAX(id) FROM events"));
}


static void
test_statement_cache(void **state)
{
    fx_t              *f = *state;

    int                i;
    char               sql[40];
    int64_t            before;
    opay_db_result_t   res;

    number(f, "SELECT 7");
    status(f, "Com_stmt_prepare");
    before = status(f, "Com_stmt_prepare");

    for (i = 0; i < 50; i++) {
        assert_int_equal(number(f, "SELECT 7"), 7);
    }

    assert_int_equal(status(f, "Com_stmt_prepare"), before);

    /* one buffer, two texts: the text counts, not the pointer */

    strcpy(sql, "SELECT 8");
    assert_int_equal(number(f, sql), 8);
    strcpy(sql, "SELECT 9");
    assert_int_equal(number(f, sql), 9);

    for (i = 0; i < 1200; i++) {
        snprintf(sql, sizeof(sql), "SELECT %d", i);
        assert_int_equal(number(f, sql), i);
    }

    assert_true(fx_number("SHOW STATUS LIKE 'none'") == -1);
    assert_rc(opay_db_query(f->db, f->a, "SHOW GLOBAL STATUS LIKE "
                            "'Prepared_stmt_count'", NULL, 0, &res),
              OPAY_DB_OK);
    assert_true(atoi(opay_db_get_str(&res, 0, 1).data) <= 512);
}


static void
test_rows(void **state)
{
    fx_t              *f = *state;

    int64_t            i, n, at, before;
    uint64_t           affected;
    opay_db_value_t    v[300];
    static int64_t     counts[] = { 1, 2, 3, 7, 64, 65, 100, 127 };

    for (n = 0, at = 0, before = 0; n < 8; n++) {

        for (i = 0; i < counts[n]; i++, at++) {
            v[i * 2] = opay_db_i64(at);
            v[i * 2 + 1] = opay_db_i64(at % 100);
        }

        assert_rc(opay_db_exec_rows(f->db, "INSERT INTO vals (id,t) VALUES ",
                                    "(?,?)", "", v, 2, (size_t) counts[n],
                                    &affected), OPAY_DB_OK);
        assert_int_equal(affected, counts[n]);

        if (n == 6) {
            status(f, "Com_stmt_prepare");
        }
    }

    before = status(f, "Com_stmt_prepare");
    /* 1, 2, 3, 4, 7, 15, 16, 32 and 64 rows */
    assert_true(before <= 9 + 1);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals"), at);
    assert_int_equal(fx_number("SELECT COUNT(*) FROM vals WHERE t<>id%%100"),
                     0);
    assert_rc(opay_db_exec_rows(f->db, "INSERT INTO vals (id,t) VALUES ",
                                "(?,?)", "", NULL, 2, 0, &affected),
              OPAY_DB_OK);
    assert_int_equal(affected, 0);
}


static void
test_query_in(void **state)
{
    fx_t              *f = *state;

    char               seen[200];
    size_t             i, n, want;
    int64_t            before;
    opay_db_value_t    ids[200];
    opay_db_result_t   res;
    static size_t      counts[] = { 0, 1, 2, 3, 5, 33, 63, 64, 65, 130 };

    for (i = 0; i < 150; i++) {
        ids[i] = opay_db_i64((int64_t) i);
    }

    assert_rc(opay_db_exec_rows(f->db, "INSERT INTO vals (id) VALUES ", "(?)",
                                "", ids, 1, 150, NULL), OPAY_DB_OK);

    ids[0] = opay_db_i64(1000);        /* not there */

    for (n = 0; n < 10; n++) {

        assert_rc(opay_db_query_in(f->db, f->a, "SELECT id FROM vals WHERE "
                                   "id IN ", " ORDER BY id", ids, counts[n],
                                   &res), OPAY_DB_OK);

        want = counts[n] ? counts[n] - 1 : 0;
        assert_int_equal(res.rows, want);
        memset(seen, 0, sizeof(seen));

        for (i = 0; i < res.rows; i++) {
            assert_in_range(opay_db_get_i64(&res, i, 0), 1, counts[n]);
            assert_false(seen[opay_db_get_i64(&res, i, 0)]++);
        }
    }

    /* sizes 1, 2, 4, 8, 64; plus the insert's 64, 16, 4, 2 and SHOW */

    before = status(f, "Com_stmt_prepare");
    assert_true(before <= 5 + 4 + 1);
}


static void
test_altered(void **state)
{
    fx_t              *f = *state;

    opay_db_rc_t       rc;
    opay_db_result_t   res;

    fx_admin("DROP TABLE IF EXISTS alt");
    fx_admin("CREATE TABLE alt (a INT)");
    fx_admin("INSERT INTO alt VALUES (1)");

    assert_rc(opay_db_query(f->db, f->a, "SELECT * FROM alt", NULL, 0, &res),
              OPAY_DB_OK);
    assert_int_equal(res.cols, 1);

    fx_admin("ALTER TABLE alt ADD COLUMN b INT NOT NULL DEFAULT 5");

    rc = opay_db_query(f->db, f->a, "SELECT * FROM alt", NULL, 0, &res);

    if (rc != OPAY_DB_OK) {
        assert_true(rc == OPAY_DB_LOST || rc == OPAY_DB_RETRY);
        assert_rc(opay_db_query(f->db, f->a, "SELECT * FROM alt", NULL, 0,
                                &res), OPAY_DB_OK);
    }

    assert_int_equal(res.cols, 2);
    assert_int_equal(opay_db_get_i64(&res, 0, 1), 5);

    fx_admin("DROP TABLE alt");
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(test_values),
        test(test_nulls),
        test(test_long_columns),
        test(test_ids_and_collations),
        test(test_session),
        test(test_constraints),
        test(test_dup),
        test(test_affected),
        test(test_statement_cache),
        test(test_rows),
        test(test_query_in),
        test(test_altered),
    };

    return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
