
/*
 * opay_sub_parked: events that wait for their key to be mended.
 *
 * DESIGN
 *
 * A key with a row in parked_events is parked: later events of it are put
 * behind, in the order of the topic.  A due key is tried again: the events of
 * its first aggregate go out, those that took effect are deleted, and while a
 * pass makes progress the next follows at once.  An event that is refused
 * holds what is behind it.  Only an earlier version of the same aggregate may
 * overtake: it is what an event that was parked for a gap lacks.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_sub.h"


static const char  opay_parked_sql_which[] =
    "SELECT DISTINCT pkey FROM parked_events WHERE pkey IN ";
static const char  opay_parked_sql_insert[] =
    "INSERT INTO parked_events (topic, part, offs, pkey, ce_id, envelope,"
    " reason, attempts, next_try_at, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE attempts = attempts";
static const char  opay_parked_sql_count[] =
    "SELECT COUNT(*), COUNT(DISTINCT pkey) FROM parked_events";
static const char  opay_parked_sql_combos[] =
    "SELECT DISTINCT topic, part FROM parked_events WHERE next_try_at <= ?";
static const char  opay_parked_sql_keys[] =
    "SELECT pkey FROM parked_events WHERE topic = ? AND part = ?"
    " AND next_try_at <= ? GROUP BY pkey ORDER BY MIN(id) LIMIT 20";
static const char  opay_parked_sql_rows[] =
    "SELECT id, ce_id, envelope, attempts FROM parked_events"
    " WHERE pkey = ? ORDER BY id LIMIT 100";
static const char  opay_parked_sql_delete[] =
    "DELETE FROM parked_events WHERE id = ?";
static const char  opay_parked_sql_failed[] =
    "UPDATE parked_events SET attempts = attempts + 1, reason = ?"
    " WHERE id = ?";
static const char  opay_parked_sql_later[] =
    "UPDATE parked_events SET next_try_at = ? WHERE pkey = ?";


static int
opay_parked_failed(opay_sub_t *sub, opay_db_rc_t rc, const char *what)
{
    atomic_fetch_add(&sub->state->db_errors, 1);
    opay_log(rc == OPAY_DB_ERROR || rc == OPAY_DB_CONSTRAINT
                 ? OPAY_LOG_ERROR : OPAY_LOG_WARN,
             "subscriber: %s: %s: %s (%u)", what, opay_db_rc_name(rc),
             opay_db_error(sub->db), opay_db_errno(sub->db));

    return OPAY_ERROR;
}


int
opay_sub_parked_mark(opay_sub_t *sub, opay_arena_t *a,
    opay_sub_item_t *items, size_t n)
{
    size_t             i, j, k;
    opay_db_rc_t       rc;
    opay_db_value_t   *keys;
    opay_db_result_t   res;

    keys = opay_arena_alloc(a, (n + 1) * sizeof(opay_db_value_t));
    if (keys == NULL) {
        return OPAY_ERROR;
    }

    k = 0;

    for (i = 0; i < n; i++) {
        if (items[i].outcome == -1) {
            keys[k++] = opay_db_text(items[i].key);
        }
    }

    if (k == 0) {
        return OPAY_OK;
    }

    rc = opay_db_query_in(sub->db, a, opay_parked_sql_which, "", keys, k,
                          &res);
    if (rc != OPAY_DB_OK) {
        return opay_parked_failed(sub, rc, "looking for parked keys");
    }

    for (j = 0; j < res.rows; j++) {
        for (i = 0; i < n; i++) {
            if (items[i].outcome == -1
                && opay_str_eq(items[i].key, opay_db_get_str(&res, j, 0)))
            {
                items[i].outcome = OPAY_DELIVERY_BEHIND;
                items[i].reason = "behind a parked event of its key";
            }
        }
    }

    return OPAY_OK;
}


static opay_db_rc_t
opay_parked_insert(opay_sub_t *sub, const opay_sub_item_t *item)
{
    int64_t          now;
    opay_db_value_t  v[10];

    now = opay_now_ms();

    v[0] = opay_db_text(opay_str_of(rd_kafka_topic_name(item->msg->rkt)));
    v[1] = opay_db_i64(item->msg->partition);
    v[2] = opay_db_i64(item->msg->offset);
    v[3] = opay_db_text(item->key);
    v[4] = opay_db_text(item->id);
    v[5] = opay_db_text(item->envelope);
    v[6] = opay_db_text(opay_str_of(item->reason));
    v[7] = opay_db_i64(item->outcome == OPAY_DELIVERY_BEHIND ? 0 : 1);
    v[8] = opay_db_i64(now + opay_sidecar_backoff(sub->conf->park_retry_min,
                                             sub->conf->park_retry_max, 0));
    v[9] = opay_db_i64(now);

    return opay_db_exec(sub->db, opay_parked_sql_insert, v, 10, NULL);
}


static int
opay_parked_is(const opay_sub_item_t *item)
{
    return item->outcome == OPAY_DELIVERY_GAP
           || item->outcome == OPAY_DELIVERY_REJECTED
           || item->outcome == OPAY_DELIVERY_BEHIND;
}


int
opay_sub_parked_store(opay_sub_t *sub, opay_sub_item_t *items, size_t n)
{
    size_t        i, k;
    opay_db_rc_t  rc;

    k = 0;

    for (i = 0; i < n; i++) {
        k += (size_t) opay_parked_is(&items[i]);
    }

    if (k == 0) {
        return OPAY_OK;
    }

    rc = opay_db_begin(sub->db);

    for (i = 0; rc == OPAY_DB_OK && i < n; i++) {
        if (opay_parked_is(&items[i])) {
            rc = opay_parked_insert(sub, &items[i]);
        }
    }

    if (rc == OPAY_DB_OK) {
        rc = opay_db_commit(sub->db);
    }

    if (rc != OPAY_DB_OK) {
        (void) opay_parked_failed(sub, rc, "parking events");
        opay_db_rollback(sub->db);
        return OPAY_ERROR;
    }

    sub->count_at = 0;

    return OPAY_OK;
}


int
opay_sub_parked_count(opay_sub_t *sub)
{
    opay_db_rc_t       rc;
    opay_arena_t      *a;
    opay_db_result_t   res;

    a = opay_arena_create(1024);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    rc = opay_db_query(sub->db, a, opay_parked_sql_count, NULL, 0, &res);

    if (rc == OPAY_DB_OK && res.rows == 1) {
        atomic_store(&sub->state->parked_events,
                     opay_db_get_i64(&res, 0, 0));
        atomic_store(&sub->state->parked_keys, opay_db_get_i64(&res, 0, 1));
    }

    opay_arena_destroy(a);

    return rc == OPAY_DB_OK ? OPAY_OK : OPAY_ERROR;
}


/*
 * Keeps the events of the first row's aggregate, by version; *n: how many.
 * Rows of the same aggregate behind another one's wait for the next pass,
 * unless they come before the first by version.
 */
