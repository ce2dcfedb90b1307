
/*
 * The payment machine and the machine of one call to the provider: each row
 * of the specification by hand, then every state x trigger x facts.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_fsm_payment.c"


#define AMT   OPAY_PAYMENT_F_AMOUNT_OK
#define WISH  OPAY_PAYMENT_F_CANCEL_WISH
#define FULL  OPAY_PAYMENT_F_FULL_REFUND

#define T(x)  OPAY_PAYMENT_T_##x
#define S(x)  OPAY_PAYMENT_##x

#define TEST_OPEN  4                   /* open refunds looked at: 0 to 3 */


static opay_payment_state_t
test_state(int status, unsigned unknown, unsigned open)
{
    opay_payment_state_t  s;

    s.status = status;
    s.unknown = unknown;
    s.open = open;

    return s;
}


typedef struct {
    int           status;
    unsigned      unknown, open;
    int           trigger;
    unsigned      facts;
    int           to;
    unsigned      to_unknown, to_open;
    const char   *events[3];
    unsigned      refund;
} test_edge_t;


static const test_edge_t  test_spec[] = {

    { S(NONE), 0, 0, T(CREATE), 0, S(PENDING), 0, 0,
      { "payment.created" }, 0 },

    { S(PENDING), 0, 0, T(SEND), 0, S(PROCESSING), 0, 0,
      { "payment.processing" }, 0 },

    { S(PROCESSING), 0, 0, T(APPROVED), AMT, S(SUCCESS), 0, 0,
      { "payment.succeeded" }, 0 },

    { S(PROCESSING), 1, 0, T(APPROVED), AMT, S(SUCCESS), 0, 0,
      { "payment.succeeded" }, 0 },

    { S(PROCESSING), 0, 0, T(UNKNOWN), 0, S(PROCESSING), 1, 0,
      { "payment.outcome_unknown" }, 0 },

    /* the provider took another amount than ours */

    { S(PROCESSING), 0, 0, T(APPROVED), 0, S(PROCESSING), 1, 0,
      { "payment.outcome_unknown" }, 0 },

    { S(PROCESSING), 0, 0, T(DECLINED), 0, S(FAILED), 0, 0,
      { "payment.failed" }, 0 },

    { S(PROCESSING), 1, 0, T(DECLINED), 0, S(FAILED), 0, 0,
      { "payment.failed" }, 0 },

    { S(PENDING), 0, 0, T(CANCEL), 0, S(CANCELLED), 0, 0,
      { "payment.cancelled" }, 0 },

    { S(PENDING), 0, 0, T(EXPIRE), 0, S(CANCELLED), 0, 0,
      { "payment.cancelled" }, 0 },

    { S(PROCESSING), 1, 0, T(DECLINED), WISH, S(CANCELLED), 0, 0,
      { "payment.cancelled" }, 0 },

    { S(PROCESSING), 1, 0, T(VOIDED), 0, S(CANCELLED), 0, 0,
      { "payment.cancelled" }, 0 },

    { S(PROCESSING), 1, 0, T(APPROVED), AMT|WISH, S(REFUND_PENDING), 0, 1,
      { "payment.succeeded", "refund.created" }, 1 },

    { S(SUCCESS), 0, 0, T(CANCEL), 0, S(REFUND_PENDING), 0, 1,
      { "refund.created" }, 1 },

    { S(SUCCESS), 0, 0, T(REFUND_CREATE), 0, S(REFUND_PENDING), 0, 1,
      { "refund.created" }, 0 },

    { S(REFUND_PENDING), 0, 1, T(REFUND_CREATE), 0, S(REFUND_PENDING), 0, 2,
      { "refund.created" }, 0 },

    { S(REFUND_PENDING), 0, 1, T(REFUND_SUCCEEDED), 0, S(SUCCESS), 0, 0,
      { "refund.succeeded" }, 0 },

    { S(REFUND_PENDING), 0, 2, T(REFUND_SUCCEEDED), 0, S(REFUND_PENDING),
      0, 1, { "refund.succeeded" }, 0 },

    { S(REFUND_PENDING), 0, 1, T(REFUND_SUCCEEDED), FULL, S(REFUNDED), 0, 0,
      { "refund.succeeded", "payment.refunded" }, 0 },

    { S(REFUND_PENDING), 0, 1, T(REFUND_FAILED), 0, S(SUCCESS), 0, 0,
      { "refund.failed" }, 0 },

    { S(REFUND_PENDING), 0, 3, T(REFUND_FAILED), 0, S(REFUND_PENDING), 0, 2,
      { "refund.failed" }, 0 }
};

