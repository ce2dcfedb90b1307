
/* Refresh tokens: format to the bit, rotation, and every kind of forgery. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_keyfile.c"
#include "../../lib/opay_token.c"


#define TEST_HEX  "000102030405060708090a0b0c0d0e0f"                         \
                  "101112131415161718191a1b1c1d1e1f"
#define TEST_ALT  "000102030405060708090A0B0C0D0E0F"                         \
                  "101112131415161718191A1B1C1D1EFF"

static const char  test_gen5[] =
    "AQcQERITFBUWFxgZGhscHR4fAAAABYCBgoOEhYaHiImKi4yNjo-QkZKTlJWW"
    "l5iZmpucnZ6f9JErs1w-CZUyuU99Pv1Xpw";
static const char  test_gen6[] =
    "AQcQERITFBUWFxgZGhscHR4fAAAABvbQ6tMLR9NOGxhOHF0ghExyxYob_kI-"
    "6jOTWMPy7cpariEow5He5QPvOLRcb_LWyg";


static void
test_keys(opay_token_keys_t *keys, const char *text)
{
    assert_int_equal(opay_token_keys_parse(keys, opay_str_of(text)), OPAY_OK);
}


/* Values computed by an independent program. */
static void
test_token_vectors(void **state)
{
    char                text[OPAY_TOKEN_LEN + 1];
    size_t              i;
    uint8_t             hash[32];
    opay_token_t        t, next;
    opay_token_keys_t   keys;

    static const uint8_t  want[32] = {
        0x82, 0xd8, 0x64, 0x08, 0x53, 0x0b, 0x76, 0x5e,
        0x46, 0xeb, 0xf4, 0x78, 0x07, 0x09, 0x50, 0x27,
        0xe8, 0x07, 0xbc, 0x08, 0x67, 0x4b, 0x0d, 0xe7,
        0x7e, 0xe5, 0xef, 0x2f, 0xae, 0x7d, 0x04, 0x92
    };

    (void) state;

    test_keys(&keys, "7:" TEST_HEX "\n");

    t.kid = 7;
    t.gen = 5;

    for (i = 0; i < 16; i++) {
        t.sid.b[i] = (uint8_t) (0x10 + i);
    }

    for (i = 0; i < 32; i++) {
        t.secret[i] = (uint8_t) (0x80 + i);
    }

    assert_int_equal(opay_token_encode(&keys, &t, text), OPAY_OK);
    assert_int_equal(strlen(text), 94);
    assert_string_equal(text, test_gen5);

    assert_int_equal(opay_token_next(&keys, 0, &t, &next), OPAY_OK);
    assert_int_equal(opay_token_encode(&keys, &next, text), OPAY_OK);
    assert_string_equal(text, test_gen6);

    assert_int_equal(opay_token_hash(&t, hash), OPAY_OK);
    assert_memory_equal(hash, want, 32);

    assert_int_equal(opay_token_parse(&keys, opay_str_of(test_gen5), &next),
                     OPAY_OK);
    assert_int_equal(next.kid, 7);
    assert_int_equal(next.gen, 5);
    assert_memory_equal(&next.sid, &t.sid, 16);
    assert_memory_equal(next.secret, t.secret, 32);
}


/* R14: no single character of a token can be changed. */
static void
test_token_flipped(void **state)
{
    char                text[OPAY_TOKEN_LEN + 1];
    size_t              i, k, n;
    uint8_t             raw[OPAY_TOKEN_BYTES], x[OPAY_TOKEN_BYTES], mac[32];
    opay_token_t        t;
    opay_token_keys_t   keys;

    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        "=+/ .";

    (void) state;

    test_keys(&keys, "7:" TEST_HEX);

    for (i = 0; i < OPAY_TOKEN_LEN; i++) {
        strcpy(text, test_gen5);

        for (k = 0; alphabet[k]; k++) {
            text[i] = alphabet[k];

            assert_int_equal(opay_token_parse(&keys, opay_str_of(text), &t),
                             alphabet[k] == test_gen5[i] ? OPAY_OK
                                                         : OPAY_ERROR);
        }
    }

    assert_int_equal(opay_b64url_decode(opay_str_of(test_gen5), raw,
                                        sizeof(raw), &n), OPAY_OK);
    assert_int_equal(n, OPAY_TOKEN_BYTES);

    /* another version, though its tag is right */

    memcpy(x, raw, sizeof(x));
    x[0] = 2;
    assert_int_equal(opay_hmac_sha256(keys.key[0].tag, 32, x,
                                      OPAY_TOKEN_SIGNED, mac), OPAY_OK);
    memcpy(x + OPAY_TOKEN_SIGNED, mac, OPAY_TOKEN_TAG);
    opay_b64url_encode(x, sizeof(x), text);
    assert_int_equal(opay_token_parse(&keys, opay_str_of(text), &t),
                     OPAY_ERROR);

    for (i = 0; i < 8 * OPAY_TOKEN_BYTES; i++) {
        memcpy(x, raw, sizeof(x));
        x[i / 8] ^= (uint8_t) (1u << i % 8);
        opay_b64url_encode(x, sizeof(x), text);
        assert_int_equal(opay_token_parse(&keys, opay_str_of(text), &t),
                         OPAY_ERROR);
    }
}


