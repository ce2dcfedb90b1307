
/*
 * opay_rate: a token bucket in one number per key (GCRA).
 *
 * The number is the time at which the bucket is full again, in microseconds
 * of the caller's clock; 0 is a full bucket.  Pure functions.
 */

#ifndef OPAY_RATE_H_INCLUDED
#define OPAY_RATE_H_INCLUDED

#include "opay_base.h"


typedef struct {
    int64_t   period;              /* microseconds that one token takes */
    unsigned  burst;               /* tokens of a full bucket, at least 1 */
} opay_rate_t;


typedef struct {
    unsigned  allowed;
    unsigned  remaining;           /* whole tokens left */
    unsigned  reset;               /* s until full; refused: until the next */
} opay_rate_left_t;


/* Takes one token out of *full, unless there is none. */
void opay_rate_take(const opay_rate_t *rate, int64_t *full, int64_t now,
    opay_rate_left_t *left);

/* Seconds that an empty bucket takes to fill, rounded up. */
unsigned opay_rate_window(const opay_rate_t *rate);

/* "10r/s", "600r/m"; OPAY_ERROR on anything else.  burst = the number. */
int opay_rate_parse(opay_rate_t *rate, const char *text, size_t len);


#endif /* OPAY_RATE_H_INCLUDED */