#define TEST_SPECS  (sizeof(test_spec) / sizeof(test_spec[0]))


static void
test_payment_specification(void **state)
{
    size_t                  i, k;
    const test_edge_t      *e;
    opay_payment_state_t    from;
    opay_payment_verdict_t  v;

    (void) state;

    for (i = 0; i < TEST_SPECS; i++) {
        e = &test_spec[i];
        from = test_state(e->status, e->unknown, e->open);
        v = opay_payment_step(&from, e->trigger, e->facts);

        assert_int_equal(v.kind, OPAY_STEP_APPLY);
        assert_int_equal(v.next.status, e->to);
        assert_int_equal(v.next.unknown, e->to_unknown);
        assert_int_equal(v.next.open, e->to_open);
        assert_int_equal(v.refund, e->refund);

        for (k = 0; k < 3 && e->events[k] != NULL; k++) {
            assert_true(k < v.nevents);
            assert_string_equal(v.events[k], e->events[k]);
        }

        assert_int_equal(k, v.nevents);
    }
}


/* trigger, from, to: the only ways a status may move. */
static const int  test_moves[][3] = {
    { T(CREATE), S(NONE), S(PENDING) },
    { T(SEND), S(PENDING), S(PROCESSING) },
    { T(APPROVED), S(PROCESSING), S(SUCCESS) },
    { T(APPROVED), S(PROCESSING), S(REFUND_PENDING) },
    { T(APPROVED), S(PROCESSING), S(PROCESSING) },
    { T(UNKNOWN), S(PROCESSING), S(PROCESSING) },
    { T(DECLINED), S(PROCESSING), S(FAILED) },
    { T(DECLINED), S(PROCESSING), S(CANCELLED) },
    { T(VOIDED), S(PROCESSING), S(CANCELLED) },
    { T(CANCEL), S(PENDING), S(CANCELLED) },
    { T(CANCEL), S(SUCCESS), S(REFUND_PENDING) },
    { T(EXPIRE), S(PENDING), S(CANCELLED) },
    { T(REFUND_CREATE), S(SUCCESS), S(REFUND_PENDING) },
    { T(REFUND_CREATE), S(REFUND_PENDING), S(REFUND_PENDING) },
    { T(REFUND_SUCCEEDED), S(REFUND_PENDING), S(SUCCESS) },
    { T(REFUND_SUCCEEDED), S(REFUND_PENDING), S(REFUND_PENDING) },
    { T(REFUND_SUCCEEDED), S(REFUND_PENDING), S(REFUNDED) },
    { T(REFUND_FAILED), S(REFUND_PENDING), S(SUCCESS) },
    { T(REFUND_FAILED), S(REFUND_PENDING), S(REFUND_PENDING) }
};

#define TEST_MOVES  (sizeof(test_moves) / sizeof(test_moves[0]))


