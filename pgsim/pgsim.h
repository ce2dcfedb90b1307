/*
 * pgsim: a payment provider of one's own, speaking Toss Payments' core API.
 *
 * DESIGN
 *
 * One process, one thread per connection (libmicrohttpd), so that a slow or
 * never-ending answer holds up nobody else.  What may change is in three
 * places, each with a lock of its own:
 *
 *   pgsim_ledger.c   the SQLite connection; one transaction at a time
 *   pgsim_idem.c     the set of idempotency keys whose request is under way
 *   pgsim_fault.c    the list of fault rules
 *
 * The rest of pgsim_t is set before the first connection and only read.
 *
 * Nothing is answered before it is durable: the charge, and the answer that
 * its Idempotency-Key will be replayed with, are one SQLite transaction with
 * synchronous=FULL.  So kill -9 at any moment leaves a ledger that agrees
 * with every answer ever given; that makes it usable as an oracle.
 */

#ifndef PGSIM_H_INCLUDED
#define PGSIM_H_INCLUDED

#include <pthread.h>
#include <stdint.h>

#include <jansson.h>

#include "opay_base.h"


#define PGSIM_BODY_MAX   (64 * 1024)
#define PGSIM_KEY_MAX    300
#define PGSIM_ID_LEN     36
#define PGSIM_IDEM_DAYS  15


typedef struct pgsim_ledger_s  pgsim_ledger_t;
typedef struct pgsim_faults_s  pgsim_faults_t;
typedef struct pgsim_idem_s    pgsim_idem_t;


typedef struct {
    const char      *listen;
    const char      *db_path;
    const char      *secret_file;
    char             secret[256];
    int64_t          hold_ms;      /* a connection that is never answered */
    int64_t          session_ms;   /* an unconfirmed payment's life */
    unsigned         verbose;

    pgsim_ledger_t  *ledger;
    pgsim_faults_t  *faults;
    pgsim_idem_t    *idem;
    int              stop_fd;      /* readable once we are to stop */
} pgsim_t;


/* What the HTTP side does with an answer. */
typedef enum {
    PGSIM_SEND = 0,
    PGSIM_DROP,                    /* close without a byte */
    PGSIM_RESET                    /* close in the middle of the body */
} pgsim_fate_e;


typedef struct {
    int              fd;           /* the client's socket */
    const char      *method;
    const char      *url;
    const char      *authorization;
    const char      *idem_key;     /* Idempotency-Key or NULL */
    const char      *test_code;    /* TossPayments-Test-Code or NULL */
    const char      *order_filter; /* ?orderId= of the ledger dump, or NULL */
    const char      *body;
    size_t           body_len;
} pgsim_request_t;


typedef struct {
    int              status;
    char            *body;         /* malloc'ed, NUL-terminated */
    pgsim_fate_e     fate;
} pgsim_reply_t;


/* pgsim_api.c: fills *rep; out of memory leaves body NULL, status 500 */
void pgsim_serve(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep);

/* Takes the reference of o. */
void pgsim_reply_json(pgsim_reply_t *rep, int status, json_t *o);
void pgsim_reply_error(pgsim_reply_t *rep, int status, const char *code,
    const char *message);

/*
 * Sleeps ms, less when the client (fd) leaves or pgsim is told to stop;
 * returns 1 when it slept to the end.
 */
int pgsim_wait(pgsim_t *sim, int fd, int64_t ms);


/* pgsim_toss.c: the calls under /v1/ */
void pgsim_toss_serve(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep);


/* pgsim_ledger.c */

typedef struct {
    char     payment_key[64];
    char     order_id[65];
    char     token[208];
    char     status[24];           /* IN_PROGRESS, DONE, ABORTED, ... */
    int64_t  amount;
    int64_t  balance;
    char     failure_code[64];
    char     last_tx[64];
    int64_t  requested_at;
    int64_t  approved_at;          /* 0: never */
    int64_t  expires_at;
} pgsim_payment_t;

