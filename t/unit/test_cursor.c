
/* Cursors that only their own list takes back, and the paging arguments. */

#include "test_arena.h"


/* OpenSSL failing on demand */

static int  test_hash_fails;

#define opay_sha256(p, n, out)                                               \
    (test_hash_fails ? OPAY_ERROR : opay_sha256(p, n, out))
#include "../../lib/opay_cursor.c"
#undef opay_sha256


static const opay_str_t  test_key = opay_str("0123456789abcdef0123456789abcde");
static const opay_str_t  test_scope = opay_str("orders|user-1|");


static opay_uuid_t
test_id(void)
{
    int          i;
    opay_uuid_t  u;

    for (i = 0; i < 16; i++) {
        u.b[i] = (uint8_t) (i * 17);
    }

    return u;
}


static void
test_cursor_round_trip(void **state)
{
    char         text[OPAY_CURSOR_TEXT + 1];
    size_t       i;
    int64_t      t;
    opay_uuid_t  id, back;

    static const int64_t  times[] = {
        0, 1, -1, INT64_C(1795339800123), INT64_MAX, INT64_MIN
    };

    (void) state;

    id = test_id();

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_int_equal(opay_cursor_encode(test_key, test_scope, times[i],
                                            &id, text), OPAY_OK);
        assert_int_equal(strlen(text), OPAY_CURSOR_TEXT);
        assert_int_equal(opay_cursor_decode(test_key, test_scope,
                                            test_str(text), &t, &back),
                         OPAY_OK);
        assert_true(t == times[i]);
        assert_true(opay_uuid_eq(&id, &back));
    }
}


static void
test_cursor_refused(void **state)
{
    char         text[OPAY_CURSOR_TEXT + 1], bent[80];
    size_t       i;
    int64_t      t;
    opay_str_t   key, s;
    opay_uuid_t  id;

    (void) state;

    id = test_id();
    assert_int_equal(opay_cursor_encode(test_key, test_scope, 5, &id, text),
                     OPAY_OK);

    /* another user, another list, another key */

    assert_int_equal(opay_cursor_decode(test_key, test_str("orders|user-2|"),
                                        test_str(text), &t, &id), OPAY_ERROR);
    assert_int_equal(opay_cursor_decode(test_key, test_str(""),
                                        test_str(text), &t, &id), OPAY_ERROR);
    key = test_key;
    key.len--;
    assert_int_equal(opay_cursor_decode(key, test_scope, test_str(text), &t,
                                        &id), OPAY_ERROR);

    /* any character changed, any length but its own */

    for (i = 0; i < OPAY_CURSOR_TEXT; i++) {
        memcpy(bent, text, sizeof(text));
        bent[i] = bent[i] == 'A' ? 'B' : 'A';
        assert_int_equal(opay_cursor_decode(test_key, test_scope,
                                            test_str(bent), &t, &id),
                         OPAY_ERROR);

        s.data = text;
        s.len = i;
        assert_int_equal(opay_cursor_decode(test_key, test_scope, s, &t, &id),
                         OPAY_ERROR);
    }

    (void) snprintf(bent, sizeof(bent), "%s=", text);
    assert_int_equal(opay_cursor_decode(test_key, test_scope, test_str(bent),
                                        &t, &id), OPAY_ERROR);
    (void) snprintf(bent, sizeof(bent), "%sA", text);
    assert_int_equal(opay_cursor_decode(test_key, test_scope, test_str(bent),
                                        &t, &id), OPAY_ERROR);

    memset(bent, '!', OPAY_CURSOR_TEXT);
    bent[OPAY_CURSOR_TEXT] = '\0';
    assert_int_equal(opay_cursor_decode(test_key, test_scope, test_str(bent),
                                        &t, &id), OPAY_ERROR);

    test_hash_fails = 1;
    assert_int_equal(opay_cursor_encode(test_key, test_scope, 5, &id, bent),
                     OPAY_ERROR);
    assert_string_equal(bent, "");
    assert_int_equal(opay_cursor_decode(test_key, test_scope, test_str(text),
                                        &t, &id), OPAY_ERROR);
    test_hash_fails = 0;
}


static opay_call_t *
test_call(const char *query)
{
    opay_call_t   *call;
    opay_arena_t  *a;

    a = test_arena();
    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->query = test_str(query);

    return call;
}


