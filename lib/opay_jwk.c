
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "opay_b64.h"
#include "opay_jwk.h"


#define OPAY_JWK_FILE_MAX   65536
#define OPAY_JWK_RSA_MIN    2048
#define OPAY_JWK_RSA_MAX    8192
#define OPAY_JWK_BYTES_MAX  (OPAY_JWK_RSA_MAX / 8)

/* The thumbprint's input and the public JWK of the largest RSA key. */
#define OPAY_JWK_TEXT_MAX   (opay_b64url_len(OPAY_JWK_BYTES_MAX) + 256)


int
opay_jwk_fail(char *err, size_t err_len, const char *text)
{
    if (err_len) {
        snprintf(err, err_len, "%s", text);
    }

    ERR_clear_error();

    return OPAY_ERROR;
}


char *
opay_jwk_read(const char *path, size_t *len, char *err, size_t err_len)
{
    char    *buf;
    FILE    *f;
    size_t   n;

    f = fopen(path, "rb");

    if (f == NULL) {
        (void) opay_jwk_fail(err, err_len, strerror(errno));
        return NULL;
    }

    buf = malloc(OPAY_JWK_FILE_MAX + 1);

    if (buf == NULL) {
        (void) opay_jwk_fail(err, err_len, "out of memory");
        fclose(f);
        return NULL;
    }

    /* stdio would leave a copy of the secret behind */

    setvbuf(f, NULL, _IONBF, 0);

    n = fread(buf, 1, OPAY_JWK_FILE_MAX + 1, f);

    if (ferror(f) || n == 0 || n > OPAY_JWK_FILE_MAX) {
        (void) opay_jwk_fail(err, err_len, "cannot read, empty or too big");
        OPENSSL_cleanse(buf, OPAY_JWK_FILE_MAX + 1);
        free(buf);
        buf = NULL;

    } else {
        buf[n] = '\0';
        *len = n;
    }

    fclose(f);

    return buf;
}


const char *
opay_jwa_name(opay_jwa_e alg)
{
    switch (alg) {

    case OPAY_JWA_ES256:
        return "ES256";

    case OPAY_JWA_RS256:
        return "RS256";

    default:
        return NULL;
    }
}


opay_jwa_e
opay_jwk_alg(EVP_PKEY *pkey)
{
    int     bits;
    char    group[32];
    size_t  len;

    if (EVP_PKEY_is_a(pkey, "EC")) {
        return EVP_PKEY_get_group_name(pkey, group, sizeof(group), &len) == 1
               && strcmp(group, SN_X9_62_prime256v1) == 0
               ? OPAY_JWA_ES256 : OPAY_JWA_NONE;
    }

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        bits = EVP_PKEY_get_bits(pkey);

        return bits >= OPAY_JWK_RSA_MIN && bits <= OPAY_JWK_RSA_MAX
               ? OPAY_JWA_RS256 : OPAY_JWA_NONE;
    }

    return OPAY_JWA_NONE;
}


/* One big number of a key, base64url; width 0: no leading zeros. */
static int
opay_jwk_number(EVP_PKEY *pkey, const char *name, int width, char *dst)
{
    int      n;
    BIGNUM  *bn;
    uint8_t  buf[OPAY_JWK_BYTES_MAX];

    bn = NULL;

    if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1) {
        return OPAY_ERROR;
    }

    n = width ? width : BN_num_bytes(bn);

    if (n > (int) sizeof(buf) || BN_bn2binpad(bn, buf, n) != n) {
        BN_free(bn);
        return OPAY_ERROR;
    }

    BN_free(bn);
    opay_b64url_encode(buf, n, dst);

    return OPAY_OK;
}


