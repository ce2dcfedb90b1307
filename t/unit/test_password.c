
/* Passwords: stored form, ceiling, pepper, policy; and e-mail addresses. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../lib/opay_keyfile.c"
#include "../../lib/opay_password.c"
#include "../../lib/opay_password_policy.c"


#define TEST_HEX  "000102030405060708090a0b0c0d0e0f"                         \
                  "101112131415161718191a1b1c1d1e1f"
#define TEST_ALT  "ff0102030405060708090a0b0c0d0e0f"                         \
                  "101112131415161718191a1b1c1d1e1f"

/* The least argon2 takes: most tests are about other things than time. */
static const opay_password_params_t  test_cheap = { 16, 1, 1 };

static opay_password_peppers_t  test_peppers;


static int
test_setup(void **state)
{
    (void) state;

    return opay_password_peppers_parse(&test_peppers,
                                       opay_str_of("3:" TEST_HEX "\n"));
}


static int
test_verify(const char *phc, const char *password)
{
    return opay_password_verify(&test_peppers, opay_str_of(phc),
                                opay_str_of(password));
}


static void
test_password_round(void **state)
{
    char  a[OPAY_PASSWORD_PHC_MAX], b[OPAY_PASSWORD_PHC_MAX];

    (void) state;

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                                        opay_str_of("correct horse"), a),
                     OPAY_OK);
    assert_int_equal(strncmp(a, "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$", 37),
                     0);
    assert_int_equal(test_verify(a, "correct horse"), OPAY_PASSWORD_MATCH);
    assert_int_equal(test_verify(a, "correct horsf"),
                     OPAY_PASSWORD_MISMATCH);
    assert_int_equal(test_verify(a, "correct horse "),
                     OPAY_PASSWORD_MISMATCH);
    assert_int_equal(test_verify(a, ""), OPAY_PASSWORD_MISMATCH);

    /* salted */

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                                        opay_str_of("correct horse"), b),
                     OPAY_OK);
    assert_string_not_equal(a, b);
}


/* libargon2's own verifier agrees, given the same HMAC and no keyid. */
static void
test_password_oracle(void **state)
{
    char      phc[OPAY_PASSWORD_PHC_MAX], plain[OPAY_PASSWORD_PHC_MAX];
    char     *k;
    uint8_t   mac[32];

    static const opay_password_params_t  params = { 19456, 2, 1 };

    (void) state;

    assert_int_equal(opay_password_hash(&test_peppers, &params,
                                        opay_str_of("correct horse"), phc),
                     OPAY_OK);

    k = strstr(phc, ",keyid=");
    snprintf(plain, sizeof(plain), "%.*s%s", (int) (k - phc), phc,
             strchr(k, '$'));

    assert_int_equal(opay_hmac_sha256(test_peppers.pepper[0].key, 32,
                                      "correct horse", 13, mac), OPAY_OK);
    assert_int_equal(argon2id_verify(plain, mac, sizeof(mac)), ARGON2_OK);

    mac[0] ^= 1;
    assert_int_equal(argon2id_verify(plain, mac, sizeof(mac)),
                     ARGON2_VERIFY_MISMATCH);
}


