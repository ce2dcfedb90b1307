
/*
 * The writer: commas, escapes and growth, checked against jansson reading it
 * back; and its memory running out at every allocation.
 */

#include "test_arena.h"
#include "../../lib/opay_jsonw.c"


static void
test_jsonw_object(void **state)
{
    opay_jw_t      w;
    opay_uuid_t    u;
    opay_arena_t  *a;

    (void) state;

    a = test_arena();
    memset(u.b, 0xab, 16);

    opay_jw_init(&w, a, 0);
    opay_jw_obj(&w);
    opay_jw_kstr(&w, "s", test_str("x"));
    opay_jw_kcstr(&w, "c", "y");
    opay_jw_kcstr(&w, "n", NULL);
    opay_jw_ki64(&w, "i", -12);
    opay_jw_kbool(&w, "t", 5);
    opay_jw_kbool(&w, "f", 0);
    opay_jw_knull(&w, "z");
    opay_jw_kuuid(&w, "u", &u);
    opay_jw_kuuid(&w, "v", NULL);
    opay_jw_ktime(&w, "d", 1);
    opay_jw_ktime_or_null(&w, "e", 0);
    opay_jw_ktime_or_null(&w, "g", 1000);
    opay_jw_key(&w, "a");
    opay_jw_arr(&w);
    opay_jw_i64(&w, 1);
    opay_jw_arr(&w);
    opay_jw_arr_end(&w);
    opay_jw_obj(&w);
    opay_jw_obj_end(&w);
    opay_jw_cstr(&w, "");
    opay_jw_arr_end(&w);
    opay_jw_raw(&w, test_str("\"r\":[1,2]"));
    opay_jw_key(&w, "q");
    opay_jw_raw(&w, test_str(""));
    opay_jw_obj_end(&w);

    assert_str_is(opay_jw_result(&w),
        "{\"s\":\"x\",\"c\":\"y\",\"n\":null,\"i\":-12,\"t\":true,\"f\":false,"
        "\"z\":null,\"u\":\"abababab-abab-abab-abab-abababababab\","
        "\"v\":null,\"d\":\"1970-01-01T00:00:00.001Z\",\"e\":null,"
        "\"g\":\"1970-01-01T00:00:01.000Z\","
        "\"a\":[1,[],{},\"\"],\"r\":[1,2],\"q\":null}");
    assert_int_equal(opay_jw_result(&w).data[opay_jw_result(&w).len], '\0');

    opay_arena_destroy(a);
}


static void
test_jsonw_one(opay_str_t s, const char *expected)
{
    opay_jw_t      w;
    opay_arena_t  *a;

    a = test_arena();
    opay_jw_init(&w, a, 1);
    opay_jw_str(&w, s);
    assert_str_is(opay_jw_result(&w), expected);
    opay_arena_destroy(a);
}


