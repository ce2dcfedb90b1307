
/* SHA-256 and HMAC against published vectors, from many threads at once. */

#include "test_arena.h"
#include "../../lib/opay_hash.c"


static void
test_hex(const uint8_t *b, size_t n, char *out)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        (void) sprintf(out + 2 * i, "%02x", b[i]);
    }
}


static void
test_hash_sha256(void **state)
{
    char      hex[65], *million;
    uint8_t   out[32];

    (void) state;

    assert_int_equal(opay_sha256(NULL, 0, out), OPAY_OK);
    test_hex(out, 32, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb924"
                             "27ae41e4649b934ca495991b7852b855");

    assert_int_equal(opay_sha256("abc", 3, out), OPAY_OK);
    test_hex(out, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                             "b00361a396177a9cb410ff61f20015ad");

    million = malloc(1000000);
    memset(million, 'a', 1000000);
    assert_int_equal(opay_sha256(million, 1000000, out), OPAY_OK);
    free(million);
    test_hex(out, 32, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67"
                             "f1809a48a497200e046d39ccc7112cd0");
}


/* RFC 4231, cases 1, 2, 3, 6 and 7. */

static void
test_hash_hmac(void **state)
{
    char      key[131], data[50], hex[65];
    size_t    i;
    uint8_t   out[32];

    static const char  long_text[] =
        "This is a test using a larger than block-size key and a larger than "
        "block-size data. The key needs to be hashed before being used by the "
        "HMAC algorithm.";

    const struct {
        const char  *key;
        size_t       klen;
        const char  *data;
        size_t       n;
        const char  *hex;
    } cases[] = {
        { "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
          "\x0b\x0b\x0b\x0b", 20, "Hi There", 8,
          "b0344c61d8db38535ca8afceaf0bf12b"
          "881dc200c9833da726e9376c2e32cff7" },
        { "Jefe", 4, "what do ya want for nothing?", 28,
          "5bdcc146bf60754e6a042426089575c7"
          "5a003f089d2739839dec58b964ec3843" },
        { key, 20, data, 50,
          "773ea91e36800e46854db8ebd09181a7"
          "2959098b3ef8c122d9635514ced565fe" },
        { key, 131, "Test Using Larger Than Block-Size Key - Hash Key First",
          54, "60e431591ee0b67f0d8a26aacbf5b77f"
          "8e0bc6213728c5140546040f0ee37f54" },
        { key, 131, long_text, sizeof(long_text) - 1,
          "9b09ffa71b942fcb27635fbcd5b0e944"
          "bfdc63644f0713938a7f51535c3a35e2" },
        { NULL, 0, NULL, 0,
          "b613679a0814d9ec772f95d778c35fc5"
          "ff1697c493715653c6c712144292c5ad" }
    };

    (void) state;

    memset(key, 0xaa, sizeof(key));
    memset(data, 0xdd, sizeof(data));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(opay_hmac_sha256(cases[i].key, cases[i].klen,
                                          cases[i].data, cases[i].n, out),
                         OPAY_OK);
        test_hex(out, 32, hex);
        assert_string_equal(hex, cases[i].hex);
    }
}


static void *
test_hash_thread(void *data)
{
    int       i;
    uint8_t   out[32];

    for (i = 0; i < 2000; i++) {
        if (opay_sha256("abc", 3, out) != OPAY_OK
            || memcmp(out, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8) != 0)
        {
            return data;
        }
    }

    return NULL;
}


static void
test_hash_threads(void **state)
{
    int         i;
    void       *rc;
    pthread_t   threads[4];

    (void) state;

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, test_hash_thread,
                                        threads), 0);
    }

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &rc), 0);
        assert_null(rc);
    }
}


static void
test_hash_random(void **state)
{
    size_t          i;
    static uint8_t  a[4096], b[4096];

    (void) state;

    assert_int_equal(opay_random(a, sizeof(a)), OPAY_OK);
    assert_int_equal(opay_random(b, sizeof(b)), OPAY_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(opay_random(a, 0), OPAY_OK);

    /* the last byte is reached: 64 draws are not all the same */

    for (i = 0; i < 64; i++) {
        assert_int_equal(opay_random(a + i * 8, 8), OPAY_OK);
        b[i] = a[i * 8 + 7];
    }

    for (i = 1; i < 64 && b[i] == b[0]; i++) { /* void */ }
    assert_true(i < 64);

    /* what the kernel refuses is reported */

    assert_int_equal(opay_random((void *) 8, 16), OPAY_ERROR);
}


static void
test_hash_no_digest(void **state)
{
    EVP_MD   *md;
    uint8_t   out[32], key[100];

    (void) state;

    assert_int_equal(opay_sha256("a", 1, out), OPAY_OK);

    md = opay_hash_md;
    opay_hash_md = NULL;

    memset(key, 1, sizeof(key));
    assert_int_equal(opay_sha256("a", 1, out), OPAY_ERROR);
    assert_int_equal(opay_hmac_sha256("k", 1, "a", 1, out), OPAY_ERROR);
    assert_int_equal(opay_hmac_sha256(key, 100, "a", 1, out), OPAY_ERROR);

    opay_hash_md = md;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_hash_sha256),
        cmocka_unit_test(test_hash_hmac),
        cmocka_unit_test(test_hash_threads),
        cmocka_unit_test(test_hash_random),
        cmocka_unit_test(test_hash_no_digest)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
