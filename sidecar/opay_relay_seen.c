
/* opay_relay_seen: see the header. */

#include <stdlib.h>

#include "opay_relay_seen.h"


#define OPAY_SEEN_SETS  8192
#define OPAY_SEEN_WAYS  4
#define OPAY_SEEN_TYPE  16


typedef struct {
    opay_uuid_t         id;
    char                type[OPAY_SEEN_TYPE];
    uint32_t            version;           /* 0: empty */
    uint32_t            used;
} opay_seen_entry_t;

struct opay_seen_s {
    uint32_t            clock;
    opay_seen_entry_t   v[OPAY_SEEN_SETS][OPAY_SEEN_WAYS];
};


opay_seen_t *
opay_seen_create(void)
{
    return calloc(1, sizeof(opay_seen_t));
}


void
opay_seen_destroy(opay_seen_t *s)
{
    free(s);
}


void
opay_seen_clear(opay_seen_t *s)
{
    memset(s, 0, sizeof(*s));
}


/* The last bytes of a version 7 UUID are random. */
static opay_seen_entry_t *
opay_seen_set(opay_seen_t *s, const opay_uuid_t *id)
{
    uint32_t  h;

    memcpy(&h, &id->b[12], sizeof(h));

    return s->v[h % OPAY_SEEN_SETS];
}


static void
opay_seen_type(char *dst, opay_str_t type)
{
    size_t  n;

    n = type.len < OPAY_SEEN_TYPE ? type.len : OPAY_SEEN_TYPE;
    memset(dst, 0, OPAY_SEEN_TYPE);
    memcpy(dst, type.data, n);
}


static opay_seen_entry_t *
opay_seen_find(opay_seen_t *s, const char *type, const opay_uuid_t *id)
{
    int                 i;
    opay_seen_entry_t  *e;

    e = opay_seen_set(s, id);

    for (i = 0; i < OPAY_SEEN_WAYS; i++) {
        if (e[i].version && opay_uuid_eq(&e[i].id, id)
            && memcmp(e[i].type, type, OPAY_SEEN_TYPE) == 0)
        {
            e[i].used = ++s->clock;
            return &e[i];
        }
    }

    return NULL;
}


uint32_t
opay_seen_get(opay_seen_t *s, opay_str_t type, const opay_uuid_t *id)
{
    char                name[OPAY_SEEN_TYPE];
    opay_seen_entry_t  *e;

    opay_seen_type(name, type);
    e = opay_seen_find(s, name, id);

    return e ? e->version : 0;
}


void
opay_seen_put(opay_seen_t *s, opay_str_t type, const opay_uuid_t *id,
    uint32_t version)
{
    int                 i;
    char                name[OPAY_SEEN_TYPE];
    opay_seen_entry_t  *e, *set;

    opay_seen_type(name, type);
    e = opay_seen_find(s, name, id);

    if (e == NULL) {
        set = opay_seen_set(s, id);
        e = &set[0];

        for (i = 1; i < OPAY_SEEN_WAYS && e->version; i++) {
            if (set[i].version == 0 || set[i].used < e->used) {
                e = &set[i];
            }
        }

        e->id = *id;
        memcpy(e->type, name, OPAY_SEEN_TYPE);
        e->used = ++s->clock;
    }

    e->version = version;
}
