
/* Key sets and keys: what is let in, what is kept out, what names them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "../../lib/opay_jwk.c"
#include "../../lib/opay_jwks.c"
#include "../../lib/opay_jwk_own.c"


#define TEST_N                                                                \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7a" \
    "PFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArw" \
    "l93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z" \
    "gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2Nc" \
    "Rwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"

#define TEST_X    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define TEST_Y    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define TEST_KID  "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"

#define TEST_EC                                                               \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"use\":\"sig\","     \
    "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID "\""

#define TEST_RSA                                                              \
    "\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"AQAB\",\"n\":\"" TEST_N "\","  \
    "\"kid\":\"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\""


static char  test_err[128];


static opay_jwks_t *
test_parse(const char *json)
{
    test_err[0] = '\0';

    return opay_jwks_parse(opay_str_of(json), test_err, sizeof(test_err));
}


/* The keys of RFC 7515 A.3 and of RFC 7638 section 3.1, with its kid. */
static void
test_jwks_good(void **state)
{
    opay_jwks_t  *keys;

    (void) state;

    keys = test_parse("{\"keys\":[{" TEST_EC "},{" TEST_RSA "}],\"x\":1}");
    assert_non_null(keys);
    assert_int_equal(opay_jwks_count(keys), 2);
    assert_int_equal(ERR_peek_error(), 0);

    assert_int_equal(opay_jwks_find(keys, opay_str_of(TEST_KID))->alg,
                     OPAY_JWA_ES256);
    assert_int_equal(opay_jwks_find(keys, opay_str_of(
                     "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"))->alg,
                     OPAY_JWA_RS256);

    assert_null(opay_jwks_find(keys, opay_str_of("")));
    assert_null(opay_jwks_find(keys, (opay_str_t) { 0, NULL }));
    assert_null(opay_jwks_find(keys, (opay_str_t) { 42, TEST_KID }));
    assert_null(opay_jwks_find(keys, opay_str_of(TEST_KID "x")));

    assert_non_null(opay_jwks_at(keys, 1));
    assert_null(opay_jwks_at(keys, 2));

    opay_jwks_destroy(keys);
    opay_jwks_destroy(NULL);
}


static void
test_jwks_refused(void **state)
{
    size_t        i;
    opay_jwks_t  *keys;

    static const struct {
        const char  *json;
        const char  *err;
    } bad[] = {
        { "", "JSON" },
        { "[]", "keys" },
        { "{}", "keys" },
        { "{\"keys\":{}}", "keys" },
        { "{\"keys\":[]}", "keys" },
        { "{\"keys\":[1]}", "object" },
        { "{\"keys\":[{}]}", "kty" },
        { "{\"keys\":[{" TEST_EC "}]}x", "JSON" },
        { "{\"keys\":[{" TEST_EC "}],\"keys\":[{" TEST_EC "}]}", "JSON" },

        /* duplicate key; what is secret, or symmetric */

        { "{\"keys\":[{" TEST_EC "},{" TEST_EC "}]}", "twice" },
        { "{\"keys\":[{" TEST_EC ",\"d\":\"AA\"}]}", "private" },
        { "{\"keys\":[{" TEST_RSA ",\"p\":\"AA\"}]}", "private" },
        { "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", "private" },
        { "{\"keys\":[{\"kty\":\"oct\"}]}", "kty" },
        { "{\"keys\":[{\"kty\":\"ec\"}]}", "kty" },
        { "{\"keys\":[{\"kty\":1}]}", "kty" },

        /* a good key spoils nothing, a bad one spoils all */

        { "{\"keys\":[{" TEST_EC "},{\"kty\":\"oct\"}]}", "kty" },

        /* not on the curve; short; other curve; not canonical */

        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_X "\",\"kid\":\"" TEST_KID
          "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"AA\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID "\"}]}",
          "invalid" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"alg\":\"ES256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID
          "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"" TEST_X "=\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID
          "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
          "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
          "\"kid\":\"" TEST_KID "\"}]}", "invalid" },

        /* alg, use, kid */

        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID
          "\"}]}", "alg" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"HS256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\",\"kid\":\"" TEST_KID
          "\"}]}", "alg" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"use\":\"enc\",\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\","
          "\"kid\":\"" TEST_KID "\"}]}", "use" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\",\"kid\":\"key-1\"}]}",
          "kid" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
          "\"x\":\"" TEST_X "\",\"y\":\"" TEST_Y "\"}]}", "kid" },

        /* RSA: e of 1, 2 and 3; a small or an even modulus; none */

        { "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"AQ\","
          "\"n\":\"" TEST_N "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"Ag\","
          "\"n\":\"" TEST_N "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"Aw\","
          "\"n\":\"" TEST_N "\"}]}", "invalid" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"AQAB\"}]}",
          "invalid" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"AQAB\","
          "\"n\":\"AQAC\"}]}", "invalid" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        keys = test_parse(bad[i].json);

        if (keys != NULL || strstr(test_err, bad[i].err) == NULL) {
            fail_msg("%s: %s", bad[i].json, test_err);
        }

        assert_int_equal(ERR_peek_error(), 0);
    }
}


