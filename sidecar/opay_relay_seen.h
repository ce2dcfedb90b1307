
/*
 * opay_relay_seen: the version last handed to the producer, per aggregate.
 *
 * DESIGN
 *
 * A fixed table of sets of four; the least recently used entry of a set
 * makes room.  Forgetting is harmless: the relay asks the database about an
 * aggregate that is not here.  Plain memory of the relay thread.
 */

#ifndef OPAY_RELAY_SEEN_H_INCLUDED
#define OPAY_RELAY_SEEN_H_INCLUDED

#include "opay_base.h"


typedef struct opay_seen_s  opay_seen_t;

opay_seen_t *opay_seen_create(void);
void opay_seen_destroy(opay_seen_t *s);
void opay_seen_clear(opay_seen_t *s);

/* 0: not known */
uint32_t opay_seen_get(opay_seen_t *s, opay_str_t type,
    const opay_uuid_t *id);

void opay_seen_put(opay_seen_t *s, opay_str_t type, const opay_uuid_t *id,
    uint32_t version);


#endif /* OPAY_RELAY_SEEN_H_INCLUDED */
