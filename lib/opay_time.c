
/*
 * Time as milliseconds since the epoch; see opay_base.h.  The calendar is
 * computed here: gmtime() and timegm() are slow, and strptime() accepts what
 * RFC 3339 does not.
 */

#include <time.h>

#include "opay_base.h"


#define OPAY_TIME_DAY  INT64_C(86400000)

/* 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z */
#define OPAY_TIME_MIN  (INT64_C(-62167219200) * 1000)
#define OPAY_TIME_MAX  (INT64_C(253402300799) * 1000 + 999)


static int64_t
opay_time_clock(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int64_t
opay_now_ms(void)
{
    return opay_time_clock(CLOCK_REALTIME);
}


int64_t
opay_mono_ms(void)
{
    return opay_time_clock(CLOCK_MONOTONIC);
}


/*
 * Days since the epoch of a date in the proleptic Gregorian calendar, and
 * back.  The year is taken to begin in March, in eras of 400 years.
 */

static int64_t
opay_time_days(int64_t year, unsigned month, unsigned day)
{
    int64_t   era;
    unsigned  yoe, doy;

    if (month <= 2) {
        year--;
    }

    era = (year >= 0 ? year : year - 399) / 400;
    yoe = (unsigned) (year - era * 400);
    doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}


static void
opay_time_date(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    int64_t   era;
    unsigned  doe, yoe, doy, mp;

    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    doe = (unsigned) (days - era * 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;

    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (unsigned) (yoe + era * 400 + (*month <= 2));
}


static char *
opay_time_put(char *p, unsigned v, char after)
{
    p[0] = (char) ('0' + v / 10);
    p[1] = (char) ('0' + v % 10);
    p[2] = after;

    return p + 3;
}


char *
opay_time_format(int64_t ms, char *buf)
{
    char      *p;
    int64_t    days;
    unsigned   year, month, day, rest;

    if (ms < OPAY_TIME_MIN) {
        ms = OPAY_TIME_MIN;

    } else if (ms > OPAY_TIME_MAX) {
        ms = OPAY_TIME_MAX;
    }

    days = (ms >= 0 ? ms : ms - (OPAY_TIME_DAY - 1)) / OPAY_TIME_DAY;
    rest = (unsigned) (ms - days * OPAY_TIME_DAY);

    opay_time_date(days, &year, &month, &day);

    buf[0] = (char) ('0' + year / 1000);
    buf[1] = (char) ('0' + year / 100 % 10);

    p = opay_time_put(buf + 2, year % 100, '-');
    p = opay_time_put(p, month, '-');
    p = opay_time_put(p, day, 'T');
    p = opay_time_put(p, rest / 3600000, ':');
    p = opay_time_put(p, rest / 60000 % 60, ':');
    p = opay_time_put(p, rest / 1000 % 60, '.');
    p = opay_time_put(p, rest / 10 % 100, (char) ('0' + rest % 10));

    p[0] = 'Z';
    p[1] = '\0';

    return buf;
}


/* Reads width digits at *p and the byte after them, which must be after. */

static int
opay_time_get(const char **p, const char *end, unsigned width, char after,
    unsigned *v)
{
    unsigned  n;

    if (end - *p < (ptrdiff_t) width + (after != '\0')) {
        return OPAY_ERROR;
    }

    for (*v = 0, n = width; n > 0; n--, (*p)++) {

        if (**p < '0' || **p > '9') {
            return OPAY_ERROR;
        }

        *v = *v * 10 + (unsigned) (**p - '0');
    }

    if (after == '\0') {
        return OPAY_OK;
    }

    /* RFC 3339 lets "T" be in lower case; no other separator has letters */

    if (**p != after && !(after == 'T' && **p == 't')) {
        return OPAY_ERROR;
    }

    (*p)++;

    return OPAY_OK;
}


static unsigned
opay_time_month_days(unsigned year, unsigned month)
{
    static const unsigned char  days[] = { 31, 28, 31, 30, 31, 30,
                                           31, 31, 30, 31, 30, 31 };

    if (month == 2
        && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
    {
        return 29;
    }

    return days[month - 1];
}


/* "Z" or "+hh:mm", to the end of the text; minutes east of UTC. */

static int
opay_time_offset(const char *p, const char *end, int *offset)
{
    int       sign;
    unsigned  hours, minutes;

    if (p == end) {
        return OPAY_ERROR;
    }

    if (*p == 'Z' || *p == 'z') {
        *offset = 0;
        return p + 1 == end ? OPAY_OK : OPAY_ERROR;
    }

    if (*p != '+' && *p != '-') {
        return OPAY_ERROR;
    }

    sign = *p++ == '-' ? -1 : 1;

    if (opay_time_get(&p, end, 2, ':', &hours) != OPAY_OK
        || opay_time_get(&p, end, 2, '\0', &minutes) != OPAY_OK
        || p != end || hours > 23 || minutes > 59)
    {
        return OPAY_ERROR;
    }

    *offset = sign * (int) (hours * 60 + minutes);

    return OPAY_OK;
}


/* ".123": any number of digits; what is below a millisecond is cut off. */

static int
opay_time_fraction(const char **p, const char *end, unsigned *ms)
{
    unsigned  scale;

    *ms = 0;

    if (*p == end || **p != '.') {
        return OPAY_OK;
    }

    (*p)++;

    if (*p == end || **p < '0' || **p > '9') {
        return OPAY_ERROR;
    }

    for (scale = 100; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        *ms += (unsigned) (**p - '0') * scale;
        scale /= 10;
    }

    return OPAY_OK;
}


int
opay_time_parse(opay_str_t s, int64_t *ms)
{
    int          offset;
    int64_t      t;
    unsigned     year, month, day, hour, minute, second, fraction;
    const char  *p, *end;

    if (s.len < sizeof("2026-11-22T09:30:00Z") - 1 || s.len > 64) {
        return OPAY_ERROR;
    }

    p = s.data;
    end = p + s.len;

    if (opay_time_get(&p, end, 4, '-', &year) != OPAY_OK
        || opay_time_get(&p, end, 2, '-', &month) != OPAY_OK
        || opay_time_get(&p, end, 2, 'T', &day) != OPAY_OK
        || opay_time_get(&p, end, 2, ':', &hour) != OPAY_OK
        || opay_time_get(&p, end, 2, ':', &minute) != OPAY_OK
        || opay_time_get(&p, end, 2, '\0', &second) != OPAY_OK
        || opay_time_fraction(&p, end, &fraction) != OPAY_OK
        || opay_time_offset(p, end, &offset) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    if (month < 1 || month > 12 || day < 1
        || day > opay_time_month_days(year, month)
        || hour > 23 || minute > 59 || second > 60)
    {
        return OPAY_ERROR;
    }

    t = opay_time_days(year, month, day) * 1440 + hour * 60 + minute - offset;

    /* a leap second ends a day of UTC */

    if (second == 60 && ((t % 1440) + 1440) % 1440 != 1439) {
        return OPAY_ERROR;
    }

    t = t * 60000 + second * 1000 + fraction;

    if (t < OPAY_TIME_MIN || t > OPAY_TIME_MAX) {
        return OPAY_ERROR;
    }

    *ms = t;

    return OPAY_OK;
}
