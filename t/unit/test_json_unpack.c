
/* Tables of members: each type, each fault, and where it points. */

#include "test_arena.h"
#include "../../lib/opay_json_unpack.c"


typedef struct {
    opay_str_t   name;
    opay_str_t   note;
    opay_str_t   secret;
    int64_t      quantity;
    unsigned     has_quantity;
    int64_t      free_int;
    int          active;
    unsigned     has_active;
    opay_uuid_t  id;
    unsigned     has_id;
    int64_t      from;
    int          method;
    json_t      *address;
    json_t      *items;
} test_cmd_t;


static const char * const  test_methods[] = {
    "CREDIT_CARD", "DEBIT_CARD", "PAYPAL", NULL
};


static const opay_json_field_t  test_fields[] = {
    { .name = "name", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = 5, .offset = offsetof(test_cmd_t, name) },
    { .name = "note", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_MULTILINE,
      .offset = offsetof(test_cmd_t, note) },
    { .name = "secret", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_DIGITS, .min = 3,
      .offset = offsetof(test_cmd_t, secret) },
    { .name = "quantity", .type = OPAY_JSON_INT, .min = 1, .max = 9999,
      .flags = OPAY_JSON_NULLABLE,
      .offset = offsetof(test_cmd_t, quantity),
      .present = OPAY_JSON_PRESENT(test_cmd_t, has_quantity) },
    { .name = "freeInt", .type = OPAY_JSON_INT, .min = INT64_MIN,
      .offset = offsetof(test_cmd_t, free_int) },
    { .name = "active", .type = OPAY_JSON_BOOL,
      .offset = offsetof(test_cmd_t, active),
      .present = OPAY_JSON_PRESENT(test_cmd_t, has_active) },
    { .name = "id", .type = OPAY_JSON_UUID,
      .offset = offsetof(test_cmd_t, id),
      .present = OPAY_JSON_PRESENT(test_cmd_t, has_id) },
    { .name = "from", .type = OPAY_JSON_TIME,
      .offset = offsetof(test_cmd_t, from) },
    { .name = "method", .type = OPAY_JSON_ENUM, .names = test_methods,
      .offset = offsetof(test_cmd_t, method) },
    { .name = "address", .type = OPAY_JSON_OBJECT,
      .offset = offsetof(test_cmd_t, address) },
    { .name = "items", .type = OPAY_JSON_ARRAY, .min = 1, .max = 3,
      .offset = offsetof(test_cmd_t, items) },
    { .name = NULL }
};


static opay_call_t  *test_call;
static test_cmd_t    test_cmd;


static int
test_setup(void **state)
{
    opay_arena_t  *a;

    (void) state;

    a = test_arena();
    test_call = opay_arena_zalloc(a, sizeof(opay_call_t));
    test_call->arena = a;

    /* nothing of what was there before may stay */
    memset(&test_cmd, 0xa5, sizeof(test_cmd));

    return 0;
}


static int
test_teardown(void **state)
{
    (void) state;

    opay_arena_destroy(test_call->arena);

    return 0;
}


static int
test_unpack(const char *text, const char *prefix)
{
    json_t      *v;
    const char  *error;

    opay_call_reset(test_call);

    v = opay_json_decode(test_call->arena, test_str(text), &error);
    if (v == NULL) {
        fail_msg("%s: %s", text, error);
    }

    return opay_json_unpack(test_call, v, prefix, test_fields, &test_cmd);
}


static void
test_unpack_all(void **state)
{
    (void) state;

    assert_int_equal(test_unpack(
        "{\"name\":\"\xea\xb9\x80\xec\xb2\xa0\xec\x88\x98 A\","
        "\"note\":\"a\\tb\\r\\nc\",\"secret\":\"4111111111111111\","
        "\"quantity\":9999,\"freeInt\":-9223372036854775808,"
        "\"active\":true,\"id\":\"0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f7\","
        "\"from\":\"1970-01-01T00:00:01Z\",\"method\":\"DEBIT_CARD\","
        "\"address\":{\"x\":1},\"items\":[1,2,3]}", ""), OPAY_OK);

    assert_int_equal(test_call->status, 0);
    assert_str_is(test_cmd.name, "\xea\xb9\x80\xec\xb2\xa0\xec\x88\x98 A");
    assert_str_is(test_cmd.note, "a\tb\r\nc");
    assert_str_is(test_cmd.secret, "4111111111111111");
    assert_int_equal(test_cmd.quantity, 9999);
    assert_int_equal(test_cmd.has_quantity, 1);
    assert_true(test_cmd.free_int == INT64_MIN);
    assert_int_equal(test_cmd.active, 1);
    assert_int_equal(test_cmd.has_active, 1);
    assert_int_equal(test_cmd.id.b[1], 0x90);
    assert_int_equal(test_cmd.has_id, 1);
    assert_int_equal(test_cmd.from, 1000);
    assert_int_equal(test_cmd.method, 1);
    assert_int_equal(json_object_size(test_cmd.address), 1);
    assert_int_equal(json_array_size(test_cmd.items), 3);
}


