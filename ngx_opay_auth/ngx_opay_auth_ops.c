
/*
 * Accounts: sign up, log in, the first admin.  What a login opens is in
 * ngx_opay_auth_session.c.
 *
 * Time tells nothing about accounts: a login verifies one hash whether or not
 * the address is known.  Hashing happens on the HASH lane between two short
 * database steps, never inside a transaction.
 */

#include "ngx_opay_auth.h"

#include "opay_event.h"
#include "opay_json.h"
#include "opay_jsonw.h"


static void ngx_opay_auth_email(opay_call_t *call, ngx_opay_auth_cmd_t *cmd);
static opay_str_t ngx_opay_auth_user_json(opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, unsigned event);
static void ngx_opay_auth_roles_json(opay_jw_t *w, unsigned roles);
static opay_db_rc_t ngx_opay_auth_create(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, const char *actor);


static const opay_json_field_t  ngx_opay_auth_signup_fields[] = {
    { .name = "email", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = OPAY_EMAIL_MAX + 16,
      .offset = offsetof(ngx_opay_auth_cmd_t, email) },
    { .name = "password", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS|OPAY_JSON_MULTILINE,
      .offset = offsetof(ngx_opay_auth_cmd_t, password) },
    { .name = "name", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = 100, .offset = offsetof(ngx_opay_auth_cmd_t, name) },
    { .name = "phoneNumber", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_DIGITS, .min = 3, .max = 32,
      .offset = offsetof(ngx_opay_auth_cmd_t, phone) },
    { .name = "address", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_MULTILINE, .min = 1, .max = 255,
      .offset = offsetof(ngx_opay_auth_cmd_t, address) },
    { .name = NULL }
};


static const opay_json_field_t  ngx_opay_auth_login_fields[] = {
    { .name = "email", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_auth_cmd_t, email) },
    { .name = "password", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS|OPAY_JSON_MULTILINE,
      .offset = offsetof(ngx_opay_auth_cmd_t, password) },
    { .name = NULL }
};


static const char  ngx_opay_auth_bad_login[] =
    "E-mail or password is wrong.";


ngx_opay_auth_cmd_t *
ngx_opay_auth_cmd(opay_call_t *call, const opay_json_field_t *fields)
{
    ngx_opay_auth_cmd_t  *cmd;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_auth_cmd_t));

    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return NULL;
    }

    call->cmd = cmd;
    call->no_store = 1;

    if (opay_json_unpack(call, call->body, "", fields, cmd) != OPAY_OK) {
        return NULL;
    }

    return cmd;
}


void
ngx_opay_auth_signup_decode(opay_call_t *call)
{
    ngx_opay_auth_cmd_t     *cmd;
    opay_password_policy_e   policy;

    cmd = ngx_opay_auth_cmd(call, ngx_opay_auth_signup_fields);
    if (cmd == NULL) {
        return;
    }

    ngx_opay_auth_email(call, cmd);

    policy = opay_password_policy(cmd->password,
                                  opay_str_of(cmd->user.email));

    if (policy != OPAY_PASSWORD_OK) {
        opay_call_invalid(call, "/password",
                          opay_password_policy_name(policy),
                          "8 to 128 characters; not a common password, not "
                          "the e-mail address.");
    }

    cmd->user.roles = OPAY_ROLE_BIT_USER;
    cmd->user.active = 1;

    if (opay_uuid_v7(&cmd->user.id) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }
}


static void
ngx_opay_auth_email(opay_call_t *call, ngx_opay_auth_cmd_t *cmd)
{
    size_t        len;
    opay_email_e  e;

    e = opay_email_normalize(cmd->email, cmd->user.email, &len);

    if (e != OPAY_EMAIL_OK) {
        opay_call_invalid(call, "/email", opay_email_name(e),
                          "An address of the form name@example.com, in "
                          "ASCII.");
    }
}


/* Signup, and the first admin: password to PHC. */