static void
test_password_peppers(void **state)
{
    char                      old[OPAY_PASSWORD_PHC_MAX];
    char                      new[OPAY_PASSWORD_PHC_MAX];
    opay_password_peppers_t   both, other;

    (void) state;

    assert_int_equal(opay_password_peppers_parse(&both,
                         opay_str_of("4:" TEST_ALT "\n3:" TEST_HEX)),
                     OPAY_OK);
    assert_int_equal(opay_password_peppers_parse(&other,
                         opay_str_of("3:" TEST_ALT)), OPAY_OK);

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                                        opay_str_of("correct horse"), old),
                     OPAY_OK);
    assert_int_equal(opay_password_verify(&both, opay_str_of(old),
                                          opay_str_of("correct horse")),
                     OPAY_PASSWORD_MATCH);
    assert_int_equal(opay_password_needs_rehash(&both, &test_cheap,
                                                opay_str_of(old)), 1);

    assert_int_equal(opay_password_hash(&both, &test_cheap,
                                        opay_str_of("correct horse"), new),
                     OPAY_OK);
    assert_int_equal(test_verify(new, "correct horse"),
                     OPAY_PASSWORD_BAD_PHC);
    assert_int_equal(opay_password_needs_rehash(&both, &test_cheap,
                                                opay_str_of(new)), 0);

    /* another pepper under the same kid */

    assert_int_equal(opay_password_verify(&other, opay_str_of(old),
                                          opay_str_of("correct horse")),
                     OPAY_PASSWORD_MISMATCH);

    assert_int_equal(opay_password_peppers_parse(&other, opay_str_of("x")),
                     OPAY_ERROR);
    other.n = 0;
    assert_int_equal(opay_password_hash(&other, &test_cheap,
                                        opay_str_of("correct horse"), new),
                     OPAY_ERROR);
}


/* A row that is not of our making costs nothing. */
static void
test_password_hostile(void **state)
{
    size_t  i;

#define SALT  "AAAAAAAAAAAAAAAAAAAAAA"
#define HASH  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define REST  ",keyid=Aw$" SALT "$" HASH

    static const char *const  bad[] = {
        "",
        "$",
        "plain",
        "$2a$10$abcdefghijklmnopqrstuv",
        "$argon2i$v=19$m=16,t=1,p=1" REST,
        "$argon2id$v=16$m=16,t=1,p=1" REST,
        "$argon2id$v=19$m=16,t=1,p=1$" SALT "$" HASH,
        "$argon2id$v=19$m=65537,t=1,p=1" REST,
        "$argon2id$v=19$m=4294967295,t=1,p=1" REST,
        "$argon2id$v=19$m=99999999999999999999,t=1,p=1" REST,
        "$argon2id$v=19$m=16,t=11,p=1" REST,
        "$argon2id$v=19$m=64,t=1,p=5" REST,
        "$argon2id$v=19$m=7,t=1,p=1" REST,
        "$argon2id$v=19$m=16,t=1,p=4" REST,
        "$argon2id$v=19$m=16,t=0,p=1" REST,
        "$argon2id$v=19$m=16,t=1,p=0" REST,
        "$argon2id$v=19$m=016,t=1,p=1" REST,
        "$argon2id$v=19$m=-16,t=1,p=1" REST,
        "$argon2id$v=19$m=16,t=1,p=1" REST "A",
        "$argon2id$v=19$m=16,t=1,p=1" REST "$",
        "$argon2id$v=19$m=16,t=1,p=1,keyid=BQ$" SALT "$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Ax$" SALT "$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$" SALT "A$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$" SALT "$-" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$-AAAAAAAAAAAAAAAAAAAAA$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$_AAAAAAAAAAAAAAAAAAAAA$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$AAAAAAAAAAAAAAAAAAAAAB$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,data=AA,keyid=Aw$" SALT "$" HASH,
        "$argon2id$v=19$m=16,t=1,p=1,keyid=Aw$" SALT,
        "$argon2id$v=19$m=16,t=1",
        "$argon2id$v=19$m="
    };

    static const char  fine[] = "$argon2id$v=19$m=16,t=1,p=1" REST;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (test_verify(bad[i], "correct horse") != OPAY_PASSWORD_BAD_PHC) {
            fail_msg("%s", bad[i]);
        }

        assert_int_equal(opay_password_needs_rehash(&test_peppers,
                             &test_cheap, opay_str_of(bad[i])), 1);
    }

    assert_int_equal(test_verify(fine, "correct horse"),
                     OPAY_PASSWORD_MISMATCH);

    /* each cut of a good one */

    for (i = 0; i < sizeof(fine) - 1; i++) {
        char  *cut = malloc(i ? i : 1);

        memcpy(cut, fine, i);
        assert_int_equal(opay_password_verify(&test_peppers,
                             (opay_str_t) { i, cut }, opay_str_of("x")),
                         OPAY_PASSWORD_BAD_PHC);
        free(cut);
    }
}


