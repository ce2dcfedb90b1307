
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "opay_b64.h"
#include "opay_jwt.h"


#define OPAY_JWT_SIGNATURE_MAX  1024
#define OPAY_JWT_DEPTH          8
#define OPAY_JWT_MEMBERS        64
#define OPAY_JWT_AUDIENCES      16
#define OPAY_JWT_TIME_MAX       ((int64_t) 1 << 53)

/* SEQUENCE of two INTEGERs of up to 33 bytes. */
#define OPAY_JWT_DER_MAX        72


typedef struct {
    opay_str_t   header;               /* as received, base64url */
    opay_str_t   payload;
    opay_str_t   signature;
    opay_str_t   input;                /* header "." payload */
} opay_jwt_parts_t;


typedef struct {
    opay_str_t   alg;
    opay_str_t   typ;
    opay_str_t   kid;
} opay_jwt_header_t;


static const char *const  opay_jwt_reasons[OPAY_JWT_E_MAX] = {
    "ok",
    "size",
    "form",
    "base64",
    "json",
    "header",
    "typ",
    "alg",
    "kid",
    "signature",
    "claim",
    "iss",
    "aud",
    "sub",
    "roles",
    "expired",
    "not_yet",
    "lifetime",
    "internal"
};


const char *
opay_jwt_reason_name(opay_jwt_reason_e reason)
{
    return (unsigned) reason < OPAY_JWT_E_MAX ? opay_jwt_reasons[reason]
                                              : "unknown";
}


static int
opay_jwt_char(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9') || c == '-' || c == '_';
}


static opay_jwt_reason_e
opay_jwt_split(opay_str_t token, opay_jwt_parts_t *parts)
{
    size_t      i, dot[2];
    unsigned    n;
    opay_str_t  s;

    if (token.len > OPAY_JWT_MAX) {
        return OPAY_JWT_E_SIZE;
    }

    n = 0;
    dot[0] = 0;
    dot[1] = 0;

    for (i = 0; i < token.len; i++) {
        if (token.data[i] == '.') {
            if (n == 2) {
                return OPAY_JWT_E_FORM;
            }

            dot[n++] = i;

        } else if (!opay_jwt_char((unsigned char) token.data[i])) {
            return OPAY_JWT_E_FORM;
        }
    }

    if (n != 2 || dot[0] == 0 || dot[1] == dot[0] + 1
        || dot[1] + 1 == token.len)
    {
        return OPAY_JWT_E_FORM;
    }

    s.data = token.data;
    s.len = dot[0];
    parts->header = s;

    s.len = dot[1];
    parts->input = s;

    s.data = token.data + dot[0] + 1;
    s.len = dot[1] - dot[0] - 1;
    parts->payload = s;

    s.data = token.data + dot[1] + 1;
    s.len = token.len - dot[1] - 1;
    parts->signature = s;

    return OPAY_JWT_OK;
}


/* jansson recurses up to 2048 levels; we stop long before it starts. */
static int
opay_jwt_shallow(const uint8_t *p, size_t n)
{
    size_t    i;
    unsigned  depth, quoted;

    depth = 0;
    quoted = 0;

    for (i = 0; i < n; i++) {
        if (quoted) {
            if (p[i] == '\\') {
                i++;

            } else if (p[i] == '"') {
                quoted = 0;
            }

            continue;
        }

        switch (p[i]) {

        case '"':
            quoted = 1;
            break;

        case '{':
        case '[':
            if (++depth > OPAY_JWT_DEPTH) {
                return 0;
            }

            break;

        case '}':
        case ']':
            if (depth > 0) {
                depth--;
            }

            break;
        }
    }

    return 1;
}