/* RFC 7638 section 3: required members, in lexical order, no white space. */
static int
opay_jwk_canonical(EVP_PKEY *pkey, opay_jwa_e alg, char *dst, size_t cap)
{
    int   n;
    char  a[opay_b64url_len(OPAY_JWK_BYTES_MAX) + 1];
    char  b[sizeof(a)];

    switch (alg) {

    case OPAY_JWA_ES256:

        if (opay_jwk_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32, a) != OPAY_OK
            || opay_jwk_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32, b)
               != OPAY_OK)
        {
            return OPAY_ERROR;
        }

        n = snprintf(dst, cap, "{\"crv\":\"P-256\",\"kty\":\"EC\","
                     "\"x\":\"%s\",\"y\":\"%s\"}", a, b);
        break;

    case OPAY_JWA_RS256:

        if (opay_jwk_number(pkey, OSSL_PKEY_PARAM_RSA_E, 0, a) != OPAY_OK
            || opay_jwk_number(pkey, OSSL_PKEY_PARAM_RSA_N, 0, b) != OPAY_OK)
        {
            return OPAY_ERROR;
        }

        n = snprintf(dst, cap, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}",
                     a, b);
        break;

    default:
        return OPAY_ERROR;
    }

    return n > 0 && (size_t) n < cap ? n : OPAY_ERROR;
}


int
opay_jwk_thumbprint(EVP_PKEY *pkey, char kid[OPAY_JWK_KID_LEN + 1])
{
    int      n;
    char     text[OPAY_JWK_TEXT_MAX];
    uint8_t  digest[32];

    n = opay_jwk_canonical(pkey, opay_jwk_alg(pkey), text, sizeof(text));

    if (n <= 0 || opay_sha256(text, n, digest) != OPAY_OK) {
        return OPAY_ERROR;
    }

    opay_b64url_encode(digest, sizeof(digest), kid);

    return OPAY_OK;
}


int
opay_jwk_public_json(EVP_PKEY *pkey, char *buf, size_t cap)
{
    int         n;
    char        text[OPAY_JWK_TEXT_MAX], kid[OPAY_JWK_KID_LEN + 1];
    opay_jwa_e  alg;

    alg = opay_jwk_alg(pkey);

    n = opay_jwk_canonical(pkey, alg, text, sizeof(text));

    if (n <= 0 || opay_jwk_thumbprint(pkey, kid) != OPAY_OK) {
        return OPAY_ERROR;
    }

    text[n - 1] = '\0';

    n = snprintf(buf, cap, "%s,\"use\":\"sig\",\"alg\":\"%s\",\"kid\":\"%s\"}",
                 text, opay_jwa_name(alg), kid);

    return n > 0 && (size_t) n < cap ? OPAY_OK : OPAY_ERROR;
}


/* A string member, base64url-decoded; 0: absent, not a string, bad form. */
static size_t
opay_jwk_member(const json_t *jwk, const char *name, uint8_t *dst, size_t cap)
{
    size_t         n;
    opay_str_t     text;
    const json_t  *v;

    v = json_object_get(jwk, name);

    if (!json_is_string(v)) {
        return 0;
    }

    text.data = json_string_value(v);
    text.len = json_string_length(v);

    return opay_b64url_decode(text, dst, cap, &n) == OPAY_OK ? n : 0;
}


static EVP_PKEY *
opay_jwk_fromdata(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    params = OSSL_PARAM_BLD_to_param(bld);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (params != NULL && ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1
        && EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);

    return pkey;
}


static EVP_PKEY *
opay_jwk_ec(const json_t *jwk)
{
    uint8_t          point[65];
    EVP_PKEY        *pkey;
    const char      *crv;
    OSSL_PARAM_BLD  *bld;

    crv = json_string_value(json_object_get(jwk, "crv"));

    if (crv == NULL || strcmp(crv, "P-256") != 0) {
        return NULL;
    }

    point[0] = POINT_CONVERSION_UNCOMPRESSED;

    if (opay_jwk_member(jwk, "x", point + 1, 32) != 32
        || opay_jwk_member(jwk, "y", point + 33, 32) != 32)
    {
        return NULL;
    }

    bld = OSSL_PARAM_BLD_new();

    if (bld == NULL) {
        return NULL;
    }

    pkey = NULL;

    if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
                                        SN_X9_62_prime256v1, 0)
        && OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
                                            point, sizeof(point)))
    {
        pkey = opay_jwk_fromdata("EC", bld);
    }

    OSSL_PARAM_BLD_free(bld);

    return pkey;
}


