
/* Lists of instances and the rules of their change: see opay_peers.h. */

#include "opay_peers.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>


#define OPAY_PEERS_MAGIC  "opay-peers 1 "


static const opay_peer_t *opay_peers_find(const opay_peers_t *list,
    const opay_peer_t *peer);
static int opay_peers_same_addr(const opay_peer_t *a, const opay_peer_t *b);
static int opay_peers_same(const opay_peers_t *a, const opay_peers_t *b);
static int opay_peers_cmp(const void *one, const void *two);
static unsigned opay_peers_finish(opay_peers_t *use, opay_peers_t *next);
static uint32_t opay_peers_crc(const char *p, size_t len);
static int opay_peers_load_line(opay_peers_t *list, const char *line);


unsigned
opay_peers_merge(opay_peers_t *use, const opay_peers_t *fresh, int clean,
    int64_t now)
{
    unsigned            i, known, vanished, flags, keep;
    opay_peer_t         suspect;
    opay_peers_t        next;
    const opay_peer_t  *p;

    next = *fresh;
    opay_peers_sort(&next);

    known = 0;
    vanished = 0;

    for (i = 0; i < use->n; i++) {
        if (use->peers[i].state == OPAY_PEER_SUSPECT) {
            continue;
        }

        known++;

        if (opay_peers_find(fresh, &use->peers[i]) == NULL) {
            vanished++;
        }
    }

    /*
     * Believed at once: what left while Consul was well and others stayed.
     * That nobody is left is doubted always: an agent that was restarted
     * takes what it forgot out of the catalogue in good order, and trying an
     * instance that is gone costs no more than having none.  Otherwise most
     * of a service does not go in one moment, and an entry that could not be
     * read may be any of those that are missing.
     */

    flags = 0;
    keep = 0;

    if (fresh->n == 0 || fresh->malformed || fresh->dropped) {
        keep = 1;

    } else if (!clean) {
        keep = (vanished >= 2 && vanished * 2 > known);
    }

    for (i = 0; i < use->n; i++) {
        p = &use->peers[i];

        if (opay_peers_find(fresh, p)) {
            continue;
        }

        suspect = *p;

        if (p->state != OPAY_PEER_SUSPECT) {
            if (!keep || p->state == OPAY_PEER_MAINT) {
                continue;
            }

            suspect.state = OPAY_PEER_SUSPECT;
            suspect.until = now + OPAY_PEERS_GRACE;

        } else if (p->until <= now) {
            continue;
        }

        if (next.n < OPAY_PEERS_MAX) {
            next.peers[next.n++] = suspect;
            flags |= fresh->n ? OPAY_PEERS_KEPT : OPAY_PEERS_HELD;
        }
    }

    return flags | opay_peers_finish(use, &next);
}


unsigned
opay_peers_expire(opay_peers_t *use, int64_t now)
{
    unsigned      i, flags;
    opay_peers_t  next;

    flags = 0;
    next = *use;
    next.n = 0;

    for (i = 0; i < use->n; i++) {
        if (use->peers[i].state == OPAY_PEER_SUSPECT) {
            if (use->peers[i].until <= now) {
                continue;
            }

            flags = OPAY_PEERS_KEPT;
        }

        next.peers[next.n++] = use->peers[i];
    }

    return flags | opay_peers_finish(use, &next);
}


int64_t
opay_peers_next_expiry(const opay_peers_t *use)
{
    int64_t   next;
    unsigned  i;

    next = 0;

    for (i = 0; i < use->n; i++) {
        if (use->peers[i].state == OPAY_PEER_SUSPECT
            && (next == 0 || use->peers[i].until < next))
        {
            next = use->peers[i].until;
        }
    }

    return next;
}


static unsigned
opay_peers_finish(opay_peers_t *use, opay_peers_t *next)
{
    unsigned  flags;

    opay_peers_sort(next);

    flags = opay_peers_same(use, next) ? 0 : OPAY_PEERS_CHANGED;

    if (opay_peers_panic(next)) {
        flags |= OPAY_PEERS_PANIC;
    }

    *use = *next;

    return flags;
}


int
opay_peers_panic(const opay_peers_t *use)
{
    unsigned  i, critical;

    critical = 0;

    for (i = 0; i < use->n; i++) {
        if (opay_peer_weight(&use->peers[i], 0) > 0) {
            return 0;
        }

        if (use->peers[i].state != OPAY_PEER_MAINT) {
            critical = 1;
        }
    }

    return critical;
}