static void
test_password_params(void **state)
{
    size_t  i;
    char    phc[OPAY_PASSWORD_PHC_MAX];

    static const opay_password_params_t  bad[] = {
        { 0, 1, 1 }, { 7, 1, 1 }, { 16, 0, 1 }, { 16, 1, 0 }, { 16, 1, 3 },
        { 65537, 1, 1 }, { 16, 11, 1 }, { 64, 1, 5 }
    };

    static const opay_password_params_t  other[] = {
        { 17, 1, 1 }, { 16, 2, 1 }, { 16, 1, 2 }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(opay_password_params_check(&bad[i]), OPAY_ERROR);
        assert_int_equal(opay_password_hash(&test_peppers, &bad[i],
                                            opay_str_of("x"), phc),
                         OPAY_ERROR);
        assert_int_equal(opay_password_dummy(&test_peppers, &bad[i], phc),
                         OPAY_ERROR);
    }

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                                        opay_str_of("x"), phc), OPAY_OK);
    assert_int_equal(opay_password_needs_rehash(&test_peppers, &test_cheap,
                                                opay_str_of(phc)), 0);

    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        assert_int_equal(opay_password_needs_rehash(&test_peppers, &other[i],
                                                    opay_str_of(phc)), 1);
    }
}


/* Same shape as a real one, matches nothing, does the same work. */
static void
test_password_dummies(void **state)
{
    char                     real[OPAY_PASSWORD_PHC_MAX];
    char                     phc[OPAY_PASSWORD_PHC_MAX];
    opay_password_params_t   max = { 65536, 10, 4 };

    (void) state;

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                                        opay_str_of("x"), real), OPAY_OK);
    assert_int_equal(opay_password_dummy(&test_peppers, &test_cheap, phc),
                     OPAY_OK);
    assert_int_equal(strlen(real), strlen(phc));
    assert_int_equal(test_verify(phc, "x"), OPAY_PASSWORD_MISMATCH);
    assert_int_equal(opay_password_needs_rehash(&test_peppers, &test_cheap,
                                                opay_str_of(phc)), 0);

    /* the longest there is */

    assert_int_equal(opay_password_dummy(&test_peppers, &max, phc), OPAY_OK);
    assert_true(strlen(phc) + 1 < OPAY_PASSWORD_PHC_MAX);
}


static void
test_password_lengths(void **state)
{
    char  text[600], phc[OPAY_PASSWORD_PHC_MAX];

    (void) state;

    memset(text, 'x', sizeof(text));

    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                         (opay_str_t) { 512, text }, phc), OPAY_OK);
    assert_int_equal(opay_password_verify(&test_peppers, opay_str_of(phc),
                         (opay_str_t) { 512, text }), OPAY_PASSWORD_MATCH);
    assert_int_equal(opay_password_verify(&test_peppers, opay_str_of(phc),
                         (opay_str_t) { 513, text }), OPAY_PASSWORD_MISMATCH);
    assert_int_equal(opay_password_hash(&test_peppers, &test_cheap,
                         (opay_str_t) { 513, text }, phc), OPAY_ERROR);
}


