
/* Idempotency-Key: which values are keys, and what makes two of them one. */

#include "test_arena.h"
#include "../../lib/opay_idem.c"
#include "../../lib/opay_json.h"


static void
test_idem_keys(void **state)
{
    char        buf[OPAY_IDEM_KEY_MAX], key[300];
    size_t      i;
    opay_str_t  k;

    static const char  *good[][2] = {
        { "a", "a" }, { "8e03978e-40d5-43dd-bc93-6894a57f9324",
                        "8e03978e-40d5-43dd-bc93-6894a57f9324" },
        { "\"abc\"", "abc" }, { "\"a b\"", "a b" }, { "a b", "a b" },
        { " abc\t", "abc" }, { "\t \"abc\" ", "abc" }, { "\" \"", " " },
        { "\"a\\\"b\\\\c\"", "a\"b\\c" }, { "a\"b", "a\"b" },
        { "a\\b", "a\\b" }, { "~!@#$%^&*()", "~!@#$%^&*()" },
        { "\"\\\"\"", "\"" }, { "abc\"", "abc\"" }, { "?1", "?1" }
    };
    static const char  *bad[] = {
        "", " ", "\t", "\"", "\"\"", "\"abc", "\"abc\\", "\"abc\\\"",
        "\"a\\b\"", "\"abc\"x", "\"abc\";p=1", "\"abc\" \"def\"", "a\tb",
        "a\nb", "a\x7f", "\xea\xb9\x80", "a\x01", "\"a\x1f\"", "\xff",
        "\"a\\\x01\""
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (opay_idem_parse(test_str(good[i][0]), buf, &k) != OPAY_OK) {
            fail_msg("refused %s", good[i][0]);
        }

        assert_str_is(k, good[i][1]);
        assert_ptr_equal(k.data, buf);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (opay_idem_parse(test_str(bad[i]), buf, &k) != OPAY_ERROR) {
            fail_msg("accepted %s", bad[i]);
        }
    }

    k.data = "a\0b";
    k.len = 3;
    assert_int_equal(opay_idem_parse(k, buf, &k), OPAY_ERROR);

    /* 255 bytes of key, whatever its form */

    memset(key, 'k', sizeof(key));
    k.data = key;
    k.len = 255;
    assert_int_equal(opay_idem_parse(k, buf, &k), OPAY_OK);
    assert_int_equal(k.len, 255);

    k.data = key;
    k.len = 256;
    assert_int_equal(opay_idem_parse(k, buf, &k), OPAY_ERROR);

    key[0] = '"';
    key[256] = '"';
    k.data = key;
    k.len = 257;
    assert_int_equal(opay_idem_parse(k, buf, &k), OPAY_OK);
    assert_int_equal(k.len, 255);

    key[256] = 'k';
    key[257] = '"';
    k.data = key;
    k.len = 258;
    assert_int_equal(opay_idem_parse(k, buf, &k), OPAY_ERROR);
}


static opay_call_t *
test_call(const char *body)
{
    const char    *error;
    opay_call_t   *call;
    opay_arena_t  *a;

    a = test_arena();
    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->method = test_str("POST");
    call->route = test_str("/api/payments/{id}/cancel");
    call->path = test_str("/api/payments/1/cancel");
    call->who.known = 1;
    memset(&call->who.user, 7, 16);

    if (body) {
        call->body = opay_json_decode(a, test_str(body), &error);
        assert_non_null(call->body);
    }

    return call;
}


#define SAME_SCOPE  1
#define SAME_PRINT  2


static int
test_compare(opay_call_t *b, const char *key)
{
    int           rc;
    opay_call_t  *a;

    a = test_call("{\"amount\":1,\"reason\":\"x\"}");

    assert_int_equal(opay_idem_prepare(a, test_str("key-1")), OPAY_OK);
    assert_int_equal(opay_idem_prepare(b, test_str(key)), OPAY_OK);
    assert_int_equal(a->idem.present, 1);

    rc = 0;

    if (memcmp(a->idem.scope, b->idem.scope, 32) == 0) {
        rc |= SAME_SCOPE;
    }

    if (memcmp(a->idem.fingerprint, b->idem.fingerprint, 32) == 0) {
        rc |= SAME_PRINT;
    }

    opay_arena_destroy(a->arena);
    opay_arena_destroy(b->arena);

    return rc;
}


