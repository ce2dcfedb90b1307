
/*
 * opay_sidecar_log: lines to stderr.
 *
 * DESIGN
 *
 * The settings are written once, before any thread starts.  A line is built
 * on the stack and leaves in one write(), so lines of different threads do
 * not mix.  Callers keep secrets, payloads and SQL out of it.
 */

#include <stdio.h>
#include <unistd.h>

#include "opay_sidecar.h"


static struct {
    opay_log_level_e   level;
    int                json;
    char               service[32];
} opay_log_conf = { OPAY_LOG_NOTICE, 0, "sidecar" };


static const char *const opay_log_names[] = {
    "alert", "error", "warn", "notice", "info", "debug"
};


void
opay_log_init(opay_log_level_e level, int json, const char *service)
{
    opay_log_conf.level = level;
    opay_log_conf.json = json;

    (void) snprintf(opay_log_conf.service, sizeof(opay_log_conf.service),
                    "%s", service);
}


/* Control characters become spaces; quotes and backslashes are escaped. */
static size_t
opay_log_escape(char *dst, size_t size, const char *src, int json)
{
    char    c;
    size_t  n;

    for (n = 0; *src && n + 2 < size; src++) {
        c = *src;

        if ((unsigned char) c < 0x20 || c == 0x7f) {
            c = ' ';
        }

        if (json && (c == '"' || c == '\\')) {
            dst[n++] = '\\';
        }

        dst[n++] = c;
    }

    dst[n] = '\0';

    return n;
}


void
opay_log(opay_log_level_e level, const char *fmt, ...)
{
    int      n;
    char     time[OPAY_TIME_TEXT + 1];
    char     text[1024], safe[2048], line[2400];
    va_list  args;

    if (level > opay_log_conf.level) {
        return;
    }

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    (void) opay_log_escape(safe, sizeof(safe), text, opay_log_conf.json);
    (void) opay_time_format(opay_now_ms(), time);

    n = snprintf(line, sizeof(line),
                 opay_log_conf.json
                     ? "{\"time\":\"%s\",\"level\":\"%s\","
                       "\"service\":\"%s-sidecar\",\"msg\":\"%s\"}\n"
                     : "%s [%s] %s-sidecar: %s\n",
                 time, opay_log_names[level], opay_log_conf.service, safe);

    if (n < 0) {
        return;
    }

    if ((size_t) n >= sizeof(line)) {
        n = sizeof(line) - 1;
    }

    /* nowhere to report a failure of stderr to */
    if (write(STDERR_FILENO, line, (size_t) n) == -1) {
        return;
    }
}