static void
test_unpack_absent(void **state)
{
    opay_uuid_t  zero;

    (void) state;

    memset(&zero, 0, sizeof(zero));

    assert_int_equal(test_unpack("{\"name\":\"A\",\"note\":null,"
                                 "\"quantity\":null}", ""), OPAY_OK);

    assert_null(test_cmd.note.data);
    assert_null(test_cmd.secret.data);
    assert_int_equal(test_cmd.quantity, 0);
    assert_int_equal(test_cmd.has_quantity, 0);
    assert_int_equal(test_cmd.free_int, 0);
    assert_int_equal(test_cmd.active, 0);
    assert_int_equal(test_cmd.has_active, 0);
    assert_true(opay_uuid_eq(&test_cmd.id, &zero));
    assert_int_equal(test_cmd.has_id, 0);
    assert_int_equal(test_cmd.from, 0);
    assert_int_equal(test_cmd.method, -1);
    assert_null(test_cmd.address);
    assert_null(test_cmd.items);

    /* an empty string is there */

    assert_int_equal(test_unpack("{\"name\":\"A\",\"note\":\"\"}", ""),
                     OPAY_OK);
    assert_non_null(test_cmd.note.data);
    assert_int_equal(test_cmd.note.len, 0);

    assert_int_equal(test_unpack("{\"name\":\"A\",\"active\":false,"
                                 "\"freeInt\":-5}", ""),
                     OPAY_OK);
    assert_int_equal(test_cmd.active, 0);
    assert_int_equal(test_cmd.has_active, 1);
    assert_int_equal(test_cmd.free_int, -5);
}


/* One fault each: the member, its pointer and code, a word of the detail. */

static const struct {
    const char  *member;
    const char  *pointer;
    const char  *code;
    const char  *detail;
} test_faults[] = {
    { "\"note\":1", "/note", "type", "string" },
    { "\"note\":{}", "/note", "type", "string" },
    { "\"secret\":null", "/secret", "null", "string" },
    { "\"secret\":\"ab\"", "/secret", "length", "at least 3 characters" },
    { "\"note\":\"a\\u0000\"", NULL, NULL, NULL },
    { "\"note\":\"\\u0001\"", "/note", "control", "control" },
    { "\"note\":\"\\u001f\"", "/note", "control", "control" },
    { "\"note\":\"\\u007f\"", "/note", "control", "control" },
    { "\"note\":\"\\u0080\"", "/note", "control", "control" },
    { "\"note\":\"\\u009f\"", "/note", "control", "control" },
    { "\"secret\":\"abc\\n\"", "/secret", "control", "control" },
    { "\"secret\":\"abc\\t\"", "/secret", "control", "control" },
    { "\"note\":\"4111 1111 1111 1111\"", "/note", "card_number", "card" },
    { "\"quantity\":0", "/quantity", "range", "from 1 to 9999" },
    { "\"quantity\":10000", "/quantity", "range", "from 1 to 9999" },
    { "\"quantity\":-1", "/quantity", "range", "from 1 to 9999" },
    { "\"quantity\":9223372036854775807", "/quantity", "range", "" },
    { "\"quantity\":1.0", "/quantity", "type", "integer" },
    { "\"quantity\":1e3", "/quantity", "type", "integer" },
    { "\"quantity\":1.5", "/quantity", "type", "integer" },
    { "\"quantity\":\"1\"", "/quantity", "type", "integer" },
    { "\"quantity\":true", "/quantity", "type", "integer" },
    { "\"quantity\":[1]", "/quantity", "type", "integer" },
    { "\"active\":1", "/active", "type", "true or false" },
    { "\"active\":\"true\"", "/active", "type", "true or false" },
    { "\"active\":null", "/active", "null", "true or false" },
    { "\"id\":\"x\"", "/id", "format", "UUID" },
    { "\"id\":7", "/id", "type", "UUID" },
    { "\"from\":\"today\"", "/from", "format", "RFC 3339" },
    { "\"from\":0", "/from", "type", "RFC 3339" },
    { "\"method\":\"CASH\"", "/method", "enum",
      "must be one of CREDIT_CARD, DEBIT_CARD, PAYPAL" },
    { "\"method\":\"paypal\"", "/method", "enum", "PAYPAL" },
    { "\"method\":2", "/method", "type", "string" },
    { "\"address\":[]", "/address", "type", "object" },
    { "\"address\":\"x\"", "/address", "type", "object" },
    { "\"items\":{}", "/items", "type", "array" },
    { "\"items\":[]", "/items", "length", "from 1 to 3 elements" },
    { "\"items\":[1,2,3,4]", "/items", "length", "from 1 to 3 elements" },
    { "\"price\":1", "/price", "unknown", "not known" },
    { "\"Name\":\"x\"", "/Name", "unknown", "not known" },
    { "\"\":1", "/", "unknown", "not known" },
    { "\"a/b~c\":1", "/a~1b~0c", "unknown", "not known" },
    { "\"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\""
      ":1", "/~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0"
      "~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0~0",
      "unknown", "not known" },
    { "\"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\""
      ":1", "", "unknown", "a member that is not known" }
};


