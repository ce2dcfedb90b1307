
/*
 * The consumer's side of events: see ngx_opay_core.h.
 *
 * The watermark moves in the same transaction as the effect, so an event
 * takes effect once however often it is delivered; and a version that is
 * missing is seen, not skipped.
 */

#include "ngx_opay_core.h"

#include "opay_json.h"
#include "opay_jsonw.h"


#define NGX_OPAY_INBOUND_MAX  100


typedef struct {
    ngx_opay_inbound_t  *ev;
    size_t               n;
} ngx_opay_inbound_cmd_t;


/* As the JSON says it. */
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
} ngx_opay_inbound_json_t;


static opay_db_rc_t ngx_opay_inbox_back(opay_db_t *db,
    const ngx_opay_inbound_t *ev);


static const opay_json_field_t  ngx_opay_inbound_fields[] = {
    { .name = "id", .type = OPAY_JSON_STRING, .min = 1, .max = 128,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_inbound_json_t, id) },
    { .name = "source", .type = OPAY_JSON_STRING, .min = 1, .max = 128,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_inbound_json_t, source) },
    { .name = "type", .type = OPAY_JSON_STRING, .min = 1, .max = 64,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_inbound_json_t, type) },
    { .name = "aggregate", .type = OPAY_JSON_STRING, .min = 1, .max = 16,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, aggregate) },
    { .name = "aggregateId", .type = OPAY_JSON_UUID,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, aggregate_id) },
    { .name = "key", .type = OPAY_JSON_UUID, .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, key) },
    { .name = "sequence", .type = OPAY_JSON_INT, .min = 1, .max = 4294967295,
      .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, sequence) },
    { .name = "time", .type = OPAY_JSON_TIME, .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, time) },
    { .name = "traceparent", .type = OPAY_JSON_STRING, .max = 256,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_inbound_json_t, traceparent) },
    { .name = "data", .type = OPAY_JSON_OBJECT, .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_inbound_json_t, data) },
    { .name = NULL }
};


typedef struct {
    json_t  *events;
} ngx_opay_inbound_body_t;


static const opay_json_field_t  ngx_opay_inbound_body[] = {
    { .name = "events", .type = OPAY_JSON_ARRAY, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = NGX_OPAY_INBOUND_MAX,
      .offset = offsetof(ngx_opay_inbound_body_t, events) },
    { .name = NULL }
};


opay_db_rc_t
ngx_opay_inbox(opay_db_t *db, opay_arena_t *a, const char *agg_type,
    const opay_uuid_t *agg_id, int64_t version, ngx_opay_inbox_e *verdict)
{
    uint64_t          n;
    opay_db_rc_t      rc;
    opay_db_value_t   v[5];
    opay_db_result_t  res;

    *verdict = NGX_OPAY_INBOX_APPLY;

    v[0] = opay_db_i64(version);
    v[1] = opay_db_i64(opay_now_ms());
    v[2] = opay_db_text(opay_str_of(agg_type));
    v[3] = opay_db_uuid(agg_id);
    v[4] = opay_db_i64(version - 1);

    rc = opay_db_exec(db, "UPDATE inbox SET last_version = ?, updated_at = ? "
                      "WHERE agg_type = ? AND agg_id = ? "
                      "AND last_version = ?", v, 5, &n);

    if (rc != OPAY_DB_OK || n == 1) {
        return rc;
    }

    rc = opay_db_query(db, a, "SELECT last_version FROM inbox "
                       "WHERE agg_type = ? AND agg_id = ? FOR UPDATE",
                       &v[2], 2, &res);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (res.rows) {
        *verdict = (version <= opay_db_get_i64(&res, 0, 0))
                   ? NGX_OPAY_INBOX_DUPLICATE : NGX_OPAY_INBOX_GAP;
        return OPAY_DB_OK;
    }

    if (version != 1) {
        *verdict = NGX_OPAY_INBOX_GAP;
        return OPAY_DB_OK;
    }

    rc = opay_db_exec(db, "INSERT INTO inbox (last_version, updated_at, "
                      "agg_type, agg_id) VALUES (?, ?, ?, ?)", v, 4, NULL);

    /* another delivery was first: look again from the start */

    return (rc == OPAY_DB_DUP) ? OPAY_DB_RETRY : rc;
}


