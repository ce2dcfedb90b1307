
#include <stdlib.h>

#include <openssl/crypto.h>

#include "opay_jwt_cache.h"


#define OPAY_JWT_CACHE_MIN  16
#define OPAY_JWT_CACHE_MAX  1048576


typedef struct {
    uint8_t                 token[32]; /* SHA-256 */
    uint64_t                keys;      /* generation of the key set */
    opay_jwt_claims_t       claims;    /* id.known == 0: the slot is free */
} opay_jwt_cache_slot_t;


struct opay_jwt_cache_s {
    size_t                  mask;
    opay_jwt_cache_slot_t  *slot;
    opay_jwt_policy_t       policy;    /* what the claims were judged by */
    opay_jwt_cache_stats_t  stats;
};


opay_jwt_cache_t *
opay_jwt_cache_create(size_t slots)
{
    size_t             n;
    opay_jwt_cache_t  *cache;

    for (n = OPAY_JWT_CACHE_MIN; n < slots && n < OPAY_JWT_CACHE_MAX; n *= 2) {
        /* void */
    }

    cache = calloc(1, sizeof(opay_jwt_cache_t));

    if (cache == NULL) {
        return NULL;
    }

    cache->mask = n - 1;
    cache->slot = calloc(n, sizeof(opay_jwt_cache_slot_t));

    if (cache->slot == NULL) {
        free(cache);
        return NULL;
    }

    return cache;
}


void
opay_jwt_cache_purge(opay_jwt_cache_t *cache)
{
    OPENSSL_cleanse(cache->slot,
                    (cache->mask + 1) * sizeof(opay_jwt_cache_slot_t));
}


void
opay_jwt_cache_destroy(opay_jwt_cache_t *cache)
{
    if (cache == NULL) {
        return;
    }

    opay_jwt_cache_purge(cache);
    free(cache->slot);
    free(cache);
}


const opay_jwt_cache_stats_t *
opay_jwt_cache_stats(const opay_jwt_cache_t *cache)
{
    return &cache->stats;
}


/*
 * A cache serves one policy at a time.  Strings are told apart by address,
 * since those of a former policy may be gone.
 */
static void
opay_jwt_cache_policy(opay_jwt_cache_t *cache, const opay_jwt_policy_t *policy)
{
    opay_jwt_policy_t  *p;

    p = &cache->policy;

    if (p->issuer.data == policy->issuer.data
        && p->issuer.len == policy->issuer.len
        && p->audience.data == policy->audience.data
        && p->audience.len == policy->audience.len
        && p->max_lifetime == policy->max_lifetime)
    {
        return;
    }

    opay_jwt_cache_purge(cache);

    *p = *policy;
}


/* The i-th place where an entry may be. */
static opay_jwt_cache_slot_t *
opay_jwt_cache_at(opay_jwt_cache_t *cache, const uint8_t token[32], size_t i)
{
    uint64_t  home;

    memcpy(&home, token, sizeof(home));

    return &cache->slot[(home + i) & cache->mask];
}


static opay_jwt_cache_slot_t *
opay_jwt_cache_find(opay_jwt_cache_t *cache, const uint8_t token[32],
    uint64_t keys)
{
    size_t                  i;
    opay_jwt_cache_slot_t  *s;

    /* a free slot ends nothing: its entry may have expired and been wiped */

    for (i = 0; i < OPAY_JWT_CACHE_PROBES; i++) {
        s = opay_jwt_cache_at(cache, token, i);

        if (s->claims.id.known && s->keys == keys
            && CRYPTO_memcmp(s->token, token, sizeof(s->token)) == 0)
        {
            return s;
        }
    }

    return NULL;
}


static void
opay_jwt_cache_store(opay_jwt_cache_t *cache, const uint8_t token[32],
    uint64_t keys, const opay_jwt_claims_t *claims, int64_t now_s)
{
    size_t                  i;
    opay_jwt_cache_slot_t  *s, *victim;

    victim = NULL;

    for (i = 0; i < OPAY_JWT_CACHE_PROBES; i++) {
        s = opay_jwt_cache_at(cache, token, i);

        if (!s->claims.id.known || s->keys != keys
            || s->claims.id.expires <= now_s)
        {
            victim = s;
            break;
        }

        if (victim == NULL
            || s->claims.id.expires < victim->claims.id.expires)
        {
            victim = s;
        }
    }

    if (i == OPAY_JWT_CACHE_PROBES) {
        cache->stats.evictions++;
    }

    memcpy(victim->token, token, sizeof(victim->token));
    victim->keys = keys;
    victim->claims = *claims;
}


opay_jwt_reason_e
opay_jwt_cache_verify(opay_jwt_cache_t *cache, const opay_jwks_t *keys,
    const opay_jwt_policy_t *policy, opay_str_t token, int64_t now_s,
    opay_jwt_claims_t *out, int *hit)
{
    uint8_t                 id[32];
    uint64_t                generation;
    opay_jwt_reason_e       rc;
    opay_jwt_cache_slot_t  *s;

    if (hit) {
        *hit = 0;
    }

    /* what is too long to be a token is not worth a hash */

    if (cache == NULL || token.len > OPAY_JWT_MAX
        || opay_sha256(token.data, token.len, id) != OPAY_OK)
    {
        return opay_jwt_verify(keys, policy, token, now_s, out);
    }

    opay_jwt_cache_policy(cache, policy);

    generation = opay_jwks_generation(keys);
    s = opay_jwt_cache_find(cache, id, generation);

    if (s != NULL) {
        cache->stats.hits++;

        if (hit) {
            *hit = 1;
        }

        rc = opay_jwt_check_time(policy, &s->claims, now_s);

        if (rc == OPAY_JWT_OK) {
            *out = s->claims;

        } else if (rc == OPAY_JWT_E_EXPIRED) {
            OPENSSL_cleanse(s, sizeof(opay_jwt_cache_slot_t));
        }

        return rc;
    }

    cache->stats.misses++;

    rc = opay_jwt_verify(keys, policy, token, now_s, out);

    if (rc == OPAY_JWT_OK) {
        opay_jwt_cache_store(cache, id, generation, out, now_s);
    }

    return rc;
}
