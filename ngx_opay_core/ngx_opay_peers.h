
/*
 * The instances of every watched service, in shared memory.
 *
 * DESIGN
 *
 * Fixed tables, made when the zone is made; no slab work later.  Worker 0 of
 * the newest cycle publishes, all workers pick and report.  Each service has
 * two banks: a publisher fills the one that is not in use and turns over with
 * one store, so that a worker killed half-way leaves the old list whole.
 * Pickers copy the address out: a request holds no reference into the table,
 * and an instance may vanish at any time.
 *
 * What a worker learns of an instance (failures, its turn in the weighted
 * round) is carried over by instance id when a list is replaced.
 *
 * The zone's own mutex guards it all; nothing is allocated, logged or waited
 * for while it is held, and the master frees it when its holder dies.
 */

#ifndef _NGX_OPAY_PEERS_H_INCLUDED_
#define _NGX_OPAY_PEERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "opay_peers.h"


#define NGX_OPAY_SERVICES_MAX   32     /* services one instance watches */
#define NGX_OPAY_REGISTERS_MAX  8
#define NGX_OPAY_NAME_MAX       64
#define NGX_OPAY_ID_MAX         128


typedef struct {
    opay_peer_t       peer;
    ngx_int_t         current;     /* smooth weighted round robin */
    ngx_uint_t        fails;       /* in a row */
    ngx_msec_t        until;       /* passed over till then, if fails */
} ngx_opay_slot_t;


typedef struct {
    ngx_uint_t        n;
    ngx_uint_t        panic;
    ngx_opay_slot_t   slots[OPAY_PEERS_MAX];
} ngx_opay_bank_t;


/* Where the list in use comes from. */
typedef enum {
    NGX_OPAY_PEERS_NONE = 0,
    NGX_OPAY_PEERS_FALLBACK,       /* fallback= */
    NGX_OPAY_PEERS_DISK,           /* what was last in use */
    NGX_OPAY_PEERS_CONSUL
} ngx_opay_peers_source_e;


typedef struct {
    u_char            name[NGX_OPAY_NAME_MAX];
    size_t            len;         /* 0: free */

    ngx_uint_t        bank;        /* in use: 0 or 1 */
    ngx_uint_t        source;
    ngx_uint_t        flags;       /* OPAY_PEERS_* of the last merge */
    int64_t           heard;       /* ms UTC: Consul's last good answer */
    ngx_uint_t        changes;
    ngx_uint_t        malformed;

    ngx_opay_bank_t   banks[2];
} ngx_opay_peers_service_t;


typedef struct {
    u_char            id[NGX_OPAY_ID_MAX];
    size_t            len;
    ngx_uint_t        registered;
} ngx_opay_registered_t;


typedef struct {
    ngx_uint_t                 magic;
    ngx_uint_t                 generation;   /* of the newest cycle */

    /* what the newest cycle registers */
    ngx_uint_t                 nregisters;
    ngx_opay_registered_t      registers[NGX_OPAY_REGISTERS_MAX];

    ngx_uint_t                 up;           /* Consul's last answer good */
    ngx_uint_t                 errors;

    ngx_opay_peers_service_t   services[NGX_OPAY_SERVICES_MAX];
} ngx_opay_peers_sh_t;


/* A watched service, in the conf of a cycle. */
typedef struct {
    ngx_str_t                  name;
    opay_peers_t               fallback;
    ngx_opay_peers_service_t  *sh;           /* set by the zone's init */
    ngx_slab_pool_t           *pool;
} ngx_opay_peers_conf_t;


/* Finds the service's row or takes a free one; NULL: the table is full. */
ngx_opay_peers_service_t *ngx_opay_peers_row(ngx_opay_peers_sh_t *sh,
    ngx_str_t *name);

/* Replaces the list in use. */
void ngx_opay_peers_publish(ngx_opay_peers_conf_t *s,
    const opay_peers_t *list, ngx_uint_t source);

/* Copies the list in use out; returns its source. */
ngx_uint_t ngx_opay_peers_get(ngx_opay_peers_conf_t *s, opay_peers_t *list);

/*
 * Picks an instance whose id is not among tried[0..n-1] and copies it out.
 * NGX_DECLINED: there is none.
 */
ngx_int_t ngx_opay_peers_pick(ngx_opay_peers_conf_t *s,
    const uint64_t *tried, ngx_uint_t n, opay_peer_t *peer);

/* How many instances could be picked now. */
ngx_uint_t ngx_opay_peers_count(ngx_opay_peers_conf_t *s);

/* What came of it: ok clears an instance's failures. */
void ngx_opay_peers_report(ngx_opay_peers_conf_t *s, uint64_t id,
    ngx_uint_t ok);

/* <state_dir>/peers-<service>; failures are logged and otherwise harmless. */
void ngx_opay_peers_dump(ngx_str_t *dir, ngx_opay_peers_conf_t *s,
    const opay_peers_t *list, ngx_log_t *log);
ngx_int_t ngx_opay_peers_restore(ngx_str_t *dir, ngx_opay_peers_conf_t *s,
    opay_peers_t *list, ngx_log_t *log);


#endif /* _NGX_OPAY_PEERS_H_INCLUDED_ */