static opay_db_rc_t
ngx_opay_inbox_back(opay_db_t *db, const ngx_opay_inbound_t *ev)
{
    opay_db_value_t  v[3];

    v[0] = opay_db_i64(ev->version - 1);
    v[1] = opay_db_text(ev->agg_type);
    v[2] = opay_db_uuid(&ev->agg_id);

    return opay_db_exec(db, "UPDATE inbox SET last_version = ? "
                        "WHERE agg_type = ? AND agg_id = ?", v, 3, NULL);
}


void
ngx_opay_inbound_decode(opay_call_t *call)
{
    size_t                    i;
    char                      prefix[32];
    ngx_opay_inbound_t       *ev;
    ngx_opay_inbound_cmd_t   *cmd;
    ngx_opay_inbound_json_t   js;
    ngx_opay_inbound_body_t   body;

    if (opay_json_unpack(call, call->body, "", ngx_opay_inbound_body, &body)
        != OPAY_OK)
    {
        return;
    }

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_inbound_cmd_t));

    if (cmd) {
        cmd->n = json_array_size(body.events);
        cmd->ev = opay_arena_zalloc(call->arena,
                                    cmd->n * sizeof(ngx_opay_inbound_t));
    }

    if (cmd == NULL || cmd->ev == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    call->cmd = cmd;

    for (i = 0; i < cmd->n; i++) {

        (void) snprintf(prefix, sizeof(prefix), "/events/%zu", i);

        if (opay_json_unpack(call, json_array_get(body.events, i), prefix,
                             ngx_opay_inbound_fields, &js)
            != OPAY_OK)
        {
            continue;
        }

        ev = &cmd->ev[i];
        ev->id = js.id;
        ev->type = js.type;
        ev->agg_type = js.aggregate;
        ev->agg_id = js.aggregate_id;
        ev->key = js.key;
        ev->version = js.sequence;
        ev->time = js.time;
        ev->traceparent = js.traceparent;
        ev->data = js.data;
    }
}


opay_db_rc_t
ngx_opay_inbound_run(opay_db_t *db, opay_call_t *call,
    ngx_opay_apply_pt apply)
{
    size_t                   i;
    opay_jw_t                w;
    const char              *outcome, *reason;
    opay_db_rc_t             rc;
    ngx_opay_inbox_e         verdict;
    ngx_opay_inbound_t      *ev;
    ngx_opay_inbound_cmd_t  *cmd;

    cmd = call->cmd;

    opay_jw_init(&w, call->arena, 128 * cmd->n);
    opay_jw_obj(&w);
    opay_jw_key(&w, "results");
    opay_jw_arr(&w);

    for (i = 0; i < cmd->n; i++) {

        ev = &cmd->ev[i];
        reason = NULL;

        rc = ngx_opay_inbox(db, call->arena, ev->agg_type.data, &ev->agg_id,
                            ev->version, &verdict);

        if (rc == OPAY_DB_OK && verdict == NGX_OPAY_INBOX_APPLY) {
            rc = apply(db, call, ev, &reason);
        }

        if (rc != OPAY_DB_OK) {
            return rc;
        }

        switch (verdict) {
        case NGX_OPAY_INBOX_DUPLICATE:
            outcome = "duplicate";
            break;
        case NGX_OPAY_INBOX_GAP:
            outcome = "gap";
            break;
        default:
            outcome = reason ? "rejected" : "applied";
            break;
        }

        if (reason) {
            /* nothing of it was written: take the watermark back too */
            rc = ngx_opay_inbox_back(db, ev);
            if (rc != OPAY_DB_OK) {
                return rc;
            }
        }

        opay_jw_obj(&w);
        opay_jw_kstr(&w, "id", ev->id);
        opay_jw_kcstr(&w, "outcome", outcome);

        if (reason) {
            opay_jw_kcstr(&w, "reason", reason);
        }

        opay_jw_obj_end(&w);
    }

    opay_jw_arr_end(&w);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));

    return OPAY_DB_OK;
}
