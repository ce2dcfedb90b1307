
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/pem.h>

#include "opay_jwk.h"


struct opay_jwk_own_s {
    opay_jwk_t  key;
};


/* A passphrase prompt must never block a server's start. */
static int
opay_jwk_no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void) buf;
    (void) size;
    (void) rwflag;
    (void) u;

    return -1;
}


static int
opay_jwk_own_fill(opay_jwk_own_t *own, opay_str_t pem, char *err,
    size_t err_len)
{
    BIO           *bio;
    EVP_PKEY_CTX  *ctx;

    bio = BIO_new_mem_buf(pem.data, pem.len);

    if (bio == NULL) {
        return opay_jwk_fail(err, err_len, "out of memory");
    }

    own->key.pkey = PEM_read_bio_PrivateKey(bio, NULL, opay_jwk_no_passphrase,
                                            NULL);
    BIO_free(bio);

    if (own->key.pkey == NULL) {
        return opay_jwk_fail(err, err_len, "not a private key in PEM");
    }

    own->key.alg = opay_jwk_alg(own->key.pkey);

    if (own->key.alg != OPAY_JWA_ES256) {
        return opay_jwk_fail(err, err_len, "not a P-256 key");
    }

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own->key.pkey, NULL);

    if (ctx == NULL || EVP_PKEY_check(ctx) != 1) {
        EVP_PKEY_CTX_free(ctx);
        return opay_jwk_fail(err, err_len, "private and public do not fit");
    }

    EVP_PKEY_CTX_free(ctx);

    return opay_jwk_thumbprint(own->key.pkey, own->key.kid) == OPAY_OK
           ? OPAY_OK : opay_jwk_fail(err, err_len, "no thumbprint");
}


opay_jwk_own_t *
opay_jwk_own_parse(opay_str_t pem, char *err, size_t err_len)
{
    opay_jwk_own_t  *own;

    own = calloc(1, sizeof(opay_jwk_own_t));

    if (own == NULL) {
        (void) opay_jwk_fail(err, err_len, "out of memory");
        return NULL;
    }

    if (opay_jwk_own_fill(own, pem, err, err_len) != OPAY_OK) {
        opay_jwk_own_destroy(own);
        return NULL;
    }

    return own;
}


opay_jwk_own_t *
opay_jwk_own_load(const char *path, char *err, size_t err_len)
{
    char            *buf;
    opay_str_t       pem;
    opay_jwk_own_t  *own;

    buf = opay_jwk_read(path, &pem.len, err, err_len);

    if (buf == NULL) {
        return NULL;
    }

    pem.data = buf;

    own = opay_jwk_own_parse(pem, err, err_len);

    OPENSSL_cleanse(buf, pem.len);
    free(buf);

    return own;
}


void
opay_jwk_own_destroy(opay_jwk_own_t *own)
{
    if (own == NULL) {
        return;
    }

    EVP_PKEY_free(own->key.pkey);
    free(own);
}


const opay_jwk_t *
opay_jwk_own_key(const opay_jwk_own_t *own)
{
    return &own->key;
}
