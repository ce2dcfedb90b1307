
/* See opay_event.h. */

#include <stdio.h>

#include "opay_event.h"


#define opay_event_order(type)                                               \
    { type, OPAY_TOPIC_ORDER, OPAY_AGG_ORDER }

#define opay_event_payment(type)                                             \
    { type, OPAY_TOPIC_PAYMENT, OPAY_AGG_PAYMENT }


static const opay_event_info_t  opay_events[] = {
    opay_event_order(OPAY_EVENT_ORDER_CREATED),
    opay_event_order(OPAY_EVENT_ORDER_UPDATED),
    opay_event_order(OPAY_EVENT_ORDER_PAYMENT_PENDING),
    opay_event_order(OPAY_EVENT_ORDER_PAID),
    opay_event_order(OPAY_EVENT_ORDER_PAYMENT_FAILED),
    opay_event_order(OPAY_EVENT_ORDER_COMPLETED),
    opay_event_order(OPAY_EVENT_ORDER_CANCEL_REQUESTED),
    opay_event_order(OPAY_EVENT_ORDER_CANCELLED),
    opay_event_order(OPAY_EVENT_ORDER_REFUND_REQUESTED),
    opay_event_order(OPAY_EVENT_ORDER_REFUNDED),

    opay_event_payment(OPAY_EVENT_PAYMENT_CREATED),
    opay_event_payment(OPAY_EVENT_PAYMENT_PROCESSING),
    opay_event_payment(OPAY_EVENT_PAYMENT_SUCCEEDED),
    opay_event_payment(OPAY_EVENT_PAYMENT_FAILED),
    opay_event_payment(OPAY_EVENT_PAYMENT_OUTCOME_UNKNOWN),
    opay_event_payment(OPAY_EVENT_PAYMENT_CANCELLED),
    opay_event_payment(OPAY_EVENT_REFUND_CREATED),
    opay_event_payment(OPAY_EVENT_REFUND_SUCCEEDED),
    opay_event_payment(OPAY_EVENT_REFUND_FAILED),
    opay_event_payment(OPAY_EVENT_PAYMENT_REFUNDED),

    { OPAY_EVENT_USER_CREATED, OPAY_TOPIC_USER, OPAY_AGG_USER },
    { OPAY_EVENT_USER_UPDATED, OPAY_TOPIC_USER, OPAY_AGG_PROFILE },
    { OPAY_EVENT_USER_DELETED, OPAY_TOPIC_USER, OPAY_AGG_USER },

    { OPAY_EVENT_AUTH_SESSION_REVOKED, OPAY_TOPIC_AUTH, OPAY_AGG_SESSION },
    { OPAY_EVENT_AUTH_CREDENTIALS_CHANGED, OPAY_TOPIC_AUTH,
      OPAY_AGG_CREDENTIAL }
};

#define OPAY_EVENTS  (sizeof(opay_events) / sizeof(opay_events[0]))


const opay_event_info_t *
opay_event_find(opay_str_t type)
{
    size_t  i;

    for (i = 0; i < OPAY_EVENTS; i++) {
        if (opay_str_is(type, opay_events[i].type)) {
            return &opay_events[i];
        }
    }

    return NULL;
}


const opay_event_info_t *
opay_event_table(size_t *n)
{
    *n = OPAY_EVENTS;

    return opay_events;
}


char *
opay_event_id(const char *agg_type, const opay_uuid_t *agg_id,
    int64_t version, char *buf)
{
    char  id[OPAY_UUID_TEXT + 1];

    (void) snprintf(buf, OPAY_EVENT_ID_SIZE, "%.16s-%s-%lld", agg_type,
                    opay_uuid_format(agg_id, id), (long long) version);

    return buf;
}
