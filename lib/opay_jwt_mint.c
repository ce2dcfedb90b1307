
/*
 * libjwt holds the header and the claims and writes their JSON; the signature
 * is made here.  jwt_encode_str() of libjwt 1.10.2 cannot be used: it sets
 * "typ" to "JWT" whatever was added before, where RFC 9068 asks for "at+jwt",
 * and it parses the PEM for each token, which takes longer than to sign.
 */

#include <stdio.h>
#include <stdlib.h>

#include <jwt.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include "opay_b64.h"
#include "opay_jwt.h"


#define OPAY_JWT_MINT_DER_MAX  80


static int
opay_jwt_mint_header(jwt_t *jwt, const opay_jwk_t *key)
{
    return jwt_add_header(jwt, "alg", opay_jwa_name(key->alg)) == 0
           && jwt_add_header(jwt, "typ", "at+jwt") == 0
           && jwt_add_header(jwt, "kid", key->kid) == 0
           ? OPAY_OK : OPAY_ERROR;
}


static int
opay_jwt_mint_text(jwt_t *jwt, const char *name, opay_str_t value)
{
    int    rc;
    char  *s;

    if (value.len == 0) {
        return OPAY_ERROR;
    }

    s = strndup(value.data, value.len);

    if (s == NULL) {
        return OPAY_ERROR;
    }

    rc = jwt_add_grant(jwt, name, s);

    free(s);

    return rc == 0 ? OPAY_OK : OPAY_ERROR;
}


static int
opay_jwt_mint_roles(jwt_t *jwt, unsigned roles)
{
    const char  *json;

    switch (roles) {

    case OPAY_ROLE_BIT_USER:
        json = "{\"roles\":[\"USER\"]}";
        break;

    case OPAY_ROLE_BIT_ADMIN:
        json = "{\"roles\":[\"ADMIN\"]}";
        break;

    case OPAY_ROLE_BIT_USER|OPAY_ROLE_BIT_ADMIN:
        json = "{\"roles\":[\"USER\",\"ADMIN\"]}";
        break;

    default:
        return OPAY_ERROR;
    }

    return jwt_add_grants_json(jwt, json) == 0 ? OPAY_OK : OPAY_ERROR;
}


static int
opay_jwt_mint_claims(jwt_t *jwt, const opay_jwt_policy_t *policy,
    const opay_jwt_claims_t *c)
{
    char  sub[OPAY_UUID_TEXT + 1], sid[OPAY_UUID_TEXT + 1];

    if (c->issued <= 0 || c->id.expires <= c->issued
        || opay_jwt_mint_roles(jwt, c->id.roles) != OPAY_OK
        || opay_jwt_mint_text(jwt, "iss", policy->issuer) != OPAY_OK
        || opay_jwt_mint_text(jwt, "aud", policy->audience) != OPAY_OK
        || opay_jwt_mint_text(jwt, "jti", opay_str_of(c->jti)) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    return jwt_add_grant(jwt, "sub", opay_uuid_format(&c->id.user, sub)) == 0
           && jwt_add_grant(jwt, "sid", opay_uuid_format(&c->id.session, sid))
              == 0
           && jwt_add_grant_int(jwt, "iat", c->issued) == 0
           && jwt_add_grant_int(jwt, "exp", c->id.expires) == 0
           ? OPAY_OK : OPAY_ERROR;
}


/* header "." payload, NUL-terminated. */
static int
opay_jwt_mint_input(jwt_t *jwt, char *out, size_t cap, size_t *len)
{
    int      rc;
    char    *header, *payload;
    size_t   h, p;

    header = jwt_get_headers_json(jwt, NULL);
    payload = jwt_get_grants_json(jwt, NULL);

    rc = OPAY_ERROR;

    if (header != NULL && payload != NULL) {
        h = strlen(header);
        p = strlen(payload);

        if (opay_b64url_len(h) + opay_b64url_len(p) + 2 <= cap) {
            h = opay_b64url_encode(header, h, out);
            out[h++] = '.';
            *len = h + opay_b64url_encode(payload, p, out + h);
            rc = OPAY_OK;
        }
    }

    free(header);
    free(payload);

    return rc;
}


static int
opay_jwt_mint_raw(const uint8_t *der, size_t n, uint8_t raw[64])
{
    int             rc;
    ECDSA_SIG      *sig;
    const uint8_t  *p;

    p = der;
    sig = d2i_ECDSA_SIG(NULL, &p, n);

    if (sig == NULL) {
        return OPAY_ERROR;
    }

    rc = BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32
         && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32
         ? OPAY_OK : OPAY_ERROR;

    ECDSA_SIG_free(sig);

    return rc;
}


static int
opay_jwt_mint_sign(const opay_jwk_t *key, const char *p, size_t n,
    uint8_t raw[64])
{
    int          rc;
    size_t       len;
    uint8_t      der[OPAY_JWT_MINT_DER_MAX];
    EVP_MD_CTX  *ctx;

    len = sizeof(der);
    ctx = EVP_MD_CTX_new();

    rc = ctx != NULL
         && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1
         && EVP_DigestSign(ctx, der, &len, (const uint8_t *) p, n) == 1
         ? opay_jwt_mint_raw(der, len, raw) : OPAY_ERROR;

    EVP_MD_CTX_free(ctx);

    /* nginx takes errors left in this thread's queue for its own */

    if (rc != OPAY_OK) {
        ERR_clear_error();
    }

    return rc;
}


int
opay_jwt_mint(const opay_jwk_own_t *own, const opay_jwt_policy_t *policy,
    const opay_jwt_claims_t *claims, char *out, size_t cap, size_t *len)
{
    int                rc;
    jwt_t             *jwt;
    size_t             n;
    uint8_t            raw[64];
    const opay_jwk_t  *key;

    if (jwt_new(&jwt) != 0) {
        return OPAY_ERROR;
    }

    key = opay_jwk_own_key(own);

    rc = opay_jwt_mint_header(jwt, key) == OPAY_OK
         && opay_jwt_mint_claims(jwt, policy, claims) == OPAY_OK
         ? opay_jwt_mint_input(jwt, out, cap, &n) : OPAY_ERROR;

    jwt_free(jwt);

    if (rc != OPAY_OK || n + 1 + opay_b64url_len(sizeof(raw)) + 1 > cap
        || opay_jwt_mint_sign(key, out, n, raw) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    out[n++] = '.';
    *len = n + opay_b64url_encode(raw, sizeof(raw), out + n);

    return OPAY_OK;
}