static void
test_payment_edge(const opay_payment_state_t *from, int t, unsigned facts,
    const opay_payment_verdict_t *v, unsigned *seen)
{
    size_t  i;

    if (v->kind != OPAY_STEP_APPLY) {
        assert_memory_equal(&v->next, from, sizeof(*from));
        assert_int_equal(v->nevents, 0);
        assert_int_equal(v->refund, 0);
        assert_int_equal(v->code == OPAY_E_NONE, v->kind == OPAY_STEP_NOOP);
        return;
    }

    assert_true(v->nevents >= 1 && v->nevents <= OPAY_STEP_EVENTS);
    assert_int_equal(v->code, OPAY_E_NONE);

    /* never a success on another amount */

    if (t == T(APPROVED) && !(facts & AMT)) {
        assert_int_equal(v->next.status, S(PROCESSING));
        assert_int_equal(v->next.unknown, 1);
        assert_int_equal(v->alert, 1);
    }

    /* an unknown outcome ends by the provider's word only */

    if (from->unknown && !v->next.unknown) {
        assert_true(t == T(APPROVED) || t == T(DECLINED) || t == T(VOIDED));
    }

    for (i = 0; i < TEST_MOVES; i++) {
        if (test_moves[i][0] == t && test_moves[i][1] == (int) from->status
            && test_moves[i][2] == (int) v->next.status)
        {
            seen[i]++;
            return;
        }
    }

    fail();
}


static void
test_payment_no_other_edge(void **state)
{
    int                     s, t;
    size_t                  i;
    unsigned                u, o, facts, seen[TEST_MOVES];
    opay_payment_state_t    from;
    opay_payment_verdict_t  v;

    (void) state;

    memset(seen, 0, sizeof(seen));

    for (s = 0; s < OPAY_PAYMENT_STATUS_MAX; s++) {
        for (u = 0; u < 2; u++) {
            for (o = 0; o < TEST_OPEN; o++) {
                for (t = 0; t < OPAY_PAYMENT_T_MAX; t++) {
                    for (facts = 0; facts <= OPAY_PAYMENT_F_ALL; facts++) {
                        from = test_state(s, u, o);
                        v = opay_payment_step(&from, t, facts);
                        test_payment_edge(&from, t, facts, &v, seen);
                    }
                }
            }
        }
    }

    for (i = 0; i < TEST_MOVES; i++) {
        assert_int_not_equal(seen[i], 0);
    }
}


static void
test_payment_refused(void **state)
{
    size_t                  i;
    opay_payment_verdict_t  v;

    static const struct {
        opay_payment_state_t  s;
        int                   trigger;
        unsigned              facts;
        opay_code_e           code;
        unsigned              alert;
    } refused[] = {
        { { S(PENDING), 0, 0 }, T(CREATE), 0, OPAY_E_PAYMENT_IN_PROGRESS, 0 },
        { { S(PROCESSING), 1, 0 }, T(CREATE), 0, OPAY_E_PAYMENT_IN_PROGRESS,
          0 },
        { { S(PENDING), 0, 0 }, T(SEND), WISH, OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(PROCESSING), 0, 0 }, T(SEND), 0, OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(CANCELLED), 0, 0 }, T(SEND), 0, OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(PENDING), 0, 0 }, T(APPROVED), AMT, OPAY_E_ILLEGAL_TRANSITION,
          0 },
        { { S(FAILED), 0, 0 }, T(APPROVED), AMT, OPAY_E_ILLEGAL_TRANSITION,
          1 },
        { { S(CANCELLED), 0, 0 }, T(APPROVED), AMT,
          OPAY_E_ILLEGAL_TRANSITION, 1 },
        { { S(SUCCESS), 0, 0 }, T(DECLINED), 0, OPAY_E_ILLEGAL_TRANSITION,
          1 },
        { { S(REFUNDED), 0, 0 }, T(VOIDED), 0, OPAY_E_ILLEGAL_TRANSITION, 1 },
        { { S(FAILED), 0, 0 }, T(CANCEL), 0, OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(PENDING), 0, 0 }, T(REFUND_CREATE), 0,
          OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(FAILED), 0, 0 }, T(REFUND_CREATE), 0,
          OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(REFUNDED), 0, 0 }, T(REFUND_CREATE), 0,
          OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(SUCCESS), 0, 0 }, T(REFUND_SUCCEEDED), 0,
          OPAY_E_ILLEGAL_TRANSITION, 0 },
        { { S(REFUND_PENDING), 0, 2 }, T(REFUND_SUCCEEDED), FULL,
          OPAY_E_ILLEGAL_TRANSITION, 1 },
        { { S(NONE), 0, 0 }, T(CANCEL), 0, OPAY_E_ILLEGAL_TRANSITION, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        v = opay_payment_step(&refused[i].s, refused[i].trigger,
                              refused[i].facts);
        assert_int_equal(v.kind, OPAY_STEP_REFUSE);
        assert_int_equal(v.code, refused[i].code);
        assert_int_equal(v.alert, refused[i].alert);
        assert_non_null(v.reason);
    }
}


