
/*
 * Runs a batch of calls through one READ or WRITE step, on a pool thread.
 *
 * DESIGN
 *
 * Knows nothing of requests, queues or the event loop: it is given a
 * connection, a step and calls, and returns when each call has its outcome
 * or may go on to the next step.  All state is on the stack, in the calls'
 * arenas and in the connection, so any number of threads may be in here,
 * each with its own connection and its own calls.
 *
 *   ngx_opay_exec.c   transaction, retries, fallback from batch to single,
 *                     settling a commit whose answer was lost
 *   ngx_opay_idem.c   the idempotency table
 */

#ifndef _NGX_OPAY_EXEC_H_INCLUDED_
#define _NGX_OPAY_EXEC_H_INCLUDED_


#include "ngx_opay_core.h"


/*
 * What a WRITE step does about Idempotency-Key; the same for all calls of a
 * batch.  OPEN: the record is looked up before the step (replay, refuse or
 * resume), and written by it: done when the call has a final outcome, else
 * in flight.  FINISH: ends a record that an earlier step has opened.  A
 * route of one WRITE step has both.
 */
#define NGX_OPAY_EXEC_IDEM_OPEN    0x1
#define NGX_OPAY_EXEC_IDEM_FINISH  0x2

#define NGX_OPAY_EXEC_MAX          64      /* calls in a batch */


/*
 * The step's lane must be NGX_OPAY_READ (autocommit, nothing written) or
 * NGX_OPAY_WRITE (one transaction).  No two calls of the batch may have the
 * same idempotency scope.  log is the cycle's.
 *
 * On return each call either has status != 0 (decided, by the step or
 * because it could not be run), or status 0 and its step is committed.
 */
void ngx_opay_exec_run(opay_db_t *db, const ngx_opay_step_t *step,
    unsigned idem, opay_call_t **calls, size_t n, ngx_log_t *log);


/*
 * ngx_opay_idem.c; inside a transaction, all calls with idem.present.
 */

#define NGX_OPAY_IDEM_LEASE  30000         /* ms */

/*
 * Looks the records up.  A call that need not run gets its outcome: the
 * stored reply, 422, or 409; one whose record is in flight with an expired
 * lease takes the lease and gets resuming, open and resource.
 */
opay_db_rc_t ngx_opay_idem_lookup(opay_db_t *db, opay_call_t **calls,
    size_t n);

/*
 * Writes the records of calls that the step has run.  OPAY_DB_DUP: a twin
 * was first; roll back and look again.
 */
opay_db_rc_t ngx_opay_idem_store(opay_db_t *db, unsigned idem,
    opay_call_t **calls, size_t n);

/*
 * Is there by now a record of one of these calls, which the step refused and
 * whose lookup found none?  Then the refusal is a twin's doing (the order is
 * cancelled already: by the same request); roll back and look again.
 */
opay_db_rc_t ngx_opay_idem_twins(opay_db_t *db, opay_call_t **calls, size_t n,
    ngx_uint_t *found);

/*
 * Tells of each call whether the transaction that wrote its record has been
 * committed, waiting (lock_timeout) for one that is still under way.  All
 * calls with idem.wrote.
 *
 *   again[i] = 0   the call has its outcome, or goes on to the next step
 *   again[i] = 1   nothing was committed for it: run it again
 */
opay_db_rc_t ngx_opay_idem_settle(opay_db_t *db, opay_call_t **calls,
    size_t n, unsigned *again);


#endif /* _NGX_OPAY_EXEC_H_INCLUDED_ */
