
/*
 * libFuzzer: an answer of /v1/health/service, or a copy from disk.  Whatever
 * is read is within bounds, survives the way to the disk and back, and merges
 * into a list without losing its order.
 */

#include <stdlib.h>

#include "opay_consul.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_consul_check(const opay_peers_t *list)
{
    char                buf[OPAY_PEER_TEXT];
    unsigned            i;
    opay_peer_t         back;
    const opay_peer_t  *p;

    if (list->n > OPAY_PEERS_MAX) {
        abort();
    }

    for (i = 0; i < list->n; i++) {
        p = &list->peers[i];

        if (p->state >= OPAY_PEER_STATES || p->weight > OPAY_PEER_WEIGHT_MAX
            || p->port == 0 || (p->family != 4 && p->family != 6)
            || (p->state == OPAY_PEER_MAINT && p->weight != 0))
        {
            abort();
        }

        if (opay_peer_parse(&back, buf, opay_peer_format(p, buf)) != OPAY_OK
            || back.port != p->port || memcmp(back.addr, p->addr, 16) != 0)
        {
            abort();
        }
    }
}


static void
fuzz_consul_disk(const opay_peers_t *list)
{
    char          buf[OPAY_PEERS_TEXT_MAX];
    size_t        n;
    int64_t       when;
    opay_peers_t  back;

    n = opay_peers_save(list, 42, buf, sizeof(buf));

    if (n == 0 || opay_peers_load(&back, &when, buf, n) != OPAY_OK
        || when != 42 || back.n != list->n)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t       when;
    unsigned      i;
    opay_peers_t  fresh, use, disk;

    if (opay_peers_load(&disk, &when, (const char *) data, size) == OPAY_OK
        && disk.n > OPAY_PEERS_MAX)
    {
        abort();
    }

    if (opay_consul_parse_health(&fresh, (const char *) data, size)
        != OPAY_OK)
    {
        return 0;
    }

    fuzz_consul_check(&fresh);
    fuzz_consul_disk(&fresh);

    /* half of it was known before */

    use = fresh;
    use.n /= 2;

    for (i = 0; i < 3; i++) {
        (void) opay_peers_merge(&use, &fresh, size & 1, 1000 * i);
        fuzz_consul_check(&use);

        if (use.n < fresh.n) {
            abort();
        }

        fresh.n /= 2;
    }

    (void) opay_peers_expire(&use, 1000 + 2 * OPAY_PEERS_GRACE);

    if (opay_peers_next_expiry(&use) != 0) {
        abort();
    }

    return 0;
}