opay_db_rc_t
ngx_opay_auth_hash(opay_db_t *db, opay_call_t **calls, size_t n)
{
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    (void) db;
    (void) n;

    cmd = calls[0]->cmd;
    conf = calls[0]->conf;

    if (opay_password_hash(&conf->peppers, &conf->argon2, cmd->password,
                           cmd->user.phc)
        != OPAY_OK)
    {
        opay_call_fail(calls[0], OPAY_E_INTERNAL_ERROR, NULL);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_signup(opay_db_t *db, opay_call_t **calls, size_t n)
{
    char                  id[OPAY_UUID_TEXT + 1], actor[64];
    opay_call_t          *call;
    opay_db_rc_t          rc;
    ngx_opay_auth_cmd_t  *cmd;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    (void) opay_uuid_format(&cmd->user.id, id);
    (void) snprintf(actor, sizeof(actor), "user:%s", id);

    rc = ngx_opay_auth_create(db, call, cmd, actor);

    if (rc == OPAY_DB_DUP) {
        opay_call_fail(call, OPAY_E_EMAIL_TAKEN,
                       "There is an account with this e-mail address.");
        return OPAY_DB_ROLLBACK;
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    opay_call_reply(call, 201, ngx_opay_auth_user_json(call, cmd, 0));
    call->location = opay_arena_printf(call->arena, "/api/users/%s", id);

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_auth_create(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, const char *actor)
{
    opay_db_rc_t      rc;
    ngx_opay_event_t  ev;

    rc = ngx_opay_auth_user_insert(db, &cmd->user, call->now);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    memset(&ev, 0, sizeof(ngx_opay_event_t));

    ev.agg_type = OPAY_AGG_USER;
    ev.agg_id = cmd->user.id;
    ev.version = 1;
    ev.type = OPAY_EVENT_USER_CREATED;
    ev.key = cmd->user.id;
    ev.data = ngx_opay_auth_user_json(call, cmd, 1);
    ev.actor = opay_arena_strdup(call->arena, actor);
    ev.traceparent = call->traceparent;

    if (ev.data.data == NULL || ev.actor == NULL) {
        return OPAY_DB_ERROR;
    }

    call->wrote = 1;

    return ngx_opay_events_append(db, call->arena, &ev, 1);
}


/* The answer to a signup, and the data of user.created. */

static opay_str_t
ngx_opay_auth_user_json(opay_call_t *call, ngx_opay_auth_cmd_t *cmd,
    unsigned event)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 512);
    opay_jw_obj(&w);
    opay_jw_kuuid(&w, event ? "userId" : "id", &cmd->user.id);
    opay_jw_kcstr(&w, "email", cmd->user.email);
    opay_jw_kstr(&w, "name", cmd->name);

    if (event) {
        opay_jw_kstr(&w, "phoneNumber", cmd->phone);
        opay_jw_kstr(&w, "address", cmd->address);
    }

    opay_jw_key(&w, "roles");
    ngx_opay_auth_roles_json(&w, cmd->user.roles);
    opay_jw_ktime(&w, "createdAt", call->now);
    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


static void
ngx_opay_auth_roles_json(opay_jw_t *w, unsigned roles)
{
    opay_jw_arr(w);

    if (roles & OPAY_ROLE_BIT_USER) {
        opay_jw_cstr(w, "USER");
    }

    if (roles & OPAY_ROLE_BIT_ADMIN) {
        opay_jw_cstr(w, "ADMIN");
    }

    opay_jw_arr_end(w);
}


void
ngx_opay_auth_login_decode(opay_call_t *call)
{
    size_t                len;
    ngx_opay_auth_cmd_t  *cmd;

    cmd = ngx_opay_auth_cmd(call, ngx_opay_auth_login_fields);

    if (cmd == NULL) {
        return;
    }

    if (cmd->password.len > OPAY_PASSWORD_BYTES_MAX) {
        /* nothing that long was ever set; no hash is spent on it */
        opay_call_fail(call, OPAY_E_INVALID_CREDENTIALS,
                       ngx_opay_auth_bad_login);
        return;
    }

    /* an address nobody can have is just an unknown one */

    if (opay_email_normalize(cmd->email, cmd->user.email, &len)
        != OPAY_EMAIL_OK)
    {
        cmd->user.email[0] = '\0';
    }
}


opay_db_rc_t
ngx_opay_auth_find(opay_db_t *db, opay_call_t **calls, size_t n)
{
    ngx_opay_auth_cmd_t  *cmd;

    (void) n;

    cmd = calls[0]->cmd;

    return ngx_opay_auth_user_find(db, calls[0]->arena,
                                   opay_str_of(cmd->user.email), &cmd->user,
                                   &cmd->found);
}


opay_db_rc_t
ngx_opay_auth_verify(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_call_t                 *call;
    ngx_opay_auth_cmd_t         *cmd;
    opay_password_verdict_e      verdict;
    const ngx_opay_auth_conf_t  *conf;

    (void) db;
    (void) n;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    verdict = opay_password_verify(&conf->peppers,
                       opay_str_of(cmd->found ? cmd->user.phc : conf->dummy),
                       cmd->password);

    if (verdict == OPAY_PASSWORD_FAILED) {
        opay_call_fail(call, OPAY_E_OVERLOADED, NULL);
        call->retry_after = 1;
        return OPAY_DB_OK;
    }

    if (verdict != OPAY_PASSWORD_MATCH || !cmd->found || !cmd->user.active) {
        opay_call_fail(call, OPAY_E_INVALID_CREDENTIALS,
                       ngx_opay_auth_bad_login);
        return OPAY_DB_OK;
    }

    if (opay_password_needs_rehash(&conf->peppers, &conf->argon2,
                                   opay_str_of(cmd->user.phc))
        && opay_password_hash(&conf->peppers, &conf->argon2, cmd->password,
                              cmd->rehash)
           != OPAY_OK)
    {
        cmd->rehash[0] = '\0';
    }

    if (opay_uuid_v7(&cmd->session.sid) != OPAY_OK
        || opay_token_first(&conf->tokens, &cmd->session.sid, &cmd->next)
           != OPAY_OK
        || opay_token_hash(&cmd->next, cmd->session.cur) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }

    cmd->session.user = cmd->user.id;
    cmd->session.roles = cmd->user.roles;

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_login(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_str_t                   device;
    opay_call_t                 *call;
    opay_db_rc_t                 rc;
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    (void) n;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    device = call->user_agent;

    if (device.len > 128
        || opay_utf8_length(device, &(size_t) { 0 }) != OPAY_OK)
    {
        device.data = NULL;
    }

    rc = ngx_opay_auth_session_insert(db, &cmd->session, cmd->user.epoch,
                                      conf->refresh_ttl * 1000,
                                      conf->session_ttl * 1000, device);

    if (rc == OPAY_DB_OK && cmd->rehash[0]) {
        rc = ngx_opay_auth_user_password(db, &cmd->user.id, cmd->user.phc,
                                         cmd->rehash);
    }

    return rc;                             /* the next step mints */
}


void
ngx_opay_auth_jwks(opay_call_t *call)
{
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;

    opay_call_reply(call, 200, conf->jwks);
}


/* A job: the first admin, out of opay_auth_admin. */

void
ngx_opay_auth_admin_make(opay_call_t *call)
{
    size_t                       len;
    opay_str_t                   email;
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;

    if (conf->admin_email.len == 0) {
        opay_call_reply(call, 200, (opay_str_t) opay_str_null);
        return;
    }

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_auth_cmd_t));

    email.len = conf->admin_email.len;
    email.data = (char *) conf->admin_email.data;

    if (cmd == NULL
        || opay_email_normalize(email, cmd->user.email, &len)
           != OPAY_EMAIL_OK
        || opay_uuid_v7(&cmd->user.id) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    cmd->user.roles = OPAY_ROLE_BIT_USER|OPAY_ROLE_BIT_ADMIN;
    cmd->user.active = 1;
    cmd->password = conf->admin_secret;
    cmd->name = opay_str_of("Administrator");
    call->cmd = cmd;
}


opay_db_rc_t
ngx_opay_auth_admin_find(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_db_rc_t          rc;
    ngx_opay_auth_cmd_t  *cmd;
    ngx_opay_auth_user_t  user;

    (void) n;

    cmd = calls[0]->cmd;

    rc = ngx_opay_auth_user_find(db, calls[0]->arena,
                                 opay_str_of(cmd->user.email), &user,
                                 &cmd->found);

    if (rc == OPAY_DB_OK && cmd->found) {
        opay_call_reply(calls[0], 200, (opay_str_t) opay_str_null);
    }

    return rc;
}
