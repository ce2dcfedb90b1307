
/*
 * Access tokens: each bad token of the corpus is refused for its own reason,
 * while its nearest good twin is accepted.  Here: header, payload, claims.
 */

#include "test_jwt.h"
#include "test_jwt_corpus.h"

#include "../../lib/opay_jwt.c"


static void
test_jwt_accepted(void **state)
{
    char                *payload, head[256];
    opay_uuid_t          u;
    opay_jwt_claims_t    c;

    (void) state;

    payload = test_token("", "");
    assert_int_equal(test_verify(payload, &c), OPAY_JWT_OK);
    free(payload);

    assert_int_equal(c.id.known, 1);
    assert_int_equal(c.id.roles, OPAY_ROLE_BIT_USER);
    assert_int_equal(c.id.expires, TEST_NOW + 300);
    assert_int_equal(c.issued, TEST_NOW);
    assert_string_equal(c.jti, "j-1");
    assert_int_equal(opay_uuid_parse(opay_str_of(TEST_SUB), &u), OPAY_OK);
    assert_memory_equal(&c.id.user, &u, 16);
    assert_int_equal(opay_uuid_parse(opay_str_of(TEST_SID), &u), OPAY_OK);
    assert_memory_equal(&c.id.session, &u, 16);

    payload = test_payload("", "");
    assert_int_equal(test_take(test_compact(test_rsa,
                         test_header(test_rsa, head, sizeof(head)), payload)),
                     OPAY_JWT_OK);
    free(payload);
}


/* Out is written on success only. */
static void
test_jwt_out(void **state)
{
    char               *token;
    opay_jwt_claims_t   c, before;

    (void) state;

    memset(&c, 0x5a, sizeof(c));
    before = c;

    token = test_token("exp", "1799999000");
    assert_int_not_equal(test_verify(token, &c), OPAY_JWT_OK);
    assert_memory_equal(&c, &before, sizeof(c));
    free(token);
}


static void
test_jwt_claims(void **state)
{
    size_t               i;
    const test_claim_t  *t;
    opay_jwt_reason_e    rc;

    (void) state;

    for (i = 0; i < TEST_BAD_CLAIMS; i++) {
        t = &test_bad_claims[i];

        rc = test_take(test_token(t->claim, t->bad));

        if (rc != t->reason) {
            fail_msg("%s: %s", t->n, opay_jwt_reason_name(rc));
        }

        rc = test_take(test_token(t->good ? t->claim : "",
                                  t->good ? t->good : ""));

        if (rc != OPAY_JWT_OK) {
            fail_msg("twin of %s: %s", t->n, opay_jwt_reason_name(rc));
        }
    }
}


/* N62, N71 and the leeway, to the second. */
static void
test_jwt_time(void **state)
{
    char               *token;
    opay_jwt_claims_t   c;

    static const struct {
        int64_t             now;
        opay_jwt_reason_e   rc;
    } at[] = {
        { TEST_NOW - 6, E(NOT_YET) },
        { TEST_NOW - 5, OPAY_JWT_OK },
        { TEST_NOW + 304, OPAY_JWT_OK },
        { TEST_NOW + 305, E(EXPIRED) },
        { TEST_NOW + 86400, E(EXPIRED) },
        { 0, E(NOT_YET) }
    };

    size_t  i;

    (void) state;

    token = test_token("", "");

    for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        assert_int_equal(opay_jwt_verify(test_set, &test_rules,
                                         opay_str_of(token), at[i].now, &c),
                         at[i].rc);
    }

    free(token);
}


/* Payloads that are no plain object (N81 to N90). */
static void
test_jwt_payloads(void **state)
{
    char               *p, big[4096];
    size_t              i, n;
    opay_jwt_reason_e   rc;

    static const struct {
        const char  *n;
        const char  *data;
        size_t       len;
    } raw[] = {
        { "N81a", "[1,2]", 5 },
        { "N81b", "\"x\"", 3 },
        { "N81c", "42", 2 },
        { "N81d", "null", 4 },
        { "N82", "{\"iss\":\"\xff\"}", 11 },
        { "N83", "{\"iss\":\"\xc0\xaf\"}", 12 },
        { "N83s", "{\"iss\":\"\xed\xa0\x80\"}", 13 },
        { "N84", "{\0\"\0i\0\"\0:\0" "1\0}\0", 14 },
        { "N85", "\xef\xbb\xbf{}", 5 },
        { "N86", "{}{}", 4 },
        { "N86b", "{} x", 4 },
        { "N87", "{}\0", 3 },
        { "trunc", "{\"iss\":", 7 },
        { "comma", "{\"a\":1,}", 8 }
    };

    (void) state;

    for (i = 0; i < sizeof(raw) / sizeof(raw[0]); i++) {
        rc = test_take(test_compact_raw(test_key, test_head,
                                        strlen(test_head), raw[i].data,
                                        raw[i].len));

        if (rc != E(JSON)) {
            fail_msg("%s: %s", raw[i].n, opay_jwt_reason_name(rc));
        }
    }

    /* the twin of them all: white space around a good object is fine */

    p = test_payload("", "");
    snprintf(big, sizeof(big), " %s\n", p);
    assert_int_equal(test_take(test_compact(test_key, test_head, big)),
                     OPAY_JWT_OK);

    /* N88: depth 1000 */

    memset(big, '[', 1000);
    memset(big + 1000, ']', 1000);
    big[2000] = '\0';
    assert_int_equal(test_take(test_token("x", big)), E(JSON));

    /* N89: 65 members; 64 are fine */

    n = strlen(p) - 1;
    memcpy(big, p, n);

    for (i = 0; i < 57; i++) {
        n += sprintf(big + n, ",\"m%zu\":1", i);

        if (i == 55 || i == 56) {
            strcpy(big + n, "}");
            assert_int_equal(test_take(test_compact(test_key, test_head,
                                                    big)),
                             i == 55 ? OPAY_JWT_OK : E(JSON));
        }
    }

    free(p);
}


