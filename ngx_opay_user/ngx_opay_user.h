
/*
 * What the files of the user service share.
 */

#ifndef _NGX_OPAY_USER_H_INCLUDED_
#define _NGX_OPAY_USER_H_INCLUDED_


#include "ngx_opay_core.h"


/* Strings are in a call's arena; data NULL: not known. */
typedef struct {
    opay_uuid_t   id;
    opay_str_t    email;
    opay_str_t    name;
    opay_str_t    phone;
    opay_str_t    address;
    unsigned      roles;
    opay_str_t    status;
    int64_t       version;
    int64_t       event_version;
    int64_t       created;
    int64_t       updated;
} ngx_opay_user_profile_t;


/* ngx_opay_user_ops.c */

void ngx_opay_user_get_decode(opay_call_t *call);
void ngx_opay_user_put_decode(opay_call_t *call);

opay_db_rc_t ngx_opay_user_get(opay_db_t *db, opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_user_first_sight(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_user_put(opay_db_t *db, opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_user_events(opay_db_t *db, opay_call_t **calls,
    size_t n);


/* ngx_opay_user_store.c: SQL.  Pool thread. */

/* Profiles of n ids, in any order; *found of them. */
opay_db_rc_t ngx_opay_user_find(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, ngx_opay_user_profile_t *out,
    size_t *found);

/* The same for one, with its row locked. */
opay_db_rc_t ngx_opay_user_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_user_profile_t *out, unsigned *found);

/* Does nothing when the id is there already. */
opay_db_rc_t ngx_opay_user_insert(opay_db_t *db,
    const ngx_opay_user_profile_t *p);

/* All columns but id and created; the row is locked. */
opay_db_rc_t ngx_opay_user_update(opay_db_t *db,
    const ngx_opay_user_profile_t *p);


#endif /* _NGX_OPAY_USER_H_INCLUDED_ */
