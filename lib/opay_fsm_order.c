
#include "opay_fsm_order.h"


#define OPAY_ORDER_BIT(x)    (1u << (x))

/* Sets of statuses, pending operations and financial statuses. */
#define OPAY_ORDER_S_NONE    OPAY_ORDER_BIT(OPAY_ORDER_NONE)
#define OPAY_ORDER_S_CREATED OPAY_ORDER_BIT(OPAY_ORDER_CREATED)
#define OPAY_ORDER_S_PENDING OPAY_ORDER_BIT(OPAY_ORDER_PENDING)
#define OPAY_ORDER_S_PAID    OPAY_ORDER_BIT(OPAY_ORDER_PAID)
#define OPAY_ORDER_S_FAILED  OPAY_ORDER_BIT(OPAY_ORDER_FAILED)
#define OPAY_ORDER_S_DONE    OPAY_ORDER_BIT(OPAY_ORDER_COMPLETED)
#define OPAY_ORDER_S_GONE    OPAY_ORDER_BIT(OPAY_ORDER_CANCELLED)
#define OPAY_ORDER_S_OPEN    (OPAY_ORDER_S_CREATED | OPAY_ORDER_S_FAILED)
#define OPAY_ORDER_S_TAKEN   (OPAY_ORDER_S_PAID | OPAY_ORDER_S_DONE)
#define OPAY_ORDER_S_ANY     0x7e      /* all that exist */

#define OPAY_ORDER_P_NONE    OPAY_ORDER_BIT(OPAY_ORDER_OP_NONE)
#define OPAY_ORDER_P_PAY     OPAY_ORDER_BIT(OPAY_ORDER_OP_PAY)
#define OPAY_ORDER_P_CANCEL  OPAY_ORDER_BIT(OPAY_ORDER_OP_CANCEL)
#define OPAY_ORDER_P_ANY     0x0f

#define OPAY_ORDER_M_UNPAID  OPAY_ORDER_BIT(OPAY_ORDER_UNPAID)
#define OPAY_ORDER_M_REFUNDED  OPAY_ORDER_BIT(OPAY_ORDER_REFUNDED)
#define OPAY_ORDER_M_HELD    (OPAY_ORDER_BIT(OPAY_ORDER_MONEY_PAID)           \
                              | OPAY_ORDER_BIT(OPAY_ORDER_PARTIALLY_REFUNDED))
#define OPAY_ORDER_M_ANY     0x1f

/* In a row: the field stays as it is. */
#define OPAY_ORDER_SAME      (-1)

#define OPAY_ORDER_EXPIRED   OPAY_ORDER_F_EXPIRED
#define OPAY_ORDER_AMOUNT    OPAY_ORDER_F_AMOUNT_OK
#define OPAY_ORDER_OURS      OPAY_ORDER_F_SAME_PAYMENT
#define OPAY_ORDER_FULL      OPAY_ORDER_F_FULL_REFUND
#define OPAY_ORDER_OPENREF   OPAY_ORDER_F_OPEN_REFUND

#define OPAY_ORDER_ALERT     0x01
#define OPAY_ORDER_ATTACH    0x02


/*
 * A row fits when the trigger is the row's, the state is in its three sets,
 * all facts of need are there and none of deny.  The first that fits counts.
 */
typedef struct {
    uint8_t       trigger;
    uint8_t       from;
    uint8_t       pending;
    uint8_t       financial;
    uint8_t       need;
    uint8_t       deny;
    uint8_t       kind;
    int8_t        to;
    int8_t        to_pending;
    int8_t        to_financial;
    uint8_t       flags;
    const char   *event[OPAY_STEP_EVENTS];
    const char   *reason;
} opay_order_row_t;


#define opay_order_apply(to, op, money, flags, ...)                           \
    OPAY_STEP_APPLY, to, op, money, flags, { __VA_ARGS__ }, NULL

#define opay_order_noop(flags)                                                \
    OPAY_STEP_NOOP, OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME,        \
    flags, { NULL }, NULL

#define opay_order_refuse(flags, reason)                                      \
    OPAY_STEP_REFUSE, OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME,      \
    flags, { NULL }, reason