/* N18, N90: accepted up to the cap of the whole token, not beyond. */
static void
test_jwt_sizes(void **state)
{
    char    *token, pad[4200];
    size_t   i, n, most, least;

    (void) state;

    most = 0;
    least = sizeof(pad);

    for (i = 2500; i < 2900; i++) {
        memset(pad, 'a', i);
        pad[0] = '"';
        pad[i] = '"';
        pad[i + 1] = '\0';

        token = test_token("x", pad);
        n = strlen(token);

        if (n <= OPAY_JWT_MAX) {
            most = n > most ? n : most;
            assert_int_equal(test_take(token), OPAY_JWT_OK);

        } else {
            least = n < least ? n : least;
            assert_int_equal(test_take(token), E(SIZE));
        }
    }

    assert_in_range(most, OPAY_JWT_MAX - 2, OPAY_JWT_MAX);
    assert_in_range(least, OPAY_JWT_MAX + 1, OPAY_JWT_MAX + 2);

    memset(pad, 'A', 4097);
    pad[4097] = '\0';
    assert_int_equal(test_verify(pad, NULL), E(SIZE));
    pad[4096] = '\0';
    assert_int_equal(test_verify(pad, NULL), E(FORM));
}


static void
test_jwt_header_cap(void **state)
{
    char    *p, *payload, head[1024];
    size_t   n;

    (void) state;

    payload = test_payload("", "");
    n = strlen(test_head) - 1;

    /* white space up to the cap of 512 is part of a good header */

    memcpy(head, test_head, n);
    memset(head + n, ' ', sizeof(head) - n);
    head[511] = '}';
    head[512] = '\0';
    assert_int_equal(test_take(test_compact(test_key, head, payload)),
                     OPAY_JWT_OK);

    head[511] = ' ';
    head[512] = '}';
    head[513] = '\0';
    p = test_compact(test_key, head, payload);
    assert_int_equal(test_take(p), E(SIZE));

    free(payload);
}


typedef struct {
    const char         *n;
    const char         *header;        /* %s: kid of test_key */
    opay_jwt_reason_e   reason;
} test_header_t;

