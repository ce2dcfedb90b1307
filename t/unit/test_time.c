
/* RFC 3339 both ways, against gmtime() and against a list of bad texts. */

#include <time.h>

#include "test_arena.h"
#include "../../lib/opay_time.c"


static const struct {
    const char  *text;
    int64_t      ms;
    const char  *canonical;            /* NULL: the text itself */
} test_good[] = {
    { "1970-01-01T00:00:00.000Z", 0, NULL },
    { "2026-11-22T09:30:00.123Z", INT64_C(1795339800123), NULL },
    { "2026-11-22T18:30:00.123+09:00", INT64_C(1795339800123),
      "2026-11-22T09:30:00.123Z" },
    { "2026-11-22T00:30:00-09:00", INT64_C(1795339800000),
      "2026-11-22T09:30:00.000Z" },
    { "2026-11-22t09:30:00z", INT64_C(1795339800000),
      "2026-11-22T09:30:00.000Z" },
    { "2026-11-22T09:30:00.1Z", INT64_C(1795339800100),
      "2026-11-22T09:30:00.100Z" },
    { "2026-11-22T09:30:00.123999999Z", INT64_C(1795339800123),
      "2026-11-22T09:30:00.123Z" },
    { "2024-02-29T00:00:00Z", INT64_C(1709164800000),
      "2024-02-29T00:00:00.000Z" },
    { "2000-02-29T00:00:00Z", INT64_C(951782400000),
      "2000-02-29T00:00:00.000Z" },
    { "1969-12-31T23:59:59.999Z", -1, NULL },
    { "1900-03-01T00:00:00Z", INT64_C(-2203891200000),
      "1900-03-01T00:00:00.000Z" },
    { "0000-01-01T00:00:00.000Z", OPAY_TIME_MIN, NULL },
    { "9999-12-31T23:59:59.999Z", OPAY_TIME_MAX, NULL },
    { "2016-12-31T23:59:60Z", INT64_C(1483228800000),
      "2017-01-01T00:00:00.000Z" },
    { "2017-01-01T08:59:60+09:00", INT64_C(1483228800000),
      "2017-01-01T00:00:00.000Z" },
    { "1969-12-31T23:59:60Z", 0, "1970-01-01T00:00:00.000Z" },
    { "2026-11-22T09:30:00+00:00", INT64_C(1795339800000),
      "2026-11-22T09:30:00.000Z" },
    { "2026-11-22T09:30:00-00:00", INT64_C(1795339800000),
      "2026-11-22T09:30:00.000Z" }
};


static const char  *test_bad[] = {
    "", "Z", "2026-11-22", "2026-11-22T09:30Z", "2026-11-22T09:30:00",
    "2026-11-22 09:30:00Z", "2026-11-22T09:30:00.Z", "2026-11-22T09:30:00,1Z",
    "2026-11-22T09:30:00ZZ", "2026-11-22T09:30:00Z ", " 2026-11-22T09:30:00Z",
    "2026-11-22T09:30:00+9:00", "2026-11-22T09:30:00+0900",
    "2026-11-22T09:30:00+09", "2026-11-22T09:30:00+24:00",
    "2026-11-22T09:30:00+09:60", "2026-11-22T09:30:00+09:000",
    "2026-11-22T09:30:00.123", "2026-11-22T09:30:00.12x3Z",
    "2026-13-22T09:30:00Z", "2026-00-22T09:30:00Z", "2026-11-00T09:30:00Z",
    "2026-11-31T09:30:00Z", "2026-02-29T09:30:00Z", "1900-02-29T09:30:00Z",
    "2026-11-22T24:00:00Z", "2026-11-22T09:60:00Z", "2026-11-22T09:30:61Z",
    "2026-11-22T09:30:60Z", "2026-11-22T23:59:60+09:00",
    "26-11-22T09:30:00.00Z", "+2026-11-22T09:30:00Z", "-026-11-22T09:30:00Z",
    "2026/11/22T09:30:00Z", "2026-11-22T09.30.00Z", "2026-1a-22T09:30:00Z",
    "20261122T093000.000Z", "2026-11-22T0930:00.000Z",
    "0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    "9999-12-31T23:59:60Z", "2026-11-22T09:30:0\xd9\xa0Z",
    "2026-11-22T09:30:00.00000000000000000000000000000000000000000000000Z"
};


