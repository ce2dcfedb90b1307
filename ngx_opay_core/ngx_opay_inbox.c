
/*
 * What comes in from the sidecar: watermarks, and the walk over a delivery.
 *
 * DESIGN
 *
 * Per foreign aggregate one row says up to which version it has been applied.
 * The row moves in the transaction of the effect: an event is applied once,
 * in order, however often it is delivered.  Moving it is also the lock: two
 * deliveries of one event meet there, and the second sees a duplicate.
 *
 * A delivery is one transaction.  When one of its events turns out not to be
 * applicable (the service says so, or the schema), the transaction is rolled
 * back and run again with a savepoint in front of each event, so that this
 * one is rejected and the others go through.  Without such an event no
 * savepoint costs anything.
 *
 * Pool thread; all state is in the call.
 */

#include "ngx_opay_core.h"
#include "opay_json.h"
#include "opay_jsonw.h"


#define NGX_OPAY_INBOUND_MAX  100


typedef struct {
    size_t               n;
    ngx_uint_t           careful;      /* a savepoint per event */
    ngx_opay_inbound_t  *ev;
} ngx_opay_inbound_batch_t;


/* An event as it is decoded. */
typedef struct {
    opay_str_t           id;
    opay_str_t           source;
    opay_str_t           type;
    opay_str_t           aggregate;
    opay_uuid_t          aggregate_id;
    opay_uuid_t          key;
    int64_t              sequence;
    int64_t              time;
    opay_str_t           traceparent;
    json_t              *data;
} ngx_opay_inbound_wire_t;


static opay_db_rc_t ngx_opay_inbox_first(opay_db_t *db,
    const opay_db_value_t *key, ngx_opay_inbox_e *verdict);
static opay_db_rc_t ngx_opay_inbound_one(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, ngx_uint_t careful,
    ngx_opay_apply_pt apply, const char **outcome, const char **reason);
static void ngx_opay_inbound_result(opay_jw_t *w,
    const ngx_opay_inbound_t *ev, const char *outcome, const char *reason);


/*
 * The usual case is one statement.  When it matches nothing, the row is read
 * to see why.
 */

