
/*
 * libFuzzer: cursors and paging arguments.  A cursor that decodes is the very
 * text we would have written; a page that parses is inside its limits.
 */

#include <stdlib.h>

#include "opay_cursor.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const opay_str_t  fuzz_key =
    opay_str("0123456789abcdef0123456789abcdef");
static const opay_str_t  fuzz_scope =
    opay_str("orders");


static void
fuzz_cursor_text(opay_str_t s)
{
    char         text[OPAY_CURSOR_TEXT + 1];
    int64_t      t;
    opay_uuid_t  id;

    if (opay_cursor_decode(fuzz_key, fuzz_scope, s, &t, &id) != OPAY_OK) {
        return;
    }

    if (opay_cursor_encode(fuzz_key, fuzz_scope, t, &id, text) != OPAY_OK
        || !opay_str_is(s, text))
    {
        abort();
    }
}


static void
fuzz_cursor_page(opay_str_t s)
{
    opay_page_t    page;
    opay_call_t   *call;
    opay_arena_t  *a;

    a = opay_arena_create(512);
    if (a == NULL) {
        return;
    }

    call = opay_arena_zalloc(a, sizeof(opay_call_t));
    call->arena = a;
    call->query = s;

    if (opay_page_parse(call, fuzz_key, fuzz_scope, &page) == OPAY_OK) {

        if (call->status || page.limit < 1 || page.limit > OPAY_PAGE_MAX
            || page.offset < 0 || page.offset > OPAY_PAGE_DEPTH
            || (page.has_after && page.offset))
        {
            abort();
        }

    } else if (call->status != 400 || call->nerrors == 0) {
        abort();
    }

    opay_arena_destroy(a);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    opay_str_t  s;

    s.data = (const char *) data;
    s.len = size;

    fuzz_cursor_text(s);
    fuzz_cursor_page(s);

    return 0;
}
