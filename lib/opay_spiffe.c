
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "opay_spiffe.h"


int
opay_spiffe_parse(opay_str_t uri, char name[OPAY_SPIFFE_NAME_MAX + 1])
{
    size_t       i, n, prefix;
    const char  *p;

    prefix = sizeof(OPAY_SPIFFE_PREFIX) - 1;

    if (uri.len <= prefix
        || memcmp(uri.data, OPAY_SPIFFE_PREFIX, prefix) != 0)
    {
        return OPAY_ERROR;
    }

    p = uri.data + prefix;
    n = uri.len - prefix;

    if (n > OPAY_SPIFFE_NAME_MAX) {
        return OPAY_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9')
              || p[i] == '-'))
        {
            return OPAY_ERROR;
        }
    }

    memcpy(name, p, n);
    name[n] = '\0';

    return OPAY_OK;
}


int
opay_spiffe_name(X509 *cert, char name[OPAY_SPIFFE_NAME_MAX + 1])
{
    int              i, n, crit, uris;
    opay_str_t       uri;
    GENERAL_NAME    *gn;
    GENERAL_NAMES   *names;
    ASN1_IA5STRING  *ia5;

    /* NULL also for a second SAN extension (crit is -2 then) */

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, &crit, NULL);

    if (names == NULL) {
        ERR_clear_error();
        return OPAY_ERROR;
    }

    uri.len = 0;
    uri.data = NULL;
    uris = 0;
    n = sk_GENERAL_NAME_num(names);

    for (i = 0; i < n; i++) {
        gn = sk_GENERAL_NAME_value(names, i);

        if (gn->type != GEN_URI) {
            continue;
        }

        ia5 = gn->d.uniformResourceIdentifier;
        uri.data = (const char *) ASN1_STRING_get0_data(ia5);
        uri.len = ASN1_STRING_length(ia5);
        uris++;
    }

    i = uris == 1 ? opay_spiffe_parse(uri, name) : OPAY_ERROR;

    GENERAL_NAMES_free(names);

    return i;
}
