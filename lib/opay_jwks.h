
/*
 * opay_jwks: the keys that sign and verify access tokens (RFC 7517).
 *
 * DESIGN
 *
 * A key set is made once, while the configuration is read, and is immutable
 * afterwards: any number of threads may verify with it.  It owns one EVP_PKEY
 * per key, parsed and validated once, because parsing costs several times
 * what a verification does.  Keys live in a small array; kid is compared, not
 * hashed, since a set has a handful of keys.
 *
 * A set holds public keys only: a file with a private member is refused, for
 * it was handed to the wrong place.  kid must be the RFC 7638 thumbprint, so
 * that one kid can never name two keys.
 *
 * The signing key is a separate object, which only the auth service loads.
 */

#ifndef OPAY_JWKS_H_INCLUDED
#define OPAY_JWKS_H_INCLUDED

#include <openssl/evp.h>

#include "opay_base.h"


#define OPAY_JWKS_MAX      16          /* keys in a set */
#define OPAY_JWK_KID_LEN   43          /* b64url(SHA-256), without NUL */


typedef enum {
    OPAY_JWA_NONE = 0,
    OPAY_JWA_ES256,                    /* EC P-256 */
    OPAY_JWA_RS256                     /* RSA, 2048 to 8192 bits */
} opay_jwa_e;


typedef struct {
    char         kid[OPAY_JWK_KID_LEN + 1];
    opay_jwa_e   alg;
    EVP_PKEY    *pkey;
} opay_jwk_t;


typedef struct opay_jwks_s     opay_jwks_t;
typedef struct opay_jwk_own_s  opay_jwk_own_t;


/*
 * NULL on any fault, with a text for the log in err (err_len bytes, never
 * key material).  An empty set is a fault.
 */
opay_jwks_t *opay_jwks_parse(opay_str_t json, char *err, size_t err_len);
opay_jwks_t *opay_jwks_load(const char *path, char *err, size_t err_len);
void opay_jwks_destroy(opay_jwks_t *keys);

size_t opay_jwks_count(const opay_jwks_t *keys);
const opay_jwk_t *opay_jwks_at(const opay_jwks_t *keys, size_t i);

/* NULL: unknown. */
const opay_jwk_t *opay_jwks_find(const opay_jwks_t *keys, opay_str_t kid);

/*
 * Names the content of the set: equal for equal sets of keys in any order,
 * other when a key came or went.  Part of the key of every cached token.
 */
uint64_t opay_jwks_generation(const opay_jwks_t *keys);

/* "ES256", "RS256"; NULL for OPAY_JWA_NONE. */
const char *opay_jwa_name(opay_jwa_e alg);


/*
 * The RFC 7638 thumbprint of a public or private key; OPAY_ERROR when its
 * type is not one of ours.
 */
int opay_jwk_thumbprint(EVP_PKEY *pkey, char kid[OPAY_JWK_KID_LEN + 1]);

/*
 * {"kty":"EC","crv":"P-256","x":..,"y":..,"use":"sig","alg":..,"kid":..}
 * of the public half, NUL-terminated; OPAY_ERROR when buf is too small.
 */
int opay_jwk_public_json(EVP_PKEY *pkey, char *buf, size_t cap);


/* The private key that mints; P-256 only.  Read-only after load. */
opay_jwk_own_t *opay_jwk_own_parse(opay_str_t pem, char *err,
    size_t err_len);
opay_jwk_own_t *opay_jwk_own_load(const char *path, char *err,
    size_t err_len);
void opay_jwk_own_destroy(opay_jwk_own_t *own);

/* kid, alg and the EVP_PKEY. */
const opay_jwk_t *opay_jwk_own_key(const opay_jwk_own_t *own);


#endif /* OPAY_JWKS_H_INCLUDED */
