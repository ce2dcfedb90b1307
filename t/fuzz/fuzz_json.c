
/*
 * libFuzzer: opay_json_decode() and opay_json_unpack() on any bytes.  What is
 * accepted is printed and read again to the same tree; what was unpacked
 * keeps what its table says.
 */

#include <stdlib.h>

#include "opay_json.h"
#include "opay_jsonw.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct {
    opay_str_t   name;
    int64_t      quantity;
    unsigned     has_quantity;
    int          active;
    opay_uuid_t  id;
    int64_t      from;
    int          method;
    json_t      *address;
    json_t      *items;
} fuzz_cmd_t;


static const char * const  fuzz_methods[] = { "CREDIT_CARD", "PAYPAL", NULL };


static const opay_json_field_t  fuzz_fields[] = {
    { .name = "name", .flags = OPAY_JSON_REQUIRED, .min = 1, .max = 20,
      .offset = offsetof(fuzz_cmd_t, name) },
    { .name = "quantity", .type = OPAY_JSON_INT, .min = 1, .max = 9999,
      .offset = offsetof(fuzz_cmd_t, quantity),
      .present = OPAY_JSON_PRESENT(fuzz_cmd_t, has_quantity) },
    { .name = "active", .type = OPAY_JSON_BOOL, .flags = OPAY_JSON_NULLABLE,
      .offset = offsetof(fuzz_cmd_t, active) },
    { .name = "id", .type = OPAY_JSON_UUID,
      .offset = offsetof(fuzz_cmd_t, id) },
    { .name = "from", .type = OPAY_JSON_TIME,
      .offset = offsetof(fuzz_cmd_t, from) },
    { .name = "method", .type = OPAY_JSON_ENUM, .names = fuzz_methods,
      .offset = offsetof(fuzz_cmd_t, method) },
    { .name = "address", .type = OPAY_JSON_OBJECT,
      .offset = offsetof(fuzz_cmd_t, address) },
    { .name = "items", .type = OPAY_JSON_ARRAY, .min = 1, .max = 2,
      .offset = offsetof(fuzz_cmd_t, items) },
    { .name = NULL }
};


static void
fuzz_json_again(opay_arena_t *a, json_t *v)
{
    json_t      *again;
    opay_jw_t    w;
    opay_str_t   s;
    const char  *error;

    opay_jw_init(&w, a, 0);
    opay_jw_json(&w, v);
    s = opay_jw_result(&w);

    again = opay_json_decode(a, s, &error);

    if (again == NULL || !json_equal(v, again)) {
        abort();
    }
}


static void
fuzz_json_unpack(opay_arena_t *a, json_t *v)
{
    size_t        n;
    fuzz_cmd_t    cmd;
    opay_call_t  *call;

    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;

    if (opay_json_unpack(call, v, "", fuzz_fields, &cmd) != OPAY_OK) {

        if (call->status != 400 || call->nerrors == 0
            || opay_call_render_problem(call) != OPAY_OK)
        {
            abort();
        }

        return;
    }

    if (call->status || opay_utf8_length(cmd.name, &n) != OPAY_OK || n < 1
        || n > 20 || opay_pan_like(cmd.name)
        || (cmd.has_quantity && (cmd.quantity < 1 || cmd.quantity > 9999))
        || cmd.method < -1 || cmd.method > 1
        || (cmd.items && json_array_size(cmd.items) > 2))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t        *v;
    opay_str_t     s;
    const char    *error;
    opay_arena_t  *a;

    s.data = (const char *) data;
    s.len = size;
    error = NULL;

    a = opay_arena_create(256);
    if (a == NULL) {
        return 0;
    }

    v = opay_json_decode(a, s, &error);

    if (v) {
        fuzz_json_again(a, v);
        fuzz_json_unpack(a, v);

    } else if (error == NULL) {
        abort();
    }

    (void) opay_pan_like(s);

    opay_arena_destroy(a);

    return 0;
}