pgsim_ledger_t *pgsim_ledger_open(const char *path, char *err, size_t errlen);
void pgsim_ledger_close(pgsim_ledger_t *l);

/* begin takes the lock of the ledger; commit and rollback give it back. */
int pgsim_ledger_begin(pgsim_ledger_t *l);
int pgsim_ledger_commit(pgsim_ledger_t *l);
void pgsim_ledger_rollback(pgsim_ledger_t *l);

/* Between begin and commit.  1: found, 0: not, OPAY_ERROR. */
int pgsim_ledger_by_order(pgsim_ledger_t *l, const char *order_id,
    int64_t now, pgsim_payment_t *p);
int pgsim_ledger_by_key(pgsim_ledger_t *l, const char *payment_key,
    int64_t now, pgsim_payment_t *p);
int pgsim_ledger_put(pgsim_ledger_t *l, const pgsim_payment_t *p);
int pgsim_ledger_cancel(pgsim_ledger_t *l, const char *payment_key,
    const char *tx, int64_t amount, int64_t left, const char *reason,
    int64_t now);
json_t *pgsim_ledger_cancels(pgsim_ledger_t *l, const char *payment_key);
int pgsim_ledger_idem_get(pgsim_ledger_t *l, const char *scope, int64_t now,
    int *status, char **body);
int pgsim_ledger_idem_put(pgsim_ledger_t *l, const char *scope, int status,
    const char *body, int64_t now);

/* The oracle's view, whole or of one orderId; locks by itself. */
json_t *pgsim_ledger_dump(pgsim_ledger_t *l, const char *order_id);

/* ISO 8601 in Korean time, as Toss writes it; buf holds 32 bytes. */
char *pgsim_time(int64_t ms, char *buf);


/* pgsim_idem.c */
pgsim_idem_t *pgsim_idem_create(void);
void pgsim_idem_destroy(pgsim_idem_t *t);

/* 1: ours now, 0: another request has it, OPAY_ERROR: out of memory */
int pgsim_idem_enter(pgsim_idem_t *t, const char *scope);
void pgsim_idem_leave(pgsim_idem_t *t, const char *scope);


/* pgsim_fault.c */

typedef enum {
    PGSIM_F_NONE = 0,
    PGSIM_F_DELAY,                 /* wait, then go on as usual */
    PGSIM_F_DROP_BEFORE,           /* nothing happens, no answer */
    PGSIM_F_DROP_AFTER,            /* it happens, no answer */
    PGSIM_F_ERROR,                 /* nothing happens, error answer */
    PGSIM_F_ERROR_AFTER,           /* it happens, error answer */
    PGSIM_F_WRONG_AMOUNT,          /* it happens, the answer lies */
    PGSIM_F_RESET_BODY,            /* it happens, half an answer */
    PGSIM_F_HOLD_BEFORE,           /* nothing happens, silence */
    PGSIM_F_HOLD_AFTER             /* it happens, silence */
} pgsim_fault_e;

typedef struct {
    pgsim_fault_e  what;
    int64_t        ms;
    int            status;
    char           code[64];
} pgsim_fault_t;

pgsim_faults_t *pgsim_faults_create(void);
void pgsim_faults_destroy(pgsim_faults_t *f);

/* The rule that applies, its count reduced; what is PGSIM_F_NONE if none. */
void pgsim_fault_take(pgsim_faults_t *f, const char *op, const char *order_id,
    pgsim_fault_t *out);

/* /_sim/faults */
void pgsim_faults_add(pgsim_faults_t *f, json_t *rule, pgsim_reply_t *rep);
void pgsim_faults_clear(pgsim_faults_t *f, pgsim_reply_t *rep);
void pgsim_faults_list(pgsim_faults_t *f, pgsim_reply_t *rep);


/* pgsim_http.c */
struct MHD_Daemon *pgsim_http_start(pgsim_t *sim, char *err, size_t errlen);
void pgsim_http_stop(struct MHD_Daemon *d);


#endif /* PGSIM_H_INCLUDED */