static void
test_time_good(void **state)
{
    char      buf[OPAY_TIME_TEXT + 1];
    size_t    i;
    int64_t   ms;

    (void) state;

    for (i = 0; i < sizeof(test_good) / sizeof(test_good[0]); i++) {
        assert_int_equal(opay_time_parse(test_str(test_good[i].text), &ms),
                         OPAY_OK);
        assert_int_equal(ms, test_good[i].ms);

        assert_ptr_equal(opay_time_format(ms, buf), buf);
        assert_string_equal(buf, test_good[i].canonical
                                 ? test_good[i].canonical
                                 : test_good[i].text);
    }
}


static void
test_time_bad(void **state)
{
    size_t   i;
    int64_t  ms;

    (void) state;

    for (i = 0; i < sizeof(test_bad) / sizeof(test_bad[0]); i++) {
        ms = 42;

        if (opay_time_parse(test_str(test_bad[i]), &ms) != OPAY_ERROR) {
            fail_msg("accepted \"%s\"", test_bad[i]);
        }

        assert_int_equal(ms, 42);
    }
}


/* Every prefix of a good text is bad; no byte past the end is read. */

static void
test_time_prefixes(void **state)
{
    char        *copy;
    size_t       n;
    int64_t      ms;
    opay_str_t   s;
    const char  *text = "2026-11-22T18:30:00.123+09:00";

    (void) state;

    for (n = 0; n < strlen(text); n++) {
        copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        s.data = copy;
        s.len = n;
        assert_int_equal(opay_time_parse(s, &ms), OPAY_ERROR);
        free(copy);
    }
}


static void
test_time_against_libc(void **state)
{
    char        buf[OPAY_TIME_TEXT + 1], expected[64];
    int64_t     ms, back;
    time_t      t;
    unsigned    i;
    struct tm   tm;

    (void) state;

    for (i = 0; i < 200000; i++) {
        ms = OPAY_TIME_MIN + (int64_t) i * INT64_C(1577700987)
             + i % 1000 * 86399;

        if (ms > OPAY_TIME_MAX) {
            break;
        }

        t = (time_t) ((ms - (((ms % 1000) + 1000) % 1000)) / 1000);
        assert_non_null(gmtime_r(&t, &tm));

        (void) snprintf(expected, sizeof(expected),
                        "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                        tm.tm_hour, tm.tm_min, tm.tm_sec,
                        (int) (((ms % 1000) + 1000) % 1000));

        assert_string_equal(opay_time_format(ms, buf), expected);
        assert_int_equal(opay_time_parse(test_str(buf), &back), OPAY_OK);
        assert_int_equal(back, ms);
    }

    assert_true(i > 190000);
}


static void
test_time_clamps(void **state)
{
    char  buf[OPAY_TIME_TEXT + 1];

    (void) state;

    assert_string_equal(opay_time_format(INT64_MAX, buf),
                        "9999-12-31T23:59:59.999Z");
    assert_string_equal(opay_time_format(INT64_MIN, buf),
                        "0000-01-01T00:00:00.000Z");
}


static void
test_time_clocks(void **state)
{
    int64_t  wall, mono;

    (void) state;

    wall = opay_now_ms();
    assert_true(wall / 1000 - (int64_t) time(NULL) >= -1);
    assert_true(wall / 1000 - (int64_t) time(NULL) <= 1);

    mono = opay_mono_ms();
    assert_true(opay_mono_ms() >= mono);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_time_good),
        cmocka_unit_test(test_time_bad),
        cmocka_unit_test(test_time_prefixes),
        cmocka_unit_test(test_time_against_libc),
        cmocka_unit_test(test_time_clamps),
        cmocka_unit_test(test_time_clocks)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
