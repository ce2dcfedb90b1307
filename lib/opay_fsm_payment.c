
#include "opay_fsm_payment.h"


#define OPAY_PAYMENT_BIT(x)    (1u << (x))

#define OPAY_PAYMENT_S_NONE    OPAY_PAYMENT_BIT(OPAY_PAYMENT_NONE)
#define OPAY_PAYMENT_S_PENDING OPAY_PAYMENT_BIT(OPAY_PAYMENT_PENDING)
#define OPAY_PAYMENT_S_RUNNING OPAY_PAYMENT_BIT(OPAY_PAYMENT_PROCESSING)
#define OPAY_PAYMENT_S_SUCCESS OPAY_PAYMENT_BIT(OPAY_PAYMENT_SUCCESS)
#define OPAY_PAYMENT_S_FAILED  OPAY_PAYMENT_BIT(OPAY_PAYMENT_FAILED)
#define OPAY_PAYMENT_S_GONE    OPAY_PAYMENT_BIT(OPAY_PAYMENT_CANCELLED)
#define OPAY_PAYMENT_S_RETURN  OPAY_PAYMENT_BIT(OPAY_PAYMENT_REFUND_PENDING)
#define OPAY_PAYMENT_S_BACK    OPAY_PAYMENT_BIT(OPAY_PAYMENT_REFUNDED)

/* Charged, whatever became of the money later; never charged. */
#define OPAY_PAYMENT_S_CHARGED (OPAY_PAYMENT_S_SUCCESS                        \
                                | OPAY_PAYMENT_S_RETURN | OPAY_PAYMENT_S_BACK)
#define OPAY_PAYMENT_S_CLOSED  (OPAY_PAYMENT_S_FAILED | OPAY_PAYMENT_S_GONE)
#define OPAY_PAYMENT_S_ANY     0xfe    /* all that exist */

/* Sets of the outcome: 1 known, 2 unknown. */
#define OPAY_PAYMENT_U_NO      0x1
#define OPAY_PAYMENT_U_YES     0x2
#define OPAY_PAYMENT_U_ANY     0x3

/* Sets of open refunds: none, one, more. */
#define OPAY_PAYMENT_O_NONE    0x1
#define OPAY_PAYMENT_O_ONE     0x2
#define OPAY_PAYMENT_O_MORE    0x4
#define OPAY_PAYMENT_O_ANY     0x7

/* In a row: the field stays as it is. */
#define OPAY_PAYMENT_SAME      (-1)

#define OPAY_PAYMENT_AMOUNT    OPAY_PAYMENT_F_AMOUNT_OK
#define OPAY_PAYMENT_WISHED    OPAY_PAYMENT_F_CANCEL_WISH
#define OPAY_PAYMENT_FULL      OPAY_PAYMENT_F_FULL_REFUND

#define OPAY_PAYMENT_ALERT     0x01
#define OPAY_PAYMENT_WISH      0x02
#define OPAY_PAYMENT_REFUND    0x04


/* Matched like opay_order_row_t: the first row that fits counts. */
typedef struct {
    uint8_t       trigger;
    uint8_t       from;
    uint8_t       unknown;
    uint8_t       open;
    uint8_t       need;
    uint8_t       deny;
    uint8_t       kind;
    int8_t        to;
    int8_t        to_unknown;
    int8_t        opens;               /* added to open refunds */
    uint8_t       flags;
    uint8_t       code;                /* refusal */
    const char   *event[OPAY_STEP_EVENTS];
    const char   *reason;
} opay_payment_row_t;


#define opay_payment_apply(to, unknown, opens, flags, reason, ...)            \
    OPAY_STEP_APPLY, to, unknown, opens, flags, OPAY_E_NONE,                  \
    { __VA_ARGS__ }, reason

#define opay_payment_noop(flags)                                              \
    OPAY_STEP_NOOP, OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, 0, flags,           \
    OPAY_E_NONE, { NULL }, NULL

#define opay_payment_refuse(flags, code, reason)                              \
    OPAY_STEP_REFUSE, OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, 0, flags,         \
    code, { NULL }, reason


