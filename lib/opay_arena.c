
/*
 * Arena: see opay_base.h.
 *
 * DESIGN
 *
 * The head sits at the start of the first block, so that a small arena is one
 * malloc().  The newest block of the usual size is the one that is carved; an
 * allocation that would waste most of a block gets one of its own behind it.
 * No lock: one thread at a time.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_base.h"


#define OPAY_ARENA_ALIGN  16
#define OPAY_ARENA_MIN    256

#define opay_arena_align(n)                                                  \
    (((n) + OPAY_ARENA_ALIGN - 1) & ~((size_t) OPAY_ARENA_ALIGN - 1))


typedef struct opay_arena_block_s    opay_arena_block_t;
typedef struct opay_arena_cleanup_s  opay_arena_cleanup_t;


struct opay_arena_block_s {
    opay_arena_block_t    *next;
};


struct opay_arena_cleanup_s {
    opay_arena_cleanup_t  *next;
    void                 (*fn)(void *data);
    void                  *data;
};


struct opay_arena_s {
    char                  *pos;        /* the rest of the current block */
    char                  *end;
    size_t                 block;      /* payload of an ordinary block */
    opay_arena_block_t    *blocks;     /* all but the first */
    opay_arena_cleanup_t  *cleanups;
};


#define OPAY_ARENA_HEAD   opay_arena_align(sizeof(opay_arena_t))
#define OPAY_ARENA_BLOCK  opay_arena_align(sizeof(opay_arena_block_t))


opay_arena_t *
opay_arena_create(size_t block)
{
    opay_arena_t  *a;

    if (block > SIZE_MAX / 2) {
        return NULL;
    }

    if (block < OPAY_ARENA_MIN) {
        block = OPAY_ARENA_MIN;
    }

    block = opay_arena_align(block);

    a = malloc(OPAY_ARENA_HEAD + block);
    if (a == NULL) {
        return NULL;
    }

    a->pos = (char *) a + OPAY_ARENA_HEAD;
    a->end = a->pos + block;
    a->block = block;
    a->blocks = NULL;
    a->cleanups = NULL;

    return a;
}


void
opay_arena_destroy(opay_arena_t *a)
{
    opay_arena_block_t    *b, *next;
    opay_arena_cleanup_t  *c;

    if (a == NULL) {
        return;
    }

    /* a handler may still use the arena, and even register another */

    while ((c = a->cleanups) != NULL) {
        a->cleanups = c->next;
        c->fn(c->data);
    }

    for (b = a->blocks; b; b = next) {
        next = b->next;
        free(b);
    }

    free(a);
}


static void *
opay_arena_grow(opay_arena_t *a, size_t size)
{
    size_t               n;
    char                *p;
    opay_arena_block_t  *b;

    n = size > a->block / 4 ? size : a->block;

    b = malloc(OPAY_ARENA_BLOCK + n);
    if (b == NULL) {
        return NULL;
    }

    b->next = a->blocks;
    a->blocks = b;

    p = (char *) b + OPAY_ARENA_BLOCK;

    if (size <= a->block / 4) {
        a->pos = p + size;
        a->end = p + n;
    }

    return p;
}


void *
opay_arena_alloc(opay_arena_t *a, size_t size)
{
    void  *p;

    if (size > SIZE_MAX / 2) {
        return NULL;
    }

    size = opay_arena_align(size ? size : 1);

    if (size > (size_t) (a->end - a->pos)) {
        return opay_arena_grow(a, size);
    }

    p = a->pos;
    a->pos += size;

    return p;
}


void *
opay_arena_zalloc(opay_arena_t *a, size_t size)
{
    void  *p;

    p = opay_arena_alloc(a, size);

    if (p) {
        memset(p, 0, size);
    }

    return p;
}


void *
opay_arena_dup(opay_arena_t *a, const void *src, size_t len)
{
    void  *p;

    p = opay_arena_alloc(a, len);

    if (p && len) {
        memcpy(p, src, len);
    }

    return p;
}


opay_str_t
opay_arena_str(opay_arena_t *a, opay_str_t s)
{
    char        *p;
    opay_str_t   r = opay_str_null;

    if (s.data == NULL || s.len == SIZE_MAX) {
        return r;
    }

    p = opay_arena_alloc(a, s.len + 1);
    if (p == NULL) {
        return r;
    }

    memcpy(p, s.data, s.len);
    p[s.len] = '\0';

    r.len = s.len;
    r.data = p;

    return r;
}


char *
opay_arena_strdup(opay_arena_t *a, const char *s)
{
    return opay_arena_dup(a, s, strlen(s) + 1);
}


opay_str_t
opay_arena_printf(opay_arena_t *a, const char *fmt, ...)
{
    int          n;
    char         buf[256], *p;
    va_list      args;
    opay_str_t   r = opay_str_null;

    va_start(args, fmt);
    n = vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);

    if (n < 0) {
        return r;
    }

    p = opay_arena_alloc(a, (size_t) n + 1);
    if (p == NULL) {
        return r;
    }

    if ((size_t) n < sizeof(buf)) {
        memcpy(p, buf, (size_t) n + 1);

    } else {
        va_start(args, fmt);
        (void) vsnprintf(p, (size_t) n + 1, fmt, args);
        va_end(args);
    }

    r.len = (size_t) n;
    r.data = p;

    return r;
}


int
opay_arena_cleanup(opay_arena_t *a, void (*fn)(void *data), void *data)
{
    opay_arena_cleanup_t  *c;

    c = opay_arena_alloc(a, sizeof(opay_arena_cleanup_t));
    if (c == NULL) {
        return OPAY_ERROR;
    }

    c->fn = fn;
    c->data = data;
    c->next = a->cleanups;
    a->cleanups = c;

    return OPAY_OK;
}
