
/*
 * Access tokens: form, base64 and signature part of the corpus.
 */

#include "test_jwt.h"

#include <pthread.h>

#include "../../lib/opay_jwt.c"


#define E(x)  OPAY_JWT_E_##x


/* N30 to N35, N38: a MAC with what the attacker knows of our keys. */
static void
test_jwt_hmac_confusion(void **state)
{
    BIO      *bio;
    char      kid[OPAY_JWK_KID_LEN + 1], head[256], *payload, *pem, t[2048];
    long      n;
    size_t    i, len;
    uint8_t   mac[32];

    EVP_PKEY  *keys[2];

    (void) state;

    keys[0] = test_key;
    keys[1] = test_rsa;

    payload = test_payload("", "");

    for (i = 0; i < 6; i++) {
        assert_int_equal(opay_jwk_thumbprint(keys[i % 2], kid), OPAY_OK);
        snprintf(head, sizeof(head),
                 "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}", kid);

        bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PUBKEY(bio, keys[i % 2]);
        n = BIO_get_mem_data(bio, &pem);

        if (i >= 4) {
            n = 0;

        } else if (i >= 2) {
            n--;
        }

        len = opay_b64url_encode(head, strlen(head), t);
        t[len++] = '.';
        len += opay_b64url_encode(payload, strlen(payload), t + len);
        assert_int_equal(opay_hmac_sha256(n ? pem : "", n, t, len, mac),
                         OPAY_OK);
        t[len++] = '.';
        opay_b64url_encode(mac, sizeof(mac), t + len);
        BIO_free(bio);

        assert_int_equal(test_verify(t, NULL), E(ALG));
    }

    free(payload);
}


/* N01 to N16: what is not three parts of the alphabet. */
static void
test_jwt_forms(void **state)
{
    char    *good, *dot1, *dot2, t[4096];
    size_t   i, n;

    static const char *const  form[] = {
        "", ".", "..", "...", "a", "a.b", "a.b.", ".b.c", "a..c",
        "a.b.c.d", "a.b.c.d.e", "a.b.c.", ".a.b.c", "{\"payload\":\"a.b.c\"}",
        "a b.c.d", "a.b.c ", " a.b.c", "a\t.b.c", "%65.b.c", "a.b.c\n",
        "\xd0\xb0.b.c", "a\xe2\x80\xa4" "b.c", "a,b.c.d"
    };

    (void) state;

    good = test_token("", "");
    dot1 = strchr(good, '.');
    dot2 = strchr(dot1 + 1, '.');

    assert_int_equal(test_verify(good, NULL), OPAY_JWT_OK);

    for (i = 0; i < sizeof(form) / sizeof(form[0]); i++) {
        assert_int_equal(test_verify(form[i], NULL), E(FORM));
    }

    /* N17: NUL inside, by length */

    n = strlen(good);
    memcpy(t, good, n);
    t[n] = '\0';
    assert_int_equal(opay_jwt_verify(test_set, &test_rules,
                         (opay_str_t) { n + 1, t }, TEST_NOW,
                         &(opay_jwt_claims_t) { 0 }), E(FORM));

    /* N08 to N10 with the rest good; N20 and N24 on each part */

    snprintf(t, sizeof(t), "%s", dot1);
    assert_int_equal(test_verify(t, NULL), E(FORM));
    snprintf(t, sizeof(t), "%.*s.%s", (int) (dot1 - good), good, dot2);
    assert_int_equal(test_verify(t, NULL), E(FORM));
    snprintf(t, sizeof(t), "%.*s", (int) (dot2 + 1 - good), good);
    assert_int_equal(test_verify(t, NULL), E(FORM));

    for (i = 0; i < 7; i++) {
        char  c = "=?!+/\r "[i];

        snprintf(t, sizeof(t), "%.*s%c%s", (int) (dot1 - good), good, c,
                 dot1);
        assert_int_equal(test_verify(t, NULL), E(FORM));
        snprintf(t, sizeof(t), "%.*s%c%s", (int) (dot2 - good), good, c,
                 dot2);
        assert_int_equal(test_verify(t, NULL), E(FORM));
        snprintf(t, sizeof(t), "%s%c", good, c);
        assert_int_equal(test_verify(t, NULL), E(FORM));
    }

    free(good);
}


