
/*
 * The event store: append.
 *
 * DESIGN
 *
 * The caller holds the row lock of each aggregate, so the version before its
 * own is committed (or in the same append) and stays the last one.  Each
 * event's hash covers the hash of the one before:
 *
 *   SHA-256(prev (32, zeros for the first) | agg_type | 0 | agg_id (16)
 *           | version (8, big-endian) | type | 0 | data)
 *
 * Pool thread; nothing is kept between calls.
 */

#include "ngx_opay_core.h"


#define NGX_OPAY_EVENT_FIELDS  11


static opay_db_rc_t ngx_opay_events_before(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t n, opay_db_result_t *res);
static const uint8_t *ngx_opay_events_prev(const ngx_opay_event_t *ev,
    size_t i, const opay_db_result_t *res, uint8_t (*hash)[32]);
static int ngx_opay_events_hash(opay_arena_t *a, const ngx_opay_event_t *ev,
    const uint8_t *prev, uint8_t *hash);


opay_db_rc_t
ngx_opay_events_append(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t n)
{
    size_t             i;
    int64_t            now;
    uint8_t          (*hash)[32];
    const uint8_t     *prev;
    opay_db_rc_t       rc;
    opay_db_value_t   *v, *f;
    opay_db_result_t   res;
    static const char  head[] =
        "INSERT INTO events (agg_type,agg_id,version,type,pkey,data,actor,"
        "traceparent,prev_hash,hash,created_at) VALUES ";

    if (n == 0) {
        return OPAY_DB_OK;
    }

    rc = ngx_opay_events_before(db, a, ev, n, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    hash = opay_arena_alloc(a, n * 32);
    v = opay_arena_alloc(a, n * NGX_OPAY_EVENT_FIELDS
                            * sizeof(opay_db_value_t));
    if (hash == NULL || v == NULL) {
        return OPAY_DB_ERROR;
    }

    now = opay_now_ms();

    for (i = 0, f = v; i < n; i++, f += NGX_OPAY_EVENT_FIELDS) {

        prev = ngx_opay_events_prev(ev, i, &res, hash);

        if (prev == NULL && ev[i].version != 1) {

            /* the projection's version says what the store does not have */

            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "opay: event \"%s\" version %L of an aggregate "
                          "has no predecessor", ev[i].type, ev[i].version);
            return OPAY_DB_ERROR;
        }

        if (ngx_opay_events_hash(a, &ev[i], prev, hash[i]) != OPAY_OK) {
            return OPAY_DB_ERROR;
        }

        f[0] = opay_db_text(opay_str_of(ev[i].agg_type));
        f[1] = opay_db_uuid(&ev[i].agg_id);
        f[2] = opay_db_i64(ev[i].version);
        f[3] = opay_db_text(opay_str_of(ev[i].type));
        f[4] = opay_db_uuid(&ev[i].key);
        f[5] = opay_db_text(ev[i].data);
        f[6] = opay_db_text(opay_str_of(ev[i].actor));
        f[7] = ev[i].traceparent && ev[i].traceparent[0]
               ? opay_db_text(opay_str_of(ev[i].traceparent))
               : opay_db_null();
        f[8] = prev ? opay_db_bytes(prev, 32) : opay_db_null();
        f[9] = opay_db_bytes(hash[i], 32);
        f[10] = opay_db_i64(now);
    }

    return opay_db_exec_rows(db, head, "(?,?,?,?,?,?,?,?,?,?,?)", "", v,
                             NGX_OPAY_EVENT_FIELDS, n, NULL);
}


/* Hashes of the events before those whose predecessor is not in ev. */

static opay_db_rc_t
ngx_opay_events_before(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_event_t *ev, size_t n, opay_db_result_t *res)
{
    size_t            i, j, k;
    opay_db_value_t  *v;

    ngx_memzero(res, sizeof(opay_db_result_t));

    v = opay_arena_alloc(a, n * 3 * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0, k = 0; i < n; i++) {

        if (ev[i].version == 1) {
            continue;
        }

        for (j = i; j > 0; j--) {
            if (ev[j - 1].version == ev[i].version - 1
                && opay_uuid_eq(&ev[j - 1].agg_id, &ev[i].agg_id)
                && strcmp(ev[j - 1].agg_type, ev[i].agg_type) == 0)
            {
                break;
            }
        }

        if (j > 0) {
            continue;
        }

        v[k++] = opay_db_text(opay_str_of(ev[i].agg_type));
        v[k++] = opay_db_uuid(&ev[i].agg_id);
        v[k++] = opay_db_i64(ev[i].version - 1);
    }

    /* ORs of equalities use the unique key; IN over rows need not */

    return opay_db_query_rows(db, a,
                              "SELECT agg_type,agg_id,version,hash "
                              "FROM events WHERE ",
                              "(agg_type=? AND agg_id=? AND version=?)",
                              " OR ", "", v, 3, k / 3, res);
}


static const uint8_t *
ngx_opay_events_prev(const ngx_opay_event_t *ev, size_t i,
    const opay_db_result_t *res, uint8_t (*hash)[32])
{
    size_t       j;
    opay_str_t   s;
    opay_uuid_t  id;

    if (ev[i].version == 1) {
        return NULL;
    }

    for (j = i; j > 0; j--) {
        if (ev[j - 1].version == ev[i].version - 1
            && opay_uuid_eq(&ev[j - 1].agg_id, &ev[i].agg_id)
            && strcmp(ev[j - 1].agg_type, ev[i].agg_type) == 0)
        {
            return hash[j - 1];
        }
    }

    for (j = 0; j < res->rows; j++) {

        s = opay_db_get_str(res, j, 3);

        if (opay_db_get_i64(res, j, 2) == ev[i].version - 1
            && opay_db_get_uuid(res, j, 1, &id) == OPAY_OK
            && opay_uuid_eq(&id, &ev[i].agg_id)
            && opay_str_is(opay_db_get_str(res, j, 0), ev[i].agg_type)
            && s.len == 32)
        {
            return (const uint8_t *) s.data;
        }
    }

    return NULL;
}


static int
ngx_opay_events_hash(opay_arena_t *a, const ngx_opay_event_t *ev,
    const uint8_t *prev, uint8_t *hash)
{
    u_char    *p, *start;
    size_t     nagg, ntype, size;
    ngx_int_t  shift;

    nagg = strlen(ev->agg_type) + 1;
    ntype = strlen(ev->type) + 1;
    size = 32 + nagg + 16 + 8 + ntype + ev->data.len;

    start = opay_arena_alloc(a, size);
    if (start == NULL) {
        return OPAY_ERROR;
    }

    p = start;

    if (prev) {
        p = ngx_cpymem(p, prev, 32);

    } else {
        ngx_memzero(p, 32);
        p += 32;
    }

    p = ngx_cpymem(p, ev->agg_type, nagg);
    p = ngx_cpymem(p, ev->agg_id.b, 16);

    for (shift = 56; shift >= 0; shift -= 8) {
        *p++ = (u_char) ((uint64_t) ev->version >> shift);
    }

    p = ngx_cpymem(p, ev->type, ntype);
    p = ngx_cpymem(p, ev->data.data, ev->data.len);

    return opay_sha256(start, p - start, hash);
}
