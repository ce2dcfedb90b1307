
/*
 * t/db: the operations that test_exec.c and test_idem.c run, and what they
 * share to look at the outcome.
 */

#ifndef OPS_H_INCLUDED
#define OPS_H_INCLUDED

#include <pthread.h>

#include "ngx_opay_exec.h"
#include "fixture.h"


#define OPEN    NGX_OPAY_EXEC_IDEM_OPEN
#define FINISH  NGX_OPAY_EXEC_IDEM_FINISH
#define BOTH    (OPEN|FINISH)


extern const ngx_opay_step_t  create;      /* one row per call */
extern const ngx_opay_step_t  claim;       /* takes what one call can have */
extern const ngx_opay_step_t  charge;      /* both ends of a phased route */
extern const ngx_opay_step_t  script;      /* does as answers say */
extern const ngx_opay_step_t  reading;

/* script: what it returns, one after the other; then OPAY_DB_OK */
extern opay_db_rc_t         answers[16];
extern size_t               nanswers;

/* all operations */
extern size_t               runs;
extern size_t               largest;

/* as many threads have to be inside at once, the first time each */
extern pthread_barrier_t   *meet;
extern __thread unsigned    met;


void ops_reset(void);

int64_t things(void);
int64_t records(void);
void same_answer(opay_call_t *a, opay_call_t *b);

/* n calls "<name><i>" with keys "<key><i>"; key NULL: none. */
void make(opay_call_t **calls, size_t n, const char *name, const char *key);
void drop(opay_call_t **calls, size_t n);


#endif /* OPS_H_INCLUDED */
