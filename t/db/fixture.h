
/*
 * t/db: what all tests share.  One process, one server; each test works in
 * tables that fx_clean() has emptied.
 */

#ifndef FIXTURE_H_INCLUDED
#define FIXTURE_H_INCLUDED

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "opay_db.h"
#include "opay_call.h"


/* The server itself, and the same through the proxy. */
extern opay_db_conf_t  fx_conf;
extern opay_db_conf_t  fx_proxied;


int fx_setup(void **state);
int fx_teardown(void **state);

/* Empties the tables; cmocka's setup of a single test. */
int fx_clean(void **state);

/*
 * As root, on a connection of its own; a failure ends the test.  The number
 * is the last column of the first row.
 */
void fx_admin(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t fx_number(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Waits until the number is what is wanted, 5 s at most. */
void fx_wait(int64_t want, const char *sql);

#define FX_LOCK_WAITS                                                        \
    "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"

/* Its connection id on the server. */
int64_t fx_thread(opay_db_t *db);

/* A call in an arena of its own; key NULL: no Idempotency-Key. */
opay_call_t *fx_call(const char *name, const char *key);
void fx_free(opay_call_t *call);


/* proxy.c: in front of the server, on a socket of its own. */

typedef enum {
    PROXY_PASS = 0,
    PROXY_CUT_BEFORE,      /* COMMIT does not reach the server */
    PROXY_CUT_AFTER,       /* it does, its answer does not come back */
    PROXY_DELAY            /* the client is cut off, COMMIT arrives later */
} proxy_mode_e;

void proxy_start(const char *listen, const char *server);
void proxy_stop(void);

/* The next COMMIT only; skip: as many before it pass. */
void proxy_arm(proxy_mode_e mode, unsigned skip);

/* How many COMMITs have been dealt with otherwise than by passing. */
unsigned proxy_hits(void);


/* stub.c: what has been logged since the last call. */
const char *stub_log(void);
void stub_log_clear(void);


#define assert_str(s, text)                                                  \
    do {                                                                     \
        opay_str_t  str_ = (s);                                              \
        assert_int_equal(str_.len, strlen(text));                            \
        assert_memory_equal(str_.data, text, str_.len);                      \
    } while (0)

#define assert_rc(rc, want)                                                  \
    assert_string_equal(opay_db_rc_name(rc), opay_db_rc_name(want))


#endif /* FIXTURE_H_INCLUDED */
