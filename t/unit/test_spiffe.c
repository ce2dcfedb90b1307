
/* The name in a certificate: exactly one URI SAN of our own form. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "../../lib/opay_spiffe.c"


/* A certificate with these subjectAltName extensions. */
static X509 *
test_cert(const char *san, const char *second)
{
    X509            *cert;
    size_t           i;
    EVP_PKEY        *pkey;
    X509_EXTENSION  *ext;
    const char      *sans[2];

    sans[0] = san;
    sans[1] = second;

    cert = X509_new();
    pkey = EVP_EC_gen("P-256");
    X509_set_pubkey(cert, pkey);

    for (i = 0; i < 2; i++) {
        if (sans[i] == NULL) {
            continue;
        }

        ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, sans[i]);
        assert_non_null(ext);
        X509_add_ext(cert, ext, -1);
        X509_EXTENSION_free(ext);
    }

    EVP_PKEY_free(pkey);

    return cert;
}


static void
test_spiffe_certs(void **state)
{
    int      rc;
    char     name[OPAY_SPIFFE_NAME_MAX + 1];
    X509    *cert;
    size_t   i;

    static const struct {
        const char  *san;
        const char  *second;
        const char  *name;             /* NULL: refused */
    } t[] = {
        { "URI:spiffe://opay/order", NULL, "order" },
        { "DNS:order.opay.internal,URI:spiffe://opay/order", NULL, "order" },
        { "URI:spiffe://opay/sidecar-auth,DNS:x", NULL, "sidecar-auth" },
        { NULL, NULL, NULL },
        { "DNS:order.opay.internal", NULL, NULL },
        { "DNS:spiffe://opay/order", NULL, NULL },
        { "email:spiffe://opay/order@x", NULL, NULL },
        { "URI:spiffe://opay/order,URI:spiffe://opay/auth", NULL, NULL },
        { "URI:spiffe://opay/order,URI:https://x", NULL, NULL },
        { "URI:spiffe://opay/order", "URI:spiffe://opay/auth", NULL },
        { "URI:spiffe://other/order", NULL, NULL },
        { "URI:https://opay/order", NULL, NULL }
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        cert = test_cert(t[i].san, t[i].second);
        rc = opay_spiffe_name(cert, name);
        X509_free(cert);

        if (t[i].name) {
            assert_int_equal(rc, OPAY_OK);
            assert_string_equal(name, t[i].name);

        } else if (rc != OPAY_ERROR) {
            fail_msg("%s", t[i].san);
        }

        assert_int_equal(ERR_peek_error(), 0);
    }
}


/* NUL tricks: the name ends where ASN.1 says, not at the first NUL. */
static void
test_spiffe_nul(void **state)
{
    char             name[OPAY_SPIFFE_NAME_MAX + 1];
    X509            *cert;
    GENERAL_NAME    *gn;
    GENERAL_NAMES   *names;
    ASN1_IA5STRING  *ia5;

    static const char  uri[] = "spiffe://opay/order\0.evil.test";

    (void) state;

    cert = X509_new();
    names = GENERAL_NAMES_new();
    gn = GENERAL_NAME_new();
    ia5 = ASN1_IA5STRING_new();
    ASN1_STRING_set(ia5, uri, sizeof(uri) - 1);
    GENERAL_NAME_set0_value(gn, GEN_URI, ia5);
    sk_GENERAL_NAME_push(names, gn);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0,
                                       0), 1);

    assert_int_equal(opay_spiffe_name(cert, name), OPAY_ERROR);

    GENERAL_NAMES_free(names);
    X509_free(cert);
}


/* A SAN that is no SAN; nginx would log an error left in the queue. */
static void
test_spiffe_malformed(void **state)
{
    char                name[OPAY_SPIFFE_NAME_MAX + 1];
    X509               *cert;
    X509_EXTENSION     *ext;
    ASN1_OCTET_STRING  *os;

    (void) state;

    cert = X509_new();
    os = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(os, (const uint8_t *) "\x30\x10\x86", 3);
    ext = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, os);
    X509_add_ext(cert, ext, -1);

    assert_int_equal(opay_spiffe_name(cert, name), OPAY_ERROR);
    assert_int_equal(ERR_peek_error(), 0);

    ASN1_OCTET_STRING_free(os);
    X509_EXTENSION_free(ext);
    X509_free(cert);
}


static void
test_spiffe_uris(void **state)
{
    char    name[OPAY_SPIFFE_NAME_MAX + 1], text[128];
    size_t  i;

    static const char *const  bad[] = {
        "", "spiffe://opay", "spiffe://opay/", "spiffe://opay/Order",
        "spiffe://opay/order/", "spiffe://opay/a/b", "spiffe://opay//a",
        "SPIFFE://opay/order", "spiffe://OPAY/order", "spiffe://opay/a b",
        "spiffe://opay/a?b", "spiffe://opay/a#b", "spiffe://opay/..",
        "spiffe://opay/%6f", "spiffe://opay:1/a", "spiffe://u@opay/a",
        " spiffe://opay/a", "spiffe://opay/a_b"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_spiffe_parse(opay_str_of(bad[i]), name),
                         OPAY_ERROR);
    }

    strcpy(text, OPAY_SPIFFE_PREFIX);
    memset(text + 14, 'a', 64);
    text[14 + 64] = '\0';
    assert_int_equal(opay_spiffe_parse(opay_str_of(text), name), OPAY_ERROR);
    text[14 + 63] = '\0';
    assert_int_equal(opay_spiffe_parse(opay_str_of(text), name), OPAY_OK);
    assert_int_equal(strlen(name), 63);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_spiffe_certs),
        cmocka_unit_test(test_spiffe_nul),
        cmocka_unit_test(test_spiffe_malformed),
        cmocka_unit_test(test_spiffe_uris)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
