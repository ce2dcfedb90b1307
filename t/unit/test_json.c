
/*
 * Strict decoding: what a hostile client may send is refused with the place
 * of the fault and none of the content.
 */

#include "test_arena.h"
#include "../../lib/opay_json.c"


static json_t *
test_decode(opay_arena_t *a, const char *text, size_t len, const char **error)
{
    char        *copy;
    json_t      *v;
    opay_str_t   s;

    /* a copy of its own size: a byte read too far is seen by the sanitizer */

    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);

    s.data = copy;
    s.len = len;

    *error = NULL;
    v = opay_json_decode(a, s, error);

    free(copy);

    if (v == NULL) {
        assert_non_null(*error);
    }

    return v;
}


static void
test_json_good(void **state)
{
    size_t         i;
    const char    *error;
    opay_arena_t  *a;

    static const char  *good[] = {
        "{}", " \t\r\n{ } \n", "{\"a\":1}", "{\"a\":-9223372036854775808}",
        "{\"a\":9223372036854775807}", "{\"a\":1.5,\"b\":1e3,\"c\":-0}",
        "{\"a\":\"\\ud83d\\ude00\"}", "{\"a\":\"\xf0\x9f\x98\x80\"}",
        "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}",
        "{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}",
        "{\"a\":\"\\\\\",\"b\":[[],[],[],{}]}",
        "{\"a\":{\"x\":1},\"b\":{\"x\":1}}", "{\"\":null}",
        "{\"a\":\"\\u0001\\u001f\\/\"}"
    };

    (void) state;

    a = test_arena();

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (test_decode(a, good[i], strlen(good[i]), &error) == NULL) {
            fail_msg("refused %s: %s", good[i], error);
        }
    }

    opay_arena_destroy(a);
}


#define BAD(text, why)  { text, sizeof(text) - 1, why }