/* N22, N23: a second spelling of the same bytes, signed where it can be. */
static void
test_jwt_canonical(void **state)
{
    char    *good, *payload, t[2048], head[512];
    size_t   i, n, len;
    uint8_t  sig[80];

    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    (void) state;

    payload = test_payload("", "");
    good = test_compact(test_key, test_head, payload);

    /* 64 bytes are 86 characters, the last carries 4 unused bits */

    n = strlen(good);

    for (i = 0; i < 64; i++) {
        char  c = alphabet[i];

        snprintf(t, sizeof(t), "%.*s%c", (int) n - 1, good, c);

        if (c == good[n - 1]) {
            assert_int_equal(test_verify(t, NULL), OPAY_JWT_OK);

        } else if (i % 16) {
            assert_int_equal(test_verify(t, NULL), E(BASE64));

        } else {
            assert_int_equal(test_verify(t, NULL), E(SIGNATURE));
        }
    }

    /* a header with unused bits set, signed over exactly that text */

    snprintf(head, sizeof(head), "%s%s", test_head,
             strlen(test_head) % 3 == 0 ? " " : "");
    len = opay_b64url_encode(head, strlen(head), t);
    t[len - 1]++;
    t[len++] = '.';
    len += opay_b64url_encode(payload, strlen(payload), t + len);
    n = test_sign(test_key, t, len, sig, sizeof(sig));
    t[len++] = '.';
    opay_b64url_encode(sig, n, t + len);
    assert_int_equal(test_verify(t, NULL), E(BASE64));

    free(payload);
    free(good);
}


/* N91 to N98. */
static void
test_jwt_signatures(void **state)
{
    char       *good, *other, *dot2, t[4096];
    size_t      i, n;
    uint8_t     sig[200], x[64], der[80];
    EVP_PKEY   *p384;
    char       *payload;

    static const uint8_t  order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
        0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51
    };

    (void) state;

    good = test_token("", "");
    dot2 = strrchr(good, '.');
    assert_int_equal(opay_b64url_decode(opay_str_of(dot2 + 1), sig, 64, &n),
                     OPAY_OK);
    assert_int_equal(n, 64);

#define TEST_SIG(p, len)                                                      \
    (opay_b64url_encode(p, len, t + sprintf(t, "%.*s.",                       \
                        (int) (dot2 - good), good)), test_verify(t, NULL))

    assert_int_equal(TEST_SIG(sig, 64), OPAY_JWT_OK);

    /* N91: a flipped bit in every byte */

    for (i = 0; i < 64 * 8; i++) {
        memcpy(x, sig, 64);
        x[i / 8] ^= 1u << i % 8;
        assert_int_equal(TEST_SIG(x, 64), E(SIGNATURE));
    }

    /* N92, N93, N96 */

    for (i = 1; i < 64; i++) {
        assert_int_equal(TEST_SIG(sig, i), E(SIGNATURE));
    }

    memset(sig + 64, 0, sizeof(sig) - 64);
    assert_int_equal(TEST_SIG(sig, 65), E(SIGNATURE));
    assert_int_equal(TEST_SIG(sig, 128), E(SIGNATURE));

    /* N94: r or s of 0, n, all ones */

    for (i = 0; i < 6; i++) {
        memcpy(x, sig, 64);

        if (i / 2 == 0) {
            memset(x + 32 * (i % 2), 0, 32);

        } else if (i / 2 == 1) {
            memcpy(x + 32 * (i % 2), order, 32);

        } else {
            memset(x + 32 * (i % 2), 0xff, 32);
        }

        assert_int_equal(TEST_SIG(x, 64), E(SIGNATURE));
    }

    memset(x, 0, 64);
    assert_int_equal(TEST_SIG(x, 64), E(SIGNATURE));

    /* N95: the DER form */

    n = opay_jwt_der(sig, der);
    assert_int_equal(TEST_SIG(der, n), E(SIGNATURE));

    /* N98: of another token; of a key that is not ours */

    other = test_token("jti", "\"j-2\"");
    assert_int_equal(test_verify(other, NULL), OPAY_JWT_OK);
    snprintf(t, sizeof(t), "%.*s%s", (int) (dot2 - good), good,
             strrchr(other, '.'));
    assert_int_equal(test_verify(t, NULL), E(SIGNATURE));
    free(other);

    payload = test_payload("", "");
    assert_int_equal(test_take(test_compact(test_alien, test_head, payload)),
                     E(SIGNATURE));

    /* N36: a P-384 signature (96 bytes) under our kid */

    p384 = test_ec("P-384");
    assert_int_equal(test_take(test_compact(p384, test_head, payload)),
                     E(SIGNATURE));
    EVP_PKEY_free(p384);

    /* an RSA signature under the EC kid, and the reverse */

    assert_int_equal(test_take(test_compact(test_rsa, test_head, payload)),
                     E(SIGNATURE));
    assert_int_equal(test_take(test_compact(test_key,
                         test_header(test_rsa, t, sizeof(t)), payload)),
                     E(SIGNATURE));

    free(payload);
    free(good);
}


