
/*
 * opay_relay_gaps: see the header.  A rolled back batch burns many adjacent
 * ids, and a restored server may jump by a million: ranges keep both small.
 */

#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>

#include "opay_relay_gaps.h"


void
opay_gaps_clear(opay_gaps_t *g)
{
    g->n = 0;
}


void
opay_gaps_free(opay_gaps_t *g)
{
    free(g->v);
    memset(g, 0, sizeof(*g));
}


/* Index of the first range whose last is not below id. */
static size_t
opay_gaps_find(const opay_gaps_t *g, uint64_t id)
{
    size_t  lo, hi, mid;

    lo = 0;
    hi = g->n;

    while (lo < hi) {
        mid = lo + (hi - lo) / 2;

        if (g->v[mid].last < id) {
            lo = mid + 1;

        } else {
            hi = mid;
        }
    }

    return lo;
}


int
opay_gaps_add(opay_gaps_t *g, uint64_t first, uint64_t last, int64_t seen)
{
    size_t       i, size;
    opay_gap_t  *v;

    if (g->n == g->size) {
        size = g->size ? g->size * 2 : 64;

        v = realloc(g->v, size * sizeof(opay_gap_t));
        if (v == NULL) {
            return OPAY_ERROR;
        }

        g->v = v;
        g->size = size;
    }

    i = opay_gaps_find(g, first);
    memmove(&g->v[i + 1], &g->v[i], (g->n - i) * sizeof(opay_gap_t));
    g->n++;

    g->v[i].first = first;
    g->v[i].last = last;
    g->v[i].seen = seen;

    return OPAY_OK;
}


int
opay_gaps_has(const opay_gaps_t *g, uint64_t id)
{
    size_t  i;

    i = opay_gaps_find(g, id);

    return i < g->n && g->v[i].first <= id;
}


void
opay_gaps_drop(opay_gaps_t *g, size_t i)
{
    g->n--;
    memmove(&g->v[i], &g->v[i + 1], (g->n - i) * sizeof(opay_gap_t));
}


int
opay_gaps_take(opay_gaps_t *g, uint64_t id)
{
    size_t       i;
    uint64_t     last;
    opay_gap_t  *gap;

    i = opay_gaps_find(g, id);

    if (i == g->n || g->v[i].first > id) {
        return 0;
    }

    gap = &g->v[i];

    if (gap->first == gap->last) {
        opay_gaps_drop(g, i);

    } else if (gap->first == id) {
        gap->first++;

    } else if (gap->last == id) {
        gap->last--;

    } else {
        last = gap->last;
        gap->last = id - 1;

        if (opay_gaps_add(g, id + 1, last, gap->seen) != OPAY_OK) {
            g->v[i].last = last;
            return OPAY_ERROR;
        }
    }

    return 1;
}


uint64_t
opay_gaps_count(const opay_gaps_t *g)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < g->n; i++) {
        n += g->v[i].last - g->v[i].first + 1;
    }

    return n;
}


char *
opay_gaps_format(const opay_gaps_t *g, uint64_t upto)
{
    FILE              *f;
    char              *text;
    size_t             i, size;
    uint64_t           last;
    const opay_gap_t  *gap;

    f = open_memstream(&text, &size);
    if (f == NULL) {
        return NULL;
    }

    fputc('[', f);

    for (i = 0; i < g->n && g->v[i].first <= upto; i++) {
        gap = &g->v[i];
        last = gap->last < upto ? gap->last : upto;

        fprintf(f, "%s[%llu,", i ? "," : "",
                (unsigned long long) gap->first);

        if (last > gap->first) {
            fprintf(f, "%llu,", (unsigned long long) last);
        }

        fprintf(f, "%lld]", (long long) gap->seen);
    }

    fputc(']', f);

    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }

    return text;
}


static int
opay_gaps_parse_one(opay_gaps_t *g, json_t *item)
{
    size_t      i, n;
    json_int_t  v[3];

    n = json_array_size(item);

    if (n != 2 && n != 3) {
        return OPAY_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (!json_is_integer(json_array_get(item, i))) {
            return OPAY_ERROR;
        }

        v[i] = json_integer_value(json_array_get(item, i));
    }

    if (v[0] <= 0 || (n == 3 && v[1] < v[0])
        || (g->n && (uint64_t) v[0] <= g->v[g->n - 1].last))
    {
        return OPAY_ERROR;
    }

    return opay_gaps_add(g, (uint64_t) v[0], (uint64_t) v[n - 2], v[n - 1]);
}


int
opay_gaps_parse(opay_gaps_t *g, const char *text, size_t len)
{
    int      rc;
    size_t   i;
    json_t  *root;

    opay_gaps_clear(g);

    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    rc = json_is_array(root) ? OPAY_OK : OPAY_ERROR;

    for (i = 0; rc == OPAY_OK && i < json_array_size(root); i++) {
        rc = opay_gaps_parse_one(g, json_array_get(root, i));
    }

    json_decref(root);

    return rc;
}
