
/*
 * opay_base: the few types that every other file of lib/ is written in.
 *
 * DESIGN
 *
 * lib/ is pure C: no nginx type, no nginx call, no global state.  It is
 * linked into ngx_opay_core_module.so, into opay-sidecar and pgsim, and into
 * the unit tests.  Memory comes from the caller: either a buffer, or an
 * opay_arena_t that is freed whole.  An arena belongs to one thread at a
 * time; handing it to another thread needs a hand-over that orders memory
 * (the nginx thread pool's queue does).
 */

#ifndef OPAY_BASE_H_INCLUDED
#define OPAY_BASE_H_INCLUDED

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>


/* Bytes with a length; not NUL-terminated unless a function says so. */
typedef struct {
    size_t       len;
    const char  *data;
} opay_str_t;

#define opay_str(lit)    { sizeof(lit) - 1, lit }
#define opay_str_null    { 0, NULL }

#define OPAY_OK      0
#define OPAY_ERROR  (-1)


/* A UUID in network byte order, as stored in a BINARY(16) column. */
typedef struct {
    uint8_t  b[16];
} opay_uuid_t;

#define OPAY_UUID_TEXT  36        /* length of 8-4-4-4-12, without NUL */


/*
 * Arena: bump allocation out of malloc'ed blocks, freed all at once.
 * Allocations are 16-byte aligned.  NULL means out of memory.
 */
typedef struct opay_arena_s  opay_arena_t;

opay_arena_t *opay_arena_create(size_t block);
void opay_arena_destroy(opay_arena_t *a);
void *opay_arena_alloc(opay_arena_t *a, size_t size);
void *opay_arena_zalloc(opay_arena_t *a, size_t size);
void *opay_arena_dup(opay_arena_t *a, const void *p, size_t len);

/* Copies add a NUL that is not counted in len. */
char *opay_arena_strdup(opay_arena_t *a, const char *s);
opay_str_t opay_arena_str(opay_arena_t *a, opay_str_t s);

/* printf into the arena; data is NULL when out of memory. */
opay_str_t opay_arena_printf(opay_arena_t *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* fn(data) runs at opay_arena_destroy(), last registered first. */
int opay_arena_cleanup(opay_arena_t *a, void (*fn)(void *data), void *data);


static inline opay_str_t
opay_str_of(const char *s)
{
    opay_str_t  r;

    r.len = s ? strlen(s) : 0;
    r.data = s;

    return r;
}


static inline int
opay_str_eq(opay_str_t a, opay_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


static inline int
opay_str_is(opay_str_t a, const char *s)
{
    return opay_str_eq(a, opay_str_of(s));
}


/* Milliseconds since the epoch, UTC; the only time unit in tables and code. */
int64_t opay_now_ms(void);

/* Milliseconds of a clock that never goes back; for deadlines only. */
int64_t opay_mono_ms(void);

#define OPAY_TIME_TEXT  24        /* 2026-11-22T09:30:00.123Z, without NUL */

/* buf holds at least OPAY_TIME_TEXT + 1 bytes; NUL-terminated; returns buf. */
char *opay_time_format(int64_t ms, char *buf);

/* RFC 3339 with any offset; OPAY_ERROR on anything else. */
int opay_time_parse(opay_str_t s, int64_t *ms);


/* Version 7 (RFC 9562): time-ordered, monotonic within a process. */
int opay_uuid_v7(opay_uuid_t *u);

/* buf holds at least OPAY_UUID_TEXT + 1 bytes; lower case; returns buf. */
char *opay_uuid_format(const opay_uuid_t *u, char *buf);

/* Strict 8-4-4-4-12 hex, either case. */
int opay_uuid_parse(opay_str_t s, opay_uuid_t *u);


static inline int
opay_uuid_eq(const opay_uuid_t *a, const opay_uuid_t *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}


/* n bytes from the kernel's CSPRNG. */
int opay_random(void *buf, size_t n);

/* out has 32 bytes.  Thread-safe. */
int opay_sha256(const void *p, size_t n, uint8_t *out);
int opay_hmac_sha256(const void *key, size_t klen, const void *p, size_t n,
    uint8_t *out);


#endif /* OPAY_BASE_H_INCLUDED */
