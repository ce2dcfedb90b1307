/* opay_toss: request bytes, and the classification of every answer. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "opay_toss.h"


#define ORDER  "01890a5d-ac96-774b-bcce-b302099a8057"
#define KEY    "tviva20240929012227abc"


typedef struct {
    opay_arena_t         *a;
    opay_toss_attempt_t   at;
    opay_toss_request_t   req;
    opay_toss_result_t    res;
} fixture_t;


static int
setup(void **state)
{
    static fixture_t  f;

    memset(&f, 0, sizeof(f));
    f.a = opay_arena_create(4096);
    f.at.secret = opay_str_of("test_sk_zXLkKEypNArWmo50nX3lmeaxYG5R");
    f.at.payment_key = opay_str_of(KEY);
    f.at.order_id = opay_str_of(ORDER);
    f.at.idem_key = opay_str_of("pay-" ORDER);
    f.at.amount = 15000;
    f.at.currency = opay_str_of("KRW");
    f.at.reason = opay_str_of("changed mind");
    *state = &f;

    return f.a == NULL;
}


static int
teardown(void **state)
{
    fixture_t  *f = *state;

    opay_arena_destroy(f->a);

    return 0;
}


static opay_toss_outcome_e
parse(fixture_t *f, opay_toss_op_e op, int status, const char *body)
{
    f->at.op = op;

    opay_toss_parse(f->a, &f->at, OPAY_TOSS_ANSWERED, status,
                    opay_str_of(body), &f->res);

    return f->res.outcome;
}


static opay_toss_outcome_e
code(fixture_t *f, opay_toss_op_e op, int status, const char *name)
{
    opay_str_t  body;

    body = opay_arena_printf(f->a, "{\"code\":\"%s\",\"message\":\"m\"}",
                             name);

    return parse(f, op, status, body.data);
}


static void
test_build_confirm(void **state)
{
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_CONFIRM;
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.method, "POST");
    assert_string_equal(f->req.path.data, "/v1/payments/confirm");
    assert_string_equal(f->req.body.data,
                        "{\"paymentKey\":\"" KEY "\",\"orderId\":\"" ORDER
                        "\",\"amount\":15000}");

    /* base64 of the key and its colon, with standard padding */
    assert_string_equal(f->req.headers[0], "Authorization: Basic "
                        "dGVzdF9za196WExrS0V5cE5BcldtbzUwblgzbG1lYXhZRzVSOg"
                        "==");
    assert_string_equal(f->req.headers[2], "Content-Type: application/json");
    assert_string_equal(f->req.headers[3], "Idempotency-Key: pay-" ORDER);
    assert_null(f->req.headers[4]);
}


static void
test_build_base64_tails(void **state)
{
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_QUERY;

    f->at.secret = opay_str_of("a");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.headers[0], "Authorization: Basic YTo=");

    f->at.secret = opay_str_of("ab");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.headers[0], "Authorization: Basic YWI6");

    f->at.secret = opay_str_of("abc");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.headers[0], "Authorization: Basic YWJjOg==");
}


static void
test_build_query(void **state)
{
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_QUERY;
    f->at.payment_key = (opay_str_t) opay_str_null;
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.method, "GET");
    assert_string_equal(f->req.path.data, "/v1/payments/orders/" ORDER);
    assert_null(f->req.body.data);
    assert_null(f->req.headers[2]);

    f->at.op = OPAY_TOSS_QUERY_CANCEL;
    f->at.payment_key = opay_str_of(KEY);
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.path.data, "/v1/payments/" KEY);
}


static void
test_build_cancel(void **state)
{
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_CANCEL;
    f->at.idem_key = opay_str_of("ref-1");
    f->at.reason = opay_str_of("a \"b\"\n\\");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
    assert_string_equal(f->req.path.data, "/v1/payments/" KEY "/cancel");
    assert_string_equal(f->req.body.data,
                        "{\"cancelReason\":\"ref-1 a \\\"b\\\"\\n\\\\\","
                        "\"cancelAmount\":15000}");
}


/* A long reason is cut between characters, never inside one. */