static void
test_password_rules(void **state)
{
    char    text[600];
    size_t  i;

    static const struct {
        const char              *password;
        opay_password_policy_e   rc;
    } t[] = {
        { "", OPAY_PASSWORD_TOO_SHORT },
        { "abcdxyz", OPAY_PASSWORD_TOO_SHORT },
        { "abcdxyzq", OPAY_PASSWORD_OK },
        { "correct horse battery", OPAY_PASSWORD_OK },

        /* code points, not bytes */

        { "\xec\x95\x94\xed\x98\xb8\xec\x95\x94\xed\x98\xb8\xec\x95\x94"
          "\xed\x98\xb8\xec\x95\x94", OPAY_PASSWORD_TOO_SHORT },
        { "\xec\x95\x94\xed\x98\xb8\xec\x95\x94\xed\x98\xb8\xec\x95\x94"
          "\xed\x98\xb8\xec\x95\x94x", OPAY_PASSWORD_OK },
        { "\xf0\x9f\x98\x80" "abcdxyz", OPAY_PASSWORD_OK },

        { "abcdxyz\xff", OPAY_PASSWORD_ENCODING },
        { "abcdxyz\xc0\xaf", OPAY_PASSWORD_ENCODING },
        { "abcdxyz\xed\xa0\x80", OPAY_PASSWORD_ENCODING },
        { "abcdxyz\xf4\x90\x80\x80", OPAY_PASSWORD_ENCODING },
        { "abcdxyz\xe0\x80\xaf", OPAY_PASSWORD_ENCODING },
        { "abcdxyz\xe2\x82", OPAY_PASSWORD_ENCODING },

        { "password", OPAY_PASSWORD_COMMON },
        { "PassWord1", OPAY_PASSWORD_COMMON },
        { "1q2w3e4r", OPAY_PASSWORD_COMMON },
        { "asdf5678", OPAY_PASSWORD_COMMON },
        { "password1x", OPAY_PASSWORD_OK },
        { "p@ssw0rd p@ssword", OPAY_PASSWORD_OK },
        { "aaaaaaaaaa", OPAY_PASSWORD_COMMON },
        { "ghijklmn", OPAY_PASSWORD_COMMON },
        { "87654321", OPAY_PASSWORD_COMMON },

        { "kim.minsu", OPAY_PASSWORD_LIKE_EMAIL },
        { "KIM.Minsu", OPAY_PASSWORD_LIKE_EMAIL },
        { "kim.minsu@example.com", OPAY_PASSWORD_LIKE_EMAIL },
        { "kim.minsu!", OPAY_PASSWORD_OK }
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        if (opay_password_policy(opay_str_of(t[i].password),
                                 opay_str_of("kim.minsu@example.com"))
            != t[i].rc)
        {
            fail_msg("%s", t[i].password);
        }
    }

    assert_int_equal(opay_password_policy((opay_str_t) { 9, "abcd\0xyzq" },
                                          opay_str_of(NULL)),
                     OPAY_PASSWORD_ENCODING);

    for (i = 0; i < sizeof(text); i++) {
        text[i] = "xyqabc"[i % 6];
    }

    assert_int_equal(opay_password_policy((opay_str_t) { 128, text },
                                          opay_str_of("")), OPAY_PASSWORD_OK);
    assert_int_equal(opay_password_policy((opay_str_t) { 129, text },
                                          opay_str_of("")),
                     OPAY_PASSWORD_TOO_LONG);
    assert_int_equal(opay_password_policy((opay_str_t) { 513, text },
                                          opay_str_of("")),
                     OPAY_PASSWORD_TOO_LONG);
    assert_int_equal(opay_password_policy(opay_str_of("kim.minsu"),
                                          opay_str_of("")), OPAY_PASSWORD_OK);

    assert_string_equal(opay_password_policy_name(OPAY_PASSWORD_COMMON),
                        "too_common");
    assert_string_equal(opay_password_policy_name(99), "unknown");
}


static void
test_email_good(void **state)
{
    char    out[OPAY_EMAIL_MAX + 1];
    size_t  i, len;

    static const char *const  t[][2] = {
        { "a@b.co", "a@b.co" },
        { "  Kim.MinSu@Example.COM\r\n", "kim.minsu@example.com" },
        { "a+tag@x-y.example", "a+tag@x-y.example" },
        { "!#$%&'*+/=?^_`{|}~-@b.co", "!#$%&'*+/=?^_`{|}~-@b.co" },
        { "a@1.2.c3", "a@1.2.c3" }
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        assert_int_equal(opay_email_normalize(opay_str_of(t[i][0]), out,
                                              &len), OPAY_EMAIL_OK);
        assert_string_equal(out, t[i][1]);
        assert_int_equal(len, strlen(out));

        /* normal form stays as it is */

        assert_int_equal(opay_email_normalize(opay_str_of(t[i][1]), out,
                                              &len), OPAY_EMAIL_OK);
        assert_string_equal(out, t[i][1]);
    }
}


