
/* See bench.h. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"


uint64_t
bench_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


void
bench_die(const char *fmt, ...)
{
    va_list  args;

    fputs("bench: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);

    exit(1);
}


void
bench_hist_add(bench_hist_t *h, uint64_t us)
{
    unsigned  shift, i;

    shift = us < 2 * BENCH_SUB ? 0 : 57 - (unsigned) __builtin_clzll(us);
    i = shift * BENCH_SUB + (unsigned) (us >> shift);

    h->at[i < BENCH_BUCKETS ? i : BENCH_BUCKETS - 1]++;
    h->n++;

    if (us > h->max) {
        h->max = us;
    }
}


void
bench_hist_merge(bench_hist_t *to, const bench_hist_t *from)
{
    int  i;

    for (i = 0; i < BENCH_BUCKETS; i++) {
        to->at[i] += from->at[i];
    }

    to->n += from->n;
    to->max = from->max > to->max ? from->max : to->max;
}


double
bench_hist_at(const bench_hist_t *h, double q)
{
    int       i, shift;
    uint64_t  sum, want;

    want = (uint64_t) (q * (double) h->n);

    for (i = 0, sum = 0; i < BENCH_BUCKETS; i++) {

        sum += h->at[i];

        if (sum > want) {

            /* the middle of the bucket; see bench_hist_add() */

            shift = i < 2 * BENCH_SUB ? 0 : i / BENCH_SUB - 1;

            return ((double) (i - shift * BENCH_SUB) + 0.5)
                   * (double) (1ULL << shift);
        }
    }

    return 0;
}


/* Threads that have ended count, too; in ticks of 10 ms. */

static uint64_t
bench_cpu_of(long pid)
{
    char              path[64], text[1024], *p;
    FILE             *f;
    size_t            n;
    unsigned long     user, kernel;
    struct timespec   ts;

    if (pid == 0) {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
    }

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);

    f = fopen(path, "r");
    if (f == NULL) {
        bench_die("process %ld is not there", pid);
    }

    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);

    /* the name of a process may have spaces and parentheses */

    p = strrchr(text, ')');

    if (p == NULL
        || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu "
                         "%lu", &user, &kernel)
           != 2)
    {
        bench_die("cannot read %s", path);
    }

    return (uint64_t) (user + kernel)
           * (1000000000 / (uint64_t) sysconf(_SC_CLK_TCK));
}


uint64_t
bench_cpu(const char *pids)
{
    long         pid;
    char        *end;
    uint64_t     sum;
    const char  *p;

    for (sum = 0, p = pids; *p; p = *end ? end + 1 : end) {

        pid = strtol(p, &end, 10);

        if (end == p) {
            bench_die("\"%s\" is not a list of processes", pids);
        }

        sum += bench_cpu_of(pid);
    }

    return sum;
}


void
bench_print(const bench_hist_t *h, double seconds, uint64_t errors,
    const bench_cpu_t *groups, int ngroups)
{
    int     i;
    double  n;

    n = h->n ? (double) h->n : 1;

    printf("rate=%.1f p50_ms=%.3f p99_ms=%.3f max_ms=%.3f n=%lu errors=%lu "
           "cpu_us=", (double) h->n / seconds,
           bench_hist_at(h, 0.5) / 1000, bench_hist_at(h, 0.99) / 1000,
           (double) h->max / 1000, h->n, errors);

    for (i = 0; i < ngroups; i++) {
        printf("%s%.1f", i ? "," : "",
               (double) (bench_cpu(groups[i].pids) - groups[i].start)
               / 1000 / n);
    }

    putchar('\n');
}
