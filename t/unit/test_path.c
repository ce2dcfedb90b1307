
/* Route templates, percent-encoding and query arguments. */

#include "test_arena.h"
#include "../../lib/opay_path.c"


static int
test_match(const char *tmpl, const char *path, opay_str_t *values)
{
    return opay_path_match(test_str(tmpl), test_str(path), values, 2);
}


static void
test_path_match(void **state)
{
    opay_str_t  v[2];

    (void) state;

    assert_int_equal(test_match("/", "/", v), OPAY_OK);
    assert_int_equal(test_match("/api/orders", "/api/orders", v), OPAY_OK);

    assert_int_equal(test_match("/api/orders/{id}", "/api/orders/7", v),
                     OPAY_OK);
    assert_str_is(v[0], "7");

    assert_int_equal(test_match("/a/{x}/b/{y}", "/a/one/b/two words", v),
                     OPAY_OK);
    assert_str_is(v[0], "one");
    assert_str_is(v[1], "two words");

    assert_int_equal(test_match("/{x}", "/...", v), OPAY_OK);
    assert_int_equal(test_match("/{x}", "/.a", v), OPAY_OK);
    assert_int_equal(test_match("/{x}", "/{x}", v), OPAY_OK);
    assert_int_equal(test_match("/.well-known/jwks.json",
                                "/.well-known/jwks.json", v), OPAY_OK);

    /* braces that are no parameter */

    assert_int_equal(test_match("/{}", "/{}", v), OPAY_OK);
    assert_int_equal(test_match("/{}", "/x", v), OPAY_ERROR);
    assert_int_equal(test_match("/x{y}", "/xz", v), OPAY_ERROR);
}


static void
test_path_no_match(void **state)
{
    size_t      i;
    opay_str_t  v[2], s;

    static const char  *pairs[][2] = {
        { "/api/orders", "/api/order" }, { "/api/orders", "/api/orders/" },
        { "/api/orders", "/api/ordersx" }, { "/api/orders", "/api" },
        { "/api/orders", "//api/orders" }, { "/api/orders", "/api//orders" },
        { "/api/orders", "api/orders" }, { "/api/orders", "" },
        { "/api/orders", "/API/orders" }, { "/api/orders", "/api/orders/7" },
        { "/api/{id}", "/api/" }, { "/api/{id}", "/api" },
        { "/api/{id}", "/api//" }, { "/api/{id}", "/api/." },
        { "/api/{id}", "/api/.." }, { "/api/{id}", "/api/a/" },
        { "/api/{id}", "/api/a/b" }, { "/api/{id}", "/api/\x01" },
        { "/api/{id}", "/api/a\x7f" }, { "/api/{id}", "/api/\n" },
        { "/a/{x}/b", "/a//b" }, { "/a/{x}/b", "/a/../b" },
        { "/", "" }, { "/", "//" }, { "/", "/a" }, { "api", "api" },
        { "/{a}/{b}/{c}", "/1/2/3" }
    };

    (void) state;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (test_match(pairs[i][0], pairs[i][1], v) != OPAY_ERROR) {
            fail_msg("%s matched %s", pairs[i][0], pairs[i][1]);
        }
    }

    s.data = "/api/a\0b";
    s.len = 8;
    assert_int_equal(opay_path_match(test_str("/api/{id}"), s, v, 2),
                     OPAY_ERROR);
    s.data = "/api\0";
    s.len = 5;
    assert_int_equal(opay_path_match(test_str("/api"), s, v, 2), OPAY_ERROR);

    assert_int_equal(opay_path_match(test_str("/{id}"), test_str("/a"), v, 0),
                     OPAY_ERROR);
}


static int
test_wins(const char *a, const char *b)
{
    return opay_path_more_specific(test_str(a), test_str(b));
}


static void
test_path_specific(void **state)
{
    (void) state;

    assert_true(test_wins("/api/users/me", "/api/users/{id}"));
    assert_false(test_wins("/api/users/{id}", "/api/users/me"));

    assert_true(test_wins("/o/status/{s}", "/o/{id}/history"));
    assert_false(test_wins("/o/{id}/history", "/o/status/{s}"));

    assert_true(test_wins("/o/{id}/history", "/o/{id}/{x}"));
    assert_false(test_wins("/o/{id}/{x}", "/o/{id}/history"));

    assert_false(test_wins("/o/{id}", "/o/{name}"));
    assert_false(test_wins("/o", "/o"));
    assert_false(test_wins("/", "/"));
}


