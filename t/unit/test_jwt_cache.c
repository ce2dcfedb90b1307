
/* The cache of verified tokens: what it spares, and what it must not. */

#include "test_jwt.h"

#include "../../lib/opay_jwt_cache.c"


static opay_jwt_reason_e
test_cached(opay_jwt_cache_t *cache, const opay_jwks_t *keys,
    const char *token, int64_t now, int *hit)
{
    opay_jwt_claims_t  c;

    return opay_jwt_cache_verify(cache, keys, &test_rules, opay_str_of(token),
                                 now, &c, hit);
}


static void
test_cache_hit(void **state)
{
    int                  hit;
    char                *token;
    opay_jwt_claims_t    a, b;
    opay_jwt_cache_t    *cache;

    (void) state;

    cache = opay_jwt_cache_create(1);
    token = test_token("", "");

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));

    assert_int_equal(opay_jwt_cache_verify(cache, test_set, &test_rules,
                         opay_str_of(token), TEST_NOW, &a, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 0);
    assert_int_equal(opay_jwt_cache_verify(cache, test_set, &test_rules,
                         opay_str_of(token), TEST_NOW, &b, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 1);
    assert_int_equal(a.id.known, 1);
    assert_memory_equal(&a, &b, sizeof(a));

    assert_int_equal(opay_jwt_cache_stats(cache)->hits, 1);
    assert_int_equal(opay_jwt_cache_stats(cache)->misses, 1);

    /* purged: verified again */

    opay_jwt_cache_purge(cache);
    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 0);

    /* no cache at all */

    assert_int_equal(test_cached(NULL, test_set, token, TEST_NOW, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 0);
    assert_int_equal(test_cached(NULL, test_set, token, TEST_NOW, NULL),
                     OPAY_JWT_OK);

    free(token);
    opay_jwt_cache_destroy(cache);
    opay_jwt_cache_destroy(NULL);
}


/* N114, N118: time is looked at on every hit. */
static void
test_cache_time(void **state)
{
    int                hit;
    char              *token;
    opay_jwt_cache_t  *cache;

    (void) state;

    cache = opay_jwt_cache_create(16);
    token = test_token("", "");

    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);

    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW + 304,
                                 &hit), OPAY_JWT_OK);
    assert_int_equal(hit, 1);
    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW - 6, &hit),
                     OPAY_JWT_E_NOT_YET);
    assert_int_equal(hit, 1);
    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW + 305,
                                 &hit), OPAY_JWT_E_EXPIRED);
    assert_int_equal(hit, 1);

    /* and an expired one is gone */

    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 0);

    free(token);
    opay_jwt_cache_destroy(cache);
}


/* N115, N119: a key that went away takes its tokens along. */
static void
test_cache_keys(void **state)
{
    int                hit;
    char              *token;
    opay_jwks_t       *both, *other;
    opay_jwt_cache_t  *cache;

    (void) state;

    both = test_jwks(test_alien, test_key);
    other = test_jwks(test_alien, NULL);
    cache = opay_jwt_cache_create(16);
    token = test_token("", "");

    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);
    assert_int_equal(test_cached(cache, both, token, TEST_NOW, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 0);
    assert_int_equal(test_cached(cache, other, token, TEST_NOW, &hit),
                     OPAY_JWT_E_KID);
    assert_int_equal(hit, 0);

    free(token);
    opay_jwks_destroy(both);
    opay_jwks_destroy(other);
    opay_jwt_cache_destroy(cache);
}


static void
test_cache_policy(void **state)
{
    int                 hit;
    char               *token;
    opay_jwt_claims_t   c;
    opay_jwt_policy_t   p;
    opay_jwt_cache_t   *cache;

    (void) state;

    cache = opay_jwt_cache_create(16);
    token = test_token("", "");
    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);

    p = test_rules;
    p.audience = opay_str_of("other");
    assert_int_equal(opay_jwt_cache_verify(cache, test_set, &p,
                         opay_str_of(token), TEST_NOW, &c, &hit),
                     OPAY_JWT_E_AUD);
    assert_int_equal(hit, 0);

    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);

    p = test_rules;
    p.max_lifetime = 299;
    assert_int_equal(opay_jwt_cache_verify(cache, test_set, &p,
                         opay_str_of(token), TEST_NOW, &c, &hit),
                     OPAY_JWT_E_LIFETIME);

    free(token);
    opay_jwt_cache_destroy(cache);
}


