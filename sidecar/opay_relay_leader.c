
/*
 * opay_relay_leader: who leads, and the checkpoint row.
 *
 * DESIGN
 *
 * The lock lives and dies with its connection: when the process is killed
 * the server releases it at once; when the process hangs, wait_timeout does,
 * because a leader asks every second.  A reconnect would lose the lock
 * silently, so holding it is always asked of the server, never remembered.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_relay.h"


#define OPAY_RELAY_NAME  "kafka"

static const char  opay_relay_sql_lock[] = "SELECT GET_LOCK(?, 1)";
static const char  opay_relay_sql_unlock[] = "SELECT RELEASE_LOCK(?)";
static const char  opay_relay_sql_holds[] =
    "SELECT IS_USED_LOCK(?) = CONNECTION_ID()";
static const char  opay_relay_sql_timeout[] =
    "SET SESSION wait_timeout = 20";
static const char  opay_relay_sql_create[] =
    "INSERT INTO relay_checkpoint (name, epoch, position, gaps, updated_at)"
    " VALUES (?, 0, 0, '[]', ?)";
static const char  opay_relay_sql_raise[] =
    "UPDATE relay_checkpoint SET epoch = epoch + 1, updated_at = ?"
    " WHERE name = ?";
static const char  opay_relay_sql_load[] =
    "SELECT epoch, position, gaps FROM relay_checkpoint WHERE name = ?";
static const char  opay_relay_sql_save[] =
    "UPDATE relay_checkpoint SET position = ?, gaps = ?, updated_at = ?"
    " WHERE name = ? AND epoch = ?";


void
opay_relay_db_failed(opay_relay_t *r, opay_db_t *db, opay_db_rc_t rc,
    const char *what)
{
    atomic_fetch_add(&r->state->db_errors, 1);

    if (rc == OPAY_DB_LOST || rc == OPAY_DB_DOWN || rc == OPAY_DB_UNKNOWN) {
        if (atomic_exchange(&r->state->db_up, 0)) {
            opay_log(OPAY_LOG_WARN, "relay: database lost at %s: %s (%u)",
                     what, opay_db_error(db), opay_db_errno(db));
        }

        return;
    }

    opay_log(OPAY_LOG_ERROR, "relay: %s failed: %s: %s (%u)", what,
             opay_db_rc_name(rc), opay_db_error(db), opay_db_errno(db));
}


static opay_db_value_t
opay_relay_cstr(const char *s)
{
    return opay_db_text(opay_str_of(s));
}


/* The lock functions: 1, 0 or NULL (as 0). */
static int
opay_relay_ask(opay_relay_t *r, const char *sql, const char *what)
{
    int                     answer;
    opay_db_rc_t            rc;
    opay_arena_t           *a;
    opay_db_value_t         name;
    opay_db_result_t        res;
    const opay_db_value_t  *v;

    a = opay_arena_create(1024);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    name = opay_relay_cstr(r->lock_name);
    rc = opay_db_query(r->lock_db, a, sql, &name, 1, &res);

    if (rc != OPAY_DB_OK || res.rows != 1) {
        opay_relay_db_failed(r, r->lock_db, rc, what);
        opay_arena_destroy(a);
        return OPAY_ERROR;
    }

    v = opay_db_at(&res, 0, 0);
    answer = v->type == OPAY_DB_I64 && v->i64 == 1;
    opay_arena_destroy(a);

    return answer;
}


int
opay_relay_acquire(opay_relay_t *r)
{
    int           rc;
    opay_db_rc_t  drc;

    rc = opay_relay_ask(r, opay_relay_sql_lock, "GET_LOCK");

    if (rc != OPAY_ERROR) {
        if (!atomic_exchange(&r->state->db_up, 1)) {
            opay_log(OPAY_LOG_NOTICE, "relay: database connected");
        }
    }

    if (rc != 1) {
        return rc;
    }

    drc = opay_db_exec(r->lock_db, opay_relay_sql_timeout, NULL, 0, NULL);

    if (drc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->lock_db, drc, "wait_timeout");
        opay_db_drop(r->lock_db);
        return OPAY_ERROR;
    }

    return 1;
}


int
opay_relay_holds(opay_relay_t *r)
{
    return opay_relay_ask(r, opay_relay_sql_holds, "the lock check") == 1;
}


void
opay_relay_release(opay_relay_t *r)
{
    (void) opay_relay_ask(r, opay_relay_sql_unlock, "RELEASE_LOCK");
    opay_db_drop(r->lock_db);
}