static EVP_PKEY *
opay_jwk_rsa(const json_t *jwk)
{
    size_t           nlen, elen;
    BIGNUM          *n, *e;
    uint8_t          nbuf[OPAY_JWK_BYTES_MAX], ebuf[8];
    EVP_PKEY        *pkey;
    OSSL_PARAM_BLD  *bld;

    nlen = opay_jwk_member(jwk, "n", nbuf, sizeof(nbuf));
    elen = opay_jwk_member(jwk, "e", ebuf, sizeof(ebuf));

    if (nlen == 0 || elen == 0) {
        return NULL;
    }

    pkey = NULL;
    n = BN_bin2bn(nbuf, nlen, NULL);
    e = BN_bin2bn(ebuf, elen, NULL);
    bld = OSSL_PARAM_BLD_new();

    if (n != NULL && e != NULL && bld != NULL && BN_is_odd(n) && BN_is_odd(e)
        && BN_num_bits(e) >= 17
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n)
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
    {
        pkey = opay_jwk_fromdata("RSA", bld);
    }

    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);

    return pkey;
}


/* On the curve, in range, of a size we allow. */
static int
opay_jwk_valid(EVP_PKEY *pkey)
{
    int            rc;
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    if (ctx == NULL) {
        return 0;
    }

    rc = EVP_PKEY_public_check(ctx);

    EVP_PKEY_CTX_free(ctx);

    return rc == 1;
}


static int
opay_jwk_str_is(const json_t *jwk, const char *name, const char *value,
    int optional)
{
    const char  *s;
    json_t      *v;

    v = json_object_get(jwk, name);

    if (v == NULL) {
        return optional;
    }

    s = json_string_value(v);

    return s != NULL && json_string_length(v) == strlen(value)
           && strcmp(s, value) == 0;
}


int
opay_jwk_parse(const json_t *jwk, opay_jwk_t *key, char *err, size_t err_len)
{
    size_t                    i;
    const char               *kty;
    static const char *const  secret[] = {
        "d", "p", "q", "dp", "dq", "qi", "oth", "k"
    };

    for (i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        if (json_object_get(jwk, secret[i]) != NULL) {
            return opay_jwk_fail(err, err_len,
                                  "private member in a public key set");
        }
    }

    kty = json_string_value(json_object_get(jwk, "kty"));
    key->pkey = NULL;

    if (kty != NULL && strcmp(kty, "EC") == 0) {
        key->pkey = opay_jwk_ec(jwk);

    } else if (kty != NULL && strcmp(kty, "RSA") == 0) {
        key->pkey = opay_jwk_rsa(jwk);

    } else {
        return opay_jwk_fail(err, err_len, "unsupported \"kty\"");
    }

    if (key->pkey == NULL || !opay_jwk_valid(key->pkey)) {
        return opay_jwk_fail(err, err_len, "invalid public key");
    }

    key->alg = opay_jwk_alg(key->pkey);

    if (key->alg == OPAY_JWA_NONE) {
        return opay_jwk_fail(err, err_len, "key of an unsupported size");
    }

    if (!opay_jwk_str_is(jwk, "alg", opay_jwa_name(key->alg), 0)
        || !opay_jwk_str_is(jwk, "use", "sig", 1))
    {
        return opay_jwk_fail(err, err_len, "\"alg\" or \"use\" do not fit");
    }

    if (opay_jwk_thumbprint(key->pkey, key->kid) != OPAY_OK
        || !opay_jwk_str_is(jwk, "kid", key->kid, 0))
    {
        return opay_jwk_fail(err, err_len,
                              "\"kid\" is not the RFC 7638 thumbprint");
    }

    return OPAY_OK;
}
