
/*
 * opay_sub_message: a Kafka message into the JSON of one event.
 *
 * DESIGN
 *
 * CloudEvents 1.0, Kafka binding, binary mode, as the contract has it.
 * Everything is checked before it is copied into the envelope, so the
 * service never sees a message it could choke on, and header values need no
 * JSON escapes.  A well-formed event of a type we do not know is delivered:
 * the service moves its watermark, and the aggregate goes on.
 */

#include <stdlib.h>

#include "opay_json.h"
#include "opay_jsonw.h"
#include "opay_sub.h"
#include "opay_trace.h"


typedef struct {
    opay_str_t   specversion;
    opay_str_t   id;
    opay_str_t   source;
    opay_str_t   type;
    opay_str_t   subject;
    opay_str_t   time;
    opay_str_t   partitionkey;
    opay_str_t   sequence;
    opay_str_t   traceparent;
    opay_str_t   content_type;

    /* derived */
    opay_str_t   aggregate;
    opay_uuid_t  aggregate_id;
    opay_uuid_t  key;
    int64_t      version;
    int64_t      at;
} opay_sub_headers_t;


typedef struct {
    const char  *name;
    size_t       offset;
    int          required;
    size_t       max;
} opay_sub_header_t;


#define opay_header_at(f)  offsetof(opay_sub_headers_t, f)

static const opay_sub_header_t  opay_sub_table[] = {
    { "ce_specversion", opay_header_at(specversion), 1, 8 },
    { "ce_id", opay_header_at(id), 1, 100 },
    { "ce_source", opay_header_at(source), 1, 128 },
    { "ce_type", opay_header_at(type), 1, 64 },
    { "ce_subject", opay_header_at(subject), 1, 36 },
    { "ce_time", opay_header_at(time), 1, 40 },
    { "ce_partitionkey", opay_header_at(partitionkey), 1, 36 },
    { "ce_sequence", opay_header_at(sequence), 1, 10 },
    { "traceparent", opay_header_at(traceparent), 0, 255 },
    { "content-type", opay_header_at(content_type), 0, 128 },
};

#define OPAY_NHEADERS  (sizeof(opay_sub_table) / sizeof(opay_sub_table[0]))


/* Printable ASCII that JSON takes as it is. */
static int
opay_sub_plain(opay_str_t s)
{
    size_t  i;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] > 0x7e || s.data[i] == '"'
            || s.data[i] == '\\')
        {
            return 0;
        }
    }

    return 1;
}


/* NULL, or what is wrong */
static const char *
opay_sub_fetch(opay_arena_t *a, rd_kafka_headers_t *list,
    opay_sub_headers_t *h)
{
    size_t                    i, size;
    const void               *value;
    opay_str_t               *s, reason;
    const opay_sub_header_t  *t;

    for (i = 0; i < OPAY_NHEADERS; i++) {
        t = &opay_sub_table[i];
        s = (opay_str_t *) ((char *) h + t->offset);

        if (list == NULL
            || rd_kafka_header_get_last(list, t->name, &value, &size)
               != RD_KAFKA_RESP_ERR_NO_ERROR
            || value == NULL || size == 0)
        {
            if (t->required) {
                reason = opay_arena_printf(a, "header %s is missing",
                                           t->name);
                return reason.data;
            }

            continue;
        }

        s->data = value;
        s->len = size;

        if (size > t->max || !opay_sub_plain(*s)) {
            reason = opay_arena_printf(a, "header %s is invalid", t->name);
            return reason.data;
        }
    }

    return NULL;
}


/* order.payment_pending: two or more lower-case words */
static int
opay_sub_type_valid(opay_str_t s)
{
    char    c;
    size_t  i, dots;

    dots = 0;

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (c == '.') {
            if (i == 0 || i == s.len - 1 || s.data[i - 1] == '.') {
                return 0;
            }

            dots++;

        } else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
                     || c == '_'))
        {
            return 0;
        }
    }

    return dots > 0;
}


static int
opay_sub_number(opay_str_t s, int64_t *v)
{
    size_t  i;

    *v = 0;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return OPAY_ERROR;
        }

        *v = *v * 10 + (s.data[i] - '0');
    }

    return s.len && s.data[0] != '0' && *v <= UINT32_MAX ? OPAY_OK
                                                         : OPAY_ERROR;
}


/* ce_id is <aggregate>-<subject>-<sequence> */
static int
opay_sub_id(opay_sub_headers_t *h)
{
    size_t       n, tail;
    const char  *p;

    tail = 1 + h->subject.len + 1 + h->sequence.len;

    if (h->id.len <= tail) {
        return OPAY_ERROR;
    }

    n = h->id.len - tail;
    p = h->id.data + n;

    if (n > 16 || p[0] != '-' || p[1 + h->subject.len] != '-'
        || memcmp(p + 1, h->subject.data, h->subject.len) != 0
        || memcmp(p + 2 + h->subject.len, h->sequence.data, h->sequence.len)
           != 0)
    {
        return OPAY_ERROR;
    }

    h->aggregate.data = h->id.data;
    h->aggregate.len = n;

    return OPAY_OK;
}