static void
test_build_cancel_long_reason(void **state)
{
    char        text[601];
    int         i;
    size_t      pad;
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_CANCEL;

    for (pad = 0; pad < 3; pad++) {
        memset(text, 'x', sizeof(text));

        for (i = 0; i < 190; i++) {
            memcpy(text + pad + 3 * i, "\xed\x95\x9c", 3);
        }

        f->at.reason.data = text;
        f->at.reason.len = pad + 3 * 190;

        /* json_pack refuses what is no UTF-8 */
        assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_OK);
        assert_true(f->req.body.len < 300);
    }
}


static void
test_build_refuses(void **state)
{
    static const char  *bad[] = {
        "", "a/b", "a b", "..", ".hidden", "a?b", "a%2f", "a\nb", "k\xc3\xa9"
    };

    char        text[202];
    size_t      i;
    fixture_t  *f = *state;

    f->at.op = OPAY_TOSS_CONFIRM;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->at.payment_key = opay_str_of(bad[i]);
        assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_ERROR);
    }

    memset(text, 'a', 201);
    text[201] = '\0';
    f->at.payment_key = opay_str_of(text);
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_ERROR);

    f->at.payment_key = opay_str_of(KEY);
    f->at.currency = opay_str_of("USD");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_ERROR);

    f->at.currency = opay_str_of("KRW");
    f->at.amount = 0;
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_ERROR);

    f->at.amount = 100;
    f->at.idem_key = opay_str_of("");
    assert_int_equal(opay_toss_build(f->a, &f->at, &f->req), OPAY_ERROR);
}


