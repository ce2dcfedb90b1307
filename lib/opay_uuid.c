
/*
 * UUIDs; see opay_base.h.
 *
 * DESIGN
 *
 * The one piece of state in lib/: the time and sequence of the last version 7
 * id of this process, 48 + 12 bits in one atomic word, so that ids grow in
 * any thread.  After fork() parent and child go on from the same word; what
 * keeps their ids apart is the 62 random bits.
 */

#include <stdatomic.h>

#include "opay_base.h"


static _Atomic uint64_t  opay_uuid_last;


int
opay_uuid_v7(opay_uuid_t *u)
{
    int       i;
    uint8_t   random[10];
    uint64_t  last, next;

    if (opay_random(random, sizeof(random)) != OPAY_OK) {
        return OPAY_ERROR;
    }

    /* starting low leaves room to count up within the millisecond */

    next = (uint64_t) opay_now_ms() << 12
           | (uint64_t) (random[8] & 0x07) << 8 | random[9];

    last = atomic_load_explicit(&opay_uuid_last, memory_order_relaxed);

    do {
        if (next <= last) {
            next = last + 1;
        }

    } while (!atomic_compare_exchange_weak_explicit(&opay_uuid_last, &last,
                 next, memory_order_relaxed, memory_order_relaxed));

    for (i = 0; i < 6; i++) {
        u->b[i] = (uint8_t) (next >> (52 - 8 * i));
    }

    u->b[6] = (uint8_t) (0x70 | ((next >> 8) & 0x0f));
    u->b[7] = (uint8_t) next;

    memcpy(&u->b[8], random, 8);
    u->b[8] = (uint8_t) (0x80 | (u->b[8] & 0x3f));

    return OPAY_OK;
}


char *
opay_uuid_format(const opay_uuid_t *u, char *buf)
{
    int                 i;
    char               *p;
    static const char   hex[] = "0123456789abcdef";

    p = buf;

    for (i = 0; i < 16; i++) {

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        *p++ = hex[u->b[i] >> 4];
        *p++ = hex[u->b[i] & 0x0f];
    }

    *p = '\0';

    return buf;
}


static int
opay_uuid_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


int
opay_uuid_parse(opay_str_t s, opay_uuid_t *u)
{
    int          i, hi, lo;
    const char  *p;
    opay_uuid_t  r;

    if (s.len != OPAY_UUID_TEXT) {
        return OPAY_ERROR;
    }

    p = s.data;

    for (i = 0; i < 16; i++) {

        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-') {
            return OPAY_ERROR;
        }

        hi = opay_uuid_digit(*p++);
        lo = opay_uuid_digit(*p++);

        if (hi < 0 || lo < 0) {
            return OPAY_ERROR;
        }

        r.b[i] = (uint8_t) (hi << 4 | lo);
    }

    *u = r;

    return OPAY_OK;
}
