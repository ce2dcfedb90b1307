
/*
 * What the files of the auth service share.
 */

#ifndef _NGX_OPAY_AUTH_H_INCLUDED_
#define _NGX_OPAY_AUTH_H_INCLUDED_


#include "ngx_opay_core.h"

#include "opay_json.h"
#include "opay_jwt.h"
#include "opay_password.h"
#include "opay_token.h"


/* Immutable after configuration; opay_call_t.conf of every call. */
typedef struct {
    ngx_str_t                 signing_key;     /* PEM file */
    ngx_str_t                 jwks_file;
    ngx_str_t                 refresh_key;     /* file */
    ngx_str_t                 pepper;          /* file */
    ngx_str_t                 admin_email;
    ngx_str_t                 admin_password;  /* file */

    time_t                    access_ttl;
    time_t                    refresh_ttl;     /* idle */
    time_t                    session_ttl;     /* absolute */
    ngx_msec_t                grace;

    ngx_uint_t                enabled;
    opay_jwk_own_t           *key;
    const opay_jwt_policy_t  *policy;
    opay_token_keys_t         tokens;
    opay_password_peppers_t   peppers;
    opay_password_params_t    argon2;
    char                      dummy[OPAY_PASSWORD_PHC_MAX];
    opay_str_t                jwks;            /* served as it is */
    opay_str_t                admin_secret;
} ngx_opay_auth_conf_t;


/* A row of users, as far as it is needed. */
typedef struct {
    opay_uuid_t               id;
    char                      email[OPAY_EMAIL_MAX + 1];
    char                      phc[OPAY_PASSWORD_PHC_MAX];
    unsigned                  roles;
    unsigned                  active;
    int64_t                   epoch;
} ngx_opay_auth_user_t;


typedef struct {
    opay_uuid_t               sid;
    opay_uuid_t               user;
    int64_t                   gen;
    uint8_t                   cur[32];
    uint8_t                   prev[32];
    unsigned                  has_prev;
    int64_t                   rotated;
    unsigned                  usable;   /* neither revoked nor expired */
    unsigned                  revoked;
    unsigned                  roles;    /* the user's, now */
    int64_t                   now;      /* the database's clock, ms */
} ngx_opay_auth_session_t;


/* What decode makes of a request, and what steps hand to each other. */
typedef struct {
    opay_str_t               email;
    opay_str_t               password;
    opay_str_t               name;
    opay_str_t               phone;
    opay_str_t               address;
    opay_str_t               refresh;

    ngx_opay_auth_user_t     user;
    unsigned                 found;
    char                     rehash[OPAY_PASSWORD_PHC_MAX];

    ngx_opay_auth_session_t  session;
    opay_token_t             token;       /* the one presented */
    opay_token_t             next;        /* the one to hand out */
} ngx_opay_auth_cmd_t;


/* ngx_opay_auth_ops.c */

/* Unpacks the body; NULL: the outcome is set. */
ngx_opay_auth_cmd_t *ngx_opay_auth_cmd(opay_call_t *call,
    const opay_json_field_t *fields);

void ngx_opay_auth_signup_decode(opay_call_t *call);
void ngx_opay_auth_login_decode(opay_call_t *call);
void ngx_opay_auth_jwks(opay_call_t *call);
void ngx_opay_auth_admin_make(opay_call_t *call);

opay_db_rc_t ngx_opay_auth_hash(opay_db_t *db, opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_auth_signup(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_auth_find(opay_db_t *db, opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_auth_verify(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_auth_login(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_auth_admin_find(opay_db_t *db, opay_call_t **calls,
    size_t n);


/* ngx_opay_auth_session.c */

void ngx_opay_auth_refresh_decode(opay_call_t *call);

opay_db_rc_t ngx_opay_auth_rotate(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_auth_mint(opay_db_t *db, opay_call_t **calls, size_t n);
opay_db_rc_t ngx_opay_auth_logout(opay_db_t *db, opay_call_t **calls,
    size_t n);


/*
 * ngx_opay_auth_store.c: SQL.  Pool thread.
 */

/* *found tells whether there is one. */
opay_db_rc_t ngx_opay_auth_user_find(opay_db_t *db, opay_arena_t *a,
    opay_str_t email, ngx_opay_auth_user_t *user, unsigned *found);

/* OPAY_DB_DUP: the address is taken. */
opay_db_rc_t ngx_opay_auth_user_insert(opay_db_t *db,
    const ngx_opay_auth_user_t *user, int64_t now);

opay_db_rc_t ngx_opay_auth_user_password(opay_db_t *db,
    const opay_uuid_t *id, const char *old_phc, const char *phc);

/* ttl in ms */
opay_db_rc_t ngx_opay_auth_session_insert(opay_db_t *db,
    const ngx_opay_auth_session_t *s, int64_t epoch, int64_t idle_ttl,
    int64_t abs_ttl, opay_str_t device);

/*
 * The one conditional UPDATE that rotates: generation gen with hash cur
 * becomes gen + 1 with hash next.  *rotated: it was so.
 */
opay_db_rc_t ngx_opay_auth_session_rotate(opay_db_t *db,
    const opay_uuid_t *sid, int64_t gen, const uint8_t *cur,
    const uint8_t *next, int64_t idle_ttl, unsigned *rotated);

opay_db_rc_t ngx_opay_auth_session_get(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *sid, ngx_opay_auth_session_t *s, unsigned *found);

/* *revoked: it was live until now. */
opay_db_rc_t ngx_opay_auth_session_revoke(opay_db_t *db,
    const opay_uuid_t *sid, const char *reason, unsigned *revoked);


/*
 * ngx_opay_auth_flight.c: refreshes under way in this process, by session.
 * Two that overlap in time are one client asking twice, not a thief: the
 * second gets the same successor.  Any thread; a mutex guards the table.
 */

/* Event loop, when the body is complete; leaves when the arena dies. */
int ngx_opay_auth_flight_enter(opay_call_t *call, const opay_uuid_t *sid);

/* Did another refresh of this session overlap with this one? */
unsigned ngx_opay_auth_flight_overlapped(const opay_uuid_t *sid);


#endif /* _NGX_OPAY_AUTH_H_INCLUDED_ */
