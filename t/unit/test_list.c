
/* Filters of lists: whose, which status, since when. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../lib/opay_list.c"


static opay_call_t *
test_call(const char *query, unsigned roles, const char *param)
{
    opay_call_t   *call;
    opay_arena_t  *a;

    a = opay_arena_create(4096);
    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->query = opay_str_of(query);
    call->who.known = 1;
    call->who.roles = roles;
    call->who.user.b[15] = 1;
    call->param[0] = opay_str_of(param);

    return call;
}


#define SELF   "00000000-0000-0000-0000-000000000001"
#define OTHER  "00000000-0000-0000-0000-000000000002"


static void
test_user(void **state)
{
    unsigned      has;
    size_t        i;
    opay_uuid_t   user;
    opay_call_t  *call;

    static const struct {
        const char  *query;
        unsigned     roles;
        int          status;
        unsigned     has;
        unsigned     last;             /* byte 15 of the user */
    } t[] = {
        { "", OPAY_ROLE_BIT_USER, 0, 1, 1 },
        { "userId=" SELF, OPAY_ROLE_BIT_USER, 0, 1, 1 },
        { "userId=" OTHER, OPAY_ROLE_BIT_USER, 403, 1, 2 },
        { "userId=x", OPAY_ROLE_BIT_USER, 403, 1, 1 },
        { "", OPAY_ROLE_BIT_ADMIN, 0, 0, 1 },
        { "userId=" OTHER, OPAY_ROLE_BIT_ADMIN, 0, 1, 2 },
        { "userId=x", OPAY_ROLE_BIT_ADMIN, 400, 1, 1 },
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        call = test_call(t[i].query, t[i].roles, NULL);
        opay_list_user(call, &has, &user);
        assert_int_equal(call->status, t[i].status);
        assert_int_equal(has, t[i].has);

        if (call->status == 0 && has) {
            assert_int_equal(user.b[15], t[i].last);
        }

        opay_arena_destroy(call->arena);
    }
}


static void
test_status(void **state)
{
    opay_str_t    s;
    opay_call_t  *call;

    (void) state;

    call = test_call("", 0, NULL);
    assert_null(opay_list_status(call).data);
    opay_arena_destroy(call->arena);

    call = test_call("status=PAID", 0, NULL);
    s = opay_list_status(call);
    assert_true(opay_str_is(s, "PAID"));
    opay_arena_destroy(call->arena);

    call = test_call("", 0, "PAID");
    s = opay_list_status(call);
    assert_true(opay_str_is(s, "PAID"));
    opay_arena_destroy(call->arena);

    call = test_call("status=PAID", 0, "PAID");
    assert_null(opay_list_status(call).data);
    assert_int_equal(call->status, 400);
    opay_arena_destroy(call->arena);
}


static void
test_time(void **state)
{
    int64_t       ms;
    opay_call_t  *call;

    (void) state;

    call = test_call("a=1970-01-01T00:00:01Z&b=yesterday", 0, NULL);

    assert_int_equal(opay_list_time(call, "a", &ms), 1);
    assert_int_equal(ms, 1000);
    assert_int_equal(opay_list_time(call, "c", &ms), 0);
    assert_int_equal(call->status, 0);
    assert_int_equal(opay_list_time(call, "b", &ms), 0);
    assert_int_equal(call->status, 400);
    assert_string_equal(call->errors[0].pointer, "/b");

    opay_arena_destroy(call->arena);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