static const opay_order_row_t  opay_order_rows[] = {

    /* asked by a user or a timer */

    { OPAY_ORDER_T_CREATE,
      OPAY_ORDER_S_NONE, OPAY_ORDER_P_NONE, OPAY_ORDER_M_UNPAID, 0, 0,
      opay_order_apply(OPAY_ORDER_CREATED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_UNPAID, 0, "order.created") },

    { OPAY_ORDER_T_UPDATE,
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      0, OPAY_ORDER_EXPIRED,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME,
                       0, "order.updated") },

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_SAME,
                       OPAY_ORDER_SAME, 0, "order.cancelled") },

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_OP_CANCEL,
                       OPAY_ORDER_SAME, 0, "order.cancel_requested") },

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE, OPAY_ORDER_M_HELD, 0, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_OP_CANCEL,
                       OPAY_ORDER_SAME, 0, "order.cancel_requested",
                       "order.refund_requested") },

    /* all the money is back already */

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE, OPAY_ORDER_M_REFUNDED, 0, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_SAME,
                       OPAY_ORDER_SAME, 0, "order.cancelled") },

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_PENDING | OPAY_ORDER_S_PAID, OPAY_ORDER_P_CANCEL,
      OPAY_ORDER_M_ANY, 0, 0, opay_order_noop(0) },

    { OPAY_ORDER_T_CANCEL,
      OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    { OPAY_ORDER_T_COMPLETE,
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE, OPAY_ORDER_M_HELD,
      0, OPAY_ORDER_OPENREF,
      opay_order_apply(OPAY_ORDER_COMPLETED, OPAY_ORDER_SAME,
                       OPAY_ORDER_SAME, 0, "order.completed") },

    { OPAY_ORDER_T_COMPLETE,
      OPAY_ORDER_S_DONE, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    { OPAY_ORDER_T_EXPIRE,
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      OPAY_ORDER_EXPIRED, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_SAME,
                       OPAY_ORDER_SAME, 0, "order.cancelled") },

    { OPAY_ORDER_T_EXPIRE,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    /*
     * payment.created: when it comes too late, or for another amount than
     * the order has by now, the order does not go along; a later success of
     * that payment is returned.
     */

    { OPAY_ORDER_T_PAYMENT_CREATED,
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      OPAY_ORDER_AMOUNT, OPAY_ORDER_EXPIRED,
      opay_order_apply(OPAY_ORDER_PENDING, OPAY_ORDER_OP_PAY,
                       OPAY_ORDER_MONEY_PROCESSING, OPAY_ORDER_ATTACH,
                       "order.payment_pending") },

    { OPAY_ORDER_T_PAYMENT_CREATED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS | OPAY_ORDER_AMOUNT, 0, opay_order_noop(0) },

    { OPAY_ORDER_T_PAYMENT_CREATED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(OPAY_ORDER_ALERT) },

    { OPAY_ORDER_T_PAYMENT_PROCESSING,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    { OPAY_ORDER_T_PAYMENT_UNKNOWN,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    /* payment.succeeded: the order's own payment, in time */

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, OPAY_ORDER_AMOUNT,
      opay_order_refuse(OPAY_ORDER_ALERT, "amount_mismatch") },

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS | OPAY_ORDER_AMOUNT, 0,
      opay_order_apply(OPAY_ORDER_PAID, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_MONEY_PAID, OPAY_ORDER_ATTACH,
                       "order.paid") },

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS | OPAY_ORDER_AMOUNT, 0,
      opay_order_apply(OPAY_ORDER_PAID, OPAY_ORDER_OP_CANCEL,
                       OPAY_ORDER_MONEY_PAID, OPAY_ORDER_ATTACH,
                       "order.paid", "order.refund_requested") },

    /* ... repeated */

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_TAKEN, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0, opay_order_noop(0) },

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY,
      OPAY_ORDER_M_HELD | OPAY_ORDER_M_REFUNDED,
      OPAY_ORDER_OURS, 0, opay_order_noop(0) },

    /* ... late: the order is gone or going, what came in goes back */

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY, OPAY_ORDER_M_UNPAID, 0, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_SAME,
                       OPAY_ORDER_MONEY_PAID,
                       OPAY_ORDER_ATTACH | OPAY_ORDER_ALERT,
                       "order.refund_requested") },

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_UNPAID,
      OPAY_ORDER_EXPIRED, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_SAME,
                       OPAY_ORDER_MONEY_PAID,
                       OPAY_ORDER_ATTACH | OPAY_ORDER_ALERT,
                       "order.cancelled", "order.refund_requested") },

    /* ... of a payment that is not the order's: charged twice, or stale */

    { OPAY_ORDER_T_PAYMENT_SUCCEEDED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME,
                       OPAY_ORDER_ALERT, "order.refund_requested") },

    /* payment.failed, payment.cancelled: the attempt is over */

    { OPAY_ORDER_T_PAYMENT_FAILED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_apply(OPAY_ORDER_FAILED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_UNPAID, 0, "order.payment_failed") },

    { OPAY_ORDER_T_PAYMENT_FAILED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_UNPAID, 0, "order.cancelled") },

    { OPAY_ORDER_T_PAYMENT_FAILED,
      OPAY_ORDER_S_TAKEN, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_refuse(OPAY_ORDER_ALERT, "failed_after_success") },

    { OPAY_ORDER_T_PAYMENT_FAILED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    { OPAY_ORDER_T_PAYMENT_CANCELLED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_apply(OPAY_ORDER_FAILED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_UNPAID, 0, "order.payment_failed") },

    { OPAY_ORDER_T_PAYMENT_CANCELLED,
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_UNPAID, 0, "order.cancelled") },

    { OPAY_ORDER_T_PAYMENT_CANCELLED,
      OPAY_ORDER_S_TAKEN, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_refuse(OPAY_ORDER_ALERT, "cancelled_after_success") },

    { OPAY_ORDER_T_PAYMENT_CANCELLED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    /* refund.succeeded carries all that payment.refunded says */

    { OPAY_ORDER_T_PAYMENT_REFUNDED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    { OPAY_ORDER_T_REFUND_CREATED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    /* refund.succeeded */

    { OPAY_ORDER_T_REFUND_SUCCEEDED,
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_HELD,
      OPAY_ORDER_OURS | OPAY_ORDER_FULL, 0,
      opay_order_apply(OPAY_ORDER_CANCELLED, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_REFUNDED, 0, "order.refunded",
                       "order.cancelled") },

    { OPAY_ORDER_T_REFUND_SUCCEEDED,
      OPAY_ORDER_S_TAKEN | OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY,
      OPAY_ORDER_M_HELD, OPAY_ORDER_OURS | OPAY_ORDER_FULL, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_SAME,
                       OPAY_ORDER_REFUNDED, 0, "order.refunded") },

    { OPAY_ORDER_T_REFUND_SUCCEEDED,
      OPAY_ORDER_S_TAKEN | OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY,
      OPAY_ORDER_M_HELD, OPAY_ORDER_OURS, OPAY_ORDER_FULL,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_SAME,
                       OPAY_ORDER_PARTIALLY_REFUNDED, 0, "order.refunded") },

    { OPAY_ORDER_T_REFUND_SUCCEEDED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_REFUNDED,
      OPAY_ORDER_OURS, 0, opay_order_noop(0) },

    /* the order never counted that money as its own: nothing moves */

    { OPAY_ORDER_T_REFUND_SUCCEEDED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(0) },

    /* refund.failed: the cancel did not work out, it can be asked for again */

    { OPAY_ORDER_T_REFUND_FAILED,
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_OURS, 0,
      opay_order_apply(OPAY_ORDER_SAME, OPAY_ORDER_OP_NONE,
                       OPAY_ORDER_SAME, OPAY_ORDER_ALERT,
                       "order.updated") },

    { OPAY_ORDER_T_REFUND_FAILED,
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY, 0, 0,
      opay_order_noop(OPAY_ORDER_ALERT) }
};


