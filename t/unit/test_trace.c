
/* traceparent: what is continued, what is replaced. */

#include "test_arena.h"


static int  test_random_fails;

static int test_trace_random(void *buf, size_t n);

#define opay_random  test_trace_random
#include "../../lib/opay_trace.c"
#undef opay_random


static int
test_trace_random(void *buf, size_t n)
{
    return test_random_fails ? OPAY_ERROR : opay_random(buf, n);
}


#define ID    "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"
#define ZERO  "00000000000000000000000000000000"


static void
test_trace_continued(void **state)
{
    size_t  i;
    char    out[OPAY_TRACE_TEXT + 1];

    static const struct {
        const char  *in;
        const char  *flags;
    } good[] = {
        { "00-" ID "-" SPAN "-01", "-01" }, { "00-" ID "-" SPAN "-00", "-00" },
        { "00-" ID "-" SPAN "-02", "-00" }, { "00-" ID "-" SPAN "-ff", "-01" },
        { "cc-" ID "-" SPAN "-01", "-01" }, { "fe-" ID "-" SPAN "-00", "-00" },
        { "01-" ID "-" SPAN "-01-what-comes.", "-01" },
        { "01-" ID "-" SPAN "-01-", "-01" }
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {

        if (!opay_trace_valid(test_str(good[i].in))) {
            fail_msg("refused %s", good[i].in);
        }

        opay_trace_continue(test_str(good[i].in), out);

        assert_int_equal(strlen(out), OPAY_TRACE_TEXT);
        assert_memory_equal(out, "00-" ID "-", 36);
        assert_memory_not_equal(out + 36, SPAN, 16);
        assert_string_equal(out + 52, good[i].flags);
        assert_true(opay_trace_valid(test_str(out)));
    }
}


static void
test_trace_replaced(void **state)
{
    size_t      i;
    char        out[OPAY_TRACE_TEXT + 1], again[OPAY_TRACE_TEXT + 1];
    opay_str_t  none = opay_str_null;

    static const char  *bad[] = {
        "", "00", "00-" ID "-" SPAN, "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-01-", "00-" ID "-" SPAN "-01x",
        "00-" ID "-" SPAN "-011", "01-" ID "-" SPAN "-01x",
        "ff-" ID "-" SPAN "-01", "00-" ZERO "-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" ID "-B7AD6B7169203331-01", "FE-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-0G", "0x-" ID "-" SPAN "-01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-011",
        "00_" ID "-" SPAN "-01", "00-" ID "_" SPAN "-01",
        "00-" ID "-" SPAN "_01", " 0-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-\xd9\xa0"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {

        if (opay_trace_valid(test_str(bad[i]))) {
            fail_msg("accepted %s", bad[i]);
        }

        opay_trace_continue(test_str(bad[i]), out);
        assert_true(opay_trace_valid(test_str(out)));
        assert_memory_not_equal(out + 3, ID, 32);
        assert_string_equal(out + 52, "-01");
    }

    opay_trace_continue(none, out);
    opay_trace_continue(none, again);
    assert_true(opay_trace_valid(test_str(out)));
    assert_memory_not_equal(out + 3, again + 3, 32);
    assert_memory_not_equal(out + 36, again + 36, 16);
}


/* Without random bytes the ids are poor, but still valid ids. */

static void
test_trace_no_random(void **state)
{
    char        out[OPAY_TRACE_TEXT + 1];
    opay_str_t  none = opay_str_null;

    (void) state;

    test_random_fails = 1;
    opay_trace_continue(none, out);
    test_random_fails = 0;

    assert_true(opay_trace_valid(test_str(out)));
}


static void
test_trace_ids(void **state)
{
    opay_str_t  s;

    (void) state;

    s = opay_trace_id("00-" ID "-" SPAN "-01");
    assert_str_is(s, ID);

    assert_int_equal(opay_trace_id("").len, 0);
    assert_int_equal(opay_trace_id(NULL).len, 0);
    assert_int_equal(opay_trace_id("00-" ID).len, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_trace_continued),
        cmocka_unit_test(test_trace_replaced),
        cmocka_unit_test(test_trace_no_random),
        cmocka_unit_test(test_trace_ids)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