static void
test_email_bad(void **state)
{
    char    out[OPAY_EMAIL_MAX + 1], text[300];
    size_t  i, len;

    static const char *const  t[] = {
        "a", "@", "a@", "@b.co", "a@b", "a@b@c.co", "a b@c.co", "a@b c.co",
        ".a@b.co", "a.@b.co", "a..b@b.co", "a@.co", "a@b.", "a@b..co",
        "a@-b.co", "a@b-.co", "a@b.12", "a@127.0.0.1", "a@[127.0.0.1]",
        "\"a\"@b.co", "a<b@c.co", "a@b_c.co", "a,b@c.co", "a@b.co,c@d.co",
        "a\r\nX: y@b.co", "a@b.co\x01z"
    };

    (void) state;

    strcpy(out, "same");

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        if (opay_email_normalize(opay_str_of(t[i]), out, &len)
            != OPAY_EMAIL_FORM)
        {
            fail_msg("%s", t[i]);
        }
    }

    assert_int_equal(opay_email_normalize((opay_str_t) { 8, "a\0b@c.co" },
                                          out, &len), OPAY_EMAIL_FORM);
    assert_int_equal(opay_email_normalize((opay_str_t) { 8, "ab@c.c\0o" },
                                          out, &len), OPAY_EMAIL_FORM);
    assert_int_equal(opay_email_normalize(opay_str_of(" \t "), out, &len),
                     OPAY_EMAIL_EMPTY);
    assert_int_equal(opay_email_normalize(opay_str_of(NULL), out, &len),
                     OPAY_EMAIL_EMPTY);
    assert_int_equal(opay_email_normalize(opay_str_of("\xc3\xa9@b.co"), out,
                                          &len), OPAY_EMAIL_NON_ASCII);
    assert_int_equal(opay_email_normalize(opay_str_of("a@\xc3\xa9.co"), out,
                                          &len), OPAY_EMAIL_NON_ASCII);

    /* 64 + 1 + 189 = 254 */

    memset(text, 'a', sizeof(text));
    text[64] = '@';
    text[128] = '.';
    text[192] = '.';
    text[254] = '\0';
    assert_int_equal(opay_email_normalize(opay_str_of(text), out, &len),
                     OPAY_EMAIL_OK);
    assert_int_equal(len, 254);

    text[254] = 'a';
    text[255] = '\0';
    assert_int_equal(opay_email_normalize(opay_str_of(text), out, &len),
                     OPAY_EMAIL_TOO_LONG);

    /* a local part of 65, a label of 64 */

    memset(text, 'a', 65);
    strcpy(text + 65, "@b.co");
    assert_int_equal(opay_email_normalize(opay_str_of(text), out, &len),
                     OPAY_EMAIL_FORM);
    memset(text, 'a', 70);
    text[1] = '@';
    strcpy(text + 66, ".co");
    assert_int_equal(opay_email_normalize(opay_str_of(text), out, &len),
                     OPAY_EMAIL_FORM);
    strcpy(text + 65, ".co");
    assert_int_equal(opay_email_normalize(opay_str_of(text), out, &len),
                     OPAY_EMAIL_OK);

    assert_string_equal(opay_email_name(OPAY_EMAIL_FORM), "format");
    assert_string_equal(opay_email_name(99), "unknown");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_password_round),
        cmocka_unit_test(test_password_oracle),
        cmocka_unit_test(test_password_peppers),
        cmocka_unit_test(test_password_hostile),
        cmocka_unit_test(test_password_params),
        cmocka_unit_test(test_password_dummies),
        cmocka_unit_test(test_password_lengths),
        cmocka_unit_test(test_password_rules),
        cmocka_unit_test(test_email_good),
        cmocka_unit_test(test_email_bad)
    };

    return cmocka_run_group_tests(tests, test_setup, NULL);
}