static int
opay_order_fits(const opay_order_row_t *row, const opay_order_state_t *state,
    opay_order_trigger_e trigger, unsigned facts)
{
    return row->trigger == trigger
           && (row->from & OPAY_ORDER_BIT(state->status))
           && (row->pending & OPAY_ORDER_BIT(state->pending))
           && (row->financial & OPAY_ORDER_BIT(state->financial))
           && (facts & row->need) == row->need
           && (facts & row->deny) == 0;
}


static opay_code_e
opay_order_code(opay_order_trigger_e trigger)
{
    switch (trigger) {

    case OPAY_ORDER_T_UPDATE:
        return OPAY_E_ORDER_NOT_EDITABLE;

    case OPAY_ORDER_T_CANCEL:
        return OPAY_E_ORDER_NOT_CANCELLABLE;

    default:
        return OPAY_E_ILLEGAL_TRANSITION;
    }
}


static void
opay_order_take(const opay_order_row_t *row, opay_order_verdict_t *v)
{
    unsigned  i;

    v->kind = row->kind;
    v->reason = row->reason;
    v->alert = (row->flags & OPAY_ORDER_ALERT) != 0;
    v->attach = (row->flags & OPAY_ORDER_ATTACH) != 0;

    if (row->to != OPAY_ORDER_SAME) {
        v->next.status = row->to;
    }

    if (row->to_pending != OPAY_ORDER_SAME) {
        v->next.pending = row->to_pending;
    }

    if (row->to_financial != OPAY_ORDER_SAME) {
        v->next.financial = row->to_financial;
    }

    for (i = 0; i < OPAY_STEP_EVENTS && row->event[i] != NULL; i++) {
        v->events[v->nevents++] = row->event[i];
    }
}