static void
test_idem_identity(void **state)
{
    opay_call_t  *b;

    (void) state;

#define BODY  "{\"amount\":1,\"reason\":\"x\"}"

    assert_int_equal(test_compare(test_call(BODY), "key-1"),
                     SAME_SCOPE|SAME_PRINT);
    assert_int_equal(test_compare(test_call(BODY), " \"key-1\" "),
                     SAME_SCOPE|SAME_PRINT);

    /* spacing, order and escapes of the body do not count, values do */

    assert_int_equal(test_compare(
        test_call("{ \"reason\" : \"\\u0078\" , \"amount\" : 1 }"), "key-1"),
        SAME_SCOPE|SAME_PRINT);
    assert_int_equal(test_compare(
        test_call("{\"amount\":2,\"reason\":\"x\"}"), "key-1"), SAME_SCOPE);
    assert_int_equal(test_compare(
        test_call("{\"amount\":\"1\",\"reason\":\"x\"}"), "key-1"),
        SAME_SCOPE);
    assert_int_equal(test_compare(test_call("{}"), "key-1"), SAME_SCOPE);
    assert_int_equal(test_compare(test_call(NULL), "key-1"), SAME_SCOPE);

    assert_int_equal(test_compare(test_call(BODY), "key-2"), SAME_PRINT);

    b = test_call(BODY);
    b->who.user.b[15] ^= 1;
    assert_int_equal(test_compare(b, "key-1"), 0);

    b = test_call(BODY);
    b->who.known = 0;
    assert_int_equal(test_compare(b, "key-1"), 0);

    b = test_call(BODY);
    b->method = test_str("PUT");
    assert_int_equal(test_compare(b, "key-1"), 0);

    b = test_call(BODY);
    b->route = test_str("/api/payments/{id}/refund/initiate");
    assert_int_equal(test_compare(b, "key-1"), SAME_PRINT);

    b = test_call(BODY);
    b->path = test_str("/api/payments/2/cancel");
    assert_int_equal(test_compare(b, "key-1"), SAME_SCOPE);

    /* no two sets of parts run together */

    b = test_call(BODY);
    b->route = test_str("/api/payments/{id}/cancelk");
    assert_int_equal(test_compare(b, "ey-1"), SAME_PRINT);

#undef BODY
}


/* A background job, and the body as deep as it may be. */

static void
test_idem_edges(void **state)
{
    opay_idem_t   zero;
    opay_call_t  *call;

    (void) state;

    memset(&zero, 0, sizeof(zero));

    call = test_call(NULL);
    call->method.len = 0;
    call->method.data = NULL;
    call->route = call->path = call->method;
    call->who.known = 0;

    assert_int_equal(opay_idem_prepare(call, test_str("\"")), OPAY_ERROR);
    assert_memory_equal(&call->idem, &zero, sizeof(zero));

    assert_int_equal(opay_idem_prepare(call, test_str("k")), OPAY_OK);
    assert_int_equal(call->idem.present, 1);
    assert_int_equal(call->idem.resuming, 0);
    assert_int_equal(call->idem.open, 0);

    opay_arena_destroy(call->arena);
}


static void *
test_idem_no_malloc(size_t n)
{
    (void) n;

    return NULL;
}


static void
test_idem_no_memory(void **state)
{
    int           n;
    opay_idem_t   zero;
    opay_call_t  *call;

    (void) state;

    memset(&zero, 0, sizeof(zero));

    for (n = 0; n < 2; n++) {
        call = test_call("{\"a\":1}");
        test_malloc_left = n;
        assert_int_equal(opay_idem_prepare(call, test_str("k")), OPAY_ERROR);
        assert_memory_equal(&call->idem, &zero, sizeof(zero));
        test_malloc_left = -1;
        opay_arena_destroy(call->arena);
    }

    call = test_call("{\"a\":1}");
    json_set_alloc_funcs(test_idem_no_malloc, free);
    assert_int_equal(opay_idem_prepare(call, test_str("k")), OPAY_ERROR);
    json_set_alloc_funcs(malloc, free);
    assert_memory_equal(&call->idem, &zero, sizeof(zero));
    opay_arena_destroy(call->arena);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_idem_keys),
        cmocka_unit_test(test_idem_identity),
        cmocka_unit_test(test_idem_edges),
        cmocka_unit_test(test_idem_no_memory)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