/* A part of at most max bytes, as an object; the caller decrefs *root. */
static opay_jwt_reason_e
opay_jwt_object(opay_str_t part, size_t max, json_t **root)
{
    size_t        n;
    uint8_t       buf[OPAY_JWT_PAYLOAD_MAX];
    json_error_t  je;

    if (part.len > opay_b64url_len(max)) {
        return OPAY_JWT_E_SIZE;
    }

    if (opay_b64url_decode(part, buf, max, &n) != OPAY_OK) {
        return OPAY_JWT_E_BASE64;
    }

    if (!opay_jwt_shallow(buf, n)) {
        return OPAY_JWT_E_JSON;
    }

    *root = json_loadb((char *) buf, n, JSON_REJECT_DUPLICATES, &je);

    if (*root == NULL) {
        return OPAY_JWT_E_JSON;
    }

    if (!json_is_object(*root) || json_object_size(*root) > OPAY_JWT_MEMBERS) {
        json_decref(*root);
        return OPAY_JWT_E_JSON;
    }

    return OPAY_JWT_OK;
}


/* Points into the value; data is NULL when it is not a string. */
static opay_str_t
opay_jwt_text(const json_t *v)
{
    opay_str_t  s;

    s.data = json_string_value(v);
    s.len = s.data ? json_string_length(v) : 0;

    return s;
}


/* Exactly alg, typ and kid: so no crit, jwk, jku, x5u, x5c, b64, zip, ... */
static opay_jwt_reason_e
opay_jwt_header(const json_t *root, opay_jwt_header_t *h)
{
    h->alg = opay_jwt_text(json_object_get(root, "alg"));
    h->typ = opay_jwt_text(json_object_get(root, "typ"));
    h->kid = opay_jwt_text(json_object_get(root, "kid"));

    if (json_object_size(root) != 3 || h->alg.data == NULL
        || h->typ.data == NULL || h->kid.data == NULL)
    {
        return OPAY_JWT_E_HEADER;
    }

    return opay_str_is(h->typ, "at+jwt") ? OPAY_JWT_OK : OPAY_JWT_E_TYP;
}


static opay_jwt_reason_e
opay_jwt_key(const opay_jwks_t *keys, opay_str_t part, const opay_jwk_t **key)
{
    json_t             *root;
    opay_jwt_header_t   h;
    opay_jwt_reason_e   rc;

    *key = NULL;

    rc = opay_jwt_object(part, OPAY_JWT_HEADER_MAX, &root);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    rc = opay_jwt_header(root, &h);

    if (rc == OPAY_JWT_OK) {
        *key = opay_jwks_find(keys, h.kid);

        if (*key == NULL) {
            rc = OPAY_JWT_E_KID;

        } else if (!opay_str_is(h.alg, opay_jwa_name((*key)->alg))) {
            rc = OPAY_JWT_E_ALG;
        }
    }

    json_decref(root);

    return rc;
}


static uint8_t *
opay_jwt_der_integer(uint8_t *d, const uint8_t *p)
{
    size_t  n;

    for (n = 32; n > 1 && *p == 0; n--) {
        p++;
    }

    *d++ = 0x02;
    *d++ = (uint8_t) (n + (*p >> 7));

    if (*p & 0x80) {
        *d++ = 0;
    }

    memcpy(d, p, n);

    return d + n;
}


/* r | s of 32 bytes each (RFC 7518 section 3.4) to what OpenSSL takes. */
static size_t
opay_jwt_der(const uint8_t *raw, uint8_t *der)
{
    uint8_t  *d;

    d = opay_jwt_der_integer(der + 2, raw);
    d = opay_jwt_der_integer(d, raw + 32);

    der[0] = 0x30;
    der[1] = (uint8_t) (d - der - 2);

    return d - der;
}


