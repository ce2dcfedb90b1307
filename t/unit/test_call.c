
/* The outcome of a call, and the problem codes of the contract. */

#include "test_arena.h"
#include "../../lib/opay_call.c"
#include "../../lib/opay_problem.c"
#include "../../lib/opay_json.h"


static opay_call_t *
test_call(void)
{
    opay_call_t   *call;
    opay_arena_t  *a;

    a = test_arena();
    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;

    return call;
}


/* The contract's list, in its order, and bad_request. */

static const struct {
    opay_code_e  code;
    const char  *name;
    int          status;
} test_codes[] = {
    { OPAY_E_VALIDATION_FAILED, "validation_failed", 400 },
    { OPAY_E_MALFORMED_JSON, "malformed_json", 400 },
    { OPAY_E_IDEMPOTENCY_KEY_MISSING, "idempotency_key_missing", 400 },
    { OPAY_E_BAD_REQUEST, "bad_request", 400 },
    { OPAY_E_UNAUTHENTICATED, "unauthenticated", 401 },
    { OPAY_E_INVALID_CREDENTIALS, "invalid_credentials", 401 },
    { OPAY_E_INVALID_TOKEN, "invalid_token", 401 },
    { OPAY_E_REFRESH_TOKEN_INVALID, "refresh_token_invalid", 401 },
    { OPAY_E_PAYMENT_DECLINED, "payment_declined", 402 },
    { OPAY_E_FORBIDDEN, "forbidden", 403 },
    { OPAY_E_NOT_FOUND, "not_found", 404 },
    { OPAY_E_METHOD_NOT_ALLOWED, "method_not_allowed", 405 },
    { OPAY_E_EMAIL_TAKEN, "email_taken", 409 },
    { OPAY_E_ORDER_NOT_EDITABLE, "order_not_editable", 409 },
    { OPAY_E_ORDER_NOT_CANCELLABLE, "order_not_cancellable", 409 },
    { OPAY_E_ORDER_NOT_PAYABLE, "order_not_payable", 409 },
    { OPAY_E_PAYMENT_IN_PROGRESS, "payment_in_progress", 409 },
    { OPAY_E_ILLEGAL_TRANSITION, "illegal_transition", 409 },
    { OPAY_E_IDEMPOTENCY_IN_PROGRESS, "idempotency_in_progress", 409 },
    { OPAY_E_ORDER_NOT_YET_KNOWN, "order_not_yet_known", 409 },
    { OPAY_E_PAYLOAD_TOO_LARGE, "payload_too_large", 413 },
    { OPAY_E_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415 },
    { OPAY_E_VERSION_MISMATCH, "version_mismatch", 412 },
    { OPAY_E_IDEMPOTENCY_KEY_REUSED, "idempotency_key_reused", 422 },
    { OPAY_E_PRECONDITION_REQUIRED, "precondition_required", 428 },
    { OPAY_E_RATE_LIMITED, "rate_limited", 429 },
    { OPAY_E_INTERNAL_ERROR, "internal_error", 500 },
    { OPAY_E_UPSTREAM_UNAVAILABLE, "upstream_unavailable", 502 },
    { OPAY_E_OVERLOADED, "overloaded", 503 },
    { OPAY_E_UNAVAILABLE, "unavailable", 503 },
    { OPAY_E_UPSTREAM_TIMEOUT, "upstream_timeout", 504 }
};


static void
test_call_codes(void **state)
{
    size_t                   i, n;
    const opay_code_info_t  *info;

    (void) state;

    n = sizeof(test_codes) / sizeof(test_codes[0]);
    assert_int_equal(n, OPAY_E_MAX - 1);

    for (i = 0; i < n; i++) {
        info = opay_code_info(test_codes[i].code);
        assert_string_equal(info->code, test_codes[i].name);
        assert_int_equal(info->status, test_codes[i].status);
        assert_true(strlen(info->title) > 5);
    }

    assert_int_equal(opay_code_info(OPAY_E_MAX)->status, 500);
    assert_int_equal(opay_code_info((opay_code_e) -1)->status, 500);
    assert_int_equal(opay_code_info(OPAY_E_NONE)->status, 500);
}


