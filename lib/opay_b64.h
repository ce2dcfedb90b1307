
/*
 * opay_b64: base64url without padding (RFC 4648 section 5), canonical only.
 */

#ifndef OPAY_B64_H_INCLUDED
#define OPAY_B64_H_INCLUDED

#include "opay_base.h"


/* Characters that n bytes encode to, without the NUL. */
#define opay_b64url_len(n)  (((n) * 4 + 2) / 3)


/*
 * dst has room for opay_b64url_len(n) + 1 bytes; NUL-terminated.  Returns
 * the length without the NUL.
 */
size_t opay_b64url_encode(const void *src, size_t n, char *dst);

/*
 * Strict: the url alphabet only, no padding, no length of 4k + 1, unused bits
 * zero, so that exactly one text stands for given bytes.  OPAY_ERROR also
 * when dst (cap bytes) is too small.
 */
int opay_b64url_decode(opay_str_t src, uint8_t *dst, size_t cap, size_t *n);


#endif /* OPAY_B64_H_INCLUDED */