unsigned
opay_peer_weight(const opay_peer_t *peer, int panic)
{
    switch (peer->state) {

    case OPAY_PEER_PASSING:
    case OPAY_PEER_WARNING:
        return (peer->weight == 0 && panic) ? 1 : peer->weight;

    case OPAY_PEER_SUSPECT:
        return 1;

    case OPAY_PEER_CRITICAL:
        return panic ? 1 : 0;

    default:
        return 0;
    }
}


int
opay_peers_add(opay_peers_t *list, const opay_peer_t *peer)
{
    unsigned  i;

    for (i = 0; i < list->n; i++) {
        if (opay_peers_same_addr(&list->peers[i], peer)) {
            if (peer->state < list->peers[i].state) {
                list->peers[i] = *peer;
            }

            return OPAY_OK;
        }
    }

    if (list->n == OPAY_PEERS_MAX) {
        list->dropped++;
        return OPAY_ERROR;
    }

    list->peers[list->n++] = *peer;

    return OPAY_OK;
}


void
opay_peers_sort(opay_peers_t *list)
{
    qsort(list->peers, list->n, sizeof(opay_peer_t), opay_peers_cmp);
}


static int
opay_peers_cmp(const void *one, const void *two)
{
    const opay_peer_t  *a = one, *b = two;

    if (a->id != b->id) {
        return a->id < b->id ? -1 : 1;
    }

    return memcmp(a->addr, b->addr, 16);
}


static const opay_peer_t *
opay_peers_find(const opay_peers_t *list, const opay_peer_t *peer)
{
    unsigned  i;

    for (i = 0; i < list->n; i++) {
        if (opay_peers_same_addr(&list->peers[i], peer)) {
            return &list->peers[i];
        }
    }

    return NULL;
}


static int
opay_peers_same_addr(const opay_peer_t *a, const opay_peer_t *b)
{
    return a->family == b->family && a->port == b->port
           && memcmp(a->addr, b->addr, 16) == 0;
}


static int
opay_peers_same(const opay_peers_t *a, const opay_peers_t *b)
{
    return a->n == b->n
           && memcmp(a->peers, b->peers, a->n * sizeof(opay_peer_t)) == 0;
}


int
opay_peer_addr(opay_peer_t *peer, const char *address, int64_t port)
{
    if (port < 1 || port > 65535) {
        return OPAY_ERROR;
    }

    memset(peer->addr, 0, 16);
    peer->port = (uint16_t) port;

    if (inet_pton(AF_INET, address, peer->addr) == 1) {
        peer->family = 4;
        return OPAY_OK;
    }

    if (inet_pton(AF_INET6, address, peer->addr) == 1) {
        peer->family = 6;
        return OPAY_OK;
    }

    return OPAY_ERROR;
}


int
opay_peer_parse(opay_peer_t *peer, const char *text, size_t len)
{
    char        buf[OPAY_PEER_TEXT], *colon, *address;
    int64_t     port;
    const char  *p;

    memset(peer, 0, sizeof(opay_peer_t));

    if (len == 0 || len >= sizeof(buf)) {
        return OPAY_ERROR;
    }

    memcpy(buf, text, len);
    buf[len] = '\0';

    colon = strrchr(buf, ':');
    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5) {
        return OPAY_ERROR;
    }

    port = 0;

    for (p = colon + 1; *p; p++) {
        if (*p < '0' || *p > '9') {
            return OPAY_ERROR;
        }

        port = port * 10 + (*p - '0');
    }

    *colon = '\0';
    address = buf;

    if (buf[0] == '[') {
        if (colon[-1] != ']') {
            return OPAY_ERROR;
        }

        colon[-1] = '\0';
        address = buf + 1;

    } else if (strchr(buf, ':')) {
        return OPAY_ERROR;
    }

    peer->state = OPAY_PEER_PASSING;
    peer->weight = 1;

    return opay_peer_addr(peer, address, port);
}


size_t
opay_peer_format(const opay_peer_t *peer, char *buf)
{
    char  address[INET6_ADDRSTRLEN];

    inet_ntop(peer->family == 6 ? AF_INET6 : AF_INET, peer->addr, address,
              sizeof(address));

    return snprintf(buf, OPAY_PEER_TEXT,
                    peer->family == 6 ? "[%s]:%u" : "%s:%u",
                    address, (unsigned) peer->port);
}


