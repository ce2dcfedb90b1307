
/* base64url: the vectors of RFC 4648, and that decoding is injective. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_b64.c"


static void
test_b64_vectors(void **state)
{
    char      out[16];
    size_t    i, n;
    uint8_t   back[16];

    static const char *const  v[][2] = {
        { "", "" }, { "f", "Zg" }, { "fo", "Zm8" }, { "foo", "Zm9v" },
        { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "-_-_" }
    };

    (void) state;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        n = opay_b64url_encode(v[i][0], strlen(v[i][0]), out);
        assert_string_equal(out, v[i][1]);
        assert_int_equal(n, strlen(out));
        assert_int_equal(n, opay_b64url_len(strlen(v[i][0])));

        assert_int_equal(opay_b64url_decode(opay_str_of(out), back,
                                            sizeof(back), &n), OPAY_OK);
        assert_int_equal(n, strlen(v[i][0]));
        assert_memory_equal(back, v[i][0], n);
    }
}


static void
test_b64_round(void **state)
{
    char     *text;
    size_t    i, n, k;
    uint8_t   in[64], *out;

    (void) state;

    for (n = 0; n <= sizeof(in); n++) {
        for (i = 0; i < n; i++) {
            in[i] = (uint8_t) (i * 37 + n * 101);
        }

        /* exact sizes: an overrun is the sanitizer's to see */

        text = malloc(opay_b64url_len(n) + 1);
        out = malloc(n ? n : 1);

        k = opay_b64url_encode(in, n, text);
        assert_int_equal(opay_b64url_decode((opay_str_t) { k, text }, out, n,
                                            &k), OPAY_OK);
        assert_int_equal(k, n);
        assert_memory_equal(in, out, n);

        if (n) {
            assert_int_equal(opay_b64url_decode(opay_str_of(text), out, n - 1,
                                                &k), OPAY_ERROR);
        }

        free(text);
        free(out);
    }
}


static void
test_b64_refused(void **state)
{
    size_t    i, n;
    uint8_t   out[16];

    static const char *const  bad[] = {
        "A", "Z", "AAAAA", "Zm9vY", "Zg=",
        "Zg==", "Zm8=", "=", "Zm9 v", "Zm\n9v", "+_-_",
        "-/-_", "Zm9v.", "Zh", "Zn", "Zm9", "\xc3\xa9\xc3\xa9", "Zm9v?"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_b64url_decode(opay_str_of(bad[i]), out,
                                            sizeof(out), &n), OPAY_ERROR);
    }

    assert_int_equal(opay_b64url_decode((opay_str_t) { 4, "Zm\0v" }, out,
                                        sizeof(out), &n), OPAY_ERROR);
}


/* Of all texts of 2 bytes, exactly 256 are one byte; of 3, 65536 are two. */
static void
test_b64_canonical(void **state)
{
    int       a, b, c;
    char      t[3];
    size_t    n;
    uint8_t   out[2];
    unsigned  two, three;

    static const char  some[] = "AEIMQUYcgkosw048BCD_-z";

    (void) state;

    two = 0;
    three = 0;

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            t[0] = (char) a;
            t[1] = (char) b;
            two += opay_b64url_decode((opay_str_t) { 2, t }, out, 2, &n)
                   == OPAY_OK;

            for (c = 0; some[c]; c++) {
                t[2] = some[c];
                three += opay_b64url_decode((opay_str_t) { 3, t }, out, 2, &n)
                         == OPAY_OK;
            }
        }
    }

    assert_int_equal(two, 256);
    assert_int_equal(three, 64 * 64 * 16);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_b64_vectors),
        cmocka_unit_test(test_b64_round),
        cmocka_unit_test(test_b64_refused),
        cmocka_unit_test(test_b64_canonical)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