static void
test_json_bad(void **state)
{
    size_t         i;
    const char    *error;
    opay_arena_t  *a;

    static const struct {
        const char  *text;
        size_t       len;
        const char  *why;
    } bad[] = {
        BAD("", "byte 0: it is empty."),
        BAD(" ", "it ends too early."),
        BAD("[]", "must be an object"),
        BAD("[{}]", "must be an object"),
        BAD("1", "syntax error"), BAD("\"a\"", "syntax error"),
        BAD("null", "syntax error"), BAD("true", "syntax error"),

        BAD("{\"a\":1,\"a\":1}", "twice"),
        BAD("{\"role\":1,\"r\\u006fle\":1}", "twice"),
        BAD("{\"a\":{\"b\":1,\"b\":2}}", "twice"),
        BAD("{\"a\":[{\"\":1,\"\":2}]}", "twice"),

        BAD("{} x", "more after"), BAD("{}{}", "more after"),
        BAD("{},", "more after"), BAD("{}]", "more after"),
        BAD("{\"a\":1", "ends too early"), BAD("{", "ends too early"),
        BAD("{\"a", "ends too early"), BAD("{\"a\\", "syntax"),

        BAD("\xef\xbb\xbf{}", "byte 0: byte order mark."),
        BAD("\xef\xbb\xbf", "byte 0: byte order mark."),
        BAD("\xff\xfe{\0}\0", "byte 3: NUL"),
        BAD("{}\0", "byte 2: NUL"), BAD("\0{}", "byte 0: NUL"),
        BAD("{\"a\":\"\0\"}", "byte 6: NUL"),
        BAD("{\"a\":\"\\u0000\"}", "NUL"), BAD("{\"\\u0000\":1}", "NUL"),
        BAD("{\"a\\u0000b\":1}", "NUL"),

        BAD("{\"a\":9223372036854775808}", "too large"),
        BAD("{\"a\":-9223372036854775809}", "too large"),
        BAD("{\"a\":99999999999999999999999999999999}", "too large"),
        BAD("{\"a\":1e999}", "too large"), BAD("{\"a\":-1e999}", "too large"),

        BAD("{\"a\":\"\\ud800\"}", "syntax"),
        BAD("{\"a\":\"\\udc00\"}", "syntax"),
        BAD("{\"a\":\"\\ud800\\u0041\"}", "syntax"),
        BAD("{\"a\":\"\\ude00\\ud83d\"}", "syntax"),
        BAD("{\"a\":\"\\ud800\\ud800\"}", "syntax"),
        BAD("{\"a\":\"\xc0\x80\"}", "not UTF-8"),
        BAD("{\"a\":\"\xc0\xaf\"}", "not UTF-8"),
        BAD("{\"a\":\"\xe0\x80\xaf\"}", "not UTF-8"),
        BAD("{\"a\":\"\xf0\x80\x80\xaf\"}", "not UTF-8"),
        BAD("{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"),
        BAD("{\"a\":\"\xed\xbf\xbf\"}", "not UTF-8"),
        BAD("{\"a\":\"\xf4\x90\x80\x80\"}", "not UTF-8"),
        BAD("{\"a\":\"\xf8\x88\x80\x80\x80\"}", "not UTF-8"),
        BAD("{\"a\":\"\x80\"}", "not UTF-8"),
        BAD("{\"a\":\"\xe2\x82\"}", "not UTF-8"),
        BAD("{\"a\":\"\xe2\x82", "not UTF-8"),
        BAD("{\"\xff\":1}", "not UTF-8"), BAD("{}\xff", "not UTF-8"),

        BAD("{a:1}", "syntax"), BAD("{'a':1}", "syntax"),
        BAD("{\"a\":1,}", "syntax"), BAD("{,}", "syntax"),
        BAD("{\"a\" 1}", "syntax"), BAD("{\"a\":}", "syntax"),
        BAD("{\"a\":01}", "syntax"), BAD("{\"a\":+1}", "syntax"),
        BAD("{\"a\":.5}", "syntax"), BAD("{\"a\":1.}", "syntax"),
        BAD("{\"a\":0x10}", "syntax"), BAD("{\"a\":NaN}", "syntax"),
        BAD("{\"a\":Infinity}", "syntax"), BAD("{\"a\":TRUE}", "syntax"),
        BAD("{\"a\":nul}", "syntax"), BAD("{\"a\":\"\\x41\"}", "syntax"),
        BAD("{\"a\":\"\\u12\"}", "syntax"), BAD("{\"a\":\"\t\"}", "syntax"),
        BAD("{\"a\":\"\n\"}", "syntax"), BAD("{\"a\":\"\x1f\"}", "syntax"),
        BAD("{/* */}", "syntax"), BAD("{}//", "more after"),
        BAD("{\"a\":[1,2}}", "syntax"), BAD("]", "syntax"), BAD("}", "syntax"),
        BAD("{\"a\":1 \"b\":2}", "syntax"), BAD("{\"a\":1;}", "syntax"),
        BAD("{\"a\":\xc2\xa0" "1}", "syntax")
    };

    (void) state;

    a = test_arena();

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (test_decode(a, bad[i].text, bad[i].len, &error)) {
            fail_msg("accepted %s", bad[i].text);
        }

        if (strstr(error, bad[i].why) == NULL) {
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, error,
                     bad[i].why);
        }
    }

    opay_arena_destroy(a);
}


/* depth levels: an object, and arrays or objects in it. */

static json_t *
test_nested(opay_arena_t *a, size_t depth, int objects, int close,
    const char **error)
{
    char    *text, *p;
    size_t   i;
    json_t  *v;

    text = malloc(depth * 8 + 16);
    p = text;

    for (i = 0; i < depth; i++) {
        p += sprintf(p, "%s", i == 0 || objects ? "{\"a\":" : "[");
    }

    p += sprintf(p, "1");

    for (i = depth; close && i > 0; i--) {
        *p++ = i == 1 || objects ? '}' : ']';
    }

    v = test_decode(a, text, (size_t) (p - text), error);

    free(text);

    return v;
}


