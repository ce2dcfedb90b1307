
/*
 * opay_fsm_order: what may happen to an order, as a table.
 *
 * DESIGN
 *
 * Pure functions over immutable tables: no memory, no clock, no database.
 * The order service locks the row, gathers the facts, asks
 * opay_order_step(), and writes what the verdict says: the next state and
 * the events, in order, in one transaction.
 *
 * The public status is one of six.  Money (financial) and work under way
 * (pending) are fields of their own.  PENDING always carries pending PAY, or
 * CANCEL once the owner asked for it.
 *
 * opay_order_apply_event() is the other direction: it folds the events of an
 * order into its state, for the check that projection == fold(events).
 */

#ifndef OPAY_FSM_ORDER_H_INCLUDED
#define OPAY_FSM_ORDER_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"


typedef enum {
    OPAY_ORDER_NONE = 0,               /* does not exist */
    OPAY_ORDER_CREATED,
    OPAY_ORDER_PENDING,
    OPAY_ORDER_PAID,
    OPAY_ORDER_FAILED,
    OPAY_ORDER_COMPLETED,
    OPAY_ORDER_CANCELLED,
    OPAY_ORDER_STATUS_MAX
} opay_order_status_e;


typedef enum {
    OPAY_ORDER_UNPAID = 0,
    OPAY_ORDER_MONEY_PROCESSING,
    OPAY_ORDER_MONEY_PAID,
    OPAY_ORDER_PARTIALLY_REFUNDED,
    OPAY_ORDER_REFUNDED,
    OPAY_ORDER_FINANCIAL_MAX
} opay_order_financial_e;


typedef enum {
    OPAY_ORDER_OP_NONE = 0,            /* JSON null */
    OPAY_ORDER_OP_PAY,
    OPAY_ORDER_OP_CANCEL,
    OPAY_ORDER_OP_UPDATE,
    OPAY_ORDER_OP_MAX
} opay_order_op_e;


typedef enum {
    /* asked by a user or a timer */
    OPAY_ORDER_T_CREATE = 0,
    OPAY_ORDER_T_UPDATE,               /* items, address */
    OPAY_ORDER_T_CANCEL,               /* owner or ADMIN */
    OPAY_ORDER_T_COMPLETE,
    OPAY_ORDER_T_EXPIRE,               /* sweeper */

    /* events of the payment service */
    OPAY_ORDER_T_PAYMENT_CREATED,
    OPAY_ORDER_T_PAYMENT_PROCESSING,
    OPAY_ORDER_T_PAYMENT_UNKNOWN,
    OPAY_ORDER_T_PAYMENT_SUCCEEDED,
    OPAY_ORDER_T_PAYMENT_FAILED,
    OPAY_ORDER_T_PAYMENT_CANCELLED,
    OPAY_ORDER_T_PAYMENT_REFUNDED,
    OPAY_ORDER_T_REFUND_CREATED,
    OPAY_ORDER_T_REFUND_SUCCEEDED,
    OPAY_ORDER_T_REFUND_FAILED,
    OPAY_ORDER_T_MAX
} opay_order_trigger_e;


/* Facts, or-ed together. */

/* Now (for a payment event: the event's own time) is past expires_at. */
#define OPAY_ORDER_F_EXPIRED       0x01

/* The event's amount and currency equal the order's total. */
#define OPAY_ORDER_F_AMOUNT_OK     0x02

/* The order has no payment id yet, or the event's payment is that one. */
#define OPAY_ORDER_F_SAME_PAYMENT  0x04

/* With this refund everything captured has been returned. */
#define OPAY_ORDER_F_FULL_REFUND   0x08

/* A refund was created and not settled yet. */
#define OPAY_ORDER_F_OPEN_REFUND   0x10

#define OPAY_ORDER_F_ALL           0x1f


typedef struct {
    opay_order_status_e     status;
    opay_order_financial_e  financial;
    opay_order_op_e         pending;
} opay_order_state_t;


typedef enum {
    OPAY_STEP_APPLY = 0,               /* write next and the events */
    OPAY_STEP_NOOP,                    /* duplicate or late: accept, no write */
    OPAY_STEP_REFUSE                   /* code to a user; reason to a peer */
} opay_step_e;

#define OPAY_STEP_EVENTS  3


typedef struct {
    opay_step_e             kind;
    opay_order_state_t      next;      /* == the input unless APPLY */
    const char             *events[OPAY_STEP_EVENTS];   /* append in order */
    unsigned                nevents;
    opay_code_e             code;      /* REFUSE */
    const char             *reason;    /* REFUSE: static, "amount_mismatch" */
    unsigned                alert;     /* worth a line in the error log */
    unsigned                attach;    /* the event's payment is the order's
                                          payment from now on */
} opay_order_verdict_t;


/*
 * An owner's cancel that leaves status other than CANCELLED is answered 202.
 * A payment event that is refused can never be applied: outcome "rejected".
 */
opay_order_verdict_t opay_order_step(const opay_order_state_t *state,
    opay_order_trigger_e trigger, unsigned facts);

/*
 * Folds one event into the state; start from a zeroed one.  full: the
 * event's own data says that everything was refunded (financialStatus
 * REFUNDED); only looked at for order.refunded.  OPAY_ERROR: unknown type, or
 * not possible in this state; the state is unchanged then.
 */
int opay_order_apply_event(opay_order_state_t *state, opay_str_t type,
    int full);

/* The trigger of a payment event's type; OPAY_ORDER_T_MAX: not ours. */
opay_order_trigger_e opay_order_trigger_of(opay_str_t event_type);

/*
 * The trigger of an ADMIN's PUT {"status": ..}: COMPLETED and CANCELLED have
 * one, all others OPAY_ORDER_T_MAX (answer illegal_transition).
 */
opay_order_trigger_e opay_order_trigger_to(opay_order_status_e target);


/* Names as in the public API; NULL when out of range, NONE or OP_NONE. */
const char *opay_order_status_name(opay_order_status_e status);
const char *opay_order_financial_name(opay_order_financial_e financial);
const char *opay_order_op_name(opay_order_op_e op);

/* OPAY_ORDER_NONE, OPAY_ORDER_FINANCIAL_MAX, OPAY_ORDER_OP_MAX: unknown. */
opay_order_status_e opay_order_status_parse(opay_str_t name);
opay_order_financial_e opay_order_financial_parse(opay_str_t name);
opay_order_op_e opay_order_op_parse(opay_str_t name);


#endif /* OPAY_FSM_ORDER_H_INCLUDED */
