
/*
 * Who is calling, on the event loop of the gateway and of services alike.
 */

#ifndef _NGX_OPAY_IDENTITY_H_INCLUDED_
#define _NGX_OPAY_IDENTITY_H_INCLUDED_


#include "ngx_opay_core.h"


typedef enum {
    NGX_OPAY_ID_OK = 0,
    NGX_OPAY_ID_NONE,              /* no Authorization header */
    NGX_OPAY_ID_BAD,               /* there, and not acceptable */
    NGX_OPAY_ID_NOKEYS             /* opay_jwt_jwks is not configured */
} ngx_opay_id_rc_e;


/*
 * Verifies the access token of r->main once; the answer is kept in the
 * request.  reason (may be NULL) gets a static name for logs and metrics.
 */
ngx_opay_id_rc_e ngx_opay_identity_get(ngx_http_request_t *r,
    opay_identity_t *id, const char **reason);

/*
 * The mTLS caller: the <name> of its one URI SAN spiffe://opay/<name>, in
 * r->pool.  NGX_DECLINED: no verified client certificate, or another SAN.
 */
ngx_int_t ngx_opay_identity_peer(ngx_http_request_t *r, ngx_str_t *name);


#endif /* _NGX_OPAY_IDENTITY_H_INCLUDED_ */
