
/*
 * opay_password: argon2id with a pepper, the password policy, e-mail form.
 *
 * DESIGN
 *
 * Pure functions.  Hash and verify take tens of milliseconds and m_kib of
 * memory: only from a thread of the hash pool.
 *
 * Stored form (PHC): $argon2id$v=19$m=19456,t=2,p=1,keyid=AQ$<salt>$<hash>
 * in standard base64 without padding.  keyid is the one-byte pepper kid; what
 * argon2 sees is HMAC-SHA256(pepper[kid], password).  A row without keyid is
 * refused, as is one whose parameters are above the ceiling, so that a
 * hostile row cannot exhaust memory or time.
 */

#ifndef OPAY_PASSWORD_H_INCLUDED
#define OPAY_PASSWORD_H_INCLUDED

#include "opay_base.h"


#define OPAY_PASSWORD_PHC_MAX     160  /* with NUL */
#define OPAY_PASSWORD_MIN         8    /* code points */
#define OPAY_PASSWORD_MAX         128
#define OPAY_PASSWORD_BYTES_MAX   512
#define OPAY_PASSWORD_PEPPERS     2

/* Ceiling for stored and configured parameters alike. */
#define OPAY_PASSWORD_M_MAX       65536
#define OPAY_PASSWORD_T_MAX       10
#define OPAY_PASSWORD_P_MAX       4

#define OPAY_EMAIL_MAX            254


typedef struct {
    uint32_t  m_kib;                   /* 19456 */
    uint32_t  t;                       /* 2 */
    uint32_t  p;                       /* 1 */
} opay_password_params_t;


typedef struct {
    struct {
        uint8_t  kid;                  /* 1 to 255 */
        uint8_t  key[32];
    } pepper[OPAY_PASSWORD_PEPPERS];
    unsigned  n;                       /* pepper[0] is used for new hashes */
} opay_password_peppers_t;


typedef enum {
    OPAY_PASSWORD_OK = 0,
    OPAY_PASSWORD_TOO_SHORT,
    OPAY_PASSWORD_TOO_LONG,
    OPAY_PASSWORD_ENCODING,            /* not UTF-8, or with NUL */
    OPAY_PASSWORD_COMMON,
    OPAY_PASSWORD_LIKE_EMAIL           /* the address or its local part */
} opay_password_policy_e;


typedef enum {
    OPAY_PASSWORD_MATCH = 0,
    OPAY_PASSWORD_MISMATCH,
    OPAY_PASSWORD_BAD_PHC,             /* malformed, over the ceiling, kid */
    OPAY_PASSWORD_FAILED               /* out of memory */
} opay_password_verdict_e;


typedef enum {
    OPAY_EMAIL_OK = 0,
    OPAY_EMAIL_EMPTY,
    OPAY_EMAIL_TOO_LONG,
    OPAY_EMAIL_FORM,                   /* not local@domain, bad characters */
    OPAY_EMAIL_NON_ASCII               /* refused, not mangled */
} opay_email_e;


/* email may be empty. */
opay_password_policy_e opay_password_policy(opay_str_t password,
    opay_str_t email);

/* "too_short", ...; code of a field error. */
const char *opay_password_policy_name(opay_password_policy_e e);

/* One or two lines of 64 hex digits with an optional "<kid>:" (else 1). */
int opay_password_peppers_parse(opay_password_peppers_t *peppers,
    opay_str_t text);

/* OPAY_ERROR when the parameters are below argon2's or above our bounds. */
int opay_password_params_check(const opay_password_params_t *params);

/* phc: OPAY_PASSWORD_PHC_MAX bytes; NUL-terminated; random salt. */
int opay_password_hash(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, opay_str_t password, char *phc);

opay_password_verdict_e opay_password_verify(
    const opay_password_peppers_t *peppers, opay_str_t phc,
    opay_str_t password);

/* 1 when parameters or pepper of phc are not the current ones. */
int opay_password_needs_rehash(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, opay_str_t phc);

/*
 * A PHC string with the current parameters that no password matches; verify
 * against it when the account does not exist, so that time tells nothing.
 * Cheap: it does not hash.
 */
int opay_password_dummy(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, char *phc);


/*
 * Trims ASCII white space, lower-cases ASCII; out: OPAY_EMAIL_MAX + 1 bytes,
 * NUL-terminated, written on OPAY_EMAIL_OK only.
 */
opay_email_e opay_email_normalize(opay_str_t in, char *out, size_t *len);

/* "required", "too_long", ...; code of a field error. */
const char *opay_email_name(opay_email_e e);


#endif /* OPAY_PASSWORD_H_INCLUDED */
