
#include <openssl/crypto.h>

#include "opay_b64.h"
#include "opay_keyfile.h"
#include "opay_token.h"


#define OPAY_TOKEN_VERSION  1
#define OPAY_TOKEN_BYTES    70
#define OPAY_TOKEN_SIGNED   54         /* all before the tag */
#define OPAY_TOKEN_TAG      16

_Static_assert(opay_b64url_len(OPAY_TOKEN_BYTES) == OPAY_TOKEN_LEN,
               "the length of a token in bytes and in characters");


int
opay_token_keys_add(opay_token_keys_t *keys, uint8_t kid,
    const uint8_t material[32])
{
    unsigned            i;
    opay_token_key_t   *key;
    static const char   tag[] = "opay refresh token tag";
    static const char   next[] = "opay refresh token next";

    if (kid == 0 || keys->n >= OPAY_TOKEN_KEYS) {
        return OPAY_ERROR;
    }

    for (i = 0; i < keys->n; i++) {
        if (keys->key[i].kid == kid) {
            return OPAY_ERROR;
        }
    }

    key = &keys->key[keys->n];
    key->kid = kid;

    if (opay_hmac_sha256(material, 32, tag, sizeof(tag) - 1, key->tag)
        != OPAY_OK
        || opay_hmac_sha256(material, 32, next, sizeof(next) - 1, key->next)
           != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    keys->n++;

    return OPAY_OK;
}


int
opay_token_keys_parse(opay_token_keys_t *keys, opay_str_t text)
{
    int             rc;
    unsigned        i, n;
    opay_keyfile_t  file[OPAY_TOKEN_KEYS];

    memset(keys, 0, sizeof(opay_token_keys_t));

    rc = opay_keyfile_parse(text, file, OPAY_TOKEN_KEYS, &n);

    for (i = 0; rc == OPAY_OK && i < n; i++) {
        rc = opay_token_keys_add(keys, file[i].kid, file[i].key);
    }

    OPENSSL_cleanse(file, sizeof(file));

    if (rc != OPAY_OK) {
        opay_token_keys_wipe(keys);
    }

    return rc;
}


void
opay_token_keys_wipe(opay_token_keys_t *keys)
{
    OPENSSL_cleanse(keys, sizeof(opay_token_keys_t));
}


static const opay_token_key_t *
opay_token_key(const opay_token_keys_t *keys, uint8_t kid)
{
    unsigned  i;

    for (i = 0; i < keys->n; i++) {
        if (keys->key[i].kid == kid) {
            return &keys->key[i];
        }
    }

    return NULL;
}


static void
opay_token_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t) (v >> 24);
    p[1] = (uint8_t) (v >> 16);
    p[2] = (uint8_t) (v >> 8);
    p[3] = (uint8_t) v;
}


int
opay_token_first(const opay_token_keys_t *keys, const opay_uuid_t *sid,
    opay_token_t *t)
{
    if (keys->n == 0) {
        return OPAY_ERROR;
    }

    t->kid = keys->key[0].kid;
    t->sid = *sid;
    t->gen = 0;

    return opay_random(t->secret, sizeof(t->secret));
}


int
opay_token_encode(const opay_token_keys_t *keys, const opay_token_t *t,
    char *out)
{
    uint8_t                  raw[OPAY_TOKEN_BYTES], mac[32];
    const opay_token_key_t  *key;

    key = opay_token_key(keys, t->kid);

    if (key == NULL) {
        return OPAY_ERROR;
    }

    raw[0] = OPAY_TOKEN_VERSION;
    raw[1] = t->kid;
    memcpy(raw + 2, t->sid.b, 16);
    opay_token_be32(raw + 18, t->gen);
    memcpy(raw + 22, t->secret, 32);

    if (opay_hmac_sha256(key->tag, 32, raw, OPAY_TOKEN_SIGNED, mac)
        != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    memcpy(raw + OPAY_TOKEN_SIGNED, mac, OPAY_TOKEN_TAG);
    opay_b64url_encode(raw, sizeof(raw), out);

    OPENSSL_cleanse(raw, sizeof(raw));

    return OPAY_OK;
}


int
opay_token_parse(const opay_token_keys_t *keys, opay_str_t text,
    opay_token_t *t)
{
    size_t                   n;
    uint8_t                  raw[OPAY_TOKEN_BYTES], mac[32];
    const opay_token_key_t  *key;

    if (text.len != OPAY_TOKEN_LEN
        || opay_b64url_decode(text, raw, sizeof(raw), &n) != OPAY_OK
        || raw[0] != OPAY_TOKEN_VERSION)
    {
        return OPAY_ERROR;
    }

    key = opay_token_key(keys, raw[1]);

    if (key == NULL
        || opay_hmac_sha256(key->tag, 32, raw, OPAY_TOKEN_SIGNED, mac)
           != OPAY_OK
        || CRYPTO_memcmp(mac, raw + OPAY_TOKEN_SIGNED, OPAY_TOKEN_TAG) != 0)
    {
        return OPAY_ERROR;
    }

    t->kid = raw[1];
    memcpy(t->sid.b, raw + 2, 16);
    t->gen = (uint32_t) raw[18] << 24 | (uint32_t) raw[19] << 16
             | (uint32_t) raw[20] << 8 | raw[21];
    memcpy(t->secret, raw + 22, 32);

    OPENSSL_cleanse(raw, sizeof(raw));

    return OPAY_OK;
}


int
opay_token_next(const opay_token_keys_t *keys, unsigned i,
    const opay_token_t *t, opay_token_t *next)
{
    int      rc;
    uint8_t  input[7 + 16 + 4 + 32], secret[32];

    if (i >= keys->n || t->gen == UINT32_MAX) {
        return OPAY_ERROR;
    }

    memcpy(input, "rt-next", 7);
    memcpy(input + 7, t->sid.b, 16);
    opay_token_be32(input + 23, t->gen + 1);
    memcpy(input + 27, t->secret, 32);

    rc = opay_hmac_sha256(keys->key[i].next, 32, input, sizeof(input), secret);

    OPENSSL_cleanse(input, sizeof(input));

    if (rc != OPAY_OK) {
        return OPAY_ERROR;
    }

    next->kid = keys->key[i].kid;
    next->sid = t->sid;
    next->gen = t->gen + 1;
    memcpy(next->secret, secret, 32);

    OPENSSL_cleanse(secret, sizeof(secret));

    return OPAY_OK;
}


int
opay_token_hash(const opay_token_t *t, uint8_t hash[32])
{
    return opay_sha256(t->secret, sizeof(t->secret), hash);
}
