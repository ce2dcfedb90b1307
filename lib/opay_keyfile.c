
#include "opay_keyfile.h"


static int
opay_keyfile_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


static int
opay_keyfile_line(const char *p, size_t n, opay_keyfile_t *f)
{
    int       hi, lo;
    size_t    i;
    unsigned  kid;

    kid = 1;

    if (n > 64) {
        kid = 0;

        for (i = 0; i < n && i < 3 && p[i] >= '0' && p[i] <= '9'; i++) {
            kid = kid * 10 + (unsigned) (p[i] - '0');
        }

        if (i == n || p[i] != ':' || kid == 0 || kid > 255) {
            return OPAY_ERROR;
        }

        p += i + 1;
        n -= i + 1;
    }

    if (n != 64) {
        return OPAY_ERROR;
    }

    f->kid = (uint8_t) kid;

    for (i = 0; i < 32; i++) {
        hi = opay_keyfile_digit(p[2 * i]);
        lo = opay_keyfile_digit(p[2 * i + 1]);

        if (hi < 0 || lo < 0) {
            return OPAY_ERROR;
        }

        f->key[i] = (uint8_t) (hi << 4 | lo);
    }

    return OPAY_OK;
}


int
opay_keyfile_parse(opay_str_t text, opay_keyfile_t *file, unsigned max,
    unsigned *n)
{
    size_t       len;
    unsigned     i;
    const char  *p, *end, *eol;

    *n = 0;
    p = text.data;
    end = p + text.len;

    while (end > p && (end[-1] == '\n' || end[-1] == '\r')) {
        end--;
    }

    while (p < end) {
        eol = memchr(p, '\n', end - p);
        len = (eol ? eol : end) - p;

        if (len > 0 && p[len - 1] == '\r') {
            len--;
        }

        if (*n == max || opay_keyfile_line(p, len, &file[*n]) != OPAY_OK) {
            return OPAY_ERROR;
        }

        for (i = 0; i < *n; i++) {
            if (file[i].kid == file[*n].kid) {
                return OPAY_ERROR;
            }
        }

        (*n)++;
        p = eol ? eol + 1 : end;
    }

    return *n ? OPAY_OK : OPAY_ERROR;
}
