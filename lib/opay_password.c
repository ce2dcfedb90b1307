
#include <stdio.h>

#include <argon2.h>
#include <openssl/crypto.h>

#include "opay_b64.h"
#include "opay_keyfile.h"
#include "opay_password.h"


#define OPAY_PASSWORD_SALT       16
#define OPAY_PASSWORD_HASH       32
#define OPAY_PASSWORD_SALT_TEXT  22
#define OPAY_PASSWORD_HASH_TEXT  43
#define OPAY_PASSWORD_KEYID_TEXT 2


typedef struct {
    opay_password_params_t  params;
    uint8_t                 kid;
    uint8_t                 salt[OPAY_PASSWORD_SALT];
    uint8_t                 hash[OPAY_PASSWORD_HASH];
} opay_password_phc_t;


int
opay_password_peppers_parse(opay_password_peppers_t *peppers, opay_str_t text)
{
    int             rc;
    unsigned        i, n;
    opay_keyfile_t  file[OPAY_PASSWORD_PEPPERS];

    memset(peppers, 0, sizeof(opay_password_peppers_t));

    rc = opay_keyfile_parse(text, file, OPAY_PASSWORD_PEPPERS, &n);

    for (i = 0; rc == OPAY_OK && i < n; i++) {
        peppers->pepper[i].kid = file[i].kid;
        memcpy(peppers->pepper[i].key, file[i].key, 32);
        peppers->n++;
    }

    OPENSSL_cleanse(file, sizeof(file));

    return rc;
}


int
opay_password_params_check(const opay_password_params_t *params)
{
    return params->t >= 1 && params->t <= OPAY_PASSWORD_T_MAX
           && params->p >= 1 && params->p <= OPAY_PASSWORD_P_MAX
           && params->m_kib >= 8 * params->p
           && params->m_kib <= OPAY_PASSWORD_M_MAX
           ? OPAY_OK : OPAY_ERROR;
}


/* PHC strings use the standard alphabet. */
static void
opay_password_b64(const uint8_t *p, size_t n, char *dst)
{
    opay_b64url_encode(p, n, dst);

    for ( /* void */ ; *dst; dst++) {
        if (*dst == '-') {
            *dst = '+';

        } else if (*dst == '_') {
            *dst = '/';
        }
    }
}


static int
opay_password_unb64(const char *p, size_t n, uint8_t *dst, size_t len)
{
    char        buf[OPAY_PASSWORD_HASH_TEXT];
    size_t      i;
    opay_str_t  s;

    for (i = 0; i < n; i++) {
        switch (p[i]) {

        case '-':
        case '_':
            return OPAY_ERROR;

        case '+':
            buf[i] = '-';
            break;

        case '/':
            buf[i] = '_';
            break;

        default:
            buf[i] = p[i];
        }
    }

    s.data = buf;
    s.len = n;

    return opay_b64url_decode(s, dst, len, &i) == OPAY_OK && i == len
           ? OPAY_OK : OPAY_ERROR;
}


static void
opay_password_format(const opay_password_phc_t *phc, char *dst)
{
    char  kid[OPAY_PASSWORD_KEYID_TEXT + 1];
    char  salt[OPAY_PASSWORD_SALT_TEXT + 1];
    char  hash[OPAY_PASSWORD_HASH_TEXT + 1];

    opay_password_b64(&phc->kid, 1, kid);
    opay_password_b64(phc->salt, sizeof(phc->salt), salt);
    opay_password_b64(phc->hash, sizeof(phc->hash), hash);

    snprintf(dst, OPAY_PASSWORD_PHC_MAX,
             "$argon2id$v=19$m=%u,t=%u,p=%u,keyid=%s$%s$%s",
             phc->params.m_kib, phc->params.t, phc->params.p, kid, salt, hash);
}


/* Moves *p past name and a decimal without leading zeros. */
static int
opay_password_number(const char **p, const char *end, const char *name,
    uint32_t *v)
{
    size_t       n;
    const char  *s;

    n = strlen(name);
    s = *p;

    if ((size_t) (end - s) <= n || memcmp(s, name, n) != 0) {
        return OPAY_ERROR;
    }

    s += n;

    if (*s < '1' || *s > '9') {
        return OPAY_ERROR;
    }

    for (n = 0, *v = 0; s < end && *s >= '0' && *s <= '9' && n < 7; n++) {
        *v = *v * 10 + (uint32_t) (*s++ - '0');
    }

    *p = s;

    return OPAY_OK;
}


