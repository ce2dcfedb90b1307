
/* UUIDs: text both ways, version 7 layout, order across threads. */

#include <pthread.h>

#include "test_arena.h"
#include "../../lib/opay_uuid.c"


#define TEST_THREADS  4
#define TEST_EACH     5000


static int  test_random_fails;


int
opay_random(void *buf, size_t n)
{
    size_t         i;
    unsigned char *p = buf;
    static _Thread_local unsigned  seed = 1;

    if (test_random_fails) {
        return OPAY_ERROR;
    }

    for (i = 0; i < n; i++) {
        seed = seed * 1103515245 + 12345;
        p[i] = (unsigned char) (seed >> 16);
    }

    return OPAY_OK;
}


static void
test_uuid_text(void **state)
{
    char         buf[OPAY_UUID_TEXT + 1];
    opay_uuid_t  u, v;
    const char  *text = "0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f7";

    (void) state;

    assert_int_equal(opay_uuid_parse(test_str(text), &u), OPAY_OK);
    assert_int_equal(u.b[0], 0x01);
    assert_int_equal(u.b[15], 0xf7);
    assert_ptr_equal(opay_uuid_format(&u, buf), buf);
    assert_string_equal(buf, text);

    assert_int_equal(
        opay_uuid_parse(test_str("0190A2B3-C4D5-7E6F-8091-A2B3C4D5E6F7"), &v),
        OPAY_OK);
    assert_true(opay_uuid_eq(&u, &v));

    v.b[15] ^= 1;
    assert_false(opay_uuid_eq(&u, &v));
}


static void
test_uuid_bad(void **state)
{
    char         text[OPAY_UUID_TEXT + 1];
    size_t       i, j;
    opay_str_t   s;
    opay_uuid_t  u, before;

    static const char  *bad[] = {
        "", "0190a2b3c4d57e6f8091a2b3c4d5e6f7",
        "{0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f7}",
        "0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f",
        "0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f70",
        "0190a2b-3c4d5-7e6f-8091-a2b3c4d5e6f7",
        "0190a2b3--c4d57e6f-8091-a2b3c4d5e6f7",
        "urn:uuid:0190a2b3-c4d5-7e6f-8091-a2b"
    };
    static const char  wrong[] = "gG/:@` -_\t\x80\xff";

    (void) state;

    memset(&u, 0x5a, sizeof(u));
    before = u;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_uuid_parse(test_str(bad[i]), &u), OPAY_ERROR);
    }

    /* any one byte that does not belong, NUL included, at any place */

    for (i = 0; i < OPAY_UUID_TEXT; i++) {
        for (j = 0; j < sizeof(wrong); j++) {

            memcpy(text, "0190a2b3-c4d5-7e6f-8091-a2b3c4d5e6f7", 37);

            if (text[i] == wrong[j]) {
                continue;
            }

            text[i] = wrong[j];
            s.data = text;
            s.len = OPAY_UUID_TEXT;
            assert_int_equal(opay_uuid_parse(s, &u), OPAY_ERROR);
        }
    }

    assert_true(opay_uuid_eq(&u, &before));
}


static void
test_uuid_v7_layout(void **state)
{
    int          i;
    int64_t      before, after, ms;
    opay_uuid_t  u;

    (void) state;

    before = opay_now_ms();
    assert_int_equal(opay_uuid_v7(&u), OPAY_OK);
    after = opay_now_ms();

    for (ms = 0, i = 0; i < 6; i++) {
        ms = ms << 8 | u.b[i];
    }

    assert_true(ms >= before && ms <= after);
    assert_int_equal(u.b[6] >> 4, 7);
    assert_int_equal(u.b[8] >> 6, 2);
}


static void
test_uuid_v7_grows(void **state)
{
    int          i;
    opay_uuid_t  last, u;

    (void) state;

    assert_int_equal(opay_uuid_v7(&last), OPAY_OK);

    for (i = 0; i < 100000; i++) {
        assert_int_equal(opay_uuid_v7(&u), OPAY_OK);
        assert_true(memcmp(last.b, u.b, 8) < 0);
        last = u;
    }
}


/* A clock that is set back must not make ids go back. */

static void
test_uuid_v7_clock_back(void **state)
{
    uint64_t     future;
    opay_uuid_t  a, b;

    (void) state;

    future = (uint64_t) (opay_now_ms() + 3600000) << 12 | 0xfff;
    atomic_store(&opay_uuid_last, future);

    assert_int_equal(opay_uuid_v7(&a), OPAY_OK);
    assert_int_equal(opay_uuid_v7(&b), OPAY_OK);

    assert_true(memcmp(a.b, b.b, 8) < 0);
    assert_int_equal(a.b[6], 0x70);
    assert_int_equal(a.b[7], 0x00);
    assert_int_equal(b.b[7], 0x01);

    atomic_store(&opay_uuid_last, 0);
}


static void *
test_uuid_thread(void *data)
{
    int          i;
    opay_uuid_t *ids = data;

    for (i = 0; i < TEST_EACH; i++) {
        if (opay_uuid_v7(&ids[i]) != OPAY_OK) {
            return data;
        }
    }

    return NULL;
}


static int
test_uuid_cmp(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}


/* All threads start from the same seed: only the counter tells them apart. */

static void
test_uuid_v7_threads(void **state)
{
    int                i;
    void              *rc;
    pthread_t          threads[TEST_THREADS];
    static opay_uuid_t ids[TEST_THREADS * TEST_EACH];

    (void) state;

    for (i = 0; i < TEST_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, test_uuid_thread,
                                        &ids[i * TEST_EACH]), 0);
    }

    for (i = 0; i < TEST_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &rc), 0);
        assert_null(rc);
    }

    qsort(ids, TEST_THREADS * TEST_EACH, sizeof(opay_uuid_t), test_uuid_cmp);

    for (i = 1; i < TEST_THREADS * TEST_EACH; i++) {
        assert_true(memcmp(ids[i - 1].b, ids[i].b, 8) < 0);
    }
}


static void
test_uuid_no_random(void **state)
{
    opay_uuid_t  u;

    (void) state;

    test_random_fails = 1;
    assert_int_equal(opay_uuid_v7(&u), OPAY_ERROR);
    test_random_fails = 0;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_uuid_text),
        cmocka_unit_test(test_uuid_bad),
        cmocka_unit_test(test_uuid_v7_layout),
        cmocka_unit_test(test_uuid_v7_grows),
        cmocka_unit_test(test_uuid_v7_clock_back),
        cmocka_unit_test(test_uuid_v7_threads),
        cmocka_unit_test(test_uuid_no_random)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
