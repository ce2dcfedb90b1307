
/* See opay_jsonw.h. */

#include "opay_json.h"
#include "opay_jsonw.h"


#define OPAY_JW_MIN  64


static int opay_jw_grow(opay_jw_t *w, size_t n);


/*
 * What a byte of a string becomes: 0 as it is, 'u' \u00XX, 0x80 part of a
 * UTF-8 sequence, else a backslash and this letter.
 */

#define U   'u'
#define M   0x80

static const unsigned char  opay_jw_class[256] = {
    U, U, U, U, U, U, U, U, 'b', 't', 'n', U, 'f', 'r', U, U,
    U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U,
    0, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, U,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M
};

#undef U
#undef M


/* Room for n bytes at w->pos and for the NUL of opay_jw_result(). */

static inline int
opay_jw_room(opay_jw_t *w, size_t n)
{
    if ((size_t) (w->end - w->pos) > n) {
        return OPAY_OK;
    }

    return opay_jw_grow(w, n);
}


void
opay_jw_init(opay_jw_t *w, opay_arena_t *a, size_t hint)
{
    if (hint < OPAY_JW_MIN) {
        hint = OPAY_JW_MIN;
    }

    w->arena = a;
    w->comma = 0;
    w->start = opay_arena_alloc(a, hint);
    w->failed = w->start == NULL;
    w->pos = w->start;
    w->end = w->failed ? NULL : w->start + hint;
}


static int
opay_jw_grow(opay_jw_t *w, size_t n)
{
    char    *p;
    size_t   used, size;

    if (w->failed) {
        return OPAY_ERROR;
    }

    used = (size_t) (w->pos - w->start);

    if (n > SIZE_MAX / 8 || used > SIZE_MAX / 8) {
        w->failed = 1;
        return OPAY_ERROR;
    }

    size = 2 * (used + n + 1);

    p = opay_arena_alloc(w->arena, size);

    if (p == NULL) {
        w->failed = 1;
        w->pos = w->end = w->start;
        return OPAY_ERROR;
    }

    memcpy(p, w->start, used);

    w->start = p;
    w->pos = p + used;
    w->end = p + size;

    return OPAY_OK;
}


/* Begins a value: the comma before it, and room for it. */

static inline int
opay_jw_value(opay_jw_t *w, size_t n)
{
    if (opay_jw_room(w, n + 1) != OPAY_OK) {
        return OPAY_ERROR;
    }

    if (w->comma) {
        *w->pos++ = ',';
    }

    w->comma = 1;

    return OPAY_OK;
}


static void
opay_jw_open(opay_jw_t *w, char c)
{
    if (opay_jw_value(w, 1) == OPAY_OK) {
        *w->pos++ = c;
        w->comma = 0;
    }
}


static void
opay_jw_close(opay_jw_t *w, char c)
{
    if (opay_jw_room(w, 1) == OPAY_OK) {
        *w->pos++ = c;
        w->comma = 1;
    }
}


static void
opay_jw_copy(opay_jw_t *w, const char *p, size_t n)
{
    if (opay_jw_value(w, n) == OPAY_OK) {
        memcpy(w->pos, p, n);
        w->pos += n;
    }
}


void
opay_jw_obj(opay_jw_t *w)
{
    opay_jw_open(w, '{');
}


void
opay_jw_obj_end(opay_jw_t *w)
{
    opay_jw_close(w, '}');
}


void
opay_jw_arr(opay_jw_t *w)
{
    opay_jw_open(w, '[');
}


void
opay_jw_arr_end(opay_jw_t *w)
{
    opay_jw_close(w, ']');
}


void
opay_jw_key(opay_jw_t *w, const char *name)
{
    size_t  n;

    n = strlen(name);

    if (opay_jw_value(w, n + 3) != OPAY_OK) {
        return;
    }

    *w->pos++ = '"';
    memcpy(w->pos, name, n);
    w->pos += n;
    *w->pos++ = '"';
    *w->pos++ = ':';

    w->comma = 0;
}


/* One byte or sequence that does not go as it is; returns what follows. */

