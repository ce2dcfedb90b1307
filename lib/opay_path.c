
/* See opay_path.h. */

#include "opay_json.h"
#include "opay_path.h"


/* Takes the next "/segment" off *s; OPAY_ERROR: there is none. */

static int
opay_path_segment(opay_str_t *s, opay_str_t *seg)
{
    size_t  n;

    if (s->len == 0 || s->data[0] != '/') {
        return OPAY_ERROR;
    }

    for (n = 1; n < s->len && s->data[n] != '/'; n++) { /* void */ }

    seg->data = s->data + 1;
    seg->len = n - 1;

    s->data += n;
    s->len -= n;

    return OPAY_OK;
}


static int
opay_path_is_param(opay_str_t seg)
{
    return seg.len > 2 && seg.data[0] == '{' && seg.data[seg.len - 1] == '}';
}


/* What a parameter may be: not empty, no dot segment, no control bytes. */

static int
opay_path_value(opay_str_t seg)
{
    size_t  i;

    if (seg.len == 0 || opay_str_is(seg, ".") || opay_str_is(seg, "..")) {
        return OPAY_ERROR;
    }

    for (i = 0; i < seg.len; i++) {
        if ((unsigned char) seg.data[i] < 0x20 || seg.data[i] == 0x7f) {
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


int
opay_path_match(opay_str_t tmpl, opay_str_t path, opay_str_t *values,
    size_t n)
{
    size_t      i;
    opay_str_t  t, p;

    for (i = 0; tmpl.len; /* void */) {

        if (opay_path_segment(&tmpl, &t) != OPAY_OK
            || opay_path_segment(&path, &p) != OPAY_OK)
        {
            return OPAY_ERROR;
        }

        if (!opay_path_is_param(t)) {

            if (!opay_str_eq(t, p)) {
                return OPAY_ERROR;
            }

            continue;
        }

        if (i == n || opay_path_value(p) != OPAY_OK) {
            return OPAY_ERROR;
        }

        values[i++] = p;
    }

    return path.len ? OPAY_ERROR : OPAY_OK;
}


int
opay_path_more_specific(opay_str_t a, opay_str_t b)
{
    int         pa, pb;
    opay_str_t  sa, sb;

    while (opay_path_segment(&a, &sa) == OPAY_OK
           && opay_path_segment(&b, &sb) == OPAY_OK)
    {
        pa = opay_path_is_param(sa);
        pb = opay_path_is_param(sb);

        if (pa != pb) {
            return pb;
        }
    }

    return 0;
}


static int
opay_path_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* One byte of src from *i on, decoded; -1: bad "%", or NUL. */

static int
opay_path_byte(opay_str_t src, int plus, size_t *i)
{
    int   hi, lo, c;
    char  raw;

    raw = src.data[(*i)++];

    if (raw == '+' && plus) {
        return ' ';
    }

    c = (unsigned char) raw;

    if (raw == '%') {

        if (src.len - *i < 2) {
            return -1;
        }

        hi = opay_path_hex(src.data[*i]);
        lo = opay_path_hex(src.data[*i + 1]);

        if (hi < 0 || lo < 0) {
            return -1;
        }

        c = hi << 4 | lo;
        *i += 2;
    }

    return c ? c : -1;
}


int
opay_path_decode(opay_arena_t *a, opay_str_t src, int plus, opay_str_t *dst)
{
    int          c;
    char        *p;
    size_t       i, n;
    opay_str_t   s;

    p = opay_arena_alloc(a, src.len + 1);
    if (p == NULL) {
        return OPAY_ERROR;
    }

    for (i = 0, n = 0; i < src.len; n++) {

        c = opay_path_byte(src, plus, &i);

        if (c < 0) {
            return OPAY_ERROR;
        }

        p[n] = (char) c;
    }

    p[n] = '\0';

    s.data = p;
    s.len = n;

    if (opay_utf8_length(s, &i) != OPAY_OK) {
        return OPAY_ERROR;
    }

    *dst = s;

    return OPAY_OK;
}


static int
opay_query_named(opay_str_t raw, const char *name)
{
    int     c;
    size_t  i;

    for (i = 0; i < raw.len; name++) {

        c = opay_path_byte(raw, 1, &i);

        if (c < 0 || c != (unsigned char) *name) {
            return 0;
        }
    }

    return *name == '\0';
}


int
opay_query_arg(opay_arena_t *a, opay_str_t query, const char *name,
    opay_str_t *value)
{
    const char  *p, *end, *amp, *eq;
    opay_str_t   key, raw;

    value->len = 0;
    value->data = NULL;

    if (query.len == 0) {
        return OPAY_OK;
    }

    end = query.data + query.len;

    for (p = query.data; p < end; p = amp + 1) {

        amp = memchr(p, '&', (size_t) (end - p));
        if (amp == NULL) {
            amp = end;
        }

        eq = memchr(p, '=', (size_t) (amp - p));

        key.data = p;
        key.len = (size_t) ((eq ? eq : amp) - p);

        if (!opay_query_named(key, name)) {
            continue;
        }

        raw.data = eq ? eq + 1 : amp;
        raw.len = (size_t) (amp - raw.data);

        return opay_path_decode(a, raw, 1, value);
    }

    return OPAY_OK;
}
