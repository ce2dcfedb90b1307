
#include <stdlib.h>

#include <openssl/crypto.h>

#include "opay_jwk.h"


struct opay_jwks_s {
    size_t       n;
    uint64_t     generation;
    opay_jwk_t   key[OPAY_JWKS_MAX];
};


static int
opay_jwks_cmp(const void *a, const void *b)
{
    return strcmp(((const opay_jwk_t *) a)->kid, ((const opay_jwk_t *) b)->kid);
}


/* Keys are sorted already, so their order in the file does not matter. */
static int
opay_jwks_number(opay_jwks_t *keys)
{
    size_t   i;
    uint8_t  digest[32];
    char     text[OPAY_JWKS_MAX * OPAY_JWK_KID_LEN];

    for (i = 0; i < keys->n; i++) {
        memcpy(text + i * OPAY_JWK_KID_LEN, keys->key[i].kid,
               OPAY_JWK_KID_LEN);
    }

    if (opay_sha256(text, keys->n * OPAY_JWK_KID_LEN, digest) != OPAY_OK) {
        return OPAY_ERROR;
    }

    memcpy(&keys->generation, digest, sizeof(keys->generation));

    return OPAY_OK;
}


static int
opay_jwks_fill(opay_jwks_t *keys, const json_t *root, char *err,
    size_t err_len)
{
    size_t         i, n;
    const json_t  *list, *jwk;

    list = json_object_get(root, "keys");
    n = json_array_size(list);

    if (n == 0 || n > OPAY_JWKS_MAX) {
        return opay_jwk_fail(err, err_len, "\"keys\" must have 1 to 16 keys");
    }

    for (i = 0; i < n; i++) {
        jwk = json_array_get(list, i);

        /* counted first, so that destroy frees a key that failed half-way */
        keys->n = i + 1;

        if (!json_is_object(jwk)) {
            return opay_jwk_fail(err, err_len, "a key is not an object");
        }

        if (opay_jwk_parse(jwk, &keys->key[i], err, err_len) != OPAY_OK) {
            return OPAY_ERROR;
        }
    }

    qsort(keys->key, n, sizeof(opay_jwk_t), opay_jwks_cmp);

    for (i = 1; i < n; i++) {
        if (strcmp(keys->key[i - 1].kid, keys->key[i].kid) == 0) {
            return opay_jwk_fail(err, err_len, "a key is there twice");
        }
    }

    return opay_jwks_number(keys) == OPAY_OK
           ? OPAY_OK : opay_jwk_fail(err, err_len, "SHA-256 failed");
}


opay_jwks_t *
opay_jwks_parse(opay_str_t json, char *err, size_t err_len)
{
    json_t        *root;
    opay_jwks_t   *keys;
    json_error_t   je;

    root = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, &je);

    if (root == NULL) {
        (void) opay_jwk_fail(err, err_len, "not a JSON object");
        return NULL;
    }

    keys = calloc(1, sizeof(opay_jwks_t));

    if (keys == NULL) {
        (void) opay_jwk_fail(err, err_len, "out of memory");

    } else if (opay_jwks_fill(keys, root, err, err_len) != OPAY_OK) {
        opay_jwks_destroy(keys);
        keys = NULL;
    }

    json_decref(root);

    return keys;
}


opay_jwks_t *
opay_jwks_load(const char *path, char *err, size_t err_len)
{
    char         *buf;
    opay_str_t    json;
    opay_jwks_t  *keys;

    buf = opay_jwk_read(path, &json.len, err, err_len);

    if (buf == NULL) {
        return NULL;
    }

    json.data = buf;

    keys = opay_jwks_parse(json, err, err_len);

    OPENSSL_cleanse(buf, json.len);
    free(buf);

    return keys;
}


void
opay_jwks_destroy(opay_jwks_t *keys)
{
    size_t  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < keys->n; i++) {
        EVP_PKEY_free(keys->key[i].pkey);
    }

    free(keys);
}


size_t
opay_jwks_count(const opay_jwks_t *keys)
{
    return keys->n;
}


const opay_jwk_t *
opay_jwks_at(const opay_jwks_t *keys, size_t i)
{
    return i < keys->n ? &keys->key[i] : NULL;
}


const opay_jwk_t *
opay_jwks_find(const opay_jwks_t *keys, opay_str_t kid)
{
    size_t  i;

    if (kid.len != OPAY_JWK_KID_LEN) {
        return NULL;
    }

    for (i = 0; i < keys->n; i++) {
        if (memcmp(keys->key[i].kid, kid.data, OPAY_JWK_KID_LEN) == 0) {
            return &keys->key[i];
        }
    }

    return NULL;
}


uint64_t
opay_jwks_generation(const opay_jwks_t *keys)
{
    return keys->generation;
}
