
/*
 * libFuzzer: access tokens and key sets.  First byte: what the rest is.
 *
 *   't'  a token, from somebody without our key: never accepted
 *   'p'  a payload, which is signed: what is accepted obeys the policy and
 *        survives being minted again
 *   'h'  a header, in front of a good payload, signed: accepted only if it
 *        has exactly our three members; "@" stands for the kid of our key
 *   'k'  a key set: what is accepted can be written out and read back
 *
 * The key is made anew in each run: no accepted token can be in a corpus.
 */

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "opay_b64.h"
#include "opay_jwt.h"


#define FUZZ_NOW   1800000000LL
#define FUZZ_TEXT  16384

#define fuzz_assert(c)  do { if (!(c)) { fuzz_fail(#c, __LINE__); } } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static EVP_PKEY           *fuzz_key;
static opay_jwks_t        *fuzz_keys;
static opay_jwk_own_t     *fuzz_own;
static opay_jwt_policy_t   fuzz_policy;
static char                fuzz_header[256];

static const char  fuzz_payload[] =
    "{\"aud\":\"opay\",\"exp\":1800000300,\"iat\":1800000000,\"iss\":\"i\","
    "\"jti\":\"j\",\"roles\":[\"USER\"],"
    "\"sid\":\"01890a5d-ac96-774b-bcce-b302099a8058\","
    "\"sub\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}";


static void
fuzz_fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_jwt.c:%d: %s\n", line, what);
    abort();
}


static void
fuzz_init(void)
{
    BIO   *bio;
    char  *pem, jwk[1024], set[2048], err[128];
    long   n;

    fuzz_key = EVP_EC_gen("P-256");
    fuzz_assert(fuzz_key != NULL);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, fuzz_key, NULL, NULL, 0, NULL, NULL);
    n = BIO_get_mem_data(bio, &pem);
    fuzz_own = opay_jwk_own_parse((opay_str_t) { n, pem }, err, sizeof(err));
    BIO_free(bio);
    fuzz_assert(fuzz_own != NULL);

    fuzz_assert(opay_jwk_public_json(fuzz_key, jwk, sizeof(jwk)) == OPAY_OK);
    snprintf(set, sizeof(set), "{\"keys\":[%s]}", jwk);
    fuzz_keys = opay_jwks_parse(opay_str_of(set), err, sizeof(err));
    fuzz_assert(fuzz_keys != NULL);

    snprintf(fuzz_header, sizeof(fuzz_header),
             "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
             opay_jwk_own_key(fuzz_own)->kid);

    fuzz_policy.issuer = opay_str_of("i");
    fuzz_policy.audience = opay_str_of("opay");
    fuzz_policy.leeway = 5;
    fuzz_policy.max_lifetime = 300;
}


/* Verifies header "." payload, signed. */
static opay_jwt_reason_e
fuzz_signed(const void *h, size_t hn, const void *p, size_t pn,
    opay_jwt_claims_t *c)
{
    char            t[FUZZ_TEXT];
    size_t          n, len;
    uint8_t         der[80], raw[64];
    ECDSA_SIG      *sig;
    EVP_MD_CTX     *ctx;
    const uint8_t  *d;

    n = opay_b64url_encode(h, hn, t);
    t[n++] = '.';
    n += opay_b64url_encode(p, pn, t + n);

    len = sizeof(der);
    ctx = EVP_MD_CTX_new();
    fuzz_assert(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, fuzz_key)
                == 1
                && EVP_DigestSign(ctx, der, &len, (uint8_t *) t, n) == 1);
    EVP_MD_CTX_free(ctx);

    d = der;
    sig = d2i_ECDSA_SIG(NULL, &d, len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
    ECDSA_SIG_free(sig);

    t[n++] = '.';
    n += opay_b64url_encode(raw, sizeof(raw), t + n);

    return opay_jwt_verify(fuzz_keys, &fuzz_policy, (opay_str_t) { n, t },
                           FUZZ_NOW, c);
}