opay_order_verdict_t
opay_order_step(const opay_order_state_t *state, opay_order_trigger_e trigger,
    unsigned facts)
{
    size_t                i;
    opay_order_verdict_t  v;

    memset(&v, 0, sizeof(v));

    v.kind = OPAY_STEP_REFUSE;
    v.next = *state;
    v.reason = "illegal_transition";

    for (i = 0; i < sizeof(opay_order_rows) / sizeof(opay_order_rows[0]); i++)
    {
        if (opay_order_fits(&opay_order_rows[i], state, trigger, facts)) {
            opay_order_take(&opay_order_rows[i], &v);
            break;
        }
    }

    if (v.kind == OPAY_STEP_REFUSE) {
        v.code = opay_order_code(trigger);
    }

    return v;
}


/* The events, as what they do to a state; see opay_order_apply_event(). */
typedef struct {
    const char   *type;
    uint8_t       from;
    uint8_t       pending;
    uint8_t       financial;
    int8_t        to;
    int8_t        to_pending;
    int8_t        to_financial;
} opay_order_fold_t;


static const opay_order_fold_t  opay_order_folds[] = {

    { "order.created",
      OPAY_ORDER_S_NONE, OPAY_ORDER_P_NONE, OPAY_ORDER_M_UNPAID,
      OPAY_ORDER_CREATED, OPAY_ORDER_SAME, OPAY_ORDER_SAME },

    { "order.updated",
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME },

    /* a cancel that could not be: its refund failed */

    { "order.updated",
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_SAME, OPAY_ORDER_OP_NONE, OPAY_ORDER_SAME },

    { "order.payment_pending",
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      OPAY_ORDER_PENDING, OPAY_ORDER_OP_PAY, OPAY_ORDER_MONEY_PROCESSING },

    { "order.payment_failed",
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_FAILED, OPAY_ORDER_OP_NONE, OPAY_ORDER_UNPAID },

    { "order.paid",
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_PAID, OPAY_ORDER_OP_NONE, OPAY_ORDER_MONEY_PAID },

    { "order.paid",
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_PAID, OPAY_ORDER_SAME, OPAY_ORDER_MONEY_PAID },

    { "order.completed",
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE, OPAY_ORDER_M_HELD,
      OPAY_ORDER_COMPLETED, OPAY_ORDER_SAME, OPAY_ORDER_SAME },

    { "order.cancel_requested",
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_PAY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_SAME, OPAY_ORDER_OP_CANCEL, OPAY_ORDER_SAME },

    { "order.cancel_requested",
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE, OPAY_ORDER_M_HELD,
      OPAY_ORDER_SAME, OPAY_ORDER_OP_CANCEL, OPAY_ORDER_SAME },

    { "order.cancelled",
      OPAY_ORDER_S_OPEN, OPAY_ORDER_P_NONE, OPAY_ORDER_M_ANY,
      OPAY_ORDER_CANCELLED, OPAY_ORDER_SAME, OPAY_ORDER_SAME },

    { "order.cancelled",
      OPAY_ORDER_S_PENDING, OPAY_ORDER_P_CANCEL, OPAY_ORDER_M_ANY,
      OPAY_ORDER_CANCELLED, OPAY_ORDER_OP_NONE, OPAY_ORDER_UNPAID },

    { "order.cancelled",
      OPAY_ORDER_S_PAID, OPAY_ORDER_P_NONE | OPAY_ORDER_P_CANCEL,
      OPAY_ORDER_M_REFUNDED,
      OPAY_ORDER_CANCELLED, OPAY_ORDER_OP_NONE, OPAY_ORDER_SAME },

    /* the only way money gets into an order that is gone */

    { "order.refund_requested",
      OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY, OPAY_ORDER_M_UNPAID,
      OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_MONEY_PAID },

    { "order.refund_requested",
      OPAY_ORDER_S_ANY, OPAY_ORDER_P_ANY, OPAY_ORDER_M_ANY,
      OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_SAME },

    { "order.refunded",
      OPAY_ORDER_S_TAKEN | OPAY_ORDER_S_GONE, OPAY_ORDER_P_ANY,
      OPAY_ORDER_M_HELD,
      OPAY_ORDER_SAME, OPAY_ORDER_SAME, OPAY_ORDER_PARTIALLY_REFUNDED }
};