static const opay_payment_row_t  opay_payment_rows[] = {

    { OPAY_PAYMENT_T_CREATE,
      OPAY_PAYMENT_S_NONE, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_PENDING, OPAY_PAYMENT_SAME, 0, 0, NULL,
                         "payment.created") },

    { OPAY_PAYMENT_T_CREATE,
      OPAY_PAYMENT_S_PENDING | OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY,
      OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_refuse(0, OPAY_E_PAYMENT_IN_PROGRESS, "in_progress") },

    { OPAY_PAYMENT_T_SEND,
      OPAY_PAYMENT_S_PENDING, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE,
      0, OPAY_PAYMENT_WISHED,
      opay_payment_apply(OPAY_PAYMENT_PROCESSING, OPAY_PAYMENT_SAME, 0, 0,
                         NULL, "payment.processing") },

    /* the provider approved */

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_AMOUNT, OPAY_PAYMENT_WISHED,
      opay_payment_apply(OPAY_PAYMENT_SUCCESS, 0, 0, 0, NULL,
                         "payment.succeeded") },

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_AMOUNT | OPAY_PAYMENT_WISHED, 0,
      opay_payment_apply(OPAY_PAYMENT_REFUND_PENDING, 0, 1,
                         OPAY_PAYMENT_REFUND, NULL, "payment.succeeded",
                         "refund.created") },

    /* ... another amount: somebody has to look */

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE,
      0, OPAY_PAYMENT_AMOUNT,
      opay_payment_apply(OPAY_PAYMENT_SAME, 1, 0, OPAY_PAYMENT_ALERT,
                         "amount_mismatch", "payment.outcome_unknown") },

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_YES, OPAY_PAYMENT_O_NONE,
      0, OPAY_PAYMENT_AMOUNT, opay_payment_noop(OPAY_PAYMENT_ALERT) },

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_CHARGED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_noop(0) },

    { OPAY_PAYMENT_T_APPROVED,
      OPAY_PAYMENT_S_CLOSED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_refuse(OPAY_PAYMENT_ALERT, OPAY_E_ILLEGAL_TRANSITION,
                          "approved_after_close") },

    /* the provider declined, or voided */

    { OPAY_PAYMENT_T_DECLINED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE,
      0, OPAY_PAYMENT_WISHED,
      opay_payment_apply(OPAY_PAYMENT_FAILED, 0, 0, 0, NULL,
                         "payment.failed") },

    { OPAY_PAYMENT_T_DECLINED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_WISHED, 0,
      opay_payment_apply(OPAY_PAYMENT_CANCELLED, 0, 0, 0, NULL,
                         "payment.cancelled") },

    { OPAY_PAYMENT_T_VOIDED,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_CANCELLED, 0, 0, 0, NULL,
                         "payment.cancelled") },

    { OPAY_PAYMENT_T_DECLINED,
      OPAY_PAYMENT_S_CLOSED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_noop(0) },

    { OPAY_PAYMENT_T_VOIDED,
      OPAY_PAYMENT_S_CLOSED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_noop(0) },

    { OPAY_PAYMENT_T_DECLINED,
      OPAY_PAYMENT_S_CHARGED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_refuse(OPAY_PAYMENT_ALERT, OPAY_E_ILLEGAL_TRANSITION,
                          "declined_after_success") },

    { OPAY_PAYMENT_T_VOIDED,
      OPAY_PAYMENT_S_CHARGED, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_refuse(OPAY_PAYMENT_ALERT, OPAY_E_ILLEGAL_TRANSITION,
                          "voided_after_success") },

    /* nobody knows yet */

    { OPAY_PAYMENT_T_UNKNOWN,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_SAME, 1, 0, 0, NULL,
                         "payment.outcome_unknown") },

    { OPAY_PAYMENT_T_UNKNOWN,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_YES, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_noop(0) },

    { OPAY_PAYMENT_T_UNKNOWN,
      OPAY_PAYMENT_S_CHARGED | OPAY_PAYMENT_S_CLOSED, OPAY_PAYMENT_U_ANY,
      OPAY_PAYMENT_O_ANY, 0, 0, opay_payment_noop(0) },

    /* somebody wants it to stop */

    { OPAY_PAYMENT_T_CANCEL,
      OPAY_PAYMENT_S_PENDING, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_CANCELLED, OPAY_PAYMENT_SAME, 0, 0,
                         NULL, "payment.cancelled") },

    { OPAY_PAYMENT_T_CANCEL,
      OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_noop(OPAY_PAYMENT_WISH) },

    { OPAY_PAYMENT_T_CANCEL,
      OPAY_PAYMENT_S_SUCCESS, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_REFUND_PENDING, OPAY_PAYMENT_SAME, 1,
                         OPAY_PAYMENT_REFUND, NULL, "refund.created") },

    { OPAY_PAYMENT_T_CANCEL,
      OPAY_PAYMENT_S_GONE | OPAY_PAYMENT_S_RETURN | OPAY_PAYMENT_S_BACK,
      OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0, opay_payment_noop(0) },

    { OPAY_PAYMENT_T_EXPIRE,
      OPAY_PAYMENT_S_PENDING, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_NONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_CANCELLED, OPAY_PAYMENT_SAME, 0, 0,
                         NULL, "payment.cancelled") },

    { OPAY_PAYMENT_T_EXPIRE,
      OPAY_PAYMENT_S_ANY, OPAY_PAYMENT_U_ANY, OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_noop(0) },

    /* refunds */

    { OPAY_PAYMENT_T_REFUND_CREATE,
      OPAY_PAYMENT_S_SUCCESS | OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO,
      OPAY_PAYMENT_O_ANY, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_REFUND_PENDING, OPAY_PAYMENT_SAME, 1,
                         0, NULL, "refund.created") },

    { OPAY_PAYMENT_T_REFUND_SUCCEEDED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_ONE,
      OPAY_PAYMENT_FULL, 0,
      opay_payment_apply(OPAY_PAYMENT_REFUNDED, OPAY_PAYMENT_SAME, -1, 0,
                         NULL, "refund.succeeded", "payment.refunded") },

    { OPAY_PAYMENT_T_REFUND_SUCCEEDED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_MORE,
      OPAY_PAYMENT_FULL, 0,
      opay_payment_refuse(OPAY_PAYMENT_ALERT, OPAY_E_ILLEGAL_TRANSITION,
                          "refunded_more_than_amount") },

    { OPAY_PAYMENT_T_REFUND_SUCCEEDED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_ONE,
      0, OPAY_PAYMENT_FULL,
      opay_payment_apply(OPAY_PAYMENT_SUCCESS, OPAY_PAYMENT_SAME, -1, 0,
                         NULL, "refund.succeeded") },

    { OPAY_PAYMENT_T_REFUND_SUCCEEDED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_MORE,
      0, OPAY_PAYMENT_FULL,
      opay_payment_apply(OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, -1, 0, NULL,
                         "refund.succeeded") },

    { OPAY_PAYMENT_T_REFUND_FAILED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_ONE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_SUCCESS, OPAY_PAYMENT_SAME, -1, 0,
                         NULL, "refund.failed") },

    { OPAY_PAYMENT_T_REFUND_FAILED,
      OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_U_NO, OPAY_PAYMENT_O_MORE, 0, 0,
      opay_payment_apply(OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, -1, 0, NULL,
                         "refund.failed") }
};


