
/* Amounts that never wrap, and the currencies there are. */

#include "test_arena.h"
#include "../../lib/opay_money.c"


#define MAX  OPAY_MONEY_MAX


static void
test_money_arithmetic(void **state)
{
    size_t   i;
    int      rc;
    int64_t  r;

    static const struct {
        char     op;
        int64_t  a;
        int64_t  b;
        int64_t  r;                    /* -1: refused */
    } cases[] = {
        { '+', 0, 0, 0 }, { '+', 1, 2, 3 }, { '+', MAX - 1, 1, MAX },
        { '+', MAX, 0, MAX }, { '+', MAX, 1, -1 }, { '+', MAX, MAX, -1 },
        { '+', -1, 2, -1 }, { '+', 2, -1, -1 },
        { '+', INT64_MAX, INT64_MAX, -1 }, { '+', INT64_MIN, INT64_MIN, -1 },
        { '-', 3, 2, 1 }, { '-', 2, 2, 0 }, { '-', 2, 3, -1 },
        { '-', MAX, MAX, 0 }, { '-', 0, INT64_MIN, -1 },
        { '-', -1, -1, -1 }, { '-', MAX + 1, 1, -1 },
        { '*', 0, 0, 0 }, { '*', 19999, 9999, 199970001 },
        { '*', MAX, 1, MAX }, { '*', MAX, 0, 0 }, { '*', 1, MAX, MAX },
        { '*', MAX, 2, -1 }, { '*', MAX / 2 + 1, 2, -1 },
        { '*', 94906266, 94906266, -1 }, { '*', 94906265, 94906265,
                                           INT64_C(9007199136250225) },
        { '*', -1, 0, -1 }, { '*', 0, -1, -1 }, { '*', MAX + 1, 0, -1 },
        { '*', MAX, INT64_MAX, -1 }, { '*', 1, -1, -1 }, { '*', -1, 1, -1 },
        { '*', -1, -1, -1 }, { '*', MAX + 1, 1, -1 },
        { '*', 4, INT64_C(4611686018427387904), -1 }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        r = 4242;

        rc = cases[i].op == '+' ? opay_money_add(cases[i].a, cases[i].b, &r)
             : cases[i].op == '-' ? opay_money_sub(cases[i].a, cases[i].b, &r)
             : opay_money_mul(cases[i].a, cases[i].b, &r);

        if (cases[i].r == -1) {
            assert_int_equal(rc, OPAY_ERROR);
            assert_int_equal(r, 4242);

        } else {
            assert_int_equal(rc, OPAY_OK);
            assert_true(r == cases[i].r);
        }
    }

    assert_true(opay_money_valid(0));
    assert_true(opay_money_valid(MAX));
    assert_false(opay_money_valid(MAX + 1));
    assert_false(opay_money_valid(-1));
}


static void
test_money_currencies(void **state)
{
    size_t       i, n;
    opay_str_t   s;

    static const struct {
        const char  *code;
        int          digits;
    } known[] = {
        { "AED", 2 }, { "KRW", 0 }, { "JPY", 0 }, { "USD", 2 }, { "EUR", 2 },
        { "KWD", 3 }, { "BHD", 3 }, { "TND", 3 }, { "CLP", 0 }, { "VND", 0 },
        { "XOF", 0 }, { "GBP", 2 }, { "CNY", 2 }, { "ZWG", 2 }, { "UGX", 0 },
        { "ISK", 0 }, { "MGA", 2 }
    };
    static const char  *unknown[] = {
        "", "K", "KR", "KRWX", "krw", "Krw", "XXX", "XAU", "XTS", "AAA",
        "ZZZ", "DEM", "HRK", "840", "US$", " KRW", "\xff\xff\xff"
    };

    (void) state;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_int_equal(opay_currency_digits(test_str(known[i].code)),
                         known[i].digits);
        assert_true(opay_currency_valid(test_str(known[i].code)));
    }

    for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(opay_currency_digits(test_str(unknown[i])), -1);
        assert_false(opay_currency_valid(test_str(unknown[i])));
    }

    s.data = "KRW";
    s.len = 2;
    assert_false(opay_currency_valid(s));

    assert_true(opay_currency_valid(test_str(OPAY_CURRENCY_DEFAULT)));

    /* the table is sorted, so that each row can be found */

    n = (sizeof(opay_currencies) - 1) / OPAY_CURRENCY_ROW;
    assert_int_equal((sizeof(opay_currencies) - 1) % OPAY_CURRENCY_ROW, 0);
    assert_true(n > 150);

    for (i = 0; i < n; i++) {

        s.data = opay_currencies + i * OPAY_CURRENCY_ROW;
        s.len = 3;

        assert_int_equal(opay_currency_digits(s), s.data[3] - '0');
        assert_in_range(s.data[3], '0', '4');

        if (i) {
            assert_true(memcmp(s.data - OPAY_CURRENCY_ROW, s.data, 3) < 0);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_money_arithmetic),
        cmocka_unit_test(test_money_currencies)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
