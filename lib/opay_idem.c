
/* See opay_idem.h. */

#include <stdlib.h>

#include "opay_idem.h"


#define OPAY_IDEM_PARTS  4


static opay_str_t
opay_idem_trim(opay_str_t s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }

    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }

    return s;
}


int
opay_idem_parse(opay_str_t value, char *buf, opay_str_t *key)
{
    int     quoted;
    char    c;
    size_t  i, n;

    value = opay_idem_trim(value);

    if (value.len == 0) {
        return OPAY_ERROR;
    }

    quoted = value.data[0] == '"';

    for (i = quoted, n = 0; i < value.len; i++) {

        c = value.data[i];

        if (quoted && c == '"') {
            break;
        }

        if (quoted && c == '\\') {

            if (++i == value.len) {
                return OPAY_ERROR;
            }

            c = value.data[i];

            if (c != '"' && c != '\\') {
                return OPAY_ERROR;
            }
        }

        if (c < 0x20 || c > 0x7e || n == OPAY_IDEM_KEY_MAX) {
            return OPAY_ERROR;
        }

        buf[n++] = c;
    }

    /* the closing quote is the last byte: no parameters */

    if (n == 0 || i + quoted != value.len) {
        return OPAY_ERROR;
    }

    key->data = buf;
    key->len = n;

    return OPAY_OK;
}


/* SHA-256 over the parts, each behind its length. */

static int
opay_idem_hash(opay_arena_t *a, const opay_str_t *parts, uint8_t *out)
{
    size_t    i, n, len;
    uint8_t  *buf, *p;

    for (n = 0, i = 0; i < OPAY_IDEM_PARTS; i++) {
        n += 8 + parts[i].len;
    }

    buf = opay_arena_alloc(a, n);
    if (buf == NULL) {
        return OPAY_ERROR;
    }

    for (p = buf, i = 0; i < OPAY_IDEM_PARTS; i++) {

        len = parts[i].len;

        for (n = 0; n < 8; n++) {
            *p++ = (uint8_t) ((uint64_t) len >> (56 - 8 * n));
        }

        if (len) {
            memcpy(p, parts[i].data, len);
            p += len;
        }
    }

    return opay_sha256(buf, (size_t) (p - buf), out);
}


/* The hash of the canonical body: sorted members, no white space. */

static int
opay_idem_body(json_t *body, uint8_t *out)
{
    int    rc;
    char  *text;

    if (body == NULL) {
        return opay_sha256(NULL, 0, out);
    }

    text = json_dumps(body, JSON_SORT_KEYS|JSON_COMPACT|JSON_ENCODE_ANY);
    if (text == NULL) {
        return OPAY_ERROR;
    }

    rc = opay_sha256(text, strlen(text), out);

    free(text);

    return rc;
}


int
opay_idem_prepare(opay_call_t *call, opay_str_t value)
{
    char          buf[OPAY_IDEM_KEY_MAX];
    uint8_t       body[32];
    opay_str_t    key, user, parts[OPAY_IDEM_PARTS];
    opay_idem_t   idem;

    if (opay_idem_parse(value, buf, &key) != OPAY_OK
        || opay_idem_body(call->body, body) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    user.data = (const char *) call->who.user.b;
    user.len = call->who.known ? sizeof(call->who.user.b) : 0;

    memset(&idem, 0, sizeof(opay_idem_t));

    parts[0] = user;
    parts[1] = call->method;
    parts[2] = call->route;
    parts[3] = key;

    if (opay_idem_hash(call->arena, parts, idem.scope) != OPAY_OK) {
        return OPAY_ERROR;
    }

    parts[0] = call->method;
    parts[1] = call->path;
    parts[2] = user;
    parts[3].data = (const char *) body;
    parts[3].len = sizeof(body);

    if (opay_idem_hash(call->arena, parts, idem.fingerprint) != OPAY_OK) {
        return OPAY_ERROR;
    }

    idem.present = 1;
    call->idem = idem;

    return OPAY_OK;
}
