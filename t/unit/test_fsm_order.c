
/*
 * The order machine against domain rules written down a second time: each
 * row of the specification by hand, then every state x trigger x facts.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_fsm_order.c"


#define EXP   OPAY_ORDER_F_EXPIRED
#define AMT   OPAY_ORDER_F_AMOUNT_OK
#define OURS  OPAY_ORDER_F_SAME_PAYMENT
#define FULL  OPAY_ORDER_F_FULL_REFUND
#define OREF  OPAY_ORDER_F_OPEN_REFUND

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


typedef struct {
    int           status, pending, financial;
    int           trigger;
    unsigned      facts;
    int           to, to_pending, to_financial;
    const char   *events[3];
    int           attach;
} test_edge_t;


/* The table of the specification, row by row. */
static const test_edge_t  test_spec[] = {

    { S(NONE), P(NONE), S(UNPAID), T(CREATE), 0,
      S(CREATED), P(NONE), S(UNPAID), { "order.created" }, 0 },

    { S(CREATED), P(NONE), S(UNPAID), T(PAYMENT_CREATED), AMT|OURS,
      S(PENDING), P(PAY), S(MONEY_PROCESSING), { "order.payment_pending" },
      1 },

    /* another payment after the first one failed */

    { S(FAILED), P(NONE), S(UNPAID), T(PAYMENT_CREATED), AMT,
      S(PENDING), P(PAY), S(MONEY_PROCESSING), { "order.payment_pending" },
      1 },

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(PAYMENT_SUCCEEDED),
      AMT|OURS, S(PAID), P(NONE), S(MONEY_PAID), { "order.paid" }, 1 },

    /* the answer came after the order's time was up, but it was PENDING */

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(PAYMENT_SUCCEEDED),
      AMT|OURS|EXP, S(PAID), P(NONE), S(MONEY_PAID), { "order.paid" }, 1 },

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(PAYMENT_FAILED), OURS,
      S(FAILED), P(NONE), S(UNPAID), { "order.payment_failed" }, 0 },

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(PAYMENT_CANCELLED), OURS,
      S(FAILED), P(NONE), S(UNPAID), { "order.payment_failed" }, 0 },

    { S(PAID), P(NONE), S(MONEY_PAID), T(COMPLETE), 0,
      S(COMPLETED), P(NONE), S(MONEY_PAID), { "order.completed" }, 0 },

    { S(CREATED), P(NONE), S(UNPAID), T(CANCEL), 0,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(FAILED), P(NONE), S(UNPAID), T(CANCEL), 0,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(CREATED), P(NONE), S(UNPAID), T(EXPIRE), EXP,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(FAILED), P(NONE), S(UNPAID), T(EXPIRE), EXP,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(CANCEL), 0,
      S(PENDING), P(CANCEL), S(MONEY_PROCESSING),
      { "order.cancel_requested" }, 0 },

    { S(PENDING), P(CANCEL), S(MONEY_PROCESSING), T(PAYMENT_FAILED), OURS,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(PENDING), P(CANCEL), S(MONEY_PROCESSING), T(PAYMENT_CANCELLED), OURS,
      S(CANCELLED), P(NONE), S(UNPAID), { "order.cancelled" }, 0 },

    { S(PENDING), P(CANCEL), S(MONEY_PROCESSING), T(PAYMENT_SUCCEEDED),
      AMT|OURS, S(PAID), P(CANCEL), S(MONEY_PAID),
      { "order.paid", "order.refund_requested" }, 1 },

    { S(PAID), P(NONE), S(MONEY_PAID), T(CANCEL), 0,
      S(PAID), P(CANCEL), S(MONEY_PAID),
      { "order.cancel_requested", "order.refund_requested" }, 0 },

    { S(PAID), P(CANCEL), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS|FULL,
      S(CANCELLED), P(NONE), S(REFUNDED),
      { "order.refunded", "order.cancelled" }, 0 },

    { S(PAID), P(CANCEL), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS,
      S(PAID), P(CANCEL), S(PARTIALLY_REFUNDED), { "order.refunded" }, 0 },

    { S(PAID), P(CANCEL), S(PARTIALLY_REFUNDED), T(REFUND_SUCCEEDED),
      OURS|FULL, S(CANCELLED), P(NONE), S(REFUNDED),
      { "order.refunded", "order.cancelled" }, 0 },

    { S(PAID), P(CANCEL), S(MONEY_PAID), T(REFUND_FAILED), OURS,
      S(PAID), P(NONE), S(MONEY_PAID), { "order.updated" }, 0 },

    { S(PAID), P(NONE), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS,
      S(PAID), P(NONE), S(PARTIALLY_REFUNDED), { "order.refunded" }, 0 },

    { S(PAID), P(NONE), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS|FULL,
      S(PAID), P(NONE), S(REFUNDED), { "order.refunded" }, 0 },

    { S(PAID), P(NONE), S(REFUNDED), T(CANCEL), 0,
      S(CANCELLED), P(NONE), S(REFUNDED), { "order.cancelled" }, 0 },

    { S(COMPLETED), P(NONE), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS,
      S(COMPLETED), P(NONE), S(PARTIALLY_REFUNDED), { "order.refunded" }, 0 },

    { S(COMPLETED), P(NONE), S(PARTIALLY_REFUNDED), T(REFUND_SUCCEEDED),
      OURS|FULL, S(COMPLETED), P(NONE), S(REFUNDED), { "order.refunded" },
      0 },

    { S(CREATED), P(NONE), S(UNPAID), T(UPDATE), 0,
      S(CREATED), P(NONE), S(UNPAID), { "order.updated" }, 0 },

    { S(FAILED), P(NONE), S(UNPAID), T(UPDATE), 0,
      S(FAILED), P(NONE), S(UNPAID), { "order.updated" }, 0 },

    /* late success: whatever its amount, recorded and returned */

    { S(CANCELLED), P(NONE), S(UNPAID), T(PAYMENT_SUCCEEDED), OURS|AMT,
      S(CANCELLED), P(NONE), S(MONEY_PAID), { "order.refund_requested" }, 1 },

    { S(CANCELLED), P(NONE), S(UNPAID), T(PAYMENT_SUCCEEDED), 0,
      S(CANCELLED), P(NONE), S(MONEY_PAID), { "order.refund_requested" }, 1 },

    { S(CANCELLED), P(NONE), S(MONEY_PAID), T(REFUND_SUCCEEDED), OURS|FULL,
      S(CANCELLED), P(NONE), S(REFUNDED), { "order.refunded" }, 0 },

    { S(CREATED), P(NONE), S(UNPAID), T(PAYMENT_SUCCEEDED), OURS|AMT|EXP,
      S(CANCELLED), P(NONE), S(MONEY_PAID),
      { "order.cancelled", "order.refund_requested" }, 1 },

    /* charged twice: the second charge goes back, the order stays */

    { S(PAID), P(NONE), S(MONEY_PAID), T(PAYMENT_SUCCEEDED), AMT,
      S(PAID), P(NONE), S(MONEY_PAID), { "order.refund_requested" }, 0 },

    { S(PENDING), P(PAY), S(MONEY_PROCESSING), T(PAYMENT_SUCCEEDED), AMT,
      S(PENDING), P(PAY), S(MONEY_PROCESSING), { "order.refund_requested" },
      0 },

    /* an edit won against a payment for the former total */

    { S(CREATED), P(NONE), S(UNPAID), T(PAYMENT_SUCCEEDED), OURS,
      S(CREATED), P(NONE), S(UNPAID), { "order.refund_requested" }, 0 }
};