/* Our own form only: everything has a fixed length but the three numbers. */
static int
opay_password_scan(opay_str_t text, opay_password_phc_t *phc)
{
    const char  *p, *end;

    p = text.data;
    end = p + text.len;

    if (text.len >= OPAY_PASSWORD_PHC_MAX
        || opay_password_number(&p, end, "$argon2id$v=19$m=",
                                &phc->params.m_kib)
           != OPAY_OK
        || opay_password_number(&p, end, ",t=", &phc->params.t) != OPAY_OK
        || opay_password_number(&p, end, ",p=", &phc->params.p) != OPAY_OK
        || opay_password_params_check(&phc->params) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    if (end - p != 7 + OPAY_PASSWORD_KEYID_TEXT + 1 + OPAY_PASSWORD_SALT_TEXT
                   + 1 + OPAY_PASSWORD_HASH_TEXT
        || memcmp(p, ",keyid=", 7) != 0)
    {
        return OPAY_ERROR;
    }

    p += 7;

    if (opay_password_unb64(p, OPAY_PASSWORD_KEYID_TEXT, &phc->kid, 1)
        != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    p += OPAY_PASSWORD_KEYID_TEXT;

    if (*p++ != '$'
        || opay_password_unb64(p, OPAY_PASSWORD_SALT_TEXT, phc->salt,
                               sizeof(phc->salt))
           != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    p += OPAY_PASSWORD_SALT_TEXT;

    if (*p++ != '$') {
        return OPAY_ERROR;
    }

    return opay_password_unb64(p, OPAY_PASSWORD_HASH_TEXT, phc->hash,
                               sizeof(phc->hash));
}


static const uint8_t *
opay_password_pepper(const opay_password_peppers_t *peppers, uint8_t kid)
{
    unsigned  i;

    for (i = 0; i < peppers->n; i++) {
        if (peppers->pepper[i].kid == kid) {
            return peppers->pepper[i].key;
        }
    }

    return NULL;
}


static int
opay_password_argon2(const uint8_t *pepper, opay_str_t password,
    const opay_password_phc_t *phc, uint8_t hash[OPAY_PASSWORD_HASH])
{
    int      rc;
    uint8_t  mac[32];

    if (password.len > OPAY_PASSWORD_BYTES_MAX
        || opay_hmac_sha256(pepper, 32, password.data, password.len, mac)
           != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    rc = argon2id_hash_raw(phc->params.t, phc->params.m_kib, phc->params.p,
                           mac, sizeof(mac), phc->salt, sizeof(phc->salt),
                           hash, OPAY_PASSWORD_HASH);

    OPENSSL_cleanse(mac, sizeof(mac));

    return rc == ARGON2_OK ? OPAY_OK : OPAY_ERROR;
}


int
opay_password_hash(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, opay_str_t password, char *phc)
{
    opay_password_phc_t  v;

    if (peppers->n == 0 || opay_password_params_check(params) != OPAY_OK
        || opay_random(v.salt, sizeof(v.salt)) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    v.params = *params;
    v.kid = peppers->pepper[0].kid;

    if (opay_password_argon2(peppers->pepper[0].key, password, &v, v.hash)
        != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    opay_password_format(&v, phc);

    return OPAY_OK;
}


opay_password_verdict_e
opay_password_verify(const opay_password_peppers_t *peppers, opay_str_t phc,
    opay_str_t password)
{
    uint8_t               hash[OPAY_PASSWORD_HASH];
    const uint8_t        *pepper;
    opay_password_phc_t   v;

    if (opay_password_scan(phc, &v) != OPAY_OK) {
        return OPAY_PASSWORD_BAD_PHC;
    }

    pepper = opay_password_pepper(peppers, v.kid);

    if (pepper == NULL) {
        return OPAY_PASSWORD_BAD_PHC;
    }

    /* nobody can have set one that long */

    if (password.len > OPAY_PASSWORD_BYTES_MAX) {
        return OPAY_PASSWORD_MISMATCH;
    }

    if (opay_password_argon2(pepper, password, &v, hash) != OPAY_OK) {
        return OPAY_PASSWORD_FAILED;
    }

    return CRYPTO_memcmp(hash, v.hash, sizeof(hash)) == 0
           ? OPAY_PASSWORD_MATCH : OPAY_PASSWORD_MISMATCH;
}


int
opay_password_needs_rehash(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, opay_str_t phc)
{
    opay_password_phc_t  v;

    return opay_password_scan(phc, &v) != OPAY_OK
           || v.params.m_kib != params->m_kib || v.params.t != params->t
           || v.params.p != params->p || peppers->n == 0
           || v.kid != peppers->pepper[0].kid;
}


int
opay_password_dummy(const opay_password_peppers_t *peppers,
    const opay_password_params_t *params, char *phc)
{
    opay_password_phc_t  v;

    if (peppers->n == 0 || opay_password_params_check(params) != OPAY_OK
        || opay_random(v.salt, sizeof(v.salt)) != OPAY_OK
        || opay_random(v.hash, sizeof(v.hash)) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    v.params = *params;
    v.kid = peppers->pepper[0].kid;

    opay_password_format(&v, phc);

    return OPAY_OK;
}
