
/*
 * libFuzzer: refresh tokens and key files.  First byte: what the rest is.
 *
 *   't'  a token: accepted only when encoding it again gives the same text
 *   'k'  a key file: what is accepted issues tokens that it accepts
 *   'p'  a stored password: parsed, never worked on beyond the ceiling
 *   'e'  an e-mail address: the normal form is a fixed point
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_password.h"
#include "opay_token.h"


#define fuzz_assert(c)  do { if (!(c)) { fuzz_fail(#c, __LINE__); } } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_token.c:%d: %s\n", line, what);
    abort();
}


static void
fuzz_token(opay_str_t text)
{
    char                again[OPAY_TOKEN_LEN + 1];
    uint8_t             material[32];
    opay_token_t        t, next;
    opay_token_keys_t   keys;

    memset(&keys, 0, sizeof(keys));
    memset(material, 7, sizeof(material));
    fuzz_assert(opay_token_keys_add(&keys, 7, material) == OPAY_OK);

    if (opay_token_parse(&keys, text, &t) != OPAY_OK) {
        return;
    }

    fuzz_assert(opay_token_encode(&keys, &t, again) == OPAY_OK);
    fuzz_assert(opay_str_is(text, again));
    fuzz_assert(opay_token_next(&keys, 0, &t, &next) == OPAY_OK
                || t.gen == UINT32_MAX);
}


static void
fuzz_keyfile(opay_str_t text)
{
    char                out[OPAY_TOKEN_LEN + 1];
    opay_uuid_t         sid;
    opay_token_t        t;
    opay_token_keys_t   keys;

    if (opay_token_keys_parse(&keys, text) != OPAY_OK) {
        return;
    }

    fuzz_assert(keys.n == 1 || keys.n == 2);
    memset(&sid, 1, sizeof(sid));
    fuzz_assert(opay_token_first(&keys, &sid, &t) == OPAY_OK);
    fuzz_assert(opay_token_encode(&keys, &t, out) == OPAY_OK);
    fuzz_assert(opay_token_parse(&keys, opay_str_of(out), &t) == OPAY_OK);
}


/* Without a pepper nothing is hashed, whatever the row asks for. */
static void
fuzz_phc(opay_str_t text)
{
    opay_password_params_t   params = { 16, 1, 1 };
    opay_password_peppers_t  none;

    memset(&none, 0, sizeof(none));

    fuzz_assert(opay_password_verify(&none, text, opay_str_of("x"))
                == OPAY_PASSWORD_BAD_PHC);
    fuzz_assert(opay_password_needs_rehash(&none, &params, text) == 1);
}


static void
fuzz_email(opay_str_t text)
{
    char    a[OPAY_EMAIL_MAX + 1], b[OPAY_EMAIL_MAX + 1];
    size_t  n, m;

    (void) opay_password_policy(text, text);

    if (opay_email_normalize(text, a, &n) != OPAY_EMAIL_OK) {
        return;
    }

    fuzz_assert(n == strlen(a) && n <= OPAY_EMAIL_MAX);
    fuzz_assert(opay_email_normalize(opay_str_of(a), b, &m)
                == OPAY_EMAIL_OK);
    fuzz_assert(strcmp(a, b) == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    opay_str_t  text;

    if (size == 0) {
        return 0;
    }

    text.data = (const char *) data + 1;
    text.len = size - 1;

    switch (data[0]) {

    case 't':
        fuzz_token(text);
        break;

    case 'k':
        fuzz_keyfile(text);
        break;

    case 'p':
        fuzz_phc(text);
        break;

    case 'e':
        fuzz_email(text);
        break;
    }

    return 0;
}
