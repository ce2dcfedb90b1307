
/* Decoding: see opay_json.h.  The tables are in opay_json_unpack.c. */

#include "opay_json.h"


/*
 * jansson recurses per level, so the depth is known before it starts.  The
 * scan is right for JSON; anything else fails in jansson later.
 */

static int
opay_json_scan(opay_str_t s, size_t *at)
{
    int     quoted;
    size_t  i, depth;

    quoted = 0;
    depth = 0;

    for (i = 0; i < s.len; i++) {

        switch (s.data[i]) {

        case '\\':
            i += quoted;
            break;

        case '"':
            quoted = !quoted;
            break;

        case '{':
        case '[':
            if (!quoted && ++depth > OPAY_JSON_DEPTH) {
                *at = i;
                return OPAY_ERROR;
            }

            break;

        case '}':
        case ']':
            if (!quoted && depth > 0) {
                depth--;
            }

            break;

        default:
            break;
        }
    }

    return OPAY_OK;
}


static const char *
opay_json_reason(const json_error_t *e)
{
    switch (json_error_code(e)) {

    case json_error_out_of_memory:
        return "out of memory";

    case json_error_invalid_utf8:
        return "not UTF-8";

    case json_error_premature_end_of_input:
        return "it ends too early";

    case json_error_end_of_input_expected:
        return "there is more after the object";

    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "NUL is not allowed";

    case json_error_duplicate_key:
        return "a member is there twice";

    case json_error_numeric_overflow:
        return "a number is too large";

    default:
        return "syntax error";
    }
}


static json_t *
opay_json_refuse(opay_arena_t *a, const char **error, size_t at,
    const char *reason)
{
    opay_str_t  s;

    s = opay_arena_printf(a, "The body is not acceptable at byte %zu: %s.",
                          at, reason);

    *error = s.data ? s.data : "The body is not acceptable.";

    return NULL;
}


static void
opay_json_free(void *data)
{
    json_decref(data);
}


json_t *
opay_json_decode(opay_arena_t *a, opay_str_t s, const char **error)
{
    size_t         at;
    json_t        *v;
    const char    *nul;
    json_error_t   e;

    if (s.len == 0) {
        return opay_json_refuse(a, error, 0, "it is empty");
    }

    if (s.len >= 3 && memcmp(s.data, "\xef\xbb\xbf", 3) == 0) {
        return opay_json_refuse(a, error, 0, "byte order mark");
    }

    nul = memchr(s.data, '\0', s.len);
    if (nul) {
        return opay_json_refuse(a, error, (size_t) (nul - s.data),
                                "NUL is not allowed");
    }

    if (opay_json_scan(s, &at) != OPAY_OK) {
        return opay_json_refuse(a, error, at, "nested too deep");
    }

    v = json_loadb(s.data, s.len, JSON_REJECT_DUPLICATES, &e);

    if (v == NULL) {
        return opay_json_refuse(a, error,
                                e.position > 0 ? (size_t) e.position : 0,
                                opay_json_reason(&e));
    }

    if (!json_is_object(v)) {
        json_decref(v);
        return opay_json_refuse(a, error, 0, "it must be an object");
    }

    if (opay_arena_cleanup(a, opay_json_free, v) != OPAY_OK) {
        json_decref(v);
        return opay_json_refuse(a, error, 0, "out of memory");
    }

    return v;
}


size_t
opay_utf8_next(const char *p, const char *end)
{
    size_t               i, n;
    unsigned char        c, lo, hi;
    const unsigned char *u;

    u = (const unsigned char *) p;

    if (p == end) {
        return 0;
    }

    c = u[0];

    if (c < 0x80) {
        return 1;
    }

    /* the range of the second byte is what rules out the bad forms */

    lo = 0x80;
    hi = 0xbf;

    if (c >= 0xc2 && c <= 0xdf) {
        n = 2;

    } else if (c >= 0xe0 && c <= 0xef) {
        n = 3;
        lo = c == 0xe0 ? 0xa0 : 0x80;
        hi = c == 0xed ? 0x9f : 0xbf;

    } else if (c >= 0xf0 && c <= 0xf4) {
        n = 4;
        lo = c == 0xf0 ? 0x90 : 0x80;
        hi = c == 0xf4 ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if ((size_t) (end - p) < n || u[1] < lo || u[1] > hi) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


int
opay_utf8_length(opay_str_t s, size_t *n)
{
    size_t       step, count;
    const char  *p, *end;

    p = s.data;
    end = p + s.len;

    for (count = 0; p < end; count++) {

        step = opay_utf8_next(p, end);
        if (step == 0) {
            return OPAY_ERROR;
        }

        p += step;
    }

    *n = count;

    return OPAY_OK;
}


static int
opay_json_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}


/*
 * Do n digits begin as card numbers of that length do?  Luhn alone lets one
 * time stamp or serial number in ten through.  16 digits with a 9 are local
 * Korean cards.
 */

static int
opay_pan_brand(const char *d, size_t n)
{
    int   four;
    char  second;

    second = d[1];
    four = (d[0] - '0') * 1000 + (d[1] - '0') * 100 + (d[2] - '0') * 10
           + (d[3] - '0');

    switch (d[0]) {

    case '2':
        return n == 16 && four >= 2200 && four <= 2720;

    case '3':

        if (second == '4' || second == '7') {
            return n == 15;
        }

        if (second == '5') {
            return n >= 16;
        }

        return n != 13 && n != 15
               && (second == '0' || second == '6' || second == '8'
                   || second == '9');

    case '4':
        return n == 13 || n == 16 || n == 19;

    case '5':
    case '6':
        return n >= 16;

    case '9':
        return n == 16;

    default:
        return 0;
    }
}


static int
opay_pan_luhn(const char *digits, size_t n)
{
    size_t    i;
    unsigned  d, sum;

    for (sum = 0, i = 0; i < n; i++) {

        d = (unsigned) (digits[n - 1 - i] - '0');

        if (i & 1) {
            d = d > 4 ? 2 * d - 9 : 2 * d;
        }

        sum += d;
    }

    return sum % 10 == 0;
}


/* A number that begins at p: groups of digits, whole ones only. */

static int
opay_pan_at(const char *p, const char *end)
{
    char    digits[19];
    size_t  n;

    for (n = 0; ; p++) {

        while (opay_json_digit(p, end)) {

            if (n == sizeof(digits)) {
                return 0;
            }

            digits[n++] = *p++;
        }

        if (n >= 13 && opay_pan_brand(digits, n)
            && opay_pan_luhn(digits, n))
        {
            return 1;
        }

        if (p >= end || (*p != ' ' && *p != '-')
            || !opay_json_digit(p + 1, end))
        {
            return 0;
        }
    }
}


int
opay_pan_like(opay_str_t s)
{
    const char  *p, *end;

    if (s.len < 13) {
        return 0;
    }

    p = s.data;
    end = p + s.len;

    while (p < end) {

        if (!opay_json_digit(p, end)) {
            p++;
            continue;
        }

        if (opay_pan_at(p, end)) {
            return 1;
        }

        while (opay_json_digit(p, end)) {
            p++;
        }
    }

    return 0;
}
