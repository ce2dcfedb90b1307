
/*
 * Keys and tokens for the tests of opay_jwt and opay_jwt_cache.  Keys are
 * made anew in each run.
 */

#ifndef TEST_JWT_H_INCLUDED
#define TEST_JWT_H_INCLUDED

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "opay_b64.h"
#include "opay_jwt.h"


#define TEST_NOW  1800000000LL
#define TEST_SUB  "01890a5d-ac96-774b-bcce-b302099a8057"
#define TEST_SID  "01890a5d-ac96-774b-bcce-b302099a8058"


static inline EVP_PKEY *
test_ec(const char *curve)
{
    EVP_PKEY  *pkey;

    pkey = EVP_EC_gen(curve);
    assert_non_null(pkey);

    return pkey;
}


/* PEM of the private key, malloc'ed. */
static inline char *
test_pem(EVP_PKEY *pkey)
{
    BIO   *bio;
    char  *p, *pem;
    long   n;

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL,
                                              NULL), 1);
    n = BIO_get_mem_data(bio, &p);
    pem = malloc(n + 1);
    memcpy(pem, p, n);
    pem[n] = '\0';
    BIO_free(bio);

    return pem;
}


/* A set of up to two keys. */
static inline opay_jwks_t *
test_jwks(EVP_PKEY *a, EVP_PKEY *b)
{
    char          one[2048], two[2048], set[8192], err[128];
    opay_jwks_t  *keys;

    assert_int_equal(opay_jwk_public_json(a, one, sizeof(one)), OPAY_OK);

    if (b) {
        assert_int_equal(opay_jwk_public_json(b, two, sizeof(two)), OPAY_OK);
    }

    snprintf(set, sizeof(set), "{\"keys\":[%s%s%s]}", one, b ? "," : "",
             b ? two : "");

    keys = opay_jwks_parse(opay_str_of(set), err, sizeof(err));
    assert_non_null(keys);

    return keys;
}


/* Signs n bytes as JWS does; returns the length of the signature. */
static inline size_t
test_sign(EVP_PKEY *pkey, const char *p, size_t n, uint8_t *sig, size_t cap)
{
    size_t          len;
    ECDSA_SIG      *ec;
    EVP_MD_CTX     *ctx;
    const uint8_t  *der;

    len = cap;
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey),
                     1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const uint8_t *) p, n),
                     1);
    EVP_MD_CTX_free(ctx);

    if (!EVP_PKEY_is_a(pkey, "EC")) {
        return len;
    }

    der = sig;
    ec = d2i_ECDSA_SIG(NULL, &der, len);
    assert_non_null(ec);
    len = (EVP_PKEY_get_bits(pkey) + 7) / 8;
    BN_bn2binpad(ECDSA_SIG_get0_r(ec), sig, len);
    BN_bn2binpad(ECDSA_SIG_get0_s(ec), sig + len, len);
    ECDSA_SIG_free(ec);

    return 2 * len;
}


/* A compact token of any header and payload bytes. */
static inline char *
test_compact_raw(EVP_PKEY *pkey, const void *h, size_t hn, const void *p,
    size_t pn)
{
    char     *t;
    size_t    n, len;
    uint8_t   sig[1024];

    t = malloc(opay_b64url_len(hn) + opay_b64url_len(pn) + 2048);
    n = opay_b64url_encode(h, hn, t);
    t[n++] = '.';
    n += opay_b64url_encode(p, pn, t + n);

    len = test_sign(pkey, t, n, sig, sizeof(sig));

    t[n++] = '.';
    opay_b64url_encode(sig, len, t + n);

    return t;
}


static inline char *
test_compact(EVP_PKEY *pkey, const char *header, const char *payload)
{
    return test_compact_raw(pkey, header, strlen(header), payload,
                            strlen(payload));
}


