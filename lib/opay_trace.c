
/* See opay_trace.h. */

#include "opay_trace.h"


/* 00-<trace id>-<span id>-<flags> */
#define OPAY_TRACE_ID     3
#define OPAY_TRACE_SPAN   36
#define OPAY_TRACE_FLAGS  53


/* n lower-case hex digits at p; *zero: all of them are 0. */

static int
opay_trace_hex(const char *p, size_t n, int *zero)
{
    size_t  i;

    *zero = 1;

    for (i = 0; i < n; i++) {

        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return OPAY_ERROR;
        }

        if (p[i] != '0') {
            *zero = 0;
        }
    }

    return OPAY_OK;
}


int
opay_trace_valid(opay_str_t in)
{
    int          zero, id_zero, span_zero, version_zero;
    const char  *p;

    p = in.data;

    if (in.len < OPAY_TRACE_TEXT
        || p[2] != '-' || p[35] != '-' || p[52] != '-'
        || opay_trace_hex(p, 2, &version_zero) != OPAY_OK
        || opay_trace_hex(p + OPAY_TRACE_ID, 32, &id_zero) != OPAY_OK
        || opay_trace_hex(p + OPAY_TRACE_SPAN, 16, &span_zero) != OPAY_OK
        || opay_trace_hex(p + OPAY_TRACE_FLAGS, 2, &zero) != OPAY_OK
        || id_zero || span_zero)
    {
        return 0;
    }

    if (p[0] == 'f' && p[1] == 'f') {
        return 0;
    }

    if (in.len == OPAY_TRACE_TEXT) {
        return 1;
    }

    /* a version to come may add fields behind another "-" */

    return !version_zero && p[OPAY_TRACE_TEXT] == '-';
}


static void
opay_trace_put(char *p, const uint8_t *b, size_t n)
{
    size_t              i;
    static const char   hex[] = "0123456789abcdef";

    for (i = 0; i < n; i++) {
        *p++ = hex[b[i] >> 4];
        *p++ = hex[b[i] & 0x0f];
    }
}


void
opay_trace_continue(opay_str_t in, char *out)
{
    int      valid;
    uint8_t  b[24];

    valid = opay_trace_valid(in);

    /* ids are never all zero, even when the kernel gives no random bytes */

    if (opay_random(b, valid ? 8 : 24) != OPAY_OK) {
        memset(b, 0, sizeof(b));
    }

    b[7] |= 1;

    if (valid) {
        memcpy(out, in.data, OPAY_TRACE_TEXT);

        /* what we send is version 00, whose one known flag is "sampled" */

        out[0] = '0';
        out[1] = '0';
        out[OPAY_TRACE_FLAGS] = '0';
        out[OPAY_TRACE_FLAGS + 1] = strchr("13579bdf", in.data[54]) ? '1'
                                                                   : '0';

    } else {
        b[23] |= 1;

        memcpy(out, "00-", 3);
        opay_trace_put(out + OPAY_TRACE_ID, b + 8, 16);
        out[35] = '-';
        memcpy(out + 52, "-01", 3);
    }

    opay_trace_put(out + OPAY_TRACE_SPAN, b, 8);
    out[OPAY_TRACE_TEXT] = '\0';
}


opay_str_t
opay_trace_id(const char *traceparent)
{
    opay_str_t  s = opay_str_null;

    if (traceparent && strlen(traceparent) == OPAY_TRACE_TEXT) {
        s.data = traceparent + OPAY_TRACE_ID;
        s.len = 32;
    }

    return s;
}