static void
test_unpack_faults(void **state)
{
    char                 text[512], pointer[256];
    size_t               i;
    opay_field_error_t  *e;

    (void) state;

    for (i = 0; i < sizeof(test_faults) / sizeof(test_faults[0]); i++) {

        if (test_faults[i].code == NULL) {
            continue;
        }

        (void) snprintf(text, sizeof(text), "{\"name\":\"A\",%s}",
                        test_faults[i].member);
        (void) snprintf(pointer, sizeof(pointer), "/items/3%s",
                        test_faults[i].pointer);

        if (test_unpack(text, "/items/3") != OPAY_ERROR) {
            fail_msg("accepted %s", text);
        }

        e = &test_call->errors[0];

        assert_int_equal(test_call->status, 400);
        assert_int_equal(test_call->code, OPAY_E_VALIDATION_FAILED);
        assert_int_equal(test_call->nerrors, 1);
        assert_string_equal(e->pointer, pointer);
        assert_string_equal(e->code, test_faults[i].code);

        if (strstr(e->detail, test_faults[i].detail) == NULL) {
            fail_msg("%s: \"%s\"", text, e->detail);
        }
    }
}


/* What is at the limit is inside it; code points count, not bytes. */

static void
test_unpack_limits(void **state)
{
    size_t  i;

    static const char  *good[] = {
        "{\"name\":\"A\"}", "{\"name\":\"ABCDE\"}",
        "{\"name\":\"\xea\xb9\x80\xea\xb9\x80\xea\xb9\x80\xea\xb9\x80"
        "\xea\xb9\x80\"}",
        "{\"name\":\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
        "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\"}",
        "{\"name\":\"\xc2\xa0\xc2\xa9\"}", "{\"name\":\"\xc3\x80\"}",
        "{\"name\":\"A\",\"quantity\":1}", "{\"name\":\"A\",\"items\":[0]}",
        "{\"name\":\"A\",\"freeInt\":9223372036854775807}"
    };
    static const char  *bad[] = {
        "{\"name\":\"\"}", "{\"name\":\"ABCDEF\"}", "{\"name\":null}", "{}",
        "{\"name\":\"\xea\xb9\x80\xea\xb9\x80\xea\xb9\x80\xea\xb9\x80"
        "\xea\xb9\x80\xea\xb9\x80\"}"
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (test_unpack(good[i], "") != OPAY_OK) {
            fail_msg("refused %s", good[i]);
        }
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (test_unpack(bad[i], "") != OPAY_ERROR) {
            fail_msg("accepted %s", bad[i]);
        }
    }
}


