
/* All that differs between nginx versions, and nothing else. */

#ifndef _NGX_OPAY_COMPAT_H_INCLUDED_
#define _NGX_OPAY_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* 1.23.0: headers of one name are linked */

#if (nginx_version >= 1023000)
#define ngx_opay_table_elt_last(h)  (h)->next = NULL
#else
#define ngx_opay_table_elt_last(h)
#endif


#endif /* _NGX_OPAY_COMPAT_H_INCLUDED_ */
