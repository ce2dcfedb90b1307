
/*
 * opay_spiffe: who a certificate belongs to, by its URI SAN.
 */

#ifndef OPAY_SPIFFE_H_INCLUDED
#define OPAY_SPIFFE_H_INCLUDED

#include <openssl/x509.h>

#include "opay_base.h"


#define OPAY_SPIFFE_PREFIX    "spiffe://opay/"
#define OPAY_SPIFFE_NAME_MAX  63


/*
 * The <name> of spiffe://opay/<name>: lower-case letters, digits and "-",
 * NUL-terminated.  OPAY_ERROR unless the certificate has exactly one URI SAN
 * (RFC 9525, SPIFFE X.509-SVID) and it is of that form.  The certificate must
 * have been verified before.
 */
int opay_spiffe_name(X509 *cert, char name[OPAY_SPIFFE_NAME_MAX + 1]);

/* The same for the text of one URI. */
int opay_spiffe_parse(opay_str_t uri, char name[OPAY_SPIFFE_NAME_MAX + 1]);


#endif /* OPAY_SPIFFE_H_INCLUDED */