static void
test_declines_are_listed(void **state)
{
    static const char  *codes[] = {
        "REJECT_CARD_PAYMENT", "REJECT_CARD_COMPANY",
        "REJECT_ACCOUNT_PAYMENT", "INVALID_STOPPED_CARD",
        "INVALID_REJECT_CARD", "INVALID_CARD_LOST_OR_STOLEN",
        "INVALID_CARD_EXPIRATION", "INVALID_CARD_NUMBER",
        "EXCEED_MAX_AUTH_COUNT", "BELOW_MINIMUM_AMOUNT",
        "NOT_FOUND_PAYMENT_SESSION", "INVALID_BILL_KEY_REQUEST"
    };

    int         status;
    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        status = opay_toss_code_status(opay_str_of(codes[i]));
        assert_in_range(status, 400, 499);

        assert_int_equal(code(f, OPAY_TOSS_CONFIRM, status, codes[i]),
                         OPAY_TOSS_DECLINED);
        assert_non_null(f->res.failure);
        assert_non_null(f->res.reason);
        assert_true(opay_str_is(f->res.code, codes[i]));

        /* never from a server error, nor for another operation */

        assert_int_equal(code(f, OPAY_TOSS_CONFIRM, 500, codes[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(code(f, OPAY_TOSS_CONFIRM, 302, codes[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(code(f, OPAY_TOSS_QUERY, status, codes[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, status, codes[i]),
                         OPAY_TOSS_UNKNOWN);
    }
}


static void
test_the_rest_is_unknown(void **state)
{
    static const char  *codes[] = {
        "ALREADY_PROCESSED_PAYMENT", "PROVIDER_ERROR",
        "IDEMPOTENT_REQUEST_PROCESSING",
        "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING",
        "FAILED_INTERNAL_SYSTEM_PROCESSING", "UNKNOWN_PAYMENT_ERROR",
        "COMMON_ERROR", "NOT_FOUND_PAYMENT", "FORBIDDEN_REQUEST",
        "SOME_CODE_OF_NEXT_YEAR", "reject_card_payment", ""
    };

    int         status;
    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        for (status = 200; status < 600; status += 1) {
            assert_int_equal(code(f, OPAY_TOSS_CONFIRM, status, codes[i]),
                             OPAY_TOSS_UNKNOWN);
            assert_int_equal(f->res.alarm, 0);
        }
    }
}


static void
test_alarms(void **state)
{
    static const char  *codes[] = {
        "UNAUTHORIZED_KEY", "INVALID_API_KEY",
        "INCORRECT_BASIC_AUTH_FORMAT", "INVALID_IDEMPOTENCY_KEY"
    };

    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        assert_int_equal(code(f, OPAY_TOSS_CONFIRM, 401, codes[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(f->res.alarm, 1);
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, 403, codes[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(f->res.alarm, 1);
    }
}


static void
test_cancel_codes(void **state)
{
    static const char  *failed[] = {
        "NOT_CANCELABLE_AMOUNT", "NOT_CANCELABLE_PAYMENT",
        "NOT_ALLOWED_PARTIAL_REFUND", "EXCEED_MAX_REFUND_DUE"
    };
    static const char  *unknown[] = {
        "ALREADY_CANCELED_PAYMENT", "FAILED_REFUND_PROCESS",
        "FAILED_PARTIAL_REFUND", "FAILED_METHOD_HANDLING_CANCEL",
        "NOT_FOUND_PAYMENT", "PROVIDER_ERROR", "REJECT_CARD_PAYMENT"
    };

    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(failed) / sizeof(failed[0]); i++) {
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, 403, failed[i]),
                         OPAY_TOSS_REFUND_FAILED);
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, 500, failed[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(code(f, OPAY_TOSS_CONFIRM, 403, failed[i]),
                         OPAY_TOSS_UNKNOWN);
    }

    for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, 400, unknown[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_int_equal(code(f, OPAY_TOSS_CANCEL, 500, unknown[i]),
                         OPAY_TOSS_UNKNOWN);
    }
}


static void
test_transport(void **state)
{
    fixture_t   *f = *state;
    opay_str_t   done = opay_str("{\"code\":\"REJECT_CARD_PAYMENT\"}");

    f->at.op = OPAY_TOSS_CONFIRM;

    opay_toss_parse(f->a, &f->at, OPAY_TOSS_UNSENT, 403, done, &f->res);
    assert_int_equal(f->res.outcome, OPAY_TOSS_NOT_SENT);

    opay_toss_parse(f->a, &f->at, OPAY_TOSS_NO_ANSWER, 403, done, &f->res);
    assert_int_equal(f->res.outcome, OPAY_TOSS_UNKNOWN);

    done = (opay_str_t) opay_str_null;
    opay_toss_parse(f->a, &f->at, OPAY_TOSS_ANSWERED, 200, done, &f->res);
    assert_int_equal(f->res.outcome, OPAY_TOSS_UNKNOWN);
}


#define PAYMENT(order, status, amount, currency, key)                        \
    "{\"orderId\":\"" order "\",\"status\":\"" status "\",\"totalAmount\":"  \
    amount ",\"currency\":\"" currency "\",\"paymentKey\":\"" key "\"}"


static void
test_approved(void **state)
{
    fixture_t  *f = *state;

    assert_int_equal(parse(f, OPAY_TOSS_CONFIRM, 200,
                           PAYMENT(ORDER, "DONE", "15000", "KRW", "k1")),
                     OPAY_TOSS_APPROVED);
    assert_true(opay_str_is(f->res.provider_id, "k1"));
    assert_int_equal(f->res.amount, 15000);
    assert_true(opay_str_is(f->res.currency, "KRW"));

    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "DONE", "15000.0", "KRW", "k1")),
                     OPAY_TOSS_APPROVED);

    /* 201 is not what the documentation promises */
    assert_int_equal(parse(f, OPAY_TOSS_CONFIRM, 201,
                           PAYMENT(ORDER, "DONE", "15000", "KRW", "k1")),
                     OPAY_TOSS_UNKNOWN);
}


static void
test_done_but_not_ours(void **state)
{
    static const char  *bodies[] = {
        PAYMENT(ORDER, "DONE", "15001", "KRW", "k1"),
        PAYMENT(ORDER, "DONE", "15000.5", "KRW", "k1"),
        PAYMENT(ORDER, "DONE", "-15000", "KRW", "k1"),
        PAYMENT(ORDER, "DONE", "1e300", "KRW", "k1"),
        PAYMENT(ORDER, "DONE", "\"15000\"", "KRW", "k1"),
        PAYMENT(ORDER, "DONE", "15000", "USD", "k1"),
        PAYMENT(ORDER, "DONE", "15000", "KRW", ""),
        PAYMENT(ORDER, "DONE", "15000", "KRW", "a/b"),
    };

    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(parse(f, OPAY_TOSS_CONFIRM, 200, bodies[i]),
                         OPAY_TOSS_UNKNOWN);
        assert_string_equal(f->res.failure, "amount_mismatch");
        assert_int_equal(f->res.alarm, 1);
    }

    /* the payment of another order */
    assert_int_equal(parse(f, OPAY_TOSS_CONFIRM, 200,
                           PAYMENT("another-order", "DONE", "15000", "KRW",
                                   "k1")),
                     OPAY_TOSS_UNKNOWN);
}


static void
test_statuses(void **state)
{
    fixture_t  *f = *state;

    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "READY", "15000", "KRW", "k")),
                     OPAY_TOSS_OPEN);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "IN_PROGRESS", "15000", "KRW",
                                   "k")),
                     OPAY_TOSS_OPEN);
    assert_int_equal(parse(f, OPAY_TOSS_CONFIRM, 200,
                           PAYMENT(ORDER, "IN_PROGRESS", "15000", "KRW",
                                   "k")),
                     OPAY_TOSS_UNKNOWN);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "EXPIRED", "15000", "KRW", "k")),
                     OPAY_TOSS_DECLINED);
    assert_string_equal(f->res.failure, "session_expired");
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "ABORTED", "15000", "KRW", "k")),
                     OPAY_TOSS_DECLINED);
    assert_string_equal(f->res.failure, "declined");
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "CANCELED", "15000", "KRW", "k")),
                     OPAY_TOSS_UNKNOWN);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "WAITING_FOR_DEPOSIT", "15000",
                                   "KRW", "k")),
                     OPAY_TOSS_UNKNOWN);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           PAYMENT(ORDER, "done", "15000", "KRW", "k")),
                     OPAY_TOSS_UNKNOWN);

    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 200,
                           "{\"orderId\":\"" ORDER "\",\"status\":\"ABORTED\""
                           ",\"failure\":{\"code\":\"REJECT_CARD_PAYMENT\"}}"),
                     OPAY_TOSS_DECLINED);
    assert_string_equal(f->res.failure, "insufficient_funds");
    assert_int_equal(f->res.retryable, 1);
}


