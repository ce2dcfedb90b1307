
/* The relay's gap list and its cache of versions. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../sidecar/opay_relay_gaps.h"
#include "../../sidecar/opay_relay_seen.h"


static void
test_take(void **state)
{
    opay_gaps_t  g = { NULL, 0, 0 };

    (void) state;

    assert_int_equal(opay_gaps_add(&g, 10, 20, 1), OPAY_OK);
    assert_int_equal(opay_gaps_add(&g, 1, 1, 2), OPAY_OK);
    assert_int_equal(opay_gaps_add(&g, 30, 31, 3), OPAY_OK);
    assert_int_equal(opay_gaps_count(&g), 14);

    /* the ends, the middle, and what is not there */
    assert_int_equal(opay_gaps_take(&g, 10), 1);
    assert_int_equal(opay_gaps_take(&g, 20), 1);
    assert_int_equal(opay_gaps_take(&g, 15), 1);
    assert_int_equal(opay_gaps_take(&g, 15), 0);
    assert_int_equal(opay_gaps_take(&g, 1), 1);
    assert_int_equal(opay_gaps_take(&g, 1), 0);
    assert_int_equal(opay_gaps_take(&g, 25), 0);
    assert_int_equal(opay_gaps_take(&g, 99), 0);
    assert_int_equal(opay_gaps_count(&g), 10);

    assert_int_equal(g.n, 3);
    assert_int_equal(g.v[0].first, 11);
    assert_int_equal(g.v[0].last, 14);
    assert_int_equal(g.v[1].first, 16);
    assert_int_equal(g.v[1].last, 19);
    assert_int_equal(g.v[1].seen, 1);

    assert_true(opay_gaps_has(&g, 19));
    assert_false(opay_gaps_has(&g, 15));

    opay_gaps_free(&g);
}


static void
test_text(void **state)
{
    char         *text;
    opay_gaps_t   g = { NULL, 0, 0 }, h = { NULL, 0, 0 };

    (void) state;

    (void) opay_gaps_add(&g, 3, 3, 100);
    (void) opay_gaps_add(&g, 5, 9, 200);
    (void) opay_gaps_add(&g, 12, 12, 300);

    text = opay_gaps_format(&g, 100);
    assert_string_equal(text, "[[3,100],[5,9,200],[12,300]]");
    assert_int_equal(opay_gaps_parse(&h, text, strlen(text)), OPAY_OK);
    free(text);

    text = opay_gaps_format(&h, 7);
    assert_string_equal(text, "[[3,100],[5,7,200]]");
    free(text);

    text = opay_gaps_format(&h, 5);
    assert_string_equal(text, "[[3,100],[5,200]]");
    free(text);

    opay_gaps_clear(&h);
    text = opay_gaps_format(&h, 5);
    assert_string_equal(text, "[]");
    free(text);

    opay_gaps_free(&g);
    opay_gaps_free(&h);
}


static void
test_bad_text(void **state)
{
    size_t                    i;
    opay_gaps_t               g = { NULL, 0, 0 };
    static const char *const  bad[] = {
        "", "{}", "[1]", "[[1]]", "[[1,2,3,4]]", "[[\"1\",2]]", "[[1.5,2]]",
        "[[0,2]]", "[[-1,2]]", "[[5,4,1]]", "[[5,1],[5,1]]", "[[5,1],[4,1]]",
        "[[1,9,1],[9,1]]", "[[1,1]", "[[1,1]]x"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_gaps_parse(&g, bad[i], strlen(bad[i])),
                         OPAY_ERROR);
    }

    opay_gaps_free(&g);
}


/* Against a plain array of flags. */
static void
test_random(void **state)
{
    char         *text, flags[2000];
    size_t        i, n, from, len;
    opay_gaps_t   g = { NULL, 0, 0 };

    (void) state;

    srand(7);
    memset(flags, 0, sizeof(flags));

    for (from = 1 + rand() % 5; from < sizeof(flags) - 40;
         from += len + 1 + rand() % 9)
    {
        len = 1 + rand() % 12;
        assert_int_equal(opay_gaps_add(&g, from, from + len - 1, 1), OPAY_OK);
        memset(&flags[from], 1, len);
    }

    for (i = 0; i < 20000; i++) {
        n = 1 + rand() % (sizeof(flags) - 1);
        assert_int_equal(opay_gaps_has(&g, n), flags[n]);

        if (i % 3 == 0) {
            assert_int_equal(opay_gaps_take(&g, n), flags[n]);
            flags[n] = 0;
        }

        if (i % 1000 == 0) {
            text = opay_gaps_format(&g, sizeof(flags));
            assert_int_equal(opay_gaps_parse(&g, text, strlen(text)),
                             OPAY_OK);
            free(text);
        }
    }

    n = 0;

    for (i = 0; i < sizeof(flags); i++) {
        n += (size_t) flags[i];
    }

    assert_int_equal(opay_gaps_count(&g), n);
    opay_gaps_free(&g);
}


static void
test_seen(void **state)
{
    uint32_t      i;
    opay_str_t    order = opay_str("order"), user = opay_str("user");
    opay_str_t    longest = opay_str("sixteen-letters!");
    opay_seen_t  *s;
    opay_uuid_t   id;

    (void) state;

    s = opay_seen_create();
    assert_non_null(s);
    memset(&id, 7, sizeof(id));

    assert_int_equal(opay_seen_get(s, order, &id), 0);
    opay_seen_put(s, order, &id, 3);
    opay_seen_put(s, user, &id, 9);
    opay_seen_put(s, longest, &id, 5);
    opay_seen_put(s, order, &id, 4);
    assert_int_equal(opay_seen_get(s, order, &id), 4);
    assert_int_equal(opay_seen_get(s, user, &id), 9);
    assert_int_equal(opay_seen_get(s, longest, &id), 5);

    /* a set of four: what is asked for often stays, the oldest goes */
    for (i = 1; i <= 10; i++) {
        id.b[0] = (uint8_t) (100 + i);
        opay_seen_put(s, order, &id, i);
        id.b[0] = 7;
        assert_int_equal(opay_seen_get(s, order, &id), 4);
    }

    assert_int_equal(opay_seen_get(s, user, &id), 0);
    id.b[0] = 110;
    assert_int_equal(opay_seen_get(s, order, &id), 10);

    opay_seen_clear(s);
    assert_int_equal(opay_seen_get(s, order, &id), 0);
    opay_seen_destroy(s);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
