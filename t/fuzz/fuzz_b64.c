
/* libFuzzer: base64url has one text for given bytes, and one only. */

#include <stdlib.h>

#include "opay_b64.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        *text;
    size_t       n, m;
    uint8_t     *raw;
    opay_str_t   s;

    text = malloc(opay_b64url_len(size) + 1);
    raw = malloc(size + 1);

    /* as text: what decodes encodes to the same */

    s.data = (const char *) data;
    s.len = size;

    if (opay_b64url_decode(s, raw, size, &n) == OPAY_OK) {
        m = opay_b64url_encode(raw, n, text);

        if (m != size || memcmp(text, data, size) != 0) {
            abort();
        }
    }

    /* as bytes: there and back */

    m = opay_b64url_encode(data, size, text);
    s.data = text;
    s.len = m;

    if (m != opay_b64url_len(size)
        || opay_b64url_decode(s, raw, size, &n) != OPAY_OK || n != size
        || (size && memcmp(raw, data, size) != 0))
    {
        abort();
    }

    free(text);
    free(raw);

    return 0;
}