static size_t
opay_parked_run(opay_sub_item_t *items, size_t n)
{
    int              mixed;
    size_t           i, j, k;
    uint32_t         first;
    opay_sub_item_t  item;

    k = 0;
    mixed = 0;
    first = n ? items[0].version : 0;

    for (i = 0; i < n; i++) {
        item = items[i];

        if (!opay_str_eq(items[0].aggregate, item.aggregate)) {
            mixed = 1;
            continue;
        }

        if (mixed && item.version > first) {
            continue;
        }

        for (j = k++; j > 0 && items[j - 1].version > item.version; j--) {
            items[j] = items[j - 1];
        }

        items[j] = item;
    }

    return k;
}


/* The events of the key that are next, as many as fit one request. */
static opay_db_rc_t
opay_parked_rows(opay_sub_t *sub, opay_arena_t *a, opay_str_t key,
    opay_sub_item_t **items, size_t *n)
{
    size_t             i, size;
    opay_db_rc_t       rc;
    opay_db_value_t    v;
    opay_sub_item_t   *item;
    opay_db_result_t   res;

    v = opay_db_text(key);
    rc = opay_db_query(sub->db, a, opay_parked_sql_rows, &v, 1, &res);

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *items = opay_arena_zalloc(a, (res.rows + 1) * sizeof(opay_sub_item_t));
    if (*items == NULL) {
        return OPAY_DB_ERROR;
    }

    size = 0;

    for (i = 0; i < res.rows; i++) {
        item = &(*items)[i];
        item->row = (uint64_t) opay_db_get_i64(&res, i, 0);
        item->id = opay_db_get_str(&res, i, 1);
        item->envelope = opay_db_get_str(&res, i, 2);
        item->attempts = opay_db_get_i64(&res, i, 3);
        item->key = key;
        item->outcome = -1;
        opay_sub_identify(item);
    }

    *n = opay_parked_run(*items, res.rows);

    for (i = 0; i < *n; i++) {
        size += (*items)[i].envelope.len + 1;

        if (i && size > OPAY_SUB_BODY) {
            *n = i;
        }
    }

    return OPAY_DB_OK;
}


/* What the pass brought, in one transaction. */
static opay_db_rc_t
opay_parked_settle(opay_sub_t *sub, opay_str_t key, opay_sub_item_t *items,
    size_t n, int progress)
{
    size_t           i;
    int64_t          wait;
    opay_db_rc_t     rc;
    opay_db_value_t  v[2];

    rc = opay_db_begin(sub->db);
    wait = 0;

    for (i = 0; rc == OPAY_DB_OK && i < n; i++) {
        if (items[i].outcome <= OPAY_DELIVERY_DUPLICATE) {
            v[0] = opay_db_i64((int64_t) items[i].row);
            rc = opay_db_exec(sub->db, opay_parked_sql_delete, v, 1, NULL);
            continue;
        }

        if (wait == 0) {
            wait = opay_sidecar_backoff(sub->conf->park_retry_min,
                                        sub->conf->park_retry_max,
                                        (unsigned) items[i].attempts);
        }

        v[0] = opay_db_text(opay_str_of(items[i].reason));
        v[1] = opay_db_i64((int64_t) items[i].row);
        rc = opay_db_exec(sub->db, opay_parked_sql_failed, v, 2, NULL);
    }

    if (rc == OPAY_DB_OK) {
        v[0] = opay_db_i64(opay_now_ms() + (progress ? 0 : wait));
        v[1] = opay_db_text(key);
        rc = opay_db_exec(sub->db, opay_parked_sql_later, v, 2, NULL);
    }

    return rc == OPAY_DB_OK ? opay_db_commit(sub->db) : rc;
}


