
/* The operations of the user service. */

#include "ngx_opay_user.h"

#include "opay_event.h"
#include "opay_json.h"
#include "opay_jsonw.h"


typedef struct {
    opay_uuid_t  id;
    opay_str_t   name;
    opay_str_t   phone;
    opay_str_t   address;
    int64_t      version;              /* of If-Match */
} ngx_opay_user_cmd_t;


static void ngx_opay_user_reply(opay_call_t *call,
    const ngx_opay_user_profile_t *p);
static opay_str_t ngx_opay_user_json(opay_call_t *call,
    const ngx_opay_user_profile_t *p, unsigned event);
static void ngx_opay_user_stub(opay_call_t *call,
    ngx_opay_user_profile_t *p);
static int ngx_opay_user_if_match(opay_call_t *call, int64_t *version);
static opay_db_rc_t ngx_opay_user_apply(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent);


static const opay_json_field_t  ngx_opay_user_put_fields[] = {
    { .name = "name", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = 100, .offset = offsetof(ngx_opay_user_cmd_t, name) },
    { .name = "phoneNumber", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_DIGITS, .min = 3, .max = 32,
      .offset = offsetof(ngx_opay_user_cmd_t, phone) },
    { .name = "address", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_MULTILINE, .min = 1, .max = 255,
      .offset = offsetof(ngx_opay_user_cmd_t, address) },
    { .name = NULL }
};


static const char  ngx_opay_user_none[] = "There is no such user.";


/* Whose profile: "me", one's own id, or any for an admin; others are 404. */

void
ngx_opay_user_get_decode(opay_call_t *call)
{
    ngx_opay_user_cmd_t  *cmd;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_user_cmd_t));

    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    call->cmd = cmd;

    if (opay_str_is(call->param[0], "me")) {
        cmd->id = call->who.user;
        return;
    }

    if (opay_uuid_parse(call->param[0], &cmd->id) != OPAY_OK
        || (!opay_uuid_eq(&cmd->id, &call->who.user)
            && !(call->who.roles & OPAY_ROLE_BIT_ADMIN)))
    {
        opay_call_fail(call, OPAY_E_NOT_FOUND, ngx_opay_user_none);
    }
}


void
ngx_opay_user_put_decode(opay_call_t *call)
{
    ngx_opay_user_cmd_t  *cmd;

    ngx_opay_user_get_decode(call);

    if (call->status) {
        return;
    }

    cmd = call->cmd;

    if (ngx_opay_user_if_match(call, &cmd->version) != OPAY_OK) {
        return;
    }

    (void) opay_json_unpack(call, call->body, "", ngx_opay_user_put_fields,
                            cmd);
}


/* Our ETags are `"<version>"`; `*` matches any. */

static int
ngx_opay_user_if_match(opay_call_t *call, int64_t *version)
{
    size_t      i;
    opay_str_t  s;

    s = call->if_match;

    if (s.len == 0) {
        opay_call_fail(call, OPAY_E_PRECONDITION_REQUIRED,
                       "Send If-Match with the ETag of the user as you read "
                       "it.");
        return OPAY_ERROR;
    }

    *version = 0;

    if (opay_str_is(s, "*")) {
        return OPAY_OK;
    }

    if (s.len > 2 && s.len < 14 && s.data[0] == '"'
        && s.data[s.len - 1] == '"')
    {
        for (i = 1; i < s.len - 1; i++) {
            if (s.data[i] < '0' || s.data[i] > '9') {
                break;
            }

            *version = *version * 10 + (s.data[i] - '0');
        }

        if (i == s.len - 1 && *version > 0) {
            return OPAY_OK;
        }
    }

    opay_call_fail(call, OPAY_E_VERSION_MISMATCH,
                   "If-Match is not the ETag of this user.");

    return OPAY_ERROR;
}