static unsigned
opay_payment_open_bit(unsigned open)
{
    if (open == 0) {
        return OPAY_PAYMENT_O_NONE;
    }

    return open == 1 ? OPAY_PAYMENT_O_ONE : OPAY_PAYMENT_O_MORE;
}


static int
opay_payment_fits(const opay_payment_row_t *row,
    const opay_payment_state_t *state, opay_payment_trigger_e trigger,
    unsigned facts)
{
    return row->trigger == trigger
           && (row->from & OPAY_PAYMENT_BIT(state->status))
           && (row->unknown & (state->unknown ? OPAY_PAYMENT_U_YES
                                              : OPAY_PAYMENT_U_NO))
           && (row->open & opay_payment_open_bit(state->open))
           && (facts & row->need) == row->need
           && (facts & row->deny) == 0;
}


static void
opay_payment_take(const opay_payment_row_t *row, opay_payment_verdict_t *v)
{
    unsigned  i;

    v->kind = row->kind;
    v->code = row->code;
    v->reason = row->reason;
    v->alert = (row->flags & OPAY_PAYMENT_ALERT) != 0;
    v->wish = (row->flags & OPAY_PAYMENT_WISH) != 0;
    v->refund = (row->flags & OPAY_PAYMENT_REFUND) != 0;

    if (row->to != OPAY_PAYMENT_SAME) {
        v->next.status = row->to;
    }

    if (row->to_unknown != OPAY_PAYMENT_SAME) {
        v->next.unknown = row->to_unknown;
    }

    v->next.open += row->opens;

    for (i = 0; i < OPAY_STEP_EVENTS && row->event[i] != NULL; i++) {
        v->events[v->nevents++] = row->event[i];
    }
}


