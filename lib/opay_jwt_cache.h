
/*
 * opay_jwt_cache: access tokens that were verified before.
 *
 * DESIGN
 *
 * One table per worker, used from its event loop only, so there is no lock.
 * Open addressing over a power of two of slots; a lookup looks at no more
 * than OPAY_JWT_CACHE_PROBES neighbours, and an insertion that finds none of
 * them free or expired evicts the one that expires first.  So the size is
 * fixed at creation and no operation depends on the load.
 *
 * An entry is found by SHA-256 of the token, compared in constant time, and
 * the generation of the key set, so a key that went away takes its tokens
 * along.  Another policy empties the table.  Only tokens that verified get
 * in: a flood of garbage evicts nothing.  A hit re-checks the time.
 */

#ifndef OPAY_JWT_CACHE_H_INCLUDED
#define OPAY_JWT_CACHE_H_INCLUDED

#include "opay_jwt.h"


#define OPAY_JWT_CACHE_PROBES  8


typedef struct opay_jwt_cache_s  opay_jwt_cache_t;

typedef struct {
    uint64_t  hits;
    uint64_t  misses;
    uint64_t  evictions;               /* live entries that had to go */
} opay_jwt_cache_stats_t;


/* slots is rounded up to a power of two, 16 to 1048576.  NULL: no memory. */
opay_jwt_cache_t *opay_jwt_cache_create(size_t slots);
void opay_jwt_cache_destroy(opay_jwt_cache_t *cache);

/* Forgets everything; entries are wiped. */
void opay_jwt_cache_purge(opay_jwt_cache_t *cache);

/*
 * opay_jwt_verify() behind the cache.  cache may be NULL.  *hit (may be NULL)
 * tells whether the signature was spared.
 */
opay_jwt_reason_e opay_jwt_cache_verify(opay_jwt_cache_t *cache,
    const opay_jwks_t *keys, const opay_jwt_policy_t *policy,
    opay_str_t token, int64_t now_s, opay_jwt_claims_t *out, int *hit);

const opay_jwt_cache_stats_t *opay_jwt_cache_stats(
    const opay_jwt_cache_t *cache);


#endif /* OPAY_JWT_CACHE_H_INCLUDED */