static const char *
opay_jw_escape(opay_jw_t *w, const char *p, const char *end)
{
    size_t               n;
    unsigned char        c, kind;
    static const char    hex[] = "0123456789abcdef";

    c = (unsigned char) *p;
    kind = opay_jw_class[c];

    if (kind == 0x80) {

        n = opay_utf8_next(p, end);

        if (n) {
            memcpy(w->pos, p, n);
            w->pos += n;
            return p + n;
        }

        memcpy(w->pos, "\xef\xbf\xbd", 3);
        w->pos += 3;

        return p + 1;
    }

    *w->pos++ = '\\';
    *w->pos++ = (char) kind;

    if (kind == 'u') {
        *w->pos++ = '0';
        *w->pos++ = '0';
        *w->pos++ = hex[c >> 4];
        *w->pos++ = hex[c & 0x0f];
    }

    return p + 1;
}


void
opay_jw_str(opay_jw_t *w, opay_str_t s)
{
    size_t       n;
    const char  *p, *end, *run;

    if (s.data == NULL) {
        opay_jw_null(w);
        return;
    }

    if (opay_jw_value(w, s.len + 2) != OPAY_OK) {
        return;
    }

    *w->pos++ = '"';

    p = s.data;
    end = p + s.len;

    for ( ;; ) {

        for (run = p; p < end && !opay_jw_class[(unsigned char) *p]; p++) {
            /* void */
        }

        n = (size_t) (p - run);

        if (n) {
            memcpy(w->pos, run, n);
            w->pos += n;
        }

        if (p == end) {
            break;
        }

        /* 6: the longest escape; the rest as it is, and the last quote */

        if (opay_jw_room(w, 6 + (size_t) (end - p) + 1) != OPAY_OK) {
            return;
        }

        p = opay_jw_escape(w, p, end);
    }

    *w->pos++ = '"';
}


void
opay_jw_cstr(opay_jw_t *w, const char *s)
{
    opay_jw_str(w, opay_str_of(s));
}


void
opay_jw_i64(opay_jw_t *w, int64_t v)
{
    char      buf[20], *p;
    uint64_t  u;

    p = buf + sizeof(buf);
    u = v < 0 ? 0 - (uint64_t) v : (uint64_t) v;

    do {
        *--p = (char) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (v < 0) {
        *--p = '-';
    }

    opay_jw_copy(w, p, (size_t) (buf + sizeof(buf) - p));
}


void
opay_jw_bool(opay_jw_t *w, int v)
{
    if (v) {
        opay_jw_copy(w, "true", 4);

    } else {
        opay_jw_copy(w, "false", 5);
    }
}


void
opay_jw_null(opay_jw_t *w)
{
    opay_jw_copy(w, "null", 4);
}


void
opay_jw_uuid(opay_jw_t *w, const opay_uuid_t *u)
{
    if (u == NULL) {
        opay_jw_null(w);
        return;
    }

    if (opay_jw_value(w, OPAY_UUID_TEXT + 3) != OPAY_OK) {
        return;
    }

    *w->pos++ = '"';
    (void) opay_uuid_format(u, w->pos);
    w->pos += OPAY_UUID_TEXT;
    *w->pos++ = '"';
}


void
opay_jw_time(opay_jw_t *w, int64_t ms)
{
    if (opay_jw_value(w, OPAY_TIME_TEXT + 3) != OPAY_OK) {
        return;
    }

    *w->pos++ = '"';
    (void) opay_time_format(ms, w->pos);
    w->pos += OPAY_TIME_TEXT;
    *w->pos++ = '"';
}


void
opay_jw_raw(opay_jw_t *w, opay_str_t s)
{
    if (s.len == 0) {
        opay_jw_null(w);
        return;
    }

    opay_jw_copy(w, s.data, s.len);
}


static int
opay_jw_dump(const char *p, size_t n, void *data)
{
    opay_jw_t  *w;

    w = data;

    if (opay_jw_room(w, n) != OPAY_OK) {
        return -1;
    }

    memcpy(w->pos, p, n);
    w->pos += n;

    return 0;
}


void
opay_jw_json(opay_jw_t *w, json_t *v)
{
    if (v == NULL) {
        opay_jw_null(w);
        return;
    }

    if (opay_jw_value(w, 0) != OPAY_OK) {
        return;
    }

    if (json_dump_callback(v, opay_jw_dump, w,
                           JSON_COMPACT|JSON_ENCODE_ANY) != 0)
    {
        w->failed = 1;
    }
}


opay_str_t
opay_jw_result(opay_jw_t *w)
{
    opay_str_t  r = opay_str_null;

    if (w->failed) {
        return r;
    }

    *w->pos = '\0';

    r.len = (size_t) (w->pos - w->start);
    r.data = w->start;

    return r;
}
