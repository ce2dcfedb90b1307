
/*
 * opay_event: the event types of the contract and their names on the wire.
 * Constant tables and pure functions; any thread.
 */

#ifndef OPAY_EVENT_H_INCLUDED
#define OPAY_EVENT_H_INCLUDED

#include "opay_base.h"


#define OPAY_TOPIC_ORDER    "order-events"
#define OPAY_TOPIC_PAYMENT  "payment-events"
#define OPAY_TOPIC_USER     "user-events"
#define OPAY_TOPIC_AUTH     "auth-events"

/* events.agg_type */
#define OPAY_AGG_ORDER       "order"
#define OPAY_AGG_PAYMENT     "payment"
#define OPAY_AGG_USER        "user"        /* auth: created, deleted */
#define OPAY_AGG_PROFILE     "profile"     /* user: updated */
#define OPAY_AGG_SESSION     "session"     /* auth: session_revoked */
#define OPAY_AGG_CREDENTIAL  "credential"  /* auth: credentials_changed */

#define OPAY_EVENT_ORDER_CREATED             "order.created"
#define OPAY_EVENT_ORDER_UPDATED             "order.updated"
#define OPAY_EVENT_ORDER_PAYMENT_PENDING     "order.payment_pending"
#define OPAY_EVENT_ORDER_PAID                "order.paid"
#define OPAY_EVENT_ORDER_PAYMENT_FAILED      "order.payment_failed"
#define OPAY_EVENT_ORDER_COMPLETED           "order.completed"
#define OPAY_EVENT_ORDER_CANCEL_REQUESTED    "order.cancel_requested"
#define OPAY_EVENT_ORDER_CANCELLED           "order.cancelled"
#define OPAY_EVENT_ORDER_REFUND_REQUESTED    "order.refund_requested"
#define OPAY_EVENT_ORDER_REFUNDED            "order.refunded"
#define OPAY_EVENT_PAYMENT_CREATED           "payment.created"
#define OPAY_EVENT_PAYMENT_PROCESSING        "payment.processing"
#define OPAY_EVENT_PAYMENT_SUCCEEDED         "payment.succeeded"
#define OPAY_EVENT_PAYMENT_FAILED            "payment.failed"
#define OPAY_EVENT_PAYMENT_OUTCOME_UNKNOWN   "payment.outcome_unknown"
#define OPAY_EVENT_PAYMENT_CANCELLED         "payment.cancelled"
#define OPAY_EVENT_REFUND_CREATED            "refund.created"
#define OPAY_EVENT_REFUND_SUCCEEDED          "refund.succeeded"
#define OPAY_EVENT_REFUND_FAILED             "refund.failed"
#define OPAY_EVENT_PAYMENT_REFUNDED          "payment.refunded"
#define OPAY_EVENT_USER_CREATED              "user.created"
#define OPAY_EVENT_USER_UPDATED              "user.updated"
#define OPAY_EVENT_USER_DELETED              "user.deleted"
#define OPAY_EVENT_AUTH_SESSION_REVOKED      "auth.session_revoked"
#define OPAY_EVENT_AUTH_CREDENTIALS_CHANGED  "auth.credentials_changed"


typedef struct {
    const char  *type;                 /* "order.paid"; also ce_type */
    const char  *topic;                /* "order-events" */
    const char  *aggregate;            /* "order" */
} opay_event_info_t;


/* NULL: no such type. */
const opay_event_info_t *opay_event_find(opay_str_t type);

/* All of them, in the order of the contract; *n gets their number. */
const opay_event_info_t *opay_event_table(size_t *n);


/* <aggregate>-<id>-<version>: 16 + 1 + 36 + 1 + 20, and NUL */
#define OPAY_EVENT_ID_SIZE  75

/*
 * ce_id into buf of OPAY_EVENT_ID_SIZE bytes, NUL-terminated; returns buf.
 * agg_type has 16 bytes at most.
 */
char *opay_event_id(const char *agg_type, const opay_uuid_t *agg_id,
    int64_t version, char *buf);


#endif /* OPAY_EVENT_H_INCLUDED */
