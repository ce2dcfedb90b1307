
/*
 * Orders: projection == fold(events) on every edge, what states there can be
 * at all, and names.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_fsm_order.c"


#define FULL  OPAY_ORDER_F_FULL_REFUND

#define T(x)  OPAY_ORDER_T_##x
#define S(x)  OPAY_ORDER_##x
#define P(x)  OPAY_ORDER_OP_##x


static opay_order_state_t
test_state(int status, int pending, int financial)
{
    opay_order_state_t  s;

    s.status = status;
    s.pending = pending;
    s.financial = financial;

    return s;
}


/* All 15 triggers from all states; fn sees each verdict. */
static void
test_order_all(void (*fn)(const opay_order_state_t *from, int trigger,
    unsigned facts, const opay_order_verdict_t *v, void *data), void *data)
{
    int                   s, p, m, t;
    unsigned              facts;
    opay_order_state_t    from;
    opay_order_verdict_t  v;

    for (s = 0; s < OPAY_ORDER_STATUS_MAX; s++) {
        for (p = 0; p < OPAY_ORDER_OP_MAX; p++) {
            for (m = 0; m < OPAY_ORDER_FINANCIAL_MAX; m++) {
                for (t = 0; t < OPAY_ORDER_T_MAX; t++) {
                    for (facts = 0; facts <= OPAY_ORDER_F_ALL; facts++) {
                        from = test_state(s, p, m);
                        v = opay_order_step(&from, t, facts);
                        fn(&from, t, facts, &v, data);
                    }
                }
            }
        }
    }
}


static int
test_order_index(const opay_order_state_t *s)
{
    return (s->status * OPAY_ORDER_OP_MAX + s->pending)
           * OPAY_ORDER_FINANCIAL_MAX + s->financial;
}


#define TEST_STATES  (OPAY_ORDER_STATUS_MAX * OPAY_ORDER_OP_MAX               \
                      * OPAY_ORDER_FINANCIAL_MAX)


/* projection == fold(events), on every edge there is. */
static void
test_order_fold_edge(const opay_order_state_t *from, int trigger,
    unsigned facts, const opay_order_verdict_t *v, void *data)
{
    int                  full;
    unsigned             i;
    const char          *reached = data;
    opay_order_state_t   s;

    if (v->kind != OPAY_STEP_APPLY || !reached[test_order_index(from)]) {
        return;
    }

    s = *from;
    full = trigger == T(REFUND_SUCCEEDED) && (facts & FULL);

    for (i = 0; i < v->nevents; i++) {
        assert_int_equal(opay_order_apply_event(&s,
                             opay_str_of(v->events[i]), full), OPAY_OK);
    }

    assert_memory_equal(&s, &v->next, sizeof(s));
}


static void
test_order_reach(char *reached)
{
    int                   t, i, more;
    unsigned              facts;
    opay_order_state_t    from;
    opay_order_verdict_t  v;

    memset(reached, 0, TEST_STATES);
    reached[0] = 1;

    do {
        more = 0;

        for (i = 0; i < TEST_STATES; i++) {
            if (!reached[i]) {
                continue;
            }

            from = test_state(i / OPAY_ORDER_FINANCIAL_MAX / OPAY_ORDER_OP_MAX,
                              i / OPAY_ORDER_FINANCIAL_MAX % OPAY_ORDER_OP_MAX,
                              i % OPAY_ORDER_FINANCIAL_MAX);

            for (t = 0; t < OPAY_ORDER_T_MAX; t++) {
                for (facts = 0; facts <= OPAY_ORDER_F_ALL; facts++) {
                    v = opay_order_step(&from, t, facts);

                    if (!reached[test_order_index(&v.next)]) {
                        reached[test_order_index(&v.next)] = 1;
                        more = 1;
                    }
                }
            }
        }

    } while (more);
}


static void
test_order_fold(void **state)
{
    char                reached[TEST_STATES];
    opay_order_state_t  s;

    (void) state;

    test_order_reach(reached);
    test_order_all(test_order_fold_edge, reached);

    s = test_state(S(NONE), P(NONE), S(UNPAID));
    assert_int_equal(opay_order_apply_event(&s, opay_str_of("order.paid"), 0),
                     OPAY_ERROR);
    assert_int_equal(opay_order_apply_event(&s, opay_str_of("order.x"), 0),
                     OPAY_ERROR);
    assert_int_equal(opay_order_apply_event(&s, opay_str_of(NULL), 0),
                     OPAY_ERROR);
    assert_int_equal(s.status, S(NONE));

    s = test_state(S(PAID), P(NONE), S(PARTIALLY_REFUNDED));
    assert_int_equal(opay_order_apply_event(&s,
                         opay_str_of("order.completed"), 1), OPAY_OK);
    assert_int_equal(s.financial, S(PARTIALLY_REFUNDED));
}


