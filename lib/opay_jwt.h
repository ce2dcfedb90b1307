
/*
 * opay_jwt: access tokens (RFC 9068 profile): strict parse, verify, mint.
 *
 * DESIGN
 *
 * opay_jwt_verify() is a pure function of its arguments: no state, no clock,
 * no log; any thread.  It works in about 5 KiB of its own stack plus what
 * jansson and OpenSSL allocate, and refuses before it allocates whatever it
 * can tell from the bytes alone.
 *
 * The signature is checked with OpenSSL's EVP over the exact bytes received
 * and the key that kid names; the algorithm is the key's, the token's "alg"
 * has only to agree.  libjwt writes what is minted (opay_jwt_mint.c) but
 * neither signs nor verifies: the version of Debian 12 parses the PEM for
 * each token, knows no type but "JWT", and accepts second forms of the same
 * signature.
 *
 * Two byte strings can be the same token: an ECDSA signature (r, s) has a
 * twin (r, n - s).  Nothing security-relevant is keyed by token bytes; use
 * session (sid) or jti.
 */

#ifndef OPAY_JWT_H_INCLUDED
#define OPAY_JWT_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"
#include "opay_jwks.h"


#define OPAY_JWT_MAX          4096     /* whole token */
#define OPAY_JWT_HEADER_MAX   512      /* decoded */
#define OPAY_JWT_PAYLOAD_MAX  3072     /* decoded */
#define OPAY_JWT_JTI_MAX      64


/* Why a token was refused; opay_jwt_reason_name() for logs and metrics. */
typedef enum {
    OPAY_JWT_OK = 0,
    OPAY_JWT_E_SIZE,                   /* a part, or all, over its cap */
    OPAY_JWT_E_FORM,                   /* not three parts of the charset */
    OPAY_JWT_E_BASE64,                 /* not canonical base64url */
    OPAY_JWT_E_JSON,                   /* header or payload: not strict JSON */
    OPAY_JWT_E_HEADER,                 /* a member missing, unknown, typed */
    OPAY_JWT_E_TYP,                    /* not "at+jwt" */
    OPAY_JWT_E_ALG,                    /* not the key's algorithm */
    OPAY_JWT_E_KID,                    /* no such key */
    OPAY_JWT_E_SIGNATURE,
    OPAY_JWT_E_CLAIM,                  /* a claim missing or of wrong type */
    OPAY_JWT_E_ISS,
    OPAY_JWT_E_AUD,
    OPAY_JWT_E_SUB,
    OPAY_JWT_E_ROLES,
    OPAY_JWT_E_EXPIRED,
    OPAY_JWT_E_NOT_YET,                /* iat (or nbf) in the future */
    OPAY_JWT_E_LIFETIME,               /* exp - iat out of bounds */
    OPAY_JWT_E_INTERNAL,               /* out of memory, OpenSSL failed */
    OPAY_JWT_E_MAX
} opay_jwt_reason_e;


/* Strings must outlive the policy; times are in seconds. */
typedef struct {
    opay_str_t       issuer;
    opay_str_t       audience;
    int64_t          leeway;
    int64_t          max_lifetime;     /* bound of exp - iat */
} opay_jwt_policy_t;


typedef struct {
    opay_identity_t  id;               /* known = 1 */
    int64_t          issued;           /* iat */
    char             jti[OPAY_JWT_JTI_MAX + 1];
} opay_jwt_claims_t;


/*
 * token is what followed "Bearer ".  out is written only on OPAY_JWT_OK.
 * now_s: seconds since the epoch.
 */
opay_jwt_reason_e opay_jwt_verify(const opay_jwks_t *keys,
    const opay_jwt_policy_t *policy, opay_str_t token, int64_t now_s,
    opay_jwt_claims_t *out);

/* The two time rules that can change after a token was verified. */
opay_jwt_reason_e opay_jwt_check_time(const opay_jwt_policy_t *policy,
    const opay_jwt_claims_t *claims, int64_t now_s);

/* "ok", "expired", ...; static. */
const char *opay_jwt_reason_name(opay_jwt_reason_e reason);


/*
 * Minting; in opay_jwt_mint.c so that only who mints needs libjwt.  Of the
 * claims id.user, id.session, id.roles, id.expires, issued and jti are used.
 * Writes a NUL-terminated token; OPAY_ERROR when cap is too small, a claim
 * is empty or libjwt failed.  Any thread.
 */
int opay_jwt_mint(const opay_jwk_own_t *own, const opay_jwt_policy_t *policy,
    const opay_jwt_claims_t *claims, char *out, size_t cap, size_t *len);


#endif /* OPAY_JWT_H_INCLUDED */
