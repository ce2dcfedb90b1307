
/*
 * opay_jwk: one key, between JSON (RFC 7517) and EVP_PKEY; private to
 * opay_jwks.c and opay_jwk_own.c.
 */

#ifndef OPAY_JWK_H_INCLUDED
#define OPAY_JWK_H_INCLUDED

#include <jansson.h>

#include "opay_jwks.h"


/* Text into err, OpenSSL's error queue emptied; always OPAY_ERROR. */
int opay_jwk_fail(char *err, size_t err_len, const char *text);

/*
 * The whole file, NUL-terminated and malloc'ed; NULL with a text in err.  It
 * may be a secret: the caller wipes it.
 */
char *opay_jwk_read(const char *path, size_t *len, char *err, size_t err_len);

/* OPAY_JWA_NONE: a type, curve or size that is not ours. */
opay_jwa_e opay_jwk_alg(EVP_PKEY *pkey);

/* One member of "keys".  key->pkey may be set although it failed. */
int opay_jwk_parse(const json_t *jwk, opay_jwk_t *key, char *err,
    size_t err_len);


#endif /* OPAY_JWK_H_INCLUDED */