static void
test_unpack_not_negative(void **state)
{
    json_t      *v;
    int64_t      n;
    const char  *error;

    static const opay_json_field_t  fields[] = {
        { .name = "n", .type = OPAY_JSON_INT, .offset = 0 },
        { .name = NULL }
    };

    (void) state;

    v = opay_json_decode(test_call->arena, test_str("{\"n\":-1}"), &error);
    assert_int_equal(opay_json_unpack(test_call, v, "", fields, &n),
                     OPAY_ERROR);
    assert_string_equal(test_call->errors[0].detail, "must be at least 0");

    v = opay_json_decode(test_call->arena,
                         test_str("{\"n\":9223372036854775807}"), &error);
    assert_int_equal(opay_json_unpack(test_call, v, "", fields, &n),
                     OPAY_OK);
    assert_true(n == INT64_MAX);
}


/* One answer names them all, up to what fits. */

static void
test_unpack_collects(void **state)
{
    char     text[2048], *p;
    int      i;
    json_t  *nothing;

    (void) state;

    assert_int_equal(test_unpack("{\"quantity\":0,\"active\":3,\"x\":1,"
                                 "\"method\":\"\"}", ""), OPAY_ERROR);
    assert_int_equal(test_call->nerrors, 5);
    assert_string_equal(test_call->errors[0].code, "required");
    assert_string_equal(test_call->errors[0].pointer, "/name");

    p = text + sprintf(text, "{\"name\":\"A\"");

    for (i = 0; i < 40; i++) {
        p += sprintf(p, ",\"x%d\":1", i);
    }

    (void) sprintf(p, "}");

    assert_int_equal(test_unpack(text, ""), OPAY_ERROR);
    assert_int_equal(test_call->nerrors, OPAY_CALL_ERRORS);

    /* elements of an array may be anything */

    nothing = json_integer(1);
    opay_call_reset(test_call);
    assert_int_equal(opay_json_unpack(test_call, nothing, "/items/0",
                                      test_fields, &test_cmd), OPAY_ERROR);
    assert_string_equal(test_call->errors[0].pointer, "/items/0");
    assert_string_equal(test_call->errors[0].code, "type");
    assert_int_equal(test_cmd.method, -1);
    json_decref(nothing);

    assert_int_equal(opay_json_unpack(test_call, NULL, "", test_fields,
                                      &test_cmd), OPAY_ERROR);
}


static void
test_unpack_no_memory(void **state)
{
    json_t      *v;
    const char  *error;

    (void) state;

    assert_string_equal(opay_json_pointer(test_call->arena, "/items", 3),
                        "/items/3");

    v = opay_json_decode(test_call->arena, test_str("{\"x\":1}"), &error);

    test_malloc_left = 0;

    assert_string_equal(opay_json_pointer(test_call->arena, "/items", 3), "");
    assert_int_equal(opay_json_unpack(test_call, v, "", test_fields,
                                      &test_cmd), OPAY_ERROR);
    test_malloc_left = -1;

    assert_int_equal(test_call->nerrors, 2);
    assert_string_equal(test_call->errors[0].pointer, "");
    assert_string_equal(test_call->errors[0].code, "required");
    assert_string_equal(test_call->errors[0].detail, "");
}


/* More names than the detail holds: cut, not overrun. */

static void
test_unpack_long_enum(void **state)
{
    int          out;
    json_t      *v;
    const char  *error;

    static const char * const  names[] = {
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
        "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
        "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD",
        "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE",
        NULL
    };
    static const opay_json_field_t  fields[] = {
        { .name = "n", .type = OPAY_JSON_ENUM, .names = names },
        { .name = NULL }
    };

    (void) state;

    v = opay_json_decode(test_call->arena, test_str("{\"n\":\"Z\"}"), &error);
    assert_int_equal(opay_json_unpack(test_call, v, "", fields, &out),
                     OPAY_ERROR);
    assert_int_equal(strlen(test_call->errors[0].detail), 255);
}


#define TEST(f)  cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(test_unpack_all),
        TEST(test_unpack_absent),
        TEST(test_unpack_faults),
        TEST(test_unpack_limits),
        TEST(test_unpack_not_negative),
        TEST(test_unpack_collects),
        TEST(test_unpack_no_memory),
        TEST(test_unpack_long_enum)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
