
/*
 * opay_relay_read: the statements over the event store.
 *
 * DESIGN
 *
 * A row that fills a gap must not be overtaken by a later row of its
 * aggregate.  Within one statement that cannot happen: it sees one snapshot,
 * and the earlier row of an aggregate is committed first.  With more gaps
 * than fit one statement, the rest is read afterwards, from high ids to low:
 * what a later snapshot lacks, an earlier one lacked too.
 *
 * A gap ends as "nobody will ever fill it" by two proofs, not by age alone:
 * it is older than the longest transaction allowed, and a locking read finds
 * neither a row nor a lock there.  At an uncommitted insert the locking read
 * fails at once, and the gap stays.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_relay.h"


#define OPAY_RELAY_COLS                                                       \
    "SELECT id, agg_type, agg_id, version, type, pkey, data, traceparent,"    \
    " created_at FROM events WHERE "

#define OPAY_RELAY_ABANDONED  4096         /* ranges remembered */
#define OPAY_RELAY_NOWAIT     3572         /* MySQL: a lock is there */

static const char  opay_relay_sql_between[] =
    OPAY_RELAY_COLS "agg_type = ? AND agg_id = ? AND version > ?"
    " AND version < ? ORDER BY version LIMIT 500";
static const char  opay_relay_sql_id[] =
    "SELECT id FROM events WHERE agg_type = ? AND agg_id = ?"
    " AND version = ?";
static const char  opay_relay_sql_probe_mariadb[] =
    "SELECT id FROM events WHERE id BETWEEN ? AND ? LIMIT 1"
    " LOCK IN SHARE MODE NOWAIT";
static const char  opay_relay_sql_probe_mysql[] =
    "SELECT id FROM events WHERE id BETWEEN ? AND ? LIMIT 1"
    " FOR SHARE NOWAIT";
static const char  opay_relay_sql_version[] = "SELECT VERSION()";
static const char  opay_relay_sql_max[] =
    "SELECT COALESCE(MAX(id), 0) FROM events";
static const char  opay_relay_sql_oldest[] =
    "SELECT created_at FROM events WHERE id > ? ORDER BY id LIMIT 1";

static const size_t  opay_relay_sizes[OPAY_RELAY_TEXTS] = {
    0, 1, 4, 16, 64, OPAY_RELAY_RANGES
};


/* "id > ? OR id BETWEEN ? AND ? OR ..." */
static char *
opay_relay_text(int above, size_t ranges)
{
    FILE    *f;
    char    *text;
    size_t   i, size;

    f = open_memstream(&text, &size);
    if (f == NULL) {
        return NULL;
    }

    fputs(OPAY_RELAY_COLS, f);

    if (above) {
        fputs("id > ?", f);
    }

    for (i = 0; i < ranges; i++) {
        fprintf(f, "%sid BETWEEN ? AND ?", above || i ? " OR " : "");
    }

    fprintf(f, " ORDER BY id LIMIT %d", OPAY_RELAY_BATCH);

    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }

    return text;
}


int
opay_relay_texts(opay_relay_t *r)
{
    size_t  i;

    for (i = 0; i < OPAY_RELAY_TEXTS; i++) {
        r->texts[i] = opay_relay_text(1, opay_relay_sizes[i]);
        if (r->texts[i] == NULL) {
            return OPAY_ERROR;
        }
    }

    r->text_gaps = opay_relay_text(0, OPAY_RELAY_RANGES);

    return r->text_gaps ? OPAY_OK : OPAY_ERROR;
}


void
opay_relay_texts_free(opay_relay_t *r)
{
    size_t  i;

    for (i = 0; i < OPAY_RELAY_TEXTS; i++) {
        free(r->texts[i]);
    }

    free(r->text_gaps);
}


