
/*
 * opay_trace: W3C trace context, the traceparent header.
 * Pure functions but for the random ids; any thread.
 */

#ifndef OPAY_TRACE_H_INCLUDED
#define OPAY_TRACE_H_INCLUDED

#include "opay_base.h"


#define OPAY_TRACE_TEXT  55            /* 00-<32 hex>-<16 hex>-<2 hex> */


/*
 * Is it a traceparent we can continue?  Lower-case hex, ids not all zero,
 * version not ff; a version above 00 may have more after its 55 bytes.
 */
int opay_trace_valid(opay_str_t in);

/*
 * The traceparent of our own span: same trace and flags, a new span id; a
 * new sampled trace when in is not valid.  out holds OPAY_TRACE_TEXT + 1
 * bytes and is always filled, NUL-terminated.
 */
void opay_trace_continue(opay_str_t in, char *out);

/* The trace id, 32 hex digits in traceparent itself; len 0 when empty. */
opay_str_t opay_trace_id(const char *traceparent);


#endif /* OPAY_TRACE_H_INCLUDED */