static void
test_json_depth(void **state)
{
    size_t         i;
    const char    *error;
    opay_arena_t  *a;

    static const size_t  deep[] = { 33, 34, 2048, 2049, 100000 };

    (void) state;

    a = test_arena();

    assert_non_null(test_nested(a, 32, 0, 1, &error));
    assert_non_null(test_nested(a, 32, 1, 1, &error));

    for (i = 0; i < 5; i++) {
        assert_null(test_nested(a, deep[i], 0, 1, &error));
        assert_non_null(strstr(error, "nested too deep"));
        assert_null(test_nested(a, deep[i], 1, 1, &error));
        assert_non_null(strstr(error, "nested too deep"));
        assert_null(test_nested(a, deep[i], 0, 0, &error));
        assert_non_null(strstr(error, "nested too deep"));
    }

    assert_null(test_nested(a, 32, 0, 0, &error));
    assert_non_null(strstr(error, "ends too early"));

    opay_arena_destroy(a);
}


/* The fault is named by its place; a password must not be in a log. */

static void
test_json_error_text(void **state)
{
    size_t         n;
    const char    *error;
    opay_arena_t  *a;

    static const char  text[] = "{\"password\":\"hunter2hunter2\" oops}";

    (void) state;

    a = test_arena();

    assert_null(test_decode(a, text, strlen(text), &error));
    assert_null(strstr(error, "hunter2"));
    assert_null(strstr(error, "oops"));
    assert_non_null(strstr(error, "byte 3"));

    for (n = 0; n < strlen(text); n++) {
        assert_null(test_decode(a, text, n, &error));
        assert_null(strstr(error, "hunter2"));
    }

    opay_arena_destroy(a);
}


static void
test_json_no_memory(void **state)
{
    const char    *error;
    opay_arena_t  *a;

    (void) state;

    a = test_arena();

    test_malloc_left = 0;
    assert_null(test_decode(a, "{", 1, &error));
    assert_string_equal(error, "The body is not acceptable.");

    assert_null(test_decode(a, "{}", 2, &error));
    test_malloc_left = -1;

    opay_arena_destroy(a);
}


static size_t  test_jansson_left;


static void *
test_jansson_malloc(size_t n)
{
    if (test_jansson_left == 0) {
        return NULL;
    }

    test_jansson_left--;

    return malloc(n);
}


static void
test_json_jansson_no_memory(void **state)
{
    size_t         i;
    json_t        *v;
    const char    *error;
    opay_arena_t  *a;

    static const char  text[] = "{\"a\":[1,\"x\",{\"b\":null}]}";

    (void) state;

    json_set_alloc_funcs(test_jansson_malloc, free);

    for (i = 0, v = NULL; v == NULL && i < 1000; i++) {
        a = test_arena();
        test_jansson_left = i;
        v = test_decode(a, text, strlen(text), &error);
        opay_arena_destroy(a);
    }

    assert_true(i > 5 && i < 1000);

    json_set_alloc_funcs(malloc, free);
}


