
/*
 * opay_rate: the bucket gives what was promised, not one more, whatever the
 * clock does; and what it says of itself is what then happens.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../lib/opay_rate.c"


#define S  1000000LL


static void
gives_the_burst_then_the_rate(void **state)
{
    unsigned          i;
    int64_t           full, now;
    opay_rate_t       rate;
    opay_rate_left_t  left;

    (void) state;

    rate.period = S / 2;
    rate.burst = 5;
    full = 0;
    now = 1000 * S;

    for (i = 0; i < 5; i++) {
        opay_rate_take(&rate, &full, now, &left);
        assert_true(left.allowed);
        assert_int_equal(left.remaining, 4 - i);
        assert_int_equal(left.reset, (i + 2) / 2);
    }

    opay_rate_take(&rate, &full, now, &left);
    assert_false(left.allowed);
    assert_int_equal(left.remaining, 0);
    assert_int_equal(left.reset, 1);

    /* being refused costs nothing */
    opay_rate_take(&rate, &full, now + S / 2 - 1, &left);
    assert_false(left.allowed);
    opay_rate_take(&rate, &full, now + S / 2, &left);
    assert_true(left.allowed);
    opay_rate_take(&rate, &full, now + S / 2, &left);
    assert_false(left.allowed);

    /* it never holds more than the burst */
    now += 1000 * S;

    for (i = 0; i < 5; i++) {
        opay_rate_take(&rate, &full, now, &left);
        assert_true(left.allowed);
    }

    opay_rate_take(&rate, &full, now, &left);
    assert_false(left.allowed);
}


static void
over_an_hour_it_is_exact(void **state)
{
    int64_t           full, now;
    unsigned          n;
    opay_rate_t       rate;
    opay_rate_left_t  left;

    (void) state;

    assert_int_equal(opay_rate_parse(&rate, "600r/m", 6), OPAY_OK);

    full = 0;
    n = 0;

    for (now = S; now <= 3601 * S; now += 7919) {
        opay_rate_take(&rate, &full, now, &left);
        n += left.allowed;
    }

    assert_in_range(n, 600 + 36000 - 1, 600 + 36000 + 1);
}


static void
a_clock_set_back_locks_nobody_out(void **state)
{
    int64_t           full;
    opay_rate_t       rate;
    opay_rate_left_t  left;

    (void) state;

    rate.period = S;
    rate.burst = 10;
    full = 5000 * S;

    opay_rate_take(&rate, &full, 10 * S, &left);
    assert_false(left.allowed);
    assert_int_equal(left.reset, 1);

    opay_rate_take(&rate, &full, 11 * S, &left);
    assert_true(left.allowed);
}


static void
parses_rates(void **state)
{
    size_t       i;
    opay_rate_t  rate;

    static const char  *bad[] = {
        "", "r/s", "10", "10r", "10r/", "10r/h", "10r/ss", "0r/s", "-1r/s",
        "1.5r/s", "10 r/s", "1000001r/s", "99999999999999999999r/s"
    };

    (void) state;

    assert_int_equal(opay_rate_parse(&rate, "10r/s", 5), OPAY_OK);
    assert_int_equal(rate.period, 100000);
    assert_int_equal(rate.burst, 10);
    assert_int_equal(opay_rate_window(&rate), 1);

    assert_int_equal(opay_rate_parse(&rate, "100r/m", 6), OPAY_OK);
    assert_int_equal(rate.period, 600000);
    assert_int_equal(opay_rate_window(&rate), 60);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_rate_parse(&rate, bad[i], strlen(bad[i])),
                         OPAY_ERROR);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(gives_the_burst_then_the_rate),
        cmocka_unit_test(over_an_hour_it_is_exact),
        cmocka_unit_test(a_clock_set_back_locks_nobody_out),
        cmocka_unit_test(parses_rates)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
