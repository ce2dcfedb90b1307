
/* The few symbols of nginx and of core that the code under test calls. */

#include <pthread.h>

#include "ngx_opay_core.h"
#include "ngx_opay_metrics.h"

#include "fixture.h"


static ngx_log_t         stub_ngx_log = { .log_level = NGX_LOG_DEBUG };
static ngx_cycle_t       stub_cycle = { .log = &stub_ngx_log };
static pthread_mutex_t   stub_mutex = PTHREAD_MUTEX_INITIALIZER;
static char              stub_text[16384];
static size_t            stub_len;

volatile ngx_cycle_t    *ngx_cycle = &stub_cycle;


/* Format and string arguments, which is what could leak. */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    va_list      args;
    const char  *p, *s;

    (void) level;
    (void) log;
    (void) err;

    pthread_mutex_lock(&stub_mutex);
    va_start(args, fmt);

    for (p = fmt; *p && stub_len < sizeof(stub_text) - 2048; p++) {

        if (*p != '%') {
            stub_text[stub_len++] = *p;
            continue;
        }

        p++;

        if (*p == 's') {
            s = va_arg(args, const char *);
            stub_len += (size_t) snprintf(stub_text + stub_len, 1024, "%s",
                                          s);
        } else {
            stub_len += (size_t) snprintf(stub_text + stub_len, 32, "%lld",
                                          (long long)
                                          va_arg(args, int64_t));

            if (*p == 'u') {
                p++;
            }
        }
    }

    va_end(args);

    stub_text[stub_len++] = '\n';
    stub_text[stub_len] = '\0';

    pthread_mutex_unlock(&stub_mutex);
}


void
ngx_opay_metrics_add(ngx_opay_metric_e m, ngx_uint_t n)
{
    (void) m;
    (void) n;
}


const char *
stub_log(void)
{
    return stub_text;
}


void
stub_log_clear(void)
{
    stub_len = 0;
    stub_text[0] = '\0';
}