#define TEST_SPECS  (sizeof(test_spec) / sizeof(test_spec[0]))


static void
test_order_specification(void **state)
{
    size_t                i, k;
    const test_edge_t    *e;
    opay_order_state_t    from;
    opay_order_verdict_t  v;

    (void) state;

    for (i = 0; i < TEST_SPECS; i++) {
        e = &test_spec[i];
        from = test_state(e->status, e->pending, e->financial);
        v = opay_order_step(&from, e->trigger, e->facts);

        assert_int_equal(v.kind, OPAY_STEP_APPLY);
        assert_int_equal(v.next.status, e->to);
        assert_int_equal(v.next.pending, e->to_pending);
        assert_int_equal(v.next.financial, e->to_financial);
        assert_int_equal(v.attach, e->attach);

        for (k = 0; k < 3 && e->events[k] != NULL; k++) {
            assert_true(k < v.nevents);
            assert_string_equal(v.events[k], e->events[k]);
        }

        assert_int_equal(k, v.nevents);
    }
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


/* The only ways status or pending may ever move. */
static const struct {
    int  trigger, from, from_pending, to, to_pending;
} test_moves[] = {
    { T(CREATE), S(NONE), P(NONE), S(CREATED), P(NONE) },
    { T(UPDATE), S(CREATED), P(NONE), S(CREATED), P(NONE) },
    { T(UPDATE), S(FAILED), P(NONE), S(FAILED), P(NONE) },
    { T(CANCEL), S(CREATED), P(NONE), S(CANCELLED), P(NONE) },
    { T(CANCEL), S(FAILED), P(NONE), S(CANCELLED), P(NONE) },
    { T(CANCEL), S(PENDING), P(PAY), S(PENDING), P(CANCEL) },
    { T(CANCEL), S(PAID), P(NONE), S(PAID), P(CANCEL) },
    { T(CANCEL), S(PAID), P(NONE), S(CANCELLED), P(NONE) },
    { T(COMPLETE), S(PAID), P(NONE), S(COMPLETED), P(NONE) },
    { T(EXPIRE), S(CREATED), P(NONE), S(CANCELLED), P(NONE) },
    { T(EXPIRE), S(FAILED), P(NONE), S(CANCELLED), P(NONE) },
    { T(PAYMENT_CREATED), S(CREATED), P(NONE), S(PENDING), P(PAY) },
    { T(PAYMENT_CREATED), S(FAILED), P(NONE), S(PENDING), P(PAY) },
    { T(PAYMENT_SUCCEEDED), S(PENDING), P(PAY), S(PAID), P(NONE) },
    { T(PAYMENT_SUCCEEDED), S(PENDING), P(CANCEL), S(PAID), P(CANCEL) },
    { T(PAYMENT_SUCCEEDED), S(CREATED), P(NONE), S(CANCELLED), P(NONE) },
    { T(PAYMENT_SUCCEEDED), S(FAILED), P(NONE), S(CANCELLED), P(NONE) },
    { T(PAYMENT_FAILED), S(PENDING), P(PAY), S(FAILED), P(NONE) },
    { T(PAYMENT_FAILED), S(PENDING), P(CANCEL), S(CANCELLED), P(NONE) },
    { T(PAYMENT_CANCELLED), S(PENDING), P(PAY), S(FAILED), P(NONE) },
    { T(PAYMENT_CANCELLED), S(PENDING), P(CANCEL), S(CANCELLED), P(NONE) },
    { T(REFUND_SUCCEEDED), S(PAID), P(CANCEL), S(CANCELLED), P(NONE) },
    { T(REFUND_FAILED), S(PAID), P(CANCEL), S(PAID), P(NONE) }
};

#define TEST_MOVES  (sizeof(test_moves) / sizeof(test_moves[0]))


static void
test_order_move(const opay_order_state_t *from, int trigger, unsigned facts,
    const opay_order_verdict_t *v, void *data)
{
    size_t     i;
    unsigned  *seen = data;

    (void) facts;

    if (v->kind != OPAY_STEP_APPLY) {
        assert_memory_equal(&v->next, from, sizeof(*from));
        assert_int_equal(v->nevents, 0);
        assert_int_equal(v->attach, 0);
        return;
    }

    assert_true(v->nevents >= 1 && v->nevents <= OPAY_STEP_EVENTS);

    for (i = 0; i < TEST_MOVES; i++) {
        if (test_moves[i].trigger == trigger
            && test_moves[i].from == (int) from->status
            && test_moves[i].from_pending == (int) from->pending
            && test_moves[i].to == (int) v->next.status
            && test_moves[i].to_pending == (int) v->next.pending)
        {
            seen[i]++;
            return;
        }
    }

    /* money may move alone, and only on the word of the payment service */

    assert_int_equal(from->status, v->next.status);
    assert_int_equal(from->pending, v->next.pending);
    assert_int_not_equal(from->status, OPAY_ORDER_NONE);
    assert_true(trigger == T(REFUND_SUCCEEDED)
                || trigger == T(PAYMENT_SUCCEEDED));
}


static void
test_order_no_other_edge(void **state)
{
    size_t    i;
    unsigned  seen[TEST_MOVES];

    (void) state;

    memset(seen, 0, sizeof(seen));
    test_order_all(test_order_move, seen);

    for (i = 0; i < TEST_MOVES; i++) {
        assert_int_not_equal(seen[i], 0);
    }
}


static void
test_order_guard(const opay_order_state_t *from, int trigger, unsigned facts,
    const opay_order_verdict_t *v, void *data)
{
    (void) data;

    if (v->next.status == S(PAID) && from->status != S(PAID)) {
        assert_int_equal(trigger, T(PAYMENT_SUCCEEDED));
        assert_int_equal(facts & (AMT|OURS), AMT|OURS);
    }

    if (from->status == S(PENDING) && trigger == T(PAYMENT_SUCCEEDED)
        && (facts & (AMT|OURS)) == OURS)
    {
        assert_int_equal(v->kind, OPAY_STEP_REFUSE);
        assert_string_equal(v->reason, "amount_mismatch");
        assert_int_equal(v->alert, 1);
    }

    if (v->next.status == S(PENDING) && from->status != S(PENDING)) {
        assert_int_equal(facts & (AMT|EXP), AMT);
    }

    if (v->next.status == S(COMPLETED) && from->status != S(COMPLETED)) {
        assert_int_equal(facts & OREF, 0);
    }

    if (trigger == T(EXPIRE) && !(facts & EXP)) {
        assert_int_not_equal(v->kind, OPAY_STEP_APPLY);
    }

    /* what is over stays over */

    if (from->status == S(CANCELLED) || from->status == S(COMPLETED)) {
        assert_int_equal(v->next.status, from->status);
    }

    /* a success is never dropped: taken, known already, or returned */

    if (trigger == T(PAYMENT_SUCCEEDED) && from->status != S(NONE)
        && !(facts & OURS) && v->kind == OPAY_STEP_NOOP)
    {
        fail();
    }

    if (from->status == S(NONE) && trigger != T(CREATE)) {
        assert_int_equal(v->kind, OPAY_STEP_REFUSE);
    }
}


static void
test_order_guards(void **state)
{
    (void) state;

    test_order_all(test_order_guard, NULL);
}


static void
test_order_refusal(const opay_order_state_t *from, int trigger,
    unsigned facts, const opay_order_verdict_t *v, void *data)
{
    (void) facts;
    (void) data;

    if (v->kind != OPAY_STEP_REFUSE) {
        assert_int_equal(v->code, OPAY_E_NONE);
        return;
    }

    assert_non_null(v->reason);

    switch (trigger) {

    case T(UPDATE):
        assert_int_equal(v->code, OPAY_E_ORDER_NOT_EDITABLE);
        break;

    case T(CANCEL):
        assert_int_equal(v->code, OPAY_E_ORDER_NOT_CANCELLABLE);
        assert_int_not_equal(from->status, S(CANCELLED));
        break;

    default:
        assert_int_equal(v->code, OPAY_E_ILLEGAL_TRANSITION);
    }
}


static void
test_order_refusals(void **state)
{
    size_t                i;
    opay_order_verdict_t  v;

    static const struct {
        opay_order_state_t  s;
        int                 trigger;
        unsigned            facts;
    } refused[] = {
        { { S(CREATED), S(UNPAID), P(NONE) }, T(CREATE), 0 },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(UPDATE), EXP },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(COMPLETE), 0 },
        { { S(PENDING), S(MONEY_PROCESSING), P(PAY) }, T(UPDATE), 0 },
        { { S(PENDING), S(MONEY_PROCESSING), P(PAY) }, T(COMPLETE), 0 },
        { { S(PAID), S(MONEY_PAID), P(NONE) }, T(UPDATE), 0 },
        { { S(PAID), S(MONEY_PAID), P(NONE) }, T(COMPLETE), OREF },
        { { S(PAID), S(MONEY_PAID), P(CANCEL) }, T(COMPLETE), 0 },
        { { S(PAID), S(REFUNDED), P(NONE) }, T(COMPLETE), 0 },
        { { S(PAID), S(MONEY_PAID), P(NONE) }, T(PAYMENT_FAILED), OURS },
        { { S(COMPLETED), S(MONEY_PAID), P(NONE) }, T(CANCEL), 0 },
        { { S(COMPLETED), S(MONEY_PAID), P(NONE) }, T(UPDATE), 0 },
        { { S(CANCELLED), S(UNPAID), P(NONE) }, T(UPDATE), 0 },
        { { S(CANCELLED), S(UNPAID), P(NONE) }, T(COMPLETE), 0 },
        { { S(FAILED), S(UNPAID), P(NONE) }, T(COMPLETE), 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        v = opay_order_step(&refused[i].s, refused[i].trigger,
                            refused[i].facts);
        assert_int_equal(v.kind, OPAY_STEP_REFUSE);
    }

    test_order_all(test_order_refusal, NULL);
}