/* Ranges first..last-1 of the gaps, the last one repeated up to `size`. */
static size_t
opay_relay_ranges(opay_relay_t *r, opay_db_value_t *v, size_t first,
    size_t last, size_t size)
{
    size_t       i, n;
    opay_gap_t  *gap;

    n = 0;

    for (i = 0; i < size; i++) {
        gap = &r->gaps.v[first + i < last ? first + i : last - 1];
        v[n++] = opay_db_i64((int64_t) gap->first);
        v[n++] = opay_db_i64((int64_t) gap->last);
    }

    return n;
}


static int
opay_relay_rows(opay_arena_t *a, opay_db_result_t *res,
    opay_relay_event_t *ev)
{
    size_t  i;

    (void) a;

    for (i = 0; i < res->rows; i++, ev++) {
        ev->id = (uint64_t) opay_db_get_i64(res, i, 0);
        ev->agg_type = opay_db_get_str(res, i, 1);
        ev->version = (uint32_t) opay_db_get_i64(res, i, 3);
        ev->type = opay_db_get_str(res, i, 4);
        ev->data = opay_db_get_str(res, i, 6);
        ev->traceparent = opay_db_get_str(res, i, 7);
        ev->created_at = opay_db_get_i64(res, i, 8);

        if (opay_db_get_uuid(res, i, 2, &ev->agg_id) != OPAY_OK
            || opay_db_get_uuid(res, i, 5, &ev->key) != OPAY_OK)
        {
            opay_log(OPAY_LOG_ALERT, "relay: event %llu has no valid id",
                     (unsigned long long) ev->id);
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


/* The first statement: above high, and the highest ranges. */
static int
opay_relay_read_top(opay_relay_t *r, opay_arena_t *a, opay_db_result_t *res,
    size_t *first)
{
    size_t           i, n, ranges;
    opay_db_rc_t     rc;
    opay_db_value_t  v[1 + 2 * OPAY_RELAY_RANGES];

    ranges = r->gaps.n < OPAY_RELAY_RANGES ? r->gaps.n : OPAY_RELAY_RANGES;
    *first = r->gaps.n - ranges;

    for (i = 0; opay_relay_sizes[i] < ranges; i++) { /* void */ }

    v[0] = opay_db_i64((int64_t) r->high);
    n = 1 + opay_relay_ranges(r, v + 1, *first, r->gaps.n,
                              opay_relay_sizes[i]);

    rc = opay_db_query(r->db, a, r->texts[i], v, n, res);

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "reading events");
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


/* The next lower ranges, up to index `end`. */
static int
opay_relay_read_lower(opay_relay_t *r, opay_arena_t *a,
    opay_db_result_t *res, size_t end, size_t *first)
{
    size_t           n;
    opay_db_rc_t     rc;
    opay_db_value_t  v[2 * OPAY_RELAY_RANGES];

    *first = end > OPAY_RELAY_RANGES ? end - OPAY_RELAY_RANGES : 0;
    n = opay_relay_ranges(r, v, *first, end, OPAY_RELAY_RANGES);

    rc = opay_db_query(r->db, a, r->text_gaps, v, n, res);

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "reading gaps");
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


/* Puts the rows of res, which are lower, before those collected. */
static int
opay_relay_prepend(opay_arena_t *a, opay_db_result_t *res,
    opay_relay_event_t **events, size_t *n)
{
    opay_relay_event_t  *ev;

    if (res->rows == 0) {
        return OPAY_OK;
    }

    ev = opay_arena_alloc(a, (res->rows + *n) * sizeof(opay_relay_event_t));
    if (ev == NULL) {
        return OPAY_ERROR;
    }

    if (*n) {
        memcpy(ev + res->rows, *events, *n * sizeof(opay_relay_event_t));
    }

    *events = ev;
    *n += res->rows;

    return opay_relay_rows(a, res, ev);
}


int
opay_relay_read(opay_relay_t *r, opay_arena_t *a,
    opay_relay_event_t **events, size_t *n, int *more)
{
    size_t            first;
    opay_db_result_t  res;

    *n = 0;
    *events = NULL;

    if (opay_relay_read_top(r, a, &res, &first) != OPAY_OK
        || opay_relay_prepend(a, &res, events, n) != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    *more = res.rows == OPAY_RELAY_BATCH;

    while (first > 0) {
        if (opay_relay_read_lower(r, a, &res, first, &first) != OPAY_OK) {
            return OPAY_ERROR;
        }

        /* cut short: rows above the cut must wait for those behind it */
        if (res.rows == OPAY_RELAY_BATCH) {
            *n = 0;
            *more = 1;
        }

        if (opay_relay_prepend(a, &res, events, n) != OPAY_OK) {
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


int
opay_relay_read_between(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev, uint32_t last, opay_relay_event_t **events,
    size_t *n)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v[4];
    opay_db_result_t  res;

    v[0] = opay_db_text(ev->agg_type);
    v[1] = opay_db_uuid(&ev->agg_id);
    v[2] = opay_db_i64(last);
    v[3] = opay_db_i64(ev->version);

    rc = opay_db_query(r->db, a, opay_relay_sql_between, v, 4, &res);

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "backfilling");
        return OPAY_ERROR;
    }

    *n = 0;
    *events = NULL;

    return opay_relay_prepend(a, &res, events, n);
}


int
opay_relay_read_id(opay_relay_t *r, opay_arena_t *a,
    const opay_relay_event_t *ev, uint32_t version, uint64_t *id)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v[3];
    opay_db_result_t  res;

    v[0] = opay_db_text(ev->agg_type);
    v[1] = opay_db_uuid(&ev->agg_id);
    v[2] = opay_db_i64(version);

    rc = opay_db_query(r->db, a, opay_relay_sql_id, v, 3, &res);

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "checking versions");
        return OPAY_ERROR;
    }

    *id = res.rows ? (uint64_t) opay_db_get_i64(&res, 0, 0) : 0;

    return OPAY_OK;
}


static void
opay_relay_abandon(opay_relay_t *r, size_t i)
{
    uint64_t     n;
    opay_gap_t  *gap;

    gap = &r->gaps.v[i];
    n = gap->last - gap->first + 1;

    opay_log(OPAY_LOG_INFO, "relay: ids %llu..%llu were never used",
             (unsigned long long) gap->first, (unsigned long long) gap->last);

    if (r->abandoned.n == OPAY_RELAY_ABANDONED) {
        opay_gaps_drop(&r->abandoned, 0);
    }

    /* only the version check would miss it */
    (void) opay_gaps_add(&r->abandoned, gap->first, gap->last, gap->seen);

    opay_gaps_drop(&r->gaps, i);
    atomic_fetch_add(&r->state->gaps_abandoned, n);
    r->dirty = 1;
}


/* The two servers agree on NOWAIT, but not on what stands before it. */
static const char *
opay_relay_probe_sql(opay_relay_t *r, opay_arena_t *a)
{
    opay_str_t        version;
    opay_db_rc_t      rc;
    opay_db_result_t  res;

    if (r->probe) {
        return r->probe;
    }

    rc = opay_db_query(r->db, a, opay_relay_sql_version, NULL, 0, &res);

    if (rc != OPAY_DB_OK || res.rows != 1) {
        opay_relay_db_failed(r, r->db, rc, "asking for the version");
        return NULL;
    }

    version = opay_db_get_str(&res, 0, 0);
    r->probe = memmem(version.data, version.len, "MariaDB", 7)
                   ? opay_relay_sql_probe_mariadb
                   : opay_relay_sql_probe_mysql;

    return r->probe;
}


/* 0: nothing is there; 1: a row; 2: a lock; OPAY_ERROR */
static int
opay_relay_probe(opay_relay_t *r, opay_gap_t *gap)
{
    int                found;
    const char        *sql;
    opay_db_rc_t       rc;
    opay_arena_t      *a;
    opay_db_value_t    v[2];
    opay_db_result_t   res;

    a = opay_arena_create(1024);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    found = OPAY_ERROR;
    sql = opay_relay_probe_sql(r, a);

    if (sql) {
        v[0] = opay_db_i64((int64_t) gap->first);
        v[1] = opay_db_i64((int64_t) gap->last);
        rc = opay_db_query(r->db, a, sql, v, 2, &res);

        if (rc == OPAY_DB_OK) {
            found = res.rows != 0;

        } else if (rc == OPAY_DB_RETRY
                   || opay_db_errno(r->db) == OPAY_RELAY_NOWAIT)
        {
            found = 2;

        } else {
            opay_relay_db_failed(r, r->db, rc, "checking gaps");
        }
    }

    opay_arena_destroy(a);

    return found;
}


/* A range with a lock somewhere: its halves are looked at one by one. */
static int
opay_relay_split(opay_relay_t *r, size_t i)
{
    uint64_t     last, mid;
    opay_gap_t  *gap;

    gap = &r->gaps.v[i];
    last = gap->last;
    mid = gap->first + (last - gap->first) / 2;
    gap->last = mid;

    if (opay_gaps_add(&r->gaps, mid + 1, last, gap->seen) != OPAY_OK) {
        r->gaps.v[i].last = last;
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


int
opay_relay_expire(opay_relay_t *r)
{
    int          found;
    size_t       i;
    int64_t      before;
    opay_gap_t  *gap;

    i = 0;
    before = opay_now_ms() - r->conf->max_gap_age;

    while (i < r->gaps.n) {
        gap = &r->gaps.v[i];

        if (gap->seen > before) {
            i++;
            continue;
        }

        found = opay_relay_probe(r, gap);

        if (found == OPAY_ERROR) {
            return OPAY_ERROR;
        }

        if (found == 0) {
            opay_relay_abandon(r, i);
            continue;
        }

        if (found == 2 && gap->first != gap->last) {
            if (opay_relay_split(r, i) != OPAY_OK) {
                return OPAY_ERROR;
            }

            continue;
        }

        if (found == 2) {
            opay_log(OPAY_LOG_WARN, "relay: a transaction has kept id %llu "
                     "for more than %lld ms",
                     (unsigned long long) gap->first,
                     (long long) r->conf->max_gap_age);
        }

        i++;                       /* a row: the next read has it */
    }

    return OPAY_OK;
}


static opay_db_rc_t
opay_relay_one(opay_relay_t *r, const char *sql, const opay_db_value_t *v,
    size_t n, int64_t *value)
{
    opay_db_rc_t       rc;
    opay_arena_t      *a;
    opay_db_result_t   res;

    a = opay_arena_create(1024);
    if (a == NULL) {
        return OPAY_DB_ERROR;
    }

    rc = opay_db_query(r->db, a, sql, v, n, &res);

    if (rc == OPAY_DB_OK) {
        *value = res.rows ? opay_db_get_i64(&res, 0, 0) : 0;
    }

    opay_arena_destroy(a);

    return rc;
}


int
opay_relay_measure(opay_relay_t *r)
{
    int64_t          max, created;
    uint64_t         position;
    opay_db_rc_t     rc;
    opay_db_value_t  v;

    position = opay_relay_position(r);
    v = opay_db_i64((int64_t) position);
    created = 0;

    rc = opay_relay_one(r, opay_relay_sql_max, NULL, 0, &max);

    if (rc == OPAY_DB_OK) {
        rc = opay_relay_one(r, opay_relay_sql_oldest, &v, 1, &created);
    }

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "measuring the lag");
        return OPAY_ERROR;
    }

    max -= (int64_t) position;
    atomic_store(&r->state->lag_events, max > 0 ? max : 0);
    atomic_store(&r->state->oldest_age,
                 created ? opay_now_ms() - created : 0);

    return OPAY_OK;
}