static void
test_jsonw_escapes(void **state)
{
    opay_str_t  s;

    (void) state;

    test_jsonw_one(test_str(""), "\"\"");
    test_jsonw_one(test_str("\"\\/"), "\"\\\"\\\\/\"");
    test_jsonw_one(test_str("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    test_jsonw_one(test_str("\x01\x1f\x7f"), "\"\\u0001\\u001f\\u007f\"");

    s.data = "a\0b";
    s.len = 3;
    test_jsonw_one(s, "\"a\\u0000b\"");

    s.data = NULL;
    s.len = 0;
    test_jsonw_one(s, "null");

    test_jsonw_one(test_str("\xea\xb9\x80\xf0\x9f\x98\x80\xc3\xa9"),
                   "\"\xea\xb9\x80\xf0\x9f\x98\x80\xc3\xa9\"");
    test_jsonw_one(test_str("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"");
    test_jsonw_one(test_str("\xc0\xaf"),
                   "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    test_jsonw_one(test_str("\xed\xa0\x80"),
                   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    test_jsonw_one(test_str("x\xe2\x82"),
                   "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
}


static void
test_jsonw_numbers(void **state)
{
    size_t         i;
    char           expected[32];
    opay_jw_t      w;
    opay_arena_t  *a;

    static const int64_t  v[] = {
        0, 1, -1, 9, 10, 99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1,
        INT64_C(9007199254740991), 1000000000, -1000000000
    };

    (void) state;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        a = test_arena();
        opay_jw_init(&w, a, 0);
        opay_jw_i64(&w, v[i]);
        (void) snprintf(expected, sizeof(expected), "%lld",
                        (long long) v[i]);
        assert_str_is(opay_jw_result(&w), expected);
        opay_arena_destroy(a);
    }
}


/* Random text of any code points comes back as it went in. */

static void
test_jsonw_round_trip(void **state)
{
    char           text[600], *p;
    int            round, i, n;
    unsigned       seed, c;
    json_t        *v;
    opay_jw_t      w;
    opay_str_t     s, out;
    const char    *error;
    opay_arena_t  *a;

    static const unsigned  some[] = {
        'a', '"', '\\', 1, 0x1f, 0x7f, '/', 0xe9, 0x20ac, 0x1f600, 0x7ff,
        0x800, 0xffff, 0x10ffff, 0x80, ' '
    };

    (void) state;

    seed = 7;

    for (round = 0; round < 3000; round++) {

        p = text;
        seed = seed * 1103515245 + 12345;
        n = (int) (seed >> 16) % 120;

        for (i = 0; i < n; i++) {

            seed = seed * 1103515245 + 12345;
            c = some[(seed >> 16) % (sizeof(some) / sizeof(some[0]))];

            if (c < 0x80) {
                *p++ = (char) c;

            } else if (c < 0x800) {
                *p++ = (char) (0xc0 | c >> 6);
                *p++ = (char) (0x80 | (c & 0x3f));

            } else if (c < 0x10000) {
                *p++ = (char) (0xe0 | c >> 12);
                *p++ = (char) (0x80 | (c >> 6 & 0x3f));
                *p++ = (char) (0x80 | (c & 0x3f));

            } else {
                *p++ = (char) (0xf0 | c >> 18);
                *p++ = (char) (0x80 | (c >> 12 & 0x3f));
                *p++ = (char) (0x80 | (c >> 6 & 0x3f));
                *p++ = (char) (0x80 | (c & 0x3f));
            }
        }

        s.data = text;
        s.len = (size_t) (p - text);

        a = test_arena();
        opay_jw_init(&w, a, 0);
        opay_jw_obj(&w);
        opay_jw_kstr(&w, "k", s);
        opay_jw_obj_end(&w);
        out = opay_jw_result(&w);

        v = opay_json_decode(a, out, &error);
        assert_non_null(v);
        v = json_object_get(v, "k");
        assert_int_equal(json_string_length(v), s.len);
        assert_memory_equal(json_string_value(v), s.data, s.len);

        opay_arena_destroy(a);
    }
}


static void
test_jsonw_json(void **state)
{
    json_t        *v;
    opay_jw_t      w;
    const char    *error;
    opay_arena_t  *a;

    (void) state;

    a = test_arena();

    v = opay_json_decode(a, test_str("{ \"a\" : [ 1 , \"\xea\xb9\x80\" ] }"),
                         &error);

    opay_jw_init(&w, a, 0);
    opay_jw_arr(&w);
    opay_jw_json(&w, v);
    opay_jw_json(&w, NULL);
    opay_jw_json(&w, json_object_get(v, "a"));
    opay_jw_json(&w, json_array_get(json_object_get(v, "a"), 0));
    opay_jw_arr_end(&w);

    assert_str_is(opay_jw_result(&w),
                  "[{\"a\":[1,\"\xea\xb9\x80\"]},null,[1,\"\xea\xb9\x80\"],"
                  "1]");

    opay_arena_destroy(a);
}


/* Each way to fill the buffer to its last byte, with the NUL behind it. */

static void
test_jsonw_brim(void **state)
{
    char           text[200];
    size_t         i, first;
    opay_jw_t      w;
    opay_str_t     s;
    opay_arena_t  *a;

    (void) state;

    memset(text, '7', sizeof(text));

    for (first = 1; first < 3; first++) {
        for (i = 1; i < 150; i++) {

            a = test_arena();
            opay_jw_init(&w, a, 64);
            opay_jw_arr(&w);

            s.data = text;
            s.len = first;
            opay_jw_raw(&w, s);

            s.len = i;

            if (i % 2) {
                opay_jw_raw(&w, s);

            } else {
                opay_jw_str(&w, s);
            }

            assert_int_equal(opay_jw_result(&w).len,
                             2 + first + i + (i % 2 ? 0 : 2));
            opay_arena_destroy(a);

            a = test_arena();
            opay_jw_init(&w, a, 64);
            opay_jw_obj(&w);
            text[i] = '\0';
            opay_jw_key(&w, text);
            text[i] = '7';
            assert_int_equal(opay_jw_result(&w).len, i + 4);
            opay_arena_destroy(a);
        }
    }
}


static opay_str_t
test_jsonw_big(opay_arena_t *a, json_t *tree)
{
    int          i;
    char         blob[300];
    opay_jw_t    w;
    opay_str_t   s;
    opay_uuid_t  u;

    memset(blob, '"', sizeof(blob));
    memset(&u, 1, sizeof(u));
    s.data = blob;
    s.len = sizeof(blob);

    opay_jw_init(&w, a, 0);
    opay_jw_arr(&w);

    for (i = 0; i < 10; i++) {
        opay_jw_obj(&w);
        opay_jw_kstr(&w, "blob", s);
        opay_jw_kuuid(&w, "id", &u);
        opay_jw_ktime(&w, "at", i);
        opay_jw_ki64(&w, "n", i);
        opay_jw_key(&w, "tree");
        opay_jw_json(&w, tree);
        opay_jw_obj_end(&w);
    }

    opay_jw_arr_end(&w);

    return opay_jw_result(&w);
}


static void
test_jsonw_no_memory(void **state)
{
    int            n;
    json_t        *tree;
    opay_str_t     s, full;
    const char    *error;
    opay_arena_t  *a, *b;

    (void) state;

    b = test_arena();
    tree = opay_json_decode(b, test_str("{\"a\":[1,2,3]}"), &error);
    full = test_jsonw_big(b, tree);
    assert_non_null(full.data);

    for (n = 0; /* void */; n++) {

        a = test_arena();
        test_malloc_left = n;
        s = test_jsonw_big(a, tree);
        test_malloc_left = -1;

        if (s.data) {
            assert_int_equal(s.len, full.len);
            assert_memory_equal(s.data, full.data, s.len);
            opay_arena_destroy(a);
            break;
        }

        opay_arena_destroy(a);
    }

    assert_true(n >= 5);

    opay_arena_destroy(b);
}


/* Each writer call must hold its tongue once memory is out. */

static void
test_jsonw_sticky(void **state)
{
    int            i;
    opay_jw_t      w;
    opay_uuid_t    u;
    opay_arena_t  *a;

    (void) state;

    memset(&u, 0, sizeof(u));
    a = test_arena();

    test_malloc_left = 0;
    opay_jw_init(&w, a, 100);
    test_malloc_left = -1;

    for (i = 0; i < 2; i++) {
        opay_jw_obj(&w);
        opay_jw_kcstr(&w, "a", "b");
        opay_jw_kuuid(&w, "u", &u);
        opay_jw_ktime(&w, "t", 5);
        opay_jw_knull(&w, "z");
        opay_jw_raw(&w, test_str("1"));
        opay_jw_json(&w, json_true());
        opay_jw_arr(&w);
        opay_jw_arr_end(&w);
        opay_jw_obj_end(&w);
        assert_null(opay_jw_result(&w).data);

        /* the second time round: failed later, with bytes already there */

        opay_jw_init(&w, a, 100);
        opay_jw_obj(&w);
        w.failed = 1;
        w.pos = w.end = w.start;
    }

    /* lengths that would wrap around */

    opay_jw_init(&w, a, 100);
    opay_jw_raw(&w, (opay_str_t) { SIZE_MAX / 4, "x" });
    assert_null(opay_jw_result(&w).data);

    opay_arena_destroy(a);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jsonw_object),
        cmocka_unit_test(test_jsonw_escapes),
        cmocka_unit_test(test_jsonw_numbers),
        cmocka_unit_test(test_jsonw_round_trip),
        cmocka_unit_test(test_jsonw_json),
        cmocka_unit_test(test_jsonw_brim),
        cmocka_unit_test(test_jsonw_no_memory),
        cmocka_unit_test(test_jsonw_sticky)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
