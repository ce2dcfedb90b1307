
/*
 * opay_relay_gaps: ids of the event store that are below the position and
 * have not been seen, as sorted ranges.  Plain memory of the relay thread.
 */

#ifndef OPAY_RELAY_GAPS_H_INCLUDED
#define OPAY_RELAY_GAPS_H_INCLUDED

#include "opay_base.h"


typedef struct {
    uint64_t     first;
    uint64_t     last;
    int64_t      seen;             /* wall clock ms when it was noticed */
} opay_gap_t;

typedef struct {
    opay_gap_t  *v;                /* sorted, disjoint */
    size_t       n;
    size_t       size;
} opay_gaps_t;


void opay_gaps_clear(opay_gaps_t *g);
void opay_gaps_free(opay_gaps_t *g);

/* The range must not overlap one that is there.  OPAY_ERROR: no memory. */
int opay_gaps_add(opay_gaps_t *g, uint64_t first, uint64_t last,
    int64_t seen);

int opay_gaps_has(const opay_gaps_t *g, uint64_t id);

/* 1: id was a gap and is none now; 0: it was none; OPAY_ERROR: no memory. */
int opay_gaps_take(opay_gaps_t *g, uint64_t id);

/* Removes the whole range at index i. */
void opay_gaps_drop(opay_gaps_t *g, size_t i);

/* Number of ids. */
uint64_t opay_gaps_count(const opay_gaps_t *g);

/*
 * JSON [[id,seen],[first,last,seen],...] of the ids up to `upto`; malloc'ed,
 * NULL: no memory.
 */
char *opay_gaps_format(const opay_gaps_t *g, uint64_t upto);

/* Replaces g.  OPAY_ERROR: not what format() writes, or no memory. */
int opay_gaps_parse(opay_gaps_t *g, const char *text, size_t len);


#endif /* OPAY_RELAY_GAPS_H_INCLUDED */
