
#include "opay_list.h"


void
opay_list_user(opay_call_t *call, unsigned *has_user, opay_uuid_t *user)
{
    opay_str_t  name;

    name = opay_call_arg(call, "userId");

    *has_user = 1;
    *user = call->who.user;

    if (!(call->who.roles & OPAY_ROLE_BIT_ADMIN)) {

        if (name.data
            && (opay_uuid_parse(name, user) != OPAY_OK
                || !opay_uuid_eq(user, &call->who.user)))
        {
            opay_call_fail(call, OPAY_E_FORBIDDEN,
                           "The filter userId needs the role ADMIN.");
        }

        return;
    }

    if (name.data == NULL) {
        *has_user = 0;
        return;
    }

    if (opay_uuid_parse(name, user) != OPAY_OK) {
        opay_call_invalid(call, "/userId", "format", "must be a UUID");
    }
}


opay_str_t
opay_list_status(opay_call_t *call)
{
    opay_str_t  name;

    name = opay_call_arg(call, "status");

    if (call->param[0].len == 0) {
        return name;
    }

    if (name.data) {
        opay_call_invalid(call, "/status", "conflict",
                          "the path has the status already");
        name.data = NULL;
        return name;
    }

    return call->param[0];
}


unsigned
opay_list_time(opay_call_t *call, const char *name, int64_t *ms)
{
    opay_str_t  text, pointer;

    text = opay_call_arg(call, name);

    if (text.data == NULL) {
        return 0;
    }

    if (opay_time_parse(text, ms) == OPAY_OK) {
        return 1;
    }

    pointer = opay_arena_printf(call->arena, "/%s", name);

    opay_call_invalid(call, pointer.data ? pointer.data : "", "format",
                      "must be an RFC 3339 time");

    return 0;
}