static void
test_token_shapes(void **state)
{
    char                text[200];
    size_t              n;
    opay_token_t        t;
    opay_token_keys_t   keys;

    (void) state;

    test_keys(&keys, "7:" TEST_HEX);

    memset(text, 'A', sizeof(text));

    for (n = 0; n < sizeof(text); n++) {
        assert_int_equal(opay_token_parse(&keys, (opay_str_t) { n, text },
                                          &t), OPAY_ERROR);
    }

    for (n = 0; n < OPAY_TOKEN_LEN; n++) {
        assert_int_equal(opay_token_parse(&keys,
                             (opay_str_t) { n, test_gen5 }, &t), OPAY_ERROR);
    }

    /* R19: an access token */

    assert_int_equal(opay_token_parse(&keys, opay_str_of("eyJ.eyJ.sig"), &t),
                     OPAY_ERROR);

    /* no key, another key under the same kid */

    memset(&keys, 0, sizeof(keys));
    assert_int_equal(opay_token_parse(&keys, opay_str_of(test_gen5), &t),
                     OPAY_ERROR);
    test_keys(&keys, "7:" TEST_ALT);
    assert_int_equal(opay_token_parse(&keys, opay_str_of(test_gen5), &t),
                     OPAY_ERROR);
}


static void
test_token_first(void **state)
{
    opay_uuid_t         sid;
    opay_token_t        a, b;
    opay_token_keys_t   keys;

    (void) state;

    test_keys(&keys, TEST_HEX);
    assert_int_equal(opay_random(&sid, sizeof(sid)), OPAY_OK);

    assert_int_equal(opay_token_first(&keys, &sid, &a), OPAY_OK);
    assert_int_equal(opay_token_first(&keys, &sid, &b), OPAY_OK);
    assert_int_equal(a.kid, 1);
    assert_int_equal(a.gen, 0);
    assert_memory_equal(&a.sid, &sid, 16);
    assert_memory_not_equal(a.secret, b.secret, 32);

    memset(&keys, 0, sizeof(keys));
    assert_int_equal(opay_token_first(&keys, &sid, &a), OPAY_ERROR);
}


/* The successor is the same for all, differs by sid, gen, secret and key. */
static void
test_token_successor(void **state)
{
    opay_uuid_t         sid;
    opay_token_t        a, b, c;
    opay_token_keys_t   keys;

    (void) state;

    test_keys(&keys, "1:" TEST_HEX "\n2:" TEST_ALT);
    memset(&sid, 9, sizeof(sid));
    assert_int_equal(opay_token_first(&keys, &sid, &a), OPAY_OK);

    assert_int_equal(opay_token_next(&keys, 0, &a, &b), OPAY_OK);
    assert_int_equal(opay_token_next(&keys, 0, &a, &c), OPAY_OK);
    assert_memory_equal(b.secret, c.secret, 32);
    assert_int_equal(b.gen, 1);
    assert_int_equal(b.kid, 1);
    assert_memory_not_equal(a.secret, b.secret, 32);

    assert_int_equal(opay_token_next(&keys, 1, &a, &c), OPAY_OK);
    assert_int_equal(c.kid, 2);
    assert_memory_not_equal(b.secret, c.secret, 32);
    assert_int_equal(opay_token_next(&keys, 2, &a, &c), OPAY_ERROR);

    a.sid.b[0] ^= 1;
    assert_int_equal(opay_token_next(&keys, 0, &a, &c), OPAY_OK);
    assert_memory_not_equal(b.secret, c.secret, 32);
    a.sid.b[0] ^= 1;

    a.gen++;
    assert_int_equal(opay_token_next(&keys, 0, &a, &c), OPAY_OK);
    assert_memory_not_equal(b.secret, c.secret, 32);

    a.gen = UINT32_MAX;
    assert_int_equal(opay_token_next(&keys, 0, &a, &c), OPAY_ERROR);

    /* in place */

    a.gen = 0;
    assert_int_equal(opay_token_next(&keys, 0, &a, &a), OPAY_OK);
    assert_memory_equal(a.secret, b.secret, 32);
    assert_int_equal(a.gen, 1);
}


