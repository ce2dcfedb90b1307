
/*
 * opay_peers: the list of a service's instances, and the rules by which a
 * fresh answer of the registry replaces the list that is in use.
 *
 * DESIGN
 *
 * Plain values: no pointer, nothing allocated, so that lists can be copied
 * into shared memory and compared as bytes.  The registry may be wrong, late
 * or gone; the rules prefer instances that were there to none at all.  Time
 * is the caller's, in milliseconds.
 */

#ifndef OPAY_PEERS_H_INCLUDED
#define OPAY_PEERS_H_INCLUDED

#include <netinet/in.h>

#include "opay_base.h"


#define OPAY_PEERS_MAX         64
#define OPAY_PEER_TEXT         64    /* "[v6]:port" and NUL */
#define OPAY_PEER_WEIGHT_MAX   1000

/* how long instances that vanished without notice stay in use */
#define OPAY_PEERS_GRACE       30000


typedef enum {
    OPAY_PEER_PASSING = 0,
    OPAY_PEER_WARNING,
    OPAY_PEER_CRITICAL,
    OPAY_PEER_MAINT,               /* no new requests */
    OPAY_PEER_SUSPECT,             /* vanished; kept for a while */
    OPAY_PEER_STATES
} opay_peer_state_e;


typedef struct {
    uint64_t  id;                  /* of (node, service id, address, port) */
    int64_t   until;               /* SUSPECT: dropped then; else 0 */
    uint8_t   addr[16];            /* network order; IPv4 uses four bytes */
    uint16_t  port;                /* host order */
    uint8_t   family;              /* 4 or 6 */
    uint8_t   state;               /* opay_peer_state_e */
    uint32_t  weight;              /* 0: gets no requests */
} opay_peer_t;


typedef struct {
    unsigned     n;
    unsigned     malformed;        /* entries skipped */
    unsigned     dropped;          /* entries beyond OPAY_PEERS_MAX */
    opay_peer_t  peers[OPAY_PEERS_MAX];
} opay_peers_t;


/* What a merge did; the bits describe the list that is now in use. */
#define OPAY_PEERS_CHANGED   0x01  /* differs from the list before */
#define OPAY_PEERS_HELD      0x02  /* the answer was empty: list kept */
#define OPAY_PEERS_KEPT      0x04  /* vanished instances kept as suspects */
#define OPAY_PEERS_PANIC     0x08  /* nothing healthy: all are used */


/*
 * Replaces `use` by what should be in use after the registry answered
 * `fresh`.  clean: the answer continues what was heard before (same index
 * sequence, leader known, nothing filtered by ACLs), so an instance that is
 * missing left on purpose; otherwise it may only have been forgotten.  An
 * empty answer is held for OPAY_PEERS_GRACE in any case.
 * Returns OPAY_PEERS_* bits.
 */
unsigned opay_peers_merge(opay_peers_t *use, const opay_peers_t *fresh,
    int clean, int64_t now);

/* Drops suspects whose time is over; OPAY_PEERS_* bits as above. */
unsigned opay_peers_expire(opay_peers_t *use, int64_t now);

/* The earliest moment at which expire() has something to do; 0: none. */
int64_t opay_peers_next_expiry(const opay_peers_t *use);

/* 1: no instance is healthy, so those that exist are used all the same. */
int opay_peers_panic(const opay_peers_t *use);

/* The weight with which a peer takes part, given opay_peers_panic(). */
unsigned opay_peer_weight(const opay_peer_t *peer, int panic);


/* Adds a peer; a duplicate address keeps the healthier state. */
int opay_peers_add(opay_peers_t *list, const opay_peer_t *peer);

/* Sorts by id, so that equal lists are equal bytes. */
void opay_peers_sort(opay_peers_t *list);

/* Address and port from text: "1.2.3.4", "2001:db8::1"; names are refused. */
int opay_peer_addr(opay_peer_t *peer, const char *address, int64_t port);

/* "1.2.3.4:80", "[::1]:80": for configuration; state PASSING, weight 1. */
int opay_peer_parse(opay_peer_t *peer, const char *text, size_t len);

/* buf has OPAY_PEER_TEXT bytes; NUL-terminated; returns the length. */
size_t opay_peer_format(const opay_peer_t *peer, char *buf);

const char *opay_peer_state_name(unsigned state);


/*
 * Disk form, one text with a checksum: what was in use at time `now`.
 * Suspects are written as passing.  Returns the length, 0: buf too small.
 */
#define OPAY_PEERS_TEXT_MAX  (128 + OPAY_PEERS_MAX * 128)

size_t opay_peers_save(const opay_peers_t *list, int64_t now, char *buf,
    size_t size);

/* OPAY_ERROR: not ours, torn, or damaged; list is empty then. */
int opay_peers_load(opay_peers_t *list, int64_t *when, const char *buf,
    size_t len);


#endif /* OPAY_PEERS_H_INCLUDED */
