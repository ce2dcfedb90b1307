
/* See opay_rate.h. */

#include "opay_rate.h"


#define OPAY_RATE_SECOND  1000000
#define OPAY_RATE_MAX     1000000


static unsigned opay_rate_seconds(int64_t us);


void
opay_rate_take(const opay_rate_t *rate, int64_t *full, int64_t now,
    opay_rate_left_t *left)
{
    int64_t  used, depth;

    depth = rate->period * rate->burst;
    used = *full - now;

    if (used < 0) {
        used = 0;
    }

    /* a clock that was set back must not lock anybody out for long */

    if (used > depth) {
        used = depth;
    }

    if (used + rate->period > depth) {
        left->allowed = 0;
        left->remaining = 0;
        left->reset = opay_rate_seconds(used + rate->period - depth);
        *full = now + used;
        return;
    }

    used += rate->period;
    *full = now + used;

    left->allowed = 1;
    left->remaining = (unsigned) ((depth - used) / rate->period);
    left->reset = opay_rate_seconds(used);
}


unsigned
opay_rate_window(const opay_rate_t *rate)
{
    return opay_rate_seconds(rate->period * rate->burst);
}


static unsigned
opay_rate_seconds(int64_t us)
{
    return (unsigned) ((us + OPAY_RATE_SECOND - 1) / OPAY_RATE_SECOND);
}


int
opay_rate_parse(opay_rate_t *rate, const char *text, size_t len)
{
    size_t   i;
    int64_t  n, unit;

    n = 0;

    for (i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++) {

        n = n * 10 + (text[i] - '0');

        if (n > OPAY_RATE_MAX) {
            return OPAY_ERROR;
        }
    }

    if (i == 0 || n == 0 || len - i != 3 || memcmp(text + i, "r/", 2) != 0) {
        return OPAY_ERROR;
    }

    if (text[i + 2] == 's') {
        unit = OPAY_RATE_SECOND;

    } else if (text[i + 2] == 'm') {
        unit = 60 * (int64_t) OPAY_RATE_SECOND;

    } else {
        return OPAY_ERROR;
    }

    rate->period = unit / n;
    rate->burst = (unsigned) n;

    return OPAY_OK;
}
