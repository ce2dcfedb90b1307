
/*
 * The runner of a READ or WRITE step on a pool thread: transaction, retries,
 * idempotency records, and a batch that fails run call by call.
 * Private to ngx_opay_core.
 */

#ifndef _NGX_OPAY_EXEC_H_INCLUDED_
#define _NGX_OPAY_EXEC_H_INCLUDED_


#include "ngx_opay_core.h"


/* What this step is to the idempotency record of its calls; 0: nothing. */
#define NGX_OPAY_EXEC_IDEM_OPEN    0x01
#define NGX_OPAY_EXEC_IDEM_FINISH  0x02


/*
 * Pool thread.  After it each of calls[0..n-1] has an outcome, or is left
 * open for its next step with what it wrote committed.  No two calls share
 * idem.scope.  log is the cycle's: no request is named in it.
 *
 * OPEN|FINISH: the record is written once, with the outcome, in the same
 * transaction.  OPEN alone: it is inserted in flight, under a lease, with
 * idem.resource; FINISH alone: it is completed.
 */
void ngx_opay_exec_run(opay_db_t *db, const ngx_opay_step_t *step,
    unsigned idem, opay_call_t **calls, size_t n, ngx_log_t *log);


#endif /* _NGX_OPAY_EXEC_H_INCLUDED_ */