static opay_jwt_reason_e
opay_jwt_signature(const opay_jwk_t *key, opay_str_t input,
    const uint8_t *sig, size_t len)
{
    int                rc;
    uint8_t            der[OPAY_JWT_DER_MAX];
    EVP_MD_CTX        *ctx;
    opay_jwt_reason_e  reason;

    if (key->alg == OPAY_JWA_ES256) {
        if (len != 64) {
            return OPAY_JWT_E_SIGNATURE;
        }

        len = opay_jwt_der(sig, der);
        sig = der;

    } else if (len != (size_t) EVP_PKEY_get_size(key->pkey)) {
        return OPAY_JWT_E_SIGNATURE;
    }

    ctx = EVP_MD_CTX_new();

    if (ctx == NULL
        || EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) != 1)
    {
        reason = OPAY_JWT_E_INTERNAL;

    } else {
        rc = EVP_DigestVerify(ctx, sig, len, (const uint8_t *) input.data,
                              input.len);
        reason = rc == 1 ? OPAY_JWT_OK : OPAY_JWT_E_SIGNATURE;
    }

    EVP_MD_CTX_free(ctx);

    /* nginx takes errors left in this thread's queue for its own */

    if (reason != OPAY_JWT_OK) {
        ERR_clear_error();
    }

    return reason;
}


/* A positive NumericDate; whole seconds only. */
static int
opay_jwt_time(const json_t *v, int64_t *t)
{
    if (!json_is_integer(v)) {
        return OPAY_ERROR;
    }

    *t = json_integer_value(v);

    return *t > 0 && *t < OPAY_JWT_TIME_MAX ? OPAY_OK : OPAY_ERROR;
}


static opay_jwt_reason_e
opay_jwt_times(const json_t *root, const opay_jwt_policy_t *policy,
    int64_t now_s, opay_jwt_claims_t *claims)
{
    int64_t  nbf;
    json_t  *v;

    if (opay_jwt_time(json_object_get(root, "exp"), &claims->id.expires)
        != OPAY_OK
        || opay_jwt_time(json_object_get(root, "iat"), &claims->issued)
           != OPAY_OK)
    {
        return OPAY_JWT_E_CLAIM;
    }

    v = json_object_get(root, "nbf");

    if (v != NULL) {
        if (opay_jwt_time(v, &nbf) != OPAY_OK) {
            return OPAY_JWT_E_CLAIM;
        }

        if (nbf > now_s + policy->leeway) {
            return OPAY_JWT_E_NOT_YET;
        }
    }

    if (claims->id.expires <= claims->issued
        || claims->id.expires - claims->issued > policy->max_lifetime)
    {
        return OPAY_JWT_E_LIFETIME;
    }

    return opay_jwt_check_time(policy, claims, now_s);
}


opay_jwt_reason_e
opay_jwt_check_time(const opay_jwt_policy_t *policy,
    const opay_jwt_claims_t *claims, int64_t now_s)
{
    if (claims->id.expires <= now_s - policy->leeway) {
        return OPAY_JWT_E_EXPIRED;
    }

    if (claims->issued > now_s + policy->leeway) {
        return OPAY_JWT_E_NOT_YET;
    }

    return OPAY_JWT_OK;
}


static opay_jwt_reason_e
opay_jwt_audience(const json_t *v, opay_str_t ours)
{
    size_t      i, n;
    unsigned    found;
    opay_str_t  s;

    if (json_is_string(v)) {
        return opay_str_eq(opay_jwt_text(v), ours) ? OPAY_JWT_OK
                                                   : OPAY_JWT_E_AUD;
    }

    n = json_array_size(v);

    if (n > OPAY_JWT_AUDIENCES) {
        return OPAY_JWT_E_AUD;
    }

    found = 0;

    for (i = 0; i < n; i++) {
        s = opay_jwt_text(json_array_get(v, i));

        if (s.data == NULL) {
            return OPAY_JWT_E_AUD;
        }

        found |= opay_str_eq(s, ours);
    }

    return found ? OPAY_JWT_OK : OPAY_JWT_E_AUD;
}