/* The header of a good token of that key; alg of its type. */
static inline const char *
test_header(EVP_PKEY *pkey, char *buf, size_t cap)
{
    char  kid[OPAY_JWK_KID_LEN + 1];

    assert_int_equal(opay_jwk_thumbprint(pkey, kid), OPAY_OK);
    snprintf(buf, cap, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
             EVP_PKEY_is_a(pkey, "EC") ? "ES256" : "RS256", kid);

    return buf;
}


static inline void
test_policy(opay_jwt_policy_t *policy)
{
    policy->issuer = opay_str_of("https://opay.internal");
    policy->audience = opay_str_of("opay");
    policy->leeway = 5;
    policy->max_lifetime = 300;
}


static EVP_PKEY           *test_key;      /* in the set */
static EVP_PKEY           *test_rsa;      /* in the set */
static EVP_PKEY           *test_alien;    /* not in it */
static opay_jwks_t        *test_set;
static opay_jwk_own_t     *test_own;
static opay_jwt_policy_t   test_rules;
static char                test_head[256];


static inline int
test_setup(void **state)
{
    char  *pem, err[128];

    (void) state;

    test_key = test_ec("P-256");
    test_alien = test_ec("P-256");
    test_rsa = EVP_RSA_gen(2048);
    test_set = test_jwks(test_key, test_rsa);
    test_policy(&test_rules);
    test_header(test_key, test_head, sizeof(test_head));

    pem = test_pem(test_key);
    test_own = opay_jwk_own_parse(opay_str_of(pem), err, sizeof(err));
    free(pem);

    return test_own == NULL;
}


static inline int
test_teardown(void **state)
{
    (void) state;

    opay_jwk_own_destroy(test_own);
    opay_jwks_destroy(test_set);
    EVP_PKEY_free(test_key);
    EVP_PKEY_free(test_alien);
    EVP_PKEY_free(test_rsa);

    return 0;
}


static inline opay_jwt_reason_e
test_verify(const char *token, opay_jwt_claims_t *out)
{
    opay_jwt_claims_t  c;

    return opay_jwt_verify(test_set, &test_rules, opay_str_of(token),
                           TEST_NOW, out ? out : &c);
}


/* Like test_verify(), for a malloc'ed token. */
static inline opay_jwt_reason_e
test_take(char *token)
{
    opay_jwt_reason_e  rc;

    rc = test_verify(token, NULL);
    free(token);

    return rc;
}


static const struct {
    const char  *name, *value;
} test_claims[] = {
    { "aud", "\"opay\"" },
    { "exp", "1800000300" },
    { "iat", "1800000000" },
    { "iss", "\"https://opay.internal\"" },
    { "jti", "\"j-1\"" },
    { "roles", "[\"USER\"]" },
    { "sid", "\"" TEST_SID "\"" },
    { "sub", "\"" TEST_SUB "\"" }
};

#define TEST_CLAIMS  (sizeof(test_claims) / sizeof(test_claims[0]))


/* A payload with one claim set (value), left out ("") or added. */
static inline char *
test_payload(const char *name, const char *value)
{
    char      *p;
    size_t     i, n;
    unsigned   found;

    p = malloc(1024 + strlen(value));
    n = sprintf(p, "{");
    found = 0;

    for (i = 0; i < TEST_CLAIMS; i++) {
        if (strcmp(test_claims[i].name, name) != 0) {
            n += sprintf(p + n, "%s\"%s\":%s", n > 1 ? "," : "",
                         test_claims[i].name, test_claims[i].value);
            continue;
        }

        found = 1;

        if (*value) {
            n += sprintf(p + n, "%s\"%s\":%s", n > 1 ? "," : "", name, value);
        }
    }

    if (!found && *value) {
        n += sprintf(p + n, ",\"%s\":%s", name, value);
    }

    sprintf(p + n, "}");

    return p;
}


static inline char *
test_token(const char *name, const char *value)
{
    char  *payload, *token;

    payload = test_payload(name, value);
    token = test_compact(test_key, test_head, payload);
    free(payload);

    return token;
}


#endif /* TEST_JWT_H_INCLUDED */