int
opay_order_apply_event(opay_order_state_t *state, opay_str_t type, int full)
{
    size_t                    i, n;
    const opay_order_fold_t  *f;

    n = sizeof(opay_order_folds) / sizeof(opay_order_folds[0]);

    for (i = 0; i < n; i++) {
        f = &opay_order_folds[i];

        if ((f->from & OPAY_ORDER_BIT(state->status)) == 0
            || (f->pending & OPAY_ORDER_BIT(state->pending)) == 0
            || (f->financial & OPAY_ORDER_BIT(state->financial)) == 0
            || !opay_str_is(type, f->type))
        {
            continue;
        }

        if (f->to != OPAY_ORDER_SAME) {
            state->status = f->to;
        }

        if (f->to_pending != OPAY_ORDER_SAME) {
            state->pending = f->to_pending;
        }

        if (f->to_financial != OPAY_ORDER_SAME) {
            state->financial = f->to_financial;
        }

        if (full && f->to_financial == OPAY_ORDER_PARTIALLY_REFUNDED) {
            state->financial = OPAY_ORDER_REFUNDED;
        }

        return OPAY_OK;
    }

    return OPAY_ERROR;
}


static const char *const  opay_order_status_names[OPAY_ORDER_STATUS_MAX] = {
    NULL, "CREATED", "PENDING", "PAID", "FAILED", "COMPLETED", "CANCELLED"
};

static const char *const
    opay_order_financial_names[OPAY_ORDER_FINANCIAL_MAX] =
{
    "UNPAID", "PROCESSING", "PAID", "PARTIALLY_REFUNDED", "REFUNDED"
};

static const char *const  opay_order_op_names[OPAY_ORDER_OP_MAX] = {
    NULL, "PAY", "CANCEL", "UPDATE"
};

static const char *const  opay_order_inbound[OPAY_ORDER_T_MAX] = {
    NULL, NULL, NULL, NULL, NULL,
    "payment.created",
    "payment.processing",
    "payment.outcome_unknown",
    "payment.succeeded",
    "payment.failed",
    "payment.cancelled",
    "payment.refunded",
    "refund.created",
    "refund.succeeded",
    "refund.failed"
};


/* n when it is none of them. */
static unsigned
opay_order_name_find(const char *const *names, unsigned n, opay_str_t name)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (names[i] != NULL && opay_str_is(name, names[i])) {
            break;
        }
    }

    return i;
}


opay_order_trigger_e
opay_order_trigger_of(opay_str_t event_type)
{
    return opay_order_name_find(opay_order_inbound, OPAY_ORDER_T_MAX,
                                event_type);
}


opay_order_trigger_e
opay_order_trigger_to(opay_order_status_e target)
{
    switch (target) {

    case OPAY_ORDER_COMPLETED:
        return OPAY_ORDER_T_COMPLETE;

    case OPAY_ORDER_CANCELLED:
        return OPAY_ORDER_T_CANCEL;

    default:
        return OPAY_ORDER_T_MAX;
    }
}


const char *
opay_order_status_name(opay_order_status_e status)
{
    return (unsigned) status < OPAY_ORDER_STATUS_MAX
           ? opay_order_status_names[status] : NULL;
}


const char *
opay_order_financial_name(opay_order_financial_e financial)
{
    return (unsigned) financial < OPAY_ORDER_FINANCIAL_MAX
           ? opay_order_financial_names[financial] : NULL;
}


const char *
opay_order_op_name(opay_order_op_e op)
{
    return (unsigned) op < OPAY_ORDER_OP_MAX ? opay_order_op_names[op] : NULL;
}


opay_order_status_e
opay_order_status_parse(opay_str_t name)
{
    unsigned  i;

    i = opay_order_name_find(opay_order_status_names, OPAY_ORDER_STATUS_MAX,
                             name);

    return i < OPAY_ORDER_STATUS_MAX ? i : OPAY_ORDER_NONE;
}


opay_order_financial_e
opay_order_financial_parse(opay_str_t name)
{
    return opay_order_name_find(opay_order_financial_names,
                                OPAY_ORDER_FINANCIAL_MAX, name);
}


opay_order_op_e
opay_order_op_parse(opay_str_t name)
{
    return opay_order_name_find(opay_order_op_names, OPAY_ORDER_OP_MAX, name);
}