static void
test_call_statuses(void **state)
{
    int     s;
    size_t  i;

    static const struct {
        int          status;
        opay_code_e  code;
    } own[] = {
        { 401, OPAY_E_UNAUTHENTICATED }, { 402, OPAY_E_PAYMENT_DECLINED },
        { 403, OPAY_E_FORBIDDEN }, { 404, OPAY_E_NOT_FOUND },
        { 405, OPAY_E_METHOD_NOT_ALLOWED }, { 410, OPAY_E_NOT_FOUND },
        { 412, OPAY_E_VERSION_MISMATCH }, { 413, OPAY_E_PAYLOAD_TOO_LARGE },
        { 415, OPAY_E_UNSUPPORTED_MEDIA_TYPE },
        { 428, OPAY_E_PRECONDITION_REQUIRED }, { 429, OPAY_E_RATE_LIMITED },
        { 500, OPAY_E_INTERNAL_ERROR }, { 501, OPAY_E_BAD_REQUEST },
        { 502, OPAY_E_UPSTREAM_UNAVAILABLE }, { 503, OPAY_E_UNAVAILABLE },
        { 504, OPAY_E_UPSTREAM_TIMEOUT }, { 505, OPAY_E_BAD_REQUEST }
    };
    static const int  plain[] = {
        400, 406, 408, 411, 414, 416, 417, 421, 422, 426, 431, 494, 495,
        496, 497, 499
    };

    (void) state;

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        assert_int_equal(opay_code_of_status(own[i].status), own[i].code);
    }

    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        assert_int_equal(opay_code_of_status(plain[i]), OPAY_E_BAD_REQUEST);
    }

    /* no error status is without a code, no other has one */

    for (s = -1; s < 600; s++) {
        assert_int_equal(opay_code_of_status(s) != OPAY_E_NONE, s >= 400);
    }

    assert_int_equal(opay_code_of_status(507), OPAY_E_INTERNAL_ERROR);
    assert_int_equal(opay_code_of_status(599), OPAY_E_INTERNAL_ERROR);
}


static void
test_call_outcomes(void **state)
{
    opay_call_t  *call;

    (void) state;

    call = test_call();

    opay_call_invalid(call, "/a", "type", "must be a string");
    opay_call_reply(call, 201, test_str("{}"));
    assert_int_equal(call->status, 201);
    assert_int_equal(call->code, OPAY_E_NONE);
    assert_int_equal(call->nerrors, 0);
    assert_str_is(call->reply, "{}");

    /* a failure takes the reply back */

    opay_call_fail(call, OPAY_E_VERSION_MISMATCH, "gone");
    assert_int_equal(call->status, 412);
    assert_int_equal(call->code, OPAY_E_VERSION_MISMATCH);
    assert_null(call->reply.data);
    assert_string_equal(call->detail, "gone");

    opay_call_etag(call, 17);
    assert_str_is(call->etag, "\"17\"");

    call->location = test_str("/x");
    call->content_type = test_str("text/plain");
    call->problem_extra = test_str("\"a\":1");
    call->retry_after = 3;
    call->replayed = call->no_store = call->wrote = 1;
    call->method = test_str("POST");

    opay_call_reset(call);
    assert_int_equal(call->status, 0);
    assert_int_equal(call->code, OPAY_E_NONE);
    assert_null(call->detail);
    assert_null(call->etag.data);
    assert_null(call->location.data);
    assert_null(call->content_type.data);
    assert_null(call->problem_extra.data);
    assert_int_equal(call->retry_after, 0);
    assert_int_equal(call->replayed + call->no_store + call->wrote, 0);
    assert_str_is(call->method, "POST");

    opay_arena_destroy(call->arena);
}


static void
test_call_invalid(void **state)
{
    int           i;
    char          pointer[16];
    opay_call_t  *call;

    (void) state;

    call = test_call();

    for (i = 0; i < OPAY_CALL_ERRORS + 5; i++) {
        (void) snprintf(pointer, sizeof(pointer), "/x/%d", i);
        opay_call_invalid(call, pointer, "type", "d");
    }

    assert_int_equal(call->status, 400);
    assert_int_equal(call->nerrors, OPAY_CALL_ERRORS);
    assert_string_equal(call->errors[0].pointer, "/x/0");
    assert_string_equal(call->errors[15].pointer, "/x/15");

    opay_arena_destroy(call->arena);
}


