
/*
 * What a pool thread owns: its database connection, its priority.
 * All functions run on a pool thread.
 */

#ifndef _NGX_OPAY_THREAD_H_INCLUDED_
#define _NGX_OPAY_THREAD_H_INCLUDED_


#include "ngx_opay_core.h"


/* This thread's connection to the database of conf; NULL: out of memory. */
opay_db_t *ngx_opay_thread_db(const opay_db_conf_t *conf);

/* Once per thread: event loop and database threads go first (auth.md 3). */
void ngx_opay_thread_demote(void);

/* Wakes the sidecar when one of the calls has written an event. */
void ngx_opay_thread_notify(int fd, ngx_str_t *path, opay_call_t **calls,
    size_t n);


#endif /* _NGX_OPAY_THREAD_H_INCLUDED_ */