static void
test_query_absent(void **state)
{
    fixture_t  *f = *state;

    assert_int_equal(code(f, OPAY_TOSS_QUERY, 404, "NOT_FOUND_PAYMENT"),
                     OPAY_TOSS_ABSENT);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 404, "Not Found"),
                     OPAY_TOSS_UNKNOWN);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY, 404, "{}"),
                     OPAY_TOSS_UNKNOWN);
}


#define CANCELS(list)                                                        \
    "{\"paymentKey\":\"" KEY "\",\"status\":\"PARTIAL_CANCELED\","           \
    "\"currency\":\"KRW\",\"cancels\":" list "}"

#define CANCELLED(reason, amount)                                            \
    "{\"cancelReason\":\"" reason "\",\"cancelAmount\":" amount ","          \
    "\"transactionKey\":\"cx\"}"


static void
test_refunds(void **state)
{
    fixture_t  *f = *state;

    f->at.idem_key = opay_str_of("ref-7");
    f->at.amount = 400;

    assert_int_equal(parse(f, OPAY_TOSS_CANCEL, 200,
                           CANCELS("[" CANCELLED("ref-6 x", "400") ","
                                   CANCELLED("ref-7 x", "400") "]")),
                     OPAY_TOSS_REFUNDED);
    assert_true(opay_str_is(f->res.provider_id, "cx"));
    assert_int_equal(f->res.amount, 400);

    assert_int_equal(parse(f, OPAY_TOSS_QUERY_CANCEL, 200,
                           CANCELS("[" CANCELLED("ref-7", "400") "]")),
                     OPAY_TOSS_REFUNDED);

    /* another refund's, or one whose key only begins like ours */

    assert_int_equal(parse(f, OPAY_TOSS_QUERY_CANCEL, 200,
                           CANCELS("[" CANCELLED("ref-77 x", "400") "]")),
                     OPAY_TOSS_ABSENT);
    assert_int_equal(parse(f, OPAY_TOSS_QUERY_CANCEL, 200, CANCELS("null")),
                     OPAY_TOSS_ABSENT);
    assert_int_equal(parse(f, OPAY_TOSS_CANCEL, 200, CANCELS("null")),
                     OPAY_TOSS_UNKNOWN);

    assert_int_equal(parse(f, OPAY_TOSS_CANCEL, 200,
                           CANCELS("[" CANCELLED("ref-7 x", "401") "]")),
                     OPAY_TOSS_UNKNOWN);
    assert_string_equal(f->res.failure, "amount_mismatch");

    assert_int_equal(parse(f, OPAY_TOSS_CANCEL, 200,
                           CANCELS("[{\"cancelReason\":\"ref-7\","
                                   "\"cancelAmount\":400,"
                                   "\"transactionKey\":\"c\","
                                   "\"cancelStatus\":\"IN_PROGRESS\"}]")),
                     OPAY_TOSS_UNKNOWN);

    f->at.payment_key = opay_str_of("another");
    assert_int_equal(parse(f, OPAY_TOSS_CANCEL, 200,
                           CANCELS("[" CANCELLED("ref-7 x", "400") "]")),
                     OPAY_TOSS_UNKNOWN);
}