static void
test_payment_repeated(void **state)
{
    size_t                  i;
    opay_payment_verdict_t  v;

    static const struct {
        opay_payment_state_t  s;
        int                   trigger;
        unsigned              facts;
        unsigned              wish;
    } noop[] = {
        { { S(SUCCESS), 0, 0 }, T(APPROVED), AMT, 0 },
        { { S(REFUND_PENDING), 0, 1 }, T(APPROVED), AMT, 0 },
        { { S(REFUNDED), 0, 0 }, T(APPROVED), AMT, 0 },
        { { S(FAILED), 0, 0 }, T(DECLINED), 0, 0 },
        { { S(CANCELLED), 0, 0 }, T(DECLINED), 0, 0 },
        { { S(CANCELLED), 0, 0 }, T(VOIDED), 0, 0 },
        { { S(PROCESSING), 1, 0 }, T(UNKNOWN), 0, 0 },
        { { S(PROCESSING), 1, 0 }, T(APPROVED), 0, 0 },
        { { S(SUCCESS), 0, 0 }, T(UNKNOWN), 0, 0 },
        { { S(PROCESSING), 0, 0 }, T(CANCEL), 0, 1 },
        { { S(PROCESSING), 1, 0 }, T(CANCEL), WISH, 1 },
        { { S(CANCELLED), 0, 0 }, T(CANCEL), 0, 0 },
        { { S(REFUND_PENDING), 0, 1 }, T(CANCEL), 0, 0 },
        { { S(REFUNDED), 0, 0 }, T(CANCEL), 0, 0 },
        { { S(PROCESSING), 0, 0 }, T(EXPIRE), 0, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(noop) / sizeof(noop[0]); i++) {
        v = opay_payment_step(&noop[i].s, noop[i].trigger, noop[i].facts);
        assert_int_equal(v.kind, OPAY_STEP_NOOP);
        assert_int_equal(v.wish, noop[i].wish);
    }
}


/* Walks every reachable state (open refunds bounded) and folds each edge. */
static void
test_payment_walk(const opay_payment_state_t *from, char *reached)
{
    int                     t;
    unsigned                i, facts;
    opay_payment_state_t    s;
    opay_payment_verdict_t  v;

    i = (from->status * 2 + from->unknown) * TEST_OPEN + from->open;

    if (reached[i]) {
        return;
    }

    reached[i] = 1;

    assert_false(from->unknown && from->status != S(PROCESSING));
    assert_int_equal(from->open != 0, from->status == S(REFUND_PENDING));

    for (t = 0; t < OPAY_PAYMENT_T_MAX; t++) {
        for (facts = 0; facts <= OPAY_PAYMENT_F_ALL; facts++) {
            v = opay_payment_step(from, t, facts);
            s = *from;

            for (i = 0; i < v.nevents; i++) {
                assert_int_equal(opay_payment_apply_event(&s,
                                     opay_str_of(v.events[i])), OPAY_OK);
            }

            assert_memory_equal(&s, &v.next, sizeof(s));

            if (v.next.open < TEST_OPEN) {
                test_payment_walk(&v.next, reached);
            }
        }
    }
}


static void
test_payment_fold(void **state)
{
    int                   i, n;
    char                  reached[OPAY_PAYMENT_STATUS_MAX * 2 * TEST_OPEN];
    opay_payment_state_t  s;

    (void) state;

    memset(reached, 0, sizeof(reached));

    s = test_state(S(NONE), 0, 0);
    test_payment_walk(&s, reached);

    for (i = 0, n = 0; i < (int) sizeof(reached); i++) {
        n += reached[i];
    }

    /* nothing, 6 plain ones, PROCESSING unknown, 1 to 3 open refunds */

    assert_int_equal(n, 1 + 6 + 1 + 3);

    assert_int_equal(opay_payment_apply_event(&s,
                         opay_str_of("payment.succeeded")), OPAY_ERROR);
    assert_int_equal(opay_payment_apply_event(&s, opay_str_of("x")),
                     OPAY_ERROR);
}


static void
test_payment_attempt(void **state)
{
    int                     s, t;
    opay_attempt_status_e   next;

    /* A apply to ..., = noop, . refused; columns: create send yes no
       unknown abandon */

    static const char *const  want[] = {
        "I.....",                      /* none */
        ".S...N",                      /* INIT */
        "..YNU.",                      /* SENT */
        "..YN=.",                      /* UNKNOWN */
        "..=.=.",                      /* YES */
        "...==="                       /* NO */
    };

    static const char  letter[] = "-ISUYN";

    (void) state;

    for (s = 0; s < OPAY_ATTEMPT_STATUS_MAX; s++) {
        for (t = 0; t < OPAY_ATTEMPT_T_MAX; t++) {
            switch (opay_attempt_step(s, t, &next)) {

            case OPAY_STEP_APPLY:
                assert_int_equal(letter[next], want[s][t]);
                break;

            case OPAY_STEP_NOOP:
                assert_int_equal('=', want[s][t]);
                assert_int_equal(next, s);
                break;

            case OPAY_STEP_REFUSE:
                assert_int_equal('.', want[s][t]);
                assert_int_equal(next, s);
                break;
            }
        }
    }

    assert_int_equal(opay_attempt_step(OPAY_ATTEMPT_STATUS_MAX,
                                       OPAY_ATTEMPT_T_SEND, &next),
                     OPAY_STEP_REFUSE);
    assert_int_equal(opay_attempt_step(OPAY_ATTEMPT_INIT, OPAY_ATTEMPT_T_MAX,
                                       &next), OPAY_STEP_REFUSE);
}


static void
test_payment_names(void **state)
{
    int  i;

    (void) state;

    for (i = 1; i < OPAY_PAYMENT_STATUS_MAX; i++) {
        assert_int_equal(opay_payment_status_parse(opay_str_of(
                             opay_payment_status_name(i))), i);
    }

    for (i = 1; i < OPAY_ATTEMPT_STATUS_MAX; i++) {
        assert_int_equal(opay_attempt_status_parse(opay_str_of(
                             opay_attempt_status_name(i))), i);
        assert_int_equal(opay_refund_status_parse(opay_str_of(
                             opay_refund_status_name(i))), i);
    }

    assert_string_equal(opay_attempt_status_name(OPAY_ATTEMPT_APPROVED),
                        "APPROVED");
    assert_string_equal(opay_refund_status_name(OPAY_REFUND_FAILED),
                        "FAILED");

    assert_null(opay_payment_status_name(S(NONE)));
    assert_null(opay_payment_status_name(OPAY_PAYMENT_STATUS_MAX));
    assert_null(opay_attempt_status_name(OPAY_ATTEMPT_STATUS_MAX));
    assert_null(opay_refund_status_name(OPAY_ATTEMPT_NONE));
    assert_int_equal(opay_payment_status_parse(opay_str_of("DONE")), S(NONE));
    assert_int_equal(opay_attempt_status_parse(opay_str_of("SUCCEEDED")),
                     OPAY_ATTEMPT_NONE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_payment_specification),
        cmocka_unit_test(test_payment_no_other_edge),
        cmocka_unit_test(test_payment_refused),
        cmocka_unit_test(test_payment_repeated),
        cmocka_unit_test(test_payment_fold),
        cmocka_unit_test(test_payment_attempt),
        cmocka_unit_test(test_payment_names)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