/* What a state can be is narrower than its three fields. */
static void
test_order_reachable(void **state)
{
    int                 i, n;
    char                reached[TEST_STATES];
    opay_order_state_t  s;

    (void) state;

    test_order_reach(reached);

    for (i = 1, n = 0; i < TEST_STATES; i++) {
        if (!reached[i]) {
            continue;
        }

        n++;
        s = test_state(i / OPAY_ORDER_FINANCIAL_MAX / OPAY_ORDER_OP_MAX,
                       i / OPAY_ORDER_FINANCIAL_MAX % OPAY_ORDER_OP_MAX,
                       i % OPAY_ORDER_FINANCIAL_MAX);

        switch (s.status) {

        case S(CREATED):
        case S(FAILED):
            assert_int_equal(s.financial, S(UNPAID));
            assert_int_equal(s.pending, P(NONE));
            break;

        case S(PENDING):
            assert_int_equal(s.financial, S(MONEY_PROCESSING));
            assert_true(s.pending == P(PAY) || s.pending == P(CANCEL));
            break;

        case S(PAID):
            assert_true(s.financial >= S(MONEY_PAID));
            assert_true(s.pending == P(NONE) || s.pending == P(CANCEL));
            assert_false(s.pending == P(CANCEL) && s.financial == S(REFUNDED));
            break;

        case S(COMPLETED):
            assert_true(s.financial >= S(MONEY_PAID));
            assert_int_equal(s.pending, P(NONE));
            break;

        case S(CANCELLED):
            assert_int_not_equal(s.financial, S(MONEY_PROCESSING));
            assert_int_equal(s.pending, P(NONE));
            break;

        default:
            fail();
        }
    }

    assert_int_equal(n, 2 + 2 + 5 + 3 + 4);
}


static void
test_order_names(void **state)
{
    int  i;

    (void) state;

    for (i = 1; i < OPAY_ORDER_STATUS_MAX; i++) {
        assert_int_equal(opay_order_status_parse(opay_str_of(
                             opay_order_status_name(i))), i);
    }

    for (i = 0; i < OPAY_ORDER_FINANCIAL_MAX; i++) {
        assert_int_equal(opay_order_financial_parse(opay_str_of(
                             opay_order_financial_name(i))), i);
    }

    for (i = 1; i < OPAY_ORDER_OP_MAX; i++) {
        assert_int_equal(opay_order_op_parse(opay_str_of(
                             opay_order_op_name(i))), i);
    }

    assert_null(opay_order_status_name(OPAY_ORDER_NONE));
    assert_null(opay_order_status_name(OPAY_ORDER_STATUS_MAX));
    assert_null(opay_order_op_name(OPAY_ORDER_OP_NONE));
    assert_null(opay_order_financial_name(OPAY_ORDER_FINANCIAL_MAX));

    assert_int_equal(opay_order_status_parse(opay_str_of("paid")),
                     OPAY_ORDER_NONE);
    assert_int_equal(opay_order_status_parse(opay_str_of("")),
                     OPAY_ORDER_NONE);
    assert_int_equal(opay_order_financial_parse(opay_str_of("x")),
                     OPAY_ORDER_FINANCIAL_MAX);
    assert_int_equal(opay_order_op_parse(opay_str_of("x")),
                     OPAY_ORDER_OP_MAX);

    assert_int_equal(opay_order_trigger_of(opay_str_of("payment.succeeded")),
                     T(PAYMENT_SUCCEEDED));
    assert_int_equal(opay_order_trigger_of(opay_str_of("refund.failed")),
                     T(REFUND_FAILED));
    assert_int_equal(opay_order_trigger_of(opay_str_of("user.created")),
                     OPAY_ORDER_T_MAX);

    assert_int_equal(opay_order_trigger_to(S(COMPLETED)), T(COMPLETE));
    assert_int_equal(opay_order_trigger_to(S(CANCELLED)), T(CANCEL));
    assert_int_equal(opay_order_trigger_to(S(PAID)), OPAY_ORDER_T_MAX);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_order_fold),
        cmocka_unit_test(test_order_reachable),
        cmocka_unit_test(test_order_names)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