/* 2048 bits are the least, P-256 is the only curve. */
static void
test_jwks_sizes(void **state)
{
    char       kid[OPAY_JWK_KID_LEN + 1], json[4096];
    EVP_PKEY  *pkey;

    (void) state;

    pkey = EVP_RSA_gen(1024);
    assert_int_equal(opay_jwk_thumbprint(pkey, kid), OPAY_ERROR);
    assert_int_equal(opay_jwk_public_json(pkey, json, sizeof(json)),
                     OPAY_ERROR);
    EVP_PKEY_free(pkey);

    pkey = EVP_EC_gen("P-384");
    assert_int_equal(opay_jwk_thumbprint(pkey, kid), OPAY_ERROR);
    EVP_PKEY_free(pkey);

    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(opay_jwk_thumbprint(pkey, kid), OPAY_ERROR);
    EVP_PKEY_free(pkey);
}


/* A modulus of the right size that is no product of two primes. */
static void
test_jwks_modulus(void **state)
{
    char     text[512], json[1024];
    size_t   n;
    BIGNUM  *bn, *rest;
    uint8_t  raw[256];

    (void) state;

    rest = BN_new();
    assert_int_equal(opay_b64url_decode(opay_str_of(TEST_N), raw, sizeof(raw),
                                        &n), OPAY_OK);
    bn = BN_bin2bn(raw, n, NULL);

    /* down to an odd multiple of 3 */

    BN_set_word(rest, BN_mod_word(bn, 3));
    BN_sub(bn, bn, rest);

    if (!BN_is_odd(bn)) {
        BN_sub_word(bn, 3);
    }

    assert_int_equal(BN_bn2binpad(bn, raw, sizeof(raw)), sizeof(raw));
    opay_b64url_encode(raw, sizeof(raw), text);

    snprintf(json, sizeof(json), "{\"keys\":[{\"kty\":\"RSA\","
             "\"alg\":\"RS256\",\"e\":\"AQAB\",\"n\":\"%s\"}]}", text);
    assert_null(test_parse(json));
    assert_non_null(strstr(test_err, "invalid"));

    BN_free(bn);
    BN_free(rest);
}


static void
test_jwks_public(void **state)
{
    int           i;
    char          json[4096], set[4352], *small;
    size_t        n;
    EVP_PKEY     *pkey;
    opay_jwks_t  *keys;

    (void) state;

    for (i = 0; i < 9; i++) {
        pkey = i < 8 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);

        assert_int_equal(opay_jwk_public_json(pkey, json, sizeof(json)),
                         OPAY_OK);
        assert_null(strstr(json, "\"d\""));

        n = strlen(json);
        small = malloc(n);
        assert_int_equal(opay_jwk_public_json(pkey, small, n), OPAY_ERROR);
        free(small);

        snprintf(set, sizeof(set), "{\"keys\":[%s]}", json);
        keys = test_parse(set);
        assert_non_null(keys);
        assert_int_equal(EVP_PKEY_eq(pkey, opay_jwks_at(keys, 0)->pkey), 1);

        opay_jwks_destroy(keys);
        EVP_PKEY_free(pkey);
    }
}


/* The generation names the content, not the order. */
static void
test_jwks_generations(void **state)
{
    uint64_t      g;
    opay_jwks_t  *keys;

    (void) state;

    keys = test_parse("{\"keys\":[{" TEST_EC "},{" TEST_RSA "}]}");
    g = opay_jwks_generation(keys);
    opay_jwks_destroy(keys);

    keys = test_parse("{\"keys\":[{" TEST_RSA "},{" TEST_EC "}]}");
    assert_true(opay_jwks_generation(keys) == g);
    opay_jwks_destroy(keys);

    keys = test_parse("{\"keys\":[{" TEST_EC "}]}");
    assert_true(opay_jwks_generation(keys) != g);
    opay_jwks_destroy(keys);
}


