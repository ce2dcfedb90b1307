
/*
 * The event store: see ngx_opay_core.h.  Pool threads, inside the caller's
 * transaction; append-only.
 *
 * Each event carries the hash of its predecessor in the aggregate, so that a
 * row that was changed or lost later is found by ./opay verify:
 *
 *   hash = SHA-256(previous hash, or 32 zeros | agg_type | 0 | agg_id |
 *                  version, big endian, 8 bytes | type | 0 | data)
 */

#include "ngx_opay_core.h"


#define NGX_OPAY_EVENT_COLUMNS  11


static opay_db_rc_t ngx_opay_events_previous(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t i, uint8_t (*hashes)[32],
    const uint8_t **prev);
static int ngx_opay_events_hash(opay_arena_t *a, const ngx_opay_event_t *ev,
    const uint8_t *prev, uint8_t *hash);


opay_db_rc_t
ngx_opay_events_append(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t n)
{
    size_t            i;
    int64_t           now;
    uint8_t         (*hashes)[32];
    opay_db_rc_t      rc;
    const uint8_t    *prev;
    opay_db_value_t  *v, *p;

    hashes = opay_arena_alloc(a, n * 32);
    v = opay_arena_alloc(a, n * NGX_OPAY_EVENT_COLUMNS
                            * sizeof(opay_db_value_t));

    if (hashes == NULL || v == NULL) {
        return OPAY_DB_ERROR;
    }

    now = opay_now_ms();

    for (i = 0, p = v; i < n; i++) {

        rc = ngx_opay_events_previous(db, a, ev, i, hashes, &prev);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (ngx_opay_events_hash(a, &ev[i], prev, hashes[i]) != OPAY_OK) {
            return OPAY_DB_ERROR;
        }

        *p++ = opay_db_text(opay_str_of(ev[i].agg_type));
        *p++ = opay_db_uuid(&ev[i].agg_id);
        *p++ = opay_db_i64(ev[i].version);
        *p++ = opay_db_text(opay_str_of(ev[i].type));
        *p++ = opay_db_uuid(&ev[i].key);
        *p++ = opay_db_text(ev[i].data);
        *p++ = opay_db_text(opay_str_of(ev[i].actor));
        *p++ = (ev[i].traceparent && ev[i].traceparent[0])
               ? opay_db_text(opay_str_of(ev[i].traceparent))
               : opay_db_null();
        *p++ = prev ? opay_db_bytes(prev, 32) : opay_db_null();
        *p++ = opay_db_bytes(hashes[i], 32);
        *p++ = opay_db_i64(now);
    }

    return opay_db_exec_rows(db, "INSERT INTO events (agg_type, agg_id, "
                             "version, type, pkey, data, actor, traceparent, "
                             "prev_hash, hash, created_at) VALUES ",
                             "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "", v,
                             NGX_OPAY_EVENT_COLUMNS, n, NULL);
}


/* NULL for the first event; out of this append when it is there. */

static opay_db_rc_t
ngx_opay_events_previous(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t i, uint8_t (*hashes)[32],
    const uint8_t **prev)
{
    size_t            k;
    opay_str_t        s;
    opay_db_rc_t      rc;
    opay_db_value_t   v[3];
    opay_db_result_t  res;

    *prev = NULL;

    if (ev[i].version <= 1) {
        return OPAY_DB_OK;
    }

    for (k = i; k-- > 0; /* void */) {
        if (ev[k].version == ev[i].version - 1
            && opay_uuid_eq(&ev[k].agg_id, &ev[i].agg_id)
            && strcmp(ev[k].agg_type, ev[i].agg_type) == 0)
        {
            *prev = hashes[k];
            return OPAY_DB_OK;
        }
    }

    v[0] = opay_db_text(opay_str_of(ev[i].agg_type));
    v[1] = opay_db_uuid(&ev[i].agg_id);
    v[2] = opay_db_i64(ev[i].version - 1);

    rc = opay_db_query(db, a, "SELECT hash FROM events WHERE agg_type = ? "
                       "AND agg_id = ? AND version = ?", v, 3, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (res.rows != 1 || opay_db_get_str(&res, 0, 0).len != 32) {
        /* a version was skipped: a bug of the caller, never a retry */
        return OPAY_DB_ERROR;
    }

    s = opay_db_get_str(&res, 0, 0);
    *prev = (const uint8_t *) s.data;

    return OPAY_DB_OK;
}


static int
ngx_opay_events_hash(opay_arena_t *a, const ngx_opay_event_t *ev,
    const uint8_t *prev, uint8_t *hash)
{
    char    *buf, *p;
    size_t   alen, tlen, i;

    alen = strlen(ev->agg_type) + 1;
    tlen = strlen(ev->type) + 1;

    buf = opay_arena_alloc(a, 32 + alen + 16 + 8 + tlen + ev->data.len);
    if (buf == NULL) {
        return OPAY_ERROR;
    }

    p = buf;

    if (prev) {
        memcpy(p, prev, 32);

    } else {
        memset(p, 0, 32);
    }

    p += 32;
    memcpy(p, ev->agg_type, alen);
    p += alen;
    memcpy(p, ev->agg_id.b, 16);
    p += 16;

    for (i = 0; i < 8; i++) {
        *p++ = (char) ((uint64_t) ev->version >> (56 - 8 * i));
    }

    memcpy(p, ev->type, tlen);
    p += tlen;
    memcpy(p, ev->data.data, ev->data.len);
    p += ev->data.len;

    return opay_sha256(buf, p - buf, hash);
}