opay_payment_verdict_t
opay_payment_step(const opay_payment_state_t *state,
    opay_payment_trigger_e trigger, unsigned facts)
{
    size_t                  i, n;
    opay_payment_verdict_t  v;

    memset(&v, 0, sizeof(v));

    v.kind = OPAY_STEP_REFUSE;
    v.next = *state;
    v.code = OPAY_E_ILLEGAL_TRANSITION;
    v.reason = "illegal_transition";

    n = sizeof(opay_payment_rows) / sizeof(opay_payment_rows[0]);

    for (i = 0; i < n; i++) {
        if (opay_payment_fits(&opay_payment_rows[i], state, trigger, facts)) {
            opay_payment_take(&opay_payment_rows[i], &v);
            break;
        }
    }

    return v;
}


/* The events, as what they do to a state. */
typedef struct {
    const char   *type;
    uint8_t       from;
    uint8_t       open;
    int8_t        to;
    int8_t        to_unknown;
    int8_t        opens;
} opay_payment_fold_t;


static const opay_payment_fold_t  opay_payment_folds[] = {

    { "payment.created", OPAY_PAYMENT_S_NONE, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_PENDING, OPAY_PAYMENT_SAME, 0 },

    { "payment.processing", OPAY_PAYMENT_S_PENDING, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_PROCESSING, OPAY_PAYMENT_SAME, 0 },

    { "payment.outcome_unknown", OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_SAME, 1, 0 },

    { "payment.succeeded", OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_SUCCESS, 0, 0 },

    { "payment.failed", OPAY_PAYMENT_S_RUNNING, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_FAILED, 0, 0 },

    { "payment.cancelled", OPAY_PAYMENT_S_PENDING | OPAY_PAYMENT_S_RUNNING,
      OPAY_PAYMENT_O_NONE, OPAY_PAYMENT_CANCELLED, 0, 0 },

    { "refund.created", OPAY_PAYMENT_S_SUCCESS | OPAY_PAYMENT_S_RETURN,
      OPAY_PAYMENT_O_ANY, OPAY_PAYMENT_REFUND_PENDING, OPAY_PAYMENT_SAME, 1 },

    { "refund.succeeded", OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_O_ONE,
      OPAY_PAYMENT_SUCCESS, OPAY_PAYMENT_SAME, -1 },

    { "refund.succeeded", OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_O_MORE,
      OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, -1 },

    { "refund.failed", OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_O_ONE,
      OPAY_PAYMENT_SUCCESS, OPAY_PAYMENT_SAME, -1 },

    { "refund.failed", OPAY_PAYMENT_S_RETURN, OPAY_PAYMENT_O_MORE,
      OPAY_PAYMENT_SAME, OPAY_PAYMENT_SAME, -1 },

    { "payment.refunded", OPAY_PAYMENT_S_SUCCESS, OPAY_PAYMENT_O_NONE,
      OPAY_PAYMENT_REFUNDED, OPAY_PAYMENT_SAME, 0 }
};


int
opay_payment_apply_event(opay_payment_state_t *state, opay_str_t type)
{
    size_t                      i, n;
    const opay_payment_fold_t  *f;

    n = sizeof(opay_payment_folds) / sizeof(opay_payment_folds[0]);

    for (i = 0; i < n; i++) {
        f = &opay_payment_folds[i];

        if ((f->from & OPAY_PAYMENT_BIT(state->status)) == 0
            || (f->open & opay_payment_open_bit(state->open)) == 0
            || !opay_str_is(type, f->type))
        {
            continue;
        }

        if (f->to != OPAY_PAYMENT_SAME) {
            state->status = f->to;
        }

        if (f->to_unknown != OPAY_PAYMENT_SAME) {
            state->unknown = f->to_unknown;
        }

        state->open += f->opens;

        return OPAY_OK;
    }

    return OPAY_ERROR;
}


/* What a call to the provider may do: 0 refused. */
#define OPAY_ATTEMPT_STAY  0x80

