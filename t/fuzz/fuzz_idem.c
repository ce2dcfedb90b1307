
/*
 * libFuzzer: Idempotency-Key header values.  An accepted key, quoted anew, is
 * the same key and has the same scope.
 */

#include <stdlib.h>

#include "opay_idem.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static opay_call_t *
fuzz_idem_call(opay_arena_t *a, opay_str_t value)
{
    opay_call_t  *call;

    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->method = opay_str_of("POST");
    call->route = opay_str_of("/api/orders");
    call->path = call->route;

    if (opay_idem_prepare(call, value) != OPAY_OK) {
        abort();
    }

    return call;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char           buf[OPAY_IDEM_KEY_MAX], again[OPAY_IDEM_KEY_MAX];
    char           quoted[2 * OPAY_IDEM_KEY_MAX + 2], *p;
    size_t         i;
    opay_str_t     value, key, back;
    opay_call_t   *a, *b;
    opay_arena_t  *arena;

    value.data = (const char *) data;
    value.len = size;

    if (opay_idem_parse(value, buf, &key) != OPAY_OK) {
        return 0;
    }

    if (key.len == 0 || key.len > OPAY_IDEM_KEY_MAX) {
        abort();
    }

    p = quoted;
    *p++ = '"';

    for (i = 0; i < key.len; i++) {

        if (key.data[i] < 0x20 || key.data[i] > 0x7e) {
            abort();
        }

        if (key.data[i] == '"' || key.data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = key.data[i];
    }

    *p++ = '"';

    back.data = quoted;
    back.len = (size_t) (p - quoted);

    arena = opay_arena_create(256);
    if (arena == NULL) {
        return 0;
    }

    a = fuzz_idem_call(arena, value);
    b = fuzz_idem_call(arena, back);

    if (opay_idem_parse(back, again, &back) != OPAY_OK
        || !opay_str_eq(back, key)
        || memcmp(a->idem.scope, b->idem.scope, 32) != 0)
    {
        abort();
    }

    opay_arena_destroy(arena);

    return 0;
}
