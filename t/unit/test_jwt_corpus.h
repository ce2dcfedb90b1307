
/*
 * Bad claims, each with its nearest good twin.  Nxx: number in the corpus of
 * tokens that a gateway must refuse.
 */

#ifndef TEST_JWT_CORPUS_H_INCLUDED
#define TEST_JWT_CORPUS_H_INCLUDED

#include "opay_jwt.h"


typedef struct {
    const char         *n;
    const char         *claim;
    const char         *bad;           /* "": left out */
    const char         *good;          /* NULL: as in test_claims */
    opay_jwt_reason_e   reason;
} test_claim_t;

#define E(x)  OPAY_JWT_E_##x

static const test_claim_t  test_bad_claims[] = {
    { "N61", "exp", "", NULL, E(CLAIM) },
    { "N63", "exp", "\"1800000300\"", NULL, E(CLAIM) },
    { "N64a", "exp", "1800000300.0", NULL, E(CLAIM) },
    { "N64b", "exp", "1.8e9", NULL, E(CLAIM) },
    { "N64c", "exp", "1e999", NULL, E(JSON) },
    { "N65", "exp", "-1", NULL, E(CLAIM) },
    { "N66", "exp", "0", NULL, E(CLAIM) },
    { "N67a", "exp", "9223372036854775807", NULL, E(CLAIM) },
    { "N67b", "exp", "9223372036854775808", NULL, E(JSON) },
    { "N67c", "exp", "18446744073709551616", NULL, E(JSON) },
    { "N67d", "exp", "9007199254740992", NULL, E(CLAIM) },
    { "N68a", "exp", "null", NULL, E(CLAIM) },
    { "N68b", "exp", "true", NULL, E(CLAIM) },
    { "N68c", "exp", "[1800000300]", NULL, E(CLAIM) },
    { "N69", "nbf", "1800000006", "1800000005", E(NOT_YET) },
    { "N70", "nbf", "\"1800000000\"", "1800000000", E(CLAIM) },
    { "N71", "iat", "1800000006", "1800000005", E(NOT_YET) },
    { "N71b", "iat", "", NULL, E(CLAIM) },
    { "N71c", "iat", "1800000000.5", NULL, E(CLAIM) },
    { "N71d", "iat", "\"1800000000\"", NULL, E(CLAIM) },
    { "N72a", "exp", "1800000301", "1800000300", E(LIFETIME) },
    { "N72b", "iat", "1799999999", NULL, E(LIFETIME) },
    { "N72c", "exp", "1800000000", "1800000001", E(LIFETIME) },
    { "N74a", "iss", "", NULL, E(ISS) },
    { "N74b", "iss", "\"https://opay.internal/\"", NULL, E(ISS) },
    { "N74c", "iss", "\"https://OPAY.internal\"", NULL, E(ISS) },
    { "N74d", "iss", "[\"https://opay.internal\"]", NULL, E(ISS) },
    { "N74e", "iss", "\"\"", NULL, E(ISS) },
    { "N75a", "aud", "", NULL, E(AUD) },
    { "N75b", "aud", "\"opa\"", NULL, E(AUD) },
    { "N75c", "aud", "\"opay2\"", NULL, E(AUD) },
    { "N75d", "aud", "[]", "[\"opay\"]", E(AUD) },
    { "N75e", "aud", "[1,\"opay\"]", "[\"x\",\"opay\"]", E(AUD) },
    { "N75f", "aud", "[\"x\"]", NULL, E(AUD) },
    { "N75i", "aud", "[\"opa\",\"opayx\"]", NULL, E(AUD) },
    { "N75g", "aud", "[\"opay\",[\"opay\"]]", NULL, E(AUD) },
    { "N75h", "aud", "{\"opay\":1}", NULL, E(AUD) },
    { "N80", "aud", "\"opay-staging\"", NULL, E(AUD) },
    { "N76a", "sub", "", NULL, E(SUB) },
    { "N76b", "sub", "\"\"", NULL, E(SUB) },
    { "N76c", "sub", "42", NULL, E(SUB) },
    { "N76d", "sub", "\"" TEST_SUB "0\"", NULL, E(SUB) },
    { "N76e", "sub", "\"01890a5dac96774bbcceb302099a8057\"", NULL, E(SUB) },
    { "N77a", "sub", "\"01890a5d-ac96-774b-bcce-b302099a80\\r\\n\"", NULL,
      E(SUB) },
    { "N77b", "jti", "\"a\\r\\nb\"", "\"a-b\"", E(CLAIM) },
    { "N77c", "jti", "\"a\\u0000b\"", NULL, E(JSON) },
    { "N77d", "jti", "\"a\\u202eb\"", NULL, E(CLAIM) },
    { "N77e", "jti", "\"a\\u007fb\"", NULL, E(CLAIM) },
    { "N77f", "jti", "\"a b\"", NULL, E(CLAIM) },
    { "jti0", "jti", "", NULL, E(CLAIM) },
    { "jti1", "jti", "\"\"", NULL, E(CLAIM) },
    { "jti65", "jti",
      "\"01234567890123456789012345678901234567890123456789012345678901234\"",
      "\"0123456789012345678901234567890123456789012345678901234567890123\"",
      E(CLAIM) },
    { "sid0", "sid", "", NULL, E(CLAIM) },
    { "sid1", "sid", "7", NULL, E(CLAIM) },
    { "N78a", "roles", "", NULL, E(ROLES) },
    { "N78b", "roles", "\"USER\"", NULL, E(ROLES) },
    { "N78c", "roles", "[[\"USER\"]]", NULL, E(ROLES) },
    { "N78d", "roles", "[1]", NULL, E(ROLES) },
    { "N78e", "roles", "[\"user\"]", NULL, E(ROLES) },
    { "N78f", "roles", "[\"ROLE_ADMIN\"]", "[\"ADMIN\"]", E(ROLES) },
    { "N78g", "roles", "[\"ADMIN \"]", NULL, E(ROLES) },
    { "N78h", "roles", "[\"USER\",\"USER\"]", "[\"USER\",\"ADMIN\"]",
      E(ROLES) },
    { "N78i", "roles", "[\"USER,ADMIN\"]", NULL, E(ROLES) },
    { "N78j", "roles", "[]", NULL, E(ROLES) },
    { "N78k", "roles", "{\"USER\":1}", NULL, E(ROLES) },
    { "N73a", "exp", "1800000300,\"exp\":1800000299", NULL, E(JSON) },
    { "N73b", "exp", "1,\"exp\":1800000300", NULL, E(JSON) },
    { "N73c", "exp", "1800000300,\"\\u0065xp\":1800000300", NULL, E(JSON) },
    { "deep9", "x", "[[[[[[[[1]]]]]]]]", "[[[[[[[1]]]]]]]", E(JSON) },
    { "extra", "x", "tru", "{\"any\":[\"[[[[[[[[[[\"]}", E(JSON) }
};

#define TEST_BAD_CLAIMS  (sizeof(test_bad_claims) / sizeof(test_claim_t))


#endif /* TEST_JWT_CORPUS_H_INCLUDED */