static const uint8_t
    opay_attempt_steps[OPAY_ATTEMPT_STATUS_MAX][OPAY_ATTEMPT_T_MAX] =
{
    [OPAY_ATTEMPT_NONE] = {
        [OPAY_ATTEMPT_T_CREATE] = OPAY_ATTEMPT_INIT
    },

    [OPAY_ATTEMPT_INIT] = {
        [OPAY_ATTEMPT_T_SEND] = OPAY_ATTEMPT_SENT,
        [OPAY_ATTEMPT_T_ABANDON] = OPAY_ATTEMPT_NO
    },

    [OPAY_ATTEMPT_SENT] = {
        [OPAY_ATTEMPT_T_YES] = OPAY_ATTEMPT_YES,
        [OPAY_ATTEMPT_T_NO] = OPAY_ATTEMPT_NO,
        [OPAY_ATTEMPT_T_UNKNOWN] = OPAY_ATTEMPT_UNKNOWN
    },

    [OPAY_ATTEMPT_UNKNOWN] = {
        [OPAY_ATTEMPT_T_YES] = OPAY_ATTEMPT_YES,
        [OPAY_ATTEMPT_T_NO] = OPAY_ATTEMPT_NO,
        [OPAY_ATTEMPT_T_UNKNOWN] = OPAY_ATTEMPT_STAY
    },

    /* a timeout that was noticed after the answer says nothing */

    [OPAY_ATTEMPT_YES] = {
        [OPAY_ATTEMPT_T_YES] = OPAY_ATTEMPT_STAY,
        [OPAY_ATTEMPT_T_UNKNOWN] = OPAY_ATTEMPT_STAY
    },

    [OPAY_ATTEMPT_NO] = {
        [OPAY_ATTEMPT_T_NO] = OPAY_ATTEMPT_STAY,
        [OPAY_ATTEMPT_T_UNKNOWN] = OPAY_ATTEMPT_STAY,
        [OPAY_ATTEMPT_T_ABANDON] = OPAY_ATTEMPT_STAY
    }
};


opay_step_e
opay_attempt_step(opay_attempt_status_e state, opay_attempt_trigger_e trigger,
    opay_attempt_status_e *next)
{
    unsigned  to;

    *next = state;
    to = 0;

    if ((unsigned) state < OPAY_ATTEMPT_STATUS_MAX
        && (unsigned) trigger < OPAY_ATTEMPT_T_MAX)
    {
        to = opay_attempt_steps[state][trigger];
    }

    if (to == 0) {
        return OPAY_STEP_REFUSE;
    }

    if (to == OPAY_ATTEMPT_STAY) {
        return OPAY_STEP_NOOP;
    }

    *next = to;

    return OPAY_STEP_APPLY;
}


static const char *const  opay_payment_names[OPAY_PAYMENT_STATUS_MAX] = {
    NULL, "PENDING", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED",
    "REFUND_PENDING", "REFUNDED"
};

static const char *const  opay_attempt_names[OPAY_ATTEMPT_STATUS_MAX] = {
    NULL, "INIT", "SENT", "UNKNOWN", "APPROVED", "DECLINED"
};

static const char *const  opay_refund_names[OPAY_ATTEMPT_STATUS_MAX] = {
    NULL, "INIT", "SENT", "UNKNOWN", "SUCCEEDED", "FAILED"
};


/* 0 (NONE) when it is none of them. */
static unsigned
opay_payment_name_find(const char *const *names, unsigned n, opay_str_t name)
{
    unsigned  i;

    for (i = 1; i < n; i++) {
        if (opay_str_is(name, names[i])) {
            return i;
        }
    }

    return 0;
}


const char *
opay_payment_status_name(opay_payment_status_e status)
{
    return (unsigned) status < OPAY_PAYMENT_STATUS_MAX
           ? opay_payment_names[status] : NULL;
}


opay_payment_status_e
opay_payment_status_parse(opay_str_t name)
{
    return opay_payment_name_find(opay_payment_names, OPAY_PAYMENT_STATUS_MAX,
                                  name);
}


const char *
opay_attempt_status_name(opay_attempt_status_e status)
{
    return (unsigned) status < OPAY_ATTEMPT_STATUS_MAX
           ? opay_attempt_names[status] : NULL;
}


opay_attempt_status_e
opay_attempt_status_parse(opay_str_t name)
{
    return opay_payment_name_find(opay_attempt_names, OPAY_ATTEMPT_STATUS_MAX,
                                  name);
}


const char *
opay_refund_status_name(opay_attempt_status_e status)
{
    return (unsigned) status < OPAY_ATTEMPT_STATUS_MAX
           ? opay_refund_names[status] : NULL;
}


opay_attempt_status_e
opay_refund_status_parse(opay_str_t name)
{
    return opay_payment_name_find(opay_refund_names, OPAY_ATTEMPT_STATUS_MAX,
                                  name);
}