/* In a transaction of its own, so that the epoch read is the one we made. */
static opay_db_rc_t
opay_relay_raise(opay_relay_t *r)
{
    uint64_t         affected;
    opay_db_rc_t     rc;
    opay_db_value_t  v[2];

    v[0] = opay_relay_cstr(OPAY_RELAY_NAME);
    v[1] = opay_db_i64(opay_now_ms());
    rc = opay_db_exec(r->db, opay_relay_sql_create, v, 2, NULL);

    if (rc != OPAY_DB_OK && rc != OPAY_DB_DUP) {
        return rc;
    }

    v[0] = opay_db_i64(opay_now_ms());
    v[1] = opay_relay_cstr(OPAY_RELAY_NAME);

    return opay_db_exec(r->db, opay_relay_sql_raise, v, 2, &affected);
}


static int
opay_relay_loaded(opay_relay_t *r, opay_db_result_t *res, int raise)
{
    uint64_t    epoch;
    opay_str_t  gaps;

    if (res->rows != 1) {
        opay_log(OPAY_LOG_ALERT, "relay: the checkpoint row is missing");
        return OPAY_ERROR;
    }

    epoch = (uint64_t) opay_db_get_i64(res, 0, 0);

    if (!raise && epoch != r->epoch) {
        atomic_fetch_add(&r->state->fenced, 1);
        return OPAY_ERROR;
    }

    gaps = opay_db_get_str(res, 0, 2);

    if (opay_gaps_parse(&r->gaps, gaps.data, gaps.len) != OPAY_OK) {
        opay_log(OPAY_LOG_ALERT, "relay: the gaps of the checkpoint cannot "
                 "be read");
        return OPAY_ERROR;
    }

    r->epoch = epoch;
    r->high = (uint64_t) opay_db_get_i64(res, 0, 1);
    r->saved = r->high;
    r->dirty = 0;
    r->probe = NULL;
    opay_relay_forget(r);
    opay_seen_clear(r->seen);

    atomic_store(&r->state->epoch, epoch);
    atomic_store(&r->state->position, r->high);
    atomic_store(&r->state->gaps, opay_gaps_count(&r->gaps));

    return OPAY_OK;
}


int
opay_relay_load(opay_relay_t *r, int raise)
{
    int                rc;
    opay_db_rc_t       drc;
    opay_arena_t      *a;
    opay_db_value_t    name;
    opay_db_result_t   res;

    a = opay_arena_create(4096);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    rc = OPAY_ERROR;
    drc = raise ? opay_relay_raise(r) : OPAY_DB_OK;

    if (drc == OPAY_DB_OK) {
        name = opay_relay_cstr(OPAY_RELAY_NAME);
        drc = opay_db_query(r->db, a, opay_relay_sql_load, &name, 1, &res);
    }

    if (drc == OPAY_DB_OK) {
        rc = opay_relay_loaded(r, &res, raise);

    } else {
        opay_relay_db_failed(r, r->db, drc, "loading the checkpoint");
    }

    opay_arena_destroy(a);

    return rc;
}


int
opay_relay_save(opay_relay_t *r)
{
    char             *gaps;
    uint64_t          position, affected;
    opay_db_rc_t      rc;
    opay_db_value_t   v[5];

    position = opay_relay_position(r);

    /* late gap rows are on their way: what is saved is true until they are */
    if (position < r->saved) {
        return 1;
    }

    gaps = opay_gaps_format(&r->gaps, position);
    if (gaps == NULL) {
        return OPAY_ERROR;
    }

    v[0] = opay_db_i64((int64_t) position);
    v[1] = opay_relay_cstr(gaps);
    v[2] = opay_db_i64(opay_now_ms());
    v[3] = opay_relay_cstr(OPAY_RELAY_NAME);
    v[4] = opay_db_i64((int64_t) r->epoch);

    rc = opay_db_exec(r->db, opay_relay_sql_save, v, 5, &affected);
    free(gaps);

    if (rc != OPAY_DB_OK) {
        opay_relay_db_failed(r, r->db, rc, "the checkpoint");
        return OPAY_ERROR;
    }

    if (affected == 0) {
        atomic_fetch_add(&r->state->fenced, 1);
        opay_log(OPAY_LOG_WARN, "relay: epoch %llu is over, another leader "
                 "has begun", (unsigned long long) r->epoch);
        return 0;
    }

    r->saved = position;
    r->dirty = r->tail != r->head;
    atomic_fetch_add(&r->state->checkpoints, 1);
    atomic_store(&r->state->position, position);

    return 1;
}