static void
test_json_utf8(void **state)
{
    char        *p;
    size_t       n;
    unsigned     c;
    opay_str_t   s;
    char         buf[8];

    (void) state;

    /* every code point, encoded by hand: surrogates alone are refused */

    for (c = 0; c <= 0x110100; c++) {

        p = buf;

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

        n = opay_utf8_next(buf, p);

        if ((c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
            assert_int_equal(n, 0);

        } else {
            assert_int_equal(n, p - buf);

            /* one byte short */
            assert_int_equal(opay_utf8_next(buf, p - 1), 0);
        }
    }

    /* bytes that begin nothing, overlong forms among them */

    for (c = 0x80; c <= 0xff; c++) {

        memset(buf, 0x80, 4);
        buf[0] = (char) c;

        if (c < 0xc2 || c > 0xf4 || c == 0xe0 || c == 0xf0) {
            assert_int_equal(opay_utf8_next(buf, buf + 4), 0);

        } else {
            assert_int_not_equal(opay_utf8_next(buf, buf + 4), 0);
        }
    }

    s = test_str("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_int_equal(opay_utf8_length(s, &n), OPAY_OK);
    assert_int_equal(n, 4);

    s.len = 0;
    assert_int_equal(opay_utf8_length(s, &n), OPAY_OK);
    assert_int_equal(n, 0);

    assert_int_equal(opay_utf8_length(test_str("a\xc3"), &n), OPAY_ERROR);
    assert_int_equal(opay_utf8_length(test_str("\xe2\x28\xa1"), &n),
                     OPAY_ERROR);
    assert_int_equal(opay_utf8_length(test_str("\xe2\x82\x28"), &n),
                     OPAY_ERROR);
    assert_int_equal(opay_utf8_length(test_str("\xf0\x9f\x98\x28"), &n),
                     OPAY_ERROR);
}


/* In memory of its own size: a text that ends in digits ends there. */

static int
test_pan(const char *text)
{
    int          rc;
    char        *copy;
    opay_str_t   s;

    s.len = strlen(text);
    copy = malloc(s.len ? s.len : 1);
    memcpy(copy, text, s.len);
    s.data = copy;

    rc = opay_pan_like(s);

    free(copy);

    return rc;
}


static void
test_json_pan(void **state)
{
    size_t  i;

    static const char  *cards[] = {
        "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111",
        "378282246310005", "3782 822463 10005", "6011111111111117",
        "5555555555554444", "2223003122003222", "30569309025904",
        "4222222222222", "6304000000000000000", "3530111333300000",
        "card: 4111111111111111", "4111111111111111 12/27 123",
        "12 4111111111111111", "no 7, 4111 1111 1111 1111 please",
        "pay 12-4111-1111-1111-1111",
        "\xec\xb9\xb4\xeb\x93\x9c" "4111111111111111",
        "99999999999999999999999999 4111111111111111",
        "x4111111111111111x", "9490220006611406",
        "4000000000006", "36000000000008", "38000000000006", "39000000000005",
        "30000000000004", "340000000000009", "370000000000002",
        "2200000000000004", "2720999999999996", "2221000000000009",
        "3528000000000007", "35280000000000007", "352800000000000007",
        "3528000000000000007", "3600000000000008", "4000000000000002",
        "4000000000000000006", "5000000000000009", "50000000000000005",
        "600000000000000007", "9000000000000001"
    };
    static const char  *others[] = {
        "", "4111111111111112", "411111111111111", "41111111111111111",
        "4111  1111  1111  1111", "4111.1111.1111.1111", "010-1234-5678",
        "+82 10 1234 5678", "0000000000000000", "1111111111111117",
        "4111111111111111111111111111111111", "Seoul 06236, Teheran-ro 152",
        "4111 1111 1111 111", "4111a1111b1111c1111", "411111111111",
        "tok_ok", "4111 1111 1111 1112-", "4111-1111-1111-",
        "- - - - - - - - - - - - -", "1234567890123456789012345",

        /* a good check digit alone makes no card: serials, time stamps */

        "20240513184810", "202405131848167", "20261122093000127",
        "2199000000000007", "2721000000000004", "3020000000005",
        "3400000000000000", "37000000000007", "352800000000007",
        "3500000000006", "3100000000000003", "33000000000001",
        "3200000000000002", "400000000000006", "40000000000002",
        "40000000000000006", "400000000000000002", "5000000000005",
        "500000000000005", "6000000000004", "60000000000007",
        "700000000000003", "7000000000000005", "8000000000000003",
        "900000000000001", "90000000000000001", "1700000000004",
        "0000000000000000", "1000000000000008", "300000000000007",
        "3000000000007", "3900000000008", "360000000000004",
        "tgen_20240513184816ZSAZ9"
    };

    (void) state;

    for (i = 0; i < sizeof(cards) / sizeof(cards[0]); i++) {
        if (!test_pan(cards[i])) {
            fail_msg("missed %s", cards[i]);
        }
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (test_pan(others[i])) {
            fail_msg("took %s for a card", others[i]);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_json_good),
        cmocka_unit_test(test_json_bad),
        cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_json_error_text),
        cmocka_unit_test(test_json_no_memory),
        cmocka_unit_test(test_json_jansson_no_memory),
        cmocka_unit_test(test_json_utf8),
        cmocka_unit_test(test_json_pan)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
