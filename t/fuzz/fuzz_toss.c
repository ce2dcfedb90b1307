/*
 * libFuzzer: opay_toss_parse() on any bytes.  First byte: operation and
 * transport; second: HTTP status.  What must hold whatever comes in: a
 * definite outcome only from a complete answer of the right kind.
 */

#include <stdlib.h>

#include "opay_toss.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int  statuses[] = { 200, 400, 401, 403, 404, 409, 500, 503 };

    int                     status;
    opay_arena_t           *a;
    opay_str_t              body;
    opay_toss_result_t      r;
    opay_toss_attempt_t     at;
    opay_toss_transport_e   transport;

    if (size < 2) {
        return 0;
    }

    memset(&at, 0, sizeof(at));
    at.op = data[0] % 4;
    at.payment_key = opay_str_of("key");
    at.order_id = opay_str_of("order");
    at.idem_key = opay_str_of("ref-1");
    at.amount = 100;
    at.currency = opay_str_of("KRW");

    transport = (data[0] >> 2) % 8 < 6 ? OPAY_TOSS_ANSWERED
                                       : OPAY_TOSS_NO_ANSWER;
    status = statuses[data[1] % 8];

    body.data = (const char *) data + 2;
    body.len = size - 2;

    a = opay_arena_create(1024);
    if (a == NULL) {
        return 0;
    }

    opay_toss_parse(a, &at, transport, status, body, &r);

    if (transport != OPAY_TOSS_ANSWERED && r.outcome != OPAY_TOSS_UNKNOWN) {
        abort();
    }

    if (status >= 500 && r.outcome != OPAY_TOSS_UNKNOWN) {
        abort();
    }

    if (r.outcome == OPAY_TOSS_APPROVED
        && (status != 200 || r.amount != at.amount || at.op > OPAY_TOSS_QUERY
            || r.provider_id.len == 0))
    {
        abort();
    }

    if (r.outcome == OPAY_TOSS_REFUNDED
        && (status != 200 || r.amount != at.amount
            || at.op < OPAY_TOSS_CANCEL))
    {
        abort();
    }

    opay_arena_destroy(a);

    return 0;
}
