
/*
 * libFuzzer: first line is a template and a query string, the rest a path.
 * What matches can be put together again from its parameters; what decodes is
 * UTF-8 without NUL.
 */

#include <stdlib.h>

#include "opay_json.h"
#include "opay_path.h"


#define FUZZ_PARAMS  4


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* The path that a template and the values of its parameters stand for. */

static opay_str_t
fuzz_path_build(opay_arena_t *a, opay_str_t tmpl, opay_str_t *v)
{
    char        *p, *out;
    size_t       i, n, total;
    opay_str_t   s;

    for (total = tmpl.len, i = 0; i < FUZZ_PARAMS; i++) {
        total += v[i].len;
    }

    out = opay_arena_alloc(a, total);
    if (out == NULL) {
        abort();
    }

    for (p = out, i = 0; i < tmpl.len; i += n) {

        for (n = 1; i + n < tmpl.len && tmpl.data[i + n] != '/'; n++) {
            /* void */
        }

        /* "/{x}" and not "/{}" */

        if (n > 3 && tmpl.data[i + 1] == '{' && tmpl.data[i + n - 1] == '}') {
            *p++ = '/';
            memcpy(p, v->data, v->len);
            p += v->len;
            v++;

        } else {
            memcpy(p, tmpl.data + i, n);
            p += n;
        }
    }

    s.data = out;
    s.len = (size_t) (p - out);

    return s;
}


static void
fuzz_path_match(opay_arena_t *a, opay_str_t tmpl, opay_str_t path)
{
    size_t      i;
    opay_str_t  v[FUZZ_PARAMS];

    memset(v, 0, sizeof(v));

    if (opay_path_match(tmpl, path, v, FUZZ_PARAMS) != OPAY_OK) {
        return;
    }

    for (i = 0; i < FUZZ_PARAMS && v[i].data; i++) {
        if (v[i].len == 0 || memchr(v[i].data, '/', v[i].len)) {
            abort();
        }
    }

    if (!opay_str_eq(fuzz_path_build(a, tmpl, v), path)
        || opay_path_more_specific(tmpl, tmpl))
    {
        abort();
    }
}


static void
fuzz_path_text(opay_str_t s, size_t most)
{
    size_t  n;

    if (s.data
        && (opay_utf8_length(s, &n) != OPAY_OK || s.len > most
            || s.data[s.len] != '\0' || memchr(s.data, '\0', s.len)))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    opay_str_t     a, b, out;
    const char    *eol;
    opay_arena_t  *arena;

    if (size == 0) {
        return 0;
    }

    arena = opay_arena_create(256);
    if (arena == NULL) {
        return 0;
    }

    eol = memchr(data, '\n', size);

    a.data = (const char *) data;
    a.len = eol ? (size_t) (eol - a.data) : size;
    b.data = eol ? eol + 1 : a.data;
    b.len = eol ? size - a.len - 1 : size;

    fuzz_path_match(arena, a, b);
    (void) opay_path_more_specific(a, b);

    out.data = NULL;

    if (opay_path_decode(arena, b, 0, &out) == OPAY_OK) {
        fuzz_path_text(out, b.len);
    }

    if (opay_query_arg(arena, a, "limit", &out) == OPAY_OK) {
        fuzz_path_text(out, a.len);

    } else if (out.data) {
        abort();
    }

    opay_arena_destroy(arena);

    return 0;
}