static const test_header_t  test_bad_headers[] = {
    { "N25", "{\"alg\":\"none\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}", E(ALG) },
    { "N26a", "{\"alg\":\"None\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N26b", "{\"alg\":\"NONE\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N27", "{\"kid\":\"%s\",\"typ\":\"at+jwt\"}", E(HEADER) },
    { "N28a", "{\"alg\":null,\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(HEADER) },
    { "N28b", "{\"alg\":1,\"kid\":\"%s\",\"typ\":\"at+jwt\"}", E(HEADER) },
    { "N28c", "{\"alg\":[\"ES256\"],\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(HEADER) },
    { "N28d", "{\"alg\":{},\"kid\":\"%s\",\"typ\":\"at+jwt\"}", E(HEADER) },
    { "N29", "{\"alg\":\"es256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N30", "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N36", "{\"alg\":\"ES384\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N37", "{\"alg\":\"PS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N52", "{\"alg\":\"RS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N40", "{\"alg\":\"XX999\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
      E(ALG) },
    { "N41", "{\"alg\":\"dir\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}", E(ALG) },
    { "N39a", "{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"%s\","
      "\"typ\":\"at+jwt\"}", E(JSON) },
    { "N39b", "{\"alg\":\"ES256\",\"alg\":\"none\",\"kid\":\"%s\","
      "\"typ\":\"at+jwt\"}", E(JSON) },
    { "N39c", "{\"alg\":\"ES256\",\"\\u0061lg\":\"none\",\"kid\":\"%s\","
      "\"typ\":\"at+jwt\"}", E(JSON) },
    { "N42", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"jwk\":{\"kty\":\"EC\"}}", E(HEADER) },
    { "N43", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"jku\":\"https://evil.test/\"}", E(HEADER) },
    { "N44", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"x5u\":\"https://evil.test/\"}", E(HEADER) },
    { "N45", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"x5c\":[\"AA==\"]}", E(HEADER) },
    { "N54", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"crit\":[\"x\"]}", E(HEADER) },
    { "N55", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"crit\":[]}", E(HEADER) },
    { "N56", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"crit\":[\"b64\"],\"b64\":false}", E(HEADER) },
    { "N57", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"at+jwt\","
      "\"zip\":\"DEF\"}", E(HEADER) },
    { "N58a", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"refresh+jwt\"}",
      E(TYP) },
    { "N58b", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", E(TYP) },
    { "N58c", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"AT+JWT\"}",
      E(TYP) },
    { "N58d", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":"
      "\"application/at+jwt\"}", E(TYP) },
    { "N58e", "{\"alg\":\"ES256\",\"kid\":\"%s\"}", E(HEADER) },
    { "N58f", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":null}", E(HEADER) },
    { "N60", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"kid\":\"%s\","
      "\"typ\":\"at+jwt\"}", E(JSON) },
    { "N59a", "[\"alg\",\"ES256\",\"%s\"]", E(JSON) },
    { "N59b", "\"%s\"", E(JSON) },
    { "N46", "{\"alg\":\"ES256\",\"kid\":\"../../dev/null\","
      "\"typ\":\"at+jwt\"}", E(KID) },
    { "N47", "{\"alg\":\"ES256\",\"kid\":\"' OR 1=1--\","
      "\"typ\":\"at+jwt\"}", E(KID) },
    { "N48", "{\"alg\":\"ES256\",\"kid\":\"https://evil.test/k\","
      "\"typ\":\"at+jwt\"}", E(KID) },
    { "N50a", "{\"alg\":\"ES256\",\"kid\":1,\"typ\":\"at+jwt\"}",
      E(HEADER) },
    { "N50b", "{\"alg\":\"ES256\",\"kid\":{},\"typ\":\"at+jwt\"}",
      E(HEADER) },
    { "N51", "{\"alg\":\"ES256\",\"kid\":"
      "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
      "\"typ\":\"at+jwt\"}", E(KID) },
    { "kid0", "{\"alg\":\"ES256\",\"kid\":\"\",\"typ\":\"at+jwt\"}",
      E(KID) },
    { "nokid", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", E(HEADER) },
    { "deep", "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":"
      "[[[[[[[[1]]]]]]]]}", E(JSON) }
};


static void
test_jwt_headers(void **state)
{
    char                  kid[OPAY_JWK_KID_LEN + 1], head[512], *payload;
    size_t                i;
    const test_header_t  *t;
    opay_jwt_reason_e     rc;

    (void) state;

    payload = test_payload("", "");
    assert_int_equal(opay_jwk_thumbprint(test_key, kid), OPAY_OK);

    for (i = 0; i < sizeof(test_bad_headers) / sizeof(test_header_t); i++) {
        t = &test_bad_headers[i];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(head, sizeof(head), t->header, kid, kid);
#pragma GCC diagnostic pop

        rc = test_take(test_compact(test_key, head, payload));

        if (rc != t->reason) {
            fail_msg("%s: %s", t->n, opay_jwt_reason_name(rc));
        }
    }

    /* the twin: members in another order, white space, escapes */

    snprintf(head, sizeof(head),
             "{ \"typ\" : \"at\\u002bjwt\", \"kid\":\"%s\", "
             "\"a\\u006cg\":\"ES256\" }", kid);
    assert_int_equal(test_take(test_compact(test_key, head, payload)),
                     OPAY_JWT_OK);

    free(payload);
}


static void
test_jwt_reasons(void **state)
{
    int  i, k;

    (void) state;

    for (i = 0; i < OPAY_JWT_E_MAX; i++) {
        assert_non_null(opay_jwt_reason_name(i));

        for (k = 0; k < i; k++) {
            assert_string_not_equal(opay_jwt_reason_name(i),
                                    opay_jwt_reason_name(k));
        }
    }

    assert_string_equal(opay_jwt_reason_name(OPAY_JWT_E_EXPIRED), "expired");
    assert_string_equal(opay_jwt_reason_name(OPAY_JWT_E_INTERNAL),
                        "internal");
    assert_string_equal(opay_jwt_reason_name(OPAY_JWT_E_MAX), "unknown");
}


/* Nothing is left in OpenSSL's queue, which nginx would log as its own. */
static void
test_jwt_error_queue(void **state)
{
    char  *t, *dot2;

    (void) state;

    t = test_token("", "");
    dot2 = strrchr(t, '.');
    dot2[5] = dot2[5] == 'A' ? 'B' : 'A';
    (void) test_take(t);

    /* r = s = 0 makes OpenSSL push an error */

    t = test_token("", "");
    memset(strrchr(t, '.') + 1, 'A', 86);
    assert_int_equal(test_take(t), E(SIGNATURE));

    assert_int_equal(ERR_peek_error(), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jwt_accepted),
        cmocka_unit_test(test_jwt_out),
        cmocka_unit_test(test_jwt_claims),
        cmocka_unit_test(test_jwt_time),
        cmocka_unit_test(test_jwt_payloads),
        cmocka_unit_test(test_jwt_sizes),
        cmocka_unit_test(test_jwt_header_cap),
        cmocka_unit_test(test_jwt_headers),
        cmocka_unit_test(test_jwt_reasons),
        cmocka_unit_test(test_jwt_error_queue)
    };

    return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
