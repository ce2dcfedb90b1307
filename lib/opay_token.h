
/*
 * opay_token: opaque refresh tokens, one living generation per session.
 *
 * DESIGN
 *
 * Bytes: version 1 | kid 1 | sid 16 | gen 4 (big endian) | secret 32 | tag 16
 * = 70, base64url 94 characters.  tag = HMAC-SHA256(Ktag[kid], all before it)
 * cut to 16 bytes: a forged token dies without a database query, and nobody
 * who merely saw a sid can make the session look reused.
 *
 * The successor is derived, not drawn: HMAC-SHA256(Knext[kid],
 * "rt-next" | sid | gen + 1 | secret).  Attempts that race, or are repeated
 * after a crash, arrive at one and the same successor.  The database keeps
 * SHA-256(secret) only.
 *
 * Both keys come out of one 32-byte key of the key file by HMAC with distinct
 * labels.  Two keys may be active while they are rotated: the first one
 * issues, both are accepted.  Key sets are immutable after load, so any
 * thread may use them.
 */

#ifndef OPAY_TOKEN_H_INCLUDED
#define OPAY_TOKEN_H_INCLUDED

#include "opay_base.h"


#define OPAY_TOKEN_LEN   94            /* characters, without NUL */
#define OPAY_TOKEN_KEYS  2


typedef struct {
    uint8_t           kid;             /* 1 to 255 */
    uint8_t           tag[32];
    uint8_t           next[32];
} opay_token_key_t;


typedef struct {
    opay_token_key_t  key[OPAY_TOKEN_KEYS];
    unsigned          n;               /* key[0] issues */
} opay_token_keys_t;


typedef struct {
    uint8_t           kid;
    opay_uuid_t       sid;
    uint32_t          gen;
    uint8_t           secret[32];
} opay_token_t;


/* Derives both keys of one kid; OPAY_ERROR: full, kid 0 or already there. */
int opay_token_keys_add(opay_token_keys_t *keys, uint8_t kid,
    const uint8_t material[32]);

/*
 * Text of a key file: one or two lines of 64 hex digits, each with an
 * optional "<kid>:" before it (1 without); the first line issues.
 */
int opay_token_keys_parse(opay_token_keys_t *keys, opay_str_t text);

/* Overwrites key material. */
void opay_token_keys_wipe(opay_token_keys_t *keys);


/* A new session's first token: generation 0, a fresh random secret. */
int opay_token_first(const opay_token_keys_t *keys, const opay_uuid_t *sid,
    opay_token_t *t);

/* out: OPAY_TOKEN_LEN + 1 bytes.  OPAY_ERROR: t->kid is not in keys. */
int opay_token_encode(const opay_token_keys_t *keys, const opay_token_t *t,
    char *out);

/* Shape, version, kid and tag; OPAY_ERROR tells nothing about which. */
int opay_token_parse(const opay_token_keys_t *keys, opay_str_t text,
    opay_token_t *t);

/*
 * Generation gen + 1, derived with keys->key[i].  i = 0 when rotating; when
 * a stored successor is to be recognised, try every i < keys->n.
 * OPAY_ERROR: gen is at its end, or no such key.
 */
int opay_token_next(const opay_token_keys_t *keys, unsigned i,
    const opay_token_t *t, opay_token_t *next);

/* What the sessions table keeps: SHA-256(secret). */
int opay_token_hash(const opay_token_t *t, uint8_t hash[32]);


#endif /* OPAY_TOKEN_H_INCLUDED */
