
/*
 * libFuzzer: the short texts of headers and members: traceparent, RFC 3339
 * times, UUIDs.  What is accepted comes back the same when written again.
 */

#include <stdlib.h>

#include "opay_trace.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_trace_header(opay_str_t s)
{
    int         valid;
    char        out[OPAY_TRACE_TEXT + 1];
    opay_str_t  id;

    valid = opay_trace_valid(s);

    opay_trace_continue(s, out);
    id = opay_trace_id(out);

    if (!opay_trace_valid(opay_str_of(out)) || id.len != 32
        || (memcmp(id.data, s.len >= 35 ? s.data + 3 : "", valid ? 32 : 0)
            != 0))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         text[OPAY_UUID_TEXT + 1], time[OPAY_TIME_TEXT + 1];
    int64_t      ms, again;
    opay_str_t   s;
    opay_uuid_t  u, v;

    s.data = (const char *) data;
    s.len = size;

    fuzz_trace_header(s);

    if (opay_time_parse(s, &ms) == OPAY_OK
        && (opay_time_parse(opay_str_of(opay_time_format(ms, time)), &again)
            != OPAY_OK || again != ms))
    {
        abort();
    }

    if (opay_uuid_parse(s, &u) == OPAY_OK
        && (opay_uuid_parse(opay_str_of(opay_uuid_format(&u, text)), &v)
            != OPAY_OK || !opay_uuid_eq(&u, &v)))
    {
        abort();
    }

    return 0;
}