opay_db_rc_t
ngx_opay_user_get(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                    i, k, found;
    opay_uuid_t              *ids;
    opay_arena_t             *a;
    opay_db_rc_t              rc;
    ngx_opay_user_cmd_t      *cmd;
    ngx_opay_user_profile_t  *p;

    /* rows live in the first call's arena: replies are copied out of it */

    a = calls[0]->arena;
    ids = opay_arena_alloc(a, n * sizeof(opay_uuid_t));
    p = opay_arena_alloc(a, n * sizeof(ngx_opay_user_profile_t));

    if (ids == NULL || p == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;
        ids[i] = cmd->id;
    }

    rc = ngx_opay_user_find(db, a, ids, n, p, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {

        for (k = 0; k < found; k++) {
            if (opay_uuid_eq(&p[k].id, &ids[i])) {
                ngx_opay_user_reply(calls[i], &p[k]);
                break;
            }
        }

        if (k == found && !opay_uuid_eq(&ids[i], &calls[i]->who.user)) {
            opay_call_fail(calls[i], OPAY_E_NOT_FOUND, ngx_opay_user_none);
        }

        /* no row for the caller's own id: ngx_opay_user_first_sight() */
    }

    return OPAY_DB_OK;
}


/* A valid token is proof enough of its user; user.created will fill it up. */

opay_db_rc_t
ngx_opay_user_first_sight(opay_db_t *db, opay_call_t **calls, size_t n)
{
    unsigned                 found;
    opay_call_t             *call;
    opay_db_rc_t             rc;
    ngx_opay_user_profile_t  p;

    (void) n;

    call = calls[0];

    ngx_opay_user_stub(call, &p);

    rc = ngx_opay_user_insert(db, &p);

    if (rc == OPAY_DB_OK) {
        rc = ngx_opay_user_lock(db, call->arena, &p.id, &p, &found);
    }

    if (rc == OPAY_DB_OK) {
        ngx_opay_user_reply(call, &p);
    }

    return rc;
}


static void
ngx_opay_user_stub(opay_call_t *call, ngx_opay_user_profile_t *p)
{
    memset(p, 0, sizeof(ngx_opay_user_profile_t));

    p->id = call->who.user;
    p->roles = call->who.roles;
    p->status = opay_str_of("ACTIVE");
    p->version = 1;
    p->created = call->now;
    p->updated = call->now;
}


opay_db_rc_t
ngx_opay_user_put(opay_db_t *db, opay_call_t **calls, size_t n)
{
    char                     id[OPAY_UUID_TEXT + 1];
    unsigned                 found;
    opay_str_t               actor;
    opay_call_t             *call;
    opay_db_rc_t             rc;
    ngx_opay_event_t         ev;
    ngx_opay_user_cmd_t     *cmd;
    ngx_opay_user_profile_t  p;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    rc = ngx_opay_user_lock(db, call->arena, &cmd->id, &p, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (!found) {
        opay_call_fail(call, OPAY_E_NOT_FOUND, ngx_opay_user_none);
        return OPAY_DB_OK;
    }

    if (cmd->version && cmd->version != p.version) {
        opay_call_fail(call, OPAY_E_VERSION_MISMATCH,
                       "The user has changed meanwhile; read it again.");
        return OPAY_DB_OK;
    }

    p.name = cmd->name;
    p.phone = cmd->phone;
    p.address = cmd->address;
    p.version++;
    p.event_version++;
    p.updated = call->now;

    rc = ngx_opay_user_update(db, &p);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    (void) opay_uuid_format(&call->who.user, id);
    actor = opay_arena_printf(call->arena, "user:%s", id);

    memset(&ev, 0, sizeof(ngx_opay_event_t));

    ev.agg_type = OPAY_AGG_PROFILE;
    ev.agg_id = p.id;
    ev.version = p.event_version;
    ev.type = OPAY_EVENT_USER_UPDATED;
    ev.key = p.id;
    ev.data = ngx_opay_user_json(call, &p, 1);
    ev.actor = actor.data;
    ev.traceparent = call->traceparent;

    if (ev.data.data == NULL || ev.actor == NULL) {
        return OPAY_DB_ERROR;
    }

    call->wrote = 1;
    ngx_opay_user_reply(call, &p);

    return ngx_opay_events_append(db, call->arena, &ev, 1);
}


static void
ngx_opay_user_reply(opay_call_t *call, const ngx_opay_user_profile_t *p)
{
    opay_call_reply(call, 200, ngx_opay_user_json(call, p, 0));
    opay_call_etag(call, p->version);
}


static opay_str_t
ngx_opay_user_json(opay_call_t *call, const ngx_opay_user_profile_t *p,
    unsigned event)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 512);
    opay_jw_obj(&w);
    opay_jw_kuuid(&w, event ? "userId" : "id", &p->id);
    opay_jw_kstr(&w, "email", p->email);
    opay_jw_kstr(&w, "name", p->name);
    opay_jw_kstr(&w, "phoneNumber", p->phone);
    opay_jw_kstr(&w, "address", p->address);
    opay_jw_key(&w, "roles");
    opay_jw_arr(&w);

    if (p->roles & OPAY_ROLE_BIT_USER) {
        opay_jw_cstr(&w, "USER");
    }

    if (p->roles & OPAY_ROLE_BIT_ADMIN) {
        opay_jw_cstr(&w, "ADMIN");
    }

    opay_jw_arr_end(&w);
    opay_jw_kstr(&w, "status", p->status);
    opay_jw_ki64(&w, "version", p->version);
    opay_jw_ktime(&w, "createdAt", p->created);
    opay_jw_ktime(&w, "updatedAt", p->updated);
    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


opay_db_rc_t
ngx_opay_user_events(opay_db_t *db, opay_call_t **calls, size_t n)
{
    (void) n;

    return ngx_opay_inbound_run(db, calls[0], ngx_opay_user_apply);
}


/* user.created makes the profile, or fills the one first sight has made. */

static opay_db_rc_t
ngx_opay_user_apply(opay_db_t *db, opay_call_t *call,
    const ngx_opay_inbound_t *ev, const char **permanent)
{
    size_t                   i;
    json_t                  *roles;
    unsigned                 found;
    const char              *email, *name, *role;
    opay_db_rc_t             rc;
    ngx_opay_user_profile_t  p;

    if (!opay_str_is(ev->type, OPAY_EVENT_USER_CREATED)) {
        return OPAY_DB_OK;
    }

    email = json_string_value(json_object_get(ev->data, "email"));
    name = json_string_value(json_object_get(ev->data, "name"));
    roles = json_object_get(ev->data, "roles");

    if (email == NULL || name == NULL || !json_is_array(roles)) {
        *permanent = "user.created lacks email, name or roles";
        return OPAY_DB_OK;
    }

    rc = ngx_opay_user_lock(db, call->arena, &ev->agg_id, &p, &found);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (!found) {
        memset(&p, 0, sizeof(ngx_opay_user_profile_t));
        p.id = ev->agg_id;
        p.status = opay_str_of("ACTIVE");
        p.created = ev->time;
    }

    p.email = opay_str_of(email);
    p.roles = 0;

    for (i = 0; i < json_array_size(roles); i++) {
        role = json_string_value(json_array_get(roles, i));

        if (role && strcmp(role, "USER") == 0) {
            p.roles |= OPAY_ROLE_BIT_USER;

        } else if (role && strcmp(role, "ADMIN") == 0) {
            p.roles |= OPAY_ROLE_BIT_ADMIN;
        }
    }

    if (p.roles == 0) {
        *permanent = "user.created has no known role";
        return OPAY_DB_OK;
    }

    /* the user may have edited the profile before the event came */

    if (p.name.data == NULL) {
        p.name = opay_str_of(name);
        p.phone = opay_str_of(json_string_value(
                                  json_object_get(ev->data, "phoneNumber")));
        p.address = opay_str_of(json_string_value(
                                    json_object_get(ev->data, "address")));
    }

    p.version++;
    p.updated = call->now;

    return found ? ngx_opay_user_update(db, &p)
                 : ngx_opay_user_insert(db, &p);
}