opay_db_rc_t
ngx_opay_inbox(opay_db_t *db, opay_arena_t *a, const char *agg_type,
    const opay_uuid_t *agg_id, int64_t version, ngx_opay_inbox_e *verdict)
{
    int64_t           last;
    uint64_t          matched;
    opay_db_rc_t      rc;
    opay_db_value_t   v[5];
    opay_db_result_t  res;

    v[0] = opay_db_i64(version);
    v[1] = opay_db_i64(opay_now_ms());
    v[2] = opay_db_text(opay_str_of(agg_type));
    v[3] = opay_db_uuid(agg_id);
    v[4] = opay_db_i64(version - 1);

    if (version == 1) {
        rc = ngx_opay_inbox_first(db, v, verdict);

        if (rc != OPAY_DB_DUP) {
            return rc;
        }

    } else {
        rc = opay_db_exec(db, "UPDATE inbox SET last_version=?,updated_at=? "
                              "WHERE agg_type=? AND agg_id=? "
                              "AND last_version=?", v, 5, &matched);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (matched) {
            *verdict = NGX_OPAY_INBOX_APPLY;
            return OPAY_DB_OK;
        }
    }

    rc = opay_db_query(db, a, "SELECT last_version FROM inbox "
                              "WHERE agg_type=? AND agg_id=? FOR UPDATE",
                       &v[2], 2, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    last = res.rows ? opay_db_get_i64(&res, 0, 0) : 0;

    if (version <= last) {
        *verdict = NGX_OPAY_INBOX_DUPLICATE;
        return OPAY_DB_OK;
    }

    if (version > last + 1) {
        *verdict = NGX_OPAY_INBOX_GAP;
        return OPAY_DB_OK;
    }

    /* its predecessor was committed between our two statements */

    *verdict = NGX_OPAY_INBOX_APPLY;

    return opay_db_exec(db, "UPDATE inbox SET last_version=?,updated_at=? "
                            "WHERE agg_type=? AND agg_id=?", v, 4, NULL);
}


static opay_db_rc_t
ngx_opay_inbox_first(opay_db_t *db, const opay_db_value_t *key,
    ngx_opay_inbox_e *verdict)
{
    *verdict = NGX_OPAY_INBOX_APPLY;

    return opay_db_exec(db, "INSERT INTO inbox (last_version,updated_at,"
                            "agg_type,agg_id) VALUES (?,?,?,?)",
                        key, 4, NULL);
}


void
ngx_opay_inbound_decode(opay_call_t *call)
{
    size_t                     i;
    json_t                    *events;
    const char                *prefix;
    ngx_opay_inbound_t        *ev;
    ngx_opay_inbound_wire_t    w;
    ngx_opay_inbound_batch_t  *b;

    static const opay_json_field_t  body[] = {
        { .name = "events", .type = OPAY_JSON_ARRAY,
          .flags = OPAY_JSON_REQUIRED, .min = 1,
          .max = NGX_OPAY_INBOUND_MAX, .offset = 0 },
        { .name = NULL }
    };

#define ngx_opay_wire(member)  offsetof(ngx_opay_inbound_wire_t, member)

    static const opay_json_field_t  fields[] = {
        { .name = "id", .type = OPAY_JSON_STRING,
          .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
          .min = 1, .max = 128, .offset = ngx_opay_wire(id) },
        { .name = "source", .type = OPAY_JSON_STRING,
          .flags = OPAY_JSON_REQUIRED,
          .min = 1, .max = 128, .offset = ngx_opay_wire(source) },
        { .name = "type", .type = OPAY_JSON_STRING,
          .flags = OPAY_JSON_REQUIRED,
          .min = 1, .max = 64, .offset = ngx_opay_wire(type) },
        { .name = "aggregate", .type = OPAY_JSON_STRING,
          .flags = OPAY_JSON_REQUIRED,
          .min = 1, .max = 16, .offset = ngx_opay_wire(aggregate) },
        { .name = "aggregateId", .type = OPAY_JSON_UUID,
          .flags = OPAY_JSON_REQUIRED,
          .offset = ngx_opay_wire(aggregate_id) },
        { .name = "key", .type = OPAY_JSON_UUID,
          .flags = OPAY_JSON_REQUIRED, .offset = ngx_opay_wire(key) },
        { .name = "sequence", .type = OPAY_JSON_INT,
          .flags = OPAY_JSON_REQUIRED,
          .min = 1, .max = 4294967295, .offset = ngx_opay_wire(sequence) },
        { .name = "time", .type = OPAY_JSON_TIME,
          .flags = OPAY_JSON_REQUIRED, .offset = ngx_opay_wire(time) },
        { .name = "traceparent", .type = OPAY_JSON_STRING,
          .flags = OPAY_JSON_NULLABLE|OPAY_JSON_DIGITS,
          .max = 128, .offset = ngx_opay_wire(traceparent) },
        { .name = "data", .type = OPAY_JSON_OBJECT,
          .flags = OPAY_JSON_REQUIRED, .offset = ngx_opay_wire(data) },
        { .name = NULL }
    };

#undef ngx_opay_wire

    if (opay_json_unpack(call, call->body, "", body, &events) != OPAY_OK) {
        return;
    }

    b = opay_arena_zalloc(call->arena, sizeof(ngx_opay_inbound_batch_t));

    if (b) {
        b->n = json_array_size(events);
        b->ev = opay_arena_zalloc(call->arena,
                                  b->n * sizeof(ngx_opay_inbound_t));
    }

    if (b == NULL || b->ev == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    for (i = 0; i < b->n; i++) {

        ev = &b->ev[i];
        prefix = opay_json_pointer(call->arena, "/events", i);

        if (opay_json_unpack(call, json_array_get(events, i), prefix, fields,
                             &w)
            != OPAY_OK)
        {
            continue;
        }

        ev->id = w.id;
        ev->type = w.type;
        ev->agg_type = w.aggregate;
        ev->agg_id = w.aggregate_id;
        ev->key = w.key;
        ev->version = w.sequence;
        ev->time = w.time;
        ev->traceparent = w.traceparent;
        ev->data = w.data;
    }

    call->cmd = b;
}


opay_db_rc_t
ngx_opay_inbound_run(opay_db_t *db, opay_call_t *call,
    ngx_opay_apply_pt apply)
{
    size_t                     i;
    opay_jw_t                  w;
    opay_str_t                 s;
    const char                *outcome, *reason;
    opay_db_rc_t               rc;
    ngx_opay_inbound_batch_t  *b;

    b = call->cmd;

    opay_jw_init(&w, call->arena, 64 + b->n * 128);
    opay_jw_obj(&w);
    opay_jw_key(&w, "results");
    opay_jw_arr(&w);

    for (i = 0; i < b->n; i++) {

        rc = ngx_opay_inbound_one(db, call, &b->ev[i], b->careful, apply,
                                  &outcome, &reason);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (reason && !b->careful) {
            b->careful = 1;
            return OPAY_DB_RETRY;
        }

        ngx_opay_inbound_result(&w, &b->ev[i], outcome, reason);
    }

    opay_jw_arr_end(&w);
    opay_jw_obj_end(&w);

    s = opay_jw_result(&w);

    if (s.data == NULL) {
        return OPAY_DB_ERROR;
    }

    opay_call_reply(call, 200, s);

    return OPAY_DB_OK;
}


/*
 * Applies one event.  reason: it can never be applied; when careful, it has
 * been undone, else what it has done, its watermark too, is still there.
 */

static opay_db_rc_t
ngx_opay_inbound_one(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, ngx_uint_t careful,
    ngx_opay_apply_pt apply, const char **outcome, const char **reason)
{
    opay_db_rc_t      rc;
    ngx_opay_inbox_e  verdict;

    static const char *const  names[] = { "applied", "duplicate", "gap" };

    *reason = NULL;

    if (careful) {
        rc = opay_db_savepoint(db);
        if (rc != OPAY_DB_OK) {
            return rc;
        }
    }

    rc = ngx_opay_inbox(db, call->arena, ev->agg_type.data, &ev->agg_id,
                        ev->version, &verdict);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    *outcome = names[verdict];

    if (verdict != NGX_OPAY_INBOX_APPLY) {
        return OPAY_DB_OK;
    }

    rc = apply(db, call, ev, reason);

    if (rc == OPAY_DB_DUP || rc == OPAY_DB_CONSTRAINT) {
        *reason = rc == OPAY_DB_DUP ? "a unique key is taken"
                                    : "a rule of the schema forbids it";

    } else if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (*reason == NULL) {
        return OPAY_DB_OK;
    }

    *outcome = "rejected";

    return careful ? opay_db_rollback_to(db) : OPAY_DB_OK;
}


static void
ngx_opay_inbound_result(opay_jw_t *w, const ngx_opay_inbound_t *ev,
    const char *outcome, const char *reason)
{
    opay_jw_obj(w);
    opay_jw_kstr(w, "id", ev->id);
    opay_jw_kcstr(w, "outcome", outcome);

    if (reason) {
        opay_jw_kcstr(w, "reason", reason);
    }

    opay_jw_obj_end(w);
}
