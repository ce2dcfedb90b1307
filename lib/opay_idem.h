
/*
 * opay_idem: Idempotency-Key, from header to the hashes that rows carry.
 * Pure functions; any thread that owns the call.
 */

#ifndef OPAY_IDEM_H_INCLUDED
#define OPAY_IDEM_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"


#define OPAY_IDEM_KEY_MAX  255


/*
 * The key in a header value: bare, or a structured-field string in double
 * quotes with \" and \\.  1..255 printable ASCII bytes (0x20..0x7e); white
 * space around the value is dropped.  buf holds OPAY_IDEM_KEY_MAX bytes and
 * key points into it.  OPAY_ERROR: anything else.
 */
int opay_idem_parse(opay_str_t value, char *buf, opay_str_t *key);

/*
 * Fills call->idem from the header value and the call's method, route, path,
 * who and body:
 *
 *   scope        user, method, route template, key
 *   fingerprint  method, path, user, canonical JSON of the body
 *
 * each part with its length before it, so that no two sets of parts meet.
 * The same body with other spacing or member order has the same fingerprint.
 * OPAY_ERROR: the key is not acceptable (or out of memory); call->idem is
 * left as it was.
 */
int opay_idem_prepare(opay_call_t *call, opay_str_t value);


#endif /* OPAY_IDEM_H_INCLUDED */