static void
fuzz_accepted(const opay_jwt_claims_t *c)
{
    char               token[OPAY_JWT_MAX];
    size_t             n;
    opay_jwt_claims_t  again;

    fuzz_assert(c->id.known == 1 && c->id.roles != 0 && c->id.roles <= 3);
    fuzz_assert(c->id.expires > FUZZ_NOW - 5);
    fuzz_assert(c->issued <= FUZZ_NOW + 5);
    fuzz_assert(c->id.expires > c->issued
                && c->id.expires - c->issued <= 300);
    fuzz_assert(c->jti[0] != '\0');

    fuzz_assert(opay_jwt_mint(fuzz_own, &fuzz_policy, c, token,
                              sizeof(token), &n) == OPAY_OK);
    fuzz_assert(opay_jwt_verify(fuzz_keys, &fuzz_policy,
                                (opay_str_t) { n, token }, FUZZ_NOW, &again)
                == OPAY_JWT_OK);
    fuzz_assert(memcmp(&again.id.user, &c->id.user, 16) == 0
                && memcmp(&again.id.session, &c->id.session, 16) == 0
                && again.id.roles == c->id.roles
                && again.id.expires == c->id.expires
                && again.issued == c->issued
                && strcmp(again.jti, c->jti) == 0);
}


static void
fuzz_head(const char *p, size_t n)
{
    char                head[8192];
    size_t              i, len;
    json_t             *root;
    opay_jwt_claims_t   c;

    for (i = 0, len = 0; i < n && len < 6000; i++) {
        if (p[i] == '@') {
            len += sprintf(head + len, "%s", opay_jwk_own_key(fuzz_own)->kid);

        } else {
            head[len++] = p[i];
        }
    }

    if (fuzz_signed(head, len, fuzz_payload, sizeof(fuzz_payload) - 1, &c)
        != OPAY_JWT_OK)
    {
        return;
    }

    root = json_loadb(head, len, JSON_REJECT_DUPLICATES, NULL);
    fuzz_assert(json_object_size(root) == 3);
    fuzz_assert(strcmp(json_string_value(json_object_get(root, "alg")),
                       "ES256") == 0);
    json_decref(root);
}


static void
fuzz_set(const char *p, size_t n)
{
    char          err[128], jwk[4096], set[4352];
    size_t        i;
    opay_jwks_t  *keys, *one;

    keys = opay_jwks_parse((opay_str_t) { n, p }, err, sizeof(err));

    if (keys == NULL) {
        fuzz_assert(err[0] != '\0');
        return;
    }

    for (i = 0; i < opay_jwks_count(keys); i++) {
        fuzz_assert(opay_jwk_public_json(opay_jwks_at(keys, i)->pkey, jwk,
                                         sizeof(jwk)) == OPAY_OK);
        snprintf(set, sizeof(set), "{\"keys\":[%s]}", jwk);
        one = opay_jwks_parse(opay_str_of(set), err, sizeof(err));
        fuzz_assert(one != NULL);
        fuzz_assert(opay_jwks_find(one,
                        opay_str_of(opay_jwks_at(keys, i)->kid)) != NULL);
        opay_jwks_destroy(one);
    }

    opay_jwks_destroy(keys);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char         *p;
    opay_jwt_claims_t   c;

    if (fuzz_key == NULL) {
        fuzz_init();
    }

    if (size == 0 || size > 6000) {
        return 0;
    }

    p = (const char *) data + 1;
    size--;

    switch (data[0]) {

    case 't':
        fuzz_assert(opay_jwt_verify(fuzz_keys, &fuzz_policy,
                                    (opay_str_t) { size, p }, FUZZ_NOW, &c)
                    != OPAY_JWT_OK);
        break;

    case 'p':
        if (fuzz_signed(fuzz_header, strlen(fuzz_header), p, size, &c)
            == OPAY_JWT_OK)
        {
            fuzz_accepted(&c);
        }

        break;

    case 'h':
        fuzz_head(p, size);
        break;

    case 'k':
        fuzz_set(p, size);
        break;
    }

    fuzz_assert(ERR_peek_error() == 0);

    return 0;
}