/* r and s with leading zeros: DER must drop them, or keep one. */
static void
test_jwt_der(void **state)
{
    size_t   n;
    uint8_t  raw[64], der[OPAY_JWT_DER_MAX];

    (void) state;

    memset(raw, 0, sizeof(raw));
    raw[31] = 0x7f;
    raw[63] = 0x80;
    n = opay_jwt_der(raw, der);
    assert_int_equal(n, 9);
    assert_memory_equal(der, "\x30\x07\x02\x01\x7f\x02\x02\x00\x80", 9);

    memset(raw, 0, sizeof(raw));
    assert_int_equal(opay_jwt_der(raw, der), 8);
    assert_memory_equal(der, "\x30\x06\x02\x01\x00\x02\x01\x00", 8);

    memset(raw, 0xff, sizeof(raw));
    assert_int_equal(opay_jwt_der(raw, der), OPAY_JWT_DER_MAX);
    assert_int_equal(der[1], OPAY_JWT_DER_MAX - 2);
}


/* The example of RFC 7515 appendix A.3. */
static void
test_jwt_rfc7515(void **state)
{
    char          err[128];
    uint8_t       sig[64];
    size_t        n;
    opay_str_t    input;
    opay_jwks_t  *keys;

    static const char  set[] =
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
        "\"kid\":\"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U\"}]}";

    static const char  text[] =
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    static const char  signature[] =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
        "pmWQxfKTUJqPP3-Kg6NU1Q";

    (void) state;

    keys = opay_jwks_parse(opay_str_of(set), err, sizeof(err));
    assert_non_null(keys);

    assert_int_equal(opay_b64url_decode(opay_str_of(signature), sig, 64, &n),
                     OPAY_OK);
    input = opay_str_of(text);
    assert_int_equal(opay_jwt_signature(opay_jwks_at(keys, 0), input, sig, n),
                     OPAY_JWT_OK);

    input.len--;
    assert_int_equal(opay_jwt_signature(opay_jwks_at(keys, 0), input, sig, n),
                     E(SIGNATURE));

    opay_jwks_destroy(keys);
}


static void *
test_jwt_thread(void *data)
{
    int    i;
    char  *token = data;

    for (i = 0; i < 200; i++) {
        if (test_verify(token, NULL) != OPAY_JWT_OK
            || test_verify(token + 1, NULL) == OPAY_JWT_OK)
        {
            return data;
        }
    }

    return NULL;
}


/* One key set, many threads. */
static void
test_jwt_threads(void **state)
{
    int         i;
    char       *token;
    void       *rc;
    pthread_t   t[4];

    (void) state;

    token = test_token("", "");

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, test_jwt_thread, token),
                         0);
    }

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &rc), 0);
        assert_null(rc);
    }

    free(token);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jwt_hmac_confusion),
        cmocka_unit_test(test_jwt_forms),
        cmocka_unit_test(test_jwt_canonical),
        cmocka_unit_test(test_jwt_signatures),
        cmocka_unit_test(test_jwt_der),
        cmocka_unit_test(test_jwt_rfc7515),
        cmocka_unit_test(test_jwt_threads)
    };

    return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