static const char *
opay_sub_check(opay_sub_headers_t *h, opay_str_t key)
{
    if (!opay_str_is(h->specversion, "1.0")) {
        return "ce_specversion is not 1.0";
    }

    if (!opay_sub_type_valid(h->type)) {
        return "ce_type is not a type of ours";
    }

    if (opay_uuid_parse(h->subject, &h->aggregate_id) != OPAY_OK) {
        return "ce_subject is not a UUID";
    }

    if (opay_sub_number(h->sequence, &h->version) != OPAY_OK) {
        return "ce_sequence is not a version";
    }

    if (opay_sub_id(h) != OPAY_OK) {
        return "ce_id does not fit ce_subject and ce_sequence";
    }

    if (opay_time_parse(h->time, &h->at) != OPAY_OK) {
        return "ce_time is not a time";
    }

    if (opay_uuid_parse(h->partitionkey, &h->key) != OPAY_OK) {
        return "ce_partitionkey is not a UUID";
    }

    if (!opay_str_eq(h->partitionkey, key)) {
        return "the message's key is not ce_partitionkey";
    }

    if (h->content_type.len
        && (h->content_type.len < 16
            || memcmp(h->content_type.data, "application/json", 16) != 0))
    {
        return "content-type is not application/json";
    }

    return NULL;
}


static opay_str_t
opay_sub_envelope(opay_arena_t *a, opay_sub_headers_t *h, opay_str_t data)
{
    opay_jw_t  w;

    opay_jw_init(&w, a, data.len + 512);
    opay_jw_obj(&w);
    opay_jw_kstr(&w, "id", h->id);
    opay_jw_kstr(&w, "source", h->source);
    opay_jw_kstr(&w, "type", h->type);
    opay_jw_kstr(&w, "aggregate", h->aggregate);
    opay_jw_kuuid(&w, "aggregateId", &h->aggregate_id);
    opay_jw_kuuid(&w, "key", &h->key);
    opay_jw_ki64(&w, "sequence", h->version);
    opay_jw_ktime(&w, "time", h->at);

    if (!opay_trace_valid(h->traceparent)) {
        h->traceparent.data = NULL;
    }

    opay_jw_kstr(&w, "traceparent", h->traceparent);
    opay_jw_key(&w, "data");
    opay_jw_raw(&w, data);
    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


static int
opay_sub_malformed(opay_sub_item_t *item, const char *reason)
{
    item->outcome = OPAY_DELIVERY_MALFORMED;
    item->reason = reason ? reason : "out of memory";

    return reason ? OPAY_OK : OPAY_ERROR;
}


void
opay_sub_identify(opay_sub_item_t *item)
{
    size_t  n;

    n = item->id.len;

    while (n && item->id.data[n - 1] != '-') {
        n--;
    }

    item->aggregate.data = item->id.data;
    item->aggregate.len = n;
    item->version = 0;

    while (n < item->id.len) {
        item->version = item->version * 10
                        + (uint32_t) (item->id.data[n++] - '0');
    }
}


int
opay_sub_parse(opay_arena_t *a, opay_sub_item_t *item)
{
    opay_str_t           key, data;
    const char          *reason, *error;
    opay_sub_headers_t   h;
    rd_kafka_headers_t  *list;

    memset(&h, 0, sizeof(h));
    item->outcome = -1;
    item->copied = 0;

    list = NULL;
    (void) rd_kafka_message_headers(item->msg, &list);

    reason = opay_sub_fetch(a, list, &h);
    if (reason) {
        return opay_sub_malformed(item, reason);
    }

    key.data = item->msg->key;
    key.len = item->msg->key_len;

    reason = opay_sub_check(&h, key);
    if (reason) {
        return opay_sub_malformed(item, reason);
    }

    data.data = item->msg->payload ? item->msg->payload : "";
    data.len = item->msg->len;

    if (opay_json_decode(a, data, &error) == NULL) {
        return opay_sub_malformed(item,
                   opay_arena_printf(a, "the value: %s", error).data);
    }

    /* headers and value live as long as the message, which the item owns */
    item->id = h.id;
    item->key = key;
    opay_sub_identify(item);
    item->envelope = opay_sub_envelope(a, &h, data);

    if (item->envelope.data == NULL) {
        return OPAY_ERROR;
    }

    if (item->envelope.len > OPAY_SUB_BODY) {
        return opay_sub_malformed(item, "the event is too large to deliver");
    }

    return OPAY_OK;
}