/* R18: a family goes on while its kid is retired. */
static void
test_token_rotation(void **state)
{
    char                text[OPAY_TOKEN_LEN + 1];
    opay_uuid_t         sid;
    opay_token_t        t, next;
    opay_token_keys_t   old, both, new;

    (void) state;

    test_keys(&old, "1:" TEST_HEX);
    test_keys(&both, "2:" TEST_ALT "\r\n1:" TEST_HEX "\r\n");
    test_keys(&new, "2:" TEST_ALT);

    memset(&sid, 3, sizeof(sid));
    assert_int_equal(opay_token_first(&old, &sid, &t), OPAY_OK);
    assert_int_equal(opay_token_encode(&old, &t, text), OPAY_OK);

    assert_int_equal(opay_token_parse(&both, opay_str_of(text), &t), OPAY_OK);
    assert_int_equal(opay_token_parse(&new, opay_str_of(text), &t),
                     OPAY_ERROR);
    assert_int_equal(opay_token_encode(&new, &t, text), OPAY_ERROR);

    assert_int_equal(opay_token_next(&both, 0, &t, &next), OPAY_OK);
    assert_int_equal(next.kid, 2);
    assert_int_equal(opay_token_encode(&both, &next, text), OPAY_OK);
    assert_int_equal(opay_token_parse(&new, opay_str_of(text), &t), OPAY_OK);
    assert_int_equal(t.gen, 1);
}


static void
test_token_keyfile(void **state)
{
    size_t              i;
    opay_token_keys_t   keys;

    static const char *const  bad[] = {
        "", "\n", "x", "1:", ":" TEST_HEX, "0:" TEST_HEX, "256:" TEST_HEX,
        "1000:" TEST_HEX, "-1:" TEST_HEX, "a:" TEST_HEX, "1" TEST_HEX,
        TEST_HEX "0", TEST_HEX " ", " " TEST_HEX, "\n" TEST_HEX,
        TEST_HEX "\n" TEST_ALT, "1:" TEST_HEX "\n1:" TEST_ALT,
        TEST_HEX "\n\n2:" TEST_ALT, "1:" TEST_HEX "\n2:" TEST_ALT "\n3:"
        TEST_HEX, "1:g00102030405060708090a0b0c0d0e0f101112131415161718191a"
        "1b1c1d1e1f", "000102"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&keys, 0x55, sizeof(keys));
        assert_int_equal(opay_token_keys_parse(&keys, opay_str_of(bad[i])),
                         OPAY_ERROR);
        assert_int_equal(keys.n, 0);
    }

    test_keys(&keys, "255:" TEST_HEX "\n\n");
    assert_int_equal(keys.key[0].kid, 255);
    assert_memory_not_equal(keys.key[0].tag, keys.key[0].next, 32);

    assert_int_equal(opay_token_keys_add(&keys, 255, keys.key[0].tag),
                     OPAY_ERROR);
    assert_int_equal(opay_token_keys_add(&keys, 0, keys.key[0].tag),
                     OPAY_ERROR);
    assert_int_equal(opay_token_keys_add(&keys, 3, keys.key[0].tag), OPAY_OK);
    assert_int_equal(opay_token_keys_add(&keys, 4, keys.key[0].tag),
                     OPAY_ERROR);

    opay_token_keys_wipe(&keys);
    assert_int_equal(keys.n, 0);
}


/* R23: garbage costs no more than the tag. */
static void
test_token_garbage(void **state)
{
    char                text[OPAY_TOKEN_LEN + 1];
    size_t              i;
    uint8_t             raw[OPAY_TOKEN_BYTES];
    opay_token_t        t;
    opay_token_keys_t   keys;

    (void) state;

    test_keys(&keys, "7:" TEST_HEX);

    for (i = 0; i < 20000; i++) {
        assert_int_equal(opay_random(raw, sizeof(raw)), OPAY_OK);
        raw[0] = 1;
        raw[1] = 7;
        opay_b64url_encode(raw, sizeof(raw), text);
        assert_int_equal(opay_token_parse(&keys, opay_str_of(text), &t),
                         OPAY_ERROR);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_token_vectors),
        cmocka_unit_test(test_token_flipped),
        cmocka_unit_test(test_token_shapes),
        cmocka_unit_test(test_token_first),
        cmocka_unit_test(test_token_successor),
        cmocka_unit_test(test_token_rotation),
        cmocka_unit_test(test_token_keyfile),
        cmocka_unit_test(test_token_garbage)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