static void
test_broken_bodies(void **state)
{
    static const char  *bodies[] = {
        "", "{", "[]", "null", "\"DONE\"", "{\"status\":\"DONE\"",
        "<html>", "{\"status\":1}", "{\"code\":[]}", "{\"code\":{}}",
        "{\"status\":\"DONE\",\"status\":\"DONE\"}", "\xff\xfe"
    };

    int         op, status;
    size_t      i;
    fixture_t  *f = *state;

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        for (op = OPAY_TOSS_CONFIRM; op <= OPAY_TOSS_QUERY_CANCEL; op++) {
            for (status = 200; status <= 500; status += 100) {
                assert_int_equal(parse(f, op, status, bodies[i]),
                                 OPAY_TOSS_UNKNOWN);
            }
        }
    }
}


static void
test_cut_anywhere_is_unknown(void **state)
{
    static const char  body[] = PAYMENT(ORDER, "DONE", "15000", "KRW", "k1");

    size_t       n;
    fixture_t   *f = *state;
    opay_str_t   s;

    f->at.op = OPAY_TOSS_CONFIRM;

    for (n = 0; n < sizeof(body) - 1; n++) {
        s.data = opay_arena_dup(f->a, body, n ? n : 1);
        s.len = n;
        opay_toss_parse(f->a, &f->at, OPAY_TOSS_ANSWERED, 200, s, &f->res);
        assert_int_equal(f->res.outcome, OPAY_TOSS_UNKNOWN);
    }
}


static void
test_takes(void **state)
{
    (void) state;

    assert_true(opay_toss_takes((opay_str_t) opay_str("KRW"), 1));
    assert_true(opay_toss_takes((opay_str_t) opay_str("KRW"),
                                9007199254740991LL));
    assert_false(opay_toss_takes((opay_str_t) opay_str("KRW"),
                                 9007199254740992LL));
    assert_false(opay_toss_takes((opay_str_t) opay_str("KRW"), 0));
    assert_false(opay_toss_takes((opay_str_t) opay_str("KRW"), -1));
    assert_false(opay_toss_takes((opay_str_t) opay_str("USD"), 100));
    assert_false(opay_toss_takes((opay_str_t) opay_str("krw"), 100));
}


int
main(void)
{
#define TEST(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)

    const struct CMUnitTest  tests[] = {
        TEST(test_build_confirm),
        TEST(test_build_base64_tails),
        TEST(test_build_query),
        TEST(test_build_cancel),
        TEST(test_build_cancel_long_reason),
        TEST(test_build_refuses),
        TEST(test_declines_are_listed),
        TEST(test_the_rest_is_unknown),
        TEST(test_alarms),
        TEST(test_cancel_codes),
        TEST(test_transport),
        TEST(test_approved),
        TEST(test_done_but_not_ours),
        TEST(test_statuses),
        TEST(test_query_absent),
        TEST(test_refunds),
        TEST(test_broken_bodies),
        TEST(test_cut_anywhere_is_unknown),
        TEST(test_takes)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