static void
test_page_good(void **state)
{
    size_t        i;
    opay_page_t   page;
    opay_call_t  *call;

    static const struct {
        const char  *query;
        int64_t      limit;
        int64_t      offset;
    } good[] = {
        { "", 20, 0 }, { "limit=1", 1, 0 }, { "limit=100", 100, 0 },
        { "size=7", 7, 0 }, { "page=0&size=10", 10, 0 },
        { "page=3&size=10", 10, 30 }, { "page=3&limit=10", 10, 30 },
        { "page=2", 20, 40 }, { "page=500", 20, 10000 },
        { "page=10000&size=1", 1, 10000 }, { "sort=createdAt,desc", 20, 0 },
        { "sort=createdAt%2CDESC&x=1", 20, 0 }, { "limit=007", 7, 0 },
        { "limit=5&limit=1000", 5, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {

        call = test_call(good[i].query);

        if (opay_page_parse(call, test_key, test_scope, &page) != OPAY_OK) {
            fail_msg("refused %s", good[i].query);
        }

        assert_int_equal(call->status, 0);
        assert_int_equal(page.limit, good[i].limit);
        assert_int_equal(page.offset, good[i].offset);
        assert_int_equal(page.has_after, 0);

        opay_arena_destroy(call->arena);
    }
}


static void
test_page_bad(void **state)
{
    size_t        i;
    opay_page_t   page;
    opay_call_t  *call;

    static const struct {
        const char  *query;
        const char  *pointer;
        const char  *code;
    } bad[] = {
        { "limit=0", "/limit", "range" }, { "limit=101", "/limit", "range" },
        { "limit=-1", "/limit", "range" }, { "limit=", "/limit", "range" },
        { "limit", "/limit", "range" }, { "limit=1.0", "/limit", "range" },
        { "limit=1e1", "/limit", "range" }, { "limit=+5", "/limit", "range" },
        { "limit=%205", "/limit", "range" }, { "limit=5a", "/limit", "range" },
        { "limit=4294967297", "/limit", "range" },
        { "limit=18446744073709551617", "/limit", "range" },
        { "limit=0000000005", "/limit", "range" },
        { "limit=%00", "/limit", "format" }, { "limit=%", "/limit", "format" },
        { "size=0", "/size", "range" }, { "size=1000", "/size", "range" },
        { "page=-1", "/page", "range" }, { "page=10001", "/page", "range" },
        { "page=501", "/page", "range" },
        { "page=101&size=100", "/page", "range" },
        { "limit=5&size=5", "/size", "conflict" },
        { "after=", "/after", "cursor" }, { "after=x", "/after", "cursor" },
        { "after=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
          "/after", "cursor" },
        { "sort=createdAt,asc", "/sort", "enum" },
        { "sort=createdAt", "/sort", "enum" }, { "sort=", "/sort", "enum" },
        { "sort=totalAmount,desc", "/sort", "enum" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {

        call = test_call(bad[i].query);

        if (opay_page_parse(call, test_key, test_scope, &page)
            != OPAY_ERROR)
        {
            fail_msg("accepted %s", bad[i].query);
        }

        assert_int_equal(call->status, 400);
        assert_int_equal(call->nerrors, 1);
        assert_string_equal(call->errors[0].pointer, bad[i].pointer);
        assert_string_equal(call->errors[0].code, bad[i].code);

        opay_arena_destroy(call->arena);
    }
}


static void
test_page_after(void **state)
{
    char          query[128], text[OPAY_CURSOR_TEXT + 1];
    opay_uuid_t   id;
    opay_page_t   page;
    opay_call_t  *call;

    (void) state;

    id = test_id();
    assert_int_equal(opay_cursor_encode(test_key, test_scope, 77, &id, text),
                     OPAY_OK);

    (void) snprintf(query, sizeof(query), "limit=2&after=%s", text);
    call = test_call(query);
    assert_int_equal(opay_page_parse(call, test_key, test_scope, &page),
                     OPAY_OK);
    assert_int_equal(page.has_after, 1);
    assert_int_equal(page.after_time, 77);
    assert_true(opay_uuid_eq(&page.after_id, &id));
    assert_int_equal(page.limit, 2);
    opay_arena_destroy(call->arena);

    call = test_call(query);
    assert_int_equal(opay_page_parse(call, test_key, test_str("users"),
                                     &page), OPAY_ERROR);
    opay_arena_destroy(call->arena);

    (void) snprintf(query, sizeof(query), "page=1&after=%s", text);
    call = test_call(query);
    assert_int_equal(opay_page_parse(call, test_key, test_scope, &page),
                     OPAY_ERROR);
    assert_string_equal(call->errors[0].code, "conflict");
    opay_arena_destroy(call->arena);

    call = test_call("limit=0");
    test_malloc_left = 1;
    assert_int_equal(opay_page_parse(call, test_key, test_scope, &page),
                     OPAY_ERROR);
    test_malloc_left = -1;
    assert_string_equal(call->errors[0].pointer, "");
    opay_arena_destroy(call->arena);
}


/* What a list writes is what the next request brings. */

static void
test_page_end(void **state)
{
    json_t        *v;
    int64_t        t;
    opay_jw_t      w;
    opay_uuid_t    id, back;
    opay_arena_t  *a;

    (void) state;

    id = test_id();
    a = test_arena();

    opay_jw_init(&w, a, 0);
    opay_jw_obj(&w);
    opay_page_end(&w, test_key, test_scope, 0, 0, NULL);
    opay_jw_obj_end(&w);
    assert_str_is(opay_jw_result(&w), "{\"hasMore\":false,\"next\":null}");

    opay_jw_init(&w, a, 0);
    opay_jw_obj(&w);
    opay_page_end(&w, test_key, test_scope, 1, 99, &id);
    opay_jw_obj_end(&w);

    v = json_loads(opay_jw_result(&w).data, 0, NULL);
    assert_true(json_is_true(json_object_get(v, "hasMore")));
    assert_int_equal(opay_cursor_decode(test_key, test_scope,
        test_str(json_string_value(json_object_get(v, "next"))), &t, &back),
        OPAY_OK);
    assert_int_equal(t, 99);
    assert_true(opay_uuid_eq(&id, &back));
    json_decref(v);

    opay_jw_init(&w, a, 0);
    test_hash_fails = 1;
    opay_page_end(&w, test_key, test_scope, 1, 99, &id);
    test_hash_fails = 0;
    assert_null(opay_jw_result(&w).data);

    opay_arena_destroy(a);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_cursor_round_trip),
        cmocka_unit_test(test_cursor_refused),
        cmocka_unit_test(test_page_good),
        cmocka_unit_test(test_page_bad),
        cmocka_unit_test(test_page_after),
        cmocka_unit_test(test_page_end)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
