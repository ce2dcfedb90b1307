
/*
 * What is minted verifies, and what we accept libjwt accepts too.
 */

#include "test_jwt.h"
#include "test_jwt_corpus.h"

#include <jwt.h>

#include "../../lib/opay_jwt_mint.c"


static void
test_mint_claims(opay_jwt_claims_t *c)
{
    memset(c, 0, sizeof(*c));
    opay_uuid_parse(opay_str_of(TEST_SUB), &c->id.user);
    opay_uuid_parse(opay_str_of(TEST_SID), &c->id.session);
    c->id.known = 1;
    c->id.roles = OPAY_ROLE_BIT_USER | OPAY_ROLE_BIT_ADMIN;
    c->id.expires = TEST_NOW + 300;
    c->issued = TEST_NOW;
    strcpy(c->jti, "0190-x");
}


static void
test_jwt_mint(void **state)
{
    char                token[2048], head[512];
    size_t              len, n;
    opay_str_t          part;
    opay_jwt_claims_t   c, out;

    (void) state;

    test_mint_claims(&c);
    assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, token,
                                   sizeof(token), &len), OPAY_OK);
    assert_int_equal(len, strlen(token));
    assert_int_equal(test_verify(token, &out), OPAY_JWT_OK);
    assert_memory_equal(&c.id.user, &out.id.user, 16);
    assert_memory_equal(&c.id.session, &out.id.session, 16);
    assert_int_equal(out.id.roles, c.id.roles);
    assert_int_equal(out.id.expires, c.id.expires);
    assert_int_equal(out.issued, c.issued);
    assert_string_equal(out.jti, c.jti);

    /* the header, to the byte */

    part.data = token;
    part.len = strchr(token, '.') - token;
    assert_int_equal(opay_b64url_decode(part, (uint8_t *) head,
                                        sizeof(head) - 1, &n), OPAY_OK);
    head[n] = '\0';
    assert_string_equal(head, test_head);

    /* room to the byte */

    assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, token, len + 1,
                                   &n), OPAY_OK);
    assert_int_equal(n, len);

    for (n = 0; n <= len; n++) {
        char    *small = malloc(n ? n : 1);
        size_t   x;

        assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, small, n,
                                       &x), OPAY_ERROR);
        free(small);
    }
}


static void
test_jwt_mint_refuses(void **state)
{
    char                token[2048];
    size_t              len;
    opay_jwt_claims_t   c;
    opay_jwt_policy_t   p;

    (void) state;

    test_mint_claims(&c);
    c.id.roles = 0;
    assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, token,
                                   sizeof(token), &len), OPAY_ERROR);

    test_mint_claims(&c);
    c.id.expires = c.issued;
    assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, token,
                                   sizeof(token), &len), OPAY_ERROR);

    test_mint_claims(&c);
    c.jti[0] = '\0';
    assert_int_equal(opay_jwt_mint(test_own, &test_rules, &c, token,
                                   sizeof(token), &len), OPAY_ERROR);

    test_mint_claims(&c);
    p = test_rules;
    p.issuer.len = 0;
    assert_int_equal(opay_jwt_mint(test_own, &p, &c, token, sizeof(token),
                                   &len), OPAY_ERROR);
}


/*
 * libjwt as a second opinion.  It knows no other type than "JWT", so it gets
 * a twin that differs in typ only, signed by the same key.
 */
static int
test_libjwt_accepts(const char *payload)
{
    int        rc;
    BIO       *bio;
    char      *token, *pem, head[256], kid[OPAY_JWK_KID_LEN + 1];
    long       n;
    jwt_t     *jwt;

    opay_jwk_thumbprint(test_key, kid);
    snprintf(head, sizeof(head),
             "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", kid);
    token = test_compact(test_key, head, payload);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, test_key);
    n = BIO_get_mem_data(bio, &pem);

    jwt = NULL;
    rc = jwt_decode(&jwt, token, (unsigned char *) pem, n);

    if (rc == 0) {
        assert_int_equal(jwt_get_alg(jwt), JWT_ALG_ES256);
        jwt_free(jwt);
    }

    BIO_free(bio);
    free(token);

    return rc == 0;
}


static void
test_jwt_oracle(void **state)
{
    char                *p;
    size_t               i, k, agreed, stricter;
    const char          *value;
    const test_claim_t  *t;

    (void) state;

    agreed = 0;
    stricter = 0;

    for (i = 0; i < TEST_BAD_CLAIMS; i++) {
        t = &test_bad_claims[i];

        for (k = 0; k < 2; k++) {
            value = k ? t->good ? t->good : "" : t->bad;
            p = test_payload(k && t->good == NULL ? "" : t->claim, value);

            if (test_take(test_compact(test_key, test_head, p))
                == OPAY_JWT_OK)
            {
                assert_true(test_libjwt_accepts(p));
                agreed++;

            } else if (test_libjwt_accepts(p)) {
                stricter++;
            }

            free(p);
        }
    }

    /* both happened: the comparison compared something */

    assert_true(agreed >= 60);
    assert_true(stricter >= 30);
}


/* What libjwt itself mints is refused by us for its type and nothing else. */
static void
test_jwt_libjwt_minted(void **state)
{
    char   *pem, *token, kid[OPAY_JWK_KID_LEN + 1];
    jwt_t  *jwt;

    (void) state;

    pem = test_pem(test_key);
    opay_jwk_thumbprint(test_key, kid);

    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_set_alg(jwt, JWT_ALG_ES256, (unsigned char *) pem,
                                 strlen(pem)), 0);
    assert_int_equal(jwt_add_header(jwt, "typ", "at+jwt"), 0);
    assert_int_equal(jwt_add_header(jwt, "kid", kid), 0);
    assert_int_equal(jwt_add_grant(jwt, "iss", "https://opay.internal"), 0);
    token = jwt_encode_str(jwt);
    assert_non_null(token);

    /* when this fails, libjwt has learned to keep typ: see opay_jwt_mint.c */

    assert_int_equal(test_verify(token, NULL), E(TYP));

    free(token);
    free(pem);
    jwt_free(jwt);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jwt_mint),
        cmocka_unit_test(test_jwt_mint_refuses),
        cmocka_unit_test(test_jwt_oracle),
        cmocka_unit_test(test_jwt_libjwt_minted)
    };

    return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
