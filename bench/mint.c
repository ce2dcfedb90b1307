
/*
 * opay-bench-mint KEY.pem ISSUER AUDIENCE N SECONDS
 *
 * Prints N access tokens, each of a user of its own.
 */

#include <stdlib.h>
#include <string.h>

#include "bench.h"

#include "opay_base.h"
#include "opay_jwt.h"


int
main(int argc, char **argv)
{
    int                 i, n;
    char                pem[4096], err[256], token[OPAY_JWT_MAX];
    FILE               *f;
    size_t              len;
    opay_jwk_own_t     *own;
    opay_jwt_claims_t   claims;
    opay_jwt_policy_t   policy;

    if (argc != 6) {
        bench_die("usage: %s KEY.pem ISSUER AUDIENCE N SECONDS", argv[0]);
    }

    f = fopen(argv[1], "r");
    if (f == NULL) {
        bench_die("cannot read %s", argv[1]);
    }

    len = fread(pem, 1, sizeof(pem), f);
    fclose(f);

    own = opay_jwk_own_parse((opay_str_t) { len, pem }, err, sizeof(err));
    if (own == NULL) {
        bench_die("%s: %s", argv[1], err);
    }

    memset(&policy, 0, sizeof(policy));
    policy.issuer = opay_str_of(argv[2]);
    policy.audience = opay_str_of(argv[3]);

    n = atoi(argv[4]);

    for (i = 0; i < n; i++) {

        memset(&claims, 0, sizeof(claims));
        claims.issued = opay_now_ms() / 1000;
        claims.id.known = 1;
        claims.id.roles = OPAY_ROLE_BIT_USER;
        claims.id.expires = claims.issued + atoi(argv[5]);
        snprintf(claims.jti, sizeof(claims.jti), "bench-%d", i);

        if (opay_uuid_v7(&claims.id.user) != OPAY_OK
            || opay_uuid_v7(&claims.id.session) != OPAY_OK
            || opay_jwt_mint(own, &policy, &claims, token, sizeof(token),
                             &len)
               != OPAY_OK)
        {
            bench_die("cannot mint a token");
        }

        puts(token);
    }

    opay_jwk_own_destroy(own);

    return 0;
}