/* N116: garbage, however much of it, leaves what is good in place. */
static void
test_cache_garbage(void **state)
{
    int                hit, i;
    char              *token, *bad, text[32];
    opay_jwt_cache_t  *cache;

    (void) state;

    cache = opay_jwt_cache_create(16);
    token = test_token("", "");
    bad = test_token("iss", "\"x\"");

    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);

    for (i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), "a%d.b.c", i);
        assert_int_not_equal(test_cached(cache, test_set, text, TEST_NOW,
                                         &hit), OPAY_JWT_OK);
        assert_int_equal(hit, 0);
    }

    /* well signed, but refused: not kept either, in no form */

    for (i = 0; i < 2; i++) {
        assert_int_equal(test_cached(cache, test_set, bad, TEST_NOW, &hit),
                         OPAY_JWT_E_ISS);
        assert_int_equal(hit, 0);
    }

    assert_int_equal(opay_jwt_cache_stats(cache)->evictions, 0);
    assert_int_equal(test_cached(cache, test_set, token, TEST_NOW, &hit),
                     OPAY_JWT_OK);
    assert_int_equal(hit, 1);

    free(bad);
    free(token);
    opay_jwt_cache_destroy(cache);
}


/* More good tokens than slots: bounded, and still right. */
static void
test_cache_full(void **state)
{
    int                hit, i, hits;
    char              *token[64], jti[16];
    opay_jwt_cache_t  *cache;

    (void) state;

    cache = opay_jwt_cache_create(16);
    assert_int_equal(cache->mask, 15);

    for (i = 0; i < 64; i++) {
        snprintf(jti, sizeof(jti), "\"t%d\"", i);
        token[i] = test_token("jti", jti);
        assert_int_equal(test_cached(cache, test_set, token[i], TEST_NOW,
                                     NULL), OPAY_JWT_OK);
    }

    assert_true(opay_jwt_cache_stats(cache)->evictions >= 48);

    for (i = 63, hits = 0; i >= 0; i--) {
        opay_jwt_claims_t  c;

        assert_int_equal(opay_jwt_cache_verify(cache, test_set, &test_rules,
                             opay_str_of(token[i]), TEST_NOW, &c, &hit),
                         OPAY_JWT_OK);
        hits += hit;

        /* the claims are those of this token, whoever sat there before */

        snprintf(jti, sizeof(jti), "t%d", i);
        assert_string_equal(c.jti, jti);
    }

    assert_in_range(hits, 1, 16);

    for (i = 0; i < 64; i++) {
        free(token[i]);
    }

    opay_jwt_cache_destroy(cache);
}


/* What has expired gives way before what lives, whoever is asked for it. */
static void
test_cache_expired_slots(void **state)
{
    int                i;
    char              *token, jti[16];
    opay_jwt_cache_t  *cache;

    (void) state;

    cache = opay_jwt_cache_create(16);

    for (i = 0; i < 64; i++) {
        snprintf(jti, sizeof(jti), "\"t%d\"", i);
        token = test_token("jti", jti);
        (void) test_cached(cache, test_set, token, TEST_NOW, NULL);
        free(token);
    }

    cache->stats.evictions = 0;

    for (i = 0; i < 16; i++) {
        cache->slot[i].claims.id.expires = TEST_NOW - 1;
    }

    token = test_token("jti", "\"new\"");
    (void) test_cached(cache, test_set, token, TEST_NOW, NULL);
    assert_int_equal(opay_jwt_cache_stats(cache)->evictions, 0);
    free(token);

    opay_jwt_cache_destroy(cache);
}


static void
test_cache_sizes(void **state)
{
    size_t             i;
    opay_jwt_cache_t  *cache;

    static const size_t  size[][2] = {
        { 0, 16 }, { 16, 16 }, { 17, 32 }, { 4096, 4096 }, { 4097, 8192 }
    };

    (void) state;

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        cache = opay_jwt_cache_create(size[i][0]);
        assert_int_equal(cache->mask + 1, size[i][1]);
        opay_jwt_cache_destroy(cache);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_cache_hit),
        cmocka_unit_test(test_cache_time),
        cmocka_unit_test(test_cache_keys),
        cmocka_unit_test(test_cache_policy),
        cmocka_unit_test(test_cache_garbage),
        cmocka_unit_test(test_cache_full),
        cmocka_unit_test(test_cache_expired_slots),
        cmocka_unit_test(test_cache_sizes)
    };

    return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