static char *
test_pem(EVP_PKEY *pkey, const char *pass)
{
    BIO   *bio;
    char  *p, *pem;
    long   n;

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey,
                         pass ? EVP_aes_128_cbc() : NULL, pass,
                         pass ? (int) strlen(pass) : 0, NULL, NULL), 1);
    n = BIO_get_mem_data(bio, &p);
    pem = malloc(n + 1);
    memcpy(pem, p, n);
    pem[n] = '\0';
    BIO_free(bio);

    return pem;
}


static opay_jwk_own_t *
test_own(EVP_PKEY *pkey, const char *pass)
{
    char            *pem;
    opay_jwk_own_t  *own;

    pem = test_pem(pkey, pass);
    own = opay_jwk_own_parse(opay_str_of(pem), test_err, sizeof(test_err));
    free(pem);
    EVP_PKEY_free(pkey);

    return own;
}


static void
test_jwks_own(void **state)
{
    char             kid[OPAY_JWK_KID_LEN + 1];
    EVP_PKEY        *pkey;
    opay_jwk_own_t  *own;

    (void) state;

    pkey = EVP_EC_gen("P-256");
    assert_int_equal(opay_jwk_thumbprint(pkey, kid), OPAY_OK);

    own = test_own(pkey, NULL);
    assert_non_null(own);
    assert_int_equal(ERR_peek_error(), 0);
    assert_string_equal(opay_jwk_own_key(own)->kid, kid);
    assert_int_equal(opay_jwk_own_key(own)->alg, OPAY_JWA_ES256);
    opay_jwk_own_destroy(own);
    opay_jwk_own_destroy(NULL);

    assert_null(test_own(EVP_EC_gen("P-384"), NULL));
    assert_null(test_own(EVP_RSA_gen(2048), NULL));

    /* an encrypted one must not ask the terminal */

    assert_null(test_own(EVP_EC_gen("P-256"), "secret"));

    assert_null(opay_jwk_own_parse(opay_str_of("x"), test_err,
                                   sizeof(test_err)));
    assert_null(opay_jwk_own_parse(opay_str_of(""), test_err, 0));
    assert_int_equal(ERR_peek_error(), 0);
}


static void
test_jwks_files(void **state)
{
    int              fd;
    char             path[] = "/tmp/test_jwksXXXXXX", *pem;
    EVP_PKEY        *pkey;
    opay_jwks_t     *keys;
    opay_jwk_own_t  *own;

    static const char  set[] = "{\"keys\":[{" TEST_EC "}]}";

    (void) state;

    assert_null(opay_jwks_load("/nonexistent/x", test_err, sizeof(test_err)));
    assert_non_null(strstr(test_err, "No such file"));

    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_null(opay_jwks_load(path, test_err, sizeof(test_err)));

    assert_int_equal(write(fd, set, sizeof(set) - 1), sizeof(set) - 1);
    keys = opay_jwks_load(path, test_err, sizeof(test_err));
    assert_non_null(keys);
    opay_jwks_destroy(keys);

    /* a file over the limit is not read in part */

    assert_int_equal(ftruncate(fd, OPAY_JWK_FILE_MAX + 1), 0);
    assert_null(opay_jwks_load(path, test_err, sizeof(test_err)));
    assert_non_null(strstr(test_err, "too big"));

    pkey = EVP_EC_gen("P-256");
    pem = test_pem(pkey, NULL);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, pem, strlen(pem), 0), (int) strlen(pem));
    own = opay_jwk_own_load(path, test_err, sizeof(test_err));
    assert_non_null(own);
    opay_jwk_own_destroy(own);

    free(pem);
    EVP_PKEY_free(pkey);
    close(fd);
    unlink(path);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jwks_good),
        cmocka_unit_test(test_jwks_refused),
        cmocka_unit_test(test_jwks_sizes),
        cmocka_unit_test(test_jwks_modulus),
        cmocka_unit_test(test_jwks_public),
        cmocka_unit_test(test_jwks_generations),
        cmocka_unit_test(test_jwks_own),
        cmocka_unit_test(test_jwks_files)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