static opay_jwt_reason_e
opay_jwt_roles(const json_t *v, unsigned *roles)
{
    size_t      i, n;
    unsigned    bit, bits;
    opay_str_t  s;

    bits = 0;
    n = json_array_size(v);

    for (i = 0; i < n; i++) {
        s = opay_jwt_text(json_array_get(v, i));

        if (opay_str_is(s, "USER")) {
            bit = OPAY_ROLE_BIT_USER;

        } else if (opay_str_is(s, "ADMIN")) {
            bit = OPAY_ROLE_BIT_ADMIN;

        } else {
            return OPAY_JWT_E_ROLES;
        }

        if (bits & bit) {
            return OPAY_JWT_E_ROLES;
        }

        bits |= bit;
    }

    *roles = bits;

    return bits ? OPAY_JWT_OK : OPAY_JWT_E_ROLES;
}


/* Printable ASCII: it goes to logs. */
static int
opay_jwt_jti(const json_t *v, char *jti)
{
    size_t      i;
    opay_str_t  s;

    s = opay_jwt_text(v);

    if (s.len == 0 || s.len > OPAY_JWT_JTI_MAX) {
        return OPAY_ERROR;
    }

    for (i = 0; i < s.len; i++) {
        if (s.data[i] <= 0x20 || s.data[i] >= 0x7f) {
            return OPAY_ERROR;
        }
    }

    memcpy(jti, s.data, s.len);
    jti[s.len] = '\0';

    return OPAY_OK;
}


static opay_jwt_reason_e
opay_jwt_claims(const json_t *root, const opay_jwt_policy_t *policy,
    int64_t now_s, opay_jwt_claims_t *claims)
{
    opay_str_t         iss;
    opay_jwt_reason_e  rc;

    memset(claims, 0, sizeof(opay_jwt_claims_t));

    iss = opay_jwt_text(json_object_get(root, "iss"));

    if (iss.data == NULL || !opay_str_eq(iss, policy->issuer)) {
        return OPAY_JWT_E_ISS;
    }

    rc = opay_jwt_audience(json_object_get(root, "aud"), policy->audience);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    if (opay_uuid_parse(opay_jwt_text(json_object_get(root, "sub")),
                        &claims->id.user)
        != OPAY_OK)
    {
        return OPAY_JWT_E_SUB;
    }

    if (opay_uuid_parse(opay_jwt_text(json_object_get(root, "sid")),
                        &claims->id.session)
        != OPAY_OK
        || opay_jwt_jti(json_object_get(root, "jti"), claims->jti) != OPAY_OK)
    {
        return OPAY_JWT_E_CLAIM;
    }

    rc = opay_jwt_roles(json_object_get(root, "roles"), &claims->id.roles);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    claims->id.known = 1;

    return opay_jwt_times(root, policy, now_s, claims);
}


opay_jwt_reason_e
opay_jwt_verify(const opay_jwks_t *keys, const opay_jwt_policy_t *policy,
    opay_str_t token, int64_t now_s, opay_jwt_claims_t *out)
{
    size_t              n;
    json_t             *root;
    uint8_t             sig[OPAY_JWT_SIGNATURE_MAX];
    const opay_jwk_t   *key;
    opay_jwt_parts_t    parts;
    opay_jwt_claims_t   claims;
    opay_jwt_reason_e   rc;

    rc = opay_jwt_split(token, &parts);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    if (parts.payload.len > opay_b64url_len(OPAY_JWT_PAYLOAD_MAX)
        || parts.signature.len > opay_b64url_len(OPAY_JWT_SIGNATURE_MAX))
    {
        return OPAY_JWT_E_SIZE;
    }

    rc = opay_jwt_key(keys, parts.header, &key);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    if (opay_b64url_decode(parts.signature, sig, sizeof(sig), &n) != OPAY_OK) {
        return OPAY_JWT_E_BASE64;
    }

    rc = opay_jwt_signature(key, parts.input, sig, n);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    /* nothing of the payload is looked at before its signature is good */

    rc = opay_jwt_object(parts.payload, OPAY_JWT_PAYLOAD_MAX, &root);

    if (rc != OPAY_JWT_OK) {
        return rc;
    }

    rc = opay_jwt_claims(root, policy, now_s, &claims);

    json_decref(root);

    if (rc == OPAY_JWT_OK) {
        *out = claims;
    }

    return rc;
}
