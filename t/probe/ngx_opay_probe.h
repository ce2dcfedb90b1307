
/* What the files of the probe share. */

#ifndef _NGX_OPAY_PROBE_H_INCLUDED_
#define _NGX_OPAY_PROBE_H_INCLUDED_


#include "ngx_opay_core.h"


/* ngx_opay_probe_http.c */
void ngx_opay_probe_http(opay_call_t *call);


#endif /* _NGX_OPAY_PROBE_H_INCLUDED_ */
