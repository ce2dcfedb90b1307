
/*
 * opay_jsonw: writes JSON into an arena.
 *
 * DESIGN
 *
 * A writer is a struct on the caller's stack; its buffer is in the arena and
 * grows by doubling.  Commas come by themselves.  Out of memory is sticky:
 * calls after it do nothing and opay_jw_result() says so, so that callers
 * check once.  Nesting is the caller's business: nothing counts the ends.
 *
 *   opay_jw_init(&w, call->arena, 256);
 *   opay_jw_obj(&w);
 *   opay_jw_kuuid(&w, "id", &order->id);
 *   opay_jw_key(&w, "items");
 *   opay_jw_arr(&w);
 *   ...
 *   opay_jw_arr_end(&w);
 *   opay_jw_obj_end(&w);
 *   body = opay_jw_result(&w);
 */

#ifndef OPAY_JSONW_H_INCLUDED
#define OPAY_JSONW_H_INCLUDED

#include <jansson.h>

#include "opay_base.h"


typedef struct {
    opay_arena_t  *arena;
    char          *start;
    char          *pos;
    char          *end;
    unsigned       comma;              /* a value stands before this place */
    unsigned       failed;
} opay_jw_t;


/* hint: expected size in bytes; more is fine. */
void opay_jw_init(opay_jw_t *w, opay_arena_t *a, size_t hint);

void opay_jw_obj(opay_jw_t *w);
void opay_jw_obj_end(opay_jw_t *w);
void opay_jw_arr(opay_jw_t *w);
void opay_jw_arr_end(opay_jw_t *w);

/* A member name, written as it is: plain ASCII of our own, no escapes. */
void opay_jw_key(opay_jw_t *w, const char *name);

/* data NULL writes null.  Bytes that are no UTF-8 become U+FFFD. */
void opay_jw_str(opay_jw_t *w, opay_str_t s);
void opay_jw_cstr(opay_jw_t *w, const char *s);

void opay_jw_i64(opay_jw_t *w, int64_t v);
void opay_jw_bool(opay_jw_t *w, int v);
void opay_jw_null(opay_jw_t *w);
void opay_jw_uuid(opay_jw_t *w, const opay_uuid_t *u);    /* NULL: null */
void opay_jw_time(opay_jw_t *w, int64_t ms);              /* RFC 3339 */

/* Bytes that are JSON already: a value, or members.  Empty: null. */
void opay_jw_raw(opay_jw_t *w, opay_str_t s);

/* A jansson value, compact; NULL writes null. */
void opay_jw_json(opay_jw_t *w, json_t *v);

/* What was written; NUL-terminated; data NULL: out of memory. */
opay_str_t opay_jw_result(opay_jw_t *w);


static inline void
opay_jw_kstr(opay_jw_t *w, const char *name, opay_str_t s)
{
    opay_jw_key(w, name);
    opay_jw_str(w, s);
}


static inline void
opay_jw_kcstr(opay_jw_t *w, const char *name, const char *s)
{
    opay_jw_key(w, name);
    opay_jw_cstr(w, s);
}


static inline void
opay_jw_ki64(opay_jw_t *w, const char *name, int64_t v)
{
    opay_jw_key(w, name);
    opay_jw_i64(w, v);
}


static inline void
opay_jw_kbool(opay_jw_t *w, const char *name, int v)
{
    opay_jw_key(w, name);
    opay_jw_bool(w, v);
}


static inline void
opay_jw_knull(opay_jw_t *w, const char *name)
{
    opay_jw_key(w, name);
    opay_jw_null(w);
}


static inline void
opay_jw_kuuid(opay_jw_t *w, const char *name, const opay_uuid_t *u)
{
    opay_jw_key(w, name);
    opay_jw_uuid(w, u);
}


static inline void
opay_jw_ktime(opay_jw_t *w, const char *name, int64_t ms)
{
    opay_jw_key(w, name);
    opay_jw_time(w, ms);
}


/* For nullable BIGINT columns that are read as 0 when NULL. */
static inline void
opay_jw_ktime_or_null(opay_jw_t *w, const char *name, int64_t ms)
{
    opay_jw_key(w, name);

    if (ms) {
        opay_jw_time(w, ms);

    } else {
        opay_jw_null(w);
    }
}


#endif /* OPAY_JSONW_H_INCLUDED */
