
/* The arena: alignment, growth, copies, cleanup order, and running out. */

#include "test_arena.h"


static char    test_log[16];
static size_t  test_logged;


static void
test_arena_alloc(void **state)
{
    char          *p;
    size_t         i, n;
    opay_arena_t  *a;

    (void) state;

    a = opay_arena_create(0);
    assert_non_null(a);

    for (i = 0; i < 2000; i++) {
        n = i * 7 % 613;
        p = opay_arena_alloc(a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t) p % 16, 0);
        memset(p, (int) i, n);
    }

    opay_arena_destroy(a);
}


static void
test_arena_no_overlap(void **state)
{
    char          *p[300];
    size_t         i, j, n;
    opay_arena_t  *a;

    (void) state;

    a = opay_arena_create(512);

    for (i = 0; i < 300; i++) {
        n = 1 + i * 31 % 400;
        p[i] = opay_arena_alloc(a, n);
        memset(p[i], (int) i, n);
    }

    for (i = 0; i < 300; i++) {
        n = 1 + i * 31 % 400;
        for (j = 0; j < n; j++) {
            assert_int_equal((unsigned char) p[i][j], i & 0xff);
        }
    }

    opay_arena_destroy(a);
}


/* A big one must not throw away the rest of the current block. */

static void
test_arena_big_keeps_block(void **state)
{
    char          *p, *q;
    opay_arena_t  *a;

    (void) state;

    a = opay_arena_create(4096);

    p = opay_arena_alloc(a, 16);
    assert_non_null(opay_arena_alloc(a, 100000));
    assert_non_null(opay_arena_alloc(a, 4096));
    q = opay_arena_alloc(a, 16);

    assert_ptr_equal(p + 16, q);

    opay_arena_destroy(a);
}


static void
test_arena_copies(void **state)
{
    char          *p;
    char           big[1000];
    opay_str_t     s, r, none = opay_str_null;
    opay_arena_t  *a;

    (void) state;

    a = test_arena();

    p = opay_arena_zalloc(a, 100);
    memset(big, 0, 100);
    assert_memory_equal(p, big, 100);

    assert_memory_equal(opay_arena_dup(a, "a\0b", 3), "a\0b", 3);
    assert_non_null(opay_arena_dup(a, NULL, 0));

    assert_string_equal(opay_arena_strdup(a, ""), "");
    assert_string_equal(opay_arena_strdup(a, "order"), "order");

    s.data = "xyz-not-part";
    s.len = 3;
    r = opay_arena_str(a, s);
    assert_int_equal(r.len, 3);
    assert_string_equal(r.data, "xyz");

    /* absent stays absent, empty stays empty */

    r = opay_arena_str(a, none);
    assert_null(r.data);

    s.len = 0;
    r = opay_arena_str(a, s);
    assert_non_null(r.data);
    assert_string_equal(r.data, "");

    assert_str_is(opay_arena_printf(a, "%s-%d", "v", 7), "v-7");
    assert_str_is(opay_arena_printf(a, "%s", ""), "");

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_str_is(opay_arena_printf(a, "%s", big), big);

    big[255] = '\0';
    assert_str_is(opay_arena_printf(a, "%s", big), big);
    big[255] = 'x';
    big[256] = '\0';
    assert_str_is(opay_arena_printf(a, "%s", big), big);

    opay_arena_destroy(a);
}


static void
test_arena_note(void *data)
{
    test_log[test_logged++] = *(char *) data;
}


static void
test_arena_note_again(void *data)
{
    (void) opay_arena_cleanup(data, test_arena_note, "z");
    test_log[test_logged++] = 'r';
}


static void
test_arena_cleanups(void **state)
{
    opay_arena_t  *a;

    (void) state;

    test_logged = 0;
    a = test_arena();

    assert_int_equal(opay_arena_cleanup(a, test_arena_note, "1"), OPAY_OK);
    assert_int_equal(opay_arena_cleanup(a, test_arena_note_again, a),
                     OPAY_OK);
    assert_int_equal(opay_arena_cleanup(a, test_arena_note, "3"), OPAY_OK);

    opay_arena_destroy(a);

    assert_int_equal(test_logged, 4);
    assert_memory_equal(test_log, "3rz1", 4);

    opay_arena_destroy(NULL);
}


static void
test_arena_runs_out(void **state)
{
    opay_str_t     s = opay_str("text");
    opay_arena_t  *a;

    (void) state;

    test_malloc_left = 0;
    assert_null(opay_arena_create(100));
    test_malloc_left = -1;

    assert_null(opay_arena_create(SIZE_MAX));
    assert_null(opay_arena_create(SIZE_MAX / 2 + 1));

    a = test_arena();
    test_malloc_left = 0;

    assert_null(opay_arena_alloc(a, 1));
    assert_null(opay_arena_zalloc(a, 1));
    assert_null(opay_arena_dup(a, "x", 1));
    assert_null(opay_arena_strdup(a, "x"));
    assert_null(opay_arena_str(a, s).data);
    assert_null(opay_arena_printf(a, "x").data);
    assert_int_equal(opay_arena_cleanup(a, test_arena_note, "1"), OPAY_ERROR);

    test_malloc_left = -1;

    assert_null(opay_arena_alloc(a, SIZE_MAX));
    assert_null(opay_arena_alloc(a, SIZE_MAX / 2 + 1));

    s.len = SIZE_MAX;
    assert_null(opay_arena_str(a, s).data);

    assert_non_null(opay_arena_alloc(a, 1));

    test_logged = 0;
    opay_arena_destroy(a);
    assert_int_equal(test_logged, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_arena_alloc),
        cmocka_unit_test(test_arena_no_overlap),
        cmocka_unit_test(test_arena_big_keeps_block),
        cmocka_unit_test(test_arena_copies),
        cmocka_unit_test(test_arena_cleanups),
        cmocka_unit_test(test_arena_runs_out)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