static void
test_order_noops(void **state)
{
    size_t                i;
    opay_order_verdict_t  v;

    static const struct {
        opay_order_state_t  s;
        int                 trigger;
        unsigned            facts;
        unsigned            alert;
    } noop[] = {
        { { S(CANCELLED), S(UNPAID), P(NONE) }, T(CANCEL), 0, 0 },
        { { S(PENDING), S(MONEY_PROCESSING), P(CANCEL) }, T(CANCEL), 0, 0 },
        { { S(PAID), S(MONEY_PAID), P(CANCEL) }, T(CANCEL), 0, 0 },
        { { S(COMPLETED), S(MONEY_PAID), P(NONE) }, T(COMPLETE), 0, 0 },
        { { S(PENDING), S(MONEY_PROCESSING), P(PAY) }, T(EXPIRE), EXP, 0 },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(EXPIRE), 0, 0 },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(PAYMENT_CREATED), AMT|EXP|OURS,
          0 },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(PAYMENT_CREATED), OURS, 1 },
        { { S(CANCELLED), S(UNPAID), P(NONE) }, T(PAYMENT_CREATED), AMT|OURS,
          0 },
        { { S(PENDING), S(MONEY_PROCESSING), P(PAY) }, T(PAYMENT_CREATED),
          AMT, 1 },
        { { S(PENDING), S(MONEY_PROCESSING), P(PAY) }, T(PAYMENT_FAILED), 0,
          0 },
        { { S(PAID), S(MONEY_PAID), P(NONE) }, T(PAYMENT_SUCCEEDED),
          AMT|OURS, 0 },
        { { S(CANCELLED), S(MONEY_PAID), P(NONE) }, T(PAYMENT_SUCCEEDED),
          AMT|OURS, 0 },
        { { S(CANCELLED), S(REFUNDED), P(NONE) }, T(REFUND_SUCCEEDED),
          OURS|FULL, 0 },
        { { S(CREATED), S(UNPAID), P(NONE) }, T(REFUND_SUCCEEDED), OURS|FULL,
          0 },
        { { S(PAID), S(MONEY_PAID), P(CANCEL) }, T(REFUND_SUCCEEDED), FULL,
          0 },
        { { S(CANCELLED), S(MONEY_PAID), P(NONE) }, T(REFUND_FAILED), OURS,
          1 }
    };

    (void) state;

    for (i = 0; i < sizeof(noop) / sizeof(noop[0]); i++) {
        v = opay_order_step(&noop[i].s, noop[i].trigger, noop[i].facts);
        assert_int_equal(v.kind, OPAY_STEP_NOOP);
        assert_int_equal(v.alert, noop[i].alert);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_order_specification),
        cmocka_unit_test(test_order_no_other_edge),
        cmocka_unit_test(test_order_guards),
        cmocka_unit_test(test_order_refusals),
        cmocka_unit_test(test_order_noops)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
