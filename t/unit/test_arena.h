
/*
 * The arena under test's control: opay_arena.c with a malloc() that fails on
 * demand, and arenas of which each allocation is a malloc() of its own, so
 * that the sanitizer sees every overrun and every use after free.
 */

#ifndef TEST_ARENA_H_INCLUDED
#define TEST_ARENA_H_INCLUDED

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>


/* Allocations that still succeed; negative: all. */
static int  test_malloc_left = -1;
static int  test_malloc_calls;


static void *
test_arena_malloc(size_t n)
{
    test_malloc_calls++;

    if (test_malloc_left == 0) {
        return NULL;
    }

    if (test_malloc_left > 0) {
        test_malloc_left--;
    }

    return malloc(n);
}


#define malloc(n)  test_arena_malloc(n)
#include "../../lib/opay_arena.c"
#undef malloc


static inline opay_arena_t *
test_arena(void)
{
    opay_arena_t  *a;

    a = opay_arena_create(1);
    assert_non_null(a);

    a->pos = a->end;
    a->block = 16;

    return a;
}


static inline opay_str_t
test_str(const char *s)
{
    return opay_str_of(s);
}


#define assert_str_is(s, expected)                                           \
    do {                                                                     \
        opay_str_t  test_s = (s);                                            \
        assert_non_null(test_s.data);                                        \
        assert_int_equal(test_s.len, strlen(expected));                      \
        assert_memory_equal(test_s.data, expected, test_s.len);              \
    } while (0)


#endif /* TEST_ARENA_H_INCLUDED */