const char *
opay_peer_state_name(unsigned state)
{
    static const char  *names[OPAY_PEER_STATES] = {
        "passing", "warning", "critical", "maintenance", "suspect"
    };

    return state < OPAY_PEER_STATES ? names[state] : "unknown";
}


size_t
opay_peers_save(const opay_peers_t *list, int64_t now, char *buf, size_t size)
{
    int                 n;
    char               *p, *last, *body, text[OPAY_PEER_TEXT];
    unsigned            i, state;
    const opay_peer_t  *peer;

    /* the checksum has a fixed width and goes in last */

    body = buf + sizeof(OPAY_PEERS_MAGIC) - 1 + 9;
    last = buf + size;

    if (body >= last) {
        return 0;
    }

    p = body;

    n = snprintf(p, last - p, "time %" PRId64 "\n", now);
    if (n < 0 || n >= last - p) {
        return 0;
    }

    p += n;

    for (i = 0; i < list->n; i++) {
        peer = &list->peers[i];
        state = peer->state == OPAY_PEER_SUSPECT ? OPAY_PEER_PASSING
                                                 : peer->state;
        opay_peer_format(peer, text);

        n = snprintf(p, last - p, "%016" PRIx64 " %u %u %s\n", peer->id,
                     state, (unsigned) peer->weight, text);
        if (n < 0 || n >= last - p) {
            return 0;
        }

        p += n;
    }

    memcpy(buf, OPAY_PEERS_MAGIC, sizeof(OPAY_PEERS_MAGIC) - 1);
    snprintf(text, sizeof(text), "%08" PRIx32, opay_peers_crc(body, p - body));
    memcpy(body - 9, text, 8);
    body[-1] = '\n';

    return p - buf;
}


int
opay_peers_load(opay_peers_t *list, int64_t *when, const char *buf, size_t len)
{
    char        *line, *end, copy[OPAY_PEERS_TEXT_MAX];
    size_t       head;
    uint32_t     crc;
    const char  *body;

    memset(list, 0, sizeof(opay_peers_t));

    head = sizeof(OPAY_PEERS_MAGIC) - 1 + 9;

    if (len <= head || len >= sizeof(copy)
        || memcmp(buf, OPAY_PEERS_MAGIC, head - 9) != 0
        || memchr(buf, '\0', len))
    {
        return OPAY_ERROR;
    }

    memcpy(copy, buf, len);
    copy[len] = '\0';

    crc = (uint32_t) strtoul(copy + head - 9, &end, 16);

    if (end != copy + head - 1 || *end != '\n'
        || crc != opay_peers_crc(buf + head, len - head))
    {
        return OPAY_ERROR;
    }

    body = copy + head;

    if (sscanf(body, "time %" SCNd64 "\n", when) != 1) {
        return OPAY_ERROR;
    }

    for (line = strchr(body, '\n'); line != NULL && line[1]; line = end) {

        line++;
        end = strchr(line, '\n');

        if (end == NULL) {
            goto failed;
        }

        *end = '\0';

        if (opay_peers_load_line(list, line) != OPAY_OK) {
            goto failed;
        }
    }

    return OPAY_OK;

failed:

    memset(list, 0, sizeof(opay_peers_t));

    return OPAY_ERROR;
}


static int
opay_peers_load_line(opay_peers_t *list, const char *line)
{
    char         text[OPAY_PEER_TEXT];
    unsigned     state, weight;
    uint64_t     id;
    opay_peer_t  peer;

    if (sscanf(line, "%16" SCNx64 " %u %u %63s", &id, &state, &weight, text)
        != 4
        || state >= OPAY_PEER_SUSPECT
        || weight > OPAY_PEER_WEIGHT_MAX
        || opay_peer_parse(&peer, text, strlen(text)) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    peer.id = id;
    peer.state = (uint8_t) state;
    peer.weight = weight;

    return opay_peers_add(list, &peer);
}


static uint32_t
opay_peers_crc(const char *p, size_t len)
{
    int       k;
    size_t    i;
    uint32_t  crc;

    crc = 0xffffffff;

    for (i = 0; i < len; i++) {
        crc ^= (uint8_t) p[i];

        for (k = 0; k < 8; k++) {
            crc = (crc >> 1) ^ (0xedb88320 & (0 - (crc & 1)));
        }
    }

    return ~crc;
}