static void
test_path_decode(void **state)
{
    size_t         i;
    opay_str_t     s, out;
    opay_arena_t  *a;

    static const char  *bad[] = {
        "%", "%4", "%4g", "%g4", "%%41", "a%", "%00", "a%00b", "%ff",
        "%c0%80", "%ed%a0%80", "\xff", "%f4%90%80%80", "%e2%82", "%-1",
        "%+1", "% 1", "%\xff\xff"
    };

    (void) state;

    a = test_arena();

    assert_int_equal(opay_path_decode(a, test_str(""), 0, &out), OPAY_OK);
    assert_str_is(out, "");

    assert_int_equal(opay_path_decode(a, test_str("a%41%7e+%2B%2f"), 0, &out),
                     OPAY_OK);
    assert_str_is(out, "aA~++/");
    assert_int_equal(out.data[out.len], '\0');

    assert_int_equal(opay_path_decode(a, test_str("a+b%2B"), 1, &out),
                     OPAY_OK);
    assert_str_is(out, "a b+");

    assert_int_equal(opay_path_decode(a, test_str("%ea%b9%80%F0%9F%98%80"), 0,
                                      &out), OPAY_OK);
    assert_str_is(out, "\xea\xb9\x80\xf0\x9f\x98\x80");

    /* decoded once: what was hidden stays hidden */

    assert_int_equal(opay_path_decode(a, test_str("%2541"), 0, &out),
                     OPAY_OK);
    assert_str_is(out, "%41");

    s = out;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (opay_path_decode(a, test_str(bad[i]), 1, &out) != OPAY_ERROR) {
            fail_msg("accepted %s", bad[i]);
        }
    }

    assert_ptr_equal(s.data, out.data);

    s.data = "a\0b";
    s.len = 3;
    assert_int_equal(opay_path_decode(a, s, 0, &out), OPAY_ERROR);

    test_malloc_left = 0;
    assert_int_equal(opay_path_decode(a, test_str("a"), 0, &out),
                     OPAY_ERROR);
    test_malloc_left = -1;

    opay_arena_destroy(a);
}


static void
test_path_query(void **state)
{
    char          *copy;
    size_t         n;
    opay_str_t     v, s;
    opay_arena_t  *a;

    static const char  *query = "a=1&&=x&b=2=3&c&a=%zz&d=%zz&a%=5&sp%20ace=6";

    (void) state;

    a = test_arena();

    assert_int_equal(opay_query_arg(a, test_str(query), "a", &v), OPAY_OK);
    assert_str_is(v, "1");
    assert_int_equal(opay_query_arg(a, test_str(query), "b", &v), OPAY_OK);
    assert_str_is(v, "2=3");
    assert_int_equal(opay_query_arg(a, test_str(query), "c", &v), OPAY_OK);
    assert_str_is(v, "");
    assert_int_equal(opay_query_arg(a, test_str(query), "", &v), OPAY_OK);
    assert_str_is(v, "");
    assert_int_equal(opay_query_arg(a, test_str(query), "sp ace", &v),
                     OPAY_OK);
    assert_str_is(v, "6");
    assert_int_equal(opay_query_arg(a, test_str(query), "d", &v),
                     OPAY_ERROR);
    assert_null(v.data);
    assert_int_equal(opay_query_arg(a, test_str(query), "x", &v), OPAY_OK);
    assert_null(v.data);
    assert_int_equal(v.len, 0);
    assert_int_equal(opay_query_arg(a, test_str(""), "x", &v), OPAY_OK);
    assert_null(v.data);
    assert_int_equal(opay_query_arg(a, test_str("&"), "x", &v), OPAY_OK);
    assert_null(v.data);

    /* a buffer of its own size: nothing past the end is read */

    for (n = 0; n <= strlen(query); n++) {
        copy = malloc(n ? n : 1);
        memcpy(copy, query, n);
        s.data = copy;
        s.len = n;
        assert_int_equal(opay_query_arg(a, s, "nobody", &v), OPAY_OK);
        (void) opay_query_arg(a, s, "sp ace", &v);
        free(copy);
    }

    opay_arena_destroy(a);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_path_match),
        cmocka_unit_test(test_path_no_match),
        cmocka_unit_test(test_path_specific),
        cmocka_unit_test(test_path_decode),
        cmocka_unit_test(test_path_query)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