static void
test_call_problem(void **state)
{
    opay_call_t  *call;

    (void) state;

    call = test_call();

    call->path = test_str("/api/orders/\"x\"\xff");
    memcpy(call->traceparent,
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 56);
    opay_call_invalid(call, "/items/0/quantity", "range", "must be \"1\"");
    opay_call_invalid(call, "/a~1b", "unknown", "is not known here");
    call->problem_extra = test_str("\"paymentId\":\"p\",\"n\":1");

    assert_int_equal(opay_call_render_problem(call), OPAY_OK);
    assert_str_is(call->content_type, "application/problem+json");
    assert_str_is(call->reply,
        "{\"type\":\"urn:opay:problem:validation_failed\","
        "\"title\":\"The request is not valid\",\"status\":400,"
        "\"detail\":\"The request is not valid; errors says what to "
        "change.\",\"instance\":\"/api/orders/\\\"x\\\"\xef\xbf\xbd\","
        "\"code\":\"validation_failed\","
        "\"traceId\":\"0af7651916cd43dd8448eb211c80319c\","
        "\"errors\":[{\"pointer\":\"/items/0/quantity\",\"code\":\"range\","
        "\"detail\":\"must be \\\"1\\\"\"},{\"pointer\":\"/a~1b\","
        "\"code\":\"unknown\",\"detail\":\"is not known here\"}],"
        "\"paymentId\":\"p\",\"n\":1}");

    /* once only */

    call->status = 418;
    assert_int_equal(opay_call_render_problem(call), OPAY_OK);
    assert_null(strstr(call->reply.data, "418"));

    opay_arena_destroy(call->arena);
}


static void
test_call_problem_bare(void **state)
{
    opay_call_t  *call;

    (void) state;

    call = test_call();

    assert_int_equal(opay_call_render_problem(call), OPAY_OK);
    assert_null(call->reply.data);

    /* nginx's own status is kept under the code it shares */

    opay_call_fail(call, opay_code_of_status(408), NULL);
    call->status = 408;

    assert_int_equal(opay_call_render_problem(call), OPAY_OK);
    assert_str_is(call->reply,
        "{\"type\":\"urn:opay:problem:bad_request\","
        "\"title\":\"The request cannot be understood\",\"status\":408,"
        "\"code\":\"bad_request\"}");

    opay_arena_destroy(call->arena);
}


static void
test_call_no_memory(void **state)
{
    int           n;
    opay_call_t  *call;

    (void) state;

    for (n = 0; /* void */; n++) {

        call = test_call();
        test_malloc_left = n;
        opay_call_invalid(call, "/x", "type", "d");
        assert_int_equal(call->status, 400);
        assert_non_null(call->errors[0].pointer);
        assert_non_null(call->errors[0].detail);

        if (opay_call_render_problem(call) == OPAY_OK) {
            break;
        }

        assert_null(call->reply.data);
        test_malloc_left = -1;
        opay_arena_destroy(call->arena);
    }

    test_malloc_left = -1;
    assert_true(n >= 3);
    opay_arena_destroy(call->arena);

    call = test_call();
    call->query = test_str("a=%00");
    test_malloc_left = 0;
    assert_null(opay_call_arg(call, "a").data);
    test_malloc_left = -1;
    assert_int_equal(call->status, 400);
    opay_arena_destroy(call->arena);
}


static void
test_call_arg(void **state)
{
    opay_call_t  *call;

    (void) state;

    call = test_call();

    assert_null(opay_call_arg(call, "a").data);

    call->query = test_str("limit=20&after=a%2Bb+c&limit=99&flag&e=&%61b=1");

    assert_str_is(opay_call_arg(call, "limit"), "20");
    assert_str_is(opay_call_arg(call, "after"), "a+b c");
    assert_str_is(opay_call_arg(call, "flag"), "");
    assert_str_is(opay_call_arg(call, "e"), "");
    assert_str_is(opay_call_arg(call, "ab"), "1");
    assert_null(opay_call_arg(call, "lim").data);
    assert_null(opay_call_arg(call, "limits").data);
    assert_int_equal(call->status, 0);

    call->query = test_str("a=%00&b=%zz&c=%f&d=\xff&e=%ed%a0%80");

    assert_null(opay_call_arg(call, "a").data);
    assert_int_equal(call->nerrors, 1);
    assert_string_equal(call->errors[0].pointer, "/a");
    assert_string_equal(call->errors[0].code, "format");
    assert_null(opay_call_arg(call, "b").data);
    assert_null(opay_call_arg(call, "c").data);
    assert_null(opay_call_arg(call, "d").data);
    assert_null(opay_call_arg(call, "e").data);
    assert_int_equal(call->nerrors, 5);

    opay_arena_destroy(call->arena);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_call_codes),
        cmocka_unit_test(test_call_statuses),
        cmocka_unit_test(test_call_outcomes),
        cmocka_unit_test(test_call_invalid),
        cmocka_unit_test(test_call_problem),
        cmocka_unit_test(test_call_problem_bare),
        cmocka_unit_test(test_call_no_memory),
        cmocka_unit_test(test_call_arg)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
