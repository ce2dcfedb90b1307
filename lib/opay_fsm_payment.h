
/*
 * opay_fsm_payment: what may happen to a payment, to an attempt at charging
 * it and to a refund, as tables.
 *
 * DESIGN
 *
 * Pure functions, like opay_fsm_order, with the same kinds of verdict.
 *
 * An attempt, or a refund, is one call to the provider.  SENT is committed
 * before any byte leaves; whoever finds a SENT older than its deadline makes
 * it UNKNOWN; UNKNOWN ends only by what the provider says (query, same-key
 * repeat, webhook).  All ways go through the same functions, so the second
 * of two answers is a NOOP.  opay_attempt_step() is asked first: it knows
 * which call an answer belongs to, the payment's machine does not.
 */

#ifndef OPAY_FSM_PAYMENT_H_INCLUDED
#define OPAY_FSM_PAYMENT_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"
#include "opay_fsm_order.h"            /* opay_step_e */


typedef enum {
    OPAY_PAYMENT_NONE = 0,             /* does not exist */
    OPAY_PAYMENT_PENDING,
    OPAY_PAYMENT_PROCESSING,
    OPAY_PAYMENT_SUCCESS,
    OPAY_PAYMENT_FAILED,
    OPAY_PAYMENT_CANCELLED,
    OPAY_PAYMENT_REFUND_PENDING,
    OPAY_PAYMENT_REFUNDED,
    OPAY_PAYMENT_STATUS_MAX
} opay_payment_status_e;


typedef enum {
    OPAY_PAYMENT_T_CREATE = 0,
    OPAY_PAYMENT_T_SEND,               /* before any network byte */
    OPAY_PAYMENT_T_APPROVED,           /* the provider's word */
    OPAY_PAYMENT_T_DECLINED,
    OPAY_PAYMENT_T_VOIDED,
    OPAY_PAYMENT_T_UNKNOWN,            /* timeout, 5xx, unlisted code, ... */
    OPAY_PAYMENT_T_CANCEL,             /* a user, or order.cancelled */
    OPAY_PAYMENT_T_EXPIRE,
    OPAY_PAYMENT_T_REFUND_CREATE,      /* amount reserved by the caller */
    OPAY_PAYMENT_T_REFUND_SUCCEEDED,
    OPAY_PAYMENT_T_REFUND_FAILED,
    OPAY_PAYMENT_T_MAX
} opay_payment_trigger_e;


/* Facts, or-ed together. */

/* The provider's amount and currency equal ours. */
#define OPAY_PAYMENT_F_AMOUNT_OK    0x01

/* A cancel was asked for while the outcome was open. */
#define OPAY_PAYMENT_F_CANCEL_WISH  0x02

/* With this refund, sum(succeeded refunds) == amount. */
#define OPAY_PAYMENT_F_FULL_REFUND  0x04

#define OPAY_PAYMENT_F_ALL          0x07


typedef struct {
    opay_payment_status_e   status;
    unsigned                unknown;   /* 0, 1: JSON outcome "unknown" */
    unsigned                open;      /* refunds created and not settled */
} opay_payment_state_t;


typedef struct {
    opay_step_e             kind;
    opay_payment_state_t    next;
    const char             *events[OPAY_STEP_EVENTS];
    unsigned                nevents;
    opay_code_e             code;
    const char             *reason;    /* REFUSE, or alert: static */
    unsigned                alert;     /* worth a line in the error log */
    unsigned                wish;      /* NOOP: remember the cancel, say 202 */
    unsigned                refund;    /* a refund row of all that remains
                                          belongs to this step */
} opay_payment_verdict_t;


opay_payment_verdict_t opay_payment_step(const opay_payment_state_t *state,
    opay_payment_trigger_e trigger, unsigned facts);

/* Folds payment.* and refund.* of one payment; see opay_order_apply_event. */
int opay_payment_apply_event(opay_payment_state_t *state, opay_str_t type);

/* NULL: NONE or out of range; OPAY_PAYMENT_NONE: unknown name. */
const char *opay_payment_status_name(opay_payment_status_e status);
opay_payment_status_e opay_payment_status_parse(opay_str_t name);


/* One call to the provider: an attempt or a refund. */
typedef enum {
    OPAY_ATTEMPT_NONE = 0,
    OPAY_ATTEMPT_INIT,
    OPAY_ATTEMPT_SENT,
    OPAY_ATTEMPT_UNKNOWN,
    OPAY_ATTEMPT_YES,                  /* APPROVED; refund: SUCCEEDED */
    OPAY_ATTEMPT_NO,                   /* DECLINED; refund: FAILED */
    OPAY_ATTEMPT_STATUS_MAX
} opay_attempt_status_e;

#define OPAY_ATTEMPT_APPROVED  OPAY_ATTEMPT_YES
#define OPAY_ATTEMPT_DECLINED  OPAY_ATTEMPT_NO
#define OPAY_REFUND_SUCCEEDED  OPAY_ATTEMPT_YES
#define OPAY_REFUND_FAILED     OPAY_ATTEMPT_NO


typedef enum {
    OPAY_ATTEMPT_T_CREATE = 0,
    OPAY_ATTEMPT_T_SEND,
    OPAY_ATTEMPT_T_YES,                /* definite, from any source */
    OPAY_ATTEMPT_T_NO,
    OPAY_ATTEMPT_T_UNKNOWN,            /* no or unclear answer, deadline */
    OPAY_ATTEMPT_T_ABANDON,            /* never sent and will not be */
    OPAY_ATTEMPT_T_MAX
} opay_attempt_trigger_e;


/* APPLY, NOOP or REFUSE (contradiction; *next == state unless APPLY). */
opay_step_e opay_attempt_step(opay_attempt_status_e state,
    opay_attempt_trigger_e trigger, opay_attempt_status_e *next);

/* INIT SENT UNKNOWN APPROVED DECLINED */
const char *opay_attempt_status_name(opay_attempt_status_e status);
opay_attempt_status_e opay_attempt_status_parse(opay_str_t name);

/* INIT SENT UNKNOWN SUCCEEDED FAILED */
const char *opay_refund_status_name(opay_attempt_status_e status);
opay_attempt_status_e opay_refund_status_parse(opay_str_t name);


#endif /* OPAY_FSM_PAYMENT_H_INCLUDED */
