
#include "opay_b64.h"


static const char  opay_b64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


size_t
opay_b64url_encode(const void *src, size_t n, char *dst)
{
    char           *d;
    uint32_t        v;
    const char     *a;
    const uint8_t  *s;

    a = opay_b64url_alphabet;
    s = src;
    d = dst;

    for ( /* void */ ; n >= 3; n -= 3, s += 3) {
        v = (uint32_t) s[0] << 16 | (uint32_t) s[1] << 8 | s[2];

        *d++ = a[v >> 18];
        *d++ = a[v >> 12 & 63];
        *d++ = a[v >> 6 & 63];
        *d++ = a[v & 63];
    }

    if (n == 2) {
        v = (uint32_t) s[0] << 8 | s[1];

        *d++ = a[v >> 10];
        *d++ = a[v >> 4 & 63];
        *d++ = a[v << 2 & 63];

    } else if (n == 1) {
        *d++ = a[s[0] >> 2];
        *d++ = a[s[0] << 4 & 63];
    }

    *d = '\0';

    return d - dst;
}


static int
opay_b64url_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    if (c == '-') {
        return 62;
    }

    return c == '_' ? 63 : -1;
}


int
opay_b64url_decode(opay_str_t src, uint8_t *dst, size_t cap, size_t *n)
{
    int       c;
    size_t    i, len, out;
    uint32_t  acc;
    unsigned  bits;

    len = src.len / 4 * 3 + (src.len % 4 ? src.len % 4 - 1 : 0);

    if (src.len % 4 == 1 || len > cap) {
        return OPAY_ERROR;
    }

    acc = 0;
    out = 0;
    bits = 0;

    for (i = 0; i < src.len; i++) {
        c = opay_b64url_value((unsigned char) src.data[i]);

        if (c < 0) {
            return OPAY_ERROR;
        }

        acc = (acc << 6 | (uint32_t) c) & 0xffff;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            dst[out++] = (uint8_t) (acc >> bits);
        }
    }

    /* what is left over carries no byte; a second spelling would hide there */

    if (acc & ((1u << bits) - 1)) {
        return OPAY_ERROR;
    }

    *n = out;

    return OPAY_OK;
}
