
/*
 * What the bench's programs share: a clock, a histogram of latencies, and
 * the CPU time of other processes.
 */

#ifndef OPAY_BENCH_H_INCLUDED
#define OPAY_BENCH_H_INCLUDED


#include <stdint.h>
#include <stdio.h>


/* Buckets: 64 per power of two, of microseconds; the error is below 1.6 %. */
#define BENCH_SUB      64
#define BENCH_BUCKETS  (BENCH_SUB * 32)

#define BENCH_GROUPS   8               /* of processes whose CPU is counted */


typedef struct {
    uint64_t  n;
    uint64_t  max;                     /* us */
    uint64_t  at[BENCH_BUCKETS];
} bench_hist_t;


/* "pid,pid,..." with the CPU time they had at the start, ns. */
typedef struct {
    const char  *pids;
    uint64_t     start;
} bench_cpu_t;


/* Monotonic time, ns. */
uint64_t bench_now(void);

/* Prints to stderr and exits with 1. */
void bench_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

void bench_hist_add(bench_hist_t *h, uint64_t us);
void bench_hist_merge(bench_hist_t *to, const bench_hist_t *from);

/* The latency that the share q (0 .. 1) of all stays below, us. */
double bench_hist_at(const bench_hist_t *h, double q);

/* CPU time that the processes have used so far, ns; 0 is this one. */
uint64_t bench_cpu(const char *pids);

/*
 * The result, one line of "name=value": rate, p50_ms, p99_ms, max_ms, n,
 * errors and cpu_us, which lists each group's CPU time by operation.
 */
void bench_print(const bench_hist_t *h, double seconds, uint64_t errors,
    const bench_cpu_t *groups, int ngroups);


#endif /* OPAY_BENCH_H_INCLUDED */
