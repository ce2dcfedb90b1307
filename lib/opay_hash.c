
/*
 * SHA-256, HMAC-SHA-256 and random bytes; see opay_base.h.
 *
 * DESIGN
 *
 * OpenSSL 3 looks an algorithm up by name at each one-shot call, which costs
 * more than hashing a key or a cursor.  So the digest is fetched once per
 * process, under pthread_once(), and never freed; contexts live for one call.
 */

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "opay_base.h"


#define OPAY_HASH_BLOCK  64


static EVP_MD          *opay_hash_md;
static pthread_once_t   opay_hash_once = PTHREAD_ONCE_INIT;


static void
opay_hash_fetch(void)
{
    opay_hash_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}


int
opay_random(void *buf, size_t n)
{
    char     *p;
    ssize_t   got;

    for (p = buf; n > 0; p += got, n -= (size_t) got) {

        got = getrandom(p, n, 0);

        if (got < 0) {
            if (errno != EINTR) {
                return OPAY_ERROR;
            }

            got = 0;
        }
    }

    return OPAY_OK;
}


/* SHA-256 of a followed by b. */

static int
opay_hash_two(const void *a, size_t an, const void *b, size_t bn,
    uint8_t *out)
{
    int          ok;
    unsigned     n;
    EVP_MD_CTX  *ctx;

    (void) pthread_once(&opay_hash_once, opay_hash_fetch);

    if (opay_hash_md == NULL) {
        return OPAY_ERROR;
    }

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return OPAY_ERROR;
    }

    ok = EVP_DigestInit_ex2(ctx, opay_hash_md, NULL)
         && (an == 0 || EVP_DigestUpdate(ctx, a, an))
         && (bn == 0 || EVP_DigestUpdate(ctx, b, bn))
         && EVP_DigestFinal_ex(ctx, out, &n);

    EVP_MD_CTX_free(ctx);

    return ok ? OPAY_OK : OPAY_ERROR;
}


int
opay_sha256(const void *p, size_t n, uint8_t *out)
{
    return opay_hash_two(p, n, NULL, 0, out);
}


/* RFC 2104 */

int
opay_hmac_sha256(const void *key, size_t klen, const void *p, size_t n,
    uint8_t *out)
{
    int      i, rc;
    uint8_t  pad[OPAY_HASH_BLOCK], inner[32];

    memset(pad, 0, sizeof(pad));

    if (klen > sizeof(pad)) {
        if (opay_sha256(key, klen, pad) != OPAY_OK) {
            return OPAY_ERROR;
        }

    } else if (klen) {
        memcpy(pad, key, klen);
    }

    for (i = 0; i < OPAY_HASH_BLOCK; i++) {
        pad[i] ^= 0x36;
    }

    rc = opay_hash_two(pad, sizeof(pad), p, n, inner);

    for (i = 0; i < OPAY_HASH_BLOCK; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }

    if (rc == OPAY_OK) {
        rc = opay_hash_two(pad, sizeof(pad), inner, sizeof(inner), out);
    }

    OPENSSL_cleanse(pad, sizeof(pad));

    return rc;
}