/* One pass over a key.  *again: something took effect, there may be more */
static int
opay_parked_pass(opay_sub_t *sub, opay_arena_t *a, opay_str_t key,
    int *again)
{
    int               progress;
    size_t            i, n;
    opay_post_e       post;
    opay_db_rc_t      rc;
    opay_sub_item_t  *items;

    *again = 0;

    rc = opay_parked_rows(sub, a, key, &items, &n);
    if (rc != OPAY_DB_OK) {
        return opay_parked_failed(sub, rc, "reading parked events");
    }

    if (n == 0) {
        return OPAY_OK;
    }

    post = opay_sub_post(sub, a, items, n);

    /* one of them cannot even be read: the first is tried alone */
    if (post == OPAY_POST_REFUSED && n > 1) {
        n = 1;
        post = opay_sub_post(sub, a, items, n);
    }

    if (post == OPAY_POST_REFUSED) {
        items[0].outcome = OPAY_DELIVERY_REJECTED;
        items[0].reason = "the service cannot read the event";

    } else if (post != OPAY_POST_OK) {
        return OPAY_ERROR;
    }

    progress = 0;

    for (i = 0; i < n; i++) {
        atomic_fetch_add(&sub->state->redriven[items[i].outcome], 1);
        progress |= items[i].outcome <= OPAY_DELIVERY_DUPLICATE;
    }

    rc = opay_parked_settle(sub, key, items, n, progress);

    if (rc != OPAY_DB_OK) {
        (void) opay_parked_failed(sub, rc, "settling parked events");
        opay_db_rollback(sub->db);
        return OPAY_ERROR;
    }

    if (progress) {
        opay_log(OPAY_LOG_NOTICE, "subscriber: parked events of key %.*s "
                 "took effect", (int) key.len, key.data);
        sub->count_at = 0;
    }

    *again = progress;

    return OPAY_OK;
}


static int
opay_parked_key(opay_sub_t *sub, opay_str_t key)
{
    int            rc, again;
    opay_arena_t  *a;

    do {
        a = opay_arena_create(16384);
        if (a == NULL) {
            return OPAY_ERROR;
        }

        atomic_store(&sub->state->sub_beat, opay_mono_ms());
        rc = opay_parked_pass(sub, a, key, &again);
        opay_arena_destroy(a);

    } while (rc == OPAY_OK && again && !opay_sidecar_stopping());

    return rc;
}


static int
opay_parked_ours(opay_sub_t *sub, opay_str_t topic, int64_t part)
{
    char  name[256];

    if (sub->assigned == NULL || topic.len >= sizeof(name)) {
        return 0;
    }

    memcpy(name, topic.data, topic.len);
    name[topic.len] = '\0';

    return rd_kafka_topic_partition_list_find(sub->assigned, name,
                                              (int32_t) part) != NULL;
}


static int
opay_parked_partition(opay_sub_t *sub, opay_arena_t *a, opay_str_t topic,
    int64_t part)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_db_value_t   v[3];
    opay_db_result_t  res;

    v[0] = opay_db_text(topic);
    v[1] = opay_db_i64(part);
    v[2] = opay_db_i64(opay_now_ms());

    rc = opay_db_query(sub->db, a, opay_parked_sql_keys, v, 3, &res);
    if (rc != OPAY_DB_OK) {
        return opay_parked_failed(sub, rc, "looking for due keys");
    }

    for (i = 0; i < res.rows && !opay_sidecar_stopping(); i++) {
        if (opay_parked_key(sub, opay_db_get_str(&res, i, 0)) != OPAY_OK) {
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


int
opay_sub_redrive(opay_sub_t *sub)
{
    int                rc;
    size_t             i;
    opay_str_t         topic;
    opay_db_rc_t       drc;
    opay_arena_t      *a;
    opay_db_value_t    v;
    opay_db_result_t   res;

    if (atomic_load(&sub->state->parked_events) == 0) {
        return OPAY_OK;
    }

    a = opay_arena_create(4096);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    rc = OPAY_OK;
    v = opay_db_i64(opay_now_ms());
    drc = opay_db_query(sub->db, a, opay_parked_sql_combos, &v, 1, &res);

    if (drc != OPAY_DB_OK) {
        rc = opay_parked_failed(sub, drc, "looking for due events");
        res.rows = 0;
    }

    for (i = 0; rc == OPAY_OK && i < res.rows; i++) {
        topic = opay_db_get_str(&res, i, 0);

        if (opay_parked_ours(sub, topic, opay_db_get_i64(&res, i, 1))) {
            rc = opay_parked_partition(sub, a, topic,
                                       opay_db_get_i64(&res, i, 1));
        }
    }

    opay_arena_destroy(a);

    return rc;
}
